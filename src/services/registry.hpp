// The registry of services as a machine without I/O: which processes are registered under which names, on all nodes.
//
//   key {Name, Node}   value {service_entry, Name, Pid, Node, Meta}   in one replicated map for the whole cluster
//   broadcast, tag barrel_p2p_registry_replica:   {delta, Node, #{Key => {value, Entry, #{{Node, H} => true}} |
//   {tombstone, H}}} to the process barrel_p2p_registry_replica:   {'$barrel_p2p_replica', {full_sync, From,
//   OwnEntriesOfFrom}}
//                                                 {'$barrel_p2p_replica', {request_sync, From}}
//   between C++ nodes the digests of replication/replica.hpp, over the entries of all nodes.
//
// A node speaks for its own registrations alone: only it may write or remove under keys with its name. What others
// remember of it that it does not know any more (from before a restart) it removes itself. An entry counts while its
// node is alive by its lease (members.hpp), whoever is whose neighbour; entries of nodes that have been gone for long
// are forgotten.
//
// Source: protocol document 05, sections 2 to 4 and 11. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/services.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "replication/clock.hpp"
#include "replication/ormap_state.hpp"
#include "replication/replica.hpp"
#include "services/effects.hpp"
#include "services/members.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

inline constexpr std::string_view registry_replica_name = "barrel_p2p_registry_replica";

struct RegistryConfig {
  Atom own;
  std::uint64_t seed = 0;
  Milliseconds anti_entropy_period{30'000};
  std::size_t entries_max = 1'000'000;         ///< Of all nodes, with tombstones: about 500 MB.
  std::size_t entries_per_node_max = 100'000;  ///< Live ones and tombstones of one node.
  std::size_t meta_bytes_max = 16UL * 1024;    ///< Of one entry, encoded: every node of the cluster holds it.
  Milliseconds tombstone_age{3'600'000};       ///< Removals are remembered for so long.
  Milliseconds forget_after{3'600'000};        ///< Entries of nodes that have been gone for so long are forgotten.
};

/// A visible registration. The terms are shared with the map.
struct Registration {
  Term name;
  Pid pid;
  Atom node;
  Term meta;
};

struct RegistryCounters {
  std::uint64_t registrations = 0;  ///< Of this node.
  std::uint64_t removals = 0;       ///< Of this node, by a call or by the end of the process.
  std::uint64_t rejected = 0;       ///< Entries of peers: malformed, in another node's name, beyond a bound.
  std::uint64_t ghosts = 0;         ///< Own entries that came back from others and were removed.
};

class Registry {
 public:
  /// Clock and members must outlive it.
  Registry(RegistryConfig config, replication::HybridClock& clock, const Members& members, const Now& now);

  // What the program asks for.
  /// Registers the process. `ticket`, if not 0, is completed when every neighbour has the entry (see `RegisterOptions`)
  /// or with `timeout` after `limit`; an error that is returned completes nothing. Errors: `already_registered`: this
  /// node has the name; `invalid_argument`: the name is neither atom nor binary, or the metadata no map;
  /// `limit_exceeded`.
  Result<void> add(const Term& name, const Pid& pid, const Term& meta, Ticket ticket, Milliseconds limit,
                   const Now& now, Effects& out);
  /// Removes this node's registration. False: there is none.
  bool remove(const Term& name, const Now& now, Effects& out);
  /// Answers `Watch`: all of its registrations here end.
  void process_down(const Pid& pid, const Term& reason, const Now& now, Effects& out);

  // What happens.
  void neighbour_up(const Atom& node, const Now& now, Effects& out);
  void neighbour_down(const Atom& node);
  void set_native(const Atom& node);
  void leave();
  /// A node came to life, or its lease ended.
  void liveness(const Liveness& change, const Now& now, Effects& out);
  void deliver(const Term& payload, const Now& now, Effects& out);
  void receive(const Atom& from, const Term& message, const Now& now, Effects& out);
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  // What is known. Entries of nodes that are not alive are not shown.
  /// This node's own first, then by node name.
  [[nodiscard]] std::vector<Registration> lookup(const Term& name) const;
  [[nodiscard]] std::optional<Pid> lookup_local(const Term& name) const;
  /// Names with a visible entry, in Erlang's term order.
  [[nodiscard]] std::vector<Term> names() const;
  /// Recomputes from the map what is kept beside it, and compares.
  [[nodiscard]] RegistryAudit verify() const;
  [[nodiscard]] const replication::OrMap& map() const noexcept;
  [[nodiscard]] const RegistryCounters& counters() const noexcept;
  [[nodiscard]] const replication::ReplicaCounters& replica_counters() const noexcept;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
