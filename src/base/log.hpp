// Logging: one logger a node, so that several nodes in one process can be told apart.
//
// Levels: error = a person must act, warning = degraded, info = a state change that an operator cares about, debug =
// the rest. A line whose rate a peer controls goes through a RateLimit.
#pragma once

#include <spdlog/spdlog.h>

#include <barrel_p2p/node_config.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {

/// Thread safe; copies share one sink.
using Logger = std::shared_ptr<spdlog::logger>;

/// A logger that writes to standard error. `name` stands in each line.
Logger make_stderr_logger(const std::string& name);
/// A logger that hands every line to `sink`, one at a time.
Logger make_callback_logger(const std::string& name, LogSink sink);
/// A logger that drops everything.
Logger make_null_logger();
void set_level(const Logger& logger, LogLevel level);

/// Lets `burst` events through at once and then one every `period`. Thread safe.
class RateLimit {
 public:
  RateLimit(std::uint32_t burst, std::chrono::milliseconds period) noexcept : burst_(burst), period_(period) {}
  /// True when the event may pass. `suppressed` receives how many were held back since the last one that passed.
  bool pass(MonotonicTime now, std::uint64_t* suppressed = nullptr);

 private:
  std::mutex mutex_;
  std::uint32_t burst_;
  std::chrono::milliseconds period_;
  MonotonicTime start_{};
  std::uint32_t used_ = 0;
  std::uint64_t suppressed_ = 0;
};

}  // namespace v0
}  // namespace barrel_p2p
