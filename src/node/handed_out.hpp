// Processes of other nodes that lookups handed out, and whether they are known to have ended: services::PidLiveness for
// readers on any thread. Finding out about a process that was handed out before takes one lock that readers share.
#pragma once

#include <barrel_p2p/process.hpp>
#include <functional>

#include "node/concurrent_table.hpp"
#include "node/watch_processes.hpp"
#include "process/system.hpp"
#include "services/pid_liveness.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

class HandedOut {
 public:
  /// `post` runs work on the cluster thread. The system must outlive it.
  HandedOut(process::System& system, std::function<void(std::function<void()>)> post);

  /// After the system was started.
  void start();

  // Any thread.
  [[nodiscard]] bool has_ended(const Pid& pid) const;
  /// From now on it is watched.
  void use(const Pid& pid);

  // Cluster thread.
  void tick(const services::Now& now);
  [[nodiscard]] MonotonicTime deadline() const noexcept { return liveness_.deadline(); }

 private:
  void carry_out();

  process::System& system_;
  const std::function<void(std::function<void()>)> post_;
  services::PidLiveness liveness_;
  services::Effects effects_;
  ConcurrentTable<Pid, bool> ended_;  ///< Of all that are watched or have ended.
  WatchedProcesses watched_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
