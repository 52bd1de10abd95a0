// Processes: functions with a mailbox that run beside each other and watch each other, on one node or over many.
//
//   Pid echo = node.spawn([](Process& self) -> Task<> {
//     for (;;) {
//       Term message = co_await self.receive();
//       if (!message.is_tagged("ping", 2) || !message[1].is_pid()) continue;
//       co_await self.send(*message[1].as_pid(), Atom("pong"));
//     }
//   });
//
// The semantics are those of Erlang processes: signals between two processes arrive in the order in which they were
// sent, links carry exits both ways, monitors report an end once, and a process that fails fails alone. A process runs
// on one thread at a time; its `Process` object must be used by its own coroutine only. A process must not block its
// thread: it shares the thread with others. Sources: Erlang reference manual, "Processes"; protocol document 08.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/task.hpp>
#include <barrel_p2p/term.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

class Process;

namespace process {
class State;
class System;
struct Node;
/// A send whose sender is held back.
struct Held;
struct ForgetHeld {
  BARREL_P2P_API void operator()(Held* held) const noexcept;
};
using HeldSend = std::unique_ptr<Held, ForgetHeld>;
}  // namespace process

/// A registered name on another node.
struct RemoteName {
  Atom name;
  NodeName node;
  // A constructor, not an aggregate: g++ 12 copies temporary aggregates wrongly beside a co_await.
  RemoteName(Atom process, NodeName where) : name(std::move(process)), node(std::move(where)) {}
};

/// Whom a message goes to: a pid anywhere, a name here, a name elsewhere, or an alias.
using Destination = std::variant<Pid, Atom, RemoteName, Ref>;

/// What a process runs. The callable lives as long as the process.
using ProcessFunction = std::function<Task<>(Process&)>;

/// Decides whether a message is wanted by a selective receive. What it throws ends the process.
using Matcher = std::function<bool(const Term&)>;
/// Messages that are tuples of this arity with this atom in front.
BARREL_P2P_API Matcher tagged(std::string tag, std::size_t arity);

/// Throw it to end the process with this reason.
struct ExitProcess {
  Term reason;
  explicit ExitProcess(Term why) : reason(std::move(why)) {}
};
/// Throw it in an exported function to give the caller Erlang's `throw(Value)`. Elsewhere the process ends with
/// `{{nocatch, Value}, []}`.
struct ThrowTerm {
  Term value;
  explicit ThrowTerm(Term thrown) : value(std::move(thrown)) {}
};
/// Throw it in an exported function to give the caller Erlang's `error(Reason)`. Elsewhere the process ends with
/// `{Reason, Stack}`. Any other exception is `{exception, Text}` in place of the reason.
struct ErrorTerm {
  Term reason;
  Term stack;  ///< A list of `{Module, Function, Arguments | Arity, Info}`.
  explicit ErrorTerm(Term why, Term where = {}) : reason(std::move(why)), stack(std::move(where)) {}
};

/// The answer of `receive` with a time limit: nothing when the time passed.
using MaybeTerm = std::optional<Term>;

/// What `co_await self.receive(...)` waits on.
class BARREL_P2P_API Receive {
 public:
  using Duration = std::chrono::milliseconds;

  bool await_ready();
  void await_suspend(std::coroutine_handle<> handle);
  MaybeTerm await_resume() { return std::move(result_); }

 protected:
  friend class Process;
  friend class process::State;
  Receive(process::State& state, Matcher matcher, std::optional<Duration> limit)
      : state_(state), matcher_(std::move(matcher)), limit_(limit) {}

  process::State& state_;
  Matcher matcher_;  ///< Empty: any message.
  std::optional<Duration> limit_;
  MaybeTerm result_;
  bool messages_ = true;   ///< False: only the time is waited for.
  bool only_new_ = false;  ///< Messages up to `after_` need not be looked at.
  process::Node* after_ = nullptr;
};

/// What `co_await self.receive()` waits on.
class BARREL_P2P_API ReceiveAny : public Receive {
 public:
  Term await_resume() { return std::move(*result_); }

 private:
  friend class Process;
  using Receive::Receive;
};

/// What `co_await self.sleep(...)` waits on.
class BARREL_P2P_API Sleep : public Receive {
 public:
  void await_resume() {}

 private:
  friend class Process;
  using Receive::Receive;
};

