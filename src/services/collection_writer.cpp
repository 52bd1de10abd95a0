#include "services/collection_writer.hpp"

#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

/// Of one batch: a small part of what the store's queue takes.
constexpr std::size_t bytes_max = 4UL * 1024 * 1024;
constexpr std::size_t changes_max = 4096;

}  // namespace

void CollectionWriter::add(const Term& key, const replication::Entry* entry) {
  StoreChange change{.kind = StoreChange::Kind::erase, .collection = collection_, .key = key};
  bytes_ += encoded_size(key, false);
  if (entry != nullptr) {
    change.kind = StoreChange::Kind::put;
    change.entry = *entry;
    bytes_ += encoded_size(entry->value(), false);
  }
  changes_.push_back(std::move(change));
}

bool CollectionWriter::is_full() const noexcept { return changes_.size() >= changes_max || bytes_ >= bytes_max; }

bool CollectionWriter::flush(Ticket ticket, Effects& out) {
  bytes_ = 0;
  if (changes_.empty()) return false;
  out.emplace_back(Persist{std::exchange(changes_, {}), ticket});
  return true;
}

void CollectionWriter::failed(const Term& key) {
  if (refused_.insert(key).second) order_.push_back(key);
}

void CollectionWriter::retry(const replication::OrMap& map) {
  while (!order_.empty() && !is_full()) {
    const Term key = std::move(order_.front());
    order_.pop_front();
    refused_.erase(key);
    add(key, map.find(key));
  }
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
