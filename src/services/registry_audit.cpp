// `Registry::verify`: what is kept beside the map, computed again and compared.
#include <string>

#include "services/registry.hpp"
#include "services/registry_entry.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

/// More of them say nothing new.
constexpr std::size_t problems_max = 100;

void report(RegistryAudit& audit, std::string problem) {
  if (audit.problems.size() < problems_max) audit.problems.push_back(std::move(problem));
}

}  // namespace

RegistryAudit Registry::verify() const {
  RegistryAudit audit;
  audit_owners(audit);
  audit_names(audit);
  audit_watches(audit);
  return audit;
}

/// From the map to the nodes, the tombstones and the digests.
void Registry::audit_owners(RegistryAudit& audit) const {
  std::size_t offered = 0;
  for (const auto& [key, entry] : map().entries()) {
    if (!is_service_key(key)) {
      report(audit, to_text(key) + " is no key of the registry");
      continue;
    }
    const auto owner = owners_.find(node_of(key));
    const auto known = owner == owners_.end() ? std::nullopt : std::optional(owner->second.keys.find(key));
    if (!known || *known == owner->second.keys.end()) {
      report(audit, to_text(key) + " is in the map, but not among the keys of its node");
      continue;
    }
    if (standings_.is_offered(owner->first, {}, now_.monotonic)) ++offered;
    const bool shown = standings_.counts(owner->first);
    const WallMilliseconds removed = entry.is_live() ? ServiceOwner::live : entry.stamp().wall;
    if ((*known)->second != removed) report(audit, to_text(key) + " is marked as of another time than in the map");
    if (!entry.is_live()) {
      ++audit.tombstones;
      if (!tombstones_.contains({removed, key})) report(audit, to_text(key) + " is removed, but not to be collected");
      continue;
    }
    if (!is_service_value(entry.value(), key, config_.meta_bytes_max)) {
      report(audit, to_text(key) + " holds what is no entry of it: " + to_text(entry.value()));
    }
    ++(shown ? audit.entries : audit.hidden);
  }
  std::size_t keys = 0;
  for (const auto& [node, owner] : owners_) {
    keys += owner.keys.size();
    const bool alive = node == config_.own || members_.is_alive(node);
    const bool shown = standings_.counts(node);
    if (shown && !alive && !standings_.is_vouched_for(node)) {
      report(audit, node.string() + " is not alive, but its entries are shown");
    }
    if (alive && !shown) report(audit, node.string() + " is alive, but its entries are hidden");
  }
  if (keys != map().size()) {
    report(audit, "the nodes have " + std::to_string(keys) + " keys, the map " + std::to_string(map().size()));
  }
  if (tombstones_.size() != audit.tombstones) {
    report(audit, std::to_string(tombstones_.size()) + " tombstones are to be collected, the map has " +
                      std::to_string(audit.tombstones));
  }
  if (const auto digested = state_.digests()->summary().count; digested != offered) {
    report(audit, "the digests are over " + std::to_string(digested) + " entries, peers are to be told of " +
                      std::to_string(offered));
  }
}

/// From the names to the map.
void Registry::audit_names(RegistryAudit& audit) const {
  for (const auto& name : names_.names()) {
    for (const auto& [place, value] : names_.find(name)) {
      const Atom& node = place.node;
      const Term* stored = map().get(service_key(name, node));
      if (stored == nullptr || !(*stored == value)) {
        report(audit, to_text(name) + " of " + node.string() + " is shown, but the map has it otherwise");
      }
      if (!standings_.counts(node)) {
        report(audit, to_text(name) + " of " + node.string() + " is shown, but its node is not");
      }
    }
  }
  if (names_.size() != audit.entries) {
    report(audit, std::to_string(names_.size()) + " entries are shown, and " + std::to_string(audit.entries) +
                      " are to be shown");
  }
}

/// From this node's entries to their processes.
void Registry::audit_watches(RegistryAudit& audit) const {
  std::size_t watched = 0;
  for (const auto& [pid, names] : watched_) {
    watched += names.size();
    for (const auto& name : names) {
      if (lookup_local(name) != pid) report(audit, to_text(pid) + " is watched for " + to_text(name) + " in vain");
    }
  }
  for (const auto& key : ghosts_) {
    const auto* const entry = map().find(key);
    if (entry == nullptr || entry->is_live()) report(audit, to_text(key) + " is no ghost of this node");
  }
  std::size_t live = 0;
  if (const auto own = owners_.find(config_.own); own != owners_.end()) {
    live = static_cast<std::size_t>(
        std::ranges::count_if(own->second.keys, [](const auto& key) { return key.second == ServiceOwner::live; }));
  }
  if (live != watched) {
    report(audit, "this node has " + std::to_string(live) + " entries and watches the processes of " +
                      std::to_string(watched));
  }
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
