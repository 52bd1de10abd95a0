#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <cmath>
#include <limits>
#include <span>

namespace barrel_p2p {
inline namespace v0 {
namespace detail {

std::unexpected<Error> wrong_type(std::string_view expected, const Term& got) {
  constexpr std::size_t shown_max = 80;
  std::string text = to_text(got);
  if (text.size() > shown_max) text = text.substr(0, shown_max) + "...";
  return fail(Errc::type_mismatch, "expected " + std::string(expected) + ", got " + text);
}

Error inside(std::string_view step, const Error& error) {
  if (error.code() != Errc::type_mismatch) return error;
  const std::string& context = error.context();
  const std::string path(step);
  if (context.starts_with("at [")) return {error.code(), "at " + path + context.substr(3)};
  if (context.starts_with("at ")) return {error.code(), "at " + path + "." + context.substr(3)};
  return {error.code(), "at " + path + ": " + context};
}

double nearest_double(const BigInteger& integer) noexcept {
  const Bytes& magnitude = integer.magnitude;
  if (magnitude.size() > static_cast<std::size_t>(std::numeric_limits<double>::max_exponent / 8)) {
    return std::copysign(std::numeric_limits<double>::infinity(), integer.negative ? -1.0 : 1.0);
  }
  // The first 57 to 64 bits are more than a double has; the last of them says whether anything but zeros follows.
  const std::size_t below = magnitude.size() > 8 ? magnitude.size() - 8 : 0;
  std::uint64_t top = 0;
  for (std::size_t at = magnitude.size(); at-- > below;) top = top << 8U | magnitude[at];
  const auto rest = std::span(magnitude).first(below);
  if (std::ranges::any_of(rest, [](std::uint8_t byte) { return byte != 0; })) top |= 1U;
  const double value = std::ldexp(static_cast<double>(top), static_cast<int>(8 * below));
  return integer.negative ? -value : value;
}

}  // namespace detail
}  // namespace v0
}  // namespace barrel_p2p
