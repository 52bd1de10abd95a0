// Moving a connection to another local address or port. Source: RFC 9000, section 9; protocol document 01,
// section 11.1.
//
// The new path is validated before anything else goes by it, so one that does not work costs nothing. It needs a
// connection id that the peer never saw; Erlang nodes give none. Then we send by the new socket without a word to
// ngtcp2, as if a NAT had bound anew: the peer validates the path, and we have moved when it acknowledges something
// there.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "quic/native.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

/// Until ids that are under way have come: NEW_CONNECTION_ID may be lost once.
constexpr Milliseconds ids_wait_min{200};
constexpr Milliseconds try_again_after{20};
/// While we wait for the peer's word on the new socket, so that there is something to acknowledge.
constexpr ngtcp2_duration rebound_keep_alive = 50 * NGTCP2_MILLISECONDS;

}  // namespace

/// The address has gone under a socket that sends from any. Datagrams leave from another one by themselves, so the peer
/// sees a move already; a peer that sees two at once loses count of its connection ids (ngtcp2 0.12).
bool Connection::Native::left_by_address() const {
  if (!socket->local().is_unspecified()) return false;
  const auto source_address = source_for(remote);
  return source_address && source_address->host() != source;
}

std::string Connection::Native::source_host() const {
  if (!socket->local().is_unspecified()) return socket->local().host();
  const auto source_address = source_for(remote);
  return source_address ? source_address->host() : "";
}

Result<void> Connection::Native::may_migrate() const {
  if (is_closed || connection == nullptr) return fail(Errc::no_connection, "the connection has ended");
  if (!initiator) return fail(Errc::not_initiator, "the peer dialled, and only the side that dialled can move");
  if (socket->is_adapter())
    return fail(Errc::not_supported, "the connection goes by an adapter, which can move itself");
  const auto* peer = established ? ngtcp2_conn_get_remote_transport_params(connection) : nullptr;
  if (peer == nullptr) return fail(Errc::not_connected, "the handshake is not complete");
  if (peer->disable_active_migration != 0)
    return fail(Errc::peer_disable_migration, "the peer asked that nobody moves");
  return {};
}

void Connection::Native::migrate(const MigrateOptions& options, std::function<void(Result<void>)> done) {
  const auto refuse = [&](const Error& error) {
    boost::asio::post(endpoint.context, [done = std::move(done), error] { done(std::unexpected(error)); });
  };
  if (auto may = may_migrate(); !may) return refuse(may.error());
  if (options.timeout <= Milliseconds(0)) return refuse(Error(Errc::invalid_argument, "the timeout must be positive"));
  const auto now = monotonic_now();
  if (migration) {
    if (std::exchange(migration->overdue, false)) {
      migration->deadline = now + options.timeout;
      arm_migration(migration->deadline);
    }
    migration->waiters.push_back(std::move(done));
    return;
  }
  const bool in_place = options.local_address.empty() && left_by_address();
  auto to = in_place ? Result<std::shared_ptr<Socket>>(socket) : endpoint.path_socket(options.local_address, *this);
  if (!to) return refuse(to.error());
  migration = std::make_unique<Migration>(endpoint.context);
  migration->socket = std::move(*to);
  migration->waiters.push_back(std::move(done));
  migration->deadline = now + options.timeout;
  const auto ids_wait = std::max<std::chrono::nanoseconds>(ids_wait_min, 3 * pto());
  migration->ids_awaited_until = now + std::min<std::chrono::nanoseconds>(options.timeout / 2, ids_wait);
  arm_migration(now);  // not now: ngtcp2 may be among our callers
}

void Connection::Native::arm_migration(MonotonicTime at) {
  migration->timer.expires_at(at);
  migration->timer.async_wait([weak = self](auto error) {
    const auto keep = weak.lock();
    if (!error && keep && keep->native_->migration && !keep->native_->is_closed) keep->native_->migration_due();
  });
}

void Connection::Native::migration_due() {
  if (migration->overdue && !migration->probing) {
    migration.reset();
  } else if (!migration->overdue && monotonic_now() >= migration->deadline) {
    migration_failed(Error(Errc::timeout, migration->trouble));
  } else if (!migration->probing && !migration->rebound) {
    migration->socket == socket ? rebind() : try_path();
  }
}

void Connection::Native::try_path() {
  const auto now = monotonic_now();
  const Address path_remote = migration->socket->path_address(remote);
  const auto path = path_of(migration->socket->local(), path_remote);
  const int result = ngtcp2_conn_initiate_migration(connection, &path, time());
  switch (result) {
    case 0:
      migration->probing = true;
      mark_dirty();
      return arm_migration(migration->deadline);
    case NGTCP2_ERR_CONN_ID_BLOCKED:
      if (now >= migration->ids_awaited_until) return rebind();
      migration->trouble = "the peer gives no connection id to move with";
      break;
    case NGTCP2_ERR_INVALID_STATE: migration->trouble = "the peer has not confirmed the handshake"; break;
    default: return migration_failed(Error(Errc::system_error, ngtcp2_strerror(result)));
  }
  arm_migration(std::min<MonotonicTime>(now + try_again_after, migration->deadline));
}

