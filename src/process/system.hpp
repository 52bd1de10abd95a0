// All processes of one node: table, scheduler, timers, names, and the signals between processes here and elsewhere.
//
// Signals are the control messages of the distribution protocol, also between local processes, so that there is one
// semantics: what arrives from a peer goes through `deliver`, what goes to a peer through `RemotePort::send`. Every
// process handles its signals itself, in the order in which they arrived, on a worker thread.
//
// Thread safe unless said otherwise. Source: protocol document 08, sections 4 to 7.
#pragma once

#include <array>
#include <atomic>
#include <barrel_p2p/process.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/gate.hpp"
#include "distribution/control.hpp"
#include "distribution/outcome.hpp"
#include "process/nodes.hpp"
#include "process/scheduler.hpp"
#include "process/state.hpp"
#include "process/timers.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

/// A function that peers may call (`rpc`, `erpc`) or spawn; it runs on a process of its own.
using ExportedFunction = std::function<Task<Result<Term>>(Process&, std::vector<Term>)>;

using NameReceiver = std::function<distribution::DeliverOutcome(const Atom& name, const Atom& node, std::uint64_t epoch,
                                                                distribution::Payload&& payload)>;

/// How long an answer may be behind the news of its server's end. Two round trips (protocol document 08, section 5.2),
/// for any distance on Earth at which nothing is lost: what is measured of a channel is the transport thread's. Nobody
/// waits so long but a call that has failed.
inline constexpr std::chrono::milliseconds late_answer_grace{250};

/// The way to other nodes.
struct RemotePort {
  std::function<distribution::SendOutcome(const Atom& node, distribution::Signal&&, const Pid& stream_key)> send;
  /// After `DeliverOutcome::congested`, once for each: the receiver has room again.
  std::function<void(const Atom& node, std::uint64_t epoch)> resume_reading;
  /// A payload of this channel could not be decoded.
  std::function<void(const Atom& node, std::uint64_t epoch, Error why)> report_malformed;
};

struct SystemConfig {
  Atom node;
  std::uint32_t creation = 4;
  unsigned workers = 0;  ///< 0: one a core, at most 8.
  std::size_t mailbox_bytes_max = 256UL * 1024 * 1024;
  std::size_t remote_spawns_max = 10'000;
  /// How long a process that calls a server for a peer waits for the answer at most, whatever the peer asks for.
  std::chrono::milliseconds remote_call_max{300'000};
  std::size_t remote_relations_max = 1'000'000;        ///< Links and monitors of one peer: about 200 bytes each.
  std::function<void(const std::string&)> log_crash;   ///< A process ended with an exception.
  std::function<void(const std::string&)> log_output;  ///< Output of functions that run on other nodes for us.
};

/// What happened, and what was dropped, by reason.
struct SystemCounters {
  std::atomic<std::uint64_t> spawned{0};
  std::atomic<std::uint64_t> crashed{0};
  std::atomic<std::uint64_t> dropped_no_process{0};
  std::atomic<std::uint64_t> dropped_no_name{0};
  std::atomic<std::uint64_t> dropped_stale_creation{0};
  std::atomic<std::uint64_t> dropped_dead_alias{0};
  std::atomic<std::uint64_t> dropped_by_channel{0};
  std::atomic<std::uint64_t> dropped_malformed{0};
  std::atomic<std::uint64_t> refused_spawns{0};
  std::atomic<std::uint64_t> refused_relations{0};
  std::atomic<std::uint64_t> refused_calls{0};   ///< Of functions that are not exported.
  std::atomic<std::uint64_t> mailboxes_full{0};  ///< Times that a channel was held back.
};

class System {
 public:
  explicit System(SystemConfig config);
  ~System();
  System(const System&) = delete;
  System& operator=(const System&) = delete;

