// Calls, servers and functions: what Erlang's gen_server, sys, rpc, erpc and net_adm do with us, and we with them.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>

#include "interop/node_test.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;

/// Counts; answers later when asked to; ends when told.
struct Counter : Server {
  std::int64_t count = 0;
  Task<std::optional<Term>> handle_call(Process& self, Term request, CallFrom from) override {
    if (request.is_atom("get")) co_return Term(count);
    if (request.is_tagged("add", 2)) {
      count += request[1].as_int64().value_or(0);
      co_return Term(count);
    }
    if (request.is_atom("later")) {
      self.spawn([from](Process& other) -> Task<> {
        Term answer = Term::tuple_of(Atom("later"), other.pid().node);
        co_await reply(other, from, answer);
      });
      co_return std::nullopt;
    }
    if (request.is_atom("never")) co_return std::nullopt;
    if (request.is_tagged("stop", 2)) throw ExitProcess{request[1]};
    co_return Term(Atom("unknown"));
  }
  Task<> handle_cast(Process& /*self*/, Term request) override {
    if (request.is_tagged("add", 2)) count += request[1].as_int64().value_or(0);
    co_return;
  }
  Task<> handle_info(Process& self, Term message) override {
    if (message.is_tagged("tell", 2) && message[1].is_pid()) {
      const Pid to = *message[1].as_pid();
      Term answer = Term::tuple_of(Atom("state"), count);
      co_await self.send(to, answer);
    }
  }
  [[nodiscard]] Term state() const override { return Term::tuple({Atom("counter"), count}); }
};

