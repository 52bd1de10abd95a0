// The registry of services as a machine without I/O: which processes are registered under which names, on all nodes.
//
//   key {Name, Node}   value {service_entry, Name, Pid, Node, Meta}   in one replicated map for the whole cluster
//
//   broadcast, tag barrel_p2p_registry_replica:
//     {delta, Node, #{Key => {value, Entry, #{{Node, H} => true}} | {tombstone, H}}}
//   to the process barrel_p2p_registry_replica:
//     {'$barrel_p2p_replica', {full_sync, From, OwnEntriesOfFrom}}
//     {'$barrel_p2p_replica', {request_sync, From}}
//     between C++ nodes the digests and confirmations of replication/replica.hpp, over the entries of all nodes
//
// A node speaks for its own registrations alone: only it may write or remove under keys with its name. What others
// remember of it that it does not know any more (from before a restart) it removes itself, with a newer stamp; what
// they have otherwise than it, it writes again. Therefore removals need not be remembered for ever: an entry that comes
// back after its tombstone was collected is removed again as soon as its own node hears of it.
//
// An entry is shown while its node is alive by its lease, whoever is whose neighbour: see standings.hpp.
//
// An Erlang node forgets in a restart what it had registered, and does not say so: it sends no snapshot of nothing. So
// what is known of an Erlang neighbour, and not from itself since it became one, is asked for
// (registry_questions.hpp):
//
//   to the process barrel_p2p_registry:   {'$gen_call', {Pid, Ref}, get_local_ormap}
//   reply, to Pid:                        {Ref, OwnEntries}
//
// Source: protocol document 05, sections 2 to 4 and 11. One thread at a time.
#pragma once

#include <algorithm>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/services.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/clock.hpp"
#include "replication/clock.hpp"
#include "replication/ormap_state.hpp"
#include "replication/replica.hpp"
#include "services/effects.hpp"
#include "services/members.hpp"
#include "services/registry_index.hpp"
#include "services/registry_questions.hpp"
#include "services/standings.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

inline constexpr std::string_view registry_replica_name = "barrel_p2p_registry_replica";

struct RegistryConfig {
  Atom own;
  std::uint64_t seed = 0;
  Milliseconds anti_entropy_period{30'000};
  std::size_t snapshot_bytes_max = replication::snapshot_bytes_default;  ///< See `ReplicaConfig`.
  std::size_t entries_max = 1'000'000;  ///< Of all nodes, with tombstones: about 1 GB. What the program registers and
                                        ///< removes here does not count: others cannot take its room. When it
                                        ///< is full what nodes have that are gone gives way.
  /// Live ones and tombstones of one node. Of this one, of what the program registers and removes; and once more of its
  /// ghosts, which others tell of.
  std::size_t entries_per_node_max = 100'000;
  std::size_t meta_bytes_max = 16UL * 1024;  ///< Of one entry, encoded: every node of the cluster holds it.
  Milliseconds tombstone_age{3'600'000};     ///< Removals are remembered for so long.
  /// Entries of nodes that have been gone for so long are forgotten. Not above `tombstone_age`: who comes back later
  /// has forgotten as well what was removed meanwhile.
  Milliseconds forget_after{3'600'000};
  Milliseconds vouch_for{6000};  ///< `member_ttl_ms`: at least one beat arrives in it.
  /// Likewise. Not longer: what newcomers expect they tell other newcomers, and what nodes that are gone have left
  /// would go round among them.
  Milliseconds expect_for{6000};
  std::size_t announcements_max = 64;  ///< Broadcasts for keys of which many change at once, each `announce_pause`:
  Milliseconds announce_pause{20};     ///< more than that would push others' broadcasts out of the channels.
};

/// A visible registration. The terms are shared with the map.
struct Registration {
  Term name;
  Pid pid;
  Atom node;
  Term meta;
};

struct RegistryCounters {
  std::uint64_t registrations = 0;  ///< Of this node.
  std::uint64_t removals = 0;       ///< Of this node, by a call or by the end of the process.
  std::uint64_t rejected = 0;       ///< Entries of peers: malformed, in another node's name, beyond a bound.
  std::uint64_t ghosts = 0;         ///< Own entries that others had otherwise: removed, or written again.
};

class Registry final : private replication::ReplicatedState {
 public:
  /// Clock and members must outlive it.
  Registry(RegistryConfig config, replication::HybridClock& clock, const Members& members, const Now& now);

  // What the program asks for.
  /// Registers the process. `ticket`, if not 0, is completed when every neighbour has the entry (see `RegisterOptions`)
  /// or with `timeout` after `limit`; an error that is returned completes nothing. Errors: `already_registered`: this
  /// node has the name; `invalid_argument`: the name is neither atom nor binary, or the metadata no map;
  /// `limit_exceeded`.
  Result<void> add(const Term& name, const Pid& pid, const Term& meta, Ticket ticket, Milliseconds limit,
                   const Now& now, Effects& out);
  /// Removes this node's registration. False: there is none.
  bool remove(const Term& name, const Now& now, Effects& out);
  /// Answers `Watch`: all of its registrations here end.
  void process_down(const Pid& pid, const Term& reason, const Now& now, Effects& out);

  /// How Erlang neighbours are asked: the process whose messages go to `reply`, and what makes a reference that was
  /// never used. Until then they are not asked.
  void ask_as(Pid reply_to, std::function<Ref()> make_reference);

