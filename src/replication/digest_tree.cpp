#include "replication/digest_tree.hpp"

#define XXH_INLINE_ALL  // short keys: the call would cost as much as the hash
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <boost/endian/conversion.hpp>
#include <boost/multi_index/identity.hpp>
#include <boost/multi_index/ranked_index.hpp>
#include <boost/multi_index_container.hpp>
#include <cassert>
#include <ranges>
#include <utility>

#include "term/box.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication {
namespace {

constexpr unsigned hash_bits = 64;

std::uint64_t mask(unsigned depth) noexcept {
  return depth == 0 ? 0 : ~std::uint64_t{0} << (hash_bits - depth * Prefix::group_bits);
}

/// The child of a node at `depth` that the hash belongs to.
unsigned group(std::uint64_t hash, unsigned depth) noexcept {
  return static_cast<unsigned>(hash >> (hash_bits - (depth + 1) * Prefix::group_bits)) & (Prefix::fan_out - 1);
}

}  // namespace

Prefix Prefix::child(unsigned index) const noexcept {
  assert(depth < depth_max && index < fan_out);
  return {bits | std::uint64_t{index} << (hash_bits - (depth + 1) * group_bits), depth + 1};
}

bool Prefix::contains(std::uint64_t hash) const noexcept { return (hash & mask(depth)) == bits; }

bool Prefix::is_valid() const noexcept { return depth <= depth_max && (bits & ~mask(depth)) == 0; }

/// A leaf as long as `children` is empty.
struct DigestTree::Node {
  Summary summary;
  std::vector<Item> items;
  std::unique_ptr<std::array<Node, Prefix::fan_out>> children;

  [[nodiscard]] bool is_too_large() const noexcept { return items.size() > leaf_items_max; }
  /// Of a leaf: whether its items are among the crowds.
  [[nodiscard]] bool is_crowded() const noexcept { return items.empty() && summary.count > 0; }
  void add(const Item& item);
  [[nodiscard]] auto find(const Term& key, std::uint64_t hash);
};

void DigestTree::Node::add(const Item& item) {
  // In small steps: there are many leaves, and none is large but for what is appended.
  constexpr std::size_t step = 4;
  if (items.size() == items.capacity() && items.size() <= leaf_items_max) items.reserve(items.size() + step);
  items.push_back(item);
}

auto DigestTree::Node::find(const Term& key, std::uint64_t hash) {
  return std::ranges::find_if(items, [&](const Item& item) { return item.hash == hash && *item.key == key; });
}

/// The items of leaves that are crowded.
struct DigestTree::Crowds {
  struct Less {
    bool operator()(const Item& left, const Item& right) const noexcept {
      return left.hash != right.hash ? left.hash < right.hash : detail::compare_keys(*left.key, *right.key) < 0;
    }
    bool operator()(const Item& left, std::uint64_t hash) const noexcept { return left.hash < hash; }
    bool operator()(std::uint64_t hash, const Item& right) const noexcept { return hash < right.hash; }
  };
  using ByHashAndKey = boost::multi_index::ranked_unique<boost::multi_index::identity<Item>, Less>;
  using Items = boost::multi_index_container<Item, boost::multi_index::indexed_by<ByHashAndKey>>;

  /// Returns what is added to the digests.
  std::uint64_t set(const Item& item) {
    const auto [known, added] = items.insert(item);
    if (added) return item.digest;
    const std::uint64_t before = known->digest;
    items.modify(known, [&](Item& there) { there.digest = item.digest; });
    return item.digest - before;
  }
  [[nodiscard]] std::ranges::subrange<Items::const_iterator> of(std::uint64_t hash) const {
    const auto [first, last] = items.equal_range(hash);
    return {first, last};
  }

  Items items;
};

/// The nodes from the root down to a leaf. What changes in the leaf is added to the sums of all of them.
struct DigestTree::Path {
  std::array<Node*, Prefix::depth_max + 1> nodes{};
  unsigned depth = 0;  ///< Of the leaf.

