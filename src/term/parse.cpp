// Erlang term text, as `file:consult` reads it, plus the forms of pids, references and ports that `to_text` prints.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "term/box.hpp"
#include "term/lexical.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

/// Recursive descent. The first thing that is wrong sets `error_`; every read after it is harmless.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Term> run() {
    if (!detail::utf8_length(text_)) return fail(Errc::malformed_term, "the text is not valid UTF-8");
    Term term = read(0);
    skip_space();
    if (!error_ && peek() == '.') ++at_;
    skip_space();
    if (!error_ && at_ < text_.size()) bad("unexpected text after the term");
    if (error_) return std::unexpected(*error_);
    return term;
  }

 private:
  static constexpr char end = '\0';

  void bad(const std::string& what) {
    if (error_) return;
    const auto before = text_.substr(0, std::min(at_, text_.size()));
    const auto line = 1 + std::ranges::count(before, '\n');
    const auto start = before.rfind('\n');
    const auto column = before.size() - (start == std::string_view::npos ? 0 : start + 1) + 1;
    error_ = Error(Errc::malformed_term,
                   "line " + std::to_string(line) + ", column " + std::to_string(column) + ": " + what);
  }
  [[nodiscard]] char peek(std::size_t ahead = 0) const noexcept {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : end;
  }
  [[nodiscard]] bool starts_with(std::string_view word) const noexcept { return text_.substr(at_).starts_with(word); }
  bool accept(std::string_view word) {
    if (!starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void expect(std::string_view word) {
    skip_space();
    if (!error_ && !accept(word)) bad("expected '" + std::string(word) + "'");
  }
  void skip_space() {
    while (at_ < text_.size()) {
      if (peek() == '%') {
        while (at_ < text_.size() && peek() != '\n') ++at_;
      } else if (static_cast<unsigned char>(peek()) <= ' ') {
        ++at_;
      } else {
        return;
      }
    }
  }
  static bool is_digit(char character) noexcept { return character >= '0' && character <= '9'; }

  /// Less than terms may have: a level of text takes more stack than one of bytes, and people do not write such text.
  static constexpr std::size_t text_depth_max = 2500;

  Term read(std::size_t depth) {
    skip_space();
    if (error_) return {};
    if (depth >= text_depth_max) {
      error_ = Error(Errc::limit_exceeded, "the term is nested too deeply");
      return {};
    }
    const char first = peek();
    if (at_ >= text_.size()) {
      bad("a term is expected");
      return {};
    }
    if (is_digit(first) || first == '-' || first == '+' || first == '$') return number();
    if (first == '{') return sequence(depth, '}');
    if (first == '[') return sequence(depth, ']');
    if (first == '"') return string();
    if (starts_with("<<")) return binary();
    if (first == '<') return pid();
    if (accept("#{")) return map(depth);
    if (accept("#Ref<")) return reference();
    if (accept("#Port<")) return port();
    return atom_or_fun();
  }

  // Numbers.

  std::string digits(std::uint32_t base) {
    std::string found;
    for (;; ++at_) {
      const char character = peek();
      if (character == '_' && !found.empty() && digit_value(peek(1)) < base) continue;
      if (digit_value(character) >= base) return found;
      found.push_back(character);
    }
  }
  static std::uint32_t digit_value(char character) noexcept {
    if (is_digit(character)) return static_cast<std::uint32_t>(character - '0');
    if (character >= 'a' && character <= 'z') return static_cast<std::uint32_t>(character - 'a' + 10);
    if (character >= 'A' && character <= 'Z') return static_cast<std::uint32_t>(character - 'A' + 10);
    return 99;
  }

  Term number() {
    bool negative = false;
    while (peek() == '-' || peek() == '+') {
      if (peek() == '-') negative = !negative;
      ++at_;
      skip_space();
    }
    if (peek() == '$') {
      ++at_;
      const auto code = static_cast<std::int64_t>(character());
      return Term(negative ? -code : code);
    }
    if (!is_digit(peek())) {
      bad("a number is expected");
      return {};
    }
    const std::string whole = digits(10);
    if (peek() == '#') return based(whole, negative);
    if (peek() == '.' && is_digit(peek(1))) return floating(whole, negative);
    auto big = BigInteger::parse(whole);
    if (!big) {
      error_ = big.error();
      return {};
    }
    big->negative = negative && !big->magnitude.empty();
    return Term(*big);
  }

  Term based(const std::string& base_text, bool negative) {
    std::uint32_t base = 0;
    std::from_chars(base_text.data(), base_text.data() + base_text.size(), base);
    if (base < 2 || base > 36) {
      bad("the base of a number is 2 to 36");
      return {};
    }
    ++at_;
    const std::string found = digits(base);
    constexpr std::size_t digits_max = 20'000;
    if (found.empty() || found.size() > digits_max) {
      bad("bad number");
      return {};
    }
    BigInteger big;
    for (const char character : found) {
      std::uint32_t carry = digit_value(character);
      for (auto& byte : big.magnitude) {
        carry += byte * base;
        byte = static_cast<std::uint8_t>(carry);
        carry >>= 8U;
      }
      if (carry != 0) big.magnitude.push_back(static_cast<std::uint8_t>(carry));
    }
    big.negative = negative && !big.magnitude.empty();
    return Term(big);
  }

  Term floating(std::string text, bool negative) {
    ++at_;
    text += "." + digits(10);
    if ((peek() == 'e' || peek() == 'E') &&
        (is_digit(peek(1)) || ((peek(1) == '-' || peek(1) == '+') && is_digit(peek(2))))) {
      ++at_;
      text += "e";
      if (peek() == '-') text += "-";
      if (peek() == '-' || peek() == '+') ++at_;
      text += digits(10);
    }
    double value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool underflow = result.ec == std::errc::result_out_of_range && text.find("e-") != std::string::npos;
    if ((result.ec != std::errc() && !underflow) || !std::isfinite(value)) {
      bad("a float is out of range");
      return {};
    }
    if (underflow) value = 0;
    return Term(negative ? -value : value);
  }

  // Characters.

  std::uint32_t code_point() {
    if (at_ >= text_.size()) {
      bad("the text ends too early");
      return 0;
    }
    auto rest = text_.substr(at_);
    const std::uint32_t code = detail::next_code_point(rest);
    at_ = text_.size() - rest.size();
    return code;
  }

  /// One character, or an escape sequence.
  std::uint32_t character() {
    const std::uint32_t code = code_point();
    if (code != '\\') return code;
    const char next = peek();
    if (next >= '0' && next <= '7') {
      std::uint32_t value = 0;
      for (int digit = 0; digit < 3 && peek() >= '0' && peek() <= '7'; ++digit)
        value = value * 8 + static_cast<std::uint32_t>(text_[at_++] - '0');
      return value;
    }
    if (next == 'x') return hexadecimal();
    if (next == '^') {
      ++at_;
      return code_point() & 31U;
    }
    const std::uint32_t escaped = code_point();
    static constexpr std::string_view names = "bdefnrstv";
    static constexpr std::string_view values = "\b\x7f\x1b\f\n\r \t\v";
    const auto found = escaped < 128 ? names.find(static_cast<char>(escaped)) : std::string_view::npos;
    return found == std::string_view::npos ? escaped : static_cast<std::uint32_t>(values[found]);
  }

  std::uint32_t hexadecimal() {
    ++at_;
    const bool braces = peek() == '{';
    if (braces) ++at_;
    std::uint32_t value = 0;
    int count = 0;
    for (; digit_value(peek()) < 16 && count < (braces ? 8 : 2); ++count)
      value = value * 16 + digit_value(text_[at_++]);
    if (braces && !accept("}")) bad("expected '}'");
    if (count == 0 || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) bad("bad character number");
    return error_ ? 0 : value;
  }

  std::vector<std::uint32_t> quoted(char quote) {
    ++at_;
    std::vector<std::uint32_t> codes;
    while (!error_ && peek() != quote) {
      if (at_ >= text_.size()) {
        bad("a quote is not closed");
        break;
      }
      codes.push_back(character());
    }
    if (!error_) ++at_;
    return codes;
  }

  Term string() {
    std::vector<Term> characters;
    while (!error_ && peek() == '"') {  // strings that follow each other are one
      for (const auto code : quoted('"')) characters.emplace_back(code);
      skip_space();
    }
    return error_ ? Term() : Term::list(std::move(characters));
  }

  Atom atom() {
    skip_space();
    std::string name;
    if (peek() == '\'') {
      for (const auto code : quoted('\'')) detail::append_utf8(code, name);
    } else {
      for (bool first = true; at_ < text_.size(); first = false) {
        auto rest = text_.substr(at_);
        const std::uint32_t code = detail::next_code_point(rest);
        if (first ? !detail::is_atom_start(code) : !detail::is_atom_part(code)) break;
        detail::append_utf8(code, name);
        at_ = text_.size() - rest.size();
      }
      if (name.empty()) bad("a term is expected");
    }
    if (error_) return {};
    auto made = Atom::make(name);
    if (made) return std::move(*made);
    bad(made.error().context());
    return {};
  }

  Term atom_or_fun() {
    const std::size_t start = at_;
    const bool is_quoted = peek() == '\'';
    const Atom name = atom();
    if (error_ || is_quoted || !detail::is_reserved_word(name.text())) return error_ ? Term() : Term(name);
    if (name != "fun") {
      at_ = start;
      bad("a reserved word must be quoted");
      return {};
    }
    ExternalFun fun;
    fun.module = atom();
    expect(":");
    fun.function = atom();
    expect("/");
    skip_space();
    const auto arity = small_number(255);
    fun.arity = static_cast<std::uint8_t>(arity);
    return error_ ? Term() : Term(fun);
  }

  // Compounds.

  Term sequence(std::size_t depth, char close) {
    ++at_;
    std::vector<Term> terms;
    Term tail;
    skip_space();
    if (peek() != close) {
      do {
        terms.push_back(read(depth + 1));
        skip_space();
      } while (!error_ && accept(","));
      if (close == ']' && accept("|")) tail = read(depth + 1);
    }
    expect(std::string_view(&close, 1));
    if (error_) return {};
    return close == '}' ? Term::tuple(std::move(terms)) : Term::list(std::move(terms), std::move(tail));
  }

  Term map(std::size_t depth) {
    std::vector<TermPair> pairs;
    skip_space();
    if (peek() != '}') {
      do {
        Term key = read(depth + 1);
        expect("=>");
        pairs.emplace_back(std::move(key), read(depth + 1));
        skip_space();
      } while (!error_ && accept(","));
    }
    expect("}");
    return error_ ? Term() : Term::map(std::move(pairs));
  }

  /// `<<...>>`: integers with an optional size in bits, strings, both as bytes; `/utf8` on strings.
  Term binary() {
    at_ += 2;
    Bytes bytes;
    std::size_t bits = 0;
    const auto put = [&](std::uint64_t value, std::size_t count) {
      for (std::size_t bit = count; bit-- > 0; ++bits) {
        if (bits % 8 == 0) bytes.push_back(0);
        if (bit < 64 && (value >> bit & 1U) != 0) bytes.back() |= static_cast<std::uint8_t>(0x80U >> (bits % 8));
      }
    };
    skip_space();
    if (!accept(">>")) {
      do {
        segment(put);
        skip_space();
      } while (!error_ && accept(","));
      expect(">>");
    }
    return error_ ? Term() : Term::bitstring(bytes, bits);
  }

  template <class Put>
  void segment(const Put& put) {
    skip_space();
    if (peek() == '"') {
      const auto codes = quoted('"');
      skip_space();
      const bool utf8 = accept("/utf8");
      for (const auto code : codes) {
        if (utf8) {
          std::string encoded;
          detail::append_utf8(code, encoded);
          for (const char byte : encoded) put(static_cast<std::uint8_t>(byte), 8);
        } else {
          put(code & 0xFFU, 8);
        }
      }
      return;
    }
    const Term value = number();
    skip_space();
    std::uint64_t size = 8;
    constexpr std::uint64_t size_max = 1U << 20U;
    if (accept(":")) {
      skip_space();
      size = small_number(size_max);
    }
    const auto whole = value.as_int64();
    const auto positive = value.as_uint64();
    if (!error_ && !whole && !positive) bad("an integer of at most 64 bits is expected");
    if (!error_) put(positive ? *positive : static_cast<std::uint64_t>(*whole), size);
  }

  std::uint64_t small_number(std::uint64_t most) {
    const std::string found = digits(10);
    std::uint64_t value = 0;
    const auto result = std::from_chars(found.data(), found.data() + found.size(), value);
    if (found.empty() || result.ec != std::errc() || value > most)
      bad("a number from 0 to " + std::to_string(most) + " is expected");
    return error_ ? 0 : value;
  }

  /// The inside of `<node.1.2.3/4>` up to the `>`: the node (which may have dots), the numbers, the creation.
  bool identifier(Atom& node, std::vector<std::uint64_t>& numbers, std::uint32_t& creation, std::size_t count) {
    const bool is_quoted = peek() == '\'';
    if (is_quoted) node = atom();
    if (error_) return false;
    const auto close = text_.find('>', at_);
    if (close == std::string_view::npos) {
      bad("expected '>'");
      return false;
    }
    auto inside = text_.substr(at_, close - at_);
    const auto slash = inside.rfind('/');
    const auto creation_text = slash == std::string_view::npos ? std::string_view() : inside.substr(slash + 1);
    if (!to_number(creation_text, creation)) {
      bad("expected '/' and a creation");
      return false;
    }
    inside = inside.substr(0, slash);
    while (numbers.size() < count) {
      const auto dot = inside.rfind('.');
      std::uint64_t value = 0;
      if (dot == std::string_view::npos || !to_number(inside.substr(dot + 1), value)) break;
      numbers.push_back(value);
      inside = inside.substr(0, dot);
    }
    if (numbers.size() < count) {
      bad("too few numbers");
      return false;
    }
    if (is_quoted) {
      if (!inside.empty()) bad("bad node name");
    } else if (auto made = Atom::make(inside)) {
      node = std::move(*made);
    } else {
      bad(made.error().context());
    }
    at_ = close + 1;
    return !error_;
  }
  template <class T>
  static bool to_number(std::string_view text, T& value) {
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    return !text.empty() && result.ec == std::errc() && result.ptr == text.data() + text.size();
  }

  Term pid() {
    ++at_;
    Pid value;
    std::vector<std::uint64_t> numbers;
    if (!identifier(value.node, numbers, value.creation, 2)) return {};
    if (numbers[0] > UINT32_MAX || numbers[1] > UINT32_MAX) {
      bad("a number of a pid has 32 bits");
      return {};
    }
    value.serial = static_cast<std::uint32_t>(numbers[0]);
    value.id = static_cast<std::uint32_t>(numbers[1]);
    return Term(value);
  }

  Term port() {
    Port value;
    std::vector<std::uint64_t> numbers;
    if (!identifier(value.node, numbers, value.creation, 1)) return {};
    value.id = numbers[0];
    return Term(value);
  }

  /// The words are separated by dots, the last word first; their number stands before the node so that names in numbers
  /// are no riddle.
  Term reference() {
    Ref value;
    const std::uint64_t count = small_number(Ref::words_max);
    if (!error_ && (count < 1 || !accept(":"))) bad("expected the number of words and ':'");
    std::vector<std::uint64_t> numbers;
    if (error_ || !identifier(value.node, numbers, value.creation, count)) return {};
    value.count = static_cast<std::uint8_t>(count);
    for (std::size_t word = 0; word < count; ++word) {
      if (numbers[word] > UINT32_MAX) bad("a word of a reference has 32 bits");
      value.words[word] = static_cast<std::uint32_t>(numbers[word]);
    }
    return error_ ? Term() : Term(value);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Result<Term> parse_term(std::string_view text) { return Parser(text).run(); }

}  // namespace v0
}  // namespace barrel_p2p
