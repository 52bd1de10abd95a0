#include "services/standings.hpp"

#include <gtest/gtest.h>

#include "services/leases_support.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;

const Atom own("a@h");
const Atom other("b@h");
const Atom third("c@h");

/// A node with leases, and the standings of those that have entries there.
class StandingsTest : public ::testing::Test {
 protected:
  [[nodiscard]] MonotonicTime now() const { return node.now.monotonic; }
  void add(const Atom& owner, const Atom& speaker) { standings.add(owner, speaker, now()); }
  [[nodiscard]] Standing judge(const Atom& owner) { return standings.judge(owner, now()).after; }
  void hear(const Atom& owner) { node.hear(owner.string(), node.now.wall); }

  test::Leaseholder node{own.string()};
  Standings standings{{.own = own, .forget_after = 1h, .vouch_for = 6s, .expect_for = 6s}, *node.members};
};

TEST_F(StandingsTest, the_own_node_counts_from_the_first_entry_on_and_is_settled) {
  EXPECT_FALSE(standings.counts(own));
  add(own, {});
  EXPECT_TRUE(standings.counts(own));
  EXPECT_EQ(standings.next_due(), std::nullopt);
}

TEST_F(StandingsTest, a_node_with_a_lease_counts_whoever_tells_of_it) {
  hear(other);
  add(other, third);
  EXPECT_TRUE(standings.counts(other));
  EXPECT_FALSE(standings.is_vouched_for(other));
  EXPECT_EQ(standings.next_due(), std::nullopt);
}

TEST_F(StandingsTest, a_node_that_speaks_counts_until_its_first_beat_should_have_come) {
  add(other, other);
  EXPECT_TRUE(standings.counts(other));
  EXPECT_TRUE(standings.is_vouched_for(other));
  node.sleep(5999ms);
  EXPECT_EQ(judge(other), Standing::alive);
  node.sleep(1ms);
  EXPECT_EQ(judge(other), Standing::gone);
  EXPECT_FALSE(standings.counts(other));
}

TEST_F(StandingsTest, a_node_of_which_a_peer_tells_is_expected_for_a_while_and_offered_meanwhile) {
  add(other, third);
  EXPECT_FALSE(standings.counts(other));
  EXPECT_TRUE(standings.is_offered(other, third, now()));
  EXPECT_EQ(standings.next_due(), now() + 6s);
  node.sleep(5999ms);
  EXPECT_EQ(standings.unsettled(now()), std::vector<Atom>{});
  node.sleep(1ms);
  EXPECT_EQ(standings.unsettled(now()), std::vector{other});
  EXPECT_EQ(judge(other), Standing::gone);
  EXPECT_FALSE(standings.is_offered(other, third, now()));
}

TEST_F(StandingsTest, an_expected_node_that_speaks_is_vouched_for_and_one_with_a_lease_is_settled) {
  add(other, third);
  const auto vouched = standings.vouch(other, now());
  EXPECT_EQ(vouched.before, Standing::expected);
  EXPECT_EQ(vouched.after, Standing::alive);
  EXPECT_FALSE(vouched.is_of_offer());
  hear(other);
  EXPECT_TRUE(standings.judge(other, now()).is_none());
  EXPECT_FALSE(standings.is_vouched_for(other));
  EXPECT_EQ(standings.next_due(), std::nullopt);
}

TEST_F(StandingsTest, a_node_that_was_heard_of_cannot_vouch_for_itself_by_speaking) {
  hear(other);
  node.pass(7s);
  add(other, other);
  EXPECT_FALSE(standings.counts(other));
  EXPECT_TRUE(standings.vouch(other, now()).is_none());
  EXPECT_FALSE(standings.counts(other));
}

TEST_F(StandingsTest, entries_of_a_dead_node_are_withdrawn_and_return_with_its_lease) {
  hear(other);
  add(other, other);
  node.pass(7s);
  const auto lost = standings.judge(other, now());
  EXPECT_EQ(lost.after, Standing::gone);
  EXPECT_TRUE(lost.is_of_offer());
  EXPECT_FALSE(lost.is_return());
  hear(other);
  const auto back = standings.judge(other, now());
  EXPECT_TRUE(back.is_return());
  EXPECT_TRUE(back.is_of_offer());
  EXPECT_TRUE(standings.counts(other));
}

