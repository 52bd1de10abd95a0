// What ngtcp2 allocates for a connection, and what it forgets: LeakSanitizer looks on.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>

#include "quic/connection_memory.hpp"

namespace barrel_p2p::quic {
namespace {

struct ConnectionMemoryTest : testing::Test {
  void* take(std::size_t size) { return mem->malloc(size, mem->user_data); }
  void give_back(void* block) { mem->free(block, mem->user_data); }
  ConnectionMemory memory;
  const ngtcp2_mem* mem = memory.allocator();
};

TEST_F(ConnectionMemoryTest, what_was_forgotten_goes_with_it) {
  void* const first = take(100);
  void* const second = take(0);
  void* const third = take(65'536);
  ASSERT_TRUE(first != nullptr && second != nullptr && third != nullptr);
  EXPECT_EQ(memory.blocks(), 3U);
  give_back(second);
  EXPECT_EQ(memory.blocks(), 2U);
  give_back(nullptr);
  EXPECT_EQ(memory.blocks(), 2U);
}

TEST_F(ConnectionMemoryTest, blocks_are_aligned_zeroed_on_demand_and_keep_their_bytes_when_they_grow) {
  auto* const zeroed = static_cast<std::uint8_t*>(mem->calloc(7, 9, mem->user_data));
  ASSERT_NE(zeroed, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(zeroed) % alignof(std::max_align_t), 0U);
  for (std::size_t at = 0; at < 63; ++at) ASSERT_EQ(zeroed[at], 0) << at;
  std::memset(zeroed, 5, 63);
  auto* const grown = static_cast<std::uint8_t*>(mem->realloc(zeroed, 100'000, mem->user_data));
  ASSERT_NE(grown, nullptr);
  for (std::size_t at = 0; at < 63; ++at) ASSERT_EQ(grown[at], 5) << at;
  EXPECT_EQ(memory.blocks(), 1U);
  give_back(grown);
  EXPECT_EQ(memory.blocks(), 0U);
}

TEST_F(ConnectionMemoryTest, sizes_that_cannot_be_are_refused) {
  constexpr auto most = std::numeric_limits<std::size_t>::max();
  EXPECT_EQ(take(most - 3), nullptr);
  EXPECT_EQ(mem->calloc(most / 2, 3, mem->user_data), nullptr);
  EXPECT_EQ(memory.blocks(), 0U);
}

}  // namespace
}  // namespace barrel_p2p::quic
