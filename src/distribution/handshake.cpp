#include "distribution/handshake.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "distribution/handshake_messages.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

constexpr std::size_t prefix_bytes = 2;
/// More than any message of the handshake; who sends more is not waited for.
constexpr std::size_t buffer_bytes_max = 1024;
constexpr std::string_view simultaneous_tail = "_simultaneous";

std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};  // NOLINT(*-reinterpret-cast): bytes as text
}

bool is_start_of(std::string_view start, std::string_view whole) {
  return start.size() < whole.size() && whole.starts_with(start);
}

/// What a status may be; the longer one first where one begins with the other.
constexpr std::array<std::string_view, 5> acceptor_statuses{"ok_simultaneous", "ok", "nok", "not_allowed", "alive"};
constexpr std::array<std::string_view, 2> initiator_statuses{"true", "false"};

/// The length of the message that `bytes` begin with; 0 while too little has come to tell.
std::size_t name_length(ByteView bytes, std::size_t head) {
  if (bytes.size() < head) return 0;
  constexpr unsigned byte_bits = 8;
  return head + (std::size_t{bytes[head - 2]} << byte_bits | bytes[head - 1]);
}

}  // namespace

std::string_view name(HandshakeFailure failure) noexcept {
  switch (failure) {
    case HandshakeFailure::wrong_cookie: return "wrong_cookie";
    case HandshakeFailure::flags_missing: return "flags_missing";
    case HandshakeFailure::name_not_proven: return "name_not_proven";
    case HandshakeFailure::name_not_dialled: return "name_not_dialled";
    case HandshakeFailure::own_name: return "own_name";
    case HandshakeFailure::reflected: return "reflected";
    case HandshakeFailure::malformed: return "malformed";
    case HandshakeFailure::not_allowed: return "not_allowed";
    case HandshakeFailure::keep_waiting: return "keep_waiting";
    case HandshakeFailure::given_up: return "given_up";
    case HandshakeFailure::timeout: return "timeout";
  }
  return "malformed";
}

Handshake::Handshake(HandshakeConfig config) : config_(std::move(config)) {}

// Sending.

void Handshake::send(Bytes message, HandshakeEffects& effects, bool status) const {
  if (config_.framing == HandshakeFraming::prefixed) {
    constexpr unsigned byte_bits = 8;
    const std::size_t size = message.size();
    message.insert(message.begin(), {static_cast<std::uint8_t>(size >> byte_bits), static_cast<std::uint8_t>(size)});
  }
  effects.emplace_back(HandshakeSend{std::move(message), status});
}

void Handshake::fail(HandshakeFailure failure, std::string detail, HandshakeEffects& effects) {
  state_ = State::failed;
  buffer_ = {};
  effects.emplace_back(HandshakeFailed{failure, std::move(detail)});
}

void Handshake::send_challenge(HandshakeEffects& effects) {
  send(encode(ChallengeMessage{config_.flags, config_.challenge, config_.creation, config_.own_name}), effects);
  state_ = State::waiting_for_reply;
}

void Handshake::finish(HandshakeEffects& effects) {
  state_ = State::up;
  buffer_ = {};
  effects.emplace_back(HandshakeUp{peer_, peer_flags_, effective_flags(config_.flags, peer_flags_), peer_creation_});
}

// Input.

HandshakeEffects Handshake::start(MonotonicTime now) {
  HandshakeEffects effects;
  if (state_ != State::idle) return effects;
  deadline_ = now + config_.timeout;
  if (config_.role == HandshakeRole::acceptor) {
    state_ = State::waiting_for_name;
    return effects;
  }
  send(encode(NameMessage{config_.flags, config_.creation, config_.own_name}), effects);
  state_ = State::waiting_for_status;
  return effects;
}

std::optional<MonotonicTime> Handshake::deadline() const noexcept {
  if (state_ == State::idle || finished()) return std::nullopt;
  return deadline_;
}

