// Signals that end a command, taken as an event, so that it ends in order.
#pragma once

#include <csignal>
#include <initializer_list>

namespace barrel_p2p::command {

/// While it lives the signals kill nobody: their descriptor becomes readable. To be made before threads are, which
/// inherit what is blocked. One at a time.
class Interrupts {
 public:
  Interrupts(std::initializer_list<int> signals = {SIGINT, SIGTERM, SIGHUP});
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  /// The next signal that came, 0 for none. Does not wait.
  [[nodiscard]] int take() const noexcept;

 private:
  sigset_t before_{};
  int descriptor_ = -1;
};

}  // namespace barrel_p2p::command
