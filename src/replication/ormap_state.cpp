#include "replication/ormap_state.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <tuple>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace replication {
namespace {

/// Of what decides between two entries, so that equal digests mean equal winners. The older dots may differ for ever
/// without any harm. The value is a function of its greatest dot.
std::uint64_t digest_of(std::uint64_t key_hash, const Entry& entry) {
  const std::array<std::uint64_t, 4> numbers{key_hash, static_cast<std::uint64_t>(entry.stamp().wall),
                                             entry.stamp().logical, entry.is_live() ? 1U : 0U};
  return content_digest(numbers, entry.writer().text());
}

/// As it is encoded (protocol document 04, section 2.5), give or take a few bytes.
std::size_t bytes_of(const Entry& entry) {
  constexpr std::size_t tombstone_bytes = 37;
  constexpr std::size_t value_bytes = 14;
  constexpr std::size_t dot_bytes = 34;
  if (!entry.is_live()) return tombstone_bytes;
  std::size_t bytes = value_bytes + encoded_size(entry.value(), false);
  for (const auto& dot : entry.dots()) bytes += dot_bytes + dot.node.text().size();
  return bytes;
}

}  // namespace

OrMapState::OrMapState(OrMapStateConfig config, HybridClock& clock, WallClock wall_clock, OnChange on_change)
    : config_(std::move(config)), clock_(clock), wall_clock_(std::move(wall_clock)), on_change_(std::move(on_change)) {}

Result<void> OrMapState::check_put(const Term& key, std::size_t more) const {
  // What is there already is no second one: both came at the same time, from two nodes.
  const auto other = map_.get(key) == nullptr ? map_.lookalike(key) : std::nullopt;
  if (other) {
    return fail(Errc::already_registered, "Erlang nodes take the key for " + to_text(*other) +
                                              ", which is present: use integers or floats, not both");
  }
  return check_write(key, more);
}

Result<void> OrMapState::check_remove(const Term& key) const {
  const auto other = map_.find(key) == nullptr ? map_.lookalike(key) : std::nullopt;
  if (!other) return {};
  return fail(Errc::already_registered,
              "there is no such key, and Erlang nodes take it for " + to_text(*other) + ": they would lose that one");
}

Result<void> OrMapState::check_write(const Term& key, std::size_t more) const {
  if (auto shallow = check_depth(key); !shallow) return shallow;
  const Entry* present = map_.find(key);
  if (present == nullptr && map_.size() + more >= config_.entries_max) {
    return fail(Errc::limit_exceeded, "the map is full: remove keys, or raise its limit on all nodes");
  }
  if (present == nullptr) return {};
  return clock_.check(present->stamp(), wall_clock_());
}

/// So that this write wins over what is there.
Timestamp OrMapState::next_stamp(const Term& key) {
  const WallMilliseconds now = wall_clock_();
  const Entry* present = map_.find(key);
  if (present != nullptr && present->stamp() > clock_.last()) std::ignore = clock_.observe(present->stamp(), now);
  return clock_.now(now);
}

Result<Term> OrMapState::put(const Term& key, Term value) {
  if (auto shallow = check_depth(value); !shallow) return std::unexpected(shallow.error());
  if (auto checked = check_put(key); !checked) return std::unexpected(checked.error());
  const bool known = map_.get(key) != nullptr && *map_.get(key) == value;
  const auto& record = map_.put(key, std::move(value), {next_stamp(key), config_.own});
  const Entry& entry = note(record);
  if (on_change_) on_change_(key, known ? Change::dots : Change::put, entry, config_.own);
  return Term::map({{key, to_term(entry)}});
}

Result<Term> OrMapState::remove(const Term& key) {
  if (auto checked = check_write(key, 0); !checked) return std::unexpected(checked.error());
  const bool was_live = map_.get(key) != nullptr;
  const Entry& entry = note(map_.remove(key, next_stamp(key)));
  if (on_change_) on_change_(key, was_live ? Change::removed : Change::dots, entry, config_.own);
  return Term::map({{key, to_term(entry)}});
}

void OrMapState::restore(const Term& key, Entry entry) {
  // Refused when this node's clock was set back: the entry is ours all the same.
  std::ignore = clock_.observe(entry.stamp(), wall_clock_());
  if (map_.find(key) != nullptr) {
    if (map_.merge(key, entry) != Change::none) note(*map_.record(key));
    return;
  }
  const auto& added = map_.add(key, std::move(entry));
  if (!is_offered(key)) return;
  const auto hash = key_hash(key);
  digests_.append(added.first, hash, digest_of(hash, added.second));
}

