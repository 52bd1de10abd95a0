#include "node/watch_processes.hpp"

#include <cstddef>
#include <unordered_map>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

Task<> watch_processes(Process& self, std::function<void(const Pid&, const Term&)> ended) {
  struct Watched {
    explicit Watched(Ref reference) : monitor(std::move(reference)) {}
    Ref monitor;
    std::size_t watches = 0;
  };
  std::unordered_map<Pid, Watched> watched;
  for (;;) {
    const Term message = co_await self.receive();
    if (message.is_tagged("watch", 2) && message[1].is_pid()) {
      const Pid pid = *message[1].as_pid();
      auto found = watched.find(pid);
      if (found == watched.end()) found = watched.try_emplace(pid, self.monitor(pid)).first;
      ++found->second.watches;
    } else if (message.is_tagged("unwatch", 2) && message[1].is_pid()) {
      const auto found = watched.find(*message[1].as_pid());
      if (found == watched.end() || --found->second.watches > 0) continue;
      self.demonitor(found->second.monitor);
      watched.erase(found);
    } else if (message.is_tagged("DOWN", 5) && message[3].is_pid()) {
      const auto found = watched.find(*message[3].as_pid());
      if (found == watched.end() || !(message[1] == Term(found->second.monitor))) continue;
      watched.erase(found);
      ended(*message[3].as_pid(), message[4]);
    }
  }
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
