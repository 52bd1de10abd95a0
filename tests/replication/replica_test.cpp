// The replica driver: maps on several nodes that become equal, whatever is lost, and what that costs.
#include "replication/replica.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "replication/ormap_state.hpp"

namespace barrel_p2p::replication {
namespace {

using namespace std::chrono_literals;

constexpr WallMilliseconds start_wall = 1'764'000'000'000;

/// Nodes without delays; every message is counted in bytes.
class World {
 public:
  enum class Kind : std::uint8_t { cpp, erlang };

  struct Member {
    HybridClock clock;
    std::unique_ptr<OrMapState> state;
    std::unique_ptr<Replica> replica;
    Kind kind = Kind::cpp;
    std::vector<std::string> events;
  };

  Atom add(const std::string& name, Kind kind = Kind::cpp, EntryCheck check = {},
           const std::function<void(ReplicaConfig&)>& configure = {}) {
    const Atom node(name);
    auto member = std::make_unique<Member>();
    Member& added = *member;
    OrMapStateConfig state;
    state.own = node;
    state.check = std::move(check);
    added.kind = kind;
    added.state = std::make_unique<OrMapState>(
        state, added.clock, [this] { return wall_; },
        [&added](const Term& key, Change change, const Entry& /*entry*/, const Atom& from) {
          if (change == Change::put) added.events.push_back("put " + to_text(key) + " by " + from.string());
          if (change == Change::removed) added.events.push_back("removed " + to_text(key) + " by " + from.string());
        });
    ReplicaConfig config;
    config.own = node;
    config.name = Atom("barrel_p2p_map_replica$test");
    config.seed = members_.size() + 1;
    if (configure) configure(config);
    added.replica = std::make_unique<Replica>(config, *added.state, now_);
    members_.emplace(node, std::move(member));
    return node;
  }

  Member& at(const Atom& node) { return *members_.at(node); }
  const OrMap& map(const Atom& node) { return at(node).state->map(); }

  void link(const Atom& one, const Atom& other) {
    for (const auto& [from, to] : {std::pair(one, other), std::pair(other, one)}) {
      at(from).replica->peer_up(to, now_);
      if (at(to).kind == Kind::cpp && at(from).kind == Kind::cpp) at(from).replica->set_native(to);
    }
    join(one, other);
  }
  /// Messages arrive from now on.
  void join(const Atom& one, const Atom& other) { links_.emplace_back(one, other); }

  void put(const Atom& node, const Term& key, Term value) { spread(node, at(node).state->put(key, std::move(value))); }
  void remove(const Atom& node, const Term& key) { spread(node, at(node).state->remove(key)); }

  void pass(Milliseconds time) {
    const auto end = now_ + time;
    for (int steps = 0; steps < 1'000'000; ++steps) {
      std::optional<MonotonicTime> next;
      for (const auto& [name, member] : members_) {
        const auto deadline = member->replica->deadline();
        if (deadline && (!next || *deadline < *next)) next = deadline;
      }
      if (!next || *next > end) break;
      wall_ += std::chrono::duration_cast<Milliseconds>(std::max(now_, *next) - now_).count();
      now_ = std::max(now_, *next);
      for (const auto& [name, member] : members_) {
        ReplicaEffects effects;
        member->replica->tick(now_, effects);
        carry_out(name, effects);
      }
      settle();
    }
    wall_ += std::chrono::duration_cast<Milliseconds>(end - now_).count();
    now_ = end;
  }

  void receive(const Atom& to, const Atom& from, const Term& message) {
    ReplicaEffects effects;
    at(to).replica->receive(from, message, now_, effects);
    carry_out(to, effects);
    settle();
  }

  [[nodiscard]] MonotonicTime now() const noexcept { return now_; }

  bool broadcasts_arrive = true;
  bool overtaking = false;  ///< Of what is under way the last message arrives first.
  std::size_t bytes = 0;
  std::size_t messages = 0;
  std::map<Atom, std::size_t> asked;  ///< How often a node asked for a whole state.

 private:
  struct Item {
    Atom from;
    Atom to;
    Term message;
  };

  void spread(const Atom& node, const Result<Term>& entries) {
    ASSERT_TRUE(entries) << entries.error().message();
    ReplicaEffects effects;
    at(node).replica->broadcast(*entries, effects);
    carry_out(node, effects);
    settle();
  }

  [[nodiscard]] bool linked(const Atom& one, const Atom& other) const {
    return std::ranges::any_of(
        links_, [&](const auto& link) { return link == std::pair(one, other) || link == std::pair(other, one); });
  }

  void carry_out(const Atom& node, const ReplicaEffects& effects) {
    for (const auto& effect : effects) {
      if (const auto* send = std::get_if<ReplicaSend>(&effect)) {
        if (linked(node, send->to)) queue_.push_back({node, send->to, send->message});
      } else if (broadcasts_arrive) {
        for (const auto& [name, member] : members_)
          member->replica->deliver(std::get<ReplicaBroadcast>(effect).payload);
      }
    }
  }

  void settle() {
    for (int steps = 0; steps < 1'000'000 && !queue_.empty(); ++steps) {
      const Item item = overtaking ? queue_.back() : queue_.front();
      overtaking ? queue_.pop_back() : queue_.pop_front();
      ++messages;
      if (item.message[1].is_tagged("request_sync", 2)) ++asked[item.from];
      const Bytes encoded = encode_term(item.message);
      bytes += encoded.size();
      ReplicaEffects effects;
      at(item.to).replica->receive(item.from, decode_term(encoded)->term, now_, effects);
      carry_out(item.to, effects);
    }
    ASSERT_TRUE(queue_.empty()) << "the nodes never stop to exchange";
  }

