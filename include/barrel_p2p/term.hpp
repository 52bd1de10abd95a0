// Erlang terms as C++ values.
//
// A `Term` is immutable, 16 bytes, and cheap to copy: small integers, floats and atoms are inline, everything else is
// reference counted and shared. Terms may be copied and read from any thread at once; one Term object must not be
// assigned while another thread reads it (the rule of `std::shared_ptr`).
//
//   Term point = Term::tuple({Atom("point"), 1, 2.5});
//   Term config = Term::map({{Atom("limit"), 100}, {"name", "north"}});   // C++ strings become binaries
//   auto limit = config.get<int>(Atom("limit"));                          // Result<int>
//
// Order and equality are those of Erlang: `==` on Term is exact (`=:=`), `equals` is `==`, `compare` is the term order.
// Sources: External Term Format (Erlang/OTP), protocol document 08.
#pragma once

#include <array>
#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

class Term;

/// An interned name of at most 255 code points of UTF-8. 8 bytes; equality compares one pointer. Entries are reference
/// counted, so atoms that only a peer's messages named are freed with these messages. Kept are names of nodes, and up
/// to 1,000 atoms that were in hundreds of terms at once.
class BARREL_P2P_API Atom {
 public:
  static constexpr std::size_t code_points_max = 255;

  Atom() noexcept = default;  ///< The empty atom `''`.
  /// Throws std::invalid_argument when `utf8` is not valid UTF-8 or too long: use `make` for input that is not a
  /// literal. Literals are not subject to `set_atoms_max`.
  Atom(std::string_view utf8);                              // NOLINT(google-explicit-constructor)
  Atom(const char* utf8) : Atom(std::string_view(utf8)) {}  // NOLINT(google-explicit-constructor)
  /// Errors: `malformed_term`: no UTF-8; `limit_exceeded`: too long, or the atom table is full.
  [[nodiscard]] static Result<Atom> make(std::string_view utf8);

  Atom(const Atom& other) noexcept;
  Atom(Atom&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
  Atom& operator=(const Atom& other) noexcept {
    Atom copy(other);
    std::swap(entry_, copy.entry_);
    return *this;
  }
  Atom& operator=(Atom&& other) noexcept {
    std::swap(entry_, other.entry_);
    return *this;
  }
  ~Atom() {
    if (entry_ != nullptr) release();
  }

  [[nodiscard]] std::string_view text() const noexcept;
  [[nodiscard]] std::string string() const { return std::string(text()); }
  [[nodiscard]] std::size_t hash() const noexcept { return std::hash<const void*>()(entry_); }

  friend bool operator==(const Atom& left, const Atom& right) noexcept { return left.entry_ == right.entry_; }
  friend bool operator==(const Atom& left, std::string_view right) noexcept { return left.text() == right; }
  friend bool operator==(const Atom& left, const char* right) noexcept { return left.text() == right; }
  /// By code points.
  friend std::strong_ordering operator<=>(const Atom& left, const Atom& right) noexcept {
    return left.text() <=> right.text();
  }

  struct Entry;

 private:
  friend class Term;
  explicit Atom(Entry* entry) noexcept : entry_(entry) {}
  static Result<Atom> make(std::string_view utf8, bool bounded);
  void release() noexcept;
  Entry* entry_ = nullptr;  ///< Nothing: `''`.
};

/// How many atoms are in use in this process.
[[nodiscard]] BARREL_P2P_API std::size_t atom_count() noexcept;
/// How many new ones were refused because there were too many.
[[nodiscard]] BARREL_P2P_API std::uint64_t atoms_refused() noexcept;
/// How many may be in use in this process: 1,048,576, as in an Erlang node, unless this says otherwise. What is in use
/// stays. Any thread.
BARREL_P2P_API void set_atoms_max(std::size_t count) noexcept;

/// Process identifier. Compare with all fields: a creation tells incarnations of one node apart.
struct BARREL_P2P_API Pid {
  Atom node;
  std::uint32_t id = 0;
  std::uint32_t serial = 0;
  std::uint32_t creation = 0;

