// Proxies, routed lookups, names of `via` and holders on real nodes.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "node/services_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::Collector;
using test::spawn_idle;
using test::start_cluster;

/// Answers calls with `{pong, Node}`; tells `listener` of everything else; ends on `crash`.
Pid spawn_service(Node& node, const Pid& listener) {
  return node.spawn([listener](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      const auto call = as_call(message);
      if (call && call->second.is_atom("crash")) throw ExitProcess{Atom("crashed")};
      if (call) {
        co_await reply(self, call->first, Term::tuple_of(Atom("pong"), self.pid().node));
      } else {
        co_await self.send(listener, message);
      }
    }
  });
}

Term pong_of(const Node& node) { return Term::tuple({Atom("pong"), node.name().atom()}); }

/// What a function of the library gives on another node, as text.
std::string remote(Node& from, Node& at, const char* module, const char* function, std::vector<Term> arguments) {
  const auto outcome = from.run_function(at.name(), RemoteFunction(module, function, std::move(arguments)));
  return (outcome.kind == CallOutcome::Kind::returned ? "" : "failed: ") + to_text(outcome.value);
}

TEST(ServiceProxies, calls_casts_and_messages_reach_a_service_of_another_node) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Collector heard(*nodes[0]);
  ASSERT_TRUE(nodes[0]->register_service("svc", spawn_service(*nodes[0], heard.pid)).has_value());
  ASSERT_TRUE(nodes[1]->resolve("svc", test::patience).has_value());
  const auto proxy = nodes[1]->get_proxy("svc");
  ASSERT_TRUE(proxy.has_value());
  EXPECT_EQ(proxy->node, nodes[1]->name().atom());
  EXPECT_EQ(nodes[1]->get_proxy("svc"), *proxy);
  EXPECT_EQ(nodes[1]->call(*proxy, Atom("ping")), pong_of(*nodes[0]));
  EXPECT_EQ(nodes[0]->call(*proxy, Atom("ping")), pong_of(*nodes[0])) << "from the other side";
  ASSERT_TRUE(nodes[1]->cast(*proxy, 1).has_value());
  ASSERT_TRUE(nodes[1]->send(*proxy, Atom("plain")).has_value());
  EXPECT_EQ(heard.next(), "{'$gen_cast',1}");
  EXPECT_EQ(heard.next(), "plain");
  EXPECT_EQ(nodes[0]->get_proxy("svc").error(), Errc::not_found) << "the service is of this node";
  EXPECT_EQ(nodes[1]->get_proxy("nothing").error(), Errc::not_found);
  EXPECT_EQ(remote(*nodes[0], *nodes[1], "barrel_p2p", "get_proxy", {Atom("svc")}),
            to_text(Term::tuple({Atom("ok"), *proxy})));
}

TEST(ServiceProxies, a_call_that_kills_the_service_ends_with_its_reason_and_so_does_the_proxy) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Collector heard(*nodes[0]);
  ASSERT_TRUE(nodes[0]->register_service("svc", spawn_service(*nodes[0], heard.pid)).has_value());
  ASSERT_TRUE(nodes[1]->resolve("svc", test::patience).has_value());
  const Pid proxy = nodes[1]->get_proxy("svc").value();
  const auto answer = nodes[1]->call(proxy, Atom("crash"));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error(), Errc::remote_exit);
  EXPECT_EQ(answer.error().context(), "crashed");
  EXPECT_FALSE(nodes[1]->is_alive(proxy));
}

TEST(ServiceProxies, a_service_is_called_by_its_name_at_its_node_and_relayed_to_by_a_third) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  Collector heard(*nodes[2]);
  ASSERT_TRUE(nodes[2]->register_service("svc", spawn_service(*nodes[2], heard.pid)).has_value());
  EXPECT_EQ(nodes[0]->call(RemoteName("svc", nodes[2]->name()), Atom("ping")), pong_of(*nodes[2]));
  const Term context = Term::map({{Atom("ttl"), 5}, {Atom("visited"), Term::list({nodes[0]->name().atom()})}});
  const std::string pong = to_text(pong_of(*nodes[2]));
  EXPECT_EQ(remote(*nodes[0], *nodes[1], "barrel_p2p_service_proxy", "relay",
                   {Atom("svc"), nodes[2]->name().atom(), Atom("ping"), context}),
            pong);
  EXPECT_EQ(remote(*nodes[0], *nodes[1], "gen_server", "cast",
                   {Term::tuple({Atom("svc"), nodes[2]->name().atom()}), Atom("hello")}),
            "ok");
  EXPECT_EQ(heard.next(), "{'$gen_cast',hello}");
}

TEST(RoutedLookups, neighbours_are_asked_for_what_is_not_known_and_say_no_at_once) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  WhereisOptions patient;
  patient.ask_for = test::patience;
  const auto found = nodes[1]->whereis_service("nothing", patient);
  EXPECT_EQ(found.error(), Errc::not_found);
  EXPECT_EQ(found.error().context().find("in time"), std::string::npos) << "they answered";
  std::promise<Result<ServiceLocation>> later;
  nodes[1]->whereis_service("nothing", patient, [&](auto result) { later.set_value(std::move(result)); });
  EXPECT_EQ(later.get_future().get().error(), Errc::not_found);
  EXPECT_EQ(remote(*nodes[0], *nodes[1], "barrel_p2p", "whereis_service", {Atom("nothing"), Term::map({})}),
            "{error,not_found}");
}

TEST(RoutedLookups, inside_of_a_process_only_what_is_known_is_found_and_nothing_blocks) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Node& node = *nodes[0];
  std::promise<Errc> answered;
  node.spawn([&](Process& /*self*/) -> Task<> {
    const auto found = node.whereis_service("nothing");
    answered.set_value(found.error().code());
    co_return;
  });
  EXPECT_EQ(answered.get_future().get(), Errc::not_found);
}

