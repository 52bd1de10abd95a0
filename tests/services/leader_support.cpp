#include "services/leader_support.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "services/services.hpp"

namespace barrel_p2p::services::test {
namespace {

Leader::Stored stored_of(const LeaderDisk& disk) { return {disk.fences.begin(), disk.fences.end()}; }

bool term_less(const std::pair<Term, Pid>& left, const std::pair<Term, Pid>& right) {
  const auto order = compare(left.first, right.first);
  return order != 0 ? order < 0 : left.second < right.second;
}

}  // namespace

// One node.

LeaderNode::LeaderNode(LeaderConfig config, LeaderDisk& disk_of_it, const Now& now)
    : own(config.own),
      disk(disk_of_it),
      clock({.start = disk.clock}),
      members({.own = config.own, .seed = config.seed}, clock, now),
      leader(std::move(config), clock, members, stored_of(disk), now),
      terms(term_less) {}

void LeaderNode::note(const Now& now, Effects effects) {
  for (const auto& change : members.take_changes()) leader.liveness(change, now, effects);
  if (const auto mark = clock.take_mark()) disk.clock = mark->wall;
  for (auto& effect : effects) {
    if (const auto* persist = std::get_if<Persist>(&effect)) {
      for (const auto& change : persist->changes) {
        EXPECT_EQ(change.collection, leader_fences_collection);
        disk.fences.erase(change.key);
        if (change.entry) disk.fences.emplace(change.key, *change.entry);
      }
    } else if (const auto* watch = std::get_if<Watch>(&effect)) {
      EXPECT_TRUE(watched.insert(watch->pid).second) << "watched twice";
    } else if (const auto* unwatch = std::get_if<Unwatch>(&effect)) {
      EXPECT_EQ(watched.erase(unwatch->pid), 1U) << "not watched";
    } else if (const auto* change = std::get_if<LeaderChanged>(&effect)) {
      changed.insert(change->name);
    } else if (const auto* happened = std::get_if<LeaderHappened>(&effect)) {
      note(happened->candidate, happened->event);
    } else {
      sent.push_back(std::move(effect));
    }
  }
}

void LeaderNode::note(const Pid& pid, const LeaderEvent& event) {
  const auto known = terms.find({event.name, pid});
  const auto whom = " p" + std::to_string(pid.id);
  switch (event.kind) {
    case LeaderEvent::Kind::elected:
      EXPECT_TRUE(known == terms.end()) << "elected twice";
      terms[{event.name, pid}] = event.fence;
      told.push_back("elected" + whom);
      break;
    case LeaderEvent::Kind::renewed:
      EXPECT_TRUE(known != terms.end() && known->second < event.fence) << "renewed for nothing";
      terms[{event.name, pid}] = event.fence;
      told.push_back("renewed" + whom);
      break;
    case LeaderEvent::Kind::revoked:
      EXPECT_EQ(terms.erase({event.name, pid}), 1U) << "revoked without a term";
      told.push_back("revoked" + whom);
      return;
  }
  EXPECT_GT(event.fence, greatest[event.name]) << "a fence went backwards on one node";
  greatest[event.name] = event.fence;
  EXPECT_TRUE(disk.fences.contains(event.name)) << "told before it was written";
}

void LeaderNode::input(const Now& now, const std::function<void(Effects&)>& use) {
  Effects effects;
  use(effects);
  note(now, std::move(effects));
}

Result<Role> LeaderNode::lead(const Term& name, const Pid& pid, const LeadOptions& options, const Now& now) {
  Effects effects;
  auto role = leader.lead(name, pid, options, now, effects);
  if (role && role->fence) {
    EXPECT_TRUE(terms.emplace(std::pair(name, pid), *role->fence).second) << "led already";
    EXPECT_GT(*role->fence, greatest[name]);
    greatest[name] = *role->fence;
  }
  note(now, std::move(effects));
  return role;
}

std::string LeaderNode::take_told() {
  std::string text;
  for (const auto& word : std::exchange(told, {})) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// The network.

LeaderNode& LeaderWorld::add(const std::string& name, Milliseconds anti_entropy) {
  LeaderConfig config;
  config.own = Atom(name);
  config.seed = random_.next();
  config.anti_entropy_period = anti_entropy;
  return *(nodes_[config.own] = std::make_unique<LeaderNode>(config, disks[config.own], now_));
}

std::vector<std::string> LeaderWorld::names() const {
  std::vector<std::string> names;
  for (const auto& [name, node] : nodes_) names.push_back(name.string());
  return names;
}

void LeaderWorld::link(const std::string& one, const std::string& other) {
  if (!links_.add(Atom(one), Atom(other))) return;
  for (const auto& [from, to] : {std::pair(Atom(one), Atom(other)), std::pair(Atom(other), Atom(one))}) {
    LeaderNode& node = *nodes_.at(from);
    node.input(now_, [&, peer = to](Effects& out) {
      node.leader.neighbour_up(peer, now_, out);
      node.members.neighbour_up(peer, now_, out);
      node.members.set_native(peer);
      node.leader.set_native(peer);
    });
    take(node);
  }
}

void LeaderWorld::unlink(const std::string& one, const std::string& other) {
  if (!links_.remove(Atom(one), Atom(other))) return;
  for (const auto& [from, to] : {std::pair(Atom(one), Atom(other)), std::pair(Atom(other), Atom(one))}) {
    if (!nodes_.contains(from)) continue;
    nodes_.at(from)->members.neighbour_down(to);
    nodes_.at(from)->leader.neighbour_down(to);
  }
}

void LeaderWorld::crash(const std::string& name) {
  for (const auto& other : names()) unlink(name, other);
  nodes_.erase(Atom(name));
  paused_.erase(Atom(name));
}

Result<Role> LeaderWorld::lead(const std::string& node, const Term& name, const Pid& pid, const LeadOptions& options) {
  auto role = at(node).lead(name, pid, options, now_);
  take(at(node));
  return role;
}

bool LeaderWorld::resign(const std::string& node, const Term& name, const std::optional<Pid>& pid) {
  LeaderNode& machine = at(node);
  std::erase_if(machine.terms,
                [&](const auto& term) { return term.first.first == name && (!pid || term.first.second == *pid); });
  bool resigned = false;
  machine.input(now_, [&](Effects& out) { resigned = machine.leader.resign(name, pid, now_, out); });
  take(machine);
  return resigned;
}

void LeaderWorld::end_process(const std::string& node, const Pid& pid) {
  LeaderNode& machine = at(node);
  machine.watched.erase(pid);
  std::erase_if(machine.terms, [&](const auto& term) { return term.first.second == pid; });
  machine.input(now_, [&](Effects& out) { machine.leader.process_down(pid, now_, out); });
  take(machine);
}

std::vector<std::string> LeaderWorld::leaders(const Term& name) const {
  std::vector<std::string> found;
  for (const auto& [own, node] : nodes_) {
    if (node->leader.is_leader(name, now_)) found.push_back(own.string());
  }
  return found;
}

std::string LeaderWorld::leader_at(const std::string& node, const Term& name) const {
  const auto found = nodes_.at(Atom(node))->leader.leader(name, now_);
  return found ? found->node.string() + " p" + std::to_string(found->pid.id) : "none";
}

void LeaderWorld::take(LeaderNode& node) {
  for (auto& effect : std::exchange(node.sent, {})) {
    if (const auto* send = std::get_if<Send>(&effect)) {
      if (links_.contains(node.own, send->to)) carry({node.own, send->to, send->name, send->message});
    } else if (const auto* broadcast = std::get_if<Broadcast>(&effect)) {
      for (const auto& to : links_.reachable(node.own)) {
        if (to != node.own) carry({node.own, to, broadcast->tag, broadcast->payload, true});
      }
    }
  }
}

void LeaderWorld::carry(const Item& item) {
  if (random_.chance(loss)) return;
  for (int copy = random_.chance(doubled) ? 2 : 1; copy > 0; --copy) {
    const auto delay = Milliseconds(1 + random_.below(static_cast<std::size_t>(delay_max.count())));
    queue_.emplace(now_.monotonic + delay, item);
  }
}

void LeaderWorld::deliver(const Item& item) {
  const auto to = nodes_.find(item.to);
  if (to == nodes_.end() || (!item.broadcast && !links_.contains(item.from, item.to))) return;
  LeaderNode& node = *to->second;
  node.input(now_, [&](Effects& out) {
    const bool is_beat = item.name == members_replica_name;
    if (item.broadcast && is_beat) node.members.deliver(item.term, now_, out);
    if (item.broadcast && !is_beat) node.leader.deliver(item.term, now_, out);
    if (!item.broadcast && is_beat) node.members.receive(item.from, item.term, now_, out);
    if (!item.broadcast && !is_beat) node.leader.receive(item.from, item.term, now_, out);
  });
  take(node);
}

void LeaderWorld::tick() {
  for (const auto& [name, node] : nodes_) {
    if (paused_.contains(name) || node->deadline() > now_.monotonic) continue;
    LeaderNode& machine = *node;
    machine.input(now_, [&](Effects& out) {
      machine.members.tick(now_, out);
      machine.leader.tick(now_, out);
    });
    take(machine);
  }
}

void LeaderWorld::pass(Milliseconds time) {
  const auto end = now_.monotonic + time;
  for (int steps = 0; steps < 10'000'000; ++steps) {
    MonotonicTime next = end;
    for (const auto& [at, item] : queue_) {
      if (paused_.contains(item.to)) continue;
      next = std::min(next, at);
      break;
    }
    for (const auto& [name, node] : nodes_) {
      if (!paused_.contains(name)) next = std::min(next, node->deadline());
    }
    next = std::max(next, now_.monotonic);
    now_.wall += std::chrono::duration_cast<Milliseconds>(next - now_.monotonic).count();
    now_.monotonic = next;
    for (auto item = queue_.begin(); item != queue_.end() && item->first <= now_.monotonic;) {
      if (paused_.contains(item->second.to)) {
        ++item;
        continue;
      }
      const Item due = item->second;
      item = queue_.erase(item);
      deliver(due);
    }
    tick();
    if (now_.monotonic >= end) return;
  }
  FAIL() << "the nodes never rest";
}

}  // namespace barrel_p2p::services::test
