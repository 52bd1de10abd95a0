// TOML to NodeConfig. One table below names every key, its range and where it goes.
#include <barrel_p2p/node_config.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <system_error>
#include <tuple>

#include "base/toml.hpp"
#include "node/config_keys.hpp"
#include "services/placement.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using Read = std::function<Result<void>(const toml::node& value, NodeConfig& config)>;

/// What a key is about.
struct Field {
  /// How a value is written where there is no TOML around it.
  enum class Form : std::uint8_t { text, list, toml };
  Form form;
  Read read;
  std::function<bool(NodeConfig& left, NodeConfig& right)> same;
  /// Of times, which programs give without it.
  std::function<Result<void>(NodeConfig& config)> check{};
};

struct Key {
  std::string_view table;  ///< Empty: top level.
  std::string_view name;
  Field field;
};

template <class Access>
Field field(Field::Form form, Access access, Read read) {
  return {form,
          std::move(read),
          [access](NodeConfig& left, NodeConfig& right) { return access(left) == access(right); },
          {}};
}

Result<void> bad(std::string expected) { return fail(Errc::invalid_config, "must be " + std::move(expected)); }

template <class Access>
Field text(Access access, std::string_view what = "a string") {
  return field(Field::Form::text, access, [access, what](const toml::node& value, NodeConfig& config) -> Result<void> {
    const auto* string = value.as_string();
    if (string == nullptr) return bad(std::string(what));
    access(config) = string->get();
    return {};
  });
}

template <class Access>
Field boolean(Access access) {
  return field(Field::Form::toml, access, [access](const toml::node& value, NodeConfig& config) -> Result<void> {
    const auto* flag = value.as_boolean();
    if (flag == nullptr) return bad("true or false");
    access(config) = flag->get();
    return {};
  });
}

std::string range_text(std::int64_t low, std::int64_t high) {
  return "an integer from " + std::to_string(low) + " to " + std::to_string(high);
}

template <class Access>
Field integer(std::int64_t low, std::int64_t high, Access access) {
  return field(Field::Form::toml, access,
               [low, high, access](const toml::node& value, NodeConfig& config) -> Result<void> {
                 const auto* number = value.as_integer();
                 if (number == nullptr || number->get() < low || number->get() > high)
                   return bad(range_text(low, high));
                 auto& target = access(config);
                 target = static_cast<std::remove_reference_t<decltype(target)>>(number->get());
                 return {};
               });
}

template <class Duration, class Access>
Field duration(std::int64_t low, std::int64_t high, const char* unit, Access access) {
  const auto fits = [low, high](std::int64_t count) { return count >= low && count <= high; };
  const auto expected = [low, high, unit] { return bad(range_text(low, high) + " (" + unit + ")"); };
  Field made = field(Field::Form::toml, access,
                     [access, fits, expected](const toml::node& value, NodeConfig& config) -> Result<void> {
                       const auto* number = value.as_integer();
                       if (number == nullptr || !fits(number->get())) return expected();
                       access(config) = Duration(number->get());
                       return {};
                     });
  made.check = [access, fits, expected](NodeConfig& config) {
    const Duration value = access(config);
    return fits(value.count()) ? Result<void>() : expected();
  };
  return made;
}

template <class Access>
Field milliseconds(std::int64_t low, std::int64_t high, Access access) {
  return duration<std::chrono::milliseconds>(low, high, "milliseconds", access);
}

template <class Access>
Field microseconds(std::int64_t low, std::int64_t high, Access access) {
  return duration<std::chrono::microseconds>(low, high, "microseconds", access);
}

template <class Access>
Field strings(Access access) {
  return field(Field::Form::list, access, [access](const toml::node& value, NodeConfig& config) -> Result<void> {
    const auto* array = value.as_array();
    if (array == nullptr) return bad("an array of strings");
    std::vector<std::string> list;
    for (const auto& element : *array) {
      const auto* string = element.as_string();
      if (string == nullptr) return bad("an array of strings");
      list.push_back(string->get());
    }
    access(config) = std::move(list);
    return {};
  });
}

