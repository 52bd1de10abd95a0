// Reminders on simulated nodes: seeds of the shipped scenario, what a crash at a bad moment does, and that the checks
// find what is wrong.
#include "sim/reminders.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/runner.hpp"
#include "sim/shipped.hpp"
#include "support/sanitized.hpp"

namespace barrel_p2p::sim {
namespace {

class RemindersScenario : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RemindersScenario, loses_none_tells_none_early_and_tells_each_once_in_a_calm) {
  Scenario scenario = shipped("reminders");
  scenario.simulation.seed = GetParam();
  EXPECT_NO_THROW((void)run_scenario(scenario));
}

INSTANTIATE_TEST_SUITE_P(Seeds, RemindersScenario, testing::Range<std::uint64_t>(1, 1 + test::seeds(3)));

TEST(SimulatedReminders, one_whose_node_crashes_while_it_tells_is_told_again_with_the_same_fence) {
  SimulationConfig config;
  config.services.enabled = true;
  Simulation simulation(config);
  ServiceNodes& services = *simulation.services();
  simulation.add_node();
  std::vector<ReminderEvent> told;
  services.on_start = [&](NodeIndex node) { services.subscribe_reminders(node); };
  services.on_effect = [&](NodeIndex node, const services::Effect& effect) {
    const auto* fired = std::get_if<services::ReminderFired>(&effect);
    if (fired == nullptr) return;
    told.push_back(fired->event);
    if (told.size() == 1) simulation.crash(node);
  };
  simulation.start(0, {});
  ASSERT_TRUE(services.remind(0, Term(1), services.wall(0) + 1000, Term(2), nullptr));
  simulation.run_for(Milliseconds(10'000));
  ASSERT_EQ(told.size(), 1U);
  simulation.start(0, {});
  simulation.run_for(Milliseconds(60'000));
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].fence, told[1].fence);
  EXPECT_EQ(told[1].payload, Term(2));
}

TEST(SimulatedReminders, reminders_that_are_lost_are_found) {
  Scenario scenario = shipped("reminders");
  // What crashed nodes would have told is dropped by their heirs.
  scenario.simulation.services.machine.reminders.late_policy = LatePolicy::skip;
  scenario.simulation.services.machine.reminders.late_after = Milliseconds(1000);
  EXPECT_THROW((void)run_scenario(scenario), Violation);
}

}  // namespace
}  // namespace barrel_p2p::sim
