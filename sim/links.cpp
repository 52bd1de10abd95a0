// The channels of the engine.
#include <algorithm>
#include <cassert>
#include <utility>

#include "sim/engine.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

/// Packets of a handshake that nobody answers are sent again after this, then after twice this, and so on.
constexpr SimTime handshake_retry = Milliseconds(250);
constexpr std::uint8_t handshake_doublings_max = 4;
constexpr std::uint8_t losses_max = 6;  ///< In a row, of one packet.

std::uint64_t stall_key(std::uint32_t id, std::uint8_t sender) noexcept { return std::uint64_t{id} * 2 + sender; }

}  // namespace

std::uint64_t Engine::pair_key(NodeIndex left, NodeIndex right) noexcept {
  return (std::uint64_t{std::min(left, right)} << 32U) | std::max(left, right);
}

std::optional<std::uint32_t> Engine::find_link(NodeIndex left, NodeIndex right) const {
  const auto found = newest_link_.find(pair_key(left, right));
  if (found == newest_link_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::uint32_t> Engine::find_up(NodeIndex node, NodeIndex peer) const {
  // Of the two lists the shorter one: a contact of all nodes may have thousands of links.
  const bool from_node = nodes_[node].links.size() <= nodes_[peer].links.size();
  const NodeIndex other = from_node ? peer : node;
  for (const auto& place : nodes_[from_node ? node : peer].links) {
    if (place.peer != other) continue;
    const Link& link = links_[place.link];
    if (link.end[end_of(link, node)].state == EndState::up) return place.link;
  }
  return std::nullopt;
}

bool Engine::is_linked(NodeIndex node, NodeIndex peer) const { return find_up(node, peer).has_value(); }

std::uint32_t Engine::make_link(NodeIndex from, NodeIndex to) {
  if (free_links_.empty()) {
    free_links_.push_back(static_cast<std::uint32_t>(links_.size()));
    links_.emplace_back();
  }
  const std::uint32_t id = free_links_.back();
  free_links_.pop_back();
  Link& link = links_[id];
  const std::uint32_t generation = link.generation;
  link = Link{};
  link.generation = generation;
  link.in_use = true;
  link.dialled = link.active = now_;
  if (const auto previous = find_link(from, to)) {
    link.previous = *previous;
    link.previous_generation = links_[*previous].generation;
  }
  newest_link_[pair_key(from, to)] = id;
  for (const std::uint8_t end : {std::uint8_t{0}, std::uint8_t{1}}) {
    link.end[end].node = end == 0 ? from : to;
    link.end[end].incarnation = nodes_[link.end[end].node].incarnation;
    auto& list = nodes_[link.end[end].node].links;
    link.end[end].place = static_cast<std::uint32_t>(list.size());
    list.push_back({id, end == 0 ? to : from});
  }
  return id;
}

void Engine::leave_list(const End& end) {
  auto& list = nodes_[end.node].links;
  const Place moved = list.back();
  list[end.place] = moved;
  list.pop_back();
  Link& link = links_[moved.link];
  link.end[end_of(link, end.node)].place = end.place;
}

void Engine::settle(std::uint32_t id) {
  Link& link = links_[id];
  for (const End& end : link.end) {
    if (end.state == EndState::up || (end.state == EndState::waiting && end.dialled)) return;
  }
  if (!link.in_use) return;
  drop_stalled(id, 0);
  drop_stalled(id, 1);
  for (const End& end : link.end) leave_list(end);
  const auto newest = newest_link_.find(pair_key(link.end[0].node, link.end[1].node));
  if (newest != newest_link_.end() && newest->second == id) {
    if (link.previous != none && links_[link.previous].generation == link.previous_generation) {
      newest->second = link.previous;
    } else {
      newest_link_.erase(newest);
    }
  }
  link.in_use = false;
  ++link.generation;
  free_links_.push_back(id);
}

void Engine::drop_stalled(std::uint32_t id, std::uint8_t sender) {
  if (!links_[id].from[sender].stalled) return;
  links_[id].from[sender].stalled = false;
  const auto found = stalled_.find(stall_key(id, sender));
  for (const Parcel parcel : found->second) {
    if (parcel < parcel_closing) host_.discard(parcel);
  }
  stalled_.erase(found);
}

SimTime Engine::one_way(NodeIndex from, NodeIndex to) {
  SimTime delay = model_.delay.draw(random_);
  if (model_.asymmetry > 0) {
    Prng pair(pair_seed_ ^ (std::uint64_t{from} << 32U) ^ to);
    delay = pair.jitter(delay, model_.asymmetry);
  }
  SimTime wait = model_.retransmit;
  for (std::uint8_t losses = 0; losses < losses_max && model_.loss > 0 && random_.chance(model_.loss); ++losses) {
    delay += wait;
    wait *= 2;
  }
  return delay;
}

void Engine::push_link_event(EventKind kind, SimTime time, std::uint32_t id, std::uint8_t end, std::uint32_t detail) {
  queue_.push({.time = time,
               .sequence = 0,
               .subject = id,
               .generation = links_[id].generation,
               .detail = detail,
               .kind = kind,
               .end = end});
}

void Engine::transmit(std::uint32_t id, std::uint8_t sender, Parcel parcel) {
  Link& link = links_[id];
  const std::uint8_t receiver = sender == 0 ? 1 : 0;
  Direction& way = link.from[sender];
  const SimTime arrival = now_ + one_way(link.end[sender].node, link.end[receiver].node);
  way.last_arrival = std::max(way.last_arrival, arrival);
  ++way.in_flight;
  push_link_event(EventKind::deliver, way.last_arrival, id, receiver, parcel);
}

Sent Engine::send(NodeIndex from, NodeIndex to, Parcel parcel) {
  const auto id = find_up(from, to);
  if (!id) return Sent::not_linked;
  Link& link = links_[*id];
  const std::uint8_t sender = end_of(link, from);
  if (model_.queue_max > 0 && link.from[sender].in_flight >= model_.queue_max) return Sent::refused;
  link.active = now_;
  transmit(*id, sender, parcel);
  return Sent::queued;
}

void Engine::arrive(const Event& event) {
  Link& link = links_[event.subject];
  const End& end = link.end[event.end];
  const std::uint8_t sender = event.end == 0 ? 1 : 0;
  Direction& way = link.from[sender];
  if (end.state == EndState::down) {
    --way.in_flight;
    return drop(event);
  }
  if (way.stalled || !reaches(link.end[sender].node, end.node)) {
    way.stalled = true;
    stalled_[stall_key(event.subject, sender)].push_back(event.detail);
    return;
  }
  Node& node = nodes_[end.node];
  if (node.processing == SimTime::zero()) return hand_over(event);
  node.busy_until = std::max(node.busy_until, now_) + node.processing;
  push_link_event(EventKind::process, node.busy_until, event.subject, event.end, event.detail);
}

void Engine::hand_over(const Event& event) {
  Link& link = links_[event.subject];
  const End& end = link.end[event.end];
  const std::uint8_t sender = event.end == 0 ? 1 : 0;
  --link.from[sender].in_flight;
  if (event.detail == parcel_opened) {
    if (end.state == EndState::waiting) bring_up(event.subject, event.end);
  } else if (event.detail == parcel_closing) {
    if (end.state == EndState::up) return take_down(event.subject, event.end, false);
    fail_dial(event.subject, event.end);
  } else if (end.state == EndState::up) {
    host_.receive(end.node, link.end[sender].node, event.detail);
  } else {
    host_.discard(event.detail);
  }
}

void Engine::dial(NodeIndex from, NodeIndex to) {
  const auto existing = find_link(from, to);
  const bool pointless = from == to || find_up(from, to).has_value();
  if (pointless) {
    const std::uint32_t incarnation = nodes_[from].incarnation;
    return call_at(now_, [this, from, to, incarnation] {
      if (nodes_[from].incarnation != incarnation) return;
      find_up(from, to) ? host_.link_up(from, to) : host_.connect_failed(from, to);
    });
  }
  if (existing) {
    End& end = links_[*existing].end[end_of(links_[*existing], from)];
    if (end.state == EndState::waiting) {
      if (std::exchange(end.dialled, true)) return;
      return push_link_event(EventKind::dial_failed, now_ + model_.setup_timeout, *existing,
                             end_of(links_[*existing], from));
    }
  }
  const std::uint32_t id = make_link(from, to);
  links_[id].end[0].dialled = true;
  const SimTime round_trips = 2 * (one_way(from, to) + one_way(to, from));
  push_link_event(EventKind::handshake, now_ + round_trips + model_.handshake_work, id, 0);
  push_link_event(EventKind::dial_failed, now_ + model_.setup_timeout, id, 0);
}

void Engine::on_handshake(const Event& event) {
  Link& link = links_[event.subject];
  const std::uint8_t dialer = link.dialer;
  const std::uint8_t acceptor = dialer == 0 ? 1 : 0;
  const NodeIndex from = link.end[dialer].node;
  const NodeIndex to = link.end[acceptor].node;
  if (link.end[acceptor].state == EndState::up) return;
  if (!link.end[dialer].dialled) {
    // Its process or its patience is gone, but the other side dials too: its own handshake takes over.
    link.dialer = acceptor;
    return push_link_event(EventKind::handshake, now_ + 2 * (one_way(from, to) + one_way(to, from)), event.subject,
                           acceptor);
  }
  if (!nodes_[to].alive) {
    const SimTime refused = std::max(now_, link.dialled + model_.refuse_timeout);
    return push_link_event(EventKind::dial_failed, refused, event.subject, dialer);
  }
  if (nodes_[to].paused || !reaches(from, to) || !reaches(to, from)) {
    const SimTime retry = handshake_retry * (1 << link.attempts);
    link.attempts = std::min<std::uint8_t>(link.attempts + 1, handshake_doublings_max);
    return push_link_event(EventKind::handshake, now_ + retry, event.subject, dialer);
  }
  link.end[acceptor].incarnation = nodes_[to].incarnation;
  transmit(event.subject, acceptor, parcel_opened);
  bring_up(event.subject, acceptor);
}

void Engine::fail_dial(std::uint32_t id, std::uint8_t end) {
  End& failed = links_[id].end[end];
  if (failed.state != EndState::waiting || !failed.dialled) return;
  const NodeIndex node = failed.node;
  const NodeIndex peer = links_[id].end[end == 0 ? 1 : 0].node;
  failed.dialled = false;
  failed.state = EndState::down;
  review(id);
  settle(id);
  host_.connect_failed(node, peer);
}

void Engine::bring_up(std::uint32_t id, std::uint8_t end) {
  const NodeIndex node = links_[id].end[end].node;
  const NodeIndex peer = links_[id].end[end == 0 ? 1 : 0].node;
  if (const auto old = find_up(node, peer)) take_down(*old, end_of(links_[*old], node), true);
  Link& link = links_[id];
  link.end[end].state = EndState::up;
  link.end[end].dialled = false;
  link.active = now_;
  if (link.end[end == 0 ? 1 : 0].state != EndState::up)
    push_link_event(EventKind::idle, now_ + model_.idle_close, id, end);
  review(id);
  host_.link_up(node, peer);
}

void Engine::take_down(std::uint32_t id, std::uint8_t end, bool tell) {
  Link& link = links_[id];
  if (link.end[end].state != EndState::up) return;
  const std::uint8_t other = end == 0 ? 1 : 0;
  const NodeIndex node = link.end[end].node;
  const NodeIndex peer = link.end[other].node;
  drop_stalled(id, 0);
  drop_stalled(id, 1);
  if (tell && link.end[other].state != EndState::down) transmit(id, end, parcel_closing);
  link.end[end].state = EndState::down;
  review(id);
  settle(id);
  host_.link_down(node, peer);
}

void Engine::vanish(std::uint32_t id, std::uint8_t end) {
  Link& link = links_[id];
  drop_stalled(id, end);
  link.end[end].state = EndState::down;
  link.end[end].dialled = false;
  review(id);
  settle(id);
}

bool Engine::is_disowned(const Link& link, std::uint8_t end) const {
  const End& here = link.end[end];
  const End& there = link.end[end == 0 ? 1 : 0];
  const Node& process = nodes_[there.node];
  return here.state == EndState::up && there.state == EndState::down && process.alive &&
         process.incarnation == there.incarnation && !process.paused && reaches(here.node, there.node) &&
         reaches(there.node, here.node);
}

void Engine::review(std::uint32_t id) {
  for (const std::uint8_t listener : {std::uint8_t{0}, std::uint8_t{1}}) {
    const std::uint8_t speaker = listener == 0 ? 1 : 0;
    Link& link = links_[id];
    const End& here = link.end[listener];
    const End& there = link.end[speaker];
    Direction& way = link.from[speaker];
    const bool reached = reaches(there.node, here.node);
    const bool silent =
        here.state == EndState::up && (there.state == EndState::down || nodes_[there.node].paused || !reached);
    if (silent != way.silent) {
      way.silent = silent;
      ++way.silence;
      if (silent) begin_silence(id, listener);
    }
    if (reached && way.stalled) release_stalled(id, speaker);
    if (is_disowned(link, listener)) {
      const SimTime answer = one_way(here.node, there.node) + one_way(there.node, here.node);
      push_link_event(EventKind::disowned, now_ + uniform(random_, model_.keep_alive) + answer, id, listener);
    }
  }
}

void Engine::review_all() {
  for (std::uint32_t id = 0; id < links_.size(); ++id) {
    if (links_[id].in_use) review(id);
  }
}

void Engine::begin_silence(std::uint32_t id, std::uint8_t listener) {
  const SimTime heard = now_ - uniform(random_, model_.keep_alive);
  const SimTime noticed = heard + model_.dead_after + uniform(random_, model_.detector_tick);
  const std::uint8_t speaker = listener == 0 ? 1 : 0;
  push_link_event(EventKind::detect, std::max(now_, noticed), id, listener, links_[id].from[speaker].silence);
}

void Engine::on_detect(const Event& event) {
  const Link& link = links_[event.subject];
  const Direction& way = link.from[event.end == 0 ? 1 : 0];
  if (way.silent && way.silence == event.detail) take_down(event.subject, event.end, true);
}

void Engine::release_stalled(std::uint32_t id, std::uint8_t sender) {
  Direction& way = links_[id].from[sender];
  way.stalled = false;
  const auto found = stalled_.find(stall_key(id, sender));
  const std::vector<Parcel> parcels = std::move(found->second);
  stalled_.erase(found);
  // The next retransmission is up to a few time-outs away.
  constexpr int timeouts_max = 4;
  way.last_arrival = std::max(way.last_arrival, now_ + uniform(random_, timeouts_max * model_.retransmit));
  for (const Parcel parcel : parcels) {
    --way.in_flight;
    transmit(id, sender, parcel);
  }
}

void Engine::on_idle(const Event& event) {
  const Link& link = links_[event.subject];
  bool kept = false;
  for (const End& end : link.end) {
    const NodeIndex peer = link.end[&end == link.end.data() ? 1 : 0].node;
    if (end.state == EndState::up && (nodes_[end.node].paused || host_.keeps(end.node, peer))) kept = true;
  }
  if (kept || now_ < link.active + model_.idle_close) {
    const SimTime next = kept ? now_ + model_.idle_close : link.active + model_.idle_close;
    return push_link_event(EventKind::idle, next, event.subject, event.end);
  }
  const std::uint8_t closer = link.end[0].state == EndState::up ? 0 : 1;
  take_down(event.subject, closer, true);
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
