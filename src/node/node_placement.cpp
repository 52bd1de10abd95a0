// The part of the public API that is about placement. A hidden node sees no members.
#include <barrel_p2p/node.hpp>
#include <utility>

#include "node/awaiting.hpp"
#include "node/parts.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

std::vector<Atom> atoms_of(const std::vector<NodeName>& names) {
  std::vector<Atom> atoms;
  atoms.reserve(names.size());
  for (const auto& name : names) atoms.push_back(name.atom());
  return atoms;
}

}  // namespace

std::uint32_t Node::ring_size() const noexcept { return parts_->config.replication.ring_size; }

std::uint32_t Node::partition(const Term& key) const { return phash2(key, ring_size()); }

std::optional<NodeName> Node::partition_owner(std::uint32_t partition) const {
  if (!parts_->services || partition >= ring_size()) return std::nullopt;
  return parts_->services->placement().read([&](const node::PlacementView::Placed& placed) {
    const Atom* const owner = placed.ring.owner(partition);
    return owner == nullptr ? std::nullopt : std::optional(NodeName(owner->text()));
  });
}

std::optional<NodeName> Node::place(const Term& key) const { return partition_owner(partition(key)); }

std::vector<NodeName> Node::owners(const Term& key, std::size_t count) const {
  std::vector<NodeName> names;
  if (!parts_->services) return names;
  const auto best = parts_->services->placement().read(
      [&](const node::PlacementView::Placed& placed) { return placed.ring.owners(partition(key), count); });
  names.reserve(best.size());
  for (const auto& node : best) names.emplace_back(node.text());
  return names;
}

bool Node::owns_partition(std::uint32_t partition) const {
  return parts_->services && partition < ring_size() && parts_->services->placement().owns(partition);
}

bool Node::is_owner(const Term& key) const { return owns_partition(partition(key)); }

std::vector<std::uint32_t> Node::owned_partitions() const {
  std::vector<std::uint32_t> owned;
  if (!parts_->services) return owned;
  const auto& view = parts_->services->placement();
  const MonotonicTime until = view.lease_until();
  view.read([&](const node::PlacementView::Placed& placed) {
    for (std::uint32_t partition = 0; partition < placed.ring.size(); ++partition) {
      if (placed.owned[partition]) owned.push_back(partition);
    }
  });
  if (monotonic_now() > until) owned.clear();
  return owned;
}

std::vector<PartitionMove> Node::placement_diff(const std::vector<NodeName>& members) const {
  if (!parts_->services) return {};
  // A copy: it takes a while.
  const services::Ring ring =
      parts_->services->placement().read([](const node::PlacementView::Placed& placed) { return placed.ring; });
  return ring.diff(atoms_of(members));
}

Result<PlacementIssues> Node::placement_issues() const {
  if (!parts_->services) return PlacementIssues{};
  return node::await<PlacementIssues>(*parts_, [&](auto done) { parts_->services->placement_issues(std::move(done)); });
}

Subscription Node::subscribe_shard(std::function<void(const ShardEvent&)> callback) {
  return parts_->services ? parts_->services->subscribe_shard(std::move(callback)) : Subscription();
}

void Node::subscribe_shard(const Pid& process) {
  if (parts_->services) parts_->services->shard_pids().add(process);
}

void Node::unsubscribe_shard(const Pid& process) {
  if (parts_->services) parts_->services->shard_pids().remove(process);
}

}  // namespace v0
}  // namespace barrel_p2p
