// Nodes with members and maps, driven by hand: virtual time, channels that lose and repeat messages, disks that fail.
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
#include "services/maps.hpp"
#include "services/members.hpp"
#include "services/names.hpp"

namespace barrel_p2p::services::test {

using namespace std::chrono_literals;
using replication::Entry;

class MapsWorld {
 public:
  /// An Erlang node differs in what others send to it.
  enum class Kind : std::uint8_t { cpp, erlang };

  struct Machine {
    Atom name;
    Kind kind = Kind::cpp;
    bool up = true;
    std::unique_ptr<replication::HybridClock> clock{};
    std::unique_ptr<Members> members{};
    std::unique_ptr<Maps> maps{};
    std::map<Atom, MapOptions> options{};  ///< Of the maps that were opened.
    std::map<std::string, std::map<std::string, std::pair<Term, Entry>>>
        disk{};                  ///< By collection and text of the key.
    Term known = Term::map({});  ///< On its disk: of other members.
    std::deque<Persist> unwritten{};
    bool disk_works = true;
    bool disk_waits = false;                                       ///< `write` must be called.
    std::map<Atom, std::map<std::string, std::string>> readers{};  ///< What readers see, by map and key.
    std::vector<std::string> events{};
    std::map<Ticket, std::string> answers{};  ///< `ok` or the name of an error.
    std::vector<std::string> effects{};       ///< Their kinds, in order, without those of members.
    std::vector<Term> broadcasts{};           ///< Payloads of maps.
    std::vector<std::pair<Atom, Term>> sends{};
    std::size_t batches = 0;
  };

  MapsConfig maps_config;
  MembersConfig members_config;
  bool broadcasts_arrive = true;
  std::set<std::pair<Atom, Atom>> muted;  ///< Neighbours, the smaller name first, that hear nothing directly.
  double loss = 0;                        ///< Probability of each message and each arrival of a broadcast.
  double repetition = 0;                  ///< Likewise.
  bool in_order = true;
  Milliseconds between_calls{1};  ///< Of the program. Changes at the same time go out together.

  explicit MapsWorld(std::uint64_t seed = 1) : random_(seed) {}

  Atom add(const std::string& name, Kind kind = Kind::cpp) {
    Machine machine{.name = Atom(name), .kind = kind};
    make(machine);
    machines_.emplace(Atom(name), std::move(machine));
    return Atom(name);
  }
  Machine& at(const Atom& node) { return machines_.at(node); }
  [[nodiscard]] Now now() const { return {now_, wall_}; }
  /// Somebody sets the clocks of all nodes.
  void set_clocks(Milliseconds ahead) { wall_ += ahead.count(); }

  void link(const Atom& one, const Atom& other) {
    links_.add(one, other);
    join(one, other);
    join(other, one);
    settle();
  }
  void unlink(const Atom& one, const Atom& other) {
    if (!links_.remove(one, other)) return;
    if (at(one).up) down(one, other);
    if (at(other).up) down(other, one);
  }
  /// The overlay of the one says that broadcasts to or from the other were lost.
  void lose_gossip(const Atom& one, const Atom& other) { at(one).maps->gossip_lost(other, now()); }
  /// The process ends; the disk stays. What waits for the disk is lost.
  void stop(const Atom& node) {
    for (const auto& other : links_.of(node)) unlink(node, other);
    Machine& machine = at(node);
    machine.up = false;
    machine.unwritten.clear();
    machine.readers.clear();
    std::erase_if(queue_, [&](const Item& item) { return item.to == node; });
  }
  /// It comes back, and opens its maps.
  void restart(const Atom& node) {
    Machine& machine = at(node);
    machine.up = true;
    make(machine, machine.clock->last().wall + 1);  // as the mark on its disk has it
    for (const auto& [map, options] : machine.options) open(node, map, options);
  }

