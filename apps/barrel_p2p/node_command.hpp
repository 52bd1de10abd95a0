// `barrel_p2p node`: runs one node until SIGINT or SIGTERM.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_config.hpp>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

namespace barrel_p2p::command {

using Environment = std::map<std::string, std::string>;
/// Of this process.
Environment process_environment();

/// The file, if there is one, and the keys of the environment, which count more. BARREL_P2P_COOKIE, which is there for
/// all commands, is the cookie where neither of them gives one.
Result<NodeConfig> configuration_of(const std::filesystem::path& file, const Environment& environment);
/// Variables that look like ours, and that neither a node nor a command knows: of a mistyped key, most likely.
std::vector<std::string> unknown_variables(const Environment& environment);

/// Whether a node could start with this, as far as that can be said without starting it: values, and files that have to
/// be there.
Result<void> check_node(const NodeConfig& config);

/// Reads the configuration anew. Empty: there is no file to read.
using LoadConfig = std::function<Result<NodeConfig>()>;

/// Prints `NAME is ready on UDP port PORT` when others can connect, as JSON `{"ready":true,"name":...,"port":...}`.
/// Returns exit_ok after a clean stop, exit_usage when `check_node` refuses it, exit_failed when the node cannot start
/// with a good one. Takes signals of the whole process, for main only: SIGINT and SIGTERM end it, SIGHUP has
/// it read its configuration again (without a file it ends it), SIGUSR1 prints the flight record on `errors`. Tells a
/// service manager that it is ready, that it lives, and that it stops.
int run_node_command(const NodeConfig& config, const LoadConfig& load, std::ostream& output, std::ostream& errors,
                     bool json = false);

}  // namespace barrel_p2p::command
