#include "node/validate.hpp"

#include <algorithm>
#include <array>
#include <barrel_p2p/node_name.hpp>
#include <boost/asio/ip/address.hpp>
#include <ranges>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "distribution/auth/files.hpp"
#include "distribution/discovery.hpp"
#include "distribution/handshake_messages.hpp"
#include "node/config_keys.hpp"
#include "node/files/incoming_file.hpp"
#include "node/files/receiver.hpp"
#include "quic/address.hpp"
#include "services/maps.hpp"
#include "services/placement.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view default_cookie = "barrel_p2p";

std::unexpected<Error> bad(const std::string& key, const std::string& what) {
  return fail(Errc::invalid_config, key + " " + what);
}

/// A name that a resolver takes, and that is no address in a form of old: `0` would be 0.0.0.0.
bool is_host_name(std::string_view host) {
  constexpr std::size_t host_bytes_max = 253;
  constexpr std::size_t label_bytes_max = 63;
  constexpr std::string_view digits = "0123456789";
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host.size() > host_bytes_max) return false;
  std::string_view last;
  for (const auto part : std::views::split(host, '.')) {
    last = std::string_view(part);
    const auto allowed = [](char byte) {
      return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
             byte == '-' || byte == '_';
    };
    if (last.empty() || last.size() > label_bytes_max || last.starts_with('-') || !std::ranges::all_of(last, allowed)) {
      return false;
    }
  }
  return last.find_first_not_of(digits) != std::string_view::npos && !last.starts_with("0x") && !last.starts_with("0X");
}

/// Where others are to reach us.
Result<void> check_advertised(const NodeConfig& config) {
  constexpr const char* remedy =
      "to others it is themselves: give the address or the host name by which they reach "
      "this node";
  const std::string& given = config.advertise;
  const std::string host = given.empty() ? std::string(NodeName(config.name).host()) : given;
  const auto address = quic::Address::make(host, 0);
  const bool wildcard = address && (address->is_unspecified() || address->host() == "0.0.0.0");
  if (wildcard && !given.empty()) return bad("advertise", "must not be \"" + given + "\": " + remedy);
  if (wildcard && config.publish) return bad("advertise", "is not set, and the name has " + host + ": " + remedy);
  if (given.empty() || address || is_host_name(given)) return {};
  return bad("advertise",
             "must be an IP address or a host name, without a port (advertise_port has that), not \"" + given + "\"");
}

Result<void> check_addresses(const NodeConfig& config) {
  if (const auto name = NodeName::parse(config.name); !name) {
    return bad("name", "\"" + config.name + "\": " + name.error().context() + "; for instance a@127.0.0.1");
  }
  if (!quic::Address::make(config.listen, config.port)) {
    return bad("listen", "must be an IP address of this machine, 0.0.0.0 or ::, not \"" + config.listen + "\"");
  }
  if (auto advertised = check_advertised(config); !advertised) return advertised;
  constexpr std::array known{"static", "file", "dns"};
  for (const auto& backend : config.discovery_backends) {
    if (std::ranges::find(known, backend) == known.end() && !config.discovery_functions.contains(backend)) {
      return bad("discovery_backends", "knows static, file and dns, not \"" + backend + "\"");
    }
  }
  for (const auto& [backend, function] : config.discovery_functions) {
    const std::string key = "discovery_functions." + backend;
    if (std::ranges::find(known, backend) != known.end()) return bad(key, "has the name of a way that there is");
    if (!function) return bad(key, "is empty");
    if (std::ranges::find(config.discovery_backends, backend) == config.discovery_backends.end()) {
      return bad(key, "is never asked: add its name to discovery_backends");
    }
  }
  for (const auto& [node, where] : config.static_nodes) {
    if (!NodeName::parse(node)) return bad("nodes", "has \"" + node + "\", which is no node name");
    if (const auto address = distribution::parse_host_port(where); !address) {
      return bad("nodes." + node, ": " + address.error().context());
    }
  }
  return {};
}

Result<void> check_cookie(const NodeConfig& config) {
  constexpr std::size_t characters_max = 255;
  const auto characters = distribution::to_latin1(config.cookie);
  if (!characters) return bad("dist_cookie", "must be UTF-8 without characters above U+00FF: cookies are Latin-1");
  if (characters->empty() || characters->size() > characters_max) {
    return bad("dist_cookie", "must have 1 to 255 characters");
  }
  if (config.cookie == default_cookie && !config.authentication.cookie_only_nodes.empty()) {
    return bad("cookie_only_nodes",
               "lets nodes in by the cookie alone, and the default cookie is public: set dist_cookie");
  }
  return {};
}

