// Processes over both implementations: messages, servers, calls, links, monitors, exits.
#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <barrel_p2p/server.hpp>
#include <boost/crc.hpp>
#include <random>

#include "upstream/peer.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::cpp_name;
using test::erlang_name;
using test::ErlangError;
using test::ErlangNode;
using test::LineProgram;
using test::Upstream;

/// Both nodes, connected by whom the test says.
class Pair : public Upstream {
 protected:
  void SetUp() override {
    Upstream::SetUp();
    if (IsSkipped()) return;
    erl_ = std::make_unique<ErlangNode>(cluster_, "e");
    node_ = &cluster_.start("c");
    const auto connected = node_->connect(erlang_name);
    ASSERT_TRUE(connected.has_value()) << connected.error().message();
    ASSERT_TRUE(erl_->lists(cpp_name));
  }
  void TearDown() override { erl_.reset(); }

  Term eval(const std::string& expressions) { return erl_->eval(expressions); }
  /// An echo on the Erlang node: `{From, What}` is answered with `{Self, What}`. Registered as `echo`.
  Pid erlang_echo() {
    const Term pid = eval(
        "EchoPid = spawn(fun Loop() -> receive {From, What} -> From ! {self(), What}, Loop() end end), "
        "register(echo, EchoPid), EchoPid");
    return *pid.as_pid();
  }
  /// The same on ours.
  Pid cpp_echo() {
    const Pid echo = node_->spawn([](Process& self) -> Task<> {
      for (;;) {
        const Term message = co_await self.receive();
        co_await self.send(*message[0].as_pid(), Term::tuple_of(self.pid(), message[1]));
      }
    });
    EXPECT_TRUE(node_->register_process("echo", echo).has_value());
    return echo;
  }
  std::unique_ptr<ErlangNode> erl_;
  Node* node_ = nullptr;
};

/// The arguments of a call; g++ 12 cannot compile braced lists inside of coroutines.
template <class... T>
std::vector<Term> with(T&&... arguments) {
  std::vector<Term> list;
  (list.emplace_back(std::forward<T>(arguments)), ...);
  return list;
}

struct Counter : Server {
  std::int64_t count = 0;
  Task<std::optional<Term>> handle_call(Process& self, Term request, CallFrom from) override {
    if (request.is_atom("get")) co_return count;
    if (request.is_atom("later")) {
      co_await reply(self, from, Atom("answered_later"));
      co_return std::nullopt;
    }
    if (request.is_atom("silence")) co_return std::nullopt;
    if (request.is_tagged("stop", 2)) throw ExitProcess{request[1]};
    co_return Term::tuple_of(Atom("echo"), request);
  }
  Task<> handle_cast(Process& /*self*/, Term request) override {
    count += request.as_int64().value_or(0);
    co_return;
  }
  [[nodiscard]] Term state() const override { return count; }
};

TEST_F(Pair, messages_go_by_pid_and_by_name_to_an_erlang_process) {
  const Pid echo = erlang_echo();
  const Term answers = run(*node_, [&](Process& self) -> Task<Term> {
    co_await self.send(echo, Term::tuple_of(self.pid(), 1));
    const Term first = co_await self.receive();
    co_await self.send(RemoteName("echo", erlang_name), Term::tuple_of(self.pid(), 2));
    const Term second = co_await self.receive();
    co_return Term::list_of(first, second);
  });
  EXPECT_EQ(answers, Term::list({Term::tuple({echo, 1}), Term::tuple({echo, 2})}));
}

TEST_F(Pair, messages_go_by_pid_and_by_name_to_a_cpp_process) {
  const Pid echo = cpp_echo();
  EXPECT_EQ(eval("{echo, 'c@127.0.0.1'} ! {self(), 1}, receive {Pid, One} -> {Pid, One} after 5000 -> nothing end"),
            Term::tuple({echo, 1}));
  EXPECT_EQ(eval("Pid ! {self(), 2}, receive {Pid, Two} -> Two after 5000 -> nothing end"), Term(2));
}

