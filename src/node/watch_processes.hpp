// Processes that are watched for the cluster thread.
#pragma once

#include <barrel_p2p/process.hpp>
#include <cstddef>
#include <functional>
#include <unordered_map>

#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Monitors processes, each once, from the first `watch` until there were as many `unwatch`. The end of a process ends
/// all its watches. Only the node itself watches: no message of a process or a node has a part in it. All but `start`
/// on the cluster thread.
class WatchedProcesses {
 public:
  using Post = std::function<void(std::function<void()>)>;
  using Ended = std::function<void(const Pid&, const Term&)>;

  /// `post`, from any thread, runs work on the cluster thread, where `ended` hears of each end and its reason. The
  /// system must outlive it, and its processes must have been stopped before it goes.
  WatchedProcesses(process::System& system, Post post, Ended ended);

  /// After the system was started. Returns the process that watches.
  const Pid& start();
  void watch(const Pid& pid);
  void unwatch(const Pid& pid);
  [[nodiscard]] const Pid& watcher() const noexcept { return watcher_; }

 private:
  struct Watched {
    Ref watch;
    std::size_t count = 0;
  };
  void take(const Ref& watch, const Pid& pid, const Term& reason);

  process::System& system_;
  const Post post_;
  const Ended ended_;
  Pid watcher_;
  std::unordered_map<Pid, Watched> watched_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
