#include "distribution/auth/authentication.hpp"

#include <cassert>
#include <utility>

#include "base/printable.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

void tell(const AuthMessage& message, AuthEffects& effects) { effects.emplace_back(AuthSend{encode(message)}); }

AuthFailure failure_of_decoding(const Error& decoding) {
  if (decoding.context().starts_with("unsupported_version")) return AuthFailure::unsupported_version;
  return decoding.context() == "invalid_node_name" ? AuthFailure::bad_name : AuthFailure::malformed;
}

/// Of what the trust store said.
AuthFailure failure_of(Errc code, bool revoked) {
  if (revoked) return AuthFailure::revoked_key;
  if (code == Errc::key_mismatch) return AuthFailure::key_mismatch;
  return code == Errc::untrusted_key ? AuthFailure::untrusted_key : AuthFailure::too_many_pins;
}

std::string_view name_of(const AuthMessage& message) {
  struct Names {
    std::string_view operator()(const AuthHello& /*message*/) const { return "HELLO"; }
    std::string_view operator()(const AuthChallenge& /*message*/) const { return "CHALLENGE"; }
    std::string_view operator()(const AuthResponse& /*message*/) const { return "RESPONSE"; }
    std::string_view operator()(const AuthOk& /*message*/) const { return "OK"; }
    std::string_view operator()(const AuthFail& /*message*/) const { return "FAIL"; }
  };
  return std::visit(Names{}, message);
}

}  // namespace

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
    case AuthFailure::revoked_key: return "revoked_key";
    case AuthFailure::too_many_pins: return "too_many_pins";
  }
  return "unknown";
}

Authentication::Authentication(AuthRole role, AuthSettings settings, PrivateKey key, TrustStore& trust,
                               std::optional<NodeName> dialled, const Digest& binding, const Nonce& nonce)
    : role_(role),
      settings_(std::move(settings)),
      key_(std::move(key)),
      trust_(trust),
      dialled_(std::move(dialled)),
      binding_(binding),
      own_challenge_{nonce, 0} {
  assert(dialled_.has_value() == (role_ == AuthRole::initiator));
}

AuthEffects Authentication::start(AuthNow now) {
  assert(state_ == State::idle);
  AuthEffects effects;
  started_ = now.monotonic;
  state_ = State::hello;
  // Our challenge waits for the peer's HELLO: a cookie-only responder answers with OK at once and reads no more.
  if (role_ == AuthRole::initiator) tell(AuthHello{settings_.own_name, key_.public_key()}, effects);
  return effects;
}

AuthEffects Authentication::receive(ByteView bytes, AuthNow now) {
  AuthEffects effects;
  if (!running() || overdue(now, effects)) return effects;
  while (running()) {
    const auto message = reader_.next(bytes);
    if (!message) {
      reject(AuthFailure::malformed, message.error().context(), effects);
      break;
    }
    if (!*message) break;
    if (const auto decoded = decode_auth_message(**message)) {
      on_message(*decoded, now, effects);
    } else {
      reject(failure_of_decoding(decoded.error()), decoded.error().context(), effects);
    }
  }
  return effects;
}

AuthEffects Authentication::stream_ended(AuthNow now) {
  AuthEffects effects;
  if (!running() || overdue(now, effects)) return effects;
  reject(AuthFailure::stream_ended, "the peer ended its stream before the exchange was complete", effects);
  return effects;
}

AuthEffects Authentication::tick(AuthNow now) {
  AuthEffects effects;
  if (running()) overdue(now, effects);
  return effects;
}

std::optional<MonotonicTime> Authentication::deadline() const noexcept {
  return running() ? std::optional(started_ + settings_.timeout) : std::nullopt;
}

bool Authentication::overdue(AuthNow now, AuthEffects& effects) {
  if (now.monotonic - started_ < settings_.timeout) return false;
  reject(AuthFailure::timeout, "the exchange took longer than auth_handshake_timeout", effects);
  return true;
}

void Authentication::send_challenge(AuthNow now, AuthEffects& effects) {
  own_challenge_.unix_milliseconds = static_cast<std::uint64_t>(now.wall);
  challenged_ = now.monotonic;
  tell(own_challenge_, effects);
}

void Authentication::send_response(AuthEffects& effects) const {
  tell(AuthResponse{key_.sign(signed_text(*peer_challenge_, key_.public_key(), binding_))}, effects);
}

void Authentication::reject(AuthFailure failure, std::string detail, AuthEffects& effects) {
  assert(running());
  state_ = State::done;
  // The initiator never says why: a responder of the Erlang library takes FAIL for a breach of the protocol.
  if (role_ == AuthRole::responder) tell(AuthFail{std::string(name(failure))}, effects);
  effects.emplace_back(AuthFinish{});
  AuthFailed failed{failure, std::move(detail), std::nullopt, std::nullopt};
  if (peer_) {
    failed.claimed = peer_->name;
    failed.presented = peer_->key;
  }
  effects.emplace_back(std::move(failed));
}

void Authentication::succeed(PinReservation pin, AuthEffects& effects) {
  state_ = State::done;
  effects.emplace_back(AuthFinish{});
  effects.emplace_back(AuthSucceeded{peer_->name, peer_->key, std::move(pin), std::move(warnings_)});
}

void Authentication::accept_by_cookie(NodeName name, const std::string& warning, AuthEffects& effects) {
  state_ = State::done;
  effects.emplace_back(AuthFinish{});
  effects.emplace_back(AuthSucceeded{std::move(name), std::nullopt, {}, {warning}});
}

