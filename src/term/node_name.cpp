#include <barrel_p2p/node_name.hpp>

#include <algorithm>
#include <stdexcept>

namespace barrel_p2p {
inline namespace v0 {
namespace {

bool is_allowed(char character) noexcept {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') || character == '_' || character == '.' || character == '-';
}

bool is_part(std::string_view part) noexcept {
  return !part.empty() && part.front() != '.' && part.front() != '-' && std::ranges::all_of(part, is_allowed);
}

}  // namespace

Result<NodeName> NodeName::parse(std::string_view text) {
  constexpr std::size_t shown_max = 80;
  const auto bad = [&](const char* why) {
    return fail(Errc::invalid_node_name, "\"" + std::string(text.substr(0, shown_max)) + "\": " + why);
  };
  if (text.empty() || text.size() > bytes_max) return bad("a node name has 1 to 255 bytes");
  const auto at = text.find('@');
  if (at == std::string_view::npos || text.find('@', at + 1) != std::string_view::npos)
    return bad("a node name has the form name@host");
  if (!is_part(text.substr(0, at)) || !is_part(text.substr(at + 1))) {
    return bad("both parts consist of A-Z a-z 0-9 _ . - and do not begin with . or -");
  }
  auto atom = Atom::make(text);
  if (!atom) return std::unexpected(atom.error());
  return NodeName(std::move(*atom));
}

NodeName::NodeName(std::string_view text) {
  auto parsed = parse(text);
  if (!parsed) throw std::invalid_argument(parsed.error().message());
  atom_ = std::move(parsed->atom_);
}

}  // namespace v0
}  // namespace barrel_p2p
