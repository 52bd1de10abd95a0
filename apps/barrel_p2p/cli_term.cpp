#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "term_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

void add_operation(CLI::App& term, int& status, const char* name, const char* help, TermOperation operation) {
  auto command = std::make_shared<TermCommand>();
  command->operation = operation;
  auto* app = term.add_subcommand(name, help);
  if (operation == TermOperation::phash2) {
    app->add_option("--range", command->range, "Hash into 0..N-1; N is 1 to 2^32, 2^27 by default")
        ->type_name("N")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 32U));
  }
  add_json_option(*app, command->json);
  app->callback([command, &status] { status = run_term_command(*command, std::cin, std::cout); });
}

}  // namespace

void add_term(CLI::App& app, int& status) {
  auto* term = app.add_subcommand("term", "Erlang terms, line by line from standard input to standard output");
  term->require_subcommand(1);
  term->footer(
      "Each line of input gives one line of output; a bad line gives `error: REASON`, and then the exit status is 1.\n"
      "Example: echo '{hello,1,[]}' | barrel_p2p term encode");
  add_operation(*term, status, "decode", "External term format in hex to Erlang text", TermOperation::decode);
  add_operation(*term, status, "encode", "Erlang text to external term format in hex", TermOperation::encode);
  add_operation(*term, status, "phash2", "Erlang text or hex to the number that erlang:phash2 gives",
                TermOperation::phash2);
}

}  // namespace barrel_p2p::command
