// TOML that its parser has trouble with, and what is close to it.
#include "base/toml.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

namespace barrel_p2p {
namespace {

class StrayLetters : public testing::TestWithParam<const char*> {};

TEST_P(StrayLetters, are_refused_by_the_parser) {
  const auto table = parse_toml(GetParam());
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error(), Errc::invalid_config);
  EXPECT_NE(table.error().context().find("not TOML"), std::string::npos) << table.error().message();
}

INSTANTIATE_TEST_SUITE_P(Texts, StrayLetters,
                         testing::Values("\xEF\xBB\xBD", "\xEF\xBB\xBD\nname = 1", "\xEF\xBB\xBF\xEF\xBB\xBD",
                                         "\xEF\xBB", "\xC3\xA9 = 1", "a = \xC3\xA9", "a = 1 \xC3\xA9",
                                         "# \xC3\xA9\n \xC3\xA9", "a = \"\"\"\\\xC3\xA9\"\"\"", "a = \"\" \xC3\xA9",
                                         "a = '''x'''''\n\xC3\xA9", "a = \"\\\"\" \xC3\xA9", "a = '\\' \xC3\xA9",
                                         "a = \"\"\"\"x\"\"\" \xC3\xA9", "a =1'.\xC6\xAD", "a = = '\xC6\xAD'"));

/// Whether a character is white space the parser looks up in a table that has no answer for most: undefined behaviour,
/// but for what toml.hpp does about it.
TEST(Toml, knows_of_every_character_whether_it_is_white_space) {
  constexpr char32_t end_of_plane = 0x10000;
  std::size_t white = 0;
  for (char32_t character = 0; character < end_of_plane; ++character) {
    if (toml::impl::is_non_ascii_horizontal_whitespace(character)) ++white;
  }
  EXPECT_EQ(white, 20U);  // U+00A0, 1680, 180E, 2000 to 200B, 202F, 205F, 2060, 3000, FEFF
}

TEST(Toml, says_on_which_line_a_stray_letter_stands) {
  const auto table = parse_toml("a = 1\n# x\nb = \xC3\xA9\n");
  ASSERT_FALSE(table.has_value());
  EXPECT_TRUE(table.error().context().starts_with("line 3: ")) << table.error().message();
}

TEST(Toml, has_letters_of_all_kinds_in_strings_keys_in_quotes_and_comments) {
  const auto table = parse_toml(
      "\xEF\xBB\xBF# \xC3\xA9\n"
      "\"\xC3\xA9\" = 'd\xC3\xA9j\xC3\xA0'\n"
      "long = \"\"\"\xC3\xA9 \\\n  \xC3\xA9 \\\"\xC3\xA9\"\"\"\"\"\n"
      "literal = '''\n\xC3\xA9'' \\\n\xC3\xA9'''\n");
  ASSERT_TRUE(table.has_value()) << table.error().message();
  EXPECT_EQ((*table)["\xC3\xA9"].value<std::string>(), "d\xC3\xA9j\xC3\xA0");
  EXPECT_EQ((*table)["long"].value<std::string>(), "\xC3\xA9 \xC3\xA9 \"\xC3\xA9\"\"");
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
