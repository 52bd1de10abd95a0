#include "replication/digest_tree.hpp"

#define XXH_INLINE_ALL  // short keys: the call would cost as much as the hash
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <boost/endian/conversion.hpp>
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
  if (!is_too_large(path.leaf(), path.depth)) return path;
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
  if (const auto known = leaf.find(key, hash); known != leaf.items.end()) {
    path.add(0, digest - std::exchange(known->digest, digest));
    return;
  }
  leaf.add({hash, digest, &key});
  path.add(1, digest);
  if (is_too_large(leaf, path.depth)) split(leaf, path.depth);
}

void DigestTree::append(const Term& key, std::uint64_t hash, std::uint64_t digest) {
  const Path path = way_to(hash);
  path.leaf().add({hash, digest, &key});
  path.add(1, digest);
}

void DigestTree::settle() { settle(*root_, 0); }

void DigestTree::settle(Node& node, unsigned depth) {
  if (node.children) {
    for (auto& child : *node.children) settle(child, depth + 1);
  } else if (is_too_large(node, depth)) {
    split(node, depth);
  }
}

void DigestTree::erase(const Term& key, std::uint64_t hash) {
  const Path path = settled_way_to(hash);
  Node& leaf = path.leaf();
  const auto known = leaf.find(key, hash);
  if (known == leaf.items.end()) return;
  path.add(std::uint64_t{0} - 1, std::uint64_t{0} - known->digest);
  *known = leaf.items.back();
  leaf.items.pop_back();
  for (unsigned level = 0; level < path.depth; ++level) {
    if (path.nodes[level]->summary.count >= inner_items_min) continue;
    unite(*path.nodes[level]);
    return;
  }
}

bool DigestTree::is_too_large(const Node& leaf, unsigned depth) noexcept {
  return leaf.items.size() > leaf_items_max && depth < Prefix::depth_max;
}

void DigestTree::split(Node& node, unsigned depth) {
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

bool DigestTree::visit(const Prefix& prefix, const std::function<bool(const Term& key)>& use) const {
  assert(prefix.is_valid());
  const Node* node = root_.get();
  for (unsigned depth = 0; depth < prefix.depth && node->children; ++depth) {
    node = &(*node->children)[group(prefix.bits, depth)];
  }
  const auto walk = [&](const auto& self, const Node& here) -> bool {
    if (here.children) {
      return std::ranges::all_of(*here.children, [&](const Node& child) { return self(self, child); });
    }
    std::vector<const Item*> items;
    for (const auto& item : here.items) {
      if (prefix.contains(item.hash)) items.push_back(&item);
    }
    std::ranges::sort(items, [](const Item* left, const Item* right) {
      return left->hash != right->hash ? left->hash < right->hash : compare(*left->key, *right->key) < 0;
    });
    return std::ranges::all_of(items, [&](const Item* item) { return use(*item->key); });
  };
  return walk(walk, *node);
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
