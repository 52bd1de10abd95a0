// One node's election: campaigns, the queue, gates, pauses, the disk.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "services/leader_support.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::services {
namespace {

using test::LeaderWorld;
using namespace std::chrono_literals;

Pid pid(const std::string& node, std::uint32_t id) {
  return {.node = Atom(node), .id = id, .serial = 0, .creation = 1};
}
const Term job = Atom("job");

}  // namespace

TEST(Leader, who_is_alone_leads_from_the_start) {
  LeaderWorld world;
  world.add("a@h");
  const auto role = world.lead("a@h", job, pid("a@h", 1));
  ASSERT_TRUE(role && role->is_leader());
  EXPECT_EQ(world.at("a@h").leader.fence(job, world.now()), role->fence);
  EXPECT_EQ(world.at("a@h").leader.high_water(job), role->fence);
  EXPECT_EQ(world.leader_at("a@h", job), "a@h p1");
  EXPECT_EQ(world.at("a@h").take_told(), "");
  EXPECT_TRUE(world.at("a@h").changed.contains(job));
  EXPECT_TRUE(world.resign("a@h", job));
  EXPECT_FALSE(world.resign("a@h", job));
  EXPECT_EQ(world.leader_at("a@h", job), "none");
  EXPECT_EQ(world.at("a@h").take_told(), "");
  EXPECT_TRUE(world.at("a@h").watched.empty());
}

TEST(Leader, refuses_what_is_no_campaign) {
  LeaderWorld world;
  world.add("a@h");
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1)));
  EXPECT_FALSE(world.lead("a@h", job, pid("a@h", 1)));
  for (const Term& priority : {Term(1.5), Term(Atom("high")), Term("1")}) {
    EXPECT_EQ(world.lead("a@h", job, pid("a@h", 2), {.priority = priority}).error(), Errc::invalid_argument);
  }
  EXPECT_EQ(world.lead("a@h", std::string(2000, 'x'), pid("a@h", 2)).error(), Errc::invalid_argument);
  ASSERT_TRUE(world.lead("a@h", Term(1), pid("a@h", 2)));
  EXPECT_EQ(world.lead("a@h", Term(1.0), pid("a@h", 3)).error(), Errc::already_registered);
}

TEST(Leader, processes_of_one_node_follow_each_other) {
  LeaderWorld world;
  auto& a = world.add("a@h");
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1))->is_leader());
  EXPECT_FALSE(world.lead("a@h", job, pid("a@h", 2))->is_leader());
  EXPECT_FALSE(world.lead("a@h", job, pid("a@h", 3))->is_leader());
  EXPECT_TRUE(world.lead("a@h", job, pid("a@h", 4), {.priority = 1})->is_leader());
  EXPECT_EQ(a.take_told(), "revoked p1");
  world.end_process("a@h", pid("a@h", 4));
  EXPECT_EQ(a.take_told(), "elected p1");
  EXPECT_TRUE(world.resign("a@h", job, pid("a@h", 2)));
  EXPECT_EQ(a.take_told(), "");
  EXPECT_TRUE(world.resign("a@h", job, pid("a@h", 1)));
  EXPECT_EQ(a.take_told(), "elected p3");
  EXPECT_EQ(a.watched, std::set<Pid>{pid("a@h", 3)});
}

TEST(Leader, a_priority_changes_while_it_leads) {
  LeaderWorld world;
  auto& a = world.add("a@h");
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1))->is_leader());
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 2)));
  const auto set = [&](std::uint32_t id, const Term& priority) {
    a.input(world.now(),
            [&](Effects& out) { EXPECT_TRUE(a.leader.set_priority(job, pid("a@h", id), priority, world.now(), out)); });
  };
  set(1, 5);
  EXPECT_EQ(a.take_told(), "");
  set(2, *parse_term("1180591620717411303424"));
  EXPECT_EQ(a.take_told(), "revoked p1, elected p2");
  set(2, -1);
  EXPECT_EQ(a.take_told(), "revoked p2, elected p1");
}

