#include "services/placement.hpp"

#include <algorithm>
#include <cassert>
#include <functional>
#include <iterator>
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

void Ring::set_members(std::span<const Atom> members) {
  assert(std::ranges::is_sorted(members));
  std::vector<std::uint32_t> place_now(members_.size(), none);  // by the place before
  std::vector<std::uint32_t> added;
  std::vector<Member> next;
  next.reserve(members.size());
  std::size_t old = 0;
  for (const auto& node : members) {
    while (old < members_.size() && members_[old].node < node) ++old;
    const auto place = static_cast<std::uint32_t>(next.size());
    if (old < members_.size() && members_[old].node == node) {
      place_now[old] = place;
      next.push_back(std::move(members_[old++]));
    } else {
      added.push_back(place);
      next.push_back({node, NodeScore(node)});
    }
  }
  members_ = std::move(next);
  for (std::uint32_t partition = 0; partition < size(); ++partition) {
    Owner& owner = owners_[partition];
    if (owner.member != none) owner.member = place_now[owner.member];
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

// The placement of a node.

Placement::Placement(PlacementConfig config, const Members& members)
    : config_(std::move(config)),
      members_(members),
      ring_(config_.ring_size),
      owned_(ring_.size()),
      seen_(members.revision()),
      lapses_(members.lapses()) {
  follow(members.members());
  changes_.clear();
}

void Placement::update() {
  if (std::exchange(lapses_, members_.lapses()) != lapses_) release_all();
  if (std::exchange(seen_, members_.revision()) != seen_) follow(members_.members());
}

void Placement::release_all() {
  ++revision_;
  for (const auto partition : owned()) {
    owned_[partition] = false;
    changes_.push_back({partition, false});
  }
}

void Placement::follow(std::span<const Atom> members) {
  ring_.set_members(members);
  ++revision_;
  std::vector<OwnershipChange> released;
  for (std::uint32_t partition = 0; partition < ring_.size(); ++partition) {
    const Atom* const owner = ring_.owner(partition);
    const bool owns = owner != nullptr && *owner == config_.own;
    if (owned_[partition] == owns) continue;
    owned_[partition] = owns;
    (owns ? changes_ : released).push_back({partition, owns});
  }
  std::ranges::move(released, std::back_inserter(changes_));
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
  }
}

std::vector<Atom> Placement::owners(const Term& key, std::size_t count) const {
  return ring_.owners(partition(key), count);
}

std::vector<std::uint32_t> Placement::owned() const {
  std::vector<std::uint32_t> partitions;
  for (std::uint32_t partition = 0; partition < ring_.size(); ++partition) {
    if (owned_[partition]) partitions.push_back(partition);
  }
  return partitions;
}

std::vector<Move> Placement::diff(std::vector<Atom> members) const {
  std::ranges::sort(members);
  members.erase(std::ranges::unique(members).begin(), members.end());
  Ring other = ring_;
  other.set_members(members);
  const auto copied = [](const Atom* node) { return node == nullptr ? std::nullopt : std::optional(*node); };
  std::vector<Move> moves;
  for (std::uint32_t partition = 0; partition < ring_.size(); ++partition) {
    auto from = copied(ring_.owner(partition));
    auto to = copied(other.owner(partition));
    if (from != to) moves.push_back({partition, std::move(from), std::move(to)});
  }
  return moves;
}

PlacementIssues Placement::issues() const {
  PlacementIssues issues;
  issues.equal_scores = ring_.equal_scores();
  for (const auto& [node, count] : ring_.shares()) {
    if (count == 0) issues.idle.push_back(node);
  }
  issues.ring_sizes.assign(other_sizes_.begin(), other_sizes_.end());
  return issues;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
