#include "distribution/network.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <mutex>
#include <utility>

#include "base/random.hpp"
#include "distribution/encode.hpp"
#include "distribution/network_peer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

namespace asio = boost::asio;

namespace {

/// Sends to many nodes that are not there must not fill the log.
constexpr double failure_lines_per_second = 10;

Atom down_reason(const ChannelEnd& end) {
  switch (end.cause) {
    case ChannelEnd::Cause::local: return Atom("disconnect");
    case ChannelEnd::Cause::lost: return Atom("net_tick_timeout");
    case ChannelEnd::Cause::peer_closed:
    case ChannelEnd::Cause::authentication:
    case ChannelEnd::Cause::handshake:
    case ChannelEnd::Cause::keep_waiting:
    case ChannelEnd::Cause::protocol: return Atom("connection_closed");
  }
  return Atom("connection_closed");
}

}  // namespace

Result<std::unique_ptr<Network>> Network::open(asio::io_context& context, NetworkConfig config,
                                               ChannelSettings settings, quic::EndpointConfig endpoint_config,
                                               Discovery& discovery, NetworkEvents events, Logger logger) {
  if (auto valid = validate(config.detector); !valid) return std::unexpected(valid.error());
  std::unique_ptr<Network> network(
      new Network(context, config, std::move(settings), discovery, std::move(events), std::move(logger)));
  quic::EndpointEvents endpoint_events;
  endpoint_events.on_accept = [raw = network.get()](std::shared_ptr<quic::Connection> connection) {
    raw->accept(std::move(connection));
  };
  endpoint_events.on_warning = [log = network->logger_](const std::string& text) { log->warn("{}", text); };
  endpoint_events.on_batch = [raw = network.get()] {
    if (raw->events_.delivered && !raw->events_.delivered()) return false;
    raw->empty_outboxes();
    return true;
  };
  endpoint_config.owner_admits = true;
  auto endpoint = quic::Endpoint::open(context, std::move(endpoint_config), std::move(endpoint_events));
  if (!endpoint) return std::unexpected(endpoint.error());
  network->endpoint_ = std::move(*endpoint);
  (void)network->detector_.tick(monotonic_now());  // a pause before the first tick is a pause too
  network->schedule_tick();
  if (config.migrate_on_change) {
    network->links_ = std::make_unique<LinkWatch>(context, [raw = network.get()] { raw->links_changed(); });
    if (!network->links_->works()) {
      network->logger_->info("the kernel tells no changes of addresses here: a lost one is noticed by silence");
    }
  }
  return network;
}

Network::Network(asio::io_context& context, NetworkConfig config, ChannelSettings settings, Discovery& discovery,
                 NetworkEvents events, Logger logger)
    : context_(context),
      config_(config),
      settings_(std::move(settings)),
      discovery_(discovery),
      events_(std::move(events)),
      logger_(std::move(logger)),
      detector_(config.detector),
      dial_failures_(config.retry_after_min, config.retry_after_max),
      failure_lines_(failure_lines_per_second, monotonic_now()),
      timer_(std::make_unique<Timer>(context)) {
  settings_.streams = std::make_shared<StreamShared>(config_.streams, context);
}

Network::~Network() {
  stop();
  pins_.reset();  // its thread must not look at `alive_` any more
  alive_.reset();
}

void Network::post(std::function<void()> work) {
  asio::post(context_, [alive = std::weak_ptr<int>(alive_), work = std::move(work)] {
    if (!alive.expired()) work();
  });
}

// The table.

Network::Peer& Network::peer_of(const Atom& node) {
  auto& peer = peers_[node];
  if (!peer) {
    peer = std::make_unique<Peer>(node);
    peer->outbox = outbox_of(node);
  }
  return *peer;
}

void Network::forget_if_idle(const Atom& node) {
  const auto found = peers_.find(node);
  if (found == peers_.end()) return;
  const Peer& peer = *found->second;
  if (peer.up || peer.incoming || peer.dial || !peer.waiters.empty()) return;
  const std::unique_lock lock(table_mutex_);
  const auto outbox = outboxes_.find(node);
  const bool unused = outbox == outboxes_.end() || outbox->second.use_count() <= 2;  // the table and the peer
  if (!unused || !peer.outbox->may_be_forgotten(monotonic_now())) return;
  outboxes_.erase(node);
  peers_.erase(found);
}

std::vector<PeerInfo> Network::nodes() const {
  std::vector<PeerInfo> list;
  {
    const std::shared_lock lock(table_mutex_);
    list.reserve(up_.size());
    for (const auto& [name, info] : up_) list.push_back(info);
  }
  std::ranges::sort(list, {}, &PeerInfo::node);
  return list;
}

