#include "store_command.hpp"

#include <xxhash.h>

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <filesystem>
#include <functional>
#include <istream>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "complaint.hpp"
#include "erlang_import.hpp"
#include "hex.hpp"
#include "json.hpp"
#include "replication/store.hpp"
#include "services/services.hpp"

namespace barrel_p2p::command {
namespace {

using replication::DurableStore;
using replication::WriteBatch;

constexpr std::string_view header = "barrel_p2p store export 1";
/// Records are written in batches of about this size: few transactions, little memory.
constexpr std::size_t batch_bytes = 4UL * 1024 * 1024;

/// Lines that were written or read, and a number that depends on all of them.
class LineSum {
 public:
  void add(std::string_view line) noexcept {
    sum_ = XXH3_64bits_withSeed(line.data(), line.size(), sum_);
    ++count_;
  }
  [[nodiscard]] std::string end_line() const { return "end " + std::to_string(count_) + " " + std::to_string(sum_); }

 private:
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
};

/// The text up to the next blank, which is taken away.
std::string_view take_word(std::string_view& line) {
  const auto end = std::min(line.find(' '), line.size());
  const auto word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

/// Adds what a line of an export says.
Result<void> add_line(std::string_view line, WriteBatch& batch) {
  const auto kind = take_word(line);
  const auto first = term_of_hex(take_word(line));
  if (!first) return std::unexpected(first.error());
  try {
    if (kind == "value") {
      batch.set(line, *first);
      return {};
    }
    if (kind != "record") return fail(Errc::invalid_argument, "neither record nor value");
    const auto term = term_of_hex(take_word(line));
    if (!term) return std::unexpected(term.error());
    const auto entry = replication::entry_of(*term);
    if (!entry) return std::unexpected(entry.error());
    batch.put(line, *first, *entry);
  } catch (const std::invalid_argument& error) {
    return fail(Errc::invalid_argument, error.what());
  }
  return {};
}

/// Fills a store in batches.
class Importer {
 public:
  explicit Importer(DurableStore& store) : store_(store) {}

  Result<void> add(const std::function<Result<void>(WriteBatch&)>& change) {
    ++count_;
    if (auto changed = change(batch_); !changed) return changed;
    return batch_.bytes() < batch_bytes ? Result<void>() : write();
  }
  Result<void> write() {
    Result<void> result;
    auto taken = store_.write(std::exchange(batch_, {}), [&](const Result<void>& done) { result = done; });
    store_.flush();
    return taken ? result : taken;
  }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

 private:
  DurableStore& store_;
  WriteBatch batch_;
  std::uint64_t count_ = 0;
};

class Store {
 public:
  Store(const StoreCommand& command, std::istream& input, std::ostream& output)
      : command_(command), input_(input), output_(output) {}

  Result<void> run() {
    switch (command_.operation) {
      case StoreOperation::verify: return verify();
      case StoreOperation::dump: return dump();
      case StoreOperation::export_records: return export_records();
      case StoreOperation::import_records: return import_records();
    }
    return {};
  }

 private:
  using OnRecord = std::function<void(std::string_view collection, const Term& key, const replication::Entry& entry)>;
  using OnValue = std::function<void(std::string_view name, const Term& value)>;

  Result<std::unique_ptr<DurableStore>> open_to_read() const {
    // The directory that a node has as its data directory, or a copy of it, is as good as that of the store in it.
    const auto& given = command_.directory;
    const bool of_node =
        !std::filesystem::exists(given / "store.db") && std::filesystem::exists(given / "store/store.db");
    // The mark of the clock may have risen in a file of its own alone, when the disk was full.
    auto store = DurableStore::open({.directory = of_node ? given / "store" : given,
                                     .access = replication::StoreConfig::Access::read_only,
                                     .mark = std::string(services::clock_mark_name)});
    if (store || store.error() != Errc::not_found) return store;
    return fail(Errc::not_found, store.error().context() +
                                     ", nor in its directory store: give a data directory, or a directory with a "
                                     "store.db");
  }
  Result<void> written() const {
    output_.flush();
    if (!output_) return fail(Errc::io_error, "cannot write the output");
    return {};
  }

  /// `begin`: once there is something to read.
  Result<void> visit(
      const OnRecord& on_record, const OnValue& on_value, const std::function<void()>& begin = [] {}) const {
    const auto store = open_to_read();
    if (!store) return std::unexpected(store.error());
    begin();
    for (const auto& collection : (*store)->collections()) {
      if (collection.name.empty()) continue;
      auto loaded = (*store)->load(
          collection.name, [&](Term&& key, replication::Entry&& entry) { on_record(collection.name, key, entry); });
      if (!loaded) return std::unexpected(loaded.error());
    }
    auto loaded = (*store)->load_values([&](std::string_view name, Term&& value) { on_value(name, value); });
    if (!loaded) return std::unexpected(loaded.error());
    return written();
  }

  Result<void> verify() const {
    const auto store = open_to_read();
    if (!store) return std::unexpected(store.error());
    if (command_.json) {
      std::vector<Json> collections;
      for (const auto& [name, records] : (*store)->collections()) {
        collections.push_back(JsonObject().set("name", name).set("records", records));
      }
      output_ << JsonObject().set("ok", true).set("collections", collections).text() << '\n';
      return written();
    }
    for (const auto& [name, records] : (*store)->collections()) {
      output_ << (name.empty() ? "(named values)" : name) << ' ' << records << '\n';
    }
    output_ << "ok\n";
    return written();
  }

  Result<void> dump() const {
    if (command_.json) return dump_json();
    return visit(
        [&](std::string_view collection, const Term& key, const replication::Entry& entry) {
          output_ << to_text(Term::tuple({Atom("record"), collection, key, replication::to_term(entry)})) << ".\n";
        },
        [&](std::string_view name, const Term& value) {
          output_ << to_text(Term::tuple({Atom("value"), name, value})) << ".\n";
        });
  }

  Result<void> dump_json() const {
    return visit(
        [&](std::string_view collection, const Term& key, const replication::Entry& entry) {
          output_ << JsonObject()
                         .set("collection", collection)
                         .set("key", to_text(key))
                         .set("entry", to_text(replication::to_term(entry)))
                         .text()
                  << '\n';
        },
        [&](std::string_view name, const Term& value) {
          output_ << JsonObject().set("name", name).set("value", to_text(value)).text() << '\n';
        });
  }

  Result<void> export_records() const {
    LineSum sum;
    const auto print = [&](const std::string& line) {
      sum.add(line);
      output_ << line << '\n';
    };
    auto visited = visit(
        [&](std::string_view collection, const Term& key, const replication::Entry& entry) {
          print("record " + to_hex(encode_term(key)) + " " + to_hex(encode_term(replication::to_term(entry))) + " " +
                std::string(collection));
        },
        [&](std::string_view name, const Term& value) {
          print("value " + to_hex(encode_term(value)) + " " + std::string(name));
        },
        [&] { output_ << header << '\n'; });
    if (!visited) return visited;
    output_ << sum.end_line() << '\n';
    return written();
  }

  /// Hands out the lines of a whole export. Error: `corrupt`, with the line.
  Result<void> read_export(const std::function<Result<void>(std::string_view)>& on_line) {
    std::string line;
    std::uint64_t number = 1;
    LineSum sum;
    if (!std::getline(input_, line) || line != header) {
      return fail(Errc::corrupt, "the first line is not \"" + std::string(header) + "\"");
    }
    while (std::getline(input_, line)) {
      ++number;
      if (line.starts_with("end ")) {
        if (line != sum.end_line()) return fail(Errc::corrupt, "lines of the export were changed or are missing");
        return {};
      }
      sum.add(line);
      if (auto taken = on_line(line); !taken) {
        return fail(Errc::corrupt, "line " + std::to_string(number) + ": " + taken.error().message());
      }
    }
    return fail(Errc::corrupt, "the export is cut off after line " + std::to_string(number));
  }

  Result<void> import_records() {
    if (!command_.erlang_directory.empty()) return import_erlang();
    // The first pass only checks, so that nothing or everything is imported.
    const auto start = input_.tellg();
    auto checked = read_export([](std::string_view line) {
      WriteBatch batch;
      return add_line(line, batch);
    });
    if (!checked) return checked;
    input_.clear();
    input_.seekg(start);
    return import_from([&](Importer& importer) {
      return read_export([&](std::string_view line) {
        return importer.add([&](WriteBatch& batch) { return add_line(line, batch); });
      });
    });
  }

  Result<void> import_erlang() const {
    const auto maps = read_erlang_directory(command_.erlang_directory);
    if (!maps) return std::unexpected(maps.error());
    return import_from([&](Importer& importer) -> Result<void> {
      for (const auto& [collection, map, remarks] : *maps) {
        if (!command_.json) output_ << collection << ' ' << map.entries.size() << '\n';
        for (const auto& remark : remarks) {
          if (!command_.json) output_ << collection << ": " << remark << '\n';
        }
        for (const auto& record : map.entries.entries()) {
          auto added = importer.add([&](WriteBatch& batch) -> Result<void> {
            batch.put(collection, record.first, record.second);
            return {};
          });
          if (!added) return added;
        }
      }
      return {};
    });
  }

  /// `produce` fills the store, which must hold nothing.
  Result<void> import_from(const std::function<Result<void>(Importer&)>& produce) const {
    const auto opened = DurableStore::open({.directory = command_.directory});
    if (!opened) return std::unexpected(opened.error());
    DurableStore& store = **opened;
    if (store.damage()) return std::unexpected(store.damage()->error(command_.directory));
    for (const auto& [name, records] : store.collections()) {
      if (records == 0) continue;
      return fail(Errc::already_registered,
                  "there are records in " + command_.directory.string() + ": import into a new directory");
    }
    Importer importer(store);
    if (auto produced = produce(importer); !produced) return produced;
    if (auto last = importer.write(); !last) return last;
    if (command_.json) {
      output_ << JsonObject().set("imported", importer.count()).text() << '\n';
    } else {
      output_ << "imported " << importer.count() << " records\n";
    }
    return written();
  }

  const StoreCommand& command_;
  std::istream& input_;
  std::ostream& output_;
};

}  // namespace

int run_store_command(const StoreCommand& command, std::istream& input, std::ostream& output, std::ostream& errors) {
  const auto done = Store(command, input, output).run();
  if (done) return exit_ok;
  return Complaints{errors, "store", command.json}.tell(exit_failed, done.error().message());
}

}  // namespace barrel_p2p::command
