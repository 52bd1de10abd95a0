// `barrel_p2p map`: replicated maps of the cluster, through one of its nodes.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "remote.hpp"

namespace barrel_p2p::command {

enum class MapOperation : std::uint8_t {
  list,    ///< Open maps with their sizes; of `map`, its entries: key and value with a tab between.
  get,     ///< The value.
  put,     ///< Nothing is printed but with --json.
  remove,  ///< Likewise. Of a key that is not there: success.
  open,    ///< On the node that is asked: maps are opened on each node that wants them.
  watch,   ///< Changes, one a line: `put KEY VALUE`, `remove KEY`.
};

struct MapCommand : RemoteOptions {
  MapOperation operation = MapOperation::list;
  std::string map;
  std::string key;  ///< Erlang terms as text, ...
  std::string value;
  bool as_text = false;  ///< ... or, with --string, plain text; a value that is a binary is printed plain, too.
  bool persist = false;
  std::uint64_t count = 0;  ///< Of watch: it ends after so many changes; 0: it goes on.
};

/// Returns exit_ok, exit_failed (`not_found`, `no_such_map`, ...), exit_usage, exit_connect_failed or
/// exit_not_answered.
int run_map_command(const MapCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
