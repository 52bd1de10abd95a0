// Plumtree against what the Erlang process did, step by step.
#include <gtest/gtest.h>

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "overlay/messages.hpp"
#include "overlay/plumtree.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::test {
namespace {

using namespace overlay;
using Lines = std::vector<std::string>;  ///< Sorted: messages to different nodes have no order.

/// What a step does here where that is not what it does in the Erlang process.
struct Better {
  std::optional<Lines> effects{};
  std::optional<Lines> eager{};
  std::optional<Lines> lazy{};
};
struct BetterCase {
  std::string reason;
  std::map<std::size_t, Better> steps;
};

const std::string a = "'a@127.0.0.1'";
const std::string b = "'b@127.0.0.1'";

std::string graft_of_one(const std::string& node) {
  return "send {barrel_p2p_plumtree," + node + "} {'$barrel_p2p_plumtree',{graft," +
         to_text(Term::binary(from_hex(std::string(62, '0') + "01"))) + ",'scu@127.0.0.1'}}";
}

const std::map<std::string, BetterCase>& better_cases() {
  static const std::map<std::string, BetterCase> cases{
      {"gossip_duplicate",
       {"the paper: who brings a duplicate becomes lazy at once, not only when it sends a prune too",
        {{3, {.eager = Lines{a}, .lazy = Lines{b}}}}}},
      {"gossip_from_self_id",
       {"no channel leads to this node itself, so its own name has no special meaning",
        {{0, {.eager = Lines{"'scu@127.0.0.1'"}}}}}},
      {"ihave_unknown_then_timeout",
       {"the paper: who is asked becomes eager at once, not with its answer", {{1, {.eager = Lines{a}}}}}},
      {"ihave_two_announcers",
       {"the paper: the second announcer is asked when the first one does not answer",
        {{2, {.effects = Lines{graft_of_one(a), graft_of_one(b)}, .eager = Lines{a, b}}}}}},
      {"ihave_after_failed_graft",
       {"the paper: who is asked becomes eager at once, not with its answer",
        {{1, {.eager = Lines{a}}}, {2, {.eager = Lines{a}}}, {3, {.eager = Lines{a, b}}}}}},
      {"left_ignored", {"who left gossips to nobody", {{1, {.eager = Lines{}}}}}},
  };
  return cases;
}

Lines sorted(Lines lines) {
  std::ranges::sort(lines);
  return lines;
}

Lines texts(const std::vector<Atom>& nodes) {
  Lines lines;
  for (const auto& node : nodes) lines.push_back(to_text(node));
  return sorted(std::move(lines));
}

Lines texts(const boost::json::value& names) {
  Lines lines;
  for (const auto& name : names.as_array()) lines.emplace_back(name.as_string());
  return sorted(std::move(lines));
}

Lines expected_effects(const boost::json::value& step) {
  Lines lines;
  for (const auto& effect : step.as_object().at("effects").as_array()) {
    const bool is_send = text_of(effect, "kind") == "send";
    if (is_send) {
      EXPECT_EQ(to_hex(encode_term(*parse_term(text_of(effect, "term")))), text_of(effect, "etf_hex"));
    }
    lines.push_back((is_send ? "send " + text_of(effect, "to") : "deliver") + " " + text_of(effect, "term"));
  }
  return sorted(std::move(lines));
}

class Replay {
 public:
  explicit Replay(const Atom& own) : own_{own} {}

  void step(const boost::json::value& step) {
    const auto input = text_of(step, "input");
    const auto term = input == "wait_ms" ? Term() : *parse_term(text_of(step, "term"));
    if (input == "api_broadcast") machine.broadcast(term[0], term[1], term[2], now_, effects_);
    if (input == "event") event(term);
    if (input == "message") message(term);
    // Announcements wait for others, in Erlang they do not.
    pass(input == "wait_ms" ? Milliseconds(step.at("ms").to_number<int>()) : PlumtreeConfig{}.announce_delay);
  }

