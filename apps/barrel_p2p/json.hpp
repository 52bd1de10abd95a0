// JSON as the commands print it: values are written as they are made, keys in the order in which they are set.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p::command {

/// A string of JSON, with its quotes. Bytes beyond ASCII are taken for UTF-8; what is no UTF-8 is replaced by U+FFFD.
std::string json_string(std::string_view text);

/// One value, as text.
class Json {
 public:
  // NOLINTBEGIN(google-explicit-constructor): values are built from values
  Json() : text_("null") {}
  Json(std::string_view text) : text_(json_string(text)) {}
  Json(const std::string& text) : Json(std::string_view(text)) {}
  Json(const char* text) : Json(std::string_view(text)) {}
  Json(bool value) : text_(value ? "true" : "false") {}
  template <std::integral T>
  Json(T value) : text_(std::to_string(value)) {}
  /// What is no number in JSON is null.
  Json(double value);
  template <class T>
  Json(const std::optional<T>& value) : Json(value ? Json(*value) : Json()) {}
  template <class T>
  Json(const std::vector<T>& values) : text_("[") {
    for (const auto& value : values) {
      if (text_.size() > 1) text_ += ',';
      text_ += Json(value).text_;
    }
    text_ += ']';
  }
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 protected:
  std::string text_;
};

class JsonObject : public Json {
 public:
  JsonObject() { text_ = "{}"; }
  JsonObject& set(std::string_view key, const Json& value);
};

}  // namespace barrel_p2p::command
