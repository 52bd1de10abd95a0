// Nodes that form a cluster: in one process, over loopback.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "node/membership_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::Collector;
using test::eventually;
using test::Inbox;
using test::lists;
using test::MembershipLog;
using test::one_component;

std::vector<NodeName> only(const Node& node) { return {node.name()}; }

/// `count` nodes n0, n1, ... that joined through n0.
std::vector<Node*> start_joined(Cluster& cluster, int count, const Cluster::Change& change = {}) {
  std::vector<Node*> nodes;
  for (int index = 0; index < count; ++index) {
    nodes.push_back(&cluster.start("n" + std::to_string(index), change));
    if (index > 0 && !nodes.back()->join(nodes.front()->name())) throw std::runtime_error("cannot join");
  }
  return nodes;
}

/// Nodes `a` and `b`, neighbours.
class TwoMembers : public testing::Test {
 protected:
  TwoMembers() {
    const bool joined = a.join(b.name()) && a.joined(2, test::patience) && b.joined(2, test::patience);
    if (!joined) throw std::runtime_error("they do not join");
  }
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
};

TEST(Membership, two_nodes_join_and_list_each_other) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  EXPECT_TRUE(a.active_view().empty());
  ASSERT_TRUE(a.join(b.name()).has_value());
  ASSERT_TRUE(a.joined(2, test::patience).has_value());
  ASSERT_TRUE(b.joined(2, test::patience).has_value());
  EXPECT_EQ(a.active_view(), only(b));
  EXPECT_EQ(b.active_view(), only(a));
  EXPECT_TRUE(a.passive_view().empty());
  EXPECT_EQ(a.overlay_statistics().active, 1U);
  EXPECT_TRUE(eventually({&a, &b}, [&] { return b.overlay_statistics().joins == 1; }));
}

TEST(Membership, both_faces_hear_of_the_same_events) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  MembershipLog log(a);
  Collector local(a);
  a.subscribe(local.pid);
  a.subscribe(local.pid);
  ASSERT_TRUE(a.join(b.name()).has_value());
  EXPECT_EQ(log.next(), "up b@127.0.0.1");
  EXPECT_EQ(log.all().front(), "dialing b@127.0.0.1");
  EXPECT_EQ(local.next(), "{barrel_p2p_event,{peer_up,'b@127.0.0.1'}}");
  cluster.stop("b");
  EXPECT_EQ(log.next(), "down b@127.0.0.1 nodedown");
  EXPECT_EQ(local.next(), "{barrel_p2p_event,{peer_down,'b@127.0.0.1',nodedown}}");
  a.leave();
  EXPECT_EQ(local.next(), "{barrel_p2p_event,left}") << "subscribed twice is told once";
}

TEST_F(TwoMembers, a_late_subscriber_hears_of_the_neighbours_first) {
  MembershipLog late(a);
  EXPECT_EQ(late.next(), "up b@127.0.0.1");
  cluster.stop("b");
  EXPECT_EQ(late.next(), "down b@127.0.0.1 nodedown");
}

TEST(Membership, a_process_of_another_node_may_subscribe_until_it_ends) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  Node& c = cluster.start("c");
  Collector far(c);
  const auto processes = a.statistics().processes;
  // As a program on `c` would ask, by rpc.
  ASSERT_TRUE(c.call_function(a.name(), "barrel_p2p", "subscribe", {far.pid}).has_value());
  ASSERT_TRUE(a.join(b.name()).has_value());
  EXPECT_EQ(far.next(), "{barrel_p2p_event,{peer_up,'b@127.0.0.1'}}");
  ASSERT_TRUE(c.call_function(a.name(), "barrel_p2p", "unsubscribe", {far.pid}).has_value());
  EXPECT_TRUE(eventually({&a}, [&] { return a.statistics().processes == processes; })) << "nobody watches it any more";
  Collector other(c);
  ASSERT_TRUE(c.call_function(a.name(), "barrel_p2p", "subscribe", {other.pid}).has_value());
  EXPECT_TRUE(eventually({&a}, [&] { return a.statistics().processes == processes + 1; })) << "one that watches it";
  c.exit(other.pid, Atom("kill"));
  EXPECT_TRUE(eventually({&a}, [&] { return a.statistics().processes == processes; }));
}

