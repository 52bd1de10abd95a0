// The way that datagrams take to a peer: what it is like, moving a connection to another one, and ways of one's own.
// docs/paths.md explains.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace barrel_p2p {
inline namespace v0 {

/// Of one connection, at one moment. A value. Counts are since the connection began, over all its paths; times and
/// windows are of the path of now, and begin anew when `migrate_peer` moves the connection.
struct PathStatistics {
  std::string local;     ///< `10.0.0.1:4433`: from where this node sends; of an adapter, a name only.
  std::string remote;    ///< Where the peer is, as this node sees it.
  bool dialled = false;  ///< We dialled: this side may move.
  std::chrono::microseconds latest_rtt{0};
  std::chrono::microseconds smoothed_rtt{0};   ///< RFC 9002, section 5.3.
  std::chrono::microseconds min_rtt{0};        ///< 0 before the first sample.
  std::chrono::microseconds rtt_variation{0};  ///< Mean deviation.
  std::uint64_t congestion_window_bytes = 0;
  std::uint64_t bytes_in_flight = 0;    ///< Sent and neither acknowledged nor given up.
  std::uint64_t queued_bytes = 0;       ///< Of messages: written and not acknowledged.
  std::uint64_t congestion_events = 0;  ///< Times that loss made the window smaller; with `bbr` it seldom does.
  bool in_recovery = false;             ///< The last of them was less than a round trip ago.
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_received = 0;
  std::uint64_t bytes_sent = 0;  ///< UDP payload.
  std::uint64_t bytes_received = 0;
  /// Of those sent, in packets that were full and brought nothing new: repeats of what was lost, and probes. An
  /// estimate; over `bytes_sent` it is about the part that is lost on the way.
  std::uint64_t bytes_repeated = 0;
  std::size_t datagram_bytes = 0;       ///< Largest UDP payload that the path is known to carry (RFC 8899).
  std::uint64_t migrations = 0;         ///< This side moved.
  std::uint64_t migrations_failed = 0;  ///< It tried to, and stayed.
  std::uint64_t peer_moves = 0;         ///< The peer's address or port changed: it moved, or a NAT bound anew.
  std::size_t streams = 0;              ///< Of programs, open or without their whole tag, of either side.
};

/// A connection took another path, or could not.
struct PathEvent {
  enum class Kind : std::uint8_t {
    migrated,          ///< This side moved, and the new path is validated.
    migration_failed,  ///< The connection stays on its old path.
    peer_moved,        ///< The peer's address or port changed, and the new path is validated.
  } kind;
  NodeName node;
  std::string local;   ///< From now on, as in `PathStatistics`.
  std::string remote;  ///< Likewise.
  std::string reason;  ///< Of `migration_failed`.
};

struct MigrateOptions {
  std::chrono::milliseconds timeout{5000};  ///< Until the new path is validated.
  /// An IP address of this machine to send from. Empty: that at which the node listens or, if it has gone, any.
  std::string local_address{};
};

/// Takes a datagram that came from the peer. Any thread; what comes when the connection is gone, or faster than it is
/// read (8 MiB), is dropped, as a socket does.
using DatagramSink = std::function<void(ByteView datagram)>;

/// Carries the datagrams of one connection in place of the node's socket: through a relay, a tunnel, another protocol.
/// It need not keep order, nor deliver everything; nobody else can read or forge what it carries.
class DatagramPath {
 public:
  DatagramPath() = default;
  DatagramPath(const DatagramPath&) = delete;
  DatagramPath& operator=(const DatagramPath&) = delete;
  virtual ~DatagramPath() = default;
  /// On the node's network thread; must not block. The datagram is the caller's, of at most 1452 bytes.
  virtual void send(ByteView datagram) = 0;
};

/// Makes the path of a new connection; it is let go of when the connection ends. On the node's network thread; must not
/// block.
using DatagramPathFactory = std::function<Result<std::shared_ptr<DatagramPath>>(DatagramSink sink)>;

/// How a peer is dialled, from the next dial on. Connections that the peer makes to us are not affected.
struct ConnectOptions {
  std::string address{};      ///< `host:port` with an IP address, in place of what discovery says. Empty: discovery.
  DatagramPathFactory via{};  ///< Empty: the node's socket. With it no address is needed, and none is looked up.
};

}  // namespace v0
}  // namespace barrel_p2p
