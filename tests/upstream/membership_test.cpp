// Clusters of three C++ nodes c1, c2, c3 and three Erlang nodes e1, e2, e3, which join through either kind: views,
// broadcasts, shuffles, and what becomes of the cluster when nodes of either kind leave, are killed, and come back.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "node/membership_support.hpp"
#include "upstream/mixed.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::ErlangNode;
using test::eventually;
using test::MembershipLog;
using test::MixedCluster;

const Term news_tag = Atom("test_news");

/// The broadcasts that one node told its subscribers.
class Ear {
 public:
  void add(const Term& payload) {
    const std::lock_guard lock(mutex_);
    counts_[to_text(payload)] += 1;
    added_.notify_all();
  }
  bool await(const Term& payload, std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    return added_.wait_for(lock, limit, [&] { return counts_.contains(to_text(payload)); });
  }
  std::map<std::string, int> counts() {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable added_;
  std::map<std::string, int> counts_;
};

class Mixed : public MixedCluster {
 protected:
  void TearDown() override {
    MixedCluster::TearDown();
    subscriptions_.clear();
  }
  void configure(NodeConfig& config) override {
    config.membership.shuffle_period = 2s;
    config.membership.active_size = active_size_;
  }
  /// Hears what the node's subscribers hear; of nodes of other processes an own process hears it.
  void started(const std::string& name) override {
    auto ear = std::make_shared<Ear>();
    ears_[name] = ear;
    if (const auto found = cpp_.find(name); found != cpp_.end()) {
      subscriptions_.push_back(
          found->second->subscribe_broadcast(news_tag, [ear](const Term& payload) { ear->add(payload); }));
      return;
    }
    const Pid process = asker_->spawn([ear](Process& self) -> Task<> {
      for (;;) {
        const Term message = co_await self.receive();
        if (message.is_tagged("plumtree_broadcast", 2) && message[1][0] == news_tag) ear->add(message[1][1]);
      }
    });
    ASSERT_EQ(ask(name, "barrel_p2p_plumtree", "subscribe", {process}), Atom("ok")) << name;
  }
  /// The six, joined through their own and the other kind.
  void start_six() {
    for (const auto* name : {"e1", "e2", "e3"}) start_erlang(name);
    if (IsSkipped()) return;
    for (const auto* name : {"c1", "c2", "c3"}) start_cpp(name);
    join("c1", "e1");
    join("e2", "c1");
    join("c2", "c1");
    join("e3", "e2");
    join("c3", "e3");
    ASSERT_TRUE(becomes_sensible()) << picture();
  }

  // Views.

  /// Those to whom the Erlang nodes gossip, be they in the active view or not.
  Views gossip_views() {
    Views views;
    for (auto& [name, node] : erlang_) {
      // The fields `eager_peers` and `lazy_peers`.
      views[name] = names_in(
          node->eval("(fun(State) -> element(2, State) ++ element(3, State) end)(sys:get_state(barrel_p2p_plumtree))"));
    }
    return views;
  }
  /// - All are connected over active views and gossip.
  /// - Every C++ node lists somebody, and is listed.
  /// - C++ nodes list each other or do not, and list only nodes that run.
  /// - An Erlang node that lists a C++ node is listed by it if there is room, and one that is listed by it gossips to
  ///   it. Dead nodes in their views are their own affair.
  bool is_sensible() {
    const Names all = running();
    const auto active = active_views();
    const auto gossip = gossip_views();
    for (const auto& [name, view] : active) {
      if (!is_erlang(name) && view.empty()) return false;
      for (const auto& other : view) {
        if (!all.contains(other)) {
          if (is_erlang(name)) continue;
          return false;
        }
        if (is_erlang(name) && is_erlang(other)) continue;
        const bool back = active.at(other).contains(name);
        const bool hears = is_erlang(other) && gossip.at(other).contains(name);
        const bool full = is_erlang(name) && active.at(other).size() >= active_size_;
        if (!back && !hears && !full) return false;
      }
    }
    return are_connected(all, active, gossip);
  }
  /// Over active views and gossip of their own, in either direction.
  static bool are_connected(const Names& nodes, const Views& active, const Views& gossip) {
    Views linked;
    for (const auto* views : {&active, &gossip}) {
      for (const auto& [name, view] : *views) {
        for (const auto& other : view) {
          linked[name].insert(other);
          linked[other].insert(name);
        }
      }
    }
    Names reached{*nodes.begin()};
    std::vector<std::string> next(reached.begin(), reached.end());
    while (!next.empty()) {
      const std::string name = next.back();
      next.pop_back();
      for (const auto& other : linked[name]) {
        if (nodes.contains(other) && reached.insert(other).second) next.push_back(other);
      }
    }
    return reached == nodes;
  }
  /// Waits until nothing depends on the node: a young cluster is a tree at first.
  bool becomes_dispensable(const std::string& short_name) {
    return eventually(cpp_nodes(), [&] {
      Names others = running();
      others.erase(full(short_name));
      return are_connected(others, active_views(), gossip_views());
    });
  }
  bool becomes_sensible() {
    const auto begin = std::chrono::steady_clock::now();
    const bool sensible = eventually(cpp_nodes(), [&] { return is_sensible(); });
    const auto took = std::chrono::steady_clock::now() - begin;
    longest_ = std::max(longest_, std::chrono::duration_cast<std::chrono::milliseconds>(took));
    RecordProperty("longest_wait_for_views_ms", static_cast<int>(longest_.count()));
    return sensible;
  }
  std::string picture() override { return MixedCluster::picture() + text_of("gossips to", gossip_views()); }

