#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "chaos_command.hpp"
#include "chaos_schedule.hpp"
#include "chaos_worker.hpp"
#include "command_line.hpp"
#include "complaint.hpp"
#include "remind_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct ChaosArguments {
  ChaosCommand command;
  std::string duration = "60s";
  std::string patience = "3min";
  std::string directory;
  std::string worker;
  std::vector<std::string> faults;
};

/// `NODE/LIFE/CLOCK`, as `ChaosRun` gives it.
int work(const ChaosArguments& arguments) {
  ChaosWorker worker{.root = arguments.directory,
                     .nodes = arguments.command.nodes,
                     .node = 0,
                     .life = 0,
                     .seed = arguments.command.seed};
  const char* const end = arguments.worker.data() + arguments.worker.size();
  const auto node = std::from_chars(arguments.worker.data(), end, worker.node);
  if (node.ec != std::errc() || node.ptr == end || *node.ptr != '/') return exit_usage;
  const auto life = std::from_chars(node.ptr + 1, end, worker.life);
  if (life.ec != std::errc() || life.ptr == end || *life.ptr != '/') return exit_usage;
  std::chrono::milliseconds::rep clock = 0;
  const auto rest = std::from_chars(life.ptr + 1, end, clock);
  if (rest.ec != std::errc() || rest.ptr != end) return exit_usage;
  worker.clock = std::chrono::milliseconds(clock);
  return run_chaos_worker(worker, std::cin, std::cerr);
}

int run(ChaosArguments& arguments) {
  if (!arguments.worker.empty()) return work(arguments);
  const Complaints complaints{std::cerr, "chaos", arguments.command.json};
  const auto duration = parse_duration(arguments.duration);
  const auto patience = parse_duration(arguments.patience);
  if (!duration || !patience) {
    return complaints.tell(exit_usage, "`" + (duration ? arguments.patience : arguments.duration) +
                                           "` is no duration: write 90s, 5min or 2h");
  }
  arguments.command.duration = std::chrono::milliseconds(*duration);
  arguments.command.patience = std::chrono::milliseconds(*patience);
  if (!arguments.faults.empty()) arguments.command.faults.clear();
  for (const auto& word : arguments.faults) arguments.command.faults.push_back(*fault_kind_of(word));
  arguments.command.directory = arguments.directory;
  std::error_code error;
  arguments.command.executable = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return complaints.tell(exit_failed, "/proc/self/exe: " + error.message());
  return run_chaos_command(arguments.command, std::cout, std::cerr);
}

}  // namespace

void add_chaos(CLI::App& app, int& status) {
  auto arguments = std::make_shared<ChaosArguments>();
  auto& command = arguments->command;
  auto* chaos = app.add_subcommand("chaos", "Torment nodes while they work, and check every promise");
  chaos->footer(
      "Exit status: 0 every promise was kept, 1 one was broken or the run was not finished, 2 wrong usage.\n"
      "Example: barrel_p2p chaos --duration 10min --nodes 5 --seed 42");
  chaos
      ->add_option("--duration", arguments->duration,
                   "For so long from when the nodes have found each other, 60s by default; then all has to become well")
      ->type_name("DURATION");
  chaos->add_option("--nodes", command.nodes, "Number of nodes, 5 by default")
      ->check(CLI::Range(chaos_nodes_min, chaos_nodes_max))
      ->type_name("N");
  chaos->add_option("--seed", command.seed, "Seed of the schedule, 1 by default: equal seeds give equal faults")
      ->type_name("S");
  chaos
      ->add_option("--patience", arguments->patience,
                   "So long things may take to become as promised once all is well, 3min by default")
      ->type_name("DURATION");
  chaos
      ->add_option("--dir", arguments->directory,
                   "Directory of the nodes, their logs and the history, new or empty; a temporary one by default")
      ->type_name("DIR");
  std::vector<std::string> words;
  words.reserve(chaos_fault_kinds.size());
  for (const auto kind : chaos_fault_kinds) words.push_back(word_of(kind));
  chaos->add_option("--faults", arguments->faults, "Kinds of faults, all by default")
      ->delimiter(',')
      ->check(CLI::IsMember(words))
      ->type_name("KIND,...");
  chaos->add_flag("--keep", command.keep, "Keep the directory even if every promise was kept");
  chaos->add_option("--worker", arguments->worker, "Be one of the nodes: the command gives it to itself")
      ->type_name("NODE/LIFE/CLOCK");
  add_json_option(*chaos, command.json);
  chaos->callback([arguments, &status] { status = run(*arguments); });
}

}  // namespace barrel_p2p::command
