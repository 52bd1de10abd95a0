// One process: its signals, its mailbox, its links and monitors, its coroutine. Private to the process room.
//
// Memory: a process that waits takes about 250 bytes, its table entry, and its coroutine frame. Links, monitors and
// aliases are kept in a block of their own that most processes never need. Source: protocol document 08, sections 4, 5.
#pragma once

#include <atomic>
#include <barrel_p2p/process.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "distribution/control.hpp"
#include "distribution/outcome.hpp"
#include "process/inbox.hpp"
#include "process/nodes.hpp"
#include "process/timers.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

class System;

/// A link is absent, active, or being taken back (`unlink_id`, until the other side has said that it knows).
struct LinkState {
  std::uint64_t unlink_id = 0;  ///< 0: active.
  std::uint64_t generation = 0;
  PeerRelation relation{};  ///< When a peer made it.
};
/// Who watches us. A reference of its own, but nothing keeps another one from saying the same.
struct WatchKey {
  Ref ref;
  Pid watcher;
  friend bool operator==(const WatchKey&, const WatchKey&) = default;
};
struct WatchKeyHash {
  std::size_t operator()(const WatchKey& key) const noexcept {
    return std::hash<Ref>()(key.ref) ^ std::hash<Pid>()(key.watcher);
  }
};
struct Watcher {
  distribution::PidOrName as;
  std::uint64_t generation = 0;
  PeerRelation relation{};  ///< When it is a peer's.
  std::uint32_t times = 0;  ///< How often it has said that it watches: so often it is told, as by Erlang nodes.
};
/// We watch somebody, or asked a node for a process.
struct Monitored {
  enum class Kind : std::uint8_t { process, spawn };
  Kind kind = Kind::process;
  bool tell = false;     ///< Spawn: a message `{spawn_reply, Ref, ok, Pid}` is wanted.
  bool link = false;     ///< Spawn.
  bool monitor = false;  ///< Spawn.
  distribution::PidOrName target;
  Atom node;
  std::uint64_t generation = 0;
};

/// The end of a process whose spawn reply has not come yet.
struct EarlyExit {
  Pid from;
  Term reason;
  std::size_t bytes = 0;  ///< As `Node::bytes`.
};

struct Relations {
  static constexpr std::size_t early_exits_max = 64;
  std::unordered_map<Pid, LinkState> links;
  std::unordered_map<Ref, Monitored> monitors;
  std::unordered_map<WatchKey, Watcher, WatchKeyHash> watchers;
  std::unordered_map<Ref, bool> aliases;  ///< Value: ends with the first message, and with its monitor.
  std::unordered_map<Atom, std::shared_ptr<Peer>> peers;
  std::vector<EarlyExit> early_exits;
  std::optional<Pid> group_leader;
  std::uint64_t last_unlink = 0;
};

/// Takes what other nodes send to a name or a process of this node. `node` is who the channel `epoch` proved; the
/// payload is still encoded. Called on the transport thread; must not block. After `congested` the receiver calls
/// `resume_reading`.
using Receiver =
    std::function<distribution::DeliverOutcome(const Atom& node, std::uint64_t epoch, distribution::Payload&& payload)>;

/// What a process of `System::spawn_watcher` makes of an end. Called on it; must not block.
using WatchedEnded = std::function<void(const Ref& watch, const Pid& pid, const Term& reason)>;

/// Of a process that is a part of the node, or of which the node keeps account.
struct Duty {
  /// Takes messages of other nodes to the pid of the process.
  Receiver receiver{};
  /// Hears of the ends of the monitored in place of the mailbox, where a message could pass for one.
  WatchedEnded watched_ended{};
  /// Called once, when the process has ended and before anybody is told.
  std::function<void()> on_end{};
};

struct Held {
  System& system;
  Atom node;
  std::uint64_t writable_count;                    ///< What `Peers::wait_writable` wants.
  std::unique_ptr<distribution::Signal> unsent{};  ///< What found no room.
  std::uint64_t place = 0;                         ///< What `Peers::wait_writable` gave.
};

