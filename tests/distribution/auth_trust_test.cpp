// Which key belongs to which name: in memory, and on disk in the form of the Erlang library.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "distribution/auth/trust_store.hpp"
#include "distribution/auth_support.hpp"
#include "support/no_room.hpp"

namespace barrel_p2p::test {
namespace {

using namespace distribution;
namespace fs = std::filesystem;

std::shared_ptr<TrustStore> memory(TrustStore::Limits limits = {}, TrustMode mode = TrustMode::tofu) {
  return TrustStore::in_memory(mode, limits);
}

/// Throws (and so fails the test) when it is refused.
void learn(TrustStore& store, const NodeName& name, const PublicKey& key, Milliseconds after = Milliseconds(0)) {
  reserve(store, name, key, after).value().commit().value();
}

TEST(TrustStore, the_first_key_that_is_committed_has_the_name) {
  const auto store = memory();
  auto slow = reserve(*store, "a@h", key_2);
  auto pin = reserve(*store, "a@h", key_1);
  ASSERT_TRUE(slow && pin) << "a reservation keeps nobody from a name";
  EXPECT_TRUE(pin->holds());
  EXPECT_FALSE(store->find("a@h"));
  ASSERT_TRUE(pin->commit());
  EXPECT_FALSE(pin->holds());
  EXPECT_TRUE(pin->commit()) << "once more does nothing";
  EXPECT_EQ(store->find("a@h"), key_1);
  EXPECT_EQ(slow->commit().error(), Errc::key_mismatch);
  EXPECT_FALSE(slow->holds());
  EXPECT_EQ(store->find("a@h"), key_1);
  EXPECT_EQ(reserve(*store, "a@h", key_2).error(), Errc::key_mismatch);
  ASSERT_EQ(store->list().size(), 1U);
  EXPECT_TRUE(store->list()[0].learned);
  EXPECT_EQ(store->list()[0].added, test_wall);
}

TEST(TrustStore, a_reservation_that_goes_leaves_nothing) {
  const auto store = memory();
  {
    auto pin = reserve(*store, "a@h", key_1);
    ASSERT_TRUE(pin);
  }
  auto other = reserve(*store, "a@h", key_2);
  ASSERT_TRUE(other);
  other->drop();
  EXPECT_FALSE(other->holds());
  EXPECT_TRUE(other->commit()) << "it holds nothing";
  EXPECT_TRUE(store->list().empty());
}

TEST(TrustStore, two_exchanges_of_one_peer_may_pin_its_name) {
  const auto store = memory();
  auto first = reserve(*store, "a@h", key_1);
  auto second = reserve(*store, "a@h", key_1);
  auto other = reserve(*store, "a@h", key_2);
  auto third = reserve(*store, "a@h", key_1);
  ASSERT_TRUE(first && second && other && third);
  first->drop();
  ASSERT_TRUE(second->commit());
  EXPECT_EQ(other->commit().error(), Errc::key_mismatch);
  EXPECT_TRUE(third->commit()) << "the same key is pinned already";
  EXPECT_EQ(store->list().size(), 1U);
}

TEST(TrustStore, reservations_move_and_keep_the_store_alive) {
  auto store = memory();
  const std::weak_ptr<TrustStore> watched = store;
  auto pin = reserve(*store, "a@h", key_1).value();
  PinReservation moved(std::move(pin));
  EXPECT_TRUE(moved.holds());
  PinReservation assigned = reserve(*store, "b@h", key_2).value();
  assigned = std::move(moved);
  EXPECT_FALSE(moved.holds());  // NOLINT(bugprone-use-after-move): it is what is tested
  store.reset();
  EXPECT_FALSE(watched.expired());
  EXPECT_TRUE(watched.lock()->list().empty());
  EXPECT_TRUE(assigned.commit());
  EXPECT_TRUE(watched.expired());
}

TEST(TrustStore, strict_learns_nothing_and_counts_at_once) {
  const auto store = memory();
  auto before = reserve(*store, "a@h", key_1);
  ASSERT_TRUE(before);
  store->set_mode(TrustMode::strict);
  EXPECT_EQ(before->commit().error(), Errc::untrusted_key);
  EXPECT_EQ(reserve(*store, "b@h", key_2).error(), Errc::untrusted_key);
  ASSERT_TRUE(store->pin("b@h", key_2));
  EXPECT_TRUE(reserve(*store, "b@h", key_2));
  EXPECT_EQ(reserve(*store, "b@h", key_1).error(), Errc::key_mismatch);
  EXPECT_FALSE(store->find("a@h"));
}

TEST(TrustStore, an_operator_decides_over_whoever_is_about_to_have_the_name) {
  const auto store = memory();
  auto held = reserve(*store, "a@h", key_1);
  ASSERT_TRUE(held);
  ASSERT_TRUE(store->pin("a@h", key_2));
  EXPECT_EQ(held->commit().error(), Errc::key_mismatch);
  EXPECT_EQ(store->find("a@h"), key_2);
  EXPECT_FALSE(store->list()[0].learned);
  ASSERT_TRUE(store->unpin("a@h"));
  EXPECT_EQ(store->unpin("a@h").error(), Errc::not_found);
  PublicKey weak{};
  weak[0] = 1;
  EXPECT_EQ(store->pin("a@h", weak).error(), Errc::invalid_argument);
}

TEST(TrustStore, the_total_limit_counts_pins_and_decides_at_the_commit) {
  const auto store = memory({.pins_max = 2, .pins_per_minute_max = 100});
  learn(*store, "a@h", key_1);
  std::vector<PinReservation> held;
  for (int each = 0; each < 100; ++each) {
    held.push_back(reserve(*store, NodeName("s" + std::to_string(each) + "@h"), key_2).value());
  }
  auto last = reserve(*store, "b@h", key_1);
  ASSERT_TRUE(last) << "who proves no cookie takes no place";
  ASSERT_TRUE(last->commit());
  EXPECT_EQ(held.front().commit().error(), Errc::limit_exceeded) << "the last place went meanwhile";
  EXPECT_EQ(reserve(*store, "c@h", key_1).error(), Errc::limit_exceeded);
  EXPECT_TRUE(reserve(*store, "a@h", key_1)) << "known peers are not touched by the limit";
  EXPECT_EQ(store->list().size(), 2U);
  EXPECT_TRUE(store->pin("d@h", key_1)) << "operators are not limited";
}

TEST(TrustStore, new_pins_are_limited_by_the_minute) {
  const auto store = memory({.pins_max = 100, .pins_per_minute_max = 2});
  learn(*store, "a@h", key_1);
  auto late = reserve(*store, "d@h", key_1, Milliseconds(1));
  learn(*store, "b@h", key_1, Milliseconds(1));
  EXPECT_EQ(late->commit().error(), Errc::limit_exceeded);
  EXPECT_EQ(reserve(*store, "c@h", key_1, Milliseconds(59'999)).error(), Errc::limit_exceeded);
  learn(*store, "c@h", key_1, Milliseconds(60'000));
  EXPECT_EQ(store->list().size(), 3U);
}

TEST(TrustStore, of_many_threads_with_many_keys_one_key_wins) {
  const auto store = memory();
  constexpr std::uint8_t threads = 8;
  std::vector<PublicKey> keys;
  for (std::uint8_t each = 1; each <= threads; ++each) keys.push_back(key_of(each).public_key());
  std::atomic<int> committed{0};
  {
    std::vector<std::jthread> racers;
    racers.reserve(threads);
    for (const auto& key : keys) {
      racers.emplace_back([&store, &committed, key] {
        if (auto pin = reserve(*store, "a@h", key)) {
          // A commit may meet the pin of a faster one; what counts is that only one key gets through.
          if (pin->commit() && store->find("a@h") == key) ++committed;
        }
      });
    }
  }
  EXPECT_EQ(committed, 1);
  EXPECT_EQ(store->list().size(), 1U);
}

TEST(TrustStore, other_names_of_a_key_are_found) {
  const auto store = memory();
  learn(*store, "a@h", key_1);
  EXPECT_FALSE(store->other_name_of(key_1, "a@h"));
  EXPECT_EQ(store->other_name_of(key_1, "b@h"), NodeName("a@h"));
  EXPECT_FALSE(store->other_name_of(key_2, "b@h"));
}

/// A store on disk and what it says to the operator.
struct DiskStore {
  ScratchDirectory scratch;
  std::vector<std::string> warnings;
  std::shared_ptr<TrustStore> store;
  [[nodiscard]] fs::path trusted() const { return scratch.path() / "keys" / "trusted"; }
  Result<void> open(TrustMode mode = TrustMode::tofu) {
    auto opened = TrustStore::open(scratch.path() / "keys", mode, {},
                                   [this](const std::string& text) { warnings.push_back(text); });
    if (!opened) return std::unexpected(opened.error());
    store = *opened;
    return {};
  }
};

TEST(TrustStoreOnDisk, a_pin_is_32_raw_bytes_in_a_private_file_and_comes_back) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  EXPECT_EQ(mode_of(disk.trusted()), 0700U);
  {
    const auto held = reserve(*disk.store, "held@h", key_2);
    learn(*disk.store, "a@h", key_1);
  }
  EXPECT_EQ(read_file(disk.trusted() / "a@h.pub"), Bytes(key_1.begin(), key_1.end()));
  EXPECT_EQ(mode_of(disk.trusted() / "a@h.pub"), 0600U);
  EXPECT_EQ(std::distance(fs::directory_iterator(disk.trusted()), {}), 1) << "no temporary file, no held name";
  ASSERT_TRUE(disk.open());
  EXPECT_EQ(disk.store->find("a@h"), key_1);
  EXPECT_FALSE(disk.store->list()[0].learned);
  EXPECT_FALSE(disk.store->list()[0].seen.has_value());
  ASSERT_TRUE(disk.store->unpin("a@h"));
  EXPECT_FALSE(fs::exists(disk.trusted() / "a@h.pub"));
  EXPECT_TRUE(disk.warnings.empty());
}

TEST(TrustStoreOnDisk, names_too_long_for_a_file_name_are_kept_all_the_same) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  for (const std::size_t size : {251U, 252U, 255U}) {
    const NodeName name(std::string(size - 2, 'n') + "@h");
    learn(*disk.store, name, key_1);
    std::error_code too_long;
    EXPECT_EQ(fs::exists(disk.trusted() / (name.string() + ".pub"), too_long), size <= 251);
  }
  ASSERT_TRUE(disk.open());
  EXPECT_EQ(disk.store->list().size(), 3U);
  EXPECT_EQ(disk.store->find(std::string(253, 'n') + "@h"), key_1);
  EXPECT_TRUE(disk.warnings.empty());
  ASSERT_TRUE(disk.store->unpin(std::string(253, 'n') + "@h"));
  ASSERT_TRUE(disk.store->reload());
  EXPECT_EQ(disk.store->list().size(), 2U);
}

TEST(TrustStoreOnDisk, files_that_are_no_pins_are_skipped_and_told) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  const Bytes good(key_1.begin(), key_1.end());
  Bytes newline = good;
  newline.push_back('\n');
  Bytes weak(32);
  weak[0] = 1;
  write_file(disk.trusted() / "good@h.pub", good);
  write_file(disk.trusted() / "a@b.pub.pub", good);  // only the last extension counts
  write_file(disk.trusted() / "newline@h.pub", newline);
  write_file(disk.trusted() / "short@h.pub", Bytes(31));
  write_file(disk.trusted() / "large@h.pub", Bytes(100'000));
  write_file(disk.trusted() / "weak@h.pub", weak);
  write_file(disk.trusted() / "noname.pub", good);
  write_file(disk.trusted() / ".hidden@h.pub", good);
  write_file(disk.trusted() / "open@h.pub", good, 0666);
  write_file(disk.trusted() / "sha256-00.pub", Bytes(35, 'x'));
  fs::create_directory(disk.trusted() / "directory@h.pub");
  ASSERT_EQ(::mkfifo((disk.trusted() / "fifo@h.pub").c_str(), 0600), 0);
  write_file(disk.trusted() / "upper@h.PUB", good);
  write_file(disk.trusted() / "left@h.pub.tmp", good);
  ASSERT_TRUE(disk.store->reload());
  ASSERT_EQ(disk.store->list().size(), 2U);
  EXPECT_EQ(disk.store->find("good@h"), key_1);
  EXPECT_EQ(disk.store->find("a@b.pub"), key_1);
  EXPECT_EQ(disk.warnings.size(), 10U);
  ASSERT_TRUE(disk.store->reload());
  EXPECT_EQ(disk.warnings.size(), 10U) << "once";
}

TEST(TrustStoreOnDisk, a_name_whose_pin_cannot_be_read_is_free_for_nobody) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  const NodeName long_name(std::string(253, 'n') + "@h");
  ASSERT_TRUE(disk.store->pin(long_name, key_1));
  const auto long_file = fs::directory_iterator(disk.trusted())->path();
  write_file(long_file, Bytes(35, 'x'));
  write_file(disk.trusted() / "short@h.pub", Bytes(31));
  write_file(disk.trusted() / "open@h.pub", key_1, 0666);
  fs::create_directory(disk.trusted() / "directory@h.pub");
  ASSERT_TRUE(disk.open());
  EXPECT_TRUE(disk.store->list().empty());
  for (const auto& name : {long_name, NodeName("short@h"), NodeName("open@h"), NodeName("directory@h")}) {
    const auto refused = reserve(*disk.store, name, key_1);
    EXPECT_EQ(refused.error(), Errc::key_mismatch) << name.string();
    EXPECT_NE(refused.error().context().find(".pub: "), std::string::npos) << refused.error().context();
  }
  EXPECT_TRUE(reserve(*disk.store, "x@h", key_1)) << "others are";
  EXPECT_TRUE(disk.store->has_unread());
  fs::remove(disk.trusted() / "directory@h.pub");
  fs::permissions(disk.trusted() / "open@h.pub", static_cast<fs::perms>(0600));
  ASSERT_TRUE(disk.store->reload());
  EXPECT_FALSE(disk.store->has_unread());
  EXPECT_TRUE(reserve(*disk.store, "directory@h", key_2));
  EXPECT_EQ(disk.store->find("open@h"), key_1);
}

TEST(TrustStoreOnDisk, an_operator_pins_and_unpins_over_what_cannot_be_read) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  write_file(disk.trusted() / "a@h.pub", Bytes(31));
  write_file(disk.trusted() / "b@h.pub", Bytes(31));
  ASSERT_TRUE(disk.open());
  ASSERT_TRUE(disk.store->pin("a@h", key_1));
  EXPECT_EQ(disk.store->find("a@h"), key_1);
  ASSERT_TRUE(disk.store->unpin("a@h"));
  EXPECT_TRUE(reserve(*disk.store, "a@h", key_2));
  ASSERT_TRUE(disk.store->unpin("b@h"));
  EXPECT_FALSE(fs::exists(disk.trusted() / "b@h.pub"));
  EXPECT_TRUE(reserve(*disk.store, "b@h", key_2));
}

TEST(TrustStoreOnDisk, a_long_pin_that_was_renamed_is_skipped) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  const NodeName name(std::string(253, 'n') + "@h");
  ASSERT_TRUE(disk.store->pin(name, key_1));
  const auto file = fs::directory_iterator(disk.trusted())->path();
  fs::rename(file, disk.trusted() / ("sha256-" + std::string(64, '0') + ".pub"));
  ASSERT_TRUE(disk.store->reload());
  EXPECT_FALSE(disk.store->find(name));
  EXPECT_EQ(disk.warnings.size(), 1U);
}

TEST(TrustStoreOnDisk, a_reload_takes_what_an_operator_did_to_the_directory) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  learn(*disk.store, "kept@h", key_1);
  learn(*disk.store, "removed@h", key_1);
  learn(*disk.store, "changed@h", key_1);
  fs::remove(disk.trusted() / "removed@h.pub");
  write_file(disk.trusted() / "changed@h.pub", key_2);
  write_file(disk.trusted() / "placed@h.pub", key_2);
  ASSERT_TRUE(disk.store->reload());
  EXPECT_FALSE(disk.store->find("removed@h"));
  EXPECT_EQ(disk.store->find("changed@h"), key_2);
  EXPECT_EQ(disk.store->find("placed@h"), key_2);
  EXPECT_EQ(disk.store->find("kept@h"), key_1);
  for (const auto& pin : disk.store->list()) EXPECT_EQ(pin.learned, pin.name == NodeName("kept@h"));
}

TEST(TrustStoreOnDisk, a_pin_that_the_disk_refuses_lives_in_memory_and_is_told) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  fs::create_directories(disk.trusted() / "a@h.pub" / "in the way");
  auto pin = reserve(*disk.store, "a@h", key_1);
  ASSERT_TRUE(pin);
  EXPECT_EQ(pin->commit().error(), Errc::io_error);
  EXPECT_EQ(disk.store->find("a@h"), key_1);
  ASSERT_TRUE(disk.store->reload());
  EXPECT_EQ(disk.store->find("a@h"), key_1) << "it was never on disk, so nobody removed it there";
  EXPECT_EQ(disk.store->pin("a@h", key_2).error(), Errc::io_error);
  EXPECT_EQ(disk.store->find("a@h"), key_1) << "nothing changed";
}

TEST(TrustStoreOnDisk, a_pin_that_the_disk_refused_is_written_when_it_takes_it) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  EXPECT_FALSE(disk.store->has_unsaved());
  const NodeName long_name(std::string(253, 'n') + "@h");
  for (const auto& name : {NodeName("a@h"), long_name}) {
    auto pin = reserve(*disk.store, name, key_1);
    const NoRoom full;
    EXPECT_EQ(pin->commit().error(), Errc::io_error);
    EXPECT_EQ(disk.store->save_again().error(), Errc::io_error);
  }
  EXPECT_TRUE(disk.store->has_unsaved());
  ASSERT_TRUE(disk.store->save_again());
  EXPECT_FALSE(disk.store->has_unsaved());
  ASSERT_TRUE(disk.open());
  EXPECT_EQ(disk.store->find("a@h"), key_1);
  EXPECT_EQ(disk.store->find(long_name), key_1);
}

