// Replicated maps in a cluster of two C++ nodes c1, c2 and two Erlang nodes e1, e2: whatever one kind writes, the other
// reads, and what both write becomes the same everywhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "node/services_support.hpp"
#include "upstream/mixed.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::all_four;
using test::eventually;
using test::MapLog;
using test::MixedCluster;

class MixedMaps : public MixedCluster {
 protected:
  void configure(NodeConfig& config) override {
    config.membership.shuffle_period = 2s;
    config.replication.anti_entropy = 2s;
  }
  void started(const std::string& name) override {
    // Read when a map is opened there.
    if (is_erlang(name)) erlang_.at(name)->eval("application:set_env(barrel_p2p, replica_anti_entropy_ms, 2000)");
  }

  /// Four nodes with an open map `m`.
  void start_four(const MapOptions& options = {}) {
    for (const auto* name : {"e1", "e2"}) start_erlang(name);
    if (IsSkipped()) return;
    for (const auto* name : {"c1", "c2"}) start_cpp(name);
    join("c1", "e1");
    join("e2", "c1");
    join("c2", "e2");
    if (HasFatalFailure()) return;
    for (Node* node : cpp_nodes()) ASSERT_EQ(word(node->new_map("m", options)), "ok");
    for (const auto* name : {"e1", "e2"}) open_on(name, options.persist);
  }
  void open_on(const std::string& short_name, bool persist = false) {
    ASSERT_TRUE(erlang(short_name)
                    .eval(std::string("barrel_p2p:new_map(m, #{persist => ") + (persist ? "true" : "false") + "})")
                    .is_tagged("ok", 2));
  }
  /// An expression whose value is the term.
  static std::string literal(const Term& term) {
    std::string bytes;
    for (const auto byte : encode_term(term)) bytes += (bytes.empty() ? "" : ",") + std::to_string(byte);
    return "binary_to_term(<<" + bytes + ">>)";
  }
  void put(const std::string& short_name, const Term& key, const Term& value) {
    if (is_erlang(short_name)) {
      ASSERT_EQ(erlang(short_name).eval("barrel_p2p:map_put(m, " + literal(key) + ", " + literal(value) + ")"),
                Atom("ok"));
    } else {
      ASSERT_EQ(word(cpp(short_name).map_put("m", key, value)), "ok");
    }
  }
  void remove(const std::string& short_name, const Term& key) {
    if (is_erlang(short_name)) {
      ASSERT_EQ(erlang(short_name).eval("barrel_p2p:map_remove(m, " + literal(key) + ")"), Atom("ok"));
    } else {
      ASSERT_EQ(word(cpp(short_name).map_remove("m", key)), "ok");
    }
  }
  /// All pairs that a node has, as an Erlang map.
  Term content(const std::string& name) {
    if (is_erlang(name)) return erlang_.at(name)->eval("maps:from_list(barrel_p2p:map_to_list(m))");
    return Term::map(cpp_.at(name)->map_to_list("m"));
  }
  bool all_hold(const Term& wanted, std::chrono::seconds limit = 20s) {
    return eventually(
        cpp_nodes(),
        [&] { return std::ranges::all_of(running(), [&](const auto& name) { return content(name) == wanted; }); },
        limit);
  }
  bool all_are_equal(std::chrono::seconds limit = 20s) {
    return eventually(
        cpp_nodes(),
        [&] {
          const Term first = content(*running().begin());
          return std::ranges::all_of(running(), [&](const auto& name) { return content(name) == first; });
        },
        limit);
  }
  std::string contents() {
    std::string text;
    for (const auto& name : running()) text += name + " has " + to_text(content(name)).substr(0, 1000) + "\n";
    return text;
  }
};

TEST_F(MixedMaps, what_any_node_puts_overwrites_or_removes_all_nodes_see) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  std::vector<TermPair> pairs;
  for (const auto* name : all_four) {
    put(name, Atom(name), 1);
    pairs.emplace_back(Atom(name), 1);
  }
  EXPECT_TRUE(all_hold(Term::map(pairs))) << contents();
  // Each overwrites what another one wrote.
  for (std::size_t at = 0; at < pairs.size(); ++at) {
    pairs[at].second = Term::tuple({Atom("from"), Atom(all_four[(at + 1) % 4])});
    put(all_four[(at + 1) % 4], pairs[at].first, pairs[at].second);
  }
  EXPECT_TRUE(all_hold(Term::map(pairs))) << contents();
  remove("c1", Atom("e1"));
  remove("e2", Atom("c1"));
  std::erase_if(pairs, [](const TermPair& pair) { return pair.first.is_atom("e1") || pair.first.is_atom("c1"); });
  EXPECT_TRUE(all_hold(Term::map(pairs))) << contents();
  put("e1", Atom("c1"), 2);
  pairs.emplace_back(Atom("c1"), 2);
  EXPECT_TRUE(all_hold(Term::map(pairs))) << contents();
}

