#include "sim/invariants.hpp"

#include <algorithm>
#include <string>

#include "sim/measures.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

void check_quiescent(const Simulation& simulation, std::size_t first_broadcast) {
  const auto members = simulation.members();
  if (members.size() < 2) return;
  for (const NodeIndex node : members) {
    const auto& view = simulation.neighbours(node);
    if (view.empty()) simulation.fail_at(node, "it is alone");
    for (const NodeIndex peer : view) {
      const std::string name = simulation.name_of(peer).string();
      if (!simulation.is_member(peer)) simulation.fail_at(node, "it lists " + name + ", which is gone");
      if (!std::ranges::binary_search(simulation.neighbours(peer), node))
        simulation.fail_at(node, "it lists " + name + ", but not the other way");
    }
  }
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
