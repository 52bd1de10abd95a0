// Processes that every node has, and the functions that peers may run. Source: protocol document 08,
// sections 4.5, 6.2, 7.2, 7.4, 7.5.
#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "base/token_bucket.hpp"
#include "process/state.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {
namespace {

using distribution::Signal;
using distribution::SpawnReply;
using distribution::SpawnRequest;

/// The node that a destination is on; nothing for a name of this node.
std::optional<Atom> node_of(const Destination& to) {
  if (const auto* pid = std::get_if<Pid>(&to)) return pid->node;
  if (const auto* remote = std::get_if<RemoteName>(&to)) return remote->node.atom();
  if (const auto* alias = std::get_if<Ref>(&to)) return alias->node;
  return std::nullopt;
}

bool is_at_hand(const System& system, const Destination& to) {
  const auto node = node_of(to);
  return !node || system.is_at_hand(*node);
}

Term node_down(const Destination& server, const Atom& own) {
  return Term::tuple_of(Atom("nodedown"), node_of(server).value_or(own));
}

/// Answers a request. What a message says of its sender proves nothing: nobody is dialled to be answered. A node that
/// does not read its answers loses those that find its queue full, and holds up no answer to others.
void answer(Process& self, const System& system, const Destination& to, Term message) {
  if (is_at_hand(system, to)) (void)self.send(to, std::move(message));
}

void answer_call(Process& self, const System& system, const CallFrom& from, Term result) {
  answer(self, system, reply_address(from), Term::tuple({from.tag, std::move(result)}));
}

/// Answers `net_adm:ping/1`.
Task<> net_kernel(Process& self, const System& system) {
  for (;;) {
    const Term message = co_await self.receive();
    const auto call = as_call(message);
    if (call && call->second.is_tagged("is_auth", 2)) answer_call(self, system, call->first, Atom("yes"));
  }
}

/// Text of an io request, as far as it is text; formats are shown with their arguments.
Term io_answer(const Term& request, const System& system) {
  const auto print = [&](const std::string& text) {
    if (system.config().log_output) system.config().log_output(text);
    return Term(Atom("ok"));
  };
  if (request.is_tagged("put_chars", 3) || request.is_tagged("put_chars", 2)) {
    const Term& characters = request[request.size() - 1];
    return print(characters.as_string().value_or(to_text(characters)));
  }
  if (request.is_tagged("put_chars", 5) || request.is_tagged("put_chars", 4)) {
    const Term& arguments = request[request.size() - 1];
    std::string text;
    for (const auto& argument : arguments.elements())
      text += (text.empty() ? "" : " ") + argument.as_string().value_or(to_text(argument));
    return print(text);
  }
  if (request.is_atom("getopts")) {
    return Term::list_of(Term::tuple_of(Atom("binary"), true), Term::tuple_of(Atom("encoding"), Atom("unicode")));
  }
  if (request.is_tagged("setopts", 2)) return Atom("ok");
  if (request.is_tagged("get_geometry", 2)) return Term::tuple_of(Atom("error"), Atom("enotsup"));
  if (request.is_tuple() && request.size() > 0 && request[0].is_atom() &&
      request[0].as_atom()->text().starts_with("get_"))
    return Atom("eof");
  if (request.is_tagged("requests", 2)) {
    Term last = Term(Atom("ok"));
    for (const auto& one : request[1].elements()) last = io_answer(one, system);
    return last;
  }
  return Term::tuple_of(Atom("error"), Atom("request"));
}

Task<> group_leader(Process& self, System& system) {
  for (;;) {
    const Term message = co_await self.receive();
    if (!message.is_tagged("io_request", 4) || !message[1].is_pid()) continue;
    answer(self, system, *message[1].as_pid(),
           Term::tuple_of(Atom("io_reply"), message[2], io_answer(message[3], system)));
  }
}

/// Log events of processes on other nodes whose output is ours.
Task<> logger_proxy(Process& self, System& system) {
  for (;;) {
    const Term message = co_await self.receive();
    constexpr std::size_t shown_max = 2000;
    if (system.config().log_output && message.is_tuple())
      system.config().log_output(to_text(message).substr(0, shown_max));
  }
}

struct RemoteCall {
  Term reference;  ///< `[]` for a cast.
  Atom module;
  Atom function;
  Term arguments;
};

std::optional<RemoteCall> as_remote_call(const Term& arguments, bool cast) {
  const std::size_t first = cast ? 0 : 1;
  if (!arguments.is_proper_list() || arguments.size() != first + 3) return std::nullopt;
  const auto module = arguments[first].as_atom();
  const auto function = arguments[first + 1].as_atom();
  if (!module || !function || !arguments[first + 2].is_proper_list()) return std::nullopt;
  return RemoteCall{cast ? Term() : arguments[0], *module, *function, arguments[first + 2]};
}

/// What an Erlang node answers when it has no such function.
Term undefined(const RemoteCall& call) {
  return Term::list_of(Term::tuple_of(call.module, call.function, call.arguments, Term()));
}

std::vector<Term> to_vector(const Term& list) { return {list.elements().begin(), list.elements().end()}; }

/// Runs an exported function. How it ended goes to the caller of `erpc` as `{Ref, Kind, ...}`.
Task<Term> run_call(Process& self, System& system, RemoteCall call) {
  const auto function = system.exported(call.module, call.function);
  if (!function) {
    system.mutable_counters().refused_calls.fetch_add(1, std::memory_order_relaxed);
    co_return Term::tuple_of(call.reference, Atom("error"), Atom("undef"), undefined(call));
  }
  std::optional<Term> failed;
  try {
    auto result = co_await (*function)(self, to_vector(call.arguments));
    if (result) co_return Term::tuple_of(call.reference, Atom("return"), std::move(*result));
    if (result.error() == Errc::undefined_function) {
      co_return Term::tuple_of(call.reference, Atom("error"), Atom("undef"), undefined(call));
    }
    const Term reason = Term::tuple_of(Atom(name(result.error().code())), result.error().context());
    failed = Term::tuple_of(call.reference, Atom("error"), reason, Term());
  } catch (const ExitProcess& exit) {
    failed = Term::tuple_of(call.reference, Atom("exit"), exit.reason);
  } catch (const ThrowTerm& thrown) {
    failed = Term::tuple_of(call.reference, Atom("throw"), thrown.value);
  } catch (const ErrorTerm& error) {
    failed = Term::tuple_of(call.reference, Atom("error"), error.reason, error.stack);
  } catch (const std::exception& error) {
    const Term reason = Term::tuple_of(Atom("exception"), std::string_view(error.what()));
    failed = Term::tuple_of(call.reference, Atom("error"), reason, Term());
  }
  co_return std::move(*failed);
}

/// How a function ended, as `rpc` tells it.
Term rpc_result(const Term& outcome) {
  if (outcome[1].is_atom("return") || outcome[1].is_atom("throw")) return outcome[2];
  const Term reason = outcome[1].is_atom("error") ? Term::tuple({outcome[2], outcome[3]}) : outcome[2];
  return Term::tuple({Atom("badrpc"), Term::tuple({Atom("EXIT"), reason})});
}

/// A request of `rpc` as C nodes and old Erlang nodes make it: `{call, Module, Function, Arguments, GroupLeader}`.
struct RexCall {
  RemoteCall call;
  std::optional<Pid> group_leader;
};

std::optional<RexCall> as_rex_call(const Term& request, const char* tag) {
  if (!request.is_tagged(tag, 5) || !request[1].is_atom() || !request[2].is_atom() || !request[3].is_proper_list()) {
    return std::nullopt;
  }
  const auto* leader = request[4].as_pid();
  return RexCall{{Term(), *request[1].as_atom(), *request[2].as_atom(), request[3]},
                 leader != nullptr ? std::optional(*leader) : std::nullopt};
}

using Answer = std::function<void(Process&, Term)>;

/// Runs it on a process of its own, which then answers. It ends early when the channel to the caller's node does.
/// `message` is what the request came in: parts of it keep all of it.
void run_rex_call(System& system, const Atom& caller, const Term& message, RexCall&& request, const Answer& tell) {
  const auto state = system.make_for_peer(
      [&system, call = std::move(request.call), tell](Process& self) -> Task<> {
        const Term outcome = co_await run_call(self, system, call);
        if (tell) tell(self, rpc_result(outcome));
      },
      encoded_size(message, false));
  if (!state) return;  // as many as may be run: the caller's time limit ends its wait
  if (request.group_leader) state->set_group_leader(*request.group_leader);
  const bool serves_peer = tell && system.is_connected(caller);
  const auto peer = serves_peer ? state->watch(caller) : nullptr;
  const std::uint64_t generation = peer == nullptr ? 0 : peer->generation.load();
  if (peer != nullptr) state->work_for(caller, generation);
  system.begin(*state);
  // The channel may have ended before the process was listed as one that hears of it.
  if (peer != nullptr && !system.is_connected(caller)) state->tell(new Event(NodeGone{caller, generation}));
}

/// Answers the capability probe of every Erlang node that comes up, and the calls of C nodes.
Task<> rex(Process& self, System& system) {
  for (;;) {
    const Term message = co_await self.receive();
    if (const auto call = as_call(message)) {
      auto request = as_rex_call(call->second, "call");
      if (!request) request = as_rex_call(call->second, "block_call");
      const CallFrom from = call->first;
      if (!request) continue;
      run_rex_call(system, from.pid.node, message, std::move(*request), [&system, from](Process& worker, Term result) {
        answer_call(worker, system, from, std::move(result));
      });
    } else if (const auto cast = as_cast(message)) {
      if (auto request = as_rex_call(*cast, "cast"))
        run_rex_call(system, self.pid().node, message, std::move(*request), {});
    } else if (message.is_tuple(2) && message[0].is_pid()) {
      const Pid from = *message[0].as_pid();
      const Term& what = message[1];
      if (what.is_atom("features_request")) {
        answer(self, system, from,
               Term::tuple_of(Atom("features_reply"), self.pid().node, Term::list_of(Atom("erpc"))));
      } else if (what.is_tagged("sbcast", 3) && what[1].is_atom()) {
        const Term node(self.pid().node);
        const auto pid = system.whereis(*what[1].as_atom());
        const auto target = pid ? system.find(*pid) : nullptr;
        const bool taken = target && system.send_for_peer(*target, Term(what[2]));
        const Term got = taken ? node : Term::tuple_of(Atom("nonexisting_name"), what[1]);
        answer(self, system, from, Term::tuple_of(Atom("rex"), node, got));
      } else if (auto request = as_rex_call(what, "call")) {
        run_rex_call(system, from.node, message, std::move(*request), [&system, from](Process& worker, Term result) {
          answer(worker, system, from, Term::tuple({Atom("rex"), std::move(result)}));
        });
      }
    }
  }
}

/// Runs an exported function as the process that a peer spawned.
Task<> run_spawned(Process& self, System& system, Atom module, Atom function, Term arguments) {
  const auto exported = system.exported(module, function);
  if (exported) {
    const auto result = co_await (*exported)(self, to_vector(arguments));
    if (result || result.error() != Errc::undefined_function) co_return;
  }
  const RemoteCall call{Term(), std::move(module), std::move(function), std::move(arguments)};
  throw ExitProcess{Term::tuple_of(Atom("undef"), undefined(call))};
}

bool is_erpc_call(const SpawnRequest& request) {
  return request.module == "erpc" && request.function == "execute_call" && request.arity == 4;
}

/// The process that a spawn request makes.
Task<> run_request(Process& self, System& system, SpawnRequest request, distribution::Payload payload) {
  const bool cast = request.module == "erpc" && request.function == "execute_cast" && request.arity == 3;
  const bool call = is_erpc_call(request);
  auto arguments = distribution::decode_payload(payload);
  if (!arguments || !arguments->is_proper_list()) throw ExitProcess{Atom("badarg")};
  if (!cast && !call) {
    co_await run_spawned(self, system, request.module, request.function, std::move(*arguments));
    co_return;
  }
  auto remote = as_remote_call(*arguments, cast);
  if (!remote) throw ExitProcess{Atom("badarg")};
  Term outcome = co_await run_call(self, system, std::move(*remote));
  if (call) throw ExitProcess{std::move(outcome)};
}

ExportedFunction plain(std::function<Result<Term>(const std::vector<Term>&)> function) {
  return [function = std::move(function)](Process& /*self*/, std::vector<Term> arguments) -> Task<Result<Term>> {
    co_return function(arguments);
  };
}

std::unexpected<Error> undefined_arity() { return fail(Errc::undefined_function); }

/// A destination as `gen_server` takes it: a pid, a name, `{Name, Node}`.
std::optional<Destination> as_destination(const Term& term) {
  if (term.as_pid() != nullptr) return *term.as_pid();
  if (const auto name = term.as_atom()) return *name;
  if (term.is_tuple(2) && term[0].is_atom() && term[1].is_atom()) {
    const auto node = NodeName::parse(term[1].as_atom()->text());
    if (node) return RemoteName{*term[0].as_atom(), *node};
  }
  return std::nullopt;
}

/// How often peers may have us send to a node that is not connected, and so dial it. Calls by way of a third node are
/// rare; a peer that invents nodes finds them refused. Thread safe.
class PeersDials {
 public:
  bool may_begin() {
    const std::lock_guard lock(mutex_);
    return allowed_.take(monotonic_now());
  }

