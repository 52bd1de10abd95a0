// Terms as Erlang text on one line: what io_lib:format("~0tp", [Term]) prints, but for pids, references and ports,
// which carry their whole identity here, with the creation behind a slash: `<a@127.0.0.1.87.0/4>`,
// `#Ref<3:a@127.0.0.1.3.2.1/4>` (number of words first), `#Port<a@127.0.0.1.5/4>`.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "term/box.hpp"
#include "term/lexical.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using detail::Box;
using detail::box;
using detail::Kind;

/// What Erlang takes for a character of a string (its default Latin-1 mode).
bool printable(std::int64_t character) noexcept {
  return (character >= 32 && character <= 126) || (character >= 160 && character <= 255) ||
         (character >= 8 && character <= 13) || character == 27;
}

void append_escaped(std::uint32_t code, char quote, std::string& out) {
  switch (code) {
    case 8: out += "\\b"; return;
    case 9: out += "\\t"; return;
    case 10: out += "\\n"; return;
    case 11: out += "\\v"; return;
    case 12: out += "\\f"; return;
    case 13: out += "\\r"; return;
    case 27: out += "\\e"; return;
    case 127: out += "\\d"; return;
    case '\\': out += "\\\\"; return;
    default: break;
  }
  if (code == static_cast<std::uint32_t>(quote)) {
    out.push_back('\\');
    out.push_back(quote);
  } else if (code < 32 || (code > 126 && code < 160)) {
    std::array<char, 8> text{};
    std::snprintf(text.data(), text.size(), "\\%03o", code);
    out += text.data();
  } else {
    detail::append_utf8(code, out);
  }
}

void append_quoted(std::string_view text, std::string& out) {
  out.push_back('\'');
  while (!text.empty()) append_escaped(detail::next_code_point(text), '\'', out);
  out.push_back('\'');
}

void append_atom(std::string_view text, std::string& out) {
  if (detail::is_plain_atom(text)) {
    out.append(text);
  } else {
    append_quoted(text, out);
  }
}

/// Node names stand without quotes unless they have unusual characters.
void append_node(std::string_view name, std::string& out) {
  const auto usual = [](char character) {
    return detail::is_atom_part(static_cast<unsigned char>(character)) && static_cast<unsigned char>(character) < 128;
  };
  if (!name.empty() && std::ranges::all_of(name, [&](char character) {
        return usual(character) || character == '.' || character == '-';
      })) {
    out.append(name);
  } else {
    append_quoted(name, out);
  }
}

/// Shortest digits that read back as the same number, placed as Erlang places them.
void append_float(double value, std::string& out) {
  if (std::signbit(value)) out.push_back('-');
  value = std::fabs(value);
  if (value == 0) {
    out += "0.0";
    return;
  }
  std::array<char, 40> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific).ptr;
  const std::string_view all(text.data(), static_cast<std::size_t>(end - text.data()));
  const auto exponent_at = all.find('e');
  std::string digits(1, all[0]);
  if (exponent_at > 2) digits.append(all.substr(2, exponent_at - 2));
  int exponent = 0;
  const auto exponent_text = all.substr(exponent_at + (all[exponent_at + 1] == '+' ? 2 : 1));
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  const int place = exponent + 1;  // digits before the point
  const int length = static_cast<int>(digits.size());
  const auto with_exponent = [&] {
    return digits.substr(0, 1) + "." + (length > 1 ? digits.substr(1) : "0") + "e" + std::to_string(exponent);
  };
  const int exponent_cost = static_cast<int>(std::to_string(exponent).size()) + 1 + (length == 1 ? 2 : 1);
  constexpr double exact_max = 9007199254740992.0;  // 2^53
  if (place > 0 && place < length) {
    out += digits.substr(0, static_cast<std::size_t>(place)) + "." + digits.substr(static_cast<std::size_t>(place));
  } else if (place <= 0) {
    out += 2 - place <= exponent_cost ? "0." + std::string(static_cast<std::size_t>(-place), '0') + digits
                                      : with_exponent();
  } else if (place - length + 2 <= exponent_cost && value < exact_max) {
    out += digits + std::string(static_cast<std::size_t>(place - length), '0') + ".0";
  } else {
    out += with_exponent();
  }
}

void append_term(const Term& term, std::string& out);

void append_elements(std::span<const Term> elements, std::string& out) {
  bool first = true;
  for (const auto& element : elements) {
    if (!std::exchange(first, false)) out.push_back(',');
    append_term(element, out);
  }
}

void append_list(const Term& list, std::string& out) {
  const auto is_character = [](const Term& element) {
    const auto value = element.as_int64();
    return value && printable(*value);
  };
  if (list.tail().is_nil() && std::ranges::all_of(list.elements(), is_character)) {
    out.push_back('"');
    for (const auto& element : list.elements())
      append_escaped(static_cast<std::uint32_t>(*element.as_int64()), '"', out);
    out.push_back('"');
    return;
  }
  out.push_back('[');
  append_elements(list.elements(), out);
  if (!list.tail().is_nil()) {
    out.push_back('|');
    append_term(list.tail(), out);
  }
  out.push_back(']');
}

/// `text` is valid UTF-8.
bool printable_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    if (!printable(detail::next_code_point(text))) return false;
  }
  return true;
}

