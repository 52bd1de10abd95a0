// A key in the text of an error.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <string>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// As Erlang text, or how large it is: who asked knows its key, and logs are read by people.
inline std::string key_text(const Term& key) {
  constexpr std::size_t shown_bytes_max = 200;
  const std::size_t bytes = encoded_size(key, false);
  return bytes <= shown_bytes_max ? to_text(key) : "of " + std::to_string(bytes) + " bytes";
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
