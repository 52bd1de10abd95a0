// Placement on real nodes: all agree on the owners, and each partition passes from hand to hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "node/services_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::Collector;
using test::eventually;
using test::Lines;
using test::long_leases;
using test::patience;
using test::short_leases;
using test::start_cluster;

/// What the nodes of a test are told, in the order of all of them together.
class ShardLog {
 public:
  void follow(Node& node) {
    subscriptions_.push_back(node.subscribe_shard([this, name = node.name().string()](const ShardEvent& event) {
      const std::lock_guard lock(mutex_);
      const bool acquired = event.kind == ShardEvent::Kind::acquired;
      // What is told again, or was never acquired, is a fault.
      faults_ +=
          (acquired ? owned_[name].insert(event.partition).second : owned_[name].erase(event.partition) == 1) ? 0 : 1;
      const bool by_another = std::ranges::any_of(
          owned_, [&](const auto& other) { return other.first != name && other.second.contains(event.partition); });
      if (acquired && by_another) ++overlaps_;
      if (!acquired && owned_[name].empty()) bereft_.insert(name);
      changed_.notify_all();
    }));
  }
  /// What the node owns by what it was told.
  std::set<std::uint32_t> owned(const Node& node) {
    const std::lock_guard lock(mutex_);
    return owned_[node.name().string()];
  }
  bool owns_exactly(const Node& node, const std::set<std::uint32_t>& wanted, std::chrono::seconds limit = patience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return owned_[node.name().string()] == wanted; });
  }
  /// Waits until it has released all that it had, whatever it acquired afterwards.
  bool lets_go_of_all(const Node& node) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return bereft_.contains(node.name().string()); });
  }
  int faults() {
    const std::lock_guard lock(mutex_);
    return faults_;
  }
  /// How often something was acquired that another node had not released.
  int overlaps() {
    const std::lock_guard lock(mutex_);
    return overlaps_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::set<std::uint32_t>> owned_;
  std::set<std::string> bereft_;  ///< Who had nothing left at some time.
  int faults_ = 0;
  int overlaps_ = 0;
  std::vector<Subscription> subscriptions_;  ///< The first to go.
};

std::set<std::uint32_t> all_partitions(const Node& node) {
  std::set<std::uint32_t> all;
  for (std::uint32_t partition = 0; partition < node.ring_size(); ++partition) all.insert(partition);
  return all;
}

std::set<std::uint32_t> owned(const Node& node) {
  const auto list = node.owned_partitions();
  return {list.begin(), list.end()};
}

/// The share of each node if these were the members.
std::set<std::uint32_t> share_among(const Node& node, const std::vector<NodeName>& members) {
  std::set<std::uint32_t> share;
  std::map<std::uint32_t, std::optional<NodeName>> moved;
  for (const auto& move : node.placement_diff(members)) moved[move.partition] = move.to;
  for (const auto partition : all_partitions(node)) {
    const auto owner = moved.contains(partition) ? moved[partition] : node.partition_owner(partition);
    if (owner == node.name()) share.insert(partition);
  }
  return share;
}

TEST(PlacementOfNodes, a_node_alone_owns_everything) {
  Cluster cluster;
  Node& node = cluster.start("n0");
  EXPECT_EQ(node.ring_size(), 64U);
  EXPECT_EQ(node.partition("abc"), node.partition(Term("abc")));
  EXPECT_LT(node.partition(Term::tuple({1, 2.0})), 64U);
  EXPECT_EQ(node.place("abc"), node.name());
  EXPECT_EQ(node.owners("abc", 3), std::vector<NodeName>{node.name()});
  EXPECT_TRUE(node.owners("abc", 0).empty());
  EXPECT_TRUE(node.is_owner("abc"));
  EXPECT_EQ(node.owned_partitions().size(), 64U);
  EXPECT_EQ(node.partition_owner(64), std::nullopt);
  EXPECT_FALSE(node.owns_partition(64));
  ShardLog log;
  log.follow(node);
  EXPECT_TRUE(log.owns_exactly(node, all_partitions(node))) << "a new subscriber is told what is there";
}

