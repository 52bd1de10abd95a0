// External term format, writing: the form that OTP 27 sends (protocol document 08, section 1.2), map keys in term
// order.
#include <zlib.h>

#include <bit>
#include <cstdio>

#include "term/box.hpp"
#include "term/tags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using detail::Box;
using detail::box;
using detail::Kind;

constexpr std::size_t string_max = 65'535;

/// A proper list that goes out as STRING: 1 to 65535 integers, all of them bytes.
bool is_string(const Term& list) noexcept {
  if (!list.tail().is_nil() || list.size() > string_max) return false;
  for (const auto& element : list.elements()) {
    if (Box::kind_of(element) != Kind::integer || Box::integer_of(element) < 0 || Box::integer_of(element) > 255)
      return false;
  }
  return true;
}

std::size_t size_of_atom(std::string_view text) noexcept { return (text.size() <= 255 ? 2 : 3) + text.size(); }

std::size_t size_of_big(std::size_t digits) noexcept { return (digits <= 255 ? 3 : 6) + digits; }

std::size_t size_of_integer(std::int64_t value) noexcept {
  if (value >= 0 && value <= 255) return 2;
  if (value >= INT32_MIN && value <= INT32_MAX) return 5;
  const std::uint64_t size = value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  return size_of_big((static_cast<std::size_t>(std::bit_width(size)) + 7) / 8);
}

std::size_t size_of_local_fun(const detail::LocalFunBox& fun) noexcept;

std::size_t size_of(const Term& term) noexcept {
  std::size_t size = 0;
  switch (Box::kind_of(term)) {
    case Kind::nil: return 1;
    case Kind::integer: return size_of_integer(Box::integer_of(term));
    case Kind::floating: return 9;
    case Kind::atom: return size_of_atom(Box::atom_text(term));
    case Kind::big: return size_of_big(box<detail::BigBox>(term).value.magnitude.size());
    case Kind::pid: return 13 + size_of_atom(term.as_pid()->node.text());
    case Kind::reference: return 7 + size_of_atom(term.as_reference()->node.text()) + 4UL * term.as_reference()->count;
    case Kind::port: return 13 + size_of_atom(term.as_port()->node.text());
    case Kind::external_fun:
      return 3 + size_of_atom(term.as_external_fun()->module.text()) +
             size_of_atom(term.as_external_fun()->function.text());
    case Kind::local_fun: return size_of_local_fun(box<detail::LocalFunBox>(term));
    case Kind::tuple: {
      const auto elements = box<detail::TupleBox>(term).elements();
      size = elements.size() <= 255 ? 2 : 5;
      for (const auto& element : elements) size += size_of(element);
      return size;
    }
    case Kind::list:
      if (is_string(term)) return 3 + term.size();
      size = 5 + size_of(term.tail());
      for (const auto& element : box<detail::ListBox>(term).elements) size += size_of(element);
      return size;
    case Kind::map:
      size = 5;
      for (const auto& [key, value] : box<detail::MapBox>(term).pairs) size += size_of(key) + size_of(value);
      return size;
    case Kind::bitstring: {
      const std::size_t bits = box<detail::BitsBox>(term).bits;
      return (bits % 8 == 0 ? 5 : 6) + (bits + 7) / 8;
    }
  }
  return size;
}

std::size_t size_of_local_fun(const detail::LocalFunBox& fun) noexcept {
  std::size_t size = 30 + size_of_atom(fun.module.text()) + size_of_integer(fun.old_index) +
                     size_of_integer(fun.old_unique) + 13 + size_of_atom(fun.pid.node.text());
  for (const auto& free : fun.free) size += size_of(free);
  return size;
}

/// Writes into a buffer that has been given the right size.
class Encoder {
 public:
  explicit Encoder(std::uint8_t* at) noexcept : at_(at) {}

  void u8(std::uint64_t value) noexcept { *at_++ = static_cast<std::uint8_t>(value); }
  void number(std::uint64_t value, unsigned size) noexcept {
    for (unsigned byte = size; byte-- > 0;) u8(value >> (8U * byte));
  }
  void bytes(ByteView view) noexcept {
    if (!view.empty()) std::copy(view.begin(), view.end(), at_);
    at_ += view.size();
  }

