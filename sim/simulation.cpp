#include "sim/simulation.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

/// What the clocks of nodes show when the simulation starts, before skew: late enough for any subtraction.
constexpr auto clock_start = MonotonicTime{} + std::chrono::hours(10);
constexpr std::uint32_t timer_repeats_max = 1000;
constexpr std::uint8_t hop_max = 0xfe;
constexpr std::size_t id_bytes = 32;  ///< As the product makes them.
/// In place of the number, of broadcasts without a record.
constexpr std::size_t unrecorded = SIZE_MAX;
/// What the trace is told of messages to names, apart from those of the overlay.
constexpr std::uint64_t trace_to_name = 32;

/// An id whose first bytes number the broadcast.
Term make_id(std::size_t number, Prng& random) {
  Bytes id(id_bytes);
  for (std::size_t at = 0; at < id_bytes; ++at) {
    const std::uint64_t source = at < 8 ? std::uint64_t{number} >> (8 * at) : random.next();
    id[at] = static_cast<std::uint8_t>(source & 0xffU);
  }
  return Term::binary(id);
}

/// What the trace is told of a message to a name: how many parts it and its parts have. The bytes would have to be
/// counted all through, and show in what follows anyway.
std::uint64_t shape_of(const Term& message) {
  constexpr std::uint64_t factor = 1'000'003;
  std::uint64_t shape = message.size();
  for (const auto& part : message.elements()) {
    for (const auto& element : part.elements()) shape = shape * factor + element.size();
  }
  return shape;
}

std::size_t broadcast_number_of(const Term& id) {
  const auto bytes = id.as_binary();
  std::size_t number = 0;
  for (std::size_t at = 0; at < 8; ++at) number |= std::size_t{(*bytes)[at]} << (8 * at);
  return number;
}

const overlay::PlumtreeMessage* gossip_part(const overlay::Message& message) {
  return std::get_if<overlay::PlumtreeMessage>(&message);
}

std::uint64_t hash_of(const overlay::Message& message) {
  const auto* plumtree = gossip_part(message);
  return plumtree != nullptr ? 16 + plumtree->index() : std::get<overlay::HyParViewMessage>(message).index();
}

}  // namespace

Simulation::Simulation(SimulationConfig config)
    : config_(std::move(config)),
      random_(config_.seed),
      engine_(config_.network, Prng(config_.seed ^ 0x6e6574).next(), *this) {
  if (!config_.services.enabled) return;
  services_ = std::make_unique<ServiceNodes>(config_.services, Prng(config_.seed ^ 0x73657276).next(), *this);
}

NodeIndex Simulation::add_node(std::optional<Atom> name) {
  const NodeIndex node = engine_.add_node();
  Node& added = nodes_.emplace_back();
  added.name = name ? *name : Atom("n" + std::to_string(node) + "@sim");
  assert(!index_.contains(added.name));
  added.skew = uniform(random_, 2 * config_.clock_skew_max) - config_.clock_skew_max;
  added.drift = (2 * random_.unit() - 1) * config_.clock_drift_ppm_max * 1e-6;
  index_.emplace(added.name, node);
  if (services_) services_->add_node();
  return node;
}

void Simulation::start(NodeIndex node, const std::vector<NodeIndex>& contacts, bool remember) {
  Node& started = nodes_[node];
  overlay::OverlayConfig config = config_.overlay;
  config.own = started.name;
  config.seed = Prng(config_.seed ^ (std::uint64_t{node} << 32U) ^ started.starts++).next();
  for (const NodeIndex contact : contacts) config.contacts.contacts.push_back(nodes_[contact].name);
  if (remember) config.contacts.remembered = started.disk;
  engine_.start(node);
  forget_deliveries(node);
  started.member_since = engine_.now();
  started.checked_version = 0;
  started.overlay = std::make_unique<overlay::Overlay>(std::move(config), local_time(node));
  if (services_) services_->start(node, remember);
  if (started.overlay != nullptr) arm(node);
}

void Simulation::join(NodeIndex node, NodeIndex contact) {
  nodes_[node].member_since = engine_.now();
  act(node, [&](overlay::Overlay& machine, MonotonicTime now, overlay::Effects& out) {
    const auto joined = machine.join(nodes_[contact].name, now, out);
    if (!joined) fail_at(node, "cannot join: " + joined.error().message());
  });
}

