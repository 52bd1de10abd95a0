#include "node/watch_processes.hpp"

#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

WatchedProcesses::WatchedProcesses(process::System& system, Post post, Ended ended)
    : system_(system), post_(std::move(post)), ended_(std::move(ended)) {}

const Pid& WatchedProcesses::start() {
  watcher_ = system_.spawn_watcher([this](const Ref& watch, const Pid& pid, const Term& reason) {
    post_([this, watch, pid, reason] { take(watch, pid, reason); });
  });
  return watcher_;
}

void WatchedProcesses::watch(const Pid& pid) {
  const auto [found, added] = watched_.try_emplace(pid);
  if (added) found->second.watch = system_.watch(watcher_, pid);
  ++found->second.count;
}

void WatchedProcesses::unwatch(const Pid& pid) {
  const auto found = watched_.find(pid);
  if (found == watched_.end() || --found->second.count > 0) return;
  system_.unwatch(watcher_, found->second.watch);
  watched_.erase(found);
}

void WatchedProcesses::take(const Ref& watch, const Pid& pid, const Term& reason) {
  const auto found = watched_.find(pid);
  if (found == watched_.end() || !(found->second.watch == watch)) return;  // it was not wanted any more
  watched_.erase(found);
  ended_(pid, reason);
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
