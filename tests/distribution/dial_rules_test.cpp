// Simultaneous dials: who gives in, for how long the loser is held, and what comes after an attempt that ended.
#include "distribution/dial_rules.hpp"

#include <gtest/gtest.h>

#include <array>

namespace barrel_p2p::distribution {
namespace {

using Cause = ChannelEnd::Cause;

const Atom lesser("a@127.0.0.1");
const Atom greater("b@127.0.0.1");

constexpr std::array every_cause{Cause::local,     Cause::peer_closed,  Cause::lost,    Cause::authentication,
                                 Cause::handshake, Cause::keep_waiting, Cause::protocol};

ChannelEnd end_of(Cause cause, bool undecided = false) {
  ChannelEnd end;
  end.cause = cause;
  end.undecided = undecided;
  return end;
}

TEST(DialRules, a_peer_that_we_do_not_dial_is_let_in) {
  EXPECT_EQ(answer_to_name(false, OwnAttempt::none, lesser, greater), HandshakeAnswer::ok);
  EXPECT_EQ(answer_to_name(false, OwnAttempt::none, greater, lesser), HandshakeAnswer::ok);
}

TEST(DialRules, a_peer_that_is_connected_is_asked_whether_it_means_it) {
  for (const auto own : {OwnAttempt::none, OwnAttempt::nameless, OwnAttempt::named}) {
    EXPECT_EQ(answer_to_name(true, own, lesser, greater), HandshakeAnswer::alive);
    EXPECT_EQ(answer_to_name(true, own, greater, lesser), HandshakeAnswer::alive);
  }
}

TEST(DialRules, an_attempt_that_the_peer_has_not_heard_of_gives_in_whatever_the_names) {
  EXPECT_EQ(answer_to_name(false, OwnAttempt::nameless, lesser, greater), HandshakeAnswer::ok_simultaneous);
  EXPECT_EQ(answer_to_name(false, OwnAttempt::nameless, greater, lesser), HandshakeAnswer::ok_simultaneous);
}

TEST(DialRules, of_two_that_told_their_names_exactly_one_gives_in) {
  EXPECT_EQ(answer_to_name(false, OwnAttempt::named, lesser, greater), HandshakeAnswer::ok_simultaneous);
  EXPECT_EQ(answer_to_name(false, OwnAttempt::named, greater, lesser), HandshakeAnswer::hold);
}

TEST(DialRules, an_attempt_is_held_until_some_time_after_our_name_arrived) {
  const MonotonicTime arrived{};
  const Milliseconds whole = hold_left(std::nullopt, arrived);
  EXPECT_GE(whole, Milliseconds(50)) << "an Erlang node on a busy machine needs some";
  EXPECT_LE(whole, Milliseconds(200)) << "an Erlang node can do nothing else meanwhile";
  EXPECT_EQ(hold_left(std::nullopt, arrived + 10 * whole), whole) << "our name may still be on its way";
  EXPECT_EQ(hold_left(arrived, arrived), whole);
  EXPECT_EQ(hold_left(arrived, arrived + whole / 2), whole - whole / 2);
  EXPECT_EQ(hold_left(arrived, arrived + whole - std::chrono::microseconds(1)), Milliseconds(1))
      << "not a moment early";
  EXPECT_EQ(hold_left(arrived, arrived + whole), Milliseconds(0));
  EXPECT_EQ(hold_left(arrived, arrived + 10 * whole), Milliseconds(0));
}

TEST(DialRules, an_attempt_of_the_peer_that_was_answered_decides_however_ours_ended) {
  for (const auto cause : every_cause) {
    EXPECT_EQ(after_attempt(end_of(cause), true, false), AfterAttempt::await_peer);
  }
}

TEST(DialRules, a_peer_that_prefers_its_own_attempt_gets_time_for_it) {
  EXPECT_EQ(after_attempt(end_of(Cause::keep_waiting), false, false), AfterAttempt::dial_again_later);
  EXPECT_EQ(after_attempt(end_of(Cause::peer_closed, true), false, false), AfterAttempt::dial_again_later);
}

TEST(DialRules, what_was_lost_is_tried_again_and_what_was_refused_is_not) {
  EXPECT_EQ(after_attempt(end_of(Cause::lost), false, false), AfterAttempt::dial_again_soon);
  EXPECT_EQ(after_attempt(end_of(Cause::lost, true), false, false), AfterAttempt::dial_again_soon);
  EXPECT_EQ(after_attempt(end_of(Cause::peer_closed), false, false), AfterAttempt::dial_again_soon);
  for (const auto cause : {Cause::authentication, Cause::handshake, Cause::protocol}) {
    EXPECT_EQ(after_attempt(end_of(cause), false, false), AfterAttempt::give_up);
  }
}

TEST(DialRules, no_dial_goes_on_for_longer_than_it_may) {
  for (const auto cause : every_cause) {
    EXPECT_EQ(after_attempt(end_of(cause), false, true), AfterAttempt::give_up);
    EXPECT_EQ(after_attempt(end_of(cause), true, true), AfterAttempt::give_up);
  }
}

}  // namespace
}  // namespace barrel_p2p::distribution
