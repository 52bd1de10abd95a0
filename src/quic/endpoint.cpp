#include "quic/endpoint.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "base/random.hpp"
#include "quic/native.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

constexpr std::size_t stateless_reset_bytes_min = 21;  ///< RFC 9000, section 10.3.
/// How long an acknowledgement may wait for a packet to go with. A peer whose last packet was lost waits at least so
/// long before it repeats it; of 25 ms, which RFC 9000 proposes, that is most of it in a local network.
constexpr ngtcp2_duration ack_delay = 5 * NGTCP2_MILLISECONDS;

ngtcp2_cid random_id() {
  ngtcp2_cid id{};
  id.datalen = connection_id_bytes;
  fill_random({id.data, id.datalen});
  return id;
}

std::string key_of(ByteView id) { return std::string(as_text(id)); }

}  // namespace

ngtcp2_path path_of(const Address& local, const Address& remote) {
  ngtcp2_path path{};
  path.local = {const_cast<sockaddr*>(local.data()), local.size()};     // NOLINT: only read
  path.remote = {const_cast<sockaddr*>(remote.data()), remote.size()};  // NOLINT: only read
  return path;
}

Endpoint::Native::Native(boost::asio::io_context& io, EndpointConfig configuration, EndpointEvents callbacks)
    : context(io),
      config(std::move(configuration)),
      events(std::move(callbacks)),
      gate({config.initials_per_second_max, config.handshakes_per_second_max,
            static_cast<double>(std::max<std::size_t>(config.retry_from, 1))},
           monotonic_now()),
      gate_timer(io),
      receive_buffer(std::make_unique_for_overwrite<std::uint8_t[]>(Socket::read_bytes)),
      send_buffer(segmented_bytes_max + 2 * payload_bytes_within_machine) {
  if (config.stateless_reset_secret) {
    reset_secret = *config.stateless_reset_secret;
  } else {
    fill_random(reset_secret);
  }
  fill_random(token_secret);
}

Endpoint::Native::~Native() = default;

Socket::Settings Endpoint::Native::socket_settings(bool warn) const {
  return {config.socket_buffer_bytes, config.segmentation_offload, warn ? events.on_warning : nullptr};
}

Result<void> Endpoint::Native::open_socket() {
  auto opened = Socket::open(context, config.listen, socket_settings(true));
  if (!opened) return std::unexpected(opened.error());
  socket = std::move(*opened);
  read_from(socket);
  return {};
}

// Sockets of connections that moved.

void Endpoint::Native::forget_closed_sockets() {
  std::erase_if(path_sockets, [](const auto& weak) { return weak.expired(); });
}

Result<std::shared_ptr<Socket>> Endpoint::Native::open_path_socket(const Address& bind) {
  auto opened = Socket::open(context, bind, socket_settings(false));
  if (!opened) return opened;
  read_from(*opened);
  path_sockets.push_back(*opened);
  return opened;
}

Result<std::shared_ptr<Socket>> Endpoint::Native::path_socket(const std::string& local_address,
                                                              const Connection::Native& mover) {
  forget_closed_sockets();
  const bool full = path_sockets.size() >= config.path_sockets_max;
  const auto too_many = [] {
    return fail(Errc::overloaded, "connections of this node use too many local ports already");
  };
  if (!local_address.empty()) {
    const auto bind = Address::make(local_address, 0);
    if (!bind) return std::unexpected(bind.error());
    if (bind->host().find(':') != mover.remote.host().find(':') &&
        (bind->host().find(':') == std::string::npos || mover.remote.host().find(':') == std::string::npos)) {
      return fail(Errc::invalid_argument, local_address + " is of another address family than the peer");
    }
    if (full) return too_many();
    return open_path_socket(*bind);
  }
  // Many connections move at once when the network changes: they share the newest socket.
  std::vector<std::shared_ptr<Socket>> others;
  for (const auto& weak : path_sockets) {
    auto other = weak.lock();
    if (other && other != mover.socket && other->is_like(config.listen)) others.push_back(std::move(other));
  }
  const bool newest = !others.empty() && others.back() == path_sockets.back().lock();
  if (newest || (full && !others.empty())) return others.back();
  if (full && mover.socket != socket) return socket;
  if (full) return too_many();
  auto any = *Address::make(config.listen.family() == AF_INET ? "0.0.0.0" : "::", 0);
  if (is_local(config.listen)) any = Address::make(config.listen.host(), 0).value_or(any);
  return open_path_socket(any);
}

