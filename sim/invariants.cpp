#include "sim/invariants.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <utility>

#include "sim/measures.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

namespace {

/// Nodes that list others who do not list them.
using OneWay = std::set<std::pair<NodeIndex, NodeIndex>>;

OneWay one_way_links(const Simulation& simulation) {
  OneWay found;
  for (const NodeIndex node : simulation.members()) {
    for (const NodeIndex peer : simulation.neighbours(node)) {
      if (!std::ranges::binary_search(simulation.neighbours(peer), node)) found.emplace(node, peer);
    }
  }
  return found;
}

/// A few links change at any time, by exchanges. What is one-way and stays so is wrong.
void check_symmetry(Simulation& simulation) {
  constexpr int looks = 10;
  auto wrong = one_way_links(simulation);
  for (int look = 0; look < looks && !wrong.empty(); ++look) {
    simulation.run_for(std::chrono::seconds(1));
    const auto now = one_way_links(simulation);
    std::erase_if(wrong, [&](const auto& link) { return !now.contains(link); });
  }
  if (wrong.empty()) return;
  const auto [node, peer] = *wrong.begin();
  simulation.fail_at(node, "it lists " + simulation.name_of(peer).string() + ", but not the other way");
}

}  // namespace

void check_quiescent(Simulation& simulation, std::size_t first_broadcast) {
  const auto members = simulation.members();
  if (members.size() < 2) return;
  for (const NodeIndex node : members) {
    const auto& view = simulation.neighbours(node);
    if (view.empty()) simulation.fail_at(node, "it is alone");
    for (const NodeIndex peer : view) {
      if (simulation.is_member(peer)) continue;
      simulation.fail_at(node, "it lists " + simulation.name_of(peer).string() + ", which is gone");
    }
  }
  check_symmetry(simulation);
  Prng random(0);
  const auto figures = measure_graph(simulation, random);
  if (figures.components != 1)
    simulation.fail_at(members.front(), "the members are " + std::to_string(figures.components) + " clusters");
  for (std::size_t number = first_broadcast; number < simulation.broadcasts().size(); ++number) {
    const auto& record = simulation.broadcasts()[number];
    for (const NodeIndex node : members) {
      if (simulation.is_expected(node, record) && record.hops[node] == BroadcastRecord::not_delivered)
        simulation.fail_at(node, "it did not get broadcast " + std::to_string(number));
    }
  }
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