TEST(Membership, who_subscribes_more_processes_than_a_node_may_is_told_so) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  ASSERT_TRUE(Cluster::connects(b, a));
  const auto subscribe = [&](const char* function) {
    const Pid pid = b.spawn([](Process& self) -> Task<> { co_await self.receive(); });
    const auto answer = b.call_function(a.name(), "barrel_p2p", function, {pid});
    return answer ? to_text(*answer) : answer.error().message();
  };
  constexpr std::size_t most = 1000;
  for (std::size_t count = 0; count < most; ++count) {
    ASSERT_EQ(subscribe(count % 2 == 0 ? "subscribe" : "subscribe_services"), "ok");
  }
  for (const auto* function : {"subscribe", "subscribe_services", "subscribe_shard", "subscribe_reminders"}) {
    EXPECT_EQ(subscribe(function), "{error,limit_exceeded}") << function;
  }
}

TEST(Membership, ten_nodes_join_through_one_seed_and_are_one_component) {
  Cluster cluster;
  const auto nodes = start_joined(cluster, 10);
  for (Node* node : nodes) {
    const auto joined = node->joined(3, test::patience);
    EXPECT_TRUE(joined.has_value()) << node->name().text() << ": " << joined.error().message();
  }
  EXPECT_TRUE(eventually(nodes, [&] { return one_component(nodes); }));
  for (const Node* node : nodes) {
    EXPECT_LE(node->active_view().size(), 5U);
    EXPECT_FALSE(lists(node->active_view(), node->name()));
    EXPECT_FALSE(lists(node->passive_view(), node->name()));
  }
}

TEST(Membership, a_broadcast_reaches_all_exactly_once) {
  Cluster cluster;
  const auto nodes = start_joined(cluster, 10);
  for (Node* node : nodes) ASSERT_TRUE(node->joined(3, test::patience).has_value());
  ASSERT_TRUE(eventually(nodes, [&] { return one_component(nodes); }));
  const Term tag(Atom("news"));
  std::vector<std::unique_ptr<Inbox>> inboxes;
  inboxes.reserve(nodes.size());
  for (Node* node : nodes) inboxes.push_back(std::make_unique<Inbox>(*node, tag));
  Collector process(*nodes[9]);
  nodes[9]->subscribe_broadcast(process.pid);
  constexpr int rounds = 20;
  for (int round = 0; round < rounds; ++round) {
    ASSERT_TRUE(nodes[static_cast<std::size_t>(round) % nodes.size()]->broadcast(tag, round).has_value());
    for (const auto& inbox : inboxes) EXPECT_TRUE(inbox->await(round)) << round;
  }
  EXPECT_EQ(process.next(), "{plumtree_broadcast,{news,0}}");
  // Duplicates that are on their way now would be counted.
  ASSERT_TRUE(nodes[0]->broadcast(tag, "last").has_value());
  for (const auto& inbox : inboxes) EXPECT_TRUE(inbox->await("last"));
  for (const auto& inbox : inboxes) {
    for (int round = 0; round < rounds; ++round) EXPECT_EQ(inbox->count(round), 1) << round;
  }
  EXPECT_GE(nodes[0]->overlay_statistics().delivered, 21U);
}

TEST(Membership, broadcasts_are_told_by_tag) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Inbox one(a, Atom("one"));
  Inbox two(a, Term::tuple({Atom("two"), 2}));
  ASSERT_TRUE(a.broadcast(Atom("one"), 1).has_value());
  ASSERT_TRUE(a.broadcast(Term::tuple({Atom("two"), 2}), 2).has_value());
  EXPECT_TRUE(two.await(2)) << "who is alone hears itself";
  EXPECT_EQ(one.count(1), 1);
  EXPECT_EQ(one.count(2), 0);
  EXPECT_EQ(two.count(1), 0);
}

TEST(Membership, a_broadcast_that_is_too_large_is_refused) {
  Cluster cluster;
  Node& a = cluster.start("a", [](NodeConfig& config) { config.gossip.payload_bytes_max = 1024; });
  EXPECT_TRUE(a.broadcast(Atom("t"), std::string(1000, 'x')).has_value());
  const auto large = a.broadcast(Atom("t"), std::string(1100, 'x'));
  ASSERT_FALSE(large.has_value());
  EXPECT_EQ(large.error(), Errc::limit_exceeded);
  EXPECT_NE(large.error().context().find("gossip.payload_bytes_max"), std::string::npos);
}

