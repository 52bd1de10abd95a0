// Random bytes of the operating system, good for keys and nonces.
#pragma once

#include <barrel_p2p/version.hpp>
#include <cstdint>
#include <span>

namespace barrel_p2p {
inline namespace v0 {

/// Fills `out` from the kernel's generator. Thread safe. Throws std::system_error when the kernel has none to give.
void fill_random(std::span<std::uint8_t> out);
std::uint32_t random_uint32();
std::uint64_t random_uint64();
/// Uniform in [low, high]. `low` <= `high`.
std::uint64_t random_between(std::uint64_t low, std::uint64_t high);

}  // namespace v0
}  // namespace barrel_p2p
