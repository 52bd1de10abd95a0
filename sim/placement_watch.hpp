// Looks at the owners of all partitions ten times a second of simulated time, whatever happens to the nodes.
//
// A component is a set of members that gossip reaches from each other: neighbours on both sides, with channels that
// work both ways. In each component each partition has an ideal owner, computed here from the names alone. What must
// hold:
//
//   owned    nobody is the ideal owner for `unowned_max` without owning it: it ended the leases of those before it. The
//            time counts while none of those is heard, also over channels that work in one direction.
//   alone    nobody owns what is another's, in one component with that ideal owner, for `shared_max`: it heard of it.
//   agreed   when all is calm all members name the same owner, and it alone owns.
//
// A node owns what `Node::is_owner` would say at this moment: its placement says so, and its lease lasts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "services/placement.hpp"
#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

struct PlacementBounds {
  SimTime unowned_max{};
  SimTime shared_max{};
};

struct PlacementFigures {
  std::size_t looks = 0;
  std::uint64_t moves = 0;  ///< Partitions that were acquired or released by somebody.
  SimTime unowned{};        ///< The longest time that an ideal owner did not own.
  SimTime shared{};         ///< The longest time that another one owned as well.
  SimTime gap{};            ///< The longest time that nobody at all owned a partition.
};

class PlacementWatch {
 public:
  /// The simulation, in which all nodes must have been added, must outlive it. Looks from now on.
  PlacementWatch(Simulation& simulation, PlacementBounds bounds);
  ~PlacementWatch() = default;
  PlacementWatch(const PlacementWatch&) = delete;
  PlacementWatch& operator=(const PlacementWatch&) = delete;

  /// All is calm.
  void check_agreement() const;
  [[nodiscard]] const PlacementFigures& figures() const noexcept { return figures_; }

 private:
  using Since = std::optional<SimTime>;
  struct Node {
    std::uint64_t life = 0;
    std::uint64_t revision = 0;
    std::vector<bool> owned;
    std::vector<Since> ideal;     ///< Since when, by partition.
    std::vector<Since> lacking;   ///< Ideal, but without owning it.
    std::vector<Since> surplus;   ///< Owned, but another's.
    std::vector<Since> together;  ///< Since when in one component, by node.
    std::size_t component = 0;
  };

  void look();
  [[nodiscard]] bool counts(NodeIndex node) const;
  [[nodiscard]] bool are_joined(NodeIndex one, NodeIndex other) const;
  [[nodiscard]] bool hears(NodeIndex node, NodeIndex speaker) const;
  void find_components();
  void find_heard();
  void follow(NodeIndex node);
  void check(NodeIndex owner, std::size_t partition);
  void check_others(NodeIndex owner, std::size_t partition);
  [[nodiscard]] NodeIndex ideal_owner(const std::vector<NodeIndex>& members, std::size_t partition) const;

  Simulation& simulation_;
  const PlacementBounds bounds_;
  std::vector<std::vector<std::uint32_t>> scores_;  ///< By node and partition.
  std::vector<Node> nodes_;
  std::vector<std::vector<NodeIndex>> components_;
  std::vector<std::vector<NodeIndex>> heard_;  ///< By component: its members and those outside whom it hears.
  std::vector<Since> nobody_;                  ///< Since when nobody owns it, by partition.
  PlacementFigures figures_;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