// Receiving.

void Endpoint::Native::read_from(const std::shared_ptr<Socket>& from) {
  const std::weak_ptr<int> weak(alive);
  from->read_with(
      [this, weak](Socket& at) {
        if (weak.expired()) return;
        reading = true;
        at.receive(
            {receive_buffer.get(), Socket::read_bytes},
            [this](Socket& by, const Address& sender, ByteView bytes) { datagram(by, sender, bytes); }, weak);
        if (!weak.expired()) reading = false;
      },
      [this, weak] {
        if (!weak.expired()) end_batch();
      });
}

void Endpoint::Native::end_batch() {
  const std::weak_ptr<int> weak(alive);
  if (events.on_batch && !events.on_batch()) return;
  if (!weak.expired()) flush_all();
}

void Endpoint::Native::datagram(Socket& at, const Address& from, ByteView bytes) {
  ++counters.datagrams_received;
  std::uint32_t version = 0;
  const std::uint8_t* dcid = nullptr;
  const std::uint8_t* scid = nullptr;
  std::size_t dcid_size = 0;
  std::size_t scid_size = 0;
  const int result =
      decode_version_cid(version, dcid, dcid_size, scid, scid_size, bytes.data(), bytes.size(), connection_id_bytes);
  const ByteView id{dcid, dcid_size};
  if (result == 0) {
    if (const auto found = by_id.find(key_of(id)); found != by_id.end() && found->second) {
      const auto connection = found->second;
      return connection->native_->read(at, from, bytes);
    }
  }
  const auto now = monotonic_now();
  if (&at == socket.get()) count_stranger(now);
  const bool long_header = (bytes[0] & 0x80U) != 0;
  if (result == 0 && !long_header) {
    if (!take_stateless_reset(at, from, bytes) && &at == socket.get()) send_stateless_reset(from, bytes, id);
    return;
  }
  if ((result != 0 && result != NGTCP2_ERR_VERSION_NEGOTIATION) || &at != socket.get() || closing) {
    ++counters.datagrams_dropped;
    return;
  }
  if (!gate.look(now)) {
    ++counters.refused_connections;
    ++counters.dropped_initials;
    return;
  }
  if (result != 0) return send_version_negotiation(from, id, {scid, scid_size});
  ngtcp2_pkt_hd header{};
  if (ngtcp2_accept(&header, bytes.data(), bytes.size()) != 0) {
    ++counters.datagrams_dropped;
    return;
  }
  accept(from, bytes, header);
}

// Floods of strangers.

void Endpoint::Native::count_stranger(MonotonicTime now) {
  if (!gate.came(now)) return;
  constexpr auto told_each = std::chrono::minutes(1);
  filter_strangers();
  refresh_filter_later();
  if (flood_told && now - *flood_told < told_each) return;
  flood_told = now;
  if (!events.on_warning) return;
  events.on_warning(std::string("a flood of packets for no connection comes to UDP port ") +
                    std::to_string(socket->local().port()) +
                    (counters.strangers_filtered
                         ? ": until it ends the kernel keeps most of them away, and new connections take longer"
                         : ", and the kernel does not take a socket filter: this node drops them by itself"));
}

void Endpoint::Native::filter_strangers() {
  const auto program = gate.is_flood() ? own_ids.filter(gate.share()) : std::vector<sock_filter>{};
  counters.strangers_filtered = socket->set_filter(program) && gate.is_flood();
}

void Endpoint::Native::refresh_filter_later() {
  gate_timer.expires_after(StrangerGate::window);
  gate_timer.async_wait([this, weak = std::weak_ptr<int>(alive)](auto error) {
    if (error || weak.expired()) return;
    gate.tick(monotonic_now());
    filter_strangers();
    if (gate.is_flood()) refresh_filter_later();
  });
}

