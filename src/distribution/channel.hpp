// One QUIC connection on its way from a handshake to a distribution channel, and the channel itself.
//
//   connecting -> authenticating -> handshaking -> up -> closed
//
// The channel drives the pure machines (Authentication, Handshake, FrameReader, MessageReader) with what the connection
// delivers and writes what they answer. Before `up` nothing that the peer says reaches anybody but these machines:
// streams other than the one of the current stage are refused, and what arrives early is bounded. Every end closes the
// connection with a word to the peer. Source: protocol document 01, sections 3 to 8.
//
// Transport thread only.
#pragma once

#include <barrel_p2p/term.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "distribution/auth/authentication.hpp"
#include "distribution/auth/trust_store.hpp"
#include "distribution/control.hpp"
#include "distribution/fragments.hpp"
#include "distribution/framing.hpp"
#include "distribution/handshake.hpp"
#include "distribution/outbox.hpp"
#include "distribution/outcome.hpp"
#include "distribution/own_challenges.hpp"
#include "distribution/stream_choice.hpp"
#include "distribution/streams/user_streams.hpp"
#include "quic/connection.hpp"
#include "quic/endpoint.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

using quic::StreamId;

/// Shared by all channels of a node.
struct ChannelSettings {
  Atom name;           ///< Our own.
  std::string cookie;  ///< In Latin-1.
  std::uint32_t creation = 0;
  Flags flags = offered_flags;
  bool authenticate = true;  ///< False: the cookie alone decides.
  AuthSettings authentication;
  std::optional<PrivateKey> key;  ///< Present when `authenticate` is set, as is `trust`.
  std::shared_ptr<TrustStore> trust;
  Milliseconds handshake_timeout{7000};  ///< The distribution handshake alone (`net_setuptime`).
  std::size_t message_bytes_max = 128UL * 1024 * 1024;
  std::size_t early_bytes_max = 1024UL * 1024;  ///< Data that may overtake the last message of the handshake.
  std::shared_ptr<StreamShared> streams;        ///< Of the node; streams of programs hang on it.
  /// Of the handshakes of the node.
  std::shared_ptr<OwnChallenges> challenges = std::make_shared<OwnChallenges>();
};

enum class ChannelStage : std::uint8_t { connecting, authenticating, handshaking, up, closed };

/// Why a channel ended, for people and for whoever decides whether to dial again.
struct ChannelEnd {
  ChannelStage stage = ChannelStage::connecting;  ///< Where it ended.
  enum class Cause : std::uint8_t {
    local,           ///< We closed it.
    peer_closed,     ///< The peer said so.
    lost,            ///< Time-out, reset, no answer.
    authentication,  ///< Authentication failed: `error` says how.
    handshake,       ///< The distribution handshake failed: `error` says how.
    keep_waiting,    ///< The peer prefers its own attempt (`nok`).
    protocol,        ///< The peer broke the protocol.
  } cause = Cause::local;
  Error error{Errc::closed};
  bool undecided =
      false;  ///< The peer knew our name and had not answered: it may have closed in favour of its own attempt.
  std::string claimed{};  ///< The name that the peer gave and did not prove, if it was the authentication that failed.
};

class Channel;

struct ChannelEvents {
  /// What the connection table wants to do with a peer that told its name.
  std::function<HandshakeAnswer(const std::shared_ptr<Channel>&, const Atom& name)> name_received;
  std::function<void(const std::shared_ptr<Channel>&)> up;
  /// Of what came in one piece: takes as many from the front as it likes, and is called again for the rest.
  std::function<Delivered(Channel&, std::span<Signal>)> signals;
  std::function<void(Channel&)> drained;                        ///< The send queue became shorter.
  std::function<void(Channel&, const quic::PathChange&)> path;  ///< Of a channel that is up.
  std::function<void(const std::shared_ptr<Channel>&, const ChannelEnd&)> ended;
  /// Commits the pin of a peer that is new here, elsewhere, and calls back on the transport thread. Empty: at once.
  std::function<void(PinReservation, std::function<void(Result<void>)>)> commit_pin;
  /// Runs work on the transport thread after a while. Empty: at once.
  std::function<void(Milliseconds, std::function<void()>)> after;
};

class Channel : public std::enable_shared_from_this<Channel> {
 public:
  /// Starts to dial `peer`. The result of everything comes through the events.
  static Result<std::shared_ptr<Channel>> dial(const ChannelSettings& settings, quic::Endpoint& endpoint,
                                               const quic::Address& address, const std::string& server_name,
                                               const Atom& peer, ChannelEvents events, Logger logger,
                                               const DatagramPathFactory& via = {});
  /// Takes over a connection whose QUIC handshake is complete.
  static std::shared_ptr<Channel> accept(const ChannelSettings& settings, std::shared_ptr<quic::Connection> connection,
                                         ChannelEvents events, Logger logger);
  ~Channel();

