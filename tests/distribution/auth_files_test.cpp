// Keys and certificates on disk: nothing is lost, nothing is lent, nothing is believed that others may write.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "distribution/auth/certificate.hpp"
#include "distribution/auth/files.hpp"
#include "distribution/auth/identity.hpp"
#include "distribution/auth/reset_secret.hpp"
#include "distribution/auth_support.hpp"
#include "support/no_room.hpp"

namespace barrel_p2p::test {
namespace {

using namespace distribution;
namespace fs = std::filesystem;

std::size_t files_in(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), {}));
}

TEST(PrivateFiles, directories_are_made_for_their_owner_alone) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(make_private_directory(scratch.path() / "a" / "b"));
  EXPECT_EQ(mode_of(scratch.path() / "a"), 0700U);
  EXPECT_EQ(mode_of(scratch.path() / "a" / "b"), 0700U);
  EXPECT_TRUE(make_private_directory(scratch.path() / "a" / "b"));
  fs::permissions(scratch.path() / "a", static_cast<fs::perms>(0755));
  EXPECT_TRUE(make_private_directory(scratch.path() / "a")) << "as Erlang nodes make them";
  fs::permissions(scratch.path() / "a", static_cast<fs::perms>(0777));
  EXPECT_EQ(make_private_directory(scratch.path() / "a").error(), Errc::permission_denied);
}

TEST(PrivateFiles, a_file_in_the_place_of_a_directory_is_an_error) {
  const ScratchDirectory scratch;
  write_file(scratch.path() / "file", as_bytes("x"));
  EXPECT_EQ(make_private_directory(scratch.path() / "file").error(), Errc::io_error);
  EXPECT_EQ(make_private_directory(scratch.path() / "file" / "below").error(), Errc::io_error);
  fs::create_symlink(scratch.path() / "nowhere", scratch.path() / "link");
  EXPECT_EQ(make_private_directory(scratch.path() / "link").error(), Errc::not_found);
}

TEST(PrivateFiles, a_write_replaces_the_name_and_not_what_it_points_to) {
  const ScratchDirectory scratch;
  const auto file = scratch.path() / "secret";
  const auto victim = scratch.path() / "victim";
  write_file(victim, as_bytes("untouched"), 0644);
  fs::create_symlink(victim, file);
  const auto old_umask = ::umask(0);
  EXPECT_TRUE(write_private_file(file, as_bytes("new")));
  ::umask(old_umask);
  EXPECT_FALSE(fs::is_symlink(file));
  EXPECT_EQ(as_text(read_file(file)), "new");
  EXPECT_EQ(as_text(read_file(victim)), "untouched");
  EXPECT_EQ(mode_of(file), 0600U);
  EXPECT_EQ(files_in(scratch.path()), 2U) << "nothing temporary is left";
  EXPECT_EQ(write_private_file(scratch.path() / "absent" / "file", as_bytes("x")).error(), Errc::not_found);
}

TEST(PrivateFiles, a_creation_leaves_what_is_there_alone) {
  const ScratchDirectory scratch;
  const auto file = scratch.path() / "secret";
  EXPECT_EQ(create_private_file(file, as_bytes("first")), true);
  EXPECT_EQ(create_private_file(file, as_bytes("second")), false);
  EXPECT_EQ(as_text(read_file(file)), "first");
  EXPECT_EQ(mode_of(file), 0600U);
  EXPECT_EQ(files_in(scratch.path()), 1U);
}

