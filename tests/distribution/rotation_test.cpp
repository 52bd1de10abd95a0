// Rotations of identity and certificate on disk, with a process that is killed at each step.
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>

#include "distribution/auth/certificate.hpp"
#include "distribution/auth/identity.hpp"
#include "distribution/auth_support.hpp"
#include "distribution/killed.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::test {
namespace {

using namespace distribution;
namespace fs = std::filesystem;

bool has_leftovers(const fs::path& directory) {
  return std::ranges::any_of(fs::directory_iterator(directory),
                             [](const auto& entry) { return entry.path().filename().string().starts_with(".new-"); });
}

fs::path only_backup(const fs::path& directory) {
  std::set<fs::path> found;
  for (const auto& entry : fs::directory_iterator(directory / "backups")) found.insert(entry.path());
  if (found.size() != 1) throw std::runtime_error("not one backup");
  return *found.begin();
}

TEST(IdentityRotation, replaces_the_key_and_keeps_the_earlier_one_for_its_owner) {
  const ScratchDirectory scratch;
  const auto before = load_or_create_identity(scratch.path()).value();
  const auto rotated = rotate_identity(scratch.path(), test_wall);
  ASSERT_TRUE(rotated) << rotated.error().message();
  EXPECT_NE(rotated->key.public_key(), before.public_key());
  EXPECT_EQ(load_identity(scratch.path())->public_key(), rotated->key.public_key());
  EXPECT_EQ(mode_of(scratch.path() / "node.key"), 0600U);
  const auto backup = scratch.path() / "backups" / "20260921T141320Z";
  EXPECT_EQ(rotated->backup, backup);
  EXPECT_EQ(load_identity(backup)->public_key(), before.public_key());
  EXPECT_EQ(mode_of(backup), 0700U);
  EXPECT_EQ(mode_of(scratch.path() / "backups"), 0700U);
  EXPECT_EQ(mode_of(backup / "node.key"), 0600U);
  const auto again = rotate_identity(scratch.path(), test_wall);
  EXPECT_EQ(again->backup, scratch.path() / "backups" / "20260921T141320Z-2") << "no backup replaces another";
  EXPECT_EQ(load_identity(*again->backup)->public_key(), rotated->key.public_key());
}

TEST(IdentityRotation, takes_the_key_that_was_prepared) {
  const ScratchDirectory scratch;
  const auto before = load_or_create_identity(scratch.path()).value();
  const auto prepared = prepare_identity(scratch.path()).value();
  EXPECT_EQ(prepare_identity(scratch.path())->public_key(), prepared.public_key()) << "asked again";
  EXPECT_EQ(load_identity(scratch.path())->public_key(), before.public_key()) << "nothing is replaced yet";
  EXPECT_EQ(mode_of(scratch.path() / "next.key"), 0600U);
  EXPECT_EQ(rotate_identity(scratch.path(), test_wall)->key.public_key(), prepared.public_key());
  EXPECT_NE(rotate_identity(scratch.path(), test_wall)->key.public_key(), prepared.public_key()) << "only once";
}

TEST(IdentityRotation, needs_an_identity_in_order) {
  const ScratchDirectory scratch;
  EXPECT_EQ(rotate_identity(scratch.path(), test_wall).error(), Errc::not_found);
  EXPECT_EQ(prepare_identity(scratch.path()).error(), Errc::not_found);
  EXPECT_EQ(rotate_identity(scratch.path() / "absent", test_wall).error(), Errc::not_found);
  EXPECT_FALSE(fs::exists(scratch.path() / "absent"));
  write_file(scratch.path() / "node.key", key_of(1).seed());
  const auto other = key_of(2).public_key();
  write_file(scratch.path() / "node.pub", other);
  EXPECT_EQ(rotate_identity(scratch.path(), test_wall).error(), Errc::corrupt);
  EXPECT_EQ(prepare_identity(scratch.path()).error(), Errc::corrupt);
  fs::remove(scratch.path() / "node.pub");
  fs::permissions(scratch.path() / "node.key", static_cast<fs::perms>(0644));
  EXPECT_EQ(rotate_identity(scratch.path(), test_wall).error(), Errc::permission_denied);
  EXPECT_EQ(as_text(read_file(scratch.path() / "node.key")), as_text(key_of(1).seed()));
}

/// Has the disk refuse `node.pub` of this directory when the key has been renamed.
fs::path refused_public_key;
void refuse_public_key(std::string_view step) {
  if (step == "renamed") fs::create_directory(refused_public_key);
}

TEST(IdentityRotation, has_happened_when_the_disk_refuses_what_comes_after_the_renaming) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(load_or_create_identity(scratch.path()));
  const auto prepared = prepare_identity(scratch.path()).value();
  refused_public_key = scratch.path() / "node.pub";
  on_file_step(refuse_public_key);
  const auto rotated = rotate_identity(scratch.path(), test_wall);
  on_file_step(nullptr);
  ASSERT_TRUE(rotated) << rotated.error().message();
  EXPECT_EQ(rotated->key.public_key(), prepared.public_key());
  fs::remove(refused_public_key);
  EXPECT_EQ(load_identity(scratch.path())->public_key(), prepared.public_key());
  EXPECT_TRUE(fs::is_regular_file(scratch.path() / "node.pub")) << "written again";
}

