// Registries of several nodes: what they agree on, whatever happens to nodes and messages.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "services/registry_support.hpp"

namespace barrel_p2p::services {
namespace {

using test::Machine;
using test::process;
using test::World;
using namespace std::chrono_literals;

void expect_consistent(World& world) {
  for (const auto& name : world.names()) {
    const auto audit = world.at(name).registry.verify();
    EXPECT_TRUE(audit.problems.empty()) << name << ": " << audit.problems.front();
  }
}

bool is_registry_delta(const Term& message) {
  if (!message.is_tagged("delta", 3) || !message[2].is_map() || message[2].size() != 1) return false;
  return message[2].pairs().front().first.is_tuple(2);
}

}  // namespace

TEST(RegistryCluster, a_service_is_found_everywhere_and_its_end_is_too) {
  World world;
  for (const char* name : {"a@h", "b@h", "c@h"}) world.add(name);
  world.link("a@h", "b@h");
  world.link("b@h", "c@h");
  world.pass(3s);
  ASSERT_TRUE(world.add_service("a@h", Atom("s"), process("a@h", 1)));
  world.pass(100ms);
  for (const auto& name : world.names()) {
    EXPECT_EQ(world.at(name).visible(), "s@a@h=1") << name;
    EXPECT_EQ(world.at(name).take_events(), "registered s a@h") << name;
  }
  world.end_process("a@h", process("a@h", 1), Atom("killed"));
  world.pass(100ms);
  EXPECT_EQ(world.at("a@h").take_events(), "down(killed) s a@h");
  for (const char* name : {"b@h", "c@h"}) EXPECT_EQ(world.at(name).take_events(), "unregistered s a@h");
  expect_consistent(world);
}

TEST(RegistryCluster, a_node_that_joins_learns_all_services_once) {
  World world;
  for (const char* name : {"a@h", "b@h", "c@h"}) world.add(name);
  world.link("a@h", "b@h");
  ASSERT_TRUE(world.add_service("a@h", Atom("s"), process("a@h", 1)));
  world.pass(10s);
  world.link("b@h", "c@h");
  world.pass(1s);
  EXPECT_EQ(world.at("c@h").visible(), "s@a@h=1");
  world.pass(60s);
  EXPECT_EQ(world.at("c@h").take_events(), "registered s a@h");
}

TEST(RegistryCluster, a_large_registry_comes_in_pieces_to_a_node_that_joins) {
  constexpr std::uint32_t services = 10'000;
  World world;
  for (const char* name : {"a@h", "b@h", "c@h"}) world.add(name);
  for (std::uint32_t id = 0; id < services; ++id) {
    ASSERT_TRUE(world.add_service("a@h", "service" + std::to_string(id), process("a@h", id)));
  }
  world.link("a@h", "b@h");
  world.pass(3s);
  EXPECT_EQ(world.at("b@h").registry.names().size(), services);
  world.link("b@h", "c@h");
  world.pass(3s);
  EXPECT_EQ(world.at("c@h").registry.names().size(), services);
  expect_consistent(world);
}

TEST(RegistryCluster, a_dead_node_is_hidden_on_all_nodes_not_only_on_its_neighbours) {
  World world;
  for (const char* name : {"a@h", "b@h", "c@h", "d@h"}) world.add(name);
  world.link("a@h", "b@h");
  world.link("b@h", "c@h");
  world.link("c@h", "d@h");
  world.pass(3s);
  ASSERT_TRUE(world.add_service("a@h", Atom("s"), process("a@h", 1)));
  world.pass(1s);
  world.crash("a@h");
  world.pass(10s);
  for (const auto& name : world.names()) {
    EXPECT_EQ(world.at(name).visible(), "") << name;
    EXPECT_EQ(world.at(name).take_events(), "registered s a@h, lost s a@h") << name;
  }
  expect_consistent(world);
  // And who comes now never hears of it.
  world.add("e@h");
  world.link("d@h", "e@h");
  world.pass(60s);
  EXPECT_EQ(world.at("e@h").registry.map().size(), 0U);
  world.pass(2h);
  for (const auto& name : world.names()) EXPECT_EQ(world.at(name).registry.map().size(), 0U) << name;
}

TEST(RegistryCluster, a_link_that_goes_hides_nothing) {
  World world;
  for (const char* name : {"a@h", "b@h", "c@h"}) world.add(name);
  world.link("a@h", "b@h");
  world.link("b@h", "c@h");
  world.link("a@h", "c@h");
  ASSERT_TRUE(world.add_service("a@h", Atom("s"), process("a@h", 1)));
  world.pass(3s);
  world.unlink("a@h", "b@h");
  world.pass(60s);
  EXPECT_EQ(world.at("b@h").take_events(), "registered s a@h");
}

TEST(RegistryCluster, a_restarted_node_gets_rid_of_what_it_had_before) {
  World world;
  for (const char* name : {"a@h", "b@h", "c@h", "d@h"}) world.add(name);
  world.link("a@h", "b@h");
  world.link("b@h", "c@h");
  world.link("c@h", "d@h");
  ASSERT_TRUE(world.add_service("a@h", Atom("old"), process("a@h", 1)));
  ASSERT_TRUE(world.add_service("a@h", Atom("both"), process("a@h", 1)));
  world.pass(3s);
  for (const auto& away : {1000ms, 30'000ms}) {
    SCOPED_TRACE(away.count());
    world.crash("a@h");
    world.pass(away);
    world.add("a@h");
    ASSERT_TRUE(world.add_service("a@h", Atom("both"), process("a@h", 2, 2)));
    world.link("a@h", "b@h");
    world.pass(500ms);
    for (const auto& name : world.names()) EXPECT_EQ(world.at(name).visible(), "both@a@h=2") << name;
    expect_consistent(world);
    ASSERT_TRUE(world.add_service("a@h", Atom("old"), process("a@h", 1, 2)));
    world.pass(1s);
  }
}

TEST(RegistryCluster, what_a_node_had_before_its_restart_never_shows_again) {
  World world;
  for (const char* name : {"a@h", "b@h", "c@h"}) world.add(name);
  world.link("a@h", "b@h");
  world.link("b@h", "c@h");
  world.pass(3s);
  ASSERT_TRUE(world.add_service("a@h", Atom("old"), process("a@h", 1)));
  world.pass(100ms);
  world.crash("a@h");
  world.pass(10s);
  for (const char* name : {"b@h", "c@h"}) EXPECT_EQ(world.at(name).take_events(), "registered old a@h, lost old a@h");
  world.add("a@h");
  world.link("a@h", "b@h");
  world.pass(50ms);  // less than a comparison of digests waits
  ASSERT_TRUE(world.add_service("a@h", Atom("new"), process("a@h", 2, 2)));
  world.pass(10s);
  for (const char* name : {"b@h", "c@h"}) {
    EXPECT_EQ(world.at(name).take_events(), "registered new a@h") << name;
    EXPECT_EQ(world.at(name).visible(), "new@a@h=2") << name;
  }
  expect_consistent(world);
}

TEST(RegistryCluster, a_partition_hides_the_other_side_and_healing_brings_it_back_as_it_is_then) {
  World world;
  for (const char* name : {"a@h", "b@h", "c@h", "d@h"}) world.add(name);
  world.link("a@h", "b@h");
  world.link("b@h", "c@h");
  world.link("c@h", "d@h");
  for (const auto& name : world.names()) ASSERT_TRUE(world.add_service(name, Atom("s"), process(name, 1)));
  ASSERT_TRUE(world.add_service("a@h", Atom("gone"), process("a@h", 2)));
  world.pass(5s);
  world.unlink("b@h", "c@h");
  world.pass(20s);
  EXPECT_EQ(world.at("a@h").visible(), "gone@a@h=2 s@a@h=1 s@b@h=1");
  EXPECT_EQ(world.at("d@h").visible(), "s@c@h=1 s@d@h=1");
  ASSERT_TRUE(world.remove_service("a@h", Atom("gone")));
  ASSERT_TRUE(world.add_service("a@h", Atom("new"), process("a@h", 3)));
  world.pass(5s);
  for (const auto& name : world.names()) (void)world.at(name).take_events();
  world.link("b@h", "c@h");
  world.pass(10s);
  for (const auto& name : world.names()) {
    EXPECT_EQ(world.at(name).visible(), "new@a@h=3 s@a@h=1 s@b@h=1 s@c@h=1 s@d@h=1") << name;
  }
  const auto events = world.at("c@h").take_events();
  for (const char* event : {"registered new a@h", "back s a@h", "back s b@h"}) {
    EXPECT_NE(events.find(event), std::string::npos) << events;
  }
  expect_consistent(world);
}

TEST(RegistryCluster, a_registration_is_confirmed_although_its_broadcast_is_lost) {
  World world;
  for (const char* name : {"a@h", "b@h", "c@h"}) world.add(name);
  world.link("a@h", "b@h");
  world.link("a@h", "c@h");
  world.pass(3s);
  world.filter = [](const Atom& /*from*/, const Atom& /*to*/, const Term& message) {
    return !is_registry_delta(message);
  };
  ASSERT_TRUE(world.add_service("a@h", Atom("s"), process("a@h", 1), Term::map({}), 5));
  world.pass(200ms);
  EXPECT_EQ(world.at("a@h").completed, (std::map<Ticket, std::string>{{5, "ok"}}));
  for (const char* name : {"b@h", "c@h"}) EXPECT_EQ(world.at(name).visible(), "s@a@h=1") << name;
}

TEST(RegistryCluster, a_confirmation_takes_one_round_trip_when_nothing_is_lost) {
  World world;
  for (const char* name : {"a@h", "b@h", "c@h"}) world.add(name);
  world.weather.delay_max = 1ms;
  world.link("a@h", "b@h");
  world.link("a@h", "c@h");
  world.pass(3s);
  ASSERT_TRUE(world.add_service("a@h", Atom("s"), process("a@h", 1), Term::map({}), 5));
  world.pass(2ms);
  EXPECT_EQ(world.at("a@h").completed, (std::map<Ticket, std::string>{{5, "ok"}}));
}

TEST(RegistryCluster, a_settled_cluster_is_quiet) {
  World world;
  std::vector<std::string> names;
  for (int index = 0; index < 5; ++index) names.push_back("n" + std::to_string(index) + "@h");
  for (const auto& name : names) world.add(name);
  for (std::size_t index = 1; index < names.size(); ++index) world.link(names[index - 1], names[index]);
  for (const auto& name : names) {
    for (std::uint32_t id = 0; id < 50; ++id)
      ASSERT_TRUE(world.add_service(name, std::to_string(id), process(name, id)));
  }
  ASSERT_TRUE(world.remove_service(names[0], std::to_string(3)));
  world.pass(5min);
  world.crash(names[4]);
  world.pass(5min);
  std::map<std::string, std::uint64_t> sent;
  for (const auto& name : world.names()) sent[name] = world.at(name).registry.replica_counters().entries_sent;
  const auto broadcasts = world.broadcasts;
  world.pass(3h);
  for (const auto& name : world.names()) {
    EXPECT_EQ(world.at(name).registry.replica_counters().entries_sent, sent[name]) << name;
    EXPECT_EQ(world.at(name).registry.replica_counters().futile, 0U) << name;
    EXPECT_EQ(world.at(name).registry.map().size(), 199U) << "of living nodes, without removals";
  }
  EXPECT_LE(world.broadcasts - broadcasts, 4U * 5'401U) << "beats only";
  expect_consistent(world);
}

namespace {

/// What the living nodes have registered, by what they were told to do.
class Model {
 public:
  void step(World& world, const std::vector<std::string>& nodes) {
    const auto& node = nodes[*rc::gen::inRange<std::size_t>(0, nodes.size())];
    const Term name = "s" + std::to_string(*rc::gen::inRange(0, 6));
    const auto other = nodes[*rc::gen::inRange<std::size_t>(0, nodes.size())];
    switch (*rc::gen::inRange(0, 12)) {
      case 0:
        world.crash(node);
        registered_.erase(node);
        break;
      case 1:
      case 2:
        if (world.is_up(node) && world.is_up(other) && node != other) world.link(node, other);
        break;
      case 3:
        if (world.is_up(node) && world.is_up(other)) world.unlink(node, other);
        break;
      case 4: world.pass(Milliseconds(*rc::gen::inRange(0, 20'000))); break;
      case 5:
      case 6:
        if (world.is_up(node)) remove(world, node, name);
        break;
      case 7:
        if (world.is_up(node)) end(world, node, static_cast<std::uint32_t>(*rc::gen::inRange(1, 4)));
        break;
      default:
        if (!world.is_up(node)) {
          world.add(node);
          ++incarnations_[node];
        } else {
          add(world, node, name, static_cast<std::uint32_t>(*rc::gen::inRange(1, 4)));
        }
    }
  }

  [[nodiscard]] std::string expected() const {
    std::map<std::string, std::string> entries;
    for (const auto& [node, names] : registered_) {
      for (const auto& [name, pid] : names) {
        entries[name + "@" + node] = to_text(Term(name)) + "@" + node + "=" + std::to_string(pid);
      }
    }
    std::string text;
    for (const auto& [key, entry] : entries) text += (text.empty() ? "" : " ") + entry;
    return text;
  }

 private:
  void add(World& world, const std::string& node, const Term& name, std::uint32_t pid) {
    auto& names = registered_[node];
    const auto text = std::string(*name.as_text());
    const bool added = world.add_service(node, name, process(node, pid, incarnations_[node] + 1));
    RC_ASSERT(added == !names.contains(text));
    if (added) names[text] = pid;
  }
  void remove(World& world, const std::string& node, const Term& name) {
    const bool removed = world.remove_service(node, name);
    RC_ASSERT(removed == (registered_[node].erase(std::string(*name.as_text())) > 0));
  }
  void end(World& world, const std::string& node, std::uint32_t pid) {
    world.end_process(node, process(node, pid, incarnations_[node] + 1), Atom("end"));
    std::erase_if(registered_[node], [&](const auto& entry) { return entry.second == pid; });
  }

  std::map<std::string, std::map<std::string, std::uint32_t>> registered_;
  std::map<std::string, std::uint32_t> incarnations_;
};

}  // namespace

RC_GTEST_PROP(RegistryCluster, whatever_happens_all_see_the_services_of_living_nodes_and_no_others, ()) {
  World world(*rc::gen::arbitrary<std::uint64_t>());
  const auto count = *rc::gen::inRange(3, 6);
  std::vector<std::string> nodes;
  for (int index = 0; index < count; ++index) nodes.push_back("n" + std::to_string(index) + "@h");
  for (const auto& node : nodes) world.add(node);
  for (std::size_t index = 1; index < nodes.size(); ++index) world.link(nodes[index - 1], nodes[index]);
  world.weather = {.delay_max = Milliseconds(*rc::gen::inRange(1, 500)),
                   .loss = *rc::gen::elementOf(std::vector<double>{0, 0.1, 0.5}),
                   .doubled = *rc::gen::elementOf(std::vector<double>{0, 0.3})};
  Model model;
  const auto steps = *rc::gen::inRange(0, 80);
  for (int step = 0; step < steps; ++step) model.step(world, nodes);

  // The storm is over: living nodes are connected, messages arrive.
  world.weather = {};
  const auto living = world.names();
  for (std::size_t index = 1; index < living.size(); ++index) world.link(living[index - 1], living[index]);
  world.pass(6min);
  for (const auto& name : living) {
    const auto audit = world.at(name).registry.verify();
    RC_ASSERT(audit.problems == std::vector<std::string>{});
    RC_ASSERT(world.at(name).visible() == model.expected());
    // Events and lookups tell the same story.
    std::map<std::string, std::string> told;
    for (const auto& event : world.at(name).events) {
      const auto key = event.substr(event.find(" <<") + 1);
      told[key] = event.substr(0, event.find(" <<"));
    }
    std::size_t shown = 0;
    for (const auto& [key, last] : told) shown += last == "registered" || last == "back" ? 1U : 0U;
    RC_ASSERT(shown == audit.entries);
  }
}

RC_GTEST_PROP(RegistryCluster, nothing_is_told_twice, ()) {
  World world(*rc::gen::arbitrary<std::uint64_t>());
  std::vector<std::string> nodes{"n0@h", "n1@h", "n2@h"};
  for (const auto& node : nodes) world.add(node);
  for (std::size_t index = 1; index < nodes.size(); ++index) world.link(nodes[index - 1], nodes[index]);
  world.weather = {.delay_max = 200ms, .loss = 0.2, .doubled = 0.5};
  Model model;
  const auto steps = *rc::gen::inRange(0, 60);
  for (int step = 0; step < steps; ++step) {
    model.step(world, nodes);
    for (const auto& name : world.names()) {
      std::map<std::string, bool> shown;
      for (const auto& event : world.at(name).events) {
        const auto key = event.substr(event.find(" <<") + 1);
        const auto kind = event.substr(0, event.find(" <<"));
        if (kind == "registered") {
          shown[key] = true;  // also another process under a name that is there
        } else {
          const bool appears = kind == "back";
          RC_ASSERT(shown[key] != appears);
          shown[key] = appears;
        }
      }
    }
  }
}

}  // namespace barrel_p2p::services
