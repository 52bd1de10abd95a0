#include "replication/sqlite.hpp"

#include <sqlite3.h>

#include <new>
#include <string>

namespace barrel_p2p {
inline namespace v0 {
namespace replication::sqlite {
namespace {

Errc code_of(int extended) noexcept {
  constexpr int primary_mask = 0xFF;
  if (extended == SQLITE_IOERR_CORRUPTFS) return Errc::corrupt;
  switch (extended & primary_mask) {
    // Our statements are right, so it is the tables that are not.
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_CORRUPT:
    case SQLITE_TOOBIG:  // what is written is bounded to much less
    case SQLITE_NOTADB: return Errc::corrupt;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY: return Errc::permission_denied;
    default: return Errc::io_error;
  }
}

/// As much as SQLite may need for the largest record that a store takes, which has 64 MiB.
bool has_memory_for_a_record() noexcept {
  constexpr std::size_t bytes = 192UL * 1024 * 1024;
  void* const probe = ::operator new(bytes, std::nothrow);
  ::operator delete(probe);
  return probe != nullptr;
}

std::unexpected<Error> failure(sqlite3* database, int code) {
  if ((code & 0xFF) == SQLITE_NOMEM) {
    // SQLite says so, too, of more than 2 GB, by a length in a damaged file: it does not even ask for them then. A
    // program may have given it a limit.
    if (sqlite3_hard_heap_limit64(-1) > 0 || !has_memory_for_a_record()) throw std::bad_alloc();
    return fail(Errc::corrupt, "SQLite: a record in the file claims to be larger than any that was written");
  }
  const int extended = database == nullptr ? code : sqlite3_extended_errcode(database);
  std::string text = database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database);
  if (const int system = database == nullptr ? 0 : sqlite3_system_errno(database); system != 0) {
    text += " (" + std::generic_category().message(system) + ")";
  }
  return fail(code_of(extended), "SQLite: " + text);
}

}  // namespace

// A statement.

void Statement::Finalize::operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }

// Binding fails only for parameters that do not exist, a programming error, and for sizes that the store refuses
// before.

void Statement::bind(int parameter, std::string_view text) noexcept {
  sqlite3_bind_text64(statement_.get(), parameter, text.data() == nullptr ? "" : text.data(), text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
}
void Statement::bind(int parameter, ByteView blob) noexcept {
  static constexpr std::uint8_t nothing = 0;  // a null pointer would be NULL
  sqlite3_bind_blob64(statement_.get(), parameter, blob.empty() ? &nothing : blob.data(), blob.size(), SQLITE_STATIC);
}
void Statement::bind(int parameter, std::int64_t number) noexcept {
  sqlite3_bind_int64(statement_.get(), parameter, number);
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  std::unexpected<Error> error{Errc::io_error};
  if (code != SQLITE_DONE) error = failure(sqlite3_db_handle(statement_.get()), code);
  reset();
  if (code != SQLITE_DONE) return error;
  return false;
}

Result<void> Statement::run() {
  for (;;) {
    const auto row = step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return {};
  }
}

void Statement::reset() noexcept { sqlite3_reset(statement_.get()); }

std::string_view Statement::text(int column) const noexcept {
  const auto* bytes = sqlite3_column_text(statement_.get(), column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}
ByteView Statement::blob(int column) const noexcept {
  const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_.get(), column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}
std::int64_t Statement::number(int column) const noexcept { return sqlite3_column_int64(statement_.get(), column); }

// A database.

void Database::Close::operator()(sqlite3* database) const noexcept { sqlite3_close_v2(database); }

Result<Database> Database::open_name(const char* name) {
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(name, &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  Database database(raw);
  if (code != SQLITE_OK) return failure(raw, code);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return database;
}

Result<Database> Database::open(const std::filesystem::path& file) {
  // A relative name could be taken for an option of SQLite's.
  return open_name(std::filesystem::absolute(file).c_str());
}
Result<Database> Database::in_memory() { return open_name(":memory:"); }

Result<void> Database::execute(const char* sql) {
  const int code = sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failure(database_.get(), code);
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  if (code != SQLITE_OK) return failure(database_.get(), code);
  return Statement(raw);
}

Result<std::int64_t> Database::number(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  const auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  return *row ? statement->number(0) : 0;
}

void Database::checkpoint_on_close() noexcept {
  sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
}

bool Database::read_only() const noexcept { return sqlite3_db_readonly(database_.get(), "main") == 1; }

}  // namespace replication::sqlite
}  // namespace v0
}  // namespace barrel_p2p
