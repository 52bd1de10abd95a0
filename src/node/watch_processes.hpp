// A process that watches others for the cluster thread.
#pragma once

#include <barrel_p2p/process.hpp>
#include <functional>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Monitors processes, each once, on `{watch, Pid}`, until `{unwatch, Pid}`; calls `ended` with those that end and the
/// reason, on the process.
Task<> watch_processes(Process& self, std::function<void(const Pid&, const Term&)> ended);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
