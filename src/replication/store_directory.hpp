// The directory of a durable store: who may use it, and which file is the one.
//
//   DIR/store.lock               locked (flock) as long as a process uses the store; holds its pid
//   DIR/store.db, store.db-wal   the database and its write-ahead log
//   DIR/store.mark               a number that can be written when the disk is full (store_mark.hpp)
//   DIR/store.db.new             a database that is being made; thrown away when that was interrupted
//   DIR/store.db.salvaged        a complete database that is to replace a damaged one
//   DIR/store.db.migrated        a complete database that is to replace one of an older version
//   DIR/store.db.damaged-N, store.db.damaged-N-wal     kept aside, never overwritten
//   DIR/store.db.old-N, store.db.old-N-wal             of an older version, kept aside
#pragma once

#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {

class StoreDirectory {
 public:
  explicit StoreDirectory(std::filesystem::path directory) noexcept : directory_(std::move(directory)) {}

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return directory_; }
  [[nodiscard]] std::filesystem::path database() const { return directory_ / "store.db"; }
  [[nodiscard]] std::filesystem::path log() const { return directory_ / "store.db-wal"; }
  [[nodiscard]] std::filesystem::path mark() const { return directory_ / "store.mark"; }
  [[nodiscard]] std::filesystem::path fresh() const { return directory_ / "store.db.new"; }

  /// Makes it with mode 0700, durably.
  Result<void> make() const;
  /// An empty file for a new database, mode 0600; what was left of another attempt goes.
  Result<void> make_fresh() const;
  /// The new database, when there is none. Both are closed.
  Result<void> adopt_fresh() const;

  enum class Reason : std::uint8_t { damaged, old };
  /// The new database in place of the other, which is kept aside; returns its new name. An interruption at any point
  /// is made good by `finish_replacement`.
  Result<std::filesystem::path> replace(Reason reason) const;
  Result<void> finish_replacement() const;

 private:
  [[nodiscard]] std::filesystem::path ready(Reason reason) const;
  Result<std::filesystem::path> put_in_place(Reason reason) const;
  Result<void> sync() const;

  std::filesystem::path directory_;
};

/// Held by at most one process, and there by at most one owner, until it is destroyed or the process ends.
class StoreLock {
 public:
  /// Error: `already_registered`, with the pid of who holds it; `not_found`: no such directory; `io_error`;
  /// `permission_denied`.
  static Result<StoreLock> take(const std::filesystem::path& directory);
  ~StoreLock();
  StoreLock(StoreLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  StoreLock& operator=(StoreLock&&) = delete;
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;

 private:
  explicit StoreLock(int descriptor) noexcept : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
