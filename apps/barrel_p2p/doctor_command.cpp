#include "doctor_command.hpp"

#include <algorithm>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <ostream>
#include <system_error>
#include <utility>

#include "base/clock.hpp"
#include "base/printable.hpp"
#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"

namespace barrel_p2p::command {
namespace {

namespace fs = std::filesystem;
using Level = Finding::Level;

constexpr std::size_t nodes_max = 8;  ///< That are asked without being named: each may take the whole timeout.

std::string_view word(Level level) {
  switch (level) {
    case Level::ok: return "ok";
    case Level::warning: return "warning";
    case Level::problem: return "problem";
  }
  return "";
}

Json to_json(const Finding& finding) {
  return JsonObject()
      .set("level", word(finding.level))
      .set("check", finding.check)
      .set("text", finding.text)
      .set("fix", finding.fix.empty() ? Json() : Json(finding.fix));
}

void append(Findings& to, Findings&& from) {
  for (auto& finding : from) to.push_back(std::move(finding));
}

/// Nodes with an endpoint file.
std::vector<std::string> discovered(const fs::path& directory) {
  std::vector<std::string> nodes;
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(directory, ignored)) {
    if (file.path().extension() == ".endpoint") nodes.push_back(file.path().stem().string());
  }
  std::ranges::sort(nodes);
  if (nodes.size() > nodes_max) nodes.resize(nodes_max);
  return nodes;
}

/// Milliseconds since 1970 by the clock of the node.
std::optional<std::int64_t> time_of(const Result<Term>& info, Remote& remote) {
  if (info && info->is_map()) return info->get<std::int64_t>(Atom("time_ms")).value_or(0);
  const auto told = remote.call("erlang", "system_time", {Atom("millisecond")});
  return told ? told->as_int64() : std::nullopt;
}

Findings check_node(Remote& remote) {
  Findings findings;
  const std::string node = remote.name().string();
  // The first question of two warms the path up.
  [[maybe_unused]] const auto answer = remote.call("erlang", "node");
  const auto before = wall_now();
  const auto info = remote.facade("node_info");
  auto time = time_of(info, remote);
  const auto after = wall_now();
  if (time) {
    findings.push_back(clock_finding(node, *time - (before + after) / 2, (after - before + 1) / 2 + 1));
  } else {
    findings.push_back({Level::warning, "clock", node + " does not tell the time", "ask another node"});
  }
  if (!info || !info->is_map()) return findings;
  const auto version = without_controls(info->get<std::string>(Atom("version")).value_or(""));
  if (version == BARREL_P2P_VERSION) {
    findings.push_back({Level::ok, "versions", node + " is of version " + version + ", like this command", ""});
  } else {
    findings.push_back({Level::warning, "versions",
                        node + " is of version " + version + ", this command of " BARREL_P2P_VERSION,
                        "run the same version everywhere when an upgrade is done"});
  }
  return findings;
}

Findings check_nodes(const DoctorCommand& command, const NodeConfig& config) {
  Findings findings;
  const fs::path directory = !command.discovery_dir.empty()  ? command.discovery_dir
                             : !config.discovery_dir.empty() ? config.discovery_dir
                                                             : config.data_dir / "discovery";
  auto nodes = command.nodes;
  if (nodes.empty()) nodes = discovered(directory);
  if (nodes.empty()) {
    return {{Level::ok, "clock", "not compared: there is no node in " + directory.string(), ""}};
  }
  for (const auto& node : nodes) {
    RemoteOptions options = static_cast<const RemoteOptions&>(command);
    options.node = node;
    options.discovery_dir = directory;
    auto remote = Remote::open(options);
    if (remote) {
      append(findings, check_node(*remote));
    } else if (command.nodes.empty()) {
      findings.push_back({Level::warning, "discovery", remote.error().text,
                          "if the node is gone for good: rm " + (directory / (node + ".endpoint")).string()});
    } else {
      findings.push_back({Level::problem, "discovery", remote.error().text, "see whether it runs, and --at, --cookie"});
    }
  }
  return findings;
}

/// That with which the node would start, or what can be had of it when it could not.
NodeConfig configuration_for(const DoctorCommand& command, Findings& findings) {
  NodeConfig config;
  auto loaded = configuration_of(command.config_file, command.environment);
  if (!loaded) {
    findings.push_back({Level::problem, "configuration", loaded.error().message(), "change it as it says"});
    loaded = configuration_of({}, command.environment);
  }
  if (loaded) config = std::move(*loaded);
  if (config.name.empty()) config.name = "a@127.0.0.1";  // the name is not what is looked at
  if (!command.data.empty()) config.data_dir = command.data;
  if (command.port) config.port = *command.port;
  const auto of_commands = command.environment.find("BARREL_P2P_COOKIE");
  const bool from_commands = of_commands != command.environment.end() && config.cookie == of_commands->second;
  if (from_commands || config.cookie == NodeConfig().cookie) config.cookie = command.cookie;
  return config;
}

void print(const Findings& findings, std::ostream& output) {
  for (const auto& finding : findings) {
    std::string level(word(finding.level));
    constexpr std::size_t width = 8;
    level.append(width - level.size(), ' ');
    output << level << finding.check << ": " << finding.text << '\n';
    if (!finding.fix.empty()) output << "        -> " << finding.fix << '\n';
  }
}

}  // namespace

int run_doctor_command(const DoctorCommand& command, std::ostream& output, std::ostream& errors) {
  const Complaints complaints{errors, "doctor", command.json};
  for (const auto& node : command.nodes) {
    if (const auto name = NodeName::parse(node); !name) return complaints.tell(exit_usage, name.error().message());
  }
  Findings findings;
  const NodeConfig config = configuration_for(command, findings);
  if (findings.empty()) append(findings, check_configuration(config));
  append(findings, check_port(config.listen, config.port));
  append(findings, check_buffers("/proc"));
  append(findings, check_keys(config));
  append(findings, check_certificate(config));
  append(findings, check_disk(config.data_dir));
  append(findings, check_store(config));
  if (!command.local) {
    DoctorCommand asking = command;
    asking.cookie = config.cookie;
    append(findings, check_nodes(asking, config));
  }
  const auto is_problem = [](const Finding& finding) { return finding.level == Level::problem; };
  const auto problems = std::ranges::count_if(findings, is_problem);
  if (command.json) {
    std::vector<Json> list;
    for (const auto& finding : findings) list.push_back(to_json(finding));
    output << JsonObject().set("healthy", problems == 0).set("findings", list).text() << '\n';
  } else {
    print(findings, output);
  }
  output.flush();
  return problems == 0 ? exit_ok : exit_failed;
}

}  // namespace barrel_p2p::command
