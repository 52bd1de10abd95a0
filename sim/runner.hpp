// Runs scenarios.
#pragma once

#include <cstdint>

#include "sim/report.hpp"
#include "sim/scenario.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

struct RunResult {
  Report report;
  std::uint64_t trace_hash = 0;  ///< Equal for equal runs.
  std::uint64_t events = 0;
  SimTime simulated{};
};

/// Runs the steps, once for each value of the sweep. Throws `Violation` when an invariant is broken.
[[nodiscard]] RunResult run_scenario(const Scenario& scenario);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
