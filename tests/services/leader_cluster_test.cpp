// Elections of several nodes: what they agree on, whatever happens to nodes and messages.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "services/leader_support.hpp"

namespace barrel_p2p::services {
namespace {

using test::LeaderWorld;
using namespace std::chrono_literals;

Pid pid(const std::string& node, std::uint32_t id, std::uint32_t creation = 1) {
  return {.node = Atom(node), .id = id, .serial = 0, .creation = creation};
}
const Term job = Atom("job");

void add_line(LeaderWorld& world, const std::vector<std::string>& names) {
  for (const auto& name : names) world.add(name);
  for (std::size_t index = 1; index < names.size(); ++index) world.link(names[index - 1], names[index]);
  world.pass(3s);
}

}  // namespace

TEST(LeaderCluster, the_smallest_name_leads_and_the_next_one_after_it) {
  LeaderWorld world;
  add_line(world, {"a@h", "b@h", "c@h", "d@h"});
  for (const auto& name : world.names()) {
    if (name == "d@h") continue;  // may ask all the same
    ASSERT_TRUE(world.lead(name, job, pid(name, 1)));
    world.pass(100ms);
  }
  for (const auto& name : world.names()) EXPECT_EQ(world.leader_at(name, job), "a@h p1");
  const auto first = world.at("a@h").leader.fence(job, world.now());
  world.end_process("a@h", pid("a@h", 1));
  world.pass(100ms);
  for (const auto& name : world.names()) EXPECT_EQ(world.leader_at(name, job), "b@h p1");
  EXPECT_EQ(world.at("b@h").take_told(), "elected p1");
  EXPECT_GT(world.at("b@h").leader.fence(job, world.now()), first);
  // Its death is seen by all, whoever is its neighbour.
  world.crash("b@h");
  world.link("a@h", "c@h");
  world.pass(10s);
  for (const auto& name : world.names()) EXPECT_EQ(world.leader_at(name, job), "c@h p1") << name;
  EXPECT_EQ(world.at("c@h").take_told(), "elected p1");
}

TEST(LeaderCluster, a_greater_priority_takes_over) {
  LeaderWorld world;
  world.delay_max = 1ms;  // In order: who hears of the new fence before the candidate renews its own first.
  add_line(world, {"a@h", "b@h"});
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1))->is_leader());
  world.pass(100ms);
  EXPECT_TRUE(world.lead("b@h", job, pid("b@h", 1), {.priority = 1})->is_leader());
  world.pass(100ms);
  EXPECT_EQ(world.at("a@h").take_told(), "revoked p1");
  EXPECT_EQ(world.leader_at("a@h", job), "b@h p1");
}

TEST(LeaderCluster, after_a_partition_the_winner_has_a_fence_above_both_sides) {
  LeaderWorld world;
  add_line(world, {"a@h", "b@h", "c@h", "d@h"});
  for (const auto& name : world.names()) ASSERT_TRUE(world.lead(name, job, pid(name, 1)));
  world.pass(1s);
  world.unlink("b@h", "c@h");
  world.pass(20s);
  EXPECT_EQ(world.leaders(job), (std::vector<std::string>{"a@h", "c@h"}));
  const auto other = world.at("c@h").leader.fence(job, world.now());
  for (const auto& name : world.names()) world.at(name).take_told();
  world.link("b@h", "c@h");
  world.pass(5s);
  EXPECT_EQ(world.leaders(job), std::vector<std::string>{"a@h"});
  EXPECT_EQ(world.at("c@h").take_told(), "revoked p1");
  EXPECT_EQ(world.at("a@h").take_told(), "renewed p1");
  EXPECT_GT(world.at("a@h").leader.fence(job, world.now()), other);
  for (const auto& name : world.names()) {
    EXPECT_EQ(world.at(name).leader.high_water(job), world.at("a@h").leader.fence(job, world.now())) << name;
  }
}

