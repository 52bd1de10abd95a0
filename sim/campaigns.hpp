// What programs on the nodes of a simulation do about leaders while things go wrong, and what must be true of them.
//
// At every moment: a candidate is elected and revoked in turns, and no fence that a node gives is below one that it
// gave before, in this life or an earlier one, as long as it keeps its disk.
#pragma once

#include <barrel_p2p/leader.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.hpp"
#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

struct CampaignsConfig {
  double operations = 1;  ///< A second, on all nodes together.
  std::size_t names = 5;
};

class Campaigns {
 public:
  /// Is told more by the simulation's services, beside who was told before. Before any node starts; the simulation must
  /// have services and outlive it.
  Campaigns(Simulation& simulation, CampaignsConfig config, std::uint64_t seed);

  /// Programs work from here on, until `stop`.
  void begin() { next(++run_); }
  void stop() { ++run_; }
  /// After a calm without changes. Throws `Violation`:
  ///   - all members see the same leader of each name, the one that must win, and it alone leads;
  ///   - the candidates were told so;
  ///   - its fence is greater than all that were given on other nodes, and none is greater, of those that a running
  ///     process gave or a disk has.
  void check();

  [[nodiscard]] std::uint64_t terms() const noexcept { return terms_; }
  [[nodiscard]] std::uint64_t renewals() const noexcept { return renewals_; }

 private:
  struct Campaign {
    Pid pid;
    std::int64_t priority = 0;
    std::optional<Fence> leads;
  };
  using Campaigning = std::map<std::pair<NodeIndex, std::size_t>, std::vector<Campaign>>;  ///< Who stands in front.
  struct Given {
    Fence fence;
    NodeIndex node = 0;
    std::uint64_t life = 0;
    std::uint64_t disk_losses = 0;
  };

  void next(std::uint64_t run);
  void operate();
  void lead(NodeIndex node, std::size_t name);
  void resign(NodeIndex node, std::size_t name);
  void end_process(NodeIndex node, std::size_t name);
  void set_priority(NodeIndex node, std::size_t name);
  void happened(NodeIndex node, const services::LeaderHappened& what);
  void note(NodeIndex node, std::size_t name, Campaign& campaign, const Fence& fence);
  [[nodiscard]] Campaign* find(NodeIndex node, std::size_t name, const Pid& pid);
  [[nodiscard]] Campaign* any_of(NodeIndex node, std::size_t name);
  static void enqueue(std::vector<Campaign>& queue, Campaign campaign);
  [[nodiscard]] bool is_remembered(const Given& given, std::size_t name) const;
  void check_name(std::size_t name, const std::vector<NodeIndex>& members);
  void check_fence(NodeIndex node, std::size_t name, const Fence& fence);

  Simulation& simulation_;
  ServiceNodes& services_;
  CampaignsConfig config_;
  Prng random_;
  Campaigning campaigning_;
  std::vector<std::vector<Given>> given_;  ///< By name; those that count no more are dropped in `check`.
  std::map<std::pair<NodeIndex, std::size_t>, Given> last_;
  std::uint64_t run_ = 0;
  std::uint64_t terms_ = 0;
  std::uint64_t renewals_ = 0;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
