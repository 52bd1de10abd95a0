#include "node_command.hpp"

#include <barrel_p2p/node.hpp>
#include <csignal>
#include <ostream>

#include "command_line.hpp"

namespace barrel_p2p::command {

int run_node_command(const NodeConfig& config, std::ostream& output, std::ostream& errors) {
  // Blocked before the node starts its threads, so that they come to us only.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  auto node = Node::start(config);
  if (!node) {
    errors << "barrel_p2p node: " << node.error().message() << '\n';
    return exit_failed;
  }
  output << node->name().text() << " is ready on UDP port " << node->port() << std::endl;  // NOLINT: somebody waits
  int signal = 0;
  sigwait(&ends, &signal);
  node->stop();
  return exit_ok;
}

}  // namespace barrel_p2p::command
