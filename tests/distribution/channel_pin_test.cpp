// A peer is let in when the disk has its key, and the network does not wait for the disk.
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <string>
#include <variant>

#include "distribution/auth/pin_writer.hpp"
#include "distribution/channel_support.hpp"
#include "distribution/encode.hpp"

namespace barrel_p2p::test {
namespace {

using namespace distribution;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

TEST(PinWriter, a_name_is_pinned_when_the_disk_has_its_key_and_others_are_told) {
  const ScratchDirectory scratch;
  const auto store = TrustStore::open(scratch.path(), TrustMode::tofu, {}, {}).value();
  const auto reserve = [&](const NodeName& name, std::uint8_t key) {
    return store->reserve(name, key_of(key).public_key(), test_now().monotonic, test_now().wall);
  };
  std::promise<void> busy;
  std::promise<void> go_on;
  std::promise<std::string> told;
  std::promise<Result<void>> refused;
  PinWriter writer;
  writer.commit(reserve("a@h", 1).value(), [&](const Result<void>& result) {
    EXPECT_TRUE(result) << result.error().message();
    busy.set_value();
    go_on.get_future().wait();
  });
  writer.commit(reserve("b@h", 2).value(), [](const Result<void>& result) { EXPECT_TRUE(result); });
  writer.commit(reserve("b@h", 2).value(), [&](const Result<void>& result) {
    const bool kept = fs::exists(scratch.path() / "trusted" / "b@h.pub") && store->find("b@h");
    told.set_value(result && kept ? "pinned" : "not pinned");
  });
  ASSERT_EQ(busy.get_future().wait_for(20s), std::future_status::ready);
  EXPECT_TRUE(store->find("a@h"));
  // The writer is busy. The store is not, and nothing counts before it is written.
  EXPECT_FALSE(store->find("b@h"));
  writer.commit(reserve("b@h", 3).value(), [&](const Result<void>& result) { refused.set_value(result); });
  EXPECT_TRUE(reserve("b@h", 2).value().holds()) << "the same key waits too";
  go_on.set_value();
  auto answer = told.get_future();
  ASSERT_EQ(answer.wait_for(20s), std::future_status::ready);
  EXPECT_EQ(answer.get(), "pinned");
  auto refusal = refused.get_future();
  ASSERT_EQ(refusal.wait_for(20s), std::future_status::ready);
  EXPECT_EQ(refusal.get().error(), Errc::key_mismatch) << "it was later";
  EXPECT_FALSE(reserve("b@h", 2).value().holds());
}

TEST(PinWriter, has_its_thread_before_the_first_pin) {
  const auto writers = [] {
    int count = 0;
    for (const auto& thread : fs::directory_iterator("/proc/self/task")) {
      std::string name;
      std::getline(std::ifstream(thread.path() / "comm"), name);
      if (name == "bp2p-pins") ++count;
    }
    return count;
  };
  const int before = writers();
  const PinWriter writer;
  EXPECT_TRUE(becomes_true([&] { return writers() == before + 1; }));
}

TEST(PinWriter, what_was_not_begun_when_it_stops_is_free_again) {
  const auto store = TrustStore::in_memory(TrustMode::tofu, {});
  const auto reserve = [&](const NodeName& name, std::uint8_t key) {
    return store->reserve(name, key_of(key).public_key(), test_now().monotonic, test_now().wall);
  };
  std::promise<void> busy;
  std::promise<void> go_on;
  PinWriter writer;
  writer.commit(reserve("a@h", 1).value(), [&](const Result<void>& /*result*/) {
    busy.set_value();
    go_on.get_future().wait();
  });
  ASSERT_EQ(busy.get_future().wait_for(20s), std::future_status::ready);
  writer.commit(reserve("b@h", 2).value(), [](const Result<void>& /*result*/) { ADD_FAILURE() << "it was dropped"; });
  writer.stop();
  EXPECT_TRUE(reserve("b@h", 3).value().commit());
  writer.commit(reserve("c@h", 4).value(), [](const Result<void>& /*result*/) { ADD_FAILURE() << "it has stopped"; });
  go_on.set_value();
}

/// The pin of one of the two is committed when the test says so.
class PinnedChannel : public TwoChannels {
 protected:
  /// To where only the disk of `waits` is waited for.
  bool connect(Side& waits) {
    waits.slow = true;
    dial(accepts.endpoint->local_address());
    return until([&] { return waits.pinned && (&waits == &accepts || accepts.up); });
  }
  /// To the one that dialled.
  void send(std::size_t bytes) {
    const Pid from{"accepts@h", 1, 0, 77};
    const Signal signal{SendName{from, "somebody"}, Term::binary(Bytes(bytes, 7))};
    accepts.channel->send(encode_message(signal, accepts.channel->flags(), from, ++sequence));
  }
  std::uint64_t sequence = 0;
};

TEST_F(PinnedChannel, who_dialled_is_let_in_after_its_pin) {
  ASSERT_TRUE(connect(accepts));
  ASSERT_TRUE(until([this] { return dials.channel->awaits_ack() && dials.channel->queued_bytes() == 0; }));
  EXPECT_FALSE(dials.up || accepts.up);
  EXPECT_EQ(accepts.endpoint->statistics().half_open, 1U);
  EXPECT_FALSE(accepts.settings.trust->find("dials@h"));
  accepts.pinned(accepts.pin.commit());
  EXPECT_TRUE(accepts.up);
  EXPECT_EQ(accepts.endpoint->statistics().half_open, 0U);
  EXPECT_TRUE(accepts.settings.trust->find("dials@h"));
  EXPECT_TRUE(until([this] { return dials.up; }));
}

TEST_F(PinnedChannel, what_comes_before_the_pin_is_kept_waits_for_it) {
  ASSERT_TRUE(connect(dials));
  // As much as the window of a peer that is not admitted yet takes, in pieces of all sizes.
  std::size_t messages = 0;
  for (std::size_t round = 0; round < 250; ++round) {
    send(10);
    send(4000);
    messages += 2;
  }
  ASSERT_TRUE(until([this] { return accepts.channel->queued_bytes() == 0; })) << "all of it has arrived";
  EXPECT_FALSE(dials.up);
  EXPECT_EQ(dials.signals, 0U);
  dials.pinned(dials.pin.commit());
  EXPECT_TRUE(dials.up);
  EXPECT_EQ(dials.signals, messages);
  EXPECT_TRUE(dials.settings.trust->find("accepts@h"));
  EXPECT_FALSE(accepts.ended || dials.ended);
}

TEST_F(PinnedChannel, is_read_on_when_all_who_held_it_have_room_again) {
  ASSERT_TRUE(connect(dials));
  dials.holds = 2;
  dials.pinned(dials.pin.commit());
  constexpr std::size_t messages = 24;
  for (std::size_t round = 0; round < messages; ++round) send(1'000'000);
  ASSERT_TRUE(until([this] { return dials.signals >= 4; }));
  dials.channel->resume_reading();
  until([&] { return dials.signals == messages; }, 500ms);
  EXPECT_LT(dials.signals, messages) << "a window of 8 MiB is full";
  dials.channel->resume_reading();
  EXPECT_TRUE(until([&] { return dials.signals == messages; }));
  EXPECT_FALSE(accepts.ended || dials.ended);
}

TEST_F(PinnedChannel, more_than_the_window_takes_arrives_after_the_pin) {
  ASSERT_TRUE(connect(dials));
  constexpr std::size_t messages = 60;
  for (std::size_t round = 0; round < messages; ++round) send(50'000);
  until([&] { return accepts.channel->queued_bytes() < messages * 50'000 - 1'000'000; });
  EXPECT_FALSE(dials.ended) << dials.ended->error.message();
  dials.pinned({});
  EXPECT_TRUE(until([&] { return dials.signals == messages; })) << dials.signals;
}

TEST_F(PinnedChannel, a_peer_whose_name_went_to_another_key_meanwhile_is_refused) {
  ASSERT_TRUE(connect(accepts));
  ASSERT_TRUE(accepts.settings.trust->pin("dials@h", key_of(9).public_key()));
  accepts.pinned(accepts.pin.commit());
  ASSERT_TRUE(accepts.ended.has_value());
  EXPECT_EQ(accepts.ended->cause, ChannelEnd::Cause::authentication);
  EXPECT_EQ(accepts.ended->error, Errc::key_mismatch);
  EXPECT_TRUE(until([this] { return dials.ended.has_value(); }));
  EXPECT_FALSE(accepts.up || dials.up);
}

TEST_F(PinnedChannel, a_disk_that_refuses_leaves_the_key_in_memory) {
  ASSERT_TRUE(connect(accepts));
  accepts.pinned(fail(Errc::io_error, "no space"));
  EXPECT_TRUE(accepts.up);
}

TEST_F(PinnedChannel, a_disk_that_does_not_answer_ends_the_channel_in_time) {
  ASSERT_TRUE(connect(accepts));
  accepts.channel->tick(monotonic_now() + accepts.settings.handshake_timeout / 2);
  EXPECT_FALSE(accepts.ended);
  accepts.channel->tick(monotonic_now() + accepts.settings.handshake_timeout);
  ASSERT_TRUE(accepts.ended.has_value());
  EXPECT_EQ(accepts.ended->error, Errc::timeout);
  accepts.pinned({});
  EXPECT_FALSE(accepts.up) << "too late";
}

TEST_F(PinnedChannel, a_channel_that_goes_while_the_disk_works_is_forgotten) {
  ASSERT_TRUE(connect(accepts));
  dials.channel->close("gone");
  ASSERT_TRUE(until([this] { return accepts.ended.has_value(); }));
  accepts.pinned({});
  EXPECT_FALSE(accepts.up);
  accepts.channel.reset();
  accepts.pinned({});
}

}  // namespace
}  // namespace barrel_p2p::test
