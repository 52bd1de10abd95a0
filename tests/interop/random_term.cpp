#include "interop/random_term.hpp"

#include <array>
#include <bit>
#include <cmath>

namespace barrel_p2p::test {
namespace {

constexpr std::array<const char*, 22> atoms{
    "a",  "b",   "ok",  "undefined", "true",  "false", "",     "A",      "hello world", "it's",          "caf\u00e9",
    "Z9", "nil", "end", "fun",       "a@b.c", "_x",    "x\ny", "\u4f60", "\U0001F600",  "\u00e9t\u00e9", "and"};
constexpr std::array<const char*, 4> nodes{"a@127.0.0.1", "b@127.0.0.1", "longer.name@host.example", "a@127.0.0.2"};
constexpr std::array<const char*, 9> texts{"",         "a",           "hello",        "two\nlines", "caf\u00e9",
                                           "quote\"d", "back\\slash", "\u4f60\u597d", "tab\t"};

}  // namespace

Term RandomTerms::integer() {
  switch (below(6)) {
    case 0: return static_cast<std::int64_t>(below(300)) - 20;
    case 1: return static_cast<std::int64_t>(engine_());
    case 2: {  // around the borders of the encodings and of small integers on a 64-bit machine
      const auto border = std::int64_t{1} << std::array<unsigned, 8>{7, 8, 27, 31, 32, 53, 59, 62}[below(8)];
      const auto near = border + static_cast<std::int64_t>(below(5)) - 2;
      return below(2) == 0 ? near : -near;
    }
    case 3: return engine_();
    case 4: {
      BigInteger big;
      big.negative = below(2) == 0;
      big.magnitude.resize(1 + below(40));
      for (auto& byte : big.magnitude) byte = static_cast<std::uint8_t>(engine_());
      big.magnitude.back() = static_cast<std::uint8_t>(1 + below(255));
      return big;
    }
    default: return static_cast<std::int64_t>(below(70'000)) - 35'000;
  }
}

Term RandomTerms::floating() {
  switch (below(4)) {
    case 0: return static_cast<double>(static_cast<std::int64_t>(below(40)) - 20);
    case 1: return (static_cast<double>(below(2'000'001)) - 1'000'000) / 1024.0;
    case 2: return std::ldexp(1.0, static_cast<int>(below(120))) * (below(2) == 0 ? 1 : -1);
    default:
      for (;;) {
        const auto value = std::bit_cast<double>(engine_());
        if (std::isfinite(value)) return value;
      }
  }
}

Atom RandomTerms::atom() { return atoms[below(atoms.size())]; }

Term RandomTerms::bits() {
  if (below(3) == 0) return texts[below(texts.size())];
  Bytes bytes(below(12));
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(below(4) == 0 ? engine_() : 'a' + below(26));
  return below(4) == 0 && !bytes.empty() ? Term::bitstring(bytes, bytes.size() * 8 - below(8)) : Term::binary(bytes);
}

Term RandomTerms::identifier() {
  const Atom node = nodes[below(nodes.size())];
  const auto creation = static_cast<std::uint32_t>(below(2) == 0 ? 4 + below(3) : engine_());
  const auto number = [&] {
    return static_cast<std::uint32_t>(below(2) == 0 ? below(6) : below(std::uint64_t{1} << 28U));
  };
  switch (below(3)) {
    case 0: return Pid{node, number(), static_cast<std::uint32_t>(below(4)), creation};
    case 1: return Port{node, number(), creation};
    default: {
      Ref reference{node, creation, static_cast<std::uint8_t>(below(2) == 0 ? 3 : 5), {}};
      for (std::size_t word = 0; word < reference.count; ++word) reference.words[word] = number();
      reference.words[0] %= 1U << 18U;
      return reference;
    }
  }
}

std::vector<Term> RandomTerms::several(int depth, bool identifiers) {
  std::vector<Term> terms(below(depth > 2 ? 6 : 4));
  for (auto& term : terms) term = next(depth - 1, identifiers);
  return terms;
}

Term RandomTerms::next(int depth, bool identifiers) {
  switch (below(depth > 0 ? 12 : 6)) {
    case 0: return integer();
    case 1: return floating();
    case 2: return atom();
    case 3: return bits();
    case 4: return identifiers ? identifier() : integer();
    case 5:
      return below(4) == 0 ? Term(ExternalFun{atom(), atom(), static_cast<std::uint8_t>(below(256))}) : Term(atom());
    case 6:
    case 7: return Term::tuple(several(depth, identifiers));
    case 8: return Term::list(several(depth, identifiers));
    case 9: {
      std::vector<Term> small(below(8));
      for (auto& term : small) term = static_cast<std::int64_t>(below(4) == 0 ? below(256) : 32 + below(90));
      return Term::list(std::move(small));
    }
    case 10: {
      auto elements = several(depth, identifiers);
      elements.push_back(next(0, identifiers));
      return Term::list(std::move(elements), next(depth - 1, identifiers));
    }
    default: {
      std::vector<TermPair> pairs(below(10) == 0 ? 30 + below(10) : below(5));
      for (auto& [key, value] : pairs) {
        key = next(depth > 2 ? 1 : 0, identifiers);
        value = next(depth - 1, identifiers);
      }
      return Term::map(std::move(pairs));
    }
  }
}

}  // namespace barrel_p2p::test
