#include "services/ghosts.hpp"

#include <gtest/gtest.h>

namespace barrel_p2p::services {
namespace {

using replication::Entry;
using replication::Timestamp;

const Atom here("a@h");
const Atom there("b@h");

Entry value(std::int64_t content, WallMilliseconds wall, const Atom& writer = here) {
  return Entry::value(Term(content), {{wall, 0}, writer});
}
Entry removal(WallMilliseconds wall) { return Entry::tombstone({wall, 0}); }

TEST(Ghosts, a_value_that_the_node_does_not_know_is_a_ghost_and_a_removal_is_none) {
  EXPECT_TRUE(is_ghost(nullptr, value(1, 100)));
  EXPECT_FALSE(is_ghost(nullptr, removal(100)));
}

TEST(Ghosts, only_what_would_overrule_the_own_entry_is_a_ghost) {
  const Entry ours = value(1, 100);
  EXPECT_FALSE(is_ghost(&ours, ours));
  EXPECT_FALSE(is_ghost(&ours, value(2, 99)));
  EXPECT_TRUE(is_ghost(&ours, value(2, 101)));
  EXPECT_FALSE(is_ghost(&ours, removal(99)));
  EXPECT_TRUE(is_ghost(&ours, removal(101)));
}

TEST(Ghosts, a_value_older_than_the_own_removal_is_none_and_a_newer_one_is) {
  const Entry ours = removal(100);
  EXPECT_FALSE(is_ghost(&ours, value(1, 99)));
  EXPECT_TRUE(is_ghost(&ours, value(1, 101)));
  EXPECT_FALSE(is_ghost(&ours, removal(101)));
}

TEST(Ghosts, only_old_tombstones_of_what_is_not_remembered_are_outdated) {
  const Entry ours = value(1, 10);
  EXPECT_TRUE(is_outdated(nullptr, removal(99), 100));
  EXPECT_FALSE(is_outdated(nullptr, removal(100), 100));
  EXPECT_FALSE(is_outdated(&ours, removal(99), 100));
  EXPECT_FALSE(is_outdated(nullptr, value(1, 99), 100));
}

TEST(Ghosts, what_is_buried_stays_buried_until_the_node_writes_again) {
  Entry entry = value(1, 100);
  const auto buried = bury(Atom("key"), entry.stamp());
  ASSERT_TRUE(buried);
  EXPECT_EQ(buried->first, Term(Atom("key")));
  const Entry tombstone = replication::entry_of(buried->second).value();
  EXPECT_EQ(replication::merge(entry, tombstone), replication::Change::removed);
  EXPECT_EQ(replication::merge(entry, value(1, 100)), replication::Change::none);
  EXPECT_EQ(replication::merge(entry, value(2, 101)), replication::Change::put);
}

TEST(Ghosts, an_entry_after_which_no_stamp_is_left_cannot_be_buried) {
  EXPECT_FALSE(bury(Atom("key"), {100, Timestamp::logical_max}));
}

TEST(Ghosts, the_newest_entry_counts_that_is_the_nodes_own_and_was_taken_over) {
  replication::HybridClock clock;
  replication::OrMapState state({.own = here, .check = [](const Term& key, const Entry&) { return key != Atom("no"); }},
                                clock, [] { return WallMilliseconds{1000}; }, {});
  const auto pair = [](const char* key, const Entry& entry) {
    return TermPair{Term::tuple({Atom(key), there}), replication::to_term(entry)};
  };
  const Term snapshot = Term::map({pair("one", value(1, 100, there)),
                                   pair("two", removal(200)),
                                   pair("not taken", value(1, 300, there)),
                                   {Atom("junk"), Atom("junk")}});
  state.merge(there, Term::map({pair("one", value(1, 100, there)), pair("two", removal(200))}));
  const auto all = [](const Term&) { return true; };
  const auto only_one = [](const Term& key) { return key.is_tuple(2) && key[0] == Atom("one"); };
  EXPECT_EQ(newest_named(snapshot, state, all), (Timestamp{200, 0}));
  EXPECT_EQ(newest_named(snapshot, state, only_one), (Timestamp{100, 0}));
  EXPECT_EQ(newest_named(Term::map({}), state, all), Timestamp{});
}

}  // namespace
}  // namespace barrel_p2p::services
