#include "overlay/overlay.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {
namespace {

/// Remembered nodes that are joined one after the other before the contacts are. The passive view tries the rest.
constexpr std::size_t joined_from_memory_max = 8;

/// One seed for the whole, another for each part.
OverlayConfig completed(OverlayConfig config) {
  Prng seeds(config.seed);
  config.hyparview.own = config.own;
  config.hyparview.seed = seeds.next();
  config.plumtree.seed = seeds.next();
  config.contacts.own = config.own;
  config.contacts.seed = seeds.next();
  return config;
}

ContactsConfig contacts_of(ContactsConfig config) {
  config.remembered.resize(std::min(config.remembered.size(), joined_from_memory_max));
  return config;
}

}  // namespace

Overlay::Overlay(OverlayConfig config, MonotonicTime now)
    : config_(completed(std::move(config))),
      hyparview_(config_.hyparview, now, [this](const Atom& node) { return plumtree_.is_spare(node); }),
      plumtree_(config_.plumtree, now),
      contacts_(contacts_of(config_.contacts), now) {
  for (const auto& node : config_.contacts.remembered) hyparview_.learn(node, now);
  remembered_version_ = hyparview_.version();
}

// What the program asks for.

Result<void> Overlay::join(const Atom& node, MonotonicTime now, Effects& out) {
  auto joined = hyparview_.join(node, now, from_hyparview_);
  if (joined) contacts_.resume(now);
  absorb(now, out);
  return joined;
}

void Overlay::leave(MonotonicTime now, Effects& out) {
  contacts_.pause();
  hyparview_.leave(now, from_hyparview_);
  absorb(now, out);
}

void Overlay::broadcast(Term tag, Term payload, MessageId id, MonotonicTime now, Effects& out) {
  plumtree_.broadcast(std::move(tag), std::move(payload), std::move(id), now, from_plumtree_);
  absorb(now, out);
}

void Overlay::block(const std::vector<Atom>& nodes, MonotonicTime now, Effects& out) {
  hyparview_.block(nodes, now, from_hyparview_);
  absorb(now, out);
}

void Overlay::set_contacts(const std::vector<Atom>& nodes, MonotonicTime now) {
  contacts_.replace(nodes, hyparview_.active_count(), now);
  if (hyparview_.has_left()) return;
  for (const auto& node : nodes) {
    if (hyparview_.is_linked(node)) contacts_.reached(node);  // before it was a contact
  }
}

// What happens.

void Overlay::link_up(const Atom& node, MonotonicTime now, Effects& out, bool erlang) {
  contacts_.reached(node);
  hyparview_.link_up(node, now, from_hyparview_, erlang);
  absorb(now, out);
}

void Overlay::link_down(const Atom& node, MonotonicTime now, Effects& out) {
  hyparview_.link_down(node, now, from_hyparview_);
  absorb(now, out);
  plumtree_.link_down(node);
}

void Overlay::connect_failed(const Atom& node, MonotonicTime now, Effects& out) {
  contacts_.failed(node, now);
  hyparview_.connect_failed(node, now, from_hyparview_);
  absorb(now, out);
}

void Overlay::receive(const Atom& from, const Message& message, MonotonicTime now, Effects& out) {
  if (const auto* hyparview = std::get_if<HyParViewMessage>(&message)) {
    hyparview_.receive(from, *hyparview, now, from_hyparview_);
    if (std::holds_alternative<Hello>(*hyparview) && hyparview_.is_native(from)) plumtree_.set_native(from, now);
  } else {
    if (hyparview_.is_blocked(from)) return;  // an Erlang node that gossips without being a neighbour
    const auto& plumtree = std::get<PlumtreeMessage>(message);
    const bool neighbourly = std::holds_alternative<Gossip>(plumtree) || std::holds_alternative<IHave>(plumtree);
    if (neighbourly) hyparview_.heard_gossip(from, now, from_hyparview_);
    plumtree_.receive(from, plumtree, now, from_plumtree_);
  }
  absorb(now, out);
}