void Connection::Native::rebind() {
  migration->rebound = true;
  migration->trouble = "the peer does not answer there";
  const Address local = migration->socket->local();
  const auto path = path_of(local, local);
  ngtcp2_conn_set_local_addr(connection, &path.local);
  ngtcp2_conn_set_keep_alive_timeout(connection, rebound_keep_alive);
  mark_dirty();
  arm_migration(migration->deadline);
}

void Connection::Native::path_validated(const ngtcp2_path& path, ngtcp2_path_validation_result result) {
  const bool success = result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS;
  if (initiator) {
    const Address local(path.local.addr, path.local.addrlen);
    if (!migration || !migration->probing || !(migration->socket->local() == local)) return;
    if (success) return migrated();
    // Later: packets are being written, perhaps to this very socket.
    migration->probing = false;
    return arm_migration(monotonic_now());
  }
  const Address to(path.remote.addr, path.remote.addrlen);
  if (!success || !(peer_of_path() == to)) return;
  peer_places.validated(pto(), monotonic_now());
  if (to == socket->path_address(validated_remote)) return;
  remote = validated_remote = to;
  ++peer_moves;
  tell_path(PathEvent::Kind::peer_moved, "");
}

void Connection::Native::migrated() {
  const auto keep = self.lock();
  const auto done = std::move(migration);
  if (done->socket != socket) {
    old_is_alias = done->rebound;
    old_socket = std::exchange(socket, done->socket);
  }
  source = source_host();
  ++migrations;
  if (done->rebound) {
    ngtcp2_conn_set_keep_alive_timeout(
        connection, static_cast<ngtcp2_duration>(endpoint.config.keep_alive.count()) * NGTCP2_MILLISECONDS);
  }
  // Datagrams that are under way to the old socket are as good as others.
  constexpr std::chrono::seconds least(1);
  constexpr std::chrono::seconds most(3);
  retire_timer.expires_after(std::clamp<std::chrono::nanoseconds>(3 * pto(), least, most));
  retire_timer.async_wait([weak = self](auto error) {
    const auto still = weak.lock();
    if (!error && still) still->native_->old_socket.reset();
  });
  for (auto& waiter : done->waiters) {
    boost::asio::post(endpoint.context, [waiter = std::move(waiter)] { waiter({}); });
  }
  tell_path(PathEvent::Kind::migrated, "");
}

void Connection::Native::migration_failed(const Error& error) {
  const auto keep = self.lock();
  for (auto& waiter : std::exchange(migration->waiters, {})) {
    boost::asio::post(endpoint.context, [waiter = std::move(waiter), error] { waiter(std::unexpected(error)); });
  }
  if (migration->rebound) {
    const Address local = socket->local();
    const auto path = path_of(local, local);
    ngtcp2_conn_set_local_addr(connection, &path.local);
    ngtcp2_conn_set_keep_alive_timeout(
        connection, static_cast<ngtcp2_duration>(endpoint.config.keep_alive.count()) * NGTCP2_MILLISECONDS);
  }
  // ngtcp2 cannot be told to stop: it has three PTO, and may find in the end that the path works.
  if (migration->probing) {
    migration->overdue = true;
  } else {
    migration.reset();
  }
  ++migrations_failed;
  tell_path(PathEvent::Kind::migration_failed, error.message());
}

void Connection::Native::end_migration(const Error& error) {
  retire_timer.cancel();
  const auto ended = std::move(migration);
  if (!ended) return;
  for (auto& waiter : ended->waiters) {
    boost::asio::post(endpoint.context, [waiter = std::move(waiter), error] { waiter(std::unexpected(error)); });
  }
}

void Connection::Native::tell_path(PathEvent::Kind kind, std::string reason) {
  const auto call = events.on_path;  // which may close the connection
  if (call) call({kind, std::move(reason)});
}

bool Connection::Native::answered_there(std::uint64_t bytes_in_flight_before) const {
  const auto stat = statistics_of_path();
  // Only an acknowledgement makes it less, and only the peer can have written one; on a socket that we were on before
  // it may have been under way.
  if (stat.bytes_in_flight >= bytes_in_flight_before) return false;
  return migration->socket != socket ||
         monotonic_now() - migration->begun >= std::chrono::nanoseconds(stat.smoothed_rtt);
}

bool Connection::needs_migration() const {
  if (native_->migration || !native_->may_migrate()) return false;
  if (native_->left_by_address()) return true;
  const Address& local = native_->socket->local();
  // Where there is no way at all, there may be one after another change.
  return !local.is_unspecified() && !is_local(local) && source_for(native_->remote);
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
