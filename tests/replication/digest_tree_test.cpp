// The digest tree against a plain list of the same entries.
#include "replication/digest_tree.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace barrel_p2p::replication {
namespace {

struct Model {
  std::map<std::pair<std::uint64_t, std::int64_t>, std::uint64_t> digests;  // hash and key

  [[nodiscard]] DigestTree::Summary summary(const Prefix& prefix) const {
    DigestTree::Summary sum;
    for (const auto& [key, digest] : digests) {
      if (!prefix.contains(key.first)) continue;
      ++sum.count;
      sum.digest += digest;
    }
    return sum;
  }
};

std::vector<std::int64_t> keys_below(const DigestTree& tree, const Prefix& prefix) {
  std::vector<std::int64_t> keys;
  const bool whole = tree.visit(prefix, [&](const Term& key) {
    keys.push_back(*key.as_int64());
    return true;
  });
  EXPECT_TRUE(whole);
  return keys;
}

/// Texts that XXH3 gives one hash: where bytes meet those of its secret, eight more count for nothing.
std::vector<Term> keys_of_one_hash(std::uint64_t count) {
  std::vector<Term> keys;
  keys.reserve(count);
  for (std::uint64_t number = 0; number < count; ++number) {
    std::string text = "ten bytes.\xde\xd4\x6d\xe9\x83\x90\x97\xdb" + std::string(sizeof(number), '\0');
    std::memcpy(text.data() + text.size() - sizeof(number), &number, sizeof(number));
    keys.emplace_back(std::move(text));
  }
  return keys;
}

/// What it takes to set, list and erase these, of processor time.
std::chrono::nanoseconds time_of(const std::vector<Term>& keys) {
  const auto now = [] {
    std::timespec time{};
    std::ignore = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  };
  std::vector<std::uint64_t> hashes;
  hashes.reserve(keys.size());
  for (const auto& key : keys) hashes.push_back(key_hash(key));
  DigestTree tree;
  const auto start = now();
  for (std::size_t index = 0; index < keys.size(); ++index) tree.set(keys[index], hashes[index], 1);
  const Prefix last{hashes.back(), Prefix::depth_max};
  for (std::size_t visit = 0; visit < keys.size(); ++visit) tree.visit(last, [](const Term&) { return false; });
  for (std::size_t index = 0; index < keys.size(); ++index) tree.erase(keys[index], hashes[index]);
  return now() - start;
}

/// Keys that stay where they are.
const Term& stable(std::int64_t key) {
  static const auto keys = [] {
    std::vector<Term> made;
    for (std::int64_t number = 0; number < 10'000; ++number) made.emplace_back(number);
    return made;
  }();
  return keys.at(static_cast<std::size_t>(key));
}

}  // namespace

TEST(DigestTree, an_empty_tree_sums_to_nothing) {
  const DigestTree tree;
  EXPECT_EQ(tree.summary(), DigestTree::Summary());
  EXPECT_EQ(tree.summary(Prefix{}.child(3).child(15)), DigestTree::Summary());
}

TEST(DigestTree, prefixes_of_peers_are_checked) {
  EXPECT_TRUE((Prefix{0, 0}.is_valid()));
  EXPECT_TRUE((Prefix{0xF000000000000000, 1}.is_valid()));
  EXPECT_FALSE((Prefix{0xF100000000000000, 1}.is_valid()));
  EXPECT_TRUE((Prefix{0x123456789ABCDEF0, 16}.is_valid()));
  EXPECT_FALSE((Prefix{0, 17}.is_valid()));
}

TEST(DigestTree, keys_with_equal_hashes_are_kept_apart) {
  DigestTree tree;
  for (int key = 0; key < 100; ++key) tree.set(stable(key), 7, 1);
  EXPECT_EQ(tree.summary().count, 100U);
  EXPECT_EQ(keys_below(tree, Prefix{}).size(), 100U);
  for (int key = 0; key < 100; ++key) tree.erase(key, 7);
  EXPECT_EQ(tree.summary(), DigestTree::Summary());
}

TEST(DigestTree, keys_that_were_made_to_have_one_hash_cost_about_what_others_cost) {
  constexpr int count = 10'000;
  const auto alike = keys_of_one_hash(count);
  ASSERT_EQ(key_hash(alike.front()), key_hash(alike.back()));
  std::vector<Term> others;
  for (int key = 0; key < count; ++key) others.emplace_back("some text of 26 bytes" + std::to_string(10'000 + key));
  EXPECT_LT(time_of(alike), 30 * time_of(others));
}

TEST(DigestTree, a_visit_passes_over_as_many_as_it_is_told_to) {
  DigestTree tree;
  for (int key = 0; key < 100; ++key) tree.set(stable(key), key % 2 == 0 ? 7 : key_hash(key), 1);
  for (const auto& prefix : {Prefix{}, Prefix{}.child(0), Prefix{7, Prefix::depth_max}, Prefix{8, Prefix::depth_max}}) {
    auto rest = keys_below(tree, prefix);
    for (std::uint64_t skipped = 0; skipped < 102; ++skipped) {
      std::vector<std::int64_t> keys;
      EXPECT_TRUE(tree.visit(
          prefix,
          [&](const Term& key) {
            keys.push_back(*key.as_int64());
            return true;
          },
          skipped));
      EXPECT_EQ(keys, rest);
      if (!rest.empty()) rest.erase(rest.begin());
    }
  }
}

TEST(DigestTree, an_empty_tree_settles_to_nothing) {
  DigestTree tree;
  tree.settle();
  EXPECT_EQ(tree.summary(), DigestTree::Summary());
  tree.append(stable(1), key_hash(1), 5);
  tree.settle();
  EXPECT_EQ(tree.summary(), (DigestTree::Summary{1, 5}));
  EXPECT_EQ(keys_below(tree, Prefix{}), std::vector<std::int64_t>{1});
}

TEST(DigestTree, many_keys_with_one_hash_settle_too) {
  DigestTree tree;
  for (int key = 0; key < 1000; ++key) tree.append(stable(key), 7, 1);
  tree.settle();
  EXPECT_EQ(tree.summary().count, 1000U);
  EXPECT_EQ(keys_below(tree, Prefix{}).size(), 1000U);
}

TEST(DigestTree, a_visit_ends_when_it_is_told_to) {
  DigestTree tree;
  for (int key = 0; key < 1000; ++key) tree.set(stable(key), key_hash(key), 1);
  std::vector<std::int64_t> keys;
  const bool whole = tree.visit(Prefix{}, [&](const Term& key) {
    keys.push_back(*key.as_int64());
    return keys.size() < 50;
  });
  EXPECT_FALSE(whole);
  auto first = keys_below(tree, Prefix{});
  first.resize(50);
  EXPECT_EQ(keys, first);
}

TEST(DigestTree, the_hash_of_a_key_never_changes) {
  EXPECT_EQ(key_hash(Atom("config")), 6102884003956927632U);
  EXPECT_EQ(key_hash(Term::tuple({1, "two"})), 8322520605588334698U);
}

RC_GTEST_PROP(DigestTree, sums_and_lists_are_those_of_the_entries, ()) {
  DigestTree tree;
  Model model;
  const auto steps = *rc::gen::inRange(0, 400);
  const auto hashes = *rc::gen::element(1U, 8U, 40U, 64U);  // few bits: deep, crowded branches
  for (int step = 0; step < steps; ++step) {
    const auto key = *rc::gen::inRange<std::int64_t>(0, 150);
    const auto hash = static_cast<std::uint64_t>(key) * 0x9e3779b97f4a7c15ULL >> (64U - hashes);
    if (*rc::gen::inRange(0, 4) == 0) {
      tree.erase(key, hash);
      model.digests.erase({hash, key});
    } else {
      const auto digest = *rc::gen::arbitrary<std::uint64_t>();
      tree.set(stable(key), hash, digest);
      model.digests[{hash, key}] = digest;
    }
  }
  Prefix prefix;
  for (unsigned depth = 0; depth < 16; ++depth) {
    RC_ASSERT(tree.summary(prefix) == model.summary(prefix));
    std::vector<std::int64_t> expected;
    for (const auto& [key, digest] : model.digests) {
      if (prefix.contains(key.first)) expected.push_back(key.second);
    }
    RC_ASSERT(keys_below(tree, prefix) == expected);
    prefix = prefix.child(*rc::gen::element(0U, 1U, 15U));
  }
}

RC_GTEST_PROP(DigestTree, what_is_appended_is_what_was_set_one_by_one, ()) {
  DigestTree tree;
  Model model;
  const auto count = *rc::gen::inRange<std::int64_t>(0, 2000);
  const auto hashes = *rc::gen::element(1U, 8U, 40U, 64U);
  const auto settles = *rc::gen::element(1, 50, 10'000);  // never, but for the end, or again and again
  std::uint64_t digest = *rc::gen::arbitrary<std::uint64_t>();
  const auto hash_of = [&](std::int64_t key) {
    return static_cast<std::uint64_t>(key) * 0x9e3779b97f4a7c15ULL >> (64U - hashes);
  };
  for (std::int64_t key = 0; key < count; ++key) {
    tree.append(stable(key), hash_of(key), ++digest);
    model.digests[{hash_of(key), key}] = digest;
    if (*rc::gen::inRange(0, settles) != 0) continue;
    const auto known = *rc::gen::inRange<std::int64_t>(0, key + 1);
    switch (*rc::gen::inRange(0, 3)) {
      case 0: tree.settle(); break;
      case 1:
        tree.set(stable(known), hash_of(known), ++digest);
        model.digests[{hash_of(known), known}] = digest;
        break;
      case 2:
        tree.erase(stable(known), hash_of(known));
        model.digests.erase({hash_of(known), known});
        break;
    }
  }
  const auto check = [&] {
    Prefix prefix;
    for (unsigned depth = 0; depth < 16; ++depth) {
      RC_ASSERT(tree.summary(prefix) == model.summary(prefix));
      std::vector<std::int64_t> expected;
      for (const auto& [key, sum] : model.digests) {
        if (prefix.contains(key.first)) expected.push_back(key.second);
      }
      RC_ASSERT(keys_below(tree, prefix) == expected);
      prefix = prefix.child(*rc::gen::element(0U, 1U, 15U));
    }
  };
  check();  // right before it settles, too
  tree.settle();
  check();
}

RC_GTEST_PROP(DigestTree, the_way_to_a_content_does_not_matter, ()) {
  const auto keys = *rc::gen::unique<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(0, 10'000));
  DigestTree one;
  DigestTree other;
  for (const auto key : keys) one.set(stable(key), key_hash(key), static_cast<std::uint64_t>(key) + 1);
  for (std::int64_t key = 0; key < 200; ++key) other.set(stable(key), key_hash(key), 5);
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    other.set(stable(*key), key_hash(*key), static_cast<std::uint64_t>(*key) + 1);
  }
  for (std::int64_t key = 0; key < 200; ++key) {
    if (std::ranges::find(keys, key) == keys.end()) other.erase(key, key_hash(key));
  }
  for (unsigned index = 0; index < Prefix::fan_out; ++index) {
    const auto prefix = Prefix{}.child(index);
    RC_ASSERT(one.summary(prefix) == other.summary(prefix));
  }
}

}  // namespace barrel_p2p::replication