  // What happens.
  void neighbour_up(const Atom& node, const Now& now, Effects& out);
  void gossip_lost(const Atom& node, const Now& now) { replica_.suspect(node, now.monotonic); }
  void neighbour_down(const Atom& node);
  void set_native(const Atom& node);
  void leave();
  /// A node came to life, or its lease ended.
  void liveness(const Liveness& change, const Now& now, Effects& out);
  void deliver(const Term& payload, const Now& now, Effects& out);
  void receive(const Atom& from, const Term& message, const Now& now, Effects& out);
  /// A message to the process of `ask_as`, from the node that its channel proved. Only the node that was asked is
  /// believed.
  void reply(const Atom& from, const Term& message, const Now& now, Effects& out);
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  // What is known. Entries of nodes that are not alive are not shown.
  /// This node's own first, then by node name.
  [[nodiscard]] std::vector<Registration> lookup(const Term& name) const;
  /// That of the node.
  [[nodiscard]] std::optional<Registration> lookup(const Term& name, const Atom& node) const;
  [[nodiscard]] std::optional<Pid> lookup_local(const Term& name) const;
  /// Names with a visible entry, in Erlang's term order.
  [[nodiscard]] std::vector<Term> names() const;
  /// Recomputes from the map what is kept beside it, and compares.
  [[nodiscard]] RegistryAudit verify() const;
  [[nodiscard]] const replication::OrMap& map() const noexcept { return state_.map(); }
  [[nodiscard]] const RegistryCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const replication::ReplicaCounters& replica_counters() const noexcept { return replica_.counters(); }

 private:
  /// What a peer sent, while it is taken over.
  struct Incoming {
    Atom from;
    bool only_of_sender = false;
    std::size_t added = 0;                             ///< New keys.
    std::unordered_map<Atom, std::size_t> added_of{};  ///< By node.
    std::vector<Term> ghosts{};
    std::size_t passed_over = 0;  ///< Refused without blame.
  };

  // ReplicatedState.
  bool merge(const Atom& from, const Term& entries) override { return take(from, false, entries); }
  bool merge_delta(const Atom& from, const Term& entries) override { return take(from, true, entries); }
  bool apply_snapshot(const Atom& from, const Term& snapshot) override;
  [[nodiscard]] std::optional<Term> snapshot() const override;
  void merge_custom(const Atom& from, const Term& payload) override;
  [[nodiscard]] const replication::DigestTree* digests() const noexcept override { return state_.digests(); }
  [[nodiscard]] Term entry(const Term& key) const override { return state_.entry(key); }
  [[nodiscard]] bool has(const Term& key, const Term& entry_term) const override { return state_.has(key, entry_term); }
  [[nodiscard]] bool covers(const Term& key, const replication::Timestamp& stamp) const override {
    return state_.covers(key, stamp);
  }

  void begin(const Now& now, Effects& out);
  void end();
  void settle_confirmations();

  void bury_earlier(const Atom& node, const replication::Timestamp& began);
  bool take(const Atom& from, bool only_of_sender, const Term& entries);
  bool acceptable(const Term& key, const replication::Entry& entry);
  bool acceptable_own(const Term& key, const replication::Entry& entry);
  [[nodiscard]] std::size_t registered() const;
  [[nodiscard]] std::size_t known_of(const Atom& node) const;
  [[nodiscard]] std::size_t known_of_others() const { return map().size() - registered(); }
  bool has_room(const Term& key, const Atom& node);
  void make_room(const Term& entries);
  bool lay_ghost(const Term& key);
  bool bury_forgotten(const Atom& node, const Term& snapshot);
  bool bury_missing(const Atom& node, const RegistryQuestions::Known& asked, const Term& answer);
  void ask_neighbours();

  void on_change(const Term& key, replication::Change change, const replication::Entry& entry);
  ServiceOwner& owner_of(const Atom& node);
  void happened(ServiceEvent::Kind kind, const Term& key, Term reason = {});
  void stop_watching(const Pid& pid, const Term& name);
  void announce(const Term& key);
  void send_announcements();
  void erase(const Term& key);

  void set_standing(const Atom& node, const Standings::Change& change);
  void plan_judging();
  [[nodiscard]] WallMilliseconds outdated_before() const noexcept { return now_.wall - config_.tombstone_age.count(); }
  void scan();
  void forget_gone();
  void forget(const Atom& node);
  void collect_tombstones();
  void plan_scan(MonotonicTime at) noexcept { scan_at_ = std::min(scan_at_, at); }

  void audit_names(RegistryAudit& audit) const;
  void audit_owners(RegistryAudit& audit) const;
  void audit_watches(RegistryAudit& audit) const;

  RegistryConfig config_;
  replication::HybridClock& clock_;
  const Members& members_;
  Now now_;                 ///< Of the input that is being handled.
  Effects* out_ = nullptr;  ///< Likewise.
  replication::OrMapState state_;
  replication::Replica replica_;
  replication::ReplicaEffects replica_effects_;

  const replication::Timestamp began_;  ///< Nothing that this node registers is older.
  std::size_t began_told_ = 0;          ///< How often others were told so.

  ServiceNames names_;
  ServiceOwners owners_;
  std::unordered_set<Term> ghosts_;  ///< Own keys that are removed, and that the program did not register in this life.
  Standings standings_;              ///< Of the owners.
  Tombstones tombstones_;
  std::unordered_map<Pid, std::set<Term, TermLess>> watched_;  ///< Names by process.
  MonotonicTime scan_at_ = MonotonicTime::max();

  Incoming incoming_;
  RegistryQuestions questions_;
  std::optional<Pid> reply_to_;
  std::function<Ref()> make_reference_;
  std::optional<Term> end_reason_;                           ///< While the names of a process that ended are removed.
  std::unordered_map<std::uint64_t, Ticket> confirmations_;  ///< Of the replica, by token.
  std::vector<Completed> completed_;                         ///< To be told with the next effects.
  std::deque<Term> announcements_;
  std::size_t announced_ = 0;  ///< Since `announce_at_` was set.
  MonotonicTime announce_at_;
  RegistryCounters counters_;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
