// A node of `barrel_p2p chaos`, as a process of its own: works on all services, and tells what it does on its standard
// output (chaos_history.hpp). What it is to do comes by its standard input, a line each:
//
//     work      begins to work
//     rest      stops; `rested` when nothing is under way any more
//     calm N    makes N broadcasts, N reminders and N writes
//     report    lines of a report after `= `, then `=`
//     clock MS  its wall clock is ahead by so much from here on
//
// It ends when its standard input does.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>

namespace barrel_p2p::command {

constexpr std::chrono::milliseconds chaos_lease{4000};  ///< Of nodes.

struct ChaosWorker {
  std::filesystem::path root;  ///< With `nN.peers`: lines `NAME HOST:PORT` of the others.
  std::size_t nodes = 0;
  std::size_t node = 0;
  std::uint64_t life = 0;
  std::uint64_t seed = 0;
  std::chrono::milliseconds clock{};  ///< By which the wall clock is ahead from the start.
};

/// Begins with `ready PORT` when others can connect. Returns exit_ok, exit_failed when the node cannot start.
int run_chaos_worker(const ChaosWorker& worker, std::istream& input, std::ostream& errors);

}  // namespace barrel_p2p::command
