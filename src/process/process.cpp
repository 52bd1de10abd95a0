#include <barrel_p2p/process.hpp>
#include <utility>

#include "process/state.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using distribution::Signal;
using distribution::SpawnRequest;

bool is_reply(const Term& message, const Term& tag) { return message.is_tuple(2) && message[0] == tag; }
bool is_about(const Term& message, const char* what, std::size_t arity, const Ref& ref) {
  return message.is_tagged(what, arity) && message[1].as_reference() != nullptr && *message[1].as_reference() == ref;
}
bool is_down(const Term& message, const Ref& ref) { return is_about(message, "DOWN", 5, ref); }
bool is_spawn_reply(const Term& message, const Ref& ref) { return is_about(message, "spawn_reply", 4, ref); }

/// A server that answers and stops may have its end overtake its answer, where an Erlang node sends them on different
/// streams (protocol document 08, section 5.2).
bool may_have_answered(const Term& reason) {
  return reason.is_atom("normal") || reason.is_atom("shutdown") || reason.is_tagged("shutdown", 2);
}

/// A pid, or `{Name, Node}`.
bool is_on(const Term& process, const Atom& node) {
  return process.is_pid() ? process.as_pid()->node == node : process.is_tuple(2) && process[1] == Term(node);
}

Error no_answer(std::chrono::milliseconds limit) {
  return {Errc::timeout, "no answer within " + std::to_string(limit.count()) + " ms"};
}

Error error_of_exit(const Term& reason) {
  if (reason.is_atom("noproc")) return {Errc::no_process, "no such process"};
  if (reason.is_atom("noconnection")) {
    return {Errc::no_connection, "the connection to the node was lost, or could not be made"};
  }
  return {Errc::remote_exit, to_text(reason)};
}

/// The options of a spawn request as they go over the wire.
Term options_of(const Process::SpawnOptions& options) {
  std::vector<Term> list;
  if (options.link) list.emplace_back(Atom("link"));
  if (options.monitor) list.emplace_back(Atom("monitor"));
  return Term::list(std::move(list));
}

/// Sends a spawn request; the process gets what comes of it under the reference. `arguments` is a proper list.
Ref request_spawn(process::State& state, const Atom& node, RemoteFunction what, const Process::SpawnOptions& options,
                  bool tell) {
  process::System& system = state.system();
  const Ref request = system.make_ref();
  state.expect_spawn(request, node, tell, options);
  const Pid leader = system.whereis(Atom("user")).value_or(state.pid());
  SpawnRequest spawn{request,
                     state.pid(),
                     leader,
                     what.module,
                     what.function,
                     static_cast<std::uint8_t>(what.arguments.size()),
                     options_of(options)};
  system.route(state.pid(), node, Signal{std::move(spawn), Term::list(std::move(what.arguments))});
  return request;
}

RemoteFunction in_erpc(const char* function, std::vector<Term> arguments) {
  return {Atom("erpc"), Atom(function), std::move(arguments)};
}

/// Reads how an `erpc:execute_call` ended.
CallOutcome read_outcome(const Term& reason, const Ref& call) {
  using Kind = CallOutcome::Kind;
  const bool ours = reason.is_tuple() && reason.size() >= 3 && reason[0] == Term(call);
  if (!ours) return {reason.is_atom("noconnection") ? Kind::no_connection : Kind::ended, reason, {}};
  if (reason[1].is_atom("return")) return {Kind::returned, reason[2], {}};
  if (reason[1].is_atom("throw")) return {Kind::thrown, reason[2], {}};
  if (reason[1].is_atom("exit")) return {Kind::exited, reason[2], {}};
  if (reason[1].is_atom("error")) return {Kind::failed, reason[2], reason.size() > 3 ? reason[3] : Term()};
  return {Kind::ended, reason, {}};
}

}  // namespace

Matcher tagged(std::string tag, std::size_t arity) {
  return [tag = std::move(tag), arity](const Term& message) { return message.is_tagged(tag, arity); };
}

// Waiting.