TEST(Leader, a_gated_candidate_waits_for_members_and_steps_down_before_others_elect) {
  LeaderWorld world;
  for (const char* name : {"a@h", "b@h", "c@h"}) world.add(name);
  for (const auto& name : world.names()) {
    EXPECT_FALSE(world.lead(name, job, pid(name, 1), {.min_members = 2})->is_leader());
  }
  world.link("a@h", "b@h");
  world.link("b@h", "c@h");
  world.pass(5s);
  EXPECT_EQ(world.leaders(job), std::vector<std::string>{"a@h"});
  EXPECT_EQ(world.at("a@h").take_told(), "elected p1");
  world.pass(60s);
  EXPECT_EQ(world.at("a@h").take_told(), "");
  world.unlink("a@h", "b@h");
  for (int step = 0; step < 200; ++step) {
    world.pass(50ms);
    EXPECT_LE(world.leaders(job).size(), 1U) << step;
  }
  EXPECT_EQ(world.leaders(job), std::vector<std::string>{"b@h"});
  EXPECT_EQ(world.at("a@h").take_told(), "revoked p1");
  EXPECT_EQ(world.leader_at("a@h", job), "none");
  world.link("a@h", "b@h");
  world.pass(5s);
  EXPECT_EQ(world.leaders(job), std::vector<std::string>{"a@h"});
}

TEST(Leader, a_paused_leader_knows_it_before_it_acts_and_leads_again_above_the_other) {
  LeaderWorld world;
  for (const char* name : {"a@h", "b@h", "c@h"}) world.add(name);
  world.link("a@h", "b@h");
  world.link("b@h", "c@h");
  world.pass(3s);
  const auto first = world.lead("a@h", job, pid("a@h", 1));
  world.pass(100ms);
  ASSERT_TRUE(world.lead("b@h", job, pid("b@h", 1)));
  world.pass(1s);
  world.pause("a@h");
  for (int step = 0; step < 400; ++step) {
    world.pass(50ms);
    EXPECT_LE(world.leaders(job).size(), 1U) << step;
  }
  EXPECT_EQ(world.leaders(job), std::vector<std::string>{"b@h"});
  EXPECT_FALSE(world.at("a@h").leader.is_leader(job, world.now()));
  EXPECT_FALSE(world.at("a@h").leader.fence(job, world.now()));
  const auto second = world.at("b@h").leader.fence(job, world.now());
  ASSERT_TRUE(second);
  EXPECT_GT(*second, *first->fence);
  world.wake("a@h");
  world.pass(1ms);
  EXPECT_EQ(world.at("a@h").take_told(), "revoked p1");
  world.pass(3s);
  EXPECT_EQ(world.at("a@h").take_told(), "elected p1") << "with a fence above that of b from the start";
  EXPECT_EQ(world.leaders(job), std::vector<std::string>{"a@h"});
  EXPECT_GT(*world.at("a@h").leader.fence(job, world.now()), *second);
  EXPECT_EQ(world.at("a@h").leader.counters().pauses, 1U);
}

TEST(Leader, a_node_that_is_alone_leads_again_soon_after_a_pause) {
  LeaderWorld world;
  world.add("a@h");
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1)));
  world.pause("a@h");
  world.pass(10s);
  world.wake("a@h");
  world.pass(1s);
  EXPECT_EQ(world.at("a@h").take_told(), "revoked p1, elected p1");
}

TEST(Leader, a_process_that_campaigns_again_is_told_of_what_it_wins_besides_at_that_moment) {
  LeaderWorld world;
  auto& a = world.add("a@h");
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1))->is_leader());
  const auto later = [&](Milliseconds time) {
    return Now{world.now().monotonic + time, world.now().wall + time.count()};
  };
  a.input(later(10s), [&](Effects& out) { a.leader.tick(later(10s), out); });
  EXPECT_EQ(a.take_told(), "revoked p1");
  // The end of the pause is noticed by the call.
  EXPECT_TRUE(a.lead("other", pid("a@h", 1), {}, later(10s + 200ms))->is_leader());
  EXPECT_EQ(a.take_told(), "elected p1");
  EXPECT_TRUE(a.leader.is_leader(job, later(10s + 200ms)));
}

