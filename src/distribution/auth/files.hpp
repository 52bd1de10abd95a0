// Small files: those that hold keys, and those that others are to read. Thread safe. Blocks for the disk.
//
// What root makes or replaces in a directory of another user, files and directories alike, is that user's, as far as
// the file system permits: root may be at work for a node that runs as that user, and has to read it.
#pragma once

#include <sys/types.h>

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/version.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Makes a file that was not there, as `open` does with `flags`, O_CREAT, O_EXCL, O_NOFOLLOW and O_CLOEXEC. -1: see
/// errno.
int make_file(const std::filesystem::path& file, int flags, mode_t mode) noexcept;
/// The same, or opens what is there.
int open_or_make_file(const std::filesystem::path& file, int flags, mode_t mode) noexcept;

/// Makes the directory and its missing parents with mode 0700. Errors: `permission_denied` when everybody may write to
/// it; `io_error` when something else has the name; `not_found` for a link that leads nowhere.
Result<void> make_private_directory(const std::filesystem::path& directory);

/// Replaces the file in one step: a new file beside it with a name nobody can guess, mode 0600 from the start, fsync of
/// file and directory, rename. A crash leaves the old file or the new one.
Result<void> write_private_file(const std::filesystem::path& file, ByteView content);
/// Replaces in the same way what other users of the machine are to read: mode 0644 less the umask. Follows no link and
/// opens nothing that is there, whoever else may write to the directory. After a crash of the machine it may be gone.
Result<void> write_public_file(const std::filesystem::path& file, ByteView content);
/// As `write_private_file`, but leaves a file that exists alone and returns false.
Result<bool> create_private_file(const std::filesystem::path& file, ByteView content);

/// Gives `from` the name `to` in the same directory, in place of what had it, in one step that is on the disk when it
/// returns.
Result<void> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
/// The name is gone from the disk when it returns. False: there was no such file.
Result<bool> remove_durably(const std::filesystem::path& file);

/// What was made, renamed or removed in the directory is on the disk when it returns.
Result<void> sync_directory(const std::filesystem::path& directory);

/// Copies those of the files that exist into DIRECTORY/backups/<YYYYMMDD>T<HHMMSS>Z, with a number behind it when the
/// second has one already: modes 0600 and 0700, on the disk when it returns. Nothing: none of them exists.
Result<std::optional<std::filesystem::path>> back_up(const std::filesystem::path& directory,
                                                     const std::vector<std::string_view>& names, WallMilliseconds now);

/// Whoever changes more than one file of a directory of keys holds its lock, against threads and processes: an flock of
/// the directory itself, which ends with its holder, however that ends. Where the file system has no such lock (NFS)
/// nobody is held off.
class DirectoryLock {
 public:
  /// Waits. Errors: `timeout` after 30 s; `not_found`, `permission_denied`, `io_error`.
  static Result<DirectoryLock> take(const std::filesystem::path& directory);
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int descriptor) noexcept : descriptor_(descriptor) {}
  int descriptor_;
};

/// Removes new files that a crash left before they got their names. For who holds the lock of the directory.
void remove_leftovers(const DirectoryLock& lock, const std::filesystem::path& directory) noexcept;
/// The same where nobody locks: only those that nobody has written to for a minute.
void remove_old_leftovers(const std::filesystem::path& directory) noexcept;

/// Tests of crashes are told each step that the disk sees, before and after it, and may end the process there. Nobody
/// is told by default.
using FileStep = void (*)(std::string_view step);
void on_file_step(FileStep told) noexcept;

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
