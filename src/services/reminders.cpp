#include "services/reminders.hpp"

#include <algorithm>
#include <ranges>
#include <string>
#include <tuple>
#include <unordered_set>

#include "services/forward.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

using replication::Change;
using replication::Entry;

/// Outdated items, those that fire and late ones that one input looks at: about 10 ms of work.
constexpr std::size_t steps_max = 10'000;

/// The value is `{Due, Payload, Version}`.
bool is_reminder(const Entry& entry) {
  if (!entry.is_live()) return true;
  const Term& value = entry.value();
  return value.is_tuple(3) && value[0].is_integer() && replication::timestamp_of(value[2]);
}

/// Of key and payload, encoded. `entry` is a reminder.
std::size_t bytes_of(const Term& key, const Entry& entry) {
  return encoded_size(key, false) + (entry.is_live() ? encoded_size(entry.value()[1], false) : 0);
}

/// Erlang nodes take integers of any size: those that are no time are never or at once.
WallMilliseconds due_of(const Term& value) {
  if (const auto due = value[0].as_int64()) return *due;
  const auto big = value[0].as_big_integer();
  return big && big->negative ? INT64_MIN : INT64_MAX;
}

/// `version` is a stamp.
Fence fence_of(const Term& version) {
  const auto stamp = replication::timestamp_of(version).value();
  return {static_cast<std::uint64_t>(stamp.wall), stamp.logical};
}

replication::OrMapStateConfig state_config(const RemindersConfig& config) {
  replication::OrMapStateConfig state;
  state.own = config.own;
  state.entries_max = config.entries_max;
  state.check = [bytes_max = config.entry_bytes_max](const Term& key, const Entry& entry) {
    return is_reminder(entry) && bytes_of(key, entry) <= bytes_max;
  };
  return state;
}

replication::ReplicaConfig replica_config(const RemindersConfig& config, const Atom& name) {
  replication::ReplicaConfig replica;
  replica.own = config.own;
  replica.name = name;
  replica.seed = config.seed;
  replica.anti_entropy_period = config.anti_entropy_period;
  replica.snapshot_bytes_max = config.snapshot_bytes_max;
  return replica;
}

}  // namespace

Term message_of(const ReminderEvent& event) {
  return Term::tuple({Atom("barrel_p2p_reminder"), event.key, event.payload, event.fence.term()});
}

Reminders::Reminders(RemindersConfig config, replication::HybridClock& clock, const Members& members,
                     const Placement& placement, const Now& now)
    : config_(std::move(config)),
      members_(members),
      placement_(placement),
      replica_name_(reminder_replica_name),
      now_(now),
      state_(
          state_config(config_), clock, [this] { return now_.wall; },
          [this](const Term& key, Change change, const Entry& entry, const Atom& from) {
            changed(key, change, entry, from);
          }),
      replica_(replica_config(config_, replica_name_), state_, now.monotonic),
      absences_(config_.tombstone_hold),
      aging_clock_(config_.tombstone_hold),
      next_scan_(now.monotonic + config_.scan_period),
      writer_(std::string(reminder_collection)),
      late_rate_(config_.late_rate, now.monotonic),
      owners_since_(now.monotonic),
      lapses_(members.lapses()) {
  absences_.begin(members, now.monotonic);
}

void Reminders::restore(const Term& key, Entry entry) {
  if (!is_reminder(entry)) return;
  // Now, while it is in the cache: to fetch a million again later takes most of a second.
  if (entry.is_live()) due_.add_unsorted(placement_.partition(key), {due_of(entry.value()), key});
  state_.restore(key, std::move(entry));
}

void Reminders::start(const Now& now) {
  advance(now);
  state_.settle();
  sort_index();
  hold();
}

void Reminders::begin(const Now& now, Effects& out) {
  out_ = &out;
  advance(now);
}

void Reminders::advance(const Now& now) {
  // A clock that was set forward, or a node that was suspended together with its monotonic clock.
  const auto passed = std::chrono::duration_cast<Milliseconds>(now.monotonic - now_.monotonic);
  const bool jumped = now.wall - now_.wall > (passed + members_.ttl()).count();
  now_ = now;
  follow_owners();
  if (jumped || std::exchange(lapses_, members_.lapses()) != lapses_) hold();
}

