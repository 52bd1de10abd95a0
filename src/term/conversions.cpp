#include <barrel_p2p/term.hpp>

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

}  // namespace detail
}  // namespace v0
}  // namespace barrel_p2p
