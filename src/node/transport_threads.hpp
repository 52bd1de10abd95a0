// The two threads of a node's network, of which one leads.
//
// The leader runs the io_context: sockets, QUIC, channels, timers. A process that a message made runnable it runs by
// itself: to wake a worker, and be woken by it for the answer, would cost more than most processes do with a message.
// Meanwhile the lead is open. The other thread watches, and takes a lead that has been open for `watch_every`: a
// process that computes, or waits for a lock, holds up the network no longer than that. Then both have changed roles,
// and until the first one is done with its process the new leader runs none: nobody watches it.
//
// A leader that has nothing to do looks for more before it sleeps, while that pays (`BusyPoll`).
//
// Only the leader runs handlers, and it sees all that leaders did before it: for them nothing differs from one thread.
//
// Other designs: decision 0016.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "distribution/outcome.hpp"
#include "node/busy_poll.hpp"
#include "process/scheduler.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

class TransportThreads final : private process::Host {
 public:
  /// Context and scheduler must outlive the threads. `lead_taken` runs on the new leader whenever a process has kept
  /// the lead open for long: what would have followed its turn is to be done at once.
  TransportThreads(boost::asio::io_context& context, process::Scheduler& scheduler, std::chrono::microseconds busy_poll,
                   std::function<void()> lead_taken)
      : context_(context), scheduler_(scheduler), lead_taken_(std::move(lead_taken)), busy_poll_(busy_poll) {}
  ~TransportThreads() { stop(); }
  TransportThreads(const TransportThreads&) = delete;
  TransportThreads& operator=(const TransportThreads&) = delete;

  void start();
  /// Ends the io_context and the threads. No process may be runnable any more.
  void stop();
  [[nodiscard]] bool running() const noexcept { return threads_.front().joinable(); }

  /// On the leader, around what hands signals to processes. `run_taken` follows.
  template <class Deliver>
  distribution::Delivered deliver(const Deliver& signals) {
    const process::Scheduler::Hosted hosted(scheduler_, *this);
    const auto done = signals();
    signals_ += done.count;
    return done;
  }

  /// On the leader, outside of all else that is under way: runs the process that was kept for it. Another thread may
  /// run handlers meanwhile; in the end the caller leads. False: it does not, and the threads are stopped.
  bool run_taken();
  /// The caller is a process that runs here, and `run_taken` or `lead_taken` follow. Any thread.
  [[nodiscard]] bool hosts_caller() const noexcept { return hosting == this && lead_.load() == Lead::open; }
  /// The caller is a handler, and so holds the lead. Any thread.
  [[nodiscard]] bool leads() const noexcept { return leading == this; }
  /// Runs the work, if the caller leads, or can lead again at once. False: it has to be posted.
  bool run_if_leading(const std::function<void()>& work);

 private:
  enum class Lead : std::uint8_t { held, open };

  static constexpr std::chrono::milliseconds watch_every{1};
  static constexpr int quiet_rounds_max = 20;  ///< Then the watcher sleeps until the lead is open again.
  /// With more signals than that at once there is work for two threads.
  static constexpr std::size_t signals_max = 8;

  void run();
  /// Runs what comes until it no longer pays to wait awake.
  void poll(BusyPoll& busy_poll);
  bool take(process::State& state) override;
  /// Returns with the lead, or false when the threads are stopped.
  bool watch();
  void open_lead();
  bool close_lead() noexcept;

  /// Of this thread: whose lead it holds, and whose lead it left open to run a process.
  static thread_local const TransportThreads* leading;
  static thread_local const TransportThreads* hosting;

  boost::asio::io_context& context_;
  process::Scheduler& scheduler_;
  const std::function<void()> lead_taken_;
  const std::chrono::microseconds busy_poll_;
  std::array<std::thread, 2> threads_;

  // The leader's.
  process::State* taken_ = nullptr;
  std::size_t signals_ = 0;  ///< Since the last turn of a process here.

  std::atomic<Lead> lead_{Lead::held};
  std::atomic<std::uint64_t> turns_{0};  ///< How often the lead was opened.
  std::atomic<bool> watched_{false};     ///< By the other thread, which does not run a process itself.
  std::atomic<bool> asleep_{false};      ///< The watcher.
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;  ///< Guarded by mutex_.
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