void Reminders::finish(Ticket ticket) {
  flush_settled();
  forward(from_replica_, replica_name_, *out_);
  if (replica_.counters().snapshots_too_large > 0 && !std::exchange(told_too_large_, true)) {
    warnings_.push_back(too_large_warning("table of reminders", config_.snapshot_bytes_max));
  }
  if (!writer_.flush(ticket, *out_) && ticket != 0) out_->emplace_back(Completed{ticket, {}});
}

// What the program asks for.

Result<void> Reminders::remind(const Term& key, WallMilliseconds due, const Term& payload, Ticket ticket,
                               const Now& now, Effects& out) {
  begin(now, out);
  if (auto shallow = replication::check_depth(payload); !shallow) return shallow;
  const std::size_t bytes = encoded_size(key, false) + encoded_size(payload, false);
  if (bytes > config_.entry_bytes_max) {
    return fail(Errc::limit_exceeded, "key and payload take " + std::to_string(bytes) + " bytes, and " +
                                          std::to_string(config_.entry_bytes_max) +
                                          " are allowed: every node holds them, keep large things elsewhere");
  }
  if (auto possible = state_.check_put(key); !possible) return possible;
  // The version comes before the dot, and after the version that is there.
  const Term version = replication::to_term(state_.next_stamp(key));
  auto delta = state_.put(key, Term::tuple({due, payload, version}));
  if (!delta) return std::unexpected(delta.error());
  write(std::move(*delta), ticket);
  return {};
}

Result<void> Reminders::cancel(const Term& key, Ticket ticket, const Now& now, Effects& out) {
  begin(now, out);
  if (state_.map().find(key) == nullptr && encoded_size(key, false) > config_.entry_bytes_max) {
    return fail(Errc::limit_exceeded, "no node takes so large a key");
  }
  if (auto possible = state_.check_remove(key); !possible) return possible;
  auto delta = state_.remove(key);
  if (!delta) return std::unexpected(delta.error());
  write(std::move(*delta), ticket);
  return {};
}

void Reminders::write(Term delta, Ticket ticket) {
  replica_.broadcast(std::move(delta), from_replica_);
  finish(ticket);
}

// What changes.

void Reminders::changed(const Term& key, Change change, const Entry& entry, const Atom& from) {
  writer_.add(key, &entry);
  if (change == Change::put) index(key, entry);
  // What this node writes is written together.
  if (from != config_.own && writer_.is_full()) writer_.flush(0, *out_);
}

void Reminders::store_failed(std::span<const StoreChange> changes) {
  for (const auto& change : changes) {
    if (change.collection == reminder_collection) writer_.failed(change.key);
  }
}

// Which are due.

void Reminders::index(const Term& key, const Entry& entry) {
  due_.add(placement_.partition(key), {due_of(entry.value()), key});
}

void Reminders::rebuild_index() {
  due_.clear();
  for (const auto& [key, entry] : state_.map().entries()) {
    if (entry.is_live()) due_.add_unsorted(placement_.partition(key), {due_of(entry.value()), key});
  }
  waiting_.clear();
  unwanted_.clear();
  sort_index();
}

void Reminders::sort_index() {
  due_.sort();
  due_.set_owned([this](std::uint32_t partition) { return placement_.owns(partition); });
}

void Reminders::follow_owners() {
  const auto revision = placement_.revision();
  if (std::exchange(owners_seen_, revision) == revision) return;
  owners_since_ = now_.monotonic;
  due_.set_owned([this](std::uint32_t partition) { return placement_.owns(partition); });
}

// When others may have fired what is due here.

void Reminders::hold() {
  hold_until_ = now_.monotonic + members_.ttl();
  compared_ = false;
  replica_.suspect_all(now_.monotonic);
}

void Reminders::release() {
  if (!hold_until_) return;
  const bool settled = is_compared() && now_.monotonic >= owners_since_ + config_.settled_after;
  if (settled || now_.monotonic >= *hold_until_) hold_until_.reset();
}

bool Reminders::is_compared() const noexcept { return compared_ && members_.members().size() > 1; }

bool Reminders::may_fire() const noexcept {
  if (hold_until_ || left_ || members_.lease_until() < now_.monotonic) return false;
  return subscribed_ || !config_.keep_without_subscriber;
}

