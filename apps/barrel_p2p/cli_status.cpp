#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "status_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {

void add_status(CLI::App& app, int& status) {
  auto arguments = std::make_shared<RemoteArguments>();
  auto* command = app.add_subcommand("status", "What a node knows: views, members, services, leaders, maps, peers");
  command->footer(
      "C++ and Erlang nodes alike; what a node does not tell is named. `loss` is about the part of the bytes that had\n"
      "to be sent again.\n"
      "Exit status: 0 printed, 2 wrong usage, 4 cannot connect, 5 the node does not answer.\n"
      "Example: barrel_p2p status a@127.0.0.1 --discovery-dir /run/barrel_p2p");
  add_node_argument(*command, *arguments);
  add_remote_options(*command, *arguments, false);
  command->callback([arguments, &status] {
    StatusCommand given;
    arguments->give_to(given);
    status = run_status_command(given, std::cout, std::cerr);
  });
}

}  // namespace barrel_p2p::command
