// The durable store on real files: what is written is there, as one, once, and for its owner only.
#include "replication/store.hpp"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <latch>
#include <mutex>
#include <thread>

#include "replication/store_support.hpp"

namespace barrel_p2p::replication {
namespace {

using namespace barrel_p2p::literals;

TEST(Store, what_was_written_is_there_after_a_restart) {
  const Scratch scratch;
  {
    const auto store = open_store(scratch / "s");
    EXPECT_TRUE(store->created());
    WriteBatch batch;
    batch.put("map:config", "limit"_atom, entry_with(100));
    batch.put("map:config", "gone", Entry::tombstone({5, 6}));
    batch.put("map:other", "limit"_atom, entry_with(Term::tuple({1, 2.5, "x"})));
    batch.set("clock", 1234567890123);
    ASSERT_TRUE(write_now(*store, std::move(batch)).has_value());
  }
  const auto store = open_store(scratch / "s");
  EXPECT_FALSE(store->created());
  EXPECT_FALSE(store->damage().has_value());
  EXPECT_EQ(values_of(*store, "map:config"), (Values{{"limit"_atom, 100}, {"gone", "removed"_atom}}));
  EXPECT_EQ(values_of(*store, "map:other"), (Values{{"limit"_atom, Term::tuple({1, 2.5, "x"})}}));
  EXPECT_EQ(store->value("clock").value(), 1234567890123);
  EXPECT_EQ(store->value("other").error(), Errc::not_found);
}

TEST(Store, entries_come_back_with_all_their_dots) {
  const Scratch scratch;
  Entry entry = entry_with("v", 7);
  entry.add_dots(Entry::value("v", {{9, 2}, Atom("b@host")}));
  {
    const auto store = open_store(scratch / "s");
    WriteBatch batch;
    batch.put("m", 1, entry);
    ASSERT_TRUE(write_now(*store, std::move(batch)).has_value());
  }
  const auto store = open_store(scratch / "s");
  ASSERT_TRUE(store
                  ->load("m",
                         [&](Term&& key, Entry&& loaded) {
                           EXPECT_EQ(key, Term(1));
                           EXPECT_EQ(loaded, entry);
                         })
                  .has_value());
}

TEST(Store, erased_dropped_and_unset_things_are_gone) {
  const Scratch scratch;
  {
    const auto store = open_store(scratch / "s");
    WriteBatch batch;
    for (int key = 0; key < 10; ++key) {
      batch.put("m", key, entry_with(key));
      batch.put("n", key, entry_with(key));
    }
    batch.set("x", 1);
    ASSERT_TRUE(write_now(*store, std::move(batch)).has_value());
    WriteBatch second;
    second.erase("m", 3);
    second.erase("m", "never there");
    second.drop("n");
    second.unset("x");
    ASSERT_TRUE(write_now(*store, std::move(second)).has_value());
  }
  const auto store = open_store(scratch / "s");
  EXPECT_FALSE(store->damage().has_value());
  EXPECT_EQ(values_of(*store, "m").size(), 9U);
  EXPECT_EQ(store->size("m"), 9U);
  EXPECT_EQ(store->size("n"), 0U);
  EXPECT_FALSE(values_of(*store, "m").contains(3));
  EXPECT_TRUE(values_of(*store, "n").empty());
  EXPECT_EQ(store->value("x").error(), Errc::not_found);
  const auto collections = store->collections();
  EXPECT_TRUE(std::ranges::none_of(collections, [](const auto& summary) { return summary.name == "n"; }));
}

TEST(Store, keys_that_are_almost_equal_are_different_records) {
  const Scratch scratch;
  const Values all{{1, "a"}, {1.0, "b"}, {"1", "c"}, {Term::charlist("1"), "d"}, {Term::list({}), "e"}};
  {
    const auto store = open_store(scratch / "s");
    for (const auto& [key, value] : all) ASSERT_TRUE(put_now(*store, "m", key, value).has_value());
  }
  EXPECT_EQ(values_of(*open_store(scratch / "s"), "m"), all);
}

TEST(Store, the_last_change_of_a_key_in_a_batch_counts) {
  const Scratch scratch;
  const auto store = open_store(scratch / "s");
  WriteBatch batch;
  batch.put("m", 1, entry_with("first"));
  batch.drop("m");
  batch.put("m", 1, entry_with("second"));
  batch.put("m", 2, entry_with("third"));
  batch.erase("m", 2);
  ASSERT_TRUE(write_now(*store, std::move(batch)).has_value());
  EXPECT_EQ(values_of(*store, "m"), (Values{{1, "second"}}));
  EXPECT_EQ(store->collections().at(0).records, 1U);
}

TEST(Store, large_entries_and_long_keys_come_back) {
  const Scratch scratch;
  Values all;
  for (const std::size_t size : {900UL, 1010UL, 4096UL, 100'000UL, 3'000'000UL}) {
    all.emplace(std::string(size, 'k'), Term::binary(Bytes(size, static_cast<std::uint8_t>(size))));
  }
  {
    const auto store = open_store(scratch / "s");
    for (const auto& [key, value] : all) ASSERT_TRUE(put_now(*store, "m", key, value).has_value());
  }
  EXPECT_EQ(values_of(*open_store(scratch / "s"), "m"), all);
}

TEST(Store, closing_writes_what_waits) {
  const Scratch scratch;
  std::atomic<int> reported{0};
  {
    const auto store = open_store(scratch / "s");
    for (int key = 0; key < 500; ++key) {
      WriteBatch batch;
      batch.put("m", key, entry_with(key));
      ASSERT_TRUE(
          store->write(std::move(batch), [&](const Result<void>& done) { reported += done ? 1 : 0; }).has_value());
    }
  }
  EXPECT_EQ(reported, 500);
  EXPECT_EQ(values_of(*open_store(scratch / "s"), "m").size(), 500U);
}

TEST(Store, flush_waits_for_what_was_queued_before) {
  const Scratch scratch;
  const auto store = open_store(scratch / "s");
  std::atomic<int> reported{0};
  for (int key = 0; key < 100; ++key) {
    WriteBatch batch;
    batch.put("m", key, entry_with(key));
    ASSERT_TRUE(store->write(std::move(batch), [&](const Result<void>&) { ++reported; }).has_value());
  }
  store->flush();
  EXPECT_EQ(reported, 100);
}

/// Holds the store's thread inside of a callback, so that everything after it waits.
class Blocker {
 public:
  explicit Blocker(DurableStore& store) {
    WriteBatch batch;
    batch.set("blocker", 1);
    auto taken = store.write(std::move(batch), [this](const Result<void>&) {
      entered_.count_down();
      released_.wait();
    });
    if (!taken) throw std::runtime_error(taken.error().message());
    entered_.wait();
  }
  void release() { released_.count_down(); }

 private:
  std::latch entered_{1};
  std::latch released_{1};
};

TEST(Store, writes_that_wait_together_share_one_transaction) {
  const Scratch scratch;
  const auto store = open_store(scratch / "s");
  Blocker blocker(*store);
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 8; ++writer) {
    writers.emplace_back([&, writer] {
      for (int key = 0; key < 50; ++key) {
        WriteBatch batch;
        batch.put("m", Term::tuple({writer, key}), entry_with(key));
        EXPECT_TRUE(store->write(std::move(batch)).has_value());
      }
    });
  }
  for (auto& writer : writers) writer.join();
  blocker.release();
  store->flush();
  EXPECT_EQ(store->statistics().batches, 401U);
  EXPECT_EQ(store->statistics().transactions, 2U);
  EXPECT_EQ(values_of(*store, "m").size(), 400U);
}

TEST(Store, writers_that_wait_for_their_answers_share_transactions_too) {
  const Scratch scratch;
  const auto store = open_store(scratch / "s");
  std::vector<std::thread> writers;
  constexpr int each = 40;
  constexpr int count = 16;
  for (int writer = 0; writer < count; ++writer) {
    writers.emplace_back([&, writer] {
      for (int key = 0; key < each; ++key) {
        EXPECT_TRUE(put_now(*store, "m", Term::tuple({writer, key}), key).has_value());
      }
    });
  }
  for (auto& writer : writers) writer.join();
  const auto statistics = store->statistics();
  EXPECT_EQ(statistics.batches, static_cast<std::uint64_t>(each) * count);
  EXPECT_LT(statistics.transactions, statistics.batches / 2);
}

TEST(Store, a_full_queue_refuses_and_the_rest_is_written) {
  const Scratch scratch;
  auto opened = DurableStore::open({.directory = scratch / "s", .queue_bytes_max = 10'000});
  ASSERT_TRUE(opened.has_value());
  const auto store = std::move(*opened);
  WriteBatch huge;
  huge.put("m", 1, entry_with(std::string(20'000, 'x')));
  EXPECT_EQ(store->write(std::move(huge)).error(), Errc::limit_exceeded);
  Blocker blocker(*store);
  std::uint64_t taken = 0;
  for (;;) {
    WriteBatch batch;
    batch.put("m", taken, entry_with(std::string(1000, 'x')));
    const auto queued = store->write(std::move(batch));
    if (!queued) {
      EXPECT_EQ(queued.error(), Errc::overloaded);
      break;
    }
    ASSERT_LT(++taken, 10U);
  }
  EXPECT_LE(store->statistics().queued_bytes, 10'000U);
  EXPECT_EQ(store->statistics().refused, 1U);
  blocker.release();
  store->flush();
  EXPECT_EQ(values_of(*store, "m").size(), taken);
  EXPECT_TRUE(put_now(*store, "m", "after", 1).has_value());
}

TEST(Store, the_mark_is_taken_when_the_queue_is_full_and_answered_before_what_it_waited_with) {
  const Scratch scratch;
  auto opened = DurableStore::open({.directory = scratch / "s", .queue_bytes_max = 10'000, .mark = "clock"});
  ASSERT_TRUE(opened.has_value());
  const auto store = std::move(*opened);
  std::vector<std::string> answered;  // on the store's thread, and read after flush()
  Blocker blocker(*store);
  Errc refused{};
  for (int key = 0; key < 10 && refused == Errc{}; ++key) {
    WriteBatch batch;
    batch.put("m", key, entry_with(std::string(2000, 'x')));
    const auto queued = store->write(std::move(batch), [&](const Result<void>&) { answered.emplace_back("entry"); });
    if (!queued) refused = queued.error().code();
  }
  EXPECT_EQ(refused, Errc::overloaded);
  WriteBatch mark;
  mark.set("clock", 7);
  EXPECT_TRUE(store
                  ->write(std::move(mark),
                          [&](const Result<void>& written) {
                            EXPECT_TRUE(written.has_value());
                            answered.emplace_back("mark");
                          })
                  .has_value());
  blocker.release();
  store->flush();
  ASSERT_GT(answered.size(), 1U);
  EXPECT_EQ(answered.front(), "mark");
  EXPECT_EQ(std::ranges::count(answered, "mark"), 1);
  EXPECT_EQ(store->value("clock").value(), Term(7));
}

TEST(Store, names_that_could_be_confused_are_refused) {
  WriteBatch batch;
  for (const std::string_view name : {std::string_view(""), std::string_view("."), std::string_view("a\nb")}) {
    EXPECT_THROW(batch.put(name, 1, entry_with(1)), std::invalid_argument);
  }
  EXPECT_THROW(batch.drop(std::string(2000, 'x')), std::invalid_argument);
  EXPECT_TRUE(batch.empty());
}

TEST(Store, many_overwrites_of_one_key_leave_the_files_small) {
  const Scratch scratch;
  constexpr int overwrites = 200'000;
  constexpr int in_batch = 100;
  const auto store = open_store(scratch / "s");
  for (int number = 0; number < overwrites; number += in_batch) {
    WriteBatch batch;
    for (int index = 0; index < in_batch; ++index) batch.put("m", "key", entry_with(number + index));
    while (!store->write(batch)) store->flush();
    if (number % (in_batch * 100) == 0) store->flush();
  }
  store->flush();
  EXPECT_LT(std::filesystem::file_size(scratch / "s/store.db"), 100'000U);
  EXPECT_LT(std::filesystem::file_size(scratch / "s/store.db-wal"), 17UL * 1024 * 1024);
  EXPECT_EQ(values_of(*store, "m"), (Values{{"key", overwrites - 1}}));
}

// Who may use it.

TEST(Store, directory_and_files_are_for_their_owner_only) {
  const Scratch scratch;
  const auto store = open_store(scratch / "new/s");
  ASSERT_TRUE(put_now(*store, "m", 1, 1).has_value());
  const auto mode = [&](const std::string& name) {
    struct stat info{};
    EXPECT_EQ(::stat((scratch / name).c_str(), &info), 0) << name;
    return info.st_mode & 0777U;
  };
  EXPECT_EQ(mode("new"), 0700U);
  EXPECT_EQ(mode("new/s"), 0700U);
  for (const auto& name : names_in(scratch / "new/s")) EXPECT_EQ(mode("new/s/" + name), 0600U) << name;
  EXPECT_EQ(names_in(scratch / "new/s"), (std::vector<std::string>{"store.db", "store.db-wal", "store.lock"}));
}

TEST(Store, that_root_makes_is_of_the_owner_of_the_directory_it_is_made_in) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files to another user";
  constexpr uid_t user = 61'234;
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "of_user");
  ASSERT_EQ(::chown((scratch / "of_user").c_str(), user, user), 0);
  const auto store = DurableStore::open({.directory = scratch / "of_user/data/store", .mark = "clock"});
  ASSERT_TRUE(store) << store.error().message();
  WriteBatch batch;
  batch.put("m", 1, entry_with(1));
  ASSERT_TRUE(write_now(**store, std::move(batch)).has_value());
  std::vector<std::string> seen;
  for (const auto& made : std::filesystem::recursive_directory_iterator(scratch / "of_user")) {
    struct stat info{};
    ASSERT_EQ(::lstat(made.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, user) << made.path();
    EXPECT_EQ(info.st_gid, user) << made.path();
    seen.push_back(made.path().filename());
  }
  std::ranges::sort(seen);
  EXPECT_EQ(seen, (std::vector<std::string>{"data", "store", "store.db", "store.db-wal", "store.lock", "store.mark"}));
}

TEST(Store, a_second_owner_is_refused_and_told_who_has_it) {
  const Scratch scratch;
  auto store = open_store(scratch / "s");
  const auto second = try_open(scratch / "s");
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error(), Errc::already_registered);
  EXPECT_NE(second.error().message().find("process " + std::to_string(::getpid())), std::string::npos)
      << second.error().message();
  EXPECT_EQ(try_read(scratch / "s").error(), Errc::already_registered);
  store.reset();
  EXPECT_TRUE(try_open(scratch / "s").has_value());
}

TEST(Store, reading_only_changes_nothing) {
  const Scratch scratch;
  EXPECT_EQ(try_read(scratch / "s").error(), Errc::not_found);
  {
    const auto store = open_store(scratch / "s");
    ASSERT_TRUE(put_now(*store, "m", 1, 2).has_value());
  }
  const auto before = read_bytes(scratch / "s/store.db");
  {
    auto opened = try_read(scratch / "s");
    ASSERT_TRUE(opened.has_value()) << opened.error().message();
    EXPECT_EQ(values_of(**opened, "m"), (Values{{1, 2}}));
    WriteBatch batch;
    batch.set("x", 1);
    EXPECT_EQ((*opened)->write(std::move(batch)).error(), Errc::permission_denied);
    (*opened)->flush();
  }
  EXPECT_EQ(read_bytes(scratch / "s/store.db"), before);
  EXPECT_EQ(names_in(scratch / "s"), (std::vector<std::string>{"store.db", "store.lock"}));
}

// A full disk.

/// Writes until it fails; then `make_room`, and everything that was acknowledged and what comes now is there.
void fill_and_recover(const std::filesystem::path& directory, const std::function<void()>& make_room) {
  std::uint64_t acknowledged = 0;
  {
    const auto store = open_store(directory);
    Result<void> written;
    while (written) {
      ASSERT_LT(acknowledged, 10'000U) << "the disk does not fill up";
      written = put_now(*store, "m", acknowledged, Term::binary(Bytes(10'000, 1)));
      acknowledged += written ? 1 : 0;
    }
    EXPECT_EQ(written.error(), Errc::io_error) << written.error().message();
    EXPECT_EQ(values_of(*store, "m").size(), acknowledged);
    EXPECT_EQ(store->statistics().failures, 1U);
    make_room();
    EXPECT_TRUE(put_now(*store, "m", "after", 1).has_value());
  }
  const auto store = open_store(directory);
  EXPECT_FALSE(store->damage().has_value());
  EXPECT_EQ(values_of(*store, "m").size(), acknowledged + 1);
}

TEST(Store, a_write_that_finds_no_room_fails_alone) {
  const Scratch scratch;
  struct sigaction before{};
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &ignore, &before);
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{512UL * 1024, limit.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  fill_and_recover(scratch / "s", [&] { ::setrlimit(RLIMIT_FSIZE, &limit); });
  ::setrlimit(RLIMIT_FSIZE, &limit);
  ::sigaction(SIGXFSZ, &before, nullptr);
}

TEST(Store, a_full_file_system_fails_writes_and_loses_nothing) {
  const Scratch scratch;
  const auto place = scratch / "disk";
  std::filesystem::create_directories(place);
  if (::mount("tmpfs", place.c_str(), "tmpfs", 0, "size=2m") != 0) {
    GTEST_SKIP() << "this user may not mount a small file system";
  }
  const auto ballast = place / "ballast";
  write_bytes(ballast, Bytes(1024UL * 1024, 1));
  fill_and_recover(place / "s", [&] { std::filesystem::remove(ballast); });
  EXPECT_EQ(::umount(place.c_str()), 0);
}

}  // namespace
}  // namespace barrel_p2p::replication
