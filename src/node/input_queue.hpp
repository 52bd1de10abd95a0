// What waits for the cluster thread: filled by any thread, emptied by that one, bounded in bytes.
//
// What a peer sends is always taken, but beyond the bound its channel is to be read no more until the queue is down to
// half of it; so a peer can exceed the bound by what it has in one read. What the program asks for is refused beyond
// the bound, unless it must not fail. Thread safe.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "distribution/outcome.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

template <class Input>
class InputQueue {
 public:
  struct Channel {
    Atom node;
    std::uint64_t epoch = 0;
  };
  struct Entry {
    Input input;
    std::size_t bytes = 0;
  };
  enum class Pushed : std::uint8_t {
    queued,
    wake,    ///< Queued, and it was empty: somebody must empty it.
    full,    ///< Refused.
    closed,  ///< Refused.
  };

  explicit InputQueue(std::size_t bytes_max) noexcept : bytes_max_(bytes_max) {}

  /// What must not be lost.
  Pushed push(Input input) {
    const std::lock_guard lock(mutex_);
    return append(std::move(input), 0);
  }
  /// What the program asks for.
  Pushed push_if_short(Input input, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (!closed_ && bytes_ + bytes > bytes_max_) return Pushed::full;
    return append(std::move(input), bytes);
  }
  /// What came from a peer, on this channel.
  std::pair<Pushed, distribution::DeliverOutcome> push_received(Input input, std::size_t bytes, Channel channel) {
    const std::lock_guard lock(mutex_);
    const Pushed pushed = append(std::move(input), bytes);
    if (closed_ || bytes_ <= bytes_max_) return {pushed, distribution::DeliverOutcome::accepted};
    held_.push_back(std::move(channel));
    return {pushed, distribution::DeliverOutcome::congested};
  }

  /// All of it, the oldest first. Its bytes count until they are told to `done`.
  std::vector<Entry> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(entries_, {});
  }
  /// Returns the channels that are to be read again.
  std::vector<Channel> done(std::size_t bytes) {
    if (bytes == 0) return {};
    const std::lock_guard lock(mutex_);
    bytes_ -= bytes;
    return bytes_ <= bytes_max_ / 2 ? std::exchange(held_, {}) : std::vector<Channel>();
  }
  /// Refuses everything from now on, and forgets what is there.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    entries_.clear();
    held_.clear();
  }

 private:
  Pushed append(Input&& input, std::size_t bytes) {
    if (closed_) return Pushed::closed;
    bytes_ += bytes;
    entries_.push_back({std::move(input), bytes});
    return entries_.size() == 1 ? Pushed::wake : Pushed::queued;
  }

  const std::size_t bytes_max_;
  std::mutex mutex_;
  bool closed_ = false;
  std::size_t bytes_ = 0;
  std::vector<Entry> entries_;
  std::vector<Channel> held_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