TEST(PrivateFiles, what_others_may_touch_is_not_read) {
  const ScratchDirectory scratch;
  const auto file = scratch.path() / "file";
  write_file(file, as_bytes("content"));
  struct Case {
    unsigned mode;
    bool any, trusted, secret;
  };
  for (const auto& [mode, any, trusted, secret] : {Case{0600, true, true, true},
                                                   {0400, true, true, true},
                                                   {0644, true, true, false},
                                                   {0640, true, true, false},
                                                   {0620, true, true, false},
                                                   {0602, true, false, false},
                                                   {0666, true, false, false},
                                                   {0601, true, true, false}}) {
    fs::permissions(file, static_cast<fs::perms>(mode));
    EXPECT_EQ(read_small_file(file, 100, FileCare::any).has_value(), any) << mode;
    EXPECT_EQ(read_small_file(file, 100, FileCare::trusted).has_value(), trusted) << mode;
    EXPECT_EQ(read_small_file(file, 100, FileCare::secret).has_value(), secret) << mode;
  }
  EXPECT_EQ(read_small_file(file, 100, FileCare::secret).error(), Errc::permission_denied);
}

/// User and group.
std::pair<uid_t, gid_t> owner_of(const fs::path& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) throw std::runtime_error("nothing is at " + path.string());
  return {info.st_uid, info.st_gid};
}

