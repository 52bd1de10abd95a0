#include "sim_command.hpp"

#include <chrono>
#include <fstream>
#include <iomanip>
#include <ostream>
#include <utility>

#include "base/clock.hpp"
#include "command_line.hpp"
#include "sim/runner.hpp"
#include "sim/scenario.hpp"

namespace barrel_p2p::command {
namespace {

using Writer = void (*)(const sim::Report& report, std::ostream& out);

bool write_file(const std::filesystem::path& file, const sim::Report& report, Writer write, std::ostream& errors) {
  if (file.empty()) return true;
  std::ofstream out(file, std::ios::binary);
  write(report, out);
  out.flush();
  if (out) return true;
  errors << "barrel_p2p sim: cannot write " << file.string() << ": check the directory and its permissions\n";
  return false;
}

void describe(const sim::RunResult& result, double real_seconds, std::ostream& output) {
  const auto simulated = std::chrono::duration<double>(result.simulated).count();
  output << sim::number_text(simulated) << " s simulated in " << sim::number_text(real_seconds) << " s, "
         << result.events << " events, trace " << std::hex << std::setw(16) << std::setfill('0') << result.trace_hash
         << std::dec << std::setfill(' ') << "\n";
}

void tell_failure(const SimCommand& command, const sim::Scenario& scenario, const std::string& what,
                  std::ostream& errors) {
  errors << "barrel_p2p sim: " << what << "\n  repeat it: barrel_p2p sim " << command.scenario.string();
  if (command.nodes) errors << " --nodes " << *command.nodes;
  errors << " --seed " << scenario.simulation.seed << '\n';
}

}  // namespace

int run_sim_command(const SimCommand& command, std::ostream& output, std::ostream& errors) {
  auto scenario = sim::load_scenario(command.scenario);
  if (!scenario) {
    errors << "barrel_p2p sim: " << scenario.error().message() << '\n';
    return exit_usage;
  }
  if (command.nodes) scenario->nodes = *command.nodes;
  if (command.seed) scenario->simulation.seed = *command.seed;
  output << scenario->name << ", " << scenario->nodes << " nodes, seed " << scenario->simulation.seed << '\n';
  std::uint64_t broken = 0;
  sim::Report last;
  const auto start = monotonic_now();
  for (std::uint64_t run = 0; run < command.seeds; ++run) {
    try {
      const auto began = monotonic_now();
      auto result = sim::run_scenario(*scenario);
      if (command.seeds == 1) {
        sim::write_text(result.report, output);
        describe(result, std::chrono::duration<double>(monotonic_now() - began).count(), output);
      }
      last = std::move(result.report);
    } catch (const sim::Violation& violation) {
      ++broken;
      tell_failure(command, *scenario, violation.what(), errors);
    }
    ++scenario->simulation.seed;
  }
  if (command.seeds > 1) {
    const double seconds = std::chrono::duration<double>(monotonic_now() - start).count();
    output << command.seeds << " seeds, " << broken << " failed, " << sim::number_text(seconds) << " s\n";
  }
  const bool written =
      write_file(command.csv, last, sim::write_csv, errors) && write_file(command.svg, last, sim::write_svg, errors);
  return broken == 0 && written ? exit_ok : exit_failed;
}

}  // namespace barrel_p2p::command
