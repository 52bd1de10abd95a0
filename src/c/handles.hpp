// What stands behind the handles of the C interface.
#pragma once

#include <barrel_p2p/c.h>

#include <atomic>
#include <barrel_p2p/node.hpp>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "c/support.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace c {

/// A node, and whatever its handles need as long as one of them is left.
struct NodeState {
  Node node;
  std::string name;
  std::atomic<bool> stopped = false;  ///< `barrel_p2p_stop` was called.
};
/// For what would find nobody on a node that has stopped.
inline Node& running(NodeState& state) {
  if (state.stopped) refuse(Errc::stopped, "the node has stopped");
  return state.node;
}

/// Between the process of a mailbox and the threads that receive from it. All functions may be called from any thread.
class Messages {
 public:
  /// Messages that are ready to be received, encoded. What is above waits in the mailbox of the process, where bounds
  /// and back-pressure are those of all processes.
  static constexpr std::size_t bytes_max = 1024UL * 1024;
  using Resume = std::function<void()>;

  /// Throws Refused with `io_error`: no descriptor.
  Messages();
  ~Messages();
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  /// False: the bound is reached, so that no more may come until `resume` was called, once.
  bool push(Bytes message, Resume resume);
  /// The process has ended.
  void end();
  /// Nothing: the time is over. Without a limit it waits for ever. Error: `closed`.
  Result<std::optional<Bytes>> pop(std::optional<std::chrono::milliseconds> limit);
  /// Nobody receives any more.
  void close();
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Bytes> messages_;
  std::size_t bytes_ = 0;
  Resume resume_;
  bool ended_ = false;
  bool closed_ = false;
  int fd_;  ///< An eventfd; its count is not 0 while there is something to receive, or the end.
};

}  // namespace c
}  // namespace v0
}  // namespace barrel_p2p

struct barrel_p2p_node {
  std::shared_ptr<barrel_p2p::c::NodeState> state;
};

struct barrel_p2p_mailbox {
  std::shared_ptr<barrel_p2p::c::NodeState> state;
  std::shared_ptr<barrel_p2p::c::Messages> messages;
  barrel_p2p::Pid pid;
  std::optional<barrel_p2p::Atom> name;
};

namespace barrel_p2p {
inline namespace v0 {
namespace c {

inline Node& node_of(const barrel_p2p_node* handle) { return required(handle, "node").state->node; }
inline Node& running_node_of(const barrel_p2p_node* handle) { return running(*required(handle, "node").state); }

}  // namespace c
}  // namespace v0
}  // namespace barrel_p2p
