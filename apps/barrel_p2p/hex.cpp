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

std::string to_hex(ByteView bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const auto byte : bytes) hex.append({digits[byte >> 4U], digits[byte & 0xFU]});
  return hex;
}

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

Result<Term> term_of_hex(std::string_view hex) {
  const auto bytes = from_hex(hex);
  if (!bytes) return std::unexpected(bytes.error());
  auto decoded = decode_term(*bytes);
  if (!decoded) return std::unexpected(decoded.error());
  return std::move(decoded->term);
}

}  // namespace barrel_p2p::command
