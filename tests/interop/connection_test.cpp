// Connections with a real Erlang node: who may connect, how a connection ends, what is told then, what comes after it.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "distribution/flags.hpp"
#include "interop/node_test.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;
namespace flag = distribution::flag;

Term down(const Ref& ref, const Term& object, const char* reason) {
  return Term::tuple({Atom("DOWN"), ref, Atom("process"), object, Atom(reason)});
}
bool ended_with(const CarrierView& now, std::string_view start) {
  return std::ranges::any_of(now.ends, [&](const std::string& why) { return why.starts_with(start); });
}

/// Nodes of their own for each test.
class ErlangConnections : public testing::TestWithParam<Dialling> {
 protected:
  void SetUp() override {
    if (const auto why = erl_missing()) GTEST_SKIP() << *why;
  }
  static Term arguments(std::vector<Term> terms) { return Term::list(std::move(terms)); }
  static Atom ours(const NodePair& pair) { return Atom(pair.carrier.name()); }
};
INSTANTIATE_TEST_SUITE_P(Dialled, ErlangConnections, testing::ValuesIn(both_ways), dialling_name);

/// The nodes are kept; a test that parts them brings them together again.
class ErlangPartings : public ErlangNode {};
INSTANTIATE_TEST_SUITE_P(Dialled, ErlangPartings, testing::ValuesIn(both_ways), dialling_name);

TEST_P(ErlangConnections, a_wrong_cookie_is_refused) {
  CarrierOptions options;
  options.cookie = "another";
  NodePair pair(options);
  if (GetParam() == Dialling::ours) {
    // The Erlang node closes without a word when our digest is wrong.
    const auto connected = pair.carrier.connect(NodePair::erlang_name);
    ASSERT_FALSE(connected.has_value());
    EXPECT_TRUE(ended_with(pair.carrier.view(), "closed"));
  } else {
    EXPECT_EQ(pair.erl.eval("net_kernel:connect_node(hd(Args))", arguments({Term(ours(pair))})), Term(false));
    EXPECT_TRUE(pair.carrier.await([](const CarrierView& now) { return ended_with(now, "wrong_cookie"); }));
  }
  EXPECT_EQ(pair.carrier.view().ups, 0U);
  EXPECT_EQ(pair.erl.eval("nodes()"), Term());
  // With the right one it goes on.
  pair.erl.eval("erlang:set_cookie(hd(Args), another)", arguments({Term(ours(pair))}));
  connect(pair, GetParam());
  EXPECT_EQ(pair.erl.eval("nodes()"), arguments({Term(ours(pair))}));
}

TEST_P(ErlangConnections, a_peer_without_the_mandatory_flags_is_refused) {
  CarrierOptions options;
  options.mandatory = distribution::mandatory_27 | flag::altact_sig;  // which this Erlang node may not have
  NodePair pair(options);
  if (pair.erl.otp_release() >= 28) GTEST_SKIP() << "this Erlang node has all flags";
  if (GetParam() == Dialling::ours) {
    const auto connected = pair.carrier.connect(NodePair::erlang_name);
    ASSERT_FALSE(connected.has_value());
  } else {
    EXPECT_EQ(pair.erl.eval("net_kernel:connect_node(hd(Args))", arguments({Term(ours(pair))})), Term(false));
  }
  EXPECT_TRUE(pair.carrier.await([](const CarrierView& now) { return ended_with(now, "flags_missing"); }));
}

TEST_P(ErlangConnections, the_name_that_answers_must_be_the_one_that_was_dialled) {
  if (GetParam() == Dialling::theirs) {
    // Erlang dials a name that we do not bear.
    NodePair pair;
    EXPECT_EQ(pair.erl.eval("net_kernel:connect_node('somebody@127.0.0.2')"), Term(false));
    EXPECT_EQ(pair.carrier.view().ups, 0U);
    return;
  }
  NodePair pair;
  EXPECT_FALSE(pair.carrier.connect("somebody@127.0.0.1").has_value());
  EXPECT_TRUE(ended_with(pair.carrier.view(), "name_not_dialled"));
}

