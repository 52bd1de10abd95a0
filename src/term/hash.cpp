#include "term/hash.hpp"

#define XXH_INLINE_ALL  // short keys: the call would cost as much as the hash
#include <xxhash.h>

#include <array>

#include "base/random.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace detail {
namespace {

std::uint64_t secret() noexcept {
  static const std::uint64_t drawn = random_uint64();
  return drawn;
}

}  // namespace

std::size_t hash_text(std::string_view bytes) noexcept {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), secret());
}

std::size_t mix_hash(std::size_t hash, std::uint64_t value) noexcept {
  const std::array<std::uint64_t, 2> both{hash, value};
  return XXH3_64bits_withSeed(both.data(), sizeof(both), secret());
}

}  // namespace detail
}  // namespace v0
}  // namespace barrel_p2p
