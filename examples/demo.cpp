// Three nodes as separate operating system processes: what a cluster is like, told as a story.
//
// The narrator starts alice, bob and carol (this program, with a role), gives them cues through their standard input
// and prints what they say. One is killed and one is frozen; the others say what they noticed. Any step that does not
// happen within its time ends the demo with status 1.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace barrel_p2p;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::string milliseconds(Clock::duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) + " ms";
}

// ---- What the nodes do.

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

int run_node(const std::string& role, const std::string& directory) {
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
  auto node = Node::start(config);
  if (!node) {
    say("cannot start: " + node.error().message());
    return 1;
  }
  MapOptions map;
  map.persist = role == "bob";
  if (!node->new_map("prices", map)) return 1;
  if (role == "bob") {
    const Pid till = node->spawn(serve([] { return std::make_unique<Till>(); }));
    if (!node->register_service("till", till, Term::map({{Atom("currency"), Atom("euro")}}))) return 1;
    say("my durable map of prices has: " + prices(*node));
  }
  if (role == "carol") {
    if (!node->register_process("echo", node->spawn(echo))) return 1;
  }
  Neighbours neighbours(*node);
  const Subscription news = node->subscribe_broadcast(
      Atom("news"), [](const Term& payload) { say("I heard the news: " + payload.as_string().value_or("?")); });
  const auto map_events = node->subscribe_map("prices", [](const MapEvent& event) {
    say(event.key.as_string().value_or("?") + " costs " + to_text(event.value) + " now");
  });
  const Subscription service_events = node->subscribe_services([](const ServiceEvent& event) {
    if (event.kind == ServiceEvent::Kind::node_lost) say("the service " + std::string(event.name.text()) + " is gone");
  });
  say("ready, my key is " + node->fingerprint().substr(0, 16) + "...");
  for (std::string cue; std::getline(std::cin, cue);) {
    if (cue.starts_with("connect ")) {
      const NodeName peer(cue.substr(std::strlen("connect ")));
      const auto before = Clock::now();
      const auto connected = node->connect(peer);
      if (connected) {
        say("connected to " + peer.string() + " in " + milliseconds(Clock::now() - before) +
            ": QUIC, mutual Ed25519 proof, cookie");
      } else {
        say("cannot connect to " + peer.string() + ": " + connected.error().message());
      }
    } else if (cue == "tour") {
      if (!begin_tour(*node)) return 1;
    } else if (cue.starts_with("price ")) {
      const auto thing = cue.substr(std::strlen("price "), cue.rfind(' ') - std::strlen("price "));
      const auto before = Clock::now();
      if (!node->map_put("prices", thing, std::stoi(cue.substr(cue.rfind(' '))))) return 1;
      const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - before).count();
      say("I have written the price of " + thing + " (" + std::to_string(took) + " us)");
    } else if (cue == "watch") {
      node->spawn([](Process& self) -> Task<> {
        self.monitor_nodes();
        say("watching");
        for (;;) {
          const Term message = co_await self.receive();
          say("node " + to_text(message[1]) + (message[0].is_atom("nodedown") ? " is down" : " is up"));
        }
      });
    } else if (cue.starts_with("join ") || cue.starts_with("part ")) {
      const std::string peer = cue.substr(std::strlen("join "));
      if (!neighbours.await(peer, cue.starts_with("join "))) continue;
      say("my neighbours: " + text(node->active_view()) + "; I also know: " + text(node->passive_view()));
    } else if (cue.starts_with("tell ")) {
      if (!node->broadcast(Atom("news"), cue.substr(std::strlen("tell ")))) return 1;
    } else if (cue == "keys") {
      for (const auto& key : node->keys()) {
        say("I know " + key.node.string() + " by the key " + key.fingerprint.substr(0, 16) + "...");
      }
    }
  }
  node->stop();
  return 0;
}

// ---- The narrator.

