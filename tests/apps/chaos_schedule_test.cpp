// What `barrel_p2p chaos` plans to do.
#include "chaos_schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <vector>

namespace barrel_p2p::command {
namespace {

using namespace std::chrono_literals;

using Kind = ChaosFault::Kind;

std::vector<ChaosFault> plan(std::uint64_t seed, std::size_t nodes = 5, std::chrono::milliseconds length = 60s) {
  Prng random(seed);
  return plan_chaos(random, nodes, length);
}
std::vector<ChaosFault> plan_of(Kind kind, std::chrono::milliseconds length = 10min) {
  Prng random(1);
  const std::vector kinds{kind};
  return plan_chaos(random, 5, length, kinds);
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
  EXPECT_EQ(words, (std::set<std::string>{"bad_links", "clock", "disk_full", "freeze", "kill", "one_way", "split"}));
}

TEST(ChaosSchedule, a_kind_that_was_not_asked_for_does_not_come) {
  for (const auto kind : chaos_fault_kinds) {
    const auto faults = plan_of(kind);
    EXPECT_FALSE(faults.empty()) << word_of(kind);
    for (const auto& fault : faults) EXPECT_EQ(fault.kind, kind) << to_text(fault);
  }
}

TEST(ChaosSchedule, each_kind_has_a_word_of_its_own) {
  for (const auto kind : chaos_fault_kinds) EXPECT_EQ(fault_kind_of(word_of(kind)), kind);
  EXPECT_EQ(fault_kind_of("weather"), std::nullopt);
}

TEST(ChaosSchedule, a_node_has_one_fault_of_its_own_at_a_time) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    std::vector<std::chrono::milliseconds> busy(5);
    for (const auto& fault : plan(seed)) {
      if (fault.kind != Kind::kill && fault.kind != Kind::freeze && fault.kind != Kind::disk_full) continue;
      for (const auto node : fault.nodes) {
        EXPECT_LE(busy.at(node), fault.begin) << to_text(fault);
        busy.at(node) = fault.end;
      }
    }
  }
}

TEST(ChaosSchedule, clocks_are_wrong_by_up_to_a_minute_either_way_and_one_at_a_time) {
  std::vector<std::chrono::milliseconds> busy(5);
  auto least = 0ms;
  auto greatest = 0ms;
  for (const auto& fault : plan_of(Kind::clock)) {
    ASSERT_NE(fault.step, 0ms);
    least = std::min(least, fault.step);
    greatest = std::max(greatest, fault.step);
    for (const auto node : fault.nodes) {
      EXPECT_LE(busy.at(node), fault.begin) << to_text(fault);
      busy.at(node) = fault.end;
    }
  }
  EXPECT_GE(least, -61s);
  EXPECT_LT(least, -30s);
  EXPECT_LE(greatest, 61s);
  EXPECT_GT(greatest, 30s);
}

TEST(ChaosSchedule, a_disk_is_full_for_long_enough_on_a_node_that_has_its_own) {
  std::set<bool> killed;
  for (const auto& fault : plan_of(Kind::disk_full)) {
    ASSERT_EQ(fault.nodes.size(), 1U);
    EXPECT_TRUE(has_own_disk(fault.nodes[0])) << to_text(fault);
    EXPECT_GE(fault.end - fault.begin, 3s) << to_text(fault);
    killed.insert(fault.killed);
  }
  EXPECT_EQ(killed.size(), 2U);
}

TEST(ChaosSchedule, a_cut_leaves_nodes_on_both_sides) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    for (const auto& fault : plan(seed, 3)) {
      if (fault.kind != Kind::split && fault.kind != Kind::one_way) continue;
      EXPECT_GE(fault.nodes.size(), 1U);
      EXPECT_LE(fault.nodes.size(), 2U);
      EXPECT_TRUE(std::ranges::is_sorted(fault.nodes));
    }
  }
}

TEST(ChaosSchedule, a_short_time_has_room_for_nothing) { EXPECT_TRUE(plan(1, 5, 100ms).empty()); }

TEST(ChaosSchedule, a_fault_is_told_on_one_line) {
  EXPECT_EQ(to_text(ChaosFault{.kind = Kind::kill, .begin = 1s, .end = 3s, .nodes = {0, 2}}), "kill n0 n2 for 2000ms");
  EXPECT_EQ(to_text(ChaosFault{.kind = Kind::clock, .begin = 1s, .end = 3s, .nodes = {1}, .step = -70ms}),
            "clock n1 by -70ms for 2000ms");
  EXPECT_EQ(to_text(ChaosFault{.kind = Kind::disk_full, .begin = 1s, .end = 5s, .nodes = {4}, .killed = true}),
            "disk_full n4 then killed for 4000ms");
}

}  // namespace
}  // namespace barrel_p2p::command
