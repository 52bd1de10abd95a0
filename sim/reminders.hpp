// Programs with reminders, and what must come of them.
//
//   - None that was acknowledged is lost, whatever happens to the nodes, as long as they keep their disks.
//   - None fires before its time by the clock of its owner, nor before the true time by more than that clock is wrong.
//   - Every time that it fires it has the fence that it got when it was set.
//   - When the members do not change it fires once.
#pragma once

#include <cstdint>
#include <vector>

#include "base/prng.hpp"
#include "sim/scenario.hpp"
#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

struct ReminderFigures {
  std::uint64_t set = 0;
  std::uint64_t told = 0;
  std::uint64_t told_again = 0;        ///< Of these, with a fence that was told before: around changes of owners.
  std::uint64_t crashes = 0;           ///< Of nodes that were telling.
  std::vector<Milliseconds> lateness;  ///< Of those in a calm, by the clock of their owner; sorted.

  /// The lateness that this share does not exceed.
  [[nodiscard]] Milliseconds late(double share) const;
};

/// Throws `Violation`.
ReminderFigures run_reminders(Simulation& simulation, const RemindersStep& step, Prng& random);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
