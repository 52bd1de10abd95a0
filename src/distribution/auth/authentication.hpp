// The authentication exchange, version 2, as a machine without I/O, for both sides.
//
//   initiator, on stream 2                         responder, on stream 3
//   HELLO                          ---->           judges the name and the key
//                                  <----           HELLO CHALLENGE
//   CHALLENGE                      ---->
//                                  <----           RESPONSE
//   verifies; RESPONSE             ---->           verifies
//                                  <----           OK
//
// Each side finishes its stream after its last message. The responder answers a challenge at once; the initiator signs
// only after the responder has proven itself, so a stranger gets no signature (never both: two that hold back would
// wait for ever). Stricter than the Erlang implementation, on the same wire: the responder must bear the dialled name;
// own name, own key and own nonce are refused (reflection); keys of small order are refused; the responder tells every
// refusal with FAIL; messages are bounded to 512 bytes; a key that may not have its name is told so in place of OK.
//
// What is left to the channel:
//  - The peer's messages come on stream 3 (to the initiator) or 2 (to the responder) and nowhere else. Refuse all other
//  streams until
//    the exchange is over; drop what comes on these two afterwards. Feed bytes before the end of the stream that
//    carries them.
//  - The binding must be that of the certificate that this connection uses, and TLS must have checked its
//  CertificateVerify.
//  - The distribution handshake must bear `AuthSucceeded::name`. When it is up, commit `AuthSucceeded::pin`, and let
//  the peer in when that is done; drop it otherwise.
//  - The initiator opens no stream but its own before the success. Any failure closes the connection, application code
//  0.
//
// Source: protocol document 02, sections 4 to 7 and 15. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "distribution/auth/ed25519.hpp"
#include "distribution/auth/messages.hpp"
#include "distribution/auth/trust_store.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

enum class AuthRole : std::uint8_t { initiator, responder };

/// In the comments: the word of the Erlang implementation, where it differs. Those of the transport
/// (`open_auth_stream_failed`, `channel_binding_failed`, `connection_closed`, `transport_error`) belong to the channel.
enum class AuthFailure : std::uint8_t {
  key_mismatch,         ///< Another key is pinned for the name, or is about to be.
  untrusted_key,        ///< Strict, and no pin.
  signature_invalid,    ///< `signature_verification_failed`; also when it came later than the timestamp window allows.
  rejected,             ///< `auth_rejected`: the peer sent FAIL, the detail is its reason.
  unsupported_version,  ///< `unexpected_message` of `unsupported_version`
  bad_name,             ///< `unexpected_message` of `invalid_node_name`
  name_not_dialled,     ///< The responder bears another name than the one that was dialled. Erlang nodes accept it.
  reflected,            ///< Our own name, key or nonce. Erlang nodes accept it.
  weak_key,             ///< A key of small order, or not canonical. Erlang nodes accept it.
  shared_key,           ///< A key that is pinned under another name, where that is refused. Erlang nodes accept it.
  clock_skew,           ///< `peer_ts_skew`
  timeout,              ///< `auth_stream_timeout`
  unexpected_message,   ///< A message that has no place here.
  unexpected_ok,        ///< `unexpected_auth_ok`: OK first, and the peer is not listed as cookie-only.
  malformed,            ///< `unexpected_message` of a decoding error, and messages above 512 bytes.
  stream_ended,         ///< `stream_reset`; also the end of the peer's stream. Erlang nodes wait for the deadline then.
  revoked_key,          ///< An operator revoked the key. Erlang nodes know no such thing.
  too_many_pins,        ///< A limit of the trust store. Erlang nodes have none.
};
/// The stable text of FAIL for it; what logs and counters say. The first three are those of Erlang nodes, byte for
/// byte.
std::string_view name(AuthFailure failure) noexcept;