class Actor {
 public:
  Actor(std::string role, const std::string& directory) : role_(std::move(role)) {
    int in[2];
    int out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::execl("/proc/self/exe", "demo", role_.c_str(), directory.c_str(), static_cast<char*>(nullptr));
      std::_Exit(1);
    }
    ::close(in[0]);
    ::close(out[1]);
    cues_ = in[1];
    lines_ = out[0];
  }
  ~Actor() {
    if (cues_ >= 0) ::close(cues_);
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(lines_);
  }
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  void cue(const std::string& text) const {
    const std::string line = text + "\n";
    if (::write(cues_, line.data(), line.size()) < 0) throw std::runtime_error(role_ + " does not listen");
  }
  void signal(int number) const { ::kill(pid_, number); }
  /// Closes its standard input, which ends it, and returns its exit status.
  int end() {
    ::close(std::exchange(cues_, -1));
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  [[nodiscard]] int descriptor() const { return lines_; }
  [[nodiscard]] const std::string& role() const { return role_; }
  std::string buffer;

 private:
  std::string role_;
  pid_t pid_ = -1;
  int cues_ = -1;
  int lines_ = -1;
};

class Story {
 public:
  Story() : began_(Clock::now()) {
    char path[] = "/tmp/barrel_p2p-demo-XXXXXX";
    if (::mkdtemp(path) == nullptr) throw std::runtime_error("no temporary directory");
    directory_ = path;
  }
  ~Story() {
    actors_.clear();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Story(const Story&) = delete;
  Story& operator=(const Story&) = delete;

  void tell(const std::string& text) const { std::cout << "\n" << text << std::endl; }
  Actor& enter(const std::string& role) {
    auto& actor = actors_[role];
    actor = std::make_unique<Actor>(role, directory_);
    await(*actor, "ready");
    return *actor;
  }
  void leave(Actor& actor) {
    const std::string role = actor.role();
    if (actor.end() != 0) throw std::runtime_error(role + " did not end well");
    actors_.erase(role);
  }
  /// It was killed.
  void remove(Actor& actor) { actors_.erase(std::string(actor.role())); }

  /// Prints what all say until `actor` says something that contains `text`. Returns how long that took.
  Clock::duration await(Actor& actor, const std::string& text, std::chrono::seconds limit = 10s) {
    const auto from = Clock::now();
    for (;;) {
      while (const auto line = next_line(actor)) {
        if (line->find(text) != std::string::npos) return Clock::now() - from;
        if (line->starts_with("cannot start")) throw std::runtime_error(actor.role() + " " + *line);
      }
      if (Clock::now() - from > limit) {
        throw std::runtime_error(actor.role() + " did not say \"" + text + "\" within " + milliseconds(limit));
      }
      read_all();
    }
  }

 private:
  std::optional<std::string> next_line(Actor& actor) const {
    const auto end = actor.buffer.find('\n');
    if (end == std::string::npos) return std::nullopt;
    std::string line = actor.buffer.substr(0, end);
    actor.buffer.erase(0, end + 1);
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began_).count();
    std::printf("  %2ld.%03ld  %-12s %s\n", static_cast<long>(now / 1000), static_cast<long>(now % 1000),
                (actor.role() + ":").c_str(), line.c_str());
    std::fflush(stdout);
    return line;
  }
  void read_all() {
    std::vector<pollfd> polled;
    for (const auto& [role, actor] : actors_) polled.push_back({actor->descriptor(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), 100) <= 0) return;
    std::size_t at = 0;
    for (const auto& [role, actor] : actors_) {
      if (polled[at++].revents == 0) continue;
      char bytes[4096];
      const auto count = ::read(actor->descriptor(), bytes, sizeof(bytes));
      if (count > 0) actor->buffer.append(bytes, static_cast<std::size_t>(count));
      if (count == 0) throw std::runtime_error(role + " has gone");
    }
  }

  Clock::time_point began_;
  std::string directory_;
  std::map<std::string, std::unique_ptr<Actor>> actors_;
};

