// Maps against recordings of the Erlang implementation: this node takes the place of one of the recorded ones.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "services/maps.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using barrel_p2p::test::decoded;
using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;
using barrel_p2p::test::text_of;
using replication::OrMap;
using replication::Timestamp;

/// A recorded map with the greatest dot of each node only: what both implementations agree on.
Term pruned(const Term& recorded) {
  OrMap map;
  for (const auto& [key, value] : recorded.pairs()) map.merge(key, *replication::entry_of(value));
  return map.to_term();
}

/// A message that is under way: of a broadcast, or `message`.
struct Waiting {
  Term name;
  Term entries;
  std::optional<Term> message;
};

std::vector<Waiting> messages_to(const boost::json::value& recorded, const std::string& node) {
  std::vector<Waiting> messages;
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "kind") != "message" || text_of(row, "dir") != "send") continue;
    const Term to = *parse_term(text_of(row, "to"));
    if (!to.is_tuple(2) || !(to[1] == Term(Atom(node)))) continue;
    const Term message = decoded(row);
    if (message[1].is_tagged("gossip", 5)) messages.push_back({message[1][2], message[1][3][2], {}});
    if (message[1].is_tagged("full_sync", 3)) messages.push_back({to[0], message[1][2], message});
  }
  return messages;
}

/// One node, whose clock is that of the recording.
class Player {
 public:
  explicit Player(const std::string& name, const std::vector<std::string>& neighbours = {})
      : members_({.own = Atom(name)}, clock_, now_), maps_({.own = Atom(name)}, clock_, members_, now_) {
    for (const auto& node : neighbours) maps_.neighbour_up(Atom(node), now_, effects_);
  }

  void open(const std::string& map) { ASSERT_TRUE(maps_.open(Atom(map), {}, {}, now_, effects_)); }

  /// Writes what the delta of the recording writes, at its time; returns what is broadcast.
  Term write(const std::string& map, const Term& delta) {
    const auto& [key, recorded] = delta.pairs().front();
    const auto entry = replication::entry_of(recorded);
    now_.wall = entry->stamp().wall;
    now_.monotonic += Milliseconds(1);  // changes at the same time would go out together
    // What else asked the recorded clock in that millisecond.
    for (std::uint32_t logical = 0; logical < entry->stamp().logical; ++logical) {
      if (clock_.last() < Timestamp{now_.wall, entry->stamp().logical - 1}) (void)clock_.now(now_.wall);
    }
    effects_.clear();
    const auto written = entry->is_live() ? maps_.put(Atom(map), key, entry->value(), 0, now_, effects_)
                                          : maps_.remove(Atom(map), key, 0, now_, effects_);
    EXPECT_TRUE(written);
    return broadcast();
  }
  void deliver(const Term& tag, const Term& payload) {
    advance(payload[2]);
    if (maps_.takes(*tag.as_atom())) maps_.deliver(*tag.as_atom(), payload, now_, effects_);
    note_events();
  }
  void receive(const Term& name, const std::string& from, const Term& message) {
    if (message[1].size() == 3) advance(message[1][2]);
    if (maps_.takes(*name.as_atom())) maps_.receive(*name.as_atom(), Atom(from), message, now_, effects_);
    note_events();
  }
  void pass(Milliseconds time) {
    now_.monotonic += time;
    now_.wall += time.count();
    maps_.tick(now_, effects_);
  }

  [[nodiscard]] Term state(const std::string& map) const { return maps_.find(Atom(map))->to_term(); }
  std::vector<Send> take_sends() {
    std::vector<Send> sends;
    for (auto& effect : std::exchange(effects_, {})) {
      if (auto* send = std::get_if<Send>(&effect)) sends.push_back(std::move(*send));
    }
    return sends;
  }
  std::vector<std::string> events;

