// Proxies of one node for services of another: calls, casts and messages through them, and how they end.
#include "services/proxy.hpp"

#include <gtest/gtest.h>

#include <barrel_p2p/process.hpp>
#include <chrono>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "services/processes.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;

/// Answers `ping` with `pong` and `{number, N}` with N; answers `together` when `N` of it have come (`{together, N}`),
/// the last first; ends on `crash`; answers `bye` and ends; keeps what is no call and hands it out on `heard`; leaves
/// everything else unanswered.
Task<> service(Process& self) {
  std::vector<CallFrom> together;
  std::int64_t crashes = 0;
  std::vector<Term> heard;
  for (;;) {
    const Term message = co_await self.receive();
    const auto call = as_call(message);
    if (!call) {
      heard.push_back(message);
      continue;
    }
    const Term& request = call->second;
    if (request.is_atom("ping")) co_await reply(self, call->first, Atom("pong"));
    if (request.is_tagged("number", 2)) co_await reply(self, call->first, Term(request[1]));
    if (request.is_atom("heard")) co_await reply(self, call->first, Term::list(heard));
    if (request.is_tagged("crash", 2) && ++crashes == *request[1].as_int64()) throw ExitProcess{Atom("crashed")};
    if (request.is_atom("bye")) {
      co_await reply(self, call->first, Atom("goodbye"));
      co_return;
    }
    if (request.is_tagged("together", 2)) {
      together.push_back(call->first);
      if (static_cast<std::int64_t>(together.size()) < *request[1].as_int64()) continue;
      for (; !together.empty(); together.pop_back()) co_await reply(self, together.back(), Atom("all"));
    }
  }
}

class ProxyTest : public test::TwoSystems {
 protected:
  ProxyTest() {
    start();
    target = b.spawn(service);
    proxy = proxies.ensure(Atom("svc"), target)->pid;
  }

  Result<Term> call(const Term& request, std::chrono::milliseconds limit = 10s) { return call(a, request, limit); }
  Result<Term> call(process::System& from, const Term& request, std::chrono::milliseconds limit = 10s) {
    return run<Result<Term>>(from, [this, request, limit](Process& self) -> Task<Result<Term>> {
      Result<Term> answer = co_await self.call(proxy, request, limit);
      co_return answer;
    });
  }
  /// So many processes call at once; what each got, as text.
  std::vector<std::string> call_at_once(int count, const Term& request, std::chrono::milliseconds limit = 10s) {
    return run<std::vector<std::string>>(
        a, [this, count, request, limit](Process& self) -> Task<std::vector<std::string>> {
          for (int number = 0; number < count; ++number) {
            self.spawn([this, parent = self.pid(), request, limit](Process& caller) -> Task<> {
              const Result<Term> answer = co_await caller.call(proxy, request, limit);
              const std::string text = answer ? to_text(*answer) : answer.error().message();
              co_await caller.send(parent, Term(text));
            });
          }
          std::vector<std::string> answers;
          for (int number = 0; number < count; ++number) {
            const Term answer = co_await self.receive();
            answers.emplace_back(*answer.as_text());
          }
          co_return answers;
        });
  }

  Proxies proxies{a};
  Pid target;
  Pid proxy;
};

TEST_F(ProxyTest, the_service_answers_a_call_as_if_it_had_been_asked_itself) {
  EXPECT_EQ(call(Atom("ping")), Term(Atom("pong")));
  EXPECT_EQ(call(b, Atom("ping")), Term(Atom("pong"))) << "from the service's own node";
}

TEST_F(ProxyTest, casts_and_all_other_messages_arrive_in_order) {
  const auto heard = run<Term>(a, [this](Process& self) -> Task<Term> {
    co_await self.send(proxy, Atom("plain"));
    co_await self.cast(proxy, 1);
    co_await self.send(proxy, Term::tuple_of(Atom("DOWN"), self.make_ref(), Atom("process"), self.pid(), Atom("x")));
    co_await self.send(proxy, Atom("$gen_call"));
    const Result<Term> answer = co_await self.call(proxy, Atom("heard"));
    co_return answer.value();
  });
  ASSERT_EQ(heard.size(), 4U);
  EXPECT_EQ(heard[0], Term(Atom("plain")));
  EXPECT_EQ(heard[1], Term::tuple({Atom("$gen_cast"), 1}));
  EXPECT_TRUE(heard[2].is_tagged("DOWN", 5)) << "of another monitor than the proxy's";
  EXPECT_EQ(heard[3], Term(Atom("$gen_call")));
}

TEST_F(ProxyTest, calls_wait_beside_each_other) {
  const auto answers = call_at_once(100, Term::tuple({Atom("together"), 100}));
  EXPECT_EQ(answers, std::vector<std::string>(100, "all"));
}

TEST_F(ProxyTest, each_call_has_the_time_limit_of_its_caller) {
  EXPECT_EQ(call(Atom("nothing"), 20ms).error(), Errc::timeout);
  EXPECT_EQ(call(Atom("ping")), Term(Atom("pong")));
}