/// A string that is one of a few words.
template <class Value, std::size_t count, class Access>
Field choice(const std::array<std::pair<std::string_view, Value>, count>& words, Access access) {
  return field(Field::Form::text, access, [words, access](const toml::node& value, NodeConfig& config) -> Result<void> {
    std::string expected = "one of";
    for (const auto& [word, meaning] : words) {
      if (const auto* string = value.as_string(); string != nullptr && string->get() == word) {
        access(config) = meaning;
        return {};
      }
      expected.append(" \"").append(word).append("\"");
    }
    return bad(expected);
  });
}

/// A number that may be absent.
template <class Access>
Field optional_port(Access access) {
  return field(Field::Form::toml, access, [access](const toml::node& value, NodeConfig& config) -> Result<void> {
    const auto* number = value.as_integer();
    if (number == nullptr || number->get() < 0 || number->get() > UINT16_MAX) return bad(range_text(0, UINT16_MAX));
    access(config) = static_cast<std::uint16_t>(number->get());
    return {};
  });
}

Result<void> read_static_nodes(const toml::node& value, NodeConfig& config) {
  const auto* table = value.as_table();
  if (table == nullptr) return bad("a table of \"name@host\" = \"address:port\"");
  std::map<std::string, std::string> nodes;
  for (const auto& [name, address] : *table) {
    const auto* string = address.as_string();
    if (string == nullptr) return bad("a table of \"name@host\" = \"address:port\"");
    nodes[std::string(name.str())] = string->get();
  }
  config.static_nodes = std::move(nodes);
  return {};
}

constexpr std::int64_t hour_ms = 3'600'000;
constexpr std::int64_t kib = 1024;
constexpr std::int64_t gib = kib * kib * kib;
constexpr std::int64_t port_max = 65'535;

/// Access to a member of the configuration, or of a part of it.
template <class Member>
auto at(Member NodeConfig::* member) {
  return [member](NodeConfig& config) -> Member& { return config.*member; };
}
template <class Part, class Member>
auto at(Part NodeConfig::* part, Member Part::* member) {
  return [part, member](NodeConfig& config) -> Member& { return config.*part.*member; };
}

