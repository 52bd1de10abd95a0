// `barrel_p2p services`: processes that are registered under names, as one node knows them.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "remote.hpp"

namespace barrel_p2p::command {

enum class ServicesOperation : std::uint8_t {
  list,     ///< All of them, one a line: name, node, pid, metadata, with tabs between.
  lookup,   ///< Those of `name`.
  whereis,  ///< One of them, wherever it is: node and pid; other nodes are asked when the name is unknown.
  watch,    ///< What comes and goes.
};

struct ServicesCommand : RemoteOptions {
  ServicesOperation operation = ServicesOperation::list;
  std::string name;  ///< An Erlang term as text, or plain text with --string.
  bool as_text = false;
  std::uint64_t count = 0;  ///< Of watch: it ends after so many events; 0: it goes on.
};

/// Returns exit_ok, exit_failed (`not_found`), exit_usage, exit_connect_failed or exit_not_answered.
int run_services_command(const ServicesCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
