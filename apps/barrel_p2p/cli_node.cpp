#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "command_line.hpp"
#include "node_command.hpp"

namespace barrel_p2p::command {
namespace {

struct NodeOptions {
  std::string config_file;
  NodeConfig given;  ///< What the command line says; each part counts only if its option was given.
  std::string data;
  std::string discovery;
  std::string receive;
  std::string log_level;
};

int run(const CLI::App& app, const NodeOptions& options) {
  NodeConfig config;
  if (!options.config_file.empty()) {
    auto loaded = load_config(options.config_file);
    if (!loaded) {
      std::cerr << "barrel_p2p node: " << loaded.error().message() << '\n';
      return exit_usage;
    }
    config = std::move(*loaded);
  }
  if (app.count("--name") > 0) config.name = options.given.name;
  if (app.count("--port") > 0) config.port = options.given.port;
  if (app.count("--listen") > 0) config.listen = options.given.listen;
  if (app.count("--advertise") > 0) config.advertise = options.given.advertise;
  if (app.count("--data") > 0) config.data_dir = options.data;
  if (app.count("--discovery-dir") > 0) config.discovery_dir = options.discovery;
  if (app.count("--receive-dir") > 0) config.receive.dir = options.receive;
  if (app.count("--join") > 0) config.membership.contacts = options.given.membership.contacts;
  if (!options.given.cookie.empty()) config.cookie = options.given.cookie;
  if (options.log_level == "debug") config.log_level = LogLevel::debug;
  if (options.log_level == "info") config.log_level = LogLevel::info;
  if (options.log_level == "warning") config.log_level = LogLevel::warning;
  if (options.log_level == "error") config.log_level = LogLevel::error;
  if (config.name.empty()) {
    std::cerr << "barrel_p2p node: give the node a name, for instance --name a@127.0.0.1\n";
    return exit_usage;
  }
  return run_node_command(config, std::cout, std::cerr);
}

}  // namespace

void add_node(CLI::App& app, int& status) {
  auto options = std::make_shared<NodeOptions>();
  options->given.cookie.clear();
  auto* node = app.add_subcommand("node", "Run a node until SIGINT or SIGTERM");
  node->add_option("--name", options->given.name, "Name of the node: NAME@HOST")->type_name("NAME@HOST");
  node->add_option("--port", options->given.port, "UDP port; 0, the default, takes any and publishes it")
      ->type_name("PORT");
  node->add_option("--listen", options->given.listen, "Address to bind; ::, the default, takes IPv4 and IPv6")
      ->type_name("ADDRESS");
  node->add_option("--advertise", options->given.advertise,
                   "Host that others are told; the host of the name by default")
      ->type_name("HOST");
  node->add_option("--data", options->data, "Directory of keys, certificate and state; ./data by default")
      ->type_name("DIR");
  node->add_option("--discovery-dir", options->discovery, "Directory of endpoint files that nodes have in common")
      ->type_name("DIR");
  node->add_option("--receive-dir", options->receive,
                   "Take files of other nodes (barrel_p2p cp) into this directory; none are taken by default")
      ->type_name("DIR");
  node->add_option("--join", options->given.membership.contacts,
                   "A node of the cluster to join through; may be given more than once")
      ->type_name("NODE")
      ->allow_extra_args(false);
  node->add_option("--cookie", options->given.cookie,
                   "Secret that all nodes share; better give it in BARREL_P2P_COOKIE")
      ->envname("BARREL_P2P_COOKIE")
      ->type_name("COOKIE");
  node->add_option("--config", options->config_file, "TOML file; what the command line says counts more")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  node->add_option("--log-level", options->log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->type_name("LEVEL");
  node->callback([node, options, &status] { status = run(*node, *options); });
}

}  // namespace barrel_p2p::command
