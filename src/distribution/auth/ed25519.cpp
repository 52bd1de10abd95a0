#include "distribution/auth/ed25519.hpp"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <new>
#include <stdexcept>
#include <string_view>
#include <type_traits>

#include "base/random.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

gnutls_datum_t datum(ByteView bytes) {
  return {const_cast<unsigned char*>(bytes.data()), static_cast<unsigned>(bytes.size())};  // GnuTLS only reads
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
  if (point[31] != 0x7F || !std::all_of(point.begin() + 1, point.end() - 1, [](auto byte) { return byte == 0xFF; }))
    return true;
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

struct PrivkeyDeleter {
  void operator()(gnutls_privkey_t key) const noexcept { gnutls_privkey_deinit(key); }
};
struct X509PrivkeyDeleter {
  void operator()(gnutls_x509_privkey_t key) const noexcept { gnutls_x509_privkey_deinit(key); }
};
struct PubkeyDeleter {
  void operator()(gnutls_pubkey_t key) const noexcept { gnutls_pubkey_deinit(key); }
};
using Privkey = std::unique_ptr<std::remove_pointer_t<gnutls_privkey_t>, PrivkeyDeleter>;
using X509Privkey = std::unique_ptr<std::remove_pointer_t<gnutls_x509_privkey_t>, X509PrivkeyDeleter>;
using Pubkey = std::unique_ptr<std::remove_pointer_t<gnutls_pubkey_t>, PubkeyDeleter>;

void require(int code, const char* what) {
  if (code < 0) throw std::runtime_error(std::string(what) + ": " + gnutls_strerror(code));
}

/// A seed in a page of its own.
std::shared_ptr<const Seed> guarded(const Seed& seed) {
  const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* page = ::mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw std::bad_alloc();
  // Both are best effort: RLIMIT_MEMLOCK may be 0, and the key works without.
  static_cast<void>(::mlock(page, page_bytes));
  static_cast<void>(::madvise(page, page_bytes, MADV_DONTDUMP));
  const auto release = [page_bytes](Seed* kept) {
    wipe(*kept);
    ::munmap(kept, page_bytes);
  };
  return {new (page) Seed(seed), release};
}

PublicKey derive(const Seed& seed) {
  // The private key alone in the form of RFC 5958: GnuTLS computes the public half, which its import of raw keys
  // demands.
  constexpr std::array<std::uint8_t, 16> head{0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                              0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
  std::array<std::uint8_t, head.size() + std::tuple_size_v<Seed>> der{};
  std::ranges::copy(seed, std::ranges::copy(head, der.begin()).out);
  gnutls_x509_privkey_t raw = nullptr;
  require(gnutls_x509_privkey_init(&raw), "cannot make a key");
  const X509Privkey key(raw);
  const auto data = datum(der);
  const int imported = gnutls_x509_privkey_import_pkcs8(raw, &data, GNUTLS_X509_FMT_DER, nullptr, GNUTLS_PKCS_PLAIN);
  wipe(der);
  require(imported, "Ed25519 is not available");
  gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
  gnutls_datum_t x{};
  require(gnutls_x509_privkey_export_ecc_raw(raw, &curve, &x, nullptr, nullptr), "cannot derive a public key");
  PublicKey made{};
  if (x.size == made.size()) std::copy_n(x.data, made.size(), made.begin());
  gnutls_free(x.data);
  return made;
}

}  // namespace

void wipe(std::span<std::uint8_t> secret) noexcept { gnutls_memset(secret.data(), 0, secret.size()); }

PrivateKey PrivateKey::generate() {
  Seed seed{};
  fill_random(seed);
  PrivateKey key(seed);
  wipe(seed);
  return key;
}

PrivateKey::PrivateKey(const Seed& seed) : seed_(guarded(seed)), public_(derive(seed)) {}

Signature PrivateKey::sign(ByteView message) const {
  gnutls_privkey_t raw = nullptr;
  require(gnutls_privkey_init(&raw), "cannot make a key");
  const Privkey key(raw);
  const auto k = datum(*seed_);
  const auto x = datum(public_);
  require(gnutls_privkey_import_ecc_raw(raw, GNUTLS_ECC_CURVE_ED25519, &x, nullptr, &k), "Ed25519 is not available");
  const auto data = datum(message);
  gnutls_datum_t out{};
  require(gnutls_privkey_sign_data2(raw, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &out), "Ed25519 cannot sign");
  Signature signature{};
  const bool fits = out.size == signature.size();
  if (fits) std::copy_n(out.data, signature.size(), signature.begin());
  gnutls_free(out.data);
  if (!fits) throw std::runtime_error("Ed25519 made a signature of a wrong size");
  return signature;
}

bool is_acceptable(const PublicKey& key) noexcept { return is_good_point(key); }

bool verify(const PublicKey& key, ByteView message, const Signature& signature) {
  std::array<std::uint8_t, 32> r{};
  std::copy_n(signature.begin(), r.size(), r.begin());
  if (!is_good_point(key) || !is_good_point(r)) return false;
  if (!is_canonical_scalar(std::span<const std::uint8_t, 32>(signature.data() + 32, 32))) return false;
  gnutls_pubkey_t raw = nullptr;
  require(gnutls_pubkey_init(&raw), "cannot make a key");
  const Pubkey native(raw);
  const auto x = datum(key);
  if (gnutls_pubkey_import_ecc_raw(raw, GNUTLS_ECC_CURVE_ED25519, &x, nullptr) < 0) return false;
  const auto data = datum(message);
  const auto sig = datum(signature);
  return gnutls_pubkey_verify_data2(raw, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &sig) >= 0;
}

Digest sha256(ByteView bytes) {
  Digest digest{};
  if (gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes.data(), bytes.size(), digest.data()) != 0)
    throw std::runtime_error("SHA-256 is not available");
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