 private:
  void advance(const Term& entries) {
    for (const auto& [key, value] : entries.pairs()) {
      now_.wall = std::max(now_.wall, replication::entry_of(value)->stamp().wall);
    }
  }
  Term broadcast() {
    Term payload;
    for (const auto& effect : effects_) {
      if (const auto* sent = std::get_if<Broadcast>(&effect)) payload = sent->payload;
    }
    note_events();
    return payload;
  }
  void note_events() {
    for (const auto& effect : effects_) {
      const auto* happened = std::get_if<MapHappened>(&effect);
      if (happened == nullptr) continue;
      const auto& event = happened->event;
      const Term change = event.kind == MapEvent::Kind::put ? Term::tuple({Atom("put"), event.key, event.value})
                                                            : Term::tuple({Atom("remove"), event.key});
      events.push_back(to_text(Term::tuple({Atom("barrel_p2p_map"), event.map, change})));
    }
    std::erase_if(effects_, [](const Effect& effect) { return std::holds_alternative<MapHappened>(effect); });
  }

  Now now_{MonotonicTime(std::chrono::hours(1)), 1'000};
  replication::HybridClock clock_;
  Members members_;
  Maps maps_;
  Effects effects_;
};

}  // namespace

TEST(MapsVectors, the_same_calls_and_messages_give_the_recorded_gossip_and_events) {
  const auto recorded = read_vectors("map_messages.json");
  for (const std::string node : {"sfa@127.0.0.1", "sfb@127.0.0.1"}) {
    Player player(node);
    player.open("flags");
    std::vector<std::string> expected;
    std::size_t written = 0;
    for (const auto& row : recorded.as_array()) {
      if (!text_of(row, "name").starts_with("s1/")) continue;
      if (text_of(row, "kind").starts_with("gossip")) {
        const Term gossip = decoded(row)[1];
        if (text_of(row, "from") == node) {
          ++written;
          EXPECT_EQ(to_text(player.write("flags", gossip[3][2])), to_text(gossip[3])) << text_of(row, "name");
        } else {
          player.deliver(gossip[2], gossip[3]);
        }
      } else if (text_of(row, "kind").starts_with("event") && text_of(row, "from") == node) {
        expected.push_back(text_of(row, "term"));
      } else if (text_of(row, "kind") == "full_sync" && text_of(row, "from") == node) {
        EXPECT_EQ(to_text(player.state("flags")), to_text(pruned(decoded(row)[1][2]))) << text_of(row, "name");
      }
    }
    EXPECT_EQ(player.events, expected) << node;
    EXPECT_EQ(written, node.starts_with("sfa") ? 12U : 1U);
  }
}

TEST(MapsVectors, a_newcomer_has_after_the_recorded_snapshots_what_they_hold) {
  const auto recorded = read_vectors("map_messages.json");
  Player player("sfc@127.0.0.1", {"sfa@127.0.0.1", "sfb@127.0.0.1"});
  player.open("flags");
  std::size_t count = 0;
  for (const auto& row : recorded.as_array()) {
    if (!text_of(row, "name").starts_with("s1/joinC/full_sync")) continue;
    ++count;
    player.receive(Atom(text_of(row, "to_registered_name")), text_of(row, "from"), decoded(row));
    EXPECT_EQ(to_text(player.state("flags")), to_text(pruned(decoded(row)[1][2])));
  }
  EXPECT_EQ(count, 2U);
  EXPECT_EQ(player.events.size(), 2U) << "two keys are live";
}

TEST(MapsVectors, a_map_that_opens_sends_the_recorded_question) {
  const auto recorded = read_vectors("map_messages.json");
  Player player("sfe@127.0.0.1", {"sff@127.0.0.1"});
  player.open("mm");
  player.pass(Milliseconds(200));
  const auto sends = player.take_sends();
  ASSERT_EQ(sends.size(), 1U);
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "name") != "s2/newmap/request_sync from sfe@127.0.0.1 #1") continue;
    EXPECT_EQ(barrel_p2p::test::to_hex(encode_term(sends.front().message)), text_of(row, "etf_hex"));
    EXPECT_EQ(sends.front().name, Atom(text_of(row, "to_registered_name")));
    EXPECT_EQ(sends.front().to, Atom(text_of(row, "to_node")));
  }
}

