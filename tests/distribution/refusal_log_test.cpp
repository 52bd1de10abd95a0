#include "distribution/refusal_log.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace barrel_p2p::test {
namespace {

using namespace distribution;
using namespace std::chrono_literals;

class RefusalLogTest : public testing::Test {
 protected:
  static ChannelEnd end(ChannelEnd::Cause cause, Error error, std::string claimed = {}) {
    return {ChannelStage::authenticating, cause, std::move(error), false, std::move(claimed)};
  }
  void refuse(const std::string& address, const std::string& name) {
    log_.tell(logger_, address, name,
              end(ChannelEnd::Cause::handshake, Error(Errc::handshake_failed, "wrong_cookie: another cookie")), now_);
  }

  [[nodiscard]] bool says(std::size_t line, std::string_view text) const {
    return line < lines_.size() && lines_[line].find(text) != std::string::npos;
  }

  std::vector<std::string> lines_;
  Logger logger_ = make_callback_logger("test", [this](LogLevel level, std::string_view line) {
    if (level == LogLevel::warning) lines_.emplace_back(line);
  });
  RefusalLog log_;
  MonotonicTime now_ = MonotonicTime{} + 1h;
};

TEST_F(RefusalLogTest, has_one_line_a_minute_of_each_address_and_name_whatever_the_port) {
  refuse("10.0.0.1:1", "b@h");
  refuse("10.0.0.1:2", "b@h");
  now_ += RefusalLog::period - 1ms;
  refuse("10.0.0.1:3", "b@h");
  ASSERT_EQ(lines_.size(), 1U);
  refuse("10.0.0.1:4", "c@h");
  refuse("[2001:db8::1]:4", "c@h");
  ASSERT_EQ(lines_.size(), 3U);
  EXPECT_TRUE(says(1, "refused c@h from 10.0.0.1:4")) << lines_[1];
  EXPECT_TRUE(says(1, "(2 other refusals are not logged)")) << lines_[1];
  EXPECT_FALSE(says(2, "other refusals")) << lines_[2];
  now_ += 1ms;
  refuse("10.0.0.1:5", "b@h");
  EXPECT_EQ(lines_.size(), 4U) << "the minute is over";
  refuse("10.0.0.1:5", "c@h");
  EXPECT_EQ(lines_.size(), 4U) << "not for this one";
}

TEST_F(RefusalLogTest, has_a_bounded_number_of_lines_of_one_address_and_in_all) {
  for (int number = 0; number < 1000; ++number) refuse("10.0.0.1:1", "n" + std::to_string(number) + "@h");
  EXPECT_EQ(lines_.size(), RefusalLog::lines_of_one_host_max);
  for (int number = 0; number < 1000; ++number) refuse("10.0.1." + std::to_string(number) + ":1", "b@h");
  EXPECT_EQ(lines_.size(), RefusalLog::lines_max);
  now_ += RefusalLog::period;
  refuse("10.0.0.2:1", "b@h");
  EXPECT_EQ(lines_.size(), RefusalLog::lines_max + 1) << "another minute has lines of its own";
}

TEST_F(RefusalLogTest, writes_what_harms_no_terminal_and_no_shell) {
  log_.tell(
      logger_, "10.0.0.1:1", "",
      end(ChannelEnd::Cause::authentication, Error(Errc::untrusted_key, "no key for \x1b[2J$(x)@h"), "\x1b[2J\n$(x)@h"),
      now_);
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_TRUE(says(0, "refused ?[2J?$(x)@h from 10.0.0.1:1: untrusted_key: no key for ?[2J$(x)@h")) << lines_[0];
  EXPECT_TRUE(says(0, "barrel_p2p keys pin NAME KEY")) << lines_[0];
}

TEST_F(RefusalLogTest, says_nothing_of_what_is_no_refusal_of_ours) {
  using Cause = ChannelEnd::Cause;
  for (const auto cause : {Cause::local, Cause::peer_closed, Cause::lost, Cause::keep_waiting}) {
    log_.tell(logger_, "10.0.0.1:1", "b@h", end(cause, Error(Errc::closed, "over")), now_);
  }
  log_.tell(logger_, "10.0.0.1:1", "b@h", end(Cause::authentication, Error(Errc::auth_failed, "rejected: no")), now_);
  EXPECT_TRUE(lines_.empty());
  log_.tell(logger_, "10.0.0.1:1", "", end(Cause::protocol, Error(Errc::closed, "nonsense")), now_);
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_TRUE(says(0, "refused a node that has not said its name from 10.0.0.1:1: ")) << lines_[0];
}

}  // namespace
}  // namespace barrel_p2p::test
