#include "node/busy_poll.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using node::BusyPoll;

constexpr auto budget = 100us;

class BusyPolling : public testing::Test {
 protected:
  /// How long it looks in vain.
  std::chrono::microseconds looks_in_vain() {
    poll.wait_from(now);
    const auto from = now;
    do {
      now += 1us;
    } while (poll.go_on(now));
    return std::chrono::duration_cast<std::chrono::microseconds>(now - from);
  }
  /// How often the thread sleeps at once before it looks again.
  int sleeps_at_once() {
    int count = 0;
    while (!poll.begin()) ++count;
    return count;
  }
  MonotonicTime now = monotonic_now();
  BusyPoll poll{budget};
};

TEST_F(BusyPolling, ends_after_its_budget) {
  sleeps_at_once();
  EXPECT_EQ(looks_in_vain(), budget);
}

TEST_F(BusyPolling, becomes_rarer_while_it_finds_nothing) {
  sleeps_at_once();
  for (const int expected : {2, 4, 8, 16, 32, 64, 64}) {
    looks_in_vain();
    EXPECT_EQ(sleeps_at_once(), expected);
  }
}

TEST_F(BusyPolling, goes_on_each_time_once_it_found_something_that_was_not_there_before) {
  sleeps_at_once();
  looks_in_vain();
  sleeps_at_once();
  poll.wait_from(now);
  EXPECT_TRUE(poll.go_on(now + 1us));
  poll.found();
  EXPECT_EQ(sleeps_at_once(), 0);
  looks_in_vain();
  EXPECT_EQ(sleeps_at_once(), 1);
}

TEST_F(BusyPolling, does_not_count_what_was_there_already) {
  sleeps_at_once();
  looks_in_vain();
  EXPECT_EQ(sleeps_at_once(), 2);
  poll.wait_from(now);
  poll.found();
  looks_in_vain();
  EXPECT_EQ(sleeps_at_once(), 4);
}

TEST_F(BusyPolling, leaves_its_core_to_who_took_it) {
  sleeps_at_once();
  poll.wait_from(now);
  EXPECT_TRUE(poll.go_on(now + 1us));
  EXPECT_FALSE(poll.go_on(now + 31us));
  EXPECT_GT(sleeps_at_once(), 0);
}

TEST(BusyPollOff, never_looks) {
  BusyPoll poll(0us);
  for (int turn = 0; turn < 1000; ++turn) EXPECT_FALSE(poll.begin());
}

}  // namespace
}  // namespace barrel_p2p
