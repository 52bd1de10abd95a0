// Functions of the Erlang library that other nodes may call here, by `rpc` and `erpc`, under the same names.
#pragma once

#include "node/overlay_runner.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// `barrel_p2p:join/1`, `leave/0`, `active_view/0`, `passive_view/0`, `subscribe/1`, `unsubscribe/1`;
/// `barrel_p2p_plumtree:broadcast/2`, `subscribe/1`, `unsubscribe/1`. Both must outlive the processes of the system.
void export_overlay(process::System& system, OverlayRunner& overlay);

/// `join` with the check for the own name. Errors: those of `Node::join`.
Result<void> join(const process::System& system, OverlayRunner& overlay, const Atom& contact);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
