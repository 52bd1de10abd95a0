// Which characters make an Erlang atom. Shared by printing and parsing.
#pragma once

#include <cstdint>
#include <string_view>

namespace barrel_p2p {
inline namespace v0 {
namespace detail {

bool is_atom_start(std::uint32_t code) noexcept;
bool is_atom_part(std::uint32_t code) noexcept;
bool is_reserved_word(std::string_view text) noexcept;
/// Needs no quotes.
bool is_plain_atom(std::string_view text) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace barrel_p2p
