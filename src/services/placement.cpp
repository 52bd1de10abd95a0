#include "services/placement.hpp"

#include <algorithm>
#include <cassert>
#include <functional>
#include <iterator>
#include <ranges>
#include <string>

#include "term/hash_mix.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

using hash_mix::hash_one;
using hash_mix::k;

constexpr std::uint64_t hash_range = std::uint64_t{1} << 32U;

/// Of nodes with another ring size: one is a reason to warn already.
constexpr std::size_t other_sizes_max = 1000;
/// Of warnings that are not said again.
constexpr std::size_t warned_max = 1000;

NodeName name_of(const Atom& node) { return NodeName(node.text()); }

}  // namespace

Result<void> check_ring_size(std::uint64_t size) {
  if (size >= 1 && size <= ring_size_max) return {};
  return fail(Errc::invalid_config,
              "ring_size is 1 to " + std::to_string(ring_size_max) + ", not " + std::to_string(size));
}

NodeScore::NodeScore(const Atom& node) : start_(hash_one(hash_one(0, 2, k(9)), phash2(Term(node), hash_range), k(3))) {}

std::uint32_t NodeScore::of(std::uint32_t partition) const noexcept {
  constexpr std::uint32_t bits = 0x7FFFFFF;
  return hash_one(start_, partition, k(1)) & bits;
}

// The ring.

Ring::Ring(std::uint32_t size) : owners_(size) { assert(check_ring_size(size)); }

/// The members are in the order of their names, and so the greatest place wins among equals.
void Ring::offer(std::uint32_t partition, std::uint32_t member) noexcept {
  Owner& owner = owners_[partition];
  const std::uint32_t score = members_[member].score.of(partition);
  if (owner.member == none || score > owner.score || (score == owner.score && member > owner.member)) {
    owner = {score, member};
  }
}

/// What stays at both ends stays: one member of many comes or goes at a time.
void Ring::set_members(std::span<const Atom> members) {
  assert(std::ranges::is_sorted(members));
  const auto same = [](const Member& member, const Atom& node) { return member.node == node; };
  const auto before = static_cast<std::size_t>(std::ranges::mismatch(members_, members, same).in1 - members_.begin());
  const auto rest = std::span(members_).subspan(before);
  const auto wanted = members.subspan(before);
  const auto after = static_cast<std::size_t>(
      std::ranges::mismatch(rest | std::views::reverse, wanted | std::views::reverse, same).in1 - rest.rbegin());
  const auto old_end = members_.size() - after;
  const auto new_end = members.size() - after;

  std::vector<std::uint32_t> place_now(old_end - before, none);  // of those between the ends, by the place before
  std::vector<std::uint32_t> added;
  std::vector<Member> next;
  std::size_t old = before;
  for (const auto& node : members.subspan(before, new_end - before)) {
    while (old < old_end && members_[old].node < node) ++old;
    const auto place = static_cast<std::uint32_t>(before + next.size());
    if (old < old_end && members_[old].node == node) {
      place_now[old - before] = place;
      next.push_back(std::move(members_[old++]));
    } else {
      added.push_back(place);
      next.push_back({node, NodeScore(node)});
    }
  }
  const auto at = [&](std::size_t place) { return members_.begin() + static_cast<std::ptrdiff_t>(place); };
  members_.erase(at(before), at(old_end));
  members_.insert(at(before), std::move_iterator(next.begin()), std::move_iterator(next.end()));

  for (std::uint32_t partition = 0; partition < size(); ++partition) {
    Owner& owner = owners_[partition];
    if (owner.member != none && owner.member >= old_end) {
      owner.member = static_cast<std::uint32_t>(owner.member - old_end + new_end);
    } else if (owner.member != none && owner.member >= before) {
      owner.member = place_now[owner.member - before];
    }
    if (owner.member != none) {
      for (const auto member : added) offer(partition, member);
    } else {
      for (std::uint32_t member = 0; member < members_.size(); ++member) offer(partition, member);
    }
  }
}

const Atom* Ring::owner(std::uint32_t partition) const noexcept {
  const auto member = owners_[partition].member;
  return member == none ? nullptr : &members_[member].node;
}

std::vector<Atom> Ring::owners(std::uint32_t partition, std::size_t count) const {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranking;  // score and place
  ranking.reserve(members_.size());
  for (std::uint32_t member = 0; member < members_.size(); ++member) {
    ranking.emplace_back(members_[member].score.of(partition), member);
  }
  const auto best = static_cast<std::ptrdiff_t>(std::min(count, ranking.size()));
  std::ranges::partial_sort(ranking, ranking.begin() + best, std::greater());
  std::vector<Atom> nodes;
  for (const auto& [score, member] : std::span(ranking).first(static_cast<std::size_t>(best))) {
    nodes.push_back(members_[member].node);
  }
  return nodes;
}

std::vector<std::pair<Atom, std::uint32_t>> Ring::shares() const {
  std::vector<std::pair<Atom, std::uint32_t>> shares;
  shares.reserve(members_.size());
  for (const auto& member : members_) shares.emplace_back(member.node, 0);
  for (const auto& owner : owners_) {
    if (owner.member != none) ++shares[owner.member].second;
  }
  return shares;
}

