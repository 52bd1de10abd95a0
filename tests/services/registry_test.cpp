// One registry: what it takes, refuses, tells and sends.
#include "services/registry.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "services/registry_entry.hpp"
#include "services/registry_support.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::services {
namespace {

using replication::Entry;
using replication::Timestamp;
using test::Machine;
using test::process;
using test::start_time;
using test::start_wall;
using namespace std::chrono_literals;

const Term no_meta = Term::map({});

/// One node whose peers are played by the test.
class Lone : public ::testing::Test {
 protected:
  void start(RegistryConfig config = {}) {
    config.own = Atom("a@h");
    config.seed = 1;
    machine.emplace(config, now);
  }
  void SetUp() override { start(); }

  template <class Call>
  auto call(Call&& use) {
    Effects effects;
    if constexpr (std::is_void_v<decltype(use(effects))>) {
      use(effects);
      machine->note(now, std::move(effects));
    } else {
      auto result = use(effects);
      machine->note(now, std::move(effects));
      return result;
    }
  }
  Result<void> add(const Term& name, const Pid& pid, const Term& meta = no_meta, Ticket ticket = 0) {
    return call([&](Effects& out) { return registry().add(name, pid, meta, ticket, 5s, now, out); });
  }
  bool remove(const Term& name) {
    return call([&](Effects& out) { return registry().remove(name, now, out); });
  }
  void end(const Pid& pid, const Term& reason) {
    machine->watched.erase(pid);
    call([&](Effects& out) { registry().process_down(pid, reason, now, out); });
  }
  void deliver(const std::string& from, const Term& delta) {
    call([&](Effects& out) { registry().deliver(Term::tuple({Atom("delta"), Atom(from), delta}), now, out); });
  }
  void receive(const std::string& from, const Term& content) {
    const Term message = Term::tuple({Atom("$barrel_p2p_replica"), content});
    call([&](Effects& out) { registry().receive(Atom(from), message, now, out); });
  }
  void snapshot(const std::string& from, const Term& entries) {
    receive(from, Term::tuple({Atom("full_sync"), Atom(from), entries}));
  }
  /// Entries from a C++ neighbour.
  void entries(const std::string& from, const Term& entries) {
    receive(from, Term::tuple({Atom("entries"), Atom(from), Term::list({}), entries, false}));
  }
  void beat(const std::string& from) {
    const auto entry = Entry::value(Term::tuple({Atom("alive"), now.wall}), {{now.wall, ++logical}, Atom(from)});
    const Term payload =
        Term::tuple({Atom("delta"), Atom(from), Term::map({{Atom(from), replication::to_term(entry)}})});
    call([&](Effects& out) { machine->members.deliver(payload, now, out); });
  }
  void neighbour(const std::string& node, bool native) {
    call([&](Effects& out) { registry().neighbour_up(Atom(node), now, out); });
    if (native) registry().set_native(Atom(node));
  }

  Term live(const std::string& name, const std::string& node, std::uint32_t id, Timestamp stamp,
            const Term& meta = no_meta) {
    const Term value = service_value(Atom(name), process(node, id), Atom(node), meta);
    return Term::map({{key(name, node), replication::to_term(Entry::value(value, {stamp, Atom(node)}))}});
  }
  Term live(const std::string& name, const std::string& node, std::uint32_t id) {
    return live(name, node, id, {now.wall, ++logical});
  }
  Term gone(const std::string& name, const std::string& node, Timestamp stamp) {
    return Term::map({{key(name, node), replication::to_term(Entry::tombstone(stamp))}});
  }
  Term gone(const std::string& name, const std::string& node) { return gone(name, node, {now.wall, ++logical}); }
  static Term key(const std::string& name, const std::string& node) { return service_key(Atom(name), Atom(node)); }

  void pass(Milliseconds time) {
    const auto end = now.monotonic + time;
    const auto next = [&] { return std::min(machine->members.deadline(), registry().deadline()); };
    for (int steps = 0; next() <= end && steps < 10'000'000; ++steps) {
      advance(std::max(next(), now.monotonic));
      call([&](Effects& out) { machine->members.tick(now, out); });
      call([&](Effects& out) { registry().tick(now, out); });
    }
    advance(end);
  }

  Registry& registry() { return machine->registry; }
  std::string events() { return machine->take_events(); }
  /// The payloads that were broadcast for the registry, as text.
  std::vector<std::string> broadcasts() {
    std::vector<std::string> texts;
    for (const auto& effect : std::exchange(machine->sent, {})) {
      const auto* broadcast = std::get_if<Broadcast>(&effect);
      if (broadcast != nullptr && broadcast->tag == registry_replica_name) {
        texts.push_back(barrel_p2p::to_text(broadcast->payload));
      }
    }
    return texts;
  }
  /// What was sent to the node for the registry.
  std::vector<Term> sent_to(const std::string& node) {
    std::vector<Term> contents;
    for (const auto& effect : std::exchange(machine->sent, {})) {
      const auto* send = std::get_if<Send>(&effect);
      if (send != nullptr && send->to == node && send->name == registry_replica_name) {
        contents.push_back(send->message[1]);
      }
    }
    return contents;
  }
  void ask_as_process() {
    registry().ask_as(asker, [this] { return reference(++references); });
  }
  static Ref reference(std::uint32_t number) {
    return {.node = Atom("a@h"), .creation = 1, .count = 1, .words = {number}};
  }
  /// With which references nodes were asked for what they have registered.
  std::map<std::string, Ref> asked_with() {
    std::map<std::string, Ref> references_of;
    for (const auto& effect : std::exchange(machine->sent, {})) {
      const auto* send = std::get_if<Send>(&effect);
      if (send == nullptr || send->name != "barrel_p2p_registry") continue;
      references_of.emplace(send->to.string(), *send->message[1][1].as_reference());
    }
    return references_of;
  }
  /// The nodes that were asked for what they have registered.
  std::string asked() {
    std::string nodes;
    for (const auto& effect : std::exchange(machine->sent, {})) {
      const auto* send = std::get_if<Send>(&effect);
      if (send == nullptr || send->name != "barrel_p2p_registry") continue;
      nodes += (nodes.empty() ? "" : " ") + send->to.string();
      const Term from = Term::tuple({asker, reference(references)});
      EXPECT_EQ(send->message, Term::tuple({Atom("$gen_call"), from, Atom("get_local_ormap")}));
    }
    return nodes;
  }
  /// To the last question.
  void answer(const Term& entries, const std::string& from = "e@h") {
    const Term message = Term::tuple({reference(references), entries});
    call([&](Effects& out) { registry().reply(Atom(from), message, now, out); });
  }
  void expect_consistent() {
    const auto audit = registry().verify();
    EXPECT_TRUE(audit.problems.empty()) << audit.problems.front();
  }

