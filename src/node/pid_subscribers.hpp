// Processes, here or elsewhere, that subscribed to messages of the node, each until it ends. Thread safe.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/process.hpp>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// How many subscriptions remote calls have made, over all lists of a node: each costs a monitor, and a message for all
/// that is told. Thread safe.
class SubscriptionBudget {
 public:
  static constexpr std::size_t per_node_max = 1000;  ///< Of processes of one node.
  static constexpr std::size_t all_max = 10'000;     ///< Of all nodes.

  bool take(const Atom& node);
  void give_back(const Atom& node);

 private:
  std::mutex mutex_;
  std::size_t all_ = 0;
  std::unordered_map<Atom, std::size_t> of_;
};

class PidSubscribers {
 public:
  /// The system must outlive it.
  PidSubscribers(process::System& system, std::shared_ptr<SubscriptionBudget> budget)
      : system_(system), list_(std::make_shared<List>(system, std::move(budget))) {}

  /// A second time is the same as once. From its return on the process gets what is told.
  void add(const Pid& pid);
  /// The same for who asks by a remote call. Error: `limit_exceeded`, by the budget.
  Result<void> add_for_peer(const Pid& pid);
  void remove(const Pid& pid);
  [[nodiscard]] bool empty() const;
  /// Does not wait: a subscriber on a node whose queue is full misses the message, and so do those of that node that
  /// would have been next.
  void tell(const Term& message);

 private:
  struct Subscriber {
    Ref watch;
    bool counted = false;  ///< By the budget.
  };
  struct NodeFirst {
    bool operator()(const Pid& left, const Pid& right) const noexcept {
      return left.node == right.node ? left < right : left.node < right.node;
    }
  };
  struct List {
    using Map = std::map<Pid, Subscriber, NodeFirst>;
    using Place = Map::iterator;
    List(process::System& at, std::shared_ptr<SubscriptionBudget> shared) : system(at), budget(std::move(shared)) {}
    ~List();
    List(const List&) = delete;
    List& operator=(const List&) = delete;

    // With `mutex` locked.
    void erase(Place place);

    process::System& system;
    const std::shared_ptr<SubscriptionBudget> budget;
    std::mutex mutex;
    Map subscribers;
    std::shared_ptr<const std::vector<Pid>> told;  ///< Their pids, in order; empty after a change.
    Pid watcher;                                   ///< Runs while there are subscribers.
  };
  /// With the list locked.
  void insert(const Pid& pid, bool counted);

  process::System& system_;
  const std::shared_ptr<List> list_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
