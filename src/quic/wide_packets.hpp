// Whether a path within the machine carries packets that are wider than a network's.
//
// There is no network between two programs of one machine, but what looks like one of them may be a forwarder to
// somewhere else, and that path may be narrow. So when nothing is acknowledged any more, packets are narrow for a
// while, longer each time (RFC 8899, section 4.3: black hole detection).
#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

class WidePackets {
 public:
  [[nodiscard]] bool carried(MonotonicTime now) const noexcept { return now >= again_; }
  void acknowledged() noexcept { silent_since_ = nobody_waits; }
  /// Bytes are under way. `patience`: within so long some should have been acknowledged.
  void waits(MonotonicTime now, std::chrono::nanoseconds patience) noexcept {
    silent_since_ = std::min(silent_since_, now);
    if (!carried(now) || now - silent_since_ < std::max<std::chrono::nanoseconds>(patience, patience_min)) return;
    silent_since_ = nobody_waits;
    again_ = now + pause_;
    pause_ = std::min<Milliseconds>(2 * pause_, pause_max);
  }

 private:
  static constexpr MonotonicTime nobody_waits = MonotonicTime::max();
  static constexpr Milliseconds patience_min{100};
  static constexpr Milliseconds pause_max{3'600'000};
  MonotonicTime again_{};
  Milliseconds pause_{500};  ///< The next one.
  MonotonicTime silent_since_ = nobody_waits;
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
