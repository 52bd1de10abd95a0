// How long removals must be remembered: while a node is away that may not have heard of them, and for a while after.
//
// Source: protocol document 06, sections 5.6, 6.6 and 11. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "replication/ormap_state.hpp"
#include "services/members.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// When some node was away.
class Absences {
 public:
  /// `hold`: an absence that ended is remembered for so long.
  explicit Absences(Milliseconds hold) : hold_(hold) {}

  /// At first: who had been away and came back shortly before this node's last life ended may not have heard of all
  /// yet.
  void begin(const Members& members, MonotonicTime now);
  /// To be called now and then: each second, for instance.
  void note(const Members& members, MonotonicTime now);
  /// How long ago the first absence began that lasts or ended less than `settling` ago: until then not all may have
  /// heard of what the node did not know.
  [[nodiscard]] std::optional<Milliseconds> longest(Milliseconds settling, MonotonicTime now) const;

 private:
  struct Absence {
    MonotonicTime since;
    std::optional<MonotonicTime> until;
  };

  Milliseconds hold_;
  std::vector<Absence> absences_;  ///< In the order in which they ended; the last one may last.
};

struct Collected {
  std::vector<Term> keys;
  std::size_t forced = 0;  ///< Of these, forgotten although a node that was there may still be away.
};
/// Forgets tombstones that are older than `ttl`, and while a node is away those that are older than its absence by as
/// much: it has seen them. None is kept for longer than `hold` because of that. A part of them at a time. `now`: by an
/// `AgingClock`.
Collected collect_tombstones(replication::OrMapState& state, Milliseconds ttl, Milliseconds hold,
                             std::optional<Milliseconds> absence, WallMilliseconds now);

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
