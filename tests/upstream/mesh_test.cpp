// More than two nodes of both implementations. The Erlang nodes run `global` with the settings that they have by
// default.
#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>

#include "upstream/peer.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::ErlangNode;
using test::EventLog;
using test::Upstream;

class Mesh : public Upstream {
 protected:
  static void watch(ErlangNode& node) { node.eval("net_kernel:monitor_nodes(true)"); }
  /// A first node that goes down within the time, else `calm`.
  static void start_watch(ErlangNode& node, std::chrono::milliseconds time) {
    node.start("receive {nodedown, Down} -> Down after " + std::to_string(time.count()) + " -> calm end");
  }
  static Term ping(ErlangNode& from, const NodeName& to) { return from.eval("net_adm:ping('" + to.string() + "')"); }
  static Term connect(ErlangNode& from, const NodeName& to) {
    return from.eval("net_kernel:connect_node('" + to.string() + "')");
  }
};

constexpr auto calm_time = 20s;  // longer than any timer of `global` that concerns new nodes

TEST_F(Mesh, two_erlang_nodes_and_a_cpp_node_stay_connected) {
  ErlangNode first(cluster_, "e1");
  ErlangNode second(cluster_, "e2");
  Node& node = cluster_.start("c");
  EventLog events;
  // The two Erlang nodes first: when they dial each other at once, they may block each other for good.
  ASSERT_EQ(connect(first, second.name()), Atom("true"));
  ASSERT_TRUE(second.lists(first.name()));
  ASSERT_EQ(word(node.connect(first.name())), "ok");
  ASSERT_EQ(connect(second, node.name()), Atom("true"));
  ASSERT_TRUE(first.lists(node.name()));
  const auto subscription = node.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  watch(first);
  watch(second);
  start_watch(first, calm_time);
  start_watch(second, calm_time);
  EXPECT_EQ(events.next(calm_time), "nothing");
  EXPECT_EQ(first.finish(), Atom("calm"));
  EXPECT_EQ(second.finish(), Atom("calm"));
  EXPECT_EQ(ping(first, second.name()), Atom("pong"));
  EXPECT_EQ(ping(second, first.name()), Atom("pong"));
  for (ErlangNode* erl : {&first, &second}) {
    EXPECT_EQ(word(node.ping(erl->name())), "ok");
    EXPECT_EQ(ping(*erl, node.name()), Atom("pong"));
  }
}

TEST_F(Mesh, an_erlang_node_and_two_cpp_nodes_stay_connected) {
  ErlangNode erl(cluster_, "e");
  Node& first = cluster_.start("c1");
  Node& second = cluster_.start("c2");
  ASSERT_EQ(word(first.connect(erl.name())), "ok");
  ASSERT_EQ(connect(erl, second.name()), Atom("true"));
  ASSERT_EQ(word(first.connect(second.name())), "ok");
  ASSERT_TRUE(erl.lists(first.name()));
  EventLog events;
  const auto one = first.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  const auto two = second.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  watch(erl);
  start_watch(erl, calm_time);
  EXPECT_EQ(events.next(calm_time), "nothing");
  EXPECT_EQ(erl.finish(), Atom("calm"));
  EXPECT_EQ(word(first.ping(second.name())), "ok");
  EXPECT_EQ(word(second.ping(first.name())), "ok");
  for (Node* node : {&first, &second}) {
    EXPECT_EQ(word(node->ping(erl.name())), "ok");
    EXPECT_EQ(ping(erl, node->name()), Atom("pong"));
  }
}

// `global` takes the loss of a node by one of its members as a partition and would disconnect that node everywhere, if
// it were a member.
TEST_F(Mesh, an_erlang_node_that_lost_us_does_not_make_the_other_lose_us) {
  ErlangNode first(cluster_, "e1");
  ErlangNode second(cluster_, "e2");
  Node& node = cluster_.start("c");
  ASSERT_EQ(connect(first, second.name()), Atom("true"));
  ASSERT_EQ(word(node.connect(first.name())), "ok");
  ASSERT_EQ(word(node.connect(second.name())), "ok");
  ASSERT_TRUE(first.lists(node.name()));
  ASSERT_TRUE(second.lists(node.name()));
  watch(second);
  start_watch(second, 5s);
  node.disconnect(first.name());
  EXPECT_TRUE(first.lists(node.name(), false));
  EXPECT_EQ(second.finish(), Atom("calm"));
  EXPECT_EQ(ping(first, second.name()), Atom("pong"));
  EXPECT_EQ(word(node.ping(second.name())), "ok");
  EXPECT_EQ(ping(second, node.name()), Atom("pong"));
  EXPECT_EQ(word(node.connect(first.name())), "ok");
  EXPECT_EQ(ping(first, node.name()), Atom("pong"));
}

}  // namespace
}  // namespace barrel_p2p
