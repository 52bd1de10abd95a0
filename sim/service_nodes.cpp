#include "sim/service_nodes.hpp"

#include <algorithm>
#include <cassert>
#include <string>
#include <type_traits>
#include <utility>

#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

/// What right wall clocks show when the simulation starts: some time in 2025.
constexpr WallMilliseconds wall_start = 1'750'000'000'000;
/// Nodes 0 and 1 are the contacts of chaos; their clocks are right.
constexpr NodeIndex first_wrong_clock = 2;
/// The registry and leader election.
constexpr std::size_t watchers = 2;

}  // namespace

ServiceNodes::ServiceNodes(ServiceNodesConfig config, std::uint64_t seed, Simulation& simulation)
    : config_(std::move(config)), simulation_(simulation), random_(seed), seed_(seed) {}

void ServiceNodes::add_node() {
  const auto index = static_cast<NodeIndex>(nodes_.size());
  Node& node = nodes_.emplace_back();
  const auto skew = uniform(random_, 2 * SimTime(config_.wall_skew_max)) - config_.wall_skew_max;
  node.wall_error = std::chrono::duration_cast<Milliseconds>(skew);
  if (has_wrong_clock(index))
    node.wall_error += (index - first_wrong_clock) % 2 == 0 ? config_.wrong_by : -config_.wrong_by;
}

bool ServiceNodes::has_wrong_clock(NodeIndex node) const {
  return node >= first_wrong_clock && node < first_wrong_clock + config_.wrong_clocks;
}

services::Now ServiceNodes::now(NodeIndex node) const {
  const auto since_start = simulation_.local_time(node) - simulation_.local_start(node);
  const auto elapsed = std::chrono::duration_cast<Milliseconds>(since_start);
  return {simulation_.local_time(node), wall_start + (elapsed + nodes_[node].wall_error).count()};
}

/// All that is done to a machine.
template <class Call>
auto ServiceNodes::act(NodeIndex node, const Call& call) {
  using Outcome = std::invoke_result_t<const Call&, services::Services&, const services::Now&, services::Effects&>;
  Node& owner = nodes_[node];
  const auto finish = [&] {
    owner.machine->settle(owner.effects);
    carry_out(node);
  };
  if constexpr (std::is_void_v<Outcome>) {
    call(*owner.machine, now(node), owner.effects);
    finish();
  } else {
    auto outcome = call(*owner.machine, now(node), owner.effects);
    finish();
    return outcome;
  }
}

// Processes of the operating system.

void ServiceNodes::start(NodeIndex node, bool remember) {
  Node& started = nodes_[node];
  if (!remember) {
    if (on_disk_loss) on_disk_loss(node);
    started.disk = Disk{};
    ++started.disk_losses;
  }
  services::ServicesConfig config = config_.machine;
  config.own = simulation_.name_of(node);
  config.seed = Prng(seed_ ^ (std::uint64_t{node} << 32U) ^ started.life).next();
  config.clock.start = started.disk.clock_mark();
  config.fences = started.disk.load(std::string(services::leader_fences_collection));
  config.members.known = started.disk.known_members();
  started.machine = std::make_unique<services::Services>(std::move(config), now(node));
  started.last_stamp = {};
  if (started.machine->clock().last().wall < started.disk.clock_mark())
    simulation_.fail_at(node, "its clock begins before the mark on its disk");
  auto& reminders = started.machine->reminders();
  for (const auto& [key, entry] : started.disk.load(std::string(services::reminder_collection))) {
    reminders.restore(key, entry);
  }
  reminders.start(now(node));
  act(node, [](auto&, const auto&, auto&) {});
  if (on_start) on_start(node);
}

void ServiceNodes::end(NodeIndex node) {
  Node& ended = nodes_[node];
  if (ended.machine == nullptr) return;
  if (on_end) on_end(node);
  ++ended.life;
  ended.carrying_out = false;
  ended.machine.reset();
  ended.effects.clear();
  ended.processes.clear();
  ended.watched.clear();
  ended.tickets.clear();
  // The write that is under way may be done without anybody being told.
  const auto next = std::ranges::find(ended.writes, false, &Write::done);
  if (next != ended.writes.end() && !next->fails && random_.chance(0.5)) ended.disk.apply(next->what.changes);
  ended.writes.clear();
  ended.disk_busy_until = simulation_.engine().now();
}

