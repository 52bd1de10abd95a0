// Peers that lie, against a real node over real QUIC. After each attack the node must be as it was: nobody connected,
// no pin that it should not have, nothing left open, and an honest node gets in. Threats: protocol document 02, section
// 11; what the node answers: sections 6 and 15.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <mutex>
#include <ostream>
#include <set>
#include <string>

#include "base/random.hpp"
#include "distribution/encode.hpp"
#include "node/attacker.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using namespace distribution;
using test::Attacker;
using test::fresh_challenge;
using test::LinePtr;
using test::Mask;
using test::mask;
using test::Step;

std::set<std::string> pinned_names(const Node& node) {
  std::set<std::string> names;
  for (const auto& pin : node.keys()) names.insert(pin.node.string());
  return names;
}

/// Enough for what comes before the silence, on a busy machine too.
constexpr auto little_time = 3s;

void keep_little_time(NodeConfig& config) {
  config.authentication.handshake_timeout = little_time;
  config.setup_timeout = little_time;
}

class Attack : public testing::Test {
 protected:
  Attack() : victim(&start_victim({})) {}
  /// Whatever was tried, this is what must be left of it.
  void TearDown() override { expect_unharmed(); }

  void restart_victim(const test::Cluster::Change& change) {
    cluster.stop("victim");
    victim = &start_victim(change);
  }
  void expect_nothing_left(Node& node) {
    EXPECT_TRUE(attacker.await([&] {
      const auto now = node.statistics();
      return now.connections == 0 && now.half_open == 0;
    })) << node.statistics().connections
        << " connections, " << node.statistics().half_open << " half open";
  }
  void expect_unharmed() {
    EXPECT_TRUE(victim->nodes().empty());
    expect_nothing_left(*victim);
    EXPECT_EQ(pinned_names(*victim), may_be_pinned);
    Node& honest = cluster.start("honest");
    EXPECT_TRUE(cluster.connects(honest, *victim));
    EXPECT_TRUE(victim->ping(honest.name()).has_value());
    EXPECT_EQ(victim->nodes(), std::vector<NodeName>{honest.name()});
  }
  /// What an attacker with this mask hears, who does everything right as far as it can.
  std::string try_to_enter(const Mask& who) {
    const auto line = attacker.dial(*victim);
    line->say(AuthHello{who.name, who.key.public_key()});
    if (!line->next()) return line->ending();
    if (const auto challenge = line->next()) {
      line->say(fresh_challenge());
      if (line->next()) line->say(line->answer(std::get<AuthChallenge>(*challenge), who.key));
    }
    return line->ending();
  }
  /// The victim dials `name`, which is the attacker; `play` does what it wants with the connection.
  Error dialled(const std::string& name, const std::function<void(const LinePtr&)>& play) {
    auto dial = test::begin_dial(*victim, name);
    play(attacker.accept());
    const auto result = attacker.outcome(dial);
    EXPECT_FALSE(result.has_value());
    return result ? Error(Errc::invalid_argument, "connected") : result.error();
  }
  /// Puts a challenge to the victim, which dialled and has the status. Nothing: it closed the connection.
  std::optional<ReplyMessage> reply_to(const LinePtr& line, const Mask& who, std::uint32_t challenge) {
    const std::size_t before = line->heard(0).size();
    line->write(0, encode(ChallengeMessage{offered_flags, challenge, 77, who.name.atom()}));
    attacker.await([&] { return line->heard(0).size() >= before + reply_bytes || line->closed(); });
    if (line->heard(0).size() < before + reply_bytes) return std::nullopt;
    return decode_reply(ByteView(line->heard(0)).subspan(before)).value();
  }
  /// Why the victim refused who dialled it at last.
  std::string refusal() {
    std::string reason;
    attacker.await([&] {
      for (const auto& entry : victim->flight_record()) {
        if (entry.kind == FlightEntry::Kind::refused) reason = entry.reason;
      }
      return !reason.empty();
    });
    return reason;
  }
  void expect_error(const Error& error, Errc code, const std::string& word) {
    EXPECT_EQ(error.code(), code) << error.message();
    EXPECT_NE(error.message().find(word), std::string::npos) << error.message();
  }

