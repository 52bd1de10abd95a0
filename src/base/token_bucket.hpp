// A rate with a burst: a bucket that is full at first, that fills at `per_second`, and that holds what one second
// brings. One thread at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {

class TokenBucket {
 public:
  /// `per_second`: 0 for no limit.
  TokenBucket(double per_second, MonotonicTime now) noexcept : rate_(per_second), tokens_(per_second), at_(now) {}

  [[nodiscard]] bool has_limit() const noexcept { return rate_ > 0; }
  [[nodiscard]] double per_second() const noexcept { return rate_; }
  /// False: there is none left; nothing changed.
  bool take(MonotonicTime now) noexcept {
    if (!has_limit()) return true;
    fill(now);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }
  /// So many at once, for which the bucket may go into debt.
  void spend(double tokens, MonotonicTime now) noexcept {
    if (!has_limit()) return;
    fill(now);
    tokens_ -= tokens;
  }
  /// One that was taken was not needed.
  void give_back() noexcept {
    if (has_limit()) tokens_ += 1;
  }
  /// When the bucket has so many, at the latest.
  [[nodiscard]] MonotonicTime when(double tokens) const noexcept {
    if (!has_limit() || tokens_ >= tokens) return at_;
    const std::chrono::duration<double> rest((tokens - tokens_) / rate_);
    return at_ + std::chrono::ceil<Milliseconds>(rest);
  }

 private:
  void fill(MonotonicTime now) noexcept {
    if (now <= at_) return;
    const std::chrono::duration<double> passed = now - std::exchange(at_, now);
    tokens_ = std::min(rate_, tokens_ + rate_ * passed.count());
  }

  double rate_;
  double tokens_;
  MonotonicTime at_;
};

}  // namespace v0
}  // namespace barrel_p2p
