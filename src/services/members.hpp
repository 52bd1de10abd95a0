// Who is alive, by leases: every node says so to all, again and again, and counts as a member until it was silent for
// too long. Neighbourhood plays no part in it.
//
//   broadcast, tag barrel_p2p_members_replica:   {delta, Node, #{Node => {value, {alive, Emit}, Dots}}}
//   to the process barrel_p2p_members_replica:   {'$barrel_p2p_replica', {full_sync, From, #{Node => Emit}}}
//                                                {'$barrel_p2p_replica', {request_sync, From}}
//   ignored by Erlang nodes, as a broadcast:     {custom, Node, {goodbye, Emit}}
//   and to each neighbour, for a broadcast may only have been announced when the channels close:
//                                                {'$barrel_p2p_replica', {goodbye, Node, Emit}}
//
// Two answers are kept apart. `members` follows the protocol, for placement must be computed alike on all nodes: a
// lease counts while Emit, by the clock of its sender, is not older than `ttl` by ours. `is_alive` asks when something
// new was last heard of the node: one whose clock is wrong is alive all the same, by its own beats. Once a lease is
// here our monotonic clock measures its age, so that a wall clock that jumps does not end all leases at once.
//
// A snapshot is hearsay, and the clock of whoever reads it may be behind that of the node it tells of: what is old
// looks new. So it is no sign of life when the node's own beats told as much before, and what was only told is handed
// on for two beats at most: by then the node has been heard itself, or it is gone.
//
// A node that was paused has been silent itself. When its last beat is older than `ttl`, the others have given it up:
// it is no member until its next beat. The silence of the others meanwhile says nothing of them, so they have their
// time from here on: else who wakes would take itself for the only one.
//
// Who is known is kept over restarts: removals in the maps are remembered for those who are away (maps.hpp), whoever
// restarts meanwhile.
//
//   stored:   #{Node => alive | Heard}    Heard: Unix milliseconds, when it was last heard of
//
// Source: protocol document 06, sections 3.2 to 3.7 and 11. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "replication/clock.hpp"
#include "replication/ormap.hpp"
#include "replication/replica.hpp"
#include "services/effects.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

inline constexpr std::string_view members_replica_name = "barrel_p2p_members_replica";

struct MembersConfig {
  Atom own;
  std::uint64_t seed = 0;
  Milliseconds heartbeat{2000};             ///< `member_heartbeat_ms`
  Milliseconds ttl{6000};                   ///< `member_ttl_ms`
  Milliseconds skew{5000};                  ///< `member_skew_ms`: leases from farther in the future are refused.
  Milliseconds remember{24 * 3'600'000LL};  ///< How long nodes that are gone are remembered.
  std::size_t snapshot_bytes_max = replication::snapshot_bytes_default;  ///< See `ReplicaConfig`.
  std::size_t nodes_max = 100'000;  ///< That are known, gone ones included; more are ignored.
  /// What `take_known` gave last in the life before. Only `longest_absence` and `has_past` know of it: whether a node
  /// is alive is found out anew.
  Term known = Term::map({});
  Milliseconds store_pause{10'000};  ///< Between two changes of what is stored: many come at once.
};

/// A node came to life or is gone: see `Members::is_alive`.
struct Liveness {
  Atom node;
  bool alive = false;
};

struct MembersCounters {
  std::uint64_t beats_received = 0;
  std::uint64_t rejected = 0;            ///< Malformed, in another node's name, or one node too many.
  std::uint64_t rejected_in_future = 0;  ///< Leases ahead of our clock by more than `skew`.
};

class Members final : private replication::ReplicatedState {
 public:
  /// The clock must outlive it.
  Members(MembersConfig config, replication::HybridClock& clock, const Now& now);

  // What happens.
  void neighbour_up(const Atom& node, const Now& now, Effects& out);
  void neighbour_down(const Atom& node);
  void set_native(const Atom& node);
  /// This node is about to leave: says so to the C++ nodes, counts itself no more, and is silent until a neighbour
  /// comes.
  void leave(const Now& now, Effects& out);
  void deliver(const Term& payload, const Now& now, Effects& out);
  void receive(const Atom& from, const Term& message, const Now& now, Effects& out);
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;
  /// Who came to life and who is gone since this was last asked, in order.
  [[nodiscard]] std::vector<Liveness> take_changes() { return std::exchange(changes_, {}); }

