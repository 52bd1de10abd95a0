// Control messages of the Erlang distribution protocol and the signal that carries one.
//
// A signal is what one process (or node) does to another: a control message and, for some operations, a payload term.
// Source: protocol document 08, section 4; OTP "Distribution Protocol", control messages.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

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
  Pid from;
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
};                     ///< 7: `from` becomes the group leader of `to`
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

/// A payload: nothing, a term, or the encoded term (without version byte) inside of a receive buffer that `owner` keeps
/// alive. What arrives is kept encoded until the receiving process looks at it, so that the transport thread does not
/// decode user data.
struct EncodedTerm {
  ByteView bytes;
  std::shared_ptr<const void> owner;
};
using Payload = std::variant<std::monostate, Term, EncodedTerm>;

struct Signal {
  Control control;
  Payload payload;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
