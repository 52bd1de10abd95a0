// Plumtree step by step: what goes in, what comes out.
#include <gtest/gtest.h>

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "overlay/plumtree.hpp"

namespace barrel_p2p::overlay {
namespace {

using Lines = std::vector<std::string>;

std::string ids_of(const std::vector<MessageId>& ids) {
  std::string text;
  for (const auto& id : ids) text += " " + to_text(id);
  return text;
}

std::string text_of(const PlumtreeMessage& message) {
  if (const auto* gossip = std::get_if<Gossip>(&message)) {
    return "gossip " + to_text(gossip->id) + " round " + std::to_string(gossip->round);
  }
  if (const auto* ihave = std::get_if<IHave>(&message)) {
    std::string text = "ihave";
    for (const auto& one : ihave->announcements) text += " " + to_text(one.id) + "@" + std::to_string(one.round);
    return text;
  }
  if (const auto* graft = std::get_if<Graft>(&message)) return "graft" + ids_of(graft->ids);
  return "prune";
}

Lines lines_of(const PlumtreeEffects& effects) {
  Lines lines;
  for (const auto& effect : effects) {
    if (const auto* send = std::get_if<PlumtreeSend>(&effect)) {
      lines.push_back(send->to.string() + ": " + text_of(send->message));
    } else if (const auto* lost = std::get_if<PlumtreeLost>(&effect)) {
      lines.push_back("lost " + lost->node.string());
    } else {
      const auto& deliver = std::get<PlumtreeDeliver>(effect);
      lines.push_back("deliver " + to_text(deliver.payload) + " round " + std::to_string(deliver.round));
    }
  }
  return lines;
}

std::string names(const std::vector<Atom>& nodes) {
  std::string text;
  for (const auto& node : nodes) text += (text.empty() ? "" : " ") + node.string();
  return text;
}

/// A machine, its clock, and what it wants. Nodes whose names start with `e` are Erlang nodes; neighbours are made with
/// `neighbours`. The payload of a message is its id.
class Node {
 public:
  explicit Node(PlumtreeConfig config = {}) : machine(config, now) {}

  Node& neighbours(const std::vector<Atom>& nodes) {
    for (const auto& node : nodes) {
      say_hello(node);
      machine.peer_up(node, NewPeer::eager, now, effects);
    }
    return *this;
  }
  void say_hello(const Atom& node) {
    if (!node.text().starts_with('e')) machine.set_native(node, now);
  }
  Lines broadcast(int id, Atom tag = "tag") {
    machine.broadcast(tag, id, id, now, effects);
    return take();
  }
  Lines gossip(const Atom& from, int id, std::uint32_t round = 1) {
    return receive(from, Gossip{id, Atom("tag"), id, round});
  }
  Lines ihave(const Atom& from, int id, std::uint32_t round = 1) { return receive(from, IHave{{{id, round}}}); }
  Lines graft(const Atom& from, std::vector<MessageId> ids) { return receive(from, Graft{std::move(ids)}); }
  Lines prune(const Atom& from) { return receive(from, Prune{}); }
  Lines receive(const Atom& from, const PlumtreeMessage& message) {
    machine.receive(from, message, now, effects);
    return take();
  }
  /// Ticks whenever the machine wants to, until `duration` has passed.
  Lines pass(Milliseconds duration) {
    const auto end = now + duration;
    for (auto next = machine.deadline(); next && *next <= end; next = machine.deadline()) {
      now = std::max(now, *next);
      machine.tick(now, effects);
    }
    now = end;
    return take();
  }
  Lines take() { return lines_of(std::exchange(effects, {})); }
  [[nodiscard]] std::string eager() const { return names(machine.peers().eager); }
  [[nodiscard]] std::string lazy() const { return names(machine.peers().lazy); }
  [[nodiscard]] const PlumtreeCounters& counters() const { return machine.counters(); }

