#include "upstream/stage.hpp"

#include <algorithm>
#include <fstream>
#include <thread>
#include <utility>

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;

/// An expression whose value is the term.
std::string expression(const Term& term) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const auto byte : encode_term(term)) {
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return "binary_to_term(binary:decode_hex(<<\"" + text + "\">>))";
}

std::string quoted(const std::string& name) { return "'" + name + "'"; }

std::string quoted_list(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) {
    if (!list.empty()) list += ", ";
    list += quoted(name);
  }
  return "[" + list + "]";
}

/// A value of TOML as Erlang writes it: texts are names.
std::string as_erlang(std::string value) {
  std::ranges::replace(value, '"', '\'');
  return value;
}

std::set<std::string> texts_in(const Term& list) {
  std::set<std::string> names;
  if (!list.is_proper_list()) return names;
  for (const auto& name : list.elements()) {
    if (const auto atom = name.as_atom()) names.insert(atom->string());
  }
  return names;
}

}  // namespace

// Probe

std::vector<Term> Probe::messages() {
  if (erlang_ != nullptr) {
    const Term list = erlang_->eval("(fun() -> " + variable_ +
                                    " ! {get, self()}, receive {kept, L} -> L after 5000 -> [] end end)()");
    const auto elements = list.elements();
    return {elements.begin(), elements.end()};
  }
  const std::lock_guard lock(kept_->mutex);
  return kept_->messages;
}

std::size_t Probe::count(const std::function<bool(const Term&)>& shape) {
  const auto all = messages();
  return static_cast<std::size_t>(std::ranges::count_if(all, shape));
}

// Member

bool Member::is_erlang() const { return Stage::is_erlang(name_); }
ErlangNode& Member::erlang() const { return *stage_->erlang_.at(name_); }
Node* Member::in_process() const {
  const auto found = stage_->cpp_.find(name_);
  return found == stage_->cpp_.end() ? nullptr : found->second;
}

Term Member::evaluate(const std::string& expressions) {
  try {
    return erlang().eval(expressions);
  } catch (const ErlangError& error) {
    constexpr std::size_t shown_max = 200;
    throw ScenarioFailed(name_ + " is told " + expressions.substr(0, shown_max) + ": " + error.what());
  }
}

Term Member::ask(const char* function, std::vector<Term> arguments) {
  return ask("barrel_p2p", function, std::move(arguments));
}

Term Member::ask(const char* module, const char* function, std::vector<Term> arguments) {
  if (!is_erlang()) return stage_->ask(name_, module, function, std::move(arguments));
  return evaluate("(fun() -> try apply(" + std::string(module) + ", " + function + ", " +
                  expression(Term::list(std::move(arguments))) + ") catch _:Reason -> {exception, Reason} end end)()");
}

Term Member::must(const char* function, std::vector<Term> arguments) {
  Term answer = ask(function, std::move(arguments));
  if (answer.is_atom("ok")) return answer;
  stage_->require(answer.is_tuple() && answer.size() >= 2 && answer[0].is_atom("ok"),
                  std::string(function) + " on " + name_ + " answers " + to_text(answer).substr(0, 300));
  return answer[1];
}

std::set<std::string> Member::names(const char* function) { return texts_in(ask(function)); }

std::set<std::string> Member::connected() { return texts_in(ask("erlang", "nodes", {})); }

Term Member::call(const std::string& node, const char* module, const char* function, std::vector<Term> arguments) {
  if (is_erlang()) {
    return evaluate("(fun() -> try erpc:call(" + quoted(node) + ", " + module + ", " + function + ", " +
                    expression(Term::list(std::move(arguments))) +
                    ") catch _:Reason -> {exception, Reason} end end)()");
  }
  auto answer = in_process()->call_function(NodeName(node), Atom(module), Atom(function), std::move(arguments));
  return answer ? *answer : Term(Atom(answer.error().message()));
}

void Member::campaign(const Term& name, int priority) {
  std::vector<Term> arguments{name, Term::map({{Atom("priority"), priority}})};
  // The process that evaluates, or one that lives and dies with the C++ node.
  if (!is_erlang()) arguments.push_back(must("start_service_holder", {Atom("candidate")}));
  must("lead", std::move(arguments));
}

