#include "node/map_views.hpp"

#include <algorithm>
#include <bit>

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

constexpr std::size_t capacity_least = 64;  // a power of two
constexpr std::size_t waiting_least = 64;

}  // namespace

void MapEntries::reserve(std::size_t count) {
  // Shards get unequal shares: an eighth more is beyond what chance gives one of them when it matters.
  const std::size_t share = count / shards_.size();
  for (auto& shard : shards_) shard.reserve(share + share / 8);
}

MapViews::MapViews(process::System& system, std::shared_ptr<SubscriptionBudget> budget)
    : system_(system),
      budget_(std::move(budget)),
      gone_(),
      own_table_(std::make_unique<Table>(capacity_least)),
      waiting_max_(waiting_least) {
  table_.store(own_table_.get(), std::memory_order_release);
}

MapViews::~MapViews() = default;

// Readers.

std::size_t MapViews::spread(const Atom& map) noexcept {
  constexpr std::size_t golden = 0x9e3779b97f4a7c15ULL;
  constexpr unsigned half_word = 32;
  return (map.hash() * golden) >> half_word;
}

const MapViews::View* MapViews::find(const Atom& map) const noexcept {
  const Table& table = *table_.load(std::memory_order_acquire);
  const std::size_t last = table.slots.size() - 1;
  for (std::size_t at = spread(map) & last;; at = (at + 1) & last) {
    const View* view = table.slots[at].load(std::memory_order_acquire);
    if (view == nullptr || (view->name == map && view != &gone_)) return view;
  }
}

bool MapViews::is_open(const Atom& map) const {
  const std::shared_lock lock(lock_of(map, 0));
  return find(map) != nullptr;
}

std::size_t MapViews::size(const Atom& map) const {
  std::size_t count = 0;
  for (std::size_t index = 0; index < shard_count; ++index) {
    const std::shared_lock lock(lock_of(map, index));
    const View* view = find(map);
    if (view == nullptr) return 0;
    count += view->entries.shard(index).size();
  }
  return count;
}

std::shared_ptr<MapAudience> MapViews::audience(const Atom& map) const {
  const std::shared_lock lock(lock_of(map, 0));
  const View* view = find(map);
  return view == nullptr ? nullptr : view->audience;
}

std::vector<Atom> MapViews::names() const {
  std::vector<Atom> names;
  {
    const std::shared_lock lock(locks_.front().mutex);
    for (const auto& slot : table_.load(std::memory_order_acquire)->slots) {
      const View* view = slot.load(std::memory_order_acquire);
      if (view != nullptr && view != &gone_) names.push_back(view->name);
    }
  }
  std::ranges::sort(names);
  return names;
}

// Who writes.

/// From its return on nobody reads what was unlinked before.
void MapViews::let_readers_pass() const {
  for (const auto& lock : locks_) const std::unique_lock held(lock.mutex);
}

/// Where the view of the map is, or is to be.
std::atomic<const MapViews::View*>& MapViews::slot_of(Table& table, const Atom& map) noexcept {
  const std::size_t last = table.slots.size() - 1;
  std::size_t at = spread(map) & last;
  for (;; at = (at + 1) & last) {
    const View* view = table.slots[at].load(std::memory_order_relaxed);
    if (view == nullptr || view->name == map) return table.slots[at];
  }
}

/// Of one that is among `views_`.
void MapViews::publish(const View& view) {
  if (2 * (used_ + 1) <= own_table_->slots.size()) {
    ++used_;
    slot_of(*own_table_, view.name).store(&view, std::memory_order_release);
    return;
  }
  auto other = std::make_unique<Table>(std::max(capacity_least, std::bit_ceil(4 * views_.size())));
  for (const auto& [name, known] : views_) slot_of(*other, name).store(known.get(), std::memory_order_relaxed);
  used_ = views_.size();
  table_.store(other.get(), std::memory_order_release);
  let_readers_pass();
  own_table_ = std::move(other);
}

void MapViews::open(const Atom& map, MapEntries entries) {
  close(map);
  auto audience = whole_audience(map);
  waiting_.erase(map);
  if (!audience) audience = std::make_shared<MapAudience>(system_, budget_);
  auto& view = views_[map];
  view = std::make_unique<View>(View{map, std::move(entries), std::move(audience)});
  publish(*view);
}

void MapViews::close(const Atom& map) {
  const auto found = views_.find(map);
  if (found == views_.end()) return;
  slot_of(*own_table_, map).store(&gone_, std::memory_order_release);
  const std::unique_ptr<View> view = std::move(found->second);
  views_.erase(found);
  let_readers_pass();
  // Who found it before may be about to subscribe.
  const auto is_heard = [](const std::shared_ptr<MapAudience>& all) { return all.use_count() > 1 || !all->empty(); };
  if (!is_heard(view->audience)) return;
  waiting_.emplace(map, std::move(view->audience));
  if (waiting_.size() <= waiting_max_) return;
  boost::unordered::erase_if(waiting_, [&](const auto& one) { return !is_heard(one.second); });
  waiting_max_ = std::max(waiting_least, 2 * waiting_.size());
}

void MapViews::set(const Atom& map, const Term& key, Term value) {
  const auto found = views_.find(map);
  if (found == views_.end()) return;
  const std::size_t index = shard_of(key);
  const std::unique_lock lock(lock_of(map, index));
  found->second->entries.shard(index).insert_or_assign(key, std::move(value));
}

void MapViews::erase(const Atom& map, const Term& key) {
  const auto found = views_.find(map);
  if (found == views_.end()) return;
  const std::size_t index = shard_of(key);
  const std::unique_lock lock(lock_of(map, index));
  found->second->entries.shard(index).erase(key);
}

std::shared_ptr<MapAudience> MapViews::whole_audience(const Atom& map) const {
  if (const auto found = views_.find(map); found != views_.end()) return found->second->audience;
  const auto waiting = waiting_.find(map);
  return waiting == waiting_.end() ? nullptr : waiting->second;
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