  test::Cluster cluster;
  Attacker attacker;
  Node* victim;
  std::set<std::string> may_be_pinned;

 private:
  Node& start_victim(const test::Cluster::Change& change) {
    return cluster.start("victim", [&](NodeConfig& config) {
      for (const char* name : {"mallory@127.0.0.1", "relayed@127.0.0.1"}) {
        config.static_nodes[name] = "127.0.0.1:" + std::to_string(attacker.port());
      }
      if (change) change(config);
    });
  }
};

// Keys and names.

TEST_F(Attack, another_key_for_a_pinned_name_is_refused_in_both_directions) {
  const Mask owner = mask("mallory@127.0.0.1");
  ASSERT_TRUE(victim->pin(owner.name, to_hex(owner.key.public_key())).has_value());
  may_be_pinned = {"mallory@127.0.0.1"};
  const Mask thief = mask("mallory@127.0.0.1");
  EXPECT_EQ(try_to_enter(thief), "FAIL key_mismatch");
  expect_error(dialled("mallory@127.0.0.1",
                       [&](const LinePtr& line) {
                         line->play(thief, Step::hello);
                         EXPECT_EQ(line->ending(), "closed");
                       }),
               Errc::key_mismatch, "key_mismatch");
  EXPECT_EQ(victim->keys()[0].key, to_hex(owner.key.public_key()));
}

TEST_F(Attack, the_pinned_key_without_its_secret_proves_nothing) {
  const Mask owner = mask("mallory@127.0.0.1");
  ASSERT_TRUE(victim->pin(owner.name, to_hex(owner.key.public_key())).has_value());
  may_be_pinned = {"mallory@127.0.0.1"};
  const auto line = attacker.dial(*victim);
  line->say(AuthHello{owner.name, owner.key.public_key()});
  line->next_as<AuthHello>();
  const auto challenge = line->next_as<AuthChallenge>();
  line->say(fresh_challenge());
  line->next_as<AuthResponse>();
  line->say(line->answer(challenge, PrivateKey::generate()));
  EXPECT_EQ(line->ending(), "FAIL signature_invalid");
}

TEST_F(Attack, another_nodes_valid_key_under_a_wrong_name_is_refused) {
  const Mask own = mask("mallory@127.0.0.1");
  const Mask other = mask("bob@127.0.0.1");
  ASSERT_TRUE(victim->pin(own.name, to_hex(own.key.public_key())).has_value());
  ASSERT_TRUE(victim->pin(other.name, to_hex(other.key.public_key())).has_value());
  may_be_pinned = {"mallory@127.0.0.1", "bob@127.0.0.1"};
  EXPECT_EQ(try_to_enter({other.name, own.key}), "FAIL key_mismatch");
  // As the one who is dialled: with a name and a key that are both good, but not those that were dialled.
  expect_error(dialled("mallory@127.0.0.1",
                       [&](const LinePtr& line) {
                         line->play(other, Step::hello);
                         EXPECT_EQ(line->ending(), "closed");
                       }),
               Errc::auth_failed, "name_not_dialled");
}

TEST_F(Attack, a_key_that_has_another_name_already_is_refused_where_the_operator_wants_it) {
  restart_victim([](NodeConfig& config) { config.authentication.refuse_shared_keys = true; });
  const Mask own = mask("mallory@127.0.0.1");
  ASSERT_TRUE(victim->pin(own.name, to_hex(own.key.public_key())).has_value());
  may_be_pinned = {"mallory@127.0.0.1"};
  EXPECT_EQ(try_to_enter({NodeName("bob@127.0.0.1"), own.key}), "FAIL shared_key");
}

TEST_F(Attack, the_name_in_the_distribution_handshake_must_be_the_proven_one) {
  const auto line = attacker.dial(*victim);
  line->play(mask("mallory@127.0.0.1"), Step::authenticated);
  EXPECT_EQ(line->shake_hands("bob@127.0.0.1", "test"), "closed");
  expect_error(dialled("mallory@127.0.0.1",
                       [&](const LinePtr& incoming) {
                         incoming->play(mask("mallory@127.0.0.1"), Step::authenticated);
                         EXPECT_EQ(incoming->shake_hands("bob@127.0.0.1", "test"), "closed");
                       }),
               Errc::handshake_failed, "name");
}