TEST_F(ProxyTest, a_thousand_calls_pass_one_proxy) {
  const auto sum = run<std::int64_t>(a, [this](Process& self) -> Task<std::int64_t> {
    for (int caller = 0; caller < 10; ++caller) {
      self.spawn([this, caller, parent = self.pid()](Process& child) -> Task<> {
        std::int64_t got = 0;
        for (int number = 0; number < 100; ++number) {
          const Result<Term> answer = co_await child.call(proxy, Term::tuple_of(Atom("number"), caller * 100 + number));
          got += answer.value().as_int64().value();
        }
        co_await child.send(parent, Term(got));
      });
    }
    std::int64_t all = 0;
    for (int caller = 0; caller < 10; ++caller) {
      const Term got = co_await self.receive();
      all += *got.as_int64();
    }
    co_return all;
  });
  EXPECT_EQ(sum, 999 * 1000 / 2);
}

TEST_F(ProxyTest, when_the_service_dies_all_who_wait_hear_why_and_the_proxy_is_gone) {
  const auto begin = std::chrono::steady_clock::now();
  const auto answers = call_at_once(50, Term::tuple({Atom("crash"), 50}), 60s);
  EXPECT_EQ(answers, std::vector<std::string>(50, "remote_exit: crashed"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, test::patience) << "and not when their time is over";
  EXPECT_EQ(end_of(a, proxy), Term(Atom("noproc")));
  EXPECT_EQ(proxies.get(Atom("svc")), std::nullopt);
  EXPECT_EQ(proxies.size(), 0U);
  EXPECT_EQ(call(Atom("ping")).error(), Errc::no_process);
}

TEST_F(ProxyTest, an_answer_that_is_followed_by_the_end_still_arrives) {
  EXPECT_EQ(call(Atom("bye")), Term(Atom("goodbye")));
  (void)end_of(a, proxy);
  EXPECT_EQ(call(Atom("ping")).error(), Errc::no_process);
}

TEST_F(ProxyTest, a_lost_connection_ends_the_proxy_and_its_calls) {
  std::promise<void> asked;
  const Pid silent = b.spawn([&asked](Process& self) -> Task<> {
    co_await self.receive();
    asked.set_value();
    co_await self.receive();
  });
  proxy = proxies.ensure(Atom("silent"), silent)->pid;
  std::thread breaker([&] {
    asked.get_future().wait();
    disconnect();
  });
  EXPECT_EQ(call(Atom("nothing")).error(), Errc::no_connection);
  breaker.join();
  EXPECT_EQ(proxies.get(Atom("silent")), std::nullopt);
}

TEST_F(ProxyTest, there_is_one_proxy_a_name_until_its_service_ends) {
  const Pid other = b.spawn(service);
  const auto same = proxies.ensure(Atom("svc"), other);
  EXPECT_EQ(same->pid, proxy);
  EXPECT_FALSE(same->made);
  EXPECT_NE(proxies.ensure("svc", other)->pid, proxy) << "a binary is another name";
  b.exit(target, Atom("kill"));
  (void)end_of(a, proxy);
  const auto next = proxies.ensure(Atom("svc"), other);
  EXPECT_TRUE(next->made);
  proxy = next->pid;
  EXPECT_EQ(call(Atom("ping")), Term(Atom("pong")));
}

TEST_F(ProxyTest, a_proxy_for_nobody_ends_at_once) {
  Pid nobody = target;
  nobody.id += 1000;
  const Pid made = proxies.ensure(Atom("nobody"), nobody)->pid;
  EXPECT_EQ(end_of(a, made), Term(Atom("noproc")));
  EXPECT_EQ(proxies.get(Atom("nobody")), std::nullopt);
}

TEST_F(ProxyTest, a_proxy_that_is_stopped_ends_with_shutdown_and_leaves_the_service_alone) {
  const auto reason = run<Term>(a, [this](Process& self) -> Task<Term> {
    self.monitor(proxy);
    const Result<Term> before = co_await self.call(proxy, Atom("ping"));
    EXPECT_TRUE(before.has_value());
    EXPECT_TRUE(proxies.stop(Atom("svc")));
    EXPECT_EQ(proxies.get(Atom("svc")), std::nullopt);
    const Term down = co_await self.receive();
    co_return Term(down[4]);
  });
  EXPECT_EQ(reason, Term(Atom("shutdown")));
  EXPECT_FALSE(proxies.stop(Atom("svc")));
  EXPECT_TRUE(b.is_alive(target));
}

TEST_F(ProxyTest, proxies_are_bounded) {
  Proxies few(a, 2);
  EXPECT_TRUE(few.ensure(Atom("one"), target).has_value());
  EXPECT_TRUE(few.ensure(Atom("two"), target).has_value());
  EXPECT_EQ(few.ensure(Atom("three"), target).error(), Errc::limit_exceeded);
  EXPECT_TRUE(few.ensure(Atom("two"), target).has_value()) << "that exists";
}

}  // namespace
}  // namespace barrel_p2p::services
