// Leader election against recordings of the Erlang implementation.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "services/leader_support.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using barrel_p2p::test::decoded;
using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;
using barrel_p2p::test::text_of;
using test::LeaderDisk;
using test::LeaderNode;

Pid pid(const char* node, std::uint32_t id) { return {.node = Atom(node), .id = id, .serial = 0, .creation = 4}; }

struct Single {
  Single(const char* name, WallMilliseconds wall)
      : now{MonotonicTime{} + std::chrono::hours(1), wall}, node({.own = Atom(name)}, disk, now) {}

  void deliver(const Term& payload) {
    node.input(now, [&](Effects& out) { node.leader.deliver(payload, now, out); });
  }
  void receive(const char* from, const Term& message) {
    node.input(now, [&](Effects& out) { node.leader.receive(Atom(from), message, now, out); });
  }
  [[nodiscard]] std::string high_water(const Term& name) const {
    const auto fence = node.leader.high_water(name);
    return fence ? fence->text() : "undefined";
  }
  /// Broadcast since it was last asked.
  std::vector<Term> broadcasts() {
    std::vector<Term> payloads;
    for (const auto& effect : std::exchange(node.sent, {})) {
      if (const auto* broadcast = std::get_if<Broadcast>(&effect)) payloads.push_back(broadcast->payload);
    }
    return payloads;
  }

  LeaderDisk disk;
  Now now;
  LeaderNode node;
};

}  // namespace

TEST(LeaderVectors, the_winner_is_the_recorded_one) {
  std::size_t count = 0;
  const auto recorded = read_vectors("leader_winner.json");
  for (const auto& row : recorded.as_array()) {
    if (!row.as_object().contains("winner_utf8")) continue;
    ++count;
    Contest contest;
    const Term candidates = decoded(row);
    for (const auto& candidate : candidates.elements()) {
      contest.rivals.set({*candidate[0].as_atom(), pid("p@h", 1), candidate[1]}, true);
    }
    ASSERT_FALSE(contest.rivals.empty());
    EXPECT_EQ(contest.rivals.winner()->node.string(), text_of(row, "winner_utf8")) << to_text(candidates);
  }
  EXPECT_GE(count, 20U);
}

TEST(LeaderVectors, the_high_water_mark_is_raised_as_recorded) {
  Single single("a@h", 1'764'000'000'000);
  const auto recorded = read_vectors("leader_fences.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "name") != "high_water_after_merge") continue;
    // Somebody campaigns, or so old a fence would be forgotten.
    if (single.high_water(Atom("x")) == "undefined") {
      single.deliver(
          Term::tuple({Atom("delta"), Atom("b@h"),
                       Term::map({{candidate_key(Atom("x"), Atom("b@h")),
                                   replication::to_term(replication::Entry::value(
                                       candidate_value(pid("b@h", 1), 0), {{1'764'000'000'000, 0}, Atom("b@h")}))}})}));
    }
    single.deliver(Term::tuple({Atom("custom"), Atom("b@h"), Term::tuple({Atom("x"), decoded(row)})}));
    EXPECT_EQ(single.high_water(Atom("x")), text_of(row, "high_water"));
  }
}

TEST(LeaderVectors, received_candidates_are_taken_or_refused_as_recorded_and_dangerous_ones_never) {
  std::size_t count = 0;
  const auto recorded = read_vectors("leader_validation.json");
  for (const auto& row : recorded.as_array()) {
    if (!row.as_object().contains("stored")) continue;
    ++count;
    const auto name = text_of(row, "name");
    Single single("a@h", 1'795'386'464'816);
    single.deliver(Term::tuple({Atom("delta"), Atom("x@h"), decoded(row)}));
    // What names a node that is not its sender, or no node, is not taken.
    const bool ours = name != "valid_pid_of_other_node_than_key" && name != "crash_key_not_a_pair";
    const bool stored = row.at("stored").as_bool() && ours;
    EXPECT_EQ(single.node.leader.map().size(), stored ? 1U : 0U) << name;
    EXPECT_EQ(single.node.leader.counters().rejected, stored ? 0U : 1U) << name;
  }
  EXPECT_EQ(count, 13U);
}

