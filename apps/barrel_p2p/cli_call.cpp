#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "call_command.hpp"
#include "command_line.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {

void add_call(CLI::App& app, int& status) {
  struct Options {
    CallCommand command;
    VisitorArguments visitor;
  };
  auto options = std::make_shared<Options>();
  auto& command = options->command;
  auto* call = app.add_subcommand("call", "Call a function on a node, C++ or Erlang, and print its result");
  call->footer(
      "Exit status: 0 result printed, 2 wrong usage, 4 cannot connect, 5 the function failed or did not answer.\n"
      "Example: barrel_p2p call a@127.0.0.1 erlang node --discovery-dir /run/barrel_p2p");
  call->add_option("node", command.node, "Name of the node")->required()->type_name("NODE");
  call->add_option("module", command.module, "Module")->required()->type_name("MODULE");
  call->add_option("function", command.function, "Function")->required()->type_name("FUNCTION");
  call->add_option("args", command.arguments, "Arguments as an Erlang list, [] by default")->type_name("ARGS");
  add_json_option(*call, command.json);
  add_visitor_options(*call, options->visitor, "-n,--name");
  call->callback([options, &status] {
    options->visitor.give_to(options->command);
    status = run_call_command(options->command, std::cout, std::cerr);
  });
}

}  // namespace barrel_p2p::command
