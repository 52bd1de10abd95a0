// Control messages of the Erlang distribution protocol and the signal that carries one.
//
// A signal is what one process (or node) does to another: a control message and, for some operations, a payload term.
// Source: protocol document 08, section 4; OTP "Distribution Protocol", control messages.
#pragma once

#include <array>
#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <variant>

#include "distribution/flags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// What a monitor watches, or whom an answer names: a pid or a registered name of the other node.
using PidOrName = std::variant<Pid, Atom>;

struct Link {
  Pid from;
  Pid to;
};  ///< 1
struct Unlink {
  std::uint64_t id = 0;
  Pid from;
  Pid to;
};  ///< 35
struct UnlinkAck {
  std::uint64_t id = 0;
  Pid from;
  Pid to;
};  ///< 36
struct Send {
  std::optional<Pid> from;
  Pid to;
};  ///< 22, 23 (2, 12 without sender) + message
struct SendName {
  Pid from;
  Atom name;
};  ///< 6, 16 + message
struct SendAlias {
  Pid from;  ///< The empty pid when the sender wrote something else: the protocol does not check it.
  Ref alias;
};  ///< 33, 34 + message
struct Exit {
  Pid from;
  Pid to;
};  ///< 24, 25 (3, 13): a link broke + reason
struct Exit2 {
  Pid from;
  Pid to;
};  ///< 26, 27 (8, 18): exit/2 + reason
struct Monitor {
  Pid from;
  PidOrName target;
  Ref ref;
};  ///< 19
struct Demonitor {
  Pid from;
  PidOrName target;
  Ref ref;
};  ///< 20
struct MonitorExit {
  PidOrName from;
  Pid to;
  Ref ref;
};  ///< 28 (21) + reason
struct GroupLeader {
  Pid from;
  Pid to;
};  ///< 7: `from` becomes the group leader of `to`
struct SpawnRequest {  ///< 29, 30 + argument list
  Ref request;
  Pid from;
  Pid group_leader;
  Atom module;
  Atom function;
  std::uint8_t arity = 0;
  Term options;  ///< As received: a list of `link`, `monitor`, tuples.
};
struct SpawnReply {  ///< 31, 32
  static constexpr std::uint32_t flag_link = 1;
  static constexpr std::uint32_t flag_monitor = 2;
  Ref request;
  Pid to;
  std::uint32_t flags = 0;
  PidOrName result;  ///< The new process, or an error atom.
};

using Control = std::variant<Link, Unlink, UnlinkAck, Send, SendName, SendAlias, Exit, Exit2, Monitor, Demonitor,
                             MonitorExit, GroupLeader, SpawnRequest, SpawnReply>;

/// A payload: nothing, a term, or the encoded term (without version byte) at the start of `bytes`, inside of a receive
/// buffer that `owner` keeps alive; `decode_payload` reads it. What arrives is kept encoded until the receiving process
/// looks at it, so that the transport thread does not decode user data.
struct EncodedTerm {
  ByteView bytes;
  std::shared_ptr<const void> owner;
};
using Payload = std::variant<std::monostate, Term, EncodedTerm>;

struct Signal {
  Control control;
  Payload payload;
};

/// Who speaks on a channel. The creations are those of the handshake.
struct ChannelNodes {
  Atom own;
  Atom peer;
  std::uint32_t own_creation = 0;
  std::uint32_t peer_creation = 0;
};

/// The name of an operation, for instance `SEND_SENDER`; `unknown operation` for numbers that have none.
std::string_view operation_name(std::uint32_t operation) noexcept;
/// The operation that carries `control` between nodes with these flags in force.
std::uint8_t operation_of(const Control& control, Flags effective) noexcept;
/// Whether `control` comes with a payload (a message, a reason, or an argument list).
bool needs_payload(const Control& control) noexcept;

/// Whether a signal may go to the peer. An Erlang node closes the connection, or ends, on what is refused here: pids of
/// third nodes or of an earlier incarnation where they must not be, references without words, unlink ids out of range,
/// operations whose flag is not in force, a missing payload (protocol document 08, sections 3, 4.2, 4.5 and 10). Check
/// before encoding; drop what is refused.
Result<void> check_outgoing(const Signal& signal, const ChannelNodes& nodes, Flags effective);

/// Appends the control tuple, without version byte. Returns whether the payload follows as a term of its own: the
/// reason of an exit moves into the tuple when EXIT_PAYLOAD is not in force. The signal must have passed
/// `check_outgoing`.
bool encode_control_to(const Signal& signal, Flags effective, Bytes& out);
/// Appends a payload term. Nothing (`std::monostate`) is written as `[]`.
void encode_payload_to(const Payload& payload, bool version_byte, Bytes& out);
/// Bounds on a term of a peer. It may have half as many levels as a term can have: who is told something wraps it in
/// terms of its own, and must not fail. Of atoms, which the snapshot of a map names for each of its entries, new ones
/// are bounded by the table that they are put into.
inline constexpr DecodeLimits peer_limits{.depth_max = Term::depth_max / 2, .atoms_max = 100'000'000};
/// The payload as a term; `[]` for none. What follows the term in the message is ignored, as on an Erlang node. Error:
/// what `decode_term` says, for `Network::report_malformed`.
Result<Term> decode_payload(const Payload& payload, const DecodeLimits& limits = peer_limits);
/// The same for what may be kept in part: binaries are copied, so that no part keeps the whole message.
Result<Term> decode_payload_in_parts(const Payload& payload);

struct DecodedControl {
  std::optional<Control> control;  ///< Empty when the message is legal and means nothing here; `dropped` says why.
  std::string_view dropped;
  bool payload_follows = false;
  std::optional<Term> reason;  ///< The reason in the control tuple of an old exit operation (3, 8, 13, 18, 21).
  std::uint32_t operation = 0;
  std::size_t used = 0;  ///< Bytes of the control term.
};

/// Decodes the control tuples of one channel.
///
/// As strict as an Erlang node about what it closes the connection for, as lenient where it is lenient: see protocol
/// document 08, section 4.2. Beyond that, a node speaks only for its own processes: signals of links, monitors and
/// spawns with a `from` of a third node are malformed. Creations are not checked here: who holds the processes does,
/// since the answer depends on the signal. Trace tokens are dropped.
///
/// Node names and the names that were seen lately are compared, not interned, and so is the control tuple of the last
/// message to a process: most have the same one as the message before. One thread at a time; keeps at most `names_max`
/// atoms alive, and such a tuple of at most 512 bytes.
class ControlDecoder {
 public:
  static constexpr std::size_t names_max = 64;

  explicit ControlDecoder(ChannelNodes nodes);

  [[nodiscard]] const ChannelNodes& nodes() const noexcept { return nodes_; }
  /// `bytes` starts with the control tuple (no version byte); what follows it is left alone. Error: `malformed_term`,
  /// close the channel.
  Result<DecodedControl> decode(ByteView bytes);

 private:
  friend class ControlReader;  ///< Of the implementation.
  Result<Atom> name(std::string_view utf8);

  ChannelNodes nodes_;
  std::array<Atom, names_max> names_;
  Bytes last_bytes_;  ///< Empty: of no message yet.
  DecodedControl last_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
