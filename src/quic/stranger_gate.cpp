#include "quic/stranger_gate.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

/// So small a share that nothing comes through would tell nothing about the flood.
constexpr double share_min = 1e-5;
/// After the last sign of a flood the filter stays for two seconds: packets that claim to be of connections never come
/// through it, and tell nothing.
constexpr std::size_t calm_windows_min = 20;
/// From so many networks on those are forgotten that have all their tokens again, which takes a fiftieth of a second
/// for each one that was taken.
constexpr std::size_t networks_max = 1024;

double seconds(MonotonicTime::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

StrangerGate::StrangerGate(const Limits& limits, MonotonicTime now)
    : firsts_(limits.firsts_per_second, now),
      handshakes_(limits.handshakes_per_second, now),
      unproven_(limits.unproven_per_second, now),
      from_network_(limits.handshakes_per_second > 0 ? std::max(limits.handshakes_per_second / 4, 1.0) : 0),
      wanted_(limits.firsts_per_second * seconds(window)),
      flood_from_(5 * wanted_),
      window_begin_(now) {}

bool StrangerGate::begin_from(const std::string& network, MonotonicTime now) {
  if (networks_.size() >= networks_max) {
    std::erase_if(networks_, [&](const auto& one) { return one.second.when(from_network_) <= now; });
  }
  return networks_.try_emplace(network, from_network_, now).first->second.take(now);
}

void StrangerGate::admitted(const std::string& network) noexcept {
  handshakes_.give_back();
  unproven_.give_back();
  if (const auto found = networks_.find(network); found != networks_.end()) found->second.give_back();
}

bool StrangerGate::came(MonotonicTime now) noexcept {
  ++in_window_;
  if (flood_) return false;
  if (now - window_begin_ >= window) {
    window_begin_ = now;
    in_window_ = 1;
  }
  if (static_cast<double>(in_window_) < flood_from_) return false;
  const double expected = static_cast<double>(in_window_) * seconds(window) /
                          std::max(seconds(now - window_begin_), seconds(Milliseconds(1)));
  flood_ = true;
  calm_windows_ = 0;
  share_ = std::clamp(wanted_ / expected, share_min, 1.0);
  in_window_ = 0;
  window_begin_ = now;
  return true;
}

void StrangerGate::tick(MonotonicTime now) noexcept {
  if (!flood_) return;
  const double windows = std::max(seconds(now - window_begin_) / seconds(window), 0.1);
  const double in_one = static_cast<double>(std::exchange(in_window_, 0)) / windows;
  window_begin_ = now;
  if (in_one > wanted_) {
    share_ = std::max(share_ * wanted_ / in_one, share_min);
  } else if (in_one < wanted_ / 2) {
    share_ = std::min(share_ * 2, 1.0);
  }
  calm_windows_ = share_ < 1 ? 0 : calm_windows_ + 1;
  flood_ = calm_windows_ < calm_windows_min;
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