  Result<void> open(const Atom& node, const Atom& map, const MapOptions& options = {}) {
    Machine& machine = at(node);
    machine.options[map] = options;
    Maps::Stored stored;
    for (const auto& [text, record] : machine.disk[map_collection(map)]) stored.push_back(record);
    Effects effects;
    auto result = machine.maps->open(map, options, std::move(stored), now(), effects);
    carry_out(machine, effects);
    settle();
    return result;
  }
  /// Calls `use(maps, ticket, effects)`; returns `ok` or the name of the error, or `waits`.
  template <class Use>
  std::string call(const Atom& node, const Use& use) {
    Machine& machine = at(node);
    const Ticket ticket = ++tickets_;
    Effects effects;
    now_ += between_calls;
    const Result<void> result = use(*machine.maps, ticket, effects);
    carry_out(machine, effects);
    settle();
    if (!result) {
      EXPECT_FALSE(machine.answers.contains(ticket)) << "an error was returned and another answer given";
      return std::string(name(result.error().code()));
    }
    const auto answer = machine.answers.find(ticket);
    return answer == machine.answers.end() ? "waits" : answer->second;
  }
  std::string put(const Atom& node, const Atom& map, const Term& key, const Term& value) {
    return call(node,
                [&](Maps& maps, Ticket ticket, Effects& out) { return maps.put(map, key, value, ticket, now(), out); });
  }
  std::string put_many(const Atom& node, const Atom& map, const std::vector<TermPair>& pairs) {
    return call(node,
                [&](Maps& maps, Ticket ticket, Effects& out) { return maps.put_many(map, pairs, ticket, now(), out); });
  }
  std::string remove(const Atom& node, const Atom& map, const Term& key) {
    return call(node,
                [&](Maps& maps, Ticket ticket, Effects& out) { return maps.remove(map, key, ticket, now(), out); });
  }
  std::string remove_map(const Atom& node, const Atom& map) {
    at(node).options.erase(map);
    at(node).readers.erase(map);
    return call(node,
                [&](Maps& maps, Ticket ticket, Effects& out) { return maps.remove_map(map, ticket, now(), out); });
  }
  void deliver(const Atom& node, const Atom& map, const Term& payload) {
    Effects effects;
    at(node).maps->deliver(replica(map), payload, now(), effects);
    carry_out(at(node), effects);
    settle();
  }
  void receive(const Atom& node, const Atom& from, const Atom& map, const Term& message) {
    Effects effects;
    at(node).maps->receive(replica(map), from, message, now(), effects);
    carry_out(at(node), effects);
    settle();
  }
  static Atom replica(const Atom& map) { return Atom(std::string(map_replica_prefix) + map.string()); }

  /// The first `count` batches that wait for the disk are written.
  void write(const Atom& node, std::size_t count = 1'000'000) {
    Machine& machine = at(node);
    for (; count > 0 && !machine.unwritten.empty(); --count) {
      const Persist batch = std::move(machine.unwritten.front());
      machine.unwritten.pop_front();
      write(machine, batch);
    }
  }

  void pass(Milliseconds time) {
    const auto end = now_ + time;
    for (int steps = 0; steps < 10'000'000; ++steps) {
      MonotonicTime next = MonotonicTime::max();
      for (const auto& [name, machine] : machines_) {
        if (machine.up) next = std::min({next, machine.members->deadline(), machine.maps->deadline()});
      }
      if (next > end) break;
      advance(std::max(next, now_));
      for (auto& [name, machine] : machines_) {
        if (machine.up) tick(machine);
      }
      settle();
    }
    advance(end);
  }
  /// Messages in flight arrive.
  void settle() {
    for (int steps = 0; steps < 1'000'000 && !queue_.empty(); ++steps) {
      const std::size_t index = in_order ? 0 : random_.below(queue_.size());
      const Item item = std::move(queue_[index]);
      queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(index));
      Machine& machine = at(item.to);
      if (random_.chance(loss) || !machine.up) continue;
      arrive(machine, item);
      if (random_.chance(repetition)) arrive(machine, item);
    }
    ASSERT_TRUE(queue_.empty()) << "the nodes never stop to talk";
  }