// What fires.

/// Tells of it, unless nobody is to be told. Returns whether it still held.
bool Reminders::consume(const Item& item, bool tell) {
  const Term* const present = state_.map().get(item.key);
  if (present == nullptr || due_of(*present) != item.due) return false;  // set anew, cancelled, or fired
  const Milliseconds lateness(now_.wall - std::max<WallMilliseconds>(item.due, 0));
  const bool late = lateness > config_.late_after;
  ReminderEvent event{.key = item.key,
                      .payload = (*present)[1],
                      .fence = fence_of((*present)[2]),
                      .due = ReminderTime(Milliseconds(item.due)),
                      .lateness = lateness,
                      .missed = late && config_.late_policy == LatePolicy::notify};
  auto delta = settle(item.key, event.payload, event);
  if (!delta) {
    unwanted_.push_back(item);
    return false;
  }
  settled_bytes_ += encoded_size(*delta, false);
  settled_.push_back(delta->pairs().front());
  if (settled_bytes_ >= config_.delta_bytes_max) flush_settled();
  if (!tell || !subscribed_) {
    ++skipped_count_;
    return true;
  }
  ++fires_;
  ++fired_count_;
  if (late) ++late_count_;
  out_->emplace_back(ReminderFired{std::move(event)});
  return true;
}

/// Removes it, or sets it anew.
Result<Term> Reminders::settle(const Term& key, const Term& payload, const ReminderEvent& event) {
  const auto next = next_ ? next_(event) : std::nullopt;
  if (!next || *next <= event.due.time_since_epoch().count()) return state_.remove(key);
  const Term version = replication::to_term(state_.next_stamp(key));
  return state_.put(key, Term::tuple({*next, payload, version}));
}

void Reminders::flush_settled() {
  settled_bytes_ = 0;
  if (!settled_.empty()) replica_.broadcast(Term::map(std::exchange(settled_, {})), from_replica_);
}

void Reminders::fire_waiting(std::size_t& steps) {
  while (!waiting_.empty() && steps < steps_max && fires_ < config_.fires_max) {
    const auto partition = placement_.partition(waiting_.front().key);
    const bool owns = placement_.owns(partition);
    if (owns && !late_rate_.take(now_.monotonic)) return;
    ++steps;
    const Item item = std::move(waiting_.front());
    waiting_.pop_front();
    if (!owns) {
      due_.add(partition, item);
    } else if (!consume(item, true)) {
      late_rate_.give_back();
    }
  }
}

void Reminders::fire_due() {
  if (!may_fire() || now_.monotonic < owners_since_ + config_.handover) return;
  std::size_t steps = 0;
  fires_ = 0;
  fire_waiting(steps);
  while (steps < steps_max && fires_ < config_.fires_max) {
    const auto due = due_.next();
    if (!due || *due > now_.wall) return;
    ++steps;
    const Item item = due_.pop();
    const bool late = *due < now_.wall - config_.late_after.count();
    if (!late) {
      consume(item, true);
    } else if (config_.late_policy == LatePolicy::skip) {
      consume(item, false);
    } else if (waiting_.empty() && late_rate_.take(now_.monotonic)) {
      if (!consume(item, true)) late_rate_.give_back();
    } else {
      waiting_.push_back(item);
    }
  }
}

// What other nodes send.

void Reminders::neighbour_up(const Atom& node, const Now& now) {
  advance(now);
  if (std::exchange(left_, false)) hold();
  replica_.peer_up(node, now.monotonic);
}

void Reminders::leave() {
  left_ = true;
  replica_.leave();
}

void Reminders::deliver(const Term& payload, const Now& now, Effects& out) {
  begin(now, out);
  replica_.deliver(payload);
  std::ignore = state_.take_overruled();  // who sent it hears of it at the next exchange
  finish(0);
}

void Reminders::receive(const Atom& from, const Term& message, const Now& now, Effects& out) {
  begin(now, out);
  const auto before = replica_.counters();
  replica_.receive(from, message, now.monotonic, from_replica_);
  const auto& after = replica_.counters();
  if (after.equal > before.equal || after.snapshots_received > before.snapshots_received) compared_ = true;
  // Is that all it has?
  const bool more = after.entries_received > before.entries_received || after.digests_sent > before.digests_sent;
  if (hold_until_ && !compared_ && more) replica_.suspect(from, now.monotonic);
  answer_overruled(from);
  finish(0);
}