  // Broadcasts.

  void broadcast(const std::string& speaker, const Term& payload) {
    if (const auto found = cpp_.find(speaker); found != cpp_.end()) {
      ASSERT_EQ(word(found->second->broadcast(news_tag, payload)), "ok");
    } else {
      ASSERT_EQ(ask(speaker, "barrel_p2p_plumtree", "broadcast", {news_tag, payload}), Atom("ok"));
    }
  }
  /// One of each node reaches all of `hearers`.
  void broadcasts_reach(const Names& hearers, const std::string& occasion) {
    for (const auto& speaker : hearers) {
      const Term payload = Term::tuple({Atom(occasion), Atom(speaker)});
      broadcast(speaker, payload);
      for (const auto& hearer : hearers) {
        EXPECT_TRUE(ears_.at(hearer)->await(payload, 10s))
            << occasion << ": " << speaker << " is not heard by " << hearer << '\n'
            << picture();
      }
    }
  }
  /// Duplicates on their way would come before the broadcasts of a last round.
  void all_came_once() {
    broadcasts_reach(running(), "last");
    for (const auto& name : running()) {
      for (const auto& [payload, count] : ears_.at(name)->counts()) EXPECT_EQ(count, 1) << payload << " at " << name;
    }
  }

  std::size_t active_size_ = 5;  ///< Of C++ nodes.
  std::chrono::milliseconds longest_{0};
  std::map<std::string, std::shared_ptr<Ear>> ears_;
  std::vector<Subscription> subscriptions_;
};

/// Waits for one event, whatever comes before it.
bool hears(MembershipLog& log, const std::string& wanted) {
  for (;;) {
    const std::string line = log.next(15s);
    if (line == wanted) return true;
    if (line == "nothing") return false;
  }
}

TEST_F(Mixed, six_join_through_either_kind_and_broadcasts_of_each_reach_all_exactly_once) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  for (const auto* occasion : {"first", "second", "third"}) broadcasts_reach(running(), occasion);
  all_came_once();
}

TEST_F(Mixed, nodes_shuffle_with_the_other_kind) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  // What the membership of the Erlang nodes receives from C++ nodes: their shuffles, and answers to its own.
  for (auto& [name, node] : erlang_) {
    node->eval("erlang:trace(whereis(barrel_p2p_bridge), true, ['receive'])");
    node->start(
        "(fun Await([]) -> done; Await(Kinds) -> receive {trace, _, 'receive', {'$barrel_p2p_hyparview', From, "
        "Message}}"
        " -> case hd(atom_to_list(From)) of $c -> Await(Kinds -- [element(1, Message)]); _ -> Await(Kinds) end"
        " after 60000 -> Kinds end end)([shuffle, shuffle_reply])");
  }
  for (auto& [name, node] : erlang_) EXPECT_EQ(node->finish(80s), Atom("done")) << name;
  for (auto& [name, node] : erlang_) node->eval("erlang:trace(whereis(barrel_p2p_bridge), false, ['receive'])");
  for (Node* node : cpp_nodes()) {
    EXPECT_TRUE(eventually({node}, [&] { return node->overlay_statistics().shuffles > 0; })) << node->name().text();
  }
  EXPECT_TRUE(becomes_sensible()) << picture();
  all_came_once();
}