std::vector<Key> top_level_keys() {
  constexpr std::array<std::pair<std::string_view, TrustMode>, 2> trust{
      {{"tofu", TrustMode::tofu}, {"strict", TrustMode::strict}}};
  constexpr std::array<std::pair<std::string_view, LogLevel>, 5> levels{{{"debug", LogLevel::debug},
                                                                         {"info", LogLevel::info},
                                                                         {"warning", LogLevel::warning},
                                                                         {"error", LogLevel::error},
                                                                         {"off", LogLevel::off}}};
  constexpr std::array<std::pair<std::string_view, LogFormat>, 2> formats{
      {{"text", LogFormat::text}, {"json", LogFormat::json}}};
  constexpr std::array<std::pair<std::string_view, CongestionControl>, 2> congestion{
      {{"bbr", CongestionControl::bbr}, {"cubic", CongestionControl::cubic}}};
  return {
      {"", "name", text(at(&NodeConfig::name))},
      {"", "listen", text(at(&NodeConfig::listen))},
      {"", "listen_port", integer(0, port_max, at(&NodeConfig::port))},
      {"", "advertise", text(at(&NodeConfig::advertise))},
      {"", "advertise_port", integer(0, port_max, at(&NodeConfig::advertise_port))},
      {"", "data_dir", text(at(&NodeConfig::data_dir))},
      {"", "quic_cert_dir", text(at(&NodeConfig::certificate_dir))},
      {"", "cert_file", text(at(&NodeConfig::certificate_file))},
      {"", "key_file", text(at(&NodeConfig::certificate_key_file))},
      {"", "stateless_reset_key_file", text(at(&NodeConfig::stateless_reset_key_file))},
      {"", "discovery_dir", text(at(&NodeConfig::discovery_dir))},
      {"", "discovery_backends", strings(at(&NodeConfig::discovery_backends))},
      {"", "nodes", field(Field::Form::toml, at(&NodeConfig::static_nodes), read_static_nodes)},
      {"", "dns_port", integer(1, port_max, at(&NodeConfig::dns_port))},
      {"", "dist_cookie", text(at(&NodeConfig::cookie))},
      {"", "auth_enabled", boolean(at(&NodeConfig::authentication, &AuthenticationConfig::enabled))},
      {"", "auth_trust_mode", choice(trust, at(&NodeConfig::authentication, &AuthenticationConfig::trust_mode))},
      {"", "auth_key_dir", text(at(&NodeConfig::authentication, &AuthenticationConfig::key_dir))},
      {"", "auth_handshake_timeout",
       milliseconds(100, hour_ms, at(&NodeConfig::authentication, &AuthenticationConfig::handshake_timeout))},
      {"", "auth_timestamp_window",
       milliseconds(1000, 24 * hour_ms, at(&NodeConfig::authentication, &AuthenticationConfig::timestamp_window))},
      {"", "auth_refuse_shared_keys",
       boolean(at(&NodeConfig::authentication, &AuthenticationConfig::refuse_shared_keys))},
      {"", "auth_pins_max", integer(1, 10'000'000, at(&NodeConfig::authentication, &AuthenticationConfig::pins_max))},
      {"", "auth_pins_per_minute_max",
       integer(1, 1'000'000, at(&NodeConfig::authentication, &AuthenticationConfig::pins_per_minute_max))},
      {"", "auth_key_watch_ms",
       milliseconds(0, hour_ms, at(&NodeConfig::authentication, &AuthenticationConfig::key_watch))},
      {"", "cookie_only_nodes", strings(at(&NodeConfig::authentication, &AuthenticationConfig::cookie_only_nodes))},
      {"", "congestion_control", choice(congestion, at(&NodeConfig::congestion_control))},
      {"", "setup_timeout_ms", milliseconds(100, 60'000, at(&NodeConfig::setup_timeout))},
      {"", "publish", boolean(at(&NodeConfig::publish))},
      {"", "hidden", boolean(at(&NodeConfig::hidden))},
      {"", "migrate_on_network_change", boolean(at(&NodeConfig::migrate_on_network_change))},
      {"", "auto_connect", boolean(at(&NodeConfig::auto_connect))},
      {"", "workers", integer(0, 1024, at(&NodeConfig::workers))},
      {"", "busy_poll_us", microseconds(0, 10'000, at(&NodeConfig::busy_poll))},
      {"", "dist_gc_sweep_period_ms", milliseconds(100, hour_ms, at(&NodeConfig::idle_sweep))},
      {"", "dist_gc_min_age_ms", milliseconds(0, 24 * hour_ms, at(&NodeConfig::idle_close_after))},
      {"", "log_level", choice(levels, at(&NodeConfig::log_level))},
      {"", "log_format", choice(formats, at(&NodeConfig::log_format))},
  };
}

std::vector<Key> membership_keys() {
  const auto in = [](auto member) { return at(&NodeConfig::membership, member); };
  using Config = MembershipConfig;
  constexpr std::int64_t week_ms = 7 * 24 * hour_ms;
  return {
      {"", "contact_nodes", strings(in(&Config::contacts))},
      {"", "active_size", integer(2, 64, in(&Config::active_size))},
      {"", "passive_size", integer(2, 1024, in(&Config::passive_size))},
      {"", "arwl", integer(1, 16, in(&Config::arwl))},
      {"", "prwl", integer(1, 16, in(&Config::prwl))},
      {"", "shuffle_length", integer(1, 128, in(&Config::shuffle_length))},
      {"", "shuffle_period", milliseconds(100, hour_ms, in(&Config::shuffle_period))},
      {"", "max_fail_count", integer(1, 100, in(&Config::max_fail_count))},
      {"", "base_backoff_ms", milliseconds(100, hour_ms, in(&Config::base_backoff))},
      {"", "passive_max_age_ms", milliseconds(100, week_ms, in(&Config::passive_max_age))},
      {"", "passive_cleanup_period", milliseconds(100, week_ms, in(&Config::passive_cleanup_period))},
      {"", "churn_window_ms", milliseconds(100, hour_ms, in(&Config::churn_window))},
      {"", "pending_timeout_ms", milliseconds(100, hour_ms, in(&Config::pending_timeout))},
      {"", "contact_retry_ms", milliseconds(100, hour_ms, in(&Config::contact_retry))},
      {"", "remember_peers", boolean(in(&Config::remember))},
  };
}

/// One option of a map, or its name.
Result<void> read_map_option(std::string_view key, const toml::node& value, MapAtStart& map) {
  const auto wrong = [&](const char* expected) {
    return fail(Errc::invalid_config, "has " + std::string(key) + ", which must be " + expected);
  };
  if (key == "name") {
    const auto name = value.value_exact<std::string>();
    if (!name) return wrong("a string");
    map.name = *name;
  } else if (key == "persist" || key == "prune_on_peer_down") {
    const auto flag = value.value_exact<bool>();
    if (!flag) return wrong("true or false");
    (key == "persist" ? map.options.persist : map.options.prune_on_node_down) = *flag;
  } else if (key == "tombstone_ttl_ms") {
    const auto number = value.value_exact<std::int64_t>();
    if (!number) return wrong("an integer (milliseconds)");
    map.options.tombstone_ttl = std::chrono::milliseconds(*number);
  } else if (key == "scan_ms") {
    if (!value.value_exact<std::int64_t>()) return wrong("an integer (milliseconds)");  // of Erlang nodes only
  } else {
    return fail(
        Errc::invalid_config,
        "has a table in which " + std::string(key) +
            " is no option of a map: there are name, persist, prune_on_peer_down, tombstone_ttl_ms and scan_ms");
  }
  return {};
}

/// `[[replicated_maps]]`: name, and options.
Result<void> read_maps(const toml::node& value, NodeConfig& config) {
  const auto* array = value.as_array();
  if (array == nullptr) return bad("an array of tables, each with a name");
  std::vector<MapAtStart> maps;
  for (const auto& element : *array) {
    const auto* table = element.as_table();
    if (table == nullptr) return bad("an array of tables, each with a name");
    MapAtStart map;
    for (const auto& [key, option] : *table) {
      if (auto read = read_map_option(key.str(), option, map); !read) return read;
    }
    maps.push_back(std::move(map));
  }
  config.replication.maps = std::move(maps);
  return {};
}

bool same_maps(NodeConfig& left, NodeConfig& right) {
  return std::ranges::equal(
      left.replication.maps, right.replication.maps, [](const MapAtStart& one, const MapAtStart& other) {
        const auto values = [](const MapAtStart& map) {
          return std::tie(map.name, map.options.persist, map.options.prune_on_node_down, map.options.tombstone_ttl);
        };
        return values(one) == values(other);
      });
}

std::vector<Key> replication_keys() {
  const auto in = [](auto member) { return at(&NodeConfig::replication, member); };
  using Config = ReplicationConfig;
  constexpr std::int64_t month_ms = 30 * 24 * hour_ms;
  return {
      {"", "store_dir", text(in(&Config::store_dir))},
      {"", "member_heartbeat_ms", milliseconds(100, hour_ms, in(&Config::heartbeat))},
      {"", "member_ttl_ms", milliseconds(200, 24 * hour_ms, in(&Config::lease))},
      {"", "member_skew_ms", milliseconds(0, 24 * hour_ms, in(&Config::lease_skew))},
      {"", "ring_size", integer(1, services::ring_size_max, in(&Config::ring_size))},
      {"", "placement_min_members", integer(1, 1'000'000, in(&Config::placement_members_min))},
      {"", "replica_anti_entropy_ms", milliseconds(0, 24 * hour_ms, in(&Config::anti_entropy))},
      {"", "clock_skew_max_ms", milliseconds(0, month_ms, in(&Config::clock_skew_max))},
      {"", "barrel_p2p_map_scan_ms", milliseconds(100, hour_ms, in(&Config::map_scan))},
      {"", "barrel_p2p_map_tombstone_ttl_ms", milliseconds(1000, month_ms, in(&Config::map_tombstone_ttl))},
      {"", "map_tombstone_hold_ms", milliseconds(0, 12 * month_ms, in(&Config::map_tombstone_hold))},
      {"", "map_entry_bytes_max", integer(kib, 16 * kib * kib, in(&Config::map_entry_bytes_max))},
      {"", "service_meta_bytes_max", integer(64, kib * kib, in(&Config::service_meta_bytes_max))},
      {"", "service_tombstone_ttl_ms", milliseconds(1000, month_ms, in(&Config::service_tombstone_ttl))},
      {"", "replicated_maps", {Field::Form::toml, read_maps, same_maps, {}}},
  };
}

std::vector<Key> reminder_keys() {
  const auto in = [](auto member) {
    return [member](NodeConfig& config) -> auto& { return config.replication.reminders.*member; };
  };
  using Config = ReminderConfig;
  constexpr std::int64_t month_ms = 30 * 24 * hour_ms;
  constexpr std::array<std::pair<std::string_view, LatePolicy>, 3> policies{
      {{"fire", LatePolicy::fire}, {"skip", LatePolicy::skip}, {"notify", LatePolicy::notify}}};
  return {
      {"", "reminder_scan_ms", milliseconds(100, hour_ms, in(&Config::scan))},
      {"", "reminder_tombstone_ttl_ms", milliseconds(1000, month_ms, in(&Config::tombstone_ttl))},
      {"", "reminder_late_policy", choice(policies, in(&Config::late_policy))},
      {"", "reminder_late_after_ms", milliseconds(0, month_ms, in(&Config::late_after))},
      {"", "reminder_late_rate", integer(0, 10'000'000, in(&Config::late_rate))},
      {"", "reminder_keep_without_subscriber", boolean(in(&Config::keep_without_subscriber))},
  };
}

std::vector<Key> table_keys() {
  return {
      {"gossip", "payload_bytes_max",
       integer(kib, 16 * kib * kib, at(&NodeConfig::gossip, &GossipConfig::payload_bytes_max))},
      {"limits", "cluster_queue_bytes_max",
       integer(64 * kib, 4 * gib, at(&NodeConfig::limits, &LimitsConfig::cluster_queue_bytes_max))},
      {"detector", "keep_alive_ms",
       milliseconds(100, 60'000, at(&NodeConfig::detector, &FailureDetectorConfig::keep_alive))},
      {"detector", "dead_after_ms",
       milliseconds(300, hour_ms, at(&NodeConfig::detector, &FailureDetectorConfig::dead_after))},
      {"detector", "tick_ms", milliseconds(10, hour_ms, at(&NodeConfig::detector, &FailureDetectorConfig::tick))},
      {"detector", "pause_threshold_ms",
       milliseconds(20, hour_ms, at(&NodeConfig::detector, &FailureDetectorConfig::pause_threshold))},
      {"detector", "probe_after_ms",
       milliseconds(0, hour_ms, at(&NodeConfig::detector, &FailureDetectorConfig::probe_after))},
      {"detector", "probe_timeout_ms",
       milliseconds(1000, hour_ms, at(&NodeConfig::detector, &FailureDetectorConfig::probe_timeout))},
      {"limits", "message_bytes_max",
       integer(64 * kib, 2 * gib, at(&NodeConfig::limits, &LimitsConfig::message_bytes_max))},
      {"limits", "send_queue_bytes", integer(kib, gib, at(&NodeConfig::limits, &LimitsConfig::send_queue_bytes))},
      {"limits", "send_queue_bytes_max",
       integer(kib, 4 * gib, at(&NodeConfig::limits, &LimitsConfig::send_queue_bytes_max))},
      {"limits", "mailbox_bytes_max",
       integer(kib, 64 * gib, at(&NodeConfig::limits, &LimitsConfig::mailbox_bytes_max))},
      {"limits", "half_open_max", integer(1, 1'000'000, at(&NodeConfig::limits, &LimitsConfig::half_open_max))},
      {"limits", "half_open_per_address_max",
       integer(1, 1'000'000, at(&NodeConfig::limits, &LimitsConfig::half_open_per_address_max))},
      {"limits", "connections_max", integer(1, 1'000'000, at(&NodeConfig::limits, &LimitsConfig::connections_max))},
      {"limits", "unproven_handshakes_max",
       integer(1, 1'000'000, at(&NodeConfig::limits, &LimitsConfig::unproven_handshakes_max))},
      {"limits", "handshakes_per_second_max",
       integer(1, 1'000'000, at(&NodeConfig::limits, &LimitsConfig::handshakes_per_second_max))},
      {"limits", "initials_per_second_max",
       integer(10, 10'000'000, at(&NodeConfig::limits, &LimitsConfig::initials_per_second_max))},
      {"limits", "streams_per_peer_max",
       integer(1, 60'000, at(&NodeConfig::limits, &LimitsConfig::streams_per_peer_max))},
      {"limits", "streams_awaiting_tag_max",
       integer(1, 60'000, at(&NodeConfig::limits, &LimitsConfig::streams_awaiting_tag_max))},
      {"limits", "stream_tag_timeout_ms",
       milliseconds(100, hour_ms, at(&NodeConfig::limits, &LimitsConfig::stream_tag_timeout))},
      {"limits", "stream_send_bytes",
       integer(16 * kib, gib, at(&NodeConfig::limits, &LimitsConfig::stream_send_bytes))},
      {"limits", "stream_unread_bytes_max",
       integer(32 * kib * kib, 4 * gib, at(&NodeConfig::limits, &LimitsConfig::stream_unread_bytes_max))},
      {"limits", "remote_spawns_max",
       integer(0, 10'000'000, at(&NodeConfig::limits, &LimitsConfig::remote_spawns_max))},
      {"limits", "remote_relations_max",
       integer(1, 1'000'000'000, at(&NodeConfig::limits, &LimitsConfig::remote_relations_max))},
      {"limits", "gossip_per_second_max",
       integer(0, 100'000'000, at(&NodeConfig::limits, &LimitsConfig::gossip_per_second_max))},
      {"limits", "atoms_max", integer(10'000, 1'000'000'000, at(&NodeConfig::limits, &LimitsConfig::atoms_max))},
      {"limits", "services_max", integer(1, 100'000'000, at(&NodeConfig::limits, &LimitsConfig::services_max))},
      {"limits", "services_per_node_max",
       integer(1, 100'000'000, at(&NodeConfig::limits, &LimitsConfig::services_per_node_max))},
  };
}

std::vector<Key> receive_keys() {
  const auto in = [](auto member) { return at(&NodeConfig::receive, member); };
  using Config = ReceiveConfig;
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  return {
      {"receive", "dir", text(in(&Config::dir))},
      {"receive", "file_bytes_max", integer(1, most, in(&Config::file_bytes_max))},
      {"receive", "free_bytes_min", integer(0, most, in(&Config::free_bytes_min))},
      {"receive", "transfers_max", integer(1, 1024, in(&Config::transfers_max))},
      {"receive", "idle_timeout_ms", milliseconds(100, 24 * hour_ms, in(&Config::idle_timeout))},
  };
}

std::vector<Key> admin_keys() {
  const auto in = [](auto member) { return at(&NodeConfig::admin, member); };
  using Config = AdminConfig;
  return {
      {"admin", "port", optional_port(in(&Config::port))}, {"admin", "listen", text(in(&Config::listen))},
      {"admin", "token", text(in(&Config::token))},        {"admin", "token_file", text(in(&Config::token_file))},
      {"admin", "hosts", strings(in(&Config::hosts))},
  };
}

const std::vector<Key>& all_keys() {
  static const std::vector<Key> keys = [] {
    auto list = top_level_keys();
    for (auto& key : membership_keys()) list.push_back(std::move(key));
    for (auto& key : replication_keys()) list.push_back(std::move(key));
    for (auto& key : reminder_keys()) list.push_back(std::move(key));
    for (auto& key : table_keys()) list.push_back(std::move(key));
    for (auto& key : receive_keys()) list.push_back(std::move(key));
    for (auto& key : admin_keys()) list.push_back(std::move(key));
    return list;
  }();
  return keys;
}

std::string full_name(const Key& key) {
  return key.table.empty() ? std::string(key.name) : std::string(key.table) + "." + std::string(key.name);
}

std::string trimmed(const std::string& text) {
  constexpr const char* blanks = " \t";
  const auto begin = text.find_first_not_of(blanks);
  return begin == std::string::npos ? std::string() : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

/// A value as it stands in the environment.
Result<void> read_plain(const Field& field, const std::string& text, NodeConfig& config) {
  if (field.form == Field::Form::text) return field.read(toml::value<std::string>(text), config);
  if (field.form == Field::Form::list && !text.starts_with('[')) {
    toml::array list;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) list.push_back(trimmed(part));
    return field.read(list, config);
  }
  const auto table = parse_toml("value = " + text + "\n");
  // What is no value at all is refused as a text is: with what the key takes.
  if (!table || table->size() != 1) return field.read(toml::value<std::string>(text), config);
  return field.read(*table->get("value"), config);
}

std::unexpected<Error> refuse(const toml::node& value, std::string_view key, const std::string& text) {
  return fail(Errc::invalid_config,
              "line " + std::to_string(value.source().begin.line) + ": " + std::string(key) + " " + text);
}

Result<void> read_table(const toml::table& table, std::string_view prefix, NodeConfig& config) {
  for (const auto& [name, value] : table) {
    const std::string full =
        prefix.empty() ? std::string(name.str()) : std::string(prefix) + "." + std::string(name.str());
    const auto& keys = all_keys();
    const auto known =
        std::ranges::find_if(keys, [&](const Key& key) { return key.table == prefix && key.name == name.str(); });
    if (known != keys.end()) {
      if (auto read = known->field.read(value, config); !read) return refuse(value, full, read.error().context());
      continue;
    }
    const bool is_table =
        prefix.empty() && std::ranges::any_of(keys, [&](const Key& key) { return key.table == name.str(); });
    if (!is_table) return refuse(value, full, "is not a key of this program: see docs/configuration.md for the list");
    const auto* inner = value.as_table();
    if (inner == nullptr) return refuse(value, full, "must be a table");
    if (auto read = read_table(*inner, name.str(), config); !read) return read;
  }
  return {};
}

}  // namespace

std::vector<std::string> node::config_keys() {
  std::vector<std::string> names;
  for (const auto& key : all_keys()) names.push_back(full_name(key));
  return names;
}

std::vector<std::string> node::differing_keys(NodeConfig left, NodeConfig right) {
  std::vector<std::string> names;
  for (const auto& key : all_keys()) {
    if (!key.field.same(left, right)) names.push_back(full_name(key));
  }
  return names;
}

Result<void> node::check_ranges(NodeConfig config) {
  for (const auto& key : all_keys()) {
    if (!key.field.check) continue;
    if (auto checked = key.field.check(config); !checked) {
      return fail(checked.error().code(), full_name(key) + " " + checked.error().context());
    }
  }
  return {};
}

std::string node::environment_name(std::string_view key) {
  constexpr std::string_view prefix = "barrel_p2p_";
  if (key.starts_with(prefix)) key.remove_prefix(prefix.size());
  std::string name = "BARREL_P2P_";
  for (const char character : key) {
    const bool lower = character >= 'a' && character <= 'z';
    name += character == '.' ? '_' : lower ? static_cast<char>(character - 'a' + 'A') : character;
  }
  return name;
}

Result<NodeConfig> override_config(NodeConfig config, const std::map<std::string, std::string>& environment) {
  for (const auto& key : all_keys()) {
    const std::string variable = node::environment_name(full_name(key));
    const auto given = environment.find(variable);
    if (given == environment.end()) continue;
    if (auto read = read_plain(key.field, given->second, config); !read) {
      return fail(Errc::invalid_config, variable + " (" + full_name(key) + ") " + read.error().context());
    }
  }
  return config;
}

Result<NodeConfig> parse_config(std::string_view toml, NodeConfig defaults) {
  const auto table = parse_toml(toml);
  if (!table) return std::unexpected(table.error());
  if (auto read = read_table(*table, "", defaults); !read) return std::unexpected(read.error());
  return defaults;
}

Result<NodeConfig> load_config(const std::filesystem::path& file, NodeConfig defaults) {
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::string text;
  std::array<char, 4096> part{};
  while (stream.read(part.data(), part.size()) || stream.gcount() > 0) {
    text.append(part.data(), static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.bad() || !stream.eof()) {
    return fail(Errc::io_error, "cannot read " + file.string() + ": " + std::generic_category().message(errno) +
                                    ": name a TOML file that this program may read");
  }
  auto config = parse_config(text, std::move(defaults));
  if (!config) return fail(config.error().code(), file.string() + ": " + config.error().context());
  return config;
}

}  // namespace v0
}  // namespace barrel_p2p
