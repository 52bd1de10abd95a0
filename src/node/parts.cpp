#include "node/parts.hpp"

#include <algorithm>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <string_view>
#include <system_error>

#include "base/json_log.hpp"
#include "base/printable.hpp"
#include "base/random.hpp"
#include "distribution/auth/files.hpp"
#include "distribution/auth/reset_secret.hpp"
#include "distribution/handshake_messages.hpp"
#include "node/exports.hpp"
#include "node/validate.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

std::filesystem::path directory_of(const NodeConfig& config, const std::filesystem::path& given, const char* name) {
  return given.empty() ? config.data_dir / name : given;
}

Logger make_logger(const NodeConfig& config) {
  if (config.log_sink) return make_callback_logger(config.name, config.log_sink);
  return config.log_format == LogFormat::json ? make_json_logger(config.name) : make_stderr_logger(config.name);
}

/// Numbers below 4 mean something else to Erlang nodes.
std::uint32_t new_creation() {
  return static_cast<std::uint32_t>(random_between(distribution::erlang_creation + 1, UINT32_MAX));
}

/// An IPv4 literal as a tuple, anything else as `undefined`: nobody dials it.
Term address_term(std::string_view host) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address_v4(std::string(host), error);
  if (error) return Atom("undefined");
  const auto bytes = address.to_bytes();
  return Term::tuple({bytes[0], bytes[1], bytes[2], bytes[3]});
}

overlay::OverlayConfig overlay_config(const NodeConfig& config) {
  const auto& membership = config.membership;
  overlay::OverlayConfig overlay;
  overlay.seed = random_uint64();
  auto& hyparview = overlay.hyparview;
  hyparview.active_size = membership.active_size;
  hyparview.passive_size = membership.passive_size;
  hyparview.arwl = membership.arwl;
  hyparview.prwl = membership.prwl;
  hyparview.shuffle_length = membership.shuffle_length;
  hyparview.shuffle_period = membership.shuffle_period;
  hyparview.churn_window = membership.churn_window;
  hyparview.fail_count_max = membership.max_fail_count;
  hyparview.backoff_base = membership.base_backoff;
  hyparview.passive_age_max = membership.passive_max_age;
  hyparview.cleanup_period = membership.passive_cleanup_period;
  hyparview.pending_timeout = membership.pending_timeout;
  for (const auto& contact : membership.contacts) overlay.contacts.contacts.emplace_back(contact);
  overlay.contacts.retry_max = membership.contact_retry;
  overlay.contacts.retry_min = std::min(overlay.contacts.retry_min, membership.contact_retry);
  return overlay;
}

/// The library broadcasts entries together until they take `delta_bytes_max`, the last one as large as one may be, with
/// its stamps and its sender beside it.
overlay::GossipLimits gossip_limits(const NodeConfig& config) {
  constexpr std::size_t beside_max = 64UL * 1024;
  const auto& replication = config.replication;
  const std::size_t entry_max = std::max(replication.map_entry_bytes_max, replication.service_meta_bytes_max);
  const std::size_t program = config.gossip.payload_bytes_max;
  return {program, std::max(program, services::MapsConfig{}.delta_bytes_max + entry_max + beside_max)};
}

