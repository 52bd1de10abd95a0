#include "distribution/channel.hpp"

#include <algorithm>
#include <utility>

#include "base/random.hpp"
#include "distribution/auth/certificate.hpp"
#include "distribution/encode.hpp"
#include "term/box.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

constexpr StreamId control_stream = 0;
constexpr std::size_t frame_overhead_bytes = 4096;
/// Of frames that are not complete, beside two of the largest messages: a fragment on each stream.
constexpr std::size_t other_frames_bytes = 2UL * data_stream_count * (fragment_bytes + frame_overhead_bytes);
/// Between the acknowledgement of the status and the challenge. A BEAM acknowledges before the process that waits for
/// the status has taken it, and takes both as one message, which ends its attempt, if the challenge comes meanwhile:
/// once in some hundred attempts on a busy machine with no pause, never seen with this one.
constexpr Milliseconds status_pause{10};
/// Between the end of the authentication and our name. A BEAM hands the connection from the process that authenticates
/// to the one that shakes hands, acknowledges what comes in between, and loses it: four names in a thousand when they
/// follow at once. It also leaves time for the name of a peer that dials us at the same moment.
constexpr Milliseconds name_pause{10};

constexpr bool is_unidirectional(StreamId id) noexcept { return (id & 2) != 0; }

Error authentication_error(const AuthFailed& failed) {
  Errc code = Errc::auth_failed;
  if (failed.failure == AuthFailure::key_mismatch) code = Errc::key_mismatch;
  if (failed.failure == AuthFailure::untrusted_key) code = Errc::untrusted_key;
  if (failed.failure == AuthFailure::revoked_key) code = Errc::untrusted_key;
  if (failed.failure == AuthFailure::timeout) code = Errc::timeout;
  std::string text = std::string(name(failed.failure)) + ": " + failed.detail;
  if (failed.claimed) text += " (the peer claims to be " + failed.claimed->string() + ")";
  return {code, std::move(text)};
}

ChannelEnd::Cause cause_of(HandshakeFailure failure) {
  switch (failure) {
    case HandshakeFailure::keep_waiting:
    case HandshakeFailure::given_up: return ChannelEnd::Cause::keep_waiting;
    case HandshakeFailure::timeout: return ChannelEnd::Cause::lost;
    case HandshakeFailure::wrong_cookie:
    case HandshakeFailure::flags_missing:
    case HandshakeFailure::name_not_proven:
    case HandshakeFailure::name_not_dialled:
    case HandshakeFailure::own_name:
    case HandshakeFailure::reflected:
    case HandshakeFailure::malformed:
    case HandshakeFailure::not_allowed: break;
  }
  return ChannelEnd::Cause::handshake;
}

}  // namespace

Channel::Channel(const ChannelSettings& settings, bool initiator, Atom peer, ChannelEvents events, Logger logger)
    : settings_(settings),
      initiator_(initiator),
      peer_(std::move(peer)),
      events_(std::move(events)),
      logger_(std::move(logger)) {}

Channel::~Channel() = default;

Result<std::shared_ptr<Channel>> Channel::dial(const ChannelSettings& settings, quic::Endpoint& endpoint,
                                               const quic::Address& address, const std::string& server_name,
                                               const Atom& peer, ChannelEvents events, Logger logger,
                                               const DatagramPathFactory& via) {
  std::shared_ptr<Channel> channel(new Channel(settings, true, peer, std::move(events), std::move(logger)));
  auto connection = endpoint.connect(address, server_name, channel->connection_events(), via);
  if (!connection) return std::unexpected(connection.error());
  channel->connection_ = std::move(*connection);
  return channel;
}

std::shared_ptr<Channel> Channel::accept(const ChannelSettings& settings, std::shared_ptr<quic::Connection> connection,
                                         ChannelEvents events, Logger logger) {
  std::shared_ptr<Channel> channel(new Channel(settings, false, Atom(), std::move(events), std::move(logger)));
  channel->connection_ = std::move(connection);
  channel->connection_->set_events(channel->connection_events());
  channel->on_established();
  return channel;
}

