#include "overlay/reserve.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <limits>

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

void Reserve::add(const KnownNode& known, Prng& random) {
  assert(std::ranges::find(nodes_, known.node, &KnownNode::node) == nodes_.end());
  if (nodes_.size() < size_max_) return nodes_.push_back(known);
  if (size_max_ > 0) nodes_[random.below(nodes_.size())] = known;
}

void Reserve::erase(const Atom& node) {
  const auto found = std::ranges::find(nodes_, node, &KnownNode::node);
  if (found == nodes_.end()) return;
  *found = nodes_.back();
  nodes_.pop_back();
}

void Reserve::forget_seen_before(MonotonicTime time) {
  std::erase_if(nodes_, [time](const KnownNode& known) { return known.seen < time; });
}

std::optional<KnownNode> Reserve::draw(MonotonicTime now, Prng& random) {
  auto least = std::numeric_limits<std::uint32_t>::max();
  std::size_t equals = 0;
  auto chosen = nodes_.end();
  for (auto known = nodes_.begin(); known != nodes_.end(); ++known) {
    if (known->not_before > now || known->fail_count > least) continue;
    if (known->fail_count < least) equals = 0;
    least = known->fail_count;
    if (random.below(++equals) == 0) chosen = known;
  }
  if (chosen == nodes_.end()) return std::nullopt;
  KnownNode drawn = *chosen;
  *chosen = nodes_.back();
  nodes_.pop_back();
  return drawn;
}

MonotonicTime Reserve::next() const noexcept {
  MonotonicTime next = MonotonicTime::max();
  for (const auto& known : nodes_) next = std::min(next, known.not_before);
  return next;
}

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