TEST(Leader, a_node_that_leaves_leads_no_more) {
  LeaderWorld world;
  auto& a = world.add("a@h");
  world.add("b@h");
  world.link("a@h", "b@h");
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1)));
  a.input(world.now(), [&](Effects& out) { a.leader.leave(world.now(), out); });
  EXPECT_EQ(a.take_told(), "revoked p1");
  world.unlink("a@h", "b@h");
  world.pass(10s);
  EXPECT_EQ(a.take_told(), "");
  world.link("a@h", "b@h");
  world.pass(1s);
  EXPECT_EQ(a.take_told(), "elected p1");
}

TEST(Leader, fences_survive_the_restart_of_all_nodes_and_a_clock_that_was_set_back) {
  LeaderWorld world;
  world.add("a@h");
  const auto first = world.lead("a@h", job, pid("a@h", 1));
  world.crash("a@h");
  world.disks[Atom("a@h")].clock = 0;  // as if that had been lost
  auto& a = world.add("a@h");
  EXPECT_EQ(a.leader.high_water(job), first->fence);
  const Now earlier{world.now().monotonic, world.now().wall - 600'000};
  const auto second = a.lead(job, pid("a@h", 2), {}, earlier);
  ASSERT_TRUE(second && second->fence);
  EXPECT_GT(*second->fence, *first->fence);
}

TEST(Leader, nobody_leads_with_a_fence_that_this_clock_cannot_pass) {
  test::LeaderDisk disk;
  const Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  const WallMilliseconds far = now.wall + 100 * 3'600'000LL;
  disk.fences.emplace(job, fence_entry({far, 0}, Atom("b@h")));
  test::LeaderNode node({.own = Atom("a@h")}, disk, now);
  EXPECT_FALSE(node.lead(job, pid("a@h", 1), {}, now)->is_leader());
  EXPECT_GT(node.leader.counters().out_of_reach, 0U);
  EXPECT_TRUE(node.lead(Atom("other"), pid("a@h", 1), {}, now)->is_leader());
  const Now later{now.monotonic + 1s, far};
  node.input(later, [&](Effects& out) { node.leader.tick(later, out); });
  EXPECT_EQ(node.take_told(), "elected p1");
}

TEST(Leader, a_fence_that_the_disk_refused_is_written_again) {
  test::LeaderDisk disk;
  Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("a@h")}, disk, now);
  ASSERT_TRUE(node.lead(job, pid("a@h", 1), {}, now));
  const auto entry = disk.fences.extract(job).mapped();
  const std::vector<StoreChange> failed{
      {.collection = std::string(leader_fences_collection), .key = job, .entry = entry},
      {.collection = "map/m", .key = job}};
  node.leader.store_failed(failed);
  now.monotonic += 2s;
  node.input(now, [&](Effects& out) { node.leader.tick(now, out); });
  EXPECT_EQ(disk.fences.size(), 1U);
  EXPECT_TRUE(disk.fences.contains(job));
}

TEST(Leader, old_fences_of_names_without_candidates_are_forgotten_on_the_disk_too) {
  LeaderWorld world;
  world.add("a@h", 24h);
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1)));
  ASSERT_TRUE(world.lead("a@h", Atom("kept"), pid("a@h", 1)));
  ASSERT_TRUE(world.resign("a@h", job));
  for (int days = 0; days < 6; ++days) world.pass(24h);
  EXPECT_TRUE(world.at("a@h").leader.high_water(job));
  for (int days = 0; days < 2; ++days) world.pass(24h);
  EXPECT_FALSE(world.at("a@h").leader.high_water(job));
  EXPECT_TRUE(world.at("a@h").leader.high_water(Atom("kept")));
  EXPECT_EQ(world.disks[Atom("a@h")].fences.size(), 1U);
  EXPECT_EQ(world.at("a@h").take_told(), "");
}

