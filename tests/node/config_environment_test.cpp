// Keys in the environment, what differs between two configurations, and the endpoint's own rules.
#include <gtest/gtest.h>

#include <barrel_p2p/node_config.hpp>
#include <map>
#include <string>
#include <vector>

#include "node/config_keys.hpp"
#include "node/validate.hpp"

namespace barrel_p2p {
namespace {

using Environment = std::map<std::string, std::string>;

NodeConfig named() {
  NodeConfig config;
  config.name = "a@127.0.0.1";
  return config;
}

TEST(Environment, values_of_every_form_count_more_than_what_was_there) {
  NodeConfig before = named();
  before.port = 1;
  const auto config = override_config(before, Environment{{"BARREL_P2P_LISTEN_PORT", "9101"},
                                                          {"BARREL_P2P_DIST_COOKIE", "true"},
                                                          {"BARREL_P2P_AUTH_TRUST_MODE", "strict"},
                                                          {"BARREL_P2P_HIDDEN", "true"},
                                                          {"BARREL_P2P_CONTACT_NODES", "b@h,c@h"},
                                                          {"BARREL_P2P_DISCOVERY_BACKENDS", "[\"dns\"]"},
                                                          {"BARREL_P2P_NODES", "{ \"b@h\" = \"127.0.0.1:1\" }"},
                                                          {"BARREL_P2P_MAP_SCAN_MS", "700"},
                                                          {"BARREL_P2P_ADMIN_PORT", "9180"},
                                                          {"BARREL_P2P_LIMITS_CONNECTIONS_MAX", "7"}});
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->port, 9101);
  EXPECT_EQ(config->cookie, "true");
  EXPECT_EQ(config->authentication.trust_mode, TrustMode::strict);
  EXPECT_TRUE(config->hidden);
  EXPECT_EQ(config->membership.contacts, (std::vector<std::string>{"b@h", "c@h"}));
  EXPECT_EQ(config->discovery_backends, (std::vector<std::string>{"dns"}));
  EXPECT_EQ(config->static_nodes.at("b@h"), "127.0.0.1:1");
  EXPECT_EQ(config->replication.map_scan, std::chrono::milliseconds(700));
  EXPECT_EQ(config->admin.port, 9180);
  EXPECT_EQ(config->limits.connections_max, 7U);
  EXPECT_EQ(config->name, "a@127.0.0.1") << "what is not named stays";
}

TEST(Environment, tables_of_nodes_and_of_maps_stand_in_place_of_those_of_the_file) {
  const auto file = parse_config(R"(
name = "a@127.0.0.1"
[nodes]
"b@h" = "127.0.0.1:1"
[[replicated_maps]]
name = "m"
)");
  ASSERT_TRUE(file.has_value()) << file.error().message();
  const auto config = override_config(*file, {{"BARREL_P2P_NODES", "{ \"c@h\" = \"127.0.0.1:2\" }"},
                                              {"BARREL_P2P_REPLICATED_MAPS", "[{ name = \"m\", persist = true }]"}});
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->static_nodes, (std::map<std::string, std::string>{{"c@h", "127.0.0.1:2"}}));
  ASSERT_EQ(config->replication.maps.size(), 1U);
  EXPECT_TRUE(config->replication.maps[0].options.persist);
  EXPECT_TRUE(check_config(*config).has_value());

  const auto none = override_config(*file, {{"BARREL_P2P_NODES", "{}"}, {"BARREL_P2P_REPLICATED_MAPS", "[]"}});
  ASSERT_TRUE(none.has_value()) << none.error().message();
  EXPECT_TRUE(none->static_nodes.empty());
  EXPECT_TRUE(none->replication.maps.empty());
}

TEST(Environment, what_is_no_value_is_refused_with_the_name_of_the_variable) {
  for (const auto& [variable, value] : Environment{{"BARREL_P2P_LISTEN_PORT", "70000"},
                                                   {"BARREL_P2P_HIDDEN", "maybe"},
                                                   {"BARREL_P2P_WORKERS", "1\nname = \"x\""},
                                                   {"BARREL_P2P_WORKERS_", ""},
                                                   {"BARREL_P2P_LOG_LEVEL", "loud"}}) {
    const auto config = override_config(named(), {{variable, value}});
    if (variable == "BARREL_P2P_WORKERS_") {
      EXPECT_TRUE(config.has_value()) << "others have variables of that kind, Kubernetes for instance";
      continue;
    }
    ASSERT_FALSE(config.has_value()) << variable;
    EXPECT_EQ(config.error(), Errc::invalid_config);
    EXPECT_TRUE(config.error().context().starts_with(variable + " (")) << config.error().message();
  }
}

