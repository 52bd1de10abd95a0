// The paths of channels: moving them, asking after them, dialling by ways of the program's own.
#include <mutex>
#include <utility>

#include "distribution/network_peer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

Error not_connected(const Atom& node) { return {Errc::not_connected, "there is no connection to " + node.string()}; }

PathStatistics path_of(Channel& channel) {
  PathStatistics path = channel.connection().statistics();
  path.streams = channel.streams().count();
  return path;
}

/// How often a peer that stays silent has us ask the kernel.
constexpr Milliseconds path_check_period{500};
/// For a migration that nobody asked for: the detector gives up sooner or later than it, whichever way.
constexpr Milliseconds own_migration_timeout{5000};

}  // namespace

void Network::migrate(const Atom& node, const MigrateOptions& options, ConnectCallback callback) {
  post([this, node, options, callback = std::move(callback)] {
    if (stopped_) return callback(fail(Errc::stopped, "the node is stopping"));
    const auto found = peers_.find(node);
    if (found == peers_.end() || !found->second->up) return callback(std::unexpected(not_connected(node)));
    found->second->up->connection().migrate(options, callback);
  });
}

void Network::path_statistics(const Atom& node, std::function<void(Result<PathStatistics>)> callback) {
  post([this, node, callback = std::move(callback)] {
    if (stopped_) return callback(fail(Errc::stopped, "the node is stopping"));
    const auto found = peers_.find(node);
    if (found == peers_.end() || !found->second->up) return callback(std::unexpected(not_connected(node)));
    callback(path_of(*found->second->up));
  });
}

void Network::traffic(std::size_t nodes_max, std::function<void(std::vector<PeerTraffic>)> callback) {
  post([this, nodes_max, callback = std::move(callback)] {
    std::vector<PeerTraffic> all;
    for (const auto& [name, peer] : peers_) {
      if (!peer->up) continue;
      if (all.size() == nodes_max) break;
      const bool hidden = (peer->up->flags() & flag::published) == 0;
      all.push_back({name, hidden, path_of(*peer->up), peer->outbox->waiting_bytes()});
    }
    callback(std::move(all));
  });
}

void Network::set_connect_options(const Atom& node, ConnectOptions options) {
  post([this, node, options = std::move(options)]() mutable {
    if (options.address.empty() && !options.via) {
      connect_options_.erase(node);
    } else {
      connect_options_.insert_or_assign(node, std::move(options));
    }
  });
}

std::optional<DiscoveredAddresses> Network::addresses_by_option(const Atom& node) const {
  const auto options = connect_options_.find(node);
  if (options == connect_options_.end()) return std::nullopt;
  // With an adapter that says nothing of an address any will do: it is a name, of the block that nothing is sent to.
  const auto where = parse_host_port(options->second.address.empty() ? "[100::]:1" : options->second.address);
  if (!where) return std::nullopt;
  const auto address = quic::Address::make(where->host, where->port);
  if (!address) return std::nullopt;
  return DiscoveredAddresses{{*address, ""}};
}

void Network::channel_path(Channel& channel, const quic::PathChange& change) {
  const auto found = peers_.find(channel.peer());
  if (found == peers_.end() || found->second->up.get() != &channel) return;
  const auto path = channel.connection().statistics();
  const std::string& node = channel.peer().string();
  switch (change.kind) {
    case PathEvent::Kind::migrated:
      counters_.migrations += 1;
      note(FlightEntry::Kind::migrated, node, "from " + path.local);
      logger_->info("the connection to {} has moved: we send from {}", node, path.local);
      break;
    case PathEvent::Kind::migration_failed:
      counters_.migrations_failed += 1;
      note(FlightEntry::Kind::migrated, node, "not: " + change.reason);
      logger_->warn("the connection to {} could not be moved: {}", node, change.reason);
      break;
    case PathEvent::Kind::peer_moved: {
      counters_.peer_moves += 1;
      note(FlightEntry::Kind::migrated, node, "it is at " + path.remote);
      logger_->info("node {} has moved: it is at {}", node, path.remote);
      const std::unique_lock lock(table_mutex_);
      if (const auto up = up_.find(channel.peer()); up != up_.end()) up->second.address = path.remote;
      break;
    }
  }
  if (events_.path) events_.path({change.kind, NodeName(node), path.local, path.remote, change.reason});
}

void Network::check_path(Peer& peer) {
  peer.path_checked = monotonic_now();
  if (!peer.up->initiator() || !peer.up->connection().needs_migration()) return;
  logger_->info("the local address of the connection to {} has gone", peer.name.text());
  peer.up->connection().migrate({own_migration_timeout, ""}, [](const Result<void>& /*told by the event*/) {});
}

void Network::links_changed() {
  if (stopped_) return;
  for (const auto& [name, peer] : peers_) {
    if (peer->up) check_path(*peer);
  }
}

void Network::check_silent(Peer& peer, MonotonicTime now) {
  if (!config_.migrate_on_change || !peer.up->initiator()) return;
  if (detector_.silence(peer.up->last_heard(), now) < 2 * config_.detector.keep_alive) return;
  if (now - peer.path_checked >= path_check_period) check_path(peer);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
