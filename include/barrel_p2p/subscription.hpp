// Handles of subscriptions.
#pragma once

#include <barrel_p2p/version.hpp>
#include <functional>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

/// As long as it lives, the callback that it was returned for is called. After it is gone, or `cancel` has returned,
/// the callback neither runs nor will run, unless it was the callback that cancelled. It may outlive the node. A
/// movable handle; one thread at a time. `cancel`, the destructor and an assignment wait for the callback, if it runs
/// on another thread: whoever holds a lock meanwhile that the callback takes waits for ever.
class [[nodiscard]] Subscription {
 public:
  Subscription() noexcept = default;
  explicit Subscription(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
  Subscription(Subscription&& other) noexcept : cancel_(std::exchange(other.cancel_, nullptr)) {}
  Subscription& operator=(Subscription&& other) noexcept {
    if (this != &other) {
      cancel();
      cancel_ = std::exchange(other.cancel_, nullptr);
    }
    return *this;
  }
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
  ~Subscription() { cancel(); }

  void cancel() {
    if (auto call = std::exchange(cancel_, nullptr)) call();
  }

 private:
  std::function<void()> cancel_;
};

}  // namespace v0
}  // namespace barrel_p2p