/// What `co_await self.send(...)` waits on: the sender is held back while too much waits for the node that the message
/// goes to. Await it once. The message has left already, unless `limits.send_queue_bytes_max` was reached: then it
/// leaves as soon as there is room, and is dropped if nobody awaits that. What the process sends before it awaits may
/// overtake it.
class BARREL_P2P_API Sending {
 public:
  bool await_ready();  // below
  void await_suspend(std::coroutine_handle<> handle);
  void await_resume() const noexcept {}
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;
  ~Sending() = default;

 private:
  friend class Process;
  Sending(Process& process, process::HeldSend held) noexcept : process_(process), held_(std::move(held)) {}
  /// Says that the sender wants to go on when there is room. False: there is.
  bool begin_to_wait();

  Process& process_;
  process::HeldSend held_;  ///< Empty: nothing to wait for.
  bool waits_ = false;
};

/// How a call to a server, or of a function on another node, ended.
struct CallOutcome {
  enum class Kind : std::uint8_t {
    returned,       ///< `value` is the result.
    thrown,         ///< `throw(value)`.
    exited,         ///< `exit(value)`.
    failed,         ///< `error(value)`, with `stack`.
    ended,          ///< The server, or the process that ran the function, ended: `value` is the reason.
    refused,        ///< The node did not start it: `value` is an atom, `notsup` or `system_limit` for instance.
    no_connection,  ///< The connection was lost, or could not be made.
    timeout,        ///< No answer in time. The function may still run.
    stopped,        ///< Our own node stopped.
  };
  Kind kind = Kind::timeout;
  Term value;
  Term stack;

  /// Errors: `timeout`, `no_connection`, `stopped`, `undefined_function`; `remote_exit` with the ending as text.
  [[nodiscard]] BARREL_P2P_API Result<Term> result() const;
};

/// A function to start as a process on another node.
struct RemoteFunction {
  Atom module;
  Atom function;
  std::vector<Term> arguments;
  RemoteFunction(Atom in, Atom what, std::vector<Term> with = {})
      : module(std::move(in)), function(std::move(what)), arguments(std::move(with)) {}
};

class BARREL_P2P_API Process {
 public:
  using Duration = std::chrono::milliseconds;

  explicit Process(process::State& state) noexcept : state_(state) {}
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() = default;

  [[nodiscard]] const Pid& pid() const noexcept;
  operator const Pid&() const noexcept { return pid(); }  // NOLINT(google-explicit-constructor): acts for its pid
  [[nodiscard]] NodeName node() const;
  /// Messages in the mailbox that have not been received.
  [[nodiscard]] std::size_t mailbox_size() const noexcept;

  /// The next message.
  ReceiveAny receive();
  /// The first message that matches, in order of arrival; others stay. Nothing when `limit` passed first; with a limit
  /// of 0 only what came already is looked at.
  Receive receive(Matcher matcher, std::optional<Duration> limit = std::nullopt);
  /// The next message, or nothing when `limit` passed first.
  Receive receive_for(Duration limit);
  Sleep sleep(Duration duration);

  /// Sends a message. Waits while more than `limits.send_queue_bytes` is queued for the target's node. Never fails: a
  /// message to nobody is dropped, as on an Erlang node.
  [[nodiscard]] Sending send(const Destination& to, Term message);
  [[nodiscard]] Sending send(const Pid& to, Term message);
  [[nodiscard]] Sending send(const Process& to, Term message) { return send(to.pid(), std::move(message)); }

  void link(const Pid& other);
  /// After it returns no exit signal of that link comes any more. (A message `{'EXIT', ...}` may have come before.)
  void unlink(const Pid& other);
  /// `{'DOWN', Ref, process, Pid | {Name, Node}, Reason}` comes once, when the target ends or its node goes. Throws
  /// std::invalid_argument for an alias.
  Ref monitor(const Destination& target);
  /// With `flush`, also removes a DOWN message that came already.
  void demonitor(const Ref& ref, bool flush = true);
  /// Exit signals become messages `{'EXIT', From, Reason}`.
  void trap_exit(bool trap) noexcept;
  /// Sends an exit signal, as `exit/2`: `kill` cannot be trapped. To end itself a process throws ExitProcess.
  void exit(const Pid& target, const Term& reason);
  /// A process has one name at most. Errors: `already_registered`, `invalid_argument`.
  [[nodiscard]] Result<void> register_name(const Atom& name);
  /// Who asked for this process by a spawn request gave it this group leader; else the one of the node.
  [[nodiscard]] Pid group_leader() const;

