// What stands in the file of a durable store, version 1.
//
//   SQLite database, application_id "BP2P", user_version 1, pages of 4096 bytes, write-ahead log
//   records(collection, key, sequence, checksum, entry), PRIMARY KEY (collection, key) WITHOUT ROWID
//
//   collection   what holds                       key                      entry
//   ""           named values                     <<Name>>                 the value
//   "."          what the store knows of itself   format                   1
//                                                 {totals, <<Collection>>} {Records, Digest}
//   others       replicated entries               the key                  the entry, as replication/ormap.hpp draws it
//
// Keys and entries are terms in the external format. `sequence` counts transactions: of two versions of a record the
// greater one is newer. `checksum` is XXH3-64 of the entry, seeded with that of the key, seeded with that of the
// collection, seeded with the sequence. Digest is the sum of the checksums of a collection modulo 2^64. So a record
// that was changed, and one that is missing, are noticed, and it is known how many are missing.
//
// Erased content is overwritten (secure_delete): a page that holds a record with a good checksum is in use. Salvage
// relies on it.
//
// Version 0, which drafts wrote: records(collection, key, entry) and named(name, value), without checksums.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "replication/sqlite.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {

inline constexpr std::int64_t format_version = 1;
inline constexpr std::int64_t application_id = 0x42503250;  ///< "BP2P"
inline constexpr std::size_t page_size = 4096;
inline constexpr std::string_view values_collection{};
inline constexpr std::string_view own_collection = ".";

struct RecordView {
  std::string_view collection;
  ByteView key;
  ByteView entry;
  std::int64_t sequence = 0;
};
[[nodiscard]] std::uint64_t checksum_of(const RecordView& record) noexcept;

struct Totals {
  std::uint64_t records = 0;
  std::uint64_t digest = 0;
  friend bool operator==(const Totals&, const Totals&) noexcept = default;
};
/// By name. Without the collection of the store itself.
using TotalsTable = std::map<std::string, Totals, std::less<>>;

struct Contents {
  TotalsTable totals;
  std::int64_t sequence = 0;  ///< The greatest one.
};

/// Settings of a connection; the first thing after opening it. Changes nothing in the file.
Result<void> configure(sqlite::Database& database);
/// The write-ahead log; the second thing, when the file is known to be ours. Changes nothing in a file that has it.
Result<void> configure_log(sqlite::Database& database);
/// Writes what is in the log into the database, and begins the log anew. Frames of a transaction that failed, or that
/// another process left, may lie behind the end of the log; one must not go on in front of them: later they would be
/// taken for frames of its own. Error: as of the disk, and `corrupt`.
Result<void> empty_log(sqlite::Database& database);
/// Tables and versions, in an empty database.
Result<void> create_tables(sqlite::Database& database);
/// The version of a file. Errors: `invalid_config`: newer than this program, or no store at all; `corrupt`.
Result<std::int64_t> version_of(sqlite::Database& database);

/// Reads everything and checks everything. Error: `corrupt`, with what is wrong.
Result<Contents> inspect(sqlite::Database& database);

/// Reads and changes records. Must not outlive its database.
class RecordTable {
 public:
  static Result<RecordTable> open(sqlite::Database& database);

  /// Replaces. With the totals of its collection brought forward.
  Result<void> put(const RecordView& record, Totals& totals);
  Result<void> erase(std::string_view collection, ByteView key, Totals& totals);
  /// All of a collection.
  Result<void> clear(std::string_view collection);
  /// Keeps what is there when it is newer.
  Result<void> put_if_newer(const RecordView& record);
  Result<void> put_totals(std::string_view collection, const Totals& totals, std::int64_t sequence);
  Result<void> erase_totals(std::string_view collection);

 private:
  RecordTable(sqlite::Statement find, sqlite::Statement replace, sqlite::Statement newer, sqlite::Statement erase,
              sqlite::Statement clear)
      : find_(std::move(find)),
        replace_(std::move(replace)),
        newer_(std::move(newer)),
        erase_(std::move(erase)),
        clear_(std::move(clear)) {}
  Result<void> insert(sqlite::Statement& statement, const RecordView& record, std::uint64_t checksum);
  /// Takes the record that is there out of the totals. False: there is none.
  Result<bool> forget(std::string_view collection, ByteView key, Totals& totals);

  sqlite::Statement find_;
  sqlite::Statement replace_;
  sqlite::Statement newer_;
  sqlite::Statement erase_;
  sqlite::Statement clear_;
};

/// All records of a collection with good checksums; `visit` returns false to stop. Error: `corrupt` for another one.
Result<void> visit_records(sqlite::Database& database, std::string_view collection,
                           const std::function<bool(const RecordView&)>& visit);

/// The totals that the store noted, by collection.
Result<TotalsTable> noted_totals(sqlite::Database& database);
/// Notes what is there in place of all that was noted, and returns it. The records must be good.
Result<Contents> renew_totals(sqlite::Database& database);

/// Reads what a file of version 0 holds, each record with sequence 1. Error: `corrupt`.
Result<void> visit_version_0(sqlite::Database& database, const std::function<Result<void>(const RecordView&)>& visit);

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
