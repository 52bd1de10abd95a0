// Placement in a cluster of three C++ nodes and two Erlang nodes: both kinds compute the same owners for keys of every
// type, also after nodes came, left and were killed.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "interop/random_term.hpp"
#include "node/services_support.hpp"
#include "support/vectors.hpp"
#include "upstream/mixed.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Collector;
using test::eventually;
using test::MixedCluster;
using test::RandomTerms;

class MixedPlacement : public MixedCluster {
 protected:
  void configure(NodeConfig& config) override { config.membership.shuffle_period = 2s; }
  void started(const std::string& name) override {
    if (!is_erlang(name)) return;
    // What an Erlang node says of many keys at once.
    erlang_.at(name)->load(
        "-module(placement_keys). -export([all/1]). all(Keys) -> [[barrel_p2p:partition(K), barrel_p2p:place(K), "
        "barrel_p2p:is_owner(K) | barrel_p2p:owners(K, 3)] || K <- Keys].");
  }

  void start_five() {
    for (const auto* name : {"e1", "e2"}) start_erlang(name);
    if (IsSkipped()) return;
    for (const auto* name : {"c1", "c2", "c3"}) start_cpp(name);
    join("c1", "e1");
    join("e2", "c1");
    join("c2", "e2");
    join("c3", "c1");
  }
  /// By their leases; when one was killed its own must end first.
  bool all_know_each_other() {
    Names wanted = running();
    const auto knows = [&](const std::string& name) { return members_of(name) == wanted; };
    return eventually(cpp_nodes(), [&] { return std::ranges::all_of(wanted, knows); }, 40s);
  }
  Names members_of(const std::string& name) {
    if (cpp_.contains(name)) {
      Names names;
      for (const auto& node : cpp_.at(name)->members()) names.insert(node.string());
      return names;
    }
    return names_in(ask(name, "barrel_p2p", "members"));
  }

  static std::vector<Term> recorded_keys() {
    std::vector<Term> keys;
    const auto rows = test::read_vectors("phash2.json");
    for (const auto& row : rows.as_array()) {
      if (!row.as_object().contains("etf_hex")) continue;
      keys.push_back(decode_term(test::from_hex(test::text_of(row, "etf_hex")))->term);
    }
    return keys;
  }
  /// `[Partition, Owner, IsOwner | Owners]` of each.
  static Term cpp_answers(const Node& node, const std::vector<Term>& keys) {
    std::vector<Term> answers;
    for (const auto& key : keys) {
      std::vector<Term> answer{node.partition(key), node.place(key)->atom(), node.is_owner(key)};
      for (const auto& owner : node.owners(key, 3)) answer.emplace_back(owner.atom());
      answers.push_back(Term::list(std::move(answer)));
    }
    return Term::list(std::move(answers));
  }
  /// Compares all nodes with each other.
  void agree_on(const std::vector<Term>& keys) {
    ASSERT_TRUE(all_know_each_other()) << picture();
    std::size_t owned = 0;
    const Term wanted = without_ownership(cpp_answers(*cpp_nodes().front(), keys));
    for (Node* node : cpp_nodes()) {
      const Term answers = cpp_answers(*node, keys);
      EXPECT_EQ(without_ownership(answers), wanted) << node->name().string();
      owned += count_owned(answers, node->name().atom());
    }
    for (auto& [name, node] : erlang_) {
      const Term answers = ask(name, "placement_keys", "all", {Term::list(keys)});
      ASSERT_TRUE(answers.is_proper_list()) << to_text(answers);
      ASSERT_EQ(answers.size(), keys.size());
      const Term theirs = without_ownership(answers);
      for (std::size_t key = 0; key < keys.size(); ++key) {
        ASSERT_EQ(theirs[key], wanted[key]) << name << " " << to_text(keys[key]);
      }
      owned += count_owned(answers, Atom(name));
    }
    if (programs_.empty()) {
      EXPECT_EQ(owned, keys.size()) << "each key has one owner";
    }
  }
  static Term without_ownership(const Term& answers) {
    std::vector<Term> rest;
    for (const auto& answer : answers.elements()) {
      std::vector<Term> one(answer.elements().begin(), answer.elements().end());
      one.erase(one.begin() + 2);
      rest.push_back(Term::list(std::move(one)));
    }
    return Term::list(std::move(rest));
  }
  static std::size_t count_owned(const Term& answers, const Atom& node) {
    std::size_t count = 0;
    for (const auto& answer : answers.elements()) {
      const bool owns = answer.elements()[2].as_bool().value_or(false);
      EXPECT_EQ(owns, answer.elements()[1] == Term(node));
      if (owns) ++count;
    }
    return count;
  }
};

TEST_F(MixedPlacement, all_nodes_name_the_same_owners_of_keys_of_every_type_whoever_comes_and_goes) {
  start_five();
  if (HasFailure() || IsSkipped()) return;
  auto keys = recorded_keys();
  ASSERT_GE(keys.size(), 600U);
  RandomTerms random(20261128);
  for (int count = 0; count < 1400; ++count) keys.push_back(random.next());
  agree_on(keys);
  if (HasFailure()) return;

  start_program("c4", "c1");
  agree_on(keys);
  kill("c4");  // its lease must end everywhere
  agree_on(keys);
  kill("e2");
  agree_on(keys);
  if (HasFailure()) return;

  start_cpp("c5");
  join("c5", "e1");
  agree_on(keys);
  stop_cpp("c2");  // says goodbye, which Erlang nodes do not understand: there its lease must end
  agree_on(keys);
}

TEST_F(MixedPlacement, processes_of_both_kinds_are_told_by_nodes_of_both_kinds) {
  start_five();
  if (HasFailure() || IsSkipped()) return;
  ASSERT_TRUE(all_know_each_other()) << picture();
  ASSERT_EQ(erlang("e1").eval("erpc:call('c1@127.0.0.1', barrel_p2p, subscribe_shard, [self()])"), Atom("ok"));
  Collector collector(cpp("c1"));
  ASSERT_EQ(ask(full("e1"), "barrel_p2p", "subscribe_shard", {collector.pid}), Atom("ok"));
  // What c1 and e1 take over from c3.
  std::vector<NodeName> rest;
  for (const auto& name : cpp("c1").members()) {
    if (name != NodeName(full("c3"))) rest.push_back(name);
  }
  std::vector<Term> by_cpp;
  std::set<std::string> by_erlang;
  for (const auto& move : cpp("c1").placement_diff(rest)) {
    if (move.to == cpp("c1").name()) by_cpp.emplace_back(move.partition);
    if (move.to == NodeName(full("e1"))) {
      by_erlang.insert("{barrel_p2p_shard,{acquired," + std::to_string(move.partition) + "}}");
    }
  }
  ASSERT_FALSE(by_cpp.empty());
  ASSERT_FALSE(by_erlang.empty());
  stop_cpp("c3");
  for (const auto& partition : by_cpp) {
    EXPECT_EQ(
        erlang("e1").eval("(fun() -> receive {barrel_p2p_shard, {acquired, P}} -> P after 20000 -> nothing end end)()"),
        partition)
        << "ascending";
  }
  std::set<std::string> told;
  for (std::size_t count = 0; count < by_erlang.size(); ++count) told.insert(collector.next(20s));
  EXPECT_EQ(told, by_erlang);
  ASSERT_EQ(erlang("e1").eval("erpc:call('c1@127.0.0.1', barrel_p2p, unsubscribe_shard, [self()])"), Atom("ok"));
}

}  // namespace
}  // namespace barrel_p2p