  [[nodiscard]] Node& leaf() const noexcept { return *nodes[depth]; }
  void add(std::uint64_t count, std::uint64_t digest) const noexcept {
    for (unsigned level = 0; level <= depth; ++level) {
      nodes[level]->summary.count += count;
      nodes[level]->summary.digest += digest;
    }
  }
};

DigestTree::Path DigestTree::way_to(std::uint64_t hash) const {
  Path path;
  path.nodes[0] = root_.get();
  while (path.leaf().children) {
    Node* next = &(*path.leaf().children)[group(hash, path.depth)];
    path.nodes[++path.depth] = next;
  }
  return path;
}

DigestTree::Path DigestTree::settled_way_to(std::uint64_t hash) {
  const Path path = way_to(hash);
  if (!path.leaf().is_too_large()) return path;
  split(path.leaf(), path.depth);
  return way_to(hash);
}

DigestTree::DigestTree() : root_(std::make_unique<Node>()) {}
DigestTree::~DigestTree() = default;
DigestTree::DigestTree(DigestTree&&) noexcept = default;
DigestTree& DigestTree::operator=(DigestTree&&) noexcept = default;

void DigestTree::set(const Term& key, std::uint64_t hash, std::uint64_t digest) {
  const Path path = settled_way_to(hash);
  Node& leaf = path.leaf();
  if (leaf.is_crowded()) {
    const std::size_t before = crowds_->items.size();
    const std::uint64_t more = crowds_->set({hash, digest, &key});
    path.add(crowds_->items.size() - before, more);
    return;
  }
  if (const auto known = leaf.find(key, hash); known != leaf.items.end()) {
    path.add(0, digest - std::exchange(known->digest, digest));
    return;
  }
  leaf.add({hash, digest, &key});
  path.add(1, digest);
  if (leaf.is_too_large()) split(leaf, path.depth);
}

void DigestTree::append(const Term& key, std::uint64_t hash, std::uint64_t digest) {
  const Path path = way_to(hash);
  if (path.leaf().is_crowded()) {
    crowds_->items.insert({hash, digest, &key});
  } else {
    path.leaf().add({hash, digest, &key});
  }
  path.add(1, digest);
}

void DigestTree::settle() { settle(*root_, 0); }

void DigestTree::settle(Node& node, unsigned depth) {
  if (node.children) {
    for (auto& child : *node.children) settle(child, depth + 1);
  } else if (node.is_too_large()) {
    split(node, depth);
  }
}

void DigestTree::erase(const Term& key, std::uint64_t hash) {
  const Path path = settled_way_to(hash);
  Node& leaf = path.leaf();
  if (leaf.is_crowded()) {
    const auto known = crowds_->items.find(Item{.hash = hash, .key = &key});
    if (known == crowds_->items.end()) return;
    path.add(std::uint64_t{0} - 1, std::uint64_t{0} - known->digest);
    crowds_->items.erase(known);
    if (leaf.summary.count < inner_items_min) disperse(leaf, hash);
  } else {
    const auto known = leaf.find(key, hash);
    if (known == leaf.items.end()) return;
    path.add(std::uint64_t{0} - 1, std::uint64_t{0} - known->digest);
    *known = leaf.items.back();
    leaf.items.pop_back();
  }
  for (unsigned level = 0; level < path.depth; ++level) {
    if (path.nodes[level]->summary.count >= inner_items_min) continue;
    unite(*path.nodes[level]);
    return;
  }
}

/// Of a leaf that is too large.
void DigestTree::split(Node& node, unsigned depth) {
  if (depth == Prefix::depth_max) return crowd(node);
  node.children = std::make_unique<std::array<Node, Prefix::fan_out>>();
  for (const auto& item : node.items) ++(*node.children)[group(item.hash, depth)].summary.count;
  for (auto& child : *node.children) child.items.reserve(child.summary.count);
  for (const auto& item : std::exchange(node.items, {})) {
    Node& child = (*node.children)[group(item.hash, depth)];
    child.summary.digest += item.digest;
    child.items.push_back(item);
  }
  settle(node, depth);
}

