// Signals of another node that overtake each other, as those of Erlang nodes do (protocol document 08, section 5.2).
#include <gtest/gtest.h>
#include <barrel_p2p/process.hpp>

#include <array>
#include <atomic>
#include <future>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "distribution/control.hpp"
#include "distribution/flags.hpp"
#include "process/system.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::process {
namespace {

using namespace std::chrono_literals;

/// What an Erlang node tells of a new process may come in another order than it was sent in.
class OvertakenReplies : public testing::Test {
 protected:
  OvertakenReplies() {
    RemotePort port;
    port.send = [this](const Atom& /*node*/, distribution::Signal&& signal, const Pid& /*key*/) {
      const auto* request = std::get_if<distribution::SpawnRequest>(&signal.control);
      if (request != nullptr) requests.at(requested++).set_value(*request);
      const auto* monitor = std::get_if<distribution::Monitor>(&signal.control);
      if (monitor != nullptr) monitored.set_value(*monitor);
      return distribution::SendOutcome::accepted;
    };
    system.set_remote(std::move(port));
    system.start();
    system.node_up("b@test", 1, 4, distribution::flag::published);
  }
  ~OvertakenReplies() override { system.stop(); }
  static SystemConfig config() {
    SystemConfig config;
    config.node = Atom("a@test");
    config.creation = 77;
    config.workers = 2;
    return config;
  }
  static Process::SpawnOptions link_and_monitor() {
    Process::SpawnOptions options;
    options.link = true;
    options.monitor = true;
    return options;
  }
  static Pid child(std::uint32_t number) { return {Atom("b@test"), number, 0, 4}; }
  distribution::SpawnRequest request(std::size_t number) { return requests.at(number).get_future().get(); }

  void tell_exit(const distribution::SpawnRequest& asked, const Pid& from, std::uint64_t epoch = 1) {
    system.deliver("b@test", epoch, {distribution::Exit{from, asked.from}, Term(Atom("boom"))});
  }
  void tell_down(const distribution::SpawnRequest& asked, const Pid& from) {
    system.deliver("b@test", 1, {distribution::MonitorExit{from, asked.from, asked.request}, Term(Atom("boom"))});
  }
  void tell_reply(const distribution::SpawnRequest& asked, distribution::PidOrName result, std::uint64_t epoch = 1) {
    using distribution::SpawnReply;
    const bool made = std::holds_alternative<Pid>(result);
    const std::uint32_t flags = made ? SpawnReply::flag_link | SpawnReply::flag_monitor : 0;
    system.deliver("b@test", epoch, {SpawnReply{asked.request, asked.from, flags, std::move(result)}, {}});
  }
  /// E: the exit of the link, D: the end of the monitored, R: the reply.
  void tell(const distribution::SpawnRequest& asked, std::string_view order) {
    for (const char what : order) {
      if (what == 'E') tell_exit(asked, child(5));
      if (what == 'D') tell_down(asked, child(5));
      if (what == 'R') tell_reply(asked, child(5));
    }
  }