  /// Before the first signal goes out.
  void set_remote(RemotePort port) { remote_ = std::move(port); }
  /// Messages of other nodes to this name go to the receiver, whoever bears the name; everything else (`whereis`,
  /// monitors, messages of processes here) finds the process that is registered. False: the name has a receiver.
  bool set_receiver(const Atom& name, Receiver receiver);
  /// After it returns the receiver is not called any more.
  void remove_receiver(const Atom& name);
  /// The same for all names that begin so and have no receiver of their own. Before the first signal comes in.
  void set_receiver_of_prefix(std::string prefix, NameReceiver receiver) {
    prefix_receivers_.emplace_back(std::move(prefix), std::move(receiver));
  }
  /// Whom messages and monitors by name are for when no process bears the name; a process of this node. Before `start`.
  /// Called on any thread, the transport thread among them; must not block.
  void set_name_fallback(std::function<std::optional<Pid>(const Atom& name)> fallback) {
    name_fallback_ = std::move(fallback);
  }
  /// Starts the workers and the services (`net_kernel`, `rex`, the group leader, `logger_proxy`).
  void start();
  /// Kills all processes and ends the workers. Blocks until it is done; must not be called from a process.
  void stop();

  /// For those who may outlive it.
  [[nodiscard]] const std::shared_ptr<Gate<System>>& gate() const noexcept { return gate_; }
  [[nodiscard]] const SystemConfig& config() const noexcept { return config_; }
  [[nodiscard]] const SystemCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] std::size_t process_count() const;
  /// The caller runs on a thread that runs processes: it must not block.
  [[nodiscard]] bool is_current() const noexcept { return scheduler_.on_worker(); }

  Pid spawn(ProcessFunction function);
  /// A process that is a part of the node: exits of other nodes and of their links do nothing to it. Those that bear a
  /// name when `start` returns, and those of the two functions below, are too.
  Pid spawn_internal(ProcessFunction function);
  /// A process for answers of other nodes. What they send to its pid goes to the receiver: a process does not learn who
  /// sent a message, and a node that guesses a reference could answer in the place of the one that was asked. Messages
  /// of processes here, and to a name of it, are thrown away.
  Pid spawn_receiver(Receiver receiver);
  /// A process that monitors others for the node itself. `ended` is told of each end, once. Messages to it are thrown
  /// away: what another process or node sends, through whichever function, is never taken for an end or a wish.
  Pid spawn_watcher(WatchedEnded ended);
  /// Of one watcher, watches begin and end in the order of the calls. What ends a process of this node after this call
  /// is what its end is told with.
  Ref watch(const Pid& watcher, const Pid& pid);
  void unwatch(const Pid& watcher, const Ref& watch);
  /// Errors: `overloaded` (the channel's upper bound is reached), `no_connection` (not connected and not being
  /// dialled), `no_process` (a name of this node that nobody bears).
  Result<void> send(const Destination& to, Term message);
  void exit(const Pid& target, const Term& reason);
  /// Errors: `already_registered` (the name is taken, or the process has one), `no_process`, `invalid_argument`.
  Result<void> register_name(const Atom& name, const Pid& pid);
  bool unregister_name(const Atom& name);
  [[nodiscard]] std::optional<Pid> whereis(const Atom& name) const;
  /// Who gets what is sent to the name: the process that bears it, else that of the fallback.
  [[nodiscard]] std::optional<Pid> addressee(const Atom& name) const;
  [[nodiscard]] bool is_alive(const Pid& pid) const;
  void export_function(const Atom& module, const Atom& function, ExportedFunction implementation);
  [[nodiscard]] std::optional<ExportedFunction> exported(const Atom& module, const Atom& function) const;
  /// Connected, and not hidden.
  [[nodiscard]] std::vector<Atom> nodes() const { return peers_.visible(); }
  [[nodiscard]] bool is_connected(const Atom& node) const { return peers_.flags(node) != 0; }
  /// This node, or one that is connected: what is sent to it dials nobody.
  [[nodiscard]] bool is_at_hand(const Atom& node) const { return node == config_.node || is_connected(node); }

  // From the transport thread.
  distribution::DeliverOutcome deliver(const Atom& node, std::uint64_t epoch, distribution::Signal&& signal);
  /// The first of these, and those that follow on it, as long as they are messages to the same process.
  distribution::Delivered deliver(const Atom& node, std::uint64_t epoch, std::span<distribution::Signal> signals);
  void node_up(const Atom& node, std::uint64_t epoch, std::uint32_t creation, std::uint64_t flags);
  /// Returns whether `nodes` listed it.
  bool node_down(const Atom& node, std::uint64_t epoch);
  /// A dial failed: what was sent since it began is lost.
  void unreachable(const Atom& node);
  /// Senders that wait for the node may go on.
  void node_writable(const Atom& node);

