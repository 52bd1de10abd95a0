// The certificate that a node shows, with its private key.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <memory>
#include <string_view>

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

/// Immutable; shared by all connections that show it. Thread safe.
class Credentials {
 public:
  /// PEM text of one certificate (a chain is accepted, its first one counts) and of its private key. Error: `corrupt`
  /// when they cannot be read or do not belong together.
  static Result<std::shared_ptr<const Credentials>> from_pem(std::string_view certificate, std::string_view key);
  /// For tests of a peer that lies: the key need not belong to the certificate.
  static Result<std::shared_ptr<const Credentials>> from_pem_unchecked(std::string_view certificate,
                                                                       std::string_view key);
  ~Credentials();
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;

  /// The leaf certificate, as it goes over the wire.
  [[nodiscard]] const Bytes& leaf_der() const noexcept { return leaf_; }
  /// gnutls_certificate_credentials_t.
  [[nodiscard]] void* native() const noexcept { return native_; }

 private:
  Credentials() = default;
  static Result<std::shared_ptr<const Credentials>> load(std::string_view certificate, std::string_view key,
                                                         bool must_match);
  void* native_ = nullptr;
  Bytes leaf_;
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