TEST(Membership, who_broadcasts_faster_than_the_cluster_thread_works_is_told_so) {
  Cluster cluster;
  Node& a = cluster.start("a", [](NodeConfig& config) { config.limits.cluster_queue_bytes_max = 64UL * 1024; });
  std::promise<void> go;
  std::promise<void> entered;
  const Subscription blocker =
      a.subscribe_broadcast(Atom("block"), [&, wait = go.get_future().share()](const Term& /*payload*/) {
        entered.set_value();
        wait.wait();
      });
  ASSERT_TRUE(a.broadcast(Atom("block"), 0).has_value());
  entered.get_future().wait();
  Result<void> last;
  for (int count = 0; count < 10 && last; ++count) last = a.broadcast(Atom("t"), std::string(10'000, 'x'));
  go.set_value();
  ASSERT_FALSE(last.has_value());
  EXPECT_EQ(last.error(), Errc::overloaded);
}

TEST_F(TwoMembers, who_leaves_is_let_go_by_all_and_may_come_back) {
  MembershipLog at_a(a);
  MembershipLog at_b(b);
  EXPECT_EQ(at_a.next(), "up b@127.0.0.1");
  EXPECT_EQ(at_b.next(), "up a@127.0.0.1");
  a.leave();
  EXPECT_EQ(at_a.next(), "down b@127.0.0.1 left");
  EXPECT_EQ(at_a.next(), "left");
  EXPECT_EQ(at_b.next(), "down a@127.0.0.1 graceful");
  EXPECT_TRUE(a.active_view().empty());
  EXPECT_TRUE(a.passive_view().empty());
  EXPECT_TRUE(eventually({&b}, [&] { return b.passive_view().empty() && b.overlay_statistics().departures == 1; }));
  EXPECT_TRUE(lists(a.nodes(), b.name())) << "the connection stays";
  ASSERT_TRUE(a.join(b.name()).has_value());
  EXPECT_EQ(at_a.next(), "up b@127.0.0.1");
  EXPECT_EQ(at_b.next(), "up a@127.0.0.1");
}

TEST_F(TwoMembers, a_node_that_restarts_is_down_and_then_up) {
  MembershipLog log(a);
  EXPECT_EQ(log.next(), "up b@127.0.0.1");
  cluster.stop("b");
  EXPECT_EQ(log.next(), "down b@127.0.0.1 nodedown");
  Node& again = cluster.start("b");
  ASSERT_TRUE(again.join(a.name()).has_value());
  ASSERT_TRUE(again.joined(2, test::patience).has_value());
  // Before it is back `a` may have tried to reach it.
  EXPECT_TRUE(log.until("up b@127.0.0.1"));
  EXPECT_EQ(again.active_view(), only(a));
}

TEST(Membership, a_node_with_contacts_joins_by_itself_even_if_the_seed_starts_last) {
  Cluster cluster;
  const auto contacts = [](NodeConfig& config) {
    config.membership.contacts = {"seed@127.0.0.1"};
    config.membership.contact_retry = 500ms;
  };
  Node& a = cluster.start("a", contacts);
  Node& b = cluster.start("b", contacts);
  MembershipLog log(a);
  EXPECT_EQ(log.next(), "failed seed@127.0.0.1 unreachable");
  Node& seed = cluster.start("seed", contacts);
  const std::vector<Node*> nodes{&a, &b, &seed};
  for (Node* node : nodes) EXPECT_TRUE(node->joined(3, test::patience).has_value()) << node->name().text();
  EXPECT_TRUE(eventually(nodes, [&] { return one_component(nodes); }));
}

/// A node that takes contacts over while it runs.
class Reload : public testing::Test {
 protected:
  void take_over(Node& node, const std::vector<std::string>& contacts) const {
    auto changed = cluster.config("a");
    changed.membership.contacts = contacts;
    changed.membership.contact_retry = 500ms;
    const auto differing = node.reload(changed);
    ASSERT_TRUE(differing.has_value()) << differing.error().message();
    EXPECT_EQ(*differing, std::vector<std::string>{});
  }
  Node& start(const std::vector<std::string>& contacts) {
    return cluster.start("a", [&](NodeConfig& config) {
      config.membership.contacts = contacts;
      config.membership.contact_retry = 500ms;
    });
  }
  /// `dialing gone@...` after the first `dialing late@...`.
  static bool dials_gone_after_late(MembershipLog& log) {
    const auto all = log.all();
    const auto late = std::ranges::find(all, "dialing late@127.0.0.1");
    return std::find(late, all.end(), "dialing gone@127.0.0.1") != all.end();
  }

  Cluster cluster;
};

TEST_F(Reload, contacts_of_a_reload_are_tried_until_they_come_up_and_the_former_ones_no_more) {
  Node& a = start({"gone@127.0.0.1"});
  MembershipLog log(a);
  EXPECT_EQ(log.next(), "failed gone@127.0.0.1 unreachable");
  take_over(a, {"late@127.0.0.1"});
  for (int times = 0; times < 3; ++times) EXPECT_TRUE(log.until("failed late@127.0.0.1 unreachable"));
  const Node& late = cluster.start("late");
  EXPECT_TRUE(log.until("up late@127.0.0.1"));
  EXPECT_EQ(a.active_view(), only(late));
  EXPECT_FALSE(dials_gone_after_late(log));
}

TEST_F(Reload, with_a_neighbour_contacts_of_a_reload_are_tried_until_they_come_up) {
  Node& a = start({});
  Node& b = cluster.start("b");
  ASSERT_TRUE(a.join(b.name()).has_value());
  ASSERT_TRUE(a.joined(2, test::patience).has_value());
  MembershipLog log(a);
  take_over(a, {"late@127.0.0.1"});
  EXPECT_TRUE(log.until("failed late@127.0.0.1 unreachable"));
  cluster.start("late");
  EXPECT_TRUE(log.until("up late@127.0.0.1"));
}

TEST_F(Reload, readiness_follows_the_contacts) {
  Node& a = start({});
  EXPECT_TRUE(eventually({&a}, [&] { return a.health().ready; }));
  take_over(a, {"late@127.0.0.1"});
  ASSERT_EQ(a.health().reasons.size(), 1U);
  EXPECT_NE(a.health().reasons[0].find("contact_nodes"), std::string::npos) << a.health().reasons[0];
  take_over(a, {});
  EXPECT_TRUE(a.health().ready);
}

TEST(Membership, a_restarted_node_finds_the_cluster_by_what_it_remembers) {
  Cluster cluster;
  const auto nodes = start_joined(cluster, 3);
  for (Node* node : nodes) ASSERT_TRUE(node->joined(3, test::patience).has_value());
  cluster.stop("n2");
  Node& again = cluster.start("n2");  // nobody tells it where to go
  EXPECT_TRUE(again.joined(3, test::patience).has_value());
}

TEST_F(TwoMembers, a_cluster_that_discovery_forgot_finds_itself_by_the_addresses_it_remembers) {
  cluster.stop("a");
  Node& again = cluster.start("a", [](NodeConfig& config) { config.discovery_backends = {"static"}; });
  EXPECT_TRUE(again.joined(2, test::patience).has_value());
  EXPECT_EQ(again.active_view(), only(b));
}

TEST(Membership, who_left_or_wants_it_so_remembers_nobody) {
  Cluster cluster;
  Node& b = cluster.start("b");
  Node& a = cluster.start("a");
  ASSERT_TRUE(a.join(b.name()).has_value());
  ASSERT_TRUE(a.joined(2, test::patience).has_value());
  a.leave();
  ASSERT_TRUE(eventually({&a}, [&] { return a.active_view().empty(); }));
  cluster.stop("a");
  std::ifstream file(cluster.data("a") / "peers");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, "barrel_p2p peers 1\n");
  Node& c = cluster.start("c", [](NodeConfig& config) { config.membership.remember = false; });
  ASSERT_TRUE(c.join(b.name()).has_value());
  ASSERT_TRUE(c.joined(2, test::patience).has_value());
  cluster.stop("c");
  EXPECT_FALSE(std::filesystem::exists(cluster.data("c") / "peers"));
}

TEST(Membership, a_file_of_peers_that_cannot_be_one_is_refused_and_bad_lines_are_skipped) {
  Cluster cluster;
  std::filesystem::create_directories(cluster.data("a"));
  std::ofstream(cluster.data("a") / "peers") << "something else\n";
  const auto refused = Node::start(cluster.config("a"));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), Errc::corrupt);
  EXPECT_NE(refused.error().context().find("remove it"), std::string::npos) << refused.error().message();
  Node& b = cluster.start("b");
  std::ofstream(cluster.data("a") / "peers") << "barrel_p2p peers 1\nno name\nb@127.0.0.1\n";
  auto warning = std::make_shared<std::promise<std::string>>();
  Node& a = cluster.start("a", [&](NodeConfig& config) {
    config.log_sink = [warning](LogLevel /*level*/, std::string_view line) {
      if (line.find("skipped") != std::string_view::npos) warning->set_value(std::string(line));
    };
  });
  const auto text = warning->get_future().get();
  EXPECT_NE(text.find("peers, line 2 is skipped"), std::string::npos) << text;
  EXPECT_TRUE(a.joined(2, test::patience).has_value());
  EXPECT_EQ(a.active_view(), only(b));
}

