// The files of a durable store, damaged in any way, and records in them of any bytes with the right checksums: no
// crash, no endless reading; what cannot be used is salvaged, the store then takes writes and is whole when it is
// opened again; and the services begin with what was read.
//
//   input: with a log(1), then changes of kind(1) where(2, of 16 bits of the file) and what the kind takes
//   kind:  bit 7 in the log instead of the database; the others modulo 8:
//          0 sets a byte(1)  1 adds to a byte(1)  2 bytes, a piece of length(2)  3 the file ends here
//          4 a page of zeros  5 a page is another one: which(1)  6 the checksums of the log are made right
//          7 a record: collection(1) key entry, pieces of length(2)
#include "replication/store.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "input.hpp"
#include "scratch.hpp"
#include "services/services.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::replication;
using namespace barrel_p2p::fuzz;

constexpr std::size_t page = 4096;
constexpr std::size_t log_head = 32;
constexpr std::size_t frame_head = 24;
const std::array<std::string, 6> collections{
    "map:t", std::string(services::reminder_collection), std::string(services::leader_fences_collection), "", ".",
    "other"};

struct Files {
  Bytes database;
  Bytes log;
};

Entry entry(Term value, WallMilliseconds wall) { return Entry::value(std::move(value), {{wall, 0}, Atom("own@h")}); }

Files read_files(const Scratch& scratch) { return {scratch.read("store.db"), scratch.read("store.db-wal")}; }

/// Some records, one of them over several pages; with a log that holds the later ones, and without.
std::array<Files, 2> make_good() {
  const Scratch scratch("good-store");
  constexpr int records = 24;
  constexpr WallMilliseconds wall = 1'700'000'000'000;
  std::array<Files, 2> good;
  auto store = DurableStore::open({.directory = scratch.path()});
  require(store.has_value());
  for (int number = 0; number < records; ++number) {
    WriteBatch batch;
    batch.put(collections[static_cast<std::size_t>(number) % 3], Term(number), entry(Term("value"), wall + number));
    if (number == records / 2) batch.put(collections[0], Term("long"), entry(Term(std::string(3 * page, 'x')), wall));
    if (number == records - 2) batch.set(services::clock_mark_name, Term(wall));
    if (number == records - 1) batch.erase(collections[1], Term(1));
    require((*store)->write(std::move(batch)).has_value());
    (*store)->flush();
  }
  good[1] = read_files(scratch);
  store->reset();
  good[0] = read_files(scratch);
  require(!good[0].database.empty() && good[1].log.size() > log_head);
  return good;
}

std::uint32_t word_at(ByteView bytes, std::size_t at) {
  return std::uint32_t{bytes[at]} << 24U | std::uint32_t{bytes[at + 1]} << 16U | std::uint32_t{bytes[at + 2]} << 8U |
         bytes[at + 3];
}
void put_word(Bytes& bytes, std::size_t at, std::uint32_t word) {
  for (std::size_t index = 0; index < 4; ++index)
    bytes[at + index] = static_cast<std::uint8_t>(word >> (24 - 8 * index));
}

/// As SQLite's file format has it: sums over little-endian words here.
struct Sum {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  void add(ByteView bytes) {
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      first += __builtin_bswap32(word_at(bytes, at)) + second;
      second += __builtin_bswap32(word_at(bytes, at + 4)) + first;
    }
  }
};

void mend_log(Bytes& log) {
  if (log.size() < log_head) return;
  constexpr std::uint32_t little_endian_magic = 0x377f0682;
  put_word(log, 0, little_endian_magic);
  Sum sum;
  sum.add(ByteView(log).first(24));
  put_word(log, 24, sum.first);
  put_word(log, 28, sum.second);
  for (std::size_t at = log_head; at + frame_head + page <= log.size(); at += frame_head + page) {
    std::copy_n(log.begin() + 16, 8, log.begin() + static_cast<std::ptrdiff_t>(at) + 8);
    sum.add(ByteView(log).subspan(at, 8));
    sum.add(ByteView(log).subspan(at + frame_head, page));
    put_word(log, at + 16, sum.first);
    put_word(log, at + 20, sum.second);
  }
}

void copy_page(Bytes& file, std::size_t to, std::size_t from) {
  const std::size_t count = file.size() / page;
  if (count == 0) return;
  const auto begin = file.begin() + static_cast<std::ptrdiff_t>(from % count * page);
  const Bytes source(begin, begin + page);
  std::ranges::copy(source, file.begin() + static_cast<std::ptrdiff_t>(to % count * page));
}

