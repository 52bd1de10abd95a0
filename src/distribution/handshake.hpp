// The distribution handshake (protocol version 6) as a machine without I/O, for both sides.
//
//   initiator                                          acceptor
//   N flags creation name               ---->                        name_received: the connection table decides
//                                       <----          s "ok" | "ok_simultaneous" | "alive" | "not_allowed"
//   s "true" | "false"                  ---->                        only after "alive"
//                                       <----          N flags challenge creation name
//   r challenge digest                  ---->
//                                       <----          a digest
//
// Over QUIC a message has no length prefix: each one must go out in a packet of its own, and an Erlang initiator takes
// what one receive brings as one message. So the challenge follows the status only when the caller says `status_acked`:
// after the peer's QUIC acknowledged the status, or at once where the peer is one of ours; and we send nothing else on
// the stream for a round trip after `a`. What we receive is read as a byte stream, whatever its pieces. Over TCP
// (tests) each message has a length prefix of two bytes.
//
// The peer must prove the cookie, with a challenge that is none of ours, have the mandatory flags, and bear the name
// that its identity proved and that was dialled. `nok` is never sent: an Erlang initiator would wait for ever. Sources:
// protocol document 01, section 5; protocol document 08, section 3. One thread at a time.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "distribution/digest.hpp"
#include "distribution/flags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Erlang nodes of this cluster have this creation after every start (protocol document 01, 5.4). C++ nodes have
/// greater ones.
inline constexpr std::uint32_t erlang_creation = 4;

enum class HandshakeRole : std::uint8_t { initiator, acceptor };
enum class HandshakeFraming : std::uint8_t {
  none,      ///< QUIC: messages follow each other, one packet each.
  prefixed,  ///< TCP: length(2) message.
};

struct HandshakeConfig {
  HandshakeRole role = HandshakeRole::initiator;
  HandshakeFraming framing = HandshakeFraming::none;
  Atom own_name;
  std::optional<Atom> dialled;  ///< Initiator: the name that was dialled. Required.
  std::optional<Atom> proven;   ///< The name that the authentication proved, when there was one.
  Flags flags = offered_flags;
  Flags mandatory = mandatory_27;  ///< What the peer must have.
  std::uint32_t creation = 0;      ///< Ours; at least 4.
  std::string cookie;              ///< Ours, and the one that the peer must prove, in Latin-1.
  std::uint32_t challenge = 0;     ///< From the random device, fresh for each handshake.
  /// Whether a challenge is one of ours, of this handshake or of another one that is not done. Who puts it to us would
  /// have us prove the cookie for it. Empty: nobody looks.
  std::function<bool(std::uint32_t challenge)> is_own;
  Milliseconds timeout{7000};  ///< For the whole handshake, as `net_setuptime` of Erlang nodes.
};

/// What the connection table says to a peer that told its name (acceptor).
enum class HandshakeAnswer : std::uint8_t {
  ok,               ///< Nothing known of this name.
  ok_simultaneous,  ///< Our own attempt was given up in favour of this one.
  alive,            ///< There is a channel; the peer says whether it still wants a new one.
  hold,             ///< Says nothing yet: another answer follows, or the connection is closed.
  not_allowed,      ///< Says so and ends.
  close,            ///< Ends without a word: our own attempt wins.
};

enum class HandshakeFailure : std::uint8_t {
  wrong_cookie,
  flags_missing,     ///< The peer lacks mandatory flags.
  name_not_proven,   ///< The peer's name is not the one that it authenticated as.
  name_not_dialled,  ///< The peer's name is not the one that was dialled.
  own_name,          ///< The peer bears our own name.
  reflected,         ///< The peer's challenge is one of ours: it wants our answer to pass it off as its own.
  malformed,
  not_allowed,   ///< Initiator: the peer refused us. Acceptor: the table refused the peer.
  keep_waiting,  ///< Initiator: `nok`, the peer prefers its own attempt, which will arrive. Acceptor:
                 ///< `HandshakeAnswer::close`.
  given_up,      ///< The channel that exists is kept: the answer to `alive` was `false`.
  timeout,
};
/// The stable lower-case name, for instance `wrong_cookie`.
std::string_view name(HandshakeFailure failure) noexcept;

