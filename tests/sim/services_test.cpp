// Services and maps on simulated nodes: what disks and crashes do, that checks find what is wrong, and seeds of the
// shipped scenarios.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/churn.hpp"
#include "sim/faults.hpp"
#include "sim/runner.hpp"
#include "sim/scenario.hpp"
#include "sim/shipped.hpp"
#include "sim/spread.hpp"
#include "sim/workload.hpp"
#include "support/sanitized.hpp"

namespace barrel_p2p::sim {
namespace {

SimulationConfig with_services() {
  SimulationConfig config;
  config.services.enabled = true;
  config.services.disk.low = config.services.disk.high = Milliseconds(10);
  return config;
}

void start_all(Simulation& simulation, NodeIndex count) {
  for (NodeIndex node = 0; node < count; ++node) simulation.add_node();
  for (NodeIndex node = 0; node < count; ++node) {
    simulation.start(node, node == 0 ? std::vector<NodeIndex>{} : std::vector<NodeIndex>{0});
    simulation.run_for(Milliseconds(50));
  }
  simulation.run_for(Milliseconds(10'000));
}

/// Node 0 alone with a persistent map `m`.
class OneDisk : public testing::Test {
 protected:
  OneDisk() : simulation(with_services()), services(*simulation.services()) {
    simulation.add_node();
    options.persist = true;
    services.on_start = [this](NodeIndex node) { ASSERT_TRUE(services.open_map(node, map, options)); };
    simulation.start(0, {});
  }
  void put(int key) {
    ASSERT_TRUE(
        services.put(0, map, key, "v", [this](const Result<void>& result) { answers.push_back(result.has_value()); }));
  }
  bool holds(int key) { return services.machine(0).maps().find(map)->get(key) != nullptr; }

  const Atom map{"m"};
  MapOptions options;
  Simulation simulation;
  ServiceNodes& services;
  std::vector<bool> answers;
};

TEST_F(OneDisk, gives_back_after_a_crash_what_was_acknowledged_and_loses_the_rest) {
  put(1);
  simulation.run_for(Milliseconds(100));  // the clock's first mark goes before
  EXPECT_EQ(answers, std::vector<bool>{true});
  put(2);
  put(3);
  simulation.crash(0);
  simulation.run_for(Milliseconds(1000));
  simulation.start(0, {});
  EXPECT_TRUE(holds(1));
  EXPECT_FALSE(holds(3));
  EXPECT_EQ(answers.size(), 1);
}

TEST_F(OneDisk, is_empty_when_it_was_lost) {
  put(1);
  simulation.run_for(Milliseconds(100));
  simulation.crash(0);
  simulation.start(0, {}, false);
  EXPECT_FALSE(holds(1));
  EXPECT_EQ(services.disk_losses(0), 1);
}

TEST_F(OneDisk, that_fails_is_an_error_to_the_caller_and_is_written_later) {
  services.break_disk(0, Milliseconds(3000));
  put(1);
  simulation.run_for(Milliseconds(1000));
  EXPECT_EQ(answers, std::vector<bool>{false});
  EXPECT_EQ(services.disk(0).find("map/m", 1), nullptr);
  simulation.run_for(Milliseconds(8000));
  EXPECT_NE(services.disk(0).find("map/m", 1), nullptr);
  EXPECT_GE(services.disk(0).clock_mark(), services.machine(0).clock().last().wall);
}

TEST_F(OneDisk, answers_a_frozen_process_when_it_goes_on) {
  put(1);
  simulation.pause(0);
  simulation.run_for(Milliseconds(100));
  EXPECT_TRUE(answers.empty());
  EXPECT_NE(services.disk(0).find("map/m", 1), nullptr);
  simulation.resume(0);
  EXPECT_EQ(answers, std::vector<bool>{true});
}

TEST_F(OneDisk, keeps_stamps_growing_although_the_clock_was_set_back) {
  put(1);
  simulation.run_for(Milliseconds(100));
  const auto before = services.machine(0).clock().last();
  simulation.crash(0);
  services.shift_clock(0, Milliseconds(-600'000));
  simulation.start(0, {});
  put(2);
  EXPECT_GT(services.machine(0).maps().find(map)->find(2)->stamp(), before);
}

TEST(WorkloadCheck, finds_nodes_that_differ) {
  Simulation simulation(with_services());
  Workload workload(simulation, {.keys = 5}, 1);
  start_all(simulation, 10);
  workload.begin();
  simulation.run_for(Milliseconds(10'000));
  workload.stop();
  simulation.run_for(Milliseconds(10'000));
  EXPECT_NO_THROW(workload.check());
  // Behind the back of the workload.
  ServiceNodes& services = *simulation.services();
  ASSERT_TRUE(services.register_service(3, "nobody_knows", services.spawn(3), Term::map({}), {}, nullptr));
  EXPECT_THROW(workload.check(), Violation);
  ASSERT_TRUE(services.unregister_service(3, "nobody_knows"));
  simulation.run_for(Milliseconds(5'000));
  EXPECT_NO_THROW(workload.check());
  ASSERT_TRUE(services.put(3, Atom("durable"), 0, "not of the workload", nullptr));
  EXPECT_THROW(workload.check(), Violation);
}

TEST(WorkloadCheck, finds_a_cluster_that_is_cut_in_two) {
  Simulation simulation(with_services());
  Workload workload(simulation, {.keys = 5}, 1);
  start_all(simulation, 10);
  Prng random(1);
  partition(simulation, {PartitionStep::Shape::split, 2}, random);
  workload.begin();
  simulation.run_for(Milliseconds(20'000));
  workload.stop();
  simulation.run_for(Milliseconds(10'000));
  EXPECT_THROW(workload.check(), Violation);
}

Scenario small_replication(std::uint64_t seed) {
  Scenario scenario = shipped("replication");
  scenario.nodes = 12;
  scenario.simulation.seed = seed;
  auto& chaos = std::get<ChaosStep>(scenario.steps.back());
  chaos.rounds = 2;
  chaos.trouble = Milliseconds(40'000);
  return scenario;
}

class Replication : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Replication, breaks_no_invariant) { EXPECT_NO_THROW((void)run_scenario(small_replication(GetParam()))); }
INSTANTIATE_TEST_SUITE_P(Seeds, Replication, testing::Range<std::uint64_t>(1, 1 + test::seeds(4)));

TEST(Replay, of_services_gives_equal_runs_wherever_atoms_lie_in_memory) {
  auto scenario = small_replication(7);
  scenario.simulation.codec = true;
  const auto first = run_scenario(scenario);
  std::vector<Atom> displaced;
  for (int node = 11; node >= 0; --node) {
    displaced.emplace_back("away" + std::to_string(node));
    displaced.emplace_back("n" + std::to_string(node) + "@sim");
  }
  const auto second = run_scenario(scenario);
  EXPECT_EQ(first.trace_hash, second.trace_hash);
  EXPECT_EQ(first.events, second.events);
}

TEST(Spread, a_settled_cluster_sees_puts_and_registrations_within_a_second) {
  Simulation simulation(with_services());
  start_all(simulation, 30);
  Prng random(1);
  for (const auto& figures : {measure_puts(simulation, 20, Milliseconds(200), Milliseconds(5000), random),
                              measure_registrations(simulation, 20, Milliseconds(200), Milliseconds(5000), random)}) {
    EXPECT_EQ(figures.missed, 0);
    EXPECT_EQ(figures.everywhere.size(), 20);
    EXPECT_GT(SpreadFigures::quantile(figures.everywhere, 0.5), Milliseconds(10));
    EXPECT_LT(SpreadFigures::quantile(figures.everywhere, 1), Milliseconds(1000));
  }
}

TEST(Churn, leaves_no_trace_of_nodes_keys_and_services_that_are_gone) {
  Scenario scenario = shipped("churn");
  scenario.nodes = 8;
  auto& churn = std::get<ChurnStep>(scenario.steps.back());
  churn.span = Milliseconds(1'800'000);
  churn.interval = Milliseconds(10'000);
  EXPECT_NO_THROW((void)run_scenario(scenario));
}

}  // namespace
}  // namespace barrel_p2p::sim
