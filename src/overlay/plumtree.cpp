#include "overlay/plumtree.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

namespace {

/// Ids in one ihave or graft to a C++ node: some 4 KiB with ids of 32 bytes, so that it does not hold up what follows.
constexpr std::size_t batch_max = 100;
static_assert(batch_max <= ids_max);
/// Old messages are forgotten so much too late, to do it for many at once.
constexpr Milliseconds expiry_delay{1000};
/// Half hops taken off for each message, so that chance alone adds up to nothing.
constexpr std::int64_t shortcut_fee = 1;
constexpr std::string_view library_tag_prefix = "barrel_p2p_";
constexpr std::size_t introduction_id_bytes = 32;  ///< As ids of Erlang nodes.

std::uint32_t next_round(std::uint32_t round) noexcept {
  return round == std::numeric_limits<std::uint32_t>::max() ? round : round + 1;
}

/// What a term takes in memory, about: several times of what it has when it is encoded. What it shares is counted each
/// time.
std::size_t memory_of(const Term& term) {
  constexpr std::size_t box = 48;  // count, type and size of what is not inline, and what malloc adds
  std::size_t bytes = sizeof(Term);
  if (term.is_bitstring()) return bytes + box + term.size();
  for (const auto& element : term.elements()) bytes += memory_of(element);
  for (const auto& [key, value] : term.pairs()) bytes += memory_of(key) + memory_of(value);
  const bool is_inline = term.is_atom() || term.is_nil() || term.as_int64().has_value() || term.as_double().has_value();
  if (is_inline) return bytes;
  const TermType type = term.type();
  if (type == TermType::list) bytes += memory_of(term.tail());
  if (type == TermType::integer || type == TermType::fun) bytes += encoded_size(term);  // digits; free variables
  return bytes + box;
}

/// An id that nobody has.
MessageId introduction_id(Prng& random) {
  std::array<std::uint8_t, introduction_id_bytes> bytes{};
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.below(256));
  return Term::binary(bytes);
}

}  // namespace

bool is_library_tag(const Term& tag) noexcept {
  const auto atom = tag.as_atom();
  return atom && atom->text().starts_with(library_tag_prefix);
}

Plumtree::Plumtree(PlumtreeConfig config, MonotonicTime /*now*/)
    : config_(config), random_(config.seed), lateness_{config.missing_timeout, {}} {
  config_.missing_timeout_min = std::min(config_.missing_timeout_min, config_.missing_timeout);
  assert(config_.ids_max > 0 && config_.announcers_max > 0 && config_.queue_max > 0);
  assert(config_.payload_age_max <= config_.id_age_max);
}

void Plumtree::broadcast(Term tag, Term payload, MessageId id, MonotonicTime now, PlumtreeEffects& out) {
  if (find_received(id) != nullptr) return;
  no_longer_missing(id, now);
  accept({std::move(id), std::move(tag), std::move(payload), 0, now, 0, Atom()}, now, out);
}

void Plumtree::receive(const Atom& from, const PlumtreeMessage& message, MonotonicTime now, PlumtreeEffects& out) {
  if (left_) return;
  std::visit([&](const auto& content) { on(from, content, now, out); }, message);
}

void Plumtree::on(const Atom& from, const Gossip& message, MonotonicTime now, PlumtreeEffects& out) {
  ++counters_.gossip_received;
  if (Peer* const peer = meet(from)) peer->eager = true;
  if (find_received(message.id) != nullptr) {
    ++counters_.duplicates;
    prune(from, out);
    return;
  }
  const auto announcers = no_longer_missing(message.id, now);
  accept({message.id, message.tag, message.payload, 0, now, message.round, from}, now, out);
  for (const auto& announcer : announcers) optimise(received_.back(), announcer.node, announcer.round, out);
}

void Plumtree::on(const Atom& from, const IHave& message, MonotonicTime now, PlumtreeEffects& out) {
  for (const auto& announcement : message.announcements) {
    if (Received* const known = find_received(announcement.id)) {
      // A round is missing where the announcement is not of a message that just came.
      if (announcement.round != 0 || !is_native(from)) lateness_.add({});
      optimise(*known, from, announcement.round, out);
    } else {
      await_message(from, announcement, now);
    }
  }
}

