// Connecting, in both directions: names, cookies, keys, at once, after the end of either side.
#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <filesystem>
#include <thread>

#include "upstream/peer.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::cpp_name;
using test::erlang_name;
using test::ErlangError;
using test::ErlangNode;
using test::EventLog;
using test::LineProgram;
using test::Upstream;

bool lists(const Node& node, const NodeName& other) {
  const auto nodes = node.nodes();
  return std::ranges::find(nodes, other) != nodes.end();
}

TEST_F(Upstream, a_cpp_node_connects_and_both_list_each_other) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erl.name())), "ok");
  EXPECT_EQ(node.nodes(), std::vector<NodeName>{erl.name()});
  EXPECT_TRUE(erl.lists(cpp_name));
  const auto peers = node.peers();
  ASSERT_EQ(peers.size(), 1U);
  EXPECT_TRUE(peers[0].dialled);
  EXPECT_EQ(peers[0].creation, 4U);
  EXPECT_EQ(word(node.ping(erl.name())), "ok");
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
}

TEST_F(Upstream, an_erlang_node_connects_and_both_list_each_other) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  EXPECT_EQ(erl.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("true"));
  EXPECT_EQ(events.next(), "up e@127.0.0.1");
  EXPECT_TRUE(erl.lists(cpp_name));
  ASSERT_EQ(node.peers().size(), 1U);
  EXPECT_FALSE(node.peers()[0].dialled);
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
  EXPECT_EQ(word(node.ping(erl.name())), "ok");
}

TEST_F(Upstream, a_ping_dials_from_either_side) {
  ErlangNode erl(cluster_, "e");
  cluster_.start("c");
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
  Node& other = cluster_.start("d");
  EXPECT_EQ(word(other.ping(erl.name())), "ok");
}

TEST_F(Upstream, another_cookie_is_refused_by_either_side) {
  ErlangNode erl(cluster_, "e", "other");
  Node& node = cluster_.start("c", [](NodeConfig& config) { config.setup_timeout = 2s; });
  const auto connected = node.connect(erl.name());
  ASSERT_FALSE(connected.has_value());
  // An Erlang node that does not like our answer to its challenge says nothing and keeps the connection open.
  EXPECT_EQ(connected.error().code(), Errc::timeout);
  EXPECT_NE(connected.error().message().find("cookie"), std::string::npos) << connected.error().message();
  EXPECT_EQ(erl.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("false"));
  EXPECT_TRUE(node.nodes().empty());
  EXPECT_TRUE(erl.lists(cpp_name, false));
  EXPECT_TRUE(node.keys().empty()) << "nothing is pinned for who does not know the cookie";
}

TEST_F(Upstream, an_erlang_node_with_another_key_under_a_pinned_name_is_refused) {
  auto first = std::make_unique<ErlangNode>(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erlang_name)), "ok");
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  first->kill();
  EXPECT_EQ(events.next().substr(0, 18), "down e@127.0.0.1 n");
  first.reset();
  std::filesystem::remove_all(cluster_.data("e"));
  ErlangNode impostor(cluster_, "e");
  const auto connected = node.connect(erlang_name);
  ASSERT_FALSE(connected.has_value());
  EXPECT_EQ(connected.error().code(), Errc::key_mismatch) << connected.error().message();
  EXPECT_EQ(impostor.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("false"));
  EXPECT_TRUE(node.nodes().empty());
  ASSERT_TRUE(node.unpin(erlang_name).has_value());
  EXPECT_EQ(word(node.connect(erlang_name)), "ok");
}

TEST_F(Upstream, a_cpp_node_with_another_key_under_a_pinned_name_is_refused) {
  ErlangNode erl(cluster_, "e");
  ASSERT_EQ(word(cluster_.start("c").connect(erl.name())), "ok");
  cluster_.stop("c");
  ASSERT_TRUE(erl.lists(cpp_name, false));
  std::filesystem::remove_all(cluster_.data("c"));
  Node& impostor = cluster_.start("c");
  const auto connected = impostor.connect(erl.name());
  ASSERT_FALSE(connected.has_value());
  EXPECT_EQ(connected.error().code(), Errc::auth_failed) << connected.error().message();
  EXPECT_EQ(erl.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("false"));
  EXPECT_TRUE(impostor.nodes().empty());
}

TEST_F(Upstream, a_strict_erlang_node_lets_us_in_once_our_key_is_pinned) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(erl.eval("application:set_env(barrel_p2p, auth_trust_mode, strict)"), Atom("ok"));
  const auto refused = node.connect(erl.name());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::auth_failed) << refused.error().message();
  EXPECT_EQ(erl.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("false"));
  erl.eval("barrel_p2p_dist_keys:store_key('c@127.0.0.1', binary:decode_hex(<<\"" + node.public_key() + "\">>))");
  EXPECT_EQ(word(node.connect(erl.name())), "ok");
  EXPECT_TRUE(erl.lists(cpp_name));
}

