// What waits for one peer, and its bounds.
#include <gtest/gtest.h>

#include <utility>

#include "distribution/outbox.hpp"

namespace barrel_p2p::distribution {
namespace {

using Pushed = Outbox::Pushed;

constexpr std::size_t mib = 1024UL * 1024;

Outbox::PushResult push(Outbox& outbox, std::uint64_t epoch, bool essential) {
  OutgoingMessage message;
  message.bytes = mib;
  return outbox.push(epoch, std::move(message), essential);
}

void come_up(Outbox& outbox, std::uint64_t epoch) { ASSERT_TRUE(outbox.set_up(epoch, 0, 0).empty()); }

TEST(Outbox, answers_have_a_higher_bound_of_their_own_at_which_the_channel_is_to_be_closed) {
  Outbox outbox({mib, 2 * mib});
  come_up(outbox, 1);
  EXPECT_EQ(push(outbox, 1, false).outcome, Pushed::accepted);
  EXPECT_EQ(push(outbox, 1, false).outcome, Pushed::busy);
  EXPECT_EQ(push(outbox, 1, false).outcome, Pushed::full);
  for (int count = 2; count < 8; ++count) EXPECT_EQ(push(outbox, 1, true).outcome, Pushed::busy) << count;
  const auto first = push(outbox, 1, true);
  EXPECT_EQ(first.outcome, Pushed::unread);
  EXPECT_TRUE(first.wake);
  const auto second = push(outbox, 1, true);
  EXPECT_EQ(second.outcome, Pushed::unread);
  EXPECT_FALSE(second.wake) << "told once is enough";
  EXPECT_EQ(outbox.waiting_bytes(), 8 * mib);
}

TEST(Outbox, what_the_transport_holds_counts_towards_the_bound_of_answers) {
  Outbox outbox({mib, 2 * mib});
  come_up(outbox, 1);
  (void)outbox.set_transport_queue(8 * mib);
  EXPECT_EQ(push(outbox, 1, true).outcome, Pushed::unread);
  (void)outbox.set_transport_queue(0);
  EXPECT_EQ(push(outbox, 1, true).outcome, Pushed::accepted);
}

TEST(Outbox, a_small_queue_takes_answers_up_to_some_mebibytes) {
  Outbox outbox({1024, 1024});
  come_up(outbox, 1);
  for (int count = 0; count < 4; ++count) EXPECT_EQ(push(outbox, 1, true).outcome, Pushed::busy) << count;
  EXPECT_EQ(push(outbox, 1, true).outcome, Pushed::unread);
}

TEST(Outbox, the_next_channel_begins_empty) {
  Outbox outbox({mib, mib});
  come_up(outbox, 1);
  (void)outbox.set_transport_queue(4 * mib);
  EXPECT_TRUE(push(outbox, 1, true).wake);
  EXPECT_EQ(outbox.set_down({}), 0U);
  come_up(outbox, 2);
  EXPECT_EQ(push(outbox, 2, true).outcome, Pushed::accepted);
  (void)outbox.set_transport_queue(4 * mib);
  EXPECT_TRUE(push(outbox, 2, true).wake) << "of another channel";
}

TEST(Outbox, signals_that_wait_for_a_channel_have_the_same_bounds) {
  Outbox outbox({mib, mib});
  const auto wait = [&outbox] {
    Signal signal{Link{}, {}};
    return outbox.push_waiting(std::move(signal), {}, mib, true, true, {}).outcome;
  };
  for (int count = 0; count < 4; ++count) EXPECT_NE(wait(), Pushed::full) << count;
  EXPECT_EQ(wait(), Pushed::full);
}

}  // namespace
}  // namespace barrel_p2p::distribution
