// The test kit in a user's own tests: barrel_p2p::sim from the installed tree.
#include <barrel_p2p/sim.hpp>
#include <chrono>
#include <iostream>

int main() {
  using namespace barrel_p2p;
  using namespace std::chrono_literals;
  sim::Cluster cluster({.nodes = 10, .seed = 1});
  std::size_t heard = 0;
  const auto news = cluster.on_broadcast(9, Atom("news"), [&](const Term&) { ++heard; });
  cluster.join_all();
  cluster.run_for(10s);
  cluster.broadcast(0, Atom("news"), "hello");
  const bool well = cluster.run_until([&] { return heard == 1; }, 5s) && cluster.is_connected();
  std::cout << (well ? "heard it\n" : "heard nothing\n");
  return well ? 0 : 1;
}