int narrate() {
  std::cout << "Three nodes of one cluster, three processes of this machine. Times are in seconds.\n";
  Story story;
  story.tell("Each makes its own Ed25519 key and takes any UDP port; they find each other through a directory.");
  Actor& alice = story.enter("alice");
  Actor& bob = story.enter("bob");
  Actor& carol = story.enter("carol");

  story.tell("bob and carol know one contact, alice, and join through her; she sends carol's name on a walk, to bob.");
  alice.cue("join bob@127.0.0.1");
  story.await(alice, "my neighbours");
  alice.cue("join carol@127.0.0.1");
  story.await(alice, "my neighbours");
  carol.cue("join bob@127.0.0.1");
  story.await(carol, "my neighbours");

  story.tell("What one says all hear, over a tree that spans the neighbours.");
  carol.cue("tell lunch is ready");
  story.await(alice, "lunch is ready");
  story.await(bob, "lunch is ready");
  story.await(carol, "lunch is ready");

  story.tell("When they connected, each side proved its key; the first key of a name is pinned.");
  carol.cue("watch");
  story.await(carol, "watching");
  alice.cue("keys");
  story.await(alice, "I know bob");
  story.await(alice, "I know carol");

  story.tell(
      "bob has registered a service, a till. alice finds it by its name and gives it work; processes talk by pid,\n"
      "by name, by call. Links and monitors tell of ends.");
  alice.cue("tour");
  story.await(alice, "watch nodes come and go");

  story.tell("They share a map of prices. bob keeps it on disk too: his put returns after the fsync.");
  bob.cue("price bread 3");
  story.await(bob, "I have written the price of bread");
  story.await(alice, "bread costs 3");
  story.await(carol, "bread costs 3");
  carol.cue("price milk 1");
  story.await(alice, "milk costs 1");
  story.await(bob, "milk costs 1");

  story.tell("An impostor has the cookie and says it is bob, but it has another key.");
  Actor& impostor = story.enter("bob-impostor");
  impostor.cue("connect alice@127.0.0.1");
  story.await(impostor, "cannot connect to alice", 15s);
  story.leave(impostor);

  story.tell("bob is killed with SIGKILL: no goodbye, no last packet.");
  bob.signal(SIGKILL);
  const auto killed = Clock::now();
  story.remove(bob);
  story.await(alice, "my link to bob's server broke: noconnection");
  story.await(alice, "my monitor of it says: noconnection");
  story.await(alice, "node 'bob@127.0.0.1' is down");
  const auto noticed = Clock::now() - killed;
  story.await(carol, "node 'bob@127.0.0.1' is down");
  std::cout << "          alice noticed after " << milliseconds(noticed) << "\n";
  alice.cue("part bob@127.0.0.1");
  story.await(alice, "my neighbours: carol;");
  story.await(alice, "the service till is gone", 15s);

  story.tell("While bob is away bread becomes dearer. He comes back with the map from his disk, and hears of it.");
  alice.cue("price bread 4");
  story.await(carol, "bread costs 4");
  Actor& again = story.enter("bob");
  story.await(again, "bread costs 4");
  story.leave(again);

  story.tell("carol is frozen with SIGSTOP: her kernel still answers for her machine, but she does not.");
  carol.signal(SIGSTOP);
  const auto frozen = story.await(alice, "node 'carol@127.0.0.1' is down");
  std::cout << "          alice noticed after " << milliseconds(frozen) << "\n";

  story.tell("carol wakes up. She knows that it was she who was away, and comes back.");
  carol.signal(SIGCONT);
  story.await(carol, "did not run for");
  story.await(alice, "node 'carol@127.0.0.1' is up");
  alice.cue("join carol@127.0.0.1");
  story.await(alice, "my neighbours: carol;");

  story.tell("Both say goodbye; a node that leaves in an orderly way is missed at once.");
  const auto leaving = Clock::now();
  story.leave(carol);
  story.await(alice, "node 'carol@127.0.0.1' is down");
  std::cout << "          alice noticed after " << milliseconds(Clock::now() - leaving) << "\n";
  story.leave(alice);
  std::cout << "\nThat was all.\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    if (argc == 3) return run_node(argv[1], argv[2]);
    return narrate();
  } catch (const std::exception& error) {
    std::cout << "\nThe demo failed: " << error.what() << '\n';
    return 1;
  }
}
