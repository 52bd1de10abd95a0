// A data stream of any bytes in any pieces, with fragments in force and not: no crash, memory within the bounds, the
// same signals whatever the pieces, and what was read can be sent and read again.
//
//   input: options(1) cut(1), then the stream
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "distribution/encode.hpp"
#include "distribution/fragments.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::distribution;

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::uint8_t fragments_bit = 1;
constexpr std::uint8_t owner_bit = 2;
constexpr std::size_t frame_bytes_max = 32'768;

FragmentLimits fragment_limits() {
  FragmentLimits limits;
  limits.message_bytes_max = 16'384;
  limits.open_bytes_max = 20'000;
  limits.open_sequences_max = 8;
  return limits;
}

DecodeLimits decode_limits() {
  DecodeLimits limits;
  limits.memory_bytes_max = 16UL * 1024 * 1024;
  limits.depth_max = 2'000;  // sanitizers multiply the stack that a level takes
  return limits;
}

const ChannelNodes& nodes() {
  static const ChannelNodes both{Atom("sa2@127.0.0.1"), Atom("sa1@127.0.0.1"), 4, 4};
  return both;
}

Bytes control_of(const Signal& signal) {
  Bytes bytes;
  encode_control_to(signal, offered_flags, bytes);
  return bytes;
}

std::vector<FramePayload> cut(ByteView stream, std::size_t piece_bytes, bool owned, bool& refused) {
  FrameReader reader(frame_bytes_max);
  std::vector<FramePayload> frames;
  while (!stream.empty()) {
    const auto piece = stream.first(piece_bytes < stream.size() ? piece_bytes : stream.size());
    const auto copy = std::make_shared<const Bytes>(piece.begin(), piece.end());
    stream = stream.subspan(piece.size());
    if (!reader.feed(*copy, frames, owned ? copy : nullptr)) {
      refused = true;
      break;
    }
    require(reader.buffered_bytes() <= frame_bytes_max + frame_header_bytes);
  }
  for (const auto& frame : frames)
    require(!frame.bytes.empty() && frame.bytes.size() <= frame_bytes_max && frame.owner);
  return frames;
}

/// Sends what was read and reads it again: the same signal.
void check_again(const Signal& signal, Flags flags) {
  const auto message = encode_message(signal, flags, stream_key(signal.control), 1);
  require(message.stream_index < data_stream_count);
  FrameReader reader(1UL << 30U);
  std::vector<FramePayload> frames;
  for (const auto& buffer : message.buffers) require(reader.feed(buffer.view, frames, buffer.owner).has_value());
  require(reader.buffered_bytes() == 0);
  MessageReader messages(nodes(), flags);
  std::optional<Signal> again;
  for (auto& frame : frames) {
    require(!again);
    auto read = messages.read(0, std::move(frame));
    require(read.has_value());
    again = std::move(*read);
  }
  require(again.has_value());
  require(control_of(*again) == control_of(signal));
  const auto payload = decode_payload(signal.payload, decode_limits());
  const auto payload_again = decode_payload(again->payload, decode_limits());
  require(payload.has_value() == payload_again.has_value());
  require(!payload || *payload == *payload_again);
}

/// Control tuples of the signals, for comparison.
std::vector<Bytes> read_all(std::vector<FramePayload>&& frames, Flags flags) {
  const auto limits = fragment_limits();
  MessageReader reader(nodes(), flags, limits);
  std::vector<Bytes> controls;
  std::uint64_t number = 0;
  for (auto& frame : frames) {
    auto read = reader.read(number++ % 2, std::move(frame));
    require(reader.fragments().open_bytes() <= limits.open_bytes_max);
    require(reader.fragments().open_sequences() <= limits.open_sequences_max);
    if (!read) break;
    if (!*read) continue;
    controls.push_back(control_of(**read));
    check_again(**read, flags);
  }
  return controls;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t head = 2;
  if (size < head) return 0;
  const Flags flags = (data[0] & fragments_bit) != 0 ? offered_flags : offered_flags & ~flag::fragments;
  const bool owned = (data[0] & owner_bit) != 0;
  const std::size_t piece_bytes = data[1] == 0 ? size : data[1];
  const ByteView stream(data + head, size - head);

  bool refused = false;
  auto frames = cut(stream, piece_bytes, owned, refused);
  bool refused_whole = false;
  auto at_once = cut(stream, size, true, refused_whole);
  require(refused == refused_whole && frames.size() == at_once.size());
  for (std::size_t at = 0; at < frames.size(); ++at) {
    const auto& [left, left_owner] = frames[at];
    const auto& [right, right_owner] = at_once[at];
    require(Bytes(left.begin(), left.end()) == Bytes(right.begin(), right.end()));
  }
  require(read_all(std::move(frames), flags) == read_all(std::move(at_once), flags));
  return 0;
}
