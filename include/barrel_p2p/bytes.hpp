// Bytes: owned and borrowed.
#pragma once

#include <barrel_p2p/version.hpp>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

inline ByteView as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace v0
}  // namespace barrel_p2p
