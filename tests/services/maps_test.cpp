// Maps on several nodes: what the program sees, what goes over the wire and to the disk.
#include "services/maps.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

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

MapOptions only_integers() {
  MapOptions options;
  options.validator = [](const Term& value) {
    if (value.is_atom("boom")) throw std::runtime_error("boom");
    return value.is_integer();
  };
  return options;
}

}  // namespace

// The program.

TEST(Maps, a_write_is_read_and_told_and_sent_and_written_in_this_order) {
  Pair world(persistent());
  EXPECT_EQ(world.put(world.a, flags, "key", 1), "ok");
  EXPECT_EQ(world.at(world.a).effects, (Texts{"changed", "happened", "broadcast", "persist"}));
  EXPECT_EQ(world.at(world.b).effects, (Texts{"changed", "happened", "persist"}));
  EXPECT_EQ(world.get(world.b, flags, "key"), "1");
  EXPECT_EQ(world.at(world.b).disk["map/flags"].size(), 1U);
}

TEST(Maps, a_write_to_a_map_without_a_disk_is_answered_at_once) {
  Pair world;
  EXPECT_EQ(world.put(world.a, flags, "key", 1), "ok");
  EXPECT_EQ(world.at(world.a).effects, (Texts{"changed", "happened", "broadcast", "completed"}));
}

TEST(Maps, a_durable_write_is_answered_by_the_disk) {
  Pair world(persistent());
  world.at(world.a).disk_waits = true;
  EXPECT_EQ(world.put(world.a, flags, "key", 1), "waits");
  EXPECT_EQ(world.get(world.b, flags, "key"), "1") << "others do not wait";
  world.write(world.a);
  EXPECT_EQ(world.at(world.a).answers.rbegin()->second, "ok");
}

TEST(Maps, the_writer_tells_of_every_call_and_others_of_what_can_be_seen) {
  Pair world;
  world.put(world.a, flags, "key", 1);
  world.put(world.a, flags, "key", 1);
  world.remove(world.a, flags, "key");
  world.remove(world.a, flags, "never there");
  EXPECT_EQ(world.at(world.a).events,
            (Texts{"put <<\"key\">> 1", "put <<\"key\">> 1", "remove <<\"key\">>", "remove <<\"never there\">>"}));
  EXPECT_EQ(world.at(world.b).events, (Texts{"put <<\"key\">> 1", "remove <<\"key\">>"}));
}

TEST(Maps, one_stamp_a_write_and_one_dot_a_node) {
  Pair world;
  for (int value = 0; value < 5; ++value) world.put(world.a, flags, "key", value);
  world.put(world.b, flags, "key", 6);
  const auto& entry = *world.at(world.a).maps->find(flags)->find("key");
  EXPECT_EQ(entry.dots().size(), 2U);
  EXPECT_EQ(entry, *world.at(world.b).maps->find(flags)->find("key"));
}

TEST(Maps, what_the_validator_refuses_changes_nothing) {
  Pair world(only_integers());
  EXPECT_EQ(world.put(world.a, flags, "key", "text"), "invalid_value");
  EXPECT_EQ(world.put(world.a, flags, "key", Atom("boom")), "invalid_value") << "what it throws is a no";
  EXPECT_TRUE(world.at(world.a).effects.empty());
  EXPECT_TRUE(world.live(world.a, flags).empty());
}

TEST(Maps, an_open_map_keeps_its_options_and_refuses_others) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  MapOptions limited;
  limited.entries_max = 2;
  limited.tombstone_ttl = 5s;
  ASSERT_TRUE(world.open(a, flags, limited));
  ASSERT_EQ(world.put(a, flags, 1, 1), "ok");
  EXPECT_TRUE(world.open(a, flags, limited)) << "the same";
  EXPECT_TRUE(world.open(a, flags)) << "asks for nothing";
  const auto refusal = [&](const auto& change) {
    MapOptions others = limited;
    change(others);
    const auto again = world.open(a, flags, others);
    if (again) return std::string("ok");
    EXPECT_EQ(again.error(), Errc::already_registered);
    EXPECT_NE(again.error().context().find("delete_map"), std::string::npos) << again.error().message();
    const std::string& text = again.error().context();
    const std::size_t from = text.find(": ") + 2;
    return text.substr(from, text.find(". Open it") - from);
  };
  EXPECT_EQ(refusal([](MapOptions& options) { options.persist = true; }), "persist is false and not true");
  EXPECT_EQ(refusal([](MapOptions& options) { options.prune_on_node_down = true; }),
            "prune_on_node_down (prune_on_peer_down) is false and not true");
  EXPECT_EQ(refusal([](MapOptions& options) { options.tombstone_ttl = 6s; }),
            "tombstone_ttl is 5000 ms and not 6000 ms");
  EXPECT_EQ(refusal([](MapOptions& options) {
              options.entries_max = 3;
              options.persist = true;
            }),
            "persist is false and not true, entries_max is 2 and not 3");
  limited.entries_max = 0;
  EXPECT_EQ(world.open(a, flags, limited).error(), Errc::invalid_argument);
  EXPECT_EQ(world.get(a, flags, 1), "1");
  EXPECT_EQ(world.put(a, flags, 2, 2), "ok");
  EXPECT_EQ(world.put(a, flags, 3, 3), "limit_exceeded");
  EXPECT_TRUE(world.at(a).disk["map/flags"].empty());
}

