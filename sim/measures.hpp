// Figures of a simulated cluster: the graph of the active views, and what became of broadcasts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/prng.hpp"
#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// Of members and the edges between them. Percentages are of 0 to 100.
struct GraphFigures {
  std::size_t members = 0;
  std::size_t components = 0;
  std::size_t isolated = 0;        ///< Members without a neighbour that lives.
  double symmetric_percent = 100;  ///< Edges that both ends list.
  double full_percent = 0;         ///< Members whose active view is full.
  double degree_mean = 0;
  double clustering = 0;  ///< Mean of the local coefficients.
  double path_mean = 0;   ///< Of shortest paths from a sample of members, where there is a path.
  std::size_t path_max = 0;
  std::vector<std::size_t> in_degrees;  ///< How many members are listed by 0, 1, 2 ... members.
};

/// `random` chooses the members that paths are measured from.
[[nodiscard]] GraphFigures measure_graph(const Simulation& simulation, Prng& random);

/// Of broadcasts with the numbers [first, end), as far as members of now are concerned.
struct BroadcastFigures {
  std::size_t messages = 0;
  double reliability_mean = 0;  ///< Share of the expected members that got a message, 0 to 1.
  double reliability_min = 1;
  std::size_t missed = 0;  ///< Deliveries that did not happen.
  std::size_t last_hop_max = 0;
  double last_hop_mean = 0;  ///< Mean over messages of the largest hop.
  double redundancy = 0;     ///< Mean of payload messages / (receivers - 1) - 1.
  double announcements = 0;  ///< Per member and message.
  double seconds_mean = 0;   ///< From the sending to the last delivery.
  double seconds_max = 0;
  std::vector<std::size_t> hops;  ///< How many deliveries took 0, 1, 2 ... hops.
};

[[nodiscard]] BroadcastFigures measure_broadcasts(const Simulation& simulation, std::size_t first, std::size_t end);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
