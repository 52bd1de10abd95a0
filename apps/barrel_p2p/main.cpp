// The barrel_p2p command.
#include <CLI/CLI.hpp>
#include <barrel_p2p/version.hpp>
#include <exception>
#include <iostream>
#include <string>

#include "command_line.hpp"

namespace {

int run(int argc, char** argv) {
  using namespace barrel_p2p::command;
  int status = exit_ok;
  CLI::App app("A secure peer-to-peer cluster of C++ and Erlang nodes.", "barrel_p2p");
  app.set_version_flag("--version", std::string("barrel_p2p " BARREL_P2P_VERSION));
  app.footer("Exit status: 0 success, 1 failure, 2 wrong usage. `barrel_p2p SUBCOMMAND --help` tells more.");
  app.require_subcommand(1);
  add_node(app, status);
  add_call(app, status);
  add_cert(app, status);
  add_cp(app, status);
  add_keys(app, status);
  add_sim(app, status);
  add_store(app, status);
  add_term(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    // Help and version arrive here too, with status 0.
    return app.exit(stop) == 0 ? exit_ok : exit_usage;
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "barrel_p2p: " << error.what() << '\n';
    return barrel_p2p::command::exit_failed;
  }
}
