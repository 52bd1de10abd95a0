// The text of terms where the vectors have no row for it.
#include <gtest/gtest.h>

#include <barrel_p2p/term.hpp>

namespace barrel_p2p::test {
namespace {

std::string text_of_bytes(const Bytes& bytes) { return to_text(Term::binary(bytes)); }

TEST(Text, a_binary_of_valid_utf8_is_not_taken_for_latin1) {
  EXPECT_EQ(text_of_bytes({'h', 'i'}), "<<\"hi\">>");
  EXPECT_EQ(text_of_bytes({'c', 0xC3, 0xA9}), "<<\"c\u00e9\"/utf8>>");
  EXPECT_EQ(text_of_bytes({0xE4, 0xBD, 0xA0}), "<<228,189,160>>");
}

TEST(Text, a_binary_that_is_no_utf8_is_taken_for_latin1) {
  EXPECT_EQ(text_of_bytes({'c', 0xE9}), "<<\"c\u00e9\">>");
  EXPECT_EQ(text_of_bytes({0xC3, 0xA9, 0xE9}), "<<\"\u00c3\u00a9\u00e9\">>");
  EXPECT_EQ(text_of_bytes({0xC3, 0x01}), "<<195,1>>");
}

}  // namespace
}  // namespace barrel_p2p::test
