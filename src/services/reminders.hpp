// Durable reminders as a machine without I/O: a key, a due time and a payload on every node; the node that owns the key
// (placement.hpp) tells its subscribers when the time has come, and removes it.
//
//   broadcast, tag barrel_p2p_reminder_replica:   {delta, Node, #{Key => {value, {Due, Payload, Version}, Dots}
//                                                                     | {tombstone, H}}}
//   to the process barrel_p2p_reminder_replica:   {'$barrel_p2p_replica', {full_sync, From, WholeMap}}
//                                                 {'$barrel_p2p_replica', {request_sync, From}}
//   between C++ nodes the digests of replication/replica.hpp.
//
// Due: Unix milliseconds. Version: the stamp of the `remind`; as a number of 96 bits it is the fence that subscribers
// get, the same on every node, greater for a later `remind` of the same key.
//
// In a cluster whose members do not change each reminder fires once. Subscribers are told before anybody hears that the
// reminder is gone, so one whose owner dies meanwhile fires again at the next owner, with the same fence, and none is
// lost: receivers that must not act twice compare fences. Otherwise:
//
// - After the start, a pause or a jump of the wall clock others may have fired what is due here. Nothing fires until
//   this node has compared its reminders with a neighbour and its members are settled, or for one lease. Nor does
//   anything fire without a lease, or for a moment after owners changed: word of what the old one did is under way.
// - Without a local subscriber a reminder that is due is kept until there is one.
// - In a split each side fires everything, unless placement is told to own nothing in a minority.
//
// A reminder that fires by more than `late_after` after its time is late. The policy says whether it does; the rate of
// late ones is limited, and the others do not wait for them.
//
// Recurrence: who says when the same reminder is due again (`set_next`) is asked when it fires, and the new time takes
// the place of the tombstone: there is no moment in which a crash could end the series.
//
// Sources: protocol document 06, sections 1, 2.2, 5 and 11; document 04. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/reminders.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/token_bucket.hpp"
#include "replication/clock.hpp"
#include "replication/ormap_state.hpp"
#include "replication/replica.hpp"
#include "services/absences.hpp"
#include "services/aging_clock.hpp"
#include "services/collection_writer.hpp"
#include "services/due_index.hpp"
#include "services/effects.hpp"
#include "services/members.hpp"
#include "services/placement.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

inline constexpr std::string_view reminder_replica_name = "barrel_p2p_reminder_replica";
/// Of the durable store.
inline constexpr std::string_view reminder_collection = "reminders";

