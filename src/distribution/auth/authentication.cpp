#include "distribution/auth/authentication.hpp"

#include <algorithm>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

std::string_view name(AuthFailure failure) noexcept {
  switch (failure) {
    case AuthFailure::key_mismatch: return "key_mismatch";
    case AuthFailure::untrusted_key: return "untrusted_key";
    case AuthFailure::signature_invalid: return "signature_invalid";
    case AuthFailure::rejected: return "rejected";
    case AuthFailure::unsupported_version: return "unsupported_version";
    case AuthFailure::bad_name: return "bad_name";
    case AuthFailure::name_not_dialled: return "name_not_dialled";
    case AuthFailure::reflected: return "reflected";
    case AuthFailure::weak_key: return "weak_key";
    case AuthFailure::shared_key: return "shared_key";
    case AuthFailure::clock_skew: return "clock_skew";
    case AuthFailure::timeout: return "timeout";
    case AuthFailure::unexpected_message: return "unexpected_message";
    case AuthFailure::unexpected_ok: return "unexpected_auth_ok";
    case AuthFailure::malformed: return "protocol_error";
    case AuthFailure::stream_ended: return "stream_ended";
    case AuthFailure::too_many_pins: return "too_many_pins";
  }
  return "unknown";
}

Authentication::Authentication(AuthRole role, const AuthSettings& settings, const PrivateKey& key, TrustStore& trust,
                               std::optional<NodeName> dialled, const Digest& binding, const Nonce& nonce)
    : role_(role), settings_(settings), key_(key), trust_(trust), dialled_(std::move(dialled)), binding_(binding), own_challenge_{nonce, 0} {}

AuthEffects Authentication::start(AuthNow now) {
  AuthEffects effects;
  started_ = now.monotonic;
  own_challenge_.unix_milliseconds = static_cast<std::uint64_t>(now.wall);
  state_ = State::hello;
  // The challenge waits for the peer's HELLO all the same: a cookie-only responder answers the HELLO with OK.
  if (role_ == AuthRole::initiator) send(AuthHello{settings_.own_name, key_.public_key()}, effects);
  return effects;
}

AuthEffects Authentication::receive(ByteView bytes, AuthNow now) {
  AuthEffects effects;
  if (state_ == State::idle || state_ == State::done || overdue(now, effects)) return effects;
  constexpr std::size_t piece_bytes = 512;  // so that a flood in one call does not pass the reader's bound
  while (!bytes.empty() && state_ != State::done) {
    const auto piece = bytes.first(std::min(piece_bytes, bytes.size()));
    bytes = bytes.subspan(piece.size());
    reader_.feed(piece);
    for (;;) {
      auto message = reader_.next();
      if (!message) {
        fail(AuthFailure::malformed, message.error().context(), effects);
        break;
      }
      if (!*message || state_ == State::done) break;
      auto decoded = decode_auth_message(**message);
      if (decoded) {
        on_message(std::move(*decoded), now, effects);
        continue;
      }
      const std::string& what = decoded.error().context();
      fail(what.starts_with("unsupported_version") ? AuthFailure::unsupported_version
           : what == "invalid_node_name"           ? AuthFailure::bad_name
                                                   : AuthFailure::malformed,
           what, effects);
    }
  }
  return effects;
}

AuthEffects Authentication::stream_ended(AuthNow now) {
  AuthEffects effects;
  if (state_ == State::idle || state_ == State::done || overdue(now, effects)) return effects;
  fail(AuthFailure::stream_ended, "the peer ended its stream before the exchange was complete", effects);
  return effects;
}

AuthEffects Authentication::tick(AuthNow now) {
  AuthEffects effects;
  if (state_ != State::idle && state_ != State::done) overdue(now, effects);
  return effects;
}

bool Authentication::overdue(AuthNow now, AuthEffects& effects) {
  if (now.monotonic - started_ < settings_.timeout) return false;
  fail(AuthFailure::timeout, "the exchange took longer than auth_handshake_timeout", effects);
  return true;
}

void Authentication::send(const AuthMessage& message, AuthEffects& effects) const { effects.emplace_back(AuthSend{encode(message)}); }

void Authentication::send_response(AuthEffects& effects) const {
  send(AuthResponse{key_.sign(signed_text(*peer_challenge_, key_.public_key(), binding_))}, effects);
}

void Authentication::fail(AuthFailure failure, std::string detail, AuthEffects& effects) {
  state_ = State::done;
  // The initiator never says why: a responder of the Erlang library takes FAIL for a breach of the protocol.
  if (role_ == AuthRole::responder) send(AuthFail{std::string(name(failure))}, effects);
  effects.emplace_back(AuthFinish{});
  AuthFailed failed{failure, std::move(detail), std::nullopt, std::nullopt};
  if (peer_) {
    failed.claimed = peer_->name;
    failed.presented = peer_->key;
  }
  effects.emplace_back(std::move(failed));
}

void Authentication::succeed(AuthEffects& effects) {
  state_ = State::done;
  effects.emplace_back(AuthFinish{});
  AuthSucceeded success{std::nullopt, std::nullopt, std::move(warnings_)};
  if (peer_) {
    success.name = peer_->name;
    success.key = peer_->key;
  }
  effects.emplace_back(std::move(success));
}

