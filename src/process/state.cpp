#include "process/state.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

using distribution::Signal;

State::State(System& system, Pid pid, ProcessFunction function)
    : system_(system), pid_(std::move(pid)), function_(std::move(function)), process(*this) {}

State::~State() {
  task_ = {};  // what it holds may still look at the rest
  function_ = nullptr;
  destroy_list(first_);
}

bool State::wake(Inbox::Pushed pushed) {
  if (pushed == Inbox::Pushed::closed) return false;
  system_.schedule(*this);
  return true;
}

void State::tell(Node* node) {
  if (!push(node)) destroy(node);
}

/// Not in line: of `bytes == 0 ? 0 : count(bytes)` g++ 12 makes twice what was there before.
std::size_t State::count(std::size_t bytes) noexcept { return remote_bytes_.fetch_add(bytes) + bytes; }

void State::note_consumed(std::size_t bytes) {
  unreported_bytes_ += bytes;
  const std::size_t bound = std::min(unreported_bytes_max, system_.config().mailbox_bytes_max / 8);
  if (unreported_bytes_ > bound || congested.load(std::memory_order_relaxed)) report_consumed();
}

void State::report_consumed() {
  const std::size_t bytes = std::exchange(unreported_bytes_, 0);
  if (bytes == 0) return;
  const std::size_t left = remote_bytes_.fetch_sub(bytes) - bytes;
  if (left <= system_.config().mailbox_bytes_max / 2 && congested.load()) system_.relieve(*this);
}

// The turn.

void State::run() {
  process.turn_ = 0;
  for (;;) {
    ++process.turn_;
    if (!handle_all(inbox_.take())) return;
    if (ready_ || poll_) resume();
    if (over()) return finish(nullptr);
    const bool wants_more = ready_ || poll_;
    const bool turn_over = process.turn_ > Process::turn_max;
    if (turn_over || !wants_more) report_consumed();
    if (!wants_more) {
      addressee_.reset();
      if (inbox_.park()) return;
    }
    if (turn_over) {
      const auto partner = std::move(addressee_);
      return system_.yield(*this, partner.get());
    }
  }
}

/// False when the process has ended.
bool State::handle_all(Node* list) {
  while (list != nullptr) {
    const bool is_awaited = waiting_.receive != nullptr && !ready_;
    if (list->is_message && !is_awaited) {
      list = keep_messages(list);
      continue;
    }
    Node* node = std::exchange(list, list->next);
    bool alive = true;
    try {
      // A message counts when the process looks at it: who gets many must not have less of a turn for it.
      if (!node->is_message) ++process.turn_;
      alive = handle(node);
    } catch (...) {  // what a matcher threw
      exit_reason_ = reason_of_exception();
      alive = false;
    }
    if (alive) continue;
    finish(list);
    return false;
  }
  return true;
}

void State::resume() {
  ready_ = false;
  poll_ = false;
  const auto handle = std::exchange(waiting_, Waiting{}).handle;
  try {
    if (begun_) {
      handle.resume();
    } else {
      begin();
    }
    if (task_.valid() && task_.handle().done()) task_.handle().promise().result();
  } catch (...) {
    exit_reason_ = reason_of_exception();
  }
}

void State::begin() {
  begun_ = true;
  task_ = function_(process);
  if (task_.valid()) task_.handle().resume();
}

Term State::reason_of_exception() {
  Term reason;
  Term stack;
  try {
    throw;
  } catch (const ExitProcess& exit) {
    return exit.reason;
  } catch (const ThrowTerm& thrown) {
    reason = Term::tuple({Atom("nocatch"), thrown.value});
  } catch (const ErrorTerm& error) {
    reason = error.reason;
    stack = error.stack;
  } catch (const std::exception& error) {
    reason = Term::tuple({Atom("exception"), std::string_view(error.what())});
  } catch (...) {
    reason = Term::tuple({Atom("exception"), "of unknown type"});
  }
  system_.mutable_counters().crashed.fetch_add(1, std::memory_order_relaxed);
  const auto& log = system_.config().log_crash;
  if (log) log(to_text(Term(pid_)) + " ended with an exception: " + to_text(reason));
  return Term::tuple({std::move(reason), std::move(stack)});
}

