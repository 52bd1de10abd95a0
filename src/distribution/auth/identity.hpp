// The long-term key of a node, on disk.
//
//   KEYDIR/node.key   Ed25519 seed, 32 raw bytes, mode 0600
//   KEYDIR/node.pub   public key, 32 raw bytes; for people and for provisioning, we derive it from the seed
//
// The form is that of the Erlang library. An identity is never replaced silently: peers have pinned it. Source:
// protocol document 02, sections 2.1 and 15 (A13, A14, A16). Blocks for the disk.
#pragma once

#include <barrel_p2p/error.hpp>
#include <filesystem>

#include "distribution/auth/ed25519.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Loads the key pair; writes a missing node.pub again. Errors: `not_found` (there is no identity yet), `corrupt` (the
/// files do not belong together, or only node.pub exists), `permission_denied` (others may read the key), `io_error`.
/// Each says what to do.
Result<PrivateKey> load_identity(const std::filesystem::path& key_dir);

/// The same, and makes an identity when neither file exists. Of two processes that do so at once, both get the same
/// one.
Result<PrivateKey> load_or_create_identity(const std::filesystem::path& key_dir);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
