// What a service tells the manager that started it: sd_notify(3), the protocol alone. Elsewhere it says nothing.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace barrel_p2p::command {

/// Sends the lines (`READY=1`) to the socket that NOTIFY_SOCKET names. False: there is none, or it does not take them.
bool notify_manager(const std::string& lines);
/// Within what time the manager wants to hear `WATCHDOG=1`; nothing: it does not.
std::optional<std::chrono::microseconds> watchdog_period();

}  // namespace barrel_p2p::command
