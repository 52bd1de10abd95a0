// Reminders in a cluster of operating system processes that are killed: none is lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "cluster/subprocess.hpp"
#include "node/node_support.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

const Atom facade("barrel_p2p");

/// What a process was told: fences by key.
class Told {
 public:
  /// From now on these keys count, and greater ones.
  void begin(std::int64_t first) {
    const std::lock_guard lock(mutex_);
    first_ = first;
    fences_.clear();
    messages_ = 0;
  }
  void add(const Term& key, const Term& fence) {
    const std::lock_guard lock(mutex_);
    const auto number = key.as_int64().value_or(-1);
    if (number < first_) return;
    auto& fences = fences_[number];
    fences.push_back(to_text(fence));
    ++messages_;
    changed_.notify_all();
  }
  bool await(std::size_t keys, std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return fences_.size() >= keys; });
  }
  std::size_t keys() {
    const std::lock_guard lock(mutex_);
    return fences_.size();
  }
  std::size_t messages() {
    const std::lock_guard lock(mutex_);
    return messages_;
  }
  /// Keys that were told with different fences.
  std::size_t contradictions() {
    const std::lock_guard lock(mutex_);
    std::size_t count = 0;
    for (const auto& [key, fences] : fences_) {
      if (std::set(fences.begin(), fences.end()).size() > 1) ++count;
    }
    return count;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, std::vector<std::string>> fences_;
  std::int64_t first_ = 0;
  std::size_t messages_ = 0;
};

/// Nodes n0, n1, n2 as processes with short leases, which a node that waits for its turn on a busy machine does not
/// lose, and a hidden node that sets reminders and is told.
class ReminderProcesses : public testing::Test {
 protected:
  static constexpr int nodes = 3;

  void start(int index) {
    const NodeConfig config = cluster.config(short_name(index));
    std::filesystem::create_directories(config.data_dir);
    const auto file = config.data_dir / "node.toml";
    std::ofstream(file) << "member_heartbeat_ms = 500\nmember_ttl_ms = 3000\n";
    auto process = std::make_unique<Subprocess>(
        std::vector<std::string>{BARREL_P2P_COMMAND, "node", "--config", file.string(), "--name", config.name, "--data",
                                 config.data_dir.string(), "--discovery-dir", config.discovery_dir.string(), "--cookie",
                                 config.cookie, "--join", "n0@127.0.0.1"});
    if (!process->says("is ready")) throw std::runtime_error("a node does not start: " + process->errors());
    running[index] = std::move(process);
  }
  void start_all() {
    for (int index = 0; index < nodes; ++index) start(index);
    for (int index = 0; index < nodes; ++index) {
      if (!becomes_true([&] { return members(index) == nodes; })) throw std::runtime_error("no cluster forms");
    }
  }
  void kill_all() {
    for (const auto& [index, process] : running) process->signal(SIGKILL);
    for (int index = 0; index < nodes; ++index) kill(index);
  }
  void kill(int index) {
    running.at(index)->signal(SIGKILL);
    running.at(index)->wait();
    running.erase(index);
    asker.disconnect(name(index));
  }
  static std::string short_name(int index) { return "n" + std::to_string(index); }
  static NodeName name(int index) { return NodeName(short_name(index) + "@127.0.0.1"); }
  int members(int index) {
    const auto list = asker.call_function(name(index), facade, "members", {}, 1s);
    return list ? static_cast<int>(list->size()) : 0;
  }
  void subscribe() {
    for (const auto& [index, process] : running) {
      const auto subscribed = asker.call_function(name(index), facade, "subscribe_reminders", {listener}, 10s);
      ASSERT_TRUE(subscribed && subscribed->is_atom("ok"));
    }
  }
  /// Sets reminders `first` to `first + count - 1` on all nodes in turn, a hundred at a time; returns when all are
  /// durable.
  void set(int first, int count, std::chrono::system_clock::time_point due) {
    const std::int64_t due_ms = std::chrono::ceil<std::chrono::milliseconds>(due.time_since_epoch()).count();
    constexpr int setters = 100;
    std::mutex mutex;
    std::condition_variable changed;
    int finished = 0;
    int good = 0;
    for (int setter = 0; setter < setters; ++setter) {
      asker.spawn([&, setter](Process& self) -> Task<> {
        int done = 0;
        for (int key = first + setter; key < first + count; key += setters) {
          std::vector<Term> arguments;
          arguments.emplace_back(key);
          arguments.emplace_back(due_ms);
          arguments.emplace_back("payload");
          const auto answer =
              co_await self.call_function(name(key % nodes), facade, "remind", std::move(arguments), 20s);
          if (answer && answer->is_atom("ok")) ++done;
        }
        const std::lock_guard lock(mutex);
        good += done;
        ++finished;
        changed.notify_all();
      });
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return finished == setters; });
    ASSERT_EQ(good, count);
  }

  Told told;
  Cluster cluster;
  Node& asker = cluster.start("asker", [](NodeConfig& config) { config.hidden = true; });
  Pid listener = asker.spawn([this](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      if (message.is_tagged("barrel_p2p_reminder", 4)) told.add(message[1], message[3]);
    }
  });
  std::map<int, std::unique_ptr<Subprocess>> running;
};

TEST_F(ReminderProcesses, none_of_ten_thousand_is_lost_when_all_nodes_are_killed) {
  constexpr int count = 10'000;
  start_all();
  subscribe();
  const auto begun = Clock::now();
  set(0, count, std::chrono::system_clock::now() + 1h);
  const auto taken = std::chrono::ceil<std::chrono::seconds>(Clock::now() - begun);
  // Anew, for soon: too late for these nodes, even if this takes three times as long as before. On a machine where it
  // took still longer other reminders are set, with more time.
  auto soon = std::max<std::chrono::seconds>(10s, 3 * taken);
  int first = 0;
  for (auto due = std::chrono::system_clock::now() + soon;; due = std::chrono::system_clock::now() + soon) {
    set(first, count, due);
    kill_all();
    if (std::chrono::system_clock::now() < due) break;
    start_all();
    subscribe();
    told.begin(first += count);
    soon *= 2;
  }
  EXPECT_EQ(told.messages(), 0U);
  start_all();
  subscribe();
  EXPECT_TRUE(told.await(count, soon + 2 * patience)) << told.keys() << " were told";
  EXPECT_EQ(told.contradictions(), 0U);
  EXPECT_LE(told.messages(), count + count / 10U) << "most are told once";
  RecordProperty("told_again", static_cast<int>(told.messages()) - count);
}

TEST_F(ReminderProcesses, what_a_killed_owner_missed_the_others_tell) {
  constexpr int count = 300;
  start_all();
  subscribe();
  set(0, count, std::chrono::system_clock::now() + 4s);
  kill(2);  // of whose keys none is due yet
  EXPECT_TRUE(told.await(count, 60s)) << told.keys() << " were told";
  EXPECT_EQ(told.contradictions(), 0U);
}

}  // namespace
}  // namespace barrel_p2p::test