void Simulation::leave(NodeIndex node) {
  if (services_) services_->leave(node);
  if (nodes_[node].overlay == nullptr) return;  // a callback ended it
  act(node, [](overlay::Overlay& machine, MonotonicTime now, overlay::Effects& out) { machine.leave(now, out); });
}

void Simulation::crash(NodeIndex node) {
  engine_.crash(node);
  end(node);
}

void Simulation::stop(NodeIndex node) {
  if (is_running(node)) leave(node);
  engine_.stop(node);
  end(node);
}

void Simulation::end(NodeIndex node) {
  if (services_) services_->end(node);
  Node& ended = nodes_[node];
  ended.overlay.reset();
  ended.effects.clear();
  ended.carrying_out = false;
  ended.neighbours.clear();
}

void Simulation::resume(NodeIndex node) {
  const bool was_paused = engine_.is_paused(node);
  engine_.resume(node);
  if (services_ && was_paused) services_->resumed(node);
}

bool Simulation::is_running(NodeIndex node) const { return engine_.is_alive(node) && !engine_.is_paused(node); }

bool Simulation::is_member(NodeIndex node) const {
  return is_running(node) && !nodes_[node].overlay->membership().has_left();
}

std::vector<NodeIndex> Simulation::members() const {
  std::vector<NodeIndex> found;
  for (NodeIndex node = 0; node < nodes_.size(); ++node) {
    if (is_member(node)) found.push_back(node);
  }
  return found;
}

bool Simulation::is_expected(NodeIndex node, const BroadcastRecord& record) const {
  return is_member(node) && node < record.hops.size() && nodes_[node].member_since < record.sent;
}

std::size_t Simulation::broadcast(NodeIndex node, const Term& tag, const Term& payload) {
  assert(is_running(node));
  const std::size_t number = broadcasts_.size();
  BroadcastRecord& record = broadcasts_.emplace_back();
  record.source = node;
  record.sent = engine_.now();
  record.hops.assign(nodes_.size(), BroadcastRecord::not_delivered);
  receiving_hop_ = 0;
  const Term id = make_id(number, random_);
  act(node, [&](overlay::Overlay& machine, MonotonicTime now, overlay::Effects& out) {
    machine.broadcast(tag, Term::tuple({number, payload}), id, now, out);
  });
  return number;
}

void Simulation::run_until(SimTime time) {
  while (engine_.step(time)) {
  }
}

// What the engine tells.

void Simulation::link_up(NodeIndex node, NodeIndex peer) {
  act(node, [&](overlay::Overlay& machine, MonotonicTime now, overlay::Effects& out) {
    machine.link_up(nodes_[peer].name, now, out);
  });
}

void Simulation::link_down(NodeIndex node, NodeIndex peer) {
  act(node, [&](overlay::Overlay& machine, MonotonicTime now, overlay::Effects& out) {
    machine.link_down(nodes_[peer].name, now, out);
  });
}

void Simulation::connect_failed(NodeIndex node, NodeIndex peer) {
  act(node, [&](overlay::Overlay& machine, MonotonicTime now, overlay::Effects& out) {
    machine.connect_failed(nodes_[peer].name, now, out);
  });
}

Term Simulation::open(NodeIndex node, const Packet& packet) const {
  auto decoded = decode_term(packet.bytes);
  if (!decoded) fail_at(node, "a message is no term: " + decoded.error().message());
  return std::move(decoded->term);
}

overlay::Message Simulation::open(NodeIndex node, NodeIndex peer, Packet& packet) const {
  if (!config_.codec) return std::move(packet.message);
  const Term term = open(node, packet);
  if (packet.to_bridge) {
    auto message = overlay::decode_hyparview(term, nodes_[peer].name);
    if (!message) fail_at(node, "cannot read " + to_text(term) + ": " + message.error().message());
    return std::move(*message);
  }
  auto message = overlay::decode_plumtree(term, nodes_[peer].name);
  if (!message) fail_at(node, "cannot read " + to_text(term) + ": " + message.error().message());
  return std::move(*message);
}

void Simulation::receive_by_name(NodeIndex node, NodeIndex peer, Parcel parcel) {
  const Term term = config_.codec ? open(node, packets_[parcel]) : std::move(packets_[parcel].term);
  const Atom name = packets_[parcel].receiver;
  discard(parcel);
  engine_.note(trace_to_name + shape_of(term));
  services_->receive(node, peer, name, term);
}

