#include "distribution/detector.hpp"

#include <gtest/gtest.h>

namespace barrel_p2p::distribution {
namespace {

using namespace std::chrono_literals;

const MonotonicTime start{std::chrono::hours(1)};

TEST(Detector, default_configuration_is_valid_and_notices_within_three_to_five_seconds) {
  const DetectorConfig config;
  EXPECT_TRUE(validate(config).has_value());
  EXPECT_GE(config.dead_after - config.keep_alive, 3s);
  EXPECT_LE(Detector(config).worst_case(), 5s);
}

TEST(Detector, inconsistent_configurations_are_refused_with_the_rule_that_they_break) {
  DetectorConfig config;
  config.dead_after = config.keep_alive;
  const auto result = validate(config);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error(), Errc::invalid_config);
  EXPECT_NE(result.error().context().find("detector.dead_after_ms"), std::string::npos);
  for (auto bad : {DetectorConfig{.keep_alive = 10ms}, DetectorConfig{.tick = 3000ms},
                   DetectorConfig{.pause_threshold = 1ms}, DetectorConfig{.probe_after = 1s, .probe_timeout = 1ms}}) {
    EXPECT_FALSE(validate(bad).has_value());
  }
}

TEST(Detector, a_silent_peer_is_dead_after_the_configured_time) {
  Detector detector{{}};
  MonotonicTime now = start;
  for (; now < start + 3900ms; now += 250ms) {
    EXPECT_FALSE(detector.tick(now));
    EXPECT_FALSE(detector.is_dead(start, now));
  }
  now = start + 4s;
  EXPECT_FALSE(detector.tick(now));
  EXPECT_TRUE(detector.is_dead(start, now));
}

TEST(Detector, a_pause_of_our_own_process_accuses_nobody) {
  Detector detector{{}};
  EXPECT_FALSE(detector.tick(start));
  const MonotonicTime resumed = start + 30s;
  EXPECT_FALSE(detector.is_dead(start, resumed)) << "even before the late tick ran";
  const auto paused = detector.tick(resumed);
  ASSERT_TRUE(paused);
  EXPECT_EQ(*paused, 30s - 250ms);
  EXPECT_FALSE(detector.is_dead(start, resumed));
  MonotonicTime now = resumed;
  for (; now < resumed + 3750ms; now += 250ms) EXPECT_FALSE(detector.tick(now));
  EXPECT_FALSE(detector.is_dead(start, now));
  now += 250ms;
  EXPECT_FALSE(detector.tick(now));
  EXPECT_TRUE(detector.is_dead(start, now)) << "a peer that stays silent after the pause is dead after the full time";
}

}  // namespace
}  // namespace barrel_p2p::distribution
