// Messages, links, monitors, spawns and aliases between our processes and those of a real Erlang node, over TCP.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "distribution/flags.hpp"
#include "interop/node_test.hpp"
#include "interop/random_term.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;
namespace flag = distribution::flag;

class ErlangSignals : public ErlangNode {};
INSTANTIATE_TEST_SUITE_P(Dialled, ErlangSignals, testing::ValuesIn(both_ways), dialling_name);

Term pattern(std::size_t bytes) {
  Bytes content(bytes);
  for (std::size_t at = 0; at < bytes; ++at) content[at] = static_cast<std::uint8_t>((at * 31 + (at >> 8U)) & 0xffU);
  return Term::binary(content);
}

// Messages.

TEST_P(ErlangSignals, both_nodes_list_each_other_and_are_visible) {
  EXPECT_EQ(eval("nodes()"), Term::list({Term(ours())}));
  EXPECT_EQ(system().nodes(), std::vector<Atom>{theirs().atom()});
  const auto view = carrier().view();
  EXPECT_EQ(view.accepted > 0, GetParam() == Dialling::theirs);
  EXPECT_EQ(eval("erlang:system_info(creation)"), Term(view.last_peer_creation));
  EXPECT_EQ(view.last_flags & flag::fragments, flag::fragments);
  EXPECT_EQ(view.last_flags & flag::dist_hdr_atom_cache, 0U);
}

TEST_P(ErlangSignals, messages_by_pid_come_and_go) {
  Puppet puppet(system());
  EXPECT_EQ(eval("hd(Args) ! {hello, self()}, node(hd(Args))", puppet.pid()), Term(ours()));
  const Term hello = puppet.next();
  ASSERT_TRUE(hello.is_tagged("hello", 2)) << to_text(hello);
  ASSERT_TRUE(hello[1].is_pid());
  puppet.send(*hello[1].as_pid(), Term::tuple({Atom("answer"), puppet.pid()}));
  EXPECT_EQ(eval("receive {answer, P} -> P after 30000 -> timeout end"), Term(puppet.pid()));
}

TEST_P(ErlangSignals, messages_by_name_come_and_go) {
  Puppet puppet(system());
  puppet.register_name("puppet");
  eval("{puppet, hd(Args)} ! {by, name}", ours());
  EXPECT_EQ(puppet.next(), term("{by, name}"));
  puppet.send(RemoteName{"peer_driver", theirs()}, term("{by, name, too}"));
  EXPECT_EQ(eval("receive {by, name, too} -> received after 30000 -> timeout end"), Term(Atom("received")));
  // Nobody bears these names: nothing happens.
  eval("{nobody_here, hd(Args)} ! lost", ours());
  puppet.send(RemoteName{"nobody_there", theirs()}, Atom("lost"));
  eval("{puppet, hd(Args)} ! last", ours());
  EXPECT_EQ(puppet.next(), Term(Atom("last")));
}

TEST_P(ErlangSignals, every_kind_of_term_survives_the_way_there_and_back) {
  Puppet puppet(system());
  const Pid echo = eval_pid("spawn(peer_driver, echo, [])");
  RandomTerms random(20'260'825);
  for (int count = 0; count < 300; ++count) {
    const Term sent = random.next(4, false);
    puppet.send(echo, Term::tuple({puppet.pid(), sent}));
    ASSERT_EQ(puppet.next(), sent) << to_text(sent);
  }
  const Term identifiers = eval("{self(), make_ref(), hd(erlang:ports()), fun lists:map/2, <<5:3>>}");
  puppet.send(echo, Term::tuple({puppet.pid(), identifiers}));
  const Term back = puppet.next();
  EXPECT_EQ(back, identifiers);
  EXPECT_EQ(eval("hd(Args) =:= {self(), element(2, hd(Args)), hd(erlang:ports()), fun lists:map/2, <<5:3>>}", back),
            Term(true));
  // A closure comes back as the one that it was.
  const Term closure = eval("Offset = 5, fun(X) -> X + Offset end");
  puppet.send(echo, Term::tuple({puppet.pid(), closure}));
  EXPECT_EQ(eval("(hd(Args))(3)", puppet.next()), Term(8));
  puppet.send(echo, term("{stop, normal}"));
}

