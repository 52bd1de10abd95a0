// What `barrel_p2p chaos` plans to do.
#include "chaos_schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <vector>

namespace barrel_p2p::command {
namespace {

using namespace std::chrono_literals;

std::vector<ChaosFault> plan(std::uint64_t seed, std::size_t nodes = 5, std::chrono::milliseconds length = 60s) {
  Prng random(seed);
  return plan_chaos(random, nodes, length);
}

TEST(ChaosSchedule, equal_seeds_give_equal_faults_and_others_do_not) {
  EXPECT_EQ(plan(1), plan(1));
  EXPECT_NE(plan(1), plan(2));
}

TEST(ChaosSchedule, faults_begin_in_order_and_are_over_in_time) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const auto faults = plan(seed);
    EXPECT_TRUE(std::ranges::is_sorted(faults, {}, &ChaosFault::begin));
    for (const auto& fault : faults) {
      EXPECT_LT(fault.begin, fault.end) << to_text(fault);
      EXPECT_LE(fault.end, 60s) << to_text(fault);
    }
  }
}

TEST(ChaosSchedule, every_kind_of_fault_comes) {
  std::set<std::string> words;
  for (const auto& fault : plan(1, 5, 10min)) words.insert(word_of(fault.kind));
  EXPECT_EQ(words, (std::set<std::string>{"bad_links", "freeze", "kill", "one_way", "split"}));
}

TEST(ChaosSchedule, a_node_has_one_fault_of_its_own_at_a_time) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    std::vector<std::chrono::milliseconds> busy(5);
    for (const auto& fault : plan(seed)) {
      if (fault.kind != ChaosFault::Kind::kill && fault.kind != ChaosFault::Kind::freeze) continue;
      for (const auto node : fault.nodes) {
        EXPECT_LE(busy.at(node), fault.begin) << to_text(fault);
        busy.at(node) = fault.end;
      }
    }
  }
}

TEST(ChaosSchedule, a_cut_leaves_nodes_on_both_sides) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    for (const auto& fault : plan(seed, 3)) {
      if (fault.kind != ChaosFault::Kind::split && fault.kind != ChaosFault::Kind::one_way) continue;
      EXPECT_GE(fault.nodes.size(), 1U);
      EXPECT_LE(fault.nodes.size(), 2U);
      EXPECT_TRUE(std::ranges::is_sorted(fault.nodes));
    }
  }
}

TEST(ChaosSchedule, a_short_time_has_room_for_nothing) { EXPECT_TRUE(plan(1, 5, 100ms).empty()); }

TEST(ChaosSchedule, a_fault_is_told_on_one_line) {
  EXPECT_EQ(to_text(ChaosFault{.kind = ChaosFault::Kind::kill, .begin = 1s, .end = 3s, .nodes = {0, 2}}),
            "kill n0 n2 for 2000ms");
}

}  // namespace
}  // namespace barrel_p2p::command
