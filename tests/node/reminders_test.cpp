// Reminders on real nodes: set anywhere, told by the owner, kept on disk.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "node/services_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using std::chrono::system_clock;
using test::Cluster;
using test::Lines;
using test::short_leases;
using test::start_cluster;

/// What a node tells: `key payload`.
class ReminderLog : public Lines {
 public:
  explicit ReminderLog(Node& node, NextReminder next = {})
      : subscription_(node.subscribe_reminders(
            [this](const ReminderEvent& event) { add(to_text(event.key) + " " + to_text(event.payload)); },
            std::move(next))) {}
  void cancel() { subscription_.cancel(); }

 private:
  Subscription subscription_;  ///< The first to go.
};

/// A key that the node owns, and no other one holds for its own.
Term key_of(const std::vector<Node*>& nodes, const Node& owner, int from = 0) {
  for (int number = from;; ++number) {
    const Term key = Term::tuple({Atom("key"), number});
    bool agreed = true;
    for (const Node* node : nodes) agreed = agreed && node->place(key) == owner.name();
    if (agreed) return key;
  }
}

TEST(Reminders, the_owner_alone_is_told_whoever_set_it) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  ReminderLog first(*nodes[0]);
  ReminderLog second(*nodes[1]);
  ReminderLog third(*nodes[2]);
  const Term key = key_of(nodes, *nodes[1]);
  ASSERT_TRUE(nodes[0]->remind(key, system_clock::now() + 100ms, Atom("first")).has_value());
  EXPECT_EQ(second.next(), to_text(key) + " first");
  ASSERT_TRUE(nodes[2]->remind_after(key, 100ms, Atom("second")).has_value());
  EXPECT_EQ(second.next(), to_text(key) + " second");
  // What each owns itself comes at once, so nothing is under way to the others.
  ASSERT_TRUE(nodes[0]->remind_after(key_of(nodes, *nodes[0]), 0ms, Atom("own")).has_value());
  ASSERT_TRUE(nodes[2]->remind_after(key_of(nodes, *nodes[2]), 0ms, Atom("own")).has_value());
  EXPECT_EQ(first.next(), to_text(key_of(nodes, *nodes[0])) + " own");
  EXPECT_EQ(third.next(), to_text(key_of(nodes, *nodes[2])) + " own");
  EXPECT_EQ(nodes[1]->reminder_statistics()->fired, 2U);
}

TEST(Reminders, an_event_says_how_late_it_is_and_has_the_fence_that_all_nodes_know) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  std::promise<ReminderEvent> told;
  const auto subscription = nodes[0]->subscribe_reminders([&](const ReminderEvent& event) { told.set_value(event); });
  const Term key = key_of(nodes, *nodes[0]);
  // Late enough that it is still there when it is looked for.
  const auto due = std::chrono::ceil<std::chrono::milliseconds>(system_clock::now() + 4s);
  ASSERT_TRUE(nodes[1]->remind(key, due, Term("payload")).has_value());
  const auto known = nodes[1]->find_reminder(key);
  ASSERT_TRUE(known.has_value());
  EXPECT_EQ(known->due, due);
  auto future = told.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
  const auto event = future.get();
  EXPECT_GE(system_clock::now(), due);
  EXPECT_EQ(event.key, key);
  EXPECT_EQ(event.payload, Term("payload"));
  EXPECT_EQ(event.fence, known->fence);
  EXPECT_EQ(event.due, due);
  EXPECT_GE(event.lateness, 0ms);
  EXPECT_FALSE(event.missed);
  EXPECT_TRUE(test::eventually(nodes, [&] { return !nodes[1]->find_reminder(key); }));
}

