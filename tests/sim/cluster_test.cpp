// The public test kit.
#include <barrel_p2p/sim.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

namespace barrel_p2p::sim {
namespace {

using namespace std::chrono_literals;

TEST(Cluster, brings_a_broadcast_to_those_who_asked_for_its_tag) {
  Cluster cluster({.nodes = 10});
  std::vector<Term> heard;
  const auto news = cluster.on_broadcast(4, Atom("news"), [&](const Term& payload) { heard.push_back(payload); });
  const auto other = cluster.on_broadcast(4, Atom("other"), [&](const Term&) { FAIL(); });
  cluster.join_all();
  cluster.run_for(10s);
  cluster.broadcast(0, Atom("news"), "hello");
  EXPECT_TRUE(cluster.run_until([&] { return !heard.empty(); }, 5s));
  EXPECT_EQ(heard, std::vector<Term>{Term("hello")});
}

TEST(Cluster, tells_of_neighbours_that_come_and_go) {
  Cluster cluster({.nodes = 2});
  std::string story;
  const auto subscription = cluster.on_membership(0, [&](const NeighbourEvent& event) {
    story += (event.up ? "up " : "down ") + std::to_string(event.peer) + " " + event.reason + ";";
  });
  cluster.join(1, 0);
  cluster.run_for(5s);
  EXPECT_EQ(cluster.active_view(0), std::vector<NodeNumber>{1});
  cluster.crash(1);
  cluster.run_for(10s);
  EXPECT_EQ(story, "up 1 ;down 1 nodedown;");
}

TEST(Cluster, a_restarted_node_finds_the_cluster_by_itself) {
  Cluster cluster({.nodes = 20});
  cluster.join_all();
  cluster.run_for(20s);
  cluster.crash(7);
  cluster.run_for(10s);
  EXPECT_TRUE(cluster.active_view(7).empty());
  cluster.restart(7);
  EXPECT_TRUE(cluster.run_until([&] { return !cluster.active_view(7).empty(); }, 2s));
}

TEST(Cluster, is_one_again_after_a_cut) {
  Cluster cluster({.nodes = 20});
  cluster.join_all();
  cluster.run_for(20s);
  cluster.partition({{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}});
  cluster.run_for(20s);
  EXPECT_FALSE(cluster.is_connected());
  cluster.heal();
  EXPECT_TRUE(cluster.run_until([&] { return cluster.is_connected(); }, 2min));
}

TEST(Cluster, timers_wait_for_a_frozen_node_and_die_with_a_crashed_one) {
  Cluster cluster({.nodes = 2});
  int frozen = 0;
  int crashed = 0;
  cluster.after(0, 1s, [&] { ++frozen; });
  cluster.after(1, 1s, [&] { ++crashed; });
  cluster.pause(0);
  cluster.crash(1);
  cluster.run_for(5s);
  EXPECT_EQ(frozen, 0);
  cluster.resume(0);
  cluster.restart(1);
  cluster.run_for(5s);
  EXPECT_EQ(frozen, 1);
  EXPECT_EQ(crashed, 0);
}

TEST(Cluster, a_callback_may_broadcast_crash_its_node_and_cancel_itself) {
  Cluster cluster({.nodes = 5});
  cluster.join_all();
  cluster.run_for(10s);
  int answers = 0;
  const auto answer = cluster.on_broadcast(0, Atom("pong"), [&](const Term&) { ++answers; });
  Subscription once = cluster.on_broadcast(1, Atom("ping"), [&](const Term&) {
    cluster.broadcast(1, Atom("pong"), 1);
    once.cancel();
  });
  const auto dies = cluster.on_broadcast(2, Atom("ping"), [&](const Term&) { cluster.crash(2); });
  cluster.broadcast(0, Atom("ping"), 1);
  cluster.run_for(10s);
  EXPECT_EQ(answers, 1);
  EXPECT_FALSE(cluster.is_running(2));
}

TEST(ClusterServices, a_service_is_found_everywhere_until_its_process_or_node_ends) {
  Cluster cluster({.nodes = 10, .services = true});
  cluster.join_all();
  cluster.run_for(10s);
  std::vector<ServiceEvent::Kind> events;
  const auto subscription = cluster.on_service(7, [&](const ServiceEvent& event) { events.push_back(event.kind); });
  const Pid tea = cluster.spawn(2);
  ASSERT_TRUE(cluster.register_service(2, "tea", tea));
  ASSERT_TRUE(cluster.register_service(3, "coffee", cluster.spawn(3)));
  ASSERT_TRUE(cluster.run_until([&] { return cluster.lookup(7, "tea").size() == 1 && events.size() == 2; }, 2s));
  EXPECT_EQ(cluster.lookup(7, "tea").front().pid, tea);
  cluster.end_process(2, tea);
  EXPECT_TRUE(cluster.run_until([&] { return cluster.lookup(7, "tea").empty(); }, 2s));
  cluster.crash(3);
  EXPECT_TRUE(cluster.run_until([&] { return cluster.lookup(7, "coffee").empty(); }, 20s));
  EXPECT_EQ(cluster.members(7).size(), 9);
  cluster.run_for(1s);
  using Kind = ServiceEvent::Kind;
  EXPECT_EQ(events, (std::vector<Kind>{Kind::registered, Kind::registered, Kind::unregistered, Kind::node_lost}));
}

TEST(ClusterServices, a_durable_put_survives_the_crash_of_the_only_node_that_has_it) {
  Cluster cluster({.nodes = 5, .services = true});
  MapOptions options;
  options.persist = true;
  const Atom map("m");
  for (NodeNumber node = 0; node < 5; ++node) ASSERT_TRUE(cluster.open_map(node, map, options));
  cluster.join_all();
  cluster.run_for(10s);
  cluster.partition({{2}});
  bool durable = false;
  ASSERT_TRUE(cluster.map_put(2, map, "key", 1, [&](const Result<void>& result) { durable = result.has_value(); }));
  ASSERT_TRUE(cluster.run_until([&] { return durable; }, 1s));
  cluster.crash(2);
  cluster.heal();
  cluster.restart(2);
  ASSERT_TRUE(cluster.open_map(2, map, options));
  EXPECT_EQ(cluster.map_get(2, map, "key"), Term(1));
  int told = 0;
  const auto subscription = cluster.on_map(4, map, [&](const MapEvent& event) { told += event.key == Term("key"); });
  EXPECT_TRUE(cluster.run_until([&] { return cluster.map_get(4, map, "key") == Term(1); }, 1min));
  EXPECT_EQ(told, 1);
}

TEST(ClusterServices, must_be_asked_for) {
  Cluster cluster({.nodes = 2});
  EXPECT_THROW((void)cluster.spawn(0), std::logic_error);
  EXPECT_THROW((void)cluster.map_get(0, Atom("m"), 1), std::logic_error);
}

TEST(Cluster, equal_calls_give_equal_runs) {
  const auto trace = [](std::uint64_t seed) {
    Cluster cluster({.nodes = 15, .seed = seed, .network = {.loss = 0.1}});
    cluster.join_all();
    cluster.run_for(30s);
    return cluster.trace_hash();
  };
  EXPECT_EQ(trace(3), trace(3));
  EXPECT_NE(trace(3), trace(4));
}

TEST(Cluster, refuses_options_out_of_range) {
  EXPECT_THROW(Cluster({.nodes = 0}), std::invalid_argument);
  EXPECT_THROW(Cluster({.network = {.loss = 1}}), std::invalid_argument);
  EXPECT_THROW(Cluster({.network = {.delay_min = 20ms, .delay_max = 10ms}}), std::invalid_argument);
  EXPECT_THROW(Cluster({.active_size = 5, .passive_size = 4}), std::invalid_argument);
}

}  // namespace
}  // namespace barrel_p2p::sim
