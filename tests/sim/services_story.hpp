// Stories of the services: leaders, placement, reminders, registry and maps, on top of what story.hpp plays. The
// overlay works as ever, and is not told of.
//
//   set heartbeat_ms N, ttl_ms N, ring_size N
//   open MAP                               on all nodes
//   put NODE MAP KEY VALUE, remove NODE MAP KEY, map MAP
//   register NODE NAME, unregister NODE NAME, kill NODE NAME (its process), lookup NAME
//   lead NODE NAME [PRIORITY], resign NODE NAME, leader NAME
//   remind NODE KEY TIME, cancel NODE KEY; every node has a subscriber
//   members, owners                        who counts whom; how many partitions each owns
//
// What is told is of these kinds, for `hide`: the replicas by their names (`members`, `registry`, `leader`, `reminder`,
// `map`), `placement`, `shard` (acquired and released partitions) and `event`.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "services/effects.hpp"
#include "sim/story.hpp"

namespace barrel_p2p::sim {

class ServicesStory : public Story {
 public:
  ServicesStory();

 protected:
  bool configure(const std::string& key, std::uint32_t value) override;
  void began() override;

 private:
  void add_map_commands();
  void add_registry_commands();
  void add_leader_commands();
  void add_reminder_commands();
  void tell(NodeIndex node, const services::Effect& effect);
  void tell(const std::string& who, const ShardEvent& event);
  /// Replaces large numbers, which are times and stamps, by `#`, and fences by `F1`, `F2` and so on.
  [[nodiscard]] std::string brief(const std::string& text) const;
  std::string fence_text(const Fence& fence);

  std::map<Fence, std::string> fences_;                    ///< That were given, and what they are called here.
  std::map<std::pair<NodeIndex, std::string>, Pid> pids_;  ///< Of services and candidates.
};

}  // namespace barrel_p2p::sim
