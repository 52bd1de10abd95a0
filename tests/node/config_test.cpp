#include <gtest/gtest.h>
#include <barrel_p2p/node_config.hpp>
#include <barrel_p2p/term.hpp>
#include <boost/json.hpp>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "node/config_keys.hpp"
#include "node/validate.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;

TEST(Configuration, defaults_are_those_of_the_erlang_library_where_it_has_the_key) {
  const NodeConfig config;
  const auto number = [](auto value) { return Term(static_cast<std::int64_t>(value)); };
  const auto& membership = config.membership;
  const auto& replication = config.replication;
  const std::map<std::string, Term> ours{
      {"barrel_p2p.active_size", number(membership.active_size)},
      {"barrel_p2p.arwl", number(membership.arwl)},
      {"barrel_p2p.barrel_p2p_map_scan_ms", number(replication.map_scan.count())},
      {"barrel_p2p.barrel_p2p_map_tombstone_ttl_ms", number(replication.map_tombstone_ttl.count())},
      {"barrel_p2p.contact_retry_ms", number(membership.contact_retry.count())},
      {"barrel_p2p.listen_port", number(config.port)},
      {"barrel_p2p.member_heartbeat_ms", number(replication.heartbeat.count())},
      {"barrel_p2p.member_skew_ms", number(replication.lease_skew.count())},
      {"barrel_p2p.member_ttl_ms", number(replication.lease.count())},
      {"barrel_p2p.passive_size", number(membership.passive_size)},
      {"barrel_p2p.prwl", number(membership.prwl)},
      {"barrel_p2p.reminder_scan_ms", number(replication.reminders.scan.count())},
      {"barrel_p2p.reminder_tombstone_ttl_ms", number(replication.reminders.tombstone_ttl.count())},
      {"barrel_p2p.replica_anti_entropy_ms", number(replication.anti_entropy.count())},
      {"barrel_p2p.ring_size", number(replication.ring_size)},
      {"barrel_p2p.shuffle_length", number(membership.shuffle_length)},
      {"barrel_p2p.shuffle_period", number(membership.shuffle_period.count())},
      {"quic.dist.auth_handshake_timeout", number(config.authentication.handshake_timeout.count())},
  };
  std::size_t compared = 0;
  const auto vectors = test::read_vectors("streams_config_defaults.json");
  for (const auto& row : vectors.as_array()) {
    const auto found = ours.find(test::text_of(row, "name"));
    if (found == ours.end()) continue;  // lists that are empty, and files, which lie elsewhere here
    EXPECT_EQ(found->second, decode_term(test::from_hex(test::text_of(row, "etf_hex"))).value().term) << found->first;
    ++compared;
  }
  EXPECT_EQ(compared, ours.size());
}

