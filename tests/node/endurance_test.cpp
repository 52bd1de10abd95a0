// What must hold for a long time: connections come and go, and nothing of them stays.
#include <dirent.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdio>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "node/node_support.hpp"
#include "support/resources.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::Resources;

void keep_quiet(NodeConfig& config) { config.log_level = LogLevel::error; }

/// A dial, and then the end of the connection on both sides.
void connect_and_part(Node& from, Node& to, int round) {
  const auto connected = from.connect(to.name());
  ASSERT_TRUE(connected.has_value()) << round << ": " << connected.error().message();
  Cluster::part(from, to);
}

/// Closed connections answer late packets for a second or so: wait until those have gone too.
void settle(const Node& one, const Node& other) {
  test::becomes_true([&] { return one.statistics().connections == 0 && other.statistics().connections == 0; });
}

TEST(Endurance, ten_thousand_connections_leave_nothing_behind) {
  Cluster cluster;
  Node& a = cluster.start("a", keep_quiet);
  Node& b = cluster.start("b", keep_quiet);
  const int rounds = test::sanitized ? 300 : 10'000;
  const int warm = rounds / 10;
  Resources before{};
  for (int round = 0; round < rounds; ++round) {
    connect_and_part(round % 2 == 0 ? a : b, round % 2 == 0 ? b : a, round);
    if (HasFatalFailure()) return;
    if (round + 1 == warm) {
      settle(a, b);
      before = test::resources();
    }
  }
  settle(a, b);
  const Resources after = test::resources();
  test::report("after " + std::to_string(warm), before);
  test::report("after " + std::to_string(rounds), after);
  EXPECT_LE(after.descriptors, before.descriptors);
  EXPECT_EQ(a.keys().size(), 1U);
  EXPECT_EQ(a.statistics().connections, 0U);
  EXPECT_EQ(b.statistics().connections, 0U);
  constexpr std::int64_t noise_bytes = 8L * 1024 * 1024;  // a leak of a kilobyte a connection would be 9 MB
  if (!test::sanitized) {
    EXPECT_LE(after.heap_bytes, before.heap_bytes + noise_bytes);
  }
}

TEST(Endurance, a_thousand_times_both_nodes_dial_each_other_at_once) {
  Cluster cluster;
  Node& a = cluster.start("a", keep_quiet);
  Node& b = cluster.start("b", keep_quiet);
  const int rounds = test::sanitized ? 50 : 1000;
  const auto start = [](Node& from, Node& to) {
    auto promise = std::make_shared<std::promise<Result<void>>>();
    from.connect(to.name(), [promise](Result<void> result) { promise->set_value(std::move(result)); });
    return promise->get_future();
  };
  const auto expect_connected = [](std::future<Result<void>>& dial, int round) {
    ASSERT_EQ(dial.wait_for(test::patience), std::future_status::ready) << round;
    const auto result = dial.get();
    ASSERT_TRUE(result.has_value()) << round << ": " << result.error().message();
  };
  for (int round = 0; round < rounds; ++round) {
    auto from_a = start(a, b);
    auto from_b = start(b, a);
    expect_connected(from_a, round);
    expect_connected(from_b, round);
    if (HasFatalFailure()) return;
    ASSERT_TRUE(Cluster::settles(a, b)) << round;
    ASSERT_TRUE(a.ping(b.name()).has_value()) << round;
    Cluster::part(a, b);
  }
  settle(a, b);
  EXPECT_EQ(a.statistics().connections, 0U);
}

TEST(Endurance, a_thousand_callers_of_both_sides_at_once_share_one_connection) {
  Cluster cluster;
  Node& a = cluster.start("a", keep_quiet);
  Node& b = cluster.start("b", keep_quiet);
  // Callers, not nodes: all of them wait for the same dial, from both sides.
  std::vector<std::future<Result<void>>> dials;
  for (int caller = 0; caller < 1000; ++caller) {
    Node& from = caller % 2 == 0 ? a : b;
    Node& to = caller % 2 == 0 ? b : a;
    auto promise = std::make_shared<std::promise<Result<void>>>();
    from.connect(to.name(), [promise](Result<void> result) { promise->set_value(std::move(result)); });
    dials.push_back(promise->get_future());
  }
  for (auto& dial : dials) {
    ASSERT_EQ(dial.wait_for(test::patience), std::future_status::ready);
    const auto result = dial.get();
    EXPECT_TRUE(result.has_value()) << result.error().message();
  }
  ASSERT_TRUE(Cluster::settles(a, b));
  EXPECT_EQ(a.statistics().connections, 1U);
}

}  // namespace
}  // namespace barrel_p2p
