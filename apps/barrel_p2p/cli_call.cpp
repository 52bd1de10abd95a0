#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>

#include "call_command.hpp"
#include "command_line.hpp"

namespace barrel_p2p::command {

void add_call(CLI::App& app, int& status) {
  struct Options {
    CallCommand command;
    std::string certificate;
    std::string certificate_key;
    std::string key_dir;
    std::string discovery_dir;
    std::int64_t timeout = 10'000;
  };
  auto options = std::make_shared<Options>();
  auto& command = options->command;
  auto* call = app.add_subcommand("call", "Call a function on a node, C++ or Erlang, and print its result");
  call->footer(
      "Exit status: 0 result printed, 2 wrong usage, 4 cannot connect, 5 the function failed or did not answer.\n"
      "Example: barrel_p2p call a@127.0.0.1 erlang node --discovery-dir /var/lib/barrel_p2p/discovery");
  call->add_option("node", command.node, "Name of the node")->required()->type_name("NODE");
  call->add_option("module", command.module, "Module")->required()->type_name("MODULE");
  call->add_option("function", command.function, "Function")->required()->type_name("FUNCTION");
  call->add_option("args", command.arguments, "Arguments as an Erlang list, [] by default")->type_name("ARGS");
  call->add_option("-c,--cookie", command.cookie, "Secret that all nodes share; better give it in BARREL_P2P_COOKIE")
      ->envname("BARREL_P2P_COOKIE")
      ->type_name("COOKIE");
  call->add_option("--key-dir", options->key_dir, "Identity to use, instead of one that is kept for calls")
      ->envname("BARREL_P2P_KEY_DIR")
      ->type_name("DIR");
  call->add_option("--cert", options->certificate, "Certificate for TLS (PEM), instead of one that is kept for calls")
      ->envname("BARREL_P2P_CERT")
      ->type_name("FILE");
  call->add_option("--key", options->certificate_key, "Private key of the certificate (PEM)")
      ->envname("BARREL_P2P_KEY")
      ->type_name("FILE");
  call->add_option("--discovery-dir", options->discovery_dir, "Directory of endpoint files; data/discovery by default")
      ->envname("BARREL_P2P_DISC_DIR")
      ->type_name("DIR");
  call->add_option("--at", command.at, "Where the node is, instead of asking the discovery")->type_name("HOST:PORT");
  call->add_option("-n,--name", command.name, "Name to go by; made up by default")->type_name("NAME@HOST");
  call->add_option("-t,--timeout", options->timeout, "Limit for connecting and for the answer, each; 10000 by default")
      ->check(CLI::Range(1, 86'400'000))
      ->type_name("MILLISECONDS");
  call->add_flag("-v,--verbose", command.verbose, "Log to standard error");
  call->callback([options, &status] {
    options->command.certificate = options->certificate;
    options->command.certificate_key = options->certificate_key;
    options->command.key_dir = options->key_dir;
    options->command.discovery_dir = options->discovery_dir;
    options->command.timeout = std::chrono::milliseconds(options->timeout);
    status = run_call_command(options->command, std::cout, std::cerr);
  });
}

}  // namespace barrel_p2p::command