  /// By the protocol, sorted; this node among them, unless it left or was paused and has not said yet that it is back.
  [[nodiscard]] const std::vector<Atom>& members() const noexcept { return members_; }
  /// Grows with each change of `members`.
  [[nodiscard]] std::uint64_t revision() const noexcept { return revision_; }
  /// How often this node was paused for longer than its lease: each time others may have acted in its place.
  [[nodiscard]] std::uint64_t lapses() const noexcept { return lapses_; }
  /// Until then this node is a member for the others, if its last beat reached them.
  [[nodiscard]] MonotonicTime lease_until() const noexcept { return last_beat_ + config_.ttl; }
  [[nodiscard]] Milliseconds ttl() const noexcept { return config_.ttl; }
  [[nodiscard]] Milliseconds heartbeat() const noexcept { return config_.heartbeat; }
  /// This node is among `members`.
  [[nodiscard]] bool is_member() const noexcept { return own_member_; }
  /// Heard of within `ttl`; this node always is. Of nodes that were never heard of: no.
  [[nodiscard]] bool is_alive(const Atom& node) const noexcept;
  /// How many other nodes are known, gone ones that are remembered included.
  [[nodiscard]] std::size_t known() const noexcept { return leases_.size(); }
  /// How long ago it was last heard of; nothing when never, or too long ago to be remembered.
  [[nodiscard]] std::optional<Milliseconds> silent_for(const Atom& node, MonotonicTime now) const noexcept;
  /// The longest silence of a node that is gone and remembered, from earlier lives of this node too; nothing when there
  /// is none.
  [[nodiscard]] std::optional<Milliseconds> longest_absence(MonotonicTime now) const noexcept;
  /// Whether others were known in an earlier life of this node.
  [[nodiscard]] bool has_past() const noexcept { return has_past_; }
  /// What must be on disk before long: the next `MembersConfig::known`.
  std::optional<Term> take_known();
  /// The last one could not be written: `take_known` gives another one.
  void known_failed() noexcept { known_changed_ = true; }
  [[nodiscard]] const MembersCounters& counters() const noexcept { return counters_; }

 private:
  struct Lease {
    WallMilliseconds emit = INT64_MIN;      ///< The greatest one that was accepted.
    WallMilliseconds told = INT64_MIN;      ///< The greatest one of its own beats, also of a clock far ahead of ours.
    replication::Timestamp stamp;           ///< Of the newest beat.
    MonotonicTime heard{};                  ///< When something new came last.
    MonotonicTime expires{};                ///< The membership, when it is one.
    MonotonicTime vouched{};                ///< Until then our snapshots tell of it.
    WallMilliseconds farewell = INT64_MIN;  ///< Of its last goodbye: beats from before it ...
    MonotonicTime farewell_until{};         ///< ... say nothing until then. Its clock may be set back meanwhile.
    bool member = false;
    bool alive = false;
  };

  bool merge(const Atom& /*from*/, const Term& /*entries*/) override { return false; }
  bool merge_delta(const Atom& from, const Term& entries) override;
  bool apply_snapshot(const Atom& from, const Term& snapshot) override;
  [[nodiscard]] std::optional<Term> snapshot() const override;
  void merge_custom(const Atom& from, const Term& payload) override;
  void said_goodbye(const Atom& node, const Term& emit);
  [[nodiscard]] const replication::DigestTree* digests() const noexcept override { return nullptr; }
  [[nodiscard]] Term entry(const Term& /*key*/) const override { return {}; }

  Lease* lease_of(const Atom& node);
  bool renew(const Atom& node, Lease& lease, WallMilliseconds emit);
  [[nodiscard]] bool is_fresh(WallMilliseconds emit) const noexcept;
  void hear(const Atom& node, Lease& lease, MonotonicTime said);
  void end(const Atom& node, Lease& lease);
  void set_member(const Atom& node, Lease& lease, bool member);
  void list(const Atom& node, bool member);
  void set_own(bool member);
  void recall(const Term& known, const Now& now);
  void forget_missing(const Now& now);
  [[nodiscard]] Term known_term() const;
  void begin(const Now& now);
  void beat(const Now& now);
  void expire(const Now& now);
  void finish(Effects& out);

  MembersConfig config_;
  replication::HybridClock& clock_;
  Now now_;                                          ///< Of the input that is being handled.
  std::unordered_map<Atom, Lease> leases_;           ///< Of other nodes.
  std::unordered_map<Atom, MonotonicTime> missing_;  ///< Since when, of an earlier life and not heard of in this one.
  bool has_past_ = false;
  bool known_changed_ = false;
  MonotonicTime store_at_;
  std::vector<Atom> members_;
  std::vector<Atom> neighbours_;
  bool members_changed_ = false;
  std::uint64_t revision_ = 0;
  std::uint64_t lapses_ = 0;
  MonotonicTime excused_;  ///< Until then no lease ends: this node was not there to hear of its renewal.
  std::vector<Liveness> changes_;
  replication::Replica replica_;
  replication::ReplicaEffects from_replica_;  ///< Scratch, to save allocations.
  WallMilliseconds own_emit_;
  MonotonicTime last_beat_;
  MonotonicTime next_beat_;
  MonotonicTime next_check_;  ///< No lease ends before.
  /// When the node with a lease was last heard of that has been gone for the longest; `max`: none is. Unknown if empty.
  mutable std::optional<MonotonicTime> first_absence_;
  bool left_ = false;
  bool own_member_ = true;
  MembersCounters counters_;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