TEST(PlacementOfNodes, all_nodes_agree_on_all_owners_and_each_partition_has_one) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  const auto names = nodes.front()->members();
  ASSERT_EQ(names.size(), 3U);
  const auto one_owner = [&] {
    return std::ranges::all_of(all_partitions(*nodes.front()), [&](std::uint32_t partition) {
      return std::ranges::count_if(nodes, [&](Node* node) { return node->owns_partition(partition); }) == 1;
    });
  };
  ASSERT_TRUE(eventually(nodes, one_owner));
  for (int key = 0; key < 200; ++key) {
    const auto owner = nodes.front()->place(key);
    ASSERT_TRUE(owner.has_value());
    for (Node* node : nodes) {
      EXPECT_EQ(node->place(key), owner);
      EXPECT_EQ(node->owners(key, 2), nodes.front()->owners(key, 2));
      EXPECT_EQ(node->is_owner(key), node->name() == *owner);
      EXPECT_EQ(node->owners(key, 9).size(), 3U);
    }
  }
}

TEST(PlacementOfNodes, a_newcomer_takes_its_share_and_nothing_else_moves) {
  Cluster cluster;
  auto nodes = start_cluster(cluster, 2);
  ShardLog log;
  for (Node* node : nodes) log.follow(*node);
  const std::vector<NodeName> planned{"n0@127.0.0.1", "n1@127.0.0.1", "late@127.0.0.1"};
  const auto first = share_among(*nodes[0], planned);
  const auto second = share_among(*nodes[1], planned);
  const auto before = owned(*nodes[0]);
  EXPECT_TRUE(std::ranges::includes(before, first));
  Node& late = cluster.start("late");
  log.follow(late);
  ASSERT_TRUE(late.join(nodes[0]->name()).has_value());
  EXPECT_TRUE(log.owns_exactly(*nodes[0], first));
  EXPECT_TRUE(log.owns_exactly(*nodes[1], second));
  std::set<std::uint32_t> rest = all_partitions(late);
  for (const auto partition : first) rest.erase(partition);
  for (const auto partition : second) rest.erase(partition);
  EXPECT_TRUE(log.owns_exactly(late, rest));
  EXPECT_EQ(owned(late), rest) << "what is told can be read";
  EXPECT_EQ(log.faults(), 0);
}

TEST(PlacementOfNodes, who_leaves_hands_over_at_once_and_lets_go_before_others_take) {
  Cluster cluster;
  auto nodes = start_cluster(cluster, 3, long_leases);
  ShardLog log;
  for (Node* node : nodes) log.follow(*node);
  for (Node* node : nodes) ASSERT_TRUE(log.owns_exactly(*node, owned(*node)));
  const std::vector<NodeName> rest{nodes[1]->name(), nodes[2]->name()};
  const auto second = share_among(*nodes[1], rest);
  const auto third = share_among(*nodes[2], rest);
  const auto begin = std::chrono::steady_clock::now();
  nodes[0]->leave();
  EXPECT_TRUE(log.owns_exactly(*nodes[1], second)) << "the goodbye does it, no lease ends";
  EXPECT_TRUE(log.owns_exactly(*nodes[2], third));
  const auto took = std::chrono::steady_clock::now() - begin;
  RecordProperty("hand_over_us", std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  EXPECT_TRUE(log.owned(*nodes[0]).empty());
  EXPECT_FALSE(nodes[0]->is_owner("abc"));
  EXPECT_EQ(log.overlaps(), 0) << "released before it is acquired elsewhere";
  EXPECT_EQ(log.faults(), 0);

  // Back again: it owns nothing until the others know.
  ASSERT_TRUE(nodes[0]->join(nodes[1]->name()).has_value());
  EXPECT_TRUE(log.owns_exactly(*nodes[0], share_among(*nodes[0], {nodes[0]->name(), rest[0], rest[1]})));
  EXPECT_FALSE(log.owned(*nodes[0]).empty());
  EXPECT_EQ(log.overlaps(), 0);
  EXPECT_EQ(log.faults(), 0);
}

TEST(PlacementOfNodes, the_share_of_a_node_that_stops_is_taken_over_at_once) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2, long_leases);
  ShardLog log;
  log.follow(*nodes[0]);
  cluster.stop("n1");
  EXPECT_TRUE(log.owns_exactly(*nodes[0], all_partitions(*nodes[0])));
  EXPECT_EQ(log.faults(), 0);
}

