// `barrel_p2p keys` and `barrel_p2p cert` as functions.
#include "keys_command.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "cert_command.hpp"
#include "command_line.hpp"
#include "distribution/auth/certificate.hpp"
#include "distribution/auth/identity.hpp"
#include "distribution/auth/trust_store.hpp"
#include "support/scratch.hpp"

namespace barrel_p2p::command {
namespace {

namespace fs = std::filesystem;
using distribution::to_hex;

struct Said {
  int status;
  std::string output, errors;
};

class KeyCommands : public testing::Test {
 protected:
  Said keys(KeysOperation operation, const std::string& key = "", const std::string& node = "", bool next = false) {
    KeysCommand command;
    command.operation = operation;
    command.key_dir = root / "keys";
    command.node = node;
    command.key = key;
    command.next = next;
    std::ostringstream output;
    std::ostringstream errors;
    const int status = run_keys_command(command, output, errors);
    return {status, output.str(), errors.str()};
  }
  Said cert(CertOperation operation, const fs::path& file = {}, const fs::path& key = {}) {
    std::ostringstream output;
    std::ostringstream errors;
    const int status = run_cert_command({operation, root / "quic", file, key}, output, errors);
    return {status, output.str(), errors.str()};
  }
  static void expect_word(const std::string& text, const std::string& word) {
    EXPECT_NE(text.find(word), std::string::npos) << text;
  }

