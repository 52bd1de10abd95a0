#include "replication/store_open.hpp"

#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "replication/store_salvage.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {
namespace {

namespace fs = std::filesystem;
using Fill = std::function<Result<void>(sqlite::Database&)>;

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

Error about(const fs::path& file, const Error& error) { return {error.code(), file.string() + ": " + error.context()}; }

/// Tables, and what `fill` adds, in one transaction.
Result<void> build(sqlite::Database& database, const Fill& fill) {
  if (auto configured = configure(database); !configured) return configured;
  if (auto configured = configure_log(database); !configured) return configured;
  if (auto begun = database.execute("BEGIN IMMEDIATE"); !begun) return begun;
  if (auto made = create_tables(database); !made) return made;
  if (auto filled = fill(database); !filled) return filled;
  return database.execute("COMMIT");
}

/// A new file beside the one that is used, whole and on disk.
Result<void> build_fresh(const StoreDirectory& directory, const Fill& fill) {
  if (auto made = directory.make_fresh(); !made) return made;
  auto database = sqlite::Database::open(directory.fresh());
  if (!database) return std::unexpected(about(directory.fresh(), database.error()));
  if (auto built = build(*database, fill); !built) return std::unexpected(about(directory.fresh(), built.error()));
  if (auto emptied = empty_log(*database); !emptied) return std::unexpected(about(directory.fresh(), emptied.error()));
  database->checkpoint_on_close();
  return {};
}

struct Found {
  sqlite::Database database;
  bool has_log = false;    ///< With something in it.
  bool log_stays = false;  ///< It could not be emptied.
  std::int64_t version = 0;
  Contents contents;
};

Result<Found> find(const StoreDirectory& directory, StoreConfig::Access access) {
  const auto log = LogFile::read(directory.log());
  if (!log) return std::unexpected(log.error());
  if (log->fault()) return fail(Errc::corrupt, *log->fault());
  std::error_code error;
  if (!is_there(directory.database()))
    return fail(Errc::corrupt, "the file is missing, and its write-ahead log is there");
  // SQLite takes an empty file for a new database.
  if (fs::file_size(directory.database(), error) == 0 && !error) return fail(Errc::corrupt, "the file is empty");
  auto database = sqlite::Database::open(directory.database());
  if (!database) return std::unexpected(database.error());
  if (auto configured = configure(*database); !configured) return std::unexpected(configured.error());
  const auto version = version_of(*database);
  if (!version) return std::unexpected(version.error());
  Found found{std::move(*database), log->bytes().size() > 0, false, *version, {}};
  if (found.version == 0) return found;
  if (found.database.read_only()) {
    if (::access(directory.database().c_str(), W_OK) == 0)
      return fail(Errc::corrupt, "its header says: not to be written");
    return fail(Errc::permission_denied, "it cannot be written to: make it writable for the user of this process");
  }
  if (auto configured = configure_log(found.database); !configured) return std::unexpected(configured.error());
  auto contents = inspect(found.database);
  if (!contents) return std::unexpected(contents.error());
  found.contents = std::move(*contents);
  // Also because the process that left it may have had an fsync that failed: then the disk has less than we read.
  if (found.has_log && access == StoreConfig::Access::read_write) {
    const auto emptied = empty_log(found.database);
    if (!emptied && emptied.error() == Errc::corrupt) return std::unexpected(emptied.error());
    // A node starts on a disk that is full, too.
    found.log_stays = !emptied;
  }
  return found;
}

/// How what was noted differs from what is there.
std::vector<StoreDamage::Loss> losses(const TotalsTable& noted, const TotalsTable& kept) {
  std::vector<StoreDamage::Loss> all;
  for (const auto& [name, totals] : noted) {
    const auto at = kept.find(name);
    const Totals here = at == kept.end() ? Totals{} : at->second;
    if (here == totals) continue;
    const std::uint64_t lost = totals.records > here.records ? totals.records - here.records : 0;
    all.push_back({name, here.records, lost, lost == 0});
  }
  for (const auto& [name, totals] : kept) {
    if (!noted.contains(name)) all.push_back({name, totals.records, std::nullopt, false});
  }
  return all;
}

/// Fills `target` with all good records of the damaged files.
Result<StoreDamage> salvage(const StoreDirectory& directory, sqlite::Database& target) {
  const auto log = LogFile::read(directory.log());
  if (!log) return std::unexpected(log.error());
  auto table = RecordTable::open(target);
  if (!table) return std::unexpected(table.error());
  auto harvested =
      harvest(directory.database(), *log, [&](const RecordView& record) { return table->put_if_newer(record); });
  if (!harvested) return std::unexpected(harvested.error());
  const auto noted = noted_totals(target);
  if (!noted) return std::unexpected(noted.error());
  const auto contents = renew_totals(target);
  if (!contents) return std::unexpected(contents.error());
  StoreDamage damage;
  for (const auto& [name, totals] : contents->totals) damage.kept += totals.records;
  damage.losses = losses(*noted, contents->totals);
  return damage;
}

Result<StoreDamage> salvage_into_fresh(const StoreDirectory& directory) {
  StoreDamage damage;
  auto built = build_fresh(directory, [&](sqlite::Database& database) -> Result<void> {
    auto salvaged = salvage(directory, database);
    if (!salvaged) return std::unexpected(salvaged.error());
    damage = std::move(*salvaged);
    return {};
  });
  if (!built) return std::unexpected(built.error());
  auto aside = directory.replace(StoreDirectory::Reason::damaged);
  if (!aside) return std::unexpected(aside.error());
  damage.kept_aside = std::move(*aside);
  return damage;
}

/// What salvage would do.
Result<StoreDamage> salvage_in_memory(const StoreDirectory& directory) {
  auto database = sqlite::Database::in_memory();
  if (!database) return std::unexpected(database.error());
  StoreDamage damage;
  auto built = build(*database, [&](sqlite::Database& target) -> Result<void> {
    auto salvaged = salvage(directory, target);
    if (!salvaged) return std::unexpected(salvaged.error());
    damage = std::move(*salvaged);
    return {};
  });
  if (!built) return std::unexpected(built.error());
  return damage;
}

Result<void> migrate(const StoreDirectory& directory, sqlite::Database old) {
  auto built = build_fresh(directory, [&](sqlite::Database& database) -> Result<void> {
    auto table = RecordTable::open(database);
    if (!table) return std::unexpected(table.error());
    auto visited = visit_version_0(old, [&](const RecordView& record) { return table->put_if_newer(record); });
    if (!visited) return visited;
    if (auto renewed = renew_totals(database); !renewed) return std::unexpected(renewed.error());
    return {};
  });
  if (!built) return built;
  {
    const auto closed = std::move(old);
  }
  if (auto aside = directory.replace(StoreDirectory::Reason::old); !aside) return std::unexpected(aside.error());
  return {};
}

Result<Opened> open_good(const StoreDirectory& directory, StoreConfig::Access access, Found found) {
  if (found.version == format_version) {
    // Without a log that only removes the empty one that opening made.
    if (access == StoreConfig::Access::read_write || !found.has_log) found.database.checkpoint_on_close();
    return Opened{std::move(found.database), std::move(found.contents), {}, false, found.log_stays};
  }
  if (access == StoreConfig::Access::read_only) {
    return fail(Errc::invalid_config,
                directory.database().string() + " is of version " + std::to_string(found.version) +
                    ": a node that opens it migrates it to version " + std::to_string(format_version));
  }
  if (auto migrated = migrate(directory, std::move(found.database)); !migrated) {
    return fail(migrated.error().code(), "cannot migrate " + directory.database().string() +
                                             ", which is left as it was: " + migrated.error().context());
  }
  return open_database(directory, access);
}

}  // namespace

