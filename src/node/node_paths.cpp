// The part of the public API that is about paths.
#include <barrel_p2p/node.hpp>
#include <utility>

#include "base/deadline.hpp"
#include "distribution/discovery.hpp"
#include "node/awaiting.hpp"
#include "node/parts.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

Result<void> check(const MigrateOptions& options) {
  if (options.timeout <= std::chrono::milliseconds(0)) {
    return fail(Errc::invalid_argument, "the timeout must be positive");
  }
  if (options.local_address.empty()) return {};
  const auto address = quic::Address::make(options.local_address, 0);
  if (!address) return std::unexpected(address.error());
  return {};
}

Result<void> check(const ConnectOptions& options) {
  if (options.address.empty()) return {};
  const auto where = distribution::parse_host_port(options.address);
  if (!where) return std::unexpected(where.error());
  const auto address = quic::Address::make(where->host, where->port);
  if (!address) return std::unexpected(address.error());
  if (where->port == 0 && !options.via) return fail(Errc::invalid_argument, "port 0 cannot be dialled");
  return {};
}

}  // namespace

// Both questions go through the gate: what passes it runs before the network has stopped.

void Node::migrate_peer(const NodeName& node, const MigrateOptions& options, std::function<void(Result<void>)> done) {
  if (const auto checked = check(options); !checked) {
    return node::refuse(*parts_, std::move(done), std::unexpected(checked.error()));
  }
  auto answer = std::make_shared<node::Answer<void>>(std::move(done));
  MigrateOptions bounded = options;
  bounded.timeout = bounded_limit(options.timeout);
  parts_->network->streams()->gate.post([network = parts_->network.get(), name = node.atom(), bounded, answer] {
    network->migrate(name, bounded, [answer](Result<void> result) { answer->give(std::move(result)); });
  });
}

Result<void> Node::migrate_peer(const NodeName& node, const MigrateOptions& options) {
  if (auto allowed = parts_->may_wait(); !allowed) return allowed;
  return node::wait_for<void>([&](auto done) { migrate_peer(node, options, std::move(done)); });
}

void Node::path_stats(const NodeName& node, std::function<void(Result<PathStatistics>)> done) const {
  auto answer = std::make_shared<node::Answer<PathStatistics>>(std::move(done));
  parts_->network->streams()->gate.post([network = parts_->network.get(), name = node.atom(), answer] {
    network->path_statistics(name, [answer](Result<PathStatistics> result) { answer->give(std::move(result)); });
  });
}

Result<PathStatistics> Node::path_stats(const NodeName& node) const {
  if (const auto allowed = parts_->may_wait(); !allowed) return std::unexpected(allowed.error());
  return node::wait_for<PathStatistics>([&](auto done) { path_stats(node, std::move(done)); });
}

Subscription Node::monitor_paths(std::function<void(const PathEvent&)> callback) {
  return parts_->path_events.add(std::move(callback));
}

Result<void> Node::set_connect_options(const NodeName& node, ConnectOptions options) {
  if (auto checked = check(options); !checked) return checked;
  parts_->network->set_connect_options(node.atom(), std::move(options));
  return {};
}

}  // namespace v0
}  // namespace barrel_p2p
