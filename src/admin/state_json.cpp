#include "admin/state_json.hpp"

#include <barrel_p2p/version.hpp>

#include <algorithm>
#include <string_view>

#include "base/json_writer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {
namespace {

const char* text_of(KnownNode::Kind kind) {
  switch (kind) {
    case KnownNode::Kind::cpp: return "cpp";
    case KnownNode::Kind::erlang: return "erlang";
    case KnownNode::Kind::unknown: return "unknown";
  }
  return "";
}

const char* text_of(KnownNode::State state) {
  switch (state) {
    case KnownNode::State::alive: return "alive";
    case KnownNode::State::down: return "down";
    case KnownNode::State::left: return "left";
  }
  return "";
}

/// How bad news it is, for those who colour lines.
const char* severity_of(FlightEntry::Kind kind) {
  using Kind = FlightEntry::Kind;
  switch (kind) {
    case Kind::dialled:
    case Kind::up:
    case Kind::idle:
    case Kind::migrated:
    case Kind::neighbour:
    case Kind::neighbour_lost:
    case Kind::joined: return "info";
    case Kind::dial_failed:
    case Kind::refused:
    case Kind::down:
    case Kind::silent:
    case Kind::revoked:
    case Kind::lost:
    case Kind::paused: return "warning";
  }
  return "";
}

void write_views(JsonWriter& json, std::string_view name, const std::optional<std::vector<std::string>>& view) {
  json.key(name);
  if (view) {
    json.strings(*view);
  } else {
    json.null();
  }
}

void write_nodes(JsonWriter& json, const Snapshot& snapshot) {
  json.key("nodes").array([&] {
    for (const auto& node : snapshot.nodes) {
      json.object([&] {
        json.member("name", node.name).member("kind", text_of(node.kind)).member("state", text_of(node.state));
        json.member("self", node.self).member("connected", node.connected);
        write_views(json, "active", node.active);
        write_views(json, "passive", node.passive);
        json.member("age_ms", node.age.count());
      });
    }
  });
}

void write_services(JsonWriter& json, const Snapshot& snapshot) {
  json.key("services").array([&] {
    for (const auto& one : snapshot.services) {
      json.object([&] {
        json.member("name", one.name).member("node", one.node).member("pid", one.pid).member("meta", one.meta);
      });
    }
  });
  json.member("service_names", snapshot.cluster.service_names);
  json.key("leaders").array([&] {
    for (const auto& one : snapshot.leaders) {
      json.object([&] {
        json.member("role", one.role).member("node", one.node).member("pid", one.pid).member("fence", one.fence);
        json.member("here", one.here).member("candidates", one.candidates);
      });
    }
  });
}

void write_placement(JsonWriter& json, const PlacementRows& placement) {
  json.key("placement").object([&] {
    json.member("partitions", placement.owners.size()).key("members").strings(placement.members);
    json.key("owners").array([&] {
      for (const auto& owner : placement.owners) {
        if (owner) {
          json.value(*owner);
        } else {
          json.null();
        }
      }
    });
  });
}

void write_data(JsonWriter& json, const Snapshot& snapshot) {
  json.key("maps").array([&] {
    for (const auto& map : snapshot.maps) {
      json.object([&] { json.member("name", map.name).member("size", map.size).member("persist", map.persist); });
    }
  });
  json.key("reminders").object([&] {
    json.member("pending", snapshot.cluster.reminders.pending).key("next").array([&] {
      for (const auto& one : snapshot.reminders) {
        json.object([&] { json.member("key", one.key).member("due", one.due).member("here", one.here); });
      }
    });
  });
}

double milliseconds_of(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1000; }

double loss_of(const PathStatistics& path) {
  if (path.bytes_sent == 0) return 0;
  return std::min(1.0, static_cast<double>(path.bytes_repeated) / static_cast<double>(path.bytes_sent));
}

void write_peers(JsonWriter& json, const Snapshot& snapshot) {
  json.key("peers").array([&] {
    for (const auto& peer : snapshot.peers) {
      const auto& path = peer.path;
      json.object([&] {
        json.member("name", peer.name).member("hidden", peer.hidden).member("address", path.remote);
        json.member("rtt_ms", milliseconds_of(path.smoothed_rtt)).member("rtt_min_ms", milliseconds_of(path.min_rtt));
        json.member("loss", loss_of(path)).member("sent_bytes", path.bytes_sent);
        json.member("received_bytes", path.bytes_received).member("in_flight", path.bytes_in_flight);
        json.member("queued_bytes", peer.queued_bytes).member("streams", path.streams);
      });
    }
  });
}

void write_totals(JsonWriter& json, const NodeStatistics& totals) {
  json.key("totals").object([&] {
    json.member("dials", totals.dials).member("dials_failed", totals.dials_failed).member("accepted", totals.accepted);
    json.member("accepts_failed", totals.accepts_failed).member("silent_peers", totals.silent_peers);
    json.member("pauses", totals.pauses).member("idle_closed", totals.idle_closed);
    json.member("signals_dropped", totals.signals_dropped).member("datagrams_received", totals.datagrams_received);
    json.member("datagrams_sent", totals.datagrams_sent).member("refused_connections", totals.refused_connections);
    json.member("dropped_initials", totals.dropped_initials).member("retries_sent", totals.retries_sent);
    json.member("flood", totals.strangers_filtered).member("mailboxes_full", totals.mailboxes_full);
    json.member("refused_spawns", totals.refused_spawns).member("refused_relations", totals.refused_relations);
    json.member("refused_calls", totals.refused_calls);
    json.member("refused_atoms", totals.refused_atoms).member("atoms", totals.atoms);
    json.member("connections", totals.connections).member("half_open", totals.half_open);
    json.member("migrations", totals.migrations).member("migrations_failed", totals.migrations_failed);
    json.member("peer_moves", totals.peer_moves).member("misplaced_datagrams", totals.misplaced_datagrams);
    json.member("processes", totals.processes);
    json.member("streams_open", totals.streams.open).member("streams_opened", totals.streams.opened);
    json.member("streams_accepted", totals.streams.accepted).member("stream_bytes_sent", totals.streams.bytes_sent);
    json.member("stream_bytes_received", totals.streams.bytes_received);
    json.member("files_received", totals.receive.files);
  });
}

}  // namespace

