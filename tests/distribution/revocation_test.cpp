// Keys that nobody gets in with any more, and keys that take the place of pinned ones.
#include <gtest/gtest.h>

#include <optional>

#include "distribution/auth/trust_store.hpp"
#include "distribution/auth_support.hpp"
#include "distribution/killed.hpp"

namespace barrel_p2p::test {
namespace {

using namespace distribution;
namespace fs = std::filesystem;

std::shared_ptr<TrustStore> open_store(const fs::path& key_dir, TrustMode mode = TrustMode::tofu,
                                       std::vector<std::string>* warnings = nullptr) {
  return TrustStore::open(key_dir, mode, {},
                          [warnings](const std::string& text) {
                            if (warnings != nullptr) warnings->push_back(text);
                          })
      .value();
}
Bytes bytes_of(const PublicKey& key) { return {key.begin(), key.end()}; }

TEST(Revocation, keeps_a_key_out_under_every_name_until_it_is_taken_back) {
  const auto store = TrustStore::in_memory(TrustMode::tofu, {});
  ASSERT_TRUE(store->pin("a@h", key_1));
  ASSERT_TRUE(store->revoke(key_1));
  EXPECT_TRUE(store->is_revoked(key_1));
  EXPECT_EQ(reserve(*store, "a@h", key_1).error(), Errc::untrusted_key);
  EXPECT_EQ(reserve(*store, "b@h", key_1).error(), Errc::untrusted_key);
  EXPECT_EQ(store->judge("a@h", key_1).error(), Errc::untrusted_key);
  EXPECT_EQ(reserve(*store, "a@h", key_2).error(), Errc::key_mismatch) << "nobody takes the name meanwhile";
  EXPECT_TRUE(store->list().at(0).revoked);
  ASSERT_TRUE(store->unrevoke(key_1));
  EXPECT_TRUE(reserve(*store, "a@h", key_1)) << "it is pinned as before";
  EXPECT_EQ(store->unrevoke(key_1).error(), Errc::not_found);
  PublicKey weak{};
  weak[0] = 1;
  EXPECT_EQ(store->revoke(weak).error(), Errc::invalid_argument);
}

TEST(Revocation, comes_before_a_pin_that_is_about_to_be_made) {
  const auto store = TrustStore::in_memory(TrustMode::tofu, {});
  auto pin = reserve(*store, "a@h", key_1);
  ASSERT_TRUE(pin);
  ASSERT_TRUE(store->revoke(key_1));
  EXPECT_EQ(pin->commit().error(), Errc::untrusted_key);
  EXPECT_FALSE(store->find("a@h"));
}

TEST(Revocation, is_on_the_disk_before_it_is_acknowledged_and_counts_after_a_restart) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(open_store(scratch.path())->revoke(key_1));
  const auto file = scratch.path() / "revoked" / (to_hex(fingerprint(key_1)) + ".pub");
  EXPECT_EQ(read_file(file), bytes_of(key_1));
  EXPECT_EQ(mode_of(scratch.path() / "revoked"), 0700U);
  const auto again = open_store(scratch.path());
  EXPECT_EQ(again->revoked(), std::vector{key_1});
  ASSERT_TRUE(again->revoke(key_1)) << "once more";
  write_file(scratch.path() / "revoked" / "stolen.pub", bytes_of(key_1));
  ASSERT_TRUE(again->unrevoke(key_1));
  EXPECT_TRUE(fs::is_empty(scratch.path() / "revoked")) << "whatever the name of the file";
  EXPECT_TRUE(open_store(scratch.path())->revoked().empty());
}

TEST(Revocation, killed_at_any_step_is_in_force_if_it_was_acknowledged_and_damages_nothing) {
  std::optional<ScratchDirectory> scratch;
  int in_force = 0;
  const int steps = kill_at_each_step(
      [&] {
        scratch.emplace();
        ASSERT_TRUE(open_store(scratch->path())->pin("a@h", key_1));
      },
      [&] { return open_store(scratch->path())->revoke(key_1).has_value(); },
      [&](int step) {
        const auto left = open_store(scratch->path());
        EXPECT_EQ(left->find("a@h"), key_1) << step;
        if (left->is_revoked(key_1)) ++in_force;
      });
  EXPECT_GE(steps, 5);
  EXPECT_GE(in_force, 1) << "the last one was acknowledged";
}

TEST(Revocation, files_that_an_operator_places_and_removes_count_after_a_reload) {
  const ScratchDirectory scratch;
  const auto store = open_store(scratch.path());
  ASSERT_TRUE(store->reload());
  EXPECT_TRUE(store->revoked().empty());
  fs::create_directory(scratch.path() / "revoked");
  write_file(scratch.path() / "revoked" / "b@h.pub", bytes_of(key_2));
  write_file(scratch.path() / "revoked" / "README", as_bytes("not a key"));
  ASSERT_TRUE(store->reload());
  EXPECT_EQ(store->revoked(), std::vector{key_2});
  fs::remove(scratch.path() / "revoked" / "b@h.pub");
  ASSERT_TRUE(store->reload());
  EXPECT_TRUE(store->revoked().empty());
}

TEST(Revocation, what_cannot_be_read_is_an_error_and_frees_nobody) {
  const ScratchDirectory scratch;
  const auto store = open_store(scratch.path());
  ASSERT_TRUE(store->revoke(key_1));
  const auto bad = scratch.path() / "revoked" / "b@h.pub";
  const auto refused = [&](Errc code, const std::string& word) {
    const auto opened = TrustStore::open(scratch.path(), TrustMode::tofu, {}, [](const std::string&) {});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), code);
    EXPECT_NE(opened.error().context().find(word), std::string::npos) << opened.error().context();
    EXPECT_EQ(store->reload().error(), code);
    EXPECT_TRUE(store->is_revoked(key_1));
  };
  write_file(bad, Bytes(33, 'x'));
  refused(Errc::corrupt, "replace it");
  write_file(bad, Bytes(3, 'x'));
  refused(Errc::corrupt, "replace it");
  write_file(bad, bytes_of(key_2), 0666);
  fs::permissions(bad, static_cast<fs::perms>(0666));
  refused(Errc::permission_denied, "chmod 600");
  fs::remove(bad);
  fs::permissions(scratch.path() / "revoked", static_cast<fs::perms>(0777));
  refused(Errc::permission_denied, "chmod 700");
}

