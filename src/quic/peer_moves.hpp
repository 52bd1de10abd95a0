// Where a peer that we accepted may be seen after it moved.
//
// ngtcp2 looks at a path that such a peer has left for a while, and must not hear some things meanwhile:
// - To 1.23 it loses count of ids when a peer that moved without a new one, as behind a NAT that bound anew, moves
//   again with one: it retires the old id twice, takes it for one in use meanwhile (CONNECTION_ID_LIMIT), and ends the
//   program when the first retirement was not acknowledged.
// - 0.12 ends the program when the peer is back where it was while the new path is still being looked at and the size
//   of packets there is looked for already, which a question at the new path that was smaller than it should be, and
//   its answer, bring about; and when that size is not looked for at all.
// So for that time packets from places that it left count as lost, and from all others too if it moved without a new
// id. A peer that really moves repeats its probes.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>

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
    if (from == at || !looks(now)) return true;
    const auto end = left_.begin() + static_cast<std::ptrdiff_t>(left_count_);
    return new_id_ && left_count_ < left_.size() && std::find(left_.begin(), end, from) == end;
  }
  /// Packets came from another place than `left`, with a new connection id or without. `pto`: that of the place that it
  /// left, and that of now.
  void moved(const Address& left, bool new_id, Nanoseconds pto_left, Nanoseconds pto, MonotonicTime now) noexcept {
    if (!looks(now)) left_count_ = 0;
    if (left_count_ < left_.size()) left_.at(left_count_++) = left;
    looking_ = true;
    new_id_ = new_id;
    pto_max_ = {};
    see(pto_left);
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
  bool new_id_ = false;  ///< It moved with one.
  bool validated_ = false;
  std::array<Address, 8> left_{};  ///< Since it is looked at what it left; when they are full, it may go nowhere else.
  std::size_t left_count_ = 0;
  Nanoseconds pto_max_{0};
  MonotonicTime since_{};
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
