// Leaders in a cluster of two C++ nodes c1, c2 and two Erlang nodes e1, e2: both kinds elect the same one, and whoever
// follows, of either kind, has a greater fence.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "node/services_support.hpp"
#include "upstream/mixed.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Collector;
using test::eventually;
using test::MixedCluster;

const Atom job("job");

class MixedLeaders : public MixedCluster {
 protected:
  void configure(NodeConfig& config) override {
    config.membership.shuffle_period = 2s;
    config.replication.anti_entropy = 2s;
  }

  void start_four() {
    for (const auto* name : {"e1", "e2"}) start_erlang(name);
    if (IsSkipped()) return;
    for (const auto* name : {"c1", "c2"}) start_cpp(name);
    join("c1", "e1");
    join("e2", "c1");
    join("c2", "e2");
    ASSERT_TRUE(all_know_each_other()) << picture();
  }
  bool all_know_each_other() {
    const auto count = running().size();
    for (auto& [name, node] : erlang_) {
      if (!node->becomes("length(barrel_p2p:members()) =:= " + std::to_string(count), 20s)) return false;
    }
    return eventually(cpp_nodes(), [&] {
      return std::ranges::all_of(cpp_nodes(), [&](const Node* node) { return node->members().size() == count; });
    });
  }

  /// The process that evaluates campaigns.
  Term lead(const std::string& short_name, int priority) {
    return erlang(short_name).eval("barrel_p2p:lead(job, #{priority => " + std::to_string(priority) + "})");
  }
  /// The fence that the Erlang candidate was given next; nothing when it was told something else, or nothing.
  std::optional<Fence> elected(const std::string& short_name) {
    const Term what = next_word(short_name);
    const auto fence = what.is_tagged("elected", 2) ? Fence::from(what[1]) : fail(Errc::type_mismatch);
    return fence ? std::optional(*fence) : std::nullopt;
  }
  Term next_word(const std::string& short_name) {
    return erlang(short_name)
        .eval("(fun() -> receive {barrel_p2p_leader, job, What} -> What after 15000 -> nothing end end)()");
  }
  static std::optional<Fence> elected(Collector& candidate, std::chrono::seconds limit = 20s) {
    const auto message = parse_term(candidate.next(limit));
    if (!message || !message->is_tagged("barrel_p2p_leader", 3) || !(*message)[2].is_tagged("elected", 2)) return {};
    const auto fence = Fence::from((*message)[2][1]);
    return fence ? std::optional(*fence) : std::nullopt;
  }

  /// All nodes that run hold this node for the leader's.
  bool all_see(const std::string& short_name) {
    for (auto& [name, node] : erlang_) {
      const std::string seen =
          "case barrel_p2p:leader(job) of {ok, '" + full(short_name) + "', _} -> true; _ -> false end";
      if (!node->becomes(seen, 20s)) return false;
    }
    return cpp_see(short_name);
  }
  bool cpp_see(const std::string& short_name) {
    return eventually(cpp_nodes(), [&] {
      return std::ranges::all_of(cpp_nodes(), [&](const Node* node) {
        const auto leader = node->leader(job);
        return leader && leader->node.string() == full(short_name);
      });
    });
  }
};

TEST_F(MixedLeaders, both_kinds_elect_the_same_leader_and_follow_each_other_with_rising_fences) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  Collector first(cpp("c1"));
  Collector second(cpp("c2"));
  const auto led = cpp("c2").lead(job, second.pid, {.priority = 1});
  ASSERT_TRUE(led && led->is_leader());
  ASSERT_TRUE(all_see("c2"));
  EXPECT_EQ(lead("e1", 1), Term::tuple({Atom("ok"), Atom("follower")})) << "c2 is the smaller name";
  ASSERT_TRUE(cpp("c1").lead(job, first.pid, {.priority = 0}).has_value());

  const Term theirs = lead("e2", 2);
  ASSERT_TRUE(theirs.is_tagged("ok", 2) && theirs[1].is_tagged("leader", 2)) << to_text(theirs);
  EXPECT_GT(Fence::from(theirs[1][1]).value(), *led->fence);
  EXPECT_EQ(second.next(), "{barrel_p2p_leader,job,revoked}");
  ASSERT_TRUE(all_see("e2"));
  EXPECT_EQ(erlang("e2").eval("barrel_p2p:fence(job)"), Term::tuple({Atom("ok"), theirs[1][1]}));
  EXPECT_EQ(cpp("c2").fence(job).error(), Errc::not_leader);

  ASSERT_EQ(erlang("e2").eval("barrel_p2p:resign(job)"), Atom("ok"));
  const auto again = elected(second);
  ASSERT_TRUE(again.has_value());
  EXPECT_GT(*again, Fence::from(theirs[1][1]).value());
  ASSERT_TRUE(all_see("c2"));
  cpp("c2").exit(second.pid, Atom("kill"));
  const auto next = elected("e1");
  ASSERT_TRUE(next.has_value());
  EXPECT_GT(*next, *again);
  ASSERT_TRUE(all_see("e1"));
  EXPECT_EQ(erlang("e1").eval("barrel_p2p:resign(job)"), Atom("ok"));
  const auto last = elected(first);
  ASSERT_TRUE(last.has_value());
  EXPECT_GT(*last, *next);
  EXPECT_TRUE(all_see("c1"));
}

