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
/// The system's clock, and what it is set wrong by. From any thread.
WallMilliseconds wall_now() noexcept;

/// Steps what `wall_now` tells in this whole process: it is ahead of the system's clock by `offset` (behind, below 0)
/// from here on; 0, as from the start: right. For the process that plays a node with a wrong clock to the others, and
/// nobody else: no setting, no variable of the environment and no peer reaches it, and no installed header has it.
/// Times in logs stay right. From any thread.
void set_wall_offset(Milliseconds offset) noexcept;

}  // namespace v0
}  // namespace barrel_p2p
