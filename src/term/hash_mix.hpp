// The steps of erlang:phash2, for who hashes many terms that begin alike. Source: protocol document 06, section 4.1.
#pragma once

#include <barrel_p2p/version.hpp>
#include <cstdint>

namespace barrel_p2p {
inline namespace v0 {
namespace hash_mix {

constexpr std::uint32_t k(std::uint32_t number) noexcept { return number * 0x9e3779b9U; }

constexpr void mix(std::uint32_t& a, std::uint32_t& b, std::uint32_t& c) noexcept {
  a = (a - b - c) ^ (c >> 13U), b = (b - c - a) ^ (a << 8U), c = (c - a - b) ^ (b >> 13U);
  a = (a - b - c) ^ (c >> 12U), b = (b - c - a) ^ (a << 16U), c = (c - a - b) ^ (b >> 5U);
  a = (a - b - c) ^ (c >> 3U), b = (b - c - a) ^ (a << 10U), c = (c - a - b) ^ (b >> 15U);
}

constexpr std::uint32_t hash_two(std::uint32_t hash, std::uint32_t x, std::uint32_t y,
                                 std::uint32_t constant) noexcept {
  std::uint32_t a = constant + x;
  std::uint32_t b = constant + y;
  mix(a, b, hash);
  return hash;
}
constexpr std::uint32_t hash_one(std::uint32_t hash, std::uint32_t x, std::uint32_t constant) noexcept {
  return hash_two(hash, x, 0, constant);
}

}  // namespace hash_mix
}  // namespace v0
}  // namespace barrel_p2p
