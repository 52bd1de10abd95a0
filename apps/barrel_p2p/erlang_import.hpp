// A directory in which an Erlang node keeps its persistent maps (`barrel_p2p_map_data_dir`), its reminders
// (`reminder_data_dir`), or both, for `barrel_p2p store import`.
#pragma once

#include <barrel_p2p/error.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "replication/erlang_log.hpp"

namespace barrel_p2p::command {

struct ErlangImport {
  std::string collection;  ///< Of the store, that it belongs into.
  replication::ErlangMap map;
  std::vector<std::string> remarks;  ///< A sentence each, of what could not be used.
};

/// All maps, by name, and the reminders. The Erlang node must not run. Errors: `not_found`: there are none; `io_error`;
/// `malformed_term`: a file's name is no atom.
Result<std::vector<ErlangImport>> read_erlang_directory(const std::filesystem::path& directory);

}  // namespace barrel_p2p::command
