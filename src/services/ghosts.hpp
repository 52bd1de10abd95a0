// Ghosts: what is remembered of a node's entries that the node itself does not know any more, from before a restart or
// from behind a partition. For maps in which each node speaks for its own entries alone: the registry's, the leaders'.
//
// A node that is shown a ghost of its own removes it, or writes its entry again, with a newer stamp. Others bury what
// a node did not name although it should have; their tombstones are the same wherever they are made, and as old as they
// can be, so that whatever the node writes itself is newer.
//
// Source: protocol document 05, section 11. Pure functions.
#pragma once

#include <barrel_p2p/term.hpp>
#include <functional>
#include <optional>

#include "base/clock.hpp"
#include "replication/ormap.hpp"
#include "replication/ormap_state.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// Whether what a peer has of an own entry differs from ours (nullptr: none) for those who look.
[[nodiscard]] bool is_ghost(const replication::Entry* ours, const replication::Entry& theirs);

/// Whether it is the tombstone of what nobody here remembers, removed before `cutoff`: by now all have heard of it.
[[nodiscard]] bool is_outdated(const replication::Entry* ours, const replication::Entry& theirs,
                               WallMilliseconds cutoff);

/// The tombstone of an entry that was written then; nothing where no later stamp is left.
[[nodiscard]] std::optional<TermPair> bury(const Term& key, const replication::Timestamp& written);

/// The newest of a node's own entries that it names in a snapshot and that were taken over: what it wrote before and
/// does not name it has forgotten, for removals would be named. `is_own`: whether it is the key of such an entry.
[[nodiscard]] replication::Timestamp newest_named(const Term& snapshot, const replication::OrMapState& state,
                                                  const std::function<bool(const Term& key)>& is_own);

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