void process::ForgetHeld::operator()(Held* held) const noexcept {
  if (held->unsent) held->system.mutable_counters().dropped_by_channel.fetch_add(1, std::memory_order_relaxed);
  delete held;
}

bool Receive::await_ready() {
  if (!messages_) return false;
  if (!state_.take(*this)) return false;
  return !state_.process.turn_is_over();
}
void Receive::await_suspend(std::coroutine_handle<> handle) {
  if (result_) return state_.yield(handle);
  state_.wait(handle, messages_ ? this : nullptr, limit_);
}

/// Only who is about to wait is told that the node takes more: what comes to others is forgotten.
bool Sending::begin_to_wait() { return process_.state_.is_held(*held_); }
void Sending::await_suspend(std::coroutine_handle<> handle) {
  process::State& state = process_.state_;
  if (waits_) return state.wait_writable(handle, *held_);
  state.yield(handle);
}

Receive Process::receive(Matcher matcher, std::optional<Duration> limit) { return {state_, std::move(matcher), limit}; }
Receive Process::receive_for(Duration limit) { return {state_, {}, limit}; }
Receive Process::receive_new(process::Node* mark, Matcher matcher, Duration limit) {
  Receive receive(state_, std::move(matcher), limit);
  receive.only_new_ = true;
  receive.after_ = mark;
  return receive;
}
Sleep Process::sleep(Duration duration) {
  Sleep sleep(state_, {}, duration);
  sleep.messages_ = false;
  return sleep;
}
Sending Process::send(const Destination& to, Term message) { return {*this, state_.send(to, std::move(message))}; }
Sending Process::send(const Pid& to, Term message) { return {*this, state_.send(to, std::move(message))}; }

// What needs no waiting.

const Pid& Process::pid() const noexcept { return state_.pid(); }
NodeName Process::node() const { return NodeName(state_.pid().node.text()); }
std::size_t Process::mailbox_size() const noexcept { return state_.mailbox_size(); }
void Process::link(const Pid& other) { state_.link(other); }
void Process::unlink(const Pid& other) { state_.unlink(other); }
Ref Process::monitor(const Destination& target) { return state_.monitor(target, false); }
void Process::demonitor(const Ref& ref, bool flush) { state_.demonitor(ref, flush); }
void Process::trap_exit(bool trap) noexcept { state_.trap_exit = trap; }
void Process::exit(const Pid& target, const Term& reason) {
  state_.system().route(pid(), target.node, Signal{distribution::Exit2{pid(), target}, reason});
}
Result<void> Process::register_name(const Atom& name) { return state_.system().register_name(name, pid()); }
Pid Process::group_leader() const {
  if (const auto own = state_.group_leader()) return *own;
  return state_.system().whereis(Atom("user")).value_or(pid());
}
std::function<void(Term)> Process::sender() const {
  return [gate = state_.system().gate(), pid = pid()](Term message) {
    gate->with([&](process::System* system) {
      if (system != nullptr) system->send_local(pid, std::move(message));
    });
  };
}
Ref Process::alias() { return state_.alias(); }
bool Process::unalias(const Ref& alias) { return state_.unalias(alias); }
Ref Process::make_ref() { return state_.system().make_ref(); }
void Process::monitor_nodes() { state_.system().subscribe_nodes(pid()); }
void Process::monitor_node(const NodeName& node) { state_.system().monitor_node(node.atom(), pid()); }

Pid Process::spawn(ProcessFunction function) { return state_.system().spawn(std::move(function)); }

Pid Process::spawn_link(ProcessFunction function) {
  const auto child = state_.system().make(std::move(function));
  child->add_link(pid(), 0);
  state_.add_link(child->pid(), 0);
  state_.system().begin(*child);
  return child->pid();
}

std::pair<Pid, Ref> Process::spawn_monitor(ProcessFunction function) {
  const auto child = state_.system().make(std::move(function));
  const Ref ref = state_.monitor(child->pid(), false);
  state_.system().begin(*child);
  return {child->pid(), ref};
}

