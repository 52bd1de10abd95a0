// What a connection sends, and when.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "quic/connection.hpp"
#include "quic/native.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

/// How long a connection is taken to carry what was seen on it last.
constexpr ngtcp2_duration signals_last = 20 * NGTCP2_MILLISECONDS;

}  // namespace

/// Asks ngtcp2 for a packet, with what the stream has to send in it.
ngtcp2_ssize Connection::Native::offer(SendStream* stream, StreamId id, std::uint8_t* out, std::size_t size,
                                       ngtcp2_tstamp now, ngtcp2_path& path) {
  std::array<ngtcp2_vec, frame_parts_max> vectors;
  std::size_t count = 0;
  std::uint64_t offered = 0;
  std::uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_NONE;
  if (stream != nullptr) {
    const std::uint64_t limit = std::min<std::uint64_t>(stream->together(), size);
    std::size_t chunk = stream->sent_chunk;
    std::uint64_t offset = stream->sent_chunk_offset;
    while (offered < limit && count < vectors.size() && chunk < stream->chunks.size()) {
      const auto view = stream->chunks[chunk].view.subspan(offset);
      const std::size_t part = std::min<std::uint64_t>(view.size(), limit - offered);
      vectors[count++] = {const_cast<std::uint8_t*>(view.data()), part};  // NOLINT: only read
      offered += part;
      ++chunk;
      offset = 0;
    }
    if (stream->fin && stream->sent + offered == stream->end) flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
  }
  ngtcp2_pkt_info info{};
  ngtcp2_ssize taken = -1;
  payload = 0;
  const auto written =
      ngtcp2_conn_writev_stream(connection, &path, &info, out, size, &taken, flags, id, vectors.data(), count, now);
  if (stream != nullptr && taken >= 0) {
    const auto bytes = static_cast<std::uint64_t>(taken);
    payload = static_cast<std::size_t>(taken);
    if (stream->urgency != Urgency::bulk) last_signal = now;
    if (std::exchange(last_stream, id) != id) last_change = now;
    sending.sent(id, bytes, bytes == offered && (flags & NGTCP2_WRITE_STREAM_FLAG_FIN) != 0);
  }
  return written;
}

/// Within the machine: one stream has had the connection for itself for a while.
bool Connection::Native::sends_alone(ngtcp2_tstamp now) const {
  return within_machine && now >= last_change + signals_last;
}

/// Within the machine what is under way waits in the peer's socket, and signals stand behind it: while there are some,
/// bulk leaves it short. (A window of BBR is three send quanta at least, of ten wide packets each.)
bool Connection::Native::bulk_would_delay(ngtcp2_tstamp now) const {
  constexpr std::uint64_t under_way_max = 64UL * 1024;
  return within_machine && now < last_signal + signals_last && statistics_of_path().bytes_in_flight >= under_way_max;
}

/// Of a packet of the stream. A round of all that wait is a mebibyte at most, so that a thousand have narrow packets.
std::size_t Connection::Native::turn_bytes(const SendStream& stream, std::size_t packet_max) const {
  constexpr std::size_t round_bytes = 1024UL * 1024;
  constexpr std::size_t least = payload_bytes_max;
  // Packets of one size leave with one system call.
  const std::size_t share = std::bit_floor(round_bytes / std::max<std::size_t>(sending.waiting(stream), 1));
  return std::min(packet_max, std::max(share, least));
}

ngtcp2_ssize Connection::Native::write_one(std::uint8_t* out, std::size_t size, ngtcp2_tstamp now, ngtcp2_path& path) {
  for (;;) {
    StreamId id = -1;
    const bool bulk =
        !bulk_would_delay(now) && (bulk_reserve == 0 || ngtcp2_conn_get_max_data_left(connection) > bulk_reserve);
    SendStream* const stream = established ? sending.next(id, bulk) : nullptr;
    const auto written = offer(stream, id, out, stream == nullptr ? size : turn_bytes(*stream, size), now, path);
    switch (written) {
      case NGTCP2_ERR_STREAM_DATA_BLOCKED: sending.block(id); continue;
      case NGTCP2_ERR_STREAM_NOT_FOUND: sending.erase(id); continue;
      case NGTCP2_ERR_STREAM_SHUT_WR:
        sending.abandon(id);
        stopped.push_back(id);
        continue;
      default: return written;
    }
  }
}

void Connection::Native::tell_stopped() {
  for (const StreamId id : std::exchange(stopped, {})) {
    const auto call = events.on_stream_stopped;  // which may close the connection
    if (!is_closed && call) call(id);
  }
}

void Connection::Native::sent(std::size_t bytes) {
  ++packets_sent;
  bytes_sent += bytes;
  constexpr std::size_t full_bytes = 1000;  // smaller ones are words of the protocol, mostly
  if (established && bytes >= full_bytes && payload < bytes / 2) bytes_repeated += bytes - payload;
}

std::size_t Connection::Native::packet_bytes() const {
  if (!within_machine) return payload_bytes_max;  // ngtcp2 finds out what the path carries
  // Not before: packets of the TLS handshake are filled up to the size that they may have (RFC 9000, section 14.1).
  return confirmed && wide.carried(monotonic_now()) ? payload_bytes_within_machine : payload_bytes_anywhere;
}

