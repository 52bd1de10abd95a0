// The long-term key of a node, on disk.
//
//   KEYDIR/node.key   Ed25519 seed, 32 raw bytes, mode 0600
//   KEYDIR/node.pub   public key, 32 raw bytes; for people and for provisioning, we derive it from the seed
//   KEYDIR/next.key   the seed that the next rotation takes, so that peers can be told before; may be absent
//   KEYDIR/backups/   what rotations replaced
//
// The form is that of the Erlang library, which has no next.key. An identity is never replaced silently: peers have
// pinned it. A rotation is the renaming of next.key to node.key, with node.pub removed before and written after it: at
// each moment the files that are there belong together, and a missing node.pub is written again. Source: protocol
// document 02, sections 2.1, 10 and 15 (A13, A14, A16). Blocks for the disk.
#pragma once

#include <barrel_p2p/error.hpp>
#include <filesystem>
#include <optional>

#include "base/clock.hpp"
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

/// The identity that the next rotation brings; made if need be. Errors: those of `load_identity`.
Result<PrivateKey> prepare_identity(const std::filesystem::path& key_dir);

struct IdentityRotation {
  PrivateKey key;                               ///< The new one.
  std::optional<std::filesystem::path> backup;  ///< The directory with the files of the earlier one.
};
/// Replaces the identity by the prepared one, or by a new one, and keeps the earlier one in backups. A crash at any
/// moment leaves the earlier or the new one. Errors: those of `load_identity`: what is damaged must be mended first.
Result<IdentityRotation> rotate_identity(const std::filesystem::path& key_dir, WallMilliseconds now);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