std::string Member::leader(const Term& name) {
  const Term seen = ask("leader", {name});
  return seen.is_tagged("ok", 3) ? seen[1].as_atom()->string() : "nobody";
}

bool Member::connect(const std::string& node) {
  if (Node* ours = in_process()) return ours->connect(NodeName(node)).has_value();
  if (is_erlang()) return evaluate("net_kernel:connect_node(" + quoted(node) + ")").is_atom("true");
  throw ScenarioFailed("a program is not told to connect");
}

void Member::disconnect(const std::string& node) {
  if (Node* ours = in_process()) ours->disconnect(NodeName(node));
  if (is_erlang()) evaluate("erlang:disconnect_node(" + quoted(node) + ")");
}

void Member::block(const std::vector<std::string>& nodes) {
  if (is_erlang()) {
    evaluate("barrel_p2p_hyparview:block_peers(" + quoted_list(nodes) + ")");
    return;
  }
  std::vector<NodeName> blocked;
  for (const auto& node : nodes) blocked.emplace_back(node);
  in_process()->block_peers(blocked);
}

void Member::unblock() {
  if (is_erlang()) {
    evaluate("barrel_p2p_hyparview:unblock_peers()");
  } else {
    in_process()->unblock_peers();
  }
}

Probe Member::probe() {
  Probe probe;
  if (is_erlang()) {
    probe.erlang_ = &erlang();
    probe.variable_ = "Probe" + std::to_string(++stage_->variables_);
    probe.pid = *evaluate(probe.variable_ +
                          " = spawn(fun() -> (fun Keep(L) -> receive {get, From} -> From ! {kept, lists:reverse(L)}, "
                          "Keep(L); M -> Keep([M | L]) end end)([]) end)")
                     .as_pid();
    return probe;
  }
  probe.kept_ = std::make_shared<Probe::Kept>();
  Node* home = in_process() != nullptr ? in_process() : stage_->asker_;
  probe.pid = home->spawn([kept = probe.kept_](Process& self) -> Task<> {
    for (;;) {
      Term message = co_await self.receive();
      const std::lock_guard lock(kept->mutex);
      kept->messages.push_back(std::move(message));
    }
  });
  return probe;
}

Probe Member::probe(const char* subscribe, std::vector<Term> arguments) {
  Probe made = probe();
  arguments.emplace_back(made.pid);
  must(subscribe, std::move(arguments));
  return made;
}

Pid Member::start_echo() {
  if (is_erlang()) {
    return *evaluate(
                "(fun() -> P = spawn(fun() -> (fun Echo() -> receive {From, M} -> From ! {echo, M}, Echo() end "
                "end)() end), register(echo, P), P end)()")
                .as_pid();
  }
  const Pid pid = in_process()->spawn([](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      if (!message.is_tuple(2) || message[0].as_pid() == nullptr) continue;
      Term answer = Term::tuple_of(Atom("echo"), message[1]);
      (void)co_await self.send(*message[0].as_pid(), std::move(answer));
    }
  });
  name_process(Atom("echo"), pid);
  return pid;
}

void Member::name_process(const Atom& process, const Pid& pid) {
  const bool named =
      is_erlang() ? evaluate("register(" + quoted(process.string()) + ", " + expression(pid) + ")").is_atom("true")
                  : in_process()->register_process(process, pid).has_value();
  stage_->require(named, process.string() + " is registered");
}

void Member::send(const Pid& to, const Term& message) {
  if (is_erlang()) {
    evaluate(expression(to) + " ! " + expression(message));
  } else {
    (void)in_process()->send(to, message);
  }
}

void Member::send_by_name(const std::string& node, const Atom& process, const Term& message) {
  if (is_erlang()) {
    evaluate("{" + quoted(process.string()) + ", " + quoted(node) + "} ! " + expression(message));
  } else {
    (void)in_process()->send(RemoteName(process, NodeName(node)), message);
  }
}