  friend bool operator==(const Pid&, const Pid&) noexcept = default;
  /// Erlang's order: serial, id, node name, creation.
  friend BARREL_P2P_API std::strong_ordering operator<=>(const Pid& left, const Pid& right) noexcept;
};

/// Reference of 1 to 5 words; unused words are 0.
struct BARREL_P2P_API Ref {
  static constexpr std::size_t words_max = 5;
  Atom node;
  std::uint32_t creation = 0;
  std::uint8_t count = 0;  ///< Number of words in use.
  std::array<std::uint32_t, words_max> words{};

  friend bool operator==(const Ref&, const Ref&) noexcept = default;
  friend BARREL_P2P_API std::strong_ordering operator<=>(const Ref& left, const Ref& right) noexcept;
};

struct BARREL_P2P_API Port {
  Atom node;
  std::uint64_t id = 0;
  std::uint32_t creation = 0;

  friend bool operator==(const Port&, const Port&) noexcept = default;
  friend BARREL_P2P_API std::strong_ordering operator<=>(const Port& left, const Port& right) noexcept;
};

/// `fun M:F/A`.
struct BARREL_P2P_API ExternalFun {
  Atom module;
  Atom function;
  std::uint8_t arity = 0;
  friend bool operator==(const ExternalFun&, const ExternalFun&) noexcept = default;
};

/// An integer of any size: sign and little-endian magnitude without leading zero digits. Zero is never negative.
struct BARREL_P2P_API BigInteger {
  bool negative = false;
  Bytes magnitude;
  [[nodiscard]] static Result<BigInteger> parse(std::string_view decimal);
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const BigInteger&, const BigInteger&) noexcept = default;
  friend BARREL_P2P_API std::strong_ordering operator<=>(const BigInteger& left, const BigInteger& right) noexcept;
};

/// Conversion hook: specialise for a type of your own with `static Term encode(const T&)` and `static Result<T>
/// decode(const Term&)`. For a plain struct it is enough to name its members once, as `static constexpr auto
/// term_fields = std::tuple{field("x", &T::x), ...}` inside of the struct: it becomes a map with atom keys.
template <class T>
struct TermCodec;

enum class TermType : std::uint8_t {
  integer,
  floating,
  atom,
  reference,
  fun,
  port,
  pid,
  tuple,
  map,
  nil,
  list,
  bitstring
};
// In Erlang's order, except that integers and floats compare by value.

/// One key and its value.
using TermPair = std::pair<Term, Term>;

namespace detail {
struct Box;  // reference counted content of a term

template <class T>
concept TermFlag = std::same_as<T, bool> || std::same_as<T, std::vector<bool>::reference>;
}  // namespace detail

class BARREL_P2P_API Term {
 public:
  /// Nesting beyond this is refused: by `decode_term` and `parse_term` with an error, by the constructors with
  /// std::length_error.
  static constexpr std::size_t depth_max = 10'000;

  Term() noexcept : tag_(nil_tag), integer_(0) {}  ///< `[]`
  Term(const Term& other) noexcept;
  Term(Term&& other) noexcept : tag_(std::exchange(other.tag_, nil_tag)), integer_(0) { set_word(other.word()); }
  Term& operator=(const Term& other) noexcept {
    Term copy(other);
    return *this = std::move(copy);
  }
  Term& operator=(Term&& other) noexcept {
    std::swap(tag_, other.tag_);
    const std::int64_t mine = word();
    set_word(other.word());
    other.set_word(mine);
    return *this;
  }
  ~Term() {
    if (tag_ > plain_tag_max) release();
  }

