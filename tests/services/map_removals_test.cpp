// What was removed from maps on several nodes stays so, and what belongs to a node goes with it.
#include <gtest/gtest.h>

#include <ctime>
#include <tuple>

#include "services/maps_support.hpp"

namespace barrel_p2p::services {
namespace {

using test::flags;
using test::MapsWorld;
using test::message;
using test::Pair;
using test::persistent;
using test::value_entry;
using namespace std::chrono_literals;
using Texts = std::vector<std::string>;
using Values = std::map<std::string, std::string>;

}  // namespace

// Removals.

TEST(Maps, a_clock_that_is_set_ahead_has_no_removal_forgotten_before_its_time) {
  MapOptions options = persistent();
  options.tombstone_ttl = 1min;
  MapsWorld world;
  world.maps_config.tombstone_hold = 5min;
  const Atom a = world.add("a@h");
  ASSERT_TRUE(world.open(a, flags, options));
  const auto tombstones = [&] { return world.statistics(a, flags).tombstones; };
  world.put(a, flags, "before", 1);
  world.put(a, flags, "after", 1);
  world.remove(a, flags, "before");
  world.pass(5s);
  world.set_clocks(1h);
  world.remove(a, flags, "after");
  world.pass(50s);
  EXPECT_EQ(tombstones(), 2U);
  world.pass(10s);
  EXPECT_EQ(tombstones(), 1U) << "what is old by any clock is forgotten";
  world.pass(10min);
  EXPECT_EQ(tombstones(), 0U) << "in the end the clock as it is counts";
}

TEST(Maps, removals_are_forgotten_after_their_time_here_and_on_the_disk) {
  MapOptions options = persistent();
  options.tombstone_ttl = 1min;
  Pair world(options);
  world.put(world.a, flags, "key", 1);
  world.remove(world.a, flags, "key");
  world.pass(55s);
  EXPECT_EQ(world.statistics(world.b, flags).tombstones, 1U);
  world.pass(10s);
  for (const auto& node : {world.a, world.b}) {
    EXPECT_EQ(world.statistics(node, flags).tombstones, 0U);
    EXPECT_EQ(world.statistics(node, flags).forced_collections, 0U);
    EXPECT_TRUE(world.at(node).disk["map/flags"].empty());
  }
}

TEST(Maps, a_node_that_comes_back_brings_nothing_back_that_was_removed_meanwhile) {
  MapOptions options = persistent();
  options.tombstone_ttl = 1min;
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  const Atom c = world.add("c@h");
  world.link(a, b);
  world.link(b, c);
  for (const auto& node : {a, b, c}) ASSERT_TRUE(world.open(node, flags, options));
  world.put(a, flags, "removed", 1);
  world.put(a, flags, "kept", 1);
  world.pass(10s);
  world.stop(c);
  world.pass(30s);
  world.remove(a, flags, "removed");
  world.pass(3h);
  EXPECT_EQ(world.statistics(a, flags).tombstones, 1U) << "c may not know";
  world.restart(c);
  EXPECT_EQ(world.get(c, flags, "removed"), "1");
  world.link(b, c);
  world.pass(10s);
  for (const auto& node : {a, b, c}) {
    EXPECT_EQ(world.live(node, flags), (Values{{"<<\"kept\">>", "1"}})) << node.text();
  }
  EXPECT_EQ(world.at(a).events.back(), "remove <<\"removed\">>") << "it never came back for anybody";
  world.pass(5min);
  for (const auto& node : {a, b, c}) EXPECT_EQ(world.statistics(node, flags).tombstones, 0U) << node.text();
}

TEST(Maps, what_a_node_brings_back_is_known_to_be_removed_for_a_while_after_its_return) {
  MapOptions options = persistent();
  options.tombstone_ttl = 1min;
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom c = world.add("c@h");
  world.link(a, c);
  for (const auto& node : {a, c}) ASSERT_TRUE(world.open(node, flags, options));
  world.put(a, flags, "removed", 1);
  world.pass(10s);
  world.stop(c);
  world.remove(a, flags, "removed");
  world.pass(10min);
  // A newcomer knows nothing of the removal, and takes what c has.
  const Atom b = world.add("b@h");
  ASSERT_TRUE(world.open(b, flags, options));
  world.link(a, b);
  world.pass(10s);
  world.muted = {{a, b}};
  world.restart(c);
  world.link(b, c);
  world.pass(20s);
  ASSERT_TRUE(world.at(a).members->is_alive(c));
  ASSERT_EQ(world.get(b, flags, "removed"), "1");
  world.muted.clear();
  world.pass(3min);
  for (const auto& node : {a, b, c}) EXPECT_EQ(world.get(node, flags, "removed"), std::nullopt) << node.text();
}

/// a and c, which had a key; c went, a removed the key.
class Removed : public MapsWorld {
 public:
  Removed() {
    options.tombstone_ttl = 1min;
    link(a, c);
    for (const auto& node : {a, c}) EXPECT_TRUE(open(node, flags, options));
    put(a, flags, "removed", 1);
    pass(20s);
    stop(c);
    pass(10s);
    remove(a, flags, "removed");
  }
  std::size_t tombstones() { return statistics(a, flags).tombstones; }
  void bring_back() {
    restart(c);
    EXPECT_EQ(get(c, flags, "removed"), "1");
    link(a, c);
    pass(10s);
  }