bool Endpoint::Native::take_stateless_reset(Socket& at, const Address& from, ByteView bytes) {
  if (bytes.size() < stateless_reset_bytes_min) return false;
  const auto found = by_reset_token.find(key_of(bytes.last(NGTCP2_STATELESS_RESET_TOKENLEN)));
  const auto connection = found == by_reset_token.end() ? nullptr : found->second.lock();
  if (!connection) return false;
  connection->native_->read(at, from, bytes);
  return true;
}

/// The way to it is the loopback interface, the only one that wide.
bool Endpoint::Native::is_within_machine(const Address& peer) const {
  constexpr std::size_t headers_bytes = 48;
  return config.wide_within_machine && route_mtu(peer) >= segmented_bytes_max + headers_bytes;
}

bool Endpoint::Native::admit(const Address& from) {
  const std::string host = from.host();
  const auto found = half_open_by_host.find(host);
  const std::size_t from_host = found == half_open_by_host.end() ? 0 : found->second;
  if (half_open < config.half_open_max && from_host < config.half_open_per_address_max &&
      connections.size() < config.connections_max) {
    return true;
  }
  ++counters.refused_connections;
  return false;
}

void Endpoint::Native::accept(const Address& from, ByteView bytes, const ngtcp2_pkt_hd& header) {
  if (!admit(from)) return;
  ngtcp2_cid original = header.dcid;
  std::size_t token_size = 0;
  const std::uint8_t* token = token_of(header, token_size);
  bool proven = false;
  constexpr ngtcp2_duration token_life = 10 * NGTCP2_SECONDS;
  if (token_size > 0 && token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY) {
    // A token that we cannot verify may be some other node's: it counts as absent.
    ngtcp2_cid odcid{};
    const Address remote = socket->path_address(from);
    proven = ngtcp2_crypto_verify_retry_token(&odcid, token, token_size, token_secret.data(), token_secret.size(),
                                              header.version, remote.data(), remote.size(), &header.dcid, token_life,
                                              timestamp()) == 0;
    if (proven) original = odcid;
  }
  const auto now = monotonic_now();
  if (!proven && (half_open >= config.retry_from || !gate.begin_unproven(now))) {
    send_retry(from, header);
    return;
  }
  const std::string network = proven ? from.network() : std::string();
  if ((proven && !gate.begin_from(network, now)) || !gate.begin(now)) {
    ++counters.refused_connections;
    return;
  }
  auto connection = std::make_shared<Connection>(std::make_unique<Connection::Native>(*this, false));
  auto& native = *connection->native_;
  native.self = connection;
  native.remote = native.validated_remote = from;
  native.socket = socket;
  native.within_machine = is_within_machine(from);
  ngtcp2_settings settings{};
  ngtcp2_transport_params params{};
  fill_settings(settings, params, native.within_machine);
  set_original_dcid(params, original);
  if (proven) {
    set_token(settings, token, token_size);
    params.retry_scid = header.dcid;
    params.retry_scid_present = 1;
  }
  const ngtcp2_cid scid = new_id();
  if (ngtcp2_crypto_generate_stateless_reset_token(params.stateless_reset_token, reset_secret.data(),
                                                   reset_secret.size(), &scid) == 0) {
    params.stateless_reset_token_present = 1;
  }
  const auto calls = Connection::Native::callbacks(false);
  const Address path_remote = socket->path_address(from);
  const auto path = path_of(socket->local(), path_remote);
  if (ngtcp2_conn_server_new(&native.connection, &header.scid, &scid, &path, header.version, &calls, &settings, &params,
                             native.memory.allocator(), &native) != 0)
    return;
  if (!native.start_tls("")) return;
  ngtcp2_conn_set_keep_alive_timeout(native.connection,
                                     static_cast<ngtcp2_duration>(config.keep_alive.count()) * NGTCP2_MILLISECONDS);
  for (const auto& id : {header.dcid, scid}) {
    const std::string key(reinterpret_cast<const char*>(id.data), id.datalen);
    native.ids.push_back(key);
    by_id[key] = connection;
  }
  connections.insert(connection);
  native.counted_half_open = true;
  ++half_open;
  native.half_open_host = from.host();
  native.proven_network = network;
  ++half_open_by_host[native.half_open_host];
  native.read(*socket, from, bytes);
}

