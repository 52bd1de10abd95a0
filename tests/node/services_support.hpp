// What tests of services and maps wait for.
#pragma once

#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "node/membership_support.hpp"

namespace barrel_p2p::test {

/// What a node's registry told: `registered kv a@127.0.0.1`, `down kv a@127.0.0.1 killed`, ...
class ServiceLog : public Lines {
 public:
  explicit ServiceLog(Node& node)
      : subscription_(node.subscribe_services([this](const ServiceEvent& event) { add(text(event)); })) {}

 private:
  static std::string text(const ServiceEvent& event) {
    const std::string about = " " + std::string(event.name.text()) + " " + event.node.string();
    switch (event.kind) {
      case ServiceEvent::Kind::registered: return "registered" + about;
      case ServiceEvent::Kind::unregistered: return "unregistered" + about;
      case ServiceEvent::Kind::down: return "down" + about + " " + to_text(event.reason);
      case ServiceEvent::Kind::node_lost: return "lost" + about;
      case ServiceEvent::Kind::node_back: return "back" + about;
    }
    return "";
  }
  Subscription subscription_;  ///< The first to go.
};

/// What happened to a map: `put limit 100`, `remove limit`.
class MapLog : public Lines {
 public:
  MapLog(Node& node, const Atom& map)
      : subscription_(node.subscribe_map(map, [this](const MapEvent& event) {
          const bool put = event.kind == MapEvent::Kind::put;
          add(put ? "put " + to_text(event.key) + " " + to_text(event.value) : "remove " + to_text(event.key));
        })) {
    if (!subscription_) throw std::runtime_error(subscription_.error().message());
  }

 private:
  Result<Subscription> subscription_;  ///< The first to go.
};

/// A process that does nothing until it is told to end.
inline Pid spawn_idle(Node& node) {
  return node.spawn([](Process& self) -> Task<> {
    for (;;) (void)co_await self.receive();
  });
}

/// `count` nodes n0, n1, ... that are neighbours or know each other.
inline std::vector<Node*> start_cluster(Cluster& cluster, int count, const Cluster::Change& change = {}) {
  std::vector<Node*> nodes;
  for (int index = 0; index < count; ++index) {
    nodes.push_back(&cluster.start("n" + std::to_string(index), change));
    if (index > 0 && !nodes.back()->join(nodes.front()->name())) throw std::runtime_error("cannot join");
  }
  const auto all_known = [&] {
    return std::ranges::all_of(nodes, [&](Node* node) { return node->members().size() == nodes.size(); });
  };
  // A join is tried once: on a machine that stood still meanwhile it may have come to nothing.
  constexpr std::chrono::seconds try_again{5};
  auto next_try = std::chrono::steady_clock::now() + try_again;
  const auto formed = [&] {
    if (std::chrono::steady_clock::now() > next_try) {
      next_try += try_again;
      for (Node* node : nodes) {
        if (node != nodes.front() && node->active_view().empty()) std::ignore = node->join(nodes.front()->name());
      }
    }
    return one_component(nodes) && all_known();
  };
  if (!eventually(nodes, formed)) throw std::runtime_error("no cluster forms");
  return nodes;
}

/// Leases of a test that kills nodes: short, so that their end comes soon, and long enough that a node which waits for
/// its turn on a busy machine does not lose them.
inline void short_leases(NodeConfig& config) {
  config.replication.heartbeat = std::chrono::milliseconds(500);
  config.replication.lease = std::chrono::milliseconds(3000);
}

/// Leases that outlast any test: whoever is missed was missed because it said goodbye.
inline void long_leases(NodeConfig& config) { config.replication.lease = 2 * patience; }

}  // namespace barrel_p2p::test
