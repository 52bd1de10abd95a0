#include "sim/workload.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

constexpr Milliseconds brief_ttl{120'000};
constexpr std::size_t brief = 1;
constexpr double fault_share = 0.02;  ///< Of the operations.
constexpr SimTime disk_break_max = std::chrono::seconds(20);
constexpr std::size_t batch_max = 10;

std::vector<HistoryMap> maps_of_workload() {
  std::vector<HistoryMap> maps(4);
  maps[0] = {Atom("durable"), {}};
  maps[0].options.persist = true;
  maps[brief] = {Atom("brief"), {}};
  maps[brief].options.persist = true;
  maps[brief].options.tombstone_ttl = brief_ttl;
  maps[2] = {Atom("volatile"), {}};
  maps[3] = {Atom("pruned"), {}};
  maps[3].options.prune_on_node_down = true;
  return maps;
}

Atom service_name(std::size_t number) { return Atom("s" + std::to_string(number)); }

}  // namespace

Workload::Workload(Simulation& simulation, WorkloadConfig config, std::uint64_t seed)
    : simulation_(simulation),
      services_(*simulation.services()),
      config_(config),
      random_(seed),
      history_(simulation, maps_of_workload(), config.keys) {
  services_.on_start = [this](NodeIndex node) {
    for (const auto& map : history_.maps()) expect(node, services_.open_map(node, map.name, map.options));
  };
  services_.on_end = [this](NodeIndex node) {
    history_.hand_over(node);
    registered_.erase(node);
  };
  services_.on_disk_loss = [this](NodeIndex node) { history_.hand_over(node); };
}

bool Workload::is_ahead(NodeIndex node) const {
  return services_.has_wrong_clock(node) && services_.wall_error(node).count() > 0;
}

/// Only a node with a wrong clock may be refused anything.
void Workload::expect(NodeIndex node, const Result<void>& result) const {
  if (!result && !services_.has_wrong_clock(node))
    simulation_.fail_at(node, "a call failed: " + result.error().message());
}

// Operations.

void Workload::begin() { next(++run_); }

void Workload::next(std::uint64_t run) {
  const auto pause = std::chrono::duration_cast<SimTime>(std::chrono::duration<double>(2 / config_.operations));
  simulation_.engine().call_at(simulation_.engine().now() + uniform(random_, pause), [this, run] {
    if (run != run_) return;
    operate();
    next(run);
  });
}

void Workload::operate() {
  const auto node = static_cast<NodeIndex>(random_.below(simulation_.size()));
  if (random_.chance(fault_share)) return one_fault();
  if (!simulation_.is_running(node)) return;
  const std::size_t map = random_.below(history_.maps().size());
  switch (random_.below(10)) {
    case 0:
    case 1:
    case 2: return put(node, map);
    case 3: return put_many(node, map);
    case 4:
    case 5: return remove(node, map);
    case 6:
    case 7: return register_one(node);
    case 8: return unregister_one(node);
    default: return end_process(node);
  }
}

void Workload::one_fault() {
  const auto node = static_cast<NodeIndex>(random_.below(simulation_.size()));
  if (random_.chance(0.5)) {
    services_.break_disk(node, simulation_.engine().now() + uniform(random_, disk_break_max));
  } else if (!services_.has_wrong_clock(node) && config_.clock_jump_max.count() > 0) {
    const auto error = uniform(random_, 2 * SimTime(config_.clock_jump_max)) - config_.clock_jump_max;
    services_.shift_clock(node, std::chrono::duration_cast<Milliseconds>(error) - services_.wall_error(node));
  }
}

/// What a clock that is far ahead writes reaches nobody; one that is far behind gives values to removals that others
/// forgot.
void Workload::note(NodeIndex node, std::size_t map, std::size_t key, std::optional<std::uint64_t> value,
                    std::shared_ptr<const Answer> answer) {
  if (!is_ahead(node)) history_.wrote(node, map, key, value, std::move(answer));
}

namespace {

Answered fill(const std::shared_ptr<Answer>& answer) {
  return [answer](const Result<void>& result) {
    answer->came = true;
    answer->good = result.has_value();
  };
}

}  // namespace

void Workload::put(NodeIndex node, std::size_t map) {
  if (map == brief && services_.has_wrong_clock(node)) return;
  const std::size_t key = random_.below(config_.keys);
  const std::uint64_t value = ++last_value_;
  const auto answer = std::make_shared<Answer>();
  const auto result = services_.put(node, history_.maps()[map].name, Term(key), Term(value), fill(answer));
  expect(node, result);
  if (result) note(node, map, key, value, answer);
}

