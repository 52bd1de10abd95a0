#include "sim/story.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "overlay/hyparview_support.hpp"

namespace barrel_p2p::sim {
namespace {

using overlay::test::short_name;
Words words_of(const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

/// Broadcasts by their numbers: the simulator writes them into the first bytes of the ids.
std::string id_of(const Term& id) { return "#" + std::to_string((*id.as_binary())[0] + 1); }

struct GossipText {
  std::string operator()(const overlay::Gossip& message) const {
    return "gossip " + id_of(message.id) + " round " + std::to_string(message.round);
  }
  std::string operator()(const overlay::IHave& message) const {
    std::string text = "ihave";
    for (const auto& one : message.announcements) text += " " + id_of(one.id) + " round " + std::to_string(one.round);
    return text;
  }
  std::string operator()(const overlay::Graft& message) const {
    std::string text = "graft";
    for (const auto& id : message.ids) text += " " + id_of(id);
    return text;
  }
  std::string operator()(const overlay::Prune& /*message*/) const { return "prune"; }
};

std::string text_of(const overlay::Message& message) {
  if (const auto* gossip = std::get_if<overlay::PlumtreeMessage>(&message)) return std::visit(GossipText{}, *gossip);
  return overlay::test::text_of(std::get<overlay::HyParViewMessage>(message));
}

}  // namespace

SimTime time_of(const std::string& word) {
  std::size_t digits = 0;
  const std::uint64_t number = std::stoull(word, &digits);
  const std::string unit = word.substr(digits);
  if (unit == "ms") return Milliseconds(number);
  if (unit == "s") return std::chrono::seconds(number);
  throw std::invalid_argument("a time is written 10s or 500ms, not " + word);
}

std::string sorted_list(const std::vector<Atom>& nodes) {
  std::vector<std::string> names;
  for (const auto& node : nodes) names.push_back(short_name(node));
  std::ranges::sort(names);
  std::string text;
  for (const auto& name : names) text += " " + name;
  return text;
}

Story::Story() {
  config_.network.delay = {
      .kind = Delay::Kind::constant, .low = Milliseconds(10), .high = Milliseconds(10), .sigma = 0};
  config_.network.handshake_work = SimTime::zero();
  add_commands();
}

void Story::add_commands() {
  commands_["seed"] = [this](const Words& words) { config_.seed = std::stoull(words.at(1)); };
  commands_["set"] = [this](const Words& words) {
    if (!configure(words.at(1), static_cast<std::uint32_t>(std::stoul(words.at(2))))) {
      throw std::invalid_argument("cannot set " + words.at(1));
    }
  };
  commands_["hide"] = [this](const Words& words) { hidden_.assign(words.begin() + 1, words.end()); };
  commands_["nodes"] = [this](const Words& words) { start(words); };
  commands_["join"] = [this](const Words& words) { simulation_->join(node(words, 1), node(words, 2)); };
  commands_["leave"] = [this](const Words& words) { simulation_->leave(node(words, 1)); };
  commands_["crash"] = [this](const Words& words) { simulation_->crash(node(words, 1)); };
  commands_["stop"] = [this](const Words& words) { simulation_->stop(node(words, 1)); };
  commands_["restart"] = [this](const Words& words) { simulation_->start(node(words, 1), {}); };
  commands_["pause"] = [this](const Words& words) { simulation_->pause(node(words, 1)); };
  commands_["resume"] = [this](const Words& words) { simulation_->resume(node(words, 1)); };
  commands_["slow"] = [this](const Words& words) {
    simulation_->engine().set_processing(node(words, 1), time_of(words.at(2)));
  };
  commands_["cut"] = [this](const Words& words) { cut(words); };
  commands_["heal"] = [this](const Words& /*words*/) { simulation_->engine().heal(); };
  commands_["broadcast"] = [this](const Words& words) {
    simulation_->broadcast(node(words, 1), Atom("news"), Atom(words.at(2)));
  };
  commands_["run"] = [this](const Words& words) { simulation_->run_for(time_of(words.at(1))); };
  commands_["views"] = [this](const Words& /*words*/) { show_views(); };
  commands_["trees"] = [this](const Words& /*words*/) { show_trees(); };
}

std::string Story::replay(std::istream& script) {
  bool expected = false;
  for (std::string line; std::getline(script, line);) {
    if (expected && !line.empty()) continue;
    expected = line == "----";
    text_ += line + '\n';
    if (expected) {
      text_ += std::exchange(happened_, {});
    } else if (!line.empty() && line.front() != '#') {
      const Words words = words_of(line);
      const auto command = commands_.find(words.at(0));
      if (command == commands_.end()) throw std::invalid_argument("no such command: " + words.at(0));
      command->second(words);
    }
  }
  EXPECT_EQ(happened_, "") << "the script ends without ----";
  return text_;
}

bool Story::configure(const std::string& key, std::uint32_t value) {
  auto& view = config_.overlay.hyparview;
  if (key == "active_size") {
    view.active_size = value;
  } else if (key == "passive_size") {
    view.passive_size = value;
  } else if (key == "optimisation_threshold") {
    config_.overlay.plumtree.optimisation_threshold = value;
  } else {
    return false;
  }
  return true;
}

void Story::start(const Words& names) {
  simulation_ = std::make_unique<Simulation>(config_);
  simulation_->on_effect = [this](NodeIndex node, const overlay::Effect& effect) { write(node, effect); };
  began();
  for (auto word = names.begin() + 1; word != names.end(); ++word) {
    numbers_[*word] = simulation_->add_node(Atom(*word + "@sim"));
    simulation_->start(numbers_[*word], {});
  }
}

void Story::cut(const Words& words) {
  std::vector<std::uint16_t> groups(simulation_->size());
  std::uint16_t group = 0;
  for (std::size_t at = 1; at < words.size(); ++at) {
    if (words[at] == "|") {
      ++group;
    } else {
      groups[node(words, at)] = group;
    }
  }
  const std::size_t count = std::size_t{group} + 1;
  std::vector<bool> reach(count * count);
  for (std::size_t at = 0; at < count; ++at) reach[at * count + at] = true;
  simulation_->engine().set_reachability(std::move(groups), std::move(reach));
}

void Story::show_views() {
  for (const NodeIndex each : living()) {
    const auto& view = simulation_->overlay_of(each).membership();
    line(name_of(each) + " lists" + sorted_list(view.active_view()) + ", knows" + sorted_list(view.passive_view()));
  }
}

void Story::show_trees() {
  for (const NodeIndex each : living()) {
    const auto peers = simulation_->overlay_of(each).gossip().peers();
    const std::string lazy = sorted_list(peers.lazy);
    line(name_of(each) + " pushes to" + sorted_list(peers.eager) + (lazy.empty() ? "" : " (" + lazy.substr(1) + ")"));
  }
}

void Story::write(NodeIndex node, const overlay::Effect& effect) {
  if (const auto* sent = std::get_if<overlay::SendMessage>(&effect)) {
    const std::string text = text_of(sent->message);
    say(name_of(node), text.substr(0, text.find(' ')), "> " + short_name(sent->to) + "  " + text);
  } else if (const auto* connect = std::get_if<overlay::Connect>(&effect)) {
    say(name_of(node), "dials", "dials " + short_name(connect->node));
  } else if (const auto* up = std::get_if<overlay::MembershipUp>(&effect)) {
    say(name_of(node), "up", "has " + short_name(up->node) + " up");
  } else if (const auto* down = std::get_if<overlay::MembershipDown>(&effect)) {
    say(name_of(node), "down", "has " + short_name(down->node) + " down: " + std::string(overlay::name(down->reason)));
  } else if (std::holds_alternative<overlay::MembershipLeft>(effect)) {
    say(name_of(node), "left", "has left");
  } else if (const auto* delivered = std::get_if<overlay::Deliver>(&effect)) {
    if (delivered->tag == Term(Atom("news"))) {
      say(name_of(node), "delivers", "delivers " + to_text(delivered->payload[1]));
    }
  }
}

void Story::say(const std::string& who, const std::string& kind, const std::string& what) {
  shown_ = hidden_ != Words{"all"} && std::ranges::find(hidden_, kind) == hidden_.end();
  if (shown_) line(who + " " + what);
}

std::string Story::at_now(const std::string& what) const {
  const auto now = std::chrono::duration_cast<Milliseconds>(simulation_->engine().now());
  const std::string time = std::to_string(now.count());
  return std::string(std::max<std::size_t>(7, time.size()) - time.size(), ' ') + time + "  " + what;
}

void Story::line(const std::string& what) { happened_ += at_now(what) + '\n'; }

bool Story::continues(const std::string& what) const {
  const auto end = happened_.rfind('\n', happened_.size() < 2 ? std::string::npos : happened_.size() - 2);
  return happened_.substr(end == std::string::npos ? 0 : end + 1).starts_with(at_now(what));
}

void Story::extend(const std::string& what) {
  if (shown_) happened_.insert(happened_.size() - 1, what);
}

NodeIndex Story::node(const Words& words, std::size_t at) const {
  const auto found = numbers_.find(words.at(at));
  if (found == numbers_.end()) throw std::invalid_argument("no such node: " + words.at(at));
  return found->second;
}

std::vector<NodeIndex> Story::living() const {
  std::vector<NodeIndex> nodes;
  for (NodeIndex each = 0; each < simulation_->size(); ++each) {
    if (simulation_->engine().is_alive(each)) nodes.push_back(each);
  }
  return nodes;
}

std::string Story::name_of(NodeIndex node) const { return short_name(simulation_->name_of(node)); }

}  // namespace barrel_p2p::sim
