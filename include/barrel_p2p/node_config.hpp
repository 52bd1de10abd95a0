// Configuration of a node. Every number has its unit in its name or type, its default, and the reason for it beside it.
//
// `Node::start` validates all of it and refuses what cannot work with `invalid_config` and a sentence that names the
// key. `load_config` reads the same keys from TOML; the keys are those of the Erlang library where it has them.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/reminders.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

enum class LogLevel : std::uint8_t { debug, info, warning, error, off };
/// Of lines on standard error: text for people, or an object of JSON a line.
enum class LogFormat : std::uint8_t { text, json };

/// Who may prove which name: `tofu` pins a key at first contact, `strict` accepts pinned keys only.
enum class TrustMode : std::uint8_t { tofu, strict };

/// How much is sent before it is acknowledged. `bbr` follows what the path delivers and keeps its queues short; `cubic`
/// (RFC 9438) fills them, and takes every loss for a full one. docs/performance.md has figures.
enum class CongestionControl : std::uint8_t { bbr, cubic };

struct AuthenticationConfig {
  /// `auth_enabled`. False: the cookie alone decides; never do that on a network that you do not own.
  bool enabled = true;
  TrustMode trust_mode = TrustMode::tofu;               ///< `auth_trust_mode`
  std::filesystem::path key_dir;                        ///< `auth_key_dir`. Empty: DATA/keys.
  std::chrono::milliseconds handshake_timeout{10'000};  ///< `auth_handshake_timeout`, from 100.
  /// `auth_timestamp_window`, from 1000; clocks may differ by twice this.
  std::chrono::milliseconds timestamp_window{30'000};
  std::vector<std::string> cookie_only_nodes;  ///< `cookie_only_nodes`: `name@host`, `*@host`, `name@*`
  /// `auth_refuse_shared_keys`: refuse a key that is pinned under another name already; else only warn.
  bool refuse_shared_keys = false;
  /// `auth_pins_max`, in a file 1 to 10,000,000: pins that tofu may make in total; bounds files and memory.
  std::size_t pins_max = 10'000;
  /// `auth_pins_per_minute_max`, in a file 1 to 1,000,000: new pins that tofu may make in a minute.
  std::size_t pins_per_minute_max = 600;
  std::chrono::milliseconds key_watch{1000};  ///< `auth_key_watch_ms`, from 50, or 0 for never: how often the node
                                              ///< looks whether its key files have changed (keys, pins, revocations,
                                              ///< certificate), and takes what has.
};

/// Failure detection. See docs/failure-detection.md for the worst case that follows from these numbers; it is logged at
/// start. Table `detector`.
struct FailureDetectorConfig {
  std::chrono::milliseconds keep_alive{1000};  ///< `keep_alive_ms`, 100 to 60,000: PING after this much silence.
  /// `dead_after_ms`, at least three times `keep_alive`: a peer that was silent for this long is down.
  std::chrono::milliseconds dead_after{4000};
  std::chrono::milliseconds tick{250};  ///< `tick_ms`, 10 to a quarter of `dead_after`: how often the detector looks.
  std::chrono::milliseconds pause_threshold{1000};  ///< `pause_threshold_ms`, at least twice `tick`: a tick later than
                                                    ///< this is a pause of our own process; it accuses nobody.
  /// `probe_after_ms`: ask a peer's distribution layer after this much silence there. 0: never.
  std::chrono::milliseconds probe_after{15'000};
  /// `probe_timeout_ms`, from 1000 unless it is never asked: no answer in this time: down.
  std::chrono::milliseconds probe_timeout{10'000};
};

/// The overlay: who this node keeps in touch with. The keys are those of the Erlang library, with its defaults, which
/// are those of the paper for 10,000 nodes. All nodes of a cluster should have the same.
struct MembershipConfig {
  std::vector<std::string> contacts;  ///< `contact_nodes`: tried one after the other until there is a neighbour.
  std::size_t active_size = 5;        ///< `active_size`, 2 to 64: neighbours, which gossip to each other. With 2 they
                                      ///< form rings, which failures can cut for good: take 3 or more.
  std::size_t passive_size = 30;      ///< `passive_size`, `active_size` to 1024: nodes that may replace them.
  std::uint32_t arwl = 6;             ///< `arwl`, to 16: hops of a newcomer's walk.
  std::uint32_t prwl = 3;            ///< `prwl`, 1 to `arwl`: where a walk enters passive views, and hops of a shuffle.
  std::size_t shuffle_length = 8;    ///< `shuffle_length`, 1 to 128: names in a shuffle.
  std::uint32_t max_fail_count = 5;  ///< `max_fail_count`, 1 to 100: failed dials before a node is forgotten.
  std::chrono::milliseconds shuffle_period{10'000};  ///< `shuffle_period`, from 100; in use at least 2 s, at most 30 s.
  std::chrono::milliseconds base_backoff{1000};      ///< `base_backoff_ms`, from 100: doubled with each failed dial.
  /// `passive_max_age_ms`, from 100: nodes of which nobody spoke for so long are forgotten.
  std::chrono::milliseconds passive_max_age{300'000};
  std::chrono::milliseconds passive_cleanup_period{60'000};  ///< `passive_cleanup_period`, from 100.
  /// `churn_window_ms`, from 100: many joins and leaves in it make shuffles more frequent.
  std::chrono::milliseconds churn_window{30'000};
  /// `pending_timeout_ms`, from 100: for a dial or a question that is not answered.
  std::chrono::milliseconds pending_timeout{30'000};
  /// `contact_retry_ms`, from 100: the longest pause between two rounds through the contacts.
  std::chrono::milliseconds contact_retry{5000};
  bool remember = true;  ///< `remember_peers`: keep the names of neighbours in DATA/peers and try them after a restart.
};

/// Broadcasts of the program; docs/membership.md.
struct GossipConfig {
  /// One broadcast, encoded, 1 KiB to 16 MiB. A broadcast passes every node of the cluster several times, and every
  /// node keeps it for a minute: send large things to those who want them.
  std::size_t payload_bytes_max = 64UL * 1024;
};

/// A map that is opened when the node starts.
struct MapAtStart {
  std::string name;
  MapOptions options{};
};

/// Reminders; docs/reminders.md. Each node may have its own.
struct ReminderConfig {
  std::chrono::milliseconds scan{1000};  ///< `reminder_scan_ms`, from 100: how often old tombstones are looked for, and
                                         ///< the longest time until a jump of the clock is noticed.
  std::chrono::milliseconds tombstone_ttl{3'600'000};  ///< `reminder_tombstone_ttl_ms`, from 1000: a node that was away
                                                       ///< for longer may bring finished reminders back, but see
                                                       ///< `map_tombstone_hold`.
  LatePolicy late_policy = LatePolicy::fire;           ///< `reminder_late_policy`: `fire`, `skip` or `notify`.
  std::chrono::milliseconds late_after{10'000};        ///< `reminder_late_after_ms`, from 0: an unplanned change of
                                                       ///< owner takes a lease and a little.
  std::uint32_t late_rate = 1000;  ///< `reminder_late_rate`, to 10,000,000: late ones that fire in a second; 0: all
                                   ///< at once.
  bool keep_without_subscriber = true;  ///< `reminder_keep_without_subscriber`: a due reminder waits for a subscriber
                                        ///< on this node; else it is dropped, as Erlang nodes do.
};

/// Leases, services, maps: what all nodes know. docs/services.md and docs/maps.md. The keys are those of the Erlang
/// library where it has them.
struct ReplicationConfig {
  std::filesystem::path store_dir;            ///< `store_dir`: the durable store of this node alone. Empty: DATA/store.
  std::chrono::milliseconds heartbeat{2000};  ///< `member_heartbeat_ms`, from 100. Equal on all nodes.
  std::chrono::milliseconds lease{6000};      ///< `member_ttl_ms`, over twice the heartbeat: a node that was silent for
                                              ///< so long is no member, and its services are not found.
  std::chrono::milliseconds lease_skew{5000};  ///< `member_skew_ms`, from 0: leases from farther in the future are
                                               ///< refused by placement.
  std::uint32_t ring_size = 64;                ///< `ring_size`, 1 to 1048576: partitions of the placement. Equal on all
                                               ///< nodes. 40 for each member keep shares below 1.5 times the mean.
  std::size_t placement_members_min = 1;  ///< `placement_min_members`, from 1: this node owns nothing while it knows
                                          ///< fewer members, itself included. More than half of all nodes: of two
                                          ///< sides of a split one owns nothing.
  std::chrono::milliseconds anti_entropy{30'000};  ///< `replica_anti_entropy_ms`, from 100, or 0 for never: how often
                                                   ///< a node compares what it knows with a neighbour.
  std::chrono::milliseconds clock_skew_max{3'600'000};  ///< `clock_skew_max_ms`, from 0 (no bound): changes from
                                                        ///< farther in the future are refused, for their stamps would
                                                        ///< win for so long. Erlang nodes refuse none.
  std::chrono::milliseconds map_scan{1000};             ///< `barrel_p2p_map_scan_ms`, from 100.
  std::chrono::milliseconds map_tombstone_ttl{3'600'000};          ///< `barrel_p2p_map_tombstone_ttl_ms`, from 1000.
  std::chrono::milliseconds map_tombstone_hold{24 * 3'600'000LL};  ///< `map_tombstone_hold_ms`: the longest time that
                                                                   ///< removals are kept for nodes that are away.
  /// `map_entry_bytes_max`, 1 KiB to 16 MiB: key and value of one put, key and payload of a reminder. Larger things are
  /// for streams.
  std::size_t map_entry_bytes_max = 1024UL * 1024;
  std::size_t service_meta_bytes_max = 16UL * 1024;  ///< `service_meta_bytes_max`, 64 to 1 MiB.
  /// `service_tombstone_ttl_ms`, from 1000: how long registrations and campaigns that ended, and those of nodes that
  /// are gone, are remembered. Longer than any split, or it may bring some back.
  std::chrono::milliseconds service_tombstone_ttl{3'600'000};
  std::vector<MapAtStart> maps;  ///< `replicated_maps`; no name twice.
  ReminderConfig reminders;
};

/// What a peer, or the lack of one, may cost. Numbers are at least 1, but where it says otherwise;
/// docs/configuration.md has how large they may be in a file. Table `limits`.
struct LimitsConfig {
  /// One message from a peer, 64 KiB to 2 GiB. Larger: the channel is closed.
  std::size_t message_bytes_max = 128UL * 1024 * 1024;
  /// Queued for one peer: beyond it senders wait (the BEAM's own default).
  std::size_t send_queue_bytes = 1024UL * 1024;
  /// Beyond it sends from outside of processes fail with `overloaded`.
  std::size_t send_queue_bytes_max = 64UL * 1024 * 1024;
  std::size_t mailbox_bytes_max = 256UL * 1024 * 1024;  ///< One process; beyond it its remote senders are held back.
  std::size_t half_open_max = 1024;                     ///< Connections in handshake or authentication, in total.
  std::size_t half_open_per_address_max = 64;           ///< The same from one address.
  std::size_t connections_max = 16'384;                 ///< Connections in total.
  std::size_t unproven_handshakes_max = 128;  ///< With this many in handshake, or begun in a second, whoever dials must
                                              ///< prove its address first (QUIC Retry).
  std::uint32_t handshakes_per_second_max = 200;  ///< Connections that begin and never prove who they are: about a
                                                  ///< millisecond of the network thread each.
  /// First packets of connections that are looked at, from 10: up to 0.1 ms each. Five times as many strangers' packets
  /// are a flood, of which the kernel then lets a part through, at random.
  std::uint32_t initials_per_second_max = 2000;
  /// What waits for the cluster thread; beyond it the channels that fill it are held back, and broadcasts fail with
  /// `overloaded`. From 64 KiB.
  std::size_t cluster_queue_bytes_max = 32UL * 1024 * 1024;
  std::size_t streams_per_peer_max = 1024;    ///< Streams that one peer may have open here, of those it opened. From 1
                                              ///< to 60,000.
  std::size_t streams_awaiting_tag_max = 64;  ///< Streams of one peer whose tag is not whole; more are refused.
  std::chrono::milliseconds stream_tag_timeout{10'000};  ///< For the whole tag, from 100; then it is refused.
  std::size_t stream_send_bytes = 4UL * 1024 * 1024;     ///< Written to one stream and not yet at the peer: beyond it
                                                         ///< writers wait. From 16 KiB.
  std::size_t stream_unread_bytes_max = 192UL * 1024 * 1024;  ///< Arrived from one peer, over all its streams, and not
                                                              ///< read: C++ peers stop there, and what others bring
                                                              ///< beyond it is reset. From 32 MiB.
  /// Processes that all peers together may have spawned here at one time, with `mailbox_bytes_max` of arguments. 0:
  /// none.
  std::size_t remote_spawns_max = 10'000;
  std::size_t remote_relations_max = 1'000'000;   ///< Links and monitors that processes of one peer may have on
                                                  ///< processes here, about 200 bytes each; others end at once, with
                                                  ///< `system_limit`.
  std::uint32_t gossip_per_second_max = 100'000;  ///< Messages of membership and gossip from one peer: beyond it the
                                                  ///< peer is held back, and nothing is lost. 0: no limit.
  /// Distinct names in use in the whole process, from 10,000, about 100 bytes each; terms with others are refused. Of
  /// several nodes the last one that started says it.
  std::size_t atoms_max = 1'048'576;
  std::size_t services_max = 1'000'000;         ///< Registrations of other nodes that are known, with those that ended
                                                ///< lately: about 1 GB. More are refused and counted.
  std::size_t services_per_node_max = 100'000;  ///< The same of one node. This node has as many of its own beside them.
};

/// Files that other nodes may send here with `barrel_p2p cp`; docs/cp.md. Table `receive`.
struct ReceiveConfig {
  std::filesystem::path dir;  ///< `dir`: they go below it, nowhere else. Empty: none are taken. It must exist, and hold
                              ///< none of the directories that the node keeps for itself.
  std::uint64_t file_bytes_max = 1ULL << 40U;           ///< `file_bytes_max`, from 1: the largest file.
  std::uint64_t free_bytes_min = 256ULL * 1024 * 1024;  ///< `free_bytes_min`: what is left free on the disk.
  std::size_t transfers_max = 16;  ///< `transfers_max`, 1 to 1024: at once, of all nodes together. Each is a thread and
                                   ///< at most 9 MiB.
  std::chrono::milliseconds idle_timeout{60'000};  ///< `idle_timeout_ms`, from 100: a sender that is silent for so long
                                                   ///< is given up.
};

/// The HTTP endpoint for those who run the node: health, state, metrics, page. It changes nothing. Table `admin`;
/// docs/operations.md.
struct AdminConfig {
  std::optional<std::uint16_t> port;  ///< `port`, TCP. Absent: there is no endpoint. 0: any, see `Node::admin_port`.
  std::string listen = "127.0.0.1";   ///< `listen`: an address of this machine. Beyond loopback a token is required.
  std::string token;                  ///< `token`, from 16 bytes: who asks must show it. Empty: whoever gets here may.
  std::filesystem::path token_file;   ///< `token_file`: the same from a file of its owner only, in place of `token`.
  /// `hosts`: names by which it may be called in a browser, beside localhost, the host of the node's name and IP
  /// addresses. Others are refused: DNS could be lying.
  std::vector<std::string> hosts;
};

/// A way of one's own to find nodes: where a node listens, as `host:port`, the host an IP address or a name that DNS
/// knows. Whatever error it returns, or throws, the next way is tried. Called on threads of the node that are there for
/// this, up to four at once: it may block, for a registry's answer for instance, but a dial waits for it no longer than
/// `setup_timeout`, and the end of the node until it returns.
using FindNode = std::function<Result<std::string>(const NodeName& node)>;

/// A function that receives every log line. Called from any thread of the node, one at a time; it must not call the
/// node, which may hold its locks meanwhile.
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
  /// `stateless_reset_key_file`: lets the node say, after it was killed, that it does not know its old connections.
  /// Made when it is absent. Empty: reset.key in `certificate_dir`.
  std::filesystem::path stateless_reset_key_file;
  std::filesystem::path discovery_dir;                                   ///< `discovery_dir`. Empty: DATA/discovery.
  std::vector<std::string> discovery_backends{"static", "file", "dns"};  ///< Asked in this order.
  std::map<std::string, FindNode> discovery_functions;  ///< Ways of one's own, by the names that `discovery_backends`
                                                        ///< gives them. `Node::port` is what to tell their registry.
  std::map<std::string, std::string> static_nodes;      ///< Node name to `host:port`, for the static backend.
  std::uint16_t dns_port = 4433;                        ///< Port of nodes that only DNS knows.
  std::string cookie = "barrel_p2p";                    ///< `dist_cookie`, of Latin-1 characters. Public: set your own.
  AuthenticationConfig authentication;
  FailureDetectorConfig detector;
  LimitsConfig limits;
  MembershipConfig membership;
  GossipConfig gossip;
  ReplicationConfig replication;
  ReceiveConfig receive;
  AdminConfig admin;
  CongestionControl congestion_control = CongestionControl::bbr;  ///< `congestion_control`, of what this node sends.
  std::chrono::milliseconds setup_timeout{7000};                  ///< `setup_timeout_ms`, 100 to 60,000: a whole
                                                                  ///< dial: connect, authentication, handshake.
  bool publish = true;  ///< Write an endpoint file into `discovery_dir`, for those who are to find this node.
  /// Not listed in `nodes()` of Erlang nodes, and no member of their cluster: for tools that look in.
  bool hidden = false;
  std::chrono::milliseconds idle_sweep{60'000};  ///< `dist_gc_sweep_period_ms`, from 100: how often idle channels are
                                                 ///< looked for.
  /// `dist_gc_min_age_ms`, from 100, or 0 for never: a channel between C++ nodes that no signal used for so long is
  /// closed, unless they are neighbours, or linked or monitoring processes depend on it. The next send makes it again.
  std::chrono::milliseconds idle_close_after{300'000};
  bool migrate_on_network_change = true;     ///< `migrate_on_network_change`: connections that we dialled move by
                                             ///< themselves when their local address has gone.
  bool auto_connect = true;                  ///< A send to a node that is not connected dials it.
  unsigned workers = 0;                      ///< Threads that run processes. 0: one a core, at most 8.
  std::chrono::microseconds busy_poll{100};  ///< `busy_poll_us`, to 10,000: how long the network thread looks for more
                                             ///< before it sleeps, where that has paid lately: answers come sooner, and
                                             ///< a conversation keeps a core busy. 0: it sleeps at once.
  LogLevel log_level = LogLevel::info;
  LogFormat log_format = LogFormat::text;  ///< `log_format`: `text` or `json`.
  LogSink log_sink;                        ///< Empty: standard error.
};

/// Reads TOML text into a configuration; keys that are absent keep the value that `defaults` has. Errors name line, key
/// and remedy: an unknown key, a wrong type and a value out of range are all refused.
[[nodiscard]] BARREL_P2P_API Result<NodeConfig> parse_config(std::string_view toml, NodeConfig defaults = {});
/// The same from a file. Error also: `io_error`.
[[nodiscard]] BARREL_P2P_API Result<NodeConfig> load_config(const std::filesystem::path& file,
                                                            NodeConfig defaults = {});
/// Every key can be given in the environment too: `limits.connections_max` as `BARREL_P2P_LIMITS_CONNECTIONS_MAX`.
/// Lists are separated by commas, or written as in TOML; so are tables. Each stands in place of the whole list or table
/// that `config` has. Variables of other names are ignored. Errors name the variable.
[[nodiscard]] BARREL_P2P_API Result<NodeConfig> override_config(NodeConfig config,
                                                                const std::map<std::string, std::string>& environment);
/// What `Node::start` checks before it does anything: the error names the key. All times have the bounds that
/// docs/configuration.md gives them.
[[nodiscard]] BARREL_P2P_API Result<void> check_config(const NodeConfig& config);

}  // namespace v0
}  // namespace barrel_p2p
