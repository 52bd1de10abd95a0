#include "process/system.hpp"

#include <algorithm>
#include <iterator>
#include <thread>
#include <tuple>
#include <utility>

#include "base/random.hpp"
#include "distribution/stream_choice.hpp"
#include "process/state.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

using distribution::Control;
using distribution::Delivered;
using distribution::DeliverOutcome;
using distribution::SendOutcome;
using distribution::Signal;

namespace {

constexpr std::uint32_t id_bits = 28;
constexpr std::uint32_t id_mask = (1U << id_bits) - 1;

/// What a signal of another node takes while it waits.
std::size_t bytes_of(const Signal& signal) {
  if (const auto* encoded = std::get_if<distribution::EncodedTerm>(&signal.payload)) {
    return encoded->bytes.size() + sizeof(Event);
  }
  const auto* reason = std::get_if<Term>(&signal.payload);  // of an exit, in its control tuple
  return sizeof(Event) + (reason == nullptr ? 0 : encoded_size(*reason, false));
}

/// An exit that nobody can refuse.
bool is_kill(const Signal& signal) {
  constexpr std::size_t atom_bytes_max = 16;
  if (!std::holds_alternative<distribution::Exit2>(signal.control)) return false;
  const auto* encoded = std::get_if<distribution::EncodedTerm>(&signal.payload);
  if (encoded != nullptr && encoded->bytes.size() > atom_bytes_max) return false;
  const auto reason = distribution::decode_payload(signal.payload);
  return reason && reason->is_atom("kill");
}

/// Whether somebody waits for an answer when the signal cannot leave.
bool owes_answer(const Control& control) {
  return std::holds_alternative<distribution::Link>(control) ||
         std::holds_alternative<distribution::Monitor>(control) ||
         std::holds_alternative<distribution::SpawnRequest>(control);
}

unsigned workers_of(const SystemConfig& config) {
  constexpr unsigned workers_max = 8;
  return config.workers != 0 ? config.workers : std::clamp(std::thread::hardware_concurrency(), 1U, workers_max);
}

Task<> throw_away(Process& self) {
  for (;;) co_await self.receive();
}

/// Finds the local process that a signal is for.
class Addressee {
 public:
  /// `from`: the node of a channel; nullptr for signals from here.
  Addressee(System& system, const Atom* from) : system_(system), from_(from) {}
  template <class T>
  std::optional<Pid> operator()(const T& signal) const {
    return signal.to;
  }
  std::optional<Pid> operator()(const distribution::SendName& signal) const {
    auto pid = system_.addressee(signal.name);
    if (!pid) system_.mutable_counters().dropped_no_name.fetch_add(1, std::memory_order_relaxed);
    return pid;
  }
  std::optional<Pid> operator()(const distribution::SendAlias& signal) const {
    const Ref& alias = signal.alias;
    const bool ours = alias.node == system_.config().node && alias.creation == system_.config().creation;
    if (!ours || alias.count != Ref::words_max) {
      system_.mutable_counters().dropped_dead_alias.fetch_add(1, std::memory_order_relaxed);
      return std::nullopt;
    }
    return Pid{alias.node, alias.words[3], alias.words[4], alias.creation};
  }
  std::optional<Pid> operator()(const distribution::Monitor& signal) const {
    auto pid = resolve(signal.target);
    const bool of_sender = from_ == nullptr || signal.from.node == *from_;
    if (pid && of_sender && std::holds_alternative<Atom>(signal.target)) system_.note_named(signal, *pid);
    return pid;
  }
  std::optional<Pid> operator()(const distribution::Demonitor& signal) const {
    auto pid =
        std::holds_alternative<Atom>(signal.target) ? system_.forget_named(signal.ref, signal.from) : std::nullopt;
    return pid ? pid : resolve(signal.target);
  }
  std::optional<Pid> operator()(const distribution::SpawnRequest& /*signal*/) const { return std::nullopt; }

 private:
  [[nodiscard]] std::optional<Pid> resolve(const distribution::PidOrName& target) const {
    if (const auto* pid = std::get_if<Pid>(&target)) return *pid;
    return system_.addressee(std::get<Atom>(target));
  }
  System& system_;
  const Atom* from_;
};

}  // namespace

System::System(SystemConfig config)
    : config_(std::move(config)), reference_base_(random_uint64()), scheduler_(workers_of(config_)) {}