services::ServicesConfig services_config(const NodeConfig& config) {
  const auto& replication = config.replication;
  services::ServicesConfig services;
  services.seed = random_uint64();
  constexpr std::size_t parts_beside = 64;  // of a message, what is around the state
  services.snapshot_bytes_max = config.limits.message_bytes_max - config.limits.message_bytes_max / parts_beside;
  services.clock.skew_max = replication.clock_skew_max;
  // Beats alone would have it written every few seconds; stamps may be ahead of the time by so much after a restart.
  services.clock.mark_ahead = Milliseconds(60'000);
  services.members.heartbeat = replication.heartbeat;
  services.members.ttl = replication.lease;
  services.members.skew = replication.lease_skew;
  services.placement.ring_size = replication.ring_size;
  services.placement.members_min = replication.placement_members_min;
  services.registry.anti_entropy_period = replication.anti_entropy;
  services.registry.entries_max = config.limits.services_max;
  services.registry.entries_per_node_max = config.limits.services_per_node_max;
  services.registry.meta_bytes_max = replication.service_meta_bytes_max;
  services.registry.vouch_for = services.registry.expect_for = replication.lease;
  services.leader.anti_entropy_period = replication.anti_entropy;
  services.leader.vouch_for = services.leader.expect_for = replication.lease;
  services.leader.lease = replication.lease - replication.heartbeat;
  services.registry.tombstone_age = services.registry.forget_after = replication.service_tombstone_ttl;
  services.leader.tombstone_age = services.leader.forget_after = replication.service_tombstone_ttl;
  services.maps.anti_entropy_period = replication.anti_entropy;
  services.types.anti_entropy_period = replication.anti_entropy;
  services.maps.scan_period = replication.map_scan;
  services.maps.tombstone_ttl = replication.map_tombstone_ttl;
  services.maps.tombstone_hold = replication.map_tombstone_hold;
  services.maps.entry_bytes_max = replication.map_entry_bytes_max;
  auto& reminders = services.reminders;
  reminders.anti_entropy_period = replication.anti_entropy;
  reminders.scan_period = replication.reminders.scan;
  reminders.tombstone_ttl = replication.reminders.tombstone_ttl;
  reminders.tombstone_hold = replication.map_tombstone_hold;
  reminders.entry_bytes_max = replication.map_entry_bytes_max;
  reminders.late_policy = replication.reminders.late_policy;
  reminders.late_after = replication.reminders.late_after;
  reminders.late_rate = replication.reminders.late_rate;
  reminders.keep_without_subscriber = replication.reminders.keep_without_subscriber;
  return services;
}

/// For lines that peers cause and write.
std::function<void(const std::string&)> bounded_log(const Logger& logger, spdlog::level::level_enum level,
                                                    std::string_view prefix) {
  constexpr std::uint32_t lines_max = 20;  // a second
  constexpr std::size_t shown_max = 2000;
  const auto limit = std::make_shared<RateLimit>(lines_max, Milliseconds(1000));
  return [logger, level, prefix, limit](const std::string& text) {
    std::uint64_t left_out = 0;
    if (!limit->pass(monotonic_now(), &left_out)) return;
    const std::string_view whole = std::string_view(text).substr(0, text.find_last_not_of('\n') + 1);
    const std::string also = left_out == 0 ? "" : " (before it " + std::to_string(left_out) + " lines were left out)";
    logger->log(level, "{}{}{}", prefix, printable(whole, shown_max), also);
  };
}

bool says(const Error& error, int number) {
  return error.context().find(std::generic_category().message(number)) != std::string::npos;
}

std::string listen_remedy(const Error& error) {
  if (says(error, EADDRINUSE)) {
    return "; stop what has the port (`barrel_p2p doctor --port` says what), or set listen_port to another one";
  }
  if (says(error, EACCES)) return "; ports below 1024 need CAP_NET_BIND_SERVICE: set listen_port to a greater one";
  if (says(error, EADDRNOTAVAIL)) return "; set listen to an address of this machine, or :: for all";
  return "";
}

/// Reads the secret of stateless resets, or makes one.
Result<quic::EndpointConfig> endpoint_config(const NodeConfig& config,
                                             const std::shared_ptr<const quic::Credentials>& credentials) {
  const auto reset_secret = distribution::load_or_create_reset_secret(
      config.stateless_reset_key_file.empty() ? directory_of(config, config.certificate_dir, "quic") / "reset.key"
                                              : config.stateless_reset_key_file);
  if (!reset_secret) return std::unexpected(reset_secret.error());

  quic::EndpointConfig endpoint;
  endpoint.credentials = credentials;
  endpoint.stateless_reset_secret = *reset_secret;
  endpoint.keep_alive = config.detector.keep_alive;
  endpoint.congestion =
      config.congestion_control == CongestionControl::bbr ? quic::Congestion::bbr : quic::Congestion::cubic;
  endpoint.handshake_timeout = config.authentication.handshake_timeout;
  // The control stream and those of signals come first, see `is_user_stream`.
  const std::uint64_t signal_streams = 1 + distribution::data_stream_count;
  endpoint.streams_bidi_admitted_max = signal_streams + config.limits.streams_per_peer_max;
  endpoint.streams_bidi_max = std::min(endpoint.streams_bidi_max, endpoint.streams_bidi_admitted_max);
  endpoint.connection_window_bytes = distribution::message_reserve_bytes + config.limits.stream_unread_bytes_max;
  endpoint.connections_max = config.limits.connections_max;
  endpoint.half_open_max = config.limits.half_open_max;
  endpoint.half_open_per_address_max = config.limits.half_open_per_address_max;
  endpoint.retry_from = config.limits.unproven_handshakes_max;
  endpoint.handshakes_per_second_max = config.limits.handshakes_per_second_max;
  endpoint.initials_per_second_max = config.limits.initials_per_second_max;
  return endpoint;
}

}  // namespace

