// Time. State machines take the time as an argument; only the node and the simulator read a clock.
#pragma once

#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstdint>

namespace barrel_p2p {
inline namespace v0 {

using MonotonicTime = std::chrono::steady_clock::time_point;
using Milliseconds = std::chrono::milliseconds;

/// Unix time in milliseconds.
using WallMilliseconds = std::int64_t;

inline MonotonicTime monotonic_now() noexcept { return std::chrono::steady_clock::now(); }
inline WallMilliseconds wall_now() noexcept {
  return std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace v0
}  // namespace barrel_p2p
