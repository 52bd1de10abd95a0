// The long-term key of a node and its certificate, on disk.
//
//   KEYDIR/node.key, node.pub     Ed25519 seed and public key, 32 raw bytes each (the form of the Erlang library)
//   CERTDIR/node.crt, node.key    TLS certificate and key, PEM
//
// Source: protocol document 02, sections 2, 3 and 15.
#pragma once

#include <barrel_p2p/error.hpp>
#include <filesystem>
#include <string>

#include "base/clock.hpp"
#include "distribution/auth/ed25519.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Loads the key pair, or makes one when neither file exists. A missing node.pub is derived again. Errors: `corrupt` (the files do not
/// belong together, or only node.pub exists: an identity is never replaced silently), `permission_denied` (others may read the key),
/// `io_error`.
Result<PrivateKey> load_or_create_identity(const std::filesystem::path& key_dir);

struct Certificate {
  std::string certificate_pem;
  std::string key_pem;
  bool renewed = false;  ///< Made now, since there was none or it was about to expire.
};

/// Loads the certificate, or makes a self-signed one: when there is none, and when it expires within a month and is one that we made.
/// Errors: `corrupt` (certificate and key do not belong together), `permission_denied`, `io_error`.
Result<Certificate> load_or_create_certificate(const std::filesystem::path& certificate_dir, WallMilliseconds now);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