TEST(LeaderCluster, what_a_restarted_node_campaigned_for_before_leads_nobody_astray) {
  for (const auto& away : {1000ms, 30'000ms}) {
    LeaderWorld world;
    add_line(world, {"a@h", "b@h", "c@h"});
    ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1)));
    ASSERT_TRUE(world.lead("b@h", job, pid("b@h", 1)));
    world.pass(1s);
    world.crash("a@h");
    world.pass(away);
    world.add("a@h");
    world.link("a@h", "b@h");
    world.pass(3s);
    for (const auto& name : world.names()) EXPECT_EQ(world.leader_at(name, job), "b@h p1") << name;
    EXPECT_EQ(world.leaders(job), std::vector<std::string>{"b@h"});
    ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 2, 2))->is_leader());
    world.pass(1s);
    for (const auto& name : world.names()) EXPECT_EQ(world.leader_at(name, job), "a@h p2") << name;
  }
}

TEST(LeaderCluster, a_fence_whose_broadcast_was_lost_comes_by_the_digests) {
  LeaderWorld world;
  add_line(world, {"a@h", "b@h", "c@h"});
  world.loss = 1;
  ASSERT_TRUE(world.lead("a@h", job, pid("a@h", 1)));
  world.pass(10ms);
  world.loss = 0;
  world.pass(100s);
  for (const auto& name : world.names()) {
    EXPECT_EQ(world.at(name).leader.high_water(job), world.at("a@h").leader.fence(job, world.now())) << name;
    EXPECT_EQ(world.leader_at(name, job), "a@h p1") << name;
  }
}

TEST(LeaderCluster, long_gone_nodes_and_their_campaigns_are_forgotten) {
  LeaderWorld world;
  add_line(world, {"a@h", "b@h"});
  for (int name = 0; name < 10; ++name) ASSERT_TRUE(world.lead("a@h", name, pid("a@h", 1)));
  ASSERT_TRUE(world.resign("a@h", 0));
  world.pass(1s);
  world.crash("a@h");
  world.pass(2h);
  EXPECT_EQ(world.at("b@h").leader.map().size(), 10U) << "the fences alone";
  EXPECT_TRUE(world.at("b@h").leader.high_water(5));
}

// Histories.

namespace {

/// Plays random things with nodes, candidates and links, then lets everything heal.
class History {
 public:
  explicit History(std::uint64_t seed) : world_(seed), random_(seed) {
    world_.loss = 0.05;
    world_.doubled = 0.1;
    world_.delay_max = 40ms;
    for (const char* name : {"a@h", "b@h", "c@h", "d@h", "e@h"}) names_.emplace_back(name);
    for (const auto& name : names_) start(name);
    for (std::size_t index = 1; index < names_.size(); ++index) world_.link(names_[index - 1], names_[index]);
  }

  void play(std::size_t steps) {
    for (std::size_t step = 0; step < steps && !testing::Test::HasFailure(); ++step) {
      act();
      world_.pass(Milliseconds(random_.below(random_.chance(0.2) ? 9000 : 400)));
      watch();
    }
  }

  void heal() {
    world_.loss = 0;
    for (const auto& name : names_) world_.wake(name);
    for (const auto& name : names_) {
      if (!world_.is_up(name)) start(name);
    }
    for (std::size_t index = 1; index < names_.size(); ++index) world_.link(names_[index - 1], names_[index]);
    world_.pass(90s);
    watch();
    for (const auto& name : fenced_names_) expect_agreed(name);
  }

  /// All processes end at once, and come back with their disks.
  void restart_all() {
    for (const auto& name : names_) note_greatest(name);
    for (const auto& name : names_) world_.crash(name);
    for (const auto& name : names_) start(name);
  }

 private:
  void start(const std::string& name) {
    world_.add(name, 10s);
    ++creations_[name];
  }

  void note_greatest(const std::string& node) {
    if (!world_.is_up(node)) return;
    for (const auto& [name, fence] : world_.at(node).greatest) given_[name] = std::max(given_[name], fence);
  }

