#include "services/registry_index.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

void ServiceNames::set(const Term& name, const Atom& node, const Term& value) {
  values_.insert_or_assign({name, node}, value);
}

void ServiceNames::erase(const Term& name, const Atom& node) { values_.erase({name, node}); }

const Term* ServiceNames::find(const Term& name, const Atom& node) const {
  const auto found = values_.find(Place{name, node});
  return found == values_.end() ? nullptr : &found->second;
}

std::vector<Term> ServiceNames::names() const {
  std::vector<Term> names;
  for (const auto& [place, value] : values_) {
    if (names.empty() || names.back() != place.name) names.push_back(place.name);
  }
  return names;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
