// `barrel_p2p call`: one remote call, from a node that exists for it alone. Towards C++ and Erlang nodes.
#pragma once

#include <iosfwd>
#include <string>

#include "visitor.hpp"

namespace barrel_p2p::command {

struct CallCommand : VisitorOptions {
  static constexpr int exit_badrpc = 5;  ///< The function failed, or did not answer in time.

  std::string node;
  std::string module;
  std::string function;
  std::string arguments = "[]";  ///< A list, as Erlang text.
  bool json = false;
};

/// Prints the result as Erlang text, one line; as JSON `{"node":..., "result":...}`. Returns exit_ok, exit_usage,
/// exit_connect_failed or exit_badrpc.
int run_call_command(const CallCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