  /// Live entries as text.
  std::map<std::string, std::string> live(const Atom& node, const Atom& map) {
    std::map<std::string, std::string> values;
    const auto* entries = at(node).maps->find(map);
    if (entries == nullptr) return values;
    for (const auto& [key, entry] : entries->entries()) {
      if (entry.is_live()) values.emplace(to_text(key), to_text(entry.value()));
    }
    return values;
  }
  std::optional<std::string> get(const Atom& node, const Atom& map, const Term& key) {
    const auto values = live(node, map);
    const auto found = values.find(to_text(key));
    return found == values.end() ? std::nullopt : std::optional(found->second);
  }
  MapStatistics statistics(const Atom& node, const Atom& map) { return *at(node).maps->statistics(map); }

 private:
  struct Item {
    Atom from;
    Atom to;
    Atom name;
    Term message;
    bool broadcast = false;
  };

  void make(Machine& machine, WallMilliseconds mark = 0) {
    machine.clock = std::make_unique<replication::HybridClock>(replication::HybridClockConfig{.start = mark});
    members_config.known = machine.known;
    members_config.own = maps_config.own = machine.name;
    members_config.seed = maps_config.seed = ++seeds_;
    machine.members = std::make_unique<Members>(members_config, *machine.clock, now());
    machine.maps = std::make_unique<Maps>(maps_config, *machine.clock, *machine.members, now());
  }

  void join(const Atom& node, const Atom& to) {
    Machine& machine = at(node);
    Effects effects;
    machine.members->neighbour_up(to, now(), effects);
    machine.maps->neighbour_up(to, now(), effects);
    if (machine.kind == Kind::cpp && at(to).kind == Kind::cpp) {
      machine.members->set_native(to);
      machine.maps->set_native(to);
    }
    carry_out(machine, effects);
  }
  void down(const Atom& node, const Atom& gone) {
    at(node).members->neighbour_down(gone);
    at(node).maps->neighbour_down(gone);
  }

  void advance(MonotonicTime to) {
    wall_ += std::chrono::duration_cast<Milliseconds>(to - now_).count();
    now_ = to;
  }

  void tick(Machine& machine) {
    Effects effects;
    machine.members->tick(now(), effects);
    spread(machine, effects);
    machine.maps->tick(now(), effects);
    carry_out(machine, effects);
  }
  void spread(Machine& machine, Effects& effects) {
    for (const auto& change : machine.members->take_changes()) machine.maps->liveness(change, now(), effects);
    if (auto known = machine.members->take_known()) machine.known = std::move(*known);
  }

  void arrive(Machine& machine, const Item& item) {
    // What arrives has been bytes.
    const Term message = decode_term(encode_term(item.message))->term;
    Effects effects;
    if (item.name == members_replica_name) {
      if (item.broadcast) {
        machine.members->deliver(message, now(), effects);
      } else {
        machine.members->receive(item.from, message, now(), effects);
      }
      spread(machine, effects);
    } else if (item.broadcast) {
      machine.maps->deliver(item.name, message, now(), effects);
    } else {
      machine.maps->receive(item.name, item.from, message, now(), effects);
    }
    carry_out(machine, effects);
  }