/// Bytes for our own stream; open it when it is not open.
struct AuthSend {
  Bytes bytes;
};
/// Finish our stream.
struct AuthFinish {};
/// The peer is who it says. The distribution handshake must bear this very name: in the cookie-only case too, where it
/// is the dialled name, or the one that the initiator claimed.
struct AuthSucceeded {
  NodeName name;
  std::optional<PublicKey> key;  ///< Absent: cookie-only, nothing was proven. Log each one.
  PinReservation pin;
  std::vector<std::string> warnings;  ///< For the operator's log.
};
/// Close the connection, after what was to be sent. Comes once, as the last effect.
struct AuthFailed {
  AuthFailure failure = AuthFailure::malformed;
  std::string detail;  ///< Printable, whatever the peer sent.
  std::optional<NodeName> claimed;
  std::optional<PublicKey> presented;
};
using AuthEffect = std::variant<AuthSend, AuthFinish, AuthSucceeded, AuthFailed>;
/// In the order in which they are to be done. The last one of an exchange is AuthSucceeded or AuthFailed.
using AuthEffects = std::vector<AuthEffect>;

struct AuthSettings {
  NodeName own_name{"nonode@nohost"};
  /// From `start` on (`auth_handshake_timeout`). Give what the QUIC handshake has left: one deadline for both.
  Milliseconds timeout{10'000};
  /// The clocks may differ by twice this, either way; between our challenge and its answer this much may pass.
  Milliseconds timestamp_window{30'000};
  /// Patterns `name@host`, `*@host`, `name@*` of nodes that cannot authenticate.
  std::vector<std::string> cookie_only_nodes;
  /// Refuse a key that is pinned under another name; else only warn.
  bool refuse_shared_keys = false;
};

struct AuthNow {
  MonotonicTime monotonic;
  WallMilliseconds wall;
};

class Authentication {
 public:
  /// `binding`: SHA-256 of the responder's leaf certificate. `dialled`: required of an initiator, absent for a
  /// responder. `nonce`: 32 bytes of the random device, never used before. The trust store must outlive the exchange.
  Authentication(AuthRole role, AuthSettings settings, PrivateKey key, TrustStore& trust,
                 std::optional<NodeName> dialled, const Digest& binding, const Nonce& nonce);

  AuthEffects start(AuthNow now);
  /// Bytes of the peer's stream, in any pieces. Those that follow the last message are dropped.
  AuthEffects receive(ByteView bytes, AuthNow now);
  /// The peer's stream was finished or reset.
  AuthEffects stream_ended(AuthNow now);
  /// Checks the deadline.
  AuthEffects tick(AuthNow now);
  /// When `tick` must be called at the latest; nothing before the start and after the end.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const noexcept;
  [[nodiscard]] bool finished() const noexcept { return state_ == State::done; }

 private:
  enum class State : std::uint8_t { idle, hello, challenge, response, ok, done };

  [[nodiscard]] bool running() const noexcept { return state_ != State::idle && state_ != State::done; }
  void on_message(const AuthMessage& message, AuthNow now, AuthEffects& effects);
  void on_hello(const AuthHello& hello, AuthNow now, AuthEffects& effects);
  void on_challenge(const AuthChallenge& challenge, AuthNow now, AuthEffects& effects);
  void on_response(const AuthResponse& response, AuthNow now, AuthEffects& effects);
  void on_ok(AuthNow now, AuthEffects& effects);
  bool admit(const AuthHello& hello, AuthEffects& effects);
  void accept_by_cookie(NodeName name, const std::string& warning, AuthEffects& effects);
  void send_challenge(AuthNow now, AuthEffects& effects);
  void send_response(AuthEffects& effects) const;
  std::optional<PinReservation> reserve(AuthNow now, AuthEffects& effects);
  void succeed(PinReservation pin, AuthEffects& effects);
  bool overdue(AuthNow now, AuthEffects& effects);
  void reject(AuthFailure failure, std::string detail, AuthEffects& effects);

  const AuthRole role_;
  const AuthSettings settings_;
  const PrivateKey key_;
  TrustStore& trust_;
  const std::optional<NodeName> dialled_;
  const Digest binding_;
  AuthChallenge own_challenge_;
  MonotonicTime started_{};
  MonotonicTime challenged_{};  ///< When our challenge went out.
  State state_ = State::idle;
  AuthFrameReader reader_;
  std::optional<AuthHello> peer_;
  std::optional<AuthChallenge> peer_challenge_;
  std::vector<std::string> warnings_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