TEST(Configuration, keys_of_every_kind_are_read_and_the_rest_keeps_its_default) {
  const auto config = parse_config(R"(
name = "a@127.0.0.1"
listen_port = 9101
dist_cookie = "s3cret"
auth_trust_mode = "strict"
auth_handshake_timeout = 5000
cookie_only_nodes = ["mon@h", "*@probe"]
auto_connect = false
contact_nodes = ["b@127.0.0.1", "c@127.0.0.1"]
active_size = 4
passive_size = 20
arwl = 5
prwl = 2
shuffle_length = 7
shuffle_period = 2000
max_fail_count = 3
base_backoff_ms = 500
passive_max_age_ms = 60000
passive_cleanup_period = 10000
churn_window_ms = 20000
pending_timeout_ms = 5000
contact_retry_ms = 1000
remember_peers = false
[nodes]
"b@127.0.0.1" = "127.0.0.1:9102"
[detector]
dead_after_ms = 9000
[limits]
connections_max = 7
cluster_queue_bytes_max = 100000
[gossip]
payload_bytes_max = 2048
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
  EXPECT_EQ(config->limits.cluster_queue_bytes_max, 100'000U);
  EXPECT_EQ(config->gossip.payload_bytes_max, 2048U);
  const MembershipConfig& membership = config->membership;
  EXPECT_EQ(membership.contacts, (std::vector<std::string>{"b@127.0.0.1", "c@127.0.0.1"}));
  EXPECT_EQ(membership.active_size, 4U);
  EXPECT_EQ(membership.passive_size, 20U);
  EXPECT_EQ(membership.arwl, 5U);
  EXPECT_EQ(membership.prwl, 2U);
  EXPECT_EQ(membership.shuffle_length, 7U);
  EXPECT_EQ(membership.shuffle_period, 2s);
  EXPECT_EQ(membership.max_fail_count, 3U);
  EXPECT_EQ(membership.base_backoff, 500ms);
  EXPECT_EQ(membership.passive_max_age, 60s);
  EXPECT_EQ(membership.passive_cleanup_period, 10s);
  EXPECT_EQ(membership.churn_window, 20s);
  EXPECT_EQ(membership.pending_timeout, 5s);
  EXPECT_EQ(membership.contact_retry, 1s);
  EXPECT_FALSE(membership.remember);
}

TEST(Configuration, files_are_received_as_the_table_says_and_not_without_it) {
  EXPECT_TRUE(NodeConfig().receive.dir.empty());
  const auto config = parse_config(R"(
[receive]
dir = "/srv/in"
file_bytes_max = 1000
free_bytes_min = 0
transfers_max = 2
idle_timeout_ms = 5000
)");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->receive.dir, "/srv/in");
  EXPECT_EQ(config->receive.file_bytes_max, 1000U);
  EXPECT_EQ(config->receive.free_bytes_min, 0U);
  EXPECT_EQ(config->receive.transfers_max, 2U);
  EXPECT_EQ(config->receive.idle_timeout, 5s);
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
    testing::Values(
        Bad{"listen_prot = 1", "line 1: listen_prot is not a key"},
        Bad{"\nlisten_port = \"x\"", "line 2: listen_port must be an integer from 0 to 65535"},
        Bad{"listen_port = 70000", "from 0 to 65535"}, Bad{"auth_trust_mode = \"none\"", "one of \"tofu\" \"strict\""},
        Bad{"[detector]\nkeep_alive = 1", "line 2: detector.keep_alive is not a key"},
        Bad{"detector = 3", "detector must be a table"}, Bad{"name = ", "line 1: not TOML"}, Bad{"[[%a]]", "not TOML"},
        Bad{"\xEF\xBB\xBD", "line 1: not TOML"}, Bad{"cookie_only_nodes = [1]", "an array of strings"},
        Bad{"auto_connect = 1", "true or false"}, Bad{"setup_timeout_ms = 1", "milliseconds"},
        Bad{"busy_poll_us = 10001", "busy_poll_us must be an integer from 0 to 10000 (microseconds)"},
        Bad{"[nodes]\na = 1", "nodes must be a table"}, Bad{"active_size = 1", "active_size must be an integer from 2"},
        Bad{"contact_nodes = \"a@h\"", "contact_nodes must be an array"},
        Bad{"shuffle_period = 99", "shuffle_period must be an integer from 100"},
        Bad{"[receive]\ntransfers_max = 1025", "receive.transfers_max must be an integer from 1 to 1024"},
        Bad{"arwl = 17", "arwl must be an integer from 1 to 16"}));

struct Unfit {
  const char* name;
  void (*change)(NodeConfig& config);
  const char* says;
};

class UnfitMembership : public testing::TestWithParam<Unfit> {};

TEST_P(UnfitMembership, is_refused_at_start_with_its_key) {
  NodeConfig config;
  config.name = "a@127.0.0.1";
  GetParam().change(config);
  const auto valid = node::validate(config);
  ASSERT_FALSE(valid.has_value());
  EXPECT_EQ(valid.error(), Errc::invalid_config);
  EXPECT_TRUE(valid.error().context().starts_with(GetParam().says)) << valid.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    Values, UnfitMembership,
    testing::Values(
        Unfit{"one_neighbour", [](NodeConfig& config) { config.membership.active_size = 1; }, "active_size must be"},
        Unfit{"many_neighbours", [](NodeConfig& config) { config.membership.active_size = 65; }, "active_size must be"},
        Unfit{"small_passive", [](NodeConfig& config) { config.membership.passive_size = 4; },
              "passive_size must be between active_size (5)"},
        Unfit{"no_walk", [](NodeConfig& config) { config.membership.arwl = 0; }, "arwl must be"},
        Unfit{"long_walk", [](NodeConfig& config) { config.membership.arwl = 17; }, "arwl must be"},
        Unfit{"late_store", [](NodeConfig& config) { config.membership.prwl = 7; },
              "prwl must be between 1 and arwl (6)"},
        Unfit{"no_store", [](NodeConfig& config) { config.membership.prwl = 0; }, "prwl must be"},
        Unfit{"empty_shuffle", [](NodeConfig& config) { config.membership.shuffle_length = 0; }, "shuffle_length must"},
        Unfit{"no_failures", [](NodeConfig& config) { config.membership.max_fail_count = 0; }, "max_fail_count must"},
        Unfit{"shuffles", [](NodeConfig& config) { config.membership.shuffle_period = 99ms; }, "shuffle_period must"},
        Unfit{"backoff", [](NodeConfig& config) { config.membership.base_backoff = 0ms; }, "base_backoff_ms must"},
        Unfit{"age", [](NodeConfig& config) { config.membership.passive_max_age = 0ms; }, "passive_max_age_ms must"},
        Unfit{"cleanup", [](NodeConfig& config) { config.membership.passive_cleanup_period = 0ms; },
              "passive_cleanup_period must"},
        Unfit{"churn", [](NodeConfig& config) { config.membership.churn_window = 0ms; }, "churn_window_ms must"},
        Unfit{"pending", [](NodeConfig& config) { config.membership.pending_timeout = 0ms; },
              "pending_timeout_ms must"},
        Unfit{"retry", [](NodeConfig& config) { config.membership.contact_retry = 0ms; }, "contact_retry_ms must"},
        Unfit{"contact", [](NodeConfig& config) { config.membership.contacts = {"nohost"}; },
              "contact_nodes has \"nohost\""},
        Unfit{"hidden",
              [](NodeConfig& config) {
                config.hidden = true;
                config.membership.contacts = {"b@127.0.0.1"};
              },
              "contact_nodes has no use for a hidden node"},
        Unfit{"payload", [](NodeConfig& config) { config.gossip.payload_bytes_max = 1023; },
              "gossip.payload_bytes_max must"},
        Unfit{"no_files", [](NodeConfig& config) { config.receive.file_bytes_max = 0; }, "receive.file_bytes_max must"},
        Unfit{"no_transfers", [](NodeConfig& config) { config.receive.transfers_max = 0; },
              "receive.transfers_max must"},
        Unfit{"impatient", [](NodeConfig& config) { config.receive.idle_timeout = 99ms; },
              "receive.idle_timeout_ms must"},
        Unfit{"eager", [](NodeConfig& config) { config.busy_poll = 10'001us; }, "busy_poll_us must"},
        Unfit{"endless", [](NodeConfig& config) { config.membership.shuffle_period = 3'600'001ms; },
              "shuffle_period must be an integer from 100 to 3600000 (milliseconds)"},
        Unfit{"patient", [](NodeConfig& config) { config.setup_timeout = 60'001ms; }, "setup_timeout_ms must"},
        Unfit{"for_ever", [](NodeConfig& config) { config.replication.lease = std::chrono::milliseconds::max(); },
              "member_ttl_ms must"},
        Unfit{"slow", [](NodeConfig& config) { config.replication.heartbeat = std::chrono::milliseconds::max(); },
              "member_heartbeat_ms must"},
        Unfit{"no_hold", [](NodeConfig& config) { config.replication.map_tombstone_hold = -1ms; },
              "map_tombstone_hold_ms must"},
        Unfit{"restless", [](NodeConfig& config) { config.replication.anti_entropy = 99ms; },
              "replica_anti_entropy_ms must be at least 100"},
        Unfit{"queue", [](NodeConfig& config) { config.limits.cluster_queue_bytes_max = 1; },
              "limits.cluster_queue_bytes_max must"}),
    [](const auto& unfit) { return std::string(unfit.param.name); });

class UnfitDetector : public testing::TestWithParam<Unfit> {};

TEST_P(UnfitDetector, is_refused_with_its_key_before_a_node_is_started) {
  NodeConfig config;
  config.name = "a@127.0.0.1";
  GetParam().change(config);
  const auto good = check_config(config);
  ASSERT_FALSE(good.has_value());
  EXPECT_EQ(good.error(), Errc::invalid_config);
  EXPECT_TRUE(good.error().context().starts_with(GetParam().says)) << good.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    Values, UnfitDetector,
    testing::Values(Unfit{"hurried", [](NodeConfig& config) { config.detector.keep_alive = 99ms; },
                          "detector.keep_alive_ms must"},
                    Unfit{"rash",
                          [](NodeConfig& config) {
                            config.detector.keep_alive = 5s;
                            config.detector.dead_after = 1s;
                          },
                          "detector.dead_after_ms must be at least three times detector.keep_alive_ms"},
                    Unfit{"seldom", [](NodeConfig& config) { config.detector.tick = 1001ms; }, "detector.tick_ms must"},
                    Unfit{"restless", [](NodeConfig& config) { config.detector.pause_threshold = 499ms; },
                          "detector.pause_threshold_ms must"},
                    Unfit{"impatient", [](NodeConfig& config) { config.detector.probe_timeout = 999ms; },
                          "detector.probe_timeout_ms must"}),
    [](const auto& unfit) { return std::string(unfit.param.name); });

TEST(Configuration, a_file_that_cannot_be_read_is_named) {
  const auto config = load_config("no/such/file.toml");
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error(), Errc::io_error);
  EXPECT_NE(config.error().context().find("no/such/file.toml"), std::string::npos);
  const auto directory = load_config(BARREL_P2P_NODE_TESTS_DIR);
  ASSERT_FALSE(directory.has_value());
  EXPECT_EQ(directory.error(), Errc::io_error);
  EXPECT_NE(directory.error().context().find("Is a directory"), std::string::npos) << directory.error().message();
}

TEST(Configuration, every_key_is_in_the_document) {
  std::ifstream file(BARREL_P2P_DOCS_DIR "/configuration.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(text.empty());
  for (const auto& key : node::config_keys()) {
    EXPECT_NE(text.find("`" + key + "`"), std::string::npos) << key << " is missing in docs/configuration.md";
  }
}

TEST(Configuration, the_example_of_the_document_is_good) {
  const auto config = load_config(BARREL_P2P_NODE_TESTS_DIR "/example.toml");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  ASSERT_EQ(config->replication.maps.size(), 1U);
  EXPECT_EQ(config->replication.maps[0].name, "config");
  EXPECT_TRUE(config->replication.maps[0].options.persist);
  EXPECT_TRUE(node::validate(*config).has_value());
}

TEST(Configuration, a_map_may_have_the_scan_of_erlang_nodes) {
  const auto config = parse_config("name = \"a@127.0.0.1\"\n[[replicated_maps]]\nname = \"m\"\nscan_ms = 0");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_TRUE(node::validate(*config).has_value());
}

TEST(Configuration, a_cookie_has_as_many_characters_of_latin_1_as_an_atom) {
  const auto refusal = [](const std::string& cookie) {
    NodeConfig config;
    config.name = "a@127.0.0.1";
    config.cookie = cookie;
    const auto valid = node::validate(config);
    return valid ? std::string() : valid.error().context();
  };
  std::string longest;
  for (std::size_t count = 0; count < 255; ++count) longest += "\u00e9";
  EXPECT_EQ(refusal("geh\u00e9im"), "");
  EXPECT_EQ(refusal("\u00ff"), "");
  EXPECT_EQ(refusal(longest), "");
  EXPECT_EQ(refusal(longest + "x"), "dist_cookie must have 1 to 255 characters");
  EXPECT_EQ(refusal(""), "dist_cookie must have 1 to 255 characters");
  for (const char* cookie : {"\u0100", "10 \u20ac", "geh\xe9im", "\xc3", "\xc3z"}) {
    EXPECT_NE(refusal(cookie).find("U+00FF"), std::string::npos) << cookie;
  }
}

class BadReplication : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BadReplication, is_refused_with_its_key) {
  const auto [toml, key] = GetParam();
  NodeConfig defaults;
  defaults.name = "a@127.0.0.1";
  const auto config = parse_config(toml, defaults);
  const auto refused = config ? node::validate(*config) : std::unexpected(config.error());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), Errc::invalid_config);
  EXPECT_NE(refused.error().context().find(key), std::string::npos) << refused.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    Files, BadReplication,
    testing::Values(std::pair("member_ttl_ms = 4000", "member_ttl_ms"), std::pair("member_heartbeat_ms = 10", "line 1"),
                    std::pair("replica_anti_entropy_ms = 50", "replica_anti_entropy_ms"),
                    std::pair("replicated_maps = 5", "array of tables"),
                    std::pair("[[replicated_maps]]\npersist = true", "replicated_maps"),
                    std::pair("[[replicated_maps]]\nname = \"m\"\npersit = true",
                              "persit is no option of a map: there are name, persist, prune_on_peer_down, "
                              "tombstone_ttl_ms and scan_ms"),
                    std::pair("[[replicated_maps]]\nname = \"m\"\nscan_ms = \"often\"",
                              "scan_ms, which must be an integer (milliseconds)"),
                    std::pair("[[replicated_maps]]\nname = \"m\"\npersist = \"yes\"",
                              "line 1: replicated_maps has persist, which must be true or false"),
                    std::pair("[[replicated_maps]]\nname = 1", "replicated_maps has name, which must be a string"),
                    std::pair("[[replicated_maps]]\nname = \"m\"\ntombstone_ttl_ms = 1.5",
                              "tombstone_ttl_ms, which must be an integer (milliseconds)"),
                    std::pair("[[replicated_maps]]\nname = \"m\"\n[[replicated_maps]]\nname = \"n\"\n"
                              "[[replicated_maps]]\nname = \"m\"",
                              "replicated_maps has \"m\" twice"),
                    std::pair("[[replicated_maps]]\nname = \"m\"\ntombstone_ttl_ms = 5", "tombstone_ttl_ms"),
                    std::pair("[[replicated_maps]]\nname = \"m\"\ntombstone_ttl_ms = 315360000001",
                              "m: tombstone_ttl_ms must be between 1000 and 315360000000"),
                    std::pair("hidden = true\n[[replicated_maps]]\nname = \"m\"", "hidden"),
                    std::pair("map_entry_bytes_max = 1", "line 1"), std::pair("service_meta_bytes_max = 1", "line 1"),
                    std::pair("service_tombstone_ttl_ms = 10", "service_tombstone_ttl_ms"),
                    std::pair("ring_size = 0", "ring_size"), std::pair("ring_size = 1048577", "ring_size"),
                    std::pair("placement_min_members = 0", "placement_min_members"),
                    std::pair("reminder_scan_ms = 10", "reminder_scan_ms"),
                    std::pair("reminder_tombstone_ttl_ms = 10", "reminder_tombstone_ttl_ms"),
                    std::pair("reminder_late_policy = \"never\"", "reminder_late_policy"),
                    std::pair("reminder_late_after_ms = -1", "reminder_late_after_ms"),
                    std::pair("reminder_late_rate = -1", "reminder_late_rate"),
                    std::pair("reminder_keep_without_subscriber = 1", "reminder_keep_without_subscriber")));

TEST(Configuration, a_ring_and_a_majority_are_read_and_checked) {
  auto config = parse_config("name = \"a@127.0.0.1\"\nring_size = 1000\nplacement_min_members = 3");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->replication.ring_size, 1000U);
  EXPECT_EQ(config->replication.placement_members_min, 3U);
  EXPECT_TRUE(node::validate(*config).has_value());
  config->replication.ring_size = 0;
  EXPECT_EQ(node::validate(*config).error(), Errc::invalid_config);
  config->replication.ring_size = 1;
  config->replication.placement_members_min = 0;
  EXPECT_EQ(node::validate(*config).error(), Errc::invalid_config);
}

class UnfitReminders : public testing::TestWithParam<Unfit> {};

TEST_P(UnfitReminders, are_refused_with_their_key) {
  NodeConfig config;
  config.name = "a@127.0.0.1";
  GetParam().change(config);
  const auto valid = node::validate(config);
  ASSERT_FALSE(valid.has_value());
  EXPECT_EQ(valid.error(), Errc::invalid_config);
  EXPECT_TRUE(valid.error().context().starts_with(GetParam().says)) << valid.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    Values, UnfitReminders,
    testing::Values(Unfit{"scan", [](NodeConfig& config) { config.replication.reminders.scan = 99ms; },
                          "reminder_scan_ms must"},
                    Unfit{"ttl", [](NodeConfig& config) { config.replication.reminders.tombstone_ttl = 999ms; },
                          "reminder_tombstone_ttl_ms must"},
                    Unfit{"late", [](NodeConfig& config) { config.replication.reminders.late_after = -1ms; },
                          "reminder_late_after_ms must"},
                    Unfit{"rate", [](NodeConfig& config) { config.replication.reminders.late_rate = 10'000'001; },
                          "reminder_late_rate must"}),
    [](const auto& unfit) { return std::string(unfit.param.name); });

}  // namespace
}  // namespace barrel_p2p
