#include "services/ghosts.hpp"

#include <algorithm>

namespace barrel_p2p {
inline namespace v0 {
namespace services {

using replication::Change;
using replication::Entry;
using replication::Timestamp;

bool is_ghost(const Entry* ours, const Entry& theirs) {
  if (ours == nullptr) return theirs.is_live();
  Entry merged = *ours;
  const Change change = replication::merge(merged, theirs);
  return change == Change::put || change == Change::removed;
}

bool is_outdated(const Entry* ours, const Entry& theirs, WallMilliseconds cutoff) {
  return ours == nullptr && !theirs.is_live() && theirs.stamp().wall < cutoff;
}

std::optional<TermPair> bury(const Term& key, const Timestamp& written) {
  if (written.logical == Timestamp::logical_max) return std::nullopt;
  return TermPair{key, replication::to_term(Entry::tombstone({written.wall, written.logical + 1}))};
}

Timestamp newest_named(const Term& snapshot, const replication::OrMapState& state,
                       const std::function<bool(const Term& key)>& is_own) {
  Timestamp newest;
  for (const auto& [key, term] : snapshot.pairs()) {
    const auto entry = is_own(key) ? replication::entry_of(term) : fail(Errc::malformed_term);
    if (entry && state.covers(key, entry->stamp())) newest = std::max(newest, entry->stamp());
  }
  return newest;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