Node::Parts::Parts(NodeConfig given)
    : config(std::move(given)), name(config.name), logger(make_logger(config)), creation(new_creation()) {
  set_level(logger, config.log_level);
}

Node::Parts::~Parts() { stop(); }

void Node::Parts::start_system() {
  process::SystemConfig settings;
  settings.node = name.atom();
  settings.creation = creation;
  settings.workers = config.workers;
  settings.mailbox_bytes_max = config.limits.mailbox_bytes_max;
  settings.remote_spawns_max = config.limits.remote_spawns_max;
  settings.remote_relations_max = config.limits.remote_relations_max;
  settings.log_crash = bounded_log(logger, spdlog::level::err, "");
  settings.log_output = bounded_log(logger, spdlog::level::info, "output: ");
  system = std::make_unique<process::System>(std::move(settings));
  transport_.emplace(context, system->scheduler(), config.busy_poll, [this] {
    network->empty_outboxes();
    network->endpoint().flush_soon();
  });
}

distribution::NetworkEvents Node::Parts::network_events() {
  distribution::NetworkEvents network_events;
  network_events.node_up = [this](const distribution::PeerInfo& peer) {
    system->node_up(peer.node, peer.epoch, peer.creation, peer.flags);
    if ((peer.flags & distribution::flag::published) == 0) return;
    if (overlay) overlay->link_up(peer);
    events.tell({NodeEvent::Kind::up, NodeName(peer.node.text()), ""});
  };
  network_events.node_down = [this](const Atom& node, std::uint64_t epoch, const Atom& reason) {
    if (!system->node_down(node, epoch)) return;
    if (overlay) overlay->link_down(node, epoch);
    events.tell({NodeEvent::Kind::down, NodeName(node.text()), reason.string()});
  };
  network_events.unreachable = [this](const Atom& node, const Error& /*error*/) { system->unreachable(node); };
  network_events.deliver = [this](const Atom& node, std::uint64_t epoch, std::span<distribution::Signal> signals) {
    const auto deliver = [&] { return system->deliver(node, epoch, signals); };
    // What a channel held back comes at other times, and no `delivered` follows on it.
    return network->endpoint().reading() ? transport_->deliver(deliver) : deliver();
  };
  network_events.delivered = [this] { return transport_->run_taken(); };
  network_events.empties_outboxes = [this] { return transport_->hosts_caller(); };
  network_events.writable = [this](const Atom& node) {
    system->node_writable(node);
    if (overlay) overlay->node_writable(node);
  };
  network_events.decided = [this](FlightEntry::Kind kind, std::string_view peer, std::string_view reason) {
    recorder.record(kind, peer, reason);
  };
  network_events.path = [this](const PathEvent& event) { path_events.tell(event); };
  network_events.may_close_idle = [this](const Atom& node) {
    return overlay && overlay->can_spare(node) && !system->peers().is_watched(node);
  };
  return network_events;
}

