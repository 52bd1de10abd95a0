// The hybrid logical clock against recordings of the Erlang implementation, and what it does better.
#include "replication/clock.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <boost/json.hpp>
#include <limits>
#include <set>
#include <string>

#include "support/vectors.hpp"

namespace barrel_p2p::replication {
namespace {

using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;
using barrel_p2p::test::text_of;

Term term_of(const boost::json::value& row, std::string_view key) { return *parse_term(text_of(row, key)); }

/// A sequence ends where the Erlang clock would end its process or become something else than two integers.
bool can_go_on(const Term& result, const boost::json::value& step) {
  if (result.is_tagged("clock_process_exited", 2)) return false;
  return !step.as_object().contains("remote") || timestamp_of(term_of(step, "remote")).has_value();
}

void replay(const boost::json::value& test) {
  HybridClockConfig config;
  config.skew_max = Milliseconds(test.at("maxoffset").to_number<std::int64_t>());
  HybridClock clock(config);
  auto physical = test.at("initial_phys").to_number<WallMilliseconds>();
  for (const auto& step : test.at("steps").as_array()) {
    const auto name = text_of(test, "name");
    const auto operation = text_of(step, "op");
    if (operation == "set_phys") {
      physical = step.at("phys").to_number<WallMilliseconds>();
      continue;
    }
    const Term result = term_of(step, "result");
    if (!can_go_on(result, step)) return;
    if (operation == "now") {
      EXPECT_EQ(to_text(to_term(clock.now(physical))), to_text(result)) << name;
    } else {
      const bool taken = clock.observe(*timestamp_of(term_of(step, "remote")), physical).has_value();
      EXPECT_EQ(taken, result.is_tagged("ok", 2)) << name;
      // One step before its end the Erlang clock counts on, ours rolls over.
      if (!timestamp_of(result[1])) return;
      EXPECT_EQ(to_text(to_term(clock.last())), to_text(result[1])) << name;
    }
  }
}

}  // namespace

TEST(HybridClock, ticks_as_recorded) {
  std::size_t count = 0;
  const auto recorded = read_vectors("crdt-hlc.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "kind") != "sequence") continue;
    replay(row);
    ++count;
  }
  EXPECT_EQ(count, 27U);
}

TEST(Timestamps, are_packed_and_compared_as_recorded) {
  std::set<std::string> kinds;
  const auto recorded = read_vectors("crdt-hlc.json");
  for (const auto& row : recorded.as_array()) {
    const auto kind = text_of(row, "kind");
    if (kind == "pack") {
      const auto stamp = timestamp_of(term_of(row, "term"));
      if (!stamp) continue;  // numbers beyond the range
      EXPECT_EQ(encode_term(to_term(*stamp)), from_hex(text_of(row, "etf_hex")));
      const auto packed = pack(*stamp);
      EXPECT_EQ(barrel_p2p::test::to_hex(packed), text_of(row, "to_binary_hex"));
      EXPECT_EQ(encode_term(packed_term(*stamp)), from_hex(text_of(row, "pack_etf_hex")));
      EXPECT_EQ(unpack(packed), *stamp);
      kinds.insert(kind);
    } else if (kind == "compare") {
      const auto left = timestamp_of(term_of(row, "a"));
      const auto right = timestamp_of(term_of(row, "b"));
      if (!left || !right) continue;
      const auto result = text_of(row, "result");
      EXPECT_EQ(*left < *right, result == "lt");
      EXPECT_EQ(*left == *right, result == "eq");
      kinds.insert(kind);
    }
  }
  EXPECT_EQ(kinds.size(), 2U);
}

TEST(Timestamps, out_of_range_are_refused) {
  for (const char* text :
       {"{timestamp,abc,0}", "{timestamp,-1,0}", "{timestamp,1.0,0}", "{timestamp,1,-1}", "{timestamp,1,2147483647}",
        "{timestamp,9223372036854775808,0}", "{timestamp,1}", "{stamp,1,0}", "1", "{timestamp,[],0}"}) {
    EXPECT_EQ(timestamp_of(*parse_term(text)).error(), Errc::malformed_term) << text;
  }
  EXPECT_TRUE(timestamp_of(*parse_term("{timestamp,9223372036854775807,2147483646}")));
}

RC_GTEST_PROP(HybridClock, every_stamp_is_greater_than_all_that_were_given_or_seen, ()) {
  HybridClockConfig config;
  config.skew_max = Milliseconds(0);
  HybridClock clock(config);
  Timestamp greatest;
  const auto steps = *rc::gen::inRange(1, 100);
  for (int step = 0; step < steps; ++step) {
    const auto physical = *rc::gen::inRange<WallMilliseconds>(0, 50);
    if (*rc::gen::arbitrary<bool>()) {
      const Timestamp remote{*rc::gen::inRange<WallMilliseconds>(0, 60),
                             *rc::gen::element(0U, 1U, 7U, Timestamp::logical_max)};
      RC_ASSERT(clock.observe(remote, physical));
      RC_ASSERT(clock.last() > remote);
    }
    const auto stamp = clock.now(physical);
    RC_ASSERT(stamp > greatest);
    RC_ASSERT(stamp.logical <= Timestamp::logical_max);
    greatest = stamp;
  }
}

TEST(HybridClock, counts_over_into_the_wall) {
  HybridClock clock;
  ASSERT_TRUE(clock.observe({1000, Timestamp::logical_max}, 1000));
  EXPECT_EQ(clock.last(), (Timestamp{1001, 0}));
}

TEST(HybridClock, one_bad_clock_does_not_move_ours) {
  HybridClock clock;
  clock.now(1'000'000);
  EXPECT_EQ(clock.observe({1'000'000 + 3'600'001, 0}, 1'000'000).error(), Errc::limit_exceeded);
  EXPECT_EQ(clock.last(), (Timestamp{1'000'000, 0}));
  EXPECT_TRUE(clock.observe({1'000'000 + 3'600'000, 0}, 1'000'000));
}

TEST(HybridClock, resumes_behind_its_mark_after_a_restart) {
  HybridClock clock;
  ASSERT_TRUE(clock.observe({50'000, 3}, 1000));  // ahead of the system's clock
  const auto before = clock.now(1000);
  const auto mark = clock.take_mark();
  ASSERT_TRUE(mark);
  HybridClockConfig config;
  config.start = mark->wall;
  HybridClock again(config);
  EXPECT_GT(again.now(1001), before);
}

TEST(HybridClock, asks_for_a_new_mark_before_the_old_one_is_reached) {
  HybridClock clock;
  clock.now(10'000);
  EXPECT_EQ(clock.take_mark(), (ClockMark{15'000, true}));
  clock.now(12'000);
  EXPECT_FALSE(clock.take_mark());
  clock.now(13'000);
  EXPECT_EQ(clock.take_mark(), (ClockMark{18'000, false}));
}

TEST(HybridClock, is_in_a_hurry_for_its_mark_when_stamps_are_beyond_what_is_on_disk) {
  HybridClock clock;
  clock.now(10'000);
  ASSERT_EQ(clock.take_mark(), (ClockMark{15'000, true}));
  clock.now(13'000);
  ASSERT_EQ(clock.take_mark(), (ClockMark{18'000, false}));
  clock.now(15'001);
  EXPECT_EQ(clock.take_mark(), (ClockMark{18'000, true})) << "it is under way, and must have arrived";
  EXPECT_FALSE(clock.take_mark()) << "who takes it sees to it";
  clock.now(16'000);
  ASSERT_EQ(clock.take_mark(), (ClockMark{21'000, false}));
  clock.mark_written(21'000);
  clock.mark_written(18'000);
  clock.now(18'100);
  EXPECT_FALSE(clock.take_mark()) << "it has arrived";
  clock.now(40'000);
  EXPECT_EQ(clock.take_mark(), (ClockMark{45'000, true})) << "after a pause";
  ASSERT_TRUE(clock.observe({90'000, 0}, 40'001));
  EXPECT_EQ(clock.take_mark(), (ClockMark{91'000, true})) << "of another node's clock";
  ASSERT_TRUE(clock.observe({92'000, 0}, 40'002));
  EXPECT_EQ(clock.take_mark(), (ClockMark{94'000, true})) << "and a moment later";
}

// A mark that is in a hurry costs a write that all wait for.
TEST(HybridClock, greater_and_greater_stamps_of_another_node_cost_few_marks) {
  HybridClock clock;
  constexpr WallMilliseconds time = 1'000'000;
  clock.now(time);
  int awaited = 0;
  for (WallMilliseconds ahead = 0; ahead < 3'600'000; ahead += 2000) {
    ASSERT_TRUE(clock.observe({time + ahead, 0}, time + ahead / 10'000));
    const auto mark = clock.take_mark();
    if (!mark) continue;
    if (mark->urgent) ++awaited;
    EXPECT_LE(mark->wall, time + ahead + 64'000);
    clock.mark_written(mark->wall);
  }
  EXPECT_LT(awaited, 100) << "of 1,800 stamps";
  clock.now(time + 3'700'000);
  EXPECT_EQ(clock.take_mark(), (ClockMark{time + 3'705'000, true}));
}

// Who reads the mark takes it for the end of the life before.
TEST(HybridClock, asks_for_no_mark_before_its_first_stamp) {
  HybridClockConfig config;
  EXPECT_FALSE(HybridClock(config).take_mark());
  config.start = 50'000;
  HybridClock clock(config);
  EXPECT_FALSE(clock.take_mark());
  clock.now(1000);  // of a clock that was set back: the first stamp is the mark's own millisecond
  EXPECT_EQ(clock.take_mark(), (ClockMark{51'000, true}))
      << "who starts with the old mark again gives this stamp again";
}

TEST(HybridClock, does_not_run_away_from_the_time_in_a_loop_of_restarts) {
  HybridClockConfig config;
  config.mark_ahead = Milliseconds(60'000);
  Timestamp last;
  WallMilliseconds time = 1'000'000;
  for (int life = 0; life < 1000; ++life, time += 1000) {
    HybridClock clock(config);
    const Timestamp first = clock.now(time);
    ASSERT_GT(first, last) << "stamps never go back";
    last = clock.now(time + 1);
    config.start = clock.take_mark().value_or(ClockMark{config.start}).wall;
    ASSERT_LE(last.wall, time + 61'000) << "in life " << life;
  }
}

TEST(HybridClock, is_seldom_written_where_the_others_are_ahead) {
  HybridClockConfig config;
  config.mark_ahead = Milliseconds(60'000);
  HybridClock clock(config);
  int marks = 0;
  for (WallMilliseconds time = 1'000'000; time < 1'600'000; time += 100) {
    ASSERT_TRUE(clock.observe({time + 20'000, 0}, time));
    clock.now(time);
    if (const auto mark = clock.take_mark()) {
      ++marks;
      clock.mark_written(mark->wall);
    }
  }
  EXPECT_LE(marks, 20) << "in ten minutes";
}

TEST(HybridClock, asks_again_for_a_mark_that_could_not_be_written) {
  HybridClock clock;
  clock.now(10'000);
  ASSERT_EQ(clock.take_mark(), (ClockMark{15'000, true}));
  ASSERT_FALSE(clock.take_mark());
  clock.mark_failed();
  clock.now(11'000);
  EXPECT_EQ(clock.take_mark(), (ClockMark{16'000, false})) << "of the stamps there are by now; nobody waits again";
  EXPECT_FALSE(clock.take_mark());
  clock.mark_written(16'000);
  clock.now(16'001);
  EXPECT_EQ(clock.take_mark(), (ClockMark{21'001, true})) << "the disk is well again";
}

TEST(HybridClock, one_mark_that_could_not_be_written_leaves_the_one_before_in_force) {
  HybridClock clock;
  clock.now(10'000);
  ASSERT_EQ(clock.take_mark(), (ClockMark{15'000, true}));
  clock.mark_written(15'000);
  clock.now(13'000);
  ASSERT_EQ(clock.take_mark(), (ClockMark{18'000, false}));
  clock.mark_failed();
  ASSERT_EQ(clock.take_mark(), (ClockMark{18'000, false}));
  clock.mark_failed();
  clock.now(30'000);
  EXPECT_EQ(clock.take_mark(), (ClockMark{35'000, true})) << "after a pause in which the disk may have become well";
}

TEST(HybridClock, no_mark_is_beyond_the_end_of_time) {
  HybridClockConfig config;
  config.skew_max = Milliseconds(0);
  HybridClock clock(config);
  constexpr WallMilliseconds end = std::numeric_limits<WallMilliseconds>::max();
  for (WallMilliseconds before_end = 400'000; before_end > 0; before_end -= 1000) {
    ASSERT_TRUE(clock.observe({end - before_end, 0}, 10'000));
    const auto mark = clock.take_mark();
    EXPECT_TRUE(!mark || mark->wall > end - before_end) << before_end;
    EXPECT_FALSE(clock.take_mark()) << before_end;
  }
}

}  // namespace barrel_p2p::replication