TEST(Maps, a_persistent_map_stays_so_for_who_asks_for_nothing) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  ASSERT_TRUE(world.open(a, flags, persistent()));
  EXPECT_TRUE(world.open(a, flags, persistent()));
  EXPECT_TRUE(world.open(a, flags));
  EXPECT_TRUE(world.at(a).maps->is_persistent(flags));
  EXPECT_EQ(world.put(a, flags, "key", 1), "ok");
  EXPECT_EQ(world.at(a).disk["map/flags"].size(), 1U);
}

TEST(Maps, an_open_map_takes_a_validator_for_what_comes) {
  Pair world;
  ASSERT_EQ(world.put(world.a, flags, "old", "text"), "ok");
  EXPECT_TRUE(world.open(world.a, flags, only_integers()));
  EXPECT_EQ(world.get(world.a, flags, "old"), "<<\"text\">>") << "what is there is not judged";
  EXPECT_EQ(world.put(world.a, flags, "key", "text"), "invalid_value");
  EXPECT_EQ(world.put(world.b, flags, "key", "text"), "ok");
  EXPECT_EQ(world.live(world.a, flags).size(), 1U) << "what others send is judged";
  EXPECT_TRUE(world.open(world.a, flags)) << "asks for nothing, and takes nothing away";
  EXPECT_EQ(world.put(world.a, flags, "key", "text"), "invalid_value");
}

bool is_small(const Term& value) { return value.as_int64().value_or(10) < 10; }
bool is_great(const Term& value) { return value.as_int64().value_or(0) >= 10; }

TEST(Maps, a_validator_is_replaced_by_one_of_the_same_code_only) {
  Pair world(only_integers());
  EXPECT_TRUE(world.open(world.a, flags, only_integers()));
  MapOptions other;
  other.validator = [](const Term& /*value*/) { return true; };
  const auto again = world.open(world.a, flags, other);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error(), Errc::already_registered);
  EXPECT_NE(again.error().context().find("validator is another one"), std::string::npos) << again.error().message();
  EXPECT_EQ(world.put(world.a, flags, "key", "text"), "invalid_value");
  const auto below = [](int limit) {
    MapOptions options;
    options.validator = [limit](const Term& value) { return value.as_int64().value_or(limit) < limit; };
    return options;
  };
  const Atom numbers("numbers");
  ASSERT_TRUE(world.open(world.a, numbers, below(5)));
  EXPECT_EQ(world.put(world.a, numbers, "key", 7), "invalid_value");
  EXPECT_TRUE(world.open(world.a, numbers, below(10)));
  EXPECT_EQ(world.put(world.a, numbers, "key", 7), "ok") << "what the last one holds counts";
  const Atom functions("functions");
  MapOptions options;
  options.validator = is_small;
  ASSERT_TRUE(world.open(world.a, functions, options));
  EXPECT_TRUE(world.open(world.a, functions, options));
  options.validator = is_great;
  EXPECT_EQ(world.open(world.a, functions, options).error(), Errc::already_registered) << "not the same function";
  EXPECT_EQ(world.put(world.a, functions, "key", 7), "ok");
}

TEST(Maps, large_entries_are_refused) {
  MapsWorld world;
  world.maps_config.entry_bytes_max = 100;
  const Atom a = world.add("a@h");
  ASSERT_TRUE(world.open(a, flags));
  EXPECT_EQ(world.put(a, flags, "key", std::string(200, 'x')), "limit_exceeded");
  EXPECT_EQ(world.put(a, flags, std::string(200, 'x'), 1), "limit_exceeded");
  EXPECT_EQ(world.put(a, flags, "key", std::string(50, 'x')), "ok");
}