quic::ConnectionEvents Channel::connection_events() {
  const std::weak_ptr<Channel> weak = weak_from_this();
  quic::ConnectionEvents events;
  events.on_established = [weak] {
    if (const auto self = weak.lock()) self->on_established();
  };
  events.on_stream_data = [weak](StreamId id, ByteView bytes, bool fin) {
    if (const auto self = weak.lock()) self->on_stream_data(id, bytes, fin);
  };
  events.on_stream_acked = [weak](StreamId id, std::uint64_t bytes) {
    if (const auto self = weak.lock()) self->on_stream_acked(id, bytes);
  };
  events.on_drained = [weak] {
    const auto self = weak.lock();
    if (self && self->stage_ == ChannelStage::up && self->events_.drained) self->events_.drained(*self);
  };
  events.on_path = [weak](const quic::PathChange& change) {
    const auto self = weak.lock();
    if (self && self->stage_ == ChannelStage::up && self->events_.path) self->events_.path(*self, change);
  };
  events.on_stream_reset = [weak](StreamId id, std::uint64_t code) {
    if (const auto self = weak.lock()) self->on_stream_reset(id, code);
  };
  events.on_stream_stopped = [weak](StreamId id) {
    if (const auto self = weak.lock()) self->on_stream_stopped(id);
  };
  events.on_stream_closed = [weak](StreamId id) {
    const auto self = weak.lock();
    if (self && self->streams_) self->streams_->closed(id);
  };
  events.on_closed = [weak](const quic::CloseReason& reason) {
    if (const auto self = weak.lock()) self->on_closed(reason);
  };
  return events;
}

std::string Channel::address() const { return connection_->remote().to_string(); }

// The end.

void Channel::close(const std::string& reason) {
  if (stage_ == ChannelStage::closed) return;
  stage_ = ChannelStage::closed;
  challenge_.release();
  connection_->close(0, reason);
  end_streams(Error(Errc::no_connection, reason.empty() ? "the connection was closed" : reason));
}

void Channel::end_streams(const Error& error) {
  if (streams_) streams_->lost(error);
}

void Channel::fail(ChannelEnd::Cause cause, Error error, std::string claimed) {
  if (stage_ == ChannelStage::closed) return;
  const auto self = shared_from_this();
  const ChannelEnd end{stage_, cause, std::move(error), undecided(), std::move(claimed)};
  // Strangers learn no more than that it is over; FAIL of the authentication said what the protocol wants said.
  close("");
  if (events_.ended) events_.ended(self, end);
}

void Channel::on_closed(const quic::CloseReason& reason) {
  if (stage_ == ChannelStage::closed) return;
  const auto self = shared_from_this();
  using Kind = quic::CloseReason::Kind;
  const bool said = reason.kind == Kind::peer_application || reason.kind == Kind::peer_transport;
  ChannelEnd::Cause cause = said ? ChannelEnd::Cause::peer_closed : ChannelEnd::Cause::lost;
  if (reason.kind == Kind::protocol) cause = ChannelEnd::Cause::protocol;
  // By whoever has the port and the secret of the peer: the peer, begun anew.
  if (reason.kind == Kind::stateless_reset && stage_ == ChannelStage::up) cause = ChannelEnd::Cause::peer_closed;
  std::string text = said ? "the peer closed the connection" : "the connection was lost";
  if (!reason.text.empty()) text += ": " + reason.text;
  Errc code = stage_ == ChannelStage::connecting ? Errc::connection_refused : Errc::closed;
  const bool open = undecided();
  if (stage_ == ChannelStage::handshaking && initiator_ && said && !open && !pinning_) {
    cause = ChannelEnd::Cause::handshake;
    code = Errc::handshake_failed;
    text += " after our answer to its challenge: do both nodes have the same cookie?";
  }
  end_streams(Error(Errc::no_connection, text));
  const ChannelEnd end{std::exchange(stage_, ChannelStage::closed), cause, Error(code, std::move(text)), open, {}};
  challenge_.release();
  if (events_.ended) events_.ended(self, end);
}

void Channel::tick(MonotonicTime at) {
  if (authentication_ && stage_ == ChannelStage::authenticating) apply(authentication_->tick({at, wall_now()}));
  if (pinning_ && stage_ == ChannelStage::handshaking) {
    if (at - pinning_since_ < settings_.handshake_timeout) return;
    return fail(ChannelEnd::Cause::lost, Error(Errc::timeout, "the disk took too long to keep the key of the peer"));
  }
  if (handshake_ && stage_ == ChannelStage::handshaking) apply(handshake_->tick(at));
  if (streams_ && stage_ == ChannelStage::up) streams_->tick(at);
}

// Authentication.

