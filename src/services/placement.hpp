// Who of the members owns what, computed alike on every node without any messages: each key belongs to a partition,
// each partition to the member with the greatest hash of both (rendezvous hashing, which moves only the partitions of
// the members that come and go). Agrees with Erlang nodes for every key.
//
//   partition(Key) = phash2(Key, RingSize)      score(Node, Partition) = phash2({Node, Partition})
//   owner(Partition) = the member with the greatest {score, Node}
//
// A name enters only through a hash of 28 bits that collides easily: of two members whose hashes are equal the lower
// one owns nothing (see `PlacementIssues`). All nodes must have the same ring size; C++ neighbours tell it each other:
//
//   to the process barrel_p2p_placement:   {ring_size, Node, RingSize}
//
// Sources: protocol document 06, sections 3 and 11; Thaler and Ravishankar, "Using name-based mappings to increase hit
// rates", IEEE/ACM Transactions on Networking 6(1), 1998. One thread at a time.
#pragma once

#include <algorithm>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/placement.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "services/effects.hpp"
#include "services/members.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

inline constexpr std::string_view placement_name = "barrel_p2p_placement";

inline constexpr std::uint32_t ring_size_default = 64;
/// The table of owners takes 8 bytes a partition, and is computed with members times partitions hashes at first.
inline constexpr std::uint32_t ring_size_max = 1U << 20U;
/// Error: `invalid_config`: not from 1 to `ring_size_max`.
[[nodiscard]] Result<void> check_ring_size(std::uint64_t size);

/// phash2({node, partition}), without its last step for all partitions of a node.
class NodeScore {
 public:
  explicit NodeScore(const Atom& node);
  /// `partition` < 2^27.
  [[nodiscard]] std::uint32_t of(std::uint32_t partition) const noexcept;
  /// Nodes for which this is equal have equal scores everywhere.
  friend bool operator==(const NodeScore&, const NodeScore&) noexcept = default;
  friend auto operator<=>(const NodeScore&, const NodeScore&) noexcept = default;

 private:
  std::uint32_t start_;
};

/// A set of members and the owner of every partition: a value.
class Ring {
 public:
  /// From 1 to `ring_size_max`.
  explicit Ring(std::uint32_t size);

  /// Sorted, none twice. Costs about `size` hashes for each node that comes or goes.
  void set_members(std::span<const Atom> members);

  [[nodiscard]] std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(owners_.size()); }
  [[nodiscard]] std::size_t member_count() const noexcept { return members_.size(); }
  [[nodiscard]] std::uint32_t partition(const Term& key) const { return phash2(key, owners_.size()); }
  /// nullptr: there are no members. `partition` < `size`. Valid until `set_members`.
  [[nodiscard]] const Atom* owner(std::uint32_t partition) const noexcept;
  /// The best members for it, the best one first: `count`, or all if there are fewer.
  [[nodiscard]] std::vector<Atom> owners(std::uint32_t partition, std::size_t count) const;
  /// How many partitions each member owns, in the order of their names.
  [[nodiscard]] std::vector<std::pair<Atom, std::uint32_t>> shares() const;
  /// Members with the same score everywhere: of each such group only the last one can own anything.
  [[nodiscard]] std::vector<std::vector<Atom>> equal_scores() const;
  /// What would move if these were the members, ascending. In any order, and more than once.
  [[nodiscard]] std::vector<PartitionMove> diff(std::vector<Atom> members) const;

 private:
  struct Member {
    Atom node;
    NodeScore score;
  };
  struct Owner {
    std::uint32_t score = 0;
    std::uint32_t member = none;  ///< Place in `members_`.
  };
  static constexpr std::uint32_t none = UINT32_MAX;

  void offer(std::uint32_t partition, std::uint32_t member) noexcept;

  std::vector<Member> members_;  ///< By name.
  std::vector<Owner> owners_;    ///< By partition.
};

struct PlacementConfig {
  Atom own;
  std::uint32_t ring_size = ring_size_default;  ///< `ring_size`, alike on all nodes: see `check_ring_size`.
  std::size_t members_min = 1;  ///< `placement_min_members`: this node owns nothing while it knows fewer members.
};