TEST(LeaderVectors, received_fences_and_snapshots_are_taken_as_recorded) {
  std::size_t count = 0;
  Single single("a@h", 1'795'386'464'816);
  const auto recorded = read_vectors("leader_validation.json");
  for (const auto& row : recorded.as_array()) {
    if (!row.as_object().contains("high_water_fj")) continue;
    ++count;
    const Term term = decoded(row);
    if (term.is_tagged("plumtree_broadcast", 2)) {
      single.deliver(term[1][1]);
    } else {
      single.receive("x@h", term);
    }
    // They forget all marks in that one: the process crashes.
    const auto expected =
        text_of(row, "high_water_fj") == "undefined" ? "7711126150065774657540" : text_of(row, "high_water_fj");
    EXPECT_EQ(single.high_water(Atom("fj")), expected) << text_of(row, "name");
  }
  EXPECT_EQ(count, 8U);
  EXPECT_EQ(single.high_water(Atom("fk")), Fence(1'795'386'464'816, 1).text());
}

TEST(LeaderVectors, recorded_traffic_gives_the_recorded_leaders) {
  Single single("c@h", 1'795'386'460'000);
  const auto recorded = read_vectors("leader_messages.json");
  const Term big_name = *parse_term("{shard,<<\"x\">>,7}");
  for (const auto& row : recorded.as_array()) {
    const auto name = text_of(row, "name");
    const Term term = decoded(row);
    if (term.is_tagged("$barrel_p2p_plumtree", 2) && term[1].is_tagged("gossip", 5)) {
      single.deliver(term[1][3]);
    } else if (name == "full_sync_push_on_peer_up" && term[1][1].is_atom("se2@127.0.0.1")) {
      single.receive("se2@127.0.0.1", term);
    }
    const auto leader = single.node.leader.leader(Atom("job"), single.now);
    if (name == "lead_atom_name_custom_fence") {
      ASSERT_TRUE(leader);
      EXPECT_EQ(leader->node.string(), "se1@127.0.0.1");
    }
    if (name == "resign_and_reelection_custom_fence") {
      ASSERT_TRUE(leader);
      EXPECT_EQ(leader->node.string(), "se2@127.0.0.1");
    }
  }
  EXPECT_EQ(single.high_water(Atom("big")), Fence(1'795'386'447'204, 1).text());
  EXPECT_EQ(single.high_water(big_name), Fence(1'795'386'445'901, 1).text());
  EXPECT_EQ(single.high_water(Atom("job")), Fence(1'795'386'452'423, 3).text());
  EXPECT_EQ(single.node.leader.leader(Atom("big"), single.now)->node.string(), "se2@127.0.0.1");
  EXPECT_EQ(single.node.leader.leader(Atom("job"), single.now)->node.string(), "se1@127.0.0.1");
  EXPECT_FALSE(single.node.leader.leader(big_name, single.now));
  EXPECT_EQ(single.node.leader.counters().rejected, 0U);
}

TEST(LeaderVectors, our_broadcasts_have_the_recorded_form) {
  const auto recorded = read_vectors("leader_messages.json");
  std::map<std::string, Term> by_name;
  for (const auto& row : recorded.as_array()) by_name.emplace(text_of(row, "name"), decoded(row));
  for (const char* name : {"lead_atom_name", "lead_term_name_priority", "lead_big_priority"}) {
    const Term delta = by_name.at(std::string(name) + "_delta_candidate")[1][3];
    const Term fence = by_name.at(std::string(name) + "_custom_fence")[1][3];
    const auto& [key, entry] = delta[2].pairs().front();
    const auto stamp = replication::timestamp_of(entry[2].pairs().front().first[1]);
    const Atom own = *delta[1].as_atom();
    Single single(own.string().c_str(), stamp->wall);
    ASSERT_TRUE(single.node.lead(key[0], *entry[1][0].as_pid(), {.priority = entry[1][1]}, single.now));
    const auto sent = single.broadcasts();
    ASSERT_EQ(sent.size(), 2U);
    // The candidate has the first stamp of the millisecond, the fence the next one: they mint two stamps a change.
    const Term ours = replication::to_term(replication::Entry::value(entry[1], {{stamp->wall, 0}, own}));
    EXPECT_EQ(sent[0], Term::tuple({Atom("delta"), own, Term::map({{key, ours}})}));
    EXPECT_EQ(sent[1], fence);
  }
}