Sending Process::cast(const Destination& server, Term request) {
  return send(server, Term::tuple({Atom("$gen_cast"), std::move(request)}));
}

void Process::cast_function(const NodeName& node, RemoteFunction what) {
  std::vector<Term> arguments{what.module, what.function, Term::list(std::move(what.arguments))};
  const Ref request = request_spawn(state_, node.atom(), in_erpc("execute_cast", std::move(arguments)), {}, false);
  state_.demonitor(request, true);
}

// Calls.

Task<CallOutcome> Process::run_call(Destination server, Term request, Duration limit) {
  using Kind = CallOutcome::Kind;
  process::Node* const mark = state_.mark();
  const Ref ref = state_.monitor(server, true);
  const Term tag = Term::list(std::vector<Term>(1, Atom("alias")), ref);
  Term asked = Term::tuple_of(Atom("$gen_call"), Term::tuple_of(pid(), tag), std::move(request));
  const auto target = state_.is_for_peer() ? state_.system().find_here(server) : nullptr;
  if (!target) {
    co_await send(server, std::move(asked));
  } else if (!state_.system().send_for_peer(*target, std::move(asked))) {
    state_.demonitor(ref, true);
    CallOutcome full;
    full.kind = Kind::ended;
    full.value = Atom("system_limit");
    co_return full;
  }
  const Matcher answer = [&tag, &ref](const Term& message) { return is_reply(message, tag) || is_down(message, ref); };
  const MaybeTerm message = co_await receive_new(mark, answer, limit);
  CallOutcome outcome;
  if (!message || is_reply(*message, tag)) {
    state_.demonitor(ref, true);
    outcome.kind = message ? Kind::returned : Kind::timeout;
    if (message) outcome.value = (*message)[1];
    co_return outcome;
  }
  outcome.value = (*message)[4];
  outcome.kind = outcome.value.is_atom("noconnection") ? Kind::no_connection : Kind::ended;
  if (may_have_answered(outcome.value) && !is_on((*message)[3], pid().node)) {
    const Matcher late_answer = [&tag](const Term& other) { return is_reply(other, tag); };
    const MaybeTerm late = co_await receive_new(mark, late_answer, process::late_answer_grace);
    if (late) {
      outcome.kind = Kind::returned;
      outcome.value = (*late)[1];
      co_return outcome;
    }
  }
  state_.unalias(ref);
  co_return outcome;
}

Task<Result<Term>> Process::call(Destination server, Term request, Duration limit) {
  const CallOutcome outcome = co_await run_call(std::move(server), std::move(request), limit);
  if (outcome.kind == CallOutcome::Kind::returned) co_return outcome.value;
  if (outcome.kind == CallOutcome::Kind::timeout) co_return std::unexpected(no_answer(limit));
  co_return std::unexpected(error_of_exit(outcome.value));
}

Task<CallOutcome> Process::run_function(NodeName node, RemoteFunction what, Duration limit) {
  process::Node* const mark = state_.mark();
  const Ref call = make_ref();
  std::vector<Term> arguments;
  arguments.emplace_back(call);
  arguments.emplace_back(what.module);
  arguments.emplace_back(what.function);
  arguments.push_back(Term::list(std::move(what.arguments)));
  SpawnOptions options;
  options.monitor = true;
  const Ref request = request_spawn(state_, node.atom(), in_erpc("execute_call", std::move(arguments)), options, false);
  const Matcher answer = [&request](const Term& message) {
    return is_down(message, request) || is_spawn_reply(message, request);
  };
  const MaybeTerm message = co_await receive_new(mark, answer, limit);
  CallOutcome outcome;
  if (!message) {
    state_.demonitor(request, true);
    outcome.kind = CallOutcome::Kind::timeout;
  } else if (is_spawn_reply(*message, request)) {
    outcome.value = (*message)[3];
    outcome.kind =
        outcome.value.is_atom("noconnection") ? CallOutcome::Kind::no_connection : CallOutcome::Kind::refused;
  } else {
    outcome = read_outcome((*message)[4], call);
  }
  co_return outcome;
}

