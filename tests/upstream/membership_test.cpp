// Clusters of three C++ nodes c1, c2, c3 and three Erlang nodes e1, e2, e3, which join through either kind: views,
// broadcasts, shuffles, and what becomes of the cluster when nodes of either kind leave, are killed, and come back.
//
// Every test ends with a look at the Erlang nodes: no process of theirs may have ended, but for one that ends by a
// defect of its own. When an Erlang node loses a neighbour it promotes a node of its passive view, and when it reaches
// that one its membership process ends (`case_clause` on `peer_connected`; protocol document 03, section 4.6). It never
// promotes a record of ours, so no C++ node may be the one. Another Erlang node, whose record they made among
// themselves, may be it, and only where Erlang nodes lose a neighbour who could not prevent it: one that was killed, or
// an Erlang one that left. These ends are counted, as the property `own_defects_NODE` of the test.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "node/membership_support.hpp"
#include "upstream/peer.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::ErlangNode;
using test::eventually;
using test::LineProgram;
using test::MembershipLog;
using test::Upstream;

const Term news_tag = Atom("test_news");

/// The broadcasts that one node told its subscribers.
class Ear {
 public:
  void add(const Term& payload) {
    const std::lock_guard lock(mutex_);
    counts_[to_text(payload)] += 1;
    added_.notify_all();
  }
  bool await(const Term& payload, std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    return added_.wait_for(lock, limit, [&] { return counts_.contains(to_text(payload)); });
  }
  std::map<std::string, int> counts() {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable added_;
  std::map<std::string, int> counts_;
};

/// A process that ended with an error, as the log of an Erlang node tells it.
struct Crash {
  std::string process;  ///< Its name or its pid.
  std::string text;

  /// The process of a connection ends with it, and with an error when its peer closes it, as of two connections that
  /// were begun at once.
  [[nodiscard]] bool is_end_of_connection() const {
    return text.find("[quic_dist_controller]") != std::string::npos &&
           (text.find("exit:{connection_closed,") != std::string::npos ||
            text.find("error:{badmatch,{error,{invalid_state,draining}}}") != std::string::npos);
  }
  /// A promotion.
  [[nodiscard]] bool is_their_own() const {
    return process == "barrel_p2p_hyparview" && text.find("{'$gen_cast',{peer_connected,") != std::string::npos &&
           text.find("{case_clause,{{neighbor,") != std::string::npos;
  }
  [[nodiscard]] bool concerns_cpp_node() const { return text.find("{peer_connected,'c") != std::string::npos; }
};

std::vector<Crash> crashes_in(const std::string& log) {
  // Reports are separated by lines that begin with `=`.
  std::vector<Crash> crashes;
  std::istringstream lines(log);
  std::string line;
  bool inside = false;
  while (std::getline(lines, line)) {
    if (line.starts_with("=")) inside = false;
    for (const std::string before : {"** Generic server ", "** State machine ", "Error in process "}) {
      if (!line.starts_with(before)) continue;
      const auto end = line.find(' ', before.size());
      crashes.push_back({line.substr(before.size(), end - before.size()), ""});
      inside = true;
    }
    if (inside) crashes.back().text += line + "\n";
  }
  return crashes;
}

class Mixed : public Upstream {
 protected:
  using Names = std::set<std::string>;
  using Views = std::map<std::string, Names>;

  void SetUp() override {
    Upstream::SetUp();
    if (IsSkipped()) return;
    asker_ = &cluster_.start("asker", [](NodeConfig& config) { config.hidden = true; });
  }
  void TearDown() override {
    if (IsSkipped()) return;
    for (auto& [name, node] : erlang_) no_process_ended_because_of_us(*node);
    for (auto& [name, node] : cpp_) EXPECT_EQ(node->overlay_statistics().malformed, 0U) << name;
    subscriptions_.clear();
  }

  // Nodes. Their names are full ones everywhere.

  static std::string full(const std::string& short_name) { return short_name + "@127.0.0.1"; }
  static bool is_erlang(const std::string& name) { return name.starts_with("e"); }
  Node& cpp(const std::string& short_name) { return *cpp_.at(full(short_name)); }
  ErlangNode& erlang(const std::string& short_name) { return *erlang_.at(full(short_name)); }

