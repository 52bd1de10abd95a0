// The barrel_p2p command.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <barrel_p2p/version.hpp>
#include <exception>
#include <iostream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

#include "command_line.hpp"
#include "complaint.hpp"
#include "unknown_word.hpp"

namespace {

/// What went wrong before, or outside of, a subcommand that could tell it itself.
int complain(std::span<char*> arguments, int status, const std::string& text) {
  const bool json = std::ranges::any_of(arguments, [](const char* one) { return std::string_view(one) == "--json"; });
  const std::string_view command = arguments.size() > 1 ? arguments[1] : "";
  return barrel_p2p::command::Complaints{std::cerr, command, json}.tell(status, text);
}

int run(int argc, char** argv) {
  using namespace barrel_p2p::command;
  int status = exit_ok;
  CLI::App app("A secure peer-to-peer cluster of C++ and Erlang nodes.", "barrel_p2p");
  app.set_version_flag("--version", std::string("barrel_p2p " BARREL_P2P_VERSION));
  app.footer(
      "Exit status: 0 success, 1 failure, 2 wrong usage, 4 node not reached, 5 no answer or failed there.\n"
      "`barrel_p2p SUBCOMMAND --help` tells more.");
  app.require_subcommand(1);
  add_subcommands(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    // Help and version arrive here too, with status 0.
    std::ostringstream text;
    if (app.exit(stop, std::cout, text) == 0) return exit_ok;
    std::string told = text.str();
    while (told.ends_with('\n')) told.pop_back();
    if (const auto word = unknown_subcommand(app)) told = *word;
    return complain({argv, static_cast<std::size_t>(argc)}, exit_usage, told);
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    return complain({argv, static_cast<std::size_t>(argc)}, barrel_p2p::command::exit_failed, error.what());
  }
}
