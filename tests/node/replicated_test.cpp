// Replicated types of a program on real nodes.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>

#include "node/services_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::start_cluster;

/// A set that only grows: changes and states are lists of its members.
class Words final : public ReplicatedType {
 public:
  Term add(const std::string& word) {
    const std::lock_guard lock(mutex_);
    words_.insert(word);
    return Term::list({Term(word)});
  }
  bool await(const std::string& word, std::chrono::seconds limit = test::patience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return words_.contains(word); });
  }
  bool await_gone(const std::string& node, std::chrono::seconds limit = test::patience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return gone_.contains(node); });
  }
  std::size_t size() {
    const std::lock_guard lock(mutex_);
    return words_.size();
  }

  void merge(const NodeName& from, const Term& change) override { merge_state(from, change); }
  void merge_state(const NodeName& /*from*/, const Term& state) override {
    const std::lock_guard lock(mutex_);
    for (const auto& word : state.elements()) {
      if (word.as_string() == "bomb") throw std::runtime_error("a bomb");
      words_.insert(word.as_string().value_or("?"));
    }
    changed_.notify_all();
  }
  std::optional<Term> state() const override {
    const std::lock_guard lock(mutex_);
    if (words_.empty()) return std::nullopt;
    return Term::list(std::vector<Term>(words_.begin(), words_.end()));
  }
  void node_gone(const NodeName& node) override {
    const std::lock_guard lock(mutex_);
    gone_.insert(node.string());
    changed_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> words_;
  std::set<std::string> gone_;
};

TEST(Replicated, changes_reach_all_nodes_and_states_those_that_come_later) {
  Cluster cluster;
  auto nodes = start_cluster(cluster, 3);
  std::vector<std::shared_ptr<Words>> words;
  std::vector<Result<Replication>> replications;
  for (Node* node : nodes) {
    words.push_back(std::make_shared<Words>());
    replications.push_back(node->replicate("words", words.back()));
    ASSERT_TRUE(replications.back().has_value());
  }
  ASSERT_TRUE(replications[0]->broadcast(words[0]->add("hello")).has_value());
  for (const auto& one : words) EXPECT_TRUE(one->await("hello"));
  Node& late = cluster.start("late");
  const auto fourth = std::make_shared<Words>();
  const auto replication = late.replicate("words", fourth);
  ASSERT_TRUE(late.join(nodes[0]->name()).has_value());
  EXPECT_TRUE(fourth->await("hello")) << "by the state of a neighbour";
}

TEST(Replicated, a_node_that_takes_part_later_asks_for_the_state) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const auto first = std::make_shared<Words>();
  const auto replication = nodes[0]->replicate("words", first);
  ASSERT_TRUE(replication->broadcast(first->add("early")).has_value());
  // With its tag and its sender it would be one that others refuse.
  const std::string large(GossipConfig{}.payload_bytes_max - 10, 'x');
  EXPECT_EQ(replication->broadcast(Term(large)).error(), Errc::limit_exceeded);
  const auto second = std::make_shared<Words>();
  const auto other = nodes[1]->replicate("words", second);
  EXPECT_TRUE(second->await("early"));
}

TEST(Replicated, what_a_type_throws_harms_nobody) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const auto first = std::make_shared<Words>();
  const auto second = std::make_shared<Words>();
  const auto one = nodes[0]->replicate("words", first);
  const auto other = nodes[1]->replicate("words", second);
  ASSERT_TRUE(one->broadcast(first->add("bomb")).has_value());
  ASSERT_TRUE(one->broadcast(Term::list({Term("after")})).has_value());
  EXPECT_TRUE(second->await("after"));
}

TEST(Replicated, the_end_of_a_lease_is_told) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2, test::short_leases);
  const auto first = std::make_shared<Words>();
  const auto one = nodes[0]->replicate("words", first);
  cluster.stop("n1");
  EXPECT_TRUE(first->await_gone("n1@127.0.0.1"));
}

TEST(Replicated, names_are_one_types_own_until_its_handle_goes) {
  Cluster cluster;
  Node& node = cluster.start("a");
  auto first = node.replicate("words", std::make_shared<Words>());
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(node.replicate("words", std::make_shared<Words>()).error(), Errc::already_registered);
  EXPECT_EQ(node.replicate("barrel_p2p_words", std::make_shared<Words>()).error(), Errc::invalid_argument);
  EXPECT_EQ(node.replicate("", std::make_shared<Words>()).error(), Errc::invalid_argument);
  first = node.replicate("others", std::make_shared<Words>());
  EXPECT_TRUE(node.replicate("words", std::make_shared<Words>()).has_value());
  // The handle may outlive the node.
  cluster.stop("a");
  EXPECT_EQ(first->broadcast(Term()).error(), Errc::stopped);
}

/// Its first merge says that it has begun, and waits until it may end.
class Slow final : public ReplicatedType {
 public:
  void merge(const NodeName& /*from*/, const Term& /*change*/) override {
    begun.set_value();
    may_end.get_future().wait();
  }
  void merge_state(const NodeName& /*from*/, const Term& /*state*/) override {}
  std::optional<Term> state() const override { return std::nullopt; }

  std::promise<void> begun;
  std::promise<void> may_end;
};

TEST(Replicated, a_handle_that_goes_while_the_node_stops_waits_for_its_type) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const auto slow = std::make_shared<Slow>();
  std::optional<Replication> handle = nodes[0]->replicate("slow", slow).value();
  const auto other = nodes[1]->replicate("slow", std::make_shared<Slow>());
  ASSERT_TRUE(other->broadcast(Term(1)).has_value());
  slow->begun.get_future().wait();
  auto stopped = std::async(std::launch::async, [&] { nodes[0]->stop(); });
  const auto published = cluster.config("n0").discovery_dir / "n0@127.0.0.1.endpoint";
  ASSERT_TRUE(test::becomes_true([&] { return !std::filesystem::exists(published); }));
  auto gone = std::async(std::launch::async, [&] { handle.reset(); });
  EXPECT_EQ(gone.wait_for(200ms), std::future_status::timeout);
  slow->may_end.set_value();
  EXPECT_EQ(gone.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(stopped.wait_for(test::patience), std::future_status::ready);
}

TEST(Replicated, a_type_is_let_go_with_its_handle) {
  Cluster cluster;
  Node& node = cluster.start("a");
  const auto words = std::make_shared<Words>();
  {
    const auto replication = node.replicate("words", words);
    EXPECT_EQ(words.use_count(), 2);
  }
  EXPECT_EQ(words.use_count(), 1);
}

}  // namespace
}  // namespace barrel_p2p
