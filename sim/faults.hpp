// Failures on a simulated cluster: cuts of every shape, and a mixture of all.
#pragma once

#include "base/prng.hpp"
#include "sim/campaigns.hpp"
#include "sim/placement_watch.hpp"
#include "sim/scenario.hpp"
#include "sim/simulation.hpp"
#include "sim/workload.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// Cuts the network; which node lies where is random.
void partition(Simulation& simulation, const PartitionStep& step, Prng& random);
/// Nodes that ran and do not run start again; node 0 and 1 are the contacts of all if `bootstrap`.
void restart_all(Simulation& simulation, const RestartStep& step);
/// See ChaosStep. `workload`, `campaigns` and `placement` may be nullptr. Throws `Violation`.
void run_chaos(Simulation& simulation, const ChaosStep& step, Prng& random, Workload* workload, Campaigns* campaigns,
               const PlacementWatch* placement);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