TEST_F(StandingsTest, a_node_is_forgotten_when_it_was_silent_or_hidden_for_long_enough) {
  hear(other);
  add(other, other);
  add(third, other);
  node.pass(7s);
  EXPECT_EQ(judge(other), Standing::gone);
  EXPECT_EQ(judge(third), Standing::gone);
  node.sleep(1h - 7s);
  EXPECT_EQ(standings.forgotten(now()), std::vector<Atom>{});
  EXPECT_FALSE(standings.is_forgotten(other, now()));
  node.sleep(1ms);
  EXPECT_EQ(standings.forgotten(now()), (std::vector{other, third}));
  EXPECT_TRUE(standings.is_forgotten(other, now()));
}

TEST_F(StandingsTest, a_node_that_is_gone_is_forgotten_later_if_something_is_heard_of_it) {
  hear(other);
  add(other, other);
  node.pass(7s);
  EXPECT_EQ(judge(other), Standing::gone);
  node.pass(30min);
  hear(other);
  node.pass(7s);
  node.sleep(1h - 8s);
  EXPECT_EQ(standings.forgotten(now()), std::vector<Atom>{}) << "nobody had judged it";
  EXPECT_EQ(standings.next_due(), now() + 1s);
  node.sleep(1001ms);
  EXPECT_EQ(standings.forgotten(now()), std::vector{other});
  EXPECT_EQ(standings.forgotten(now()), std::vector{other}) << "as long as it has entries";
  standings.remove(other);
  EXPECT_EQ(standings.forgotten(now()), std::vector<Atom>{});
}

TEST_F(StandingsTest, very_many_nodes_that_are_gone_cost_nothing_until_their_time_comes) {
  constexpr std::size_t many = 50'000;
  std::vector<Atom> invented;
  invented.reserve(many);
  for (std::size_t number = 0; number < many; ++number) invented.emplace_back("i" + std::to_string(number) + "@h");
  for (const auto& name : invented) add(name, third);
  node.sleep(6s);
  EXPECT_EQ(standings.unsettled(now()).size(), many);
  for (const auto& name : invented) EXPECT_EQ(judge(name), Standing::gone);
  const auto began = std::chrono::steady_clock::now();
  // To look at all of them each time would take many minutes.
  for (int look = 0; look < 50'000; ++look) {
    ASSERT_TRUE(standings.unsettled(now()).empty());
    ASSERT_TRUE(standings.forgotten(now()).empty());
    node.sleep(1ms);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, test::patience);
  node.sleep(1h);
  EXPECT_EQ(standings.forgotten(now()).size(), many);
}

TEST_F(StandingsTest, a_node_that_is_alive_is_never_forgotten) {
  hear(other);
  add(other, other);
  for (int minutes = 0; minutes < 120; ++minutes) {
    node.pass(58s);
    hear(other);
    EXPECT_EQ(judge(other), Standing::alive);
    EXPECT_FALSE(standings.is_forgotten(other, now()));
    EXPECT_EQ(standings.forgotten(now()), std::vector<Atom>{});
  }
}

TEST_F(StandingsTest, nothing_is_known_of_a_node_whose_last_entry_is_gone) {
  add(other, third);
  standings.remove(other);
  EXPECT_EQ(standings.next_due(), std::nullopt);
  EXPECT_TRUE(standings.judge(other, now()).is_none());
  EXPECT_TRUE(standings.vouch(other, now()).is_none());
  EXPECT_FALSE(standings.counts(other));
}

TEST_F(StandingsTest, of_an_unknown_node_it_is_told_whether_its_entries_would_be_offered) {
  EXPECT_TRUE(standings.is_offered(other, third, now()));
  hear(other);
  EXPECT_TRUE(standings.is_offered(other, third, now()));
  node.pass(7s);
  EXPECT_FALSE(standings.is_offered(other, third, now()));
}

}  // namespace
}  // namespace barrel_p2p::services
