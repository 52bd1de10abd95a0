// What HyParView promises, one machine at a time.
#include "overlay/hyparview.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iterator>
#include <set>
#include <string>

#include "overlay/hyparview_support.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::overlay::test {
namespace {

using namespace std::chrono_literals;

HyParViewConfig small(std::size_t active_size) {
  HyParViewConfig config;
  config.active_size = active_size;
  return config;
}

bool has(const Lines& lines, const std::string& line) { return std::ranges::find(lines, line) != lines.end(); }

Lines starting(const Lines& lines, const std::string& start) {
  Lines found;
  std::ranges::copy_if(lines, std::back_inserter(found), [&](const auto& line) { return line.starts_with(start); });
  return found;
}

}  // namespace

TEST(HyParView, a_node_cannot_join_itself) {
  Machine me;
  EXPECT_EQ(me.join("me"), Lines{});
  EXPECT_EQ(me.joined.error(), Errc::cannot_connect_self);
}

TEST(HyParView, join_dials_and_says_so_when_the_channel_is_up) {
  Machine me;
  EXPECT_EQ(me.join("a"), Lines{"connect a"});
  EXPECT_EQ(me.up("a"), (Lines{"join > a", "up a"}));
}

TEST(HyParView, join_of_a_connected_node_needs_no_dial) {
  Machine me;
  me.up("a");
  EXPECT_EQ(me.join("a"), (Lines{"join > a", "up a"}));
}

TEST(HyParView, join_of_a_neighbour_does_nothing) {
  Machine me;
  me.fill({"a"});
  EXPECT_EQ(me.join("a"), Lines{});
}

TEST(HyParView, a_newcomer_is_sent_on_walks_and_told_of_others) {
  Machine me;
  me.fill({"a", "b"});
  me.up_native("c");
  const auto lines = me.receive("c", Join{});
  EXPECT_EQ(starting(lines, "forward_join"), (Lines{"forward_join c 6 > a", "forward_join c 6 > b"}));
  EXPECT_EQ(starting(lines, "up"), Lines{"up c"});
  EXPECT_EQ(starting(lines, "shuffle_reply").size(), 1U);
}

TEST(HyParView, an_erlang_newcomer_is_not_told_of_others) {
  Machine me;
  me.fill({"a"});
  me.up("c");
  EXPECT_EQ(me.receive("c", Join{}), (Lines{"up c", "neighbor low > c", "forward_join c 6 > a"}));
}

TEST(HyParView, a_full_view_makes_room_for_a_newcomer_and_keeps_the_victim_in_mind) {
  Machine me(small(2));
  me.fill({"a", "b"});
  me.up_native("c");
  const auto lines = me.receive("c", Join{});
  EXPECT_EQ(starting(lines, "disconnect").size(), 1U);
  EXPECT_EQ(starting(lines, "down").size(), 1U);
  EXPECT_EQ(me.view.active_view().size(), 2U);
  EXPECT_EQ(me.view.passive_view().size(), 1U);
}

TEST(HyParView, cpp_nodes_make_room_before_erlang_nodes_do) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    auto config = small(2);
    config.seed = seed;
    Machine me(config);
    me.up("erlang");
    me.receive("erlang", Join{});
    me.fill({"b"});
    me.up_native("c");
    EXPECT_TRUE(has(me.receive("c", Join{}), "disconnect > b"));
  }
}

TEST(HyParView, erlang_nodes_alone_may_exceed_the_size_before_one_is_dropped) {
  Machine me(small(2));
  for (const auto* node : {"a", "b", "c", "d"}) {
    me.up(node);
    EXPECT_TRUE(starting(me.receive(node, Join{}), "disconnect").empty());
  }
  me.up("e");
  EXPECT_EQ(starting(me.receive("e", Join{}), "disconnect").size(), 1U);
  EXPECT_EQ(me.view.active_view().size(), 4U);
}

TEST(HyParView, where_a_walk_ends_the_newcomer_is_asked) {
  Machine me(small(2));
  me.fill({"a", "b"});
  EXPECT_EQ(me.receive("a", ForwardJoin{Atom("n@h"), 0}), Lines{"connect n"});
  EXPECT_EQ(me.up_native("n"), Lines{"neighbor low > n"});
  const auto lines = me.receive("n", NeighborReply{true});
  EXPECT_TRUE(has(lines, "up n"));
  EXPECT_EQ(starting(lines, "disconnect").size(), 1U);
}

