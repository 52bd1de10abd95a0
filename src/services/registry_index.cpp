#include "services/registry_index.hpp"

#include <algorithm>

namespace barrel_p2p {
inline namespace v0 {
namespace services {

void ServiceNames::set(const Term& name, const Atom& node, const Term& value) {
  Holders& holders = names_[name];
  const auto place = std::ranges::lower_bound(holders, node, {}, &Holder::node);
  if (place != holders.end() && place->node == node) {
    place->value = value;
    return;
  }
  holders.insert(place, {node, value});
  ++size_;
}

void ServiceNames::erase(const Term& name, const Atom& node) {
  const auto found = names_.find(name);
  if (found == names_.end()) return;
  Holders& holders = found->second;
  const auto place = std::ranges::lower_bound(holders, node, {}, &Holder::node);
  if (place == holders.end() || place->node != node) return;
  holders.erase(place);
  --size_;
  if (holders.empty()) names_.erase(found);
}

std::span<const ServiceNames::Holder> ServiceNames::find(const Term& name) const {
  const auto found = names_.find(name);
  if (found == names_.end()) return {};
  return {found->second.data(), found->second.size()};
}

std::vector<Term> ServiceNames::names() const {
  std::vector<Term> names;
  names.reserve(names_.size());
  for (const auto& [name, holders] : names_) names.push_back(name);
  return names;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
