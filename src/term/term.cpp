#include <barrel_p2p/term.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "term/box.hpp"
#include "term/hash.hpp"

namespace barrel_p2p {
inline namespace v0 {

using detail::Box;
using detail::Kind;
namespace {

using detail::box;

Kind kind_of(const Term& term) noexcept { return Box::kind_of(term); }

/// Apart, so that who has the element needs no room for a text.
[[noreturn, gnu::noinline]] void refuse_index(std::size_t index, std::size_t size) {
  throw std::out_of_range("no element " + std::to_string(index) + " in a term of size " + std::to_string(size));
}

void check_depth(std::uint32_t depth) {
  if (depth > Term::depth_max) throw std::length_error("a term is at most 10000 levels deep");
}

/// Takes ownership of a new box, after checking how deep it is.
template <class T>
Term own(std::unique_ptr<T> made) {
  check_depth(made->depth);
  const Kind kind = made->kind;
  return Box::term_of(kind, made.release());
}

// In line, by order: a tuple is made for most messages, and calls are a tenth of what that takes.
[[gnu::always_inline]] inline std::uint32_t deepest(std::span<const Term> terms) noexcept {
  std::uint32_t depth = 0;
  for (const auto& term : terms) depth = std::max(depth, Box::depth_of(term));
  return depth;
}

/// Of a tuple of these.
std::uint32_t depth_around(std::span<const Term> elements) {
  const std::uint32_t depth = deepest(elements) + 1;
  check_depth(depth);
  return depth;
}

/// Its elements are not there yet.
[[gnu::always_inline]] inline detail::TupleBox* allocate_tuple(std::size_t arity) {
  if (arity > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("a tuple is too large");
  void* memory = recycler::allocate(detail::TupleBox::memory_bytes(arity));
  return new (memory) detail::TupleBox(static_cast<std::uint32_t>(arity));
}

BigInteger magnitude_of(std::uint64_t value, bool negative) {
  BigInteger big;
  for (; value != 0; value >>= 8U) big.magnitude.push_back(static_cast<std::uint8_t>(value));
  big.negative = negative && !big.magnitude.empty();
  return big;
}

std::strong_ordering compare_magnitude(const Bytes& left, const Bytes& right) noexcept {
  if (left.size() != right.size()) return left.size() <=> right.size();
  for (std::size_t at = left.size(); at-- > 0;) {
    if (left[at] != right[at]) return left[at] <=> right[at];
  }
  return std::strong_ordering::equal;
}

}  // namespace

// Identifiers.

std::strong_ordering operator<=>(const Pid& left, const Pid& right) noexcept {
  if (const auto order = left.serial <=> right.serial; order != 0) return order;
  if (const auto order = left.id <=> right.id; order != 0) return order;
  if (const auto order = left.node <=> right.node; order != 0) return order;
  return left.creation <=> right.creation;
}

std::strong_ordering operator<=>(const Ref& left, const Ref& right) noexcept {
  if (const auto order = left.node <=> right.node; order != 0) return order;
  if (const auto order = left.creation <=> right.creation; order != 0) return order;
  if (const auto order = left.count <=> right.count; order != 0) return order;
  for (std::size_t word = left.count; word-- > 0;) {
    if (const auto order = left.words[word] <=> right.words[word]; order != 0) return order;
  }
  return std::strong_ordering::equal;
}

std::strong_ordering operator<=>(const Port& left, const Port& right) noexcept {
  if (const auto order = left.node <=> right.node; order != 0) return order;
  if (const auto order = left.creation <=> right.creation; order != 0) return order;
  return left.id <=> right.id;
}

std::strong_ordering operator<=>(const BigInteger& left, const BigInteger& right) noexcept {
  if (left.negative != right.negative)
    return left.negative ? std::strong_ordering::less : std::strong_ordering::greater;
  const auto order = compare_magnitude(left.magnitude, right.magnitude);
  return left.negative ? 0 <=> order : order;
}

Result<BigInteger> BigInteger::parse(std::string_view decimal) {
  BigInteger big;
  bool negative = false;
  if (!decimal.empty() && (decimal.front() == '-' || decimal.front() == '+')) {
    negative = decimal.front() == '-';
    decimal.remove_prefix(1);
  }
  if (decimal.empty()) return fail(Errc::malformed_term, "not a decimal integer");
  constexpr std::size_t digits_max = 20'000;  // the cost is quadratic
  if (decimal.size() > digits_max) return fail(Errc::limit_exceeded, "an integer in text has at most 20000 digits");
  for (const char character : decimal) {
    if (character < '0' || character > '9') return fail(Errc::malformed_term, "not a decimal integer");
    auto carry = static_cast<std::uint32_t>(character - '0');
    for (auto& byte : big.magnitude) {
      carry += byte * 10U;
      byte = static_cast<std::uint8_t>(carry);
      carry >>= 8U;
    }
    if (carry != 0) big.magnitude.push_back(static_cast<std::uint8_t>(carry));
  }
  big.negative = negative && !big.magnitude.empty();
  return big;
}

std::string BigInteger::to_string() const {
  if (magnitude.empty()) return "0";
  // Nine digits at a time, in 32-bit limbs.
  std::vector<std::uint32_t> limbs((magnitude.size() + 3) / 4);
  for (std::size_t at = 0; at < magnitude.size(); ++at)
    limbs[at / 4] |= static_cast<std::uint32_t>(magnitude[at]) << (8 * (at % 4));
  std::string text;
  while (!limbs.empty()) {
    std::uint64_t rest = 0;
    for (std::size_t at = limbs.size(); at-- > 0;) {
      rest = rest << 32U | limbs[at];
      limbs[at] = static_cast<std::uint32_t>(rest / 1'000'000'000U);
      rest %= 1'000'000'000U;
    }
    while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
    for (int digit = 0; digit < 9 && (rest != 0 || !limbs.empty()); ++digit) {
      text.push_back(static_cast<char>('0' + rest % 10));
      rest /= 10;
    }
  }
  if (negative) text.push_back('-');
  std::ranges::reverse(text);
  return text;
}

// Boxes.

void Box::destroy(Box* dead) noexcept {
  switch (dead->kind) {
    case Kind::nil:
    case Kind::integer:
    case Kind::floating:
    case Kind::atom: break;
    case Kind::big: delete static_cast<detail::BigBox*>(dead); break;
    case Kind::pid: delete static_cast<detail::PidBox*>(dead); break;
    case Kind::reference: delete static_cast<detail::RefBox*>(dead); break;
    case Kind::port: delete static_cast<detail::PortBox*>(dead); break;
    case Kind::external_fun: delete static_cast<detail::ExternalFunBox*>(dead); break;
    case Kind::local_fun: delete static_cast<detail::LocalFunBox*>(dead); break;
    case Kind::tuple: {
      const std::size_t bytes = TupleBox::memory_bytes(static_cast<TupleBox*>(dead)->count);
      std::ranges::destroy(static_cast<TupleBox*>(dead)->elements());
      std::destroy_at(static_cast<TupleBox*>(dead));
      recycler::deallocate(dead, bytes);
      break;
    }
    case Kind::list: delete static_cast<detail::ListBox*>(dead); break;
    case Kind::map: delete static_cast<detail::MapBox*>(dead); break;
    case Kind::bitstring:
      if (static_cast<BitsBox*>(dead)->is_slice) {
        delete static_cast<SliceBox*>(dead);
      } else {
        const std::size_t bytes = sizeof(BitsBox) + static_cast<BitsBox*>(dead)->view().size();
        std::destroy_at(static_cast<BitsBox*>(dead));
        recycler::deallocate(dead, bytes);
      }
      break;
  }
}

// Construction.

Term::Term(const Term& other) noexcept : tag_(other.tag_), integer_(0) {
  set_word(other.word());
  const Kind kind = kind_of(*this);
  if (kind >= Kind::first_boxed) {
    box_->references.fetch_add(1, std::memory_order_relaxed);
  } else if (kind == Kind::atom) {
    detail::retain(atom_);
  }
}

void Term::release() noexcept {
  if (kind_of(*this) == Kind::atom) {
    const Atom released(atom_);
  } else if (box_->references.load(std::memory_order_acquire) == 1 ||  // ours: nobody else can make it more
             box_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    Box::destroy(box_);
  }
}

Term Term::from_flag(bool value) { return Atom(value ? "true" : "false"); }

Term Term::from_double(double value) {
  if (!std::isfinite(value)) throw std::invalid_argument("a term holds finite floats only");
  Term term;
  term.tag_ = static_cast<std::uint64_t>(Kind::floating);
  term.floating_ = value;
  return term;
}

Term::Term(Atom atom) noexcept
    : tag_(static_cast<std::uint64_t>(Kind::atom)), atom_(std::exchange(atom.entry_, nullptr)) {}

Term::Term(const Pid& pid) : Term(own(std::make_unique<detail::PidBox>(pid))) {}
Term::Term(const Ref& reference) : Term() {
  if (reference.count < 1 || reference.count > Ref::words_max)
    throw std::invalid_argument("a reference has 1 to 5 words");
  Ref clean = reference;
  std::fill(clean.words.begin() + clean.count, clean.words.end(), 0U);
  *this = own(std::make_unique<detail::RefBox>(std::move(clean)));
}
Term::Term(const Port& port) : Term(own(std::make_unique<detail::PortBox>(port))) {}
Term::Term(const ExternalFun& fun) : Term(own(std::make_unique<detail::ExternalFunBox>(fun))) {}

Term::Term(const BigInteger& integer) : Term() {
  BigInteger clean = integer;
  while (!clean.magnitude.empty() && clean.magnitude.back() == 0) clean.magnitude.pop_back();
  if (clean.magnitude.empty()) clean.negative = false;
  if (clean.magnitude.size() <= 8) {
    std::uint64_t value = 0;
    for (std::size_t at = clean.magnitude.size(); at-- > 0;) value = value << 8U | clean.magnitude[at];
    constexpr std::uint64_t limit = std::uint64_t{1} << 63U;
    if (value < limit || (clean.negative && value == limit)) {
      *this = from_int64(clean.negative ? static_cast<std::int64_t>(0 - value) : static_cast<std::int64_t>(value));
      return;
    }
  }
  *this = own(std::make_unique<detail::BigBox>(std::move(clean)));
}

Term::Term(std::string_view utf8) : Term(binary(as_bytes(utf8))) {}

Term Term::from_uint64(std::uint64_t value) {
  if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    return from_int64(static_cast<std::int64_t>(value));
  return own(std::make_unique<detail::BigBox>(magnitude_of(value, false)));
}

Term Term::binary(ByteView bytes) { return bitstring(bytes, bytes.size() * 8); }

Term Term::bitstring(ByteView bytes, std::size_t bit_count) {
  if ((bit_count + 7) / 8 > bytes.size()) throw std::invalid_argument("fewer bytes than bits need");
  const std::size_t size = (bit_count + 7) / 8;
  void* memory = recycler::allocate(sizeof(detail::BitsBox) + size);
  auto* made = new (memory) detail::BitsBox(bit_count);
  auto* copy = static_cast<std::uint8_t*>(memory) + sizeof(detail::BitsBox);
  std::copy_n(bytes.data(), size, copy);
  if (bit_count % 8 != 0) copy[size - 1] &= static_cast<std::uint8_t>(0xFFU << (8 - bit_count % 8));
  return Box::term_of(Kind::bitstring, made);
}

Term Term::tuple(std::vector<Term> elements) { return tuple_from(elements); }

Term Term::tuple(std::initializer_list<Term> elements) {
  Term made = detail::make_tuple(elements.size());
  std::ranges::copy(elements, detail::elements_to_fill(made).begin());
  return detail::seal_tuple(std::move(made));
}

Term Term::tuple_from(std::span<Term> elements) {
  const std::uint32_t depth = depth_around(elements);
  auto* const made = allocate_tuple(elements.size());
  made->depth = depth;
  std::ranges::uninitialized_move(elements, made->elements());
  return Box::term_of(Kind::tuple, made);
}

Term Term::list(std::vector<Term> elements) { return list(std::move(elements), Term()); }
Term Term::list(std::initializer_list<Term> elements) { return list(std::vector<Term>(elements), Term()); }

Term Term::list(std::vector<Term> elements, Term tail) {
  if (elements.empty()) return tail;
  if (kind_of(tail) == Kind::list) {
    const auto& rest = box<detail::ListBox>(tail);
    elements.insert(elements.end(), rest.elements.begin(), rest.elements.end());
    tail = Term(rest.tail);
  }
  auto made = std::make_unique<detail::ListBox>(std::move(elements), std::move(tail));
  made->depth = std::max(deepest(made->elements), Box::depth_of(made->tail)) + 1;
  return own(std::move(made));
}

Term Term::charlist(std::string_view utf8) {
  if (!detail::utf8_length(utf8)) throw std::invalid_argument("not valid UTF-8");
  std::vector<Term> characters;
  while (!utf8.empty()) characters.emplace_back(detail::next_code_point(utf8));
  return list(std::move(characters));
}

Term Term::map(std::vector<TermPair> pairs) { return detail::make_map(std::move(pairs)); }
Term Term::map(std::initializer_list<TermPair> pairs) { return map(std::vector<TermPair>(pairs)); }

namespace detail {

Term make_tuple(std::size_t arity) {
  auto* const made = allocate_tuple(arity);
  std::ranges::uninitialized_default_construct(made->elements());
  return Box::term_of(Kind::tuple, made);
}

std::span<Term> elements_to_fill(const Term& tuple) noexcept {
  return static_cast<TupleBox*>(Box::to_fill(tuple))->elements();
}

Term seal_tuple(Term tuple) {
  Box::to_fill(tuple)->depth = depth_around(tuple.elements());
  return tuple;
}

Term make_map(std::vector<TermPair> pairs, bool* duplicate) {
  const auto less = [](const TermPair& left, const TermPair& right) {
    return compare_keys(left.first, right.first) < 0;
  };
  const auto same = [](const TermPair& left, const TermPair& right) {
    return compare_keys(left.first, right.first) == 0;
  };
  if (!std::ranges::is_sorted(pairs, less)) std::ranges::stable_sort(pairs, less);
  if (std::ranges::adjacent_find(pairs, same) != pairs.end()) {
    if (duplicate != nullptr) *duplicate = true;
    std::ranges::reverse(pairs);  // so that the last of equal keys stands first and survives
    pairs.erase(std::unique(pairs.begin(), pairs.end(), same), pairs.end());
    std::ranges::reverse(pairs);
  }
  auto made = std::make_unique<MapBox>(std::move(pairs));
  std::uint32_t depth = 0;
  for (const auto& [key, value] : made->pairs) depth = std::max({depth, Box::depth_of(key), Box::depth_of(value)});
  made->depth = depth + 1;
  return own(std::move(made));
}

Term make_local_fun(std::unique_ptr<LocalFunBox> fun) {
  fun->depth = deepest(fun->free) + 1;
  return own(std::move(fun));
}

Term make_slice(ByteView bytes, std::size_t bits, std::shared_ptr<const void> owner) {
  return own(std::make_unique<SliceBox>(bytes, bits, std::move(owner)));
}

}  // namespace detail

// Access.

TermType Term::type() const noexcept {
  switch (kind_of(*this)) {
    case Kind::nil: return TermType::nil;
    case Kind::integer:
    case Kind::big: return TermType::integer;
    case Kind::floating: return TermType::floating;
    case Kind::atom: return TermType::atom;
    case Kind::pid: return TermType::pid;
    case Kind::reference: return TermType::reference;
    case Kind::port: return TermType::port;
    case Kind::external_fun:
    case Kind::local_fun: return TermType::fun;
    case Kind::tuple: return TermType::tuple;
    case Kind::list: return TermType::list;
    case Kind::map: return TermType::map;
    case Kind::bitstring: return TermType::bitstring;
  }
  return TermType::nil;
}

bool Term::is_atom(std::string_view text) const noexcept { return is_atom() && detail::text_of(atom_) == text; }
bool Term::is_tagged(std::string_view tag, std::size_t arity) const noexcept {
  return is_tuple(arity) && elements().front().is_atom(tag);
}
bool Term::is_proper_list() const noexcept { return is_nil() || (kind_of(*this) == Kind::list && tail().is_nil()); }
bool Term::is_binary() const noexcept {
  return kind_of(*this) == Kind::bitstring && box<detail::BitsBox>(*this).bits % 8 == 0;
}

std::optional<std::uint64_t> Term::as_large_uint64() const noexcept {
  if (kind_of(*this) != Kind::big) return std::nullopt;
  const auto& big = box<detail::BigBox>(*this).value;
  if (big.negative || big.magnitude.size() > 8) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t at = big.magnitude.size(); at-- > 0;) value = value << 8U | big.magnitude[at];
  return value;
}

std::optional<BigInteger> Term::as_big_integer() const {
  if (kind_of(*this) == Kind::big) return box<detail::BigBox>(*this).value;
  if (kind_of(*this) != Kind::integer) return std::nullopt;
  const auto value = static_cast<std::uint64_t>(integer_);
  return magnitude_of(integer_ < 0 ? 0 - value : value, integer_ < 0);
}

std::optional<bool> Term::as_bool() const noexcept {
  if (is_atom("true")) return true;
  if (is_atom("false")) return false;
  return std::nullopt;
}

std::optional<Atom> Term::as_atom() const noexcept {
  if (!is_atom()) return std::nullopt;
  return Atom(detail::retain(atom_));
}

const Pid* Term::as_pid() const noexcept {
  return kind_of(*this) == Kind::pid ? &box<detail::PidBox>(*this).value : nullptr;
}
const Ref* Term::as_reference() const noexcept {
  return kind_of(*this) == Kind::reference ? &box<detail::RefBox>(*this).value : nullptr;
}
const Port* Term::as_port() const noexcept {
  return kind_of(*this) == Kind::port ? &box<detail::PortBox>(*this).value : nullptr;
}
const ExternalFun* Term::as_external_fun() const noexcept {
  return kind_of(*this) == Kind::external_fun ? &box<detail::ExternalFunBox>(*this).value : nullptr;
}

std::optional<ByteView> Term::as_binary() const noexcept {
  if (!is_binary()) return std::nullopt;
  return box<detail::BitsBox>(*this).view();
}

std::optional<std::string_view> Term::as_text() const noexcept {
  if (!is_binary()) return std::nullopt;
  return barrel_p2p::as_text(box<detail::BitsBox>(*this).view());
}

namespace {
bool append_iodata(const Term& term, std::string& out) {
  if (const auto text = term.as_text()) {
    out.append(*text);
    return true;
  }
  if (!term.is_list()) return false;
  for (const auto& element : term.elements()) {
    if (const auto byte = element.as_int64(); byte && *byte >= 0 && *byte <= 255) {
      out.push_back(static_cast<char>(*byte));
    } else if (!append_iodata(element, out)) {
      return false;
    }
  }
  return term.tail().is_nil() || append_iodata(term.tail(), out);
}
}  // namespace

std::optional<std::string> Term::as_string() const {
  std::string text;
  if (!append_iodata(*this, text)) return std::nullopt;
  return text;
}

std::size_t Term::bit_size() const noexcept { return is_bitstring() ? box<detail::BitsBox>(*this).bits : 0; }

std::size_t Term::size() const noexcept {
  switch (kind_of(*this)) {
    case Kind::tuple:
    case Kind::list: return elements().size();
    case Kind::map: return pairs().size();
    case Kind::bitstring: return box<detail::BitsBox>(*this).view().size();
    case Kind::nil:
    case Kind::integer:
    case Kind::floating:
    case Kind::atom:
    case Kind::big:
    case Kind::pid:
    case Kind::reference:
    case Kind::port:
    case Kind::external_fun:
    case Kind::local_fun: return 0;
  }
  return 0;
}

std::span<const Term> Term::elements() const noexcept {
  if (kind_of(*this) == Kind::tuple) return box<detail::TupleBox>(*this).elements();
  if (kind_of(*this) == Kind::list) return box<detail::ListBox>(*this).elements;
  return {};
}

const Term& Term::element(std::size_t index) const {
  const auto all = elements();
  if (index >= all.size()) refuse_index(index, all.size());
  return all[index];
}

const Term& Term::tail() const noexcept {
  static const Term nil;
  return kind_of(*this) == Kind::list ? box<detail::ListBox>(*this).tail : nil;
}

std::span<const TermPair> Term::pairs() const noexcept {
  if (kind_of(*this) == Kind::map) return box<detail::MapBox>(*this).pairs;
  return {};
}

const Term* Term::find(const Term& key) const noexcept {
  const auto all = pairs();
  const auto found = std::ranges::lower_bound(
      all, key, [](const Term& left, const Term& right) { return detail::compare_keys(left, right) < 0; },
      &TermPair::first);
  return found != all.end() && detail::compare_keys(found->first, key) == 0 ? &found->second : nullptr;
}

// Equality and order.

namespace {

/// Number < atom < reference < fun < port < pid < tuple < map < [] < list < bitstring.
int rank(Kind kind) noexcept {
  switch (kind) {
    case Kind::integer:
    case Kind::big:
    case Kind::floating: return 0;
    case Kind::atom: return 1;
    case Kind::reference: return 2;
    case Kind::external_fun:
    case Kind::local_fun: return 3;
    case Kind::port: return 4;
    case Kind::pid: return 5;
    case Kind::tuple: return 6;
    case Kind::map: return 7;
    case Kind::nil: return 8;
    case Kind::list: return 9;
    case Kind::bitstring: return 10;
  }
  return 0;
}

std::strong_ordering order_of_doubles(double left, double right) noexcept {
  if (left < right) return std::strong_ordering::less;
  return left > right ? std::strong_ordering::greater : std::strong_ordering::equal;
}

/// Exact: no rounding on either side.
std::strong_ordering compare_integer_double(std::int64_t left, double right) noexcept {
  constexpr double limit = 9223372036854775808.0;
  if (right >= limit) return std::strong_ordering::less;
  if (right < -limit) return std::strong_ordering::greater;
  const auto whole = static_cast<std::int64_t>(right);
  if (left != whole) return left <=> whole;
  const double fraction = right - static_cast<double>(whole);
  return order_of_doubles(0.0, fraction);
}

std::strong_ordering compare_big_double(const BigInteger& left, double right) noexcept {
  const auto sign = left.negative ? std::strong_ordering::less : std::strong_ordering::greater;
  if ((right < 0) != left.negative) return sign;
  constexpr double limit = 9223372036854775808.0;
  if (std::fabs(right) < limit) return sign;  // |left| >= 2^63
  int exponent = 0;
  const double mantissa = std::frexp(std::fabs(right), &exponent);
  auto bits = static_cast<std::uint64_t>(std::ldexp(mantissa, 53));
  const auto shift = static_cast<unsigned>(exponent - 53);
  Bytes magnitude(shift / 8, 0);
  std::uint8_t carry = 0;
  for (int at = 0; at < 8; ++at, bits >>= 8U) {
    const auto byte = static_cast<std::uint32_t>(bits & 0xFFU) << (shift % 8);
    magnitude.push_back(static_cast<std::uint8_t>(byte | carry));
    carry = static_cast<std::uint8_t>(byte >> 8U);
  }
  magnitude.push_back(carry);
  while (!magnitude.empty() && magnitude.back() == 0) magnitude.pop_back();
  const auto order = compare_magnitude(left.magnitude, magnitude);
  return left.negative ? 0 <=> order : order;
}

std::strong_ordering compare_numbers(const Term& left, const Term& right) noexcept {
  const Kind a = kind_of(left);
  const Kind b = kind_of(right);
  if (a == Kind::integer && b == Kind::integer) return Box::integer_of(left) <=> Box::integer_of(right);
  if (a == Kind::floating && b == Kind::floating)
    return order_of_doubles(Box::floating_of(left), Box::floating_of(right));
  if (b == Kind::floating) {
    return a == Kind::integer ? compare_integer_double(Box::integer_of(left), Box::floating_of(right))
                              : compare_big_double(box<detail::BigBox>(left).value, Box::floating_of(right));
  }
  if (a == Kind::floating) return 0 <=> compare_numbers(right, left);
  if (a == Kind::big && b == Kind::big) return box<detail::BigBox>(left).value <=> box<detail::BigBox>(right).value;
  // A big integer lies outside of the range of the small ones.
  if (a == Kind::big)
    return box<detail::BigBox>(left).value.negative ? std::strong_ordering::less : std::strong_ordering::greater;
  return box<detail::BigBox>(right).value.negative ? std::strong_ordering::greater : std::strong_ordering::less;
}

std::strong_ordering compare_bits(const detail::BitsBox& left, const detail::BitsBox& right) noexcept {
  const std::size_t common = std::min(left.view().size(), right.view().size());
  if (common > 0) {
    if (const int order = std::memcmp(left.view().data(), right.view().data(), common - 1); order != 0)
      return order <=> 0;
    // The last common byte: compare the bits that both have; unused bits are 0.
    const std::size_t bits = std::min({std::size_t{8}, left.bits - (common - 1) * 8, right.bits - (common - 1) * 8});
    const auto mask = static_cast<std::uint8_t>(0xFFU << (8 - bits));
    const auto a = static_cast<std::uint8_t>(left.view()[common - 1] & mask);
    const auto b = static_cast<std::uint8_t>(right.view()[common - 1] & mask);
    if (a != b) return a <=> b;
  }
  return left.bits <=> right.bits;
}

/// `exact`: the order of map keys, in which every integer stands before every float, inside of keys, too.
std::strong_ordering order(const Term& left, const Term& right, bool exact) noexcept;

std::strong_ordering compare_all(std::span<const Term> left, std::span<const Term> right, bool exact) noexcept {
  const std::size_t common = std::min(left.size(), right.size());
  for (std::size_t at = 0; at < common; ++at) {
    if (const auto result = order(left[at], right[at], exact); result != 0) return result;
  }
  return std::strong_ordering::equal;
}

std::strong_ordering compare_maps(const Term& left, const Term& right, bool exact) noexcept {
  const auto a = left.pairs();
  const auto b = right.pairs();
  if (a.size() != b.size()) return a.size() <=> b.size();
  for (std::size_t at = 0; at < a.size(); ++at) {
    if (const auto result = detail::compare_keys(a[at].first, b[at].first); result != 0) return result;
  }
  for (std::size_t at = 0; at < a.size(); ++at) {
    if (const auto result = order(a[at].second, b[at].second, exact); result != 0) return result;
  }
  return std::strong_ordering::equal;
}

std::strong_ordering compare_lists(const Term& left, const Term& right, bool exact) noexcept {
  const auto a = left.elements();
  const auto b = right.elements();
  if (const auto result = compare_all(a, b, exact); result != 0) return result;
  if (a.size() == b.size()) return order(left.tail(), right.tail(), exact);
  // One goes on where the other has its tail, which is no list.
  const bool left_longer = a.size() > b.size();
  const Term& tail = left_longer ? right.tail() : left.tail();
  const auto result = rank(kind_of(tail)) <=> rank(Kind::list);
  return left_longer ? 0 <=> result : result;
}

std::strong_ordering compare_funs(const Term& left, const Term& right, bool exact) noexcept {
  const Kind a = kind_of(left);
  const Kind b = kind_of(right);
  if (a != b) return a == Kind::local_fun ? std::strong_ordering::less : std::strong_ordering::greater;
  if (a == Kind::external_fun) {
    const auto& x = box<detail::ExternalFunBox>(left).value;
    const auto& y = box<detail::ExternalFunBox>(right).value;
    if (const auto result = x.module <=> y.module; result != 0) return result;
    if (const auto result = x.function <=> y.function; result != 0) return result;
    return x.arity <=> y.arity;
  }
  const auto& x = box<detail::LocalFunBox>(left);
  const auto& y = box<detail::LocalFunBox>(right);
  if (const auto result = x.module <=> y.module; result != 0) return result;
  if (const auto result = x.old_index <=> y.old_index; result != 0) return result;
  if (const auto result = x.old_unique <=> y.old_unique; result != 0) return result;
  if (const auto result = x.index <=> y.index; result != 0) return result;
  if (const auto result = x.unique <=> y.unique; result != 0) return result;
  if (const auto result = x.free.size() <=> y.free.size(); result != 0) return result;
  return compare_all(x.free, y.free, exact);
}

std::strong_ordering order(const Term& left, const Term& right, bool exact) noexcept {
  const Kind a = kind_of(left);
  const Kind b = kind_of(right);
  if (a >= Kind::first_boxed && a == b && Box::of(left) == Box::of(right)) return std::strong_ordering::equal;
  if (const auto result = rank(a) <=> rank(b); result != 0) return result;
  switch (a) {
    case Kind::integer:
    case Kind::big:
    case Kind::floating: {
      if (exact && (a == Kind::floating) != (b == Kind::floating))
        return (a == Kind::floating) <=> (b == Kind::floating);
      const auto result = compare_numbers(left, right);
      if (result != 0 || !exact || a != Kind::floating) return result;
      return std::signbit(Box::floating_of(right)) <=> std::signbit(Box::floating_of(left));  // -0.0 before 0.0
    }
    case Kind::atom: return Box::atom_text(left) <=> Box::atom_text(right);
    case Kind::reference: return box<detail::RefBox>(left).value <=> box<detail::RefBox>(right).value;
    case Kind::external_fun:
    case Kind::local_fun: return compare_funs(left, right, exact);
    case Kind::port: return box<detail::PortBox>(left).value <=> box<detail::PortBox>(right).value;
    case Kind::pid: return box<detail::PidBox>(left).value <=> box<detail::PidBox>(right).value;
    case Kind::tuple: {
      if (const auto result = left.size() <=> right.size(); result != 0) return result;
      return compare_all(left.elements(), right.elements(), exact);
    }
    case Kind::map: return compare_maps(left, right, exact);
    case Kind::nil: return std::strong_ordering::equal;
    case Kind::list: return compare_lists(left, right, exact);
    case Kind::bitstring: return compare_bits(box<detail::BitsBox>(left), box<detail::BitsBox>(right));
  }
  return std::strong_ordering::equal;
}

}  // namespace

namespace detail {
std::strong_ordering compare_keys(const Term& left, const Term& right) noexcept { return order(left, right, true); }
}  // namespace detail

namespace {

/// `order(left, right, true) == 0`, without finding out which one is less: look-ups ask for nothing else.
bool same(const Term& left, const Term& right) noexcept;

bool all_same(std::span<const Term> left, std::span<const Term> right) noexcept {
  return std::ranges::equal(left, right, [](const Term& a, const Term& b) { return same(a, b); });
}

bool same_maps(const detail::MapBox& left, const detail::MapBox& right) noexcept {
  return std::ranges::equal(left.pairs, right.pairs, [](const TermPair& a, const TermPair& b) {
    return same(a.first, b.first) && same(a.second, b.second);
  });
}

bool same(const Term& left, const Term& right) noexcept {
  const Kind kind = kind_of(left);
  if (kind != kind_of(right)) return false;
  if (kind >= Kind::first_boxed && Box::of(left) == Box::of(right)) return true;
  switch (kind) {
    case Kind::nil: return true;
    case Kind::integer: return Box::integer_of(left) == Box::integer_of(right);
    case Kind::floating:
      return std::bit_cast<std::uint64_t>(Box::floating_of(left)) ==
             std::bit_cast<std::uint64_t>(Box::floating_of(right));
    case Kind::atom: return Box::atom_of(left) == Box::atom_of(right);
    case Kind::tuple: return all_same(left.elements(), right.elements());
    case Kind::list: {
      const auto& a = box<detail::ListBox>(left);
      const auto& b = box<detail::ListBox>(right);
      return all_same(a.elements, b.elements) && same(a.tail, b.tail);
    }
    case Kind::map: return same_maps(box<detail::MapBox>(left), box<detail::MapBox>(right));
    case Kind::bitstring: {
      const auto& a = box<detail::BitsBox>(left);
      const auto& b = box<detail::BitsBox>(right);
      if (a.bits != b.bits) return false;
      const bool whole = a.bits % 8 == 0;  // else bits may be set that count for nothing
      return whole ? std::ranges::equal(a.view(), b.view()) : order(left, right, true) == 0;
    }
    case Kind::big:
    case Kind::pid:
    case Kind::reference:
    case Kind::port:
    case Kind::external_fun:
    case Kind::local_fun: return order(left, right, true) == 0;
  }
  return false;
}

}  // namespace

bool Term::exactly_equal(const Term& left, const Term& right) noexcept { return same(left, right); }
bool equals(const Term& left, const Term& right) noexcept { return order(left, right, false) == 0; }
std::weak_ordering compare(const Term& left, const Term& right) noexcept { return order(left, right, false); }

std::size_t Term::hash() const noexcept {
  using detail::hash_text;
  using detail::mix_hash;
  const Kind kind = kind_of(*this);
  const auto begin = static_cast<std::size_t>(kind);
  switch (kind) {
    case Kind::nil: return begin;
    case Kind::integer: return mix_hash(begin, static_cast<std::uint64_t>(integer_));
    case Kind::floating: return mix_hash(begin, std::bit_cast<std::uint64_t>(floating_));
    case Kind::atom: return mix_hash(begin, std::hash<const void*>()(atom_));
    case Kind::big: {
      const auto& value = box<detail::BigBox>(*this).value;
      return mix_hash(value.negative ? 1 : 0, hash_text(barrel_p2p::as_text(value.magnitude)));
    }
    case Kind::pid: return mix_hash(begin, std::hash<Pid>()(box<detail::PidBox>(*this).value));
    case Kind::reference: return mix_hash(begin, std::hash<Ref>()(box<detail::RefBox>(*this).value));
    case Kind::port: {
      const auto& port = box<detail::PortBox>(*this).value;
      return mix_hash(mix_hash(port.node.hash(), port.id), port.creation);
    }
    case Kind::external_fun: {
      const auto& fun = box<detail::ExternalFunBox>(*this).value;
      return mix_hash(mix_hash(fun.module.hash(), fun.function.hash()), fun.arity);
    }
    case Kind::local_fun: {
      const auto& fun = box<detail::LocalFunBox>(*this);
      std::size_t hash = mix_hash(fun.module.hash(), hash_text(barrel_p2p::as_text(fun.unique)));
      for (const std::uint64_t part : {static_cast<std::uint64_t>(fun.old_index),
                                       static_cast<std::uint64_t>(fun.old_unique), std::uint64_t{fun.index}}) {
        hash = mix_hash(hash, part);
      }
      for (const auto& value : fun.free) hash = mix_hash(hash, value.hash());
      return hash;
    }
    case Kind::tuple:
    case Kind::list: {
      std::size_t hash = begin;
      for (const auto& element : elements()) hash = mix_hash(hash, element.hash());
      return mix_hash(hash, kind == Kind::list ? tail().hash() : 0);
    }
    case Kind::map: {
      std::size_t hash = begin;
      for (const auto& [key, value] : pairs()) hash = mix_hash(mix_hash(hash, key.hash()), value.hash());
      return hash;
    }
    case Kind::bitstring: {
      const auto& bits = box<detail::BitsBox>(*this);
      const ByteView bytes = bits.view();
      const unsigned beyond = bits.bits % 8;
      if (beyond == 0) return hash_text(barrel_p2p::as_text(bytes));
      const auto last = static_cast<std::uint8_t>(bytes.back() >> (8 - beyond));  // what follows counts for nothing
      return mix_hash(hash_text(barrel_p2p::as_text(bytes.first(bytes.size() - 1))),
                      (std::uint64_t{beyond} << 8U) + last);
    }
  }
  return begin;
}

namespace detail {

std::size_t hash_of(const Pid& pid) noexcept {
  return mix_hash(mix_hash(pid.node.hash(), std::uint64_t{pid.id} << 32U | pid.serial), pid.creation);
}

std::size_t hash_of(const Ref& ref) noexcept {
  std::size_t hash = mix_hash(ref.node.hash(), ref.creation);
  for (const auto word : ref.words) hash = mix_hash(hash, word);
  return hash;
}

}  // namespace detail

}  // namespace v0
}  // namespace barrel_p2p
