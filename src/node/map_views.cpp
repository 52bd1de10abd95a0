#include "node/map_views.hpp"

#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

constexpr std::size_t capacity_at_first = 64;  // a power of two

std::size_t place(const Atom& map, std::size_t capacity) noexcept {
  constexpr std::size_t golden = 0x9e3779b97f4a7c15ULL;
  constexpr unsigned half_word = 32;
  return ((map.hash() * golden) >> half_word) & (capacity - 1);
}

}  // namespace

MapViews::MapViews(process::System& system, std::shared_ptr<SubscriptionBudget> budget)
    : system_(system), budget_(std::move(budget)) {
  tables_.push_back(std::make_unique<Table>(capacity_at_first));
  table_.store(tables_.back().get(), std::memory_order_release);
}

MapViews::~MapViews() = default;

MapView* MapViews::lookup(const Table& table, const Atom& map) noexcept {
  const std::size_t capacity = table.slots.size();
  for (std::size_t at = place(map, capacity);; at = (at + 1) & (capacity - 1)) {
    MapView* view = table.slots[at].load(std::memory_order_acquire);
    if (view == nullptr || view->name == map) return view;
  }
}

void MapViews::insert(Table& table, MapView& view) noexcept {
  const std::size_t capacity = table.slots.size();
  std::size_t at = place(view.name, capacity);
  while (table.slots[at].load(std::memory_order_relaxed) != nullptr) at = (at + 1) & (capacity - 1);
  table.slots[at].store(&view, std::memory_order_release);
}

MapView* MapViews::find(const Atom& map) const noexcept {
  MapView* view = lookup(*table_.load(std::memory_order_acquire), map);
  return view != nullptr && view->open.load(std::memory_order_acquire) ? view : nullptr;
}

std::vector<MapView*> MapViews::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<MapView*> views;
  views.reserve(views_.size());
  for (const auto& view : views_) views.push_back(view.get());
  return views;
}

MapView& MapViews::view(const Atom& map) {
  const std::lock_guard lock(mutex_);
  if (MapView* known = lookup(*tables_.back(), map)) return *known;
  MapView& made = *views_.emplace_back(std::make_unique<MapView>(map, system_, budget_));
  if (2 * views_.size() > tables_.back()->slots.size()) {
    auto larger = std::make_unique<Table>(2 * tables_.back()->slots.size());
    for (const auto& view : views_) insert(*larger, *view);
    tables_.push_back(std::move(larger));
    table_.store(tables_.back().get(), std::memory_order_release);
  } else {
    insert(*tables_.back(), made);
  }
  return made;
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
