// The way into the cluster: who is tried, and when.
#include <gtest/gtest.h>

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "overlay/contacts.hpp"

namespace barrel_p2p::overlay {
namespace {

struct Try {
  Atom node;
  Milliseconds at;  ///< Since the start.
};

class Way {
 public:
  explicit Way(std::vector<Atom> contacts, std::vector<Atom> remembered = {}, std::uint64_t seed = 1)
      : machine({.own = "own@h", .seed = seed, .contacts = std::move(contacts), .remembered = std::move(remembered)},
                start) {}

  /// What is tried within `duration`, while there are so many neighbours.
  std::vector<Try> pass(Milliseconds duration, std::size_t neighbours = 0) {
    std::vector<Try> tries;
    const auto end = now + duration;
    const auto tick = [&] {
      for (const auto& node : machine.tick(neighbours, now)) {
        tries.push_back({node, std::chrono::duration_cast<Milliseconds>(now - start)});
      }
    };
    tick();
    for (auto next = machine.deadline(); next && *next <= end; next = machine.deadline()) {
      now = std::max(now, *next);
      tick();
    }
    now = end;
    return tries;
  }

  MonotonicTime start{std::chrono::hours(1)};
  MonotonicTime now = start;
  Contacts machine;
};

std::set<std::string> names(const std::vector<Try>& tries) {
  std::set<std::string> result;
  for (const auto& one : tries) result.insert(one.node.string());
  return result;
}

TEST(Contacts, all_are_tried_one_after_the_other_while_nobody_is_there) {
  Way way({"a@h", "b@h", "c@h"});
  const auto tries = way.pass(Milliseconds(600));
  ASSERT_EQ(tries.size(), 3U);
  EXPECT_EQ(names(tries), (std::set<std::string>{"a@h", "b@h", "c@h"}));
  EXPECT_EQ(tries[0].at, Milliseconds(0));
  EXPECT_EQ(tries[1].at, Milliseconds(250));
  EXPECT_EQ(tries[2].at, Milliseconds(500));
}

TEST(Contacts, their_order_is_random_and_follows_from_the_seed) {
  std::set<std::string> firsts;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Way way({"a@h", "b@h", "c@h"}, {}, seed);
    Way again({"a@h", "b@h", "c@h"}, {}, seed);
    const auto tries = way.pass(Milliseconds(0));
    EXPECT_EQ(tries[0].node, again.pass(Milliseconds(0))[0].node);
    firsts.insert(tries[0].node.string());
  }
  EXPECT_EQ(firsts.size(), 3U);
}

TEST(Contacts, a_failure_calls_the_next_one_at_once) {
  Way way({"a@h", "b@h"});
  const auto first = way.pass(Milliseconds(10));
  way.machine.failed(first[0].node, way.now);
  const auto second = way.pass(Milliseconds(10));
  ASSERT_EQ(second.size(), 1U);
  EXPECT_NE(second[0].node, first[0].node);
  way.machine.failed(second[0].node, way.now);
  EXPECT_TRUE(way.pass(Milliseconds(300)).empty()) << "the round is over: now a pause";
}

TEST(Contacts, the_failure_of_another_node_calls_nobody) {
  Way way({"a@h", "b@h"});
  way.pass(Milliseconds(10));
  way.machine.failed("other@h", way.now);
  EXPECT_TRUE(way.pass(Milliseconds(200)).empty());
}

TEST(Contacts, rounds_go_on_for_ever_with_a_growing_pause) {
  Way way({"a@h"});
  const auto tries = way.pass(Milliseconds(120'000));
  std::vector<std::int64_t> pauses;
  for (std::size_t at = 1; at < tries.size(); ++at) pauses.push_back((tries[at].at - tries[at - 1].at).count());
  ASSERT_GT(pauses.size(), 20U);
  std::int64_t expected = 500;
  for (const auto pause : pauses) {
    EXPECT_GE(pause, expected * 8 / 10 - 1);
    EXPECT_LE(pause, expected * 12 / 10 + 1);
    expected = std::min<std::int64_t>(expected * 2, 5'000);
  }
  EXPECT_GT(std::set<std::int64_t>(pauses.begin() + 5, pauses.end()).size(), 5U) << "jitter";
}

TEST(Contacts, remembered_nodes_come_first) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Way way({"a@h", "b@h"}, {"r1@h", "r2@h"}, seed);
    const auto tries = way.pass(Milliseconds(800));
    ASSERT_EQ(tries.size(), 4U);
    EXPECT_EQ(names({tries[0], tries[1]}), (std::set<std::string>{"r1@h", "r2@h"}));
    EXPECT_EQ(names({tries[2], tries[3]}), (std::set<std::string>{"a@h", "b@h"}));
  }
}

TEST(Contacts, a_name_counts_once_and_the_own_one_not_at_all) {
  Way way({"a@h", "own@h", "a@h", "r@h"}, {"r@h", "own@h", "r@h"});
  const auto tries = way.pass(Milliseconds(400));
  ASSERT_EQ(tries.size(), 2U);
  EXPECT_EQ(names(tries), (std::set<std::string>{"a@h", "r@h"}));
}

TEST(Contacts, without_contacts_nothing_is_waited_for) {
  Way way({"own@h"});
  EXPECT_FALSE(way.machine.deadline());
  EXPECT_TRUE(way.pass(Milliseconds(1000)).empty());
  way.machine.alone(way.now);
  way.machine.pause();
  way.machine.resume(way.now);
  EXPECT_FALSE(way.machine.deadline());
}

TEST(Contacts, with_neighbours_only_configured_contacts_that_were_never_reached_are_tried) {
  Way way({"a@h", "b@h", "c@h"}, {"r@h"});
  way.pass(Milliseconds(1'000));
  way.machine.reached("a@h");
  way.machine.reached("b@h");
  const auto tries = way.pass(Milliseconds(300'000), 1);
  EXPECT_EQ(names(tries), (std::set<std::string>{"c@h"}));
  ASSERT_GE(tries.size(), 8U);
  std::int64_t expected = 1'000;
  Milliseconds last(1'000);
  for (const auto& one : tries) {
    const auto pause = (one.at - last).count();
    EXPECT_GE(pause, expected * 8 / 10 - 1);
    EXPECT_LE(pause, expected * 12 / 10 + 1);
    expected = std::min<std::int64_t>(expected * 2, 60'000);
    last = one.at;
  }
  way.machine.reached("c@h");
  EXPECT_TRUE(way.pass(Milliseconds(300'000), 1).empty());
  EXPECT_FALSE(way.machine.deadline());
}

TEST(Contacts, a_failure_while_there_are_neighbours_calls_nobody) {
  Way way({"a@h", "b@h"});
  const auto first = way.pass(Milliseconds(10));
  EXPECT_TRUE(way.pass(Milliseconds(10), 1).empty());
  way.machine.failed(first[0].node, way.now);
  EXPECT_TRUE(way.pass(Milliseconds(780), 1).empty()) << "the other one is tried after a second, less the jitter";
}

TEST(Contacts, a_short_company_does_not_bring_back_the_haste_of_the_start) {
  Way way({"a@h"});
  way.pass(Milliseconds(10));
  EXPECT_EQ(way.pass(Milliseconds(4'500), 1).size(), 2U) << "after one second and after three";
  way.machine.alone(way.now);
  way.pass(Milliseconds(10));
  EXPECT_TRUE(way.pass(Milliseconds(3'100), 1).empty()) << "four seconds, less the jitter, are due";
}

TEST(Contacts, who_becomes_alone_starts_a_new_round_at_once) {
  Way way({"a@h", "b@h"});
  way.pass(Milliseconds(10));
  way.machine.reached("a@h");
  way.machine.reached("b@h");
  way.pass(Milliseconds(70'000), 1);
  way.machine.alone(way.now);
  const auto tries = way.pass(Milliseconds(260));
  EXPECT_EQ(names(tries), (std::set<std::string>{"a@h", "b@h"}));
}

TEST(Contacts, a_contact_that_takes_us_and_drops_us_at_once_is_not_called_in_a_loop) {
  Way way({"a@h"});
  std::size_t count = 0;
  for (int step = 0; step < 99; ++step) {
    count += way.pass(Milliseconds(10)).size();
    way.machine.reached("a@h");
    way.machine.alone(way.now);
  }
  EXPECT_EQ(count, 2U) << "within a second, one every half second";
}

TEST(Contacts, a_contact_that_takes_us_and_drops_us_is_asked_less_and_less_often) {
  Way way({"a@h"});
  std::vector<Try> tries;
  while (way.now - way.start < Milliseconds(60'000)) {
    for (const auto& one : way.pass(Milliseconds(20))) tries.push_back(one);
    way.machine.reached("a@h");
    way.pass(Milliseconds(30), 1);
    way.machine.alone(way.now);
  }
  ASSERT_GT(tries.size(), 10U) << "for ever";
  EXPECT_LT(tries.size(), 20U);
  EXPECT_GT(tries.back().at - tries[tries.size() - 2].at, Milliseconds(3'900));
}

TEST(Contacts, a_short_company_does_not_hold_up_the_round) {
  Way way({"a@h", "b@h", "c@h"});
  auto tries = way.pass(Milliseconds(0));
  way.pass(Milliseconds(100), 1);
  way.machine.alone(way.now);
  for (const auto& one : way.pass(Milliseconds(400))) tries.push_back(one);
  ASSERT_EQ(tries.size(), 3U);
  EXPECT_EQ(names(tries).size(), 3U);
  EXPECT_EQ(tries[1].at, Milliseconds(250));
}

TEST(Contacts, after_leave_nothing_is_tried_until_resume) {
  Way way({"a@h"});
  way.pass(Milliseconds(10));
  way.machine.pause();
  way.machine.alone(way.now);
  EXPECT_FALSE(way.machine.deadline());
  EXPECT_TRUE(way.pass(Milliseconds(100'000)).empty());
  way.machine.resume(way.now);
  EXPECT_TRUE(way.pass(Milliseconds(249)).empty()) << "what resumed has the first try";
  EXPECT_EQ(way.pass(Milliseconds(1)).size(), 1U);
}

TEST(Contacts, who_left_and_joined_through_another_node_tries_the_contacts_that_it_had_reached) {
  Way way({"a@h", "b@h"});
  way.pass(Milliseconds(1'000));
  way.machine.reached("a@h");
  way.machine.reached("b@h");
  EXPECT_TRUE(way.pass(Milliseconds(300'000), 1).empty());
  way.machine.pause();
  way.machine.resume(way.now);
  EXPECT_EQ(names(way.pass(Milliseconds(600'000), 1)), (std::set<std::string>{"a@h", "b@h"}));
}

TEST(Contacts, a_new_one_is_tried_at_once_while_nobody_is_there_and_then_in_the_haste_of_the_start) {
  Way way({"a@h"}, {"r@h"});
  way.pass(Milliseconds(61'000));  // the pauses are at their longest
  way.machine.replace({"a@h", "new@h"}, 0, way.now);
  const auto asked = way.now - way.start;
  const auto tries = way.pass(Milliseconds(900));
  ASSERT_GE(tries.size(), 2U);
  EXPECT_EQ(tries[0].node, Atom("new@h"));
  EXPECT_LE(tries[0].at, asked + Milliseconds(250)) << "after the attempt that may have begun just now";
  EXPECT_NE(tries[1].node, Atom("new@h"));
  EXPECT_EQ(names(way.pass(Milliseconds(10'000))), (std::set<std::string>{"a@h", "new@h", "r@h"})) << "for ever";
}

TEST(Contacts, one_that_is_gone_is_tried_no_more) {
  Way way({"a@h", "gone@h"});
  way.pass(Milliseconds(1'000));
  way.machine.replace({"a@h"}, 0, way.now);
  EXPECT_EQ(names(way.pass(Milliseconds(60'000))), (std::set<std::string>{"a@h"}));
  way.machine.replace({}, 0, way.now);
  EXPECT_FALSE(way.machine.deadline());
  EXPECT_TRUE(way.pass(Milliseconds(60'000)).empty());
  way.machine.replace({"b@h"}, 0, way.now);
  EXPECT_EQ(names(way.pass(Milliseconds(0))), (std::set<std::string>{"b@h"}));
}

TEST(Contacts, one_that_is_gone_is_taken_out_of_the_round_that_goes_on) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Way way({"a@h", "b@h", "gone@h"}, {}, seed);
    way.pass(Milliseconds(0));
    way.machine.replace({"b@h", "a@h"}, 0, way.now);
    EXPECT_FALSE(names(way.pass(Milliseconds(2'000))).contains("gone@h"));
  }
}

TEST(Contacts, the_failure_of_one_that_is_gone_calls_nobody) {
  Way way({"gone@h"});
  way.pass(Milliseconds(300));
  way.machine.replace({"a@h", "b@h"}, 0, way.now);
  EXPECT_EQ(way.pass(Milliseconds(10)).size(), 1U);
  way.machine.failed("gone@h", way.now);
  EXPECT_TRUE(way.pass(Milliseconds(200)).empty());
}

TEST(Contacts, the_same_ones_again_change_nothing) {
  Way way({"a@h", "b@h"});
  Way other({"a@h", "b@h"});
  way.pass(Milliseconds(20'000));
  other.pass(Milliseconds(20'000));
  way.machine.replace({"b@h", "a@h", "own@h"}, 0, way.now);
  EXPECT_EQ(way.machine.deadline(), other.machine.deadline());
  way.machine.reached("a@h");
  way.machine.reached("b@h");
  way.pass(Milliseconds(70'000), 1);
  way.machine.replace({"a@h", "b@h"}, 1, way.now);
  EXPECT_TRUE(way.pass(Milliseconds(300'000), 1).empty()) << "they were reached";
}

TEST(Contacts, with_neighbours_a_new_one_is_tried_soon_and_then_less_and_less_often) {
  for (const bool had_contacts : {true, false}) {
    Way way(had_contacts ? std::vector<Atom>{"a@h", "gone@h"} : std::vector<Atom>{});
    way.pass(Milliseconds(10));
    way.machine.reached("a@h");
    way.pass(Milliseconds(300'000), 1);
    Milliseconds last = std::chrono::duration_cast<Milliseconds>(way.now - way.start);
    way.machine.replace({"a@h", "new@h"}, 1, way.now);
    if (!had_contacts) way.machine.reached("a@h");
    const auto tries = way.pass(Milliseconds(300'000), 1);
    EXPECT_EQ(names(tries), (std::set<std::string>{"new@h"}));
    ASSERT_GE(tries.size(), 8U);
    std::int64_t expected = 1'000;
    for (const auto& one : tries) {
      const auto pause = (one.at - last).count();
      EXPECT_GE(pause, expected * 8 / 10 - 1);
      EXPECT_LE(pause, expected * 12 / 10 + 1);
      expected = std::min<std::int64_t>(expected * 2, 60'000);
      last = one.at;
    }
    way.machine.replace({"a@h"}, 1, way.now);
    EXPECT_TRUE(way.pass(Milliseconds(300'000), 1).empty());
  }
}

TEST(Contacts, what_is_remembered_stays_when_it_is_no_contact_any_more) {
  Way way({"a@h", "r@h"}, {"r@h"});
  way.pass(Milliseconds(2'000));
  way.machine.replace({}, 0, way.now);
  EXPECT_EQ(names(way.pass(Milliseconds(20'000))), (std::set<std::string>{"r@h"}));
  EXPECT_TRUE(way.pass(Milliseconds(300'000), 1).empty()) << "in company only contacts are tried";
}

TEST(Contacts, one_that_came_in_company_is_there_when_the_company_goes) {
  Way way({});
  way.pass(Milliseconds(10), 1);
  way.machine.replace({"a@h"}, 1, way.now);
  way.pass(Milliseconds(100), 1);
  way.machine.alone(way.now);
  EXPECT_EQ(names(way.pass(Milliseconds(0))), (std::set<std::string>{"a@h"}));
}

TEST(Contacts, after_leave_new_ones_wait_for_resume) {
  Way way({"a@h"});
  way.pass(Milliseconds(10));
  way.machine.pause();
  way.machine.replace({"new@h"}, 0, way.now);
  EXPECT_FALSE(way.machine.deadline());
  EXPECT_TRUE(way.pass(Milliseconds(100'000)).empty());
  way.machine.resume(way.now);
  EXPECT_EQ(names(way.pass(Milliseconds(10'000))), (std::set<std::string>{"new@h"}));
}

}  // namespace
}  // namespace barrel_p2p::overlay