  Pid spawn(ProcessFunction function);
  Pid spawn_link(ProcessFunction function);
  [[nodiscard]] std::pair<Pid, Ref> spawn_monitor(ProcessFunction function);

  struct SpawnOptions {
    bool link = false;
    bool monitor = false;
  };
  struct Spawned {
    Pid pid;
    Ref ref;  ///< Of the monitor, if one was asked for.
  };
  /// Starts a function as a process on another node (`erlang:spawn_opt/5`). Errors: `timeout`, `no_connection`;
  /// `remote_exit` with the atom that the node refused it with.
  [[nodiscard]] Task<Result<Spawned>> spawn_on(NodeName node, RemoteFunction what, SpawnOptions options,
                                               Duration limit = std::chrono::seconds(5));

  /// Sends messages to this process from any thread, for callbacks. When the process has ended, or the node is gone, it
  /// does nothing.
  [[nodiscard]] std::function<void(Term)> sender() const;

  /// A reference that stands for this process until `unalias`.
  Ref alias();
  bool unalias(const Ref& alias);
  [[nodiscard]] Ref make_ref();

  /// Messages `{nodeup, Node}` and `{nodedown, Node}` from now on, until the process ends.
  void monitor_nodes();
  /// One message `{nodedown, Node}` when the connection to it goes; at once when there is none.
  void monitor_node(const NodeName& node);

  /// A call to a server (`gen_server:call`), here or on an Erlang node. Errors: `timeout`; `no_process`;
  /// `no_connection`; `remote_exit` with the reason of the server's end.
  [[nodiscard]] Task<Result<Term>> call(Destination server, Term request, Duration limit = std::chrono::seconds(5));
  /// The same, with all that can come of it: `returned`, `ended` (`noproc`: there is no such process),
  /// `no_connection`, `timeout`.
  [[nodiscard]] Task<CallOutcome> run_call(Destination server, Term request, Duration limit = std::chrono::seconds(5));
  /// `gen_server:cast`.
  [[nodiscard]] Sending cast(const Destination& server, Term request);
  /// Runs a function on a node (`erpc:call`). Errors: those of `CallOutcome::result`.
  [[nodiscard]] Task<Result<Term>> call_function(NodeName node, Atom module, Atom function, std::vector<Term> arguments,
                                                 Duration limit = std::chrono::seconds(5));
  /// The same, with all that can come of it.
  [[nodiscard]] Task<CallOutcome> run_function(NodeName node, RemoteFunction what,
                                               Duration limit = std::chrono::seconds(5));
  /// Runs a function on a node and does not wait for it (`erpc:cast`).
  void cast_function(const NodeName& node, RemoteFunction what);

 private:
  friend class process::State;
  friend class Receive;
  friend class Sending;
  static constexpr std::size_t turn_max = 256;  ///< Signals and messages in one turn, before others run.

  bool turn_is_over() noexcept { return ++turn_ > turn_max; }
  /// Like `receive`, for messages that name something made after `mark`.
  Receive receive_new(process::Node* mark, Matcher matcher, Duration limit);

  process::State& state_;
  std::size_t turn_ = 0;
};

inline ReceiveAny Process::receive() { return {state_, {}, std::nullopt}; }

inline bool Sending::await_ready() {
  waits_ = held_ && begin_to_wait();
  return !waits_ && !process_.turn_is_over();
}

/// Where an answer goes: what stands beside a request in `{'$gen_call', From, Request}`.
struct CallFrom {
  Pid pid;
  Term tag;
  CallFrom(Pid caller, Term mark) : pid(std::move(caller)), tag(std::move(mark)) {}
};
/// Reads `{'$gen_call', {Pid, Tag}, Request}`.
BARREL_P2P_API std::optional<std::pair<CallFrom, Term>> as_call(const Term& message);
/// Reads `{'$gen_cast', Request}`.
BARREL_P2P_API std::optional<Term> as_cast(const Term& message);
/// Answers a call, of C++ and Erlang clients alike: the tag as it came, to the alias in it, if there is one.
[[nodiscard]] BARREL_P2P_API Sending reply(Process& self, const CallFrom& from, Term answer);

}  // namespace v0
}  // namespace barrel_p2p
