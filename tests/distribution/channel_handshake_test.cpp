// When the messages of a handshake are sent.
#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

#include "distribution/channel_support.hpp"
#include "relay/udp_relay.hpp"

namespace barrel_p2p::test {
namespace {

using ShakenHands = TwoChannels;

TEST_F(ShakenHands, a_challenge_does_not_wait_until_one_of_ours_has_acknowledged_the_status) {
  relay::UdpRelay relay(context, accepts.endpoint->local_address().port());
  for (const auto answer : {HandshakeAnswer::ok, HandshakeAnswer::ok_simultaneous}) {
    accepts.answer = answer;
    dials.up = accepts.up = false;
    accepts.named = [&] { relay.weather.outwards_silent = true; };  // from now on nothing is acknowledged
    dial(quic::Address::make("127.0.0.1", relay.port()).value());
    EXPECT_TRUE(until([this] { return dials.channel->awaits_ack(); })) << "the challenge has come, and was answered";
    relay.weather.outwards_silent = false;
    EXPECT_TRUE(until([this] { return dials.up && accepts.up; }));
    EXPECT_LT(accepts.channel->connection().peer_ack_delay(), 25ms) << "how ours are known";
    dials.channel->close("the next one");
  }
}

TEST_F(ShakenHands, an_erlang_node_has_a_moment_to_take_the_status) {
  dials.settings.creation = 4;
  std::vector<std::pair<Milliseconds, std::function<void()>>> pauses;
  accepts.after = [&](Milliseconds time, std::function<void()> then) { pauses.emplace_back(time, std::move(then)); };
  dial(accepts.endpoint->local_address());
  ASSERT_TRUE(until([&] { return !pauses.empty(); }));
  ASSERT_EQ(pauses.size(), 1U);
  EXPECT_GE(pauses.front().first, 10ms);
  EXPECT_FALSE(dials.channel->undecided()) << "it has the status";
  EXPECT_FALSE(dials.channel->awaits_ack());
  pauses.front().second();
  EXPECT_TRUE(until([this] { return dials.up && accepts.up; }));
}

}  // namespace
}  // namespace barrel_p2p::test
