// Does one piece of work after the other, on a thread of its own, or on that of who would wait for it. The cluster
// thread of a node is one: all machines of overlay, replication and services run there, and so need no locks.
#pragma once

#include <atomic>
#include <barrel_p2p/version.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

class SerialExecutor {
 public:
  using Work = std::function<void()>;

  SerialExecutor() = default;
  ~SerialExecutor() { stop(); }
  SerialExecutor(const SerialExecutor&) = delete;
  SerialExecutor& operator=(const SerialExecutor&) = delete;

  void start();
  /// Ends the thread after the piece of work that runs now; what else was posted never runs. Not from within work.
  void stop();

  /// Any thread. Work that is posted before `start` waits for it.
  void post(Work work);
  /// Any thread that would only wait for the work. Runs it here and now; false: something else runs or was posted, or
  /// nothing may.
  template <class F>
  bool run_here(F&& work) {
    if (due_.load() > 0) return false;
    const std::unique_lock turn(turn_, std::try_to_lock);
    if (!turn || !runs_) return false;
    run(std::forward<F>(work));
    return true;
  }
  /// Work of this executor runs on this thread.
  [[nodiscard]] bool is_current() const noexcept { return current_.load() == std::this_thread::get_id(); }

  /// Runs a piece of work at a time. Within work of the executor only; must not outlive the executor.
  class Alarm {
   public:
    Alarm(SerialExecutor& executor, Work work)
        : executor_(executor), timer_(executor.context_), work_(std::move(work)) {}
    /// Replaces an earlier time. When it has come, the alarm is off.
    void set(MonotonicTime at);
    [[nodiscard]] const std::optional<MonotonicTime>& at() const noexcept { return at_; }

   private:
    SerialExecutor& executor_;
    boost::asio::steady_timer timer_;
    const Work work_;
    std::optional<MonotonicTime> at_;
  };

 private:
  /// With `turn_` locked. There is nobody who could catch what work throws.
  template <class F>
  void run(F&& work) noexcept {
    current_.store(std::this_thread::get_id());
    std::forward<F>(work)();
    current_.store({});
  }
  /// What the executor's own thread does. It was counted as due.
  template <class F>
  void run_due(F&& work) {
    const std::lock_guard turn(turn_);
    due_.fetch_sub(1);
    if (runs_) run(std::forward<F>(work));
  }

  std::mutex turn_;           ///< Held while work runs.
  std::atomic<int> due_ = 0;  ///< Pieces of work that the executor's own thread is to do: nobody goes first.
  bool runs_ = false;         ///< Started, and not stopped.
  std::atomic<std::thread::id> current_{};
  boost::asio::io_context context_{1};
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> keep_;
  std::thread thread_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
