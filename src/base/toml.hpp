// The TOML parser, behind a function that returns errors. In place of <toml++/toml.h> everywhere, for what is inline
// must be the same everywhere.
//
// An assertion of the parser that fails is an error too: toml++ 3.3 asserts what the text can break, as `[[%a]]` does,
// and a node that reads its configuration again must not end for that.
#pragma once

#include <barrel_p2p/error.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace barrel_p2p {
inline namespace v0 {

struct TomlDefect : std::logic_error {
  using std::logic_error::logic_error;
};
[[noreturn]] inline void refuse_toml(const char* expected) { throw TomlDefect(expected); }

}  // namespace v0
}  // namespace barrel_p2p

#define TOML_ASSERT(expected) ((expected) ? static_cast<void>(0) : ::barrel_p2p::refuse_toml(#expected))
#include <toml++/toml.h>  // IWYU pragma: export

namespace barrel_p2p {
inline namespace v0 {

/// Error: `invalid_config`, with the line where it is known.
inline Result<toml::table> parse_toml(std::string_view text) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    std::ostringstream message;
    message << "line " << error.source().begin.line << ": not TOML: " << error.description();
    return fail(Errc::invalid_config, message.str());
  } catch (const TomlDefect& defect) {
    return fail(Errc::invalid_config, std::string("not TOML: the parser expected ") + defect.what());
  }
}

}  // namespace v0
}  // namespace barrel_p2p
