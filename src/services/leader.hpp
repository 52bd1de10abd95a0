// Leader election as a machine without I/O: who campaigns for which names, on all nodes, and who of them leads.
//
//   key {Name, Node}   value {Pid, Priority}          one campaign a node and name, in a map for the whole cluster
//   fence of a name    {timestamp, Wall, Logical}     the greatest one that any leader of it was given
//
//   broadcast, tag barrel_p2p_leader_replica:
//     {delta, Node, #{{Name, Node} => {value, {Pid, Priority}, #{{Node, H} => true}} | {tombstone, H}}}
//     {custom, Node, {Name, H}}        a leader of Node was given this fence
//     {custom, Node, {began, H, Node}} nothing that Node campaigns for is older (ignored by Erlang nodes)
//   to the process barrel_p2p_leader_replica:
//     {'$barrel_p2p_replica', {full_sync, From, {#{{Name, Node} => Entry}, #{Name => H}}}}   all that From knows
//     {'$barrel_p2p_replica', {request_sync, From}}
//     between C++ nodes the digests of replication/replica.hpp, over candidates and fences alike: among the entries a
//     fence is {Name} => {value, Minter, #{{Minter, H} => true}}, and the one with the greater H is kept
//
// Who leads. Of the campaigns whose nodes are alive (members.hpp), the one with the greatest priority, of equal ones
// the one whose node has the smallest name. Every node comes to the same result by itself; the winner's node mints the
// fence. Entries of nodes that are not alive stay and count again when these are back: see standings.hpp.
//
// Fences. A fence is a stamp of this node's clock that was moved beyond the greatest one that is known of the name.
// Whenever a greater one turns up while a process of this node leads (the other side of a partition had a leader), a
// new one is minted, so that a leader is never below the high-water mark for long. Fences are written to the collection
// `leader/fences` of the durable store, and restored from it: the effect that writes one comes before anybody is told
// of it. A crash of all nodes before that write has ended loses no order: the clock of a node resumes beyond all it
// ever gave or saw (see HybridClockConfig::start). A fence that is not on the disk after a restart is still one that
// the other nodes have.
//
// A name is forgotten when nobody campaigns for it and its fence is older than `fence_age`: a fence that is minted
// later is greater even so, unless clocks differ by that much.
//
// Leases. The node of a leader holds on to its lead for `lease` since it was last ticked: others count it as dead, and
// elect another one, a heartbeat or more later. After a longer pause it revokes first of all, and leads again only when
// it has compared what it knows with a neighbour, or has none, or waited for `lease` in vain. `is_leader` and `fence`
// take the time and are right during the pause as well.
//
// A node speaks for its own campaigns alone. What others remember of it that it does not know any more (from before a
// restart) it removes, with a newer stamp.
//
// Source: protocol document 05, sections 2.2, 8, 9 and 11. One thread at a time.
#pragma once

#include <algorithm>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/leader.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "replication/clock.hpp"
#include "replication/ormap_state.hpp"
#include "replication/replica.hpp"
#include "services/effects.hpp"
#include "services/leader_contest.hpp"
#include "services/members.hpp"
#include "services/standings.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

inline constexpr std::string_view leader_replica_name = "barrel_p2p_leader_replica";
/// Collection of the durable store: the greatest fence of each name.
inline constexpr std::string_view leader_fences_collection = "leader/fences";

