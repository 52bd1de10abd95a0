// Where a peer that we accepted may be seen after it moved without a new connection id, as behind a NAT that bound
// anew.
//
// ngtcp2 to 1.23 loses count of ids when such a peer moves again, with a new id, while the path that it left is still
// being looked at: it retires the old id twice, takes it for one in use meanwhile (CONNECTION_ID_LIMIT), and ends the
// program when the first retirement was not acknowledged. So until nobody looks at that path any more, packets from
// other places count as lost. A peer that really moves repeats its probes.
#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.hpp"
#include "quic/address.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

class PeerMoves {
  using Nanoseconds = std::chrono::nanoseconds;

 public:
  /// Whether packets from there may be read, when the peer was at `at` last. `pto`: that of now.
  [[nodiscard]] bool may_come_from(const Address& from, const Address& at, Nanoseconds pto,
                                   MonotonicTime now) noexcept {
    see(pto);
    return from == at || !looks(now) || (!validated_ && from == left_);
  }
  /// Packets came from another place than `left`, with a new connection id or without.
  void moved(const Address& left, bool new_id, Nanoseconds pto, MonotonicTime now) noexcept {
    looking_ = !new_id;
    left_ = left;
    pto_max_ = {};
    see(pto);
    validated_ = false;
    since_ = now;
  }
  /// It answered there. From now on the path that it left is looked at.
  void validated(Nanoseconds pto, MonotonicTime now) noexcept {
    see(pto);
    validated_ = true;
    since_ = now;
  }
  /// The PTO, which may have grown.
  void see(Nanoseconds pto) noexcept { pto_max_ = std::clamp<Nanoseconds>(pto, pto_max_, std::chrono::hours(1)); }

 private:
  [[nodiscard]] bool looks(MonotonicTime now) noexcept {
    constexpr std::chrono::seconds unknown(1);  // for a path of which nothing is known (RFC 9002, section 6.2.2)
    constexpr std::chrono::milliseconds late(50);
    // Probes are sent until three PTO are over: the first one is waited for as long as `interval`, the next one twice
    // as long, and so on; the last one is waited for in any case.
    const Nanoseconds interval = std::max<Nanoseconds>(pto_max_, unknown);
    const Nanoseconds timeout = 3 * (validated_ ? pto_max_ : pto_max_ + unknown);
    Nanoseconds longest = interval;
    for (int times = 2; (times - 1) * unknown < timeout; times *= 2) longest = timeout + times * interval;
    looking_ = looking_ && now - since_ < longest + late;
    return looking_;
  }

  bool looking_ = false;
  bool validated_ = false;
  Address left_;
  Nanoseconds pto_max_{0};
  MonotonicTime since_{};
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
