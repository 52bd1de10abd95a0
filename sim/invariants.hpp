// What must hold when nothing has failed for a while and everything that was cut is whole again.
#pragma once

#include <cstddef>

#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// Members are one component, list each other mutually, and none is alone; broadcasts from the number `first` on
/// reached every member that was one before. Throws `Violation`.
void check_quiescent(Simulation& simulation, std::size_t first_broadcast);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
