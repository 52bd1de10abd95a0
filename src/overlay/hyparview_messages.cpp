// What members say to each other, and what comes of it.
#include <algorithm>
#include <utility>

#include "overlay/hyparview.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

void HyParView::receive(const Atom& from, const HyParViewMessage& message, MonotonicTime now, HyParViewEffects& out) {
  if (!is_linked(from) || is_blocked(from)) return;
  if (left_ && !std::holds_alternative<Hello>(message)) return refuse(from, message, out);
  std::visit([&](const auto& content) { on(from, content, now, out); }, message);
}

/// What a node that is in no cluster owes to those who do not know.
void HyParView::refuse(const Atom& from, const HyParViewMessage& message, HyParViewEffects& out) {
  const bool asks = std::holds_alternative<Neighbor>(message) || std::holds_alternative<Exchange>(message);
  const auto* shuffle = std::get_if<Shuffle>(&message);
  const bool lists_us = std::holds_alternative<Join>(message) || shuffle != nullptr;
  if (!asks && !lists_us) return;
  if (is_native(from)) return send(from, Leave{config_.own, 0}, out);
  if (asks) return send(from, NeighborReply{false}, out);
  if (shuffle != nullptr) disarm(from, shuffle->sample, out);
  send(from, Disconnect{}, out);
}

void HyParView::on(const Atom& from, const Hello& /*message*/, MonotonicTime now, HyParViewEffects& out) {
  links_.at(from).native = true;
  // Somebody remembers us, while we have lost everybody.
  if (was_member_ && active_.empty() && !left_) pursue(from, Wish::promote, now, out);
  const Pending* pending = find_pending(from);
  if (pending != nullptr && !pending->asked) ask(from, now, out);
}

void HyParView::on(const Atom& from, const Join& /*message*/, MonotonicTime now, HyParViewEffects& out) {
  ++counters_.joins;
  count_churn(now);
  forget_pending(from);
  links_.at(from).sent_us_away = false;
  add_active(from, Arrival::itself, now, out);
  // A newcomer that knows some nodes does not depend on this one alone.
  if (is_native(from)) send(from, ShuffleReply{sample(config_.shuffle_length, from)}, out);
  give_record(from, out);
  for (const auto& member : active_) {
    if (member != from) send(member, ForwardJoin{from, config_.arwl}, out);
  }
}

void HyParView::on(const Atom& from, const ForwardJoin& message, MonotonicTime now, HyParViewEffects& out) {
  const Atom& joiner = message.joiner;
  if (joiner == config_.own || is_blocked(joiner)) return;
  forget_departed(joiner);
  if (message.ttl == config_.prwl) add_passive(joiner, now, now);
  const bool stranger = !is_active(joiner) && find_pending(joiner) == nullptr;
  // With room for it the walk may end early, but not so early that all links stay near the contact.
  const bool ends_here = message.ttl == 0 || active_.size() <= 1 || (message.ttl < config_.prwl && room() > 0);
  const auto welcome = [&] { pursue({.node = joiner, .wish = Wish::welcome, .source = from}, now, out); };
  if (stranger && ends_here) return welcome();
  if (message.ttl == 0) return;
  const auto next = random_active(Among::all, from, &joiner);
  if (next) {
    send(*next, ForwardJoin{joiner, std::min(message.ttl, 2 * config_.arwl) - 1}, out);
  } else if (stranger) {
    welcome();
  }
}

void HyParView::on(const Atom& from, const Disconnect& /*message*/, MonotonicTime now, HyParViewEffects& out) {
  if (!is_active(from)) return;
  count_churn(now);
  drop_active(from, DownReason::graceful, now, out);
  if (is_native(from)) {
    add_passive(from, now, now + random_.jitter(config_.refused_backoff, retry_spread));
  } else {
    // It may have left the cluster, and takes everybody who asks back into its view.
    links_.at(from).sent_us_away = true;
  }
  promote(now, out);
}

void HyParView::on(const Atom& from, const Neighbor& message, MonotonicTime now, HyParViewEffects& out) {
  if (is_active(from)) return send(from, NeighborReply{true}, out);
  const bool accepted = message.high || room(&from) > 0;
  send(from, NeighborReply{accepted}, out);
  if (!accepted) return;
  const Pending* const pending = find_pending(from);
  const bool spare = pending != nullptr && pending->spare;
  forget_pending(from);
  add_active(from, Arrival::itself, now, out, spare);
}

