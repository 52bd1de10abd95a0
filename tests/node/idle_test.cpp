// Channels that nobody needs are closed; those that somebody needs stay.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string>

#include "node/node_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::EventLog;

/// Longer than a node waits for its turn on a busy machine between the start of a channel and its first use.
void soon_idle(NodeConfig& config) {
  config.idle_sweep = 100ms;
  config.idle_close_after = 1s;
}

TEST(Idle, a_channel_that_nobody_uses_is_closed_and_the_next_send_makes_it_again) {
  Cluster cluster;
  Node& a = cluster.start("a", soon_idle);
  Node& b = cluster.start("b", soon_idle);
  EventLog log;
  const auto subscription = a.monitor_nodes([&](const NodeEvent& event) { log.add(event); });
  ASSERT_TRUE(a.connect(b.name()));
  EXPECT_EQ(log.next(), "up b@127.0.0.1");
  const auto down = log.next();
  // Either side may be the first to find out.
  EXPECT_TRUE(down == "down b@127.0.0.1 idle" || down == "down b@127.0.0.1 connection_closed") << down;
  EXPECT_GE(a.statistics().idle_closed + b.statistics().idle_closed, 1U);
  EXPECT_TRUE(a.ping(b.name()));
  EXPECT_EQ(log.next(), "up b@127.0.0.1");
}

TEST(Idle, a_monitor_keeps_the_channel) {
  Cluster cluster;
  Node& a = cluster.start("a", soon_idle);
  Node& b = cluster.start("b", soon_idle);
  std::promise<void> watching;
  std::promise<std::string> ended;
  const Pid watched = b.spawn([](Process& self) -> Task<> { (void)co_await self.receive(); });
  a.spawn([&](Process& self) -> Task<> {
    self.monitor(watched);
    watching.set_value();
    const Term message = co_await self.receive();
    ended.set_value(to_text(message[4]));
  });
  watching.get_future().wait();
  ASSERT_TRUE(a.ping(b.name()));
  Node& idle = cluster.start("idle", soon_idle);
  EventLog log;
  const auto subscription = idle.monitor_nodes([&](const NodeEvent& event) { log.add(event); });
  // By the time that a younger channel without use is gone, this one would be, too.
  EventLog at_a;
  const auto watching_a = a.monitor_nodes([&](const NodeEvent& event) { at_a.add(event); });
  ASSERT_TRUE(idle.connect(a.name()));
  EXPECT_EQ(log.next(), "up a@127.0.0.1");
  EXPECT_TRUE(log.next().starts_with("down a@127.0.0.1"));
  EXPECT_EQ(at_a.next(), "up idle@127.0.0.1");
  EXPECT_TRUE(at_a.next().starts_with("down idle@127.0.0.1"));
  EXPECT_EQ(a.nodes().size(), 1U);
  b.exit(watched, Atom("over"));
  EXPECT_EQ(ended.get_future().get(), "over");
}

TEST(Idle, neighbours_stay_connected) {
  Cluster cluster;
  Node& a = cluster.start("a", soon_idle);
  Node& b = cluster.start("b", soon_idle);
  ASSERT_TRUE(a.join(b.name()));
  ASSERT_TRUE(a.joined(2, test::patience));
  ASSERT_TRUE(b.joined(2, test::patience));
  Node& idle = cluster.start("idle", soon_idle);
  EventLog log;
  const auto subscription = idle.monitor_nodes([&](const NodeEvent& event) { log.add(event); });
  EventLog at_a;
  const auto watching_a = a.monitor_nodes([&](const NodeEvent& event) { at_a.add(event); });
  ASSERT_TRUE(idle.connect(a.name()));
  EXPECT_EQ(log.next(), "up a@127.0.0.1");
  EXPECT_TRUE(log.next().starts_with("down a@127.0.0.1"));
  EXPECT_EQ(at_a.next(), "up idle@127.0.0.1");
  EXPECT_TRUE(at_a.next().starts_with("down idle@127.0.0.1"));
  EXPECT_EQ(a.nodes(), std::vector<NodeName>{b.name()});
}

}  // namespace
}  // namespace barrel_p2p
