#include "distribution/auth/certificate.hpp"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/random.hpp"
#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t pem_bytes_max = 1024 * 1024;          // a long chain has some 10 KiB
constexpr std::time_t renew_before_seconds = 30L * 86'400;  // long enough that a node restarts once within it
constexpr std::time_t back_dated_seconds = 300;             // as Erlang nodes: peers whose clocks are behind
constexpr std::time_t valid_seconds = 365L * 86'400;        // as Erlang nodes
constexpr std::string_view common_name = "barrel_p2p-node";
constexpr std::string_view unit = "barrel_p2p-c++";  ///< Erlang nodes have none.
constexpr std::string_view organization = "Barrel P2P";

struct CertificateDeleter {
  void operator()(gnutls_x509_crt_t certificate) const noexcept { gnutls_x509_crt_deinit(certificate); }
};
struct KeyDeleter {
  void operator()(gnutls_x509_privkey_t key) const noexcept { gnutls_x509_privkey_deinit(key); }
};
using NativeCertificate = std::unique_ptr<std::remove_pointer_t<gnutls_x509_crt_t>, CertificateDeleter>;
using NativeKey = std::unique_ptr<std::remove_pointer_t<gnutls_x509_privkey_t>, KeyDeleter>;

/// Bytes that GnuTLS allocated; wiped, since some are keys.
class Exported {
 public:
  Exported() = default;
  ~Exported() {
    if (datum_.data != nullptr) gnutls_memset(datum_.data, 0, datum_.size);
    gnutls_free(datum_.data);
  }
  Exported(const Exported&) = delete;
  Exported& operator=(const Exported&) = delete;
  [[nodiscard]] gnutls_datum_t* out() noexcept { return &datum_; }
  [[nodiscard]] ByteView bytes() const noexcept { return {datum_.data, datum_.size}; }
  [[nodiscard]] std::string text() const { return std::string(as_text(bytes())); }

 private:
  gnutls_datum_t datum_{};
};

/// Keeps the first error of a row of calls.
class Calls {
 public:
  void operator()(int code) noexcept {
    if (code_ >= 0 && code < 0) code_ = code;
  }
  [[nodiscard]] bool ok() const noexcept { return code_ >= 0; }
  [[nodiscard]] std::unexpected<Error> error(const std::string& what) const {
    return fail(Errc::system_error, what + ": " + gnutls_strerror(code_));
  }

 private:
  int code_ = 0;
};

NativeCertificate new_certificate() {
  gnutls_x509_crt_t raw = nullptr;
  if (gnutls_x509_crt_init(&raw) < 0) throw std::bad_alloc();
  return NativeCertificate(raw);
}

NativeKey new_key() {
  gnutls_x509_privkey_t raw = nullptr;
  if (gnutls_x509_privkey_init(&raw) < 0) throw std::bad_alloc();
  return NativeKey(raw);
}

gnutls_datum_t datum(std::string_view text) {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())),
          static_cast<unsigned>(text.size())};  // GnuTLS only reads
}

NativeKey read_key(std::string_view pem) {
  auto key = new_key();
  const auto data = datum(pem);
  return gnutls_x509_privkey_import2(key.get(), &data, GNUTLS_X509_FMT_PEM, nullptr, 0) < 0 ? nullptr : std::move(key);
}

NativeCertificate read_certificate(std::string_view pem) {
  auto certificate = new_certificate();
  const auto data = datum(pem);
  return gnutls_x509_crt_import(certificate.get(), &data, GNUTLS_X509_FMT_PEM) < 0 ? nullptr : std::move(certificate);
}

bool belong_together(gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key) {
  Digest of_certificate{};
  Digest of_key{};
  std::size_t size = of_certificate.size();
  if (gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, of_certificate.data(), &size) < 0) return false;
  size = of_key.size();
  if (gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key.data(), &size) < 0) return false;
  return of_certificate == of_key;
}

/// One that we made, or an Erlang node.
bool is_ours(gnutls_x509_crt_t certificate) {
  std::array<char, 256> value{};
  std::size_t size = value.size();
  return gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, 0, value.data(), &size) ==
             0 &&
         std::string_view(value.data(), size) == organization;
}

std::string subject_of(gnutls_x509_crt_t certificate) {
  std::array<char, 1024> text{};
  std::size_t size = text.size();
  return gnutls_x509_crt_get_dn(certificate, text.data(), &size) < 0 ? "?" : std::string(text.data(), size);
}

/// Left to itself GnuTLS takes PrintableString where that is enough; Erlang nodes have UTF8String.
void set_name(gnutls_x509_crt_t certificate, const char* oid, std::string_view value, Calls& then) {
  std::string der{0x0c, static_cast<char>(value.size())};
  der += value;
  const auto size = static_cast<unsigned>(der.size());
  then(gnutls_x509_crt_set_dn_by_oid(certificate, oid, 1, der.data(), size));
  then(gnutls_x509_crt_set_issuer_dn_by_oid(certificate, oid, 1, der.data(), size));
}

