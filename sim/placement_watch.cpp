#include "sim/placement_watch.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <tuple>
#include <utility>

#include "sim/service_nodes.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

constexpr SimTime look_period = Milliseconds(100);
constexpr std::size_t no_component = SIZE_MAX;

std::string text_of(SimTime time) {
  return std::to_string(std::chrono::duration_cast<Milliseconds>(time).count()) + " ms";
}

}  // namespace

PlacementWatch::PlacementWatch(Simulation& simulation, PlacementBounds bounds)
    : simulation_(simulation), bounds_(bounds), nodes_(simulation.size()) {
  const std::size_t size = simulation.services()->ring_size();
  nobody_.resize(size);
  for (NodeIndex node = 0; node < nodes_.size(); ++node) {
    const services::NodeScore score(simulation.name_of(node));
    auto& row = scores_.emplace_back();
    for (std::uint32_t partition = 0; partition < size; ++partition) row.push_back(score.of(partition));
    nodes_[node].owned.resize(size);
    for (auto* since : {&nodes_[node].ideal, &nodes_[node].lacking, &nodes_[node].surplus}) since->resize(size);
    nodes_[node].together.resize(nodes_.size());
  }
  simulation_.engine().call_at(simulation_.engine().now(), [this] { look(); });
}

/// It takes part, and may say what it owns.
bool PlacementWatch::counts(NodeIndex node) const {
  return simulation_.is_member(node) && simulation_.services()->machine(node).members().is_member();
}

bool PlacementWatch::are_joined(NodeIndex one, NodeIndex other) const {
  const Engine& engine = simulation_.engine();
  return std::ranges::binary_search(simulation_.neighbours(one), other) &&
         std::ranges::binary_search(simulation_.neighbours(other), one) && engine.is_linked(one, other) &&
         engine.is_linked(other, one) && engine.reaches(one, other) && engine.reaches(other, one);
}

void PlacementWatch::find_components() {
  components_.clear();
  for (auto& node : nodes_) node.component = no_component;
  for (NodeIndex first = 0; first < nodes_.size(); ++first) {
    if (nodes_[first].component != no_component || !counts(first)) continue;
    const std::size_t number = components_.size();
    std::vector<NodeIndex> component{first};
    nodes_[first].component = number;
    for (std::size_t next = 0; next < component.size(); ++next) {
      const NodeIndex node = component[next];
      for (const NodeIndex peer : simulation_.neighbours(node)) {
        if (nodes_[peer].component != no_component || !counts(peer) || !are_joined(node, peer)) continue;
        nodes_[peer].component = number;
        component.push_back(peer);
      }
    }
    components_.push_back(std::move(component));
  }
}

/// What one says the other hears, by a channel that may work in one direction alone.
bool PlacementWatch::hears(NodeIndex node, NodeIndex speaker) const {
  const Engine& engine = simulation_.engine();
  return simulation_.is_running(speaker) && engine.is_linked(speaker, node) && engine.is_linked(node, speaker) &&
         engine.reaches(speaker, node);
}

void PlacementWatch::find_heard() {
  heard_.clear();
  for (const auto& component : components_) {
    std::vector<NodeIndex> heard = component;
    for (std::size_t next = 0; next < heard.size(); ++next) {
      for (NodeIndex node = 0; node < nodes_.size(); ++node) {
        if (std::ranges::find(heard, node) == heard.end() && hears(heard[next], node)) heard.push_back(node);
      }
    }
    heard_.push_back(std::move(heard));
  }
}

/// What the node owns at this moment.
void PlacementWatch::follow(NodeIndex node) {
  Node& known = nodes_[node];
  const ServiceNodes& services = *simulation_.services();
  if (std::exchange(known.life, services.life(node)) != services.life(node)) {
    for (auto* since : {&known.ideal, &known.lacking, &known.surplus}) std::ranges::fill(*since, std::nullopt);
    for (NodeIndex other = 0; other < nodes_.size(); ++other) {
      known.together[other] = nodes_[other].together[node] = std::nullopt;
    }
    known.revision = 0;
  }
  if (!counts(node)) {
    known.revision = 0;
    known.owned.assign(known.owned.size(), false);
    return;
  }
  const auto& machine = services.machine(node);
  const bool lasts = simulation_.local_time(node) <= machine.members().lease_until();
  const std::uint64_t revision = lasts ? machine.placement().revision() : 0;
  if (std::exchange(known.revision, revision) == revision) return;
  auto before =
      std::exchange(known.owned, lasts ? machine.placement().owned_set() : std::vector<bool>(known.owned.size()));
  for (std::size_t partition = 0; partition < before.size(); ++partition) {
    if (before[partition] != known.owned[partition]) ++figures_.moves;
  }
}