/// The cluster thread stands still, as all threads do in a process that is stopped.
TEST(PlacementOfNodes, who_was_paused_beyond_its_lease_owns_nothing_at_once_and_its_share_again_later) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2, short_leases);
  ShardLog log;
  for (Node* node : nodes) log.follow(*node);
  const auto share = owned(*nodes[0]);
  ASSERT_TRUE(log.owns_exactly(*nodes[0], share));
  ASSERT_FALSE(share.empty());
  std::promise<void> wake;
  std::promise<void> asleep;
  {
    const Subscription sleeper = nodes[0]->subscribe_broadcast("sleep", [&](const Term&) {
      asleep.set_value();
      wake.get_future().wait();
    });
    ASSERT_TRUE(nodes[0]->broadcast("sleep", 1).has_value());
    asleep.get_future().wait();
    EXPECT_TRUE(log.owns_exactly(*nodes[1], all_partitions(*nodes[1]))) << "its lease ended there";
    const auto lapsed = [&] { return nodes[0]->owned_partitions().empty(); };
    EXPECT_TRUE(eventually({nodes[1]}, lapsed)) << "it believes its old members, but the lease counts";
    EXPECT_FALSE(nodes[0]->owns_partition(*share.begin()));
    EXPECT_EQ(nodes[0]->partition_owner(*share.begin()), nodes[0]->name());
    EXPECT_EQ(log.owned(*nodes[0]), share) << "it could not be told yet";
    wake.set_value();
  }
  EXPECT_TRUE(log.lets_go_of_all(*nodes[0])) << "what others had meanwhile is released first";
  EXPECT_TRUE(log.owns_exactly(*nodes[0], share));
  std::set<std::uint32_t> rest = all_partitions(*nodes[1]);
  for (const auto partition : share) rest.erase(partition);
  EXPECT_TRUE(log.owns_exactly(*nodes[1], rest));
  EXPECT_EQ(log.faults(), 0);
}

TEST(PlacementOfNodes, processes_here_and_elsewhere_are_told_until_they_unsubscribe) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2, long_leases);
  ShardLog log;
  log.follow(*nodes[0]);
  const auto share = owned(*nodes[0]);
  ASSERT_TRUE(log.owns_exactly(*nodes[0], share)) << "what came before is told when it is";
  Collector here(*nodes[0]);
  Collector elsewhere(*nodes[1]);
  Collector no_more(*nodes[0]);
  nodes[0]->subscribe_shard(here.pid);
  nodes[0]->subscribe_shard(here.pid);
  nodes[0]->subscribe_shard(no_more.pid);
  nodes[0]->unsubscribe_shard(no_more.pid);
  const auto subscribed =
      nodes[1]->call_function(nodes[0]->name(), "barrel_p2p", "subscribe_shard", {Term(elsewhere.pid)});
  ASSERT_TRUE(subscribed.has_value()) << subscribed.error().message();
  nodes[0]->leave();
  for (const auto partition : share) {
    const std::string told = "{barrel_p2p_shard,{released," + std::to_string(partition) + "}}";
    EXPECT_EQ(here.next(), told) << "in order, each once";
    EXPECT_EQ(elsewhere.next(), told);
  }
  ASSERT_TRUE(nodes[0]->send(no_more.pid, Atom("end")).has_value());
  EXPECT_EQ(no_more.next(), "'end'") << "and nothing before";
}

