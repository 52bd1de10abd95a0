// The number that is written when there is no room.
#include "replication/store_mark.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "replication/store_support.hpp"

namespace barrel_p2p::replication {
namespace {

store::MarkFile open_mark(const std::filesystem::path& file) {
  auto mark = store::MarkFile::open(file, true);
  if (!mark) throw std::runtime_error(mark.error().message());
  return std::move(*mark);
}

void overwrite(const std::filesystem::path& file, std::streamoff at) {
  std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekp(at);
  bytes.put('\x55');
}

TEST(MarkFile, the_last_number_is_there_after_a_restart) {
  const Scratch scratch;
  const auto file = scratch / "mark";
  EXPECT_EQ(open_mark(file).number(), 0);
  for (std::int64_t number = 1; number < 6; ++number) {
    EXPECT_TRUE(open_mark(file).write(1'764'000'000'000 + number).has_value());
    EXPECT_EQ(open_mark(file).number(), 1'764'000'000'000 + number);
  }
}

TEST(MarkFile, a_number_that_is_not_greater_changes_nothing) {
  const Scratch scratch;
  auto mark = open_mark(scratch / "mark");
  EXPECT_TRUE(mark.write(7).has_value());
  EXPECT_TRUE(mark.write(6).has_value());
  EXPECT_EQ(mark.number(), 7);
  EXPECT_EQ(open_mark(scratch / "mark").number(), 7);
}

TEST(MarkFile, of_a_torn_write_the_number_before_is_left) {
  const Scratch scratch;
  const auto file = scratch / "mark";
  {
    auto mark = open_mark(file);
    EXPECT_TRUE(mark.write(7).has_value());
    EXPECT_TRUE(mark.write(8).has_value());
    EXPECT_TRUE(mark.write(9).has_value());
  }
  overwrite(file, 7);
  EXPECT_EQ(open_mark(file).number(), 8) << "9 is in the first place";
  EXPECT_TRUE(open_mark(file).write(10).has_value());
  overwrite(file, 512 + 7);
  EXPECT_EQ(open_mark(file).number(), 10);
}

TEST(MarkFile, has_its_room_from_the_start) {
  const Scratch scratch;
  const auto file = scratch / "mark";
  (void)open_mark(file);
  EXPECT_EQ(std::filesystem::file_size(file), 4096U);
}

TEST(MarkFile, one_that_is_not_there_is_not_made_by_readers) {
  const Scratch scratch;
  const auto mark = store::MarkFile::open(scratch / "mark", false);
  ASSERT_FALSE(mark.has_value());
  EXPECT_EQ(mark.error(), Errc::not_found);
  EXPECT_FALSE(store::MarkFile().write(1).has_value());
}

// Of the store.

Result<std::unique_ptr<DurableStore>> open_marked(const std::filesystem::path& directory) {
  return DurableStore::open({.directory = directory, .mark = "clock"});
}
Result<void> set_mark(DurableStore& store, std::int64_t number) {
  WriteBatch batch;
  batch.set("clock", Term(number));
  return write_now(store, std::move(batch));
}

/// The one value of this name that `load_values` gives; 0: none, or several.
Term clock_among_values(const DurableStore& store) {
  std::vector<Term> found;
  std::uint64_t count = 0;
  const auto loaded = store.load_values([&](std::string_view name, Term&& value) {
    if (name == "clock") found.push_back(std::move(value));
    ++count;
  });
  EXPECT_EQ(loaded.value(), count);
  return found.size() == 1 ? found.front() : Term(0);
}

/// Files of this process do not grow beyond 64 KiB: as if the disk were full for what is larger.
class NoRoom {
 public:
  NoRoom() {
    struct sigaction ignore{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGXFSZ, &ignore, &before_);
    ::getrlimit(RLIMIT_FSIZE, &limit_);
    const rlimit small{64UL * 1024, limit_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~NoRoom() {
    ::setrlimit(RLIMIT_FSIZE, &limit_);
    ::sigaction(SIGXFSZ, &before_, nullptr);
  }
  NoRoom(const NoRoom&) = delete;
  NoRoom& operator=(const NoRoom&) = delete;

 private:
  struct sigaction before_{};
  rlimit limit_{};
};

TEST(StoreMark, is_written_when_there_is_no_room_for_anything_else) {
  const Scratch scratch;
  {
    auto store = open_marked(scratch / "s");
    ASSERT_TRUE(store.has_value()) << store.error().message();
    EXPECT_TRUE(set_mark(**store, 1000).has_value());
    const NoRoom no_room;
    for (int key = 0; put_now(**store, "m", key, Term::binary(Bytes(10'000, 1))); ++key) ASSERT_LT(key, 1000);
    EXPECT_TRUE(set_mark(**store, 2000).has_value());
    WriteBatch more;
    more.set("clock", 3000);
    more.set("other", Term::binary(Bytes(100'000, 1)));
    EXPECT_FALSE(write_now(**store, std::move(more)).has_value()) << "with something else in its batch";
    EXPECT_EQ(clock_among_values(**store), Term(3000));
  }
  {
    auto reader =
        DurableStore::open({.directory = scratch / "s", .access = StoreConfig::Access::read_only, .mark = "clock"});
    ASSERT_TRUE(reader.has_value()) << reader.error().message();
    EXPECT_EQ(clock_among_values(**reader), Term(3000));
    EXPECT_EQ((*reader)->value("clock").value(), Term(3000));
  }
  auto store = open_marked(scratch / "s");
  ASSERT_TRUE(store.has_value()) << store.error().message();
  EXPECT_EQ(*(*store)->value("clock"), Term(3000)) << "ahead is harmless";
  EXPECT_EQ((*store)->value("other").error(), Errc::not_found);
}

TEST(StoreMark, of_a_store_that_had_none_in_a_file_is_found) {
  const Scratch scratch;
  {
    const auto store = open_store(scratch / "s");
    EXPECT_TRUE(set_mark(*store, 1000).has_value());
  }
  auto store = open_marked(scratch / "s");
  ASSERT_TRUE(store.has_value()) << store.error().message();
  EXPECT_EQ(*(*store)->value("clock"), Term(1000));
}

TEST(StoreMark, that_is_there_and_cannot_be_used_is_an_error) {
  const Scratch scratch;
  const std::filesystem::path file = scratch / "s/store.mark";
  {
    auto store = open_marked(scratch / "s");
    ASSERT_TRUE(store.has_value()) << store.error().message();
    EXPECT_FALSE((*store)->mark_failure().has_value());
    EXPECT_TRUE(set_mark(**store, 1000).has_value());
  }
  std::filesystem::rename(file, scratch / "aside");
  std::filesystem::create_symlink(scratch / "aside", file);
  const auto linked = open_marked(scratch / "s");
  ASSERT_FALSE(linked.has_value());
  EXPECT_NE(linked.error().context().find(file.string()), std::string::npos) << linked.error().message();
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  EXPECT_EQ(open_marked(scratch / "s").error(), Errc::io_error);
}

TEST(StoreMark, is_not_found_before_it_is_written) {
  const Scratch scratch;
  auto store = open_marked(scratch / "s");
  ASSERT_TRUE(store.has_value()) << store.error().message();
  EXPECT_EQ((*store)->value("clock").error(), Errc::not_found);
}

}  // namespace
}  // namespace barrel_p2p::replication
