// `barrel_p2p doctor`: looks for what will keep a node from working well on this machine, and says what mends it.
//
// Nothing is changed. What has to do with one node (its keys, its store, its port) is looked for where its
// configuration says; the clocks are compared with those of nodes that answer.
#pragma once

#include <barrel_p2p/node_config.hpp>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "node_command.hpp"
#include "remote.hpp"

namespace barrel_p2p::command {

struct Finding {
  enum class Level : std::uint8_t {
    ok,
    warning,  ///< It works, but not as well or as safely as it could.
    problem,  ///< It will not work.
  };
  Level level = Level::ok;
  std::string check;  ///< `configuration`, `port`, `buffers`, `keys`, `certificate`, `disk`, `store`, `discovery`,
                      ///< `clock`, `versions`
  std::string text;
  std::string fix;  ///< What to do; empty when all is well.
};
using Findings = std::vector<Finding>;

struct DoctorCommand : RemoteOptions {
  std::string config_file;
  Environment environment;            ///< Counts more than the file, as for the node.
  std::string data;                   ///< Empty: as configured.
  std::optional<std::uint16_t> port;  ///< Likewise.
  std::vector<std::string> nodes;     ///< To compare with; empty: those in the discovery directory, 8 at most.
  bool local = false;                 ///< Talk to no node.
};

// Each check, for tests.
Findings check_configuration(const NodeConfig& config);
Findings check_port(const std::string& listen, std::uint16_t port);
/// `root`: of the process file system, `/proc`.
Findings check_buffers(const std::filesystem::path& root);
Findings check_keys(const NodeConfig& config);
Findings check_certificate(const NodeConfig& config);
Findings check_disk(const std::filesystem::path& data);
Findings check_store(const NodeConfig& config);
/// `ahead_ms`: how far the clock of the node is ahead of ours, give or take `uncertain_ms`.
Finding clock_finding(const std::string& node, std::int64_t ahead_ms, std::int64_t uncertain_ms);

/// Returns exit_ok, also with warnings; exit_failed when there is a problem; exit_usage.
int run_doctor_command(const DoctorCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
