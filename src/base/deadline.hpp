// Until when somebody waits who gave a limit.
#pragma once

#include <algorithm>
#include <barrel_p2p/version.hpp>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {

/// The clock ends after 292 years: a longer limit, as that of who wants to wait for ever, would be over at once.
inline constexpr Milliseconds wait_max = std::chrono::hours(24 * 365);

[[nodiscard]] constexpr Milliseconds bounded_limit(Milliseconds limit) noexcept {
  return std::clamp(limit, Milliseconds(0), wait_max);
}
[[nodiscard]] inline MonotonicTime deadline_after(Milliseconds limit) noexcept {
  return monotonic_now() + bounded_limit(limit);
}

}  // namespace v0
}  // namespace barrel_p2p