TEST(Maps, a_full_map_takes_no_more_keys_from_anybody) {
  MapOptions options;
  options.entries_max = 2;
  Pair world(options);
  world.put(world.a, flags, 1, 1);
  world.put(world.a, flags, 2, 2);
  EXPECT_EQ(world.put(world.a, flags, 3, 3), "limit_exceeded");
  EXPECT_EQ(world.put(world.a, flags, 2, 22), "ok");
  world.deliver(world.b, flags, Term::tuple({Atom("delta"), world.a, value_entry(3, 3, test::start_wall, world.a)}));
  EXPECT_EQ(world.live(world.b, flags), (Values{{"1", "1"}, {"2", "22"}}));
  EXPECT_EQ(world.statistics(world.b, flags).rejected, 1U);
}

TEST(Maps, keys_that_erlang_nodes_take_for_one_are_refused) {
  Pair world;
  EXPECT_EQ(world.put(world.a, flags, 1, "integer"), "ok");
  EXPECT_EQ(world.put(world.a, flags, 1.0, "float"), "already_registered");
  EXPECT_EQ(world.put_many(world.a, flags, {{2, "integer"}, {2.0, "float"}}), "already_registered");
  EXPECT_EQ(world.live(world.b, flags).size(), 1U);
}

TEST(Maps, removing_what_was_never_there_leaves_its_erlang_twin_alone) {
  Pair world;
  EXPECT_EQ(world.put(world.a, flags, 1, "integer"), "ok");
  for (const auto& node : {world.a, world.b}) {
    const auto broadcasts = world.at(node).broadcasts.size();
    EXPECT_EQ(world.remove(node, flags, 1.0), "already_registered");
    EXPECT_EQ(world.at(node).broadcasts.size(), broadcasts) << "nothing was written";
  }
  for (const auto& node : {world.a, world.b}) {
    EXPECT_EQ(world.put(node, flags, 1, "again"), "ok");
    EXPECT_EQ(world.put_many(node, flags, {{1, "many"}, {2, "two"}}), "ok");
  }
  EXPECT_EQ(world.remove(world.b, flags, 1), "ok");
  EXPECT_EQ(world.remove(world.b, flags, 1.0), "already_registered") << "the removal of 1 is remembered";
  EXPECT_EQ(world.put(world.a, flags, 1, "anew"), "ok");
  EXPECT_EQ(world.live(world.a, flags), world.live(world.b, flags));
  EXPECT_EQ(world.live(world.b, flags).size(), 2U);
}

TEST(Maps, keys_that_erlang_nodes_take_for_one_and_two_nodes_wrote_at_once_can_be_changed) {
  Pair world;
  world.unlink(world.a, world.b);
  EXPECT_EQ(world.put(world.a, flags, 1, "integer"), "ok");
  EXPECT_EQ(world.put(world.b, flags, 1.0, "float"), "ok");
  EXPECT_EQ(world.remove(world.b, flags, 2.0), "ok");
  EXPECT_EQ(world.put(world.a, flags, 2, "two"), "ok");
  world.link(world.a, world.b);
  world.pass(10s);
  EXPECT_EQ(world.live(world.a, flags), world.live(world.b, flags));
  EXPECT_EQ(world.live(world.a, flags).size(), 3U);
  for (const auto& node : {world.a, world.b}) {
    EXPECT_EQ(world.put(node, flags, 1, "changed"), "ok");
    EXPECT_EQ(world.put(node, flags, 1.0, "changed"), "ok");
    EXPECT_EQ(world.put(node, flags, 2, "changed"), "ok");
    EXPECT_EQ(world.put(node, flags, 2.0, "a second one"), "already_registered");
  }
  EXPECT_EQ(world.remove(world.a, flags, 1.0), "ok");
  EXPECT_EQ(world.live(world.b, flags).size(), 2U);
  EXPECT_EQ(world.put(world.b, flags, 1.0, "a second one"), "already_registered");
}

TEST(Maps, names_and_options_are_checked) {
  MapsWorld world;
  world.maps_config.maps_max = 2;
  const Atom a = world.add("a@h");
  EXPECT_EQ(world.open(a, Atom("")).error(), Errc::invalid_argument);
  EXPECT_EQ(world.open(a, Atom(std::string(201, 'x'))).error(), Errc::invalid_argument);
  MapOptions options;
  options.tombstone_ttl = 999ms;
  EXPECT_EQ(world.open(a, flags, options).error(), Errc::invalid_argument);
  for (const auto endless : {tombstone_ttl_max + 1ms, Milliseconds::max()}) {
    options.tombstone_ttl = endless;
    const auto opened = world.open(a, flags, options);
    EXPECT_EQ(opened.error(), Errc::invalid_argument);
    EXPECT_EQ(opened.error().context(), "tombstone_ttl of the map flags is at least 1 s and at most ten years");
  }
  options = {};
  options.entries_max = 0;
  EXPECT_EQ(world.open(a, flags, options).error(), Errc::invalid_argument);
  EXPECT_TRUE(world.open(a, Atom("one")));
  options = {};
  options.tombstone_ttl = tombstone_ttl_max;
  EXPECT_TRUE(world.open(a, Atom("two"), options));
  EXPECT_EQ(world.open(a, flags).error(), Errc::limit_exceeded);
  EXPECT_TRUE(world.open(a, Atom("one"))) << "it is open";
  EXPECT_EQ(world.at(a).maps->names(), (std::vector<Atom>{Atom("one"), Atom("two")}));
}

