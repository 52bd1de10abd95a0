// What a node knows at one moment, for those who look at it. Values; whoever fills them keeps to the bounds.
#pragma once

#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/membership.hpp>
#include <barrel_p2p/node.hpp>
#include <barrel_p2p/operations.hpp>
#include <barrel_p2p/paths.hpp>
#include <barrel_p2p/reminders.hpp>
#include <barrel_p2p/services.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {

/// Rows of one kind in an answer: what a page can show, and about a megabyte.
inline constexpr std::size_t rows_max = 2000;
inline constexpr std::size_t reminders_shown_max = 100;

struct KnownNode {
  enum class Kind : std::uint8_t { cpp, erlang, unknown };
  enum class State : std::uint8_t { alive, down, left };
  std::string name;
  Kind kind = Kind::unknown;
  State state = State::alive;
  bool self = false;
  bool connected = false;
  std::optional<std::vector<std::string>> active;  ///< Nothing: it was not asked, or did not answer.
  std::optional<std::vector<std::string>> passive;
  Milliseconds age{};                  ///< Of that knowledge.
  std::optional<Milliseconds> silent;  ///< Since it was last heard of, by its lease.
};

struct ServiceRow {
  std::string name, node, pid, meta;
};

struct LeaderRow {
  std::string role, node, pid;
  std::string fence;           ///< Empty: none is known.
  bool here = false;           ///< A process of this node leads.
  std::size_t candidates = 0;  ///< Nodes that campaign, as this one knows.
};

struct PlacementRows {
  std::vector<std::string> members;
  std::vector<std::optional<std::size_t>> owners;  ///< By partition: place in `members`.
};

struct MapRow {
  std::string name;
  std::size_t size = 0;
  bool persist = false;
  MapStatistics statistics;
};

struct ReminderRow {
  std::string key;
  WallMilliseconds due = 0;
  bool here = false;  ///< This node will tell of it.
};

struct PeerRow {
  std::string name;
  bool hidden = false;
  PathStatistics path;
  std::size_t queued_bytes = 0;  ///< Messages that wait for the connection.
};

/// What the cluster thread has counted.
struct ClusterFigures {
  ServiceStatistics services;
  ReminderStatistics reminders;
  std::size_t service_names = 0;
  std::uint64_t elections = 0, renewals = 0, revocations = 0;
  std::uint64_t beats_received = 0, beats_rejected = 0, beats_in_future = 0;
  std::uint64_t lapses = 0;  ///< Times that this node was paused for longer than its lease.
  std::size_t partitions_owned = 0;
  std::int64_t clock_ahead_ms = 0;      ///< The hybrid clock over the system's: somebody's clock is ahead of ours.
  std::size_t cluster_queue_bytes = 0;  ///< What waits for the cluster thread.
};

struct Snapshot {
  WallMilliseconds time = 0;
  WallMilliseconds started = 0;
  Milliseconds uptime{};
  std::string name;
  std::uint16_t port = 0;
  Health health;
  std::vector<KnownNode> nodes;
  std::vector<ServiceRow> services;
  std::vector<LeaderRow> leaders;
  PlacementRows placement;
  std::vector<MapRow> maps;
  std::vector<ReminderRow> reminders;  ///< The next ones.
  std::vector<PeerRow> peers;
  NodeStatistics totals;
  OverlayStatistics overlay;
  ClusterFigures cluster;
  bool complete = false;  ///< Else the cluster thread or the network thread did not answer in time.
};

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
