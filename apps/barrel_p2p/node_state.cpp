#include "node_state.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <utility>

#include "base/clock.hpp"
#include "base/printable.hpp"
#include "remote.hpp"
#include "services/placement.hpp"

namespace barrel_p2p::command {
namespace {

using Told = Result<Term>;

RemoteFunction facade(const char* function, std::vector<Term> arguments = {}) {
  return {Atom("barrel_p2p"), Atom(function), std::move(arguments)};
}

std::optional<std::vector<std::string>> names_of(const Told& answer) {
  if (!answer || !answer->is_proper_list()) return std::nullopt;
  std::vector<std::string> names;
  for (const auto& name : answer->elements()) names.push_back(plain_text(name));
  std::ranges::sort(names);
  return names;
}

/// An entry of a map of ours as Erlang text; nothing if it is not there, or `undefined`.
std::optional<std::string> text_of(const Term& map, const char* key) {
  const Term* value = map.find(Atom(key));
  if (value == nullptr || value->is_atom("undefined")) return std::nullopt;
  return plain_text(*value);
}

std::optional<std::uint64_t> number_of(const Term& map, const char* key) {
  const Term* value = map.find(Atom(key));
  return value == nullptr ? std::nullopt : value->as_uint64();
}

std::optional<double> milliseconds_of(const Term& path, const char* key) {
  constexpr double micro = 1000;
  const auto microseconds = number_of(path, key);
  if (!microseconds || *microseconds == 0) return std::nullopt;  // not measured yet
  return static_cast<double>(*microseconds) / micro;
}

/// Whatever tells about the node itself, C++ or Erlang.
void describe(NodeState& state, const Told& info, const Told& release, const Told& version, const Told& clock) {
  if (info && info->is_map()) {
    state.kind = "cpp";
    state.version = without_controls(info->get<std::string>(Atom("version")).value_or(""));
    state.uptime_ms = info->get<std::int64_t>(Atom("uptime_ms")).value_or(0);
    state.port = number_of(*info, "port");
    return;
  }
  state.kind = release ? "erlang" : "unknown";
  if (version && version->is_tagged("ok", 2)) {
    state.version = without_controls((*version)[1].to<std::string>().value_or(""));
  }
  if (clock && clock->is_tuple(2)) state.uptime_ms = (*clock)[0].as_int64();
}

void describe_path(PeerLine& peer, const Told& answer) {
  if (!answer || !answer->is_tagged("ok", 2)) return;
  const Term& path = (*answer)[1];
  peer.rtt_ms = milliseconds_of(path, "srtt");
  peer.rtt_min_ms = milliseconds_of(path, "min_rtt");
  peer.sent_bytes = number_of(path, "bytes_sent");
  peer.received_bytes = number_of(path, "bytes_received");
  peer.in_flight = number_of(path, "bytes_in_flight");
  const auto repeated = number_of(path, "bytes_repeated");
  // At first most packets are of the handshake and of probes, which are no loss: not to be told from repeats.
  constexpr std::uint64_t packets_min = 200;
  if (number_of(path, "packets_sent").value_or(packets_min) < packets_min) return;
  if (repeated && peer.sent_bytes && *peer.sent_bytes > 0) {
    peer.loss = static_cast<double>(*repeated) / static_cast<double>(*peer.sent_bytes);
  }
}

std::vector<PeerLine> peer_lines(Remote& remote, const Told& peers, const Told& nodes) {
  std::vector<PeerLine> lines;
  std::vector<RemoteFunction> paths;
  const auto add = [&](const Term& node, PeerLine line) {
    line.name = plain_text(node);
    lines.push_back(std::move(line));
    paths.emplace_back(Atom("barrel_p2p_path_stats"), Atom("summary"), std::vector<Term>{node});
  };
  if (peers && peers->is_proper_list()) {
    for (const auto& peer : peers->elements()) {
      const Term* node = peer.find(Atom("node"));
      if (node == nullptr || node->is_atom(remote.visitor().name().text())) continue;  // that is us
      PeerLine line;
      line.address = without_controls(peer.get<std::string>(Atom("address")).value_or(""));
      line.hidden = peer.get<bool>(Atom("hidden")).value_or(false);
      add(*node, std::move(line));
    }
  } else if (nodes && nodes->is_proper_list()) {
    for (const auto& node : nodes->elements()) add(node, {});
  }
  const auto answers = remote.call_all(std::move(paths));
  for (std::size_t index = 0; index < answers.size(); ++index) describe_path(lines[index], answers[index]);
  std::ranges::sort(lines, {}, &PeerLine::name);
  return lines;
}

std::vector<MapLine> map_lines(Remote& remote, const Term& maps) {
  std::vector<MapLine> lines;
  std::vector<RemoteFunction> sizes;
  for (const auto& map : maps.elements()) {
    lines.push_back({plain_text(map), std::nullopt});
    sizes.push_back(facade("map_statistics", {map}));
  }
  const auto answers = remote.call_all(std::move(sizes));
  for (std::size_t index = 0; index < answers.size(); ++index) {
    if (answers[index]) lines[index].size = number_of(*answers[index], "entries");
  }
  return lines;
}

void describe_services(NodeState& state, Remote& remote, const Told& names) {
  if (!names || !names->is_proper_list()) return;
  std::vector<Term> some(names->elements().begin(), names->elements().end());
  state.cut = state.cut || some.size() > listed_max;
  some.resize(std::min(some.size(), listed_max));
  if (auto lines = services_of(remote, some)) state.services = std::move(*lines);
}

std::vector<std::string> owners_of(const Term& owners) {
  std::vector<std::string> names;
  for (const auto& owner : owners.elements()) names.push_back(owner.is_atom("undefined") ? "" : plain_text(owner));
  return names;
}

/// As every node computes it, from the members and the size of the ring that an Erlang node was configured with.
std::vector<std::string> computed_owners(const std::vector<std::string>& members, std::uint64_t ring_size) {
  std::vector<Atom> atoms(members.begin(), members.end());
  services::Ring ring(static_cast<std::uint32_t>(ring_size));
  ring.set_members(atoms);
  std::vector<std::string> names;
  for (std::uint32_t partition = 0; partition < ring.size(); ++partition) {
    const Atom* owner = ring.owner(partition);
    names.push_back(owner == nullptr ? "" : owner->string());
  }
  return names;
}

std::optional<std::vector<std::string>> owners_told(const Told& placement, const Told& ring_size,
                                                    const std::optional<std::vector<std::string>>& members) {
  if (placement && placement->is_proper_list()) return owners_of(*placement);
  const auto size = ring_size ? ring_size->as_uint64() : std::nullopt;
  if (!size || *size == 0 || *size > services::ring_size_max || !members) return std::nullopt;
  return computed_owners(*members, *size);
}

RemoteFunction ask_ring_size() {
  return {Atom("application"), Atom("get_env"), {Atom("barrel_p2p"), Atom("ring_size"), services::ring_size_default}};
}

Json placement_json(const NodeState& state) {
  if (!state.owners) return {};
  std::vector<std::string> members;
  for (const auto& owner : *state.owners) {
    if (!owner.empty()) members.push_back(owner);
  }
  std::ranges::sort(members);
  const auto rest = std::ranges::unique(members);
  members.erase(rest.begin(), rest.end());
  std::vector<Json> owners;
  for (const auto& owner : *state.owners) {
    const auto at = std::ranges::lower_bound(members, owner);
    owners.push_back(owner.empty() ? Json() : Json(at - members.begin()));
  }
  return JsonObject().set("partitions", state.owners->size()).set("members", members).set("owners", owners);
}

Json peer_json(const PeerLine& peer) {
  return JsonObject()
      .set("name", peer.name)
      .set("address", peer.address)
      .set("hidden", peer.hidden)
      .set("rtt_ms", peer.rtt_ms)
      .set("rtt_min_ms", peer.rtt_min_ms)
      .set("loss", peer.loss)
      .set("sent_bytes", peer.sent_bytes)
      .set("received_bytes", peer.received_bytes)
      .set("in_flight", peer.in_flight);
}

Json reminders_json(const NodeState& state) {
  if (!state.reminders) return {};
  return JsonObject()
      .set("pending", state.reminders)
      .set("next", state.reminders_next ? json_list(*state.reminders_next) : Json());
}

}  // namespace

std::vector<ServiceLine> service_lines(const Term& entries) {
  std::vector<ServiceLine> lines;
  for (const auto& entry : entries.elements()) {
    if (!entry.is_tuple() || entry.size() < 5) continue;  // {service_entry, Name, Pid, Node, Meta, ...}
    ServiceLine line{plain_text(entry[1]), plain_text(entry[3]), plain_text(entry[2]), to_text(entry[4])};
    const auto same = [&](const ServiceLine& other) { return other.node == line.node && other.pid == line.pid; };
    // Erlang nodes list their own entry twice.
    if (std::ranges::none_of(lines, same)) lines.push_back(std::move(line));
  }
  return lines;
}

Result<std::vector<ServiceLine>> services_of(Remote& remote, const std::vector<Term>& names) {
  std::vector<RemoteFunction> lookups;
  lookups.reserve(names.size());
  for (const auto& name : names) lookups.push_back(facade("lookup", {name}));
  std::vector<ServiceLine> lines;
  for (const auto& answer : remote.call_all(std::move(lookups))) {
    if (!answer) return std::unexpected(answer.error());
    if (!answer->is_tagged("ok", 2)) continue;  // it went meanwhile
    for (auto& line : service_lines((*answer)[1])) lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<LeaderLine> leader_lines(const Term& leaders) {
  std::vector<LeaderLine> lines;
  for (const auto& leader : leaders.elements()) {
    LeaderLine line;
    line.role = text_of(leader, "role").value_or("");
    line.node = text_of(leader, "node");
    line.pid = text_of(leader, "pid");
    line.fence = text_of(leader, "fence");
    if (const Term* candidates = leader.find(Atom("candidates"))) {
      for (const auto& node : candidates->elements()) line.candidates.push_back(plain_text(node));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<ReminderLine> reminder_lines(const Term& reminders) {
  std::vector<ReminderLine> lines;
  for (const auto& reminder : reminders.elements()) {
    ReminderLine line;
    if (const Term* key = reminder.find(Atom("key"))) line.key = to_text(*key);
    if (const Term* payload = reminder.find(Atom("payload"))) line.payload = to_text(*payload);
    line.due = reminder.get<std::int64_t>(Atom("due")).value_or(0);
    line.here = reminder.get<bool>(Atom("here")).value_or(false);
    lines.push_back(std::move(line));
  }
  return lines;
}

Result<std::vector<std::string>> partition_owners(Remote& remote) {
  std::vector<RemoteFunction> questions{facade("placement"), ask_ring_size(), facade("members")};
  const auto answers = remote.call_all(std::move(questions));
  auto owners = owners_told(answers[0], answers[1], names_of(answers[2]));
  if (owners) return std::move(*owners);
  return std::unexpected(answers[0] ? Error(Errc::undefined_function) : answers[0].error());
}

Result<NodeState> node_state(Remote& remote) {
  NodeState state;
  state.name = remote.name().string();
  state.time = wall_now();
  std::vector<RemoteFunction> questions{
      facade("node_info"),
      {Atom("erlang"), Atom("system_info"), {Atom("otp_release")}},
      {Atom("application"), Atom("get_key"), {Atom("barrel_p2p"), Atom("vsn")}},
      {Atom("erlang"), Atom("statistics"), {Atom("wall_clock")}},
      facade("members"),
      facade("active_view"),
      facade("passive_view"),
      facade("leaders"),
      facade("placement"),
      ask_ring_size(),
      facade("maps"),
      facade("reminder_statistics"),
      facade("reminders", {100}),
      facade("peers"),
      {Atom("erlang"), Atom("nodes"), {}},
      facade("list_services"),
  };
  const auto told = remote.call_all(std::move(questions));
  const Told& nodes = told[14];
  if (!nodes) return std::unexpected(nodes.error());
  describe(state, told[0], told[1], told[2], told[3]);
  state.members = names_of(told[4]);
  state.active = names_of(told[5]);
  state.passive = names_of(told[6]);
  if (const auto& leaders = told[7]; leaders && leaders->is_tuple(2)) {
    state.leaders = leader_lines((*leaders)[0]);
    state.cut = state.cut || (*leaders)[1].as_bool().value_or(false);
  }
  state.owners = owners_told(told[8], told[9], state.members);
  if (told[10] && told[10]->is_proper_list()) state.maps = map_lines(remote, *told[10]);
  if (told[11]) state.reminders = number_of(*told[11], "pending");
  if (told[12] && told[12]->is_tuple(2)) state.reminders_next = reminder_lines((*told[12])[0]);
  state.peers = peer_lines(remote, told[13], nodes);
  describe_services(state, remote, told[15]);
  return state;
}

Json to_json(const ServiceLine& line) {
  return JsonObject().set("name", line.name).set("node", line.node).set("pid", line.pid).set("meta", line.meta);
}

Json to_json(const LeaderLine& line) {
  return JsonObject()
      .set("role", line.role)
      .set("node", line.node)
      .set("pid", line.pid)
      .set("fence", line.fence)
      .set("candidates", line.candidates);
}

Json to_json(const ReminderLine& line) {
  return JsonObject().set("key", line.key).set("due", line.due).set("payload", line.payload).set("here", line.here);
}

Json to_json(const NodeState& state) {
  std::vector<Json> maps;
  for (const auto& map : state.maps.value_or(std::vector<MapLine>())) {
    maps.push_back(JsonObject().set("name", map.name).set("size", map.size));
  }
  std::vector<Json> peers;
  peers.reserve(state.peers.size());
  for (const auto& peer : state.peers) peers.push_back(peer_json(peer));
  return JsonObject()
      .set("time", state.time)
      .set("node", JsonObject()
                       .set("name", state.name)
                       .set("kind", state.kind)
                       .set("version", state.version)
                       .set("uptime_ms", state.uptime_ms)
                       .set("port", state.port))
      .set("members", state.members)
      .set("active", state.active)
      .set("passive", state.passive)
      .set("services", state.services ? json_list(*state.services) : Json())
      .set("leaders", state.leaders ? json_list(*state.leaders) : Json())
      .set("placement", placement_json(state))
      .set("maps", state.maps ? Json(maps) : Json())
      .set("reminders", reminders_json(state))
      .set("peers", peers)
      .set("cut", state.cut);
}

std::string time_text(std::int64_t unix_ms) {
  constexpr std::int64_t second = 1000;
  const std::int64_t rest = ((unix_ms % second) + second) % second;
  const auto seconds = static_cast<std::time_t>((unix_ms - rest) / second);
  std::tm parts{};
  std::array<char, 80> text{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return std::to_string(unix_ms);
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (size == 0) return std::to_string(unix_ms);
  std::string result(text.data(), size);
  if (rest != 0) result += "." + std::to_string(second + rest).substr(1);
  return result + "Z";
}

std::string duration_text(std::int64_t ms) {
  constexpr std::int64_t minute = 60;
  constexpr std::int64_t hour = 60 * minute;
  constexpr std::int64_t day = 24 * hour;
  const std::int64_t seconds = ms / 1000;
  const auto two = [](std::int64_t large, const char* unit, std::int64_t small, const char* smaller) {
    return std::to_string(large) + unit + std::to_string(small) + smaller;
  };
  if (seconds >= day) return two(seconds / day, " d ", seconds % day / hour, " h");
  if (seconds >= hour) return two(seconds / hour, " h ", seconds % hour / minute, " min");
  if (seconds >= minute) return two(seconds / minute, " min ", seconds % minute, " s");
  return std::to_string(seconds) + " s";
}

}  // namespace barrel_p2p::command
