// Ownership of partitions: as Erlang nodes compute it, and what a node is told of its changes.
#include "services/placement.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "services/leases_support.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;
using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;
using barrel_p2p::test::text_of;
using test::Leaseholder;

std::vector<Atom> names(const boost::json::value& list) {
  std::vector<Atom> nodes;
  for (const auto& name : list.as_array()) nodes.emplace_back(std::string_view(name.as_string()));
  return nodes;
}

std::vector<Atom> nodes(int count) {
  std::vector<Atom> members;
  for (int node = 0; node < count; ++node) members.emplace_back("node" + std::to_string(node) + "@10.0.0.1");
  std::ranges::sort(members);
  return members;
}

Ring ring_of(const std::vector<Atom>& members, std::uint32_t size = ring_size_default) {
  Ring ring(size);
  ring.set_members(members);
  return ring;
}

bool is_acquired(const ShardEvent& event) { return event.kind == ShardEvent::Kind::acquired; }

std::string text(const std::vector<ShardEvent>& changes) {
  std::string list;
  for (const auto& change : changes) list += (is_acquired(change) ? " +" : " -") + std::to_string(change.partition);
  return list;
}

TEST(Ring, recorded_rings_have_the_same_owners_rankings_and_scores) {
  std::size_t compared = 0;
  const auto rows = read_vectors("placement_rings.json");
  for (const auto& row : rows.as_array()) {
    const auto name = text_of(row, "name");
    const auto members = names(row.at("members_sorted"));
    EXPECT_TRUE(std::ranges::is_sorted(members)) << name;
    const Ring ring = ring_of(members, row.at("ring_size").to_number<std::uint32_t>());
    std::uint32_t partition = 0;
    for (const auto& owner : row.at("owner_by_partition").as_array()) {
      const Atom* const ours = ring.owner(partition++);
      EXPECT_EQ(ours == nullptr ? "undefined" : ours->string(), owner.as_string()) << name << " " << partition;
      ++compared;
    }
    EXPECT_EQ(partition, ring.size());
    for (const auto& key : row.at("keys").as_array()) {
      const Term term = decode_term(from_hex(text_of(key, "etf_hex")))->term;
      EXPECT_EQ(ring.partition(term), key.at("partition").to_number<std::uint32_t>());
      EXPECT_EQ(ring.owners(ring.partition(term), 3), names(key.at("owners_3")));
      EXPECT_EQ(ring.owners(ring.partition(term), 12), names(key.at("owners_all"))) << "12 are recorded";
      EXPECT_TRUE(ring.owners(ring.partition(term), 0).empty());
    }
    for (const auto& sample : row.at("sample_scores").as_array()) {
      EXPECT_EQ(NodeScore(Atom(text_of(sample, "node"))).of(sample.at("partition").to_number<std::uint32_t>()),
                sample.at("score").to_number<std::uint32_t>());
    }
  }
  EXPECT_EQ(compared, 15U * 64U + 1U + 7U + 128U + 1000U - 4U * 64U);
}

TEST(Ring, owners_are_the_same_whatever_way_the_members_came_about) {
  const auto all = nodes(20);
  Ring ring(128);
  Prng random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Atom> members;
    for (const auto& node : all) {
      if (random.chance(0.5)) members.push_back(node);
    }
    ring.set_members(members);
    const Ring fresh = ring_of(members, 128);
    for (std::uint32_t partition = 0; partition < ring.size(); ++partition) {
      const Atom* const one = ring.owner(partition);
      const Atom* const other = fresh.owner(partition);
      ASSERT_EQ(one == nullptr, other == nullptr);
      if (one != nullptr) {
        ASSERT_EQ(*one, *other);
        ASSERT_EQ(*one, ring.owners(partition, 1).front());
      }
    }
  }
}

TEST(Ring, a_node_that_comes_or_goes_moves_only_its_own_share) {
  for (const int count : {3, 10, 100}) {
    auto members = nodes(count);
    const std::uint32_t size = 64'000;
    const Ring before = ring_of(members, size);
    const Atom leaver = members[1];
    members.erase(members.begin() + 1);
    const Ring after = ring_of(members, size);
    std::uint32_t moved = 0;
    for (std::uint32_t partition = 0; partition < size; ++partition) {
      if (*before.owner(partition) == *after.owner(partition)) continue;
      ++moved;
      EXPECT_EQ(*before.owner(partition), leaver) << "nothing else moves";
    }
    const double ideal = static_cast<double>(size) / count;
    EXPECT_NEAR(moved, ideal, 0.1 * ideal) << count;
    std::uint32_t most = 0;
    for (const auto& [node, share] : before.shares()) most = std::max(most, share);
    EXPECT_LT(most, 1.15 * ideal) << count;
  }
}

