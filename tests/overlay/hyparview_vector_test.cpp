// HyParView against recorded steps of the Erlang implementation.
//
// Each step must have the same effects and leave the same views, but for the cases in `different`: there the Erlang
// implementation crashes, forgets or repeats something. What this machine does instead stands in
// tests/interactions/hyparview_done_better.txt. Hellos, the sample that a newcomer gets, and the order of the effects
// of a step are not compared.
#include <gtest/gtest.h>

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <boost/json.hpp>
#include <map>
#include <string>

#include "overlay/hyparview_support.hpp"
#include "overlay/messages.hpp"
#include "support/script.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::overlay::test {
namespace {

namespace json = boost::json;
using barrel_p2p::test::compare_with_script;
using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;

Atom atom_of(const json::value& text) { return *parse_term(std::string(text.as_string()))->as_atom(); }

Lines names_of(const json::value& list) {
  Lines names;
  for (const auto& element : list.as_array()) names.push_back(short_name(atom_of(element)));
  std::ranges::sort(names);
  return names;
}

Lines sorted(const std::vector<Atom>& nodes) {
  Lines names;
  for (const auto& node : nodes) names.push_back(short_name(node));
  std::ranges::sort(names);
  return names;
}

std::string list_of(const Lines& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : " ") + name;
  return "[" + text + "]";
}

std::string effect_text(const json::object& effect) {
  const std::string kind(effect.at("kind").as_string());
  if (kind == "connect") return "connect " + short_name(atom_of(effect.at("node")));
  if (kind == "crash") return "crash";
  const Term term = *parse_term(std::string(effect.at("term").as_string()));
  if (kind == "event") {
    if (term.is_atom("left")) return "left";
    const auto node = short_name(*term[1].as_atom());
    return term.is_tagged("peer_up", 2) ? "up " + node : "down " + node + " " + term[2].as_atom()->string();
  }
  const Term to = *parse_term(std::string(effect.at("to").as_string()));
  const auto message = decode_hyparview(term, Atom("scu@127.0.0.1"));
  return (message ? text_of(*message) : "undecodable") + " > " + short_name(*to[1].as_atom());
}

Lines effects_of(const json::object& step) {
  Lines lines;
  for (const auto& effect : step.at("effects").as_array()) {
    if (effect.at("kind").as_string() != "reply") lines.push_back(effect_text(effect.as_object()));
  }
  return lines;
}

HyParViewConfig config_of(const std::string& text) {
  HyParViewConfig config;
  const Term given = *parse_term(text);
  config.active_size = given.get<std::size_t>(Atom("active_size")).value_or(config.active_size);
  config.passive_size = given.get<std::size_t>(Atom("passive_size")).value_or(config.passive_size);
  return config;
}

/// The node that a recorded message speaks for: the bridge of the Erlang implementation trusts the record.
std::string speaker(const Term& envelope) {
  const Term& message = envelope[2];
  if (!message.is_tuple() || message.size() == 0) return "x@127.0.0.1";
  const Term& last = message[message.size() - 1];
  return last.is_tuple() && last.size() > 1 && last[1].as_atom() ? last[1].as_atom()->string() : "x@127.0.0.1";
}

class Replay {
 public:
  explicit Replay(const json::object& test)
      : machine_(config_of(std::string(test.at("config").as_string())), Atom("scu@127.0.0.1")) {}

  Lines step(const json::object& step) {
    const std::string input(step.at("input").as_string());
    const std::string node = step.contains("node") ? atom_of(step.at("node")).string() : "";
    if (input == "up") return machine_.up(node);
    if (input == "down") return machine_.down(node);
    if (input == "connect_failed") return machine_.connect_failed(node);
    if (input == "pending_timeout") return machine_.pass(machine_.view.config().pending_timeout), Lines{};
    if (input == "api_call") return call(*parse_term(std::string(step.at("term").as_string())));
    if (input == "message") return message(decode_term(from_hex(barrel_p2p::test::text_of(step, "etf_hex")))->term);
    return {};  // ticks: their times are random here
  }

  [[nodiscard]] const HyParView& view() const { return machine_.view; }

 private:
  Lines call(const Term& call) {
    if (call.is_tagged("join", 2)) return machine_.join(call[1].as_atom()->string());
    if (call.is_atom("leave")) return machine_.leave();
    std::vector<Atom> blocked;
    if (call.is_tuple(2)) blocked.push_back(*call[1].elements().front().as_atom());
    return machine_.block(blocked);
  }

  Lines message(const Term& envelope) {
    const auto from = speaker(envelope);
    const auto decoded = decode_hyparview(envelope, Atom(from));
    if (!decoded) return {};
    // In the recordings nobody had a channel.
    if (std::ranges::find(linked_, from) == linked_.end()) {
      linked_.push_back(from);
      machine_.up_native(from);
    }
    auto effects = machine_.receive(from, *decoded);
    if (std::holds_alternative<Join>(*decoded)) {
      std::erase_if(effects, [](const std::string& line) { return line.starts_with("shuffle_reply"); });
    }
    return effects;
  }

  Machine machine_;
  Lines linked_;
};

