// A process that watches others for the cluster thread.
#pragma once

#include <barrel_p2p/process.hpp>
#include <functional>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Monitors processes, each once, from the first `{watch, Pid}` until there were as many `{unwatch, Pid}`; calls
/// `ended` with those that end and the reason, on the process. With its end all that watched a process have done so.
Task<> watch_processes(Process& self, std::function<void(const Pid&, const Term&)> ended);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
