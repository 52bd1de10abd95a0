// Owners of partitions in simulated clusters: one each, soon, whatever happens.
#include "sim/placement_watch.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "sim/faults.hpp"
#include "sim/runner.hpp"
#include "sim/scenario.hpp"
#include "sim/service_nodes.hpp"
#include "support/sanitized.hpp"

namespace barrel_p2p::sim {
namespace {

using namespace std::chrono_literals;

Scenario short_scenario(std::uint64_t seed) {
  auto scenario = load_scenario(std::string(BARREL_P2P_SCENARIOS_DIR) + "/placement.toml");
  if (!scenario) throw std::runtime_error(scenario.error().message());
  scenario->nodes = 8;
  scenario->simulation.seed = seed;
  std::get<ChaosStep>(scenario->steps.back()).trouble = 30s;
  return std::move(*scenario);
}

class PlacementInTrouble : public testing::TestWithParam<std::uint64_t> {};

TEST_P(PlacementInTrouble, gives_each_partition_its_owner_in_time_and_no_other) {
  EXPECT_NO_THROW((void)run_scenario(short_scenario(GetParam())));
}
INSTANTIATE_TEST_SUITE_P(Seeds, PlacementInTrouble, testing::Range<std::uint64_t>(1, 1 + test::seeds(4)));

TEST(PlacementWatch, sees_an_owner_that_does_not_own_and_one_too_many) {
  auto scenario = short_scenario(1);
  std::get<ChaosStep>(scenario.steps.back()).unowned_max = 2s;  // a lease takes longer
  EXPECT_THROW((void)run_scenario(scenario), Violation);
  scenario = short_scenario(1);
  std::get<ChaosStep>(scenario.steps.back()).shared_max = 1ms;  // less than a message takes
  EXPECT_THROW((void)run_scenario(scenario), Violation);
}

/// Six nodes that know each other.
struct Settled {
  Settled() : simulation(config()) {
    for (NodeIndex node = 0; node < 6; ++node) simulation.add_node();
    for (NodeIndex node = 0; node < 6; ++node) {
      simulation.start(node, node == 0 ? std::vector<NodeIndex>{} : std::vector<NodeIndex>{0});
    }
    simulation.run_for(20s);
  }
  static SimulationConfig config() {
    SimulationConfig config;
    config.seed = 5;
    config.services.enabled = true;
    return config;
  }
  Simulation simulation;
};

TEST(PlacementWatch, is_content_with_a_calm_cluster_and_sees_two_sides_of_a_cut) {
  Settled cluster;
  PlacementWatch watch(cluster.simulation, {20s, 20s});
  cluster.simulation.run_for(5s);
  EXPECT_NO_THROW(watch.check_agreement());
  EXPECT_EQ(watch.figures().gap, SimTime{});
  Prng random(1);
  partition(cluster.simulation, {PartitionStep::Shape::split, 2}, random);
  cluster.simulation.run_for(20s);
  EXPECT_THROW(watch.check_agreement(), Violation);
  cluster.simulation.engine().heal();
  cluster.simulation.run_for(60s);
  EXPECT_NO_THROW(watch.check_agreement());
}

TEST(PlacementWatch, a_partition_is_without_any_owner_for_a_lease_when_its_owner_crashes_and_not_when_it_leaves) {
  Settled cluster;
  PlacementWatch watch(cluster.simulation, {20s, 20s});
  cluster.simulation.run_for(1s);
  cluster.simulation.leave(3);
  cluster.simulation.run_for(10s);
  EXPECT_LE(watch.figures().gap, 200ms) << "as fast as messages are, seen ten times a second";
  EXPECT_GT(watch.figures().moves, 0U);
  cluster.simulation.crash(4);
  cluster.simulation.run_for(10s);
  EXPECT_GT(watch.figures().gap, 3s);
  EXPECT_LE(watch.figures().gap, 6200ms) << "the rest of its lease";
}

}  // namespace
}  // namespace barrel_p2p::sim
