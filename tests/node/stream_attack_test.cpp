// Peers that open streams as no honest node does. The attacker has the cookie and a key: it is let in, or tries before.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "distribution/streams/tags.hpp"
#include "node/attacker.hpp"
#include "support/resources.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Attacker;
using test::LinePtr;
using test::mask;
using test::mebibyte;
using test::Step;

constexpr quic::StreamId first_stream = 68;
const std::string evil = "evil@127.0.0.1";

Bytes operator+(Bytes left, std::string_view right) {
  const ByteView view = as_bytes(right);
  left.insert(left.end(), view.begin(), view.end());
  return left;
}

class StreamAttack : public testing::Test {
 protected:
  StreamAttack() { start({}); }
  void start(const test::Cluster::Change& change) {
    acceptor = {};
    victim = &cluster.start("victim", [&](NodeConfig& config) {
      // The attacker answers no probe, and runs only while a test waits.
      config.detector.probe_after = 0ms;
      config.detector.dead_after = 60s;
      if (change) change(config);
    });
    acceptor = victim->accept_streams("t").value();
  }
  LinePtr enter() {
    const auto line = attacker.dial(*victim);
    line->play(own, Step::authenticated);
    EXPECT_EQ(line->shake_hands(evil, "test"), "up");
    return line;
  }
  StreamStatistics counted() { return victim->statistics().streams; }
  bool becomes(const std::function<bool()>& condition, std::chrono::milliseconds limit = 30s) {
    return attacker.await(condition, limit);
  }
  /// The connection still carries streams, and nothing of earlier ones is left when it goes.
  void expect_unharmed(const LinePtr& line, quic::StreamId fresh) {
    line->write(fresh, distribution::preamble("t") + "still here");
    ASSERT_TRUE(becomes([&] { return victim->statistics().streams.open > 0; }));
    auto stream = acceptor.next(30s);
    ASSERT_TRUE(stream.has_value()) << stream.error().message();
    EXPECT_EQ(as_text(stream->read(30s).value()), "still here");
    line->close();
    EXPECT_TRUE(becomes([&] { return counted().open == 0 && victim->statistics().connections == 0; }));
  }
  test::Cluster cluster;
  Attacker attacker;
  const test::Mask own = mask(evil);  ///< It is pinned by the first victim that lets it in.
  Node* victim = nullptr;
  StreamAcceptor acceptor;
};

TEST_F(StreamAttack, streams_before_the_authentication_end_the_connection_and_reach_nobody) {
  for (const Step step : {Step::connected, Step::hello, Step::challenge}) {
    const auto line = attacker.dial(*victim);
    line->play(mask(evil), step);
    line->write(first_stream, distribution::preamble("t") + "let me in", {.fin = true, .own_packet = false});
    EXPECT_EQ(line->ending(), "closed");
  }
  EXPECT_EQ(counted().accepted, 0U);
  EXPECT_EQ(counted().bytes_received, 0U);
  EXPECT_TRUE(becomes([&] { return victim->statistics().connections == 0; }));
}

TEST_F(StreamAttack, streams_during_the_handshake_wait_for_its_end) {
  const auto line = attacker.dial(*victim);
  line->play(mask(evil), Step::authenticated);
  line->write(first_stream, distribution::preamble("t") + "early", {.fin = true, .own_packet = false});
  ASSERT_TRUE(becomes([&] { return line->connection().statistics().bytes_in_flight == 0; }));
  EXPECT_EQ(counted().accepted, 0U) << "who it is is not known yet";
  EXPECT_EQ(line->shake_hands(evil, "test"), "up");
  ASSERT_TRUE(becomes([&] { return counted().accepted == 1; }));
  auto stream = acceptor.next(30s).value();
  EXPECT_EQ(as_text(stream.read(30s).value()), "early");
  EXPECT_TRUE(stream.read(30s).value().empty());
  line->close();
}

TEST_F(StreamAttack, empty_unknown_and_cut_off_tags_are_refused) {
  const auto line = enter();
  line->write(68, Bytes{0, 1, 2, 3});
  line->write(72, distribution::preamble("unknown") + "payload");
  line->write(76, Bytes{9, 'a'}, {.fin = true, .own_packet = false});
  line->write(80, Bytes{}, {.fin = true, .own_packet = false});
  ASSERT_TRUE(becomes([&] { return line->resets.size() == 4; }));
  for (const auto& [stream, code] : line->resets) EXPECT_EQ(code, distribution::code_refused) << stream;
  EXPECT_EQ(counted().refused_tag, 4U);
  EXPECT_EQ(counted().accepted, 0U);
  expect_unharmed(line, 84);
}

TEST_F(StreamAttack, what_follows_a_refused_tag_never_begins_a_stream_of_another) {
  const auto line = enter();
  line->write(68, distribution::preamble("unknown"));
  ASSERT_TRUE(becomes([&] { return line->resets.contains(68); }));
  // QUIC has been told to stop; a peer that lies goes on.
  for (int number = 0; number < 20; ++number) line->write(68, distribution::preamble("t") + "smuggled");
  expect_unharmed(line, 72);
  EXPECT_EQ(counted().accepted, 1U);
}

