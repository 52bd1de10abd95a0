// A service tested on a simulated cluster: a counter on every node that all nodes add to. Half of the nodes are cut off
// for a while; afterwards they agree again, for each node repeats what it added. Written for docs/simulation.md.
#include <algorithm>
#include <barrel_p2p/sim.hpp>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <vector>

using namespace barrel_p2p;
using namespace std::chrono_literals;

// Each node tells now and then how much it added in all; the count is the sum of what all nodes told.
class Counter {
 public:
  Counter(sim::Cluster& cluster, sim::NodeNumber node) : cluster_(cluster), node_(node) {
    subscription_ = cluster.on_broadcast(node, Atom("counter"), [this](const Term& payload) {
      auto& told = told_[payload[0].as_int64().value_or(-1)];
      told = std::max(told, payload[1].as_int64().value_or(0));
    });
    repeat();
  }
  void add(std::int64_t amount) {
    own_ += amount;
    tell();
  }
  std::int64_t count() const {
    std::int64_t sum = 0;
    for (const auto& [node, told] : told_) sum += told;
    return sum;
  }

 private:
  void tell() { cluster_.broadcast(node_, Atom("counter"), Term::tuple({node_, own_})); }
  void repeat() {
    cluster_.after(node_, 10s, [this] {
      tell();
      repeat();
    });
  }

  sim::Cluster& cluster_;
  sim::NodeNumber node_;
  std::int64_t own_ = 0;
  std::map<std::int64_t, std::int64_t> told_;
  Subscription subscription_;
};

int main() {
  sim::Cluster cluster({.nodes = 20, .seed = 7, .network = {.delay_max = 50ms, .loss = 0.01}});
  std::vector<std::unique_ptr<Counter>> counters;
  for (sim::NodeNumber node = 0; node < cluster.size(); ++node)
    counters.push_back(std::make_unique<Counter>(cluster, node));
  cluster.join_all();
  cluster.run_for(30s);

  cluster.partition({{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}});
  for (auto& counter : counters) counter->add(2);
  cluster.run_for(20s);
  std::cout << "cut in two, the halves count " << counters[0]->count() << " and " << counters[10]->count() << '\n';

  cluster.heal();
  const auto agreed = [&] {
    for (const auto& counter : counters) {
      if (counter->count() != 40) return false;
    }
    return true;
  };
  const bool well = cluster.run_until(agreed, 5min);
  std::cout << "whole again, all " << (well ? "count 40" : "differ") << '\n';
  return well ? 0 : 1;
}