void Simulation::receive(NodeIndex node, NodeIndex peer, Parcel parcel) {
  if (!packets_[parcel].receiver.text().empty()) return receive_by_name(node, peer, parcel);
  receiving_hop_ = packets_[parcel].hop;
  const overlay::Message message = open(node, peer, packets_[parcel]);
  discard(parcel);
  engine_.note(hash_of(message));
  const auto* membership = std::get_if<overlay::HyParViewMessage>(&message);
  const bool is_hello = membership != nullptr && std::holds_alternative<overlay::Hello>(*membership);
  act(node, [&](overlay::Overlay& machine, MonotonicTime now, overlay::Effects& out) {
    machine.receive(nodes_[peer].name, message, now, out);
  });
  if (!services_ || !is_hello || nodes_[node].overlay == nullptr) return;
  if (nodes_[node].overlay->membership().is_native(nodes_[peer].name)) services_->set_native(node, peer);
}

void Simulation::timer(NodeIndex node) {
  Node& served = nodes_[node];
  served.timer_repeats = served.timer_served == engine_.now() ? served.timer_repeats + 1 : 0;
  served.timer_served = engine_.now();
  if (served.timer_repeats > timer_repeats_max) fail_at(node, "its timer is due again and again at one time");
  const bool is_due = served.overlay->deadline() <= local_time(node);
  if (is_due)
    act(node, [](overlay::Overlay& machine, MonotonicTime now, overlay::Effects& out) { machine.tick(now, out); });
  if (served.overlay == nullptr) return;  // a callback ended it
  const bool services_due = services_ && services_->deadline(node) <= local_time(node);
  if (services_due) services_->tick(node);
  if (!is_due && !services_due) arm(node);
}

void Simulation::discard(Parcel parcel) {
  Packet& packet = packets_[parcel];
  packet.message = overlay::Message{};
  packet.term = Term();
  packet.receiver = Atom();
  packet.bytes.clear();
  free_packets_.push_back(parcel);
}

bool Simulation::keeps(NodeIndex node, NodeIndex peer) const {
  return std::ranges::binary_search(nodes_[node].neighbours, peer);
}

// What the nodes want.

template <class Call>
void Simulation::act(NodeIndex node, const Call& call) {
  call(*nodes_[node].overlay, local_time(node), nodes_[node].effects);
  carry_out(node);
}

void Simulation::carry_out(NodeIndex node) {
  if (std::exchange(nodes_[node].carrying_out, true)) return;  // what a callback added: its turn comes
  const std::uint32_t starts = nodes_[node].starts;
  // A callback of the program may end the node.
  const auto lives = [&] { return nodes_[node].overlay != nullptr && nodes_[node].starts == starts; };
  overlay::Effects effects;
  while (lives() && !nodes_[node].effects.empty()) {
    std::swap(effects, nodes_[node].effects);
    for (auto& effect : effects) {
      if (lives()) apply(node, effect);
    }
    effects.clear();
  }
  if (!lives()) return;
  nodes_[node].effects = std::move(effects);  // for its memory
  nodes_[node].carrying_out = false;
  verify(node);
  arm(node);
}

void Simulation::arm(NodeIndex node) {
  if (nodes_[node].carrying_out) return;  // it is armed at the end of that
  MonotonicTime next = nodes_[node].overlay->deadline();
  if (services_) next = std::min(next, services_->deadline(node));
  if (next == MonotonicTime::min()) return engine_.set_timer(node, engine_.now());
  engine_.set_timer(node, simulated_time(node, next));
}

void Simulation::apply(NodeIndex node, overlay::Effect& effect) {
  if (on_effect) on_effect(node, effect);
  if (auto* wanted = std::get_if<overlay::SendMessage>(&effect)) {
    send(node, *wanted);
  } else if (const auto* connect = std::get_if<overlay::Connect>(&effect)) {
    engine_.dial(node, index_of(node, connect->node));
  } else if (const auto* up = std::get_if<overlay::MembershipUp>(&effect)) {
    neighbour_up(node, index_of(node, up->node));
  } else if (const auto* down = std::get_if<overlay::MembershipDown>(&effect)) {
    const NodeIndex peer = index_of(node, down->node);
    neighbour_down(node, peer);
    if (on_membership) on_membership(node, peer, false, overlay::name(down->reason));
  } else if (const auto* delivered = std::get_if<overlay::Deliver>(&effect)) {
    deliver(node, *delivered);
  } else if (const auto* lost = std::get_if<overlay::GossipLost>(&effect)) {
    if (services_) services_->gossip_lost(node, index_of(node, lost->node));
  } else if (auto* remember = std::get_if<overlay::Remember>(&effect)) {
    nodes_[node].disk = std::move(remember->nodes);
  }
}