  void atom(std::string_view text) noexcept {
    if (text.size() <= 255) {
      u8(tag::small_atom_utf8), u8(text.size());
    } else {
      u8(tag::atom_utf8), number(text.size(), 2);
    }
    bytes(as_bytes(text));
  }

  void integer(std::int64_t value) noexcept {
    if (value >= 0 && value <= 255) {
      u8(tag::small_integer), u8(static_cast<std::uint64_t>(value));
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
      u8(tag::integer), number(static_cast<std::uint32_t>(value), 4);
    } else {
      std::uint64_t size = value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
      u8(tag::small_big), u8((static_cast<std::size_t>(std::bit_width(size)) + 7) / 8), u8(value < 0 ? 1 : 0);
      for (; size != 0; size >>= 8U) u8(size & 0xFFU);
    }
  }

  void big(const BigInteger& value) noexcept {
    if (value.magnitude.size() <= 255) {
      u8(tag::small_big), u8(value.magnitude.size());
    } else {
      u8(tag::large_big), number(value.magnitude.size(), 4);
    }
    u8(value.negative ? 1 : 0);
    bytes(value.magnitude);
  }

  void pid(const Pid& value) noexcept {
    u8(tag::new_pid), atom(value.node.text());
    number(value.id, 4), number(value.serial, 4), number(value.creation, 4);
  }

  void local_fun(const detail::LocalFunBox& fun) {
    u8(tag::new_fun), number(size_of_local_fun(fun) - 1, 4), u8(fun.arity);
    bytes(fun.unique);
    number(fun.index, 4), number(fun.free.size(), 4);
    atom(fun.module.text());
    integer(fun.old_index), integer(fun.old_unique);
    pid(fun.pid);
    for (const auto& free : fun.free) term(free);
  }

  void bits(const detail::BitsBox& value) noexcept {
    if (value.bits % 8 == 0) {
      u8(tag::binary), number(value.view().size(), 4);
    } else {
      u8(tag::bit_binary), number(value.view().size(), 4), u8(value.bits % 8);
    }
    bytes(value.view());
  }

  void list(const Term& value) {
    if (is_string(value)) {
      u8(tag::string), number(value.size(), 2);
      for (const auto& element : value.elements()) u8(static_cast<std::uint64_t>(Box::integer_of(element)));
      return;
    }
    u8(tag::list), number(value.size(), 4);
    for (const auto& element : value.elements()) term(element);
    term(value.tail());
  }

  void term(const Term& value) {
    switch (Box::kind_of(value)) {
      case Kind::nil: return u8(tag::nil);
      case Kind::integer: return integer(Box::integer_of(value));
      case Kind::floating: return u8(tag::new_float), number(std::bit_cast<std::uint64_t>(Box::floating_of(value)), 8);
      case Kind::atom: return atom(Box::atom_text(value));
      case Kind::big: return big(box<detail::BigBox>(value).value);
      case Kind::pid: return pid(*value.as_pid());
      case Kind::reference: {
        const Ref& ref = *value.as_reference();
        u8(tag::newer_reference), number(ref.count, 2), atom(ref.node.text()), number(ref.creation, 4);
        for (std::size_t word = 0; word < ref.count; ++word) number(ref.words[word], 4);
        return;
      }
      case Kind::port: {
        const Port& port = *value.as_port();
        return u8(tag::v4_port), atom(port.node.text()), number(port.id, 8), number(port.creation, 4);
      }
      case Kind::external_fun: {
        const ExternalFun& fun = *value.as_external_fun();
        return u8(tag::export_fun), atom(fun.module.text()), atom(fun.function.text()), u8(tag::small_integer),
               u8(fun.arity);
      }
      case Kind::local_fun: return local_fun(box<detail::LocalFunBox>(value));
      case Kind::tuple:
        if (value.size() <= 255) {
          u8(tag::small_tuple), u8(value.size());
        } else {
          u8(tag::large_tuple), number(value.size(), 4);
        }
        for (const auto& element : value.elements()) term(element);
        return;
      case Kind::list: return list(value);
      case Kind::map:
        u8(tag::map), number(value.size(), 4);
        for (const auto& [key, content] : value.pairs()) term(key), term(content);
        return;
      case Kind::bitstring: return bits(box<detail::BitsBox>(value));
    }
  }