void Member::send_copies(const std::string& node, const Atom& process, const Pid& from, const std::string& piece,
                         std::size_t copies) {
  if (is_erlang()) {
    evaluate("(fun() -> {" + quoted(process.string()) + ", " + quoted(node) + "} ! {" + expression(from) +
             ", binary:copy(" + expression(piece) + ", " + std::to_string(copies) + ")}, ok end)()");
    return;
  }
  std::string whole;
  for (std::size_t copy = 0; copy < copies; ++copy) whole += piece;
  (void)in_process()->send(RemoteName(process, NodeName(node)), Term::tuple({from, whole}));
}

Pid Member::proxy_of(const Atom& service, const std::string& node) {
  // The facade of the Erlang library makes none.
  const Term made =
      is_erlang() ? ask("barrel_p2p_registry", "ensure_proxy", {service, Atom(node)}) : ask("get_proxy", {service});
  stage_->require(made.is_tagged("ok", 2) && made[1].is_pid(), name_ + " makes a proxy: " + to_text(made));
  return *made[1].as_pid();
}

void Member::accept_streams(const std::string& tag) {
  if (is_erlang()) {
    stage_->require(evaluate("barrel_p2p_streams:register_acceptor(<<\"" + tag + "\">>, self())").is_atom("ok"),
                    "an acceptor");
    return;
  }
  auto acceptor = in_process()->accept_streams(tag);
  stage_->require(acceptor.has_value(), "an acceptor");
  stage_->acceptors_.push_back(std::move(*acceptor));
}

bool Member::open_stream(const std::string& node, const std::string& tag) {
  if (is_erlang()) {
    // The refusal comes some 10 ms later, and always for a moment after connecting (protocol document 07, 1.8).
    return evaluate("(fun() -> try barrel_p2p_streams:open(<<\"" + tag + "\">>, " + quoted(node) +
                    ") of {ok, S} -> receive {quic_dist_stream, S, {reset, _}} -> false after 300 -> true end;"
                    " _ -> false catch _:_ -> false end end)()")
        .is_atom("true");
  }
  auto stream = in_process()->open_stream(NodeName(node), tag);
  if (!stream) return false;
  stage_->streams_.push_back(std::make_shared<Stream>(std::move(*stream)));
  return true;
}

void Member::lose_map(const Atom& map) {
  if (is_erlang()) {
    const std::string owner = "barrel_p2p_map:owner_name(" + quoted(map.string()) + ")";
    evaluate("(fun() -> Old = whereis(" + owner + "), exit(Old, kill), (fun Wait(0) -> none; Wait(N) -> case whereis(" +
             owner + ") of P when is_pid(P), P =/= Old -> P; _ -> timer:sleep(20), Wait(N - 1) end end)(500) end)()");
    stage_->forget_ended_processes(short_name_);
    return;
  }
  must("delete_map", {map});
  must("new_map", {map});
}

std::filesystem::path Member::keys() const { return stage_->cluster_.data(short_name_) / "keys"; }

std::set<std::string> Member::pinned() {
  std::set<std::string> names;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(keys() / "trusted", none)) {
    names.insert(entry.path().stem().string());
  }
  return names;
}

// Stage

void Stage::SetUp() {
  settings = {{"member_heartbeat_ms", "500"},
              {"member_ttl_ms", "3000"},
              {"member_skew_ms", "60000"},
              {"shuffle_period", "2000"},
              {"reminder_scan_ms", "500"}};
  if (make_up_ != MakeUp::cpp) Upstream::SetUp();  // skips where there are no Erlang nodes
  if (IsSkipped() || make_up_ == MakeUp::erlang) return;
  asker_ = &cluster_.start("asker", [](NodeConfig& config) { config.hidden = true; });
}

void Stage::TearDown() {
  streams_.clear();
  acceptors_.clear();
  // What ends in a cluster of Erlang nodes only does not end because of us.
  if (make_up_ != MakeUp::erlang) MixedCluster::TearDown();
}

