// Types of the program: what they are given, what is sent for them, and what their exceptions do.
#include "services/replicated_types.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;

const Atom own_node("a@h");
const Atom words("words");

/// Writes down what it is told; throws at `bomb`, and something odd at `grenade`.
class Recorder final : public ReplicatedType {
 public:
  void merge(const NodeName& from, const Term& change) override { note("change", from, change); }
  void merge_state(const NodeName& from, const Term& state) override { note("state", from, state); }
  std::optional<Term> state() const override {
    if (content == Atom("bomb")) throw std::runtime_error("a bomb");
    return content;
  }
  void node_gone(const NodeName& node) override { note("gone", node, Term()); }

  std::optional<Term> content;
  std::vector<std::string> told;

 private:
  void note(const char* what, const NodeName& node, const Term& term) {
    if (term.is_atom("bomb")) throw std::runtime_error("a bomb");
    if (term.is_atom("grenade")) throw 1;  // NOLINT(hicpp-exception-baseclass): as programs may
    told.push_back(std::string(what) + " " + node.string() + " " + to_text(term));
  }
};

class ReplicatedTypesTest : public ::testing::Test {
 protected:
  using Told = std::vector<std::string>;

  void open() { ASSERT_TRUE(types.add(words, recorder, now, effects)); }
  void receive(const Atom& from, const Term& content) {
    types.receive(words, from, Term::tuple({Atom("$barrel_p2p_replica"), content}), now, effects);
  }
  /// `to message` each, and `broadcast payload`.
  Told sent() {
    Told texts;
    for (const auto& effect : std::exchange(effects, {})) {
      if (const auto* send = std::get_if<Send>(&effect)) {
        EXPECT_EQ(send->name, words);
        texts.push_back(send->to.string() + " " + to_text(send->message[1]));
      } else {
        const auto& broadcast = std::get<Broadcast>(effect);
        EXPECT_EQ(broadcast.tag, words);
        texts.push_back("broadcast " + to_text(broadcast.payload));
      }
    }
    return texts;
  }
  void pass(Milliseconds time) {
    const auto end = now.monotonic + time;
    while (types.deadline() <= end) {
      now.monotonic = std::max(types.deadline(), now.monotonic);
      types.tick(now, effects);
    }
    now.monotonic = end;
  }

  const Atom b{"b@h"};
  const Atom c{"c@h"};
  Now now{MonotonicTime{} + 1h, 1'764'000'000'000};
  ReplicatedTypes types{{.own = own_node, .seed = 1, .types_max = 2}};
  std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
  Effects effects;
};

TEST_F(ReplicatedTypesTest, changes_are_broadcast_and_those_of_others_arrive_once_own_ones_never) {
  open();
  types.broadcast(words, Term(7), effects);
  EXPECT_EQ(sent(), Told{"broadcast {custom,a@h,7}"});
  types.deliver(words, Term::tuple({Atom("custom"), own_node, Term(7)}));
  types.deliver(words, Term::tuple({Atom("custom"), b, Term(8)}));
  types.deliver(words, Term::tuple({Atom("delta"), b, Term(9)}));
  EXPECT_EQ(recorder->told, (Told{"change b@h 8", "change b@h 9"}));
  for (const Term& odd : {Term(1), Term::tuple({Atom("custom"), Term(1), Term(8)}), Term::tuple({Atom("custom"), b})}) {
    types.deliver(words, odd);
  }
  EXPECT_EQ(recorder->told.size(), 2U);
}

TEST_F(ReplicatedTypesTest, a_type_that_comes_late_asks_the_neighbours_and_greets_them) {
  types.neighbour_up(b, now);
  types.neighbour_up(c, now);
  types.neighbour_up(c, now);
  types.set_native(c);
  types.neighbour_down(b);
  recorder->content = Term("all");
  open();
  EXPECT_EQ(sent(), Told{"c@h {request_sync,a@h}"});
  pass(1s);
  EXPECT_EQ(sent(), Told{"c@h {full_sync,a@h,<<\"all\">>}"});
}

