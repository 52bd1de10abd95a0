#include "admin/metrics.hpp"

#include <spdlog/fmt/fmt.h>
#include <barrel_p2p/version.hpp>

#include <algorithm>
#include <cstddef>
#include <set>

namespace barrel_p2p {
inline namespace v0 {
namespace admin {
namespace {

using Type = Metric::Type;
using Tell = Metric::Tell;

double number(std::size_t count) { return static_cast<double>(count); }
double seconds_of(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1e6; }

double count_nodes(const Snapshot& snapshot, KnownNode::State state) {
  return static_cast<double>(std::ranges::count(snapshot.nodes, state, &KnownNode::state));
}

double count_leaders(const Snapshot& snapshot, bool here) {
  return static_cast<double>(std::ranges::count(snapshot.leaders, here, &LeaderRow::here));
}

double longest_silence(const Snapshot& snapshot) {
  Milliseconds longest{0};
  for (const auto& node : snapshot.nodes) longest = std::max(longest, node.silent.value_or(Milliseconds(0)));
  return static_cast<double>(longest.count()) / 1000;
}

/// Visitors come and go, each with a name of its own: they are left out.
template <class Use>
void each_peer(const Snapshot& snapshot, const Use& use) {
  std::size_t told = 0;
  for (const auto& peer : snapshot.peers) {
    if (!peer.hidden && told++ < peers_told_max) use(peer);
  }
}

// clang-format off
constexpr Metric table[] = {
    {"barrel_p2p_info", Type::gauge, "", "version", "Always 1; the version of the library.",
     [](const Snapshot& s, const Tell& tell) { (void)s; tell(BARREL_P2P_VERSION, 1); }},
    {"barrel_p2p_uptime_seconds", Type::gauge, "seconds", "", "Since the node started.",
     [](const Snapshot& s, const Tell& tell) { tell("", static_cast<double>(s.uptime.count()) / 1000); }},
    {"barrel_p2p_live", Type::gauge, "", "", "1: the threads of the node do their work.",
     [](const Snapshot& s, const Tell& tell) { tell("", s.health.live ? 1 : 0); }},
    {"barrel_p2p_ready", Type::gauge, "", "", "1: work may be given to the node.",
     [](const Snapshot& s, const Tell& tell) { tell("", s.health.ready ? 1 : 0); }},
    {"barrel_p2p_snapshot_complete", Type::gauge, "", "", "0: a thread did not answer within a second, and what it knows is missing here.",
     [](const Snapshot& s, const Tell& tell) { tell("", s.complete ? 1 : 0); }},
    {"barrel_p2p_nodes", Type::gauge, "", "state", "Nodes of the cluster, as this one knows them.",
     [](const Snapshot& s, const Tell& tell) { tell("alive", count_nodes(s, KnownNode::State::alive)); tell("down", count_nodes(s, KnownNode::State::down)); tell("left", count_nodes(s, KnownNode::State::left)); }},
    {"barrel_p2p_dist_dials_total", Type::counter, "", "", "Times that this node began to connect to another one.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.dials)); }},
    {"barrel_p2p_dist_dials_failed_total", Type::counter, "", "", "Of these, those that came to nothing.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.dials_failed)); }},
    {"barrel_p2p_dist_accepted_total", Type::counter, "", "", "QUIC connections from others.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.accepted)); }},
    {"barrel_p2p_dist_accepts_failed_total", Type::counter, "", "", "Of these, those that never became a channel: not authenticated, wrong cookie, too slow.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.accepts_failed)); }},
    {"barrel_p2p_dist_refused_connections_total", Type::counter, "", "", "Connections refused by a limit.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.refused_connections)); }},
    {"barrel_p2p_dist_dropped_initials_total", Type::counter, "", "", "Of these, first packets that were not looked at, as there were too many.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.dropped_initials)); }},
    {"barrel_p2p_dist_retries_total", Type::counter, "", "", "Times that whoever dialled was to prove its address first.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.retries_sent)); }},
    {"barrel_p2p_dist_flood", Type::gauge, "", "", "1: a flood of packets of strangers comes, and the kernel keeps most of them away.",
     [](const Snapshot& s, const Tell& tell) { tell("", s.totals.strangers_filtered ? 1 : 0); }},
    {"barrel_p2p_dist_connections", Type::gauge, "", "", "QUIC connections, finished or not.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.connections)); }},
    {"barrel_p2p_dist_half_open", Type::gauge, "", "", "Accepted connections in handshake or authentication.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.half_open)); }},
    {"barrel_p2p_dist_gc_reap_total", Type::counter, "", "", "Channels closed because nothing used them.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.idle_closed)); }},
    {"barrel_p2p_dist_signals_dropped_total", Type::counter, "", "", "Messages lost with a channel, refused by a bound, or for nobody.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.signals_dropped)); }},
    {"barrel_p2p_dist_migrate_total", Type::counter, "", "outcome", "Connections that this side moved to another path, or tried to.",
     [](const Snapshot& s, const Tell& tell) { tell("ok", number(s.totals.migrations)); tell("fail", number(s.totals.migrations_failed)); }},
    {"barrel_p2p_dist_peer_moves_total", Type::counter, "", "", "Times that a peer's address or port changed.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.peer_moves)); }},
    {"barrel_p2p_dist_misplaced_datagrams_total", Type::counter, "", "", "Datagrams that were not read, for their sender had just moved from there, or elsewhere.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.misplaced_datagrams)); }},
    {"barrel_p2p_datagrams_received_total", Type::counter, "", "", "UDP datagrams.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.datagrams_received)); }},
    {"barrel_p2p_datagrams_sent_total", Type::counter, "", "", "UDP datagrams.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.datagrams_sent)); }},
    {"barrel_p2p_detector_silent_peers_total", Type::counter, "", "", "Peers given up because nothing was heard from them.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.silent_peers)); }},
    {"barrel_p2p_detector_pauses_total", Type::counter, "", "", "Times that this process did not run for a while.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.pauses)); }},
    {"barrel_p2p_refused_total", Type::counter, "", "reason", "What peers wanted and a limit refused.",
     [](const Snapshot& s, const Tell& tell) { tell("spawns", number(s.totals.refused_spawns)); tell("relations", number(s.totals.refused_relations)); tell("atoms", number(s.totals.refused_atoms)); tell("calls", number(s.totals.refused_calls)); }},
    {"barrel_p2p_mailboxes_full_total", Type::counter, "", "", "Times that a peer was held back because a mailbox was full.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.mailboxes_full)); }},
    {"barrel_p2p_processes", Type::gauge, "", "", "Processes of this node.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.processes)); }},
    {"barrel_p2p_atoms", Type::gauge, "", "", "Distinct names in use in the whole process.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.atoms)); }},
    {"barrel_p2p_streams_open", Type::gauge, "", "", "Streams of programs that are open.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.streams.open)); }},
    {"barrel_p2p_streams_opened_total", Type::counter, "", "", "Streams that this node opened.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.streams.opened)); }},
    {"barrel_p2p_streams_accepted_total", Type::counter, "", "", "Streams that peers opened, and that were taken.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.streams.accepted)); }},
    {"barrel_p2p_streams_refused_total", Type::counter, "", "reason", "Streams that peers opened, and that were refused. `preamble` is what document 07 calls preamble_dropped.",
     [](const Snapshot& s, const Tell& tell) { tell("tag", number(s.totals.streams.refused_tag)); tell("busy", number(s.totals.streams.refused_busy)); tell("preamble", number(s.totals.streams.refused_waiting)); tell("late", number(s.totals.streams.refused_late)); }},
    {"barrel_p2p_streams_ended_total", Type::counter, "", "reason", "Streams that ended before their time.",
     [](const Snapshot& s, const Tell& tell) { tell("unread", number(s.totals.streams.reset_unread)); tell("peer", number(s.totals.streams.reset_by_peer)); tell("connection", number(s.totals.streams.lost)); }},
    {"barrel_p2p_streams_received_bytes_total", Type::counter, "bytes", "", "Bytes of streams.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.streams.bytes_received)); }},
    {"barrel_p2p_streams_sent_bytes_total", Type::counter, "bytes", "", "Bytes of streams.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.streams.bytes_sent)); }},
    {"barrel_p2p_files_received_total", Type::counter, "", "", "Files of other nodes, whole and verified.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.receive.files)); }},
    {"barrel_p2p_files_received_bytes_total", Type::counter, "bytes", "", "Bytes written of files of other nodes.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.totals.receive.bytes)); }},
    {"barrel_p2p_files_failed_total", Type::counter, "", "reason", "Files of other nodes that did not come to be.",
     [](const Snapshot& s, const Tell& tell) { tell("refused", number(s.totals.receive.refused)); tell("broken", number(s.totals.receive.broken)); }},
    {"barrel_p2p_hyparview_active", Type::gauge, "", "", "Nodes in the active view.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.active)); }},
    {"barrel_p2p_hyparview_passive", Type::gauge, "", "", "Nodes in the passive view.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.passive)); }},
    {"barrel_p2p_hyparview_joined_total", Type::counter, "", "", "Joins that were received.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.joins)); }},
    {"barrel_p2p_hyparview_left_total", Type::counter, "", "", "Nodes that left the cluster, as they or others said.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.departures)); }},
    {"barrel_p2p_hyparview_shuffle_total", Type::counter, "", "", "Shuffles that were sent.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.shuffles)); }},
    {"barrel_p2p_hyparview_pending_timeout_total", Type::counter, "", "", "Dials and questions without an answer.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.timeouts)); }},
    {"barrel_p2p_hyparview_evictions_total", Type::counter, "", "", "Neighbours that were dropped for others.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.evictions)); }},
    {"barrel_p2p_hyparview_promotions_total", Type::counter, "", "", "Nodes of the passive view that became neighbours.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.promotions)); }},
    {"barrel_p2p_hyparview_refusals_total", Type::counter, "", "", "Nodes that did not want this one as a neighbour.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.refusals)); }},
    {"barrel_p2p_plumtree_eager", Type::gauge, "", "", "Neighbours that get whole messages.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.eager)); }},
    {"barrel_p2p_plumtree_lazy", Type::gauge, "", "", "Neighbours that get announcements.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.lazy)); }},
    {"barrel_p2p_plumtree_gossip_sent_total", Type::counter, "", "", "Messages with their content, to one neighbour each.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.gossip_sent)); }},
    {"barrel_p2p_plumtree_gossip_received_total", Type::counter, "", "", "The same, with duplicates.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.gossip_received)); }},
    {"barrel_p2p_plumtree_duplicates_total", Type::counter, "", "", "Of these, those that were known already.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.duplicates)); }},
    {"barrel_p2p_plumtree_delivered_total", Type::counter, "", "", "Broadcasts, own ones included.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.delivered)); }},
    {"barrel_p2p_plumtree_ihave_sent_total", Type::counter, "", "", "Announcements.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.announcements_sent)); }},
    {"barrel_p2p_plumtree_graft_sent_total", Type::counter, "", "", "Times that a message was asked for after its announcement.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.grafts_sent)); }},
    {"barrel_p2p_plumtree_prune_sent_total", Type::counter, "", "", "Times that a neighbour was told to announce only.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.prunes_sent)); }},
    {"barrel_p2p_plumtree_missed_total", Type::counter, "", "", "Announced messages that nobody gave.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.missed)); }},
    {"barrel_p2p_overlay_dropped_total", Type::counter, "", "reason", "Messages of the overlay that were not sent, not taken, or announced instead.",
     [](const Snapshot& s, const Tell& tell) { tell("malformed", number(s.overlay.malformed)); tell("queue_full", number(s.overlay.sends_failed)); tell("congested", number(s.overlay.congested)); tell("announcements", number(s.overlay.announcements_dropped)); }},
    {"barrel_p2p_overlay_held_back_total", Type::counter, "", "", "Times that a peer was not read for a while, for it sent too much.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.overlay.held_back)); }},
    {"barrel_p2p_cluster_queue_bytes", Type::gauge, "bytes", "", "What waits for the cluster thread.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.cluster_queue_bytes)); }},
    {"barrel_p2p_cluster_held_back_total", Type::counter, "", "", "Times that a peer was not read for a while, for it filled the queue of the cluster thread.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.services.held_back)); }},
    {"barrel_p2p_members_beats_received_total", Type::counter, "", "", "Beats of other nodes.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.beats_received)); }},
    {"barrel_p2p_members_beats_refused_total", Type::counter, "", "reason", "Beats of other nodes that did not count.",
     [](const Snapshot& s, const Tell& tell) { tell("malformed", number(s.cluster.beats_rejected)); tell("future", number(s.cluster.beats_in_future)); }},
    {"barrel_p2p_members_lapses_total", Type::counter, "", "", "Times that this node was paused for longer than its lease.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.lapses)); }},
    {"barrel_p2p_members_silence_max_seconds", Type::gauge, "seconds", "", "Longest time that a member was not heard of: the age of what is known.",
     [](const Snapshot& s, const Tell& tell) { tell("", longest_silence(s)); }},
    {"barrel_p2p_clock_ahead_seconds", Type::gauge, "seconds", "", "The hybrid clock over the system's: a clock in the cluster is ahead by about that.",
     [](const Snapshot& s, const Tell& tell) { tell("", static_cast<double>(s.cluster.clock_ahead_ms) / 1000); }},
    {"barrel_p2p_service_names", Type::gauge, "", "", "Names of services that are known.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.service_names)); }},
    {"barrel_p2p_service_registrations_total", Type::counter, "", "", "Registrations of this node.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.services.registrations)); }},
    {"barrel_p2p_service_removals_total", Type::counter, "", "", "Removals of this node.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.services.removals)); }},
    {"barrel_p2p_service_entries_refused_total", Type::counter, "", "", "Entries of peers that were malformed, foreign or too many.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.services.rejected)); }},
    {"barrel_p2p_service_ghosts_total", Type::counter, "", "", "Own entries that others had otherwise.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.services.ghosts)); }},
    {"barrel_p2p_leader_roles", Type::gauge, "", "where", "Roles with a leader: of this node, or of others.",
     [](const Snapshot& s, const Tell& tell) { tell("here", count_leaders(s, true)); tell("elsewhere", count_leaders(s, false)); }},
    {"barrel_p2p_leader_elections_total", Type::counter, "", "", "Terms of candidates of this node.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.elections)); }},
    {"barrel_p2p_leader_renewals_total", Type::counter, "", "", "Fences that were minted anew within a term.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.renewals)); }},
    {"barrel_p2p_leader_revocations_total", Type::counter, "", "", "Ends of terms that a candidate was told of.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.revocations)); }},
    {"barrel_p2p_placement_partitions_owned", Type::gauge, "", "", "Partitions of this node.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.partitions_owned)); }},
    {"barrel_p2p_reminders_pending", Type::gauge, "", "", "Reminders that wait, in the cluster.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.reminders.pending)); }},
    {"barrel_p2p_reminders_waiting", Type::gauge, "", "", "Late ones that the rate holds up.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.reminders.waiting)); }},
    {"barrel_p2p_reminders_fired_total", Type::counter, "", "", "Reminders that this node told of.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.reminders.fired)); }},
    {"barrel_p2p_reminders_late_total", Type::counter, "", "", "Of these, late ones.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.reminders.late)); }},
    {"barrel_p2p_reminders_skipped_total", Type::counter, "", "", "Reminders that nobody was told of.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.reminders.skipped)); }},
    {"barrel_p2p_reminders_refused_total", Type::counter, "", "reason", "Entries of other nodes; those of `future` are among those of `all`.",
     [](const Snapshot& s, const Tell& tell) { tell("all", number(s.cluster.reminders.rejected)); tell("future", number(s.cluster.reminders.rejected_in_future)); }},
    {"barrel_p2p_reminders_unwritten", Type::gauge, "", "", "Entries that the disk refused.",
     [](const Snapshot& s, const Tell& tell) { tell("", number(s.cluster.reminders.unwritten)); }},
    {"barrel_p2p_map_entries", Type::gauge, "", "map", "Keys of a map.",
     [](const Snapshot& s, const Tell& tell) { for (const auto& map : s.maps) tell(map.name, number(map.size)); }},
    {"barrel_p2p_map_tombstones", Type::gauge, "", "map", "Removed keys that are remembered.",
     [](const Snapshot& s, const Tell& tell) { for (const auto& map : s.maps) tell(map.name, number(map.statistics.tombstones)); }},
    {"barrel_p2p_map_accepted_total", Type::counter, "", "map", "Entries of other nodes.",
     [](const Snapshot& s, const Tell& tell) { for (const auto& map : s.maps) tell(map.name, number(map.statistics.accepted)); }},
    {"barrel_p2p_map_refused_total", Type::counter, "", "map", "Entries of other nodes that were refused.",
     [](const Snapshot& s, const Tell& tell) { for (const auto& map : s.maps) tell(map.name, number(map.statistics.rejected)); }},
    {"barrel_p2p_map_refused_in_future_total", Type::counter, "", "map", "Of these, those with stamps too far ahead: somebody's clock is wrong.",
     [](const Snapshot& s, const Tell& tell) { for (const auto& map : s.maps) tell(map.name, number(map.statistics.rejected_in_future)); }},
    {"barrel_p2p_map_unwritten", Type::gauge, "", "map", "Entries that the disk refused.",
     [](const Snapshot& s, const Tell& tell) { for (const auto& map : s.maps) tell(map.name, number(map.statistics.unwritten)); }},
    {"barrel_p2p_map_futile_rounds_total", Type::counter, "", "map", "Rounds of anti-entropy that never end: two nodes refuse each other's entries.",
     [](const Snapshot& s, const Tell& tell) { for (const auto& map : s.maps) tell(map.name, number(map.statistics.futile_rounds)); }},
    {"barrel_p2p_peer_rtt_seconds", Type::gauge, "seconds", "peer", "Smoothed round trip.",
     [](const Snapshot& s, const Tell& tell) { each_peer(s, [&](const PeerRow& peer) { tell(peer.name, seconds_of(peer.path.smoothed_rtt)); }); }},
    {"barrel_p2p_peer_rtt_min_seconds", Type::gauge, "seconds", "peer", "Shortest round trip.",
     [](const Snapshot& s, const Tell& tell) { each_peer(s, [&](const PeerRow& peer) { tell(peer.name, seconds_of(peer.path.min_rtt)); }); }},
    {"barrel_p2p_peer_sent_bytes_total", Type::counter, "bytes", "peer", "UDP payload to the peer.",
     [](const Snapshot& s, const Tell& tell) { each_peer(s, [&](const PeerRow& peer) { tell(peer.name, number(peer.path.bytes_sent)); }); }},
    {"barrel_p2p_peer_received_bytes_total", Type::counter, "bytes", "peer", "UDP payload from the peer.",
     [](const Snapshot& s, const Tell& tell) { each_peer(s, [&](const PeerRow& peer) { tell(peer.name, number(peer.path.bytes_received)); }); }},
    {"barrel_p2p_peer_repeated_bytes_total", Type::counter, "bytes", "peer", "Of those sent, about what was lost on the way.",
     [](const Snapshot& s, const Tell& tell) { each_peer(s, [&](const PeerRow& peer) { tell(peer.name, number(peer.path.bytes_repeated)); }); }},
    {"barrel_p2p_peer_in_flight_bytes", Type::gauge, "bytes", "peer", "Sent and not acknowledged.",
     [](const Snapshot& s, const Tell& tell) { each_peer(s, [&](const PeerRow& peer) { tell(peer.name, number(peer.path.bytes_in_flight)); }); }},
    {"barrel_p2p_peer_window_bytes", Type::gauge, "bytes", "peer", "Congestion window.",
     [](const Snapshot& s, const Tell& tell) { each_peer(s, [&](const PeerRow& peer) { tell(peer.name, number(peer.path.congestion_window_bytes)); }); }},
    {"barrel_p2p_peer_queued_bytes", Type::gauge, "bytes", "peer", "Messages that wait for the peer.",
     [](const Snapshot& s, const Tell& tell) { each_peer(s, [&](const PeerRow& peer) { tell(peer.name, number(peer.queued_bytes)); }); }},
    {"barrel_p2p_peer_streams", Type::gauge, "", "peer", "Streams of programs with the peer.",
     [](const Snapshot& s, const Tell& tell) { each_peer(s, [&](const PeerRow& peer) { tell(peer.name, number(peer.path.streams)); }); }},
};
// clang-format on

std::string_view text_of(Type type) {
  switch (type) {
    case Type::counter: return "counter";
    case Type::gauge: return "gauge";
  }
  return "";
}

/// As the format wants values of labels.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char character : text) {
    if (character == '\n') {
      result += "\\n";
      continue;
    }
    if (character == '"' || character == '\\') result += '\\';
    result += character;
  }
  return result;
}

}  // namespace

std::span<const Metric> metrics() noexcept { return table; }

std::string exposition(const Snapshot& snapshot) {
  std::string text;
  for (const auto& metric : metrics()) {
    text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", metric.name, metric.help, metric.name, text_of(metric.type));
    std::set<std::string, std::less<>> told;  // a series twice would spoil the whole answer
    metric.collect(snapshot, [&](std::string_view label, double value) {
      if (!told.emplace(label).second) return;
      text += metric.name;
      if (!metric.label.empty()) text += fmt::format("{{{}=\"{}\"}}", metric.label, escaped(label));
      text += fmt::format(" {}\n", value);
    });
  }
  return text;
}

std::string metrics_document() {
  std::string text =
      "# Metrics\n\n"
      "`/metrics` of the HTTP endpoint ([operations.md](operations.md)) gives them in the text format of Prometheus. "
      "This page is written\n"
      "by `BARREL_P2P_REWRITE=1 build/release/tests/test_admin`, and a test compares it with the code. A board for "
      "Grafana is in\n"
      "[grafana/barrel_p2p.json](grafana/barrel_p2p.json).\n\n"
      "Metrics with the label `peer` are told of 128 connected nodes at most, by name, and not of tools that look in; "
      "those with the label\n"
      "`map` of 2000 maps.\n\n"
      "| metric | type | unit | label | |\n|---|---|---|---|---|\n";
  for (const auto& metric : metrics()) {
    const auto code = [](std::string_view word) { return word.empty() ? std::string() : fmt::format("`{}`", word); };
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", metric.name, text_of(metric.type), metric.unit,
                        code(metric.label), metric.help);
  }
  return text;
}

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
