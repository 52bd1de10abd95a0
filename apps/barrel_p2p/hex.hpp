// Hex digits as people type them.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <string_view>

namespace barrel_p2p::command {

/// Lower or upper case. Error: `invalid_argument`, with the column.
Result<Bytes> from_hex(std::string_view hex);

}  // namespace barrel_p2p::command
