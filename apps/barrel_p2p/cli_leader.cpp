#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "leader_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct LeaderArguments {
  LeaderCommand command;
  RemoteArguments remote;
  std::int64_t period = 1000;  ///< Milliseconds.
};

CLI::App& add_operation(CLI::App& leader, int& status, const std::shared_ptr<LeaderArguments>& arguments,
                        const char* name, const char* help, LeaderOperation operation) {
  auto* app = leader.add_subcommand(name, help);
  app->callback([arguments, operation, &status] {
    arguments->remote.give_to(arguments->command);
    arguments->command.operation = operation;
    arguments->command.period = std::chrono::milliseconds(arguments->period);
    status = run_leader_command(arguments->command, std::cout, std::cerr);
  });
  return *app;
}

}  // namespace

void add_leader(CLI::App& app, int& status) {
  auto arguments = std::make_shared<LeaderArguments>();
  auto& command = arguments->command;
  auto* leader = app.add_subcommand("leader", "Who leads, and with which fence");
  leader->require_subcommand(1);
  leader->fallthrough();
  leader->footer(
      "A line has role, node, pid and fence. The fence is the greatest one that is known of the role.\n"
      "Exit status: 0 printed, 1 nobody leads, 2 wrong usage, 4 cannot connect, 5 the node does not answer, or does\n"
      "not tell.\n"
      "Example: barrel_p2p leader show scheduler --node a@127.0.0.1");
  leader->add_flag("--string", command.as_text, "Take the role as plain text (a binary)");
  add_remote_options(*leader, arguments->remote);
  add_operation(*leader, status, arguments, "list", "All roles for which somebody campaigns", LeaderOperation::list);
  add_operation(*leader, status, arguments, "show", "The leader of one role", LeaderOperation::show)
      .add_option("role", command.role, "Role, an Erlang term")
      ->required()
      ->type_name("ROLE");
  auto& watch = add_operation(*leader, status, arguments, "watch", "Print the leader whenever it changes",
                              LeaderOperation::watch);
  watch.add_option("role", command.role, "Role, an Erlang term")->required()->type_name("ROLE");
  watch.add_option("--every", arguments->period, "Ask so often; 1000 by default")
      ->check(CLI::Range(10, 3'600'000))
      ->type_name("MILLISECONDS");
  watch.add_option("--count", command.count, "End after so many lines")->type_name("N");
}

}  // namespace barrel_p2p::command
