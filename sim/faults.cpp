#include "sim/faults.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>
#include <vector>

#include "sim/invariants.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

constexpr SimTime pause_max = Milliseconds(20'000);
constexpr SimTime between_faults = Milliseconds(4'000);  ///< At most.
constexpr SimTime broadcast_wait = Milliseconds(20'000);
constexpr std::size_t checked_broadcasts = 5;

/// The contacts of every node are the first ones: two, so that each has one that is not itself.
constexpr NodeIndex contacts = 2;

std::vector<NodeIndex> contacts_of(bool bootstrap) {
  std::vector<NodeIndex> nodes(bootstrap ? contacts : 0);
  std::iota(nodes.begin(), nodes.end(), NodeIndex{0});
  return nodes;
}

/// One round of troubles and what follows.
class Chaos {
 public:
  Chaos(Simulation& simulation, const ChaosStep& step, Prng& random, Workload* workload, Campaigns* campaigns,
        const PlacementWatch* placement)
      : simulation_(simulation),
        step_(step),
        random_(random),
        workload_(workload),
        campaigns_(campaigns),
        placement_(placement) {}

  void round(std::size_t number) {
    using Shape = PartitionStep::Shape;
    constexpr std::array<PartitionStep, 6> cuts{{{Shape::split, 2},
                                                 {Shape::split, 3},
                                                 {Shape::chain, 3},
                                                 {Shape::one_way, 2},
                                                 {Shape::chain, 5},
                                                 {Shape::outage, 2}}};
    const std::size_t cut = (first_cut_ + number) % (cuts.size() + 1);
    const bool outage = cut < cuts.size() && cuts[cut].shape == Shape::outage;
    if (workload_ != nullptr) workload_->begin();
    if (campaigns_ != nullptr) campaigns_->begin();
    if (cut < cuts.size()) partition(simulation_, cuts[cut], random_);
    trouble(outage ? step_.outage : step_.trouble);
    recover();
    if (workload_ != nullptr) workload_->stop();
    if (campaigns_ != nullptr) campaigns_->stop();
    if (workload_ != nullptr || campaigns_ != nullptr) lose_some();
    simulation_.run_for(step_.calm);
    const std::size_t first = simulation_.broadcasts().size();
    for (std::size_t sent = 0; sent < checked_broadcasts; ++sent) {
      broadcast();
      simulation_.run_for(uniform(random_, std::chrono::seconds(2)));
    }
    simulation_.run_for(broadcast_wait);
    check_quiescent(simulation_, first);
    if (workload_ != nullptr) workload_->check();
    if (campaigns_ != nullptr) campaigns_->check();
    if (placement_ != nullptr) placement_->check_agreement();
  }

 private:
  [[nodiscard]] NodeIndex any() { return static_cast<NodeIndex>(random_.below(simulation_.size())); }

  void trouble(SimTime span) {
    const SimTime end = simulation_.engine().now() + span;
    while (simulation_.engine().now() < end) {
      simulation_.run_for(uniform(random_, between_faults));
      one_fault();
    }
  }

  void one_fault() {
    const NodeIndex node = any();
    const bool running = simulation_.is_running(node);
    const bool enough = 2 * simulation_.members().size() > simulation_.size();
    switch (random_.below(6)) {
      case 0:
        if (enough && simulation_.engine().is_alive(node)) simulation_.crash(node);
        return;
      case 1:
        if (enough && simulation_.engine().is_alive(node)) simulation_.stop(node);
        return;
      case 2:
        if (!simulation_.engine().is_alive(node))
          simulation_.start(node, contacts_of(true), random_.chance(1 - step_.forget));
        return;
      case 3:
        if (running) pause_for(node, uniform(random_, pause_max));
        return;
      case 4:
        if (!running) return;
        simulation_.is_member(node) ? simulation_.leave(node) : simulation_.join(node, other_than(node));
        return;
      default: return broadcast();
    }
  }

  void pause_for(NodeIndex node, SimTime span) {
    simulation_.pause(node);
    simulation_.engine().call_at(simulation_.engine().now() + span, [this, node] { simulation_.resume(node); });
  }

  [[nodiscard]] NodeIndex other_than(NodeIndex node) {
    const NodeIndex other = any();
    return other != node ? other : static_cast<NodeIndex>((node + 1) % simulation_.size());
  }

  void broadcast() {
    const auto members = simulation_.members();
    if (members.empty()) return;
    simulation_.broadcast(members[random_.below(members.size())], Atom("chaos"), simulation_.broadcasts().size());
  }

  void recover() {
    simulation_.engine().heal();
    // Pauses end by themselves; only then is everybody there to be started or to join.
    simulation_.run_for(pause_max);
    restart_all(simulation_, RestartStep{});
    for (NodeIndex node = 0; node < simulation_.size(); ++node) {
      if (!simulation_.is_member(node)) simulation_.join(node, other_than(node));
    }
  }

  /// Some nodes stay away over the calm: nothing of theirs may be left. The contacts stay: who left has forgotten the
  /// others, and would know nobody without them.
  void lose_some() {
    constexpr std::size_t one_in = 30;
    for (std::size_t count = 1 + simulation_.size() / one_in; count > 0; --count) {
      const NodeIndex node = any();
      if (node >= contacts && simulation_.engine().is_alive(node)) simulation_.crash(node);
    }
  }

  Simulation& simulation_;
  const ChaosStep& step_;
  Prng& random_;
  Workload* workload_;
  Campaigns* campaigns_;
  const PlacementWatch* placement_;
  std::size_t first_cut_ = random_.below(7);
};

}  // namespace

void partition(Simulation& simulation, const PartitionStep& step, Prng& random) {
  using Shape = PartitionStep::Shape;
  const std::size_t parts = step.shape == Shape::one_way ? 2 : step.shape == Shape::outage ? 1 : step.parts;
  std::vector<std::uint16_t> groups(simulation.size());
  for (std::size_t node = 0; node < groups.size(); ++node) groups[node] = static_cast<std::uint16_t>(node % parts);
  random.shuffle(groups);
  std::vector<bool> reach(parts * parts);
  for (std::size_t from = 0; from < parts; ++from) {
    for (std::size_t to = 0; to < parts; ++to) {
      const bool near = from + 1 == to || to + 1 == from;
      switch (step.shape) {
        case Shape::split: reach[from * parts + to] = from == to; break;
        case Shape::chain: reach[from * parts + to] = from == to || near; break;
        case Shape::one_way: reach[from * parts + to] = from <= to; break;
        case Shape::outage: break;
      }
    }
  }
  simulation.engine().set_reachability(std::move(groups), std::move(reach));
}

void restart_all(Simulation& simulation, const RestartStep& step) {
  SimTime at = simulation.engine().now();
  for (NodeIndex node = 0; node < simulation.size(); ++node) {
    if (simulation.engine().is_alive(node) || !simulation.has_run(node)) continue;
    const auto start = [&simulation, node, step] {
      if (!simulation.engine().is_alive(node)) simulation.start(node, contacts_of(step.bootstrap), step.remember);
    };
    at == simulation.engine().now() ? start() : simulation.engine().call_at(at, start);
    at += step.interval;
  }
}

void run_chaos(Simulation& simulation, const ChaosStep& step, Prng& random, Workload* workload, Campaigns* campaigns,
               const PlacementWatch* placement) {
  Chaos chaos(simulation, step, random, workload, campaigns, placement);
  for (std::size_t number = 0; number < step.rounds; ++number) chaos.round(number);
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
