// How long something takes on the simulated network: a distribution and its parameters.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/prng.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// Virtual time since the start of the simulation, or a span of it.
using SimTime = std::chrono::nanoseconds;

/// A value. Constant and uniform delays are the same on every machine; the others use the machine's mathematical
/// library.
struct Delay {
  enum class Kind : std::uint8_t {
    constant,     ///< `low`.
    uniform,      ///< From `low` to `high`.
    exponential,  ///< `low` plus an exponential with the mean `high` - `low`.
    log_normal,   ///< The median `high`, the shape `sigma`, never below `low`.
  };
  Kind kind = Kind::uniform;
  SimTime low = std::chrono::milliseconds(5);
  SimTime high = std::chrono::milliseconds(15);
  double sigma = 0.5;

  [[nodiscard]] SimTime draw(Prng& random) const;
};

/// Uniform in [0, `span`).
SimTime uniform(Prng& random, SimTime span);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