  void start_cpp(const std::string& short_name) {
    Node& node = cluster_.start(short_name, [&](NodeConfig& config) {
      config.membership.shuffle_period = 2s;
      config.membership.active_size = active_size_;
    });
    cpp_[full(short_name)] = &node;
    auto ear = std::make_shared<Ear>();
    ears_[full(short_name)] = ear;
    subscriptions_.push_back(node.subscribe_broadcast(news_tag, [ear](const Term& payload) { ear->add(payload); }));
  }
  /// A C++ node as a process of the operating system.
  void start_program(const std::string& short_name, const std::string& contact) {
    const auto config = cluster_.config(short_name);
    auto program = std::make_unique<LineProgram>(
        std::vector<std::string>{BARREL_P2P_COMMAND, "node", "--name", config.name, "--cookie", config.cookie, "--data",
                                 config.data_dir.string(), "--discovery-dir", config.discovery_dir.string(), "--join",
                                 full(contact)},
        config.discovery_dir.parent_path() / (short_name + ".log"));
    ASSERT_TRUE(program->read_line(20s).has_value());
    programs_.insert_or_assign(config.name, std::move(program));
    listen_from_afar(config.name);
  }
  void start_erlang(const std::string& short_name) {
    if (IsSkipped()) return;
    auto node = std::make_unique<ErlangNode>(cluster_, short_name);
    processes_[full(short_name)] = node->processes();
    // Connected before they become members: when two of them dial each other at once, as newcomers make them do, one
    // may never answer again (protocol document 01, section 5.5).
    for (auto& [name, other] : erlang_) {
      ASSERT_EQ(node->eval("net_kernel:connect_node('" + name + "')"), Atom("true"));
      ASSERT_TRUE(other->lists(node->name()));
    }
    erlang_.insert_or_assign(full(short_name), std::move(node));
    listen_from_afar(full(short_name));
  }
  void kill(const std::string& short_name) {
    const std::string name = full(short_name);
    if (is_erlang(name)) {
      no_process_ended_because_of_us(erlang(short_name));
      erlang(short_name).kill();
      erlang_.erase(name);
    } else {
      programs_.at(name)->kill();
      programs_.erase(name);
    }
    lost_neighbours_ = true;
    ears_.erase(name);
    asker_->disconnect(name);  // it asks whoever bears the name next
  }
  [[nodiscard]] Names running() const {
    Names names;
    for (const auto& [name, node] : cpp_) names.insert(name);
    for (const auto& [name, node] : programs_) names.insert(name);
    for (const auto& [name, node] : erlang_) names.insert(name);
    return names;
  }
  [[nodiscard]] std::vector<Node*> cpp_nodes() const {
    std::vector<Node*> nodes;
    nodes.reserve(cpp_.size());
    for (const auto& [name, node] : cpp_) nodes.push_back(node);
    return nodes;
  }

  // What is asked of a node of another process, by `erpc`.

  Term ask(const std::string& name, const char* module, const char* function, std::vector<Term> arguments = {}) {
    auto answer = asker_->call_function(name, module, function, std::move(arguments));
    return answer ? *answer : Term(Atom(answer.error().message()));
  }
  /// An own process hears what the node's subscribers hear.
  void listen_from_afar(const std::string& name) {
    auto ear = std::make_shared<Ear>();
    ears_[name] = ear;
    const Pid process = asker_->spawn([ear](Process& self) -> Task<> {
      for (;;) {
        const Term message = co_await self.receive();
        if (message.is_tagged("plumtree_broadcast", 2) && message[1][0] == news_tag) ear->add(message[1][1]);
      }
    });
    ASSERT_EQ(ask(name, "barrel_p2p_plumtree", "subscribe", {process}), Atom("ok")) << name;
  }
  void ask_to_join(const std::string& short_name, const std::string& contact) {
    const std::string name = full(short_name);
    if (is_erlang(name)) {
      ASSERT_EQ(ask(name, "barrel_p2p", "join", {Atom(full(contact))}), Atom("ok"));
    } else {
      ASSERT_EQ(word(cpp(short_name).join(full(contact))), "ok");
    }
  }
  void join(const std::string& short_name, const std::string& contact) {
    ask_to_join(short_name, contact);
    const auto joined = [&] {
      const auto active = active_views();
      return active.at(full(short_name)).contains(full(contact)) && active.at(full(contact)).contains(full(short_name));
    };
    ASSERT_TRUE(eventually(cpp_nodes(), joined)) << short_name << " through " << contact << '\n' << picture();
  }
  /// The six, joined through their own and the other kind.
  void start_six() {
    for (const auto* name : {"e1", "e2", "e3"}) start_erlang(name);
    if (IsSkipped()) return;
    for (const auto* name : {"c1", "c2", "c3"}) start_cpp(name);
    join("c1", "e1");
    join("e2", "c1");
    join("c2", "c1");
    join("e3", "e2");
    join("c3", "e3");
    ASSERT_TRUE(becomes_sensible()) << picture();
  }

