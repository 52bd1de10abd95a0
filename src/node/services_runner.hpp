// Runs the machine of the services: messages, calls of the program and answers of the disk wait in one queue, in order;
// the cluster thread, which it shares with the overlay, feeds them to the machine and carries out what it wants.
//
//   transport thread                cluster thread                          any thread
//   messages          --queue-->    services::Services --> overlay: sends   map_get, lookup, place: read a copy
//   store's thread                        |            --> store: writes    map_put, register: into the queue
//   durable           --queue-->          +--> copies, subscribers, answers
//
// Calls are answered once, by work of the cluster thread (see `SerialExecutor`), also those that are refused because
// the queue is full; or at once, on the caller's, when the node stops, and `overloaded` to who waits for it. Who
// registers a service or changes maps or reminders, which all nodes are told, is answered when the neighbours' queues
// have room for more: who waits for answers is not faster than the cluster for long.
#pragma once

#include <atomic>
#include <barrel_p2p/leader.hpp>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/operations.hpp>
#include <barrel_p2p/reminders.hpp>
#include <barrel_p2p/replicated.hpp>
#include <barrel_p2p/services.hpp>
#include <barrel_p2p/subscription.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "admin/snapshot.hpp"
#include "base/gate.hpp"
#include "base/log.hpp"
#include "distribution/network.hpp"
#include "node/answer.hpp"
#include "node/concurrent_table.hpp"
#include "node/handed_out.hpp"
#include "node/input_queue.hpp"
#include "node/map_views.hpp"
#include "node/name_waiters.hpp"
#include "node/overlay_runner.hpp"
#include "node/pid_subscribers.hpp"
#include "node/placement_view.hpp"
#include "node/serial_executor.hpp"
#include "node/subscribers.hpp"
#include "node/watch_processes.hpp"
#include "process/system.hpp"
#include "replication/store.hpp"
#include "services/router.hpp"
#include "services/services.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

struct ServicesRunnerConfig {
  services::ServicesConfig services;
  std::size_t queue_bytes_max = 0;
  /// A node became a member, or is none any more.
  std::function<void(FlightEntry::Kind kind, const Atom& node)> decided{};
};

/// What the cluster thread knows that others cannot read.
struct ClusterReport {
  admin::ClusterFigures figures;
  std::vector<admin::LeaderRow> leaders;
  std::vector<admin::ReminderRow> reminders;
  std::vector<admin::MapRow> maps;
  std::unordered_map<Atom, Milliseconds> silent;  ///< Other nodes, since they were last heard of.
};

class ServicesRunner {
 public:
  using Done = Answer<void>::Function;
  using Registrations = std::vector<services::Registration>;

  /// All of these must outlive it. Takes the names of the services for messages of other nodes, and the overlay's
  /// listener.
  ServicesRunner(ServicesRunnerConfig config, SerialExecutor& executor, process::System& system,
                 distribution::Network& network, OverlayRunner& overlay,
                 std::unique_ptr<replication::DurableStore> store, Logger logger);
  ~ServicesRunner();
  ServicesRunner(const ServicesRunner&) = delete;
  ServicesRunner& operator=(const ServicesRunner&) = delete;

  /// After the system was started, before the cluster thread is.
  void start();
  /// Before `start`: what the store has of reminders. Blocks for the disk.
  Result<void> load_reminders();
  /// Tells the others that this node goes, and waits until that is on its way. While the cluster thread runs.
  void say_goodbye();
  /// After the cluster thread was stopped: answers everybody who waits, and closes the store. Handles find nobody from
  /// here on, and not before: whose handle is gone relies on it that nothing of his runs any more.
  void stop();