  // NOLINTBEGIN(google-explicit-constructor): terms are built from values all over user code
  /// Of up to 64 bits; BigInteger has more.
  template <std::integral T>
    requires(!detail::TermFlag<T> && sizeof(T) <= sizeof(std::int64_t))
  Term(T value) : Term(from_integer(value)) {}
  /// The atom `true` or `false`. Of what converts to bool, as pointers do, nothing is made.
  template <detail::TermFlag T>
  Term(T value) : Term(from_flag(value)) {}
  /// Finite; throws std::invalid_argument otherwise.
  template <std::floating_point T>
    requires(sizeof(T) <= sizeof(double))
  Term(T value) : Term(from_double(value)) {}
  Term(Atom atom) noexcept;
  Term(const Pid& pid);
  Term(const Ref& reference);
  Term(const Port& port);
  Term(const ExternalFun& fun);
  Term(const BigInteger& integer);
  Term(std::string_view utf8);  ///< A binary.
  Term(const char* utf8) : Term(std::string_view(utf8)) {}
  Term(const std::string& utf8) : Term(std::string_view(utf8)) {}
  template <class T>
    requires requires(const T& value) { TermCodec<T>::encode(value); }
  Term(const T& value) : Term(TermCodec<T>::encode(value)) {}
  // NOLINTEND(google-explicit-constructor)

  static Term binary(ByteView bytes);
  /// `bit_count` bits, the first in the top bit of the first byte; unused low bits of the last byte are cleared.
  static Term bitstring(ByteView bytes, std::size_t bit_count);
  static Term tuple(std::vector<Term> elements);
  static Term tuple(std::initializer_list<Term> elements);
  /// `tuple_of(a, b)` is `tuple({a, b})`. Use it inside of coroutines: g++ 12 cannot compile braced lists beside a
  /// `co_await`.
  template <class... T>
  static Term tuple_of(T&&... elements);
  static Term list(std::vector<Term> elements);
  static Term list(std::initializer_list<Term> elements);
  template <class... T>
  static Term list_of(T&&... elements);
  /// `[elements... | tail]`. A tail that is a list is concatenated.
  static Term list(std::vector<Term> elements, Term tail);
  /// The list of the code points, what Erlang writes as "text". Throws std::invalid_argument on invalid UTF-8.
  static Term charlist(std::string_view utf8);
  /// Of equal keys (exact equality) the last one counts.
  static Term map(std::vector<TermPair> pairs);
  static Term map(std::initializer_list<TermPair> pairs);

  [[nodiscard]] TermType type() const noexcept;
  [[nodiscard]] bool is_integer() const noexcept { return type() == TermType::integer; }
  [[nodiscard]] bool is_atom() const noexcept { return type() == TermType::atom; }
  [[nodiscard]] bool is_atom(std::string_view text) const noexcept;
  [[nodiscard]] bool is_pid() const noexcept { return type() == TermType::pid; }
  [[nodiscard]] bool is_reference() const noexcept { return type() == TermType::reference; }
  [[nodiscard]] bool is_tuple() const noexcept { return type() == TermType::tuple; }
  [[nodiscard]] bool is_tuple(std::size_t arity) const noexcept { return is_tuple() && size() == arity; }
  /// A tuple of this arity whose first element is this atom.
  [[nodiscard]] bool is_tagged(std::string_view tag, std::size_t arity) const noexcept;
  [[nodiscard]] bool is_map() const noexcept { return type() == TermType::map; }
  [[nodiscard]] bool is_nil() const noexcept { return type() == TermType::nil; }
  [[nodiscard]] bool is_list() const noexcept { return is_nil() || type() == TermType::list; }
  /// A list that ends in `[]`.
  [[nodiscard]] bool is_proper_list() const noexcept;
  [[nodiscard]] bool is_bitstring() const noexcept { return type() == TermType::bitstring; }
  /// A bitstring of whole bytes.
  [[nodiscard]] bool is_binary() const noexcept;