  // Views.

  static Names names_in(const Term& list) {
    Names names;
    for (const auto& name : list.elements()) names.insert(name.as_atom()->string());
    return names;
  }
  /// Empty while the process that knows is being started anew.
  static constexpr const char* erlang_view = "try barrel_p2p:active_view() catch exit:_ -> [] end";
  Views active_views() {
    Views views;
    for (const auto& [name, node] : cpp_) {
      auto& view = views[name];
      for (const auto& other : node->active_view()) view.insert(other.string());
    }
    for (const auto& [name, program] : programs_) views[name] = names_in(ask(name, "barrel_p2p", "active_view"));
    for (auto& [name, node] : erlang_) views[name] = names_in(node->eval(erlang_view));
    return views;
  }
  /// Those to whom the Erlang nodes gossip, be they in the active view or not.
  Views gossip_views() {
    Views views;
    for (auto& [name, node] : erlang_) {
      // The fields `eager_peers` and `lazy_peers`.
      views[name] = names_in(
          node->eval("(fun(State) -> element(2, State) ++ element(3, State) end)(sys:get_state(barrel_p2p_plumtree))"));
    }
    return views;
  }
  /// - All are connected over active views and gossip.
  /// - Every C++ node lists somebody, and is listed.
  /// - C++ nodes list each other or do not, and list only nodes that run.
  /// - An Erlang node that lists a C++ node is listed by it if there is room, and one that is listed by it gossips to
  ///   it. Dead nodes in their views are their own affair.
  bool is_sensible() {
    const Names all = running();
    const auto active = active_views();
    const auto gossip = gossip_views();
    for (const auto& [name, view] : active) {
      if (!is_erlang(name) && view.empty()) return false;
      for (const auto& other : view) {
        if (!all.contains(other)) {
          if (is_erlang(name)) continue;
          return false;
        }
        if (is_erlang(name) && is_erlang(other)) continue;
        const bool back = active.at(other).contains(name);
        const bool hears = is_erlang(other) && gossip.at(other).contains(name);
        const bool full = is_erlang(name) && active.at(other).size() >= active_size_;
        if (!back && !hears && !full) return false;
      }
    }
    return are_connected(all, active, gossip);
  }
  /// Over active views and gossip of their own, in either direction.
  static bool are_connected(const Names& nodes, const Views& active, const Views& gossip) {
    Views linked;
    for (const auto* views : {&active, &gossip}) {
      for (const auto& [name, view] : *views) {
        for (const auto& other : view) {
          linked[name].insert(other);
          linked[other].insert(name);
        }
      }
    }
    Names reached{*nodes.begin()};
    std::vector<std::string> next(reached.begin(), reached.end());
    while (!next.empty()) {
      const std::string name = next.back();
      next.pop_back();
      for (const auto& other : linked[name]) {
        if (nodes.contains(other) && reached.insert(other).second) next.push_back(other);
      }
    }
    return reached == nodes;
  }
  /// Waits until nothing depends on the node: a young cluster is a tree at first.
  bool becomes_dispensable(const std::string& short_name) {
    return eventually(cpp_nodes(), [&] {
      Names others = running();
      others.erase(full(short_name));
      return are_connected(others, active_views(), gossip_views());
    });
  }
  bool becomes_sensible() {
    const auto begin = std::chrono::steady_clock::now();
    const bool sensible = eventually(cpp_nodes(), [&] { return is_sensible(); });
    const auto took = std::chrono::steady_clock::now() - begin;
    longest_ = std::max(longest_, std::chrono::duration_cast<std::chrono::milliseconds>(took));
    RecordProperty("longest_wait_for_views_ms", static_cast<int>(longest_.count()));
    return sensible;
  }
  /// For reports.
  std::string picture() {
    std::ostringstream text;
    const auto print = [&](const char* what, const Views& views) {
      for (const auto& [name, view] : views) {
        text << name << ' ' << what;
        for (const auto& other : view) text << ' ' << other;
        text << '\n';
      }
    };
    print("lists", active_views());
    print("gossips to", gossip_views());
    return text.str();
  }

  // Broadcasts.

