// Nodes with members, placement and reminders, driven by hand: virtual time, channels that lose messages, disks,
// crashes at bad moments, pauses.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/prng.hpp"
#include "services/links.hpp"
#include "services/names.hpp"
#include "services/placement.hpp"
#include "services/reminders.hpp"

namespace barrel_p2p::services::test {

using namespace std::chrono_literals;
using replication::Entry;

class RemindersWorld {
 public:
  struct Told {
    Atom node;
    ReminderEvent what;
    WallMilliseconds at = 0;
  };
  struct Machine {
    Atom name;
    bool erlang = false;
    bool up = true;
    bool paused = false;
    bool subscribed = true;
    WallMilliseconds wall_skew = 0;
    std::unique_ptr<replication::HybridClock> clock{};
    std::unique_ptr<Members> members{};
    std::unique_ptr<Placement> placement{};
    std::unique_ptr<Reminders> reminders{};
    std::map<std::string, std::pair<Term, Entry>> disk{};  ///< By text of the key.
    bool disk_works = true;
    bool crashes_while_firing = false;  ///< After it told, before anything else.
    Reminders::Next next{};
    std::map<Ticket, std::string> answers{};
    std::vector<std::string> effects{};  ///< Of reminders: kinds in order.
    std::vector<Term> broadcasts{};      ///< Likewise: payloads.
    std::vector<Send> sends{};           ///< Likewise.
  };

  RemindersConfig config;
  double loss = 0;  ///< Probability of each message and each arrival of a broadcast.
  std::vector<Told> told;

  explicit RemindersWorld(std::uint64_t seed = 1) : random_(seed) {}

  Atom add(const std::string& name, bool erlang = false) {
    Machine machine{.name = Atom(name), .erlang = erlang};
    auto& placed = machines_.emplace(Atom(name), std::move(machine)).first->second;
    make(placed);
    return placed.name;
  }
  Machine& at(const Atom& node) { return machines_.at(node); }
  [[nodiscard]] Now now(const Machine& machine) const { return {now_, wall_ + machine.wall_skew}; }
  [[nodiscard]] Now now(const Atom& node) { return now(at(node)); }
  [[nodiscard]] WallMilliseconds wall() const { return wall_; }

  void link(const Atom& one, const Atom& other) {
    if (!links_.add(one, other)) return;
    join(one, other);
    join(other, one);
    settle();
  }
  void unlink(const Atom& one, const Atom& other) {
    if (!links_.remove(one, other)) return;
    down(one, other);
    down(other, one);
  }
  void stop(const Atom& node) {
    for (const auto& other : links_.of(node)) unlink(node, other);
    at(node).up = false;
    at(node).paused = false;
    std::erase_if(queue_, [&](const Item& item) { return item.to == node; });
  }
  void restart(const Atom& node) {
    Machine& machine = at(node);
    const auto last = machine.clock->last();
    machine.up = true;
    machine.crashes_while_firing = false;
    make(machine);
    (void)machine.clock->observe(last, now(machine).wall);  // as the mark on its disk has it
  }
  /// Messages wait for it.
  void pause(const Atom& node) { at(node).paused = true; }
  void wake(const Atom& node) {
    at(node).paused = false;
    tick(at(node));
    settle();
  }

  std::string remind(const Atom& node, const Term& key, WallMilliseconds due, const Term& payload = Term()) {
    return call(node, [&](Reminders& reminders, Ticket ticket, const Now& now, Effects& out) {
      return reminders.remind(key, due, payload, ticket, now, out);
    });
  }
  std::string cancel(const Atom& node, const Term& key) {
    return call(node, [&](Reminders& reminders, Ticket ticket, const Now& now, Effects& out) {
      return reminders.cancel(key, ticket, now, out);
    });
  }
  void subscribe(const Atom& node, bool subscribed) {
    at(node).subscribed = subscribed;
    at(node).reminders->set_subscribed(subscribed);
    tick(at(node));
    settle();
  }
  void deliver(const Atom& node, const Term& payload) {
    Effects effects;
    at(node).reminders->deliver(payload, now(node), effects);
    carry_out(at(node), effects);
    settle();
  }
  void receive(const Atom& node, const Atom& from, const Term& message) {
    Effects effects;
    at(node).reminders->receive(from, message, now(node), effects);
    carry_out(at(node), effects);
    settle();
  }
  void leave(const Atom& node) {
    Effects effects;
    at(node).members->leave(now(node), effects);
    at(node).placement->update(now_);
    at(node).reminders->leave();
    carry_out(at(node), effects);
    settle();
    for (const auto& other : links_.of(node)) unlink(node, other);
  }