TEST(Pins, one_whose_file_is_being_written_over_stays_until_it_can_be_read) {
  const ScratchDirectory scratch;
  const auto store = open_store(scratch.path());
  ASSERT_TRUE(store->pin("a@h", key_1));
  write_file(scratch.path() / "trusted" / "a@h.pub", Bytes());
  ASSERT_TRUE(store->reload());
  EXPECT_EQ(reserve(*store, "a@h", key_2).error(), Errc::key_mismatch) << "the name is not free meanwhile";
  write_file(scratch.path() / "trusted" / "a@h.pub", bytes_of(key_2));
  ASSERT_TRUE(store->reload());
  EXPECT_EQ(store->find("a@h"), key_2);
}

TEST(Revocation, both_sides_of_an_exchange_refuse_a_revoked_key) {
  {
    auto from = initiator("a@h", 1, "b@h");
    auto to = responder("b@h", 2);
    ASSERT_TRUE(to.trust->revoke(key_1));
    const auto result = run_exchange(from, to);
    EXPECT_EQ(result.responder.outcome(), "revoked_key");
    EXPECT_EQ(result.responder.story(), "FAIL(revoked_key)");
    EXPECT_EQ(result.initiator.outcome(), "rejected");
  }
  auto from = initiator("a@h", 1, "b@h");
  auto to = responder("b@h", 2);
  ASSERT_TRUE(from.trust->revoke(key_2));
  EXPECT_EQ(run_exchange(from, to).initiator.outcome(), "revoked_key");
}

TEST(Revocation, keeps_out_a_peer_that_would_be_let_in_by_the_cookie_alone) {
  auto from = initiator("a@h", 1, "b@h");
  auto to = responder("b@h", 2);
  to.settings.cookie_only_nodes = {"*@h"};
  from.settings.cookie_only_nodes = {"*@h"};
  ASSERT_TRUE(to.trust->revoke(key_1));
  EXPECT_EQ(run_exchange(from, to).responder.outcome(), "revoked_key");
}