TEST(LeaderVectors, snapshots_have_the_recorded_form) {
  const auto recorded = read_vectors("leader_messages.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "name") != "full_sync_answer_to_request_sync") continue;
    const Term recorded_snapshot = decoded(row)[1][2];
    Single single("c@h", 1'795'386'460'000);
    single.receive("se1@127.0.0.1", decoded(row));
    single.node.sent.clear();
    single.receive("se1@127.0.0.1", *parse_term("{'$barrel_p2p_replica',{request_sync,'se1@127.0.0.1'}}"));
    ASSERT_EQ(single.node.sent.size(), 1U);
    const auto& send = std::get<Send>(single.node.sent.front());
    EXPECT_EQ(send.name.string(), leader_replica_name);
    const Term snapshot = send.message[1][2];
    EXPECT_EQ(snapshot[1], recorded_snapshot[1]);
    // Of each node only the greatest dot is kept.
    ASSERT_EQ(snapshot[0].size(), recorded_snapshot[0].size());
    for (const auto& [key, entry] : snapshot[0].pairs()) {
      EXPECT_EQ(replication::entry_of(entry)->stamp(), replication::entry_of(*recorded_snapshot[0].find(key))->stamp());
    }
  }
}

// Of leader_mint.json: a clock that stands still, jumps, and fences ahead of it. They mint more stamps for the same
// (two a change, and own messages that come back), so what is compared is what was told, and that fences rise as
// theirs.
TEST(LeaderVectors, terms_begin_and_end_as_recorded_with_rising_fences) {
  Single single("a@h", 1'700'000'000'000);
  const Pid candidate = pid("a@h", 1);
  Fence last;
  std::size_t terms = 0;
  const auto recorded = read_vectors("leader_mint.json");
  for (const auto& row : recorded.as_array()) {
    const auto name = text_of(row, "name");
    const auto result = text_of(row, "result");
    if (name.find("jumps to +10000") != std::string::npos) single.now.wall = 1'700'000'010'000;
    if (name.find("jumps back") != std::string::npos) single.now.wall = 1'699'999'990'000;
    const auto before = single.node.leader.high_water(Atom("job"));
    if (name.starts_with("resign")) {
      single.node.terms.clear();
      single.node.input(single.now, [&](Effects& out) {
        EXPECT_TRUE(single.node.leader.resign(Atom("job"), candidate, single.now, out));
      });
      EXPECT_EQ(single.node.leader.high_water(Atom("job")), before);
    } else if (result.find("{ok,{leader") == 0) {
      ++terms;
      const Term campaign = name == "term of another name" ? Atom("other") : Atom("job");
      const auto role = single.node.lead(campaign, candidate, {}, single.now);
      ASSERT_TRUE(role && role->fence) << name;
      EXPECT_GT(*role->fence, last) << name;
      const auto theirs = Fence::parse(result.substr(12, result.size() - 14));
      ASSERT_TRUE(theirs) << result;
      EXPECT_EQ(role->fence->wall(), theirs->wall()) << name;
      last = *role->fence;
    } else if (result.find("{custom") != std::string::npos || result.find("{delta") != std::string::npos) {
      const bool is_delta = result.find("{delta") != std::string::npos;
      const auto value =
          replication::Entry::value(candidate_value(pid("zz@h", 1), 9), {{1'700'000'020'000, 0}, Atom("zz@h")});
      const Term key = candidate_key(Atom("job"), Atom("zz@h"));
      const Term delta = Term::tuple({Atom("delta"), Atom("zz@h"), Term::map({{key, replication::to_term(value)}})});
      const Term payload = is_delta ? delta : (*parse_term(result))[1][1];
      single.deliver(payload);
    }
    if (name == "peer fence ahead of the clock while leading") {
      EXPECT_EQ(single.node.take_told(), "renewed p1") << "theirs keeps a token that everybody refuses";
      EXPECT_GT(*single.node.leader.fence(Atom("job"), single.now), Fence(1'700'000'000'500, 7));
      last = *single.node.leader.fence(Atom("job"), single.now);
    } else if (name.starts_with("loss of leadership")) {
      EXPECT_EQ(single.node.take_told(), "revoked p1");
    } else if (name != "remote node removed, leadership back") {
      EXPECT_EQ(single.node.take_told(), "") << name;
    }
  }
  EXPECT_EQ(terms, 7U);
}

