// The time limits of waiting processes: one thread, one ordered structure, one entry a process.
//
// A process that waits again and again with a limit mostly moves its limit further away. Its entry then stays where it
// is and is moved when it comes up, so that most waits cost a comparison.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

class State;

/// Thread safe.
class Timers {
 public:
  /// Part of a process; guarded by the timers' mutex.
  struct Slot {
    std::multimap<MonotonicTime, State*>::iterator entry{};
    MonotonicTime deadline{};
    std::uint64_t id = 0;
    bool armed = false;
  };

  Timers() = default;
  ~Timers() { stop(); }
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  void start();
  void stop();
  /// The process gets `TimerFired{id}` at this time, unless it arms again before.
  void arm(State& state, MonotonicTime at, std::uint64_t id);
  /// Before the process goes.
  void cancel(State& state);

 private:
  void run();
  void insert(State& state, MonotonicTime at);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<MonotonicTime, State*> entries_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