TEST(NextKey, takes_the_place_of_the_pinned_one_when_it_is_proven) {
  for (const auto mode : {TrustMode::tofu, TrustMode::strict}) {
    const ScratchDirectory scratch;
    const auto store = open_store(scratch.path(), mode);
    EXPECT_EQ(store->pin_next("a@h", key_2).error(), Errc::not_found);
    ASSERT_TRUE(store->pin("a@h", key_1));
    EXPECT_EQ(store->pin_next("a@h", key_1).error(), Errc::invalid_argument);
    ASSERT_TRUE(store->pin_next("a@h", key_2));
    EXPECT_TRUE(reserve(*store, "a@h", key_1)) << "the earlier key still counts";
    EXPECT_EQ(reserve(*store, "a@h", key_3).error(), Errc::key_mismatch);
    EXPECT_EQ(store->list().at(0).next, key_2);
    EXPECT_EQ(open_store(scratch.path())->list().at(0).next, key_2) << "after a restart too";
    auto pin = reserve(*store, "a@h", key_2);
    ASSERT_TRUE(pin);
    EXPECT_TRUE(pin->holds());
    EXPECT_EQ(store->find("a@h"), key_1) << "not before the whole handshake";
    ASSERT_TRUE(pin->commit());
    for (const auto& look : {store, open_store(scratch.path(), mode)}) {
      EXPECT_EQ(look->find("a@h"), key_2);
      EXPECT_FALSE(look->list().at(0).next);
      EXPECT_EQ(reserve(*look, "a@h", key_1).error(), Errc::key_mismatch) << "the earlier key is worth nothing";
    }
  }
}

TEST(NextKey, a_handshake_that_fails_changes_nothing) {
  const auto store = TrustStore::in_memory(TrustMode::tofu, {});
  ASSERT_TRUE(store->pin("a@h", key_1));
  ASSERT_TRUE(store->pin_next("a@h", key_2));
  reserve(*store, "a@h", key_2)->drop();
  EXPECT_EQ(store->find("a@h"), key_1);
  auto late = reserve(*store, "a@h", key_2);
  ASSERT_TRUE(late);
  ASSERT_TRUE(store->pin("a@h", key_3)) << "an operator decides otherwise";
  EXPECT_EQ(late->commit().error(), Errc::key_mismatch);
  EXPECT_EQ(store->find("a@h"), key_3);
  EXPECT_FALSE(store->list().at(0).next);
}

TEST(NextKey, goes_with_the_pin) {
  const ScratchDirectory scratch;
  std::vector<std::string> warnings;
  const auto store = open_store(scratch.path(), TrustMode::tofu, &warnings);
  const NodeName long_name(std::string(246, 'a') + "@host");
  for (const auto& name : {NodeName("a@h"), long_name}) {
    ASSERT_TRUE(store->pin(name, key_1));
    ASSERT_TRUE(store->pin_next(name, key_2));
    ASSERT_TRUE(store->reload());
    EXPECT_EQ(store->list().at(0).next, key_2) << name.text().size();
    ASSERT_TRUE(store->unpin(name));
    EXPECT_TRUE(fs::is_empty(scratch.path() / "trusted"));
  }
  write_file(scratch.path() / "trusted" / "a@h.next", bytes_of(key_2));
  ASSERT_TRUE(store->reload());
  EXPECT_TRUE(store->list().empty()) << "a next key alone pins nothing";
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("no key is pinned"), std::string::npos) << warnings[0];
}

TEST(NextKey, killed_at_any_step_leaves_the_earlier_pin_or_the_new_one) {
  std::optional<ScratchDirectory> scratch;
  int new_ones = 0;
  const int steps = kill_at_each_step(
      [&] {
        scratch.emplace();
        const auto store = open_store(scratch->path(), TrustMode::strict);
        ASSERT_TRUE(store->pin("a@h", key_1) && store->pin_next("a@h", key_2));
      },
      [&] {
        const auto store = open_store(scratch->path(), TrustMode::strict);
        return reserve(*store, "a@h", key_2)->commit().has_value();
      },
      [&](int step) {
        const auto left = open_store(scratch->path(), TrustMode::strict);
        const auto pinned = left->find("a@h");
        EXPECT_TRUE(pinned == key_1 || pinned == key_2) << step;
        if (pinned == key_2) ++new_ones;
        EXPECT_EQ(reserve(*left, "a@h", key_1).has_value(), pinned == key_1) << step;
        EXPECT_TRUE(reserve(*left, "a@h", key_2)) << "step " << step << ": its owner gets in";
      });
  EXPECT_GE(new_ones, 3) << "steps after the replacement";
  EXPECT_LT(new_ones, steps) << "steps before it";
}

}  // namespace
}  // namespace barrel_p2p::test
