#include "quic/connection.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "base/printable.hpp"
#include "base/random.hpp"
#include "quic/native.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

ngtcp2_tstamp timestamp() noexcept {
  return static_cast<ngtcp2_tstamp>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(monotonic_now().time_since_epoch()).count());
}

namespace {

using Native = Connection::Native;

Native& of(void* user) { return *static_cast<Native*>(user); }

int on_handshake_completed(ngtcp2_conn* /*connection*/, void* user) {
  auto& native = of(user);
  native.established = true;
  native.confirmed = !native.initiator;
  if (!native.endpoint.config.owner_admits) native.endpoint.let_in(native);
  const auto self = native.self.lock();
  if (!native.initiator) {
    if (native.endpoint.events.on_accept && self) native.endpoint.events.on_accept(self);
  } else if (native.events.on_established) {
    const auto call = native.events.on_established;
    call();
  }
  return 0;
}

/// The initiator's side.
int on_handshake_confirmed(ngtcp2_conn* /*connection*/, void* user) {
  of(user).confirmed = true;
  return 0;
}

int on_stream_data(ngtcp2_conn* /*connection*/, std::uint32_t flags, std::int64_t stream, std::uint64_t /*offset*/,
                   const std::uint8_t* data, std::size_t size, void* user, void* /*stream_user*/) {
  auto& native = of(user);
  if (native.events.on_stream_data) {
    const auto& call = native.events.on_stream_data;
    call(stream, {data, size}, (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0);
  }
  return 0;
}

int on_acked(ngtcp2_conn* /*connection*/, std::int64_t stream, std::uint64_t offset, std::uint64_t size, void* user,
             void* /*stream_user*/) {
  auto& native = of(user);
  const SendStream* const found = native.sending.find(stream);
  if (found == nullptr) return 0;
  native.wide.acknowledged();
  if (found->urgency != Urgency::bulk) native.drained = true;
  native.sending.acknowledge(stream, offset + size);
  if (native.events.on_stream_acked) native.events.on_stream_acked(stream, offset + size);
  return 0;
}

int on_stream_close(ngtcp2_conn* connection, std::uint32_t /*flags*/, std::int64_t stream, std::uint64_t /*code*/,
                    void* user, void* /*stream_user*/) {
  auto& native = of(user);
  native.sending.erase(stream);
  if (ngtcp2_conn_is_local_stream(connection, stream) == 0 && native.replaced_credits.erase(stream) == 0) {
    if ((stream & 2) != 0) {
      ngtcp2_conn_extend_max_streams_uni(connection, 1);
    } else {
      ngtcp2_conn_extend_max_streams_bidi(connection, 1);
    }
  }
  if (native.events.on_stream_closed) native.events.on_stream_closed(stream);
  return 0;
}

int on_stream_reset(ngtcp2_conn* /*connection*/, std::int64_t stream, std::uint64_t /*final_size*/, std::uint64_t code,
                    void* user, void* /*stream_user*/) {
  auto& native = of(user);
  if (native.events.on_stream_reset) native.events.on_stream_reset(stream, code);
  return 0;
}

int on_extend_stream_data(ngtcp2_conn* /*connection*/, std::int64_t stream, std::uint64_t /*max_data*/, void* user,
                          void* /*stream_user*/) {
  of(user).sending.unblock(stream);
  return 0;
}

void fill(std::uint8_t* out, std::size_t size, const ngtcp2_rand_ctx* /*context*/) { fill_random({out, size}); }

int on_new_id(ngtcp2_conn* /*connection*/, ngtcp2_cid* id, std::uint8_t* token, std::size_t size, void* user) {
  auto& native = of(user);
  if (size != connection_id_bytes) return NGTCP2_ERR_CALLBACK_FAILURE;
  *id = native.endpoint.new_id();
  if (ngtcp2_crypto_generate_stateless_reset_token(token, native.endpoint.reset_secret.data(),
                                                   native.endpoint.reset_secret.size(), id) != 0) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  const std::string key(reinterpret_cast<const char*>(id->data), id->datalen);
  native.endpoint.by_id[key] = native.self.lock();
  native.ids.push_back(key);
  return 0;
}

int on_remove_id(ngtcp2_conn* /*connection*/, const ngtcp2_cid* id, void* user) {
  auto& native = of(user);
  const std::string key(reinterpret_cast<const char*>(id->data), id->datalen);
  native.endpoint.by_id.erase(key);
  std::erase(native.ids, key);
  return 0;
}

/// The type is an `int` in ngtcp2 0.12 and an enumeration in 1.x.
template <typename Type>
int on_peer_id(ngtcp2_conn* /*connection*/, Type type, std::uint64_t /*sequence*/, const ngtcp2_cid* /*id*/,
               const std::uint8_t* token, void* user) {
  if (token == nullptr) return 0;
  auto& native = of(user);
  auto& all = native.endpoint.by_reset_token;
  const std::string key(reinterpret_cast<const char*>(token), NGTCP2_STATELESS_RESET_TOKENLEN);
  if (type == NGTCP2_CONNECTION_ID_STATUS_TYPE_ACTIVATE) {
    // Who names the token of another connection gets nothing.
    if (all.try_emplace(key, native.self).second) native.reset_tokens.push_back(key);
  } else if (std::erase(native.reset_tokens, key) != 0) {
    all.erase(key);
  }
  return 0;
}

struct PathValidated {
  int operator()(void* user, const ngtcp2_path& path, ngtcp2_path_validation_result result) const {
    of(user).path_validated(path, result);
    return 0;
  }
};

int on_stateless_reset(ngtcp2_conn* /*connection*/, const ngtcp2_pkt_stateless_reset* /*packet*/, void* user) {
  of(user).was_reset = true;
  return 0;
}

}  // namespace

ngtcp2_callbacks Connection::Native::callbacks(bool initiator) {
  ngtcp2_callbacks calls{};
  if (initiator) {
    calls.client_initial = ngtcp2_crypto_client_initial_cb;
    calls.recv_retry = ngtcp2_crypto_recv_retry_cb;
  } else {
    calls.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
  }
  calls.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
  calls.handshake_completed = on_handshake_completed;
  calls.handshake_confirmed = on_handshake_confirmed;
  calls.encrypt = ngtcp2_crypto_encrypt_cb;
  calls.decrypt = ngtcp2_crypto_decrypt_cb;
  calls.hp_mask = ngtcp2_crypto_hp_mask_cb;
  calls.recv_stream_data = on_stream_data;
  calls.acked_stream_data_offset = on_acked;
  calls.stream_close = on_stream_close;
  calls.stream_reset = on_stream_reset;
  calls.extend_max_stream_data = on_extend_stream_data;
  calls.rand = fill;
  calls.get_new_connection_id = on_new_id;
  calls.remove_connection_id = on_remove_id;
  calls.dcid_status = on_peer_id;
  calls.path_validation = path_validation_callback(PathValidated{});
  calls.recv_stateless_reset = on_stateless_reset;
  calls.update_key = ngtcp2_crypto_update_key_cb;
  calls.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
  calls.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
  calls.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
  calls.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
  return calls;
}

Connection::Native::Native(Endpoint::Native& owner, bool initiator_role)
    : endpoint(owner),
      initiator(initiator_role),
      credentials(owner.config.credentials),
      retire_timer(owner.context),
      timer(owner.context) {
  reference.user_data = this;
  reference.get_conn = [](ngtcp2_crypto_conn_ref* conn) { return static_cast<Native*>(conn->user_data)->connection; };
}

Connection::Native::~Native() { release(); }

void Connection::Native::release() {
  if (connection != nullptr) ngtcp2_conn_del(std::exchange(connection, nullptr));
  if (tls != nullptr) gnutls_deinit(std::exchange(tls, nullptr));
}

namespace {
int set_priority(gnutls_session_t tls) {
  // AES-256 is left out: an Erlang acceptor never completes with it (protocol document 01, section 2.3).
  static constexpr const char* text =
      "%DISABLE_TLS13_COMPAT_MODE:NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:-GROUP-ALL:"
      "+GROUP-X25519";
  // Read once, for all sessions; there was no memory for it when it is null.
  static const gnutls_priority_t read = [] {
    gnutls_priority_t made = nullptr;
    return gnutls_priority_init(&made, text, nullptr) == 0 ? made : nullptr;
  }();
  return read != nullptr ? gnutls_priority_set(tls, read) : gnutls_priority_set_direct(tls, text, nullptr);
}
}  // namespace

Result<void> Connection::Native::start_tls(const std::string& server_name) {
  const unsigned flags = (initiator ? GNUTLS_CLIENT : GNUTLS_SERVER) | GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_SEND_TICKET;
  if (gnutls_init(&tls, flags) != 0) return fail(Errc::system_error, "GnuTLS has no session to give");
  const int configured = initiator ? ngtcp2_crypto_gnutls_configure_client_session(tls)
                                   : ngtcp2_crypto_gnutls_configure_server_session(tls);
  const std::string& alpn_name = endpoint.config.alpn;
  const gnutls_datum_t alpn{reinterpret_cast<unsigned char*>(const_cast<char*>(alpn_name.data())),  // NOLINT: only read
                            static_cast<unsigned>(alpn_name.size())};
  if (configured != 0 || set_priority(tls) != 0 ||
      gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, credentials->native()) != 0 ||
      gnutls_alpn_set_protocols(tls, &alpn, 1, GNUTLS_ALPN_MANDATORY) != 0) {
    return fail(Errc::system_error, "GnuTLS refuses the settings of the session");
  }
  gnutls_session_set_ptr(tls, &reference);
  if (initiator && !server_name.empty())
    gnutls_server_name_set(tls, GNUTLS_NAME_DNS, server_name.data(), server_name.size());
  if (!initiator) gnutls_certificate_server_set_request(tls, GNUTLS_CERT_IGNORE);
  ngtcp2_conn_set_tls_native_handle(connection, tls);
  return {};
}