void HyParView::on(const Atom& from, const NeighborReply& message, MonotonicTime now, HyParViewEffects& out) {
  const Pending* pending = find_pending(from);
  const bool asked = pending != nullptr && pending->asked;
  const bool promoted = asked && pending->wish == Wish::promote;
  const bool spare = asked && pending->spare;
  if (asked) forget_pending(from);
  if (!message.accepted) {
    if (!asked) return;
    ++counters_.refusals;
    add_passive(from, now, now + random_.jitter(config_.refused_backoff, retry_spread));
    return promote(now, out);
  }
  if (is_active(from)) return;
  // It was given our record, and answers what was no question.
  if (!asked && !is_native(from) && room() == 0) return;
  const bool needed = asked && !promoted;
  if (!needed && active_.size() >= config_.active_size && is_native(from)) {
    // The place was taken meanwhile. It lists us, so it must be told.
    send(from, Disconnect{}, out);
    return add_passive(from, now, now + random_.jitter(config_.refused_backoff, retry_spread));
  }
  if (promoted) ++counters_.promotions;
  add_active(from, Arrival::asked, now, out, spare);
}

void HyParView::on(const Atom& from, const Shuffle& message, MonotonicTime now, HyParViewEffects& out) {
  send(from, ShuffleReply{sample(message.sample.size(), from)}, out);
  disarm(from, message.sample, out);
  if (is_active(from)) {
    give_record(from, out);
  } else if (!is_native(from)) {
    adopt(from, now, out);  // its hello would have come before
  } else if (find_pending(from) == nullptr) {
    ++counters_.one_way;
    send(from, Disconnect{}, out);
  }
  if (message.ttl > 0) {
    if (const auto next = random_active(Among::all, from)) {
      send(*next, Shuffle{std::min(message.ttl, 2 * config_.arwl) - 1, message.sample}, out);
    }
  }
  merge(message.sample, now);
  promote(now, out);
}

void HyParView::on(const Atom& from, const ShuffleReply& message, MonotonicTime now, HyParViewEffects& out) {
  disarm(from, message.sample, out);
  if (is_active(from)) give_record(from, out);
  merge(message.sample, now);
  promote(now, out);
}

void HyParView::on(const Atom& from, const Seek& message, MonotonicTime now, HyParViewEffects& out) {
  const Atom& origin = message.origin;
  if (origin == config_.own || is_blocked(origin)) return;
  if (room() > 0 && !is_active(origin) && find_pending(origin) == nullptr) {
    return pursue({.node = origin, .wish = Wish::welcome, .source = from}, now, out);
  }
  if (message.ttl == 0) return;
  if (const auto next = random_active(Among::native, from, &origin)) {
    send(*next, Seek{origin, std::min(message.ttl, 2 * config_.arwl) - 1}, out);
  }
}

void HyParView::on(const Atom& from, const Exchange& message, MonotonicTime now, HyParViewEffects& out) {
  if (is_active(from)) return send(from, ExchangeReply{true, std::nullopt}, out);
  std::optional<Atom> partner;
  if (room(&from) == 0) {
    partner = random_exchangeable(from, &message.instead);
    if (!partner || active_.size() > config_.active_size || is_active(message.instead)) {
      return send(from, ExchangeReply{false, std::nullopt}, out);
    }
  }
  send(from, ExchangeReply{true, partner}, out);
  const bool spare = partner && is_spare(*partner);
  if (partner) let_go(*partner, Refer{message.instead}, now, out);
  forget_pending(from);
  add_active(from, Arrival::itself, now, out, spare);
}

void HyParView::on(const Atom& from, const ExchangeReply& message, MonotonicTime now, HyParViewEffects& out) {
  const Pending* pending = find_pending(from);
  if (pending == nullptr || !pending->asked || pending->wish != Wish::exchange) {
    return on(from, NeighborReply{message.accepted}, now, out);
  }
  const Atom instead = pending->instead;
  forget_pending(from);
  if (!message.accepted) return add_passive(from, now, now + random_.jitter(config_.refused_backoff, retry_spread));
  if (is_active(from)) return;
  bool spare = false;
  if (active_.size() >= config_.active_size && is_active(instead)) {
    HyParViewMessage word = Disconnect{};
    if (message.partner) word = Refer{*message.partner};
    spare = is_spare(instead);
    let_go(instead, word, now, out);
  }
  ++counters_.exchanges;
  add_active(from, Arrival::asked, now, out, spare);
}