// What the simulation tells.

void ServiceNodes::neighbour_up(NodeIndex node, NodeIndex peer, bool native) {
  act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    machine.neighbour_up(simulation_.name_of(peer), native, now, out);
  });
}

void ServiceNodes::gossip_lost(NodeIndex node, NodeIndex peer) {
  act(node, [&](services::Services& machine, const services::Now& now, auto&) {
    machine.gossip_lost(simulation_.name_of(peer), now);
  });
}

void ServiceNodes::neighbour_down(NodeIndex node, NodeIndex peer) {
  act(node,
      [&](services::Services& machine, const auto&, auto&) { machine.neighbour_down(simulation_.name_of(peer)); });
}

void ServiceNodes::set_native(NodeIndex node, NodeIndex peer) {
  act(node, [&](services::Services& machine, const auto&, services::Effects& out) {
    machine.set_native(simulation_.name_of(peer), out);
  });
}

void ServiceNodes::leave(NodeIndex node) {
  act(node,
      [](services::Services& machine, const services::Now& now, services::Effects& out) { machine.leave(now, out); });
}

bool ServiceNodes::deliver(NodeIndex node, const Term& tag, const Term& payload) {
  return act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    return machine.deliver(tag, payload, now, out);
  });
}

void ServiceNodes::receive(NodeIndex node, NodeIndex peer, const Atom& name, const Term& message) {
  act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    // A name that nobody has: the map is not open here.
    (void)machine.receive(name, simulation_.name_of(peer), message, now, out);
  });
}

void ServiceNodes::tick(NodeIndex node) {
  act(node,
      [](services::Services& machine, const services::Now& now, services::Effects& out) { machine.tick(now, out); });
}

// What programs do.

Pid ServiceNodes::spawn(NodeIndex node) {
  Node& owner = nodes_[node];
  const Pid pid{simulation_.name_of(node), ++owner.last_process, 0, static_cast<std::uint32_t>(owner.life + 1)};
  owner.processes.insert(pid);
  return pid;
}

void ServiceNodes::kill(NodeIndex node, const Pid& pid, const Term& reason) {
  Node& owner = nodes_[node];
  owner.processes.erase(pid);
  if (owner.watched.erase(pid) == 0) return;
  act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    machine.process_down(pid, reason, now, out);
  });
}

Result<void> ServiceNodes::ticketed(NodeIndex node, Answered&& answered,
                                    const std::function<Result<void>(services::Services&, services::Ticket,
                                                                     const services::Now&, services::Effects&)>& work) {
  Node& owner = nodes_[node];
  const services::Ticket ticket = ++owner.last_ticket;
  owner.tickets.emplace(ticket, std::move(answered));
  return act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    auto result = work(machine, ticket, now, out);
    if (!result) owner.tickets.erase(ticket);
    return result;
  });
}

Result<void> ServiceNodes::register_service(NodeIndex node, const ServiceName& name, const Pid& pid, const Term& meta,
                                            const RegisterOptions& options, Answered answered) {
  const auto add = [&](services::Services& machine, services::Ticket ticket, const services::Now& now,
                       services::Effects& out) {
    return machine.registry().add(name.term(), pid, meta, ticket, options.limit, now, out);
  };
  if (options.wait_for_neighbours) return ticketed(node, std::move(answered), add);
  auto added = act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    return add(machine, 0, now, out);
  });
  if (added && answered) answered(added);
  return added;
}

bool ServiceNodes::unregister_service(NodeIndex node, const ServiceName& name) {
  return act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    return machine.registry().remove(name.term(), now, out);
  });
}

Result<Role> ServiceNodes::lead(NodeIndex node, const Term& name, const Pid& pid, const LeadOptions& options) {
  return act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    return machine.leader().lead(name, pid, options, now, out);
  });
}

Result<void> ServiceNodes::set_lead_priority(NodeIndex node, const Term& name, const Pid& pid, const Term& priority) {
  return act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    return machine.leader().set_priority(name, pid, priority, now, out);
  });
}

