// One stream between the program that owns it and the transport thread.
//
// The program takes bytes that arrived and leaves bytes to send; the transport thread does the opposite. Neither waits
// for the other: who finds nothing to do leaves a function that is called once when there is something. What is in here
// is bounded: what arrived by the window of the stream, which is credited only as the program takes it, and what is to
// be sent by `send_bytes_max`, acknowledged bytes counting no more.
//
// Thread safe. One reader and one writer at a time.
#pragma once

#include <array>
#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/shared_bytes.hpp"
#include "quic/connection.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

class StreamCore {
 public:
  /// What does not change. `peer` and `epoch` name the connection: ids begin anew with the next one.
  struct Identity {
    Atom peer;
    std::uint64_t epoch = 0;
    quic::StreamId id = 0;
    std::string tag;
    bool opened_here = false;
  };
  /// What the program wants of the transport thread.
  struct Work {
    std::vector<SharedBytes> bytes;
    bool finish = false;                 ///< After these bytes.
    std::size_t consumed = 0;            ///< Bytes that were taken, to be credited to the peer.
    std::optional<std::uint64_t> reset;  ///< Both directions.
    bool stop_reading = false;
  };
  enum class Wait : std::uint8_t { readable, writable, delivered };
  using Wake = std::function<void()>;

  /// `notify` has the transport thread call `take_work` soon; it is called with no lock held.
  StreamCore(Identity identity, std::size_t send_bytes_max, std::function<void()> notify);

  [[nodiscard]] const Identity& identity() const noexcept { return identity_; }

  // The program.

  /// Up to `max` bytes, at least one. Empty: the peer has finished, and all was read. Nothing: nothing is there yet.
  /// Errors: `reset`, `connection_refused`, `no_connection`, `cancelled` (the handle is gone).
  std::optional<Result<Bytes>> read(std::size_t max);
  /// Takes as much from the front as there is room for and says how much that was. Nothing: there is no room.
  /// Errors: as above; `closed`: this side has finished.
  std::optional<Result<std::size_t>> write(const SharedBytes& bytes);
  /// Ends this direction behind what was written. A second time does nothing. Errors: those of `read`.
  Result<void> finish();
  /// Ends both directions. Does nothing when they have ended.
  void reset(std::uint64_t code);
  /// The handle goes: what was finished is still delivered, what was not is reset with code 0.
  void abandon();
  /// Everything that was written has arrived. Nothing: not yet. Errors: those of `read`.
  std::optional<Result<void>> delivered();
  /// Calls `wake` once, when the wait is over: at once, on this thread, or later on another. A second waiter of the
  /// same kind takes the place of the first.
  void await(Wait what, Wake wake);
  /// The function of `await` is dropped. False: it was called already, or is being called.
  bool forget(Wait what);
  /// The code of the reset that ended the stream, whoever sent it.
  [[nodiscard]] std::optional<std::uint64_t> reset_code() const;
  /// Arrived and not read; written and not acknowledged.
  [[nodiscard]] std::size_t unread_bytes() const;
  [[nodiscard]] std::size_t unsent_bytes() const;

  // The transport thread.

  Work take_work();
  /// False: the program does not want it any more.
  bool deliver(ByteView bytes, bool fin);
  /// So many bytes of this direction, without a preamble, have arrived in all.
  void acknowledge(std::uint64_t total);
  void ended_by_reset(std::uint64_t code);
  /// The peer does not read.
  void ended_by_stop();
  /// The connection is gone. What has arrived can still be read.
  void lost(const Error& error);

 private:
  enum class State : std::uint8_t { open, reset, lost, abandoned };

  [[nodiscard]] std::unexpected<Error> ending() const;
  [[nodiscard]] bool is_over(Wait what) const;
  void set_reset(std::uint64_t code);
  /// Wakes whose wait is over; to be called without the lock.
  std::vector<Wake> due();
  void add_work(std::unique_lock<std::mutex>& lock);
  static void call(std::vector<Wake>&& wakes);

  static constexpr std::size_t credit_step =
      16UL * 1024;  ///< Credited in such pieces: each costs a trip between threads.
  static constexpr std::size_t block_bytes = 64UL * 1024;

  const Identity identity_;
  const std::size_t send_bytes_max_;
  const std::function<void()> notify_;

  mutable std::mutex mutex_;
  State state_ = State::open;
  std::optional<std::uint64_t> code_;
  std::optional<Error> error_;
  std::deque<Bytes> in_;  ///< Blocks, the first one from `in_offset_` on.
  std::size_t in_offset_ = 0;
  std::size_t in_bytes_ = 0;
  bool in_finished_ = false;
  std::uint64_t out_total_ = 0;  ///< Written.
  std::uint64_t out_acked_ = 0;
  bool out_finished_ = false;
  bool out_stopped_ = false;
  Work work_;
  bool notified_ = false;
  std::array<Wake, 3> waits_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
