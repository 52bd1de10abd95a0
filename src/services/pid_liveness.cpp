#include "services/pid_liveness.hpp"

#include <algorithm>

namespace barrel_p2p {
inline namespace v0 {
namespace services {

void PidLiveness::Aged::note(const Pid& pid, MonotonicTime now) {
  const auto found = places_.find(pid);
  if (found == places_.end()) {
    places_.emplace(pid, order_.emplace(order_.end(), pid, now));
    return;
  }
  found->second->second = now;
  order_.splice(order_.end(), order_, found->second);
}

bool PidLiveness::Aged::erase(const Pid& pid) {
  const auto found = places_.find(pid);
  if (found == places_.end()) return false;
  order_.erase(found->second);
  places_.erase(found);
  return true;
}

Pid PidLiveness::Aged::pop() {
  Pid pid = order_.front().first;
  erase(pid);
  return pid;
}

void PidLiveness::used(const Pid& pid, const Now& now, Effects& out) {
  if (pid.node == config_.own || ended_.contains(pid)) return;
  if (!watched_.contains(pid)) {
    if (watched_.size() >= config_.watched_max) out.emplace_back(Unwatch{watched_.pop()});
    out.emplace_back(Watch{pid});
  }
  watched_.note(pid, now.monotonic);
}

void PidLiveness::down(const Pid& pid, const Term& reason, const Now& now, Effects& out) {
  if (!watched_.erase(pid)) return;
  if (reason.is_atom("noconnection")) {
    out.emplace_back(Unwatch{pid});
    return;
  }
  if (ended_.size() >= config_.ended_max) out.emplace_back(Unwatch{ended_.pop()});
  ended_.note(pid, now.monotonic);
}

void PidLiveness::tick(const Now& now, Effects& out) {
  while (!watched_.empty() && watched_.oldest() + config_.unused <= now.monotonic) {
    out.emplace_back(Unwatch{watched_.pop()});
  }
  while (!ended_.empty() && ended_.oldest() + config_.ended_age <= now.monotonic) {
    out.emplace_back(Unwatch{ended_.pop()});
  }
}

MonotonicTime PidLiveness::deadline() const noexcept {
  MonotonicTime due = MonotonicTime::max();
  if (!watched_.empty()) due = watched_.oldest() + config_.unused;
  if (!ended_.empty()) due = std::min(due, ended_.oldest() + config_.ended_age);
  return due;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