  // Calls, from any thread. Errors of all: `stopped`, `overloaded`.
  void register_service(ServiceName name, Pid pid, Term meta, const RegisterOptions& options, Done done);
  void unregister_service(ServiceName name, Answer<bool>::Function done);
  /// Answers with the first location that the options accept; waits for one to appear.
  void resolve(ServiceName name, WhereisOptions options, Milliseconds limit, Answer<ServiceLocation>::Function done);
  /// Answers at once when the name is known here; else asks other nodes, for `options.ask_for`. What they answer has no
  /// metadata, so with `options.accept` they are not asked. Errors also: `not_found`.
  void ask(ServiceName name, const WhereisOptions& options, Answer<ServiceLocation>::Function done);
  void verify(Answer<RegistryAudit>::Function done);
  void service_statistics(Answer<ServiceStatistics>::Function done);
  void report(Answer<ClusterReport>::Function done);
  /// Entries that the disk refused.
  void unwritten(Answer<std::size_t>::Function done);
  /// Reads the store, if the map is persistent: blocks for the disk.
  void open_map(const Atom& map, MapOptions options, Done done);
  void delete_map(const Atom& map, Done done);
  void put(const Atom& map, Term key, Term value, Done done);
  void put_many(const Atom& map, std::vector<TermPair> pairs, Done done);
  void remove(const Atom& map, Term key, Done done);
  void map_statistics(const Atom& map, Answer<MapStatistics>::Function done);
  void add_type(const Atom& name, std::shared_ptr<ReplicatedType> type, Done done);
  void remove_type(const Atom& name, Done done);
  Result<void> broadcast_change(const Atom& name, Term change);
  /// First an `acquired` for each partition of now.
  Subscription subscribe_shard(std::function<void(const ShardEvent&)> callback);
  void placement_issues(Answer<PlacementIssues>::Function done);
  void lead(Term name, Pid pid, LeadOptions options, Answer<Role>::Function done);
  void set_priority(Term name, Pid pid, Term priority, Done done);
  /// Is never refused but by `stopped`.
  void resign(Term name, std::optional<Pid> pid, Answer<bool>::Function done);

  void remind(Term key, WallMilliseconds due, Term payload, Done done);
  void remind_after(Term key, Milliseconds delay, Term payload, Done done);
  void cancel_reminder(Term key, Done done);
  void find_reminder(Term key, Answer<Reminder>::Function done);
  void reminder_statistics(Answer<ReminderStatistics>::Function done);
  Subscription subscribe_reminders(std::function<void(const ReminderEvent&)> callback, NextReminder next);
  void subscribe_reminders(const Pid& pid);
  /// Error: `limit_exceeded`.
  Result<void> subscribe_reminders_for_peer(const Pid& pid);
  void unsubscribe_reminders(const Pid& pid) { reminder_pids_.remove(pid); }

  /// Answers with what `read` makes of the machine: on the cluster thread, which it must not hold up.
  void ask_machine(std::function<Term(const services::Services& machine)> read, Answer<Term>::Function done);

  // Reads, from any thread, without waiting.
  [[nodiscard]] Registrations lookup(const ServiceName& name) const;
  [[nodiscard]] std::optional<Pid> lookup_local(const ServiceName& name) const;
  [[nodiscard]] std::vector<ServiceName> list_services() const;
  /// Of all names, at most so many.
  [[nodiscard]] Registrations registrations(std::size_t count) const;
  [[nodiscard]] std::optional<ServiceLocation> find_service(const ServiceName& name,
                                                            const WhereisOptions& options) const;
  [[nodiscard]] std::vector<Atom> members() const;
  [[nodiscard]] const PlacementView& placement() const noexcept { return placement_; }
  [[nodiscard]] std::optional<services::Contest::Winner> leader(const Term& name) const;
  /// Of a process of this node that leads now: the own clock is asked too.
  [[nodiscard]] std::optional<services::Contest::Reign> reign(const Term& name) const;
  /// The fence of this process's term, until the cluster thread ends the term: also where `reign` sees that a pause has
  /// ended it, or may have.
  [[nodiscard]] std::optional<Fence> term_of(const Term& name, const Pid& pid) const;
  [[nodiscard]] const MapViews& maps() const noexcept { return maps_; }

