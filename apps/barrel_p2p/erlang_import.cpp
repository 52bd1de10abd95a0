#include "erlang_import.hpp"

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/term.hpp>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <system_error>

#include "services/maps.hpp"
#include "services/reminders.hpp"

namespace barrel_p2p::command {
namespace {

Result<std::optional<Bytes>> read_if_there(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  Bytes bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) return fail(Errc::io_error, "cannot read " + path.string());
  return bytes;
}

std::vector<std::string> remarks_on(const replication::ErlangMap& map) {
  std::vector<std::string> remarks;
  if (map.snapshot_damaged) remarks.emplace_back("the snapshot is damaged and was not used");
  if (map.log_damaged) remarks.emplace_back("the log is none and was not used");
  if (map.skipped_bytes > 0) {
    remarks.push_back(std::to_string(map.skipped_bytes) + " bytes of the log are damaged and were skipped");
  }
  if (map.rejected > 0) remarks.push_back(std::to_string(map.rejected) + " entries are none and were left out");
  return remarks;
}

/// `base`: the path of both files without their suffixes.
Result<ErlangImport> read_one(const std::string& base, std::string collection) {
  const auto snapshot = read_if_there(base + std::string(replication::erlang_snapshot_suffix));
  if (!snapshot) return std::unexpected(snapshot.error());
  const auto log = read_if_there(base + std::string(replication::erlang_log_suffix));
  if (!log) return std::unexpected(log.error());
  ErlangImport import{std::move(collection), replication::read_erlang_map(*snapshot, *log), {}};
  import.remarks = remarks_on(import.map);
  return import;
}

bool is_of_reminders(const std::filesystem::path& file) {
  const auto suffix = file.extension();
  return file.stem() == replication::erlang_reminders_name &&
         (suffix == replication::erlang_snapshot_suffix || suffix == replication::erlang_log_suffix);
}

}  // namespace

Result<std::vector<ErlangImport>> read_erlang_directory(const std::filesystem::path& directory) {
  std::set<std::string> names;
  bool reminders = false;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory, error)) {
    reminders = reminders || is_of_reminders(file.path());
    if (auto name = replication::erlang_map_of_file(file.path().filename().string())) names.insert(std::move(*name));
  }
  if (error) return fail(Errc::io_error, "cannot read " + directory.string() + ": " + error.message());
  if (names.empty() && !reminders) {
    return fail(Errc::not_found, "there are no maps of an Erlang node in " + directory.string() + ": files named " +
                                     std::string(replication::erlang_map_prefix) + "NAME, or " +
                                     std::string(replication::erlang_reminders_name));
  }
  std::vector<ErlangImport> maps;
  for (const auto& name : names) {
    const auto map = Atom::make(name);
    if (!map) return std::unexpected(map.error());
    const std::string base = (directory / (std::string(replication::erlang_map_prefix) + name)).string();
    auto import = read_one(base, services::map_collection(*map));
    if (!import) return std::unexpected(import.error());
    maps.push_back(std::move(*import));
  }
  if (reminders) {
    const std::string base = (directory / replication::erlang_reminders_name).string();
    auto import = read_one(base, std::string(services::reminder_collection));
    if (!import) return std::unexpected(import.error());
    maps.push_back(std::move(*import));
  }
  return maps;
}

}  // namespace barrel_p2p::command