std::size_t Network::known_nodes() const {
  const std::shared_lock lock(table_mutex_);
  return outboxes_.size();
}

ChannelEvents Network::events_for() {
  ChannelEvents events;
  events.name_received = [this](const std::shared_ptr<Channel>& channel, const Atom& name) {
    return decide(channel, name);
  };
  events.up = [this](const std::shared_ptr<Channel>& channel) { channel_up(channel); };
  events.signals = [this](Channel& channel, std::span<Signal> signals) { return channel_signals(channel, signals); };
  events.drained = [this](Channel& channel) {
    const auto found = peers_.find(channel.peer());
    if (found == peers_.end() || found->second->up.get() != &channel) return;
    if (found->second->outbox->set_transport_queue(channel.queued_bytes()) && events_.writable)
      events_.writable(channel.peer());
  };
  events.path = [this](Channel& channel, const quic::PathChange& change) { channel_path(channel, change); };
  events.ended = [this](const std::shared_ptr<Channel>& channel, const ChannelEnd& end) {
    channel_ended(channel, end);
  };
  events.commit_pin = [this](PinReservation pin, std::function<void(Result<void>)> done) {
    pins_->commit(std::move(pin), [this, done = std::move(done)](const Result<void>& result) {
      post([done, result] { done(result); });
    });
  };
  events.after = [this](Milliseconds delay, std::function<void()> work) {
    auto timer = std::make_shared<asio::steady_timer>(context_, delay);
    auto& waits = *timer;
    waits.async_wait(
        [timer = std::move(timer), alive = std::weak_ptr<int>(alive_), work = std::move(work)](auto error) {
          if (!error && !alive.expired()) work();
        });
  };
  return events;
}

// Up and down.

void Network::channel_up(const std::shared_ptr<Channel>& channel) {
  Peer& peer = peer_of(channel->peer());
  if (peer.up && peer.up != channel) {
    counters_.replaced += 1;
    const auto old = peer.up;
    take_down(peer, Atom("connection_closed"));
    old->close("replaced by a newer connection");
  }
  if (peer.incoming == channel) peer.incoming.reset();
  if (peer.incoming_held) drop_incoming(peer, "another connection to this node was preferred");
  channel->begin(next_epoch_++);
  peer.up = channel;
  dial_failures_.reached(peer.name);
  peer.probe_sent.reset();
  peer.last_used = monotonic_now();
  const PeerInfo info{channel->peer(),
                      channel->epoch(),
                      channel->peer_creation(),
                      channel->flags(),
                      channel->initiator(),
                      channel->address(),
                      peer.dial && peer.dial->channel == channel && peer.dial->by_adapter};
  {
    const std::unique_lock lock(table_mutex_);
    up_[info.node] = info;
  }
  note(FlightEntry::Kind::up, info.node.text(), info.initiator ? "dialled" : "accepted");
  logger_->info("node {} is up ({}, {})", info.node.text(), info.address, info.initiator ? "dialled" : "accepted");
  const auto next = [&] { return peer.outbox->set_up(channel->epoch(), channel->flags(), channel->peer_creation()); };
  for (auto waiting = next(); !waiting.empty(); waiting = next()) {
    for (const auto& [signal, key] : waiting) {
      if (!may_leave(signal, peer.name, channel->peer_creation(), channel->flags())) continue;
      channel->send(encode_message(signal, channel->flags(), key, peer.outbox->next_sequence()));
    }
  }
  if (events_.node_up && peer.up == channel) events_.node_up(info);
  if (peer.outbox->set_transport_queue(channel->queued_bytes()) && events_.writable) events_.writable(peer.name);
  if (peer.dial && peer.dial->channel == channel) peer.dial->channel.reset();
  finish_dial(peer, {});
}

void Network::take_down(Peer& peer, const Atom& reason) {
  const auto channel = std::exchange(peer.up, nullptr);
  {
    const std::unique_lock lock(table_mutex_);
    up_.erase(peer.name);
  }
  counters_.signals_dropped += peer.outbox->set_down(MonotonicTime{});
  note(FlightEntry::Kind::down, peer.name.text(), reason.text());
  logger_->info("node {} is down: {}", peer.name.text(), reason.text());
  if (events_.node_down) events_.node_down(peer.name, channel->epoch(), reason);
  if (events_.writable) events_.writable(peer.name);
}

