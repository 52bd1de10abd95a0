// The bridge of services/bridge.hpp on a real node, and what else other nodes' proxies call here.
#pragma once

#include <memory>

#include "node/overlay_runner.hpp"
#include "node/services_runner.hpp"
#include "process/system.hpp"
#include "services/bridge.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Makes the bridge and exports it, and `barrel_p2p_service_proxy:relay/3,4`. All three must outlive the bridge, and
/// the bridge the processes of the system.
std::unique_ptr<services::Bridge> make_bridge(process::System& system, ServicesRunner& services,
                                              OverlayRunner& overlay);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