void Plumtree::on(const Atom& from, const Graft& message, MonotonicTime now, PlumtreeEffects& out) {
  if (Peer* const peer = meet(from)) peer->eager = true;
  for (const auto& id : message.ids) {
    const Received* const known = find_received(id);
    if (known == nullptr) continue;
    if (known->payload_bytes > 0) {
      push(from, is_native(from), *known, out);
    } else {
      lost(from, now);
    }
  }
}

void Plumtree::on(const Atom& from, const Prune& /*message*/, MonotonicTime /*now*/, PlumtreeEffects& out) {
  Peer* const peer = find_peer(from);
  if (peer == nullptr) return;
  peer->eager = false;
  if (peer->guest) return remove_peer(from);
  // Messages of several senders that cross can make all neighbours prune us, each for another one's sake.
  if (peer->native && !has_eager_but(from)) graft({from, {introduction_id(random_)}}, out);
}

// Peers.

void Plumtree::peer_up(const Atom& node, NewPeer kind, MonotonicTime now, PlumtreeEffects& out) {
  left_ = false;
  Peer* peer = find_peer(node);
  if (peer == nullptr) {
    peer = &peers_.emplace_back(Peer{.node = node, .native = is_native(node)});
    if (peer->native) announce_recent(*peer, now);
  }
  peer->guest = false;
  peer->eager = kind != NewPeer::spare || !has_eager_but(node) || is_idle();
  if (kind == NewPeer::unaware) graft({node, {introduction_id(random_)}}, out);
}

void Plumtree::peer_down(const Atom& node) {
  remove_peer(node);
  forget_announcer(node);
}

void Plumtree::set_native(const Atom& node, MonotonicTime now) {
  natives_.insert(node);
  Peer* const peer = find_peer(node);
  if (peer == nullptr || peer->native) return;
  peer->native = true;
  if (peer->guest) return remove_peer(node);
  announce_recent(*peer, now);
}

void Plumtree::link_down(const Atom& node) {
  natives_.erase(node);
  peer_down(node);
}

void Plumtree::leave() {
  left_ = true;
  peers_.clear();
  shortcuts_.clear();
  missing_.clear();
  shares_.clear();
  awaited_.clear();
  asked_.clear();
  flush_at_.reset();
  lost_at_.reset();
}

bool Plumtree::has_eager_but(const Atom& node) const noexcept {
  return std::ranges::any_of(peers_, [&](const Peer& peer) { return peer.eager && peer.node != node; });
}

Plumtree::Peer* Plumtree::find_peer(const Atom& node) noexcept {
  const auto found = std::ranges::find(peers_, node, &Peer::node);
  return found == peers_.end() ? nullptr : &*found;
}

Plumtree::Peer* Plumtree::meet(const Atom& node) {
  if (Peer* const peer = find_peer(node)) return peer;
  if (is_native(node)) return nullptr;
  const auto guests = static_cast<std::size_t>(std::ranges::count(peers_, true, &Peer::guest));
  if (guests >= config_.guests_max) return nullptr;
  return &peers_.emplace_back(Peer{.node = node, .guest = true});
}

void Plumtree::remove_peer(const Atom& node) {
  std::erase_if(peers_, [&](const Peer& peer) { return peer.node == node; });
  std::erase_if(shortcuts_, [&](const Shortcut& known) { return known.announcer == node || known.bringer == node; });
}

void Plumtree::forget_announcer(const Atom& node) {
  for (auto* const list : {&awaited_, &asked_}) {
    for (auto& missing : *list) {
      std::erase_if(missing.announcers, [&](const Announcer& announcer) { return announcer.node == node; });
    }
  }
}

PlumtreePeers Plumtree::peers() const {
  PlumtreePeers result;
  for (const auto& peer : peers_) (peer.eager ? result.eager : result.lazy).push_back(peer.node);
  return result;
}

bool Plumtree::is_spare(const Atom& node) const noexcept {
  const auto found = std::ranges::find(peers_, node, &Peer::node);
  return found == peers_.end() || !found->eager || is_idle();
}

// Messages.