TEST(Maps, a_map_that_is_not_open_is_not_there) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  EXPECT_EQ(world.put(a, flags, 1, 1), "no_such_map");
  EXPECT_EQ(world.put_many(a, flags, {}), "no_such_map");
  EXPECT_EQ(world.remove(a, flags, 1), "no_such_map");
  EXPECT_EQ(world.remove_map(a, flags), "no_such_map");
  EXPECT_EQ(world.at(a).maps->statistics(flags).error(), Errc::no_such_map);
  EXPECT_FALSE(world.at(a).maps->takes(MapsWorld::replica(flags)));
  EXPECT_EQ(world.at(a).maps->find(flags), nullptr);
}

TEST(Maps, opening_an_open_map_changes_nothing_but_its_validator) {
  Pair world;
  world.put(world.a, flags, "key", 1);
  EXPECT_TRUE(world.open(world.a, flags));
  EXPECT_EQ(world.put(world.a, flags, "key", "text"), "ok");
  EXPECT_TRUE(world.open(world.a, flags, only_integers()));
  EXPECT_EQ(world.get(world.a, flags, "key"), "<<\"text\">>");
  EXPECT_EQ(world.put(world.a, flags, "key", "word"), "invalid_value");
}

// Several at once.

TEST(Maps, many_entries_are_one_batch_for_the_disk_and_few_broadcasts) {
  MapsWorld world;
  world.maps_config.delta_bytes_max = 1000;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.link(a, b);
  ASSERT_TRUE(world.open(a, flags, persistent()));
  ASSERT_TRUE(world.open(b, flags));
  std::vector<TermPair> pairs;
  for (int key = 0; key < 100; ++key) pairs.emplace_back(key, key);
  pairs.emplace_back(7, "last one counts");
  EXPECT_EQ(world.put_many(a, flags, pairs), "ok");
  EXPECT_EQ(world.at(a).batches, 1U);
  EXPECT_GE(world.at(a).broadcasts.size(), 5U);
  EXPECT_LE(world.at(a).broadcasts.size(), 10U);
  for (const auto& payload : world.at(a).broadcasts) EXPECT_LE(encoded_size(payload), 1200U);
  EXPECT_EQ(world.live(b, flags).size(), 100U);
  EXPECT_EQ(world.get(b, flags, 7), "<<\"last one counts\">>");
  EXPECT_EQ(world.at(a).events.size(), 100U);
}

TEST(Maps, changes_at_the_same_time_go_out_together) {
  Pair world;
  world.between_calls = 0ms;
  for (const int key : {7, 3, 5, 1}) EXPECT_EQ(world.put(world.a, flags, key, key), "ok");
  world.remove(world.a, flags, 2);
  EXPECT_EQ(world.at(world.a).broadcasts.size(), 1U) << "the first one waits for nothing";
  EXPECT_EQ(world.live(world.a, flags).size(), 4U);
  EXPECT_EQ(world.live(world.b, flags).size(), 1U);
  world.pass(1ms);
  EXPECT_EQ(world.at(world.a).broadcasts.size(), 2U);
  EXPECT_EQ(world.live(world.b, flags), world.live(world.a, flags));
  EXPECT_EQ(world.at(world.b).events, (Texts{"put 7 7", "put 3 3", "put 5 5", "put 1 1"})) << "as they were made";
}

TEST(Maps, others_hear_of_each_change_of_a_key) {
  Pair world;
  world.between_calls = 0ms;
  for (int value = 0; value < 4; ++value) world.put(world.a, flags, "key", value);
  world.remove(world.a, flags, "key");
  world.pass(1ms);
  EXPECT_EQ(world.at(world.a).broadcasts.size(), 5U);
  EXPECT_EQ(world.at(world.b).events, world.at(world.a).events);
}

TEST(Maps, keys_that_erlang_nodes_take_for_one_do_not_go_out_together) {
  Pair world;
  world.put(world.a, flags, 1, 1);
  world.deliver(world.a, flags, Term::tuple({Atom("delta"), world.b, value_entry(1.0, 1, test::start_wall, world.b)}));
  world.pass(1ms);
  const auto before = world.at(world.a).broadcasts.size();
  world.between_calls = 0ms;
  world.put(world.a, flags, 0, 0);
  EXPECT_EQ(world.put(world.a, flags, 1, 2), "ok");
  EXPECT_EQ(world.remove(world.a, flags, 1.0), "ok");
  world.pass(1ms);
  EXPECT_EQ(world.at(world.a).broadcasts.size(), before + 3);
}