struct LeaderConfig {
  Atom own;
  std::uint64_t seed = 0;
  Milliseconds anti_entropy_period{30'000};
  std::size_t snapshot_bytes_max = replication::snapshot_bytes_default;  ///< See `ReplicaConfig`.
  /// `member_ttl_ms` less `member_heartbeat_ms`: when a node was ticked last its last beat may have been a heartbeat
  /// ago, and others elect no sooner than `member_ttl_ms` after it.
  Milliseconds lease{4000};
  std::size_t candidates_max = 200'000;          ///< See RegistryConfig: about 200 MB.
  std::size_t candidates_per_node_max = 20'000;  ///< Likewise, with tombstones.
  std::size_t queue_max = 1000;                  ///< Processes of this node that campaign for one name.
  /// Beyond it the oldest one of a name without candidates is forgotten. For those that this node mints there is room
  /// of its own: `candidates_per_node_max`.
  std::size_t fences_max = 200'000;
  Milliseconds tombstone_age{3'600'000};     ///< Removals are remembered for so long.
  Milliseconds forget_after{3'600'000};      ///< See RegistryConfig.
  Milliseconds fence_age{7 * 86'400'000LL};  ///< Of names without candidates: far more than clocks differ.
  Milliseconds vouch_for{6000};              ///< See RegistryConfig.
  Milliseconds expect_for{6000};             ///< Likewise.
  std::size_t announcements_max = 64;        ///< Likewise.
  Milliseconds announce_pause{20};           ///< Likewise.
};

/// What a candidate gets as a message: `{barrel_p2p_leader, Name, {elected, Fence} | revoked}`.
[[nodiscard]] Term to_message(const LeaderEvent& event);

/// What is known of a name, for those who read it later and elsewhere: `leader`, `is_leader` and `fence` of the machine
/// in one.
struct LeaderView {
  std::optional<Contest::Winner> winner;  ///< Nothing when it is of this node and must not lead.
  std::optional<Contest::Reign> reign;    ///< Of a process of this node.

  /// Whether the reign counts at this time; `held_until` is that of the machine, read before the view.
  [[nodiscard]] bool holds(MonotonicTime now, MonotonicTime held_until) const noexcept {
    return reign && now <= held_until && now <= reign->until;
  }
};

struct LeaderCounters {
  std::uint64_t elections = 0;     ///< Terms of this node's candidates.
  std::uint64_t renewals = 0;      ///< Fences that were minted anew within a term.
  std::uint64_t revocations = 0;   ///< That a candidate was told of.
  std::uint64_t pauses = 0;        ///< In which this node was not ticked for longer than the lease.
  std::uint64_t out_of_reach = 0;  ///< Elections put off: the name's fence is too far in the future for our clock.
  std::uint64_t rejected = 0;      ///< Entries and fences of peers: malformed, in another node's name, too many.
  std::uint64_t ghosts = 0;        ///< Own entries that others had otherwise: removed, or written again.
  std::uint64_t fences_forgotten = 0;
};

class Leader final : private replication::ReplicatedState {
 public:
  using Stored = std::vector<std::pair<Term, replication::Entry>>;

  /// `stored`: what the durable store has in `leader_fences_collection`. Clock and members must outlive it.
  Leader(LeaderConfig config, replication::HybridClock& clock, const Members& members, const Stored& stored,
         const Now& now);

  // What the program asks for.
  /// The process campaigns. Of the processes of this node that campaign for a name only the first one stands for
  /// election, by priority and then by who came first; the others follow when it is gone. Errors: `already_candidate`:
  /// the process campaigns for the name already; `already_registered`: Erlang nodes take the name for another one that
  /// is in use (1 and 1.0); `invalid_argument`: the priority is no integer, or name or priority too long;
  /// `limit_exceeded`.
  Result<Role> lead(const Term& name, const Pid& pid, const LeadOptions& options, const Now& now, Effects& out);
  /// Its min_members stay. Errors: `invalid_argument`, as above; `not_found`: the process does not campaign for it.
  Result<void> set_priority(const Term& name, const Pid& pid, const Term& priority, const Now& now, Effects& out);
  /// Ends the campaign of the process, or those of all processes of this node. False: there is none.
  bool resign(const Term& name, const std::optional<Pid>& pid, const Now& now, Effects& out);
  /// Answers `Watch`: all of its campaigns end.
  void process_down(const Pid& pid, const Now& now, Effects& out);