void Plumtree::accept(Received message, MonotonicTime now, PlumtreeEffects& out) {
  expire(now);
  message.payload_bytes = memory_of(message.payload) + memory_of(message.tag);
  payload_bytes_ += message.payload_bytes;
  id_bytes_ += memory_of(message.id);
  numbers_.emplace(message.id, first_ + received_.size());
  const Received& kept = received_.emplace_back(std::move(message));
  ++counters_.delivered;
  out.emplace_back(PlumtreeDeliver{kept.tag, kept.payload, kept.round});
  for (auto& peer : peers_) {
    if (peer.node == kept.bringer) continue;
    if (peer.eager) {
      push(peer.node, peer.native, kept, out);
    } else {
      announce(peer, kept, now);
    }
  }
  while (payload_bytes_ > config_.payload_bytes_max) forget_oldest_payload();
  while (received_.size() > config_.ids_max || id_bytes_ > config_.id_bytes_max) forget_oldest_id();
}

Plumtree::Received* Plumtree::find_received(const MessageId& id) noexcept {
  const auto found = numbers_.find(id);
  return found == numbers_.end() ? nullptr : &received_[static_cast<std::size_t>(found->second - first_)];
}

void Plumtree::optimise(Received& message, const Atom& announcer, std::uint32_t round, PlumtreeEffects& out) {
  if (round == 0 || message.round == 0 || announcer == message.bringer) return;
  const Peer* const nearer = find_peer(announcer);
  const Peer* const bringer = find_peer(message.bringer);
  if (nearer == nullptr || !nearer->native || bringer == nullptr || !bringer->native || !bringer->eager) return;
  auto shortcut = std::ranges::find_if(shortcuts_, [&](const Shortcut& known) {
    return known.announcer == announcer && known.bringer == message.bringer;
  });
  const std::int64_t half_hops = 2 * (std::int64_t{message.round} - std::int64_t{round}) - shortcut_fee;
  if (shortcut == shortcuts_.end()) {
    if (half_hops <= 0) return;
    shortcut = shortcuts_.insert(shortcut, {announcer, message.bringer, 0});
  }
  shortcut->saved += half_hops;
  if (shortcut->saved <= 0) {
    shortcuts_.erase(shortcut);
    return;
  }
  // A path that is not shorter for this message would close a circle, and cut the tree in two.
  if (half_hops <= 0 || shortcut->saved < 2 * std::int64_t{config_.optimisation_threshold}) return;
  shortcuts_.clear();  // they were counted from another place in the tree
  graft({announcer, {}}, out);
  prune(bringer->node, out);
  message.bringer = announcer;
  message.round = round;
  ++counters_.optimised;
}

void Plumtree::expire(MonotonicTime now) {
  while (bare_ < received_.size() && now - received_[bare_].at > config_.payload_age_max) forget_oldest_payload();
  while (!received_.empty() && now - received_.front().at > config_.id_age_max) forget_oldest_id();
}

void Plumtree::forget_oldest_payload() {
  Received& oldest = received_[bare_];
  payload_bytes_ -= oldest.payload_bytes;
  oldest.payload_bytes = 0;
  oldest.payload = Term();
  oldest.tag = Term();
  ++bare_;
}

void Plumtree::forget_oldest_id() {
  if (bare_ == 0) forget_oldest_payload();
  id_bytes_ -= memory_of(received_.front().id);
  numbers_.erase(received_.front().id);
  received_.pop_front();
  ++first_;
  --bare_;
}

std::size_t Plumtree::cached_ids() const noexcept { return received_.size(); }

std::size_t Plumtree::cached_payloads() const noexcept { return received_.size() - bare_; }

// Missing messages.

void Plumtree::await_message(const Atom& announcer, const Announcement& announcement, MonotonicTime now) {
  auto found = missing_.find(announcement.id);
  if (found == missing_.end()) {
    const auto share = shares_.find(announcer);
    const bool used_up = share != shares_.end() && share->second >= config_.missing_share_max;
    if (used_up || missing_.size() >= config_.missing_max) {
      ++counters_.dropped;
      lost(announcer, now);
      return;
    }
    ++shares_[announcer];
    const auto due = now + patience();
    awaited_.push_back(
        {announcement.id, announcer, {}, now, awaited_.empty() ? due : std::max(due, awaited_.back().due)});
    found = missing_.emplace(announcement.id, std::prev(awaited_.end())).first;
  }
  auto& announcers = found->second->announcers;
  if (std::ranges::find(announcers, announcer, &Announcer::node) != announcers.end()) return;
  if (announcers.size() < config_.announcers_max) announcers.push_back({announcer, announcement.round});
}

