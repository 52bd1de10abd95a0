// Hashes for tables in memory whose keys peers choose: nobody outside of this process can find keys that meet.
//
// Source: XXH3 with a random seed.
#pragma once

#include <barrel_p2p/version.hpp>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace barrel_p2p {
inline namespace v0 {
namespace detail {

/// Thread safe, as all here.
[[nodiscard]] std::size_t hash_text(std::string_view bytes) noexcept;
/// The hash of what had this hash, followed by the value.
[[nodiscard]] std::size_t mix_hash(std::size_t hash, std::uint64_t value) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace barrel_p2p
