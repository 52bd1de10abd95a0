// The checker of `barrel_p2p chaos`: histories that keep every promise, and for each rule one that breaks it.
#include "chaos_checker.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <string_view>
#include <vector>

#include "chaos_nodes.hpp"

namespace barrel_p2p::command {
namespace {

/// Lines `SECONDS NODE LIFE WORD ...`, for people.
std::vector<ChaosEvent> history(std::string_view text) {
  std::vector<ChaosEvent> events;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    auto event = parse_event(line);
    if (event) {
      event->time *= 1'000'000;
      events.push_back(std::move(*event));
    } else {
      EXPECT_EQ(line.find_first_not_of(' '), std::string_view::npos) << "no event: " << line;
    }
  }
  return events;
}

/// Of `nodes` nodes that agree on everything, n0 leading with fence 10, and know nothing.
std::vector<ChaosReport> reports(std::size_t nodes = 2) {
  std::vector<ChaosReport> all(nodes);
  for (std::size_t node = 0; node < nodes; ++node) {
    all[node].node = node;
    for (std::size_t member = 0; member < nodes; ++member) all[node].members.insert("n" + std::to_string(member));
    if (node > 0) {
      all[node].neighbours.insert("n0");
      all[0].neighbours.insert("n" + std::to_string(node));
    }
    all[node].leader = "n0";
    all[node].partitions_all = nodes;
    all[node].partitions = {static_cast<std::uint32_t>(node)};
  }
  all[0].fence = "10";
  return all;
}

std::vector<ChaosReport> with(const std::string& key, const std::string& value) {
  auto all = reports();
  for (auto& report : all) report.map[key] = value;
  return all;
}

/// `RULE: TEXT` of each.
std::vector<std::string> texts(const std::vector<ChaosViolation>& violations) {
  std::vector<std::string> all;
  all.reserve(violations.size());
  for (const auto& violation : violations) all.push_back(violation.rule + ": " + violation.text);
  return all;
}
using Texts = std::vector<std::string>;

TEST(ChaosHistory, an_event_is_read_as_it_was_written) {
  for (const std::string line :
       {"42 n2 1 put own/2/7 2/1/40", "7 n0 3 killed", "1 n1 9 ended signal 11", "1 n1 1 clock -70", "1 n1 1 full"}) {
    const auto event = parse_event(line);
    ASSERT_TRUE(event.has_value()) << line;
    EXPECT_EQ(to_text(*event), line);
  }
}

TEST(ChaosHistory, what_is_no_event_is_refused) {
  for (const std::string line : {"", "ready 4711", "42 n2 1 put onlykey", "42 n2 1 nonsense", "x n2 1 killed",
                                 "42 2 1 killed", "42 n2 one killed", "42 n 1 killed"}) {
    EXPECT_FALSE(parse_event(line).has_value()) << line;
  }
}

TEST(ChaosHistory, a_report_takes_its_lines_and_no_others) {
  ChaosReport report;
  for (const auto* line :
       {"member n1", "neighbour n2", "leader n1", "fence 10", "entry k v", "service s n1 1.2.3", "owns 7", "ring 64"})
    EXPECT_TRUE(report.take(line)) << line;
  for (const auto* line : {"", "member", "entry k", "service s n1", "owns x", "weather fine"})
    EXPECT_FALSE(report.take(line)) << line;
  EXPECT_EQ(report.members.size(), 1U);
  EXPECT_EQ(report.map.at("k"), "v");
  EXPECT_TRUE(report.services.contains("s n1 1.2.3"));
  EXPECT_TRUE(report.partitions.contains(7));
  EXPECT_EQ(report.partitions_all, 64U);
}

TEST(ChaosChecker, a_run_that_keeps_every_promise_is_found_good) {
  const auto events = history(R"(
1 n0 1 start
1 n1 1 start
2 n0 1 elected 10
2 n0 1 put own 0/1
3 n0 1 put_ok own 0/1
3 n0 1 enlist web 1.0.1
3 n0 1 enlist_ok web 1.0.1
3 n1 1 remind r 3000
3 n1 1 remind_ok r
4 n0 1 told r 5 3000
5 n1 1 calm
6 n1 1 send b
6 n1 1 heard b
6 n1 1 send_ok b
7 n0 1 heard b
)");
  auto all = with("own", "0/1");
  for (auto& report : all) report.services.insert("web n0 1.0.1");
  EXPECT_EQ(texts(check_always(events)), Texts{});
  EXPECT_EQ(texts(check_calm(events, all)), Texts{});
}

// The map.

TEST(ChaosChecker, an_acknowledged_write_that_is_gone_is_found) {
  const auto events = history("1 n0 1 put k a\n2 n0 1 put_ok k a\n");
  EXPECT_EQ(texts(check_calm(events, reports())),
            (Texts{"durable: n0 has nothing under k in place of a of n0, which was acknowledged",
                   "durable: n1 has nothing under k in place of a of n0, which was acknowledged"}));
}

TEST(ChaosChecker, an_older_value_of_the_same_writer_is_found_over_its_restarts) {
  const auto events = history("1 n0 1 put k a\n2 n0 1 put_ok k a\n3 n0 1 killed\n4 n0 2 put k b\n5 n0 2 put_ok k b\n");
  EXPECT_EQ(check_calm(events, with("k", "a")).size(), 2U);
  EXPECT_EQ(texts(check_calm(events, with("k", "b"))), Texts{});
}

TEST(ChaosChecker, a_write_without_an_answer_may_have_happened_or_not) {
  const auto events = history("1 n0 1 put k a\n2 n0 1 put_ok k a\n3 n0 1 put k b\n4 n0 1 killed\n");
  EXPECT_EQ(texts(check_calm(events, with("k", "a"))), Texts{});
  EXPECT_EQ(texts(check_calm(events, with("k", "b"))), Texts{});
}

TEST(ChaosChecker, a_write_that_failed_may_have_happened_or_not) {
  const auto events = history("1 n0 1 put k a\n2 n0 1 put_ok k a\n3 n0 1 put k b\n4 n0 1 put_failed k b\n");
  EXPECT_EQ(texts(check_calm(events, with("k", "a"))), Texts{});
  EXPECT_EQ(texts(check_calm(events, with("k", "b"))), Texts{});
}

TEST(ChaosChecker, a_removal_that_was_acknowledged_stays) {
  const auto events = history("1 n0 1 put k a\n2 n0 1 put_ok k a\n3 n0 1 put k -\n4 n0 1 put_ok k -\n");
  EXPECT_EQ(check_calm(events, with("k", "a")).size(), 2U);
  EXPECT_EQ(texts(check_calm(events, reports())), Texts{});
}

TEST(ChaosChecker, a_write_after_a_removal_counts) {
  const auto events = history("1 n0 1 put k -\n2 n0 1 put_ok k -\n3 n0 1 put k a\n4 n0 1 put_ok k a\n");
  EXPECT_EQ(check_calm(events, reports()).size(), 2U);
}

TEST(ChaosChecker, of_two_writers_the_one_after_a_calm_counts) {
  const auto events =
      history("1 n0 1 put k a\n2 n0 1 put_ok k a\n3 n0 1 calm\n4 n0 1 trouble\n5 n1 1 put k b\n6 n1 1 put_ok k b\n");
  EXPECT_EQ(texts(check_calm(events, with("k", "a"))),
            (Texts{"durable: n0 has a under k in place of b of n1, which was acknowledged",
                   "durable: n1 has a under k in place of b of n1, which was acknowledged"}));
  EXPECT_EQ(texts(check_calm(events, with("k", "b"))), Texts{});
}

TEST(ChaosChecker, of_two_writers_without_a_calm_between_them_either_may_count) {
  const auto events = history("1 n0 1 put k a\n2 n0 1 put_ok k a\n50 n1 1 put k b\n51 n1 1 put_ok k b\n");
  EXPECT_EQ(texts(check_calm(events, with("k", "a"))), Texts{});
  EXPECT_EQ(texts(check_calm(events, with("k", "b"))), Texts{});
}

TEST(ChaosChecker, a_write_that_was_under_way_when_its_node_died_is_as_old_as_that) {
  const auto events =
      history("1 n0 1 put k a\n2 n0 1 killed\n3 n1 1 calm\n4 n1 1 trouble\n5 n1 1 put k b\n6 n1 1 put_ok k b\n");
  EXPECT_EQ(check_calm(events, with("k", "a")).size(), 2U);
}

TEST(ChaosChecker, values_and_keys_that_nobody_wrote_are_found) {
  EXPECT_EQ(texts(check_calm(history("1 n0 1 put k a\n"), with("k", "z"))),
            (Texts{"durable: n0 has z under k, which nobody wrote", "durable: n1 has z under k, which nobody wrote"}));
  EXPECT_EQ(check_calm({}, with("other", "z")).size(), 2U);
}

TEST(ChaosChecker, nodes_that_differ_are_found_with_the_keys) {
  const auto events = history("1 n0 1 put k a\n2 n0 1 put k b\n3 n0 1 put l c\n");
  auto all = with("k", "a");
  all[1].map["k"] = "b";
  all[0].map["l"] = "c";
  EXPECT_EQ(texts(check_calm(events, all)), Texts{"convergence: n1 and n0 differ: k l"});
}

// Services.

TEST(ChaosChecker, a_registration_that_is_not_found_everywhere_is_told) {
  const auto events = history("1 n0 1 enlist web 1.0.1\n2 n0 1 enlist_ok web 1.0.1\n");
  auto all = reports();
  all[0].services.insert("web n0 1.0.1");
  EXPECT_EQ(texts(check_calm(events, all)), Texts{"services: n1 does not find web n0 1.0.1"});
}

TEST(ChaosChecker, phantoms_are_found) {
  const auto found_by_n1 = [](std::string_view events) {
    auto all = reports();
    all[1].services.insert("web n0 1.0.1");
    return texts(check_calm(history(events), all));
  };
  const Texts phantom{"services: n1 finds web n0 1.0.1, which does not live"};
  const std::string registered = "1 n0 1 enlist web 1.0.1\n2 n0 1 enlist_ok web 1.0.1\n";
  EXPECT_EQ(found_by_n1(""), phantom);
  EXPECT_EQ(found_by_n1(registered + "3 n0 1 delist web\n"), phantom);
  EXPECT_EQ(found_by_n1(registered + "3 n0 1 killed\n"), phantom) << "of an earlier life";
  EXPECT_EQ(found_by_n1("1 n0 1 enlist web 1.0.1\n2 n0 1 enlist_failed web 1.0.1\n"), Texts{}) << "it may be there";
}

// Leaders.

TEST(ChaosChecker, a_fence_that_does_not_rise_is_found_over_restarts) {
  EXPECT_EQ(texts(check_always(history("1 n0 1 elected 10\n2 n0 1 killed\n3 n0 2 elected 10\n"))),
            Texts{"fences: n0 is given 10 after 10"});
  EXPECT_EQ(check_always(history("1 n0 1 elected 10\n3 n0 1 elected 9\n")).size(), 1U);
  EXPECT_EQ(texts(check_always(history("1 n0 1 elected 10\n3 n1 1 elected 9\n"))), Texts{}) << "perhaps of two sides";
}

TEST(ChaosChecker, a_fence_below_one_that_all_nodes_knew_is_found) {
  EXPECT_EQ(texts(check_always(history("1 n0 1 elected 10\n2 n0 1 agreed 10\n3 n1 1 elected 9\n"))),
            Texts{"fences: n1 is given 9 after all nodes knew 10"});
  EXPECT_EQ(texts(check_always(history("1 n0 1 elected 10\n2 n0 1 agreed 10\n3 n1 1 elected 11\n"))), Texts{});
}

TEST(ChaosChecker, a_leader_whose_fence_is_not_the_greatest_is_found) {
  const auto events = history("1 n0 1 elected 10\n1 n1 1 elected 11\n");
  EXPECT_EQ(texts(check_calm(events, reports())), Texts{"leader: n0 leads with 10, and 11 was given"});
}

TEST(ChaosChecker, two_leaders_and_none_are_found) {
  auto two = reports();
  two[1].fence = "11";
  EXPECT_EQ(texts(check_calm({}, two)), Texts{"leader: n1 leads by itself"});
  auto split = reports();
  split[1].leader = "n1";
  split[1].fence = "11";
  EXPECT_EQ(texts(check_calm({}, split)), Texts{"leader: n1 holds n1 for it, and n0 holds n0"});
  auto none = reports();
  none[0].fence.clear();
  for (auto& report : none) report.leader.clear();
  EXPECT_EQ(check_calm({}, none).size(), 2U);
  auto unaware = reports();
  unaware[0].fence.clear();
  EXPECT_EQ(texts(check_calm({}, unaware)), Texts{"leader: n0 does not know that it leads"});
}

// Reminders.

TEST(ChaosChecker, a_reminder_that_is_lost_is_found) {
  const auto events = history("1 n0 1 remind r 5\n2 n0 1 remind_ok r\n3 n0 1 remind s 5\n4 n0 1 killed\n");
  EXPECT_EQ(texts(check_calm(events, reports())), Texts{"reminders: r of n0 is not told"});
}

TEST(ChaosChecker, reminders_that_come_early_or_from_nowhere_or_with_two_fences_are_found) {
  EXPECT_EQ(texts(check_always(history("1 n0 1 remind r 5000\n2 n1 1 told r 7 4990\n"))),
            Texts{"reminders: n1 tells of r 10 ms before its time"});
  EXPECT_EQ(texts(check_always(history("2 n1 1 told r 7 4990\n"))),
            Texts{"reminders: n1 tells of r, which nobody set"});
  EXPECT_EQ(texts(check_always(history("1 n0 1 remind r 5\n2 n0 1 told r 7 6\n3 n1 1 told r 8 6\n"))),
            Texts{"reminders: n1 tells of r with the fence 8, and of n0 it had 7"});
}

TEST(ChaosChecker, a_reminder_is_told_once_in_a_calm_and_perhaps_again_in_trouble) {
  const std::string twice = "2 n0 1 remind r 5\n3 n0 1 told r 7 6\n4 n1 1 told r 7 6\n";
  EXPECT_EQ(texts(check_always(history(twice))), Texts{});
  EXPECT_EQ(texts(check_always(history("1 n0 1 calm\n" + twice))),
            Texts{"reminders: r was told 2 times though no owner changed"});
  EXPECT_EQ(texts(check_always(history("1 n0 1 calm\n3 n1 1 shard\n" + twice))), Texts{}) << "an owner changed";
  EXPECT_EQ(texts(check_always(history("1 n0 1 calm\n3 n1 1 killed\n" + twice))), Texts{});
  EXPECT_EQ(texts(check_always(history("1 n0 1 calm\n4 n0 1 trouble\n" + twice))), Texts{}) << "the calm was over";
}

TEST(ChaosChecker, a_reminder_that_is_told_twice_before_a_run_ends_its_nodes_is_found) {
  const std::string calm = "1 n0 1 calm\n2 n0 1 remind r 2500\n2 n0 1 remind_ok r\n3 n0 1 told r 7 2501\n";
  const std::string end = "8 n0 1 trouble\n9 n1 1 shard\n9 n0 1 killed\n10 n1 1 killed\n";
  EXPECT_EQ(texts(check_always(history(calm + end))), Texts{});
  EXPECT_EQ(texts(check_always(history(calm + "7 n1 1 told r 7 6501\n" + end))),
            Texts{"reminders: r was told 2 times though no owner changed"});
}

TEST(ChaosChecker, a_reminder_that_is_told_while_the_clock_is_set_back_was_due_before) {
  const std::string told = "1 n0 1 remind r 5000\n2 n1 1 clock 20000\n";
  EXPECT_EQ(texts(check_always(history(told + "3 n1 1 told r 7 5000\n"))), Texts{}) << "due by a clock that is ahead";
  EXPECT_EQ(texts(check_always(history(told + "3 n1 1 told r 7 4990\n"))),
            Texts{"reminders: n1 tells of r 10 ms before its time"});
  const std::string back = told + "5 n1 1 clock 0\n";
  EXPECT_EQ(texts(check_always(history(back + "6 n1 1 told r 7 4990\n"))), Texts{}) << "it was due a moment ago";
  EXPECT_EQ(texts(check_always(history(back + "7 n1 1 told r 7 4990\n"))),
            Texts{"reminders: n1 tells of r 10 ms before its time"});
  EXPECT_EQ(check_always(history(told + "5 n1 1 clock 19995\n6 n1 1 told r 7 4990\n")).size(), 1U) << "not by so much";
  EXPECT_EQ(check_always(history(told + "5 n0 1 clock -9000\n6 n1 1 told r 7 4990\n")).size(), 1U)
      << "the clock of another node";
}

// Operations.

TEST(ChaosChecker, an_operation_that_fails_in_a_calm_is_found) {
  const std::string failed = "2 n0 1 put k a\n3 n0 1 put_failed k a\n4 n0 1 remind r 5\n4 n0 1 remind_failed r\n";
  EXPECT_EQ(
      texts(check_always(history("1 n0 1 calm\n" + failed))),
      (Texts{"operations: n0 cannot put k a though all is well", "operations: n0 cannot remind r though all is well"}));
  EXPECT_EQ(texts(check_always(history(failed))), Texts{}) << "in trouble it may";
  EXPECT_EQ(texts(check_always(history("1 n0 1 calm\n2 n0 1 trouble\n" + failed))), Texts{});
}

TEST(ChaosChecker, a_campaign_or_a_withdrawal_that_fails_in_a_calm_is_found) {
  const std::string failed = "2 n0 1 lead_failed overloaded\n3 n1 1 delist web\n3 n1 1 delist_failed web\n";
  EXPECT_EQ(texts(check_always(history("1 n0 1 calm\n" + failed))),
            (Texts{"operations: n0 cannot lead overloaded though all is well",
                   "operations: n1 cannot delist web though all is well"}));
  EXPECT_EQ(texts(check_always(history(failed))), Texts{});
}

// Broadcasts, members, owners, processes.

TEST(ChaosChecker, a_broadcast_that_comes_twice_or_from_nowhere_is_found) {
  EXPECT_EQ(texts(check_always(history("1 n0 1 send b\n2 n1 1 heard b\n3 n1 1 heard b\n"))),
            Texts{"broadcasts: n1 gets b 2 times"});
  EXPECT_EQ(texts(check_always(history("1 n0 1 send b\n2 n1 1 heard b\n3 n1 1 killed\n4 n1 2 heard b\n"))), Texts{})
      << "it does not remember its former life";
  EXPECT_EQ(texts(check_always(history("2 n1 1 heard b\n"))), Texts{"broadcasts: n1 gets b, which nobody sent"});
}

TEST(ChaosChecker, a_broadcast_of_a_calm_is_everywhere) {
  const std::string sent = "2 n0 1 send b\n2 n0 1 heard b\n3 n0 1 send_ok b\n";
  EXPECT_EQ(texts(check_calm(history("1 n0 1 calm\n" + sent), reports())), Texts{"broadcasts: n1 did not get b"});
  EXPECT_EQ(texts(check_calm(history(sent), reports())), Texts{}) << "in trouble it may be lost";
}

TEST(ChaosChecker, members_that_are_missing_or_should_be_gone_are_found) {
  auto all = reports();
  all[0].members.erase("n1");
  all[1].members.insert("n7");
  EXPECT_EQ(texts(check_calm({}, all)), (Texts{"members: n0 knows n0", "members: n1 knows n0 n1 n7"}));
}

TEST(ChaosChecker, a_part_that_nobody_reaches_is_found) {
  auto all = reports(4);
  EXPECT_EQ(texts(check_calm({}, all)), Texts{});
  all[0].neighbours = {"n1"};
  all[2].neighbours = {"n3"};
  all[3].neighbours = {"n2"};
  EXPECT_EQ(texts(check_calm({}, all)),
            (Texts{"views: no path leads from n0 to n2 n3", "views: no path leads from n1 to n2 n3",
                   "views: no path leads from n2 to n0 n1", "views: no path leads from n3 to n0 n1"}));
}

TEST(ChaosChecker, a_node_that_reaches_nobody_is_found_though_others_hold_it_for_a_neighbour) {
  auto all = reports(3);
  all[1].neighbours.clear();
  EXPECT_EQ(texts(check_calm({}, all)), Texts{"views: no path leads from n1 to n0 n2"});
}

TEST(ChaosChecker, partitions_with_two_owners_or_none_are_found) {
  auto two = reports();
  two[1].partitions = {0, 1};
  EXPECT_EQ(texts(check_calm({}, two)), Texts{"placement: n0 and n1 own partition 0"});
  auto none = reports();
  none[1].partitions.clear();
  EXPECT_EQ(texts(check_calm({}, none)), Texts{"placement: 1 partitions have no owner"});
}

TEST(ChaosChecker, a_process_that_ends_by_itself_is_found) {
  EXPECT_EQ(texts(check_always(history("1 n2 1 ended signal 11\n"))),
            Texts{"processes: n2 ended by itself: signal 11"});
}

TEST(ChaosNodes, only_the_signal_that_they_were_killed_with_and_a_good_end_count_as_told) {
  constexpr int failed = 1 << 8;  // as waitpid() gives it
  EXPECT_TRUE(ended_as_told(SIGKILL, true, false));
  EXPECT_FALSE(ended_as_told(SIGSEGV, true, false)) << "it crashed before";
  EXPECT_FALSE(ended_as_told(SIGABRT, true, true));
  EXPECT_FALSE(ended_as_told(SIGKILL, false, true)) << "by somebody else";
  EXPECT_TRUE(ended_as_told(0, false, true));
  EXPECT_TRUE(ended_as_told(0, true, true)) << "it had stopped before it was killed";
  EXPECT_FALSE(ended_as_told(0, true, false));
  EXPECT_FALSE(ended_as_told(failed, true, true));
}

}  // namespace
}  // namespace barrel_p2p::command
