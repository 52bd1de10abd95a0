// The replicated map against recordings of the Erlang implementation, and the laws of its merge.
#include "replication/ormap.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <ostream>
#include <set>
#include <string>

#include "replication/ormap_state.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::replication {
namespace {

using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;
using barrel_p2p::test::text_of;

Term decoded(const boost::json::value& row, std::string_view key) {
  return decode_term(from_hex(text_of(row, key)))->term;
}

OrMap map_of(const Term& term) {
  OrMap map;
  for (const auto& [key, value] : term.pairs()) {
    const auto entry = entry_of(value);
    if (entry) map.merge(key, *entry);
  }
  return map;
}

/// With the greatest dot of each node only: what both implementations agree on.
Term pruned(const Term& term) { return map_of(term).to_term(); }

OrMap merged(const OrMap& one, const OrMap& other) {
  OrMap both;
  for (const auto* map : {&one, &other}) {
    for (const auto& [key, entry] : map->entries()) both.merge(key, entry);
  }
  return both;
}

std::map<std::string, std::string> live(const OrMap& map) {
  std::map<std::string, std::string> values;
  for (const auto& [key, entry] : map.entries()) {
    if (entry.is_live()) values.emplace(to_text(key), to_text(entry.value()));
  }
  return values;
}

const std::set<std::string> merged_better{
    "value_value_same_max_dot_different_value_right_wins",              // the greater value wins, on both sides
    "numeric_keys_compare_equal", "nested_numeric_keys_compare_equal",  // no key is lost
};

/// Nodes with clocks, and maps by the names that the recording gives them.
class Operations {
 public:
  void apply(const boost::json::value& step) {
    const auto node = text_of(step, "node");
    const auto op = text_of(step, "op");
    if (const auto* physical = step.as_object().if_contains("phys")) {
      physical_[node] = physical->to_number<WallMilliseconds>();
      if (op == "node_restarts_with_a_new_clock") clocks_.erase(node);
      return;
    }
    OrMap& map = maps_[text_of(step, "replica")];
    HybridClock& clock = clocks_.try_emplace(node, HybridClockConfig{.skew_max = Milliseconds(0)}).first->second;
    const auto now = physical_[node];
    if (op == "add") {
      const Term key = term(step, "key");
      map.put(key, term(step, "value"), {behind(map, key, clock, now), Atom(node)});
    } else if (op == "remove") {
      const Term key = term(step, "key");
      map.remove(key, behind(map, key, clock, now));
    } else if (op == "merge") {
      map = merged(map, maps_[text_of(step, "from")]);
    } else if (op == "ingest") {
      const auto accepted = accept(maps_[text_of(step, "from")].to_term(), clock, now, {}, 100);
      for (const auto& [key, entry] : accepted.entries) map.merge(key, entry);
    } else if (op == "set_state") {
      map = map_of(decoded(step, "state_etf_hex"));
    } else if (op == "gc_tombstones") {
      const auto cutoff = step.at("cutoff_wall_ms").to_number<WallMilliseconds>();
      std::ignore = map.retire_tombstones(cutoff);
      std::ignore = map.collect_tombstones(cutoff);
    } else if (op == "replica_mints_add_delta") {
      map = OrMap();
      map.put(term(step, "key"), term(step, "value"), {clock.now(now), Atom(node)});
    } else if (op == "replica_mints_remove_delta") {
      map = OrMap();
      map.remove(term(step, "key"), clock.now(now));
    } else {
      ASSERT_EQ(op, "get");
    }
  }
  const OrMap& map(const boost::json::value& step) { return maps_[text_of(step, "replica")]; }
  [[nodiscard]] Term clock(const boost::json::value& step) const {
    return barrel_p2p::replication::to_term(clocks_.at(text_of(step, "node")).last());
  }
  static Term term(const boost::json::value& step, std::string_view member) {
    return *parse_term(text_of(step, member));
  }

 private:
  /// As `OrMapState` stamps: behind what is there.
  static Timestamp behind(const OrMap& map, const Term& key, HybridClock& clock, WallMilliseconds now) {
    const Entry* present = map.find(key);
    if (present != nullptr && present->stamp() > clock.last()) std::ignore = clock.observe(present->stamp(), now);
    return clock.now(now);
  }

