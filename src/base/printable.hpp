// What a peer wrote, made fit for a log line and for a terminal.
#pragma once

#include <algorithm>
#include <barrel_p2p/version.hpp>
#include <cstddef>
#include <string>
#include <string_view>

namespace barrel_p2p {
inline namespace v0 {

/// The first `shown_max` bytes; what is not printable ASCII is a question mark.
inline std::string printable(std::string_view text, std::size_t shown_max) {
  std::string shown(text.substr(0, shown_max));
  std::ranges::replace_if(shown, [](char character) { return character < ' ' || character > '~'; }, '?');
  return shown;
}

/// The bytes of the control character that the text begins with; 0: it begins with another one, or is empty.
inline std::size_t control_size(std::string_view text) noexcept {
  constexpr char erase = 0x7f;
  // U+0080 to U+009F, which some terminals take for ESC and what follows it.
  constexpr std::string_view first_of_two = "\xC2";
  constexpr std::string_view second_first = "\x80";
  constexpr std::string_view second_last = "\x9F";
  if (text.empty()) return 0;
  const auto code = static_cast<unsigned char>(text.front());
  if (code < ' ' || text.front() == erase) return 1;
  const std::string_view second = text.substr(1, 1);
  return text.starts_with(first_of_two) && second >= second_first && second <= second_last ? 2 : 0;
}

/// The same of characters that set the direction of what follows, so that it reads as something else.
inline std::size_t direction_size(std::string_view text) noexcept {
  const std::string_view character = text.substr(0, 3);
  const bool embeds = character >= "\xE2\x80\xAA" && character <= "\xE2\x80\xAE";    // U+202A to U+202E
  const bool isolates = character >= "\xE2\x81\xA6" && character <= "\xE2\x81\xA9";  // U+2066 to U+2069
  return embeds || isolates ? character.size() : 0;
}

/// All of it, in whatever script; control characters, and those that set the direction, are question marks.
inline std::string without_controls(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const std::size_t size = std::max(control_size(text), direction_size(text));
    shown += size == 0 ? text.front() : '?';
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return shown;
}

}  // namespace v0
}  // namespace barrel_p2p