TEST(IdentityRotation, killed_at_any_step_leaves_the_earlier_identity_or_the_new_one) {
  std::optional<ScratchDirectory> scratch;
  std::optional<PrivateKey> before;
  int new_ones = 0;
  const int steps = kill_at_each_step(
      [&] {
        scratch.emplace();
        before = load_or_create_identity(scratch->path()).value();
      },
      [&] { return rotate_identity(scratch->path(), test_wall).has_value(); },
      [&](int step) {
        const auto left = load_or_create_identity(scratch->path());
        ASSERT_TRUE(left) << "step " << step << ": " << left.error().message();
        EXPECT_EQ(read_file(scratch->path() / "node.pub"), Bytes(left->public_key().begin(), left->public_key().end()));
        if (left->public_key() == before->public_key()) {
          EXPECT_EQ(new_ones, 0) << "step " << step << ": it was replaced at an earlier step";
        } else {
          ++new_ones;
          EXPECT_EQ(load_identity(only_backup(scratch->path()))->public_key(), before->public_key()) << step;
        }
        ASSERT_TRUE(rotate_identity(scratch->path(), test_wall)) << "the next rotation works";
        EXPECT_FALSE(has_leftovers(scratch->path())) << step;
      });
  EXPECT_GT(new_ones, 2) << "steps after the replacement";
  EXPECT_GT(steps - new_ones, 10) << "steps before it";
}

TEST(IdentityRotation, secrets_that_a_crash_left_without_a_name_are_removed_by_the_next_one) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(load_or_create_identity(scratch.path()));
  write_file(scratch.path() / ".new-1", key_of(1).seed());
  ASSERT_TRUE(rotate_identity(scratch.path(), test_wall));
  EXPECT_FALSE(has_leftovers(scratch.path()));
}

TEST(IdentityRotation, whoever_looks_meanwhile_sees_one_identity) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(load_or_create_identity(scratch.path()));
  std::atomic<bool> over{false};
  std::atomic<int> looks{0};
  std::thread reader([&] {
    for (; !over; ++looks) {
      const auto seen = load_identity(scratch.path());
      EXPECT_TRUE(seen) << seen.error().message();
    }
  });
  for (int round = 0; round < 5; ++round) {
    EXPECT_TRUE(rotate_identity(scratch.path(), test_wall));
    const int before = looks;
    EXPECT_TRUE(becomes_true([&] { return looks > before; }));
  }
  over = true;
  reader.join();
}

