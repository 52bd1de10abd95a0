// What a simulated node has on its disk: the durable store of the product, reduced to what is in it.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "replication/ormap.hpp"
#include "services/effects.hpp"
#include "services/maps.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// Only what is durable. A value.
class Disk {
 public:
  using Collection = std::map<Term, replication::Entry, TermLess>;

  /// One write: all of it, or none.
  void apply(std::span<const services::StoreChange> changes);
  /// In the order of the keys.
  [[nodiscard]] services::Maps::Stored load(const std::string& collection) const;
  /// nullptr: there is none.
  [[nodiscard]] const replication::Entry* find(const std::string& collection, const Term& key) const;
  /// Where the clock goes on: 0 when nothing was written.
  [[nodiscard]] WallMilliseconds clock_mark() const noexcept { return clock_mark_; }
  /// What the node knew of the others: an empty map when nothing was written.
  [[nodiscard]] const Term& known_members() const noexcept { return known_members_; }
  [[nodiscard]] std::size_t entries() const noexcept;

 private:
  std::map<std::string, Collection> collections_;
  WallMilliseconds clock_mark_ = 0;
  Term known_members_ = Term::map({});
};

/// The mark of the clock that the changes write; 0: none.
[[nodiscard]] WallMilliseconds clock_mark_in(std::span<const services::StoreChange> changes);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
