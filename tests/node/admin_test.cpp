// The HTTP endpoint of nodes that run.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>

#include "node/services_support.hpp"
#include "support/http.hpp"

namespace barrel_p2p {
namespace {

using test::becomes_true;
using test::body_of;
using test::Cluster;
using test::http_get;
using test::status_of;

void with_admin(NodeConfig& config) { config.admin.port = 0; }

bool tells(const Node& node, const std::string& target, const std::string& pattern) {
  return becomes_true([&] { return std::regex_search(http_get(node.admin_port(), target), std::regex(pattern)); });
}

TEST(Admin, is_off_unless_it_is_asked_for) {
  Cluster cluster;
  EXPECT_EQ(cluster.start("a").admin_port(), 0);
}

TEST(Admin, shows_the_cluster_and_the_views_of_other_nodes) {
  Cluster cluster;
  Node& a = cluster.start("a", with_admin);
  Node& b = cluster.start("b");
  Node& c = cluster.start("c");
  ASSERT_TRUE(b.join(a.name()).has_value());
  ASSERT_TRUE(c.join(a.name()).has_value());
  const Pid holder = *b.start_service_holder("kv");
  ASSERT_TRUE(a.new_map("config").has_value());
  ASSERT_TRUE(a.map_put("config", Atom("limit"), 100).has_value());
  ASSERT_TRUE(a.remind("later", std::chrono::system_clock::now() + std::chrono::hours(1), 1).has_value());
  ASSERT_TRUE(b.lead(Term(Atom("job")), holder).has_value());
  // b answered what it was asked for: its view has a in it.
  EXPECT_TRUE(tells(
      a, "/api/state",
      R"re("name":"b@127.0.0.1","kind":"cpp","state":"alive","self":false,"connected":true,"active":\[[^\]]*"a@127.0.0.1")re"));
  EXPECT_TRUE(tells(a, "/api/state", R"re("services":\[\{"name":"kv","node":"b@127.0.0.1")re"));
  EXPECT_TRUE(
      tells(a, "/api/state",
            R"re("role":"job","node":"b@127.0.0.1","pid":"[^"]+","fence":"\d{20,}","here":false,"candidates":1)re"));
  EXPECT_TRUE(
      tells(a, "/api/state", R"re("members":\["a@127.0.0.1","b@127.0.0.1","c@127.0.0.1"\],"owners":\[[0-2],)re"));
  EXPECT_TRUE(tells(a, "/api/state", R"re("maps":\[\{"name":"config","size":1,"persist":false\}\])re"));
  EXPECT_TRUE(
      tells(a, "/api/state", R"re("pending":1,"next":\[\{"key":"(\\"|[^"])*later(\\"|[^"])*","due":\d+,"here":)re"));
  EXPECT_TRUE(tells(a, "/api/state", R"re("name":"c@127.0.0.1","hidden":false,"address":"[^"]+","rtt_ms":)re"));
  EXPECT_TRUE(tells(a, "/api/maps/config", R"re(\{"key":"limit","value":"100"\}\],"next":null)re"));
}

TEST(Admin, a_node_that_is_gone_is_shown_for_a_while_but_not_as_alive) {
  Cluster cluster;
  const auto quick = [](NodeConfig& config) {
    with_admin(config);
    config.replication.heartbeat = std::chrono::milliseconds(200);
    config.replication.lease = std::chrono::milliseconds(1000);
  };
  Node& a = cluster.start("a", quick);
  Node& b = cluster.start("b", quick);
  ASSERT_TRUE(b.join(a.name()).has_value());
  EXPECT_TRUE(tells(a, "/api/state", R"re("name":"b@127.0.0.1","kind":"cpp","state":"alive")re"));
  cluster.stop("b");
  EXPECT_TRUE(tells(a, "/api/state", R"re("name":"b@127.0.0.1","kind":"cpp","state":"(left|down)")re"));
}

TEST(Admin, readiness_waits_for_the_cluster_that_the_node_is_to_join) {
  Cluster cluster;
  Node& a = cluster.start("a", [](NodeConfig& config) {
    with_admin(config);
    config.membership.contacts = {"b@127.0.0.1"};
  });
  const std::string alone = http_get(a.admin_port(), "/health/ready");
  EXPECT_EQ(status_of(alone), 503);
  EXPECT_NE(body_of(alone).find("contact_nodes"), std::string::npos) << alone;
  EXPECT_EQ(status_of(http_get(a.admin_port(), "/health/live")), 200);
  cluster.start("b");
  EXPECT_TRUE(becomes_true([&] { return status_of(http_get(a.admin_port(), "/health/ready")) == 200; }));
  a.set_draining();
  EXPECT_NE(http_get(a.admin_port(), "/health/ready").find("stopping"), std::string::npos);
}

TEST(Admin, events_tell_that_a_peer_came) {
  Cluster cluster;
  Node& a = cluster.start("a", with_admin);
  test::HttpClient listener(a.admin_port());
  listener.send("GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  ASSERT_NE(listener.until("event: state"), "");
  Node& b = cluster.start("b");
  ASSERT_TRUE(Cluster::connects(b, a));
  EXPECT_NE(listener.until(R"("kind":"up","peer":"b@127.0.0.1")"), "");
}

TEST(Admin, a_token_comes_from_a_file_of_its_owner_only) {
  Cluster cluster;
  NodeConfig config = cluster.config("a");
  std::filesystem::create_directories(config.data_dir);
  config.admin.port = 0;
  config.admin.token_file = config.data_dir / "token";
  std::ofstream(config.admin.token_file) << "0123456789abcdef0123\n";
  ::chmod(config.admin.token_file.c_str(), 0644);
  const auto open_to_all = Node::start(config);
  ASSERT_FALSE(open_to_all.has_value());
  EXPECT_EQ(open_to_all.error(), Errc::permission_denied);
  ::chmod(config.admin.token_file.c_str(), 0600);
  const auto node = Node::start(config);
  ASSERT_TRUE(node.has_value()) << node.error().message();
  EXPECT_EQ(status_of(http_get(node->admin_port(), "/api/state")), 401);
  EXPECT_EQ(status_of(http_get(node->admin_port(), "/api/state", "Authorization: Bearer 0123456789abcdef0123\r\n")),
            200);
}

TEST(RefusedPeers, are_in_the_log_with_name_address_reason_and_what_to_do) {
  test::Lines lines;
  Cluster cluster;
  const auto listen = [&lines](NodeConfig& config) {
    config.log_level = NodeConfig().log_level;
    config.log_sink = [&lines](LogLevel level, std::string_view line) {
      if (level == LogLevel::warning && line.find("refused ") != std::string_view::npos) lines.add(std::string(line));
    };
  };
  Node& a = cluster.start("a", listen);
  Node& stranger = cluster.start("stranger", [](NodeConfig& config) { config.cookie = "another one"; });
  Node& unknown = cluster.start("unknown");
  const auto line_says = [&lines](const Node& who, const std::string& reason, const std::string& remedy) {
    const std::string line = lines.next();
    const std::string start = "refused " + who.name().string() + " from 127.0.0.1:" + std::to_string(who.port()) + ": ";
    const auto from = line.find(start);
    EXPECT_NE(from, std::string::npos) << line;
    EXPECT_NE(line.find(reason, from), std::string::npos) << line;
    EXPECT_NE(line.find(remedy, from), std::string::npos) << line;
  };
  EXPECT_FALSE(stranger.connect(a.name()).has_value());
  line_says(stranger, "wrong_cookie", "give both nodes the same dist_cookie");
  a.set_trust_mode(TrustMode::strict);
  EXPECT_FALSE(unknown.connect(a.name()).has_value());
  line_says(unknown, "untrusted_key", "barrel_p2p keys pin NAME KEY");
}

TEST(FlightRecord, says_why_a_peer_was_refused_and_what_became_of_dials) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& stranger = cluster.start("stranger", [](NodeConfig& config) { config.cookie = "another one"; });
  EXPECT_FALSE(stranger.connect(a.name()).has_value());
  const auto decided = [](const Node& node, const NodeName& peer, FlightEntry::Kind kind) {
    return becomes_true([&] {
      const auto record = node.flight_record(peer);
      return std::ranges::any_of(record,
                                 [&](const auto& entry) { return entry.kind == kind && !entry.reason.empty(); });
    });
  };
  EXPECT_TRUE(decided(a, stranger.name(), FlightEntry::Kind::refused));
  EXPECT_TRUE(decided(stranger, a.name(), FlightEntry::Kind::dial_failed));
}

}  // namespace
}  // namespace barrel_p2p