  /// For handles that the program holds.
  [[nodiscard]] const std::shared_ptr<Gate<ServicesRunner>>& gate() const noexcept { return gate_; }
  /// The process that stands for the services of this node.
  [[nodiscard]] const Pid& owner() const noexcept { return watched_.watcher(); }
  [[nodiscard]] Subscribers<ServiceEvent>& service_events() noexcept { return service_events_; }
  [[nodiscard]] PidSubscribers& service_pids() noexcept { return service_pids_; }
  [[nodiscard]] PidSubscribers& shard_pids() noexcept { return shard_pids_; }
  /// The caller runs work of the cluster thread: it must not wait for an answer.
  [[nodiscard]] bool is_current() const noexcept { return executor_.is_current(); }
  /// While it lives, calls of this thread are done on it, if the cluster thread has nothing else to do: two changes of
  /// threads less for a caller who waits for the answer.
  class DoneHere {
   public:
    DoneHere() noexcept { wanted = true; }
    ~DoneHere() { wanted = false; }
    DoneHere(const DoneHere&) = delete;
    DoneHere& operator=(const DoneHere&) = delete;

   private:
    friend class ServicesRunner;
    static thread_local bool wanted;
  };

 private:
  using Call = std::function<void()>;
  /// What is done with a reply of a node.
  using TakeReply = void (ServicesRunner::*)(const Atom& node, const Term& reply);
  struct Received {
    std::variant<Atom, TakeReply> to;  ///< A name, or a process of `spawn_replies`.
    Atom node;
    std::uint64_t epoch = 0;
    distribution::Payload payload;
  };
  struct Stored {
    std::shared_ptr<services::Persist> what;
    Result<void> result;
  };
  /// What a call counts against the bound of the queue, beside what it carries.
  static constexpr std::size_t call_bytes = 512;
  using Input = std::variant<Call, Received, Stored>;
  using Queue = InputQueue<Input>;
  /// When a reminder is due again: every subscriber that says so may make it earlier.
  struct Recurrence {
    const ReminderEvent& previous;
    std::optional<WallMilliseconds>& next;
  };

  /// Who waits for what other nodes answer.
  struct Asking {
    ServiceName name;
    WhereisOptions options;
    Answer<ServiceLocation> answer;
  };

  /// A map that is being opened, with what the store has of it.
  struct Opening {
    explicit Opening(Atom name) : map(std::move(name)) {}
    const Atom map;
    services::Maps::Stored stored;
    bool deleted = false;  ///< Since then. The cluster thread's own.
  };

  /// An answer that waits for room in the queues of neighbours.
  struct HeldAnswer {
    Answer<void> answer;
    Result<void> result;
    MonotonicTime until;  ///< Not longer.
  };

  void listen();
  Result<void> load_map(const Atom& map, services::Maps::Stored& stored);
  void start_router();
  /// A process; the replies that it gets go to `take`, on the cluster thread.
  Pid spawn_replies(TakeReply take);
  void take_route(const Atom& node, const Term& reply) { router_->reply(node, reply, now(), effects_); }
  void take_registrations(const Atom& node, const Term& reply) {
    machine_.registry().reply(node, reply, now(), effects_);
  }
  [[nodiscard]] services::Router::Knowledge knowledge();
  /// What readers get of one: made beforehand, so that a look costs few copies.
  struct Known {
    services::Registration registration;
    ServiceLocation location;
  };
  /// Those of one name, by node: the own one first. A change of one costs little more the more there are.
  using Holders = std::map<std::pair<bool, Atom>, Known>;
  /// Of a process that is not known to have ended.
  [[nodiscard]] bool is_usable(const services::Registration& one) const;
  /// Likewise, and with metadata that is accepted.
  [[nodiscard]] bool is_wanted(const Known& one, const WhereisOptions& options) const;
  void wake(Queue::Pushed pushed);
  template <class T>
  void call(std::size_t bytes, const std::shared_ptr<Answer<T>>& answer, Call work);
  distribution::DeliverOutcome receive(Received received);

