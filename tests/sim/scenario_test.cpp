// Scenario files: what is refused and how, the ones that are shipped, and that runs repeat themselves.
#include "sim/scenario.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "sim/faults.hpp"
#include "sim/invariants.hpp"
#include "sim/measures.hpp"
#include "sim/runner.hpp"
#include "sim/shipped.hpp"
#include "support/sanitized.hpp"

namespace barrel_p2p::sim {
namespace {

std::string error_of(const std::string& toml) {
  const auto scenario = parse_scenario(toml);
  return scenario ? "none" : scenario.error().context();
}

const std::string small = R"(name = "small"
nodes = 30
seed = 5
codec = true
[network]
loss = 0.05
[[step]]
do = "join"
[[step]]
do = "settle"
seconds = 20
[[step]]
do = "broadcast"
label = "b"
messages = 3
[[step]]
do = "measure"
label = "m"
[[step]]
do = "check"
)";

TEST(Scenario, errors_name_the_line_the_key_and_the_remedy) {
  EXPECT_EQ(error_of("name = 1\n"), "line 1: name must be a string");
  EXPECT_EQ(error_of("name = \"a\"\nnodes = 1\n"), "line 2: nodes must be an integer from 2 to 1000000");
  EXPECT_EQ(error_of("name = \"a\"\n[[step]]\ndo = \"crash\"\nfraction = 2\n"),
            "line 4: step.fraction must be a number from 0 to 1");
  EXPECT_EQ(error_of("name = \"a\"\n[[step]]\ndo = \"crash\"\n"), "line 2: 'step.fraction' is missing: write it");
  EXPECT_EQ(error_of("name = \"a\"\n[[step]]\ndo = \"heal\"\nnow = true\n"),
            "line 4: step.now is not a key here; there are do");
  EXPECT_EQ(error_of("name = \"a\"\n[network]\nlos = 0.1\n[[step]]\ndo = \"join\"\n").substr(0, 40),
            "line 3: network.los is not a key here; t");
  EXPECT_EQ(error_of("name = \"a\"\nstep = 3\n"), "line 2: step must be a list: write [[step]]");
  EXPECT_EQ(error_of("name = \"a\"\n").substr(0, 40), "line 1: 'step' is missing: write it");
  EXPECT_TRUE(error_of("name = \n").starts_with("line 1: not TOML"));
}

TEST(Scenario, a_sweep_needs_a_step_that_uses_it) {
  EXPECT_TRUE(error_of("name = \"a\"\nsweep = [0.5]\n[[step]]\ndo = \"join\"\n").starts_with("sweep: "));
  EXPECT_TRUE(error_of("name = \"a\"\n[[step]]\ndo = \"crash\"\nfraction = \"sweep\"\n").starts_with("sweep: "));
}

TEST(Scenario, all_that_are_shipped_can_be_read) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(BARREL_P2P_SCENARIOS_DIR)) {
    const auto scenario = load_scenario(entry.path());
    EXPECT_TRUE(scenario) << scenario.error().message();
    ++count;
  }
  EXPECT_GE(count, 9);
}

TEST(Replay, equal_seeds_give_equal_runs_wherever_atoms_lie_in_memory) {
  auto scenario = parse_scenario(small);
  ASSERT_TRUE(scenario);
  const auto first = run_scenario(*scenario);
  // Names of nodes get other addresses, in another order, than in the first run.
  std::vector<Atom> displaced;
  for (int node = 29; node >= 0; --node) {
    displaced.emplace_back("elsewhere" + std::to_string(node));
    displaced.emplace_back("n" + std::to_string(node) + "@sim");
  }
  const auto second = run_scenario(*scenario);
  EXPECT_EQ(first.trace_hash, second.trace_hash);
  EXPECT_EQ(first.events, second.events);
  scenario->simulation.seed = 6;
  EXPECT_NE(run_scenario(*scenario).trace_hash, first.trace_hash);
}

