// What peers sent, the fences, and who is alive: the other half of leader.cpp.
#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "services/leader.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

using replication::Change;
using replication::Entry;
using replication::Timestamp;

/// Between two looks at the nodes that are not settled, and at what the disk refused.
constexpr Milliseconds scan_period{1000};
/// What is only old is looked for less often: nobody waits for its end.
constexpr Milliseconds slow_scan_period{60'000};
/// Tombstones or fences that are forgotten at a time: a few milliseconds.
constexpr std::size_t collected_max = 10'000;
/// Fences that are looked at for one that may give way to another.
constexpr std::size_t eviction_tries = 100;

const Term& name_of(const Term& key) { return key[0]; }
Atom node_of(const Term& key) { return *key[1].as_atom(); }

}  // namespace

// Fences.

bool Leader::take_fence(const Term& name, const Timestamp& stamp, const Atom& minter) {
  const auto contest = contests_.find(name);
  const bool is_old = stamp.wall < now_.wall - config_.fence_age.count();
  if (is_old && contest == contests_.end() && map().find(fence_key(name)) == nullptr) return false;
  if (!clock_.check(stamp, now_.wall)) {
    ++counters_.rejected;
    return false;
  }
  if (contest != contests_.end() && contest->second.reign) {
    auto& reign = *contest->second.reign;
    if (reign.stamp == stamp && minter != config_.own && !minter.text().empty()) reign.disputed = true;
    dirty_.insert(name);
  }
  return raise(name, stamp, minter);
}

/// Of equal ones that of the greater minter is kept, so that all nodes keep the same.
bool Leader::raise(const Term& name, const Timestamp& stamp, const Atom& minter) {
  const Term key = fence_key(name);
  if (const Entry* known = map().find(key)) {
    if (stamp < known->stamp() || (stamp == known->stamp() && minter.text() <= known->writer().text())) return false;
    forget_fence(name);
  } else if (!make_room_for_fence()) {
    ++counters_.rejected;
    return false;
  }
  remember(name, fence_entry(stamp, minter));
  unwritten_.insert(name);
  return true;
}

void Leader::remember(const Term& name, const Entry& entry) {
  state_.restore(fence_key(name), entry);
  fences_by_age_.emplace(entry.stamp(), name);
  plan_scan(now_.monotonic + slow_scan_period);
}

void Leader::forget_fence(const Term& name) {
  const Term key = fence_key(name);
  auto [first, last] = fences_by_age_.equal_range(map().find(key)->stamp());
  while (first != last && first->second != name) ++first;
  fences_by_age_.erase(first);
  state_.erase(key);
  unwritten_.insert(name);
}

bool Leader::make_room_for_fence() {
  if (fences_by_age_.size() < config_.fences_max) return true;
  auto oldest = fences_by_age_.begin();
  for (std::size_t tried = 0; tried < eviction_tries && oldest != fences_by_age_.end(); ++tried, ++oldest) {
    if (contests_.contains(oldest->second)) continue;
    ++counters_.fences_forgotten;
    forget_fence(Term(oldest->second));
    return true;
  }
  return false;
}

void Leader::forget_old_fences() {
  const WallMilliseconds cutoff = now_.wall - config_.fence_age.count();
  std::vector<Term> names;
  for (const auto& [stamp, name] : fences_by_age_) {
    if (stamp.wall >= cutoff || names.size() == collected_max) break;
    if (!contests_.contains(name)) names.push_back(name);
  }
  for (const auto& name : names) forget_fence(name);
  counters_.fences_forgotten += names.size();
}

void Leader::write_fences() {
  if (unwritten_.empty()) return;
  std::vector<Term> names(unwritten_.begin(), unwritten_.end());
  unwritten_.clear();
  std::ranges::sort(names, TermLess{});
  Persist persist;
  persist.changes.reserve(names.size());
  for (auto& name : names) {
    const Entry* entry = map().find(fence_key(name));
    StoreChange change{.kind = entry != nullptr ? StoreChange::Kind::put : StoreChange::Kind::erase,
                       .collection = std::string(leader_fences_collection),
                       .key = std::move(name)};
    if (entry != nullptr) change.entry = *entry;
    persist.changes.push_back(std::move(change));
  }
  out_->emplace_back(std::move(persist));
}

void Leader::store_failed(std::span<const StoreChange> changes) {
  for (const auto& change : changes) {
    if (change.collection != leader_fences_collection) continue;
    refused_.insert(change.key);
    plan_scan(now_.monotonic + scan_period);
  }
}