TEST(Reminders, a_process_gets_them_as_messages_until_it_unsubscribes) {
  Lines lines;
  Cluster cluster;
  Node& node = cluster.start("n0", short_leases);
  const Pid process = node.spawn([&](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      lines.add(to_text(message));
    }
  });
  node.subscribe_reminders(process);
  ASSERT_TRUE(node.remind(Term(1), system_clock::now() + 1h, Term(2)).has_value());
  const auto fence = node.find_reminder(Term(1))->fence;
  ASSERT_TRUE(node.remind_after(Term(1), 0ms, Term(3)).has_value());
  const auto later = lines.next();
  EXPECT_TRUE(later.starts_with("{barrel_p2p_reminder,1,3,")) << later;
  EXPECT_NE(later, "{barrel_p2p_reminder,1,3," + fence.text() + "}") << "it was set anew";
  node.unsubscribe_reminders(process);
  ASSERT_TRUE(node.remind_after(Term(4), 0ms, Term(5)).has_value());
  EXPECT_EQ(node.reminder_statistics()->pending, 1U);
  ReminderLog log(node);
  EXPECT_EQ(log.next(), "4 5") << "it was kept";
}

TEST(Reminders, one_that_was_cancelled_is_not_told) {
  Cluster cluster;
  Node& node = cluster.start("n0", short_leases);
  ReminderLog log(node);
  ASSERT_TRUE(node.remind_after("gone", 3s, Term(1)).has_value());
  ASSERT_TRUE(node.cancel_reminder("gone").has_value());
  ASSERT_TRUE(node.cancel_reminder("unknown").has_value());
  ASSERT_TRUE(node.remind_after("stays", 3s, Term(2)).has_value());  // due after the other one would have been
  EXPECT_EQ(log.next(), "<<\"stays\">> 2");
  const auto gone = node.find_reminder("gone");
  EXPECT_EQ(gone.error(), Errc::not_found);
  EXPECT_EQ(gone.error().context(), "this node knows no reminder of the key <<\"gone\">>");
}

TEST(Reminders, what_was_set_before_a_restart_is_told_after_it) {
  Cluster cluster;
  Fence fence;
  {
    Node& node = cluster.start("n0", short_leases);
    ASSERT_TRUE(node.remind_after("overdue", 100ms, Term(1)).has_value());
    ASSERT_TRUE(node.remind_after("later", 4s, Term(2)).has_value());
    fence = node.find_reminder("later")->fence;
  }
  cluster.stop("n0");
  Node& node = cluster.start("n0", short_leases);
  EXPECT_EQ(node.find_reminder("later")->fence, fence);
  ReminderLog log(node);
  EXPECT_EQ(log.next(), "<<\"overdue\">> 1");
  EXPECT_EQ(log.next(), "<<\"later\">> 2");
}

TEST(Reminders, when_an_owner_stops_the_next_one_tells_in_its_place) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const Term key = key_of(nodes, *nodes[1]);
  ASSERT_TRUE(nodes[1]->remind_after(key, 1s, Term("moved")).has_value());
  ReminderLog log(*nodes[0]);
  ASSERT_TRUE(test::eventually(nodes, [&] { return nodes[0]->find_reminder(key).has_value(); }));
  cluster.stop("n1");
  EXPECT_EQ(log.next(), to_text(key) + " <<\"moved\">>");
}

TEST(Reminders, a_recurring_one_comes_again_when_its_program_says_so) {
  Cluster cluster;
  Node& node = cluster.start("n0", short_leases);
  const auto start = std::chrono::ceil<std::chrono::milliseconds>(system_clock::now());
  ReminderLog log(node, [&](const ReminderEvent& previous) -> std::optional<system_clock::time_point> {
    if (previous.key == Term("bad")) throw std::runtime_error("nobody catches this but the node");
    if (previous.due >= start + 200ms) return std::nullopt;
    return previous.due + 100ms;
  });
  ASSERT_TRUE(node.remind("tick", start, Term(1)).has_value());
  for (int round = 0; round < 3; ++round) EXPECT_EQ(log.next(), "<<\"tick\">> 1");
  ASSERT_TRUE(node.remind("bad", start + 250ms, Term(2)).has_value());
  EXPECT_EQ(log.next(), "<<\"bad\">> 2");
  EXPECT_TRUE(test::becomes_true([&] { return node.reminder_statistics()->pending == 0; }));
}