TEST_F(Attack, a_small_order_key_is_refused) {
  const PublicKey neutral{1};  // 01 00..00: with OpenSSL its signature 01 00..00 verifies for every text
  const auto line = attacker.dial(*victim);
  line->say(AuthHello{NodeName("mallory@127.0.0.1"), neutral});
  EXPECT_EQ(line->ending(), "FAIL weak_key");
  expect_error(dialled("mallory@127.0.0.1",
                       [&](const LinePtr& incoming) {
                         incoming->next_as<AuthHello>();
                         incoming->say(AuthHello{NodeName("mallory@127.0.0.1"), neutral});
                         EXPECT_EQ(incoming->ending(), "closed");
                       }),
               Errc::auth_failed, "weak_key");
}

// Reflection and replay.

TEST_F(Attack, what_the_victim_said_is_refused_when_it_comes_back) {
  const auto stranger = attacker.dial(*victim);
  const Mask nobody = mask("mallory@127.0.0.1");
  stranger->say(AuthHello{nobody.name, nobody.key.public_key()});
  const auto hello = stranger->next_as<AuthHello>();
  const auto challenge = stranger->next_as<AuthChallenge>();
  stranger->say(challenge);  // its own nonce
  EXPECT_EQ(stranger->ending(), "FAIL reflected");

  const auto same_name = attacker.dial(*victim);
  same_name->say(hello);
  EXPECT_EQ(same_name->ending(), "FAIL reflected");

  const auto same_key = attacker.dial(*victim);
  same_key->say(AuthHello{nobody.name, hello.key});
  EXPECT_EQ(same_key->ending(), "FAIL reflected");

  // The victim dials, and hears itself.
  expect_error(dialled("mallory@127.0.0.1",
                       [&](const LinePtr& line) {
                         line->next_as<AuthHello>();
                         line->say(AuthHello{nobody.name, hello.key});
                         EXPECT_EQ(line->ending(), "closed");
                       }),
               Errc::auth_failed, "reflected");
}

TEST_F(Attack, two_dials_of_the_victim_cannot_be_played_against_each_other) {
  restart_victim(keep_little_time);
  // The victim dials the attacker, who answers with what the victim says where it is dialled itself.
  auto dial = test::begin_dial(*victim, NodeName("mallory@127.0.0.1"));
  const auto incoming = attacker.accept();
  const auto its_hello = incoming->next_as<AuthHello>();
  const auto outgoing = attacker.dial(*victim);
  outgoing->say(AuthHello{NodeName("mallory@127.0.0.1"), its_hello.key});
  EXPECT_EQ(outgoing->ending(), "FAIL reflected");
  incoming->close();
  EXPECT_FALSE(attacker.outcome(dial).has_value());
}

// The digest that proves the cookie says nothing of who asked for it, and the one who dials gives his first.

TEST_F(Attack, a_challenge_of_the_victim_is_not_answered_where_the_victim_dials) {
  const Mask asking = mask("mallory@127.0.0.1");
  auto dial = test::begin_dial(*victim, asking.name);
  const auto asked = attacker.accept();
  asked->play(asking, Step::status);
  const auto entering = attacker.dial(*victim);
  entering->play(mask("eve@127.0.0.1"), Step::status);
  constexpr std::size_t status_bytes = 3;  // "sok"
  const auto challenge = decode_challenge(ByteView(entering->heard(0)).subspan(status_bytes)).value();
  if (const auto reply = reply_to(asked, asking, challenge.challenge)) {
    ADD_FAILURE() << "the victim proves the cookie to itself";
    const std::size_t before = entering->heard(0).size();
    entering->write(0, encode(*reply));
    attacker.await([&] { return entering->heard(0).size() >= before + ack_bytes || entering->closed(); });
    const Bytes& heard = entering->heard(0);
    asked->write(0, Bytes(heard.begin() + static_cast<std::ptrdiff_t>(before), heard.end()));
  }
  EXPECT_EQ(asked->ending(), "closed");
  const auto result = attacker.outcome(dial);
  ASSERT_FALSE(result.has_value());
  expect_error(result.error(), Errc::handshake_failed, "reflected");
  entering->close();
}