Parcel Simulation::new_packet() {
  if (free_packets_.empty()) {
    free_packets_.push_back(static_cast<Parcel>(packets_.size()));
    packets_.emplace_back();
  }
  const Parcel parcel = free_packets_.back();
  free_packets_.pop_back();
  return parcel;
}

void Simulation::send_to_name(NodeIndex node, const Atom& to, const Atom& name, Term message) {
  const Parcel parcel = new_packet();
  Packet& packet = packets_[parcel];
  packet.receiver = name;
  if (config_.codec) {
    packet.bytes = encode_term(message);
  } else {
    packet.term = std::move(message);
  }
  const Sent sent = engine_.send(node, index_of(node, to), parcel);
  if (sent == Sent::not_linked)
    fail_at(node, "sends to " + name.string() + " of " + to.string() + " without a channel");
  ++messages_;
  if (sent == Sent::refused) discard(parcel);
}

void Simulation::broadcast_unrecorded(NodeIndex node, const Term& tag, Term payload) {
  const Term id = make_id(unrecorded, random_);
  act(node, [&](overlay::Overlay& machine, MonotonicTime now, overlay::Effects& out) {
    machine.broadcast(tag, std::move(payload), id, now, out);
  });
}

void Simulation::count_announcements(const overlay::Message& message) {
  const auto* plumtree = gossip_part(message);
  const auto* ihave = plumtree != nullptr ? std::get_if<overlay::IHave>(plumtree) : nullptr;
  if (ihave == nullptr) return;
  for (const auto& announcement : ihave->announcements) {
    const std::size_t number = broadcast_number_of(announcement.id);
    if (number != unrecorded) ++broadcasts_[number].announcements;
  }
}

void Simulation::send(NodeIndex node, overlay::SendMessage& effect) {
  const NodeIndex to = index_of(node, effect.to);
  const Parcel parcel = new_packet();
  Packet& packet = packets_[parcel];
  const auto* plumtree = gossip_part(effect.message);
  const auto* gossip = plumtree != nullptr ? std::get_if<overlay::Gossip>(plumtree) : nullptr;
  packet.hop = 0;
  packet.broadcast = gossip != nullptr ? broadcast_number_of(gossip->id) : unrecorded;
  if (packet.broadcast != unrecorded) {
    const std::uint8_t here = broadcasts_[packet.broadcast].hops[node];
    packet.hop = static_cast<std::uint8_t>(std::min<int>(here + 1, hop_max));
  }
  packet.to_bridge = plumtree == nullptr;
  const Sent sent = engine_.send(node, to, parcel);
  if (sent == Sent::not_linked) fail_at(node, "sends to " + effect.to.string() + " without a channel");
  if (sent == Sent::refused) {
    discard(parcel);
    nodes_[node].overlay->send_refused(effect.to, effect.message, local_time(node));
    return;
  }
  ++messages_;
  if (packet.broadcast != unrecorded) ++broadcasts_[packet.broadcast].payloads;
  count_announcements(effect.message);
  if (config_.codec) {
    const overlay::OwnRecord own{nodes_[node].name, Atom("undefined"), 0};
    packet.bytes = encode_term(overlay::encode_message(effect.message, own, effect.native));
  } else {
    packet.message = std::move(effect.message);
  }
}

void Simulation::deliver(NodeIndex node, const overlay::Deliver& effect) {
  if (services_ && services_->deliver(node, effect.tag, effect.payload)) return;
  if (overlay::is_library_tag(effect.tag)) return;  // of a map that is not open here
  const auto number = static_cast<std::size_t>(effect.payload[0].as_uint64().value());
  BroadcastRecord& record = broadcasts_[number];
  if (node < record.hops.size()) {
    std::uint8_t& hop = record.hops[node];
    const bool remembered = engine_.now() - record.sent < config_.overlay.plumtree.id_age_max;
    if (hop != BroadcastRecord::not_delivered && remembered)
      fail_at(node, "delivers broadcast " + std::to_string(number) + " twice");
    if (hop == BroadcastRecord::not_delivered) ++record.delivered;
    hop = receiving_hop_;
    record.last_delivery = engine_.now();
  }
  if (on_deliver) on_deliver(node, effect.tag, effect.payload[1]);
}

