// `barrel_p2p cp`: what it reads and what it says.
#include "cp_command.hpp"

#include <gtest/gtest.h>

#include <string>

#include "cp_progress.hpp"
#include "json.hpp"

namespace barrel_p2p::command {
namespace {

TEST(CopyDestinations, are_names_of_nodes_and_paths_and_local_names_are_not) {
  EXPECT_TRUE(is_on_a_node("a@h:"));
  EXPECT_TRUE(is_on_a_node("a@db1.example.net:in/x"));
  EXPECT_FALSE(is_on_a_node("a@h"));
  EXPECT_FALSE(is_on_a_node("h:x"));
  EXPECT_FALSE(is_on_a_node("./a@h:x"));
  EXPECT_FALSE(is_on_a_node("in/a@h:x"));
  const auto parsed = [](std::string_view text) {
    const auto destination = parse_destination(text);
    if (!destination) return std::string("refused");
    return destination->node + " " + destination->path + (destination->into ? " into" : "");
  };
  EXPECT_EQ(parsed("a@h:"), "a@h ");
  EXPECT_EQ(parsed("a@h:."), "a@h ");
  EXPECT_EQ(parsed("a@h:./x"), "a@h x");
  EXPECT_EQ(parsed("a@h:in/x"), "a@h in/x");
  EXPECT_EQ(parsed("a@h:in/"), "a@h in into");
  for (const auto* wrong : {"a@h:/x", "a@h:../x", "a@h:in//x", "a@h:/", "@h:x", "a@:x"}) {
    EXPECT_EQ(parsed(wrong), "refused") << wrong;
  }
}

TEST(CopyProgressLine, shows_how_far_it_is_in_the_room_there_is) {
  const CopyProgress half{50'000'000, 100'000'000, 10'000'000};
  EXPECT_EQ(progress_line("x.tar", half, 60), "x.tar [#########.........]  50%   50.0 MB   10.0 MB/s  00:05");
  EXPECT_EQ(progress_line("x.tar", half, 40), "x.tar  50%   50.0 MB   10.0 MB/s  00:05");
  EXPECT_EQ(progress_line("a long name.tar", half, 40), "a long  50%   50.0 MB   10.0 MB/s  00:05");
  for (std::size_t width = 0; width < 200; ++width) EXPECT_LE(progress_line("x.tar", half, width).size(), width);
  EXPECT_TRUE(progress_line("x", {0, 100, 0}, 80).ends_with("--:--"));
  EXPECT_TRUE(progress_line("x", {0, 0, 0}, 80).ends_with("00:00"));
  EXPECT_NE(progress_line("x", {999, 1000, 1}, 80).find(" 99%"), std::string::npos) << "not all before all is there";
  EXPECT_TRUE(progress_line("x", {0, 7200, 1}, 80).ends_with("2:00:00"));
}

TEST(CopyProgressLine, counts_bytes_as_people_read_them) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(999.9), "1.0 kB");
  EXPECT_EQ(human_bytes(1000), "1.0 kB");
  EXPECT_EQ(human_bytes(123'456'789), "123 MB");
  EXPECT_EQ(human_bytes(2e18), "2000 PB");
}

TEST(CopyJson, quotes_any_bytes) {
  EXPECT_EQ(json_string("a \"b\" \\ \n\x1b"), R"("a \"b\" \\ \u000a\u001b")");
  EXPECT_EQ(json_string("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
  EXPECT_EQ(json_string("\xff\xc3"), R"("\ufffd\ufffd")");
  EXPECT_EQ(json_string("\xed\xa0\x80\xc0\xaf"), R"("\ufffd\ufffd\ufffd\ufffd\ufffd")") << "surrogates, overlong";
}

}  // namespace
}  // namespace barrel_p2p::command
