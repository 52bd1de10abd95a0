// Which process runs next, on which thread.
//
// Every worker has a queue of its own; what other threads make runnable goes to a shared one; a worker without work
// takes from the others. A worker that makes a single process runnable keeps it for itself and wakes nobody: it will
// get to it in a moment, and a message to and fro between two processes then costs no wake-up. Nor is such a one taken
// away, for what it works on lies in the caches of its worker. A worker gives some of its work away when that would
// wait for `patience` by the length of the last turn. So that a process that computes for long does not hold others
// back, the last worker that went idle looks around every millisecond, until nothing was kept back for 20 ms; then it
// sleeps too. Nothing spins.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

class State;

/// A thread that makes processes runnable, and can run one itself.
class Host {
 public:
  /// The process became runnable on this thread. True: `run_here` or `give_to_worker` follow, soon and on whatever
  /// thread.
  virtual bool take(State& state) = 0;

 protected:
  ~Host() = default;
};

/// Thread safe.
class Scheduler {
 public:
  explicit Scheduler(unsigned workers);
  ~Scheduler() { stop(); }
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  void start();
  /// Runs what is runnable until nothing is, and ends the workers.
  void stop();
  /// The process must live until it has run.
  void schedule(State& state);
  /// The turn of the process is over: others first. `partner`: whom it sent to, which may run on another worker.
  void yield(State& state, const State* partner);
  /// The caller runs a process.
  [[nodiscard]] bool on_worker() const noexcept;

  /// While it lives, what this thread makes runnable is offered to the host first.
  class Hosted {
   public:
    Hosted(Scheduler& scheduler, Host& host) noexcept { offer = {&scheduler, &host}; }
    ~Hosted() { offer = {}; }
    Hosted(const Hosted&) = delete;
    Hosted& operator=(const Hosted&) = delete;
  };
  /// A turn of a process that a host took. What the process makes runnable is for the workers.
  void run_here(State& state);
  void give_to_worker(State& state);

 private:
  static constexpr std::chrono::milliseconds look_around_every{1};
  /// The first look is sooner: who just had work knows no process that has been left to another worker.
  static constexpr std::chrono::microseconds look_around_first{200};
  static constexpr int quiet_rounds_max = 20;
  /// What a process may wait for on its worker: to move it, and its messages after it, costs about as much.
  static constexpr std::chrono::microseconds patience{50};
  static constexpr int long_turns_min = 2;                 ///< One is often the machine's doing.
  static constexpr std::uint64_t shared_first_every = 61;  ///< Turns; a worker's own queue must not starve the shared.

  struct Queue {
    std::mutex mutex;
    std::deque<State*> states;
    std::atomic<std::uint64_t> turns{0};
    std::atomic<const State*> running{nullptr};  ///< To compare with, not to look into.
    // The worker's:
    std::optional<MonotonicTime> turn_began;  ///< Only while others wait for its end.
    int long_turns = 0;                       ///< In a row.
    MonotonicTime yielded{};                  ///< When a process last did whose partner was elsewhere.
  };
  struct Place {
    const Scheduler* scheduler = nullptr;
    Queue* queue = nullptr;
  };
  struct Offer {
    const Scheduler* scheduler = nullptr;
    Host* host = nullptr;
  };
  static thread_local Place place;
  static thread_local Offer offer;

  bool offer_to_host(State& state);
  void end_hosting();

  void work(Queue& own);
  State* next(Queue& own);
  static bool is_empty(Queue& queue);
  /// What waits longest, if so many wait at least.
  static State* pop(Queue& queue, std::size_t least = 1);
  /// From other workers, if so many wait at one of them at least, and what is shared.
  State* steal(const Queue& own, std::size_t least);
  /// Where a process goes that yields here: to its partner's worker, if both have nothing else to do and turns are
  /// short.
  Queue& place_of_yield(Queue& own, const State* partner);
  /// After a turn: wakes somebody if what waits here would wait for long.
  void share(Queue& own);
  /// Returns something to run, or nullptr to look again; sets `stopped` at the end.
  State* rest(Queue& own, bool& stopped);
  State* look_around(std::unique_lock<std::mutex>& lock, const Queue& own);
  /// Who was vigilant goes to work: another one takes over, if somebody waits. With rest_mutex_.
  void hand_on_vigilance(const Queue& own);
  /// What a worker is woken for: to take what waits for another one, even if it is a single process, or to look for
  /// work and be vigilant.
  enum class Errand : std::uint8_t { take, look };
  void wake_one(Errand errand);

  std::vector<std::unique_ptr<Queue>> queues_;  ///< One a worker, and the shared one at the end.
  std::vector<std::thread> threads_;
  std::atomic<int> idle_{0};
  std::atomic<bool> vigilant_{false};   ///< An idle worker looks around.
  std::atomic<std::uint64_t> kept_{0};  ///< How often a process was made runnable without a wake-up.
  std::mutex rest_mutex_;
  std::condition_variable rest_;
  int wake_ups_ = 0;   ///< Guarded by rest_mutex_.
  bool take_ = false;  ///< Guarded by rest_mutex_. One of them is to take.
  std::atomic<bool> stopping_{false};
  std::atomic<int> hosted_{0};  ///< Processes that hosts have taken.
};

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