void Simulation::neighbour_up(NodeIndex node, NodeIndex peer) {
  auto& list = nodes_[node].neighbours;
  const auto place = std::ranges::lower_bound(list, peer);
  if (place != list.end() && *place == peer) fail_at(node, "up of " + nodes_[peer].name.string() + " twice");
  list.insert(place, peer);
  if (services_) {
    const bool native = nodes_[node].overlay->membership().is_native(nodes_[peer].name);
    services_->neighbour_up(node, peer, native);
  }
  if (on_membership) on_membership(node, peer, true, "");
}

void Simulation::neighbour_down(NodeIndex node, NodeIndex peer) {
  auto& list = nodes_[node].neighbours;
  const auto place = std::ranges::lower_bound(list, peer);
  if (place == list.end() || *place != peer) fail_at(node, "down of " + nodes_[peer].name.string() + " without up");
  list.erase(place);
  if (services_) services_->neighbour_down(node, peer);
}

void Simulation::verify(NodeIndex node) {
  Node& checked = nodes_[node];
  const auto& membership = checked.overlay->membership();
  if (membership.version() == checked.checked_version) return;
  checked.checked_version = membership.version();
  const auto active = membership.active_view();
  const auto passive = membership.passive_view();
  if (active.size() > membership.config().active_size) fail_at(node, "its active view is too large");
  if (passive.size() > membership.config().passive_size) fail_at(node, "its passive view is too large");
  if (active.size() != checked.neighbours.size()) fail_at(node, "its active view differs from its ups and downs");
  for (const Atom& peer : active) {
    const NodeIndex index = index_of(node, peer);
    if (index == node) fail_at(node, "it is in its own active view");
    if (!std::ranges::binary_search(checked.neighbours, index))
      fail_at(node, peer.string() + " is in its active view without an up, or twice");
    if (!engine_.is_linked(node, index)) fail_at(node, "it has no channel to its neighbour " + peer.string());
    if (std::ranges::find(passive, peer) != passive.end()) fail_at(node, peer.string() + " is in both views");
  }
  for (std::size_t at = 0; at < passive.size(); ++at) {
    if (passive[at] == checked.name) fail_at(node, "it is in its own passive view");
    if (std::find(passive.begin() + static_cast<std::ptrdiff_t>(at) + 1, passive.end(), passive[at]) != passive.end())
      fail_at(node, passive[at].string() + " is in its passive view twice");
  }
}

void Simulation::forget_deliveries(NodeIndex node) {
  for (auto record = broadcasts_.rbegin(); record != broadcasts_.rend(); ++record) {
    if (engine_.now() - record->sent > config_.overlay.plumtree.id_age_max) return;
    if (node >= record->hops.size() || record->hops[node] == BroadcastRecord::not_delivered) continue;
    record->hops[node] = BroadcastRecord::not_delivered;
    --record->delivered;
  }
}

// Names and clocks.

NodeIndex Simulation::index_of(NodeIndex node, const Atom& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) fail_at(node, "it speaks of " + name.string() + ", which nobody told it");
  return found->second;
}

MonotonicTime Simulation::local_start(NodeIndex node) const { return clock_start + nodes_[node].skew; }

MonotonicTime Simulation::local_time(NodeIndex node) const {
  const Node& owner = nodes_[node];
  const auto drifted = static_cast<SimTime::rep>(static_cast<double>(engine_.now().count()) * owner.drift);
  return local_start(node) + engine_.now() + SimTime(drifted);
}

SimTime Simulation::simulated_time(NodeIndex node, MonotonicTime local) const {
  if (local == MonotonicTime::max()) return SimTime::max();
  const Node& owner = nodes_[node];
  const SimTime elapsed = local - local_start(node);
  if (owner.drift == 0) return elapsed;
  // Rounded up: a timer that rings too early would ring twice.
  constexpr SimTime rounding = std::chrono::microseconds(1);
  return SimTime(static_cast<SimTime::rep>(static_cast<double>(elapsed.count()) / (1 + owner.drift))) + rounding;
}

void Simulation::fail_at(NodeIndex node, const std::string& what) const {
  throw Violation("seed " + std::to_string(config_.seed) + ", " +
                  std::to_string(std::chrono::duration_cast<Milliseconds>(engine_.now()).count()) + " ms, " +
                  nodes_[node].name.string() + ": " + what);
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
