// How processes take turns on one worker.
#include <gtest/gtest.h>
#include <barrel_p2p/await.hpp>
#include <barrel_p2p/process.hpp>

#include <future>

#include "process/system.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::process {
namespace {

using namespace std::chrono_literals;

/// A system of one worker.
class Turns : public testing::Test {
 protected:
  Turns() {
    RemotePort port;
    port.send = [](const Atom& /*node*/, distribution::Signal&& /*signal*/, const Pid& /*key*/) {
      return distribution::SendOutcome::busy;
    };
    system.set_remote(std::move(port));
    system.start();
  }
  ~Turns() override { system.stop(); }
  static SystemConfig config() {
    SystemConfig config;
    config.node = Atom("alone@test");
    config.workers = 1;
    return config;
  }
  System system{config()};
};

TEST_F(Turns, messages_that_nobody_wants_end_a_turn) {
  constexpr int tries_max = 100'000;
  std::atomic<bool> other_ran{false};
  std::promise<int> tries;
  const Pid busy = system.spawn([&](Process& self) -> Task<> {
    int count = 0;
    // Each message that is looked at brings the next one, until another process had a turn.
    const auto unwanted = [&](const Term& message) {
      if (message.is_atom("end") || other_ran || ++count == tries_max) return true;
      (void)system.send(self.pid(), Atom("more"));
      return false;
    };
    (void)co_await self.receive(unwanted);
    tries.set_value(count);
  });
  system.spawn([&, busy](Process& self) -> Task<> {
    co_await self.send(busy, Atom("more"));
    (void)co_await self.receive_for(std::chrono::milliseconds(0));
    other_ran = true;
  });
  auto count = tries.get_future();
  ASSERT_EQ(count.wait_for(test::patience), std::future_status::ready);
  EXPECT_LT(count.get(), tries_max);
}

TEST_F(Turns, who_ends_while_it_waits_to_send_leaves_the_others_in_their_order_and_nothing_else) {
  std::vector<Pid> senders;
  for (int count = 0; count < 3; ++count) {
    std::promise<void> sends;
    senders.push_back(system.spawn([&](Process& self) -> Task<> {
      auto sending = self.send(RemoteName("name", "x@test"), Atom("message"));
      sends.set_value();
      co_await sending;
      (void)co_await self.receive();
    }));
    ASSERT_EQ(sends.get_future().wait_for(test::patience), std::future_status::ready);
  }
  const auto end = [&](const Pid& pid) {
    std::promise<void> ended;
    const Pid watcher = system.spawn_watcher([&](const Ref&, const Pid&, const Term&) { ended.set_value(); });
    (void)system.watch(watcher, pid);
    system.exit(pid, Atom("kill"));
    ASSERT_EQ(ended.get_future().wait_for(test::patience), std::future_status::ready);
  };
  end(senders[1]);
  EXPECT_EQ(system.peers().take_senders(Atom("x@test")), (std::vector{senders[0], senders[2]}));
}

TEST_F(Turns, who_awaits_a_send_later_is_told_that_the_node_takes_more) {
  std::promise<void> sent;
  std::promise<void> done;
  const Pid sender = system.spawn([&](Process& self) -> Task<> {
    auto first = self.send(RemoteName("name", "x@test"), Atom("one"));
    auto second = self.send(RemoteName("name", "y@test"), Atom("two"));
    sent.set_value();
    (void)co_await self.receive();
    co_await second;
    co_await first;
    done.set_value();
  });
  ASSERT_EQ(sent.get_future().wait_for(test::patience), std::future_status::ready);
  system.node_writable(Atom("x@test"));
  system.node_writable(Atom("y@test"));
  ASSERT_TRUE(system.send(sender, Atom("go_on")).has_value());
  EXPECT_EQ(done.get_future().wait_for(test::patience), std::future_status::ready);
}

TEST_F(Turns, who_receives_keeps_up_with_who_sends_on_the_same_worker) {
  constexpr std::size_t count = 20'000;
  std::promise<std::size_t> most;
  const Pid taker = system.spawn([&most](Process& self) -> Task<> {
    std::size_t longest = 0;
    for (std::size_t number = 0; number < count; ++number) {
      (void)co_await self.receive();
      longest = std::max(longest, self.mailbox_size());
    }
    most.set_value(longest);
  });
  system.spawn([taker](Process& self) -> Task<> {
    for (std::size_t number = 0; number < count; ++number) co_await self.send(taker, Term(number));
  });
  auto longest = most.get_future();
  ASSERT_EQ(longest.wait_for(test::patience), std::future_status::ready);
  EXPECT_LT(longest.get(), count / 10) << "a turn of the one sends what a turn of the other takes";
}

TEST_F(Turns, a_message_that_looks_like_the_wake_up_of_an_awaited_answer_is_none) {
  std::function<void(Result<int>)> done;
  std::promise<void> looked;
  std::promise<int> answered;
  system.spawn([&](Process& self) -> Task<> {
    // The references of a node follow each other: who has seen one knows the next.
    Ref guess = self.make_ref();
    ++guess.words[0];
    self.sender()(Term(guess));
    // Runs when this one has looked at the guess and waits.
    self.spawn([&looked](Process& /*other*/) -> Task<> {
      looked.set_value();
      co_return;
    });
    const auto answer = co_await awaited<int>(self, [&done](auto callback) { done = std::move(callback); });
    answered.set_value(answer.value());
  });
  auto has_looked = looked.get_future();
  ASSERT_EQ(has_looked.wait_for(test::patience), std::future_status::ready);
  auto value = answered.get_future();
  EXPECT_EQ(value.wait_for(0s), std::future_status::timeout) << "nobody has answered";
  done(Result<int>(7));
  ASSERT_EQ(value.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(value.get(), 7);
}

TEST(SenderOfAProcess, whose_node_is_gone_sends_to_nobody) {
  std::promise<std::function<void(Term)>> made;
  std::promise<Term> heard;
  {
    SystemConfig config;
    config.node = Atom("short@test");
    System system(config);
    system.start();
    system.spawn([&](Process& self) -> Task<> {
      made.set_value(self.sender());
      heard.set_value(co_await self.receive());
    });
    const auto send = made.get_future().get();
    send(1);
    EXPECT_EQ(heard.get_future().get(), Term(1));
    made = {};
    made.set_value(send);
  }
  made.get_future().get()(2);
}

}  // namespace
}  // namespace barrel_p2p::process
