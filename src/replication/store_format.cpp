#include "replication/store_format.hpp"

#include <xxhash.h>

#include <optional>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {
namespace {

/// SQLite's check stops after so many findings: they are for a person.
constexpr const char* quick_check = "PRAGMA quick_check(3)";
constexpr const char* all_records = "SELECT collection, key, sequence, checksum, entry FROM records";

const Bytes& format_key() {
  static const Bytes key = encode_term(Atom("format"));
  return key;
}
Bytes totals_key(std::string_view collection) { return encode_term(Term::tuple({Atom("totals"), collection})); }

/// Numbers in the database are signed; the bits are what counts.
std::int64_t bits_of(std::uint64_t number) noexcept { return static_cast<std::int64_t>(number); }

struct Row {
  RecordView record;
  std::uint64_t checksum = 0;  ///< Of what is there.
  bool good = false;
};

Row row_of(const sqlite::Statement& rows) {
  Row row{{rows.text(0), rows.blob(1), rows.blob(4), rows.number(2)}};
  row.checksum = checksum_of(row.record);
  row.good = static_cast<std::uint64_t>(rows.number(3)) == row.checksum;
  return row;
}

std::string shown(std::string_view collection) {
  if (collection == values_collection) return "the named values";
  if (collection == own_collection) return "the store's own records";
  return std::string(collection);
}

Result<std::optional<std::int64_t>> noted_version(sqlite::Database& database) {
  std::optional<std::int64_t> version;
  auto visited = visit_records(database, own_collection, [&](const RecordView& record) {
    const auto decoded = decode_term(record.entry);
    if (std::ranges::equal(record.key, format_key()) && decoded) version = decoded->term.as_int64();
    return !version;
  });
  if (!visited) return std::unexpected(visited.error());
  return version;
}

std::optional<std::pair<std::string, Totals>> totals_in(const RecordView& record) {
  const auto key = decode_term(record.key);
  const auto entry = decode_term(record.entry);
  if (!key || !entry || !key->term.is_tagged("totals", 2) || !entry->term.is_tuple(2)) return std::nullopt;
  const auto name = key->term.elements()[1].as_text();
  const auto records = entry->term.elements()[0].as_uint64();
  const auto digest = entry->term.elements()[1].as_uint64();
  if (!name || !records || !digest) return std::nullopt;
  return std::pair{std::string(*name), Totals{*records, *digest}};
}

Result<void> check_pages(sqlite::Database& database) {
  auto check = database.prepare(quick_check);
  if (!check) return std::unexpected(check.error());
  std::string findings;
  for (;;) {
    const auto row = check->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) break;
    if (check->text(0) == "ok") continue;
    findings.append(findings.empty() ? "" : "; ").append(check->text(0));
  }
  if (!findings.empty()) return fail(Errc::corrupt, "SQLite: " + findings);
  return {};
}

/// One sentence for all that differs.
std::string differences(const TotalsTable& noted, const TotalsTable& found) {
  std::string text;
  const auto add = [&](const std::string& finding) { text.append(text.empty() ? "" : "; ").append(finding); };
  for (const auto& [name, totals] : noted) {
    const auto at = found.find(name);
    const Totals here = at == found.end() ? Totals{} : at->second;
    if (here == totals) continue;
    add(shown(name) + " should hold " + std::to_string(totals.records) + " records and holds " +
        (here.records == totals.records ? "other ones" : std::to_string(here.records)));
  }
  for (const auto& [name, totals] : found) {
    if (!noted.contains(name))
      add("nothing is noted of the " + std::to_string(totals.records) + " records of " + shown(name));
  }
  return text;
}

}  // namespace

std::uint64_t checksum_of(const RecordView& record) noexcept {
  auto hash = XXH3_64bits_withSeed(record.collection.data(), record.collection.size(),
                                   static_cast<std::uint64_t>(record.sequence));
  hash = XXH3_64bits_withSeed(record.key.data(), record.key.size(), hash);
  return XXH3_64bits_withSeed(record.entry.data(), record.entry.size(), hash);
}

Result<void> configure(sqlite::Database& database) {
  // Exclusive: no shared memory file, and no other program in between.
  return database.execute(
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = 4096; PRAGMA cell_size_check = ON; PRAGMA secure_delete = "
      "ON;"
      "PRAGMA temp_store = MEMORY");
}

Result<void> configure_log(sqlite::Database& database) {
  // The log is cut back to 16 MiB after a large transaction.
  return database.execute(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000;"
      "PRAGMA journal_size_limit = 16777216");
}

Result<void> empty_log(sqlite::Database& database) {
  const auto busy = database.number("PRAGMA wal_checkpoint(TRUNCATE)");
  if (!busy) return std::unexpected(busy.error());
  if (*busy != 0) return fail(Errc::io_error, "the write-ahead log cannot be emptied: something reads it");
  return {};
}

