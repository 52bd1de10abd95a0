// Reminders in a cluster of two C++ nodes c1, c2 and two Erlang nodes e1, e2: set on one kind, told by the other.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "node/services_support.hpp"
#include "upstream/mixed.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::all_four;
using test::eventually;
using test::Lines;
using test::MixedCluster;

class MixedReminders : public MixedCluster {
 protected:
  void configure(NodeConfig& config) override {
    config.membership.shuffle_period = 2s;
    config.replication.anti_entropy = 2s;
  }

  /// Four nodes that know each other and whose programs want to be told.
  void start_four() {
    for (const auto* name : {"e1", "e2"}) start_erlang(name);
    if (IsSkipped()) return;
    for (const auto* name : {"c1", "c2"}) start_cpp(name);
    join("c1", "e1");
    join("e2", "c1");
    join("c2", "e2");
    if (HasFatalFailure()) return;
    for (const auto* name : {"c1", "c2"}) {
      logs_[name] = std::make_unique<Lines>();
      subscriptions_.push_back(cpp(name).subscribe_reminders([log = logs_.at(name).get()](const ReminderEvent& event) {
        log->add(line(event.key, event.payload, event.fence.term()));
      }));
    }
    for (const auto* name : {"e1", "e2"}) {
      ASSERT_EQ(erlang(name).eval("barrel_p2p:subscribe_reminders(self())"), Atom("ok"));
    }
    ASSERT_TRUE(eventually(
        cpp_nodes(),
        [&] {
          const bool known = std::ranges::all_of(cpp_nodes(), [](Node* node) { return node->members().size() == 4; });
          return known && members_of("e1") == 4 && members_of("e2") == 4;
        },
        30s));
    // No C++ node holds anything back any more.
    ASSERT_TRUE(eventually(
        cpp_nodes(),
        [&] { return std::ranges::none_of(cpp_nodes(), [](Node* node) { return node->reminder_statistics()->held; }); },
        30s));
  }
  static std::string line(const Term& key, const Term& payload, const Term& fence) {
    return to_text(key) + " " + to_text(payload) + " " + to_text(fence);
  }
  int members_of(const std::string& short_name) {
    const Term count = erlang(short_name).eval("length(barrel_p2p:members())");
    return static_cast<int>(count.as_int64().value_or(0));
  }
  /// A key that the node owns.
  Term key_of(const std::string& owner) {
    for (;; ++last_key_) {
      if (cpp("c1").place(Term(last_key_)) == NodeName(full(owner))) return Term(last_key_++);
    }
  }
  void remind_after(const std::string& short_name, const Term& key, int delay, const Term& payload) {
    if (is_erlang(short_name)) {
      ASSERT_EQ(erlang(short_name)
                    .eval("barrel_p2p:remind_after(" + to_text(key) + ", " + std::to_string(delay) + ", " +
                          to_text(payload) + ")"),
                Atom("ok"));
    } else {
      ASSERT_EQ(word(cpp(short_name).remind_after(key, std::chrono::milliseconds(delay), payload)), "ok");
    }
  }
  void cancel(const std::string& short_name, const Term& key) {
    if (is_erlang(short_name)) {
      ASSERT_EQ(erlang(short_name).eval("barrel_p2p:cancel_reminder(" + to_text(key) + ")"), Atom("ok"));
    } else {
      ASSERT_EQ(word(cpp(short_name).cancel_reminder(key)), "ok");
    }
  }
  /// What the node tells next.
  std::string next(const std::string& short_name, int milliseconds = 10'000) {
    if (!is_erlang(short_name)) return logs_.at(short_name)->next(std::chrono::seconds(milliseconds / 1000));
    const Term told = erlang(short_name)
                          .eval("(fun() -> receive {barrel_p2p_reminder, K, P, F} -> {K, P, F} after " +
                                std::to_string(milliseconds) + " -> nothing end end)()");
    return told.is_tuple(3) ? line(told[0], told[1], told[2]) : "nothing";
  }

