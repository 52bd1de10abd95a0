// The services of a node as one machine: what they have in common on the disk.
#include "services/services.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "services/maps_support.hpp"
#include "services/names.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;
using test::from_hex;
using test::persistent;
using test::read_vectors;
using test::start_wall;
using test::text_of;

class Host {
 public:
  Host() {
    ServicesConfig config;
    config.own = Atom("a@h");
    config.seed = 1;
    machine.emplace(config, now);
  }

  void pass(Milliseconds time) {
    const auto end = now.monotonic + time;
    while (machine->deadline() <= end) {
      advance(std::max(machine->deadline(), now.monotonic));
      machine->tick(now, effects);
    }
    advance(end);
  }
  void hear(const std::string& node) {
    const auto entry =
        replication::Entry::value(Term::tuple({Atom("alive"), now.wall}), {{now.wall, ++logical_}, Atom(node)});
    const Term delta = Term::map({{Atom(node), replication::to_term(entry)}});
    ASSERT_TRUE(machine->deliver(Term(Atom(members_replica_name)), Term::tuple({Atom("delta"), Atom(node), delta}), now,
                                 effects));
  }
  /// What is to be written under the name, in order.
  std::vector<Term> writes(std::string_view name) {
    std::vector<Term> values;
    for (const auto& effect : effects) {
      const auto* persist = std::get_if<Persist>(&effect);
      if (persist == nullptr) continue;
      for (const auto& change : persist->changes) {
        if (change.kind == StoreChange::Kind::set && change.collection == name) values.push_back(change.key);
      }
    }
    return values;
  }
  void fail_all_writes() {
    for (const auto& effect : std::exchange(effects, {})) {
      if (const auto* persist = std::get_if<Persist>(&effect)) machine->store_failed(persist->changes);
    }
  }

  Now now{MonotonicTime{} + 1h, start_wall};
  std::optional<Services> machine;
  Effects effects;

 private:
  void advance(MonotonicTime to) {
    now.wall += std::chrono::duration_cast<Milliseconds>(to - now.monotonic).count();
    now.monotonic = to;
  }
  std::uint32_t logical_ = 0;
};

TEST(Services, the_mark_of_the_clock_is_written_before_what_was_stamped_behind_it) {
  Host host;
  ASSERT_TRUE(host.machine->maps().open(Atom("m"), persistent(), {}, host.now, host.effects));
  ASSERT_TRUE(host.machine->maps().put(Atom("m"), 1, 2, 1, host.now, host.effects));
  host.machine->settle(host.effects);
  ASSERT_TRUE(std::holds_alternative<Persist>(host.effects.front()));
  EXPECT_EQ(std::get<Persist>(host.effects.front()).changes.front().collection, clock_mark_name);
  EXPECT_EQ(host.writes(clock_mark_name), std::vector<Term>{start_wall + 5000});
  EXPECT_TRUE(std::get<Persist>(host.effects.front()).awaited) << "nobody may hear of a stamp beyond what is on disk";
}

TEST(Services, a_node_that_leaves_says_first_what_its_maps_held_back) {
  Host host;
  host.machine->neighbour_up(Atom("b@h"), true, host.now, host.effects);
  ASSERT_TRUE(host.machine->maps().open(Atom("m"), {}, {}, host.now, host.effects));
  for (const int key : {1, 2}) {
    ASSERT_TRUE(host.machine->maps().put(Atom("m"), key, key, 0, host.now, host.effects));
  }
  const Term map_tag(Atom(std::string(map_replica_prefix) + "m"));
  const auto broadcasts = [&] {
    return std::ranges::count_if(host.effects, [&](const Effect& effect) {
      const auto* broadcast = std::get_if<Broadcast>(&effect);
      return broadcast != nullptr && Term(broadcast->tag) == map_tag;
    });
  };
  EXPECT_EQ(broadcasts(), 1) << "the second one waits";
  host.machine->leave(host.now, host.effects);
  EXPECT_EQ(broadcasts(), 2);
}

TEST(Services, nobody_waits_for_a_mark_that_is_written_in_good_time) {
  Host host;
  host.pass(2s);  // the first own beat
  ASSERT_EQ(host.writes(clock_mark_name).size(), 1U);
  std::size_t marks = 0;
  for (int beat = 0; beat < 30; ++beat) {
    for (const auto& effect : std::exchange(host.effects, {})) {
      if (const auto* persist = std::get_if<Persist>(&effect)) host.machine->stored(persist->changes);
    }
    host.pass(2s);
    for (const auto& effect : host.effects) {
      const auto* persist = std::get_if<Persist>(&effect);
      if (persist == nullptr) continue;
      ++marks;
      EXPECT_FALSE(persist->awaited) << "at beat " << beat;
    }
  }
  EXPECT_GT(marks, 5U);
}