/// As an Erlang node asks.
TEST(RoutedLookups, a_request_to_the_router_is_answered) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const Pid pid = spawn_idle(*nodes[0]);
  ASSERT_TRUE(nodes[0]->register_service("svc", pid).has_value());
  const auto ask = [&](const char* name) {
    auto answer = std::make_shared<std::promise<std::string>>();
    nodes[1]->spawn([name, answer, to = nodes[0]->name()](Process& self) -> Task<> {
      const Term node(self.pid().node);
      const Term what = Term::tuple_of(Atom("route_req"), Atom(name), 4, node, Term::list_of(node, node));
      const Term request = Term::tuple_of(Atom("route_request"), what, Term::tuple_of(self.pid(), self.make_ref()));
      const RemoteName router("barrel_p2p_router", to);
      co_await self.send(router, Term::tuple_of(Atom("$barrel_p2p_route"), request));
      const Term reply = co_await self.receive();
      answer->set_value(to_text(reply[1]));
    });
    return answer->get_future().get();
  };
  EXPECT_EQ(ask("svc"), to_text(Term::tuple({Atom("found"), nodes[0]->name().atom(), pid})));
  EXPECT_EQ(ask("nothing"), "{error,not_found}");
}

/// A node that hears no broadcasts any more still finds out that a process has ended, when it handed it out.
TEST(RoutedLookups, a_process_that_ended_is_not_handed_out_again) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2, test::long_leases);
  const Pid pid = spawn_idle(*nodes[0]);
  ASSERT_TRUE(nodes[0]->register_service("svc", pid).has_value());
  ASSERT_TRUE(nodes[1]->resolve("svc", test::patience).has_value());
  ASSERT_EQ(nodes[1]->whereis_service("svc")->pid, pid);
  nodes[0]->block_peers({nodes[1]->name()});
  nodes[1]->block_peers({nodes[0]->name()});
  const auto apart = [&] { return nodes[0]->active_view().empty() && nodes[1]->active_view().empty(); };
  ASSERT_TRUE(test::eventually(nodes, apart));
  ASSERT_TRUE(nodes[1]->whereis_service("svc").has_value()) << "the lease goes on";
  nodes[0]->exit(pid, Atom("kill"));
  EXPECT_TRUE(test::becomes_true([&] { return !nodes[1]->whereis_service("svc").has_value(); }));
  EXPECT_EQ(nodes[1]->whereis_service("svc").error(), Errc::not_found);
  EXPECT_EQ(nodes[1]->lookup("svc").error(), Errc::not_found);
  EXPECT_EQ(nodes[1]->list_services().size(), 1U) << "the registration has not been taken back yet";
}

TEST(ViaNames, names_are_those_of_the_registry) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Collector heard(*nodes[0]);
  EXPECT_TRUE(nodes[0]->register_name("via1", heard.pid));
  EXPECT_FALSE(nodes[0]->register_name("via1", heard.pid));
  ASSERT_TRUE(nodes[1]->resolve("via1", test::patience).has_value());
  EXPECT_EQ(nodes[1]->whereis_name("via1"), heard.pid);
  EXPECT_EQ(nodes[1]->send_name("via1", Atom("hello")), heard.pid);
  EXPECT_EQ(heard.next(), "hello");
  EXPECT_EQ(remote(*nodes[1], *nodes[0], "barrel_p2p", "whereis_name", {Atom("via1")}), to_text(Term(heard.pid)));
  nodes[0]->unregister_name("via1");
  EXPECT_EQ(nodes[0]->whereis_name("via1"), std::nullopt);
  EXPECT_EQ(nodes[0]->send_name("via1", Atom("hello")).error(), Errc::not_found);
}

TEST(ServiceHolders, a_holder_bears_its_name_until_it_is_stopped) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const auto holder = nodes[0]->start_service_holder("held");
  ASSERT_TRUE(holder.has_value());
  EXPECT_EQ(nodes[0]->lookup_local("held"), *holder);
  EXPECT_EQ(nodes[0]->start_service_holder("held").error(), Errc::already_registered);
  ASSERT_TRUE(nodes[1]->resolve("held", test::patience).has_value());
  test::ServiceLog log(*nodes[1]);
  nodes[0]->stop_service_holder(*holder);
  EXPECT_TRUE(log.until("unregistered held n0@127.0.0.1"));
  EXPECT_EQ(nodes[0]->lookup_local("held").error(), Errc::not_found);
}

TEST(GlobalRegistration, without_an_erlang_neighbour_it_is_refused_with_a_word) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  ASSERT_TRUE(nodes[0]->register_service("svc", spawn_idle(*nodes[0])).has_value());
  EXPECT_EQ(nodes[0]->global_register("svc").error(), Errc::not_connected);
  EXPECT_EQ(nodes[0]->global_register("nothing").error(), Errc::not_found);
}

TEST(HiddenNodes, what_needs_the_cluster_is_refused) {
  Cluster cluster;
  Node& node = cluster.start("hidden", [](NodeConfig& config) { config.hidden = true; });
  EXPECT_EQ(node.get_proxy("svc").error(), Errc::invalid_config);
  EXPECT_EQ(node.start_service_holder("svc").error(), Errc::invalid_config);
  EXPECT_EQ(node.global_register("svc").error(), Errc::invalid_config);
  EXPECT_FALSE(node.register_name("svc", spawn_idle(node)));
  EXPECT_EQ(node.whereis_name("svc"), std::nullopt);
}

}  // namespace
}  // namespace barrel_p2p
