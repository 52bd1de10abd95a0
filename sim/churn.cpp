#include "sim/churn.hpp"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

constexpr std::size_t samples_wanted = 30;
constexpr std::size_t keys_kept = 100;  ///< In the map at a time; older ones are removed.
constexpr std::size_t puts_of_one = 5;
constexpr std::size_t services_of_one = 2;
constexpr SimTime settling = std::chrono::seconds(2);

class Churn {
 public:
  Churn(Simulation& simulation, const ChurnStep& step, Prng& random)
      : simulation_(simulation), services_(*simulation.services()), step_(step), random_(random) {
    options_.persist = true;
    for (const NodeIndex node : simulation.members()) {
      open(node);
      stable_.push_back(node);
    }
  }

  std::vector<SizeSample> run() {
    const Engine& engine = simulation_.engine();
    const SimTime end = engine.now() + step_.span;
    const SimTime distance = step_.span / samples_wanted;
    SimTime next_sample = engine.now() + distance;
    while (engine.now() < end) {
      simulation_.run_for(step_.interval);
      bring_one();
      while (keys_.size() > keys_kept) {
        const NodeIndex node = stable();
        accept(node, services_.remove(node, map_, Term(keys_.front()), nullptr));
        keys_.pop_front();
      }
      if (engine.now() < next_sample) continue;
      next_sample += distance;
      samples_.push_back(sample());
    }
    check();
    return std::move(samples_);
  }

 private:
  NodeIndex stable() { return stable_[random_.below(stable_.size())]; }
  void accept(NodeIndex node, const Result<void>& result) const {
    if (!result) simulation_.fail_at(node, "a call failed: " + result.error().message());
  }
  void open(NodeIndex node) { accept(node, services_.open_map(node, map_, options_)); }

  /// A node with a new name; once it has settled it registers and writes, and later it ends.
  void bring_one() {
    Engine& engine = simulation_.engine();
    const NodeIndex node = simulation_.add_node();
    simulation_.start(node, {stable(), stable()});
    open(node);
    engine.call_at(engine.now() + settling, [this, node] {
      for (std::size_t count = 0; count < services_of_one; ++count) {
        const ServiceName name = ServiceName::binary(std::to_string(++last_name_));
        accept(node, services_.register_service(node, name, services_.spawn(node), Term::map({}), {}, nullptr));
      }
      for (std::size_t count = 0; count < puts_of_one; ++count) {
        keys_.push_back(++last_key_);
        accept(node, services_.put(node, map_, Term(last_key_), Term("value"), nullptr));
      }
    });
    const bool gently = random_.chance(0.5);
    engine.call_at(engine.now() + settling + step_.life,
                   [this, node, gently] { gently ? simulation_.stop(node) : simulation_.crash(node); });
  }

  [[nodiscard]] SizeSample sample() const {
    SizeSample found{.when = simulation_.engine().now(), .names_so_far = simulation_.size()};
    for (const NodeIndex node : stable_) {
      const auto& machine = services_.machine(node);
      found.registry_entries = std::max(found.registry_entries, machine.registry().map().size());
      found.map_entries = std::max(found.map_entries, machine.maps().find(map_)->size());
      found.disk_entries = std::max(found.disk_entries, services_.disk(node).entries());
      found.nodes_remembered = std::max(found.nodes_remembered, machine.members().known());
    }
    return found;
  }

  void check() const {
    const std::size_t third = samples_.size() / 3;
    const auto is_flat = [&](std::size_t SizeSample::* size, const char* what) {
      const auto largest = [&](std::size_t first, std::size_t last) {
        std::size_t found = 0;
        for (std::size_t at = first; at < last; ++at) found = std::max(found, samples_[at].*size);
        return found;
      };
      const std::size_t before = largest(third, 2 * third);
      const std::size_t now = largest(2 * third, samples_.size());
      if (now <= before + before / 2) return;
      simulation_.fail_at(stable_[0],
                          std::string(what) + " grow: " + std::to_string(before) + ", later " + std::to_string(now));
    };
    is_flat(&SizeSample::registry_entries, "its registry's entries");
    is_flat(&SizeSample::map_entries, "its map's entries");
    is_flat(&SizeSample::disk_entries, "the entries on its disk");
    is_flat(&SizeSample::nodes_remembered, "the nodes that it remembers");
  }

  Simulation& simulation_;
  ServiceNodes& services_;
  const ChurnStep& step_;
  Prng& random_;
  const Atom map_{"churn"};
  MapOptions options_;
  std::vector<NodeIndex> stable_;
  std::vector<SizeSample> samples_;
  std::deque<std::uint64_t> keys_;
  std::uint64_t last_key_ = 0;
  std::uint64_t last_name_ = 0;
};

}  // namespace

std::vector<SizeSample> run_churn(Simulation& simulation, const ChurnStep& step, Prng& random) {
  return Churn(simulation, step, random).run();
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