/// With fewer of the optional flags, as old or small nodes have them, the basics work in other forms on the wire.
TEST_P(ErlangConnections, messages_calls_links_and_monitors_work_without_optional_flags) {
  CarrierOptions options;
  options.flags &= ~(flag::fragments | flag::exit_payload | flag::send_sender | flag::big_seqtrace_labels);
  NodePair pair(options);
  connect(pair, GetParam());
  EXPECT_EQ(pair.carrier.view().last_flags & (flag::fragments | flag::exit_payload), 0U);
  Puppet puppet(pair.carrier.system());
  const NodeName theirs(NodePair::erlang_name);
  const Term content(std::string(1'000'000, 'x'));
  const Pid echo = *pair.erl.eval("spawn(peer_driver, echo, [])").as_pid();
  puppet.send(echo, Term::tuple({puppet.pid(), content}));
  EXPECT_TRUE(puppet.next() == content);
  EXPECT_EQ(pair.carrier.view().fragmented, 0U);
  Ref ref;
  puppet.act([&](Process& self) {
    self.trap_exit(true);
    self.link(echo);
    ref = self.monitor(echo);
  });
  puppet.send(echo, *parse_term("{stop, {a, \"reason\"}}"));
  std::vector<Term> ends{puppet.next(), puppet.next()};
  std::ranges::sort(ends, TermLess());
  EXPECT_EQ(ends[0], Term::tuple({Atom("EXIT"), echo, *parse_term("{a, \"reason\"}")}));
  EXPECT_EQ(ends[1], Term::tuple({Atom("DOWN"), ref, Atom("process"), echo, *parse_term("{a, \"reason\"}")}));
  const Term server = pair.erl.eval("{ok, P} = peer_driver:start_server(counter, 3), P");
  const Term answer = run<Term>(pair.carrier.system(), [server](Process& self) -> Task<Term> {
    const auto got = co_await self.call(*server.as_pid(), Atom("get"));
    co_return got ? *got : Term(got.error().message());
  });
  EXPECT_EQ(answer, Term(3));
  EXPECT_EQ(pair.erl.eval("rpc:call(hd(Args), erlang, node, [])", arguments({Term(ours(pair))})), Term(ours(pair)));
  EXPECT_EQ(pair.erl.eval("M = monitor(process, hd(Args)), exit(hd(Args), kill), "
                          "receive {'DOWN', M, process, _, R} -> R after 30000 -> timeout end",
                          arguments({Term(puppet.pid())})),
            Term(Atom("killed")));
  EXPECT_TRUE(pair.carrier.view().refused.empty());
}

/// A connected pair whose puppet has to do with a process of Erlang's in every way.
struct Tied {
  explicit Tied(TcpCarrier& carrier, const Pid& other) : puppet(carrier.system()), target(other) {
    puppet.act([&](Process& self) {
      self.trap_exit(true);
      self.monitor_nodes();
      self.monitor_node(NodePair::erlang_name);
      self.link(target);
      monitor = self.monitor(target);
      by_name = self.monitor(RemoteName("peer_driver", NodePair::erlang_name));
    });
  }
  /// What the puppet must hear when the node goes, in any order. `linked`: who linked itself to the puppet.
  void expect_parting(const Term& linked = {}) {
    const Atom node(NodePair::erlang_name);
    const Term nodedown = Term::tuple({Atom("nodedown"), node});
    std::vector<Term> expected{nodedown, nodedown, Term::tuple({Atom("EXIT"), target, Atom("noconnection")}),
                               down(monitor, target, "noconnection"),
                               down(by_name, Term::tuple({Atom("peer_driver"), node}), "noconnection")};
    if (linked.is_pid()) expected.push_back(Term::tuple({Atom("EXIT"), linked, Atom("noconnection")}));
    std::vector<Term> heard;
    while (heard.size() < expected.size()) heard.push_back(puppet.next());
    std::ranges::sort(heard, TermLess());
    std::ranges::sort(expected, TermLess());
    EXPECT_EQ(heard, expected);
  }

  Puppet puppet;
  Pid target;
  Ref monitor;
  Ref by_name;
};

TEST_P(ErlangConnections, a_node_that_is_killed_takes_links_monitors_and_calls_with_it) {
  NodePair pair;
  connect(pair, GetParam());
  Tied tied(pair.carrier, *pair.erl.eval("spawn(peer_driver, wait, [])").as_pid());
  const Pid server = *pair.erl.eval("{ok, P} = peer_driver:start_server(counter, 3), P").as_pid();
  auto& system = pair.carrier.system();
  auto call = std::async(std::launch::async, [&system, server, &tied] {
    return run<Errc>(system, [server, to = tied.puppet.pid()](Process& self) -> Task<Errc> {
      const Term called(Atom("called"));
      co_await self.send(to, called);
      const auto answer = co_await self.call(server, Atom("never"), patience);
      co_return answer ? Errc::invalid_argument : answer.error().code();
    });
  });
  EXPECT_EQ(tied.puppet.next(), Term(Atom("called")));
  auto function = std::async(std::launch::async, [&system, to = tied.puppet.pid()] {
    return run<CallOutcome::Kind>(system, [to](Process& self) -> Task<CallOutcome::Kind> {
      const RemoteFunction what("peer_driver", "wait_as", std::vector<Term>(1, Term(to)));
      const CallOutcome outcome = co_await self.run_function(NodePair::erlang_name, what, patience);
      co_return outcome.kind;
    });
  });
  EXPECT_TRUE(tied.puppet.next().is_pid());
  pair.erl.kill();
  tied.expect_parting();
  EXPECT_EQ(call.get(), Errc::no_connection);
  EXPECT_EQ(function.get(), CallOutcome::Kind::no_connection);
  EXPECT_TRUE(system.nodes().empty());
  EXPECT_TRUE(ended_with(pair.carrier.view(), "closed"));
  // What comes too late.
  Ref ref;
  tied.puppet.act([&](Process& self) {
    ref = self.monitor(tied.target);
    self.link(tied.target);
  });
  std::vector<Term> late{tied.puppet.next(), tied.puppet.next()};
  std::ranges::sort(late, TermLess());
  EXPECT_EQ(late[0], Term::tuple({Atom("EXIT"), tied.target, Atom("noconnection")}));
  EXPECT_EQ(late[1], down(ref, tied.target, "noconnection"));
  EXPECT_FALSE(system.send(tied.target, Atom("lost")).has_value());
}

