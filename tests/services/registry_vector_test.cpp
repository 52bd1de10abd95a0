// The registry against recordings of the Erlang implementation.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "services/registry_entry.hpp"
#include "services/registry_support.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using barrel_p2p::test::decoded;
using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;
using barrel_p2p::test::text_of;
using test::Machine;
using test::start_time;
using test::start_wall;

/// The recorded text of a term; pids in it have no node.
Term without_pids(const boost::json::value& text) {
  static const std::regex pid("<[0-9]+\\.[0-9]+\\.[0-9]+>");
  return *parse_term(std::regex_replace(std::string(text.as_string()), pid, "pid"));
}

/// A node with a clock that runs like that of the recording.
struct Node {
  Machine machine;
  Now now;

  explicit Node(const std::string& name, WallMilliseconds wall) : machine({.own = Atom(name)}, {start_time, wall}) {
    now = {start_time, wall};
  }
  void deliver(const Term& payload) {
    Effects effects;
    machine.registry.deliver(payload, now, effects);
    machine.note(now, std::move(effects));
  }
  void receive(const std::string& from, const Term& message) {
    Effects effects;
    machine.registry.receive(Atom(from), message, now, effects);
    machine.note(now, std::move(effects));
  }
  void call(const std::function<void(Effects&)>& use) {
    Effects effects;
    use(effects);
    machine.note(now, std::move(effects));
  }
};

// What they take and should not: their registry crashes at it, or shows what belongs to nobody.
const std::set<std::string> taken_and_should_not{"valid_two_dots",
                                                 "valid_key_does_not_match_entry",
                                                 "valid_dot_node_differs_from_key_node",
                                                 "crash_key_not_a_pair_value",
                                                 "crash_key_triple",
                                                 "crash_key_not_a_pair_tombstone"};

}  // namespace

TEST(RegistryVectors, deltas_are_taken_or_refused_as_recorded_and_dangerous_ones_never) {
  std::size_t count = 0;
  const auto recorded = read_vectors("registry_validation.json");
  for (const auto& row : recorded.as_array()) {
    if (!row.as_object().contains("stored_in_remote_map")) continue;
    const auto name = text_of(row, "name");
    Node node("a@h", 1'795'385'960'560);
    const Term delta = decoded(row);
    node.deliver(Term::tuple({Atom("delta"), Atom("x@h"), delta}));
    const bool stored = row.at("stored_in_remote_map").as_bool() && !taken_and_should_not.contains(name);
    EXPECT_EQ(node.machine.registry.map().size(), stored ? 1U : 0U) << name;
    EXPECT_EQ(node.machine.registry.counters().rejected, stored ? 0U : 1U) << name;
    EXPECT_TRUE(node.machine.registry.verify().problems.empty()) << name;
    ++count;
  }
  EXPECT_EQ(count, 26U);
}

TEST(RegistryVectors, messages_without_meaning_are_ignored) {
  std::size_t count = 0;
  const auto recorded = read_vectors("registry_validation.json");
  for (const auto& row : recorded.as_array()) {
    if (row.as_object().contains("stored_in_remote_map")) continue;
    const Term term = *parse_term(text_of(row, "term"));
    Node node("a@h", start_wall);
    if (term.is_tagged("plumtree_broadcast", 2)) {
      node.deliver(term[1][1]);
    } else {
      node.receive("x@h", term);
    }
    EXPECT_EQ(node.machine.registry.map().size(), 0U);
    EXPECT_TRUE(node.machine.sent.empty()) << text_of(row, "name");
    ++count;
  }
  EXPECT_EQ(count, 5U);
}

