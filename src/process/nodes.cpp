#include "process/nodes.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "distribution/flags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

std::optional<PeerRelation> PeerRelation::take(std::shared_ptr<Peer> peer, std::size_t max) {
  auto& count = peer->relations;
  if (count.fetch_add(1, std::memory_order_relaxed) >= max) {
    count.fetch_sub(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  PeerRelation taken;
  taken.count_ = {&count, Release{std::move(peer), 1}};
  return taken;
}

void PeerRelation::join(PeerRelation&& other) noexcept {
  if (!count_) {
    count_ = std::move(other.count_);
  } else if (other.count_) {
    count_.get_deleter().relations += other.count_.get_deleter().relations;
    std::ignore = other.count_.release();  // the count stays, and is the same
  }
}

bool Peers::is_visible(const Peer& peer) {
  return peer.epoch.load() != 0 && (peer.flags_ & distribution::flag::published) != 0;
}

std::shared_ptr<Peer>& Peers::entry(const Atom& node) {
  auto& peer = peers_[node];
  if (!peer) peer = std::make_shared<Peer>(node);
  return peer;
}

void Peers::forget_if_idle(const Atom& node) {
  const auto found = peers_.find(node);
  if (found == peers_.end()) return;
  const Peer& peer = *found->second;
  const bool idle = peer.watchers_.empty() && peer.senders_.empty() && peer.monitors_.empty();
  if (idle && peer.epoch.load() == 0) peers_.erase(found);
}

std::shared_ptr<Peer> Peers::watch(const Atom& node, const Pid& pid) {
  const std::lock_guard lock(mutex_);
  auto peer = entry(node);
  peer->watchers_.insert(pid);
  return peer;
}

void Peers::unwatch(const std::shared_ptr<Peer>& peer, const Pid& pid) {
  const std::lock_guard lock(mutex_);
  peer->watchers_.erase(pid);
  forget_if_idle(peer->node);
}

std::uint64_t Peers::wait_writable(const Atom& node, const Pid& pid, std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  if (writable_.load() != count) return 0;
  entry(node)->senders_.emplace(++last_place_, pid);
  return last_place_;
}

void Peers::forget_sender(const Atom& node, std::uint64_t place) {
  const std::lock_guard lock(mutex_);
  const auto found = peers_.find(node);
  if (found == peers_.end() || found->second->senders_.erase(place) == 0) return;
  forget_if_idle(node);
}

std::vector<Pid> Peers::take_senders(const Atom& node) {
  const std::lock_guard lock(mutex_);
  writable_.fetch_add(1);
  const auto found = peers_.find(node);
  if (found == peers_.end()) return {};
  std::vector<Pid> senders;
  senders.reserve(found->second->senders_.size());
  for (const auto& [place, pid] : found->second->senders_) senders.push_back(pid);
  found->second->senders_.clear();
  forget_if_idle(node);
  return senders;
}

bool Peers::monitor(const Atom& node, const Pid& pid) {
  const std::lock_guard lock(mutex_);
  const auto found = peers_.find(node);
  if (found == peers_.end() || found->second->epoch.load() == 0) return false;
  found->second->monitors_.push_back(pid);
  return true;
}

void Peers::up(const Atom& node, std::uint64_t epoch, std::uint32_t creation, std::uint64_t flags) {
  const std::lock_guard lock(mutex_);
  Peer& peer = *entry(node);
  peer.creation_ = creation;
  peer.flags_ = flags;
  peer.epoch.store(epoch);
}

Peers::Gone Peers::down(const Atom& node, std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  const auto found = peers_.find(node);
  if (found == peers_.end()) return {};
  Peer& peer = *found->second;
  if (peer.epoch.load() != epoch) return {};
  Gone gone;
  gone.was_visible = is_visible(peer);
  peer.epoch.store(0);
  gone.generation = peer.generation.fetch_add(1);
  gone.watchers.assign(peer.watchers_.begin(), peer.watchers_.end());
  gone.monitors = std::exchange(peer.monitors_, {});
  forget_if_idle(node);
  return gone;
}

bool Peers::is_watched(const Atom& node) const {
  const std::lock_guard lock(mutex_);
  const auto found = peers_.find(node);
  return found != peers_.end() && !(found->second->watchers_.empty() && found->second->monitors_.empty());
}

std::vector<Atom> Peers::visible() const {
  std::vector<Atom> list;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [node, peer] : peers_) {
      if (is_visible(*peer)) list.push_back(node);
    }
  }
  std::ranges::sort(list);
  return list;
}

std::uint64_t Peers::flags(const Atom& node) const {
  const std::lock_guard lock(mutex_);
  const auto found = peers_.find(node);
  return found == peers_.end() || found->second->epoch.load() == 0 ? 0 : found->second->flags_;
}

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
