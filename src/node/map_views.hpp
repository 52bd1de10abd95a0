// What users read of the maps of this node, without crossing a thread.
//
// A view is made when its map is first opened and lasts as long as the node: who found it may keep using it. A map that
// was deleted has a view that is closed. Finding a view takes no lock.
#pragma once

#include <atomic>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "node/concurrent_table.hpp"
#include "node/pid_subscribers.hpp"
#include "node/subscribers.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

struct MapView {
  MapView(Atom map, process::System& system, std::shared_ptr<SubscriptionBudget> budget)
      : name(std::move(map)), pids(system, std::move(budget)) {}

  const Atom name;
  std::atomic<bool> open{false};
  ConcurrentTable<Term, Term> entries;
  Subscribers<MapEvent> subscribers;
  PidSubscribers pids;
};

class MapViews {
 public:
  MapViews(process::System& system, std::shared_ptr<SubscriptionBudget> budget);
  ~MapViews();
  MapViews(const MapViews&) = delete;
  MapViews& operator=(const MapViews&) = delete;

  /// The view of an open map, or nullptr. Any thread.
  [[nodiscard]] MapView* find(const Atom& map) const noexcept;
  /// Of maps that were ever opened.
  [[nodiscard]] std::vector<MapView*> all() const;
  /// Makes it if need be; it is closed then. One thread at a time.
  MapView& view(const Atom& map);

 private:
  /// Open addressing; full to a half at most. A table that became too small is kept for those who still read it.
  struct Table {
    explicit Table(std::size_t capacity) : slots(capacity) {}
    std::vector<std::atomic<MapView*>> slots;
  };
  static MapView* lookup(const Table& table, const Atom& map) noexcept;
  static void insert(Table& table, MapView& view) noexcept;

  process::System& system_;
  const std::shared_ptr<SubscriptionBudget> budget_;
  mutable std::mutex mutex_;  ///< Of who writes, and of `views_`.
  std::vector<std::unique_ptr<MapView>> views_;
  std::vector<std::unique_ptr<Table>> tables_;
  std::atomic<const Table*> table_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
