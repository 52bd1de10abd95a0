// The messages of the distribution handshake, without length prefix. Source: protocol document 01, section 5.1.
//
//   name       4e flags(8) creation(4) length(2) name
//   status     73 text
//   challenge  4e flags(8) challenge(4) creation(4) length(2) name
//   reply      72 challenge(4) digest(16)
//   ack        61 digest(16)
//
// Names are Latin-1 on the wire and UTF-8 in an Atom. Pure, thread safe.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "distribution/digest.hpp"
#include "distribution/flags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

namespace handshake_tag {
inline constexpr std::uint8_t name = 'N';  ///< Also of the challenge.
inline constexpr std::uint8_t status = 's';
inline constexpr std::uint8_t reply = 'r';
inline constexpr std::uint8_t ack = 'a';
}  // namespace handshake_tag

inline constexpr std::size_t name_head_bytes = 15;       ///< Before the name itself.
inline constexpr std::size_t challenge_head_bytes = 19;  ///< Before the name itself.
inline constexpr std::size_t reply_bytes = 21;
inline constexpr std::size_t ack_bytes = 17;
inline constexpr std::size_t node_name_bytes_max = 255;

struct NameMessage {
  Flags flags = 0;
  std::uint32_t creation = 0;
  Atom name;
};
struct ChallengeMessage {
  Flags flags = 0;
  std::uint32_t challenge = 0;
  std::uint32_t creation = 0;
  Atom name;
};
struct ReplyMessage {
  std::uint32_t challenge = 0;
  ChallengeDigest digest{};
};
struct AckMessage {
  ChallengeDigest digest{};
};

/// Throw std::invalid_argument when the name is not one that the protocol can carry (see `valid_wire_name`).
Bytes encode(const NameMessage& message);
Bytes encode(const ChallengeMessage& message);
Bytes encode(const ReplyMessage& message);
Bytes encode(const AckMessage& message);
Bytes encode_status(std::string_view status);

/// What follows the name is ignored, as on an Erlang node. Errors: `handshake_failed`, with what is wrong.
Result<NameMessage> decode_name(ByteView message);
Result<ChallengeMessage> decode_challenge(ByteView message);
/// These must have exactly their length.
Result<ReplyMessage> decode_reply(ByteView message);
Result<AckMessage> decode_ack(ByteView message);

/// The characters of UTF-8 text as Latin-1, which names and cookies are proven in. Nothing for text that Latin-1 does
/// not have, and for what is no UTF-8.
std::optional<std::string> to_latin1(std::string_view utf8);

/// One `@`, nothing empty around it, no control characters or blanks, 3 to 255 bytes of Latin-1.
bool valid_wire_name(std::string_view latin1) noexcept;

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