TEST(Maps, what_an_exchange_brings_was_broadcast_before) {
  Pair world;
  world.between_calls = 0ms;
  world.put(world.a, flags, 1, 1);
  world.put(world.a, flags, 2, 2);
  EXPECT_EQ(world.at(world.a).broadcasts.size(), 1U);
  world.receive(world.a, world.b, flags,
                Term::tuple({Atom("$barrel_p2p_replica"), Term::tuple({Atom("request_sync"), world.b})}));
  EXPECT_EQ(world.at(world.a).broadcasts.size(), 2U);
}

TEST(Maps, enough_for_a_broadcast_waits_for_nothing) {
  MapsWorld world;
  world.maps_config.delta_bytes_max = 1000;
  world.between_calls = 0ms;
  const Atom a = world.add("a@h");
  world.link(a, world.add("b@h"));
  ASSERT_TRUE(world.open(a, flags));
  for (int key = 0; key < 100; ++key) world.put(a, flags, key, key);
  EXPECT_GE(world.at(a).broadcasts.size(), 5U);
  for (const auto& payload : world.at(a).broadcasts) EXPECT_LE(encoded_size(payload), 1200U);
}

TEST(Maps, a_map_that_is_deleted_and_a_node_that_leaves_say_the_rest_first) {
  Pair world;
  world.between_calls = 0ms;
  world.put(world.a, flags, 1, 1);
  world.put(world.a, flags, 2, 2);
  EXPECT_EQ(world.remove_map(world.a, flags), "ok");
  EXPECT_EQ(world.live(world.b, flags).size(), 2U);
  world.put(world.b, flags, 3, 3);
  world.put(world.b, flags, 4, 4);
  EXPECT_EQ(world.at(world.b).broadcasts.size(), 1U);
  Effects said;
  world.at(world.b).maps->flush(world.now(), said);
  EXPECT_EQ(std::ranges::count_if(said, [](const Effect& effect) { return std::holds_alternative<Broadcast>(effect); }),
            1);
}

TEST(Maps, many_entries_are_put_all_or_none) {
  MapOptions options = only_integers();
  options.entries_max = 10;
  Pair world(options);
  EXPECT_EQ(world.put_many(world.a, flags, {{1, 1}, {2, "text"}}), "invalid_value");
  std::vector<TermPair> pairs;
  for (int key = 0; key < 11; ++key) pairs.emplace_back(key, key);
  EXPECT_EQ(world.put_many(world.a, flags, pairs), "limit_exceeded");
  EXPECT_TRUE(world.live(world.a, flags).empty());
  EXPECT_TRUE(world.at(world.a).effects.empty());
  pairs.pop_back();
  for (int key = 0; key < 10; ++key) pairs.emplace_back(key, -key);
  EXPECT_EQ(world.put_many(world.a, flags, pairs), "ok") << "keys that are given twice count once";
}

TEST(Maps, a_batch_beyond_what_the_disk_takes_is_refused) {
  MapsWorld world;
  world.maps_config.batch_bytes_max = 1000;
  const Atom a = world.add("a@h");
  ASSERT_TRUE(world.open(a, flags));
  EXPECT_EQ(world.put_many(a, flags, {{1, std::string(600, 'x')}, {2, std::string(600, 'x')}}), "limit_exceeded");
  EXPECT_EQ(world.put_many(a, flags, {}), "ok");
}

// Other nodes.

TEST(Maps, a_map_that_opens_late_gets_what_its_neighbours_have) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  const Atom erlang = world.add("e@h", MapsWorld::Kind::erlang);
  world.link(a, b);
  world.link(a, erlang);
  ASSERT_TRUE(world.open(b, flags));
  ASSERT_TRUE(world.open(erlang, flags));
  world.put(b, flags, "of a C++ node", 1);
  world.unlink(a, erlang);
  world.put(erlang, flags, "of an Erlang node", 2);
  world.link(a, erlang);
  world.pass(5s);
  ASSERT_TRUE(world.open(a, flags));
  world.pass(1s);
  EXPECT_EQ(world.live(a, flags).size(), 2U);
}