void HyParView::on(const Atom& from, const Wander& message, MonotonicTime now, HyParViewEffects& out) {
  if (message.ttl == 0 && message.origin != config_.own) return offer_exchange(message.origin, from, now, out);
  const auto next = random_active(Among::native, from);
  if (next && message.ttl > 0) send(*next, Wander{message.origin, message.ttl - 1}, out);
}

void HyParView::on(const Atom& from, const Refer& message, MonotonicTime now, HyParViewEffects& out) {
  if (!is_active(from)) return;
  const bool spare = is_spare(from);
  drop_active(from, DownReason::graceful, now, out);
  add_passive(from, now, now + random_.jitter(config_.refused_backoff, retry_spread));
  const Atom& to = message.to;
  const bool wanted = to != config_.own && !is_active(to) && !is_blocked(to);
  if (wanted) pursue({.node = to, .wish = Wish::welcome, .spare = spare, .source = from}, now, out);
  promote(now, out);
}

void HyParView::on(const Atom& from, const Leave& message, MonotonicTime now, HyParViewEffects& out) {
  const Atom& node = message.node;
  const bool hearsay = node != from;
  // Our neighbours would have told us.
  if (node == config_.own || (hearsay && is_active(node))) return;
  if (is_active(node)) {
    count_churn(now);
    drop_active(node, DownReason::graceful, now, out);
  }
  forget_known(node);
  if (!hearsay) {
    forget_pending(node);
    forget_lost(node);
  }
  if (remember_departed(node, now)) {
    for (const auto& member : active_) {
      if (message.ttl > 0 && member != from && is_native(member)) {
        send(member, Leave{node, std::min(message.ttl, 2 * config_.arwl) - 1}, out);
      }
    }
  }
  promote(now, out);
}

void HyParView::heard_gossip(const Atom& from, MonotonicTime now, HyParViewEffects& out) {
  if (left_ || is_blocked(from) || is_active(from)) return;
  const auto link = links_.find(from);
  if (link == links_.end() || link->second.native || link->second.sent_us_away) return;
  // Gossip can overtake the hello.
  if (link->second.erlang || now - link->second.since >= config_.adopt_after) adopt(from, now, out);
}

/// An Erlang node lists us and has not said so.
void HyParView::adopt(const Atom& node, MonotonicTime now, HyParViewEffects& out) {
  Link& link = links_.at(node);
  if (room() > 0) {
    add_active(node, Arrival::itself, now, out);
  } else if (link.has_record) {
    return;
  }
  link.has_record = true;
  give_record(node, out);
}

/// An Erlang node that dialled us lists us with a record of its own making, which others to whom it shuffles it would
/// promote. Asked with low priority it takes ours instead, and drops nobody for it. One whose membership process was
/// started anew lists us again.
void HyParView::give_record(const Atom& node, HyParViewEffects& out) {
  if (!is_native(node)) send(node, Neighbor{false}, out);
}

/// When an Erlang node loses a neighbour it promotes a node of its passive view, and its membership process ends when
/// that one can be reached. Our records replace those that it has in its passive view, and are not promoted.
void HyParView::disarm(const Atom& node, std::vector<Atom> known, HyParViewEffects& out) {
  std::erase(known, node);
  if (!is_native(node) && !known.empty()) send(node, ShuffleReply{std::move(known)}, out);
}

/// To a node that lists us.
void HyParView::send_away(const Atom& node, HyParViewEffects& out) {
  disarm(node, all_but(node), out);
  send(node, Disconnect{}, out);
}

std::vector<Atom> HyParView::all_but(const Atom& node) const {
  std::vector<Atom> all;
  all.reserve(active_.size() + passive_.size());
  for (const auto& other : active_) {
    if (other != node) all.push_back(other);
  }
  for (const auto& known : passive_) {
    if (known.node != node) all.push_back(known.node);
  }
  return all;
}

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
