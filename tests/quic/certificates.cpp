#include "quic/certificates.hpp"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <ctime>
#include <stdexcept>
#include <string>
#include <utility>

namespace barrel_p2p::test {
namespace {

std::string pem_of(gnutls_x509_privkey_t key) {
  gnutls_datum_t out{};
  if (gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &out) != 0) throw std::runtime_error("no key");
  std::string text(reinterpret_cast<const char*>(out.data), out.size);
  gnutls_free(out.data);
  return text;
}

std::pair<std::string, std::string> make() {
  gnutls_x509_privkey_t key = nullptr;
  gnutls_x509_crt_t certificate = nullptr;
  gnutls_x509_privkey_init(&key);
  gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
  gnutls_x509_crt_init(&certificate);
  gnutls_x509_crt_set_version(certificate, 3);
  gnutls_x509_crt_set_serial(certificate, "\x01", 1);
  gnutls_x509_crt_set_dn(certificate, "CN=test", nullptr);
  gnutls_x509_crt_set_issuer_dn(certificate, "CN=test", nullptr);
  gnutls_x509_crt_set_activation_time(certificate, std::time(nullptr) - 300);
  gnutls_x509_crt_set_expiration_time(certificate, std::time(nullptr) + 86'400);
  gnutls_x509_crt_set_key(certificate, key);
  if (gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0) != 0)
    throw std::runtime_error("no signature");
  gnutls_datum_t out{};
  gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &out);
  std::pair<std::string, std::string> made(std::string(reinterpret_cast<const char*>(out.data), out.size), pem_of(key));
  gnutls_free(out.data);
  gnutls_x509_crt_deinit(certificate);
  gnutls_x509_privkey_deinit(key);
  return made;
}

}  // namespace

std::shared_ptr<const quic::Credentials> credentials() {
  static const auto made = [] {
    const auto [certificate, key] = make();
    return quic::Credentials::from_pem(certificate, key).value();
  }();
  return made;
}

std::shared_ptr<const quic::Credentials> stolen_credentials() {
  return quic::Credentials::from_pem_unchecked(make().first, make().second).value();
}

}  // namespace barrel_p2p::test