  // For processes.
  /// An alias carries its owner.
  Ref make_ref(const Pid* owner = nullptr);
  /// Sends a signal on behalf of a local process. Who waits for an answer to a signal that cannot leave gets it at
  /// once.
  distribution::SendOutcome route(const Pid& from, const Atom& node, distribution::Signal&& signal);
  /// The same for a message. It is taken, unless the outcome is `full`: then it is not counted as dropped, either.
  distribution::SendOutcome offer(const Pid& from, const Atom& node, distribution::Signal& signal);
  void send_local(const Pid& to, Term&& message);
  /// To what `find` gave.
  void send_to(State* state, Term&& message);
  /// The same for what a peer has us send: it counts against the bound of the mailbox, as what the peer sends itself.
  /// False: there is no room, and nothing was sent.
  [[nodiscard]] bool send_for_peer(State& state, Term&& message);
  /// A process of this node, if it is there.
  [[nodiscard]] std::shared_ptr<State> find(const Pid& pid) const;
  /// The same for whatever messages are sent to; nothing for an alias.
  [[nodiscard]] std::shared_ptr<State> find_here(const Destination& to) const;
  void send_name(const Atom& name, Term&& message);
  /// A process that does not run yet; `begin` starts it.
  std::shared_ptr<State> make(ProcessFunction function);
  /// The same for a process that a peer wants, counted; nothing when there are `remote_spawns_max` of them. `bytes` is
  /// what its arguments take as long as it lives: nothing, too, when with those of others they are more than a mailbox
  /// may have.
  std::shared_ptr<State> make_for_peer(ProcessFunction function, std::size_t bytes);
  void begin(State& state);
  void schedule(State& state) { scheduler_.schedule(state); }
  void yield(State& state, const State* partner) { scheduler_.yield(state, partner); }
  [[nodiscard]] Scheduler& scheduler() noexcept { return scheduler_; }
  [[nodiscard]] Timers& timers() noexcept { return timers_; }
  [[nodiscard]] Peers& peers() noexcept { return peers_; }
  [[nodiscard]] const RemotePort& remote() const noexcept { return remote_; }
  SystemCounters& mutable_counters() noexcept { return counters_; }
  /// Takes the process out of the tables. It lives as long as what is returned.
  std::shared_ptr<State> ended(State& state);
  /// What the absent receiver of a signal owes its sender.
  void answer_absent(distribution::Signal&& signal) { answer(std::move(signal), Term(Atom("noproc"))); }
  /// A link or a monitor that would be one too many of its node: it ends at once, with the reason `system_limit`.
  void refuse_relation(distribution::Signal&& signal);
  /// The process that a monitor by name was for: the name may be another's when it is taken back.
  void note_named(const distribution::Monitor& monitor, const Pid& process);
  /// The monitor is gone, or none came of it. Returns its process.
  std::optional<Pid> forget_named(const Ref& ref, const Pid& watcher);
  /// The mailbox is short again, or gone: it gets what waits for room, and channels of which nothing waits any more are
  /// read on.
  void relieve(State& state);
  void subscribe_nodes(const Pid& pid);
  void monitor_node(const Atom& node, const Pid& pid);

 private:
  static constexpr std::size_t shard_count = 64;
  struct Named {
    Pid watcher;
    Pid process;
  };
  /// A channel that is not read on until a process has read.
  struct HeldChannel {
    Atom node;
    std::uint64_t epoch = 0;
    std::list<std::unique_ptr<Event>> signals{};  ///< For the process: the mailbox has no room for them.
  };
  /// Of a process of which the mailbox is too long. What arrives when it is twice as long as it may be waits with its
  /// channel, and is gone with that: however often a peer connects again, it fills no more. But each node may have a
  /// little in first, for it may be the answer that the process waits for, and all nodes a mailbox more.
  struct Congestion {
    std::vector<HeldChannel> channels;
    std::unordered_map<Atom, std::size_t> let_in;  ///< Bytes, by node.
    std::size_t let_in_by_all = 0;
  };
  /// The channel of a signal.
  struct Origin {
    const Atom& node;
    std::uint64_t epoch = 0;  ///< 0: it is from here.
    bool operator()(const HeldChannel& held) const { return held.epoch == epoch && held.node == node; }
  };
  struct Shard {
    mutable std::mutex mutex;
    std::unordered_map<std::uint64_t, std::shared_ptr<State>> states;
    std::unordered_map<Ref, Named> named;  ///< Monitors by name: as many as there are in processes, or on their way.
    bool closed = false;  ///< The workers are gone: a process that is made now never runs, and goes with its maker.
  };