void Plumtree::Lateness::add(std::chrono::microseconds sample) noexcept {
  constexpr int mean_share = 8;
  constexpr int deviation_share = 4;
  const auto error = sample - mean;
  deviation += (std::chrono::abs(error) - deviation) / deviation_share;
  mean += error / mean_share;
}

std::chrono::microseconds Plumtree::patience() const noexcept {
  constexpr int deviations = 4;
  return std::clamp<std::chrono::microseconds>(lateness_.mean + deviations * lateness_.deviation,
                                               config_.missing_timeout_min, config_.missing_timeout);
}

void Plumtree::give_back_share(const Atom& announcer) {
  const auto share = shares_.find(announcer);
  assert(share != shares_.end());
  if (--share->second == 0) shares_.erase(share);
}

std::vector<Plumtree::Announcer> Plumtree::no_longer_missing(const MessageId& id, MonotonicTime now) {
  const auto found = missing_.find(id);
  if (found == missing_.end()) return {};
  const auto missing = found->second;
  missing_.erase(found);
  lateness_.add(std::chrono::duration_cast<std::chrono::microseconds>(now - missing->since));
  auto announcers = std::move(missing->announcers);
  give_back_share(missing->first);
  (missing->asked ? asked_ : awaited_).erase(missing);
  return announcers;
}

void Plumtree::request(MissingList& waiting, MonotonicTime now, std::vector<Request>& requests) {
  while (!waiting.empty() && waiting.front().due <= now) {
    Missing& missing = waiting.front();
    if (missing.announcers.empty()) {
      ++counters_.missed;
      lost(missing.asked ? missing.last : missing.first, now);
      give_back_share(missing.first);
      missing_.erase(missing.id);
      waiting.pop_front();
      continue;
    }
    const Atom& node = missing.announcers.front().node;
    auto request = std::ranges::find(requests, node, &Request::to);
    if (request == requests.end()) request = requests.insert(request, Request{node, {}});
    request->ids.push_back(missing.id);
    missing.last = node;
    missing.announcers.erase(missing.announcers.begin());
    missing.due = now + config_.graft_timeout;
    missing.asked = true;
    asked_.splice(asked_.end(), waiting, waiting.begin());
  }
}

void Plumtree::graft(const Request& request, PlumtreeEffects& out) {
  if (Peer* const peer = meet(request.to)) peer->eager = true;
  const bool native = is_native(request.to);
  const std::size_t step = native ? batch_max : 1;
  std::size_t at = 0;
  do {
    const std::size_t count = std::min(step, request.ids.size() - at);
    const auto begin = request.ids.begin() + static_cast<std::ptrdiff_t>(at);
    Graft batch{{begin, begin + static_cast<std::ptrdiff_t>(count)}};
    out.emplace_back(PlumtreeSend{request.to, std::move(batch), native});
    ++counters_.graft_sent;
    at += count;
  } while (at < request.ids.size());
}

std::size_t Plumtree::missing() const noexcept { return missing_.size(); }

// What is sent.

void Plumtree::push(const Atom& to, bool native, const Received& message, PlumtreeEffects& out) {
  const std::uint32_t round = native ? next_round(message.round) : 0;
  out.emplace_back(PlumtreeSend{to, Gossip{message.id, message.tag, message.payload, round}, native});
  ++counters_.gossip_sent;
}

void Plumtree::push_refused(const Atom& to, const MessageId& id, MonotonicTime now) {
  ++counters_.congested;
  Peer* const peer = find_peer(to);
  const Received* const message = find_received(id);
  if (peer == nullptr) return;
  if (message != nullptr && message->payload_bytes > 0) {
    announce(*peer, *message, now);
  } else {
    lost(to, now);
  }
}

void Plumtree::announce(Peer& to, const Received& message, MonotonicTime now) {
  queue_announcement(to, message, to.native ? next_round(message.round) : 0, now);
}

void Plumtree::announce_recent(Peer& to, MonotonicTime now) {
  std::size_t at = std::max(bare_, received_.size() - std::min(received_.size(), config_.catch_up_max));
  while (at < received_.size() && now - received_[at].at > config_.catch_up_age) ++at;
  for (; at < received_.size(); ++at) {
    if (received_[at].bringer != to.node) queue_announcement(to, received_[at], 0, now);
  }
}

