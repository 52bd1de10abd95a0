// Which worker runs which process, and that all of them come to an end.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "process/system.hpp"
#include "support/patience.hpp"
#include "support/sanitized.hpp"

namespace barrel_p2p::process {
namespace {

using namespace std::chrono_literals;

/// A system of two workers.
class TwoWorkers : public testing::Test {
 protected:
  TwoWorkers() : system_(config()) { system_.start(); }
  ~TwoWorkers() override {
    enough_ = true;
    system_.stop();
  }

  static SystemConfig config() {
    SystemConfig config;
    config.node = Atom("a@test");
    config.workers = 2;
    return config;
  }

  /// What a process does for a message that takes it so long.
  static void compute(std::chrono::nanoseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) continue;
  }

  /// Two processes that do the same. The second one is kept by the worker of the first.
  void spawn_two(const ProcessFunction& work) {
    system_.spawn([work](Process& self) -> Task<> {
      self.spawn(work);
      co_await work(self);
    });
  }

  // What processes look at lives longer than they.
  std::atomic<bool> enough_{false};
  std::atomic<int> at_work_{0};
  std::atomic<bool> both_{false};
  std::atomic<bool> sends_{false};
  std::atomic<std::thread::id> receiver_{};
  std::atomic<int> together_{0};  ///< Messages in a row that were sent where one was last received.
  std::promise<void> ran_;
  System system_;
};

TEST_F(TwoWorkers, who_would_wait_for_long_is_given_to_the_other_worker) {
  const auto work = [this](Process& self) -> Task<> {
    while (!enough_) {
      if (++at_work_ == 2) both_ = true;
      compute(300ns);
      --at_work_;
      co_await self.send(self.pid(), 1);
      co_await self.receive();
    }
  };
  // A turn of each takes a tenth of a millisecond: too long for the
  // other one, and too short for somebody who looks for workers that do not get on.
  spawn_two(work);
  EXPECT_TRUE(test::becomes_true([&] { return both_.load(); }));
}

TEST_F(TwoWorkers, a_process_that_computes_holds_nobody_back) {
  system_.spawn([this](Process& self) -> Task<> {
    self.spawn([this](Process& /*other*/) -> Task<> {
      ran_.set_value();
      co_return;
    });
    while (!enough_) compute(100us);
    co_return;
  });
  EXPECT_EQ(ran_.get_future().wait_for(test::patience), std::future_status::ready);
}

TEST_F(TwoWorkers, nor_does_one_that_computes_after_they_took_turns_for_long) {
  const auto work = [this](Process& self) -> Task<> {
    const auto end = std::chrono::steady_clock::now() + 200ms;  // nobody looks around any more
    while (!enough_) {
      if (at_work_ == 1) both_ = true;
      if (std::chrono::steady_clock::now() > end && at_work_.exchange(1) == 0) {
        while (!enough_) compute(100us);
      }
      co_await self.send(self.pid(), 1);
      co_await self.receive();
    }
  };
  spawn_two(work);
  EXPECT_TRUE(test::becomes_true([&] { return both_.load(); }));
}

TEST_F(TwoWorkers, who_sends_short_messages_comes_to_the_worker_of_whom_they_are_for) {
  if (test::sanitized) GTEST_SKIP() << "a turn takes so long under a sanitizer that the two stay apart";
  const Pid sink = system_.spawn([this](Process& self) -> Task<> {
    while (!sends_) compute(1us);  // so that the other one begins elsewhere
    for (;;) {
      co_await self.receive();
      receiver_ = std::this_thread::get_id();
    }
  });
  system_.spawn([this, sink](Process& self) -> Task<> {
    sends_ = true;
    while (!enough_) {
      together_ = receiver_.load() == std::this_thread::get_id() ? together_ + 1 : 0;
      co_await self.send(sink, 1);
    }
  });
  constexpr int turns = 100;
  EXPECT_TRUE(test::becomes_true([&] { return together_ > turns * 256; }));
}

TEST(System, stops_with_many_live_processes) {
  SystemConfig config;
  config.node = Atom("stop@test");
  config.workers = 2;
  System system(config);
  system.start();
  for (int number = 0; number < 10'000; ++number) {
    system.spawn([](Process& self) -> Task<> {
      for (;;) co_await self.receive();
    });
  }
  system.stop();
  EXPECT_EQ(system.process_count(), 0U);
}

}  // namespace
}  // namespace barrel_p2p::process
