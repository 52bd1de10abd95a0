#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "services_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct ServicesArguments {
  ServicesCommand command;
  RemoteArguments remote;
};

CLI::App& add_operation(CLI::App& services, int& status, const std::shared_ptr<ServicesArguments>& arguments,
                        const char* name, const char* help, ServicesOperation operation) {
  auto* app = services.add_subcommand(name, help);
  app->callback([arguments, operation, &status] {
    arguments->remote.give_to(arguments->command);
    arguments->command.operation = operation;
    status = run_services_command(arguments->command, std::cout, std::cerr);
  });
  return *app;
}

}  // namespace

void add_services(CLI::App& app, int& status) {
  auto arguments = std::make_shared<ServicesArguments>();
  auto& command = arguments->command;
  auto* services = app.add_subcommand("services", "Processes that are registered under names");
  services->require_subcommand(1);
  services->fallthrough();
  services->footer(
      "Exit status: 0 printed, 1 not found, 2 wrong usage, 4 cannot connect, 5 the node does not answer.\n"
      "Example: barrel_p2p services lookup kv --node a@127.0.0.1");
  services->add_flag("--string", command.as_text, "Take the name as plain text (a binary)");
  add_remote_options(*services, arguments->remote);
  add_operation(*services, status, arguments, "list", "Name, node, pid and metadata of all", ServicesOperation::list);
  add_operation(*services, status, arguments, "lookup", "The same of one name", ServicesOperation::lookup)
      .add_option("name", command.name, "Name of the service, an Erlang term")
      ->required()
      ->type_name("NAME");
  add_operation(*services, status, arguments, "whereis", "Node and pid of one process with this name",
                ServicesOperation::whereis)
      .add_option("name", command.name, "Name of the service, an Erlang term")
      ->required()
      ->type_name("NAME");
  add_operation(*services, status, arguments, "watch", "Print what is registered and what goes",
                ServicesOperation::watch)
      .add_option("--count", command.count, "End after so many events")
      ->type_name("N");
}

}  // namespace barrel_p2p::command
