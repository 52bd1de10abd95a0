#include "node_command.hpp"

#include <time.h>

#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <csignal>
#include <ostream>
#include <string>

#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"
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

}  // namespace

int run_node_command(const NodeConfig& config, const LoadConfig& load, std::ostream& output, std::ostream& errors,
                     bool json) {
  // Blocked before the node starts its threads, so that they come to us only.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  auto node = Node::start(config);
  if (!node) return Complaints{errors, "node", json}.tell(exit_failed, node.error().message());
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
