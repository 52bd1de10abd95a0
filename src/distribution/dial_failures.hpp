// How long to leave nodes alone that could not be reached.
//
// Each failed dial doubles the pause before the next one that a mere send may begin. Nodes that nobody dials any more
// are forgotten, later than their pauses: who sends now and then to a node that is gone must not find the pause of a
// first failure each time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <unordered_map>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// One thread at a time.
class DialFailures {
 public:
  /// After the first failure, and after many.
  DialFailures(Milliseconds pause_min, Milliseconds pause_max) noexcept : min_(pause_min), max_(pause_max) {}

  /// A dial failed. How long no send is to begin another one.
  Milliseconds failed(const Atom& node, MonotonicTime now);
  /// It was reached.
  void reached(const Atom& node) { nodes_.erase(node); }
  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }

  /// Some 100 bytes each. Beyond it the one that failed longest ago is forgotten.
  static constexpr std::size_t nodes_max = 4096;
  /// After the end of its pause a node is remembered for so long: six of the longest pauses.
  static constexpr Milliseconds remembered{60'000};

 private:
  struct Failures {
    unsigned count = 0;
    MonotonicTime pause_end{};
  };
  void make_room(MonotonicTime now);

  Milliseconds min_;
  Milliseconds max_;
  std::unordered_map<Atom, Failures> nodes_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