TEST_F(StreamAttack, streams_without_their_tag_are_accepted_when_it_comes_capped_and_given_up_in_time) {
  start([](NodeConfig& config) {
    config.limits.stream_tag_timeout = 2 * test::patience;
    config.limits.streams_awaiting_tag_max = 8;
  });
  auto line = enter();
  quic::StreamId id = first_stream;
  for (int number = 0; number < 12; ++number, id += 4) line->write(id, Bytes{1});
  ASSERT_TRUE(becomes([&] { return line->resets.size() == 4; })) << line->resets.size();
  EXPECT_EQ(counted().refused_waiting, 4U);
  line->write(first_stream, Bytes{'t'} + "late but there");
  ASSERT_TRUE(becomes([&] { return counted().accepted == 1; }));
  auto stream = acceptor.next(test::patience).value();
  EXPECT_EQ(as_text(stream.read(test::patience).value()), "late but there");
  for (const auto& [refused, code] : line->resets) EXPECT_EQ(code, distribution::code_refused) << refused;
  stream.reset();
  expect_unharmed(line, id);
  // To a node with little time none of them comes in time, however busy the machine is.
  start([](NodeConfig& config) { config.limits.stream_tag_timeout = 500ms; });
  line = enter();
  id = first_stream;
  for (int number = 0; number < 12; ++number, id += 4) line->write(id, Bytes{1});
  ASSERT_TRUE(becomes([&] { return line->resets.size() == 12; })) << line->resets.size();
  EXPECT_EQ(counted().refused_late, 12U);
  for (const auto& [refused, code] : line->resets) EXPECT_EQ(code, distribution::code_refused) << refused;
  expect_unharmed(line, id);
}

TEST_F(StreamAttack, streams_that_are_never_ended_cost_a_bounded_number) {
  start([](NodeConfig& config) {
    config.limits.streams_per_peer_max = 100;
    config.limits.streams_awaiting_tag_max = 200;
    config.limits.stream_tag_timeout = 2 * test::patience;  // what is given up makes room
  });
  const auto line = enter();
  int opened = 0;
  const auto open_more = [&] {
    try {
      line->write(first_stream + 4 * opened, Bytes{1});
      ++opened;
    } catch (const std::runtime_error&) {
    }
    return opened;
  };
  ASSERT_TRUE(becomes([&] { return open_more() >= 100; })) << opened;
  EXPECT_FALSE(becomes([&] { return open_more() > 100; }, 500ms));
  EXPECT_EQ(opened, 100);
  line->close();
  EXPECT_TRUE(becomes([&] { return counted().open == 0; }));
}

TEST_F(StreamAttack, a_peer_that_fills_more_than_may_be_unread_loses_the_stream_and_messages_pass) {
  start([](NodeConfig& config) { config.limits.stream_unread_bytes_max = 32 * mebibyte; });
  const auto line = enter();
  const auto before = test::resources();
  // An honest node leaves a part of the window to its messages.
  for (int number = 0; number < 8; ++number) {
    line->write(first_stream + 4 * number, distribution::preamble("t"));
    line->write(first_stream + 4 * number, Bytes(7 * mebibyte));
  }
  ASSERT_TRUE(becomes([&] { return counted().reset_unread > 0; }));
  ASSERT_TRUE(becomes([&] { return line->connection().queued_bytes() == 0; }));
  EXPECT_LE(victim->statistics().streams.open, 5U);
  // Word of it comes behind the last acknowledgement, maybe.
  EXPECT_TRUE(becomes([&] {
    return std::ranges::any_of(line->resets,
                               [](const auto& one) { return one.second == distribution::code_too_much_unread; });
  }));
  // What the attacker itself held of it is in this figure as well.
  EXPECT_LE(test::resources().heap_bytes - before.heap_bytes, static_cast<std::int64_t>(2 * 34 * mebibyte));
  EXPECT_FALSE(line->closed());
  while (auto stream = acceptor.next(10ms)) stream->reset();
  expect_unharmed(line, first_stream + 4 * 8);
}

TEST_F(StreamAttack, a_peer_that_stops_a_stream_of_signals_loses_the_connection) {
  const auto line = enter();
  quic::StreamId signals = -1;
  line->tap = [&](quic::StreamId stream, ByteView bytes) {
    if (std::string(bytes.begin(), bytes.end()).find("nobody") != std::string::npos) signals = stream;
  };
  const auto send = [&] { std::ignore = victim->send(RemoteName(Atom("nobody"), NodeName(evil)), Atom("hello")); };
  ASSERT_TRUE(becomes([&] { return send(), signals >= 0; }));
  line->connection().stop_reading(signals, 7);
  EXPECT_TRUE(becomes([&] { return send(), line->closed(); }));
}

TEST_F(StreamAttack, bytes_ends_and_resets_in_any_order_leave_nothing) {
  const auto line = enter();
  std::uint64_t seed = 7;
  const auto next = [&](std::uint64_t below) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (seed >> 33U) % below;
  };
  quic::StreamId last = first_stream;
  for (int step = 0; step < 4'000 && !line->closed(); ++step) {
    const quic::StreamId id = first_stream + 4 * static_cast<quic::StreamId>(next(900));
    last = std::max(last, id);
    switch (next(6)) {
      case 0: line->connection().reset(id, next(1U << 20U)); break;
      case 1: line->connection().stop_reading(id, next(1U << 20U)); break;
      case 2: line->write(id, distribution::preamble("t") + "some bytes"); break;
      default: {
        Bytes bytes(next(40));
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(next(5) == 0 ? next(256) : next(3));
        line->write(id, std::move(bytes), {.fin = next(8) == 0, .own_packet = false});
      }
    }
    if (step % 50 == 0) becomes([] { return false; }, 1ms);
    while (auto stream = acceptor.next(0ms)) {
      if (next(2) == 0) stream->reset(next(1000));
    }
  }
  EXPECT_FALSE(line->closed()) << "it said nothing that QUIC forbids";
  line->close();
  EXPECT_TRUE(becomes([&] { return counted().open == 0 && victim->statistics().connections == 0; }))
      << counted().open << " streams";
  while (auto stream = acceptor.next(0ms)) stream->reset();
  Node& honest = cluster.start("honest");
  EXPECT_TRUE(test::Cluster::connects(honest, *victim));
}

}  // namespace
}  // namespace barrel_p2p
