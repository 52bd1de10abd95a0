// A map that all nodes share, tested on a simulated cluster: what the caller was told to be durable survives a crash of
// its node, whoever was cut off meanwhile. Written for docs/simulation.md.
#include <barrel_p2p/sim.hpp>
#include <chrono>
#include <iostream>

using namespace barrel_p2p;
using namespace std::chrono_literals;

int main() {
  sim::Cluster cluster({.nodes = 10, .seed = 3, .services = true});
  const Atom prices("prices");
  MapOptions durable;
  durable.persist = true;
  for (sim::NodeNumber node = 0; node < cluster.size(); ++node) (void)cluster.open_map(node, prices, durable);
  cluster.join_all();
  cluster.run_for(20s);

  // Node 3 alone hears of a new price, and crashes as soon as it is on its disk.
  cluster.partition({{3}});
  (void)cluster.map_put(3, prices, "tea", 4, [&](const Result<void>& result) {
    if (result) cluster.crash(3);
  });
  cluster.run_for(10s);
  cluster.heal();
  std::cout << "node 0 " << (cluster.map_get(0, prices, "tea") ? "knows" : "does not know") << " the price of tea\n";

  cluster.restart(3);
  (void)cluster.open_map(3, prices, durable);
  const auto everywhere = [&] {
    for (sim::NodeNumber node = 0; node < cluster.size(); ++node) {
      if (cluster.map_get(node, prices, "tea") != Term(4)) return false;
    }
    return true;
  };
  const bool well = cluster.run_until(everywhere, 1min);
  std::cout << "node 3 is back, and " << (well ? "all know it" : "it is lost") << '\n';
  return well ? 0 : 1;
}
