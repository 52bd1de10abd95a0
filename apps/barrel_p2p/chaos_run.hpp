// One run of `barrel_p2p chaos`, on one thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "chaos_checker.hpp"
#include "chaos_command.hpp"
#include "chaos_disks.hpp"
#include "chaos_history.hpp"
#include "chaos_nodes.hpp"

namespace barrel_p2p::command {

struct ChaosFigures {
  std::size_t rounds = 0;
  std::map<std::string, std::size_t> faults;      ///< By word.
  std::map<std::string, std::size_t> operations;  ///< That succeeded, by word of the event.
  std::map<std::string, std::size_t> failed;      ///< That did not, likewise.
  std::size_t starts = 0;                         ///< Of processes, the first ones of the nodes included.
  std::string disks_refused;                      ///< Why there are no disks that can be full; empty: there are.
  std::chrono::milliseconds settled_max{};        ///< The longest time until all was as promised.
  std::size_t events = 0;
  std::size_t datagrams = 0;  ///< Carried.
  std::size_t datagrams_dropped = 0;
  std::chrono::milliseconds stamps_ahead_max{};  ///< Of fences of reminders, beyond the time at which they were told.
  std::size_t memory_kib_max = 0;                ///< Of a node, at the end.
};

class ChaosRun {
 public:
  /// `progress`: what happens, for a person; may be null. The directory exists.
  ChaosRun(const ChaosCommand& command, std::filesystem::path directory, std::ostream* progress);

  /// What is wrong; nothing: all promises were kept. Throws std::runtime_error when the run cannot go on.
  std::vector<ChaosViolation> run();
  /// Ends the nodes. What they have on their disks is gone afterwards, unless it is to be kept.
  void close(bool keep);
  [[nodiscard]] const ChaosFigures& figures() const noexcept { return figures_; }

 private:
  struct Member {
    std::unique_ptr<ChaosProcess> process;
    std::uint64_t life = 0;
    bool ready = false;
    bool killed = false;                ///< By us: its end is expected.
    bool stopping = false;              ///< Likewise, with status 0.
    bool restart = false;               ///< When it has stopped.
    bool fill = false;                  ///< Its disk, when it is ready.
    bool full = false;                  ///< Its disk is, until it is ready.
    std::chrono::milliseconds clock{};  ///< By which it says that its wall clock is ahead.
    bool rested = false;
    std::optional<ChaosReport> coming;
    std::optional<ChaosReport> report;
  };

  // Nodes.
  void write_peers() const;
  void start(std::size_t node);
  void kill(std::size_t node);
  void stop(std::size_t node);
  void take(std::size_t node, const std::string& line);
  void ended(std::size_t node, int status);
  void note_stamp(const ChaosEvent& told);
  void say(const std::string& line);
  void note(std::size_t node, ChaosDid did, std::vector<std::string> arguments = {});
  void record(ChaosEvent event);
  void insert(ChaosEvent event);

  // Time.
  bool run_until(MonotonicTime end, const std::function<bool()>& done = nullptr);
  void await(const char* what, const std::function<bool(const Member&)>& done);

  // Phases.
  std::vector<ChaosViolation> rounds();
  void trouble(std::chrono::milliseconds length);
  void begin(const ChaosFault& fault);
  void begin(const ChaosFault& fault, std::size_t node);
  void finish(const ChaosFault& fault);
  void finish(const ChaosFault& fault, std::size_t node);
  void make_room(std::size_t node);
  [[nodiscard]] std::chrono::milliseconds clock_of(std::size_t node) const;
  std::vector<ChaosViolation> settle();
  struct Checked {
    std::vector<ChaosViolation> at_any_time;
    std::vector<ChaosViolation> by_now;
  };
  Checked check(const std::vector<ChaosReport>& all);
  std::vector<ChaosViolation> wait_for_promises(const char* what);
  std::vector<ChaosReport> reports();
  std::vector<ChaosViolation> stop();
  void tell(const std::string& text) const;

  const ChaosCommand& command_;
  std::filesystem::path directory_;
  std::ostream* progress_;
  Prng random_;
  boost::asio::io_context io_;
  boost::asio::signal_set signals_;
  bool interrupted_ = false;
  bool working_ = false;                 ///< Nodes that start now are to work.
  std::vector<ChaosFault::Kind> kinds_;  ///< Of faults that come.
  ChaosDisks disks_;                     ///< Before the nodes, which are to end first.
  ChaosNetwork network_;
  std::vector<Member> members_;
  std::vector<ChaosFault> active_;
  std::vector<ChaosEvent> history_;  ///< In the order of their times.
  bool checking_ = false;            ///< The history is being read: what comes waits.
  std::vector<ChaosEvent> arrived_;  ///< Meanwhile.
  std::ofstream history_file_;
  ChaosFigures figures_;
};

}  // namespace barrel_p2p::command
