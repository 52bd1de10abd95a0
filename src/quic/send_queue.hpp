// What a connection has to send on its streams, and which stream is next.
//
// Three classes: control before signals before bulk. Within a class streams share by bytes: the one that was served
// least since it has work is next, so that nobody gains by large or by small writes, and who was idle saves nothing up.
// Bulk that waits gets one packet in sixteen even while signals fill the line: it is slow then, and never stands still.
//
// A pure object: no clock, no socket. Transport thread only.
#pragma once

#include <algorithm>
#include <array>
#include <boost/container/deque.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/shared_bytes.hpp"
#include "quic/connection.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

/// Takes no memory while nothing was in it, as on most streams of most connections; that of the standard library does.
template <class T>
using Deque = boost::container::deque<T>;

/// What waits to be sent, or to be acknowledged, on one stream.
struct SendStream {
  Deque<SharedBytes> chunks;                                   ///< From `base` on.
  std::uint64_t base = 0;                                      ///< Offset of the first chunk.
  std::uint64_t acked = 0;                                     ///< Everything before this offset has arrived.
  std::uint64_t sent = 0;                                      ///< Offset of the first byte that was never sent.
  std::uint64_t end = 0;                                       ///< Offset behind the last byte.
  Deque<std::pair<std::uint64_t, std::uint64_t>> own_packets;  ///< Ranges that are frames of their own, not sent yet.
  std::size_t sent_chunk = 0;                                  ///< Index of the chunk that holds `sent`.
  std::uint64_t sent_chunk_offset = 0;                         ///< Of `sent` in it.
  std::shared_ptr<std::uint8_t[]> tail;                        ///< Where small writes are put one behind the other, ...
  std::size_t tail_used = 0;                                   ///< ... so many bytes of it are in use.
  bool fin = false;
  bool fin_sent = false;
  bool blocked = false;    ///< By the window of the stream.
  bool abandoned = false;  ///< Nothing more goes out, whatever is written.

  Urgency urgency = Urgency::signals;
  std::optional<std::uint64_t> bulk_from;  ///< The stream is bulk once so much was sent.
  std::uint64_t served = 0;                ///< Bytes, on the scale of its class.
  bool ready = false;                      ///< Listed as one that may be next.

  /// Bytes that may be in one packet: what is a frame of its own, or of another class, is not merged with what follows.
  [[nodiscard]] std::uint64_t together() const noexcept {
    std::uint64_t until = end;
    if (!own_packets.empty()) {
      const auto [from, to] = own_packets.front();
      until = sent < from ? from : to;
    }
    return (bulk_from ? std::min(until, *bulk_from) : until) - sent;
  }
  [[nodiscard]] bool has_work() const noexcept { return !blocked && !abandoned && (sent < end || (fin && !fin_sent)); }
};

/// Parts of a frame, at most. ngtcp2 has room for so many in each of its pooled frames; what takes more is allocated by
/// itself, and forgotten when it is sent again with fewer (see connection_memory.hpp).
constexpr std::size_t frame_parts_max = 3;

class SendQueue {
 public:
  /// The stream, which is made if need be: of the class that its id has by protocol document 01, section 3.
  SendStream& of(StreamId id);
  [[nodiscard]] SendStream* find(StreamId id);
  void set_urgency(StreamId id, Urgency urgency);
  /// What was written to it goes out in the class that it has now, what comes later is bulk.
  void bulk_from_here(StreamId id);
  void push(StreamId id, SharedBytes&& bytes, const WriteOptions& options);
  /// Bytes up to this offset have arrived.
  void acknowledge(StreamId id, std::uint64_t up_to);
  /// Nothing that was never sent goes out any more. What was sent is kept until it is acknowledged or the stream is
  /// gone: ngtcp2 may repeat it.
  void abandon(StreamId id);
  void erase(StreamId id);
  void clear();

  /// The stream that is next, if any has work. Without `bulk` none of that class.
  [[nodiscard]] SendStream* next(StreamId& id, bool bulk);
  /// How many of its class have work.
  [[nodiscard]] std::size_t waiting(const SendStream& stream) const noexcept { return turns_[index(stream)].size(); }
  /// So many bytes of it went into a packet.
  void sent(StreamId id, std::uint64_t bytes, bool fin);
  void block(StreamId id);
  void unblock(StreamId id);
  /// Streams of control and signals that were blocked: to be asked again, in case that word of more room was missed.
  void unblock_signals();

  /// Not acknowledged yet, without bulk.
  [[nodiscard]] std::size_t queued_bytes() const noexcept { return queued_; }

 private:
  static constexpr std::size_t classes = 3;
  static constexpr unsigned signals_in_a_row_max = 15;
  using Turn = std::pair<std::uint64_t, StreamId>;  ///< Bytes served, stream.

  /// Writes below this are copied together while they wait, so that a packet has few parts (`frame_parts_max`).
  static constexpr std::size_t small_write = 2048;
  static constexpr std::size_t tail_bytes = 16 * 1024;

  static bool append(SendStream& stream, ByteView bytes);
  static std::size_t index(const SendStream& stream) noexcept { return static_cast<std::size_t>(stream.urgency); }
  void list(StreamId id, SendStream& stream);
  void unlist(StreamId id, SendStream& stream);

  std::unordered_map<StreamId, SendStream> streams_;
  std::array<std::set<Turn>, classes> turns_;
  std::array<std::uint64_t, classes> floors_{};  ///< What streams that become ready have been served at least.
  std::vector<StreamId> blocked_signals_;
  unsigned signals_in_a_row_ = 0;
  std::size_t queued_ = 0;
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
