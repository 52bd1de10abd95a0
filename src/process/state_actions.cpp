// What the coroutine of a process asks for.
#include <stdexcept>
#include <utility>

#include "base/deadline.hpp"
#include "process/state.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

using distribution::Signal;

bool State::take(Receive& receive) {
  Message* before = receive.only_new_ ? static_cast<Message*>(receive.after_) : nullptr;
  Message* at = before == nullptr ? first_ : static_cast<Message*>(before->next);
  for (; at != nullptr; before = std::exchange(at, static_cast<Message*>(at->next))) {
    if (receive.matcher_ && !receive.matcher_(at->term)) continue;
    receive.result_ = std::move(at->term);
    auto* next = static_cast<Message*>(at->next);
    if (before == nullptr) {
      first_ = next;
    } else {
      before->next = next;
    }
    if (last_ == at) last_ = before;
    --mailbox_size_;
    consumed(at->bytes);
    destroy(at);
    return true;
  }
  return false;
}

void State::wait(std::coroutine_handle<> handle, Receive* receive, std::optional<Process::Duration> limit) {
  waiting_ = {handle, receive};
  if (!limit) return;
  if (limit->count() <= 0) {
    poll_ = true;  // what came already may still lie in the inbox
    return;
  }
  waiting_.timer = ++last_timer_;
  system_.timers().arm(*this, deadline_after(*limit), last_timer_);
}

bool State::is_held(Held& held) {
  held.place = system_.peers().wait_writable(held.node, pid_, held.writable_count);
  if (held.place != 0) return true;
  if (!held.unsent) return false;
  tell(new Event(Writable{}));  // meanwhile there was room somewhere
  return true;
}

void State::wait_writable(std::coroutine_handle<> handle, Held& held) { waiting_ = {handle, nullptr, 0, &held}; }

void State::on_writable() {
  if (waiting_.held == nullptr) return;
  Held& held = *waiting_.held;
  if (const auto unsent = std::move(held.unsent)) {
    if (const auto again = send_away(held.node, std::move(*unsent))) {
      held.unsent = std::move(again->unsent);
      held.writable_count = again->writable_count;
      if (is_held(held)) return;
    }
  }
  ready_ = true;
}

void State::yield(std::coroutine_handle<> handle) {
  waiting_ = {handle};
  ready_ = true;
}

std::shared_ptr<Peer> State::watch(const Atom& node) {
  if (node == pid_.node) return nullptr;
  auto& peer = relations().peers[node];
  if (!peer) peer = system_.peers().watch(node, pid_);
  return peer;
}

void State::link(const Pid& other) {
  if (other == pid_) return;
  const auto peer = watch(other.node);
  const std::uint64_t generation = peer == nullptr ? 0 : peer->generation.load();
  const auto [found, added] = relations().links.try_emplace(other);
  if (!added && found->second.unlink_id == 0) return;
  found->second = {0, generation, {}};
  system_.route(pid_, other.node, Signal{distribution::Link{pid_, other}, {}});
}

void State::unlink(const Pid& other) {
  if (!relations_) return;
  const auto found = relations_->links.find(other);
  if (found == relations_->links.end() || found->second.unlink_id != 0) return;
  found->second.unlink_id = ++relations_->last_unlink;
  system_.route(pid_, other.node, Signal{distribution::Unlink{relations_->last_unlink, pid_, other}, {}});
}

Ref State::monitor(const Destination& target, bool with_alias) {
  Monitored monitored;
  monitored.node = pid_.node;
  if (const auto* pid = std::get_if<Pid>(&target)) {
    monitored.target = *pid;
    monitored.node = pid->node;
  } else if (const auto* name = std::get_if<Atom>(&target)) {
    monitored.target = *name;
  } else if (const auto* remote = std::get_if<RemoteName>(&target)) {
    monitored.target = remote->name;
    monitored.node = remote->node.atom();
  } else {
    throw std::invalid_argument("an alias cannot be monitored");
  }
  const Ref ref = system_.make_ref(with_alias ? &pid_ : nullptr);
  if (with_alias) relations().aliases.emplace(ref, true);
  monitor(ref, std::move(monitored));
  return ref;
}