TEST(RegistryVectors, recorded_traffic_gives_the_recorded_services) {
  Node node("se2@127.0.0.1", 1'795'385'950'000);
  std::size_t deltas = 0;
  std::size_t snapshots = 0;
  const auto recorded = read_vectors("registry_messages.json");
  for (const auto& row : recorded.as_array()) {
    const Term term = decoded(row);
    if (term.is_tagged("$barrel_p2p_plumtree", 2) && term[1].is_tagged("gossip", 5)) {
      ++deltas;
      node.deliver(term[1][3]);
    } else if (term.is_tagged("$barrel_p2p_replica", 2) && term[1].is_tagged("full_sync", 3)) {
      ++snapshots;
      if (term[1][1].is_atom("se1@127.0.0.1")) node.receive("se1@127.0.0.1", term);
    }
  }
  EXPECT_EQ(deltas, 5U);
  EXPECT_EQ(snapshots, 3U);
  EXPECT_EQ(node.machine.visible(), "loop@se1@127.0.0.1=161 worker@se1@127.0.0.1=159");
  EXPECT_EQ(node.machine.take_events(),
            "registered worker se1@127.0.0.1, registered <<\"bin-worker\">> se1@127.0.0.1, "
            "unregistered <<\"bin-worker\">> se1@127.0.0.1, registered loop se1@127.0.0.1")
      << "what came in se2's own name counts not, what came by the snapshot does";
}

TEST(RegistryVectors, our_broadcasts_have_the_recorded_form) {
  const auto recorded = read_vectors("registry_messages.json");
  std::size_t count = 0;
  for (const auto& row : recorded.as_array()) {
    const Term term = decoded(row);
    if (!text_of(row, "name").starts_with("delta_")) continue;
    const Term& payload = term[1][3];
    const auto& [key, entry] = payload[2].pairs().front();
    const Atom own = *payload[1].as_atom();
    const bool live = entry.is_tagged("value", 3);
    const auto stamp = replication::timestamp_of(live ? entry[2].pairs().front().first[1] : entry[1]);
    ASSERT_TRUE(stamp);
    Node node(own.string(), stamp->wall);
    const Term& name = key[0];
    const Pid pid = live ? *entry[1][2].as_pid() : test::process("p@h", 1);
    const Term meta = live ? entry[1][4] : Term::map({});
    // The recorded stamps are the second ones of their milliseconds.
    if (live) {
      node.call([&](Effects& out) {
        (void)node.machine.registry.add("other", pid, meta, 0, Milliseconds(0), node.now, out);
      });
      node.machine.sent.clear();
    }
    node.call([&](Effects& out) {
      EXPECT_TRUE(node.machine.registry.add(name, pid, meta, 0, Milliseconds(0), node.now, out));
    });
    if (!live) {
      node.machine.sent.clear();
      node.call([&](Effects& out) { EXPECT_TRUE(node.machine.registry.remove(name, node.now, out)); });
    }
    ASSERT_EQ(node.machine.sent.size(), 1U);
    const auto& broadcast = std::get<Broadcast>(node.machine.sent.front());
    EXPECT_EQ(to_text(broadcast.payload), to_text(payload)) << text_of(row, "name");
    EXPECT_EQ(broadcast.tag, term[1][2].as_atom());
    ++count;
  }
  EXPECT_EQ(count, 5U);
}

