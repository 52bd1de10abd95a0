// Dials and what comes in their way: discovery, one address after the other, and the peer's own attempt.
#include <barrel_p2p/node_name.hpp>
#include <utility>

#include "base/random.hpp"
#include "distribution/dial_rules.hpp"
#include "distribution/network_peer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

namespace asio = boost::asio;

namespace {

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

}  // namespace

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

HandshakeAnswer Network::decide(const std::shared_ptr<Channel>& channel, const Atom& name) {
  if (stopped_ || name == settings_.name) return HandshakeAnswer::close;
  // Where the cookie decides alone, nobody has looked at it yet.
  if (!NodeName::parse(name.text())) return HandshakeAnswer::not_allowed;
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

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