TEST(Ring, names_with_equal_hashes_are_found) {
  EXPECT_TRUE(ring_of(nodes(1000)).equal_scores().empty());
  const auto groups = ring_of({Atom("aq@h"), Atom("ba@h"), Atom("zz@h")}).equal_scores();
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups.front(), (std::vector<Atom>{Atom("aq@h"), Atom("ba@h")}));
}

TEST(Ring, its_size_has_bounds) {
  EXPECT_TRUE(check_ring_size(1));
  EXPECT_TRUE(check_ring_size(ring_size_max));
  EXPECT_EQ(check_ring_size(0).error(), Errc::invalid_config);
  EXPECT_EQ(check_ring_size(std::uint64_t{ring_size_max} + 1).error(), Errc::invalid_config);
}

// The placement of a node.

/// A node with leases and a placement.
struct Owner : Leaseholder {
  explicit Owner(const std::string& name, std::uint32_t ring_size = ring_size_default, std::size_t members_min = 1)
      : Leaseholder(name), placement({.own = own, .ring_size = ring_size, .members_min = members_min}, *members) {}

  void after_input() override { placement.update(now.monotonic); }

  Placement placement;
};

TEST(Placement, a_node_alone_owns_everything_and_is_told_of_nothing) {
  Owner node("a@h");
  EXPECT_EQ(node.placement.owned().size(), 64U);
  EXPECT_TRUE(node.placement.take_changes().empty());
  EXPECT_TRUE(node.placement.is_owner(Term("anything")));
  EXPECT_EQ(*node.placement.place(Term("anything")), node.own);
}

/// `acquired` and `released` of the recorded nodes, whose members are those of the recording's three nodes.
TEST(Placement, a_recorded_change_of_members_gives_the_recorded_events) {
  std::map<std::string, std::set<std::string>> recorded;  // by stage and node
  const auto rows = read_vectors("placement_messages.json");
  for (const auto& row : rows.as_array()) {
    if (!text_of(row, "kind").starts_with("event")) continue;
    const auto name = text_of(row, "name");
    recorded[name.substr(0, name.find('/', 3)) + " " + text_of(row, "from")].insert(text_of(row, "term"));
  }
  std::size_t matched = 0;
  const std::vector<std::string> all{"sfa@127.0.0.1", "sfb@127.0.0.1", "sfc@127.0.0.1", "sfe@127.0.0.1",
                                     "sff@127.0.0.1"};
  for (const auto& [stage, events] : recorded) {
    const std::string own = stage.substr(stage.find(' ') + 1);
    bool found = false;
    for (const auto& other : all) {
      for (const auto& third : all) {
        // One of: a second node comes or goes, a third one comes or goes.
        Owner node(own);
        if (third != own && third != other) node.hear(third, node.now.wall);
        const auto told = [&] {
          std::set<std::string> texts;
          for (const auto& change : node.placement.take_changes()) {
            texts.insert("{barrel_p2p_shard,{" + std::string(is_acquired(change) ? "acquired" : "released") + "," +
                         std::to_string(change.partition) + "}}");
          }
          return texts;
        };
        auto both = told();
        if (other != own) node.hear(other, node.now.wall + 1);
        auto texts = told();
        both.insert(texts.begin(), texts.end());
        found = found || texts == events || both == events;
        node.now.wall += 1;
        node.goodbye(other);
        const auto gone = told();
        found = found || gone == events;
        texts.insert(gone.begin(), gone.end());
        found = found || texts == events;
      }
    }
    EXPECT_TRUE(found) << stage << " " << events.size();
    if (found) ++matched;
  }
  EXPECT_GE(matched, 4U);
}

TEST(Placement, what_is_released_comes_before_what_is_acquired_and_both_ascend) {
  Owner node("a@h");
  node.hear("b@h", node.now.wall);
  node.hear("c@h", node.now.wall);
  (void)node.placement.take_changes();
  // One input in which a member goes and others come.
  const auto before = node.placement.owned();
  node.now.wall += 10;
  node.snapshot("n@h", {{"b@h", node.now.wall}, {"d@h", node.now.wall}, {"e@h", node.now.wall}});
  const auto changes = node.placement.take_changes();
  ASSERT_FALSE(changes.empty());
  EXPECT_TRUE(std::ranges::is_sorted(changes, {}, [](const ShardEvent& change) {
    return std::pair(is_acquired(change), change.partition);
  })) << text(changes);
  std::set<std::uint32_t> owned(before.begin(), before.end());
  for (const auto& change : changes) {
    const bool fits = is_acquired(change) ? owned.insert(change.partition).second : owned.erase(change.partition) == 1;
    EXPECT_TRUE(fits) << change.partition;
  }
  const auto now = node.placement.owned();
  EXPECT_EQ(owned, std::set(now.begin(), now.end()));
}

