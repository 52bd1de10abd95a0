// One open map: its state, its replica, and what of it the disk does not have yet. A part of maps.hpp, which explains
// the whole.
//
// Every change runs through `changed`, whoever made it: there it becomes what readers and subscribers are told and what
// the disk is given. Effects of one input are in this order: readers, subscribers, other nodes, disk, the caller.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/term.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/token_bucket.hpp"
#include "replication/clock.hpp"
#include "replication/ormap_state.hpp"
#include "replication/replica.hpp"
#include "services/absences.hpp"
#include "services/aging_clock.hpp"
#include "services/collection_writer.hpp"
#include "services/effects.hpp"
#include "services/maps.hpp"
#include "services/members.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// What all maps of a node share.
struct MapSurroundings {
  struct Neighbour {
    Atom node;
    bool native = false;
  };

  MapsConfig config;
  replication::HybridClock& clock;
  const Members& members;
  std::vector<Neighbour> neighbours{};
  Absences absences{config.tombstone_hold};
  AgingClock aging_clock{config.tombstone_hold};
  /// Who asks for many maps gets no more than who asks for one.
  std::shared_ptr<TokenBucket> snapshot_rate =
      std::make_shared<TokenBucket>(replication::snapshot_bytes_per_second, MonotonicTime{});
  /// Nodes whose lease ended and that were not back since, with what this node's clock had given by then.
  boost::unordered_flat_map<Atom, replication::Timestamp, std::hash<Atom>> departed{};
  /// The maps that must hear of the life of a node.
  boost::unordered_flat_map<Atom, std::set<Atom>, std::hash<Atom>> concerned{};

  std::vector<std::string> warnings{};  ///< For the log.

  void depart(const Atom& node);
};

class Map {
 public:
  /// `around` must outlive it.
  Map(Atom name, MapOptions options, MapSurroundings& around, const Now& now);
  ~Map();
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;

  /// What the store has of it; then the neighbours are asked. Before anything else.
  void start(Maps::Stored stored, const Now& now, Effects& out);
  /// As `Maps::open` of a map that is open.
  Result<void> open_again(MapOptions options);

  // As those of `Maps`.
  Result<void> put(const Term& key, const Term& value, Ticket ticket, const Now& now, Effects& out);
  Result<void> put_many(const std::vector<TermPair>& pairs, Ticket ticket, const Now& now, Effects& out);
  Result<void> remove(const Term& key, Ticket ticket, const Now& now, Effects& out);

  void neighbour_up(const Atom& node, const Now& now) { replica_.peer_up(node, now.monotonic); }
  void gossip_lost(const Atom& node, const Now& now) { replica_.suspect(node, now.monotonic); }
  void neighbour_down(const Atom& node) { replica_.peer_down(node); }
  void set_native(const Atom& node) { replica_.set_native(node); }
  /// Broadcasts what waits for more.
  void flush(const Now& now, Effects& out);
  void leave() { replica_.leave(); }
  void node_gone(const Atom& node, const Now& now, Effects& out);
  void node_back(const Atom& node, const Now& now);
  void deliver(const Term& payload, const Now& now, Effects& out);
  void receive(const Atom& from, const Term& message, const Now& now, Effects& out);
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;
  /// The periodic work: old tombstones, entries of nodes that never showed up, what the disk refused.
  void scan(const Now& now, Effects& out);
  void store_failed(const Term& key);

  [[nodiscard]] const Atom& name() const noexcept { return name_; }
  [[nodiscard]] const Atom& replica_name() const noexcept { return replica_name_; }
  [[nodiscard]] bool persistent() const noexcept { return options_.persist; }
  [[nodiscard]] const replication::OrMap& entries() const noexcept { return state_.map(); }
  [[nodiscard]] MapStatistics statistics() const;

  MonotonicTime scheduled = MonotonicTime::max();  ///< Where it stands in the list of `Maps`.

 private:
  void begin(const Now& now, Effects& out);
  void finish(Ticket ticket);
  [[nodiscard]] bool accepts(const Term& key, const replication::Entry& entry) const;
  [[nodiscard]] bool has_recent_author(const replication::Entry& entry) const;
  [[nodiscard]] bool is_valid(const Term& value) const;
  [[nodiscard]] Result<std::size_t> check(const Term& key, const Term& value) const;
  void collect(const Term& delta);
  void broadcast_or_wait();
  void broadcast_collected();
  void changed(const Term& key, replication::Change change, const replication::Entry& entry, const Atom& from);
  void tell(const Term& key, const Term* value);
  void note_author(const Term& key, const replication::Entry& entry);
  void index_author(const Term& key, const replication::Entry& entry);
  void index_authors();
  void forget_author(const Atom& node);
  void forget(const Term& key);
  void prune(const Atom& node);
  void answer_overruled(const Atom& to);
  void collect_tombstones();
  void expect_authors();
  void persist(const Term& key, const replication::Entry* entry);

  const Atom name_;
  const Atom replica_name_;
  MapOptions options_;
  MapSurroundings& around_;
  Now now_;                 ///< Of the input that is being handled.
  Effects* out_ = nullptr;  ///< Likewise.
  replication::OrMapState state_;
  replication::Replica replica_;
  replication::ReplicaEffects from_replica_;
  std::vector<TermPair> collected_;                                  ///< Changes for the next broadcast, ...
  boost::unordered_flat_set<Term, std::hash<Term>> collected_keys_;  ///< ... each of another key.
  std::size_t collected_bytes_ = 0;
  MonotonicTime next_delta_{};  ///< No broadcast before, unless there is enough for one.
  CollectionWriter writer_;     ///< For the disk.
  // With `prune_on_node_down`, of other nodes. The map is among those that are concerned with each node in these three.
  /// Keys of entries that nobody else wrote, and some more: what was changed since is found out when it matters.
  boost::unordered_flat_map<Atom, std::vector<Term>, std::hash<Atom>> by_author_;
  std::size_t indexed_ = 0;  ///< Keys in it.
  /// Only authors of entries here that have no lease, and since when: they may be about to get one.
  std::map<Atom, MonotonicTime> awaited_;
  boost::unordered_flat_set<Atom, std::hash<Atom>> pruned_;  ///< Nodes of which something was forgotten.
  std::uint64_t forced_collections_ = 0;
  bool told_too_large_ = false;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