/// Send these bytes in one packet, and nothing else in it.
struct HandshakeSend {
  Bytes bytes;
  bool status = false;  ///< Acceptor: `status_acked` is awaited.
};
/// Acceptor: call `answer`.
struct HandshakeNameReceived {
  Atom name;
  Flags flags = 0;
  std::uint32_t creation = 0;
};
/// Initiator: the peer has a channel to us. Call `answer_alive`.
struct HandshakeAlive {};
/// The channel is up.
struct HandshakeUp {
  Atom peer;
  Flags peer_flags = 0;
  Flags flags = 0;  ///< In force.
  std::uint32_t peer_creation = 0;
};
/// Close the connection. Comes once, as the last effect; what is to be sent before it comes before it.
struct HandshakeFailed {
  HandshakeFailure failure = HandshakeFailure::malformed;
  std::string detail;
};
using HandshakeEffect =
    std::variant<HandshakeSend, HandshakeNameReceived, HandshakeAlive, HandshakeUp, HandshakeFailed>;
using HandshakeEffects = std::vector<HandshakeEffect>;

class Handshake {
 public:
  explicit Handshake(HandshakeConfig config);

  /// Starts the clock; the initiator sends its name.
  HandshakeEffects start(MonotonicTime now);
  /// Bytes of the peer, in any pieces (whole or partial).
  HandshakeEffects receive(ByteView bytes, MonotonicTime now);
  /// Acceptor, after HandshakeNameReceived, and again after `hold`. Ignored at other times.
  HandshakeEffects answer(HandshakeAnswer answer, MonotonicTime now);
  /// Acceptor: the status has arrived. Ignored at other times. Over TCP call it at once.
  HandshakeEffects status_acked(MonotonicTime now);
  /// Initiator, after HandshakeAlive: whether the attempt is still wanted.
  HandshakeEffects answer_alive(bool wanted, MonotonicTime now);
  /// Checks the deadline.
  HandshakeEffects tick(MonotonicTime now);

  /// When `tick` must be called at the latest; nothing when the handshake has ended.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const noexcept;
  /// Initiator: the peer has not said yet what it thinks of the attempt. If it closes now, it may prefer its own one.
  [[nodiscard]] bool awaits_status() const noexcept { return state_ == State::waiting_for_status; }
  /// As initiator: our answer to the challenge is out.
  [[nodiscard]] bool awaits_ack() const noexcept { return state_ == State::waiting_for_ack; }
  [[nodiscard]] bool finished() const noexcept { return state_ == State::up || state_ == State::failed; }

 private:
  enum class State : std::uint8_t {
    idle,
    // Initiator.
    waiting_for_status,
    waiting_for_table_alive,
    waiting_for_challenge,
    waiting_for_ack,
    // Acceptor.
    waiting_for_name,
    waiting_for_table,
    waiting_for_status_ack,
    waiting_for_alive_reply,
    waiting_for_reply,
    // Both.
    up,
    failed,
  };

  bool overdue(MonotonicTime now, HandshakeEffects& effects);
  void send(Bytes message, HandshakeEffects& effects, bool status = false) const;
  void fail(HandshakeFailure failure, std::string detail, HandshakeEffects& effects);
  /// Takes one message off the buffer and acts on it. False: more bytes are needed.
  bool step(HandshakeEffects& effects);
  std::optional<Bytes> take_packet(HandshakeEffects& effects);
  bool take_status(HandshakeEffects& effects);
  void read_packet(ByteView packet, HandshakeEffects& effects);
  void on_name(ByteView message, HandshakeEffects& effects);
  void on_status(std::string_view status, HandshakeEffects& effects);
  void on_challenge(ByteView message, HandshakeEffects& effects);
  void on_reply(ByteView message, HandshakeEffects& effects);
  void on_ack(ByteView message, HandshakeEffects& effects);
  bool check_peer(const Atom& peer, HandshakeEffects& effects);
  bool check_challenge(std::uint32_t challenge, HandshakeEffects& effects);
  void send_challenge(HandshakeEffects& effects);
  void finish(HandshakeEffects& effects);

  HandshakeConfig config_;
  State state_ = State::idle;
  MonotonicTime deadline_{};
  Bytes buffer_;
  bool may_be_simultaneous_ = false;  ///< "ok" was read; "_simultaneous" may still follow.
  Atom peer_;
  Flags peer_flags_ = 0;
  std::uint32_t peer_creation_ = 0;
  std::uint32_t peer_challenge_ = 0;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
