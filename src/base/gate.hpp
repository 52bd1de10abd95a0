// What handles hold that may outlive the thing they are for.
#pragma once

#include <barrel_p2p/version.hpp>
#include <mutex>
#include <shared_mutex>

namespace barrel_p2p {
inline namespace v0 {

/// Thread safe.
template <class Part>
class Gate {
 public:
  explicit Gate(Part& part) noexcept : part_(&part) {}

  /// Calls `use` with the part, or with nullptr when the gate is closed. The gate stays open meanwhile.
  template <class Use>
  auto with(const Use& use) {
    const std::shared_lock lock(mutex_);
    return use(part_);
  }
  /// Waits for who uses the part. Not from within a use.
  void close() {
    const std::unique_lock lock(mutex_);
    part_ = nullptr;
  }

 private:
  std::shared_mutex mutex_;
  Part* part_;
};

}  // namespace v0
}  // namespace barrel_p2p
