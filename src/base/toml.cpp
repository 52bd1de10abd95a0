#include "base/toml.hpp"

#include <algorithm>

namespace barrel_p2p {
inline namespace v0 {
namespace {

/// As much of TOML as tells strings and comments from the rest. Behind the first thing that is no TOML it may take one
/// for the other: the parser ends there.
class TomlScanner {
 public:
  explicit TomlScanner(std::string_view text) noexcept : text_(text) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text_.starts_with(byte_order_mark)) at_ = byte_order_mark.size();
  }

  std::optional<std::size_t> stray() noexcept {
    while (at_ < text_.size()) {
      const char character = text_[at_];
      if (is_foreign()) return line();
      if (character == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (character == '"' || character == '\'') {
        if (!skip_string(character)) return line();
      } else {
        ++at_;
      }
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] bool is_foreign() const noexcept {
    return at_ < text_.size() && static_cast<unsigned char>(text_[at_]) >= 0x80U;
  }
  [[nodiscard]] bool is_at(char character) const noexcept { return at_ < text_.size() && text_[at_] == character; }
  [[nodiscard]] std::size_t line() const noexcept {
    return 1 + static_cast<std::size_t>(std::ranges::count(text_.substr(0, at_), '\n'));
  }
  /// How many quotes stand here, of which `most` count.
  std::size_t take_quotes(char quote, std::size_t most) noexcept {
    std::size_t count = 0;
    for (; count < most && is_at(quote); ++at_) ++count;
    return count;
  }

  /// False: there is a stray byte in it.
  bool skip_string(char quote) noexcept {
    constexpr std::size_t empty = 2;
    constexpr std::size_t long_quotes = 3;
    const std::size_t opening = take_quotes(quote, long_quotes);
    if (opening == empty) return true;
    const bool is_long = opening == long_quotes;
    while (at_ < text_.size()) {
      // Two quotes may stand right before those that end a long string.
      const std::size_t closing = take_quotes(quote, is_long ? long_quotes + 2 : 1);
      if (closing >= opening) return true;
      if (closing > 0) continue;
      if (!is_long && text_[at_] == '\n') return true;
      const bool escapes = quote == '"' && text_[at_] == '\\';
      ++at_;
      if (escapes && !skip_escaped()) return false;
    }
    return true;
  }

  bool skip_escaped() noexcept {
    constexpr std::string_view white = " \t\r\n";
    const std::size_t next = std::min(text_.find_first_not_of(white, at_), text_.size());
    const bool continues = next > at_;
    at_ = next;
    if (is_foreign()) return false;
    if (!continues && at_ < text_.size()) ++at_;
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<std::size_t> line_of_stray_byte(std::string_view toml) noexcept { return TomlScanner(toml).stray(); }

}  // namespace v0
}  // namespace barrel_p2p
