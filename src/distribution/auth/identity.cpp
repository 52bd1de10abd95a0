#include "distribution/auth/identity.hpp"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <algorithm>
#include <array>

#include "base/random.hpp"
#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

namespace fs = std::filesystem;

Result<void> write_identity(const fs::path& key_dir, const PrivateKey& key) {
  if (auto written = write_private_file(key_dir / "node.key", key.seed()); !written) return written;
  return write_private_file(key_dir / "node.pub", key.public_key());
}

std::string text_of(const gnutls_datum_t& datum) { return {reinterpret_cast<const char*>(datum.data), datum.size}; }

gnutls_datum_t datum(const std::string& text) {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())), static_cast<unsigned>(text.size())};  // NOLINT: only read
}

/// The certificate that Erlang nodes make for themselves: protocol document 02, section 3.
Result<Certificate> make_certificate(WallMilliseconds now) {
  gnutls_x509_privkey_t key = nullptr;
  gnutls_x509_crt_t certificate = nullptr;
  gnutls_x509_privkey_init(&key);
  gnutls_x509_crt_init(&certificate);
  std::array<std::uint8_t, 16> serial{};
  fill_random(serial);
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7FU) | 0x01U);
  const auto seconds = static_cast<time_t>(now / 1000);
  constexpr time_t back_dated = 300;
  constexpr time_t year = 365L * 86'400;
  const char* name = "barrel_p2p-node";
  const char* organization = "Barrel P2P";
  int code = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
  const auto then = [&](int next) { code = code < 0 ? code : next; };
  then(gnutls_x509_crt_set_version(certificate, 3));
  then(gnutls_x509_crt_set_serial(certificate, serial.data(), serial.size()));
  for (const auto* const oid : {GNUTLS_OID_X520_COMMON_NAME, GNUTLS_OID_X520_ORGANIZATION_NAME}) {
    const char* value = std::string_view(oid) == GNUTLS_OID_X520_COMMON_NAME ? name : organization;
    const auto size = static_cast<unsigned>(std::string_view(value).size());
    then(gnutls_x509_crt_set_dn_by_oid(certificate, oid, 0, value, size));
    then(gnutls_x509_crt_set_issuer_dn_by_oid(certificate, oid, 0, value, size));
  }
  then(gnutls_x509_crt_set_activation_time(certificate, seconds - back_dated));
  then(gnutls_x509_crt_set_expiration_time(certificate, seconds + year));
  then(gnutls_x509_crt_set_basic_constraints(certificate, 0, -1));
  then(gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_DIGITAL_SIGNATURE));
  then(gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_SERVER, 0));
  then(gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_CLIENT, 0));
  then(gnutls_x509_crt_set_key(certificate, key));
  then(gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0));
  gnutls_datum_t certificate_text{};
  gnutls_datum_t key_text{};
  then(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &certificate_text));
  then(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_text));
  Certificate made{text_of(certificate_text), text_of(key_text), true};
  gnutls_free(certificate_text.data);
  gnutls_free(key_text.data);
  gnutls_x509_crt_deinit(certificate);
  gnutls_x509_privkey_deinit(key);
  if (code < 0) return fail(Errc::system_error, std::string("cannot make a certificate: ") + gnutls_strerror(code));
  return made;
}

struct Inspection {
  bool readable = false;
  bool ours = false;  ///< One that we made, or an Erlang node.
  time_t expires = 0;
};

Inspection inspect(const std::string& pem) {
  Inspection result;
  gnutls_x509_crt_t certificate = nullptr;
  gnutls_x509_crt_init(&certificate);
  const auto data = datum(pem);
  if (gnutls_x509_crt_import(certificate, &data, GNUTLS_X509_FMT_PEM) == 0) {
    result.readable = true;
    result.expires = gnutls_x509_crt_get_expiration_time(certificate);
    std::array<char, 256> organization{};
    std::size_t size = organization.size();
    if (gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, 0, organization.data(), &size) == 0) {
      result.ours = std::string_view(organization.data(), size) == "Barrel P2P";
    }
  }
  gnutls_x509_crt_deinit(certificate);
  return result;
}

