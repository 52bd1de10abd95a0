// `barrel_p2p leader`: who leads which roles, as one node knows it.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>

#include "remote.hpp"

namespace barrel_p2p::command {

enum class LeaderOperation : std::uint8_t {
  list,   ///< One a line: role, node, pid, fence, with tabs between. C++ nodes tell.
  show,   ///< The same of `role`. Of what an Erlang node knows the fence is missing, unless it leads itself.
  watch,  ///< The same, whenever it changes.
};

struct LeaderCommand : RemoteOptions {
  LeaderOperation operation = LeaderOperation::list;
  std::string role;  ///< An Erlang term as text, or plain text with --string.
  bool as_text = false;
  std::chrono::milliseconds period{1000};  ///< Of watch: nobody tells of changes, so it asks so often.
  std::uint64_t count = 0;                 ///< Of watch: it ends after so many lines; 0: it goes on.
};

/// Returns exit_ok, exit_failed (`no_leader`), exit_usage, exit_connect_failed or exit_not_answered.
int run_leader_command(const LeaderCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
