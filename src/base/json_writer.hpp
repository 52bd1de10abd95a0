// Writes JSON (RFC 8259) into a string: objects and arrays in the order of the calls, without spaces.
//
//   JsonWriter json;
//   json.object([&] { json.member("name", "a@h").member("age_ms", 17); });
#pragma once

#include <barrel_p2p/version.hpp>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

class JsonWriter {
 public:
  template <class Body>
  JsonWriter& object(Body&& body) {
    return enclosed('{', '}', std::forward<Body>(body));
  }
  template <class Body>
  JsonWriter& array(Body&& body) {
    return enclosed('[', ']', std::forward<Body>(body));
  }
  /// Of an object; the value comes next.
  JsonWriter& key(std::string_view name) {
    value(name);
    text_ += ':';
    comma_ = false;
    return *this;
  }
  /// Bytes that are no UTF-8 become U+FFFD.
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool flag) { return raw(flag ? "true" : "false"); }
  JsonWriter& value(std::integral auto number) { return printed(number); }
  /// What JSON cannot write (infinite, no number) becomes null.
  JsonWriter& value(double number) { return std::isfinite(number) ? printed(number) : null(); }
  JsonWriter& null() { return raw("null"); }
  /// JSON that was written before.
  JsonWriter& raw(std::string_view json) {
    separate();
    text_ += json;
    return *this;
  }
  template <class Value>
  JsonWriter& member(std::string_view name, const Value& content) {
    return key(name).value(content);
  }
  template <class Range>
  JsonWriter& strings(const Range& list) {
    return array([&] {
      for (const auto& text : list) value(std::string_view(text));
    });
  }

  [[nodiscard]] const std::string& text() const& noexcept { return text_; }
  [[nodiscard]] std::string text() && noexcept { return std::move(text_); }

 private:
  void separate() {
    if (std::exchange(comma_, true)) text_ += ',';
  }
  template <class Body>
  JsonWriter& enclosed(char open, char close, Body&& body) {
    separate();
    text_ += open;
    comma_ = false;
    std::forward<Body>(body)();
    text_ += close;
    comma_ = true;
    return *this;
  }
  JsonWriter& printed(auto number) {
    char digits[32];
    const auto end = std::to_chars(std::begin(digits), std::end(digits), number).ptr;
    return raw({std::begin(digits), static_cast<std::size_t>(end - std::begin(digits))});
  }

  std::string text_;
  bool comma_ = false;
};

}  // namespace v0
}  // namespace barrel_p2p
