// Channels come back by themselves when somebody sends, and not at the expense of everybody else.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "node/node_support.hpp"
#include "node/peers_file.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::becomes_true;
using test::Cluster;
using test::patience;

const RemoteName& nobody() {
  static const RemoteName name(Atom("nobody"), NodeName("absent@127.0.0.1"));
  return name;
}

TEST(Reconnect, sends_to_a_node_that_cannot_be_reached_dial_only_after_a_pause) {
  Cluster cluster;
  Node& a = cluster.start("a");
  const auto from = std::chrono::steady_clock::now();
  std::size_t refused = 0;
  constexpr std::uint64_t dials = 4;
  ASSERT_TRUE(becomes_true([&] {
    const auto sent = a.send(nobody(), Atom("hello"));
    if (!sent && sent.error() == Errc::no_connection) ++refused;
    return a.statistics().dials >= dials;
  }));
  // Between them lie 200, 400 and 800 ms at least in which sends are refused at once.
  EXPECT_GE(std::chrono::steady_clock::now() - from, 1400ms);
  EXPECT_GT(refused, 0U);
}

TEST(Reconnect, sends_dial_a_bounded_number_of_nodes_at_once_and_their_failures_leave_the_log_readable) {
  constexpr std::uint64_t dials_max = 1024;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<std::uint64_t> lines{0};
  Cluster cluster;
  Node& a = cluster.start("a", [&](NodeConfig& config) {
    config.setup_timeout = 60s;  // the dials are to last
    config.discovery_backends = {"held"};
    config.discovery_functions["held"] = [released](const NodeName& /*node*/) -> Result<std::string> {
      released.wait();
      return fail(Errc::not_found, "nowhere");
    };
    config.log_sink = [&lines](LogLevel /*level*/, std::string_view line) {
      if (line.find("cannot connect to") != std::string_view::npos) ++lines;
    };
  });
  const auto send_to = [&a](std::uint64_t number) {
    const NodeName node("x" + std::to_string(number) + "@127.0.0.1");
    return a.send(RemoteName(Atom("anybody"), node), Atom("hello"));
  };
  for (std::uint64_t number = 0; number < dials_max + 10; ++number) EXPECT_TRUE(send_to(number).has_value());
  EXPECT_TRUE(becomes_true([&] { return a.statistics().dials_failed == 10; }));
  EXPECT_EQ(a.statistics().dials, dials_max);
  release.set_value();
  EXPECT_TRUE(becomes_true([&] { return a.statistics().dials_failed == dials_max + 10; }));
  EXPECT_GT(lines, 0U);
  EXPECT_LT(lines, dials_max / 2);
  EXPECT_TRUE(send_to(dials_max + 100).has_value());
  EXPECT_TRUE(becomes_true([&] { return a.statistics().dials == dials_max + 1; })) << "the places are free again";
}

/// A node that finds others by a name server that does not answer.
class Unresolved : public testing::Test {
 protected:
  ~Unresolved() override { release.set_value(); }
  Node& start(const Cluster::Change& change) {
    return cluster.start("a", [&](NodeConfig& config) {
      config.discovery_backends = {"silent"};
      config.discovery_functions["silent"] = [released = released](const NodeName& /*node*/) -> Result<std::string> {
        released.wait();
        return fail(Errc::not_found, "nowhere");
      };
      change(config);
    });
  }

  Cluster cluster;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
};

TEST_F(Unresolved, a_dial_ends_with_setup_timeout) {
  Node& a = start([](NodeConfig& config) { config.setup_timeout = 500ms; });
  for (const char* name : {"b@127.0.0.1", "c@127.0.0.1", "b@127.0.0.1"}) {
    const auto from = std::chrono::steady_clock::now();
    const auto connected = a.connect(NodeName(name), patience);
    ASSERT_FALSE(connected.has_value());
    EXPECT_EQ(connected.error(), Errc::timeout);
    EXPECT_NE(connected.error().message().find("discovery did not answer"), std::string::npos)
        << connected.error().message();
    EXPECT_GE(std::chrono::steady_clock::now() - from, 500ms);
  }
}

TEST_F(Unresolved, a_peer_is_reached_where_it_was_met_last) {
  const Node& b = cluster.start("b");
  const auto peers = cluster.data("a") / "peers";
  ASSERT_TRUE(node::write_peers(peers, {{b.name().atom(), "127.0.0.1:" + std::to_string(b.port())}}).has_value());
  Node& a = start([](NodeConfig& /*config*/) {});
  const auto connected = a.connect(b.name(), patience);
  EXPECT_TRUE(connected.has_value()) << connected.error().message();
}

TEST_F(Unresolved, a_peer_that_is_not_where_it_was_met_last_is_dialled_until_setup_timeout) {
  const Node& other = cluster.start("other");
  const auto peers = cluster.data("a") / "peers";
  ASSERT_TRUE(node::write_peers(peers, {{"b@127.0.0.1", "127.0.0.1:" + std::to_string(other.port())}}).has_value());
  Node& a = start([](NodeConfig& config) { config.setup_timeout = 2s; });
  const auto connected = a.connect("b@127.0.0.1", patience);
  ASSERT_FALSE(connected.has_value());
  EXPECT_EQ(connected.error(), Errc::timeout);
  EXPECT_NE(connected.error().message().find("where it was met last: "), std::string::npos)
      << connected.error().message();
}

TEST(Reconnect, a_send_after_the_peer_has_come_back_connects_again) {
  Cluster cluster;
  Node& a = cluster.start("a");
  cluster.start("b");
  const NodeName b("b@127.0.0.1");
  ASSERT_TRUE(a.ping(b, patience).has_value());
  cluster.stop("b");
  ASSERT_TRUE(becomes_true([&] { return a.nodes().empty(); }));
  EXPECT_FALSE(a.ping(b, 1s).has_value());
  cluster.start("b");
  EXPECT_TRUE(becomes_true([&] { return a.ping(b, patience).has_value(); }));
}

}  // namespace
}  // namespace barrel_p2p