TEST(PlacementOfNodes, other_nodes_may_ask_what_the_program_may) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const auto ask = [&](const char* function, std::vector<Term> arguments) {
    const auto answer = nodes[1]->call_function(nodes[0]->name(), "barrel_p2p", function, std::move(arguments));
    return answer ? to_text(*answer) : answer.error().message();
  };
  const Term key = Term::tuple({Atom("user"), 17});
  EXPECT_EQ(ask("partition", {key}), std::to_string(nodes[1]->partition(key)));
  EXPECT_EQ(ask("place", {key}), "'" + nodes[1]->place(key)->string() + "'");
  EXPECT_EQ(ask("is_owner", {key}), nodes[0]->is_owner(key) ? "true" : "false");
  std::string both;
  for (const auto& node : nodes[1]->owners(key, 2)) both += (both.empty() ? "'" : ",'") + node.string() + "'";
  EXPECT_EQ(ask("owners", {key, 2}), "[" + both + "]");
  EXPECT_NE(ask("owners", {key, -1}).find("invalid_argument"), std::string::npos) << ask("owners", {key, -1});
  const Term alone = Term::list({Term(nodes[0]->name().atom())});
  const auto moves = nodes[1]->placement_diff({nodes[0]->name()});
  ASSERT_FALSE(moves.empty());
  EXPECT_EQ(moves.size(), owned(*nodes[1]).size());
  const std::string first = "[{" + std::to_string(moves.front().partition) + ",'n1@127.0.0.1','n0@127.0.0.1'}";
  EXPECT_EQ(ask("placement_diff", {alone}).substr(0, first.size()), first);
}

TEST(PlacementOfNodes, nodes_that_cannot_agree_are_warned_of) {
  Lines warnings;
  Cluster cluster;
  const auto watch = [&](NodeConfig& config) {
    config.log_sink = [&](LogLevel level, std::string_view line) {
      if (level == LogLevel::warning && line.find("placement") != std::string_view::npos)
        warnings.add(std::string(line));
    };
  };
  Node& one = cluster.start("ba", watch);
  Node& other = cluster.start("aq", [](NodeConfig& config) { config.replication.ring_size = 128; });
  ASSERT_TRUE(other.join(one.name()).has_value());
  std::set<std::string> found;
  for (int line = 0; line < 2; ++line) {
    const auto text = warnings.next();
    if (text.find("aq@127.0.0.1 has ring_size 128 and this node 64") != std::string::npos) found.insert("ring");
    if (text.find("aq@127.0.0.1, ba@127.0.0.1 have equal hashes") != std::string::npos) found.insert("hash");
  }
  EXPECT_EQ(found.size(), 2U);
  const auto issues = one.placement_issues();
  ASSERT_TRUE(issues.has_value());
  ASSERT_EQ(issues->ring_sizes.size(), 1U);
  EXPECT_EQ(issues->ring_sizes.front().second, 128U);
  EXPECT_EQ(issues->equal_hashes, (std::vector<std::vector<NodeName>>{{"aq@127.0.0.1", "ba@127.0.0.1"}}));
  EXPECT_EQ(issues->idle, std::vector<NodeName>{"aq@127.0.0.1"});
}

TEST(PlacementOfNodes, below_the_least_number_of_members_nothing_is_owned) {
  Cluster cluster;
  const auto two = [](NodeConfig& config) {
    long_leases(config);
    config.replication.placement_members_min = 2;
  };
  ShardLog log;
  Node& first = cluster.start("n0", two);
  log.follow(first);
  EXPECT_FALSE(first.is_owner("abc"));
  EXPECT_EQ(first.place("abc"), first.name());
  Node& second = cluster.start("n1", two);
  ASSERT_TRUE(second.join(first.name()).has_value());
  EXPECT_TRUE(log.owns_exactly(first, share_among(first, {first.name(), second.name()})));
  cluster.stop("n1");
  EXPECT_TRUE(log.owns_exactly(first, {}));
  EXPECT_EQ(log.faults(), 0);
}

TEST(PlacementOfNodes, a_hidden_node_sees_no_owners_and_is_none) {
  Cluster cluster;
  Node& node = cluster.start("tool", [](NodeConfig& config) { config.hidden = true; });
  EXPECT_LT(node.partition("abc"), 64U);
  EXPECT_EQ(node.place("abc"), std::nullopt);
  EXPECT_TRUE(node.owners("abc", 3).empty());
  EXPECT_FALSE(node.is_owner("abc"));
  EXPECT_TRUE(node.owned_partitions().empty());
  EXPECT_TRUE(node.placement_diff({node.name()}).empty());
}

}  // namespace
}  // namespace barrel_p2p
