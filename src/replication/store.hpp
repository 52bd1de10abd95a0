// The durable store: what must outlive the process, on SQLite.
//
// One directory, one store, one process. A store holds collections of replicated entries (a map, the reminders) and
// small named values (the clock's mark, fences). They are read when a program starts and then live in memory; from
// there on the store is only written to.
//
// - A write is durable when its callback says so. All that waits goes into one transaction, which ends with one fsync:
//   many writers at once cost hardly more than one. A batch is written whole or not at all.
// - Damage (torn, flipped, missing bytes) is found when the store is opened. What is good is salvaged into a new file,
//   the damaged one is kept aside, and `damage` tells what was lost. A store never comes up empty without saying so.
//   Some cannot be told from a crash: when the last transactions are missing from the end of the log, or the very last
//   one is not whole (see store_salvage.hpp), or the file itself was taken away.
// - A full disk fails the writes that find it full; nothing that was there is lost, and writes succeed again when there
//   is room. One number has its room from the start.
//
// Layout of the file: store_format.hpp. Files of the directory: store_directory.hpp. Source of the requirements:
// protocol document 04, section 8, rows 7 and 19 to 22.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "replication/ormap.hpp"
#include "replication/sqlite.hpp"
#include "replication/store_directory.hpp"
#include "replication/store_format.hpp"
#include "replication/store_mark.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication {

/// Bytes of key and entry together: as much as a message of a peer may have.
inline constexpr std::size_t store_record_bytes_max = 64UL * 1024 * 1024;
inline constexpr std::size_t store_name_bytes_max = 1100;  ///< Of a collection or value: an atom and a prefix.

/// Changes that are written together. The last one of a key counts.
class WriteBatch {
 public:
  // Names are UTF-8 without control characters, 1 to `store_name_bytes_max` bytes; a collection is not called ".".
  // Others throw std::invalid_argument.
  void put(std::string_view collection, const Term& key, const Entry& entry);
  /// Without a tombstone.
  void erase(std::string_view collection, const Term& key);
  /// All records of the collection, and its name.
  void drop(std::string_view collection);
  void set(std::string_view name, const Term& value);
  void unset(std::string_view name);

  [[nodiscard]] bool empty() const noexcept { return changes_.empty(); }
  /// What it takes in the queue.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  friend class DurableStore;
  enum class Kind : std::uint8_t { put, erase, drop };
  struct Change {
    Kind kind;
    std::string collection;
    Bytes key;
    Bytes entry;
  };
  void add(Change change);

  std::vector<Change> changes_;
  std::size_t bytes_ = 0;
  std::size_t record_bytes_ = 0;  ///< Of the largest record.
};

struct StoreConfig {
  enum class Access : std::uint8_t {
    read_write,  ///< Makes what is not there, salvages, migrates.
    read_only,   ///< Changes nothing: what would have to be changed is an error.
  };

  std::filesystem::path directory;
  Access access = Access::read_write;
  std::size_t queue_bytes_max = 64UL * 1024 * 1024;  ///< Of batches that are not on disk yet: a second of a slow disk.
  /// Name of a value that is a number above 0 and only rises: it has its room from the start, so that a batch with it
  /// alone succeeds when the disk is full, and is taken when the queue is. Read only, the greatest one counts all the
  /// same, and no room is taken. Empty: none is.
  std::string mark{};
};

/// What was found to be damaged, and what became of it.
struct StoreDamage {
  struct Loss {
    std::string collection;             ///< Empty: the named values.
    std::uint64_t kept = 0;             ///< Records.
    std::optional<std::uint64_t> lost;  ///< Nothing: it is not known how many there were.
    bool older = false;                 ///< Of some that were kept only an older version was left.
  };

  std::string cause;
  std::filesystem::path kept_aside;  ///< The damaged file under its new name. Empty when access was read only.
  std::uint64_t kept = 0;            ///< Records, of all collections.
  std::vector<Loss> losses;          ///< Of collections that lost something, or may have.

  /// `corrupt`: what happened, what was lost, what is left, how it comes back.
  [[nodiscard]] Error error(const std::filesystem::path& directory) const;
};

struct CollectionSummary {
  std::string name;  ///< Empty: the named values.
  std::uint64_t records = 0;
};

