// What the nodes of the demo do: they take cues through their standard input and say what they see.
#include "nodes.hpp"

#include <unistd.h>

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace demo {
namespace {

using namespace barrel_p2p;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::string milliseconds(Clock::duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) + " ms";
}

void say(const std::string& text) {
  const std::string line = text + "\n";
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::_Exit(1);  // nobody listens any more
}

/// bob's server: keeps a sum.
struct Till : Server {
  std::int64_t sum = 0;
  Task<std::optional<Term>> handle_call(Process& /*self*/, Term /*request*/, CallFrom /*from*/) override {
    co_return std::optional<Term>(sum);
  }
  Task<> handle_cast(Process& /*self*/, Term amount) override {
    sum += amount.as_int64().value_or(0);
    co_return;
  }
};

/// carol's process: sends back whatever comes, as {echo, Message}.
Task<> echo(Process& self) {
  for (;;) {
    const Term message = co_await self.receive();
    if (message.is_tuple(2) && message[0].is_pid()) {
      co_await self.send(*message[0].as_pid(), Term::tuple_of(Atom("echo"), message[1]));
    }
  }
}

/// What alice does first: talks to both, and leaves a link and a monitor behind that tell of bob's end.
Task<> tour(Process& self, Pid till) {
  const NodeName carol("carol@127.0.0.1");
  co_await self.send(RemoteName("echo", carol), Term::tuple_of(self.pid(), "good morning"));
  const Term back = co_await self.receive();
  say("I sent a message by name to carol's echo; it came back: " + to_text(back));

  for (std::int64_t amount = 1; amount <= 1000; ++amount) co_await self.cast(till, Term(amount));
  const auto before = Clock::now();
  const auto sum = co_await self.call(till, Atom("sum"));
  if (!sum) throw std::runtime_error(sum.error().message());
  say("I sent the till 1000 amounts by pid and asked for the sum: " + to_text(*sum) + " (the call took " +
      milliseconds(Clock::now() - before) + ")");

  self.trap_exit(true);
  self.link(till);
  const Ref monitor = self.monitor(till);
  (void)monitor;
  self.monitor_nodes();
  // A worker whose failure must not take me with it: I trap exits.
  const Pid child = self.spawn_link([](Process& /*child*/) -> Task<> {
    throw std::runtime_error("out of paper");
    co_return;
  });
  const Term failed = co_await self.receive();
  say("I started a linked worker that failed; its link told me why: " + to_text(failed[2]));
  (void)child;
  say("I have linked to bob's server and monitor it, and I watch nodes come and go");
  for (;;) {
    const Term message = co_await self.receive();
    if (message.is_tagged("EXIT", 3)) say("my link to bob's server broke: " + to_text(message[2]));
    if (message.is_tagged("DOWN", 5)) say("my monitor of it says: " + to_text(message[4]));
    if (message.is_tagged("nodedown", 2)) say("node " + to_text(message[1]) + " is down");
    if (message.is_tagged("nodeup", 2)) say("node " + to_text(message[1]) + " is up");
  }
}

/// The neighbours of a node, as its events tell.
class Neighbours {
 public:
  explicit Neighbours(Node& node)
      : subscription_(node.subscribe([this](const MembershipEvent& event) {
          const std::lock_guard lock(mutex_);
          if (event.kind == MembershipEvent::Kind::up) names_.insert(event.node.string());
          if (event.kind == MembershipEvent::Kind::down) names_.erase(event.node.string());
          changed_.notify_all();
        })) {}
  /// Waits until the node is one, or is none.
  bool await(const std::string& name, bool listed) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 10s, [&] { return names_.contains(name) == listed; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> names_;
  Subscription subscription_;  // the first to go
};

bool eventually(const std::function<bool()>& condition) {
  const auto end = Clock::now() + 10s;
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// What is in the map of prices: `bread 3, milk 1`.
std::string prices(const Node& node) {
  std::map<std::string, std::int64_t> all;
  for (const auto& [thing, price] : node.map_to_list("prices")) {
    all[thing.as_string().value_or("?")] = price.as_int64().value_or(0);
  }
  std::string list;
  for (const auto& [thing, price] : all) list += (list.empty() ? "" : ", ") + thing + " " + std::to_string(price);
  return list.empty() ? "nothing" : list;
}

/// Finds the till by its name, wherever it is, and starts the tour.
bool begin_tour(Node& node) {
  const auto till = node.resolve("till", 10s);
  const auto entries = node.lookup("till");
  if (!till || !entries) return false;
  say("I looked up the service till: it runs on " + till->node.string() + ", and takes " +
      to_text(entries->front().meta));
  node.spawn([pid = till->pid](Process& self) { return tour(self, pid); });
  return true;
}

std::string text(const std::vector<NodeName>& view) {
  std::string list;
  for (const auto& name : view) list += (list.empty() ? "" : ", ") + std::string(name.name());
  return list.empty() ? "nobody" : list;
}

NodeConfig config_of(const std::string& role, const std::string& directory) {
  NodeConfig config;
  config.name = role.substr(0, role.find('-')) + "@127.0.0.1";
  config.cookie = "the demo's own cookie";
  config.data_dir = std::filesystem::path(directory) / role;
  config.discovery_dir = std::filesystem::path(directory) / "discovery";
  config.log_level = LogLevel::warning;
  config.log_sink = [](LogLevel /*level*/, std::string_view line) {
    // Nothing that a demo should dwell on.
    if (line.find("did not run for") != std::string_view::npos) say(std::string(line));
  };
  config.publish = role != "bob-impostor";
  if (role == "bob" || role == "carol") config.membership.contacts = {"alice@127.0.0.1"};
  return config;
}

/// One node, and what it says of what happens to it.
class Player {
 public:
  Player(Node node, std::string role) : node_(std::move(node)), role_(std::move(role)), neighbours_(node_) {}

  /// False: it cannot go on.
  bool prepare() {
    MapOptions map;
    map.persist = role_ == "bob";
    if (!node_.new_map("prices", map)) return false;
    if (role_ == "bob") {
      const Pid till = node_.spawn(serve([] { return std::make_unique<Till>(); }));
      if (!node_.register_service("till", till, Term::map({{Atom("currency"), Atom("euro")}}))) return false;
      say("my durable map of prices has: " + prices(node_));
    }
    if (role_ == "carol" && !node_.register_process("echo", node_.spawn(echo))) return false;
    subscribe();
    say("ready, my key is " + node_.fingerprint().substr(0, 16) + "...");
    return true;
  }
  /// A cue is a word and what belongs to it. False: it cannot go on.
  bool act(const std::string& cue) {
    const auto space = std::min(cue.find(' '), cue.size());
    const std::string word = cue.substr(0, space);
    const std::string rest = cue.substr(std::min(space + 1, cue.size()));
    if (word == "connect") return connect(NodeName(rest));
    if (word == "join" || word == "part") return neighbourhood(rest, word == "join");
    if (word == "tell") return node_.broadcast(Atom("news"), rest).has_value();
    if (word == "keys") return keys();
    if (word == "watch") return watch();
    if (word == "tour") return begin_tour(node_);
    if (word == "price") return price(rest);
    if (word == "campaign") return campaign(std::stoi(rest));
    if (word == "follow") return follow(NodeName(rest)) && campaign(0);
    if (word == "shards") return shards(std::stoul(rest));
    if (word == "remind") return remind(NodeName(rest));
    return false;
  }
  void stop() {
    candidacy_.reset();
    node_.stop();
  }

 private:
  void subscribe() {
    subscriptions_.push_back(node_.subscribe_broadcast(
        Atom("news"), [](const Term& payload) { say("I heard the news: " + payload.as_string().value_or("?")); }));
    if (auto events = node_.subscribe_map("prices", [](const MapEvent& event) {
          say(event.key.as_string().value_or("?") + " costs " + to_text(event.value) + " now");
        })) {
      subscriptions_.push_back(std::move(*events));
    }
    subscriptions_.push_back(node_.subscribe_services([](const ServiceEvent& event) {
      if (event.kind == ServiceEvent::Kind::node_lost) {
        say("the service " + std::string(event.name.text()) + " is gone");
      }
    }));
    subscriptions_.push_back(node_.subscribe_reminders([](const ReminderEvent& event) {
      say("it is time: " + event.key.as_string().value_or("?") + " (" + milliseconds(event.lateness) + " late)");
    }));
  }
  bool connect(const NodeName& peer) {
    const auto before = Clock::now();
    const auto connected = node_.connect(peer);
    if (connected) {
      say("connected to " + peer.string() + " in " + milliseconds(Clock::now() - before) +
          ": QUIC, mutual Ed25519 proof, cookie");
    } else {
      say("cannot connect to " + peer.string() + ": " + connected.error().message());
    }
    return true;
  }
  bool neighbourhood(const std::string& peer, bool listed) {
    if (!neighbours_.await(peer, listed)) return false;
    say("my neighbours: " + text(node_.active_view()) + "; I also know: " + text(node_.passive_view()));
    return true;
  }
  bool keys() {
    for (const auto& key : node_.keys()) {
      say("I know " + key.node.string() + " by the key " + key.fingerprint.substr(0, 16) + "...");
    }
    return true;
  }
  bool watch() {
    node_.spawn([](Process& self) -> Task<> {
      self.monitor_nodes();
      say("watching");
      for (;;) {
        const Term message = co_await self.receive();
        say("node " + to_text(message[1]) + (message[0].is_atom("nodedown") ? " is down" : " is up"));
      }
    });
    return true;
  }
  bool price(const std::string& thing_and_price) {
    const auto space = thing_and_price.rfind(' ');
    const std::string thing = thing_and_price.substr(0, space);
    const auto before = Clock::now();
    if (!node_.map_put("prices", thing, std::stoi(thing_and_price.substr(space)))) return false;
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - before).count();
    say("I have written the price of " + thing + " (" + std::to_string(took) + " us)");
    return true;
  }
  bool campaign(int priority) {
    LeadOptions options;
    options.priority = priority;
    auto candidacy = node_.lead(
        Atom("bookkeeper"), options, [](const Fence& fence) { say("I keep the books, with fence " + fence.text()); },
        [] { say("I do not keep the books any more"); });
    if (!candidacy) return false;
    candidacy_.emplace(std::move(*candidacy));
    return true;
  }
  /// Waits until it is known who leads. (Who campaigns before would lead too, until it hears of the other.)
  bool follow(const NodeName& leader) {
    const auto leads = [&] {
      const auto known = node_.leader(Atom("bookkeeper"));
      return known && known->node == leader;
    };
    if (!eventually(leads)) return false;
    say(leader.string() + " keeps the books; should it go, I would");
    return true;
  }
  bool shards(std::size_t members) {
    if (!eventually([&] { return node_.members().size() == members; })) return false;
    say("of " + std::to_string(node_.ring_size()) + " partitions I own " +
        std::to_string(node_.owned_partitions().size()));
    return true;
  }
  /// Sets a reminder that `owner` tells, and carol if that one is gone.
  bool remind(const NodeName& owner) {
    const NodeName heir("carol@127.0.0.1");
    std::set<std::uint32_t> inherited;
    for (const auto& move : node_.placement_diff({node_.name(), heir})) {
      if (move.from == owner && move.to == heir) inherited.insert(move.partition);
    }
    for (int number = 1; number <= 10'000; ++number) {
      const std::string key = "send invoice " + std::to_string(number);
      if (!inherited.contains(node_.partition(key))) continue;
      if (!node_.remind_after(key, 1s, "")) return false;
      say("I asked for a reminder in one second: " + key + "; its owner is " + node_.place(key)->string());
      return true;
    }
    return false;
  }

  Node node_;
  std::string role_;
  Neighbours neighbours_;
  std::optional<Candidacy> candidacy_;
  std::vector<Subscription> subscriptions_;  // the first to go
};

}  // namespace

int run_node(const std::string& role, const std::string& directory) {
  auto node = Node::start(config_of(role, directory));
  if (!node) {
    say("cannot start: " + node.error().message());
    return 1;
  }
  Player player(std::move(*node), role);
  if (!player.prepare()) return 1;
  for (std::string cue; std::getline(std::cin, cue);) {
    if (!player.act(cue)) {
      say("cannot: " + cue);
      return 1;
    }
  }
  player.stop();
  return 0;
}

}  // namespace demo
