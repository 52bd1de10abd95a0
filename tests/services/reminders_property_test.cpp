// Random histories of nodes with reminders: messages are lost, nodes crash while they tell and otherwise, pause, and
// are cut off. None is lost, none is told before its time, and one that is told again has the same fence.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "services/reminders_support.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;
using test::RemindersWorld;

struct Set {
  WallMilliseconds due = 0;
  Fence fence;
};

class RemindersHistory : public testing::TestWithParam<std::uint64_t> {};

void make_trouble(RemindersWorld& world, const std::vector<Atom>& nodes, Prng& random) {
  const Atom& node = nodes[random.below(nodes.size())];
  const Atom& other = nodes[random.below(nodes.size())];
  auto& machine = world.at(node);
  switch (random.below(6)) {
    case 0:
      if (machine.up) world.stop(node);
      break;
    case 1: machine.crashes_while_firing = true; break;
    case 2:
      if (machine.up) world.pause(node);
      break;
    case 3:
      if (machine.up && machine.paused) world.wake(node);
      break;
    case 4:
      if (node != other && machine.up && world.at(other).up) world.unlink(node, other);
      break;
    case 5: machine.wall_skew = static_cast<WallMilliseconds>(random.below(2000)) - 1000; break;
    default: break;
  }
}

void repair(RemindersWorld& world, const std::vector<Atom>& nodes) {
  world.loss = 0;
  for (const auto& node : nodes) {
    if (!world.at(node).up) world.restart(node);
    if (world.at(node).paused) world.wake(node);
    world.at(node).crashes_while_firing = false;
  }
  for (std::size_t one = 0; one < nodes.size(); ++one) {
    for (std::size_t other = one + 1; other < nodes.size(); ++other) {
      world.unlink(nodes[one], nodes[other]);
      world.link(nodes[one], nodes[other]);
    }
  }
}

TEST_P(RemindersHistory, none_is_lost_or_early_and_repetitions_have_the_same_fence) {
  Prng random(GetParam());
  RemindersWorld world(GetParam());
  std::vector<Atom> nodes;
  for (const char* name : {"a@h", "b@h", "c@h", "d@h"}) nodes.push_back(world.add(name));
  repair(world, nodes);
  world.pass(10s);
  world.loss = 0.02;
  std::map<std::string, Set> wanted;
  for (int step = 0; step < 60; ++step) {
    const Atom& node = nodes[random.below(nodes.size())];
    if (world.at(node).up && !world.at(node).paused) {
      const Term key = Term::tuple({Atom("key"), step});
      const auto due = world.wall() + static_cast<WallMilliseconds>(random.below(60'000));
      if (world.remind(node, key, due) == "ok") {
        wanted[to_text(key)] = {due, world.at(node).reminders->find(key)->fence};
      }
    }
    if (random.chance(0.4)) make_trouble(world, nodes, random);
    world.pass(std::chrono::milliseconds(random.below(4000)));
  }
  repair(world, nodes);
  world.pass(5min);
  const auto fences = world.fences();
  for (const auto& [key, set] : wanted) {
    ASSERT_TRUE(fences.contains(key)) << key << " was lost";
    for (const auto& fence : fences.at(key)) EXPECT_EQ(fence, set.fence) << key;
  }
  for (const auto& one : world.told) {
    EXPECT_GE(one.at + 1000, wanted.at(to_text(one.what.key)).due) << "by more than the skew too early";
  }
  for (const auto& node : nodes) EXPECT_EQ(world.at(node).reminders->statistics().pending, 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RemindersHistory, testing::Range<std::uint64_t>(1, 31));

}  // namespace
}  // namespace barrel_p2p::services
