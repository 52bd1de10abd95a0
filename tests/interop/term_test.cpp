// Our terms against those of a real Erlang machine.
#include <gtest/gtest.h>
#include <barrel_p2p/term.hpp>
#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>

#include "interop/erl_peer.hpp"
#include "interop/random_term.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::test {
namespace {

constexpr std::size_t random_terms = 4000;
constexpr std::uint64_t seed = 20'260'824;

class ErlangTerms : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!erl_missing()) erl_ = std::make_unique<ErlPeer>();
  }
  static void TearDownTestSuite() { erl_.reset(); }
  void SetUp() override {
    if (const auto why = erl_missing()) GTEST_SKIP() << *why;
    ASSERT_NE(erl_, nullptr) << "the Erlang machine did not start";
  }

  static std::unique_ptr<ErlPeer> erl_;
};

std::unique_ptr<ErlPeer> ErlangTerms::erl_;

bool contains(const Term& term, const std::function<bool(const Term&)>& wanted) {
  if (wanted(term)) return true;
  if (term.is_tuple() || term.is_list()) {
    return std::ranges::any_of(term.elements(), [&](const Term& element) { return contains(element, wanted); }) ||
           (term.type() == TermType::list && !term.tail().is_nil() && contains(term.tail(), wanted));
  }
  return std::ranges::any_of(term.pairs(), [&](const TermPair& pair) {
    return contains(pair.first, wanted) || contains(pair.second, wanted);
  });
}

bool is_local_fun(const Term& term) { return term.type() == TermType::fun && term.as_external_fun() == nullptr; }
bool is_identifier(const Term& term) {
  return term.is_pid() || term.is_reference() || term.type() == TermType::port || is_local_fun(term);
}
bool is_negative_zero(const Term& term) {
  const auto value = term.as_double();
  return value && *value == 0 && std::signbit(*value);
}
/// A map like #{0.0 => a, -0.0 => b}: before OTP 27 these keys are the same one, and such a map is refused.
bool has_negative_zero_key(const Term& term) {
  return std::ranges::any_of(term.pairs(), [](const TermPair& pair) { return contains(pair.first, is_negative_zero); });
}

/// A reference in the form of a process alias, of the node that a machine without a name is. Such a machine takes it
/// for one of its own and accepts it only when the process number inside of it is possible there.
bool is_own_alias(const Term& term) {
  const Ref* reference = term.as_reference();
  return reference != nullptr && reference->node == "nonode@nohost" && reference->count > 3;
}
/// A fun whose names Erlang prints in a form that it cannot read: UTF-8 shown as Latin-1, reserved words unquoted.
bool is_misprinted_fun(const Term& term) {
  const auto* fun = term.as_external_fun();
  if (fun == nullptr) return false;
  return std::ranges::any_of(std::array{fun->module, fun->function}, [](const Atom& name) {
    const bool ascii = std::ranges::all_of(name.text(), [](char letter) { return (letter & 0x80) == 0; });
    return !ascii || name == "and" || name == "end" || name == "fun";
  });
}
/// An atom with U+FFFE or U+FFFF: Erlang's scanner takes neither the character nor its escape.
bool is_unwritable_atom(const Term& term) {
  const auto name = term.as_atom();
  return name && (name->text().contains("\uFFFE") || name->text().contains("\uFFFF"));
}

/// Every term of the vector files that our decoder and this Erlang machine take.
std::vector<Term> vector_terms(const ErlPeer& erl) {
  std::vector<Term> terms;
  for (const auto* file :
       {"etf_encode.json", "etf_decode.json", "etf_phash2.json", "phash2.json", "etf_compare.json"}) {
    const auto vectors = read_vectors(file);
    for (const auto& row : vectors.as_array()) {
      for (const auto* key : {"etf_hex", "a_hex", "b_hex"}) {
        const auto* hex = row.as_object().if_contains(key);
        if (hex == nullptr || !hex->is_string()) continue;
        auto decoded = decode_term(from_hex(std::string(hex->as_string())));
        if (decoded) terms.push_back(std::move(decoded->term));
      }
    }
  }
  std::erase_if(terms, [](const Term& term) { return contains(term, is_own_alias); });
  if (erl.otp_release() < 27) {
    std::erase_if(terms, [](const Term& term) { return contains(term, has_negative_zero_key); });
  }
  return terms;
}

