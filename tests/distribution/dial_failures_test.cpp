#include "distribution/dial_failures.hpp"

#include <gtest/gtest.h>

#include <string>

namespace barrel_p2p::distribution {
namespace {

using namespace std::chrono_literals;

class DialFailuresTest : public testing::Test {
 protected:
  DialFailures failures{200ms, 10s};
  const Atom node{"gone@127.0.0.1"};
  MonotonicTime now{1h};
};

TEST_F(DialFailuresTest, double_the_pause_up_to_the_longest_however_late_the_next_send_comes) {
  for (const auto expected : {200ms, 400ms, 800ms, 1600ms, 3200ms, 6400ms, 10'000ms, 10'000ms}) {
    const auto pause = failures.failed(node, now);
    EXPECT_EQ(pause, expected);
    now += pause + DialFailures::remembered;
  }
}

TEST_F(DialFailuresTest, are_forgotten_when_nobody_dials_for_long_or_the_node_is_reached) {
  failures.failed(node, now);
  EXPECT_EQ(failures.failed(node, now), 400ms);
  failures.reached(node);
  EXPECT_EQ(failures.size(), 0U);
  EXPECT_EQ(failures.failed(node, now), 200ms);
  now += 200ms + DialFailures::remembered + 1ms;
  EXPECT_EQ(failures.failed(node, now), 200ms);
}

TEST_F(DialFailuresTest, never_overflow_the_pause) {
  for (int count = 0; count < 100; ++count) EXPECT_LE(failures.failed(node, now), 10s);
  EXPECT_EQ(failures.failed(node, now), 10s);
}

TEST_F(DialFailuresTest, of_too_many_nodes_forget_the_one_that_failed_longest_ago) {
  failures.failed(node, now);
  failures.failed(node, now);
  for (std::size_t other = 1; other < DialFailures::nodes_max; ++other) {
    failures.failed(Atom("n" + std::to_string(other) + "@127.0.0.1"), now + 1s);
  }
  EXPECT_EQ(failures.size(), DialFailures::nodes_max);
  failures.failed(Atom("one_more@127.0.0.1"), now + 2s);
  EXPECT_EQ(failures.size(), DialFailures::nodes_max);
  EXPECT_EQ(failures.failed(Atom("n1@127.0.0.1"), now + 2s), 400ms) << "is still known";
  EXPECT_EQ(failures.failed(node, now + 2s), 200ms) << "is not";
}

}  // namespace
}  // namespace barrel_p2p::distribution