Result<void> check_certificate(const NodeConfig& config) {
  if (config.certificate_file.empty() != config.certificate_key_file.empty()) {
    return bad("cert_file", "and key_file belong together: give both or neither");
  }
  return {};
}

Result<void> check_limits(const NodeConfig& config) {
  const auto& limits = config.limits;
  constexpr std::size_t message_least = 64UL * 1024;
  constexpr std::size_t message_most = 1UL << 31U;
  if (limits.message_bytes_max < message_least || limits.message_bytes_max > message_most) {
    return bad("limits.message_bytes_max", "must be between 65536 and 2147483648");
  }
  if (limits.send_queue_bytes == 0 || limits.send_queue_bytes_max < limits.send_queue_bytes) {
    return bad("limits.send_queue_bytes_max", "must be at least limits.send_queue_bytes, which must be at least 1");
  }
  if (limits.mailbox_bytes_max == 0) return bad("limits.mailbox_bytes_max", "must be at least 1");
  if (limits.connections_max == 0 || limits.half_open_max == 0 || limits.half_open_per_address_max == 0) {
    return bad("limits", "connections_max, half_open_max and half_open_per_address_max must be at least 1");
  }
  if (limits.unproven_handshakes_max == 0 || limits.handshakes_per_second_max == 0) {
    return bad("limits", "unproven_handshakes_max and handshakes_per_second_max must be at least 1");
  }
  constexpr std::uint32_t initials_least = 10;  // one in each window of a tenth of a second
  if (limits.initials_per_second_max < initials_least)
    return bad("limits.initials_per_second_max", "must be at least 10");
  if (limits.remote_relations_max == 0) return bad("limits.remote_relations_max", "must be at least 1");
  constexpr std::size_t atoms_least = 10'000;  // what this library and some programs name
  if (limits.atoms_max < atoms_least) return bad("limits.atoms_max", "must be at least 10000");
  if (limits.services_per_node_max == 0 || limits.services_max < limits.services_per_node_max) {
    return bad("limits.services_max", "must be at least limits.services_per_node_max, which must be at least 1");
  }
  return {};
}

Result<void> check_streams(const NodeConfig& config) {
  const auto& limits = config.limits;
  constexpr std::size_t kib = 1024;
  constexpr std::size_t streams_most = 60'000;
  if (limits.streams_per_peer_max == 0 || limits.streams_per_peer_max > streams_most) {
    return bad("limits.streams_per_peer_max", "must be between 1 and 60000");
  }
  if (limits.streams_awaiting_tag_max == 0 || limits.streams_awaiting_tag_max > streams_most) {
    return bad("limits.streams_awaiting_tag_max", "must be between 1 and 60000");
  }
  if (limits.stream_send_bytes < 16 * kib) return bad("limits.stream_send_bytes", "must be at least 16384");
  if (limits.stream_unread_bytes_max < 32 * kib * kib) {
    return bad("limits.stream_unread_bytes_max", "must be at least 33554432");
  }
  return {};
}

/// Their ranges are those of a file; what else there is to them is checked here, and where they belong.
Result<void> check_times(const NodeConfig& config) {
  if (auto checked = node::check_ranges(config); !checked) return checked;
  const auto is_short = [](std::chrono::milliseconds value, std::chrono::milliseconds least) {
    return value != 0ms && value < least;
  };
  if (is_short(config.authentication.key_watch, 50ms)) {
    return bad("auth_key_watch_ms", "must be at least 50, or 0 for never");
  }
  if (is_short(config.idle_close_after, 100ms)) {
    return bad("dist_gc_min_age_ms", "must be at least 100 (milliseconds), or 0 for never");
  }
  if (is_short(config.replication.anti_entropy, 100ms)) {
    return bad("replica_anti_entropy_ms", "must be at least 100 (milliseconds), or 0 for never");
  }
  return {};
}

Result<void> check_detector(const NodeConfig& config) {
  return distribution::validate(detector_config(config.detector));
}

std::string text_of(std::size_t number) { return std::to_string(number); }

