// Which stream is next: classes, fairness by bytes, what is kept for repetition.
#include "quic/send_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

namespace barrel_p2p::quic {
namespace {

constexpr StreamId first_user_stream = 68;

class Turns : public testing::Test {
 protected:
  void write(StreamId id, std::size_t bytes, WriteOptions options = {}) {
    queue.push(id, SharedBytes(Bytes(bytes)), options);
  }
  void write_bulk(StreamId id, std::size_t bytes) {
    queue.set_urgency(id, Urgency::bulk);
    write(id, bytes);
  }
  /// Sends one packet with room for so many bytes. Returns its stream, or -1.
  StreamId packet(std::size_t room = 1200, bool bulk = true) {
    StreamId id = -1;
    SendStream* const stream = queue.next(id, bulk);
    if (stream == nullptr) return -1;
    const auto bytes = std::min<std::uint64_t>(room, stream->together());
    queue.sent(id, bytes, stream->fin && stream->sent + bytes == stream->end);
    return id;
  }
  SendQueue queue;
};

TEST_F(Turns, small_writes_that_wait_are_few_parts_and_keep_their_bytes) {
  Bytes expected;
  for (unsigned at = 0; at < 2'000; ++at) {
    Bytes bytes(at % 90 + 1, static_cast<std::uint8_t>(at));
    expected.insert(expected.end(), bytes.begin(), bytes.end());
    queue.push(first_user_stream, SharedBytes(std::move(bytes)), {});
    if (at % 7 == 0) packet(50);
    if (at == 1'000) packet(100'000);  // All of it: the next write begins a chunk.
  }
  const SendStream& stream = *queue.find(first_user_stream);
  EXPECT_LT(stream.chunks.size(), 20U);
  EXPECT_EQ(queue.queued_bytes(), expected.size());
  Bytes kept;
  for (const auto& chunk : stream.chunks) kept.insert(kept.end(), chunk.view.begin(), chunk.view.end());
  EXPECT_EQ(kept, expected);
  std::uint64_t acked = 0;
  while (acked < stream.sent)
    queue.acknowledge(first_user_stream, acked += std::min<std::uint64_t>(777, stream.sent - acked));
  EXPECT_EQ(queue.queued_bytes(), stream.end - stream.sent);
}

TEST_F(Turns, large_writes_are_not_copied) {
  const Bytes large(2'048);
  write(first_user_stream, 10);
  queue.push(first_user_stream, SharedBytes(ByteView(large), nullptr), {});
  EXPECT_EQ(queue.find(first_user_stream)->chunks.back().view.data(), large.data());
}

TEST_F(Turns, control_goes_before_signals_and_signals_before_bulk) {
  write_bulk(first_user_stream, 5000);
  write(4, 2400);
  write(0, 10);
  EXPECT_EQ(packet(), 0);
  EXPECT_EQ(packet(), 4);
  EXPECT_EQ(packet(), 4);
  EXPECT_EQ(packet(), first_user_stream);
}

TEST_F(Turns, bulk_gets_one_packet_in_sixteen_while_signals_fill_the_line) {
  write(4, 1000 * 1200);
  write_bulk(first_user_stream, 1000 * 1200);
  int bulk = 0;
  for (int number = 0; number < 320; ++number) bulk += packet() == first_user_stream ? 1 : 0;
  EXPECT_EQ(bulk, 20);
}

TEST_F(Turns, a_thousand_streams_share_by_bytes_whatever_the_size_of_their_writes) {
  constexpr int streams = 1000;
  std::map<StreamId, std::size_t> served;
  for (int number = 0; number < streams; ++number) {
    const StreamId id = first_user_stream + 4 * number;
    queue.set_urgency(id, Urgency::bulk);
    served[id] = 0;
  }
  // Some offer a whole packet each time, others a few bytes.
  const auto offer = [&](StreamId id) { return id % 3 == 0 ? 50UL : 1200UL; };
  for (const auto& [id, bytes] : served) write(id, offer(id));
  std::size_t total = 0;
  while (total < 20UL * 1000 * 1000) {
    StreamId id = -1;
    SendStream* const stream = queue.next(id, true);
    ASSERT_NE(stream, nullptr);
    const std::uint64_t bytes = stream->end - stream->sent;
    queue.sent(id, bytes, false);
    served[id] += bytes;
    total += bytes;
    write(id, offer(id));
  }
  const auto [least, most] = std::ranges::minmax_element(served, {}, [](const auto& one) { return one.second; });
  EXPECT_LT(static_cast<double>(most->second) / static_cast<double>(least->second), 1.1);
}

TEST_F(Turns, who_was_idle_has_saved_nothing_up) {
  write_bulk(68, 100'000);
  for (int number = 0; number < 50; ++number) packet();
  write_bulk(72, 100'000);
  int late = 0;
  for (int number = 0; number < 20; ++number) late += packet() == 72 ? 1 : 0;
  EXPECT_GE(late, 9);
  EXPECT_LE(late, 11);
}

TEST_F(Turns, a_blocked_stream_is_left_out_until_it_has_room) {
  write_bulk(68, 5000);
  write_bulk(72, 5000);
  queue.block(68);
  EXPECT_EQ(packet(), 72);
  EXPECT_EQ(packet(), 72);
  queue.unblock(68);
  EXPECT_EQ(packet(), 68);
}

TEST_F(Turns, the_beginning_of_a_bulk_stream_can_go_with_the_signals) {
  write_bulk(68, 5000);
  write(72, 10);
  queue.bulk_from_here(72);
  write(72, 90);
  EXPECT_EQ(packet(1200, false), 72);
  EXPECT_EQ(queue.find(72)->sent, 10U) << "what follows is not in the same packet";
  EXPECT_EQ(packet(1200, false), -1) << "it is bulk, as the other stream";
  EXPECT_EQ(queue.queued_bytes(), 0U);
  EXPECT_EQ(packet(), 68);
  EXPECT_EQ(packet(), 72);
}

TEST_F(Turns, bulk_is_held_while_the_window_is_for_signals) {
  write_bulk(68, 5000);
  EXPECT_EQ(packet(1200, false), -1);
  write(4, 10);
  EXPECT_EQ(packet(1200, false), 4);
}

TEST_F(Turns, only_signals_count_as_queued) {
  write(4, 1000);
  write_bulk(68, 5000);
  EXPECT_EQ(queue.queued_bytes(), 1000U);
  packet();
  EXPECT_EQ(queue.queued_bytes(), 1000U) << "sent is not arrived";
  queue.acknowledge(4, 400);
  EXPECT_EQ(queue.queued_bytes(), 600U);
  queue.erase(4);
  EXPECT_EQ(queue.queued_bytes(), 0U);
}

TEST_F(Turns, what_was_sent_of_an_abandoned_stream_is_kept_until_it_is_acknowledged) {
  const auto owner = std::make_shared<Bytes>(10'000);
  queue.set_urgency(68, Urgency::bulk);
  queue.push(68, SharedBytes(*owner, owner), {});
  packet(1000);
  queue.abandon(68);
  EXPECT_EQ(packet(), -1) << "nothing more goes out";
  EXPECT_EQ(owner.use_count(), 2) << "ngtcp2 may repeat what was sent";
  queue.acknowledge(68, 1000);
  EXPECT_EQ(owner.use_count(), 1);
  write(68, 10);
  EXPECT_EQ(packet(), -1);
}

TEST_F(Turns, a_frame_of_its_own_is_not_merged_with_what_follows) {
  write(0, 30, {.fin = false, .own_packet = true});
  write(0, 40, {.fin = true, .own_packet = false});
  StreamId id = -1;
  const SendStream* const stream = queue.next(id, true);
  EXPECT_EQ(stream->together(), 30U);
  queue.sent(0, 30, false);
  EXPECT_TRUE(queue.find(0)->own_packets.empty());
  EXPECT_EQ(packet(), 0);
  EXPECT_TRUE(queue.find(0)->fin_sent);
}

}  // namespace
}  // namespace barrel_p2p::quic
