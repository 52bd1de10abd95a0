// The options that commands have in common: those that talk to a node, and those that work on its files.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "remote.hpp"
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
/// Of the variables that an option may be given in, the one that counts: the first one that is set.
std::string variable_of(std::initializer_list<const char*> names);
void add_visitor_options(CLI::App& app, VisitorArguments& arguments, const std::string& name_option);

/// Of commands that ask one node for something.
struct RemoteArguments {
  VisitorArguments visitor;
  std::string node;
  bool json = false;

  void give_to(RemoteOptions& options) const;
};

/// The options above with --name, --json, and --node if `node_option`.
void add_remote_options(CLI::App& app, RemoteArguments& arguments, bool node_option = true);
/// NODE as an argument, with BARREL_P2P_NODE in its place when it is left out.
void add_node_argument(CLI::App& app, RemoteArguments& arguments);
void add_json_option(CLI::App& app, bool& json);
/// Of commands that work on what a node keeps on disk: --data, with the variable of the node in its place.
void add_data_option(CLI::App& app, std::string& data);

}  // namespace barrel_p2p::command
