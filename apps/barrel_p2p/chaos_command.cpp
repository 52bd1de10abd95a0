#include "chaos_command.hpp"

#include <unistd.h>

#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "chaos_run.hpp"
#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"

namespace barrel_p2p::command {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t violations_told = 20;

/// A new directory that is empty. Throws std::system_error.
fs::path make_directory(const ChaosCommand& command) {
  if (command.directory.empty()) {
    std::string name = (fs::temp_directory_path() / "barrel_p2p-chaos-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    return name;
  }
  fs::create_directories(command.directory);
  if (!fs::is_empty(command.directory)) throw std::runtime_error(command.directory.string() + " is not empty");
  return fs::absolute(command.directory);
}

template <class Counts>
JsonObject counts_json(const Counts& counts) {
  JsonObject json;
  for (const auto& [word, count] : counts) json.set(word, count);
  return json;
}

std::vector<Json> violations_json(const std::vector<ChaosViolation>& violations) {
  std::vector<Json> all;
  all.reserve(violations.size());
  for (const auto& violation : violations) {
    all.push_back(JsonObject().set("rule", violation.rule).set("text", violation.text));
  }
  return all;
}

void tell_figures(const ChaosFigures& figures, std::ostream& output) {
  output << "faults    ";
  for (const auto& [word, count] : figures.faults) output << ' ' << word << ' ' << count;
  output << "\noperations";
  for (const auto& [word, count] : figures.operations) output << ' ' << word << ' ' << count;
  if (!figures.failed.empty()) output << "\nfailed    ";
  for (const auto& [word, count] : figures.failed) output << ' ' << word << ' ' << count;
  output << "\nprocesses   " << figures.starts << " starts\nnetwork    " << figures.datagrams << " datagrams, and "
         << figures.datagrams_dropped << " lost\n"
         << "history    " << figures.events << " events, " << figures.rounds << " rounds; all was as promised after "
         << figures.settled_max.count() << " ms at most\nclocks     stamps were up to "
         << figures.stamps_ahead_max.count() << " ms ahead of the time\nmemory     " << figures.memory_kib_max
         << " KiB of a node at most\n";
  if (!figures.disks_refused.empty()) output << "left out   disk_full: " << figures.disks_refused << '\n';
}

class Chaos {
 public:
  Chaos(const ChaosCommand& command, fs::path directory, std::ostream& output, std::ostream& errors)
      : command_(command),
        directory_(std::move(directory)),
        output_(output),
        complaints_{errors, "chaos", command.json} {}

  int run() {
    ChaosRun run(command_, directory_, command_.json ? nullptr : &output_);
    std::vector<ChaosViolation> violations;
    try {
      violations = run.run();
    } catch (const std::exception& error) {
      run.close(true);
      return complaints_.tell(exit_failed, error.what() + kept());
    }
    const bool kept_anyway = command_.keep || !violations.empty();
    run.close(kept_anyway);
    if (!command_.json) tell_figures(run.figures(), output_);
    if (command_.json) output_ << to_json(run.figures(), violations, kept_anyway).text() << '\n';
    if (violations.empty()) {
      if (!command_.json) output_ << "every promise was kept\n";
      if (!kept_anyway) fs::remove_all(directory_);
      return exit_ok;
    }
    std::string text = std::to_string(violations.size()) + " promises were broken:";
    for (std::size_t index = 0; index < violations.size() && index < violations_told; ++index) {
      text.append("\n  ").append(violations[index].rule).append(": ").append(violations[index].text);
    }
    return complaints_.tell(exit_failed, text + kept());
  }

 private:
  [[nodiscard]] std::string kept() const {
    return "\n  seed " + std::to_string(command_.seed) + "; logs and history are in " + directory_.string();
  }
  [[nodiscard]] JsonObject to_json(const ChaosFigures& figures, const std::vector<ChaosViolation>& violations,
                                   bool kept) const {
    JsonObject json;
    json.set("seed", command_.seed)
        .set("nodes", command_.nodes)
        .set("rounds", figures.rounds)
        .set("faults", counts_json(figures.faults))
        .set("operations", counts_json(figures.operations))
        .set("failed", counts_json(figures.failed))
        .set("starts", figures.starts)
        .set("events", figures.events)
        .set("datagrams", figures.datagrams)
        .set("datagrams_dropped", figures.datagrams_dropped)
        .set("settled_ms_max", figures.settled_max.count())
        .set("stamps_ahead_ms_max", figures.stamps_ahead_max.count())
        .set("memory_kib_max", figures.memory_kib_max)
        .set("violations", violations_json(violations));
    if (!figures.disks_refused.empty()) json.set("left_out", JsonObject().set("disk_full", figures.disks_refused));
    if (kept) json.set("directory", directory_.string());
    return json;
  }

  const ChaosCommand& command_;
  fs::path directory_;
  std::ostream& output_;
  Complaints complaints_;
};

}  // namespace

int run_chaos_command(const ChaosCommand& command, std::ostream& output, std::ostream& errors) {
  fs::path directory;
  try {
    directory = make_directory(command);
  } catch (const std::exception& error) {
    return Complaints{errors, "chaos", command.json}.tell(exit_usage, error.what());
  }
  if (!command.json) {
    output << command.nodes << " nodes for " << command.duration.count() / 1000 << " s, seed " << command.seed
           << ", in " << directory.string() << std::endl;  // NOLINT: somebody watches
  }
  return Chaos(command, std::move(directory), output, errors).run();
}

}  // namespace barrel_p2p::command
