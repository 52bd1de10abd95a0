// Configuration of a node. Every number has its unit in its name or type, its default, and the reason for it beside it.
//
// `Node::start` validates all of it and refuses what cannot work with `invalid_config` and a sentence that names the
// key. `load_config` reads the same keys from TOML; the keys are those of the Erlang library where it has them.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

enum class LogLevel : std::uint8_t { debug, info, warning, error, off };

/// Who may prove which name: `tofu` pins a key at first contact, `strict` accepts pinned keys only.
enum class TrustMode : std::uint8_t { tofu, strict };

struct AuthenticationConfig {
  bool enabled =
      true;  ///< `auth_enabled`. False: the cookie alone decides; never do that on a network that you do not own.
  TrustMode trust_mode = TrustMode::tofu;               ///< `auth_trust_mode`
  std::filesystem::path key_dir;                        ///< `auth_key_dir`. Empty: DATA/keys.
  std::chrono::milliseconds handshake_timeout{10'000};  ///< `auth_handshake_timeout`
  std::chrono::milliseconds timestamp_window{30'000};   ///< `auth_timestamp_window`; clocks may differ by twice this
  std::vector<std::string> cookie_only_nodes;           ///< `cookie_only_nodes`: `name@host`, `*@host`, `name@*`
  bool refuse_shared_keys = false;        ///< Refuse a key that is pinned under another name already; else only warn.
  std::size_t pins_max = 10'000;          ///< Pins that tofu may make in total; bounds files and memory.
  std::size_t pins_per_minute_max = 600;  ///< New pins that tofu may make in a minute.
};

/// Failure detection. See docs/failure-detection.md for the worst case that follows from these numbers; it is logged at
/// start.
struct FailureDetectorConfig {
  std::chrono::milliseconds keep_alive{1000};  ///< PING after this much silence.
  std::chrono::milliseconds dead_after{4000};  ///< A peer that was silent for this long is down.
  std::chrono::milliseconds tick{250};         ///< How often the detector looks.
  std::chrono::milliseconds pause_threshold{
      1000};  ///< A tick later than this is a pause of our own process; it accuses nobody.
  std::chrono::milliseconds probe_after{
      15'000};  ///< Ask a peer's distribution layer after this much silence there. 0: never.
  std::chrono::milliseconds probe_timeout{10'000};  ///< No answer in this time: down.
};

/// What a peer, or the lack of one, may cost.
struct LimitsConfig {
  std::size_t message_bytes_max = 128UL * 1024 * 1024;  ///< One message from a peer. Larger: the channel is closed.
  std::size_t send_queue_bytes =
      1024UL * 1024;  ///< Queued for one peer: beyond it senders wait (the BEAM's own default).
  std::size_t send_queue_bytes_max =
      64UL * 1024 * 1024;  ///< Beyond it sends from outside of processes fail with `overloaded`.
  std::size_t mailbox_bytes_max = 256UL * 1024 * 1024;  ///< One process; beyond it its remote senders are held back.
  std::size_t half_open_max = 1024;                     ///< Connections in handshake or authentication, in total.
  std::size_t half_open_per_address_max = 64;           ///< The same from one address.
  std::size_t connections_max = 16'384;                 ///< Connections in total.
  std::size_t remote_spawns_max = 10'000;  ///< Processes that all peers together may have spawned here at one time.
};

/// A function that receives every log line. Called from any thread of the node, one at a time.
using LogSink = std::function<void(LogLevel, std::string_view line)>;

struct NodeConfig {
  std::string name;                  ///< `name@host`, for instance `a@127.0.0.1` or `a@db1.example.net`. Required.
  std::string listen = "::";         ///< Address to bind. `::` takes IPv4 and IPv6.
  std::uint16_t port = 0;            ///< `listen_port`, UDP. 0: any free port; discovery publishes the real one.
  std::string advertise;             ///< Host that peers are told. Empty: the host part of the name.
  std::uint16_t advertise_port = 0;  ///< 0: the bound port.
  std::filesystem::path data_dir = "data";  ///< Keys, certificate, durable state.
  std::filesystem::path certificate_dir;    ///< `quic_cert_dir`. Empty: DATA/quic.
  /// `cert_file`, `key_file`: a certificate and its key (PEM, the key for its owner only) that are kept elsewhere, both
  /// or neither. They are read and never written; `certificate_dir` counts for nothing then.
  std::filesystem::path certificate_file;
  std::filesystem::path certificate_key_file;
  std::filesystem::path discovery_dir;                                   ///< `discovery_dir`. Empty: DATA/discovery.
  std::vector<std::string> discovery_backends{"static", "file", "dns"};  ///< Asked in this order.
  std::map<std::string, std::string> static_nodes;  ///< Node name to `host:port`, for the static backend.
  std::uint16_t dns_port = 4433;                    ///< Port of nodes that only DNS knows.
  std::string cookie = "barrel_p2p";                ///< `dist_cookie`. The default is public: set your own.
  AuthenticationConfig authentication;
  FailureDetectorConfig detector;
  LimitsConfig limits;
  std::chrono::milliseconds setup_timeout{7000};  ///< A whole dial: connect, authentication, handshake.
  bool publish = true;  ///< Write an endpoint file into `discovery_dir`, for those who are to find this node.
  bool hidden =
      false;  ///< Not listed in `nodes()` of Erlang nodes, and no member of their cluster: for tools that look in.
  bool auto_connect = true;  ///< A send to a node that is not connected dials it.
  unsigned workers = 0;      ///< Threads that run processes. 0: one a core, at most 8.
  LogLevel log_level = LogLevel::info;
  LogSink log_sink;  ///< Empty: standard error.
};

/// Reads TOML text into a configuration; keys that are absent keep the value that `defaults` has. Errors name line, key
/// and remedy: an unknown key, a wrong type and a value out of range are all refused.
BARREL_P2P_API Result<NodeConfig> parse_config(std::string_view toml, NodeConfig defaults = {});
/// The same from a file.
BARREL_P2P_API Result<NodeConfig> load_config(const std::filesystem::path& file, NodeConfig defaults = {});

}  // namespace v0
}  // namespace barrel_p2p