  Now now{start_time, start_wall};
  std::optional<Machine> machine;
  std::uint32_t logical = 0;
  const Pid asker = process("a@h", 99);
  std::uint32_t references = 0;

 private:
  void advance(MonotonicTime to) {
    now.wall += std::chrono::duration_cast<Milliseconds>(to - now.monotonic).count();
    now.monotonic = to;
  }
};

using RegistryTest = Lone;

// Own registrations.

TEST_F(RegistryTest, a_process_is_watched_before_anybody_hears_of_its_service) {
  Effects effects;
  ASSERT_TRUE(registry().add(Atom("worker"), process("a@h", 7), no_meta, 0, 5s, now, effects));
  ASSERT_FALSE(effects.empty());
  EXPECT_TRUE(std::holds_alternative<Watch>(effects.front()));
}

TEST_F(RegistryTest, a_registration_is_found_watched_broadcast_and_told_once) {
  ASSERT_TRUE(add(Atom("worker"), process("a@h", 7), Term::map({{Atom("role"), Atom("primary")}})));
  EXPECT_EQ(events(), "registered worker a@h");
  EXPECT_EQ(machine->watched, std::set<Pid>{process("a@h", 7)});
  EXPECT_EQ(registry().lookup_local(Atom("worker")), process("a@h", 7));
  const auto found = registry().lookup(Atom("worker"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(to_text(found.front().meta), "#{role => primary}");
  const auto sent = broadcasts();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent.front(), "{delta,a@h,#{{worker,a@h} => {value,{service_entry,worker," +
                              to_text(Term(process("a@h", 7))) +
                              ",a@h,#{role => primary}},#{{a@h,{timestamp,1764000000000,0}} => true}}}}");
  EXPECT_EQ(registry().counters().registrations, 1U);
  expect_consistent();
}

TEST_F(RegistryTest, a_name_is_registered_once_a_node) {
  ASSERT_TRUE(add(Atom("worker"), process("a@h", 1)));
  for (const auto& pid : {process("a@h", 1), process("a@h", 2)}) {
    const auto again = add(Atom("worker"), pid, Term::map({{1, 2}}));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error(), Errc::already_registered);
  }
  EXPECT_TRUE(add("worker", process("a@h", 1))) << "a binary is another name";
  deliver("b@h", live("other", "b@h", 1));
  EXPECT_TRUE(add(Atom("other"), process("a@h", 1))) << "other nodes may have the name too";
  EXPECT_EQ(machine->visible(), "other@a@h=1 other@b@h=1 worker@a@h=1 <<\"worker\">>@a@h=1");
}

TEST_F(RegistryTest, odd_arguments_are_refused_and_leave_no_trace) {
  RegistryConfig config;
  config.meta_bytes_max = 100;
  config.entries_per_node_max = 2;
  start(config);
  EXPECT_EQ(add(1, process("a@h", 1)).error(), Errc::invalid_argument);
  EXPECT_EQ(add(Term::tuple({Atom("t"), 1}), process("a@h", 1)).error(), Errc::invalid_argument);
  EXPECT_EQ(add(std::string(1025, 'x'), process("a@h", 1)).error(), Errc::invalid_argument);
  EXPECT_EQ(add(Atom("x"), process("a@h", 1), Term::list({})).error(), Errc::invalid_argument);
  EXPECT_EQ(add(Atom("x"), process("a@h", 1), Term::map({{1, std::string(200, 'x')}})).error(), Errc::limit_exceeded);
  EXPECT_EQ(registry().map().size(), 0U);
  EXPECT_EQ(events(), "");
  EXPECT_TRUE(broadcasts().empty());
  EXPECT_TRUE(machine->watched.empty());
  EXPECT_TRUE(add(Atom("x"), process("a@h", 1)));
  EXPECT_TRUE(add(Atom("y"), process("a@h", 1)));
  EXPECT_EQ(add(Atom("z"), process("a@h", 1)).error(), Errc::limit_exceeded);
  EXPECT_TRUE(remove(Atom("x")));
  EXPECT_TRUE(add(Atom("x"), process("a@h", 2))) << "its removal makes room for the same name";
  expect_consistent();
}

TEST_F(RegistryTest, a_removal_is_told_once_and_only_when_there_was_something) {
  EXPECT_FALSE(remove(Atom("worker")));
  ASSERT_TRUE(add(Atom("worker"), process("a@h", 1)));
  (void)events();
  (void)broadcasts();
  EXPECT_TRUE(remove(Atom("worker")));
  EXPECT_EQ(events(), "unregistered worker a@h");
  EXPECT_EQ(broadcasts(),
            std::vector<std::string>{"{delta,a@h,#{{worker,a@h} => {tombstone,{timestamp,1764000000000,1}}}}"});
  EXPECT_TRUE(machine->watched.empty());
  EXPECT_FALSE(remove(Atom("worker")));
  EXPECT_EQ(registry().lookup_local(Atom("worker")), std::nullopt);
  EXPECT_TRUE(registry().names().empty());
  EXPECT_EQ(registry().counters().removals, 1U);
  expect_consistent();
}

TEST_F(RegistryTest, a_process_is_watched_once_and_its_end_takes_all_of_its_names) {
  for (const char* name : {"c", "a", "b"}) ASSERT_TRUE(add(Atom(name), process("a@h", 1)));
  ASSERT_TRUE(add(Atom("d"), process("a@h", 2)));
  EXPECT_EQ(machine->watched.size(), 2U);
  EXPECT_TRUE(remove(Atom("c")));
  EXPECT_EQ(machine->watched.size(), 2U) << "it has other names";
  (void)events();
  end(process("a@h", 1), *parse_term("{bad,42}"));
  EXPECT_EQ(events(), "down({bad,42}) a a@h, down({bad,42}) b a@h");
  EXPECT_EQ(machine->visible(), "d@a@h=2");
  end(process("a@h", 1), Atom("again"));
  EXPECT_EQ(events(), "");
  EXPECT_EQ(registry().counters().removals, 3U);
  expect_consistent();
}

TEST_F(RegistryTest, many_names_that_end_at_once_are_told_to_others_in_portions) {
  for (int name = 0; name < 300; ++name) ASSERT_TRUE(add(std::to_string(name), process("a@h", 1)));
  (void)broadcasts();
  end(process("a@h", 1), Atom("killed"));
  EXPECT_EQ(broadcasts().size(), 64U);
  std::size_t told = 64;
  for (int portion = 0; portion < 5; ++portion) {
    pass(20ms);
    const auto more = broadcasts().size();
    EXPECT_LE(more, 64U);
    told += more;
  }
  EXPECT_EQ(told, 300U);
  expect_consistent();
}

TEST_F(RegistryTest, names_come_in_the_order_of_terms) {
  for (const Term& name : {Term("b"), Term(Atom("z")), Term("a"), Term(Atom("é")), Term(Atom("a"))}) {
    ASSERT_TRUE(add(name, process("a@h", 1)));
  }
  std::string text;
  for (const auto& name : registry().names()) text += to_text(name) + " ";
  EXPECT_EQ(text, "a z " + to_text(Term(Atom("é"))) + " <<\"a\">> <<\"b\">> ");
}

TEST_F(RegistryTest, own_entries_come_first_then_by_node_name) {
  for (const char* node : {"n2@h", "A@h", "n10@h", "n1@h"}) deliver(node, live("s", node, 1));
  ASSERT_TRUE(add(Atom("s"), process("a@h", 1)));
  std::string order;
  for (const auto& entry : registry().lookup(Atom("s"))) order += entry.node.string() + " ";
  EXPECT_EQ(order, "a@h A@h n10@h n1@h n2@h ") << "bytes decide: 0 is below @";
}

// What others say.

TEST_F(RegistryTest, changes_of_others_are_told_when_something_changes_and_once) {
  const Term first = live("s", "b@h", 1);
  deliver("b@h", first);
  deliver("b@h", first);
  EXPECT_EQ(events(), "registered s b@h");
  deliver("b@h", live("s", "b@h", 2));
  EXPECT_EQ(events(), "registered s b@h") << "another process";
  deliver("b@h", first);
  EXPECT_EQ(events(), "") << "an older change that came late";
  const Term removal = gone("s", "b@h");
  deliver("b@h", removal);
  deliver("b@h", removal);
  deliver("b@h", gone("unknown", "b@h"));
  EXPECT_EQ(events(), "unregistered s b@h");
  deliver("b@h", first);
  EXPECT_EQ(events(), "");
  EXPECT_EQ(machine->visible(), "");
  expect_consistent();
}

TEST_F(RegistryTest, a_node_speaks_for_its_own_entries_alone) {
  deliver("b@h", live("s", "c@h", 1));
  snapshot("b@h", live("s", "c@h", 1));
  deliver("b@h", gone("s", "c@h"));
  EXPECT_EQ(registry().map().size(), 0U);
  EXPECT_EQ(registry().counters().rejected, 3U);
  // A C++ neighbour passes on what it knows of others.
  beat("c@h");
  entries("b@h", live("s", "c@h", 1));
  EXPECT_EQ(machine->visible(), "s@c@h=1");
}

TEST_F(RegistryTest, own_broadcasts_that_come_back_change_nothing) {
  ASSERT_TRUE(add(Atom("s"), process("a@h", 1)));
  const auto stamp = registry().map().find(key("s", "a@h"))->stamp();
  (void)events();
  deliver("a@h", live("s", "a@h", 9));
  deliver("a@h", gone("s", "a@h"));
  EXPECT_EQ(events(), "");
  EXPECT_EQ(registry().map().find(key("s", "a@h"))->stamp(), stamp);
}

TEST_F(RegistryTest, metadata_beyond_the_bound_and_stamps_of_the_far_future_are_refused) {
  deliver("b@h", live("s", "b@h", 1, {now.wall, 1}, Term::map({{1, std::string(20'000, 'x')}})));
  deliver("b@h", live("t", "b@h", 1, {now.wall + 7'200'000, 1}));
  deliver("b@h", live("u", "b@h", 1, {now.wall + 1'800'000, 1}));
  EXPECT_EQ(machine->visible(), "u@b@h=1");
  EXPECT_EQ(registry().counters().rejected, 2U);
}

TEST_F(RegistryTest, a_node_cannot_have_more_entries_than_the_bound) {
  RegistryConfig config;
  config.entries_per_node_max = 10;
  start(config);
  std::vector<TermPair> pairs;
  for (int name = 0; name < 25; ++name) pairs.push_back(live("s" + std::to_string(name), "b@h", 1).pairs().front());
  snapshot("b@h", Term::map(pairs));
  EXPECT_EQ(registry().map().size(), 10U);
  for (int name = 30; name < 60; ++name) deliver("b@h", live("s" + std::to_string(name), "b@h", 1));
  EXPECT_EQ(registry().map().size(), 10U);
  EXPECT_EQ(registry().counters().rejected, 45U);
  deliver("c@h", live("s", "c@h", 1));
  EXPECT_EQ(registry().map().size(), 11U) << "others are not affected";
  expect_consistent();
}

TEST_F(RegistryTest, the_bound_over_all_nodes_holds_too) {
  RegistryConfig config;
  config.entries_max = 5;
  start(config);
  for (int node = 0; node < 20; ++node) {
    const auto name = "n" + std::to_string(node) + "@h";
    deliver(name, live("s", name, 1));
  }
  EXPECT_EQ(registry().map().size(), 5U);
  EXPECT_TRUE(add(Atom("s"), process("a@h", 1))) << "others do not take this node's room";
  deliver("n21@h", live("s", "n21@h", 1));
  EXPECT_EQ(registry().map().size(), 6U) << "nor does it make room for others";
  expect_consistent();
}

TEST_F(RegistryTest, what_nodes_left_that_are_gone_gives_way_when_there_is_no_room) {
  RegistryConfig config;
  config.entries_max = 5;
  start(config);
  std::vector<TermPair> invented;
  for (int node = 0; node < 9; ++node) {
    invented.push_back(live("s", "n" + std::to_string(node) + "@h", 1).pairs().front());
  }
  entries("b@h", Term::map(invented));
  EXPECT_EQ(registry().map().size(), 5U);
  deliver("c@h", live("s", "c@h", 1));
  EXPECT_EQ(machine->visible(), "") << "they are expected";
  pass(7s);
  deliver("c@h", live("s", "c@h", 1));
  EXPECT_EQ(machine->visible(), "s@c@h=1");
  EXPECT_EQ(registry().map().size(), 5U);
  EXPECT_EQ(registry().map().find(key("s", "n0@h")), nullptr) << "who is gone for longest, of equal ones the first";
  beat("c@h");
  for (const char* name : {"t", "u", "v", "w", "x"}) deliver("c@h", live(name, "c@h", 1));
  EXPECT_EQ(machine->visible(), "s@c@h=1 t@c@h=1 u@c@h=1 v@c@h=1 w@c@h=1") << "of the living nothing gives way";
  EXPECT_EQ(registry().map().size(), 5U);
  expect_consistent();
}

TEST_F(RegistryTest, of_a_name_that_many_nodes_have_it_is_told_whose_entry_changed) {
  ASSERT_TRUE(add(Atom("s"), process("a@h", 1)));
  std::vector<TermPair> pairs;
  for (const char* node : {"b@h", "c@h", "d@h"}) {
    beat(node);
    pairs.push_back(live("s", node, 2).pairs().front());
  }
  Effects effects;
  const Term message = Term::tuple({Atom("entries"), Atom("b@h"), Term::list({}), Term::map(pairs), false});
  registry().receive(Atom("b@h"), Term::tuple({Atom("$barrel_p2p_replica"), message}), now, effects);
  std::string told;
  for (const auto& effect : effects) {
    if (const auto* changed = std::get_if<ServiceChanged>(&effect)) told += changed->node.string() + " ";
  }
  EXPECT_EQ(told, "b@h c@h d@h ");
  EXPECT_EQ(registry().lookup(Atom("s"), Atom("c@h"))->pid, process("c@h", 2));
  EXPECT_EQ(registry().lookup(Atom("s"), Atom("x@h")), std::nullopt);
  EXPECT_EQ(registry().lookup(Atom("s")).size(), 4U);
}

TEST(ServiceNames, have_one_name_of_very_many_nodes_at_little_cost) {
  constexpr std::size_t holders = 50'000;
  const Term name(Atom("s"));
  std::vector<Atom> nodes;
  nodes.reserve(holders);
  for (std::size_t number = 0; number < holders; ++number) nodes.emplace_back("n" + std::to_string(number) + "@h");
  std::ranges::sort(nodes, std::greater());
  ServiceNames names;
  const auto began = std::chrono::steady_clock::now();
  // To move all others each time would take many minutes.
  for (int round = 0; round < 10; ++round) {
    for (const auto& node : nodes) names.set(name, node, 1);
    ASSERT_EQ(names.size(), holders);
    for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) names.erase(name, *node);
    ASSERT_EQ(names.size(), 0U);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, test::patience);
  names.set(Atom("t"), nodes[1], 2);
  names.set(name, nodes[0], 1);
  names.set(name, nodes[1], 2);
  names.set(name, nodes[0], 3);
  EXPECT_EQ(names.names(), (std::vector<Term>{Atom("s"), Atom("t")}));
  std::string found;
  for (const auto& [place, value] : names.find(name)) found += place.node.string() + "=" + to_text(value) + " ";
  EXPECT_EQ(found, nodes[1].string() + "=2 " + nodes[0].string() + "=3 ");
  EXPECT_EQ(names.find(name, nodes[2]), nullptr);
}

// Ghosts.

TEST_F(RegistryTest, an_own_entry_that_nobody_registered_here_is_removed_everywhere) {
  beat("b@h");
  entries("b@h", live("old", "a@h", 1, {now.wall + 1000, 5}));
  EXPECT_EQ(events(), "") << "it was never visible here";
  EXPECT_EQ(broadcasts(),
            std::vector<std::string>{"{delta,a@h,#{{old,a@h} => {tombstone,{timestamp,1764000001000,7}}}}"});
  EXPECT_EQ(registry().counters().ghosts, 1U);
  EXPECT_EQ(registry().counters().rejected, 0U);
  entries("b@h", live("old", "a@h", 1, {now.wall + 1000, 5}));
  EXPECT_TRUE(broadcasts().empty()) << "an older copy needs no other answer";
  entries("b@h", live("old", "a@h", 1, {now.wall + 2000, 0}));
  EXPECT_EQ(broadcasts().size(), 1U) << "a newer one does";
  expect_consistent();
}

TEST_F(RegistryTest, ghosts_have_a_bound_of_their_own_and_take_no_room_of_the_program) {
  RegistryConfig config;
  config.entries_per_node_max = 3;
  start(config);
  std::vector<TermPair> shown;
  for (int name = 0; name < 5; ++name) shown.push_back(live("g" + std::to_string(name), "a@h", 1).pairs().front());
  entries("b@h", Term::map(shown));
  EXPECT_EQ(registry().counters().ghosts, 3U);
  EXPECT_EQ(registry().counters().rejected, 2U);
  entries("b@h", gone("old", "a@h"));
  EXPECT_EQ(registry().counters().rejected, 3U) << "removals of an earlier life are ghosts too";
  EXPECT_EQ(registry().map().size(), 3U);
  for (const char* name : {"x", "y", "g0"}) EXPECT_TRUE(add(Atom(name), process("a@h", 1))) << name;
  EXPECT_EQ(add(Atom("z"), process("a@h", 1)).error(), Errc::limit_exceeded);
  expect_consistent();
  EXPECT_TRUE(remove(Atom("g0")));
  EXPECT_EQ(add(Atom("z"), process("a@h", 1)).error(), Errc::limit_exceeded) << "what the program removed is its own";
  entries("b@h", gone("old", "a@h"));
  EXPECT_EQ(registry().map().size(), 6U) << "g0 has made room for another one";
  pass(2h);
  EXPECT_EQ(registry().map().size(), 2U);
  EXPECT_TRUE(add(Atom("z"), process("a@h", 1)));
  entries("b@h", Term::map(shown));
  EXPECT_EQ(registry().counters().ghosts, 6U) << "they are answered bit by bit";
  expect_consistent();
}

TEST_F(RegistryTest, an_own_entry_that_others_have_otherwise_is_written_again) {
  ASSERT_TRUE(add(Atom("s"), process("a@h", 1)));
  (void)broadcasts();
  (void)events();
  entries("b@h", live("s", "a@h", 99, {now.wall + 1000, 0}));
  auto sent = broadcasts();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_NE(sent.front().find(to_text(Term(process("a@h", 1)))), std::string::npos);
  EXPECT_NE(sent.front().find("1764000001000"), std::string::npos) << sent.front();
  entries("b@h", gone("s", "a@h", {now.wall + 2000, 0}));
  sent = broadcasts();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_NE(sent.front().find("1764000002000"), std::string::npos) << sent.front();
  EXPECT_EQ(events(), "") << "nothing changed here";
  EXPECT_EQ(registry().lookup_local(Atom("s")), process("a@h", 1));
  expect_consistent();
}

TEST_F(RegistryTest, own_removals_that_others_remember_are_taken_over) {
  entries("b@h", gone("s", "a@h"));
  EXPECT_TRUE(broadcasts().empty());
  EXPECT_EQ(registry().map().size(), 1U);
  expect_consistent();
}

TEST_F(RegistryTest, ghosts_of_the_far_future_are_refused) {
  entries("b@h", live("s", "a@h", 1, {now.wall + 7'200'000, 0}));
  EXPECT_TRUE(broadcasts().empty());
  EXPECT_EQ(registry().counters().rejected, 1U);
  EXPECT_EQ(registry().map().size(), 0U);
}

TEST_F(RegistryTest, what_an_erlang_node_forgot_in_a_restart_is_forgotten_here_too) {
  beat("e@h");
  const Term kept = live("kept", "e@h", 1);
  for (const Term& entry : {kept, live("forgotten", "e@h", 1), live("older", "e@h", 1)}) deliver("e@h", entry);
  const Term newest = live("newest", "e@h", 1);
  deliver("e@h", live("later", "e@h", 1));
  (void)events();
  snapshot("e@h", kept);
  EXPECT_EQ(events(), "") << "nothing in it is newer than what is missing";
  snapshot("e@h", Term::map({kept.pairs().front(), newest.pairs().front()}));
  EXPECT_EQ(events(), "registered newest e@h, unregistered forgotten e@h, unregistered older e@h");
  EXPECT_EQ(machine->visible(), "kept@e@h=1 later@e@h=1 newest@e@h=1");
  EXPECT_TRUE(broadcasts().empty()) << "removals of others are not broadcast";
  deliver("e@h", live("older", "e@h", 2));
  EXPECT_EQ(events(), "registered older e@h");
  expect_consistent();
}

TEST_F(RegistryTest, an_erlang_neighbour_is_asked_for_what_is_known_of_it_and_what_it_lacks_is_forgotten) {
  ask_as_process();
  beat("e@h");
  for (const auto* name : {"forgotten", "kept", "removed"}) deliver("e@h", live(name, "e@h", 1));
  (void)events();
  neighbour("e@h", false);
  pass(99ms);
  EXPECT_EQ(asked(), "") << "its hello may be under way";
  pass(1ms);
  EXPECT_EQ(asked(), "e@h");
  Term local = live("kept", "e@h", 1);
  for (const Term& more : {gone("removed", "e@h"), live("missed", "e@h", 1), live("alien", "x@h", 1)}) {
    std::vector<TermPair> pairs(local.pairs().begin(), local.pairs().end());
    pairs.push_back(more.pairs().front());
    local = Term::map(std::move(pairs));
  }
  answer(local);
  EXPECT_EQ(machine->visible(), "kept@e@h=1 missed@e@h=1");
  EXPECT_EQ(events(), "registered missed e@h, unregistered removed e@h, unregistered forgotten e@h");
  EXPECT_TRUE(broadcasts().empty()) << "removals of others are not broadcast";
  pass(1min);
  EXPECT_EQ(asked(), "") << "once";
  expect_consistent();
}

TEST_F(RegistryTest, an_erlang_neighbour_that_has_nothing_loses_all_but_what_it_registers_meanwhile) {
  ask_as_process();
  beat("e@h");
  deliver("e@h", live("old", "e@h", 1));
  deliver("e@h", live("again", "e@h", 1));
  neighbour("e@h", false);
  pass(100ms);
  EXPECT_EQ(asked(), "e@h");
  deliver("e@h", live("again", "e@h", 2));
  deliver("e@h", live("new", "e@h", 2));
  (void)events();
  answer(no_meta);
  EXPECT_EQ(events(), "unregistered old e@h");
  EXPECT_EQ(machine->visible(), "again@e@h=2 new@e@h=2");
  answer(no_meta);
  EXPECT_EQ(machine->visible(), "again@e@h=2 new@e@h=2") << "a question is answered once";
  expect_consistent();
}

TEST_F(RegistryTest, what_others_tell_of_an_erlang_neighbour_is_asked_for_with_pauses) {
  ask_as_process();
  beat("e@h");
  neighbour("e@h", false);
  neighbour("b@h", true);
  pass(1s);
  EXPECT_EQ(asked(), "") << "nothing is known of them";
  entries("b@h", live("one", "e@h", 1));
  entries("b@h", live("one", "x@h", 1));
  pass(100ms);
  EXPECT_EQ(asked(), "e@h");
  answer(no_meta);
  EXPECT_EQ(machine->visible(), "");
  entries("b@h", live("two", "e@h", 1));
  pass(4999ms);
  EXPECT_EQ(asked(), "") << "not so soon again";
  pass(1ms);
  EXPECT_EQ(asked(), "e@h");
  beat("e@h");
  deliver("e@h", live("three", "e@h", 1));
  answer(live("three", "e@h", 1));
  EXPECT_EQ(machine->visible(), "three@e@h=1");
  pass(1min);
  EXPECT_EQ(asked(), "") << "it said itself what else there is";
}

TEST_F(RegistryTest, a_neighbour_that_does_not_answer_is_asked_three_times_and_believed_when_it_does) {
  ask_as_process();
  beat("e@h");
  deliver("e@h", live("old", "e@h", 1));
  neighbour("e@h", false);
  for (int time = 0; time < 3; ++time) {
    pass(time == 0 ? 100ms : 5s);
    EXPECT_EQ(asked(), "e@h") << time;
  }
  pass(1min);
  EXPECT_EQ(asked(), "");
  beat("e@h");
  EXPECT_EQ(machine->visible(), "old@e@h=1");
  answer(Atom("busy"));
  EXPECT_EQ(machine->visible(), "old@e@h=1");
  EXPECT_EQ(registry().counters().rejected, 1U);
  registry().neighbour_down(Atom("e@h"));
  neighbour("e@h", false);
  pass(100ms);
  EXPECT_EQ(asked(), "e@h");
  registry().neighbour_down(Atom("e@h"));
  answer(no_meta);
  EXPECT_EQ(machine->visible(), "old@e@h=1") << "it may be another life that answers";
}

TEST_F(RegistryTest, only_the_node_that_was_asked_can_answer_whoever_guesses_the_reference) {
  ask_as_process();
  for (const auto* node : {"e@h", "evil@h"}) {
    beat(node);
    deliver(node, live("svc", node, 1));
    neighbour(node, false);
  }
  pass(100ms);
  EXPECT_EQ(asked_with(), (std::map<std::string, Ref>{{"e@h", reference(1)}, {"evil@h", reference(2)}}));
  const std::string all = machine->visible();
  (void)events();
  const auto reply = [&](const std::string& from, std::uint32_t number, const Term& entries) {
    const Term message = Term::tuple({reference(number), entries});
    call([&](Effects& out) { registry().reply(Atom(from), message, now, out); });
  };
  // That e@h has forgotten all; that it has something else; both again from a node that nobody asked.
  for (const auto* liar : {"evil@h", "stranger@h"}) {
    reply(liar, 1, no_meta);
    reply(liar, 1, live("planted", "e@h", 9));
  }
  EXPECT_EQ(events(), "");
  EXPECT_EQ(machine->visible(), all);
  reply("e@h", 1, live("real", "e@h", 2));
  EXPECT_EQ(events(), "registered real e@h, unregistered svc e@h") << "the question was still open";
  // The answer played again, by whomever.
  for (const auto* node : {"e@h", "evil@h"}) reply(node, 1, no_meta);
  EXPECT_EQ(events(), "");
  reply("evil@h", 2, no_meta);
  EXPECT_EQ(events(), "unregistered svc evil@h") << "of itself a node may say what it wants";
  expect_consistent();
}

TEST_F(RegistryTest, cpp_neighbours_are_not_asked) {
  ask_as_process();
  beat("b@h");
  deliver("b@h", live("kept", "b@h", 1));
  neighbour("b@h", true);
  entries("b@h", live("more", "b@h", 1));
  pass(1min);
  EXPECT_EQ(asked(), "");
}

// Who is alive.

TEST_F(RegistryTest, entries_of_a_node_that_is_silent_are_hidden_and_come_back) {
  beat("b@h");
  deliver("b@h", live("s", "b@h", 1));
  deliver("b@h", live("t", "b@h", 2));
  EXPECT_EQ(events(), "registered s b@h, registered t b@h");
  pass(7s);
  EXPECT_EQ(events(), "lost s b@h, lost t b@h");
  EXPECT_EQ(machine->visible(), "");
  EXPECT_EQ(registry().verify().hidden, 2U);
  expect_consistent();
  deliver("b@h", gone("t", "b@h"));
  deliver("b@h", live("u", "b@h", 3));
  EXPECT_EQ(events(), "");
  beat("b@h");
  EXPECT_EQ(events(), "back s b@h, registered u b@h");
  EXPECT_EQ(machine->visible(), "s@b@h=1 u@b@h=3");
  expect_consistent();
}

TEST_F(RegistryTest, a_node_that_speaks_before_its_first_beat_is_believed_for_a_while) {
  deliver("b@h", live("s", "b@h", 1));
  EXPECT_EQ(events(), "registered s b@h");
  pass(2s);
  beat("b@h");
  for (int beats = 0; beats < 10; ++beats) {
    pass(2s);
    beat("b@h");
  }
  EXPECT_EQ(events(), "") << "nothing flickers";
  deliver("c@h", live("s", "c@h", 1));
  EXPECT_EQ(events(), "registered s c@h");
  pass(10s);
  EXPECT_EQ(events(), "lost s c@h, lost s b@h");
  expect_consistent();
}

TEST_F(RegistryTest, a_node_that_peers_tell_of_is_shown_from_its_first_beat_on) {
  entries("b@h", live("s", "c@h", 1));
  EXPECT_EQ(events(), "");
  EXPECT_EQ(registry().verify().hidden, 1U);
  beat("c@h");
  EXPECT_EQ(events(), "registered s c@h");
  expect_consistent();
}

TEST_F(RegistryTest, what_was_hidden_and_removed_is_not_told_of) {
  entries("b@h", live("s", "c@h", 1));
  entries("b@h", gone("s", "c@h"));
  beat("c@h");
  EXPECT_EQ(events(), "");
}

TEST_F(RegistryTest, peers_are_not_told_of_nodes_that_are_gone) {
  beat("c@h");
  deliver("c@h", live("s", "c@h", 1));
  entries("b@h", live("s", "d@h", 1));
  const Term digests = Term::tuple({Atom("digests"), Atom("b@h"), *parse_term("[{0,0,0,0}]")});
  const auto offered = [&] {
    receive("b@h", digests);
    const auto sent = sent_to("b@h");
    return !sent.empty() && sent.front().is_tagged("entries", 5) ? sent.front()[3].size() : 0;
  };
  (void)sent_to("b@h");
  EXPECT_EQ(offered(), 2U) << "one that is alive, one that is expected";
  pass(3s);
  beat("c@h");
  pass(4s);
  (void)sent_to("b@h");
  EXPECT_EQ(offered(), 1U) << "who was expected did not come";
  pass(7s);
  (void)sent_to("b@h");
  EXPECT_EQ(offered(), 0U);
  EXPECT_EQ(registry().map().size(), 2U) << "they are remembered here";
  beat("c@h");
  (void)sent_to("b@h");
  EXPECT_EQ(offered(), 1U);
  expect_consistent();
}

TEST_F(RegistryTest, nodes_that_are_gone_for_long_are_forgotten_and_stay_so) {
  beat("c@h");
  deliver("c@h", live("s", "c@h", 1));
  deliver("c@h", gone("t", "c@h"));
  entries("b@h", live("s", "d@h", 1));
  pass(59min);
  EXPECT_NE(registry().map().find(key("s", "c@h")), nullptr);
  EXPECT_NE(registry().map().find(key("s", "d@h")), nullptr);
  pass(3min);
  EXPECT_EQ(registry().map().size(), 0U);
  entries("b@h", live("s", "c@h", 1));
  EXPECT_EQ(registry().map().size(), 0U) << "peers that remember longer do not bring it back";
  EXPECT_EQ(registry().counters().rejected, 0U) << "they may";
  beat("c@h");
  entries("b@h", live("s", "c@h", 1));
  EXPECT_EQ(machine->visible(), "s@c@h=1");
  expect_consistent();
}

TEST_F(RegistryTest, a_node_that_changes_state_behind_the_registrys_back_is_found_by_the_audit) {
  beat("b@h");
  deliver("b@h", live("s", "b@h", 1));
  expect_consistent();
  Effects effects;
  for (int beat = 0; beat < 5; ++beat) {
    now.monotonic += 2s;
    machine->members.tick(now, effects);  // and nobody tells the registry
  }
  const auto audit = registry().verify();
  ASSERT_EQ(audit.problems.size(), 1U);
  EXPECT_EQ(audit.problems.front(), "b@h is not alive, but its entries are shown");
}

// Time.

TEST_F(RegistryTest, removals_are_forgotten_after_an_hour) {
  ASSERT_TRUE(add(Atom("s"), process("a@h", 1)));
  ASSERT_TRUE(remove(Atom("s")));
  EXPECT_EQ(registry().verify().tombstones, 1U);
  pass(59min);
  EXPECT_EQ(registry().verify().tombstones, 1U);
  pass(3min);
  EXPECT_EQ(registry().map().size(), 0U);
  entries("b@h", gone("s", "a@h", {now.wall - 3'700'000, 0}));
  entries("b@h", gone("t", "b@h", {now.wall - 3'700'000, 0}));
  EXPECT_EQ(registry().map().size(), 0U) << "peers that remember longer do not bring them back";
  entries("b@h", live("s", "a@h", 1, {now.wall - 3'800'000, 0}));
  EXPECT_EQ(registry().counters().ghosts, 1U) << "and what was removed is removed again";
  expect_consistent();
}

TEST_F(RegistryTest, an_old_removal_of_what_is_known_counts) {
  beat("b@h");
  entries("b@h", live("s", "b@h", 1, {now.wall - 9'000'000, 0}));
  EXPECT_EQ(machine->visible(), "s@b@h=1");
  entries("b@h", gone("s", "b@h", {now.wall - 8'000'000, 0}));
  EXPECT_EQ(machine->visible(), "");
}

TEST_F(RegistryTest, nothing_is_due_when_nothing_is_pending) {
  RegistryConfig config;
  config.anti_entropy_period = 0ms;
  start(config);
  EXPECT_EQ(registry().deadline(), MonotonicTime::max());
  ASSERT_TRUE(add(Atom("s"), process("a@h", 1)));
  beat("b@h");
  deliver("b@h", live("s", "b@h", 1));
  EXPECT_EQ(registry().deadline(), MonotonicTime::max());
  EXPECT_TRUE(remove(Atom("s")));
  EXPECT_EQ(registry().deadline(), now.monotonic + 60s) << "only a removal to forget";
}

// Neighbours.

TEST_F(RegistryTest, an_erlang_neighbour_gets_own_entries_only_removals_included) {
  beat("b@h");
  deliver("b@h", live("theirs", "b@h", 1));
  ASSERT_TRUE(add(Atom("s"), process("a@h", 1)));
  ASSERT_TRUE(remove(Atom("s")));
  neighbour("e@h", false);
  pass(200ms);
  const auto sent = sent_to("e@h");
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(to_text(sent.front()), "{request_sync,a@h}") << "it tells by itself only who asked for the link";
  EXPECT_EQ(to_text(sent.back()), "{full_sync,a@h,#{{s,a@h} => {tombstone,{timestamp,1764000000000," +
                                      std::to_string(registry().map().find(key("s", "a@h"))->stamp().logical) + "}}}}");
}

TEST_F(RegistryTest, a_registration_is_confirmed_by_cpp_neighbours_and_sent_again_until_then) {
  neighbour("b@h", true);
  neighbour("c@h", true);
  neighbour("e@h", false);
  ASSERT_TRUE(add(Atom("s"), process("a@h", 1), no_meta, 77));
  EXPECT_TRUE(machine->completed.empty());
  auto asked = sent_to("b@h");
  ASSERT_EQ(asked.size(), 1U);
  ASSERT_TRUE(asked.front().is_tagged("confirm", 4));
  const Term token = asked.front()[2];
  EXPECT_EQ(to_text(asked.front()[3]), "[{{s,a@h},{timestamp,1764000000000,0}}]");
  receive("b@h", Term::tuple({Atom("confirmed"), Atom("b@h"), token}));
  EXPECT_TRUE(machine->completed.empty());
  pass(60ms);
  asked = sent_to("c@h");
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_TRUE(asked[0].is_tagged("entries", 5)) << "the broadcast may be lost";
  EXPECT_TRUE(asked[1].is_tagged("confirm", 4));
  receive("d@h", Term::tuple({Atom("confirmed"), Atom("d@h"), token}));
  EXPECT_TRUE(machine->completed.empty()) << "nobody asked it";
  receive("c@h", Term::tuple({Atom("confirmed"), Atom("c@h"), token}));
  EXPECT_EQ(machine->completed, (std::map<Ticket, std::string>{{77, "ok"}}));
}

TEST_F(RegistryTest, neighbours_that_go_are_not_waited_for_and_time_is_limited) {
  ASSERT_TRUE(add(Atom("alone"), process("a@h", 1), no_meta, 1));
  EXPECT_EQ(machine->completed, (std::map<Ticket, std::string>{{1, "ok"}}));
  neighbour("b@h", true);
  ASSERT_TRUE(add(Atom("s"), process("a@h", 1), no_meta, 2));
  registry().neighbour_down(Atom("b@h"));
  EXPECT_LE(registry().deadline(), now.monotonic);
  pass(0ms);
  EXPECT_EQ(machine->completed.at(2), "ok");
  neighbour("b@h", true);
  ASSERT_TRUE(add(Atom("t"), process("a@h", 1), no_meta, 3));
  pass(4900ms);
  EXPECT_FALSE(machine->completed.contains(3));
  pass(200ms);
  EXPECT_EQ(machine->completed.at(3), "timeout");
  EXPECT_TRUE(registry().lookup_local(Atom("t"))) << "it is registered all the same";
  ASSERT_TRUE(add(Atom("u"), process("a@h", 1), no_meta, 4));
  registry().leave();
  pass(0ms);
  EXPECT_EQ(machine->completed.at(4), "ok");
}

TEST_F(RegistryTest, others_are_confirmed_to_as_soon_as_the_entry_is_here) {
  const Term confirm =
      Term::tuple({Atom("confirm"), Atom("b@h"), 5, *parse_term("[{{s,b@h},{timestamp,1764000000000,1}}]")});
  receive("b@h", confirm);
  EXPECT_TRUE(sent_to("b@h").empty());
  deliver("b@h", live("s", "b@h", 1, {now.wall, 1}));
  receive("b@h", confirm);
  const auto sent = sent_to("b@h");
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(to_text(sent.front()), "{confirmed,a@h,5}");
  for (const char* odd : {"{confirm,b@h,x,[]}", "{confirm,b@h,1,x}", "{confirm,b@h,1,[x]}", "{confirm,b@h,1,[{k,x}]}",
                          "{confirm,b@h,1}", "{confirmed,b@h,x}", "{confirmed,b@h}"}) {
    const auto before = registry().replica_counters().malformed;
    receive("b@h", *parse_term(odd));
    EXPECT_EQ(registry().replica_counters().malformed, before + 1) << odd;
  }
  EXPECT_TRUE(sent_to("b@h").empty());
}

TEST_F(RegistryTest, garbage_is_counted_and_changes_nothing) {
  const auto before = registry().counters().rejected;
  for (const char* odd :
       {"not_a_map", "#{x => y}", "#{{s,b@h} => garbage}", "#{{s,b@h,c} => {tombstone,{timestamp,1,1}}}",
        "#{{1,b@h} => {tombstone,{timestamp,1,1}}}", "#{{s,<<\"b@h\">>} => {tombstone,{timestamp,1,1}}}",
        "#{{s,'no node name'} => {tombstone,{timestamp,1,1}}}", "#{{s,b@h} => {tombstone,{timestamp,1,2147483647}}}"}) {
    deliver("b@h", *parse_term(odd));
    entries("b@h", *parse_term(odd));
  }
  EXPECT_EQ(registry().map().size(), 0U);
  EXPECT_EQ(registry().counters().rejected, before + 16);
}

}  // namespace
}  // namespace barrel_p2p::services
