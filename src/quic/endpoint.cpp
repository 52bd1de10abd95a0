#include "quic/endpoint.hpp"

#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/random.hpp"
#include "quic/native.hpp"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

constexpr std::size_t receive_batch = 32;
constexpr std::size_t receive_size = 65'536;           ///< One datagram, or several that GRO put together.
constexpr std::size_t stateless_reset_bytes_min = 21;  ///< RFC 9000, section 10.3.

ngtcp2_cid random_id() {
  ngtcp2_cid id{};
  id.datalen = connection_id_bytes;
  fill_random({id.data, id.datalen});
  return id;
}

std::string key_of(ByteView id) { return std::string(as_text(id)); }

std::unexpected<Error> system_error(const std::string& what) {
  return fail(Errc::io_error, what + ": " + std::generic_category().message(errno));
}

ngtcp2_path path_of(const Address& local, const Address& remote) {
  ngtcp2_path path{};
  path.local = {const_cast<sockaddr*>(local.data()), local.size()};     // NOLINT: only read
  path.remote = {const_cast<sockaddr*>(remote.data()), remote.size()};  // NOLINT: only read
  return path;
}

}  // namespace

Endpoint::Native::Native(boost::asio::io_context& io, EndpointConfig configuration, EndpointEvents callbacks)
    : context(io),
      config(std::move(configuration)),
      events(std::move(callbacks)),
      socket(io),
      receive_buffer(receive_batch * receive_size),
      send_buffer(payload_bytes_max * 66) {
  if (config.stateless_reset_secret) {
    reset_secret = *config.stateless_reset_secret;
  } else {
    fill_random(reset_secret);
  }
  fill_random(token_secret);
}

Endpoint::Native::~Native() = default;

Result<void> Endpoint::Native::open_socket() {
  fd = ::socket(config.listen.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return system_error("cannot open a UDP socket");
  socket.assign(fd);
  if (config.listen.family() == AF_INET6) {
    const int only = config.listen.is_unspecified() ? 0 : 1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    dual = only == 0;
  }
  if (::bind(fd, config.listen.data(), config.listen.size()) != 0)
    return system_error("cannot listen on " + config.listen.to_string());
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  local = Address(reinterpret_cast<const sockaddr*>(&bound), size);
  const auto ask = [&](int option, const char* sysctl) {
    int value = config.socket_buffer_bytes;
    setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value));
    socklen_t length = sizeof(value);
    getsockopt(fd, SOL_SOCKET, option, &value, &length);
    value /= 2;  // the kernel doubles what it was asked for, for its own bookkeeping
    if (value < config.socket_buffer_bytes && events.on_warning) {
      events.on_warning("the kernel gives the UDP socket " + std::to_string(value) + " of " +
                        std::to_string(config.socket_buffer_bytes) + " bytes of buffer: for full speed set sysctl " +
                        sysctl + "=" + std::to_string(config.socket_buffer_bytes));
    }
  };
  ask(SO_RCVBUF, "net.core.rmem_max");
  ask(SO_SNDBUF, "net.core.wmem_max");
  // Datagrams are never fragmented (RFC 9000, section 14): discovery would take a path for wider than it is.
  const int probe_mode = IP_PMTUDISC_PROBE;
  setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe_mode, sizeof(probe_mode));
  if (config.listen.family() == AF_INET6) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe_mode, sizeof(probe_mode));
  }
  if (config.segmentation_offload) {
    int probe = 0;
    socklen_t length = sizeof(probe);
    offload_send = getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &probe, &length) == 0;
    const int on = 1;
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
  }
  wait_readable();
  return {};
}

// Receiving.

void Endpoint::Native::wait_readable() {
  socket.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [this, weak = std::weak_ptr<int>(alive)](auto error) {
                      if (error || weak.expired()) return;
                      receive();
                      if (!weak.expired()) wait_readable();
                    });
}

