// Random histories on several nodes: whatever is lost, repeated and reordered, all become equal, nothing that was
// removed returns, and what was acknowledged survives.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "services/maps_support.hpp"

namespace barrel_p2p::services {
namespace {

using test::MapsWorld;
using namespace std::chrono_literals;

const Atom ledger("ledger");

struct WrittenMaps {
  MapsWorld world;
  std::vector<Atom> nodes;
  /// What a node that hears of every write at once would hold.
  replication::OrMap all;

  explicit WrittenMaps(std::size_t count) : world(*rc::gen::arbitrary<std::uint64_t>()) {
    world.maps_config.scan_period = 10s;  // less to compute
    world.members_config.heartbeat = 20s;
    world.members_config.ttl = 1min;
    for (std::size_t index = 0; index < count; ++index) {
      const auto kind = index + 1 == count ? MapsWorld::Kind::erlang : MapsWorld::Kind::cpp;
      nodes.push_back(world.add(std::string(1, static_cast<char>('a' + index)) + "@h", kind));
    }
    for (std::size_t index = 1; index < count; ++index) world.link(nodes[index - 1], nodes[index]);
    MapOptions options;
    options.persist = true;
    options.tombstone_ttl = 20min;
    for (const auto& node : nodes) RC_ASSERT(world.open(node, ledger, options).has_value());
    world.pass(1min);  // all have heard of all
  }

  const Atom& any_node() { return nodes[*rc::gen::inRange<std::size_t>(0, nodes.size())]; }

  void note(const Atom& node, const Term& key) {
    const auto* entry = world.at(node).maps->find(ledger)->find(key);
    RC_ASSERT(entry != nullptr);
    all.merge(key, *entry);
  }

  void write_something(int value) {
    const Atom& node = any_node();
    const Term key = *rc::gen::inRange(0, 12);
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        RC_ASSERT(world.remove(node, ledger, key) != "limit_exceeded");
        note(node, key);
        break;
      case 1: {
        const Term other = key.as_int64().value_or(0) + 100;
        RC_ASSERT(world.put_many(node, ledger, {{key, value}, {other, value}}) != "limit_exceeded");
        note(node, key);
        note(node, other);
        break;
      }
      default: RC_ASSERT(world.put(node, ledger, key, value) != "limit_exceeded"); note(node, key);
    }
  }

  [[nodiscard]] std::map<std::string, std::string> expected() const {
    std::map<std::string, std::string> values;
    for (const auto& [key, entry] : all.entries()) {
      if (entry.is_live()) values.emplace(to_text(key), to_text(entry.value()));
    }
    return values;
  }

  void expect_equal_everywhere() {
    for (const auto& node : nodes) {
      RC_ASSERT(world.live(node, ledger) == expected());
      RC_ASSERT(world.at(node).readers[ledger] == expected());
    }
  }
};

}  // namespace

RC_GTEST_PROP(MapsHistory, all_nodes_end_with_the_last_write_of_each_key_whatever_the_network_does, ()) {
  WrittenMaps history(*rc::gen::inRange<std::size_t>(3, 6));
  auto& world = history.world;
  world.loss = *rc::gen::element(0.0, 0.2, 0.7);
  world.repetition = *rc::gen::element(0.0, 0.3);
  world.in_order = *rc::gen::arbitrary<bool>();
  world.between_calls = *rc::gen::element(0ms, 1ms);
  const int writes = *rc::gen::inRange(1, 60);
  for (int value = 0; value < writes; ++value) {
    history.write_something(value);
    if (*rc::gen::inRange(0, 4) == 0) world.pass(Milliseconds(*rc::gen::inRange(0, 5000)));
  }
  world.loss = 0;
  world.pass(15min);  // some rounds for each hop
  history.expect_equal_everywhere();
  for (const auto& node : history.nodes) {
    std::map<std::string, std::string> stored;
    for (const auto& [key, record] : world.at(node).disk["map/ledger"]) {
      if (record.second.is_live()) stored.emplace(key, to_text(record.second.value()));
    }
    RC_ASSERT(stored == history.expected());
  }
}

RC_GTEST_PROP(MapsHistory, partitions_heal_and_removed_keys_stay_removed, ()) {
  WrittenMaps history(4);
  auto& world = history.world;
  world.between_calls = *rc::gen::element(0ms, 1ms);
  for (int round = 0; round < 3; ++round) {
    const auto cut = *rc::gen::inRange<std::size_t>(1, history.nodes.size());
    world.unlink(history.nodes[cut - 1], history.nodes[cut]);
    const int writes = *rc::gen::inRange(0, 20);
    for (int value = 0; value < writes; ++value) history.write_something(round * 100 + value);
    // Removals that the other side hears of only after they are no part of the digests any more.
    world.pass(*rc::gen::element<Milliseconds>(1s, 5min, 1h));
    world.link(history.nodes[cut - 1], history.nodes[cut]);
    world.pass(15min);
    history.expect_equal_everywhere();
  }
}

RC_GTEST_PROP(MapsHistory, what_was_acknowledged_survives_a_crash_at_any_moment, ()) {
  MapsWorld world(*rc::gen::arbitrary<std::uint64_t>());
  const Atom node = world.add("a@h");
  MapOptions options;
  options.persist = true;
  RC_ASSERT(world.open(node, ledger, options).has_value());
  auto& machine = world.at(node);
  std::map<std::string, std::string> acknowledged;     // key to value
  std::map<std::string, std::set<std::string>> later;  // what was written since, unacknowledged
  std::map<Ticket, std::pair<std::string, std::string>> calls;
  Ticket ticket = 0;
  const auto read_answers = [&] {
    for (auto call = calls.begin(); call != calls.end();) {
      const auto answer = machine.answers.find(call->first);
      if (answer == machine.answers.end()) break;
      if (answer->second == "ok") {
        acknowledged[call->second.first] = call->second.second;
        later[call->second.first].clear();
      } else {
        later[call->second.first].insert(call->second.second);
      }
      call = calls.erase(call);
    }
  };
  const int steps = *rc::gen::inRange(1, 50);
  for (int step = 0; step < steps; ++step) {
    machine.disk_waits = *rc::gen::inRange(0, 3) != 0;
    machine.disk_works = *rc::gen::inRange(0, 4) != 0;
    const Term key = *rc::gen::inRange(0, 5);
    const bool removes = *rc::gen::inRange(0, 4) == 0;
    ++ticket;  // as the world counts them
    calls[ticket] = {to_text(key), removes ? "" : std::to_string(step)};
    (void)(removes ? world.remove(node, ledger, key) : world.put(node, ledger, key, step));
    world.write(node, *rc::gen::inRange<std::size_t>(0, 3));
    if (*rc::gen::inRange(0, 5) == 0) world.pass(2s);
    read_answers();
  }
  for (const auto& [number, call] : calls) later[call.first].insert(call.second);
  machine.disk_works = true;
  world.write(node, *rc::gen::inRange<std::size_t>(0, 5));
  world.stop(node);
  world.restart(node);
  const auto values = world.live(node, ledger);
  for (const auto& [key, value] : acknowledged) {
    const auto found = values.find(key);
    const std::string now = found == values.end() ? "" : found->second;
    RC_ASSERT(now == value || later[key].contains(now));
  }
}

}  // namespace barrel_p2p::services