void Workload::put_many(NodeIndex node, std::size_t map) {
  if (map == brief && services_.has_wrong_clock(node)) return;
  std::map<std::size_t, std::uint64_t> values;
  for (std::size_t count = 1 + random_.below(batch_max); count > 0; --count) {
    const std::uint64_t value = ++last_value_;
    values[random_.below(config_.keys)] = value;
  }
  std::vector<TermPair> pairs;
  pairs.reserve(values.size());
  for (const auto& [key, value] : values) pairs.emplace_back(Term(key), Term(value));
  const auto answer = std::make_shared<Answer>();
  const auto result = services_.put_many(node, history_.maps()[map].name, pairs, fill(answer));
  expect(node, result);
  if (!result) return;
  for (const auto& [key, value] : values) note(node, map, key, value, answer);
}

void Workload::remove(NodeIndex node, std::size_t map) {
  if (map == brief && services_.has_wrong_clock(node)) return;
  const std::size_t key = random_.below(config_.keys);
  const auto answer = std::make_shared<Answer>();
  const auto result = services_.remove(node, history_.maps()[map].name, Term(key), fill(answer));
  expect(node, result);
  if (result) note(node, map, key, std::nullopt, answer);
}

void Workload::register_one(NodeIndex node) {
  const std::size_t number = random_.below(config_.names);
  Registered& registered = registered_[node];
  const bool known = registered.contains(number);
  // Now and then a process has several names.
  const bool shared = !registered.empty() && random_.chance(0.3);
  const Pid pid = shared ? registered.begin()->second : services_.spawn(node);
  RegisterOptions options;
  options.wait_for_neighbours = random_.chance(0.3);
  const Term meta = Term::map({{Atom("n"), registrations_}});
  const auto added = services_.register_service(node, service_name(number), pid, meta, options, nullptr);
  if (known && added) simulation_.fail_at(node, "registers a name twice");
  if (!known) expect(node, added);
  if (!added) return;
  registered.emplace(number, pid);
  ++registrations_;
}

void Workload::unregister_one(NodeIndex node) {
  Registered& registered = registered_[node];
  if (registered.empty()) return;
  const auto chosen = std::next(registered.begin(), static_cast<std::ptrdiff_t>(random_.below(registered.size())));
  if (!services_.unregister_service(node, service_name(chosen->first)))
    simulation_.fail_at(node, "has forgotten its service " + service_name(chosen->first).string());
  registered.erase(chosen);
}

void Workload::end_process(NodeIndex node) {
  Registered& registered = registered_[node];
  if (registered.empty()) return;
  const Pid pid = std::next(registered.begin(), static_cast<std::ptrdiff_t>(random_.below(registered.size())))->second;
  std::erase_if(registered, [&](const auto& one) { return one.second == pid; });
  services_.kill(node, pid, Atom("killed"));
}

// What must be true.

void Workload::check() {
  const auto members = simulation_.members();
  std::vector<NodeIndex> right;
  for (const NodeIndex node : members) {
    if (services_.unanswered(node) > 0)
      simulation_.fail_at(node, std::to_string(services_.unanswered(node)) + " calls are not answered");
    const auto audit = services_.machine(node).registry().verify();
    if (!audit.problems.empty()) simulation_.fail_at(node, "its registry: " + audit.problems.front());
    if (services_.has_wrong_clock(node)) continue;
    right.push_back(node);
    check_lives(node, members);
    check_services(node, members);
  }
  history_.check(right);
}

void Workload::check_lives(NodeIndex node, const std::vector<NodeIndex>& members) const {
  const auto& known = services_.machine(node).members();
  for (NodeIndex other = 0; other < simulation_.size(); ++other) {
    const bool is_member = std::ranges::binary_search(members, other);
    if (known.is_alive(simulation_.name_of(other)) == is_member) continue;
    simulation_.fail_at(node, "it holds " + simulation_.name_of(other).string() + " for " +
                                  (is_member ? "dead" : "alive, and it is no member"));
  }
}

void Workload::check_services(NodeIndex node, const std::vector<NodeIndex>& members) const {
  const auto& registry = services_.machine(node).registry();
  std::size_t found_names = 0;
  for (std::size_t number = 0; number < config_.names; ++number) {
    std::map<Atom, Pid> expected;
    for (const NodeIndex member : members) {
      const auto owner = registered_.find(member);
      if (owner == registered_.end() || is_ahead(member)) continue;
      const auto one = owner->second.find(number);
      if (one != owner->second.end()) expected.emplace(simulation_.name_of(member), one->second);
    }
    std::map<Atom, Pid> found;
    for (const auto& one : registry.lookup(Term(service_name(number)))) found.emplace(one.node, one.pid);
    found_names += found.empty() ? 0 : 1;
    for (const auto& [owner, pid] : expected) {
      const auto place = found.find(owner);
      if (place == found.end() || !(place->second == pid))
        simulation_.fail_at(node, "it does not find " + service_name(number).string() + " of " + owner.string());
    }
    for (const auto& [owner, pid] : found) {
      if (!expected.contains(owner))
        simulation_.fail_at(node, "it finds " + service_name(number).string() + " of " + owner.string() +
                                      ", which has no such service");
    }
  }
  if (registry.names().size() != found_names) simulation_.fail_at(node, "it finds names that nobody registered");
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