Result<void> check_views(const NodeConfig& config) {
  const auto& membership = config.membership;
  constexpr std::size_t active_most = 64;
  constexpr std::size_t passive_most = 1024;
  constexpr std::uint32_t walk_most = 16;
  constexpr std::size_t sample_most = 128;
  constexpr std::uint32_t fail_count_most = 100;
  if (membership.active_size < 2 || membership.active_size > active_most) {
    return bad("active_size",
               "must be between 2 and " + text_of(active_most) + ": a node with one neighbour passes nothing on");
  }
  if (membership.passive_size < membership.active_size || membership.passive_size > passive_most) {
    return bad("passive_size", "must be between active_size (" + text_of(membership.active_size) + ") and " +
                                   text_of(passive_most) + ", not " + text_of(membership.passive_size));
  }
  if (membership.arwl == 0 || membership.arwl > walk_most) {
    return bad("arwl", "must be between 1 and " + text_of(walk_most));
  }
  if (membership.prwl == 0 || membership.prwl > membership.arwl) {
    return bad("prwl", "must be between 1 and arwl (" + text_of(membership.arwl) + "), not " +
                           text_of(membership.prwl) + ": no walk would ever come to it");
  }
  if (membership.shuffle_length == 0 || membership.shuffle_length > sample_most) {
    return bad("shuffle_length", "must be between 1 and " + text_of(sample_most));
  }
  if (membership.max_fail_count == 0 || membership.max_fail_count > fail_count_most) {
    return bad("max_fail_count", "must be between 1 and " + text_of(fail_count_most));
  }
  return {};
}

Result<void> check_membership(const NodeConfig& config) {
  const auto& membership = config.membership;
  for (const auto& contact : membership.contacts) {
    if (const auto name = NodeName::parse(contact); !name) {
      return bad("contact_nodes", "has \"" + contact + "\": " + name.error().context() + "; for instance a@127.0.0.1");
    }
  }
  if (config.hidden && !membership.contacts.empty()) {
    return bad("contact_nodes", "has no use for a hidden node, which is no member: leave out contact_nodes or hidden");
  }
  constexpr std::size_t payload_least = 1024;
  constexpr std::size_t payload_most = 16UL * 1024 * 1024;
  if (config.gossip.payload_bytes_max < payload_least || config.gossip.payload_bytes_max > payload_most) {
    return bad("gossip.payload_bytes_max", "must be between 1024 and 16777216");
  }
  if (config.limits.cluster_queue_bytes_max < 64UL * 1024) {
    return bad("limits.cluster_queue_bytes_max", "must be at least 65536");
  }
  return {};
}

Result<void> check_map(const MapAtStart& map) {
  const auto name = Atom::make(map.name);
  if (!name || map.name.empty() || map.name.size() > services::MapsConfig().name_bytes_max) {
    return bad("replicated_maps", "has \"" + map.name + "\": the name of a map has 1 to 200 bytes of UTF-8");
  }
  const auto ttl = map.options.tombstone_ttl;
  if (ttl != 0ms && (ttl < services::tombstone_ttl_min || ttl > services::tombstone_ttl_max)) {
    return bad("replicated_maps",
               map.name + ": tombstone_ttl_ms must be between 1000 and 315360000000, or 0 for the default");
  }
  return {};
}

Result<void> check_replication(const NodeConfig& config) {
  const auto& replication = config.replication;
  if (replication.lease <= 2 * replication.heartbeat) {
    return bad("member_ttl_ms", "must be more than twice member_heartbeat_ms (" +
                                    std::to_string(replication.heartbeat.count()) +
                                    "): one lost beat would end the lease");
  }
  if (auto size = services::check_ring_size(replication.ring_size); !size) return size;
  if (replication.placement_members_min == 0) return bad("placement_min_members", "must be at least 1: this node");
  constexpr std::size_t kib = 1024;
  if (replication.map_entry_bytes_max < kib || replication.map_entry_bytes_max > 16 * kib * kib) {
    return bad("map_entry_bytes_max", "must be between 1024 and 16777216");
  }
  if (replication.service_meta_bytes_max < 64 || replication.service_meta_bytes_max > kib * kib) {
    return bad("service_meta_bytes_max", "must be between 64 and 1048576");
  }
  if (config.hidden && !replication.maps.empty()) {
    return bad("replicated_maps", "are of no use to a hidden node, which is no member: leave out one of them");
  }
  std::set<std::string_view> names;
  for (const auto& map : replication.maps) {
    if (auto checked = check_map(map); !checked) return checked;
    if (!names.insert(map.name).second) {
      return bad("replicated_maps", "has \"" + map.name + "\" twice: give each map one table, with all its options");
    }
  }
  return {};
}

Result<void> check_reminders(const NodeConfig& config) {
  const auto& reminders = config.replication.reminders;
  constexpr std::uint32_t rate_most = 10'000'000;
  if (reminders.late_rate > rate_most) return bad("reminder_late_rate", "must be at most 10000000, or 0 for no limit");
  return {};
}

Result<void> check_receive(const NodeConfig& config) {
  const auto& receive = config.receive;
  constexpr std::size_t transfers_most = 1024;
  if (receive.file_bytes_max == 0) return bad("receive.file_bytes_max", "must be at least 1");
  if (receive.transfers_max == 0 || receive.transfers_max > transfers_most) {
    return bad("receive.transfers_max", "must be between 1 and 1024");
  }
  return {};
}

