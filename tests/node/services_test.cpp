// Services on real nodes: registered on one, found on all, gone with their process or node.
#include <gtest/gtest.h>

#include <barrel_p2p/await.hpp>
#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "node/services_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::Collector;
using test::long_leases;
using test::ServiceLog;
using test::spawn_idle;
using test::start_cluster;

TEST(Services, what_is_registered_is_found_here_at_once_and_everywhere_soon) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  const Pid pid = spawn_idle(*nodes[0]);
  ASSERT_TRUE(nodes[0]->register_service("kv", pid, Term::map({{Atom("shards"), 8}})).has_value());
  const auto here = nodes[0]->whereis_service("kv");
  ASSERT_TRUE(here.has_value());
  EXPECT_TRUE(here->local);
  EXPECT_EQ(here->pid, pid);
  EXPECT_EQ(nodes[0]->lookup_local("kv").value(), pid);
  for (Node* node : nodes) {
    const auto found = node->resolve("kv", test::patience);
    ASSERT_TRUE(found.has_value()) << node->name().string();
    EXPECT_EQ(found->pid, pid);
    EXPECT_EQ(found->node, nodes[0]->name());
    const auto entries = node->lookup("kv");
    ASSERT_TRUE(entries.has_value());
    ASSERT_EQ(entries->size(), 1U) << "own entries are listed once";
    EXPECT_EQ(entries->front().meta, Term::map({{Atom("shards"), 8}}));
    ASSERT_EQ(node->list_services().size(), 1U);
    EXPECT_EQ(node->list_services().front(), ServiceName("kv"));
  }
  EXPECT_EQ(nodes[1]->lookup_local("kv").error(), Errc::not_found);
}

TEST(Services, neighbours_know_when_registering_waited_for_them) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  RegisterOptions options;
  options.wait_for_neighbours = true;
  for (int round = 0; round < 20; ++round) {
    const std::string name = "s" + std::to_string(round);
    ASSERT_TRUE(nodes[0]->register_service(name, spawn_idle(*nodes[0]), Term::map({}), options).has_value());
    for (const auto& neighbour : nodes[0]->active_view()) {
      for (Node* node : nodes) {
        if (node->name() == neighbour) {
          EXPECT_TRUE(node->whereis_service(name).has_value()) << name;
        }
      }
    }
  }
}

TEST(Services, a_peer_has_no_more_names_here_than_the_bound) {
  Cluster cluster;
  Node& a = cluster.start("a", [](NodeConfig& config) { config.limits.services_per_node_max = 3; });
  Node& b = cluster.start("b");
  const Pid process = spawn_idle(b);
  for (int number = 0; number < 5; ++number) {
    ASSERT_TRUE(b.register_service(Atom("s" + std::to_string(number)), process).has_value());
  }
  ASSERT_TRUE(b.join(a.name()).has_value());
  ASSERT_TRUE(test::eventually({&a}, [&] { return a.service_statistics().value().rejected >= 2; }));
  EXPECT_EQ(a.list_services().size(), 3U);
  EXPECT_EQ(b.list_services().size(), 5U);
}

TEST(Services, a_name_is_taken_on_its_own_node_only) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const Pid first = spawn_idle(*nodes[0]);
  const Pid second = spawn_idle(*nodes[1]);
  ASSERT_TRUE(nodes[0]->register_service("kv", first).has_value());
  EXPECT_EQ(nodes[0]->register_service("kv", first).error(), Errc::already_registered);
  EXPECT_EQ(nodes[0]->register_service("kv", spawn_idle(*nodes[0])).error(), Errc::already_registered);
  ASSERT_TRUE(nodes[1]->resolve("kv", test::patience).has_value());
  ASSERT_TRUE(nodes[1]->register_service("kv", second).has_value());
  WhereisOptions smallest;
  smallest.choice = ServiceChoice::first;
  ServiceLog log(*nodes[0]);
  if (nodes[0]->lookup("kv")->size() < 2) {
    ASSERT_TRUE(log.until("registered kv n1@127.0.0.1"));
  }
  EXPECT_EQ(nodes[0]->whereis_service("kv")->pid, first) << "its own one";
  EXPECT_EQ(nodes[1]->whereis_service("kv")->pid, second) << "its own one";
  EXPECT_EQ(nodes[0]->whereis_service("kv", smallest)->pid, first);
  EXPECT_EQ(nodes[1]->whereis_service("kv", smallest)->pid, first) << "the same answer on both";
  WhereisOptions turns;
  turns.choice = ServiceChoice::round_robin;
  const auto one = nodes[0]->whereis_service("kv", turns)->pid;
  EXPECT_NE(nodes[0]->whereis_service("kv", turns)->pid, one);
  WhereisOptions keyed;
  keyed.choice = ServiceChoice::by_key;
  std::size_t moved = 0;
  for (int key = 0; key < 100; ++key) {
    keyed.key = key;
    EXPECT_EQ(nodes[0]->whereis_service("kv", keyed)->pid, nodes[1]->whereis_service("kv", keyed)->pid);
    if (nodes[0]->whereis_service("kv", keyed)->pid == first) ++moved;
  }
  EXPECT_GT(moved, 20U);
  EXPECT_LT(moved, 80U);
  WhereisOptions picky;
  picky.accept = [](const Term& meta) { return meta.find(Atom("disk")) != nullptr; };
  EXPECT_EQ(nodes[0]->whereis_service("kv", picky).error(), Errc::not_found);
}

