// The distribution handshake: what real nodes sent, both roles against each other, and everything that goes wrong.
#include "distribution/handshake.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "distribution/handshake_messages.hpp"
#include "distribution/own_challenges.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::distribution {
namespace {

namespace json = boost::json;
using test::from_hex;
using test::read_vectors;
using test::text_of;
using test::to_hex;

constexpr MonotonicTime start_time{};
constexpr Milliseconds timeout{7000};

HandshakeConfig initiator_config() {
  HandshakeConfig config;
  config.role = HandshakeRole::initiator;
  config.own_name = "sa1@127.0.0.1";
  config.dialled = Atom("sa2@127.0.0.1");
  config.proven = Atom("sa2@127.0.0.1");
  config.creation = 4;
  config.cookie = "barrel_p2p";
  config.challenge = 3937773896;
  return config;
}

HandshakeConfig acceptor_config() {
  HandshakeConfig config;
  config.role = HandshakeRole::acceptor;
  config.own_name = "sa2@127.0.0.1";
  config.proven = Atom("sa1@127.0.0.1");
  config.creation = 4;
  config.cookie = "barrel_p2p";
  config.challenge = 3303716731;
  return config;
}

template <class T>
const T* find(const HandshakeEffects& effects) {
  for (const auto& effect : effects) {
    if (const auto* found = std::get_if<T>(&effect)) return found;
  }
  return nullptr;
}

std::vector<std::string> sent(const HandshakeEffects& effects) {
  std::vector<std::string> hex;
  for (const auto& effect : effects) {
    if (const auto* send = std::get_if<HandshakeSend>(&effect)) hex.push_back(to_hex(send->bytes));
  }
  return hex;
}

/// The failure that ends `effects`, as its name; what there is instead otherwise.
std::string failure(const HandshakeEffects& effects) {
  if (effects.empty()) return "no effect";
  const auto* failed = std::get_if<HandshakeFailed>(&effects.back());
  if (failed == nullptr) return "no failure";
  EXPECT_FALSE(failed->detail.empty());
  EXPECT_EQ(std::count_if(effects.begin(), effects.end(),
                          [](const auto& effect) { return std::holds_alternative<HandshakeFailed>(effect); }),
            1);
  return std::string(name(failed->failure));
}

using Texts = std::vector<std::string>;

std::string hex_of(std::string_view text) { return to_hex(as_bytes(text)); }

HandshakeEffects receive_hex(Handshake& handshake, std::string_view hex) {
  return handshake.receive(from_hex(hex), start_time);
}

// Vectors.

/// Hex of the messages of one case, in order.
std::vector<std::string> messages_of(const std::string& wanted) {
  std::vector<std::string> messages;
  const auto vectors = read_vectors("transport-dist-handshake.json");
  for (const auto& row : vectors.as_array()) {
    const auto* label = row.as_object().if_contains("case");
    if (label != nullptr && std::string(label->as_string()) == wanted) messages.push_back(text_of(row, "etf_hex"));
  }
  return messages;
}

TEST(HandshakeVectors, a_fresh_connection_runs_as_recorded_on_both_sides) {
  const auto recorded = messages_of("fresh connection");
  ASSERT_EQ(recorded.size(), 5U);

  Handshake initiator(initiator_config());
  EXPECT_EQ(sent(initiator.start(start_time)), Texts{recorded[0]});
  EXPECT_TRUE(receive_hex(initiator, recorded[1]).empty());
  EXPECT_EQ(sent(receive_hex(initiator, recorded[2])), Texts{recorded[3]});
  const auto up = receive_hex(initiator, recorded[4]);
  ASSERT_NE(find<HandshakeUp>(up), nullptr);
  EXPECT_EQ(find<HandshakeUp>(up)->peer, "sa2@127.0.0.1");

  Handshake acceptor(acceptor_config());
  EXPECT_TRUE(acceptor.start(start_time).empty());
  const auto named = receive_hex(acceptor, recorded[0]);
  ASSERT_NE(find<HandshakeNameReceived>(named), nullptr);
  EXPECT_EQ(find<HandshakeNameReceived>(named)->name, "sa1@127.0.0.1");
  const auto status = acceptor.answer(HandshakeAnswer::ok, start_time);
  EXPECT_EQ(sent(status), Texts{recorded[1]});
  EXPECT_TRUE(find<HandshakeSend>(status)->status);
  EXPECT_EQ(sent(acceptor.status_acked(start_time)), Texts{recorded[2]});
  const auto done = receive_hex(acceptor, recorded[3]);
  EXPECT_EQ(sent(done), Texts{recorded[4]});
  const auto* accepted = find<HandshakeUp>(done);
  ASSERT_NE(accepted, nullptr);
  EXPECT_EQ(accepted->peer_flags, offered_flags);
  EXPECT_EQ(accepted->flags, expand(offered_flags));
  EXPECT_EQ(accepted->peer_creation, 4U);
}

TEST(HandshakeVectors, a_connection_believed_alive_is_replaced_as_recorded) {
  const auto recorded = messages_of("acceptor believes the name is still connected");
  ASSERT_EQ(recorded.size(), 6U);

  auto dialling = initiator_config();
  dialling.challenge = 235178356;
  Handshake initiator(dialling);
  EXPECT_EQ(sent(initiator.start(start_time)), Texts{recorded[0]});
  EXPECT_NE(find<HandshakeAlive>(receive_hex(initiator, recorded[1])), nullptr);
  EXPECT_EQ(sent(initiator.answer_alive(true, start_time)), Texts{recorded[2]});
  EXPECT_EQ(sent(receive_hex(initiator, recorded[3])), Texts{recorded[4]});
  EXPECT_NE(find<HandshakeUp>(receive_hex(initiator, recorded[5])), nullptr);

  auto listening = acceptor_config();
  listening.challenge = 613481124;
  Handshake acceptor(listening);
  acceptor.start(start_time);
  receive_hex(acceptor, recorded[0]);
  EXPECT_EQ(sent(acceptor.answer(HandshakeAnswer::alive, start_time)), Texts{recorded[1]});
  EXPECT_EQ(sent(receive_hex(acceptor, recorded[2])), Texts{recorded[3]});
  const auto done = receive_hex(acceptor, recorded[4]);
  EXPECT_EQ(sent(done), Texts{recorded[5]});
  EXPECT_NE(find<HandshakeUp>(done), nullptr);
}

TEST(HandshakeVectors, statuses_digests_and_flag_masks) {
  std::size_t statuses = 0;
  std::size_t digests = 0;
  const auto vectors = read_vectors("transport-dist-handshake.json");
  for (const auto& row : vectors.as_array()) {
    const std::string name = row.as_object().contains("name") ? text_of(row, "name") : "";
    if (name.starts_with("status ")) {
      EXPECT_EQ(to_hex(encode_status(name.substr(7))), text_of(row, "etf_hex"));
      ++statuses;
    } else if (name == "digest") {
      const auto challenge = row.at("challenge").to_number<std::uint32_t>();
      EXPECT_EQ(to_hex(challenge_digest(text_of(row, "cookie"), challenge)), text_of(row, "etf_hex"));
      ++digests;
    } else if (row.as_object().contains("offered_visible")) {
      EXPECT_EQ(row.at("offered_visible").to_number<Flags>(), offered_flags);
      EXPECT_EQ(row.at("mandatory").to_number<Flags>(), mandatory_27);
      const auto usual = row.at("default").to_number<Flags>();
      EXPECT_EQ(offered_flags, (usual & ~row.at("strict_order").to_number<Flags>()) | flag::published);
    }
  }
  EXPECT_EQ(statuses, 7U);
  EXPECT_EQ(digests, 8U);
}

// Two machines, joined.

/// What one side has to do and the other side's table to say.
struct Joined {
  Handshake initiator;
  Handshake acceptor;
  HandshakeAnswer answer = HandshakeAnswer::ok;
  bool still_wanted = true;
  std::size_t cut = 0;  ///< Longest piece in which bytes arrive; 0: whole messages.
  HandshakeEffects at_initiator{};
  HandshakeEffects at_acceptor{};