TEST(Leader, the_oldest_fence_gives_way_when_there_are_too_many) {
  test::LeaderDisk disk;
  const Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("a@h"), .fences_max = 3}, disk, now);
  ASSERT_TRUE(node.lead(0, pid("a@h", 1), {}, now));
  for (std::uint32_t name = 1; name <= 10; ++name) {
    const Term fence = Term::tuple({name, replication::to_term(replication::Timestamp{now.wall, name})});
    node.input(now,
               [&](Effects& out) { node.leader.deliver(Term::tuple({Atom("custom"), Atom("b@h"), fence}), now, out); });
  }
  EXPECT_EQ(disk.fences.size(), 3U);
  for (const int name : {0, 9, 10}) EXPECT_TRUE(node.leader.high_water(name)) << name;
}

TEST(Leader, fences_of_one_age_are_those_of_their_names) {
  test::LeaderDisk disk;
  const Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("a@h")}, disk, now);
  const auto tell = [&](const Term& name, std::uint32_t logical) {
    const Term fence = Term::tuple({name, replication::to_term(replication::Timestamp{now.wall, logical})});
    node.input(now,
               [&](Effects& out) { node.leader.deliver(Term::tuple({Atom("custom"), Atom("b@h"), fence}), now, out); });
  };
  for (const Term& name : {Term(1), Term(1.0), Term(Atom("job"))}) tell(name, 7);
  tell(1.0, 8);
  EXPECT_EQ(node.leader.high_water(1), (Fence{static_cast<std::uint64_t>(now.wall), 7}));
  EXPECT_EQ(node.leader.high_water(1.0), (Fence{static_cast<std::uint64_t>(now.wall), 8}));
  EXPECT_EQ(node.leader.high_water(Atom("job")), (Fence{static_cast<std::uint64_t>(now.wall), 7}));
}

TEST(Leader, no_node_has_more_candidates_than_the_bounds) {
  test::LeaderDisk disk;
  const Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("a@h"), .candidates_max = 3, .candidates_per_node_max = 2}, disk, now);
  const auto told = [&](const char* peer, int name) {
    const Atom of(peer);
    const auto value = replication::Entry::value(candidate_value(pid(peer, 1), 0), {{now.wall, 0}, of});
    const Term entries = Term::map({{candidate_key(name, of), replication::to_term(value)}});
    const auto before = node.leader.counters().rejected;
    node.input(now, [&](Effects& out) { node.leader.deliver(Term::tuple({Atom("delta"), of, entries}), now, out); });
    return node.leader.counters().rejected == before;
  };
  EXPECT_TRUE(told("b@h", 1));
  EXPECT_TRUE(told("b@h", 2));
  EXPECT_FALSE(told("b@h", 3)) << "of one node";
  EXPECT_TRUE(told("c@h", 1));
  EXPECT_FALSE(told("c@h", 2)) << "of all nodes";
  EXPECT_TRUE(node.lead(1, pid("a@h", 1), {}, now)) << "others do not take this node's room";
  EXPECT_TRUE(node.lead(2, pid("a@h", 1), {}, now));
  EXPECT_EQ(node.lead(3, pid("a@h", 1), {}, now).error(), Errc::limit_exceeded);
}

