// The secret behind stateless resets, on disk.
//
//   FILE   32 raw bytes, mode 0600
//
// A node that was killed and started again does not know the connections of its former life. With the secret of that
// life it can say so: the tokens that it gave with its connection ids are functions of both, and a peer that is shown
// the right one lets go of the connection at once. Whoever reads the file can end the connections of the node. Source:
// RFC 9000, section 10.3; protocol document 01, section 17.1 item 20. Blocks for the disk.
#pragma once

#include <array>
#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <filesystem>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

using ResetSecret = std::array<std::uint8_t, 32>;

/// Makes a file that is absent, and its directory. Of two processes that do so at once, both get the same secret.
/// Errors: `corrupt` (not 32 bytes), `permission_denied` (others may touch the file), `io_error`. Each says what to do.
Result<ResetSecret> load_or_create_reset_secret(const std::filesystem::path& file);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