  distribution::DeliverOutcome deliver_local(distribution::Signal&& signal, const Origin& origin);
  distribution::Delivered deliver_messages(State& state, std::span<distribution::Signal> messages,
                                           const Origin& origin);
  distribution::DeliverOutcome note_congestion(State& state, const Origin& origin);
  /// Takes the signal when it has to wait with its channel.
  std::optional<distribution::DeliverOutcome> hold_back(State& state, distribution::Signal& signal, std::size_t bytes,
                                                        const Origin& origin);
  [[nodiscard]] bool may_enter(const State& state, std::size_t bytes, const Origin& origin,
                               Congestion& congestion) const;
  bool relieve_some(State& state, std::vector<HeldChannel>& free, std::vector<std::unique_ptr<Event>>& late);
  void forget_held(const Atom& node, std::uint64_t epoch);
  void answer(distribution::Signal&& signal, const Term& reason);
  void refuse(distribution::Control&& control);
  void handle_spawn(distribution::Signal&& signal, const Origin& origin);
  void tell(const std::vector<Pid>& pids, const std::function<Node*()>& make);
  void tell_subscribers(const char* what, const Atom& node);
  [[nodiscard]] Pid nobody() const { return {config_.node, 0, 0, config_.creation}; }
  static std::uint64_t number_of(const Pid& pid) noexcept;
  Shard& shard_of(const Ref& ref) { return shards_[std::hash<Ref>()(ref) % shard_count]; }

  SystemConfig config_;
  RemotePort remote_;
  mutable std::shared_mutex receivers_mutex_;
  std::unordered_map<Atom, Receiver> receivers_;
  std::vector<std::pair<std::string, NameReceiver>> prefix_receivers_;
  std::function<std::optional<Pid>(const Atom& name)> name_fallback_;
  SystemCounters counters_;
  std::array<Shard, shard_count> shards_;
  std::atomic<std::uint64_t> next_process_{1};
  std::atomic<std::uint64_t> next_reference_{1};
  std::uint64_t reference_base_ = 0;
  std::atomic<std::size_t> remote_spawns_{0};
  std::atomic<std::size_t> remote_spawns_bytes_{0};
  std::atomic<bool> stopping_{false};

  mutable std::shared_mutex names_mutex_;
  std::unordered_map<Atom, Pid> names_;
  mutable std::shared_mutex exports_mutex_;
  std::map<std::pair<Atom, Atom>, ExportedFunction> exports_;

  Peers peers_;
  std::mutex subscribers_mutex_;
  std::vector<Pid> subscribers_;
  std::mutex congestion_mutex_;
  /// As long as a process is here its `State::congested` is set. Only the transport thread adds to it.
  std::unordered_map<Pid, Congestion> congested_;

  Timers timers_;
  Scheduler scheduler_;
  const std::shared_ptr<Gate<System>> gate_ = std::make_shared<Gate<System>>(*this);
};

/// Where the answer of a call goes: to the alias that its tag carries, else to the caller.
Destination reply_address(const CallFrom& from);

/// Calls a server as Erlang's `gen_server:call` does: what ends the call is thrown as ExitProcess, with
/// `{Reason, {gen_server, call, Arguments}}` (protocol document 08, section 7.1).
Task<Term> call_as_gen_server(Process& self, Destination server, Term request, std::chrono::milliseconds limit,
                              Term arguments);
/// That exit. Throws it.
[[noreturn]] void exit_of_call(Term reason, Term arguments);

/// Processes that every node has: see protocol document 08, sections 6.2, 7.2, 7.4 and 7.5.
void start_services(System& system);

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
