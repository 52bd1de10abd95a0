// Functions of the Erlang library that other nodes may call here, by `rpc` and `erpc`, under the same names.
#pragma once

#include <barrel_p2p/node_name.hpp>
#include <cstdint>

#include "distribution/network.hpp"
#include "node/overlay_runner.hpp"
#include "node/services_runner.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// `barrel_p2p:join/1`, `leave/0`, `active_view/0`, `passive_view/0`, `subscribe/1`, `unsubscribe/1`;
/// `barrel_p2p_plumtree:broadcast/2`, `subscribe/1`, `unsubscribe/1`. Both must outlive the processes of the system.
void export_overlay(process::System& system, OverlayRunner& overlay);

/// `barrel_p2p:register_service/3`, `unregister_service/1`, `lookup/1`, `lookup_local/1`, `list_services/0`,
/// `whereis_service/1,2`, `subscribe_services/1`, `unsubscribe_services/1`, `members/0`. `system` and `services` as
/// above.
void export_services(process::System& system, ServicesRunner& services);

/// `barrel_p2p:new_map/1,2`, `delete_map/1`, `map_put/3`, `map_remove/2`, `map_get/2`, `map_keys/1`, `map_to_list/1`,
/// `subscribe_map/2`, `unsubscribe_map/2`, and our `maps/0`, `map_put_many/2`,
/// `map_statistics/1`.
void export_maps(process::System& system, ServicesRunner& services);

/// `barrel_p2p:partition/1`, `place/1`, `owners/2`, `is_owner/1`, `subscribe_shard/1`, `unsubscribe_shard/1`, and our
/// `placement_diff/1`.
void export_placement(process::System& system, ServicesRunner& services);

/// `barrel_p2p:lead/1,2,3`, `resign/1,2`, `leader/1`, `is_leader/1`, `fence/1`. The candidate of `lead/1,2` is the
/// process that makes the call here, of `lead/3` the last argument. `resign/1` is for all candidates of this node.
void export_leaders(process::System& system, ServicesRunner& services);

/// `barrel_p2p:remind/3`, `remind_after/3`, `cancel_reminder/1`, `subscribe_reminders/1`, `unsubscribe_reminders/1`.
void export_reminders(process::System& system, ServicesRunner& services);

/// `barrel_p2p:migrate_peer/1,2`, `barrel_p2p_path_stats:summary/1`, `srtt/1`. Both must outlive the processes of the
/// system.
void export_paths(process::System& system, distribution::Network& network);

inline std::unexpected<Error> bad_argument(const char* text) { return fail(Errc::invalid_argument, text); }

/// What an operator asks a node; ours alone, Erlang nodes have none of it. Lists are bounded, and say when something
/// was left out: `{List, true}`, else `{List, false}`.
///
///   barrel_p2p:peers/0                   [#{node, address, dialled, hidden}], connected nodes
///   barrel_p2p:leaders/0                 {[#{role, node, pid, fence, candidates}], Cut}; `fence` is the greatest one
///                                        known of the role, `node` and `pid` are `undefined` while nobody leads
///   barrel_p2p:placement/0               [Owner | undefined], one a partition
///   barrel_p2p:reminders/1               {[#{key, due, payload, here}], Cut}, at most so many, the earliest first
///   barrel_p2p:reminder_statistics/0     #{pending, fired, ...}
void export_peers(process::System& system, distribution::Network& network);
void export_inspection(process::System& system, ServicesRunner& services);

/// `barrel_p2p:node_info/0`: #{name, kind, version, port, started_ms, uptime_ms, time_ms, hidden}; times are Unix
/// milliseconds by the clock of this node.
struct NodeInfo {
  NodeName name;
  std::uint16_t port = 0;
  bool hidden = false;
};
void export_node_info(process::System& system, const NodeInfo& info);

/// `join` with the check for the own name. Errors: those of `Node::join`.
Result<void> join(const process::System& system, OverlayRunner& overlay, const Atom& contact);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