void Connection::Native::mark_dirty() {
  if (dirty || is_closed) return;
  dirty = true;
  endpoint.dirty.push_back(self);
  endpoint.flush_soon();
}

Socket& Connection::Native::socket_at(const ngtcp2_addr& local_address) const {
  const Address wanted(local_address.addr, local_address.addrlen);
  if (migration && migration->socket && migration->socket->local() == wanted) return *migration->socket;
  if (old_socket && old_socket->local() == wanted) return *old_socket;
  return *socket;
}

void Connection::Native::read(Socket& at, const Address& from, ByteView datagram) {
  if (!close_packet.empty()) {
    // Closing: repeat the word, at most once for each doubling of what arrives.
    ++close_repeats;
    if ((close_repeats & (close_repeats - 1)) == 0) endpoint.send(*socket, remote, close_packet, close_packet.size());
    return;
  }
  const bool by_new = migration && &at == migration->socket.get();
  if (is_closed || (&at != socket.get() && &at != old_socket.get() && !by_new)) return;
  const auto keep = self.lock();
  const Address path_remote = at.path_address(from);
  // What was left without a word to ngtcp2 counts as the path of now; that one sends by the new socket already.
  const bool alias = (old_is_alias && &at == old_socket.get()) || (migration && migration->rebound && !by_new);
  const Address path_local = !alias ? at.local() : migration ? migration->socket->local() : socket->local();
  const auto path = path_of(path_local, path_remote);
  const Address peer_at = initiator ? path_remote : peer_of_path();
  const bool elsewhere = !(path_remote == peer_at);
  if (elsewhere) {
    if (ngtcp2_conn_get_expiry(connection) <= time()) on_timer();  // paths that are looked at no more are forgotten
    if (is_closed) return;
    if (!peer_places.may_come_from(path_remote, peer_at, pto(), monotonic_now())) {
      ++endpoint.counters.misplaced_datagrams;
      return;
    }
  }
  const ngtcp2_cid id_there = *ngtcp2_conn_get_dcid(connection);
  const auto pto_there = elsewhere ? pto() : std::chrono::nanoseconds(0);
  ngtcp2_pkt_info info{};
  ++packets_received;
  bytes_received += datagram.size();
  const std::uint64_t in_flight = by_new && migration->rebound ? statistics_of_path().bytes_in_flight : 0;
  in_callback = true;
  const int result = ngtcp2_conn_read_pkt(connection, &path, &info, datagram.data(), datagram.size(), time());
  in_callback = false;
  if (wanted_close) {
    const auto [code, text] = std::move(*wanted_close);
    wanted_close.reset();
    return close_now(code, text);
  }
  if (result == 0) {
    last_receive = monotonic_now();
    if (is_closed) return;
    if (elsewhere && !(peer_of_path() == peer_at)) {
      const bool new_id = ngtcp2_cid_eq(&id_there, ngtcp2_conn_get_dcid(connection)) == 0;
      peer_places.moved(peer_at, new_id, pto_there, pto(), last_receive);
    } else if (!initiator) {
      peer_places.see(pto());
    }
    watch_congestion();
    if (by_new && migration && migration->rebound && answered_there(in_flight)) migrated();
    if (!(path_remote == at.path_address(remote))) follow(at, path_remote);
    if (drained && !is_closed) {
      drained = false;
      if (events.on_drained) events.on_drained();
    }
    mark_dirty();
    return;
  }
  if (is_closed) return;  // closed from inside of a callback
  library_error(result);
}