bool Handshake::overdue(MonotonicTime now, HandshakeEffects& effects) {
  if (state_ == State::idle || finished()) return true;
  if (now < deadline_) return false;
  fail(HandshakeFailure::timeout, "the handshake took longer than " + std::to_string(config_.timeout.count()) + " ms",
       effects);
  return true;
}

HandshakeEffects Handshake::tick(MonotonicTime now) {
  HandshakeEffects effects;
  overdue(now, effects);
  return effects;
}

HandshakeEffects Handshake::receive(ByteView bytes, MonotonicTime now) {
  HandshakeEffects effects;
  if (overdue(now, effects)) return effects;
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  while (!finished() && !buffer_.empty() && step(effects)) {
  }
  if (!finished() && buffer_.size() > buffer_bytes_max) {
    fail(HandshakeFailure::malformed, "more bytes than any message of the handshake has", effects);
  }
  return effects;
}

bool Handshake::step(HandshakeEffects& effects) {
  switch (state_) {
    case State::waiting_for_table:
    case State::waiting_for_table_alive:
    case State::waiting_for_status_ack:
      // Nothing may come now: what does is residue of the last message, which Erlang nodes ignore.
      buffer_.clear();
      return false;
    case State::waiting_for_status:
    case State::waiting_for_alive_reply:
      if (config_.framing == HandshakeFraming::none) return take_status(effects);
      break;
    default: break;
  }
  const auto packet = take_packet(effects);
  if (!packet) return false;
  read_packet(*packet, effects);
  return true;
}

/// One message, or nothing while it is not complete.
std::optional<Bytes> Handshake::take_packet(HandshakeEffects& effects) {
  std::size_t skip = 0;
  std::size_t length = 0;
  if (config_.framing == HandshakeFraming::prefixed) {
    if (buffer_.size() < prefix_bytes) return std::nullopt;
    skip = prefix_bytes;
    length = name_length(buffer_, prefix_bytes) - prefix_bytes;
    if (length > buffer_bytes_max) {
      fail(HandshakeFailure::malformed, "a message of " + std::to_string(length) + " bytes", effects);
      return std::nullopt;
    }
    if (buffer_.size() < skip + length) return std::nullopt;
  } else {
    if (std::exchange(may_be_simultaneous_, false)) {
      const std::string_view text = as_text(buffer_);
      if (text.starts_with(simultaneous_tail)) {
        buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(simultaneous_tail.size()));
      } else if (is_start_of(text, simultaneous_tail)) {
        may_be_simultaneous_ = true;
        return std::nullopt;
      }
      if (buffer_.empty()) return std::nullopt;
    }
    switch (state_) {
      case State::waiting_for_name: length = name_length(buffer_, name_head_bytes); break;
      case State::waiting_for_challenge: length = name_length(buffer_, challenge_head_bytes); break;
      case State::waiting_for_reply: length = reply_bytes; break;
      default: length = ack_bytes; break;
    }
    if (length == 0 || buffer_.size() < length) return std::nullopt;
  }
  const auto from = buffer_.begin() + static_cast<std::ptrdiff_t>(skip);
  const auto to = from + static_cast<std::ptrdiff_t>(length);
  Bytes packet(from, to);
  buffer_.erase(buffer_.begin(), to);
  return packet;
}

/// A status has no length of its own: it is as long as the longest one that it may be.
bool Handshake::take_status(HandshakeEffects& effects) {
  const std::string_view text = as_text(buffer_);
  if (text.front() != static_cast<char>(handshake_tag::status)) {
    fail(HandshakeFailure::malformed, "a status was to come", effects);
    return false;
  }
  const std::string_view rest = text.substr(1);
  const auto look = [&](const auto& statuses) -> std::optional<std::string_view> {
    for (const auto status : statuses) {
      if (rest.starts_with(status)) return status;
    }
    const bool incomplete = std::ranges::any_of(statuses, [&](auto status) { return is_start_of(rest, status); });
    if (!incomplete) fail(HandshakeFailure::malformed, "an unknown status", effects);
    return std::nullopt;
  };
  const auto found = state_ == State::waiting_for_status ? look(acceptor_statuses) : look(initiator_statuses);
  if (!found) return false;
  const std::string status(*found);
  buffer_.erase(buffer_.begin(), buffer_.begin() + 1 + static_cast<std::ptrdiff_t>(status.size()));
  may_be_simultaneous_ = status == "ok";
  on_status(status, effects);
  return true;
}

