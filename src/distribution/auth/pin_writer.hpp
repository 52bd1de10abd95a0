// Commits pins on a thread of its own: the disk must not hold up the network.
//
// Bounded by who may ask: every reservation belongs to a connection whose handshake is complete and that is not up yet,
// so the queue is no longer than the limits on half-open connections allow.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "distribution/auth/trust_store.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

class PinWriter {
 public:
  /// Called on the thread of the writer; must not block. What it is told is what `PinReservation::commit` returned.
  using Done = std::function<void(Result<void>)>;

  /// Throws as `std::thread` does: whoever makes it can still tell, in the midst of a handshake nobody can.
  PinWriter();
  /// Waits for the pin that is being written; drops the others.
  ~PinWriter();
  PinWriter(const PinWriter&) = delete;
  PinWriter& operator=(const PinWriter&) = delete;

  // Any thread.
  /// Commits in the order of the calls.
  void commit(PinReservation pin, Done done);
  /// Drops what was not begun, and nobody is told. Does not wait.
  void stop();

 private:
  struct Job {
    PinReservation pin;
    Done done;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool stopped_ = false;
  std::thread thread_;  ///< Last: the others exist before it.
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
