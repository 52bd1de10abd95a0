#include "services/due_index.hpp"

#include <algorithm>

namespace barrel_p2p {
inline namespace v0 {
namespace services {

void DueIndex::add(std::uint32_t partition, Item item) {
  Heap& heap = heaps_[partition];
  heap.items.push_back(std::move(item));
  std::ranges::push_heap(heap.items, later);
  ++size_;
  arm(partition, heap);
}

void DueIndex::arm(std::uint32_t partition, Heap& heap) {
  const bool wanted = !heap.items.empty() && owns_(partition);
  const auto due = wanted ? std::optional(heap.items.front().due) : std::nullopt;
  if (heap.armed == due) return;
  if (heap.armed) armed_.erase({*heap.armed, partition});
  if (due) armed_.emplace(*due, partition);
  heap.armed = due;
}

void DueIndex::set_owned(Owns owns) {
  owns_ = std::move(owns);
  for (auto& [partition, heap] : heaps_) arm(partition, heap);
}

std::optional<WallMilliseconds> DueIndex::next() const noexcept {
  return armed_.empty() ? std::nullopt : std::optional(armed_.begin()->first);
}

DueIndex::Item DueIndex::pop() {
  const auto partition = armed_.begin()->second;
  const auto found = heaps_.find(partition);
  Heap& heap = found->second;
  std::ranges::pop_heap(heap.items, later);
  Item item = std::move(heap.items.back());
  heap.items.pop_back();
  --size_;
  arm(partition, heap);
  if (heap.items.empty()) heaps_.erase(found);
  return item;
}

void DueIndex::add_unsorted(std::uint32_t partition, Item item) {
  heaps_[partition].items.push_back(std::move(item));
  ++size_;
}

void DueIndex::sort() {
  for (auto& [partition, heap] : heaps_) std::ranges::make_heap(heap.items, later);
}

std::vector<DueIndex::Item> DueIndex::earliest(std::size_t count) const {
  struct Place {
    const Heap* heap;
    std::size_t at;
  };
  const auto behind = [](const Place& left, const Place& right) {
    return later(left.heap->items[left.at], right.heap->items[right.at]);
  };
  std::vector<Place> front;
  for (const auto& [partition, heap] : heaps_) {
    if (!heap.items.empty()) front.push_back({&heap, 0});
  }
  std::ranges::make_heap(front, behind);
  std::vector<Item> found;
  while (!front.empty() && found.size() < count) {
    std::ranges::pop_heap(front, behind);
    const Place place = front.back();
    front.pop_back();
    found.push_back(place.heap->items[place.at]);
    // In a binary heap what comes behind an item is at these places.
    for (const std::size_t at : {2 * place.at + 1, 2 * place.at + 2}) {
      if (at >= place.heap->items.size()) continue;
      front.push_back({place.heap, at});
      std::ranges::push_heap(front, behind);
    }
  }
  return found;
}

void DueIndex::clear() {
  heaps_.clear();
  armed_.clear();
  size_ = 0;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
