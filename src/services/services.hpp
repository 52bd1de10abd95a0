// All services of one node as one machine: the clock, the members, the placement, the registry, leader election, the
// maps, the reminders, the program's own types. The node runs it on real channels and disks, the simulator on virtual
// ones.
//
// One thread at a time (the cluster thread).
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "replication/clock.hpp"
#include "services/effects.hpp"
#include "services/leader.hpp"
#include "services/maps.hpp"
#include "services/members.hpp"
#include "services/placement.hpp"
#include "services/registry.hpp"
#include "services/reminders.hpp"
#include "services/replicated_types.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// The named value of the durable store with the clock's mark, an integer (Unix milliseconds).
inline constexpr std::string_view clock_mark_name = "clock";
/// Likewise what `Members::take_known` gives.
inline constexpr std::string_view known_members_name = "members";

struct ServicesConfig {
  Atom own;
  std::uint64_t seed = 0;                ///< Of all random choices.
  replication::HybridClockConfig clock;  ///< `start` is what was stored under `clock_mark_name`.
  std::size_t snapshot_bytes_max = replication::snapshot_bytes_default;  ///< Of the state of one part, in one message.
  /// `own`, `seed` and `snapshot_bytes_max` of these are taken from above. `members.known` is what was stored under
  /// `known_members_name`.
  MembersConfig members;
  PlacementConfig placement;  ///< `own` likewise.
  RegistryConfig registry;
  LeaderConfig leader;
  Leader::Stored fences;  ///< What was stored in `leader_fences_collection`.
  MapsConfig maps;
  RemindersConfig reminders;
  ReplicatedTypesConfig types;
};

class Services {
 public:
  Services(ServicesConfig config, const Now& now);
  ~Services() = default;
  Services(const Services&) = delete;
  Services& operator=(const Services&) = delete;

  // What the overlay tells. A neighbour may turn out to be a C++ node later: its hello came.
  void neighbour_up(const Atom& node, bool native, const Now& now, Effects& out);
  void neighbour_down(const Atom& node);
  void set_native(const Atom& node, Effects& out);
  /// Broadcasts were lost, to the neighbour or to this node: soon what has digests is compared with it.
  void gossip_lost(const Atom& node, const Now& now);
  /// This node is about to leave the cluster: before the overlay does. The next `neighbour_up` ends it. Its partitions
  /// are released before the goodbye, upon which others acquire them.
  void leave(const Now& now, Effects& out);
  /// A broadcast; those of this node itself are ignored. False: the tag is of nobody here.
  bool deliver(const Term& tag, const Term& payload, const Now& now, Effects& out);

  /// A message to a name, from the node that its channel proved. False: the name is of nobody here.
  bool receive(const Atom& name, const Atom& from, const Term& message, const Now& now, Effects& out);
  /// Answers the `Watch` of registry and leader election.
  void process_down(const Pid& pid, const Term& reason, const Now& now, Effects& out);
  /// A `Persist` is on disk: these were its changes.
  void stored(std::span<const StoreChange> changes);
  /// A `Persist` could not be written, whether it had a ticket or not: these were its changes. They are written again
  /// by and by.
  void store_failed(std::span<const StoreChange> changes);
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  /// For calls of the program, after which `settle` must be called.
  [[nodiscard]] Registry& registry() noexcept { return registry_; }
  [[nodiscard]] Leader& leader() noexcept { return leader_; }
  [[nodiscard]] Maps& maps() noexcept { return maps_; }
  /// Before anything else is done to the machine `Reminders::start` must be called.
  [[nodiscard]] Reminders& reminders() noexcept { return reminders_; }
  [[nodiscard]] ReplicatedTypes& types() noexcept { return types_; }
  void settle(Effects& out);

  [[nodiscard]] const Members& members() const noexcept { return members_; }
  [[nodiscard]] const Placement& placement() const noexcept { return placement_; }
  [[nodiscard]] std::vector<std::string> take_warnings();
  [[nodiscard]] const Registry& registry() const noexcept { return registry_; }
  [[nodiscard]] const Leader& leader() const noexcept { return leader_; }
  [[nodiscard]] const Maps& maps() const noexcept { return maps_; }
  [[nodiscard]] const Reminders& reminders() const noexcept { return reminders_; }
  [[nodiscard]] const replication::HybridClock& clock() const noexcept { return clock_; }

 private:
  Services(const Now& now, ServicesConfig&& config);
  void spread(const Now& now, Effects& out);
  void place(const Now& now, Effects& out);

  replication::HybridClock clock_;
  Members members_;
  Placement placement_;
  std::uint64_t placed_ = 0;  ///< `Placement::revision` that was told.
  Registry registry_;
  Leader leader_;
  Maps maps_;
  Reminders reminders_;
  ReplicatedTypes types_;
  // The disk refused them; the next tick tries again.
  bool mark_failed_ = false;
  bool known_failed_ = false;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
