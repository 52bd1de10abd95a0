// A number that only rises, in a file that has its room from the start: it is written over in its place, so it can be
// written when the disk is full (not on file systems that never write in place, as btrfs and ZFS).
//
//   two slots, at 0 and at 512, of which the greater good one counts; a write goes to the other one, and a sector is on
//   disk as before or as after it:  number, 8 bytes, big endian;  checksum of these (XXH3, 64 bits), 8 bytes, big
//   endian
#pragma once

#include <array>
#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <filesystem>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {

/// One thread at a time.
class MarkFile {
 public:
  /// There is none: 0, and writes fail.
  MarkFile() noexcept = default;
  /// Makes it, with room on disk, if it is to be written and is not there. Errors: `not_found`, `permission_denied`,
  /// `io_error`.
  static Result<MarkFile> open(const std::filesystem::path& file, bool writable);
  ~MarkFile();
  MarkFile(MarkFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)), numbers_(other.numbers_) {}
  MarkFile& operator=(MarkFile&&) = delete;
  MarkFile(const MarkFile&) = delete;
  MarkFile& operator=(const MarkFile&) = delete;

  /// The greatest one that was written; 0: none.
  [[nodiscard]] std::int64_t number() const noexcept;
  /// On disk when it returns. One that is not greater than the last is no work. Error: `io_error`.
  Result<void> write(std::int64_t number);

 private:
  explicit MarkFile(int descriptor) noexcept : descriptor_(descriptor) {}

  int descriptor_ = -1;
  std::array<std::int64_t, 2> numbers_{};  ///< Of the slots.
};

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
