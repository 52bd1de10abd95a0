// Processes of one system, and of two systems that are joined without a network.
#include <gtest/gtest.h>
#include <barrel_p2p/process.hpp>
#include <barrel_p2p/server.hpp>

#include <future>
#include <mutex>

#include "distribution/control.hpp"
#include "process/system.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::process {
namespace {

using namespace std::chrono_literals;

/// One system, or two that hand each other encoded signals, on the thread of whoever sends.
class Processes : public testing::Test {
 protected:
  Processes() {
    for (auto* system : {&a, &b}) {
      RemotePort port;
      System& other = system == &a ? b : a;
      port.send = [this, system, &other](const Atom& node, distribution::Signal&& signal, const Pid& /*key*/) {
        if (cut || node != other.config().node) return distribution::SendOutcome::refused;
        if (const auto* term = std::get_if<Term>(&signal.payload)) {
          auto bytes = std::make_shared<Bytes>(encode_term(*term, {.version_byte = false}));
          signal.payload = distribution::EncodedTerm{*bytes, bytes};
        }
        other.deliver(system->config().node, 1, std::move(signal));
        return distribution::SendOutcome::accepted;
      };
      system->set_remote(std::move(port));
      system->start();
    }
    a.node_up("b@test", 1, 77, distribution::flag::published);
    b.node_up("a@test", 1, 77, distribution::flag::published);
  }
  ~Processes() override {
    a.stop();
    b.stop();
  }

  static SystemConfig config(const char* node) {
    SystemConfig config;
    config.node = Atom(node);
    config.creation = 77;
    config.workers = 2;
    config.remote_spawns_max = spawns_max;
    config.remote_relations_max = relations_max;
    return config;
  }
  static constexpr std::size_t spawns_max = 100;
  static constexpr std::size_t relations_max = 2000;

  void disconnect() {
    cut = true;
    a.node_down("b@test", 1);
    b.node_down("a@test", 1);
  }

  /// Runs a process on `system` and returns what it gives back.
  template <class T>
  T run(System& system, std::function<Task<T>(Process&)> function) {
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    system.spawn([promise, function](Process& self) -> Task<> { promise->set_value(co_await function(self)); });
    if (future.wait_for(test::patience) != std::future_status::ready)
      throw std::runtime_error("the process did not finish");
    return future.get();
  }

  static Task<> echo(Process& self) {
    for (;;) {
      const Term message = co_await self.receive();
      if (message.is_tagged("stop", 1)) co_return;
      if (message.is_tuple(2) && message[0].is_pid()) co_await self.send(*message[0].as_pid(), Term(message[1]));
    }
  }

