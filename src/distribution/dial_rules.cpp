#include "distribution/dial_rules.hpp"

#include <algorithm>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

/// From the acknowledgement of our name by the peer's QUIC to the moment at which an Erlang node's `net_kernel` knows
/// of it: a millisecond when the machine is idle. That `net_kernel` is blocked meanwhile, so it may not be long.
constexpr Milliseconds hold_pause{100};

}  // namespace

HandshakeAnswer answer_to_name(bool up, OwnAttempt own, const Atom& own_name, const Atom& peer) {
  if (up) return HandshakeAnswer::alive;
  switch (own) {
    case OwnAttempt::none: return HandshakeAnswer::ok;
    case OwnAttempt::nameless: return HandshakeAnswer::ok_simultaneous;
    case OwnAttempt::named: return own_name > peer ? HandshakeAnswer::hold : HandshakeAnswer::ok_simultaneous;
  }
  return HandshakeAnswer::close;
}

Milliseconds hold_left(std::optional<MonotonicTime> name_acked, MonotonicTime now) {
  if (!name_acked) return hold_pause;
  const auto left = std::chrono::ceil<Milliseconds>(*name_acked + hold_pause - now);
  return std::clamp(left, Milliseconds(0), hold_pause);
}

AfterAttempt after_attempt(const ChannelEnd& end, bool answered, bool overdue) {
  if (overdue) return AfterAttempt::give_up;
  if (answered) return AfterAttempt::await_peer;
  switch (end.cause) {
    case ChannelEnd::Cause::authentication:
    case ChannelEnd::Cause::handshake:
    case ChannelEnd::Cause::protocol: return AfterAttempt::give_up;
    case ChannelEnd::Cause::keep_waiting: return AfterAttempt::dial_again_later;
    case ChannelEnd::Cause::peer_closed:
      return end.undecided ? AfterAttempt::dial_again_later : AfterAttempt::dial_again_soon;
    case ChannelEnd::Cause::local:
    case ChannelEnd::Cause::lost: return AfterAttempt::dial_again_soon;
  }
  return AfterAttempt::give_up;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