TEST(Services, the_end_of_a_process_ends_its_services_everywhere) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  ServiceLog origin(*nodes[0]);
  ServiceLog other(*nodes[1]);
  Collector process(*nodes[1]);
  nodes[1]->subscribe_services(process.pid);
  const Pid pid = spawn_idle(*nodes[0]);
  ASSERT_TRUE(nodes[0]->register_service("kv", pid).has_value());
  ASSERT_TRUE(nodes[0]->register_service("cache", pid).has_value());
  EXPECT_EQ(origin.next(), "registered kv n0@127.0.0.1");
  EXPECT_EQ(origin.next(), "registered cache n0@127.0.0.1");
  EXPECT_EQ(other.next(), "registered kv n0@127.0.0.1");
  EXPECT_EQ(other.next(), "registered cache n0@127.0.0.1");
  EXPECT_EQ(process.next(), "{barrel_p2p_service_event,{service_registered,kv,'n0@127.0.0.1'}}");
  EXPECT_EQ(process.next(), "{barrel_p2p_service_event,{service_registered,cache,'n0@127.0.0.1'}}");
  nodes[0]->exit(pid, Atom("kill"));
  EXPECT_TRUE(origin.until("down kv n0@127.0.0.1 killed"));
  EXPECT_TRUE(other.until("unregistered kv n0@127.0.0.1"));
  EXPECT_TRUE(nodes[0]->whereis_service("kv").error() == Errc::not_found);
  EXPECT_TRUE(nodes[1]->whereis_service("kv").error() == Errc::not_found);
  EXPECT_FALSE(nodes[0]->unregister_service("kv"));
}

TEST(Services, a_message_that_asks_to_look_away_does_not_hide_the_end_of_a_process) {
  Cluster cluster;
  Node& node = cluster.start("n0");
  ServiceLog log(node);
  const Pid pid = spawn_idle(node);
  ASSERT_TRUE(node.register_service("kv", pid).has_value());
  EXPECT_EQ(log.next(), "registered kv n0@127.0.0.1");
  // As a peer makes this node say it, by `barrel_p2p:send/2` for instance.
  ASSERT_TRUE(node.send(Atom("barrel_p2p_registry"), Term::tuple({Atom("unwatch"), pid})).has_value());
  node.exit(pid, Atom("kill"));
  EXPECT_TRUE(log.until("down kv n0@127.0.0.1 killed"));
}

TEST(Services, unregistering_is_told_once_to_everybody) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  ASSERT_TRUE(nodes[0]->register_service("kv", spawn_idle(*nodes[0])).has_value());
  ASSERT_TRUE(nodes[1]->resolve("kv", test::patience).has_value());
  ServiceLog origin(*nodes[0]);
  ServiceLog other(*nodes[1]);
  EXPECT_TRUE(nodes[0]->unregister_service("kv"));
  EXPECT_EQ(nodes[0]->lookup("kv").error(), Errc::not_found);
  EXPECT_TRUE(origin.until("unregistered kv n0@127.0.0.1"));
  EXPECT_TRUE(other.until("unregistered kv n0@127.0.0.1"));
  ASSERT_TRUE(nodes[0]->register_service("kv", spawn_idle(*nodes[0])).has_value());
  EXPECT_EQ(origin.next(), "registered kv n0@127.0.0.1");
  EXPECT_EQ(other.next(), "registered kv n0@127.0.0.1");
}

