// The command line: one function a subcommand, each in a file of its own (cli_NAME.cpp), called by main.
//
// A function adds its subcommand with options and help text to `app`. When the user chose it, it runs and leaves the
// exit status in `status`. What a subcommand does lies in NAME_command.{hpp,cpp} and knows nothing of CLI11, so tests
// call it.
#pragma once

namespace CLI {
class App;
}

namespace barrel_p2p::command {

/// Exit statuses that all subcommands share; those that talk to a node have further ones (remote.hpp).
enum ExitStatus : int {
  exit_ok = 0,
  exit_failed = 1,  ///< It was understood, tried, and failed; standard error says why.
  exit_usage = 2,   ///< It was not understood; nothing was done.
};

/// All of them.
void add_subcommands(CLI::App& app, int& status);

void add_node(CLI::App& app, int& status);
void add_call(CLI::App& app, int& status);
void add_cert(CLI::App& app, int& status);
void add_chaos(CLI::App& app, int& status);
void add_completion(CLI::App& app, int& status);
void add_cp(CLI::App& app, int& status);
void add_doctor(CLI::App& app, int& status);
void add_keys(CLI::App& app, int& status);
void add_leader(CLI::App& app, int& status);
void add_map(CLI::App& app, int& status);
void add_place(CLI::App& app, int& status);
void add_remind(CLI::App& app, int& status);
void add_services(CLI::App& app, int& status);
void add_sim(CLI::App& app, int& status);
void add_status(CLI::App& app, int& status);
void add_store(CLI::App& app, int& status);
void add_term(CLI::App& app, int& status);
void add_top(CLI::App& app, int& status);

}  // namespace barrel_p2p::command
