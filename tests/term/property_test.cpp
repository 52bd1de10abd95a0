// What holds for all terms, conversions from and to C++, and the bounds on what a peer may send.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/resource.h>

#include <algorithm>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/term.hpp>
#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <iostream>
#include <limits>
#include <ostream>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "support/sanitized.hpp"
#include "term/box.hpp"

namespace barrel_p2p {

/// How RapidCheck prints a counterexample.
void showValue(const Term& term, std::ostream& out) { out << to_text(term); }

namespace {

namespace gen = rc::gen;

template <class T>
T one_of(std::initializer_list<T> choices) {
  return *gen::elementOf(std::vector<T>(choices));
}

Atom any_atom() {
  return one_of<Atom>({"ok", "", "true", "A b", "fun", "quote'd", "back\\slash", "\n", "\xc3\xa9t\xc3\xa9", "\xce\xbb",
                       "\xf0\x9f\x90\x9d", "a@h", Atom(std::string(255, 'x'))});
}
Atom any_node() {
  return one_of<Atom>(
      {"a@127.0.0.1", "b@h", "node.with.dots@x-y", "A b@h", "a>b@h", "5", "", "it's>1.2/3@h", "back\\slash@h"});
}

Term any_integer() {
  switch (*gen::inRange(0, 4)) {
    case 0: return Term(*gen::inRange(-300, 300));
    case 1: return Term(*gen::arbitrary<std::int64_t>());
    case 2: return Term(*gen::arbitrary<std::uint64_t>());
    default: {
      BigInteger big{*gen::arbitrary<bool>(), *gen::arbitrary<Bytes>()};
      while (!big.magnitude.empty() && big.magnitude.back() == 0) big.magnitude.pop_back();
      big.negative = big.negative && !big.magnitude.empty();
      return Term(big);
    }
  }
}

Term any_float() {
  if (*gen::arbitrary<bool>()) {
    return Term(one_of<double>({0.0, -0.0, 1.0, 0.1, 5e-324, 1.7976931348623157e308, 9007199254740992.0, 1e22, 1e23}));
  }
  const auto bits = *gen::arbitrary<std::uint64_t>();
  const auto value = std::bit_cast<double>(bits);
  return Term(std::isfinite(value) ? value : 2.5);
}

Term any_identifier() {
  const auto number = [] { return *gen::arbitrary<std::uint32_t>(); };
  switch (*gen::inRange(0, 4)) {
    case 0: return Term(Pid{any_node(), number(), number(), number()});
    case 1: return Term(Port{any_node(), *gen::arbitrary<std::uint64_t>(), number()});
    case 2: return Term(ExternalFun{any_atom(), any_atom(), *gen::arbitrary<std::uint8_t>()});
    default: {
      Ref ref;
      ref.node = any_node();
      ref.creation = number();
      ref.count = static_cast<std::uint8_t>(*gen::inRange(1, 6));
      for (std::size_t word = 0; word < ref.count; ++word) ref.words[word] = number();
      return Term(ref);
    }
  }
}

Term any_bits() {
  const auto bytes = *gen::arbitrary<Bytes>();
  const auto unused = bytes.empty() ? 0 : *gen::inRange<std::size_t>(0, 8);
  return Term::bitstring(bytes, bytes.size() * 8 - unused);
}

Term any_term(int levels);

std::vector<Term> some_terms(int levels) {
  std::vector<Term> terms;
  const int count = *gen::inRange(0, 5);
  for (int each = 0; each < count; ++each) terms.push_back(any_term(levels - 1));
  return terms;
}

Term any_term(int levels) {
  switch (*gen::inRange(0, levels > 0 ? 10 : 6)) {
    case 0: return any_integer();
    case 1: return any_float();
    case 2: return Term(any_atom());
    case 3: return any_identifier();
    case 4: return any_bits();
    case 5: return Term::charlist(one_of<std::string>({"", "text", "\"\\\n", "\xc3\xa9", "\xce\xbb"}));
    case 6: return Term::tuple(some_terms(levels));
    case 7: return Term::list(some_terms(levels));
    case 8: return Term::list(some_terms(levels), any_term(levels - 1));
    default: {
      std::vector<TermPair> pairs;
      for (auto& key : some_terms(levels)) pairs.emplace_back(std::move(key), any_term(levels - 1));
      return Term::map(std::move(pairs));
    }
  }
}

/// From few values, so that equal ones, and ones that are only `==`, meet often.
Term common_term(int levels) {
  switch (*gen::inRange(0, levels > 0 ? 6 : 3)) {
    case 0: return Term(*gen::inRange(0, 3));
    case 1: return Term(one_of<double>({0.0, -0.0, 1.0, 2.0, 0.5}));
    case 2: return one_of<Term>({Atom("a"), Atom("b"), Term(), "a", Term(BigInteger{false, Bytes(9, 1)})});
    case 3: return Term::tuple_of(common_term(levels - 1), common_term(levels - 1));
    case 4: return Term::list({common_term(levels - 1)}, common_term(levels - 1));
    default: {
      std::vector<TermPair> pairs;
      pairs.emplace_back(common_term(levels - 1), common_term(levels - 1));
      pairs.emplace_back(common_term(levels - 1), common_term(levels - 1));
      return Term::map(std::move(pairs));
    }
  }
}

rc::Gen<Term> terms() {
  return gen::exec([] { return any_term(4); });
}
rc::Gen<Term> common_terms() {
  return gen::exec([] { return common_term(2); });
}

/// -1, 0 or 1.
int order(const Term& left, const Term& right) {
  const auto found = compare(left, right);
  return found < 0 ? -1 : found > 0 ? 1 : 0;
}

/// Tries 2000 cases instead of RapidCheck's 100: terms are small and quick. RC_PARAMS="seed=..." repeats a failure.
template <class Property>
bool holds(const Property& property) {
  auto params = rc::detail::configuration().testParams;
  params.maxSuccess = std::max(params.maxSuccess, 2000);
  const auto result = rc::detail::checkTestable(property, rc::detail::TestMetadata(), params);
  const bool success = result.template is<rc::detail::SuccessResult>();
  if (!success) rc::detail::printResultMessage(result, std::cerr);
  return success;
}

TEST(TermProperties, what_is_encoded_decodes_to_the_same_term_and_bytes) {
  EXPECT_TRUE(holds([] {
    const auto term = *terms();
    const auto bytes = encode_term(term);
    RC_ASSERT(bytes.size() == encoded_size(term));
    const auto decoded = decode_term(bytes);
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(decoded->used == bytes.size());
    RC_ASSERT(decoded->term == term);
    RC_ASSERT(encode_term(decoded->term) == bytes);
    Bytes appended{1, 2, 3};
    encode_term_to(term, appended, false);
    RC_ASSERT(std::ranges::equal(ByteView(appended).subspan(3), ByteView(bytes).subspan(1)));
  }));
}

TEST(TermProperties, every_form_decodes_to_the_same_term) {
  EXPECT_TRUE(holds([] {
    const auto term = *terms();
    for (const EncodeOptions& options :
         {EncodeOptions{.compression = 6}, EncodeOptions{.minor_version = 0}, EncodeOptions{.minor_version = 1}}) {
      const auto decoded = decode_term(encode_term(term, options));
      RC_ASSERT(decoded.has_value());
      RC_ASSERT(decoded->term == term);
    }
    const auto owner = std::make_shared<const Bytes>(encode_term(term));
    const auto shared = decode_term(*owner, owner);
    RC_ASSERT(shared.has_value());
    RC_ASSERT(shared->term == term);
    RC_ASSERT(phash2(shared->term) == phash2(term));
  }));
}

TEST(TermProperties, no_prefix_of_a_term_is_a_term_and_what_follows_is_noticed) {
  EXPECT_TRUE(holds([] {
    auto bytes = encode_term(*terms());
    const auto size = *gen::inRange<std::size_t>(0, bytes.size());
    RC_ASSERT(!decode_term(ByteView(bytes).first(size)).has_value());
    const auto used = bytes.size();
    bytes.push_back(106);
    RC_ASSERT(decode_term(bytes).error() == Errc::trailing_bytes);
    RC_ASSERT(decode_term(bytes, {.allow_trailing = true})->used == used);
  }));
}

TEST(TermProperties, what_is_printed_parses_to_the_same_term) {
  EXPECT_TRUE(holds([] {
    const auto term = *terms();
    const auto text = to_text(term);
    RC_ASSERT(text.find('\n') == std::string::npos);
    const auto parsed = parse_term(text);
    RC_ASSERT(parsed.has_value());
    RC_ASSERT(*parsed == term);
    RC_ASSERT(to_text(*parsed) == text);
  }));
}

TEST(TermProperties, the_order_is_total_and_agrees_with_equality) {
  EXPECT_TRUE(holds([] {
    const auto a = *common_terms();
    const auto b = *common_terms();
    const auto c = *common_terms();
    RC_ASSERT(order(a, a) == 0);
    RC_ASSERT(order(a, b) == -order(b, a));
    RC_ASSERT(equals(a, b) == (order(a, b) == 0));
    if (order(a, b) <= 0 && order(b, c) <= 0) {
      RC_ASSERT(order(a, c) <= 0);
      const bool all_alike = order(a, b) == 0 && order(b, c) == 0;
      RC_ASSERT((order(a, c) == 0) == all_alike);
    }
    if (a == b) RC_ASSERT(equals(a, b));
    RC_ASSERT((a == b) == (encode_term(a) == encode_term(b)));
  }));
}

TEST(TermProperties, equality_does_not_depend_on_how_a_term_came_to_be) {
  EXPECT_TRUE(holds([] {
    const auto a = *common_terms();
    const auto b = *common_terms();
    const auto again = decode_term(encode_term(a));
    RC_ASSERT(again.has_value());
    RC_ASSERT(again->term == a);
    RC_ASSERT((again->term == b) == (a == b));
  }));
}

TEST(TermProperties, the_order_holds_for_unlike_terms_too) {
  EXPECT_TRUE(holds([] {
    const auto a = *terms();
    const auto b = *terms();
    RC_ASSERT(order(a, b) == -order(b, a));
    RC_ASSERT(equals(a, b) == (order(a, b) == 0));
    RC_ASSERT((a == b) == (encode_term(a) == encode_term(b)));
  }));
}

TEST(TermProperties, equal_terms_have_equal_hashes_and_bytes) {
  std::size_t met = 0;
  EXPECT_TRUE(holds([&met] {
    const auto a = *common_terms();
    const auto b = *common_terms();
    RC_ASSERT((a == b) == (encode_term(a) == encode_term(b)));
    if (!(a == b)) return;
    ++met;
    RC_ASSERT(a.hash() == b.hash());
    RC_ASSERT(phash2(a) == phash2(b));
  }));
  EXPECT_GT(met, 0U) << "the generator never made equal terms";
}

TEST(TermProperties, the_order_of_insertion_does_not_change_a_map) {
  EXPECT_TRUE(holds([] {
    std::vector<TermPair> pairs;
    for (int key = 0; key < 6; ++key) pairs.emplace_back(Term::tuple_of(key, *terms()), key);
    auto reversed = pairs;
    std::ranges::reverse(reversed);
    const auto map = Term::map(pairs);
    RC_ASSERT(map == Term::map(reversed));
    RC_ASSERT(phash2(map) == phash2(Term::map(reversed)));
    for (const auto& [key, value] : pairs) RC_ASSERT(map.find(key) != nullptr && *map.find(key) == value);
  }));
}

TEST(TermProperties, phash2_stays_in_its_range) {
  EXPECT_TRUE(holds([] {
    const auto term = *terms();
    const auto range = *gen::inRange<std::uint64_t>(1, 1000);
    RC_ASSERT(phash2(term) < (1U << 27U));
    RC_ASSERT(phash2(term, range) < range);
    const auto bytes = *gen::arbitrary<Bytes>();
    RC_ASSERT(phash2_of_binary(bytes, range) == phash2(Term::binary(bytes), range));
  }));
  EXPECT_THROW(static_cast<void>(phash2(Term(1), 0)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(phash2(Term(1), (std::uint64_t{1} << 32U) + 1)), std::invalid_argument);
}

TEST(TermProperties, any_bytes_and_any_text_give_a_term_or_an_error) {
  EXPECT_TRUE(holds([] {
    auto bytes = encode_term(*terms());
    const auto at = *gen::inRange<std::size_t>(0, bytes.size());
    bytes[at] = *gen::arbitrary<std::uint8_t>();
    if (const auto decoded = decode_term(bytes)) {
      RC_ASSERT(decode_term(encode_term(decoded->term))->term == decoded->term);
    } else {
      RC_ASSERT(!decoded.error().message().empty());
    }
  }));
}

// Conversions.

struct Point {
  int x = 0;
  double y = 0;
  static constexpr auto term_fields = std::tuple{field("x", &Point::x), field("y", &Point::y)};
  friend bool operator==(const Point&, const Point&) = default;
};

struct Shape {
  std::string name;
  std::vector<Point> points;
  std::optional<Atom> colour;
  std::map<std::string, std::uint8_t> weights;
  static constexpr auto term_fields = std::tuple{field("name", &Shape::name), field("points", &Shape::points),
                                                 field("colour", &Shape::colour), field("weights", &Shape::weights)};
  friend bool operator==(const Shape&, const Shape&) = default;
};

/// A type of a user with an encoding of its own.
struct Celsius {
  double degrees = 0;
};

}  // namespace

template <>
struct TermCodec<Celsius> {
  static Term encode(const Celsius& value) { return Term::tuple_of(Atom("celsius"), value.degrees); }
  static Result<Celsius> decode(const Term& term) {
    if (!term.is_tagged("celsius", 2)) return fail(Errc::type_mismatch, "expected {celsius, Degrees}");
    const auto degrees = term[1].to<double>();
    if (!degrees) return std::unexpected(degrees.error());
    return Celsius{*degrees};
  }
};

namespace {

template <class T>
void expect_round_trip(const T& value, const std::string& text) {
  const Term term(value);
  EXPECT_EQ(to_text(term), text);
  const auto back = term.to<T>();
  ASSERT_TRUE(back.has_value()) << back.error().message();
  EXPECT_EQ(*back, value);
}

TEST(TermConversions, standard_types_go_there_and_back) {
  expect_round_trip(42, "42");
  expect_round_trip(std::numeric_limits<std::uint64_t>::max(), "18446744073709551615");
  expect_round_trip(std::numeric_limits<std::int64_t>::min(), "-9223372036854775808");
  expect_round_trip(true, "true");
  expect_round_trip(2.5, "2.5");
  expect_round_trip(std::string("text"), "<<\"text\">>");
  expect_round_trip(Bytes{0, 1}, "<<0,1>>");
  expect_round_trip(Atom("name"), "name");
  expect_round_trip(std::vector<int>{1, 200}, "[1,200]");
  expect_round_trip(std::vector<int>{}, "[]");
  expect_round_trip(std::array<int, 2>{1, 2}, "[1,2]");
  expect_round_trip(std::tuple(1, std::string("a"), Atom("b")), "{1,<<\"a\">>,b}");
  expect_round_trip(std::pair(Atom("k"), 2.0), "{k,2.0}");
  expect_round_trip(std::map<int, std::string>{{2, "b"}, {1, "a"}}, "#{1 => <<\"a\">>,2 => <<\"b\">>}");
  expect_round_trip(std::unordered_map<Atom, int>{{Atom("a"), 1}}, "#{a => 1}");
  expect_round_trip(std::optional<int>(), "undefined");
  expect_round_trip(std::optional<int>(5), "5");
  expect_round_trip(std::variant<int, Atom>(Atom("a")), "a");
  expect_round_trip(std::chrono::milliseconds(1500), "1500");
  expect_round_trip(std::chrono::seconds(2), "2000");
  expect_round_trip(Pid{Atom("a@h"), 1, 2, 3}, "<a@h.1.2/3>");
  expect_round_trip(BigInteger::parse("100000000000000000000000").value(), "100000000000000000000000");
}

// Nothing becomes a flag, or a float, that is neither: what a pointer points to would be lost without a word.
static_assert(!std::is_constructible_v<Term, const char8_t*> && !std::is_constructible_v<Term, const wchar_t*>);
static_assert(!std::is_constructible_v<Term, const void*> && !std::is_constructible_v<Term, std::uint8_t*>);
enum Unscoped : std::uint8_t { one_of_them };
static_assert(!std::is_constructible_v<Term, Unscoped> && !std::is_constructible_v<Term, long double>);
static_assert(!std::is_constructible_v<Term, decltype(sizeof(0)) (*)()>);
__extension__ using Wide = __int128;
static_assert(!std::is_constructible_v<Term, Wide>, "it would be cut");
static_assert(std::is_convertible_v<bool, Term> && std::is_convertible_v<float, Term>);

TEST(TermConversions, flags_of_a_vector_are_flags) {
  std::vector<bool> flags{true, false};
  EXPECT_EQ(Term(flags[0]), Term(Atom("true")));
  expect_round_trip(flags, "[true,false]");
}

struct Grade {
  char letter = 'a';
  static constexpr auto term_fields = std::tuple{field("letter", &Grade::letter)};
  friend bool operator==(const Grade&, const Grade&) = default;
};

TEST(TermConversions, characters_are_integers) {
  expect_round_trip('x', "120");
  expect_round_trip(u8'x', "120");
  expect_round_trip(L'\x20AC', "8364");
  expect_round_trip(U'\x1F600', "128512");
  expect_round_trip(Grade{'b'}, "#{letter => 98}");
  EXPECT_FALSE(Term(256).to<char>());
  EXPECT_FALSE(Term(-1).to<char8_t>());
}

TEST(TermConversions, large_integers_are_numbers_too) {
  const auto integer = [](const char* decimal) { return Term(BigInteger::parse(decimal).value()); };
  EXPECT_EQ(Term(std::numeric_limits<std::uint64_t>::max()).to<double>(), 0x1p64);
  EXPECT_EQ(Term(std::numeric_limits<std::uint64_t>::max()).to<long double>(), 0x1p64L - 1);
  EXPECT_EQ(integer("-1180591620717411303424").to<double>(), -0x1p70);
  // 2^70 + 2^17 lies in the middle of two doubles; the last digit of the second one decides.
  EXPECT_EQ(integer("1180591620717411434496").to<double>(), 0x1p70);
  EXPECT_EQ(integer("1180591620717411434497").to<double>(), 0x1.0000000000001p70);
  const auto power = [](std::size_t exponent) {
    Bytes magnitude(exponent / 8 + 1, 0);
    magnitude.back() = static_cast<std::uint8_t>(1U << exponent % 8);
    return Term(BigInteger{false, std::move(magnitude)});
  };
  EXPECT_EQ(power(1023).to<double>(), 0x1p1023);
  EXPECT_EQ(power(1024).to<double>().error(), Errc::type_mismatch);
  EXPECT_EQ(power(4096).to<double>().error(), Errc::type_mismatch);
  EXPECT_EQ(power(128).to<float>().error(), Errc::type_mismatch);
}

TEST(TermConversions, integers_that_do_not_fit_are_refused) {
  EXPECT_FALSE(Term(256).to<std::uint8_t>());
  EXPECT_FALSE(Term(-1).to<std::uint32_t>());
  EXPECT_FALSE(Term(std::numeric_limits<std::uint64_t>::max()).to<std::int64_t>());
  EXPECT_FALSE(Term(BigInteger{false, Bytes(9, 1)}).to<std::uint64_t>());
  EXPECT_FALSE(Term(1.0).to<int>()) << "a float is no integer, whatever its value";
  EXPECT_EQ(Term(7).to<double>(), 7.0);
  EXPECT_FALSE(Term(1).to<bool>());
  EXPECT_THROW(static_cast<void>(Term(std::numeric_limits<double>::infinity())), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(Term(std::numeric_limits<double>::quiet_NaN())), std::invalid_argument);
}

TEST(TermConversions, iodata_is_text_and_other_lists_are_not) {
  EXPECT_EQ(Term::list_of("ab", 99, Term::list_of("d")).to<std::string>(), "abcd");
  EXPECT_EQ(Term::charlist("text").to<std::string>(), "text");
  EXPECT_FALSE(Term::list_of(256).to<std::string>());
  EXPECT_FALSE(Term(Atom("text")).to<std::string>());
  EXPECT_FALSE(Term::bitstring(Bytes{0xF0}, 4).to<std::string>());
}

TEST(TermConversions, lists_must_be_proper_and_of_the_right_length) {
  EXPECT_FALSE(Term::list({1, 2}, Term(3)).to<std::vector<int>>());
  EXPECT_FALSE((Term::list_of(1, 2, 3).to<std::array<int, 2>>()));
  EXPECT_FALSE((Term::tuple_of(1, 2).to<std::tuple<int, int, int>>()));
  EXPECT_FALSE((Term(1.5).to<std::variant<int, Atom>>()));
}

TEST(TermConversions, structs_become_maps_with_atom_keys) {
  const Shape shape{"box", {{1, 2.5}, {3, 4}}, Atom("red"), {{"kg", std::uint8_t{7}}}};
  expect_round_trip(shape,
                    "#{colour => red,name => <<\"box\">>,points => [#{x => 1,y => 2.5},#{x => 3,y => 4.0}],"
                    "weights => #{<<\"kg\">> => 7}}");
  EXPECT_EQ(Term(Celsius{21.5}).to<Celsius>()->degrees, 21.5);
  EXPECT_EQ(to_text(Term(std::vector<Celsius>{{1.5}})), "[{celsius,1.5}]");
}

TEST(TermConversions, further_keys_of_a_map_do_not_matter_and_missing_ones_do) {
  const auto more = parse_term("#{x => 1, y => 2.0, z => 3}").value();
  EXPECT_EQ(more.to<Point>(), (Point{1, 2.0}));
  const auto less = parse_term("#{x => 1}").value().to<Point>();
  ASSERT_FALSE(less);
  EXPECT_EQ(less.error(), Errc::not_found);
  EXPECT_EQ(Term(5).to<Point>().error(), Errc::type_mismatch);
}

TEST(TermConversions, an_error_names_the_place_that_did_not_fit) {
  const auto term = parse_term("#{limits => [1, 2, many]}").value();
  const auto limits = term.get<std::vector<int>>(Atom("limits"));
  ASSERT_FALSE(limits);
  EXPECT_EQ(limits.error(), Errc::type_mismatch);
  EXPECT_TRUE(limits.error().context().starts_with("at limits[2]: expected")) << limits.error().context();
  EXPECT_TRUE(limits.error().context().ends_with("got many")) << limits.error().context();
  EXPECT_EQ(term.get<int>(Atom("other")).error(), Errc::not_found);
}

TEST(TermConversions, the_path_to_a_nested_struct_names_each_step) {
  const auto term = parse_term("#{outer => #{x => no, y => 1.0}}").value();
  const auto point = term.get<Point>(Atom("outer"));
  ASSERT_FALSE(point);
  EXPECT_TRUE(point.error().context().starts_with("at outer.x: expected")) << point.error().context();
}

TEST(TermConversions, times_that_do_not_fit_are_refused) {
  const Term longest(std::numeric_limits<std::int64_t>::max());
  EXPECT_TRUE(longest.to<std::chrono::milliseconds>());
  EXPECT_FALSE(longest.to<std::chrono::nanoseconds>());
  EXPECT_FALSE(Term(std::numeric_limits<std::int64_t>::min()).to<std::chrono::microseconds>());
}

TEST(TermText, a_quote_that_is_not_closed_is_an_error_wherever_it_stands) {
  for (const auto* const text : {"'", "['", "{'a", "#{'", "<'a.1.2/3>", "[\"", "<<\"", "fun 'a", "['\\"}) {
    EXPECT_EQ(parse_term(text).error(), Errc::malformed_term) << text;
  }
}

// Bounds.

/// `{{{...[]...}}}`, `levels` deep with the list.
Bytes nested_tuples(std::size_t levels) {
  Bytes bytes{131};
  for (std::size_t level = 1; level < levels; ++level) {
    bytes.push_back(104);
    bytes.push_back(1);
  }
  bytes.push_back(106);
  return bytes;
}

TEST(TermLimits, nesting_is_bounded_where_terms_are_made) {
  constexpr std::size_t near_limit = Term::depth_max - 1;
  const auto deep = decode_term(nested_tuples(near_limit));
  ASSERT_TRUE(deep) << deep.error().message();
  EXPECT_EQ(encode_term(deep->term), nested_tuples(near_limit));
  EXPECT_EQ(decode_term(encode_term(deep->term))->term, deep->term);
  EXPECT_EQ(phash2(deep->term), phash2(decode_term(nested_tuples(near_limit))->term));
  // Sanitizers multiply the stack that a level takes, so text is tried at a part of the depth.
  const auto less_deep = decode_term(nested_tuples(2'000));
  ASSERT_TRUE(less_deep);
  EXPECT_EQ(parse_term(to_text(less_deep->term)).value(), less_deep->term);
  EXPECT_EQ(decode_term(nested_tuples(Term::depth_max + 1)).error(), Errc::limit_exceeded);
  EXPECT_EQ(decode_term(nested_tuples(1'000'000)).error(), Errc::limit_exceeded);
  EXPECT_EQ(parse_term(std::string(100'000, '[')).error(), Errc::limit_exceeded);
  EXPECT_THROW(
      {
        Term term;
        for (std::size_t level = 0; level <= Term::depth_max; ++level) term = Term::tuple({term});
      },
      std::length_error);
}

TEST(TermLimits, a_caller_may_bound_depth_integers_atoms_and_memory) {
  const auto decode = [](const Term& term, const DecodeLimits& limits) {
    return decode_term(encode_term(term), {.limits = limits}).has_value();
  };
  const auto nested = Term::tuple_of(Term::tuple_of(1));
  EXPECT_TRUE(decode(nested, {.depth_max = 3}));
  EXPECT_FALSE(decode(nested, {.depth_max = 2}));
  const Term big(BigInteger{false, Bytes(100, 1)});
  EXPECT_TRUE(decode(big, {.integer_bytes_max = 100}));
  EXPECT_FALSE(decode(big, {.integer_bytes_max = 99}));
  const auto atoms = Term::list_of(Atom("a"), Atom("b"), Atom("a"));
  EXPECT_TRUE(decode(atoms, {.atoms_max = 3}));
  EXPECT_FALSE(decode(atoms, {.atoms_max = 2}));
  const auto bytes = Term::binary(Bytes(10'000));
  EXPECT_TRUE(decode(bytes, {.memory_bytes_max = 11'000}));
  EXPECT_FALSE(decode(bytes, {.memory_bytes_max = 9'000}));
}

/// As long as it lives the process may have so much memory more than it has. Not with sanitizers, which have their own.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::uint64_t bytes) {
    ::getrlimit(RLIMIT_DATA, &before_);
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      std::uint64_t kib = 0;
      if (word == "VmData:" && status >> kib) limit(kib * 1024 + bytes);
    }
  }
  ~MemoryLimit() { ::setrlimit(RLIMIT_DATA, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
  [[nodiscard]] bool holds() const noexcept { return limited_; }

 private:
  void limit(std::uint64_t bytes) {
    const rlimit wanted{bytes, before_.rlim_max};
    limited_ = !test::sanitized && ::setrlimit(RLIMIT_DATA, &wanted) == 0;
  }
  rlimit before_{};
  bool limited_ = false;
};

TEST(TermLimits, announced_sizes_are_checked_before_memory_is_taken) {
  const MemoryLimit limit(64UL * 1024 * 1024);
  EXPECT_TRUE(limit.holds() || test::sanitized);
  // Tuple, list, map, binary, bit string and integer of 2^32 - 1 and of 2^24 - 1 elements, and nothing behind.
  for (const std::uint8_t tag : Bytes{105, 108, 116, 109, 77, 111}) {
    for (const std::uint8_t first : Bytes{0xFF, 0}) {
      const Bytes bytes{131, tag, first, 0xFF, 0xFF, 0xFF, 8};
      EXPECT_FALSE(decode_term(bytes)) << int{tag};
    }
  }
}

TEST(BigIntegers, those_that_fit_into_a_word_are_what_their_digits_say) {
  const auto decoded = [](std::uint8_t sign, Bytes digits) {
    Bytes bytes{131, 110, static_cast<std::uint8_t>(digits.size()), sign};
    bytes.insert(bytes.end(), digits.begin(), digits.end());
    return to_text(decode_term(bytes)->term);
  };
  EXPECT_EQ(decoded(0, {}), "0");
  EXPECT_EQ(decoded(1, {0, 0, 0}), "0");
  EXPECT_EQ(decoded(1, {5, 0, 0, 0, 0, 0, 0, 0, 0, 0}), "-5");
  EXPECT_EQ(decoded(0, {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}), "9223372036854775807");
  EXPECT_EQ(decoded(0, {0, 0, 0, 0, 0, 0, 0, 0x80}), "9223372036854775808");
  EXPECT_EQ(decoded(1, {0, 0, 0, 0, 0, 0, 0, 0x80}), "-9223372036854775808");
  EXPECT_EQ(decoded(1, {1, 0, 0, 0, 0, 0, 0, 0x80}), "-9223372036854775809");
}

TEST(Tuples, one_without_elements_is_like_all_others) {
  const Term empty = Term::tuple({});
  EXPECT_TRUE(empty.is_tuple(0));
  EXPECT_EQ(empty, Term::tuple_of());
  EXPECT_EQ(decode_term(encode_term(empty))->term, empty);
  EXPECT_EQ(to_text(Term::tuple({empty, 1, "two"})), "{{},1,<<\"two\">>}");
}

TEST(TermLimits, a_compressed_term_may_not_grow_beyond_the_limit) {
  const auto packed = encode_term(Term::binary(Bytes(1'000'000)), {.compression = 9});
  ASSERT_LT(packed.size(), 10'000U);
  EXPECT_TRUE(decode_term(packed));
  EXPECT_EQ(decode_term(packed, {.limits = {.memory_bytes_max = 100'000}}).error(), Errc::limit_exceeded);
  EXPECT_FALSE(decode_term(packed, {.allow_compressed = false}));
  auto lying = packed;
  lying[5] = static_cast<std::uint8_t>(lying[5] - 1);  // one byte less than there is
  EXPECT_EQ(decode_term(lying).error(), Errc::malformed_term);
}

TEST(AtomTable, names_of_a_peer_are_freed_with_its_terms) {
  const auto before = atom_count();
  {
    std::vector<Term> names;
    for (int each = 0; each < 1000; ++each) names.emplace_back(Atom("peer_made_" + std::to_string(each)));
    const auto bytes = encode_term(Term::list(std::move(names)));
    EXPECT_EQ(atom_count(), before) << "the list is gone already";
    const auto decoded = decode_term(bytes);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(atom_count(), before + 1000);
  }
  EXPECT_EQ(atom_count(), before);
}

TEST(AtomTable, a_kept_name_outlives_its_last_reference_and_costs_one_place) {
  const auto before = atom_count();
  for (int time = 0; time < 3; ++time) {
    const Atom early("kept@host");
    const Term term(early);
    detail::keep_atom(early);
    const Atom late(early);
    EXPECT_EQ(Atom("kept@host"), late);
  }
  EXPECT_EQ(atom_count(), before + 1);
  EXPECT_TRUE(detail::find_atom("kept@host"));
}

TEST(AtomTable, a_name_may_be_kept_while_other_threads_copy_it) {
  const Atom shared("shared@host");
  std::vector<std::thread> copying;
  for (int thread = 0; thread < 3; ++thread) {
    copying.emplace_back([&shared] {
      for (int time = 0; time < 20'000; ++time) {
        const Atom copy(shared);
        const Term term(copy);
        EXPECT_EQ(Term(term), term);
      }
    });
  }
  detail::keep_atom(shared);
  for (auto& thread : copying) thread.join();
  EXPECT_EQ(shared, Atom("shared@host"));
}

TEST(AtomTable, a_name_with_very_many_references_is_kept_and_so_are_a_bounded_number) {
  const auto before = atom_count();
  constexpr int names = 1'500;
  constexpr int references = 300;
  for (int name = 0; name < names; ++name) {
    const Term tag(Atom("busy" + std::to_string(name)));
    const std::vector<Term> messages(references, tag);
    EXPECT_EQ(messages.back(), tag);
  }
  EXPECT_TRUE(detail::find_atom("busy0"));
  EXPECT_FALSE(detail::find_atom("busy1499"));
  EXPECT_LE(atom_count(), before + 1'000);
  {
    const std::vector<Term> few(references / 2, Term(Atom("not_busy")));
  }
  EXPECT_FALSE(detail::find_atom("not_busy"));
}

TEST(AtomTable, the_empty_name_is_what_an_atom_is_at_first_and_after_it_was_moved_away) {
  Atom name("name");
  const Atom moved(std::move(name));
  EXPECT_EQ(moved, "name");
  EXPECT_EQ(name, Atom());  // NOLINT(bugprone-use-after-move): what is tested
  EXPECT_EQ(name, Atom(""));
  EXPECT_EQ(Term(name), Term(Atom("")));
  EXPECT_TRUE(Term(name).is_atom(""));
  EXPECT_EQ(to_text(Term(name)), "''");
  const auto bytes = encode_term(Term(name));
  EXPECT_EQ(decode_term(bytes).value().term, Term(Atom()));
  EXPECT_EQ(decode_term(bytes, {.existing_atoms_only = true}).value().term, Term(Atom()));
}

TEST(AtomTable, safe_decoding_makes_no_names) {
  const auto bytes = [] { return encode_term(Term::list_of(Atom("never_heard_of"))); }();
  const auto before = atom_count();
  EXPECT_FALSE(decode_term(bytes, {.existing_atoms_only = true}));
  EXPECT_EQ(atom_count(), before);
  const Atom known("never_heard_of");
  EXPECT_TRUE(decode_term(bytes, {.existing_atoms_only = true}));
}

TEST(AtomTable, a_full_table_refuses_new_names_and_keeps_the_old_ones) {
  constexpr std::size_t atoms_max = 50'000;
  const std::unique_ptr<void, void (*)(void*)> restore(this, [](void*) { set_atoms_max(1'048'576); });
  set_atoms_max(atoms_max);
  const Bytes fresh{131, 119, 5, 'f', 'r', 'e', 's', 'h'};
  const auto known = encode_term(Term(Atom("ok")));
  std::vector<Atom> held;
  while (atom_count() < atoms_max) {
    auto made = Atom::make("held_" + std::to_string(held.size()));
    ASSERT_TRUE(made);
    held.push_back(std::move(*made));
  }
  const auto refused = atoms_refused();
  EXPECT_EQ(Atom::make("fresh").error(), Errc::limit_exceeded);
  EXPECT_EQ(decode_term(fresh).error(), Errc::limit_exceeded);
  EXPECT_FALSE(NodeName::parse("fresh@node"));
  EXPECT_FALSE(parse_term("fresh"));
  EXPECT_EQ(atoms_refused(), refused + 4);
  EXPECT_EQ(Atom("never_seen_before").text(), "never_seen_before") << "what the program names itself has room";
  EXPECT_TRUE(decode_term(known));
  EXPECT_TRUE(Atom::make("held_0"));
  held.pop_back();
  EXPECT_TRUE(decode_term(fresh)) << "there is room again";
  set_atoms_max(atoms_max / 2);
  EXPECT_TRUE(Atom::make("held_0")) << "what is in use stays";
  EXPECT_FALSE(Atom::make("fresh"));
}

TEST(Atoms, are_at_most_255_code_points_of_utf8) {
  EXPECT_TRUE(Atom::make(std::string(255, 'a')));
  EXPECT_FALSE(Atom::make(std::string(256, 'a')));
  std::string bees;
  for (int each = 0; each < 255; ++each) bees += "\xf0\x9f\x90\x9d";
  EXPECT_TRUE(Atom::make(bees));
  EXPECT_FALSE(Atom::make(bees + "a"));
  for (const auto* const bad : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_FALSE(Atom::make(bad));
  }
  EXPECT_THROW(static_cast<void>(Atom(std::string(256, 'a'))), std::invalid_argument);
}

}  // namespace
}  // namespace barrel_p2p
