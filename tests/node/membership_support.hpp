// What tests of the cluster wait for: events of the overlay, and conditions over the views of many nodes.
#pragma once

#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "node/node_support.hpp"

namespace barrel_p2p::test {

/// What a node's overlay told, one text an event: `up b@h`, `down b@h nodedown`, `dialing b@h`, `failed b@h
/// unreachable`, `left`.
class MembershipLog : public Lines {
 public:
  explicit MembershipLog(Node& node)
      : subscription_(node.subscribe([this](const MembershipEvent& event) { note(text(event)); })) {}

  /// All events so far, those of dialing too, which `next` does not give.
  std::vector<std::string> all() {
    const std::lock_guard lock(mutex_);
    return all_;
  }

 private:
  static std::string text(const MembershipEvent& event) {
    const std::string node = event.node.string();
    switch (event.kind) {
      case MembershipEvent::Kind::dialing: return "dialing " + node;
      case MembershipEvent::Kind::up: return "up " + node;
      case MembershipEvent::Kind::down: return "down " + node + " " + event.reason;
      case MembershipEvent::Kind::connect_failed: return "failed " + node + " " + std::string(name(event.error.code()));
      case MembershipEvent::Kind::left: return "left";
    }
    return "";
  }
  void note(const std::string& line) {
    {
      const std::lock_guard lock(mutex_);
      all_.push_back(line);
    }
    if (!line.starts_with("dialing")) add(line);
  }

  std::mutex mutex_;
  std::vector<std::string> all_;
  Subscription subscription_;  ///< The first to go.
};

/// Stamps of two nodes that do not hear of each other are ordered by their milliseconds, and within one by who counted
/// further: what is to be written later has a later one.
inline void wait_for_a_later_stamp() {
  const auto later = std::chrono::system_clock::now() + std::chrono::milliseconds(5);
  while (std::chrono::system_clock::now() < later) std::this_thread::yield();
}

/// Waits until the condition holds, looking at it after each event of one of the nodes.
inline bool eventually(const std::vector<Node*>& nodes, const std::function<bool()>& condition,
                       std::chrono::seconds limit = patience) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Subscription> subscriptions;
  for (Node* node : nodes) {
    subscriptions.push_back(node->subscribe([&](const MembershipEvent& /*event*/) {
      const std::lock_guard lock(mutex);
      changed.notify_all();
    }));
  }
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return condition();
    // Changes that are no events, of the passive view for instance, are seen a moment later.
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::milliseconds(20));
  }
  return true;
}

inline bool lists(const std::vector<NodeName>& view, const NodeName& node) {
  return std::ranges::find(view, node) != view.end();
}

/// Each node that lists another is listed by it, and from the first one all can be reached.
inline bool one_component(const std::vector<Node*>& nodes) {
  std::map<std::string, Node*> by_name;
  for (Node* node : nodes) by_name.emplace(node->name().string(), node);
  for (const Node* node : nodes) {
    for (const auto& other : node->active_view()) {
      const auto found = by_name.find(other.string());
      if (found == by_name.end() || !lists(found->second->active_view(), node->name())) return false;
    }
  }
  std::set<std::string> reached{nodes.front()->name().string()};
  std::vector<std::string> next(reached.begin(), reached.end());
  while (!next.empty()) {
    const auto view = by_name.at(next.back())->active_view();
    next.pop_back();
    for (const auto& other : view) {
      if (reached.insert(other.string()).second) next.push_back(other.string());
    }
  }
  return reached.size() == nodes.size();
}

/// Counts broadcasts of one tag.
class Inbox {
 public:
  Inbox(Node& node, const Term& tag)
      : subscription_(node.subscribe_broadcast(tag, [this](const Term& payload) {
          const std::lock_guard lock(mutex_);
          counts_[to_text(payload)] += 1;
          added_.notify_all();
        })) {}
  bool await(const Term& payload, std::chrono::seconds limit = patience) {
    std::unique_lock lock(mutex_);
    return added_.wait_for(lock, limit, [&] { return counts_.contains(to_text(payload)); });
  }
  int count(const Term& payload) {
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(to_text(payload));
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  std::mutex mutex_;
  std::condition_variable added_;
  std::map<std::string, int> counts_;
  Subscription subscription_;  ///< The first to go.
};

/// A process that keeps what it is sent.
class Collector {
 public:
  explicit Collector(Node& node)
      : pid(node.spawn([messages = messages_](Process& self) -> Task<> {
          for (;;) {
            const Term message = co_await self.receive();
            messages->add(to_text(message));
          }
        })) {}
  std::string next(std::chrono::seconds limit = patience) { return messages_->next(limit); }

 private:
  std::shared_ptr<Lines> messages_ = std::make_shared<Lines>();

 public:
  const Pid pid;
};

}  // namespace barrel_p2p::test