bool Stage::is_erlang_letter(const std::string& letter) const {
  const bool odd = (letter.front() - 'a') % 2 != 0;
  switch (make_up_) {
    case MakeUp::cpp: return false;
    case MakeUp::erlang: return true;
    case MakeUp::mixed: return odd;
    case MakeUp::mixed_erlang_first: return !odd;
  }
  return false;
}

std::string Stage::short_name_of(const std::string& letter) const {
  return (is_erlang_letter(letter) ? "e" : "c") + std::to_string(letter.front() - 'a' + 1);
}

std::string Stage::name_of(const std::string& letter) const { return full(short_name_of(letter)); }

std::string Stage::letter_of(const std::string& name) const { return {static_cast<char>('a' + name.at(1) - '1')}; }

std::string Stage::lowest(std::vector<std::string> letters) {
  if (letters.empty()) {
    for (const auto& [letter, member] : members_) letters.push_back(letter);
  }
  return *std::ranges::min_element(letters, {}, [&](const auto& letter) { return name_of(letter); });
}

std::string Stage::toml() const {
  std::string text;
  for (const auto& [key, value] : settings) text.append(key).append(" = ").append(value).append("\n");
  return text;
}

void Stage::configure(NodeConfig& config) {
  auto parsed = parse_config(toml(), config);
  if (!parsed) throw ScenarioFailed(parsed.error().message());
  config = std::move(*parsed);
}

void Stage::started(const std::string& name) {
  if (!is_erlang(name)) return;
  // The application is started anew with them.
  std::string line = "(fun() -> ok = application:stop(barrel_p2p)";
  for (const auto& [key, value] : settings) {
    line.append(", application:set_env(barrel_p2p, ").append(key).append(", ").append(as_erlang(value)).append(")");
  }
  erlang_.at(name)->eval(line + ", ok = application:start(barrel_p2p) end)()");
  forget_ended_processes(name.substr(0, name.find('@')));
}

std::string Stage::picture() {
  std::string text;
  for (auto& [letter, member] : members_) {
    text.append(member.name()).append(" lists");
    for (const auto& other : member.names("active_view")) text.append(" ").append(other);
    text.append("; ");
  }
  return text;
}

Member& Stage::add(const std::string& letter, bool mortal) {
  const std::string short_name = short_name_of(letter);
  if (is_erlang_letter(letter)) {
    erlang_.insert_or_assign(full(short_name), std::make_unique<ErlangNode>(cluster_, short_name));
    started(full(short_name));
  } else if (mortal) {
    const auto config = cluster_.config(short_name);
    const auto file = config.discovery_dir.parent_path() / (short_name + ".toml");
    std::ofstream(file) << toml();
    auto program = std::make_unique<LineProgram>(
        std::vector<std::string>{BARREL_P2P_COMMAND, "node", "--config", file.string(), "--name", config.name,
                                 "--cookie", config.cookie, "--data", config.data_dir.string(), "--discovery-dir",
                                 config.discovery_dir.string()},
        config.discovery_dir.parent_path() / (short_name + ".log"));
    require(program->read_line(20s).has_value(), config.name + " starts");
    programs_.insert_or_assign(config.name, std::move(program));
  } else {
    start_cpp(short_name);
  }
  Member member;
  member.stage_ = this;
  member.short_name_ = short_name;
  member.name_ = full(short_name);
  return members_.insert_or_assign(letter, member).first->second;
}

Member& Stage::start(const std::string& letter) { return add(letter, false); }
Member& Stage::start_mortal(const std::string& letter) { return add(letter, true); }

std::vector<Member*> Stage::all() {
  std::vector<Member*> members;
  for (auto& [letter, member] : members_) members.push_back(&member);
  return members;
}

void Stage::join(const std::string& letter, const std::string& contact) {
  Member& newcomer = at(letter);
  Member& known = at(contact);
  // Connected before: when two Erlang nodes dial each other at once, as newcomers make them do, one may never answer
  // again (protocol document 01, section 5.5).
  if (!programs_.contains(newcomer.name())) {
    connect(newcomer, known.name());
  }
  newcomer.must("join", {known.atom()});
  await(
      [&] {
        return newcomer.names("active_view").contains(known.name()) &&
               known.names("active_view").contains(newcomer.name());
      },
      newcomer.name() + " joins through " + known.name());
}

