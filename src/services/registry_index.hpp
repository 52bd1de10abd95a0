// What the registry keeps beside its map, so that nothing is searched for: who has a visible entry under a name, and
// which keys a node has.
//
// One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <functional>
#include <map>
#include <ranges>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// The visible entries by name. To add or erase one costs little more the more nodes have the name.
class ServiceNames {
 public:
  struct Place {
    Term name;
    Atom node;
  };

  /// Adds the entry or replaces it.
  void set(const Term& name, const Atom& node, const Term& value);
  void erase(const Term& name, const Atom& node);

  /// Places with the entries, which are shared with the map; by node name. Valid until the next change.
  [[nodiscard]] auto find(const Term& name) const {
    const auto [first, last] = values_.equal_range(name);
    return std::ranges::subrange(first, last);
  }
  /// nullptr: there is none.
  [[nodiscard]] const Term* find(const Term& name, const Atom& node) const;
  /// In Erlang's term order.
  [[nodiscard]] std::vector<Term> names() const;
  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }  ///< Entries.

 private:
  struct Order {
    using is_transparent = void;
    bool operator()(const Place& left, const Place& right) const noexcept {
      const auto order = compare(left.name, right.name);
      return order != 0 ? order < 0 : left.node < right.node;
    }
    bool operator()(const Place& left, const Term& name) const noexcept { return compare(left.name, name) < 0; }
    bool operator()(const Term& name, const Place& right) const noexcept { return compare(name, right.name) < 0; }
  };
  std::map<Place, Term, Order> values_;
};

/// The entries of one node.
struct ServiceOwner {
  /// Live ones and tombstones, with the wall time of the removal or `live`.
  boost::unordered_flat_map<Term, WallMilliseconds, std::hash<Term>> keys;
  boost::unordered_flat_set<Term, std::hash<Term>> lost;  ///< Keys that were visible when the node was lost.

  static constexpr WallMilliseconds live = -1;
};
using ServiceOwners = std::unordered_map<Atom, ServiceOwner>;

/// Tombstones, the oldest first.
struct TombstoneOrder {
  using Item = std::pair<WallMilliseconds, Term>;
  bool operator()(const Item& left, const Item& right) const noexcept {
    return left.first != right.first ? left.first < right.first : compare(left.second, right.second) < 0;
  }
};
using Tombstones = std::set<TombstoneOrder::Item, TombstoneOrder>;

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
