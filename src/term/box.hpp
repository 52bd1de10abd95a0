// What stands behind a Term: reference counted boxes. Private to the term room.
#pragma once

#include <atomic>
#include <barrel_p2p/term.hpp>
#include <memory>
#include <string>

#include "base/recycler.hpp"

namespace barrel_p2p {
inline namespace v0 {

/// One interned atom. The last reference is given back under the lock of its shard, so that a look-up never meets a
/// dying entry.
struct Atom::Entry {
  std::atomic<std::uint32_t> references{1};
  std::uint32_t shard = 0;
  /// References are not counted, and so not written. Once true it stays so, and what makes it true keeps a reference
  /// for good: who saw it as it was before, and counts, never counts down to nothing.
  std::atomic<bool> immortal{false};
  std::string text;

  [[nodiscard]] bool is_counted() const noexcept { return !immortal.load(std::memory_order_relaxed); }
};

namespace detail {

/// For the atom that has just got so many references, see `retain`.
constexpr std::uint32_t busy_references = 256;
void keep_busy_atom(Atom::Entry* entry) noexcept;
/// One more reference. An atom that has very many at once is kept: it is in what threads pass on to each other, and
/// over its count they would wait for each other.
inline Atom::Entry* retain(Atom::Entry* entry) noexcept {
  if (entry != nullptr && entry->is_counted() &&
      entry->references.fetch_add(1, std::memory_order_relaxed) == busy_references) {
    keep_busy_atom(entry);
  }
  return entry;
}

inline std::string_view text_of(const Atom::Entry* entry) noexcept {
  return entry == nullptr ? std::string_view() : entry->text;
}

/// Values of the low byte of `Term::tag_`. Everything from `first_boxed` on owns a box.
enum class Kind : std::uint8_t {
  nil,
  integer,
  floating,
  atom,
  first_boxed,
  big = first_boxed,
  pid,
  reference,
  port,
  external_fun,
  local_fun,
  tuple,
  list,
  map,
  bitstring
};

struct Box : Recycled {
  static_assert(static_cast<std::uint64_t>(Kind::nil) == Term::nil_tag &&
                static_cast<std::uint64_t>(Kind::integer) == Term::integer_tag &&
                static_cast<std::uint64_t>(Kind::floating) == Term::floating_tag &&
                static_cast<std::uint64_t>(Kind::tuple) == Term::tuple_tag);
  static constexpr std::size_t tuple_count_at = Term::tuple_count_at;
  static constexpr std::size_t tuple_elements_at = Term::tuple_elements_at;
  std::atomic<std::uint32_t> references{1};
  const Kind kind;
  std::uint32_t depth = 1;  ///< 1 + the greatest depth of what is inside.
  explicit Box(Kind of) noexcept : kind(of) {}
  static void destroy(Box* box) noexcept;
  static const Box* of(const Term& term) noexcept { return term.box_; }
  static Box* to_fill(const Term& term) noexcept { return term.box_; }
  static Kind kind_of(const Term& term) noexcept { return static_cast<Kind>(term.tag_ & 0xffU); }
  static Term term_of(Kind kind, Box* box) noexcept {
    Term term;
    term.tag_ = static_cast<std::uint64_t>(kind);
    term.box_ = box;
    return term;
  }
  static std::int64_t integer_of(const Term& term) noexcept { return term.integer_; }
  static double floating_of(const Term& term) noexcept { return term.floating_; }
  static const Atom::Entry* atom_of(const Term& term) noexcept { return term.atom_; }
  static std::string_view atom_text(const Term& term) noexcept { return text_of(term.atom_); }
  static std::uint32_t depth_of(const Term& term) noexcept {
    return kind_of(term) >= Kind::first_boxed ? term.box_->depth : 1;
  }
};

struct BigBox : Box {
  BigInteger value;
  explicit BigBox(BigInteger integer) : Box(Kind::big), value(std::move(integer)) {}
};
struct PidBox : Box {
  Pid value;
  explicit PidBox(Pid pid) : Box(Kind::pid), value(std::move(pid)) {}
};
struct RefBox : Box {
  Ref value;
  explicit RefBox(Ref ref) : Box(Kind::reference), value(std::move(ref)) {}
};
struct PortBox : Box {
  Port value;
  explicit PortBox(Port port) : Box(Kind::port), value(std::move(port)) {}
};
struct ExternalFunBox : Box {
  ExternalFun value;
  explicit ExternalFunBox(ExternalFun fun) : Box(Kind::external_fun), value(std::move(fun)) {}
};
/// A local fun of some Erlang node: opaque but for what hashing and order need.
struct LocalFunBox : Box {
  std::uint8_t arity = 0;
  std::array<std::uint8_t, 16> unique{};
  std::uint32_t index = 0;
  Atom module;
  std::int64_t old_index = 0;
  std::int64_t old_unique = 0;
  Pid pid;
  std::vector<Term> free;
  LocalFunBox() : Box(Kind::local_fun) {}
};
/// The elements stand behind the box in the same piece of memory: there are more tuples than anything else.
struct TupleBox : Box {
  const std::uint32_t count;
  explicit TupleBox(std::uint32_t arity) noexcept : Box(Kind::tuple), count(arity) {}
  [[nodiscard]] std::span<Term> elements() noexcept { return {reinterpret_cast<Term*>(this + 1), count}; }
  [[nodiscard]] std::span<const Term> elements() const noexcept {
    return {reinterpret_cast<const Term*>(this + 1), count};
  }
  static constexpr std::size_t memory_bytes(std::size_t arity) noexcept {
    return sizeof(TupleBox) + arity * sizeof(Term);
  }
};
static_assert(sizeof(TupleBox) % alignof(Term) == 0);
static_assert(sizeof(Box) == Box::tuple_count_at && sizeof(TupleBox) == Box::tuple_elements_at,
              "Term reads them in users' code: they are ABI");
struct ListBox : Box {
  std::vector<Term> elements;  ///< Never empty.
  Term tail;                   ///< Never a list that is not empty.
  ListBox(std::vector<Term> terms, Term rest) : Box(Kind::list), elements(std::move(terms)), tail(std::move(rest)) {}
};
struct MapBox : Box {
  std::vector<TermPair> pairs;  ///< Sorted by `compare_keys`, no two alike.
  explicit MapBox(std::vector<TermPair> sorted) : Box(Kind::map), pairs(std::move(sorted)) {}
};
/// The bytes stand behind the box in the same piece of memory, unless they are part of somebody else's. Small binaries
/// are what most maps and messages hold.
struct BitsBox : Box {
  const bool is_slice;
  const std::size_t bits;
  explicit BitsBox(std::size_t bit_count, bool slice = false) noexcept
      : Box(Kind::bitstring), is_slice(slice), bits(bit_count) {}
  [[nodiscard]] ByteView view() const noexcept;
};
struct SliceBox : BitsBox {
  std::shared_ptr<const void> owner;  ///< Keeps `bytes` alive.
  const std::uint8_t* bytes;
  SliceBox(ByteView part, std::size_t bit_count, std::shared_ptr<const void> keeper)
      : BitsBox(bit_count, true), owner(std::move(keeper)), bytes(part.data()) {}
};
inline ByteView BitsBox::view() const noexcept {
  constexpr std::size_t byte_bits = 8;
  const auto* bytes = is_slice ? static_cast<const SliceBox*>(this)->bytes
                               : reinterpret_cast<const std::uint8_t*>(this) + sizeof(BitsBox);
  return {bytes, (bits + byte_bits - 1) / byte_bits};
}

template <class T>
const T& box(const Term& term) noexcept {
  return static_cast<const T&>(*Box::of(term));
}

/// The order of map keys: the term order, but every integer stands before every float.
BARREL_P2P_API std::strong_ordering compare_keys(const Term& left, const Term& right) noexcept;
/// A map from pairs that are not sorted. Of equal keys the last one counts, or `duplicate` is set.
Term make_map(std::vector<TermPair> pairs, bool* duplicate = nullptr);
/// A tuple of `[]`s, to be filled by who made it and nobody else; `seal_tuple` must come next.
Term make_tuple(std::size_t arity);
std::span<Term> elements_to_fill(const Term& tuple) noexcept;
/// Throws std::length_error when it is nested too deeply.
Term seal_tuple(Term tuple);
Term make_local_fun(std::unique_ptr<LocalFunBox> fun);
Term make_slice(ByteView bytes, std::size_t bits, std::shared_ptr<const void> owner);
/// The atom is not freed any more, and copies of it write nothing that threads share: for names of nodes, which are in
/// every pid. Does nothing when there are too many of these.
void keep_atom(const Atom& atom);
/// An atom if it is interned already.
std::optional<Atom> find_atom(std::string_view utf8);
/// Number of code points, or nothing for invalid UTF-8 (overlong forms, surrogates, beyond U+10FFFF).
std::optional<std::size_t> utf8_length(std::string_view text) noexcept;
/// Next code point of valid UTF-8.
std::uint32_t next_code_point(std::string_view& text) noexcept;
void append_utf8(std::uint32_t code_point, std::string& out);

}  // namespace detail
}  // namespace v0
}  // namespace barrel_p2p
