#include "node/services_runner.hpp"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using distribution::DeliverOutcome;
using services::Ticket;

namespace {

/// How long what is told may wait for the mark of the clock: as long as the disk takes, unless it hangs.
constexpr std::chrono::seconds awaited_max{1};

replication::WriteBatch batch_of(const std::vector<services::StoreChange>& changes) {
  using Kind = services::StoreChange::Kind;
  replication::WriteBatch batch;
  for (const auto& change : changes) {
    switch (change.kind) {
      case Kind::put: batch.put(change.collection, change.key, *change.entry); break;
      case Kind::erase: batch.erase(change.collection, change.key); break;
      case Kind::drop: batch.drop(change.collection); break;
      case Kind::set: batch.set(change.collection, change.key); break;
    }
  }
  return batch;
}

}  // namespace

ServicesRunner::ServicesRunner(ServicesRunnerConfig config, SerialExecutor& executor, process::System& system,
                               distribution::Network& network, OverlayRunner& overlay,
                               std::unique_ptr<replication::DurableStore> store, Logger logger)
    : config_(std::move(config)),
      executor_(executor),
      system_(system),
      network_(network),
      overlay_(overlay),
      logger_(std::move(logger)),
      log_limit_(20, Milliseconds(1000)),
      queue_(config_.queue_bytes_max),
      store_(std::move(store)),
      machine_(config_.services, now()),
      alarm_(std::make_unique<SerialExecutor::Alarm>(executor, [this] { on_alarm(); })),
      watched_(
          system, [this](Call work) { wake(queue_.push(std::move(work))); },
          [this](const Pid& pid, const Term& reason) { machine_.process_down(pid, reason, now(), effects_); }),
      placement_(config_.services.placement.ring_size),
      maps_(system, overlay.subscriptions()),
      members_{config_.services.own},
      handed_out_(system, [this](Call work) { wake(queue_.push(std::move(work))); }),
      service_pids_(system, overlay.subscriptions()),
      shard_pids_(system, overlay.subscriptions()),
      reminder_pids_(system, overlay.subscriptions()) {
  placement_.publish(machine_.placement());
  placement_.set_lease(machine_.members().lease_until());
  const auto take = [this](const Atom& name, const Atom& node, std::uint64_t epoch, distribution::Payload&& payload) {
    return receive({name, node, epoch, std::move(payload)});
  };
  for (const auto name : {services::members_replica_name, services::registry_replica_name, services::placement_name,
                          services::leader_replica_name, services::reminder_replica_name, services::router_name}) {
    system_.set_receiver(
        Atom(name), [take, atom = Atom(name)](const Atom& node, std::uint64_t epoch, distribution::Payload&& payload) {
          return take(atom, node, epoch, std::move(payload));
        });
  }
  system_.set_receiver_of_prefix(std::string(services::map_replica_prefix), take);
  // Proxies of Erlang nodes call a service by a registered name.
  system_.set_name_fallback([this](const Atom& name) {
    auto pid = lookup_local(name);
    return pid && pid->node == config_.services.own ? pid : std::nullopt;
  });
  listen();
}

ServicesRunner::~ServicesRunner() = default;

services::Now ServicesRunner::now() { return {monotonic_now(), wall_now()}; }

void ServicesRunner::listen() {
  OverlayListener listener;
  listener.up = [this](const Atom& node, bool native) {
    machine_.neighbour_up(node, native, now(), effects_);
    router_->neighbour_up(node);
    settle();
  };
  listener.down = [this](const Atom& node) {
    machine_.neighbour_down(node);
    router_->neighbour_down(node, now(), effects_);
    settle();
  };
  listener.native = [this](const Atom& node) {
    machine_.set_native(node, effects_);
    settle();
  };
  listener.leaving = [this] {
    machine_.leave(now(), effects_);
    settle();
  };
  listener.deliver = [this](const Term& tag, const Term& payload) {
    const bool taken = machine_.deliver(tag, payload, now(), effects_);
    settle();
    return taken;
  };
  listener.gossip_lost = [this](const Atom& node) {
    machine_.gossip_lost(node, now());
    settle();
  };
  listener.relieved = [this] {
    answer_held();
    set_alarm();
  };
  overlay_.set_listener(std::move(listener));
}

void ServicesRunner::start() {
  if (!system_.register_name(Atom("barrel_p2p_registry"), watched_.start())) {
    logger_->warn("the name barrel_p2p_registry is taken by another process");
  }
  machine_.registry().ask_as(spawn_replies(&ServicesRunner::take_registrations), [this] { return system_.make_ref(); });
  start_router();
  handed_out_.start();
  executor_.post([this] { tick(); });
}

void ServicesRunner::say_goodbye() {
  auto said = std::make_shared<Answer<void>>();
  const auto gone = wait_for<void>([&](auto done) {
    *said = Answer<void>(std::move(done));
    wake(queue_.push(Call([this, said = std::move(said)] {
      machine_.leave(now(), effects_);
      carry_out();
      said->give({});
    })));
  });
  if (!gone) logger_->debug("goodbye was not said: {}", gone.error().message());
}