  // What happens.
  void neighbour_up(const Atom& node, const Now& now, Effects& out);
  void gossip_lost(const Atom& node, const Now& now) { replica_.suspect(node, now.monotonic); }
  void neighbour_down(const Atom& node) { replica_.peer_down(node); }
  void set_native(const Atom& node) { replica_.set_native(node); }
  /// This node is about to leave: others elect at once, so nobody leads here until the next neighbour comes.
  void leave(const Now& now, Effects& out);
  /// A node came to life, or its lease ended.
  void liveness(const Liveness& change, const Now& now, Effects& out);
  void deliver(const Term& payload, const Now& now, Effects& out);
  void receive(const Atom& from, const Term& message, const Now& now, Effects& out);
  /// See `Maps::store_failed`: fences among the changes are written again.
  void store_failed(std::span<const StoreChange> changes);
  /// After that of `Members`. While a process of this node campaigns the deadline is never far.
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  // What is known.
  /// Nothing: nobody campaigns, or the winner is of this node and must not lead (`min_members`, a pause).
  [[nodiscard]] std::optional<Contest::Winner> leader(const Term& name, const Now& now) const;
  /// Whether a process of this node leads.
  [[nodiscard]] bool is_leader(const Term& name, const Now& now) const;
  /// Of the process of this node that leads.
  [[nodiscard]] std::optional<Fence> fence(const Term& name, const Now& now) const;
  [[nodiscard]] LeaderView view(const Term& name) const;
  /// Until then nobody else is elected in place of a process that leads here, whatever happens to this node: no reign
  /// counts later. Moves on with each tick; after a pause only when what it interrupted is over.
  [[nodiscard]] MonotonicTime held_until() const noexcept { return ticked_at_ + config_.lease; }
  /// Nodes that campaign and are alive, sorted.
  [[nodiscard]] std::vector<Atom> candidates(const Term& name) const;
  /// The greatest fence that is known of the name.
  [[nodiscard]] std::optional<Fence> high_water(const Term& name) const;
  [[nodiscard]] const replication::OrMap& map() const noexcept { return state_.map(); }
  [[nodiscard]] const LeaderCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const replication::ReplicaCounters& replica_counters() const noexcept { return replica_.counters(); }

 private:
  /// A node with entries here.
  struct Owner {
    std::unordered_set<Term> keys;  ///< Tombstones too.
  };
  /// What a peer sent, while it is taken over.
  struct Incoming {
    Atom from;
    bool only_of_sender = false;
    std::size_t added = 0;
    std::unordered_map<Atom, std::size_t> added_of{};
    std::vector<Term> ghosts{};
    std::size_t passed_over = 0;  ///< Refused without blame.
  };
  struct Announcement {
    bool custom = false;
    Term payload;
  };

  // ReplicatedState.
  bool merge(const Atom& from, const Term& entries) override;
  bool merge_delta(const Atom& from, const Term& entries) override { return take(from, true, entries); }
  bool apply_snapshot(const Atom& from, const Term& snapshot) override;
  [[nodiscard]] std::optional<Term> snapshot() const override;
  void merge_custom(const Atom& from, const Term& payload) override;
  [[nodiscard]] const replication::DigestTree* digests() const noexcept override { return state_.digests(); }
  [[nodiscard]] Term entry(const Term& key) const override { return state_.entry(key); }
  [[nodiscard]] bool covers(const Term& key, const replication::Timestamp& stamp) const override {
    return state_.covers(key, stamp);
  }

  void begin(const Now& now, Effects& out);
  void end();

  // Campaigns of this node.
  [[nodiscard]] Result<void> check_campaign(const Term& name, const Pid& pid, const LeadOptions& options) const;
  void publish(const Term& name, const Contest& contest);
  void withdraw(const Term& name, const Pid& pid);
  void stop_watching(const Pid& pid, const Term& name);
  void announce(Announcement announcement);
  void send_announcements();

  // Elections.
  void elect(const Term& name);
  void elect_all();
  [[nodiscard]] bool renewal_is_due(const Contest::Reign& reign, const replication::Timestamp& greatest);
  [[nodiscard]] std::optional<MonotonicTime> may_lead_until(const Candidate& candidate);
  [[nodiscard]] const std::vector<MonotonicTime>& others_heard();
  [[nodiscard]] std::optional<replication::Timestamp> mint(const Term& name);
  void revoke(const Term& name, Contest& contest);
  void tell(const Pid& pid, LeaderEvent::Kind kind, const Term& name, const replication::Timestamp& stamp);
  void note_pause();
  void end_pause();
  void review_campaigns();

