// The scenarios that are installed with the simulator.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

#include "sim/scenario.hpp"

namespace barrel_p2p::sim {

/// Throws (and so fails the test) when it cannot be read.
inline Scenario shipped(const std::string& name) {
  auto scenario = load_scenario(std::filesystem::path(BARREL_P2P_SCENARIOS_DIR) / (name + ".toml"));
  if (!scenario) throw std::runtime_error(scenario.error().message());
  return *scenario;
}

}  // namespace barrel_p2p::sim