bool ServiceNodes::resign(NodeIndex node, const Term& name, const std::optional<Pid>& pid) {
  return act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    return machine.leader().resign(name, pid, now, out);
  });
}

Result<void> ServiceNodes::open_map(NodeIndex node, const Atom& map, const MapOptions& options) {
  return act(node, [&](services::Services& machine, const services::Now& now, services::Effects& out) {
    auto stored = options.persist ? nodes_[node].disk.load(services::map_collection(map)) : services::Maps::Stored();
    return machine.maps().open(map, options, std::move(stored), now, out);
  });
}

Result<void> ServiceNodes::put(NodeIndex node, const Atom& map, const Term& key, const Term& value, Answered answered) {
  return ticketed(node, std::move(answered),
                  [&](services::Services& machine, services::Ticket ticket, const services::Now& now,
                      services::Effects& out) { return machine.maps().put(map, key, value, ticket, now, out); });
}

Result<void> ServiceNodes::put_many(NodeIndex node, const Atom& map, const std::vector<TermPair>& pairs,
                                    Answered answered) {
  return ticketed(node, std::move(answered),
                  [&](services::Services& machine, services::Ticket ticket, const services::Now& now,
                      services::Effects& out) { return machine.maps().put_many(map, pairs, ticket, now, out); });
}

Result<void> ServiceNodes::remove(NodeIndex node, const Atom& map, const Term& key, Answered answered) {
  return ticketed(node, std::move(answered),
                  [&](services::Services& machine, services::Ticket ticket, const services::Now& now,
                      services::Effects& out) { return machine.maps().remove(map, key, ticket, now, out); });
}

Result<void> ServiceNodes::remind(NodeIndex node, const Term& key, WallMilliseconds due, const Term& payload,
                                  Answered answered) {
  return ticketed(
      node, std::move(answered),
      [&](services::Services& machine, services::Ticket ticket, const services::Now& now, services::Effects& out) {
        return machine.reminders().remind(key, due, payload, ticket, now, out);
      });
}

Result<void> ServiceNodes::cancel_reminder(NodeIndex node, const Term& key, Answered answered) {
  return ticketed(node, std::move(answered),
                  [&](services::Services& machine, services::Ticket ticket, const services::Now& now,
                      services::Effects& out) { return machine.reminders().cancel(key, ticket, now, out); });
}

void ServiceNodes::subscribe_reminders(NodeIndex node) {
  act(node, [](services::Services& machine, const auto&, auto&) { machine.reminders().set_subscribed(true); });
}

// What the machines want.

void ServiceNodes::carry_out(NodeIndex node) {
  Node& owner = nodes_[node];
  if (std::exchange(owner.carrying_out, true)) return;  // its turn comes
  const std::uint64_t life = owner.life;
  services::Effects effects;
  while (!owner.effects.empty() && owner.life == life) {
    std::swap(effects, owner.effects);
    for (const auto& effect : effects) {
      const auto* const persist = std::get_if<services::Persist>(&effect);
      if (persist != nullptr && persist->awaited && &effect != &effects.front()) {
        simulation_.fail_at(node, "has something happen before a write that it must await");
      }
    }
    for (auto& effect : effects) {
      // A callback of the program may end the node.
      if (owner.life == life) apply(node, effect);
    }
    effects.clear();
  }
  if (owner.life != life) return;
  owner.carrying_out = false;
  verify(node);
  simulation_.arm(node);
}

