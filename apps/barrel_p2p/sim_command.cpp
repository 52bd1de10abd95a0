#include "sim_command.hpp"

#include <chrono>
#include <fstream>
#include <iomanip>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"
#include "sim/runner.hpp"
#include "sim/scenario.hpp"

namespace barrel_p2p::command {
namespace {

using Writer = void (*)(const sim::Report& report, std::ostream& out);

bool write_file(const std::filesystem::path& file, const sim::Report& report, Writer write,
                const Complaints& complaints) {
  if (file.empty()) return true;
  std::ofstream out(file, std::ios::binary);
  write(report, out);
  out.flush();
  if (out) return true;
  complaints.tell(exit_failed, "cannot write " + file.string() + ": check the directory and its permissions");
  return false;
}

void describe(const sim::RunResult& result, double real_seconds, std::ostream& output) {
  const auto simulated = std::chrono::duration<double>(result.simulated).count();
  output << sim::number_text(simulated) << " s simulated in " << sim::number_text(real_seconds) << " s, "
         << result.events << " events, trace " << std::hex << std::setw(16) << std::setfill('0') << result.trace_hash
         << std::dec << std::setfill(' ') << "\n";
}

void tell_failure(const SimCommand& command, const sim::Scenario& scenario, const std::string& what,
                  const Complaints& complaints) {
  std::string text = what + "\n  repeat it: barrel_p2p sim " + command.scenario.string();
  if (command.nodes) text += " --nodes " + std::to_string(*command.nodes);
  complaints.tell(exit_failed, text + " --seed " + std::to_string(scenario.simulation.seed));
}

Json to_json(const sim::Report& report) {
  std::vector<Json> tables;
  tables.reserve(report.tables.size());
  for (const auto& table : report.tables) {
    tables.push_back(JsonObject().set("title", table.title).set("columns", table.columns).set("rows", table.rows));
  }
  return tables;
}

}  // namespace

int run_sim_command(const SimCommand& command, std::ostream& output, std::ostream& errors) {
  const Complaints complaints{errors, "sim", command.json};
  auto scenario = sim::load_scenario(command.scenario);
  if (!scenario) return complaints.tell(exit_usage, scenario.error().message());
  if (command.nodes) scenario->nodes = *command.nodes;
  if (command.seed) scenario->simulation.seed = *command.seed;
  const auto first_seed = scenario->simulation.seed;
  if (!command.json) output << scenario->name << ", " << scenario->nodes << " nodes, seed " << first_seed << '\n';
  std::uint64_t broken = 0;
  sim::Report last;
  const auto start = monotonic_now();
  for (std::uint64_t run = 0; run < command.seeds; ++run) {
    try {
      const auto began = monotonic_now();
      auto result = sim::run_scenario(*scenario);
      if (command.seeds == 1 && !command.json) {
        sim::write_text(result.report, output);
        describe(result, std::chrono::duration<double>(monotonic_now() - began).count(), output);
      }
      last = std::move(result.report);
    } catch (const sim::Violation& violation) {
      ++broken;
      tell_failure(command, *scenario, violation.what(), complaints);
    }
    ++scenario->simulation.seed;
  }
  const double seconds = std::chrono::duration<double>(monotonic_now() - start).count();
  if (command.json) {
    output << JsonObject()
                  .set("scenario", scenario->name)
                  .set("nodes", scenario->nodes)
                  .set("seed", first_seed)
                  .set("runs", command.seeds)
                  .set("failed", broken)
                  .set("seconds", seconds)
                  .set("tables", to_json(last))
                  .text()
           << '\n';
  } else if (command.seeds > 1) {
    output << command.seeds << " seeds, " << broken << " failed, " << sim::number_text(seconds) << " s\n";
  }
  const bool written = write_file(command.csv, last, sim::write_csv, complaints) &&
                       write_file(command.svg, last, sim::write_svg, complaints);
  return broken == 0 && written ? exit_ok : exit_failed;
}

}  // namespace barrel_p2p::command