  std::map<std::string, std::unique_ptr<Lines>> logs_;
  std::vector<Subscription> subscriptions_;
  int last_key_ = 1;
};

TEST_F(MixedReminders, whoever_sets_one_its_owner_tells_it_with_the_fence_that_all_know) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  for (const auto* setter : all_four) {
    for (const auto* owner : all_four) {
      const Term key = key_of(owner);
      const Term payload = Term::tuple({Atom(setter), Atom(owner)});
      remind_after(setter, key, 1000, payload);
      ASSERT_TRUE(eventually(cpp_nodes(), [&] { return cpp("c2").find_reminder(key).has_value(); }))
          << "set on " << setter << " for " << owner;
      const Fence fence = cpp("c2").find_reminder(key)->fence;
      EXPECT_EQ(next(owner), line(key, payload, fence.term())) << "set on " << setter;
      EXPECT_TRUE(eventually(cpp_nodes(),
                             [&] {
                               return std::ranges::none_of(
                                   cpp_nodes(), [&](Node* node) { return node->find_reminder(key).has_value(); });
                             }))
          << "told by " << owner;
    }
  }
  for (const auto* name : all_four) EXPECT_EQ(next(name, 1000), "nothing") << "once each";
}

TEST_F(MixedReminders, one_that_is_set_anew_or_cancelled_by_the_other_kind_is_that_everywhere) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  const Term first = key_of("e1");
  const Term second = key_of("c1");
  remind_after("c1", first, 3'600'000, Atom("old"));
  remind_after("e1", second, 3'600'000, Atom("old"));
  ASSERT_TRUE(eventually(cpp_nodes(), [&] { return cpp("c1").find_reminder(second).has_value(); }));
  remind_after("e2", first, 500, Atom("new"));
  remind_after("c2", second, 500, Atom("new"));
  EXPECT_TRUE(next("e1").starts_with(to_text(first) + " new "));
  EXPECT_TRUE(next("c1").starts_with(to_text(second) + " new "));
  const Term third = key_of("e2");
  const Term fourth = key_of("c2");
  remind_after("c1", third, 2000, Atom("cancelled"));
  remind_after("e1", fourth, 2000, Atom("cancelled"));
  ASSERT_TRUE(eventually(cpp_nodes(), [&] { return cpp("c1").find_reminder(fourth).has_value(); }));
  cancel("c2", third);
  cancel("e1", fourth);
  EXPECT_EQ(next("e2", 4000), "nothing");
  EXPECT_EQ(next("c2", 1000), "nothing");
}

TEST_F(MixedReminders, what_a_killed_owner_of_one_kind_missed_a_node_of_the_other_tells) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  may_promote_each_other();
  // Of the nodes that are left only c1 counts for the first key, only e1 for the second.
  const auto key_of_both = [&](const std::string& owner, const std::string& heir) {
    for (;; ++last_key_) {
      const auto owners = cpp("c1").owners(Term(last_key_), 2);
      if (owners == std::vector{NodeName(full(owner)), NodeName(full(heir))}) return Term(last_key_++);
    }
  };
  const Term first = key_of_both("e2", "c1");
  remind_after("c2", first, 1000, Atom("first"));
  ASSERT_TRUE(eventually(cpp_nodes(), [&] { return cpp("c1").find_reminder(first).has_value(); }));
  kill("e2");
  EXPECT_TRUE(next("c1", 20'000).starts_with(to_text(first) + " first "));
  ASSERT_TRUE(eventually(cpp_nodes(), [&] { return members_of("e1") == 3; }, 30s));
  const Term second = key_of_both("c2", "e1");
  remind_after("c1", second, 1000, Atom("second"));
  stop_cpp("c2");
  EXPECT_TRUE(next("e1", 20'000).starts_with(to_text(second) + " second "));
}

}  // namespace
}  // namespace barrel_p2p