void ServicesRunner::stop() {
  queue_.close();  // who waits within the gate is told
  gate_->close();
  // The machine belongs to this thread now, and since the gate is closed the store does.
  store_.reset();
  for (auto& held : std::exchange(held_, {})) held.answer.give(std::move(held.result));
  answers_.clear();
  waiters_.clear();
  asking_.clear();
}

// Into the queue.

thread_local bool ServicesRunner::DoneHere::wanted = false;

void ServicesRunner::wake(Queue::Pushed pushed) {
  if (pushed != Queue::Pushed::wake) return;
  // What runs here may make calls of its own, which are not waited for.
  if (std::exchange(DoneHere::wanted, false) && executor_.run_here([this] { run(); })) return;
  executor_.post([this] { run(); });
}

/// Queues a call. `work` holds the answer as well. A refusal goes the same way, but to who waits for it: its caller may
/// hold what the answer wants.
template <class T>
void ServicesRunner::call(std::size_t bytes, const std::shared_ptr<Answer<T>>& answer, Call work) {
  const auto pushed = queue_.push_if_short(std::move(work), call_bytes + bytes);
  wake(pushed);
  if (pushed != Queue::Pushed::full) return;
  const auto refuse = [answer] {
    answer->give(fail(Errc::overloaded, "limits.cluster_queue_bytes_max is reached: ask for less, or wait"));
  };
  return DoneHere::wanted ? refuse() : wake(queue_.push(Call(refuse)));
}

void ServicesRunner::ask_machine(std::function<Term(const services::Services& machine)> read,
                                 Answer<Term>::Function done) {
  auto answer = std::make_shared<Answer<Term>>(std::move(done));
  call(0, answer, [this, answer, read = std::move(read)] { answer->give(read(machine_)); });
}

// For services_*.cpp, all that they use: what is instantiated here by the way need not have a symbol.
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<void>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<bool>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<std::size_t>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<Role>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<ServiceLocation>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<ClusterReport>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<Reminder>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<ReminderStatistics>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<RegistryAudit>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<ServiceStatistics>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<PlacementIssues>>&, Call);
template void ServicesRunner::call(std::size_t, const std::shared_ptr<Answer<MapStatistics>>&, Call);

DeliverOutcome ServicesRunner::receive(Received received) {
  const auto* const encoded = std::get_if<distribution::EncodedTerm>(&received.payload);
  const std::size_t bytes = call_bytes + (encoded == nullptr ? 0 : encoded->bytes.size());
  const Channel channel{received.node, received.epoch};
  const auto [pushed, outcome] = queue_.push_received(std::move(received), bytes, channel);
  wake(pushed);
  return outcome;
}

// The cluster thread.

void ServicesRunner::run() {
  for (auto& entry : queue_.take()) {
    std::visit([this](auto& input) { handle(std::move(input)); }, entry.input);
    settle();
    for (const auto& channel : queue_.done(entry)) network_.resume_reading(channel.node, channel.epoch);
  }
  if (monotonic_now() >= deadline()) return tick();
  settle();
}

void ServicesRunner::tick() {
  note_reminder_subscribers();
  machine_.tick(now(), effects_);
  router_->tick(now(), effects_);
  handed_out_.tick(now());
  waiters_.expire(monotonic_now());
  answer_held();
  settle();
}

/// What the machine wants after whatever was done to it.
void ServicesRunner::settle() {
  carry_out();
  placement_.set_lease(machine_.members().lease_until());
  for (const auto& warning : machine_.take_warnings()) {
    if (log_limit_.pass(monotonic_now())) logger_->warn("{}", warning);
  }
  for (const auto& complaint : machine_.types().take_complaints()) {
    if (log_limit_.pass(monotonic_now())) logger_->error("{}", complaint);
  }
  set_alarm();
}

MonotonicTime ServicesRunner::deadline() const noexcept {
  return std::min({machine_.deadline(), router_->deadline(), handed_out_.deadline()});
}

/// That of the machines, and of who waits for an answer.
MonotonicTime ServicesRunner::next_due() const noexcept {
  auto due = std::min(deadline(), waiters_.deadline());
  if (!held_.empty()) due = std::min(due, held_.front().until);
  return due;
}

/// To set it later costs system calls and wakes a thread, and who writes in a loop would have it do so with each write:
/// it rather comes too early.
void ServicesRunner::set_alarm() {
  const auto due = next_due();
  if (due == MonotonicTime::max()) return;
  if (!alarm_->at() || *alarm_->at() > due) alarm_->set(due);
}

void ServicesRunner::on_alarm() {
  if (monotonic_now() < next_due()) return set_alarm();
  tick();
}

void ServicesRunner::handle(Call&& call) { call(); }