 private:
  static constexpr double per_second = 10;
  std::mutex mutex_;
  TokenBucket allowed_{per_second, monotonic_now()};
};

std::unexpected<Error> not_at_hand() { return fail(Errc::no_connection, "the node of the server is not connected"); }

/// `infinity` is as long as anybody may wait.
std::optional<std::chrono::milliseconds> limit_of_call(const std::vector<Term>& arguments,
                                                       std::chrono::milliseconds longest) {
  constexpr std::chrono::milliseconds usual{5000};
  if (arguments.size() < 3) return usual;
  if (arguments[2].is_atom("infinity")) return longest;
  const auto given = arguments[2].as_int64();
  return given ? std::optional(std::chrono::milliseconds(*given)) : std::nullopt;
}

Task<Result<Term>> gen_call(const System& system, PeersDials& dials, Process& self, std::vector<Term> arguments) {
  if (arguments.size() < 2 || arguments.size() > 3) co_return undefined_arity();
  const auto server = as_destination(arguments[0]);
  const std::chrono::milliseconds longest = system.config().remote_call_max;
  const auto limit = limit_of_call(arguments, longest);
  if (!server || !limit || *limit < std::chrono::milliseconds(0))
    co_return fail(Errc::invalid_argument, "gen_server:call(Server, Request, Milliseconds or infinity)");
  Term called = Term::list(arguments);
  if (!is_at_hand(system, *server) && !dials.may_begin())
    exit_of_call(node_down(*server, self.pid().node), std::move(called));
  Term answer = co_await call_as_gen_server(self, *server, arguments[1], std::min(longest, *limit), std::move(called));
  co_return answer;
}

Task<Result<Term>> gen_cast(System& system, PeersDials& dials, Process& self, std::vector<Term> arguments) {
  if (arguments.size() != 2) co_return undefined_arity();
  const auto server = as_destination(arguments[0]);
  if (!server) co_return fail(Errc::invalid_argument, "gen_server:cast(Server, Request)");
  if (!is_at_hand(system, *server) && !dials.may_begin()) co_return not_at_hand();
  if (const auto target = system.find_here(*server)) {
    const bool taken = system.send_for_peer(*target, Term::tuple({Atom("$gen_cast"), arguments[1]}));
    if (!taken) co_return fail(Errc::overloaded, "the mailbox of the server is full");
  } else {
    co_await self.cast(*server, arguments[1]);
  }
  co_return Term(Atom("ok"));
}

void export_basics(System& system) {
  system.export_function("erlang", "node", plain([&system](const auto& arguments) -> Result<Term> {
                           if (!arguments.empty()) return undefined_arity();
                           return Term(system.config().node);
                         }));
  system.export_function("erlang", "nodes", plain([&system](const auto& arguments) -> Result<Term> {
                           if (!arguments.empty()) return undefined_arity();
                           std::vector<Term> list;
                           for (const auto& node : system.nodes()) list.emplace_back(node);
                           return Term::list(std::move(list));
                         }));
  system.export_function("erlang", "whereis", plain([&system](const auto& arguments) -> Result<Term> {
                           if (arguments.size() != 1 || !arguments[0].is_atom()) return undefined_arity();
                           const auto pid = system.whereis(*arguments[0].as_atom());
                           return pid ? Term(*pid) : Term(Atom("undefined"));
                         }));
  const auto dials = std::make_shared<PeersDials>();
  system.export_function("gen_server", "call", [&system, dials](Process& self, std::vector<Term> arguments) {
    return gen_call(system, *dials, self, std::move(arguments));
  });
  system.export_function("gen_server", "cast", [&system, dials](Process& self, std::vector<Term> arguments) {
    return gen_cast(system, *dials, self, std::move(arguments));
  });
}

/// Options that only say how an Erlang process uses its memory and its turns.
bool is_tuning(const Term& option) {
  static constexpr std::array options{"priority",   "min_heap_size", "fullsweep_after",   "message_queue_data",
                                      "async_dist", "max_heap_size", "min_bin_vheap_size"};
  return std::ranges::any_of(options, [&](const char* name) { return option.is_tagged(name, 2); });
}

/// `link` and `monitor` of the options; nothing for options that OTP refuses.
std::optional<std::pair<bool, bool>> read_options(const Term& options) {
  if (!options.is_proper_list()) return std::nullopt;
  std::pair<bool, bool> found{false, false};
  for (const auto& option : options.elements()) {
    const bool monitor = option.is_atom("monitor") || option.is_tagged("monitor", 2);
    if (option.is_atom("link")) {
      found.first = true;
    } else if (monitor) {
      found.second = true;
    } else if (!is_tuning(option)) {
      return std::nullopt;
    }
  }
  return found;
}

}  // namespace

