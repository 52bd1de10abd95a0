#include "services/registry_support.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace barrel_p2p::services::test {

std::string to_text(const ServiceEvent& event) {
  std::string text;
  switch (event.kind) {
    case ServiceEvent::Kind::registered: text = "registered"; break;
    case ServiceEvent::Kind::unregistered: text = "unregistered"; break;
    case ServiceEvent::Kind::down: text = "down(" + barrel_p2p::to_text(event.reason) + ")"; break;
    case ServiceEvent::Kind::node_lost: text = "lost"; break;
    case ServiceEvent::Kind::node_back: text = "back"; break;
  }
  return text + " " + barrel_p2p::to_text(event.name.term()) + " " + event.node.string();
}

Pid process(const std::string& node, std::uint32_t id, std::uint32_t creation) {
  return {.node = Atom(node), .id = id, .serial = 0, .creation = creation};
}

// One node.

Machine::Machine(RegistryConfig config, const Now& now)
    : own(config.own),
      members({.own = config.own, .seed = config.seed}, clock, now),
      registry(std::move(config), clock, members, now) {}

void Machine::note(const Now& now, Effects effects) {
  for (const auto& change : members.take_changes()) registry.liveness(change, now, effects);
  for (auto& effect : effects) {
    if (const auto* happened = std::get_if<ServiceHappened>(&effect)) {
      EXPECT_TRUE(changed.contains(happened->event.name.term())) << "an event came before its change";
      events.push_back(to_text(happened->event));
    } else if (const auto* change = std::get_if<ServiceChanged>(&effect)) {
      changed.insert(change->name);
    } else if (const auto* watch = std::get_if<Watch>(&effect)) {
      EXPECT_TRUE(watched.insert(watch->pid).second) << "watched twice";
    } else if (const auto* unwatch = std::get_if<Unwatch>(&effect)) {
      EXPECT_EQ(watched.erase(unwatch->pid), 1U) << "not watched";
    } else if (const auto* done = std::get_if<Completed>(&effect)) {
      const auto result = done->result ? "ok" : std::string(name(done->result.error().code()));
      EXPECT_TRUE(completed.emplace(done->ticket, result).second) << "completed twice";
    } else {
      sent.push_back(std::move(effect));
    }
  }
}

std::string Machine::take_events() {
  std::string text;
  for (const auto& event : std::exchange(events, {})) text += (text.empty() ? "" : ", ") + event;
  return text;
}

std::string Machine::visible() const {
  std::string text;
  for (const auto& name : registry.names()) {
    auto found = registry.lookup(name);
    std::ranges::sort(found, {}, &Registration::node);
    for (const auto& entry : found) {
      text += (text.empty() ? "" : " ") + barrel_p2p::to_text(name) + "@" + entry.node.string() + "=" +
              std::to_string(entry.pid.id);
    }
  }
  return text;
}

// The network.

Machine& World::add(const std::string& name) {
  RegistryConfig config;
  config.own = Atom(name);
  config.seed = random_.next();
  return add(config);
}

Machine& World::add(RegistryConfig config) {
  auto machine = std::make_unique<Machine>(config, now_);
  return *(machines_[config.own] = std::move(machine));
}

std::vector<std::string> World::names() const {
  std::vector<std::string> names;
  for (const auto& [name, machine] : machines_) names.push_back(name.string());
  return names;
}

void World::link(const std::string& one, const std::string& other) {
  if (!links_.add(Atom(one), Atom(other))) return;
  for (const auto& [from, to] : {std::pair(Atom(one), Atom(other)), std::pair(Atom(other), Atom(one))}) {
    Machine& machine = *machines_.at(from);
    Effects effects;
    machine.members.neighbour_up(to, now_, effects);
    machine.registry.neighbour_up(to, now_, effects);
    machine.members.set_native(to);
    machine.registry.set_native(to);
    machine.note(now_, std::move(effects));
    take(machine);
  }
}

void World::unlink(const std::string& one, const std::string& other) {
  if (!links_.remove(Atom(one), Atom(other))) return;
  for (const auto& [from, to] : {std::pair(Atom(one), Atom(other)), std::pair(Atom(other), Atom(one))}) {
    if (!machines_.contains(from)) continue;
    machines_.at(from)->members.neighbour_down(to);
    machines_.at(from)->registry.neighbour_down(to);
  }
}