  // Checked access: empty when the term is something else, or the value does not fit.
  [[nodiscard]] std::optional<std::int64_t> as_int64() const noexcept {
    return tag_ == integer_tag ? std::optional(integer_) : std::nullopt;
  }
  [[nodiscard]] std::optional<std::uint64_t> as_uint64() const noexcept {
    if (tag_ != integer_tag) return as_large_uint64();
    return integer_ >= 0 ? std::optional(static_cast<std::uint64_t>(integer_)) : std::nullopt;
  }
  [[nodiscard]] std::optional<BigInteger> as_big_integer() const;
  /// Floats only.
  [[nodiscard]] std::optional<double> as_double() const noexcept {
    return tag_ == floating_tag ? std::optional(floating_) : std::nullopt;
  }
  [[nodiscard]] std::optional<bool> as_bool() const noexcept;
  [[nodiscard]] std::optional<Atom> as_atom() const noexcept;
  [[nodiscard]] const Pid* as_pid() const noexcept;        ///< Valid as long as this term.
  [[nodiscard]] const Ref* as_reference() const noexcept;  ///< Valid as long as this term.
  [[nodiscard]] const Port* as_port() const noexcept;      ///< Valid as long as this term.
  [[nodiscard]] const ExternalFun* as_external_fun() const noexcept;
  [[nodiscard]] std::optional<ByteView> as_binary() const noexcept;        ///< Valid as long as this term.
  [[nodiscard]] std::optional<std::string_view> as_text() const noexcept;  ///< A binary, as characters.
  /// A binary, or a list of bytes and binaries (iodata), as a string.
  [[nodiscard]] std::optional<std::string> as_string() const;
  [[nodiscard]] std::size_t bit_size() const noexcept;  ///< Of a bitstring, else 0.

  /// Number of elements of a tuple or list (without tail) or pairs of a map; bytes of a bitstring, rounded up. Else 0.
  [[nodiscard]] std::size_t size() const noexcept;
  /// Elements of a tuple or list; empty for everything else. Valid as long as this term.
  [[nodiscard]] std::span<const Term> elements() const noexcept;
  /// Element of a tuple or list, counted from 0; throws std::out_of_range.
  [[nodiscard]] const Term& operator[](std::size_t index) const {
    if (tag_ == tuple_tag) {
      const auto* const box = reinterpret_cast<const unsigned char*>(box_);
      std::uint32_t count = 0;
      std::memcpy(&count, box + tuple_count_at, sizeof(count));
      if (index < count) return reinterpret_cast<const Term*>(box + tuple_elements_at)[index];
    }
    return element(index);
  }
  /// What stands behind the bar of an improper list, `[]` of all others.
  [[nodiscard]] const Term& tail() const noexcept;
  /// Pairs of a map, sorted by key; empty for everything else. Valid as long as this term.
  [[nodiscard]] std::span<const TermPair> pairs() const noexcept;
  /// Value of a key of a map, or nullptr. Valid as long as this term.
  [[nodiscard]] const Term* find(const Term& key) const noexcept;

  /// Converts to a C++ type: arithmetic, bool, std::string, Bytes, Atom, Pid, Ref, std::vector, std::array, std::map,
  /// std::unordered_map, std::tuple, std::pair, std::optional (`undefined`), std::variant, std::chrono::duration
  /// (milliseconds), Term and everything with a TermCodec. Error: `type_mismatch` with the path to the part that did
  /// not fit.
  template <class T>
  [[nodiscard]] Result<T> to() const;
  /// `find(key)` and `to<T>()`. Errors: `not_found`, `type_mismatch`.
  template <class T>
  [[nodiscard]] Result<T> get(const Term& key) const;

  /// Exact equality (`=:=`): `1` is not `1.0`, `0.0` is not `-0.0`.
  friend bool operator==(const Term& left, const Term& right) noexcept { return exactly_equal(left, right); }
  /// Agrees with `==` (exact). Differs from process to process, so that nobody can find terms that meet; see `phash2`.
  [[nodiscard]] std::size_t hash() const noexcept;