TEST(Placement, the_share_of_a_dead_node_is_acquired_when_its_lease_ends_without_any_message) {
  Owner node("a@h");
  node.hear("b@h", node.now.wall);
  (void)node.placement.take_changes();
  node.pass(6s);
  EXPECT_TRUE(node.placement.take_changes().empty()) << "the lease counts with its last moment";
  node.pass(1ms);
  const auto changes = node.placement.take_changes();
  EXPECT_EQ(changes.size(), 64 - ring_of({Atom("a@h"), Atom("b@h")}).shares().front().second);
  EXPECT_TRUE(std::ranges::all_of(changes, is_acquired));
  EXPECT_EQ(node.placement.owned().size(), 64U);
}

TEST(Placement, who_was_paused_longer_than_its_lease_owns_nothing_until_others_know_that_it_is_back) {
  Owner node("a@h");
  node.hear("b@h", node.now.wall);
  const auto owned = node.placement.owned();
  (void)node.placement.take_changes();
  EXPECT_EQ(node.members->lease_until(), node.now.monotonic + 6s);
  node.sleep(7s);
  node.hear("b@h", node.now.wall - 100);  // before its own beat
  EXPECT_EQ(node.list(), "b@h");
  EXPECT_TRUE(node.placement.owned().empty());
  const auto released = node.placement.take_changes();
  EXPECT_EQ(released.size(), owned.size());
  EXPECT_TRUE(std::ranges::none_of(released, is_acquired));
  node.tick();
  EXPECT_EQ(node.list(), "a@h b@h");
  EXPECT_TRUE(node.placement.held());
  EXPECT_EQ(node.placement.deadline(), node.now.monotonic + 2s);
  node.pass(1999ms);
  EXPECT_TRUE(node.placement.owned().empty()) << "its beat is on its way";
  node.pass(1ms);
  EXPECT_EQ(node.placement.owned(), owned);
}

TEST(Placement, who_wakes_releases_and_acquires_anew_what_others_may_have_had_and_nothing_else) {
  Owner node("a@h");
  node.hear("b@h", node.now.wall);
  const auto owned = node.placement.owned();
  (void)node.placement.take_changes();
  node.sleep(1h);
  node.tick();  // beats at once
  std::vector<ShardEvent> expected;
  for (const auto partition : owned) expected.push_back({ShardEvent::Kind::released, partition});
  EXPECT_EQ(node.placement.take_changes(), expected);
  node.pass(2s);
  for (auto& change : expected) change.kind = ShardEvent::Kind::acquired;
  EXPECT_EQ(node.placement.take_changes(), expected) << "the other one is given the time to say that it lives";
  node.pass(7s);
  EXPECT_EQ(node.placement.owned().size(), 64U) << "it did not";
}

TEST(Placement, who_left_owns_nothing) {
  Owner node("a@h");
  node.hear("b@h", node.now.wall);
  const auto owned = node.placement.owned();
  (void)node.placement.take_changes();
  node.leave();
  EXPECT_EQ(node.placement.take_changes().size(), owned.size());
  EXPECT_TRUE(node.placement.owned().empty());
  EXPECT_EQ(*node.placement.place(Term(1)), Atom("b@h"));
  node.members->neighbour_up(Atom("b@h"), node.now, node.effects);
  node.after_input();
  EXPECT_EQ(node.list(), "a@h b@h");
  EXPECT_TRUE(node.placement.owned().empty()) << "b must hear of it first";
  node.pass(2s);
  EXPECT_EQ(node.placement.owned(), owned);
}

TEST(Placement, below_the_least_number_of_members_a_node_owns_nothing_but_knows_the_owners) {
  Owner node("a@h", ring_size_default, 2);
  EXPECT_TRUE(node.placement.owned().empty());
  EXPECT_EQ(*node.placement.place(Term(1)), node.own);
  node.hear("b@h", node.now.wall);
  const auto owned = node.placement.owned();
  EXPECT_EQ(owned.size(), ring_of({Atom("a@h"), Atom("b@h")}).shares().front().second);
  EXPECT_EQ(node.placement.take_changes().size(), owned.size()) << "this is told";
  node.pass(7s);
  EXPECT_TRUE(node.placement.owned().empty()) << "the side of a split with one node";
  EXPECT_EQ(node.placement.take_changes().size(), owned.size());
}

