// The two ends of a channel, processes there, and frames between them.
#pragma once

#include <cstdint>
#include <memory>

#include "distribution/control.hpp"
#include "distribution/framing.hpp"

namespace barrel_p2p::test {

inline const distribution::ChannelNodes& sender() {
  static const distribution::ChannelNodes nodes{"a@h", "b@h", 4, 8};
  return nodes;
}
inline const distribution::ChannelNodes& receiver() {
  static const distribution::ChannelNodes nodes{"b@h", "a@h", 8, 4};
  return nodes;
}

/// A process of the sender, resp. of the receiver.
inline Pid ours(std::uint32_t id = 1) { return {"a@h", id, 0, 4}; }
inline Pid theirs(std::uint32_t id = 2) { return {"b@h", id, 0, 8}; }

inline distribution::FramePayload frame_of(ByteView bytes) {
  auto owner = std::make_shared<const Bytes>(bytes.begin(), bytes.end());
  return {*owner, owner};
}

}  // namespace barrel_p2p::test