  void broadcast(const std::string& speaker, const Term& payload) {
    if (const auto found = cpp_.find(speaker); found != cpp_.end()) {
      ASSERT_EQ(word(found->second->broadcast(news_tag, payload)), "ok");
    } else {
      ASSERT_EQ(ask(speaker, "barrel_p2p_plumtree", "broadcast", {news_tag, payload}), Atom("ok"));
    }
  }
  /// One of each node reaches all of `hearers`.
  void broadcasts_reach(const Names& hearers, const std::string& occasion) {
    for (const auto& speaker : hearers) {
      const Term payload = Term::tuple({Atom(occasion), Atom(speaker)});
      broadcast(speaker, payload);
      for (const auto& hearer : hearers) {
        EXPECT_TRUE(ears_.at(hearer)->await(payload, 10s))
            << occasion << ": " << speaker << " is not heard by " << hearer << '\n'
            << picture();
      }
    }
  }
  /// Duplicates on their way would come before the broadcasts of a last round.
  void all_came_once() {
    broadcasts_reach(running(), "last");
    for (const auto& [name, ear] : ears_) {
      for (const auto& [payload, count] : ear->counts()) EXPECT_EQ(count, 1) << payload << " at " << name;
    }
  }

  // Processes of Erlang nodes.

  void no_process_ended_because_of_us(ErlangNode& node) {
    const std::string name = node.name().string();
    int own_defects = 0;
    for (const auto& crash : crashes_in(node.log())) {
      if (crash.is_end_of_connection()) continue;
      if (crash.is_their_own() && lost_neighbours_ && !crash.concerns_cpp_node()) {
        ++own_defects;
      } else {
        ADD_FAILURE() << name << ": " << crash.text;
      }
    }
    const std::string short_name = name.substr(0, name.find('@'));
    RecordProperty("own_defects_" + short_name, own_defects);
    // These three are started anew together.
    const Names excused{"barrel_p2p_hyparview", "barrel_p2p_hyparview_shuffle", "barrel_p2p_hyparview_cleanup"};
    const auto now = node.processes();
    for (const auto& [process, pid] : processes_.at(name)) {
      if (own_defects > 0 && excused.contains(process)) continue;
      const auto found = now.find(process);
      EXPECT_TRUE(found != now.end() && found->second == pid) << process << " of " << name;
    }
  }

  std::size_t active_size_ = 5;  ///< Of C++ nodes.
  std::chrono::milliseconds longest_{0};
  bool lost_neighbours_ = false;  ///< Of Erlang nodes, who could not help it.
  Node* asker_ = nullptr;
  std::map<std::string, Node*> cpp_;
  std::map<std::string, std::unique_ptr<LineProgram>> programs_;
  std::map<std::string, std::unique_ptr<ErlangNode>> erlang_;
  std::map<std::string, std::map<std::string, std::string>> processes_;  ///< Of Erlang nodes, as they began.
  std::map<std::string, std::shared_ptr<Ear>> ears_;
  std::vector<Subscription> subscriptions_;
};

/// Waits for one event, whatever comes before it.
bool hears(MembershipLog& log, const std::string& wanted) {
  for (;;) {
    const std::string line = log.next(15s);
    if (line == wanted) return true;
    if (line == "nothing") return false;
  }
}

TEST_F(Mixed, six_join_through_either_kind_and_broadcasts_of_each_reach_all_exactly_once) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  for (const auto* occasion : {"first", "second", "third"}) broadcasts_reach(running(), occasion);
  all_came_once();
}

TEST_F(Mixed, nodes_shuffle_with_the_other_kind) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  // What the membership of the Erlang nodes receives from C++ nodes: their shuffles, and answers to its own.
  for (auto& [name, node] : erlang_) {
    node->eval("erlang:trace(whereis(barrel_p2p_bridge), true, ['receive'])");
    node->start(
        "(fun Await([]) -> done; Await(Kinds) -> receive {trace, _, 'receive', {'$barrel_p2p_hyparview', From, "
        "Message}}"
        " -> case hd(atom_to_list(From)) of $c -> Await(Kinds -- [element(1, Message)]); _ -> Await(Kinds) end"
        " after 60000 -> Kinds end end)([shuffle, shuffle_reply])");
  }
  for (auto& [name, node] : erlang_) EXPECT_EQ(node->finish(80s), Atom("done")) << name;
  for (auto& [name, node] : erlang_) node->eval("erlang:trace(whereis(barrel_p2p_bridge), false, ['receive'])");
  for (Node* node : cpp_nodes()) {
    EXPECT_TRUE(eventually({node}, [&] { return node->overlay_statistics().shuffles > 0; })) << node->name().text();
  }
  EXPECT_TRUE(becomes_sensible()) << picture();
  all_came_once();
}