System::~System() {
  stop();
  gate_->close();
}

void System::start() {
  scheduler_.start();
  timers_.start();
  start_services(*this);
  const std::shared_lock lock(names_mutex_);
  for (const auto& [name, pid] : names_) {
    if (const auto state = find(pid)) state->internal.store(true, std::memory_order_relaxed);
  }
}

void System::stop() {
  stopping_.store(true);
  std::vector<std::shared_ptr<State>> all;
  for (auto& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    for (const auto& [number, state] : shard.states) all.push_back(state);
  }
  for (const auto& state : all) state->tell(new Event(Stop{}));
  all.clear();
  scheduler_.stop();
  timers_.stop();
  // Without workers (never started) processes are still in the table; what they hold may look into it.
  for (auto& shard : shards_) {
    std::unordered_map<std::uint64_t, std::shared_ptr<State>> rest;
    {
      const std::lock_guard lock(shard.mutex);
      rest.swap(shard.states);
      shard.closed = true;
    }
  }
}

// The table.

std::uint64_t System::number_of(const Pid& pid) noexcept { return std::uint64_t{pid.serial} << id_bits | pid.id; }

std::shared_ptr<State> System::make(ProcessFunction function) {
  std::uint64_t number = 0;
  while ((number & id_mask) == 0) number = next_process_.fetch_add(1, std::memory_order_relaxed);
  const Pid pid{config_.node, static_cast<std::uint32_t>(number & id_mask),
                static_cast<std::uint32_t>(number >> id_bits), config_.creation};
  auto state = std::make_shared<State>(*this, pid, std::move(function));
  Shard& shard = shards_[number % shard_count];
  const std::lock_guard lock(shard.mutex);
  if (shard.closed) return state;
  shard.states.emplace(number, state);
  counters_.spawned.fetch_add(1, std::memory_order_relaxed);
  return state;
}

void System::begin(State& state) {
  state.tell(new Event(Start{}));
  if (stopping_.load()) state.tell(new Event(Stop{}));
}

Pid System::spawn(ProcessFunction function) {
  const auto state = make(std::move(function));
  begin(*state);
  return state->pid();
}

Pid System::spawn_internal(ProcessFunction function) {
  const auto state = make(std::move(function));
  state->internal.store(true, std::memory_order_relaxed);
  begin(*state);
  return state->pid();
}

Pid System::spawn_receiver(Receiver receiver) {
  const auto state = make(throw_away);
  state->internal.store(true, std::memory_order_relaxed);
  state->duty = std::make_unique<const Duty>(Duty{.receiver = std::move(receiver)});
  begin(*state);
  return state->pid();
}

Pid System::spawn_watcher(WatchedEnded ended) {
  const auto state = make(throw_away);
  state->internal.store(true, std::memory_order_relaxed);
  state->duty = std::make_unique<const Duty>(Duty{.watched_ended = std::move(ended)});
  begin(*state);
  return state->pid();
}

Ref System::watch(const Pid& watcher, const Pid& pid) {
  Ref watch = make_ref();
  const auto state = find(watcher);
  if (!state) return watch;
  state->tell(new Event(Watch{watch, pid}));
  if (pid.node == config_.node) route(watcher, pid.node, Signal{distribution::Monitor{watcher, pid, watch}, {}});
  return watch;
}

void System::unwatch(const Pid& watcher, const Ref& watch) {
  if (const auto state = find(watcher)) state->tell(new Event(Unwatch{watch}));
}

std::shared_ptr<State> System::find(const Pid& pid) const {
  if (pid.node != config_.node || pid.creation != config_.creation) return nullptr;
  const std::uint64_t number = number_of(pid);
  const Shard& shard = shards_[number % shard_count];
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.states.find(number);
  return found == shard.states.end() ? nullptr : found->second;
}

std::shared_ptr<State> System::find_here(const Destination& to) const {
  if (const auto* pid = std::get_if<Pid>(&to)) return find(*pid);
  const auto* name = std::get_if<Atom>(&to);
  if (const auto* remote = std::get_if<RemoteName>(&to); remote != nullptr && remote->node.atom() == config_.node) {
    name = &remote->name;
  }
  const auto pid = name == nullptr ? std::nullopt : addressee(*name);
  return pid ? find(*pid) : nullptr;
}