bool World::are_linked(const std::string& one, const std::string& other) const {
  return links_.contains(Atom(one), Atom(other));
}

void World::crash(const std::string& name) {
  for (const auto& other : names()) unlink(name, other);
  machines_.erase(Atom(name));
}

bool World::add_service(const std::string& node, const Term& name, const Pid& pid, const Term& meta, Ticket ticket,
                        Milliseconds limit) {
  Effects effects;
  const bool added = at(node).registry.add(name, pid, meta, ticket, limit, now_, effects).has_value();
  at(node).note(now_, std::move(effects));
  take(at(node));
  return added;
}

bool World::remove_service(const std::string& node, const Term& name) {
  Effects effects;
  const bool removed = at(node).registry.remove(name, now_, effects);
  at(node).note(now_, std::move(effects));
  take(at(node));
  return removed;
}

void World::end_process(const std::string& node, const Pid& pid, const Term& reason) {
  Effects effects;
  at(node).watched.erase(pid);
  at(node).registry.process_down(pid, reason, now_, effects);
  at(node).note(now_, std::move(effects));
  take(at(node));
}

void World::take(Machine& machine) {
  for (auto& effect : std::exchange(machine.sent, {})) {
    if (const auto* send = std::get_if<Send>(&effect)) {
      if (are_linked(machine.own.string(), send->to.string()))
        carry({machine.own, send->to, send->name, send->message});
    } else if (const auto* broadcast = std::get_if<Broadcast>(&effect)) {
      ++broadcasts;
      for (const auto& to : links_.reachable(machine.own)) {
        if (to != machine.own) carry({machine.own, to, broadcast->tag, broadcast->payload, true});
      }
    }
  }
}

void World::carry(Item item) {
  if (random_.chance(weather.loss) || (filter && !filter(item.from, item.to, item.term))) return;
  for (int copy = random_.chance(weather.doubled) ? 2 : 1; copy > 0; --copy) {
    const auto delay = Milliseconds(1 + random_.below(static_cast<std::size_t>(weather.delay_max.count())));
    queue_.emplace(now_.monotonic + delay, item);
  }
}

void World::deliver(const Item& item) {
  const auto to = machines_.find(item.to);
  if (to == machines_.end() || (!item.broadcast && !are_linked(item.from.string(), item.to.string()))) return;
  ++messages;
  Machine& machine = *to->second;
  Effects effects;
  const bool is_beat = item.name == members_replica_name;
  if (item.broadcast && is_beat) {
    machine.members.deliver(item.term, now_, effects);
  } else if (item.broadcast) {
    machine.registry.deliver(item.term, now_, effects);
  } else if (is_beat) {
    machine.members.receive(item.from, item.term, now_, effects);
  } else {
    machine.registry.receive(item.from, item.term, now_, effects);
  }
  machine.note(now_, std::move(effects));
  take(machine);
}

void World::tick() {
  for (const auto& [name, machine] : machines_) {
    if (std::min(machine->members.deadline(), machine->registry.deadline()) > now_.monotonic) continue;
    Effects effects;
    machine->members.tick(now_, effects);
    for (const auto& change : machine->members.take_changes()) machine->registry.liveness(change, now_, effects);
    machine->registry.tick(now_, effects);
    machine->note(now_, std::move(effects));
    take(*machine);
  }
}

void World::pass(Milliseconds time) {
  const auto end = now_.monotonic + time;
  for (int steps = 0; steps < 10'000'000; ++steps) {
    MonotonicTime next = queue_.empty() ? MonotonicTime::max() : queue_.begin()->first;
    for (const auto& [name, machine] : machines_) {
      next = std::min({next, machine->members.deadline(), machine->registry.deadline()});
    }
    next = std::max(next, now_.monotonic);
    const bool done = next > end;
    if (done) next = end;
    now_.wall += std::chrono::duration_cast<Milliseconds>(next - now_.monotonic).count();
    now_.monotonic = next;
    if (done) return;
    while (!queue_.empty() && queue_.begin()->first <= now_.monotonic) {
      const Item item = queue_.begin()->second;
      queue_.erase(queue_.begin());
      deliver(item);
    }
    tick();
  }
  FAIL() << "the nodes never rest";
}

}  // namespace barrel_p2p::services::test