/// ngtcp2 decides whether the peer moved to where a packet came from.
void Connection::Native::follow(const Socket& at, const Address& from) {
  if (is_closed || connection == nullptr || &at != socket.get()) return;
  if (peer_of_path() == from) remote = from;
}

Address Connection::Native::peer_of_path() const {
  const auto& peer = ngtcp2_conn_get_path(connection)->remote;
  return {peer.addr, peer.addrlen};
}

std::chrono::nanoseconds Connection::Native::pto() const {
  return std::chrono::nanoseconds(ngtcp2_conn_get_pto(connection));
}

NgConnectionInfo Connection::Native::statistics_of_path() const {
  NgConnectionInfo stat{};
  if (connection != nullptr) connection_info(connection, stat);
  return stat;
}

void Connection::Native::watch_congestion() {
  const auto stat = statistics_of_path();
  // Leaving slow start without loss sets the threshold too, and leaves the window alone; a new path has no threshold.
  const bool lost = stat.ssthresh != known_threshold && stat.ssthresh < UINT64_MAX && stat.cwnd < known_window;
  known_threshold = stat.ssthresh;
  known_window = stat.cwnd;
  if (!lost) return;
  ++congestion_events;
  last_congestion = monotonic_now();
}

void Connection::Native::library_error(int error) {
  if (error == NGTCP2_ERR_DRAINING && was_reset) {
    return closed({CloseReason::Kind::stateless_reset, 0, "the peer does not know the connection any more"}, true);
  }
  if (error == NGTCP2_ERR_DRAINING) {
    NgCloseError peer{};
    peer_close_error(connection, peer);
    constexpr std::size_t reason_shown_max = 200;  // it goes into logs and to terminals, whoever the peer is
    const std::string text =
        peer.reason == nullptr
            ? ""
            : printable({reinterpret_cast<const char*>(peer.reason), peer.reasonlen}, reason_shown_max);
    const auto kind = is_application(peer) ? CloseReason::Kind::peer_application : CloseReason::Kind::peer_transport;
    if (peer.error_code == 0 && text.empty() && !is_application(peer) && !established) {
      return closed({CloseReason::Kind::peer_transport, 0, "closed during the handshake"}, true);
    }
    return closed({kind, peer.error_code, text}, true);
  }
  if (error == NGTCP2_ERR_DROP_CONN || error == NGTCP2_ERR_RETRY) {
    return closed({CloseReason::Kind::handshake, 0, "dropped"}, true);
  }
  if (error == NGTCP2_ERR_IDLE_CLOSE) return closed({CloseReason::Kind::idle_timeout, 0, "idle for too long"}, true);
  if (error == NGTCP2_ERR_HANDSHAKE_TIMEOUT)
    return closed({CloseReason::Kind::handshake, 0, "the QUIC handshake took too long"}, true);
  NgCloseError close{};
  close_error_default(close);
  std::string text = ngtcp2_strerror(error);
  if (error == NGTCP2_ERR_CRYPTO) {
    const auto alert = ngtcp2_conn_get_tls_alert(connection);
    close_error_tls_alert(close, alert);
    const char* name = gnutls_alert_get_name(static_cast<gnutls_alert_description_t>(alert));
    text = name == nullptr ? "TLS alert " + std::to_string(alert) : std::string("TLS: ") + name;
  } else {
    close_error_transport(close, error);
  }
  send_close(close);
  closed({established ? CloseReason::Kind::protocol : CloseReason::Kind::handshake, close.error_code, text}, true);
}