std::vector<Term> many_random_terms(bool identifiers = true) {
  RandomTerms random(seed);
  std::vector<Term> terms(random_terms);
  for (auto& term : terms) term = random.next(4, identifiers);
  return terms;
}

/// `[F(T) || T <- Terms]` with the terms as the bytes of our encoder.
std::vector<Term> map_encoded(ErlPeer& erl, std::string_view fun, const std::vector<Term>& terms) {
  std::vector<Term> encoded;
  encoded.reserve(terms.size());
  for (const auto& term : terms) encoded.push_back(Term::binary(encode_term(term)));
  const std::string expression = "lists:map(" + std::string(fun) + ", hd(Args))";
  const Term results = erl.eval(expression, Term::list({Term::list(std::move(encoded))}));
  return {results.elements().begin(), results.elements().end()};
}

void expect_round_trip(ErlPeer& erl, const std::vector<Term>& terms) {
  const auto returned =
      map_encoded(erl, "fun(B) -> {T, Used} = binary_to_term(B, [used]), {Used, term_to_binary(T)} end", terms);
  ASSERT_EQ(returned.size(), terms.size());
  for (std::size_t at = 0; at < terms.size(); ++at) {
    EXPECT_EQ(returned[at][0].as_uint64(), encode_term(terms[at]).size()) << to_text(terms[at]);
    const auto bytes = returned[at][1].as_binary();
    ASSERT_TRUE(bytes.has_value());
    const auto decoded = decode_term(*bytes);
    ASSERT_TRUE(decoded.has_value()) << to_text(terms[at]) << ": " << decoded.error().message();
    EXPECT_EQ(decoded->term, terms[at]);
  }
}

TEST_F(ErlangTerms, the_terms_of_the_vectors_come_back_as_they_were) {
  const auto terms = vector_terms(*erl_);
  ASSERT_GT(terms.size(), 2000U);
  expect_round_trip(*erl_, terms);
}

TEST_F(ErlangTerms, random_terms_come_back_as_they_were) { expect_round_trip(*erl_, many_random_terms()); }

TEST_F(ErlangTerms, without_maps_the_bytes_are_the_same_as_erlangs) {
  auto terms = many_random_terms();
  const bool old_ports = erl_->otp_release() < 26;  // ids below 2^28 leave in the old form
  std::erase_if(terms, [&](const Term& term) {
    return contains(term,
                    [&](const Term& part) { return part.is_map() || (old_ports && part.type() == TermType::port); });
  });
  ASSERT_GT(terms.size(), random_terms / 2);
  const auto returned =
      map_encoded(*erl_, "fun(B) -> term_to_binary(binary_to_term(B), [{minor_version, 2}]) end", terms);
  for (std::size_t at = 0; at < terms.size(); ++at) {
    EXPECT_EQ(to_hex(*returned[at].as_binary()), to_hex(encode_term(terms[at]))) << to_text(terms[at]);
  }
}

TEST_F(ErlangTerms, phash2_is_the_same) {
  auto terms = many_random_terms();
  for (auto& term : vector_terms(*erl_)) terms.push_back(std::move(term));
  // The hash of a local fun depends on whether the machine has its module.
  std::erase_if(terms, [](const Term& term) { return contains(term, is_local_fun); });
  const auto hashes = map_encoded(
      *erl_,
      "fun(B) -> T = binary_to_term(B), {erlang:phash2(T), erlang:phash2(T, 1000), erlang:phash2(T, 1 bsl 32)} end",
      terms);
  for (std::size_t at = 0; at < terms.size(); ++at) {
    const auto expected =
        Term::tuple({phash2(terms[at]), phash2(terms[at], 1000), phash2(terms[at], std::uint64_t{1} << 32U)});
    EXPECT_EQ(hashes[at], expected) << to_text(terms[at]);
  }
}

