#include "hex.hpp"

#include <optional>
#include <string>

namespace barrel_p2p::command {
namespace {

std::optional<unsigned> digit(char character) {
  if (character >= '0' && character <= '9') return static_cast<unsigned>(character - '0');
  if (character >= 'a' && character <= 'f') return static_cast<unsigned>(character - 'a') + 10U;
  if (character >= 'A' && character <= 'F') return static_cast<unsigned>(character - 'A') + 10U;
  return std::nullopt;
}

}  // namespace

Result<Bytes> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return fail(Errc::invalid_argument, "an odd number of hex digits");
  Bytes bytes;
  bytes.reserve(hex.size() / 2);
  for (std::size_t at = 0; at < hex.size(); at += 2) {
    const auto high = digit(hex[at]);
    const auto low = digit(hex[at + 1]);
    if (!high || !low)
      return fail(Errc::invalid_argument, "no hex digit in column " + std::to_string(at + (high ? 2 : 1)));
    bytes.push_back(static_cast<std::uint8_t>(*high << 4U | *low));
  }
  return bytes;
}

}  // namespace barrel_p2p::command
