// Log lines as JSON, for machines that collect them.
#pragma once

#include <string>

#include "base/log.hpp"

namespace barrel_p2p {
inline namespace v0 {

/// A logger that writes to standard error, an object a line: `time` (RFC 3339), `level`, `node` (the name), `text`.
Logger make_json_logger(const std::string& name);

}  // namespace v0
}  // namespace barrel_p2p
