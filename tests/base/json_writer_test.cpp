#include "base/json_writer.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace barrel_p2p {
namespace {

TEST(JsonWriter, writes_members_and_elements_with_commas_between_them) {
  JsonWriter json;
  json.object([&] {
    json.member("a", 1).member("b", true).key("c").array([&] { json.value("x").value(-2).null().value(0.5); });
    json.key("d").object([] {}).key("e").strings(std::vector<std::string>{"p", "q"});
  });
  EXPECT_EQ(json.text(), R"({"a":1,"b":true,"c":["x",-2,null,0.5],"d":{},"e":["p","q"]})");
}

TEST(JsonWriter, numbers_that_json_does_not_have_are_null) {
  JsonWriter json;
  json.array(
      [&] { json.value(std::numeric_limits<double>::infinity()).value(std::numeric_limits<double>::quiet_NaN()); });
  EXPECT_EQ(json.text(), "[null,null]");
}

TEST(JsonWriter, text_is_escaped_and_bytes_that_are_no_utf8_are_replaced) {
  const auto written = [](std::string_view text) {
    JsonWriter json;
    json.value(text);
    return json.text();
  };
  EXPECT_EQ(written("\"\\\n\r\t\x1f"), R"("\"\\\n\r\t\u001f")");
  EXPECT_EQ(written("é€😀"), "\"é€😀\"");
  for (const auto* bad : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_EQ(written(bad).find(bad), std::string::npos);
    EXPECT_NE(written(bad).find("\xEF\xBF\xBD"), std::string::npos);
  }
  EXPECT_EQ(written("\xe2\x82"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"") << "cut off";
}

}  // namespace
}  // namespace barrel_p2p
