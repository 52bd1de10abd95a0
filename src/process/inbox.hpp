// The signals that wait for a process: any thread pushes, the worker that runs the process takes all at once.
//
// One word: empty and parked, empty and about to be looked at, a list (newest first), or closed. So a process that is
// parked costs one wake-up for any number of signals, and nobody can push to a process that has ended.
#pragma once

#include <atomic>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>

#include "base/recycler.hpp"
#include "distribution/control.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

/// The channel to a node ended: everything older than `generation` is gone with it.
struct NodeGone {
  Atom node;
  std::uint64_t generation = 0;
};
struct TimerFired {
  std::uint64_t id = 0;
};
/// A node that this process waits for takes signals again.
struct Writable {};
struct Start {};
struct Stop {};
/// For a process of `System::spawn_watcher`. No message is one.
struct Watch {
  Ref watch;
  Pid pid;
};
struct Unwatch {
  Ref watch;
};

/// What lies in an inbox: a Message or an Event.
struct Node {
  Node* next = nullptr;
  std::size_t bytes = 0;  ///< Counted against the bound of the mailbox; only what came from other nodes.
  const bool is_message;

 protected:
  explicit Node(bool message) noexcept : is_message(message) {}
  ~Node() = default;
};

/// A message that needs no decoding.
struct Message final : Node, Recycled {
  Term term;
  explicit Message(Term&& content) noexcept : Node(true), term(std::move(content)) {}
};

struct Event final : Node, Recycled {
  std::variant<distribution::Signal, NodeGone, TimerFired, Writable, Start, Stop, Watch, Unwatch> what;
  Atom node;                ///< Where a signal came from; empty for local ones.
  std::uint64_t epoch = 0;  ///< Of the channel that a signal came on.
  explicit Event(distribution::Signal&& signal) : Node(false), what(std::move(signal)) {}
  /// What came on a channel.
  Event(distribution::Signal&& signal, std::size_t signal_bytes, Atom from, std::uint64_t channel)
      : Node(false), what(std::move(signal)), node(std::move(from)), epoch(channel) {
    bytes = signal_bytes;
  }
  explicit Event(NodeGone gone) : Node(false), what(std::move(gone)) {}
  explicit Event(TimerFired fired) : Node(false), what(fired) {}
  explicit Event(Writable writable) : Node(false), what(writable) {}
  explicit Event(Start start) : Node(false), what(start) {}
  explicit Event(Stop stop) : Node(false), what(stop) {}
  explicit Event(Watch watch) : Node(false), what(std::move(watch)) {}
  explicit Event(Unwatch unwatch) : Node(false), what(std::move(unwatch)) {}
};

inline void destroy(Node* node) noexcept {
  if (node->is_message) {
    delete static_cast<Message*>(node);
  } else {
    delete static_cast<Event*>(node);
  }
}
inline void destroy_list(Node* list) noexcept {
  while (list != nullptr) destroy(std::exchange(list, list->next));
}

/// Nodes for one process, that reach it at once.
class Chain {
 public:
  Chain() = default;
  ~Chain() { destroy_list(newest_); }
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  void add(Node* node) noexcept {
    if (oldest_ == nullptr) oldest_ = node;
    node->next = std::exchange(newest_, node);
  }

 private:
  friend class Inbox;
  Node* newest_ = nullptr;
  Node* oldest_ = nullptr;
};

class Inbox {
 public:
  Inbox() noexcept : head_(parked()) {}
  ~Inbox() { destroy_list(close()); }
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  enum class Pushed : std::uint8_t { queued, wake, closed };
  /// `wake`: the process was parked, schedule it. `closed`: the node still belongs to the caller.
  Pushed push(Node* node) noexcept { return push(node, node); }
  /// All of them, and at least one; they stay in the chain when it is `closed`.
  Pushed push(Chain& chain) noexcept {
    const Pushed pushed = push(chain.newest_, chain.oldest_);
    if (pushed == Pushed::closed) {
      chain.oldest_->next = nullptr;
    } else {
      chain.newest_ = chain.oldest_ = nullptr;
    }
    return pushed;
  }

  // The worker that runs the process.
  /// Everything, the oldest first.
  Node* take() noexcept { return in_order(head_.exchange(nullptr, std::memory_order_acq_rel)); }
  /// True: nothing is there, and the next push wakes.
  bool park() noexcept {
    Node* empty = nullptr;
    return head_.compare_exchange_strong(empty, parked(), std::memory_order_acq_rel);
  }
  Node* close() noexcept { return in_order(head_.exchange(closed(), std::memory_order_acq_rel)); }

 private:
  Pushed push(Node* newest, Node* oldest) noexcept {
    Node* head = head_.load(std::memory_order_acquire);
    do {
      if (head == closed()) return Pushed::closed;
      oldest->next = head == parked() ? nullptr : head;
    } while (!head_.compare_exchange_weak(head, newest, std::memory_order_acq_rel, std::memory_order_acquire));
    return head == parked() ? Pushed::wake : Pushed::queued;
  }
  static Node* parked() noexcept { return reinterpret_cast<Node*>(&marks[0]); }
  static Node* closed() noexcept { return reinterpret_cast<Node*>(&marks[1]); }
  static Node* in_order(Node* list) noexcept {
    if (list == parked() || list == closed()) return nullptr;
    Node* ordered = nullptr;
    while (list != nullptr) {
      Node* next = list->next;
      list->next = ordered;
      ordered = std::exchange(list, next);
    }
    return ordered;
  }

  static inline std::uint64_t marks[2]{};
  std::atomic<Node*> head_;
};

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
