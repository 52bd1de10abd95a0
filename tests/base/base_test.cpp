#include <gtest/gtest.h>
#include <barrel_p2p/error.hpp>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/log.hpp"
#include "base/random.hpp"

namespace barrel_p2p {
namespace {

TEST(Errors, carry_the_names_of_the_erlang_library) {
  EXPECT_EQ(name(Errc::no_process), "noproc");
  EXPECT_EQ(Error(Errc::not_found, "no service a").message(), "not_found: no service a");
  const std::error_code code = Errc::timeout;
  EXPECT_EQ(code.message(), "timeout");
  EXPECT_STREQ(code.category().name(), "barrel_p2p");
}

TEST(Random, stays_inside_of_its_bounds) {
  for (int round = 0; round < 1000; ++round) {
    const auto value = random_between(10, 12);
    EXPECT_GE(value, 10U);
    EXPECT_LE(value, 12U);
  }
  std::array<std::uint8_t, 64> bytes{};
  fill_random(bytes);
  EXPECT_FALSE(std::ranges::all_of(bytes, [](auto byte) { return byte == 0; }));
}

TEST(RateLimit, lets_a_burst_pass_and_counts_what_it_holds_back) {
  RateLimit limit(2, std::chrono::seconds(1));
  const MonotonicTime start{std::chrono::hours(1)};
  EXPECT_TRUE(limit.pass(start));
  EXPECT_TRUE(limit.pass(start));
  EXPECT_FALSE(limit.pass(start));
  EXPECT_FALSE(limit.pass(start + std::chrono::milliseconds(999)));
  std::uint64_t suppressed = 0;
  EXPECT_TRUE(limit.pass(start + std::chrono::seconds(1), &suppressed));
  EXPECT_EQ(suppressed, 2U);
}

}  // namespace
}  // namespace barrel_p2p
