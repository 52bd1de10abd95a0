// What the registry keeps beside its map, so that nothing is searched for: who has a visible entry under a name, and
// which keys a node has.
//
// One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <boost/container/small_vector.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// The visible entries by name.
class ServiceNames {
 public:
  struct Holder {
    Atom node;
    Term value;  ///< The entry, shared with the map.
  };

  /// Adds the entry or replaces it.
  void set(const Term& name, const Atom& node, const Term& value);
  void erase(const Term& name, const Atom& node);

  /// By node name. Valid until the next change.
  [[nodiscard]] std::span<const Holder> find(const Term& name) const;
  /// In Erlang's term order.
  [[nodiscard]] std::vector<Term> names() const;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }  ///< Entries.

 private:
  using Holders = boost::container::small_vector<Holder, 1>;
  std::map<Term, Holders, TermLess> names_;
  std::size_t size_ = 0;
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
