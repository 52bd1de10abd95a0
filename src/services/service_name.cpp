#include <barrel_p2p/services.hpp>
#include <span>

namespace barrel_p2p {
inline namespace v0 {

ServiceName ServiceName::binary(std::string_view bytes) { return ServiceName(Term(bytes)); }

Result<ServiceName> ServiceName::from(const Term& term) {
  if (!term.is_atom() && !term.is_binary()) {
    return fail(Errc::invalid_argument, "the name of a service is an atom or a binary, not " + to_text(term));
  }
  return ServiceName(term);
}

std::string_view ServiceName::text() const noexcept {
  if (const auto text = term_.as_text()) return *text;
  return term_.as_atom()->text();
}

}  // namespace v0
}  // namespace barrel_p2p
