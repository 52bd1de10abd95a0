// The part of the public API that is for those who run a node.
#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <vector>

#include "node/config_keys.hpp"
#include "node/parts.hpp"
#include "node/validate.hpp"

namespace barrel_p2p {
inline namespace v0 {

NodeStatistics Node::Parts::statistics(const quic::EndpointStatistics& endpoint) const {
  NodeStatistics all;
  const auto& channels = network->counters();
  all.dials = channels.dials;
  all.dials_failed = channels.dials_failed;
  all.accepted = channels.accepted;
  all.accepts_failed = channels.accepts_failed;
  all.silent_peers = channels.detector_downs + channels.probe_downs;
  all.pauses = channels.pauses;
  all.idle_closed = channels.idle_closed;
  all.migrations = channels.migrations;
  all.migrations_failed = channels.migrations_failed;
  all.peer_moves = channels.peer_moves;
  const auto& signals = system->counters();
  all.signals_dropped = channels.signals_dropped + signals.dropped_by_channel + signals.dropped_no_process +
                        signals.dropped_no_name + signals.dropped_stale_creation + signals.dropped_dead_alias +
                        signals.dropped_malformed;
  all.refused_spawns = signals.refused_spawns;
  all.refused_relations = signals.refused_relations;
  all.refused_calls = signals.refused_calls;
  all.mailboxes_full = signals.mailboxes_full;
  all.refused_atoms = atoms_refused();
  all.atoms = atom_count();
  all.datagrams_received = endpoint.datagrams_received;
  all.datagrams_sent = endpoint.datagrams_sent;
  all.refused_connections = endpoint.refused_connections;
  all.dropped_initials = endpoint.dropped_initials;
  all.misplaced_datagrams = endpoint.misplaced_datagrams;
  all.retries_sent = endpoint.retries_sent;
  all.strangers_filtered = endpoint.strangers_filtered;
  all.connections = endpoint.connections;
  all.half_open = endpoint.half_open;
  all.processes = system->process_count();
  const auto& streams = network->streams()->counters;
  all.streams.opened = streams.opened;
  all.streams.accepted = streams.accepted;
  all.streams.refused_tag = streams.refused_tag;
  all.streams.refused_busy = streams.refused_busy;
  all.streams.refused_waiting = streams.refused_waiting;
  all.streams.refused_late = streams.refused_late;
  all.streams.reset_unread = streams.reset_unread;
  all.streams.reset_by_peer = streams.reset_by_peer;
  all.streams.lost = streams.lost;
  all.streams.bytes_received = streams.bytes_received;
  all.streams.bytes_sent = streams.bytes_sent;
  all.streams.open = static_cast<std::size_t>(std::max<std::int64_t>(0, streams.open));
  if (receiver) all.receive = receiver->statistics();
  return all;
}

std::uint16_t Node::admin_port() const noexcept { return parts_->admin ? parts_->admin->port() : 0; }
Health Node::health() const { return parts_->observer->health(); }
void Node::set_draining() noexcept { parts_->observer->set_draining(); }

std::vector<FlightEntry> Node::flight_record(const std::optional<NodeName>& node) const {
  return node ? parts_->recorder.of(node->string()) : parts_->recorder.all();
}

Result<std::vector<std::string>> Node::reload(const NodeConfig& config) {
  if (auto valid = node::validate(config); !valid) return std::unexpected(valid.error());
  auto differing = node::differing_keys(parts_->config, config);
  std::erase_if(differing, [](const std::string& key) {
    return key == "log_level" || key == "auth_trust_mode" || key == "contact_nodes";
  });
  set_level(parts_->logger, config.log_level);
  set_trust_mode(config.authentication.trust_mode);
  if (parts_->overlay) {
    const auto& contacts = config.membership.contacts;
    parts_->overlay->set_contacts(std::vector<Atom>(contacts.begin(), contacts.end()));
  }
  return differing;
}

}  // namespace v0
}  // namespace barrel_p2p