TEST_F(ReplicatedTypesTest, new_neighbours_get_the_state_when_there_is_one_and_who_asks_too) {
  open();
  types.neighbour_up(b, now);
  pass(1s);
  EXPECT_EQ(sent(), Told{"b@h {request_sync,a@h}"}) << "there is none yet";
  recorder->content = Term(1);
  types.neighbour_up(c, now);
  pass(1s);
  EXPECT_EQ(sent(), (Told{"c@h {request_sync,a@h}", "c@h {full_sync,a@h,1}"}));
  receive(b, Term::tuple({Atom("request_sync"), b}));
  EXPECT_EQ(sent(), Told{"b@h {full_sync,a@h,1}"});
  pass(1min);
  EXPECT_FALSE(sent().empty()) << "one of the neighbours, again and again";
  types.leave();
  pass(10min);
  EXPECT_EQ(sent(), Told{});
}

TEST_F(ReplicatedTypesTest, states_are_merged_when_their_sender_is_who_it_says) {
  open();
  receive(b, Term::tuple({Atom("full_sync"), b, Term(1)}));
  receive(b, Term::tuple({Atom("full_sync"), c, Term(2)}));
  receive(b, Atom("nonsense"));
  EXPECT_EQ(recorder->told, Told{"state b@h 1"});
}

TEST_F(ReplicatedTypesTest, the_end_of_a_node_is_told_and_its_beginning_is_not) {
  open();
  types.liveness({.node = b, .alive = true});
  types.liveness({.node = b, .alive = false});
  EXPECT_EQ(recorder->told, Told{"gone b@h []"});
}

TEST_F(ReplicatedTypesTest, what_a_type_throws_is_kept_for_the_log_within_a_bound) {
  open();
  types.deliver(words, Term::tuple({Atom("custom"), b, Atom("bomb")}));
  types.deliver(words, Term::tuple({Atom("custom"), b, Atom("grenade")}));
  receive(b, Term::tuple({Atom("full_sync"), b, Atom("bomb")}));
  recorder->content = Term(Atom("bomb"));
  receive(b, Term::tuple({Atom("request_sync"), b}));
  EXPECT_EQ(sent(), Told{});
  EXPECT_EQ(types.take_complaints(),
            (Told{"the replicated type words threw: a bomb",
                  "the replicated type words threw: something that is no std::exception",
                  "the replicated type words threw: a bomb", "the replicated type words threw: a bomb"}));
  EXPECT_EQ(types.take_complaints(), Told{});
  for (int time = 0; time < 100; ++time) types.deliver(words, Term::tuple({Atom("custom"), b, Atom("bomb")}));
  EXPECT_EQ(types.take_complaints().size(), 16U);
  types.deliver(words, Term::tuple({Atom("custom"), b, Term(1)}));
  EXPECT_EQ(recorder->told, Told{"change b@h 1"});
}

TEST_F(ReplicatedTypesTest, names_are_one_types_own_and_their_number_is_bounded) {
  open();
  EXPECT_EQ(types.add(words, recorder, now, effects).error(), Errc::already_registered);
  EXPECT_TRUE(types.add(Atom("other"), recorder, now, effects));
  EXPECT_EQ(types.add(Atom("third"), recorder, now, effects).error(), Errc::limit_exceeded);
  EXPECT_TRUE(types.takes(words));
  types.remove(words);
  EXPECT_FALSE(types.takes(words));
  types.broadcast(words, Term(1), effects);
  types.deliver(words, Term::tuple({Atom("custom"), b, Term(1)}));
  receive(b, Term::tuple({Atom("full_sync"), b, Term(1)}));
  EXPECT_EQ(sent(), Told{});
  EXPECT_EQ(recorder->told, Told{});
  EXPECT_TRUE(types.add(words, recorder, now, effects));
}

}  // namespace
}  // namespace barrel_p2p::services