void append_bits(const detail::BitsBox& value, std::string& out) {
  out += "<<";
  // What is valid UTF-8 is never taken for Latin-1, even where Latin-1 alone would be printable.
  const bool whole = value.bits % 8 == 0 && value.bits != 0;
  const bool utf8 = whole && detail::utf8_length(as_text(value.view())).has_value();
  if (utf8 && printable_utf8(as_text(value.view()))) {
    std::size_t characters = 0;
    out.push_back('"');
    for (auto text = as_text(value.view()); !text.empty(); ++characters) {
      append_escaped(detail::next_code_point(text), '"', out);
    }
    out += characters == value.view().size() ? "\"" : "\"/utf8";
  } else if (whole && !utf8 && std::ranges::all_of(value.view(), printable)) {
    out.push_back('"');
    for (const auto byte : value.view()) append_escaped(byte, '"', out);
    out.push_back('"');
  } else {
    for (std::size_t at = 0; at < value.view().size(); ++at) {
      if (at > 0) out.push_back(',');
      const std::size_t bits = std::min<std::size_t>(8, value.bits - at * 8);
      out += std::to_string(value.view()[at] >> (8 - bits));
      if (bits < 8) out += ":" + std::to_string(bits);
    }
  }
  out += ">>";
}

void append_map(const Term& map, std::string& out) {
  out += "#{";
  bool first = true;
  for (const auto& [key, value] : map.pairs()) {
    if (!std::exchange(first, false)) out.push_back(',');
    append_term(key, out);
    out += " => ";
    append_term(value, out);
  }
  out.push_back('}');
}

void append_reference(const Ref& ref, std::string& out) {
  out += "#Ref<" + std::to_string(ref.count) + ":";
  append_node(ref.node.text(), out);
  for (std::size_t word = ref.count; word-- > 0;) out += "." + std::to_string(ref.words[word]);
  out += "/" + std::to_string(ref.creation) + ">";
}

void append_local_fun(const detail::LocalFunBox& fun, std::string& out) {
  out += "#Fun<";
  append_atom(fun.module.text(), out);
  out += "." + std::to_string(fun.index) + "." + std::to_string(fun.old_unique) + ">";
}

void append_term(const Term& term, std::string& out) {
  switch (Box::kind_of(term)) {
    case Kind::nil: out += "[]"; return;
    case Kind::integer: out += std::to_string(Box::integer_of(term)); return;
    case Kind::big: out += box<detail::BigBox>(term).value.to_string(); return;
    case Kind::floating: return append_float(Box::floating_of(term), out);
    case Kind::atom: return append_atom(Box::atom_text(term), out);
    case Kind::pid: {
      const Pid& pid = *term.as_pid();
      out.push_back('<');
      append_node(pid.node.text(), out);
      out += "." + std::to_string(pid.id) + "." + std::to_string(pid.serial) + "/" + std::to_string(pid.creation) + ">";
      return;
    }
    case Kind::reference: return append_reference(*term.as_reference(), out);
    case Kind::port: {
      const Port& port = *term.as_port();
      out += "#Port<";
      append_node(port.node.text(), out);
      out += "." + std::to_string(port.id) + "/" + std::to_string(port.creation) + ">";
      return;
    }
    case Kind::external_fun: {
      const ExternalFun& fun = *term.as_external_fun();
      out += "fun ";
      append_atom(fun.module.text(), out);
      out.push_back(':');
      append_atom(fun.function.text(), out);
      out += "/" + std::to_string(fun.arity);
      return;
    }
    case Kind::local_fun: return append_local_fun(box<detail::LocalFunBox>(term), out);
    case Kind::tuple:
      out.push_back('{');
      append_elements(term.elements(), out);
      out.push_back('}');
      return;
    case Kind::list: return append_list(term, out);
    case Kind::map: return append_map(term, out);
    case Kind::bitstring: return append_bits(box<detail::BitsBox>(term), out);
  }
}

}  // namespace

namespace detail {

bool is_atom_start(std::uint32_t code) noexcept {
  return (code >= 'a' && code <= 'z') || (code >= 0xDF && code <= 0xFF && code != 0xF7);
}

bool is_atom_part(std::uint32_t code) noexcept {
  return is_atom_start(code) || (code >= 'A' && code <= 'Z') || (code >= '0' && code <= '9') || code == '_' ||
         code == '@' || (code >= 0xC0 && code <= 0xDE && code != 0xD7);
}

bool is_reserved_word(std::string_view text) noexcept {
  static constexpr std::array<std::string_view, 28> words{"after", "and",    "andalso", "band", "begin", "bnot", "bor",
                                                          "bsl",   "bsr",    "bxor",    "case", "catch", "cond", "div",
                                                          "end",   "fun",    "if",      "let",  "maybe", "not",  "of",
                                                          "or",    "orelse", "receive", "rem",  "try",   "when", "xor"};
  return std::ranges::find(words, text) != words.end();
}

bool is_plain_atom(std::string_view text) noexcept {
  if (text.empty() || is_reserved_word(text)) return false;
  auto rest = text;
  if (!is_atom_start(next_code_point(rest))) return false;
  while (!rest.empty()) {
    if (!is_atom_part(next_code_point(rest))) return false;
  }
  return true;
}

}  // namespace detail

std::string to_text(const Term& term) {
  std::string text;
  append_term(term, text);
  return text;
}

}  // namespace v0
}  // namespace barrel_p2p
