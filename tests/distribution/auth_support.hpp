// Two sides of an authentication exchange without a network.
#pragma once

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "distribution/auth/authentication.hpp"
#include "support/scratch.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::test {

/// Throws (and so fails the test) when the size differs.
template <class Array>
Array array_of(ByteView bytes) {
  Array array{};
  if (bytes.size() != array.size()) throw std::runtime_error("wrong size");
  std::ranges::copy(bytes, array.begin());
  return array;
}
template <class Array>
Array array_of_hex(std::string_view hex) {
  return array_of<Array>(from_hex(hex));
}

/// The key whose seed is 32 times this byte.
distribution::PrivateKey key_of(std::uint8_t byte);
/// Of `key_of(1)` and so on.
inline const distribution::PublicKey key_1 = key_of(1).public_key();
inline const distribution::PublicKey key_2 = key_of(2).public_key();
inline const distribution::PublicKey key_3 = key_of(3).public_key();
/// 32 times this byte.
distribution::Nonce nonce_of(std::uint8_t byte);
/// The hash of the certificate that everybody here believes to see.
distribution::Digest binding_of(std::uint8_t byte = 0xCC);

/// When tests happen: any time will do.
inline constexpr WallMilliseconds test_wall = 1'790'000'000'000;
distribution::AuthNow test_now(Milliseconds after = Milliseconds(0));

inline Result<distribution::PinReservation> reserve(distribution::TrustStore& store, const NodeName& name,
                                                    const distribution::PublicKey& key,
                                                    Milliseconds after = Milliseconds(0)) {
  return store.reserve(name, key, test_now(after).monotonic, test_now(after).wall);
}

/// One side: what a node has, and the exchange that it runs.
struct AuthSide {
  AuthSide(distribution::AuthRole its_role, NodeName name, std::uint8_t key_byte, TrustMode mode = TrustMode::tofu);
  /// Makes the exchange, with a new nonce each time, and starts it.
  distribution::AuthEffects start(distribution::AuthNow now = test_now());

  distribution::AuthRole role;
  distribution::AuthSettings settings;
  distribution::PrivateKey key;
  std::shared_ptr<distribution::TrustStore> trust;
  std::optional<NodeName> dialled;  ///< Of an initiator.
  distribution::Digest binding = binding_of();
  distribution::Nonce nonce;
  std::unique_ptr<distribution::Authentication> exchange;
};
/// Who dials `peer`.
AuthSide initiator(NodeName name, std::uint8_t key_byte, NodeName peer, TrustMode mode = TrustMode::tofu);
AuthSide responder(NodeName name, std::uint8_t key_byte, TrustMode mode = TrustMode::tofu);

/// What effects amount to.
struct AuthTotal {
  Bytes sent;
  std::vector<distribution::AuthMessage> messages;  ///< The same, decoded.
  bool finished_stream = false;
  std::optional<distribution::AuthSucceeded> succeeded;
  std::optional<distribution::AuthFailed> failed;
  std::size_t outcomes = 0;

  /// Throws when something follows an outcome or the end of the stream, or what is sent is not decodable.
  void add(distribution::AuthEffects&& effects);
  /// `key_mismatch`, ..., `success`, or `nothing`.
  [[nodiscard]] std::string outcome() const;
  /// The kinds of the messages, for instance "HELLO CHALLENGE FAIL(key_mismatch)".
  [[nodiscard]] std::string story() const;
};
/// "HELLO", "FAIL(reason)", ...
std::string kind_of(const distribution::AuthMessage& message);

/// Runs a whole exchange with the given sides.
struct AuthResult {
  AuthTotal initiator;
  AuthTotal responder;
};
AuthResult run_exchange(AuthSide& from, AuthSide& to, distribution::AuthNow now = test_now());

void write_file(const std::filesystem::path& file, ByteView content, unsigned mode = 0600);
Bytes read_file(const std::filesystem::path& file);
unsigned mode_of(const std::filesystem::path& file);

}  // namespace barrel_p2p::test