void Endpoint::Native::receive() {
  std::array<mmsghdr, receive_batch> messages{};
  std::array<iovec, receive_batch> buffers{};
  std::array<sockaddr_storage, receive_batch> senders{};
  struct Control {
    alignas(cmsghdr) std::array<char, 64> bytes;
  };
  std::array<Control, receive_batch> controls{};
  constexpr int rounds_max = 8;  // then others on this thread get their turn
  const std::weak_ptr<int> weak = alive;
  for (int round = 0; round < rounds_max; ++round) {
    for (std::size_t at = 0; at < receive_batch; ++at) {
      buffers[at] = {receive_buffer.data() + at * receive_size, receive_size};
      auto& header = messages[at].msg_hdr;
      header = {};
      header.msg_name = &senders[at];
      header.msg_namelen = sizeof(senders[at]);
      header.msg_iov = &buffers[at];
      header.msg_iovlen = 1;
      header.msg_control = controls[at].bytes.data();
      header.msg_controllen = controls[at].bytes.size();
    }
    const int count = recvmmsg(fd, messages.data(), receive_batch, 0, nullptr);
    if (count <= 0) break;
    for (int at = 0; at < count; ++at) {
      const auto index = static_cast<std::size_t>(at);
      auto& header = messages[index].msg_hdr;
      std::size_t segment = messages[index].msg_len;
      for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
        if (item->cmsg_level != IPPROTO_UDP || item->cmsg_type != UDP_GRO) continue;
        int value = 0;
        std::memcpy(&value, CMSG_DATA(item), sizeof(value));
        if (value > 0) segment = static_cast<std::size_t>(value);
      }
      const Address from(reinterpret_cast<const sockaddr*>(&senders[index]), header.msg_namelen);
      ByteView rest{receive_buffer.data() + index * receive_size, messages[index].msg_len};
      while (!rest.empty()) {
        const auto part = rest.first(std::min(segment, rest.size()));
        ++counters.datagrams_received;
        datagram(from, part);
        if (weak.expired()) return;
        rest = rest.subspan(part.size());
      }
    }
    if (static_cast<std::size_t>(count) < receive_batch) break;
  }
  flush_all();
}

void Endpoint::Native::datagram(const Address& from, ByteView bytes) {
  std::uint32_t version = 0;
  const std::uint8_t* dcid = nullptr;
  const std::uint8_t* scid = nullptr;
  std::size_t dcid_size = 0;
  std::size_t scid_size = 0;
  const int result =
      decode_version_cid(version, dcid, dcid_size, scid, scid_size, bytes.data(), bytes.size(), connection_id_bytes);
  if (result == NGTCP2_ERR_VERSION_NEGOTIATION)
    return send_version_negotiation(from, {dcid, dcid_size}, {scid, scid_size});
  if (result != 0) {
    ++counters.datagrams_dropped;
    return;
  }
  const ByteView id{dcid, dcid_size};
  if (const auto found = by_id.find(key_of(id)); found != by_id.end() && found->second) {
    const auto connection = found->second;
    return connection->native_->read(from, bytes);
  }
  const bool long_header = (bytes[0] & 0x80U) != 0;
  if (!long_header) {
    if (!take_stateless_reset(from, bytes)) send_stateless_reset(from, bytes, id);
    return;
  }
  ngtcp2_pkt_hd header{};
  if (closing || ngtcp2_accept(&header, bytes.data(), bytes.size()) != 0) {
    ++counters.datagrams_dropped;
    return;
  }
  accept(from, bytes, header);
}

bool Endpoint::Native::take_stateless_reset(const Address& from, ByteView bytes) {
  if (bytes.size() < stateless_reset_bytes_min) return false;
  const auto found = by_reset_token.find(key_of(bytes.last(NGTCP2_STATELESS_RESET_TOKENLEN)));
  const auto connection = found == by_reset_token.end() ? nullptr : found->second.lock();
  if (!connection) return false;
  connection->native_->read(from, bytes);
  return true;
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
    const Address remote = path_address(from);
    proven = ngtcp2_crypto_verify_retry_token(&odcid, token, token_size, token_secret.data(), token_secret.size(),
                                              header.version, remote.data(), remote.size(), &header.dcid, token_life,
                                              timestamp()) == 0;
    if (proven) original = odcid;
  }
  if (!proven && half_open >= config.retry_from) {
    send_retry(from, header);
    return;
  }
  auto connection = std::make_shared<Connection>(std::make_unique<Connection::Native>(*this, false));
  auto& native = *connection->native_;
  native.self = connection;
  native.remote = from;
  ngtcp2_settings settings{};
  ngtcp2_transport_params params{};
  fill_settings(settings, params);
  set_original_dcid(params, original);
  if (proven) {
    set_token(settings, token, token_size);
    params.retry_scid = header.dcid;
    params.retry_scid_present = 1;
  }
  const ngtcp2_cid scid = random_id();
  if (ngtcp2_crypto_generate_stateless_reset_token(params.stateless_reset_token, reset_secret.data(),
                                                   reset_secret.size(), &scid) == 0) {
    params.stateless_reset_token_present = 1;
  }
  const auto calls = Connection::Native::callbacks(false);
  const Address path_remote = path_address(from);
  const auto path = path_of(local, path_remote);
  if (ngtcp2_conn_server_new(&native.connection, &header.scid, &scid, &path, header.version, &calls, &settings, &params,
                             nullptr, &native) != 0)
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
  ++half_open_by_host[native.half_open_host];
  native.read(from, bytes);
}