std::size_t Connection::Native::carried_bytes() const {
  if (connection == nullptr) return 0;
  const auto* peer = ngtcp2_conn_get_remote_transport_params(connection);
  const std::size_t ours = within_machine ? packet_bytes() : ngtcp2_conn_get_path_max_tx_udp_payload_size(connection);
  return peer == nullptr ? ours : static_cast<std::size_t>(std::min<std::uint64_t>(ours, peer->max_udp_payload_size));
}

bool Connection::Native::write_packets(ngtcp2_tstamp now) {
  const std::size_t packet_max = packet_bytes();
  constexpr std::size_t quantum_max = 65'536;
  const std::size_t quantum = std::clamp(ngtcp2_conn_get_send_quantum(connection), packet_max, quantum_max);
  constexpr std::size_t segments_max = 60;
  Bytes& buffer = endpoint.send_buffer;
  std::uint8_t* const scratch = buffer.data() + segmented_bytes_max + payload_bytes_within_machine;
  std::size_t total = 0;
  std::size_t used = 0;
  std::size_t segment = 0;
  std::size_t segments = 0;
  Address target;
  Socket* by = socket.get();
  ngtcp2_path_storage path{};
  ngtcp2_path_storage_zero(&path);
  const auto send_batch = [&] {
    if (used > 0) endpoint.send(*by, target, {buffer.data(), used}, segment);
    used = segment = segments = 0;
  };
  for (;;) {
    const auto written = write_one(buffer.data() + used, packet_max, now, path.path);
    if (written < 0) {
      send_batch();
      library_error(static_cast<int>(written));
      return false;
    }
    if (written == 0) break;
    const auto size = static_cast<std::size_t>(written);
    sent(size);
    total += size;
    const Address to(path.path.remote.addr, path.path.remote.addrlen);
    Socket& from = socket_at(path.path.local);
    // Only the last packet of a batch may differ, and only by being smaller.
    if (used > 0 && (size > segment || !(to == target) || &from != by)) {
      std::memmove(scratch, buffer.data() + used, size);
      send_batch();
      std::memmove(buffer.data(), scratch, size);
    }
    if (used == 0) segment = size, target = to, by = &from;
    used += size;
    ++segments;
    // What is larger than the path is known to carry goes alone: the kernel may refuse it, and all that came with it.
    const bool probe = !within_machine && size > ngtcp2_conn_get_path_max_tx_udp_payload_size(connection);
    if (probe || size < segment || used + packet_max > segmented_bytes_max || segments >= segments_max ||
        !from.offloads())
      send_batch();
    if (total >= quantum) break;
  }
  send_batch();
  // Pacing by the initial guess of a third of a second would spread the handshake over tens of milliseconds. A burst of
  // an initial window needs none (RFC 9002, section 7.7), nor a timer for the end of its pause. Within the machine no
  // queue of a router overflows, and a timer costs as much as a packet: what would delay nobody else has longer ones.
  constexpr std::size_t burst_bytes = 14'720;
  constexpr std::size_t burst_bytes_alone = 262'144;
  unpaced_bytes += total;
  if (!established || unpaced_bytes <= (sends_alone(now) ? burst_bytes_alone : burst_bytes)) {
    return total >= quantum;
  }
  unpaced_bytes = 0;
  ngtcp2_conn_update_pkt_tx_time(connection, now);
  return false;
}

void Connection::Native::flush() {
  dirty = false;
  if (is_closed) return;
  const auto keep = self.lock();
  sending.unblock_signals();
  if (write_packets(time())) mark_dirty();
  tell_stopped();
  if (!is_closed) arm_timer();
}

void Connection::Native::arm_timer() {
  const ngtcp2_tstamp expiry = ngtcp2_conn_get_expiry(connection);
  if (expiry <= time()) {
    if (std::exchange(due, true)) return;
    return boost::asio::post(endpoint.context, [weak = self] {
      const auto keep = weak.lock();
      if (!keep || keep->native_->is_closed) return;
      keep->native_->due = false;
      keep->native_->expire();
    });
  }
  // A timer that is set already and goes off too early does no harm and sets the next one; to set it anew after every
  // packet would cost several system calls.
  if (expiry >= armed) return;
  armed = expiry;
  timer.expires_at(
      MonotonicTime(std::chrono::duration_cast<MonotonicTime::duration>(std::chrono::nanoseconds(expiry))));
  timer.async_wait([weak = self](auto error) {
    const auto keep = weak.lock();
    if (!error && keep && !keep->native_->is_closed) keep->native_->on_timer();
  });
}

void Connection::Native::on_timer() {
  armed = UINT64_MAX;
  expire();
}

void Connection::Native::expire() {
  if (within_machine && confirmed && statistics_of_path().bytes_in_flight > 0) {
    wide.waits(monotonic_now(), 3 * pto());
  }
  const int result = ngtcp2_conn_handle_expiry(connection, time());
  if (result != 0) return library_error(result);
  watch_congestion();
  flush();
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