TEST_F(Attack, a_challenge_of_one_dial_of_the_victim_is_not_answered_on_another) {
  const Mask first = mask("mallory@127.0.0.1");
  const Mask second = mask("relayed@127.0.0.1");
  auto first_dial = test::begin_dial(*victim, first.name);
  const auto entering = attacker.accept();
  entering->play(first, Step::status);
  const auto told = reply_to(entering, first, random_uint32());
  ASSERT_TRUE(told.has_value());
  auto second_dial = test::begin_dial(*victim, second.name);
  const auto asked = attacker.accept();
  asked->play(second, Step::status);
  if (const auto reply = reply_to(asked, second, told->challenge)) {
    ADD_FAILURE() << "the victim proves the cookie to itself";
    entering->write(0, encode(AckMessage{reply->digest}));
  }
  EXPECT_EQ(asked->ending(), "closed");
  const auto result = attacker.outcome(second_dial);
  ASSERT_FALSE(result.has_value());
  expect_error(result.error(), Errc::handshake_failed, "reflected");
  entering->close();
  EXPECT_FALSE(attacker.outcome(first_dial).has_value());
}

TEST_F(Attack, a_recorded_exchange_is_worthless_on_a_new_connection) {
  const Mask member = mask("mallory@127.0.0.1");
  Bytes recorded;
  const auto record = [&](const AuthMessage& message) {
    const Bytes bytes = encode(message);
    recorded.insert(recorded.end(), bytes.begin(), bytes.end());
    return message;
  };
  const auto first = attacker.dial(*victim);
  first->say(record(AuthHello{member.name, member.key.public_key()}));
  first->next_as<AuthHello>();
  const auto challenge = first->next_as<AuthChallenge>();
  first->say(record(fresh_challenge()));
  first->next_as<AuthResponse>();
  first->say(record(first->answer(challenge, member.key)));
  first->next_as<AuthOk>();
  first->close();

  const auto replay = attacker.dial(*victim);
  replay->say_bytes(recorded);
  EXPECT_EQ(replay->ending(), "FAIL signature_invalid");
}

TEST_F(Attack, what_a_dialling_node_signed_cannot_be_used_at_another_node) {
  restart_victim(keep_little_time);
  Node& bob = cluster.start("bob");
  const auto to_bob = attacker.dial(bob);
  const auto error = dialled("mallory@127.0.0.1", [&](const LinePtr& line) {
    // The victim is made to sign the challenge of another node, whom the attacker tells that it is the victim.
    const Mask own = mask("mallory@127.0.0.1");
    const auto hello = line->next_as<AuthHello>();
    to_bob->say(hello);
    to_bob->next_as<AuthHello>();
    const auto challenge = to_bob->next_as<AuthChallenge>();
    line->say(AuthHello{own.name, own.key.public_key()});
    line->say(challenge);
    const auto its_challenge = line->next_as<AuthChallenge>();
    line->say(line->answer(its_challenge, own.key));
    const auto signature = line->next_as<AuthResponse>();
    to_bob->say(its_challenge);
    to_bob->next_as<AuthResponse>();
    to_bob->say(signature);
    EXPECT_EQ(to_bob->ending(), "FAIL signature_invalid") << "another certificate is in the signed text";
    line->close();
  });
  EXPECT_EQ(error.code(), Errc::timeout) << error.message();
  EXPECT_TRUE(bob.keys().empty());
  expect_nothing_left(bob);
}

// The man in the middle.

class Relay : public Attack {
 protected:
  Relay() : target(cluster.start("relayed")) {
    restart_victim([](NodeConfig& config) { config.setup_timeout = 5s; });
  }
  void expect_no_trace() {
    EXPECT_TRUE(victim->nodes().empty());
    EXPECT_TRUE(target.nodes().empty());
    EXPECT_TRUE(victim->keys().empty());
    EXPECT_TRUE(target.keys().empty());
    expect_nothing_left(target);
  }
  Node& target;
};