struct RemindersConfig {
  Atom own{};
  std::uint64_t seed = 0;
  Milliseconds anti_entropy_period{30'000};                              ///< `replica_anti_entropy_ms`
  std::size_t snapshot_bytes_max = replication::snapshot_bytes_default;  ///< See `ReplicaConfig`.
  Milliseconds scan_period{1000};                 ///< `reminder_scan_ms`: how often old tombstones are looked for.
  Milliseconds tombstone_ttl{3'600'000};          ///< `reminder_tombstone_ttl_ms`
  Milliseconds tombstone_hold{24 * 3'600'000LL};  ///< Tombstones are kept at most for so long because of absent nodes.
  std::size_t entries_max = 10'000'000;           ///< Reminders with their tombstones.
  std::size_t entry_bytes_max = 1024UL * 1024;    ///< Key and payload, encoded: they pass every node.
  std::size_t delta_bytes_max = 64UL * 1024;      ///< Of several tombstones in one broadcast, about.
  LatePolicy late_policy = LatePolicy::fire;      ///< `reminder_late_policy`
  /// `reminder_late_after_ms`: more than an unplanned change of owner takes, the lease and a little.
  Milliseconds late_after{10'000};
  /// `reminder_late_rate`: late ones that fire in a second, and at once after a rest; 0: no limit.
  std::uint32_t late_rate = 1000;
  /// `reminder_keep_without_subscriber`: else dropped when due, as Erlang nodes do.
  bool keep_without_subscriber = true;
  Milliseconds settled_after{1000};  ///< After the last change of owners, while nothing may fire yet.
  Milliseconds handover{100};        ///< From a change of owners on nothing fires: a broadcast takes less.
  std::size_t fires_max = 1000;      ///< After one input: others have their turn, and the disk.
};

/// `{barrel_p2p_reminder, Key, Payload, Fence}`, as processes get it.
[[nodiscard]] Term message_of(const ReminderEvent& event);

class Reminders {
 public:
  using Next = std::function<std::optional<WallMilliseconds>(const ReminderEvent& previous)>;

  /// The other objects must outlive it.
  Reminders(RemindersConfig config, replication::HybridClock& clock, const Members& members, const Placement& placement,
            const Now& now);
  ~Reminders() = default;
  Reminders(const Reminders&) = delete;
  Reminders& operator=(const Reminders&) = delete;

  // Before anything else, once: how much the durable store has in `reminder_collection`, each of it, then `start`.
  void reserve(std::size_t count) { state_.reserve(count); }
  void restore(const Term& key, replication::Entry entry);
  void start(const Now& now);

  // What the program asks for. Tickets that are not 0 are answered by the `Persist` that has them, unless an error is
  // returned.
  /// Sets it, or sets it anew. What is due already fires at the next `tick`, which `deadline` asks for. Errors:
  /// `limit_exceeded`; `already_registered`: Erlang nodes take the key for another one that is present (1 and 1.0).
  Result<void> remind(const Term& key, WallMilliseconds due, const Term& payload, Ticket ticket, const Now& now,
                      Effects& out);
  /// Of unknown keys too: another node may know them. Error: `limit_exceeded`.
  Result<void> cancel(const Term& key, Ticket ticket, const Now& now, Effects& out);
  /// Whether anybody on this node wants to be told. What is due then fires at the next `tick`.
  void set_subscribed(bool subscribed) noexcept { subscribed_ = subscribed; }
  /// Who is asked of every reminder that fires here, before anybody is told.
  void set_next(Next next) { next_ = std::move(next); }

  // What happens.
  void neighbour_up(const Atom& node, const Now& now);
  void gossip_lost(const Atom& node, const Now& now) { replica_.suspect(node, now.monotonic); }
  void neighbour_down(const Atom& node) { replica_.peer_down(node); }
  void set_native(const Atom& node) { replica_.set_native(node); }
  /// The next `neighbour_up` ends it; meanwhile nothing fires here.
  void leave();
  void deliver(const Term& payload, const Now& now, Effects& out);
  void receive(const Atom& from, const Term& message, const Now& now, Effects& out);
  /// As `Maps::store_failed`; changes of other collections are ignored.
  void store_failed(std::span<const StoreChange> changes);
  /// `Placement::update` gave other owners.
  void owners_changed(const Now& now) { advance(now); }
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  // What is known.
  [[nodiscard]] std::optional<Reminder> find(const Term& key) const;
  /// Those that are due next, the earliest first: at most so many, and fewer where many were changed lately.
  [[nodiscard]] std::vector<DueIndex::Item> next(std::size_t count) const;
  [[nodiscard]] const replication::OrMap& entries() const noexcept { return state_.map(); }
  [[nodiscard]] ReminderStatistics statistics() const;
  /// For the log.
  [[nodiscard]] std::vector<std::string> take_warnings() { return std::exchange(warnings_, {}); }

 private:
  using Item = DueIndex::Item;

  void begin(const Now& now, Effects& out);
  void advance(const Now& now);
  void finish(Ticket ticket);
  void write(Term delta, Ticket ticket);
  void changed(const Term& key, replication::Change change, const replication::Entry& entry, const Atom& from);

  void index(const Term& key, const replication::Entry& entry);
  void rebuild_index();
  void sort_index();
  void follow_owners();

  void hold();
  void release();
  [[nodiscard]] bool is_compared() const noexcept;
  [[nodiscard]] bool may_fire() const noexcept;
  void fire_due();
  void fire_waiting(std::size_t& steps);
  bool consume(const Item& item, bool tell);
  Result<Term> settle(const Term& key, const Term& payload, const ReminderEvent& event);
  void flush_settled();

  void scan();
  void answer_overruled(const Atom& to);

  const RemindersConfig config_;
  const Members& members_;
  const Placement& placement_;
  const Atom replica_name_;
  Now now_;                 ///< Of the input that is being handled, or the last one.
  Effects* out_ = nullptr;  ///< Likewise.
  replication::OrMapState state_;
  replication::Replica replica_;
  replication::ReplicaEffects from_replica_;
  Absences absences_;
  AgingClock aging_clock_;
  MonotonicTime next_scan_;
  CollectionWriter writer_;  ///< For the disk.

  DueIndex due_;
  std::deque<Item> waiting_;    ///< Late ones for which the rate had no room, the earliest first.
  std::vector<Item> unwanted_;  ///< That could not be removed, until the next scan.
  TokenBucket late_rate_;
  std::uint64_t owners_seen_ = 0;  ///< `Placement::revision`.
  MonotonicTime owners_since_;
  bool subscribed_ = false;
  bool left_ = false;

  std::optional<MonotonicTime> hold_until_;  ///< Nothing fires before, unless `compared_`.
  bool compared_ = false;                    ///< With a neighbour, since the hold began.
  std::uint64_t lapses_ = 0;                 ///< `Members::lapses`.

  Next next_;
  std::size_t fires_ = 0;          ///< After this input.
  std::vector<TermPair> settled_;  ///< What became of those that fired, to be broadcast.
  std::size_t settled_bytes_ = 0;
  std::uint64_t fired_count_ = 0;
  std::uint64_t late_count_ = 0;
  std::uint64_t skipped_count_ = 0;
  std::uint64_t forced_collections_ = 0;
  bool told_too_large_ = false;
  std::vector<std::string> warnings_;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
