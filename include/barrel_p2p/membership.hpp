// Who is in the cluster, as far as this node knows: events and figures of the overlay. The functions are those of
// `Node`; docs/membership.md explains the whole.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/term.hpp>
#include <barrel_p2p/version.hpp>
#include <cstddef>
#include <cstdint>
#include <string>

namespace barrel_p2p {
inline namespace v0 {

/// What happened to the active view. For each node `up` and `down` come in turns, `up` first. A value.
struct MembershipEvent {
  enum class Kind : std::uint8_t {
    dialing,         ///< We try to reach the node.
    up,              ///< It is a neighbour now.
    down,            ///< It is none any more: see `reason`.
    connect_failed,  ///< It could not be reached, or refused us: see `error`.
    left,            ///< This node left the cluster; the downs of all neighbours came before.
  };
  Kind kind = Kind::up;
  NodeName node;       ///< Of `left`: this node.
  std::string reason;  ///< Of `down`: `nodedown` (its channel ended), `graceful` (it left us), `dropped` (we needed its
                       ///< place), `blocked`, `left` (we left).
  Error error{Errc::no_connection};  ///< Of `connect_failed`.
};

/// What the overlay did since the start, and what it has now. A value.
struct OverlayStatistics {
  std::size_t active = 0;   ///< Nodes in the active view.
  std::size_t passive = 0;  ///< Nodes in the passive view.
  std::size_t eager = 0;    ///< Neighbours that get whole messages.
  std::size_t lazy = 0;     ///< Neighbours that get announcements.

  std::uint64_t joins = 0;       ///< Received.
  std::uint64_t evictions = 0;   ///< Neighbours that we dropped for others.
  std::uint64_t promotions = 0;  ///< Nodes of the passive view that became neighbours.
  std::uint64_t refusals = 0;    ///< Nodes that did not want us as a neighbour.
  std::uint64_t timeouts = 0;    ///< Dials and questions without an answer.
  std::uint64_t shuffles = 0;    ///< Sent.
  std::uint64_t exchanges = 0;   ///< Links given up for others, to mix the cluster.
  std::uint64_t departures = 0;  ///< Nodes that left the cluster, as they or others said.

  std::uint64_t gossip_sent = 0;
  std::uint64_t gossip_received = 0;  ///< With duplicates.
  std::uint64_t duplicates = 0;
  std::uint64_t delivered = 0;  ///< Broadcasts, own ones included.
  std::uint64_t announcements_sent = 0;
  std::uint64_t grafts_sent = 0;
  std::uint64_t prunes_sent = 0;
  std::uint64_t missed = 0;                 ///< Announced messages that nobody gave us.
  std::uint64_t congested = 0;              ///< Messages that were announced instead of sent, for the peer is slow.
  std::uint64_t announcements_dropped = 0;  ///< Received or to be sent, and above a bound.
  std::uint64_t optimised = 0;              ///< Changes of the tree for a shorter path.
  std::uint64_t cached_messages = 0;
  std::uint64_t held_back = 0;  ///< Times that a peer was not read for a while: it sent too much at once, or too fast.

  std::uint64_t malformed = 0;     ///< Messages of peers that were ignored for their shape.
  std::uint64_t sends_failed = 0;  ///< Messages that found a full queue, or a channel that had gone.
};

}  // namespace v0
}  // namespace barrel_p2p
