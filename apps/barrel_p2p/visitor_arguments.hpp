// The options that all commands have in common that talk to a node.
#pragma once

#include <cstdint>
#include <string>

#include "visitor.hpp"

namespace CLI {
class App;
}

namespace barrel_p2p::command {

/// What was typed. It must live until the command line has been read.
struct VisitorArguments {
  VisitorOptions given;
  std::string certificate;
  std::string certificate_key;
  std::string key_dir;
  std::string discovery_dir;
  std::int64_t timeout = 10'000;  ///< Milliseconds.

  void give_to(VisitorOptions& options) const;
};

/// `name_option`: how the option for our own name is called.
void add_visitor_options(CLI::App& app, VisitorArguments& arguments, const std::string& name_option);

}  // namespace barrel_p2p::command