// Entries of peers.

bool Leader::merge(const Atom& from, const Term& entries) {
  heard_at_ = now_.monotonic;
  std::vector<TermPair> candidates;
  bool changed = false;
  for (const auto& [key, value] : entries.pairs()) {
    if (!is_fence_key(key)) {
      candidates.emplace_back(key, value);
      continue;
    }
    const auto entry = replication::entry_of(value);
    if (entry && is_fence_entry(*entry)) {
      changed = take_fence(name_of(key), entry->stamp(), entry->writer()) || changed;
    } else {
      ++counters_.rejected;
    }
  }
  return take(from, false, Term::map(std::move(candidates))) || changed;
}

bool Leader::take(const Atom& from, bool only_of_sender, const Term& entries) {
  if (!entries.is_map()) {
    ++counters_.rejected;
    return false;
  }
  vouch(from);
  incoming_ = {.from = from, .only_of_sender = only_of_sender};
  const auto rejected = state_.counters().rejected;
  bool changed = state_.merge(from, entries);
  counters_.rejected += state_.counters().rejected - rejected - incoming_.passed_over - incoming_.ghosts.size();
  for (const auto& key : std::exchange(incoming_, {}).ghosts) changed = lay_ghost(key) || changed;
  return changed;
}

bool Leader::acceptable(const Term& key, const Entry& entry) {
  if (!is_candidate_key(key)) return false;
  const Atom node = node_of(key);
  if (incoming_.only_of_sender && node != incoming_.from) return false;
  if (entry.is_live() && !(entry.only_by(node) && is_candidate_value(entry.value()))) return false;
  if (node == config_.own) return acceptable_own(key, entry);
  const auto silent = members_.is_alive(node) ? std::nullopt : members_.silent_for(node, now_.monotonic);
  const bool forgotten = silent && *silent > config_.forget_after;
  const bool outdated =
      !entry.is_live() && map().find(key) == nullptr && entry.stamp().wall < now_.wall - config_.tombstone_age.count();
  if (forgotten || outdated) {
    ++incoming_.passed_over;
    return false;
  }
  return has_room(key, node);
}

/// Our own campaigns are what we say they are. What others have otherwise is not taken over: it is a ghost.
bool Leader::acceptable_own(const Term& key, const Entry& entry) {
  bool is_ghost = entry.is_live();
  if (const Entry* ours = map().find(key)) {
    Entry merged = *ours;
    const Change change = replication::merge(merged, entry);
    is_ghost = change == Change::put || change == Change::removed;
  }
  if (!is_ghost) {
    const bool outdated = map().find(key) == nullptr && entry.stamp().wall < now_.wall - config_.tombstone_age.count();
    if (outdated) ++incoming_.passed_over;
    return !outdated && has_room(key, config_.own);
  }
  // So that our answer is newer.
  if (clock_.observe(entry.stamp(), now_.wall)) incoming_.ghosts.push_back(key);
  return false;
}

bool Leader::has_room(const Term& key, const Atom& node) {
  if (map().find(key) != nullptr) return true;
  const auto owner = owners_.find(node);
  const std::size_t known = owner == owners_.end() ? 0 : owner->second.keys.size();
  return candidates_known_ + ++incoming_.added <= config_.candidates_max &&
         known + ++incoming_.added_of[node] <= config_.candidates_per_node_max;
}

/// Returns whether anything was written.
bool Leader::lay_ghost(const Term& key) {
  const auto contest = contests_.find(name_of(key));
  const bool campaigns = contest != contests_.end() && !contest->second.candidates.empty();
  if (map().find(key) == nullptr && !has_room(key, config_.own)) {
    ++counters_.rejected;
    return false;
  }
  Result<Term> written;
  if (campaigns) {
    const Candidate& first = contest->second.candidates.front();
    written = state_.put(key, candidate_value(first.pid, first.priority));
  } else {
    written = state_.remove(key);
  }
  if (!written) {
    ++counters_.rejected;
    return false;
  }
  ++counters_.ghosts;
  announce({.payload = std::move(*written)});
  return true;
}