void Authentication::on_message(const AuthMessage& message, AuthNow now, AuthEffects& effects) {
  if (const auto* told = std::get_if<AuthFail>(&message); told != nullptr && role_ == AuthRole::initiator) {
    constexpr std::size_t shown_max = 80;
    return reject(AuthFailure::rejected, printable(told->reason, shown_max), effects);
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
  reject(AuthFailure::unexpected_message, std::string(name_of(message)) + " out of order", effects);
}

bool Authentication::admit(const AuthHello& hello, AuthEffects& effects) {
  const auto refuse = [&](AuthFailure failure, std::string detail) {
    reject(failure, std::move(detail), effects);
    return false;
  };
  if (hello.key == key_.public_key()) return refuse(AuthFailure::reflected, "the peer presents our own key");
  if (!is_acceptable(hello.key)) return refuse(AuthFailure::weak_key, "not a key that an honest node can have");
  if (dialled_ && hello.name != *dialled_) {
    return refuse(AuthFailure::name_not_dialled, "dialled " + dialled_->string() + ", reached " + hello.name.string());
  }
  if (const auto judged = trust_.judge(hello.name, hello.key); !judged)
    return refuse(failure_of(judged.error().code(), trust_.is_revoked(hello.key)), judged.error().context());
  return true;
}

void Authentication::on_hello(const AuthHello& hello, AuthNow now, AuthEffects& effects) {
  peer_ = hello;
  if (hello.name == settings_.own_name)
    return reject(AuthFailure::reflected, "the peer presents our own name", effects);
  // Such a name could come with any other key: this keeps out who does not know yet.
  if (trust_.is_revoked(hello.key)) {
    return reject(AuthFailure::revoked_key, "the key " + to_hex(fingerprint(hello.key)) + " is revoked", effects);
  }
  if (role_ == AuthRole::responder && matches_any(hello.name.text(), settings_.cookie_only_nodes)) {
    tell(AuthOk{}, effects);
    return accept_by_cookie(hello.name, "accepted " + hello.name.string() + " by the cookie alone (cookie_only_nodes)",
                            effects);
  }
  if (!admit(hello, effects)) return;
  if (role_ == AuthRole::responder) tell(AuthHello{settings_.own_name, key_.public_key()}, effects);
  send_challenge(now, effects);
  state_ = State::challenge;
}

void Authentication::on_challenge(const AuthChallenge& challenge, AuthNow now, AuthEffects& effects) {
  if (challenge.nonce == own_challenge_.nonce)
    return reject(AuthFailure::reflected, "the peer presents our own nonce", effects);
  const auto allowed = 2 * static_cast<std::uint64_t>(settings_.timestamp_window.count());
  const auto own = static_cast<std::uint64_t>(now.wall);
  const auto theirs = challenge.unix_milliseconds;
  const std::uint64_t distance = theirs > own ? theirs - own : own - theirs;
  if (distance > allowed) {
    return reject(AuthFailure::clock_skew,
                  "the clocks differ by " + std::to_string(distance) + " ms: synchronise them (NTP)", effects);
  }
  peer_challenge_ = challenge;
  if (role_ == AuthRole::responder) send_response(effects);
  state_ = State::response;
}

void Authentication::on_response(const AuthResponse& response, AuthNow now, AuthEffects& effects) {
  if (now.monotonic - challenged_ > settings_.timestamp_window) {
    return reject(AuthFailure::signature_invalid, "the signature came later than auth_timestamp_window allows",
                  effects);
  }
  if (!verify(peer_->key, signed_text(own_challenge_, peer_->key, binding_), response.signature)) {
    return reject(AuthFailure::signature_invalid,
                  "the signature does not fit: another key, or another certificate in between", effects);
  }
  if (role_ == AuthRole::initiator) {
    send_response(effects);
    state_ = State::ok;
    return;
  }
  // Before OK: whoever may not have the name is told so.
  if (auto pin = reserve(now, effects)) {
    tell(AuthOk{}, effects);
    succeed(std::move(*pin), effects);
  }
}

void Authentication::on_ok(AuthNow now, AuthEffects& effects) {
  if (state_ == State::hello) {
    if (!matches_any(dialled_->text(), settings_.cookie_only_nodes)) {
      return reject(AuthFailure::unexpected_ok,
                    "the peer takes us for cookie-only, and is not in our cookie_only_nodes", effects);
    }
    return accept_by_cookie(*dialled_,
                            "connected to " + dialled_->string() + " by the cookie alone (cookie_only_nodes)", effects);
  }
  if (auto pin = reserve(now, effects)) succeed(std::move(*pin), effects);
}

std::optional<PinReservation> Authentication::reserve(AuthNow now, AuthEffects& effects) {
  // Not before the key is proven: a claim alone must not cost a look at every pin, nor a line in the log.
  if (const auto other = trust_.other_name_of(peer_->key, peer_->name)) {
    std::string text = "the key of " + peer_->name.string() + " is pinned for " + other->string() + " too";
    if (settings_.refuse_shared_keys) {
      reject(AuthFailure::shared_key, std::move(text), effects);
      return std::nullopt;
    }
    warnings_.push_back(std::move(text));
  }
  auto pin = trust_.reserve(peer_->name, peer_->key, now.monotonic, now.wall);
  if (pin) return std::move(*pin);
  reject(failure_of(pin.error().code(), trust_.is_revoked(peer_->key)), pin.error().context(), effects);
  return std::nullopt;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
