// `barrel_p2p call` as a function, towards a node in this process.
#include "call_command.hpp"

#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

#include "command_line.hpp"
#include "distribution/auth/certificate.hpp"
#include "distribution/auth/identity.hpp"
#include "support/scratch.hpp"

namespace barrel_p2p::command {
namespace {

namespace fs = std::filesystem;

std::string content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Call : public testing::Test {
 protected:
  Call() {
    ::setenv("XDG_DATA_HOME", (root / "home").c_str(), 1);
    start_node();
    command.node = "called@127.0.0.1";
    command.module = "erlang";
    command.function = "node";
    command.cookie = "test";
    command.discovery_dir = root / "discovery";
    // Those of an operator: made by somebody else, kept in one place.
    const auto made = distribution::load_or_create_certificate(root / "tls", wall_now());
    EXPECT_TRUE(made.has_value());
    command.certificate = root / "tls" / "node.crt";
    command.certificate_key = root / "tls" / "node.key";
  }
  ~Call() override {
    node.reset();
    ::unsetenv("XDG_DATA_HOME");
  }

  void start_node() {
    NodeConfig config;
    config.name = "called@127.0.0.1";
    config.cookie = "test";
    config.data_dir = root / "called";
    config.discovery_dir = root / "discovery";
    config.discovery_backends = {"static", "file"};
    config.workers = 1;
    config.log_level = LogLevel::off;
    node.emplace(Node::start(config).value());
  }
  int run() {
    output.str("");
    errors.str("");
    return run_call_command(command, output, errors);
  }

  const test::ScratchDirectory root;
  std::optional<Node> node;
  CallCommand command;
  std::ostringstream output;
  std::ostringstream errors;
};

TEST_F(Call, a_given_certificate_is_used_and_left_as_it_is) {
  const std::string certificate = content(command.certificate);
  const std::string key = content(command.certificate_key);
  EXPECT_EQ(run(), exit_ok) << errors.str();
  EXPECT_EQ(output.str(), "'called@127.0.0.1'\n");
  EXPECT_EQ(content(command.certificate), certificate);
  EXPECT_EQ(content(command.certificate_key), key);
  EXPECT_FALSE(fs::exists(root / "home" / "barrel_p2p" / "call-0" / "quic" / "node.crt")) << "none was made";
}

TEST_F(Call, a_node_with_a_new_key_is_refused_and_the_error_says_how_to_take_the_old_one_back) {
  ASSERT_EQ(run(), exit_ok) << errors.str();
  node.reset();
  fs::remove_all(root / "called");
  start_node();
  EXPECT_EQ(run(), exit_connect_failed);
  const fs::path keys = root / "home" / "barrel_p2p" / "call-0" / "keys";
  EXPECT_NE(errors.str().find("barrel_p2p keys unpin called@127.0.0.1 --key-dir " + keys.string()), std::string::npos)
      << errors.str();
  EXPECT_TRUE(fs::is_directory(keys));
}

TEST_F(Call, a_function_that_the_node_does_not_have_is_undefined_once) {
  command.module = "foo";
  command.function = "bar";
  EXPECT_EQ(run(), CallCommand::exit_badrpc);
  EXPECT_EQ(errors.str(), "barrel_p2p call: badrpc: undef: [{foo,bar,[],[]}]\n");
}

TEST_F(Call, a_certificate_and_an_identity_that_are_given_are_those_that_the_node_sees) {
  command.name = "operator@127.0.0.1";
  command.key_dir = root / "operator";
  const auto identity = distribution::load_or_create_identity(command.key_dir);
  ASSERT_TRUE(identity.has_value());
  EXPECT_EQ(run(), exit_ok) << errors.str();
  const auto keys = node->keys();
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_EQ(keys[0].node.text(), "operator@127.0.0.1");
  EXPECT_EQ(keys[0].key, distribution::to_hex(identity->public_key()));
}

TEST_F(Call, a_certificate_that_cannot_be_used_is_wrong_usage) {
  const auto refused = [this](const std::string& says) {
    EXPECT_EQ(run(), exit_usage);
    EXPECT_NE(errors.str().find(says), std::string::npos) << errors.str();
    EXPECT_EQ(output.str(), "");
  };
  const fs::path key = command.certificate_key;
  command.certificate_key.clear();
  refused("--cert and --key belong together");
  command.certificate_key = root / "absent.pem";
  refused("absent.pem");
  command.certificate_key = command.certificate;
  fs::permissions(command.certificate, fs::perms::owner_read | fs::perms::owner_write);
  refused("is no private key");
  command.certificate_key = root / "called" / "quic" / "node.key";
  refused("is not the key of");
  command.certificate_key = key;
  fs::permissions(key, fs::perms::group_read, fs::perm_options::add);
  refused("chmod 600");
  fs::permissions(key, fs::perms::group_read, fs::perm_options::remove);
  command.certificate.swap(command.certificate_key);
  refused("is no certificate");
}

}  // namespace
}  // namespace barrel_p2p::command
