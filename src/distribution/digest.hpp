// The proof of the cookie in the distribution handshake: MD5 of the cookie and a challenge.
//
// MD5 is what the protocol prescribes; the identity of a peer rests on the authentication before it, not on this.
// Source: protocol document 01, section 5.1. Thread safe.
#pragma once

#include <array>
#include <barrel_p2p/bytes.hpp>
#include <cstdint>
#include <string_view>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

using ChallengeDigest = std::array<std::uint8_t, 16>;

/// MD5 of the bytes of the cookie and of the challenge in decimal. Throws std::runtime_error when the crypto library
/// has no MD5 (a machine in FIPS mode).
ChallengeDigest challenge_digest(std::string_view cookie, std::uint32_t challenge);

/// Compares in a time that does not depend on where the two differ.
bool same_digest(const ChallengeDigest& left, const ChallengeDigest& right) noexcept;

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