  // Cluster thread.
  void run();
  void tick();
  [[nodiscard]] MonotonicTime deadline() const noexcept;
  [[nodiscard]] MonotonicTime next_due() const noexcept;
  void set_alarm();
  void on_alarm();
  void handle(Call&& call);
  void handle(Received&& input);
  void handle(Stored&& input);
  /// Runs a call that is answered by a ticket.
  void ticketed(Answer<void>& answer, const std::function<Result<void>(services::Ticket)>& work);
  /// Answers who changed something.
  void answer_change(Answer<void> answer, Result<void> result);
  void answer_held();
  void settle();
  void carry_out();
  void carry_out(services::Send& effect);
  void carry_out(services::SendPid& effect);
  void carry_out(services::Broadcast& effect);
  void carry_out(services::Persist& effect);
  void carry_out(services::Completed& effect);
  void carry_out(services::Watch& effect);
  void carry_out(services::Unwatch& effect);
  void carry_out(services::ServiceChanged& effect);
  void carry_out(services::ServiceHappened& effect);
  void carry_out(services::MapOpened& effect);
  void carry_out(services::MapChanged& effect);
  void carry_out(services::MapHappened& effect);
  void carry_out(services::LeaderChanged& effect);
  void carry_out(services::LeaderHappened& effect);
  void carry_out(services::ReminderFired& effect);
  void carry_out(services::MembersChanged& effect);
  void carry_out(services::PlacementChanged& effect);
  void carry_out(services::ShardHappened& effect);
  void carry_out(services::Routed& effect);
  void note_reminder_subscribers();
  [[nodiscard]] ServiceStatistics service_figures() const;
  [[nodiscard]] admin::ClusterFigures figures() const;
  [[nodiscard]] std::vector<admin::LeaderRow> leader_rows() const;
  [[nodiscard]] static services::Now now();

  const ServicesRunnerConfig config_;
  SerialExecutor& executor_;
  process::System& system_;
  distribution::Network& network_;
  OverlayRunner& overlay_;
  Logger logger_;
  RateLimit log_limit_;
  Queue queue_;
  std::unique_ptr<replication::DurableStore> store_;

  // The cluster thread's own.
  services::Services machine_;
  services::Effects effects_;
  bool carrying_out_ = false;
  std::unique_ptr<SerialExecutor::Alarm> alarm_;
  services::Ticket last_ticket_ = 0;
  std::unordered_map<services::Ticket, Answer<void>> answers_;
  std::deque<HeldAnswer> held_;  ///< In the order of their times.
  NameWaiters waiters_;
  std::mutex openings_mutex_;
  std::vector<std::weak_ptr<Opening>> openings_;
  std::optional<services::Router> router_;  ///< From `start` on.
  std::unordered_map<services::Ticket, Asking> asking_;
  WatchedProcesses watched_;

  // What is read.
  PlacementView placement_;
  MapViews maps_;
  ConcurrentTable<Term, Holders> registry_;
  ConcurrentTable<Term, services::LeaderView> leaders_;
  /// `Leader::held_until`, since the clock began. Written after `leaders_`, read before it: who finds it far enough
  /// away finds no reign that a pause has ended.
  std::atomic<MonotonicTime::rep> leads_until_{0};
  mutable std::mutex members_mutex_;
  std::vector<Atom> members_;
  mutable std::atomic<std::uint64_t> round_robin_{0};
  mutable HandedOut handed_out_;  ///< What was handed out is remembered by those who only read.

  Subscribers<ServiceEvent> service_events_;
  PidSubscribers service_pids_;
  Subscribers<ShardEvent> shard_events_;
  PidSubscribers shard_pids_;
  Subscribers<ReminderEvent> reminder_events_;
  Subscribers<Recurrence> recurrences_;
  PidSubscribers reminder_pids_;
  const std::shared_ptr<Gate<ServicesRunner>> gate_ = std::make_shared<Gate<ServicesRunner>>(*this);
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
