// Messages on their way to one peer: filled by any thread, emptied by the transport thread.
//
// A message is encoded on the thread that sends it, so that the transport thread only moves buffers. Its bound is in
// bytes: above `busy_bytes` senders are told to wait, above `bytes_max` what is not essential is refused, and above
// four times that the channel is given up. While a channel is being set up its flags are not known yet; signals then
// wait unencoded, with the same bounds.
//
// Thread safe. Order: messages pushed by one thread leave in that order.
#pragma once

#include <algorithm>
#include <atomic>
#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "base/shared_bytes.hpp"
#include "distribution/control.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// One or more complete frames for one data stream. Buffers are shared with the QUIC send queue, never copied.
struct OutgoingMessage {
  std::uint32_t stream_index = 0;  ///< Of the pool of data streams that we opened.
  boost::container::small_vector<SharedBytes, 1> buffers;
  std::size_t bytes = 0;
};

/// A signal that waits for a channel.
struct WaitingSignal {
  Signal signal;
  Pid stream_key;
};

class Outbox {
 public:
  struct Limits {
    std::size_t busy_bytes;  ///< Senders wait above this.
    std::size_t bytes_max;   ///< Above this `push` refuses what `essential` does not mark.
    /// Above this everything is refused. Answers to an honest peer stay far below: a million ends of processes are some
    /// 100 MB, and it reads them.
    [[nodiscard]] constexpr std::size_t essential_bytes_max() const noexcept {
      constexpr std::size_t least = 4UL * 1024 * 1024;
      constexpr std::size_t times = 4;
      return std::max(times * bytes_max, least);
    }
  };

  enum class State : std::uint8_t { down, dialing, up };
  /// `unread`: the peer does not read what it is sent, and the channel is to be closed.
  enum class Pushed : std::uint8_t { accepted, busy, full, unread, stale, refused };
  struct PushResult {
    Pushed outcome;
    /// The transport thread must be told: nothing was waiting before, or a dial is wanted; with `unread`, for the first
    /// time on this channel.
    bool wake = false;
  };
  struct Snapshot {
    State state;
    std::uint64_t epoch;
    std::uint64_t flags;
    std::uint32_t peer_creation;
    bool has_room;
  };

  explicit Outbox(Limits limits) noexcept : limits_(limits) {}

  /// If there is no room for what is not essential, it is as if `push` had said `full`.
  [[nodiscard]] Snapshot snapshot(bool essential);
  /// Queues an encoded message for the channel `epoch`; `stale` when that channel is gone. Essential messages (answers,
  /// exit signals) are accepted above the upper bound, since somebody waits for them, up to one of their own: a peer
  /// can ask for any number of them and read none.
  PushResult push(std::uint64_t epoch, OutgoingMessage&& message, bool essential);
  /// Whether senders are to wait. If so, `set_transport_queue` tells when they may go on.
  bool await_room();
  /// Queues a signal while no channel is up, and asks for a dial when none is in progress. `stale`: a channel came up
  /// meanwhile. `refused`: the last dial failed a moment ago, or dialing is not wanted. Essential ones that are above
  /// their bound find it `full`.
  /// `signal` is moved from only when it was accepted (or busy).
  PushResult push_waiting(Signal&& signal, const Pid& stream_key, std::size_t bytes, bool essential, bool may_dial,
                          MonotonicTime now);

  /// A number for a message that is sent in fragments, unique on the channel.
  std::uint64_t next_sequence() noexcept { return sequence_.fetch_add(1, std::memory_order_relaxed); }

  /// Somebody sent something over the channel.
  void mark_used() noexcept { used_.store(true, std::memory_order_relaxed); }

  // Transport thread.
  /// Whether it was used since the last look.
  bool take_used() noexcept { return used_.exchange(false, std::memory_order_relaxed); }
  /// Down, empty, and no back-off to remember.
  [[nodiscard]] bool may_be_forgotten(MonotonicTime now) const;
  /// Bytes that wait here or in the QUIC send queue.
  [[nodiscard]] std::size_t waiting_bytes() const {
    const std::lock_guard lock(mutex_);
    return queued();
  }
  void set_dialing();
  /// Returns what waited for the channel, to be encoded and pushed before anything else: the caller holds the transport
  /// thread, and other threads go on pushing to the waiting queue until it is empty (`set_up` returns an empty deque
  /// and the state is up).
  std::deque<WaitingSignal> set_up(std::uint64_t epoch, std::uint64_t flags, std::uint32_t peer_creation);
  /// Drops everything. Returns how many messages were dropped. No send asks for a dial before `retry_at`.
  std::size_t set_down(MonotonicTime retry_at);
  /// Takes all messages of the channel that is up. What `into` held is gone, its memory is used for those to come.
  void take(std::vector<OutgoingMessage>& into);
  /// What the QUIC send queue of this peer holds; counts towards the bounds. Returns true when senders that wait may go
  /// on.
  bool set_transport_queue(std::size_t bytes);

 private:
  [[nodiscard]] std::size_t queued() const noexcept { return bytes_ + transport_bytes_; }
  [[nodiscard]] bool is_full(bool essential) const noexcept {
    return queued() >= (essential ? limits_.essential_bytes_max() : limits_.bytes_max);
  }

  const Limits limits_;
  std::atomic<std::uint64_t> sequence_{1};
  std::atomic<bool> used_{false};
  mutable std::mutex mutex_;
  State state_ = State::down;
  MonotonicTime retry_at_{};
  std::uint64_t epoch_ = 0;
  std::uint64_t flags_ = 0;
  std::uint32_t peer_creation_ = 0;
  std::vector<OutgoingMessage> messages_;
  std::deque<WaitingSignal> waiting_;
  std::size_t bytes_ = 0;            ///< In messages_ and waiting_.
  std::size_t transport_bytes_ = 0;  ///< In the QUIC send queue.
  bool unread_told_ = false;         ///< Somebody was told `unread` to close this channel.
  bool senders_wait_ = false;        ///< Somebody was told `busy` or `full` since the last time the queue was short.
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