  void pass(Milliseconds time) {
    const auto end = now_ + time;
    for (int steps = 0; steps < 10'000'000; ++steps) {
      MonotonicTime next = MonotonicTime::max();
      for (const auto& [name, machine] : machines_) {
        if (runs(machine)) next = std::min(next, deadline(machine));
      }
      if (next > end) break;
      advance(std::max(next, now_));
      for (auto& [name, machine] : machines_) {
        if (runs(machine) && deadline(machine) <= now_) tick(machine);
      }
      settle();
    }
    advance(end);
  }
  void settle() {
    std::deque<Item> kept;
    for (int steps = 0; steps < 1'000'000 && !queue_.empty(); ++steps) {
      Item item = std::move(queue_.front());
      queue_.pop_front();
      Machine& machine = at(item.to);
      if (!machine.up || random_.chance(loss)) continue;
      if (machine.paused) {
        kept.push_back(std::move(item));
      } else {
        arrive(machine, item);
      }
    }
    ASSERT_TRUE(queue_.empty()) << "the nodes never stop to talk";
    queue_ = std::move(kept);
  }

  /// Fences by the text of the key, as told on any node.
  [[nodiscard]] std::map<std::string, std::vector<Fence>> fences() const {
    std::map<std::string, std::vector<Fence>> all;
    for (const auto& one : told) all[to_text(one.what.key)].push_back(one.what.fence);
    return all;
  }
  [[nodiscard]] std::string told_text() const {
    std::string text;
    for (const auto& one : told) {
      text += (text.empty() ? "" : " ") + to_text(one.what.key) + "@" + one.node.string().substr(0, 1);
    }
    return text;
  }

 private:
  struct Item {
    Atom from;
    Atom to;
    Atom name;
    Term message;
    bool broadcast = false;
  };

  [[nodiscard]] static bool runs(const Machine& machine) { return machine.up && !machine.paused; }

  [[nodiscard]] static MonotonicTime deadline(const Machine& machine) {
    return std::min({machine.members->deadline(), machine.placement->deadline(), machine.reminders->deadline()});
  }

  void make(Machine& machine) {
    const Now time = now(machine);
    machine.clock = std::make_unique<replication::HybridClock>();
    MembersConfig members;
    members.own = config.own = machine.name;
    members.seed = config.seed = ++seeds_;
    machine.members = std::make_unique<Members>(members, *machine.clock, time);
    machine.placement = std::make_unique<Placement>(PlacementConfig{.own = machine.name}, *machine.members);
    machine.reminders = std::make_unique<Reminders>(config, *machine.clock, *machine.members, *machine.placement, time);
    for (const auto& [text, record] : machine.disk) machine.reminders->restore(record.first, record.second);
    machine.reminders->start(time);
    machine.reminders->set_subscribed(machine.subscribed);
    machine.reminders->set_next(machine.next);
  }

  template <class Use>
  std::string call(const Atom& node, const Use& use) {
    Machine& machine = at(node);
    const Ticket ticket = ++tickets_;
    Effects effects;
    const Result<void> result = use(*machine.reminders, ticket, now(machine), effects);
    carry_out(machine, effects);
    settle();
    if (!result) return std::string(name(result.error().code()));
    const auto answer = machine.answers.find(ticket);
    return answer == machine.answers.end() ? "waits" : answer->second;
  }

