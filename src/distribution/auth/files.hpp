// Small files that hold keys. Thread safe. Blocks for the disk.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/version.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Makes the directory and its missing parents with mode 0700. Errors: `permission_denied` when everybody may write to
/// it; `io_error` when something else has the name; `not_found` for a link that leads nowhere.
Result<void> make_private_directory(const std::filesystem::path& directory);

/// Replaces the file in one step: a new file beside it with a name nobody can guess, mode 0600 from the start, fsync of
/// file and directory, rename. A crash leaves the old file or the new one.
Result<void> write_private_file(const std::filesystem::path& file, ByteView content);
/// The same, but leaves a file that exists alone and returns false.
Result<bool> create_private_file(const std::filesystem::path& file, ByteView content);

/// Who may touch a file that we are about to believe.
enum class FileCare : std::uint8_t {
  any,
  trusted,  ///< Not everybody may write it.
  secret,   ///< Only its owner may read or write it.
};
/// Errors: `not_found`; `permission_denied` when more people may touch it than `care` allows; `limit_exceeded` above
/// `bytes_max`; `io_error`.
Result<Bytes> read_small_file(const std::filesystem::path& file, std::size_t bytes_max, FileCare care);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