TEST_F(Mixed, a_cpp_node_leaves_and_joins_again) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  const std::string name = full("c2");
  cpp("c2").leave();
  const auto gone = [&] {
    for (const auto& [other, view] : active_views()) {
      if (view.contains(name)) return false;
    }
    for (const auto& [other, view] : gossip_views()) {
      if (view.contains(name)) return false;
    }
    return cpp("c2").active_view().empty();
  };
  ASSERT_TRUE(eventually(cpp_nodes(), gone)) << picture();
  Names others = running();
  others.erase(name);
  broadcasts_reach(others, "without");
  for (const auto& [payload, count] : ears_.at(name)->counts()) ADD_FAILURE() << payload;
  for (const auto& [other, view] : active_views()) {
    EXPECT_TRUE(is_erlang(other) || !view.contains(name)) << picture();
  }
  join("c2", "e2");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  all_came_once();
}

TEST_F(Mixed, an_erlang_node_leaves_and_joins_again) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  MembershipLog log(cpp("c1"));
  may_promote_each_other();
  ASSERT_EQ(ask(full("e2"), "barrel_p2p", "leave"), Atom("ok"));
  EXPECT_TRUE(hears(log, "down e2@127.0.0.1 graceful"));
  Names others = running();
  others.erase(full("e2"));
  broadcasts_reach(others, "without");
  join("e2", "c3");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  all_came_once();
}

TEST_F(Mixed, a_killed_erlang_node_is_missed_by_nobody_and_comes_back_under_its_name) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  ASSERT_TRUE(becomes_dispensable("e2")) << picture();
  kill("e2");
  broadcasts_reach(running(), "before_it_is_noticed");
  ASSERT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "without");
  // Nobody tells it where to go: the C++ nodes look for those that they lost.
  start_erlang("e2");
  if (IsSkipped()) return;
  ASSERT_TRUE(eventually(cpp_nodes(), [&] { return !active_views().at(full("e2")).empty(); }, 60s));
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  all_came_once();
}

TEST_F(Mixed, a_killed_cpp_node_is_missed_by_nobody_and_comes_back_under_its_name) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  start_program("c4", "e1");
  ASSERT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "with");
  ASSERT_TRUE(becomes_dispensable("c4")) << picture();
  kill("c4");
  broadcasts_reach(running(), "before_it_is_noticed");
  ASSERT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "without");
  start_program("c4", "e1");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  // And before anybody has noticed: its new connections replace the old ones.
  kill("c4");
  start_program("c4", "e2");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "at_once");
  all_came_once();
}

TEST_F(Mixed, a_killed_erlang_node_that_restarts_at_once_is_taken_back) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  kill("e3");
  start_erlang("e3");
  if (IsSkipped()) return;
  join("e3", "c2");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  all_came_once();
}

TEST_F(Mixed, all_join_at_once) {
  for (const auto* name : {"e1", "e2", "e3"}) start_erlang(name);
  if (IsSkipped()) return;
  for (const auto* name : {"c1", "c2", "c3"}) start_cpp(name);
  ask_to_join("e2", "c1");
  ask_to_join("c2", "e1");
  ask_to_join("c3", "c1");
  ask_to_join("c1", "e1");
  ask_to_join("e3", "c2");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "first");
  all_came_once();
}

TEST_F(Mixed, cpp_nodes_with_small_views_keep_the_cluster_together) {
  active_size_ = 2;
  start_six();
  if (HasFailure() || IsSkipped()) return;
  for (const auto* occasion : {"first", "second"}) broadcasts_reach(running(), occasion);
  for (const auto* name : {"c2", "c3"}) {
    cpp(name).leave();
    join(name, "e1");
    ASSERT_TRUE(becomes_sensible()) << picture();
    broadcasts_reach(running(), std::string("with_") + name);
  }
  all_came_once();
}

// As after a defect of its own: its views are empty, and nobody is told.
TEST_F(Mixed, an_erlang_node_whose_membership_began_anew_hears_and_is_heard) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  erlang("e2").eval("Old = whereis(barrel_p2p_hyparview), exit(Old, kill)");
  ASSERT_TRUE(erlang("e2").becomes("begin New = whereis(barrel_p2p_hyparview), is_pid(New) andalso New =/= Old end"));
  forget_ended_processes("e2");
  broadcasts_reach(running(), "anew");
  // Its C++ neighbours, who know nothing of it, ask it with each shuffle.
  EXPECT_TRUE(eventually(cpp_nodes(), [&] { return !active_views().at(full("e2")).empty(); })) << picture();
  all_came_once();
}

}  // namespace
}  // namespace barrel_p2p