  void join(const Atom& node, const Atom& to) {
    Machine& machine = at(node);
    if (!runs(machine)) return;
    Effects effects;
    machine.members->neighbour_up(to, now(machine), effects);
    machine.placement->update(now_);
    machine.reminders->neighbour_up(to, now(machine));
    if (!machine.erlang && !at(to).erlang) {
      machine.members->set_native(to);
      machine.reminders->set_native(to);
    }
    carry_out(machine, effects);
  }
  void down(const Atom& node, const Atom& gone) {
    if (!at(node).up) return;
    at(node).members->neighbour_down(gone);
    at(node).reminders->neighbour_down(gone);
  }
  void advance(MonotonicTime to) {
    wall_ += std::chrono::duration_cast<Milliseconds>(to - now_).count();
    now_ = to;
  }
  void tick(Machine& machine) {
    Effects effects;
    machine.members->tick(now(machine), effects);
    machine.placement->update(now_);
    machine.reminders->tick(now(machine), effects);
    carry_out(machine, effects);
  }
  void arrive(Machine& machine, const Item& item) {
    const Term message = decode_term(encode_term(item.message))->term;  // what arrives has been bytes
    const Now time = now(machine);
    Effects effects;
    if (item.name == members_replica_name) {
      if (item.broadcast) machine.members->deliver(message, time, effects);
      if (!item.broadcast) machine.members->receive(item.from, message, time, effects);
      machine.placement->update(now_);
      machine.reminders->owners_changed(time);
    } else if (item.broadcast) {
      machine.reminders->deliver(message, time, effects);
    } else {
      machine.reminders->receive(item.from, message, time, effects);
    }
    carry_out(machine, effects);
  }

  void carry_out(Machine& machine, Effects& effects) {
    bool fires = false;
    for (auto& effect : effects) {
      if (auto* fired = std::get_if<ReminderFired>(&effect)) {
        if (!std::exchange(fires, true)) machine.effects.emplace_back("told");
        told.push_back({machine.name, std::move(fired->event), wall_});
        continue;
      }
      if (fires && machine.crashes_while_firing) return stop(machine.name);
      if (auto* send = std::get_if<Send>(&effect)) {
        carry_out(machine, *send);
      } else if (auto* broadcast = std::get_if<Broadcast>(&effect)) {
        carry_out(machine, *broadcast);
      } else if (auto* batch = std::get_if<Persist>(&effect)) {
        carry_out(machine, *batch);
      } else {
        ASSERT_TRUE(std::holds_alternative<MembersChanged>(effect));
      }
    }
  }
  void carry_out(Machine& machine, const Send& send) {
    if (!links_.contains(machine.name, send.to)) return;
    if (send.name != members_replica_name) machine.sends.push_back(send);
    queue_.push_back({machine.name, send.to, send.name, send.message});
  }
  void carry_out(Machine& machine, const Broadcast& broadcast) {
    if (broadcast.tag != members_replica_name) {
      machine.effects.emplace_back("broadcast");
      machine.broadcasts.push_back(broadcast.payload);
    }
    for (const auto& node : links_.reachable(machine.name)) {
      queue_.push_back({machine.name, node, broadcast.tag, broadcast.payload, true});
    }
  }
  static void carry_out(Machine& machine, const Persist& batch) {
    machine.effects.emplace_back("persist");
    if (machine.disk_works) {
      for (const auto& change : batch.changes) {
        EXPECT_EQ(change.collection, reminder_collection);
        const std::string key = to_text(change.key);
        machine.disk.erase(key);
        if (change.kind == StoreChange::Kind::put) machine.disk.emplace(key, std::pair(change.key, *change.entry));
      }
    } else {
      machine.reminders->store_failed(batch.changes);
    }
    if (batch.ticket != 0) machine.answers.emplace(batch.ticket, machine.disk_works ? "ok" : "io_error");
  }

  Prng random_;
  std::uint64_t seeds_ = 0;
  Ticket tickets_ = 0;
  MonotonicTime now_{1h};
  WallMilliseconds wall_ = 1'764'000'000'000;
  std::map<Atom, Machine> machines_;
  barrel_p2p::test::Links links_;
  std::deque<Item> queue_;
};

}  // namespace barrel_p2p::services::test