std::shared_ptr<State> System::make_for_peer(ProcessFunction function, std::size_t bytes) {
  if (remote_spawns_.load(std::memory_order_relaxed) >= config_.remote_spawns_max) return nullptr;
  // One alone may be as large as a message may.
  const std::size_t others = remote_spawns_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (others > 0 && others + bytes > config_.mailbox_bytes_max) {
    remote_spawns_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    return nullptr;
  }
  auto state = make(std::move(function));
  state->set_for_peer();
  remote_spawns_.fetch_add(1, std::memory_order_relaxed);
  state->duty = std::make_unique<const Duty>(Duty{.on_end = [this, bytes] {
    remote_spawns_.fetch_sub(1, std::memory_order_relaxed);
    remote_spawns_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  }});
  return state;
}

void exit_of_call(Term reason, Term arguments) {
  Term call = Term::tuple({Atom("gen_server"), Atom("call"), std::move(arguments)});
  throw ExitProcess{Term::tuple({std::move(reason), std::move(call)})};
}

Task<Term> call_as_gen_server(Process& self, Destination server, Term request, std::chrono::milliseconds limit,
                              Term arguments) {
  CallOutcome outcome = co_await self.run_call(server, std::move(request), limit);
  switch (outcome.kind) {
    case CallOutcome::Kind::returned: co_return std::move(outcome.value);
    case CallOutcome::Kind::timeout: exit_of_call(Atom("timeout"), std::move(arguments));
    case CallOutcome::Kind::no_connection: exit_of_call(node_down(server, self.pid().node), std::move(arguments));
    case CallOutcome::Kind::thrown:
    case CallOutcome::Kind::exited:
    case CallOutcome::Kind::failed:
    case CallOutcome::Kind::refused:
    case CallOutcome::Kind::stopped:
    case CallOutcome::Kind::ended: break;
  }
  exit_of_call(std::move(outcome.value), std::move(arguments));
}