TEST(PrivateFiles, what_root_makes_is_of_the_owner_of_the_directory) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files to another user";
  const std::pair<uid_t, gid_t> user{61'234, 61'235};
  for (const auto& owner : {user, std::pair<uid_t, gid_t>{0, 61'235}}) {
    const ScratchDirectory scratch;
    ASSERT_EQ(::chown(scratch.path().c_str(), owner.first, owner.second), 0);
    const auto keys = scratch.path() / "data" / "keys";
    ASSERT_TRUE(make_private_directory(keys));
    ASSERT_TRUE(create_private_file(keys / "made", as_bytes("x")));
    write_file(keys / "replaced", as_bytes("of root"));
    ASSERT_TRUE(write_private_file(keys / "replaced", as_bytes("x")));
    ASSERT_TRUE(write_public_file(keys / "public", as_bytes("x")));
    ASSERT_TRUE(back_up(keys, {"made"}, test_wall));
    std::size_t seen = 0;
    for (const auto& made : fs::recursive_directory_iterator(scratch.path())) {
      const auto expected = owner == user ? user : std::pair{::geteuid(), ::getegid()};
      EXPECT_EQ(owner_of(made.path()), expected) << made.path();
      ++seen;
    }
    EXPECT_EQ(seen, 8U) << "data, keys, three files, and a backup of one";
  }
}

TEST(PrivateFiles, reading_is_bounded_and_never_waits) {
  const ScratchDirectory scratch;
  write_file(scratch.path() / "file", Bytes(8));
  EXPECT_EQ(read_small_file(scratch.path() / "file", 8, FileCare::any)->size(), 8U);
  EXPECT_EQ(read_small_file(scratch.path() / "file", 7, FileCare::any).error(), Errc::limit_exceeded);
  EXPECT_EQ(read_small_file(scratch.path() / "absent", 8, FileCare::any).error(), Errc::not_found);
  EXPECT_EQ(read_small_file(scratch.path(), 8, FileCare::any).error(), Errc::io_error);
  ASSERT_EQ(::mkfifo((scratch.path() / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(read_small_file(scratch.path() / "fifo", 8, FileCare::any).error(), Errc::io_error);
}

TEST(Identity, is_made_once_and_stays) {
  const ScratchDirectory scratch;
  const auto keys = scratch.path() / "data" / "keys";
  EXPECT_EQ(load_identity(keys).error(), Errc::not_found);
  EXPECT_FALSE(fs::exists(keys));
  const auto made = load_or_create_identity(keys);
  ASSERT_TRUE(made);
  EXPECT_EQ(mode_of(keys / "node.key"), 0600U);
  EXPECT_EQ(read_file(keys / "node.key"), Bytes(made->seed().begin(), made->seed().end()));
  EXPECT_EQ(read_file(keys / "node.pub"), Bytes(made->public_key().begin(), made->public_key().end()));
  EXPECT_EQ(files_in(keys), 2U);
  EXPECT_EQ(load_or_create_identity(keys)->public_key(), made->public_key());
  EXPECT_EQ(load_identity(keys)->public_key(), made->public_key());
}

TEST(Identity, files_of_erlang_nodes_are_ours_too) {
  const auto rows = read_vectors("auth_keys.json");
  for (const auto& row : rows.as_array()) {
    const ScratchDirectory scratch;
    write_file(scratch.path() / "node.key", from_hex(text_of(row, "node_key_file_hex")));
    write_file(scratch.path() / "node.pub", from_hex(text_of(row, "public_key_hex")), 0644);
    const auto key = load_identity(scratch.path());
    ASSERT_TRUE(key) << key.error().message();
    EXPECT_EQ(to_hex(key->public_key()), text_of(row, "public_key_hex"));
  }
}

TEST(Identity, a_missing_public_half_is_written_again) {
  const ScratchDirectory scratch;
  write_file(scratch.path() / "node.key", key_of(5).seed());
  ASSERT_TRUE(load_identity(scratch.path()));
  const auto expected = key_of(5).public_key();
  EXPECT_EQ(read_file(scratch.path() / "node.pub"), Bytes(expected.begin(), expected.end()));
}

TEST(Identity, is_never_replaced_when_half_of_it_is_lost) {
  const ScratchDirectory scratch;
  write_file(scratch.path() / "node.pub", key_of(5).public_key());
  EXPECT_EQ(load_or_create_identity(scratch.path()).error(), Errc::corrupt);
  EXPECT_FALSE(fs::exists(scratch.path() / "node.key"));
}

TEST(Identity, halves_that_do_not_fit_are_refused_and_left_alone) {
  const auto other = key_of(6).public_key();
  for (const Bytes& stored : {Bytes(other.begin(), other.end()), Bytes(), Bytes(31), Bytes(33), Bytes(1000)}) {
    const ScratchDirectory scratch;
    write_file(scratch.path() / "node.key", key_of(5).seed());
    write_file(scratch.path() / "node.pub", stored);
    EXPECT_EQ(load_or_create_identity(scratch.path()).error(), Errc::corrupt) << stored.size();
    EXPECT_EQ(read_file(scratch.path() / "node.pub"), stored);
  }
  for (const std::size_t size : {0U, 31U, 33U, 34U, 1000U}) {
    const ScratchDirectory scratch;
    write_file(scratch.path() / "node.key", Bytes(size, 5));
    EXPECT_EQ(load_or_create_identity(scratch.path()).error(), Errc::corrupt) << size;
    EXPECT_EQ(read_file(scratch.path() / "node.key").size(), size);
    EXPECT_FALSE(fs::exists(scratch.path() / "node.pub"));
  }
}

TEST(Identity, a_key_that_others_may_read_is_refused) {
  for (const unsigned mode : {0640U, 0604U, 0644U, 0660U}) {
    const ScratchDirectory scratch;
    write_file(scratch.path() / "node.key", key_of(5).seed(), mode);
    const auto loaded = load_or_create_identity(scratch.path());
    EXPECT_EQ(loaded.error(), Errc::permission_denied) << mode;
    EXPECT_NE(loaded.error().message().find("chmod 600"), std::string::npos);
  }
}

TEST(Identity, threads_that_make_one_at_once_agree) {
  const ScratchDirectory scratch;
  std::array<std::optional<PublicKey>, 4> made;
  {
    std::vector<std::jthread> makers;
    makers.reserve(made.size());
    for (auto& mine : made) {
      makers.emplace_back([&mine, &scratch] {
        if (const auto key = load_or_create_identity(scratch.path() / "keys")) mine = key->public_key();
      });
    }
  }
  ASSERT_TRUE(made[0].has_value());
  for (const auto& each : made) EXPECT_EQ(each, made[0]);
}

constexpr WallMilliseconds day = 86'400'000;

/// `YYMMDDHHMMSSZ` in a term such as `{utcTime,"271122220759Z"}`.
WallMilliseconds utc(const std::string& term) {
  const auto digits = term.substr(term.find('"') + 1, 12);
  const auto two = [&](std::size_t at) { return std::stoi(digits.substr(at, 2)); };
  const std::chrono::year_month_day date{std::chrono::year(2000 + two(0)),
                                         std::chrono::month(static_cast<unsigned>(two(2))),
                                         std::chrono::day(static_cast<unsigned>(two(4)))};
  const auto time = std::chrono::sys_days(date) + std::chrono::hours(two(6)) + std::chrono::minutes(two(8)) +
                    std::chrono::seconds(two(10));
  return std::chrono::duration_cast<Milliseconds>(time.time_since_epoch()).count();
}

/// A directory with the pair of a vector.
void place(const fs::path& directory, const boost::json::value& row) {
  write_file(directory / "node.crt", as_bytes(text_of(row, "cert_pem")), 0644);
  write_file(directory / "node.key", as_bytes(text_of(row, "key_pem")));
}

TEST(Certificates, those_of_erlang_nodes_are_used_as_they_are) {
  const auto rows = read_vectors("auth_certs.json");
  for (const auto& row : rows.as_array()) {
    const ScratchDirectory scratch;
    place(scratch.path(), row);
    const auto loaded = load_or_create_certificate(scratch.path(), utc(text_of(row, "not_before")));
    ASSERT_TRUE(loaded) << text_of(row, "name") << ": " << loaded.error().message();
    EXPECT_EQ(to_hex(loaded->leaf_der), text_of(row, "cert_der_hex"));
    EXPECT_EQ(to_hex(loaded->binding), text_of(row, "binding_hex"));
    EXPECT_EQ(loaded->expires, utc(text_of(row, "not_after")));
    EXPECT_EQ(loaded->key_pem, text_of(row, "key_pem"));
    EXPECT_FALSE(loaded->renewed);
    EXPECT_FALSE(made_by_cpp_node(loaded->leaf_der));
  }
  EXPECT_EQ(rows.as_array().size(), 4U);
}

TEST(Certificates, one_is_made_once_and_loaded_after) {
  const ScratchDirectory scratch;
  const auto directory = scratch.path() / "quic";
  const auto made = load_or_create_certificate(directory, test_wall);
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_TRUE(made->renewed);
  EXPECT_TRUE(made_by_cpp_node(made->leaf_der));
  EXPECT_EQ(made->expires, test_wall + 365 * day);
  EXPECT_EQ(mode_of(directory / "node.key"), 0600U);
  const auto again = load_or_create_certificate(directory, test_wall + 330 * day);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->renewed);
  EXPECT_EQ(again->leaf_der, made->leaf_der);
  EXPECT_EQ(again->binding, sha256(made->leaf_der));
}

TEST(Certificates, ours_are_renewed_in_time_for_the_same_key) {
  const ScratchDirectory scratch;
  const auto made = load_or_create_certificate(scratch.path(), test_wall);
  ASSERT_TRUE(made);
  const auto renewed = load_or_create_certificate(scratch.path(), test_wall + 336 * day);
  ASSERT_TRUE(renewed);
  EXPECT_TRUE(renewed->renewed);
  EXPECT_NE(renewed->binding, made->binding);
  EXPECT_EQ(renewed->key_pem, made->key_pem);
  EXPECT_EQ(renewed->expires, test_wall + (336 + 365) * day);
}

TEST(Certificates, ours_go_on_where_the_disk_refuses_new_ones) {
  const ScratchDirectory scratch;
  const auto made = load_or_create_certificate(scratch.path(), test_wall);
  ASSERT_TRUE(made);
  const auto load = [&] {
    const NoRoom full;
    return load_or_create_certificate(scratch.path(), test_wall + 336 * day);
  };
  const auto kept = load();
  ASSERT_TRUE(kept) << kept.error().message();
  EXPECT_EQ(kept->leaf_der, made->leaf_der);
  EXPECT_FALSE(kept->renewed);
  ASSERT_TRUE(kept->not_renewed.has_value());
  EXPECT_EQ(*kept->not_renewed, Errc::io_error);
  EXPECT_EQ(files_in(scratch.path()), 2U);
  EXPECT_TRUE(load_or_create_certificate(scratch.path(), test_wall + 336 * day)->renewed) << "there is room again";
  fs::remove(scratch.path() / "node.crt");
  EXPECT_EQ(load().error(), Errc::io_error) << "there is none that could go on";
}

TEST(Certificates, torn_pairs_of_ours_are_repaired_and_those_of_an_operator_are_not) {
  const auto rows = read_vectors("auth_certs.json");
  const auto& ours = rows.at(0);
  const auto& operators = rows.at(3);
  const auto now = utc(text_of(ours, "not_before"));
  const ScratchDirectory torn;
  place(torn.path(), ours);
  write_file(torn.path() / "node.key", as_bytes(text_of(rows.at(1), "key_pem")));
  const auto repaired = load_or_create_certificate(torn.path(), now);
  ASSERT_TRUE(repaired);
  EXPECT_TRUE(repaired->renewed);
  EXPECT_EQ(repaired->key_pem, text_of(rows.at(1), "key_pem"));

  const ScratchDirectory foreign;
  place(foreign.path(), operators);
  write_file(foreign.path() / "node.key", as_bytes(text_of(ours, "key_pem")));
  EXPECT_EQ(load_or_create_certificate(foreign.path(), now).error(), Errc::corrupt);
  fs::remove(foreign.path() / "node.key");
  EXPECT_EQ(load_or_create_certificate(foreign.path(), now).error(), Errc::corrupt);
  EXPECT_FALSE(fs::exists(foreign.path() / "node.key"));
}

TEST(Certificates, one_of_an_operator_is_used_even_when_it_ran_out) {
  const auto row = read_vectors("auth_certs.json").at(3);
  const ScratchDirectory scratch;
  place(scratch.path(), row);
  const auto loaded = load_or_create_certificate(scratch.path(), utc(text_of(row, "not_after")) + 100 * day);
  ASSERT_TRUE(loaded);
  EXPECT_FALSE(loaded->renewed);
  EXPECT_EQ(to_hex(loaded->leaf_der), text_of(row, "cert_der_hex"));
}

TEST(Certificates, a_key_alone_gets_a_certificate_and_keeps_its_file) {
  const auto row = read_vectors("auth_certs.json").at(0);
  const ScratchDirectory scratch;
  write_file(scratch.path() / "node.key", as_bytes(text_of(row, "key_pem")));
  const auto made = load_or_create_certificate(scratch.path(), test_wall);
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->renewed);
  EXPECT_EQ(as_text(read_file(scratch.path() / "node.key")), text_of(row, "key_pem"));
}

TEST(Certificates, what_cannot_be_read_or_is_open_to_others_is_refused) {
  const auto row = read_vectors("auth_certs.json").at(0);
  const auto now = utc(text_of(row, "not_before"));
  const ScratchDirectory scratch;
  place(scratch.path(), row);
  write_file(scratch.path() / "node.crt", as_bytes("not a certificate"));
  EXPECT_EQ(load_or_create_certificate(scratch.path(), now).error(), Errc::corrupt);
  place(scratch.path(), row);
  write_file(scratch.path() / "node.key", as_bytes("not a key"));
  EXPECT_EQ(load_or_create_certificate(scratch.path(), now).error(), Errc::corrupt);
  place(scratch.path(), row);
  fs::permissions(scratch.path() / "node.key", static_cast<fs::perms>(0644));
  EXPECT_EQ(load_or_create_certificate(scratch.path(), now).error(), Errc::permission_denied);
  place(scratch.path(), row);
  fs::permissions(scratch.path() / "node.crt", static_cast<fs::perms>(0666));
  EXPECT_EQ(load_or_create_certificate(scratch.path(), now).error(), Errc::permission_denied);
}

TEST(Certificates, of_an_operator_are_read_from_any_files_and_never_written) {
  const auto row = read_vectors("auth_certs.json").at(0);
  const ScratchDirectory scratch;
  place(scratch.path(), row);
  fs::rename(scratch.path() / "node.crt", scratch.path() / "site.pem");
  fs::rename(scratch.path() / "node.key", scratch.path() / "site.key");
  const auto loaded = load_certificate(scratch.path() / "site.pem", scratch.path() / "site.key");
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(to_hex(loaded->leaf_der), text_of(row, "cert_der_hex"));
  EXPECT_FALSE(loaded->renewed);
  EXPECT_EQ(load_certificate(scratch.path() / "none.pem", scratch.path() / "site.key").error(), Errc::not_found);
  EXPECT_EQ(load_certificate(scratch.path() / "site.key", scratch.path() / "site.key").error(), Errc::corrupt);
  const ScratchDirectory other;
  ASSERT_TRUE(load_or_create_certificate(other.path(), test_wall));
  EXPECT_EQ(load_certificate(scratch.path() / "site.pem", other.path() / "node.key").error(), Errc::corrupt);
  EXPECT_EQ(files_in(scratch.path()), 2U);
}

TEST(PrivateFiles, what_a_crash_left_goes_a_minute_later_where_nobody_locks) {
  const ScratchDirectory scratch;
  const auto old = scratch.path() / ".new-123";
  for (const auto& name : {".new-123", ".new-456", ".new-mine", "new-789", "peers"}) {
    write_file(scratch.path() / name, as_bytes("x"));
  }
  fs::create_directory(scratch.path() / ".new-1");
  remove_old_leftovers(scratch.path());
  EXPECT_EQ(files_in(scratch.path()), 6U) << "somebody may be writing them";
  for (const auto& each : fs::directory_iterator(scratch.path())) {
    fs::last_write_time(each.path(), fs::file_time_type::clock::now() - std::chrono::seconds(62));
  }
  fs::last_write_time(scratch.path() / ".new-456", fs::file_time_type::clock::now());
  remove_old_leftovers(scratch.path());
  EXPECT_FALSE(fs::exists(old));
  EXPECT_EQ(files_in(scratch.path()), 5U);
  remove_old_leftovers(scratch.path() / "nowhere");
}

TEST(ResetSecret, is_made_once_for_its_owner_alone_and_is_the_same_after_a_restart) {
  const ScratchDirectory scratch;
  const auto file = scratch.path() / "quic" / "reset.key";
  const auto made = load_or_create_reset_secret(file);
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(mode_of(file), 0600U);
  EXPECT_EQ(mode_of(file.parent_path()), 0700U);
  EXPECT_EQ(files_in(file.parent_path()), 1U) << "nothing temporary is left";
  EXPECT_EQ(load_or_create_reset_secret(file), made);
  EXPECT_NE(load_or_create_reset_secret(scratch.path() / "other.key"), made);
}

TEST(ResetSecret, of_another_length_or_open_to_others_is_refused_and_left_alone) {
  const ScratchDirectory scratch;
  const auto file = scratch.path() / "reset.key";
  for (const std::size_t length : {0U, 31U, 33U, 5000U}) {
    write_file(file, Bytes(length, 7));
    const auto loaded = load_or_create_reset_secret(file);
    ASSERT_FALSE(loaded) << length;
    EXPECT_EQ(loaded.error(), Errc::corrupt) << length;
    EXPECT_NE(loaded.error().message().find("reset.key"), std::string::npos);
    EXPECT_EQ(read_file(file).size(), length);
  }
  write_file(file, Bytes(32, 7));
  ASSERT_TRUE(load_or_create_reset_secret(file));
  fs::permissions(file, static_cast<fs::perms>(0640));
  EXPECT_EQ(load_or_create_reset_secret(file).error(), Errc::permission_denied);
}

}  // namespace
}  // namespace barrel_p2p::test