void Handshake::read_packet(ByteView packet, HandshakeEffects& effects) {
  switch (state_) {
    case State::waiting_for_name: return on_name(packet, effects);
    case State::waiting_for_challenge: return on_challenge(packet, effects);
    case State::waiting_for_reply: return on_reply(packet, effects);
    case State::waiting_for_ack: return on_ack(packet, effects);
    case State::waiting_for_status:
    case State::waiting_for_alive_reply:
      if (packet.empty() || packet.front() != handshake_tag::status) break;
      return on_status(as_text(packet.subspan(1)), effects);
    default: break;
  }
  fail(HandshakeFailure::malformed, "a message that has no place here", effects);
}

// Messages.

bool Handshake::check_peer(const Atom& peer, HandshakeEffects& effects) {
  if (peer == config_.own_name) {
    fail(HandshakeFailure::own_name, "the peer bears our own name, " + peer.string(), effects);
  } else if (config_.proven && peer != *config_.proven) {
    fail(HandshakeFailure::name_not_proven,
         "the peer authenticated as " + config_.proven->string() + " and now says that it is " + peer.string(),
         effects);
  } else if (config_.dialled && peer != *config_.dialled) {
    fail(HandshakeFailure::name_not_dialled,
         config_.dialled->string() + " was dialled and " + peer.string() + " answered", effects);
  } else {
    return true;
  }
  return false;
}

/// The digest says nothing of who asked for it: our answer to a challenge of ours would prove the cookie to ourselves.
bool Handshake::check_challenge(std::uint32_t challenge, HandshakeEffects& effects) {
  if (!config_.is_own || !config_.is_own(challenge)) return true;
  fail(HandshakeFailure::reflected, "the peer presents a challenge of our own, as who does not know the cookie would",
       effects);
  return false;
}

void Handshake::on_name(ByteView message, HandshakeEffects& effects) {
  const auto name = decode_name(message);
  if (!name) return fail(HandshakeFailure::malformed, name.error().context(), effects);
  if (!check_peer(name->name, effects)) return;
  const Flags missing = missing_mandatory(name->flags, config_.mandatory);
  if (missing != 0) {
    send(encode_status("not_allowed"), effects);
    return fail(HandshakeFailure::flags_missing, name->name.string() + " lacks " + flag_names(missing), effects);
  }
  peer_ = name->name;
  peer_flags_ = name->flags;
  peer_creation_ = name->creation;
  state_ = State::waiting_for_table;
  effects.emplace_back(HandshakeNameReceived{peer_, peer_flags_, peer_creation_});
}

HandshakeEffects Handshake::answer(HandshakeAnswer answer, MonotonicTime now) {
  HandshakeEffects effects;
  if (overdue(now, effects) || state_ != State::waiting_for_table) return effects;
  switch (answer) {
    case HandshakeAnswer::ok:
    case HandshakeAnswer::ok_simultaneous:
      send(encode_status(answer == HandshakeAnswer::ok ? "ok" : "ok_simultaneous"), effects, true);
      state_ = State::waiting_for_status_ack;
      break;
    case HandshakeAnswer::alive:
      send(encode_status("alive"), effects);
      state_ = State::waiting_for_alive_reply;
      break;
    case HandshakeAnswer::hold: break;
    case HandshakeAnswer::not_allowed:
      send(encode_status("not_allowed"), effects);
      fail(HandshakeFailure::not_allowed, peer_.string() + " may not connect", effects);
      break;
    case HandshakeAnswer::close:
      fail(HandshakeFailure::keep_waiting, "our own attempt to reach " + peer_.string() + " goes on", effects);
      break;
  }
  return effects;
}