TEST(Services, a_newcomer_learns_what_was_registered_before_it_came) {
  Cluster cluster;
  auto nodes = start_cluster(cluster, 2);
  for (std::size_t index = 0; index < 50; ++index) {
    ASSERT_TRUE(nodes[index % 2]->register_service("s" + std::to_string(index), spawn_idle(*nodes[index % 2])));
  }
  Node& late = cluster.start("late");
  ASSERT_TRUE(late.join(nodes[0]->name()).has_value());
  for (std::size_t index = 0; index < 50; ++index) {
    EXPECT_TRUE(late.resolve("s" + std::to_string(index), test::patience).has_value()) << index;
  }
  EXPECT_EQ(late.list_services().size(), 50U);
}

TEST(Services, a_node_that_stops_takes_its_services_with_it_and_brings_none_back) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2, long_leases);
  const Pid old = spawn_idle(*nodes[1]);
  ASSERT_TRUE(nodes[1]->register_service("kv", old).has_value());
  ASSERT_TRUE(nodes[0]->resolve("kv", test::patience).has_value());
  ServiceLog log(*nodes[0]);
  cluster.stop("n1");
  EXPECT_TRUE(log.until("lost kv n1@127.0.0.1")) << "it said goodbye";
  EXPECT_EQ(nodes[0]->whereis_service("kv").error(), Errc::not_found);

  Node& again = cluster.start("n1", long_leases);
  ASSERT_TRUE(again.join(nodes[0]->name()).has_value());
  const Pid fresh = spawn_idle(again);
  ASSERT_TRUE(again.register_service("other", fresh).has_value());
  ASSERT_TRUE(nodes[0]->resolve("other", test::patience).has_value());
  ASSERT_TRUE(log.until("registered other n1@127.0.0.1"));
  EXPECT_EQ(nodes[0]->whereis_service("kv").error(), Errc::not_found) << "it knows nothing of its earlier life";
  EXPECT_EQ(again.whereis_service("kv").error(), Errc::not_found);
}

TEST(Services, a_node_that_leaves_is_missed_at_once_and_welcome_when_it_joins_again) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3, long_leases);
  const Pid pid = spawn_idle(*nodes[1]);
  ASSERT_TRUE(nodes[1]->register_service("kv", pid).has_value());
  ASSERT_TRUE(nodes[0]->new_map("m").has_value());
  ASSERT_TRUE(nodes[1]->new_map("m").has_value());
  ASSERT_TRUE(nodes[0]->resolve("kv", test::patience).has_value());
  ServiceLog log(*nodes[0]);
  nodes[1]->leave();
  EXPECT_TRUE(log.until("lost kv n1@127.0.0.1")) << "it said goodbye";
  EXPECT_EQ(nodes[1]->lookup_local("kv").value(), pid) << "on its own node it still is";
  ASSERT_TRUE(nodes[0]->map_put("m", "while it was away", 1).has_value());
  ASSERT_TRUE(nodes[1]->join(nodes[0]->name()).has_value());
  EXPECT_TRUE(log.until("back kv n1@127.0.0.1"));
  EXPECT_EQ(nodes[0]->whereis_service("kv")->pid, pid);
  EXPECT_TRUE(test::eventually(nodes, [&] { return nodes[1]->map_size("m") == 1; }));
}

TEST(Services, resolve_waits_for_a_name_and_gives_up_in_time) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  auto waiting = std::async(std::launch::async, [&] { return nodes[1]->resolve("soon", test::patience); });
  EXPECT_EQ(nodes[1]->resolve("never", 50ms).error(), Errc::timeout);
  const Pid pid = spawn_idle(*nodes[0]);
  ASSERT_TRUE(nodes[0]->register_service("soon", pid).has_value());
  const auto found = waiting.get();
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->pid, pid);
}

TEST(Services, bad_arguments_are_refused_with_a_word) {
  Cluster cluster;
  Node& node = cluster.start("a");
  const Pid pid = spawn_idle(node);
  EXPECT_EQ(node.register_service("kv", pid, Term(7)).error(), Errc::invalid_argument);
  EXPECT_EQ(node.register_service("kv", pid, Term::map({{"blob", std::string(64 * 1024, 'x')}})).error(),
            Errc::limit_exceeded);
  EXPECT_FALSE(ServiceName::from(Term(7)).has_value());
  EXPECT_TRUE(node.register_service(ServiceName::binary("a binary"), pid).has_value());
  EXPECT_EQ(node.whereis_service(ServiceName::binary("a binary"))->pid, pid);
  EXPECT_EQ(node.whereis_service("a binary").error(), Errc::not_found) << "an atom is another name";
  EXPECT_TRUE(node.verify_registry()->problems.empty());
}