TEST(Membership, waiting_for_members_says_what_is_known) {
  Cluster cluster;
  Node& a = cluster.start("a");
  EXPECT_TRUE(a.joined(1, 0ms).has_value());
  const auto alone = a.joined(2, 50ms);
  ASSERT_FALSE(alone.has_value());
  EXPECT_EQ(alone.error(), Errc::timeout);
  EXPECT_NE(alone.error().context().find("only 1 members"), std::string::npos) << alone.error().message();
  EXPECT_EQ(a.joined(37, 1s).error(), Errc::invalid_argument);
  auto waiting = std::async(std::launch::async, [&] { return a.joined(2, test::patience); });
  a.stop();
  const auto stopped = waiting.get();
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error(), Errc::stopped);
  EXPECT_EQ(a.join("b@127.0.0.1").error(), Errc::stopped);
}

TEST(Membership, a_node_does_not_join_itself) {
  Cluster cluster;
  Node& a = cluster.start("a");
  const auto joined = a.join(a.name());
  ASSERT_FALSE(joined.has_value());
  EXPECT_EQ(joined.error(), Errc::cannot_join_self);
  EXPECT_EQ(name(joined.error().code()), "cannot_join_self");
}

TEST(Membership, a_node_that_cannot_be_reached_is_reported) {
  Cluster cluster;
  Node& a = cluster.start("a");
  MembershipLog log(a);
  ASSERT_TRUE(a.join("nobody@127.0.0.1").has_value());
  EXPECT_EQ(log.next(), "failed nobody@127.0.0.1 unreachable");
}

