// The TLS certificate of a node, on disk.
//
//   CERTDIR/node.crt   PEM; the first certificate counts
//   CERTDIR/node.key   PEM: EC, RSA or PKCS#8, not encrypted, mode 0600
//
//   CERTDIR/backups/   what rotations replaced
//
// Peers check no chain, no name and no dates: they hash the certificate into the authentication exchange. Of our own
// pairs the key comes first: a certificate that does not fit its key is made anew, so a crash between the two files
// leaves a pair that works. Source: protocol document 02, sections 3, 10 and 15 (A15). Blocks for the disk.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <filesystem>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "distribution/auth/ed25519.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

struct Certificate {
  std::string certificate_pem;
  std::string key_pem;
  Bytes leaf_der;    ///< As it goes over the wire.
  Digest binding{};  ///< SHA-256 of `leaf_der`: what both signatures of the exchange cover.
  WallMilliseconds expires =
      0;                 ///< In the past: an operator's certificate that ran out. Peers do not mind; warn about it.
  bool renewed = false;  ///< Made now.
  std::optional<Error> not_renewed;  ///< It was to be made anew and the disk refused: this is the one of before.
  WallMilliseconds begins = 0;
  std::string subject;  ///< `O=Barrel P2P,CN=barrel_p2p-node`
  bool own = false;     ///< Made by a node, so that nodes may replace it.
};

/// Loads the certificate, or makes a self-signed one for a P-256 key, valid for 365 days, as Erlang nodes do. One that
/// we (or an Erlang node) made is made anew when it ends within 30 days, or does not fit its key: for the same key, so
/// that only one file changes and a crash leaves a pair that works. Where the disk refuses the new one, the old one is
/// given back as long as it fits: peers check no dates. One of an operator is never touched. Errors:
/// `corrupt` (certificate and key do not belong together, or cannot be read), `permission_denied` (others may read the
/// key), `io_error`.
Result<Certificate> load_or_create_certificate(const std::filesystem::path& certificate_dir, WallMilliseconds now);

/// Loads a certificate and its key from these files, and never writes. Errors: `not_found`, `corrupt`,
/// `permission_denied`, `limit_exceeded` (above 1 MiB), `io_error`.
Result<Certificate> load_certificate(const std::filesystem::path& certificate_file,
                                     const std::filesystem::path& key_file);

struct CertificateRotation {
  Certificate certificate;                      ///< The new one.
  std::optional<std::filesystem::path> backup;  ///< The directory with the earlier pair.
};
/// Makes a new key and a new certificate in place of a pair that a node made, and keeps that one in backups. A crash at
/// any moment leaves a pair that works, that of before or one for the new key, at the latest after
/// `load_or_create_certificate`. Errors: `not_found` (there is no pair), `permission_denied` (the pair is an
/// operator's), `corrupt`, `io_error`.
Result<CertificateRotation> rotate_certificate(const std::filesystem::path& certificate_dir, WallMilliseconds now);

/// Whether the certificate says that a C++ node made it. A hint for the timing of what follows, and no proof of
/// anything.
bool made_by_cpp_node(ByteView leaf_der);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