Result<Certificate> write_certificate(const fs::path& directory, WallMilliseconds now) {
  auto made = make_certificate(now);
  if (!made) return made;
  // The key first: a crash in between leaves a certificate without its key, which the next start notices and replaces.
  if (auto written = write_private_file(directory / "node.key", as_bytes(made->key_pem)); !written) return std::unexpected(written.error());
  if (auto written = write_private_file(directory / "node.crt", as_bytes(made->certificate_pem)); !written) return std::unexpected(written.error());
  return made;
}

/// Whether the public keys of the two agree.
bool belong_together(const std::string& certificate_pem, const std::string& key_pem) {
  gnutls_certificate_credentials_t credentials = nullptr;
  if (gnutls_certificate_allocate_credentials(&credentials) != 0) return false;
  const auto certificate = datum(certificate_pem);
  const auto key = datum(key_pem);
  const int code = gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
  gnutls_certificate_free_credentials(credentials);
  return code >= 0;
}

}  // namespace

Result<PrivateKey> load_or_create_identity(const fs::path& key_dir) {
  if (auto made = make_private_directory(key_dir); !made) return std::unexpected(made.error());
  const fs::path key_file = key_dir / "node.key";
  const fs::path public_file = key_dir / "node.pub";
  const auto seed = read_small_file(key_file, sizeof(Seed) + 1, true);
  const auto stored = read_small_file(public_file, sizeof(PublicKey) + 1, false);
  if (!seed && seed.error() != Errc::not_found) return std::unexpected(seed.error());
  if (!stored && stored.error() != Errc::not_found) return std::unexpected(stored.error());
  if (!seed) {
    if (stored) {
      return fail(Errc::corrupt, public_file.string() + " exists without node.key: restore the key from a backup, or remove node.pub to begin as a new node");
    }
    PrivateKey key = PrivateKey::generate();
    if (auto written = write_identity(key_dir, key); !written) return std::unexpected(written.error());
    return key;
  }
  Seed raw{};
  if (seed->size() != raw.size()) return fail(Errc::corrupt, key_file.string() + " must have exactly 32 bytes; restore it from a backup");
  std::copy(seed->begin(), seed->end(), raw.begin());
  PrivateKey key(raw);
  gnutls_memset(raw.data(), 0, raw.size());
  if (!stored) {
    if (auto written = write_private_file(public_file, key.public_key()); !written) return std::unexpected(written.error());
  } else if (!std::ranges::equal(*stored, key.public_key())) {
    return fail(Errc::corrupt, "node.key and node.pub in " + key_dir.string() + " do not belong together (keypair_mismatch): restore both from one backup, or remove node.pub if node.key is right");
  }
  return key;
}

Result<Certificate> load_or_create_certificate(const fs::path& directory, WallMilliseconds now) {
  if (auto made = make_private_directory(directory); !made) return std::unexpected(made.error());
  constexpr std::size_t pem_bytes_max = 1024 * 1024;
  const auto certificate = read_small_file(directory / "node.crt", pem_bytes_max, false);
  const auto key = read_small_file(directory / "node.key", pem_bytes_max, true);
  if (!certificate && certificate.error() != Errc::not_found) return std::unexpected(certificate.error());
  if (!key && key.error() != Errc::not_found) return std::unexpected(key.error());
  if (!certificate || !key) return write_certificate(directory, now);
  Certificate loaded{std::string(as_text(*certificate)), std::string(as_text(*key)), false};
  const auto inspected = inspect(loaded.certificate_pem);
  constexpr time_t month = 30L * 86'400;  // long enough that every node restarts once in it
  if (!inspected.readable || !belong_together(loaded.certificate_pem, loaded.key_pem)) {
    if (inspected.ours) return write_certificate(directory, now);
    return fail(Errc::corrupt, "node.crt and node.key in " + directory.string() + " cannot be used together: restore them, or remove both to have new ones made");
  }
  if (inspected.ours && inspected.expires < now / 1000 + month) return write_certificate(directory, now);
  return loaded;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
