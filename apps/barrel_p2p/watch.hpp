// Subscribing to what happens on a node, and printing it until enough came, a signal comes, or the node goes.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "complaint.hpp"
#include "remote.hpp"

namespace barrel_p2p::command {

struct Watch {
  std::string function;         ///< `barrel_p2p:FUNCTION(Arguments..., Pid)` subscribes.
  std::vector<Term> arguments;  ///< Before the pid.
  /// What is printed of a message; nothing: it is none of ours.
  std::function<std::optional<std::string>(const Term& message)> line;
  std::uint64_t count = 0;  ///< It ends after so many; 0: it goes on.
};

/// Says on standard error that from now on events are printed.
void tell_ready(const Complaints& complaints, const std::string& node);

/// Returns exit_ok after a signal or enough events, exit_failed when the connection was lost, or why it could not
/// subscribe.
int run_watch(const RemoteOptions& options, const Watch& watch, const Complaints& complaints, std::ostream& output);

}  // namespace barrel_p2p::command
