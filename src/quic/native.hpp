// What stands behind Endpoint and Connection. Private to the quic room.
#pragma once

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "quic/connection_ids.hpp"
#include "quic/connection_memory.hpp"
#include "quic/endpoint.hpp"
#include "quic/ngtcp2_compat.hpp"
#include "quic/peer_moves.hpp"
#include "quic/send_queue.hpp"
#include "quic/socket.hpp"
#include "quic/stranger_gate.hpp"
#include "quic/wide_packets.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

constexpr std::size_t payload_bytes_max =
    1452;  ///< Largest UDP payload that we announce and send: Ethernet less IPv6 and UDP headers.
/// The same between two programs of one machine, where no network is in the way: four of them fill a datagram that the
/// kernel takes in pieces (UDP_SEGMENT).
constexpr std::size_t payload_bytes_within_machine = 16'368;
/// What a path carries by which QUIC works at all (RFC 9000, section 14).
constexpr std::size_t payload_bytes_anywhere = 1200;
constexpr std::size_t segmented_bytes_max = 65'487;  ///< A UDP datagram over IPv6, that the kernel takes in pieces.

ngtcp2_tstamp timestamp() noexcept;

/// A move of a connection to another socket that is under way.
struct Migration {
  explicit Migration(boost::asio::io_context& context) : timer(context) {}
  std::shared_ptr<Socket> socket;
  std::vector<std::function<void(Result<void>)>> waiters;
  MonotonicTime begun = monotonic_now();
  MonotonicTime deadline{};
  MonotonicTime ids_awaited_until{};  ///< Then it is done without a fresh connection id.
  bool probing = false;               ///< ngtcp2 validates the path.
  bool rebound = false;  ///< Without a fresh id: we send by the new socket, and wait for the peer to answer there.
  bool overdue = false;  ///< Nobody waits any more; ngtcp2 may still move.
  std::string trouble = "the peer does not answer there";
  boost::asio::steady_timer timer;
};

struct Connection::Native {
  Native(Endpoint::Native& owner, bool initiator_role);
  ~Native();
  Native(const Native&) = delete;
  Native& operator=(const Native&) = delete;

  Result<void> start_tls(const std::string& server_name);
  void read(Socket& at, const Address& from, ByteView datagram);
  void mark_dirty();
  void flush();
  void arm_timer();
  void on_timer();
  void expire();
  void closed(const CloseReason& reason, bool tell);
  void close_now(std::uint64_t code, const std::string& text);
  void send_close(const NgCloseError& error);
  void library_error(int error);
  /// Lets go of what ngtcp2 and GnuTLS hold.
  void release();
  /// Writes packets until nothing can be sent, a quantum at most; one system call for many of them. True: more may
  /// leave at once.
  bool write_packets(ngtcp2_tstamp now);
  /// The time for ngtcp2, which takes none that is before one that it had: version 1 ends the program then.
  ngtcp2_tstamp time(ngtcp2_tstamp ahead = 0) noexcept { return latest = std::max(latest, timestamp() + ahead); }
  [[nodiscard]] std::size_t turn_bytes(const SendStream& stream, std::size_t packet_max) const;
  [[nodiscard]] bool bulk_would_delay(ngtcp2_tstamp now) const;
  [[nodiscard]] bool sends_alone(ngtcp2_tstamp now) const;
  /// Bytes of the largest packet that may be written now.
  [[nodiscard]] std::size_t packet_bytes() const;
  /// What the path is known to carry, and the peer takes.
  [[nodiscard]] std::size_t carried_bytes() const;
  ngtcp2_ssize write_one(std::uint8_t* out, std::size_t size, ngtcp2_tstamp now, ngtcp2_path& path);
  void follow(const Socket& at, const Address& from);
  /// Where ngtcp2 has the peer.
  [[nodiscard]] Address peer_of_path() const;
  [[nodiscard]] std::chrono::nanoseconds pto() const;
  /// That of ours which has the address.
  [[nodiscard]] Socket& socket_at(const ngtcp2_addr& local_address) const;
  [[nodiscard]] NgConnectionInfo statistics_of_path() const;
  /// Counts what loss did since the last look.
  void watch_congestion();
  void sent(std::size_t bytes);