void Authentication::on_message(AuthMessage&& message, AuthNow now, AuthEffects& effects) {
  if (const auto* told = std::get_if<AuthFail>(&message); told != nullptr && role_ == AuthRole::initiator) {
    constexpr std::size_t shown_max = 80;
    return fail(AuthFailure::rejected, told->reason.substr(0, shown_max), effects);
  }
  switch (state_) {
    case State::idle:
    case State::done: return;
    case State::hello:
      if (const auto* hello = std::get_if<AuthHello>(&message)) return on_hello(*hello, now, effects);
      if (std::holds_alternative<AuthOk>(message) && role_ == AuthRole::initiator) return on_ok(now, effects);
      break;
    case State::challenge:
      if (const auto* challenge = std::get_if<AuthChallenge>(&message)) return on_challenge(*challenge, now, effects);
      break;
    case State::response:
      if (const auto* response = std::get_if<AuthResponse>(&message)) return on_response(*response, now, effects);
      break;
    case State::ok:
      if (std::holds_alternative<AuthOk>(message)) return on_ok(now, effects);
      break;
  }
  fail(AuthFailure::unexpected_message, "a message of kind " + std::to_string(message.index() + 1) + " out of order", effects);
}

bool Authentication::admit(const AuthHello& hello, AuthEffects& effects) {
  if (hello.name == settings_.own_name || hello.key == key_.public_key()) {
    return fail(AuthFailure::reflected, "the peer presents our own name or key", effects), false;
  }
  if (!is_acceptable(hello.key)) return fail(AuthFailure::weak_key, "not a key that an honest node can have", effects), false;
  if (dialled_ && hello.name != *dialled_) {
    return fail(AuthFailure::name_not_dialled, "dialled " + dialled_->string() + ", reached " + hello.name.string(), effects), false;
  }
  if (const auto pinned = trust_.find(hello.name)) {
    if (*pinned != hello.key) return fail(AuthFailure::key_mismatch, "the pinned key differs", effects), false;
  } else if (trust_.mode() == TrustMode::strict) {
    return fail(AuthFailure::untrusted_key, "no pin, and the trust mode is strict", effects), false;
  }
  if (const auto other = trust_.other_name_of(hello.key, hello.name)) {
    const std::string text = "the key of " + hello.name.string() + " is pinned for " + other->string() + " too";
    if (settings_.refuse_shared_keys) return fail(AuthFailure::shared_key, text, effects), false;
    warnings_.push_back(text);
  }
  return true;
}

void Authentication::on_hello(const AuthHello& hello, AuthNow /*now*/, AuthEffects& effects) {
  peer_ = hello;
  if (role_ == AuthRole::responder && matches_any(hello.name.text(), settings_.cookie_only_nodes)) {
    if (hello.name == settings_.own_name) return fail(AuthFailure::reflected, "the peer presents our own name", effects);
    peer_->key = {};
    send(AuthOk{}, effects);
    state_ = State::done;
    effects.emplace_back(AuthFinish{});
    effects.emplace_back(AuthSucceeded{hello.name, std::nullopt, {"accepted " + hello.name.string() + " by its name and the cookie alone (cookie_only_nodes)"}});
    return;
  }
  if (!admit(hello, effects)) return;
  if (role_ == AuthRole::responder) send(AuthHello{settings_.own_name, key_.public_key()}, effects);
  send(own_challenge_, effects);
  state_ = State::challenge;
}

void Authentication::on_challenge(const AuthChallenge& challenge, AuthNow now, AuthEffects& effects) {
  if (challenge.nonce == own_challenge_.nonce) return fail(AuthFailure::reflected, "the peer presents our own nonce", effects);
  const auto window = static_cast<std::uint64_t>(2 * settings_.timestamp_window.count());
  const auto wall = static_cast<std::uint64_t>(now.wall);
  const std::uint64_t distance = challenge.unix_milliseconds > wall ? challenge.unix_milliseconds - wall : wall - challenge.unix_milliseconds;
  if (distance > window) {
    return fail(AuthFailure::clock_skew, "the clocks differ by " + std::to_string(distance) + " ms: synchronise them (NTP)", effects);
  }
  peer_challenge_ = challenge;
  if (role_ == AuthRole::responder) send_response(effects);
  state_ = State::response;
}

void Authentication::on_response(const AuthResponse& response, AuthNow now, AuthEffects& effects) {
  const bool in_time = now.monotonic - started_ <= settings_.timestamp_window;
  if (!in_time || !verify(peer_->key, signed_text(own_challenge_, peer_->key, binding_), response.signature)) {
    return fail(AuthFailure::signature_invalid, "the signature does not fit: another key, or another certificate in between", effects);
  }
  if (role_ == AuthRole::initiator) {
    send_response(effects);
    state_ = State::ok;
    return;
  }
  // Reserved before OK: whoever loses a race for a name is told so.
  if (!reserve(now, effects)) return;
  send(AuthOk{}, effects);
  succeed(effects);
}

bool Authentication::reserve(AuthNow now, AuthEffects& effects) {
  const auto reserved = trust_.reserve(peer_->name, peer_->key, now.monotonic);
  if (reserved) return true;
  const auto code = reserved.error().code();
  const auto failure = code == Errc::key_mismatch    ? AuthFailure::key_mismatch
                       : code == Errc::untrusted_key ? AuthFailure::untrusted_key
                                                     : AuthFailure::too_many_pins;
  fail(failure, reserved.error().context(), effects);
  return false;
}

void Authentication::on_ok(AuthNow now, AuthEffects& effects) {
  if (state_ == State::hello) {
    if (!dialled_ || !matches_any(dialled_->text(), settings_.cookie_only_nodes)) {
      return fail(AuthFailure::unexpected_ok, "the peer takes us for cookie-only, and is not in our cookie_only_nodes", effects);
    }
    warnings_.push_back("connected to " + dialled_->string() + " by the cookie alone (cookie_only_nodes)");
    return succeed(effects);
  }
  if (reserve(now, effects)) succeed(effects);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