// The end.

void State::finish(Node* rest) {
  if (waiting_.held != nullptr) system_.peers().forget_sender(waiting_.held->node, waiting_.held->place);
  // Destroys what the coroutine holds, while the process can still send.
  task_ = {};
  function_ = nullptr;
  addressee_.reset();
  ended_.store(true);
  Node* late = inbox_.close();
  const auto keep = system_.ended(*this);
  if (last_timer_ != 0) system_.timers().cancel(*this);
  const Term reason = exit_reason_.value_or(Term(Atom("normal")));
  if (duty && duty->on_end) duty->on_end();  // its place is free before anybody hears of it
  if (relations_) tell_relations(reason);
  for (Node* list : {rest, late}) {
    while (list != nullptr) {
      Node* node = std::exchange(list, list->next);
      if (!node->is_message) {
        auto* signal = std::get_if<Signal>(&static_cast<Event*>(node)->what);
        if (signal != nullptr) system_.answer_absent(std::move(*signal));
      }
      destroy(node);
    }
  }
  if (relations_) forget_peers();
  if (congested.load()) system_.relieve(*this);
}

void State::tell_relations(const Term& reason) {
  for (const auto& [other, link] : relations_->links) {
    if (link.unlink_id != 0 || !still_there(other.node, link.generation)) continue;
    system_.route(pid_, other.node, Signal{distribution::Exit{pid_, other}, reason});
  }
  for (const auto& [key, watcher] : relations_->watchers) {
    forget_named(key, watcher);
    const Pid& to = key.watcher;
    if (!still_there(to.node, watcher.generation)) continue;
    for (std::uint32_t time = 0; time < watcher.times; ++time) {
      system_.route(pid_, to.node, Signal{distribution::MonitorExit{watcher.as, to, key.ref}, reason});
    }
  }
  for (const auto& [ref, monitored] : relations_->monitors) {
    if (monitored.kind == Monitored::Kind::spawn || !still_there(monitored.node, monitored.generation)) continue;
    system_.route(pid_, monitored.node, Signal{distribution::Demonitor{pid_, monitored.target, ref}, {}});
  }
}

void State::forget_named(const WatchKey& key, const Watcher& watcher) {
  if (std::holds_alternative<Atom>(watcher.as)) (void)system_.forget_named(key.ref, key.watcher);
}

void State::forget_peers() {
  for (const auto& [node, peer] : relations_->peers) system_.peers().unwatch(peer, pid_);
}

// Signals.

bool State::handle(Node* node) {
  if (node->is_message) return deliver(static_cast<Message*>(node)), true;
  const std::unique_ptr<Event> event(static_cast<Event*>(node));
  if (std::holds_alternative<Signal>(event->what)) return handle_signal(*event);
  if (const auto* gone = std::get_if<NodeGone>(&event->what)) return on_node_gone(*gone);
  if (const auto* fired = std::get_if<TimerFired>(&event->what)) {
    if (waiting_.handle && waiting_.timer == fired->id) ready_ = true;
    return true;
  }
  if (std::holds_alternative<Writable>(event->what)) {
    on_writable();
    return true;
  }
  if (std::holds_alternative<Start>(event->what)) return ready_ = true;
  if (const auto* watch = std::get_if<Watch>(&event->what)) {
    Monitored monitored;
    monitored.target = watch->pid;
    monitored.node = watch->pid.node;
    if (monitored.node == pid_.node) {
      relations().monitors.emplace(watch->watch, std::move(monitored));  // it has been told
    } else {
      monitor(watch->watch, std::move(monitored));
    }
    return true;
  }
  if (const auto* unwatch = std::get_if<Unwatch>(&event->what)) return demonitor(unwatch->watch, false), true;
  exit_reason_ = Term(Atom("shutdown"));  // Stop
  return false;
}