  /// High-water marks never fall, not even by a restart.
  void watch() {
    for (const auto& node : names_) {
      if (!world_.is_up(node)) continue;
      note_greatest(node);
      for (const auto& name : fenced_names_) {
        const auto mark = world_.at(node).leader.high_water(name).value_or(Fence{});
        auto& before = marks_[{node, to_text(name)}];
        EXPECT_GE(mark, before) << node;
        before = mark;
      }
    }
  }

  void expect_agreed(const Term& name) {
    const auto leaders = world_.leaders(name);
    std::set<std::string> views;
    std::set<Fence> marks;
    bool has_candidates = false;
    for (const auto& node : names_) {
      views.insert(world_.leader_at(node, name));
      marks.insert(world_.at(node).leader.high_water(name).value_or(Fence{}));
      has_candidates = has_candidates || !world_.at(node).leader.candidates(name).empty();
      EXPECT_EQ(world_.at(node).leader.candidates(name), world_.at(names_[0]).leader.candidates(name));
    }
    EXPECT_EQ(views.size(), 1U) << "all see the same leader of " << to_text(name);
    EXPECT_EQ(marks.size(), 1U) << "all know the same fence";
    EXPECT_EQ(leaders.size(), has_candidates ? 1U : 0U);
    if (leaders.size() != 1) return;
    const auto fence = world_.at(leaders[0]).leader.fence(name, world_.now());
    ASSERT_TRUE(fence);
    EXPECT_EQ(*fence, *marks.rbegin());
    EXPECT_GE(*fence, given_[name]) << "nobody was ever given a greater one";
    // What the candidate was told is what the machine says.
    const auto& terms = world_.at(leaders[0]).terms;
    const auto told = std::ranges::count_if(terms, [&](const auto& term) { return term.first.first == name; });
    EXPECT_EQ(told, 1);
  }

  void act() {
    const auto& one = names_[random_.below(names_.size())];
    const auto& other = names_[random_.below(names_.size())];
    const Term& name = fenced_names_[random_.below(fenced_names_.size())];
    const auto id = static_cast<std::uint32_t>(1 + random_.below(3));
    const bool up = world_.is_up(one) && !world_.is_paused(one);
    switch (random_.below(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        if (up) {
          std::ignore =
              world_.lead(one, name, pid(one, id, creations_[one]), {.priority = static_cast<int>(random_.below(3))});
        }
        break;
      case 4:
        if (up) world_.resign(one, name);
        break;
      case 5:
        if (up && world_.at(one).watched.contains(pid(one, id, creations_[one]))) {
          world_.end_process(one, pid(one, id, creations_[one]));
        }
        break;
      case 6:
      case 7:
        if (one != other && up && world_.is_up(other) && !world_.is_paused(other)) world_.link(one, other);
        break;
      case 8:
      case 9: world_.unlink(one, other); break;
      case 10:
        if (!world_.is_up(one)) {
          start(one);
        } else if (random_.chance(0.5)) {
          note_greatest(one);
          world_.crash(one);
        }
        break;
      case 11:
        if (world_.is_paused(one)) {
          world_.wake(one);
        } else if (up) {
          world_.pause(one);
        }
        break;
      default: break;
    }
  }

  LeaderWorld world_;
  Prng random_;
  std::vector<std::string> names_;
  const std::vector<Term> fenced_names_{Atom("job"), Term("job"), Term(7)};
  std::map<std::string, std::uint32_t> creations_;
  std::map<Term, Fence, TermLess> given_;
  std::map<std::pair<std::string, std::string>, Fence> marks_;
};

}  // namespace

RC_GTEST_PROP(LeaderCluster, whatever_happens_there_is_one_leader_in_the_end_with_the_greatest_fence, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  History history(seed);
  history.play(60);
  history.heal();
  history.restart_all();
  history.play(20);
  history.heal();
  RC_ASSERT(!testing::Test::HasFailure());
}

}  // namespace barrel_p2p::services
