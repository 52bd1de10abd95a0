// SHA-256 of bytes that come one after the other (FIPS 180-4).
#pragma once

#include <array>
#include <barrel_p2p/bytes.hpp>
#include <cstdint>
#include <memory>

namespace barrel_p2p {
inline namespace v0 {
namespace files {

using Sha256Digest = std::array<std::uint8_t, 32>;

/// Not thread safe. The constructor throws std::runtime_error when the crypto library has no SHA-256.
class Sha256 {
 public:
  Sha256();
  void add(ByteView bytes);
  /// Of all bytes so far; more may follow.
  [[nodiscard]] Sha256Digest digest() const;

 private:
  struct Close {
    void operator()(void* state) const noexcept;
  };
  std::unique_ptr<void, Close> state_;
};

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