/// The certificate that Erlang nodes make for themselves, but for the unit.
Result<std::string> self_signed(gnutls_x509_privkey_t key, WallMilliseconds now) {
  const auto certificate = new_certificate();
  auto* const raw = certificate.get();
  std::array<std::uint8_t, 16> serial{};
  fill_random(serial);
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7FU) | 0x40U);  // positive, and of full length
  const auto seconds = static_cast<std::time_t>(now / 1000);
  Calls then;
  then(gnutls_x509_crt_set_version(raw, 3));
  then(gnutls_x509_crt_set_serial(raw, serial.data(), serial.size()));
  set_name(raw, GNUTLS_OID_X520_COMMON_NAME, common_name, then);
  set_name(raw, GNUTLS_OID_X520_ORGANIZATION_NAME, organization, then);
  set_name(raw, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, unit, then);
  then(gnutls_x509_crt_set_activation_time(raw, seconds - back_dated_seconds));
  then(gnutls_x509_crt_set_expiration_time(raw, seconds + valid_seconds));
  then(gnutls_x509_crt_set_basic_constraints(raw, 0, -1));
  then(gnutls_x509_crt_set_key_usage(raw, GNUTLS_KEY_DIGITAL_SIGNATURE));
  then(gnutls_x509_crt_set_key_purpose_oid(raw, GNUTLS_KP_TLS_WWW_SERVER, 0));
  then(gnutls_x509_crt_set_key_purpose_oid(raw, GNUTLS_KP_TLS_WWW_CLIENT, 0));
  then(gnutls_x509_crt_set_key(raw, key));
  then(gnutls_x509_crt_sign2(raw, raw, key, GNUTLS_DIG_SHA256, 0));
  Exported pem;
  then(gnutls_x509_crt_export2(raw, GNUTLS_X509_FMT_PEM, pem.out()));
  if (!then.ok()) return then.error("cannot make a certificate");
  return pem.text();
}

