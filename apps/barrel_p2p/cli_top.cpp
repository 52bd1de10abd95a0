#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "top_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {

void add_top(CLI::App& app, int& status) {
  struct Options {
    TopCommand command;
    RemoteArguments remote;
    std::int64_t period = 1000;  ///< Milliseconds.
  };
  auto options = std::make_shared<Options>();
  auto* top = app.add_subcommand("top", "The same as status, live in the terminal");
  top->footer(
      "q quits; arrows, space, page keys, j, k, g and G move. Without a terminal it prints once.\n"
      "Exit status: 0 quit, 2 wrong usage, 4 cannot connect, 5 the node does not answer.");
  add_node_argument(*top, options->remote);
  top->add_option("--every", options->period, "Ask so often; 1000 by default")
      ->check(CLI::Range(100, 3'600'000))
      ->type_name("MILLISECONDS");
  top->add_flag("--once", options->command.once, "Print once, on a terminal too");
  add_remote_options(*top, options->remote, false);
  top->callback([options, &status] {
    options->remote.give_to(options->command);
    options->command.period = std::chrono::milliseconds(options->period);
    const bool terminal = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0;
    status = run_top_command(options->command, terminal ? STDIN_FILENO : -1, std::cout, std::cerr);
  });
}

}  // namespace barrel_p2p::command
