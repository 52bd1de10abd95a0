// The services of all nodes of a simulation: every node has the `services::Services` of the product, a disk, processes
// and a wall clock.
//
//   disk       takes writes in order and does each a random time after the one before. A crash loses what was not done;
//              a small share fails, and so does everything while the disk is broken.
//   processes  are numbers that live and die; a service belongs to one.
//   clocks     may be wrong by any amount, and be set.
//
// What holds at every moment is checked after every step: a stamp that a node gives is covered by the mark that its
// disk has; tickets are answered once; the mark of a restarted node covers what it said before.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/leader.hpp>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/services.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/prng.hpp"
#include "services/services.hpp"
#include "sim/delay.hpp"
#include "sim/disk.hpp"
#include "sim/engine.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

class Simulation;

struct ServiceNodesConfig {
  bool enabled = false;
  services::ServicesConfig machine;  ///< Of every node; name, seed and mark are set for each.
  Milliseconds wall_skew_max{};      ///< Wall clocks are wrong by up to this, either way.
  std::size_t wrong_clocks = 0;      ///< So many of the first nodes but 0 and 1 are wrong by `wrong_by`, in turns ahead
  Milliseconds wrong_by{3 * 3'600'000LL};                                  ///< and behind: beyond what others accept.
  Delay disk{Delay::Kind::uniform, Milliseconds(1), Milliseconds(30), 0};  ///< Of one write.
  double disk_failures = 0;                                                ///< Share of writes that fail.
};

/// Told when a call is answered. May be empty.
using Answered = std::function<void(const Result<void>& result)>;

class ServiceNodes {
 public:
  /// The simulation must outlive it.
  ServiceNodes(ServiceNodesConfig config, std::uint64_t seed, Simulation& simulation);

  // What the simulation tells.
  void add_node();
  void start(NodeIndex node, bool remember);
  void end(NodeIndex node);
  void resumed(NodeIndex node);
  void neighbour_up(NodeIndex node, NodeIndex peer, bool native);
  void gossip_lost(NodeIndex node, NodeIndex peer);
  void neighbour_down(NodeIndex node, NodeIndex peer);
  void set_native(NodeIndex node, NodeIndex peer);
  void leave(NodeIndex node);
  /// False: the tag is of nobody here.
  bool deliver(NodeIndex node, const Term& tag, const Term& payload);
  void receive(NodeIndex node, NodeIndex peer, const Atom& name, const Term& message);
  void tick(NodeIndex node);
  [[nodiscard]] MonotonicTime deadline(NodeIndex node) const { return nodes_[node].machine->deadline(); }

  // What programs on a node do. It must run and not be frozen.
  [[nodiscard]] Pid spawn(NodeIndex node);
  void kill(NodeIndex node, const Pid& pid, const Term& reason);
  Result<void> register_service(NodeIndex node, const ServiceName& name, const Pid& pid, const Term& meta,
                                const RegisterOptions& options, Answered answered);
  bool unregister_service(NodeIndex node, const ServiceName& name);
  Result<Role> lead(NodeIndex node, const Term& name, const Pid& pid, const LeadOptions& options);
  Result<void> set_lead_priority(NodeIndex node, const Term& name, const Pid& pid, const Term& priority);
  bool resign(NodeIndex node, const Term& name, const std::optional<Pid>& pid);
  Result<void> open_map(NodeIndex node, const Atom& map, const MapOptions& options);
  Result<void> put(NodeIndex node, const Atom& map, const Term& key, const Term& value, Answered answered);
  Result<void> put_many(NodeIndex node, const Atom& map, const std::vector<TermPair>& pairs, Answered answered);
  Result<void> remove(NodeIndex node, const Atom& map, const Term& key, Answered answered);
  Result<void> remind(NodeIndex node, const Term& key, WallMilliseconds due, const Term& payload, Answered answered);
  Result<void> cancel_reminder(NodeIndex node, const Term& key, Answered answered);
  /// What fires here is seen by `on_effect`.
  void subscribe_reminders(NodeIndex node);

