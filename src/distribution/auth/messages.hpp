// Messages of the authentication exchange, version 2.
//
//   frame:      length(2) message
//   HELLO       1  version(1) = 2  name-length(2) name  public-key(32)
//   CHALLENGE   2  nonce(32) unix-milliseconds(8)
//   RESPONSE    3  signature(64)
//   OK          4
//   FAIL        5  reason-length(2) reason
//
//   signed:     nonce(32) unix-milliseconds(8)  signer's public-key(32)  SHA-256 of the responder's certificate(32)
//               nonce and time are those of the challenge that the signer received
//
// Source: protocol document 02, section 4.
#pragma once

#include <array>
#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "distribution/auth/ed25519.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

using Nonce = std::array<std::uint8_t, 32>;

struct AuthHello {
  NodeName name;
  PublicKey key;
};
struct AuthChallenge {
  Nonce nonce;
  std::uint64_t unix_milliseconds = 0;
};
struct AuthResponse {
  Signature signature;
};
struct AuthOk {};
struct AuthFail {
  std::string reason;
};
using AuthMessage = std::variant<AuthHello, AuthChallenge, AuthResponse, AuthOk, AuthFail>;

/// With the length in front.
Bytes encode(const AuthMessage& message);
/// A message without the length. The context of the error is Erlang's word for it, for instance `invalid_hello_payload`
/// or `unsupported_version 1`. Total: any bytes give a message or an error.
Result<AuthMessage> decode_auth_message(ByteView message);

/// Puts frames together, whatever the pieces that they come in. Keeps one frame at most.
class AuthFrameReader {
 public:
  /// The largest legal message, a HELLO with a name of 255 bytes, has 291.
  static constexpr std::size_t message_bytes_max = 512;

  /// Takes bytes off the front of `input` until a message is complete, and returns it without its length. Nothing: the
  /// input is used up. Error: `limit_exceeded`, as soon as the length is known.
  Result<std::optional<Bytes>> next(ByteView& input);

 private:
  Bytes buffer_;
};

/// The text that a signer signs.
std::array<std::uint8_t, 104> signed_text(const AuthChallenge& challenge, const PublicKey& signer,
                                          const Digest& binding);

/// Whether a name matches one of the patterns `name@host`, where either part may be `*` (protocol document 02,
/// section 7.3).
bool matches_any(std::string_view name, const std::vector<std::string>& patterns);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