TEST(Membership, a_node_that_refuses_us_is_reported_with_its_reason) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b", [](NodeConfig& config) { config.cookie = "other"; });
  MembershipLog log(a);
  ASSERT_TRUE(a.join(b.name()).has_value());
  EXPECT_EQ(log.next(), "failed b@127.0.0.1 handshake_failed");
  EXPECT_TRUE(a.active_view().empty());
}

TEST(Membership, a_hidden_node_is_no_member) {
  Cluster cluster;
  Node& tool = cluster.start("tool", [](NodeConfig& config) { config.hidden = true; });
  Node& a = cluster.start("a");
  MembershipLog log(a);
  EXPECT_EQ(tool.join(a.name()).error(), Errc::invalid_config);
  EXPECT_EQ(tool.broadcast(Atom("t"), 1).error(), Errc::invalid_config);
  EXPECT_EQ(tool.joined(2, 1s).error(), Errc::invalid_config);
  ASSERT_TRUE(tool.connect(a.name()).has_value());
  ASSERT_TRUE(a.join(tool.name()).has_value());
  EXPECT_EQ(log.next(), "failed tool@127.0.0.1 unreachable");
  EXPECT_TRUE(a.active_view().empty());
}

TEST_F(TwoMembers, blocked_nodes_do_not_exist_until_they_are_unblocked) {
  MembershipLog log(a);
  EXPECT_EQ(log.next(), "up b@127.0.0.1");
  a.block_peers({b.name()});
  EXPECT_EQ(log.next(), "down b@127.0.0.1 blocked");
  ASSERT_TRUE(a.join(b.name()).has_value());
  a.unblock_peers();
  ASSERT_TRUE(a.join(b.name()).has_value());
  EXPECT_EQ(log.next(), "up b@127.0.0.1");
}

TEST(Membership, the_names_of_the_overlay_are_taken) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  const Pid process = a.spawn([](Process& self) -> Task<> { (void)co_await self.receive(); });
  for (const auto* name : {"barrel_p2p_bridge", "barrel_p2p_plumtree"}) {
    const auto bearer = b.call_function(a.name(), "erlang", "whereis", {Atom(name)});
    ASSERT_TRUE(bearer.has_value());
    EXPECT_TRUE(bearer->is_pid()) << name;
    EXPECT_EQ(a.register_process(Atom(name), process).error(), Errc::already_registered);
  }
}

