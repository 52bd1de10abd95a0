#include "distribution/framing.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/buffer_pool.hpp"
#include "base/shared_bytes.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

std::uint64_t read_be(const std::uint8_t* bytes, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t at = 0; at < count; ++at) value = value << 8U | bytes[at];
  return value;
}

std::unexpected<Error> malformed(const char* what) { return fail(Errc::malformed_term, what); }

constexpr std::size_t word_bytes = 8;
constexpr std::size_t sequence_at = 2;
constexpr std::size_t count_at = sequence_at + word_bytes;

Result<Envelope> read_fragment(ByteView payload) {
  const bool first = payload[1] == envelope_first_fragment;
  const std::size_t head = first ? first_fragment_header_bytes : next_fragment_header_bytes;
  if (payload.size() < head) return malformed("a fragment that is shorter than its header");
  const std::uint64_t sequence = read_be(&payload[sequence_at], word_bytes);
  const std::uint64_t left = read_be(&payload[count_at], word_bytes);
  if (left == 0) return malformed("a fragment with the number 0");
  if (!first) return NextFragment{sequence, left, payload.subspan(head)};
  if (payload[head - 1] != 0) return malformed("a fragment with an atom cache");
  return FirstFragment{sequence, left, payload.subspan(head)};
}

}  // namespace

Result<std::size_t> FrameReader::announced(const std::uint8_t* header) const {
  const std::size_t length = read_be(header, frame_header_bytes);
  if (length <= frame_bytes_max_) return length;
  return fail(Errc::limit_exceeded, "a frame of " + std::to_string(length) +
                                        " bytes; limits.message_bytes_max allows " + std::to_string(frame_bytes_max_));
}

Result<ByteView> FrameReader::continue_partial(ByteView piece, std::vector<FramePayload>& frames) {
  while (header_size_ < frame_header_bytes && !piece.empty()) {
    header_[header_size_++] = piece.front();
    piece = piece.subspan(1);
  }
  if (header_size_ < frame_header_bytes) return piece;
  const auto length = announced(header_);
  if (!length) return std::unexpected(length.error());
  const std::size_t take = std::min(*length - partial_.size(), piece.size());
  constexpr std::size_t reserve_least = 65'536;
  if (partial_.capacity() < partial_.size() + take) {
    // At most twice what has come, so that an announcement alone costs nothing.
    Bytes larger = BufferPool::shared().take(std::min(*length, std::max(2 * (partial_.size() + take), reserve_least)));
    larger.insert(larger.end(), partial_.begin(), partial_.end());
    BufferPool::shared().give_back(std::exchange(partial_, std::move(larger)));
  }
  partial_.insert(partial_.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(take));
  piece = piece.subspan(take);
  if (partial_.size() < *length) return piece;
  if (*length == 0) {
    ++ticks_;
  } else {
    const auto whole = BufferPool::shared().lend(std::move(partial_));
    frames.push_back({*whole, whole});
  }
  partial_ = {};
  header_size_ = 0;
  return piece;
}

Result<void> FrameReader::feed(ByteView piece, std::vector<FramePayload>& frames,
                               const std::shared_ptr<const void>& owner) {
  while (!piece.empty()) {
    if (header_size_ > 0 || piece.size() < frame_header_bytes) {
      const auto rest = continue_partial(piece, frames);
      if (!rest) return std::unexpected(rest.error());
      piece = *rest;
      continue;
    }
    const auto length = announced(piece.data());
    if (!length) return std::unexpected(length.error());
    if (piece.size() - frame_header_bytes < *length) {
      header_size_ = frame_header_bytes;
      std::copy_n(piece.begin(), frame_header_bytes, header_);
      piece = piece.subspan(frame_header_bytes);
      const auto rest = continue_partial(piece, frames);
      if (!rest) return std::unexpected(rest.error());
      piece = *rest;
      continue;
    }
    const ByteView payload = piece.subspan(frame_header_bytes, *length);
    piece = piece.subspan(frame_header_bytes + *length);
    if (payload.empty()) {
      ++ticks_;
    } else if (owner) {
      frames.push_back({payload, owner});
    } else {
      auto copy = SharedBytes::copy_of(payload);
      frames.push_back({copy.view, std::move(copy.owner)});
    }
  }
  return {};
}

Result<Envelope> read_envelope(ByteView payload, Flags effective) {
  constexpr std::size_t least = 2;
  if (payload.size() < least) return malformed("a message without an envelope");
  const bool with_fragments = (effective & flag::fragments) != 0;
  if (payload[0] == envelope_pass_through) {
    if (with_fragments) return malformed("a pass-through message where FRAGMENTS are in force");
    if (payload[1] != envelope_version) return malformed("a message without a version byte");
    return WholeMessage{payload.subspan(2), true};
  }
  if (payload[0] != envelope_version) return malformed("a message with an unknown envelope");
  if (!with_fragments) return malformed("a message with a header where FRAGMENTS are not in force");
  switch (payload[1]) {
    case envelope_whole: {
      constexpr std::size_t head = 3;
      if (payload.size() < head) return malformed("a message that is shorter than its header");
      if (payload[2] != 0) return malformed("a message with an atom cache");
      return WholeMessage{payload.subspan(head), false};
    }
    case envelope_first_fragment:
    case envelope_next_fragment: return read_fragment(payload);
    default: return malformed("a message with an unknown header");
  }
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