  std::map<std::string, OrMap> maps_;
  std::map<std::string, HybridClock> clocks_;
  std::map<std::string, WallMilliseconds> physical_;
};

const std::set<std::string> operated_better{
    "add_is_ignored_under_a_newer_tombstone", "write_with_a_clock_behind_diverges",  // a write that returned counts
    "keys_one_and_one_point_zero_collide_in_merge",                                  // no key is lost
};

}  // namespace

TEST(OrMapVectors, operations_in_order_give_the_recorded_states_and_clocks) {
  std::size_t scenarios = 0;
  std::size_t states = 0;
  const auto recorded = read_vectors("crdt-ormap-ops.json");
  for (const auto& row : recorded.as_array()) {
    ++scenarios;
    const auto name = text_of(row, "name");
    const bool better = operated_better.contains(name);
    Operations operations;
    for (const auto& step : row.at("steps").as_array()) {
      operations.apply(step);
      const auto* added = step.as_object().if_contains("value");
      if (added != nullptr) {
        const Term* value = operations.map(step).get(Operations::term(step, "key"));
        ASSERT_NE(value, nullptr) << name;
        EXPECT_EQ(*value, Operations::term(step, "value")) << name;
      }
      if (better || !step.as_object().contains("state_etf_hex")) continue;
      ++states;
      const auto& map = operations.map(step);
      EXPECT_EQ(to_text(map.to_term()), to_text(pruned(decoded(step, "state_etf_hex")))) << name;
      EXPECT_EQ(map.has_live(), !step.at("is_empty").as_bool()) << name;
      if (step.as_object().contains("clock_after")) {
        EXPECT_EQ(operations.clock(step), Operations::term(step, "clock_after")) << name;
      }
    }
  }
  EXPECT_EQ(scenarios, 19U);
  EXPECT_GE(states, 80U);
}

TEST(OrMapVectors, maps_merge_as_recorded) {
  std::size_t same = 0;
  const auto recorded = read_vectors("crdt-ormap-merge.json");
  for (const auto& row : recorded.as_array()) {
    const auto name = text_of(row, "name");
    const auto a = map_of(decoded(row, row.as_object().contains("a_etf_hex") ? "a_etf_hex" : "left_assoc_etf_hex"));
    if (text_of(row, "kind") == "merge3") {
      const auto from = [&](const char* key) { return map_of(*parse_term(text_of(row, key))); };
      const auto left = merged(merged(from("a"), from("b")), from("c"));
      const auto right = merged(from("a"), merged(from("b"), from("c")));
      EXPECT_EQ(to_text(left.to_term()), to_text(pruned(decoded(row, "left_assoc_etf_hex")))) << name;
      EXPECT_EQ(to_text(right.to_term()), to_text(pruned(decoded(row, "right_assoc_etf_hex")))) << name;
      EXPECT_EQ(live(left), live(right)) << name;
      continue;
    }
    const auto b = map_of(decoded(row, "b_etf_hex"));
    const auto ab = merged(a, b);
    const auto ba = merged(b, a);
    EXPECT_EQ(to_text(ab.to_term()), to_text(ba.to_term())) << name;
    const bool equal = to_text(ab.to_term()) == to_text(pruned(decoded(row, "merge_a_b_etf_hex"))) &&
                       to_text(ba.to_term()) == to_text(pruned(decoded(row, "merge_b_a_etf_hex")));
    EXPECT_NE(equal, merged_better.contains(name)) << name << "\n" << to_text(ab.to_term());
    if (equal) ++same;
  }
  EXPECT_EQ(same, 19U);
}

TEST(OrMapVectors, entries_of_peers_are_taken_or_refused_as_recorded_and_bad_numbers_never) {
  std::size_t count = 0;
  const auto recorded = read_vectors("crdt-wire.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "kind") != "entry") continue;
    const auto name = text_of(row, "name");
    const Term term = decoded(row, "etf_hex");
    // What they let pass and should not.
    const bool bad_numbers =
        name.starts_with("passes_") || name == "ok_negative" || name == "ok_huge_int" || name == "ok_float_wall";
    const bool expected = text_of(row, "valid_entry") == "true" && !bad_numbers;
    EXPECT_EQ(entry_of(term).has_value(), expected) << name;
    if (expected) {
      const Term again = to_term(*entry_of(term));
      EXPECT_EQ(again[0], term[0]) << name;
      EXPECT_EQ(again[1], term[1]) << name;
    }
    ++count;
  }
  EXPECT_EQ(count, 39U);
}

