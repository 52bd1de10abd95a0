#include "base/log.hpp"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <utility>

namespace barrel_p2p {
inline namespace v0 {

namespace {

LogLevel level_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug: return LogLevel::debug;
    case spdlog::level::info: return LogLevel::info;
    case spdlog::level::warn: return LogLevel::warning;
    default: return LogLevel::error;
  }
}

class CallbackSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit CallbackSink(LogSink callback) : sink_(std::move(callback)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    sink_(level_of(message.level), std::string_view(message.payload.data(), message.payload.size()));
  }
  void flush_() override {}

 private:
  LogSink sink_;
};

}  // namespace

Logger make_callback_logger(const std::string& name, LogSink sink) {
  return std::make_shared<spdlog::logger>(name, std::make_shared<CallbackSink>(std::move(sink)));
}

void set_level(const Logger& logger, LogLevel level) {
  switch (level) {
    case LogLevel::debug: return logger->set_level(spdlog::level::debug);
    case LogLevel::info: return logger->set_level(spdlog::level::info);
    case LogLevel::warning: return logger->set_level(spdlog::level::warn);
    case LogLevel::error: return logger->set_level(spdlog::level::err);
    case LogLevel::off: return logger->set_level(spdlog::level::off);
  }
}

Logger make_stderr_logger(const std::string& name) {
  auto logger = std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ [%n] %v");
  return logger;
}

Logger make_null_logger() {
  return std::make_shared<spdlog::logger>("null", std::make_shared<spdlog::sinks::null_sink_mt>());
}

bool RateLimit::pass(MonotonicTime now, std::uint64_t* suppressed) {
  const std::lock_guard lock(mutex_);
  if (now - start_ >= period_) {
    start_ = now;
    used_ = 0;
  }
  if (used_ >= burst_) {
    ++suppressed_;
    return false;
  }
  ++used_;
  if (suppressed != nullptr) *suppressed = suppressed_;
  suppressed_ = 0;
  return true;
}

}  // namespace v0
}  // namespace barrel_p2p