  MapOptions options = persistent();
  const Atom a = add("a@h");
  const Atom c = add("c@h");
};

TEST(Maps, removals_wait_for_who_is_away_although_this_node_restarts_meanwhile) {
  Removed world;
  for (int restarts = 0; restarts < 3; ++restarts) {
    world.pass(1h);
    world.stop(world.a);
    world.pass(10min);
    world.restart(world.a);
  }
  world.pass(1h);
  EXPECT_EQ(world.tombstones(), 1U);
  world.bring_back();
  for (const auto& node : {world.a, world.c}) EXPECT_EQ(world.get(node, flags, "removed"), std::nullopt) << node.text();
  world.pass(5min);
  EXPECT_EQ(world.tombstones(), 0U);
}

TEST(Maps, removals_wait_for_who_left_while_this_node_was_down) {
  MapOptions options = persistent();
  options.tombstone_ttl = 1min;
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom c = world.add("c@h");
  world.link(a, c);
  for (const auto& node : {a, c}) ASSERT_TRUE(world.open(node, flags, options));
  world.put(a, flags, "removed", 1);
  world.pass(20s);
  world.stop(a);
  world.stop(c);
  world.pass(1h);
  world.restart(a);
  world.remove(a, flags, "removed");
  world.pass(1h);
  EXPECT_EQ(world.statistics(a, flags).tombstones, 1U);
  world.restart(c);
  world.link(a, c);
  world.pass(10s);
  EXPECT_EQ(world.get(a, flags, "removed"), std::nullopt);
  EXPECT_EQ(world.get(c, flags, "removed"), std::nullopt);
}

TEST(Maps, who_never_comes_back_is_waited_for_as_long_as_without_a_restart) {
  Removed world;
  world.stop(world.a);
  world.restart(world.a);
  world.pass(23h);
  EXPECT_EQ(world.tombstones(), 1U);
  world.pass(2h);
  EXPECT_EQ(world.tombstones(), 0U);
}

TEST(Maps, what_was_brought_back_is_known_to_be_removed_although_this_node_restarts_then) {
  Removed world;
  world.pass(1h);
  world.bring_back();
  EXPECT_EQ(world.tombstones(), 1U);
  world.stop(world.a);
  world.restart(world.a);
  world.link(world.a, world.c);
  world.pass(50s);
  EXPECT_EQ(world.tombstones(), 1U) << "others may not have heard of it";
  world.pass(5min);
  EXPECT_EQ(world.tombstones(), 0U);
}

TEST(Maps, a_node_that_does_not_remember_the_absent_one_is_equal_to_those_that_do) {
  MapOptions options;
  options.tombstone_ttl = 1min;
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  const Atom c = world.add("c@h");
  world.link(a, b);
  world.link(a, c);
  for (const auto& node : {a, b, c}) ASSERT_TRUE(world.open(node, flags, options));
  for (int key = 0; key < 100; ++key) world.put(a, flags, key, key);
  world.pass(10s);
  world.stop(c);
  for (int key = 0; key < 50; ++key) world.remove(a, flags, key);
  world.pass(10s);
  world.stop(b);
  world.at(b).known = Term::map({});  // it lost its disk
  world.restart(b);
  world.link(a, b);
  world.pass(10min);
  EXPECT_EQ(world.statistics(a, flags).tombstones, 50U);
  EXPECT_EQ(world.statistics(b, flags).tombstones, 0U) << "it knows nobody who is away";
  world.at(a).sends.clear();
  world.at(b).sends.clear();
  world.pass(10min);
  for (const auto& node : {a, b}) {
    for (const auto& [to, message] : world.at(node).sends) {
      EXPECT_TRUE(message[1].is_tagged("digests", 3) && message[1][2].size() <= 1) << to_text(message);
    }
  }
}

TEST(Maps, removals_before_the_absence_are_forgotten_during_it) {
  MapOptions options;
  options.tombstone_ttl = 1min;
  Pair world(options);
  world.put(world.a, flags, "key", 1);
  world.remove(world.a, flags, "key");
  world.pass(50s);
  world.stop(world.b);
  world.pass(5s);
  EXPECT_EQ(world.statistics(world.a, flags).tombstones, 1U);
  world.pass(1h);
  EXPECT_EQ(world.statistics(world.a, flags).tombstones, 1U) << "removed less than a minute before b went";
  Pair earlier(options);
  earlier.put(earlier.a, flags, "key", 1);
  earlier.remove(earlier.a, flags, "key");
  earlier.pass(59s);
  earlier.stop(earlier.b);
  earlier.pass(8s);
  EXPECT_EQ(earlier.statistics(earlier.a, flags).tombstones, 0U);
}

TEST(Maps, removals_are_not_kept_for_ever_because_of_a_node_that_stays_away) {
  MapOptions options;
  options.tombstone_ttl = 1min;
  MapsWorld world;
  world.maps_config.tombstone_hold = 1h;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.link(a, b);
  ASSERT_TRUE(world.open(a, flags, options));
  world.pass(10s);
  world.stop(b);
  world.put(a, flags, "key", 1);
  world.remove(a, flags, "key");
  world.pass(59min);
  EXPECT_EQ(world.statistics(a, flags).tombstones, 1U);
  world.pass(2min);
  EXPECT_EQ(world.statistics(a, flags).tombstones, 0U);
  EXPECT_EQ(world.statistics(a, flags).forced_collections, 1U);
}

// Entries that live as long as their author.

namespace {

MapOptions presence() {
  MapOptions options = persistent();
  options.prune_on_node_down = true;
  return options;
}

/// What it takes to forget one entry of each of so many nodes that nobody has heard of, of processor time.
std::chrono::nanoseconds time_of_ghosts(std::int64_t count) {
  const auto time = [] {
    std::timespec spent{};
    std::ignore = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
  };
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom b("b@h");
  MapOptions options;
  options.prune_on_node_down = true;
  EXPECT_TRUE(world.open(a, flags, options));
  std::vector<TermPair> entries;
  for (std::int64_t number = 0; number < count; ++number) {
    const Atom ghost("ghost" + std::to_string(number) + "@h");
    entries.emplace_back(number, replication::to_term(test::Entry::value(1, {{test::start_wall, 0}, ghost})));
  }
  world.receive(a, b, flags, message("full_sync", b, Term::map(std::move(entries))));
  EXPECT_EQ(world.statistics(a, flags).entries, static_cast<std::size_t>(count));
  world.pass(50s);
  const auto start = time();
  world.pass(15s);
  const auto spent = time() - start;
  EXPECT_EQ(world.statistics(a, flags).entries, 0U);
  return spent;
}

}  // namespace

TEST(Maps, entries_of_a_node_that_is_gone_are_forgotten_if_nobody_else_wrote_them) {
  Pair world(presence());
  world.put(world.b, flags, "only of b", 1);
  world.put(world.b, flags, "of both", 1);
  world.put(world.a, flags, "of both", 2);
  world.stop(world.b);
  world.pass(5s);
  EXPECT_EQ(world.live(world.a, flags).size(), 2U) << "its lease still runs";
  world.pass(5s);
  EXPECT_EQ(world.live(world.a, flags), (Values{{"<<\"of both\">>", "2"}}));
  EXPECT_EQ(world.at(world.a).events.back(), "remove <<\"only of b\">>");
  EXPECT_EQ(world.at(world.a).disk["map/flags"].size(), 1U);
}

TEST(Maps, entries_of_a_node_that_is_gone_are_not_taken_back_until_it_is_there_again) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  const Atom keeper = world.add("keeper@h");
  world.link(a, b);
  world.link(a, keeper);
  ASSERT_TRUE(world.open(a, flags, presence()));
  ASSERT_TRUE(world.open(b, flags, persistent()));
  ASSERT_TRUE(world.open(keeper, flags));
  world.put(b, flags, "key", 1);
  world.pass(1s);
  world.stop(b);
  world.pass(5min);
  EXPECT_EQ(world.get(keeper, flags, "key"), "1");
  EXPECT_EQ(world.get(a, flags, "key"), std::nullopt);
  EXPECT_EQ(world.at(a).events, (Texts{"put <<\"key\">> 1", "remove <<\"key\">>"})) << "not once in between";
  EXPECT_EQ(world.put(keeper, flags, "key", 2), "ok");
  EXPECT_EQ(world.get(a, flags, "key"), "2") << "a write by another counts";
  world.put(keeper, flags, "other", 1);
  world.restart(b);
  world.put(b, flags, "new", 1);
  world.link(a, b);
  world.pass(2s);
  EXPECT_EQ(world.get(a, flags, "new"), "1");
}