TEST(HyParView, near_the_contact_a_walk_goes_on_even_if_there_is_room) {
  Machine me;
  me.fill({"a", "b"});
  EXPECT_EQ(me.receive("a", ForwardJoin{Atom("n@h"), 6}), Lines{"forward_join n 5 > b"});
}

TEST(HyParView, farther_away_it_ends_where_there_is_room) {
  Machine me;
  me.fill({"a", "b"});
  EXPECT_EQ(me.receive("a", ForwardJoin{Atom("n@h"), 2}), Lines{"connect n"});
}

TEST(HyParView, a_walk_enters_the_passive_view_on_its_way) {
  Machine me(small(2));
  me.fill({"a", "b"});
  me.receive("a", ForwardJoin{Atom("n@h"), 3});
  EXPECT_EQ(me.view.passive_view(), std::vector<Atom>{Atom("n@h")});
}

TEST(HyParView, a_neighbour_that_goes_is_replaced_from_the_passive_view) {
  Machine me(small(2));
  me.fill({"a", "b"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  EXPECT_EQ(me.down("b"), (Lines{"down b nodedown", "connect p"}));
  EXPECT_EQ(me.up_native("p"), Lines{"neighbor low > p"});
  EXPECT_EQ(me.receive("p", NeighborReply{true}), Lines{"up p"});
  EXPECT_EQ(me.view.active_view().size(), 2U);
}

TEST(HyParView, who_has_nobody_asks_with_high_priority) {
  Machine me(small(2));
  me.fill({"a"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  me.down("a");
  EXPECT_EQ(me.up_native("p"), Lines{"neighbor high > p"});
}

TEST(HyParView, high_priority_is_never_refused) {
  Machine me(small(1));
  me.fill({"a"});
  me.up_native("n");
  EXPECT_EQ(me.receive("n", Neighbor{true}),
            (Lines{"neighbor_reply true > n", "disconnect > a", "down a dropped", "up n"}));
}

TEST(HyParView, low_priority_is_refused_when_there_is_no_room) {
  Machine me(small(1));
  me.fill({"a"});
  me.up_native("n");
  EXPECT_EQ(me.receive("n", Neighbor{false}), Lines{"neighbor_reply false > n"});
}

TEST(HyParView, a_neighbour_that_asks_again_is_told_yes_and_nothing_changes) {
  Machine me(small(1));
  me.fill({"a"});
  EXPECT_EQ(me.receive("a", Neighbor{true}), Lines{"neighbor_reply true > a"});
}

TEST(HyParView, who_refuses_stays_known_and_is_not_asked_again_at_once) {
  Machine me(small(2));
  me.fill({"a"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  me.up_native("p");
  EXPECT_EQ(me.receive("p", NeighborReply{false}), Lines{});
  EXPECT_EQ(me.view.passive_view(), std::vector<Atom>{Atom("p@h")});
  EXPECT_TRUE(starting(me.pass(3s), "neighbor").empty());
  EXPECT_TRUE(has(me.pass(10s), "neighbor low > p"));
}

TEST(HyParView, a_yes_that_comes_when_the_place_is_taken_is_answered_with_a_word) {
  Machine me(small(2));
  me.fill({"a"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  EXPECT_EQ(me.up_native("p"), Lines{"neighbor low > p"});
  me.fill({"b"});
  EXPECT_EQ(me.receive("p", NeighborReply{true}), Lines{"disconnect > p"});
}

TEST(HyParView, a_yes_that_was_not_asked_for_is_taken_or_taken_back) {
  Machine me(small(1));
  me.up_native("a");
  EXPECT_EQ(me.receive("a", NeighborReply{true}), Lines{"up a"});
  me.up_native("b");
  EXPECT_EQ(me.receive("b", NeighborReply{true}), Lines{"disconnect > b"});
}

TEST(HyParView, who_sends_us_away_is_not_asked_at_once) {
  Machine me;
  me.fill({"a"});
  EXPECT_EQ(me.receive("a", Disconnect{}), Lines{"down a graceful"});
  EXPECT_TRUE(starting(me.pass(2s), "neighbor").empty());
  EXPECT_TRUE(has(me.pass(10s), "neighbor high > a"));
}

TEST(HyParView, leaving_tells_everybody_once_and_then_refuses_everybody) {
  Machine me;
  me.fill({"a", "b"});
  EXPECT_EQ(me.leave(), (Lines{"leave me 6 > b", "down b left", "leave me 6 > a", "down a left", "left"}));
  EXPECT_EQ(me.receive("a", Join{}), Lines{"leave me 0 > a"});
  EXPECT_EQ(me.receive("a", Neighbor{true}), Lines{"leave me 0 > a"});
  EXPECT_EQ(me.receive("a", ForwardJoin{Atom("n@h"), 0}), Lines{});
  EXPECT_EQ(me.receive("a", ShuffleReply{{Atom("n@h")}}), Lines{});
  EXPECT_EQ(me.pass(10min), Lines{});
  EXPECT_TRUE(me.view.active_view().empty());
  EXPECT_TRUE(me.view.passive_view().empty());
}

TEST(HyParView, an_erlang_node_is_told_in_its_own_words_that_we_left) {
  Machine me;
  me.up("erl");
  me.receive("erl", Join{});
  EXPECT_EQ(me.leave(), (Lines{"disconnect > erl", "down erl left", "left"}));
  EXPECT_EQ(me.receive("erl", Join{}), Lines{"disconnect > erl"});
  EXPECT_EQ(me.receive("erl", Neighbor{true}), Lines{"neighbor_reply false > erl"});
}

TEST(HyParView, who_leaves_is_forgotten_and_the_word_goes_round_once) {
  Machine me;
  me.fill({"a", "b", "c"});
  EXPECT_EQ(me.receive("a", Leave{Atom("a@h"), 6}), (Lines{"down a graceful", "leave a 5 > c", "leave a 5 > b"}));
  EXPECT_TRUE(me.view.passive_view().empty());
  EXPECT_EQ(me.receive("b", Leave{Atom("a@h"), 5}), Lines{}) << "known already";
  me.receive("b", ShuffleReply{{Atom("a@h")}});
  EXPECT_TRUE(me.view.passive_view().empty()) << "others may not have heard of it yet";
  EXPECT_EQ(me.view.counters().departures, 1U);
}

TEST(HyParView, hearsay_of_a_departure_ends_the_knowledge_of_a_node_but_no_neighbourhood) {
  Machine me;
  me.fill({"a", "b"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  EXPECT_EQ(me.receive("a", Leave{Atom("b@h"), 6}), Lines{});
  EXPECT_EQ(me.receive("a", Leave{Atom("me@h"), 6}), Lines{});
  EXPECT_EQ(me.receive("a", Leave{Atom("p@h"), 0}), Lines{}) << "its way ends here";
  EXPECT_TRUE(me.view.passive_view().empty());
  EXPECT_EQ(me.view.active_view().size(), 2U);
}

TEST(HyParView, who_left_and_comes_back_is_known_again) {
  Machine me;
  me.fill({"a", "b"});
  me.receive("b", Leave{Atom("b@h"), 0});
  EXPECT_EQ(me.receive("b", Join{}), (Lines{"up b", "shuffle_reply [a me] > b", "forward_join b 6 > a"}));
  me.receive("a", Leave{Atom("c@h"), 0});
  me.receive("a", ForwardJoin{Atom("c@h"), 3});
  EXPECT_EQ(me.view.passive_view(), std::vector<Atom>{Atom("c@h")}) << "a walk of its";
  me.receive("a", Leave{Atom("d@h"), 0});
  me.pass(5min);
  me.receive("a", ShuffleReply{{Atom("d@h")}});
  EXPECT_TRUE(std::ranges::count(me.view.passive_view(), Atom("d@h")) == 1) << "words are not believed for ever";
}

TEST(HyParView, departures_are_remembered_within_a_bound_and_what_is_not_remembered_ends_here) {
  HyParViewConfig config;
  config.departed_max = 2;
  Machine me(config);
  me.fill({"a", "b"});
  EXPECT_EQ(me.receive("a", Leave{Atom("p@h"), 6}), Lines{"leave p 5 > b"});
  EXPECT_EQ(me.receive("a", Leave{Atom("q@h"), 32}), Lines{"leave q 11 > b"})
      << "nobody's word goes farther than twice arwl";
  EXPECT_EQ(me.receive("a", Leave{Atom("r@h"), 6}), Lines{});
  me.receive("a", ShuffleReply{{Atom("p@h"), Atom("q@h"), Atom("r@h")}});
  EXPECT_EQ(me.view.passive_view(), std::vector<Atom>{Atom("r@h")});
  me.pass(5min);
  EXPECT_EQ(me.receive("a", Leave{Atom("r@h"), 6}), Lines{"leave r 5 > b"});
}

TEST(HyParView, after_leaving_a_node_can_join_again) {
  Machine me;
  me.fill({"a"});
  me.leave();
  EXPECT_EQ(me.join("a"), (Lines{"join > a", "up a"}));
  EXPECT_TRUE(has(me.receive("a", Neighbor{true}), "neighbor_reply true > a"));
}

TEST(HyParView, a_lost_neighbour_is_tried_again_and_again_and_asked_with_high_priority) {
  auto config = small(2);
  config.fail_count_max = 1;
  Machine me(config);
  me.fill({"a", "b"});
  me.down("b");
  std::size_t dials = 0;
  for (int minute = 0; minute < 10; ++minute) {
    for (const auto& line : starting(me.pass(1min), "connect b")) {
      ++dials;
      me.connect_failed(line.substr(8));
    }
  }
  EXPECT_GE(dials, 8U);  // about one a minute for ever
  EXPECT_LE(dials, 25U);
  me.pass(2min);
  EXPECT_EQ(me.up_native("b"), Lines{"neighbor high > b"});
  EXPECT_EQ(me.receive("b", NeighborReply{true}), Lines{"up b"});
}

TEST(HyParView, a_restarted_neighbour_goes_down_and_comes_up) {
  Machine me;
  me.fill({"a", "b"});
  EXPECT_TRUE(has(me.down("a"), "down a nodedown"));
  EXPECT_TRUE(starting(me.up_native("a"), "up").empty());
  EXPECT_TRUE(has(me.receive("a", Join{}), "up a"));
}

TEST(HyParView, a_node_that_cannot_be_reached_is_tried_later_and_then_forgotten) {
  Machine me(small(2));
  me.fill({"a"});
  EXPECT_EQ(me.receive("a", ShuffleReply{{Atom("p@h")}}), Lines{"connect p"});
  Lines dials;
  me.connect_failed("p");
  for (int second = 0; second < 300; ++second) {
    for (const auto& line : starting(me.pass(1s), "connect p")) {
      dials.push_back(line);
      me.connect_failed("p");
    }
  }
  EXPECT_EQ(dials.size(), 4U);
  EXPECT_TRUE(me.view.passive_view().empty());
}

TEST(HyParView, when_all_of_the_passive_view_is_dead_those_that_left_it_are_tried) {
  auto config = small(2);
  config.passive_size = 4;
  Machine me(config);
  me.fill({"a", "b"});
  for (int count = 0; count < 20; ++count) me.receive("a", ShuffleReply{{Machine::node("p" + std::to_string(count))}});
  const auto before = me.view.passive_view();
  std::set<std::string> tried;
  auto lines = me.down("b");
  for (int second = 0; second < 60; ++second) {
    auto dials = starting(lines, "connect");
    lines.clear();
    for (const auto& dial : dials) {
      tried.insert(dial.substr(8));
      for (auto& line : me.connect_failed(dial.substr(8))) lines.push_back(std::move(line));
    }
    for (auto& line : me.pass(1s)) lines.push_back(std::move(line));
    EXPECT_LE(me.view.passive_view().size(), config.passive_size);
  }
  for (const auto& node : before) EXPECT_TRUE(tried.contains(short_name(node)));
  EXPECT_GE(tried.size(), 20U);
}

TEST(HyParView, who_left_the_cluster_is_not_called_up_from_the_reserve) {
  auto config = small(2);
  config.passive_size = 1;
  Machine me(config);
  me.fill({"a", "b"});
  for (const auto* name : {"p", "q", "r"}) me.receive("a", ShuffleReply{{Machine::node(name)}});
  for (const auto* name : {"p", "q", "r"}) me.receive("a", Leave{Machine::node(name), 0});
  EXPECT_TRUE(starting(me.down("b"), "connect p").empty());
  for (const auto& line : starting(me.pass(5min), "connect")) EXPECT_EQ(line, "connect b");
}

TEST(HyParView, who_is_cut_off_forgets_nobody) {
  Machine me(small(2));
  me.fill({"a"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  me.connect_failed("p");
  me.down("a");
  for (int minute = 0; minute < 60; ++minute) {
    for (const auto& line : starting(me.pass(1min), "connect")) me.connect_failed(line.substr(8));
  }
  EXPECT_EQ(me.view.passive_view().size(), 2U);
}

TEST(HyParView, a_question_without_an_answer_ends_after_its_time) {
  Machine me(small(2));
  me.fill({"a"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  me.up_native("p");
  EXPECT_EQ(me.view.pending().size(), 1U);
  me.pass(4s);
  EXPECT_EQ(me.view.pending().size(), 1U);
  me.pass(2s);
  EXPECT_TRUE(me.view.pending().empty());
  EXPECT_EQ(me.view.counters().timeouts, 1U);
}

TEST(HyParView, shuffles_go_to_one_neighbour_and_carry_the_own_name) {
  Machine me;
  me.fill({"a", "b", "c"});
  const auto lines = starting(me.pass(11s), "shuffle 3");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_NE(lines.front().find("me]"), std::string::npos);
}

TEST(HyParView, a_shuffle_is_answered_at_each_hop_and_goes_on) {
  Machine me;
  me.fill({"a", "b"});
  const auto lines = me.receive("a", Shuffle{2, {Atom("x@h"), Atom("a@h")}});
  EXPECT_EQ(starting(lines, "shuffle 1"), Lines{"shuffle 1 [x a] > b"});
  EXPECT_EQ(starting(lines, "shuffle_reply").size(), 1U);
  EXPECT_EQ(me.view.passive_view(), std::vector<Atom>{Atom("x@h")});
}

TEST(HyParView, who_lists_us_without_being_listed_is_told) {
  Machine me;
  me.fill({"a"});
  me.up_native("stranger");
  EXPECT_TRUE(has(me.receive("stranger", Shuffle{0, {}}), "disconnect > stranger"));
}

TEST(HyParView, an_erlang_node_that_gossips_to_us_is_adopted_if_there_is_room) {
  Machine me(small(2));
  me.fill({"a"});
  me.up("erlang");
  EXPECT_EQ(me.gossip("erlang"), Lines{});  // it may be a C++ node whose hello is under way
  me.pass(3s);
  EXPECT_EQ(me.gossip("erlang"), (Lines{"up erlang", "neighbor low > erlang"}));
  Machine other(small(2));
  other.up_erlang("erlang");
  EXPECT_EQ(other.gossip("erlang"), (Lines{"up erlang", "neighbor low > erlang"}));
}

TEST(HyParView, an_erlang_node_that_gossips_to_us_while_there_is_no_room_is_given_our_record_once) {
  Machine me(small(2));
  me.fill({"a", "b"});
  me.up_erlang("erlang");
  EXPECT_EQ(me.gossip("erlang"), Lines{"neighbor low > erlang"});
  EXPECT_EQ(me.receive("erlang", NeighborReply{true}), Lines{});
  EXPECT_EQ(me.gossip("erlang"), Lines{});
  EXPECT_EQ(me.view.active_view().size(), 2U);
}

// It listed us by dialling us, perhaps again, or forgot us when its membership process ended.
TEST(HyParView, an_erlang_neighbour_is_given_our_record_whenever_it_shuffles_or_answers) {
  Machine me(small(2));
  me.up("erlang");
  EXPECT_EQ(me.receive("erlang", Join{}), (Lines{"up erlang", "neighbor low > erlang"}));
  EXPECT_EQ(me.receive("erlang", NeighborReply{true}), Lines{});
  EXPECT_EQ(me.receive("erlang", NeighborReply{false}), Lines{}) << "it is full";
  EXPECT_TRUE(me.view.is_active(Atom("erlang@h")));
  EXPECT_TRUE(has(me.receive("erlang", Shuffle{0, {}}), "neighbor low > erlang"));
  EXPECT_EQ(me.receive("erlang", ShuffleReply{{}}), Lines{"neighbor low > erlang"});
  me.fill({"native"});
  EXPECT_TRUE(starting(me.receive("native", Shuffle{0, {}}), "neighbor").empty());
  EXPECT_TRUE(starting(me.receive("native", ShuffleReply{{}}), "neighbor").empty());
  me.up("stranger");
  EXPECT_TRUE(starting(me.receive("stranger", ShuffleReply{{}}), "neighbor").empty());
}

TEST(HyParView, what_an_erlang_node_tells_of_its_passive_view_it_gets_back_with_records_that_it_cannot_promote) {
  Machine me;
  me.up("erlang");
  me.receive("erlang", Join{});
  const auto told = std::vector<Atom>{Atom("x@h"), Atom("me@h"), Atom("erlang@h")};
  EXPECT_TRUE(has(me.receive("erlang", Shuffle{0, told}), "shuffle_reply [x me] > erlang"));
  EXPECT_EQ(starting(me.receive("erlang", ShuffleReply{told}), "shuffle_reply"),
            Lines{"shuffle_reply [x me] > erlang"});
  me.fill({"native"});
  EXPECT_TRUE(starting(me.receive("native", ShuffleReply{told}), "shuffle_reply").empty());
}

TEST(HyParView, an_erlang_neighbour_is_left_with_records_that_it_cannot_promote) {
  Machine me;
  me.fill({"a"});
  me.up("erlang");
  me.receive("erlang", Join{});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  EXPECT_EQ(me.leave(), (Lines{"shuffle_reply [a p] > erlang", "disconnect > erlang", "down erlang left",
                               "leave me 6 > a", "down a left", "left"}));
  EXPECT_EQ(me.receive("erlang", Shuffle{0, {Atom("p@h")}}),
            (Lines{"shuffle_reply [p] > erlang", "disconnect > erlang"}));
}

TEST(HyParView, an_erlang_node_that_sent_us_away_is_left_alone_until_it_lists_us_again) {
  Machine me(small(2));
  me.fill({"a"});
  me.up("erlang");
  me.receive("erlang", Join{});
  EXPECT_TRUE(has(me.receive("erlang", Disconnect{}), "down erlang graceful"));
  me.pass(1min);
  EXPECT_TRUE(me.view.passive_view().empty());
  EXPECT_EQ(me.gossip("erlang"), Lines{});
  EXPECT_TRUE(has(me.receive("erlang", Shuffle{0, {}}), "up erlang"));
}

TEST(HyParView, a_node_with_room_looks_for_others_that_have_room) {
  Machine me(small(3));
  me.fill({"a"});
  EXPECT_EQ(starting(me.pass(4s), "seek"), Lines{"seek me 6 > a"});
  EXPECT_LE(starting(me.pass(10min), "seek").size(), 40U);
}

TEST(HyParView, who_has_room_answers_a_seeker_and_who_has_none_passes_it_on) {
  Machine me(small(2));
  me.fill({"a"});
  EXPECT_EQ(me.receive("a", Seek{Atom("s@h"), 6}), Lines{"connect s"});
  me.connect_failed("s");
  me.fill({"b"});
  EXPECT_EQ(me.receive("a", Seek{Atom("t@h"), 6}), Lines{"seek t 5 > b"});
  EXPECT_EQ(me.receive("a", Seek{Atom("t@h"), 0}), Lines{});
}

TEST(HyParView, no_seeker_goes_to_an_erlang_node) {
  Machine me(small(3));
  me.up("erlang");
  me.receive("erlang", Join{});
  EXPECT_TRUE(starting(me.pass(1min), "seek").empty());
}

TEST(HyParView, a_full_view_offers_a_place_in_exchange) {
  Machine me(small(2));
  me.fill({"a", "b"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  EXPECT_EQ(starting(me.pass(7s), "connect"), Lines{"connect p"});
  const auto offer = me.up_native("p");
  ASSERT_EQ(offer.size(), 1U);
  const std::string instead = offer.front() == "exchange a > p" ? "a" : "b";
  EXPECT_EQ(offer.front(), "exchange " + instead + " > p");
  EXPECT_EQ(me.receive("p", ExchangeReply{true, Atom("q@h")}),
            (Lines{"refer q > " + instead, "down " + instead + " dropped", "up p"}));
  EXPECT_EQ(me.view.active_view().size(), 2U);
}

TEST(HyParView, an_exchange_that_is_refused_changes_nothing) {
  Machine me(small(1));
  me.fill({"a"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  me.pass(7s);
  me.up_native("p");
  EXPECT_EQ(me.receive("p", ExchangeReply{false, std::nullopt}), Lines{});
  EXPECT_TRUE(me.view.is_active(Atom("a@h")));
}

TEST(HyParView, no_exchange_is_offered_to_an_erlang_node) {
  Machine me(small(1));
  me.fill({"a"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  me.pass(7s);
  EXPECT_EQ(me.up("p"), Lines{});
}

TEST(HyParView, who_takes_an_exchange_refers_a_neighbour_to_the_one_who_has_to_go) {
  Machine me(small(1));
  me.fill({"q"});
  me.up_native("a");
  EXPECT_EQ(me.receive("a", Exchange{Atom("b@h")}),
            (Lines{"exchange_reply true q > a", "refer b > q", "down q dropped", "up a"}));
}

TEST(HyParView, who_has_room_takes_an_exchange_without_losing_anybody) {
  Machine me(small(2));
  me.fill({"q"});
  me.up_native("a");
  EXPECT_EQ(me.receive("a", Exchange{Atom("b@h")}), (Lines{"exchange_reply true > a", "up a"}));
}

TEST(HyParView, only_spare_links_are_exchanged_once_a_node_is_settled) {
  bool spare = false;
  MonotonicTime now = MonotonicTime{} + 1h;
  auto config = small(1);
  config.own = Atom("me@h");
  HyParView view(config, now, [&](const Atom&) { return spare; });
  HyParViewEffects effects;
  for (const Atom& node : {Atom("q@h"), Atom("a@h")}) {
    view.link_up(node, now, effects);
    view.receive(node, Hello{}, now, effects);
  }
  view.receive(Atom("q@h"), Join{}, now, effects);
  const auto offer = [&] {
    effects.clear();
    view.receive(Atom("a@h"), Exchange{Atom("b@h")}, now, effects);
    return EffectText{}(std::get<HyParViewSend>(effects.front()));
  };
  for (const auto end = now + 10min; now < end; now = view.deadline()) view.tick(now, effects);
  EXPECT_EQ(offer(), "exchange_reply false > a");
  spare = true;
  EXPECT_EQ(offer(), "exchange_reply true q > a");
  const auto* up = std::get_if<HyParViewUp>(&effects.back());
  ASSERT_NE(up, nullptr);
  EXPECT_TRUE(up->spare);
}

TEST(HyParView, an_exchange_for_a_common_neighbour_is_refused) {
  Machine me(small(2));
  me.fill({"b", "q"});
  me.up_native("a");
  EXPECT_EQ(me.receive("a", Exchange{Atom("b@h")}), Lines{"exchange_reply false > a"});
}

TEST(HyParView, who_is_referred_asks_the_other) {
  Machine me(small(2));
  me.fill({"a", "b"});
  EXPECT_EQ(me.receive("a", Refer{Atom("q@h")}), (Lines{"down a graceful", "connect q"}));
  EXPECT_EQ(me.up_native("q"), Lines{"neighbor low > q"});
  EXPECT_EQ(me.receive("q", Neighbor{false}), (Lines{"neighbor_reply true > q", "up q"}));
}

TEST(HyParView, who_is_no_neighbour_cannot_refer) {
  Machine me(small(2));
  me.fill({"b"});
  me.up_native("a");
  EXPECT_EQ(me.receive("a", Refer{Atom("q@h")}), Lines{});
}

TEST(HyParView, where_a_wanderer_ends_it_is_offered_an_exchange) {
  Machine me(small(1));
  me.fill({"b"});
  me.up_native("a");
  EXPECT_EQ(me.receive("a", Wander{Atom("o@h"), 3}), Lines{"wander o 2 > b"});
  EXPECT_EQ(me.receive("a", Wander{Atom("o@h"), 0}), Lines{"connect o"});
  EXPECT_EQ(me.up_native("o"), Lines{"exchange b > o"});
}

TEST(HyParView, exchanges_become_rare) {
  auto config = small(1);
  Machine me(config);
  me.fill({"a"});
  me.pass(10min);
  EXPECT_LE(starting(me.pass(1h), "wander").size(), 9U);
  EXPECT_GE(starting(me.pass(1h), "wander").size(), 3U);
}

TEST(HyParView, messages_of_nodes_without_a_channel_are_ignored) {
  Machine me;
  EXPECT_EQ(me.receive("nobody", Join{}), Lines{});
  EXPECT_TRUE(me.view.active_view().empty());
}

TEST(HyParView, blocked_nodes_do_not_exist) {
  Machine me;
  me.fill({"a", "b"});
  EXPECT_EQ(me.block({Atom("a@h")}), Lines{"down a blocked"});
  EXPECT_EQ(me.receive("a", Join{}), Lines{});
  EXPECT_EQ(me.join("a"), Lines{});
  me.block({});
  EXPECT_EQ(me.join("a"), (Lines{"join > a", "up a"}));
}

TEST(HyParView, what_peers_tell_never_exceeds_the_bounds) {
  Machine me;
  me.fill({"a"});
  for (int round = 0; round < 200; ++round) {
    std::vector<Atom> sample;
    for (int entry = 0; entry < 100; ++entry) {
      sample.emplace_back("n" + std::to_string(round) + "_" + std::to_string(entry) + "@h");
    }
    me.receive("a", Shuffle{3, sample});
    me.receive("a", ForwardJoin{Atom("j" + std::to_string(round) + "@h"), 0});
    ASSERT_LE(me.view.passive_view().size(), 30U);
    ASSERT_LE(me.view.pending().size(), 64U);
  }
}

TEST(HyParView, who_invents_joiners_takes_only_its_share_of_the_dials) {
  Machine me;
  me.fill({"liar", "a", "b"});
  const auto walk = [&](const std::string& from, const std::string& joiner) {
    return starting(me.receive(from, ForwardJoin{Atom(joiner + "@h"), 0}), "connect");
  };
  for (int joiner = 0; joiner < 100; ++joiner) walk("liar", "invented" + std::to_string(joiner));
  EXPECT_EQ(me.view.pending().size(), 8U);
  EXPECT_EQ(walk("a", "n"), Lines{"connect n"});
  me.connect_failed("invented0");
  EXPECT_EQ(walk("liar", "one_more"), Lines{"connect one_more"});
  EXPECT_EQ(walk("liar", "two_more"), Lines{});
}

TEST(HyParView, many_who_invent_joiners_leave_places_for_the_nodes_own_dials) {
  Machine me;
  for (int liar = 0; liar < 20; ++liar) {
    const std::string name = "liar" + std::to_string(liar);
    me.up_native(name);
    for (int joiner = 0; joiner < 10; ++joiner) {
      me.receive(name, ForwardJoin{Atom("n" + std::to_string(liar) + "_" + std::to_string(joiner) + "@h"), 0});
    }
  }
  EXPECT_EQ(me.view.pending().size(), 40U);
  EXPECT_EQ(me.join("contact"), Lines{"connect contact"});
}

TEST(HyParView, nodes_that_nobody_speaks_of_are_forgotten) {
  Machine me(small(1));
  me.fill({"a"});
  me.receive("a", ShuffleReply{{Atom("p@h")}});
  me.pass(4min);
  EXPECT_EQ(me.view.passive_view().size(), 1U);
  me.pass(3min);
  EXPECT_TRUE(me.view.passive_view().empty());
}

TEST(HyParView, the_same_seed_gives_the_same_choices) {
  const auto run = [](std::uint64_t seed) {
    auto config = small(4);
    config.seed = seed;
    Machine me(config);
    me.fill({"a", "b", "c", "d", "e", "f"});
    return me.pass(2min);
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST(HyParView, periods_and_pauses_are_those_of_the_erlang_implementation) {
  std::size_t count = 0;
  const auto recorded = barrel_p2p::test::read_vectors("membership_computed.json");
  for (const auto& row : recorded.as_array()) {
    const auto kind = barrel_p2p::test::text_of(row, "kind");
    const auto number = [&](const char* key) { return row.at(key).to_number<std::int64_t>(); };
    if (kind == "shuffle_period") {
      EXPECT_EQ(
          shuffle_period(Milliseconds(number("configured_ms")), static_cast<std::uint64_t>(number("joins_plus_leaves")))
              .count(),
          number("next_period_ms"));
    } else if (kind == "backoff" && row.as_object().contains("backoff_ms") && row.at("backoff_ms").is_number()) {
      EXPECT_EQ(
          dial_backoff(Milliseconds(number("base_backoff_ms")), 300s, static_cast<std::uint32_t>(number("fail_count")))
              .count(),
          number("backoff_ms"));
    } else {
      continue;
    }
    ++count;
  }
  EXPECT_GT(count, 35U);
}

}  // namespace barrel_p2p::overlay::test
