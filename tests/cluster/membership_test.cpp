// A cluster of operating system processes that joined through one seed: what becomes of it when half of them are
// killed, and how fast a restarted one is back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "cluster/subprocess.hpp"
#include "node/membership_support.hpp"
#include "node/node_support.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// Nodes n0, n1, ... as processes, which know n0 as their contact, and a hidden node that asks them.
class Processes : public testing::Test {
 protected:
  void start(int index) {
    const NodeConfig config = cluster.config("n" + std::to_string(index));
    std::filesystem::create_directories(config.data_dir);
    const auto file = config.data_dir / "node.toml";
    std::ofstream(file) << "[detector]\ndead_after_ms = " << dead_after.count() << '\n';
    auto process = std::make_unique<Subprocess>(
        std::vector<std::string>{BARREL_P2P_COMMAND, "node", "--config", file.string(), "--name", config.name, "--data",
                                 config.data_dir.string(), "--discovery-dir", config.discovery_dir.string(), "--cookie",
                                 config.cookie, "--join", "n0@127.0.0.1"});
    if (!process->says("is ready")) throw std::runtime_error("a node does not start: " + process->errors());
    running.insert_or_assign(config.name, std::move(process));
  }
  void kill(int index) {
    const std::string name = "n" + std::to_string(index) + "@127.0.0.1";
    running.at(name)->signal(SIGKILL);
    running.at(name)->wait();
    running.erase(name);
    asker.disconnect(name);  // it asks whoever bears the name next
  }
  /// Asks until the node answers; a restarted one may refuse the connection that it does not know.
  std::set<std::string> view(const std::string& node, const char* which = "active_view") {
    const auto list = asker.call_function(node, "barrel_p2p", which, {}, 1s);
    std::set<std::string> names;
    if (!list) return names;
    for (const auto& name : list->elements()) names.insert(name.as_atom()->string());
    return names;
  }
  /// Everybody lists only nodes that run, which list it too, and from one all can be reached.
  bool one_component() {
    std::map<std::string, std::set<std::string>> views;
    for (const auto& [name, process] : running) views.emplace(name, view(name));
    for (const auto& [name, others] : views) {
      for (const auto& other : others) {
        if (!views.contains(other) || !views.at(other).contains(name)) return false;
      }
    }
    std::set<std::string> reached{views.begin()->first};
    std::vector<std::string> next(reached.begin(), reached.end());
    while (!next.empty()) {
      const auto others = views.at(next.back());
      next.pop_back();
      for (const auto& other : others) {
        if (reached.insert(other).second) next.push_back(other);
      }
    }
    return reached.size() == views.size();
  }
  bool becomes_one_component() {
    return becomes_true([this] { return one_component(); });
  }

  /// Beyond the time that tests have: nobody notices an end, and what comes back must replace what it left.
  static constexpr std::chrono::milliseconds never = 2 * patience;
  std::chrono::milliseconds dead_after = never;
  Cluster cluster;
  Node& asker = cluster.start("asker", [](NodeConfig& config) { config.hidden = true; });
  std::map<std::string, std::unique_ptr<Subprocess>> running;
};

TEST_F(Processes, ten_join_through_one_seed_and_the_half_that_lives_stays_connected) {
  constexpr int count = 10;
  dead_after = FailureDetectorConfig().dead_after;
  for (int index = 0; index < count; ++index) start(index);
  ASSERT_TRUE(becomes_one_component());

  // The odd ones, at once. They are noticed, and replaced.
  std::vector<int> killed;
  for (int index = 1; index < count; index += 2) killed.push_back(index);
  for (const int index : killed) running.at("n" + std::to_string(index) + "@127.0.0.1")->signal(SIGKILL);
  const auto from = Clock::now();
  for (const int index : killed) kill(index);
  ASSERT_TRUE(becomes_one_component());
  const auto repaired = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - from);
  RecordProperty("repaired_ms", static_cast<int>(repaired.count()));

  // A broadcast of one reaches the others: a process here subscribes at each of them.
  std::map<std::string, std::unique_ptr<Collector>> collectors;
  for (const auto& [name, process] : running) {
    auto& collector = collectors[name];
    collector = std::make_unique<Collector>(asker);
    ASSERT_TRUE(asker.call_function(name, "barrel_p2p_plumtree", "subscribe", {collector->pid}).has_value()) << name;
  }
  for (int round = 0; round < 5; ++round) {
    const auto& speaker = std::next(running.begin(), round)->first;
    const auto said = asker.call_function(speaker, "barrel_p2p_plumtree", "broadcast", {Atom("news"), round});
    ASSERT_TRUE(said.has_value());
    const std::string expected = "{plumtree_broadcast,{news," + std::to_string(round) + "}}";
    for (const auto& [name, collector] : collectors) EXPECT_EQ(collector->next(), expected) << name;
  }
}

TEST_F(Processes, a_killed_node_that_restarts_is_back_before_its_end_is_noticed) {
  for (int index = 0; index < 4; ++index) start(index);
  ASSERT_TRUE(becomes_one_component());
  kill(3);
  const auto from = Clock::now();
  start(3);  // its new connection replaces the old one
  ASSERT_TRUE(becomes_one_component());
  const auto back = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - from);
  RecordProperty("back_ms", static_cast<int>(back.count()));
}

TEST_F(Processes, a_seed_that_was_killed_comes_back_without_being_told_where_to) {
  for (int index = 0; index < 4; ++index) start(index);
  ASSERT_TRUE(becomes_one_component());
  // What it remembers is written two seconds after the views have changed.
  const auto file = cluster.data("n0") / "peers";
  ASSERT_TRUE(becomes_true([&] { return std::filesystem::exists(file); }));
  kill(0);
  start(0);  // its only contact is itself
  ASSERT_TRUE(becomes_one_component());
}

}  // namespace
}  // namespace barrel_p2p::test
