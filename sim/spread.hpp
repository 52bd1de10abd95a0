// How fast a change is known everywhere.
#pragma once

#include <vector>

#include "base/prng.hpp"
#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

struct SpreadFigures {
  std::vector<SimTime> everywhere;  ///< Of each change, until the last member sees it. Sorted.
  std::vector<SimTime> single;      ///< Of each change and other member. Sorted.
  std::size_t missed = 0;           ///< Changes that a member did not see within `wait`.

  /// Of sorted times: 0 to 1. Zero when there are none.
  [[nodiscard]] static SimTime quantile(const std::vector<SimTime>& times, double share);
};

/// One change after the other, each on a random member: a put into the map `spread`, or the registration of a service.
/// `interval` lies between two of them, `wait` follows the last one. Needs services.
[[nodiscard]] SpreadFigures measure_puts(Simulation& simulation, std::size_t changes, SimTime interval, SimTime wait,
                                         Prng& random);
[[nodiscard]] SpreadFigures measure_registrations(Simulation& simulation, std::size_t changes, SimTime interval,
                                                  SimTime wait, Prng& random);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
