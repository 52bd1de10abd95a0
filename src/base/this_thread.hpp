// What a thread of the library tells the system of itself.
#pragma once

namespace barrel_p2p {
inline namespace v0 {

/// As `top -H`, `perf` and debuggers show it. At most 15 bytes; what is longer is cut off.
void name_this_thread(const char* name) noexcept;
/// Asks the scheduler for turns of 0.1 ms in place of some 3 ms: the thread gets no more of the processor, but it waits
/// less for it once it has something to do. Threads that the network waits for, that is. Kernels before 6.12 have no
/// such choice, and nothing changes there.
void prefer_short_turns() noexcept;

}  // namespace v0
}  // namespace barrel_p2p