TEST_P(ErlangPartings, a_link_that_we_drop_is_told_on_both_sides) {
  const Pid target = eval_pid("spawn(peer_driver, wait, [])");
  Tied tied(carrier(), target);
  settle(tied.puppet);
  start(
      "process_flag(trap_exit, true), [Node, Pid] = Args, monitor_node(Node, true), link(Pid), "
      "Mon = monitor(process, Pid), Pid ! tied, "
      "D = receive {'DOWN', Mon, process, Pid, R} -> R after 30000 -> timeout end, "
      "E = receive {'EXIT', Pid, X} -> X after 30000 -> timeout end, "
      "N = receive {nodedown, Node} -> nodedown after 30000 -> timeout end, process_flag(trap_exit, false), {D, E, N}",
      ours(), tied.puppet.pid());
  EXPECT_EQ(tied.puppet.next(), Term(Atom("tied")));
  carrier().drop(NodePair::erlang_name);
  EXPECT_EQ(erl().finish(), term("{noconnection, noconnection, nodedown}"));
  tied.expect_parting(eval("self()"));
}

TEST_P(ErlangPartings, a_link_that_erlang_drops_is_told_on_both_sides) {
  const Pid target = eval_pid("spawn(peer_driver, parked, [])");
  Tied tied(carrier(), target);
  settle(tied.puppet);
  EXPECT_EQ(eval("Mon = monitor(process, hd(tl(Args))), true = erlang:disconnect_node(hd(Args)), "
                 "receive {'DOWN', Mon, process, _, R} -> R after 30000 -> timeout end",
                 ours(), tied.puppet.pid()),
            Term(Atom("noconnection")));
  tied.expect_parting();
}

TEST_P(ErlangPartings, after_a_new_connection_the_same_processes_reach_each_other) {
  Puppet puppet(system());
  const Pid echo = eval_pid("spawn(peer_driver, echo, [])");
  for (int round = 0; round < 5; ++round) {
    puppet.send(echo, Term::tuple({puppet.pid(), round}));
    EXPECT_EQ(puppet.next(), Term(round));
    Ref ref;
    puppet.act([&](Process& self) { ref = self.monitor(echo); });
    if (round % 2 == 0) {
      carrier().drop(NodePair::erlang_name);
    } else {
      eval("erlang:disconnect_node(hd(Args))", ours());
    }
    EXPECT_EQ(puppet.next(), down(ref, echo, "noconnection"));
    ASSERT_TRUE(carrier().await([](const CarrierView& now) { return now.up.empty(); }));
    reconnect();
  }
  puppet.send(echo, term("{stop, normal}"));
}

TEST_P(ErlangPartings, erlang_connects_by_itself_when_it_has_something_to_say) {
  Puppet puppet(system());
  puppet.register_name("puppet");
  carrier().drop(NodePair::erlang_name);
  eval("peer_driver:alone()");
  eval("{puppet, hd(Args)} ! again", ours());
  EXPECT_EQ(puppet.next(), Term(Atom("again")));
  EXPECT_TRUE(carrier().view().up.contains(NodePair::erlang_name));
}

/// A dead incarnation's pid is not one of ours, though everything but its creation is the same.
TEST_P(ErlangPartings, pids_of_an_earlier_incarnation_reach_nobody) {
  Puppet puppet(system());
  Pid old = puppet.pid();
  old.creation += 1;
  eval("hd(Args) ! lost, hd(tl(Args)) ! found", old, puppet.pid());
  EXPECT_EQ(puppet.next(), Term(Atom("found")));
  EXPECT_EQ(
      eval("M = monitor(process, hd(Args)), receive {'DOWN', M, process, _, R} -> R after 30000 -> timeout end", old),
      Term(Atom("noproc")));
  EXPECT_GE(system().counters().dropped_stale_creation.load(), 1U);
}

