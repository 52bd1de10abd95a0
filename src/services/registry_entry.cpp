#include "services/registry_entry.hpp"

#include <barrel_p2p/node_name.hpp>

namespace barrel_p2p {
inline namespace v0 {
namespace services {

Term service_key(const Term& name, const Atom& node) { return Term::tuple({name, node}); }

Term service_value(const Term& name, const Pid& pid, const Atom& node, const Term& meta) {
  return Term::tuple({Atom(service_entry_tag), name, pid, node, meta});
}

bool is_service_name(const Term& name) noexcept {
  return name.is_atom() || (name.is_binary() && name.size() <= service_name_bytes_max);
}

bool is_name_to_find(const Term& name) {
  return is_service_name(name) || (!name.is_binary() && encoded_size(name, false) <= service_name_bytes_max);
}

bool is_service_key(const Term& key) {
  if (!key.is_tuple(2) || !is_service_name(key[0])) return false;
  const auto node = key[1].as_atom();
  return node && NodeName::parse(node->text()).has_value();
}

bool is_service_value(const Term& value, const Term& key, std::size_t meta_bytes_max) {
  return value.is_tagged(service_entry_tag, 5) && value[1] == key[0] && value[2].is_pid() && value[3] == key[1] &&
         value[4].is_map() && encoded_size(value[4], false) <= meta_bytes_max;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