/// A peer speaks for its own processes only, whatever references it guesses.
bool State::is_of_sender(const Event& event, const distribution::Control& control) const {
  using namespace distribution;
  if (event.epoch == 0) return true;
  const auto asked = [&](const Ref& ref) {
    if (!relations_) return true;
    const auto found = relations_->monitors.find(ref);
    return found == relations_->monitors.end() || found->second.node == event.node;
  };
  const auto is_of = [&](const PidOrName& who) {
    const auto* pid = std::get_if<Pid>(&who);
    return pid == nullptr || pid->node == event.node;
  };
  struct Visitor {
    const decltype(asked)& is_asked;
    const decltype(is_of)& is_theirs;
    bool operator()(const Send& /*s*/) const { return true; }
    bool operator()(const SendName& /*s*/) const { return true; }
    bool operator()(const SendAlias& /*s*/) const { return true; }
    bool operator()(const Link& s) const { return is_theirs(s.from); }
    bool operator()(const Unlink& s) const { return is_theirs(s.from); }
    bool operator()(const UnlinkAck& s) const { return is_theirs(s.from); }
    bool operator()(const Monitor& s) const { return is_theirs(s.from); }
    bool operator()(const Demonitor& s) const { return is_theirs(s.from); }
    bool operator()(const SpawnReply& s) const { return is_theirs(s.result) && is_asked(s.request); }
    bool operator()(const Exit& s) const { return is_theirs(s.from); }
    bool operator()(const Exit2& s) const { return is_theirs(s.from); }
    bool operator()(const MonitorExit& s) const { return is_theirs(s.from) && is_asked(s.ref); }
    bool operator()(const GroupLeader& /*s*/) const { return true; }
    bool operator()(const SpawnRequest& /*s*/) const { return true; }
  };
  return std::visit(Visitor{asked, is_of}, control);
}

bool State::handle_signal(Event& event) {
  using namespace distribution;
  auto& signal = std::get<Signal>(event.what);
  if (!is_of_sender(event, signal.control)) return consumed(event.bytes), true;
  if (std::holds_alternative<std::monostate>(signal.payload)) consumed(std::exchange(event.bytes, 0));
  struct Visitor {
    State& state;
    Event& event;
    Signal& signal;
    bool operator()(Send& /*s*/) const { return state.on_message(event, signal); }
    bool operator()(SendName& /*s*/) const { return state.on_message(event, signal); }
    bool operator()(SendAlias& /*s*/) const { return state.on_message(event, signal); }
    bool operator()(Link& s) const { return state.on(s, event); }
    bool operator()(Unlink& s) const { return state.on(s); }
    bool operator()(UnlinkAck& s) const { return state.on(s); }
    bool operator()(Monitor& s) const { return state.on(s, event); }
    bool operator()(Demonitor& s) const { return state.on(s); }
    bool operator()(SpawnReply& s) const { return state.on(s, event); }
    bool operator()(Exit& /*s*/) const { return state.on_reason(event, signal); }
    bool operator()(Exit2& /*s*/) const { return state.on_reason(event, signal); }
    bool operator()(MonitorExit& /*s*/) const { return state.on_reason(event, signal); }
    bool operator()(GroupLeader& s) const { return state.set_group_leader(s.from), true; }
    bool operator()(SpawnRequest& /*s*/) const { return true; }  // for the node, not for a process
  };
  return std::visit(Visitor{*this, event, signal}, signal.control);
}

std::optional<Term> State::payload(Signal& signal, const Event& event) {
  if (auto* term = std::get_if<Term>(&signal.payload)) return std::move(*term);
  auto term = distribution::decode_payload(signal.payload);
  if (term) return std::move(*term);
  system_.mutable_counters().dropped_malformed.fetch_add(1, std::memory_order_relaxed);
  const auto& report = system_.remote().report_malformed;
  if (report) report(event.node, event.epoch, std::move(term.error()));
  return std::nullopt;
}

bool State::on_message(Event& event, Signal& signal) {
  if (const auto* to = std::get_if<distribution::SendAlias>(&signal.control)) {
    const bool known = relations_ && relations_->aliases.contains(to->alias);
    if (!known) {
      system_.mutable_counters().dropped_dead_alias.fetch_add(1, std::memory_order_relaxed);
      consumed(event.bytes);
      return true;
    }
    const auto found = relations_->aliases.find(to->alias);
    if (found->second) relations_->aliases.erase(found);
  }
  auto term = payload(signal, event);
  if (!term) return consumed(event.bytes), true;
  auto* message = new Message(std::move(*term));
  message->bytes = event.bytes;
  deliver(message);
  return true;
}