TEST_F(MixedMaps, changes_are_told_to_subscribers_of_the_other_kind) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  MapLog log(cpp("c2"), "m");
  auto& erl = erlang("e2");
  ASSERT_EQ(erl.eval("barrel_p2p:subscribe_map(m, self())"), Atom("ok"));
  const auto next = [&] {  // in a fun, which binds the variable anew each time
    return erl.eval("(fun() -> receive {barrel_p2p_map, m, Event} -> Event after 10000 -> nothing end end)()");
  };
  put("e1", Atom("limit"), 100);
  EXPECT_EQ(log.next(), "put limit 100");
  EXPECT_EQ(next(), Term::tuple({Atom("put"), Atom("limit"), 100}));
  put("c1", Atom("limit"), 200);
  EXPECT_EQ(log.next(), "put limit 200");
  EXPECT_EQ(next(), Term::tuple({Atom("put"), Atom("limit"), 200}));
  remove("e1", Atom("limit"));
  EXPECT_EQ(log.next(), "remove limit");
  EXPECT_EQ(next(), Term::tuple({Atom("remove"), Atom("limit")}));
  // One after the other: who gets both with an exchange of states sees the removal alone, of what it did not have.
  put("c1", Atom("limit"), 300);
  EXPECT_EQ(log.next(), "put limit 300");
  EXPECT_EQ(next(), Term::tuple({Atom("put"), Atom("limit"), 300}));
  remove("c1", Atom("limit"));
  EXPECT_EQ(log.next(), "remove limit");
  EXPECT_EQ(next(), Term::tuple({Atom("remove"), Atom("limit")}));
}

/// No exchange of states within the time that a test has: what arrives was broadcast.
class MixedMapsByGossip : public MixedMaps {
 protected:
  void configure(NodeConfig& config) override {
    MixedMaps::configure(config);
    config.replication.anti_entropy = 10min;
  }
  void started(const std::string& name) override {
    if (is_erlang(name)) erlang_.at(name)->eval("application:set_env(barrel_p2p, replica_anti_entropy_ms, 600000)");
  }
};

TEST_F(MixedMapsByGossip, changes_that_go_out_together_all_arrive) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  constexpr int keys = 500;
  std::vector<TermPair> pairs;
  const auto before = cpp("c1").overlay_statistics().delivered;
  for (int key = 0; key < keys; ++key) {
    put("c1", key, Atom("c1"));
    pairs.emplace_back(key, Atom("c1"));
  }
  EXPECT_TRUE(all_hold(Term::map(pairs))) << contents();
  EXPECT_LT(cpp("c1").overlay_statistics().delivered, before + keys) << "each went out by itself";
}

TEST_F(MixedMaps, keys_and_values_of_every_kind_arrive_as_they_were) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  const Pid pid = test::spawn_idle(cpp("c1"));
  const Term reference = erlang("e1").eval("make_ref()");
  const Term deep = Term::map(
      {{Term::tuple({1, "two", 3.5}), Term::list({Atom("a"), Term::list({}), pid})}, {Term::map({}), reference}});
  const std::vector<TermPair> pairs{{1, "an integer"},
                                    {-70'000'000'000, Atom("negative")},
                                    {2.5, Term::tuple({})},
                                    {"a binary", "\xff\x00 bytes"},
                                    {Term::tuple({Atom("user"), 7}), deep},
                                    {Term(pid), reference},
                                    {Term::list({1, 2, 3}), Term::charlist("text")},
                                    {Atom(""), Atom("\xc3\xa4\xce\xb2")}};
  for (std::size_t at = 0; at < pairs.size(); ++at) put(at % 2 == 0 ? "c1" : "e1", pairs[at].first, pairs[at].second);
  EXPECT_TRUE(all_hold(Term::map(pairs))) << contents();
}

TEST_F(MixedMaps, what_all_write_at_once_becomes_the_same_everywhere) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  constexpr int keys = 30;
  constexpr int rounds = 5;
  const auto script = [&](const char* name) {
    return std::string(
               "[case (K + R) rem 7 of 0 -> barrel_p2p:map_remove(m, K);"
               " _ -> barrel_p2p:map_put(m, K, {R, ") +
           name + "}) end || R <- lists:seq(1, " + std::to_string(rounds) + "), K <- lists:seq(0, " +
           std::to_string(keys - 1) + ")], ok";
  };
  for (const auto* name : {"e1", "e2"}) erlang(name).start(script(name));
  for (int round = 1; round <= rounds; ++round) {
    for (int key = 0; key < keys; ++key) {
      for (const auto* name : {"c1", "c2"}) {
        if ((key + round) % 7 == 1) {
          remove(name, key);
        } else {
          put(name, key, Term::tuple({round, Atom(name)}));
        }
      }
    }
  }
  for (const auto* name : {"e1", "e2"}) ASSERT_EQ(erlang(name).finish(), Atom("ok"));
  EXPECT_TRUE(all_are_equal()) << contents();
  // And it is what the last writer wanted.
  for (int key = 0; key < keys; ++key) put("c1", key, Atom("last"));
  std::vector<TermPair> pairs;
  for (int key = 0; key < keys; ++key) pairs.emplace_back(key, Atom("last"));
  EXPECT_TRUE(all_hold(Term::map(pairs))) << contents();
}

