#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"
#include "node_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct NodeOptions {
  std::string config_file;
  NodeConfig given;  ///< What the command line says; each part counts only if its option was given.
  std::string data;
  std::string discovery;
  std::string receive;
  std::string log_level;
  std::uint16_t admin_port = 0;
  bool check_only = false;
  bool json = false;
};

/// The file, then the environment, then the command line, which counts most.
Result<NodeConfig> read_config(const CLI::App& app, const NodeOptions& options) {
  auto config = configuration_of(options.config_file, process_environment());
  if (!config) return config;
  if (app.count("--name") > 0) config->name = options.given.name;
  if (app.count("--port") > 0) config->port = options.given.port;
  if (app.count("--listen") > 0) config->listen = options.given.listen;
  if (app.count("--advertise") > 0) config->advertise = options.given.advertise;
  if (app.count("--data") > 0) config->data_dir = options.data;
  if (app.count("--discovery-dir") > 0) config->discovery_dir = options.discovery;
  if (app.count("--receive-dir") > 0) config->receive.dir = options.receive;
  if (app.count("--join") > 0) config->membership.contacts = options.given.membership.contacts;
  // To go on with the public default would be worse: `--cookie "$SECRET"` with an unset SECRET is most likely meant.
  if (app.count("--cookie") > 0 && options.given.cookie.empty()) {
    return fail(Errc::invalid_config, "--cookie is empty: is the variable that was to give it unset?");
  }
  if (app.count("--cookie") > 0) config->cookie = options.given.cookie;
  if (app.count("--admin-port") > 0) config->admin.port = options.admin_port;
  if (options.log_level == "debug") config->log_level = LogLevel::debug;
  if (options.log_level == "info") config->log_level = LogLevel::info;
  if (options.log_level == "warning") config->log_level = LogLevel::warning;
  if (options.log_level == "error") config->log_level = LogLevel::error;
  if (options.log_level == "off") config->log_level = LogLevel::off;
  return config;
}

int run(const CLI::App& app, const NodeOptions& options) {
  const auto config = read_config(app, options);
  const auto refuse = [complaints = Complaints{std::cerr, "node", options.json}](const std::string& why) {
    return complaints.tell(exit_usage, why);
  };
  if (!config) return refuse(config.error().message());
  if (config->name.empty()) return refuse("give the node a name, for instance --name a@127.0.0.1");
  if (options.check_only) {
    if (const auto checked = check_node(*config); !checked) return refuse(checked.error().message());
    std::cout << (options.json ? JsonObject().set("good", true).text() : "the configuration is good") << '\n';
    return exit_ok;
  }
  for (const auto& variable : unknown_variables(process_environment())) {
    std::cerr << "barrel_p2p node: warning: " << variable
              << " in the environment is no key of the configuration: docs/configuration.md lists them\n";
  }
  LoadConfig load;
  if (!options.config_file.empty()) load = [&] { return read_config(app, options); };
  return run_node_command(*config, load, std::cout, std::cerr, options.json);
}

}  // namespace

void add_node(CLI::App& app, int& status) {
  auto options = std::make_shared<NodeOptions>();
  options->given.cookie.clear();
  auto* node = app.add_subcommand("node", "Run a node until SIGINT or SIGTERM");
  node->add_option("--name", options->given.name, "Name of the node: NAME@HOST")->type_name("NAME@HOST");
  node->add_option("--port", options->given.port, "UDP port; 0, the default, takes any and publishes it")
      ->check(CLI::Range(0, 65'535))
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
                   "Secret that all nodes share; better in a file that only the node may read (dist_cookie), or in "
                   "BARREL_P2P_DIST_COOKIE or BARREL_P2P_COOKIE")
      ->type_name("COOKIE");
  node->add_option("--config", options->config_file, "TOML file; what the command line says counts more")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  node->add_option(
          "--admin-port", options->admin_port,
          "TCP port of the HTTP endpoint (health, metrics, state), on 127.0.0.1 unless the file says otherwise; "
          "0 takes any; there is none by default")
      ->check(CLI::Range(0, 65'535))
      ->type_name("PORT");
  node->add_flag("--check-config", options->check_only, "Say whether the configuration is good, and start nothing");
  node->add_option("--log-level", options->log_level, "debug, info, warning, error or off")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
      ->type_name("LEVEL");
  add_json_option(*node, options->json);
  node->callback([node, options, &status] { status = run(*node, *options); });
}

}  // namespace barrel_p2p::command
