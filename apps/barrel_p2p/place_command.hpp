// `barrel_p2p place`: which node owns which keys, as one node knows it and all nodes compute it.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "remote.hpp"

namespace barrel_p2p::command {

enum class PlaceOperation : std::uint8_t {
  owner,      ///< Of a key.
  owners,     ///< Of a key: the owner and those that would be next, one a line.
  partition,  ///< Of a key.
  list,       ///< Partition and owner, one a line.
  diff,       ///< What would move if nodes came or went: partition, from, to.
};

struct PlaceCommand : RemoteOptions {
  PlaceOperation operation = PlaceOperation::owner;
  std::string key;  ///< An Erlang term as text, or plain text with --string.
  bool as_text = false;
  std::uint64_t count = 3;  ///< Of owners.
  std::vector<std::string> added;
  std::vector<std::string> removed;
};

/// Returns exit_ok, exit_failed (no members), exit_usage, exit_connect_failed or exit_not_answered.
int run_place_command(const PlaceCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