node::KeyKeeper::Events Node::Parts::key_events() {
  node::KeyKeeper::Events changes;
  changes.identity = [this](const distribution::PrivateKey& key) { network->set_key(key); };
  changes.certificate = [this](const node::KeyKeeper::Credentials& shown) { network->set_credentials(shown); };
  changes.revoked = [this] { on_transport([this] { network->close_revoked(); }); };
  return changes;
}

Result<void> Node::Parts::open_network() {
  distribution::ChannelSettings channel;
  channel.name = name.atom();
  channel.cookie = distribution::to_latin1(config.cookie).value();  // it was validated
  channel.creation = creation;
  if (config.hidden) channel.flags &= ~distribution::flag::published;
  channel.authenticate = config.authentication.enabled;
  channel.authentication.own_name = name;
  channel.authentication.timeout = config.authentication.handshake_timeout;
  channel.authentication.timestamp_window = config.authentication.timestamp_window;
  channel.authentication.cookie_only_nodes = config.authentication.cookie_only_nodes;
  channel.authentication.refuse_shared_keys = config.authentication.refuse_shared_keys;
  channel.key = keys->identity();
  channel.trust = keys->trust();
  channel.handshake_timeout = config.setup_timeout;
  channel.message_bytes_max = config.limits.message_bytes_max;

  distribution::NetworkConfig settings;
  settings.detector = node::detector_config(config.detector);
  settings.outbox = {config.limits.send_queue_bytes, config.limits.send_queue_bytes_max};
  settings.streams.tags.waiting_max = config.limits.streams_awaiting_tag_max;
  settings.streams.tags.timeout = config.limits.stream_tag_timeout;
  settings.streams.send_bytes_max = config.limits.stream_send_bytes;
  settings.streams.unread_bytes_max = config.limits.stream_unread_bytes_max;
  settings.setup_timeout = config.setup_timeout;
  settings.auto_connect = config.auto_connect;
  settings.migrate_on_change = config.migrate_on_network_change;
  settings.idle_sweep = config.idle_sweep;
  settings.idle_close_after = config.idle_close_after;

  auto made = endpoint_config(config, keys->credentials());
  if (!made) return std::unexpected(made.error());
  quic::EndpointConfig& endpoint = *made;

  const auto open = [&](const std::string& address) -> Result<void> {
    auto listen = quic::Address::make(address, config.port);
    if (!listen) return std::unexpected(listen.error());
    endpoint.listen = *listen;
    auto opened =
        distribution::Network::open(context, settings, channel, endpoint, *discovery, network_events(), logger);
    if (!opened) return std::unexpected(opened.error());
    network = std::move(*opened);
    return {};
  };
  auto opened = open(config.listen);
  // A machine without IPv6 cannot have the default.
  if (!opened && config.listen == "::") {
    auto without = open("0.0.0.0");
    if (without || says(opened.error(), EAFNOSUPPORT) || says(opened.error(), EADDRNOTAVAIL)) opened = without;
  }
  if (opened) return {};
  return fail(opened.error().code(), opened.error().context() + listen_remedy(opened.error()));
}

Result<void> Node::Parts::publish() {
  discovery->set_own(network->endpoint().local_address());
  if (!config.publish) return {};
  const std::uint16_t advertised = config.advertise_port != 0 ? config.advertise_port : port;
  const std::string host = config.advertise.empty() ? std::string(name.host()) : config.advertise;
  return discovery->publish(name, {host, advertised});
}

