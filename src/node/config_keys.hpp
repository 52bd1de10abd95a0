// The keys that a configuration file may have.
#pragma once

#include <barrel_p2p/node_config.hpp>
#include <barrel_p2p/version.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// `name`, or `table.name`.
std::vector<std::string> config_keys();
/// Whether all times are in the ranges that a file may give them. The error names the key.
Result<void> check_ranges(NodeConfig config);
/// Those whose values differ.
std::vector<std::string> differing_keys(NodeConfig left, NodeConfig right);
/// `limits.connections_max`: `BARREL_P2P_LIMITS_CONNECTIONS_MAX`.
std::string environment_name(std::string_view key);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