/// Written by SQLite itself into what is there by now.
void put_record(const Scratch& scratch, Files& files, const std::string& collection, ByteView key, ByteView content) {
  scratch.write("store.db", files.database);
  auto database = sqlite::Database::open(scratch.path() / "store.db");
  if (!database || !store::configure(*database)) return;
  auto table = store::RecordTable::open(*database);
  if (!table || !table->put_if_newer({collection, key, content, 1'000'000})) return;
  if (!store::renew_totals(*database)) return;
  {
    const auto closed = std::move(*database);
  }
  files.database = scratch.read("store.db");
}

void change(Input& input, const Scratch& scratch, Files& files) {
  const auto kind = input.byte();
  Bytes& file = (kind & 128U) != 0 ? files.log : files.database;
  const std::size_t where = file.empty() ? 0 : std::size_t{input.word()} % file.size();
  if (kind % 8U == 7) {
    const auto& collection = collections[input.byte() % collections.size()];
    const ByteView key = input.piece();
    return put_record(scratch, files, collection, key, input.piece());
  }
  if (file.empty()) return;
  switch (kind % 8U) {
    case 0: file[where] = input.byte(); return;
    case 1: file[where] = static_cast<std::uint8_t>(file[where] + input.byte()); return;
    case 2: {
      const auto bytes = input.piece();
      std::copy_n(bytes.begin(), std::min(bytes.size(), file.size() - where),
                  file.begin() + static_cast<std::ptrdiff_t>(where));
      return;
    }
    case 3: file.resize(where); return;
    case 4:
      std::fill_n(file.begin() + static_cast<std::ptrdiff_t>(where), std::min(page, file.size() - where), 0);
      return;
    case 5: return copy_page(file, where, input.byte());
    default: return mend_log(files.log);
  }
}

/// What a node does with a store when it starts.
void begin_services(const DurableStore& store) {
  services::ServicesConfig config;
  config.own = Atom("own@h");
  config.seed = 1;
  if (const auto mark = store.value(services::clock_mark_name)) config.clock.start = mark->as_int64().value_or(0);
  if (auto known = store.value(services::known_members_name)) config.members.known = std::move(*known);
  (void)store.load(services::leader_fences_collection,
                   [&](Term&& led, Entry&& fence) { config.fences.emplace_back(std::move(led), std::move(fence)); });
  const services::Now now{MonotonicTime(std::chrono::hours(1)), 1'700'000'000'000};
  services::Services machine(config, now);
  services::Effects effects;
  (void)store.load(services::reminder_collection,
                   [&](Term&& key, Entry&& stored) { machine.reminders().restore(key, std::move(stored)); });
  machine.reminders().start(now);
  services::Maps::Stored content;
  (void)store.load(collections[0],
                   [&](Term&& key, Entry&& stored) { content.emplace_back(std::move(key), std::move(stored)); });
  (void)machine.maps().open(Atom("t"), {}, std::move(content), now, effects);
  machine.settle(effects);
}

void check(const Scratch& scratch) {
  const auto is_expected = [](const Error& error) {
    require(!error.context().empty());
    require(error == Errc::corrupt || error == Errc::invalid_config);
  };
  if (const auto looked = DurableStore::open({scratch.path(), StoreConfig::Access::read_only}); !looked) {
    is_expected(looked.error());
  }
  {
    const auto store = DurableStore::open({.directory = scratch.path()});
    if (!store) return is_expected(store.error());
    if (const auto& damage = (*store)->damage()) require(!damage->error(scratch.path()).context().empty());
    for (const auto& collection : (*store)->collections()) {
      if (!collection.name.empty()) (void)(*store)->load(collection.name, [](Term&& /*key*/, Entry&& /*entry*/) {});
    }
    (void)(*store)->load_values([](std::string_view /*name*/, Term&& /*value*/) {});
    begin_services(**store);
    WriteBatch batch;
    batch.put(collections[0], Term("new"), entry(Term("value"), 1));
    bool written = false;
    require(
        (*store)->write(std::move(batch), [&](const Result<void>& done) { written = done.has_value(); }).has_value());
    (*store)->flush();
    require(written);
  }
  const auto again = DurableStore::open({scratch.path(), StoreConfig::Access::read_only});
  require(again.has_value() && (*again)->size(collections[0]) > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<Files, 2> good = make_good();
  static const Scratch scratch("store");
  constexpr int changes_max = 32;
  Input input(data, size);
  scratch.empty();
  Files files = good[input.byte() & 1U];
  for (int count = 0; count < changes_max && !input.empty(); ++count) change(input, scratch, files);
  scratch.write("store.db", files.database);
  if (!files.log.empty()) scratch.write("store.db-wal", files.log);
  check(scratch);
  return 0;
}
