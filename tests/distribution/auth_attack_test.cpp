// What a peer without the right key may try, against the machine alone. Protocol document 02, sections 11 and 15.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>

#include "distribution/auth_support.hpp"

namespace barrel_p2p::test {
namespace {

using namespace distribution;

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes hello(const NodeName& name, const PublicKey& key) { return encode(AuthHello{name, key}); }

Bytes challenge(std::uint8_t byte = 0x77, WallMilliseconds wall = test_wall) {
  return encode(AuthChallenge{nonce_of(byte), static_cast<std::uint64_t>(wall)});
}

/// A RESPONSE that claims `shown` and is made with `signer`.
Bytes response(const AuthTotal& to, const PrivateKey& signer, const PublicKey& shown,
               const Digest& binding = binding_of()) {
  for (const auto& message : to.messages) {
    if (const auto* theirs = std::get_if<AuthChallenge>(&message))
      return encode(AuthResponse{signer.sign(signed_text(*theirs, shown, binding))});
  }
  throw std::runtime_error("no challenge to answer");
}
Bytes response(const AuthTotal& to, const PrivateKey& key) { return response(to, key, key.public_key()); }

/// Starts the exchange and feeds it.
AuthTotal feed(AuthSide& side, ByteView bytes, AuthNow now = test_now()) {
  AuthTotal total;
  total.add(side.start(now));
  total.add(side.exchange->receive(bytes, now));
  return total;
}
void feed_more(AuthTotal& total, AuthSide& side, ByteView bytes, AuthNow now = test_now()) {
  total.add(side.exchange->receive(bytes, now));
}

const PrivateKey key_a = key_of(1);
const PrivateKey key_b = key_of(2);
const PrivateKey key_evil = key_of(0xEE);

AuthSide dialler(TrustMode mode = TrustMode::tofu) { return initiator("a@h", 1, "b@h", mode); }
AuthSide listener(TrustMode mode = TrustMode::tofu) { return responder("b@h", 2, mode); }

TEST(AuthExchange, two_honest_nodes_learn_name_and_key_of_each_other) {
  auto from = dialler();
  auto to = listener();
  auto result = run_exchange(from, to);
  EXPECT_EQ(result.initiator.story(), "HELLO CHALLENGE RESPONSE");
  EXPECT_EQ(result.responder.story(), "HELLO CHALLENGE RESPONSE OK");
  ASSERT_EQ(result.initiator.outcome(), "success");
  ASSERT_EQ(result.responder.outcome(), "success");
  EXPECT_TRUE(result.initiator.finished_stream);
  EXPECT_TRUE(result.responder.finished_stream);
  EXPECT_EQ(result.initiator.succeeded->name, NodeName("b@h"));
  EXPECT_EQ(result.initiator.succeeded->key, key_b.public_key());
  EXPECT_EQ(result.responder.succeeded->name, NodeName("a@h"));
  EXPECT_EQ(result.responder.succeeded->key, key_a.public_key());
  EXPECT_FALSE(from.exchange->deadline().has_value());
}

TEST(AuthExchange, pieces_of_one_byte_change_nothing) {
  auto from = dialler();
  auto to = listener();
  const auto whole = run_exchange(from, to);
  auto again = listener();
  again.nonce = to.nonce;
  --again.nonce[0];  // `start` counts up
  AuthTotal total;
  total.add(again.start());
  for (const auto byte : whole.initiator.sent) feed_more(total, again, ByteView(&byte, 1));
  EXPECT_EQ(total.outcome(), "success");
  EXPECT_EQ(total.sent, whole.responder.sent);
}

TEST(AuthExchange, an_exchange_that_is_over_says_nothing_more) {
  auto side = listener();
  auto total = feed(side, encode(AuthOk{}));
  ASSERT_EQ(total.outcome(), "unexpected_message");
  EXPECT_TRUE(side.exchange->finished());
  EXPECT_TRUE(side.exchange->receive(hello("a@h", key_a.public_key()), test_now()).empty());
  EXPECT_TRUE(side.exchange->stream_ended(test_now()).empty());
  EXPECT_TRUE(side.exchange->tick(test_now(std::chrono::hours(1))).empty());
}

TEST(AuthAttacks, whoever_lacks_the_private_key_of_its_hello_is_refused) {
  auto to = listener();
  auto at_responder = feed(to, joined({hello("a@h", key_a.public_key()), challenge()}));
  feed_more(at_responder, to, response(at_responder, key_evil, key_a.public_key()));
  EXPECT_EQ(at_responder.outcome(), "signature_invalid");
  EXPECT_EQ(at_responder.story(), "HELLO CHALLENGE RESPONSE FAIL(signature_invalid)");
  EXPECT_EQ(at_responder.failed->claimed, NodeName("a@h"));
  EXPECT_EQ(at_responder.failed->presented, key_a.public_key());

  auto from = dialler();
  auto at_initiator = feed(from, joined({hello("b@h", key_b.public_key()), challenge()}));
  feed_more(at_initiator, from, response(at_initiator, key_evil, key_b.public_key()));
  EXPECT_EQ(at_initiator.outcome(), "signature_invalid");
  EXPECT_EQ(at_initiator.story(), "HELLO CHALLENGE") << "neither a signature nor a reason for a stranger";
}

TEST(AuthAttacks, a_signature_that_names_another_key_is_refused) {
  auto to = listener();
  auto total = feed(to, joined({hello("a@h", key_a.public_key()), challenge()}));
  feed_more(total, to, response(total, key_a, key_evil.public_key()));
  EXPECT_EQ(total.outcome(), "signature_invalid");
}

TEST(AuthAttacks, another_key_under_a_pinned_name_is_refused_before_any_challenge) {
  for (const auto mode : {TrustMode::tofu, TrustMode::strict}) {
    auto to = listener(mode);
    ASSERT_TRUE(to.trust->pin("a@h", key_a.public_key()));
    const auto total = feed(to, joined({hello("a@h", key_evil.public_key()), challenge()}));
    EXPECT_EQ(total.outcome(), "key_mismatch");
    EXPECT_EQ(total.story(), "FAIL(key_mismatch)");
    EXPECT_EQ(to.trust->find("a@h"), key_a.public_key());

    auto from = dialler(mode);
    ASSERT_TRUE(from.trust->pin("b@h", key_b.public_key()));
    const auto dialled = feed(from, joined({hello("b@h", key_evil.public_key()), challenge()}));
    EXPECT_EQ(dialled.outcome(), "key_mismatch");
    EXPECT_EQ(dialled.story(), "HELLO");
  }
}

TEST(AuthAttacks, a_node_with_a_good_key_cannot_answer_for_another_name) {
  auto from = dialler();
  ASSERT_TRUE(from.trust->pin("c@h", key_evil.public_key()));
  const auto total = feed(from, joined({hello("c@h", key_evil.public_key()), challenge()}));
  EXPECT_EQ(total.outcome(), "name_not_dialled");
  EXPECT_EQ(total.story(), "HELLO");
}

TEST(AuthAttacks, a_key_that_is_pinned_for_another_name_is_told_or_refused) {
  for (const bool refuse : {false, true}) {
    auto from = initiator("new@h", 3, "b@h");
    auto to = listener();
    to.settings.refuse_shared_keys = refuse;
    ASSERT_TRUE(to.trust->pin("old@h", key_of(3).public_key()));
    const auto result = run_exchange(from, to);
    if (refuse) {
      EXPECT_EQ(result.responder.outcome(), "shared_key");
      EXPECT_EQ(result.initiator.outcome(), "rejected");
      EXPECT_EQ(result.initiator.failed->detail, "shared_key");
    } else {
      ASSERT_EQ(result.responder.outcome(), "success");
      ASSERT_EQ(result.responder.succeeded->warnings.size(), 1U);
      EXPECT_NE(result.responder.succeeded->warnings[0].find("old@h"), std::string::npos);
    }
  }
}

TEST(AuthAttacks, an_unproven_claim_to_a_shared_key_makes_no_warning) {
  auto to = listener();
  ASSERT_TRUE(to.trust->pin("old@h", key_a.public_key()));
  auto total = feed(to, joined({hello("a@h", key_a.public_key()), challenge()}));
  feed_more(total, to, response(total, key_evil, key_a.public_key()));
  EXPECT_EQ(total.outcome(), "signature_invalid");
}

TEST(AuthAttacks, strict_nodes_refuse_whom_they_do_not_know) {
  auto to = listener(TrustMode::strict);
  const auto total = feed(to, joined({hello("a@h", key_a.public_key()), challenge()}));
  EXPECT_EQ(total.outcome(), "untrusted_key");
  EXPECT_EQ(total.story(), "FAIL(untrusted_key)");
  ASSERT_TRUE(to.trust->pin("a@h", key_a.public_key()));
  auto from = dialler();
  EXPECT_EQ(run_exchange(from, to).responder.outcome(), "success");
}

TEST(AuthAttacks, our_own_words_are_not_taken_for_those_of_a_peer) {
  // Name and key, as they are.
  auto to = listener();
  EXPECT_EQ(feed(to, hello("b@h", key_b.public_key())).outcome(), "reflected");
  // Our name with a foreign key; our key with a foreign name.
  EXPECT_EQ(feed(to, hello("b@h", key_evil.public_key())).outcome(), "reflected");
  EXPECT_EQ(feed(to, hello("c@h", key_b.public_key())).outcome(), "reflected");
  // Our own nonce, under a key of the attacker: it would have us sign what it can show to us.
  auto total = feed(to, hello("a@h", key_a.public_key()));
  feed_more(total, to, encode(total.messages.at(1)));
  EXPECT_EQ(total.outcome(), "reflected");
  EXPECT_EQ(total.story(), "HELLO CHALLENGE FAIL(reflected)");

  auto from = dialler();
  auto back = feed(from, hello("b@h", key_b.public_key()));
  feed_more(back, from, encode(back.messages.at(1)));
  EXPECT_EQ(back.outcome(), "reflected");
  EXPECT_EQ(back.story(), "HELLO CHALLENGE");
}

TEST(AuthAttacks, two_exchanges_of_one_node_cannot_be_played_against_each_other) {
  // The attacker dials b, is dialled by b, and hands b's signature from one exchange to the other.
  auto listening = listener();
  auto dialling = initiator("b@h", 2, "c@h");
  dialling.nonce = nonce_of(0x33);
  auto at_listener = feed(listening, hello("c@h", key_evil.public_key()));
  auto at_dialler = feed(dialling, hello("c@h", key_evil.public_key()));
  feed_more(at_listener, listening, encode(at_dialler.messages.at(1)));
  ASSERT_EQ(at_listener.story(), "HELLO CHALLENGE RESPONSE");
  feed_more(at_dialler, dialling, joined({challenge(), encode(at_listener.messages.at(2))}));
  EXPECT_EQ(at_dialler.outcome(), "signature_invalid");
}

TEST(AuthAttacks, a_recorded_exchange_cannot_be_replayed) {
  auto from = dialler();
  auto to = listener();
  const auto recorded = run_exchange(from, to);
  ASSERT_EQ(recorded.responder.outcome(), "success");
  EXPECT_EQ(feed(to, recorded.initiator.sent).outcome(), "signature_invalid");
  EXPECT_EQ(feed(from, recorded.responder.sent).outcome(), "signature_invalid");
}

TEST(AuthAttacks, a_relay_with_its_own_certificate_is_noticed) {
  auto from = dialler();
  auto to = listener();
  from.binding = binding_of(0xDD);  // the certificate of the relay
  const auto result = run_exchange(from, to);
  EXPECT_EQ(result.initiator.outcome(), "signature_invalid");
  EXPECT_EQ(result.initiator.story(), "HELLO CHALLENGE");
  EXPECT_EQ(result.responder.outcome(), "nothing") << "it waits for a signature that never comes";
}

TEST(AuthAttacks, weak_keys_are_refused_in_both_roles) {
  Signature universal{};
  universal[0] = 1;  // verifies for every text where small orders are accepted
  PublicKey identity{};
  identity[0] = 1;
  PublicKey not_canonical{};
  not_canonical.fill(0xff);
  not_canonical[31] = 0x7f;
  for (const auto& weak : {identity, not_canonical, PublicKey{}}) {
    auto to = listener();
    const auto answer = encode(AuthResponse{universal});
    EXPECT_EQ(feed(to, joined({hello("a@h", weak), challenge(), answer})).story(), "FAIL(weak_key)");
    auto from = dialler();
    EXPECT_EQ(feed(from, joined({hello("b@h", weak), challenge(), answer})).outcome(), "weak_key");
  }
}

TEST(AuthAttacks, a_point_of_small_order_in_the_signature_is_refused) {
  auto to = listener();
  auto total = feed(to, joined({hello("a@h", key_a.public_key()), challenge()}));
  Signature forged{};
  forged[0] = 1;
  feed_more(total, to, encode(AuthResponse{forged}));
  EXPECT_EQ(total.outcome(), "signature_invalid");
}

TEST(AuthAttacks, every_flipped_bit_of_key_and_signature_is_noticed) {
  auto from = dialler();
  auto to = listener();
  const auto sent = run_exchange(from, to).initiator.sent;
  const std::size_t hello_bytes = hello("a@h", key_a.public_key()).size();
  const std::size_t response_at = hello_bytes + challenge().size();
  for (std::size_t bit = 0; bit < sent.size() * 8; ++bit) {
    const std::size_t at = bit / 8;
    const bool proven = (at >= hello_bytes - 32 && at < hello_bytes) || at >= response_at;
    if (!proven) continue;  // names are not signed on this wire; challenges are, by the other side
    Bytes flipped = sent;
    flipped[at] = static_cast<std::uint8_t>(flipped[at] ^ (1U << (bit % 8)));
    auto again = listener();
    again.nonce = to.nonce;
    --again.nonce[0];
    const auto total = feed(again, flipped);
    EXPECT_NE(total.outcome(), "success") << bit;
    EXPECT_TRUE(again.trust->list().empty());
  }
}

TEST(AuthAttacks, absurd_times_of_a_challenge_are_refused) {
  for (const std::uint64_t stamp : {std::uint64_t{0}, std::uint64_t{1} << 63U, ~std::uint64_t{0}}) {
    auto to = listener();
    const auto total = feed(to, joined({hello("a@h", key_a.public_key()), encode(AuthChallenge{nonce_of(7), stamp})}));
    EXPECT_EQ(total.story(), "HELLO CHALLENGE FAIL(clock_skew)") << stamp;
  }
}

TEST(AuthAttacks, a_signature_that_comes_after_the_window_is_refused) {
  for (const auto& [late, outcome] : {std::pair{30'000, "success"}, {30'001, "signature_invalid"}}) {
    auto to = listener();
    to.settings.timeout = std::chrono::minutes(5);
    auto total = feed(to, joined({hello("a@h", key_a.public_key()), challenge()}));
    feed_more(total, to, response(total, key_a), test_now(Milliseconds(late)));
    EXPECT_EQ(total.outcome(), outcome) << late;
  }
}

TEST(AuthAttacks, silence_and_dripping_end_at_one_deadline) {
  const Milliseconds timeout(10'000);
  auto silent = listener();
  AuthTotal total;
  total.add(silent.start(test_now()));
  EXPECT_EQ(silent.exchange->deadline(), test_now(timeout).monotonic);
  total.add(silent.exchange->tick(test_now(timeout - Milliseconds(1))));
  EXPECT_EQ(total.outcome(), "nothing");
  total.add(silent.exchange->tick(test_now(timeout)));
  EXPECT_EQ(total.story(), "FAIL(timeout)");

  auto dripped = listener();
  const auto bytes = hello("a@h", key_a.public_key());
  AuthTotal drips;
  drips.add(dripped.start(test_now()));
  for (std::size_t at = 0; at + 1 < bytes.size(); ++at) {
    const auto time = static_cast<long long>(at) * timeout.count() / static_cast<long long>(bytes.size());
    feed_more(drips, dripped, ByteView(&bytes[at], 1), test_now(Milliseconds(time)));
  }
  EXPECT_EQ(drips.outcome(), "nothing");
  feed_more(drips, dripped, ByteView(&bytes.back(), 1), test_now(timeout));
  EXPECT_EQ(drips.outcome(), "timeout");
}

TEST(AuthAttacks, messages_above_512_bytes_are_refused_at_their_announcement) {
  for (const auto& [size, outcome] :
       {std::pair{512U, "nothing"}, {513U, "protocol_error"}, {65'535U, "protocol_error"}}) {
    const Bytes announcement{static_cast<std::uint8_t>(size >> 8U), static_cast<std::uint8_t>(size)};
    auto to = listener();
    EXPECT_EQ(feed(to, announcement).outcome(), outcome) << size;
  }
}

TEST(AuthAttacks, a_reason_is_cut_and_printable_whatever_the_peer_wrote) {
  auto from = dialler();
  const auto total = feed(from, encode(AuthFail{"no\r\n\x1b[31m\xff" + std::string(300, 'x')}));
  ASSERT_EQ(total.outcome(), "rejected");
  EXPECT_EQ(total.failed->detail, "no???[31m?" + std::string(70, 'x'));
  EXPECT_EQ(total.story(), "HELLO");
}

TEST(AuthAttacks, every_truncated_exchange_fails_when_its_stream_ends) {
  auto from = dialler();
  auto to = listener();
  const auto result = run_exchange(from, to);
  for (std::size_t size = 0; size < result.initiator.sent.size(); ++size) {
    auto again = listener();
    again.nonce = to.nonce;
    --again.nonce[0];
    auto total = feed(again, ByteView(result.initiator.sent).first(size));
    total.add(again.exchange->stream_ended(test_now()));
    EXPECT_EQ(total.outcome(), "stream_ended") << size;
  }
  for (std::size_t size = 0; size < result.responder.sent.size(); ++size) {
    auto again = dialler();
    again.nonce = from.nonce;
    --again.nonce[0];
    auto total = feed(again, ByteView(result.responder.sent).first(size));
    total.add(again.exchange->stream_ended(test_now()));
    EXPECT_EQ(total.outcome(), "stream_ended") << size;
  }
}

TEST(AuthAttacks, a_message_out_of_order_ends_the_exchange_in_every_state) {
  const std::array<Bytes, 5> kinds{hello("a@h", key_a.public_key()), challenge(), encode(AuthResponse{}),
                                   encode(AuthOk{}), encode(AuthFail{"no"})};
  for (std::size_t state = 0; state < 3; ++state) {
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      if (kind == state) continue;
      auto to = listener();
      auto total = feed(to, joined({state > 0 ? kinds[0] : Bytes(), state > 1 ? kinds[1] : Bytes(), kinds.at(kind)}));
      EXPECT_EQ(total.outcome(), "unexpected_message") << "responder " << state << " " << kind;

      const auto from_b = hello("b@h", key_b.public_key());
      auto from = dialler();
      auto back = feed(from, joined({state > 0 ? from_b : Bytes(), state > 1 ? kinds[1] : Bytes(),
                                     kind == 0 ? from_b : kinds.at(kind)}));
      const bool ok_first = state == 0 && kind == 3;
      EXPECT_EQ(back.outcome(), kind == 4  ? "rejected"
                                : ok_first ? "unexpected_auth_ok"
                                           : "unexpected_message")
          << "initiator " << state << " " << kind;
      EXPECT_EQ(back.story().find("FAIL"), std::string::npos);
    }
  }
}

TEST(AuthAttacks, ok_is_believed_only_after_the_proof) {
  auto from = dialler();
  auto total = feed(from, joined({hello("b@h", key_b.public_key()), challenge()}));
  feed_more(total, from, response(total, key_b));
  EXPECT_EQ(total.outcome(), "nothing");
  EXPECT_TRUE(from.trust->list().empty());
  feed_more(total, from, joined({encode(AuthOk{}), Bytes(600, 0xFF)}));
  EXPECT_EQ(total.outcome(), "success") << "what follows the last message is dropped";
}

TEST(AuthCookieOnly, both_sides_must_list_each_other) {
  for (const bool responder_lists : {false, true}) {
    for (const bool initiator_lists : {false, true}) {
      auto from = dialler();
      auto to = listener();
      if (initiator_lists) from.settings.cookie_only_nodes = {"b@*"};
      if (responder_lists) to.settings.cookie_only_nodes = {"*@h"};
      const auto result = run_exchange(from, to);
      if (!responder_lists) {
        EXPECT_EQ(result.initiator.outcome(), "success");
        EXPECT_TRUE(result.initiator.succeeded->key.has_value()) << "who can prove itself, must";
        continue;
      }
      EXPECT_EQ(result.responder.story(), "OK");
      ASSERT_EQ(result.responder.outcome(), "success");
      EXPECT_FALSE(result.responder.succeeded->key.has_value());
      EXPECT_FALSE(result.responder.succeeded->pin.holds());
      EXPECT_EQ(result.responder.succeeded->warnings.size(), 1U);
      EXPECT_EQ(result.initiator.outcome(), initiator_lists ? "success" : "unexpected_auth_ok");
      if (initiator_lists) {
        EXPECT_EQ(result.initiator.succeeded->name, NodeName("b@h"));
        EXPECT_FALSE(result.initiator.succeeded->key.has_value());
      }
      EXPECT_TRUE(from.trust->list().empty());
      EXPECT_TRUE(to.trust->list().empty());
    }
  }
}

TEST(AuthCookieOnly, our_own_name_is_refused_even_when_it_is_listed) {
  auto to = listener();
  to.settings.cookie_only_nodes = {"*@*"};
  EXPECT_EQ(feed(to, hello("b@h", key_evil.public_key())).outcome(), "reflected");
}

TEST(AuthPins, nothing_is_pinned_before_the_commit) {
  auto from = dialler();
  auto to = listener();
  auto result = run_exchange(from, to);
  ASSERT_EQ(result.responder.outcome(), "success");
  EXPECT_TRUE(result.responder.succeeded->pin.holds());
  EXPECT_TRUE(to.trust->list().empty());
  EXPECT_TRUE(from.trust->list().empty());
  ASSERT_TRUE(result.responder.succeeded->pin.commit());
  ASSERT_TRUE(result.initiator.succeeded->pin.commit());
  EXPECT_EQ(to.trust->find("a@h"), key_a.public_key());
  EXPECT_EQ(from.trust->find("b@h"), key_b.public_key());
  EXPECT_FALSE(run_exchange(from, to).responder.succeeded->pin.holds()) << "it is pinned already";
}

TEST(AuthPins, of_two_keys_for_a_new_name_the_first_that_is_committed_has_it) {
  auto to = listener();
  auto first = dialler();
  auto held = run_exchange(first, to);
  auto second = initiator("a@h", 0xEE, "b@h");
  auto other = run_exchange(second, to);
  ASSERT_EQ(held.responder.outcome(), "success");
  ASSERT_EQ(other.responder.outcome(), "success") << "the first one has not proven the cookie";
  ASSERT_TRUE(other.responder.succeeded->pin.commit());
  EXPECT_EQ(held.responder.succeeded->pin.commit().error(), Errc::key_mismatch);
  EXPECT_EQ(to.trust->find("a@h"), second.key.public_key());

  const auto refused = run_exchange(first, to);
  EXPECT_EQ(refused.responder.story(), "FAIL(key_mismatch)");
  EXPECT_EQ(refused.initiator.failed->detail, "key_mismatch");
}

TEST(AuthPins, limits_of_the_store_are_told_as_such) {
  auto to = listener();
  to.trust = TrustStore::in_memory(TrustMode::tofu, {.pins_max = 1, .pins_per_minute_max = 10});
  auto first = dialler();
  auto held = run_exchange(first, to);
  ASSERT_EQ(held.responder.outcome(), "success");
  ASSERT_TRUE(held.responder.succeeded->pin.commit());
  auto second = initiator("c@h", 3, "b@h");
  EXPECT_EQ(run_exchange(second, to).responder.story(), "HELLO CHALLENGE RESPONSE FAIL(too_many_pins)");
}

}  // namespace
}  // namespace barrel_p2p::test
