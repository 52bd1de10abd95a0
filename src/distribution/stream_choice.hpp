// On which of our data streams a signal goes.
//
// Everything that one local process sends to a node takes one stream, whatever the operation and however the target is
// named: so signals keep their order, which the original's choice (by the bytes of sender and target) does not give.
// The receiver does not care. Source: protocol document 01, section 6.4; protocol document 08, section 5.2. Pure,
// thread safe.
#pragma once

#include <cstdint>

#include "distribution/control.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Data streams that each side opens: 4, 8, ..., 64 by the initiator, 1, 5, ..., 61 by the acceptor.
inline constexpr std::uint32_t data_stream_count = 16;

/// 0 to `data_stream_count` - 1. `key`: the local process on whose behalf the signal goes out.
std::uint32_t stream_index(const Pid& key) noexcept;

/// The local process on whose behalf a control message goes out: its sender; for a spawn reply the new process; for an
/// answer about a process that is absent the absent one, be it a pid or a name (which is mapped to a pid that stands
/// for it).
Pid stream_key(const Control& control);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