void ServicesRunner::handle(Received&& input) {
  if (!overlay_.is_linked(input.node, input.epoch)) return;  // hidden, or gone
  const auto term = distribution::decode_payload_in_parts(input.payload);
  if (!term) return network_.report_malformed(input.node, input.epoch, term.error());
  if (const auto* take = std::get_if<TakeReply>(&input.to)) return (this->**take)(input.node, *term);
  const auto& name = std::get<Atom>(input.to);
  if (name == services::router_name) return router_->receive(input.node, *term, now(), effects_);
  machine_.receive(name, input.node, *term, now(), effects_);
}

void ServicesRunner::handle(Stored&& input) {
  if (input.result) {
    machine_.stored(input.what->changes);
  } else {
    if (log_limit_.pass(monotonic_now())) {
      logger_->error("the durable store did not take a write, it will be tried again: {}",
                     input.result.error().message());
    }
    machine_.store_failed(input.what->changes);
  }
  services::Completed answer{input.what->ticket, std::move(input.result)};
  carry_out(answer);
}

void ServicesRunner::ticketed(Answer<void>& answer, const std::function<Result<void>(Ticket)>& work) {
  const Ticket ticket = ++last_ticket_;
  answers_.emplace(ticket, std::move(answer));
  if (const auto result = work(ticket); !result) {
    services::Completed failed{ticket, result};
    carry_out(failed);
  }
}

// What the machine wants.

void ServicesRunner::carry_out() {
  if (std::exchange(carrying_out_, true)) return;  // what a part added meanwhile: its turn comes
  services::Effects effects;
  for (;;) {
    machine_.settle(effects_);  // the mark of the clock before what was stamped
    if (effects_.empty()) break;
    std::swap(effects, effects_);
    for (auto& effect : effects) {
      std::visit([this](auto& wish) { carry_out(wish); }, effect);
    }
    effects.clear();
  }
  effects_ = std::move(effects);  // for its memory
  leads_until_.store(machine_.leader().held_until().time_since_epoch().count(), std::memory_order_release);
  carrying_out_ = false;
}

void ServicesRunner::carry_out(services::Send& effect) {
  overlay_.send_now(effect.to, effect.name, std::move(effect.message));
}

void ServicesRunner::carry_out(services::SendPid& effect) {
  if (!system_.send(effect.to, std::move(effect.message))) return;  // the system counted it
}

void ServicesRunner::carry_out(services::Broadcast& effect) {
  overlay_.broadcast_now(Term(effect.tag), std::move(effect.payload));
}

void ServicesRunner::carry_out(services::Persist& effect) {
  auto batch = batch_of(effect.changes);
  const auto written = effect.awaited ? std::make_shared<std::promise<void>>() : nullptr;
  const auto stored = [this, written,
                       what = std::make_shared<services::Persist>(std::move(effect))](const Result<void>& result) {
    wake(queue_.push(Stored{what, result}));
    if (written) written->set_value();
  };
  if (auto queued = store_->write(std::move(batch), stored); !queued) stored(queued);
  if (!written || written->get_future().wait_for(awaited_max) == std::future_status::ready) return;
  if (log_limit_.pass(monotonic_now())) {
    logger_->warn("the durable store took more than {} s for the mark of the clock: is the disk well?",
                  awaited_max.count());
  }
}

void ServicesRunner::carry_out(services::Completed& effect) {
  auto answer = answers_.extract(effect.ticket);
  if (!answer.empty()) answer_change(std::move(answer.mapped()), std::move(effect.result));
}

void ServicesRunner::answer_change(Answer<void> answer, Result<void> result) {
  const auto until = overlay_.congested_until(monotonic_now());
  if (!result || !until) {
    answer_held();  // whoever came before
    return answer.give(std::move(result));
  }
  held_.push_back(
      {std::move(answer), std::move(result), held_.empty() ? *until : std::max(*until, held_.back().until)});
}

void ServicesRunner::answer_held() {
  const auto time = monotonic_now();
  const bool congested = overlay_.congested_until(time).has_value();
  while (!held_.empty() && (!congested || held_.front().until <= time)) {
    HeldAnswer first = std::move(held_.front());
    held_.pop_front();
    first.answer.give(std::move(first.result));
  }
}

void ServicesRunner::carry_out(services::Watch& effect) { watched_.watch(effect.pid); }

void ServicesRunner::carry_out(services::Unwatch& effect) { watched_.unwatch(effect.pid); }

std::vector<Atom> ServicesRunner::members() const {
  const std::lock_guard lock(members_mutex_);
  return members_;
}

void ServicesRunner::carry_out(services::MembersChanged& /*effect*/) {
  auto members = machine_.members().members();
  if (config_.decided) {
    const auto tell = [&](const std::vector<Atom>& of, const std::vector<Atom>& without, FlightEntry::Kind kind) {
      for (const auto& node : of) {
        if (!std::ranges::binary_search(without, node)) config_.decided(kind, node);
      }
    };
    tell(members, members_, FlightEntry::Kind::joined);  // only this thread writes `members_`
    tell(members_, members, FlightEntry::Kind::lost);
  }
  const std::lock_guard lock(members_mutex_);
  members_ = std::move(members);
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
