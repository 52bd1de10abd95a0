// What becomes of two nodes that dial each other at once, and what comes after an attempt that ended. Functions of what
// is known, without state.
//
// One of the two connections must stay, and an Erlang node must see no failure. It blocks its `net_kernel` from the
// moment that it reads the name of a greater node that it dials itself, until its own attempt ends; it never gives its
// callers more than what became of that attempt. So:
//
//   we have not told our name        -> the peer's attempt is answered, ours is dropped: the peer never hears of it
//   we told it, the peer is greater  -> the same: the peer refuses our attempt by the same rule
//   we told it, we are greater       -> the peer's attempt is held without an answer until the peer has surely read our
//                                       name, and closed then. Closed earlier, its end would come to the peer before
//                                       our attempt, and the peer's callers would be told that they cannot reach us.
//
// Source: protocol document 01, sections 5.3 and 5.5.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <optional>

#include "base/clock.hpp"
#include "distribution/channel.hpp"
#include "distribution/handshake.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// How far our own attempt to reach a peer is.
enum class OwnAttempt : std::uint8_t {
  none,
  nameless,  ///< The peer does not know yet who dials.
  named,     ///< Our name is out.
};

/// The answer to `peer`, which told us its name. `up`: there is a channel to it.
HandshakeAnswer answer_to_name(bool up, OwnAttempt own, const Atom& own_name, const Atom& peer);

/// How much longer an attempt is held; 0: it is to be closed now. `name_acked`: when the peer's QUIC acknowledged our
/// name; while it has not, the answer is when to ask again.
Milliseconds hold_left(std::optional<MonotonicTime> name_acked, MonotonicTime now);

/// What to do after an attempt of ours that ended before it was up.
enum class AfterAttempt : std::uint8_t {
  give_up,
  await_peer,        ///< The peer's own attempt is under way and decides.
  dial_again_soon,   ///< Something was lost.
  dial_again_later,  ///< The peer prefers its own attempt, which has not arrived.
};
/// `answered`: an attempt of the peer is under way that we have answered. `overdue`: the time for the dial is over.
AfterAttempt after_attempt(const ChannelEnd& end, bool answered, bool overdue);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
