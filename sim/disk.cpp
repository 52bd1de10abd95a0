#include "sim/disk.hpp"

#include <algorithm>

#include "services/services.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

WallMilliseconds clock_mark_in(std::span<const services::StoreChange> changes) {
  WallMilliseconds mark = 0;
  for (const auto& change : changes) {
    const bool is_mark =
        change.kind == services::StoreChange::Kind::set && change.collection == services::clock_mark_name;
    if (is_mark) mark = change.key.as_int64().value();
  }
  return mark;
}

void Disk::apply(std::span<const services::StoreChange> changes) {
  using Kind = services::StoreChange::Kind;
  for (const auto& change : changes) {
    switch (change.kind) {
      case Kind::put: collections_[change.collection].insert_or_assign(change.key, *change.entry); break;
      case Kind::erase: collections_[change.collection].erase(change.key); break;
      case Kind::drop: collections_.erase(change.collection); break;
      case Kind::set:
        if (change.collection == services::known_members_name) known_members_ = change.key;
        break;
    }
  }
  clock_mark_ = std::max(clock_mark_, clock_mark_in(changes));
}

services::Maps::Stored Disk::load(const std::string& collection) const {
  const auto found = collections_.find(collection);
  if (found == collections_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

const replication::Entry* Disk::find(const std::string& collection, const Term& key) const {
  const auto found = collections_.find(collection);
  if (found == collections_.end()) return nullptr;
  const auto entry = found->second.find(key);
  return entry == found->second.end() ? nullptr : &entry->second;
}

std::size_t Disk::entries() const noexcept {
  std::size_t count = 0;
  for (const auto& [name, collection] : collections_) count += collection.size();
  return count;
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
