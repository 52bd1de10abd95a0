// `barrel_p2p cp`: copies files to a node that takes files (`receive.dir`). docs/cp.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "visitor.hpp"

namespace barrel_p2p::command {

struct CpCommand : VisitorOptions {
  std::vector<std::string> paths;  ///< FILE... NODE:PATH
  bool no_clobber = false;
  bool force = false;
  bool recursive = false;
  bool quiet = false;
  bool json = false;
  std::uint64_t bytes_per_second = 0;  ///< 0: as fast as it goes.
  std::chrono::seconds retry{60};      ///< For so long without progress it is tried again. 0: not at all.
};

/// What `NODE:PATH` says.
struct CopyDestination {
  std::string node;
  std::string path;   ///< Relative, without `.` in front and without `/` at the end.
  bool into = false;  ///< It ended with `/`: a directory.
};

/// Whether this names a place on a node: there is a `:` behind a `@`, and no `/` before it.
bool is_on_a_node(std::string_view text);
/// Errors: what is wrong, for the user.
std::expected<CopyDestination, std::string> parse_destination(std::string_view text);

/// Returns exit_ok, exit_failed (something was not copied), exit_usage or exit_connect_failed. `terminal`: whether
/// `errors` is one, for a bar.
int run_cp_command(const CpCommand& command, bool terminal, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
