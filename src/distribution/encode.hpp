// From signals to frames.
//
// Messages of more than 64 KiB go out in fragments where the channel has them: no frame then is larger than the window
// of a stream, and others get their turn in between. Sources: protocol document 01, sections 6.1 to 6.4; protocol
// document 08, section 2. Thread safe: the functions share nothing.
#pragma once

#include <cstdint>

#include "distribution/control.hpp"
#include "distribution/flags.hpp"
#include "distribution/outbox.hpp"
#include "distribution/stream_choice.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Control tuple and payload in one fragment, as Erlang nodes cut.
inline constexpr std::size_t fragment_bytes = 65'536;

/// The frames of one message, on the stream of `stream_key`. `sequence` is unique among the messages of the channel.
/// The signal must have passed `check_outgoing`.
OutgoingMessage encode_message(const Signal& signal, Flags effective, const Pid& stream_key, std::uint64_t sequence);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