 private:
  std::uint8_t* at_;
};

/// The forms of older minor versions differ in size, so they are built by appending.
void append_old(const Term& term, int minor_version, Bytes& out);

void append_number(std::uint64_t value, unsigned size, Bytes& out) {
  for (unsigned byte = size; byte-- > 0;) out.push_back(static_cast<std::uint8_t>(value >> (8U * byte)));
}

void append_old_atom(std::string_view text, Bytes& out) {
  std::string latin;
  for (auto rest = text; !rest.empty();) {
    const std::uint32_t code = detail::next_code_point(rest);
    if (code > 255) return encode_term_to(Term(Atom(text)), out, false);
    latin.push_back(static_cast<char>(code));
  }
  out.push_back(tag::atom);
  append_number(latin.size(), 2, out);
  for (const char byte : latin) out.push_back(static_cast<std::uint8_t>(byte));
}

void append_old_float(double value, Bytes& out) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.20e", value);
  out.push_back(tag::old_float);
  for (std::size_t at = 0; at < 31; ++at) out.push_back(static_cast<std::uint8_t>(text[at]));
}

void append_old(const Term& term, int minor_version, Bytes& out) {
  switch (Box::kind_of(term)) {
    case Kind::atom: return append_old_atom(Box::atom_text(term), out);
    case Kind::floating:
      if (minor_version == 0) return append_old_float(Box::floating_of(term), out);
      return encode_term_to(term, out, false);
    case Kind::tuple:
      out.push_back(term.size() <= 255 ? tag::small_tuple : tag::large_tuple);
      append_number(term.size(), term.size() <= 255 ? 1 : 4, out);
      for (const auto& element : term.elements()) append_old(element, minor_version, out);
      return;
    case Kind::list:
      if (is_string(term)) return encode_term_to(term, out, false);
      out.push_back(tag::list);
      append_number(term.size(), 4, out);
      for (const auto& element : term.elements()) append_old(element, minor_version, out);
      return append_old(term.tail(), minor_version, out);
    case Kind::map:
      out.push_back(tag::map);
      append_number(term.size(), 4, out);
      for (const auto& [key, value] : term.pairs())
        append_old(key, minor_version, out), append_old(value, minor_version, out);
      return;
    case Kind::nil:
    case Kind::integer:
    case Kind::big:
    case Kind::pid:
    case Kind::reference:
    case Kind::port:
    case Kind::external_fun:
    case Kind::local_fun:
    case Kind::bitstring: return encode_term_to(term, out, false);
  }
}

Bytes compress(Bytes plain, int level) {
  constexpr std::size_t header = 6;  // version, tag, size
  uLongf size = compressBound(static_cast<uLong>(plain.size() - 1));
  Bytes out(header + size);
  if (compress2(out.data() + header, &size, plain.data() + 1, static_cast<uLong>(plain.size() - 1), level) != Z_OK)
    return plain;
  if (header + size >= plain.size()) return plain;
  out.resize(header + size);
  Encoder encoder(out.data());
  encoder.u8(tag::version), encoder.u8(tag::compressed), encoder.number(plain.size() - 1, 4);
  return out;
}

}  // namespace

std::size_t encoded_size(const Term& term, bool version_byte) noexcept {
  return (version_byte ? 1 : 0) + size_of(term);
}

void encode_term_to(const Term& term, Bytes& out, bool version_byte) {
  const std::size_t start = out.size();
  out.resize(start + encoded_size(term, version_byte));
  Encoder encoder(out.data() + start);
  if (version_byte) encoder.u8(tag::version);
  encoder.term(term);
}

Bytes encode_term(const Term& term, const EncodeOptions& options) {
  Bytes out;
  if (options.minor_version >= 2) {
    encode_term_to(term, out, options.version_byte);
  } else {
    if (options.version_byte) out.push_back(tag::version);
    append_old(term, options.minor_version, out);
  }
  if (options.compression > 0 && options.version_byte) return compress(std::move(out), options.compression);
  return out;
}

}  // namespace v0
}  // namespace barrel_p2p
