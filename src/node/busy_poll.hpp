// Whether it pays to look for work again and again before a thread sleeps.
//
// To sleep and be woken takes the kernel tens of microseconds, on a virtual machine more than what a message takes
// altogether. Who waits for the answer to something it just sent may have it before it would have slept. So a thread
// that has run out of work goes on looking for `budget`, but only while that finds something: after a look in vain it
// leaves out the next one, then 2, 4, up to `left_out_max`. A quiet node hardly ever looks, and who loses its core
// while it looks goes to sleep.
//
// The same idea: halt_poll_ns of KVM, busy polling of sockets (Linux), schedulers of the BEAM. One thread.
#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

class BusyPoll {
 public:
  /// Nothing in `budget`: never looks.
  explicit BusyPoll(std::chrono::microseconds budget) noexcept : budget_(budget) {}

  /// The thread is about to sleep. True: it is to look for work first, and to say what it found.
  [[nodiscard]] bool begin() noexcept {
    if (budget_.count() <= 0) return false;
    if (left_out_ < leave_out_) {
      ++left_out_;
      return false;
    }
    left_out_ = 0;
    return true;
  }

  /// It starts to look, or has run what it found.
  void wait_from(MonotonicTime now) noexcept {
    from_ = looked_ = now;
    first_ = true;
  }

  /// It found something: whether that was worth the wait, or had been there already.
  void found() noexcept {
    if (!first_) leave_out_ = 0;
  }

  /// It found nothing. True: look again.
  [[nodiscard]] bool go_on(MonotonicTime now) noexcept {
    first_ = false;
    const bool kept_core = now - looked_ < interrupted_from;
    looked_ = now;
    if (kept_core && now - from_ < budget_) return true;
    leave_out_ = std::clamp(2 * leave_out_, 1U, left_out_max);
    return false;
  }

 private:
  /// A look takes less than a microsecond: after a longer one somebody else had this core.
  static constexpr std::chrono::microseconds interrupted_from{20};
  static constexpr unsigned left_out_max = 64;

  std::chrono::microseconds budget_;
  MonotonicTime from_{};
  MonotonicTime looked_{};
  bool first_ = true;
  unsigned leave_out_ = 1;
  unsigned left_out_ = 0;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