TEST_P(ErlangConnections, ticks_keep_a_quiet_connection_up) {
  NodePair pair({}, {"-kernel", "net_ticktime", "2"});
  connect(pair, GetParam());
  const auto before = pair.carrier.view().ticks;
  // An Erlang node ticks four times in its net_ticktime, and gives up after five quarters of it without a byte.
  EXPECT_TRUE(pair.carrier.await([&](const CarrierView& now) { return now.ticks >= before + 6; }));
  EXPECT_TRUE(pair.carrier.view().ends.empty());
  EXPECT_EQ(pair.carrier.view().ups, 1U);
}

/// `global` as it is without settings: connects to all, prevents overlapping partitions. We are visible and silent.
TEST_P(ErlangConnections, global_leaves_us_alone) {
  NodePair pair;
  ErlPeer other(node_options("other@127.0.0.3", pair.carrier.port()));
  connect(pair, GetParam());
  const Term both = arguments({Term(Atom("other@127.0.0.3"))});
  ASSERT_TRUE(pair.carrier.connect("other@127.0.0.3").has_value());
  EXPECT_EQ(pair.erl.eval("net_kernel:connect_node(hd(Args))", both), Term(true));
  // Names, locks and transactions work between the Erlang nodes.
  EXPECT_EQ(pair.erl.eval("yes = global:register_name(it, self()), global:whereis_name(it) =:= self()"), Term(true));
  EXPECT_EQ(pair.erl.eval("global:trans({lock, self()}, fun() -> done end)"), Term(Atom("done")));
  EXPECT_EQ(other.eval("global:trans({lock, self()}, fun() -> done end)"), Term(Atom("done")));
  // The other node goes; the first one tells all others of it, and keeps us.
  Puppet puppet(pair.carrier.system());
  puppet.act([](Process& self) { self.monitor_nodes(); });
  pair.erl.eval("monitor_node(hd(Args), true)", both);
  other.kill();
  EXPECT_EQ(puppet.next(), Term::tuple({Atom("nodedown"), Atom("other@127.0.0.3")}));
  EXPECT_EQ(pair.erl.eval("receive {nodedown, N} -> N after 30000 -> timeout end"), Term(Atom("other@127.0.0.3")));
  EXPECT_EQ(pair.erl.eval("sys:get_state(global_name_server), nodes()"), arguments({Term(ours(pair))}));
  EXPECT_EQ(pair.erl.eval("net_adm:ping(hd(Args))", arguments({Term(ours(pair))})), Term(Atom("pong")));
  EXPECT_EQ(pair.carrier.view().ups, 2U);
}

/// Both dial at once, again and again: one connection comes of it, and it works.
TEST(ErlangAttempts, both_dial_at_the_same_time) {
  if (const auto why = erl_missing()) GTEST_SKIP() << *why;
  NodePair pair;
  for (int round = 0; round < 20; ++round) {
    pair.erl.start("net_kernel:connect_node(hd(Args))", Term::list({Term(Atom(pair.carrier.name()))}));
    (void)pair.carrier.connect(NodePair::erlang_name);
    EXPECT_EQ(pair.erl.finish(), Term(true));
    ASSERT_TRUE(pair.carrier.await([](const CarrierView& now) { return now.up.contains(NodePair::erlang_name); }));
    EXPECT_EQ(pair.erl.eval("net_adm:ping(hd(Args))", Term::list({Term(Atom(pair.carrier.name()))})),
              Term(Atom("pong")));
    pair.carrier.drop(NodePair::erlang_name);
    pair.erl.eval("peer_driver:alone()");
  }
}

/// What is sent faster than the peer reads waits in the sender, and all of it arrives.
TEST_P(ErlangPartings, a_sender_waits_for_a_slow_connection) {
  constexpr std::int64_t count = 400;
  constexpr std::size_t bytes = 60'000;
  const Pid sender = system().spawn([to = theirs()](Process& self) -> Task<> {
    const RemoteName driver("peer_driver", to);
    const Term content(std::string(bytes, 'x'));
    for (std::int64_t number = 1; number <= count; ++number) {
      Term message = Term::tuple_of(Atom("much"), number, content);
      co_await self.send(driver, message);
    }
  });
  EXPECT_EQ(
      eval("[receive {much, N, B} when byte_size(B) =:= 60000 -> N after 30000 -> lost end || _ <- lists:seq(1, 400)] "
           "=:= lists:seq(1, 400)"),
      Term(true));
  Puppet watcher(system());
  watcher.act([&](Process& self) { self.monitor(sender); });
  EXPECT_TRUE(watcher.next().is_tagged("DOWN", 5));
}

}  // namespace
}  // namespace barrel_p2p::test