TEST(Leader, a_campaign_that_must_have_members_costs_little_the_more_there_are) {
  constexpr std::uint32_t many = 30'000;
  test::LeaderDisk disk;
  const Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("a@h")}, disk, now);
  const auto say = [](Term content) { return Term::tuple({Atom("$barrel_p2p_replica"), std::move(content)}); };
  std::vector<TermPair> leases;
  leases.reserve(many);
  for (std::uint32_t number = 0; number < many; ++number) {
    leases.emplace_back(Atom("i" + std::to_string(number) + "@h"), now.wall);
  }
  const Term snapshot = Term::tuple({Atom("full_sync"), Atom("b@h"), Term::map(std::move(leases))});
  node.input(now, [&](Effects& out) { node.members.receive(Atom("b@h"), say(snapshot), now, out); });
  ASSERT_TRUE(node.lead(job, pid("a@h", 1), {.priority = 1, .min_members = many}, now)->is_leader());
  const auto began = std::chrono::steady_clock::now();
  // To look at all of them each time would take minutes.
  for (std::uint32_t change = 1; change <= 2 * many; ++change) {
    const auto campaign =
        replication::Entry::value(candidate_value(pid("b@h", change), 0), {{now.wall, change}, Atom("b@h")});
    const Term said = Term::map({{candidate_key(job, Atom("b@h")), replication::to_term(campaign)}});
    const Term payload = Term::tuple({Atom("delta"), Atom("b@h"), said});
    node.input(now, [&](Effects& out) { node.leader.deliver(payload, now, out); });
    ASSERT_TRUE(node.leader.is_leader(job, now));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, test::patience);
}

TEST(Leader, campaigns_of_nodes_that_are_gone_give_way_when_there_is_no_room) {
  test::LeaderDisk disk;
  Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("a@h"), .candidates_max = 3}, disk, now);
  const auto told = [&](const char* teller, const char* of) {
    const auto campaign = replication::Entry::value(candidate_value(pid(of, 1), 0), {{now.wall, 0}, Atom(of)});
    const Term said = Term::map({{candidate_key(job, Atom(of)), replication::to_term(campaign)}});
    const Term content = Term::tuple({Atom("entries"), Atom(teller), Term::list({}), said, false});
    node.input(now, [&](Effects& out) {
      node.leader.receive(Atom(teller), Term::tuple({Atom("$barrel_p2p_replica"), content}), now, out);
    });
    return node.leader.map().find(candidate_key(job, Atom(of))) != nullptr;
  };
  for (const char* invented : {"x@h", "y@h", "z@h"}) EXPECT_TRUE(told("b@h", invented));
  EXPECT_FALSE(told("c@h", "c@h")) << "they are expected";
  now.monotonic += 7s;
  now.wall += 7000;
  node.input(now, [&](Effects& out) { node.leader.tick(now, out); });
  EXPECT_TRUE(told("c@h", "c@h"));
  EXPECT_EQ(node.leader.map().find(candidate_key(job, Atom("x@h"))), nullptr);
  EXPECT_EQ(node.leader.leader(job, now)->node, "c@h");
}

TEST(Leader, who_leads_here_is_given_a_fence_however_many_others_there_are) {
  test::LeaderDisk disk;
  const Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("a@h"), .candidates_per_node_max = 10, .fences_max = 3}, disk, now);
  for (std::uint32_t name = 1; name <= 5; ++name) {
    const auto campaign = replication::Entry::value(candidate_value(pid("b@h", 1), 0), {{now.wall, name}, Atom("b@h")});
    const Term said = Term::map({{candidate_key(name, Atom("b@h")), replication::to_term(campaign)}});
    // One of them claims to be of this node.
    const Atom minter(name == 5 ? "a@h" : "b@h");
    for (const Term& payload :
         {Term::tuple({Atom("delta"), Atom("b@h"), said}),
          Term::tuple({Atom("entries"), Atom("b@h"), Term::list({}),
                       Term::map({{fence_key(name), replication::to_term(fence_entry({now.wall, name}, minter))}}),
                       false})}) {
      node.input(now, [&](Effects& out) {
        if (payload[0].is_atom("delta")) return node.leader.deliver(payload, now, out);
        node.leader.receive(Atom("b@h"), Term::tuple({Atom("$barrel_p2p_replica"), payload}), now, out);
      });
    }
    EXPECT_EQ(disk.fences.size(), std::min<std::size_t>(name, 3)) << "that of a name with a candidate is not forgotten";
  }
  for (std::uint32_t name = 11; name <= 20; ++name) {
    const auto role = node.lead(name, pid("a@h", 1), {}, now);
    EXPECT_TRUE(role && role->is_leader()) << name;
  }
}