TEST_F(Pair, every_kind_of_term_comes_back_as_it_was) {
  erlang_echo();
  const auto terms = parse_term(
      "[0, -1, 255, 256, -2147483648, 2147483648, 123456789012345678901234567890, -9223372036854775808, 1.5, -0.0, "
      "1.0e300, atom, 'with space', 'ümlaut', <<>>, <<1,2,3>>, <<\"text\">>, <<5:3>>, [], [1|2], [[[]]], {}, {1,{2}}, "
      "#{}, #{a => 1, 2 => #{b => []}}, \"string\", [1,2,300], fun lists:reverse/1]");
  ASSERT_TRUE(terms.has_value()) << terms.error().message();
  const Term back = run(*node_, [&](Process& self) -> Task<Term> {
    co_await self.send(RemoteName("echo", erlang_name), Term::tuple_of(self.pid(), *terms));
    const Term answer = co_await self.receive();
    co_return answer[1];
  });
  EXPECT_EQ(back, *terms);
}

std::uint32_t checksum(ByteView bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

TEST_F(Pair, messages_up_to_16_mib_arrive_whole_both_ways) {
  // Random bytes go to Erlang, which answers with its checksum over them, and with bytes and checksum of its own.
  eval(
      "register(big, spawn(fun Loop() -> receive {From, Bytes} -> Own = rand:bytes(byte_size(Bytes)), "
      "From ! {erlang:crc32(Bytes), erlang:crc32(Own), Own}, Loop() end end))");
  std::mt19937 random(1);  // NOLINT(bugprone-random-generator-seed): the same bytes in each run
  for (const std::size_t size : {65'000UL, 65'536UL, 65'537UL, 1'000'003UL, 16UL * 1024 * 1024}) {
    Bytes bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    const Term message = Term::binary(bytes);
    const Term answer = run(*node_, [&](Process& self) -> Task<Term> {
      co_await self.send(RemoteName("big", erlang_name), Term::tuple_of(self.pid(), message));
      const Term received = co_await self.receive();
      co_return received;
    });
    ASSERT_TRUE(answer.is_tuple(3)) << size;
    EXPECT_EQ(answer[0], Term(checksum(bytes))) << size;
    const auto own = answer[2].as_binary();
    ASSERT_TRUE(own.has_value());
    EXPECT_EQ(own->size(), size);
    EXPECT_EQ(answer[1], Term(checksum(*own))) << size;
  }
}

TEST_F(Pair, ten_thousand_messages_keep_their_order_each_way) {
  constexpr std::int64_t count = 10'000;
  // To Erlang: it counts how many came in order, then says so.
  const Pid sink =
      *eval(
           "spawn(fun() -> Check = fun Check(10000) -> 10000; Check(I) -> receive {_, I, _} -> Check(I + 1); "
           "{From, J, _} -> {I, J, From} after 10000 -> {lost, I} end end, Result = Check(0), "
           "receive {tell, Who} -> Who ! Result end end)")
           .as_pid();
  const Term in_order = run(*node_, [&](Process& self) -> Task<Term> {
    for (std::int64_t number = 0; number < count; ++number) {
      // Of different sizes, so that fragments and whole messages mix.
      const std::size_t size = number % 1000 == 0 ? 200'000 : static_cast<std::size_t>(number % 300);
      co_await self.send(sink, Term::tuple_of(self.pid(), number, Term::binary(Bytes(size))));
    }
    co_await self.send(sink, Term::tuple_of(Atom("tell"), self.pid()));
    const Term result = co_await self.receive();
    co_return result;
  });
  EXPECT_EQ(in_order, Term(count));
  // From Erlang.
  std::promise<std::int64_t> promise;
  const Pid ours = node_->spawn([&](Process& self) -> Task<> {
    std::int64_t expected = 0;
    while (expected < count) {
      const Term message = co_await self.receive();
      if (message[0].as_int64() != expected) break;
      ++expected;
    }
    promise.set_value(expected);
  });
  ASSERT_TRUE(node_->register_process("sink", ours).has_value());
  eval(
      "[begin Size = case I rem 1000 of 0 -> 200000; _ -> I rem 300 end, {sink, 'c@127.0.0.1'} ! {I, "
      "<<0:Size/unit:8>>} "
      "end || I <- lists:seq(0, 9999)], ok");
  auto received = promise.get_future();
  ASSERT_EQ(received.wait_for(20s), std::future_status::ready);
  EXPECT_EQ(received.get(), count);
}

TEST_F(Pair, erlang_calls_our_server) {
  ASSERT_TRUE(
      node_->register_process("counter", node_->spawn(serve([] { return std::make_unique<Counter>(); }))).has_value());
  const std::string server = "{counter, 'c@127.0.0.1'}";
  EXPECT_EQ(eval("gen_server:call(" + server + ", get)"), Term(0));
  EXPECT_EQ(eval("gen_server:cast(" + server + ", 5), gen_server:cast(" + server + ", 7)"), Atom("ok"));
  EXPECT_EQ(eval("gen_server:call(" + server + ", get)"), Term(12));
  EXPECT_EQ(eval("gen_server:call(" + server + ", later)"), Atom("answered_later"));
  EXPECT_EQ(eval("gen_server:call(" + server + ", #{k => [v]})"),
            Term::tuple({Atom("echo"), Term::map({{Atom("k"), Term::list({Atom("v")})}})}));
  EXPECT_EQ(eval("sys:get_state(" + server + ")"), Term(12));
  EXPECT_EQ(eval("try gen_server:call(" + server +
                 ", silence, 200) catch exit:{timeout, {gen_server, call, _}} -> catch_timeout end"),
            Atom("catch_timeout"));
  EXPECT_EQ(eval("try gen_server:call({nobody, 'c@127.0.0.1'}, get) catch exit:{Why1, _} -> Why1 end"), Atom("noproc"));
  EXPECT_EQ(eval("try gen_server:call(" + server + ", {stop, {bad, day}}) catch exit:{Why2, _} -> Why2 end"),
            Term::tuple({Atom("bad"), Atom("day")}));
  EXPECT_EQ(eval("gen_server:multi_call(['c@127.0.0.1', node()], nobody, get, 2000)"),
            Term::tuple({Term(), Term::list({cpp_name.atom(), erlang_name.atom()})}));
}

TEST_F(Pair, we_call_servers_of_erlang) {
  const auto authentic =
      node_->call(RemoteName("net_kernel", erlang_name), Term::tuple({Atom("is_auth"), cpp_name.atom()}));
  ASSERT_TRUE(authentic.has_value()) << authentic.error().message();
  EXPECT_EQ(*authentic, Atom("yes"));
  const auto children = node_->call(RemoteName("kernel_sup", erlang_name), Atom("count_children"));
  ASSERT_TRUE(children.has_value()) << children.error().message();
  EXPECT_TRUE(children->is_list());
  EXPECT_TRUE((*children)[0].is_tagged("specs", 2));
  const auto nobody = node_->call(RemoteName("nobody", erlang_name), Atom("hello"));
  ASSERT_FALSE(nobody.has_value());
  EXPECT_EQ(nobody.error().code(), Errc::no_process);
  const Pid mute = *eval("spawn(fun() -> receive {'$gen_call', _, die} -> exit(died) end end)").as_pid();
  const auto late = node_->call(mute, Atom("hello"), 200ms);
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code(), Errc::timeout);
  const auto died = node_->call(mute, Atom("die"));
  ASSERT_FALSE(died.has_value());
  EXPECT_EQ(died.error().code(), Errc::remote_exit) << died.error().message();
  EXPECT_NE(died.error().message().find("died"), std::string::npos) << died.error().message();
}

TEST_F(Pair, erlang_runs_our_functions_by_rpc_and_erpc) {
  node_->export_function("math", "add", PlainCallable([](const std::vector<Term>& arguments) -> Result<Term> {
                           std::int64_t sum = 0;
                           for (const auto& argument : arguments) sum += argument.as_int64().value_or(0);
                           return Term(sum);
                         }));
  node_->export_function("math", "wait",
                         RemoteCallable([](Process& self, std::vector<Term> arguments) -> Task<Result<Term>> {
                           co_await self.sleep(std::chrono::milliseconds(arguments[0].as_int64().value_or(0)));
                           co_return Term(Atom("waited"));
                         }));
  const auto raise = [&](const char* name, auto exception) {
    node_->export_function("math", name,
                           PlainCallable([exception](const std::vector<Term>&) -> Result<Term> { throw exception; }));
  };
  raise("throws", ThrowTerm(Atom("ball")));
  raise("exits", ExitProcess(Atom("left")));
  raise("errors", ErrorTerm(Atom("broken")));
  const std::string at = "'c@127.0.0.1', math, ";
  EXPECT_EQ(eval("rpc:call(" + at + "add, [1, 2])"), Term(3));
  EXPECT_EQ(eval("erpc:call(" + at + "add, [1, 2, 3])"), Term(6));
  EXPECT_EQ(eval("erpc:call(" + at + "wait, [50])"), Atom("waited"));
  EXPECT_EQ(eval("rpc:call('c@127.0.0.1', erlang, node, [])"), cpp_name.atom());
  EXPECT_EQ(eval("{badrpc, {'EXIT', {Undefined, _}}} = rpc:call(" + at + "nothing, []), Undefined"), Atom("undef"));
  EXPECT_EQ(eval("try erpc:call(" + at +
                 "nothing, [1]) catch error:{exception, E1, [{math, nothing, [1], _} | _]} -> E1 "
                 "end"),
            Atom("undef"));
  EXPECT_EQ(eval("try erpc:call(" + at + "throws, []) catch throw:E2 -> E2 end"), Atom("ball"));
  EXPECT_EQ(eval("try erpc:call(" + at + "exits, []) catch exit:{exception, E3} -> E3 end"), Atom("left"));
  EXPECT_EQ(eval("try erpc:call(" + at + "errors, []) catch error:{exception, E4, _} -> E4 end"), Atom("broken"));
  EXPECT_EQ(eval("rpc:call(" + at + "throws, [])"), Atom("ball"));
  EXPECT_EQ(eval("rpc:call(" + at + "exits, [])"),
            Term::tuple({Atom("badrpc"), Term::tuple({Atom("EXIT"), Atom("left")})}));
  EXPECT_EQ(eval("try erpc:call(" + at + "wait, [10000], 100) catch error:E5 -> E5 end"),
            Term::tuple({Atom("erpc"), Atom("timeout")}));
  EXPECT_EQ(eval("rpc:call(" + at + "wait, [10000], 100)"), Term::tuple({Atom("badrpc"), Atom("timeout")}));
  EXPECT_EQ(eval("rpc:multicall(['c@127.0.0.1', node()], erlang, node, [])"),
            Term::tuple({Term::list({cpp_name.atom(), erlang_name.atom()}), Term()}));
  EXPECT_EQ(eval("erpc:multicall(['c@127.0.0.1', node()], erlang, node, [])"),
            Term::list({Term::tuple({Atom("ok"), cpp_name.atom()}), Term::tuple({Atom("ok"), erlang_name.atom()})}));
  EXPECT_EQ(eval("Key = rpc:async_call(" + at + "add, [4, 5]), rpc:yield(Key)"), Term(9));
}

TEST_F(Pair, we_run_functions_of_erlang) {
  const auto reversed = node_->call_function(erlang_name, "lists", "reverse", {Term::list({1, 2, 3})});
  ASSERT_TRUE(reversed.has_value()) << reversed.error().message();
  EXPECT_EQ(*reversed, Term::list({3, 2, 1}));
  EXPECT_EQ(node_->call_function(erlang_name, "lists", "nothing", {}).error().code(), Errc::undefined_function);
  using Kind = CallOutcome::Kind;
  const auto thrown = node_->run_function(erlang_name, {"erlang", "throw", {Atom("ball")}});
  EXPECT_EQ(thrown.kind, Kind::thrown);
  EXPECT_EQ(thrown.value, Atom("ball"));
  const auto exited = node_->run_function(erlang_name, {"erlang", "exit", {Atom("left")}});
  EXPECT_EQ(exited.kind, Kind::exited);
  EXPECT_EQ(exited.value, Atom("left"));
  const auto failed = node_->run_function(erlang_name, {"erlang", "error", {Atom("broken")}});
  EXPECT_EQ(failed.kind, Kind::failed);
  EXPECT_EQ(failed.value, Atom("broken"));
  const auto bad = node_->run_function(erlang_name, {"erlang", "atom_to_list", {1}});
  EXPECT_EQ(bad.kind, Kind::failed);
  EXPECT_EQ(bad.value, Atom("badarg"));
  EXPECT_TRUE(bad.stack.is_list());
  const auto late = node_->run_function(erlang_name, {"timer", "sleep", {10'000}}, 100ms);
  EXPECT_EQ(late.kind, Kind::timeout);
}

TEST_F(Pair, links_carry_exit_reasons_from_erlang_to_us) {
  for (const char* reason : {"normal", "shutdown", "{custom, [1, <<2>>]}", "killed"}) {
    const Term got = run(*node_, [&](Process& self) -> Task<Term> {
      self.trap_exit(true);
      const auto started = co_await self.call_function(
          erlang_name, "erlang", "spawn", with(Atom("timer"), Atom("sleep"), Term::list_of(Atom("infinity"))));
      if (!started) co_return Atom("not_started");
      const Pid other = *started->as_pid();
      self.link(other);
      const Term why = *parse_term(reason);
      if (why.is_atom("killed")) {
        self.exit(other, Atom("kill"));
      } else if (why.is_atom("normal")) {
        // exit/2 with `normal` is ignored by others; the process is to end by itself.
        const auto child = co_await self.call_function(erlang_name, "erlang", "spawn",
                                                       with(Atom("timer"), Atom("sleep"), Term::list_of(300)));
        self.unlink(other);
        self.exit(other, Atom("kill"));
        self.link(*child->as_pid());
      } else {
        self.exit(other, why);
      }
      const Term message = co_await self.receive();
      co_return message.is_tagged("EXIT", 3) ? message[2] : message;
    });
    EXPECT_EQ(got, *parse_term(reason)) << reason;
  }
}

TEST_F(Pair, links_carry_exit_reasons_from_us_to_erlang) {
  eval("process_flag(trap_exit, true)");
  for (const std::string reason : {"normal", "shutdown", "{custom,[1,<<2>>]}"}) {
    const Pid ours = node_->spawn([](Process& self) -> Task<> {
      const Term why = co_await self.receive();
      throw ExitProcess{why};
    });
    ASSERT_TRUE(node_->register_process("linked", ours).has_value());
    EXPECT_EQ(eval("(fun() -> Pid = rpc:call('c@127.0.0.1', erlang, whereis, [linked]), link(Pid), Pid ! " + reason +
                   ", receive {'EXIT', Pid, Reason} -> Reason after 5000 -> nothing end end)()"),
              *parse_term(reason));
  }
  // Kill, untrappable.
  const Pid trapping = node_->spawn([](Process& self) -> Task<> {
    self.trap_exit(true);
    for (;;) co_await self.receive();
  });
  ASSERT_TRUE(node_->register_process("trapping", trapping).has_value());
  EXPECT_EQ(eval("(fun() -> Pid = rpc:call('c@127.0.0.1', erlang, whereis, [trapping]), link(Pid), exit(Pid, kill), "
                 "receive {'EXIT', Pid, Reason} -> Reason after 5000 -> nothing end end)()"),
            Atom("killed"));
  // A pid that has ended.
  EXPECT_EQ(eval("(fun() -> Pid = rpc:call('c@127.0.0.1', erlang, whereis, [rex]), unlink(Pid), ok end)()"),
            Atom("ok"));
}

TEST_F(Pair, an_exit_signal_of_erlang_ends_or_reaches_our_process) {
  const Term got = run(*node_, [&](Process& self) -> Task<Term> {
    self.trap_exit(true);
    const auto sent =
        co_await self.call_function(erlang_name, "erlang", "exit", with(self.pid(), Term::tuple_of(Atom("go"), 1)));
    const Term message = co_await self.receive();
    co_return Term::tuple_of(sent.has_value(), message[0], message[2]);
  });
  EXPECT_EQ(got, Term::tuple({true, Atom("EXIT"), Term::tuple({Atom("go"), 1})}));
  const Pid victim = node_->spawn([](Process& self) -> Task<> {
    for (;;) co_await self.receive();
  });
  ASSERT_TRUE(node_->register_process("victim", victim).has_value());
  EXPECT_EQ(eval("(fun() -> Pid = rpc:call('c@127.0.0.1', erlang, whereis, [victim]), Ref = monitor(process, Pid), "
                 "exit(Pid, enough), receive {'DOWN', Ref, process, Pid, Reason} -> Reason after 5000 -> nothing end "
                 "end)()"),
            Atom("enough"));
  EXPECT_FALSE(node_->is_alive(victim));
}

TEST_F(Pair, we_monitor_erlang_processes) {
  erlang_echo();
  const Term downs = run(*node_, [&](Process& self) -> Task<Term> {
    std::vector<Term> reasons;
    self.monitor(RemoteName("nobody", erlang_name));
    const Term nobody = co_await self.receive();
    reasons.push_back(nobody[3]);
    reasons.push_back(nobody[4]);
    const Ref by_name = self.monitor(RemoteName("echo", erlang_name));
    const auto where = co_await self.call_function(erlang_name, "erlang", "whereis", with(Atom("echo")));
    const Ref by_pid = self.monitor(*where->as_pid());
    const Ref dropped = self.monitor(*where->as_pid());
    self.demonitor(dropped);
    self.exit(*where->as_pid(), Atom("enough"));
    for (int number = 0; number < 2; ++number) {
      const Ref ref = number == 0 ? by_name : by_pid;
      const Matcher ours = [ref](const Term& message) {
        return message.is_tagged("DOWN", 5) && *message[1].as_reference() == ref;
      };
      const MaybeTerm down = co_await self.receive(ours, 5s);
      reasons.push_back(down ? (*down)[4] : Term(Atom("nothing")));
    }
    const MaybeTerm rest = co_await self.receive_for(100ms);
    reasons.push_back(rest.has_value());
    co_return Term::list(std::move(reasons));
  });
  EXPECT_EQ(downs, Term::list({Term::tuple({Atom("nobody"), erlang_name.atom()}), Atom("noproc"), Atom("enough"),
                               Atom("enough"), false}));
}

TEST_F(Pair, erlang_monitors_our_processes) {
  EXPECT_EQ(eval("monitor(process, {nobody, 'c@127.0.0.1'}), "
                 "receive {'DOWN', _, process, N1, R1} -> {N1, R1} after 5000 -> nothing end"),
            Term::tuple({Term::tuple({Atom("nobody"), cpp_name.atom()}), Atom("noproc")}));
  const Pid watched = node_->spawn([](Process& self) -> Task<> {
    const Term why = co_await self.receive();
    throw ExitProcess{why};
  });
  ASSERT_TRUE(node_->register_process("watched", watched).has_value());
  EXPECT_EQ(
      eval("(fun() -> Pid = rpc:call('c@127.0.0.1', erlang, whereis, [watched]), One = monitor(process, Pid), "
           "Two = monitor(process, {watched, 'c@127.0.0.1'}), Three = monitor(process, Pid), demonitor(Three), "
           "Pid ! {end_of, story}, Next = fun(Ref) -> receive {'DOWN', Ref, process, _, Why} -> Why after 5000 -> "
           "nothing end end, {Next(One), Next(Two), receive Any -> Any after 100 -> none end} end)()"),
      Term::tuple(
          {Term::tuple({Atom("end_of"), Atom("story")}), Term::tuple({Atom("end_of"), Atom("story")}), Atom("none")}));
  EXPECT_EQ(eval("Late = rpc:call('c@127.0.0.1', erlang, whereis, [watched]), Late"), Atom("undefined"));
}

TEST_F(Pair, links_and_monitors_end_with_noconnection_when_erlang_is_killed) {
  const Pid echo = erlang_echo();
  std::promise<void> watching;
  auto ready = watching.get_future();
  std::promise<Term> promise;
  auto ended = promise.get_future();
  node_->spawn([&](Process& self) -> Task<> {
    self.trap_exit(true);
    self.link(echo);
    self.monitor(echo);
    self.monitor_node(erlang_name);
    co_await self.send(echo, Term::tuple_of(self.pid(), 1));
    co_await self.receive();
    watching.set_value();
    std::vector<Term> seen;
    for (int number = 0; number < 3; ++number) {
      const Term message = co_await self.receive();
      seen.push_back(message.is_tagged("nodedown", 2) ? message
                                                      : Term::tuple_of(message[0], message[message.size() - 1]));
    }
    std::ranges::sort(seen, TermLess());
    promise.set_value(Term::list(std::move(seen)));
  });
  ASSERT_EQ(ready.wait_for(10s), std::future_status::ready);
  erl_->kill();
  ASSERT_EQ(ended.wait_for(10s), std::future_status::ready);
  EXPECT_EQ(ended.get(), Term::list({Term::tuple({Atom("DOWN"), Atom("noconnection")}),
                                     Term::tuple({Atom("EXIT"), Atom("noconnection")}),
                                     Term::tuple({Atom("nodedown"), erlang_name.atom()})}));
}

TEST_F(Pair, links_and_monitors_end_when_our_node_stops) {
  eval(
      "process_flag(trap_exit, true), Ours = rpc:call('c@127.0.0.1', erlang, whereis, [rex]), link(Ours), "
      "monitor(process, Ours), monitor_node('c@127.0.0.1', true), net_adm:ping('c@127.0.0.1')");
  cluster_.stop("c");
  const Term seen = eval(
      "(fun Next(0) -> []; Next(Left) -> receive {'EXIT', _, Reason} -> [{exit, Reason} | Next(Left - 1)]; "
      "{'DOWN', _, process, _, Reason} -> [{down, Reason} | Next(Left - 1)]; "
      "{nodedown, Node} -> [{nodedown, Node} | Next(Left - 1)] after 5000 -> [nothing] end end)(3)");
  ASSERT_EQ(seen.size(), 3U) << to_text(seen);
  // Our processes end before the connection does.
  for (const auto& one : seen.elements()) {
    EXPECT_TRUE(one[1].is_atom("shutdown") || one[1].is_atom("killed") || one[1].is_atom("noconnection") ||
                one[1].is_atom("c@127.0.0.1"))
        << to_text(one);
  }
}

TEST_F(Pair, we_spawn_on_erlang_with_link_and_monitor) {
  const Term got = run(*node_, [&](Process& self) -> Task<Term> {
    self.trap_exit(true);
    Process::SpawnOptions options;
    options.link = true;
    options.monitor = true;
    RemoteFunction what("erlang", "exit", with(Atom("soon")));
    const auto spawned = co_await self.spawn_on(erlang_name, what, options);
    if (!spawned) co_return Atom("not_spawned");
    const Matcher exits = tagged("EXIT", 3);
    const Matcher downs = tagged("DOWN", 5);
    const MaybeTerm exit = co_await self.receive(exits, 5s);
    const MaybeTerm down = co_await self.receive(downs, 5s);
    if (!exit || !down) co_return Atom("nothing");
    co_return Term::tuple_of((*exit)[2], (*down)[4]);
  });
  EXPECT_EQ(got, Term::tuple({Atom("soon"), Atom("soon")}));
}

TEST_F(Pair, erlang_spawns_our_functions_with_link_and_monitor) {
  node_->export_function("job", "run",
                         RemoteCallable([](Process& self, std::vector<Term> arguments) -> Task<Result<Term>> {
                           co_await self.send(*arguments[0].as_pid(), Term::tuple_of(Atom("from"), self.pid()));
                           const Term why = co_await self.receive();
                           throw ExitProcess{why};
                         }));
  EXPECT_EQ(eval("(fun() -> process_flag(trap_exit, true), "
                 "{Pid, Ref} = spawn_opt('c@127.0.0.1', job, run, [self()], [link, monitor]), "
                 "receive {from, Pid} -> ok end, Pid ! done, "
                 "{receive {'EXIT', Pid, One} -> One after 5000 -> nothing end, "
                 "receive {'DOWN', Ref, process, Pid, Two} -> Two after 5000 -> nothing end} end)()"),
            Term::tuple({Atom("done"), Atom("done")}));
  EXPECT_EQ(eval("(fun() -> {Pid, Ref} = spawn_monitor('c@127.0.0.1', job, missing, [1]), "
                 "receive {'DOWN', Ref, process, Pid, {Why, _}} -> Why after 5000 -> nothing end end)()"),
            Atom("undef"));
}

TEST_F(Pair, aliases_of_erlang_take_our_answers_until_they_are_dropped) {
  cpp_echo();
  const Term got = eval(
      "(fun() -> Alias = alias(), {echo, 'c@127.0.0.1'} ! {self(), Alias}, receive {Pid, Alias} -> ok end, "
      "unalias(Alias), is_pid(Pid) end)()");
  EXPECT_EQ(got, Term(true));
}

}  // namespace
}  // namespace barrel_p2p