void State::deliver(Message* message) {
  Receive* receive = waiting_.receive;
  if (receive != nullptr && !ready_) {
    ++process.turn_;
    bool wanted = false;
    try {
      wanted = !receive->matcher_ || receive->matcher_(message->term);
    } catch (...) {
      destroy(message);
      throw;
    }
    if (wanted) {
      receive->result_ = std::move(message->term);
      ready_ = true;
      consumed(message->bytes);
      return destroy(message);
    }
  }
  message->next = nullptr;
  keep_messages(message);
}

Node* State::keep_messages(Node* list) noexcept {
  Node* last = list;
  std::uint32_t count = 1;
  for (; last->next != nullptr && last->next->is_message; last = last->next) ++count;
  Node* const rest = std::exchange(last->next, nullptr);
  if (last_ == nullptr) {
    first_ = static_cast<Message*>(list);
  } else {
    last_->next = list;
  }
  last_ = static_cast<Message*>(last);
  mailbox_size_ += count;
  return rest;
}

std::optional<State::Wish> State::wish_of(const Event& event, const Atom& node) {
  if (event.epoch != 0 && event.node != node) return std::nullopt;  // a peer speaks for its own processes only
  auto peer = watch(node);
  if (peer == nullptr) return Wish{0, PeerRelation()};
  if (event.epoch != 0 && peer->epoch.load() != event.epoch) return std::nullopt;
  Wish wish{peer->generation.load(), {}};
  wish.relation = PeerRelation::take(std::move(peer), system_.config().remote_relations_max);
  return wish;
}

bool State::still_there(const Atom& node, std::uint64_t generation) const {
  if (node == pid_.node) return true;
  const auto found = relations_->peers.find(node);
  return found != relations_->peers.end() && found->second->generation.load() == generation;
}

bool State::on(distribution::Link& link, const Event& event) {
  if (relations_ && relations_->links.contains(link.from)) return true;
  auto wish = wish_of(event, link.from.node);
  if (!wish) return true;
  if (wish->relation) {
    relations().links.try_emplace(link.from, LinkState{0, wish->generation, std::move(*wish->relation)});
  } else {
    system_.refuse_relation(Signal{link, {}});
  }
  return true;
}

bool State::on(distribution::Unlink& unlink) {
  if (relations_) {
    const auto found = relations_->links.find(unlink.from);
    if (found != relations_->links.end() && found->second.unlink_id == 0) relations_->links.erase(found);
  }
  system_.route(pid_, unlink.from.node, Signal{distribution::UnlinkAck{unlink.id, pid_, unlink.from}, {}});
  return true;
}

bool State::on(distribution::UnlinkAck& ack) {
  if (!relations_) return true;
  const auto found = relations_->links.find(ack.from);
  if (found != relations_->links.end() && found->second.unlink_id == ack.id && ack.id != 0) {
    relations_->links.erase(found);
  }
  return true;
}

bool State::on(distribution::Monitor& monitor, const Event& event) {
  auto wish = wish_of(event, monitor.from.node);
  if (!wish) {  // the channel is gone
    if (std::holds_alternative<Atom>(monitor.target)) (void)system_.forget_named(monitor.ref, monitor.from);
  } else if (wish->relation) {
    auto& watcher = relations()
                        .watchers.try_emplace({monitor.ref, monitor.from}, Watcher{monitor.target, wish->generation})
                        .first->second;
    watcher.relation.join(std::move(*wish->relation));
    ++watcher.times;
  } else {
    system_.refuse_relation(Signal{monitor, {}});
  }
  return true;
}

bool State::on(distribution::Demonitor& demonitor) {
  if (relations_) relations_->watchers.erase({demonitor.ref, demonitor.from});
  return true;
}

