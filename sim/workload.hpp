// What programs on the nodes of a simulation do with services and maps while things go wrong, and what must be true
// once they are calm again.
//
// Maps: `durable` (persistent), `brief` (persistent, removals are remembered for two minutes only), `volatile`,
// `pruned` (entries live as long as their author). Nodes whose clock is wrong beyond what others accept do the same;
// what they write must harm nobody, and is asked for nowhere.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/prng.hpp"
#include "sim/history.hpp"
#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

struct WorkloadConfig {
  double operations = 10;         ///< A second, on all nodes together.
  std::size_t keys = 50;          ///< Of each map.
  std::size_t names = 50;         ///< Of services.
  Milliseconds clock_jump_max{};  ///< Clocks are set now and then, to be wrong by up to this.
};

class Workload {
 public:
  /// Takes `on_start`, `on_end` and `on_disk_loss` of the simulation's services. Before any node starts; the simulation
  /// must have services and outlive it.
  Workload(Simulation& simulation, WorkloadConfig config, std::uint64_t seed);

  /// Programs work from here on, until `stop`.
  void begin();
  void stop() { ++run_; }
  /// After a calm without changes. Throws `Violation`:
  ///   - all members have the same content of each map, and it is what it must be: see history.hpp;
  ///   - every service of a process that lives on a member is found on every member, and no other one;
  ///   - members hold each other for alive, and nobody else; `Registry::verify` finds nothing; all calls are answered.
  void check();

  [[nodiscard]] const History& history() const noexcept { return history_; }
  [[nodiscard]] std::uint64_t registrations() const noexcept { return registrations_; }

 private:
  using Registered = std::map<std::size_t, Pid>;  ///< By the number of the name.

  void next(std::uint64_t run);
  void operate();
  void one_fault();
  void put(NodeIndex node, std::size_t map);
  void put_many(NodeIndex node, std::size_t map);
  void remove(NodeIndex node, std::size_t map);
  void register_one(NodeIndex node);
  void unregister_one(NodeIndex node);
  void end_process(NodeIndex node);
  void expect(NodeIndex node, const Result<void>& result) const;
  void note(NodeIndex node, std::size_t map, std::size_t key, std::optional<std::uint64_t> value,
            std::shared_ptr<const Answer> answer);
  void check_services(NodeIndex node, const std::vector<NodeIndex>& members) const;
  void check_lives(NodeIndex node, const std::vector<NodeIndex>& members) const;
  [[nodiscard]] bool is_ahead(NodeIndex node) const;

  Simulation& simulation_;
  ServiceNodes& services_;
  WorkloadConfig config_;
  Prng random_;
  History history_;
  std::map<NodeIndex, Registered> registered_;
  std::uint64_t run_ = 0;
  std::uint64_t last_value_ = 0;
  std::uint64_t registrations_ = 0;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
