#include "distribution/dial_failures.hpp"

#include <algorithm>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

Milliseconds DialFailures::failed(const Atom& node, MonotonicTime now) {
  if (!nodes_.contains(node)) make_room(now);
  auto& failures = nodes_[node];
  if (failures.count > 0 && now - failures.pause_end > remembered) failures.count = 0;
  constexpr unsigned doublings_max = 20;  // more than any two pauses are apart
  const auto pause = std::min<Milliseconds>(min_ * (1LL << std::min(failures.count, doublings_max)), max_);
  ++failures.count;
  failures.pause_end = now + pause;
  return pause;
}

void DialFailures::make_room(MonotonicTime now) {
  if (nodes_.size() < nodes_max) return;
  std::erase_if(nodes_, [&](const auto& entry) { return now - entry.second.pause_end > remembered; });
  if (nodes_.size() < nodes_max) return;
  nodes_.erase(std::ranges::min_element(nodes_, {}, [](const auto& entry) { return entry.second.pause_end; }));
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