Result<std::vector<node::KnownPeer>> Node::Parts::load_peers(const std::filesystem::path& file) const {
  if (file.empty()) return std::vector<node::KnownPeer>();
  distribution::remove_old_leftovers(file.parent_path());
  auto peers = node::read_peers(file, [&](const std::string& text) { logger->warn("{}", text); });
  if (peers) std::erase_if(*peers, [&](const auto& peer) { return peer.node == name.atom(); });
  return peers;
}

Result<void> Node::Parts::make_overlay() {
  if (config.hidden) return {};
  const auto& membership = config.membership;
  node::OverlayRunnerConfig settings;
  if (membership.remember) settings.peers_file = config.data_dir / "peers";
  auto known = load_peers(settings.peers_file);
  if (!known) return std::unexpected(known.error());
  settings.overlay = overlay_config(config);
  settings.overlay.own = name.atom();
  for (const auto& peer : *known) settings.overlay.contacts.remembered.push_back(peer.node);
  settings.known = std::move(*known);
  settings.record = {name.atom(), address_term(config.advertise.empty() ? name.host() : config.advertise), port};
  settings.creation = creation;
  settings.queue_bytes_max = config.limits.cluster_queue_bytes_max;
  settings.messages_per_second_max = config.limits.gossip_per_second_max;
  settings.gossip_limits = gossip_limits(config);
  settings.members_max = 1 + membership.active_size + membership.passive_size;
  overlay = std::make_unique<node::OverlayRunner>(std::move(settings), cluster, *system, *network, *discovery, logger);
  node::export_overlay(*system, *overlay);
  return {};
}

Result<void> Node::Parts::make_services() {
  if (config.hidden) return {};
  replication::StoreConfig where;
  where.directory = directory_of(config, config.replication.store_dir, "store");
  where.mark = services::clock_mark_name;
  auto store = replication::DurableStore::open(where);
  if (!store) return std::unexpected(store.error());
  if (const auto& damage = (*store)->damage()) logger->error("{}", damage->error(where.directory).message());
  if (const auto& failure = (*store)->mark_failure()) {
    logger->warn("{}; while the disk is full this node cannot write how far its clock has come", failure->message());
  }
  node::ServicesRunnerConfig settings;
  settings.services = services_config(config);
  settings.services.own = name.atom();
  settings.queue_bytes_max = config.limits.cluster_queue_bytes_max;
  settings.decided = [this](FlightEntry::Kind kind, const Atom& node) { recorder.record(kind, node.text()); };
  const auto mark = (*store)->value(services::clock_mark_name);
  if (mark) settings.services.clock.start = mark->as_int64().value_or(0);
  auto& fences = settings.services.fences;
  const auto loaded = (*store)->load(services::leader_fences_collection, [&](Term&& led, replication::Entry&& fence) {
    fences.emplace_back(std::move(led), std::move(fence));
  });
  if (!loaded) return std::unexpected(loaded.error());
  if (auto known = (*store)->value(services::known_members_name)) settings.services.members.known = std::move(*known);
  services = std::make_unique<node::ServicesRunner>(std::move(settings), cluster, *system, *network, *overlay,
                                                    std::move(*store), logger);
  if (auto reminders = services->load_reminders(); !reminders) return reminders;
  node::export_services(*system, *services);
  node::export_reminders(*system, *services);
  node::export_maps(*system, *services);
  node::export_placement(*system, *services);
  node::export_leaders(*system, *services);
  node::export_inspection(*system, *services);
  bridge = node::make_bridge(*system, *services, *overlay);
  return {};
}

Result<void> Node::Parts::open_maps() {
  for (const auto& [map, options] : config.replication.maps) {
    auto opened = node::wait_for<void>([&](auto done) { services->open_map(Atom(map), options, std::move(done)); });
    if (!opened) return fail(opened.error().code(), "map " + map + ": " + opened.error().context());
  }
  return {};
}