void Endpoint::Native::leave_half_open(Connection::Native& connection) {
  if (!std::exchange(connection.counted_half_open, false)) return;
  --half_open;
  const auto found = half_open_by_host.find(connection.half_open_host);
  if (found != half_open_by_host.end() && --found->second == 0) half_open_by_host.erase(found);
}

void Endpoint::Native::let_in(Connection::Native& connection) {
  if (connection.counted_half_open) gate.admitted(connection.proven_network);
  leave_half_open(connection);
}

ngtcp2_cid Endpoint::Native::new_id() const {
  return own_ids.make_unless([this](ByteView id) { return by_id.contains(key_of(id)); });
}

void Endpoint::Native::forget(Connection::Native& connection) {
  for (const auto& id : connection.ids) by_id.erase(id);
  connection.ids.clear();
  for (const auto& token : connection.reset_tokens) by_reset_token.erase(token);
  connection.reset_tokens.clear();
  connection.old_socket.reset();
  if (connection.socket->is_adapter()) connection.socket = socket;  // lets go of the adapter
}

// Packets that belong to no connection.

bool Endpoint::Native::send_retry(const Address& to, const ngtcp2_pkt_hd& header) {
  const ngtcp2_cid scid = new_id();  // by which the answer passes the filter, see `ConnectionIds`
  std::array<std::uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN> token{};
  const Address remote = socket->path_address(to);
  const auto size =
      ngtcp2_crypto_generate_retry_token(token.data(), token_secret.data(), token_secret.size(), header.version,
                                         remote.data(), remote.size(), &scid, &header.dcid, timestamp());
  if (size < 0) return false;
  std::array<std::uint8_t, 256> packet{};
  const auto written = ngtcp2_crypto_write_retry(packet.data(), packet.size(), header.version, &header.scid, &scid,
                                                 &header.dcid, token.data(), static_cast<std::size_t>(size));
  if (written <= 0) return false;
  ++counters.retries_sent;
  return send(*socket, to, {packet.data(), static_cast<std::size_t>(written)}, static_cast<std::size_t>(written));
}

void Endpoint::Native::send_stateless_reset(const Address& to, ByteView bytes, ByteView id) {
  // Shorter than what it answers: two nodes that reset each other come to an end (RFC 9000, section 10.3.3). A reset
  // that answers a keep-alive is short therefore.
  constexpr unsigned per_second_max = 100;
  if (bytes.size() <= stateless_reset_bytes_min) return;
  const auto now = monotonic_now();
  if (now - reset_window >= std::chrono::seconds(1)) {
    reset_window = now;
    resets_in_window = 0;
  }
  if (++resets_in_window > per_second_max) return;
  ngtcp2_cid cid{};
  ngtcp2_cid_init(&cid, id.data(), id.size());
  std::array<std::uint8_t, NGTCP2_STATELESS_RESET_TOKENLEN> token{};
  if (ngtcp2_crypto_generate_stateless_reset_token(token.data(), reset_secret.data(), reset_secret.size(), &cid) != 0)
    return;
  std::array<std::uint8_t, 22> noise{};
  fill_random(noise);
  const std::size_t noise_size = std::min(noise.size(), bytes.size() - 1 - token.size());
  std::array<std::uint8_t, 64> packet{};
  const auto written =
      ngtcp2_pkt_write_stateless_reset(packet.data(), packet.size(), token.data(), noise.data(), noise_size);
  if (written <= 0) return;
  ++counters.resets_sent;
  send(*socket, to, {packet.data(), static_cast<std::size_t>(written)}, static_cast<std::size_t>(written));
}

