#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "remind_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct RemindArguments {
  RemindCommand command;
  RemoteArguments remote;
};

CLI::App& add_operation(CLI::App& remind, int& status, const std::shared_ptr<RemindArguments>& arguments,
                        const char* name, const char* help, RemindOperation operation) {
  auto* app = remind.add_subcommand(name, help);
  app->callback([arguments, operation, &status] {
    arguments->remote.give_to(arguments->command);
    arguments->command.operation = operation;
    status = run_remind_command(arguments->command, std::cout, std::cerr);
  });
  return *app;
}

}  // namespace

void add_remind(CLI::App& app, int& status) {
  auto arguments = std::make_shared<RemindArguments>();
  auto& command = arguments->command;
  auto* remind = app.add_subcommand("remind", "Durable reminders: set, cancel, list");
  remind->require_subcommand(1);
  remind->fallthrough();
  remind->footer(
      "Keys and payloads are Erlang terms. A reminder is on the disk of the node when the command ends.\n"
      "Exit status: 0 done, 1 refused, 2 wrong usage, 4 cannot connect, 5 the node does not answer, or does not tell.\n"
      "Example: barrel_p2p remind after '{invoice,17}' 2h send --node a@127.0.0.1");
  remind->add_flag("--string", command.as_text, "Take keys and payloads as plain text (binaries)");
  add_remote_options(*remind, arguments->remote);
  const auto with_key = [&](CLI::App& operation) -> CLI::App& {
    operation.add_option("key", command.key, "Key, an Erlang term")->required()->type_name("KEY");
    return operation;
  };
  const auto with_payload = [&](CLI::App& operation) {
    operation.add_option("payload", command.payload, "Payload, an Erlang term; [] by default")->type_name("PAYLOAD");
  };
  auto& set = with_key(add_operation(*remind, status, arguments, "set", "Remind at a time", RemindOperation::set));
  set.add_option("time", command.when, "2026-11-28T18:00:00Z, or milliseconds since 1970")
      ->required()
      ->type_name("TIME");
  with_payload(set);
  auto& after =
      with_key(add_operation(*remind, status, arguments, "after", "Remind after a while", RemindOperation::after));
  after.add_option("delay", command.when, "500ms, 90s, 5min, 2h or 1d")->required()->type_name("DELAY");
  with_payload(after);
  with_key(add_operation(*remind, status, arguments, "cancel", "Take a reminder back", RemindOperation::cancel));
  add_operation(*remind, status, arguments, "list", "Reminders that are pending, the earliest first",
                RemindOperation::list)
      .add_option("--count", command.count, "At most so many; 100 by default, 1000 at most")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
}

}  // namespace barrel_p2p::command
