#include <gtest/gtest.h>
#include <barrel_p2p/node_config.hpp>

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;

TEST(Configuration, keys_of_every_kind_are_read_and_the_rest_keeps_its_default) {
  const auto config = parse_config(R"(
name = "a@127.0.0.1"
listen_port = 9101
dist_cookie = "s3cret"
auth_trust_mode = "strict"
auth_handshake_timeout = 5000
cookie_only_nodes = ["mon@h", "*@probe"]
auto_connect = false
[nodes]
"b@127.0.0.1" = "127.0.0.1:9102"
[detector]
dead_after_ms = 9000
[limits]
connections_max = 7
)");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->name, "a@127.0.0.1");
  EXPECT_EQ(config->port, 9101);
  EXPECT_EQ(config->cookie, "s3cret");
  EXPECT_EQ(config->authentication.trust_mode, TrustMode::strict);
  EXPECT_EQ(config->authentication.handshake_timeout, 5s);
  EXPECT_EQ(config->authentication.cookie_only_nodes, (std::vector<std::string>{"mon@h", "*@probe"}));
  EXPECT_FALSE(config->auto_connect);
  EXPECT_EQ(config->static_nodes.at("b@127.0.0.1"), "127.0.0.1:9102");
  EXPECT_EQ(config->detector.dead_after, 9s);
  EXPECT_EQ(config->detector.keep_alive, 1s);
  EXPECT_EQ(config->limits.connections_max, 7U);
}

TEST(Configuration, a_certificate_and_its_key_are_given_together) {
  const auto config = parse_config("cert_file = \"/etc/tls/node.crt\"\nkey_file = \"/etc/tls/node.key\"");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->certificate_file, "/etc/tls/node.crt");
  EXPECT_EQ(config->certificate_key_file, "/etc/tls/node.key");
}

struct Bad {
  const char* toml;
  const char* says;
};

class BadConfiguration : public testing::TestWithParam<Bad> {};

TEST_P(BadConfiguration, is_refused_with_the_line_and_the_remedy) {
  const auto config = parse_config(GetParam().toml);
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error(), Errc::invalid_config);
  EXPECT_NE(config.error().context().find(GetParam().says), std::string::npos) << config.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    Files, BadConfiguration,
    testing::Values(Bad{"listen_prot = 1", "line 1: listen_prot is not a key"},
                    Bad{"\nlisten_port = \"x\"", "line 2: listen_port must be an integer from 0 to 65535"},
                    Bad{"listen_port = 70000", "from 0 to 65535"},
                    Bad{"auth_trust_mode = \"none\"", "one of \"tofu\" \"strict\""},
                    Bad{"[detector]\nkeep_alive = 1", "line 2: detector.keep_alive is not a key"},
                    Bad{"detector = 3", "detector must be a table"}, Bad{"name = ", "line 1: not TOML"},
                    Bad{"cookie_only_nodes = [1]", "an array of strings"}, Bad{"auto_connect = 1", "true or false"},
                    Bad{"setup_timeout_ms = 1", "milliseconds"}, Bad{"[nodes]\na = 1", "nodes must be a table"}));

TEST(Configuration, a_file_that_cannot_be_read_is_named) {
  const auto config = load_config("no/such/file.toml");
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error(), Errc::io_error);
  EXPECT_NE(config.error().context().find("no/such/file.toml"), std::string::npos);
}

}  // namespace
}  // namespace barrel_p2p