TEST(MapsVectors, entries_merge_as_recorded) {
  // Here all of our nodes agree, whatever comes first; and no key is lost.
  const std::set<std::string> better{"same dot, different value: incoming (second) wins",
                                     "integer and float key collide in the original (bug)",
                                     "tuple keys 1 and 1.0 collide too (bug)"};
  std::size_t count = 0;
  const auto recorded = read_vectors("map_merge.json");
  for (const auto& row : recorded.as_array()) {
    const auto name = text_of(row, "name");
    const Term tag(Atom("barrel_p2p_map_replica$flags"));
    const auto delta = [&](const char* key) { return Term::tuple({Atom("delta"), Atom("peer@h"), decoded(row, key)}); };
    Player player("own@h");
    player.open("flags");
    player.deliver(tag, delta("local_etf_hex"));
    player.deliver(tag, delta("incoming_etf_hex"));
    if (better.contains(name)) {
      const std::size_t keys = name.starts_with("same dot") ? 1 : 2;
      EXPECT_EQ(player.state("flags").size(), keys) << name;
    } else {
      EXPECT_EQ(player.state("flags"), pruned(decoded(row))) << name;
    }
    ++count;
  }
  EXPECT_EQ(count, 15U);
}

TEST(MapsVectors, in_a_recorded_conversation_each_node_holds_what_the_recorded_one_held) {
  const auto recorded = read_vectors("crdt-replica-trace.json");
  const std::string first = "sda@127.0.0.1";
  const std::string second = "sdb@127.0.0.1";
  for (const auto& [node, peer] : {std::pair(first, second), std::pair(second, first)}) {
    Player player(node);
    for (const auto* map : {"m1", "m2"}) player.open(map);
    auto waiting = messages_to(recorded, node);
    std::map<std::string, std::size_t> compared;
    std::size_t written = 0;
    std::size_t received = 0;
    for (const auto& row : recorded.as_array()) {
      if (text_of(row, "kind") != "message" || text_of(row, "dir") != "send" || text_of(row, "node") != node) continue;
      const Term to = *parse_term(text_of(row, "to"));
      const Term message = decoded(row);
      const auto process = text_of(row, "process");
      if (!process.starts_with(map_replica_prefix)) continue;
      const auto map = process.substr(map_replica_prefix.size());
      if (to.is_atom("barrel_p2p_plumtree")) {
        const Term& payload = message[1][2];  // {'$gen_cast', {broadcast, Tag, Payload, Id}}
        EXPECT_EQ(to_text(player.write(map, payload[2])), to_text(payload)) << text_of(row, "name");
        ++written;
      } else if (message.is_tagged("$gen_cast", 2) && message[1].is_tagged("merge", 2)) {
        // What came is merged when the recorded node merged it. Its own deltas come back to it, and to us not.
        const auto sent = std::ranges::find(waiting, message[1][1], &Waiting::entries);
        if (sent == waiting.end()) continue;
        if (sent->message) player.receive(sent->name, peer, *sent->message);
        if (!sent->message) player.deliver(sent->name, Term::tuple({Atom("delta"), Atom(peer), sent->entries}));
        waiting.erase(sent);
        ++received;
      } else if (to.is_tuple(2) && message[1].is_tagged("full_sync", 3)) {
        // What it held before the recording began.
        if (map == "m1" && compared[map] == 0 && node == first) {
          player.deliver(to[0], Term::tuple({Atom("delta"), Atom("seed@h"), message[1][2]}));
        }
        EXPECT_EQ(to_text(player.state(map)), to_text(pruned(message[1][2]))) << node << " " << text_of(row, "name");
        ++compared[map];
      }
    }
    EXPECT_GE(compared["m1"], 5U);
    EXPECT_GE(compared["m2"], 2U);
    EXPECT_GE(written, 3U);
    EXPECT_GE(received, 12U);
  }
}

}  // namespace barrel_p2p::services
