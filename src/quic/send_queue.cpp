#include "quic/send_queue.hpp"

#include <algorithm>
#include <cstring>

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

/// Streams 0, 2 and 3: the control stream and those of the authentication.
Urgency urgency_of(StreamId id) noexcept {
  constexpr StreamId first_data_stream = 4;
  return id < first_data_stream && id != 1 ? Urgency::control : Urgency::signals;
}

}  // namespace

SendStream& SendQueue::of(StreamId id) {
  const auto [at, made] = streams_.try_emplace(id);
  if (made) at->second.urgency = urgency_of(id);
  return at->second;
}

SendStream* SendQueue::find(StreamId id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

void SendQueue::set_urgency(StreamId id, Urgency urgency) {
  SendStream& stream = of(id);
  const auto waiting = static_cast<std::size_t>(stream.end - stream.acked);
  unlist(id, stream);
  if (stream.urgency != Urgency::bulk) queued_ -= std::min(queued_, waiting);
  stream.urgency = urgency;
  if (stream.urgency != Urgency::bulk) queued_ += waiting;
  list(id, stream);
}

void SendQueue::bulk_from_here(StreamId id) {
  SendStream& stream = of(id);
  if (stream.sent == stream.end) return set_urgency(id, Urgency::bulk);
  stream.bulk_from = stream.end;
}

void SendQueue::push(StreamId id, SharedBytes&& bytes, const WriteOptions& options) {
  SendStream& stream = of(id);
  if (stream.fin || stream.abandoned) return;
  const std::size_t size = bytes.view.size();
  if (size > 0) {
    if (options.own_packet) stream.own_packets.emplace_back(stream.end, stream.end + size);
    if (!append(stream, bytes.view)) stream.chunks.push_back(std::move(bytes));
    stream.end += size;
    if (stream.urgency != Urgency::bulk) queued_ += size;
  }
  stream.fin = options.fin;
  list(id, stream);
}

/// Copies a small write behind others that wait. False: it is to be a chunk of its own.
bool SendQueue::append(SendStream& stream, ByteView bytes) {
  const bool waits = stream.sent_chunk < stream.chunks.size();
  if (!waits || bytes.size() >= small_write) return false;
  if (stream.tail == nullptr || tail_bytes - stream.tail_used < bytes.size()) {
    stream.tail = std::make_shared_for_overwrite<std::uint8_t[]>(tail_bytes);
    stream.tail_used = 0;
  }
  std::uint8_t* const to = stream.tail.get() + stream.tail_used;
  std::memcpy(to, bytes.data(), bytes.size());
  stream.tail_used += bytes.size();
  auto& last = stream.chunks.back();
  if (last.view.data() + last.view.size() == to && last.owner == stream.tail) {
    last.view = {last.view.data(), last.view.size() + bytes.size()};
  } else {
    stream.chunks.emplace_back(ByteView(to, bytes.size()), stream.tail);
  }
  return true;
}

void SendQueue::acknowledge(StreamId id, std::uint64_t up_to) {
  SendStream* const stream = find(id);
  if (stream == nullptr) return;
  if (stream->urgency != Urgency::bulk && up_to > stream->acked) {
    queued_ -= std::min<std::size_t>(queued_, up_to - stream->acked);
  }
  stream->acked = std::max(stream->acked, up_to);
  while (!stream->chunks.empty() && stream->base + stream->chunks.front().view.size() <= up_to) {
    stream->base += stream->chunks.front().view.size();
    stream->chunks.pop_front();
    if (stream->sent_chunk > 0) --stream->sent_chunk;
  }
  if (stream->chunks.empty()) stream->tail.reset();
}

void SendQueue::abandon(StreamId id) {
  SendStream* const stream = find(id);
  if (stream == nullptr || stream->abandoned) return;
  unlist(id, *stream);
  stream->abandoned = true;
  if (stream->urgency != Urgency::bulk) queued_ -= std::min<std::size_t>(queued_, stream->end - stream->sent);
  const bool partly = stream->sent_chunk_offset > 0;
  stream->chunks.resize(stream->sent_chunk + (partly ? 1 : 0));
  if (partly) stream->chunks.back().view = stream->chunks.back().view.first(stream->sent_chunk_offset);
  stream->end = stream->sent;
  stream->own_packets.clear();
}

void SendQueue::erase(StreamId id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  SendStream& stream = found->second;
  unlist(id, stream);
  if (stream.urgency != Urgency::bulk) queued_ -= std::min<std::size_t>(queued_, stream.end - stream.acked);
  streams_.erase(found);
}

void SendQueue::clear() {
  streams_.clear();
  for (auto& turns : turns_) turns.clear();
  blocked_signals_.clear();
  queued_ = 0;
}

// Turns.

void SendQueue::list(StreamId id, SendStream& stream) {
  if (stream.ready || !stream.has_work()) return;
  const std::size_t at = index(stream);
  stream.served = std::max(stream.served, floors_[at]);
  turns_[at].emplace(stream.served, id);
  stream.ready = true;
}

void SendQueue::unlist(StreamId id, SendStream& stream) {
  if (!stream.ready) return;
  turns_[index(stream)].erase({stream.served, id});
  stream.ready = false;
}

SendStream* SendQueue::next(StreamId& id, bool bulk) {
  constexpr auto control_at = static_cast<std::size_t>(Urgency::control);
  constexpr auto signals_at = static_cast<std::size_t>(Urgency::signals);
  constexpr auto bulk_at = static_cast<std::size_t>(Urgency::bulk);
  const bool bulk_waits = bulk && !turns_[bulk_at].empty();
  std::size_t at = control_at;
  if (turns_[at].empty()) at = signals_at;
  if (at == signals_at && bulk_waits && (turns_[at].empty() || signals_in_a_row_ >= signals_in_a_row_max)) at = bulk_at;
  if (turns_[at].empty()) return nullptr;
  id = turns_[at].begin()->second;
  return &streams_.at(id);
}

void SendQueue::sent(StreamId id, std::uint64_t bytes, bool fin) {
  SendStream& stream = streams_.at(id);
  stream.sent += bytes;
  if (fin) stream.fin_sent = true;
  std::uint64_t left = bytes;
  while (left > 0) {
    const std::uint64_t rest = stream.chunks[stream.sent_chunk].view.size() - stream.sent_chunk_offset;
    const std::uint64_t step = std::min(rest, left);
    stream.sent_chunk_offset += step;
    left -= step;
    if (step == rest) {
      ++stream.sent_chunk;
      stream.sent_chunk_offset = 0;
    }
  }
  while (!stream.own_packets.empty() && stream.own_packets.front().second <= stream.sent) {
    stream.own_packets.pop_front();
  }
  if (stream.urgency == Urgency::signals) ++signals_in_a_row_;
  if (stream.urgency == Urgency::bulk) signals_in_a_row_ = 0;
  floors_[index(stream)] = stream.served;
  unlist(id, stream);
  stream.served += bytes;
  list(id, stream);
  if (!stream.bulk_from || stream.sent < *stream.bulk_from) return;
  stream.bulk_from.reset();
  set_urgency(id, Urgency::bulk);
}

void SendQueue::block(StreamId id) {
  SendStream& stream = streams_.at(id);
  unlist(id, stream);
  stream.blocked = true;
  if (stream.urgency != Urgency::bulk) blocked_signals_.push_back(id);
}

void SendQueue::unblock(StreamId id) {
  SendStream* const stream = find(id);
  if (stream == nullptr || !stream->blocked) return;
  stream->blocked = false;
  list(id, *stream);
}

void SendQueue::unblock_signals() {
  for (const StreamId id : std::exchange(blocked_signals_, {})) unblock(id);
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