TEST_F(Relay, a_man_in_the_middle_with_its_own_certificate_fails_by_the_channel_binding) {
  auto dial = test::begin_dial(*victim, target.name());
  const auto from_victim = attacker.accept();
  const auto to_target = attacker.dial(target);
  constexpr quic::StreamId of_initiator = 2;
  constexpr quic::StreamId of_responder = 3;
  const auto forward = [](const LinePtr& to) {
    return [to](quic::StreamId stream, ByteView bytes) {
      if (stream == of_initiator || stream == of_responder) to->say_bytes(Bytes(bytes.begin(), bytes.end()));
    };
  };
  if (const Bytes early = from_victim->heard(of_initiator); !early.empty()) to_target->say_bytes(early);
  from_victim->tap = forward(to_target);
  to_target->tap = forward(from_victim);
  const auto result = attacker.outcome(dial);
  from_victim->tap = nullptr;
  to_target->tap = nullptr;
  ASSERT_FALSE(result.has_value());
  expect_error(result.error(), Errc::auth_failed, "signature_invalid");
  EXPECT_EQ(from_victim->ending(), "closed");
  constexpr std::size_t hello_and_challenge = 2 + 36 + 16 + 2 + 41;
  EXPECT_EQ(from_victim->heard(of_initiator).size(), hello_and_challenge) << "it signs nothing for a relay";
  to_target->close();
  expect_no_trace();
}

TEST_F(Relay, a_man_in_the_middle_with_a_certificate_whose_key_he_lacks_fails_in_tls) {
  const auto real = test::read_pem(cluster.data("relayed") / "quic");
  attacker.show(quic::Credentials::from_pem_unchecked(real.certificate, test::make_pem().key).value());
  auto dial = test::begin_dial(*victim, target.name());
  const auto result = attacker.outcome(dial);
  ASSERT_FALSE(result.has_value());
  EXPECT_NE(result.error().message().find("TLS"), std::string::npos) << result.error().message();
  EXPECT_EQ(attacker.waiting(), 0U) << "the victim completed the handshake";
  expect_no_trace();
}

// Time.

TEST_F(Attack, challenges_of_another_time_are_refused) {
  constexpr std::uint64_t window = 2 * 30'000;
  constexpr std::uint64_t slack = 5'000;
  const auto now = static_cast<std::uint64_t>(wall_now());
  const Mask own = mask("mallory@127.0.0.1");
  for (const std::uint64_t time : {std::uint64_t{0}, now - window - slack, now + window + slack,
                                   std::uint64_t{1} << 63U, std::numeric_limits<std::uint64_t>::max()}) {
    const auto line = attacker.dial(*victim);
    line->play(own, Step::hello);
    auto challenge = fresh_challenge();
    challenge.unix_milliseconds = time;
    line->say(challenge);
    EXPECT_EQ(line->ending(), "FAIL clock_skew") << time;
  }
  expect_error(dialled("mallory@127.0.0.1",
                       [&](const LinePtr& line) {
                         line->next_as<AuthHello>();
                         line->say(AuthHello{own.name, own.key.public_key()});
                         auto challenge = fresh_challenge();
                         challenge.unix_milliseconds = now - window - slack;
                         line->say(challenge);
                         EXPECT_EQ(line->ending(), "closed");
                       }),
               Errc::auth_failed, "clock_skew");
}

// Bytes.