  // Migration, in migration.cpp.
  [[nodiscard]] Result<void> may_migrate() const;
  void migrate(const MigrateOptions& options, std::function<void(Result<void>)> done);
  [[nodiscard]] bool left_by_address() const;
  void try_path();
  void rebind();
  void path_validated(const ngtcp2_path& path, ngtcp2_path_validation_result result);
  void arm_migration(MonotonicTime at);
  void migration_due();
  [[nodiscard]] bool answered_there(std::uint64_t bytes_in_flight_before) const;
  void migrated();
  void migration_failed(const Error& error);
  void end_migration(const Error& error);
  void tell_path(PathEvent::Kind kind, std::string reason);
  [[nodiscard]] std::string source_host() const;
  ngtcp2_ssize offer(SendStream* stream, StreamId id, std::uint8_t* out, std::size_t size, ngtcp2_tstamp now,
                     ngtcp2_path& path);
  /// Tells of streams whose peer stopped reading.
  void tell_stopped();

  static ngtcp2_callbacks callbacks(bool initiator);

  Endpoint::Native& endpoint;
  std::weak_ptr<Connection> self;
  const bool initiator;
  ConnectionMemory memory;
  ngtcp2_conn* connection = nullptr;
  gnutls_session_t tls = nullptr;
  ngtcp2_crypto_conn_ref reference{};
  std::shared_ptr<const Credentials> credentials;
  ConnectionEvents events;
  Address remote;
  std::shared_ptr<Socket> socket;      ///< By which we send.
  std::shared_ptr<Socket> old_socket;  ///< By which we sent before: late datagrams still come there.
  bool old_is_alias = false;           ///< ngtcp2 knows nothing of the old one.
  std::unique_ptr<Migration> migration;
  boost::asio::steady_timer retire_timer;  ///< Of the old socket.
  std::string source;                      ///< The local address, without port, when the path began.
  PeerMoves peer_places;
  Address validated_remote;  ///< Where the peer was when its path was validated last.
  bool established = false;
  bool confirmed = false;  ///< The peer knows that the handshake is complete (RFC 9001, section 4.1.2).
  bool is_closed = false;
  bool dirty = false;
  bool due = false;  ///< `expire` is posted: what is due needs no timer, which takes as long as a packet.
  bool in_callback = false;
  std::optional<std::pair<std::uint64_t, std::string>> wanted_close;  ///< Asked for from inside of a callback.
  bool counted_half_open = false;
  std::string half_open_host;  ///< Under which it is counted: the address of the peer may change.
  std::string proven_network;  ///< Likewise, by the gate. Empty: its address was not proven when it began.
  bool admitted = false;
  SendQueue sending;
  std::uint64_t bulk_reserve = 0;
  bool within_machine = false;  ///< The peer is in this machine: packets may be wide.
  WidePackets wide;
  ngtcp2_tstamp last_signal = 0;                  ///< When a stream that is not bulk had something in a packet.
  StreamId last_stream = -1;                      ///< Whose bytes were in a packet last.
  ngtcp2_tstamp last_change = 0;                  ///< When that was another stream than before.
  std::size_t unpaced_bytes = 0;                  ///< Sent since ngtcp2 was told when.
  std::vector<StreamId> stopped;                  ///< Not told yet.
  std::unordered_set<StreamId> replaced_credits;  ///< Streams of the peer that count no more and are not over.
  bool drained = false;
  ngtcp2_tstamp latest = 0;  ///< The last time that `time` gave.
  MonotonicTime last_receive = monotonic_now();
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_received = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_repeated = 0;
  std::size_t payload = 0;  ///< New bytes of streams in the last packet.
  std::uint64_t congestion_events = 0;
  MonotonicTime last_congestion{};
  std::uint64_t known_window = 0;     ///< At the last look, ...
  std::uint64_t known_threshold = 0;  ///< ... and of slow start.
  std::uint64_t migrations = 0;
  std::uint64_t migrations_failed = 0;
  std::uint64_t peer_moves = 0;
  boost::asio::steady_timer timer;
  ngtcp2_tstamp armed = UINT64_MAX;
  std::vector<std::string> ids;           ///< Connection ids under which the endpoint finds us.
  std::vector<std::string> reset_tokens;  ///< By which the endpoint knows that the peer forgot us.
  bool was_reset = false;
  Bytes close_packet;  ///< Repeated, at a bounded rate, to a peer that goes on sending.
  unsigned close_repeats = 0;
};