Result<Term> CallOutcome::result() const {
  switch (kind) {
    case Kind::returned: return value;
    case Kind::failed:
      if (value.is_atom("undef")) return fail(Errc::undefined_function, to_text(stack));
      return fail(Errc::remote_exit, "error: " + to_text(value));
    case Kind::thrown: return fail(Errc::remote_exit, "throw: " + to_text(value));
    case Kind::exited: return fail(Errc::remote_exit, "exit: " + to_text(value));
    case Kind::ended: return fail(Errc::remote_exit, "killed: " + to_text(value));
    case Kind::refused: return fail(Errc::remote_exit, "the node refused to run it: " + to_text(value));
    case Kind::no_connection: return fail(Errc::no_connection, "the connection was lost, or could not be made");
    case Kind::timeout: return fail(Errc::timeout, "no answer in time; the function may still run");
    case Kind::stopped: return fail(Errc::stopped, "the node is stopping");
  }
  return fail(Errc::system_error);
}

Task<Result<Term>> Process::call_function(NodeName node, Atom module, Atom function, std::vector<Term> arguments,
                                          Duration limit) {
  RemoteFunction what{std::move(module), std::move(function), std::move(arguments)};
  const CallOutcome outcome = co_await run_function(std::move(node), std::move(what), limit);
  if (outcome.kind == CallOutcome::Kind::timeout) co_return std::unexpected(no_answer(limit));
  co_return outcome.result();
}

Task<Result<Process::Spawned>> Process::spawn_on(NodeName node, RemoteFunction what, SpawnOptions options,
                                                 Duration limit) {
  process::Node* const mark = state_.mark();
  const Ref request = request_spawn(state_, node.atom(), std::move(what), options, true);
  const Matcher answer = [&request](const Term& message) {
    return is_spawn_reply(message, request) || is_down(message, request);
  };
  const MaybeTerm message = co_await receive_new(mark, answer, limit);
  if (!message) {
    state_.demonitor(request, true);
    co_return std::unexpected(no_answer(limit));
  }
  if (is_down(*message, request)) {  // its end overtook the news that it began; whoever monitors wants to see it
    const Pid* const ended = (*message)[3].as_pid();
    if (ended == nullptr) co_return fail(Errc::remote_exit, "what ended is not a process: " + to_text((*message)[3]));
    Spawned early{*ended, request};
    state_.system().send_local(pid(), Term(*message));
    co_return early;
  }
  const Term& result = (*message)[3];
  if (result.is_atom("noconnection")) co_return std::unexpected(error_of_exit(result));
  if (!result.is_pid()) co_return fail(Errc::remote_exit, "the node refused to start it: " + to_text(result));
  Spawned spawned{*result.as_pid(), request};
  co_return spawned;
}

std::optional<std::pair<CallFrom, Term>> as_call(const Term& message) {
  if (!message.is_tagged("$gen_call", 3) || !message[1].is_tuple(2) || !message[1][0].is_pid()) return std::nullopt;
  return std::pair{CallFrom{*message[1][0].as_pid(), message[1][1]}, message[2]};
}

std::optional<Term> as_cast(const Term& message) {
  if (!message.is_tagged("$gen_cast", 2)) return std::nullopt;
  return message[1];
}

Destination process::reply_address(const CallFrom& from) {
  // The tag is [alias | Ref], or [[alias | Ref] | Anything]: then the answer goes to the alias.
  const Term* tag = &from.tag;
  const auto is_pair = [](const Term& term) { return term.type() == TermType::list && term.size() == 1; };
  if (is_pair(*tag) && is_pair((*tag)[0])) tag = &(*tag)[0];
  if (is_pair(*tag) && (*tag)[0].is_atom("alias") && tag->tail().as_reference() != nullptr) {
    return *tag->tail().as_reference();
  }
  return from.pid;
}

Sending reply(Process& self, const CallFrom& from, Term answer) {
  return self.send(process::reply_address(from), Term::tuple({from.tag, std::move(answer)}));
}

}  // namespace v0
}  // namespace barrel_p2p