TEST_F(MixedMaps, newcomers_of_either_kind_get_what_was_written_and_not_what_was_removed) {
  start_erlang("e1");
  if (IsSkipped()) return;
  start_cpp("c1");
  join("c1", "e1");
  open_on("e1");
  ASSERT_EQ(word(cpp("c1").new_map("m")), "ok");
  std::vector<TermPair> pairs;
  for (int key = 0; key < 100; ++key) {
    put(key % 2 == 0 ? "c1" : "e1", key, "value");
    if (key % 10 != 0) pairs.emplace_back(key, "value");
  }
  for (int key = 0; key < 100; key += 10) remove(key % 20 == 0 ? "e1" : "c1", key);
  ASSERT_TRUE(all_hold(Term::map(pairs))) << contents();
  start_cpp("c2");
  join("c2", "e1");
  ASSERT_EQ(word(cpp("c2").new_map("m")), "ok");
  start_erlang("e2");
  if (IsSkipped()) return;
  join("e2", "c1");
  open_on("e2");
  EXPECT_TRUE(all_hold(Term::map(pairs))) << contents();
}

TEST_F(MixedMaps, nodes_that_were_away_take_up_what_was_written_meanwhile) {
  MapOptions options;
  options.persist = true;
  start_four(options);
  if (HasFailure() || IsSkipped()) return;
  put("e2", Atom("of_e2"), 1);
  put("c2", Atom("of_c2"), 1);
  put("c1", Atom("doomed"), 1);
  ASSERT_TRUE(all_hold(Term::map({{Atom("of_e2"), 1}, {Atom("of_c2"), 1}, {Atom("doomed"), 1}}))) << contents();
  kill("e2");
  stop_cpp("c2");
  put("e1", Atom("of_c2"), 2);
  put("c1", Atom("of_e2"), 2);
  remove("e1", Atom("doomed"));
  start_cpp("c2");
  join("c2", "e1");
  ASSERT_EQ(word(cpp("c2").new_map("m", options)), "ok");
  start_erlang("e2");
  if (IsSkipped()) return;
  join("e2", "c1");
  open_on("e2", true);
  EXPECT_TRUE(all_hold(Term::map({{Atom("of_e2"), 2}, {Atom("of_c2"), 2}}))) << contents();
}

TEST_F(MixedMaps, the_parts_of_a_split_cluster_agree_again) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  for (int key = 0; key < 20; ++key) put("c1", key, 0);
  std::vector<TermPair> pairs;
  for (int key = 0; key < 20; ++key) pairs.emplace_back(key, 0);
  ASSERT_TRUE(all_hold(Term::map(pairs))) << contents();
  // c1 and e1 on one side, c2 and e2 on the other.
  const auto block = [&](const char* cpp_name, const char* erlang_name, const char* one, const char* other) {
    cpp(cpp_name).block_peers({full(one), full(other)});
    erlang(erlang_name).eval("barrel_p2p_hyparview:block_peers(['" + full(one) + "', '" + full(other) + "'])");
  };
  block("c1", "e1", "c2", "e2");
  block("c2", "e2", "c1", "e1");
  for (int key = 0; key < 10; ++key) put("e1", key, Atom("left"));
  remove("c1", 10);
  test::wait_for_a_later_stamp();
  for (int key = 5; key < 15; ++key) put("c2", key, Atom("right"));
  remove("e2", 0);
  for (Node* node : cpp_nodes()) node->unblock_peers();
  for (auto& [name, node] : erlang_) node->eval("barrel_p2p_hyparview:unblock_peers()");
  join("c2", "e1");
  join("e2", "c1");
  EXPECT_TRUE(all_are_equal()) << contents();
  // The later write of a key that both sides wrote.
  for (int key = 5; key < 10; ++key) EXPECT_EQ(*cpp("c1").map_get("m", key), Atom("right")) << key;
  EXPECT_EQ(cpp("c1").map_get("m", 0).error(), Errc::not_found);
  EXPECT_EQ(*cpp("c1").map_get("m", 10), Atom("right")) << "put after it was removed";
}

}  // namespace
}  // namespace barrel_p2p