void OrMapState::erase(const Term& key) {
  // The digests look at the key of the map.
  digests_.erase(key, key_hash(key));
  map_.erase(key);
}

std::vector<Term> OrMapState::collect_tombstones(WallMilliseconds cutoff, std::size_t count_max) {
  retire_before(cutoff, count_max);
  // One that was erased and came anew since it retired is in the digests, which look at its key.
  return map_.collect_tombstones(cutoff, count_max, [this](const Term& key) { digests_.erase(key, key_hash(key)); });
}

void OrMapState::retire_tombstones(WallMilliseconds cutoff, std::size_t count_max) {
  // A clock that is set back brings nothing back into the digests.
  retired_before_ = std::max(retired_before_, cutoff);
  retire_before(cutoff, count_max);
}

void OrMapState::retire_before(WallMilliseconds cutoff, std::size_t count_max) {
  reviewed_from_ = std::max(reviewed_from_, cutoff);
  for (const auto& key : map_.retire_tombstones(cutoff, count_max)) digests_.erase(key, key_hash(key));
}

/// Returns the entry.
const Entry& OrMapState::note(const OrMap::Record& record) {
  const auto& [key, entry] = record;
  const auto hash = key_hash(key);
  if (is_offered(key)) {
    digests_.set(key, hash, digest_of(hash, entry));
  } else {
    digests_.erase(key, hash);
  }
  return entry;
}

void OrMapState::review(const Term& key) {
  const auto* record = map_.record(key);
  assert(record != nullptr);
  if (record->second.is_live() || record->second.stamp().wall >= reviewed_from_) note(*record);
}

bool OrMapState::take(const Atom& from, const Term& entries, Order order) {
  const std::size_t room = config_.entries_max - std::min(config_.entries_max, map_.size());
  std::size_t added = 0;
  const auto check = [&](const Term& key, const Entry& entry) {
    if (config_.check && !config_.check(key, entry)) return false;
    return map_.find(key) != nullptr || ++added <= room;
  };
  const auto known = [&](const Term& key, const Term& entry) { return has(key, entry); };
  auto accepted = accept(entries, clock_, wall_clock_(), check, entries.size(), known);
  if (order == Order::of_stamps) {
    std::ranges::sort(accepted.entries, {}, [](const auto& accepted_entry) { return accepted_entry.second.stamp(); });
  }
  counters_.accepted += accepted.entries.size() + accepted.known;
  counters_.rejected += accepted.rejected;
  counters_.in_future += accepted.in_future;
  bool changed = false;
  for (const auto& [key, incoming] : accepted.entries) {
    const Change change = map_.merge(key, incoming, wall_clock_());
    const auto& record = *map_.record(key);
    const Entry& entry = record.second;
    if (change == Change::none) {
      if (incoming.is_live() && !entry.is_live() && entry.stamp().wall < retired_before_) {
        overruled_.emplace_back(key, to_term(entry));
      }
      continue;
    }
    changed = true;
    note(record);
    if (on_change_) on_change_(key, change, entry, from);
  }
  return changed;
}

std::optional<Term> OrMapState::snapshot() const {
  // Tombstones alone are sent as well: who does not hear of them keeps what was removed.
  if (map_.size() == 0) return std::nullopt;
  if (!config_.in_snapshots) return map_.to_term();
  std::vector<TermPair> pairs;
  for (const auto& [key, entry] : map_.entries()) {
    if (config_.in_snapshots(entry)) pairs.emplace_back(key, to_term(entry));
  }
  if (pairs.empty()) return std::nullopt;
  return Term::map(std::move(pairs));
}

std::size_t OrMapState::snapshot_bytes(std::size_t enough) const {
  std::size_t bytes = 0;
  for (const auto& [key, entry] : map_.entries()) {
    bytes += encoded_size(key, false) + bytes_of(entry);
    if (bytes > enough) break;
  }
  return bytes;
}

Term OrMapState::entry(const Term& key) const {
  const Entry* entry = map_.find(key);
  assert(entry != nullptr);
  return to_term(*entry);
}

bool OrMapState::has(const Term& key, const Term& entry_term) const {
  const Entry* entry = map_.find(key);
  return entry != nullptr && is_term_of(*entry, entry_term);
}

bool OrMapState::covers(const Term& key, const Timestamp& stamp) const {
  const Entry* entry = map_.find(key);
  return entry != nullptr && entry->stamp() >= stamp;
}

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