TEST(Maps, an_erlang_neighbour_is_asked_when_the_map_opens_and_a_native_one_is_not) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  const Atom erlang = world.add("e@h", MapsWorld::Kind::erlang);
  world.link(a, b);
  world.link(a, erlang);
  ASSERT_TRUE(world.open(a, flags));
  world.pass(1s);
  std::size_t asked = 0;
  for (const auto& [to, message] : world.at(a).sends) {
    if (!message[1].is_tagged("request_sync", 2)) continue;
    EXPECT_EQ(to, erlang);
    ++asked;
  }
  EXPECT_EQ(asked, 1U);
}

TEST(Maps, removals_alone_are_told_to_erlang_nodes_too) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom erlang = world.add("e@h", MapsWorld::Kind::erlang);
  world.link(a, erlang);
  ASSERT_TRUE(world.open(a, flags));
  ASSERT_TRUE(world.open(erlang, flags));
  world.put(a, flags, "key", 1);
  world.broadcasts_arrive = false;
  world.remove(a, flags, "key");
  EXPECT_EQ(world.get(erlang, flags, "key"), "1");
  world.pass(2min);
  EXPECT_EQ(world.get(erlang, flags, "key"), std::nullopt);
}

TEST(Maps, what_was_lost_is_repaired_by_digests) {
  Pair world;
  world.broadcasts_arrive = false;
  world.put(world.a, flags, "of a", 1);
  world.put(world.b, flags, "of b", 2);
  world.pass(90s);
  EXPECT_EQ(world.live(world.a, flags).size(), 2U);
  EXPECT_EQ(world.live(world.a, flags), world.live(world.b, flags));
}

TEST(Maps, what_is_known_to_be_lost_is_repaired_at_once) {
  Pair world;
  world.broadcasts_arrive = false;
  world.put(world.a, flags, "of a", 1);
  world.put(world.b, flags, "of b", 2);
  world.lose_gossip(world.a, world.b);
  world.pass(3s);
  EXPECT_EQ(world.live(world.a, flags).size(), 2U);
  EXPECT_EQ(world.live(world.a, flags), world.live(world.b, flags));
}

TEST(Maps, who_asks_for_the_states_of_many_gets_no_more_than_who_asks_for_one) {
  constexpr std::size_t state_bytes = 1UL * 1024 * 1024;
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom e = world.add("e@h", MapsWorld::Kind::erlang);
  world.maps_config.entry_bytes_max = 2 * state_bytes;
  std::vector<Atom> maps;
  for (int number = 0; number < 10; ++number) maps.emplace_back("map" + std::to_string(number));
  for (const auto& map : maps) {
    ASSERT_TRUE(world.open(a, map));
    world.put(a, map, "key", std::string(state_bytes / 2, 'v'));
    world.put(a, map, "other", std::string(state_bytes / 2, 'v'));
  }
  world.link(a, e);
  for (int times = 0; times < 100; ++times) {
    for (const auto& map : maps) world.receive(a, e, map, replication::request_sync(e));
    world.pass(100ms);
  }
  const auto sent = std::ranges::count_if(world.at(a).sends,
                                          [](const auto& send) { return send.second[1].is_tagged("full_sync", 3); });
  constexpr double all = 10 * replication::snapshot_bytes_per_second / state_bytes;
  EXPECT_LE(sent, all + 3);
  EXPECT_GE(sent, all - 3);
}

TEST(Maps, a_map_that_no_message_can_hold_is_told_of_once) {
  MapsWorld world;
  world.maps_config.snapshot_bytes_max = 1000;
  const Atom a = world.add("a@h");
  const Atom e = world.add("e@h", MapsWorld::Kind::erlang);
  ASSERT_TRUE(world.open(a, flags));
  ASSERT_TRUE(world.open(e, flags));
  world.put(a, flags, "key", std::string(2000, 'v'));
  world.link(a, e);
  world.pass(2min);
  const auto warnings = world.at(a).maps->take_warnings();
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings.front(),
            "the map flags takes more than the 1000 bytes that one message may have (limits.message_bytes_max): it is "
            "not sent to nodes that take it only as a whole, as Erlang nodes do");
  EXPECT_EQ(world.get(e, flags, "key"), std::nullopt);
  world.remove(a, flags, "key");
  world.broadcasts_arrive = false;
  world.put(a, flags, "small", 1);
  world.pass(2min);
  EXPECT_EQ(world.get(e, flags, "small"), "1") << "what became small enough is sent again";
}