Result<void> Node::Parts::receive_files() {
  if (config.receive.dir.empty()) return {};
  if (auto apart = node::check_received_apart(config); !apart) return apart;
  auto opened = files::FileReceiver::open(config.receive, logger);
  if (!opened) return std::unexpected(opened.error());
  receiver = std::move(*opened);
  return receiver->start(
      [this](const std::string& tag, StreamCallback on_stream) { return accept_streams(tag, std::move(on_stream)); });
}

void Node::Parts::describe() const {
  const auto worst = node::detector_config(config.detector);
  logger->info("listening on {}, {}", network->endpoint().local_address().to_string(),
               network->endpoint().statistics().segmentation_offload ? "with segmentation offload"
                                                                     : "without segmentation offload");
  if (const auto key = keys->identity()) {
    logger->info("key {} (SHA-256), {}", distribution::to_hex(distribution::fingerprint(key->public_key())),
                 config.authentication.trust_mode == TrustMode::strict ? "strict: only pinned keys are let in"
                                                                       : "tofu: a name's first key is pinned");
  } else {
    logger->warn("authentication is off: whoever has the cookie is let in");
  }
  if (config.cookie == NodeConfig().cookie) logger->warn("the cookie is the public default: set dist_cookie");
  if (admin) logger->info("HTTP on {}, port {}", config.admin.listen, admin->port());
  logger->info("a peer that was killed, frozen or cut off is down after {} ms at the latest",
               distribution::Detector(worst).worst_case().count());
}

Result<void> Node::Parts::open_admin() {
  if (!config.admin.port) return {};
  auto token = node::admin_token(config.admin);
  if (!token) return std::unexpected(token.error());
  admin_token_ = std::move(*token);
  admin::ServerConfig settings;
  settings.listen = config.admin.listen;
  settings.port = *config.admin.port;
  auto opened = admin::Server::open(settings, logger);
  if (!opened) return std::unexpected(opened.error());
  admin = std::move(*opened);
  return {};
}

void Node::Parts::start_admin() {
  if (!admin) return;
  auto hosts = config.admin.hosts;
  hosts.emplace_back(name.host());
  hosts.push_back(config.advertise);
  admin->start(admin::Pages(observer->source(), admin::Access(std::move(admin_token_),
                                                              "barrel_p2p_" + std::to_string(admin->port()), hosts)));
}

void Node::Parts::start_observer() {
  node::Observed observed;
  observed.name = name.string();
  observed.port = port;
  observed.context = &context;
  observed.network = network.get();
  observed.system = system.get();
  observed.overlay = overlay.get();
  observed.services = services.get();
  observed.recorder = &recorder;
  observed.statistics = [this](const quic::EndpointStatistics& endpoint) { return statistics(endpoint); };
  observer = std::make_unique<node::Observer>(std::move(observed));
}

Result<void> Node::Parts::start() {
  set_atoms_max(config.limits.atoms_max);
  auto opened_keys = node::KeyKeeper::open(config, logger);
  if (!opened_keys) return std::unexpected(opened_keys.error());
  keys = std::move(*opened_keys);
  distribution::DiscoveryConfig where;
  where.backends = config.discovery_backends;
  where.static_nodes = config.static_nodes;
  where.directory = directory_of(config, config.discovery_dir, "discovery");
  where.dns_port = config.dns_port;
  where.functions = config.discovery_functions;
  where.warn = [log = logger](const std::string& text) { log->warn("{}", text); };
  discovery = std::make_unique<distribution::Discovery>(std::move(where));
  start_system();
  if (auto opened = open_network(); !opened) return opened;
  process::RemotePort remote;
  remote.send = [this](const Atom& node, distribution::Signal&& signal, const Pid& stream_key) {
    return network->send(node, std::move(signal), stream_key);
  };
  remote.resume_reading = [this](const Atom& node, std::uint64_t epoch) { network->resume_reading(node, epoch); };
  remote.report_malformed = [this](const Atom& node, std::uint64_t epoch, Error why) {
    network->report_malformed(node, epoch, std::move(why));
  };
  system->set_remote(std::move(remote));
  port = network->endpoint().local_address().port();
  node::export_paths(*system, *network);
  node::export_peers(*system, *network);
  node::export_node_info(*system, {name, port, config.hidden});
  if (auto made = make_overlay(); !made) return made;
  if (auto made = make_services(); !made) return made;
  if (auto received = receive_files(); !received) return received;
  if (auto opened = open_admin(); !opened) return opened;
  system->start();
  if (auto published = publish(); !published) return published;
  describe();
  if (overlay) {
    overlay->start();
    services->start();
  }
  start_observer();
  if (overlay) cluster.start();
  // From here on the network belongs to its thread.
  work_.emplace(context.get_executor());
  transport_->start();
  keys->start(key_events());
  if (auto opened = open_maps(); !opened) return opened;
  start_admin();
  ready_ = true;
  return {};
}

