// The parts of leader.hpp that have no behaviour of their own: the forms of keys and values, who wins, and what is kept
// of a name.
//
// Source: protocol document 05, sections 2.2, 8.2 and 8.5.
#pragma once

#include <barrel_p2p/leader.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "replication/clock.hpp"
#include "replication/ormap.hpp"
#include "term/box.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// Of a name, encoded. Every node holds every name.
inline constexpr std::size_t leader_name_bytes_max = 1024;
/// Of a priority, encoded: integers of about 8000 bits. Likewise.
inline constexpr std::size_t priority_bytes_max = 1024;

[[nodiscard]] bool is_leader_name(const Term& name) noexcept;
[[nodiscard]] bool is_priority(const Term& priority) noexcept;

/// `{Name, Node}`
[[nodiscard]] Term candidate_key(const Term& name, const Atom& node);
[[nodiscard]] bool is_candidate_key(const Term& key);
/// `{Pid, Priority}`
[[nodiscard]] Term candidate_value(const Pid& pid, const Term& priority);
[[nodiscard]] bool is_candidate_value(const Term& value);

/// `{Name}`: where the greatest fence of the name is kept, beside the candidates.
[[nodiscard]] Term fence_key(const Term& name);
[[nodiscard]] bool is_fence_key(const Term& key);
/// The minter is the empty atom where nobody said it.
[[nodiscard]] replication::Entry fence_entry(const replication::Timestamp& stamp, const Atom& minter);
[[nodiscard]] bool is_fence_entry(const replication::Entry& entry);
[[nodiscard]] Fence fence_of(const replication::Timestamp& stamp) noexcept;

/// A campaign as all nodes know it.
struct Rival {
  Atom node;
  Pid pid;
  Term priority;
};
/// Whether the left one leads rather than the right one: the greater priority, then the smaller bytes of the name.
[[nodiscard]] bool precedes(const Rival& left, const Rival& right) noexcept;

/// The campaigns for a name: those that count, who should lead first, and behind them those of nodes that are not
/// alive. One a node: others tell of them, as many as they like.
class Rivals {
 public:
  Rivals() = default;
  Rivals(Rivals&&) noexcept = default;
  Rivals& operator=(Rivals&&) noexcept = default;
  ~Rivals() = default;
  Rivals(const Rivals&) = delete;
  Rivals& operator=(const Rivals&) = delete;

  /// Adds the rival or replaces it.
  void set(const Rival& rival, bool counts);
  /// The node's campaign, if it has one, counts from now on, or does not.
  void count(const Atom& node, bool counts);
  void erase(const Atom& node);
  /// Who should lead; nullptr: nobody counts.
  [[nodiscard]] const Rival* winner() const noexcept;
  /// Whose campaigns count.
  [[nodiscard]] std::vector<Atom> nodes() const;
  [[nodiscard]] bool empty() const noexcept { return ranked_.empty(); }

 private:
  struct Place {
    bool counts;
    Rival rival;
  };
  struct Order {
    bool operator()(const Place& left, const Place& right) const noexcept {
      return left.counts != right.counts ? left.counts : precedes(left.rival, right.rival);
    }
  };
  using Ranked = std::set<Place, Order>;
  Ranked ranked_;
  std::unordered_map<Atom, Ranked::const_iterator> by_node_;
};

/// The greatest fence of a name. In order of age; those of one age in any order that is always the same.
struct FenceOfName {
  replication::Timestamp stamp;
  Term name;
  friend bool operator<(const FenceOfName& left, const FenceOfName& right) noexcept {
    return left.stamp != right.stamp ? left.stamp < right.stamp : detail::compare_keys(left.name, right.name) < 0;
  }
};

/// A campaign of a process of this node.
struct Candidate {
  Pid pid;
  Term priority;
  std::size_t min_members = 0;
};

/// What is known of a name.
struct Contest {
  /// A term of this node.
  struct Reign {
    Pid pid;
    replication::Timestamp stamp;
    bool disputed = false;              ///< Another node was seen with an equal token.
    MonotonicTime until;                ///< When too few members will have been heard of, if nothing new comes.
    MonotonicTime renewals_paid_until;  ///< Each renewal pays for a while, see `renewal_pause`.
    friend bool operator==(const Reign&, const Reign&) = default;
  };
  struct Winner {
    Atom node;
    Pid pid;
    friend bool operator==(const Winner&, const Winner&) = default;
  };

  Rivals rivals;
  std::vector<Candidate> candidates;  ///< Who should lead first. The first one is among the rivals, the others wait.
  std::optional<Reign> reign;
  // As it was when changes were last told.
  std::optional<Winner> told;
  std::optional<Reign> told_reign;

  /// Behind those of the same priority.
  void enqueue(const Candidate& candidate);
  [[nodiscard]] bool is_over() const noexcept { return rivals.empty() && candidates.empty(); }
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