TEST_F(Mixed, a_cpp_node_leaves_and_joins_again) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  const std::string name = full("c2");
  cpp("c2").leave();
  const auto gone = [&] {
    for (const auto& [other, view] : active_views()) {
      if (view.contains(name)) return false;
    }
    for (const auto& [other, view] : gossip_views()) {
      if (view.contains(name)) return false;
    }
    return cpp("c2").active_view().empty();
  };
  ASSERT_TRUE(eventually(cpp_nodes(), gone)) << picture();
  Names others = running();
  others.erase(name);
  broadcasts_reach(others, "without");
  for (const auto& [payload, count] : ears_.at(name)->counts()) ADD_FAILURE() << payload;
  for (const auto& [other, view] : active_views()) {
    EXPECT_TRUE(is_erlang(other) || !view.contains(name)) << picture();
  }
  join("c2", "e2");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  all_came_once();
}

TEST_F(Mixed, an_erlang_node_leaves_and_joins_again) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  MembershipLog log(cpp("c1"));
  lost_neighbours_ = true;
  ASSERT_EQ(ask(full("e2"), "barrel_p2p", "leave"), Atom("ok"));
  EXPECT_TRUE(hears(log, "down e2@127.0.0.1 graceful"));
  Names others = running();
  others.erase(full("e2"));
  broadcasts_reach(others, "without");
  join("e2", "c3");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  all_came_once();
}

TEST_F(Mixed, a_killed_erlang_node_is_missed_by_nobody_and_comes_back_under_its_name) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  ASSERT_TRUE(becomes_dispensable("e2")) << picture();
  kill("e2");
  broadcasts_reach(running(), "before_it_is_noticed");
  ASSERT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "without");
  // Nobody tells it where to go: the C++ nodes look for those that they lost.
  start_erlang("e2");
  if (IsSkipped()) return;
  ASSERT_TRUE(eventually(cpp_nodes(), [&] { return !active_views().at(full("e2")).empty(); }, 60s));
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  all_came_once();
}

TEST_F(Mixed, a_killed_cpp_node_is_missed_by_nobody_and_comes_back_under_its_name) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  start_program("c4", "e1");
  ASSERT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "with");
  ASSERT_TRUE(becomes_dispensable("c4")) << picture();
  kill("c4");
  broadcasts_reach(running(), "before_it_is_noticed");
  ASSERT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "without");
  start_program("c4", "e1");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  // And before anybody has noticed: its new connections replace the old ones.
  kill("c4");
  start_program("c4", "e2");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "at_once");
  all_came_once();
}

TEST_F(Mixed, a_killed_erlang_node_that_restarts_at_once_is_taken_back) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  kill("e3");
  start_erlang("e3");
  if (IsSkipped()) return;
  join("e3", "c2");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "again");
  all_came_once();
}

TEST_F(Mixed, all_join_at_once) {
  for (const auto* name : {"e1", "e2", "e3"}) start_erlang(name);
  if (IsSkipped()) return;
  for (const auto* name : {"c1", "c2", "c3"}) start_cpp(name);
  ask_to_join("e2", "c1");
  ask_to_join("c2", "e1");
  ask_to_join("c3", "c1");
  ask_to_join("c1", "e1");
  ask_to_join("e3", "c2");
  EXPECT_TRUE(becomes_sensible()) << picture();
  broadcasts_reach(running(), "first");
  all_came_once();
}

TEST_F(Mixed, cpp_nodes_with_small_views_keep_the_cluster_together) {
  active_size_ = 2;
  start_six();
  if (HasFailure() || IsSkipped()) return;
  for (const auto* occasion : {"first", "second"}) broadcasts_reach(running(), occasion);
  for (const auto* name : {"c2", "c3"}) {
    cpp(name).leave();
    join(name, "e1");
    ASSERT_TRUE(becomes_sensible()) << picture();
    broadcasts_reach(running(), std::string("with_") + name);
  }
  all_came_once();
}

// As after a defect of its own: its views are empty, and nobody is told.
TEST_F(Mixed, an_erlang_node_whose_membership_began_anew_hears_and_is_heard) {
  start_six();
  if (HasFailure() || IsSkipped()) return;
  erlang("e2").eval("Old = whereis(barrel_p2p_hyparview), exit(Old, kill)");
  ASSERT_TRUE(erlang("e2").becomes("begin New = whereis(barrel_p2p_hyparview), is_pid(New) andalso New =/= Old end"));
  processes_[full("e2")] = erlang("e2").processes();
  broadcasts_reach(running(), "anew");
  // Its C++ neighbours, who know nothing of it, ask it with each shuffle.
  EXPECT_TRUE(eventually(cpp_nodes(), [&] { return !active_views().at(full("e2")).empty(); })) << picture();
  all_came_once();
}

}  // namespace
}  // namespace barrel_p2p