std::size_t System::process_count() const {
  std::size_t count = 0;
  for (const auto& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    count += shard.states.size();
  }
  return count;
}

bool System::is_alive(const Pid& pid) const { return find(pid) != nullptr; }

std::shared_ptr<State> System::ended(State& state) {
  const std::uint64_t number = number_of(state.pid());
  std::shared_ptr<State> keep;
  {
    Shard& shard = shards_[number % shard_count];
    const std::lock_guard lock(shard.mutex);
    const auto found = shard.states.find(number);
    if (found != shard.states.end()) {
      keep = std::move(found->second);
      shard.states.erase(found);
    }
  }
  if (state.named.load()) {
    const std::unique_lock lock(names_mutex_);
    std::erase_if(names_, [&](const auto& entry) { return entry.second == state.pid(); });
  }
  return keep;
}

Ref System::make_ref(const Pid* owner) {
  constexpr unsigned first_word_bits = 18;
  const std::uint64_t number = next_reference_.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t rest = (number >> first_word_bits) ^ reference_base_;
  Ref ref{config_.node,
          config_.creation,
          3,
          {static_cast<std::uint32_t>(number & ((1U << first_word_bits) - 1)), static_cast<std::uint32_t>(rest),
           static_cast<std::uint32_t>(rest >> 32U), 0, 0}};
  if (owner != nullptr) {
    ref.count = Ref::words_max;
    ref.words[3] = owner->id;
    ref.words[4] = owner->serial;
  }
  return ref;
}

// Names.

Result<void> System::register_name(const Atom& name, const Pid& pid) {
  if (name.text().empty() || name == "undefined") return fail(Errc::invalid_argument, "not a name for a process");
  const std::unique_lock lock(names_mutex_);
  const auto state = find(pid);
  if (!state) return fail(Errc::no_process, "no such process here");
  if (names_.contains(name)) return fail(Errc::already_registered, name.string() + " is registered");
  if (state->named.exchange(true)) return fail(Errc::already_registered, "the process has a name already");
  names_.emplace(name, pid);
  // Its end takes the name away only if it saw `named`.
  if (state->ended()) names_.erase(name);
  return {};
}

bool System::unregister_name(const Atom& name) {
  const std::unique_lock lock(names_mutex_);
  const auto found = names_.find(name);
  if (found == names_.end()) return false;
  if (const auto state = find(found->second)) state->named.store(false);
  names_.erase(found);
  return true;
}

