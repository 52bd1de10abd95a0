#include "distribution/detector.hpp"

#include <algorithm>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

using std::chrono::duration_cast;

Result<void> validate(const DetectorConfig& config) {
  using namespace std::chrono_literals;
  if (config.keep_alive < 100ms || config.keep_alive > 60s) {
    return fail(Errc::invalid_config, "detector.keep_alive_ms must be between 100 and 60000");
  }
  if (config.dead_after < 3 * config.keep_alive) {
    return fail(Errc::invalid_config,
                "detector.dead_after_ms must be at least three times detector.keep_alive_ms: one lost packet must not "
                "kill a channel");
  }
  if (config.tick < 10ms || config.tick > config.dead_after / 4) {
    return fail(Errc::invalid_config, "detector.tick_ms must be between 10 and a quarter of detector.dead_after_ms");
  }
  if (config.pause_threshold < 2 * config.tick) {
    return fail(Errc::invalid_config, "detector.pause_threshold_ms must be at least twice detector.tick_ms");
  }
  if (config.probe_after < 0ms || (config.probe_after > 0ms && config.probe_timeout < 1s)) {
    return fail(Errc::invalid_config,
                "detector.probe_after_ms must not be negative and detector.probe_timeout_ms at least 1000");
  }
  return {};
}

std::optional<Milliseconds> Detector::tick(MonotonicTime now) noexcept {
  std::optional<Milliseconds> paused;
  if (last_tick_) {
    const auto late = duration_cast<Milliseconds>(now - *last_tick_) - config_.tick;
    if (late > config_.pause_threshold) {
      resumed_ = now;
      paused = late;
    }
  }
  last_tick_ = now;
  return paused;
}

Milliseconds Detector::silence(MonotonicTime last_heard, MonotonicTime now) const noexcept {
  auto from = resumed_ ? std::max(last_heard, *resumed_) : last_heard;
  // Since the last tick we may have been paused without having noticed it yet.
  const auto unnoticed = last_tick_ ? duration_cast<Milliseconds>(now - *last_tick_) - config_.tick : Milliseconds{0};
  if (unnoticed > config_.pause_threshold) from = std::max(from, now);
  return std::max(Milliseconds{0}, duration_cast<Milliseconds>(now - from));
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
