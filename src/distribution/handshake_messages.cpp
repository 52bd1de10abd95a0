#include "distribution/handshake_messages.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "distribution/etf_writer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

constexpr unsigned latin1_high = 0x80;

std::string from_latin1(std::string_view latin1) {
  constexpr unsigned lead = 0xC0;
  constexpr unsigned continuation = 0x80;
  constexpr unsigned bits = 6;
  std::string utf8;
  for (const char character : latin1) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < latin1_high) {
      utf8 += character;
    } else {
      utf8 += static_cast<char>(lead | byte >> bits);
      utf8 += static_cast<char>(continuation | (byte & 0x3FU));
    }
  }
  return utf8;
}

std::string wire_name(const Atom& name) {
  auto latin1 = to_latin1(name.text());
  if (!latin1 || !valid_wire_name(*latin1)) {
    throw std::invalid_argument("not a name of a node that the handshake can carry: " + name.string());
  }
  return std::move(*latin1);
}

void put_name(EtfWriter& writer, Bytes& out, const std::string& latin1) {
  writer.u16(static_cast<std::uint32_t>(latin1.size()));
  out.insert(out.end(), latin1.begin(), latin1.end());
}

std::uint64_t read_be(ByteView bytes, std::size_t at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t byte = 0; byte < count; ++byte) value = value << 8U | bytes[at + byte];
  return value;
}
std::uint32_t read_u32(ByteView bytes, std::size_t at) { return static_cast<std::uint32_t>(read_be(bytes, at, 4)); }

std::unexpected<Error> bad(const std::string& what) { return fail(Errc::handshake_failed, what); }

/// The name whose length stands in the last two bytes of the head.
Result<Atom> read_name(ByteView message, std::size_t head) {
  if (message.size() < head || message[0] != handshake_tag::name) return bad("a message that is no name");
  const std::size_t length = read_be(message, head - 2, 2);
  if (message.size() - head < length) return bad("a name that is cut off");
  const ByteView bytes = message.subspan(head, length);
  const std::string latin1(bytes.begin(), bytes.end());
  if (!valid_wire_name(latin1)) return bad("a name that is not of the form name@host");
  return Atom::make(from_latin1(latin1));
}

Bytes with_digest(std::uint8_t what, std::optional<std::uint32_t> challenge, const ChallengeDigest& digest) {
  Bytes out;
  EtfWriter writer(out);
  writer.u8(what);
  if (challenge) writer.u32(*challenge);
  out.insert(out.end(), digest.begin(), digest.end());
  return out;
}

}  // namespace

std::optional<std::string> to_latin1(std::string_view utf8) {
  constexpr unsigned char lead_c2 = 0xC2;
  constexpr unsigned char lead_c3 = 0xC3;
  constexpr unsigned continuation_bits = 0x3F;
  std::string latin1;
  for (std::size_t at = 0; at < utf8.size(); ++at) {
    const auto byte = static_cast<unsigned char>(utf8[at]);
    if (byte < latin1_high) {
      latin1 += utf8[at];
      continue;
    }
    if ((byte != lead_c2 && byte != lead_c3) || at + 1 == utf8.size()) return std::nullopt;
    const auto next = static_cast<unsigned char>(utf8[++at]);
    if ((next & ~continuation_bits) != latin1_high) return std::nullopt;
    latin1 += static_cast<char>((byte == lead_c2 ? 0x80U : 0xC0U) | (next & continuation_bits));
  }
  return latin1;
}

bool valid_wire_name(std::string_view latin1) noexcept {
  constexpr std::size_t least = 3;
  constexpr unsigned char blank = 0x20;
  constexpr unsigned char del = 0x7F;
  constexpr unsigned char no_break_space = 0xA0;
  if (latin1.size() < least || latin1.size() > node_name_bytes_max) return false;
  const std::size_t at = latin1.find('@');
  if (at == 0 || at >= latin1.size() - 1 || latin1.find('@', at + 1) != std::string_view::npos) return false;
  return std::ranges::all_of(latin1, [](char character) {
    const auto byte = static_cast<unsigned char>(character);
    return byte > blank && (byte < del || byte > no_break_space);
  });
}

Bytes encode(const NameMessage& message) {
  const std::string name = wire_name(message.name);
  Bytes out;
  EtfWriter writer(out);
  writer.u8(handshake_tag::name);
  writer.u64(message.flags);
  writer.u32(message.creation);
  put_name(writer, out, name);
  return out;
}

Bytes encode(const ChallengeMessage& message) {
  const std::string name = wire_name(message.name);
  Bytes out;
  EtfWriter writer(out);
  writer.u8(handshake_tag::name);
  writer.u64(message.flags);
  writer.u32(message.challenge);
  writer.u32(message.creation);
  put_name(writer, out, name);
  return out;
}

Bytes encode(const ReplyMessage& message) {
  return with_digest(handshake_tag::reply, message.challenge, message.digest);
}
Bytes encode(const AckMessage& message) { return with_digest(handshake_tag::ack, std::nullopt, message.digest); }

Bytes encode_status(std::string_view status) {
  Bytes out(1 + status.size());
  out[0] = handshake_tag::status;
  std::ranges::copy(status, out.begin() + 1);
  return out;
}

Result<NameMessage> decode_name(ByteView message) {
  const auto name = read_name(message, name_head_bytes);
  if (!name) return std::unexpected(name.error());
  return NameMessage{read_be(message, 1, 8), read_u32(message, 9), *name};
}

Result<ChallengeMessage> decode_challenge(ByteView message) {
  const auto name = read_name(message, challenge_head_bytes);
  if (!name) return std::unexpected(name.error());
  return ChallengeMessage{read_be(message, 1, 8), read_u32(message, 9), read_u32(message, 13), *name};
}

Result<ReplyMessage> decode_reply(ByteView message) {
  if (message.size() != reply_bytes || message[0] != handshake_tag::reply) return bad("a message that is no reply");
  ReplyMessage reply{read_u32(message, 1), {}};
  std::copy_n(message.begin() + 5, reply.digest.size(), reply.digest.begin());
  return reply;
}

Result<AckMessage> decode_ack(ByteView message) {
  if (message.size() != ack_bytes || message[0] != handshake_tag::ack)
    return bad("a message that is no acknowledgement");
  AckMessage ack;
  std::copy_n(message.begin() + 1, ack.digest.size(), ack.digest.begin());
  return ack;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