  const test::ScratchDirectory root;
};

TEST_F(KeyCommands, rotate_shows_the_new_key_and_where_the_earlier_one_is) {
  expect_word(keys(KeysOperation::rotate).errors, "not_found");
  EXPECT_FALSE(fs::exists(root / "keys")) << "a directory that was mistyped is not made";
  ASSERT_EQ(keys(KeysOperation::make).status, exit_ok);
  const auto prepared = keys(KeysOperation::prepare);
  ASSERT_EQ(prepared.status, exit_ok) << prepared.errors;
  const auto rotated = keys(KeysOperation::rotate);
  ASSERT_EQ(rotated.status, exit_ok) << rotated.errors;
  const auto identity = distribution::load_identity(root / "keys").value();
  for (const auto& text : {prepared.output, rotated.output}) {
    expect_word(text, "key         " + to_hex(identity.public_key()));
    expect_word(text, "fingerprint " + to_hex(distribution::fingerprint(identity.public_key())));
  }
  expect_word(rotated.output, "backup      " + (root / "keys" / "backups").string());
}

TEST_F(KeyCommands, that_show_something_make_nothing) {
  for (const auto operation : {KeysOperation::show, KeysOperation::fingerprint, KeysOperation::list}) {
    const auto said = keys(operation);
    EXPECT_EQ(said.status, exit_failed) << said.output;
    expect_word(said.errors, "give the --data or --key-dir of the node");
    EXPECT_FALSE(fs::exists(root / "keys"));
  }
  expect_word(keys(KeysOperation::show).errors, "`keys new` makes one");
  const auto made = keys(KeysOperation::make);
  ASSERT_EQ(made.status, exit_ok) << made.errors;
  const auto shown = keys(KeysOperation::show).output;
  EXPECT_EQ(made.output, shown + "directory   " + (root / "keys").string() + "\n");
  EXPECT_EQ(keys(KeysOperation::list).output, "");
  EXPECT_FALSE(fs::exists(root / "keys" / "trusted"));
  const auto again = keys(KeysOperation::make);
  EXPECT_EQ(again.status, exit_failed);
  expect_word(again.errors, "`keys rotate` replaces it");
  EXPECT_EQ(keys(KeysOperation::show).output, shown);
}

TEST_F(KeyCommands, a_key_is_revoked_by_name_key_fingerprint_or_file) {
  ASSERT_EQ(keys(KeysOperation::make).status, exit_ok);
  const auto other = distribution::PrivateKey::generate().public_key();
  const auto fingerprint = to_hex(distribution::fingerprint(other));
  std::ofstream(root / "node.pub", std::ios::binary)
      .write(reinterpret_cast<const char*>(other.data()), static_cast<std::streamsize>(other.size()));
  ASSERT_EQ(keys(KeysOperation::pin, to_hex(other), "b@h").status, exit_ok);
  for (const auto& what : {std::string("b@h"), to_hex(other), fingerprint, (root / "node.pub").string()}) {
    const auto revoked = keys(KeysOperation::revoke, what);
    ASSERT_EQ(revoked.status, exit_ok) << what << revoked.errors;
    expect_word(revoked.output, "revoked     " + fingerprint);
    expect_word(revoked.output, "pinned for  b@h");
    EXPECT_EQ(keys(KeysOperation::revoked).output, fingerprint + " " + to_hex(other) + "\n");
    expect_word(keys(KeysOperation::list).output, to_hex(other) + " revoked\n");
    EXPECT_EQ(keys(KeysOperation::unrevoke, what).status, exit_ok) << what;
    EXPECT_EQ(keys(KeysOperation::revoked).output, "");
  }
}

TEST_F(KeyCommands, revocations_that_would_keep_nobody_out_are_refused) {
  const auto other = to_hex(distribution::PrivateKey::generate().public_key());
  const auto nowhere = keys(KeysOperation::revoke, other);
  EXPECT_EQ(nowhere.status, exit_failed);
  expect_word(nowhere.errors, "--data");
  EXPECT_FALSE(fs::exists(root / "keys"));
  ASSERT_EQ(keys(KeysOperation::make).status, exit_ok);
  const auto unknown = keys(KeysOperation::revoke, "b@h");
  EXPECT_EQ(unknown.status, exit_failed);
  expect_word(unknown.errors, "give the key itself");
  EXPECT_EQ(keys(KeysOperation::revoke, "b").status, exit_usage);
  const auto own = keys(KeysOperation::revoke, (root / "keys" / "node.pub").string());
  EXPECT_EQ(own.status, exit_usage);
  expect_word(own.errors, "rotate it");
  EXPECT_EQ(keys(KeysOperation::unrevoke, other).status, exit_failed);
  EXPECT_EQ(keys(KeysOperation::revoked).output, "");
}

TEST_F(KeyCommands, pins_may_come_before_the_first_start_of_a_node_and_never_make_its_data_directory) {
  KeysCommand command;
  command.operation = KeysOperation::pin;
  command.data_dir = root / "data";
  command.key_dir = command.data_dir / "keys";
  command.node = "b@h";
  command.key = to_hex(distribution::PrivateKey::generate().public_key());
  std::ostringstream output;
  std::ostringstream errors;
  EXPECT_EQ(run_keys_command(command, output, errors), exit_failed);
  expect_word(errors.str(), command.data_dir.string() + " does not exist: give the --data or --key-dir of the node");
  expect_word(errors.str(), "`keys new` makes it");
  EXPECT_FALSE(fs::exists(command.data_dir));
  fs::create_directory(command.data_dir);
  EXPECT_EQ(run_keys_command(command, output, errors), exit_ok) << errors.str();
  EXPECT_TRUE(fs::exists(command.key_dir / "trusted" / "b@h.pub"));
}

TEST_F(KeyCommands, a_key_directory_that_was_given_by_itself_has_to_be_there_for_pins) {
  for (const auto operation : {KeysOperation::pin, KeysOperation::unpin}) {
    const auto said = keys(operation, to_hex(distribution::PrivateKey::generate().public_key()), "b@h");
    EXPECT_EQ(said.status, exit_failed);
    expect_word(said.errors, (root / "keys").string() + " does not exist: give the --data or --key-dir of the node");
    EXPECT_FALSE(fs::exists(root / "keys"));
  }
}

TEST_F(KeyCommands, of_a_user_who_may_not_look_into_the_directory_say_who_may) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  ASSERT_EQ(keys(KeysOperation::make).status, exit_ok);
  fs::permissions(root.path(), fs::perms::owner_all);
  ASSERT_EQ(::seteuid(61'234), 0);
  const auto said = keys(KeysOperation::revoked);
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_EQ(said.status, exit_failed);
  expect_word(said.errors, (root / "keys").string() + " is not for this user to see: be the user of the node, or root");
}

TEST_F(KeyCommands, that_change_something_say_what_and_in_which_directory) {
  const auto other = to_hex(distribution::PrivateKey::generate().public_key());
  const auto next = to_hex(distribution::PrivateKey::generate().public_key());
  const std::string where = "directory   " + (root / "keys").string() + "\n";
  expect_word(keys(KeysOperation::make).output, where);
  const auto pinned = keys(KeysOperation::pin, other, "b@h").output;
  EXPECT_TRUE(pinned.starts_with("pinned for  b@h\nfingerprint ")) << pinned;
  expect_word(pinned, where);
  EXPECT_TRUE(keys(KeysOperation::pin, next, "b@h", true).output.starts_with("next for    b@h\n"));
  expect_word(keys(KeysOperation::revoke, other).output, where);
  expect_word(keys(KeysOperation::unrevoke, other).output, where);
  EXPECT_EQ(keys(KeysOperation::unpin, "", "b@h").output, "unpinned    b@h\n" + where);
  expect_word(keys(KeysOperation::prepare).output, where);
  expect_word(keys(KeysOperation::rotate).output, where);
}

TEST_F(KeyCommands, pin_next_keeps_the_pinned_key) {
  ASSERT_EQ(keys(KeysOperation::make).status, exit_ok);
  const auto first = to_hex(distribution::PrivateKey::generate().public_key());
  const auto second = to_hex(distribution::PrivateKey::generate().public_key());
  EXPECT_EQ(keys(KeysOperation::pin, second, "b@h", true).status, exit_failed) << "nothing is pinned yet";
  ASSERT_EQ(keys(KeysOperation::pin, first, "b@h").status, exit_ok);
  ASSERT_EQ(keys(KeysOperation::pin, second, "b@h", true).status, exit_ok);
  expect_word(keys(KeysOperation::list).output, first + " next " + second + "\n");
  ASSERT_EQ(keys(KeysOperation::unpin, "", "b@h").status, exit_ok);
  EXPECT_EQ(keys(KeysOperation::list).output, "");
}

TEST_F(KeyCommands, of_root_leave_nothing_that_the_user_of_the_node_cannot_read) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be at work for another user";
  constexpr uid_t user = 61'234;
  ASSERT_EQ(::chown(root.path().c_str(), user, user), 0);
  const auto other = to_hex(distribution::PrivateKey::generate().public_key());
  const auto next = to_hex(distribution::PrivateKey::generate().public_key());
  for (const auto& said :
       {keys(KeysOperation::make), keys(KeysOperation::pin, other, "b@h"), keys(KeysOperation::pin, next, "b@h", true),
        keys(KeysOperation::revoke, other), keys(KeysOperation::pin, other, "c@h"),
        keys(KeysOperation::unpin, "", "c@h"), keys(KeysOperation::prepare), keys(KeysOperation::rotate),
        cert(CertOperation::generate), cert(CertOperation::rotate)}) {
    EXPECT_EQ(said.status, exit_ok) << said.errors;
  }
  std::set<std::string> seen;
  for (const auto& made : fs::recursive_directory_iterator(root.path())) {
    struct stat info{};
    ASSERT_EQ(::lstat(made.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, user) << made.path();
    EXPECT_EQ(info.st_gid, user) << made.path();
    seen.insert(made.path().filename().string());
  }
  for (const char* name : {"node.key", "node.pub", "node.crt", "b@h.pub", "b@h.next", "revoked", "backups"}) {
    EXPECT_TRUE(seen.contains(name)) << name;
  }
}

TEST_F(KeyCommands, cert_shows_makes_and_rotates) {
  const auto absent = cert(CertOperation::show);
  EXPECT_EQ(absent.status, exit_failed);
  expect_word(absent.errors, "cert generate");
  EXPECT_EQ(cert(CertOperation::rotate).status, exit_failed);
  EXPECT_FALSE(fs::exists(root / "quic"));
  const auto made = cert(CertOperation::generate);
  ASSERT_EQ(made.status, exit_ok) << made.errors;
  expect_word(made.output, "made by     a node");
  const std::string where = "directory   " + (root / "quic").string() + "\n";
  EXPECT_EQ(cert(CertOperation::show).output + where, made.output);
  expect_word(cert(CertOperation::generate).output, "It was there before");
  const auto rotated = cert(CertOperation::rotate);
  ASSERT_EQ(rotated.status, exit_ok) << rotated.errors;
  expect_word(rotated.output, "backup      " + (root / "quic" / "backups").string());
  expect_word(rotated.output, where);
  const auto now = distribution::load_certificate(root / "quic" / "node.crt", root / "quic" / "node.key").value();
  expect_word(rotated.output, "fingerprint " + to_hex(now.binding));
  EXPECT_EQ(made.output.find(to_hex(now.binding)), std::string::npos);
  const auto elsewhere = cert(CertOperation::show, root / "quic" / "node.crt", root / "quic" / "node.key");
  EXPECT_EQ(elsewhere.output, cert(CertOperation::show).output);
  EXPECT_EQ(cert(CertOperation::show, root / "quic" / "node.crt").status, exit_usage);
  fs::permissions(root / "quic" / "node.key", static_cast<fs::perms>(0644));
  expect_word(cert(CertOperation::show).errors, "chmod 600");
}

}  // namespace
}  // namespace barrel_p2p::command
