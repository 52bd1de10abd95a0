// Proxies and `global` between us and a real Erlang node.
#include <gtest/gtest.h>

#include <stdexcept>

#include "interop/node_test.hpp"
#include "services/bridge.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;

class ErlangServices : public ErlangNode {
 protected:
  void SetUp() override {
    ErlangNode::SetUp();
    if (IsSkipped()) return;
    services::RegistryCalls calls;
    calls.whereis = [this](Process& /*self*/, ServiceName /*name*/) -> Task<Result<ServiceLocation>> {
      const bool local = service.node == ours();
      co_return ServiceLocation{service, local ? NodeName(ours().text()) : theirs(), local};
    };
    calls.erlang_neighbours = [] { return std::vector<NodeName>{theirs()}; };
    bridge.emplace(system(), std::move(calls));
  }
  Result<Pid> global_register(const char* name) {
    return run<Result<Pid>>([=, this](Process& self) -> Task<Result<Pid>> {
      Result<Pid> result = co_await bridge->global_register(self, name);
      co_return result;
    });
  }
  Pid proxy_of(const Pid& pid) {
    service = pid;
    return bridge->proxies().ensure(Atom("svc"), pid)->pid;
  }
  Result<Term> call(const Pid& server, Term request) {
    return run<Result<Term>>([=](Process& self) -> Task<Result<Term>> {
      Result<Term> answer = co_await self.call(server, request);
      co_return answer;
    });
  }
  /// `global` hears of an end by a monitor of its own: asks until the name is gone.
  Term forgotten(const char* name) {
    return eval(
        "Gone = fun Gone(0) -> global:whereis_name(hd(Args)); Gone(N) -> case global:whereis_name(hd(Args)) of "
        "undefined -> undefined; _ -> timer:sleep(5), Gone(N - 1) end end, Gone(1000)",
        Atom(name));
  }

  Pid service;
  std::optional<services::Bridge> bridge;
};

TEST_P(ErlangServices, an_erlang_server_behind_our_proxy_is_called_from_both_sides) {
  const Pid server = eval_pid("{ok, Pid} = peer_driver:start_server(behind_proxy, 5), Pid");
  const Pid proxy = proxy_of(server);
  EXPECT_EQ(call(proxy, Atom("get")), Term(5));
  EXPECT_EQ(eval("gen_server:call(hd(Args), {add, 2})", proxy), Term(7));
  EXPECT_EQ(eval("gen_server:cast(hd(Args), {add, 3}), gen_server:call(hd(Args), get)", proxy), Term(10));
  EXPECT_EQ(eval("hd(Args) ! {tell, self()}, receive {state, S} -> S after 30000 -> lost end", proxy), Term(10));
  EXPECT_EQ(eval("gen_server:call(hd(Args), later)", proxy), term("{later, 'theirs@127.0.0.1'}"));
  EXPECT_EQ(eval("sys:get_state(hd(Args))", proxy), Term(10));
  EXPECT_EQ(eval("try gen_server:call(hd(Args), never, 50) catch exit:{Why, _} -> Why end", proxy),
            Term(Atom("timeout")));
  EXPECT_EQ(eval("try gen_server:call(hd(Args), {stop, broken}) catch exit:{Why, _} -> Why end", proxy),
            Term(Atom("broken")));
  EXPECT_EQ(eval("try gen_server:call(hd(Args), get) catch exit:{Why, _} -> Why end", proxy), Term(Atom("noproc")));
}

TEST_P(ErlangServices, an_erlang_node_registers_our_service_in_global_and_forgets_it_when_it_ends) {
  service = system().spawn([](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      const auto request = as_call(message);
      if (request && request->second.is_atom("end")) co_return;
      if (request) co_await reply(self, request->first, Atom("pong"));
    }
  });
  EXPECT_EQ(global_register("in_global"), service);
  EXPECT_EQ(eval("global:whereis_name(in_global)"), Term(service));
  EXPECT_EQ(eval("gen_server:call({global, in_global}, ping)"), Term(Atom("pong")));
  EXPECT_EQ(global_register("in_global").error(), Errc::already_registered);
  EXPECT_EQ(eval("try gen_server:call({global, in_global}, 'end') catch exit:{Why, _} -> Why end"),
            Term(Atom("normal")));
  EXPECT_EQ(forgotten("in_global"), Term(Atom("undefined")));
}

TEST_P(ErlangServices, our_proxy_in_global_leaves_it_with_the_service) {
  service = eval_pid("{ok, Pid} = peer_driver:start_server(by_proxy, 5), Pid");
  const Pid proxy = global_register("svc").value();
  EXPECT_EQ(proxy.node, ours());
  EXPECT_EQ(eval("gen_server:call({global, svc}, get)"), Term(5));
  EXPECT_EQ(eval("gen_server:stop(by_proxy)"), Term(Atom("ok")));
  EXPECT_EQ(forgotten("svc"), Term(Atom("undefined")));
}

INSTANTIATE_TEST_SUITE_P(Dialled, ErlangServices, testing::ValuesIn(both_ways), dialling_name);

}  // namespace
}  // namespace barrel_p2p::test
