// `barrel_p2p chaos`: nodes as real processes that are killed, frozen and cut off while they work, and a checker that
// proves from what they did that the promises of docs/guarantees.md were kept. docs/chaos.md explains.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <vector>

#include "chaos_schedule.hpp"

namespace barrel_p2p::command {

struct ChaosCommand {
  std::size_t nodes = 5;
  std::chrono::milliseconds duration{60'000};   ///< No trouble begins after it.
  std::chrono::milliseconds patience{180'000};  ///< For what must come true once all is well.
  std::uint64_t seed = 1;
  std::vector<ChaosFault::Kind> faults{chaos_fault_kinds.begin(), chaos_fault_kinds.end()};  ///< Each once.
  std::filesystem::path directory;   ///< Empty: a new one for temporary files.
  bool keep = false;                 ///< Of a run in which nothing is wrong too.
  bool json = false;                 ///< One object at the end.
  std::filesystem::path executable;  ///< The barrel_p2p command.
};

inline constexpr std::size_t chaos_nodes_min = 2;
inline constexpr std::size_t chaos_nodes_max = 20;  ///< Two sockets for each pair and direction.

/// Returns exit_ok; exit_failed when a promise was broken, or the run could not be finished; exit_usage when it could
/// not begin. Keeps the directory, with logs and history, unless all went well.
int run_chaos_command(const ChaosCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
