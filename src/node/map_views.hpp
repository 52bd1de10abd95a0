// What users read of the maps of this node, without crossing a thread.
//
// Readers share one of as many locks as maps have shards: it covers that shard of every map, and the table of the maps.
// So it costs them one lock to find a map and a key, and what was taken out of the table is nobody's any more as soon
// as each lock was held once: names of maps that come and go leave nothing behind. One thread at a time writes.
#pragma once

#include <array>
#include <atomic>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/term.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "node/concurrent_table.hpp"
#include "node/pid_subscribers.hpp"
#include "node/subscribers.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Who is told of changes of a map. They stay while it is deleted, and are told again when it is opened again.
struct MapAudience {
  MapAudience(process::System& system, std::shared_ptr<SubscriptionBudget> budget) : pids(system, std::move(budget)) {}

  [[nodiscard]] bool empty() const { return subscribers.empty() && pids.empty(); }

  Subscribers<MapEvent> subscribers;
  PidSubscribers pids;
};

/// What a map holds, in shards. One thread at a time.
class MapEntries {
 public:
  using Shard = boost::unordered_flat_map<Term, Term, std::hash<Term>>;

  /// Makes room for so many entries in all.
  void reserve(std::size_t count);
  void set(const Term& key, Term value) { shards_[shard_of(key)].insert_or_assign(key, std::move(value)); }
  [[nodiscard]] Shard& shard(std::size_t index) noexcept { return shards_[index]; }
  [[nodiscard]] const Shard& shard(std::size_t index) const noexcept { return shards_[index]; }

 private:
  std::array<Shard, shard_count> shards_;
};

class MapViews {
 public:
  MapViews(process::System& system, std::shared_ptr<SubscriptionBudget> budget);
  ~MapViews();
  MapViews(const MapViews&) = delete;
  MapViews& operator=(const MapViews&) = delete;

  // Any thread. Each that is given a map returns whether it is open.
  [[nodiscard]] bool is_open(const Atom& map) const;
  /// Calls `use` with the value, if there is one; it must be quick, and use nothing of this.
  template <class Use>
  bool read(const Atom& map, const Term& key, const Use& use) const;
  /// All entries, shard by shard, in no order: what is written meanwhile may be in it or not.
  template <class Use>
  bool each(const Atom& map, const Use& use) const;
  /// 0 of a map that is not open.
  [[nodiscard]] std::size_t size(const Atom& map) const;
  /// nullptr: the map is not open.
  [[nodiscard]] std::shared_ptr<MapAudience> audience(const Atom& map) const;
  /// Of the open maps, in order.
  [[nodiscard]] std::vector<Atom> names() const;

  // One thread at a time. Of maps that are not open `set` and `erase` do nothing.
  /// What it showed before, if it was open, is gone.
  void open(const Atom& map, MapEntries entries);
  void close(const Atom& map);
  void set(const Atom& map, const Term& key, Term value);
  void erase(const Atom& map, const Term& key);
  /// Also of a map that was deleted; nullptr: nobody is told.
  [[nodiscard]] std::shared_ptr<MapAudience> whole_audience(const Atom& map) const;

 private:
  struct View {
    Atom name;
    MapEntries entries;
    std::shared_ptr<MapAudience> audience;
  };
  /// Open addressing; full to a half at most, with the places of views that are gone.
  struct Table {
    explicit Table(std::size_t capacity) : slots(capacity) {}
    std::vector<std::atomic<const View*>> slots;
  };
  static constexpr std::size_t cache_line = 64;
  struct alignas(cache_line) Lock {
    mutable std::shared_mutex mutex;
  };

  [[nodiscard]] static std::size_t spread(const Atom& map) noexcept;
  /// Maps begin with other locks, so that readers of one key in many maps do not meet.
  [[nodiscard]] std::shared_mutex& lock_of(const Atom& map, std::size_t shard) const noexcept {
    return locks_[(spread(map) + shard) % shard_count].mutex;
  }
  /// With any lock held.
  [[nodiscard]] const View* find(const Atom& map) const noexcept;
  [[nodiscard]] static std::atomic<const View*>& slot_of(Table& table, const Atom& map) noexcept;
  void publish(const View& view);
  void let_readers_pass() const;

  process::System& system_;
  const std::shared_ptr<SubscriptionBudget> budget_;
  const View gone_;  ///< In the place of one that was taken out.
  std::array<Lock, shard_count> locks_;
  std::atomic<const Table*> table_;

  // Of who writes.
  std::unique_ptr<Table> own_table_;
  std::size_t used_ = 0;  ///< Places of the table.
  boost::unordered_flat_map<Atom, std::unique_ptr<View>, std::hash<Atom>> views_;
  boost::unordered_flat_map<Atom, std::shared_ptr<MapAudience>, std::hash<Atom>> waiting_;  ///< Of deleted maps.
  std::size_t waiting_max_ = 0;  ///< With more of them it is time to see who still waits.
};

template <class Use>
bool MapViews::read(const Atom& map, const Term& key, const Use& use) const {
  const std::size_t index = shard_of(key);
  const std::shared_lock lock(lock_of(map, index));
  const View* view = find(map);
  if (view == nullptr) return false;
  const auto& shard = view->entries.shard(index);
  if (const auto found = shard.find(key); found != shard.end()) use(found->second);
  return true;
}

template <class Use>
bool MapViews::each(const Atom& map, const Use& use) const {
  for (std::size_t index = 0; index < shard_count; ++index) {
    const std::shared_lock lock(lock_of(map, index));
    const View* view = find(map);
    if (view == nullptr) return false;
    for (const auto& [key, value] : view->entries.shard(index)) use(key, value);
  }
  return true;
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
