#include "replication/digest_tree.hpp"

#define XXH_INLINE_ALL  // short keys: the call would cost as much as the hash
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

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
};

DigestTree::DigestTree() : root_(std::make_unique<Node>()) {}
DigestTree::~DigestTree() = default;
DigestTree::DigestTree(DigestTree&&) noexcept = default;
DigestTree& DigestTree::operator=(DigestTree&&) noexcept = default;

void DigestTree::set(const Term& key, std::uint64_t hash, std::uint64_t digest) {
  // The old digest is known at the leaf only, so the sums above it are corrected afterwards.
  std::array<Node*, Prefix::depth_max + 1> path{};
  unsigned depth = 0;
  Node* node = root_.get();
  path[depth] = node;
  while (node->children) {
    node = &(*node->children)[group(hash, depth)];
    path[++depth] = node;
  }
  const auto known =
      std::ranges::find_if(node->items, [&](const Item& item) { return item.hash == hash && item.key == key; });
  std::uint64_t difference = digest;
  std::uint64_t added = 1;
  if (known != node->items.end()) {
    difference -= std::exchange(known->digest, digest);
    added = 0;
  } else {
    node->items.push_back({hash, digest, key});
  }
  for (unsigned level = 0; level <= depth; ++level) {
    path[level]->summary.count += added;
    path[level]->summary.digest += difference;
  }
  if (node->items.size() > leaf_items_max && depth < Prefix::depth_max) split(*node, depth);
}

void DigestTree::erase(const Term& key, std::uint64_t hash) {
  std::array<Node*, Prefix::depth_max + 1> path{};
  unsigned depth = 0;
  Node* node = root_.get();
  path[depth] = node;
  while (node->children) {
    node = &(*node->children)[group(hash, depth)];
    path[++depth] = node;
  }
  const auto known =
      std::ranges::find_if(node->items, [&](const Item& item) { return item.hash == hash && item.key == key; });
  if (known == node->items.end()) return;
  const std::uint64_t digest = known->digest;
  *known = std::move(node->items.back());
  node->items.pop_back();
  for (unsigned level = 0; level <= depth; ++level) {
    --path[level]->summary.count;
    path[level]->summary.digest -= digest;
  }
  for (unsigned level = 0; level < depth; ++level) {
    if (path[level]->summary.count >= inner_items_min) continue;
    unite(*path[level]);
    return;
  }
}

void DigestTree::split(Node& node, unsigned depth) {
  node.children = std::make_unique<std::array<Node, Prefix::fan_out>>();
  for (auto& item : std::exchange(node.items, {})) {
    Node& child = (*node.children)[group(item.hash, depth)];
    ++child.summary.count;
    child.summary.digest += item.digest;
    child.items.push_back(std::move(item));
  }
  for (auto& child : *node.children) {
    if (child.items.size() > leaf_items_max && depth + 1 < Prefix::depth_max) split(child, depth + 1);
  }
}

void DigestTree::unite(Node& node) {
  std::vector<Item> items;
  items.reserve(node.summary.count);
  gather(node, items);
  node.items = std::move(items);
  node.children.reset();
}

void DigestTree::gather(Node& node, std::vector<Item>& items) {
  std::ranges::move(node.items, std::back_inserter(items));
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

void DigestTree::visit(const Prefix& prefix, const std::function<void(const Term& key)>& use) const {
  assert(prefix.is_valid());
  const Node* node = root_.get();
  for (unsigned depth = 0; depth < prefix.depth && node->children; ++depth) {
    node = &(*node->children)[group(prefix.bits, depth)];
  }
  const auto walk = [&](const auto& self, const Node& here) -> void {
    if (here.children) {
      for (const auto& child : *here.children) self(self, child);
      return;
    }
    std::vector<const Item*> items;
    for (const auto& item : here.items) {
      if (prefix.contains(item.hash)) items.push_back(&item);
    }
    std::ranges::sort(items, [](const Item* left, const Item* right) {
      return left->hash != right->hash ? left->hash < right->hash : compare(left->key, right->key) < 0;
    });
    for (const auto* item : items) use(item->key);
  };
  walk(walk, *node);
}

std::uint64_t key_hash(const Term& key) {
  const Bytes bytes = encode_term(key);
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
