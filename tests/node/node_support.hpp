// Nodes for tests: in one process, on loopback, with directories of their own that vanish with them.
#pragma once

#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "support/patience.hpp"
#include "support/scratch.hpp"

namespace barrel_p2p::test {

inline constexpr std::size_t mebibyte = 1024UL * 1024;

/// "ok", or the name of the error.
template <class T>
std::string word_of(const Result<T>& result) {
  return result ? "ok" : std::string(name(result.error().code()));
}

/// Lines that callbacks write and a test reads.
class Lines {
 public:
  void add(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
    added_.notify_all();
  }
  /// Waits for the next line.
  std::string next(std::chrono::seconds limit = patience) {
    std::unique_lock lock(mutex_);
    if (!added_.wait_for(lock, limit, [&] { return !lines_.empty(); })) return "nothing";
    std::string line = lines_.front();
    lines_.pop_front();
    return line;
  }
  /// Reads on until this line comes.
  bool until(const std::string& line, std::chrono::seconds limit = patience) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < end) {
      const auto found = next(std::chrono::seconds(1));
      if (found == line) return true;
    }
    return false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable added_;
  std::deque<std::string> lines_;
};

/// What `monitor_nodes` told, one text an event.
class EventLog : public Lines {
 public:
  void add(const NodeEvent& event) {
    const bool up = event.kind == NodeEvent::Kind::up;
    Lines::add((up ? "up " : "down ") + event.node.string() + (up ? "" : " " + event.reason));
  }
};

class Cluster {
 public:
  using Change = std::function<void(NodeConfig&)>;

  [[nodiscard]] NodeConfig config(const std::string& short_name) const {
    NodeConfig config;
    config.name = short_name + "@127.0.0.1";
    config.cookie = "test";
    config.data_dir = data(short_name);
    config.discovery_dir = scratch_ / "discovery";
    config.discovery_backends = {"static", "file"};
    config.workers = 2;
    config.log_level = LogLevel::debug;
    config.log_sink = [](LogLevel level, std::string_view line) {
      if (std::getenv("BARREL_P2P_TEST_LOG") != nullptr || level == LogLevel::error) {
        std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
      }
    };
    return config;
  }
  /// An earlier node of the name is stopped.
  Node& start(const std::string& short_name, const Change& change = {}) {
    nodes_.erase(short_name);
    NodeConfig wanted = config(short_name);
    if (change) change(wanted);
    auto node = Node::start(wanted);
    if (!node) throw std::runtime_error("cannot start " + short_name + ": " + node.error().message());
    return nodes_.insert_or_assign(short_name, std::move(*node)).first->second;
  }
  void stop(const std::string& short_name) { nodes_.erase(short_name); }
  [[nodiscard]] std::filesystem::path data(const std::string& short_name) const { return scratch_ / short_name; }

  /// Connects, trying again while an attempt of the other side, or a refusal of a moment ago, is in the way.
  static bool connects(Node& from, Node& to) {
    return becomes_true([&] { return from.connect(to.name()).has_value(); });
  }
  /// Waits until each lists the other.
  static bool settles(Node& one, Node& other) { return await(one, other, true); }
  /// Disconnects and waits until neither lists the other.
  static void part(Node& one, Node& other) {
    one.disconnect(other.name());
    if (!await(one, other, false)) throw std::runtime_error("the nodes did not part");
  }

 private:
  static bool lists(const Node& node, const NodeName& other) {
    const auto nodes = node.nodes();
    return std::ranges::find(nodes, other) != nodes.end();
  }
  static bool await(Node& one, Node& other, bool connected) {
    std::mutex mutex;
    std::condition_variable changed;
    const auto wake = [&](const NodeEvent& /*event*/) {
      const std::lock_guard lock(mutex);
      changed.notify_all();
    };
    const Subscription first = one.monitor_nodes(wake);
    const Subscription second = other.monitor_nodes(wake);
    std::unique_lock lock(mutex);
    const auto done = [&] { return lists(one, other.name()) == connected && lists(other, one.name()) == connected; };
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!done()) {
      // The event comes a moment after the list has changed, on another thread: look again soon.
      if (changed.wait_for(lock, std::chrono::milliseconds(20)) == std::cv_status::timeout &&
          std::chrono::steady_clock::now() > end) {
        return done();
      }
    }
    return true;
  }
  ScratchDirectory scratch_;
  std::map<std::string, Node> nodes_;
};

}  // namespace barrel_p2p::test