class State : public std::enable_shared_from_this<State> {
 public:
  State(System& system, Pid pid, ProcessFunction function);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Any thread.
  /// False when the process has ended: the node still belongs to the caller.
  bool push(Node* node) { return after(inbox_.push(node)); }
  bool push(Chain& chain) { return after(inbox_.push(chain)); }
  /// Like `push`; what comes too late vanishes.
  void tell(Node* node);
  [[nodiscard]] const Pid& pid() const noexcept { return pid_; }
  [[nodiscard]] System& system() noexcept { return system_; }
  /// Bytes from other nodes that were not consumed, and up to `unreported_bytes_max` that were. `count` returns the
  /// sum.
  [[gnu::noinline]] std::size_t count(std::size_t bytes) noexcept;
  [[nodiscard]] std::size_t remote_bytes() const noexcept { return remote_bytes_.load(); }
  [[nodiscard]] bool ended() const noexcept { return ended_.load(); }
  [[nodiscard]] const Receiver* receiver() const noexcept { return duty && duty->receiver ? &duty->receiver : nullptr; }
  std::atomic<bool> congested{false};  ///< Set by the system: somebody waits until the mailbox is shorter.
  std::atomic<bool> killed{false};     ///< Set by the system: an exit is on its way that nobody can refuse.
  std::atomic<bool> named{false};
  /// A part of the node: what other nodes end, by exits or with their links, ends it not.
  std::atomic<bool> internal{false};

 private:
  std::atomic<bool> ended_{false};

 public:
  Timers::Slot timer;
  /// Where it ran last; the scheduler's.
  std::atomic<void*> home{nullptr};

  /// A worker runs the process until it waits, or its turn is over. The process may be gone afterwards.
  void run();

  // Before it was scheduled for the first time, or from its own coroutine.
  void add_link(const Pid& other, std::uint64_t generation) { relations().links[other] = {0, generation, {}}; }
  void add_watcher(const Ref& ref, const Pid& watcher, std::uint64_t generation) {
    relations().watchers.try_emplace({ref, watcher}, Watcher{pid_, generation, {}, 1});
  }
  void set_group_leader(const Pid& pid) { relations().group_leader = pid; }
  /// The process works for somebody on this node, who alone gets what comes of it: it ends with the channel. `watch`
  /// was called for the node.
  void work_for(const Atom& node, std::uint64_t generation) {
    client_ = std::make_unique<const Client>(Client{node, generation});
  }
  /// A peer wanted the process: what it asks of others is the peer's wish.
  void set_for_peer() noexcept { for_peer_ = true; }
  /// From now on the process hears of the node's end. Nothing for our own.
  std::shared_ptr<Peer> watch(const Atom& node);
  std::unique_ptr<const Duty> duty;  ///< Set before it begins.

  // From its own coroutine.
  bool take(Receive& receive);
  void wait(std::coroutine_handle<> handle, Receive* receive, std::optional<Process::Duration> limit);
  /// Whether the sender has to wait: `wait_writable` then.
  [[nodiscard]] bool is_held(Held& held);
  void wait_writable(std::coroutine_handle<> handle, Held& held);
  /// Others first, then this again.
  void yield(std::coroutine_handle<> handle);
  [[nodiscard]] Node* mark() const noexcept { return last_; }
  [[nodiscard]] bool is_for_peer() const noexcept { return for_peer_; }
  [[nodiscard]] std::size_t mailbox_size() const noexcept { return mailbox_size_; }
  [[nodiscard]] std::optional<Pid> group_leader() const { return relations_ ? relations_->group_leader : std::nullopt; }

  void link(const Pid& other);
  void unlink(const Pid& other);
  Ref monitor(const Destination& target, bool with_alias);
  void monitor(const Ref& ref, Monitored monitored);
  void demonitor(const Ref& ref, bool flush);
  Ref alias();
  bool unalias(const Ref& alias);
  void expect_spawn(const Ref& request, const Atom& node, bool tell, const Process::SpawnOptions& options);
  HeldSend send(const Destination& to, Term&& message);
  HeldSend send(const Pid& to, Term&& message);
  bool trap_exit = false;

 private:
  /// What is less is not worth a word that the network thread writes, too.
  static constexpr std::size_t unreported_bytes_max = 64UL * 1024;
  struct Waiting {
    std::coroutine_handle<> handle;
    Receive* receive = nullptr;
    std::uint64_t timer = 0;
    Held* held = nullptr;
  };

  Relations& relations() {
    if (!relations_) relations_ = std::make_unique<Relations>();
    return *relations_;
  }
  bool after(Inbox::Pushed pushed) { return pushed == Inbox::Pushed::queued || wake(pushed); }
  /// False: the inbox is closed.
  [[gnu::noinline]] bool wake(Inbox::Pushed pushed);
  void begin();
  Term reason_of_exception();
  void resume();
  [[nodiscard]] bool over() const { return exit_reason_ || (begun_ && (!task_.valid() || task_.handle().done())); }
  bool handle_all(Node* list);
  void finish(Node* rest);
  void tell_relations(const Term& reason);
  void forget_named(const WatchKey& key, const Watcher& watcher);
  void forget_peers();
  /// Apart, so that a send to a neighbour needs no room for a signal.
  [[gnu::noinline]] HeldSend send_elsewhere(const Pid& to, Term&& message);
  HeldSend send_away(Atom node, distribution::Signal&& signal);
  void on_writable();