TEST(Maps, messages_of_strangers_and_in_other_names_do_no_harm) {
  Pair world;
  world.put(world.a, flags, "key", 1);
  const Term lie = value_entry("key", "lie", test::start_wall + 10'000, world.a);
  world.receive(world.a, world.b, flags, message("full_sync", world.a, lie));
  world.receive(world.a, world.b, flags, Term::tuple({1, 2}));
  world.deliver(world.a, flags, Term::tuple({Atom("delta"), world.a, lie}));
  world.deliver(world.a, flags, Term::tuple({Atom("delta"), 7, lie}));
  world.deliver(world.a, Atom("another map"), Term::tuple({Atom("delta"), world.b, lie}));
  EXPECT_EQ(world.get(world.a, flags, "key"), "1");
}

TEST(Maps, stamps_from_the_future_are_refused_and_counted) {
  Pair world;
  const Term future = value_entry("key", 1, test::start_wall + 2 * 3'600'000, world.a);
  world.deliver(world.b, flags, Term::tuple({Atom("delta"), world.a, future}));
  EXPECT_EQ(world.get(world.b, flags, "key"), std::nullopt);
  EXPECT_EQ(world.statistics(world.b, flags).rejected_in_future, 1U);
}

TEST(Maps, entries_of_peers_beyond_the_limit_are_refused_and_counted) {
  MapsWorld world;
  world.maps_config.entry_bytes_max = 100;
  const Atom node = world.add("a@h");
  const Atom peer("b@h");
  ASSERT_TRUE(world.open(node, flags));
  const auto deliver = [&](const Term& entries) {
    world.deliver(node, flags, Term::tuple({Atom("delta"), peer, entries}));
    return world.statistics(node, flags).rejected;
  };
  // The key takes 8 bytes, and a binary 5 more than it has.
  EXPECT_EQ(deliver(value_entry("key", std::string(88, 'x'), test::start_wall, peer)), 1U);
  EXPECT_EQ(deliver(Term::map({{std::string(96, 'k'), *parse_term("{tombstone,{timestamp,1,0}}")}})), 2U);
  EXPECT_EQ(world.statistics(node, flags).entries + world.statistics(node, flags).tombstones, 0U);
  EXPECT_EQ(deliver(value_entry("key", std::string(87, 'x'), test::start_wall, peer)), 2U);
  EXPECT_EQ(deliver(Term::map({{std::string(95, 'k'), *parse_term("{tombstone,{timestamp,1,0}}")}})), 2U);
  EXPECT_EQ(world.statistics(node, flags).entries, 1U);
  EXPECT_EQ(world.statistics(node, flags).tombstones, 1U);
  world.receive(node, peer, flags, message("full_sync", peer, value_entry("other", std::string(96, 'x'), 1, peer)));
  EXPECT_EQ(world.statistics(node, flags).rejected, 3U);
  EXPECT_EQ(world.remove(node, flags, std::string(96, 'r')), "limit_exceeded") << "others would not take it";
  EXPECT_EQ(world.remove(node, flags, std::string(95, 'r')), "ok");
}

TEST(Maps, nodes_that_refuse_each_others_entries_stop_to_exchange_them) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.link(a, b);
  ASSERT_TRUE(world.open(a, flags));
  ASSERT_TRUE(world.open(b, flags, only_integers()));
  world.put(a, flags, "key", "text");
  world.pass(1h);
  EXPECT_GE(world.statistics(a, flags).futile_rounds, 1U);
  const auto before = world.at(a).sends.size() + world.at(b).sends.size();
  world.pass(1h);
  const auto sent = world.at(a).sends.size() + world.at(b).sends.size() - before;
  EXPECT_LE(sent, 300U) << "without a pause it would be about 720";
  EXPECT_EQ(world.put(a, flags, "number", 1), "ok");
  EXPECT_EQ(world.get(b, flags, "number"), "1");
}

TEST(Maps, a_node_that_left_asks_and_is_asked_no_more) {
  Pair world;
  world.at(world.a).maps->leave();
  world.at(world.b).maps->neighbour_down(world.a);
  world.at(world.a).sends.clear();
  world.pass(5min);
  EXPECT_TRUE(world.at(world.a).sends.empty());
}

TEST(Maps, a_map_is_deleted_on_this_node_alone_and_comes_back_from_others) {
  Pair world(persistent());
  world.put(world.a, flags, "key", 1);
  EXPECT_EQ(world.remove_map(world.a, flags), "ok");
  EXPECT_FALSE(world.at(world.a).disk.contains("map/flags"));
  EXPECT_EQ(world.get(world.b, flags, "key"), "1");
  ASSERT_TRUE(world.open(world.a, flags, persistent()));
  EXPECT_TRUE(world.live(world.a, flags).empty());
  world.pass(1s);
  EXPECT_EQ(world.get(world.a, flags, "key"), "1");
  EXPECT_EQ(world.at(world.a).disk["map/flags"].size(), 1U);
}

TEST(Maps, nothing_is_due_without_maps) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  EXPECT_EQ(world.at(a).maps->deadline(), MonotonicTime::max());
  ASSERT_TRUE(world.open(a, flags));
  EXPECT_LE(world.at(a).maps->deadline(), world.now().monotonic + 1s);
}

