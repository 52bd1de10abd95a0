// Nodes in reserve behind the passive view.
#include "overlay/reserve.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>

namespace barrel_p2p::overlay::test {
namespace {

using namespace std::chrono_literals;

constexpr MonotonicTime start = MonotonicTime{} + 1h;

KnownNode known(const std::string& name, std::uint32_t fail_count = 0, MonotonicTime not_before = start) {
  return {.node = Atom(name), .seen = start, .fail_count = fail_count, .not_before = not_before};
}

TEST(Reserve, gives_each_node_back_once) {
  Prng random(1);
  Reserve reserve(8);
  for (const auto* name : {"a", "b", "c"}) reserve.add(known(name), random);
  std::set<std::string> drawn;
  while (const auto node = reserve.draw(start, random)) drawn.insert(std::string(node->node.text()));
  EXPECT_EQ(drawn, (std::set<std::string>{"a", "b", "c"}));
  EXPECT_EQ(reserve.size(), 0U);
}

TEST(Reserve, holds_no_more_than_its_size_and_always_the_latest) {
  Prng random(1);
  Reserve reserve(4);
  for (int count = 0; count < 100; ++count) {
    reserve.add(known("n" + std::to_string(count)), random);
    EXPECT_LE(reserve.size(), 4U);
  }
  bool has_latest = false;
  while (const auto node = reserve.draw(start, random)) has_latest = has_latest || node->node == Atom("n99");
  EXPECT_TRUE(has_latest);
  Reserve none(0);
  none.add(known("a"), random);
  EXPECT_EQ(none.size(), 0U);
}

TEST(Reserve, prefers_nodes_that_failed_least) {
  Prng random(1);
  Reserve reserve(8);
  reserve.add(known("often", 3), random);
  reserve.add(known("never"), random);
  reserve.add(known("once", 1), random);
  EXPECT_EQ(reserve.draw(start, random)->node, Atom("never"));
  EXPECT_EQ(reserve.draw(start, random)->node, Atom("once"));
  EXPECT_EQ(reserve.draw(start, random)->fail_count, 3U);
}

TEST(Reserve, leaves_nodes_alone_until_their_time) {
  Prng random(1);
  Reserve reserve(8);
  EXPECT_EQ(reserve.next(), MonotonicTime::max());
  reserve.add(known("later", 0, start + 5s), random);
  EXPECT_EQ(reserve.next(), start + 5s);
  EXPECT_FALSE(reserve.draw(start, random));
  EXPECT_TRUE(reserve.draw(start + 5s, random));
}

TEST(Reserve, forgets_what_it_is_told_to) {
  Prng random(1);
  Reserve reserve(8);
  for (const auto* name : {"a", "b"}) reserve.add(known(name), random);
  reserve.erase(Atom("a"));
  reserve.erase(Atom("a"));
  EXPECT_EQ(reserve.size(), 1U);
  reserve.forget_seen_before(start);
  EXPECT_EQ(reserve.size(), 1U);
  reserve.forget_seen_before(start + 1s);
  EXPECT_EQ(reserve.size(), 0U);
}

}  // namespace
}  // namespace barrel_p2p::overlay::test