TEST_F(TwoMembers, what_is_no_message_of_the_overlay_is_ignored_and_counted) {
  const Term strange = Term::tuple({Atom("$barrel_p2p_hyparview"), b.name().atom(), Term::tuple({Atom("join"), 1})});
  ASSERT_TRUE(b.send(RemoteName(Atom("barrel_p2p_bridge"), a.name()), strange).has_value());
  ASSERT_TRUE(b.send(RemoteName(Atom("barrel_p2p_plumtree"), a.name()), Atom("hello")).has_value());
  EXPECT_TRUE(eventually({&a}, [&] { return a.overlay_statistics().malformed == 2; }));
  EXPECT_EQ(a.active_view(), only(b));
}

TEST(Membership, who_floods_the_cluster_thread_harms_nobody_else_and_loses_nothing) {
  Cluster cluster;
  Node& a = cluster.start("a", [](NodeConfig& config) { config.limits.cluster_queue_bytes_max = 64UL * 1024; });
  Node& flooder = cluster.start("flooder");
  Node& other = cluster.start("other");
  ASSERT_TRUE(flooder.connect(a.name()).has_value());
  std::promise<void> go;
  std::promise<void> entered;
  const Subscription blocker =
      a.subscribe_broadcast(Atom("block"), [&, wait = go.get_future().share()](const Term& /*payload*/) {
        entered.set_value();
        wait.wait();
      });
  ASSERT_TRUE(a.broadcast(Atom("block"), 0).has_value());
  entered.get_future().wait();
  // Far more than the queue takes, and less than the flooder may have on its way.
  constexpr std::uint64_t count = 400;
  const std::string text(10'000, 'x');
  for (std::uint64_t sent = 0; sent < count; ++sent) {
    ASSERT_TRUE(flooder.send(RemoteName(Atom("barrel_p2p_plumtree"), a.name()), text).has_value());
  }
  EXPECT_TRUE(other.call_function(a.name(), "erlang", "node", {}).has_value()) << "others are served";
  go.set_value();
  EXPECT_TRUE(eventually({&a}, [&] { return a.overlay_statistics().malformed == count; }));
}

TEST(Membership, who_sends_gossip_too_fast_is_held_back_and_loses_nothing) {
  Cluster cluster;
  Node& a = cluster.start("a", [](NodeConfig& config) { config.limits.gossip_per_second_max = 100; });
  Node& flooder = cluster.start("flooder");
  Node& other = cluster.start("other");
  ASSERT_TRUE(flooder.connect(a.name()).has_value());
  constexpr std::uint64_t count = 300;  // what two seconds bring, and at once
  for (std::uint64_t sent = 0; sent < count; ++sent) {
    ASSERT_TRUE(flooder.send(RemoteName(Atom("barrel_p2p_plumtree"), a.name()), "flood").has_value());
  }
  ASSERT_TRUE(eventually({&a}, [&] { return a.overlay_statistics().held_back > 0; }));
  EXPECT_TRUE(other.call_function(a.name(), "erlang", "node", {}).has_value()) << "others are served";
  EXPECT_TRUE(eventually({&a}, [&] { return a.overlay_statistics().malformed == count; }));
}

TEST(Membership, other_nodes_may_operate_it_by_rpc_as_they_would_the_erlang_library) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  Node& shell = cluster.start("shell", [](NodeConfig& config) { config.hidden = true; });
  const auto call = [&](const char* function, std::vector<Term> arguments) {
    const auto answer = shell.call_function(a.name(), "barrel_p2p", Atom(function), std::move(arguments));
    return answer ? to_text(*answer) : answer.error().message();
  };
  EXPECT_EQ(call("join", {a.name().atom()}), "{error,cannot_join_self}");
  EXPECT_EQ(call("join", {b.name().atom()}), "ok");
  ASSERT_TRUE(a.joined(2, test::patience).has_value());
  EXPECT_EQ(call("active_view", {}), "['b@127.0.0.1']");
  EXPECT_EQ(call("passive_view", {}), "[]");
  Inbox inbox(b, Atom("t"));
  const auto sent = shell.call_function(a.name(), "barrel_p2p_plumtree", "broadcast", {Atom("t"), 7});
  ASSERT_TRUE(sent.has_value());
  EXPECT_TRUE(inbox.await(7));
  EXPECT_EQ(call("leave", {}), "ok");
  EXPECT_TRUE(eventually({&a}, [&] { return a.active_view().empty(); }));
}

}  // namespace
}  // namespace barrel_p2p
