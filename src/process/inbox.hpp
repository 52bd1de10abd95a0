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

class Inbox {
 public:
  Inbox() noexcept : head_(parked()) {}
  ~Inbox() { destroy_list(close()); }
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  enum class Pushed : std::uint8_t { queued, wake, closed };
  /// `wake`: the process was parked, schedule it. `closed`: the node still belongs to the caller.
  Pushed push(Node* node) noexcept {
    Node* head = head_.load(std::memory_order_acquire);
    do {
      if (head == closed()) return Pushed::closed;
      node->next = head == parked() ? nullptr : head;
    } while (!head_.compare_exchange_weak(head, node, std::memory_order_acq_rel, std::memory_order_acquire));
    return head == parked() ? Pushed::wake : Pushed::queued;
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
