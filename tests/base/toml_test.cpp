// TOML that its parser must not see, and what is close to it.
#include "base/toml.hpp"

#include <gtest/gtest.h>

#include <string>

namespace barrel_p2p {
namespace {

class StrayLetters : public testing::TestWithParam<const char*> {};

TEST_P(StrayLetters, are_refused_before_the_parser_sees_them) {
  const auto table = parse_toml(GetParam());
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error(), Errc::invalid_config);
  EXPECT_NE(table.error().context().find("a letter that is not ASCII"), std::string::npos) << table.error().message();
}

INSTANTIATE_TEST_SUITE_P(Texts, StrayLetters,
                         testing::Values("\xEF\xBB\xBD", "\xEF\xBB\xBD\nname = 1", "\xEF\xBB\xBF\xEF\xBB\xBD",
                                         "\xEF\xBB", "\xC3\xA9 = 1", "a = \xC3\xA9", "a = 1 \xC3\xA9",
                                         "# \xC3\xA9\n \xC3\xA9", "a = \"\"\"\\\n\n \xC3\xA9\"\"\"",
                                         "a = \"\"\"\\\xC3\xA9\"\"\"", "a = \"\" \xC3\xA9", "a = '''x'''''\n\xC3\xA9",
                                         "a = \"\\\"\" \xC3\xA9", "a = '\\' \xC3\xA9", "a = \"\"\"\"x\"\"\" \xC3\xA9"));

TEST(Toml, says_on_which_line_a_stray_letter_stands) {
  const auto table = parse_toml("a = 1\n# x\nb = \xC3\xA9\n");
  ASSERT_FALSE(table.has_value());
  EXPECT_TRUE(table.error().context().starts_with("line 3: ")) << table.error().message();
}

TEST(Toml, has_letters_of_all_kinds_in_strings_keys_in_quotes_and_comments) {
  const auto table = parse_toml(
      "\xEF\xBB\xBF# \xC3\xA9\n"
      "\"\xC3\xA9\" = 'd\xC3\xA9j\xC3\xA0'\n"
      "long = \"\"\"\xC3\xA9 \\\n  x\xC3\xA9 \\\"\xC3\xA9\"\"\"\"\"\n"
      "literal = '''\n\xC3\xA9'' \\\n\xC3\xA9'''\n");
  ASSERT_TRUE(table.has_value()) << table.error().message();
  EXPECT_EQ((*table)["\xC3\xA9"].value<std::string>(), "d\xC3\xA9j\xC3\xA0");
  EXPECT_EQ((*table)["long"].value<std::string>(), "\xC3\xA9 x\xC3\xA9 \"\xC3\xA9\"\"");
  EXPECT_EQ((*table)["literal"].value<std::string>(), "\xC3\xA9'' \\\n\xC3\xA9");
}

TEST(Toml, that_breaks_off_in_a_string_is_refused_by_the_parser) {
  for (const auto* text :
       {"a = \"\xC3\xA9", "a = '\xC3\xA9", "a = \"\"\"\xC3\xA9", "a = \"\"\"\\", "a = \"\\", "a = \""}) {
    const auto table = parse_toml(text);
    ASSERT_FALSE(table.has_value()) << text;
    EXPECT_NE(table.error().context().find("not TOML"), std::string::npos) << table.error().message();
  }
}

}  // namespace
}  // namespace barrel_p2p