TEST_P(ErlangSignals, long_messages_travel_in_fragments) {
  Puppet puppet(system());
  const Pid echo = eval_pid("spawn(peer_driver, echo, [])");
  for (const std::size_t bytes : {65'000UL, 65'536UL, 70'000UL, 1024UL * 1024, 16UL * 1024 * 1024}) {
    const auto before = carrier().view().fragmented;
    const Term content = pattern(bytes);
    puppet.send(RemoteName{"peer_driver", theirs()}, Term::tuple({Atom("long"), content}));
    EXPECT_EQ(
        eval("receive {long, Long} -> erlang:md5(Long) =:= erlang:md5(hd(Args)) after 30000 -> timeout end", content),
        Term(true));
    puppet.send(echo, Term::tuple({puppet.pid(), content}));
    EXPECT_TRUE(puppet.next() == content) << bytes;
    EXPECT_EQ(carrier().view().fragmented > before, bytes > 65'500);
  }
  // Where a message is small and what comes before it is not, they still come in order.
  puppet.send(echo, Term::tuple({puppet.pid(), pattern(3'000'000)}));
  puppet.send(echo, Term::tuple({puppet.pid(), Atom("small")}));
  EXPECT_EQ(puppet.next().size(), 3'000'000U);
  EXPECT_EQ(puppet.next(), Term(Atom("small")));
  puppet.send(echo, term("{stop, normal}"));
}

TEST_P(ErlangSignals, long_messages_of_many_processes_are_not_mixed_up) {
  constexpr int senders = 12;
  Puppet puppet(system());
  start("[spawn(fun() -> hd(Args) ! {N, binary:copy(<<N>>, 400000 + N)} end) || N <- lists:seq(1, 12)]", puppet.pid());
  std::set<std::int64_t> seen;
  for (int count = 0; count < senders; ++count) {
    const Term message = puppet.next();
    const auto number = message[0].as_int64().value_or(0);
    EXPECT_TRUE(message[1] ==
                Term::binary(Bytes(static_cast<std::size_t>(400'000 + number), static_cast<std::uint8_t>(number))));
    seen.insert(number);
  }
  EXPECT_EQ(seen.size(), std::size_t{senders});
  erl().finish();
  for (int number = 1; number <= senders; ++number) {
    system().spawn([to = theirs(), number](Process& self) -> Task<> {
      const Bytes content(400'000U + static_cast<unsigned>(number), static_cast<std::uint8_t>(number));
      const RemoteName driver("peer_driver", to);
      Term message = Term::tuple_of(Atom("mixed"), number, Term::binary(content));
      co_await self.send(driver, message);
    });
  }
  EXPECT_EQ(eval("lists:sort([receive {mixed, N, B} when is_binary(B) -> {N, B =:= binary:copy(<<N>>, 400000 + N)} "
                 "after 30000 -> timeout end || _ <- lists:seq(1, 12)]) =:= [{N, true} || N <- lists:seq(1, 12)]"),
            Term(true));
}

TEST_P(ErlangSignals, a_hundred_thousand_messages_keep_their_order) {
  constexpr std::int64_t count = 100'000;
  auto done = std::make_shared<std::promise<std::int64_t>>();
  auto future = done->get_future();
  const Pid receiver = system().spawn([done](Process& self) -> Task<> {
    std::int64_t expected = 1;
    while (expected <= count) {
      const Term message = co_await self.receive();
      if (message != Term(expected)) break;
      ++expected;
    }
    done->set_value(expected - 1);
  });
  start("peer_driver:numbers(hd(Args), 1, 100000)", receiver);
  ASSERT_EQ(future.wait_for(patience), std::future_status::ready);
  EXPECT_EQ(future.get(), count);
  EXPECT_EQ(erl().finish(), Term(Atom("ok")));

  start("peer_driver:in_order(1, 100000, 30000)");
  system().spawn([to = theirs()](Process& self) -> Task<> {
    const RemoteName driver("peer_driver", to);
    for (std::int64_t number = 1; number <= count; ++number) co_await self.send(driver, Term(number));
  });
  EXPECT_EQ(erl().finish(patience), Term(Atom("ok")));
}

TEST_P(ErlangSignals, what_was_sent_under_pid_name_and_alias_arrives_in_order) {
  // One sender, one receiver, three ways to name it.
  const Term both = eval("{self(), alias()}");
  system().spawn([both, to = theirs()](Process& self) -> Task<> {
    const RemoteName driver("peer_driver", to);
    for (std::int64_t number = 1; number <= 3000; number += 3) {
      co_await self.send(*both[0].as_pid(), Term(number));
      co_await self.send(driver, Term(number + 1));
      co_await self.send(*both[1].as_reference(), Term(number + 2));
    }
  });
  EXPECT_EQ(eval("peer_driver:in_order(1, 3000, 30000)"), Term(Atom("ok")));
  EXPECT_EQ(eval("unalias(hd(Args))", both[1]), Term(true));
}

// Aliases.

TEST_P(ErlangSignals, aliases_stand_for_processes_until_they_are_taken_back) {
  Puppet puppet(system());
  Ref alias;
  puppet.act([&](Process& self) { alias = self.alias(); });
  eval("hd(Args) ! to_alias", alias);
  EXPECT_EQ(puppet.next(), Term(Atom("to_alias")));
  puppet.act([&](Process& self) { EXPECT_TRUE(self.unalias(alias)); });
  eval("[Alias, Pid] = Args, Alias ! too_late, Pid ! last", alias, puppet.pid());
  EXPECT_EQ(puppet.next(), Term(Atom("last")));

  const Term theirs_alias = eval("ReplyAlias = alias([reply])");
  ASSERT_NE(theirs_alias.as_reference(), nullptr);
  puppet.send(*theirs_alias.as_reference(), Atom("first"));
  puppet.send(*theirs_alias.as_reference(), Atom("second"));  // an alias for one reply is gone by now
  puppet.send(RemoteName{"peer_driver", theirs()}, Atom("third"));
  EXPECT_EQ(eval("[receive M -> M after 30000 -> timeout end || _ <- [1, 2]]"), term("[first, third]"));
}

// Monitors.

TEST_P(ErlangSignals, erlang_monitors_our_processes) {
  for (const auto* reason : {"normal", "shutdown", "{some, [\"reason\"], 1.5}"}) {
    Puppet puppet(system());
    start(
        "Mon = monitor(process, hd(Args)), hd(Args) ! monitored, receive {'DOWN', Mon, process, P, R} -> "
        "{P =:= hd(Args), R} after 30000 -> timeout end",
        puppet.pid());
    EXPECT_EQ(puppet.next(), Term(Atom("monitored")));
    const Term why = term(reason);
    EXPECT_THROW(puppet.act([&](Process&) { throw ExitProcess{why}; }), std::exception);
    EXPECT_EQ(erl().finish(), Term::tuple({true, why}));
  }
  // By name, and where there is nobody.
  Puppet named(system());
  named.register_name("watched");
  start(
      "Mon = monitor(process, {watched, hd(Args)}), {watched, hd(Args)} ! monitored, receive {'DOWN', Mon, process, "
      "O, R} -> {O, R} after 30000 -> timeout end",
      ours());
  EXPECT_EQ(named.next(), Term(Atom("monitored")));
  system().exit(named.pid(), Atom("over"));
  EXPECT_EQ(erl().finish(), Term::tuple({Term::tuple({Atom("watched"), ours()}), Atom("over")}));
  EXPECT_EQ(eval("Mon = monitor(process, {watched, hd(Args)}), receive {'DOWN', Mon, process, _, R} -> R after 5000 -> "
                 "timeout end",
                 ours()),
            Term(Atom("noproc")));
  EXPECT_EQ(
      eval("Mon = monitor(process, hd(Args)), receive {'DOWN', Mon, process, _, R} -> R after 30000 -> timeout end",
           named.pid()),
      Term(Atom("noproc")));
}

TEST_P(ErlangSignals, a_monitor_of_erlang_that_is_taken_back_stays_silent) {
  Puppet puppet(system());
  eval("Back = monitor(process, hd(Args)), true = demonitor(Back), hd(Args) ! taken_back", puppet.pid());
  EXPECT_EQ(puppet.next(), Term(Atom("taken_back")));
  start(
      "Mon = monitor(process, hd(Args)), receive {'DOWN', Any, process, _, R} -> {Any =:= Mon, R} after 5000 -> "
      "timeout "
      "end",
      puppet.pid());
  system().exit(puppet.pid(), Atom("over"));
  const Term once = erl().finish();
  EXPECT_TRUE(once == term("{true, over}") || once == term("{true, noproc}")) << to_text(once);
  EXPECT_EQ(eval("receive {'DOWN', _, _, _, _} -> twice after 0 -> once end"), Term(Atom("once")));
}

TEST_P(ErlangSignals, we_monitor_processes_of_erlang) {
  Puppet puppet(system());
  for (const auto* reason : {"normal", "killed", "{some, [\"reason\"], 1.5}"}) {
    const Pid target = eval_pid("spawn(peer_driver, wait, [])");
    Ref ref;
    puppet.act([&](Process& self) { ref = self.monitor(target); });
    puppet.send(target, Term::tuple({Atom("stop"), term(reason)}));
    EXPECT_EQ(puppet.next(), Term::tuple({Atom("DOWN"), ref, Atom("process"), target, term(reason)}));
    puppet.act([&](Process& self) { ref = self.monitor(target); });
    EXPECT_EQ(puppet.next(), Term::tuple({Atom("DOWN"), ref, Atom("process"), target, Atom("noproc")}));
  }
  // By name; and a monitor that was taken back.
  const Pid named = eval_pid("Named = spawn(peer_driver, wait, []), register(named, Named), Named");
  Ref by_name;
  Ref back;
  puppet.act([&](Process& self) {
    by_name = self.monitor(RemoteName{"named", theirs()});
    back = self.monitor(named);
    self.demonitor(back);
  });
  settle(puppet);
  eval("exit(hd(Args), kill)", named);
  EXPECT_EQ(puppet.next(), Term::tuple({Atom("DOWN"), by_name, Atom("process"),
                                        Term::tuple({Atom("named"), theirs().atom()}), Atom("killed")}));
  puppet.act([&](Process& self) { by_name = self.monitor(RemoteName{"named", theirs()}); });
  EXPECT_EQ(puppet.next(), Term::tuple({Atom("DOWN"), by_name, Atom("process"),
                                        Term::tuple({Atom("named"), theirs().atom()}), Atom("noproc")}));
}

TEST_P(ErlangSignals, exit_reasons_may_be_long) {
  const Term content = pattern(300'000);
  Puppet watcher(system());
  const Pid target = eval_pid("spawn(peer_driver, wait, [])");
  Ref ref;
  watcher.act([&](Process& self) { ref = self.monitor(target); });
  watcher.send(target, Term::tuple({Atom("stop"), content}));
  EXPECT_TRUE(watcher.next()[4] == content);

  Puppet ending(system());
  start(
      "Mon = monitor(process, hd(Args)), hd(Args) ! monitored, receive {'DOWN', Mon, process, _, R} -> R after 5000 "
      "-> timeout end",
      ending.pid());
  ending.next();
  EXPECT_THROW(ending.act([&](Process&) { throw ExitProcess{content}; }), std::exception);
  EXPECT_TRUE(erl().finish() == content);
}

// Links.

TEST_P(ErlangSignals, the_end_of_our_process_reaches_linked_processes_of_erlang) {
  Puppet ending(system());
  Puppet observer(system());
  const Pid parked = eval_pid("spawn(peer_driver, parked, [])");
  observer.send(parked, Term::tuple({Atom("tell"), observer.pid()}));
  EXPECT_EQ(observer.next(), Term(Atom("ready")));
  observer.send(parked, Term::tuple({Atom("link"), ending.pid()}));
  EXPECT_EQ(observer.next(), Term::tuple({Atom("linked"), ending.pid()}));
  // A message after the link comes after the link: then it is in place.
  eval("hd(Args) ! linked", ending.pid());
  EXPECT_THROW(ending.act([&](Process&) { throw ExitProcess{Atom("over")}; }), std::exception);
  EXPECT_EQ(observer.next(), Term::tuple({Atom("told"), Term::tuple({Atom("EXIT"), ending.pid(), Atom("over")})}));
  // A link to a process that has ended.
  observer.send(parked, Term::tuple({Atom("link"), ending.pid()}));
  EXPECT_EQ(observer.next(), Term::tuple({Atom("linked"), ending.pid()}));
  EXPECT_EQ(observer.next(), Term::tuple({Atom("told"), Term::tuple({Atom("EXIT"), ending.pid(), Atom("noproc")})}));
  // A link that we made.
  Puppet linking(system());
  linking.act([&](Process& self) { self.link(parked); });
  EXPECT_THROW(linking.act([&](Process&) { throw ExitProcess{Atom("over_too")}; }), std::exception);
  EXPECT_EQ(observer.next(), Term::tuple({Atom("told"), Term::tuple({Atom("EXIT"), linking.pid(), Atom("over_too")})}));
  eval("exit(hd(Args), kill)", parked);
}

TEST_P(ErlangSignals, the_end_of_an_erlang_process_reaches_our_linked_processes) {
  Puppet trapping(system());
  const Pid target = eval_pid("spawn(peer_driver, wait, [])");
  trapping.act([&](Process& self) {
    self.trap_exit(true);
    self.link(target);
  });
  trapping.send(target, term("{stop, over}"));
  EXPECT_EQ(trapping.next(), Term::tuple({Atom("EXIT"), target, Atom("over")}));
  trapping.act([&](Process& self) { self.link(target); });
  EXPECT_EQ(trapping.next(), Term::tuple({Atom("EXIT"), target, Atom("noproc")}));
  // Who does not trap ends, too; and `normal` ends nobody.
  Puppet linked(system());
  const Pid other = eval_pid("spawn(peer_driver, wait, [])");
  const Pid peaceful = eval_pid("spawn(peer_driver, wait, [])");
  linked.act([&](Process& self) {
    self.link(other);
    self.link(peaceful);
  });
  Ref ref;
  trapping.act([&](Process& self) {
    ref = self.monitor(linked.pid());
    (void)self.monitor(peaceful);
  });
  trapping.send(peaceful, term("{stop, normal}"));
  EXPECT_EQ(trapping.next()[3], Term(peaceful));
  EXPECT_TRUE(system().is_alive(linked.pid()));
  trapping.send(other, term("{stop, over}"));
  EXPECT_EQ(trapping.next(), Term::tuple({Atom("DOWN"), ref, Atom("process"), linked.pid(), Atom("over")}));
}

TEST_P(ErlangSignals, unlink_works_from_either_side) {
  Puppet ending(system());
  Puppet observer(system());
  const Pid parked = eval_pid("spawn(peer_driver, parked, [])");
  observer.send(parked, Term::tuple({Atom("tell"), observer.pid()}));
  EXPECT_EQ(observer.next(), Term(Atom("ready")));
  // Linked and unlinked again and again, by both.
  for (int round = 0; round < 20; ++round) {
    observer.send(parked, Term::tuple({Atom("link"), ending.pid()}));
    EXPECT_EQ(observer.next(), Term::tuple({Atom("linked"), ending.pid()}));
    if (round % 2 == 0) {
      ending.act([&](Process& self) { self.unlink(parked); });
    } else {
      ending.act([&](Process& self) { self.link(parked); });
    }
    observer.send(parked, Term::tuple({Atom("unlink"), ending.pid()}));
    EXPECT_EQ(observer.next(), Term::tuple({Atom("unlinked"), ending.pid()}));
  }
  ending.act([&](Process& self) {
    self.link(parked);
    self.unlink(parked);
  });
  EXPECT_THROW(ending.act([&](Process&) { throw ExitProcess{Atom("over")}; }), std::exception);
  observer.send(parked, Atom("still_here"));
  EXPECT_EQ(observer.next(), term("{told, still_here}"));
  EXPECT_EQ(eval("process_info(hd(Args), links)", parked), term("{links, []}"));
  eval("exit(hd(Args), kill)", parked);
}

TEST_P(ErlangSignals, exit_signals_of_exit_2_go_both_ways) {
  Puppet trapping(system());
  trapping.act([](Process& self) { self.trap_exit(true); });
  const Term driver = eval("exit(hd(Args), please), self()", trapping.pid());
  EXPECT_EQ(trapping.next(), Term::tuple({Atom("EXIT"), driver, Atom("please")}));
  Puppet watcher(system());
  Ref ref;
  watcher.act([&](Process& self) { ref = self.monitor(trapping.pid()); });
  eval("exit(hd(Args), kill)", trapping.pid());
  EXPECT_EQ(watcher.next(), Term::tuple({Atom("DOWN"), ref, Atom("process"), trapping.pid(), Atom("killed")}));

  const Pid target = eval_pid("spawn(peer_driver, wait, [])");
  watcher.act([&](Process& self) {
    ref = self.monitor(target);
    self.exit(target, Atom("please"));
  });
  EXPECT_EQ(watcher.next(), Term::tuple({Atom("DOWN"), ref, Atom("process"), target, Atom("please")}));
  const Pid parked = eval_pid("spawn(peer_driver, parked, [])");
  watcher.send(parked, Term::tuple({Atom("tell"), watcher.pid()}));
  EXPECT_EQ(watcher.next(), Term(Atom("ready")));
  watcher.act([&](Process& self) {
    ref = self.monitor(parked);
    self.exit(parked, Atom("please"));
  });
  EXPECT_EQ(watcher.next(), Term::tuple({Atom("told"), Term::tuple({Atom("EXIT"), watcher.pid(), Atom("please")})}));
  watcher.act([&](Process& self) { self.exit(parked, Atom("kill")); });
  EXPECT_EQ(watcher.next(), Term::tuple({Atom("DOWN"), ref, Atom("process"), parked, Atom("killed")}));
}

// Spawn requests.

TEST_P(ErlangSignals, erlang_spawns_exported_functions_here) {
  Puppet puppet(system());
  system().export_function("ours", "hello", [](Process& self, std::vector<Term> arguments) -> Task<Result<Term>> {
    const Pid to = *arguments[0].as_pid();
    Term message = Term::tuple_of(Atom("spawned"), self.pid(), self.group_leader());
    co_await self.send(to, message);
    const Term reason = co_await self.receive();
    throw ExitProcess{reason};
  });
  const Pid plain = eval_pid("spawn(hd(Args), ours, hello, tl(Args))", ours(), puppet.pid());
  const Term hello = puppet.next();
  EXPECT_EQ(hello[1], Term(plain));
  EXPECT_EQ(eval("hd(Args) =:= group_leader()", hello[2]), Term(true));
  puppet.send(plain, Atom("normal"));

  EXPECT_EQ(eval("{Pid, Mon} = spawn_monitor(hd(Args), ours, hello, tl(Args)), Pid ! {bye, 1}, "
                 "receive {'DOWN', Mon, process, Pid, R} -> R after 30000 -> timeout end",
                 ours(), puppet.pid()),
            term("{bye, 1}"));
  puppet.next();
  EXPECT_EQ(eval("process_flag(trap_exit, true), Pid = spawn_link(hd(Args), ours, hello, tl(Args)), Pid ! {bye, 2}, "
                 "Got = receive {'EXIT', Pid, R} -> R after 30000 -> timeout end, process_flag(trap_exit, false), Got",
                 ours(), puppet.pid()),
            term("{bye, 2}"));
  puppet.next();
  EXPECT_EQ(
      eval("ReqId = spawn_request(hd(Args), ours, hello, tl(Args), [monitor, {priority, high}, {reply_tag, tag}]), "
           "Pid = receive {tag, ReqId, ok, P} -> P after 30000 -> timeout end, Pid ! {bye, 3}, "
           "receive {'DOWN', ReqId, process, Pid, R} -> R after 30000 -> timeout end",
           ours(), puppet.pid()),
      term("{bye, 3}"));
  puppet.next();
  // What is not exported.
  EXPECT_EQ(eval("{Pid, Mon} = spawn_monitor(hd(Args), ours, missing, [1]), "
                 "receive {'DOWN', Mon, process, Pid, R} -> R after 30000 -> timeout end",
                 ours()),
            term("{undef, [{ours, missing, [1], []}]}"));
  EXPECT_EQ(eval("Bad = spawn_request(hd(Args), ours, hello, [], [unheard_of]), receive {spawn_reply, Bad, E, W} -> "
                 "{E, W} after 30000 -> timeout end",
                 ours()),
            term("{error, badopt}"));
}

TEST_P(ErlangSignals, we_spawn_functions_on_the_erlang_node) {
  const Term ends = run<Term>([](Process& self) -> Task<Term> {
    std::vector<Term> said;
    for (int kind = 0; kind < 3; ++kind) {
      Process::SpawnOptions options;
      options.link = kind == 2;
      options.monitor = kind == 1;
      self.trap_exit(true);
      const RemoteFunction what("peer_driver", "wait");
      const auto spawned = co_await self.spawn_on(theirs(), what, options);
      if (!spawned) co_return Term(spawned.error().message());
      const Pid child = spawned->pid;
      if (kind == 0) self.monitor(child);
      Term stop = Term::tuple_of(Atom("stop"), Term::tuple_of(Atom("kind"), kind));
      co_await self.send(child, stop);
      const Term end = co_await self.receive();
      said.push_back(end[0]);
      said.push_back(end[end.size() - 1]);
      if (kind == 1) said.push_back(end[1] == Term(spawned->ref));
    }
    co_return Term::list(std::move(said));
  });
  EXPECT_EQ(ends, term("['DOWN', {kind, 0}, 'DOWN', {kind, 1}, true, 'EXIT', {kind, 2}]"));
  const Term undefined = run<Term>([](Process& self) -> Task<Term> {
    Process::SpawnOptions options;
    options.monitor = true;
    const RemoteFunction what("peer_driver", "missing");
    const auto spawned = co_await self.spawn_on(theirs(), what, options);
    if (!spawned) co_return Term(spawned.error().message());
    const Term end = co_await self.receive();
    co_return end[4][0];
  });
  EXPECT_EQ(undefined, Term(Atom("undef")));
}

// Group leaders.

TEST_P(ErlangSignals, output_of_functions_that_run_for_us_comes_to_us) {
  const Term said = run<Term>([](Process& self) -> Task<Term> {
    const RemoteFunction what("peer_driver", "says", std::vector<Term>(1, Term("Grüße aus der Ferne")));
    const CallOutcome outcome = co_await self.run_function(theirs(), what);
    co_return outcome.value;
  });
  EXPECT_EQ(said, Term::tuple({Atom("said"), ours()}));
  EXPECT_TRUE(carrier().await([](const CarrierView& now) {
    return std::ranges::any_of(now.output, [](const auto& text) { return text.contains("Grüße aus der Ferne"); });
  }));
  // The log event of a crash goes the same way.
  (void)run<int>([](Process& self) -> Task<int> {
    const RemoteFunction what("peer_driver", "fails", std::vector<Term>(1, Atom("loud_crash")));
    (void)co_await self.spawn_on(theirs(), what, Process::SpawnOptions());
    co_return 0;
  });
  EXPECT_TRUE(carrier().await([](const CarrierView& now) {
    return std::ranges::any_of(now.output, [](const auto& text) { return text.contains("loud_crash"); });
  }));
}

TEST_P(ErlangSignals, we_were_never_about_to_send_what_erlang_refuses) {
  EXPECT_TRUE(carrier().view().refused.empty());
}

}  // namespace
}  // namespace barrel_p2p::test