TEST_F(Attack, malformed_messages_are_refused_with_a_word) {
  const Mask own = mask("mallory@127.0.0.1");
  const auto framed = [](Bytes message) {
    Bytes bytes{static_cast<std::uint8_t>(message.size() >> 8U), static_cast<std::uint8_t>(message.size())};
    bytes.insert(bytes.end(), message.begin(), message.end());
    return bytes;
  };
  const Bytes hello = encode(AuthHello{own.name, own.key.public_key()});
  Bytes version_one = hello;
  version_one[3] = 1;
  Bytes bad_name = hello;
  bad_name[6] = '/';
  Bytes garbage(3000);
  fill_random(garbage);
  garbage[0] = 0xFF;
  struct Case {
    const char* what;
    Bytes bytes;
    std::string ending;
  };
  const std::vector<Case> cases{
      {"a frame above 512 bytes, announced", {0x02, 0x01}, "FAIL protocol_error"},
      {"a frame of 65535 bytes", Bytes(65'537, 0xFF), "FAIL protocol_error"},
      {"an empty frame", framed({}), "FAIL protocol_error"},
      {"an unknown type", framed({9, 9, 9}), "FAIL protocol_error"},
      {"a HELLO that is cut", framed(Bytes(hello.begin() + 2, hello.end() - 1)), "FAIL protocol_error"},
      {"version 1", version_one, "FAIL unsupported_version"},
      {"a name that is none", bad_name, "FAIL bad_name"},
      {"garbage", garbage, "FAIL protocol_error"},
      {"a challenge first", encode(fresh_challenge()), "FAIL unexpected_message"},
      {"OK first", encode(AuthOk{}), "FAIL unexpected_message"},
      {"FAIL first", encode(AuthFail{"key_mismatch"}), "FAIL unexpected_message"},
      {"a signature first", encode(AuthResponse{}), "FAIL unexpected_message"},
  };
  for (const auto& [what, bytes, ending] : cases) {
    const auto line = attacker.dial(*victim);
    line->say_bytes(bytes);
    EXPECT_EQ(line->ending(), ending) << what;
  }
}

TEST_F(Attack, a_dialling_victim_refuses_malformed_answers) {
  for (const Bytes& bytes : {Bytes{0xFF, 0xFF}, Bytes{0, 0}, Bytes(100, 0), encode(AuthOk{}), encode(fresh_challenge()),
                             encode(AuthFail{std::string(400, '\x1b')})}) {
    const auto error = dialled("mallory@127.0.0.1", [&](const LinePtr& line) {
      line->next_as<AuthHello>();
      line->say_bytes(bytes);
      EXPECT_EQ(line->ending(), "closed");
    });
    EXPECT_EQ(error.code(), Errc::auth_failed) << error.message();
    EXPECT_EQ(error.message().find('\x1b'), std::string::npos) << "a log line with control characters";
  }
}

TEST_F(Attack, the_reason_with_which_a_peer_closes_is_made_fit_for_a_log) {
  const Mask own = mask("mallory@127.0.0.1");
  const auto error = dialled(own.name.string(), [&](const LinePtr& line) {
    line->play(own, Step::status);
    EXPECT_TRUE(reply_to(line, own, random_uint32()).has_value());
    line->connection().close(0, "over\n\x1b[2J\xff" + std::string(400, 'x') + "end");
  });
  EXPECT_NE(error.message().find("over??[2J?xxx"), std::string::npos) << error.message();
  EXPECT_EQ(error.message().find("end"), std::string::npos) << "it is cut: " << error.message();
  EXPECT_TRUE(std::ranges::all_of(error.message(), [](char each) { return each >= ' ' && each <= '~'; }));
}

TEST_F(Attack, an_exchange_byte_by_byte_is_understood_and_one_that_ends_early_is_refused) {
  const Mask own = mask("mallory@127.0.0.1");
  const auto dribble = attacker.dial(*victim);
  for (const auto byte : encode(AuthHello{own.name, own.key.public_key()})) dribble->say_bytes({byte});
  dribble->next_as<AuthHello>();
  dribble->close();
  const auto ended = attacker.dial(*victim);
  ended->write(2, {0, 70, 1}, {.fin = true, .own_packet = false});
  EXPECT_EQ(ended->ending(), "FAIL stream_ended");
}

// Streams and order.

TEST_F(Attack, before_authentication_nothing_but_its_own_stream_is_heard) {
  const auto received = std::make_shared<std::atomic<int>>(0);
  const Pid target = victim->spawn([received](Process& self) -> Task<> {
    for (;;) {
      co_await self.receive();
      ++*received;
    }
  });
  ASSERT_TRUE(victim->register_process("target", target).has_value());
  const Mask own = mask("mallory@127.0.0.1");
  const Pid sender(own.name.atom(), 1, 0, 77);
  const auto message = encode_message(Signal{SendName{sender, Atom("target")}, Term("boo")}, offered_flags, sender, 1);
  Bytes frame;
  for (const auto& part : message.buffers) frame.insert(frame.end(), part.view.begin(), part.view.end());
  const Bytes name = encode(NameMessage{offered_flags, 77, own.name.atom()});
  struct Case {
    quic::StreamId stream;
    Bytes bytes;
  };
  for (const auto& [stream, bytes] : std::vector<Case>{{0, name}, {4, frame}, {64, frame}, {6, name}, {68, frame}}) {
    const auto line = attacker.dial(*victim);
    line->write(stream, bytes);
    EXPECT_EQ(line->ending(), "closed") << stream;
    const auto later = attacker.dial(*victim);
    later->play(own, Step::challenge);
    later->write(stream, bytes);
    EXPECT_EQ(later->ending(), "closed") << stream;
  }
  // Authenticated, but without the cookie: what came early is held, and dropped.
  const auto early = attacker.dial(*victim);
  early->play(own, Step::authenticated);
  early->write(4, frame);
  EXPECT_EQ(early->shake_hands(own.name.string(), "guessed"), "closed");
  EXPECT_EQ(*received, 0);
}

TEST_F(Attack, data_before_the_handshake_is_done_is_bounded) {
  const auto line = attacker.dial(*victim);
  line->play(mask("mallory@127.0.0.1"), Step::authenticated);
  constexpr std::size_t bytes = 2UL * 1024 * 1024;
  line->write(4, Bytes(bytes));
  EXPECT_EQ(line->ending(), "closed");
  EXPECT_EQ(refusal(), "limit_exceeded: too much data before the handshake was done");
}

TEST_F(Attack, early_data_in_single_bytes_is_bounded_too) {
  const auto line = attacker.dial(*victim);
  line->play(mask("mallory@127.0.0.1"), Step::authenticated);
  constexpr int pieces = 20'000;  // one byte each, and a packet each
  for (int piece = 0; piece < pieces; ++piece) {
    line->write(piece % 2 == 0 ? 4 : 8, {0}, {.fin = false, .own_packet = true});
  }
  EXPECT_EQ(line->ending(), "closed");
  EXPECT_EQ(refusal(), "limit_exceeded: too much data before the handshake was done");
}

TEST_F(Attack, bytes_after_the_exchange_on_its_stream_go_nowhere) {
  const auto line = attacker.dial(*victim);
  line->play(mask("mallory@127.0.0.1"), Step::authenticated);
  line->say_bytes(Bytes(100'000, 'N'));
  EXPECT_EQ(line->shake_hands("mallory@127.0.0.1", "test"), "up");
  may_be_pinned = {"mallory@127.0.0.1"};
  line->close();
  EXPECT_TRUE(attacker.await([&] { return victim->nodes().empty(); }));
}

TEST_F(Attack, who_does_not_know_the_cookie_is_not_let_in_and_not_pinned) {
  const auto line = attacker.dial(*victim);
  line->play(mask("mallory@127.0.0.1"), Step::authenticated);
  EXPECT_EQ(line->shake_hands("mallory@127.0.0.1", "guessed"), "closed");
  expect_error(dialled("mallory@127.0.0.1",
                       [&](const LinePtr& incoming) {
                         incoming->play(mask("mallory@127.0.0.1"), Step::authenticated);
                         EXPECT_EQ(incoming->shake_hands("mallory@127.0.0.1", "guessed"), "wrong_cookie");
                         incoming->close();
                       }),
               Errc::handshake_failed, "cookie");
}

TEST_F(Attack, the_cookie_is_proven_in_the_characters_of_an_erlang_node) {
  restart_victim([](NodeConfig& config) { config.cookie = "geh\u00e9im"; });
  const auto line = attacker.dial(*victim);
  line->play(mask("mallory@127.0.0.1"), Step::authenticated);
  EXPECT_EQ(line->shake_hands("mallory@127.0.0.1", "geh\xe9im"), "up");
  may_be_pinned = {"mallory@127.0.0.1"};
  line->close();
  EXPECT_TRUE(attacker.await([&] { return victim->nodes().empty(); }));
  restart_victim({});
}

TEST_F(Attack, names_that_no_node_has_are_not_allowed_where_the_cookie_decides_alone) {
  restart_victim([](NodeConfig& config) { config.authentication.enabled = false; });
  for (const auto* name : {"a+b@127.0.0.1", "a@::1"}) {
    const auto line = attacker.dial(*victim);
    EXPECT_EQ(line->shake_hands(name, "test"), "not_allowed") << name;
    line->close();
  }
  const auto line = attacker.dial(*victim);
  EXPECT_EQ(line->shake_hands("mallory@127.0.0.1", "test"), "up");
  line->close();
  EXPECT_TRUE(attacker.await([&] { return victim->nodes().empty(); }));
  restart_victim({});
}

TEST_F(Attack, who_is_listed_as_cookie_only_and_does_not_know_it_writes_one_line_however_often_it_comes) {
  struct Lines {
    std::mutex mutex;
    std::vector<std::string> warnings;
    std::vector<std::string> now() {
      const std::lock_guard lock(mutex);
      return warnings;
    }
  };
  const auto lines = std::make_shared<Lines>();
  restart_victim([lines](NodeConfig& config) {
    config.authentication.cookie_only_nodes = {"mon@127.0.0.1"};
    config.log_sink = [lines](LogLevel level, std::string_view line) {
      if (level < LogLevel::warning || line.find("mon@127.0.0.1") == std::string_view::npos) return;
      const std::lock_guard lock(lines->mutex);
      lines->warnings.emplace_back(line);
    };
  });
  const auto enter = [&](const std::string& cookie) {
    const auto line = attacker.dial(*victim);
    line->say(AuthHello{NodeName("mon@127.0.0.1"), PrivateKey::generate().public_key()});
    line->next_as<AuthOk>();
    const auto end = line->shake_hands("mon@127.0.0.1", cookie);
    line->close();
    return end;
  };
  for (int times = 0; times < 3; ++times) EXPECT_EQ(enter("guessed"), "closed");
  EXPECT_EQ(enter("test"), "up");
  EXPECT_TRUE(attacker.await([&] { return lines->now().size() >= 3 && victim->nodes().empty(); }));
  const auto written = lines->now();
  ASSERT_EQ(written.size(), 3U) << "who is let in like this is told of";
  EXPECT_NE(written[0].find("refused mon@127.0.0.1"), std::string::npos) << written[0];
  EXPECT_NE(written[0].find("wrong_cookie"), std::string::npos) << written[0];
  EXPECT_EQ(written[1].find("refused"), std::string::npos) << written[1];
  EXPECT_EQ(written[2].find("refused"), std::string::npos) << written[2];
}

// Silence.

struct Stall {
  Step step;
  const char* name;
};
void PrintTo(const Stall& stall, std::ostream* out) { *out << stall.name; }

class Silence : public Attack, public testing::WithParamInterface<Stall> {
 protected:
  Silence() { restart_victim(keep_little_time); }
};

TEST_P(Silence, of_a_peer_that_dialled_ends_at_the_deadline) {
  const auto from = std::chrono::steady_clock::now();
  const auto line = attacker.dial(*victim);
  line->play(mask("mallory@127.0.0.1"), GetParam().step);
  EXPECT_EQ(line->ending(), GetParam().step < Step::authenticated ? "FAIL timeout" : "closed");
  EXPECT_GE(std::chrono::steady_clock::now() - from, little_time) << "something else ended it";
}

TEST_P(Silence, of_a_peer_that_was_dialled_ends_at_the_deadline) {
  const auto error = dialled("mallory@127.0.0.1", [&](const LinePtr& line) {
    line->play(mask("mallory@127.0.0.1"), GetParam().step);
    EXPECT_EQ(line->ending(), "closed");
  });
  EXPECT_EQ(error.code(), Errc::timeout) << error.message();
}

INSTANTIATE_TEST_SUITE_P(At, Silence,
                         testing::Values(Stall{Step::connected, "connected"}, Stall{Step::hello, "hello"},
                                         Stall{Step::challenge, "challenge"},
                                         Stall{Step::authenticated, "authenticated"}, Stall{Step::name, "name"},
                                         Stall{Step::status, "status"}),
                         [](const auto& stall) { return std::string(stall.param.name); });

}  // namespace
}  // namespace barrel_p2p
