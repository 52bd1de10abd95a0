// Replicated maps: for each key the last write wins on all nodes. The functions are those of `Node`; docs/maps.md
// explains the whole.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace barrel_p2p {
inline namespace v0 {

/// Options of a map on this node. They are not replicated. To a map that is open one that is left as it is here asks
/// for nothing.
struct MapOptions {
  /// Decides over every value that is put here or comes from another node; what it throws counts as a no. Runs on the
  /// cluster thread and must not block. All nodes should have the same one, or they will differ. Empty: all values. A
  /// map that is open without one takes it, as one does that the configuration names: it judges what comes from then
  /// on, not what is there. An earlier one of the same code is replaced, any other one stays (`already_registered`).
  std::function<bool(const Term& value)> validator;
  /// `persist`: kept in the durable store: a put or remove returns after its fsync, and the map survives restarts.
  bool persist = false;
  /// `prune_on_peer_down`: entries that only a node wrote whose lease ran out are forgotten here until it is back.
  bool prune_on_node_down = false;
  /// `tombstone_ttl_ms`: removals are remembered at least for so long, and longer while a node is away that was there
  /// before the removal; see `ReplicationConfig`. From 1000 to ten years; 0: what the configuration says.
  std::chrono::milliseconds tombstone_ttl{0};
  std::size_t entries_max = 10'000'000;  ///< Keys, removed ones included. From 1.
};

/// A change of a map that can be seen: by this node or another.
struct MapEvent {
  enum class Kind : std::uint8_t { put, remove };
  Atom map;
  Kind kind = Kind::put;
  Term key{};
  Term value{};  ///< Of `put`.
};

/// What is in a map, and what became of what others sent.
struct MapStatistics {
  std::size_t entries = 0;
  std::size_t tombstones = 0;
  std::uint64_t accepted = 0;            ///< Entries of other nodes.
  std::uint64_t rejected = 0;            ///< Malformed, refused by the validator, of a node that is gone, too many.
  std::uint64_t rejected_in_future = 0;  ///< Of these, with stamps too far ahead: somebody's clock is wrong.
  std::uint64_t forced_collections = 0;  ///< Tombstones forgotten although a node that was there may still be away.
  std::size_t unwritten = 0;             ///< Entries that the disk refused; they are written again by and by.
  std::uint64_t futile_rounds = 0;  ///< Rounds of anti-entropy that never end: two nodes refuse each other's entries.
};

}  // namespace v0
}  // namespace barrel_p2p