TEST(Reminders, a_subscription_that_was_cancelled_hears_nothing_and_what_is_due_waits) {
  Cluster cluster;
  Node& node = cluster.start("n0", short_leases);
  ReminderLog first(node);
  ASSERT_TRUE(node.remind_after(Term(1), 0ms, Term(1)).has_value());
  EXPECT_EQ(first.next(), "1 1");
  first.cancel();
  ASSERT_TRUE(node.remind_after(Term(2), 0ms, Term(2)).has_value());
  ReminderLog second(node);
  EXPECT_EQ(second.next(), "2 2");
}

TEST(Reminders, all_functions_may_be_called_from_a_callback_without_blocking) {
  Lines lines;
  Cluster cluster;
  Node& node = cluster.start("n0", short_leases);
  const auto subscription = node.subscribe_reminders([&](const ReminderEvent& event) {
    lines.add(to_text(event.key));
    EXPECT_EQ(node.remind_after("blocking", 0ms, Term(1)).error(), Errc::invalid_argument);
    if (event.key != Term("first")) return;
    node.remind("second", system_clock::now(), Term(1),
                [&](const Result<void>& set) { lines.add(set ? "durable" : set.error().message()); });
    node.remind_after("third", 1h, Term(1), [](const Result<void>& /*set*/) {});
    node.cancel_reminder("third", [&](const Result<void>& /*cancelled*/) {
      // Answered in the order in which they are durable.
      lines.add("cancelled");
    });
  });
  ASSERT_TRUE(node.remind_after("first", 0ms, Term(1)).has_value());
  EXPECT_EQ(lines.next(), "<<\"first\">>");
  EXPECT_TRUE(lines.until("cancelled"));
  EXPECT_TRUE(test::eventually({&node}, [&] { return node.reminder_statistics()->pending == 0; }));
}

TEST(Reminders, other_nodes_reach_them_by_remote_calls) {
  Lines lines;
  Cluster cluster;
  Node& node = cluster.start("n0", short_leases);
  Node& asker = cluster.start("asker", [](NodeConfig& config) { config.hidden = true; });
  const Atom facade("barrel_p2p");
  const auto call = [&](const char* function, std::vector<Term> arguments) {
    const auto answer = asker.call_function(node.name(), facade, function, std::move(arguments));
    return answer ? to_text(*answer) : answer.error().message();
  };
  const Pid process = asker.spawn([&](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      lines.add(to_text(message[1]) + " " + to_text(message[2]));
    }
  });
  EXPECT_EQ(call("subscribe_reminders", {process}), "ok");
  EXPECT_EQ(call("remind_after", {1, 100, Atom("soon")}), "ok");
  EXPECT_EQ(lines.next(), "1 soon");
  EXPECT_EQ(call("remind", {2, 0, Atom("past")}), "ok");
  EXPECT_EQ(lines.next(), "2 past");
  EXPECT_EQ(call("remind_after", {3, 3'600'000, Atom("never")}), "ok");
  EXPECT_EQ(call("remind_after", {4, INT64_MAX, Atom("never")}), "ok");
  EXPECT_EQ(call("remind_after", {5, INT64_MIN, Atom("at_once")}), "ok");
  EXPECT_EQ(lines.next(), "5 at_once");
  EXPECT_EQ(call("cancel_reminder", {3}), "ok");
  EXPECT_EQ(node.reminder_statistics()->pending, 1U);
  EXPECT_EQ(call("unsubscribe_reminders", {process}), "ok");
  EXPECT_NE(call("remind", {1, 2.5, 3}), "ok") << "a time is an integer";
  EXPECT_NE(call("remind", {1, 2}), "ok");
  EXPECT_NE(call("remind_after", {1, Atom("soon"), 3}), "ok");
}

TEST(Reminders, a_hidden_node_has_none) {
  Cluster cluster;
  Node& node = cluster.start("n0", [](NodeConfig& config) { config.hidden = true; });
  EXPECT_EQ(node.remind_after(Term(1), 0ms, Term(1)).error(), Errc::invalid_config);
  EXPECT_EQ(node.cancel_reminder(Term(1)).error(), Errc::invalid_config);
  EXPECT_EQ(node.find_reminder(Term(1)).error(), Errc::invalid_config);
}

}  // namespace
}  // namespace barrel_p2p