TEST_F(ErlangTerms, sorting_gives_the_same_sequence) {
  auto terms = many_random_terms();
  for (auto& term : vector_terms(*erl_)) terms.push_back(std::move(term));
  std::erase_if(terms, [](const Term& term) { return contains(term, is_local_fun); });
  // Terms that are equal but not the same stay in their order: lists:sort/2 is stable, too (lists:sort/1 is not).
  const Term sorted = erl_->eval("lists:sort(fun erlang:'=<'/2, hd(Args))", Term::list({Term::list(terms)}));
  std::ranges::stable_sort(terms, TermLess());
  ASSERT_EQ(sorted.size(), terms.size());
  for (std::size_t at = 0; at < terms.size(); ++at)
    ASSERT_EQ(sorted.elements()[at], terms[at]) << "at " << at << ": " << to_text(terms[at]);
}

TEST_F(ErlangTerms, equality_is_the_same_before_and_after_the_dot) {
  auto terms = many_random_terms();
  // 0.0 and -0.0 are exactly equal before OTP 27; ours are those of OTP 27.
  if (erl_->otp_release() < 27) std::erase_if(terms, [](const Term& term) { return contains(term, is_negative_zero); });
  std::ranges::stable_sort(terms, TermLess());
  const Term verdicts =
      erl_->eval("lists:zipwith(fun(A, B) -> {A == B, A =:= B} end, lists:droplast(hd(Args)), tl(hd(Args)))",
                 Term::list({Term::list(terms)}));
  std::size_t equal = 0;
  for (std::size_t at = 0; at + 1 < terms.size(); ++at) {
    const auto expected = Term::tuple({equals(terms[at], terms[at + 1]), terms[at] == terms[at + 1]});
    EXPECT_EQ(verdicts.elements()[at], expected) << to_text(terms[at]) << " " << to_text(terms[at + 1]);
    if (terms[at] == terms[at + 1]) ++equal;
  }
  EXPECT_GT(equal, 100U);
}

TEST_F(ErlangTerms, erlangs_text_is_read_as_the_term_that_it_printed) {
  auto terms = many_random_terms(false);
  for (auto& term : vector_terms(*erl_)) terms.push_back(std::move(term));
  std::erase_if(terms,
                [](const Term& term) { return contains(term, is_identifier) || contains(term, is_misprinted_fun); });
  const auto texts = map_encoded(*erl_, "fun(B) -> peer_driver:text(binary_to_term(B)) end", terms);
  for (std::size_t at = 0; at < terms.size(); ++at) {
    const std::string text = texts[at].as_string().value_or("");
    const auto parsed = parse_term(text);
    ASSERT_TRUE(parsed.has_value()) << text << ": " << parsed.error().message();
    EXPECT_EQ(*parsed, terms[at]) << text;
    // Maps of more than 32 keys, and all maps from OTP 26 on, print in an order of the machine's own.
    if (!contains(terms[at], [](const Term& part) { return part.is_map(); })) {
      EXPECT_EQ(to_text(terms[at]), text);
    }
  }
}

TEST_F(ErlangTerms, our_text_is_read_by_erlang_as_the_term_that_we_printed) {
  auto terms = many_random_terms(false);
  for (auto& term : vector_terms(*erl_)) terms.push_back(std::move(term));
  std::erase_if(terms,
                [](const Term& term) { return contains(term, is_identifier) || contains(term, is_unwritable_atom); });
  std::vector<Term> texts;
  for (const auto& term : terms) texts.emplace_back(to_text(term));
  const Term read = erl_->eval("[peer_driver:parse(T) || T <- hd(Args)]", Term::list({Term::list(std::move(texts))}));
  ASSERT_EQ(read.size(), terms.size());
  for (std::size_t at = 0; at < terms.size(); ++at) EXPECT_EQ(read.elements()[at], terms[at]) << to_text(terms[at]);
}

TEST_F(ErlangTerms, what_erlang_compresses_is_decoded_and_the_other_way_round) {
  const Term term = Term::list(std::vector<Term>(500, Term::tuple({Atom("a"), "the same text again", 1.5})));
  const Term bytes = erl_->eval("term_to_binary(hd(Args), [compressed])", Term::list({term}));
  const auto decoded = decode_term(*bytes.as_binary());
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message();
  EXPECT_EQ(decoded->term, term);
  const auto ours = encode_term(term, {.compression = 6});
  EXPECT_LT(ours.size(), encoded_size(term) / 10);
  EXPECT_EQ(erl_->eval("binary_to_term(hd(Args))", Term::list({Term::binary(ours)})), term);
}

}  // namespace
}  // namespace barrel_p2p::test