void Connection::Native::send_close(const NgCloseError& error) {
  if (connection == nullptr || in_closing_period(connection) || in_draining_period(connection)) return;
  Bytes packet(payload_bytes_max);
  ngtcp2_path_storage path{};
  ngtcp2_path_storage_zero(&path);
  ngtcp2_pkt_info info{};
  const auto size =
      ngtcp2_conn_write_connection_close(connection, &path.path, &info, packet.data(), packet.size(), &error, time());
  if (size <= 0) return;
  packet.resize(static_cast<std::size_t>(size));
  endpoint.send(socket_at(path.path.local), Address(path.path.remote.addr, path.path.remote.addrlen), packet,
                packet.size());
  close_packet = std::move(packet);
}

void Connection::Native::closed(const CloseReason& reason, bool tell) {
  if (is_closed) return;
  is_closed = true;
  const auto keep = self.lock();
  endpoint.leave_half_open(*this);
  endpoint.connections.erase(keep);
  sending.clear();
  const auto told = std::move(events);
  events = {};
  timer.cancel();
  end_migration(Error(Errc::no_connection, "the connection ended"));
  if (close_packet.empty()) {
    endpoint.forget(*this);
  } else {
    // Late packets of the peer are answered with the same word for three PTO, or one second at least.
    const auto wait = std::max<std::chrono::nanoseconds>(3 * pto(), std::chrono::seconds(1));
    timer.expires_after(std::min<std::chrono::nanoseconds>(wait, std::chrono::seconds(3)));
    timer.async_wait([keep, alive = std::weak_ptr<int>(endpoint.alive)](auto error) {
      if (!error && !alive.expired()) keep->native_->endpoint.forget(*keep->native_);
    });
    // The word is all that the wait needs: the rest, some 100 KB, would let who comes and goes quickly fill the memory.
    // Not now: ngtcp2 may be among our callers.
    boost::asio::post(endpoint.context, [keep] { keep->native_->release(); });
  }
  if (tell && told.on_closed) told.on_closed(reason);
}

