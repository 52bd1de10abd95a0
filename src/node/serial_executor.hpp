// One thread that does one piece of work after the other. The cluster thread of a node is one: all machines of overlay,
// replication and services run there, and so need no locks.
#pragma once

#include <barrel_p2p/version.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <optional>
#include <thread>

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
  /// Ends the thread after the piece of work that runs now; what else was posted never runs. Not from the thread
  /// itself.
  void stop();

  /// Any thread. Work that is posted before `start` waits for it.
  void post(Work work);
  [[nodiscard]] bool is_current() { return context_.get_executor().running_in_this_thread(); }

  /// Runs a piece of work at a time. On the executor's thread only; must not outlive the executor.
  class Alarm {
   public:
    Alarm(SerialExecutor& executor, Work work) : timer_(executor.context_), work_(std::move(work)) {}
    /// Replaces an earlier time. When it has come, the alarm is off.
    void set(MonotonicTime at);
    [[nodiscard]] const std::optional<MonotonicTime>& at() const noexcept { return at_; }

   private:
    boost::asio::steady_timer timer_;
    const Work work_;
    std::optional<MonotonicTime> at_;
  };

 private:
  boost::asio::io_context context_{1};
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> keep_;
  std::thread thread_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