 private:
  /// Moves them.
  static Term tuple_from(std::span<Term> elements);
  static bool exactly_equal(const Term& left, const Term& right) noexcept;
  template <std::integral T>
  static Term from_integer(T value) {
    if constexpr (std::unsigned_integral<T>) {
      return from_uint64(value);
    } else {
      return from_int64(value);
    }
  }
  static Term from_flag(bool value);
  static Term from_double(double value);
  static Term from_int64(std::int64_t value) noexcept {
    Term term;
    term.tag_ = integer_tag;
    term.integer_ = value;
    return term;
  }
  static Term from_uint64(std::uint64_t value);
  [[nodiscard]] std::optional<std::uint64_t> as_large_uint64() const noexcept;
  [[nodiscard]] const Term& element(std::size_t index) const;
  void release() noexcept;
  friend struct detail::Box;

  /// What lies beside the tag, whichever it is. Compilers like to read both at once; but a term that was just written
  /// in two halves has to leave the processor's store buffer first, which takes longer than all else that a move does.
  [[nodiscard]] std::int64_t word() const noexcept {
    std::int64_t content = 0;
    std::memcpy(&content, &integer_, sizeof(content));
#ifdef __GNUC__
    asm("" : "+r"(content));  // in a register of its own
#endif
    return content;
  }
  void set_word(std::int64_t content) noexcept { std::memcpy(&integer_, &content, sizeof(content)); }

  // Layout: owned by term.cpp, and what the tags are by its box.hpp. Up to `plain_tag_max` a term owns nothing.
  static constexpr std::uint64_t nil_tag = 0;
  static constexpr std::uint64_t integer_tag = 1;
  static constexpr std::uint64_t floating_tag = 2;
  static constexpr std::uint64_t plain_tag_max = floating_tag;
  static constexpr std::uint64_t tuple_tag = 10;
  static constexpr std::size_t tuple_count_at = 12;  ///< In the box, as is:
  static constexpr std::size_t tuple_elements_at = 16;
  std::uint64_t tag_;
  union {
    std::int64_t integer_;
    double floating_;
    Atom::Entry* atom_;
    detail::Box* box_;
  };
};
static_assert(sizeof(Term) == 16);

template <class... T>
Term Term::tuple_of(T&&... elements) {
  std::array<Term, sizeof...(T)> terms{Term(std::forward<T>(elements))...};
  return tuple_from(terms);
}
template <class... T>
Term Term::list_of(T&&... elements) {
  std::vector<Term> terms;
  terms.reserve(sizeof...(T));
  (terms.emplace_back(std::forward<T>(elements)), ...);
  return list(std::move(terms));
}

/// Erlang's `==`: like exact equality, but numbers compare by value.
[[nodiscard]] BARREL_P2P_API bool equals(const Term& left, const Term& right) noexcept;
/// Erlang's term order, consistent with `equals`.
[[nodiscard]] BARREL_P2P_API std::weak_ordering compare(const Term& left, const Term& right) noexcept;
/// For ordered containers.
struct TermLess {
  bool operator()(const Term& left, const Term& right) const noexcept { return compare(left, right) < 0; }
};

/// `erlang:phash2(Term)`: 0..2^27-1. Stable over nodes, versions and restarts; agrees with every Erlang node.
[[nodiscard]] BARREL_P2P_API std::uint32_t phash2(const Term& term) noexcept;
/// `erlang:phash2(Term, Range)`, 1 <= range <= 2^32: 0..range-1. Throws std::invalid_argument outside of it.
[[nodiscard]] BARREL_P2P_API std::uint32_t phash2(const Term& term, std::uint64_t range);
/// `erlang:phash2` of a binary with these bytes, without making a term.
[[nodiscard]] BARREL_P2P_API std::uint32_t phash2_of_binary(ByteView bytes, std::uint64_t range);

/// Bounds on what `decode` accepts. Every bound is checked before memory is allocated.
struct DecodeLimits {
  std::size_t depth_max = 10'000;
  std::size_t integer_bytes_max = 64 * 1024;         ///< Digits of one big integer.
  std::size_t memory_bytes_max = 512 * 1024 * 1024;  ///< Estimated memory of the decoded term.
  std::size_t atoms_max = 100'000;                   ///< Atoms named in one term.
};

