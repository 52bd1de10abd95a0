// `barrel_p2p node`: runs one node until SIGINT or SIGTERM.
#pragma once

#include <barrel_p2p/node_config.hpp>
#include <iosfwd>

namespace barrel_p2p::command {

/// Prints `NAME is ready on UDP port PORT` when others can connect. Returns exit_ok after a clean stop, exit_failed
/// when the node cannot start. Takes SIGINT and SIGTERM of the whole process: for main only.
int run_node_command(const NodeConfig& config, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
