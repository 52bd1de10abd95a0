// Ed25519 (RFC 8032), strict: small-order and non-canonical public keys are refused, and so are such R values and S >=
// L. Stricter than OpenSSL, and so than Erlang nodes, for which the key `01 00..00` proves every text. Thread safe.
#pragma once

#include <array>
#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

using Seed = std::array<std::uint8_t, 32>;
using PublicKey = std::array<std::uint8_t, 32>;
using Signature = std::array<std::uint8_t, 64>;
using Digest = std::array<std::uint8_t, 32>;

/// A private key. Copies share one seed, which lies in a page of its own: kept out of swap and of core dumps where the
/// system allows, wiped when the last copy goes. Throws std::runtime_error when the crypto library does not work at
/// all.
class PrivateKey {
 public:
  static PrivateKey generate();
  explicit PrivateKey(const Seed& seed);

  [[nodiscard]] const Seed& seed() const noexcept { return *seed_; }
  [[nodiscard]] const PublicKey& public_key() const noexcept { return public_; }
  [[nodiscard]] Signature sign(ByteView message) const;

 private:
  std::shared_ptr<const Seed> seed_;
  PublicKey public_{};
};

/// Overwrites memory in a way that the compiler does not remove.
void wipe(std::span<std::uint8_t> secret) noexcept;
/// A canonical encoding that is not of a point of small order; every honest key is.
bool is_acceptable(const PublicKey& key) noexcept;
bool verify(const PublicKey& key, ByteView message, const Signature& signature);
Digest sha256(ByteView bytes);
/// What people compare: SHA-256 of the raw public key.
inline Digest fingerprint(const PublicKey& key) { return sha256(key); }
/// Lower case.
std::string to_hex(ByteView bytes);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