struct Endpoint::Native {
  Native(boost::asio::io_context& io, EndpointConfig configuration, EndpointEvents callbacks);
  ~Native();
  Result<void> open_socket();
  void read_from(const std::shared_ptr<Socket>& socket);
  void datagram(Socket& at, const Address& from, ByteView bytes);
  [[nodiscard]] Socket::Settings socket_settings(bool warn) const;
  /// One to move to, by which nobody sends who has `current`. Errors: `io_error`, `overloaded`, `invalid_argument`.
  Result<std::shared_ptr<Socket>> path_socket(const std::string& local_address, const Connection::Native& mover);
  Result<std::shared_ptr<Socket>> open_path_socket(const Address& bind);
  void forget_closed_sockets();
  /// Completes what `connect` began.
  Result<void> dial(const std::shared_ptr<Connection>& connection, const std::string& server_name);
  void accept(const Address& from, ByteView bytes, const ngtcp2_pkt_hd& header);
  /// A packet for no connection came: has the kernel keep most of them away when there are too many.
  void count_stranger(MonotonicTime now);
  void filter_strangers();
  void refresh_filter_later();
  [[nodiscard]] bool is_within_machine(const Address& peer) const;
  bool admit(const Address& from);
  bool take_stateless_reset(Socket& at, const Address& from, ByteView bytes);
  bool send_retry(const Address& to, const ngtcp2_pkt_hd& header);
  void send_stateless_reset(const Address& to, ByteView bytes, ByteView id);
  void send_version_negotiation(const Address& to, ByteView dcid, ByteView scid);
  bool send(Socket& by, const Address& to, ByteView bytes, std::size_t segment);
  void flush_soon();
  void flush_all();
  /// Datagrams were taken from a socket: their events are out, what answers them is not.
  void end_batch();
  /// One that no connection has.
  [[nodiscard]] ngtcp2_cid new_id() const;
  void forget(Connection::Native& connection);
  void leave_half_open(Connection::Native& connection);
  /// It is the connection of a peer, and no longer half-open.
  void let_in(Connection::Native& connection);
  void fill_settings(ngtcp2_settings& settings, ngtcp2_transport_params& params, bool within_machine) const;

  boost::asio::io_context& context;
  EndpointConfig config;
  EndpointEvents events;
  std::shared_ptr<Socket> socket;                   ///< The one that listens.
  std::vector<std::weak_ptr<Socket>> path_sockets;  ///< Others, the newest last; the connections on them own them.
  bool flush_posted = false;
  bool reading = false;  ///< `end_batch` follows.
  bool closing = false;
  std::array<std::uint8_t, 32> reset_secret{};
  std::array<std::uint8_t, 32> token_secret{};
  std::unordered_map<std::string, std::shared_ptr<Connection>> by_id;
  std::unordered_map<std::string, std::weak_ptr<Connection>> by_reset_token;
  std::unordered_set<std::shared_ptr<Connection>> connections;
  std::vector<std::weak_ptr<Connection>> dirty;
  std::unordered_map<std::string, std::size_t> half_open_by_host;
  std::size_t half_open = 0;
  EndpointStatistics counters;
  ConnectionIds own_ids;
  StrangerGate gate;
  boost::asio::steady_timer gate_timer;
  std::optional<MonotonicTime> flood_told;  ///< When a person was told last.
  MonotonicTime reset_window{};
  unsigned resets_in_window = 0;
  std::unique_ptr<std::uint8_t[]> receive_buffer;  ///< As large as many datagrams, and in memory as far as they came.
  Bytes send_buffer;
  std::shared_ptr<int> alive = std::make_shared<int>(0);
};

/// Refers to both, which must outlive it.
ngtcp2_path path_of(const Address& local, const Address& remote);

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
