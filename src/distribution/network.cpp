#include "distribution/network.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <mutex>
#include <utility>

#include "base/random.hpp"
#include "distribution/dial_rules.hpp"
#include "distribution/encode.hpp"
#include "distribution/network_peer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

namespace asio = boost::asio;

struct Network::Timer {
  explicit Timer(asio::io_context& context) : timer(context) {}
  asio::steady_timer timer;
};

namespace {

/// Sends to many nodes that are not there must not fill the log.
constexpr double failure_lines_per_second = 10;

/// The process that asks peers whether their distribution layer is alive. No process has id 0.
Pid probe_pid(const ChannelSettings& settings) { return {settings.name, 0, 0, settings.creation}; }

/// A name that nobody registers: the answer to a monitor on it is a DOWN with `noproc`, from every node.
const Atom& probe_name() {
  static const Atom name("barrel_p2p_probe");
  return name;
}

/// What peers ask each other to see whether they live is no use of a channel.
bool is_probe(const Control& control) {
  const PidOrName* watched = nullptr;
  if (const auto* monitor = std::get_if<Monitor>(&control)) watched = &monitor->target;
  if (const auto* answer = std::get_if<MonitorExit>(&control)) watched = &answer->from;
  const auto* name = watched != nullptr ? std::get_if<Atom>(watched) : nullptr;
  return name != nullptr && *name == probe_name();
}

bool essential(const Control& control) {
  return !std::holds_alternative<Send>(control) && !std::holds_alternative<SendName>(control) &&
         !std::holds_alternative<SendAlias>(control) && !std::holds_alternative<SpawnRequest>(control);
}

SendOutcome outcome_of(Outbox::Pushed pushed) {
  switch (pushed) {
    case Outbox::Pushed::accepted: return SendOutcome::accepted;
    case Outbox::Pushed::busy: return SendOutcome::busy;
    case Outbox::Pushed::full:
    case Outbox::Pushed::unread: return SendOutcome::full;
    case Outbox::Pushed::stale:
    case Outbox::Pushed::refused: break;
  }
  return SendOutcome::refused;
}

/// What a signal that waits for its channel is taken to weigh.
std::size_t weight(const Signal& signal) {
  constexpr std::size_t control_bytes = 128;
  if (const auto* term = std::get_if<Term>(&signal.payload)) return control_bytes + encoded_size(*term, false);
  if (const auto* encoded = std::get_if<EncodedTerm>(&signal.payload)) return control_bytes + encoded->bytes.size();
  return control_bytes;
}

/// For the log: how far our own attempt is.
const char* stage_text(const std::shared_ptr<Channel>& own) {
  if (!own) return "we do not dial it";
  switch (own->stage()) {
    case ChannelStage::connecting: return "our own attempt is in the QUIC handshake";
    case ChannelStage::authenticating: return "our own attempt authenticates";
    case ChannelStage::handshaking: return "our own attempt told its name";
    case ChannelStage::up: return "our own attempt is up";
    case ChannelStage::closed: return "our own attempt is closed";
  }
  return "";
}

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

// Sending.

std::shared_ptr<Outbox> Network::outbox_of(const Atom& node) {
  {
    const std::shared_lock lock(table_mutex_);
    if (const auto found = outboxes_.find(node); found != outboxes_.end()) return found->second;
  }
  const std::unique_lock lock(table_mutex_);
  auto& outbox = outboxes_[node];
  if (!outbox) outbox = std::make_shared<Outbox>(config_.outbox);
  return outbox;
}

/// What an Erlang node would close the channel for is dropped, as a signal to a process that is gone.
bool Network::may_leave(const Signal& signal, const Atom& node, std::uint32_t peer_creation, Flags flags) {
  const auto allowed = check_outgoing(signal, {settings_.name, node, settings_.creation, peer_creation}, flags);
  if (allowed) return true;
  counters_.signals_dropped += 1;
  logger_->debug("a signal to {} is dropped: {}", node.text(), allowed.error().message());
  return false;
}

/// To the channel of the snapshot. The transport thread hears of what follows.
Outbox::Pushed Network::push(const Atom& node, const std::shared_ptr<Outbox>& outbox, const Outbox::Snapshot& to,
                             const Signal& signal, const Pid& stream_key) {
  if (!may_leave(signal, node, to.peer_creation, to.flags)) return Outbox::Pushed::accepted;
  const bool must = essential(signal.control);
  if (!must && !to.has_room) return Outbox::Pushed::full;
  auto message = encode_message(signal, to.flags, stream_key, outbox->next_sequence());
  const auto pushed = outbox->push(to.epoch, std::move(message), must);
  if (pushed.outcome == Outbox::Pushed::unread) {
    if (pushed.wake) close_unread(node, to.epoch);
  } else if (pushed.wake) {
    wake(node, outbox);
  }
  return pushed.outcome;
}

SendOutcome Network::send(const Atom& node, Signal&& signal, const Pid& stream_key) {
  if (node == settings_.name) return SendOutcome::refused;
  const auto outbox = outbox_of(node);
  const bool must = essential(signal.control);
  if (!is_probe(signal.control)) outbox->mark_used();
  auto pushed = Outbox::Pushed::stale;
  // A channel may come or go between the look and the push; then look again. Bounded: each round needs such a change.
  constexpr int rounds_max = 100;
  // NOLINTBEGIN(bugprone-use-after-move): it is moved from only when it was accepted, and then there is no next round.
  for (int round = 0; pushed == Outbox::Pushed::stale && round < rounds_max; ++round) {
    const auto snapshot = outbox->snapshot(must);
    if (snapshot.state == Outbox::State::up) {
      pushed = push(node, outbox, snapshot, signal, stream_key);
    } else {
      const std::size_t bytes = weight(signal);
      const auto waiting =
          outbox->push_waiting(std::move(signal), stream_key, bytes, must, config_.auto_connect, monotonic_now());
      pushed = waiting.outcome;
      if (waiting.wake) post([this, node] { start_dial(node, false); });
    }
  }
  // NOLINTEND(bugprone-use-after-move)
  return outcome_of(pushed);
}

SendOutcome Network::send_on(const Atom& node, std::uint64_t epoch, const Signal& signal, const Pid& stream_key,
                             bool if_short) {
  const auto outbox = outbox_of(node);
  const auto snapshot = outbox->snapshot(essential(signal.control));
  if (snapshot.state != Outbox::State::up || snapshot.epoch != epoch) return SendOutcome::refused;
  if (if_short && outbox->await_room()) return SendOutcome::full;
  outbox->mark_used();
  return outcome_of(push(node, outbox, snapshot, signal, stream_key));
}

void Network::wake(const Atom& node, const std::shared_ptr<Outbox>& outbox) {
  const std::lock_guard lock(woken_mutex_);
  woken_.emplace_back(node, outbox);
  if (emptying_posted_ || (events_.empties_outboxes && events_.empties_outboxes())) return;
  emptying_posted_ = true;
  post([this] {
    {
      const std::lock_guard posted_lock(woken_mutex_);
      emptying_posted_ = false;
    }
    empty_outboxes();
  });
}

void Network::empty_outboxes() {
  std::vector<std::pair<Atom, std::shared_ptr<Outbox>>> woken;
  {
    const std::lock_guard lock(woken_mutex_);
    woken.swap(woken_);
  }
  for (const auto& [node, outbox] : woken) flush(node, outbox);
}

void Network::flush(const Atom& node, const std::shared_ptr<Outbox>& outbox) {
  const auto found = peers_.find(node);
  if (found == peers_.end() || !found->second->up) return;
  const auto channel = found->second->up;
  outbox->take(taken_);
  for (auto& message : taken_) channel->send(std::move(message));
  // The memory is for the next ones, of whichever peer, as long as they are about as many.
  constexpr std::size_t kept_max = 4096;
  constexpr std::size_t kept_always = 64;
  const bool keeps = taken_.capacity() <= std::min(kept_max, kept_always + 8 * taken_.size());
  taken_.clear();
  if (!keeps) taken_.shrink_to_fit();
  if (outbox->set_transport_queue(channel->queued_bytes()) && events_.writable) events_.writable(node);
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

// Dialing.

void Network::connect(const Atom& node, ConnectCallback callback) {
  post([this, node, callback = std::move(callback)]() mutable {
    if (stopped_) return callback(fail(Errc::stopped, "the node is stopping"));
    if (node == settings_.name) return callback(fail(Errc::cannot_connect_self, "a node is not its own peer"));
    Peer& peer = peer_of(node);
    if (peer.up) return callback({});
    peer.waiters.push_back(std::move(callback));
    start_dial(node, true);
  });
}

void Network::open_stream(const Atom& node, std::string tag, UserStreams::Opened callback) {
  connect(node, [this, node, tag = std::move(tag), callback = std::move(callback)](const Result<void>& connected) {
    if (!connected) return callback(std::unexpected(connected.error()));
    const auto found = peers_.find(node);
    if (found == peers_.end() || !found->second->up) {
      return callback(fail(Errc::no_connection, "the connection was lost at once"));
    }
    found->second->outbox->mark_used();
    found->second->up->streams().open(tag, callback);
  });
}

void Network::start_dial(const Atom& node, bool explicit_wish) {
  if (stopped_) return;
  Peer& peer = peer_of(node);
  if (peer.up || peer.dial) return;
  if (!explicit_wish && dials_by_sends_ >= config_.dials_by_sends_max) {
    const Error error(Errc::overloaded, "too many dials are in progress");
    return lose_waiting(peer, error, monotonic_now() + config_.retry_after_min);
  }
  if (!explicit_wish) ++dials_by_sends_;
  counters_.dials += 1;
  note(FlightEntry::Kind::dialled, node.text());
  if (explicit_wish) peer.outbox->set_dialing();
  peer.dial = std::make_unique<Dial>(context_);
  peer.dial->number = next_epoch_++;
  peer.dial->by_send = !explicit_wish;
  peer.dial->deadline = monotonic_now() + config_.setup_timeout;
  if (peer.incoming) return retry_dial(peer, config_.attempt_timeout);  // the peer is about to come up by itself
  resolve(peer);
}

void Network::resolve(Peer& peer) {
  const Atom node = peer.name;
  Dial& dial = *peer.dial;
  const std::uint64_t number = dial.number;
  if (const auto addresses = addresses_by_option(node)) return attempt(peer, addresses->front());
  if (dial.answer) return take_answer(peer);
  await_answer(peer);
  if (std::exchange(dial.asked, true)) return;
  discovery_.resolve(node,
                     [this, alive = std::weak_ptr<int>(alive_), node, number](Result<DiscoveredAddresses> answer) {
                       if (alive.expired()) return;
                       post([this, node, number, addresses = std::move(answer)]() mutable {
                         Peer* const dialling = dialled(node, number);
                         if (!dialling) return;
                         dialling->dial->asked = false;
                         dialling->dial->answer = std::move(addresses);
                         if (dialling->dial->resolving) take_answer(*dialling);
                       });
                     });
}

/// Discovery may take longer than the dial has: a name server that does not answer takes half a minute.
void Network::await_answer(Peer& peer) {
  peer.dial->resolving = true;
  const auto met = peer.dial->guessed ? std::nullopt : discovery_.remembered(peer.name);
  const auto end = peer.dial->deadline;
  peer.dial->timer.expires_at(met ? std::min(end, monotonic_now() + config_.remembered_after) : end);
  peer.dial->timer.async_wait(
      [this, alive = std::weak_ptr<int>(alive_), node = peer.name, number = peer.dial->number, met](auto error) {
        if (error || alive.expired()) return;
        Peer* const waiting = dialled(node, number);
        if (!waiting || !waiting->dial->resolving) return;
        waiting->dial->resolving = false;
        if (monotonic_now() >= waiting->dial->deadline) {
          const auto& before = waiting->dial->last_error;
          const std::string guess = waiting->dial->guessed ? "; where it was met last: " + before.message() : "";
          return finish_dial(*waiting, fail(Errc::timeout, "discovery did not answer within setup_timeout_ms" + guess));
        }
        if (waiting->incoming) return retry_dial(*waiting, config_.attempt_timeout);
        waiting->dial->guessed = waiting->dial->guesses = true;
        attempt(*waiting, {*met, ""});
      });
}

void Network::take_answer(Peer& peer) {
  Dial& dial = *peer.dial;
  dial.resolving = false;
  const auto addresses = *std::exchange(dial.answer, std::nullopt);
  if (!addresses) return finish_dial(peer, std::unexpected(addresses.error()));
  // The peer's own attempt overtook the look-up. A BEAM that we dial now would wait for the end of an attempt of its
  // own that we have answered, and that does not end (protocol document 01, section 5.5).
  if (peer.incoming) return retry_dial(peer, config_.attempt_timeout);
  attempt(peer, (*addresses)[dial.attempts++ % addresses->size()]);
}

void Network::attempt(Peer& peer, const DiscoveredAddress& address) {
  const auto options = connect_options_.find(peer.name);
  auto channel = Channel::dial(settings_, *endpoint_, address.address, address.server_name, peer.name, events_for(),
                               logger_, options == connect_options_.end() ? nullptr : options->second.via);
  if (!channel) return finish_dial(peer, std::unexpected(channel.error()));
  peer.dial->channel = *channel;
  peer.dial->by_adapter = options != connect_options_.end() && options->second.via;
  logger_->debug("dialling {} at {}", peer.name.text(), (*channel)->address());
  // The timer ends an attempt whose QUIC handshake hangs, or whose name is not answered; the other stages have their
  // own deadlines within the same total.
  peer.dial->timer.expires_after(
      std::min<MonotonicTime::duration>(config_.attempt_timeout, peer.dial->deadline - monotonic_now()));
  peer.dial->timer.async_wait(
      [alive = std::weak_ptr<int>(alive_), weak = std::weak_ptr<Channel>(*channel)](auto error) {
        if (error || alive.expired()) return;
        const auto attempted = weak.lock();
        if (!attempted) return;
        if (attempted->stage() == ChannelStage::connecting) {
          attempted->fail(ChannelEnd::Cause::lost,
                          Error(Errc::timeout, "no answer to the QUIC handshake from " + attempted->address()));
        } else if (attempted->undecided()) {
          // A BEAM may acknowledge our name and lose it.
          attempted->fail(ChannelEnd::Cause::lost,
                          Error(Errc::timeout, "no answer to our name from " + attempted->address()));
        }
      });
}

void Network::dial_ended(Peer& peer, const std::shared_ptr<Channel>& channel, const ChannelEnd& end) {
  if (!peer.dial || peer.dial->channel != channel) return;
  logger_->debug("the attempt to connect to {} ended: {}", peer.name.text(), end.error.message());
  peer.dial->channel.reset();
  peer.dial->last_error = end.error;
  const bool guess = std::exchange(peer.dial->guesses, false) && monotonic_now() < peer.dial->deadline;
  // It cannot be answered any more: the peer may have read our name.
  if (peer.incoming_held) drop_incoming(peer, "our own attempt was preferred, and ended");
  switch (after_attempt(end, peer.incoming != nullptr, monotonic_now() >= peer.dial->deadline)) {
    case AfterAttempt::give_up:
      // Another node may be there by now.
      if (guess) return retry_dial(peer, Milliseconds(random_between(50, 200)));
      return finish_dial(peer, std::unexpected(end.error));
    case AfterAttempt::await_peer: return retry_dial(peer, config_.attempt_timeout);
    case AfterAttempt::dial_again_soon: return retry_dial(peer, Milliseconds(random_between(50, 200)));
    case AfterAttempt::dial_again_later: return retry_dial(peer, Milliseconds(random_between(300, 600)));
  }
}

Network::Peer* Network::dialled(const Atom& node, std::uint64_t number) {
  if (stopped_) return nullptr;
  const auto found = peers_.find(node);
  if (found == peers_.end() || !found->second->dial || found->second->dial->number != number) return nullptr;
  return found->second.get();
}

void Network::retry_dial(Peer& peer, Milliseconds delay) {
  peer.dial->resolving = false;
  peer.dial->timer.expires_after(delay);
  peer.dial->timer.async_wait(
      [this, alive = std::weak_ptr<int>(alive_), node = peer.name, number = peer.dial->number](auto error) {
        if (error || alive.expired()) return;
        Peer* const found = dialled(node, number);
        if (!found) return;
        Peer& waiting = *found;
        if (monotonic_now() >= waiting.dial->deadline)
          return finish_dial(waiting, std::unexpected(waiting.dial->last_error));
        if (waiting.incoming) {
          const auto since = std::chrono::duration_cast<Milliseconds>(monotonic_now() - waiting.incoming_since);
          if (since < config_.attempt_timeout) return retry_dial(waiting, config_.attempt_timeout - since);
          // A BEAM whose attempt fails in the handshake may say nothing.
          drop_incoming(waiting, "the set-up took too long");
        }
        resolve(waiting);
      });
}

void Network::finish_dial(Peer& peer, Result<void> result) {
  const auto dial = std::move(peer.dial);
  if (dial) {
    if (dial->by_send) --dials_by_sends_;
    dial->timer.cancel();
    dial->hold_timer.cancel();
    if (dial->channel && dial->channel != peer.up)
      dial->channel->close("another connection to this node was preferred");
  }
  auto waiters = std::exchange(peer.waiters, {});
  if (!result && !peer.up) {
    const auto now = monotonic_now();
    lose_waiting(peer, result.error(), now + dial_failures_.failed(peer.name, now));
  }
  for (auto& waiter : waiters) waiter(result);
}

/// The peer cannot be reached: what was sent to it is lost, and no send dials it before `retry_at`.
void Network::lose_waiting(Peer& peer, const Error& error, MonotonicTime retry_at) {
  counters_.dials_failed += 1;
  counters_.signals_dropped += peer.outbox->set_down(retry_at);
  note(FlightEntry::Kind::dial_failed, peer.name.text(), error.message());
  if (!failure_lines_.take(monotonic_now())) {
    ++failures_unlogged_;
  } else if (const auto others = std::exchange(failures_unlogged_, 0); others > 0) {
    logger_->info("cannot connect to {}: {} ({} other failures are not logged)", peer.name.text(), error.message(),
                  others);
  } else {
    logger_->info("cannot connect to {}: {}", peer.name.text(), error.message());
  }
  if (events_.unreachable) events_.unreachable(peer.name, error);
  if (events_.writable) events_.writable(peer.name);
}

// Accepting.

void Network::accept(std::shared_ptr<quic::Connection> connection) {
  if (stopped_) return connection->close(0, "shutting down");
  counters_.accepted += 1;
  unnamed_.push_back(Channel::accept(settings_, std::move(connection), events_for(), logger_));
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

HandshakeAnswer Network::decide(const std::shared_ptr<Channel>& channel, const Atom& name) {
  if (stopped_ || name == settings_.name) return HandshakeAnswer::close;
  Peer& peer = peer_of(name);
  std::erase(unnamed_, channel);
  if (peer.incoming && peer.incoming != channel) {
    // The peer began anew, so its earlier connection is of no use to it.
    drop_incoming(peer, "a newer connection of this node came");
  }
  peer.incoming = channel;
  peer.incoming_since = monotonic_now();
  const auto own = peer.dial ? peer.dial->channel : nullptr;
  OwnAttempt attempt = OwnAttempt::none;
  if (own) attempt = own->named() ? OwnAttempt::named : OwnAttempt::nameless;
  const auto answer = answer_to_name(peer.up != nullptr, attempt, settings_.name, name);
  if (!peer.up) logger_->debug("{} ({}) wants to connect while {}", name.text(), channel->address(), stage_text(own));
  if (answer == HandshakeAnswer::hold) {
    peer.incoming_held = true;
    hold_incoming(peer);
  } else if (own && answer == HandshakeAnswer::ok_simultaneous) {
    peer.dial->channel.reset();
    own->close("the connection of the peer is preferred");
    retry_dial(peer, config_.attempt_timeout);  // in case that the peer's attempt fails
  }
  return answer;
}

/// Closes the peer's attempt as soon as the peer knows of ours.
void Network::hold_incoming(Peer& peer) {
  peer.dial->hold_timer.expires_after(hold_left(peer.dial->channel->name_acked(), monotonic_now()));
  peer.dial->hold_timer.async_wait(
      [this, alive = std::weak_ptr<int>(alive_), node = peer.name, number = peer.dial->number](auto error) {
        if (error || alive.expired()) return;
        Peer* const holding = dialled(node, number);
        if (!holding || !holding->incoming_held || !holding->dial->channel) return;
        if (hold_left(holding->dial->channel->name_acked(), monotonic_now()).count() > 0)
          return hold_incoming(*holding);
        drop_incoming(*holding, "another connection to this node was preferred");
      });
}

void Network::drop_incoming(Peer& peer, const char* reason) {
  peer.incoming_held = false;
  if (const auto incoming = std::exchange(peer.incoming, nullptr)) incoming->close(reason);
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

Delivered Network::channel_signals(Channel& channel, std::span<Signal> signals) {
  const auto found = peers_.find(channel.peer());
  if (found == peers_.end() || found->second->up.get() != &channel) return {signals.size()};
  found->second->probe_sent.reset();
  const Control& first = signals.front().control;
  if (const auto* answer = std::get_if<MonitorExit>(&first); answer != nullptr && answer->to == probe_pid(settings_)) {
    return {};
  }
  if (!is_probe(first)) found->second->outbox->mark_used();
  return events_.deliver ? events_.deliver(channel.peer(), channel.epoch(), signals) : Delivered{signals.size()};
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

// Time.

void Network::schedule_tick() {
  timer_->timer.expires_after(config_.detector.tick);
  timer_->timer.async_wait([this, alive = std::weak_ptr<int>(alive_)](auto error) {
    if (error || alive.expired() || stopped_) return;
    tick();
    schedule_tick();
  });
}

void Network::tick() {
  const auto now = monotonic_now();
  if (const auto paused = detector_.tick(now)) {
    counters_.pauses += 1;
    note(FlightEntry::Kind::paused, "", std::to_string(paused->count()) + " ms");
    logger_->warn("this process did not run for {} ms: no peer is accused for the time it missed", paused->count());
    if (events_.paused) events_.paused(*paused);
  }
  // Copies, since what is found out changes the tables.
  for (const auto& channel : std::vector(unnamed_)) channel->tick(now);
  std::vector<Atom> names;
  names.reserve(peers_.size());
  for (const auto& [name, peer] : peers_) names.push_back(name);
  for (const auto& name : names) {
    const auto found = peers_.find(name);
    if (found == peers_.end()) continue;
    Peer& peer = *found->second;
    if (const auto incoming = peer.incoming) incoming->tick(now);
    if (const auto dialled = peer.dial ? peer.dial->channel : nullptr) {
      // The limit of the whole first: when that of its last part is due in the same tick, this one says more.
      if (now >= peer.dial->deadline) {
        const char* hint = dialled->awaits_ack() ? ": no word on our challenge answer, is the cookie the same?" : "";
        dialled->fail(ChannelEnd::Cause::lost,
                      Error(Errc::timeout, std::string("the set-up took longer than setup_timeout_ms") + hint));
      } else {
        dialled->tick(now);
      }
    }
    if (const auto up = peer.up) {
      up->tick(now);
      if (peer.up == up) check_silent(peer, now);
      if (peer.up == up) probe(peer, now);
    }
    forget_if_idle(name);
  }
  if (now >= next_idle_sweep_) close_idle(now);
}

void Network::close_idle(MonotonicTime now) {
  next_idle_sweep_ = now + config_.idle_sweep;
  if (config_.idle_close_after.count() == 0 || !events_.may_close_idle) return;
  std::vector<Atom> idle;
  for (const auto& [name, peer] : peers_) {
    if (!peer->up) continue;
    if (peer->outbox->take_used() || peer->up->streams().count() > 0) peer->last_used = now;
    if (now - peer->last_used >= config_.idle_close_after && events_.may_close_idle(name)) idle.push_back(name);
  }
  for (const auto& name : idle) {
    counters_.idle_closed += 1;
    note(FlightEntry::Kind::idle, name.text());
    close_channel(*peers_.at(name), "idle");
  }
}

void Network::probe(Peer& peer, MonotonicTime now) {
  const auto channel = peer.up;
  if (detector_.is_dead(channel->last_heard(), now)) {
    counters_.detector_downs += 1;
    note(FlightEntry::Kind::silent, peer.name.text(), "nothing heard");
    logger_->warn("nothing heard from {} for {} ms", peer.name.text(),
                  detector_.silence(channel->last_heard(), now).count());
    return channel->fail(ChannelEnd::Cause::lost,
                         Error(Errc::timeout, "silent for longer than detector.dead_after_ms"));
  }
  const auto& config = config_.detector;
  if (config.probe_after.count() == 0) return;
  if (peer.probe_sent) {
    if (detector_.silence(*peer.probe_sent, now) < config.probe_timeout) return;
    counters_.probe_downs += 1;
    note(FlightEntry::Kind::silent, peer.name.text(), "its distribution layer does not answer");
    logger_->warn("the distribution layer of {} does not answer", peer.name.text());
    return channel->fail(ChannelEnd::Cause::lost, Error(Errc::timeout, "no answer within detector.probe_timeout_ms"));
  }
  if (detector_.silence(channel->last_signal(), now) < config.probe_after) return;
  peer.probe_sent = now;
  const Pid self = probe_pid(settings_);
  const Ref reference{
      settings_.name,
      settings_.creation,
      3,
      {static_cast<std::uint32_t>(channel->epoch()) & 0x3ffffU, random_uint32(), random_uint32(), 0, 0}};
  channel->send(encode_message(Signal{Monitor{self, probe_name(), reference}, {}}, channel->flags(), self,
                               peer.outbox->next_sequence()));
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
