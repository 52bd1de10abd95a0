// How a command says what went wrong: on standard error, `barrel_p2p COMMAND: TEXT`, or with --json one object a line:
//
//   {"command":"map","status":1,"error":"..."}
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

namespace barrel_p2p::command {

struct Complaints {
  std::ostream& errors;
  std::string_view command;
  bool json = false;

  /// Returns `status`.
  int tell(int status, const std::string& text) const;
};

}  // namespace barrel_p2p::command