TEST(Services, what_the_disk_refused_of_the_machine_itself_is_written_with_the_next_tick) {
  Host host;
  host.hear("b@h");
  host.pass(2s);  // the first own beat
  ASSERT_EQ(host.writes(clock_mark_name).size(), 1U);
  ASSERT_EQ(host.writes(known_members_name), std::vector<Term>{Term::map({{Atom("b@h"), Atom("alive")}})});
  host.fail_all_writes();
  host.machine->settle(host.effects);
  EXPECT_TRUE(host.effects.empty()) << "a full disk is not asked again at once";
  host.hear("b@h");
  host.pass(2s);
  EXPECT_EQ(host.writes(clock_mark_name).size(), 1U);
  host.hear("b@h");
  host.pass(8s);
  EXPECT_FALSE(host.writes(known_members_name).empty());
  host.effects.clear();
  host.pass(1s);
  EXPECT_TRUE(host.writes(known_members_name).empty()) << "it was taken this time";
}

TEST(Services, what_a_disk_refused_of_a_map_is_handed_to_the_map) {
  Host host;
  ASSERT_TRUE(host.machine->maps().open(Atom("m"), persistent(), {}, host.now, host.effects));
  host.effects.clear();
  ASSERT_TRUE(host.machine->maps().put(Atom("m"), 1, 2, 1, host.now, host.effects));
  host.fail_all_writes();
  EXPECT_EQ(host.machine->maps().statistics(Atom("m"))->unwritten, 1U);
  host.pass(2s);
  bool again = false;
  for (const auto& effect : host.effects) {
    const auto* persist = std::get_if<Persist>(&effect);
    again = again || (persist != nullptr && persist->changes.front().collection == map_collection(Atom("m")));
  }
  EXPECT_TRUE(again);
  EXPECT_EQ(host.machine->maps().statistics(Atom("m"))->unwritten, 0U);
}

// Every message of crdt-replica-messages.json that one node of the Erlang implementation sends another.
TEST(ServicesVectors, every_recorded_message_of_a_replica_is_taken) {
  Host host;
  host.now.wall = 1'795'385'300'000;  // after the recording
  for (const auto* map : {"m1", "m2"}) {
    ASSERT_TRUE(host.machine->maps().open(Atom(map), {}, {}, host.now, host.effects));
  }
  const std::set<std::string> ours{"barrel_p2p_members_replica", "barrel_p2p_registry_replica",
                                   "barrel_p2p_map_replica$m1", "barrel_p2p_map_replica$m2"};
  std::map<std::string, int> taken;
  const auto recorded = read_vectors("crdt-replica-messages.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "scope") != "wire") continue;
    const Term message = decode_term(from_hex(text_of(row, "etf_hex")))->term;
    const Atom from(text_of(row, "node"));
    if (message.is_tagged("$barrel_p2p_plumtree", 2)) {
      const Term& gossip = message[1];
      if (!ours.contains(gossip[2].as_atom()->string())) continue;
      EXPECT_TRUE(host.machine->deliver(gossip[2], gossip[3], host.now, host.effects)) << text_of(row, "name");
      ++taken["gossip"];
    } else {
      const Atom to = *(*parse_term(text_of(row, "destination")))[0].as_atom();
      if (!ours.contains(to.string())) continue;
      EXPECT_TRUE(host.machine->receive(to, from, message, host.now, host.effects)) << text_of(row, "name");
      ++taken[message[1][0].as_atom()->string()];
    }
  }
  EXPECT_EQ(taken, (std::map<std::string, int>{{"full_sync", 4}, {"gossip", 6}, {"request_sync", 3}}));
  auto& machine = *host.machine;
  EXPECT_EQ(machine.registry().counters().rejected, 0U);
  EXPECT_EQ(machine.registry().replica_counters().malformed, 0U);
  EXPECT_EQ(machine.members().counters().rejected, 0U);
  for (const auto* map : {"m1", "m2"}) EXPECT_EQ(machine.maps().statistics(Atom(map))->rejected, 0U);
  EXPECT_EQ(*machine.maps().find(Atom("m1"))->get(Atom("k0")), Term(Atom("v0")));
  EXPECT_EQ(machine.maps().find(Atom("m1"))->get(Atom("k1")), nullptr) << "it was removed";
  EXPECT_EQ(*machine.maps().find(Atom("m2"))->get(Atom("late")), Term(1));
  EXPECT_EQ(machine.registry().names(), std::vector<Term>{Term("svc-b")});
}

}  // namespace
}  // namespace barrel_p2p::services
