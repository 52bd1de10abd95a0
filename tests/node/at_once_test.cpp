// A peer that dials us while we dial it, step by step: what it must hear, and what it must not hear too early. Sources:
// protocol document 01, section 5.5; distribution/dial_rules.hpp.
#include <gtest/gtest.h>

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "node/attacker.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::Attacker;
using test::Mask;
using test::mask;
using test::Step;

constexpr quic::StreamId control_stream = 0;

/// What an Erlang node made for itself: it tells the node under test that the peer needs its time.
std::shared_ptr<const quic::Credentials> erlang_credentials() {
  const auto rows = test::read_vectors("auth_certs.json");
  const auto& row = rows.as_array().front();
  return quic::Credentials::from_pem(test::text_of(row, "cert_pem"), test::text_of(row, "key_pem")).value();
}

class AtOnce : public testing::Test {
 protected:
  AtOnce()
      : node(cluster.start("victim", [this](NodeConfig& config) {
          for (const char* name : {"a@127.0.0.1", "z@127.0.0.1"}) {
            config.static_nodes[name] = "127.0.0.1:" + std::to_string(peer.port());
          }
          config.log_sink = [this](LogLevel /*level*/, std::string_view line) {
            if (line.find("wants to connect while") != std::string_view::npos) told = true;
          };
        })) {}

  /// A connection of the peer, on which it told its name while the node waits for the answer to its own.
  test::LinePtr held(const Mask& lesser) {
    auto line = peer.dial(node);
    line->play(lesser, Step::name);
    EXPECT_TRUE(peer.await([this] { return told.load(); }));
    return line;
  }

  std::atomic<bool> told = false;
  test::Cluster cluster;
  Attacker peer{"127.0.0.1", erlang_credentials()};
  Node& node;
};

// An Erlang node hands a new connection from one process to another after its last word of the authentication, and
// loses what comes in between.
TEST_F(AtOnce, our_name_follows_the_authentication_after_a_pause) {
  const Mask lesser = mask("a@127.0.0.1");
  auto dial = test::begin_dial(node, lesser.name);
  const auto ours = peer.accept();
  const auto before = Clock::now();  // afterwards a test that waits for its turn would find the pause over
  ours->play(lesser, Step::authenticated);
  ASSERT_TRUE(peer.await([&] { return !ours->heard(control_stream).empty(); }));
  EXPECT_GE(Clock::now() - before, 10ms);
  EXPECT_EQ(ours->shake_hands(lesser.name.string(), "test"), "up");
  EXPECT_TRUE(peer.outcome(dial).has_value());
}

// Closed at once, the end of the losing attempt would overtake our name at an Erlang node, which would report a failure
// to whoever asked it to connect.
TEST_F(AtOnce, the_attempt_of_a_lesser_peer_is_held_until_it_has_had_time_to_read_our_name) {
  const Mask lesser = mask("a@127.0.0.1");
  auto dial = test::begin_dial(node, lesser.name);
  const auto ours = peer.accept();
  const auto before = Clock::now();
  ours->play(lesser, Step::name);
  ASSERT_FALSE(ours->heard(control_stream).empty());
  const auto theirs = held(lesser);
  EXPECT_EQ(theirs->ending(), "closed");
  EXPECT_GE(Clock::now() - before, 100ms);
  EXPECT_TRUE(theirs->heard(control_stream).empty()) << "an Erlang node takes any answer as its own to go on with";
  EXPECT_EQ(ours->shake_hands(lesser.name.string(), "test"), "up");
  EXPECT_TRUE(peer.outcome(dial).has_value());
}

TEST_F(AtOnce, the_attempt_of_a_lesser_peer_is_closed_when_ours_is_up) {
  const Mask lesser = mask("a@127.0.0.1");
  auto dial = test::begin_dial(node, lesser.name);
  const auto ours = peer.accept();
  ours->play(lesser, Step::name);
  const auto theirs = held(lesser);
  EXPECT_EQ(ours->shake_hands(lesser.name.string(), "test"), "up");
  EXPECT_TRUE(peer.outcome(dial).has_value());
  EXPECT_EQ(theirs->ending(), "closed");
  EXPECT_FALSE(ours->closed());
  EXPECT_EQ(node.nodes(), std::vector<NodeName>{lesser.name});
}

TEST_F(AtOnce, both_attempts_failed_and_the_dial_still_comes_to_a_connection) {
  const Mask lesser = mask("a@127.0.0.1");
  auto dial = test::begin_dial(node, lesser.name);
  const auto first = peer.accept();
  first->play(lesser, Step::name);
  const auto theirs = held(lesser);
  first->close();
  EXPECT_EQ(theirs->ending(), "closed");
  EXPECT_TRUE(theirs->heard(control_stream).empty()) << "the peer may have read our name, and wait for this end";
  const auto second = peer.accept();
  second->play(lesser, Step::authenticated);
  EXPECT_EQ(second->shake_hands(lesser.name.string(), "test"), "up");
  EXPECT_TRUE(peer.outcome(dial).has_value());
}

TEST_F(AtOnce, the_attempt_of_a_greater_peer_is_answered_and_ours_is_dropped) {
  const Mask greater = mask("z@127.0.0.1");
  auto dial = test::begin_dial(node, greater.name);
  const auto ours = peer.accept();
  ours->play(greater, Step::name);
  const auto theirs = peer.dial(node);
  theirs->play(greater, Step::authenticated);
  EXPECT_EQ(theirs->shake_hands(greater.name.string(), "test"), "up");
  EXPECT_TRUE(peer.outcome(dial).has_value());
  EXPECT_EQ(ours->ending(), "closed");
}

TEST_F(AtOnce, a_name_that_comes_before_ours_is_out_is_answered_whoever_is_greater) {
  const Mask lesser = mask("a@127.0.0.1");
  auto dial = test::begin_dial(node, lesser.name);
  const auto ours = peer.accept();
  ours->play(lesser, Step::challenge);
  const auto theirs = peer.dial(node);
  theirs->play(lesser, Step::authenticated);
  EXPECT_EQ(theirs->shake_hands(lesser.name.string(), "test"), "up");
  EXPECT_TRUE(peer.outcome(dial).has_value());
  EXPECT_EQ(ours->ending(), "closed");
  EXPECT_TRUE(ours->heard(control_stream).empty());
}

}  // namespace
}  // namespace barrel_p2p