/// The node has reminders whose removal is no longer part of the digests.
void Reminders::answer_overruled(const Atom& to) {
  auto entries = state_.take_overruled();
  if (entries.empty()) return;
  Term sync = replication::enveloped(Term::tuple({Atom("full_sync"), config_.own, Term::map(std::move(entries))}));
  from_replica_.emplace_back(replication::ReplicaSend{to, std::move(sync)});
}

// Time.

void Reminders::tick(const Now& now, Effects& out) {
  begin(now, out);
  replica_.tick(now.monotonic, from_replica_);
  if (now.monotonic >= next_scan_) scan();
  release();
  fire_due();
  finish(0);
}

void Reminders::scan() {
  next_scan_ = now_.monotonic + config_.scan_period;
  absences_.note(members_, now_.monotonic);
  const auto absence = absences_.longest(config_.tombstone_ttl, now_.monotonic);
  const auto [keys, forced] =
      collect_tombstones(state_, config_.tombstone_ttl, config_.tombstone_hold, absence, aging_clock_.read(now_));
  forced_collections_ += forced;
  for (const auto& key : keys) writer_.add(key, nullptr);
  writer_.retry(state_.map());
  for (const auto& item : std::exchange(unwanted_, {})) due_.add(placement_.partition(item.key), item);
  // Half of them outdated: keys that are set anew all the time.
  constexpr std::size_t few = 10'000;
  if (due_.size() + waiting_.size() > 2 * state_.map().live_count() + few) rebuild_index();
}

MonotonicTime Reminders::deadline() const noexcept {
  MonotonicTime next = next_scan_;
  if (const auto replica = replica_.deadline()) next = std::min(next, *replica);
  if (hold_until_) {
    next = std::min(next, *hold_until_);
    if (is_compared()) next = std::min(next, std::max(owners_since_ + config_.settled_after, now_.monotonic));
  }
  if (!may_fire()) return next;
  const auto from = owners_since_ + config_.handover;
  if (!waiting_.empty()) next = std::min(next, std::max(from, late_rate_.when(1)));
  const auto due = due_.next();
  // The scan comes before what is farther away, and a difference of such times may be no time.
  if (due && *due <= now_.wall + config_.scan_period.count()) {
    const Milliseconds rest(std::max<WallMilliseconds>(*due, now_.wall) - now_.wall);
    next = std::min(next, std::max(from, now_.monotonic + rest));
  }
  return next;
}

// What is known.

std::optional<Reminder> Reminders::find(const Term& key) const {
  const Term* const value = state_.map().get(key);
  if (value == nullptr) return std::nullopt;
  return Reminder{ReminderTime(Milliseconds(due_of(*value))), (*value)[1], fence_of((*value)[2])};
}

std::vector<DueIndex::Item> Reminders::next(std::size_t count) const {
  const std::size_t looked_at = 4 * count;  // some are outdated
  std::vector<Item> items = due_.earliest(looked_at);
  for (const auto& item : waiting_ | std::views::take(looked_at)) items.push_back(item);
  std::unordered_set<Term> seen;
  std::erase_if(items, [&](const Item& item) {
    const Term* const value = state_.map().get(item.key);
    return value == nullptr || due_of(*value) != item.due || !seen.insert(item.key).second;
  });
  std::ranges::stable_sort(items, {}, &Item::due);
  if (items.size() > count) items.resize(count);
  return items;
}

ReminderStatistics Reminders::statistics() const {
  ReminderStatistics statistics;
  statistics.pending = state_.map().live_count();
  statistics.tombstones = state_.map().size() - state_.map().live_count();
  statistics.fired = fired_count_;
  statistics.late = late_count_;
  statistics.skipped = skipped_count_;
  statistics.waiting = waiting_.size();
  statistics.held = hold_until_.has_value();
  statistics.rejected = state_.counters().rejected;
  statistics.rejected_in_future = state_.counters().in_future;
  statistics.forced_collections = forced_collections_;
  statistics.unwritten = writer_.unwritten();
  return statistics;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