NodeIndex PlacementWatch::ideal_owner(const std::vector<NodeIndex>& members, std::size_t partition) const {
  return *std::ranges::max_element(members, {}, [&](NodeIndex node) {
    return std::tuple(scores_[node][partition], simulation_.name_of(node).text());
  });
}

void PlacementWatch::look() {
  const SimTime now = simulation_.engine().now();
  ++figures_.looks;
  for (NodeIndex node = 0; node < nodes_.size(); ++node) follow(node);
  find_components();
  find_heard();
  for (NodeIndex one = 0; one < nodes_.size(); ++one) {
    for (NodeIndex other = 0; other < nodes_.size(); ++other) {
      const bool together = nodes_[one].component != no_component && nodes_[one].component == nodes_[other].component;
      Since& since = nodes_[one].together[other];
      since = together ? Since(since.value_or(now)) : std::nullopt;
    }
  }
  for (std::size_t partition = 0; partition < nobody_.size(); ++partition) {
    std::vector<bool> is_ideal(nodes_.size());
    bool owned = components_.empty();
    for (const auto& component : components_) {
      const NodeIndex ideal = ideal_owner(component, partition);
      is_ideal[ideal] = true;
      nodes_[ideal].ideal[partition] = nodes_[ideal].ideal[partition].value_or(now);
      check(ideal, partition);
      owned = owned || std::ranges::any_of(component, [&](NodeIndex node) { return nodes_[node].owned[partition]; });
    }
    for (NodeIndex node = 0; node < nodes_.size(); ++node) {
      Node& known = nodes_[node];
      if (is_ideal[node]) {
        known.surplus[partition] = std::nullopt;
      } else {
        known.ideal[partition] = known.lacking[partition] = std::nullopt;
        if (!known.owned[partition]) known.surplus[partition] = std::nullopt;
      }
    }
    nobody_[partition] = owned ? std::nullopt : Since(nobody_[partition].value_or(now));
    if (!owned) figures_.gap = std::max(figures_.gap, now - *nobody_[partition]);
  }
  simulation_.engine().call_at(now + look_period, [this] { look(); });
}

void PlacementWatch::check(NodeIndex owner, std::size_t partition) {
  const SimTime now = simulation_.engine().now();
  Node& ideal = nodes_[owner];
  Since& since = ideal.lacking[partition];
  // While the component hears of a better one its lease lasts.
  const bool waits = ideal_owner(heard_[ideal.component], partition) != owner;
  since = ideal.owned[partition] || waits ? std::nullopt : Since(since.value_or(now));
  if (since) {
    figures_.unowned = std::max(figures_.unowned, now - *since);
    if (now - *since > bounds_.unowned_max) {
      simulation_.fail_at(owner, "partition " + std::to_string(partition) + " has been its own for " +
                                     text_of(now - *since) + ", but it does not own it");
    }
  }
  check_others(owner, partition);
}

void PlacementWatch::check_others(NodeIndex owner, std::size_t partition) {
  const SimTime now = simulation_.engine().now();
  for (const NodeIndex other : components_[nodes_[owner].component]) {
    if (other == owner || !nodes_[other].owned[partition]) continue;
    Since& surplus = nodes_[other].surplus[partition];
    surplus = surplus.value_or(now);
    const SimTime since = std::max({*surplus, *nodes_[owner].ideal[partition], *nodes_[owner].together[other]});
    figures_.shared = std::max(figures_.shared, now - since);
    if (now - since > bounds_.shared_max) {
      simulation_.fail_at(other, "it owns partition " + std::to_string(partition) + ", which has been that of " +
                                     simulation_.name_of(owner).string() + " for " + text_of(now - since));
    }
  }
}

void PlacementWatch::check_agreement() const {
  const auto members = simulation_.members();
  if (members.empty()) return;
  for (std::uint32_t partition = 0; partition < nobody_.size(); ++partition) {
    const NodeIndex ideal = ideal_owner(members, partition);
    for (const NodeIndex node : members) {
      const auto& placement = simulation_.services()->machine(node).placement();
      const Atom* const owner = placement.owner(partition);
      const std::string named = owner == nullptr ? "nobody" : owner->string();
      if (named != simulation_.name_of(ideal).text()) {
        simulation_.fail_at(node, "it takes " + named + " for the owner of partition " + std::to_string(partition) +
                                      ", which is " + simulation_.name_of(ideal).string());
      }
      if (placement.owns(partition) != (node == ideal)) {
        simulation_.fail_at(node, "it is in doubt whether it owns partition " + std::to_string(partition));
      }
    }
  }
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