/// But for where C++ nodes do more: several processes of one node may campaign, and fences are minted anew after a
/// split.
TEST(LeaderVectors, three_nodes_elect_as_recorded) {
  const std::string a = "se1@127.0.0.1";
  const std::string b = "se2@127.0.0.1";
  const std::string c = "se3@127.0.0.1";
  const Term job(Atom("job"));
  test::LeaderWorld world;
  for (const auto& name : {a, b, c}) world.add(name);
  const auto lead = [&](const std::string& node, std::uint32_t id, int priority) {
    return [&world, job, node, id, priority] {
      const auto role = world.lead(node, job, pid(node.c_str(), id), {.priority = priority});
      return std::string(!role ? name(role.error().code()) : role->is_leader() ? "leader" : "follower");
    };
  };
  const auto resign = [&] { return world.resign(a, job), std::string("ok"); };
  const std::map<std::string, std::function<std::string()>> steps{
      {"se1 (alone) campaigns for job, priority 0", lead(a, 1, 0)},
      {"se2 (alone) campaigns for job, priority 0", lead(b, 1, 0)},
      {"se2 campaigns again from the same process", lead(b, 1, 0)},
      {"se1 and se2 connect", [&] { return world.link(a, b), std::string("ok"); }},
      {"se3 connected and campaigns with priority 0",
       [&] {
         world.link(a, c);
         world.link(b, c);
         world.pass(std::chrono::seconds(1));
         return lead(c, 1, 0)();
       }},
      {"se1 resigns", resign},
      {"se1 resigns again", resign},
      {"se1 campaigns with priority 5", lead(a, 1, 5)},
      {"candidate process of se1 is killed",
       [&] { return world.end_process(a, pid(a.c_str(), 1)), std::string("ok"); }},
      {"se1 campaigns again (new process)", lead(a, 2, 5)},
      {"another process of se1 resigns for it", resign},
      {"se1 campaigns once more", lead(a, 2, 5)},
      {"partition: se1 | se2+se3",
       [&] {
         world.unlink(a, b);
         world.unlink(a, c);
         return std::string("ok");
       }},
      {"heal (unblock, se1 joins se2, se3 joins se1)",
       [&] {
         world.link(a, b);
         world.link(a, c);
         return std::string("ok");
       }},
  };
  std::size_t played = 0;
  const auto recorded = read_vectors("leader_scenarios.json");
  for (const auto& row : recorded.as_array()) {
    const auto step = text_of(row, "name");
    const auto found = steps.find(step);
    if (found == steps.end()) continue;
    ++played;
    EXPECT_NE(text_of(row, "result").find(found->second()), std::string::npos) << step;
    world.pass(std::chrono::seconds(20));
    const auto leaders = world.leaders(job);
    for (const auto& [node, view] : row.at("views").as_object()) {
      const auto known = world.leader_at(node, job);
      const auto wanted = text_of(view, "leader");
      EXPECT_NE(wanted.find(known == "none" ? "no_leader" : known.substr(0, known.find(' '))), std::string::npos)
          << step << ": " << std::string(node) << " knows " << known;
      const bool leads = std::ranges::find(leaders, std::string(node)) != leaders.end();
      EXPECT_EQ(leads, view.at("is_leader").as_bool()) << step << ": " << std::string(node);
    }
    for (const auto& [node, messages] : row.at("messages_to_candidates").as_object()) {
      std::string wanted;
      for (const auto& message : messages.as_array()) {
        wanted += message.as_string().find("elected") != std::string::npos ? " elected" : " revoked";
      }
      std::string told;
      std::istringstream words(world.at(node).take_told());
      for (std::string word; words >> word;) {
        if (word == "elected" || word == "revoked") told += " " + word;
      }
      EXPECT_EQ(told, wanted) << step << ": " << std::string(node);
    }
  }
  EXPECT_EQ(played, steps.size());
}

}  // namespace barrel_p2p::services
