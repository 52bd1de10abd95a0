#include <CLI/CLI.hpp>
#include <iostream>
#include <string>

#include "command_line.hpp"
#include "completion.hpp"

namespace barrel_p2p::command {
namespace {

using Make = std::string (*)(const CLI::App& root);

void add_output(CLI::App& to, const CLI::App& root, int& status, const char* name, const char* help, Make make) {
  to.add_subcommand(name, help)->callback([&root, make, &status] {
    std::cout << make(root) << std::flush;
    status = std::cout ? exit_ok : exit_failed;
  });
}

}  // namespace

void add_completion(CLI::App& app, int& status) {
  auto* completion = app.add_subcommand("completion", "Print a script that completes this command in a shell");
  completion->require_subcommand(1);
  completion->footer(
      "Packages install these scripts. For this session alone:\n"
      "  bash: source <(barrel_p2p completion bash)\n"
      "  zsh:  source <(barrel_p2p completion zsh)\n"
      "  fish: barrel_p2p completion fish | source");
  add_output(*completion, app, status, "bash", "For bash", bash_completion);
  add_output(*completion, app, status, "zsh", "For zsh", zsh_completion);
  add_output(*completion, app, status, "fish", "For fish", fish_completion);
  add_output(app, app, status, "manual", "Print the manual page: barrel_p2p manual | man -l -", manual_page);
}

}  // namespace barrel_p2p::command