bool State::on_reason(Event& event, Signal& signal) {
  // That the other ended counts, whatever it said.
  const Term reason = payload(signal, event).value_or(Term(Atom("undecodable")));
  bool alive = true;
  if (const auto* exit = std::get_if<distribution::Exit>(&signal.control)) {
    alive = on_exit(exit->from, reason, true, event.bytes);
  } else if (const auto* asked = std::get_if<distribution::Exit2>(&signal.control)) {
    alive = on_exit(asked->from, reason, false, event.bytes);
  } else if (relations_) {
    const auto& down = std::get<distribution::MonitorExit>(signal.control);
    const auto found = relations_->monitors.find(down.ref);
    const bool wanted = found != relations_->monitors.end() && may_answer(event, found->second);
    if (wanted) alive = on_down(down, reason, event.bytes);
  }
  consumed(event.bytes);
  return alive;
}

bool State::on_exit(const Pid& from, const Term& reason, bool by_link, std::size_t& bytes) {
  const bool ignored = from.node != pid_.node && internal.load(std::memory_order_relaxed);
  if (by_link) {
    if (!relations_) return true;
    const auto found = relations_->links.find(from);
    if (found == relations_->links.end()) return hold_early_exit(from, reason, bytes), true;
    const bool active = found->second.unlink_id == 0;
    relations_->links.erase(found);
    if (!active || ignored) return true;
  } else if (ignored) {
    return true;
  } else if (reason.is_atom("kill")) {
    exit_reason_ = Term(Atom("killed"));
    return false;
  }
  if (trap_exit) return deliver(Term::tuple({Atom("EXIT"), from, reason}), std::exchange(bytes, 0)), true;
  if (reason.is_atom("normal") && (by_link || from != pid_)) return true;
  exit_reason_ = reason;
  return false;
}

bool State::awaits_linked(const Atom& node) const {
  return std::ranges::any_of(relations_->monitors, [&](const auto& entry) {
    return entry.second.kind == Monitored::Kind::spawn && entry.second.link && entry.second.node == node;
  });
}

/// Erlang nodes may let the exit of a new process overtake the news that it exists (protocol document 08, section 5.2).
void State::hold_early_exit(const Pid& from, const Term& reason, std::size_t& bytes) {
  auto& held = relations_->early_exits;
  if (held.size() >= Relations::early_exits_max || !awaits_linked(from.node)) return;
  held.push_back({from, reason, std::exchange(bytes, 0)});
}

/// When the node owes no more replies, what is left is of no new process.
void State::drop_early_exits(const Atom& node) {
  if (relations_->early_exits.empty() || awaits_linked(node)) return;
  drop_early_exits_if([&](const EarlyExit& exit) { return exit.from.node == node; });
}

bool State::on_down(const distribution::MonitorExit& exit, const Term& reason, std::size_t& bytes) {
  if (!relations_) return true;
  const auto found = relations_->monitors.find(exit.ref);
  if (found == relations_->monitors.end()) return true;
  const Monitored monitored = std::move(found->second);
  relations_->monitors.erase(found);
  const bool spawn = monitored.kind == Monitored::Kind::spawn;
  const distribution::PidOrName& who = spawn ? exit.from : monitored.target;
  const auto* pid = std::get_if<Pid>(&who);
  if (duty && duty->watched_ended && pid != nullptr) return duty->watched_ended(exit.ref, *pid, reason), true;
  Term what = pid != nullptr ? Term(*pid) : Term::tuple({std::get<Atom>(who), monitored.node});
  deliver(Term::tuple({Atom("DOWN"), exit.ref, Atom("process"), std::move(what), reason}), std::exchange(bytes, 0));
  if (!spawn || !monitored.link) return true;
  // It overtook the reply. The end of the link came before, and was held, or comes later, when nothing is known of it.
  if (pid != nullptr) {
    drop_early_exits_if([&](const EarlyExit& early) { return early.from == *pid; });
    relations_->links.try_emplace(*pid, LinkState{0, monitored.generation, {}});
  }
  drop_early_exits(monitored.node);
  return pid == nullptr || on_exit(*pid, reason, true, bytes);
}