void Endpoint::Native::leave_half_open(Connection::Native& connection) {
  if (!std::exchange(connection.counted_half_open, false)) return;
  --half_open;
  const auto found = half_open_by_host.find(connection.half_open_host);
  if (found != half_open_by_host.end() && --found->second == 0) half_open_by_host.erase(found);
}

void Endpoint::Native::forget(Connection::Native& connection) {
  for (const auto& id : connection.ids) by_id.erase(id);
  connection.ids.clear();
  for (const auto& token : connection.reset_tokens) by_reset_token.erase(token);
  connection.reset_tokens.clear();
}

// Packets that belong to no connection.

bool Endpoint::Native::send_retry(const Address& to, const ngtcp2_pkt_hd& header) {
  const ngtcp2_cid scid = random_id();
  std::array<std::uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN> token{};
  const Address remote = path_address(to);
  const auto size =
      ngtcp2_crypto_generate_retry_token(token.data(), token_secret.data(), token_secret.size(), header.version,
                                         remote.data(), remote.size(), &scid, &header.dcid, timestamp());
  if (size < 0) return false;
  std::array<std::uint8_t, 256> packet{};
  const auto written = ngtcp2_crypto_write_retry(packet.data(), packet.size(), header.version, &header.scid, &scid,
                                                 &header.dcid, token.data(), static_cast<std::size_t>(size));
  if (written <= 0) return false;
  ++counters.retries_sent;
  return send(to, {packet.data(), static_cast<std::size_t>(written)}, static_cast<std::size_t>(written));
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
  send(to, {packet.data(), static_cast<std::size_t>(written)}, static_cast<std::size_t>(written));
}

void Endpoint::Native::send_version_negotiation(const Address& to, ByteView dcid, ByteView scid) {
  const std::array<std::uint32_t, 1> versions{NGTCP2_PROTO_VER_V1};
  std::array<std::uint8_t, 256> packet{};
  if (dcid.size() > NGTCP2_MAX_CIDLEN || scid.size() > NGTCP2_MAX_CIDLEN) return;
  const auto written = ngtcp2_pkt_write_version_negotiation(
      packet.data(), packet.size(), static_cast<std::uint8_t>(random_uint32()), scid.data(), scid.size(), dcid.data(),
      dcid.size(), versions.data(), versions.size());
  if (written > 0) send(to, {packet.data(), static_cast<std::size_t>(written)}, static_cast<std::size_t>(written));
}

// Sending.

bool Endpoint::Native::send(const Address& to, ByteView bytes, std::size_t segment) {
  const Address target = path_address(to);
  while (!bytes.empty()) {
    const bool offload = offload_send && bytes.size() > segment;
    const auto part = offload ? bytes : bytes.first(std::min(segment, bytes.size()));
    iovec buffer{const_cast<std::uint8_t*>(part.data()), part.size()};  // NOLINT: only read
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(std::uint16_t))> control{};
    msghdr header{};
    header.msg_name = const_cast<sockaddr*>(target.data());  // NOLINT: only read
    header.msg_namelen = target.size();
    header.msg_iov = &buffer;
    header.msg_iovlen = 1;
    if (offload) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      cmsghdr* item = CMSG_FIRSTHDR(&header);
      item->cmsg_level = IPPROTO_UDP;
      item->cmsg_type = UDP_SEGMENT;
      item->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
      const auto size = static_cast<std::uint16_t>(segment);
      std::memcpy(CMSG_DATA(item), &size, sizeof(size));
    }
    const ssize_t sent = sendmsg(fd, &header, 0);
    if (sent < 0 && offload && (errno == EIO || errno == EINVAL || errno == EOPNOTSUPP)) {
      offload_send = false;  // the device cannot do it: go on without
      continue;
    }
    // What the kernel does not take counts as lost on the way; QUIC sends it again.
    counters.datagrams_sent += offload ? (part.size() + segment - 1) / segment : 1;
    bytes = bytes.subspan(part.size());
  }
  return true;
}

