// Many Plumtree machines on a graph whose channels are slow, full, and break.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "base/prng.hpp"
#include "overlay/plumtree.hpp"

namespace barrel_p2p::overlay {
namespace {

using Edge = std::pair<std::size_t, std::size_t>;

bool is_connected(std::size_t nodes, const std::set<Edge>& edges) {
  std::vector<std::size_t> root(nodes);
  std::iota(root.begin(), root.end(), 0U);
  const auto find = [&](std::size_t node) {
    while (root[node] != node) node = root[node];
    return node;
  };
  for (const auto& [left, right] : edges) root[find(left)] = find(right);
  return std::ranges::all_of(root, [&](std::size_t node) { return find(node) == find(0); });
}

/// A tree with further edges.
std::set<Edge> random_graph(std::size_t nodes, std::size_t further, Prng& random) {
  std::set<Edge> edges;
  for (std::size_t node = 1; node < nodes; ++node) edges.emplace(random.below(node), node);
  for (std::size_t count = 0; count < further; ++count) {
    const auto left = random.below(nodes);
    const auto right = random.below(nodes);
    if (left != right) edges.emplace(std::min(left, right), std::max(left, right));
  }
  return edges;
}

class World {
 public:
  /// The first `natives` nodes are C++ nodes; the others neither count rounds nor take batches. `refused`: how likely
  /// it is that a push does not fit into the queue.
  World(std::size_t nodes, std::size_t natives, std::set<Edge> edges, std::uint64_t seed, Milliseconds delay_max,
        double refused = 0)
      : edges_(std::move(edges)), random_(seed), delay_max_(delay_max), refused_(refused), delivered_(nodes) {
    for (std::size_t node = 0; node < nodes; ++node) {
      names_.emplace_back("n" + std::to_string(node));
      PlumtreeConfig config;
      config.seed = random_.next();
      machines_.emplace_back(config, now);
    }
    for (const auto& [left, right] : edges_) {
      for (const auto& [own, other] : {Edge(left, right), Edge(right, left)}) {
        if (own < natives && other < natives) machines_[own].set_native(names_[other], now);
        machines_[own].peer_up(names_[other], NewPeer::eager, now, effects_);
      }
    }
  }

  void broadcast(std::size_t node, int id) {
    machines_[node].broadcast(id % 2 == 0 ? Atom("tag") : Atom("barrel_p2p_replica"), id, id, now, effects_);
    absorb(node);
  }

  /// Breaks a random channel without which the graph is still connected.
  void cut_one() {
    const auto chosen = std::next(edges_.begin(), static_cast<std::ptrdiff_t>(random_.below(edges_.size())));
    auto rest = edges_;
    rest.erase(*chosen);
    if (!is_connected(machines_.size(), rest)) return;
    const auto [left, right] = *chosen;
    edges_ = std::move(rest);
    for (const auto& [own, other] : {Edge(left, right), Edge(right, left)}) {
      machines_[own].peer_down(names_[other]);
      machines_[own].link_down(names_[other]);
    }
  }

  void pass(Milliseconds duration) {
    const auto end = now + duration;
    for (;;) {
      auto next = events_.empty() ? end : std::min(end, std::get<0>(events_.begin()->first));
      for (auto& machine : machines_) {
        if (const auto deadline = machine.deadline()) next = std::min(next, *deadline);
      }
      if (next >= end) break;
      now = std::max(now, next);
      step();
    }
    now = end;
  }

  [[nodiscard]] std::size_t deliveries(std::size_t node, int id) const {
    const auto found = delivered_[node].find(id);
    return found == delivered_[node].end() ? 0 : found->second;
  }
  [[nodiscard]] std::uint64_t pushes() const {
    std::uint64_t sum = 0;
    for (const auto& machine : machines_) sum += machine.counters().gossip_sent;
    return sum;
  }
  [[nodiscard]] std::size_t size() const { return machines_.size(); }
  [[nodiscard]] std::uint64_t fingerprint() const { return fingerprint_; }

  MonotonicTime now{std::chrono::hours(1)};

 private:
  struct Event {
    std::size_t from = 0;
    std::size_t to = 0;
    PlumtreeMessage message;
  };

  void step() {
    while (!events_.empty() && std::get<0>(events_.begin()->first) <= now) {
      const auto event = std::move(events_.extract(events_.begin()).mapped());
      if (!edges_.contains({std::min(event.from, event.to), std::max(event.from, event.to)})) continue;
      machines_[event.to].receive(names_[event.from], event.message, now, effects_);
      absorb(event.to);
    }
    for (std::size_t node = 0; node < machines_.size(); ++node) {
      const auto deadline = machines_[node].deadline();
      if (!deadline || *deadline > now) continue;
      machines_[node].tick(now, effects_);
      absorb(node);
    }
  }

