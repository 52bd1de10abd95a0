// What is in a map, in a few bytes: hashes over the keys whose hash begins with the same bits, so that two nodes find
// what they hold differently at a cost that grows with the difference, not with the map.
//
// A radix tree over 64-bit key hashes, four bits a level. A node of the tree has the number of its entries and the sum
// of their digests; a leaf lists its keys. Sums do not depend on the order or on the shape of the tree, so trees of
// different nodes can be compared prefix by prefix.
//
// Who chooses keys can give as many as they like one and the same hash, and no prefix divides those: a crowd of them is
// kept in order apart from the tree, where each costs about what another key costs.
//
// Source: Merkle, "A Digital Signature Based on a Conventional Encryption Function", CRYPTO 1987, as used by Dynamo
// (DeCandia et al., SOSP 2007) for anti-entropy; here without signatures, against accidents only. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace replication {

/// All key hashes whose first `depth` groups of four bits are those of `bits`; the other bits of `bits` are 0.
struct Prefix {
  static constexpr unsigned group_bits = 4;
  static constexpr unsigned fan_out = 1U << group_bits;
  static constexpr unsigned depth_max = 64 / group_bits;

  std::uint64_t bits = 0;
  unsigned depth = 0;

  /// `depth` < `depth_max`, `index` < `fan_out`.
  [[nodiscard]] Prefix child(unsigned index) const noexcept;
  [[nodiscard]] bool contains(std::uint64_t hash) const noexcept;
  /// Whether the bits behind the prefix are 0 and the depth is in range: what a peer sends may not be.
  [[nodiscard]] bool is_valid() const noexcept;
  friend bool operator==(const Prefix&, const Prefix&) noexcept = default;
};

class DigestTree {
 public:
  struct Summary {
    std::uint64_t count = 0;
    std::uint64_t digest = 0;
    friend bool operator==(const Summary&, const Summary&) noexcept = default;
  };

  DigestTree();
  ~DigestTree();
  DigestTree(DigestTree&&) noexcept;
  DigestTree& operator=(DigestTree&&) noexcept;
  DigestTree(const DigestTree&) = delete;
  DigestTree& operator=(const DigestTree&) = delete;

  /// Adds the key or replaces its digest. A key that is added must stay where it is until it is erased.
  void set(const Term& key, std::uint64_t hash, std::uint64_t digest);
  void set(Term&& key, std::uint64_t hash, std::uint64_t digest) = delete;
  /// Adds a key that is not there yet. Many of them, with `settle` behind the last one, cost a small part of `set`:
  /// they find their places together. Before `settle` all is right, but slow.
  void append(const Term& key, std::uint64_t hash, std::uint64_t digest);
  void append(Term&& key, std::uint64_t hash, std::uint64_t digest) = delete;
  void settle();
  void erase(const Term& key, std::uint64_t hash);

  [[nodiscard]] Summary summary(const Prefix& prefix = {}) const;
  /// Calls `use` for each key below the prefix, in the order of their hashes, until it says false; the first `skipped`
  /// are passed over. Returns whether it never did.
  bool visit(const Prefix& prefix, const std::function<bool(const Term& key)>& use, std::uint64_t skipped = 0) const;

 private:
  struct Item {
    std::uint64_t hash = 0;
    std::uint64_t digest = 0;
    const Term* key = nullptr;
  };
  struct Node;
  struct Path;
  struct Crowds;

  /// A leaf with more items becomes an inner node, or at the greatest depth a crowd, when it is next changed or all
  /// settle; one with fewer becomes a leaf again.
  static constexpr std::size_t leaf_items_max = 32;
  static constexpr std::size_t inner_items_min = 8;

  [[nodiscard]] Path way_to(std::uint64_t hash) const;
  [[nodiscard]] Path settled_way_to(std::uint64_t hash);
  void settle(Node& node, unsigned depth);
  void split(Node& node, unsigned depth);
  void crowd(Node& leaf);
  void disperse(Node& leaf, std::uint64_t hash);
  static void unite(Node& node);
  static void gather(Node& node, std::vector<Item>& items);

  std::unique_ptr<Node> root_;
  std::unique_ptr<Crowds> crowds_;  ///< Made for the first one.
};

/// The hash of a key, equal on all nodes and versions: XXH3 of its encoding.
[[nodiscard]] std::uint64_t key_hash(const Term& key);
/// A hash of all of these, equal on all machines.
[[nodiscard]] std::uint64_t content_digest(std::span<const std::uint64_t> numbers, std::string_view text);

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
