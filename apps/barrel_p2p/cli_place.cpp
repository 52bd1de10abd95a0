#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "place_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct PlaceArguments {
  PlaceCommand command;
  RemoteArguments remote;
};

CLI::App& add_operation(CLI::App& place, int& status, const std::shared_ptr<PlaceArguments>& arguments,
                        const char* name, const char* help, PlaceOperation operation) {
  auto* app = place.add_subcommand(name, help);
  app->callback([arguments, operation, &status] {
    arguments->remote.give_to(arguments->command);
    arguments->command.operation = operation;
    status = run_place_command(arguments->command, std::cout, std::cerr);
  });
  return *app;
}

}  // namespace

void add_place(CLI::App& app, int& status) {
  auto arguments = std::make_shared<PlaceArguments>();
  auto& command = arguments->command;
  auto* place = app.add_subcommand("place", "Which node owns which keys");
  place->require_subcommand(1);
  place->fallthrough();
  place->footer(
      "Exit status: 0 printed, 1 nobody owns anything, 2 wrong usage, 4 cannot connect, 5 the node does not answer.\n"
      "Example: barrel_p2p place diff --remove c@127.0.0.1 --node a@127.0.0.1");
  place->add_flag("--string", command.as_text, "Take the key as plain text (a binary)");
  add_remote_options(*place, arguments->remote);
  const auto with_key = [&](CLI::App& operation) -> CLI::App& {
    operation.add_option("key", command.key, "Key, an Erlang term")->required()->type_name("KEY");
    return operation;
  };
  with_key(add_operation(*place, status, arguments, "owner", "The node that owns a key", PlaceOperation::owner));
  with_key(add_operation(*place, status, arguments, "owners", "The owner, and those that would be next",
                         PlaceOperation::owners))
      .add_option("--count", command.count, "So many; 3 by default")
      ->check(CLI::Range(1, 1'000'000))
      ->type_name("N");
  with_key(add_operation(*place, status, arguments, "partition", "The number of the partition of a key",
                         PlaceOperation::partition));
  add_operation(*place, status, arguments, "list", "All partitions with their owners", PlaceOperation::list);
  auto& diff =
      add_operation(*place, status, arguments, "diff", "What would move if nodes came or went", PlaceOperation::diff);
  diff.add_option("--add", command.added, "A node that comes; may be given more than once")
      ->allow_extra_args(false)
      ->type_name("NODE");
  diff.add_option("--remove", command.removed, "A node that goes; may be given more than once")
      ->allow_extra_args(false)
      ->type_name("NODE");
}

}  // namespace barrel_p2p::command