  Lines take_effects() {
    Lines lines;
    for (const auto& effect : std::exchange(effects_, {})) {
      if (const auto* send = std::get_if<PlumtreeSend>(&effect)) {
        lines.push_back("send {barrel_p2p_plumtree," + to_text(send->to) + "} " +
                        to_text(encode_message(send->message, own_, false)));
      } else if (std::holds_alternative<PlumtreeDeliver>(effect)) {
        const auto& deliver = std::get<PlumtreeDeliver>(effect);
        lines.push_back("deliver {plumtree_broadcast,{" + to_text(deliver.tag) + "," + to_text(deliver.payload) + "}}");
      }
    }
    return sorted(std::move(lines));
  }

  Plumtree machine{{}, MonotonicTime(std::chrono::hours(1))};

 private:
  void event(const Term& term) {
    if (term.is_atom("left")) {
      machine.leave();
    } else if (term.is_tagged("peer_up", 2)) {
      machine.peer_up(*term[1].as_atom(), NewPeer::eager, now_, effects_);
    } else {
      machine.peer_down(*term[1].as_atom());
    }
  }

  void message(const Term& term) {
    Atom from = "a@127.0.0.1";
    if (term.is_tuple(2) && term[1].is_tuple()) from = term[1].elements().back().as_atom().value_or(from);
    const auto decoded = decode_plumtree(term, from);
    if (decoded) machine.receive(from, *decoded, now_, effects_);
  }

  void pass(Milliseconds duration) {
    const auto end = now_ + duration;
    for (auto next = machine.deadline(); next && *next <= end; next = machine.deadline()) {
      now_ = *next;
      machine.tick(now_, effects_);
    }
    now_ = end;
  }

  OwnRecord own_;
  MonotonicTime now_{std::chrono::hours(1)};
  PlumtreeEffects effects_;
};

TEST(PlumtreeVectors, each_step_has_the_effects_that_it_has_in_erlang_or_better_ones) {
  const auto cases = read_vectors("membership_behaviour_plumtree.json");
  std::size_t better_used = 0;
  for (const auto& row : cases.as_array()) {
    const auto name = text_of(row, "name");
    const auto found = better_cases().find(name);
    SCOPED_TRACE(name + (found == better_cases().end() ? "" : ": " + found->second.reason));
    better_used += found == better_cases().end() ? 0U : 1U;
    Replay replay(*parse_term(text_of(row, "self"))->as_atom());
    std::size_t number = 0;
    for (const auto& step : row.at("steps").as_array()) {
      SCOPED_TRACE("step " + std::to_string(number));
      Better better;
      if (found != better_cases().end() && found->second.steps.contains(number)) {
        better = found->second.steps.at(number);
      }
      replay.step(step);
      const auto peers = replay.machine.peers();
      const Lines effects = expected_effects(step);
      const Lines eager = texts(step.at("eager"));
      const Lines lazy = texts(step.at("lazy"));
      EXPECT_EQ(replay.take_effects(), better.effects.value_or(effects));
      EXPECT_EQ(texts(peers.eager), better.eager.value_or(eager));
      EXPECT_EQ(texts(peers.lazy), better.lazy.value_or(lazy));
      EXPECT_EQ(replay.machine.cached_ids(), step.at("cached").to_number<std::size_t>());
      EXPECT_EQ(replay.machine.missing(), step.at("pending_ihaves").to_number<std::size_t>());
      // A difference that is none any more must leave the table.
      EXPECT_TRUE(!better.effects || *better.effects != effects);
      EXPECT_TRUE(!better.eager || *better.eager != eager);
      EXPECT_TRUE(!better.lazy || *better.lazy != lazy);
      ++number;
    }
  }
  EXPECT_EQ(cases.as_array().size(), 23U);
  EXPECT_EQ(better_used, better_cases().size());
}

}  // namespace
}  // namespace barrel_p2p::test
