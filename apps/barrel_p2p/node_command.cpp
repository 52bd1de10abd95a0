#include "node_command.hpp"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <csignal>
#include <ostream>
#include <set>
#include <string>
#include <string_view>

#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"
#include "node/config_keys.hpp"
#include "node/validate.hpp"
#include "systemd.hpp"

namespace barrel_p2p::command {
namespace {

constexpr std::chrono::seconds wait_longest{3600};  ///< Nobody is to be told anything: as good as any.

void reload(Node& node, const LoadConfig& load, std::ostream& errors) {
  const auto now =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch());
  notify_manager("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.count()));
  const auto config = load();
  const auto waiting = config ? node.reload(*config) : std::unexpected(config.error());
  if (!waiting) {
    errors << "barrel_p2p node: nothing is changed: " << waiting.error().message() << std::endl;  // NOLINT: it is a log
  } else {
    errors << "barrel_p2p node: the configuration is read again";
    for (const auto& key : *waiting) errors << (&key == &waiting->front() ? "; these need a restart: " : ", ") << key;
    errors << std::endl;  // NOLINT: it is a log
  }
  notify_manager("READY=1");
}

void dump(const Node& node, std::ostream& errors) {
  const auto record = node.flight_record();
  errors << "flight record: " << record.size() << " entries\n";
  for (const auto& entry : record) errors << to_text(entry) << '\n';
  errors << std::flush;
}

/// The next signal; 0: the time is over.
int next_signal(const sigset_t& signals, std::chrono::microseconds limit) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(limit);
  timespec time{};
  time.tv_sec = seconds.count();
  time.tv_nsec = std::chrono::nanoseconds(limit - seconds).count();
  return std::max(0, ::sigtimedwait(&signals, nullptr, &time));
}

/// What Kubernetes puts into the environment of a pod for a service that is named barrel-p2p or barrel-p2p-something.
bool is_of_a_service(std::string_view variable, std::string_view value) {
  constexpr std::string_view digits = "0123456789";
  if (variable.ends_with("_SERVICE_HOST") || variable.find("_SERVICE_PORT") != std::string_view::npos) return true;
  if (value.starts_with("tcp://") || value.starts_with("udp://") || value.starts_with("sctp://")) return true;
  constexpr std::string_view port = "_PORT_";
  const auto at = variable.find(port);
  return at != std::string_view::npos && at + port.size() < variable.size() &&
         digits.contains(variable[at + port.size()]);
}

}  // namespace

Environment process_environment() {
  Environment variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equal = text.find('=');
    if (equal != std::string_view::npos) variables.emplace(text.substr(0, equal), text.substr(equal + 1));
  }
  return variables;
}

Result<NodeConfig> configuration_of(const std::filesystem::path& file, const Environment& environment) {
  NodeConfig config;
  constexpr const char* of_commands = "BARREL_P2P_COOKIE";
  const auto cookie = environment.find(of_commands);
  if (cookie != environment.end()) config.cookie = cookie->second;
  if (!file.empty()) {
    auto loaded = load_config(file, std::move(config));
    if (!loaded) return loaded;
    config = std::move(*loaded);
  }
  auto overridden = override_config(std::move(config), environment);
  if (overridden && overridden->cookie.empty() && cookie != environment.end() && cookie->second.empty()) {
    return fail(Errc::invalid_config, std::string(of_commands) + " is empty: give it the cookie, or unset it");
  }
  return overridden;
}

std::vector<std::string> unknown_variables(const Environment& environment) {
  constexpr std::string_view prefix = "BARREL_P2P_";
  constexpr std::array of_commands{"BARREL_P2P_COOKIE",  "BARREL_P2P_NODE", "BARREL_P2P_DISC_DIR",
                                   "BARREL_P2P_KEY_DIR", "BARREL_P2P_CERT", "BARREL_P2P_KEY"};
  std::set<std::string, std::less<>> known(of_commands.begin(), of_commands.end());
  for (const auto& key : node::config_keys()) known.insert(node::environment_name(key));
  std::vector<std::string> unknown;
  for (const auto& [variable, value] : environment) {
    if (!variable.starts_with(prefix) || known.contains(variable) || is_of_a_service(variable, value)) continue;
    unknown.push_back(variable);
  }
  return unknown;
}

Result<void> check_node(const NodeConfig& config) {
  if (auto good = check_config(config); !good) return good;
  return node::check_files(config);
}

int run_node_command(const NodeConfig& config, const LoadConfig& load, std::ostream& output, std::ostream& errors,
                     bool json) {
  const Complaints complaints{errors, "node", json};
  if (const auto good = check_node(config); !good) return complaints.tell(exit_usage, good.error().message());
  // Blocked before the node starts its threads, so that they come to us only.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Who reads what it says may go: it works on without.
  ::signal(SIGPIPE, SIG_IGN);
  auto node = Node::start(config);
  if (!node) {
    return complaints.tell(node.error() == Errc::invalid_config ? exit_usage : exit_failed, node.error().message());
  }
  const std::string name = node->name().string();
  const std::string ready = json ? JsonObject().set("ready", true).set("name", name).set("port", node->port()).text()
                                 : name + " is ready on UDP port " + std::to_string(node->port());
  output << ready << std::endl;  // NOLINT: somebody waits
  notify_manager("READY=1");
  const auto watchdog = watchdog_period();
  const auto period = watchdog ? *watchdog / 3 : std::chrono::microseconds(wait_longest);
  for (;;) {
    if (watchdog && node->health().live) notify_manager("WATCHDOG=1");
    const int signal = next_signal(signals, period);
    if (signal == SIGUSR1) {
      dump(*node, errors);
    } else if (signal == SIGHUP && load) {
      reload(*node, load, errors);
    } else if (signal != 0) {
      break;
    }
  }
  notify_manager("STOPPING=1");
  node->set_draining();
  node->stop();
  return exit_ok;
}

}  // namespace barrel_p2p::command
