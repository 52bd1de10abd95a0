// Bytes of the fuzzer as choices and pieces. When there are none left, numbers are 0 and pieces are empty, so that
// every input means something.
#pragma once

#include <algorithm>
#include <barrel_p2p/bytes.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace barrel_p2p::fuzz {

/// What must hold whatever the input is.
inline void require(bool holds) {
  if (!holds) std::abort();
}

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) noexcept : left_(data, size) {}

  [[nodiscard]] bool empty() const noexcept { return left_.empty(); }
  std::uint8_t byte() noexcept {
    const auto one = take(1);
    return one.empty() ? std::uint8_t{0} : one.front();
  }
  std::uint16_t word() noexcept {
    const auto high = byte();
    return static_cast<std::uint16_t>(high << 8U | byte());
  }
  /// As many of these as are left.
  ByteView take(std::size_t count) noexcept {
    const auto taken = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  /// length(2, big endian) bytes
  ByteView piece() noexcept {
    const std::size_t length = word();
    return take(length);
  }
  std::string text() { return std::string(as_text(piece())); }
  ByteView rest() noexcept { return take(left_.size()); }

 private:
  ByteView left_;
};

}  // namespace barrel_p2p::fuzz
