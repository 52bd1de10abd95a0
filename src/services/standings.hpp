// Whose entries count in a map in which each node speaks for its own: the registry's and the leaders'.
//
// What counts is the node's lease (members.hpp), whoever is whose neighbour:
//
//   alive      its entries count. A node that was never heard of but speaks itself is alive for `vouch_for`: its first
//              beat is on its way.
//   expected   never heard of, a peer told of it: its entries do not count for `expect_for`, then it is gone.
//   gone       its entries do not count, and peers are not told of them, so that what dead nodes left does not wander
//              from node to node. They count again when its lease returns, and are forgotten after `forget_after`.
//
// All nodes judge life alike within seconds, so their digests are over the same entries.
//
// Source: protocol document 05, section 11. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "services/members.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

struct StandingsConfig {
  Atom own;
  Milliseconds forget_after;
  Milliseconds vouch_for;
  Milliseconds expect_for;
};

enum class Standing : std::uint8_t { alive, expected, gone };

class Standings {
 public:
  struct Change {
    Standing before = Standing::alive;
    Standing after = Standing::alive;

    [[nodiscard]] bool is_none() const noexcept { return before == after; }
    /// Whether peers were told of the entries before and are not now, or the other way.
    [[nodiscard]] bool is_of_offer() const noexcept { return (before == Standing::gone) != (after == Standing::gone); }
    /// It may have been restarted, and while it was away changes of its entries went past us.
    [[nodiscard]] bool is_return() const noexcept { return before == Standing::gone && after == Standing::alive; }
  };

  /// The members must outlive it.
  Standings(StandingsConfig config, const Members& members) : config_(std::move(config)), members_(members) {}

  // The nodes that have entries here are known here.
  /// Nothing happens to a node that is known. `speaker`: who told of it; it vouches for itself.
  void add(const Atom& node, const Atom& speaker, MonotonicTime now);
  /// Its last entry is gone.
  void remove(const Atom& node);

  /// The node itself has just spoken.
  Change vouch(const Atom& node, MonotonicTime now);
  /// Its lease came or ended, or time has passed.
  Change judge(const Atom& node, MonotonicTime now);

  /// Whether it is known, and its entries count.
  [[nodiscard]] bool counts(const Atom& node) const;
  /// Whether peers are told of its entries; of a node that is not known, whether they would be.
  [[nodiscard]] bool is_offered(const Atom& node, const Atom& speaker, MonotonicTime now) const;
  /// Whether it has been gone for so long that its entries are not taken over any more.
  [[nodiscard]] bool is_forgotten(const Atom& node, MonotonicTime now) const;
  /// It counts without a lease for the moment, because it spoke.
  [[nodiscard]] bool is_vouched_for(const Atom& node) const;

  // What time alone changes. To look costs nothing for the nodes whose time has not come.
  /// When the first one's time comes; nothing: nobody's.
  [[nodiscard]] std::optional<MonotonicTime> next_due() const noexcept;
  /// Nodes to be judged again, for they counted or were expected until now; sorted.
  [[nodiscard]] std::vector<Atom> unsettled(MonotonicTime now) const;
  /// Nodes whose entries are to be forgotten; sorted.
  [[nodiscard]] std::vector<Atom> forgotten(MonotonicTime now);
  /// Who is to be forgotten next, and sooner where there is no room for others; nothing: nobody is gone.
  [[nodiscard]] std::optional<Atom> longest_gone() const;

 private:
  struct Life {
    Standing standing = Standing::alive;
    MonotonicTime until = MonotonicTime::max();  ///< When it must be judged again although nothing was told of it.
    MonotonicTime hidden_since;
    MonotonicTime due = MonotonicTime::max();  ///< Its place among those that wait for a time; `max`: it has none.
  };
  using Order = std::set<std::pair<MonotonicTime, Atom>>;

  [[nodiscard]] bool has_lease(const Atom& node) const noexcept;
  [[nodiscard]] bool was_heard_of(const Atom& node, MonotonicTime now) const noexcept;
  [[nodiscard]] Life begin(const Atom& node, const Atom& speaker, MonotonicTime now) const;
  Change set(const Atom& node, Life& life, Standing standing, MonotonicTime until, MonotonicTime now);
  [[nodiscard]] MonotonicTime forget_at(const Atom& node, const Life& life, MonotonicTime now) const;
  void settle(const Atom& node, Life& life, MonotonicTime now);
  void unplan(const Atom& node, Life& life);

  StandingsConfig config_;
  const Members& members_;
  std::unordered_map<Atom, Life> lives_;
  Order unsettled_;  ///< By when they must be judged again.
  Order gone_;       ///< By when they may be forgotten, at the earliest.
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