  // Fences.
  bool take_fence(const Term& name, const replication::Timestamp& stamp, const Atom& minter);
  bool raise(const Term& name, const replication::Timestamp& stamp, const Atom& minter, std::size_t bound);
  void remember(const Term& name, const replication::Entry& entry);
  void forget_fence(const Term& name);
  [[nodiscard]] bool make_room_for_fence(std::size_t bound);
  void forget_old_fences();
  void write_fences();

  // Entries of peers.
  bool take(const Atom& from, bool only_of_sender, const Term& entries);
  bool acceptable(const Term& key, const replication::Entry& entry);
  bool acceptable_own(const Term& key, const replication::Entry& entry);
  [[nodiscard]] std::size_t campaigned() const;
  [[nodiscard]] std::size_t known_of(const Atom& node) const;
  [[nodiscard]] std::size_t known_of_others() const { return candidates_known_ - campaigned(); }
  bool has_room(const Term& key, const Atom& node);
  void make_room(const Term& entries);
  bool lay_ghost(const Term& key);
  bool bury_before(const replication::Timestamp& time, const Atom& node, const Term* snapshot);
  void on_change(const Term& key, replication::Change change, const replication::Entry& entry);
  void erase(const Term& key);

  // Who is alive.
  Owner& owner_of(const Atom& node);
  [[nodiscard]] bool is_offered(const Term& key) const;
  void set_standing(const Atom& node, const Standings::Change& change);
  void plan_judging();
  [[nodiscard]] WallMilliseconds outdated_before() const noexcept { return now_.wall - config_.tombstone_age.count(); }
  void scan();
  void forget_gone();
  void forget(const Atom& node);
  void collect_tombstones();
  void plan_scan(MonotonicTime at) noexcept { scan_at_ = std::min(scan_at_, at); }

  LeaderConfig config_;
  replication::HybridClock& clock_;
  const Members& members_;
  Now now_;                        ///< Of the input that is being handled.
  Effects* out_ = nullptr;         ///< Likewise.
  replication::OrMapState state_;  ///< Candidates, and the greatest fence of each name.
  replication::Replica replica_;
  replication::ReplicaEffects replica_effects_;

  const replication::Timestamp began_;  ///< No campaign of this node is older.
  std::size_t began_told_ = 0;          ///< How often others were told so.

  std::unordered_map<Term, Contest> contests_;
  std::unordered_map<Atom, Owner> owners_;
  std::unordered_set<Term> ghosts_;   ///< Own keys that are removed, and that nobody here campaigned for in this life.
  Standings standings_;               ///< Of the owners.
  std::size_t candidates_known_ = 0;  ///< Of all owners.
  std::unordered_map<Pid, std::set<Term, TermLess>> watched_;  ///< Names by process.
  std::unordered_set<Term> campaigns_;                         ///< Names with a candidate of this node.
  std::unordered_set<Term> dirty_;                             ///< Names whose winner may be another.
  MonotonicTime scan_at_ = MonotonicTime::max();

  std::set<FenceOfName> fences_by_age_;
  std::unordered_set<Term> unwritten_;  ///< Names whose fence the disk does not have.
  std::unordered_set<Term> refused_;    ///< Likewise, and it was tried.

  MonotonicTime ticked_at_;
  bool left_ = false;
  std::optional<MonotonicTime> paused_until_;  ///< At the latest.
  MonotonicTime woke_at_;
  MonotonicTime heard_at_;                           ///< Last that a neighbour told what it has and we did not.
  MonotonicTime recheck_at_ = MonotonicTime::max();  ///< When a reign may end by time.
  /// When the other members were heard of, the latest first; as it was at that time, with that revision of the members.
  std::vector<MonotonicTime> others_heard_;
  MonotonicTime others_asked_at_ = MonotonicTime::min();
  std::uint64_t others_revision_ = 0;

  Incoming incoming_;
  std::deque<Announcement> announcements_;
  std::size_t announced_ = 0;  ///< Since `announce_at_` was set.
  MonotonicTime announce_at_;
  std::set<Term, TermLess> changed_;  ///< Names of which the view is another, until the end of the input.
  std::vector<LeaderHappened> happened_;
  std::optional<std::pair<Term, Pid>> starting_;  ///< The campaign whose role is told by the result of `lead`.
  LeaderCounters counters_;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