void Channel::on_established() {
  if (stage_ != ChannelStage::connecting) return;
  stage_ = ChannelStage::authenticating;
  if (settings_.authenticate) {
    start_authentication();
  } else {
    prepare_handshake();
  }
}

void Channel::start_authentication() {
  const Bytes certificate = initiator_ ? connection_->peer_certificate_der() : connection_->local_certificate_der();
  if (certificate.empty()) {
    return fail(ChannelEnd::Cause::authentication, Error(Errc::auth_failed, "the peer showed no certificate"));
  }
  std::optional<NodeName> dialled;
  if (initiator_) dialled = NodeName(peer_.text());
  Nonce nonce{};
  fill_random(nonce);
  authentication_ =
      std::make_unique<Authentication>(initiator_ ? AuthRole::initiator : AuthRole::responder, settings_.authentication,
                                       *settings_.key, *settings_.trust, dialled, sha256(certificate), nonce);
  apply(authentication_->start(now()));
}

void Channel::apply(AuthEffects&& effects) {
  for (auto& effect : effects) {
    if (stage_ == ChannelStage::closed) return;
    if (auto* send = std::get_if<AuthSend>(&effect)) {
      if (!own_auth_stream_) {
        const auto opened = connection_->open_uni();
        if (!opened) {
          return fail(ChannelEnd::Cause::authentication,
                      Error(Errc::auth_failed, "open_auth_stream_failed: " + opened.error().message()));
        }
        own_auth_stream_ = *opened;
      }
      connection_->write(*own_auth_stream_, SharedBytes(std::move(send->bytes)));
    } else if (std::holds_alternative<AuthFinish>(effect)) {
      if (own_auth_stream_) connection_->write(*own_auth_stream_, SharedBytes(), {.fin = true, .own_packet = false});
    } else if (auto* success = std::get_if<AuthSucceeded>(&effect)) {
      warnings_ = std::move(success->warnings);
      proven_ = success->name;
      proven_key_ = success->key;
      pin_ = std::move(success->pin);
      prepare_handshake();
    } else if (const auto* failed = std::get_if<AuthFailed>(&effect)) {
      return fail(failed->failure == AuthFailure::timeout ? ChannelEnd::Cause::lost : ChannelEnd::Cause::authentication,
                  authentication_error(*failed), failed->claimed ? failed->claimed->string() : "");
    }
  }
}

bool Channel::is_revoked() const { return proven_key_ && settings_.trust->is_revoked(*proven_key_); }

// The distribution handshake.

void Channel::prepare_handshake() {
  const bool hurried = !initiator_ || !events_.after || made_by_cpp_node(connection_->peer_certificate_der());
  if (hurried) return start_handshake();
  events_.after(name_pause, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self && self->stage_ == ChannelStage::authenticating) self->start_handshake();
  });
}

void Channel::start_handshake() {
  stage_ = ChannelStage::handshaking;
  if (initiator_ && !open_data_streams()) return;
  HandshakeConfig config;
  config.role = initiator_ ? HandshakeRole::initiator : HandshakeRole::acceptor;
  config.own_name = settings_.name;
  if (initiator_) config.dialled = peer_;
  if (proven_) config.proven = proven_->atom();
  config.flags = settings_.flags;
  config.creation = settings_.creation;
  config.cookie = settings_.cookie;
  challenge_ = settings_.challenges->draw();
  config.challenge = challenge_.value();
  config.is_own = [challenges = settings_.challenges](std::uint32_t challenge) {
    return challenges->contains(challenge);
  };
  config.timeout = settings_.handshake_timeout;
  handshake_ = std::make_unique<Handshake>(std::move(config));
  apply(handshake_->start(monotonic_now()));
}

/// The initiator opens the control stream too, so that ids are the same on every stack.
bool Channel::open_data_streams() {
  const std::size_t wanted = data_stream_count + (initiator_ ? 1 : 0);
  for (std::size_t number = 0; number < wanted; ++number) {
    const auto opened = connection_->open_bidi();
    if (!opened) {
      fail(ChannelEnd::Cause::protocol, Error(Errc::handshake_failed, "the peer allows too few streams"));
      return false;
    }
    if (*opened != control_stream) data_streams_.push_back(*opened);
  }
  return true;
}