std::string state_json(const Snapshot& snapshot) {
  JsonWriter json;
  json.object([&] {
    json.member("time", snapshot.time).key("node").object([&] {
      json.member("name", snapshot.name).member("kind", "cpp").member("version", BARREL_P2P_VERSION);
      json.member("uptime_ms", snapshot.uptime.count()).member("port", snapshot.port);
      json.member("started", snapshot.started);
    });
    json.key("health").object([&] {
      json.member("live", snapshot.health.live).member("ready", snapshot.health.ready);
      json.key("reasons").strings(snapshot.health.reasons);
    });
    write_nodes(json, snapshot);
    write_services(json, snapshot);
    write_placement(json, snapshot.placement);
    write_data(json, snapshot);
    write_peers(json, snapshot);
    write_totals(json, snapshot.totals);
  });
  return std::move(json).text();
}

std::string map_json(const std::string& name, const MapPage& page) {
  JsonWriter json;
  json.object([&] {
    json.member("name", name).member("size", page.size).key("entries").array([&] {
      for (const auto& [key, value] : page.entries) {
        json.object([&] { json.member("key", key).member("value", value); });
      }
    });
    json.key("next");
    if (page.more && !page.entries.empty()) {
      json.value(page.entries.back().first);
    } else {
      json.null();
    }
  });
  return std::move(json).text();
}

std::string log_json(const FlightEntry& entry) {
  JsonWriter json;
  json.object([&] {
    json.member("time", entry.time.time_since_epoch().count()).member("severity", severity_of(entry.kind));
    json.member("kind", name(entry.kind)).member("peer", entry.peer).member("text", to_text(entry));
    json.member("reason", entry.reason);
  });
  return std::move(json).text();
}

std::string health_json(const char* field, bool well, const Health& health, bool with_reasons) {
  JsonWriter json;
  json.object([&] {
    json.member(field, well);
    if (with_reasons) json.key("reasons").strings(health.reasons);
  });
  return std::move(json).text();
}

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