  MonotonicTime now_ = MonotonicTime{} + 1h;
  WallMilliseconds wall_ = start_wall;
  std::map<Atom, std::unique_ptr<Member>> members_;
  std::vector<std::pair<Atom, Atom>> links_;
  std::deque<Item> queue_;
};

std::map<Term, Term, TermLess> live(const OrMap& map) {
  std::map<Term, Term, TermLess> values;
  for (const auto& [key, entry] : map.entries()) {
    if (entry.is_live()) values.emplace(key, entry.value());
  }
  return values;
}

/// Counts how often entries are looked at.
struct CountingState final : ReplicatedState {
  bool merge(const Atom& from, const Term& entries) override { return inner.merge(from, entries); }
  bool apply_snapshot(const Atom& from, const Term& snapshot) override { return inner.apply_snapshot(from, snapshot); }
  [[nodiscard]] std::optional<Term> snapshot() const override { return ++snapshots, inner.snapshot(); }
  [[nodiscard]] std::size_t snapshot_bytes(std::size_t enough) const override { return inner.snapshot_bytes(enough); }
  void merge_custom(const Atom& /*from*/, const Term& /*payload*/) override {}
  [[nodiscard]] const DigestTree* digests() const noexcept override { return inner.digests(); }
  [[nodiscard]] Term entry(const Term& key) const override { return ++looks, inner.entry(key); }
  [[nodiscard]] bool has(const Term& key, const Term& term) const override { return ++looks, inner.has(key, term); }