/// Whether the peer finds the end of a status by itself. Erlang nodes with an epmd have any creation, but none says
/// that it acknowledges sooner than others.
bool Channel::dialled_by_ours() const {
  constexpr Milliseconds ack_delay_of_erlang{25};
  return claimed_creation_ > erlang_creation && connection_->peer_ack_delay() < ack_delay_of_erlang;
}

void Channel::apply(HandshakeEffects&& effects) {
  const auto is_up = [](const HandshakeEffect& effect) { return std::holds_alternative<HandshakeUp>(effect); };
  const bool waits_for_disk = pin_.holds() && events_.commit_pin && std::ranges::any_of(effects, is_up);
  bool goes_on = false;
  for (auto& effect : effects) {
    if (stage_ == ChannelStage::closed) return;
    if (auto* send = std::get_if<HandshakeSend>(&effect)) {
      if (waits_for_disk) {
        withheld_ = std::move(send->bytes);
        continue;
      }
      handshake_sent_ += send->bytes.size();
      if (send->status) {
        goes_on = dialled_by_ours();
        if (!goes_on) status_acked_at_ = handshake_sent_;
      }
      connection_->write(control_stream, SharedBytes(std::move(send->bytes)), {.fin = false, .own_packet = true});
    } else if (const auto* received = std::get_if<HandshakeNameReceived>(&effect)) {
      peer_ = received->name;
      claimed_creation_ = received->creation;
      const auto answer =
          events_.name_received ? events_.name_received(shared_from_this(), peer_) : HandshakeAnswer::not_allowed;
      apply(handshake_->answer(answer, monotonic_now()));
    } else if (std::holds_alternative<HandshakeAlive>(effect)) {
      // The peer still has a channel that we do not have any more, or we would not have dialled.
      apply(handshake_->answer_alive(true, monotonic_now()));
    } else if (const auto* up = std::get_if<HandshakeUp>(&effect)) {
      handshake_up(*up);
    } else if (const auto* failed = std::get_if<HandshakeFailed>(&effect)) {
      return fail(cause_of(failed->failure),
                  Error(failed->failure == HandshakeFailure::timeout ? Errc::timeout : Errc::handshake_failed,
                        std::string(name(failed->failure)) + ": " + failed->detail));
    }
  }
  if (goes_on && handshake_) apply(handshake_->status_acked(monotonic_now()));
}

void Channel::on_stream_acked(StreamId id, std::uint64_t bytes) {
  if (streams_ && is_user_stream(id)) return streams_->acknowledged(id, bytes);
  if (id != control_stream) return;
  if (initiator_ && undecided() && !name_acked_ && bytes >= handshake_sent_) name_acked_ = monotonic_now();
  if (!status_acked_at_ || bytes < *status_acked_at_) return;
  status_acked_at_.reset();
  const auto proceed = [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self && self->handshake_ && self->stage_ == ChannelStage::handshaking) {
      self->apply(self->handshake_->status_acked(monotonic_now()));
    }
  };
  if (events_.after) {
    events_.after(status_pause, proceed);
  } else {
    proceed();
  }
}

void Channel::handshake_up(const HandshakeUp& up) {
  if (!pin_.holds() || !events_.commit_pin) return pinned(up, pin_.commit());
  pinning_ = up;
  pinning_since_ = monotonic_now();
  events_.commit_pin(std::move(pin_), [weak = weak_from_this()](const Result<void>& result) {
    const auto self = weak.lock();
    if (self && self->stage_ == ChannelStage::handshaking) self->pinned(*std::exchange(self->pinning_, {}), result);
  });
}

void Channel::pinned(const HandshakeUp& up, const Result<void>& result) {
  // It may have been revoked since it was proven. Whoever revokes a key closes the channels that are up afterwards.
  if (is_revoked())
    return fail(ChannelEnd::Cause::authentication, Error(Errc::untrusted_key, "revoked_key: it was revoked meanwhile"));
  if (!result && result.error().code() != Errc::io_error) {
    if (result.error() == Errc::auth_failed) logger_->error("{}", result.error().context());
    return fail(ChannelEnd::Cause::authentication, result.error());
  }
  if (!result) {
    logger_->error("the key of {} is pinned in memory only: {}", up.peer.text(), result.error().message());
  }
  if (!withheld_.empty()) {
    connection_->write(control_stream, SharedBytes(std::exchange(withheld_, {})), {.fin = false, .own_packet = true});
  }
  go_up(up);
}

