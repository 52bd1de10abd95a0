// Whether peers are alive and channels are used: the tick, probes, and what counts as a use.
#include <utility>

#include "base/random.hpp"
#include "distribution/encode.hpp"
#include "distribution/network_peer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

/// The process that asks peers whether their distribution layer is alive. No process has id 0.
Pid probe_pid(const ChannelSettings& settings) { return {settings.name, 0, 0, settings.creation}; }

/// A name that nobody registers: the answer to a monitor on it is a DOWN with `noproc`, from every node.
const Atom& probe_name() {
  static const Atom name("barrel_p2p_probe");
  return name;
}

}  // namespace

bool is_probe(const Control& control) {
  const PidOrName* watched = nullptr;
  if (const auto* monitor = std::get_if<Monitor>(&control)) watched = &monitor->target;
  if (const auto* answer = std::get_if<MonitorExit>(&control)) watched = &answer->from;
  const auto* name = watched != nullptr ? std::get_if<Atom>(watched) : nullptr;
  return name != nullptr && *name == probe_name();
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

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