TEST(Environment, blanks_around_the_elements_of_a_list_do_not_count) {
  const auto config = override_config(named(), {{"BARREL_P2P_CONTACT_NODES", " a@h,\tb@h , c@h"}});
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->membership.contacts, (std::vector<std::string>{"a@h", "b@h", "c@h"}));
}

TEST(Environment, what_is_empty_or_no_value_is_told_what_the_key_takes) {
  const auto refused = [](const std::string& variable, const std::string& value) {
    const auto config = override_config(named(), {{variable, value}});
    return config ? std::string() : config.error().context();
  };
  for (const char* value : {"", "ten", "1 2", "1\nname = \"x\""}) {
    EXPECT_EQ(refused("BARREL_P2P_LISTEN_PORT", value),
              "BARREL_P2P_LISTEN_PORT (listen_port) must be an integer from 0 to 65535");
  }
  EXPECT_EQ(refused("BARREL_P2P_HIDDEN", ""), "BARREL_P2P_HIDDEN (hidden) must be true or false");
  EXPECT_EQ(refused("BARREL_P2P_LOG_LEVEL", ""),
            "BARREL_P2P_LOG_LEVEL (log_level) must be one of \"debug\" \"info\" \"warning\" \"error\" \"off\"");
}

TEST(Environment, no_two_keys_have_the_same_variable) {
  std::map<std::string, std::string> keys;
  for (const auto& key : node::config_keys()) {
    const auto [found, first] = keys.emplace(node::environment_name(key), key);
    EXPECT_TRUE(first) << key << " and " << found->second;
  }
}

TEST(Configuration, keys_that_differ_are_found) {
  NodeConfig left = named();
  NodeConfig right = left;
  EXPECT_TRUE(node::differing_keys(left, right).empty());
  right.log_level = LogLevel::debug;
  right.limits.atoms_max = 20'000;
  right.replication.maps.push_back({"config", {}});
  right.admin.port = 1;
  EXPECT_EQ(node::differing_keys(left, right),
            (std::vector<std::string>{"log_level", "replicated_maps", "limits.atoms_max", "admin.port"}));
}

TEST(Configuration, what_is_advertised_is_where_others_can_reach_the_node) {
  const auto refused = [](const std::string& advertise, const std::string& name = "a@127.0.0.1") {
    NodeConfig config;
    config.name = name;
    config.advertise = advertise;
    const auto checked = check_config(config);
    return checked ? std::string() : checked.error().context();
  };
  for (const char* good : {"10.0.0.1", "::1", "[fe80::1]", "db1", "db-1.example.net", "db_1.", "1.example"}) {
    EXPECT_EQ(refused(good), "") << good;
  }
  for (const char* wildcard : {"0.0.0.0", "::", "[::]", "::ffff:0.0.0.0"}) {
    EXPECT_NE(refused(wildcard).find("advertise must not be"), std::string::npos) << wildcard;
  }
  for (const char* bad : {"db1:4433", "10.0.0.1:4433", "no host", "a..b", "-a", "\"", "0", "127.1", "h/24", "a@h"}) {
    EXPECT_NE(refused(bad).find("advertise must be an IP address or a host name"), std::string::npos) << bad;
  }
  EXPECT_NE(refused("", "a@0.0.0.0").find("advertise is not set"), std::string::npos);
  EXPECT_EQ(refused("10.0.0.1", "a@0.0.0.0"), "");
}

TEST(Configuration, an_endpoint_beyond_loopback_needs_a_token) {
  NodeConfig config = named();
  config.admin.listen = "0.0.0.0";
  EXPECT_TRUE(node::validate(config).has_value()) << "there is no endpoint";
  config.admin.port = 0;
  const auto open = node::validate(config);
  ASSERT_FALSE(open.has_value());
  EXPECT_NE(open.error().context().find("admin.token is required"), std::string::npos) << open.error().message();
  config.admin.token = "0123456789abcdef";
  EXPECT_TRUE(node::validate(config).has_value());
  for (const auto* bad : {"short", "0123456789 abcdef", "0123456789abcd\xC3\xA9"}) {
    config.admin.token = bad;
    EXPECT_FALSE(node::validate(config).has_value()) << bad;
  }
  config.admin.token = "0123456789abcdef";
  config.admin.token_file = "token";
  EXPECT_FALSE(node::validate(config).has_value()) << "which of them?";
  config.admin.token_file.clear();
  config.admin.listen = "localhost";
  EXPECT_FALSE(node::validate(config).has_value());
}

}  // namespace
}  // namespace barrel_p2p
