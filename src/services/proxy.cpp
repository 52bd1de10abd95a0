#include "services/proxy.hpp"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace services {

struct Proxies::Table {
  std::mutex mutex;
  std::unordered_map<Term, Pid> pids;
};

namespace {

/// Takes a proxy out of the table when its coroutine goes, however it ends.
template <class Table>
class Listed {
 public:
  Listed(std::shared_ptr<Table> table, Term name, Pid pid)
      : table_(std::move(table)), name_(std::move(name)), pid_(std::move(pid)) {}
  ~Listed() {
    const std::lock_guard lock(table_->mutex);
    const auto found = table_->pids.find(name_);
    if (found != table_->pids.end() && found->second == pid_) table_->pids.erase(found);
  }
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;

 private:
  std::shared_ptr<Table> table_;
  Term name_;
  Pid pid_;
};

bool is_end_of(const Term& message, const Ref& watch) {
  return message.is_tagged("DOWN", 5) && message[1].as_reference() != nullptr && *message[1].as_reference() == watch;
}

/// Hands on until the service ends; returns the reason.
Task<Term> forward(Process& self, Pid service) {
  const Ref watch = self.monitor(service);
  for (;;) {
    Term message = co_await self.receive();
    if (is_end_of(message, watch)) co_return Term(message[4]);
    co_await self.send(service, std::move(message));
  }
}

/// The service's last answers are on their way to the callers on other streams than the news of its end.
Process::Duration grace_of(const Term& reason) {
  const bool never_answered = reason.is_atom("noproc") || reason.is_atom("noconnection");
  return never_answered ? Process::Duration{0} : process::late_answer_grace;
}

}  // namespace

Proxies::Proxies(process::System& system, std::size_t count_max)
    : system_(system), count_max_(count_max), table_(std::make_shared<Table>()) {}

std::optional<Pid> Proxies::get(const Term& name) const {
  const std::lock_guard lock(table_->mutex);
  const auto found = table_->pids.find(name);
  if (found == table_->pids.end() || !system_.is_alive(found->second)) return std::nullopt;
  return found->second;
}

Result<Proxies::Ensured> Proxies::ensure(const Term& name, const Pid& service) {
  const std::lock_guard lock(table_->mutex);
  const auto found = table_->pids.find(name);
  if (found != table_->pids.end() && system_.is_alive(found->second)) return Ensured{found->second, false};
  if (found == table_->pids.end() && table_->pids.size() >= count_max_) {
    return fail(Errc::limit_exceeded, "this node has " + std::to_string(count_max_) + " proxies: stop some");
  }
  // The process takes itself out of the table only after this lock is let go.
  const Pid pid = system_.spawn([table = table_, name, service](Process& self) -> Task<> {
    const Listed<Table> listed(table, name, self.pid());
    const Term reason = co_await forward(self, service);
    co_await self.sleep(grace_of(reason));
    throw ExitProcess{reason};
  });
  table_->pids.insert_or_assign(name, pid);
  return Ensured{pid, true};
}

bool Proxies::stop(const Term& name) {
  const std::lock_guard lock(table_->mutex);
  const auto found = table_->pids.find(name);
  if (found == table_->pids.end()) return false;
  const bool lives = system_.is_alive(found->second);
  system_.exit(found->second, Atom("shutdown"));
  table_->pids.erase(found);
  return lives;
}

std::size_t Proxies::size() const {
  const std::lock_guard lock(table_->mutex);
  return table_->pids.size();
}

// Relaying.