void System::handle_spawn(Signal&& signal, const Origin& origin) {
  auto request = std::get<SpawnRequest>(std::move(signal.control));
  const Atom from = request.from.node;
  const auto refuse_with = [&](const char* why) {
    counters_.refused_spawns.fetch_add(1, std::memory_order_relaxed);
    route(nobody(), from, Signal{SpawnReply{request.request, request.from, 0, Atom(why)}, {}});
  };
  const auto options = read_options(request.options);
  if (!options) return refuse_with("badopt");
  request.options = {};  // the process has no use for them
  const auto* encoded = std::get_if<distribution::EncodedTerm>(&signal.payload);
  const std::size_t bytes = encoded == nullptr ? 0 : encoded->bytes.size();
  const auto state = make_for_peer([this, request, payload = std::move(signal.payload)](
                                       Process& self) { return run_request(self, *this, request, payload); },
                                   bytes);
  if (!state) return refuse_with("system_limit");
  state->set_group_leader(request.group_leader);
  const auto peer = state->watch(from);
  const std::uint64_t generation = peer == nullptr ? 0 : peer->generation.load();
  // Only who asked gets the result of `erpc:call`. What was spawned to stay is no business of the channel.
  if (peer != nullptr && is_erpc_call(request)) state->work_for(from, generation);
  std::uint32_t flags = 0;
  if (options->first) {
    state->add_link(request.from, generation);
    flags |= SpawnReply::flag_link;
  }
  if (options->second) {
    state->add_watcher(request.request, request.from, generation);
    flags |= SpawnReply::flag_monitor;
  }
  // The reply leaves before the process can send anything.
  route(state->pid(), from, Signal{SpawnReply{request.request, request.from, flags, state->pid()}, {}});
  begin(*state);
  // The channel may have ended before the process was listed as one that hears of it.
  if (peer != nullptr && origin.epoch != 0 && peer->epoch.load() != origin.epoch) {
    state->tell(new Event(NodeGone{from, generation}));
  }
}

void start_services(System& system) {
  export_basics(system);
  const std::vector<std::pair<const char*, ProcessFunction>> services{
      {"net_kernel", [&system](Process& self) { return net_kernel(self, system); }},
      {"rex", [&system](Process& self) { return rex(self, system); }},
      {"user", [&system](Process& self) { return group_leader(self, system); }},
      {"logger_proxy", [&system](Process& self) { return logger_proxy(self, system); }},
  };
  for (const auto& [name, function] : services) {
    const Pid pid = system.spawn(function);
    if (const auto registered = system.register_name(Atom(name), pid); !registered) system.exit(pid, Atom("kill"));
  }
}

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
