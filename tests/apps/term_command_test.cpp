#include "term_command.hpp"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "command_line.hpp"

namespace barrel_p2p::command {
namespace {

struct Outcome {
  int status;
  std::string output;
  bool operator==(const Outcome&) const = default;
};

Outcome run(TermCommand command, const std::string& lines) {
  std::istringstream input(lines);
  std::ostringstream output;
  const int status = run_term_command(command, input, output);
  return {status, output.str()};
}

std::ostream& operator<<(std::ostream& stream, const Outcome& outcome) {
  return stream << outcome.status << ": " << outcome.output;
}

TEST(TermCommand, decode_turns_hex_into_text) {
  EXPECT_EQ(run({.operation = TermOperation::decode}, "836803770568656c6c6f61016a\n836101\n"),
            (Outcome{exit_ok, "{hello,1,[]}\n1\n"}));
}

TEST(TermCommand, encode_turns_text_into_hex) {
  EXPECT_EQ(run({.operation = TermOperation::encode}, "{hello,1,[]}\n1.\n"),
            (Outcome{exit_ok, "836803770568656c6c6f61016a\n836101\n"}));
}

// Values of erlang:phash2: tests/vectors/phash2.json.
TEST(TermCommand, phash2_takes_text_and_hex) {
  EXPECT_EQ(run({.operation = TermOperation::phash2}, "0\n836101\n"), (Outcome{exit_ok, "88723725\n2614250\n"}));
  EXPECT_EQ(run({.operation = TermOperation::phash2, .range = 1000}, "0\n"), (Outcome{exit_ok, "469\n"}));
  EXPECT_EQ(run({.operation = TermOperation::phash2, .range = std::uint64_t{1} << 32U}, "0\n"),
            (Outcome{exit_ok, "3175731469\n"}));
}

TEST(TermCommand, white_space_around_a_line_and_a_missing_last_newline_do_not_matter) {
  EXPECT_EQ(run({.operation = TermOperation::decode}, " 836101\t\r\n836102"), (Outcome{exit_ok, "1\n2\n"}));
}

TEST(TermCommand, a_bad_line_gives_one_line_of_error_and_the_next_one_is_answered) {
  const auto outcome = run({.operation = TermOperation::decode}, "8361\n\nxy\n836\n836101\n");
  EXPECT_EQ(outcome.status, exit_failed);
  std::istringstream lines(outcome.output);
  std::string line;
  for (int bad = 0; bad < 4; ++bad) {
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_TRUE(line.starts_with("error: ")) << line;
  }
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(line, "1");
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(TermCommand, nothing_in_gives_nothing_out) {
  EXPECT_EQ(run({.operation = TermOperation::encode}, ""), (Outcome{exit_ok, ""}));
}

}  // namespace
}  // namespace barrel_p2p::command