TEST(Services, what_can_be_no_name_is_answered_to_other_nodes_as_a_name_that_nobody_has) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const auto call = [&](const char* function, std::vector<Term> arguments) {
    const auto result = nodes[0]->call_function(nodes[1]->name(), "barrel_p2p", function, std::move(arguments));
    return result ? to_text(*result) : result.error().message();
  };
  const Pid pid = spawn_idle(*nodes[1]);
  const Term nothing = Term::map(std::vector<TermPair>());
  for (const char* function : {"lookup", "lookup_local", "whereis_service"}) {
    EXPECT_EQ(call(function, {7}), "{error,not_found}") << function;
  }
  EXPECT_EQ(call("unregister_service", {7}), "ok");
  EXPECT_EQ(call("register_service", {7, pid, nothing}), "{error,badarg}");
  EXPECT_EQ(call("register_service", {Atom("kv"), pid, 7}), "{error,badarg}");
  EXPECT_EQ(call("register_service", {Atom("kv"), pid, nothing}), "ok");
}

TEST(Services, a_callback_of_the_cluster_thread_is_told_not_to_wait_there) {
  Cluster cluster;
  Node& node = cluster.start("a");
  std::promise<Errc> answer;
  const Subscription subscription = node.subscribe_services([&](const ServiceEvent& event) {
    if (event.kind != ServiceEvent::Kind::registered) return;
    answer.set_value(node.register_service("other", Pid{}).error().code());
  });
  ASSERT_TRUE(node.register_service("kv", spawn_idle(node)).has_value());
  EXPECT_EQ(answer.get_future().get(), Errc::invalid_argument);
}

TEST(Services, a_hidden_node_has_none) {
  Cluster cluster;
  Node& node = cluster.start("a", [](NodeConfig& config) { config.hidden = true; });
  EXPECT_EQ(node.register_service("kv", spawn_idle(node)).error(), Errc::invalid_config);
  EXPECT_TRUE(node.list_services().empty());
  EXPECT_TRUE(node.members().empty());
  EXPECT_EQ(node.new_map("m").error(), Errc::invalid_config);
  EXPECT_EQ(node.map_get("m", 1).error(), Errc::no_such_map);
}

TEST(Services, a_process_waits_for_the_answer_without_holding_its_thread) {
  Cluster cluster;
  Node& node = cluster.start("a", [](NodeConfig& config) { config.workers = 1; });
  std::promise<bool> registered;
  node.spawn([&](Process& self) -> Task<> {
    const Pid own = self.pid();
    const auto done = co_await awaited<void>(self, [&](auto answer) {
      node.register_service("me", own, Term::map(std::vector<TermPair>()), {}, std::move(answer));
    });
    registered.set_value(done.has_value());
    (void)co_await self.receive();
  });
  EXPECT_TRUE(registered.get_future().get());
  EXPECT_TRUE(node.lookup_local("me").has_value());
}

TEST(Services, other_nodes_operate_a_node_by_remote_calls) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Node& a = *nodes[0];
  const NodeName& b = nodes[1]->name();
  const Pid pid = spawn_idle(a);
  Collector events(a);
  const auto call = [&](const char* function, std::vector<Term> arguments) {
    const auto result = a.call_function(b, "barrel_p2p", function, std::move(arguments));
    return result ? to_text(*result) : result.error().message();
  };
  const std::string shown = to_text(Term(pid));
  EXPECT_EQ(call("subscribe_services", {events.pid}), "ok");
  EXPECT_EQ(call("register_service", {Atom("kv"), pid, Term::map({{Atom("x"), 1}})}), "ok");
  EXPECT_EQ(events.next(), "{barrel_p2p_service_event,{service_registered,kv,'n1@127.0.0.1'}}");
  EXPECT_EQ(call("register_service", {Atom("kv"), pid, Term::map({})}), "{error,already_registered}");
  EXPECT_EQ(call("lookup", {Atom("kv")}), "{ok,[{service_entry,kv," + shown + ",'n1@127.0.0.1',#{x => 1}}]}");
  EXPECT_EQ(call("lookup_local", {Atom("kv")}), "{ok," + shown + "}");
  EXPECT_EQ(call("whereis_service", {Atom("kv")}), "{ok," + shown + "}");
  EXPECT_EQ(call("whereis_service", {Atom("nothing"), Term::map({})}), "{error,not_found}");
  EXPECT_EQ(call("list_services", {}), "[kv]");
  EXPECT_EQ(call("unregister_service", {Atom("kv")}), "ok");
  EXPECT_EQ(call("lookup", {Atom("kv")}), "{error,not_found}");
  EXPECT_EQ(call("members", {}), "['n0@127.0.0.1','n1@127.0.0.1']");
}

}  // namespace
}  // namespace barrel_p2p
