// SQLite as values: a connection, a statement, results. One thread at a time each.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace barrel_p2p {
inline namespace v0 {
namespace replication::sqlite {

/// A prepared statement. Parameters count from 1, columns from 0. Must not outlive its database.
class Statement {
 public:
  // What is bound must stay as it is until the statement is reset.
  void bind(int parameter, std::string_view text) noexcept;
  void bind(int parameter, ByteView blob) noexcept;
  void bind(int parameter, std::int64_t number) noexcept;

  /// True: there is a row. False: the end; the statement is reset and can be bound and run again.
  Result<bool> step();
  /// Runs to the end.
  Result<void> run();
  void reset() noexcept;

  // Valid until the next step or reset. What has another type is empty or 0.
  [[nodiscard]] std::string_view text(int column) const noexcept;
  [[nodiscard]] ByteView blob(int column) const noexcept;
  [[nodiscard]] std::int64_t number(int column) const noexcept;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  explicit Statement(sqlite3_stmt* statement) noexcept : statement_(statement) {}
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

/// Errors: `corrupt`; `io_error` (also a full disk, and a file that another program has locked); `permission_denied`.
class Database {
 public:
  /// Opens a file that exists. Closing leaves its write-ahead log alone until `checkpoint_on_close`.
  static Result<Database> open(const std::filesystem::path& file);
  static Result<Database> in_memory();

  Result<void> execute(const char* sql);
  Result<Statement> prepare(std::string_view sql);
  /// The one number that a statement gives.
  Result<std::int64_t> number(std::string_view sql);
  void checkpoint_on_close() noexcept;
  /// SQLite cannot write to the file.
  [[nodiscard]] bool read_only() const noexcept;

 private:
  struct Close {
    void operator()(sqlite3* database) const noexcept;
  };
  static Result<Database> open_name(const char* name);
  explicit Database(sqlite3* database) noexcept : database_(database) {}
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace replication::sqlite
}  // namespace v0
}  // namespace barrel_p2p