void Plumtree::queue_announcement(Peer& to, const Received& message, std::uint32_t round, MonotonicTime now) {
  auto& queue = is_library_tag(message.tag) ? to.library : to.application;
  queue.push_back({message.id, round});
  if (to.library.size() + to.application.size() > config_.queue_max) {
    (to.library.size() > to.application.size() ? to.library : to.application).pop_front();
    ++counters_.dropped;
    lost(to.node, now);
  }
  if (!flush_at_) flush_at_ = now + config_.announce_delay;
}

void Plumtree::lost(const Atom& node, MonotonicTime now) noexcept {
  Peer* const peer = find_peer(node);
  // To compare with an Erlang node takes a snapshot of everything, when there is too much to send already.
  if (peer == nullptr || !peer->native || peer->lost_due) return;
  const bool goes_on = peer->lost_pause.count() > 0 && now - peer->lost_told < 2 * peer->lost_pause;
  peer->lost_pause = goes_on ? std::min(2 * peer->lost_pause, config_.lost_delay_max) : config_.lost_delay;
  peer->lost_due = now + peer->lost_pause;
  lost_at_ = lost_at_ ? std::min(*lost_at_, *peer->lost_due) : *peer->lost_due;
}

void Plumtree::tell_losses(MonotonicTime now, PlumtreeEffects& out) {
  if (!lost_at_ || *lost_at_ > now) return;
  lost_at_.reset();
  for (auto& peer : peers_) {
    if (!peer.lost_due) continue;
    if (*peer.lost_due <= now) {
      peer.lost_due.reset();
      peer.lost_told = now;
      out.emplace_back(PlumtreeLost{peer.node});
    } else {
      lost_at_ = lost_at_ ? std::min(*lost_at_, *peer.lost_due) : *peer.lost_due;
    }
  }
}

void Plumtree::flush(Peer& peer, PlumtreeEffects& out) {
  const std::size_t size_max = peer.native ? batch_max : 1;
  IHave batch;
  const auto send = [&] {
    counters_.ihave_sent += batch.announcements.size();
    out.emplace_back(PlumtreeSend{peer.node, std::exchange(batch, {}), peer.native});
  };
  while (!peer.library.empty() || !peer.application.empty()) {
    for (auto* const queue : {&peer.library, &peer.application}) {
      if (queue->empty()) continue;
      batch.announcements.push_back(std::move(queue->front()));
      queue->pop_front();
      if (batch.announcements.size() == size_max) send();
    }
  }
  if (!batch.announcements.empty()) send();
}

void Plumtree::prune(const Atom& to, PlumtreeEffects& out) {
  // Who is a leaf of the tree stays one: the duplicate came by a link that was pruned a moment ago.
  const bool native = is_native(to);
  Peer* const peer = find_peer(to);
  if (native && peer != nullptr && !has_eager_but(to)) return;
  if (peer != nullptr) peer->eager = false;
  out.emplace_back(PlumtreeSend{to, Prune{}, native});
  ++counters_.prune_sent;
}

// Time.

void Plumtree::tick(MonotonicTime now, PlumtreeEffects& out) {
  expire(now);
  std::vector<Request> requests;
  request(asked_, now, requests);
  request(awaited_, now, requests);
  for (const auto& request : requests) graft(request, out);
  if (flush_at_ && *flush_at_ <= now) {
    flush_at_.reset();
    for (auto& peer : peers_) flush(peer, out);
  }
  tell_losses(now, out);
}

std::optional<MonotonicTime> Plumtree::deadline() const noexcept {
  std::optional<MonotonicTime> first = flush_at_;
  const auto include = [&](MonotonicTime time) { first = first ? std::min(*first, time) : time; };
  if (lost_at_) include(*lost_at_);
  if (!awaited_.empty()) include(awaited_.front().due);
  if (!asked_.empty()) include(asked_.front().due);
  if (!received_.empty()) include(received_.front().at + config_.id_age_max + expiry_delay);
  if (bare_ < received_.size()) include(received_[bare_].at + config_.payload_age_max + expiry_delay);
  return first;
}

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