class Placement {
 public:
  /// The members must outlive it. What this node owns at first is not told as a change.
  Placement(PlacementConfig config, const Members& members);

  // What happens.
  /// To be called after each input of the members, and at `deadline`: follows them. Costs nothing when they are the
  /// same.
  void update(MonotonicTime now);
  /// When `update` has something to do though nothing happens.
  [[nodiscard]] MonotonicTime deadline() const noexcept { return std::min(held_until_.value_or(never), check_at_); }
  /// The neighbour is a C++ node.
  void set_native(const Atom& node, Effects& out) const;
  void neighbour_down(const Atom& node) { other_sizes_.erase(node); }
  /// A message to `placement_name`.
  void receive(const Atom& from, const Term& message);

  /// What became and ceased to be this node's since this was last asked. Of one change of the members all that was
  /// released comes first, for others wait for it, then all that was acquired; both ascend. When this node was paused
  /// for so long that others took over, it releases everything, though it notices only when all is over.
  [[nodiscard]] std::vector<ShardEvent> take_changes() { return std::exchange(changes_, {}); }
  /// What an operator should read, each once.
  [[nodiscard]] std::vector<std::string> take_warnings() { return std::exchange(warnings_, {}); }

  /// As this node sees it. Ownership ends by itself at `Members::lease_until`: who may have been paused looks there.
  [[nodiscard]] std::uint32_t ring_size() const noexcept { return ring_.size(); }
  [[nodiscard]] std::uint32_t partition(const Term& key) const { return ring_.partition(key); }
  [[nodiscard]] const Atom* owner(std::uint32_t partition) const noexcept { return ring_.owner(partition); }
  [[nodiscard]] const Atom* place(const Term& key) const { return owner(partition(key)); }
  /// Not while `held`, nor while there are fewer members than `members_min`, whatever `owner` says.
  [[nodiscard]] bool owns(std::uint32_t partition) const noexcept { return owned_[partition]; }
  [[nodiscard]] bool is_owner(const Term& key) const { return owns(partition(key)); }
  /// The partitions of this node, ascending.
  [[nodiscard]] std::vector<std::uint32_t> owned() const;
  [[nodiscard]] const std::vector<bool>& owned_set() const noexcept { return owned_; }
  /// Grows with each change of owners, of this node's ownership too: what was computed from them can be kept until
  /// then.
  [[nodiscard]] std::uint64_t revision() const noexcept { return revision_; }
  /// Who comes back, after it left or was paused longer than its lease, owns nothing for one heartbeat: others must
  /// hear of it first, and give back what they took over.
  [[nodiscard]] bool held() const noexcept { return held_until_.has_value(); }
  /// Who starts takes itself for the only member until it hears of others, and owns all. From then on it knows better:
  /// one heartbeat after it heard of another member, or when its first lease ended and it had heard of none. Work that
  /// must not be done twice waits for this.
  [[nodiscard]] MonotonicTime trusted_from() const noexcept { return trusted_from_; }

  [[nodiscard]] const Ring& ring() const noexcept { return ring_; }
  [[nodiscard]] PlacementIssues issues() const;

 private:
  static constexpr MonotonicTime never = MonotonicTime::max();

  void follow();
  void note(std::uint32_t partition, bool owns);
  void warn();

  PlacementConfig config_;
  const Members& members_;
  Ring ring_;
  std::vector<bool> owned_;
  std::vector<ShardEvent> changes_;
  std::uint64_t seen_ = 0;    ///< `Members::revision`.
  std::uint64_t lapses_ = 0;  ///< `Members::lapses`.
  bool is_member_ = true;
  std::optional<MonotonicTime> held_until_;
  MonotonicTime trusted_from_;
  std::uint64_t revision_ = 0;
  std::map<Atom, std::uint64_t> other_sizes_;  ///< Of neighbours, so there are few.
  MonotonicTime check_at_ = never;             ///< What to warn of is looked for then: many members may come at once.
  std::vector<std::string> warnings_;
  std::set<std::string> warned_;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
