#include "sim/measures.hpp"

#include <algorithm>
#include <limits>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

using Adjacency = std::vector<std::vector<NodeIndex>>;
constexpr std::size_t path_sources_max = 100;
constexpr std::uint32_t unreached = std::numeric_limits<std::uint32_t>::max();

double ratio(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

/// Both directions of every edge between members, sorted.
Adjacency undirected(const Simulation& simulation, const std::vector<NodeIndex>& members) {
  Adjacency edges(simulation.size());
  for (const NodeIndex node : members) {
    for (const NodeIndex peer : simulation.neighbours(node)) {
      if (!simulation.is_member(peer)) continue;
      edges[node].push_back(peer);
      edges[peer].push_back(node);
    }
  }
  for (auto& list : edges) {
    std::ranges::sort(list);
    const auto rest = std::ranges::unique(list);
    list.erase(rest.begin(), rest.end());
  }
  return edges;
}

/// Hops from the source, breadth first.
std::vector<std::uint32_t> distances(const Adjacency& edges, NodeIndex source) {
  std::vector<std::uint32_t> hops(edges.size(), unreached);
  std::vector<NodeIndex> queue{source};
  hops[source] = 0;
  for (std::size_t at = 0; at < queue.size(); ++at) {
    for (const NodeIndex peer : edges[queue[at]]) {
      if (hops[peer] != unreached) continue;
      hops[peer] = hops[queue[at]] + 1;
      queue.push_back(peer);
    }
  }
  return hops;
}

std::size_t count_components(const Adjacency& edges, const std::vector<NodeIndex>& members) {
  std::vector<bool> seen(edges.size());
  std::size_t count = 0;
  std::vector<NodeIndex> stack;
  for (const NodeIndex start : members) {
    if (seen[start]) continue;
    ++count;
    seen[start] = true;
    stack.push_back(start);
    while (!stack.empty()) {
      const NodeIndex node = stack.back();
      stack.pop_back();
      for (const NodeIndex peer : edges[node]) {
        if (!seen[peer]) stack.push_back(peer);
        seen[peer] = true;
      }
    }
  }
  return count;
}

double clustering_of(const Adjacency& edges, const std::vector<NodeIndex>& members) {
  double sum = 0;
  for (const NodeIndex node : members) {
    const auto& list = edges[node];
    if (list.size() < 2) continue;
    std::size_t closed = 0;
    for (std::size_t left = 0; left < list.size(); ++left) {
      for (std::size_t right = left + 1; right < list.size(); ++right) {
        if (std::ranges::binary_search(edges[list[left]], list[right])) ++closed;
      }
    }
    sum += ratio(2 * closed, list.size() * (list.size() - 1));
  }
  return members.empty() ? 0 : sum / static_cast<double>(members.size());
}

void measure_paths(const Adjacency& edges, std::vector<NodeIndex> sources, Prng& random, GraphFigures& figures) {
  random.shuffle(sources);
  sources.resize(std::min(sources.size(), path_sources_max));
  std::size_t sum = 0;
  std::size_t count = 0;
  for (const NodeIndex source : sources) {
    for (const std::uint32_t hops : distances(edges, source)) {
      if (hops == 0 || hops == unreached) continue;
      sum += hops;
      ++count;
      figures.path_max = std::max<std::size_t>(figures.path_max, hops);
    }
  }
  figures.path_mean = ratio(sum, count);
}

void count_up(std::vector<std::size_t>& histogram, std::size_t value) {
  if (histogram.size() <= value) histogram.resize(value + 1);
  ++histogram[value];
}

}  // namespace

GraphFigures measure_graph(const Simulation& simulation, Prng& random) {
  GraphFigures figures;
  const auto members = simulation.members();
  const Adjacency edges = undirected(simulation, members);
  std::vector<std::size_t> listed(simulation.size());
  std::size_t directed = 0;
  std::size_t mutual = 0;
  std::size_t full = 0;
  for (const NodeIndex node : members) {
    const auto& view = simulation.neighbours(node);
    if (view.size() == simulation.config().overlay.hyparview.active_size) ++full;
    if (edges[node].empty()) ++figures.isolated;
    for (const NodeIndex peer : view) {
      if (!simulation.is_member(peer)) continue;
      ++directed;
      ++listed[peer];
      if (std::ranges::binary_search(simulation.neighbours(peer), node)) ++mutual;
    }
  }
  for (const NodeIndex node : members) count_up(figures.in_degrees, listed[node]);
  figures.members = members.size();
  figures.components = count_components(edges, members);
  figures.symmetric_percent = directed == 0 ? 100 : 100 * ratio(mutual, directed);
  figures.full_percent = 100 * ratio(full, members.size());
  figures.degree_mean = ratio(directed, members.size());
  figures.clustering = clustering_of(edges, members);
  measure_paths(edges, members, random, figures);
  return figures;
}

BroadcastFigures measure_broadcasts(const Simulation& simulation, std::size_t first, std::size_t end) {
  BroadcastFigures figures;
  figures.messages = end - first;
  const auto members = simulation.members();
  for (std::size_t number = first; number < end; ++number) {
    const BroadcastRecord& record = simulation.broadcasts()[number];
    std::size_t expected = 0;
    std::size_t got = 0;
    std::size_t last_hop = 0;
    for (const NodeIndex node : members) {
      if (!simulation.is_expected(node, record)) continue;
      ++expected;
      const std::uint8_t hop = record.hops[node];
      if (hop == BroadcastRecord::not_delivered) continue;
      ++got;
      last_hop = std::max<std::size_t>(last_hop, hop);
      count_up(figures.hops, hop);
    }
    const double share = expected == 0 ? 1 : ratio(got, expected);
    const double seconds = std::chrono::duration<double>(record.last_delivery - record.sent).count();
    figures.reliability_mean += share;
    figures.reliability_min = std::min(figures.reliability_min, share);
    figures.missed += expected - got;
    figures.last_hop_max = std::max(figures.last_hop_max, last_hop);
    figures.last_hop_mean += static_cast<double>(last_hop);
    if (record.delivered > 1) figures.redundancy += ratio(record.payloads, record.delivered - 1) - 1;
    figures.announcements += ratio(record.announcements, expected);
    figures.seconds_mean += seconds;
    figures.seconds_max = std::max(figures.seconds_max, seconds);
  }
  if (end == first) return figures;
  const auto count = static_cast<double>(end - first);
  for (double* sum : {&figures.reliability_mean, &figures.last_hop_mean, &figures.redundancy, &figures.announcements,
                      &figures.seconds_mean})
    *sum /= count;
  return figures;
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
