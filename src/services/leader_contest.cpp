#include "services/leader_contest.hpp"

#include <algorithm>
#include <barrel_p2p/node_name.hpp>

namespace barrel_p2p {
inline namespace v0 {
namespace services {

bool is_leader_name(const Term& name) noexcept { return encoded_size(name, false) <= leader_name_bytes_max; }

bool is_priority(const Term& priority) noexcept {
  return priority.is_integer() && encoded_size(priority, false) <= priority_bytes_max;
}

Term candidate_key(const Term& name, const Atom& node) { return Term::tuple({name, node}); }

bool is_candidate_key(const Term& key) {
  if (!key.is_tuple(2) || !is_leader_name(key[0])) return false;
  const auto node = key[1].as_atom();
  return node && NodeName::parse(node->text()).has_value();
}

Term candidate_value(const Pid& pid, const Term& priority) { return Term::tuple({pid, priority}); }

bool is_candidate_value(const Term& value) { return value.is_tuple(2) && value[0].is_pid() && is_priority(value[1]); }

Term fence_key(const Term& name) { return Term::tuple({name}); }

bool is_fence_key(const Term& key) { return key.is_tuple(1) && is_leader_name(key[0]); }

replication::Entry fence_entry(const replication::Timestamp& stamp, const Atom& minter) {
  return replication::Entry::value(minter, {stamp, minter});
}

bool is_fence_entry(const replication::Entry& entry) {
  const auto minter = entry.is_live() ? entry.value().as_atom() : std::nullopt;
  return minter && entry.only_by(*minter) && (minter->text().empty() || NodeName::parse(minter->text()));
}

Fence fence_of(const replication::Timestamp& stamp) noexcept {
  return {static_cast<std::uint64_t>(stamp.wall), stamp.logical};
}

bool precedes(const Rival& left, const Rival& right) noexcept {
  const auto order = compare(left.priority, right.priority);
  return order != 0 ? order > 0 : left.node.text() < right.node.text();
}

void Rivals::set(const Rival& rival, bool counts) {
  erase(rival.node);
  by_node_.emplace(rival.node, ranked_.insert({counts, rival}).first);
}

void Rivals::count(const Atom& node, bool counts) {
  const auto found = by_node_.find(node);
  if (found == by_node_.end()) return;
  auto place = ranked_.extract(found->second);
  place.value().counts = counts;
  found->second = ranked_.insert(std::move(place)).position;
}

const Rival* Rivals::winner() const noexcept {
  return ranked_.empty() || !ranked_.begin()->counts ? nullptr : &ranked_.begin()->rival;
}

std::vector<Atom> Rivals::nodes() const {
  std::vector<Atom> nodes;
  for (const auto& [counts, rival] : ranked_) {
    if (!counts) break;
    nodes.push_back(rival.node);
  }
  return nodes;
}

void Rivals::erase(const Atom& node) {
  const auto found = by_node_.find(node);
  if (found == by_node_.end()) return;
  ranked_.erase(found->second);
  by_node_.erase(found);
}

void Contest::enqueue(const Candidate& candidate) {
  const auto place = std::ranges::find_if(
      candidates, [&](const Candidate& other) { return compare(candidate.priority, other.priority) > 0; });
  candidates.insert(place, candidate);
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
