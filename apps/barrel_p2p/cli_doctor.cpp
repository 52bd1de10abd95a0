#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "doctor_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {

void add_doctor(CLI::App& app, int& status) {
  struct Options {
    DoctorCommand command;
    RemoteArguments remote;
    std::uint16_t port = 0;
  };
  auto options = std::make_shared<Options>();
  options->remote.visitor.timeout = 3000;
  auto& command = options->command;
  auto* doctor = app.add_subcommand("doctor", "Look for what is wrong on this machine, and say what mends it");
  doctor->footer(
      "Looks at the configuration (file and environment), the UDP port, UDP buffers, modes and owners of key files, "
      "the\n"
      "certificate, the disk, the store, and compares clocks and versions with nodes that run. Changes nothing.\n"
      "Exit status: 0 nothing keeps a node from working (there may be warnings), 1 there is a problem, 2 wrong usage.\n"
      "Example: barrel_p2p doctor --config /etc/barrel_p2p/barrel_p2p.toml");
  doctor->add_option("nodes", command.nodes, "Nodes to compare with; those in the discovery directory by default")
      ->type_name("NODE");
  doctor->add_option("--config", command.config_file, "TOML file of the node")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  doctor->add_option("--data", command.data, "Data directory of the node, in place of the configured one")
      ->type_name("DIR");
  auto* port = doctor->add_option("--port", options->port, "UDP port, in place of the configured one");
  port->check(CLI::Range(0, 65'535))->type_name("PORT");
  doctor->add_flag("--local", command.local, "Talk to no node");
  add_remote_options(*doctor, options->remote, false);
  doctor->callback([options, port, &status] {
    options->remote.give_to(options->command);
    options->command.environment = process_environment();
    if (port->count() > 0) options->command.port = options->port;
    status = run_doctor_command(options->command, std::cout, std::cerr);
  });
}

}  // namespace barrel_p2p::command
