#include "upstream/mixed.hpp"

#include <sstream>
#include <utility>

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;

/// A process that ended with an error, as the log of an Erlang node tells it.
struct Crash {
  std::string process;  ///< Its name or its pid.
  std::string text;

  /// The process of a connection ends with it, and with an error when its peer closes it, as of two connections that
  /// were begun at once, when nobody answers, as where a node was killed, or when a node cannot prove who it is.
  [[nodiscard]] bool is_end_of_connection() const {
    if (text.find("[quic_connection]") != std::string::npos)
      return text.find("exit:connect_timeout") != std::string::npos ||
             text.find("exit:{{connection_closed,") != std::string::npos ||  // while it was authenticated
             text.find("exit:{auth_failed,") != std::string::npos;
    return text.find("[quic_dist_controller]") != std::string::npos &&
           (text.find("exit:{connection_closed,") != std::string::npos ||
            text.find("error:{badmatch,{error,{invalid_state,draining}}}") != std::string::npos);
  }
  [[nodiscard]] bool is_promotion() const {
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

}  // namespace

void MixedCluster::SetUp() {
  Upstream::SetUp();
  if (IsSkipped()) return;
  asker_ = &cluster_.start("asker", [](NodeConfig& config) { config.hidden = true; });
}

void MixedCluster::TearDown() {
  if (IsSkipped()) return;
  for (auto& [name, node] : erlang_) no_process_ended_because_of_us(*node);
  for (auto& [name, node] : cpp_) EXPECT_EQ(node->overlay_statistics().malformed, 0U) << name;
}

// Nodes.

void MixedCluster::start_cpp(const std::string& short_name) {
  cpp_[full(short_name)] = &cluster_.start(short_name, [this](NodeConfig& config) { configure(config); });
  started(full(short_name));
}

void MixedCluster::stop_cpp(const std::string& short_name) {
  cpp_.erase(full(short_name));
  cluster_.stop(short_name);
}

void MixedCluster::start_program(const std::string& short_name, const std::string& contact) {
  const auto config = cluster_.config(short_name);
  auto program = std::make_unique<LineProgram>(
      std::vector<std::string>{BARREL_P2P_COMMAND, "node", "--name", config.name, "--cookie", config.cookie, "--data",
                               config.data_dir.string(), "--discovery-dir", config.discovery_dir.string(), "--join",
                               full(contact)},
      config.discovery_dir.parent_path() / (short_name + ".log"));
  ASSERT_TRUE(program->read_line(20s).has_value());
  programs_.insert_or_assign(config.name, std::move(program));
  started(config.name);
}

void MixedCluster::start_erlang(const std::string& short_name) {
  if (IsSkipped()) return;
  auto node = std::make_unique<ErlangNode>(cluster_, short_name);
  processes_[full(short_name)] = node->processes();
  // Connected before they become members: when two of them dial each other at once, as newcomers make them do, one may
  // never answer again (protocol document 01, section 5.5).
  for (auto& [name, other] : erlang_) {
    ASSERT_EQ(node->eval("net_kernel:connect_node('" + name + "')"), Atom("true"));
    ASSERT_TRUE(other->lists(node->name()));
  }
  erlang_.insert_or_assign(full(short_name), std::move(node));
  started(full(short_name));
}

void MixedCluster::kill(const std::string& short_name) {
  const std::string name = full(short_name);
  if (is_erlang(name)) {
    no_process_ended_because_of_us(erlang(short_name));
    erlang(short_name).kill();
    erlang_.erase(name);
  } else {
    programs_.at(name)->kill();
    programs_.erase(name);
  }
  may_promote_each_other();
  asker_->disconnect(name);  // it asks whoever bears the name next
}

MixedCluster::Names MixedCluster::running() const {
  Names names;
  for (const auto& [name, node] : cpp_) names.insert(name);
  for (const auto& [name, node] : programs_) names.insert(name);
  for (const auto& [name, node] : erlang_) names.insert(name);
  return names;
}

std::vector<Node*> MixedCluster::cpp_nodes() const {
  std::vector<Node*> nodes;
  nodes.reserve(cpp_.size());
  for (const auto& [name, node] : cpp_) nodes.push_back(node);
  return nodes;
}

// What they are asked.

Term MixedCluster::ask(const std::string& name, const char* module, const char* function, std::vector<Term> arguments) {
  auto answer = asker_->call_function(name, module, function, std::move(arguments));
  return answer ? *answer : Term(Atom(answer.error().message()));
}

void MixedCluster::ask_to_join(const std::string& short_name, const std::string& contact) {
  const std::string name = full(short_name);
  if (is_erlang(name)) {
    ASSERT_EQ(ask(name, "barrel_p2p", "join", {Atom(full(contact))}), Atom("ok"));
  } else {
    ASSERT_EQ(word(cpp(short_name).join(full(contact))), "ok");
  }
}

void MixedCluster::join(const std::string& short_name, const std::string& contact) {
  ask_to_join(short_name, contact);
  const auto joined = [&] {
    const auto active = active_views();
    return active.at(full(short_name)).contains(full(contact)) && active.at(full(contact)).contains(full(short_name));
  };
  ASSERT_TRUE(eventually(cpp_nodes(), joined)) << short_name << " through " << contact << '\n' << picture();
}

MixedCluster::Names MixedCluster::names_in(const Term& list) {
  Names names;
  for (const auto& name : list.elements()) names.insert(name.as_atom()->string());
  return names;
}

MixedCluster::Views MixedCluster::active_views() {
  // Empty while the process that knows is being started anew.
  constexpr const char* erlang_view = "try barrel_p2p:active_view() catch exit:_ -> [] end";
  Views views;
  for (const auto& [name, node] : cpp_) {
    auto& view = views[name];
    for (const auto& other : node->active_view()) view.insert(other.string());
  }
  for (const auto& [name, program] : programs_) views[name] = names_in(ask(name, "barrel_p2p", "active_view"));
  for (auto& [name, node] : erlang_) views[name] = names_in(node->eval(erlang_view));
  return views;
}

std::string MixedCluster::picture() { return text_of("lists", active_views()); }

std::string MixedCluster::text_of(const char* what, const Views& views) {
  std::ostringstream text;
  for (const auto& [name, view] : views) {
    text << name << ' ' << what;
    for (const auto& other : view) text << ' ' << other;
    text << '\n';
  }
  return text.str();
}

// Processes of Erlang nodes.

void MixedCluster::forget_ended_processes(const std::string& short_name) {
  processes_[full(short_name)] = erlang(short_name).processes();
}

void MixedCluster::no_process_ended_because_of_us(ErlangNode& node) {
  const std::string name = node.name().string();
  int own_defects = 0;
  for (const auto& crash : crashes_in(node.log())) {
    if (crash.is_end_of_connection()) continue;
    if (crash.is_promotion() && lost_neighbours_ && !crash.concerns_cpp_node()) {
      ++own_defects;
    } else {
      ADD_FAILURE() << name << ": " << crash.text;
    }
  }
  RecordProperty("own_defects_" + name.substr(0, name.find('@')), own_defects);
  // These three are started anew together.
  const Names excused{"barrel_p2p_hyparview", "barrel_p2p_hyparview_shuffle", "barrel_p2p_hyparview_cleanup"};
  const auto now = node.processes();
  for (const auto& [process, pid] : processes_.at(name)) {
    if (own_defects > 0 && excused.contains(process)) continue;
    const auto found = now.find(process);
    EXPECT_TRUE(found != now.end() && found->second == pid) << process << " of " << name;
  }
}

}  // namespace barrel_p2p::test