// Of registry_events.json: on three nodes, what the nodes tell and know after each step. Erlang nodes tell changes of
// their own twice and list own entries twice; both are known to be wrong.
TEST(RegistryVectors, scripted_registrations_are_told_and_found_as_recorded) {
  test::World world;
  const std::vector<std::string> nodes{"se1@127.0.0.1", "se2@127.0.0.1", "se3@127.0.0.1"};
  for (const auto& node : nodes) world.add(node);
  for (const auto& [one, other] : {std::pair(0, 1), std::pair(1, 2), std::pair(0, 2)}) {
    world.link(nodes[static_cast<std::size_t>(one)], nodes[static_cast<std::size_t>(other)]);
  }
  world.pass(Milliseconds(3000));
  const Pid one = test::process(nodes[0], 159);
  const Pid two = test::process(nodes[1], 159);
  const Pid three = test::process(nodes[2], 159);
  const std::map<std::string, std::function<bool()>> steps{
      {"se1 registers s1", [&] { return world.add_service(nodes[0], Atom("s1"), one); }},
      {"se1 registers s1 again", [&] { return world.add_service(nodes[0], Atom("s1"), one); }},
      {"se2 registers s1 too", [&] { return world.add_service(nodes[1], Atom("s1"), two); }},
      {"se1 unregisters s1", [&] { return world.remove_service(nodes[0], Atom("s1")); }},
      {"se1 unregisters s1 again", [&] { return !world.remove_service(nodes[0], Atom("s1")); }},
      {"se1 registers s1 once more",
       [&] { return world.add_service(nodes[0], Atom("s1"), one, Term::map({{Atom("v"), 2}})); }},
      {"the process holding s1 on se2 exits with {bad,42}",
       [&] { return world.end_process(nodes[1], two, *parse_term("{bad,42}")), true; }},
      {"the process holding s1 on se1 is killed",
       [&] { return world.end_process(nodes[0], one, Atom("killed")), true; }},
      {"se3 registers s3", [&] { return world.add_service(nodes[2], Atom("s3"), three); }},
      {"se1 registers s4", [&] { return world.add_service(nodes[0], Atom("s4"), one); }},
  };
  std::size_t count = 0;
  const auto recorded = read_vectors("registry_events.json");
  for (const auto& row : recorded.as_array()) {
    const auto step = steps.find(text_of(row, "name"));
    if (step == steps.end()) continue;
    ++count;
    const bool refused = text_of(row, "result") == "{error,already_registered}";
    EXPECT_EQ(step->second(), !refused) << step->first;
    world.pass(Milliseconds(100));
    for (const auto& node : nodes) {
      std::set<std::string> expected;
      bool down = false;
      for (const auto& text : row.at("observed").at(node).at("service_events").as_array()) {
        const Term event = (*parse_term(std::string(text.as_string())))[1];
        const auto where = to_text(event[1]) + " " + event[2].as_atom()->string();
        down = down || event[0].is_atom("service_down");
        if (event[0].is_atom("service_down")) expected.insert("down(" + to_text(event[3]) + ") " + where);
        if (event[0].is_atom("service_registered")) expected.insert("registered " + where);
        if (event[0].is_atom("service_unregistered") && !down) expected.insert("unregistered " + where);
      }
      const auto told = std::exchange(world.at(node).events, {});
      EXPECT_EQ(std::multiset<std::string>(told.begin(), told.end()),
                std::multiset<std::string>(expected.begin(), expected.end()))
          << step->first << " at " << node;
      if (!row.as_object().contains("lookup_s1")) continue;
      std::set<std::string> holders;
      const Term found = without_pids(row.at("lookup_s1").at(node));
      if (found[0].is_atom("ok")) {
        for (const auto& entry : found[1].elements()) {
          holders.insert(entry[3].as_atom()->string() + " " + to_text(entry[4]));
        }
      }
      std::multiset<std::string> ours;
      for (const auto& entry : world.at(node).registry.lookup(Atom("s1"))) {
        ours.insert(entry.node.string() + " " + to_text(entry.meta));
      }
      EXPECT_EQ(ours, std::multiset<std::string>(holders.begin(), holders.end())) << step->first << " at " << node;
    }
  }
  EXPECT_EQ(count, steps.size());
}

namespace {

/// The row of registry_membership.json whose name begins so.
boost::json::value membership_row(const std::string& begin) {
  const auto recorded = read_vectors("registry_membership.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "name").starts_with(begin)) return row;
  }
  throw std::out_of_range(begin);
}

std::set<std::string> services_of(const boost::json::value& row, const std::string& node) {
  std::set<std::string> names;
  const Term list = *parse_term(text_of(row.at("nodes").at(node), "list_services"));
  for (const auto& name : list.elements()) names.insert(to_text(name));
  return names;
}
std::set<std::string> services_of(test::World& world, const std::string& node) {
  std::set<std::string> names;
  for (const auto& name : world.at(node).registry.names()) names.insert(to_text(name));
  return names;
}

}  // namespace

TEST(RegistryVectors, the_first_of_many_is_the_recorded_one_and_stays_so_where_theirs_is_arbitrary) {
  std::size_t count = 0;
  for (const auto* name : {"order: 5 ", "order: 32 ", "order: 33 "}) {
    const auto row = membership_row(name);
    std::vector<std::string> expected;
    for (const auto& node : row.at("lookup_node_order").as_array()) expected.emplace_back(node.as_string());
    Node node("z@h", start_wall);
    for (const auto& other : expected) {
      const Term value = service_value(Atom("s"), test::process(other, 159), Atom(other), Term::map({}));
      const auto entry = replication::Entry::value(value, {{start_wall, 0}, Atom(other)});
      const Term entries = Term::map({{service_key(Atom("s"), Atom(other)), replication::to_term(entry)}});
      node.deliver(Term::tuple({Atom("delta"), Atom(other), entries}));
    }
    if (expected.size() > 32) std::ranges::sort(expected);
    std::vector<std::string> ours;
    for (const auto& entry : node.machine.registry.lookup(Atom("s"))) ours.push_back(entry.node.string());
    EXPECT_EQ(ours, expected);
    ++count;
  }
  EXPECT_EQ(count, 3U);
}