TEST(Placement, who_starts_is_trusted_when_it_heard_of_another_one_or_of_none_for_a_lease) {
  Owner alone("a@h");
  EXPECT_EQ(alone.placement.trusted_from(), alone.now.monotonic + 6s);
  alone.pass(1s);
  alone.hear("b@h", alone.now.wall);
  EXPECT_EQ(alone.placement.trusted_from(), alone.now.monotonic + 2s) << "what it owns now, others must have given up";
  const auto from = alone.placement.trusted_from();
  alone.pass(3s);
  alone.hear("c@h", alone.now.wall);
  EXPECT_EQ(alone.placement.trusted_from(), from);
}

TEST(Placement, a_preview_says_what_would_move) {
  Owner node("a@h");
  node.hear("b@h", node.now.wall);
  const Ring& ring = node.placement.ring();
  EXPECT_TRUE(ring.diff({Atom("b@h"), Atom("a@h"), Atom("b@h")}).empty());
  const auto gone = ring.diff({Atom("b@h")});
  const auto owned = node.placement.owned();
  ASSERT_EQ(gone.size(), owned.size());
  for (std::size_t index = 0; index < gone.size(); ++index) {
    EXPECT_EQ(gone[index].partition, owned[index]);
    EXPECT_EQ(gone[index].from, NodeName("a@h"));
    EXPECT_EQ(gone[index].to, NodeName("b@h"));
  }
  EXPECT_EQ(ring.diff({}).size(), 64U);
  EXPECT_EQ(ring.diff({}).front().to, std::nullopt);
  EXPECT_EQ(node.placement.owned(), owned) << "nothing moved";
}

TEST(Placement, it_says_who_owns_nothing_and_why) {
  Owner node("ba@h");
  node.hear("aq@h", node.now.wall);
  const auto issues = node.placement.issues();
  ASSERT_EQ(issues.equal_hashes.size(), 1U);
  EXPECT_EQ(issues.equal_hashes.front(), (std::vector<NodeName>{"aq@h", "ba@h"}));
  EXPECT_EQ(issues.idle, std::vector<NodeName>{"aq@h"});
  EXPECT_TRUE(node.placement.take_warnings().empty()) << "more members may come at once";
  node.pass(2s);
  const auto warnings = node.placement.take_warnings();
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings.front().find("aq@h, ba@h"), std::string::npos) << warnings.front();
  node.pass(2s);
  EXPECT_TRUE(node.placement.take_warnings().empty()) << "each is said once";
}

TEST(Placement, a_ring_too_small_for_its_members_is_warned_of) {
  Owner node("n00@h", 4);
  for (int other = 10; other < 20; ++other) node.hear("n" + std::to_string(other) + "@h", node.now.wall);
  node.pass(2s);
  const auto warnings = node.placement.take_warnings();
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings.front().find("ring_size 4 is small"), std::string::npos) << warnings.front();
}

TEST(Placement, another_ring_size_of_a_neighbour_is_noticed_until_it_goes_or_agrees) {
  const Owner one("a@h", 64);
  Owner other("b@h", 128);
  Effects effects;
  one.placement.set_native(Atom("b@h"), effects);
  ASSERT_EQ(effects.size(), 1U);
  const auto& send = std::get<Send>(effects.front());
  EXPECT_EQ(send.to, Atom("b@h"));
  EXPECT_EQ(send.name, Atom(placement_name));
  const auto sizes = [&] { return other.placement.issues().ring_sizes; };
  other.placement.receive(Atom("c@h"), send.message);
  EXPECT_TRUE(sizes().empty()) << "c speaks for a";
  other.placement.receive(Atom("a@h"), Term::tuple({Atom("ring_size"), Atom("a@h"), 1.5}));
  EXPECT_TRUE(sizes().empty());
  other.placement.receive(Atom("a@h"), send.message);
  ASSERT_EQ(sizes().size(), 1U);
  EXPECT_EQ(sizes().front(), std::pair(NodeName("a@h"), std::uint64_t{64}));
  other.after_input();
  const auto warnings = other.placement.take_warnings();
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings.front().find("a@h has ring_size 64 and this node 128"), std::string::npos) << warnings.front();
  other.placement.receive(Atom("a@h"), Term::tuple({Atom("ring_size"), Atom("a@h"), 128}));
  EXPECT_TRUE(sizes().empty());
  other.placement.receive(Atom("a@h"), send.message);
  other.placement.neighbour_down(Atom("a@h"));
  EXPECT_TRUE(sizes().empty());
}

}  // namespace
}  // namespace barrel_p2p::services
