// Processes, here or elsewhere, that subscribed to messages of the node. Each is monitored by a small process and taken
// off the list when it ends. Thread safe.
#pragma once

#include <barrel_p2p/process.hpp>
#include <map>
#include <memory>
#include <mutex>

#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

class PidSubscribers {
 public:
  /// The system must outlive it.
  explicit PidSubscribers(process::System& system) : system_(system) {}

  /// A second time is the same as once. From its return on the process gets what is told.
  void add(const Pid& pid);
  void remove(const Pid& pid);
  [[nodiscard]] bool empty() const;
  /// Does not wait: a subscriber on a node whose queue is full misses the message.
  void tell(const Term& message);

 private:
  struct List {
    std::mutex mutex;
    std::map<Pid, Pid> watchers;  ///< Of each subscriber, the process that monitors it.
  };
  process::System& system_;
  std::shared_ptr<List> list_ = std::make_shared<List>();
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