TEST_F(Upstream, strict_trust_lets_an_erlang_node_in_once_its_key_is_pinned) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c", [](NodeConfig& config) { config.authentication.trust_mode = TrustMode::strict; });
  const auto refused = node.connect(erl.name());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::untrusted_key) << refused.error().message();
  EXPECT_EQ(erl.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("false"));
  // The public key stands in the node's directory, as 32 bytes or as text.
  const Term key = erl.eval("{ok, Key} = file:read_file(\"" + (cluster_.data("e") / "keys" / "node.pub").string() +
                            "\"), binary:encode_hex(Key, lowercase)");
  ASSERT_EQ(key.as_text()->size(), 64U);
  ASSERT_EQ(word(node.pin(erl.name(), std::string(*key.as_text()))), "ok");
  EXPECT_EQ(word(node.connect(erl.name())), "ok");
  EXPECT_TRUE(erl.lists(cpp_name));
}

/// Who of two nodes that dial each other at once gives in depends on the order of their names.
class AtOnce : public Upstream, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Names, AtOnce, testing::Values("c", "z"));

TEST_P(AtOnce, however_their_attempts_meet_both_see_a_connection_and_one_remains) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start(GetParam());
  const std::string ours = "'" + node.name().string() + "'";
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  // Who reads its orders first is left to chance at first; then we dial when the attempt of the other side has surely
  // begun; then the other side follows us by up to as long as an attempt takes, in each of its stages.
  constexpr int by_chance = 25;
  constexpr int theirs_first = 50;
  constexpr int rounds = 90;
  for (int round = 0; round < rounds; ++round) {
    std::promise<Result<void>> promise;
    auto connected = promise.get_future();
    const int lag = std::max(0, round - theirs_first);
    erl.start("timer:sleep(" + std::to_string(lag) + "), net_kernel:connect_node(" + ours + ")");
    const auto accepted = node.statistics().accepted;
    while (round >= by_chance && round < theirs_first && node.statistics().accepted == accepted) {
      std::this_thread::yield();
    }
    node.connect(erl.name(), [&](Result<void> result) { promise.set_value(std::move(result)); });
    ASSERT_EQ(connected.wait_for(20s), std::future_status::ready) << round;
    EXPECT_EQ(word(connected.get()), "ok") << round;
    EXPECT_EQ(erl.finish(), Atom("true")) << round;
    ASSERT_TRUE(erl.lists(node.name())) << round;
    ASSERT_EQ(word(node.ping(erl.name())), "ok") << round;
    ASSERT_EQ(erl.eval("net_adm:ping(" + ours + ")"), Atom("pong")) << round;
    ASSERT_EQ(events.next(), "up e@127.0.0.1") << round;
    node.disconnect(erl.name());
    ASSERT_EQ(events.next(), "down e@127.0.0.1 disconnect") << round;
    ASSERT_TRUE(erl.lists(node.name(), false)) << round;
  }
}

TEST_F(Upstream, a_killed_erlang_node_is_noticed_within_the_worst_case_and_comes_back) {
  auto erl = std::make_unique<ErlangNode>(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erlang_name)), "ok");
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  const auto killed = std::chrono::steady_clock::now();
  erl->kill();
  EXPECT_EQ(events.next(), "down e@127.0.0.1 net_tick_timeout");
  constexpr auto slack = 750ms;  // of a busy machine
  EXPECT_LE(std::chrono::steady_clock::now() - killed, node.detection_worst_case() + slack);
  erl = std::make_unique<ErlangNode>(cluster_, "e");
  EXPECT_EQ(word(node.connect(erlang_name)), "ok");
  EXPECT_EQ(events.next(), "up e@127.0.0.1");
  EXPECT_EQ(erl->eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
}

TEST_F(Upstream, an_erlang_node_that_restarts_before_its_end_is_noticed_replaces_its_connection) {
  auto erl = std::make_unique<ErlangNode>(cluster_, "e");
  Node& node = cluster_.start("c", [](NodeConfig& config) { config.detector.dead_after = 20s; });
  ASSERT_EQ(word(node.connect(erlang_name)), "ok");
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  erl->kill();
  erl = std::make_unique<ErlangNode>(cluster_, "e");
  EXPECT_EQ(erl->eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("true"));
  EXPECT_EQ(events.next(), "down e@127.0.0.1 connection_closed");
  EXPECT_EQ(events.next(), "up e@127.0.0.1");
  EXPECT_EQ(word(node.ping(erlang_name)), "ok");
}

TEST_F(Upstream, an_erlang_node_that_stops_in_order_is_noticed_within_the_worst_case) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erlang_name)), "ok");
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  EXPECT_TRUE(erl.stop());
  // It goes without a word.
  EXPECT_EQ(events.next(), "down e@127.0.0.1 net_tick_timeout");
}

// `disconnect_node` of an Erlang node tells the peer nothing: its QUIC connection stays open and answers at QUIC level,
// while every message is lost. Only a question to its distribution layer tells.
TEST_F(Upstream, a_disconnect_by_the_erlang_node_is_found_out_by_a_probe) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c", [](NodeConfig& config) {
    config.detector.probe_after = 1s;
    config.detector.probe_timeout = 1s;
  });
  ASSERT_EQ(word(node.connect(erlang_name)), "ok");
  ASSERT_TRUE(erl.lists(cpp_name));
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  ASSERT_EQ(erl.eval("erlang:disconnect_node('c@127.0.0.1')"), Atom("true"));
  EXPECT_EQ(events.next(), "down e@127.0.0.1 net_tick_timeout");
  EXPECT_EQ(word(node.connect(erlang_name)), "ok");
  EXPECT_EQ(word(node.ping(erlang_name)), "ok");
  EXPECT_TRUE(erl.lists(cpp_name));
}

