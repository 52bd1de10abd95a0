#include "sim/spread.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

struct Change {
  NodeIndex source = 0;
  SimTime made{};
  SimTime last{};
  std::set<NodeIndex> seen;
};

/// `number_of` tells which change an effect shows; `make` makes one.
template <class NumberOf, class Make>
SpreadFigures measure(Simulation& simulation, std::size_t count, SimTime interval, SimTime wait, Prng& random,
                      const NumberOf& number_of, const Make& make) {
  SpreadFigures figures;
  std::vector<Change> changes;
  ServiceNodes& services = *simulation.services();
  const auto before = std::exchange(services.on_effect, [&](NodeIndex node, const services::Effect& effect) {
    const std::optional<std::size_t> number = number_of(effect);
    if (!number || *number >= changes.size() || node == changes[*number].source) return;
    Change& change = changes[*number];
    if (!change.seen.insert(node).second) return;
    change.last = simulation.engine().now();
    figures.single.push_back(change.last - change.made);
  });
  const auto members = simulation.members();
  for (std::size_t number = 0; number < count; ++number) {
    const NodeIndex source = members[random.below(members.size())];
    changes.push_back({source, simulation.engine().now(), simulation.engine().now(), {}});
    const Result<void> made = make(source, number);
    if (!made) simulation.fail_at(source, "a call failed: " + made.error().message());
    simulation.run_for(interval);
  }
  simulation.run_for(wait);
  services.on_effect = before;
  for (const auto& change : changes) {
    if (change.seen.size() + 1 == members.size()) {
      figures.everywhere.push_back(change.last - change.made);
    } else {
      ++figures.missed;
    }
  }
  std::ranges::sort(figures.everywhere);
  std::ranges::sort(figures.single);
  return figures;
}

}  // namespace

SimTime SpreadFigures::quantile(const std::vector<SimTime>& times, double share) {
  if (times.empty()) return SimTime::zero();
  const auto place = static_cast<std::size_t>(std::ceil(share * static_cast<double>(times.size())));
  return times[std::min(times.size() - 1, place == 0 ? 0 : place - 1)];
}

SpreadFigures measure_puts(Simulation& simulation, std::size_t changes, SimTime interval, SimTime wait, Prng& random) {
  const Atom map("spread");
  ServiceNodes& services = *simulation.services();
  for (const NodeIndex node : simulation.members()) {
    const auto opened = services.open_map(node, map, {});
    if (!opened) simulation.fail_at(node, "cannot open a map: " + opened.error().message());
  }
  const auto number_of = [&](const services::Effect& effect) -> std::optional<std::size_t> {
    const auto* changed = std::get_if<services::MapChanged>(&effect);
    if (changed == nullptr || changed->map != map) return std::nullopt;
    return changed->key.as_uint64();
  };
  const auto make = [&](NodeIndex node, std::size_t number) {
    return services.put(node, map, Term(number), Term("value"), nullptr);
  };
  return measure(simulation, changes, interval, wait, random, number_of, make);
}

SpreadFigures measure_registrations(Simulation& simulation, std::size_t changes, SimTime interval, SimTime wait,
                                    Prng& random) {
  ServiceNodes& services = *simulation.services();
  const auto name_of = [](std::size_t number) { return ServiceName::binary(std::to_string(number)); };
  const auto number_of = [&](const services::Effect& effect) -> std::optional<std::size_t> {
    const auto* changed = std::get_if<services::ServiceChanged>(&effect);
    const auto name = changed != nullptr ? ServiceName::from(changed->name) : fail(Errc::invalid_argument);
    if (!name || !changed->name.is_binary()) return std::nullopt;
    return std::stoul(std::string(name->text()));
  };
  const auto make = [&](NodeIndex node, std::size_t number) {
    return services.register_service(node, name_of(number), services.spawn(node), Term::map({}), {}, nullptr);
  };
  return measure(simulation, changes, interval, wait, random, number_of, make);
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