TEST(Maps, entries_of_a_node_that_was_only_cut_off_come_back_with_it) {
  Pair world(presence());
  world.put(world.b, flags, "key", 1);
  world.unlink(world.a, world.b);
  world.pass(20s);
  EXPECT_EQ(world.get(world.a, flags, "key"), std::nullopt);
  world.link(world.a, world.b);
  world.pass(2s);
  EXPECT_EQ(world.get(world.a, flags, "key"), "1");
  EXPECT_EQ(world.get(world.b, flags, "key"), "1");
}

TEST(Maps, erlang_nodes_are_not_given_entries_of_a_node_that_has_missed_a_beat) {
  Pair world(presence());
  world.put(world.b, flags, "key", 1);
  world.pass(5s);
  const auto given = [&](const char* name) {
    const Atom erlang = world.add(name, MapsWorld::Kind::erlang);
    world.link(world.a, erlang);
    EXPECT_TRUE(world.open(erlang, flags));
    world.pass(500ms);
    return world.get(erlang, flags, "key");
  };
  EXPECT_EQ(given("before@h"), "1");
  world.stop(world.b);
  world.pass(3500ms);
  EXPECT_EQ(given("after@h"), std::nullopt);
  EXPECT_EQ(world.get(world.a, flags, "key"), "1") << "its lease still runs";
}

