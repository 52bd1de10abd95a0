// The replicated map: for each key the last write wins, and removals are remembered for a while.
//
//   OrMap = #{ Key => {value, Value, #{ {Node, Timestamp} => true }} | {tombstone, Timestamp} }
//
// Of two entries the one with the greater (stamp, value before tombstone, node) wins; a winning value takes over the
// dots of a losing value. Merging in any order, grouping and repetition gives equal live values everywhere.
//
// Of each node only its greatest dot is kept, and of all nodes the 1,000 greatest: the others can never decide
// anything. (Erlang nodes keep all of them, and understand both.) Which are kept does not depend on the order of
// merges. Equal stamps of one node with different values do not occur among well-behaved nodes; for those that exist
// the greater encoded value wins, so that at least all nodes of ours agree.
//
// Sources: protocol document 04, sections 2, 3 and 8. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <compare>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <utility>
#include <vector>

#include "replication/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication {

/// One write: by whom, and when.
struct Dot {
  Timestamp stamp;
  Atom node;

  friend bool operator==(const Dot&, const Dot&) noexcept = default;
  /// The stamp first, then the bytes of the name.
  friend std::strong_ordering operator<=>(const Dot& left, const Dot& right) noexcept {
    if (const auto order = left.stamp <=> right.stamp; order != 0) return order;
    return left.node.text() <=> right.node.text();
  }
};

/// What is known of a key. A value has one dot of each node that wrote it, the greatest ones first; a removal has only
/// its stamp.
class Entry {
 public:
  /// Of one value: more nodes than write one key. Peers may name as many nodes as they like, and each costs every node
  /// memory and every message about 50 bytes.
  static constexpr std::size_t dots_max = 1000;

  static Entry value(Term value, Dot dot);
  /// With at least one dot, in any order and number.
  static Entry value(Term value, std::vector<Dot> dots);
  static Entry tombstone(const Timestamp& stamp);

  [[nodiscard]] bool is_live() const noexcept { return live_; }
  [[nodiscard]] const Term& value() const noexcept { return value_; }
  /// Of the write or removal that counts.
  [[nodiscard]] const Timestamp& stamp() const noexcept { return dot_.stamp; }
  /// Who wrote the value; the empty atom for a removal.
  [[nodiscard]] const Atom& writer() const noexcept { return dot_.node; }
  [[nodiscard]] std::span<const Dot> dots() const noexcept;
  /// Whether nobody else wrote the value.
  [[nodiscard]] bool only_by(const Atom& node) const noexcept;

  /// Adds the dots of another value. Returns whether these are others than before.
  bool add_dots(const Entry& other);
  friend bool operator==(const Entry&, const Entry&) noexcept;

  Entry(const Entry& other);
  Entry(Entry&& other) noexcept = default;
  Entry& operator=(const Entry& other);
  Entry& operator=(Entry&& other) noexcept = default;
  ~Entry() = default;

 private:
  Entry() = default;
  /// All of them, in order.
  void set_dots(std::span<const Dot> sorted);

  // 56 bytes: there are millions of them, and nearly all have one dot.
  Term value_;
  Dot dot_;                                 ///< The greatest one.
  std::unique_ptr<std::vector<Dot>> dots_;  ///< All of them in falling order, if there are several.
  bool live_ = false;
};

[[nodiscard]] Term to_term(const Entry& entry);
/// Whether `to_term(entry)` is this term.
[[nodiscard]] bool is_term_of(const Entry& entry, const Term& term);
/// Error: `malformed_term`: not an entry, or with numbers out of range.
[[nodiscard]] Result<Entry> entry_of(const Term& term);

/// What a merge did to a key.
enum class Change : std::uint8_t {
  none,
  dots,     ///< What people see is the same; what is stored is not.
  put,      ///< A new value.
  removed,  ///< There was a value, and is none now.
};
/// Merges `incoming` into `entry`.
Change merge(Entry& entry, const Entry& incoming);

class OrMap {
 public:
  /// A key and what is known of it. Stays where it is until it is erased.
  using Record = std::pair<const Term, Entry>;
  static constexpr std::size_t no_limit = static_cast<std::size_t>(-1);

  /// nullptr: the key is unknown.
  [[nodiscard]] const Record* record(const Term& key) const noexcept;
  /// The raw entry, or nullptr. Valid until it is erased.
  [[nodiscard]] const Entry* find(const Term& key) const noexcept;
  /// The value, if there is one. Valid until the next change.
  [[nodiscard]] const Term* get(const Term& key) const noexcept;
  /// The stamp must be greater than that of the present entry: `HybridClock::observe` it first.
  const Record& put(const Term& key, Term value, Dot dot);
  const Record& remove(const Term& key, const Timestamp& stamp);
  /// An unknown key is taken over. `now`: see `collect_tombstones`.
  Change merge(const Term& key, const Entry& incoming, WallMilliseconds now = 0);
  /// The key must be unknown.
  const Record& add(const Term& key, Entry entry) { return place(key, std::move(entry)); }
  /// Makes room for so many keys.
  void reserve(std::size_t count) { table_.reserve(count); }
  /// Forgets the entry, without a tombstone.
  bool erase(const Term& key);