// There se1 never hears of c_svc: only one side had a new neighbour.
TEST(RegistryVectors, whoever_is_whose_neighbour_all_know_what_the_best_informed_recorded_node_knew) {
  test::World world;
  const std::vector<std::string> nodes{"se1@127.0.0.1", "se2@127.0.0.1", "se3@127.0.0.1"};
  for (const auto& node : nodes) world.add(node);
  ASSERT_TRUE(world.add_service(nodes[0], Atom("a_svc"), test::process(nodes[0], 159)));
  ASSERT_TRUE(world.add_service(nodes[2], Atom("c_svc"), test::process(nodes[2], 159)));
  world.link(nodes[0], nodes[1]);
  world.pass(Milliseconds(3000));
  const auto before = membership_row("asymmetry: se3 holds");
  for (const auto& node : nodes) EXPECT_EQ(services_of(world, node), services_of(before, node)) << node;
  world.link(nodes[1], nodes[2]);
  world.pass(Milliseconds(3000));
  const auto after = membership_row("asymmetry: se3 joins");
  for (const auto& node : nodes) EXPECT_EQ(services_of(world, node), services_of(after, nodes[2])) << node;
}

// There the neighbour that was dropped forgets what the node has, which runs and can be reached.
TEST(RegistryVectors, a_neighbour_that_is_dropped_forgets_nothing) {
  test::World world;
  const std::vector<std::string> nodes{"se5@127.0.0.1", "se6@127.0.0.1", "se7@127.0.0.1", "se8@127.0.0.1"};
  for (const auto& node : nodes) world.add(node);
  ASSERT_TRUE(world.add_service(nodes[0], Atom("asvc"), test::process(nodes[0], 159)));
  world.link(nodes[0], nodes[1]);
  world.link(nodes[0], nodes[2]);
  world.link(nodes[1], nodes[2]);
  world.pass(Milliseconds(3000));
  const auto before = membership_row("eviction: active_size 2");
  for (const auto& node : nodes) EXPECT_EQ(services_of(world, node), services_of(before, node)) << node;
  world.at(nodes[1]).take_events();
  world.unlink(nodes[0], nodes[1]);
  world.link(nodes[0], nodes[3]);
  world.pass(Milliseconds(30'000));
  const auto after = membership_row("eviction: se8 joins");
  EXPECT_TRUE(services_of(after, nodes[1]).empty());
  for (const auto& node : nodes) EXPECT_EQ(services_of(world, node), services_of(after, nodes[0])) << node;
  EXPECT_EQ(world.at(nodes[1]).take_events(), "");
}

TEST(RegistryVectors, a_service_of_another_nodes_process_ends_with_the_connection_as_recorded) {
  const auto row = membership_row("remote pid: connection");
  test::World world;
  const std::string one = "se1@127.0.0.1";
  const std::string two = "se2@127.0.0.1";
  for (const auto& node : {one, two}) world.add(node);
  world.link(one, two);
  const Pid far = test::process(two, 159);
  ASSERT_TRUE(world.add_service(one, Atom("far"), far));
  world.pass(Milliseconds(100));
  EXPECT_TRUE(services_of(world, two).contains("far"));
  world.at(one).take_events();
  world.unlink(one, two);
  world.end_process(one, far, Atom("noconnection"));
  const Term first = *parse_term(std::string(row.at("nodes").at(one).at("service_events").as_array()[0].as_string()));
  ASSERT_TRUE(first[1].is_tagged("service_down", 4));
  EXPECT_EQ(world.at(one).take_events(),
            "down(" + to_text(first[1][3]) + ") " + to_text(first[1][1]) + " " + first[1][2].as_atom()->string());
  EXPECT_FALSE(services_of(world, one).contains("far"));
}

}  // namespace barrel_p2p::services