TEST(Report, has_a_row_for_each_measure_in_text_csv_and_svg) {
  auto scenario = parse_scenario(small);
  ASSERT_TRUE(scenario);
  const auto result = run_scenario(*scenario);
  ASSERT_EQ(result.report.tables.size(), 2);
  EXPECT_EQ(result.report.tables[0].rows.size(), 1);
  EXPECT_EQ(result.report.tables[1].rows.size(), 1);
  std::ostringstream csv;
  write_csv(result.report, csv);
  EXPECT_NE(csv.str().find("\nb,0,30,3,100,100,0,"), std::string::npos) << csv.str();
  std::ostringstream svg;
  write_svg(result.report, svg);
  EXPECT_TRUE(svg.str().starts_with("<svg"));
  EXPECT_TRUE(svg.str().ends_with("</svg>\n"));
}

TEST(Check, finds_a_cluster_that_is_cut_in_two) {
  SimulationConfig config;
  Simulation simulation(config);
  for (int node = 0; node < 20; ++node) simulation.add_node();
  for (NodeIndex node = 0; node < 20; ++node) {
    simulation.start(node, node == 0 ? std::vector<NodeIndex>{} : std::vector<NodeIndex>{0});
    simulation.run_for(Milliseconds(50));
  }
  simulation.run_for(Milliseconds(30'000));
  EXPECT_NO_THROW(check_quiescent(simulation, 0));
  Prng random(1);
  partition(simulation, {PartitionStep::Shape::split, 2}, random);
  const std::size_t first = simulation.broadcasts().size();
  simulation.run_for(Milliseconds(10'000));
  simulation.broadcast(0, Atom("t"), 1);
  simulation.run_for(Milliseconds(10'000));
  EXPECT_THROW(check_quiescent(simulation, first), Violation);
  EXPECT_EQ(measure_graph(simulation, random).components, 2);
  EXPECT_LT(measure_broadcasts(simulation, first, first + 1).reliability_mean, 0.6);
}

TEST(Join, a_thousand_nodes_through_one_contact_become_one_symmetric_overlay) {
  auto scenario = shipped("join");
  scenario.nodes = 1000;
  const auto result = run_scenario(scenario);
  const auto& settled = result.report.tables[0].rows.back();
  EXPECT_EQ(settled[2], "1000");
  EXPECT_EQ(settled[3], "1");    // components
  EXPECT_EQ(settled[4], "0");    // isolated
  EXPECT_EQ(settled[5], "100");  // symmetric
}

TEST(Join, nodes_that_start_together_with_each_other_as_contacts_are_one_cluster_soon) {
  constexpr NodeIndex nodes = 8;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SimulationConfig config;
    config.seed = seed;
    Simulation simulation(config);
    std::vector<NodeIndex> all;
    for (NodeIndex node = 0; node < nodes; ++node) all.push_back(simulation.add_node());
    for (const NodeIndex node : all) simulation.start(node, all);
    simulation.run_for(Milliseconds(10'000));
    Prng random(1);
    EXPECT_EQ(measure_graph(simulation, random).components, 1) << "seed " << seed;
  }
}

TEST(Restart, a_whole_cluster_finds_itself_from_what_it_remembers) {
  auto scenario = shipped("restart");
  scenario.nodes = 300;
  EXPECT_NO_THROW((void)run_scenario(scenario));
}

TEST(Gossip, the_three_scenarios_of_iroh_gossip_stay_within_its_bounds) {
  const auto result = run_scenario(shipped("iroh-gossip"));
  const auto& rows = result.report.tables.back().rows;
  const auto within = [](const std::vector<std::string>& row, int hop, double redundancy) {
    EXPECT_EQ(row[6], "0") << row[0];
    EXPECT_LT(std::stoi(row[8]), hop) << row[0];
    EXPECT_LT(std::stod(row[9]), redundancy) << row[0];
  };
  ASSERT_EQ(rows.size(), 4);
  within(rows[1], 15, 0.2);
  within(rows[2], 18, 1);
  within(rows[3], 30, 3);
}

class Chaos : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Chaos, breaks_no_invariant) {
  auto scenario = shipped("chaos");
  scenario.simulation.seed = GetParam();
  EXPECT_NO_THROW((void)run_scenario(scenario));
}
INSTANTIATE_TEST_SUITE_P(Seeds, Chaos, testing::Range<std::uint64_t>(1, 1 + test::seeds(5)));

}  // namespace
}  // namespace barrel_p2p::sim
