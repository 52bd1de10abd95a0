// What a node knows, asked for by remote calls: of C++ nodes all of it, of Erlang nodes what their library tells.
// Nothing in an optional: this node does not tell.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "json.hpp"

namespace barrel_p2p::command {

class Remote;

struct ServiceLine {
  std::string name;  ///< Erlang text, as are pids, metadata, roles and keys.
  std::string node;
  std::string pid;
  std::string meta;
};

struct LeaderLine {
  std::string role;
  std::optional<std::string> node;  ///< Nobody leads.
  std::optional<std::string> pid;
  std::optional<std::string> fence;  ///< The greatest one known of the role.
  std::vector<std::string> candidates;
};

struct MapLine {
  std::string name;
  std::optional<std::uint64_t> size;
};

struct ReminderLine {
  std::string key;
  std::int64_t due = 0;  ///< Unix milliseconds.
  std::string payload;
  bool here = false;  ///< The node that was asked owns the key.
};

struct PeerLine {
  std::string name;
  std::optional<std::string> address;
  bool hidden = false;
  std::optional<double> rtt_ms;
  std::optional<double> rtt_min_ms;
  std::optional<double> loss;  ///< 0 to 1: about the part of the bytes that had to be sent again.
  std::optional<std::uint64_t> sent_bytes;
  std::optional<std::uint64_t> received_bytes;
  std::optional<std::uint64_t> in_flight;
};

struct NodeState {
  std::string name;
  std::string kind;  ///< `cpp`, `erlang`, `unknown`
  std::optional<std::string> version;
  std::optional<std::int64_t> uptime_ms;
  std::optional<std::uint64_t> port;
  std::int64_t time = 0;  ///< When it was asked, by the clock of this machine.
  std::optional<std::vector<std::string>> members;
  std::optional<std::vector<std::string>> active;
  std::optional<std::vector<std::string>> passive;
  std::optional<std::vector<ServiceLine>> services;
  std::optional<std::vector<LeaderLine>> leaders;
  std::optional<std::vector<std::string>> owners;  ///< One a partition; empty where there is none.
  std::optional<std::vector<MapLine>> maps;
  std::optional<std::uint64_t> reminders;  ///< That are pending.
  std::optional<std::vector<ReminderLine>> reminders_next;
  std::vector<PeerLine> peers;
  bool cut = false;  ///< There are more services, roles or reminders than these.
};

/// Lists are cut off at this, and `cut` says so.
inline constexpr std::size_t listed_max = 500;

/// Error: it answers nothing at all.
Result<NodeState> node_state(Remote& remote);

Result<std::vector<ServiceLine>> services_of(Remote& remote, const std::vector<Term>& names);
/// What `lookup` gives of one name.
std::vector<ServiceLine> service_lines(const Term& entries);
std::vector<LeaderLine> leader_lines(const Term& leaders);
std::vector<ReminderLine> reminder_lines(const Term& reminders);
/// The owner of each partition, computed here where the node does not tell: all nodes compute alike.
Result<std::vector<std::string>> partition_owners(Remote& remote);

Json to_json(const ServiceLine& line);
Json to_json(const LeaderLine& line);
Json to_json(const ReminderLine& line);
/// The shape of /api/state, as far as it is told; null where it is not.
Json to_json(const NodeState& state);

template <class Line>
Json json_list(const std::vector<Line>& lines) {
  std::vector<Json> values;
  values.reserve(lines.size());
  for (const auto& line : lines) values.push_back(to_json(line));
  return values;
}

/// `2026-11-28T17:05:00Z`, with milliseconds if there are any.
std::string time_text(std::int64_t unix_ms);
/// `3 d 2 h`, `5 min 3 s`, `12 s`.
std::string duration_text(std::int64_t ms);

}  // namespace barrel_p2p::command