  void take(const HandshakeEffects& effects, bool by_initiator) {
    auto& log = by_initiator ? at_initiator : at_acceptor;
    log.insert(log.end(), effects.begin(), effects.end());
    for (const auto& effect : effects) {
      if (const auto* send = std::get_if<HandshakeSend>(&effect)) {
        deliver(send->bytes, !by_initiator);
        if (send->status) take(acceptor.status_acked(start_time), false);
      } else if (std::holds_alternative<HandshakeNameReceived>(effect)) {
        take(acceptor.answer(answer, start_time), false);
      } else if (std::holds_alternative<HandshakeAlive>(effect)) {
        take(initiator.answer_alive(still_wanted, start_time), true);
      }
    }
  }

  void deliver(ByteView bytes, bool to_initiator) {
    auto& to = to_initiator ? initiator : acceptor;
    while (!bytes.empty()) {
      const auto piece = bytes.first(cut == 0 ? bytes.size() : std::min(cut, bytes.size()));
      bytes = bytes.subspan(piece.size());
      take(to.receive(piece, start_time), to_initiator);
    }
  }

  [[nodiscard]] bool both_up() const {
    return find<HandshakeUp>(at_initiator) != nullptr && find<HandshakeUp>(at_acceptor) != nullptr;
  }
};

/// The acceptor starts first: it must be there when bytes arrive.
Joined joined(const HandshakeConfig& initiator, const HandshakeConfig& acceptor,
              HandshakeAnswer answer = HandshakeAnswer::ok, bool still_wanted = true, std::size_t cut = 0) {
  Joined pair{Handshake(initiator), Handshake(acceptor), answer, still_wanted, cut};
  pair.take(pair.acceptor.start(start_time), false);
  pair.take(pair.initiator.start(start_time), true);
  return pair;
}

TEST(Handshake, two_machines_come_up_whatever_the_cut_the_framing_and_the_status) {
  for (const auto framing : {HandshakeFraming::none, HandshakeFraming::prefixed}) {
    for (const auto answer : {HandshakeAnswer::ok, HandshakeAnswer::ok_simultaneous, HandshakeAnswer::alive}) {
      for (const std::size_t cut : {0U, 1U, 2U, 3U, 5U, 16U}) {
        auto dialling = initiator_config();
        auto listening = acceptor_config();
        dialling.framing = listening.framing = framing;
        const auto pair = joined(dialling, listening, answer, true, cut);
        EXPECT_TRUE(pair.both_up()) << cut << " " << static_cast<int>(answer) << " " << static_cast<int>(framing);
        EXPECT_FALSE(pair.initiator.deadline().has_value());
        EXPECT_FALSE(pair.acceptor.deadline().has_value());
      }
    }
  }
}

TEST(Handshake, the_flags_in_force_are_those_of_both) {
  auto dialling = initiator_config();
  auto listening = acceptor_config();
  dialling.flags = mandatory_27 | flag::fragments | flag::alias;
  listening.flags = mandatory_27 | flag::fragments | flag::spawn | flag::published;
  const auto pair = joined(dialling, listening);
  ASSERT_TRUE(pair.both_up());
  for (const auto* log : {&pair.at_initiator, &pair.at_acceptor}) {
    EXPECT_EQ(find<HandshakeUp>(*log)->flags, mandatory_27 | flag::fragments);
  }
  EXPECT_EQ(find<HandshakeUp>(pair.at_initiator)->peer_flags, listening.flags);
  EXPECT_EQ(find<HandshakeUp>(pair.at_acceptor)->peer_flags, dialling.flags);
}

TEST(Handshake, the_digest_of_the_mandatory_flags_stands_for_them) {
  auto dialling = initiator_config();
  dialling.flags = flag::mandatory_25_digest | flag::unlink_id | flag::v4_nc;
  const auto pair = joined(dialling, acceptor_config());
  ASSERT_TRUE(pair.both_up());
  EXPECT_EQ(find<HandshakeUp>(pair.at_acceptor)->flags, mandatory_27 | flag::mandatory_25_digest);
}

TEST(Handshake, a_table_that_refuses_says_so) {
  const auto pair = joined(initiator_config(), acceptor_config(), HandshakeAnswer::not_allowed);
  EXPECT_EQ(failure(pair.at_acceptor), "not_allowed");
  EXPECT_EQ(sent(pair.at_acceptor), Texts{hex_of("snot_allowed")});
  EXPECT_EQ(failure(pair.at_initiator), "not_allowed");
}

TEST(Handshake, an_own_attempt_that_wins_ends_the_other_one_without_a_word) {
  const auto pair = joined(initiator_config(), acceptor_config(), HandshakeAnswer::close);
  EXPECT_EQ(failure(pair.at_acceptor), "keep_waiting");
  EXPECT_TRUE(sent(pair.at_acceptor).empty());
  EXPECT_FALSE(pair.initiator.finished());
}

TEST(Handshake, an_attempt_that_is_held_says_nothing_until_it_is_answered_or_overdue) {
  Handshake acceptor(acceptor_config());
  acceptor.start(start_time);
  receive_hex(acceptor, messages_of("fresh connection")[0]);
  EXPECT_TRUE(acceptor.answer(HandshakeAnswer::hold, start_time).empty());
  EXPECT_TRUE(acceptor.status_acked(start_time).empty());
  EXPECT_TRUE(acceptor.answer(HandshakeAnswer::hold, start_time).empty());
  EXPECT_EQ(sent(acceptor.answer(HandshakeAnswer::ok_simultaneous, start_time)), Texts{hex_of("sok_simultaneous")});

  Handshake forgotten(acceptor_config());
  forgotten.start(start_time);
  receive_hex(forgotten, messages_of("fresh connection")[0]);
  forgotten.answer(HandshakeAnswer::hold, start_time);
  EXPECT_EQ(failure(forgotten.tick(start_time + timeout)), "timeout");
}

TEST(Handshake, an_attempt_that_is_not_wanted_any_more_ends_both_sides) {
  const auto pair = joined(initiator_config(), acceptor_config(), HandshakeAnswer::alive, false);
  EXPECT_EQ(failure(pair.at_initiator), "given_up");
  EXPECT_EQ(sent(pair.at_initiator).back(), hex_of("sfalse"));
  EXPECT_EQ(failure(pair.at_acceptor), "given_up");
}

TEST(Handshake, nok_lets_the_initiator_wait_for_the_other_attempt) {
  for (const std::size_t cut : {1U, 4U}) {
    Handshake initiator(initiator_config());
    initiator.start(start_time);
    HandshakeEffects last;
    const Bytes status = encode_status("nok");
    for (std::size_t at = 0; at < status.size(); at += cut)
      last = initiator.receive(ByteView(status).subspan(at, std::min(cut, status.size() - at)), start_time);
    EXPECT_EQ(failure(last), "keep_waiting");
  }
}

TEST(Handshake, no_status_of_ours_is_ever_nok) {
  for (const auto answer : {HandshakeAnswer::ok, HandshakeAnswer::ok_simultaneous, HandshakeAnswer::alive,
                            HandshakeAnswer::not_allowed, HandshakeAnswer::close}) {
    const auto pair = joined(initiator_config(), acceptor_config(), answer, false);
    for (const auto& hex : sent(pair.at_acceptor)) EXPECT_NE(hex, hex_of("snok"));
  }
}

// Cookies, flags, names.

TEST(Handshake, the_acceptor_refuses_a_wrong_cookie_before_the_ack) {
  auto dialling = initiator_config();
  dialling.cookie = "barrel_p2q";
  const auto pair = joined(dialling, acceptor_config());
  EXPECT_EQ(failure(pair.at_acceptor), "wrong_cookie");
  EXPECT_EQ(sent(pair.at_acceptor).size(), 2U);  // status and challenge
  EXPECT_FALSE(pair.initiator.finished());
}

TEST(Handshake, the_initiator_refuses_an_acceptor_that_does_not_prove_the_cookie) {
  const auto recorded = messages_of("fresh connection");
  for (const std::size_t bit : {0U, 7U, 127U}) {
    Handshake initiator(initiator_config());
    initiator.start(start_time);
    receive_hex(initiator, recorded[1]);
    receive_hex(initiator, recorded[2]);
    Bytes ack = from_hex(recorded[4]);
    ack[1 + bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    EXPECT_EQ(failure(initiator.receive(ack, start_time)), "wrong_cookie");
    EXPECT_TRUE(initiator.finished());
  }
}

TEST(Handshake, an_echo_of_our_own_digest_proves_nothing) {
  // The reply answers the acceptor's challenge; repeated as an ack it must not pass.
  const auto recorded = messages_of("fresh connection");
  Handshake initiator(initiator_config());
  initiator.start(start_time);
  receive_hex(initiator, recorded[1]);
  const auto reply = sent(receive_hex(initiator, recorded[2])).at(0);
  EXPECT_EQ(failure(receive_hex(initiator, "61" + reply.substr(10))), "wrong_cookie");
}

TEST(Handshake, a_challenge_of_our_own_is_answered_on_neither_side) {
  const auto own = std::make_shared<OwnChallenges>();
  const auto elsewhere = own->draw();
  const auto looks = [own](std::uint32_t challenge) { return own->contains(challenge); };
  const auto with = [&](std::uint32_t challenge, HandshakeRole role) {
    auto config = role == HandshakeRole::initiator ? initiator_config() : acceptor_config();
    config.is_own = looks;
    Handshake handshake(config);
    handshake.start(start_time);
    if (role == HandshakeRole::initiator) {
      handshake.receive(encode_status("ok"), start_time);
      return handshake.receive(encode(ChallengeMessage{offered_flags, challenge, 4, "sa2@127.0.0.1"}), start_time);
    }
    handshake.receive(encode(NameMessage{offered_flags, 4, "sa1@127.0.0.1"}), start_time);
    handshake.answer(HandshakeAnswer::ok, start_time);
    handshake.status_acked(start_time);
    return handshake.receive(encode(ReplyMessage{challenge, challenge_digest(config.cookie, config.challenge)}),
                             start_time);
  };
  for (const auto role : {HandshakeRole::initiator, HandshakeRole::acceptor}) {
    const auto refused = with(elsewhere.value(), role);
    EXPECT_EQ(failure(refused), "reflected");
    EXPECT_TRUE(sent(refused).empty()) << "no digest of it goes out";
    EXPECT_EQ(sent(with(elsewhere.value() + 1, role)).size(), 1U);
  }
}

TEST(OwnChallenges, are_known_while_their_handshakes_last) {
  auto own = std::make_shared<OwnChallenges>();
  auto first = own->draw();
  auto second = own->draw();
  const auto value = first.value();
  EXPECT_NE(value, second.value());
  EXPECT_TRUE(own->contains(value));
  EXPECT_TRUE(own->contains(second.value()));
  auto moved = std::move(first);
  EXPECT_TRUE(own->contains(value));
  EXPECT_EQ(moved.value(), value);
  const auto other = second.value();
  second = std::move(moved);
  EXPECT_FALSE(own->contains(other)) << "that handshake is done";
  EXPECT_TRUE(own->contains(value));
  second.release();
  EXPECT_FALSE(own->contains(value));
  second = own->draw();
  const std::weak_ptr<OwnChallenges> watched = own;
  own.reset();
  EXPECT_FALSE(watched.expired());
  second.release();
  EXPECT_TRUE(watched.expired());
}

TEST(Handshake, every_mandatory_flag_is_mandatory_on_both_sides) {
  for (unsigned position = 0; position < 64; ++position) {
    const Flags bit = Flags{1} << position;
    if ((mandatory_27 & bit) == 0) continue;
    auto dialling = initiator_config();
    dialling.flags = offered_flags & ~bit & ~flag::mandatory_25_digest;
    const auto refused = joined(dialling, acceptor_config());
    EXPECT_EQ(failure(refused.at_acceptor), "flags_missing") << position;
    EXPECT_EQ(sent(refused.at_acceptor), Texts{hex_of("snot_allowed")});
    EXPECT_EQ(failure(refused.at_initiator), "not_allowed") << position;
    EXPECT_NE(find<HandshakeFailed>(refused.at_acceptor)->detail.find(flag_names(bit)), std::string::npos);

    auto listening = acceptor_config();
    listening.flags = dialling.flags;
    const auto lacking = joined(initiator_config(), listening);
    EXPECT_EQ(failure(lacking.at_initiator), "flags_missing") << position;
    EXPECT_EQ(sent(lacking.at_initiator).size(), 1U) << "no reply to such a challenge";
  }
}

TEST(Handshake, a_peer_with_our_own_name_is_refused) {
  auto dialling = initiator_config();
  dialling.own_name = "sa2@127.0.0.1";
  dialling.dialled = Atom("sa2@127.0.0.1");
  auto listening = acceptor_config();
  listening.proven.reset();
  const auto pair = joined(dialling, listening);
  EXPECT_EQ(failure(pair.at_acceptor), "own_name");
  EXPECT_TRUE(sent(pair.at_acceptor).empty());

  Handshake initiator(dialling);
  initiator.start(start_time);
  receive_hex(initiator, hex_of("sok"));
  const Bytes challenge = encode(ChallengeMessage{offered_flags, 1, 4, "sa2@127.0.0.1"});
  EXPECT_EQ(failure(initiator.receive(challenge, start_time)), "own_name");
}

TEST(Handshake, a_name_that_was_not_proven_is_refused) {
  auto listening = acceptor_config();
  listening.proven = Atom("sa3@127.0.0.1");
  const auto pair = joined(initiator_config(), listening);
  EXPECT_EQ(failure(pair.at_acceptor), "name_not_proven");
  EXPECT_TRUE(sent(pair.at_acceptor).empty());

  auto dialling = initiator_config();
  dialling.proven = Atom("sa3@127.0.0.1");
  EXPECT_EQ(failure(joined(dialling, acceptor_config()).at_initiator), "name_not_proven");
}

TEST(Handshake, a_name_that_was_not_dialled_is_refused) {
  auto dialling = initiator_config();
  dialling.dialled = Atom("sa3@127.0.0.1");
  dialling.proven.reset();
  const auto pair = joined(dialling, acceptor_config());
  EXPECT_EQ(failure(pair.at_initiator), "name_not_dialled");
  EXPECT_EQ(sent(pair.at_initiator).size(), 1U);
}

TEST(Handshake, without_a_proven_name_the_dialled_one_counts) {
  auto dialling = initiator_config();
  auto listening = acceptor_config();
  dialling.proven.reset();
  listening.proven.reset();
  EXPECT_TRUE(joined(dialling, listening).both_up());
}

TEST(Handshake, names_travel_in_latin_1) {
  auto dialling = initiator_config();
  auto listening = acceptor_config();
  dialling.own_name = "\xc3\xa9t\xc3\xa9@h";
  listening.proven = dialling.own_name;
  const auto pair = joined(dialling, listening);
  ASSERT_TRUE(pair.both_up());
  EXPECT_EQ(find<HandshakeUp>(pair.at_acceptor)->peer, "\xc3\xa9t\xc3\xa9@h");
  EXPECT_TRUE(sent(pair.at_initiator)[0].ends_with("0005e974e94068"));
}

// Bytes.

TEST(Handshake, a_stream_may_be_cut_anywhere) {
  EXPECT_TRUE(rc::check("the acceptor's messages reach the initiator in any pieces", [] {
    const auto simultaneous = *rc::gen::arbitrary<bool>();
    const auto recorded = messages_of("fresh connection");
    Bytes stream = simultaneous ? encode_status("ok_simultaneous") : encode_status("ok");
    for (const std::size_t message : {2U, 4U}) {
      const Bytes bytes = from_hex(recorded[message]);
      stream.insert(stream.end(), bytes.begin(), bytes.end());
    }
    // Nothing is behind the challenge until the reply was sent.
    const std::size_t pause = stream.size() - ack_bytes;
    Handshake initiator(initiator_config());
    initiator.start(start_time);
    HandshakeEffects all;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t end = at < pause ? pause : stream.size();
      const std::size_t piece = std::min(end - at, *rc::gen::inRange<std::size_t>(1, 40));
      const auto effects = initiator.receive(ByteView(stream).subspan(at, piece), start_time);
      all.insert(all.end(), effects.begin(), effects.end());
      at += piece;
    }
    RC_ASSERT(find<HandshakeUp>(all) != nullptr);
    RC_ASSERT(sent(all) == Texts{recorded[3]});
  }));
}

TEST(Handshake, any_bytes_end_in_a_state_and_never_up) {
  EXPECT_TRUE(rc::check("bytes of nobody", [] {
    const auto role = *rc::gen::element(HandshakeRole::initiator, HandshakeRole::acceptor);
    auto config = role == HandshakeRole::initiator ? initiator_config() : acceptor_config();
    config.framing = *rc::gen::element(HandshakeFraming::none, HandshakeFraming::prefixed);
    Handshake handshake(config);
    handshake.start(start_time);
    for (int piece = 0; piece < 4; ++piece) {
      const auto effects = handshake.receive(*rc::gen::arbitrary<Bytes>(), start_time);
      RC_ASSERT(find<HandshakeUp>(effects) == nullptr);
      handshake.answer(HandshakeAnswer::ok, start_time);
      handshake.status_acked(start_time);
      handshake.answer_alive(true, start_time);
    }
  }));
}

TEST(Handshake, residue_behind_names_is_ignored_when_it_arrives_with_them) {
  const auto recorded = messages_of("fresh connection");
  Handshake acceptor(acceptor_config());
  acceptor.start(start_time);
  ASSERT_NE(find<HandshakeNameReceived>(receive_hex(acceptor, recorded[0] + "0102030405")), nullptr);
  EXPECT_TRUE(receive_hex(acceptor, "ffff").empty());
  acceptor.answer(HandshakeAnswer::ok, start_time);
  EXPECT_TRUE(receive_hex(acceptor, "ffff").empty());
  acceptor.status_acked(start_time);
  EXPECT_NE(find<HandshakeUp>(receive_hex(acceptor, recorded[3])), nullptr);

  Handshake initiator(initiator_config());
  initiator.start(start_time);
  receive_hex(initiator, recorded[1]);
  EXPECT_EQ(sent(receive_hex(initiator, recorded[2] + "0102030405")), Texts{recorded[3]});
  EXPECT_NE(find<HandshakeUp>(receive_hex(initiator, recorded[4])), nullptr);
}

TEST(Handshake, status_and_challenge_may_arrive_together) {
  const auto recorded = messages_of("fresh connection");
  Handshake initiator(initiator_config());
  initiator.start(start_time);
  EXPECT_EQ(sent(receive_hex(initiator, recorded[1] + recorded[2])), Texts{recorded[3]});
}

TEST(Handshake, messages_out_of_place_are_malformed) {
  const auto recorded = messages_of("fresh connection");
  const auto initiator_says = [&](const std::vector<std::string>& hex, HandshakeFraming framing) {
    auto config = initiator_config();
    config.framing = framing;
    Handshake initiator(config);
    initiator.start(start_time);
    HandshakeEffects last;
    for (const auto& message : hex) last = receive_hex(initiator, message);
    return failure(last);
  };
  const auto none = HandshakeFraming::none;
  EXPECT_EQ(initiator_says({recorded[2]}, none), "malformed");  // a challenge without a status
  EXPECT_EQ(initiator_says({hex_of("sperhaps")}, none), "malformed");
  EXPECT_EQ(initiator_says({hex_of("strue")}, none), "malformed");
  EXPECT_EQ(initiator_says({hex_of("snamed:")}, none), "malformed");
  EXPECT_EQ(initiator_says({recorded[1], recorded[4] + "0000"}, none), "malformed");  // an ack for a challenge
  EXPECT_EQ(initiator_says({recorded[1], recorded[2], recorded[3].substr(0, 34)}, none), "malformed");
  const auto prefixed = HandshakeFraming::prefixed;
  EXPECT_EQ(initiator_says({"0000"}, prefixed), "malformed");
  EXPECT_EQ(initiator_says({"0008" + hex_of("sperhaps")}, prefixed), "malformed");
  EXPECT_EQ(initiator_says({"0401"}, prefixed), "malformed");  // 1025 bytes
  EXPECT_EQ(initiator_says({"0003" + hex_of("sok"), "0011" + recorded[4]}, prefixed), "malformed");

  Handshake acceptor(acceptor_config());
  acceptor.start(start_time);
  receive_hex(acceptor, recorded[0]);
  acceptor.answer(HandshakeAnswer::ok, start_time);
  acceptor.status_acked(start_time);
  EXPECT_EQ(failure(receive_hex(acceptor, recorded[4] + "00000000")), "malformed");

  Handshake alive(acceptor_config());
  alive.start(start_time);
  receive_hex(alive, recorded[0]);
  alive.answer(HandshakeAnswer::alive, start_time);
  EXPECT_EQ(failure(receive_hex(alive, hex_of("sok"))), "malformed");
}

TEST(Handshake, names_that_no_node_has_are_malformed) {
  for (const std::string name : {"", "ab", "@h", "a@", "a@b@c", "a b@h", "a\n@h", "nohost"}) {
    Handshake acceptor(acceptor_config());
    acceptor.start(start_time);
    Bytes message = from_hex("4e0000000d07df5fbd00000004");
    message.push_back(0);
    message.push_back(static_cast<std::uint8_t>(name.size()));
    message.insert(message.end(), name.begin(), name.end());
    EXPECT_EQ(failure(acceptor.receive(message, start_time)), "malformed") << name;
  }
  EXPECT_TRUE(valid_wire_name("a@" + std::string(253, 'h')));
  EXPECT_FALSE(valid_wire_name("a@" + std::string(254, 'h')));
  EXPECT_THROW(encode(NameMessage{offered_flags, 4, "nohost"}), std::invalid_argument);
  EXPECT_THROW(encode(NameMessage{offered_flags, 4, "\xce\xbb@h"}), std::invalid_argument);
}

TEST(Handshake, nobody_makes_us_keep_more_than_a_kilobyte) {
  Handshake acceptor(acceptor_config());
  acceptor.start(start_time);
  // A name that announces 65,535 bytes and comes slowly.
  EXPECT_TRUE(receive_hex(acceptor, "4e0000000d07df5fbd00000004ffff").empty());
  HandshakeEffects effects;
  std::size_t taken = 0;
  while (effects.empty() && taken < 5000) {
    effects = acceptor.receive(Bytes(100, 'a'), start_time);
    taken += 100;
  }
  EXPECT_EQ(failure(effects), "malformed");
  EXPECT_LE(taken, 1100U);
}

TEST(Handshake, messages_decode_as_they_were_encoded) {
  EXPECT_TRUE(rc::check("all four messages", [] {
    const auto flags = *rc::gen::arbitrary<Flags>();
    const auto number = *rc::gen::arbitrary<std::uint32_t>();
    const auto creation = *rc::gen::arbitrary<std::uint32_t>();
    const auto digest = *rc::gen::arbitrary<ChallengeDigest>();
    const Atom name = *rc::gen::element<Atom>("a@b", "\xc3\xa9@h", "x@1.2.3.4");
    const auto named = decode_name(encode(NameMessage{flags, creation, name}));
    RC_ASSERT(named.has_value() && named->flags == flags && named->creation == creation && named->name == name);
    const auto challenged = decode_challenge(encode(ChallengeMessage{flags, number, creation, name}));
    RC_ASSERT(challenged.has_value() && challenged->flags == flags && challenged->challenge == number);
    RC_ASSERT(challenged->creation == creation && challenged->name == name);
    const auto replied = decode_reply(encode(ReplyMessage{number, digest}));
    RC_ASSERT(replied.has_value() && replied->challenge == number && replied->digest == digest);
    const auto acked = decode_ack(encode(AckMessage{digest}));
    RC_ASSERT(acked.has_value() && acked->digest == digest);
  }));
  EXPECT_FALSE(decode_reply(Bytes(reply_bytes + 1, 'r')).has_value());
  EXPECT_FALSE(decode_ack(Bytes(ack_bytes - 1, 'a')).has_value());
}

// Time.

/// Runs a machine to one of its waiting states.
struct Stall {
  std::string name;
  std::function<Handshake()> at;
};

std::vector<Stall> stalls() {
  static const auto fresh = messages_of("fresh connection");
  const auto initiator = [](const std::vector<std::string>& messages) {
    Handshake handshake(initiator_config());
    handshake.start(start_time);
    for (const auto& message : messages) receive_hex(handshake, message);
    return handshake;
  };
  const auto acceptor = [](const std::vector<std::string>& messages) {
    Handshake handshake(acceptor_config());
    handshake.start(start_time);
    for (const auto& message : messages) receive_hex(handshake, message);
    return handshake;
  };
  const auto answered = [acceptor](HandshakeAnswer answer, bool acked) {
    Handshake handshake = acceptor({fresh[0]});
    handshake.answer(answer, start_time);
    if (acked) handshake.status_acked(start_time);
    return handshake;
  };
  return {{"status", [=] { return initiator({}); }},
          {"half a status", [=] { return initiator({hex_of("sn")}); }},
          {"own table after alive", [=] { return initiator({hex_of("salive")}); }},
          {"challenge", [=] { return initiator({fresh[1]}); }},
          {"half a challenge", [=] { return initiator({fresh[1], fresh[2].substr(0, 20)}); }},
          {"ack", [=] { return initiator({fresh[1], fresh[2]}); }},
          {"name", [=] { return acceptor({}); }},
          {"half a name", [=] { return acceptor({fresh[0].substr(0, 40)}); }},
          {"table", [=] { return acceptor({fresh[0]}); }},
          {"acknowledgement of the status", [=] { return answered(HandshakeAnswer::ok, false); }},
          {"answer to alive", [=] { return answered(HandshakeAnswer::alive, false); }},
          {"reply", [=] { return answered(HandshakeAnswer::ok, true); }}};
}

TEST(Handshake, a_peer_that_stalls_at_any_step_is_given_up_at_the_deadline) {
  for (const auto& stall : stalls()) {
    Handshake handshake = stall.at();
    ASSERT_EQ(handshake.deadline(), start_time + timeout) << stall.name;
    EXPECT_TRUE(handshake.tick(start_time + timeout - Milliseconds(1)).empty()) << stall.name;
    EXPECT_EQ(failure(handshake.tick(start_time + timeout)), "timeout") << stall.name;
    EXPECT_TRUE(handshake.finished());
    EXPECT_FALSE(handshake.deadline().has_value());
    EXPECT_TRUE(handshake.tick(start_time + 2 * timeout).empty()) << "the failure comes once";
  }
}

TEST(Handshake, nothing_is_taken_after_the_deadline) {
  for (const auto& stall : stalls()) {
    for (int input = 0; input < 4; ++input) {
      Handshake handshake = stall.at();
      const auto late = start_time + timeout;
      const auto effects = input == 0   ? handshake.receive(Bytes{'x'}, late)
                           : input == 1 ? handshake.answer(HandshakeAnswer::ok, late)
                           : input == 2 ? handshake.status_acked(late)
                                        : handshake.answer_alive(true, late);
      EXPECT_EQ(effects.size(), 1U) << stall.name;
      EXPECT_EQ(failure(effects), "timeout") << stall.name;
    }
  }
}

TEST(Handshake, a_finished_machine_does_nothing) {
  auto pair = joined(initiator_config(), acceptor_config());
  ASSERT_TRUE(pair.both_up());
  for (auto* machine : {&pair.initiator, &pair.acceptor}) {
    EXPECT_TRUE(machine->start(start_time).empty());
    EXPECT_TRUE(machine->receive(Bytes(2000, 's'), start_time).empty());
    EXPECT_TRUE(machine->answer(HandshakeAnswer::not_allowed, start_time).empty());
    EXPECT_TRUE(machine->status_acked(start_time).empty());
    EXPECT_TRUE(machine->answer_alive(false, start_time).empty());
    EXPECT_TRUE(machine->tick(start_time + 2 * timeout).empty());
  }
}

TEST(Handshake, answers_at_other_times_are_ignored) {
  Handshake acceptor(acceptor_config());
  EXPECT_TRUE(acceptor.answer(HandshakeAnswer::ok, start_time).empty());
  acceptor.start(start_time);
  EXPECT_TRUE(acceptor.answer(HandshakeAnswer::ok, start_time).empty());
  EXPECT_TRUE(acceptor.status_acked(start_time).empty());
  EXPECT_TRUE(acceptor.answer_alive(true, start_time).empty());
  receive_hex(acceptor, messages_of("fresh connection")[0]);
  EXPECT_TRUE(acceptor.status_acked(start_time).empty());
  EXPECT_EQ(acceptor.answer(HandshakeAnswer::ok, start_time).size(), 1U);
  EXPECT_TRUE(acceptor.answer(HandshakeAnswer::ok, start_time).empty());
  EXPECT_EQ(acceptor.status_acked(start_time).size(), 1U);
  EXPECT_TRUE(acceptor.status_acked(start_time).empty());
}

TEST(Flags, names_and_what_is_missing) {
  EXPECT_EQ(flag_names(0), "");
  EXPECT_EQ(flag_names(flag::unlink_id | flag::v4_nc | Flags{1} << 40U), "UNLINK_ID, V4_NC, bit 40");
  EXPECT_EQ(missing_mandatory(offered_flags), 0U);
  EXPECT_EQ(missing_mandatory(flag::mandatory_25_digest), flag::unlink_id | flag::v4_nc);
  EXPECT_EQ(degraded_features(offered_flags), "");
  EXPECT_EQ(degraded_features(offered_flags & ~flag::alias & ~flag::dist_monitor), "DIST_MONITOR, ALIAS");
  EXPECT_TRUE(has_monitors(offered_flags));
  EXPECT_FALSE(has_monitors(offered_flags & ~flag::dist_monitor_name));
}

}  // namespace
}  // namespace barrel_p2p::distribution