  [[nodiscard]] ChannelStage stage() const noexcept { return stage_; }
  [[nodiscard]] bool initiator() const noexcept { return initiator_; }
  /// The dialled name, or the name that the handshake told; empty before.
  [[nodiscard]] const Atom& peer() const noexcept { return peer_; }
  [[nodiscard]] Flags flags() const noexcept { return flags_; }                          ///< In force; valid when up.
  [[nodiscard]] std::uint32_t peer_creation() const noexcept { return peer_creation_; }  ///< Valid when up.
  [[nodiscard]] MonotonicTime last_heard() const noexcept { return connection_->last_receive_time(); }
  [[nodiscard]] MonotonicTime last_signal() const noexcept { return last_signal_; }
  [[nodiscard]] std::string address() const;
  /// As initiator: the peer may know by now who dials it.
  [[nodiscard]] bool named() const noexcept { return handshake_ != nullptr; }
  /// As initiator: when the peer's QUIC acknowledged our name.
  [[nodiscard]] std::optional<MonotonicTime> name_acked() const noexcept { return name_acked_; }
  /// Our name is out, and the peer has not said yet what it thinks of the attempt.
  [[nodiscard]] bool undecided() const noexcept { return handshake_ && handshake_->awaits_status(); }
  /// Our answer to the peer's challenge is out. A BEAM that does not like it says nothing and stays connected.
  [[nodiscard]] bool awaits_ack() const noexcept { return handshake_ && handshake_->awaits_ack(); }
  /// The key that the peer has proven is revoked.
  [[nodiscard]] bool is_revoked() const;
  [[nodiscard]] std::size_t queued_bytes() const noexcept { return connection_->queued_bytes(); }
  [[nodiscard]] quic::Connection& connection() noexcept { return *connection_; }

  void send(OutgoingMessage&& message);
  /// One of those who said `congested` has room again. Credits what was read meanwhile when it is the last one.
  void resume_reading();
  /// Streams of programs; valid when up.
  [[nodiscard]] UserStreams& streams() noexcept { return *streams_; }
  /// Gives the channel its number and makes its streams. Once, by the connection table, when the channel is up.
  void begin(std::uint64_t epoch);
  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
  /// Checks the deadlines of the stages before `up`, and of streams.
  void tick(MonotonicTime now);
  /// Ends the channel from our side; `ended` is not called.
  void close(const std::string& reason);
  /// Ends the channel because of what the peer did; `ended` is called.
  void fail(ChannelEnd::Cause cause, Error error, std::string claimed = {});

 private:
  Channel(const ChannelSettings& settings, bool initiator, Atom peer, ChannelEvents events, Logger logger);
  quic::ConnectionEvents connection_events();

  void on_established();
  void on_stream_data(StreamId id, ByteView bytes, bool fin);
  void on_stream_acked(StreamId id, std::uint64_t bytes);
  [[nodiscard]] bool dialled_by_ours() const;
  void on_stream_reset(StreamId id, std::uint64_t code);
  void on_stream_stopped(StreamId id);
  void end_streams(const Error& error);
  void on_closed(const quic::CloseReason& reason);

  void start_authentication();
  void apply(AuthEffects&& effects);
  void prepare_handshake();
  void start_handshake();
  void apply(HandshakeEffects&& effects);
  void handshake_up(const HandshakeUp& up);
  void pinned(const HandshakeUp& up, const Result<void>& result);
  void go_up(const HandshakeUp& up);
  bool open_data_streams();
  [[nodiscard]] StreamId peer_auth_stream() const noexcept { return initiator_ ? 3 : 2; }
  [[nodiscard]] bool is_data_stream(StreamId id) const noexcept;
  void hold_early(StreamId id, ByteView bytes, bool fin);
  void read_early();
  bool deliver(std::span<Signal> signals);
  void read_frames(StreamId id, ByteView bytes);
  void credit(StreamId id, std::size_t bytes);
  [[nodiscard]] static AuthNow now() { return {monotonic_now(), wall_now()}; }

  const ChannelSettings& settings_;
  const bool initiator_;
  Atom peer_;
  ChannelEvents events_;
  Logger logger_;
  std::shared_ptr<quic::Connection> connection_;
  ChannelStage stage_ = ChannelStage::connecting;
  MonotonicTime last_signal_ = monotonic_now();

  std::unique_ptr<Authentication> authentication_;
  std::unique_ptr<Handshake> handshake_;
  OwnChallenges::Drawn challenge_;  ///< Until the handshake is done.
  std::optional<NodeName> proven_;
  std::optional<PublicKey> proven_key_;
  std::vector<std::string> warnings_;  ///< Of the authentication, for when the peer is let in.
  PinReservation pin_;
  std::optional<HandshakeUp> pinning_;  ///< The handshake is complete; the peer is let in when the disk has its key.
  MonotonicTime pinning_since_{};
  Bytes withheld_;  ///< The acknowledgement that lets a peer in which dialled us.
  std::optional<StreamId> own_auth_stream_;
  std::uint64_t handshake_sent_ = 0;              ///< Bytes written to stream 0.
  std::optional<std::uint64_t> status_acked_at_;  ///< The status has arrived when these are acknowledged.
  std::optional<MonotonicTime> name_acked_;
  Flags flags_ = 0;
  std::uint32_t peer_creation_ = 0;
  std::uint32_t claimed_creation_ = 0;  ///< Of a peer that dialled and is not up yet.
  std::vector<StreamId> data_streams_;  ///< Ours, by index.

  std::unordered_map<StreamId, FrameReader> readers_;
  std::size_t buffered_bytes_ = 0;    ///< Of all readers: of frames that are not complete.
  std::vector<FramePayload> frames_;  ///< Kept for its memory.
  std::unique_ptr<MessageReader> messages_;
  struct Early {
    StreamId id = 0;
    Bytes bytes;
    bool fin = false;
  };
  std::vector<Early> early_;
  std::size_t early_bytes_ = 0;
  std::size_t holds_ = 0;  ///< How often `congested` was said, and not taken back.
  std::unordered_map<StreamId, std::size_t> uncredited_;
  std::uint64_t epoch_ = 0;
  std::shared_ptr<UserStreams> streams_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
