#include "base/json_writer.hpp"

#include <algorithm>
#include <cstdint>

namespace barrel_p2p {
inline namespace v0 {
namespace {

/// Length of the UTF-8 sequence (RFC 3629) at the beginning; 0: there is none.
std::size_t sequence(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  // Too long, a surrogate, or beyond U+10FFFF: seen in the second byte.
  const std::uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const std::uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t at = 2; at < length; ++at) {
    if ((byte(at) & 0xC0U) != 0x80U) return 0;
  }
  return length;
}

void escape(char character, std::string& out) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto code = static_cast<std::uint8_t>(character);
  switch (character) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: out.append("\\u00").append({digits[code >> 4U], digits[code & 15U]});
  }
}

}  // namespace

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  text_ += '"';
  while (!text.empty()) {
    const std::size_t length = sequence(text);
    if (length == 0) {
      text_ += "\xEF\xBF\xBD";
    } else if (length == 1 && (text[0] == '"' || text[0] == '\\' || static_cast<std::uint8_t>(text[0]) < 0x20)) {
      escape(text[0], text_);
    } else {
      text_ += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  text_ += '"';
  return *this;
}

}  // namespace v0
}  // namespace barrel_p2p
