// Durable stores that lost bytes, were killed, or come from another version.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <random>
#include <set>
#include <sstream>

#include "base/clock.hpp"
#include "replication/ormap_state.hpp"
#include "replication/store_salvage.hpp"
#include "replication/store_support.hpp"

namespace barrel_p2p::replication {
namespace {

using namespace barrel_p2p::literals;

constexpr int records = 300;

/// Keys next to each other lie on pages far from each other.
Term spread(int key) { return Term(std::to_string((key * 7919) % 100'003)); }
Term value_for(int key) { return Term::binary(Bytes(40 + static_cast<std::size_t>((key * 37) % 200), 'v')); }

/// A closed store with `records` entries in each of two maps, one that needs overflow pages, and a value.
void make_store(const std::filesystem::path& directory) {
  const auto store = open_store(directory);
  WriteBatch batch;
  for (int key = 0; key < records; ++key) {
    batch.put("map:a", key, entry_with(value_for(key)));
    batch.put("map:b", Term(std::to_string(key)), entry_with(value_for(key)));
  }
  batch.put("map:a", "large", entry_with(std::string(20'000, 'x')));
  batch.set("clock", 77);
  ASSERT_TRUE(write_now(*store, std::move(batch)).has_value());
}

/// Everything that is there is as it was written. Returns how much that is.
std::uint64_t check_what_is_left(const DurableStore& store) {
  std::uint64_t count = 0;
  for (const auto& [key, value] : values_of(store, "map:a")) {
    EXPECT_EQ(value,
              key == Term("large") ? Term(std::string(20'000, 'x')) : value_for(static_cast<int>(*key.as_int64())));
    ++count;
  }
  for (const auto& [key, value] : values_of(store, "map:b")) {
    EXPECT_EQ(value, value_for(std::stoi(*key.as_string())));
    ++count;
  }
  if (const auto clock = store.value("clock")) {
    EXPECT_EQ(*clock, 77);
    ++count;
  }
  return count;
}
constexpr std::uint64_t everything = (2 * records) + 2;

/// Opens what may be damaged: nothing wrong is let through, and what is missing is told. Returns whether damage was
/// found.
bool check_damaged(const std::filesystem::path& directory) {
  const auto before = read_bytes(directory / "store.db");
  auto opened = try_open(directory);
  if (!opened) {
    ADD_FAILURE() << opened.error().message();
    return true;
  }
  const auto& store = *opened;
  const auto left = check_what_is_left(*store);
  if (!store->damage()) {
    EXPECT_EQ(left, everything);
    return false;
  }
  const auto& damage = *store->damage();
  EXPECT_EQ(damage.kept, left);
  std::uint64_t lost = 0;
  bool known = true;
  for (const auto& loss : damage.losses) {
    known = known && loss.lost.has_value();
    lost += loss.lost.value_or(0);
  }
  if (left < everything) {
    EXPECT_TRUE(!known || lost == everything - left || left == 0) << damage.error(directory).message();
  }
  EXPECT_EQ(read_bytes(damage.kept_aside), before) << "the damaged file was changed";
  EXPECT_TRUE(put_now(*store, "map:a", 0, value_for(0)).has_value());
  return true;
}

/// A copy of a good store for each case.
class Copies {
 public:
  Copies() {
    make_store(scratch_ / "good");
    bytes = read_bytes(scratch_ / "good/store.db");
  }
  std::filesystem::path make(ByteView content) {
    if (!last_.empty()) std::filesystem::remove_all(last_);
    last_ = scratch_ / std::to_string(++number_);
    std::filesystem::create_directories(last_);
    write_bytes(last_ / "store.db", content);
    return last_;
  }
  Bytes bytes;

 private:
  Scratch scratch_;
  std::filesystem::path last_;
  int number_ = 0;
};

TEST(StoreDamage, a_flipped_bit_is_noticed_or_does_not_matter) {
  Copies copies;
  int noticed = 0;
  int cases = 0;
  for (std::size_t at = 0; at < copies.bytes.size(); at += at < 200 ? 1 : 251) {
    Bytes damaged = copies.bytes;
    damaged[at] ^= static_cast<std::uint8_t>(1U << (at % 8));
    const auto directory = copies.make(damaged);
    auto opened = try_read(directory);
    ++cases;
    if (opened) {
      EXPECT_EQ(check_what_is_left(**opened), everything) << "byte " << at;
    } else {
      ++noticed;
      EXPECT_EQ(opened.error(), Errc::corrupt) << "byte " << at << ": " << opened.error().message();
      EXPECT_NE(opened.error().message().find("Lost: "), std::string::npos) << opened.error().message();
    }
    EXPECT_EQ(read_bytes(directory / "store.db"), damaged) << "byte " << at;
  }
  EXPECT_GT(noticed, cases / 2);
}

TEST(StoreDamage, after_a_flipped_bit_all_but_a_few_records_are_salvaged) {
  Copies copies;
  for (std::size_t at = 3; at < copies.bytes.size(); at += copies.bytes.size() / 50) {
    Bytes damaged = copies.bytes;
    damaged[at] ^= 0x20U;
    const auto directory = copies.make(damaged);
    if (!check_damaged(directory)) continue;
    const auto store = open_store(directory);
    EXPECT_FALSE(store->damage().has_value()) << "the salvaged store is good";
    // A page holds some 30 records; the one with the numbers of cells may lose them all.
    EXPECT_GT(check_what_is_left(*store), everything - 60) << "byte " << at;
  }
}

// SQLite says that there is no memory for it, and a program that believes that ends.
TEST(StoreDamage, a_record_that_claims_to_be_larger_than_memory_costs_itself_only) {
  Copies copies;
  constexpr std::uint8_t leaf = 10;  // of the only table, whose rows are in its index
  // The length of the row, and that of its head, which goes on in overflow pages.
  constexpr std::array<std::uint8_t, 7> four_gigabytes{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0xFC, 0x1A};
  int claims = 0;
  for (std::size_t page = store::page_size; page < copies.bytes.size(); page += store::page_size) {
    if (copies.bytes[page] != leaf) continue;
    Bytes damaged = copies.bytes;
    const std::size_t cell = std::size_t{damaged[page + 8]} << 8U | damaged[page + 9];
    std::ranges::copy(four_gigabytes, damaged.begin() + static_cast<std::ptrdiff_t>(page + cell));
    const auto directory = copies.make(damaged);
    const auto looked = try_read(directory);
    ASSERT_FALSE(looked.has_value());
    EXPECT_EQ(looked.error(), Errc::corrupt) << looked.error().message();
    if (looked.error().message().find("claims to be larger") != std::string::npos) ++claims;
    EXPECT_TRUE(check_damaged(directory));
    EXPECT_EQ(check_what_is_left(*open_store(directory)), everything - 1);
  }
  EXPECT_GT(claims, 0);
}

TEST(StoreDamage, a_page_that_is_torn_or_zero_costs_its_records_only) {
  Copies copies;
  for (std::size_t page = 0; page < copies.bytes.size() / store::page_size; page += 3) {
    for (const std::size_t from : {std::size_t{0}, std::size_t{512}}) {
      Bytes damaged = copies.bytes;
      std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>((page * store::page_size) + from),
                  store::page_size - from, std::uint8_t{0});
      const auto directory = copies.make(damaged);
      EXPECT_TRUE(check_damaged(directory)) << "page " << page;
      EXPECT_GT(check_what_is_left(*open_store(directory)), everything - 100) << "page " << page;
    }
  }
}

TEST(StoreDamage, what_a_damaged_page_left_fills_a_map_with_all_its_digests) {
  Copies copies;
  for (std::size_t page = 2; page < copies.bytes.size() / store::page_size; page += 5) {
    Bytes damaged = copies.bytes;
    std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(page * store::page_size), store::page_size,
                std::uint8_t{0xFF});
    const auto store = open_store(copies.make(damaged));
    ASSERT_TRUE(store->damage().has_value()) << "page " << page;
    HybridClock clock;
    OrMapState restored({.own = Atom("a@h"), .check = {}, .offered = {}}, clock, [] { return wall_now(); }, {});
    restored.reserve(store->size("map:a"));
    const auto loaded =
        store->load("map:a", [&](const Term& key, Entry&& entry) { restored.restore(key, std::move(entry)); });
    restored.settle();
    ASSERT_TRUE(loaded.has_value());
    EXPECT_EQ(*loaded, store->size("map:a"));
    EXPECT_EQ(restored.map().live_count(), *loaded);
    EXPECT_GT(*loaded, std::uint64_t{records} - 100);
    std::size_t seen = 0;
    restored.digests()->visit({}, [&](const Term& key) {
      ++seen;
      EXPECT_NE(restored.map().get(key), nullptr);
      return true;
    });
    EXPECT_EQ(seen, *loaded) << "page " << page;
  }
}

TEST(StoreDamage, a_truncated_file_is_noticed_at_every_length) {
  Copies copies;
  for (std::size_t length = 0; length < copies.bytes.size(); length += length < 4200 ? 700 : 3001) {
    const auto directory = copies.make(ByteView(copies.bytes).first(length));
    EXPECT_TRUE(check_damaged(directory)) << length << " bytes";
  }
}

TEST(StoreDamage, the_error_says_what_was_lost_what_is_left_and_how_it_comes_back) {
  Copies copies;
  const auto directory = copies.make(ByteView(copies.bytes).first(copies.bytes.size() / 2));
  const auto store = open_store(directory);
  ASSERT_TRUE(store->damage().has_value());
  const auto text = store->damage()->error(directory).message();
  for (const char* part : {"corrupt: ", "store.db is damaged", "Lost: ", "map:", "Usable: ", "store.db.damaged-1",
                           "comes back by itself when this node synchronises"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
}

TEST(StoreDamage, nothing_that_was_kept_aside_is_overwritten) {
  Copies copies;
  const auto directory = copies.make(ByteView(copies.bytes).first(9000));
  ASSERT_TRUE(open_store(directory)->damage().has_value());
  const auto first = read_bytes(directory / "store.db.damaged-1");
  write_bytes(directory / "store.db", as_bytes("nonsense"));
  const auto store = open_store(directory);
  ASSERT_TRUE(store->damage().has_value());
  EXPECT_EQ(store->damage()->kept, 0U);
  EXPECT_NE(store->damage()->error(directory).message().find("it is not known what it held"), std::string::npos);
  EXPECT_EQ(read_bytes(directory / "store.db.damaged-1"), first);
  EXPECT_EQ(as_text(read_bytes(directory / "store.db.damaged-2")), "nonsense");
}

TEST(StoreDamage, an_interrupted_replacement_is_finished) {
  Copies copies;
  const auto good = copies.bytes;
  const auto directory = copies.make(as_bytes("damaged"));
  write_bytes(directory / "store.db-wal", as_bytes("its log"));
  write_bytes(directory / "store.db.salvaged", good);
  EXPECT_EQ(check_what_is_left(*open_store(directory)), everything);
  EXPECT_EQ(as_text(read_bytes(directory / "store.db.damaged-1")), "damaged");
  EXPECT_EQ(as_text(read_bytes(directory / "store.db.damaged-1-wal")), "its log");

  // The database is aside already, its log is not.
  std::filesystem::rename(directory / "store.db", directory / "store.db.salvaged");
  write_bytes(directory / "store.db-wal", as_bytes("second log"));
  write_bytes(directory / "store.db.damaged-2", as_bytes("second"));
  EXPECT_EQ(check_what_is_left(*open_store(directory)), everything);
  EXPECT_EQ(as_text(read_bytes(directory / "store.db.damaged-2-wal")), "second log");

  // An attempt that was never complete.
  write_bytes(directory / "store.db.new", as_bytes("half"));
  EXPECT_EQ(check_what_is_left(*open_store(directory)), everything);
}

// The write-ahead log. The store is open, so its log holds what was written last.

struct LogCopy {
  Bytes database;
  Bytes log;
};

/// Commits puts of 0, 1, 2, ... one by one.
LogCopy copy_with_log(const Scratch& scratch, int puts) {
  const auto store = open_store(scratch / "good");
  for (int key = 0; key < puts; ++key) EXPECT_TRUE(put_now(*store, "m", key, value_for(key)).has_value());
  return {read_bytes(scratch / "good/store.db"), read_bytes(scratch / "good/store.db-wal")};
}

TEST(StoreDamage, a_torn_end_of_the_log_takes_the_last_writes_only) {
  const Scratch scratch;
  constexpr int puts = 40;
  const auto [database, log] = copy_with_log(scratch, puts);
  std::size_t before = 0;
  for (std::size_t length = 0; length <= log.size(); length += 5003) {
    const auto directory = scratch / ("cut" + std::to_string(length));
    std::filesystem::create_directories(directory);
    write_bytes(directory / "store.db", database);
    write_bytes(directory / "store.db-wal", ByteView(log).first(length));
    const auto store = open_store(directory);
    EXPECT_FALSE(store->damage().has_value()) << length;
    const auto values = values_of(*store, "m");
    EXPECT_GE(values.size(), before);
    before = values.size();
    for (std::size_t key = 0; key < values.size(); ++key) {
      EXPECT_TRUE(values.contains(key)) << "not a beginning of what was written";
    }
  }
  EXPECT_GE(before, puts - 1U);
}

TEST(StoreDamage, a_flipped_bit_in_the_log_is_noticed) {
  const Scratch scratch;
  constexpr int puts = 40;
  const auto [database, log] = copy_with_log(scratch, puts);
  constexpr std::size_t frame = store::page_size + 24;
  // What ends with the last transaction may be a torn end.
  for (std::size_t at = 0; at < log.size() - (3 * frame); at += at < 60 ? 1 : 9973) {
    const auto directory = scratch / ("flip" + std::to_string(at));
    std::filesystem::create_directories(directory);
    Bytes damaged = log;
    damaged[at] ^= 4U;
    write_bytes(directory / "store.db", database);
    write_bytes(directory / "store.db-wal", damaged);
    const auto store = open_store(directory);
    const auto values = values_of(*store, "m");
    EXPECT_TRUE(store->damage().has_value() || values.size() == puts) << at;
    for (const auto& [key, value] : values) EXPECT_EQ(value, value_for(static_cast<int>(*key.as_int64())));
    EXPECT_GE(values.size(), puts - 5U) << at << ": later images of the page have what the damaged one had";
    if (store->damage()) {
      EXPECT_EQ(read_bytes(directory / "store.db.damaged-1-wal"), damaged);
    }
  }
}

// A loss of power: of the transaction that was under way any blocks may be on disk.

constexpr std::size_t log_head = 32;
constexpr std::size_t frame_head = 24;
constexpr std::size_t frame_size = store::page_size + frame_head;

std::size_t frames_of(ByteView log) { return (log.size() - log_head) / frame_size; }
std::filesystem::path make_files(const Scratch& scratch, const std::string& name, ByteView database, ByteView log) {
  auto directory = scratch / name;
  std::filesystem::create_directories(directory);
  write_bytes(directory / "store.db", database);
  write_bytes(directory / "store.db-wal", log);
  return directory;
}
WriteBatch batch_of(int first, int count) {
  WriteBatch batch;
  for (int key = first; key < first + count; ++key) batch.put("m", spread(key), entry_with(value_for(key)));
  return batch;
}
/// All of the first `count` keys, and nothing wrong. Others may be there.
void expect_all_of(const DurableStore& store, int count) {
  EXPECT_FALSE(store.damage().has_value());
  const auto values = values_of(store, "m");
  for (int key = 0; key < count; ++key) {
    const auto at = values.find(spread(key));
    ASSERT_NE(at, values.end()) << key << " was acknowledged";
    EXPECT_EQ(at->second, value_for(key));
  }
}

struct CutOff {
  LogCopy files;
  std::size_t acknowledged = 0;  ///< Frames before the last transaction.
};

/// Single puts, at least `puts` and until `enough` says so of the frames in the log, and then thirty at once.
CutOff copy_with_a_large_end(const Scratch& scratch, int& puts, const std::function<bool(std::size_t)>& enough = {}) {
  const auto store = open_store(scratch / "good");
  const auto log = scratch / "good/store.db-wal";
  CutOff made;
  for (int key = 0; key < puts; ++key) {
    EXPECT_TRUE(write_now(*store, batch_of(key, 1)).has_value());
    made.acknowledged = (std::filesystem::file_size(log) - log_head) / frame_size;
    if (key + 1 == puts && enough && !enough(made.acknowledged)) ++puts;
  }
  EXPECT_TRUE(write_now(*store, batch_of(puts, 30)).has_value());
  made.files = {read_bytes(scratch / "good/store.db"), read_bytes(log)};
  EXPECT_GT(frames_of(made.files.log), made.acknowledged + 6);
  return made;
}
std::ptrdiff_t place_of(std::size_t frame) { return static_cast<std::ptrdiff_t>(log_head + (frame * frame_size)); }

TEST(StoreDamage, a_last_transaction_of_which_the_disk_has_not_all_is_no_damage) {
  const Scratch scratch;
  int puts = 150;
  auto [copy, acknowledged] = copy_with_a_large_end(scratch, puts);
  const auto frames = frames_of(copy.log);
  const auto zero = [](Bytes& log, std::size_t frame, std::size_t from, std::size_t to) {
    const auto at = log.begin() + place_of(frame);
    std::fill(at + static_cast<std::ptrdiff_t>(from), at + static_cast<std::ptrdiff_t>(to), std::uint8_t{0});
  };
  struct Range {
    const char* name;
    std::size_t from;
    std::size_t to;
  };
  for (const auto& [name, from, to] :
       {Range{"all of it", 0, frame_size}, Range{"its head", 0, frame_head}, Range{"the salts", 8, frame_head},
        Range{"the page", frame_head, frame_size}, Range{"the end of it", frame_size / 2, frame_size}}) {
    for (std::size_t frame = acknowledged; frame < frames; ++frame) {
      SCOPED_TRACE(std::string(name) + " of frame " + std::to_string(frame - acknowledged));
      Bytes log = copy.log;
      zero(log, frame, from, to);
      const auto directory = make_files(scratch, "cut", copy.database, log);
      EXPECT_TRUE(try_read(directory).has_value());
      const auto store = open_store(directory);
      expect_all_of(*store, puts);
      EXPECT_EQ(values_of(*store, "m").size(), static_cast<std::size_t>(puts));
    }
  }
}

TEST(StoreDamage, a_frame_head_that_a_loss_of_power_joined_from_two_ends_no_transaction) {
  const Scratch scratch;
  int puts = 60;
  // In frame 41 of 64 the number and the mark of the end are the last of a sector, and the salts are in the next one.
  auto [copy, acknowledged] =
      copy_with_a_large_end(scratch, puts, [](std::size_t frames) { return frames % 64 > 35 && frames % 64 < 41; });
  const auto frame = acknowledged - (acknowledged % 64) + 41;
  ASSERT_EQ((static_cast<std::size_t>(place_of(frame)) + 8) % 512, 0U);
  copy.log[static_cast<std::size_t>(place_of(frame)) + 7] = 9;
  const auto store = open_store(make_files(scratch, "s", copy.database, copy.log));
  expect_all_of(*store, puts);
  EXPECT_EQ(values_of(*store, "m").size(), static_cast<std::size_t>(puts));
}

TEST(StoreDamage, a_flipped_bit_in_the_end_of_the_last_but_one_transaction_is_noticed) {
  const Scratch scratch;
  int puts = 60;
  const auto [copy, acknowledged] =
      copy_with_a_large_end(scratch, puts, [](std::size_t frames) { return frames % 64 != 42; });
  for (const std::size_t byte : {std::size_t{2}, std::size_t{18}, frame_head, frame_size / 2, frame_size - 1}) {
    Bytes log = copy.log;
    log[static_cast<std::size_t>(place_of(acknowledged - 1)) + byte] ^= 4U;
    const auto store = open_store(make_files(scratch, std::to_string(byte), copy.database, log));
    ASSERT_TRUE(store->damage().has_value()) << byte;
    EXPECT_NE(store->damage()->cause.find("broken before its end"), std::string::npos) << store->damage()->cause;
  }
}

TEST(StoreDamage, a_salvage_takes_nothing_of_a_last_transaction_that_is_not_whole) {
  const Scratch scratch;
  int puts = 150;
  auto [copy, acknowledged] = copy_with_a_large_end(scratch, puts);
  // Damage far before it, of which later frames have everything.
  copy.log[static_cast<std::size_t>(place_of(20)) + 1000] ^= 1U;
  for (std::size_t frame = acknowledged; frame + 1 < frames_of(copy.log); ++frame) {
    Bytes log = copy.log;
    std::fill_n(log.begin() + place_of(frame), frame_size, std::uint8_t{0});
    const auto store = open_store(make_files(scratch, std::to_string(frame), copy.database, log));
    ASSERT_TRUE(store->damage().has_value());
    const auto values = values_of(*store, "m");
    for (int key = 0; key < puts; ++key) EXPECT_TRUE(values.contains(spread(key))) << frame << ": " << key;
  }
}

LogCopy copy_with_puts(const Scratch& scratch, int puts) {
  const auto store = open_store(scratch / "good");
  for (int key = 0; key < puts; ++key) EXPECT_TRUE(write_now(*store, batch_of(key, 1)).has_value());
  return {read_bytes(scratch / "good/store.db"), read_bytes(scratch / "good/store.db-wal")};
}

/// Puts of one transaction, behind the log that is there and as SQLite does it: what was left behind its end stays.
void put_behind(const std::filesystem::path& directory, int first, int count) {
  auto database = sqlite::Database::open(directory / "store.db");
  ASSERT_TRUE(database && store::configure(*database) && store::configure_log(*database));
  const auto contents = store::inspect(*database);
  ASSERT_TRUE(contents.has_value());
  auto table = store::RecordTable::open(*database);
  ASSERT_TRUE(table && database->execute("BEGIN IMMEDIATE"));
  const auto found = contents->totals.find("m");
  auto totals = found == contents->totals.end() ? store::Totals{} : found->second;
  for (int key = first; key < first + count; ++key) {
    const auto name = encode_term(spread(key));
    const auto entry = encode_term(to_term(entry_with(value_for(key))));
    ASSERT_TRUE(table->put({"m", name, entry, contents->sequence + 1}, totals).has_value());
  }
  ASSERT_TRUE(table->put_totals("m", totals, contents->sequence + 1) && database->execute("COMMIT"));
}

TEST(StoreDamage, frames_of_a_transaction_that_failed_behind_the_end_are_no_damage) {
  const Scratch scratch;
  constexpr int puts = 150;
  const auto base = copy_with_puts(scratch, puts);
  const auto failed = make_files(scratch, "failed", base.database, base.log);
  put_behind(failed, puts + 100, 40);
  const auto failed_log = read_bytes(failed / "store.db-wal");
  for (const int count : {1, 4}) {
    const auto written = make_files(scratch, "written" + std::to_string(count), base.database, base.log);
    for (int key = puts; key < puts + count; ++key) put_behind(written, key, 1);
    Bytes log = read_bytes(written / "store.db-wal");
    ASSERT_GT(failed_log.size(), log.size());
    ASSERT_TRUE(std::equal(log.begin(), log.begin() + log_head, failed_log.begin())) << "one log, and its salts";
    log.insert(log.end(), failed_log.begin() + static_cast<std::ptrdiff_t>(log.size()), failed_log.end());
    const auto directory = make_files(scratch, "both" + std::to_string(count), base.database, log);
    EXPECT_TRUE(try_read(directory).has_value());
    const auto store = open_store(directory);
    expect_all_of(*store, puts + count);
    EXPECT_EQ(values_of(*store, "m").size(), static_cast<std::size_t>(puts + count));
  }
}

/// While it exists, an fsync of a write-ahead log fails when it is told to.
class FailingSync {
 public:
  FailingSync() {
    original = sqlite3_vfs_find(nullptr);
    vfs_ = *original;
    vfs_.zName = "failing-sync";
    vfs_.xOpen = open;
    EXPECT_EQ(sqlite3_vfs_register(&vfs_, 1), SQLITE_OK);
  }
  ~FailingSync() {
    failing = false;
    sqlite3_vfs_register(original, 1);
    sqlite3_vfs_unregister(&vfs_);
  }
  FailingSync(const FailingSync&) = delete;
  FailingSync& operator=(const FailingSync&) = delete;
  static void fail(bool on) { failing = on; }

 private:
  static int open(sqlite3_vfs* /*vfs*/, sqlite3_filename name, sqlite3_file* file, int flags, int* out) {
    const int code = original->xOpen(original, name, file, flags, out);
    if (code != SQLITE_OK || (flags & SQLITE_OPEN_WAL) == 0) return code;
    methods = *file->pMethods;
    sync = methods.xSync;
    methods.xSync = [](sqlite3_file* log, int how) { return failing ? SQLITE_IOERR_FSYNC : sync(log, how); };
    file->pMethods = &methods;
    return code;
  }
  static inline sqlite3_vfs* original = nullptr;
  static inline sqlite3_io_methods methods{};
  static inline int (*sync)(sqlite3_file*, int) = nullptr;
  static inline std::atomic<bool> failing = false;
  sqlite3_vfs vfs_{};
};

TEST(StoreDamage, what_failed_transactions_left_in_the_log_is_gone_before_the_next_one) {
  const Scratch scratch;
  const FailingSync syncs;
  constexpr int puts = 150;
  const auto store = open_store(scratch / "s");
  for (int key = 0; key < puts; ++key) ASSERT_TRUE(write_now(*store, batch_of(key, 1)).has_value());
  FailingSync::fail(true);
  EXPECT_EQ(write_now(*store, batch_of(puts + 100, 60)).error(), Errc::io_error);
  const auto left = read_bytes(scratch / "s/store.db-wal");
  EXPECT_EQ(write_now(*store, batch_of(puts + 200, 30)).error(), Errc::io_error);
  EXPECT_EQ(read_bytes(scratch / "s/store.db-wal"), left) << "one behind the other";
  FailingSync::fail(false);
  for (int key = puts; key < puts + 3; ++key) ASSERT_TRUE(write_now(*store, batch_of(key, 1)).has_value());
  const auto log = read_bytes(scratch / "s/store.db-wal");
  EXPECT_LT(log.size(), left.size());
  EXPECT_FALSE(std::equal(log.begin() + 16, log.begin() + 24, left.begin() + 16)) << "the salts are other ones";
  // Killed now.
  const auto killed = open_store(make_files(scratch, "killed", read_bytes(scratch / "s/store.db"), log));
  expect_all_of(*killed, puts + 3);
  EXPECT_EQ(values_of(*killed, "m").size(), puts + 3U);
}

TEST(StoreDamage, what_a_killed_process_left_in_the_log_is_gone_before_the_next_transaction) {
  const Scratch scratch;
  constexpr int puts = 150;
  const auto base = copy_with_puts(scratch, puts);
  const auto directory = make_files(scratch, "s", base.database, base.log);
  put_behind(directory, puts + 100, 40);
  Bytes log = read_bytes(directory / "store.db-wal");
  // The power went before the first frame of it was on disk.
  std::fill_n(log.begin() + static_cast<std::ptrdiff_t>(base.log.size()), frame_size, std::uint8_t{0});
  write_bytes(directory / "store.db-wal", log);
  const auto store = open_store(directory);
  expect_all_of(*store, puts);
  ASSERT_TRUE(write_now(*store, batch_of(puts, 1)).has_value());
  const auto acknowledged = read_bytes(directory / "store.db-wal").size();
  EXPECT_LT(acknowledged, base.log.size());
  ASSERT_TRUE(write_now(*store, batch_of(puts + 1, 8)).has_value());
  // And it goes again, in the same way.
  log = read_bytes(directory / "store.db-wal");
  ASSERT_GT(log.size(), acknowledged + frame_size);
  std::fill_n(log.begin() + static_cast<std::ptrdiff_t>(acknowledged), frame_size, std::uint8_t{0});
  const auto again = open_store(make_files(scratch, "again", read_bytes(directory / "store.db"), log));
  expect_all_of(*again, puts + 1);
  EXPECT_EQ(values_of(*again, "m").size(), puts + 1U);
}

/// Adds a frame to a log of this machine's byte order: a page of zeros that ends a transaction.
void add_frame(Bytes& log, std::uint32_t page) {
  const auto word = [&](std::size_t at) {
    return std::uint32_t{log[at]} << 24U | std::uint32_t{log[at + 1]} << 16U | std::uint32_t{log[at + 2]} << 8U |
           log[at + 3];
  };
  const auto put = [&](std::size_t at, std::uint32_t value) {
    for (std::size_t byte = 0; byte < 4; ++byte) log[at + byte] = static_cast<std::uint8_t>(value >> (24 - (8 * byte)));
  };
  constexpr std::size_t head = 24;
  constexpr std::size_t frame = store::page_size + head;
  const std::size_t last = log.size() - frame;
  const std::size_t at = log.size();
  std::uint32_t first = word(last + 16);
  std::uint32_t second = word(last + 20);
  log.resize(at + frame);
  put(at, page);
  put(at + 4, 1);
  std::copy_n(log.begin() + static_cast<std::ptrdiff_t>(last) + 8, 8,
              log.begin() + static_cast<std::ptrdiff_t>(at) + 8);
  const bool swapped = (word(0) & 1U) == 0;  // sums over little-endian words
  const auto add = [&](std::size_t from) {
    const auto left = word(from);
    const auto right = word(from + 4);
    first += (swapped ? __builtin_bswap32(left) : left) + second;
    second += (swapped ? __builtin_bswap32(right) : right) + first;
  };
  add(at);
  for (std::size_t byte = 0; byte < store::page_size; byte += 8) add(at + head + byte);
  put(at + 16, first);
  put(at + 20, second);
}

TEST(StoreDamage, a_page_number_out_of_all_proportion_costs_no_time) {
  const Scratch scratch;
  auto [database, log] = copy_with_log(scratch, 20);
  add_frame(log, UINT32_MAX);
  const auto directory = scratch / "s";
  std::filesystem::create_directories(directory);
  write_bytes(directory / "store.db-wal", log);
  const auto file = store::LogFile::read(directory / "store.db-wal");
  ASSERT_TRUE(file.has_value());
  ASSERT_TRUE(file->pages().contains(UINT32_MAX)) << "the frame counts";
  const auto store = open_store(directory);
  ASSERT_TRUE(store->damage().has_value());
  EXPECT_EQ(values_of(*store, "m").size(), 20U);
}

TEST(StoreDamage, a_log_of_a_version_that_there_is_not_is_damage_and_no_file_that_cannot_be_opened) {
  const Scratch scratch;
  const auto [database, good] = copy_with_log(scratch, 20);
  Bytes log = good;
  log[7] = static_cast<std::uint8_t>(log[7] + 1);
  // The sum over the header is right for it, and those of the frames, which begin with it, are not.
  const auto word = [&](std::size_t at) {
    return std::uint32_t{log[at]} << 24U | std::uint32_t{log[at + 1]} << 16U | std::uint32_t{log[at + 2]} << 8U |
           log[at + 3];
  };
  const bool swapped = (word(0) & 1U) == 0;
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  for (std::size_t at = 0; at < 24; at += 8) {
    first += (swapped ? __builtin_bswap32(word(at)) : word(at)) + second;
    second += (swapped ? __builtin_bswap32(word(at + 4)) : word(at + 4)) + first;
  }
  for (std::size_t byte = 0; byte < 4; ++byte) {
    log[24 + byte] = static_cast<std::uint8_t>(first >> (24 - 8 * byte));
    log[28 + byte] = static_cast<std::uint8_t>(second >> (24 - 8 * byte));
  }
  log.resize(100);  // the header, and no frame
  make_store(scratch / "s");
  write_bytes(scratch / "s/store.db-wal", log);
  {
    const auto store = open_store(scratch / "s");
    ASSERT_TRUE(store->damage().has_value());
    EXPECT_EQ(values_of(*store, "map:a").size(), records + 1U);
  }
  EXPECT_FALSE(open_store(scratch / "s")->damage()) << "what was damaged was put aside";
}

TEST(StoreDamage, a_log_without_its_database_is_salvaged) {
  const Scratch scratch;
  const auto [database, log] = copy_with_log(scratch, 20);
  const auto directory = scratch / "s";
  std::filesystem::create_directories(directory);
  write_bytes(directory / "store.db-wal", log);
  const auto store = open_store(directory);
  ASSERT_TRUE(store->damage().has_value());
  EXPECT_EQ(values_of(*store, "m").size(), 20U);
}

// Versions.

void run_sql(const std::filesystem::path& file, const char* sql) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(database);
  sqlite3_close(database);
}

TEST(StoreVersion, a_newer_one_is_refused_and_left_alone) {
  const Scratch scratch;
  make_store(scratch / "s");
  run_sql(scratch / "s/store.db", "PRAGMA user_version = 2; ALTER TABLE records ADD COLUMN more TEXT");
  // As a newer program would note it, with another table.
  run_sql(scratch / "s/store.db", "ALTER TABLE records RENAME TO records_2");
  const auto before = read_bytes(scratch / "s/store.db");
  const auto opened = try_open(scratch / "s");
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error(), Errc::invalid_config);
  EXPECT_NE(opened.error().message().find("newer barrel_p2p (store version 2"), std::string::npos)
      << opened.error().message();
  EXPECT_EQ(read_bytes(scratch / "s/store.db"), before);
}

TEST(StoreVersion, a_version_number_that_was_flipped_is_damage) {
  const Scratch scratch;
  make_store(scratch / "s");
  run_sql(scratch / "s/store.db", "PRAGMA user_version = 9");
  const auto store = open_store(scratch / "s");
  ASSERT_TRUE(store->damage().has_value());
  EXPECT_TRUE(store->damage()->losses.empty());
  EXPECT_EQ(check_what_is_left(*store), everything);
}

TEST(StoreVersion, the_database_of_another_program_is_refused_and_left_alone) {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "s");
  run_sql(scratch / "s/store.db", "CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)");
  const auto before = read_bytes(scratch / "s/store.db");
  const auto opened = try_open(scratch / "s");
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error(), Errc::invalid_config);
  EXPECT_NE(opened.error().message().find("another program"), std::string::npos) << opened.error().message();
  EXPECT_EQ(read_bytes(scratch / "s/store.db"), before);
}

TEST(StoreVersion, version_0_is_migrated_and_kept) {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "s");
  // Key 1; {value, 2, #{ {'a@h', {timestamp,3,0}} => true }}; the number 5.
  run_sql(scratch / "s/store.db",
          "PRAGMA application_id = 1112552016;"
          "CREATE TABLE records(collection TEXT, key BLOB, entry BLOB, PRIMARY KEY(collection, key));"
          "CREATE TABLE named(name TEXT PRIMARY KEY, value BLOB);"
          "INSERT INTO records VALUES('map:a', x'836101', x'83680377057661"
          "6c75656102740000000168027703614068680377097469"
          "6d657374616d7061036100770474727565');"
          "INSERT INTO named VALUES('clock', x'836105')");
  EXPECT_EQ(try_read(scratch / "s").error(), Errc::invalid_config);
  {
    const auto store = open_store(scratch / "s");
    EXPECT_FALSE(store->damage().has_value());
    EXPECT_EQ(values_of(*store, "map:a"), (Values{{1, 2}}));
    EXPECT_EQ(store->value("clock").value(), 5);
    ASSERT_TRUE(put_now(*store, "map:a", 1, 3).has_value());
  }
  EXPECT_EQ(values_of(*open_store(scratch / "s"), "map:a"), (Values{{1, 3}}));
  EXPECT_TRUE(std::filesystem::exists(scratch / "s/store.db.old-1"));
}

// A process that is killed.

/// Writes `first` and what follows, many at once, and prints each one that is on disk. Ends with the process.
[[noreturn]] void write_for_ever(const std::filesystem::path& directory, std::uint64_t first, int output) {
  const auto store = open_store(directory);
  for (std::uint64_t number = first;; ++number) {
    WriteBatch batch;
    batch.put("m", number, entry_with(Term::binary(Bytes(number % 300, 1))));
    batch.put("n", number % 50, entry_with(number));
    const auto taken = store->write(std::move(batch), [number, output](const Result<void>& done) {
      const auto line = std::to_string(number) + "\n";
      if (!done || ::write(output, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::_Exit(1);
    });
    if (!taken) std::_Exit(2);
    if (number % 64 == 0) store->flush();
  }
}

/// Runs the writer until it acknowledged `count` writes, kills it, and returns all that it acknowledged.
std::vector<std::uint64_t> run_and_kill(const std::filesystem::path& directory, std::uint64_t first,
                                        std::size_t count) {
  std::array<int, 2> out{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  const pid_t child = ::fork();
  if (child == 0) write_for_ever(directory, first, out[1]);
  ::close(out[1]);
  std::string text;
  std::array<char, 4096> buffer{};
  bool killed = false;
  for (;;) {
    const auto got = ::read(out[0], buffer.data(), buffer.size());
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (!killed && static_cast<std::size_t>(std::ranges::count(text, '\n')) >= count) {
      ::kill(child, SIGKILL);
      killed = true;
    }
  }
  ::close(out[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(killed && WIFSIGNALED(status)) << text;
  std::vector<std::uint64_t> acknowledged;
  std::istringstream lines(text.substr(0, text.rfind('\n') + 1));
  for (std::string line; std::getline(lines, line);) acknowledged.push_back(std::stoull(line));
  return acknowledged;
}

TEST(StoreKilled, every_acknowledged_write_is_there_after_a_restart) {
  const Scratch scratch;
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::set<std::uint64_t> acknowledged;
  std::uint64_t next = 0;
  for (int round = 0; round < 12; ++round) {
    const auto count = std::uniform_int_distribution<std::size_t>(1, 2500)(random);
    for (const auto number : run_and_kill(scratch / "s", next, count)) acknowledged.insert(number);
    const auto store = open_store(scratch / "s");
    ASSERT_FALSE(store->damage().has_value()) << store->damage()->error(scratch / "s").message();
    const auto values = values_of(*store, "m");
    for (const auto number : acknowledged) {
      const auto at = values.find(number);
      ASSERT_NE(at, values.end()) << number << " was acknowledged";
      ASSERT_EQ(at->second.size(), number % 300);
    }
    // Batches are whole: for each number in "n" its record in "m" is there.
    for (const auto& [key, number] : values_of(*store, "n")) ASSERT_TRUE(values.contains(number));
    for (const auto& [key, value] : values) next = std::max(next, *key.as_uint64() + 1);
  }
  EXPECT_GT(acknowledged.size(), 100U);
}

}  // namespace
}  // namespace barrel_p2p::replication