TEST(TrustStoreOnDisk, a_pin_that_an_operator_placed_meanwhile_is_not_written_over) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  auto pin = reserve(*disk.store, "a@h", key_1);
  {
    const NoRoom full;
    EXPECT_EQ(pin->commit().error(), Errc::io_error);
  }
  write_file(disk.trusted() / "a@h.pub", key_2);
  EXPECT_TRUE(disk.store->save_again());
  ASSERT_TRUE(disk.store->reload());
  EXPECT_EQ(disk.store->find("a@h"), key_2);
  EXPECT_TRUE(disk.store->save_again());
  EXPECT_FALSE(disk.store->has_unsaved());
}

TEST(TrustStoreOnDisk, whatever_the_disk_says_a_first_key_counts_in_memory) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  auto pin = reserve(*disk.store, "a@h", key_1);
  fs::remove_all(disk.trusted());
  EXPECT_EQ(pin->commit().error(), Errc::io_error);
  EXPECT_EQ(disk.store->find("a@h"), key_1);
}

TEST(TrustStoreOnDisk, a_next_key_that_the_disk_refuses_is_not_pinned) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  ASSERT_TRUE(disk.store->pin("a@h", key_1));
  ASSERT_TRUE(disk.store->pin_next("a@h", key_2));
  auto pin = reserve(*disk.store, "a@h", key_2);
  {
    const NoRoom full;
    EXPECT_EQ(pin->commit().error(), Errc::auth_failed) << "it must not be let in";
  }
  EXPECT_EQ(disk.store->find("a@h"), key_1);
  ASSERT_TRUE(reserve(*disk.store, "a@h", key_2)->commit()) << "it may try again";
  EXPECT_EQ(disk.store->find("a@h"), key_2);
  ASSERT_TRUE(disk.store->reload());
  EXPECT_EQ(disk.store->find("a@h"), key_2);
}

