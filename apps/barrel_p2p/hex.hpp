// Hex digits as people type them.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <string>
#include <string_view>

namespace barrel_p2p::command {

/// Lower case.
std::string to_hex(ByteView bytes);

/// Lower or upper case. Error: `invalid_argument`, with the column.
Result<Bytes> from_hex(std::string_view hex);
/// A term in the external format, in hex. Errors: those of `from_hex` and `decode_term`.
Result<Term> term_of_hex(std::string_view hex);

}  // namespace barrel_p2p::command