void State::monitor(const Ref& ref, Monitored monitored) {
  if (const auto peer = watch(monitored.node)) monitored.generation = peer->generation.load();
  distribution::Monitor signal{pid_, monitored.target, ref};
  const Atom node = monitored.node;
  relations().monitors.emplace(ref, std::move(monitored));
  system_.route(pid_, node, Signal{std::move(signal), {}});
}

void State::demonitor(const Ref& ref, bool flush) {
  if (!relations_) return;
  relations_->aliases.erase(ref);
  const auto found = relations_->monitors.find(ref);
  if (found != relations_->monitors.end()) {
    const Monitored monitored = std::move(found->second);
    relations_->monitors.erase(found);
    if (monitored.kind == Monitored::Kind::spawn) return drop_early_exits(monitored.node);
    system_.route(pid_, monitored.node, Signal{distribution::Demonitor{pid_, monitored.target, ref}, {}});
  } else if (flush) {
    Receive down(
        *this,
        [&ref](const Term& message) {
          return message.is_tagged("DOWN", 5) && message[1].as_reference() != nullptr &&
                 *message[1].as_reference() == ref;
        },
        std::nullopt);
    (void)take(down);
  }
}

Ref State::alias() {
  const Ref ref = system_.make_ref(&pid_);
  relations().aliases.emplace(ref, false);
  return ref;
}

bool State::unalias(const Ref& alias) { return relations_ && relations_->aliases.erase(alias) > 0; }

void State::expect_spawn(const Ref& request, const Atom& node, bool tell, const Process::SpawnOptions& options) {
  Monitored monitored;
  monitored.kind = Monitored::Kind::spawn;
  monitored.tell = tell;
  monitored.link = options.link;
  monitored.monitor = options.monitor;
  monitored.node = node;
  if (const auto peer = watch(node)) monitored.generation = peer->generation.load();
  relations().monitors.emplace(request, std::move(monitored));
}

HeldSend State::send(const Destination& to, Term&& message) {
  if (const auto* pid = std::get_if<Pid>(&to)) return send(*pid, std::move(message));
  if (const auto* name = std::get_if<Atom>(&to)) return system_.send_name(*name, std::move(message)), nullptr;
  if (const auto* remote = std::get_if<RemoteName>(&to)) {
    const Atom& node = remote->node.atom();
    if (node == pid_.node) return system_.send_name(remote->name, std::move(message)), nullptr;
    return send_away(node, Signal{distribution::SendName{pid_, remote->name}, std::move(message)});
  }
  const auto& alias = std::get<Ref>(to);
  return send_away(alias.node, Signal{distribution::SendAlias{pid_, alias}, std::move(message)});
}

HeldSend State::send(const Pid& to, Term&& message) {
  if (to.node != pid_.node) return send_elsewhere(to, std::move(message));
  if (!addressee_ || addressee_->pid() != to) addressee_ = system_.find(to);
  system_.send_to(addressee_.get(), std::move(message));
  return {};
}

HeldSend State::send_elsewhere(const Pid& to, Term&& message) {
  return send_away(to.node, Signal{distribution::Send{pid_, to}, std::move(message)});
}

/// The node by value: what it came from may be gone with the signal.
HeldSend State::send_away(Atom node, Signal&& signal) {
  using distribution::SendOutcome;
  const std::uint64_t count = system_.peers().writable_count();
  const auto outcome = system_.offer(pid_, node, signal);
  if (outcome == SendOutcome::busy) return HeldSend(new Held{system_, std::move(node), count});
  if (outcome != SendOutcome::full) return nullptr;
  return HeldSend(new Held{system_, std::move(node), count, std::make_unique<Signal>(std::move(signal))});
}

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
