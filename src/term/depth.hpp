// How deep a term is nested, which costs nothing to know.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>

#include "term/box.hpp"

namespace barrel_p2p {
inline namespace v0 {

/// Levels: 1 of what has nothing inside, one more for each tuple, list, map or fun around it.
[[nodiscard]] inline std::size_t depth_of(const Term& term) noexcept { return detail::Box::depth_of(term); }

}  // namespace v0
}  // namespace barrel_p2p
