// Replicated maps as machines without I/O.
//
//   broadcast, tag barrel_p2p_map_replica$NAME:   {delta, Node, #{Key => {value, Value, Dots} | {tombstone, H}}}
//   to the process barrel_p2p_map_replica$NAME:   {'$barrel_p2p_replica', {full_sync, From, WholeMap}}
//                                                 {'$barrel_p2p_replica', {request_sync, From}}
//   between C++ nodes the digests of replication/replica.hpp.
//
// A map converges over the nodes that have opened it. A persistent one is in the collection `map/NAME` of the durable
// store; what comes from peers is written as well, without anybody waiting. What the store refuses stays in memory and
// is written again by and by.
//
// Removals are remembered for `tombstone_ttl`, and while a node is away that may not have heard of them for longer.
// From `tombstone_ttl` on they are no part of the digests, so that a node that has forgotten them (it has not known the
// one that is away) is equal to one that has not; who comes with a value that was removed is told so.
//
// Source: protocol document 06, sections 1, 2.3, 6 and 11; document 04. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "replication/clock.hpp"
#include "replication/ormap_state.hpp"
#include "replication/replica.hpp"
#include "services/effects.hpp"
#include "services/members.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// The tag and registered name of a map's replica is this and the name of the map.
inline constexpr std::string_view map_replica_prefix = "barrel_p2p_map_replica$";

/// What `MapOptions::tombstone_ttl` may be. Ten years are as good as for ever, and leave room for sums of times.
inline constexpr Milliseconds tombstone_ttl_min{1000};
inline constexpr Milliseconds tombstone_ttl_max{10 * 365 * 24 * 3'600'000LL};

struct MapsConfig {
  Atom own;
  std::uint64_t seed = 0;
  Milliseconds anti_entropy_period{30'000};                              ///< `replica_anti_entropy_ms`
  std::size_t snapshot_bytes_max = replication::snapshot_bytes_default;  ///< See `ReplicaConfig`.
  Milliseconds scan_period{1000};         ///< `barrel_p2p_map_scan_ms`: how often old tombstones are looked for.
  Milliseconds tombstone_ttl{3'600'000};  ///< Of maps that do not say.
  Milliseconds tombstone_hold{24 * 3'600'000LL};  ///< Tombstones are kept at most for so long because of absent nodes.
  std::size_t maps_max = 10'000;
  std::size_t name_bytes_max = 200;                  ///< Erlang nodes need room for a prefix in an atom of 255.
  std::size_t entry_bytes_max = 1024UL * 1024;       ///< Key and value of one put, encoded: it passes every node.
  std::size_t delta_bytes_max = 64UL * 1024;         ///< Of several entries in one broadcast, about.
  std::size_t batch_bytes_max = 32UL * 1024 * 1024;  ///< Of one `put_many`: half of what the store's queue takes.
};

/// Collection of the durable store.
[[nodiscard]] std::string map_collection(const Atom& map);

class Map;
struct MapSurroundings;

class Maps {
 public:
  using Stored = std::vector<std::pair<Term, replication::Entry>>;

  /// Clock and members must outlive it.
  Maps(MapsConfig config, replication::HybridClock& clock, const Members& members, const Now& now);
  ~Maps();
  Maps(const Maps&) = delete;
  Maps& operator=(const Maps&) = delete;

  // What the program asks for. Tickets that are not 0 are answered, unless an error is returned: those of persistent
  // maps by the `Persist` that has them, all others by `Completed`. Errors of all: `no_such_map`.
  /// `stored`: what the durable store has of it, for a persistent map, after all that was to be written before has been
  /// written. Readers are told of it, subscribers are not. Of a map that is open an option that is left as it is by
  /// default asks for nothing, and all others must be so already; a validator is put in where there is none, or one of
  /// the same code, and judges nothing that is there. Errors: `invalid_argument`: the name is empty or too long, or an
  /// option out of range; `already_registered`: it is open with other options; `limit_exceeded`.
  Result<void> open(const Atom& map, MapOptions options, Stored stored, const Now& now, Effects& out);
  [[nodiscard]] bool is_open(const Atom& map) const;
  /// On this node; the store forgets it. No effect tells readers: for them there is no such map from here on.
  Result<void> remove_map(const Atom& map, Ticket ticket, const Now& now, Effects& out);
  /// Errors: `invalid_value`: the validator said no; `limit_exceeded`; `already_registered`: Erlang nodes take the key
  /// for another one that is present (1 and 1.0).
  Result<void> put(const Atom& map, const Term& key, const Term& value, Ticket ticket, const Now& now, Effects& out);
  /// All of them or none; one fsync, few broadcasts. Of equal keys the last one counts. Errors as above, and
  /// `limit_exceeded` beyond `batch_bytes_max`.
  Result<void> put_many(const Atom& map, const std::vector<TermPair>& pairs, Ticket ticket, const Now& now,
                        Effects& out);
  /// Of unknown keys too: another node may know them.
  Result<void> remove(const Atom& map, const Term& key, Ticket ticket, const Now& now, Effects& out);

  // What happens.
  void neighbour_up(const Atom& node, const Now& now, Effects& out);
  void gossip_lost(const Atom& node, const Now& now);
  void neighbour_down(const Atom& node);
  void set_native(const Atom& node);
  /// Broadcasts what waits for more: nothing is held back from others any longer.
  void flush(const Now& now, Effects& out);
  void leave();
  void liveness(const Liveness& change, const Now& now, Effects& out);
  /// Which of the open maps a tag or name is of; nothing for others.
  [[nodiscard]] bool takes(const Atom& replica_name) const;
  void deliver(const Atom& replica_name, const Term& payload, const Now& now, Effects& out);
  void receive(const Atom& replica_name, const Atom& from, const Term& message, const Now& now, Effects& out);
  /// A `Persist` could not be written, whether it had a ticket or not: these were its changes. Those of maps are
  /// written again, as they are by then, at every scan until it succeeds; the others are ignored.
  void store_failed(std::span<const StoreChange> changes);
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  // What is known.
  [[nodiscard]] std::vector<Atom> names() const;            ///< Sorted.
  [[nodiscard]] bool is_persistent(const Atom& map) const;  ///< Not: one that is not open, too.
  /// nullptr: not open.
  [[nodiscard]] const replication::OrMap* find(const Atom& map) const;
  /// Error: `no_such_map`.
  [[nodiscard]] Result<MapStatistics> statistics(const Atom& map) const;
  /// For the log.
  [[nodiscard]] std::vector<std::string> take_warnings();

 private:
  [[nodiscard]] Map* open_map(const Atom& map) const;
  [[nodiscard]] Map* map_of(const Atom& replica_name) const;
  static void drop(const Atom& map, Ticket ticket, Effects& out);

  void schedule(Map& map);

  std::unique_ptr<MapSurroundings> around_;
  std::map<Atom, std::unique_ptr<Map>> maps_;
  std::unordered_map<Atom, Map*> by_replica_;
  std::set<Atom> undropped_;                      ///< Maps that are closed and that the store still has.
  std::set<std::pair<MonotonicTime, Atom>> due_;  ///< When something is to be done with which map.
  MonotonicTime next_scan_;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
