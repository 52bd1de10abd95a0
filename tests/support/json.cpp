#include "support/json.hpp"

#include <cstdlib>
#include <stdexcept>

namespace barrel_p2p::test {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  JsonValue all() {
    JsonValue value = one();
    blanks();
    if (!text_.empty()) fail();
    return value;
  }

 private:
  [[noreturn]] void fail() const { throw std::runtime_error("no JSON at: " + std::string(text_.substr(0, 60))); }
  void blanks() {
    const auto end = text_.find_first_not_of(" \t\r\n");
    text_.remove_prefix(end == std::string_view::npos ? text_.size() : end);
  }
  bool take(std::string_view what) {
    if (!text_.starts_with(what)) return false;
    text_.remove_prefix(what.size());
    return true;
  }
  JsonValue one() {
    blanks();
    for (const char* word : {"true", "false", "null"}) {
      if (take(word)) return {*word == 'n' ? JsonValue::Kind::null : JsonValue::Kind::boolean, word};
    }
    if (text_.starts_with('"')) return {JsonValue::Kind::string, string()};
    if (take("[")) return array();
    if (take("{")) return object();
    return number();
  }
  JsonValue number() {
    std::string_view rest = text_;
    const auto digits = [&] {
      std::size_t count = 0;
      while (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') {
        rest.remove_prefix(1);
        ++count;
      }
      return count;
    };
    if (rest.starts_with('-')) rest.remove_prefix(1);
    const bool zero = rest.starts_with('0');
    const auto whole = digits();
    if (whole == 0 || (zero && whole > 1)) fail();
    if (rest.starts_with('.')) {
      rest.remove_prefix(1);
      if (digits() == 0) fail();
    }
    if (rest.starts_with('e') || rest.starts_with('E')) {
      rest.remove_prefix(1);
      if (rest.starts_with('+') || rest.starts_with('-')) rest.remove_prefix(1);
      if (digits() == 0) fail();
    }
    JsonValue value{JsonValue::Kind::number, std::string(text_.substr(0, text_.size() - rest.size()))};
    text_ = rest;
    return value;
  }
  std::string string() {
    if (!take("\"")) fail();
    std::string result;
    while (!take("\"")) {
      if (text_.empty() || static_cast<unsigned char>(text_[0]) < 0x20) fail();
      if (take("\\")) {
        result += escape();
      } else {
        result += text_[0];
        text_.remove_prefix(1);
      }
    }
    return result;
  }
  std::string escape() {
    constexpr std::string_view marks = "\"\\/bfnrt";
    constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
    if (text_.empty()) fail();
    if (const auto at = marks.find(text_[0]); at != std::string_view::npos) {
      text_.remove_prefix(1);
      return {meant[at]};
    }
    if (!take("u") || text_.size() < 4) fail();
    const auto digits = std::string(text_.substr(0, 4));
    if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) fail();
    text_.remove_prefix(4);
    return "\\u" + digits;  // tests compare it as it is written
  }
  JsonValue array() {
    JsonValue value{JsonValue::Kind::array, ""};
    blanks();
    if (take("]")) return value;
    for (;;) {
      value.items.push_back(one());
      blanks();
      if (take("]")) return value;
      if (!take(",")) fail();
    }
  }
  JsonValue object() {
    JsonValue value{JsonValue::Kind::object, ""};
    blanks();
    if (take("}")) return value;
    for (;;) {
      blanks();
      std::string name = string();
      blanks();
      if (!take(":")) fail();
      value.members.emplace_back(std::move(name), one());
      blanks();
      if (take("}")) return value;
      if (!take(",")) fail();
    }
  }

  std::string_view text_;
};

}  // namespace

double JsonValue::number() const {
  if (kind != Kind::number) throw std::runtime_error("no number: " + text);
  return std::strtod(text.c_str(), nullptr);
}

const JsonValue& JsonValue::operator[](std::string_view member) const {
  for (const auto& [name, value] : members) {
    if (name == member) return value;
  }
  throw std::runtime_error("there is no " + std::string(member));
}

JsonValue parse_json(std::string_view text) { return Parser(text).all(); }

std::vector<JsonValue> parse_json_lines(std::string_view text) {
  std::vector<JsonValue> values;
  while (!text.empty()) {
    const auto end = text.find('\n');
    values.push_back(parse_json(text.substr(0, end)));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return values;
}

}  // namespace barrel_p2p::test
