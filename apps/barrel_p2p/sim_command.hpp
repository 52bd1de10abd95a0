// `barrel_p2p sim`: runs a scenario of the simulator and prints its figures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>

namespace barrel_p2p::command {

struct SimCommand {
  std::filesystem::path scenario;
  std::optional<std::size_t> nodes;   ///< In place of the scenario's.
  std::optional<std::uint64_t> seed;  ///< In place of the scenario's: the first one.
  std::uint64_t seeds = 1;            ///< So many runs, each with the next seed.
  std::filesystem::path csv;          ///< Of the last run; empty: none.
  std::filesystem::path svg;          ///< The same.
  bool json = false;                  ///< One object at the end.
};

/// Returns exit_ok; exit_failed when an invariant was broken or a file could not be written; exit_usage when the
/// scenario cannot be read. Tells how to repeat a run that failed.
int run_sim_command(const SimCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