struct DecodeOptions {
  DecodeLimits limits{};
  bool version_byte = true;      ///< Input starts with 131. False inside of distribution messages.
  bool allow_trailing = false;   ///< Do not fail with `trailing_bytes`; `Decoded::used` tells where the term ended.
  bool allow_compressed = true;  ///< Accept a COMPRESSED standalone term.
  bool existing_atoms_only =
      false;  ///< Erlang's `safe`: refuse atoms and external funs that this process does not know.
};

struct Decoded {
  Term term;
  std::size_t used = 0;  ///< Bytes of the input that belong to the term.
};

/// Decodes the external term format. Total: any input gives a term or an error (`malformed_term`, `limit_exceeded`,
/// `trailing_bytes`), never undefined behaviour, in time linear in the input.
[[nodiscard]] BARREL_P2P_API Result<Decoded> decode_term(ByteView bytes, const DecodeOptions& options = {});
/// Like `decode_term`, but large binaries in the result share `owner` instead of being copied; `bytes` must lie inside
/// of what `owner` keeps alive.
[[nodiscard]] BARREL_P2P_API Result<Decoded> decode_term(ByteView bytes, std::shared_ptr<const void> owner,
                                                         const DecodeOptions& options = {});

struct EncodeOptions {
  bool version_byte = true;  ///< Start with 131.
  int compression = 0;       ///< zlib level 1-9: COMPRESSED form when it is smaller. Needs version_byte.
  int minor_version = 2;     ///< 0: floats as text and Latin-1 atoms; 1: Latin-1 atoms; 2: what OTP 26 and newer send.
};

/// Encodes in the form of OTP 27, map keys in term order: equal terms give equal bytes.
[[nodiscard]] BARREL_P2P_API Bytes encode_term(const Term& term, const EncodeOptions& options = {});
/// Appends to `out`; no compression.
BARREL_P2P_API void encode_term_to(const Term& term, Bytes& out, bool version_byte = true);
/// Exact number of bytes that `encode_term` without compression produces.
[[nodiscard]] BARREL_P2P_API std::size_t encoded_size(const Term& term, bool version_byte = true) noexcept;

/// Erlang text on one line, as `io_lib:format("~0p", [Term])` prints it (pids with their own node name's digits: see
/// docs).
[[nodiscard]] BARREL_P2P_API std::string to_text(const Term& term);
/// Parses Erlang term text (comments and white space allowed, an optional final full stop): what `file:consult` reads,
/// plus
/// `<a@host.1.2.3>` forms that `to_text` prints. Errors name line and column.
/// Lists, tuples and maps may be nested 2500 deep.
[[nodiscard]] BARREL_P2P_API Result<Term> parse_term(std::string_view text);

namespace detail {
BARREL_P2P_API std::size_t hash_of(const Pid& pid) noexcept;
BARREL_P2P_API std::size_t hash_of(const Ref& ref) noexcept;
}  // namespace detail

inline namespace literals {
inline Atom operator""_atom(const char* text, std::size_t size) { return Atom(std::string_view(text, size)); }
}  // namespace literals

}  // namespace v0
}  // namespace barrel_p2p

template <>
struct std::hash<barrel_p2p::Atom> {
  std::size_t operator()(const barrel_p2p::Atom& atom) const noexcept { return atom.hash(); }
};
template <>
struct std::hash<barrel_p2p::Term> {
  std::size_t operator()(const barrel_p2p::Term& term) const noexcept { return term.hash(); }
};
template <>
struct std::hash<barrel_p2p::Pid> {
  std::size_t operator()(const barrel_p2p::Pid& pid) const noexcept { return barrel_p2p::detail::hash_of(pid); }
};
template <>
struct std::hash<barrel_p2p::Ref> {
  std::size_t operator()(const barrel_p2p::Ref& ref) const noexcept { return barrel_p2p::detail::hash_of(ref); }
};

#include <barrel_p2p/term_conversions.hpp>