void ServiceNodes::apply(NodeIndex node, services::Effect& effect) {
  if (on_effect) on_effect(node, effect);
  Node& owner = nodes_[node];
  if (auto* send = std::get_if<services::Send>(&effect)) {
    simulation_.send_to_name(node, send->to, send->name, std::move(send->message));
  } else if (auto* broadcast = std::get_if<services::Broadcast>(&effect)) {
    simulation_.broadcast_unrecorded(node, Term(broadcast->tag), std::move(broadcast->payload));
  } else if (auto* wanted = std::get_if<services::Persist>(&effect)) {
    persist(node, std::move(*wanted));
  } else if (const auto* completed = std::get_if<services::Completed>(&effect)) {
    answer(node, completed->ticket, completed->result);
  } else if (const auto* watch = std::get_if<services::Watch>(&effect)) {
    if (++owner.watched[watch->pid] > watchers) simulation_.fail_at(node, "watches a process twice");
  } else if (const auto* unwatch = std::get_if<services::Unwatch>(&effect)) {
    const auto watched = owner.watched.find(unwatch->pid);
    if (watched == owner.watched.end()) simulation_.fail_at(node, "ends a watch that it does not have");
    if (--watched->second == 0) owner.watched.erase(watched);
  }
}

void ServiceNodes::answer(NodeIndex node, services::Ticket ticket, const Result<void>& result) {
  if (ticket == 0) return;
  auto waiting = nodes_[node].tickets.extract(ticket);
  if (waiting.empty()) simulation_.fail_at(node, "answers call " + std::to_string(ticket) + ", which has its answer");
  if (waiting.mapped()) waiting.mapped()(result);
}

// The disk.

void ServiceNodes::persist(NodeIndex node, services::Persist&& effect) {
  Node& owner = nodes_[node];
  Engine& engine = simulation_.engine();
  const bool fails = random_.chance(config_.disk_failures) || engine.now() < owner.broken_until;
  if (effect.awaited) {  // what comes after it happens now, too
    if (fails) owner.mark_failed_at = engine.now();
    if (!fails) owner.disk.apply(effect.changes);
  }
  owner.writes.push_back({std::move(effect), false, fails});
  owner.disk_busy_until = std::max(owner.disk_busy_until, engine.now()) + config_.disk.draw(random_);
  engine.call_at(owner.disk_busy_until, [this, node, life = owner.life] { finish_write(node, life); });
  ++disk_writes_;
}

void ServiceNodes::finish_write(NodeIndex node, std::uint64_t life) {
  Node& owner = nodes_[node];
  if (owner.life != life) return;
  const auto next = std::ranges::find(owner.writes, false, &Write::done);
  assert(next != owner.writes.end());
  next->done = true;
  if (next->fails) {
    ++disk_failures_;
  } else {
    owner.disk.apply(next->what.changes);
  }
  if (simulation_.is_running(node)) answer_writes(node);
}

void ServiceNodes::answer_writes(NodeIndex node) {
  Node& owner = nodes_[node];
  const std::uint64_t life = owner.life;
  while (owner.life == life && !owner.writes.empty() && owner.writes.front().done) {
    const Write write = std::move(owner.writes.front());
    owner.writes.pop_front();
    if (write.fails) {
      if (clock_mark_in(write.what.changes) != 0) owner.mark_failed_at = simulation_.engine().now();
      act(node, [&](services::Services& machine, const auto&, auto&) { machine.store_failed(write.what.changes); });
      answer(node, write.what.ticket, fail(Errc::io_error, "the simulated disk failed"));
    } else {
      act(node, [&](services::Services& machine, const auto&, auto&) { machine.stored(write.what.changes); });
      answer(node, write.what.ticket, {});
    }
  }
}

void ServiceNodes::resumed(NodeIndex node) {
  Node& owner = nodes_[node];
  if (owner.mark_failed_at) owner.mark_failed_at = simulation_.engine().now();  // time stood still for it
  answer_writes(node);
}

// What holds at every moment.

void ServiceNodes::verify(NodeIndex node) {
  Node& checked = nodes_[node];
  const auto& last = checked.machine->clock().last();
  if (last < checked.last_stamp) simulation_.fail_at(node, "its clock went back");
  checked.last_stamp = last;
  const WallMilliseconds mark = checked.disk.clock_mark();
  // A mark that failed is written again with the next beat.
  const SimTime retry = 2 * config_.machine.members.heartbeat;
  const bool is_late = !checked.mark_failed_at || simulation_.engine().now() > *checked.mark_failed_at + retry;
  if (last > replication::Timestamp{mark, 0} && is_late) {
    simulation_.fail_at(node,
                        "its stamps are " + std::to_string(last.wall - mark) + " ms beyond the mark that its disk has");
  }
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
