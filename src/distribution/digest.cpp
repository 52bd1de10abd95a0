#include "distribution/digest.hpp"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include <stdexcept>
#include <string>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

ChallengeDigest challenge_digest(std::string_view cookie, std::uint32_t challenge) {
  std::string input(cookie);
  input += std::to_string(challenge);
  ChallengeDigest digest{};
  const int code = gnutls_hash_fast(GNUTLS_DIG_MD5, input.data(), input.size(), digest.data());
  if (code != GNUTLS_E_SUCCESS) {
    throw std::runtime_error(std::string("no MD5, which the distribution handshake needs: ") + gnutls_strerror(code));
  }
  return digest;
}

bool same_digest(const ChallengeDigest& left, const ChallengeDigest& right) noexcept {
  return gnutls_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
