#include "quic/credentials.hpp"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

gnutls_datum_t datum(std::string_view text) {
  // GnuTLS takes what it only reads as not const.
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())),
          static_cast<unsigned>(text.size())};  // NOLINT
}

std::unexpected<Error> bad(const char* what, int code) {
  return fail(Errc::corrupt, std::string(what) + ": " + gnutls_strerror(code));
}

}  // namespace

Credentials::~Credentials() {
  if (native_ != nullptr) gnutls_certificate_free_credentials(static_cast<gnutls_certificate_credentials_t>(native_));
}

Result<std::shared_ptr<const Credentials>> Credentials::from_pem(std::string_view certificate, std::string_view key) {
  return load(certificate, key, true);
}
Result<std::shared_ptr<const Credentials>> Credentials::from_pem_unchecked(std::string_view certificate,
                                                                           std::string_view key) {
  return load(certificate, key, false);
}

Result<std::shared_ptr<const Credentials>> Credentials::load(std::string_view certificate, std::string_view key,
                                                             bool must_match) {
  std::shared_ptr<Credentials> made(new Credentials);
  gnutls_certificate_credentials_t native = nullptr;
  if (const int code = gnutls_certificate_allocate_credentials(&native); code != 0) return bad("no credentials", code);
  made->native_ = native;
  if (!must_match) gnutls_certificate_set_flags(native, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
  const auto certificate_datum = datum(certificate);
  const auto key_datum = datum(key);
  if (const int code = gnutls_certificate_set_x509_key_mem(native, &certificate_datum, &key_datum, GNUTLS_X509_FMT_PEM);
      code < 0) {
    return bad("the certificate and its key cannot be used", code);
  }
  gnutls_datum_t leaf{};
  if (const int code = gnutls_certificate_get_crt_raw(native, 0, 0, &leaf); code != 0)
    return bad("no certificate", code);
  made->leaf_.assign(leaf.data, leaf.data + leaf.size);
  return std::shared_ptr<const Credentials>(std::move(made));
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
