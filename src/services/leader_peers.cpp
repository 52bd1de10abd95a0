// What peers sent, the fences, and who is alive: the other half of leader.cpp.
#include <algorithm>
#include <tuple>
#include <utility>

#include "services/ghosts.hpp"
#include "services/leader.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

using replication::Change;
using replication::Entry;
using replication::Timestamp;

/// Between two looks at the nodes whose time has come, and at what the disk refused.
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
  return raise(name, stamp, minter, config_.fences_max);
}

/// Of equal ones that of the greater minter is kept, so that all nodes keep the same.
bool Leader::raise(const Term& name, const Timestamp& stamp, const Atom& minter, std::size_t bound) {
  const Term key = fence_key(name);
  if (const Entry* known = map().find(key)) {
    if (stamp < known->stamp() || (stamp == known->stamp() && minter.text() <= known->writer().text())) return false;
    forget_fence(name);
  } else if (!make_room_for_fence(bound)) {
    ++counters_.rejected;
    return false;
  }
  remember(name, fence_entry(stamp, minter));
  unwritten_.insert(name);
  return true;
}

void Leader::remember(const Term& name, const Entry& entry) {
  state_.restore(fence_key(name), entry);
  fences_by_age_.insert({entry.stamp(), name});
  plan_scan(now_.monotonic + slow_scan_period);
}

void Leader::forget_fence(const Term& name) {
  const Term key = fence_key(name);
  fences_by_age_.erase({map().find(key)->stamp(), name});
  state_.erase(key);
  unwritten_.insert(name);
}

bool Leader::make_room_for_fence(std::size_t bound) {
  if (fences_by_age_.size() < config_.fences_max) return true;
  auto oldest = fences_by_age_.begin();
  for (std::size_t tried = 0; tried < eviction_tries && oldest != fences_by_age_.end(); ++tried, ++oldest) {
    if (contests_.contains(oldest->name)) continue;
    ++counters_.fences_forgotten;
    forget_fence(Term(oldest->name));
    return true;
  }
  return fences_by_age_.size() < bound;
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
  set_standing(from, standings_.vouch(from, now_.monotonic));
  make_room(entries);
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
  if (node == config_.own) return acceptable_own(key, entry);
  if (entry.is_live() && !(entry.only_by(node) && is_candidate_value(entry.value()))) return false;
  if (standings_.is_forgotten(node, now_.monotonic) || is_outdated(map().find(key), entry, outdated_before())) {
    ++incoming_.passed_over;
    return false;
  }
  return has_room(key, node);
}

/// Our own campaigns are what we say they are. What others have otherwise is not taken over: it is a ghost.
bool Leader::acceptable_own(const Term& key, const Entry& entry) {
  const Entry* ours = map().find(key);
  if (is_ghost(ours, entry)) {
    // So that our answer is newer.
    if (clock_.observe(entry.stamp(), now_.wall)) incoming_.ghosts.push_back(key);
    return false;
  }
  if (entry.is_live()) return entry.only_by(config_.own) && is_candidate_value(entry.value());
  if (is_outdated(ours, entry, outdated_before())) {
    ++incoming_.passed_over;
    return false;
  }
  return has_room(key, config_.own);
}

/// How many names processes of this node campaigned for in this life.
std::size_t Leader::campaigned() const {
  const auto owner = owners_.find(config_.own);
  return owner == owners_.end() ? 0 : owner->second.keys.size() - ghosts_.size();
}

/// What peers told of it.
std::size_t Leader::known_of(const Atom& node) const {
  if (node == config_.own) return ghosts_.size();
  const auto owner = owners_.find(node);
  return owner == owners_.end() ? 0 : owner->second.keys.size();
}

bool Leader::has_room(const Term& key, const Atom& node) {
  if (map().find(key) != nullptr) return true;
  std::size_t& added_of = incoming_.added_of[node];
  if (known_of_others() + incoming_.added >= config_.candidates_max) return false;
  if (known_of(node) + added_of >= config_.candidates_per_node_max) return false;
  ++incoming_.added;
  ++added_of;
  return true;
}

/// Entries of nodes that are gone give way to what is new.
void Leader::make_room(const Term& entries) {
  if (known_of_others() + entries.size() <= config_.candidates_max) return;
  const auto is_new = [this](const TermPair& pair) {
    return is_candidate_key(pair.first) && map().find(pair.first) == nullptr;
  };
  const auto added = static_cast<std::size_t>(std::ranges::count_if(entries.pairs(), is_new));
  while (known_of_others() + added > config_.candidates_max) {
    const auto gone = standings_.longest_gone();
    if (!gone) return;
    forget(*gone);
  }
}