Result<Opened> open_database(const StoreDirectory& directory, StoreConfig::Access access) {
  const bool writable = access == StoreConfig::Access::read_write;
  if (writable) {
    if (auto finished = directory.finish_replacement(); !finished) return std::unexpected(finished.error());
  }
  if (!is_there(directory.database()) && !is_there(directory.log())) {
    if (!writable) return fail(Errc::not_found, "there is no store in " + directory.path().string());
    if (auto built = build_fresh(directory, [](sqlite::Database&) { return Result<void>(); }); !built) {
      return std::unexpected(built.error());
    }
    if (auto adopted = directory.adopt_fresh(); !adopted) return std::unexpected(adopted.error());
    auto opened = open_database(directory, access);
    if (opened) opened->created = true;
    return opened;
  }
  Error problem(Errc::corrupt);
  if (auto found = find(directory, access)) {
    return open_good(directory, access, std::move(*found));
  } else {
    problem = std::move(found.error());
  }
  if (problem != Errc::corrupt) return std::unexpected(about(directory.database(), problem));

  auto damage = writable ? salvage_into_fresh(directory) : salvage_in_memory(directory);
  if (!damage) {
    return fail(damage.error().code(), directory.database().string() + " is damaged (" + problem.context() +
                                           ") and cannot be salvaged: " + damage.error().context());
  }
  damage->cause = problem.context();
  if (!writable) return std::unexpected(damage->error(directory.path()));
  auto opened = open_database(directory, access);
  if (opened) opened->damage = std::move(*damage);
  return opened;
}

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
