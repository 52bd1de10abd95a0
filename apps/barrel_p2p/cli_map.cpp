#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "map_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct MapArguments {
  MapCommand command;
  RemoteArguments remote;
};

CLI::App& add_operation(CLI::App& map, int& status, const std::shared_ptr<MapArguments>& arguments, const char* name,
                        const char* help, MapOperation operation) {
  auto* app = map.add_subcommand(name, help);
  app->callback([arguments, operation, &status] {
    arguments->remote.give_to(arguments->command);
    arguments->command.operation = operation;
    status = run_map_command(arguments->command, std::cout, std::cerr);
  });
  return *app;
}

}  // namespace

void add_map(CLI::App& app, int& status) {
  auto arguments = std::make_shared<MapArguments>();
  auto& command = arguments->command;
  auto* map = app.add_subcommand("map", "Read and change replicated maps, through a node that has them open");
  map->require_subcommand(1);
  map->fallthrough();
  map->footer(
      "Keys and values are Erlang terms: limit is an atom, 100 an integer, '<<\"text\">>' what C++ strings are.\n"
      "Exit status: 0 done, 1 not found or refused, 2 wrong usage, 4 cannot connect, 5 the node does not answer.\n"
      "Example: barrel_p2p map put config limit 100 --node a@127.0.0.1");
  map->add_flag("--string", command.as_text, "Take keys and values as plain text (binaries), and print them so");
  add_remote_options(*map, arguments->remote);
  const auto with_map = [&](CLI::App& operation) -> CLI::App& {
    operation.add_option("map", command.map, "Name of the map")->required()->type_name("MAP");
    return operation;
  };
  const auto with_key = [&](CLI::App& operation) -> CLI::App& {
    with_map(operation).add_option("key", command.key, "Key")->required()->type_name("KEY");
    return operation;
  };
  add_operation(*map, status, arguments, "list", "Open maps with their sizes, or the entries of one",
                MapOperation::list)
      .add_option("map", command.map, "Name of the map")
      ->type_name("MAP");
  with_key(add_operation(*map, status, arguments, "get", "Print the value of a key", MapOperation::get));
  with_key(add_operation(*map, status, arguments, "put", "Set the value of a key", MapOperation::put))
      .add_option("value", command.value, "Value")
      ->required()
      ->type_name("VALUE");
  with_key(add_operation(*map, status, arguments, "rm", "Remove a key", MapOperation::remove));
  with_map(add_operation(*map, status, arguments, "new", "Open a map on the node", MapOperation::open))
      .add_flag("--persist", command.persist, "Keep it on the disk of the node; refused if it is open in memory only");
  with_map(add_operation(*map, status, arguments, "watch", "Print changes as they happen", MapOperation::watch))
      .add_option("--count", command.count, "End after so many changes")
      ->type_name("N");
}

}  // namespace barrel_p2p::command