class ErlangCalls : public ErlangNode {
 protected:
  Pid start_counter(const char* name = nullptr) {
    const Pid pid = system().spawn(serve([] { return std::make_unique<Counter>(); }));
    if (name != nullptr && !system().register_name(Atom(name), pid)) throw std::runtime_error("the name is taken");
    return pid;
  }
  /// How a call of ours ends: the answer, or the error as text.
  Term call(Destination server, Term request, std::chrono::milliseconds limit = 5s) {
    return run<Term>([=](Process& self) -> Task<Term> {
      const auto answer = co_await self.call(server, request, limit);
      if (answer) co_return *answer;
      co_return Term::tuple_of(Atom("error"), Atom(name(answer.error().code())), answer.error().context());
    });
  }
  CallOutcome outcome(const char* module, const char* function, std::vector<Term> arguments,
                      std::chrono::milliseconds limit = 5s) {
    const RemoteFunction what(module, function, std::move(arguments));
    return run<CallOutcome>([what, limit](Process& self) -> Task<CallOutcome> {
      const CallOutcome ended = co_await self.run_function(theirs(), what, limit);
      co_return ended;
    });
  }
  /// Functions that end in every way, as `ours:F/1`.
  void export_ends() {
    system().export_function("ours", "returns", [](Process&, std::vector<Term> arguments) -> Task<Result<Term>> {
      Term list = Term::list(std::move(arguments));
      co_return list;
    });
    system().export_function("ours", "throws", [](Process&, std::vector<Term> arguments) -> Task<Result<Term>> {
      throw ThrowTerm{arguments[0]};
      co_return Term();
    });
    system().export_function("ours", "exits", [](Process&, std::vector<Term> arguments) -> Task<Result<Term>> {
      throw ExitProcess{arguments[0]};
      co_return Term();
    });
    system().export_function("ours", "fails", [](Process&, std::vector<Term> arguments) -> Task<Result<Term>> {
      throw ErrorTerm{arguments[0]};
      co_return Term();
    });
    system().export_function("ours", "breaks", [](Process&, std::vector<Term>) -> Task<Result<Term>> {
      throw std::runtime_error("broken");
      co_return Term();
    });
    system().export_function("ours", "waits", [](Process& self, std::vector<Term>) -> Task<Result<Term>> {
      const Term message = co_await self.receive();
      co_return message;
    });
    system().export_function("ours", "tells", [](Process& self, std::vector<Term> arguments) -> Task<Result<Term>> {
      const Pid to = *arguments[0].as_pid();
      const Term what = arguments[1];
      co_await self.send(to, what);
      co_return Term(Atom("ok"));
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Dialled, ErlangCalls, testing::ValuesIn(both_ways), dialling_name);

// Servers.

TEST_P(ErlangCalls, gen_server_calls_and_casts_our_server) {
  const Pid pid = start_counter("counter");
  EXPECT_EQ(eval("[gen_server:call({counter, hd(Args)}, R) || R <- [get, {add, 5}, later, nonsense]]", ours()),
            Term::list({0, 5, Term::tuple({Atom("later"), ours()}), Atom("unknown")}));
  EXPECT_EQ(eval("ok = gen_server:cast(hd(Args), {add, 2}), gen_server:call(hd(Args), get)", pid), Term(7));
  EXPECT_EQ(eval("gen_server:abcast([hd(Args)], counter, {add, 3}), "
                 "gen_server:multi_call([hd(Args)], counter, get, 30000)",
                 ours()),
            Term::tuple({Term::list({Term::tuple({ours(), 10})}), Term()}));
  EXPECT_EQ(eval("Req = gen_server:send_request(hd(Args), get), gen_server:receive_response(Req, 30000)", pid),
            term("{reply, 10}"));
  EXPECT_EQ(eval("hd(Args) ! {tell, self()}, receive {state, S} -> S after 30000 -> timeout end", pid), Term(10));
  EXPECT_EQ(eval("catch gen_server:call(hd(Args), never, 50)", pid)[1][0], Term(Atom("timeout")));
  EXPECT_EQ(eval("catch gen_server:call(hd(Args), {stop, {no, more}})", pid)[1][0], term("{no, more}"));
  EXPECT_EQ(eval("catch gen_server:call(hd(Args), get)", pid)[1][0], Term(Atom("noproc")));
  EXPECT_EQ(eval("catch gen_server:call({counter, hd(Args)}, get)", ours())[1][0], Term(Atom("noproc")));
  EXPECT_EQ(eval("gen_server:multi_call([hd(Args)], counter, get, 30000)", ours()),
            Term::tuple({Term(), Term::list({Term(ours())})}));
}

TEST_P(ErlangCalls, sys_and_gen_server_stop_work_on_our_server) {
  const Pid pid = start_counter("counter");
  // The answer is that of OTP 27, `{ok, State}`; older clients expect the bare state and hand out what comes.
  const Term state = eval("sys:get_state({counter, hd(Args)})", ours());
  EXPECT_EQ(erl().otp_release() < 27 && state.is_tagged("ok", 2) ? state[1] : state, term("{counter, 0}"));
  EXPECT_EQ(eval("element(1, sys:get_status(hd(Args)))", pid), Term(Atom("status")));
  EXPECT_EQ(eval("P = hd(Args), ok = sys:suspend(P), T = (catch gen_server:call(P, get, 50)), ok = sys:resume(P), "
                 "{element(1, element(2, T)), gen_server:call(P, {add, 1})}",
                 pid),
            term("{timeout, 1}"));
  EXPECT_EQ(eval("P = hd(Args), Mon = monitor(process, P), ok = gen_server:stop(P, shutdown, 30000), "
                 "receive {'DOWN', Mon, process, P, R} -> R after 30000 -> timeout end",
                 pid),
            Term(Atom("shutdown")));
}

TEST_P(ErlangCalls, we_call_and_cast_a_gen_server) {
  const Pid pid = *eval("{ok, P} = peer_driver:start_server(counter, 3), P").as_pid();
  const RemoteName by_name("counter", theirs());
  EXPECT_EQ(call(by_name, Atom("get")), Term(3));
  EXPECT_EQ(call(pid, term("{add, 5}")), Term(8));
  EXPECT_EQ(call(pid, Atom("later")), Term::tuple({Atom("later"), ours()}));
  Puppet puppet(system());
  puppet.send(by_name, term("{'$gen_cast', {add, 2}}"));
  puppet.send(pid, Term::tuple({Atom("tell"), puppet.pid()}));
  EXPECT_EQ(puppet.next(), term("{state, 10}"));
  EXPECT_EQ(call(pid, Atom("never"), 50ms)[1], Term(Atom("timeout")));
  const Term stopped = call(pid, term("{stop, {no, more}}"));
  EXPECT_EQ(stopped[1], Term(Atom("remote_exit"))) << to_text(stopped);
  EXPECT_TRUE(stopped[2].as_string()->contains("{no,more}")) << to_text(stopped);
  EXPECT_EQ(call(pid, Atom("get"))[1], Term(Atom("noproc")));
  EXPECT_EQ(call(by_name, Atom("get"))[1], Term(Atom("noproc")));
  EXPECT_EQ(call(RemoteName("counter", "nobody@127.0.0.9"), Atom("get"))[1], Term(Atom("noconnection")));
}

TEST_P(ErlangCalls, system_processes_of_erlang_answer_us) {
  EXPECT_TRUE(call(RemoteName("kernel_sup", theirs()), Atom("which_children")).is_list());
  const Term registered = outcome("erlang", "whereis", {Atom("peer_driver")}).value;
  EXPECT_EQ(registered, eval("whereis(peer_driver)"));
  EXPECT_EQ(outcome("sys", "get_state", {Atom("nobody_here")}, 5s).kind, CallOutcome::Kind::exited);
}

TEST_P(ErlangCalls, net_adm_ping_works_from_both_sides) {
  EXPECT_EQ(eval("net_adm:ping(hd(Args))", ours()), Term(Atom("pong")));
  EXPECT_EQ(eval("net_adm:ping('nobody@127.0.0.9')"), Term(Atom("pang")));
  const RemoteName net_kernel("net_kernel", theirs());
  EXPECT_EQ(call(net_kernel, Term::tuple({Atom("is_auth"), ours()})), Term(Atom("yes")));
}

TEST_P(ErlangCalls, the_capability_probe_is_answered_on_both_sides) {
  EXPECT_EQ(eval("{rex, hd(Args)} ! {self(), features_request}, "
                 "receive {features_reply, Node, Features} -> {Node, Features} after 30000 -> timeout end",
                 ours()),
            Term::tuple({ours(), Term::list({Term(Atom("erpc"))})}));
  Puppet puppet(system());
  puppet.send(RemoteName{"rex", theirs()}, Term::tuple({puppet.pid(), Atom("features_request")}));
  EXPECT_EQ(puppet.next(), Term::tuple({Atom("features_reply"), theirs().atom(), Term::list({Term(Atom("erpc"))})}));
}

// Functions.

TEST_P(ErlangCalls, rpc_runs_our_functions) {
  export_ends();
  EXPECT_EQ(eval("rpc:call(hd(Args), ours, returns, [1, two, <<\"three\">>])", ours()),
            term("[1, two, <<\"three\">>]"));
  EXPECT_EQ(eval("rpc:call(hd(Args), ours, throws, [{thrown, 1}])", ours()), term("{thrown, 1}"));
  EXPECT_EQ(eval("rpc:call(hd(Args), ours, exits, [{gone, 1}])", ours()), term("{badrpc, {'EXIT', {gone, 1}}}"));
  EXPECT_EQ(eval("{badrpc, {'EXIT', {R, S}}} = rpc:call(hd(Args), ours, fails, [{wrong, 1}]), {R, is_list(S)}", ours()),
            term("{{wrong, 1}, true}"));
  EXPECT_EQ(eval("{badrpc, {'EXIT', {R, _}}} = rpc:call(hd(Args), ours, breaks, []), R", ours()),
            term("{exception, <<\"broken\">>}"));
  EXPECT_EQ(eval("rpc:call(hd(Args), ours, missing, [1])", ours()),
            term("{badrpc, {'EXIT', {undef, [{ours, missing, [1], []}]}}}"));
  EXPECT_EQ(eval("rpc:call(hd(Args), ours, waits, [], 50)", ours()), term("{badrpc, timeout}"));
  EXPECT_EQ(eval("rpc:yield(rpc:async_call(hd(Args), ours, returns, [4]))", ours()), term("[4]"));
  EXPECT_EQ(eval("rpc:multicall([hd(Args), node()], erlang, node, [])", ours()),
            Term::tuple({Term::list({Term(ours()), Term(theirs().atom())}), Term()}));
  EXPECT_EQ(
      eval("rpc:cast(hd(Args), ours, tells, [self(), {cast, 1}]), receive {cast, N} -> N after 30000 -> timeout end",
           ours()),
      Term(1));
  EXPECT_EQ(eval("rpc:call(hd(Args), erlang, node, [])", ours()), Term(ours()));
}

TEST_P(ErlangCalls, erpc_runs_our_functions) {
  export_ends();
  const auto erpc = [&](const char* function, const char* argument) {
    return eval(
        "[N, F | A] = Args, try {returned, erpc:call(N, ours, F, A, 30000)} "
        "catch error:{exception, R, [_ | _]} -> {error, R, stack}; error:{exception, R, _} -> {error, R}; C:R -> {C, "
        "R} end",
        ours(), Atom(function), term(argument));
  };
  EXPECT_EQ(erpc("returns", "1.5"), term("{returned, [1.5]}"));
  EXPECT_EQ(erpc("throws", "{thrown, 1}"), term("{throw, {thrown, 1}}"));
  EXPECT_EQ(erpc("exits", "{gone, 1}"), term("{exit, {exception, {gone, 1}}}"));
  EXPECT_EQ(erpc("fails", "{wrong, 1}"), term("{error, {wrong, 1}}"));
  EXPECT_EQ(erpc("missing", "1"), term("{error, undef, stack}"));
  EXPECT_EQ(eval("try erpc:call(hd(Args), ours, waits, [], 50) catch C:R -> {C, R} end", ours()),
            term("{error, {erpc, timeout}}"));
  EXPECT_EQ(
      eval("erpc:cast(hd(Args), ours, tells, [self(), {cast, 2}]), receive {cast, N} -> N after 30000 -> timeout end",
           ours()),
      Term(2));
  EXPECT_EQ(eval("erpc:multicall([hd(Args)], ours, returns, [7], 30000)", ours()), term("[{ok, [7]}]"));
  EXPECT_EQ(eval("erpc:receive_response(erpc:send_request(hd(Args), ours, returns, [8]), 30000)", ours()), term("[8]"));
  EXPECT_EQ(eval("try erpc:call(hd(Args), fun() -> here end, 30000) catch error:{exception, R, _} -> R end", ours()),
            Term(Atom("undef")));
  // A long argument, and a long answer.
  EXPECT_EQ(
      eval("B = binary:copy(<<\"0123\">>, 100000), erpc:call(hd(Args), ours, returns, [B], 30000) =:= [B]", ours()),
      Term(true));
}

TEST_P(ErlangCalls, we_run_functions_of_erlang) {
  const auto returned = outcome("lists", "reverse", {Term::list({1, 2, 3})});
  EXPECT_EQ(returned.kind, CallOutcome::Kind::returned);
  EXPECT_EQ(returned.value, Term::list({3, 2, 1}));
  const auto thrown = outcome("peer_driver", "throws", {Atom("ball")});
  EXPECT_EQ(thrown.kind, CallOutcome::Kind::thrown);
  EXPECT_EQ(thrown.value, Term(Atom("ball")));
  const auto exited = outcome("peer_driver", "exits", {term("{gone, 1}")});
  EXPECT_EQ(exited.kind, CallOutcome::Kind::exited);
  EXPECT_EQ(exited.value, term("{gone, 1}"));
  const auto failed = outcome("peer_driver", "fails", {term("{wrong, 1}")});
  EXPECT_EQ(failed.kind, CallOutcome::Kind::failed);
  EXPECT_EQ(failed.value, term("{wrong, 1}"));
  ASSERT_TRUE(failed.stack.is_list() && failed.stack.size() > 0) << to_text(failed.stack);
  EXPECT_EQ(failed.stack[0][1], Term(Atom("fails")));
  const auto missing = outcome("peer_driver", "missing", {1});
  EXPECT_EQ(missing.kind, CallOutcome::Kind::failed);
  EXPECT_EQ(missing.result().error(), Errc::undefined_function);
  EXPECT_EQ(outcome("peer_driver", "wait", {}, 50ms).kind, CallOutcome::Kind::timeout);
  EXPECT_EQ(outcome("peer_driver", "wait", {}, 50ms).result().error(), Errc::timeout);
  Puppet puppet(system());
  puppet.act([&](Process& self) {
    const RemoteFunction what("erlang", "send", std::vector<Term>{Term(self.pid()), Term(Atom("cast"))});
    self.cast_function(theirs(), what);
  });
  EXPECT_EQ(puppet.next(), Term(Atom("cast")));
}

TEST_P(ErlangCalls, a_function_that_is_killed_while_it_runs_has_ended) {
  Puppet puppet(system());
  auto killed = std::async(std::launch::async, [&] { return outcome("peer_driver", "wait_as", {Term(puppet.pid())}); });
  const Term worker = puppet.next();
  eval("exit(hd(Args), kill)", worker);
  const auto outcome_of_killed = killed.get();
  EXPECT_EQ(outcome_of_killed.kind, CallOutcome::Kind::ended);
  EXPECT_EQ(outcome_of_killed.value, Term(Atom("killed")));
  system().export_function("ours", "wait_as", [](Process& self, std::vector<Term> arguments) -> Task<Result<Term>> {
    const Pid to = *arguments[0].as_pid();
    const Term pid(self.pid());
    co_await self.send(to, pid);
    const Term message = co_await self.receive();
    co_return message;
  });
  start("try erpc:call(hd(Args), ours, wait_as, tl(Args), 30000) catch C:R -> {C, R} end", ours(), puppet.pid());
  system().exit(*puppet.next().as_pid(), Atom("kill"));
  EXPECT_EQ(erl().finish(), term("{exit, {signal, killed}}"));
}

TEST_P(ErlangCalls, many_calls_at_once_find_their_answers) {
  constexpr int callers = 500;
  const Pid pid = start_counter("counter");
  EXPECT_EQ(
      eval("S = self(), Ps = [spawn(fun() -> S ! {done, self(), gen_server:call(hd(Args), {add, 1})} end) || "
           "_ <- lists:seq(1, 500)], lists:sort([receive {done, P, N} -> N after 30000 -> timeout end || P <- Ps]) "
           "=:= lists:seq(1, 500)",
           pid),
      Term(true));
  auto sum = std::make_shared<std::atomic<std::int64_t>>(0);
  auto left = std::make_shared<std::atomic<int>>(callers);
  auto done = std::make_shared<std::promise<void>>();
  for (int number = 0; number < callers; ++number) {
    system().spawn([=, to = theirs()](Process& self) -> Task<> {
      const std::vector<Term> arguments(1, Term(number));
      const auto answer = co_await self.call_function(to, "erlang", "abs", arguments);
      if (answer) *sum += answer->as_int64().value_or(0);
      if (--*left == 0) done->set_value();
    });
  }
  ASSERT_EQ(done->get_future().wait_for(patience), std::future_status::ready);
  EXPECT_EQ(sum->load(), callers * (callers - 1) / 2);
  system().exit(pid, Atom("kill"));
}

}  // namespace
}  // namespace barrel_p2p::test
