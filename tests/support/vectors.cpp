#include "support/vectors.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/src.hpp>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace barrel_p2p::test {

boost::json::value read_vectors(const std::string& name) {
  std::ifstream file(std::string(BARREL_P2P_VECTORS_DIR) + "/" + name, std::ios::binary);
  if (!file) throw std::runtime_error("no vector file " + name);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  boost::json::parse_options options;
  options.max_depth = 256;
  return boost::json::parse(text, {}, options);
}

namespace {
std::uint8_t digit(char character) {
  if (character >= '0' && character <= '9') return static_cast<std::uint8_t>(character - '0');
  if (character >= 'a' && character <= 'f') return static_cast<std::uint8_t>(character - 'a' + 10);
  if (character >= 'A' && character <= 'F') return static_cast<std::uint8_t>(character - 'A' + 10);
  throw std::runtime_error("not a hex digit");
}
}  // namespace

Bytes from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) throw std::runtime_error("odd number of hex digits");
  Bytes bytes;
  bytes.reserve(hex.size() / 2);
  for (std::size_t at = 0; at < hex.size(); at += 2) {
    bytes.push_back(static_cast<std::uint8_t>(digit(hex[at]) << 4U | digit(hex[at + 1])));
  }
  return bytes;
}

std::string to_hex(ByteView bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const auto byte : bytes) {
    hex.push_back(digits[byte >> 4U]);
    hex.push_back(digits[byte & 0xFU]);
  }
  return hex;
}

std::string text_of(const boost::json::value& object, std::string_view key) {
  return std::string(object.as_object().at(key).as_string());
}

Term decoded(const boost::json::value& object, std::string_view key) {
  return decode_term(from_hex(text_of(object, key))).value().term;
}

}  // namespace barrel_p2p::test