void Node::Parts::stop() {
  if (keys) keys->stop();    // it may be waiting for the transport thread
  if (admin) admin->stop();  // likewise
  if (observer) observer->set_draining();
  const std::lock_guard lock(stop_mutex_);
  if (std::exchange(stopped_, true)) return;
  if (discovery) discovery->unpublish();
  if (receiver) receiver->stop();
  stopping_ = true;
  const bool started = transport_ && transport_->running();
  if (services && started) services->say_goodbye();
  if (overlay) overlay->stop();
  if (services) services->stop();
  // What the processes say when they end goes out before the channels close: both pass through the same thread.
  if (system) system->stop();
  {
    const std::lock_guard posting(posting_mutex_);
    posting_closed_ = true;
  }
  if (started) {
    std::promise<void> closed;
    boost::asio::post(context, [&] {
      network->stop();
      // What was posted before runs before, and so does what that has posted: a wish passes the gate and the network.
      boost::asio::post(context, [&] { boost::asio::post(context, [&] { closed.set_value(); }); });
    });
    closed.get_future().wait();
    work_.reset();
    transport_->stop();
  }
  {
    const std::lock_guard posting(posting_mutex_);
    transport_gone_ = true;
  }
  transport_ended_.notify_all();
  discovery.reset();  // its threads must not call a network that is gone
  if (ready_) logger->info("stopped");
}

Result<void> Node::Parts::may_wait() const {
  if (!cluster.is_current() && !(transport_ && transport_->leads())) return {};
  return fail(Errc::invalid_argument,
              "a callback of the cluster thread or of a network thread would wait for itself: use the function that "
              "takes a callback, where there is one, or another thread");
}

Result<void> Node::Parts::may_wait_for_process() const {
  if (auto allowed = may_wait(); !allowed) return allowed;
  if (!system->is_current()) return {};
  return fail(Errc::invalid_argument,
              "a process that holds its worker until another one answers may keep that one from running: co_await the "
              "function of Process that does the same, or ask from a thread of your own");
}

bool Node::Parts::on_transport(const std::function<void()>& work) {
  if (transport_ && transport_->run_if_leading(work)) return true;
  std::promise<void> done;
  std::unique_lock posting(posting_mutex_);
  if (posting_closed_) {
    // Not until all has stopped: that may be waiting for the caller.
    transport_ended_.wait(posting, [this] { return transport_gone_; });
    return false;
  }
  boost::asio::post(context, [&] {
    work();
    done.set_value();
  });
  posting.unlock();
  done.get_future().wait();
  return true;
}

quic::EndpointStatistics Node::Parts::endpoint_statistics() {
  quic::EndpointStatistics statistics;
  const auto read = [&] { statistics = network->endpoint().statistics(); };
  if (!on_transport(read)) read();
  return statistics;
}

}  // namespace v0
}  // namespace barrel_p2p