  std::atomic<bool> cut{false};
  System a{config("a@test")};
  System b{config("b@test")};
};

TEST_F(Processes, a_receiver_is_told_which_node_sent_to_its_pid_and_hears_of_no_other_messages) {
  std::promise<std::string> heard;
  const Pid pid = b.spawn_receiver([&](const Atom& node, std::uint64_t epoch, distribution::Payload&& payload) {
    const auto term = distribution::decode_payload(payload);
    heard.set_value(node.string() + " " + std::to_string(epoch) + " " + to_text(term.value()));
    return distribution::DeliverOutcome::accepted;
  });
  ASSERT_TRUE(b.register_name(Atom("answers"), pid).has_value());
  ASSERT_TRUE(b.send(pid, Atom("from_here")).has_value());
  ASSERT_TRUE(a.send(RemoteName("answers", "b@test"), Atom("by_name")).has_value());
  ASSERT_TRUE(a.send(pid, Term::tuple({Atom("b@test"), 1})).has_value());
  auto first = heard.get_future();
  ASSERT_EQ(first.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(first.get(), "a@test 1 {b@test,1}") << "what the message says of its sender is nothing to go by";
  EXPECT_TRUE(b.is_alive(pid));
}

TEST_F(Processes, what_ends_a_process_after_the_watch_began_is_what_its_watcher_hears) {
  constexpr int rounds = 200;
  std::mutex mutex;
  std::vector<std::string> reasons;
  std::promise<void> all;
  const Pid watcher = b.spawn_watcher([&](const Ref& /*watch*/, const Pid& /*pid*/, const Term& reason) {
    const std::lock_guard lock(mutex);
    reasons.push_back(to_text(reason));
    if (reasons.size() == rounds) all.set_value();
  });
  for (int round = 0; round < rounds; ++round) {
    const Pid watched = b.spawn(echo);
    (void)b.watch(watcher, watched);
    b.exit(watched, Atom("kill"));
  }
  ASSERT_EQ(all.get_future().wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(reasons, std::vector<std::string>(rounds, "killed"));
  b.stop();  // the watcher goes before what it refers to
}

TEST_F(Processes, a_watcher_hears_of_ends_and_obeys_no_message_of_anybody) {
  const Pid watched = b.spawn(echo);
  const Pid given_up = b.spawn(echo);
  std::promise<Term> heard;
  std::atomic<int> ends{0};
  const Pid watcher = b.spawn_watcher([&](const Ref& watch, const Pid& pid, const Term& reason) {
    if (++ends == 1) heard.set_value(Term::tuple({watch, pid, reason}));
  });
  ASSERT_TRUE(b.register_name(Atom("watcher"), watcher).has_value());
  b.unwatch(watcher, b.watch(watcher, given_up));
  const Ref watch = b.watch(watcher, watched);
  const std::vector<Term> lies{Term::tuple({Atom("unwatch"), watched}), Term::tuple({Atom("unwatch"), watch}),
                               Term::tuple({Atom("watch"), watched}),
                               Term::tuple({Atom("DOWN"), watch, Atom("process"), watched, Atom("lie")})};
  for (const auto& lie : lies) {
    ASSERT_TRUE(b.send(watcher, lie).has_value());
    ASSERT_TRUE(a.send(watcher, lie).has_value());
    ASSERT_TRUE(a.send(RemoteName("watcher", "b@test"), lie).has_value());
  }
  b.exit(given_up, Atom("kill"));
  b.exit(watched, Atom("kill"));
  auto first = heard.get_future();
  ASSERT_EQ(first.wait_for(test::patience), std::future_status::ready);
  const Term told = first.get();
  EXPECT_EQ(told[0], Term(watch));
  EXPECT_EQ(told[1], Term(watched));
  EXPECT_EQ(told[2], Term(Atom("killed")));
  EXPECT_EQ(ends, 1);
  b.stop();  // the watcher goes before what it refers to
}

TEST_F(Processes, send_and_receive_on_one_node) {
  const Pid server = a.spawn(echo);
  const auto answer = run<Term>(a, [server](Process& self) -> Task<Term> {
    co_await self.send(server, Term::tuple_of(self.pid(), 42));
    co_return co_await self.receive();
  });
  EXPECT_EQ(answer, Term(42));
}

TEST_F(Processes, a_message_to_who_ended_in_the_same_turn_is_counted_as_dropped) {
  const auto before = a.counters().dropped_no_process.load();
  run<bool>(a, [](Process& self) -> Task<bool> {
    const auto [pid, ref] = self.spawn_monitor([](Process& other) -> Task<> { (void)co_await other.receive(); });
    co_await self.send(pid, Atom("end"));
    (void)co_await self.receive([](const Term& message) { return message.is_tagged("DOWN", 5); });
    co_await self.send(pid, Atom("too_late"));
    co_await self.send(pid, Atom("too_late"));
    co_return true;
  });
  EXPECT_EQ(a.counters().dropped_no_process.load(), before + 2);
}

TEST_F(Processes, send_and_receive_over_nodes) {
  const Pid server = b.spawn(echo);
  const auto answer = run<Term>(a, [server](Process& self) -> Task<Term> {
    co_await self.send(server, Term::tuple_of(self.pid(), "over there"));
    co_return co_await self.receive();
  });
  EXPECT_EQ(answer, Term("over there"));
}

TEST_F(Processes, a_selective_receive_leaves_the_others_in_order) {
  const auto order = run<Term>(a, [](Process& self) -> Task<Term> {
    for (int number = 0; number < 5; ++number) co_await self.send(self.pid(), Term(number));
    std::vector<Term> got;
    got.push_back(*co_await self.receive([](const Term& message) { return message == Term(3); }));
    for (int left = 0; left < 4; ++left) got.push_back(co_await self.receive());
    co_return Term::list(std::move(got));
  });
  EXPECT_EQ(to_text(order), "[3,0,1,2,4]");
}

TEST_F(Processes, a_receive_gives_up_after_its_limit) {
  const auto got = run<bool>(a, [](Process& self) -> Task<bool> {
    const auto message = co_await self.receive_for(5ms);
    co_return message.has_value();
  });
  EXPECT_FALSE(got);
}

TEST_F(Processes, a_call_can_tell_all_that_came_of_it) {
  const Pid crashing = b.spawn([](Process& self) -> Task<> {
    co_await self.receive();
    throw ExitProcess{Term::tuple_of(Atom("why"), 1)};
  });
  const auto outcomes = run<std::vector<CallOutcome>>(a, [crashing](Process& self) -> Task<std::vector<CallOutcome>> {
    std::vector<CallOutcome> got;
    got.push_back(co_await self.run_call(RemoteName("net_kernel", "b@test"), Term::tuple_of(Atom("is_auth"), 1)));
    got.push_back(co_await self.run_call(crashing, 1));
    got.push_back(co_await self.run_call(crashing, 1));
    got.push_back(co_await self.run_call(self.pid(), 1, 1ms));
    got.push_back(co_await self.run_call(RemoteName("net_kernel", "nowhere@test"), 1));
    co_return got;
  });
  using Kind = CallOutcome::Kind;
  EXPECT_EQ(outcomes.at(0).kind, Kind::returned);
  EXPECT_EQ(outcomes.at(0).value, Term(Atom("yes")));
  EXPECT_EQ(outcomes.at(1).kind, Kind::ended);
  EXPECT_EQ(to_text(outcomes.at(1).value), "{why,1}");
  EXPECT_EQ(outcomes.at(2).kind, Kind::ended);
  EXPECT_EQ(outcomes.at(2).value, Term(Atom("noproc")));
  EXPECT_EQ(outcomes.at(3).kind, Kind::timeout);
  EXPECT_EQ(outcomes.at(4).kind, Kind::no_connection);
}

TEST_F(Processes, an_exit_travels_over_a_link_and_can_be_trapped) {
  for (System* where : {&a, &b}) {
    const Pid victim = where->spawn([](Process& self) -> Task<> {
      co_await self.receive();
      throw ExitProcess{Atom("boom")};
    });
    const auto message = run<Term>(a, [victim](Process& self) -> Task<Term> {
      self.trap_exit(true);
      self.link(victim);
      co_await self.send(victim, Atom("go"));
      co_return co_await self.receive();
    });
    EXPECT_EQ(message, Term::tuple({Atom("EXIT"), victim, Atom("boom")}));
  }
}

TEST_F(Processes, an_exception_ends_its_process_only_and_is_the_reason_that_monitors_see) {
  const auto reason = run<Term>(a, [](Process& self) -> Task<Term> {
    const auto [pid, ref] = self.spawn_monitor([](Process& /*self*/) -> Task<> {
      throw std::runtime_error("out of ideas");
      co_return;
    });
    const Term down = co_await self.receive();
    co_return down[4];
  });
  EXPECT_EQ(to_text(reason), "{{exception,<<\"out of ideas\">>},[]}");
  EXPECT_EQ(a.counters().crashed.load(), 1U);
}

TEST_F(Processes, monitors_report_noproc_normal_ends_and_lost_nodes) {
  const Pid dead = b.spawn([](Process& /*self*/) -> Task<> { co_return; });
  const auto first = run<Term>(a, [dead](Process& self) -> Task<Term> {
    self.monitor(dead);
    const Term down = co_await self.receive();
    const bool ended = down[4].is_atom("noproc") || down[4].is_atom("normal");
    self.monitor(RemoteName{"nobody", "b@test"});
    const Term named = co_await self.receive();
    co_return Term::tuple_of(ended, named[3], named[4]);
  });
  EXPECT_EQ(to_text(first), "{true,{nobody,b@test},noproc}");

  const Pid server = b.spawn(echo);
  auto ready = std::make_shared<std::promise<void>>();
  auto lost = std::make_shared<std::promise<Term>>();
  a.spawn([=](Process& self) -> Task<> {
    self.monitor_nodes();
    self.monitor(server);
    self.trap_exit(true);
    self.link(server);
    co_await self.send(server, Term::tuple_of(self.pid(), 1));
    co_await self.receive();
    ready->set_value();
    std::vector<Term> got;
    for (int count = 0; count < 3; ++count) got.push_back(co_await self.receive());
    lost->set_value(Term::list(std::move(got)));
  });
  ASSERT_EQ(ready->get_future().wait_for(test::patience), std::future_status::ready);
  disconnect();
  auto future = lost->get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
  const Term got = future.get();
  EXPECT_EQ(got[0], Term::tuple({Atom("EXIT"), server, Atom("noconnection")}));
  EXPECT_TRUE(got[1].is_tagged("DOWN", 5));
  EXPECT_EQ(got[1][4], Term(Atom("noconnection")));
  EXPECT_EQ(to_text(got[2]), "{nodedown,b@test}") << "after everything that the connection had brought";
}

TEST_F(Processes, unlink_means_that_no_exit_comes_any_more) {
  const auto quiet = run<bool>(a, [this](Process& self) -> Task<bool> {
    const Pid victim = b.spawn(echo);
    self.trap_exit(true);
    self.link(victim);
    self.unlink(victim);
    self.exit(victim, Atom("kill"));
    self.monitor(victim);
    const Term message = co_await self.receive();
    co_return message.is_tagged("DOWN", 5);
  });
  EXPECT_TRUE(quiet);
}

TEST_F(Processes, kill_cannot_be_trapped) {
  const auto reason = run<Term>(a, [this](Process& self) -> Task<Term> {
    const Pid stubborn = b.spawn([](Process& inner) -> Task<> {
      inner.trap_exit(true);
      for (;;) co_await inner.receive();
    });
    self.monitor(stubborn);
    self.exit(stubborn, Atom("kill"));
    const Term down = co_await self.receive();
    co_return down[4];
  });
  EXPECT_EQ(reason, Term(Atom("killed")));
}

TEST_F(Processes, exits_of_other_nodes_and_of_their_links_do_not_end_what_belongs_to_the_node) {
  std::vector<Pid> targets;
  for (const auto* name : {"net_kernel", "rex", "user", "logger_proxy"}) targets.push_back(b.whereis(name).value());
  targets.push_back(b.spawn_internal(echo));
  targets.push_back(b.spawn_watcher([](const Ref& /*watch*/, const Pid& /*pid*/, const Term& /*reason*/) {}));
  targets.push_back(b.spawn_receiver([](const Atom& /*node*/, std::uint64_t /*epoch*/, distribution::Payload&&) {
    return distribution::DeliverOutcome::accepted;
  }));
  run<bool>(a, [targets](Process& self) -> Task<bool> {
    for (const auto& target : targets) {
      for (const auto* reason : {"kill", "boo", "normal"}) self.exit(target, Atom(reason));
    }
    co_return true;
  });
  const auto link_from_a = [&] {
    std::promise<void> linked;
    const Pid pid = a.spawn([&](Process& self) -> Task<> {
      for (const auto& target : targets) self.link(target);
      linked.set_value();
      for (;;) co_await self.receive();
    });
    EXPECT_EQ(linked.get_future().wait_for(test::patience), std::future_status::ready);
    return pid;
  };
  run<bool>(a, [pid = link_from_a()](Process& self) -> Task<bool> {
    self.monitor(pid);
    self.exit(pid, Atom("boo"));
    co_await self.receive();  // its links were told before
    co_return true;
  });
  link_from_a();
  disconnect();
  // Signals are handled in turn: what ended of those before was not there any more.
  for (const auto& target : targets) {
    const auto reason = run<Term>(b, [target](Process& self) -> Task<Term> {
      self.monitor(target);
      self.exit(target, Atom("kill"));
      const Term down = co_await self.receive();
      co_return down[4];
    });
    EXPECT_EQ(reason, Term(Atom("killed"))) << to_text(Term(target));
  }
}

TEST_F(Processes, ends_that_another_node_tells_of_are_not_believed) {
  const Pid here = b.spawn(echo);
  const Pid there = a.spawn(echo);
  std::promise<std::pair<Ref, Ref>> watching;
  std::promise<std::string> heard;
  const Pid watcher = b.spawn([&](Process& self) -> Task<> {
    self.trap_exit(true);
    self.link(there);
    const Ref first = self.monitor(here);
    const Ref second = self.monitor(there);
    watching.set_value({first, second});
    const Term down = co_await self.receive([&](const Term& message) { return message.is_tagged("DOWN", 5); });
    const Term exit = co_await self.receive([&](const Term& message) { return message.is_tagged("EXIT", 3); });
    const Term other = co_await self.receive([&](const Term& message) { return message.is_tagged("DOWN", 5); });
    heard.set_value(to_text(down[4]) + " " + to_text(exit[2]) + " " + to_text(other[4]));
  });
  const auto [first, second] = watching.get_future().get();
  const Term lie(Atom("lie"));
  for (const char* liar : {"c@test", "a@test"}) {
    b.deliver(Atom(liar), 1, {distribution::MonitorExit{here, watcher, first}, lie});
    b.deliver(Atom(liar), 1, {distribution::MonitorExit{Atom("name"), watcher, first}, lie});
  }
  b.deliver("c@test", 1, {distribution::MonitorExit{there, watcher, second}, lie});
  b.deliver("c@test", 1, {distribution::Exit{there, watcher}, lie});
  b.deliver("c@test", 1, {distribution::Exit2{there, watcher}, lie});
  b.deliver("c@test", 1, {distribution::Unlink{7, there, watcher}, {}});
  b.exit(here, Atom("boo"));
  a.exit(there, Atom("boo"));
  auto all = heard.get_future();
  ASSERT_EQ(all.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(all.get(), "boo boo boo");
}

Task<> counter(Process& self) {
  std::int64_t count = 0;
  for (;;) {
    const Term message = co_await self.receive();
    if (const auto call = as_call(message)) {
      if (call->second.is_atom("stop")) {
        co_await reply(self, call->first, Atom("stopped"));
        co_return;
      }
      if (call->second.is_atom("get")) co_await reply(self, call->first, count);
    } else if (as_cast(message)) {
      ++count;
    }
  }
}

TEST_F(Processes, calls_and_casts_reach_servers_here_and_there) {
  const Pid here = a.spawn(counter);
  const Pid there = b.spawn(counter);
  ASSERT_TRUE(b.register_name("counter", there).has_value());
  const auto answers = run<Term>(a, [=](Process& self) -> Task<Term> {
    co_await self.cast(here, Atom("bump"));
    co_await self.cast(RemoteName{"counter", "b@test"}, Atom("bump"));
    co_await self.cast(RemoteName{"counter", "b@test"}, Atom("bump"));
    const auto one = co_await self.call(here, Atom("get"));
    const auto two = co_await self.call(RemoteName{"counter", "b@test"}, Atom("get"));
    const auto stopped = co_await self.call(there, Atom("stop"));
    const auto gone = co_await self.call(there, Atom("get"));
    const auto nobody = co_await self.call(Atom("no_such_name"), Atom("get"));
    co_return Term::list_of(*one, *two, *stopped, Atom(name(gone.error().code())), Atom(name(nobody.error().code())));
  });
  EXPECT_EQ(to_text(answers), "[1,2,stopped,noproc,noproc]");
}

TEST_F(Processes, a_call_that_is_not_answered_times_out_and_its_late_answer_vanishes) {
  const Pid slow = b.spawn([](Process& self) -> Task<> {
    const Term message = co_await self.receive();
    const auto call = as_call(message);
    co_await self.receive();
    co_await reply(self, call->first, Atom("late"));
  });
  const auto outcome = run<Term>(a, [=](Process& self) -> Task<Term> {
    const auto answer = co_await self.call(slow, Atom("x"), 10ms);
    self.monitor(slow);
    co_await self.send(slow, Atom("go on"));
    const Term next = co_await self.receive();
    co_return Term::tuple_of(Atom(name(answer.error().code())), next[0]);
  });
  EXPECT_EQ(to_text(outcome), "{timeout,'DOWN'}");
}

TEST_F(Processes, functions_are_called_on_other_nodes_if_they_are_exported) {
  b.export_function("math", "add", [](Process& /*self*/, std::vector<Term> arguments) -> Task<Result<Term>> {
    co_return Term(*arguments[0].as_int64() + *arguments[1].as_int64());
  });
  b.export_function("math", "fail", [](Process& /*self*/, std::vector<Term> /*arguments*/) -> Task<Result<Term>> {
    throw std::runtime_error("no");
    co_return Term();
  });
  const auto outcomes = run<Term>(a, [](Process& self) -> Task<Term> {
    std::vector<Term> two;
    two.emplace_back(2);
    two.emplace_back(3);
    const auto sum = co_await self.call_function("b@test", "math", "add", two);
    const auto failed = co_await self.call_function("b@test", "math", "fail", {});
    const auto missing = co_await self.call_function("b@test", "os", "cmd", {});
    const auto node = co_await self.call_function("b@test", "erlang", "node", {});
    const auto nowhere = co_await self.call_function("c@test", "erlang", "node", {});
    co_return Term::list_of(*sum, Atom(name(failed.error().code())), Atom(name(missing.error().code())), *node,
                            Atom(name(nowhere.error().code())));
  });
  EXPECT_EQ(to_text(outcomes), "[5,remote_exit,undef,b@test,noconnection]");
  EXPECT_EQ(b.counters().refused_calls, 1U);
}

TEST_F(Processes, net_adm_ping_is_answered) {
  const auto answer = run<Term>(a, [](Process& self) -> Task<Term> {
    const auto yes =
        co_await self.call(RemoteName{"net_kernel", "b@test"}, Term::tuple_of(Atom("is_auth"), Atom("a@test")));
    co_return *yes;
  });
  EXPECT_EQ(answer, Term(Atom("yes")));
}

TEST_F(Processes, rex_runs_exported_functions_for_c_nodes) {
  b.export_function("math", "fail", [](Process& /*self*/, std::vector<Term> arguments) -> Task<Result<Term>> {
    if (arguments[0].is_atom("throw")) throw ThrowTerm{Term(1)};
    if (arguments[0].is_atom("error")) throw ErrorTerm{Term(2)};
    throw ExitProcess{Term(3)};
  });
  const auto answers = run<Term>(a, [](Process& self) -> Task<Term> {
    std::vector<Term> got;
    const RemoteName rex("rex", "b@test");
    for (const char* how : {"throw", "error", "exit"}) {
      const Term call = Term::tuple_of(Atom("call"), Atom("math"), Atom("fail"), Term::list_of(Atom(how)), self.pid());
      co_await self.send(rex, Term::tuple_of(self.pid(), call));
      const Term answer = co_await self.receive();
      got.push_back(answer[1]);
    }
    const Term unknown = Term::tuple_of(Atom("block_call"), Atom("os"), Atom("cmd"), Term(), Atom("user"));
    const auto undefined = co_await self.call(rex, unknown);
    got.push_back(*undefined);
    co_await self.send(rex, Term::tuple_of(self.pid(), Term::tuple_of(Atom("sbcast"), Atom("nobody"), Term(1))));
    const Term broadcast = co_await self.receive();
    got.push_back(broadcast[2]);
    co_return Term::list(std::move(got));
  });
  EXPECT_EQ(to_text(answers),
            "[1,{badrpc,{'EXIT',{2,[]}}},{badrpc,{'EXIT',3}},{badrpc,{'EXIT',{undef,[{os,cmd,[],[]}]}}},"
            "{nonexisting_name,nobody}]");
}

TEST_F(Processes, a_thousand_processes_that_are_linked_over_nodes_die_together) {
  constexpr int count = 1000;
  const auto downs = run<std::int64_t>(a, [this](Process& self) -> Task<std::int64_t> {
    const Pid root = b.spawn([](Process& inner) -> Task<> {
      co_await inner.receive();
      throw ExitProcess{Atom("all")};
    });
    for (int number = 0; number < count; ++number) {
      const auto made = self.spawn_monitor([root](Process& inner) -> Task<> {
        inner.link(root);
        for (;;) co_await inner.receive();
      });
      (void)made;
    }
    const auto in_line =
        co_await self.call(RemoteName{"net_kernel", "b@test"}, Term::tuple_of(Atom("is_auth"), Atom("a@test")));
    (void)in_line;
    co_await self.send(root, Atom("now"));
    std::int64_t all = 0;
    for (int number = 0; number < count; ++number) {
      const Term down = co_await self.receive();
      if (down[4].is_atom("all") || down[4].is_atom("noproc")) ++all;
    }
    co_return all;
  });
  EXPECT_EQ(downs, count);
}

TEST_F(Processes, signals_between_two_processes_keep_their_order) {
  constexpr std::int64_t count = 20'000;
  const auto in_order = run<bool>(a, [this](Process& self) -> Task<bool> {
    const Pid boss = self.pid();
    const Pid sender = b.spawn([boss](Process& inner) -> Task<> {
      for (std::int64_t number = 0; number < count; ++number) co_await inner.send(boss, Term(number));
    });
    (void)sender;
    for (std::int64_t number = 0; number < count; ++number) {
      const Term message = co_await self.receive();
      if (message != Term(number)) co_return false;
    }
    co_return true;
  });
  EXPECT_TRUE(in_order);
}

TEST_F(Processes, names_are_unique_and_end_with_their_process) {
  const auto outcome = run<Term>(a, [this](Process& self) -> Task<Term> {
    const bool first = self.register_name("unique").has_value();
    const Pid other = a.spawn(echo);
    const bool second = a.register_name("unique", other).has_value();
    co_return Term::tuple_of(first, second);
  });
  EXPECT_EQ(to_text(outcome), "{true,false}");
}

struct Account : Server {
  std::int64_t total = 0;
  Task<std::optional<Term>> handle_call(Process& self, Term request, CallFrom from) override {
    if (request.is_atom("later")) {  // answered by somebody else
      self.spawn([from](Process& other) -> Task<> { co_await reply(other, from, Atom("done")); });
      co_return std::nullopt;
    }
    co_return std::optional<Term>(total);
  }
  Task<> handle_cast(Process& /*self*/, Term request) override {
    total += request.as_int64().value_or(0);
    co_return;
  }
  [[nodiscard]] Term state() const override { return total; }
};

TEST_F(Processes, a_server_answers_calls_casts_and_system_messages) {
  const Pid server = b.spawn(serve([] { return std::make_unique<Account>(); }));
  const auto outcome = run<Term>(a, [server](Process& self) -> Task<Term> {
    co_await self.cast(server, Term(40));
    co_await self.cast(server, Term(2));
    const auto total = co_await self.call(server, Atom("total"));
    const auto later = co_await self.call(server, Atom("later"));
    const auto ask = [&self, server](Term request) -> Task<Term> {
      const Ref tag = self.make_ref();
      co_await self.send(server, Term::tuple_of(Atom("system"), Term::tuple_of(self.pid(), tag), request));
      const Term answer = co_await self.receive();
      co_return answer[1];
    };
    const Term state = co_await ask(Term(Atom("get_state")));
    const Term status = co_await ask(Term(Atom("get_status")));
    const Term suspended = co_await ask(Term(Atom("suspend")));
    co_await self.cast(server, Term(100));
    const Term still = co_await ask(Term(Atom("get_state")));
    const Term resumed = co_await ask(Term(Atom("resume")));
    const auto more = co_await self.call(server, Atom("total"));
    const Term unknown = co_await ask(Term(Atom("what")));
    self.monitor(server);
    const Term stopped = co_await ask(Term::tuple_of(Atom("terminate"), Atom("shutdown")));
    const Term down = co_await self.receive();
    co_return Term::list_of(*total, *later, state, status[0], suspended, still, resumed, *more, unknown, stopped,
                            down[4]);
  });
  EXPECT_EQ(to_text(outcome),
            "[42,done,{ok,42},status,ok,{ok,42},ok,142,{error,{unknown_system_msg,what}},ok,shutdown]");
}

TEST_F(Processes, a_server_says_that_its_state_cannot_be_replaced_and_does_not_send_the_fun_back) {
  const Pid server = b.spawn(serve([] { return std::make_unique<Account>(); }));
  const auto answer = run<Term>(a, [server](Process& self) -> Task<Term> {
    const Term from = Term::tuple_of(self.pid(), self.make_ref());
    const Term request = Term::tuple_of(Atom("replace_state"), Atom("a_fun"));
    co_await self.send(server, Term::tuple_of(Atom("system"), from, request));
    const Term message = co_await self.receive();
    co_return message[1];
  });
  EXPECT_EQ(to_text(answer), "{error,{callback_failed,{barrel_p2p,replace_state},{error,not_supported}}}");
}

TEST_F(Processes, a_process_is_spawned_on_another_node) {
  b.export_function("jobs", "wait", [](Process& self, std::vector<Term> arguments) -> Task<Result<Term>> {
    co_await self.send(*arguments[0].as_pid(), Atom("ready"));
    const Term reason = co_await self.receive();
    throw ExitProcess{reason};
  });
  const auto outcome = run<Term>(a, [](Process& self) -> Task<Term> {
    Process::SpawnOptions options;
    options.monitor = true;
    const auto made =
        co_await self.spawn_on("b@test", RemoteFunction("jobs", "wait", std::vector<Term>(1, self.pid())), options);
    const Term ready = co_await self.receive();
    co_await self.send(made->pid, Atom("over"));
    const Term down = co_await self.receive();
    const auto missing = co_await self.spawn_on("b@test", RemoteFunction("no", "such"), options);
    const Term undef = co_await self.receive();
    const auto nowhere = co_await self.spawn_on("c@test", RemoteFunction("no", "such"), options);
    co_return Term::list_of(ready, down[4], undef[4][0], Atom(name(nowhere.error().code())), missing.has_value());
  });
  EXPECT_EQ(to_text(outcome), "[ready,over,undef,noconnection,true]");
}

TEST_F(Processes, a_peer_has_no_more_links_and_monitors_here_than_the_bound) {
  const auto target = b.spawn(echo);
  const auto outcome = run<Term>(a, [target](Process& self) -> Task<Term> {
    self.trap_exit(true);
    self.link(target);
    std::vector<Ref> refs;
    for (std::size_t count = 1; count < relations_max; ++count) refs.push_back(self.monitor(target));
    const Ref one_too_many = self.monitor(target);
    const Term refused = co_await self.receive();
    self.demonitor(refs.back());  // before the next one, on the same channel
    refs.back() = self.monitor(target);
    const Term question = Term::tuple({self.pid(), Atom("still_here")});
    co_await self.send(target, question);
    const Term answer = co_await self.receive();
    co_return Term::list_of(refused[1] == Term(one_too_many), refused[4], answer);
  });
  EXPECT_EQ(to_text(outcome), "[true,system_limit,still_here]");
  EXPECT_EQ(b.counters().refused_relations, 1U);
}

TEST_F(Processes, a_link_beyond_the_bound_ends_at_once) {
  const auto target = b.spawn(echo);
  const auto outcome = run<Term>(a, [target](Process& self) -> Task<Term> {
    self.trap_exit(true);
    for (std::size_t count = 0; count < relations_max; ++count) (void)self.monitor(target);
    self.link(target);
    co_return co_await self.receive();
  });
  EXPECT_EQ(outcome, Term::tuple({Atom("EXIT"), target, Atom("system_limit")}));
}

TEST_F(Processes, links_and_monitors_in_the_name_of_another_node_leave_nothing) {
  const auto target = b.spawn(echo);
  const Atom invented("invented@test");
  const Pid stranger{invented, 1, 0, 77};
  b.deliver("a@test", 1, {distribution::Link{stranger, target}, {}});
  b.deliver("a@test", 1, {distribution::Monitor{stranger, target, a.make_ref()}, {}});
  const auto answer = run<Term>(a, [target](Process& self) -> Task<Term> {
    const Term question = Term::tuple({self.pid(), Atom("seen")});
    co_await self.send(target, question);  // behind them
    co_return co_await self.receive();
  });
  EXPECT_EQ(answer, Term(Atom("seen")));
  EXPECT_FALSE(b.peers().is_watched(invented));
}

class FreedRelations : public Processes, public testing::WithParamInterface<bool> {};

TEST_P(FreedRelations, of_a_process_that_ended_or_was_cut_off_are_free_for_others) {
  const auto target = b.spawn(echo);
  const auto filled = run<Term>(a, [target](Process& self) -> Task<Term> {
    for (std::size_t count = 0; count < relations_max; ++count) (void)self.monitor(target);
    const Term question = Term::tuple({self.pid(), Atom("filled")});
    co_await self.send(target, question);
    co_return co_await self.receive();
  });
  EXPECT_EQ(filled, Term(Atom("filled")));
  if (GetParam()) {
    disconnect();
    cut = false;
    a.node_up("b@test", 1, 77, distribution::flag::published);
    b.node_up("a@test", 1, 77, distribution::flag::published);
  }
  // Who watched may be about to say that it has ended, and the end of the channel reaches each process in its turn.
  const auto again = run<Term>(a, [target](Process& self) -> Task<Term> {
    const Term question = Term::tuple({self.pid(), Atom("taken")});
    Term first;
    for (int asked = 0; asked < 10'000 && !first.is_atom("taken"); ++asked) {
      (void)self.monitor(target);
      co_await self.send(target, question);
      first = co_await self.receive();
      if (first.is_tuple()) (void)co_await self.receive();  // refused, and then the answer
    }
    co_return first;
  });
  EXPECT_EQ(again, Term(Atom("taken")));
}

INSTANTIATE_TEST_SUITE_P(Ends, FreedRelations, testing::Bool());

TEST_F(Processes, no_more_processes_run_for_peers_than_the_bound) {
  b.export_function("jobs", "wait", [](Process& self, std::vector<Term> /*arguments*/) -> Task<Result<Term>> {
    co_return co_await self.receive();
  });
  const auto outcome = run<Term>(a, [](Process& self) -> Task<Term> {
    Process::SpawnOptions options;
    options.monitor = true;
    std::vector<Pid> running;
    for (std::size_t count = 0; count < spawns_max; ++count) {
      const auto made = co_await self.spawn_on("b@test", RemoteFunction("jobs", "wait"), options);
      if (!made) co_return Term::list_of(Atom("too_early"), count);
      running.push_back(made->pid);
    }
    const auto refused = co_await self.spawn_on("b@test", RemoteFunction("jobs", "wait"), options);
    co_await self.send(running.back(), Atom("over"));
    const Term down = co_await self.receive();
    const auto next = co_await self.spawn_on("b@test", RemoteFunction("jobs", "wait"), options);
    const std::string why = refused ? "taken" : refused.error().message();
    co_return Term::list_of(why, down[3] == Term(running.back()), next.has_value());
  });
  EXPECT_EQ(to_text(outcome), "[<<\"remote_exit: the node refused to start it: system_limit\">>,true,true]");
  EXPECT_EQ(b.counters().refused_spawns, 1U);
}

TEST_F(Processes, a_mailbox_that_is_full_holds_the_channel_back_until_it_is_read) {
  SystemConfig small = config("small@test");
  small.mailbox_bytes_max = 1000;
  System system(small);
  std::promise<std::uint64_t> resumed;
  RemotePort port;
  // Twice would end the test.
  port.resume_reading = [&](const Atom& /*node*/, std::uint64_t epoch) { resumed.set_value(epoch); };
  port.send = [](const Atom& /*node*/, distribution::Signal&& /*signal*/, const Pid& /*key*/) {
    return distribution::SendOutcome::accepted;
  };
  system.set_remote(std::move(port));
  system.start();
  system.node_up("b@test", 7, 77, distribution::flag::published);
  const Pid reader = system.spawn([](Process& self) -> Task<> {
    const auto go = co_await self.receive(tagged("go", 1));
    (void)go;
    for (;;) co_await self.receive();
  });
  const auto bytes = std::make_shared<Bytes>(encode_term(Term::binary(Bytes(600, 1)), {.version_byte = false}));
  const auto deliver = [&] {
    distribution::Signal signal{distribution::Send{std::nullopt, reader}, distribution::EncodedTerm{*bytes, bytes}};
    return system.deliver("b@test", 7, std::move(signal));
  };
  EXPECT_EQ(deliver(), distribution::DeliverOutcome::accepted);
  EXPECT_EQ(deliver(), distribution::DeliverOutcome::congested);
  for (int more = 0; more < 100; ++more) {
    EXPECT_EQ(deliver(), distribution::DeliverOutcome::accepted) << "it is held already";
  }
  EXPECT_EQ(system.counters().mailboxes_full, 1U);
  ASSERT_TRUE(system.send(reader, Term::tuple({Atom("go")})).has_value());
  auto future = resumed.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(future.get(), 7U);
  system.stop();
}

/// What runs on `b` for a caller on `a`, as seen from its function: that it began, and that it is gone.
class Abandoned : public Processes {
 protected:
  struct Held {
    explicit Held(std::promise<void>& promise) : ended(promise) {}
    ~Held() { ended.set_value(); }
    std::promise<void>& ended;
  };
  Abandoned() {
    b.export_function("jobs", "hold", [this](Process& self, std::vector<Term> /*arguments*/) -> Task<Result<Term>> {
      const Held held(ended);
      began.set_value();
      co_return co_await self.receive();
    });
  }
  static bool within(std::promise<void>& promise) {
    return promise.get_future().wait_for(test::patience) == std::future_status::ready;
  }
  std::promise<void> began;
  std::promise<void> ended;
};

TEST_F(Abandoned, a_function_called_by_erpc_ends_with_the_channel_of_its_caller) {
  a.spawn(
      [](Process& self) -> Task<> { (void)co_await self.call_function("b@test", "jobs", "hold", {}, test::patience); });
  ASSERT_TRUE(within(began));
  disconnect();
  EXPECT_TRUE(within(ended));
}

TEST_F(Abandoned, a_function_called_by_rex_ends_with_the_channel_of_its_caller) {
  a.spawn([](Process& self) -> Task<> {
    const Term call = Term::tuple_of(Atom("call"), Atom("jobs"), Atom("hold"), Term(), Atom("user"));
    (void)co_await self.call(RemoteName("rex", "b@test"), call, test::patience);
  });
  ASSERT_TRUE(within(began));
  disconnect();
  EXPECT_TRUE(within(ended));
}

TEST_F(Abandoned, a_process_that_was_spawned_stays) {
  const auto made = run<Pid>(a, [](Process& self) -> Task<Pid> {
    Process::SpawnOptions options;
    options.monitor = true;
    const auto spawned = co_await self.spawn_on("b@test", RemoteFunction("jobs", "hold"), options);
    co_return spawned->pid;
  });
  ASSERT_TRUE(within(began));
  disconnect();
  ASSERT_TRUE(b.send(made, Atom("over")).has_value());
  EXPECT_TRUE(within(ended)) << "by its message, which a process that is gone does not get";
  EXPECT_EQ(b.counters().dropped_no_process, 0U);
}

/// What a peer answers to a spawn request in a way that no honest one does.
class ForgedSpawns : public Processes {
 protected:
  ForgedSpawns() {
    RemotePort port;
    port.send = [this](const Atom& /*node*/, distribution::Signal&& signal, const Pid& /*key*/) {
      const auto* request = std::get_if<distribution::SpawnRequest>(&signal.control);
      if (request != nullptr) requested.set_value(*request);
      return distribution::SendOutcome::accepted;
    };
    third.set_remote(std::move(port));
    third.start();
    third.node_up("b@test", 1, 77, distribution::flag::published);
    third.node_up("evil@test", 2, 77, distribution::flag::published);
  }
  ~ForgedSpawns() override { third.stop(); }

  /// What the process that asks gets.
  std::future<std::string> ask() {
    auto outcome = std::make_shared<std::promise<std::string>>();
    third.spawn([outcome](Process& self) -> Task<> {
      Process::SpawnOptions options;
      options.monitor = true;
      const auto made = co_await self.spawn_on("b@test", RemoteFunction("jobs", "wait"), options);
      outcome->set_value(made ? to_text(Term(made->pid)) : made.error().message());
    });
    return outcome->get_future();
  }
  distribution::SpawnRequest request() { return requested.get_future().get(); }

  std::promise<distribution::SpawnRequest> requested;
  System third{config("third@test")};
};

TEST_F(ForgedSpawns, the_end_of_a_name_in_place_of_a_process_is_an_error) {
  auto outcome = ask();
  const auto asked = request();
  third.deliver("b@test", 1, {distribution::MonitorExit{Atom("name"), asked.from, asked.request}, Term(Atom("over"))});
  ASSERT_EQ(outcome.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(outcome.get(), "remote_exit: what ended is not a process: {name,b@test}");
}

TEST_F(ForgedSpawns, only_the_node_that_was_asked_answers) {
  auto outcome = ask();
  const auto asked = request();
  const Pid theirs{Atom("evil@test"), 5, 0, 77};
  const Pid ours{Atom("b@test"), 6, 0, 77};
  const std::uint32_t flags = distribution::SpawnReply::flag_monitor;
  third.deliver("evil@test", 2, {distribution::SpawnReply{asked.request, asked.from, flags, theirs}, {}});
  third.deliver("evil@test", 2, {distribution::MonitorExit{theirs, asked.from, asked.request}, Term(Atom("over"))});
  third.deliver("b@test", 1, {distribution::SpawnReply{asked.request, asked.from, flags, ours}, {}});
  ASSERT_EQ(outcome.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(outcome.get(), to_text(Term(ours)));
}

}  // namespace
}  // namespace barrel_p2p::process