  MonotonicTime now{std::chrono::hours(1)};
  Plumtree machine;
  PlumtreeEffects effects;
};

const Lines nothing;

TEST(Plumtree, a_broadcast_is_delivered_here_and_pushed_to_all_neighbours) {
  Node node;
  node.neighbours({"a", "b", "erl"});
  EXPECT_EQ(node.broadcast(1),
            (Lines{"deliver 1 round 0", "a: gossip 1 round 1", "b: gossip 1 round 1", "erl: gossip 1 round 0"}));
  EXPECT_EQ(node.broadcast(1), nothing) << "the id is remembered";
}

TEST(Plumtree, a_new_message_goes_on_with_one_hop_more_but_not_back) {
  Node node;
  node.neighbours({"a", "b", "erl"});
  EXPECT_EQ(node.gossip("a", 1, 4), (Lines{"deliver 1 round 4", "b: gossip 1 round 5", "erl: gossip 1 round 0"}));
}

TEST(Plumtree, gossip_of_an_erlang_node_counts_as_no_hops) {
  Node node;
  node.neighbours({"a", "erl"});
  EXPECT_EQ(node.gossip("erl", 1, 0), (Lines{"deliver 1 round 0", "a: gossip 1 round 1"}));
}

TEST(Plumtree, the_count_of_hops_does_not_overflow) {
  Node node;
  node.neighbours({"a", "b"});
  EXPECT_EQ(node.gossip("a", 1, std::numeric_limits<std::uint32_t>::max()),
            (Lines{"deliver 1 round 4294967295", "b: gossip 1 round 4294967295"}));
  EXPECT_EQ(node.ihave("b", 1, std::numeric_limits<std::uint32_t>::max()), nothing);
}

TEST(Plumtree, a_duplicate_makes_its_bringer_lazy_on_both_sides) {
  Node node;
  node.neighbours({"a", "b"});
  node.gossip("a", 1);
  EXPECT_EQ(node.gossip("b", 1), (Lines{"b: prune"}));
  EXPECT_EQ(node.eager(), "a");
  EXPECT_EQ(node.lazy(), "b");
  EXPECT_EQ(node.counters().duplicates, 1U);
  EXPECT_EQ(node.counters().gossip_received, 2U);
}

TEST(Plumtree, who_brings_a_new_message_becomes_eager) {
  Node node;
  node.neighbours({"a", "z"}).prune("a");
  EXPECT_EQ(node.lazy(), "a");
  node.gossip("a", 1);
  EXPECT_EQ(node.eager(), "a z");
}

// Messages of two senders that cross: both neighbours prune the third one, or it prunes both.
TEST(Plumtree, who_is_pruned_by_all_stays_in_the_tree) {
  Node node;
  node.neighbours({"a", "b"});
  EXPECT_EQ(node.prune("a"), nothing);
  EXPECT_EQ(node.prune("b").size(), 1U) << "a graft of nothing";
  EXPECT_EQ(node.eager(), "b");
  EXPECT_EQ(node.counters().graft_sent, 1U);
}

TEST(Plumtree, the_last_link_to_the_tree_is_not_pruned) {
  Node node;
  node.neighbours({"a", "b"});
  node.gossip("a", 1);
  EXPECT_EQ(node.gossip("b", 1), (Lines{"b: prune"}));
  node.gossip("b", 2);
  EXPECT_EQ(node.gossip("a", 2), (Lines{"a: prune"}));
  EXPECT_EQ(node.gossip("b", 2), nothing);
  EXPECT_EQ(node.eager(), "b");
}

TEST(Plumtree, a_lazy_neighbour_gets_an_announcement_after_the_delay) {
  Node node;
  node.neighbours({"a", "erl"});
  node.prune("a");
  node.prune("erl");
  node.gossip("b", 1, 4);
  EXPECT_EQ(node.pass(Milliseconds(19)), nothing);
  EXPECT_EQ(node.pass(Milliseconds(1)), (Lines{"a: ihave 1@5", "erl: ihave 1@0"}));
  EXPECT_EQ(node.counters().ihave_sent, 2U);
}

TEST(Plumtree, the_bringer_gets_no_announcement) {
  Node node;
  node.neighbours({"a", "b"}).prune("b");
  node.gossip("b", 1);
  EXPECT_EQ(node.pass(Milliseconds(20)), nothing);
}

TEST(Plumtree, cpp_nodes_get_batches_of_a_hundred_announcements_and_erlang_nodes_single_ones) {
  Node node;
  node.neighbours({"a", "erl"});
  node.prune("a");
  node.prune("erl");
  for (int id = 0; id < 150; ++id) node.broadcast(id);
  std::vector<std::size_t> sizes;
  std::size_t to_erlang = 0;
  node.machine.tick(node.now + Milliseconds(20), node.effects);
  for (const auto& effect : node.effects) {
    const auto& send = std::get<PlumtreeSend>(effect);
    const auto size = std::get<IHave>(send.message).announcements.size();
    if (send.to == "a") sizes.push_back(size);
    if (send.to == "erl") {
      EXPECT_EQ(size, 1U);
      ++to_erlang;
    }
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{100, 50}));
  EXPECT_EQ(to_erlang, 150U);
}

TEST(Plumtree, an_announced_message_that_does_not_come_is_asked_for) {
  Node node;
  node.neighbours({"a", "erl"}).prune("a");
  EXPECT_EQ(node.ihave("a", 1), nothing);
  EXPECT_EQ(node.machine.missing(), 1U);
  EXPECT_EQ(node.pass(Milliseconds(499)), nothing);
  EXPECT_EQ(node.lazy(), "a");
  EXPECT_EQ(node.pass(Milliseconds(1)), (Lines{"a: graft 1"}));
  EXPECT_EQ(node.eager(), "a erl") << "eager at once, not only when it answers";
  EXPECT_EQ(node.gossip("a", 1), (Lines{"deliver 1 round 1", "erl: gossip 1 round 0"}));
  EXPECT_EQ(node.machine.missing(), 0U);
  EXPECT_EQ(node.counters().missed, 0U);
}

TEST(Plumtree, where_messages_come_before_their_announcements_little_time_is_lost_for_a_missing_one) {
  Node node;
  node.neighbours({"a", "b"});
  for (int id = 1; id <= 100; ++id) {
    node.gossip("a", id);
    node.ihave("b", id);
  }
  node.ihave("b", 101);
  EXPECT_EQ(node.pass(Milliseconds(299)), nothing);
  EXPECT_EQ(node.pass(Milliseconds(1)), (Lines{"b: graft 101"}));
}

TEST(Plumtree, where_messages_come_late_they_are_waited_for) {
  Node node;
  node.neighbours({"a", "b"});
  for (int id = 1; id <= 100; ++id) {
    node.ihave("b", id);
    node.pass(Milliseconds(id % 2 == 0 ? 50 : 150));
    node.gossip("a", id);
  }
  EXPECT_LE(node.counters().graft_sent, 2U);
}

TEST(Plumtree, a_message_that_comes_after_its_announcement_is_not_asked_for) {
  Node node;
  node.neighbours({"a", "b"});
  node.ihave("a", 1);
  node.gossip("b", 1);
  EXPECT_EQ(node.machine.missing(), 0U);
  EXPECT_EQ(node.pass(Milliseconds(5000)), nothing);
}

TEST(Plumtree, a_message_that_is_broadcast_here_is_no_longer_missing) {
  Node node;
  node.neighbours({"a"});
  node.ihave("a", 1);
  node.broadcast(1);
  EXPECT_EQ(node.pass(Milliseconds(5000)), nothing);
}

TEST(Plumtree, all_announcers_are_asked_one_after_the_other_until_none_is_left) {
  Node node;
  node.neighbours({"a", "b", "c"});
  node.ihave("a", 1);
  node.ihave("b", 1);
  node.ihave("b", 1);
  node.ihave("c", 1);
  EXPECT_EQ(node.pass(Milliseconds(500)), (Lines{"a: graft 1"}));
  EXPECT_EQ(node.pass(Milliseconds(249)), nothing);
  EXPECT_EQ(node.pass(Milliseconds(1)), (Lines{"b: graft 1"}));
  EXPECT_EQ(node.pass(Milliseconds(250)), (Lines{"c: graft 1"}));
  EXPECT_EQ(node.machine.missing(), 1U);
  EXPECT_EQ(node.pass(Milliseconds(250)), nothing);
  EXPECT_EQ(node.machine.missing(), 0U);
  EXPECT_EQ(node.counters().missed, 1U);
}

TEST(Plumtree, what_was_given_up_can_be_announced_again) {
  Node node;
  node.neighbours({"a"});
  node.ihave("a", 1);
  node.pass(Milliseconds(1000));
  EXPECT_EQ(node.counters().missed, 1U);
  node.ihave("a", 1);
  EXPECT_EQ(node.pass(Milliseconds(500)), (Lines{"a: graft 1"}));
}

TEST(Plumtree, an_announcer_that_was_asked_may_announce_again) {
  Node node;
  node.neighbours({"a"});
  node.ihave("a", 1);
  EXPECT_EQ(node.pass(Milliseconds(500)), (Lines{"a: graft 1"}));
  node.ihave("a", 1);  // Its answer did not fit into the queue.
  EXPECT_EQ(node.pass(Milliseconds(250)), (Lines{"a: graft 1"}));
}

TEST(Plumtree, announcers_that_went_are_not_asked) {
  Node node;
  node.neighbours({"a", "b", "c"});
  for (const Atom& from : {Atom("a"), Atom("b"), Atom("c")}) node.ihave(from, 1);
  node.machine.peer_down("a");
  node.machine.link_down("b");
  EXPECT_EQ(node.pass(Milliseconds(500)), (Lines{"c: graft 1"}));
}

TEST(Plumtree, grafts_to_cpp_nodes_are_batched_and_to_erlang_nodes_single) {
  Node node;
  node.neighbours({"a", "erl"});
  for (int id = 1; id <= 3; ++id) {
    node.ihave("a", id);
    node.ihave("erl", id + 10);
  }
  EXPECT_EQ(node.pass(Milliseconds(500)), (Lines{"a: graft 1 2 3", "erl: graft 11", "erl: graft 12", "erl: graft 13"}));
}

TEST(Plumtree, a_graft_is_answered_and_makes_its_sender_eager) {
  Node node;
  node.neighbours({"a"}).prune("a");
  node.broadcast(1);
  EXPECT_EQ(node.graft("a", {1, 2}), (Lines{"a: gossip 1 round 1"}));
  EXPECT_EQ(node.eager(), "a");
}

TEST(Plumtree, a_graft_without_ids_only_makes_its_sender_eager) {
  Node node;
  node.neighbours({"a"}).prune("a");
  EXPECT_EQ(node.graft("a", {}), nothing);
  EXPECT_EQ(node.eager(), "a");
}

// Who is no neighbour.

TEST(Plumtree, gossip_of_a_strange_cpp_node_is_delivered_but_does_not_make_it_a_peer) {
  Node node;
  node.neighbours({"a"}).say_hello("stranger");
  EXPECT_EQ(node.gossip("stranger", 1), (Lines{"deliver 1 round 1", "a: gossip 1 round 2"}));
  EXPECT_EQ(node.gossip("stranger", 1), (Lines{"stranger: prune"}));
  EXPECT_EQ(node.eager(), "a");
  EXPECT_EQ(node.lazy(), "");
}

TEST(Plumtree, a_strange_cpp_node_gets_what_it_asks_for_but_does_not_become_a_peer) {
  Node node;
  node.say_hello("stranger");
  node.broadcast(1);
  EXPECT_EQ(node.graft("stranger", {1}), (Lines{"stranger: gossip 1 round 1"}));
  EXPECT_EQ(node.eager(), "");
}

TEST(Plumtree, a_strange_cpp_node_that_announces_is_asked) {
  Node node;
  node.say_hello("stranger");
  node.ihave("stranger", 1);
  EXPECT_EQ(node.pass(Milliseconds(500)), (Lines{"stranger: graft 1"}));
  EXPECT_EQ(node.eager(), "");
}

TEST(Plumtree, an_erlang_node_that_gossips_grafts_or_is_asked_becomes_a_guest) {
  Node node;
  node.gossip("e1", 1, 0);
  node.graft("e2", {99});
  node.ihave("e3", 2, 0);
  EXPECT_EQ(node.eager(), "e1 e2");
  EXPECT_EQ(node.pass(Milliseconds(500)), (Lines{"e3: graft 2"}));
  EXPECT_EQ(node.eager(), "e1 e2 e3");
}

TEST(Plumtree, guests_go_with_a_prune_their_channel_their_neighbourhood_or_a_hello) {
  Node node;
  for (const Atom& guest : {Atom("e1"), Atom("e2"), Atom("e3"), Atom("e4")}) node.graft(guest, {99});
  EXPECT_EQ(node.eager(), "e1 e2 e3 e4");
  node.prune("e1");
  node.machine.link_down("e2");
  node.machine.peer_down("e3");
  node.machine.set_native("e4", node.now);
  EXPECT_EQ(node.eager() + node.lazy(), "");
}

TEST(Plumtree, a_guest_that_brings_a_duplicate_gets_announcements) {
  Node node;
  node.broadcast(1);
  EXPECT_EQ(node.gossip("e1", 1, 0), (Lines{"e1: prune"}));
  EXPECT_EQ(node.lazy(), "e1");
}

TEST(Plumtree, a_guest_that_becomes_a_neighbour_stays_when_it_prunes) {
  Node node;
  node.gossip("e1", 1, 0);
  node.neighbours({"e1"}).prune("e1");
  EXPECT_EQ(node.lazy(), "e1");
}

TEST(Plumtree, guests_are_bounded_and_more_get_answers_all_the_same) {
  Node node({.guests_max = 2});
  for (const Atom& guest : {Atom("e1"), Atom("e2"), Atom("e3")}) node.graft(guest, {99});
  EXPECT_EQ(node.eager(), "e1 e2");
  node.broadcast(1);
  EXPECT_EQ(node.graft("e3", {1}), (Lines{"e3: gossip 1 round 0"}));
  node.neighbours({"e4", "e5"});
  EXPECT_EQ(node.eager(), "e1 e2 e4 e5") << "the bound is not one on neighbours";
}

TEST(Plumtree, an_erlang_node_that_does_not_know_that_we_are_neighbours_gets_a_graft_for_nothing) {
  Node node;
  node.machine.peer_up("erl", NewPeer::unaware, node.now, node.effects);
  ASSERT_EQ(node.effects.size(), 1U);
  const auto& graft = std::get<Graft>(std::get<PlumtreeSend>(node.effects[0]).message);
  ASSERT_EQ(graft.ids.size(), 1U);
  EXPECT_EQ(graft.ids[0].as_binary()->size(), 32U);
  EXPECT_EQ(node.eager(), "erl");
}

TEST(Plumtree, a_neighbour_that_comes_again_is_eager_again) {
  Node node;
  node.neighbours({"a"}).prune("a");
  node.neighbours({"a"});
  EXPECT_EQ(node.eager(), "a");
}

TEST(Plumtree, a_new_neighbour_hears_of_what_came_lately_but_not_of_what_it_brought) {
  Node node;
  node.neighbours({"a"});
  node.broadcast(1);
  node.pass(Milliseconds(5'000));
  node.gossip("a", 2);
  node.gossip("b", 3);
  node.pass(Milliseconds(6'000));
  EXPECT_EQ(node.neighbours({"b"}).pass(Milliseconds(20)), (Lines{"b: ihave 2@0"}));
}

TEST(Plumtree, an_erlang_neighbour_hears_of_nothing_until_it_turns_out_to_be_a_cpp_node) {
  Node node;
  node.broadcast(1);
  node.machine.peer_up("e", NewPeer::eager, node.now, node.effects);
  EXPECT_EQ(node.pass(Milliseconds(20)), nothing);
  node.machine.set_native("e", node.now);
  EXPECT_EQ(node.pass(Milliseconds(20)), (Lines{"e: ihave 1@0"}));
  node.machine.set_native("e", node.now);
  EXPECT_EQ(node.pass(Milliseconds(20)), nothing) << "who says hello again was told";
}

TEST(Plumtree, a_new_neighbour_hears_of_a_bounded_number_of_messages) {
  PlumtreeConfig config;
  config.catch_up_max = 2;
  Node node(config);
  for (int id = 1; id <= 3; ++id) node.broadcast(id);
  EXPECT_EQ(node.neighbours({"a"}).pass(Milliseconds(20)), (Lines{"a: ihave 2@0 3@0"}));
}

TEST(Plumtree, a_neighbour_in_a_spare_place_is_lazy_unless_nobody_is_eager) {
  Node node;
  node.broadcast(1);
  for (const Atom& one : {Atom("a"), Atom("b")}) {
    node.say_hello(one);
    node.machine.peer_up(one, NewPeer::spare, node.now, node.effects);
  }
  EXPECT_EQ(node.eager(), "a");
  EXPECT_EQ(node.lazy(), "b");
}

TEST(Plumtree, while_nobody_sends_a_neighbour_in_a_spare_place_is_eager_so_that_the_next_message_is_a_flood) {
  Node node;
  node.neighbours({"a"});
  node.say_hello("b");
  node.machine.peer_up("b", NewPeer::spare, node.now, node.effects);
  EXPECT_EQ(node.eager(), "a b");
}

TEST(Plumtree, links_are_spare_that_are_lazy_and_all_are_while_nobody_sends) {
  Node node;
  node.neighbours({"a", "b"}).prune("b");
  EXPECT_TRUE(node.machine.is_spare("a"));
  node.broadcast(1);
  EXPECT_FALSE(node.machine.is_spare("a"));
  EXPECT_TRUE(node.machine.is_spare("b"));
  node.pass(Milliseconds(62'000));
  EXPECT_TRUE(node.machine.is_spare("a"));
}

// Shorter paths.

TEST(Plumtree, announcements_of_a_shorter_path_change_the_tree_once_they_add_up) {
  Node node({.optimisation_threshold = 4});
  node.neighbours({"far", "near"}).prune("near");
  node.gossip("far", 1, 10);
  EXPECT_EQ(node.ihave("near", 1, 8), nothing) << "two hops less, once, are not enough";
  node.ihave("near", 2, 7);
  EXPECT_EQ(node.gossip("far", 2, 10), (Lines{"deliver 2 round 10", "near: graft", "far: prune"}))
      << "three more: it does not matter which comes first";
  EXPECT_EQ(node.eager(), "near");
  EXPECT_EQ(node.lazy(), "far");
  EXPECT_EQ(node.ihave("near", 2, 3), nothing);
  EXPECT_EQ(node.counters().optimised, 1U);
}

TEST(Plumtree, a_path_that_is_much_shorter_is_taken_for_one_message) {
  Node node({.optimisation_threshold = 4});
  node.neighbours({"far", "near"}).prune("near");
  node.gossip("far", 1, 10);
  EXPECT_EQ(node.ihave("near", 1, 5), (Lines{"near: graft", "far: prune"}));
}

TEST(Plumtree, what_one_sender_would_gain_and_another_lose_changes_nothing) {
  Node node({.optimisation_threshold = 4});
  node.neighbours({"left", "right"}).prune("right");
  for (int id = 0; id < 200; id += 2) {
    node.gossip("left", id, 10);
    EXPECT_EQ(node.ihave("right", id, 8), nothing);
    node.gossip("left", id + 1, 8);
    EXPECT_EQ(node.ihave("right", id + 1, 10), nothing);
  }
  EXPECT_EQ(node.counters().optimised, 0U);
}

TEST(Plumtree, a_path_that_is_a_hop_shorter_each_time_is_taken_in_the_end) {
  Node node({.optimisation_threshold = 4});
  node.neighbours({"far", "near"}).prune("near");
  int messages = 0;
  while (node.counters().optimised == 0 && messages < 100) {
    node.gossip("far", ++messages, 6);
    node.ihave("near", messages, 5);
  }
  EXPECT_EQ(messages, 8) << "half a hop counts for each";
}

TEST(Plumtree, a_path_that_is_not_shorter_this_time_is_not_taken_whatever_it_saved_before) {
  Node node({.optimisation_threshold = 4});
  node.neighbours({"far", "near"}).prune("near");
  node.gossip("far", 1, 10);
  node.ihave("near", 1, 7);
  node.gossip("far", 2, 10);
  EXPECT_EQ(node.ihave("near", 2, 10), nothing);
  EXPECT_EQ(node.eager(), "far");
}

TEST(Plumtree, what_a_path_saved_is_forgotten_with_its_neighbours) {
  Node node({.optimisation_threshold = 4});
  node.neighbours({"far", "near"}).prune("near");
  node.gossip("far", 1, 10);
  node.ihave("near", 1, 7);
  node.machine.peer_down("near");
  node.neighbours({"near"}).prune("near");
  node.gossip("far", 2, 10);
  EXPECT_EQ(node.ihave("near", 2, 7), nothing);
}

TEST(Plumtree, a_path_is_only_exchanged_between_cpp_neighbours) {
  Node node({.optimisation_threshold = 4});
  node.neighbours({"far", "near", "erl"});
  node.say_hello("stranger");
  node.gossip("far", 1, 10);
  EXPECT_EQ(node.ihave("erl", 1, 0), nothing);
  EXPECT_EQ(node.ihave("stranger", 1, 1), nothing);
  node.gossip("stranger", 2, 10);
  EXPECT_EQ(node.ihave("near", 2, 1), nothing);
  node.gossip("erl", 3, 10);
  EXPECT_EQ(node.ihave("near", 3, 1), nothing);
  node.broadcast(4);
  EXPECT_EQ(node.ihave("near", 4, 1), nothing);
}

TEST(Plumtree, a_lazy_bringer_is_not_pruned_for_a_shorter_path) {
  Node node({.optimisation_threshold = 4});
  node.neighbours({"far", "near"});
  node.gossip("far", 1, 10);
  node.prune("far");
  EXPECT_EQ(node.ihave("near", 1, 1), nothing);
}

// What is remembered.

TEST(Plumtree, payloads_are_kept_shorter_than_ids) {
  Node node;
  node.say_hello("a");
  node.broadcast(1);
  node.pass(Milliseconds(60'000));
  EXPECT_EQ(node.graft("a", {1}).size(), 1U);
  node.pass(Milliseconds(1'000));
  EXPECT_EQ(node.graft("a", {1}), nothing);
  EXPECT_EQ(node.machine.cached_payloads(), 0U);
  EXPECT_EQ(node.machine.cached_ids(), 1U);
  EXPECT_EQ(node.gossip("a", 1), (Lines{"a: prune"})) << "still known";
  EXPECT_EQ(node.ihave("a", 1), nothing);
  EXPECT_EQ(node.machine.missing(), 0U);
  node.pass(Milliseconds(240'000));
  EXPECT_EQ(node.machine.cached_ids(), 0U);
  EXPECT_EQ(node.gossip("a", 1), (Lines{"deliver 1 round 1"}));
}

TEST(Plumtree, old_messages_make_room_under_traffic_without_a_tick) {
  Node node;
  node.broadcast(1);
  node.now += Milliseconds(60'001);
  node.broadcast(2);
  EXPECT_EQ(node.machine.cached_payloads(), 1U);
  node.now += Milliseconds(300'001);
  node.broadcast(3);
  EXPECT_EQ(node.machine.cached_ids(), 1U);
}

TEST(Plumtree, ids_are_bounded_and_the_oldest_goes_first) {
  Node node({.ids_max = 3});
  for (int id = 1; id <= 5; ++id) node.broadcast(id);
  EXPECT_EQ(node.machine.cached_ids(), 3U);
  EXPECT_EQ(node.machine.cached_payloads(), 3U);
  EXPECT_EQ(node.broadcast(5), nothing);
  EXPECT_EQ(node.broadcast(2), (Lines{"deliver 2 round 0"}));
}

TEST(Plumtree, payloads_are_bounded_in_bytes_and_the_oldest_goes_first) {
  // In memory each takes its bytes and less than 100 more.
  const Term payload(std::string(1000, 'x'));
  Node node({.payload_bytes_max = 3 * 1100});
  node.say_hello("a");
  for (int id = 1; id <= 5; ++id) node.machine.broadcast(Atom("tag"), payload, id, node.now, node.effects);
  node.take();
  EXPECT_EQ(node.machine.cached_payloads(), 3U);
  EXPECT_EQ(node.machine.cached_ids(), 5U);
  EXPECT_EQ(node.graft("a", {1, 2, 3, 4, 5}),
            (Lines{"a: gossip 3 round 1", "a: gossip 4 round 1", "a: gossip 5 round 1"}));
}

TEST(Plumtree, payloads_count_what_they_take_in_memory) {
  std::vector<TermPair> pairs;
  for (int key = 0; key < 100; ++key) pairs.emplace_back(key, Term::tuple({key, key}));
  const Term payload = Term::map(std::move(pairs));
  Node node({.payload_bytes_max = 3 * encoded_size(payload)});
  for (int id = 1; id <= 3; ++id) node.machine.broadcast(Atom("tag"), payload, id, node.now, node.effects);
  EXPECT_EQ(node.machine.cached_payloads(), 0U) << "its 100 tuples take many times what they take on the wire";
}

TEST(Plumtree, whatever_has_much_memory_counts_tags_too) {
  const Term text(std::string(1000, 'x'));
  const auto kept = [](const Term& tag, const Term& payload) {
    Node node({.payload_bytes_max = 1000});
    node.machine.broadcast(tag, payload, 1, node.now, node.effects);
    return node.machine.cached_payloads();
  };
  EXPECT_EQ(kept(Atom("tag"), 1), 1U);
  EXPECT_EQ(kept(text, 1), 0U);
  EXPECT_EQ(kept(Atom("tag"), Term::list({1}, text)), 0U) << "what stands behind the bar";
  EXPECT_EQ(kept(Atom("tag"), Term(BigInteger::parse("1" + std::string(2500, '0')).value())), 0U) << "the digits";
}

TEST(Plumtree, ids_are_bounded_in_memory_and_the_oldest_goes_first) {
  Node node({.id_bytes_max = 3000});
  const auto id = [](int number) { return Term::tuple({std::string(1000, 'x'), number}); };
  for (int number = 1; number <= 5; ++number)
    node.machine.broadcast(Atom("tag"), 1, id(number), node.now, node.effects);
  EXPECT_EQ(node.machine.cached_ids(), 2U);
  node.effects.clear();
  node.machine.broadcast(Atom("tag"), 1, id(5), node.now, node.effects);
  EXPECT_TRUE(node.effects.empty()) << "the last one is known";
}

TEST(Plumtree, a_payload_above_the_bound_is_spread_all_the_same) {
  Node node({.payload_bytes_max = 1});
  node.neighbours({"a", "b"}).prune("b");
  EXPECT_EQ(node.broadcast(1), (Lines{"deliver 1 round 0", "a: gossip 1 round 1"}));
  EXPECT_EQ(node.machine.cached_payloads(), 0U);
  EXPECT_EQ(node.machine.cached_ids(), 1U);
}

TEST(Plumtree, missing_messages_and_their_announcers_are_bounded) {
  Node node({.missing_max = 2, .announcers_max = 2});
  node.neighbours({"a", "b", "c"});
  for (const Atom& from : {Atom("a"), Atom("b"), Atom("c")}) {
    for (int id = 1; id <= 3; ++id) node.ihave(from, id);
  }
  EXPECT_EQ(node.machine.missing(), 2U);
  EXPECT_EQ(node.counters().dropped, 3U);
  EXPECT_EQ(node.pass(Milliseconds(5'000)), (Lines{"a: graft 1 2", "b: graft 1 2", "lost a", "lost b", "lost c"}));
}

TEST(Plumtree, who_announces_what_nobody_has_keeps_nobody_else_from_announcing) {
  Node node({.missing_max = 10, .missing_share_max = 4});
  node.neighbours({"liar", "a", "b"});
  for (int id = 1; id <= 1000; ++id) node.ihave("liar", id);
  EXPECT_EQ(node.machine.missing(), 4U);
  node.ihave("a", 2000);
  EXPECT_EQ(node.machine.missing(), 5U);
  node.ihave("liar", 2000);
  EXPECT_EQ(node.pass(Milliseconds(500)), (Lines{"liar: graft 1 2 3 4", "a: graft 2000"}));
  node.pass(Milliseconds(5'000));
  EXPECT_EQ(node.machine.missing(), 0U);
  for (int id = 3001; id <= 3010; ++id) node.ihave("liar", id);
  EXPECT_EQ(node.machine.missing(), 4U) << "its share is its own again";
  for (int id = 3001; id <= 3004; ++id) node.gossip("b", id);
  for (int id = 3011; id <= 3020; ++id) node.ihave("liar", id);
  EXPECT_EQ(node.machine.missing(), 4U) << "what arrived is missing no more";
}

// Queues.

TEST(Plumtree, announcements_of_the_library_and_of_programs_take_turns) {
  Node node;
  node.neighbours({"a", "z"}).prune("a");
  for (int id = 1; id <= 4; ++id) node.broadcast(id);
  for (int id = 11; id <= 12; ++id) node.broadcast(id, "barrel_p2p_members_replica");
  EXPECT_EQ(node.pass(Milliseconds(20)), (Lines{"a: ihave 11@1 1@1 12@1 2@1 3@1 4@1"}));
}

TEST(Plumtree, a_full_queue_loses_the_oldest_of_the_class_that_has_more) {
  Node node({.queue_max = 4});
  node.neighbours({"a", "z"}).prune("a");
  node.broadcast(11, "barrel_p2p_members_replica");
  for (int id = 1; id <= 6; ++id) node.broadcast(id);
  node.broadcast(12, "barrel_p2p_members_replica");
  EXPECT_EQ(node.counters().dropped, 4U);
  EXPECT_EQ(node.pass(Milliseconds(20)), (Lines{"a: ihave 11@1 5@1 12@1 6@1"}));
}

TEST(Plumtree, what_a_bound_lost_is_told_once_and_again_while_more_is_lost) {
  Node node({.queue_max = 1});
  node.neighbours({"a", "b"}).prune("a");
  for (int id = 1; id <= 3; ++id) node.broadcast(id);
  EXPECT_EQ(node.pass(Milliseconds(999)), (Lines{"a: ihave 3@1"}));
  EXPECT_EQ(node.pass(Milliseconds(1)), (Lines{"lost a"}));
  EXPECT_EQ(node.pass(Milliseconds(2'000)), nothing);
  for (int id = 4; id <= 5; ++id) node.broadcast(id);
  EXPECT_EQ(node.pass(Milliseconds(1'000)), (Lines{"a: ihave 5@1", "lost a"}));
}

TEST(Plumtree, losses_that_go_on_are_told_less_and_less_often) {
  Node node({.queue_max = 1, .lost_delay_max = Milliseconds(4'000)});
  node.neighbours({"a", "b"}).prune("a");
  int id = 0;
  const auto seconds_until_told = [&] {
    for (int seconds = 1; seconds <= 60; ++seconds) {
      node.broadcast(++id);
      node.broadcast(++id);
      const auto lines = node.pass(Milliseconds(1'000));
      if (std::ranges::find(lines, "lost a") != lines.end()) return seconds;
    }
    return 0;
  };
  EXPECT_EQ(seconds_until_told(), 1);
  EXPECT_EQ(seconds_until_told(), 2);
  EXPECT_EQ(seconds_until_told(), 4);
  EXPECT_EQ(seconds_until_told(), 4);
  node.pass(Milliseconds(10'000));
  EXPECT_EQ(seconds_until_told(), 1);
}

TEST(Plumtree, what_was_lost_to_an_erlang_node_is_not_told) {
  Node node({.payload_bytes_max = 1});
  node.neighbours({"e1"});
  node.broadcast(1);
  EXPECT_EQ(node.graft("e1", {1}), nothing);
  EXPECT_EQ(node.pass(Milliseconds(2'000)), nothing);
}

TEST(Plumtree, a_message_that_nobody_has_any_more_is_told_of) {
  Node node({.payload_bytes_max = 1});
  node.neighbours({"a", "b"});
  node.broadcast(1);
  EXPECT_EQ(node.graft("a", {1}), nothing) << "its payload is gone";
  node.machine.push_refused("b", 1, node.now);
  EXPECT_EQ(node.pass(Milliseconds(1'000)), (Lines{"lost a", "lost b"}));
  node.ihave("a", 2);
  node.machine.peer_down("b");
  EXPECT_EQ(node.pass(Milliseconds(3'000)), (Lines{"a: graft 2", "lost a"})) << "it did not come";
}

TEST(Plumtree, a_push_that_is_refused_becomes_an_announcement) {
  Node node;
  node.neighbours({"a", "b"});
  node.gossip("b", 1, 2);
  node.machine.push_refused("a", 1, node.now);
  EXPECT_EQ(node.pass(Milliseconds(20)), (Lines{"a: ihave 1@3"}));
  EXPECT_EQ(node.eager(), "a b") << "it stays eager: the next message may pass";
  EXPECT_EQ(node.counters().congested, 1U);
}

TEST(Plumtree, a_refused_push_to_a_stranger_or_of_a_forgotten_message_is_forgotten) {
  Node node;
  node.neighbours({"a"});
  node.broadcast(1);
  node.machine.push_refused("stranger", 1, node.now);
  node.machine.push_refused("a", 2, node.now);
  EXPECT_EQ(node.pass(Milliseconds(20)), nothing);
}

// Coming and going.

TEST(Plumtree, a_neighbour_that_went_gets_nothing) {
  Node node;
  node.neighbours({"a", "b", "c"}).prune("b");
  node.broadcast(1);
  node.machine.peer_down("a");
  node.machine.peer_down("b");
  node.machine.link_down("c");
  EXPECT_EQ(node.broadcast(2), (Lines{"deliver 2 round 0"}));
  EXPECT_EQ(node.pass(Milliseconds(20)), nothing);
}

TEST(Plumtree, after_leave_nothing_is_sent_and_nothing_accepted_until_the_next_neighbour) {
  Node node;
  node.neighbours({"a", "b"}).prune("b");
  node.broadcast(1);
  node.ihave("a", 2);
  node.machine.leave();
  EXPECT_EQ(node.pass(Milliseconds(5'000)), nothing);
  EXPECT_EQ(node.gossip("a", 3), nothing);
  EXPECT_EQ(node.graft("a", {1}), nothing);
  EXPECT_EQ(node.ihave("a", 3), nothing);
  EXPECT_EQ(node.gossip("erl", 3), nothing);
  EXPECT_EQ(node.broadcast(4), (Lines{"deliver 4 round 0"})) << "here only";
  EXPECT_EQ(node.machine.missing(), 0U);
  node.neighbours({"a", "erl"});
  EXPECT_EQ(node.gossip("a", 3), (Lines{"deliver 3 round 1", "erl: gossip 3 round 0"}));
  EXPECT_EQ(node.gossip("a", 4), (Lines{"a: prune"})) << "what was seen before is remembered";
}

TEST(Plumtree, nothing_is_waited_for_when_nothing_is_remembered) {
  Node node;
  node.neighbours({"a", "b"});
  EXPECT_FALSE(node.machine.deadline());
  node.prune("a");
  node.gossip("b", 1);
  EXPECT_EQ(node.machine.deadline(), node.now + Milliseconds(20));
  node.ihave("b", 2);
  node.pass(Milliseconds(20));
  EXPECT_EQ(node.machine.deadline(), node.now + Milliseconds(480));
  node.pass(Milliseconds(400'000));
  EXPECT_FALSE(node.machine.deadline());
}

}  // namespace
}  // namespace barrel_p2p::overlay