bool Leader::apply_snapshot(const Atom& from, const Term& snapshot) {
  if (!snapshot.is_tuple(2)) {
    ++counters_.rejected;
    return false;
  }
  heard_at_ = now_.monotonic;
  const Term& candidates = snapshot[0];
  bool changed = take(from, false, candidates);
  // What a node does not name of itself, although it names something newer, was forgotten there in a restart.
  Timestamp newest;
  for (const auto& [key, term] : candidates.pairs()) {
    const auto entry =
        is_candidate_key(key) && node_of(key) == from ? replication::entry_of(term) : fail(Errc::malformed_term);
    if (entry && state_.covers(key, entry->stamp())) newest = std::max(newest, entry->stamp());
  }
  changed = bury(from, &candidates, newest) || changed;
  if (!snapshot[1].is_map()) ++counters_.rejected;
  for (const auto& [name, term] : snapshot[1].pairs()) {
    const auto stamp = is_leader_name(name) ? replication::timestamp_of(term) : fail(Errc::malformed_term);
    if (stamp) {
      changed = take_fence(name, *stamp, Atom()) || changed;
    } else {
      ++counters_.rejected;
    }
  }
  return changed;
}

/// Removes what the node campaigned for before that time and does not name in the snapshot. The tombstones are as old
/// as they can be, and the same wherever they are made.
bool Leader::bury(const Atom& node, const Term* snapshot, const Timestamp& before) {
  const auto owner = owners_.find(node);
  if (owner == owners_.end() || node == config_.own) return false;
  std::vector<TermPair> buried;
  for (const auto& key : owner->second.keys) {
    const Entry& entry = *map().find(key);
    const Timestamp written = entry.stamp();
    if (!entry.is_live() || written >= before || written.logical == Timestamp::logical_max) continue;
    if (snapshot != nullptr && snapshot->find(key) != nullptr) continue;
    buried.emplace_back(key, replication::to_term(Entry::tombstone({written.wall, written.logical + 1})));
  }
  return !buried.empty() && take(node, true, Term::map(std::move(buried)));
}

std::optional<Term> Leader::snapshot() const {
  std::vector<TermPair> candidates;
  std::vector<TermPair> fences;
  for (const auto& [key, entry] : map().entries()) {
    if (is_fence_key(key)) {
      fences.emplace_back(name_of(key), replication::to_term(entry.stamp()));
    } else if (is_offered(key)) {
      candidates.emplace_back(key, replication::to_term(entry));
    }
  }
  if (candidates.empty() && fences.empty()) return std::nullopt;
  return Term::tuple({Term::map(std::move(candidates)), Term::map(std::move(fences))});
}

void Leader::merge_custom(const Atom& from, const Term& payload) {
  if (payload.is_tagged("began", 3) && payload[2].as_atom() == from) {
    const auto began = replication::timestamp_of(payload[1]);
    if (began) bury(from, nullptr, *began);
    if (began) return;
  }
  const bool is_fence = payload.is_tuple(2) && is_leader_name(payload[0]) && NodeName::parse(from.text());
  const auto stamp = is_fence ? replication::timestamp_of(payload[1]) : fail(Errc::malformed_term);
  // The clock is moved even by a fence that is not new.
  if (!stamp || !clock_.observe(*stamp, now_.wall)) {
    ++counters_.rejected;
    return;
  }
  take_fence(payload[0], *stamp, from);
}

void Leader::on_change(const Term& key, Change change, const Entry& entry) {
  const Atom node = node_of(key);
  if (owner_of(node).keys.insert(key).second) ++candidates_known_;
  if (!entry.is_live()) plan_scan(now_.monotonic + slow_scan_period);
  const Term& name = name_of(key);
  if (change == Change::put) {
    contests_[name].set({node, *entry.value()[0].as_pid(), entry.value()[1]});
  } else if (change == Change::removed) {
    contests_[name].erase(node);
  }
  dirty_.insert(name);
}

/// Of a node that does not count.
void Leader::erase(const Term& key) {
  if (const auto contest = contests_.find(name_of(key)); contest != contests_.end()) {
    contest->second.erase(node_of(key));
    dirty_.insert(name_of(key));
  }
  const auto owner = owners_.find(node_of(key));
  owner->second.keys.erase(key);
  --candidates_known_;
  if (owner->second.keys.empty()) {
    unsettled_.erase(owner->first);
    owners_.erase(owner);
  }
  if (map().find(key) != nullptr) state_.erase(key);
}

// Who is alive.

bool Leader::was_heard_of(const Atom& node) const noexcept {
  return members_.is_alive(node) || members_.silent_for(node, now_.monotonic).has_value();
}

/// Whether campaigns of the node, which has entries here, count.
bool Leader::counts(const Atom& node) const {
  const auto owner = owners_.find(node);
  return owner != owners_.end() && owner->second.standing == Standing::alive;
}