namespace {

constexpr std::int64_t relay_ttl = 5;
/// Nodes in the path of a relayed call: more is no path of a few hops.
constexpr std::size_t visited_max = 256;

struct RelayCall {
  Term name;
  Atom target;
  Term request;
  std::int64_t ttl = relay_ttl;
  std::vector<Atom> visited;  ///< The newest first.
};

std::optional<RelayCall> read(const std::vector<Term>& arguments, const Atom& own) {
  if (arguments.size() < 3 || arguments.size() > 4) return std::nullopt;
  if (!(arguments[0].is_atom() || arguments[0].is_binary()) || !arguments[1].is_atom()) return std::nullopt;
  if (!NodeName::parse(arguments[1].as_atom()->text())) return std::nullopt;
  RelayCall call{arguments[0], *arguments[1].as_atom(), arguments[2], relay_ttl, {own}};
  if (arguments.size() == 3) return call;
  const Term* ttl = arguments[3].find(Atom("ttl"));
  const Term* visited = arguments[3].find(Atom("visited"));
  if (ttl == nullptr || visited == nullptr || !ttl->as_int64()) return std::nullopt;
  if (!visited->is_proper_list() || visited->size() > visited_max) return std::nullopt;
  call.ttl = std::min(*ttl->as_int64(), relay_ttl);
  call.visited.clear();
  for (const auto& node : visited->elements()) {
    if (!node.is_atom()) return std::nullopt;
    call.visited.push_back(*node.as_atom());
  }
  return call;
}

Term error_term(const char* what) { return Term::tuple_of(Atom("error"), Atom(what)); }

/// The arguments of `gen_server:call/3`, as they stand in exit reasons.
Term call_arguments(const RelayCall& call, const RelayConfig& config) {
  return Term::list_of(Term::tuple_of(call.name, call.target), call.request, config.limit.count());
}

/// Where the service is, for a call from here.
std::optional<Destination> destination(const RelayCall& call, const RelayConfig& config,
                                       const process::System& system) {
  const auto name = call.name.as_atom();
  if (call.target != system.config().node) {
    if (!name) return std::nullopt;
    return RemoteName{*name, NodeName(call.target.text())};
  }
  if (name) {
    if (const auto pid = system.whereis(*name)) return *pid;
  }
  if (const auto pid = config.lookup_local(call.name)) return *pid;
  if (name) return *name;
  return std::nullopt;
}

/// Calls the service. What ends the call is thrown as the exit of an Erlang `gen_server:call`.
Task<Term> call_service(Process& self, const RelayCall& call, const RelayConfig& config,
                        const process::System& system) {
  auto to = destination(call, config, system);
  Term arguments = call_arguments(call, config);
  if (!to) process::exit_of_call(Atom("badarg"), std::move(arguments));
  Term answer =
      co_await process::call_as_gen_server(self, std::move(*to), call.request, config.limit, std::move(arguments));
  co_return answer;
}

/// Connected, or a channel could be made.
Task<bool> can_reach(Process& self, Atom node, Milliseconds limit, const process::System& system) {
  if (node == system.config().node || system.is_connected(node)) co_return true;
  const RemoteName net_kernel(Atom("net_kernel"), NodeName(node.text()));
  const Term ping = Term::tuple_of(Atom("is_auth"), system.config().node);
  const CallOutcome outcome = co_await self.run_call(net_kernel, ping, limit);
  co_return outcome.kind == CallOutcome::Kind::returned;
}

/// What an Erlang node's proxy makes of a relayed call.
Term relayed(const CallOutcome& outcome) {
  const auto exit = [](Term reason) {
    return Term::tuple_of(Atom("error"), Term::tuple_of(Atom("EXIT"), std::move(reason)));
  };
  switch (outcome.kind) {
    case CallOutcome::Kind::returned:
    case CallOutcome::Kind::thrown: return outcome.value;
    case CallOutcome::Kind::exited:
    case CallOutcome::Kind::ended:
    case CallOutcome::Kind::refused: return exit(outcome.value);
    case CallOutcome::Kind::failed: return exit(Term::tuple_of(outcome.value, outcome.stack));
    case CallOutcome::Kind::no_connection:
    case CallOutcome::Kind::stopped: return error_term("nodedown");
    case CallOutcome::Kind::timeout: return error_term("timeout");
  }
  return error_term("nodedown");
}

Task<Term> relay(Process& self, RelayCall call, const RelayConfig& config, const process::System& system) {
  if (call.ttl <= 0) co_return error_term("ttl_expired");
  const bool reachable = co_await can_reach(self, call.target, config.dial_limit, system);
  if (reachable) {
    Term answer = co_await call_service(self, call, config, system);
    co_return answer;
  }
  const std::vector<Atom> neighbours = config.neighbours();
  if (neighbours.empty()) co_return error_term("no_route");
  const auto next = std::ranges::find_if(neighbours, [&](const Atom& node) {
    return node != call.target && std::ranges::find(call.visited, node) == call.visited.end();
  });
  if (next == neighbours.end()) co_return error_term("relay_loop");
  std::vector<Term> visited(call.visited.begin(), call.visited.end());
  if (call.visited.empty() || call.visited.front() != system.config().node) {
    visited.insert(visited.begin(), Term(system.config().node));
  }
  std::vector<TermPair> context;
  context.emplace_back(Atom("ttl"), call.ttl - 1);
  context.emplace_back(Atom("visited"), Term::list(std::move(visited)));
  std::vector<Term> arguments;
  arguments.push_back(call.name);
  arguments.emplace_back(call.target);
  arguments.push_back(call.request);
  arguments.push_back(Term::map(std::move(context)));
  RemoteFunction function(Atom("barrel_p2p_service_proxy"), Atom("relay"), std::move(arguments));
  const CallOutcome outcome = co_await self.run_function(NodeName(next->text()), std::move(function), config.limit);
  co_return relayed(outcome);
}

}  // namespace

void export_relay(process::System& system, RelayConfig config) {
  system.export_function(
      Atom("barrel_p2p_service_proxy"), Atom("relay"),
      [&system, config = std::move(config)](Process& self, std::vector<Term> arguments) -> Task<Result<Term>> {
        if (arguments.size() < 3 || arguments.size() > 4) co_return fail(Errc::undefined_function);
        auto call = read(arguments, system.config().node);
        if (!call) co_return fail(Errc::invalid_argument, "relay(Name, Node, Request, #{ttl, visited})");
        Term answer = co_await relay(self, std::move(*call), config, system);
        co_return answer;
      });
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
