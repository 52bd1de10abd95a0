#include "status_command.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <ostream>
#include <string_view>

#include "command_line.hpp"
#include "complaint.hpp"
#include "cp_progress.hpp"

namespace barrel_p2p::command {
namespace {

constexpr std::string_view not_told = "not told by this node";

std::string padded(std::string_view text, std::size_t width) {
  std::string result(text);
  if (result.size() < width) result.append(width - result.size(), ' ');
  return result;
}

/// Rows with columns as wide as their widest cell.
std::vector<std::string> table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], row[column].size());
  }
  std::vector<std::string> lines;
  for (const auto& row : rows) {
    std::string line = " ";
    for (std::size_t column = 0; column < row.size(); ++column) line += " " + padded(row[column], widths[column]);
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(std::move(line));
  }
  return lines;
}

class Lines {
 public:
  /// A section whose items stand one a line; without rows the title says why.
  void section(const std::string& title, const std::vector<std::vector<std::string>>& rows) {
    lines_.push_back(title);
    for (auto& line : table(rows)) lines_.push_back(std::move(line));
  }
  template <class Items>
  void section(const std::string& title, const std::optional<Items>& items,
               std::vector<std::vector<std::string>> (*rows)(const Items&)) {
    if (items) {
      section(title + " (" + std::to_string(items->size()) + ")", rows(*items));
    } else {
      lines_.push_back(title + ": " + std::string(not_told));
    }
  }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  std::vector<std::string> lines_;
};

using Rows = std::vector<std::vector<std::string>>;

Rows name_rows(const std::vector<std::string>& names) {
  Rows rows;
  for (const auto& name : names) rows.push_back({name});
  return rows;
}

Rows service_rows(const std::vector<ServiceLine>& services) {
  Rows rows;
  for (const auto& service : services) rows.push_back({service.name, service.node, service.pid, service.meta});
  return rows;
}

Rows leader_rows(const std::vector<LeaderLine>& leaders) {
  Rows rows;
  for (const auto& leader : leaders) {
    rows.push_back(
        {leader.role, leader.node.value_or("nobody leads"), "fence " + leader.fence.value_or("-"),
         std::to_string(leader.candidates.size()) + (leader.candidates.size() == 1 ? " candidate" : " candidates")});
  }
  return rows;
}

Rows map_rows(const std::vector<MapLine>& maps) {
  Rows rows;
  for (const auto& map : maps) rows.push_back({map.name, map.size ? std::to_string(*map.size) + " entries" : ""});
  return rows;
}

Rows owner_rows(const std::vector<std::string>& owners) {
  std::map<std::string, std::size_t> shares;
  for (const auto& owner : owners) ++shares[owner];
  Rows rows;
  for (const auto& [owner, share] : shares) rows.push_back({owner.empty() ? "nobody" : owner, std::to_string(share)});
  return rows;
}

std::string in_milliseconds(const std::optional<double>& value) {
  if (!value) return "-";
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f ms", *value);
  return text.data();
}

std::string percent(const std::optional<double>& part) {
  if (!part) return "-";
  constexpr double hundred = 100;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f %%", *part * hundred);
  return text.data();
}

std::string bytes(const std::optional<std::uint64_t>& count) {
  return count ? human_bytes(static_cast<double>(*count)) : "-";
}

Rows peer_rows(const std::vector<PeerLine>& peers) {
  Rows rows;
  if (peers.empty()) return rows;
  rows.push_back({"node", "address", "round trip", "least", "loss", "sent", "received"});
  for (const auto& peer : peers) {
    rows.push_back({peer.name + (peer.hidden ? " (hidden)" : ""), peer.address.value_or("-"),
                    in_milliseconds(peer.rtt_ms), in_milliseconds(peer.rtt_min_ms), percent(peer.loss),
                    bytes(peer.sent_bytes), bytes(peer.received_bytes)});
  }
  return rows;
}

Rows reminder_rows(const NodeState& state) {
  constexpr std::size_t shown_max = 5;
  Rows rows;
  if (!state.reminders_next) return rows;
  for (const auto& reminder : *state.reminders_next) {
    if (rows.size() == shown_max) break;
    rows.push_back({time_text(reminder.due), reminder.key, reminder.here ? "of this node" : ""});
  }
  return rows;
}

std::string headline(const NodeState& state) {
  std::string text = state.name + "  ";
  if (state.kind == "cpp") text += "C++ node";
  if (state.kind == "erlang") text += "Erlang node";
  if (state.kind == "unknown") text += "node of unknown kind";
  if (state.version) text += ", barrel_p2p " + *state.version;
  if (state.uptime_ms) text += ", up " + duration_text(*state.uptime_ms);
  if (state.port) text += ", UDP port " + std::to_string(*state.port);
  return text;
}

}  // namespace

std::vector<std::string> status_lines(const NodeState& state) {
  Lines lines;
  lines.section(headline(state), Rows());
  lines.section("members", state.members, name_rows);
  lines.section("active view", state.active, name_rows);
  lines.section("passive view", state.passive, name_rows);
  lines.section("services", state.services, service_rows);
  lines.section("leaders", state.leaders, leader_rows);
  lines.section("partitions", state.owners, owner_rows);
  lines.section("maps", state.maps, map_rows);
  lines.section(
      state.reminders ? "reminders (" + std::to_string(*state.reminders) + ")" : "reminders: " + std::string(not_told),
      reminder_rows(state));
  lines.section("peers (" + std::to_string(state.peers.size()) + ")", peer_rows(state.peers));
  if (state.cut) lines.section("Lists were cut off: there is more.", Rows());
  return lines.take();
}

int run_status_command(const StatusCommand& command, std::ostream& output, std::ostream& errors) {
  const Complaints complaints{errors, "status", command.json};
  auto remote = Remote::open(command);
  if (!remote) return complaints.tell(remote.error().status, remote.error().text);
  const auto state = node_state(*remote);
  if (!state) return complaints.tell(exit_not_answered, remote->text_of(state.error(), "members"));
  if (command.json) {
    output << to_json(*state).text() << '\n';
  } else {
    for (const auto& line : status_lines(*state)) output << line << '\n';
  }
  output.flush();
  return exit_ok;
}

}  // namespace barrel_p2p::command
