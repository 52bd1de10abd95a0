// Whether a sanitizer watches, and what is left out then.
#pragma once

#include <cstdint>

namespace barrel_p2p::test {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// How many seeds a simulation is played with: code under a sanitizer is ten times slower, and it is the same code.
constexpr std::uint64_t seeds(std::uint64_t count) { return sanitized ? 1 : count; }

}  // namespace barrel_p2p::test