void DigestTree::crowd(Node& leaf) {
  if (!crowds_) crowds_ = std::make_unique<Crowds>();
  for (const auto& item : std::exchange(leaf.items, {})) crowds_->items.insert(item);
}

void DigestTree::disperse(Node& leaf, std::uint64_t hash) {
  const auto crowd = crowds_->of(hash);
  leaf.items.assign(crowd.begin(), crowd.end());
  crowds_->items.erase(crowd.begin(), crowd.end());
}

void DigestTree::unite(Node& node) {
  std::vector<Item> items;
  items.reserve(node.summary.count);
  gather(node, items);
  node.items = std::move(items);
  node.children.reset();
}

void DigestTree::gather(Node& node, std::vector<Item>& items) {
  items.insert(items.end(), node.items.begin(), node.items.end());
  if (!node.children) return;
  for (auto& child : *node.children) gather(child, items);
}

DigestTree::Summary DigestTree::summary(const Prefix& prefix) const {
  assert(prefix.is_valid());
  const Node* node = root_.get();
  for (unsigned depth = 0; depth < prefix.depth; ++depth) {
    if (!node->children) {
      Summary sum;
      for (const auto& item : node->items) {
        if (!prefix.contains(item.hash)) continue;
        ++sum.count;
        sum.digest += item.digest;
      }
      return sum;
    }
    node = &(*node->children)[group(prefix.bits, depth)];
  }
  return node->summary;
}

bool DigestTree::visit(const Prefix& prefix, const std::function<bool(const Term& key)>& use,
                       std::uint64_t skipped) const {
  assert(prefix.is_valid());
  const Node* node = root_.get();
  Prefix place;
  while (place.depth < prefix.depth && node->children) {
    const unsigned index = group(prefix.bits, place.depth);
    node = &(*node->children)[index];
    place = place.child(index);
  }
  const auto walk = [&](const auto& self, const Node& here, const Prefix& at) -> bool {
    if (here.children) {
      for (unsigned index = 0; index < Prefix::fan_out; ++index) {
        const Node& child = (*here.children)[index];
        if (child.summary.count <= skipped) {
          skipped -= child.summary.count;
        } else if (!self(self, child, at.child(index))) {
          return false;
        }
      }
      return true;
    }
    if (here.is_crowded()) {
      const auto& all = crowds_->items;
      const std::uint64_t passed = std::min(skipped, here.summary.count);
      skipped -= passed;
      return std::all_of(all.nth(all.lower_bound_rank(at.bits) + passed), all.upper_bound(at.bits),
                         [&](const Item& item) { return use(*item.key); });
    }
    std::vector<const Item*> items;
    for (const auto& item : here.items) {
      if (prefix.contains(item.hash)) items.push_back(&item);
    }
    std::ranges::sort(items, [](const Item* left, const Item* right) { return Crowds::Less()(*left, *right); });
    const std::uint64_t passed = std::min<std::uint64_t>(skipped, items.size());
    skipped -= passed;
    return std::ranges::all_of(items | std::views::drop(static_cast<std::ptrdiff_t>(passed)),
                               [&](const Item* item) { return use(*item->key); });
  };
  return walk(walk, *node, place);
}

std::uint64_t key_hash(const Term& key) {
  thread_local Bytes bytes;
  bytes.clear();
  encode_term_to(key, bytes);
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t content_digest(std::span<const std::uint64_t> numbers, std::string_view text) {
  std::uint64_t digest = 0;
  for (const auto number : numbers) {
    const std::uint64_t portable = boost::endian::native_to_little(number);
    digest = XXH3_64bits_withSeed(&portable, sizeof(portable), digest);
  }
  return XXH3_64bits_withSeed(text.data(), text.size(), digest);
}

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
