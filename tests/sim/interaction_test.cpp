// Interaction scripts: what the nodes of a small cluster say to each other, as a story that people read.
//
// tests/interactions/overlay_*.txt and gossip_*.txt hold commands, each block followed by a line `----` and by all that
// happened meanwhile, in virtual milliseconds. The network is an even one: 10 ms each way, no losses. A change of
// behaviour is a difference of these files: BARREL_P2P_REWRITE=1 renews them.
//
//   seed N, set KEY VALUE                 before `nodes`
//   hide KIND...                          leaves out messages with these first words, and no others; `hide all` all
//   nodes NAME...                         start, and know nobody
//   join NODE CONTACT, leave NODE, broadcast NODE WORD
//   crash NODE, stop NODE, restart NODE, pause NODE, resume NODE
//   slow NODE TIME                        it needs so long for each message
//   cut NAME... | NAME...                 groups that do not reach each other
//   heal
//   run TIME                              `10s`, `500ms`
//   views, trees                          who lists whom; who pushes to whom, and (in brackets) only announces
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "overlay/hyparview_support.hpp"
#include "sim/simulation.hpp"
#include "support/script.hpp"

namespace barrel_p2p::sim {
namespace {

using overlay::test::short_name;
using Words = std::vector<std::string>;

Words words_of(const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

SimTime time_of(const std::string& word) {
  std::size_t digits = 0;
  const std::uint64_t number = std::stoull(word, &digits);
  const std::string unit = word.substr(digits);
  if (unit == "ms") return Milliseconds(number);
  if (unit == "s") return std::chrono::seconds(number);
  throw std::invalid_argument("a time is written 10s or 500ms, not " + word);
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

std::string sorted_list(const std::vector<Atom>& nodes) {
  std::vector<std::string> names;
  for (const auto& node : nodes) names.push_back(short_name(node));
  std::ranges::sort(names);
  std::string text;
  for (const auto& name : names) text += " " + name;
  return text;
}

class Story {
 public:
  Story() {
    config_.network.delay = {
        .kind = Delay::Kind::constant, .low = Milliseconds(10), .high = Milliseconds(10), .sigma = 0};
    config_.network.handshake_work = SimTime::zero();
  }

  /// The script with all that happened in place of all that was expected.
  std::string replay(std::istream& script) {
    bool expected = false;
    for (std::string line; std::getline(script, line);) {
      if (expected && !line.empty()) continue;
      expected = line == "----";
      text_ += line + '\n';
      if (expected) {
        text_ += std::exchange(happened_, {});
      } else if (!line.empty() && line.front() != '#') {
        command(words_of(line));
      }
    }
    EXPECT_EQ(happened_, "") << "the script ends without ----";
    return text_;
  }

 private:
  using Command = void (Story::*)(const Words& words);

  void command(const Words& words) {
    static const std::map<std::string, Command, std::less<>> commands{
        {"seed", &Story::seed},   {"set", &Story::set},       {"hide", &Story::hide},
        {"nodes", &Story::nodes}, {"join", &Story::join},     {"leave", &Story::leave},
        {"crash", &Story::crash}, {"stop", &Story::stop},     {"restart", &Story::restart},
        {"pause", &Story::pause}, {"resume", &Story::resume}, {"slow", &Story::slow},
        {"cut", &Story::cut},     {"heal", &Story::heal},     {"broadcast", &Story::broadcast},
        {"run", &Story::run},     {"views", &Story::views},   {"trees", &Story::trees},
    };
    const auto found = commands.find(words.at(0));
    if (found == commands.end()) throw std::invalid_argument("no such command: " + words.at(0));
    (this->*found->second)(words);
  }

  // Before the nodes.
  void seed(const Words& words) { config_.seed = std::stoull(words.at(1)); }
  void set(const Words& words) {
    const auto value = static_cast<std::uint32_t>(std::stoul(words.at(2)));
    auto& view = config_.overlay.hyparview;
    if (words.at(1) == "active_size") {
      view.active_size = value;
    } else if (words.at(1) == "passive_size") {
      view.passive_size = value;
    } else if (words.at(1) == "optimisation_threshold") {
      config_.overlay.plumtree.optimisation_threshold = value;
    } else {
      throw std::invalid_argument("cannot set " + words.at(1));
    }
  }
  void hide(const Words& words) { hidden_.assign(words.begin() + 1, words.end()); }
  void nodes(const Words& words) {
    simulation_ = std::make_unique<Simulation>(config_);
    simulation_->on_effect = [this](NodeIndex node, const overlay::Effect& effect) { write(node, effect); };
    for (auto word = words.begin() + 1; word != words.end(); ++word) {
      numbers_[*word] = simulation_->add_node(Atom(*word + "@sim"));
      simulation_->start(numbers_[*word], {});
    }
  }

  void join(const Words& words) { simulation_->join(node(words, 1), node(words, 2)); }
  void leave(const Words& words) { simulation_->leave(node(words, 1)); }
  void crash(const Words& words) { simulation_->crash(node(words, 1)); }
  void stop(const Words& words) { simulation_->stop(node(words, 1)); }
  void restart(const Words& words) { simulation_->start(node(words, 1), {}); }
  void pause(const Words& words) { simulation_->pause(node(words, 1)); }
  void resume(const Words& words) { simulation_->resume(node(words, 1)); }
  void slow(const Words& words) { simulation_->engine().set_processing(node(words, 1), time_of(words.at(2))); }
  void cut(const Words& words) {
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
  void heal(const Words& /*words*/) { simulation_->engine().heal(); }
  void broadcast(const Words& words) { simulation_->broadcast(node(words, 1), Atom("news"), Atom(words.at(2))); }
  void run(const Words& words) { simulation_->run_for(time_of(words.at(1))); }
  void views(const Words& /*words*/) {
    for (const NodeIndex each : living()) {
      const auto& view = simulation_->overlay_of(each).membership();
      line(name_of(each) + " lists" + sorted_list(view.active_view()) + ", knows" + sorted_list(view.passive_view()));
    }
  }
  void trees(const Words& /*words*/) {
    for (const NodeIndex each : living()) {
      const auto peers = simulation_->overlay_of(each).gossip().peers();
      const std::string lazy = sorted_list(peers.lazy);
      line(name_of(each) + " pushes to" + sorted_list(peers.eager) + (lazy.empty() ? "" : " (" + lazy.substr(1) + ")"));
    }
  }

  void write(NodeIndex node, const overlay::Effect& effect) {
    if (const auto* sent = std::get_if<overlay::SendMessage>(&effect)) {
      const std::string text = text_of(sent->message);
      if (std::ranges::find(hidden_, text.substr(0, text.find(' '))) == hidden_.end())
        say(name_of(node) + " > " + short_name(sent->to) + "  " + text);
    } else if (const auto* connect = std::get_if<overlay::Connect>(&effect)) {
      say(name_of(node) + " dials " + short_name(connect->node));
    } else if (const auto* up = std::get_if<overlay::MembershipUp>(&effect)) {
      say(name_of(node) + " has " + short_name(up->node) + " up");
    } else if (const auto* down = std::get_if<overlay::MembershipDown>(&effect)) {
      say(name_of(node) + " has " + short_name(down->node) + " down: " + std::string(overlay::name(down->reason)));
    } else if (std::holds_alternative<overlay::MembershipLeft>(effect)) {
      say(name_of(node) + " has left");
    } else if (const auto* delivered = std::get_if<overlay::Deliver>(&effect)) {
      say(name_of(node) + " delivers " + to_text(delivered->payload[1]));
    }
  }
  void say(const std::string& what) {
    if (hidden_ != Words{"all"}) line(what);
  }
  void line(const std::string& what) {
    const auto now = std::chrono::duration_cast<Milliseconds>(simulation_->engine().now());
    const std::string time = std::to_string(now.count());
    happened_ += std::string(std::max<std::size_t>(7, time.size()) - time.size(), ' ') + time + "  " + what + '\n';
  }
  [[nodiscard]] NodeIndex node(const Words& words, std::size_t at) const {
    const auto found = numbers_.find(words.at(at));
    if (found == numbers_.end()) throw std::invalid_argument("no such node: " + words.at(at));
    return found->second;
  }
  [[nodiscard]] std::vector<NodeIndex> living() const {
    std::vector<NodeIndex> nodes;
    for (NodeIndex each = 0; each < simulation_->size(); ++each) {
      if (simulation_->engine().is_alive(each)) nodes.push_back(each);
    }
    return nodes;
  }
  [[nodiscard]] std::string name_of(NodeIndex node) const { return short_name(simulation_->name_of(node)); }

  SimulationConfig config_;
  std::unique_ptr<Simulation> simulation_;
  std::map<std::string, NodeIndex, std::less<>> numbers_;
  Words hidden_;
  std::string text_;
  std::string happened_;
};

std::vector<std::string> scripts() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(BARREL_P2P_INTERACTIONS_DIR)) {
    const std::string name = entry.path().stem().string();
    if (name.starts_with("overlay_") || name.starts_with("gossip_")) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

class Interaction : public testing::TestWithParam<std::string> {};

TEST_P(Interaction, goes_as_the_script_tells) {
  const std::string name = GetParam() + ".txt";
  std::ifstream script(std::filesystem::path(BARREL_P2P_INTERACTIONS_DIR) / name);
  Story story;
  test::compare_with_script(name, story.replay(script));
}
INSTANTIATE_TEST_SUITE_P(Scripts, Interaction, testing::ValuesIn(scripts()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace barrel_p2p::sim
