// How many packets of strangers a node looks at: those that belong to no connection, and those that begin one.
//
// Without I/O: told of packets, and asked what to do. While there are few everything is looked at; when many come
// within a moment, a share at random, which follows what comes, until they end.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>

#include "base/clock.hpp"
#include "base/token_bucket.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

class StrangerGate {
 public:
  struct Limits {
    /// First packets that are looked at; from five times as many packets of strangers on, within a window, the kernel
    /// is to keep a part of them away. One costs up to 0.1 ms where it is to prove its address, so these take a fifth
    /// of the network thread at most, and a cluster of a thousand nodes that dials all at once is served in a second.
    double firsts_per_second = 2000;
    /// Connections that begin and come to nothing. A handshake costs a millisecond, so these take a fifth of the
    /// network thread.
    double handshakes_per_second = 200;
    /// Of them those whose address is not proven. Beyond it addresses are to be proven (Retry).
    double unproven_per_second = 128;
  };
  static constexpr Milliseconds window{100};

  StrangerGate(const Limits& limits, MonotonicTime now);

  /// A packet that belongs to no connection came. True: it makes a flood, and `share` is to be put in force.
  bool came(MonotonicTime now) noexcept;
  /// Whether such a packet is looked at, ...
  bool look(MonotonicTime now) noexcept { return firsts_.take(now); }
  /// ... whether it may begin a connection, ...
  bool begin(MonotonicTime now) noexcept { return handshakes_.take(now); }
  /// ... whether it may do so without proving its address, ...
  bool begin_unproven(MonotonicTime now) noexcept { return unproven_.take(now); }
  /// ... and, of those that have proven it, whether it may be one more from this network (`Address::network`): one
  /// alone has a quarter of what may begin. Addresses that are not proven may be anybody's, and are not told apart.
  bool begin_from(const std::string& network, MonotonicTime now);
  /// A connection that began is one of a peer: it does not count. `network`: as in `begin_from`, empty if not asked.
  void admitted(const std::string& network) noexcept;

  [[nodiscard]] bool is_flood() const noexcept { return flood_; }
  /// Of the packets that may begin a connection: how many are to come through.
  [[nodiscard]] double share() const noexcept { return share_; }
  /// To be called each `window` while there is a flood: then `share` is another one, or the flood is over.
  void tick(MonotonicTime now) noexcept;

 private:
  TokenBucket firsts_;
  TokenBucket handshakes_;
  TokenBucket unproven_;
  std::unordered_map<std::string, TokenBucket> networks_;  ///< Who has begun something in the last moments.
  double from_network_;                                    ///< How many of one network begin in a second.
  double wanted_;                                          ///< In a window.
  double flood_from_;                                      ///< The same.
  MonotonicTime window_begin_;
  std::size_t in_window_ = 0;
  bool flood_ = false;
  double share_ = 1;
  std::size_t calm_windows_ = 0;
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