void Endpoint::Native::send_version_negotiation(const Address& to, ByteView dcid, ByteView scid) {
  const std::array<std::uint32_t, 1> versions{NGTCP2_PROTO_VER_V1};
  std::array<std::uint8_t, 256> packet{};
  if (dcid.size() > NGTCP2_MAX_CIDLEN || scid.size() > NGTCP2_MAX_CIDLEN) return;
  const auto written = ngtcp2_pkt_write_version_negotiation(
      packet.data(), packet.size(), static_cast<std::uint8_t>(random_uint32()), scid.data(), scid.size(), dcid.data(),
      dcid.size(), versions.data(), versions.size());
  if (written > 0)
    send(*socket, to, {packet.data(), static_cast<std::size_t>(written)}, static_cast<std::size_t>(written));
}

// Sending.

bool Endpoint::Native::send(Socket& by, const Address& to, ByteView bytes, std::size_t segment) {
  counters.datagrams_sent += by.send(to, bytes, segment);
  return true;
}

void Endpoint::Native::flush_soon() {
  if (reading || std::exchange(flush_posted, true)) return;
  boost::asio::post(context, [this, weak = std::weak_ptr<int>(alive)] {
    if (weak.expired()) return;
    flush_posted = false;
    flush_all();
  });
}

void Endpoint::Native::flush_all() {
  while (!dirty.empty()) {
    const auto list = std::exchange(dirty, {});
    for (const auto& weak : list) {
      if (const auto connection = weak.lock()) connection->native_->flush();
    }
  }
}

void Endpoint::Native::fill_settings(ngtcp2_settings& settings, ngtcp2_transport_params& params,
                                     bool within_machine) const {
  ngtcp2_settings_default(&settings);
  settings.initial_ts = timestamp();
  settings.cc_algo = config.congestion == Congestion::bbr ? NGTCP2_CC_ALGO_BBR : NGTCP2_CC_ALGO_CUBIC;
  settings.max_tx_udp_payload_size = within_machine ? payload_bytes_within_machine : payload_bytes_max;
  if (within_machine) settings.no_tx_udp_payload_size_shaping = settings.no_pmtud = 1;  // see `packet_bytes`
  settings.handshake_timeout = static_cast<ngtcp2_duration>(config.handshake_timeout.count()) * NGTCP2_MILLISECONDS;
  // 0: ngtcp2 grows no window by itself, `Connection::admit` does.
  settings.max_window = config.owner_admits ? 0 : config.connection_window_bytes;
  settings.max_stream_window = config.stream_window_bytes;
  ngtcp2_transport_params_default(&params);
  params.max_idle_timeout = static_cast<ngtcp2_duration>(config.idle_timeout.count()) * NGTCP2_MILLISECONDS;
  params.max_udp_payload_size = settings.max_tx_udp_payload_size;
  params.max_ack_delay = ack_delay;
  params.initial_max_data = config.connection_window_bytes;
  if (config.owner_admits) {
    params.initial_max_data = std::min(config.connection_window_bytes, config.unadmitted_window_bytes);
  }
  params.initial_max_stream_data_bidi_local = config.stream_window_bytes;
  params.initial_max_stream_data_bidi_remote = config.stream_window_bytes;
  params.initial_max_stream_data_uni = config.stream_window_bytes;
  params.initial_max_streams_bidi = config.streams_bidi_max;
  params.initial_max_streams_uni = config.streams_uni_max;
  params.disable_active_migration = config.nobody_moves ? 1 : 0;
  // One is in use, one for each path that is being validated, and some to spare when a peer moves several times in a
  // row: ngtcp2 0.12 counts those of a move that another one overtook as well.
  params.active_connection_id_limit = 8;
}

// The public face.

Endpoint::Endpoint(std::unique_ptr<Native> native) : native_(std::move(native)) {}

Endpoint::~Endpoint() {
  close_all();
  native_->alive.reset();
  // Connections may be held for longer, and hold theirs.
  native_->socket->close();
  for (const auto& weak : native_->path_sockets) {
    if (const auto path_socket = weak.lock()) path_socket->close();
  }
}

Result<std::unique_ptr<Endpoint>> Endpoint::open(boost::asio::io_context& context, EndpointConfig config,
                                                 EndpointEvents events) {
  if (!config.credentials) return fail(Errc::invalid_config, "an endpoint needs a certificate");
  auto native = std::make_unique<Native>(context, std::move(config), std::move(events));
  if (auto opened = native->open_socket(); !opened) return std::unexpected(opened.error());
  return std::unique_ptr<Endpoint>(new Endpoint(std::move(native)));
}

