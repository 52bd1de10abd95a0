// What users read of the placement, from any thread: a copy of the owners, and until when this node's own ones count.
//
// The copy lies behind several locks that readers share, and each thread takes its own, so that readers do not meet;
// who publishes, which happens when members come and go, takes all of them.
#pragma once

#include <array>
#include <atomic>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "base/clock.hpp"
#include "services/placement.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

class PlacementView {
 public:
  struct Placed {
    services::Ring ring;
    std::vector<bool> owned;  ///< By this node.
    std::uint64_t revision = 0;
  };

  explicit PlacementView(std::uint32_t ring_size) : ring_size_(ring_size) {
    publish(std::make_shared<const Placed>(Placed{services::Ring(ring_size), std::vector<bool>(ring_size)}));
  }

  /// One thread at a time.
  void publish(const services::Placement& placement) {
    if (placement.revision() == published_) return;
    published_ = placement.revision();
    publish(std::make_shared<const Placed>(Placed{placement.ring(), placement.owned_set(), published_}));
  }
  /// After what was published: the lease may be a new one, in which less is owned.
  void set_lease(MonotonicTime until) noexcept { lease_until_.store(until, std::memory_order_release); }

  [[nodiscard]] std::uint32_t partition(const Term& key) const { return phash2(key, ring_size_); }
  [[nodiscard]] std::uint32_t ring_size() const noexcept { return ring_size_; }
  /// Of this node's ownership.
  [[nodiscard]] MonotonicTime lease_until() const noexcept { return lease_until_.load(std::memory_order_acquire); }
  /// Calls `use` with the copy: it must be quick.
  template <class Use>
  auto read(const Use& use) const {
    const Slot& slot = slots_[own_slot()];
    const std::shared_lock lock(slot.mutex);
    return use(*slot.placed);
  }
  /// Also at this moment: a node that was paused beyond its lease owns nothing when it wakes, whatever it still
  /// believes.
  [[nodiscard]] bool owns(std::uint32_t partition) const {
    // The lease first: its end is never later than that of the copy that is read then.
    const MonotonicTime until = lease_until();
    return read([&](const Placed& placed) { return placed.owned[partition]; }) && monotonic_now() <= until;
  }

 private:
  static constexpr std::size_t slot_count = 16;
  static constexpr std::size_t cache_line = 64;

  struct alignas(cache_line) Slot {
    mutable std::shared_mutex mutex;
    std::shared_ptr<const Placed> placed;
  };

  static std::size_t own_slot() noexcept {
    static std::atomic<std::size_t> threads{0};
    thread_local const std::size_t slot = threads.fetch_add(1, std::memory_order_relaxed) % slot_count;
    return slot;
  }
  void publish(const std::shared_ptr<const Placed>& placed) {
    for (auto& slot : slots_) {
      const std::unique_lock lock(slot.mutex);
      slot.placed = placed;
    }
  }

  const std::uint32_t ring_size_;
  std::uint64_t published_ = 0;
  std::atomic<MonotonicTime> lease_until_{MonotonicTime{}};
  std::array<Slot, slot_count> slots_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
