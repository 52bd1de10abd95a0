// A strict reader of JSON (RFC 8259) for tests of what programs print.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace barrel_p2p::test {

struct JsonValue {
  enum class Kind : std::uint8_t { null, boolean, number, string, array, object };
  Kind kind = Kind::null;
  std::string text;  ///< Of a string, its characters; else as it was written.
  std::vector<JsonValue> items{};
  std::vector<std::pair<std::string, JsonValue>> members{};

  [[nodiscard]] bool is_null() const { return kind == Kind::null; }
  [[nodiscard]] bool is_true() const { return kind == Kind::boolean && text == "true"; }
  [[nodiscard]] double number() const;
  /// Throws std::runtime_error when there is none.
  const JsonValue& operator[](std::string_view member) const;
  const JsonValue& operator[](std::size_t item) const { return items.at(item); }
};

/// One value and nothing else but blanks. Throws std::runtime_error.
JsonValue parse_json(std::string_view text);
/// One value a line.
std::vector<JsonValue> parse_json_lines(std::string_view text);

}  // namespace barrel_p2p::test