constexpr const char* crashes = "the Erlang implementation crashes; bad input is dropped here";
constexpr const char* alone = "who is alone asks at once whomever it hears of";
constexpr const char* paired = "up and down come in turns, for every way into the view";
constexpr const char* agreed = "a walk that ends here leads to a question, so that both sides list each other";
constexpr const char* full = "a member that says it again takes nobody's place";
constexpr const char* asked = "the question goes out when there is a channel, and the node stays known until it agrees";
constexpr const char* kept = "who was lost stays known, and is tried again later";

const std::map<std::string, std::string> different{
    {"join_late_up_after_timeout", "a channel alone makes nobody a neighbour"},
    {"rejoin_active_contact", paired},
    {"recv_join_again_full_evicts_other", full},
    {"recv_join_again_active_size_1_crashes", full},
    {"recv_join_from_passive", "the views are disjoint"},
    {"own_join_overflows_active", "the view never grows beyond its size"},
    {"forward_join_room", agreed},
    {"forward_join_room_at_prwl", agreed},
    {"forward_join_ttl0", agreed},
    {"forward_join_full_no_target", "a walk that cannot go on ends here, and is not lost"},
    {"forward_join_already_active", paired},
    {"forward_join_negative_ttl", "a walk has an end"},
    {"neighbor_low_room", paired},
    {"neighbor_high_full", paired},
    {"neighbor_low_full_already_active", full},
    {"neighbor_bad_priority_crashes", crashes},
    {"neighbor_reply_true", asked},
    {"neighbor_reply_false", asked},
    {"neighbor_up_crashes", crashes},
    {"neighbor_connect_failed", asked},
    {"disconnect_known", "who sent us away is not asked at once"},
    {"disconnect_known_two_active", "who sent us away is not asked at once"},
    {"down_active", kept},
    {"down_active_promotes", kept},
    {"down_active_with_passive_copy", kept},
    {"leave", "leaving tells subscribers of each neighbour, and ends what was begun"},
    {"shuffle_ttl3", "each sample has the own name in it, and not the receiver's"},
    {"shuffle_ttl0", "each sample has the own name in it, and not the receiver's"},
    {"shuffle_contains_receiver_and_active", "each sample has the own name in it, and not the receiver's"},
    {"shuffle_empty", "each sample has the own name in it, and not the receiver's"},
    {"shuffle_reply", alone},
    {"shuffle_tick", "the times of shuffles are the machine's own here"},
    {"passive_size_2", alone},
    {"cleanup_last_seen", alone},
    {"promotion_order", asked},
    {"short_record_crashes", crashes},
    {"long_record_crashes", crashes},
    {"not_a_record_crashes", crashes},
    {"neighbor_reply_non_boolean_crashes", crashes},
    {"join_carrying_own_id", "nobody is a neighbour of itself"},
    {"disconnect_with_high_fail_count", "numbers that others chose mean nothing here"},
    {"forward_join_with_high_fail_count", alone},
    {"join_with_high_fail_count_then_evicted", kept},
    {"neighbor_pending_timeout_then_up", asked},
    {"block_peers", "a blocked node is not announced"},
};

/// What happened to the machine in a step.
std::string describe(const json::object& step) {
  const std::string input(step.at("input").as_string());
  if (step.contains("node")) return input + " " + short_name(atom_of(step.at("node")));
  if (!step.contains("term")) return input;
  const Term term = *parse_term(std::string(step.at("term").as_string()));
  if (input != "message") return to_text(term);
  const auto message = decode_hyparview(term, Atom(speaker(term)));
  return (message ? text_of(*message) : "malformed " + to_text(term[2])) + " < " + short_name(Atom(speaker(term)));
}

std::string indented(const Lines& lines) {
  std::string text;
  for (const auto& line : lines) text += "    " + line + "\n";
  return text;
}

}  // namespace

TEST(HyParViewVectors, every_recorded_step_is_repeated_or_done_better) {
  std::string story;
  const auto recorded = read_vectors("membership_behaviour_hyparview.json");
  for (const auto& entry : recorded.as_array()) {
    const auto& test = entry.as_object();
    const std::string name(test.at("name").as_string());
    if (std::string(test.at("config").as_string()).find("_size => 0") != std::string::npos) continue;  // refused
    Replay replay(test);
    bool equal = true;
    std::string steps;
    for (const auto& item : test.at("steps").as_array()) {
      const auto& step = item.as_object();
      auto expected = effects_of(step);
      auto got = replay.step(step);
      std::ranges::sort(expected);
      std::ranges::sort(got);
      const auto active = sorted(replay.view().active_view());
      const auto passive = sorted(replay.view().passive_view());
      equal = equal && got == expected;
      if (step.contains("active")) equal = equal && active == names_of(step.at("active"));
      if (step.contains("passive")) equal = equal && passive == names_of(step.at("passive"));
      steps += "  " + describe(step) + "\n" + indented(got);
      steps += "    = active " + list_of(active) + ", passive " + list_of(passive) + "\n";
    }
    EXPECT_EQ(equal, !different.contains(name)) << name << "\n" << steps;
    if (!equal && different.contains(name)) story += name + ": " + different.at(name) + "\n" + steps + "\n";
  }
  compare_with_script("hyparview_done_better.txt", story);
}

}  // namespace barrel_p2p::overlay::test
