// The wall clock, as far as the age of a stamp may be judged by it: without the jumps ahead that it made lately. What
// was stamped a minute ago is no hour old because somebody set the clock; to forget a removal for that would bring back
// what it removed.
//
// A jump counts when it is so long ago that all that was stamped before it is old by the monotonic clock, too. A clock
// that is set back counts at once: what looks younger is kept. One thread at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "base/clock.hpp"
#include "services/effects.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

class AgingClock {
 public:
  /// `window`: no age is asked for that is longer. A jump counts after one to two windows.
  explicit AgingClock(Milliseconds window) noexcept : window_(window) {}

  /// To be called now and then, each second for instance: it sees jumps between two calls.
  WallMilliseconds read(const Now& now) noexcept {
    const auto passed = std::chrono::duration_cast<Milliseconds>(now.monotonic.time_since_epoch()).count();
    const WallMilliseconds lead = now.wall - passed;
    if (now.monotonic >= window_end_) {
      before_ = std::exchange(least_, none);
      window_end_ = now.monotonic + window_;
    }
    least_ = std::min(least_, lead);
    return passed + std::min(least_, before_);
  }

 private:
  static constexpr WallMilliseconds none = std::numeric_limits<WallMilliseconds>::max();

  Milliseconds window_;
  MonotonicTime window_end_ = MonotonicTime::min();
  WallMilliseconds least_ = none;   ///< By which the wall clock was ahead of the monotonic one, in this window ...
  WallMilliseconds before_ = none;  ///< ... and in the one before.
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
