#include <gtest/gtest.h>

#include <barrel_p2p/leader.hpp>
#include <boost/json.hpp>
#include <functional>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "support/vectors.hpp"

namespace barrel_p2p {
namespace {

using test::decoded;
using test::from_hex;
using test::read_vectors;
using test::text_of;

Fence fence_of(const Term& stamp) {
  return {*stamp[1].as_uint64(), static_cast<std::uint32_t>(*stamp[2].as_uint64() & 0xFFFFFFFFU)};
}

}  // namespace

TEST(Fence, is_the_recorded_integer) {
  std::size_t count = 0;
  const auto recorded = read_vectors("leader_fences.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "name") != "pack") continue;
    ++count;
    const Fence fence = fence_of(decoded(row));
    EXPECT_EQ(fence.text(), text_of(row, "packed"));
    EXPECT_EQ(encode_term(fence.term()), from_hex(text_of(row, "packed_etf_hex")));
    EXPECT_EQ(Fence::from(fence.term()).value(), fence);
    EXPECT_EQ(Fence::parse(fence.text()).value(), fence);
    EXPECT_EQ(Fence::unpack(fence.pack()), fence);
  }
  EXPECT_EQ(count, 11U);
}

TEST(Fence, compares_as_recorded) {
  std::size_t count = 0;
  const auto recorded = read_vectors("leader_fences.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "name") != "compare") continue;
    ++count;
    const Term pair = decoded(row);
    const auto order = fence_of(pair[0]) <=> fence_of(pair[1]);
    EXPECT_EQ(text_of(row, "result"), order < 0 ? "lt" : order > 0 ? "gt" : "eq");
    EXPECT_EQ(fence_of(pair[0]).pack() < fence_of(pair[1]).pack(), order < 0);
  }
  EXPECT_EQ(count, 5U);
}

TEST(Fence, of_96_bits_is_one_and_of_more_is_none) {
  EXPECT_EQ(Fence::parse("79228162514264337593543950335").value(), Fence(~0ULL, ~0U));
  EXPECT_EQ(Fence::parse("79228162514264337593543950336").error(), Errc::invalid_argument);
  EXPECT_EQ(Fence::parse(std::string(1000, '9')).error(), Errc::invalid_argument);
  for (const char* text : {"", "-1", "1x", " 1", "+1"}) EXPECT_FALSE(Fence::parse(text)) << text;
  EXPECT_EQ(Fence::from(Term(-1)).error(), Errc::type_mismatch);
  EXPECT_EQ(Fence::from(Term(1.0)).error(), Errc::type_mismatch);
  EXPECT_EQ(Fence::from(*BigInteger::parse("79228162514264337593543950336")).error(), Errc::type_mismatch);
  EXPECT_EQ(Fence::from(Term(7)).value(), Fence(0, 7));
  EXPECT_EQ(Term(7).to<Fence>().value(), Fence(0, 7));
  EXPECT_EQ(Term(Fence(1, 1)), Term(4294967297));
}

TEST(Fence, can_be_the_key_of_a_hash_table) {
  std::unordered_set<Fence> fences;
  for (std::uint32_t number = 0; number < 1000; ++number) fences.insert({number / 10, number % 10});
  EXPECT_EQ(fences.size(), 1000U);
  EXPECT_TRUE(fences.contains(Fence(5, 5)));
}

TEST(FenceGuard, refuses_earlier_terms) {
  FenceGuard guard;
  EXPECT_FALSE(guard.highest());
  EXPECT_TRUE(guard.admit({5, 0}, "a@h"));
  EXPECT_TRUE(guard.admit({5, 0}, "a@h"));
  EXPECT_TRUE(guard.admit({5, 1}, "b@h"));
  EXPECT_FALSE(guard.admit({5, 0}, "a@h"));
  EXPECT_EQ(guard.highest(), (FenceGuard::Seen{{5, 1}, "b@h"}));
}

TEST(FenceGuard, refuses_an_equal_token_of_another_node) {
  FenceGuard guard({{5, 0}, "b@h"});
  EXPECT_FALSE(guard.admit({5, 0}, "a@h"));
  EXPECT_TRUE(guard.admit({5, 0}, "b@h"));
  EXPECT_TRUE(guard.admit({5, 1}, "a@h"));
}

TEST(FenceGuard, admits_one_node_a_token_whatever_the_threads) {
  FenceGuard guard;
  constexpr std::uint32_t tokens = 2000;
  std::vector<std::vector<bool>> admitted(4, std::vector<bool>(tokens));
  std::vector<std::thread> threads;
  for (std::size_t node = 0; node < admitted.size(); ++node) {
    threads.emplace_back([&, node] {
      const NodeName name("n" + std::to_string(node) + "@h");
      for (std::uint32_t token = 0; token < tokens; ++token) admitted[node][token] = guard.admit({1, token}, name);
    });
  }
  for (auto& thread : threads) thread.join();
  for (std::uint32_t token = 0; token < tokens; ++token) {
    int count = 0;
    for (const auto& of_node : admitted) count += of_node[token] ? 1 : 0;
    EXPECT_LE(count, 1) << token;
  }
  EXPECT_EQ(guard.highest()->fence, Fence(1, tokens - 1));
}

}  // namespace barrel_p2p
