// The TOML parser, behind a function that returns errors. In place of <toml++/toml.h> everywhere, for what is inline
// must be the same everywhere.
//
// toml++ 3.3 has two weaknesses that a file must not be able to use, for a node that reads its configuration again must
// not end, or do whatever it likes, for that:
// - It asserts what the text can break, as `[[%a]]` does. An assertion that fails is an error here, and stays one where
//   NDEBUG would turn it into a promise to the compiler.
// - Its question whether a character is white space has no answer for most letters outside of ASCII. It asks so
//   wherever the text is neither in a comment nor in a string, and behind a backslash that continues a line of a
//   string. Such letters are refused before it sees them; TOML allows them in the second place only.
#pragma once

#include <barrel_p2p/error.hpp>
#include <cstddef>
#include <optional>
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

/// The line, from 1, of the first byte outside of ASCII where toml++ must not meet one, see above.
[[nodiscard]] std::optional<std::size_t> line_of_stray_byte(std::string_view toml) noexcept;

}  // namespace v0
}  // namespace barrel_p2p

#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expected) ((expected) ? static_cast<void>(0) : ::barrel_p2p::refuse_toml(#expected))
#include <toml++/toml.h>  // IWYU pragma: export
#pragma pop_macro("NDEBUG")

namespace barrel_p2p {
inline namespace v0 {

/// Error: `invalid_config`, with the line where it is known.
inline Result<toml::table> parse_toml(std::string_view text) {
  if (const auto line = line_of_stray_byte(text)) {
    return fail(Errc::invalid_config,
                "line " + std::to_string(*line) +
                    ": a letter that is not ASCII stands outside of quotes and comments, or begins a line that a "
                    "backslash continues: put it in quotes, or remove it");
  }
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