void Channel::go_up(const HandshakeUp& up) {
  connection_->admit();
  peer_ = up.peer;
  flags_ = up.flags;
  peer_creation_ = up.peer_creation;
  // Not before the cookie is proven: who does not know it must not write lines but the few of refusals.
  for (const auto& warning : std::exchange(warnings_, {})) logger_->warn("{}: {}", peer_.text(), warning);
  if (proven_ && !proven_key_) logger_->warn("{} is let in by the cookie alone: it proved no key", peer_.text());
  if (const auto degraded = degraded_features(flags_ | flag::published); !degraded.empty()) {
    logger_->warn("{} does without {}", peer_.text(), degraded);
  }
  if (!initiator_ && !open_data_streams()) return;
  FragmentLimits limits;
  limits.message_bytes_max = settings_.message_bytes_max;
  limits.open_bytes_max = 2 * settings_.message_bytes_max;
  messages_ = std::make_unique<MessageReader>(ChannelNodes{settings_.name, peer_, settings_.creation, peer_creation_},
                                              flags_, limits);
  // They are in every message, which one thread decodes and another one destroys.
  detail::keep_atom(settings_.name);
  detail::keep_atom(peer_);
  stage_ = ChannelStage::up;
  last_signal_ = monotonic_now();
  authentication_.reset();
  handshake_.reset();
  challenge_.release();
  const auto self = shared_from_this();
  if (events_.up) events_.up(self);
  read_early();
}

void Channel::begin(std::uint64_t epoch) {
  epoch_ = epoch;
  const UserStreams::Peer peer{peer_, epoch, peer_creation_ == erlang_creation};
  streams_ = std::make_shared<UserStreams>(settings_.streams, connection_, peer, events_.after);
}

// Data.

bool Channel::is_data_stream(StreamId id) const noexcept {
  if (is_unidirectional(id) || id == control_stream) return false;
  return !is_user_stream(id);
}

void Channel::on_stream_data(StreamId id, ByteView bytes, bool fin) {
  if (stage_ == ChannelStage::closed) return;
  const auto self = shared_from_this();
  if (settings_.authenticate && id == peer_auth_stream()) {
    connection_->consume(id, bytes.size());
    if (stage_ != ChannelStage::authenticating) return;  // what follows the exchange on its stream is dropped
    if (!bytes.empty()) apply(authentication_->receive(bytes, now()));
    if (fin && authentication_ && stage_ == ChannelStage::authenticating) apply(authentication_->stream_ended(now()));
    return;
  }
  if (stage_ == ChannelStage::authenticating || is_unidirectional(id)) {
    return fail(ChannelEnd::Cause::protocol,
                Error(Errc::auth_failed, "data on stream " + std::to_string(id) + " before the peer authenticated"));
  }
  if (id == control_stream) {
    connection_->consume(id, bytes.size());
    // Once the channel is up only ticks come here, and they need no answer.
    if (stage_ == ChannelStage::handshaking && !pinning_) apply(handshake_->receive(bytes, monotonic_now()));
    return;
  }
  if (fin && is_data_stream(id)) {
    return fail(ChannelEnd::Cause::protocol, Error(Errc::closed, "the peer finished a data stream"));
  }
  if (stage_ == ChannelStage::handshaking) return hold_early(id, bytes, fin);
  if (is_user_stream(id)) return streams_->data(id, bytes, fin);
  read_frames(id, bytes);
}

void Channel::on_stream_reset(StreamId id, std::uint64_t code) {
  if (stage_ == ChannelStage::closed) return;
  if (settings_.authenticate && id == peer_auth_stream() && stage_ == ChannelStage::authenticating) {
    return apply(authentication_->stream_ended(now()));
  }
  if (id == control_stream || is_data_stream(id)) {
    fail(ChannelEnd::Cause::protocol,
         Error(Errc::closed, "the peer reset stream " + std::to_string(id) + " with code " + std::to_string(code)));
    return;
  }
  if (!is_user_stream(id)) return;
  if (stage_ == ChannelStage::up) return streams_->reset(id, code);
  std::erase_if(early_, [id](const Early& piece) { return piece.id == id; });
  connection_->reset(id, code_owner_gone);
}

void Channel::on_stream_stopped(StreamId id) {
  if (stage_ == ChannelStage::closed) return;
  if (id == control_stream || is_data_stream(id)) {
    return fail(ChannelEnd::Cause::protocol,
                Error(Errc::closed, "the peer does not read from stream " + std::to_string(id)));
  }
  if (streams_) streams_->stopped(id);
}