Address Endpoint::local_address() const { return native_->socket->local(); }

Result<void> Endpoint::Native::dial(const std::shared_ptr<Connection>& connection, const std::string& server_name) {
  auto& native = *connection->native_;
  native.within_machine = !native.socket->is_adapter() && is_within_machine(native.remote);
  ngtcp2_settings settings{};
  ngtcp2_transport_params params{};
  fill_settings(settings, params, native.within_machine);
  const ngtcp2_cid dcid = random_id();
  const ngtcp2_cid scid = new_id();
  const auto calls = Connection::Native::callbacks(true);
  const Address remote = native.socket->path_address(native.remote);
  const auto path = path_of(native.socket->local(), remote);
  if (ngtcp2_conn_client_new(&native.connection, &dcid, &scid, &path, NGTCP2_PROTO_VER_V1, &calls, &settings, &params,
                             native.memory.allocator(), &native) != 0) {
    return fail(Errc::system_error, "ngtcp2 refuses the settings of the connection");
  }
  if (auto tls = native.start_tls(server_name); !tls) return tls;
  ngtcp2_conn_set_keep_alive_timeout(native.connection,
                                     static_cast<ngtcp2_duration>(config.keep_alive.count()) * NGTCP2_MILLISECONDS);
  const std::string key(reinterpret_cast<const char*>(scid.data), scid.datalen);
  native.ids.push_back(key);
  by_id[key] = connection;
  connections.insert(connection);
  native.mark_dirty();
  return {};
}

Result<std::shared_ptr<Connection>> Endpoint::connect(const Address& address, const std::string& server_name,
                                                      ConnectionEvents events, const DatagramPathFactory& via) {
  if (native_->closing) return fail(Errc::stopped, "the endpoint is closing");
  if (native_->connections.size() >= native_->config.connections_max)
    return fail(Errc::overloaded, "limits.connections_max is reached");
  if (!via && !native_->socket->is_dual() && address.family() != native_->socket->local().family()) {
    return fail(Errc::unreachable, address.to_string() +
                                       " is of another address family than the socket that listens on " +
                                       local_address().to_string() + "; listen on :: for both");
  }
  auto connection = std::make_shared<Connection>(std::make_unique<Connection::Native>(*native_, true));
  auto& native = *connection->native_;
  native.self = connection;
  native.remote = native.validated_remote = address;
  native.socket = native_->socket;
  if (via) {
    const std::weak_ptr<int> alive = native_->alive;
    auto adapter = Socket::adapt(
        native_->context, via, address,
        [raw = native_.get(), alive](Socket& at, const Address& from, ByteView bytes) {
          if (!alive.expired()) raw->datagram(at, from, bytes);
        },
        [raw = native_.get(), alive] {
          if (!alive.expired()) raw->end_batch();
        });
    if (!adapter) return std::unexpected(adapter.error());
    native.socket = std::move(*adapter);
  } else {
    native.source = native.source_host();
  }
  native.events = std::move(events);
  if (auto dialled = native_->dial(connection, server_name); !dialled) return std::unexpected(dialled.error());
  return connection;
}

void Endpoint::set_credentials(std::shared_ptr<const Credentials> credentials) {
  native_->config.credentials = std::move(credentials);
}

bool Endpoint::reading() const noexcept { return native_->reading; }

void Endpoint::flush_soon() { native_->flush_soon(); }

EndpointStatistics Endpoint::statistics() const {
  EndpointStatistics statistics = native_->counters;
  statistics.connections = native_->connections.size();
  statistics.half_open = native_->half_open;
  statistics.segmentation_offload = native_->socket->offloads();
  statistics.path_sockets = static_cast<std::size_t>(
      std::ranges::count_if(native_->path_sockets, [](const auto& weak) { return !weak.expired(); }));
  return statistics;
}

void Endpoint::close_all() {
  native_->closing = true;
  for (const auto& connection : std::vector(native_->connections.begin(), native_->connections.end()))
    connection->close(0, "shutting down");
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
