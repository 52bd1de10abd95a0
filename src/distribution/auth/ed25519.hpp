// Ed25519 (RFC 8032), strict: small-order and non-canonical public keys are refused, and so are such R values and S >= L.
#pragma once

#include <array>
#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <string>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

using Seed = std::array<std::uint8_t, 32>;
using PublicKey = std::array<std::uint8_t, 32>;
using Signature = std::array<std::uint8_t, 64>;
using Digest = std::array<std::uint8_t, 32>;

/// A private key. Its memory is wiped when it goes, and kept out of swap where the system allows.
class PrivateKey {
 public:
  static PrivateKey generate();
  explicit PrivateKey(const Seed& seed);
  PrivateKey(const PrivateKey& other);
  PrivateKey& operator=(const PrivateKey&) = delete;
  ~PrivateKey();

  [[nodiscard]] const Seed& seed() const noexcept { return seed_; }
  [[nodiscard]] const PublicKey& public_key() const noexcept { return public_; }
  [[nodiscard]] Signature sign(ByteView message) const;

 private:
  Seed seed_;
  PublicKey public_{};
};

/// A point of full order in canonical form; every honest key is.
bool is_acceptable(const PublicKey& key) noexcept;
bool verify(const PublicKey& key, ByteView message, const Signature& signature);
Digest sha256(ByteView bytes);
std::string to_hex(ByteView bytes);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