TEST(TrustStoreOnDisk, an_operator_whose_wish_fails_has_changed_nothing) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  ASSERT_TRUE(disk.store->pin("a@h", key_1));
  ASSERT_TRUE(disk.store->pin_next("a@h", key_2));
  const auto next = disk.trusted() / "a@h.next";
  const auto pinned = disk.trusted() / "a@h.pub";
  const auto announced = read_file(next);
  fs::rename(pinned, disk.scratch.path() / "aside");
  fs::create_directories(pinned / "in the way");  // neither replaced nor removed
  EXPECT_EQ(disk.store->pin("a@h", key_3).error(), Errc::io_error);
  EXPECT_EQ(read_file(next), announced);
  EXPECT_EQ(disk.store->unpin("a@h").error(), Errc::io_error);
  EXPECT_EQ(read_file(next), announced);
  fs::remove_all(pinned);
  fs::rename(disk.scratch.path() / "aside", pinned);
  ASSERT_TRUE(disk.open()) << "a restart";
  EXPECT_EQ(disk.store->find("a@h"), key_1);
  EXPECT_EQ(disk.store->list().at(0).next, key_2);
  ASSERT_TRUE(disk.store->unpin("a@h"));
  EXPECT_FALSE(fs::exists(next));
}

TEST(TrustStoreOnDisk, a_directory_that_everybody_writes_to_is_refused) {
  DiskStore disk;
  ASSERT_TRUE(disk.open());
  fs::permissions(disk.trusted(), fs::perms::all);
  EXPECT_EQ(disk.open().error(), Errc::permission_denied);
}

}  // namespace
}  // namespace barrel_p2p::test