bool State::on(distribution::SpawnReply& reply, const Event& event) {
  if (relations_) {
    const auto found = relations_->monitors.find(reply.request);
    if (found != relations_->monitors.end() && !may_answer(event, found->second)) return true;
  }
  return on_reply(reply);
}

bool State::on_reply(const distribution::SpawnReply& reply) {
  using distribution::SpawnReply;
  const bool monitored = (reply.flags & SpawnReply::flag_monitor) != 0;
  const bool linked = (reply.flags & SpawnReply::flag_link) != 0;
  auto* entries = relations_ ? &relations_->monitors : nullptr;
  const auto found = entries != nullptr ? entries->find(reply.request) : decltype(entries->find(reply.request)){};
  const bool wanted = entries != nullptr && found != entries->end() && found->second.kind == Monitored::Kind::spawn;
  const auto* pid = std::get_if<Pid>(&reply.result);
  if (!wanted) {  // given up meanwhile
    if (pid == nullptr) return true;
    if (monitored) system_.route(pid_, pid->node, Signal{distribution::Demonitor{pid_, *pid, reply.request}, {}});
    if (linked) system_.route(pid_, pid->node, Signal{distribution::Unlink{++relations().last_unlink, pid_, *pid}, {}});
    return true;
  }
  const Monitored request = found->second;
  // Its end may be told although the reply does not say so; Erlang nodes take it.
  if (pid == nullptr || !(monitored || request.monitor)) {
    entries->erase(found);
  } else {
    found->second.kind = Monitored::Kind::process;
    found->second.target = *pid;
  }
  if (pid == nullptr || request.tell) {
    Term result = pid != nullptr ? Term(*pid) : Term(std::get<Atom>(reply.result));
    deliver(
        Term::tuple({Atom("spawn_reply"), reply.request, Atom(pid != nullptr ? "ok" : "error"), std::move(result)}));
  }
  std::optional<EarlyExit> early;
  if (pid != nullptr && linked) {
    relations_->links.try_emplace(*pid, LinkState{0, request.generation, {}});
    auto& held = relations_->early_exits;
    const auto found_early = std::ranges::find(held, *pid, &EarlyExit::from);
    if (found_early != held.end()) {
      early = std::move(*found_early);
      held.erase(found_early);
    }
  }
  drop_early_exits(request.node);
  if (!early) return true;
  const bool alive = on_exit(*pid, early->reason, true, early->bytes);
  consumed(early->bytes);
  return alive;
}

bool State::on_node_gone(const NodeGone& gone) {
  if (!relations_) return true;
  const Term reason(Atom("noconnection"));
  const auto lost = [&](const Atom& node, std::uint64_t generation) {
    return node == gone.node && generation <= gone.generation;
  };
  if (client_ && lost(client_->node, client_->generation)) {
    exit_reason_ = reason;
    return false;
  }
  // The pids of an Erlang node begin anew with its next life.
  drop_early_exits_if([&](const EarlyExit& exit) { return exit.from.node == gone.node; });
  std::erase_if(relations_->watchers, [&](const auto& entry) {
    const bool gone_too = lost(entry.first.watcher.node, entry.second.generation);
    if (gone_too) forget_named(entry.first, entry.second);
    return gone_too;
  });
  std::size_t nothing_counted = 0;
  std::vector<Pid> broken;
  for (const auto& [other, link] : relations_->links) {
    if (lost(other.node, link.generation)) broken.push_back(other);
  }
  for (const auto& other : broken) {
    if (!on_exit(other, reason, true, nothing_counted)) return false;
  }
  std::vector<std::pair<Ref, Monitored>> ended;
  for (const auto& [ref, monitored] : relations_->monitors) {
    if (lost(monitored.node, monitored.generation)) ended.emplace_back(ref, monitored);
  }
  std::ranges::stable_partition(ended, [](const auto& entry) { return entry.second.kind == Monitored::Kind::process; });
  for (const auto& [ref, monitored] : ended) {
    if (monitored.kind == Monitored::Kind::process) {
      on_down({monitored.target, pid_, ref}, reason, nothing_counted);
    } else {
      on_reply({ref, pid_, 0, Atom("noconnection")});
    }
  }
  return true;
}

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