void Stage::form(const std::vector<std::string>& letters, const std::set<std::string>& mortal) {
  for (const auto& letter : letters) add(letter, mortal.contains(letter));
  join_all();
}

void Stage::connect(Member& dialling, const std::string& dialled) {
  await([&] { return dialling.connect(dialled); }, dialling.name() + " connects to " + dialled);
  Member& other = at(letter_of(dialled));
  await([&] { return other.connected().contains(dialling.name()); }, dialled + " lists " + dialling.name());
}

void Stage::connect_all() {
  for (auto& [newcomer, member] : members_) {
    for (auto& [contact, other] : members_) {
      if (contact >= newcomer) break;
      Member& dialling = programs_.contains(member.name()) ? other : member;
      const std::string& dialled = programs_.contains(member.name()) ? member.name() : other.name();
      if (programs_.contains(dialling.name())) continue;
      connect(dialling, dialled);
    }
  }
}

void Stage::join_all() {
  connect_all();
  for (auto& [newcomer, member] : members_) {
    for (auto& [contact, other] : members_) {
      if (contact >= newcomer) break;
      if (!member.names("active_view").contains(other.name())) join(newcomer, contact);
    }
  }
  await(
      [&] {
        return std::ranges::all_of(members_, [&](auto& entry) {
          return entry.second.names("active_view").size() == members_.size() - 1 &&
                 entry.second.names("members").size() == members_.size();
        });
      },
      "all know each other");
}

void Stage::stop(const std::string& letter) {
  const std::string name = name_of(letter);
  const std::string short_name = short_name_of(letter);
  if (is_erlang(name)) {
    if (make_up_ != MakeUp::erlang) no_process_ended_because_of_us(erlang(short_name));
    may_promote_each_other();
    // It is the end of the machine that closes nothing (protocol document 07, 6.3).
    (void)erlang(short_name).stop();
    erlang_.erase(name);
  } else if (programs_.contains(name)) {
    programs_.at(name)->signal(SIGTERM);
    require(programs_.at(name)->ends(20s), name + " ends");
    programs_.erase(name);
  } else {
    stop_cpp(short_name);
  }
  if (asker_ != nullptr) asker_->disconnect(NodeName(name));
  members_.erase(letter);
}

void Stage::kill(const std::string& letter, bool tell_survivors) {
  const std::string name = name_of(letter);
  const std::string short_name = short_name_of(letter);
  if (is_erlang(name)) {
    if (make_up_ != MakeUp::erlang) no_process_ended_because_of_us(erlang(short_name));
    erlang(short_name).kill();
    erlang_.erase(name);
  } else {
    require(programs_.contains(name), name + " is mortal");
    programs_.at(name)->kill();
    programs_.erase(name);
  }
  may_promote_each_other();
  members_.erase(letter);
  if (asker_ != nullptr) asker_->disconnect(NodeName(name));
  if (!tell_survivors) return;
  for (auto& [other, member] : members_) member.disconnect(name);
}

void Stage::require(bool condition, const std::string& what) {
  if (!condition) throw ScenarioFailed("not so: " + what);
}

void Stage::await(const std::function<bool()>& condition, const std::string& what, std::chrono::milliseconds limit) {
  await(condition, [&] { return what; }, limit);
}

void Stage::await(const std::function<bool()>& condition, const std::function<std::string()>& what,
                  std::chrono::milliseconds limit) {
  constexpr auto pause = 50ms;
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) throw ScenarioFailed("did not come: " + what() + ". " + picture());
    std::this_thread::sleep_for(pause);
  }
}

void Stage::stays(const std::function<bool()>& condition, const std::string& what, std::chrono::milliseconds time) {
  constexpr auto pause = 50ms;
  const auto end = std::chrono::steady_clock::now() + time;
  do {
    if (!condition()) throw ScenarioFailed("did not last: " + what);
    std::this_thread::sleep_for(pause);
  } while (std::chrono::steady_clock::now() < end);
}

}  // namespace barrel_p2p::test
