// `barrel_p2p call`: one remote call, from a node that exists for it alone. Towards C++ and Erlang nodes.
#pragma once

#include <barrel_p2p/term.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace barrel_p2p::command {

struct CallCommand {
  static constexpr int exit_connect_failed = 4;
  static constexpr int exit_badrpc = 5;  ///< The function failed, or did not answer in time.

  std::string node;
  std::string module;
  std::string function;
  std::string arguments = "[]";  ///< A list, as Erlang text.
  std::string cookie = "barrel_p2p";
  std::filesystem::path key_dir;      ///< Empty: identities that are kept for this command, see docs.
  std::filesystem::path certificate;  ///< PEM, with `certificate_key`; empty: one that is made and kept.
  std::filesystem::path certificate_key;
  std::filesystem::path discovery_dir;  ///< Empty: ./data/discovery
  std::string at;                       ///< `host:port` of the node; empty: discovery finds it.
  std::string name;                     ///< Our own; empty: made up.
  std::chrono::milliseconds timeout{10'000};
  bool verbose = false;
};

/// Prints the result as Erlang text, one line. Returns exit_ok, exit_usage, exit_connect_failed or exit_badrpc.
int run_call_command(const CallCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
