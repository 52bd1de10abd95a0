// A replicated map as the replica driver sees it: the map, its digests, the clock that stamps it, and who may write
// what.
//
// Source: protocol document 04, sections 2, 3 and 8. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "replication/clock.hpp"
#include "replication/digest_tree.hpp"
#include "replication/ormap.hpp"
#include "replication/replica.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication {

struct OrMapStateConfig {
  Atom own;
  std::size_t entries_max = 10'000'000;  ///< Keys with their tombstones; more of peers are refused.
  EntryCheck check{};                    ///< Which entries of peers are taken; empty: all that are well-formed.
  /// Which entries peers are told of when digests are compared; empty: all. See `OrMapState::review`.
  std::function<bool(const Term& key)> offered{};
  std::function<bool(const Entry& entry)> in_snapshots{};  ///< Which entries whole snapshots have; empty: all.
};

struct OrMapStateCounters {
  std::uint64_t accepted = 0;
  std::uint64_t rejected = 0;   ///< Malformed, refused by the check, or beyond the bound.
  std::uint64_t in_future = 0;  ///< Of these, refused by the clock.
};

class OrMapState final : public ReplicatedState {
 public:
  /// What changed for people, by whomever. `entry` is what is stored now.
  using OnChange = std::function<void(const Term& key, Change change, const Entry& entry, const Atom& from)>;
  using WallClock = std::function<WallMilliseconds()>;

  /// The clock must outlive it and may be shared with other maps of this node.
  OrMapState(OrMapStateConfig config, HybridClock& clock, WallClock wall_clock, OnChange on_change);

  /// Writes; returns what is to be broadcast, `#{Key => Entry}`. Errors: `already_registered`: the key has no value,
  /// and Erlang nodes cannot tell it from another one that is known (`1` and `1.0`); `limit_exceeded`: `entries_max` is
  /// reached, or the present entry is too far in the future to be overwritten.
  Result<Term> put(const Term& key, Term value);
  /// Removes, whether there is such a key or not. Error: `limit_exceeded`, as above.
  Result<Term> remove(const Term& key);
  /// A stamp of this node that is greater than that of the present entry. What is put next has a greater one.
  Timestamp next_stamp(const Term& key);
  /// An entry of the store, or of another map of ours. Unchecked; the clock goes on behind it.
  void restore(const Term& key, Entry entry);
  // Many of them: before the first one room for so many, and behind the last one their places in the digests. All is
  // right without these two, and slower.
  void reserve(std::size_t count) { map_.reserve(count); }
  void settle() { digests_.settle(); }
  /// Forgets an entry without a trace.
  void erase(const Term& key);
  /// `offered` may say something else than before of the key, which is present. Retired tombstones stay so.
  void review(const Term& key);
  /// Forgets tombstones that were stamped before `cutoff`, at most `count_max`; returns their keys.
  std::vector<Term> collect_tombstones(WallMilliseconds cutoff, std::size_t count_max = OrMap::no_limit);
  /// From before this time tombstones stay out of the digests, at most `count_max` more by each call: nodes that keep
  /// them for longer than others would else never be equal to these. Values that come back from before are told apart
  /// by `take_overruled`.
  void retire_tombstones(WallMilliseconds cutoff, std::size_t count_max = OrMap::no_limit);
  /// Retired tombstones that were met by older values since this was last asked: their sender should be told.
  [[nodiscard]] std::vector<TermPair> take_overruled() { return std::exchange(overruled_, {}); }
  /// Why a put of the key would fail: see `put`. `more`: keys that will be added before it.
  [[nodiscard]] Result<void> check_put(const Term& key, std::size_t more = 0) const;
  /// Why nobody should remove the key. Error: `already_registered`: it is unknown, and Erlang nodes cannot tell it from
  /// one that is known. `remove` does not ask.
  [[nodiscard]] Result<void> check_remove(const Term& key) const;

  [[nodiscard]] const OrMap& map() const noexcept { return map_; }
  [[nodiscard]] const OrMapStateCounters& counters() const noexcept { return counters_; }

  // ReplicatedState.
  bool merge(const Atom& from, const Term& entries) override { return take(from, entries, Order::any); }
  /// In the order in which the other made the changes: whoever is told of them here sees what readers there saw.
  bool merge_delta(const Atom& from, const Term& entries) override { return take(from, entries, Order::of_stamps); }
  bool apply_snapshot(const Atom& from, const Term& snapshot) override { return merge(from, snapshot); }
  [[nodiscard]] std::optional<Term> snapshot() const override;
  [[nodiscard]] std::size_t snapshot_bytes(std::size_t enough) const override;
  void merge_custom(const Atom& /*from*/, const Term& /*payload*/) override {}
  [[nodiscard]] const DigestTree* digests() const noexcept override { return &digests_; }
  [[nodiscard]] Term entry(const Term& key) const override;
  [[nodiscard]] bool has(const Term& key, const Term& entry_term) const override;
  [[nodiscard]] bool covers(const Term& key, const Timestamp& stamp) const override;

 private:
  enum class Order : std::uint8_t { any, of_stamps };

  bool take(const Atom& from, const Term& entries, Order order);
  [[nodiscard]] Result<void> check_write(const Term& key, std::size_t more) const;
  const Entry& note(const OrMap::Record& record);
  [[nodiscard]] bool is_offered(const Term& key) const { return !config_.offered || config_.offered(key); }
  void retire_before(WallMilliseconds cutoff, std::size_t count_max);

  OrMapStateConfig config_;
  HybridClock& clock_;
  WallClock wall_clock_;
  OnChange on_change_;
  OrMap map_;
  DigestTree digests_;
  WallMilliseconds retired_before_ = std::numeric_limits<WallMilliseconds>::min();
  WallMilliseconds reviewed_from_ = std::numeric_limits<WallMilliseconds>::min();  ///< Older tombstones have retired.
  std::vector<TermPair> overruled_;
  OrMapStateCounters counters_;
};

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