void Network::channel_ended(const std::shared_ptr<Channel>& channel, const ChannelEnd& end) {
  std::erase(unnamed_, channel);
  const Atom node = channel->peer();
  if (!channel->initiator() && end.stage != ChannelStage::up) {
    counters_.accepts_failed += 1;
    note(FlightEntry::Kind::refused, node.text().empty() ? channel->address() : std::string(node.text()),
         end.error.message());
    refusals_.tell(logger_, channel->address(), node.text(), end, monotonic_now());
  }
  const auto found = peers_.find(node);
  if (found == peers_.end()) return;
  Peer& peer = *found->second;
  if (peer.up == channel) {
    take_down(peer, down_reason(end));
  } else if (peer.incoming == channel) {
    peer.incoming.reset();
    peer.incoming_held = false;
    if (peer.dial && !peer.dial->channel) retry_dial(peer, Milliseconds(random_between(0, 100)));
  } else {
    dial_ended(peer, channel, end);
  }
}

void Network::disconnect(const Atom& node) {
  post([this, node] {
    const auto found = peers_.find(node);
    if (found == peers_.end() || !found->second->up) return;
    close_channel(*found->second, "disconnect");
  });
}

void Network::close_channel(Peer& peer, const char* why) {
  const auto channel = peer.up;
  take_down(peer, Atom(why));
  channel->close(why);
}

void Network::close_unread(const Atom& node, std::uint64_t epoch) {
  post([this, node, epoch] {
    const auto found = peers_.find(node);
    if (found == peers_.end() || !found->second->up || found->second->up->epoch() != epoch) return;
    logger_->warn("the connection to {} is closed: it does not read the answers to what it asks, {} bytes wait",
                  node.text(), found->second->outbox->waiting_bytes());
    const auto channel = found->second->up;
    take_down(*found->second, Atom("connection_closed"));
    channel->close("the answers are not read");
  });
}

void Network::resume_reading(const Atom& node, std::uint64_t epoch) {
  post([this, node, epoch] {
    const auto found = peers_.find(node);
    if (found != peers_.end() && found->second->up && found->second->up->epoch() == epoch)
      found->second->up->resume_reading();
  });
}

void Network::report_malformed(const Atom& node, std::uint64_t epoch, Error why) {
  post([this, node, epoch, why = std::move(why)] {
    const auto found = peers_.find(node);
    if (found == peers_.end() || !found->second->up || found->second->up->epoch() != epoch) return;
    if (why.code() == Errc::limit_exceeded) {
      if (undecodable_log_.pass(monotonic_now())) {
        logger_->warn("a message of {} is dropped: {}", node.text(), why.message());
      }
      return;
    }
    const auto channel = found->second->up;
    channel->fail(ChannelEnd::Cause::protocol, Error(Errc::malformed_term, why.message()));
  });
}

// Keys.

void Network::set_key(PrivateKey key) {
  post([this, key = std::move(key)] { settings_.key = key; });
}

void Network::set_credentials(std::shared_ptr<const quic::Credentials> credentials) {
  post([this, credentials = std::move(credentials)] { endpoint_->set_credentials(credentials); });
}

void Network::close_revoked() {
  // Copies, since each end changes the tables.
  std::vector<std::shared_ptr<Channel>> on_their_way = unnamed_;
  std::vector<Atom> names;
  for (const auto& [name, peer] : peers_) {
    on_their_way.push_back(peer->incoming);
    if (peer->dial) on_their_way.push_back(peer->dial->channel);
    if (peer->up && peer->up->is_revoked()) names.push_back(name);
  }
  for (const auto& name : names) {
    note(FlightEntry::Kind::revoked, name.text());
    logger_->warn("the connection to {} is closed: its key is revoked", name.text());
    close_channel(*peers_.at(name), "disconnect");
  }
  for (const auto& channel : on_their_way) {
    if (channel && channel->is_revoked())
      channel->fail(ChannelEnd::Cause::authentication,
                    Error(Errc::untrusted_key, "revoked_key: it was revoked meanwhile"));
  }
}

void Network::stop() {
  if (stopped_) return;
  stopped_ = true;
  pins_->stop();
  links_.reset();
  timer_->timer.cancel();
  for (const auto& channel : std::exchange(unnamed_, {})) channel->close("shutting down");
  std::vector<Atom> names;
  names.reserve(peers_.size());
  for (const auto& [name, peer] : peers_) names.push_back(name);
  for (const auto& name : names) {
    Peer& peer = *peers_.at(name);
    drop_incoming(peer, "shutting down");
    if (peer.dial) finish_dial(peer, fail(Errc::stopped, "the node is stopping"));
    if (const auto channel = peer.up) {
      take_down(peer, Atom("shutdown"));
      channel->close("shutting down");
    }
  }
  settings_.streams->acceptors.close();
  settings_.streams->gate.close();
  if (endpoint_) endpoint_->close_all();
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
