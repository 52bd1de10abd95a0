#include "base/random.hpp"

#include <sys/random.h>

#include <cassert>
#include <cerrno>
#include <limits>
#include <system_error>

namespace barrel_p2p {
inline namespace v0 {

void fill_random(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      throw std::system_error(errno, std::generic_category(), "getrandom");
    }
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::uint64_t random_uint64() {
  std::uint64_t value = 0;
  fill_random({reinterpret_cast<std::uint8_t*>(&value), sizeof(value)});
  return value;
}

std::uint32_t random_uint32() { return static_cast<std::uint32_t>(random_uint64()); }

std::uint64_t random_between(std::uint64_t low, std::uint64_t high) {
  assert(low <= high);
  const std::uint64_t span = high - low;
  if (span == std::numeric_limits<std::uint64_t>::max()) return random_uint64();
  const std::uint64_t count = span + 1;
  const std::uint64_t bound = std::numeric_limits<std::uint64_t>::max() / count * count;  // the rest would be biased
  std::uint64_t value = random_uint64();
  while (value >= bound) value = random_uint64();
  return low + value % count;
}

}  // namespace v0
}  // namespace barrel_p2p
