#include "base/buffer_pool.hpp"

#include <algorithm>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

BufferPool& BufferPool::shared() {
  // Never destroyed: buffers may come back while the program ends.
  static auto* const pool = new BufferPool;
  return *pool;
}

Bytes BufferPool::take(std::size_t bytes) {
  if (bytes >= buffer_bytes_least && bytes <= buffer_bytes_max) {
    const std::lock_guard lock(mutex_);
    for (std::size_t at = kept_.size(); at-- > 0;) {
      const std::size_t capacity = kept_[at].buffer.capacity();
      if (capacity < bytes || capacity > waste_factor * bytes) continue;
      Bytes found = std::move(kept_[at].buffer);
      kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(at));
      kept_bytes_ -= capacity;
      return found;
    }
  }
  Bytes fresh;
  fresh.reserve(bytes);
  return fresh;
}

void BufferPool::give_back(Bytes&& buffer) noexcept {
  Bytes taken = std::move(buffer);
  const std::size_t capacity = taken.capacity();
  if (capacity < buffer_bytes_least || capacity > buffer_bytes_max) return;
  taken.clear();
  const MonotonicTime now = monotonic_now();
  const std::lock_guard lock(mutex_);
  drop_unused_locked(now);
  if (kept_bytes_ + capacity > kept_bytes_max) return;
  try {
    kept_.push_back({std::move(taken), now});
  } catch (...) {  // no memory: then it is not kept
    return;
  }
  kept_bytes_ += capacity;
}

void BufferPool::drop_unused(MonotonicTime now) noexcept {
  const std::lock_guard lock(mutex_);
  drop_unused_locked(now);
}

void BufferPool::drop_unused_locked(MonotonicTime now) noexcept {
  const auto fresh = std::ranges::find_if(kept_, [now](const Kept& kept) { return now - kept.since < kept_for; });
  for (auto kept = kept_.begin(); kept != fresh; ++kept) kept_bytes_ -= kept->buffer.capacity();
  kept_.erase(kept_.begin(), fresh);
}

std::size_t BufferPool::kept_bytes() const {
  const std::lock_guard lock(mutex_);
  return kept_bytes_;
}

std::shared_ptr<const Bytes> BufferPool::lend(Bytes&& buffer) {
  if (buffer.capacity() < buffer_bytes_least) return std::make_shared<const Bytes>(std::move(buffer));
  return {new Bytes(std::move(buffer)), [this](Bytes* used) noexcept {
            give_back(std::move(*used));
            delete used;
          }};
}

}  // namespace v0
}  // namespace barrel_p2p