void Endpoint::Native::flush_soon() {
  if (std::exchange(flush_posted, true)) return;
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

void Endpoint::Native::fill_settings(ngtcp2_settings& settings, ngtcp2_transport_params& params) const {
  ngtcp2_settings_default(&settings);
  settings.initial_ts = timestamp();
  settings.cc_algo = config.congestion == Congestion::bbr ? NGTCP2_CC_ALGO_BBR : NGTCP2_CC_ALGO_CUBIC;
  settings.max_tx_udp_payload_size = payload_bytes_max;
  settings.handshake_timeout = static_cast<ngtcp2_duration>(config.handshake_timeout.count()) * NGTCP2_MILLISECONDS;
  // 0: ngtcp2 grows no window by itself, `Connection::admit` does.
  settings.max_window = config.owner_admits ? 0 : config.connection_window_bytes;
  settings.max_stream_window = config.stream_window_bytes;
  ngtcp2_transport_params_default(&params);
  params.max_idle_timeout = static_cast<ngtcp2_duration>(config.idle_timeout.count()) * NGTCP2_MILLISECONDS;
  params.max_udp_payload_size = payload_bytes_max;
  params.initial_max_data = config.connection_window_bytes;
  if (config.owner_admits) {
    params.initial_max_data = std::min(config.connection_window_bytes, config.unadmitted_window_bytes);
  }
  params.initial_max_stream_data_bidi_local = config.stream_window_bytes;
  params.initial_max_stream_data_bidi_remote = config.stream_window_bytes;
  params.initial_max_stream_data_uni = config.stream_window_bytes;
  params.initial_max_streams_bidi = config.streams_bidi_max;
  params.initial_max_streams_uni = config.streams_uni_max;
  params.active_connection_id_limit = 2;
}

// The public face.

Endpoint::Endpoint(std::unique_ptr<Native> native) : native_(std::move(native)) {}

Endpoint::~Endpoint() {
  close_all();
  native_->alive.reset();
}

Result<std::unique_ptr<Endpoint>> Endpoint::open(boost::asio::io_context& context, EndpointConfig config,
                                                 EndpointEvents events) {
  if (!config.credentials) return fail(Errc::invalid_config, "an endpoint needs a certificate");
  auto native = std::make_unique<Native>(context, std::move(config), std::move(events));
  if (auto opened = native->open_socket(); !opened) return std::unexpected(opened.error());
  native->counters.segmentation_offload = native->offload_send;
  return std::unique_ptr<Endpoint>(new Endpoint(std::move(native)));
}

Address Endpoint::local_address() const { return native_->local; }

Result<std::shared_ptr<Connection>> Endpoint::connect(const Address& address, const std::string& server_name,
                                                      ConnectionEvents events) {
  if (native_->closing) return fail(Errc::stopped, "the endpoint is closing");
  if (native_->connections.size() >= native_->config.connections_max)
    return fail(Errc::overloaded, "limits.connections_max is reached");
  if (!native_->dual && address.family() != native_->local.family()) {
    return fail(Errc::unreachable, address.to_string() +
                                       " is of another address family than the socket that listens on " +
                                       native_->local.to_string() + "; listen on :: for both");
  }
  auto connection = std::make_shared<Connection>(std::make_unique<Connection::Native>(*native_, true));
  auto& native = *connection->native_;
  native.self = connection;
  native.remote = address;
  native.events = std::move(events);
  ngtcp2_settings settings{};
  ngtcp2_transport_params params{};
  native_->fill_settings(settings, params);
  const ngtcp2_cid dcid = random_id();
  const ngtcp2_cid scid = random_id();
  const auto calls = Connection::Native::callbacks(true);
  const Address remote = native_->path_address(address);
  const auto path = path_of(native_->local, remote);
  if (ngtcp2_conn_client_new(&native.connection, &dcid, &scid, &path, NGTCP2_PROTO_VER_V1, &calls, &settings, &params,
                             nullptr, &native) != 0) {
    return fail(Errc::system_error, "ngtcp2 refuses the settings of the connection");
  }
  if (auto tls = native.start_tls(server_name); !tls) return std::unexpected(tls.error());
  ngtcp2_conn_set_keep_alive_timeout(
      native.connection, static_cast<ngtcp2_duration>(native_->config.keep_alive.count()) * NGTCP2_MILLISECONDS);
  const std::string key(reinterpret_cast<const char*>(scid.data), scid.datalen);
  native.ids.push_back(key);
  native_->by_id[key] = connection;
  native_->connections.insert(connection);
  native.mark_dirty();
  return connection;
}

void Endpoint::set_credentials(std::shared_ptr<const Credentials> credentials) {
  native_->config.credentials = std::move(credentials);
}

EndpointStatistics Endpoint::statistics() const {
  EndpointStatistics statistics = native_->counters;
  statistics.connections = native_->connections.size();
  statistics.half_open = native_->half_open;
  statistics.segmentation_offload = native_->offload_send;
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
