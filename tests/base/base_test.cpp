#include <gtest/gtest.h>
#include <barrel_p2p/error.hpp>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/buffer_pool.hpp"
#include "base/log.hpp"
#include "base/printable.hpp"
#include "base/random.hpp"
#include "base/token_bucket.hpp"

namespace barrel_p2p {
namespace {

TEST(Errors, carry_the_names_of_the_erlang_library) {
  EXPECT_EQ(name(Errc::no_process), "noproc");
  EXPECT_EQ(Error(Errc::not_found, "no service a").message(), "not_found: no service a");
  const std::error_code code = Errc::timeout;
  EXPECT_EQ(code.message(), "timeout");
  EXPECT_STREQ(code.category().name(), "barrel_p2p");
}

TEST(TextOfPeers, is_shown_without_what_acts_on_a_terminal_or_reads_as_something_else) {
  EXPECT_EQ(without_controls(""), "");
  EXPECT_EQ(without_controls("0.1\x1b[2J\n\x7f\xc2\x9b\xc3\xa9"), "0.1?[2J???\xc3\xa9");
  EXPECT_EQ(without_controls("\xc2\x80\xc2\x9f\xc2\xa0"), "??\xc2\xa0");
  EXPECT_EQ(without_controls("\xc2\n\xc2"), "\xc2?\xc2") << "no character";
  for (const std::string override : {"\u202a", "\u202e", "\u2066", "\u2069"}) {
    EXPECT_EQ(without_controls("a" + override + "gpj.exe"), "a?gpj.exe");
  }
  for (const std::string other : {"\u2029", "\u202f", "\u2065", "\u206a", "\xe2", "\xe2\x80", "\xe2\x81"}) {
    EXPECT_EQ(without_controls(other), other);
  }
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

TEST(TokenBucket, gives_what_a_second_brings_at_once_and_then_at_its_rate) {
  MonotonicTime now = monotonic_now();
  TokenBucket bucket(10, now);
  for (int taken = 0; taken < 10; ++taken) EXPECT_TRUE(bucket.take(now));
  EXPECT_FALSE(bucket.take(now));
  EXPECT_EQ(bucket.when(1), now + std::chrono::milliseconds(100));
  now += std::chrono::milliseconds(99);
  EXPECT_FALSE(bucket.take(now));
  now += std::chrono::milliseconds(1);
  EXPECT_TRUE(bucket.take(now));
  EXPECT_FALSE(bucket.take(now - std::chrono::hours(1))) << "time that goes back brings nothing";
  bucket.give_back();
  EXPECT_LE(bucket.when(1), now);
  EXPECT_TRUE(bucket.take(now));
  now += std::chrono::hours(1);
  for (int taken = 0; taken < 10; ++taken) EXPECT_TRUE(bucket.take(now));
  EXPECT_FALSE(bucket.take(now)) << "it holds no more than a second's";
}

TEST(TokenBucket, without_a_rate_has_no_end) {
  TokenBucket bucket(0, MonotonicTime{});
  for (int taken = 0; taken < 1000; ++taken) EXPECT_TRUE(bucket.take(MonotonicTime{}));
}

TEST(BufferPoolTest, keeps_what_comes_back_for_the_next_and_not_for_ever) {
  BufferPool pool;
  constexpr std::size_t bytes = 1024UL * 1024;
  Bytes first = pool.take(bytes);
  const auto* const place = first.data();
  pool.give_back(std::move(first));
  EXPECT_EQ(pool.kept_bytes(), bytes);
  pool.drop_unused(monotonic_now());
  Bytes again = pool.take(bytes);
  EXPECT_EQ(again.data(), place);
  EXPECT_EQ(pool.kept_bytes(), 0U);
  pool.give_back(std::move(again));
  pool.give_back(pool.take(2 * bytes));
  EXPECT_EQ(pool.kept_bytes(), 3 * bytes) << "the first one is too small";
  pool.drop_unused(monotonic_now() + std::chrono::seconds(11));
  EXPECT_EQ(pool.kept_bytes(), 0U);
}

}  // namespace
}  // namespace barrel_p2p
