// Channels between C++ and Erlang nodes that nobody uses: which side closes them, and what the other makes of it.
#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <chrono>

#include "upstream/peer.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::becomes_true;
using test::cpp_name;
using test::ErlangNode;
using test::EventLog;
using test::Upstream;

TEST_F(Upstream, a_channel_that_an_erlang_node_collects_is_given_up_and_made_again_by_the_next_send) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c", [](NodeConfig& config) {
    config.detector.probe_after = 1s;
    config.detector.probe_timeout = 1s;
  });
  ASSERT_EQ(word(node.connect(erl.name())), "ok");
  ASSERT_TRUE(erl.lists(cpp_name));
  // Its collector spares what is younger than five minutes; from now on nothing is.
  erl.eval("sys:replace_state(barrel_p2p_dist_gc, fun(State) -> setelement(3, State, 1) end)");
  EventLog events;
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  ASSERT_TRUE(erl.becomes("barrel_p2p_dist_gc:sweep_now(), not lists:member('c@127.0.0.1', nodes())"));
  // It leaves the connection open: we find out by a probe.
  EXPECT_EQ(events.next(), "down e@127.0.0.1 net_tick_timeout");
  EXPECT_TRUE(becomes_true([&] { return node.ping(erl.name()).has_value(); }));
}

TEST_F(Upstream, our_collector_leaves_channels_to_erlang_nodes_alone) {
  ErlangNode erl(cluster_, "e");
  const auto soon_idle = [](NodeConfig& config) {
    config.idle_sweep = 100ms;
    config.idle_close_after = 400ms;
  };
  Node& node = cluster_.start("c", soon_idle);
  Node& other = cluster_.start("d", soon_idle);
  ASSERT_EQ(word(node.connect(erl.name())), "ok");
  ASSERT_EQ(word(node.connect(other.name())), "ok");
  // By the time that a younger channel without use is gone, this one would be, too.
  ASSERT_TRUE(becomes_true([&] { return node.statistics().idle_closed + other.statistics().idle_closed > 0; }));
  ASSERT_TRUE(becomes_true([&] { return node.nodes().size() == 1; }));
  EXPECT_EQ(node.nodes().front(), erl.name());
  EXPECT_TRUE(erl.lists(cpp_name));
}

}  // namespace
}  // namespace barrel_p2p
