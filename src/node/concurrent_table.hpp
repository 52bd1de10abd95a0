// A hash table that any thread reads, and few write, without waiting for long: in shards, each behind a lock of its own
// that readers share.
#pragma once

#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Enough that threads of one machine seldom meet.
inline constexpr std::size_t shard_bits = 6;
inline constexpr std::size_t shard_count = std::size_t{1} << shard_bits;

/// By the upper bits of the hash: the tables use the lower ones.
template <class Key>
[[nodiscard]] std::size_t shard_of(const Key& key) noexcept {
  constexpr std::size_t golden = 0x9e3779b97f4a7c15ULL;
  constexpr unsigned word_bits = 64;
  return (std::hash<Key>()(key) * golden) >> (word_bits - shard_bits);
}

template <class Key, class Value>
class ConcurrentTable {
 public:
  void set(const Key& key, Value value) {
    Shard& shard = at(key);
    const std::unique_lock lock(shard.mutex);
    shard.entries.insert_or_assign(key, std::move(value));
  }
  /// Calls `change` with the value, or with an empty one where there is none; when it returns false there is none from
  /// then on. It must be quick.
  template <class Change>
  void change(const Key& key, const Change& change) {
    Shard& shard = at(key);
    const std::unique_lock lock(shard.mutex);
    const auto place = shard.entries.try_emplace(key).first;
    if (!change(place->second)) shard.entries.erase(place);
  }
  void erase(const Key& key) {
    Shard& shard = at(key);
    const std::unique_lock lock(shard.mutex);
    shard.entries.erase(key);
  }

  [[nodiscard]] std::optional<Value> get(const Key& key) const {
    std::optional<Value> found;
    read(key, [&](const Value& value) { found = value; });
    return found;
  }
  /// Calls `use` with the value, if there is one; it must be quick, and must not write.
  template <class Use>
  void read(const Key& key, const Use& use) const {
    const Shard& shard = at(key);
    const std::shared_lock lock(shard.mutex);
    const auto found = shard.entries.find(key);
    if (found != shard.entries.end()) use(found->second);
  }
  /// All entries, shard by shard, in no order: what is written meanwhile may be in it or not.
  template <class Use>
  void each(const Use& use) const {
    for (const auto& shard : shards_) {
      const std::shared_lock lock(shard.mutex);
      for (const auto& [key, value] : shard.entries) use(key, value);
    }
  }
  [[nodiscard]] std::size_t size() const {
    std::size_t count = 0;
    for (const auto& shard : shards_) {
      const std::shared_lock lock(shard.mutex);
      count += shard.entries.size();
    }
    return count;
  }

 private:
  static constexpr std::size_t cache_line = 64;

  struct alignas(cache_line) Shard {
    mutable std::shared_mutex mutex;
    boost::unordered_flat_map<Key, Value, std::hash<Key>> entries;
  };

  Shard& at(const Key& key) noexcept { return shards_[shard_of(key)]; }
  const Shard& at(const Key& key) const noexcept { return shards_[shard_of(key)]; }

  std::array<Shard, shard_count> shards_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
