// Sharded placement: keys fall into partitions, and each partition belongs to one member, whom every node computes
// alike, Erlang nodes too. The functions are those of `Node`; docs/placement.md explains the whole.
#pragma once

#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/version.hpp>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

/// A partition became, or is no longer, this node's.
struct ShardEvent {
  enum class Kind : std::uint8_t { acquired, released };
  Kind kind = Kind::acquired;
  std::uint32_t partition = 0;
  friend bool operator==(const ShardEvent&, const ShardEvent&) noexcept = default;
};

/// A partition that would have another owner; nothing: no owner, for lack of members.
struct PartitionMove {
  std::uint32_t partition = 0;
  std::optional<NodeName> from;
  std::optional<NodeName> to;
  friend bool operator==(const PartitionMove&, const PartitionMove&) noexcept = default;
};

/// What somebody should be warned of. The log has it too.
struct PlacementIssues {
  /// Members whose names have equal hashes, so that only the last one of each group owns anything: rename the others.
  std::vector<std::vector<NodeName>> equal_hashes;
  /// Members that own nothing, for lack of partitions or because of the above.
  std::vector<NodeName> idle;
  /// C++ neighbours with another ring size, whose owners are others than ours.
  std::vector<std::pair<NodeName, std::uint64_t>> ring_sizes;
};

}  // namespace v0
}  // namespace barrel_p2p