  // Each returns false when the process dies of it.
  bool handle(Node* node);
  bool handle_signal(Event& event);
  bool on_message(Event& event, distribution::Signal& signal);
  bool on(distribution::Link& link, const Event& event);
  bool on(distribution::Unlink& unlink);
  bool on(distribution::UnlinkAck& ack);
  bool on(distribution::Monitor& monitor, const Event& event);
  bool on(distribution::Demonitor& demonitor);
  bool on(distribution::SpawnReply& reply, const Event& event);
  /// Whether the signal comes from the node that was asked, or from here: a reference can be guessed.
  static bool may_answer(const Event& event, const Monitored& asked) {
    return event.epoch == 0 || event.node == asked.node;
  }
  bool on_reply(const distribution::SpawnReply& reply);
  bool on_reason(Event& event, distribution::Signal& signal);
  [[nodiscard]] bool is_of_sender(const Event& event, const distribution::Control& control) const;
  /// `bytes` is what the signal counts; 0 afterwards when something of it is kept, which counts it from now on.
  bool on_exit(const Pid& from, const Term& reason, bool by_link, std::size_t& bytes);
  bool on_down(const distribution::MonitorExit& exit, const Term& reason, std::size_t& bytes);
  bool on_node_gone(const NodeGone& gone);
  std::optional<Term> payload(distribution::Signal& signal, const Event& event);
  void deliver(Message* message);
  /// The messages in front of the list, when nobody waits for one. Returns what follows on them.
  Node* keep_messages(Node* list) noexcept;
  void deliver(Term&& message, std::size_t bytes = 0) {
    auto* made = new Message(std::move(message));
    made->bytes = bytes;
    deliver(made);
  }
  void consumed(std::size_t bytes) {
    if (bytes > 0) note_consumed(bytes);
  }
  void note_consumed(std::size_t bytes);
  /// At the end of a turn at the latest; before it, when it is much, or when somebody waits for it.
  void report_consumed();
  /// Asked the node for a process that is linked to this one, and has had no answer.
  [[nodiscard]] bool awaits_linked(const Atom& node) const;
  void hold_early_exit(const Pid& from, const Term& reason, std::size_t& bytes);
  void drop_early_exits(const Atom& node);
  template <class Unwanted>
  void drop_early_exits_if(Unwanted unwanted) {
    std::erase_if(relations_->early_exits, [&](const EarlyExit& exit) {
      const bool drops = unwanted(exit);
      if (drops) consumed(exit.bytes);
      return drops;
    });
  }
  [[nodiscard]] bool still_there(const Atom& node, std::uint64_t generation) const;
  /// A process of the node wants a link or a monitor. Nothing when the channel that it came on is gone already.
  struct Wish {
    std::uint64_t generation = 0;
    std::optional<PeerRelation> relation;  ///< Nothing: the node has as many as it may.
  };
  std::optional<Wish> wish_of(const Event& event, const Atom& node);

  // Written by who sends. A processor hands its caches 64 bytes at a time from core to core: what the worker
  // writes with each message is kept away from here by what hardly changes.
  Inbox inbox_;
  std::atomic<std::size_t> remote_bytes_{0};

  // Used by the worker that runs the process only.
  struct Client {
    Atom node;
    std::uint64_t generation = 0;
  };
  std::unique_ptr<const Client> client_;
  std::optional<Term> exit_reason_;
  std::unique_ptr<Relations> relations_;
  System& system_;
  const Pid pid_;
  ProcessFunction function_;  ///< Has what the coroutine captured.
  Task<> task_;

  // The same, with each message.
 public:
  Process process;

 private:
  bool for_peer_ = false;
  bool begun_ = false;
  bool ready_ = false;
  bool poll_ = false;  ///< Go on after the next look into the inbox.
  std::uint32_t mailbox_size_ = 0;
  std::size_t unreported_bytes_ = 0;  ///< Consumed, and still in `remote_bytes_`.
  Message* first_ = nullptr;          ///< The mailbox, the oldest first.
  Message* last_ = nullptr;
  Waiting waiting_;
  std::uint64_t last_timer_ = 0;
  std::shared_ptr<State> addressee_;  ///< The last one here, until the turn is over.
};

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
