#include "node/watch_processes.hpp"

#include <unordered_map>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

Task<> watch_processes(Process& self, std::function<void(const Pid&, const Term&)> ended) {
  std::unordered_map<Pid, Ref> watched;
  for (;;) {
    const Term message = co_await self.receive();
    if (message.is_tagged("watch", 2) && message[1].is_pid()) {
      const Pid pid = *message[1].as_pid();
      if (!watched.contains(pid)) watched.emplace(pid, self.monitor(pid));
    } else if (message.is_tagged("unwatch", 2) && message[1].is_pid()) {
      const auto found = watched.find(*message[1].as_pid());
      if (found == watched.end()) continue;
      self.demonitor(found->second);
      watched.erase(found);
    } else if (message.is_tagged("DOWN", 5) && message[3].is_pid()) {
      const auto found = watched.find(*message[3].as_pid());
      if (found == watched.end() || !(message[1] == Term(found->second))) continue;
      watched.erase(found);
      ended(*message[3].as_pid(), message[4]);
    }
  }
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
