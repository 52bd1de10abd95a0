#include "node/pid_subscribers.hpp"

#include <utility>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

void PidSubscribers::add(const Pid& pid) {
  const std::lock_guard lock(list_->mutex);
  if (list_->watchers.contains(pid)) return;
  const auto watcher = system_.spawn([pid, list = std::weak_ptr<List>(list_)](Process& self) -> Task<> {
    const Ref monitor = self.monitor(pid);
    for (bool over = false; !over;) {
      const Term message = co_await self.receive();
      over = message.is_tagged("DOWN", 5) && message[1] == Term(monitor);
    }
    const auto all = list.lock();
    if (!all) co_return;
    const std::lock_guard locked(all->mutex);
    const auto found = all->watchers.find(pid);
    if (found != all->watchers.end() && found->second == self.pid()) all->watchers.erase(found);
  });
  list_->watchers.emplace(pid, watcher);
}

void PidSubscribers::remove(const Pid& pid) {
  const std::lock_guard lock(list_->mutex);
  const auto found = list_->watchers.find(pid);
  if (found == list_->watchers.end()) return;
  system_.exit(found->second, Atom("kill"));
  list_->watchers.erase(found);
}

bool PidSubscribers::empty() const {
  const std::lock_guard lock(list_->mutex);
  return list_->watchers.empty();
}

void PidSubscribers::tell(const Term& message) {
  std::vector<Pid> pids;
  {
    const std::lock_guard lock(list_->mutex);
    pids.reserve(list_->watchers.size());
    for (const auto& [pid, watcher] : list_->watchers) pids.push_back(pid);
  }
  for (const auto& pid : pids) {
    if (!system_.send(pid, message)) continue;  // the system counted it
  }
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
