#include "node/services_runner.hpp"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "base/deadline.hpp"
#include "base/prng.hpp"
#include "replication/digest_tree.hpp"
#include "term/box.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using distribution::DeliverOutcome;
using services::Registration;
using services::Ticket;

namespace {

/// What a call counts against the bound of the queue, beside what it carries.
constexpr std::size_t call_bytes = 512;

/// How long what is told may wait for the mark of the clock: as long as the disk takes, unless it hangs.
constexpr std::chrono::seconds awaited_max{1};

std::size_t bytes_of(const distribution::Payload& payload) {
  const auto* encoded = std::get_if<distribution::EncodedTerm>(&payload);
  return call_bytes + (encoded == nullptr ? 0 : encoded->bytes.size());
}

/// As Erlang processes get it. What only we tell is told in their words.
Term message_of(const ServiceEvent& event) {
  const Term& name = event.name.term();
  const Atom node = event.node.atom();
  const auto about = [&](const char* what) { return Term::tuple({Atom(what), name, node}); };
  const auto down = [&](const Term& reason) { return Term::tuple({Atom("service_down"), name, node, reason}); };
  Term what;
  switch (event.kind) {
    case ServiceEvent::Kind::registered:
    case ServiceEvent::Kind::node_back: what = about("service_registered"); break;
    case ServiceEvent::Kind::unregistered: what = about("service_unregistered"); break;
    case ServiceEvent::Kind::down: what = down(event.reason); break;
    case ServiceEvent::Kind::node_lost: what = down(Atom("noconnection")); break;
  }
  return Term::tuple({Atom("barrel_p2p_service_event"), what});
}

Term message_of(const MapEvent& event) {
  const Term what = event.kind == MapEvent::Kind::put ? Term::tuple({Atom("put"), event.key, event.value})
                                                      : Term::tuple({Atom("remove"), event.key});
  return Term::tuple({Atom("barrel_p2p_map"), event.map, what});
}

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

DeliverOutcome ServicesRunner::receive(Received received) {
  const std::size_t bytes = bytes_of(received.payload);
  const Channel channel{received.node, received.epoch};
  const auto [pushed, outcome] = queue_.push_received(std::move(received), bytes, channel);
  wake(pushed);
  return outcome;
}

void ServicesRunner::register_service(ServiceName name, Pid pid, Term meta, const RegisterOptions& options, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(meta, false);
  call(bytes, answer, [this, answer, name = std::move(name), pid = std::move(pid), meta = std::move(meta), options] {
    const auto add = [&](Ticket ticket) {
      return machine_.registry().add(name.term(), pid, meta, ticket, bounded_limit(options.limit), now(), effects_);
    };
    if (options.wait_for_neighbours) return ticketed(*answer, add);
    auto added = add(0);
    carry_out();
    answer_change(std::move(*answer), std::move(added));
  });
}

void ServicesRunner::unregister_service(ServiceName name, Answer<bool>::Function done) {
  auto answer = std::make_shared<Answer<bool>>(std::move(done));
  call(0, answer, [this, answer, name = std::move(name)] {
    const bool removed = machine_.registry().remove(name.term(), now(), effects_);
    carry_out();
    answer->give(removed);
  });
}

void ServicesRunner::resolve(ServiceName name, WhereisOptions options, Milliseconds limit,
                             Answer<ServiceLocation>::Function done) {
  auto answer = std::make_shared<Answer<ServiceLocation>>(std::move(done));
  const auto until = deadline_after(limit);
  call(0, answer, [this, answer, name = std::move(name), options = std::move(options), until] {
    if (auto found = find_service(name, options)) return answer->give(std::move(*found));
    waiters_.add({name, options, until, std::move(*answer)});
  });
}

void ServicesRunner::verify(Answer<RegistryAudit>::Function done) {
  auto answer = std::make_shared<Answer<RegistryAudit>>(std::move(done));
  call(0, answer, [this, answer] { answer->give(machine_.registry().verify()); });
}

void ServicesRunner::service_statistics(Answer<ServiceStatistics>::Function done) {
  auto answer = std::make_shared<Answer<ServiceStatistics>>(std::move(done));
  call(0, answer, [this, answer] { answer->give(service_figures()); });
}

void ServicesRunner::placement_issues(Answer<PlacementIssues>::Function done) {
  auto answer = std::make_shared<Answer<PlacementIssues>>(std::move(done));
  call(0, answer, [this, answer] { answer->give(machine_.placement().issues()); });
}

/// On the thread of the caller: while it reads, `stop` does not close the store.
Result<void> ServicesRunner::load_map(const Atom& map, services::Maps::Stored& stored) {
  return gate_->with([&](const ServicesRunner* self) -> Result<void> {
    if (self == nullptr) return fail(Errc::stopped, "the node is stopping");
    store_->flush();  // what an earlier map of this name left
    const auto collection = services::map_collection(map);
    stored.reserve(store_->size(collection));
    const auto loaded = store_->load(collection, [&](Term&& key, replication::Entry&& entry) {
      stored.emplace_back(std::move(key), std::move(entry));
    });
    return loaded ? Result<void>() : std::unexpected(loaded.error());
  });
}

void ServicesRunner::open_map(const Atom& map, MapOptions options, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  auto content = std::make_shared<services::Maps::Stored>();
  if (options.persist && !maps_.is_open(map)) {
    if (auto loaded = load_map(map, *content); !loaded) return answer->give(std::move(loaded));
  }
  call(0, answer, [this, answer, map, options = std::move(options), content] {
    auto opened = machine_.maps().open(map, options, std::move(*content), now(), effects_);
    carry_out();  // what it holds
    if (opened && !maps_.is_open(map)) maps_.open(map, {});
    answer->give(std::move(opened));
  });
}

void ServicesRunner::delete_map(const Atom& map, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  call(0, answer, [this, answer, map] {
    ticketed(*answer, [&](Ticket ticket) {
      auto removed = machine_.maps().remove_map(map, ticket, now(), effects_);
      if (removed) maps_.close(map);
      return removed;
    });
  });
}

void ServicesRunner::put(const Atom& map, Term key, Term value, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(key, false) + encoded_size(value, false);
  call(bytes, answer, [this, answer, map, key = std::move(key), value = std::move(value)] {
    ticketed(*answer, [&](Ticket ticket) { return machine_.maps().put(map, key, value, ticket, now(), effects_); });
  });
}

void ServicesRunner::put_many(const Atom& map, std::vector<TermPair> pairs, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  std::size_t bytes = 0;
  for (const auto& [key, value] : pairs) bytes += encoded_size(key, false) + encoded_size(value, false);
  call(bytes, answer, [this, answer, map, pairs = std::move(pairs)] {
    ticketed(*answer, [&](Ticket ticket) { return machine_.maps().put_many(map, pairs, ticket, now(), effects_); });
  });
}

void ServicesRunner::remove(const Atom& map, Term key, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(key, false);
  call(bytes, answer, [this, answer, map, key = std::move(key)] {
    ticketed(*answer, [&](Ticket ticket) { return machine_.maps().remove(map, key, ticket, now(), effects_); });
  });
}

void ServicesRunner::map_statistics(const Atom& map, Answer<MapStatistics>::Function done) {
  auto answer = std::make_shared<Answer<MapStatistics>>(std::move(done));
  call(0, answer, [this, answer, map] { answer->give(machine_.maps().statistics(map)); });
}

void ServicesRunner::add_type(const Atom& name, std::shared_ptr<ReplicatedType> type, Done done) {
  const auto take = [this, name](const Atom& node, std::uint64_t epoch, distribution::Payload&& payload) {
    return receive({name, node, epoch, std::move(payload)});
  };
  // What was taken when the gate closed is given back by nobody.
  const bool stops = gate_->with([](const ServicesRunner* self) { return self == nullptr; });
  if (stops) return done(fail(Errc::stopped, "the node is stopping"));
  if (!system_.set_receiver(name, take)) {
    return done(fail(Errc::already_registered, "messages to the name " + name.string() + " are taken"));
  }
  auto answer = std::make_shared<Answer<void>>([this, name, done = std::move(done)](Result<void> added) {
    if (!added) system_.remove_receiver(name);
    done(std::move(added));
  });
  // Moved on, so that nothing but the machine holds the type when the answer is given.
  call(0, answer, [this, answer, name, type = std::move(type)]() mutable {
    auto added = machine_.types().add(name, std::move(type), now(), effects_);
    carry_out();
    answer->give(std::move(added));
  });
}

void ServicesRunner::remove_type(const Atom& name, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  system_.remove_receiver(name);
  wake(queue_.push(Call([this, answer, name] {
    machine_.types().remove(name);
    answer->give({});
  })));
}

Result<void> ServicesRunner::broadcast_change(const Atom& name, Term change) {
  if (auto shallow = replication::check_depth(change); !shallow) return shallow;
  // As the replica broadcasts it: others refuse what is larger.
  const Term sent = Term::tuple({Atom("custom"), config_.services.own, change});
  if (encoded_size(Term(name), false) + encoded_size(sent, false) > overlay_.payload_bytes_max()) {
    return fail(Errc::limit_exceeded, "a change has at most gossip.payload_bytes_max, with its tag and its sender");
  }
  const std::size_t bytes = call_bytes + encoded_size(change, false);
  const auto pushed = queue_.push_if_short(
      Call([this, name, change = std::move(change)] { machine_.types().broadcast(name, change, effects_); }), bytes);
  wake(pushed);
  if (pushed == Queue::Pushed::closed) return fail(Errc::stopped, "the node is stopping");
  if (pushed == Queue::Pushed::full) {
    return fail(Errc::overloaded, "limits.cluster_queue_bytes_max is reached: send less, or wait");
  }
  return {};
}

// What is read.

ServicesRunner::Registrations ServicesRunner::lookup(const ServiceName& name) const {
  Registrations all;
  registry_.read(name.term(), [&](const std::vector<Known>& known) {
    for (const auto& one : known) {
      if (is_usable(one.registration)) all.push_back(one.registration);
    }
  });
  return all;
}

std::optional<Pid> ServicesRunner::lookup_local(const ServiceName& name) const {
  std::optional<Pid> found;
  registry_.read(name.term(), [&](const std::vector<Known>& all) {
    if (!all.empty() && all.front().location.local) found = all.front().location.pid;
  });
  return found;
}

std::vector<ServiceName> ServicesRunner::list_services() const {
  std::vector<Term> names;
  registry_.each([&](const Term& name, const std::vector<Known>& /*all*/) { names.push_back(name); });
  std::ranges::sort(names, TermLess());
  std::vector<ServiceName> list;
  list.reserve(names.size());
  for (const auto& name : names) {
    if (auto service = ServiceName::from(name)) list.push_back(std::move(*service));
  }
  return list;
}

std::optional<ServiceLocation> ServicesRunner::find_service(const ServiceName& name,
                                                            const WhereisOptions& options) const {
  std::optional<ServiceLocation> location;
  const auto use = [&](const Known& one) { location = one.location; };
  registry_.read(name.term(), [&](const std::vector<Known>& all) {
    const auto is_wanted = [&](const Known& one) {
      return is_usable(one.registration) && (!options.accept || options.accept(one.registration.meta));
    };
    if (options.choice == ServiceChoice::local_first) {
      const auto first = std::ranges::find_if(all, is_wanted);
      if (first != all.end()) use(*first);
      return;
    }
    std::vector<const Known*> wanted;
    for (const auto& one : all) {
      if (is_wanted(one)) wanted.push_back(&one);
    }
    if (wanted.empty()) return;
    const auto weight = [&](const Known* one) {
      return replication::key_hash(Term::tuple({options.key, one->registration.node}));
    };
    switch (options.choice) {
      case ServiceChoice::local_first:
      case ServiceChoice::first:
        return use(**std::ranges::min_element(wanted, {},
                                              [](const Known* one) -> const Atom& { return one->registration.node; }));
      case ServiceChoice::random:
        return use(*wanted[Prng(round_robin_.fetch_add(1, std::memory_order_relaxed)).below(wanted.size())]);
      case ServiceChoice::round_robin:
        return use(*wanted[round_robin_.fetch_add(1, std::memory_order_relaxed) % wanted.size()]);
      case ServiceChoice::by_key: return use(**std::ranges::max_element(wanted, {}, weight));
    }
  });
  if (location) handed_out_.use(location->pid);
  return location;
}

std::vector<Atom> ServicesRunner::members() const {
  const std::lock_guard lock(members_mutex_);
  return members_;
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
  const auto term = distribution::decode_payload(input.payload);
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

void ServicesRunner::carry_out(services::ServiceChanged& effect) {
  auto all = machine_.registry().lookup(effect.name);
  if (all.empty()) {
    registry_.erase(effect.name);
  } else {
    std::vector<Known> known;
    known.reserve(all.size());
    for (auto& one : all) {
      detail::keep_atom(one.node);
      detail::keep_atom(one.pid.node);
      ServiceLocation location{one.pid, NodeName(one.node.text()), one.node == config_.services.own};
      known.push_back({std::move(one), std::move(location)});
    }
    registry_.set(effect.name, std::move(known));
    waiters_.serve(effect.name, [this](const ServiceName& name, const WhereisOptions& options) {
      return find_service(name, options);
    });
  }
}

void ServicesRunner::carry_out(services::ServiceHappened& effect) {
  service_events_.tell(effect.event);
  service_pids_.tell(message_of(effect.event));
}

void ServicesRunner::carry_out(services::MapOpened& effect) {
  const auto* const map = machine_.maps().find(effect.map);
  if (map == nullptr) return;
  MapEntries entries;
  entries.reserve(map->live_count());
  for (const auto& [key, entry] : map->entries()) {
    if (entry.is_live()) entries.set(key, entry.value());
  }
  maps_.open(effect.map, std::move(entries));
}

void ServicesRunner::carry_out(services::MapChanged& effect) {
  if (effect.value) {
    maps_.set(effect.map, effect.key, std::move(*effect.value));
  } else {
    maps_.erase(effect.map, effect.key);
  }
}

void ServicesRunner::carry_out(services::MapHappened& effect) {
  const auto audience = maps_.whole_audience(effect.event.map);
  if (!audience) return;
  audience->subscribers.tell(effect.event);
  audience->pids.tell(message_of(effect.event));
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
