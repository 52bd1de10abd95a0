// Small files that hold secrets.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <filesystem>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Makes the directory (and its parents) with mode 0700 unless it exists.
Result<void> make_private_directory(const std::filesystem::path& directory);
/// Replaces the file in one step: a new file beside it with a name nobody can guess, mode 0600 from the start, fsync of file and
/// directory, rename. A crash leaves the old file or the new one.
Result<void> write_private_file(const std::filesystem::path& file, ByteView content);
/// Error `not_found` when absent; `limit_exceeded` above `bytes_max`. `secret`: `permission_denied` when others may read it.
Result<Bytes> read_small_file(const std::filesystem::path& file, std::size_t bytes_max, bool secret);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