TEST(Rivals, that_do_not_count_are_passed_over_at_no_cost) {
  constexpr std::uint32_t many = 50'000;
  Rivals rivals;
  const auto node = [](std::uint32_t number) { return Atom("i" + std::to_string(number) + "@h"); };
  for (std::uint32_t number = 0; number < many; ++number) {
    rivals.set({node(number), pid("i@h", number), number + 1}, false);
  }
  EXPECT_EQ(rivals.winner(), nullptr);
  rivals.set({Atom("a@h"), pid("a@h", 1), 0}, true);
  const auto began = std::chrono::steady_clock::now();
  // To look at all of them each time would take many minutes.
  for (std::uint32_t look = 0; look < 4 * many; ++look) ASSERT_EQ(rivals.winner()->node, "a@h");
  EXPECT_LT(std::chrono::steady_clock::now() - began, test::patience);
  rivals.count(node(7), true);
  rivals.count(Atom("nobody@h"), true);
  EXPECT_EQ(rivals.winner()->node, node(7));
  EXPECT_EQ(rivals.nodes(), (std::vector{node(7), Atom("a@h")}));
  rivals.count(node(7), false);
  EXPECT_EQ(rivals.winner()->node, "a@h");
  rivals.erase(Atom("a@h"));
  EXPECT_EQ(rivals.winner(), nullptr);
  EXPECT_FALSE(rivals.empty());
}

TEST(Leader, of_candidates_whose_leases_end_together_none_leads_and_they_lead_again_when_they_are_back) {
  test::LeaderDisk disk;
  Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("m@h")}, disk, now);
  ASSERT_TRUE(node.lead(job, pid("m@h", 1), {}, now));
  const auto tell = [&](bool alive) {
    for (const char* other : {"a@h", "b@h"}) {
      const auto beat = replication::Entry::value(Term::tuple({Atom("alive"), now.wall}), {{now.wall, 0}, Atom(other)});
      const Term said = Term::map({{Atom(other), replication::to_term(beat)}});
      const Term payload = alive ? Term::tuple({Atom("delta"), Atom(other), said})
                                 : Term::tuple({Atom("custom"), Atom(other), Term::tuple({Atom("goodbye"), now.wall})});
      node.input(now, [&](Effects& out) { node.members.deliver(payload, now, out); });
    }
    now.wall += 1000;
    now.monotonic += 1s;
  };
  tell(true);
  for (const char* other : {"a@h", "b@h"}) {
    const auto campaign = replication::Entry::value(candidate_value(pid(other, 1), 5), {{now.wall, 1}, Atom(other)});
    const Term said = Term::map({{candidate_key(job, Atom(other)), replication::to_term(campaign)}});
    node.input(now,
               [&](Effects& out) { node.leader.deliver(Term::tuple({Atom("delta"), Atom(other), said}), now, out); });
  }
  const auto leader = [&] { return node.leader.leader(job, now)->node; };
  EXPECT_EQ(leader(), "a@h");
  EXPECT_EQ(node.leader.candidates(job), (std::vector{Atom("a@h"), Atom("b@h"), Atom("m@h")}));
  tell(false);
  EXPECT_EQ(leader(), "m@h");
  EXPECT_EQ(node.leader.candidates(job), std::vector{Atom("m@h")});
  tell(true);
  EXPECT_EQ(leader(), "a@h");
}

namespace {

/// What a peer has of this node's campaigns, as it comes in a comparison of states.
struct ShownGhosts {
  explicit ShownGhosts(LeaderConfig config = {.own = Atom("a@h")}) : node(std::move(config), disk, now) {}

