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

}  // namespace v0
}  // namespace barrel_p2p