void Overlay::send_refused(const Atom& to, const Message& message, MonotonicTime now) {
  const auto* plumtree = std::get_if<PlumtreeMessage>(&message);
  if (plumtree == nullptr) return;
  if (const auto* gossip = std::get_if<Gossip>(plumtree)) {
    plumtree_.push_refused(to, gossip->id, now);
  } else if (const auto* ihave = std::get_if<IHave>(plumtree)) {
    for (const auto& announcement : ihave->announcements) plumtree_.push_refused(to, announcement.id, now);
  }
}

void Overlay::tick(MonotonicTime now, Effects& out) {
  hyparview_.tick(now, from_hyparview_);
  absorb(now, out);
  plumtree_.tick(now, from_plumtree_);
  for (const auto& node : contacts_.tick(hyparview_.active_count(), now)) {
    [[maybe_unused]] const auto joined = hyparview_.join(node, now, from_hyparview_);
    assert(joined);  // contacts are other nodes
  }
  absorb(now, out);
  if (remember_at_ && now >= *remember_at_) {
    remember_at_.reset();
    auto nodes = hyparview_.active_view();
    const auto others = hyparview_.passive_view();
    nodes.insert(nodes.end(), others.begin(), others.end());
    out.emplace_back(Remember{std::move(nodes)});
  }
}

MonotonicTime Overlay::deadline() const noexcept {
  MonotonicTime next = hyparview_.deadline();
  if (const auto plumtree = plumtree_.deadline()) next = std::min(next, *plumtree);
  if (const auto contacts = contacts_.deadline()) next = std::min(next, *contacts);
  if (remember_at_) next = std::min(next, *remember_at_);
  return next;
}

NewPeer Overlay::kind_of(const HyParViewUp& up) const noexcept {
  const bool unaware = up.arrival == Arrival::asked && !hyparview_.is_native(up.node);
  if (unaware) return NewPeer::unaware;
  return up.spare ? NewPeer::spare : NewPeer::eager;
}

void Overlay::absorb(MonotonicTime now, Effects& out) {
  bool lost_some = false;
  for (auto& effect : from_hyparview_) {
    if (auto* send = std::get_if<HyParViewSend>(&effect)) {
      const bool native = hyparview_.is_native(send->to);
      out.emplace_back(SendMessage{std::move(send->to), std::move(send->message), native});
    } else if (auto* connect = std::get_if<HyParViewConnect>(&effect)) {
      out.emplace_back(Connect{std::move(connect->node)});
    } else if (const auto* up = std::get_if<HyParViewUp>(&effect)) {
      plumtree_.peer_up(up->node, kind_of(*up), now, from_plumtree_);
      out.emplace_back(MembershipUp{up->node});
    } else if (const auto* down = std::get_if<HyParViewDown>(&effect)) {
      plumtree_.peer_down(down->node);
      lost_some = true;
      out.emplace_back(MembershipDown{down->node, down->reason});
    } else {
      plumtree_.leave();
      out.emplace_back(MembershipLeft{});
    }
  }
  from_hyparview_.clear();
  if (lost_some && hyparview_.active_count() == 0) contacts_.alone(now);
  for (auto& effect : from_plumtree_) {
    if (auto* send = std::get_if<PlumtreeSend>(&effect)) {
      out.emplace_back(SendMessage{std::move(send->to), std::move(send->message), send->native});
    } else if (auto* lost = std::get_if<PlumtreeLost>(&effect)) {
      out.emplace_back(GossipLost{std::move(lost->node)});
    } else {
      auto& deliver = std::get<PlumtreeDeliver>(effect);
      out.emplace_back(Deliver{std::move(deliver.tag), std::move(deliver.payload), deliver.round});
    }
  }
  from_plumtree_.clear();
  if (hyparview_.version() == remembered_version_) return;
  remembered_version_ = hyparview_.version();
  if (!remember_at_) remember_at_ = now + config_.remember_delay;
}

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
