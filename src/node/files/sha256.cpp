#include "node/files/sha256.hpp"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include <stdexcept>
#include <string>

namespace barrel_p2p {
inline namespace v0 {
namespace files {
namespace {

gnutls_hash_hd_t handle(void* state) noexcept { return static_cast<gnutls_hash_hd_t>(state); }

}  // namespace

void Sha256::Close::operator()(void* state) const noexcept { gnutls_hash_deinit(handle(state), nullptr); }

Sha256::Sha256() {
  gnutls_hash_hd_t state = nullptr;
  const int code = gnutls_hash_init(&state, GNUTLS_DIG_SHA256);
  if (code != GNUTLS_E_SUCCESS) throw std::runtime_error(std::string("no SHA-256: ") + gnutls_strerror(code));
  state_.reset(state);
}

void Sha256::add(ByteView bytes) {
  const int code = gnutls_hash(handle(state_.get()), bytes.data(), bytes.size());
  if (code != GNUTLS_E_SUCCESS) throw std::runtime_error(std::string("SHA-256 failed: ") + gnutls_strerror(code));
}

Sha256Digest Sha256::digest() const {
  const std::unique_ptr<void, Close> copy(gnutls_hash_copy(handle(state_.get())));
  if (!copy) throw std::runtime_error("SHA-256 cannot be copied");
  Sha256Digest digest{};
  gnutls_hash_output(handle(copy.get()), digest.data());
  return digest;
}

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
