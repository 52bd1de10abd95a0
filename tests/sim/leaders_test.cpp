// Leaders on simulated nodes: that the check finds what is wrong, and seeds of the shipped scenario.
#include <gtest/gtest.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/campaigns.hpp"
#include "sim/faults.hpp"
#include "sim/runner.hpp"
#include "sim/scenario.hpp"
#include "support/sanitized.hpp"

namespace barrel_p2p::sim {
namespace {

using namespace std::chrono_literals;

SimulationConfig with_leaders() {
  SimulationConfig config;
  config.services.enabled = true;
  return config;
}

class CampaignsCheck : public testing::Test {
 protected:
  CampaignsCheck() : simulation(with_leaders()), campaigns(simulation, {.operations = 5, .names = 3}, 1) {
    constexpr NodeIndex count = 6;
    for (NodeIndex node = 0; node < count; ++node) simulation.add_node();
    for (NodeIndex node = 0; node < count; ++node) {
      simulation.start(node, node == 0 ? std::vector<NodeIndex>{} : std::vector<NodeIndex>{0});
    }
    simulation.run_for(10s);
    campaigns.begin();
    simulation.run_for(20s);
    campaigns.stop();
  }
  Simulation simulation;
  Campaigns campaigns;
};

TEST_F(CampaignsCheck, finds_nothing_wrong_in_a_cluster_that_is_well) {
  simulation.run_for(20s);
  EXPECT_NO_THROW(campaigns.check());
  EXPECT_GT(campaigns.terms(), 5U);
}

TEST_F(CampaignsCheck, finds_a_leader_on_each_side_of_a_cut) {
  Prng random(1);
  partition(simulation, PartitionStep{}, random);
  campaigns.begin();
  simulation.run_for(60s);
  campaigns.stop();
  simulation.run_for(20s);
  EXPECT_THROW(campaigns.check(), Violation);
  simulation.engine().heal();
  simulation.run_for(120s);
  EXPECT_NO_THROW(campaigns.check());
}

class Leaders : public testing::TestWithParam<std::uint64_t> {};
TEST_P(Leaders, break_no_invariant) {
  auto scenario = load_scenario(std::filesystem::path(BARREL_P2P_SCENARIOS_DIR) / "leaders.toml");
  ASSERT_TRUE(scenario.has_value()) << scenario.error().message();
  scenario->simulation.seed = GetParam();
  EXPECT_NO_THROW((void)run_scenario(*scenario));
}
INSTANTIATE_TEST_SUITE_P(Seeds, Leaders, testing::Range<std::uint64_t>(1, 1 + test::seeds(4)));

}  // namespace
}  // namespace barrel_p2p::sim
