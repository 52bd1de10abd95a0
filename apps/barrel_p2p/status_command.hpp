// `barrel_p2p status`: what a node knows of itself and of its cluster. C++ and Erlang nodes alike.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "node_state.hpp"
#include "remote.hpp"

namespace barrel_p2p::command {

struct StatusCommand : RemoteOptions {};

/// For people, one section after the other.
std::vector<std::string> status_lines(const NodeState& state);

/// Returns exit_ok, exit_usage, exit_connect_failed or exit_not_answered.
int run_status_command(const StatusCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
