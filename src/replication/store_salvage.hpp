// Reads records out of a damaged store without SQLite, page by page: a record whose checksum is good is good, wherever
// it is found. So the loss of a page costs the records on it and no others, even if it is the root of the tree.
//
// Also finds damage in the write-ahead log that SQLite takes for its end, silently dropping the transactions behind it.
// What a loss of power leaves is not taken for damage: of the transaction that was under way any part may be on disk,
// also its end without its beginning. A transaction begins when the one before it is on disk, and nothing of an earlier
// one lies behind it in the log (see empty_log in store_format.hpp). So it is damage when two transactions end behind a
// break. When only one does, nobody can tell: damage in the very last transaction is not found, and SQLite drops that
// transaction; nor is damage in the last frame of the one before it when that hides that the frame ends a transaction.
//
// Source of the layouts: "Database File Format" of SQLite, sections 1.6 (b-tree pages), 2.1 (records), 4 (the log).
#pragma once

#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "replication/store_format.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {

/// A file that is read at any place; what lies behind its end is not there.
class RandomReader {
 public:
  /// Without a file it is empty.
  static Result<RandomReader> open(const std::filesystem::path& file);
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// False: not all of it is there, the rest is left as it was. Error: `io_error`.
  Result<bool> read(std::uint64_t offset, std::span<std::uint8_t> out) const;

 private:
  explicit RandomReader(int descriptor);
  std::shared_ptr<const int> descriptor_;
  std::uint64_t size_ = 0;
};

/// The write-ahead log of a store that nobody has open.
class LogFile {
 public:
  static Result<LogFile> read(const std::filesystem::path& file);

  /// What is wrong, if anything is. A last transaction that is not whole is not: nobody was told that it is on disk.
  [[nodiscard]] const std::optional<std::string>& fault() const noexcept { return fault_; }
  /// Where in the log the newest good image of each page lies; without those of a last transaction that is not whole.
  [[nodiscard]] const std::unordered_map<std::uint32_t, std::uint64_t>& pages() const noexcept { return pages_; }
  [[nodiscard]] const RandomReader& bytes() const noexcept { return bytes_; }

 private:
  explicit LogFile(RandomReader bytes) noexcept : bytes_(std::move(bytes)) {}
  Result<void> scan();

  RandomReader bytes_;
  std::optional<std::string> fault_;
  std::unordered_map<std::uint32_t, std::uint64_t> pages_;
};

/// Visits each record that can be read, in the order of pages. A record may come twice, in different versions. Errors:
/// `io_error`, and what `visit` returns.
Result<void> harvest(const std::filesystem::path& database, const LogFile& log,
                     const std::function<Result<void>(const RecordView&)>& visit);

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
