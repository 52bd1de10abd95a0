// One QUIC connection.
//
// Lives on the thread of its endpoint. Callbacks come from inside of the endpoint's work; they may call anything here,
// also `close`. Nothing is credited to the peer automatically: whoever consumed bytes says so with `consume`, so a slow
// reader stops the sender. Source: RFC 9000, 9001, 9002; protocol document 01, sections 2 and 3.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/paths.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.hpp"
#include "base/shared_bytes.hpp"
#include "quic/address.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

/// Stream ids as in RFC 9000, section 2.1: bit 0 is set for streams of the server, bit 1 for unidirectional ones.
using StreamId = std::int64_t;

/// Which streams go first when there is more to send than the line takes. Nothing of it is on the wire.
enum class Urgency : std::uint8_t { control, signals, bulk };

struct CloseReason {
  enum class Kind : std::uint8_t {
    local,             ///< We closed it.
    peer_application,  ///< The peer closed it with an application code.
    peer_transport,    ///< The peer closed it with a QUIC error code.
    idle_timeout,
    stateless_reset,  ///< The peer does not know the connection any more.
    handshake,        ///< The handshake failed or took too long.
    protocol,         ///< The peer broke the protocol.
  } kind = Kind::local;
  std::uint64_t code = 0;
  std::string text;
};

/// The connection took another path, or did not.
struct PathChange {
  PathEvent::Kind kind = PathEvent::Kind::migrated;
  std::string reason;  ///< Of `migration_failed`.
};

struct ConnectionEvents {
  std::function<void()> on_established;
  /// Bytes of a stream, in order. `fin`: the last ones.
  std::function<void(StreamId, ByteView, bool fin)> on_stream_data;
  /// All bytes of the stream up to here have arrived at the peer.
  std::function<void(StreamId, std::uint64_t bytes)> on_stream_acked;
  /// The send queue became shorter.
  std::function<void()> on_drained;
  std::function<void(StreamId, std::uint64_t code)> on_stream_reset;
  /// The peer does not want what is written to the stream; QUIC has reset that direction.
  std::function<void(StreamId)> on_stream_stopped;
  /// Both directions are over: finished and acknowledged, or reset. The last event of the stream.
  std::function<void(StreamId)> on_stream_closed;
  std::function<void(const PathChange&)> on_path;
  /// The last event of a connection.
  std::function<void(const CloseReason&)> on_closed;
};

struct WriteOptions {
  bool fin = false;
  /// These bytes are one STREAM frame in a packet of its own (protocol document 01, section 5). At most 1000 bytes.
  bool own_packet = false;
};

class Endpoint;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Native;  ///< ngtcp2 and GnuTLS.

  explicit Connection(std::unique_ptr<Native> native);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void set_events(ConnectionEvents events);
  /// The owner knows who the peer is: from now on it has the whole window, and is half-open no longer. Needed only
  /// where `EndpointConfig::owner_admits` is set; calling it again does nothing.
  void admit();
  [[nodiscard]] bool is_initiator() const noexcept;
  [[nodiscard]] bool is_established() const noexcept;
  [[nodiscard]] bool is_closed() const noexcept;
  /// Where the peer is now: it changes when a NAT on the way gives the peer another address or port.
  [[nodiscard]] const Address& remote() const noexcept;
  /// The certificate of the peer; empty for a peer that showed none.
  [[nodiscard]] Bytes peer_certificate_der() const;
  /// How long the peer may take to acknowledge, by its own word (`max_ack_delay`, RFC 9000, section 18.2). 0 before the
  /// handshake is complete.
  [[nodiscard]] std::chrono::nanoseconds peer_ack_delay() const;
  /// The certificate that we showed on this connection.
  [[nodiscard]] const Bytes& local_certificate_der() const noexcept;

  /// `overloaded` when the peer allows no more streams at the moment.
  Result<StreamId> open_bidi();
  Result<StreamId> open_uni();
  /// Streams are control (0, 2 and 3) or signals unless something else is said. Bytes of bulk count towards no
  /// `queued_bytes`, and their acknowledgement is told stream by stream only.
  void set_urgency(StreamId stream, Urgency urgency);
  /// What was written to the stream before goes out in the class that it has, what is written from now on is bulk.
  void bulk_from_here(StreamId stream);
  /// Bulk leaves so much of the window of the connection to the other streams.
  void set_bulk_reserve(std::uint64_t bytes) noexcept;
  /// Queues bytes. Ignored for streams that do not exist or were reset.
  void write(StreamId stream, SharedBytes bytes, WriteOptions options = {});
  /// The peer may send this many bytes more on the stream.
  void consume(StreamId stream, std::size_t bytes);
  /// Gives up both directions, as far as they exist. What the peer sends on it later is credited and dropped.
  void reset(StreamId stream, std::uint64_t code);
  /// Gives up reading alone.
  void stop_reading(StreamId stream, std::uint64_t code);
  /// Lets the peer open another stream in place of this one, which it will never finish. Does nothing for streams of
  /// our own, a second time, and when the peer has left `abandoned_streams_max` of them unfinished.
  void replace_credit(StreamId stream);
  static constexpr std::size_t abandoned_streams_max = 4096;  ///< Some 300 bytes each.
  /// Closes with an application code. No callback comes after it, not even `on_closed`.
  void close(std::uint64_t code, const std::string& reason);

  [[nodiscard]] std::size_t queued_bytes() const noexcept;  ///< Not acknowledged yet, over all streams but bulk.
  [[nodiscard]] MonotonicTime last_receive_time() const noexcept;
  [[nodiscard]] PathStatistics statistics() const;

  /// Moves to another local address, see `Node::migrate_peer` for the errors. Both sockets are read until the new path
  /// is validated, and for a while after it. The callback runs once, later, from the endpoint's thread. While a
  /// migration is under way another call waits for it, whatever its options.
  void migrate(const MigrateOptions& options, std::function<void(Result<void>)> done);
  /// Datagrams would leave from another address than when the path began, or could not leave: because the address has
  /// gone, or because the kernel prefers another. Asks the kernel. False where `migrate` cannot help.
  [[nodiscard]] bool needs_migration() const;

 private:
  friend class Endpoint;
  friend struct Native;
  std::unique_ptr<Native> native_;
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
