#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "cp_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {

void add_cp(CLI::App& app, int& status) {
  struct Options {
    CpCommand command;
    VisitorArguments visitor;
    std::int64_t retry = 60;
  };
  auto options = std::make_shared<Options>();
  auto& command = options->command;
  auto* cp = app.add_subcommand("cp", "Copy files to a node that takes files (barrel_p2p node --receive-dir DIR)");
  cp->footer(
      "PATH is below the directory that the node has for received files; a directory, or nothing, keeps the name of "
      "the\n"
      "file. An interrupted copy goes on where it ended, by itself or when the command is given again.\n"
      "Exit status: 0 all is there and verified, 1 something was not copied, 2 wrong usage, 4 cannot connect.\n"
      "Example: barrel_p2p cp backup.tar a@127.0.0.1:backups/ --discovery-dir /run/barrel_p2p");
  cp->add_option("paths", command.paths, "FILE... NODE:PATH")->required()->expected(2, -1)->type_name("PATHS");
  auto* no_clobber = cp->add_flag("-n,--no-clobber", command.no_clobber, "Leave files alone that are there");
  cp->add_flag("-f,--force", command.force, "Replace even files that are write-protected")->excludes(no_clobber);
  cp->add_flag("-r,--recursive", command.recursive, "Copy directories with all that is in them");
  cp->add_flag("-q,--quiet", command.quiet, "No progress");
  cp->add_flag("--json", command.json, "Progress and results as JSON, one object a line");
  cp->add_option("--limit", command.bytes_per_second,
                 "At most so much a second, for instance 10MB; no limit by default")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("BYTES");
  cp->add_option("--retry", options->retry,
                 "When the connection is lost: try again while nothing arrived for so long; 60 by default, 0: do not")
      ->check(CLI::Range(0, 31'536'000))
      ->type_name("SECONDS");
  add_visitor_options(*cp, options->visitor, "--name");
  cp->callback([options, &status] {
    options->visitor.give_to(options->command);
    options->command.retry = std::chrono::seconds(options->retry);
    status = run_cp_command(options->command, ::isatty(STDERR_FILENO) != 0, std::cout, std::cerr);
  });
}

}  // namespace barrel_p2p::command
