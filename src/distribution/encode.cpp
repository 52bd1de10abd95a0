#include "distribution/encode.hpp"

#include <algorithm>
#include <utility>

#include "distribution/etf_writer.hpp"
#include "distribution/framing.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

void put_u32(Bytes& out, std::size_t at, std::size_t value) {
  for (unsigned byte = 0; byte < frame_header_bytes; ++byte) {
    out[at + byte] = static_cast<std::uint8_t>(value >> (8U * (frame_header_bytes - 1 - byte)));
  }
}

/// `message` is a whole frame; its control tuple and payload start at `body`, the payload at `payload`.
OutgoingMessage in_fragments(Bytes&& message, std::size_t body, std::size_t payload, std::uint64_t sequence) {
  const std::size_t total = message.size() - body;
  // The control tuple is never cut.
  const std::size_t first = std::max(payload - body, fragment_bytes);
  const std::size_t count = 1 + (total - std::min(total, first) + fragment_bytes - 1) / fragment_bytes;
  const SharedBytes whole(std::move(message));
  Bytes headers;
  headers.reserve(count * (frame_header_bytes + first_fragment_header_bytes));
  EtfWriter writer(headers);
  std::vector<std::pair<std::size_t, std::size_t>> parts;  // of `headers`: where each begins; of the body: its length
  std::size_t done = 0;
  for (std::size_t number = 0; number < count; ++number) {
    const bool leads = number == 0;
    const std::size_t part = std::min(total - done, leads ? first : fragment_bytes);
    const std::size_t head = leads ? first_fragment_header_bytes : next_fragment_header_bytes;
    parts.emplace_back(headers.size(), part);
    writer.u32(static_cast<std::uint32_t>(head + part));
    writer.u8(envelope_version);
    writer.u8(leads ? envelope_first_fragment : envelope_next_fragment);
    writer.u64(sequence);
    writer.u64(count - number);
    if (leads) writer.u8(0);
    done += part;
  }
  const std::size_t headers_size = headers.size();
  const SharedBytes all_headers(std::move(headers));
  OutgoingMessage out;
  out.buffers.reserve(2 * count);
  std::size_t at = body;
  for (std::size_t number = 0; number < count; ++number) {
    const auto [from, part] = parts[number];
    const std::size_t to = number + 1 < count ? parts[number + 1].first : headers_size;
    out.buffers.push_back(all_headers.slice(from, to - from));
    out.buffers.push_back(whole.slice(at, part));
    at += part;
  }
  out.bytes = headers_size + total;
  return out;
}

}  // namespace

OutgoingMessage encode_message(const Signal& signal, Flags effective, const Pid& stream_key, std::uint64_t sequence) {
  const bool pass_through = (effective & flag::fragments) == 0;
  constexpr std::size_t small_bytes = 8192;  // from here on growing costs less than a copy
  thread_local Bytes scratch;                // where small messages are put together
  Bytes bytes = std::exchange(scratch, {});
  bytes.resize(frame_header_bytes);
  if (pass_through) {
    bytes.push_back(envelope_pass_through);
    bytes.push_back(envelope_version);
  } else {
    bytes.push_back(envelope_version);
    bytes.push_back(envelope_whole);
    bytes.push_back(0);
  }
  const std::size_t body = bytes.size();
  const bool payload_follows = encode_control_to(signal, effective, bytes);
  const std::size_t payload = bytes.size();
  if (payload_follows) encode_payload_to(signal.payload, pass_through, bytes);
  OutgoingMessage message;
  if (!pass_through && payload_follows && bytes.size() - body > fragment_bytes) {
    message = in_fragments(std::move(bytes), body, payload, sequence);
  } else {
    put_u32(bytes, 0, bytes.size() - frame_header_bytes);
    message.bytes = bytes.size();
    if (bytes.size() <= small_bytes) {
      message.buffers.push_back(SharedBytes::copy_of(bytes));
      scratch = std::move(bytes);
      scratch.clear();  // keeps its memory
    } else {
      message.buffers.emplace_back(std::move(bytes));
    }
  }
  message.stream_index = stream_index(stream_key);
  return message;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