// The disk.

TEST(Maps, a_persistent_map_survives_and_tells_readers_but_no_subscribers) {
  Pair world(persistent());
  world.put(world.a, flags, "key", 1);
  world.put(world.a, flags, "gone", 1);
  world.remove(world.a, flags, "gone");
  world.stop(world.a);
  world.at(world.a).events.clear();
  world.restart(world.a);
  EXPECT_EQ(world.live(world.a, flags), (Values{{"<<\"key\">>", "1"}}));
  EXPECT_EQ(world.at(world.a).readers[flags], (Values{{"<<\"key\">>", "1"}}));
  EXPECT_TRUE(world.at(world.a).events.empty());
  EXPECT_EQ(world.statistics(world.a, flags).tombstones, 1U);
  EXPECT_EQ(world.put(world.a, flags, "key", 2), "ok");
  EXPECT_EQ(world.get(world.a, flags, "key"), "2") << "the clock goes on behind what was stored";
}

TEST(Maps, the_disk_gets_only_what_changed) {
  Pair world(persistent());
  for (int key = 0; key < 10; ++key) world.put(world.a, flags, key, key);
  const auto before = world.at(world.b).batches;
  const Term snapshot = world.at(world.a).maps->find(flags)->to_term();
  world.receive(world.b, world.a, flags, message("full_sync", world.a, snapshot));
  EXPECT_EQ(world.at(world.b).batches, before);
}

TEST(Maps, what_the_disk_refuses_stays_and_is_written_later) {
  Pair world(persistent());
  world.put(world.a, flags, "before", 1);
  world.at(world.a).disk_works = false;
  EXPECT_EQ(world.put(world.a, flags, "of this node", 1), "io_error");
  world.put(world.b, flags, "of the other", 2);
  EXPECT_EQ(world.live(world.a, flags).size(), 3U);
  EXPECT_EQ(world.live(world.b, flags).size(), 3U) << "others have it all the same";
  world.pass(5s);
  EXPECT_EQ(world.at(world.a).disk["map/flags"].size(), 1U);
  EXPECT_EQ(world.statistics(world.a, flags).unwritten, 2U);
  world.at(world.a).disk_works = true;
  world.pass(2s);
  EXPECT_EQ(world.at(world.a).disk["map/flags"].size(), 3U);
  EXPECT_EQ(world.statistics(world.a, flags).unwritten, 0U);
  const auto batches = world.at(world.a).batches;
  world.pass(1min);
  EXPECT_EQ(world.at(world.a).batches, batches) << "once it is written it is written";
}

TEST(Maps, a_removal_that_the_disk_refuses_is_written_later) {
  MapOptions options = persistent();
  options.tombstone_ttl = 10s;
  Pair world(options);
  world.put(world.a, flags, "key", 1);
  world.remove(world.a, flags, "key");
  world.at(world.a).disk_works = false;
  world.pass(1min);
  EXPECT_EQ(world.at(world.a).disk["map/flags"].size(), 1U);
  EXPECT_EQ(world.statistics(world.a, flags).tombstones, 0U);
  world.at(world.a).disk_works = true;
  world.pass(2s);
  EXPECT_TRUE(world.at(world.a).disk["map/flags"].empty());
}

TEST(Maps, a_deletion_that_the_disk_refuses_is_repeated_and_the_map_does_not_come_back) {
  MapsWorld world;
  const Atom a = world.add("a@h");
  ASSERT_TRUE(world.open(a, flags, persistent()));
  world.put(a, flags, "key", 1);
  world.at(a).disk_works = false;
  EXPECT_EQ(world.remove_map(a, flags), "io_error");
  ASSERT_TRUE(world.open(a, flags, persistent()));
  EXPECT_TRUE(world.live(a, flags).empty());
  EXPECT_EQ(world.remove_map(a, flags), "io_error");
  world.at(a).disk_works = true;
  world.pass(2s);
  EXPECT_FALSE(world.at(a).disk.contains("map/flags"));
}

TEST(Maps, a_large_snapshot_goes_to_the_disk_in_parts) {
  Pair world(persistent());
  std::vector<TermPair> entries;
  for (int key = 0; key < 10'000; ++key) {
    entries.emplace_back(key, replication::to_term(replication::Entry::value(key, {{test::start_wall, 0}, world.b})));
  }
  world.receive(world.a, world.b, flags, message("full_sync", world.b, Term::map(std::move(entries))));
  EXPECT_EQ(world.at(world.a).disk["map/flags"].size(), 10'000U);
  EXPECT_EQ(world.at(world.a).batches, 3U);
}

}  // namespace barrel_p2p::services