constexpr std::size_t token_bytes_min = 16;  // beyond guessing, if it is random at all
constexpr std::size_t token_bytes_max = 1024;

Result<void> check_token(const std::string& key, std::string_view token) {
  if (token.size() < token_bytes_min || token.size() > token_bytes_max) {
    return bad(key, "must have 16 to 1024 bytes: try `openssl rand -hex 32`");
  }
  if (std::ranges::any_of(token, [](char byte) { return byte <= ' ' || byte > '~'; })) {
    return bad(key, "must be made of printable ASCII characters without spaces: it stands in a header");
  }
  return {};
}

Result<void> check_admin(const NodeConfig& config) {
  const auto& admin = config.admin;
  if (!admin.port) return {};
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(admin.listen, error);
  if (error) return bad("admin.listen", "must be an IP address of this machine, not \"" + admin.listen + "\"");
  if (!admin.token.empty() && !admin.token_file.empty()) {
    return bad("admin.token", "and admin.token_file are one too many: give one of them");
  }
  if (!address.is_loopback() && admin.token.empty() && admin.token_file.empty()) {
    return bad("admin.token", "is required beyond loopback (admin.listen = \"" + admin.listen +
                                  "\"): others on the network could read all that this node knows");
  }
  return admin.token.empty() ? Result<void>() : check_token("admin.token", admin.token);
}

}  // namespace

distribution::DetectorConfig detector_config(const FailureDetectorConfig& config) {
  distribution::DetectorConfig detector;
  detector.keep_alive = config.keep_alive;
  detector.dead_after = config.dead_after;
  detector.tick = config.tick;
  detector.pause_threshold = config.pause_threshold;
  detector.probe_after = config.probe_after;
  detector.probe_timeout = config.probe_timeout;
  return detector;
}

Result<std::string> admin_token(const AdminConfig& config) {
  if (config.token_file.empty()) return config.token;
  const auto read =
      distribution::read_small_file(config.token_file, token_bytes_max + 1, distribution::FileCare::secret);
  if (!read) return fail(read.error().code(), "admin.token_file: " + read.error().context());
  std::string token(read->begin(), read->end());
  while (token.ends_with('\n') || token.ends_with('\r')) token.pop_back();
  if (auto checked = check_token("admin.token_file", token); !checked) return std::unexpected(checked.error());
  return token;
}

Result<distribution::Certificate> given_certificate(const std::filesystem::path& certificate_file,
                                                    const std::filesystem::path& key_file) {
  auto loaded = distribution::load_certificate(certificate_file, key_file);
  if (loaded) return loaded;
  const bool of_key = loaded.error().context().find(key_file.string()) != std::string::npos;
  return fail(loaded.error().code(), (of_key ? "key_file: " : "cert_file: ") + loaded.error().context());
}

Result<void> check_received_apart(const NodeConfig& config) {
  const auto directory_of = [&](const std::filesystem::path& given, const char* name) {
    return given.empty() ? config.data_dir / name : given;
  };
  return files::check_apart(
      config.receive.dir, config.data_dir,
      {directory_of(config.authentication.key_dir, "keys"), directory_of(config.certificate_dir, "quic"),
       directory_of(config.replication.store_dir, "store"), directory_of(config.discovery_dir, "discovery"),
       config.certificate_file, config.certificate_key_file, config.stateless_reset_key_file, config.admin.token_file});
}

Result<void> check_files(const NodeConfig& config) {
  if (!config.certificate_file.empty()) {
    const auto loaded = given_certificate(config.certificate_file, config.certificate_key_file);
    if (!loaded) return std::unexpected(loaded.error());
  }
  if (config.admin.port) {
    if (const auto token = admin_token(config.admin); !token) return std::unexpected(token.error());
  }
  if (config.receive.dir.empty()) return {};
  if (auto apart = check_received_apart(config); !apart) return apart;
  const auto opened = files::ReceiveDirectory::open(config.receive.dir);
  return opened ? Result<void>() : std::unexpected(opened.error());
}

Result<void> validate(const NodeConfig& config) {
  for (const auto check :
       {check_times, check_addresses, check_cookie, check_certificate, check_limits, check_streams, check_detector,
        check_views, check_membership, check_replication, check_reminders, check_receive, check_admin}) {
    if (auto checked = check(config); !checked) return checked;
  }
  return {};
}

}  // namespace node

Result<void> check_config(const NodeConfig& config) { return node::validate(config); }

}  // namespace v0
}  // namespace barrel_p2p
