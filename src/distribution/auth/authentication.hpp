// The authentication exchange, version 2, as a machine without I/O, for both sides.
//
//   initiator                                      responder
//   HELLO                          ---->           judges the name and the key
//                                  <----           HELLO CHALLENGE
//   CHALLENGE                      ---->
//                                  <----           RESPONSE
//   verifies; RESPONSE             ---->           verifies
//                                  <----           OK
//
// Each side writes one unidirectional stream (2 and 3) and finishes it. The responder answers a challenge at once; the initiator
// signs only after the responder has proven itself, so a stranger gets no signature (never both: two that hold back would wait for
// ever). Stricter than the Erlang implementation, on the same wire: the responder must bear the dialled name; own name, own key and
// own nonce are refused (reflection); keys of small order are refused; every refusal is told with FAIL; one deadline holds for all.
//
// The channel must ignore all streams but the peer's first unidirectional one, and check that the name of the distribution handshake
// is the one proven here. Source: protocol document 02. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_config.hpp>
#include <barrel_p2p/node_name.hpp>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "distribution/auth/messages.hpp"
#include "distribution/auth/trust_store.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

enum class AuthRole : std::uint8_t { initiator, responder };

enum class AuthFailure : std::uint8_t {
  key_mismatch,         ///< The pinned key differs.
  untrusted_key,        ///< Strict, and no pin.
  signature_invalid,
  rejected,             ///< The peer sent FAIL: the detail is its reason.
  unsupported_version,
  bad_name,             ///< Not a node name.
  name_not_dialled,     ///< The responder bears another name than the one that was dialled.
  reflected,            ///< Our own name, key or nonce.
  weak_key,             ///< A key of small order.
  shared_key,           ///< A key that is pinned under another name, where that is refused.
  clock_skew,           ///< `peer_ts_skew`
  timeout,              ///< `auth_stream_timeout`
  unexpected_message,   ///< A message that has no place here.
  unexpected_ok,        ///< `unexpected_auth_ok`: OK first, and the peer is not listed as cookie-only.
  malformed,            ///< Bytes that are no message.
  stream_ended,         ///< The peer finished or reset its stream too early.
  too_many_pins,
};
/// The text of FAIL for it, and what logs say.
std::string_view name(AuthFailure failure) noexcept;

/// Bytes for our own stream; open it when it is not open.
struct AuthSend {
  Bytes bytes;
};
/// Finish our stream.
struct AuthFinish {};
/// The peer is who it says. In the cookie-only case `name` is what it claims: the distribution handshake must bear it.
struct AuthSucceeded {
  std::optional<NodeName> name;  ///< Absent only for a cookie-only responder, whose name is the dialled one.
  std::optional<PublicKey> key;  ///< Absent in the cookie-only case.
  std::vector<std::string> warnings;
};
/// Close the connection, after what was to be sent.
struct AuthFailed {
  AuthFailure failure = AuthFailure::malformed;
  std::string detail;
  std::optional<NodeName> claimed;
  std::optional<PublicKey> presented;
};
using AuthEffect = std::variant<AuthSend, AuthFinish, AuthSucceeded, AuthFailed>;
using AuthEffects = std::vector<AuthEffect>;

struct AuthSettings {
  NodeName own_name{"nonode@nohost"};
  Milliseconds timeout{10'000};
  Milliseconds timestamp_window{30'000};
  std::vector<std::string> cookie_only_nodes;
  bool refuse_shared_keys = false;
};

struct AuthNow {
  MonotonicTime monotonic;
  WallMilliseconds wall;
};

class Authentication {
 public:
  /// `binding`: SHA-256 of the responder's leaf certificate. `dialled`: required of an initiator. `nonce`: from the random device.
  /// The key and the trust store must outlive the exchange. A success has reserved the name; the caller commits or releases it.
  Authentication(AuthRole role, const AuthSettings& settings, const PrivateKey& key, TrustStore& trust, std::optional<NodeName> dialled,
                 const Digest& binding, const Nonce& nonce);

  AuthEffects start(AuthNow now);
  /// Bytes of the peer's stream, in any pieces. Those that follow the last message are dropped.
  AuthEffects receive(ByteView bytes, AuthNow now);
  /// The peer's stream was finished or reset.
  AuthEffects stream_ended(AuthNow now);
  /// Checks the deadline.
  AuthEffects tick(AuthNow now);
  [[nodiscard]] bool finished() const noexcept { return state_ == State::done; }

 private:
  enum class State : std::uint8_t { idle, hello, challenge, response, ok, done };

  void on_message(AuthMessage&& message, AuthNow now, AuthEffects& effects);
  void on_hello(const AuthHello& hello, AuthNow now, AuthEffects& effects);
  void on_challenge(const AuthChallenge& challenge, AuthNow now, AuthEffects& effects);
  void on_response(const AuthResponse& response, AuthNow now, AuthEffects& effects);
  void on_ok(AuthNow now, AuthEffects& effects);
  bool admit(const AuthHello& hello, AuthEffects& effects);
  bool reserve(AuthNow now, AuthEffects& effects);
  bool overdue(AuthNow now, AuthEffects& effects);
  void send(const AuthMessage& message, AuthEffects& effects) const;
  void send_response(AuthEffects& effects) const;
  void fail(AuthFailure failure, std::string detail, AuthEffects& effects);
  void succeed(AuthEffects& effects);

  const AuthRole role_;
  const AuthSettings& settings_;
  const PrivateKey& key_;
  TrustStore& trust_;
  std::optional<NodeName> dialled_;
  Digest binding_;
  AuthChallenge own_challenge_;
  MonotonicTime started_{};
  State state_ = State::idle;
  AuthFrameReader reader_;
  std::optional<AuthHello> peer_;
  std::optional<AuthChallenge> peer_challenge_;
  std::vector<std::string> warnings_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