void Connection::Native::close_now(std::uint64_t code, const std::string& text) {
  if (is_closed) return;
  const auto keep = self.lock();
  // What was written before the close goes out before it, and there is no later: pacing would have it wait. A burst
  // fits into the congestion window, so by its pacing the next one may go within a round trip.
  NgConnectionInfo stat{};
  connection_info(connection, stat);
  write_packets(time(stat.smoothed_rtt + NGTCP2_MILLISECONDS));
  if (is_closed) return;
  NgCloseError error{};
  close_error_default(error);
  constexpr std::size_t text_bytes_max = 512;
  close_error_application(error, code, reinterpret_cast<const std::uint8_t*>(text.data()),
                          std::min(text.size(), text_bytes_max));
  send_close(error);
  closed({CloseReason::Kind::local, code, text}, false);
}

// The public face.

Connection::Connection(std::unique_ptr<Native> native) : native_(std::move(native)) {}
Connection::~Connection() = default;

void Connection::set_events(ConnectionEvents events) { native_->events = std::move(events); }
void Connection::admit() {
  if (native_->is_closed || std::exchange(native_->admitted, true)) return;
  if (native_->source.empty() && !native_->socket->is_adapter()) native_->source = native_->source_host();
  native_->endpoint.let_in(*native_);
  const auto& config = native_->endpoint.config;
  if (!config.owner_admits) return;
  if (config.connection_window_bytes > config.unadmitted_window_bytes) {
    ngtcp2_conn_extend_max_offset(native_->connection, config.connection_window_bytes - config.unadmitted_window_bytes);
  }
  if (config.streams_bidi_admitted_max > config.streams_bidi_max) {
    ngtcp2_conn_extend_max_streams_bidi(native_->connection,
                                        config.streams_bidi_admitted_max - config.streams_bidi_max);
  }
  if (!native_->in_callback) native_->mark_dirty();
}
bool Connection::is_initiator() const noexcept { return native_->initiator; }
bool Connection::is_established() const noexcept { return native_->established; }
bool Connection::is_closed() const noexcept { return native_->is_closed; }
const Address& Connection::remote() const noexcept { return native_->remote; }

std::chrono::nanoseconds Connection::peer_ack_delay() const {
  if (native_->connection == nullptr) return {};
  const auto* peer = ngtcp2_conn_get_remote_transport_params(native_->connection);
  return std::chrono::nanoseconds(peer == nullptr ? 0 : peer->max_ack_delay);
}
Bytes Connection::peer_certificate_der() const {
  if (native_->tls == nullptr) return {};
  unsigned count = 0;
  const gnutls_datum_t* chain = gnutls_certificate_get_peers(native_->tls, &count);
  if (chain == nullptr || count == 0) return {};
  return {chain[0].data, chain[0].data + chain[0].size};
}

const Bytes& Connection::local_certificate_der() const noexcept { return native_->credentials->leaf_der(); }

Result<StreamId> Connection::open_bidi() {
  if (native_->is_closed) return fail(Errc::closed, "the connection is closed");
  StreamId id = -1;
  if (const int result = ngtcp2_conn_open_bidi_stream(native_->connection, &id, nullptr); result != 0) {
    return fail(Errc::overloaded, "the peer allows no more streams at the moment");
  }
  native_->sending.of(id);
  return id;
}

