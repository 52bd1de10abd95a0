// One UDP socket with all QUIC connections of a node, accepted and dialled; and one more for each local address or port
// that connections have moved to.
//
// Lives on one thread, that of the io_context. What strangers can cost is bounded: see the limits in EndpointConfig.
// Source: RFC 9000; protocol document 01, section 2.
#pragma once

#include <array>
#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "quic/address.hpp"
#include "quic/connection.hpp"
#include "quic/credentials.hpp"

namespace boost::asio {
class io_context;
}

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

enum class Congestion : std::uint8_t { bbr, cubic };

struct EndpointConfig {
  Address listen;
  std::string alpn = "erlang-dist";
  std::shared_ptr<const Credentials> credentials;
  Milliseconds idle_timeout{300'000};  ///< What Erlang nodes announce too.
  Milliseconds keep_alive{1000};       ///< PING after this much silence, in both roles.
  Milliseconds handshake_timeout{10'000};
  Congestion congestion = Congestion::bbr;
  std::uint64_t stream_window_bytes =
      8UL * 1024 * 1024;  ///< A frame larger than it would block an Erlang sender for ever.
  std::uint64_t connection_window_bytes = 256UL * 1024 * 1024;
  std::uint64_t streams_bidi_max = 100;           ///< What a peer may have open, ...
  std::uint64_t streams_bidi_admitted_max = 100;  ///< ... and what once it is admitted, see `owner_admits`.
  std::uint64_t streams_uni_max = 100;
  int socket_buffer_bytes = 7 * 1024 * 1024;
  std::size_t connections_max = 16'384;
  /// An accepted connection is half-open until its owner calls `Connection::admit`, not only until the QUIC handshake
  /// is complete: that one proves nothing about the peer.
  bool owner_admits = false;
  /// What a peer may have under way before it is admitted, over all streams: packets that come out of order are kept,
  /// and nobody reads them. More than a channel takes before it is up (`ChannelSettings::early_bytes_max`).
  std::uint64_t unadmitted_window_bytes = 1024UL * 1024 + 128UL * 1024;
  std::size_t half_open_max = 1024;  ///< Accepted connections whose handshake is not complete.
  std::size_t half_open_per_address_max = 64;
  std::size_t retry_from =
      128;  ///< With this many half-open handshakes, or new ones in a second, others must prove their address.
  /// Packets for no connection that are looked at, and connections that begin and come to nothing: see `StrangerGate`.
  double initials_per_second_max = 2000;
  double handshakes_per_second_max = 200;
  bool segmentation_offload = true;   ///< UDP_SEGMENT and UDP_GRO, where the kernel has them.
  bool wide_within_machine = true;    ///< Packets of up to 16 KiB to peers in this machine.
  bool nobody_moves = false;          ///< Peers are asked not to move (`disable_active_migration`).
  std::size_t path_sockets_max = 64;  ///< Of connections that moved; beyond it they share. A descriptor each.
  std::optional<std::array<std::uint8_t, 32>> stateless_reset_secret;  ///< Drawn at random when absent.
};

struct EndpointEvents {
  /// The QUIC handshake of an incoming connection is complete. Its events must be set before the call returns.
  std::function<void(std::shared_ptr<Connection>)> on_accept;
  /// Some datagrams are done, and what answers them has not been written: whatever is given to connections in this call
  /// goes out with it. It may take long, if another thread runs the io_context meanwhile; see `flush_soon`. False: the
  /// caller may not touch the endpoint any more, for another thread runs it.
  std::function<bool()> on_batch;
  /// Something that a person should know about the machine's settings.
  std::function<void(const std::string&)> on_warning;
};

struct EndpointStatistics {
  std::uint64_t datagrams_received = 0;
  std::uint64_t datagrams_sent = 0;
  std::uint64_t datagrams_dropped = 0;    ///< Not QUIC, or for nobody.
  std::uint64_t refused_connections = 0;  ///< By a limit; with the next one:
  std::uint64_t dropped_initials = 0;     ///< First packets that were not looked at.
  std::uint64_t misplaced_datagrams = 0;  ///< Not read: their sender had just moved (peer_moves.hpp).
  bool strangers_filtered = false;        ///< There is a flood, and the kernel keeps most of it away.
  std::uint64_t retries_sent = 0;
  std::uint64_t resets_sent = 0;
  std::size_t connections = 0;
  std::size_t half_open = 0;     ///< Accepted, and not admitted yet.
  std::size_t path_sockets = 0;  ///< Beside the one that listens.
  bool segmentation_offload = false;
};

class Endpoint {
 public:
  /// Errors: `io_error` (address in use, not permitted, not of this machine), `invalid_config`.
  static Result<std::unique_ptr<Endpoint>> open(boost::asio::io_context& context, EndpointConfig config,
                                                EndpointEvents events);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  [[nodiscard]] Address local_address() const;
  /// `server_name`: sent as SNI unless it is empty. `via`: what carries the datagrams in place of the socket; then the
  /// address is only a name.
  Result<std::shared_ptr<Connection>> connect(const Address& address, const std::string& server_name,
                                              ConnectionEvents events, const DatagramPathFactory& via = {});
  /// For handshakes that begin from now on.
  void set_credentials(std::shared_ptr<const Credentials> credentials);
  [[nodiscard]] EndpointStatistics statistics() const;
  /// Datagrams are being taken from a socket, and `on_batch` follows.
  [[nodiscard]] bool reading() const noexcept;
  /// What connections have to say is written soon, even when a call of `on_batch` does not return.
  void flush_soon();
  /// Closes every connection with application code 0 and takes no new ones.
  void close_all();

  struct Native;

 private:
  explicit Endpoint(std::unique_ptr<Native> native);
  std::unique_ptr<Native> native_;
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
