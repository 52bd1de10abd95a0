// What became of a signal on its way out, and on its way in.
#pragma once

#include <barrel_p2p/version.hpp>
#include <cstddef>
#include <cstdint>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

enum class SendOutcome : std::uint8_t {
  accepted,
  busy,     ///< Accepted, but the sender should wait until the node is writable again.
  full,     ///< Not accepted: the upper bound of the queue is reached. A message may leave when the node is writable.
  refused,  ///< Not accepted: the node is not connected and is not being dialled (own name, back-off, dialing switched
            ///< off).
};

enum class DeliverOutcome : std::uint8_t {
  accepted,
  congested,  ///< Accepted, but read no more from this channel until told: once for each time that this is said.
};

/// Of several signals of a channel, the first ones.
struct Delivered {
  std::size_t count = 1;  ///< At least one.
  DeliverOutcome outcome = DeliverOutcome::accepted;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