TEST(IdentityRotation, two_at_once_come_one_after_the_other) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(load_or_create_identity(scratch.path()));
  std::vector<std::thread> rotating;
  for (int number = 0; number < 4; ++number) {
    rotating.emplace_back([&] { EXPECT_TRUE(rotate_identity(scratch.path(), test_wall)); });
  }
  for (auto& thread : rotating) thread.join();
  std::set<PublicKey> kept;
  for (const auto& entry : fs::directory_iterator(scratch.path() / "backups")) {
    kept.insert(load_identity(entry.path())->public_key());
  }
  EXPECT_EQ(kept.size(), 4U);
  EXPECT_FALSE(kept.contains(load_identity(scratch.path())->public_key()));
}

TEST(CertificateRotation, makes_a_new_key_and_a_new_certificate_and_keeps_the_earlier_pair) {
  const ScratchDirectory scratch;
  const auto before = load_or_create_certificate(scratch.path(), wall_now()).value();
  EXPECT_TRUE(before.own);
  const auto rotated = rotate_certificate(scratch.path(), wall_now());
  ASSERT_TRUE(rotated) << rotated.error().message();
  EXPECT_NE(rotated->certificate.key_pem, before.key_pem);
  EXPECT_NE(rotated->certificate.binding, before.binding);
  const auto loaded = load_certificate(scratch.path() / "node.crt", scratch.path() / "node.key");
  EXPECT_EQ(loaded->binding, rotated->certificate.binding);
  EXPECT_EQ(mode_of(scratch.path() / "node.key"), 0600U);
  ASSERT_TRUE(rotated->backup);
  EXPECT_EQ(load_certificate(*rotated->backup / "node.crt", *rotated->backup / "node.key")->binding, before.binding);
}

TEST(CertificateRotation, leaves_what_an_operator_placed_alone) {
  const ScratchDirectory scratch;
  EXPECT_EQ(rotate_certificate(scratch.path(), wall_now()).error(), Errc::not_found);
  const auto row = read_vectors("auth_certs.json").at(3);
  const std::string pem = text_of(row, "cert_pem");
  write_file(scratch.path() / "node.crt", as_bytes(pem));
  write_file(scratch.path() / "node.key", as_bytes(text_of(row, "key_pem")));
  EXPECT_FALSE(load_certificate(scratch.path() / "node.crt", scratch.path() / "node.key")->own);
  EXPECT_EQ(rotate_certificate(scratch.path(), wall_now()).error(), Errc::permission_denied);
  EXPECT_EQ(as_text(read_file(scratch.path() / "node.crt")), pem);
  EXPECT_FALSE(fs::exists(scratch.path() / "backups"));
}

TEST(CertificateRotation, killed_at_any_step_leaves_a_pair_that_works) {
  std::optional<ScratchDirectory> scratch;
  std::optional<Certificate> before;
  int new_ones = 0;
  const int steps = kill_at_each_step(
      [&] {
        scratch.emplace();
        before = load_or_create_certificate(scratch->path(), wall_now()).value();
      },
      [&] { return rotate_certificate(scratch->path(), wall_now()).has_value(); },
      [&](int step) {
        const auto left = load_or_create_certificate(scratch->path(), wall_now());
        ASSERT_TRUE(left) << "step " << step << ": " << left.error().message();
        const auto pair = load_certificate(scratch->path() / "node.crt", scratch->path() / "node.key");
        ASSERT_TRUE(pair) << "step " << step << ": " << pair.error().message();
        EXPECT_EQ(pair->binding, left->binding);
        if (pair->key_pem == before->key_pem) {
          EXPECT_EQ(pair->binding, before->binding) << step;
          EXPECT_EQ(new_ones, 0) << "step " << step << ": it was replaced at an earlier step";
        } else {
          ++new_ones;
          const auto backup = only_backup(scratch->path());
          EXPECT_EQ(load_certificate(backup / "node.crt", backup / "node.key")->binding, before->binding) << step;
        }
        ASSERT_TRUE(rotate_certificate(scratch->path(), wall_now())) << "the next rotation works";
      });
  EXPECT_GT(new_ones, 3) << "steps after the replacement of the key";
  EXPECT_GT(steps - new_ones, 10) << "steps before it";
}

}  // namespace
}  // namespace barrel_p2p::test
