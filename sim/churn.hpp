// A cluster in which nothing stays: does what the nodes hold stay small?
#pragma once

#include <cstddef>
#include <vector>

#include "base/prng.hpp"
#include "sim/scenario.hpp"
#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// The largest sizes on one of the members that stay.
struct SizeSample {
  SimTime when{};
  std::size_t names_so_far = 0;      ///< Of nodes.
  std::size_t registry_entries = 0;  ///< With tombstones.
  std::size_t map_entries = 0;       ///< Likewise, of the map `churn`.
  std::size_t disk_entries = 0;
  std::size_t nodes_remembered = 0;
};

/// Nodes with names that were never used come, register services, write under keys that were never used, remove some,
/// and end, one way or another, for ever. Returns samples at equal distances. Throws `Violation` when what the members
/// hold grows on and on: the last third holds more than the middle one by half.
std::vector<SizeSample> run_churn(Simulation& simulation, const ChurnStep& step, Prng& random);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