Result<void> create_tables(sqlite::Database& database) {
  static_assert(application_id == 1112552016 && format_version == 1);
  auto made = database.execute(
      "PRAGMA application_id = 1112552016; PRAGMA user_version = 1;"
      "CREATE TABLE records(collection TEXT NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL,"
      " checksum INTEGER NOT NULL, entry BLOB NOT NULL, PRIMARY KEY (collection, key)) STRICT, WITHOUT ROWID");
  if (!made) return made;
  auto table = RecordTable::open(database);
  if (!table) return std::unexpected(table.error());
  const Bytes version = encode_term(format_version);
  return table->put_if_newer({own_collection, format_key(), version, 0});
}

Result<std::int64_t> version_of(sqlite::Database& database) {
  const auto application = database.number("PRAGMA application_id");
  if (!application) return std::unexpected(application.error());
  const auto version = database.number("PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  const bool ours = *application == application_id;
  if (ours && *version == 0) return 0;
  const auto tables = database.number("SELECT count(*) FROM sqlite_schema WHERE name = 'records'");
  if (!tables) return std::unexpected(tables.error());
  if (!ours && *tables == 0) return fail(Errc::invalid_config, "it is a database of another program");
  const auto newer = [](std::int64_t number) {
    return fail(Errc::invalid_config, "it was written by a newer barrel_p2p (store version " + std::to_string(number) +
                                          ", this program knows versions up to " + std::to_string(format_version) +
                                          "): run that one, or give this one another directory");
  };
  if (*tables == 0 && *version > format_version) return newer(*version);
  const auto noted = noted_version(database);
  // The table of a newer version may look different.
  const bool unknown = ours && *version > format_version;
  if (!noted && unknown && noted.error() == Errc::corrupt) return newer(*version);
  if (!noted) return std::unexpected(noted.error());
  if (*noted && **noted > format_version) return newer(**noted);
  if (!*noted && unknown) return newer(*version);
  auto journal = database.prepare("PRAGMA journal_mode");
  if (!journal) return std::unexpected(journal.error());
  if (auto row = journal->step(); !row) return std::unexpected(row.error());
  const bool log = journal->text(0) == "wal";
  if (!ours || *version != format_version || *noted != format_version || !log) {
    return fail(Errc::corrupt, "what its header says does not fit together");
  }
  return *version;
}

Result<Contents> inspect(sqlite::Database& database) {
  if (auto pages = check_pages(database); !pages) return std::unexpected(pages.error());
  auto rows = database.prepare(all_records);
  if (!rows) return std::unexpected(rows.error());
  Contents contents;
  TotalsTable noted;
  std::uint64_t bad = 0;
  for (;;) {
    const auto more = rows->step();
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    const auto row = row_of(*rows);
    if (!row.good) {
      ++bad;
      continue;
    }
    contents.sequence = std::max(contents.sequence, row.record.sequence);
    if (row.record.collection == own_collection) {
      if (auto totals = totals_in(row.record)) noted.insert(std::move(*totals));
      continue;
    }
    auto at = contents.totals.find(row.record.collection);
    if (at == contents.totals.end()) at = contents.totals.emplace(row.record.collection, Totals{}).first;
    ++at->second.records;
    at->second.digest += row.checksum;
  }
  std::string findings = bad == 0 ? "" : std::to_string(bad) + " records have wrong checksums";
  if (const auto text = differences(noted, contents.totals); !text.empty()) {
    findings.append(findings.empty() ? "" : "; ").append(text);
  }
  if (!findings.empty()) return fail(Errc::corrupt, findings);
  // Collections that are empty now are known by name.
  contents.totals.insert(noted.begin(), noted.end());
  return contents;
}

// Records.

Result<RecordTable> RecordTable::open(sqlite::Database& database) {
  auto find = database.prepare("SELECT checksum FROM records WHERE collection = ? AND key = ?");
  auto replace = database.prepare("INSERT OR REPLACE INTO records VALUES(?, ?, ?, ?, ?)");
  auto newer = database.prepare(
      "INSERT INTO records VALUES(?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET sequence = excluded.sequence,"
      " checksum = excluded.checksum, entry = excluded.entry WHERE excluded.sequence > sequence");
  auto erase = database.prepare("DELETE FROM records WHERE collection = ? AND key = ?");
  auto clear = database.prepare("DELETE FROM records WHERE collection = ?");
  for (const auto* statement : {&find, &replace, &newer, &erase, &clear}) {
    if (!*statement) return std::unexpected(statement->error());
  }
  return RecordTable(std::move(*find), std::move(*replace), std::move(*newer), std::move(*erase), std::move(*clear));
}

Result<void> RecordTable::insert(sqlite::Statement& statement, const RecordView& record, std::uint64_t checksum) {
  statement.bind(1, record.collection);
  statement.bind(2, record.key);
  statement.bind(3, record.sequence);
  statement.bind(4, bits_of(checksum));
  statement.bind(5, record.entry);
  return statement.run();
}

Result<bool> RecordTable::forget(std::string_view collection, ByteView key, Totals& totals) {
  find_.bind(1, collection);
  find_.bind(2, key);
  const auto row = find_.step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return false;
  --totals.records;
  totals.digest -= static_cast<std::uint64_t>(find_.number(0));
  find_.reset();
  return true;
}

Result<void> RecordTable::put(const RecordView& record, Totals& totals) {
  if (auto found = forget(record.collection, record.key, totals); !found) return std::unexpected(found.error());
  const auto checksum = checksum_of(record);
  ++totals.records;
  totals.digest += checksum;
  return insert(replace_, record, checksum);
}

Result<void> RecordTable::erase(std::string_view collection, ByteView key, Totals& totals) {
  const auto found = forget(collection, key, totals);
  if (!found) return std::unexpected(found.error());
  if (!*found) return {};
  erase_.bind(1, collection);
  erase_.bind(2, key);
  return erase_.run();
}

Result<void> RecordTable::clear(std::string_view collection) {
  clear_.bind(1, collection);
  return clear_.run();
}

Result<void> RecordTable::put_if_newer(const RecordView& record) { return insert(newer_, record, checksum_of(record)); }

Result<void> RecordTable::put_totals(std::string_view collection, const Totals& totals, std::int64_t sequence) {
  const Bytes key = totals_key(collection);
  const Bytes entry = encode_term(Term::tuple({totals.records, totals.digest}));
  const RecordView record{own_collection, key, entry, sequence};
  return insert(replace_, record, checksum_of(record));
}

Result<void> RecordTable::erase_totals(std::string_view collection) {
  const Bytes key = totals_key(collection);
  erase_.bind(1, own_collection);
  erase_.bind(2, ByteView(key));
  return erase_.run();
}

Result<void> visit_records(sqlite::Database& database, std::string_view collection,
                           const std::function<bool(const RecordView&)>& visit) {
  auto rows = database.prepare(std::string(all_records) + " WHERE collection = ? ORDER BY key");
  if (!rows) return std::unexpected(rows.error());
  rows->bind(1, collection);
  for (;;) {
    const auto more = rows->step();
    if (!more) return std::unexpected(more.error());
    if (!*more) return {};
    const auto row = row_of(*rows);
    if (!row.good) return fail(Errc::corrupt, "a record of " + shown(collection) + " has a wrong checksum");
    if (!visit(row.record)) return {};
  }
}

Result<TotalsTable> noted_totals(sqlite::Database& database) {
  TotalsTable table;
  auto visited = visit_records(database, own_collection, [&](const RecordView& record) {
    if (auto totals = totals_in(record)) table.insert(std::move(*totals));
    return true;
  });
  if (!visited) return std::unexpected(visited.error());
  return table;
}

Result<Contents> renew_totals(sqlite::Database& database) {
  const auto noted = noted_totals(database);
  if (!noted) return std::unexpected(noted.error());
  auto table = RecordTable::open(database);
  if (!table) return std::unexpected(table.error());
  Contents contents;
  {
    auto rows = database.prepare(all_records);
    if (!rows) return std::unexpected(rows.error());
    for (;;) {
      const auto more = rows->step();
      if (!more) return std::unexpected(more.error());
      if (!*more) break;
      const auto [record, checksum, good] = row_of(*rows);
      contents.sequence = std::max(contents.sequence, record.sequence);
      if (record.collection == own_collection) continue;
      auto& totals = contents.totals[std::string(record.collection)];
      ++totals.records;
      totals.digest += checksum;
    }
  }
  for (const auto& [name, totals] : *noted) {
    if (auto erased = table->erase_totals(name); !erased) return std::unexpected(erased.error());
  }
  for (const auto& [name, totals] : contents.totals) {
    if (auto put = table->put_totals(name, totals, contents.sequence); !put) return std::unexpected(put.error());
  }
  return contents;
}

Result<void> visit_version_0(sqlite::Database& database, const std::function<Result<void>(const RecordView&)>& visit) {
  if (auto pages = check_pages(database); !pages) return pages;
  auto records =
      database.prepare("SELECT collection, key, entry FROM records UNION ALL SELECT '', name, value FROM named");
  if (!records) return fail(Errc::corrupt, records.error().context());
  for (;;) {
    const auto more = records->step();
    if (!more) return std::unexpected(more.error());
    if (!*more) return {};
    RecordView record{records->text(0), records->blob(1), records->blob(2), 1};
    Bytes name;
    if (record.collection == values_collection) {
      name = encode_term(Term(records->text(1)));
      record.key = name;
    }
    if (!decode_term(record.key) || !decode_term(record.entry)) {
      return fail(Errc::corrupt, "a record of " + shown(record.collection) + " is no term");
    }
    if (auto visited = visit(record); !visited) return visited;
  }
}

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