TEST(OrMapVectors, deltas_are_ingested_as_recorded) {
  std::size_t count = 0;
  const auto recorded = read_vectors("crdt-wire.json");
  for (const auto& row : recorded.as_array()) {
    const auto kind = text_of(row, "kind");
    if (kind != "ingest" && kind != "accept") continue;
    const auto name = text_of(row, "name");
    HybridClockConfig config;
    config.skew_max = Milliseconds(0);
    HybridClock clock(config);
    WallMilliseconds physical = 0;
    if (kind == "accept") {
      const auto accepted = accept(decoded(row, "etf_hex"), clock, physical, {}, 100);
      OrMap map;
      for (const auto& [key, entry] : accepted.entries) map.merge(key, entry);
      EXPECT_EQ(to_text(map.to_term()), to_text(pruned(decoded(row, "accepted_etf_hex")))) << name;
    } else {
      physical = row.at("phys").to_number<WallMilliseconds>();
      const auto before = timestamp_of(*parse_term(text_of(row, "clock_before")));
      if (!before) continue;
      if (before->wall > 0) clock.now(before->wall);
      auto map = map_of(decoded(row, "local_etf_hex"));
      const auto accepted = accept(decoded(row, "incoming_etf_hex"), clock, physical, {}, 100);
      for (const auto& [key, entry] : accepted.entries) map.merge(key, entry);
      // Their clock ends at the poisoned stamp, and what they hold with it; here the rest of the map stays.
      const char* merged_key = name == "ingest_poison_timestamp" ? "local_etf_hex" : "merged_etf_hex";
      EXPECT_EQ(to_text(map.to_term()), to_text(pruned(decoded(row, merged_key)))) << name;
      for (const auto& [key, entry] : accepted.entries) EXPECT_GT(clock.last(), entry.stamp()) << name;
    }
    ++count;
  }
  EXPECT_EQ(count, 15U);
}

TEST(OrMap, a_put_after_observing_the_present_entry_wins) {
  OrMap map;
  HybridClock clock;
  map.merge("key", Entry::tombstone({9000, 5}));
  ASSERT_TRUE(clock.observe(map.find("key")->stamp(), 1000));
  map.put("key", "value", {clock.now(1000), Atom("a@h")});
  EXPECT_EQ(*map.get("key"), Term("value"));
  EXPECT_EQ(map.live_count(), 1U);
}

