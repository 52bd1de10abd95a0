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

void DueIndex::clear() {
  heaps_.clear();
  armed_.clear();
  size_ = 0;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