std::vector<std::vector<Atom>> Ring::equal_scores() const {
  std::map<NodeScore, std::vector<Atom>> by_score;
  for (const auto& member : members_) by_score[member.score].push_back(member.node);
  std::vector<std::vector<Atom>> groups;
  for (auto& [score, nodes] : by_score) {
    if (nodes.size() > 1) groups.push_back(std::move(nodes));
  }
  return groups;
}

std::vector<PartitionMove> Ring::diff(std::vector<Atom> members) const {
  std::ranges::sort(members);
  members.erase(std::ranges::unique(members).begin(), members.end());
  Ring other = *this;
  other.set_members(members);
  const auto named = [](const Atom* node) { return node == nullptr ? std::nullopt : std::optional(name_of(*node)); };
  std::vector<PartitionMove> moves;
  for (std::uint32_t partition = 0; partition < size(); ++partition) {
    auto from = named(owner(partition));
    auto to = named(other.owner(partition));
    if (from != to) moves.push_back({partition, std::move(from), std::move(to)});
  }
  return moves;
}

// The placement of a node.

Placement::Placement(PlacementConfig config, const Members& members)
    : config_(std::move(config)),
      members_(members),
      ring_(config_.ring_size),
      owned_(ring_.size()),
      seen_(members.revision()),
      lapses_(members.lapses()),
      trusted_from_(members.lease_until()) {
  follow();
  changes_.clear();
}

void Placement::update(MonotonicTime now) {
  const bool lapsed = std::exchange(lapses_, members_.lapses()) != lapses_;
  const bool moved = std::exchange(seen_, members_.revision()) != seen_;
  if (moved) {
    check_at_ = std::min(check_at_, now + members_.heartbeat());
    const bool was_member = std::exchange(is_member_, members_.is_member());
    if (lapsed || (is_member_ && !was_member)) held_until_ = now + members_.heartbeat();
    if (members_.members().size() > 1) trusted_from_ = std::min(trusted_from_, now + members_.heartbeat());
  }
  const bool let_go = held_until_ && now >= *held_until_;
  if (let_go) held_until_.reset();
  if (moved || let_go) follow();
  if (now >= check_at_) warn();
}

void Placement::note(std::uint32_t partition, bool owns) {
  owned_[partition] = owns;
  changes_.push_back({owns ? ShardEvent::Kind::acquired : ShardEvent::Kind::released, partition});
}

void Placement::follow() {
  ring_.set_members(members_.members());
  ++revision_;
  const bool may_own = !held() && ring_.member_count() >= config_.members_min;
  std::vector<std::uint32_t> acquired;
  for (std::uint32_t partition = 0; partition < ring_.size(); ++partition) {
    const Atom* const owner = ring_.owner(partition);
    const bool owns = may_own && owner != nullptr && *owner == config_.own;
    if (owned_[partition] == owns) continue;
    if (owns) {
      acquired.push_back(partition);
    } else {
      note(partition, false);
    }
  }
  for (const auto partition : acquired) note(partition, true);
}

void Placement::set_native(const Atom& node, Effects& out) const {
  Term said = Term::tuple({Atom("ring_size"), config_.own, ring_.size()});
  out.emplace_back(Send{node, Atom(placement_name), std::move(said)});
}

void Placement::receive(const Atom& from, const Term& message) {
  if (!message.is_tagged("ring_size", 3) || message[1].as_atom() != from) return;
  const auto size = message[2].as_uint64();
  if (!size) return;
  if (*size == ring_.size()) {
    other_sizes_.erase(from);
  } else if (other_sizes_.size() < other_sizes_max || other_sizes_.contains(from)) {
    other_sizes_[from] = *size;
    check_at_ = MonotonicTime::min();  // with the next update
  }
}

std::vector<std::uint32_t> Placement::owned() const {
  std::vector<std::uint32_t> partitions;
  for (std::uint32_t partition = 0; partition < ring_.size(); ++partition) {
    if (owned_[partition]) partitions.push_back(partition);
  }
  return partitions;
}

PlacementIssues Placement::issues() const {
  PlacementIssues issues;
  for (const auto& group : ring_.equal_scores()) {
    auto& names = issues.equal_hashes.emplace_back();
    for (const auto& node : group) names.push_back(name_of(node));
  }
  for (const auto& [node, count] : ring_.shares()) {
    if (count == 0) issues.idle.push_back(name_of(node));
  }
  for (const auto& [node, size] : other_sizes_) issues.ring_sizes.emplace_back(name_of(node), size);
  return issues;
}

void Placement::warn() {
  check_at_ = never;
  const auto say = [this](std::string warning) {
    if (warned_.size() >= warned_max) warned_.clear();  // it says some of them again
    if (warned_.insert(warning).second) warnings_.push_back(std::move(warning));
  };
  const auto issues = this->issues();
  for (const auto& group : issues.equal_hashes) {
    std::string names;
    for (const auto& node : group) names += (names.empty() ? "" : ", ") + node.string();
    say("placement: the names " + names + " have equal hashes, so that " + group.back().string() +
        " alone owns partitions: rename the others");
  }
  for (const auto& [node, size] : issues.ring_sizes) {
    say("placement: " + node.string() + " has ring_size " + std::to_string(size) + " and this node " +
        std::to_string(ring_.size()) + ", so that they disagree about every owner: make them equal");
  }
  if (2 * issues.idle.size() > ring_.member_count()) {
    say("placement: most members own nothing: ring_size " + std::to_string(ring_.size()) +
        " is small for so many; it can be changed with all nodes stopped");
  }
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