HandshakeEffects Handshake::status_acked(MonotonicTime now) {
  HandshakeEffects effects;
  if (overdue(now, effects) || state_ != State::waiting_for_status_ack) return effects;
  send_challenge(effects);
  return effects;
}

void Handshake::on_status(std::string_view status, HandshakeEffects& effects) {
  if (state_ == State::waiting_for_alive_reply) {
    if (status == "true") return send_challenge(effects);
    if (status == "false") return fail(HandshakeFailure::given_up, "the peer keeps the channel that it has", effects);
    return fail(HandshakeFailure::malformed, "an unknown answer to `alive`", effects);
  }
  if (status == "ok" || status == "ok_simultaneous") {
    state_ = State::waiting_for_challenge;
  } else if (status == "alive") {
    state_ = State::waiting_for_table_alive;
    effects.emplace_back(HandshakeAlive{});
  } else if (status == "nok") {
    fail(HandshakeFailure::keep_waiting, "the peer prefers its own attempt to reach us", effects);
  } else if (status == "not_allowed") {
    fail(HandshakeFailure::not_allowed, "the peer does not let us in", effects);
  } else {
    fail(HandshakeFailure::malformed, "an unknown status", effects);
  }
}

HandshakeEffects Handshake::answer_alive(bool wanted, MonotonicTime now) {
  HandshakeEffects effects;
  if (overdue(now, effects) || state_ != State::waiting_for_table_alive) return effects;
  send(encode_status(wanted ? "true" : "false"), effects);
  if (wanted) {
    state_ = State::waiting_for_challenge;
  } else {
    fail(HandshakeFailure::given_up, "the channel that exists is kept", effects);
  }
  return effects;
}

void Handshake::on_challenge(ByteView message, HandshakeEffects& effects) {
  const auto challenge = decode_challenge(message);
  if (!challenge) return fail(HandshakeFailure::malformed, challenge.error().context(), effects);
  if (!check_peer(challenge->name, effects)) return;
  const Flags missing = missing_mandatory(challenge->flags, config_.mandatory);
  if (missing != 0) {
    return fail(HandshakeFailure::flags_missing, challenge->name.string() + " lacks " + flag_names(missing), effects);
  }
  if (!check_challenge(challenge->challenge, effects)) return;
  peer_ = challenge->name;
  peer_flags_ = challenge->flags;
  peer_creation_ = challenge->creation;
  send(encode(ReplyMessage{config_.challenge, challenge_digest(config_.cookie, challenge->challenge)}), effects);
  buffer_.clear();  // what followed the name
  state_ = State::waiting_for_ack;
}

void Handshake::on_reply(ByteView message, HandshakeEffects& effects) {
  const auto reply = decode_reply(message);
  if (!reply) return fail(HandshakeFailure::malformed, reply.error().context(), effects);
  if (!same_digest(reply->digest, challenge_digest(config_.cookie, config_.challenge))) {
    return fail(HandshakeFailure::wrong_cookie, peer_.string() + " has another cookie", effects);
  }
  if (!check_challenge(reply->challenge, effects)) return;
  peer_challenge_ = reply->challenge;
  send(encode(AckMessage{challenge_digest(config_.cookie, peer_challenge_)}), effects);
  finish(effects);
}

void Handshake::on_ack(ByteView message, HandshakeEffects& effects) {
  const auto ack = decode_ack(message);
  if (!ack) return fail(HandshakeFailure::malformed, ack.error().context(), effects);
  if (!same_digest(ack->digest, challenge_digest(config_.cookie, config_.challenge))) {
    return fail(HandshakeFailure::wrong_cookie, peer_.string() + " has another cookie", effects);
  }
  finish(effects);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
