// Hashes of terms: they agree with `==`, and what differs anywhere has another one.
#include <gtest/gtest.h>

#include <barrel_p2p/term.hpp>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "support/vectors.hpp"

namespace barrel_p2p {
namespace {

using test::from_hex;

TEST(Hashes, of_terms_that_differ_in_one_field_differ) {
  const std::vector<Term> terms{
      Pid{"n@h", 1, 0, 1},
      Pid{"n@h", 1, 0, 2},
      Pid{"n@h", 1, 1, 1},
      Pid{"n@h", 2, 0, 1},
      Pid{"m@h", 1, 0, 1},
      Ref{"n@h", 1, 3, {1, 2, 3}},
      Ref{"n@h", 2, 3, {1, 2, 3}},
      Ref{"n@h", 1, 3, {2, 1, 3}},
      Ref{"m@h", 1, 3, {1, 2, 3}},
      Port{"n@h", 1, 1},
      Port{"n@h", 1, 2},
      Port{"n@h", 2, 1},
      Port{"m@h", 1, 1},
      ExternalFun{"m", "f", 1},
      ExternalFun{"m", "f", 2},
      ExternalFun{"m", "g", 1},
      ExternalFun{"n", "f", 1},
      Term::tuple({1, 2}),
      Term::tuple({2, 1}),
      Term::tuple({1, Term::tuple({2})}),
      Term::list({1, 2}),
      Term::list({1}, 2),
      Term::map({{1, 2}}),
      Term::map({{2, 1}}),
      BigInteger::parse("99999999999999999999").value(),
      BigInteger::parse("-99999999999999999999").value(),
      1,
      1.0,
      "1",
      Atom("1"),
      Term(),
  };
  std::set<std::size_t> hashes;
  for (const auto& term : terms) {
    EXPECT_TRUE(hashes.insert(term.hash()).second) << to_text(term);
    EXPECT_EQ(decode_term(encode_term(term)).value().term.hash(), term.hash()) << to_text(term);
  }
}

// What peers choose freely must not meet: each of these was a single hash for all.
TEST(Hashes, of_names_that_only_a_peer_can_choose_differ) {
  constexpr std::uint32_t count = 1000;
  std::set<std::size_t> pids;
  std::set<std::size_t> ports;
  for (std::uint32_t number = 0; number < count; ++number) {
    pids.insert(std::hash<Pid>()(Pid{"n@h", 1, number, number << 17U}));
    ports.insert(Term(Port{"n@h", 1, number}).hash());
  }
  EXPECT_EQ(pids.size(), count);
  EXPECT_EQ(ports.size(), count);
}

TEST(Hashes, of_bitstrings_do_not_see_what_is_behind_their_end) {
  // BIT_BINARY_EXT of 9 bits: the last seven of the second byte count for nothing.
  const auto clean = decode_term(from_hex("834d0000000201ff80")).value().term;
  const auto stray = decode_term(from_hex("834d0000000201ffff")).value().term;
  ASSERT_EQ(clean, stray);
  EXPECT_EQ(clean.hash(), stray.hash());
  EXPECT_NE(clean.hash(), decode_term(from_hex("834d0000000201ff00")).value().term.hash());
  EXPECT_NE(clean.hash(), decode_term(from_hex("834d0000000202ff80")).value().term.hash());
}

}  // namespace
}  // namespace barrel_p2p