  // Tombstones are kept in order, so that looking for old ones costs nothing when there are none. They retire, and are
  // collected later.
  /// Tombstones whose wall time is below `cutoff`, the oldest first, each only once and at most `count_max`: they stay.
  std::vector<Term> retire_tombstones(WallMilliseconds cutoff, std::size_t count_max = no_limit);
  /// Removes retired tombstones whose wall time is below `cutoff`, but for those that came at or after `cutoff` to
  /// remove a value here: other nodes may still have the value then. At most `count_max`; returns their keys. `leaving`
  /// is told of each before it goes.
  std::vector<Term> collect_tombstones(WallMilliseconds cutoff, std::size_t count_max = no_limit,
                                       const std::function<void(const Term& key)>& leaving = {});

  /// A key that Erlang nodes take for the same one, though it is another: `1` and `1.0`, at any depth. They lose one of
  /// the two at the next merge, so such a key must not be put.
  [[nodiscard]] std::optional<Term> lookalike(const Term& key) const;

  [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }  ///< With tombstones.
  [[nodiscard]] std::size_t live_count() const noexcept { return live_; }
  [[nodiscard]] bool has_live() const noexcept { return live_ > 0; }
  /// In no particular order: results that others see must not depend on it.
  [[nodiscard]] auto entries() const noexcept {
    return std::views::transform(table_, [](const auto& record) -> const Record& { return *record; });
  }
  /// The whole state.
  [[nodiscard]] Term to_term() const;

 private:
  /// Of some the entry is another by now: these are skipped.
  struct Grave {
    Timestamp stamp;
    WallMilliseconds since = 0;  ///< When it removed something here, not before `stamp`.
    Term key;
  };

  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const Term& key) const noexcept { return key.hash(); }
    std::size_t operator()(const std::unique_ptr<Record>& record) const noexcept { return record->first.hash(); }
  };
  struct Equal {
    using is_transparent = void;
    using Owned = std::unique_ptr<Record>;
    bool operator()(const Owned& left, const Owned& right) const noexcept { return left->first == right->first; }
    bool operator()(const Term& left, const Owned& right) const noexcept { return left == right->first; }
    bool operator()(const Owned& left, const Term& right) const noexcept { return left->first == right; }
  };

  [[nodiscard]] Record* lookup(const Term& key) const noexcept;
  const Record& place(const Term& key, Entry&& entry);
  void bury(const Term& key, const Timestamp& stamp, WallMilliseconds since);
  [[nodiscard]] bool is_valid(const Grave& grave) const noexcept;

  boost::unordered_flat_set<std::unique_ptr<Record>, Hash, Equal> table_;
  std::size_t live_ = 0;
  std::vector<Grave> graves_;   ///< A heap, the oldest stamp on top. Every tombstone is here or in the next one.
  std::vector<Grave> retired_;  ///< A heap, the oldest `since` on top.
  boost::unordered_flat_map<Term, Term, std::hash<Term>> with_floats_;  ///< Plain form to key, of keys with floats.
};

/// Equal for keys that Erlang nodes take for the same one: see `OrMap::lookalike`.
[[nodiscard]] Term plain_form(const Term& key);

/// What a peer sent, entry by entry.
/// Levels of a key and of a value. What nodes keep they pass on, with some levels around it, and a peer takes
/// 5,000 (`distribution::peer_limits`).
inline constexpr std::size_t content_depth_max = 4'000;
/// Whether a key or value may be kept and passed on. Error: `limit_exceeded`: it has too many levels.
[[nodiscard]] Result<void> check_depth(const Term& content);

struct Accepted {
  std::vector<std::pair<Term, Entry>> entries;
  std::size_t known = 0;      ///< This node has just that: not among `entries`.
  std::size_t rejected = 0;   ///< Malformed, or refused by the check.
  std::size_t in_future = 0;  ///< Of these, entries that the clock refused.
};

/// Which entries a feature takes. Values and keys of any type arrive here.
using EntryCheck = std::function<bool(const Term& key, const Entry& entry)>;

/// Whether this node has just this under the key. Most of what an exchange brings is known: it need not be looked into.
using KnownCheck = std::function<bool(const Term& key, const Term& entry)>;

/// Checks the whole of a delta or snapshot and moves the clock beyond all that is accepted. What is not a map holds
/// nothing. At most `entries_max` are looked at; the rest counts as rejected.
Accepted accept(const Term& payload, HybridClock& clock, WallMilliseconds physical, const EntryCheck& check,
                std::size_t entries_max, const KnownCheck& known = {});

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
