// Messages of the overlay between nodes, and their terms.
//
//   to the name barrel_p2p_bridge:    {'$barrel_p2p_hyparview', FromNode, Message}
//     {join, Record}   {forward_join, Record, Ttl, OwnRecord}   {disconnect, OwnRecord}
//     {neighbor, high | low, OwnRecord}   {neighbor_reply, true | false, OwnRecord}
//     {shuffle, Ttl, [Record], OwnRecord}   {shuffle_reply, [Record], OwnRecord}
//   between C++ nodes also:
//     {hello, Version, [Capability]}   {seek, Ttl, OriginRecord, OwnRecord}
//     {exchange, InsteadRecord, OwnRecord}   {exchange_reply, true | false, [PartnerRecord], OwnRecord}
//     {refer, ToRecord, OwnRecord}   {wander, Ttl, OriginRecord, OwnRecord}   {leave, Ttl, LeaverRecord, OwnRecord}
//
//   to the name barrel_p2p_plumtree:  {'$barrel_p2p_plumtree', Message}
//     {gossip, Id, Tag, Payload, Sender}   {ihave, Id, Sender}   {graft, Id, Sender}   {prune, Sender}
//   between C++ nodes instead of the first three:
//     {gossip, Id, Tag, Payload, Sender, Round}   {ihave, [{Id, Round}], Sender, batch}
//     {graft, [Id], Sender, batch}                no id: only make the sender eager
//
//   Record: {peer, Node, Address, Port, QuicPort, Connected, Priority, LastSeen, FailCount, BackoffUntil}
//
// Erlang nodes ignore what stands under "between C++ nodes"; it is sent only to nodes that said `hello`. Who sent a
// message is what its channel proved, not what it says: where a message names its sender, another name makes it
// invalid. Source: protocol document 03, section 2; the extensions: docs/decisions/0006.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

inline constexpr std::string_view bridge_name = "barrel_p2p_bridge";
inline constexpr std::string_view plumtree_name = "barrel_p2p_plumtree";

/// What a peer may send; more is invalid.
inline constexpr std::size_t sample_max = 128;            ///< Records in a shuffle. Erlang nodes send 8.
inline constexpr std::uint32_t ttl_max = 32;              ///< Hops of a walk. Erlang nodes send at most `arwl`, 6.
inline constexpr std::size_t message_id_bytes_max = 256;  ///< Encoded. Erlang nodes send binaries of 32 bytes.
inline constexpr std::size_t ids_max = 1024;              ///< In one batched ihave or graft.
inline constexpr std::size_t capabilities_max = 64;       ///< In a hello.

// HyParView.

struct Join {};
struct ForwardJoin {
  Atom joiner;
  std::uint32_t ttl = 0;
};
struct Disconnect {};
struct Neighbor {
  bool high = false;  ///< The sender has nobody: it must be accepted.
};
struct NeighborReply {
  bool accepted = false;
};
struct Shuffle {
  std::uint32_t ttl = 0;
  std::vector<Atom> sample;
};
struct ShuffleReply {
  std::vector<Atom> sample;
};
/// The first message on every channel between C++ nodes, from both sides.
struct Hello {
  std::uint32_t version = 1;
};
/// A node that has room in its active view looks, by a random walk over C++ nodes, for another that has room.
struct Seek {
  Atom origin;
  std::uint32_t ttl = 0;
};
/// The sender would be a neighbour in exchange for `instead`, which it would let go.
struct Exchange {
  Atom instead;
};
struct ExchangeReply {
  bool accepted = false;
  std::optional<Atom> partner;  ///< Who had to go here, and is referred to the one who has to go there.
};
/// A walk over C++ nodes; where it ends, the origin is offered an exchange.
struct Wander {
  Atom origin;
  std::uint32_t ttl = 0;
};
/// We are neighbours no more; `to` has room.
struct Refer {
  Atom to;
};
/// The node left the cluster: nobody need know it any more. A `disconnect` if it is the sender; else it is hearsay.
struct Leave {
  Atom node;
  std::uint32_t ttl = 0;
};
using HyParViewMessage = std::variant<Join, ForwardJoin, Disconnect, Neighbor, NeighborReply, Shuffle, ShuffleReply,
                                      Hello, Seek, Exchange, ExchangeReply, Refer, Wander, Leave>;

// Plumtree.

/// Any term; ours are binaries of 32 random bytes.
using MessageId = Term;

struct Gossip {
  MessageId id;
  Term tag;
  Term payload;
  std::uint32_t round = 0;  ///< Hops that the message took. 0 from and to Erlang nodes, which do not count.
};
struct Announcement {
  MessageId id;
  std::uint32_t round = 0;
};
struct IHave {
  std::vector<Announcement> announcements;  ///< Exactly one towards an Erlang node.
};
struct Graft {
  std::vector<MessageId> ids;  ///< Exactly one towards an Erlang node.
};
struct Prune {};
using PlumtreeMessage = std::variant<Gossip, IHave, Graft, Prune>;

using Message = std::variant<HyParViewMessage, PlumtreeMessage>;

/// Who this node is, in its own records. Nobody dials the address; it is for people.
struct OwnRecord {
  Atom node;
  Term address = Atom("undefined");  ///< `{127,0,0,1}`, or the atom `undefined`.
  std::uint16_t port = 0;
};

/// The name that a message is addressed to.
std::string_view receiver_name(const Message& message) noexcept;
/// The whole term that is sent. `native`: the receiver said hello. Requires that the message can be sent to such a
/// node.
[[nodiscard]] Term encode_message(const Message& message, const OwnRecord& own, bool native);

/// What arrived for `barrel_p2p_bridge` from the node `from`. Errors: `type_mismatch`, `limit_exceeded`: not a message,
/// out of bounds, or in another node's name; drop it.
[[nodiscard]] Result<HyParViewMessage> decode_hyparview(const Term& term, const Atom& from);
/// What arrived for `barrel_p2p_plumtree` from the node `from`. Errors as above.
[[nodiscard]] Result<PlumtreeMessage> decode_plumtree(const Term& term, const Atom& from);

/// Tag and payload of one broadcast, encoded without the version byte. What is larger is neither delivered nor handed
/// on: every node would keep it, in the place of what others broadcast.
struct GossipLimits {
  std::size_t program = 0;  ///< `gossip.payload_bytes_max`.
  std::size_t library = 0;  ///< With a tag of the library, which broadcasts entries of replicas.
};
/// Error: `limit_exceeded`.
[[nodiscard]] Result<void> check_size(const PlumtreeMessage& message, const GossipLimits& limits);

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