TEST_F(Upstream, a_healthy_erlang_node_answers_probes) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c", [](NodeConfig& config) {
    config.detector.probe_after = 500ms;
    config.detector.probe_timeout = 1s;
  });
  ASSERT_EQ(word(node.connect(erlang_name)), "ok");
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  EXPECT_EQ(events.next(5s), "nothing");
}

TEST_F(Upstream, an_erlang_node_that_disconnected_and_connects_again_replaces_its_connection) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erlang_name)), "ok");
  ASSERT_TRUE(erl.lists(cpp_name));
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  constexpr int rounds = 20;
  for (int round = 0; round < rounds; ++round) {
    ASSERT_EQ(erl.eval("erlang:disconnect_node('c@127.0.0.1')"), Atom("true")) << round;
    ASSERT_EQ(erl.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("true")) << round;
    ASSERT_EQ(events.next(), "down e@127.0.0.1 connection_closed") << round;
    ASSERT_EQ(events.next(), "up e@127.0.0.1") << round;
    ASSERT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong")) << round;
  }
}

TEST_F(Upstream, a_cpp_node_that_stops_in_order_is_noticed_at_once_and_comes_back) {
  ErlangNode erl(cluster_, "e");
  ASSERT_EQ(word(cluster_.start("c").connect(erl.name())), "ok");
  ASSERT_TRUE(erl.lists(cpp_name));
  cluster_.stop("c");
  EXPECT_TRUE(erl.lists(cpp_name, false, 2s));
  for (int round = 0; round < 3; ++round) {
    Node& again = cluster_.start("c");
    EXPECT_EQ(word(again.connect(erl.name())), "ok") << round;
    EXPECT_TRUE(erl.lists(cpp_name)) << round;
    EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong")) << round;
    cluster_.stop("c");
    EXPECT_TRUE(erl.lists(cpp_name, false, 2s)) << round;
  }
}

TEST_F(Upstream, a_killed_cpp_node_is_noticed_when_it_comes_back) {
  ErlangNode erl(cluster_, "e");
  const auto config = cluster_.config("c");
  LineProgram node({BARREL_P2P_COMMAND, "node", "--name", config.name, "--cookie", config.cookie, "--data",
                    config.data_dir.string(), "--discovery-dir", config.discovery_dir.string()},
                   config.discovery_dir.parent_path() / "c.log");
  ASSERT_TRUE(node.read_line(20s).has_value());
  ASSERT_EQ(erl.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("true"));
  erl.eval("net_kernel:monitor_nodes(true), monitor(process, {net_kernel, 'c@127.0.0.1'})");
  node.kill();
  // The Erlang side has not noticed (it would after net_ticktime, a minute); the new connection replaces the old one.
  Node& again = cluster_.start("c");
  EXPECT_EQ(word(again.connect(erl.name())), "ok");
  EXPECT_EQ(erl.eval("receive {'DOWN', _, process, _, Reason} -> Reason after 10000 -> nothing end"),
            Atom("noconnection"));
  EXPECT_EQ(erl.eval("receive {nodedown, Down} -> Down after 10000 -> nothing end"), cpp_name.atom());
  EXPECT_EQ(erl.eval("receive {nodeup, Up} -> Up after 10000 -> nothing end"), cpp_name.atom());
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
  EXPECT_TRUE(lists(again, erl.name()));
}

TEST_F(Upstream, a_killed_cpp_node_is_noticed_within_the_tick_time) {
  ErlangNode erl(cluster_, "e");
  const auto config = cluster_.config("c");
  LineProgram node({BARREL_P2P_COMMAND, "node", "--name", config.name, "--cookie", config.cookie, "--data",
                    config.data_dir.string(), "--discovery-dir", config.discovery_dir.string()},
                   config.discovery_dir.parent_path() / "c.log");
  ASSERT_TRUE(node.read_line(20s).has_value());
  // A minute by default. Set at run time it changes in steps of the old one, so it is set for the connections to come.
  erl.eval("net_kernel:set_net_ticktime(4, 0)");
  ASSERT_EQ(erl.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("true"));
  node.kill();
  EXPECT_TRUE(erl.lists(cpp_name, false, 12s));
}

TEST_F(Upstream, a_frozen_erlang_node_is_given_up_and_lets_us_in_again_when_it_wakes) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erlang_name)), "ok");
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  erl.signal(SIGSTOP);
  EXPECT_EQ(events.next(), "down e@127.0.0.1 net_tick_timeout");
  erl.signal(SIGCONT);
  EXPECT_EQ(word(node.connect(erlang_name)), "ok");
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
}

}  // namespace
}  // namespace barrel_p2p
