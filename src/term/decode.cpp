// External term format, reading. Layouts: protocol document 08, section 1.1; OTP "External Term Format".
#include <zlib.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "term/box.hpp"
#include "term/tags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using detail::Box;
using detail::LocalFunBox;

/// Reads one term. The first thing that is wrong sets `error_`; every read after it is harmless.
class Decoder {
 public:
  Decoder(ByteView bytes, const DecodeOptions& options, std::shared_ptr<const void> owner)
      : bytes_(bytes), options_(options), owner_(std::move(owner)) {}

  Result<Decoded> run() {
    Term term;
    std::size_t used = 0;
    if (options_.version_byte && u8() != tag::version)
      return fail(Errc::malformed_term, "a term must begin with the byte 131");
    if (options_.version_byte && options_.allow_compressed && peek() == tag::compressed) {
      auto inner = compressed();
      if (!inner) return std::unexpected(inner.error());
      term = std::move(*inner);
    } else {
      term = read(0);
    }
    used = at_;
    if (error_) return std::unexpected(*error_);
    if (used != bytes_.size() && !options_.allow_trailing) {
      return fail(Errc::trailing_bytes, std::to_string(bytes_.size() - used) + " bytes follow the term");
    }
    return Decoded{std::move(term), used};
  }

 private:
  void bad(const char* what) {
    if (!error_) error_ = Error(Errc::malformed_term, std::string(what) + " at byte " + std::to_string(at_));
  }
  void over(const char* what) {
    if (!error_) error_ = Error(Errc::limit_exceeded, what);
  }
  [[nodiscard]] std::size_t left() const noexcept { return bytes_.size() - at_; }
  [[nodiscard]] int peek() const noexcept { return at_ < bytes_.size() ? bytes_[at_] : -1; }
  bool need(std::size_t count) {
    if (error_ || left() < count) {
      bad("input ends too early");
      return false;
    }
    return true;
  }
  ByteView take(std::size_t count) {
    if (!need(count)) return {};
    const auto view = bytes_.subspan(at_, count);
    at_ += count;
    return view;
  }
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    for (const auto byte : take(size)) value = value << 8U | byte;
    return value;
  }
  std::uint8_t u8() { return need(1) ? bytes_[at_++] : std::uint8_t{0}; }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }

  /// Counts memory that the decoded term will take.
  bool charge(std::size_t bytes) {
    memory_ += bytes;
    if (memory_ > options_.limits.memory_bytes_max) over("the term needs more memory than the limit allows");
    return !error_;
  }

  Term read(std::size_t depth) {
    if (depth >= options_.limits.depth_max || depth >= Term::depth_max - 1) {
      over("the term is nested too deeply");
      return {};
    }
    const std::uint8_t tag = u8();
    if (error_) return {};
    switch (tag) {
      case tag::small_integer: return Term(u8());
      case tag::integer: return Term(static_cast<std::int32_t>(u32()));
      case tag::small_big: return big(u8());
      case tag::large_big: return big(u32());
      case tag::new_float: return floating(std::bit_cast<double>(number(8)));
      case tag::old_float: return text_float();
      case tag::small_atom_utf8:
      case tag::atom_utf8:
      case tag::small_atom:
      case tag::atom: return Term(atom(tag));
      case tag::small_tuple: return tuple(u8(), depth);
      case tag::large_tuple: return tuple(u32(), depth);
      case tag::nil: return {};
      case tag::string:
      case tag::list: return list(tag, depth);
      case tag::binary: return bits(u32(), 8);
      case tag::bit_binary: {
        const std::uint32_t size = u32();
        const std::uint8_t last = u8();
        if (size == 0 || last == 0 || last > 8) bad("bad bit string");
        return bits(size, last);
      }
      case tag::map: return map(depth);
      case tag::new_pid:
      case tag::pid: return pid(tag);
      case tag::v4_port:
      case tag::new_port:
      case tag::port: return port(tag);
      case tag::newer_reference:
      case tag::new_reference:
      case tag::reference: return reference(tag);
      case tag::export_fun: return external_fun();
      case tag::new_fun: return local_fun(depth);
      default: break;
    }
    --at_;
    bad("unknown or forbidden tag");
    return {};
  }

  Term big(std::size_t size) {
    const bool negative = u8() != 0;
    if (size > options_.limits.integer_bytes_max) {
      over("an integer is longer than the limit allows");
      return {};
    }
    const auto digits = take(size);
    if (error_ || !charge(size + 64)) return {};
    constexpr std::uint64_t small_max = std::numeric_limits<std::int64_t>::max();
    if (size <= sizeof(std::uint64_t)) {  // times in milliseconds are such: no memory is needed for them
      std::uint64_t value = 0;
      for (std::size_t at = size; at-- > 0;) value = value << 8U | digits[at];
      if (value <= small_max) return negative ? -static_cast<std::int64_t>(value) : static_cast<std::int64_t>(value);
    }
    return Term(BigInteger{negative, Bytes(digits.begin(), digits.end())});
  }

  Term floating(double value) {
    if (!std::isfinite(value)) bad("a float is not finite");
    if (error_) return {};
    return Term(value);
  }

  Term text_float() {
    const auto field = take(31);
    if (error_) return {};
    std::string_view text = as_text(field);
    text = text.substr(0, text.find('\0'));
    if (text.starts_with('+')) text.remove_prefix(1);
    double value = 0;
    const auto [end, failure] =
        std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::general);
    const bool letters = text.find_first_not_of("+-0123456789.eE") != std::string_view::npos;
    if (failure != std::errc() || end != text.data() + text.size() || letters ||
        text.find('.') == std::string_view::npos) {
      bad("bad float text");
      return {};
    }
    return floating(value);
  }

  Atom named(std::string_view utf8) {
    if (++atoms_ > options_.limits.atoms_max) over("the term names more atoms than the limit allows");
    if (error_) return {};
    if (options_.existing_atoms_only) {
      if (auto known = detail::find_atom(utf8)) return std::move(*known);
      bad("an atom that is not known here");
      return {};
    }
    auto made = Atom::make(utf8);
    if (made) return std::move(*made);
    if (!error_) error_ = made.error();
    return {};
  }

  Atom atom(std::uint8_t tag) {
    const bool is_short = tag == tag::small_atom_utf8 || tag == tag::small_atom;
    const std::size_t size = is_short ? u8() : u16();
    const auto text = as_text(take(size));
    if (error_) return {};
    if (tag == tag::small_atom_utf8 || tag == tag::atom_utf8) {
      if (size > Atom::code_points_max && detail::utf8_length(text).value_or(size) > Atom::code_points_max) {
        bad("bad atom text");
        return {};
      }
      return named(text);
    }
    if (size > Atom::code_points_max) {
      bad("an atom is too long");
      return {};
    }
    std::string utf8;
    for (const char byte : text) detail::append_utf8(static_cast<std::uint8_t>(byte), utf8);
    return named(utf8);
  }

  Atom atom_field() {
    const std::uint8_t tag = u8();
    if (tag == tag::small_atom_utf8 || tag == tag::atom_utf8 || tag == tag::small_atom || tag == tag::atom)
      return atom(tag);
    bad("an atom is expected");
    return {};
  }

  /// Room for `count` elements of at least one byte each, checked before anything is allocated.
  bool elements(std::size_t count, std::size_t bytes_each) {
    if (count > left()) bad("more elements are announced than bytes are left");
    return !error_ && charge(64 + count * bytes_each);
  }

  Term tuple(std::size_t arity, std::size_t depth) {
    constexpr std::size_t arity_max = (std::size_t{1} << 24U) - 1;  // OTP's own
    if (arity > arity_max) bad("a tuple is too large");
    if (!elements(arity, sizeof(Term))) return {};
    constexpr std::size_t small_max = 16;
    if (arity > small_max) {  // elements that are announced and never come must cost nothing
      std::vector<Term> terms;
      terms.reserve(arity);
      for (std::size_t index = 0; index < arity && !error_; ++index) terms.push_back(read(depth + 1));
      return error_ ? Term() : Term::tuple(std::move(terms));
    }
    Term made = detail::make_tuple(arity);
    for (auto& element : detail::elements_to_fill(made)) {
      element = read(depth + 1);
      if (error_) return {};
    }
    return detail::seal_tuple(std::move(made));
  }

  /// Follows tails that are lists again, so that the result is flat and the work linear.
  Term list(std::uint8_t tag, std::size_t depth) {
    std::vector<Term> terms;
    for (;;) {
      if (tag == tag::string) {
        const std::size_t size = u16();
        const auto text = take(size);
        if (error_ || !charge(64 + size * sizeof(Term))) return {};
        for (const auto byte : text) terms.emplace_back(byte);
        return Term::list(std::move(terms));
      }
      const std::size_t count = u32();
      if (!elements(count, sizeof(Term))) return {};
      if (terms.empty()) terms.reserve(count);
      for (std::size_t index = 0; index < count && !error_; ++index) terms.push_back(read(depth + 1));
      if (error_) return {};
      const int next = peek();
      if (next != tag::list && next != tag::string) break;
      tag = u8();
    }
    Term tail = read(depth + 1);
    return error_ ? Term() : Term::list(std::move(terms), std::move(tail));
  }

  Term bits(std::size_t size, std::size_t last_bits) {
    const auto content = take(size);
    if (error_) return {};
    const std::size_t count = size * 8 - (size == 0 ? 0 : 8 - last_bits);
    constexpr std::size_t share_from = 64;  // below it a copy costs less than keeping the buffer alive
    if (owner_ && last_bits == 8 && size >= share_from)
      return charge(96) ? detail::make_slice(content, count, owner_) : Term();
    return charge(96 + size) ? Term::bitstring(content, count) : Term();
  }

  Term map(std::size_t depth) {
    const std::size_t count = u32();
    if (count > left() / 2) bad("more pairs are announced than bytes are left");
    if (error_ || !charge(64 + count * sizeof(TermPair))) return {};
    std::vector<TermPair> pairs;
    pairs.reserve(count);
    for (std::size_t index = 0; index < count && !error_; ++index) {
      Term key = read(depth + 1);
      pairs.emplace_back(std::move(key), read(depth + 1));
    }
    if (error_) return {};
    bool duplicate = false;
    Term made = detail::make_map(std::move(pairs), &duplicate);
    if (!duplicate) return made;
    bad("a map has the same key twice");
    return {};
  }

  std::uint32_t creation(bool old) {
    if (!old) return u32();
    return u8();
  }

  Term pid(std::uint8_t tag) {
    Pid value;
    value.node = atom_field();
    value.id = u32();
    value.serial = u32();
    value.creation = creation(tag == tag::pid);
    if (tag == tag::pid && value.creation > old_creation_max) bad("bad creation");
    return error_ || !charge(96) ? Term() : Term(value);
  }

  Term port(std::uint8_t tag) {
    Port value;
    value.node = atom_field();
    value.id = number(tag == tag::v4_port ? 8 : 4);
    value.creation = creation(tag == tag::port);
    if (tag == tag::port && value.creation > old_creation_max) bad("bad creation");
    return error_ || !charge(96) ? Term() : Term(value);
  }

  Term reference(std::uint8_t tag) {
    Ref value;
    const std::uint16_t count = tag == tag::reference ? std::uint16_t{1} : u16();
    if (count < 1 || count > Ref::words_max) bad("bad reference");
    value.node = atom_field();
    if (error_) return {};
    value.count = static_cast<std::uint8_t>(count);
    if (tag == tag::reference) {
      value.words[0] = u32();
      value.creation = u8();
    } else {
      value.creation = creation(tag == tag::new_reference);
      for (std::size_t word = 0; word < count; ++word) value.words[word] = u32();
    }
    constexpr std::uint32_t first_word_max = (1U << 18U) - 1;
    if (tag == tag::new_reference && value.words[0] > first_word_max) bad("bad reference");
    if (tag != tag::newer_reference && value.creation > old_creation_max) bad("bad creation");
    return error_ || !charge(96) ? Term() : Term(value);
  }

  Term external_fun() {
    ExternalFun fun;
    fun.module = atom_field();
    fun.function = atom_field();
    const std::uint8_t tag = u8();
    const std::uint32_t arity = tag == tag::small_integer ? u8() : tag == tag::integer ? u32() : 256;
    if (arity > 255) bad("bad arity of a fun");  // the VM of an Erlang node dies of such a fun
    if (options_.existing_atoms_only) bad("an external fun that is not known here");
    fun.arity = static_cast<std::uint8_t>(arity);
    return error_ || !charge(96) ? Term() : Term(fun);
  }

  std::optional<std::int64_t> integer_field() {
    const std::uint8_t tag = u8();
    if (tag == tag::small_integer) return u8();
    if (tag == tag::integer) return static_cast<std::int32_t>(u32());
    if (tag == tag::small_big) return big(u8()).as_int64();
    return std::nullopt;
  }

  Term local_fun(std::size_t depth) {
    auto fun = std::make_unique<LocalFunBox>();
    u32();  // the size; OTP does not check it either
    fun->arity = u8();
    const auto unique = take(16);
    if (error_) return {};
    std::memcpy(fun->unique.data(), unique.data(), unique.size());
    fun->index = u32();
    const std::size_t free = u32();
    fun->module = atom_field();
    const auto old_index = integer_field();
    const auto old_unique = integer_field();
    if (!old_index || !old_unique) bad("bad fun");
    const std::uint8_t tag = u8();
    if (tag != tag::new_pid && tag != tag::pid) bad("bad fun");
    const Term owner = error_ ? Term() : pid(tag);
    if (error_ || !elements(free, sizeof(Term))) return {};
    fun->old_index = *old_index;
    fun->old_unique = *old_unique;
    fun->pid = *owner.as_pid();
    for (std::size_t index = 0; index < free && !error_; ++index) fun->free.push_back(read(depth + 1));
    return error_ || !charge(160) ? Term() : detail::make_local_fun(std::move(fun));
  }

  Result<Term> compressed() {
    u8();
    const std::size_t size = u32();
    if (error_) return std::unexpected(*error_);
    if (size > options_.limits.memory_bytes_max)
      return fail(Errc::limit_exceeded, "a compressed term is larger than the limit allows");
    // The announced size is a claim: grow with what really comes out.
    Bytes plain;
    z_stream stream{};
    if (inflateInit(&stream) != Z_OK) return fail(Errc::system_error, "zlib does not start");
    stream.next_in = const_cast<Bytef*>(bytes_.data() + at_);  // NOLINT: zlib does not write there
    stream.avail_in = static_cast<uInt>(std::min<std::size_t>(left(), std::numeric_limits<uInt>::max()));
    int status = Z_OK;
    while (status == Z_OK && plain.size() <= size) {
      const std::size_t before = plain.size();
      plain.resize(std::min(size + 1, std::max<std::size_t>(4096, before * 2)));
      stream.next_out = plain.data() + before;
      stream.avail_out = static_cast<uInt>(plain.size() - before);
      const auto room = stream.avail_out;
      status = inflate(&stream, Z_NO_FLUSH);
      plain.resize(plain.size() - stream.avail_out);
      if (status == Z_OK && stream.avail_out == room) break;  // no progress: input ends too early
    }
    at_ += stream.total_in;
    inflateEnd(&stream);
    if (status != Z_STREAM_END || plain.size() != size) return fail(Errc::malformed_term, "bad compressed term");
    DecodeOptions inner = options_;
    inner.version_byte = false;
    inner.allow_trailing = true;  // as OTP: the content may go on after the term
    auto decoded = Decoder(plain, inner, nullptr).run();
    if (!decoded) return std::unexpected(decoded.error());
    return std::move(decoded->term);
  }

  static constexpr std::uint32_t old_creation_max = 3;

  ByteView bytes_;
  const DecodeOptions& options_;
  std::shared_ptr<const void> owner_;
  std::size_t at_ = 0;
  std::size_t memory_ = 0;
  std::size_t atoms_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Result<Decoded> decode_term(ByteView bytes, const DecodeOptions& options) {
  return Decoder(bytes, options, nullptr).run();
}
Result<Decoded> decode_term(ByteView bytes, std::shared_ptr<const void> owner, const DecodeOptions& options) {
  return Decoder(bytes, options, std::move(owner)).run();
}

}  // namespace v0
}  // namespace barrel_p2p