  void show(std::vector<TermPair> entries) {
    const Term content =
        Term::tuple({Atom("entries"), Atom("b@h"), Term::list({}), Term::map(std::move(entries)), false});
    const Term message = Term::tuple({Atom("$barrel_p2p_replica"), content});
    node.input(now, [&](Effects& out) { node.leader.receive(Atom("b@h"), message, now, out); });
  }
  /// An entry for a campaign of ours that was written a second from now, as others have it.
  [[nodiscard]] TermPair entry(const Term& name, const Term& value, const char* writer = "a@h") const {
    const auto written = replication::Entry::value(value, {{now.wall + 1000, 5}, Atom(writer)});
    return {candidate_key(name, Atom("a@h")), replication::to_term(written)};
  }
  /// All is said, and what was broadcast of it.
  std::vector<Term> answers() {
    now.monotonic += 1s;
    node.input(now, [&](Effects& out) { node.leader.tick(now, out); });
    std::vector<Term> payloads;
    for (const auto& effect : std::exchange(node.sent, {})) {
      if (const auto* broadcast = std::get_if<Broadcast>(&effect)) payloads.push_back(broadcast->payload);
    }
    return payloads;
  }

  test::LeaderDisk disk;
  Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node;
};

}  // namespace

TEST(LeaderGhosts, a_campaign_that_nobody_runs_here_is_removed_everywhere_whatever_it_looks_like) {
  ShownGhosts shown;
  shown.show({shown.entry(job, candidate_value(pid("a@h", 9), 0)), shown.entry("garbage", Atom("garbage")),
              shown.entry("foreign", candidate_value(pid("a@h", 9), 0), "x@h")});
  EXPECT_EQ(shown.node.leader.counters().ghosts, 3U);
  EXPECT_EQ(shown.node.leader.counters().rejected, 0U);
  std::string said;
  for (const Term& payload : shown.answers()) said += to_text(payload) + "\n";
  for (const auto* name :
       {"{job,a@h} => {tombstone,", "{<<\"garbage\">>,a@h} => {tombstone,", "{<<\"foreign\">>,a@h} => {tombstone,"}) {
    EXPECT_NE(said.find(name), std::string::npos) << name << " in " << said;
  }
}

TEST(LeaderGhosts, a_campaign_that_others_have_otherwise_is_written_again) {
  ShownGhosts shown;
  ASSERT_TRUE(shown.node.lead(job, pid("a@h", 1), {}, shown.now));
  (void)shown.answers();
  shown.show({shown.entry(job, candidate_value(pid("a@h", 99), 7))});
  EXPECT_EQ(shown.node.leader.counters().ghosts, 1U);
  const auto said = shown.answers();
  ASSERT_EQ(said.size(), 1U);
  EXPECT_NE(to_text(said.front()).find(to_text(Term(pid("a@h", 1)))), std::string::npos) << to_text(said.front());
}

TEST(LeaderGhosts, as_many_as_the_bound_are_removed_at_once_and_more_are_not) {
  constexpr std::uint32_t bound = 10;
  ShownGhosts shown({.own = Atom("a@h"), .candidates_per_node_max = bound});
  std::vector<TermPair> entries;
  for (std::uint32_t name = 0; name < bound + 3; ++name)
    entries.push_back(shown.entry(name, candidate_value(pid("a@h", 9), 0)));
  shown.show(entries);
  EXPECT_EQ(shown.node.leader.counters().ghosts, bound);
  EXPECT_EQ(shown.node.leader.counters().rejected, 3U);
  for (std::uint32_t name = 5; name < 5 + bound; ++name) {
    EXPECT_TRUE(shown.node.lead(name, pid("a@h", 1), {}, shown.now)) << name << ": ghosts take no room of the program";
  }
  EXPECT_EQ(shown.node.lead(99, pid("a@h", 1), {}, shown.now).error(), Errc::limit_exceeded);
}