  void carry_out(Machine& machine, Effects& effects) {
    for (auto& effect : effects) {
      std::visit([&](auto& content) { carry_out(machine, content); }, effect);
    }
  }
  void carry_out(Machine& machine, Send& send) {
    if (!links_.contains(machine.name, send.to) || muted.contains(std::minmax(machine.name, send.to))) return;
    if (send.name != members_replica_name) {
      machine.effects.emplace_back("send");
      machine.sends.emplace_back(send.to, send.message);
    }
    queue_.push_back({machine.name, send.to, send.name, send.message});
  }
  void carry_out(Machine& machine, Broadcast& broadcast) {
    const bool of_members = broadcast.tag == members_replica_name;
    if (!of_members) {
      machine.effects.emplace_back("broadcast");
      machine.broadcasts.push_back(broadcast.payload);
      if (!broadcasts_arrive) return;
    }
    for (const auto& node : links_.reachable(machine.name)) {
      queue_.push_back({machine.name, node, broadcast.tag, broadcast.payload, true});
    }
  }
  void carry_out(Machine& machine, Persist& batch) {
    machine.effects.emplace_back("persist");
    machine.unwritten.push_back(std::move(batch));
    if (!machine.disk_waits) write(machine.name);
  }
  static void write(Machine& machine, const Persist& batch) {
    if (machine.disk_works) {
      ++machine.batches;
      for (const auto& change : batch.changes) apply(machine, change);
    } else {
      machine.maps->store_failed(batch.changes);
    }
    if (batch.ticket != 0) machine.answers.emplace(batch.ticket, machine.disk_works ? "ok" : "io_error");
  }
  static void apply(Machine& machine, const StoreChange& change) {
    auto& collection = machine.disk[change.collection];
    switch (change.kind) {
      case StoreChange::Kind::put:
        collection.insert_or_assign(to_text(change.key), std::pair(change.key, *change.entry));
        break;
      case StoreChange::Kind::erase: collection.erase(to_text(change.key)); break;
      case StoreChange::Kind::drop: machine.disk.erase(change.collection); break;
      case StoreChange::Kind::set: break;
    }
  }
  static void carry_out(Machine& machine, Completed& completed) {
    machine.effects.emplace_back("completed");
    machine.answers.emplace(completed.ticket,
                            completed.result ? "ok" : std::string(name(completed.result.error().code())));
  }
  static void carry_out(Machine& machine, MapOpened& opened) {
    machine.effects.emplace_back("opened");
    auto& reader = machine.readers[opened.map];
    for (const auto& [key, entry] : machine.maps->find(opened.map)->entries()) {
      if (entry.is_live()) reader.insert_or_assign(to_text(key), to_text(entry.value()));
    }
  }
  static void carry_out(Machine& machine, MapChanged& change) {
    machine.effects.emplace_back("changed");
    auto& reader = machine.readers[change.map];
    if (change.value) {
      reader.insert_or_assign(to_text(change.key), to_text(*change.value));
    } else {
      reader.erase(to_text(change.key));
    }
  }
  static void carry_out(Machine& machine, MapHappened& happened) {
    machine.effects.emplace_back("happened");
    const auto& event = happened.event;
    const auto& reader = machine.readers[event.map];
    const auto seen = reader.find(to_text(event.key));
    if (event.kind == MapEvent::Kind::put) {
      EXPECT_TRUE(seen != reader.end() && seen->second == to_text(event.value)) << "a subscriber reads something else";
      machine.events.push_back("put " + to_text(event.key) + " " + to_text(event.value));
    } else {
      EXPECT_TRUE(seen == reader.end()) << "a subscriber reads what was removed";
      machine.events.push_back("remove " + to_text(event.key));
    }
  }
  static void carry_out(Machine& /*machine*/, MembersChanged& /*changed*/) {}
  template <class Other>
  static void carry_out(Machine& /*machine*/, Other& /*other*/) {
    FAIL() << "an effect that maps do not have";
  }

  Prng random_;
  std::uint64_t seeds_ = 0;
  Ticket tickets_ = 0;
  MonotonicTime now_{1h};
  WallMilliseconds wall_ = start_wall;
  std::map<Atom, Machine> machines_;
  barrel_p2p::test::Links links_;
  std::deque<Item> queue_;
};

/// The map of most tests.
inline const Atom flags("flags");

inline MapOptions persistent() {
  MapOptions options;
  options.persist = true;
  return options;
}

/// Two C++ nodes that have the map open and are neighbours.
struct Pair : MapsWorld {
  explicit Pair(const MapOptions& options = {}) {
    a = add("a@h");
    b = add("b@h");
    link(a, b);
    (void)open(a, flags, options);
    (void)open(b, flags, options);
    pass(1s);
    for (const auto& node : {a, b}) at(node).effects.clear();
  }
  Atom a;
  Atom b;
};

inline Term message(const char* tag, const Atom& from, Term content) {
  return Term::tuple({Atom("$barrel_p2p_replica"), Term::tuple({Atom(tag), from, std::move(content)})});
}
inline Term value_entry(const Term& key, const Term& value, WallMilliseconds wall, const Atom& node) {
  return Term::map({{key, replication::to_term(replication::Entry::value(value, {{wall, 0}, node}))}});
}

}  // namespace barrel_p2p::services::test
