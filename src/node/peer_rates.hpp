// How much peers send, each for itself: whose rate is above the limit is to be read no more until it is below again.
// Nothing is lost by it; the sender's queue grows instead of ours. Thread safe.
#pragma once

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/token_bucket.hpp"
#include "node/channel.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

class PeerRates {
 public:
  /// Messages a second of one peer, and at once after a rest; 0: no limit.
  explicit PeerRates(double per_second) noexcept : per_second_(per_second) {}

  /// A message came on the channel. True, once: it was one too many, and nothing more is to be read until `release`
  /// returns the channel.
  bool count(const Channel& channel, MonotonicTime now) {
    if (per_second_ <= 0) return false;
    const std::lock_guard lock(mutex_);
    auto& peer = peers_.try_emplace(channel.node, TokenBucket(per_second_, now)).first->second;
    if (peer.bucket.take(now)) return false;
    const bool other = std::exchange(peer.epoch, channel.epoch) != channel.epoch;
    if (std::exchange(peer.held, true)) return other;
    ++held_back_;
    ++held_now_;
    return true;
  }
  /// The channels that may be read again. Forgets who was silent for so long that it has its whole rate again. To be
  /// called now and then, also when `deadline` says nothing.
  std::vector<Channel> release(MonotonicTime now) {
    std::vector<Channel> channels;
    const std::lock_guard lock(mutex_);
    for (auto at = peers_.begin(); at != peers_.end();) {
      Peer& peer = at->second;
      if (peer.held && now >= free_at(peer)) {
        peer.held = false;
        --held_now_;
        channels.push_back({at->first, peer.epoch});
      }
      at = !peer.held && now >= peer.bucket.when(per_second_) ? peers_.erase(at) : std::next(at);
    }
    return channels;
  }
  /// When `release` has something to return; `max`: nothing is held back.
  [[nodiscard]] MonotonicTime deadline() const {
    auto next = MonotonicTime::max();
    const std::lock_guard lock(mutex_);
    if (held_now_ == 0) return next;
    for (const auto& [node, peer] : peers_) {
      if (peer.held) next = std::min(next, free_at(peer));
    }
    return next;
  }
  /// How often a peer was held back.
  [[nodiscard]] std::uint64_t held_back() const {
    const std::lock_guard lock(mutex_);
    return held_back_;
  }

 private:
  struct Peer {
    explicit Peer(TokenBucket rate) noexcept : bucket(rate) {}
    TokenBucket bucket;
    bool held = false;
    std::uint64_t epoch = 0;
  };
  /// A tenth of a second's worth: not for each single message.
  [[nodiscard]] MonotonicTime free_at(const Peer& peer) const noexcept {
    return peer.bucket.when(std::max(1.0, per_second_ / 10));
  }

  const double per_second_;
  mutable std::mutex mutex_;
  std::unordered_map<Atom, Peer> peers_;
  std::uint64_t held_back_ = 0;
  std::size_t held_now_ = 0;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