/// Returns whether anything was written.
bool Leader::lay_ghost(const Term& key) {
  const auto contest = contests_.find(name_of(key));
  const bool campaigns = contest != contests_.end() && !contest->second.candidates.empty();
  const bool full = map().find(key) == nullptr &&
                    (ghosts_.size() >= config_.candidates_per_node_max || known_of_others() >= config_.candidates_max);
  Result<Term> written;
  if (full) {
    written = fail(Errc::limit_exceeded);
  } else if (campaigns) {
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
  const auto is_own = [&](const Term& key) { return is_candidate_key(key) && node_of(key) == from; };
  changed = bury_before(newest_named(candidates, state_, is_own), from, &candidates) || changed;
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
bool Leader::bury_before(const Timestamp& time, const Atom& node, const Term* snapshot) {
  const auto owner = owners_.find(node);
  if (owner == owners_.end() || node == config_.own) return false;
  std::vector<TermPair> buried;
  for (const auto& key : owner->second.keys) {
    const Entry& entry = *map().find(key);
    if (!entry.is_live() || entry.stamp() >= time) continue;
    if (snapshot != nullptr && snapshot->find(key) != nullptr) continue;
    if (auto tombstone = bury(key, entry.stamp())) buried.push_back(std::move(*tombstone));
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
    if (began) bury_before(*began, from, nullptr);
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
  const bool added = owner_of(node).keys.insert(key).second;
  if (added) ++candidates_known_;
  if (entry.is_live()) {
    ghosts_.erase(key);
  } else if (added && node == config_.own) {
    ghosts_.insert(key);
  }
  if (!entry.is_live()) plan_scan(now_.monotonic + slow_scan_period);
  const Term& name = name_of(key);
  if (change == Change::put) {
    contests_[name].rivals.set({node, *entry.value()[0].as_pid(), entry.value()[1]}, standings_.counts(node));
  } else if (change == Change::removed) {
    contests_[name].rivals.erase(node);
  }
  dirty_.insert(name);
}

/// Of a node that does not count.
void Leader::erase(const Term& key) {
  if (const auto contest = contests_.find(name_of(key)); contest != contests_.end()) {
    contest->second.rivals.erase(node_of(key));
    dirty_.insert(name_of(key));
  }
  const auto owner = owners_.find(node_of(key));
  owner->second.keys.erase(key);
  ghosts_.erase(key);
  --candidates_known_;
  if (owner->second.keys.empty()) {
    standings_.remove(owner->first);
    owners_.erase(owner);
  }
  if (map().find(key) != nullptr) state_.erase(key);
}

// Who is alive.

bool Leader::is_offered(const Term& key) const {
  return is_fence_key(key) || standings_.is_offered(node_of(key), incoming_.from, now_.monotonic);
}

Leader::Owner& Leader::owner_of(const Atom& node) {
  const auto [found, added] = owners_.try_emplace(node);
  if (added) {
    standings_.add(node, incoming_.from, now_.monotonic);
    plan_judging();
  }
  return found->second;
}

void Leader::plan_judging() {
  if (const auto due = standings_.next_due()) plan_scan(std::max(*due, now_.monotonic + scan_period));
}

void Leader::set_standing(const Atom& node, const Standings::Change& change) {
  plan_judging();
  if (change.is_none()) return;
  for (const auto& key : owners_.at(node).keys) {
    if (change.is_of_offer()) state_.review(key);
    const auto contest = contests_.find(name_of(key));
    if (contest == contests_.end()) continue;
    contest->second.rivals.count(node, change.after == Standing::alive);
    dirty_.insert(name_of(key));
  }
}

void Leader::liveness(const Liveness& change, const Now& now, Effects& out) {
  begin(now, out);
  const auto standing = standings_.judge(change.node, now.monotonic);
  set_standing(change.node, standing);
  if (standing.is_return()) replica_.suspect(change.node, now.monotonic);
  end();
}

// Time.

void Leader::scan() {
  scan_at_ = MonotonicTime::max();
  for (const auto& node : standings_.unsettled(now_.monotonic))
    set_standing(node, standings_.judge(node, now_.monotonic));
  forget_gone();
  collect_tombstones();
  forget_old_fences();
  unwritten_.merge(refused_);
  refused_.clear();
  plan_judging();
  if (map().size() > 0) plan_scan(now_.monotonic + slow_scan_period);
}

void Leader::forget_gone() {
  for (const auto& node : standings_.forgotten(now_.monotonic)) forget(node);
}

void Leader::forget(const Atom& node) {
  const auto& owned = owners_.at(node).keys;
  const std::vector<Term> keys(owned.begin(), owned.end());
  for (const auto& key : keys) erase(key);
}

void Leader::collect_tombstones() {
  const auto keys = state_.collect_tombstones(now_.wall - config_.tombstone_age.count(), collected_max);
  for (const auto& key : keys) erase(key);
  if (keys.size() == collected_max) plan_scan(now_.monotonic + scan_period);
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
