// Lookups that are routed, proxies, `via` and `global` between a C++ node c1 and an Erlang node e1.
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "node/services_support.hpp"
#include "upstream/mixed.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::MixedCluster;

class MixedProxies : public MixedCluster {
 protected:
  void start_two() {
    start_erlang("e1");
    if (IsSkipped()) return;
    start_cpp("c1");
    join("c1", "e1");
  }
  Node& c1() { return cpp("c1"); }
  Term e1(const std::string& expressions) { return erlang("e1").eval(expressions); }

  /// A service of c1 that answers `{pong, Node}`, ends on `crash`, and keeps casts for `casts`; both nodes know it.
  Pid start_service(const char* name) {
    const Pid pid = c1().spawn([](Process& self) -> Task<> {
      std::vector<Term> casts;
      for (;;) {
        const Term message = co_await self.receive();
        if (const auto cast = as_cast(message)) casts.push_back(*cast);
        const auto call = as_call(message);
        if (!call) continue;
        if (call->second.is_atom("crash")) throw ExitProcess{Atom("crashed")};
        Term answer = Term::tuple_of(Atom("pong"), self.pid().node);
        if (call->second.is_atom("casts")) answer = Term::list(casts);
        co_await reply(self, call->first, std::move(answer));
      }
    });
    EXPECT_EQ(word(c1().register_service(name, pid)), "ok");
    EXPECT_TRUE(
        erlang("e1").becomes(std::string("case barrel_p2p:lookup(") + name + ") of {ok, _} -> true; _ -> false end"));
    return pid;
  }
  static Term pong() { return Term::tuple({Atom("pong"), Atom(full("c1"))}); }
};

TEST_F(MixedProxies, each_kind_answers_the_lookups_of_the_other) {
  start_two();
  if (HasFailure() || IsSkipped()) return;
  const Pid pid = start_service("csvc");
  const std::string ask =
      "Ask = fun(Name) -> Ref = make_ref(), {barrel_p2p_router, 'c1@127.0.0.1'} ! {'$barrel_p2p_route', "
      "{route_request, {route_req, Name, 4, node(), [node(), node()]}, {self(), Ref}}}, "
      "receive {Ref, Result} -> Result after 5000 -> nothing end end, ";
  EXPECT_EQ(e1(ask + "Ask(csvc)"), Term::tuple({Atom("found"), Atom(full("c1")), pid}));
  EXPECT_EQ(to_text(e1("Ask(nothing)")), "{error,not_found}");
  // An Erlang node registers what nobody else accepts, and answers for it.
  const Term odd =
      e1("Odd = spawn(fun() -> receive stop -> ok end end), "
         "ok = barrel_p2p:register_service(odd, Odd, no_map), Odd");
  EXPECT_EQ(c1().lookup("odd").error(), Errc::not_found);
  const auto found = c1().whereis_service("odd");
  ASSERT_EQ(word(found), "ok");
  EXPECT_EQ(Term(found->pid), odd);
  EXPECT_EQ(found->node.string(), full("e1"));
  EXPECT_EQ(c1().whereis_service("nothing").error(), Errc::not_found);
}

TEST_F(MixedProxies, an_erlang_proxy_reaches_a_cpp_service) {
  start_two();
  if (HasFailure() || IsSkipped()) return;
  start_service("csvc");
  ASSERT_TRUE(e1("barrel_p2p:global_register(csvc)").is_tagged("ok", 2));
  EXPECT_EQ(e1("gen_server:call({global, csvc}, ping)"), pong());
  EXPECT_EQ(to_text(e1("gen_server:cast({global, csvc}, hello), gen_server:call({global, csvc}, casts)")), "[hello]");
}

TEST_F(MixedProxies, our_proxy_stands_for_an_erlang_server) {
  start_two();
  if (HasFailure() || IsSkipped()) return;
  erlang("e1").eval(
      "Loop = fun Loop() -> receive {'$gen_call', From, crash} -> exit(crashed); "
      "{'$gen_call', From, Request} -> gen_server:reply(From, {got, Request}), Loop() end end, "
      "Server = spawn(fun() -> Loop() end), ok = barrel_p2p:register_service(esvc, Server, #{})");
  ASSERT_EQ(word(c1().resolve("esvc")), "ok");
  const auto proxy = c1().get_proxy("esvc");
  ASSERT_EQ(word(proxy), "ok");
  EXPECT_EQ(to_text(c1().call(*proxy, 1).value()), "{got,1}");
  EXPECT_EQ(e1("{ok, Proxy} = erpc:call('c1@127.0.0.1', barrel_p2p, get_proxy, [esvc]), Proxy"), Term(*proxy));
  EXPECT_EQ(to_text(e1("gen_server:call(Proxy, 2)")), "{got,2}");
  EXPECT_EQ(to_text(e1("try gen_server:call(Proxy, crash) catch exit:{Why, _} -> Why end")), "crashed");
  EXPECT_FALSE(c1().is_alive(*proxy));
}

TEST_F(MixedProxies, an_erlang_neighbour_registers_our_service_in_global) {
  start_two();
  if (HasFailure() || IsSkipped()) return;
  const Pid pid = start_service("csvc");
  EXPECT_EQ(c1().global_register("csvc"), pid);
  EXPECT_EQ(e1("global:whereis_name(csvc)"), Term(pid));
  EXPECT_EQ(e1("gen_server:call({global, csvc}, ping)"), pong());
  EXPECT_EQ(c1().global_register("csvc").error(), Errc::already_registered);
  c1().exit(pid, Atom("kill"));
  EXPECT_TRUE(erlang("e1").becomes("global:whereis_name(csvc) =:= undefined"));
}

TEST_F(MixedProxies, via_names_of_one_kind_are_called_by_the_other) {
  start_two();
  if (HasFailure() || IsSkipped()) return;
  start_service("csvc");
  EXPECT_EQ(e1("gen_server:call({via, barrel_p2p, csvc}, ping)"), pong());
  EXPECT_EQ(e1("erpc:call('c1@127.0.0.1', barrel_p2p, register_name, [evia, self()])"), Atom("yes"));
  EXPECT_EQ(e1("erpc:call('c1@127.0.0.1', barrel_p2p, register_name, [evia, self()])"), Atom("no"));
  ASSERT_EQ(word(c1().send_name("evia", Atom("hello"))), "ok");
  EXPECT_EQ(e1("receive hello -> came after 5000 -> lost end"), Atom("came"));
}

}  // namespace
}  // namespace barrel_p2p
