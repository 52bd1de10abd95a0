#include "services/aging_clock.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;

TEST(AgingClock, follows_the_wall_clock_but_takes_a_jump_ahead_for_true_only_after_a_window) {
  AgingClock clock(10min);
  Now now{MonotonicTime(1h), 1'000'000'000};
  /// By how much the clock is behind the wall clock afterwards.
  const auto behind_after = [&](Milliseconds time, Milliseconds jump = 0ms) {
    now.monotonic += time;
    now.wall += (time + jump).count();
    return Milliseconds(now.wall - clock.read(now));
  };
  EXPECT_EQ(behind_after(0ms), 0ms);
  EXPECT_EQ(behind_after(1min), 0ms);
  EXPECT_EQ(behind_after(1min, 1h), 1h);
  EXPECT_EQ(behind_after(9min), 1h) << "the window before this one counts";
  EXPECT_EQ(behind_after(10min), 0ms);
  EXPECT_EQ(behind_after(1min, -2h), 0ms) << "set back: what looks younger is kept";
  EXPECT_EQ(behind_after(1min, 2h), 2h);
  EXPECT_EQ(behind_after(20min), 2h) << "nobody looked meanwhile";
  EXPECT_EQ(behind_after(10min), 0ms);
}

}  // namespace
}  // namespace barrel_p2p::services