TEST(LeaderGhosts, of_the_far_future_are_refused) {
  ShownGhosts shown;
  const auto written =
      replication::Entry::value(candidate_value(pid("a@h", 9), 0), {{shown.now.wall + 7'200'000, 0}, Atom("a@h")});
  shown.show({{candidate_key(job, Atom("a@h")), replication::to_term(written)}});
  EXPECT_TRUE(shown.answers().empty());
  EXPECT_EQ(shown.node.leader.counters().rejected, 1U);
}

TEST(Leader, no_more_processes_of_one_node_campaign_for_one_name_than_the_bound) {
  test::LeaderDisk disk;
  const Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("a@h"), .queue_max = 2}, disk, now);
  ASSERT_TRUE(node.lead(job, pid("a@h", 1), {}, now));
  ASSERT_TRUE(node.lead(job, pid("a@h", 2), {}, now));
  EXPECT_EQ(node.lead(job, pid("a@h", 3), {}, now).error(), Errc::limit_exceeded);
  EXPECT_TRUE(node.lead("another", pid("a@h", 3), {}, now));
}

TEST(Leader, an_equal_token_of_another_node_is_passed) {
  test::LeaderDisk disk;
  const Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  for (const char* other : {"a@h", "z@h"}) {
    test::LeaderNode node({.own = Atom("m@h")}, disk, now);
    const auto role = node.lead(job, pid("m@h", 1), {}, now);
    ASSERT_TRUE(role && role->fence);
    const replication::Timestamp stamp{static_cast<WallMilliseconds>(role->fence->wall()), role->fence->logical()};
    const Term payload = Term::tuple({Atom("custom"), Atom(other), Term::tuple({job, replication::to_term(stamp)})});
    node.input(now, [&](Effects& out) { node.leader.deliver(payload, now, out); });
    EXPECT_EQ(node.take_told(), "renewed p1") << other;
  }
}

TEST(Leader, who_is_outbid_again_and_again_renews_now_and_then_and_has_the_last_word) {
  test::LeaderDisk disk;
  Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  test::LeaderNode node({.own = Atom("m@h")}, disk, now);
  ASSERT_TRUE(node.lead(job, pid("m@h", 1), {}, now));
  Fence theirs;
  for (int bid = 0; bid < 200; ++bid) {
    theirs = Fence(node.leader.high_water(job)->wall() + 1, 0);
    const replication::Timestamp stamp{static_cast<WallMilliseconds>(theirs.wall()), theirs.logical()};
    const Term payload = Term::tuple({Atom("custom"), Atom("z@h"), Term::tuple({job, replication::to_term(stamp)})});
    node.input(now, [&](Effects& out) { node.leader.deliver(payload, now, out); });
    now.monotonic += 10ms;
    now.wall += 10;
    node.input(now, [&](Effects& out) { node.leader.tick(now, out); });
  }
  const auto renewals = node.leader.counters().renewals;
  EXPECT_GE(renewals, 5U);
  EXPECT_LE(renewals, 9U) << "four at once, and one each half of a second";
  while (node.leader.deadline() < now.monotonic + 1s) {
    now.monotonic = std::max(now.monotonic + 1ms, node.leader.deadline());
    node.input(now, [&](Effects& out) { node.leader.tick(now, out); });
    if (node.leader.fence(job, now) > theirs) break;
  }
  EXPECT_GT(node.leader.fence(job, now), theirs);
}

TEST(Leader, messages_are_those_of_erlang_nodes) {
  EXPECT_EQ(to_message({LeaderEvent::Kind::elected, job, {1, 2}}),
            *parse_term("{barrel_p2p_leader,job,{elected,4294967298}}"));
  EXPECT_EQ(to_message({LeaderEvent::Kind::renewed, job, {1, 2}}),
            *parse_term("{barrel_p2p_leader,job,{elected,4294967298}}"));
  EXPECT_EQ(to_message({LeaderEvent::Kind::revoked, job, {}}), *parse_term("{barrel_p2p_leader,job,revoked}"));
}

}  // namespace barrel_p2p::services