Result<std::string> new_key_pem() {
  const auto key = new_key();
  Calls then;
  then(gnutls_x509_privkey_generate(key.get(), GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
  Exported pem;
  then(gnutls_x509_privkey_export2(key.get(), GNUTLS_X509_FMT_PEM, pem.out()));
  if (!then.ok()) return then.error("cannot make a key");
  return pem.text();
}

Result<Certificate> describe(std::string certificate_pem, std::string key_pem, bool renewed) {
  const auto certificate = read_certificate(certificate_pem);
  Exported der;
  if (!certificate || gnutls_x509_crt_export2(certificate.get(), GNUTLS_X509_FMT_DER, der.out()) < 0) {
    return fail(Errc::corrupt, "the certificate cannot be read");
  }
  Certificate made;
  made.certificate_pem = std::move(certificate_pem);
  made.key_pem = std::move(key_pem);
  made.leaf_der.assign(der.bytes().begin(), der.bytes().end());
  made.renewed = renewed;
  made.own = is_ours(certificate.get());
  made.subject = subject_of(certificate.get());
  made.begins = static_cast<WallMilliseconds>(gnutls_x509_crt_get_activation_time(certificate.get())) * 1000;
  made.binding = sha256(made.leaf_der);
  made.expires = static_cast<WallMilliseconds>(gnutls_x509_crt_get_expiration_time(certificate.get())) * 1000;
  return made;
}

Result<std::optional<std::string>> read_if_there(const fs::path& file, FileCare care) {
  const auto content = read_small_file(file, pem_bytes_max, care);
  if (content) return std::string(as_text(*content));
  if (content.error() == Errc::not_found) return std::nullopt;
  return std::unexpected(content.error());
}

/// The two files of a directory; absent ones are empty.
struct Pair {
  std::optional<std::string> certificate_pem;
  std::optional<std::string> key_pem;
};

Result<Pair> read_pair(const fs::path& directory) {
  auto certificate_pem = read_if_there(directory / "node.crt", FileCare::trusted);
  if (!certificate_pem) return std::unexpected(certificate_pem.error());
  auto key_pem = read_if_there(directory / "node.key", FileCare::secret);
  if (!key_pem) return std::unexpected(key_pem.error());
  return Pair{std::move(*certificate_pem), std::move(*key_pem)};
}

std::unexpected<Error> unusable(const fs::path& directory) {
  return fail(Errc::corrupt, "node.crt and node.key in " + directory.string() +
                                 " cannot be used together: restore them, or remove both to have new ones made");
}

/// Makes a certificate for the key and writes it.
Result<Certificate> renew(const fs::path& directory, std::string key_pem, WallMilliseconds now) {
  const auto key = read_key(key_pem);
  if (!key) return unusable(directory);
  auto made = self_signed(key.get(), now);
  if (!made) return std::unexpected(made.error());
  if (auto written = write_private_file(directory / "node.crt", as_bytes(*made)); !written)
    return std::unexpected(written.error());
  return describe(std::move(*made), std::move(key_pem), true);
}

/// What a pair is good for.
struct Usable {
  std::optional<Certificate> certificate;  ///< Of files that fit. Nothing: they cannot be used as they are.
  bool stays = false;                      ///< Nothing is to be written.
};

Result<Usable> usable(const fs::path& directory, const Pair& pair, WallMilliseconds now) {
  const auto certificate = pair.certificate_pem ? read_certificate(*pair.certificate_pem) : nullptr;
  const bool replaceable = !pair.certificate_pem || (certificate && is_ours(certificate.get()));
  const auto key = pair.key_pem ? read_key(*pair.key_pem) : nullptr;
  if (pair.key_pem && !key) return unusable(directory);
  const bool fits = certificate && key && belong_together(certificate.get(), key.get());
  if (!fits && !replaceable) return unusable(directory);
  const bool fresh =
      fits && gnutls_x509_crt_get_expiration_time(certificate.get()) >= now / 1000 + renew_before_seconds;
  if (!fits) return Usable{};
  auto described = describe(*pair.certificate_pem, *pair.key_pem, false);
  if (!described) return std::unexpected(described.error());
  return Usable{std::move(*described), fresh || !replaceable};
}

/// A certificate that cannot be made anew goes on.
Result<Certificate> or_as_it_is(const Error& error, Usable& found) {
  if (!found.certificate) return std::unexpected(error);
  found.certificate->not_renewed = error;
  return std::move(*found.certificate);
}

}  // namespace

Result<Certificate> load_or_create_certificate(const fs::path& directory, WallMilliseconds now) {
  if (auto made = make_private_directory(directory); !made) return std::unexpected(made.error());
  // One look at the pair without the lock: usually nothing is to be written.
  auto pair = read_pair(directory);
  if (!pair) return std::unexpected(pair.error());
  auto found = usable(directory, *pair, now);
  if (found && found->stays) return std::move(*found->certificate);
  const auto lock = DirectoryLock::take(directory);
  if (!lock) return found ? or_as_it_is(lock.error(), *found) : std::unexpected(lock.error());
  remove_leftovers(*lock, directory);
  pair = read_pair(directory);
  if (!pair) return std::unexpected(pair.error());
  found = usable(directory, *pair, now);
  if (!found) return std::unexpected(found.error());
  if (found->stays) return std::move(*found->certificate);
  if (!pair->key_pem) {
    auto generated = new_key_pem();
    if (!generated) return std::unexpected(generated.error());
    if (auto made = write_private_file(directory / "node.key", as_bytes(*generated)); !made)
      return std::unexpected(made.error());
    pair->key_pem = std::move(*generated);
  }
  auto renewed = renew(directory, std::move(*pair->key_pem), now);
  return renewed ? std::move(renewed) : or_as_it_is(renewed.error(), *found);
}

Result<CertificateRotation> rotate_certificate(const fs::path& directory, WallMilliseconds now) {
  const auto lock = DirectoryLock::take(directory);
  if (!lock) return std::unexpected(lock.error());
  remove_leftovers(*lock, directory);
  const auto pair = read_pair(directory);
  if (!pair) return std::unexpected(pair.error());
  if (!pair->certificate_pem && !pair->key_pem) {
    return fail(Errc::not_found, "there is no certificate in " + directory.string());
  }
  const auto certificate = pair->certificate_pem ? read_certificate(*pair->certificate_pem) : nullptr;
  if (pair->certificate_pem && !(certificate && is_ours(certificate.get()))) {
    return fail(Errc::permission_denied,
                (directory / "node.crt").string() +
                    " was not made by a node: put a new certificate and its key in the place of "
                    "the old ones yourself; a node that runs takes them");
  }
  auto backup = back_up(directory, {"node.crt", "node.key"}, now);
  if (!backup) return std::unexpected(backup.error());
  auto key = new_key_pem();
  if (!key) return std::unexpected(key.error());
  if (auto written = write_private_file(directory / "node.key", as_bytes(*key)); !written)
    return std::unexpected(written.error());
  auto renewed = renew(directory, std::move(*key), now);
  if (!renewed) return std::unexpected(renewed.error());
  return CertificateRotation{std::move(*renewed), std::move(*backup)};
}

Result<Certificate> load_certificate(const fs::path& certificate_file, const fs::path& key_file) {
  const auto certificate_pem = read_small_file(certificate_file, pem_bytes_max, FileCare::trusted);
  if (!certificate_pem) return std::unexpected(certificate_pem.error());
  const auto key_pem = read_small_file(key_file, pem_bytes_max, FileCare::secret);
  if (!key_pem) return std::unexpected(key_pem.error());
  const auto certificate = read_certificate(as_text(*certificate_pem));
  if (!certificate) return fail(Errc::corrupt, certificate_file.string() + " is no certificate in PEM form");
  const auto key = read_key(as_text(*key_pem));
  if (!key) return fail(Errc::corrupt, key_file.string() + " is no private key in PEM form, or is encrypted");
  if (!belong_together(certificate.get(), key.get())) {
    return fail(Errc::corrupt, key_file.string() + " is not the key of " + certificate_file.string());
  }
  return describe(std::string(as_text(*certificate_pem)), std::string(as_text(*key_pem)), false);
}

bool made_by_cpp_node(ByteView leaf_der) { return !std::ranges::search(leaf_der, unit).empty(); }

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