TEST(Maps, entries_of_a_node_that_nobody_has_heard_of_are_forgotten_after_a_minute) {
  Pair world(presence());
  const Atom ghost("ghost@h");
  world.receive(world.a, world.b, flags, message("full_sync", world.b, value_entry("key", 1, test::start_wall, ghost)));
  world.pass(50s);
  EXPECT_EQ(world.get(world.a, flags, "key"), "1") << "its first beat may be under way";
  world.pass(15s);
  EXPECT_EQ(world.get(world.a, flags, "key"), std::nullopt);
  world.pass(2min);
  EXPECT_EQ(world.get(world.b, flags, "key"), std::nullopt);
  EXPECT_EQ(world.get(world.a, flags, "key"), std::nullopt) << "b had it for longer";
}

TEST(Maps, authors_that_are_gone_cost_what_their_entries_cost) {
  const auto of_few = time_of_ghosts(4000);
  EXPECT_LT(time_of_ghosts(40'000), 40 * of_few);
}

TEST(Maps, what_was_written_over_and_over_is_forgotten_with_its_author_and_what_another_wrote_since_is_not) {
  Pair world(presence());
  for (int time = 0; time < 500; ++time) {
    world.put(world.b, flags, "often", time);
    if (time % 2 == 0) world.put(world.b, flags, "now and then", time);
    if (time % 2 == 1) world.remove(world.b, flags, "now and then");
  }
  world.put(world.b, flags, "once", 1);
  world.put(world.b, flags, "of both", 1);
  world.put(world.a, flags, "of both", 2);
  world.put(world.b, flags, "anew", 1);
  world.remove(world.b, flags, "anew");
  world.put(world.a, flags, "anew", 2);
  world.stop(world.b);
  const auto told = world.at(world.a).events.size();
  world.pass(10s);
  EXPECT_EQ(world.live(world.a, flags), (Values{{"<<\"of both\">>", "2"}, {"<<\"anew\">>", "2"}}));
  EXPECT_EQ(world.at(world.a).events.size(), told + 2) << "each was told of once";
}

TEST(Maps, a_map_that_was_deleted_hears_of_no_author) {
  Pair world(presence());
  world.put(world.b, flags, "key", 1);
  world.receive(world.a, world.b, flags,
                message("full_sync", world.b, value_entry("other", 1, test::start_wall, Atom("ghost@h"))));
  EXPECT_EQ(world.remove_map(world.a, flags), "ok");
  world.stop(world.b);
  world.pass(2min);
  ASSERT_TRUE(world.open(world.a, flags, presence()));
  world.restart(world.b);
  world.put(world.b, flags, "new", 1);
  world.link(world.a, world.b);
  world.pass(2s);
  EXPECT_EQ(world.get(world.a, flags, "new"), "1");
}

TEST(Maps, entries_stay_without_the_option) {
  Pair world;
  world.put(world.b, flags, "key", 1);
  world.stop(world.b);
  world.pass(1min);
  EXPECT_EQ(world.get(world.a, flags, "key"), "1");
}

}  // namespace barrel_p2p::services
