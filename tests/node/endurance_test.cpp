// What must hold for a long time: connections come and go, and nothing of them stays.
#include <dirent.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdio>
#include <future>
#include <memory>

#include "node/node_support.hpp"
#include "node/resources.hpp"

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
void settle(const Node& node) {
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (node.statistics().connections != 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
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
      settle(a);
      before = test::resources();
    }
  }
  settle(a);
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

}  // namespace
}  // namespace barrel_p2p
