// Pseudo random numbers for state machines: seeded, so that a run can be repeated to the bit on any machine. Never for
// keys or nonces.
//
// Source: SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014); bounded
// numbers after Lemire, "Fast random integer generation in an interval" (2019). The distributions of the standard
// library give other numbers with each library, so they are not used.
#pragma once

#include <barrel_p2p/version.hpp>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

/// A value; one thread at a time.
class Prng {
 public:
  explicit Prng(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t next() noexcept {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebULL;
    return mixed ^ (mixed >> 31U);
  }

  /// Uniform in [0, bound) but for a bias below bound / 2^32. `bound` in [1, 2^32].
  std::size_t below(std::size_t bound) noexcept {
    assert(bound > 0);
    return static_cast<std::size_t>(((next() >> 32U) * bound) >> 32U);
  }

  /// Uniform in [0, 1).
  double unit() noexcept { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }

  bool chance(double probability) noexcept { return unit() < probability; }

  /// `duration` times a factor that is uniform in [1 - spread, 1 + spread]: things that would happen together do not.
  template <class Rep, class Period>
  std::chrono::duration<Rep, Period> jitter(std::chrono::duration<Rep, Period> duration, double spread) noexcept {
    const double factor = 1 + (2 * unit() - 1) * spread;
    return std::chrono::duration<Rep, Period>(static_cast<Rep>(static_cast<double>(duration.count()) * factor));
  }

  template <class Container>
  void shuffle(Container& items) noexcept {
    for (std::size_t left = items.size(); left > 1; --left) std::swap(items[left - 1], items[below(left)]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace v0
}  // namespace barrel_p2p