struct StoreStatistics {
  std::uint64_t batches = 0;       ///< Written.
  std::uint64_t transactions = 0;  ///< With one fsync each.
  std::uint64_t failures = 0;      ///< Transactions that failed.
  std::uint64_t refused = 0;       ///< Batches that found the queue full.
  std::size_t queued_bytes = 0;
  std::chrono::microseconds last{};     ///< What the last transaction took.
  std::chrono::microseconds longest{};  ///< What the slowest one took.
};

/// Thread safe.
class DurableStore {
 public:
  /// Called once for each batch that was taken, on the store's thread: post the answer to where it belongs, and do not
  /// wait here. Error `io_error`: nothing of the batch is on disk, or (when the disk itself failed) all of it may be.
  using Done = std::function<void(const Result<void>&)>;

  /// Takes the directory for itself and checks all of the store; blocks for as long as that takes. Errors:
  /// `already_registered`: another process has it, see the text; `invalid_config`: it was written by a newer version,
  /// or is no store; `not_found`, `corrupt` (both read only); `io_error`; `permission_denied`.
  static Result<std::unique_ptr<DurableStore>> open(StoreConfig config);
  /// Writes what waits, and closes.
  ~DurableStore();
  DurableStore(const DurableStore&) = delete;
  DurableStore& operator=(const DurableStore&) = delete;

  /// Damage that was found when it was opened. A person should hear of it.
  [[nodiscard]] const std::optional<StoreDamage>& damage() const noexcept { return damage_; }
  /// Why there is no file for the mark: it could not be made.
  [[nodiscard]] const std::optional<Error>& mark_failure() const noexcept { return mark_failure_; }
  /// There was no store in the directory.
  [[nodiscard]] bool created() const noexcept { return created_; }

  /// Queues; does not block for the disk. `done` may be empty. Errors, without a call of `done`: `overloaded`: the
  /// queue is full; `limit_exceeded`: a record, or the batch, is larger than may be; `permission_denied`: opened read
  /// only.
  Result<void> write(WriteBatch batch, Done done = {});
  /// Blocks until everything that was queued before is written, or failed, and was reported.
  void flush();

  /// Hands out each entry of a collection, in no particular order; blocks for the disk. `visit` must not use the store.
  /// Returns how many. Errors: `corrupt`, `io_error`: the disk changed its mind since the store was opened.
  Result<std::uint64_t> load(std::string_view collection,
                             const std::function<void(Term&& key, Entry&& entry)>& visit) const;
  /// A named value. Error as above, and `not_found`.
  [[nodiscard]] Result<Term> value(std::string_view name) const;
  Result<std::uint64_t> load_values(const std::function<void(std::string_view name, Term&& value)>& visit) const;
  /// What is on disk, by name.
  [[nodiscard]] std::vector<CollectionSummary> collections() const;
  /// Records of one collection.
  [[nodiscard]] std::size_t size(std::string_view collection) const;
  [[nodiscard]] StoreStatistics statistics() const;

 private:
  struct Queued {
    WriteBatch batch;
    Done done;
  };
  class Transaction;

  DurableStore(StoreConfig config, store::StoreLock lock, sqlite::Database database, store::RecordTable table,
               store::Contents contents, store::MarkFile mark);
  void run();
  [[nodiscard]] const WriteBatch::Change* mark_in(const WriteBatch& batch) const;
  [[nodiscard]] std::optional<Term> mark_in_file() const;
  [[nodiscard]] bool is_only_mark(const WriteBatch& batch) const;
  bool write_mark(const std::vector<Queued>& group);
  Result<void> commit(const std::vector<Queued>& group);
  void note(const std::vector<Queued>& group, bool written, std::chrono::microseconds took);

  const StoreConfig config_;
  const store::StoreLock lock_;
  std::optional<StoreDamage> damage_;
  std::optional<Error> mark_failure_;
  bool created_ = false;

  mutable std::mutex database_mutex_;  ///< For all up to the next blank line.
  mutable sqlite::Database database_;
  store::RecordTable table_;
  store::Contents contents_;
  bool log_has_rest_ = false;  ///< Frames behind its end, of a transaction that failed or of another process.

  mutable std::mutex mark_mutex_;
  store::MarkFile mark_;

  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::vector<Queued> queue_;
  std::uint64_t taken_ = 0;     ///< Batches that were ever queued.
  std::uint64_t finished_ = 0;  ///< Batches that were reported.
  bool stop_ = false;
  StoreStatistics statistics_;

  std::thread thread_;  ///< Last: the others exist before it and after it.
};

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