bool Leader::is_offered(const Term& key) const {
  if (is_fence_key(key)) return true;
  const Atom node = node_of(key);
  const auto owner = owners_.find(node);
  if (owner != owners_.end()) return owner->second.standing != Standing::gone;
  Owner fresh;
  judge_new(node, fresh);
  return fresh.standing != Standing::gone;
}

Leader::Owner& Leader::owner_of(const Atom& node) {
  const auto [found, added] = owners_.try_emplace(node);
  Owner& owner = found->second;
  if (added) {
    judge_new(node, owner);
    if (owner.standing != Standing::alive || owner.until != MonotonicTime::max()) {
      unsettled_.insert(node);
      plan_scan(now_.monotonic + scan_period);
    }
  }
  return owner;
}

/// The node itself has just spoken.
void Leader::vouch(const Atom& node) {
  const auto found = owners_.find(node);
  if (node == config_.own || found == owners_.end() || was_heard_of(node)) return;
  set_standing(node, found->second, Standing::alive, now_.monotonic + config_.vouch_for);
}

void Leader::judge_new(const Atom& node, Owner& owner) const {
  owner.hidden_since = now_.monotonic;
  if (node == config_.own || members_.is_alive(node)) {
    owner.standing = Standing::alive;
  } else if (was_heard_of(node)) {
    owner.standing = Standing::gone;
  } else if (node == incoming_.from) {
    owner.standing = Standing::alive;
    owner.until = now_.monotonic + config_.vouch_for;
  } else {
    owner.standing = Standing::expected;
    owner.until = now_.monotonic + config_.expect_for;
  }
}

void Leader::judge(const Atom& node, Owner& owner) {
  if (node == config_.own || members_.is_alive(node)) {
    set_standing(node, owner, Standing::alive, MonotonicTime::max());
  } else if (owner.until == MonotonicTime::max() || owner.until <= now_.monotonic || was_heard_of(node)) {
    set_standing(node, owner, Standing::gone, MonotonicTime::max());
  }
}

void Leader::set_standing(const Atom& node, Owner& owner, Standing standing, MonotonicTime until) {
  const auto before = std::exchange(owner.standing, standing);
  owner.until = until;
  if (standing == Standing::alive && until == MonotonicTime::max()) {
    unsettled_.erase(node);
  } else {
    unsettled_.insert(node);
    plan_scan(now_.monotonic + scan_period);
  }
  if (before == standing) return;
  if (before == Standing::alive) owner.hidden_since = now_.monotonic;
  for (const auto& key : owner.keys) {
    if ((before == Standing::gone) != (standing == Standing::gone)) state_.review(key);
    dirty_.insert(name_of(key));
  }
}

void Leader::liveness(const Liveness& change, const Now& now, Effects& out) {
  begin(now, out);
  if (const auto owner = owners_.find(change.node); owner != owners_.end()) {
    const auto before = owner->second.standing;
    judge(change.node, owner->second);
    // It may have been restarted, and while it was away changes of its entries went past us.
    if (before == Standing::gone && owner->second.standing == Standing::alive) {
      replica_.suspect(change.node, now.monotonic);
    }
  }
  end();
}

// Time.

void Leader::scan() {
  scan_at_ = MonotonicTime::max();
  const std::vector<Atom> nodes(unsettled_.begin(), unsettled_.end());
  for (const auto& node : nodes) judge(node, owners_.at(node));
  forget_gone();
  collect_tombstones();
  forget_old_fences();
  unwritten_.merge(refused_);
  refused_.clear();
  if (!unsettled_.empty()) plan_scan(now_.monotonic + scan_period);
  if (map().size() > 0) plan_scan(now_.monotonic + slow_scan_period);
}

void Leader::forget_gone() {
  std::vector<Term> keys;
  for (const auto& node : unsettled_) {
    const Owner& owner = owners_.at(node);
    if (owner.standing != Standing::gone) continue;
    const auto silent = members_.silent_for(node, now_.monotonic);
    const auto here = std::chrono::duration_cast<Milliseconds>(now_.monotonic - owner.hidden_since);
    if (silent.value_or(here) > config_.forget_after) keys.insert(keys.end(), owner.keys.begin(), owner.keys.end());
  }
  for (const auto& key : keys) erase(key);
}

void Leader::collect_tombstones() {
  const auto keys = state_.collect_tombstones(config_.tombstone_age, collected_max);
  for (const auto& key : keys) erase(key);
  if (keys.size() == collected_max) plan_scan(now_.monotonic + scan_period);
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