  // What is known.
  /// What the clocks of the node show.
  [[nodiscard]] services::Now now(NodeIndex node) const;
  [[nodiscard]] const services::Services& machine(NodeIndex node) const { return *nodes_[node].machine; }
  [[nodiscard]] std::uint32_t ring_size() const noexcept { return config_.machine.placement.ring_size; }
  /// What its wall clock shows.
  [[nodiscard]] WallMilliseconds wall(NodeIndex node) const { return now(node).wall; }
  [[nodiscard]] const Disk& disk(NodeIndex node) const { return nodes_[node].disk; }
  /// How often the node lost its disk.
  [[nodiscard]] std::uint64_t disk_losses(NodeIndex node) const { return nodes_[node].disk_losses; }
  /// Of the running process, or the next one.
  [[nodiscard]] std::uint64_t life(NodeIndex node) const { return nodes_[node].life; }
  [[nodiscard]] bool lives(NodeIndex node, const Pid& pid) const { return nodes_[node].processes.contains(pid); }
  /// Calls of this node that are not answered yet.
  [[nodiscard]] std::size_t unanswered(NodeIndex node) const { return nodes_[node].tickets.size(); }
  [[nodiscard]] bool has_wrong_clock(NodeIndex node) const;
  [[nodiscard]] std::uint64_t disk_writes() const noexcept { return disk_writes_; }
  [[nodiscard]] std::uint64_t disk_failures() const noexcept { return disk_failures_; }

  // What happens to a node.
  /// The wall clock is set forward, or back.
  void shift_clock(NodeIndex node, Milliseconds by) { nodes_[node].wall_error += by; }
  [[nodiscard]] Milliseconds wall_error(NodeIndex node) const { return nodes_[node].wall_error; }
  /// All writes fail until then.
  void break_disk(NodeIndex node, SimTime until) { nodes_[node].broken_until = until; }

  std::function<void(NodeIndex node)> on_start;
  /// The process is about to be gone.
  std::function<void(NodeIndex node)> on_end;
  /// The disk is about to be lost.
  std::function<void(NodeIndex node)> on_disk_loss;
  /// Everything that a machine wants, before it happens.
  std::function<void(NodeIndex node, const services::Effect& effect)> on_effect;

 private:
  struct Write {
    services::Persist what;
    bool done = false;
    bool fails = false;
  };
  struct Node {
    std::unique_ptr<services::Services> machine;
    services::Effects effects;  ///< To be carried out.
    bool carrying_out = false;
    Disk disk;
    std::deque<Write> writes;  ///< In order; those at the front may be done and wait for a frozen process.
    SimTime disk_busy_until{};
    SimTime broken_until{};
    std::uint64_t disk_losses = 0;
    std::set<Pid> processes;
    std::map<Pid, std::size_t> watched;                      ///< And by how many.
    std::unordered_map<services::Ticket, Answered> tickets;  ///< Never walked through.
    services::Ticket last_ticket = 0;
    Milliseconds wall_error{};
    std::uint64_t life = 0;
    std::uint32_t last_process = 0;
    std::optional<SimTime> mark_failed_at;
    replication::Timestamp last_stamp;  ///< That the running process gave or saw.
  };

  template <class Call>
  auto act(NodeIndex node, const Call& call);
  Result<void> ticketed(NodeIndex node, Answered&& answered,
                        const std::function<Result<void>(services::Services&, services::Ticket, const services::Now&,
                                                         services::Effects&)>& work);
  void carry_out(NodeIndex node);
  void apply(NodeIndex node, services::Effect& effect);
  void persist(NodeIndex node, services::Persist&& effect);
  void finish_write(NodeIndex node, std::uint64_t life);
  void answer_writes(NodeIndex node);
  void answer(NodeIndex node, services::Ticket ticket, const Result<void>& result);
  void verify(NodeIndex node);

  ServiceNodesConfig config_;
  Simulation& simulation_;
  Prng random_;
  std::uint64_t seed_;
  std::deque<Node> nodes_;  ///< References stay good while more are added.
  std::uint64_t disk_writes_ = 0;
  std::uint64_t disk_failures_ = 0;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