TEST(OrMap, two_hundred_thousand_writes_leave_one_dot) {
  OrMap map;
  HybridClock clock;
  for (int write = 0; write < 200'000; ++write) map.put("key", write, {clock.now(1000 + write / 10), Atom("a@h")});
  EXPECT_EQ(map.find("key")->dots().size(), 1U);
}

TEST(OrMap, each_writer_leaves_its_last_dot) {
  OrMap map;
  map.put("key", 1, {{1, 0}, Atom("a@h")});
  map.put("key", 2, {{2, 0}, Atom("b@h")});
  map.put("key", 3, {{3, 0}, Atom("a@h")});
  EXPECT_EQ(to_text(map.to_term()),
            "#{<<\"key\">> => {value,3,#{{a@h,{timestamp,3,0}} => true,{b@h,{timestamp,2,0}} => true}}}");
  EXPECT_FALSE(map.find("key")->only_by(Atom("a@h")));
  EXPECT_EQ(map.find("key")->writer(), "a@h");
}

TEST(OrMap, merge_tells_what_people_see) {
  OrMap map;
  EXPECT_EQ(map.merge("key", Entry::value(1, {{1, 0}, Atom("a@h")})), Change::put);
  EXPECT_EQ(map.merge("key", Entry::value(1, {{1, 0}, Atom("a@h")})), Change::none);
  EXPECT_EQ(map.merge("key", Entry::value(1, {{2, 0}, Atom("b@h")})), Change::dots);
  EXPECT_EQ(map.merge("key", Entry::value(2, {{3, 0}, Atom("b@h")})), Change::put);
  EXPECT_EQ(map.merge("key", Entry::tombstone({4, 0})), Change::removed);
  EXPECT_EQ(map.merge("key", Entry::tombstone({5, 0})), Change::dots);
  EXPECT_EQ(map.merge("key", Entry::value(2, {{4, 9}, Atom("b@h")})), Change::none);
  EXPECT_EQ(map.live_count(), 0U);
  EXPECT_EQ(map.size(), 1U);
}

TEST(OrMap, tombstones_below_the_cutoff_are_collected_and_values_are_not) {
  OrMap map;
  map.merge("old", Entry::tombstone({99, 7}));
  map.merge("young", Entry::tombstone({100, 0}));
  map.merge("value", Entry::value(1, {{1, 0}, Atom("a@h")}));
  map.retire_tombstones(100);
  EXPECT_EQ(map.collect_tombstones(100), std::vector<Term>{Term("old")});
  EXPECT_EQ(map.size(), 2U);
}

TEST(OrMap, tombstones_are_collected_in_order_and_in_parts) {
  OrMap map;
  for (const std::int64_t key : {3, 1, 4, 2, 5}) map.merge(key, Entry::tombstone({key, 0}));
  map.put(2, "again", {{10, 0}, Atom("a@h")});
  EXPECT_EQ(map.retire_tombstones(6).size(), 4U);
  EXPECT_EQ(map.collect_tombstones(5, 2), (std::vector<Term>{1, 3}));
  EXPECT_EQ(map.collect_tombstones(5, 2), std::vector<Term>{4});
  EXPECT_EQ(map.size(), 2U);
}

TEST(OrMap, retired_tombstones_stay_and_are_named_once) {
  OrMap map;
  map.merge("key", Entry::tombstone({1, 0}));
  EXPECT_EQ(map.retire_tombstones(2), std::vector<Term>{Term("key")});
  EXPECT_TRUE(map.retire_tombstones(2).empty());
  EXPECT_EQ(map.size(), 1U);
  EXPECT_EQ(map.collect_tombstones(2), std::vector<Term>{Term("key")});
  EXPECT_EQ(map.size(), 0U);
}

TEST(OrMap, an_old_tombstone_that_removes_something_now_counts_from_now_on) {
  OrMap map;
  map.put("key", 1, {{1, 0}, Atom("a@h")});
  map.merge("key", Entry::tombstone({5, 0}), 1000);
  EXPECT_EQ(map.retire_tombstones(100), std::vector<Term>{Term("key")}) << "others have retired it long ago";
  EXPECT_TRUE(map.collect_tombstones(1000).empty());
  EXPECT_EQ(map.collect_tombstones(1001), std::vector<Term>{Term("key")});
}

TEST(OrMap, a_key_that_comes_and_goes_is_collected_once) {
  OrMap map;
  for (std::int64_t wall = 1; wall <= 1000; ++wall) {
    map.put("key", wall, {{wall, 0}, Atom("a@h")});
    map.remove("key", {wall, 1});
  }
  EXPECT_EQ(map.retire_tombstones(1001), std::vector<Term>{Term("key")});
  EXPECT_EQ(map.collect_tombstones(1001), std::vector<Term>{Term("key")});
}

TEST(OrMap, keys_that_erlang_nodes_cannot_tell_apart_are_found) {
  OrMap map;
  map.put(1, "integer", {{1, 0}, Atom("a@h")});
  map.put(Term::tuple({"t", 2.0}), "nested", {{1, 0}, Atom("a@h")});
  map.put(2.5, "no twin", {{1, 0}, Atom("a@h")});
  EXPECT_EQ(map.lookalike(1.0), Term(1));
  EXPECT_EQ(map.lookalike(Term::tuple({"t", 2})), Term::tuple({"t", 2.0}));
  EXPECT_FALSE(map.lookalike(1));
  EXPECT_FALSE(map.lookalike(Term::tuple({"t", 2.0})));
  EXPECT_FALSE(map.lookalike(3.0));
  EXPECT_FALSE(map.lookalike(2));
  map.erase(Term::tuple({"t", 2.0}));
  EXPECT_FALSE(map.lookalike(Term::tuple({"t", 2})));
}

TEST(OrMap, what_is_too_much_or_too_far_ahead_is_refused_and_the_rest_is_taken) {
  HybridClock clock;
  std::vector<TermPair> pairs;
  for (int key = 0; key < 10; ++key) {
    pairs.emplace_back(key, to_term(Entry::value(key, {{key == 0 ? 100'000'000 : 5, 0}, Atom("a@h")})));
  }
  const auto accepted = accept(
      Term::map(pairs), clock, 1000, [](const Term& key, const Entry& /*entry*/) { return !(key == Term(1)); }, 5);
  EXPECT_EQ(accepted.entries.size(), 5U);
  EXPECT_EQ(accepted.rejected, 5U);
  EXPECT_EQ(accepted.in_future, 1U);
  EXPECT_EQ(clock.last().wall, 1000);
  EXPECT_TRUE(accept(Term("no map"), clock, 1000, {}, 5).entries.empty());
}

TEST(Entries, what_is_known_already_is_not_looked_into) {
  HybridClock clock;
  const Term entry = to_term(Entry::value("v", {{500, 0}, Atom("a@h")}));
  const Term payload = Term::map({{"known", entry}, {"new", entry}});
  const auto known = [&](const Term& key, const Term& term) { return key == Term("known") && term == entry; };
  std::size_t checked = 0;
  const auto check = [&](const Term& /*key*/, const Entry& /*entry*/) { return ++checked > 0; };
  const auto accepted = accept(payload, clock, 1000, check, 5, known);
  EXPECT_EQ(accepted.known, 1U);
  EXPECT_EQ(checked, 1U);
  ASSERT_EQ(accepted.entries.size(), 1U);
  EXPECT_EQ(accepted.entries.front().first, Term("new"));
}

TEST(Entries, wire_forms_that_differ_in_any_part_are_told_apart) {
  const Entry live = Entry::value("v", {{500, 1}, Atom("a@h")});
  const Entry removed = Entry::tombstone({500, 1});
  const auto stamp = [](std::int64_t wall, int logical) { return Term::tuple({Atom("timestamp"), wall, logical}); };
  const auto value = [](const Term& content, const Term& dots) { return Term::tuple({Atom("value"), content, dots}); };
  const auto dots = [](const Term& node, const Term& when, const Term& present = true) {
    return Term::map({{Term::tuple({node, when}), present}});
  };
  EXPECT_TRUE(is_term_of(live, value("v", dots(Atom("a@h"), stamp(500, 1)))));
  EXPECT_FALSE(is_term_of(live, value("w", dots(Atom("a@h"), stamp(500, 1)))));
  EXPECT_FALSE(is_term_of(live, value("v", dots(Atom("b@h"), stamp(500, 1)))));
  EXPECT_FALSE(is_term_of(live, value("v", dots(Atom("a@h"), stamp(501, 1)))));
  EXPECT_FALSE(is_term_of(live, value("v", dots(Atom("a@h"), stamp(500, 2)))));
  EXPECT_FALSE(is_term_of(live, value("v", dots(Atom("a@h"), stamp(500, 1), false))));
  EXPECT_FALSE(is_term_of(live, value("v", Term::list({}))));
  EXPECT_FALSE(is_term_of(live, to_term(removed)));
  EXPECT_TRUE(is_term_of(removed, Term::tuple({Atom("tombstone"), stamp(500, 1)})));
  EXPECT_FALSE(is_term_of(removed, Term::tuple({Atom("tombstone"), stamp(500, 0)})));
  EXPECT_FALSE(is_term_of(removed, to_term(live)));
}

namespace {

/// As a peer may send it: so many writers, the first of them at the time `from`.
Term written_by_many(std::int64_t from, std::int64_t count) {
  std::vector<TermPair> dots;
  for (std::int64_t time = from; time < from + count; ++time) {
    const Term stamp = Term::tuple({Atom("timestamp"), time, 0});
    dots.emplace_back(Term::tuple({Atom("n" + std::to_string(time) + "@h"), stamp}), true);
  }
  return Term::tuple({Atom("value"), from + count - 1, Term::map(std::move(dots))});
}

}  // namespace

TEST(Entries, of_very_many_writers_the_last_thousand_are_kept) {
  constexpr std::int64_t writers = 50'000;
  const auto entry = entry_of(written_by_many(1, writers));
  ASSERT_TRUE(entry);
  ASSERT_EQ(entry->dots().size(), Entry::dots_max);
  EXPECT_EQ(entry->writer(), "n50000@h");
  EXPECT_EQ(entry->dots().back().stamp.wall, writers - std::int64_t{Entry::dots_max} + 1);
  EXPECT_TRUE(is_term_of(*entry, to_term(*entry)));
  EXPECT_FALSE(is_term_of(*entry, to_term(*entry_of(written_by_many(2, writers)))));
}

TEST(Entries, many_dots_of_a_few_writers_leave_one_of_each) {
  std::vector<TermPair> dots;
  for (int time = 0; time < 60'000; ++time) {
    const Term node = Atom(time % 2 == 0 ? "a@h" : "b@h");
    dots.emplace_back(Term::tuple({node, Term::tuple({Atom("timestamp"), time, 0})}), true);
  }
  const auto entry = entry_of(Term::tuple({Atom("value"), "v", Term::map(std::move(dots))}));
  ASSERT_TRUE(entry);
  EXPECT_EQ(*entry, Entry::value("v", std::vector<Dot>{{{59'998, 0}, Atom("a@h")}, {{59'999, 0}, Atom("b@h")}}));
}

TEST(Entries, whichever_dots_are_forgotten_first_the_same_are_left) {
  const std::vector<Entry> parts{*entry_of(written_by_many(1, 900)), *entry_of(written_by_many(500, 1500)),
                                 *entry_of(written_by_many(1200, 300)), *entry_of(written_by_many(1900, 700))};
  const Entry expected = *entry_of(written_by_many(1, 2599));
  std::vector<std::size_t> order{0, 1, 2, 3};
  do {
    Entry merged = parts[order[0]];
    for (const auto index : order) merge(merged, parts[index]);
    EXPECT_EQ(merged, expected);
    for (const auto& part : parts) EXPECT_EQ(merge(merged, part), Change::none) << "what was forgotten is no news";
  } while (std::ranges::next_permutation(order).found);
}

TEST(Entries, who_writes_after_a_thousand_others_wins_and_forgets_the_first_of_them) {
  OrMap map;
  map.merge("key", *entry_of(written_by_many(1, 1000)));
  map.put("key", "mine", {{5000, 0}, Atom("a@h")});
  const auto dots = map.find("key")->dots();
  ASSERT_EQ(dots.size(), Entry::dots_max);
  EXPECT_EQ(dots.front().node, "a@h");
  EXPECT_EQ(dots.back().node, "n2@h");
  map.put("key", "mine again", {{5001, 0}, Atom("n500@h")});
  EXPECT_EQ(map.find("key")->dots().size(), Entry::dots_max);
  EXPECT_EQ(map.find("key")->dots().back().node, "n2@h");
}

TEST(OrMapState, nodes_that_heard_of_too_many_writers_in_another_order_are_equal) {
  HybridClock clock;
  const auto make = [&](const char* name) {
    return OrMapState({.own = Atom(name)}, clock, [] { return WallMilliseconds{1'000'000}; }, {});
  };
  OrMapState one = make("a@h");
  OrMapState other = make("b@h");
  const std::vector<Term> parts{written_by_many(1, 800), written_by_many(2000, 800), written_by_many(700, 800)};
  for (const auto& part : parts) one.merge(Atom("c@h"), Term::map({{"key", part}}));
  for (const auto& part : {parts[2], parts[1], parts[0]}) other.merge(Atom("c@h"), Term::map({{"key", part}}));
  EXPECT_EQ(one.digests()->summary(), other.digests()->summary());
  EXPECT_EQ(*one.map().find("key"), *other.map().find("key"));
  EXPECT_EQ(one.map().find("key")->dots().size(), Entry::dots_max);
  EXPECT_TRUE(one.has("key", other.entry("key")));
  EXPECT_FALSE(one.merge(Atom("b@h"), Term::map({{"key", parts[0]}})));
}

TEST(OrMapState, a_retired_tombstone_answers_older_values_though_the_clock_was_set_back) {
  HybridClock clock;
  WallMilliseconds wall = 1'000'000;
  const Atom peer("b@h");
  OrMapState state({.own = Atom("a@h"), .entries_max = 10, .check = {}, .offered = {}}, clock, [&] { return wall; },
                   {});
  ASSERT_TRUE(state.remove("key"));
  wall += 60'000;
  state.retire_tombstones(wall - 30'000);
  ASSERT_EQ(state.digests()->summary().count, 0U);
  wall -= 900'000;
  state.retire_tombstones(wall - 30'000);
  EXPECT_FALSE(state.merge(peer, Term::map({{"key", to_term(Entry::value("old", {{999'000, 0}, peer}))}})));
  const auto overruled = state.take_overruled();
  ASSERT_EQ(overruled.size(), 1U);
  EXPECT_EQ(overruled.front().first, Term("key"));
}

namespace {

/// A value of a peer and, right behind it, its removal at that time.
void merge_removed(OrMapState& state, const char* key, WallMilliseconds at) {
  const Atom peer("b@h");
  ASSERT_TRUE(state.merge(peer, Term::map({{key, to_term(Entry::value("v", {{1000, 0}, peer}))}})));
  ASSERT_TRUE(state.merge(peer, Term::map({{key, to_term(Entry::tombstone({at, 0}))}})));
}

}  // namespace

TEST(OrMapState, a_tombstone_that_is_reviewed_after_it_has_retired_stays_out_of_the_digests) {
  HybridClock clock;
  WallMilliseconds wall = 1'000'000;
  OrMapState state({.own = Atom("a@h")}, clock, [&] { return wall; }, {});
  merge_removed(state, "key", 2000);
  ASSERT_TRUE(state.collect_tombstones(5000).empty()) << "it removed something here just now";
  ASSERT_EQ(state.digests()->summary().count, 0U);
  state.review("key");
  EXPECT_EQ(state.digests()->summary().count, 0U);
  wall += 60'000;
  EXPECT_EQ(state.collect_tombstones(wall), std::vector<Term>{Term("key")});
}

TEST(OrMapState, a_tombstone_that_came_anew_leaves_the_digests_when_it_is_collected) {
  HybridClock clock;
  WallMilliseconds wall = 1'000'000;
  OrMapState state({.own = Atom("a@h")}, clock, [&] { return wall; }, {});
  merge_removed(state, "key", 5000);
  ASSERT_TRUE(state.collect_tombstones(6000).empty()) << "it has retired";
  state.erase("key");
  wall += 10;
  merge_removed(state, "older", 2000);
  merge_removed(state, "key", 5000);
  ASSERT_EQ(state.digests()->summary().count, 2U);
  EXPECT_EQ(state.collect_tombstones(wall - 5, 1), std::vector<Term>{Term("key")}) << "it retired first, the other now";
  EXPECT_EQ(state.digests()->summary().count, 0U);
}

// The laws.

namespace {

/// Values are a function of their dot, as they are among well-behaved nodes.
OrMap random_map() {
  OrMap map;
  const auto count = *rc::gen::inRange(0, 12);
  for (int index = 0; index < count; ++index) {
    const Term key(*rc::gen::inRange(0, 4));
    const Timestamp stamp{*rc::gen::inRange<WallMilliseconds>(0, 4), *rc::gen::inRange<std::uint32_t>(0, 3)};
    if (*rc::gen::inRange(0, 3) == 0) {
      map.merge(key, Entry::tombstone(stamp));
    } else {
      const Atom node(*rc::gen::element("a@h", "b@h", "c@h"));
      map.merge(key, Entry::value(Term::tuple({node, stamp.wall, stamp.logical}), {stamp, node}));
    }
  }
  return map;
}

}  // namespace

namespace {

struct OwnState {
  HybridClock clock;
  OrMapState state{{.own = Atom("a@h"),
                    .entries_max = 1000,
                    .check = {},
                    .offered = [](const Term& key) { return !(key == Term(3)); }},
                   clock,
                   [] { return WallMilliseconds{100}; },
                   {}};

  /// What another node, and everything here, can tell of it.
  [[nodiscard]] std::vector<DigestTree::Summary> sums() const {
    std::vector<DigestTree::Summary> sums{state.digests()->summary()};
    for (unsigned index = 0; index < Prefix::fan_out; ++index) {
      sums.push_back(state.digests()->summary(Prefix{}.child(index)));
    }
    return sums;
  }
};

}  // namespace

RC_GTEST_PROP(OrMapState, what_is_restored_together_is_what_came_one_by_one, ()) {
  std::vector<std::pair<Term, Entry>> stored;
  for (int copies = *rc::gen::inRange(0, 4); copies > 0; --copies) {  // several: keys come twice
    const auto some = random_map();
    for (const auto& [key, entry] : some.entries()) stored.emplace_back(key, entry);
  }
  const auto many = *rc::gen::inRange(0, 200);
  for (int number = 10; number < 10 + many; ++number) {
    stored.emplace_back(number, Entry::value(number, {{number, 1}, Atom("b@h")}));
  }
  OwnState restored;
  if (*rc::gen::arbitrary<bool>()) restored.state.reserve(stored.size());
  for (const auto& [key, entry] : stored) restored.state.restore(key, entry);
  if (*rc::gen::arbitrary<bool>()) restored.state.settle();
  OwnState merged;
  for (const auto& [key, entry] : stored) merged.state.merge(Atom("b@h"), Term::map({{key, to_term(entry)}}));
  RC_ASSERT(restored.state.map().to_term() == merged.state.map().to_term());
  RC_ASSERT(restored.state.map().live_count() == merged.state.map().live_count());
  RC_ASSERT(restored.sums() == merged.sums());
  RC_ASSERT(restored.clock.last() >= merged.clock.last() || stored.empty());
  for (auto* own : {&restored, &merged}) {
    RC_ASSERT(own->state.put("later", 1).has_value());
    for (int key = 0; key < 4; ++key) own->state.erase(key);
  }
  RC_ASSERT(restored.state.map().size() == merged.state.map().size());
  RC_ASSERT(restored.state.digests()->summary().count == merged.state.digests()->summary().count);
}

RC_GTEST_PROP(OrMapLaws, merge_commutes, ()) {
  const auto a = random_map();
  const auto b = random_map();
  RC_ASSERT(merged(a, b).to_term() == merged(b, a).to_term());
}

RC_GTEST_PROP(OrMapLaws, merge_associates_in_what_people_see, ()) {
  const auto a = random_map();
  const auto b = random_map();
  const auto c = random_map();
  RC_ASSERT(live(merged(merged(a, b), c)) == live(merged(a, merged(b, c))));
}

RC_GTEST_PROP(OrMapLaws, merge_is_idempotent, ()) {
  const auto a = random_map();
  const auto b = merged(a, random_map());
  RC_ASSERT(merged(b, a).to_term() == b.to_term());
  RC_ASSERT(merged(b, b).to_term() == b.to_term());
}

RC_GTEST_PROP(OrMapLaws, the_count_of_live_values_is_right_and_the_wire_form_comes_back, ()) {
  const auto map = merged(random_map(), random_map());
  RC_ASSERT(map.live_count() == live(map).size());
  RC_ASSERT(map_of(map.to_term()).to_term() == map.to_term());
}

RC_GTEST_PROP(OrMapLaws, an_entry_knows_its_own_wire_form_and_no_other, ()) {
  const auto map = merged(random_map(), random_map());
  const auto other = merged(map, random_map());
  for (const auto& [key, entry] : map.entries()) {
    RC_ASSERT(is_term_of(entry, to_term(entry)));
    for (const auto& [another_key, another] : other.entries()) {
      RC_ASSERT(is_term_of(entry, to_term(another)) == (to_term(entry) == to_term(another)));
    }
  }
}

}  // namespace barrel_p2p::replication
