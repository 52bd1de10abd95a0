// Keys by partition and due time: the earliest one of those partitions that this node owns. What is due in others waits
// without any cost until they are acquired.
//
// An item is not taken out when its key is changed or removed: who pops it looks whether it still holds. When there are
// many such, it is made anew: `clear`, `add_unsorted` for each, `sort`, `set_owned`.
#pragma once

#include <barrel_p2p/term.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

class DueIndex {
 public:
  struct Item {
    WallMilliseconds due = 0;
    Term key;
  };
  using Owns = std::function<bool(std::uint32_t partition)>;

  void add(std::uint32_t partition, Item item);
  /// Other partitions are this node's than before.
  void set_owned(Owns owns);
  /// The earliest due time of an owned partition.
  [[nodiscard]] std::optional<WallMilliseconds> next() const noexcept;
  /// What `next` is about; there is something.
  Item pop();
  /// Of all partitions, the earliest ones first, with outdated ones. Costs a little for each partition with items.
  [[nodiscard]] std::vector<Item> earliest(std::size_t count) const;
  /// With outdated ones.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Many at once: cheaper than `add` for each. Call `set_owned` afterwards.
  void add_unsorted(std::uint32_t partition, Item item);
  void sort();
  void clear();

 private:
  struct Heap {
    std::vector<Item> items;  ///< The earliest first.
    std::optional<WallMilliseconds> armed;
  };

  static bool later(const Item& left, const Item& right) noexcept { return left.due > right.due; }
  void arm(std::uint32_t partition, Heap& heap);

  Owns owns_ = [](std::uint32_t /*partition*/) { return false; };
  boost::unordered_flat_map<std::uint32_t, Heap> heaps_;
  std::set<std::pair<WallMilliseconds, std::uint32_t>> armed_;  ///< Owned partitions by what is due first.
  std::size_t size_ = 0;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