  HybridClock clock;
  OrMapState inner{{.own = Atom("a@h")}, clock, [] { return start_wall; }, {}};
  mutable std::size_t looks = 0;
  mutable std::size_t snapshots = 0;
};

/// A key whose hash is that of all others. XXH3 of 17 to 32 bytes adds products of which one has the number and, as the
/// other factor, bytes that may be chosen so that it is zero.
Term colliding_key(std::uint64_t number) {
  constexpr std::size_t encoding_bytes = 6;  // version, tag, length
  constexpr std::string_view secret = "\xde\xd4\x6d\xe9\x83\x90\x97\xdb";
  std::string bytes(32 - encoding_bytes - 16, 'k');
  bytes += secret;
  for (unsigned shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(number >> shift & 0xffU);
  return {bytes};
}

Term enveloped(const char* tag, const std::vector<Term>& content) {
  std::vector<Term> elements{Atom(tag), Atom("b@h")};
  elements.insert(elements.end(), content.begin(), content.end());
  return Term::tuple({Atom("$barrel_p2p_replica"), Term::tuple(std::move(elements))});
}

}  // namespace

TEST(Replica, a_change_reaches_all_and_its_echo_changes_nothing) {
  World world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.put(a, "key", 1);
  EXPECT_EQ(*world.map(b).get("key"), Term(1));
  world.remove(b, "key");
  EXPECT_EQ(world.map(a).get("key"), nullptr);
  EXPECT_EQ(world.at(a).events, (std::vector<std::string>{"put <<\"key\">> by a@h", "removed <<\"key\">> by b@h"}));
  EXPECT_EQ(world.at(b).events, (std::vector<std::string>{"put <<\"key\">> by a@h", "removed <<\"key\">> by b@h"}));
}

TEST(Replica, new_neighbours_exchange_what_they_have) {
  World world;
  world.broadcasts_arrive = false;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.put(a, "a", 1);
  world.put(b, "b", 2);
  world.link(a, b);
  world.pass(1s);
  EXPECT_EQ(live(world.map(a)), live(world.map(b)));
  EXPECT_EQ(world.map(a).live_count(), 2U);
}

TEST(Replica, an_erlang_neighbour_gets_the_whole_state_and_is_asked_for_its) {
  World world;
  world.broadcasts_arrive = false;
  const Atom a = world.add("a@h");
  const Atom erlang = world.add("e@h", World::Kind::erlang);
  world.put(a, "a", 1);
  world.put(erlang, "e", 2);
  world.link(a, erlang);
  world.pass(1s);
  EXPECT_EQ(live(world.map(a)), live(world.map(erlang)));
  world.put(erlang, "later", 3);
  world.pass(80s);
  EXPECT_EQ(*world.map(a).get("later"), Term(3));
  EXPECT_EQ(world.at(a).replica->counters().digests_sent, 0U);
}

TEST(Replica, an_erlang_neighbour_that_says_nothing_by_itself_is_asked_soon_and_one_that_does_is_not) {
  World world;
  const Atom a = world.add("a@h");
  const Atom quiet = world.add("e@h", World::Kind::erlang);
  world.broadcasts_arrive = false;
  world.put(quiet, "e", 2);
  world.at(a).replica->peer_up(quiet, world.now());  // it was asked for the link: nobody tells it of a new neighbour
  world.join(a, quiet);
  world.pass(1s);
  ASSERT_NE(world.map(a).get("e"), nullptr);
  EXPECT_EQ(*world.map(a).get("e"), Term(2));
  EXPECT_EQ(world.asked[a], 1U);

  const Atom told = world.add("f@h", World::Kind::erlang);
  world.put(told, "f", 3);
  world.link(a, told);
  world.receive(a, told, enveloped(Term::tuple({Atom("full_sync"), told, *world.at(told).state->snapshot()})));
  world.pass(1s);
  EXPECT_EQ(*world.map(a).get("f"), Term(3));
  EXPECT_EQ(world.asked[a], 1U) << "the quiet one only";
}

TEST(Replica, a_removal_that_emptied_the_map_arrives) {
  World world;
  const Atom a = world.add("a@h");
  const Atom e = world.add("e@h", World::Kind::erlang);
  world.put(a, "key", 1);
  world.broadcasts_arrive = false;
  world.remove(a, "key");
  EXPECT_NE(world.map(e).get("key"), nullptr);
  world.link(a, e);
  world.pass(1s);
  EXPECT_EQ(world.map(e).get("key"), nullptr);
}

TEST(Replica, what_was_missed_is_found_at_a_cost_that_grows_with_the_difference) {
  constexpr int entries = 20'000;
  World world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  for (int key = 0; key < entries; ++key) world.put(a, key, key);
  world.link(a, b);
  world.pass(1s);
  const auto cost = [&](int differences) {
    world.broadcasts_arrive = false;
    for (int key = 0; key < differences; ++key) world.put(key % 2 == 0 ? a : b, key * 7, "changed");
    world.broadcasts_arrive = true;
    world.bytes = 0;
    world.pass(80s);
    EXPECT_EQ(live(world.map(a)), live(world.map(b)));
    return world.bytes;
  };
  const auto nothing = cost(0);
  const auto ten = cost(10);
  const auto thousand = cost(1000);
  EXPECT_LT(nothing, 1000U);
  EXPECT_LT(ten, 60'000U);
  EXPECT_LT(thousand, 2'500'000U);
  EXPECT_GT(ten, nothing);
  EXPECT_GT(thousand, ten);
}

TEST(Replica, many_differences_are_repaired_in_one_round_at_a_cost_of_their_number) {
  constexpr int entries = 50'000;
  World world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  for (int key = 0; key < entries; ++key) world.put(a, key, key);
  world.broadcasts_arrive = false;
  for (const int differences : {entries / 10, entries}) {
    for (int key = 0; key < differences; ++key)
      world.put(key % 2 == 0 ? a : b, key, "of " + std::to_string(differences));
    world.bytes = 0;
    const auto equal = [&] { return world.at(a).replica->counters().equal + world.at(b).replica->counters().equal; };
    const auto before = equal();
    world.at(b).replica->peer_down(a);
    world.at(a).replica->peer_down(b);
    world.link(a, b);
    world.pass(1s);
    EXPECT_EQ(live(world.map(a)), live(world.map(b))) << differences;
    EXPECT_EQ(equal(), before) << "only one round";
    EXPECT_LT(world.bytes, 600U * static_cast<std::size_t>(differences));
    world.pass(80s);
    EXPECT_GT(equal(), before);
  }
}

TEST(Replica, what_differs_among_entries_of_a_kilobyte_costs_little_more_than_itself) {
  constexpr int differences = 200;
  constexpr std::size_t size = 1000;
  World world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  for (int key = 0; key < 20'000; ++key) world.put(a, key, std::string(size, 'x'));
  world.broadcasts_arrive = false;
  for (int key = 0; key < differences; ++key) world.put(key % 2 == 0 ? a : b, key * 97, std::string(size, 'y'));
  world.link(a, b);
  world.pass(1s);
  EXPECT_EQ(live(world.map(a)), live(world.map(b)));
  EXPECT_LT(world.bytes, differences * 3 * size);
}

TEST(Replica, what_overtakes_ends_no_round) {
  World world;
  world.overtaking = true;
  world.broadcasts_arrive = false;
  const Atom a = world.add("a@h");
  for (int key = 0; key < 3000; ++key) world.put(a, key, std::string(1000, 'x'));
  const Atom b = world.add("b@h");
  world.link(a, b);
  world.pass(1s);
  EXPECT_EQ(live(world.map(a)), live(world.map(b)));
}

TEST(Replica, all_arrives_where_little_may_wait) {
  const auto narrow = [](ReplicaConfig& config) {
    config.digests_max = 32;
    config.waiting_max = 8;
    config.entries_bytes_max = 1000;
  };
  World world;
  const Atom a = world.add("a@h", World::Kind::cpp, {}, narrow);
  const Atom b = world.add("b@h", World::Kind::cpp, {}, narrow);
  for (int key = 0; key < 5000; ++key) world.put(a, key, key);
  world.broadcasts_arrive = false;
  for (int key = 0; key < 2000; ++key) world.put(key % 2 == 0 ? a : b, key, "changed");
  world.link(a, b);
  world.pass(20min);
  EXPECT_EQ(live(world.map(a)), live(world.map(b)));
}

TEST(Replica, what_is_found_equal_leaves_nothing_of_the_exchange_before) {
  // One entry is refused, so that rounds are in vain, until it goes; then all is as with any peer.
  World world;
  world.broadcasts_arrive = false;
  const Atom a =
      world.add("a@h", World::Kind::cpp, [](const Term& key, const Entry& /*entry*/) { return key.is_integer(); });
  const Atom b = world.add("b@h");
  world.put(b, "refused", 1);
  world.link(a, b);
  world.pass(2min);
  EXPECT_FALSE(world.at(b).replica->in_sync_since(a));
  world.at(b).state->erase("refused");
  world.pass(80s);
  EXPECT_TRUE(world.at(b).replica->in_sync_since(a));
  const auto futile = world.at(a).replica->counters().futile + world.at(b).replica->counters().futile;
  world.pass(1h);
  EXPECT_EQ(world.at(a).replica->counters().futile + world.at(b).replica->counters().futile, futile);
}

TEST(Replica, when_both_ask_at_once_only_one_is_answered) {
  World world;
  world.broadcasts_arrive = false;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  for (int key = 0; key < 2000; ++key) world.put(key % 2 == 0 ? a : b, key, key);
  world.link(a, b);
  world.pass(1s);
  EXPECT_EQ(live(world.map(a)), live(world.map(b)));
  EXPECT_EQ(world.at(a).replica->counters().entries_sent, 1000U);
  EXPECT_EQ(world.at(b).replica->counters().entries_sent, 1000U);
}

TEST(Replica, a_question_that_was_lost_is_asked_again) {
  World world;
  world.broadcasts_arrive = false;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.put(b, 1, 1);
  ReplicaEffects lost;
  for (const auto& [node, other] : {std::pair(a, b), std::pair(b, a)}) {
    world.at(node).replica->peer_up(other, world.now());
    world.at(node).replica->set_native(other);
    world.at(node).replica->tick(world.now() + 1s, lost);
  }
  ASSERT_EQ(lost.size(), 2U);
  world.pass(1s);
  world.join(a, b);
  world.pass(80s);
  EXPECT_NE(world.map(a).get(1), nullptr);
}

TEST(Replica, who_asks_after_our_question_was_lost_is_answered_soon) {
  World world;
  world.broadcasts_arrive = false;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.put(a, 1, 1);
  // As to a node that opens the map later.
  ReplicaEffects lost;
  world.at(a).replica->peer_up(b, world.now());
  world.at(a).replica->set_native(b);
  world.at(a).replica->tick(world.now() + 200ms, lost);
  ASSERT_EQ(lost.size(), 1U);
  world.pass(3s);
  world.at(b).replica->peer_up(a, world.now());
  world.at(b).replica->set_native(a);
  world.join(a, b);
  world.pass(500ms);
  EXPECT_NE(world.map(b).get(1), nullptr);
}

TEST(Replica, what_is_news_goes_on_to_erlang_neighbours_where_they_do_not_ask) {
  for (const bool told : {false, true}) {
    World world;
    world.broadcasts_arrive = false;
    const Atom a =
        world.add("a@h", World::Kind::cpp, {}, [&](ReplicaConfig& config) { config.snapshots_of_news = told; });
    const Atom e = world.add("e@h", World::Kind::erlang);
    const Atom b = world.add("b@h");
    world.link(a, e);
    world.pass(5s);
    world.put(b, "key", 1);
    world.link(a, b);
    world.pass(1500ms);
    EXPECT_NE(world.map(a).get("key"), nullptr);
    EXPECT_EQ(world.map(e).get("key") != nullptr, told);
  }
}

TEST(Replica, an_erlang_neighbour_that_asks_soon_after_its_snapshot_is_answered_later) {
  World world;
  world.broadcasts_arrive = false;
  const Atom a = world.add("a@h");
  const Atom e = world.add("e@h", World::Kind::erlang);
  world.put(a, "key", 1);
  world.link(a, e);
  world.pass(200ms);
  const auto before = world.at(a).replica->counters().snapshots_sent;
  ASSERT_EQ(before, 1U);
  const Term request = *parse_term("{'$barrel_p2p_replica',{request_sync,e@h}}");
  for (int time = 0; time < 10; ++time) world.receive(a, e, request);
  world.pass(800ms);
  EXPECT_EQ(world.at(a).replica->counters().snapshots_sent, before) << "a second after the first one";
  world.pass(200ms);
  EXPECT_EQ(world.at(a).replica->counters().snapshots_sent, before + 1);
  world.pass(5s);
  EXPECT_EQ(world.at(a).replica->counters().snapshots_sent, before + 1) << "once";
}

TEST(Replica, a_node_with_nothing_gets_a_large_state_in_pieces) {
  constexpr int entries = 20'000;
  World world;
  const Atom a = world.add("a@h");
  for (int key = 0; key < entries; ++key) world.put(a, key, std::string(50, 'x'));
  const Atom b = world.add("b@h");
  world.bytes = 0;
  world.messages = 0;
  world.link(a, b);
  world.pass(5s);
  EXPECT_EQ(world.map(b).size(), world.map(a).size());
  EXPECT_GT(world.messages, 10U);
  EXPECT_LT(world.bytes, entries * 400U);
}

TEST(Replica, large_values_reach_a_node_that_has_none_of_them) {
  for (const std::size_t size : {100'000U, 1024U * 1024U}) {
    World world;
    const Atom a = world.add("a@h");
    for (int key = 0; key < 16; ++key) world.put(a, key, std::string(size, 'x'));
    const Atom b = world.add("b@h");
    world.bytes = 0;
    world.link(a, b);
    world.pass(10s);
    EXPECT_EQ(live(world.map(b)).size(), 16U) << size;
    EXPECT_TRUE(live(world.map(a)) == live(world.map(b))) << size;
    EXPECT_LT(world.bytes, 3 * 16 * size);
    world.pass(10min);
    EXPECT_EQ(world.at(a).replica->counters().futile + world.at(b).replica->counters().futile, 0U);
  }
}

TEST(Replica, a_missed_change_among_large_values_arrives_wherever_it_is) {
  constexpr int keys = 16;
  for (const std::size_t size : {100'000U, 1024U * 1024U}) {
    World world;
    const Atom a = world.add("a@h");
    const Atom b = world.add("b@h");
    for (int key = 0; key < keys; ++key) world.put(a, key, std::string(size, 'x'));
    world.link(a, b);
    world.pass(10s);
    world.broadcasts_arrive = false;
    for (int key = 0; key < keys; ++key) {
      const Atom& writer = key % 2 == 0 ? a : b;
      const Atom& other = key % 2 == 0 ? b : a;
      world.put(writer, key, std::string(size, 'y'));
      world.bytes = 0;
      world.pass(80s);
      EXPECT_TRUE(*world.map(other).get(key) == Term(std::string(size, 'y'))) << key << " of " << size;
      EXPECT_LT(world.bytes, 3 * size + 10'000) << key << " of " << size;
    }
  }
}

TEST(Replica, large_values_that_both_have_changed_become_equal) {
  constexpr int keys = 40;
  World world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  for (int key = 0; key < keys; ++key) world.put(a, key, std::string(200'000, 'x'));
  world.broadcasts_arrive = false;
  for (int key = 0; key < keys; ++key) world.put(key % 2 == 0 ? a : b, key, std::string(200'000, 'y'));
  world.link(a, b);
  world.pass(10s);
  EXPECT_TRUE(live(world.map(a)) == live(world.map(b)));
}

TEST(Replica, large_values_of_keys_with_one_hash_become_equal) {
  constexpr int keys = 16;
  const auto key = [](int number) { return colliding_key(static_cast<std::uint64_t>(number)); };
  ASSERT_EQ(key_hash(key(0)), key_hash(key(1)));
  World world;
  const Atom a = world.add("a@h");
  for (int number = 0; number < keys; ++number) world.put(a, key(number), std::string(100'000, 'x'));
  const Atom b = world.add("b@h");
  world.link(a, b);
  world.pass(10min);
  EXPECT_EQ(live(world.map(b)).size(), keys + 0U);
  world.broadcasts_arrive = false;
  for (int number = 0; number < keys; ++number) {
    world.put(number % 2 == 0 ? a : b, key(number), std::string(100'000, 'y'));
    world.pass(2h);
    EXPECT_TRUE(live(world.map(a)) == live(world.map(b))) << number;
  }
}

TEST(Replica, peers_that_refuse_each_others_entries_stop_trying_for_a_while) {
  World world;
  world.broadcasts_arrive = false;
  const Atom a =
      world.add("a@h", World::Kind::cpp, [](const Term& key, const Entry& /*entry*/) { return key.is_integer(); });
  const Atom b = world.add("b@h");
  world.put(b, "refused", 1);
  world.link(a, b);
  world.pass(20min);
  EXPECT_GT(world.at(a).replica->counters().futile, 0U);
  EXPECT_LT(world.messages, 200U);
  EXPECT_EQ(world.map(a).size(), 0U);
}

TEST(Replica, what_a_peer_refuses_does_not_keep_the_rest_from_it) {
  // What is accepted is behind what is refused, in the order in which entries are sent.
  std::vector<Term> keys;
  for (int key = 0; key < 300; ++key) keys.emplace_back(key);
  std::ranges::sort(keys, std::greater(), key_hash);
  const Term accepted = keys.front();
  for (const std::size_t size : {2000U, 300'000U}) {
    World world;
    world.broadcasts_arrive = false;
    const Atom a =
        world.add("a@h", World::Kind::cpp, [&](const Term& key, const Entry& /*entry*/) { return key == accepted; });
    const Atom b = world.add("b@h");
    const std::size_t count = size < 100'000 ? keys.size() : keys.size() / 15;
    for (std::size_t key = 0; key < count; ++key) world.put(b, keys[key], std::string(size, 'x'));
    world.link(a, b);
    world.pass(size < 100'000 ? 20min : 2h);
    EXPECT_NE(world.map(a).get(accepted), nullptr) << size;
    EXPECT_EQ(world.map(a).size(), 1U);
  }
}

TEST(Replica, refused_entries_among_many_that_both_have_keep_nothing_back) {
  constexpr int common = 10'000;
  constexpr int refused = 600;
  World world;
  const Atom a = world.add("a@h", World::Kind::cpp, [](const Term& key, const Entry& /*entry*/) {
    return key.as_int64().value_or(0) < common + 20;
  });
  const Atom b = world.add("b@h");
  for (int key = 0; key < common; ++key) world.put(b, key, 1);
  world.link(a, b);
  world.pass(10s);
  world.broadcasts_arrive = false;
  for (int key = common; key < common + 20 + refused; ++key) world.put(b, key, 1);
  world.pass(3h);
  EXPECT_EQ(world.map(a).size(), common + 20U);
  EXPECT_GT(world.at(a).replica->counters().futile + world.at(b).replica->counters().futile, 0U);
}

TEST(Replica, to_look_for_what_fits_costs_no_more_than_twice_what_a_message_has) {
  // Ranges whose entries do not fit, one after the other: it is not looked into each of them.
  CountingState state;
  for (int key = 0; key < 20'000; ++key) ASSERT_TRUE(state.inner.put(key, std::string(1000, 'x')));
  Replica replica({.own = Atom("a@h"), .name = Atom("test")}, state, MonotonicTime{} + 1h);
  std::vector<Term> ranges;
  for (unsigned index = 0; index < Prefix::fan_out * Prefix::fan_out; ++index) {
    const Prefix prefix = Prefix{}.child(index / Prefix::fan_out).child(index % Prefix::fan_out);
    ranges.push_back(Term::tuple_of(prefix.bits, prefix.depth, 0, 0));
  }
  ReplicaEffects answers;
  replica.receive(Atom("b@h"), enveloped("digests", {Term::list(ranges)}), MonotonicTime{} + 1h, answers);
  EXPECT_LE(state.looks, 2U * (256 + 1));
  EXPECT_GT(replica.counters().entries_sent, 200U);
  EXPECT_LE(replica.counters().entries_sent, 257U);
}

TEST(Replica, equal_peers_know_that_they_are) {
  World world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.put(a, 1, 1);
  world.link(a, b);
  EXPECT_FALSE(world.at(a).replica->in_sync_since(b));
  world.pass(80s);
  EXPECT_TRUE(world.at(a).replica->in_sync_since(b) || world.at(b).replica->in_sync_since(a));
}

TEST(Replica, equal_peers_are_never_given_up) {
  World world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.put(a, 1, 1);
  world.link(a, b);
  world.pass(3h);
  for (const auto& node : {a, b}) {
    EXPECT_EQ(world.at(node).replica->counters().futile, 0U);
    EXPECT_TRUE(world.at(node).replica->in_sync_since(node == a ? b : a));
  }
}

TEST(Replica, what_a_newcomer_brings_reaches_the_far_end_at_once) {
  World world;
  world.broadcasts_arrive = false;
  std::vector<Atom> nodes;
  for (int index = 0; index < 6; ++index) nodes.push_back(world.add("n" + std::to_string(index) + "@h"));
  for (std::size_t index = 2; index < nodes.size(); ++index) world.link(nodes[index - 1], nodes[index]);
  world.pass(10s);
  world.put(nodes[0], "key", 1);
  world.link(nodes[0], nodes[1]);
  world.pass(1s);
  EXPECT_NE(world.map(nodes.back()).get("key"), nullptr);
}

TEST(Replica, what_is_offered_to_nobody_is_in_no_digest_but_merged_as_ever) {
  HybridClock clock;
  bool offered = false;
  OrMapStateConfig config;
  config.own = Atom("a@h");
  config.offered = [&](const Term& key) { return offered || !key.is_atom("secret"); };
  OrMapState state(config, clock, [] { return start_wall; }, {});
  ASSERT_TRUE(state.put(Atom("open"), 1));
  ASSERT_TRUE(state.put(Atom("secret"), 1));
  EXPECT_EQ(state.digests()->summary().count, 1U);
  EXPECT_NE(state.map().get(Atom("secret")), nullptr);
  offered = true;
  state.review(Atom("secret"));
  EXPECT_EQ(state.digests()->summary().count, 2U);
  offered = false;
  state.review(Atom("secret"));
  EXPECT_EQ(state.digests()->summary().count, 1U);
}

TEST(Replica, confirmations_that_are_waited_for_are_bounded) {
  HybridClock clock;
  OrMapState state({.own = Atom("a@h")}, clock, [] { return start_wall; }, {});
  ReplicaConfig config;
  config.own = Atom("a@h");
  config.name = Atom("test");
  config.confirmations_max = 3;
  const MonotonicTime now = MonotonicTime{} + 1h;
  Replica replica(config, state, now);
  replica.peer_up(Atom("b@h"), now);
  replica.set_native(Atom("b@h"));
  ASSERT_TRUE(state.put(1, 1));
  ReplicaEffects effects;
  for (int time = 0; time < 3; ++time) EXPECT_TRUE(replica.confirm(1, clock.last(), 5s, now, effects));
  EXPECT_EQ(replica.confirm(1, clock.last(), 5s, now, effects).error(), Errc::limit_exceeded);
  EXPECT_TRUE(replica.take_confirmations().empty());
  replica.tick(now + 6s, effects);
  const auto ended = replica.take_confirmations();
  ASSERT_EQ(ended.size(), 3U);
  EXPECT_EQ(ended.front().result.error().message(), "timeout: not confirmed by b@h");
  EXPECT_TRUE(replica.confirm(1, clock.last(), 5s, now + 6s, effects));
}

TEST(Replica, snapshots_for_those_that_are_no_neighbours_are_rationed_too) {
  World world;
  const Atom a = world.add("a@h");
  const Atom stranger = world.add("stranger@h", World::Kind::erlang);
  world.put(a, "key", 1);
  const Term request = Term::tuple({Atom("$barrel_p2p_replica"), Term::tuple({Atom("request_sync"), stranger})});
  for (int time = 0; time < 100; ++time) world.receive(a, stranger, request);
  EXPECT_EQ(world.at(a).replica->counters().snapshots_sent, 1U);
  world.pass(1s);
  world.receive(a, stranger, request);
  EXPECT_EQ(world.at(a).replica->counters().snapshots_sent, 2U);
}

TEST(Replica, snapshots_for_one_peer_are_rationed) {
  World world;
  const Atom a = world.add("a@h");
  const Atom e = world.add("e@h", World::Kind::erlang);
  world.put(a, 1, 1);
  world.link(a, e);
  world.pass(1s);
  const auto before = world.at(a).replica->counters().snapshots_sent;
  const Term request = *parse_term("{'$barrel_p2p_replica',{request_sync,e@h}}");
  for (int time = 0; time < 100; ++time) world.receive(a, e, request);
  EXPECT_LE(world.at(a).replica->counters().snapshots_sent, before + 1);
}

TEST(Replica, snapshots_of_a_large_state_are_made_at_a_bounded_rate_whoever_asks) {
  constexpr std::size_t state_bytes = 4UL * 1024 * 1024;
  World world;
  const Atom a = world.add("a@h");
  std::vector<Atom> strangers;
  for (int number = 0; number < 20; ++number) {
    strangers.push_back(world.add("s" + std::to_string(number) + "@h", World::Kind::erlang));
  }
  world.broadcasts_arrive = false;
  world.put(a, "key", std::string(state_bytes, 'v'));
  const auto sent_while = [&](std::span<const Atom> asking, std::chrono::seconds time) {
    const auto before = world.at(a).replica->counters().snapshots_sent;
    const auto end = world.now() + time;
    while (world.now() < end) {
      for (const auto& node : asking) world.receive(a, node, request_sync(node));
      world.pass(100ms);
    }
    return world.at(a).replica->counters().snapshots_sent - before;
  };
  const double each = state_bytes / snapshot_bytes_per_second;  // seconds
  const auto of_many = static_cast<double>(sent_while(strangers, 40s));
  EXPECT_LE(of_many, 40 / each + 1);
  EXPECT_GE(of_many, 40 / each - 2);
  const auto of_one = static_cast<double>(sent_while(std::span(strangers).first(1), 40s));
  EXPECT_LE(of_one, 40 / (4 * each) + 1) << "the others have the rest";
  EXPECT_GE(of_one, 40 / (4 * each) - 2);
}

TEST(Replica, neighbours_get_their_snapshots_before_strangers) {
  World world;
  world.broadcasts_arrive = false;
  const Atom a = world.add("a@h");
  const Atom stranger = world.add("s@h", World::Kind::erlang);
  const Atom other = world.add("t@h", World::Kind::erlang);
  world.put(a, "key", std::string(4UL * 1024 * 1024, 'v'));
  world.receive(a, stranger, request_sync(stranger));
  std::vector<Atom> neighbours;
  for (int number = 0; number < 4; ++number) {
    neighbours.push_back(world.add("n" + std::to_string(number) + "@h", World::Kind::erlang));
    world.link(a, neighbours.back());
  }
  for (int times = 0; times < 85; ++times) {
    for (const auto& node : {stranger, other}) world.receive(a, node, request_sync(node));
    world.pass(100ms);
  }
  for (const auto& node : neighbours) EXPECT_NE(world.map(node).get("key"), nullptr) << node.text();
  EXPECT_EQ(world.at(a).replica->counters().snapshots_sent, 5U) << "the strangers had one, before there were others";
}

TEST(Replica, a_state_that_no_message_can_hold_is_neither_made_nor_sent_and_looked_at_once_in_a_while) {
  CountingState state;
  for (int key = 0; key < 100; ++key) ASSERT_TRUE(state.inner.put(key, key));
  ReplicaConfig config;
  config.own = Atom("a@h");
  config.snapshot_bytes_max = 1000;
  const MonotonicTime now = MonotonicTime{} + 1h;
  Replica replica(config, state, now);
  ReplicaEffects effects;
  for (int time = 0; time < 100; ++time) replica.receive(Atom("b@h"), enveloped("request_sync", {}), now, effects);
  EXPECT_TRUE(effects.empty());
  EXPECT_EQ(replica.counters().snapshots_too_large, 1U);
  EXPECT_EQ(state.snapshots, 0U);
  EXPECT_EQ(state.inner.snapshot_bytes(1'000'000), encoded_size(*state.inner.snapshot(), false) - 5)
      << "but for the header of a map";
}

TEST(Replica, a_neighbour_that_starts_again_at_once_gets_a_snapshot_as_soon_as_it_may) {
  World world;
  world.broadcasts_arrive = false;
  const Atom a = world.add("a@h");
  const Atom e = world.add("e@h", World::Kind::erlang);
  world.put(a, 1, 1);
  world.link(a, e);
  world.pass(200ms);
  const auto before = world.at(a).replica->counters().snapshots_sent;
  ASSERT_GT(before, 0U);
  world.put(a, 2, 2);
  world.at(a).replica->peer_down(e);
  world.at(a).replica->peer_up(e, world.now());
  world.pass(700ms);
  EXPECT_EQ(world.at(a).replica->counters().snapshots_sent, before) << "a second after the first one";
  world.pass(300ms);
  EXPECT_EQ(world.at(a).replica->counters().snapshots_sent, before + 1);
  EXPECT_EQ(live(world.map(a)), live(world.map(e)));
  world.pass(5s);
  EXPECT_EQ(world.at(a).replica->counters().snapshots_sent, before + 1) << "once";
}

TEST(Replica, bad_messages_are_counted_and_change_nothing) {
  World world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.put(a, 1, 1);
  world.link(a, b);
  std::size_t sent = 0;
  for (const char* text :
       {"[]", "{'$barrel_p2p_replica',x}", "{'$barrel_p2p_replica',{request_sync,c@h}}",
        "{'$barrel_p2p_replica',{full_sync,c@h,#{}}}", "{'$barrel_p2p_replica',{unknown,b@h,1}}",
        "{'$barrel_p2p_replica',{entries,b@h,[],#{},perhaps}}", "{'$barrel_p2p_replica',{entries,b@h,x,y,true}}",
        "{'$barrel_p2p_replica',{confirm,b@h,1,[{1,x}|y]}}"}) {
    world.receive(a, b, *parse_term(text));
    EXPECT_EQ(world.at(a).replica->counters().malformed, ++sent) << text;
  }
  for (const char* text : {"{'$barrel_p2p_replica',{full_sync,b@h,garbage}}",
                           "{'$barrel_p2p_replica',{digests,b@h,[{1,0,1,1},{0,99,1,1},x]}}",
                           "{'$barrel_p2p_replica',{entries,b@h,[{1,2},x],#{1 => garbage},false}}"}) {
    world.receive(a, b, *parse_term(text));
  }
  EXPECT_EQ(live(world.map(a)), (std::map<Term, Term, TermLess>{{Term(1), Term(1)}}));
  world.at(a).replica->deliver(*parse_term("{delta,b@h}"));
  world.at(a).replica->deliver(*parse_term("{delta,b@h,garbage}"));
  EXPECT_EQ(world.map(a).size(), 1U);
}

TEST(Replica, what_has_a_size_but_is_no_list_of_ranges_is_malformed) {
  World world;
  const Atom a = world.add("a@h");
  const Atom b = world.add("b@h");
  world.put(a, 1, 1);
  world.link(a, b);
  std::size_t sent = 0;
  for (const std::string what : {"<<1>>", "#{1 => 2}", "<<1:1>>", "7", "[{0,0,0,1}|x]", "{{0,0,0,1}}"}) {
    world.receive(a, b, *parse_term("{'$barrel_p2p_replica',{digests,b@h," + what + "}}"));
    EXPECT_EQ(world.at(a).replica->counters().malformed, ++sent) << what;
    world.receive(a, b, *parse_term("{'$barrel_p2p_replica',{entries,b@h," + what + ",#{},false}}"));
    EXPECT_EQ(world.at(a).replica->counters().malformed, ++sent) << what;
  }
  world.receive(a, b, *parse_term("{'$barrel_p2p_replica',{entries,b@h,[],<<1,2,3>>,false}}"));
  EXPECT_EQ(world.at(a).replica->counters().entries_received, 0U) << "what is no map has none";
  EXPECT_EQ(live(world.map(a)), (std::map<Term, Term, TermLess>{{Term(1), Term(1)}}));
}

TEST(Replica, ranges_that_overlap_or_are_repeated_cost_each_key_once) {
  constexpr std::size_t keys = 200;
  constexpr std::size_t repetitions = 1000;
  CountingState state;
  std::vector<TermPair> entries;
  for (std::size_t key = 0; key < keys; ++key) {
    ASSERT_TRUE(state.inner.put(key, key));
    entries.emplace_back(key, state.inner.entry(key));
  }
  Replica replica({.own = Atom("a@h"), .name = Atom("test")}, state, MonotonicTime{} + 1h);
  const auto receive = [&](const Term& message) {
    state.looks = 0;
    ReplicaEffects effects;
    replica.receive(Atom("b@h"), message, MonotonicTime{} + 1h, effects);
    return effects;
  };
  std::vector<Term> empty;
  std::vector<Term> wanted;
  for (const auto& prefix : {Prefix{}.child(3), Prefix{}, Prefix{}.child(15).child(0), Prefix{}}) {
    for (std::size_t time = 0; time < repetitions / 4; ++time) {
      empty.push_back(Term::tuple_of(prefix.bits, prefix.depth, 0, 0));
      wanted.push_back(Term::tuple_of(prefix.bits, prefix.depth));
    }
  }
  const auto answers = receive(enveloped("digests", {Term::list(empty)}));
  EXPECT_EQ(state.looks, keys);
  EXPECT_EQ(replica.counters().entries_sent, keys);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(std::get<ReplicaSend>(answers.front()).message[1][2], *parse_term("[{0,0}]"));
  (void)receive(enveloped("entries", {Term::list(wanted), Term::map({}), false}));
  EXPECT_EQ(state.looks, keys);
  (void)receive(enveloped("entries", {Term::list(wanted), Term::map(entries), false}));
  EXPECT_EQ(state.looks, keys);
}

TEST(Replica, ranges_that_are_apart_are_answered_in_the_order_in_which_they_came) {
  CountingState state;
  for (int key = 0; key < 200; ++key) ASSERT_TRUE(state.inner.put(key, key));
  Replica replica({.own = Atom("a@h"), .name = Atom("test")}, state, MonotonicTime{} + 1h);
  std::vector<Term> empty;
  std::vector<Term> wanted;
  for (const unsigned index : {7U, 2U, 0U, 15U, 9U}) {
    const Prefix prefix = Prefix{}.child(index);
    empty.push_back(Term::tuple_of(prefix.bits, prefix.depth, 0, 0));
    wanted.push_back(Term::tuple_of(prefix.bits, prefix.depth));
  }
  ReplicaEffects answers;
  replica.receive(Atom("b@h"), enveloped("digests", {Term::list(empty)}), MonotonicTime{} + 1h, answers);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(std::get<ReplicaSend>(answers.front()).message[1][2], Term::list(wanted));
}

RC_GTEST_PROP(Replica, whatever_is_lost_the_maps_become_equal, ()) {
  World world;
  const auto count = *rc::gen::inRange(2, 5);
  std::vector<Atom> nodes;
  for (int index = 0; index < count; ++index) nodes.push_back(world.add("n" + std::to_string(index) + "@h"));
  for (std::size_t index = 1; index < nodes.size(); ++index) world.link(nodes[index - 1], nodes[index]);
  const auto steps = *rc::gen::inRange(0, 150);
  for (int step = 0; step < steps; ++step) {
    world.broadcasts_arrive = *rc::gen::inRange(0, 3) == 0;
    const Atom& node = nodes[*rc::gen::inRange<std::size_t>(0, nodes.size())];
    const Term key(*rc::gen::inRange(0, 60));
    if (*rc::gen::inRange(0, 4) == 0) {
      world.remove(node, key);
    } else {
      world.put(node, key, *rc::gen::inRange(0, 1000));
    }
    if (*rc::gen::inRange(0, 20) == 0) world.pass(Milliseconds(*rc::gen::inRange(0, 40'000)));
  }
  world.pass(10min);
  for (const auto& node : nodes) {
    RC_ASSERT(live(world.map(node)) == live(world.map(nodes.front())));
    RC_ASSERT(world.at(node).state->digests()->summary() == world.at(nodes.front()).state->digests()->summary());
  }
}

}  // namespace barrel_p2p::replication