TEST_F(MixedLeaders, a_killed_erlang_leader_is_followed_by_a_cpp_node) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  const Term theirs = lead("e2", 5);
  ASSERT_TRUE(theirs.is_tagged("ok", 2) && theirs[1].is_tagged("leader", 2)) << to_text(theirs);
  ASSERT_TRUE(all_see("e2"));
  Collector candidate(cpp("c1"));
  const auto role = cpp("c1").lead(job, candidate.pid);
  ASSERT_TRUE(role && !role->is_leader());
  kill("e2");
  const auto fence = elected(candidate);
  ASSERT_TRUE(fence.has_value());
  EXPECT_GT(*fence, Fence::from(theirs[1][1]).value());
  EXPECT_TRUE(cpp_see("c1"));
}

TEST_F(MixedLeaders, a_killed_cpp_leader_is_followed_and_its_fence_is_remembered_on_both_kinds) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  start_program("c3", "e1");
  const Term held = ask(full("c3"), "barrel_p2p", "start_service_holder", {Atom("held")});
  ASSERT_TRUE(held.is_tagged("ok", 2)) << to_text(held);
  const Term led = ask(full("c3"), "barrel_p2p", "lead", {job, Term::map({{Atom("priority"), 5}}), held[1]});
  ASSERT_TRUE(led.is_tagged("ok", 2) && led[1].is_tagged("leader", 2)) << to_text(led);
  const Fence fence = Fence::from(led[1][1]).value();
  ASSERT_TRUE(all_see("c3"));
  Collector candidate(cpp("c1"));
  const auto role = cpp("c1").lead(job, candidate.pid);
  ASSERT_TRUE(role && !role->is_leader());
  EXPECT_EQ(erlang("e1").eval("barrel_p2p_leader:high_water(job)"), led[1][1]);
  kill("c3");
  const auto next = elected(candidate);
  ASSERT_TRUE(next.has_value());
  EXPECT_GT(*next, fence);
  EXPECT_TRUE(cpp_see("c1"));
  for (const auto* name : {"e1", "e2"}) {
    EXPECT_TRUE(erlang(name).becomes("barrel_p2p_leader:high_water(job) =:= " + next->text())) << name;
  }
}

TEST_F(MixedLeaders, a_newcomer_of_either_kind_knows_the_fences_that_were_given_before_it_came) {
  start_erlang("e1");
  if (IsSkipped()) return;
  start_cpp("c1");
  join("c1", "e1");
  Collector candidate(cpp("c1"));
  const auto role = cpp("c1").lead(job, candidate.pid);
  ASSERT_TRUE(role && role->is_leader());
  EXPECT_TRUE(cpp("c1").resign(job));
  start_cpp("c2");
  join("c2", "c1");
  start_erlang("e2");
  if (IsSkipped()) return;
  join("e2", "c2");
  ASSERT_TRUE(erlang("e2").becomes("barrel_p2p_leader:high_water(job) =:= " + role->fence->text())) << picture();
  const Term theirs = lead("e2", 0);
  ASSERT_TRUE(theirs.is_tagged("ok", 2) && theirs[1].is_tagged("leader", 2)) << to_text(theirs);
  EXPECT_GT(Fence::from(theirs[1][1]).value(), *role->fence);
}

}  // namespace
}  // namespace barrel_p2p
