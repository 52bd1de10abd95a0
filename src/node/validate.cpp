#include "node/validate.hpp"

#include <algorithm>
#include <array>
#include <barrel_p2p/node_name.hpp>
#include <string>

#include "distribution/detector.hpp"
#include "distribution/discovery.hpp"
#include "quic/address.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view default_cookie = "barrel_p2p";

std::unexpected<Error> bad(const std::string& key, const std::string& what) {
  return fail(Errc::invalid_config, key + " " + what);
}

Result<void> check_addresses(const NodeConfig& config) {
  if (const auto name = NodeName::parse(config.name); !name) {
    return bad("name", "\"" + config.name + "\": " + name.error().context() + "; for instance a@127.0.0.1");
  }
  if (!quic::Address::make(config.listen, config.port)) {
    return bad("listen", "must be an IP address of this machine, 0.0.0.0 or ::, not \"" + config.listen + "\"");
  }
  constexpr std::array known{"static", "file", "dns"};
  for (const auto& backend : config.discovery_backends) {
    if (std::ranges::find(known, backend) == known.end()) {
      return bad("discovery_backends", "knows static, file and dns, not \"" + backend + "\"");
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
  constexpr std::size_t cookie_bytes_max = 255;
  if (config.cookie.empty() || config.cookie.size() > cookie_bytes_max) {
    return bad("dist_cookie", "must have 1 to 255 bytes");
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
  return {};
}

Result<void> check_times(const NodeConfig& config) {
  if (config.setup_timeout < 100ms) return bad("setup_timeout_ms", "must be at least 100");
  if (config.authentication.handshake_timeout < 100ms) {
    return bad("auth_handshake_timeout", "must be at least 100");
  }
  if (config.authentication.timestamp_window < 1s) return bad("auth_timestamp_window", "must be at least 1000");
  return {};
}

}  // namespace

Result<void> validate(const NodeConfig& config) {
  for (const auto check : {check_addresses, check_cookie, check_certificate, check_limits, check_times}) {
    if (auto checked = check(config); !checked) return checked;
  }
  return {};
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
