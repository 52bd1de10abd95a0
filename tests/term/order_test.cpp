// The term order where the vectors have no row for it.
#include <gtest/gtest.h>

#include <barrel_p2p/term.hpp>

namespace barrel_p2p::test {
namespace {

Term map_of(Term key) { return Term::map({{std::move(key), Atom("a")}}); }

TEST(Order, every_integer_key_stands_before_every_float_key) {
  EXPECT_TRUE(compare(map_of(2), map_of(1.5)) < 0);
  EXPECT_TRUE(compare(map_of(*BigInteger::parse("100000000000000000000000")), map_of(-1.0e300)) < 0);
  const Term both = Term::map({{0.5, Atom("float")}, {2, Atom("integer")}});
  EXPECT_EQ(to_text(both), "#{2 => integer,0.5 => float}");
  EXPECT_EQ(*both.find(0.5), Term(Atom("float")));
  EXPECT_EQ(*both.find(2), Term(Atom("integer")));
  EXPECT_EQ(both.find(2.0), nullptr);
}

TEST(Order, inside_of_keys_integers_stand_before_floats_too) {
  EXPECT_TRUE(compare(map_of(Term::tuple({2})), map_of(Term::tuple({1.5}))) < 0);
  EXPECT_TRUE(compare(map_of(Term::list({2})), map_of(Term::list({1.5}))) < 0);
  EXPECT_TRUE(compare(map_of(Term::map({{Atom("a"), 2}})), map_of(Term::map({{Atom("a"), 1.5}}))) < 0);
}

TEST(Order, outside_of_keys_numbers_stand_by_value) {
  EXPECT_TRUE(compare(1.5, 2) < 0);
  EXPECT_TRUE(compare(Term::map({{Atom("a"), 1.5}}), Term::map({{Atom("a"), 2}})) < 0);
  EXPECT_TRUE(equals(Term::map({{Atom("a"), 2.0}}), Term::map({{Atom("a"), 2}})));
}

}  // namespace
}  // namespace barrel_p2p::test
