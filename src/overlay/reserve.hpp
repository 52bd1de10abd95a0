// Nodes that had to leave the passive view for others. They are nobody's candidates until that view has none left.
// After the crash of nine nodes in ten one survivor in forty has nobody alive in views of 5 and 30; with 128 more in
// reserve it is one in thirty million.
//
// A full reserve gives up a random node for each new one, so that what it holds is a sample of all that was heard of
// lately. In a cluster that fits into the views it is empty. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

/// A node that may become a neighbour.
struct KnownNode {
  Atom node;
  MonotonicTime seen;            ///< When it was last spoken of.
  std::uint32_t fail_count = 0;  ///< Dials that failed in a row.
  MonotonicTime not_before;      ///< It is not asked sooner.
};

class Reserve {
 public:
  explicit Reserve(std::size_t size_max) : size_max_(size_max) {}

  void add(const KnownNode& known, Prng& random);
  void erase(const Atom& node);
  void clear() noexcept { nodes_.clear(); }
  void forget_seen_before(MonotonicTime time);
  /// Takes out one of those that may be asked now and have failed least. None: nobody may.
  [[nodiscard]] std::optional<KnownNode> draw(MonotonicTime now, Prng& random);
  /// When the first may be asked; the maximum while there are none.
  [[nodiscard]] MonotonicTime next() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }

 private:
  std::size_t size_max_;
  std::vector<KnownNode> nodes_;
};

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
