#include "services/absences.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

/// Tombstones that one call takes away: about 10 ms of work.
constexpr std::size_t collect_max = 20'000;

}  // namespace

void Absences::begin(const Members& members, MonotonicTime now) {
  if (members.has_past()) absences_.push_back({now - hold_, now});
}

void Absences::note(const Members& members, MonotonicTime now) {
  const auto longest = members.longest_absence(now);
  const auto since = longest ? std::optional(now - *longest) : std::nullopt;
  if (!absences_.empty() && !absences_.back().until) {
    auto& last = absences_.back();
    constexpr Milliseconds rounding{1000};
    if (!since || *since > last.since + rounding) {
      last.until = now;  // the node whose absence began first is back, or forgotten
    } else {
      last.since = std::min(last.since, *since);
    }
  }
  if (since && (absences_.empty() || absences_.back().until)) absences_.push_back({*since, std::nullopt});
  std::erase_if(absences_, [&](const Absence& absence) { return absence.until && *absence.until + hold_ < now; });
  // Nodes that come and go all the time: the first two count as one.
  constexpr std::size_t absences_max = 64;
  if (absences_.size() > absences_max) {
    absences_[1].since = std::min(absences_[0].since, absences_[1].since);
    absences_.erase(absences_.begin());
  }
}

std::optional<Milliseconds> Absences::longest(Milliseconds settling, MonotonicTime now) const {
  std::optional<Milliseconds> longest;
  for (const auto& absence : absences_) {
    if (absence.until && *absence.until + settling < now) continue;
    const auto age = std::chrono::duration_cast<Milliseconds>(now - absence.since);
    longest = std::max(longest.value_or(age), age);
  }
  return longest;
}

Collected collect_tombstones(replication::OrMapState& state, Milliseconds ttl, Milliseconds hold,
                             std::optional<Milliseconds> absence, WallMilliseconds now) {
  const auto before = [now](Milliseconds age) { return now - age.count(); };
  state.retire_tombstones(before(ttl), collect_max);
  Collected collected{.keys = state.collect_tombstones(before(ttl + absence.value_or(Milliseconds(0))), collect_max)};
  if (absence) {
    auto forced = state.collect_tombstones(before(std::max(ttl, hold)), collect_max);
    collected.forced = forced.size();
    std::ranges::move(forced, std::back_inserter(collected.keys));
  }
  return collected;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
