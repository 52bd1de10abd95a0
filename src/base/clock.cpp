#include "base/clock.hpp"

#include <atomic>

namespace barrel_p2p {
inline namespace v0 {
namespace {

std::atomic<Milliseconds::rep> wall_offset{0};

}  // namespace

WallMilliseconds wall_now() noexcept {
  const auto system = std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  return system.count() + wall_offset.load(std::memory_order_relaxed);
}

void set_wall_offset(Milliseconds offset) noexcept { wall_offset.store(offset.count(), std::memory_order_relaxed); }

}  // namespace v0
}  // namespace barrel_p2p