Result<StreamId> Connection::open_uni() {
  if (native_->is_closed) return fail(Errc::closed, "the connection is closed");
  StreamId id = -1;
  if (const int result = ngtcp2_conn_open_uni_stream(native_->connection, &id, nullptr); result != 0) {
    return fail(Errc::overloaded, "the peer allows no more streams at the moment");
  }
  native_->sending.of(id);
  return id;
}

void Connection::set_urgency(StreamId stream, Urgency urgency) {
  if (!native_->is_closed) native_->sending.set_urgency(stream, urgency);
}

void Connection::bulk_from_here(StreamId stream) {
  if (!native_->is_closed) native_->sending.bulk_from_here(stream);
}
void Connection::set_bulk_reserve(std::uint64_t bytes) noexcept { native_->bulk_reserve = bytes; }

void Connection::write(StreamId stream, SharedBytes bytes, WriteOptions options) {
  if (native_->is_closed) return;
  native_->sending.push(stream, std::move(bytes), options);
  native_->mark_dirty();
}

void Connection::consume(StreamId stream, std::size_t bytes) {
  if (native_->is_closed || bytes == 0) return;
  ngtcp2_conn_extend_max_stream_offset(native_->connection, stream, bytes);
  ngtcp2_conn_extend_max_offset(native_->connection, bytes);
  if (!native_->in_callback) native_->mark_dirty();
}

void Connection::reset(StreamId stream, std::uint64_t code) {
  if (native_->is_closed) return;
  shutdown_stream(native_->connection, stream, code);
  native_->sending.abandon(stream);
  native_->mark_dirty();
}

void Connection::stop_reading(StreamId stream, std::uint64_t code) {
  if (native_->is_closed) return;
  shutdown_stream_read(native_->connection, stream, code);
  native_->mark_dirty();
}

void Connection::replace_credit(StreamId stream) {
  if (native_->is_closed || ngtcp2_conn_is_local_stream(native_->connection, stream) != 0) return;
  if (native_->replaced_credits.size() >= abandoned_streams_max) return;
  if (!native_->replaced_credits.insert(stream).second) return;
  ngtcp2_conn_extend_max_streams_bidi(native_->connection, 1);
  native_->mark_dirty();
}

void Connection::close(std::uint64_t code, const std::string& reason) {
  if (native_->is_closed) return;
  const auto keep = shared_from_this();
  native_->events = {};
  if (native_->in_callback) {
    native_->wanted_close.emplace(code,
                                  reason);  // ngtcp2 must not be asked for packets from inside of its own callbacks
  } else {
    native_->close_now(code, reason);
  }
}

std::size_t Connection::queued_bytes() const noexcept { return native_->sending.queued_bytes(); }
MonotonicTime Connection::last_receive_time() const noexcept { return native_->last_receive; }

PathStatistics Connection::statistics() const {
  const auto stat = native_->statistics_of_path();
  const auto microseconds = [](ngtcp2_duration time) {
    return std::chrono::microseconds(time == UINT64_MAX ? 0 : time / NGTCP2_MICROSECONDS);
  };
  PathStatistics all;
  const auto port = ":" + std::to_string(native_->socket->local().port());
  all.local = native_->socket->local().to_string();
  if (!native_->source.empty())
    all.local = (native_->source.find(':') == std::string::npos ? native_->source : "[" + native_->source + "]") + port;
  all.remote = native_->remote.to_string();
  all.dialled = native_->initiator;
  all.latest_rtt = microseconds(stat.latest_rtt);
  all.smoothed_rtt = microseconds(stat.smoothed_rtt);
  all.min_rtt = microseconds(stat.min_rtt);
  all.rtt_variation = microseconds(stat.rttvar);
  all.congestion_window_bytes = stat.cwnd;
  all.bytes_in_flight = stat.bytes_in_flight;
  all.queued_bytes = native_->sending.queued_bytes();
  all.congestion_events = native_->congestion_events;
  all.in_recovery = all.congestion_events > 0 && monotonic_now() - native_->last_congestion < all.smoothed_rtt;
  all.packets_sent = native_->packets_sent;
  all.packets_received = native_->packets_received;
  all.bytes_sent = native_->bytes_sent;
  all.bytes_received = native_->bytes_received;
  all.bytes_repeated = native_->bytes_repeated;
  all.datagram_bytes = native_->carried_bytes();
  all.migrations = native_->migrations;
  all.migrations_failed = native_->migrations_failed;
  all.peer_moves = native_->peer_moves;
  return all;
}

void Connection::migrate(const MigrateOptions& options, std::function<void(Result<void>)> done) {
  native_->migrate(options, std::move(done));
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