  std::atomic<std::size_t> requested{0};
  std::array<std::promise<distribution::SpawnRequest>, 2> requests;
  std::promise<distribution::Monitor> monitored;
  System system{config()};
};

/// Calls a server that ends: what comes of it, and how long after its end.
class OvertakenAnswers : public OvertakenReplies {
 protected:
  struct Ended {
    CallOutcome outcome;
    MonotonicTime at;
  };
  OvertakenAnswers() {
    system.spawn([this](Process& self) -> Task<> {
      auto outcome = co_await self.run_call(child(5), 1, test::patience);
      ended.set_value({std::move(outcome), monotonic_now()});
    });
  }
  Ended end() {
    auto future = ended.get_future();
    EXPECT_EQ(future.wait_for(test::patience), std::future_status::ready);
    return future.get();
  }
  std::promise<Ended> ended;
};

TEST_F(OvertakenAnswers, are_waited_for_as_long_as_a_far_node_takes) {
  const auto call = monitored.get_future().get();
  const auto told = monotonic_now();
  system.deliver("b@test", 1, {distribution::MonitorExit{child(5), call.from, call.ref}, Term(Atom("normal"))});
  const auto result = end();
  EXPECT_EQ(result.outcome.kind, CallOutcome::Kind::ended);
  EXPECT_GE(result.at - told, 250ms);
}

TEST_F(OvertakenAnswers, that_come_meanwhile_are_taken) {
  const auto call = monitored.get_future().get();
  system.deliver("b@test", 1, {distribution::MonitorExit{child(5), call.from, call.ref}, Term(Atom("normal"))});
  const Term tag = Term::list(std::vector<Term>(1, Atom("alias")), call.ref);
  system.deliver("b@test", 1, {distribution::SendAlias{child(5), call.ref}, Term::tuple_of(tag, Atom("answer"))});
  const auto result = end();
  EXPECT_EQ(result.outcome.kind, CallOutcome::Kind::returned);
  EXPECT_EQ(result.outcome.value, Term(Atom("answer")));
}

class Orders : public OvertakenReplies, public testing::WithParamInterface<const char*> {};

TEST_P(Orders, the_end_of_a_new_process_ends_who_is_linked_to_it) {
  std::promise<Term> ended;
  const Pid watcher = system.spawn_watcher(
      [&](const Ref& /*watch*/, const Pid& /*pid*/, const Term& reason) { ended.set_value(reason); });
  const Pid asks = system.spawn([](Process& self) -> Task<> {
    (void)co_await self.spawn_on("b@test", RemoteFunction("jobs", "crash"), link_and_monitor(), test::patience);
    for (;;) co_await self.receive();
  });
  (void)system.watch(watcher, asks);
  tell(request(0), GetParam());
  auto reason = ended.get_future();
  ASSERT_EQ(reason.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(reason.get(), Term(Atom("boom")));
  system.stop();  // the watcher goes before what it refers to
}

TEST_P(Orders, the_end_of_a_new_process_is_told_by_link_and_monitor_once_each) {
  std::promise<std::set<std::string>> told;
  system.spawn([&](Process& self) -> Task<> {
    self.trap_exit(true);
    const auto made =
        co_await self.spawn_on("b@test", RemoteFunction("jobs", "crash"), link_and_monitor(), test::patience);
    std::set<std::string> messages{to_text(Term(made->pid))};
    while (messages.size() < 4) {
      const Term message = co_await self.receive();
      const bool added = messages.insert(to_text(message.is_tuple() ? message[0] : message)).second;
      if (!added) break;
    }
    told.set_value(messages);
  });
  const auto asked = request(0);
  tell(asked, GetParam());
  ASSERT_TRUE(system.send(asked.from, Atom("that_is_all")).has_value());
  auto messages = told.get_future();
  ASSERT_EQ(messages.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(messages.get(), (std::set<std::string>{to_text(Term(child(5))), "'EXIT'", "'DOWN'", "that_is_all"}));
}

INSTANTIATE_TEST_SUITE_P(, Orders, testing::Values("RED", "ERD", "EDR", "DR", "DER", "DRE"),
                         [](const auto& order) { return std::string(order.param); });

/// How a request ends that an early exit was kept for.
class Leftovers : public OvertakenReplies, public testing::WithParamInterface<const char*> {};

TEST_P(Leftovers, of_early_exits_end_nobody_who_gets_a_process_of_the_same_pid_later) {
  std::promise<Pid> made;
  std::promise<void> lives;
  system.spawn([&](Process& self) -> Task<> {
    (void)co_await self.spawn_on("b@test", RemoteFunction("jobs", "wait"), link_and_monitor(), test::patience);
    const auto second =
        co_await self.spawn_on("b@test", RemoteFunction("jobs", "wait"), link_and_monitor(), test::patience);
    made.set_value(second->pid);
    (void)co_await self.receive(tagged("are_you_there", 1));
    lives.set_value();
  });
  const auto first = request(0);
  tell_exit(first, child(5));
  const std::string_view end = GetParam();
  const bool lost = end == "lost";
  if (lost) {
    system.node_down("b@test", 1);
    system.node_up("b@test", 2, 4, distribution::flag::published);
  } else if (end == "refused") {
    tell_reply(first, Atom("system_limit"));
  } else {
    tell_reply(first, child(6));
  }
  const auto second = request(1);
  tell_reply(second, child(5), lost ? 2 : 1);
  auto got = made.get_future();
  ASSERT_EQ(got.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(got.get(), child(5));
  ASSERT_TRUE(system.send(second.from, Term::tuple({Atom("are_you_there")})).has_value());
  EXPECT_EQ(lives.get_future().wait_for(test::patience), std::future_status::ready);
}

INSTANTIATE_TEST_SUITE_P(, Leftovers, testing::Values("lost", "refused", "another"),
                         [](const auto& end) { return std::string(end.param); });

}  // namespace
}  // namespace barrel_p2p::process
