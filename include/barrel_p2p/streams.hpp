// Streams: bytes in order between two nodes, both ways, beside the messages and on the same connection. For what is too
// large, or too long, for a message. docs/streams.md explains the whole.
//
//   auto acceptor = node.accept_streams("acme.echo", [](Process& self, Stream stream) -> Task<> {   // on one node
//     for (;;) {
//       Result<Bytes> bytes = co_await stream.read(self);
//       if (!bytes || bytes->empty()) co_return;               // reset or lost; or the peer has finished
//       Result<void> sent = co_await stream.write(self, std::move(*bytes));
//       if (!sent) co_return;
//     }
//   });   // streams are taken as long as it lives
//
//   Result<Stream> stream = node.open_stream("b@127.0.0.1", "acme.echo");           // on another
//
// Every function that waits has three faces: for a process, which waits without holding its thread; blocking, for other
// threads, not for processes or callbacks; and with a callback, which runs once, on the node's network thread, and must
// not block. node.hpp says what holds of it on a node that stops; an empty handle, which is of no node, answers within
// the call.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/process.hpp>
#include <barrel_p2p/task.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace barrel_p2p {
inline namespace v0 {

namespace distribution {
class StreamCore;
class TagAcceptor;
struct StreamShared;
}  // namespace distribution

/// One stream. Whoever holds the handle owns the stream; to move it is to hand it over. It may outlive the node. One
/// thread or process may read and another one write; one of each at a time.
///
/// When the handle goes, what was finished is still delivered, and what was not is reset with code 0: a process that
/// ends takes its streams with it.
///
/// Errors of all functions: `reset` (`reset_code` tells the code), `connection_refused` (a stream that we opened:
/// nobody takes its tag there, or nobody had time for it), `no_connection` (the connection is gone; what had arrived
/// can still be read), `cancelled` (the handle went meanwhile), `invalid_argument` (an empty handle).
class BARREL_P2P_API Stream {
 public:
  using Duration = std::chrono::milliseconds;
  static constexpr std::size_t read_bytes_max = 64UL * 1024;  ///< What one read gives at most, unless asked for less.

  Stream() noexcept = default;
  Stream(Stream&& other) noexcept = default;
  Stream& operator=(Stream&& other) noexcept;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  [[nodiscard]] bool is_valid() const noexcept { return core_ != nullptr; }
  /// The node at the other end.
  [[nodiscard]] NodeName peer() const;
  [[nodiscard]] const std::string& tag() const;
  /// The same number at both ends; unique on one connection of the two nodes.
  [[nodiscard]] std::int64_t id() const;
  [[nodiscard]] bool opened_here() const;

  /// The next bytes: some as soon as there are any, at most `max`. Empty: the peer has finished and all was read.
  /// The peer is stopped when a stream's window, 8 MiB, is full of what was not read. Errors also: `timeout`.
  [[nodiscard]] Task<Result<Bytes>> read(Process& self, std::optional<Duration> limit = std::nullopt,
                                         std::size_t max = read_bytes_max);
  [[nodiscard]] Result<Bytes> read(Duration limit, std::size_t max = read_bytes_max);
  void read(std::function<void(Result<Bytes>)> done, std::size_t max = read_bytes_max);

  /// Waits until the stream has taken all of it; `limits.stream_send_bytes` may be under way. Errors also: `closed`
  /// (after `finish`), `timeout` (some of it was taken: reset the stream).
  [[nodiscard]] Task<Result<void>> write(Process& self, Bytes bytes, std::optional<Duration> limit = std::nullopt);
  [[nodiscard]] Result<void> write(Bytes bytes, Duration limit);
  void write(Bytes bytes, std::function<void(Result<void>)> done);

  /// Waits until all that was written has arrived at the peer's node; whether a program has read it only a program can
  /// tell. Errors also: `timeout`.
  [[nodiscard]] Task<Result<void>> flush(Process& self, std::optional<Duration> limit = std::nullopt);
  [[nodiscard]] Result<void> flush(Duration limit);
  void flush(std::function<void(Result<void>)> done);

  /// Nothing more will be written: the peer reads what is there and then the end. Reading goes on. Does not wait; a
  /// second time does nothing.
  [[nodiscard]] Result<void> finish();
  /// Ends both directions at once; what is under way is dropped. The peer learns the code, which is the program's,
  /// below 2^62, but for 0 (an owner went), 0x100 (refused) and 0x101 (too much was not read). Throws
  /// std::invalid_argument from 2^62 on.
  void reset(std::uint64_t code = 0);
  /// How the stream was reset, by whom ever.
  [[nodiscard]] std::optional<std::uint64_t> reset_code() const;

  /// Arrived and not read.
  [[nodiscard]] std::size_t unread_bytes() const;
  /// Written and not yet at the peer's node.
  [[nodiscard]] std::size_t unsent_bytes() const;

  /// For the library.
  Stream(std::shared_ptr<distribution::StreamCore> core, std::shared_ptr<distribution::StreamShared> shared) noexcept;

 private:
  std::shared_ptr<distribution::StreamCore> core_;
  std::shared_ptr<distribution::StreamShared> shared_;
};

/// A process of its own for each stream.
using StreamProcess = std::function<Task<>(Process& self, Stream stream)>;
/// Runs on the node's network thread and must not block.
using StreamCallback = std::function<void(Stream stream)>;

struct AcceptOptions {
  std::size_t backlog = 128;  ///< Streams that wait for `next`; more are refused.
};

/// Takes streams of one tag, as long as it lives. When it goes those that nobody has taken are reset with code 0, and
/// later ones are refused; those that were taken go on. It may outlive the node.
class BARREL_P2P_API StreamAcceptor {
 public:
  using Duration = std::chrono::milliseconds;

  StreamAcceptor() noexcept = default;
  StreamAcceptor(StreamAcceptor&& other) noexcept = default;
  StreamAcceptor& operator=(StreamAcceptor&& other) noexcept;
  StreamAcceptor(const StreamAcceptor&) = delete;
  StreamAcceptor& operator=(const StreamAcceptor&) = delete;
  ~StreamAcceptor();

  /// The next stream; with all that its opener has sent by then. Not for acceptors with a function. Any number may
  /// wait: each stream goes to one of them. Errors: `closed` (also: the node stops), `timeout`.
  [[nodiscard]] Task<Result<Stream>> next(Process& self, std::optional<Duration> limit = std::nullopt);
  [[nodiscard]] Result<Stream> next(Duration limit);
  void next(std::function<void(Result<Stream>)> done);

  /// After it returns the function neither runs nor will, unless it was the function that closed.
  void close();

  /// For the library.
  StreamAcceptor(std::string tag, std::shared_ptr<distribution::TagAcceptor> acceptor,
                 std::shared_ptr<distribution::StreamShared> shared) noexcept;

 private:
  std::string tag_;
  std::shared_ptr<distribution::TagAcceptor> acceptor_;
  std::shared_ptr<distribution::StreamShared> shared_;
};

/// Of a node, over all peers.
struct StreamStatistics {
  std::uint64_t opened = 0;           ///< By this node.
  std::uint64_t accepted = 0;         ///< Opened by peers, and taken.
  std::uint64_t refused_tag = 0;      ///< Opened by peers: nobody takes the tag, or it was empty or cut off.
  std::uint64_t refused_busy = 0;     ///< `AcceptOptions::backlog` streams were waiting.
  std::uint64_t refused_waiting = 0;  ///< `limits.streams_awaiting_tag_max` of the peer's were without a whole tag.
  std::uint64_t refused_late = 0;     ///< The tag was not whole within `limits.stream_tag_timeout_ms`.
  std::uint64_t reset_unread = 0;     ///< Reset because of `limits.stream_unread_bytes_max`.
  std::uint64_t reset_by_peer = 0;
  std::uint64_t lost = 0;  ///< With their connection.
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
  std::size_t open = 0;  ///< Now.
};

}  // namespace v0
}  // namespace barrel_p2p
