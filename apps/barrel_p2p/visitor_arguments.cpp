#include "visitor_arguments.hpp"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>

namespace barrel_p2p::command {

void VisitorArguments::give_to(VisitorOptions& options) const {
  options = given;
  options.certificate = certificate;
  options.certificate_key = certificate_key;
  options.key_dir = key_dir;
  options.discovery_dir = discovery_dir;
  options.timeout = std::chrono::milliseconds(timeout);
}

std::string variable_of(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return name;
  }
  return *names.begin();
}

void add_visitor_options(CLI::App& app, VisitorArguments& arguments, const std::string& name_option) {
  app.add_option("-c,--cookie", arguments.given.cookie,
                 "Secret that all nodes share; better give it in BARREL_P2P_COOKIE")
      ->envname(variable_of({"BARREL_P2P_COOKIE", "BARREL_P2P_DIST_COOKIE"}))
      ->type_name("COOKIE");
  app.add_option("--key-dir", arguments.key_dir, "Identity to use, instead of one that is kept for calls")
      ->envname("BARREL_P2P_KEY_DIR")
      ->type_name("DIR");
  app.add_option("--cert", arguments.certificate, "Certificate for TLS (PEM), instead of one that is kept for calls")
      ->envname(variable_of({"BARREL_P2P_CERT", "BARREL_P2P_CERT_FILE"}))
      ->type_name("FILE");
  app.add_option("--key", arguments.certificate_key, "Private key of the certificate (PEM)")
      ->envname(variable_of({"BARREL_P2P_KEY", "BARREL_P2P_KEY_FILE"}))
      ->type_name("FILE");
  app.add_option("--discovery-dir", arguments.discovery_dir, "Directory of endpoint files; data/discovery by default")
      ->envname(variable_of({"BARREL_P2P_DISC_DIR", "BARREL_P2P_DISCOVERY_DIR"}))
      ->type_name("DIR");
  app.add_option("--at", arguments.given.at, "Where the node is, instead of asking the discovery")
      ->type_name("HOST:PORT");
  app.add_option(name_option, arguments.given.name, "Name to go by; made up by default")->type_name("NAME@HOST");
  app.add_option("-t,--timeout", arguments.timeout, "Limit for connecting and for an answer, each; 10000 by default")
      ->check(CLI::Range(1, 86'400'000))
      ->type_name("MILLISECONDS");
  app.add_flag("-v,--verbose", arguments.given.verbose, "Log to standard error");
}

void RemoteArguments::give_to(RemoteOptions& options) const {
  visitor.give_to(options);
  options.node = node;
  options.json = json;
}

void add_json_option(CLI::App& app, bool& json) {
  app.add_flag("--json", json, "Print JSON; errors too, on standard error");
}

void add_data_option(CLI::App& app, std::string& data) {
  app.add_option("--data", data, "Data directory of the node; ./data by default")
      ->envname("BARREL_P2P_DATA_DIR")
      ->type_name("DIR");
}

void add_node_argument(CLI::App& app, RemoteArguments& arguments) {
  app.add_option("node", arguments.node, "Name of the node; the only one in the discovery directory by default")
      ->envname("BARREL_P2P_NODE")
      ->type_name("NODE");
}

void add_remote_options(CLI::App& app, RemoteArguments& arguments, bool node_option) {
  if (node_option) {
    app.add_option("-N,--node", arguments.node, "Node to ask; the only one in the discovery directory by default")
        ->envname("BARREL_P2P_NODE")
        ->type_name("NODE");
  }
  add_json_option(app, arguments.json);
  add_visitor_options(app, arguments.visitor, "--name");
}

}  // namespace barrel_p2p::command