  void absorb(std::size_t node) {
    for (auto& effect : effects_) {
      if (const auto* deliver = std::get_if<PlumtreeDeliver>(&effect)) {
        ++delivered_[node][static_cast<int>(*deliver->payload.as_int64())];
        note(node, 4, static_cast<std::size_t>(*deliver->payload.as_int64()));
        continue;
      }
      if (std::holds_alternative<PlumtreeLost>(effect)) continue;
      auto& send = std::get<PlumtreeSend>(effect);
      const auto to = static_cast<std::size_t>(std::ranges::find(names_, send.to) - names_.begin());
      note(node, send.message.index(), to);
      if (const auto* gossip = std::get_if<Gossip>(&send.message); gossip != nullptr && random_.chance(refused_)) {
        machines_[node].push_refused(send.to, gossip->id, now);
        continue;
      }
      // Channels keep the order of messages.
      auto& last = last_arrival_[{node, to}];
      const auto delay = Milliseconds(1 + random_.below(static_cast<std::size_t>(delay_max_.count())));
      last = std::max(last, now + delay);
      events_.emplace(std::tuple(last, ++count_), Event{node, to, std::move(send.message)});
    }
    effects_.clear();
  }

  void note(std::size_t node, std::size_t kind, std::size_t value) {
    const auto time = static_cast<std::uint64_t>(now.time_since_epoch().count());
    fingerprint_ = Prng(fingerprint_ ^ time ^ (node << 40U) ^ (kind << 32U) ^ value).next();
  }

  std::set<Edge> edges_;
  Prng random_;
  Milliseconds delay_max_;
  double refused_;
  std::vector<Atom> names_;
  std::vector<Plumtree> machines_;
  std::vector<std::map<int, std::size_t>> delivered_;
  std::map<std::tuple<MonotonicTime, std::uint64_t>, Event> events_;
  std::map<Edge, MonotonicTime> last_arrival_;
  std::uint64_t count_ = 0;
  std::uint64_t fingerprint_ = 0;
  PlumtreeEffects effects_;
};

constexpr int messages = 12;

/// Broadcasts from random nodes at random times, while channels break and are full.
World random_life(std::uint64_t seed, std::size_t nodes, std::size_t natives, std::size_t cuts, double refused) {
  Prng random(seed);
  const auto delay_max = Milliseconds(1 + random.below(400));
  World world(nodes, natives, random_graph(nodes, nodes + cuts, random), seed, delay_max, refused);
  for (int id = 0; id < messages; ++id) {
    world.broadcast(random.below(nodes), id);
    world.pass(Milliseconds(random.below(1000)));
    for (std::size_t cut = random.below(1 + 2 * cuts / messages); cut > 0; --cut) world.cut_one();
    world.pass(Milliseconds(random.below(1000)));
  }
  world.pass(Milliseconds(30'000));
  return world;
}

RC_GTEST_PROP(PlumtreeProperty, every_message_comes_to_every_node_exactly_once, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto nodes = *rc::gen::inRange<std::size_t>(5, 41);
  const auto natives = *rc::gen::elementOf(std::vector<std::size_t>{0, nodes / 2, nodes});
  const auto cuts = *rc::gen::elementOf(std::vector<std::size_t>{0, nodes});
  const auto refused = *rc::gen::elementOf(std::vector<double>{0, 0.2});
  const auto world = random_life(seed, nodes, natives, cuts, refused);
  for (std::size_t node = 0; node < world.size(); ++node) {
    for (int id = 0; id < messages; ++id) RC_ASSERT(world.deliveries(node, id) == 1U);
  }
}

RC_GTEST_PROP(PlumtreeProperty, the_seed_repeats_a_run_to_the_bit, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto first = random_life(seed, 20, 15, 10, 0.1);
  // Other addresses: the atoms of the first world are kept alive, further ones come and go in between.
  std::vector<Atom> further;
  for (int count = 0; count < 1000; ++count) further.emplace_back("further" + std::to_string(count));
  RC_ASSERT(random_life(seed, 20, 15, 10, 0.1).fingerprint() == first.fingerprint());
}

TEST(PlumtreeTree, carries_a_message_once_to_each_node_when_it_has_settled) {
  for (const std::size_t natives : {std::size_t{0}, std::size_t{40}}) {
    Prng random(7);
    World world(40, natives, random_graph(40, 60, random), 7, Milliseconds(10));
    for (int id = 0; id < 20; ++id) {
      world.broadcast(random.below(40), id);
      world.pass(Milliseconds(5'000));
    }
    const auto before = world.pushes();
    for (int id = 20; id < 30; ++id) {
      world.broadcast(random.below(40), id);
      world.pass(Milliseconds(5'000));
    }
    EXPECT_EQ(world.pushes() - before, 10U * 39U);
  }
}

}  // namespace
}  // namespace barrel_p2p::overlay