/// The peer may be up before we are, and streams are not ordered among each other.
void Channel::hold_early(StreamId id, ByteView bytes, bool fin) {
  constexpr std::size_t piece_bytes = 64;  // what a piece costs by itself: a peer may send single bytes
  // While the disk works the peer, which has the cookie, may fill the window that it was given. It is more than
  // `early_bytes_max`; the rest is for the pieces.
  const std::size_t allowed = (pinning_ ? 4 : 1) * settings_.early_bytes_max;
  const bool continues = !early_.empty() && early_.back().id == id;
  early_bytes_ += bytes.size() + (continues ? 0 : piece_bytes);
  if (early_bytes_ > allowed) {
    return fail(ChannelEnd::Cause::protocol,
                Error(Errc::limit_exceeded, "too much data before the handshake was done"));
  }
  if (!continues) early_.emplace_back().id = id;
  Early& piece = early_.back();
  piece.bytes.insert(piece.bytes.end(), bytes.begin(), bytes.end());
  piece.fin = fin;
}

void Channel::read_early() {
  early_bytes_ = 0;
  for (const auto& [id, bytes, fin] : std::exchange(early_, {})) {
    if (stage_ != ChannelStage::up) return;
    if (is_user_stream(id)) {
      streams_->data(id, bytes, fin);
    } else {
      read_frames(id, bytes);
    }
  }
}

void Channel::read_frames(StreamId id, ByteView bytes) {
  auto& reader = readers_.try_emplace(id, settings_.message_bytes_max + frame_overhead_bytes).first->second;
  frames_.clear();
  const std::size_t buffered_before = reader.buffered_bytes();
  const auto fed = reader.feed(bytes, frames_);
  buffered_bytes_ += reader.buffered_bytes() - buffered_before;
  // A frame handler may end the channel: whoever holds it keeps it alive, and `deliver` looks at the stage.
  auto frames = std::exchange(frames_, {});
  if (!frames.empty()) last_signal_ = monotonic_now();
  constexpr std::size_t signals_at_once = 256;  // a piece that was held early may have many
  std::vector<Signal> signals;
  signals.reserve(std::min(frames.size(), signals_at_once));
  std::optional<Error> error;
  for (auto& frame : frames) {
    auto signal = messages_->read(static_cast<std::uint64_t>(id), std::move(frame));
    if (!signal) {
      error = signal.error();
      break;
    }
    if (*signal) signals.push_back(std::move(**signal));
    if (signals.size() == signals_at_once) {
      if (!deliver(signals)) return;
      signals.clear();
    }
  }
  if (!deliver(signals)) return;
  if (error) return fail(ChannelEnd::Cause::protocol, *error);
  frames.clear();
  frames_ = std::move(frames);
  if (!fed) return fail(ChannelEnd::Cause::protocol, fed.error());
  const std::size_t incomplete = buffered_bytes_ + messages_->fragments().open_bytes();
  if (incomplete > 2 * settings_.message_bytes_max + other_frames_bytes) {
    return fail(
        ChannelEnd::Cause::protocol,
        Error(Errc::limit_exceeded, "the messages that are not complete are larger than what a peer may have open"));
  }
  credit(id, bytes.size());
}

/// False when the channel has ended meanwhile.
bool Channel::deliver(std::span<Signal> signals) {
  while (!signals.empty() && events_.signals) {
    const Delivered done = events_.signals(*this, signals);
    if (done.outcome == DeliverOutcome::congested) ++holds_;
    if (stage_ != ChannelStage::up) return false;
    signals = signals.subspan(done.count);
  }
  return true;
}

void Channel::credit(StreamId id, std::size_t bytes) {
  if (holds_ > 0) {
    uncredited_[id] += bytes;
  } else {
    connection_->consume(id, bytes);
  }
}

void Channel::resume_reading() {
  if (stage_ != ChannelStage::up || holds_ == 0) return;
  --holds_;
  if (holds_ > 0) return;
  for (const auto& [id, bytes] : std::exchange(uncredited_, {})) connection_->consume(id, bytes);
}

void Channel::send(OutgoingMessage&& message) {
  if (stage_ != ChannelStage::up) return;
  const StreamId id = data_streams_[message.stream_index % data_streams_.size()];
  for (auto& buffer : message.buffers) connection_->write(id, std::move(buffer));
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