std::optional<Pid> System::whereis(const Atom& name) const {
  const std::shared_lock lock(names_mutex_);
  const auto found = names_.find(name);
  return found == names_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<Pid> System::addressee(const Atom& name) const {
  auto pid = whereis(name);
  if (!pid && name_fallback_) pid = name_fallback_(name);
  return pid;
}

void System::export_function(const Atom& module, const Atom& function, ExportedFunction implementation) {
  const std::unique_lock lock(exports_mutex_);
  exports_.insert_or_assign({module, function}, std::move(implementation));
}

std::optional<ExportedFunction> System::exported(const Atom& module, const Atom& function) const {
  const std::shared_lock lock(exports_mutex_);
  const auto found = exports_.find({module, function});
  return found == exports_.end() ? std::nullopt : std::optional(found->second);
}

// Signals that leave.

SendOutcome System::offer(const Pid& from, const Atom& node, Signal& signal) {
  if (node == config_.node) {
    (void)deliver_local(std::move(signal), Origin{config_.node});
    return SendOutcome::accepted;
  }
  const auto outcome = remote_.send ? remote_.send(node, std::move(signal), from) : SendOutcome::refused;
  if (outcome == SendOutcome::refused) counters_.dropped_by_channel.fetch_add(1, std::memory_order_relaxed);
  return outcome;
}

SendOutcome System::route(const Pid& from, const Atom& node, Signal&& signal) {
  std::optional<Control> waited_for;
  if (node != config_.node && owes_answer(signal.control)) waited_for = signal.control;
  const auto outcome = offer(from, node, signal);
  if (outcome == SendOutcome::full) counters_.dropped_by_channel.fetch_add(1, std::memory_order_relaxed);
  const bool dropped = outcome == SendOutcome::refused || outcome == SendOutcome::full;
  if (dropped && waited_for) refuse(std::move(*waited_for));
  return outcome;
}

void System::refuse(Control&& control) {
  using namespace distribution;
  const Term reason(Atom("noconnection"));
  const Origin here{config_.node};
  if (const auto* link = std::get_if<Link>(&control)) {
    (void)deliver_local(Signal{Exit{link->to, link->from}, reason}, here);
  } else if (const auto* monitor = std::get_if<Monitor>(&control)) {
    (void)deliver_local(Signal{MonitorExit{monitor->target, monitor->from, monitor->ref}, reason}, here);
  } else if (const auto* request = std::get_if<SpawnRequest>(&control)) {
    (void)deliver_local(Signal{SpawnReply{request->request, request->from, 0, Atom("noconnection")}, {}}, here);
  }
}

Result<void> System::send(const Destination& to, Term message) {
  SendOutcome outcome = SendOutcome::accepted;
  if (const auto* pid = std::get_if<Pid>(&to)) {
    if (pid->node == config_.node) return send_local(*pid, std::move(message)), Result<void>();
    outcome = route(nobody(), pid->node, Signal{distribution::Send{nobody(), *pid}, std::move(message)});
  } else if (const auto* name = std::get_if<Atom>(&to)) {
    const auto process = addressee(*name);
    if (!process) return fail(Errc::no_process, name->string() + " is not registered");
    send_local(*process, std::move(message));
  } else if (const auto* remote = std::get_if<RemoteName>(&to)) {
    if (remote->node.atom() == config_.node) return send(remote->name, std::move(message));
    outcome = route(nobody(), remote->node.atom(),
                    Signal{distribution::SendName{nobody(), remote->name}, std::move(message)});
  } else {
    const auto& alias = std::get<Ref>(to);
    outcome = route(nobody(), alias.node, Signal{distribution::SendAlias{nobody(), alias}, std::move(message)});
  }
  if (outcome == SendOutcome::full) {
    return fail(Errc::overloaded, "limits.send_queue_bytes_max is reached for this node: send less, or wait");
  }
  if (outcome == SendOutcome::refused) {
    return fail(Errc::no_connection, "the node is not connected and could not be reached a moment ago");
  }
  return {};
}

void System::exit(const Pid& target, const Term& reason) {
  route(nobody(), target.node, Signal{distribution::Exit2{nobody(), target}, reason});
}

void System::send_local(const Pid& to, Term&& message) { send_to(find(to).get(), std::move(message)); }

void System::send_to(State* state, Term&& message) {
  if (state != nullptr) {
    auto* made = new Message(std::move(message));
    if (state->push(made)) return;
    destroy(made);
  }
  counters_.dropped_no_process.fetch_add(1, std::memory_order_relaxed);
}

bool System::send_for_peer(State& state, Term&& message) {
  if (state.remote_bytes() > config_.mailbox_bytes_max) return false;
  auto* made = new Message(std::move(message));
  made->bytes = encoded_size(made->term, false);
  state.count(made->bytes);
  state.tell(made);
  return true;
}

void System::send_name(const Atom& name, Term&& message) {
  if (const auto pid = addressee(name)) return send_local(*pid, std::move(message));
  counters_.dropped_no_name.fetch_add(1, std::memory_order_relaxed);
}

// Signals that arrive.

void System::note_named(const distribution::Monitor& monitor, const Pid& process) {
  Shard& shard = shard_of(monitor.ref);
  const std::lock_guard lock(shard.mutex);
  shard.named.try_emplace(monitor.ref, Named{monitor.from, process});
}

std::optional<Pid> System::forget_named(const Ref& ref, const Pid& watcher) {
  Shard& shard = shard_of(ref);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.named.find(ref);
  if (found == shard.named.end() || found->second.watcher != watcher) return std::nullopt;
  Pid process = std::move(found->second.process);
  shard.named.erase(found);
  return process;
}

void System::refuse_relation(Signal&& signal) {
  counters_.refused_relations.fetch_add(1, std::memory_order_relaxed);
  answer(std::move(signal), Term(Atom("system_limit")));
}

void System::answer(Signal&& signal, const Term& reason) {
  using namespace distribution;
  if (const auto* link = std::get_if<Link>(&signal.control)) {
    route(link->to, link->from.node, Signal{Exit{link->to, link->from}, reason});
  } else if (const auto* unlink = std::get_if<Unlink>(&signal.control)) {
    route(unlink->to, unlink->from.node, Signal{UnlinkAck{unlink->id, unlink->to, unlink->from}, {}});
  } else if (const auto* monitor = std::get_if<Monitor>(&signal.control)) {
    const auto* process = std::get_if<Pid>(&monitor->target);
    if (process == nullptr) (void)forget_named(monitor->ref, monitor->from);
    const MonitorExit answer{monitor->target, monitor->from, monitor->ref};
    route(process != nullptr ? *process : stream_key(answer), monitor->from.node, Signal{answer, reason});
  } else if (const auto* reply = std::get_if<SpawnReply>(&signal.control)) {
    const auto* child = std::get_if<Pid>(&reply->result);
    if (child != nullptr && (reply->flags & SpawnReply::flag_monitor) != 0) {
      route(reply->to, child->node, Signal{Demonitor{reply->to, *child, reply->request}, {}});
    }
    if (child != nullptr && (reply->flags & SpawnReply::flag_link) != 0) {
      route(reply->to, child->node, Signal{Exit{reply->to, *child}, reason});
    }
  } else {
    counters_.dropped_no_process.fetch_add(1, std::memory_order_relaxed);
  }
}

DeliverOutcome System::deliver_local(Signal&& signal, const Origin& origin) {
  if (std::holds_alternative<distribution::SpawnRequest>(signal.control)) {
    handle_spawn(std::move(signal), origin);
    return DeliverOutcome::accepted;
  }
  const auto target = std::visit(Addressee(*this, origin.epoch == 0 ? nullptr : &origin.node), signal.control);
  if (target && target->creation != config_.creation) {
    counters_.dropped_stale_creation.fetch_add(1, std::memory_order_relaxed);
  }
  const auto state = target ? find(*target) : nullptr;
  if (!state) return answer_absent(std::move(signal)), DeliverOutcome::accepted;
  const Receiver* const receiver = state->receiver();
  if (receiver != nullptr && origin.epoch != 0 && std::holds_alternative<distribution::Send>(signal.control)) {
    return (*receiver)(origin.node, origin.epoch, std::move(signal.payload));
  }
  const std::size_t bytes = origin.epoch == 0 ? 0 : bytes_of(signal);
  if (bytes != 0 && state->congested.load()) {
    if (const auto held = hold_back(*state, signal, bytes, origin)) return *held;
  }
  // What carries nothing is handled when the process runs next, whatever it reads: who only links or monitors is not
  // held back for the messages of others.
  const std::size_t parts = std::holds_alternative<std::monostate>(signal.payload) ? 2 : 1;
  auto* event =
      origin.epoch == 0 ? new Event(std::move(signal)) : new Event(std::move(signal), bytes, origin.node, origin.epoch);
  const std::size_t waiting = bytes == 0 ? 0 : state->count(bytes);
  if (!state->push(event)) {
    answer_absent(std::move(std::get<Signal>(event->what)));
    destroy(event);
    return DeliverOutcome::accepted;
  }
  const bool is_full = waiting / parts > config_.mailbox_bytes_max;
  return is_full ? note_congestion(*state, origin) : DeliverOutcome::accepted;
}

DeliverOutcome System::note_congestion(State& state, const Origin& origin) {
  const std::lock_guard lock(congestion_mutex_);
  state.congested.store(true);
  // The process looks at the mark after it consumed, or ended: what it did before it saw the mark we see here.
  if (state.ended() || state.remote_bytes() <= config_.mailbox_bytes_max / 2) return DeliverOutcome::accepted;
  auto& channels = congested_[state.pid()].channels;
  if (std::ranges::any_of(channels, origin)) return DeliverOutcome::accepted;  // it was on its way
  channels.push_back({origin.node, origin.epoch});
  counters_.mailboxes_full.fetch_add(1, std::memory_order_relaxed);
  return DeliverOutcome::congested;
}

/// Of a signal that no other one of its channel waits before.
bool System::may_enter(const State& state, std::size_t bytes, const Origin& origin, Congestion& congestion) const {
  const std::size_t most = config_.mailbox_bytes_max;
  if (state.remote_bytes() / 2 <= most) return true;
  constexpr std::size_t share_of_a_node = 16;
  // Who is refused leaves nothing here, under however many names it comes.
  const auto known = congestion.let_in.find(origin.node);
  const std::size_t of_node = known == congestion.let_in.end() ? 0 : known->second;
  if (of_node > most / share_of_a_node || congestion.let_in_by_all > most) return false;
  congestion.let_in[origin.node] += bytes;
  congestion.let_in_by_all += bytes;
  return true;
}

std::optional<DeliverOutcome> System::hold_back(State& state, Signal& signal, std::size_t bytes, const Origin& origin) {
  const std::lock_guard lock(congestion_mutex_);
  const auto found = congested_.find(state.pid());
  if (found == congested_.end()) return std::nullopt;
  auto& channels = found->second.channels;
  auto held = std::ranges::find_if(channels, origin);
  const bool is_behind = held != channels.end() && !held->signals.empty();
  if (!is_behind && may_enter(state, bytes, origin, found->second)) return std::nullopt;
  // What it would be behind is not read any more. One is enough.
  if (is_kill(signal) && !state.internal.load() && !state.killed.exchange(true)) return std::nullopt;
  const bool is_new = held == channels.end();
  if (is_new) held = channels.insert(held, {origin.node, origin.epoch});
  held->signals.push_back(std::make_unique<Event>(std::move(signal), bytes, origin.node, origin.epoch));
  if (!is_new) return DeliverOutcome::accepted;
  counters_.mailboxes_full.fetch_add(1, std::memory_order_relaxed);
  return DeliverOutcome::congested;
}

void System::relieve(State& state) {
  std::vector<HeldChannel> free;
  std::vector<std::unique_ptr<Event>> late;
  while (relieve_some(state, free, late)) {
  }
  for (const auto& event : late) answer_absent(std::move(std::get<Signal>(event->what)));
  if (!remote_.resume_reading) return;
  for (const auto& held : free) remote_.resume_reading(held.node, held.epoch);
}

/// True: there may be more to do, but others wait for the lock.
bool System::relieve_some(State& state, std::vector<HeldChannel>& free, std::vector<std::unique_ptr<Event>>& late) {
  constexpr int at_once = 1000;
  const std::lock_guard lock(congestion_mutex_);
  const auto found = congested_.find(state.pid());
  if (found == congested_.end()) return state.congested.store(false), false;
  auto& channels = found->second.channels;
  int count = 0;
  for (auto& held : channels) {
    while (!held.signals.empty() && (state.ended() || state.remote_bytes() <= config_.mailbox_bytes_max)) {
      if (++count > at_once) return true;
      auto event = std::move(held.signals.front());
      held.signals.pop_front();
      state.count(event->bytes);
      if (state.push(event.get())) {
        std::ignore = event.release();
      } else {
        late.push_back(std::move(event));
      }
    }
  }
  const auto without = std::ranges::stable_partition(channels, [](const auto& held) { return !held.signals.empty(); });
  std::ranges::move(without, std::back_inserter(free));
  channels.erase(without.begin(), without.end());
  if (channels.empty()) {
    congested_.erase(found);
    state.congested.store(false);
  }
  return false;
}

/// What waits with the channel is lost, as what has not arrived.
void System::forget_held(const Atom& node, std::uint64_t epoch) {
  std::vector<HeldChannel> gone;
  {
    const std::lock_guard lock(congestion_mutex_);
    for (auto& [pid, congestion] : congested_) {
      const auto held = std::ranges::find_if(congestion.channels, Origin{node, epoch});
      if (held == congestion.channels.end()) continue;
      gone.push_back(std::move(*held));
      congestion.channels.erase(held);
    }
  }
  for (const auto& held : gone) {
    counters_.dropped_by_channel.fetch_add(held.signals.size(), std::memory_order_relaxed);
    for (const auto& event : held.signals) {
      const auto* monitor = std::get_if<distribution::Monitor>(&std::get<Signal>(event->what).control);
      const bool by_name = monitor != nullptr && std::holds_alternative<Atom>(monitor->target);
      if (by_name) std::ignore = forget_named(monitor->ref, monitor->from);
    }
  }
}

bool System::set_receiver(const Atom& name, Receiver receiver) {
  const std::unique_lock lock(receivers_mutex_);
  const auto [place, added] = receivers_.try_emplace(name);
  if (added) place->second = std::move(receiver);
  return added;
}

void System::remove_receiver(const Atom& name) {
  const std::unique_lock lock(receivers_mutex_);
  receivers_.erase(name);
}

DeliverOutcome System::deliver(const Atom& node, std::uint64_t epoch, Signal&& signal) {
  if (const auto* named = std::get_if<distribution::SendName>(&signal.control)) {
    const std::shared_lock lock(receivers_mutex_);
    const auto receiver = receivers_.find(named->name);
    if (receiver != receivers_.end()) return receiver->second(node, epoch, std::move(signal.payload));
    for (const auto& [prefix, take] : prefix_receivers_) {
      if (named->name.text().starts_with(prefix)) return take(named->name, node, epoch, std::move(signal.payload));
    }
  }
  return deliver_local(std::move(signal), Origin{node, epoch});
}

Delivered System::deliver(const Atom& node, std::uint64_t epoch, std::span<Signal> signals) {
  const auto message_to = [](const Signal& signal) {
    const auto* send = std::get_if<distribution::Send>(&signal.control);
    return send != nullptr ? &send->to : nullptr;
  };
  const auto is_next = [&](const Signal& signal) {
    const Pid* to = message_to(signal);
    return to != nullptr && *to == *message_to(signals.front());
  };
  const Pid* const to = message_to(signals.front());
  if (to != nullptr && signals.size() > 1 && is_next(signals[1])) {
    const auto state = find(*to);
    // A part of the node may say after each one that it wants no more, and a mailbox that is too long may.
    if (state && state->receiver() == nullptr && !state->congested.load()) {
      const auto other = std::ranges::find_if_not(signals, is_next);
      return deliver_messages(*state, {signals.begin(), other}, {node, epoch});
    }
  }
  return {1, deliver(node, epoch, std::move(signals.front()))};
}

Delivered System::deliver_messages(State& state, std::span<Signal> messages, const Origin& origin) {
  Chain chain;
  std::size_t bytes = 0;
  for (auto& message : messages) {
    const std::size_t message_bytes = bytes_of(message);
    chain.add(new Event(std::move(message), message_bytes, origin.node, origin.epoch));
    bytes += message_bytes;
  }
  const std::size_t waiting = state.count(bytes);
  if (!state.push(chain)) {
    counters_.dropped_no_process.fetch_add(messages.size(), std::memory_order_relaxed);
    return {messages.size()};
  }
  const bool is_full = waiting > config_.mailbox_bytes_max;
  return {messages.size(), is_full ? note_congestion(state, origin) : DeliverOutcome::accepted};
}

// Nodes.

void System::tell(const std::vector<Pid>& pids, const std::function<Node*()>& make) {
  for (const auto& pid : pids) {
    if (const auto state = find(pid)) state->tell(make());
  }
}

void System::node_up(const Atom& node, std::uint64_t epoch, std::uint32_t creation, std::uint64_t flags) {
  peers_.up(node, epoch, creation, flags);
  if ((flags & distribution::flag::published) != 0) tell_subscribers("nodeup", node);
}

bool System::node_down(const Atom& node, std::uint64_t epoch) {
  if (epoch != 0) forget_held(node, epoch);
  const auto gone = peers_.down(node, epoch);
  tell(gone.watchers, [&] { return new Event(NodeGone{node, gone.generation}); });
  tell(gone.monitors, [&] { return new Message(Term::tuple({Atom("nodedown"), node})); });
  if (gone.was_visible) tell_subscribers("nodedown", node);
  node_writable(node);
  return gone.was_visible;
}

void System::unreachable(const Atom& node) { (void)node_down(node, 0); }

void System::tell_subscribers(const char* what, const Atom& node) {
  std::vector<Pid> subscribers;
  {
    const std::lock_guard lock(subscribers_mutex_);
    std::erase_if(subscribers_, [&](const Pid& pid) { return find(pid) == nullptr; });
    subscribers = subscribers_;
  }
  tell(subscribers, [&] { return new Message(Term::tuple({Atom(what), node})); });
}

void System::node_writable(const Atom& node) {
  tell(peers_.take_senders(node), [] { return new Event(Writable{}); });
}

void System::subscribe_nodes(const Pid& pid) {
  const std::lock_guard lock(subscribers_mutex_);
  if (std::ranges::find(subscribers_, pid) == subscribers_.end()) subscribers_.push_back(pid);
}

void System::monitor_node(const Atom& node, const Pid& pid) {
  if (!peers_.monitor(node, pid)) send_local(pid, Term::tuple({Atom("nodedown"), node}));
}

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
