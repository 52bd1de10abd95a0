#include "distribution/auth/ed25519.hpp"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sys/mman.h>

#include <algorithm>
#include <stdexcept>

#include "base/random.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

gnutls_datum_t datum(ByteView bytes) {
  return {const_cast<unsigned char*>(bytes.data()), static_cast<unsigned>(bytes.size())};  // NOLINT: GnuTLS only reads
}

/// Encodings of the points whose order divides 8, canonical and not, with the sign bit cleared.
constexpr std::array<std::array<std::uint8_t, 32>, 7> small_order{{
    {0},
    {1},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
}};

/// y < 2^255 - 19.
bool is_canonical(std::array<std::uint8_t, 32> point) noexcept {
  point[31] &= 0x7F;
  if (point[31] != 0x7F || !std::all_of(point.begin() + 1, point.end() - 1, [](auto byte) { return byte == 0xFF; })) return true;
  return point[0] < 0xED;
}

bool is_good_point(std::array<std::uint8_t, 32> point) noexcept {
  if (!is_canonical(point)) return false;
  point[31] &= 0x7F;
  return std::ranges::find(small_order, point) == small_order.end();
}

/// S < L, the order of the group.
bool is_canonical_scalar(std::span<const std::uint8_t, 32> scalar) noexcept {
  constexpr std::array<std::uint8_t, 32> order{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                               0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                               0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
  for (std::size_t at = scalar.size(); at-- > 0;) {
    if (scalar[at] != order[at]) return scalar[at] < order[at];
  }
  return false;
}

class Native {
 public:
  explicit Native(const Seed& seed, const PublicKey& key) {
    gnutls_privkey_init(&key_);
    const auto k = datum(seed);
    const auto x = datum(key);
    code_ = gnutls_privkey_import_ecc_raw(key_, GNUTLS_ECC_CURVE_ED25519, &x, nullptr, &k);
  }
  ~Native() { gnutls_privkey_deinit(key_); }
  Native(const Native&) = delete;
  Native& operator=(const Native&) = delete;
  gnutls_privkey_t key_ = nullptr;
  int code_ = 0;
};

PublicKey derive(const Seed& seed) {
  // RFC 5958 form of the private key alone: GnuTLS computes the public half.
  Bytes der{0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
  der.insert(der.end(), seed.begin(), seed.end());
  gnutls_x509_privkey_t key = nullptr;
  gnutls_x509_privkey_init(&key);
  const auto data = datum(der);
  gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
  gnutls_datum_t x{};
  PublicKey made{};
  int code = gnutls_x509_privkey_import_pkcs8(key, &data, GNUTLS_X509_FMT_DER, nullptr, GNUTLS_PKCS_PLAIN);
  if (code == 0) code = gnutls_x509_privkey_export_ecc_raw(key, &curve, &x, nullptr, nullptr);
  if (code == 0 && x.size == made.size()) std::copy_n(x.data, made.size(), made.begin());
  gnutls_free(x.data);
  gnutls_x509_privkey_deinit(key);
  gnutls_memset(der.data(), 0, der.size());
  if (code != 0) throw std::runtime_error(std::string("Ed25519 is not available: ") + gnutls_strerror(code));
  return made;
}

}  // namespace

PrivateKey PrivateKey::generate() {
  Seed seed{};
  fill_random(seed);
  PrivateKey key(seed);
  gnutls_memset(seed.data(), 0, seed.size());
  return key;
}

PrivateKey::PrivateKey(const Seed& seed) : seed_(seed), public_(derive(seed)) { mlock(seed_.data(), seed_.size()); }
PrivateKey::PrivateKey(const PrivateKey& other) : seed_(other.seed_), public_(other.public_) { mlock(seed_.data(), seed_.size()); }
PrivateKey::~PrivateKey() { gnutls_memset(seed_.data(), 0, seed_.size()); }

Signature PrivateKey::sign(ByteView message) const {
  const Native native(seed_, public_);
  const auto data = datum(message);
  gnutls_datum_t out{};
  int code = native.code_;
  if (code == 0) code = gnutls_privkey_sign_data2(native.key_, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &out);
  Signature signature{};
  if (code == 0 && out.size == signature.size()) std::copy_n(out.data, signature.size(), signature.begin());
  gnutls_free(out.data);
  if (code != 0) throw std::runtime_error(std::string("Ed25519 cannot sign: ") + gnutls_strerror(code));
  return signature;
}

bool is_acceptable(const PublicKey& key) noexcept { return is_good_point(key); }

bool verify(const PublicKey& key, ByteView message, const Signature& signature) {
  std::array<std::uint8_t, 32> r{};
  std::copy_n(signature.begin(), r.size(), r.begin());
  if (!is_good_point(key) || !is_good_point(r)) return false;
  if (!is_canonical_scalar(std::span<const std::uint8_t, 32>(signature.data() + 32, 32))) return false;
  gnutls_pubkey_t native = nullptr;
  gnutls_pubkey_init(&native);
  const auto x = datum(key);
  const auto data = datum(message);
  const auto sig = datum(signature);
  int code = gnutls_pubkey_import_ecc_raw(native, GNUTLS_ECC_CURVE_ED25519, &x, nullptr);
  if (code == 0) code = gnutls_pubkey_verify_data2(native, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &sig);
  gnutls_pubkey_deinit(native);
  return code >= 0;
}

Digest sha256(ByteView bytes) {
  Digest digest{};
  if (gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes.data(), bytes.size(), digest.data()) != 0) throw std::runtime_error("SHA-256 is not available");
  return digest;
}

std::string to_hex(ByteView bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes) {
    text.push_back(digits[byte >> 4U]);
    text.push_back(digits[byte & 15U]);
  }
  return text;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
