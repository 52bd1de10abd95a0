// What waits for the cluster thread: filled by any thread, emptied by its work, bounded in bytes.
//
// What a peer sends is always taken, but beyond the bound its channel is to be read no more until the queue is down to
// half of it; so a peer can exceed the bound by what it has in one read. One peer alone may fill a part of the queue
// only: what the others send waits no longer than for that. What the program asks for is refused beyond the bound,
// unless it must not fail. Thread safe.
#pragma once

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "distribution/outcome.hpp"
#include "node/channel.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

template <class Input>
class InputQueue {
 public:
  struct Entry {
    Input input;
    std::size_t bytes = 0;
    std::optional<Atom> source;  ///< The peer that sent it.
  };
  enum class Pushed : std::uint8_t {
    queued,
    wake,    ///< Queued, and it was empty: somebody must empty it.
    full,    ///< Refused.
    closed,  ///< Refused.
  };

  explicit InputQueue(std::size_t bytes_max) noexcept
      : bytes_max_(bytes_max), share_max_(std::max(bytes_max / peers_at_once, std::min(bytes_max, share_min))) {}

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
  /// What came from a peer, on this channel. `congested` once, until `done` returns the channel. `may_hold`: false
  /// where somebody else holds it because of this one.
  std::pair<Pushed, distribution::DeliverOutcome> push_received(Input input, std::size_t bytes, const Channel& channel,
                                                                bool may_hold = true) {
    const std::lock_guard lock(mutex_);
    const Pushed pushed = append(std::move(input), bytes, channel.node);
    if (closed_) return {pushed, distribution::DeliverOutcome::accepted};
    Source& source = sources_[channel.node];
    source.bytes += bytes;
    if (bytes_ <= bytes_max_ && source.bytes <= share_max_) return {pushed, distribution::DeliverOutcome::accepted};
    if (!may_hold || (source.held && source.epoch == channel.epoch)) {
      return {pushed, distribution::DeliverOutcome::accepted};
    }
    if (!source.held) ++held_back_;
    source.held = true;
    source.epoch = channel.epoch;
    return {pushed, distribution::DeliverOutcome::congested};
  }

  /// All of it, the oldest first. Its bytes count until they are told to `done`.
  std::vector<Entry> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(entries_, {});
  }
  /// Returns the channels that are to be read again.
  std::vector<Channel> done(const Entry& entry) {
    std::vector<Channel> free;
    if (entry.bytes == 0) return free;
    const std::lock_guard lock(mutex_);
    const bool was_long = bytes_ > bytes_max_ / 2;
    bytes_ -= entry.bytes;
    const auto source = entry.source ? sources_.find(*entry.source) : sources_.end();
    if (source != sources_.end()) source->second.bytes -= entry.bytes;
    if (bytes_ > bytes_max_ / 2) return free;
    // Returns the place behind it.
    const auto release = [&](auto at) {
      Source& one = at->second;
      if (one.held && one.bytes <= share_max_ / 2) {
        one.held = false;
        free.push_back({at->first, one.epoch});
      }
      return one.bytes == 0 ? sources_.erase(at) : std::next(at);
    };
    if (was_long) {
      for (auto at = sources_.begin(); at != sources_.end();) at = release(at);
    } else if (source != sources_.end()) {
      release(source);
    }
    return free;
  }
  /// How often a channel was held back.
  [[nodiscard]] std::uint64_t held_back() const {
    const std::lock_guard lock(mutex_);
    return held_back_;
  }
  /// What waits, or is being worked on.
  [[nodiscard]] std::size_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }
  /// Refuses everything from now on, and forgets what is there.
  void close() {
    std::vector<Entry> forgotten;  // without the lock: who waits for an answer is told, and may ask again
    const std::lock_guard lock(mutex_);
    closed_ = true;
    forgotten.swap(entries_);
    sources_.clear();
  }

 private:
  static constexpr std::size_t peers_at_once = 16;        ///< That fill the queue together, when each has its share.
  static constexpr std::size_t share_min = 256UL * 1024;  ///< Several of the largest common messages.

  struct Source {
    std::size_t bytes = 0;
    bool held = false;
    std::uint64_t epoch = 0;  ///< Of the channel that is held.
  };

  Pushed append(Input&& input, std::size_t bytes, std::optional<Atom> source = {}) {
    if (closed_) return Pushed::closed;
    bytes_ += bytes;
    entries_.push_back({std::move(input), bytes, std::move(source)});
    return entries_.size() == 1 ? Pushed::wake : Pushed::queued;
  }

  const std::size_t bytes_max_;
  const std::size_t share_max_;  ///< Bytes that one peer may have in it.
  mutable std::mutex mutex_;
  bool closed_ = false;
  std::size_t bytes_ = 0;
  std::vector<Entry> entries_;
  std::unordered_map<Atom, Source> sources_;  ///< Of what waits, and of channels that are held.
  std::uint64_t held_back_ = 0;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
