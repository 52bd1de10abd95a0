// Large buffers that are used again.
//
// A buffer of a megabyte that is freed goes back to the operating system, and the next one costs a page fault for every
// 4 KiB: more than decrypting what is put into it. So the process keeps some of them.
//
// Thread safe.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {

class BufferPool {
 public:
  static constexpr std::size_t buffer_bytes_least = 64UL * 1024;      ///< Smaller ones are left to malloc.
  static constexpr std::size_t buffer_bytes_max = 4UL * 1024 * 1024;  ///< Larger ones are rare.
  static constexpr std::size_t kept_bytes_max = 16UL * 1024 * 1024;   ///< Of all buffers that wait for use.

  /// The one of this process.
  static BufferPool& shared();

  /// An empty buffer with room for `bytes`.
  Bytes take(std::size_t bytes);
  void give_back(Bytes&& buffer) noexcept;
  /// Shares the content; when nobody uses it any more the buffer comes back.
  std::shared_ptr<const Bytes> lend(Bytes&& buffer);
  /// Gives those back to the system that have waited for too long; what comes back does so too.
  void drop_unused(MonotonicTime now) noexcept;
  [[nodiscard]] std::size_t kept_bytes() const;

 private:
  static constexpr std::size_t waste_factor = 2;  ///< A buffer may be larger than what was asked for by this.

  static constexpr std::chrono::seconds kept_for{10};
  struct Kept {
    Bytes buffer;
    MonotonicTime since;
  };
  void drop_unused_locked(MonotonicTime now) noexcept;

  mutable std::mutex mutex_;
  std::vector<Kept> kept_;  ///< The one that has waited longest first.
  std::size_t kept_bytes_ = 0;
};

}  // namespace v0
}  // namespace barrel_p2p
