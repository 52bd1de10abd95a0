// `barrel_p2p node`: runs one node until SIGINT or SIGTERM.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_config.hpp>
#include <functional>
#include <iosfwd>

namespace barrel_p2p::command {

/// Reads the configuration anew. Empty: there is no file to read.
using LoadConfig = std::function<Result<NodeConfig>()>;

/// Prints `NAME is ready on UDP port PORT` when others can connect, as JSON `{"ready":true,"name":...,"port":...}`.
/// Returns exit_ok after a clean stop, exit_failed
/// when the node cannot start. Takes signals of the whole process, for main only: SIGINT and SIGTERM end it, SIGHUP has
/// it read its configuration again (without a file it ends it), SIGUSR1 prints the flight record on `errors`. Tells a
/// service manager that it is ready, that it lives, and that it stops.
int run_node_command(const NodeConfig& config, const LoadConfig& load, std::ostream& output, std::ostream& errors,
                     bool json = false);

}  // namespace barrel_p2p::command
