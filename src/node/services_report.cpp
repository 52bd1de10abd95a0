// The part of the services' runner that tells operators what there is.
#include <algorithm>
#include <utility>

#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

ServiceStatistics ServicesRunner::service_figures() const {
  const auto& counters = machine_.registry().counters();
  ServiceStatistics all;
  all.registrations = counters.registrations;
  all.removals = counters.removals;
  all.rejected = counters.rejected;
  all.ghosts = counters.ghosts;
  all.held_back = queue_.held_back();
  return all;
}

ServicesRunner::Registrations ServicesRunner::registrations(std::size_t count) const {
  Registrations list;
  registry_.each([&](const Term& /*name*/, const Holders& all) {
    for (const auto& [place, one] : all) {
      if (list.size() < count) list.push_back(one.registration);
    }
  });
  return list;
}

admin::ClusterFigures ServicesRunner::figures() const {
  admin::ClusterFigures figures;
  figures.services = service_figures();
  figures.reminders = machine_.reminders().statistics();
  figures.service_names = registry_.size();
  const auto& leader = machine_.leader().counters();
  figures.elections = leader.elections;
  figures.renewals = leader.renewals;
  figures.revocations = leader.revocations;
  const auto& members = machine_.members();
  figures.beats_received = members.counters().beats_received;
  figures.beats_rejected = members.counters().rejected;
  figures.beats_in_future = members.counters().rejected_in_future;
  figures.lapses = members.lapses();
  const auto& owned = machine_.placement().owned_set();
  figures.partitions_owned = static_cast<std::size_t>(std::ranges::count(owned, true));
  figures.clock_ahead_ms = std::max<std::int64_t>(0, machine_.clock().last().wall - wall_now());
  figures.cluster_queue_bytes = queue_.bytes();
  return figures;
}

std::vector<admin::LeaderRow> ServicesRunner::leader_rows() const {
  std::vector<std::pair<Term, services::Contest::Winner>> winners;
  leaders_.each([&](const Term& name, const services::LeaderView& view) {
    if (view.winner && winners.size() < admin::rows_max) winners.emplace_back(name, *view.winner);
  });
  std::vector<admin::LeaderRow> rows;
  for (const auto& [name, winner] : winners) {
    admin::LeaderRow row;
    row.role = to_text(name);
    row.node = winner.node.string();
    row.pid = to_text(winner.pid);
    if (const auto fence = machine_.leader().high_water(name)) row.fence = fence->text();
    row.here = reign(name).has_value();
    row.candidates = machine_.leader().candidates(name).size();
    rows.push_back(std::move(row));
  }
  return rows;
}

void ServicesRunner::report(Answer<ClusterReport>::Function done) {
  auto answer = std::make_shared<Answer<ClusterReport>>(std::move(done));
  call(0, answer, [this, answer] {
    ClusterReport report;
    report.figures = figures();
    report.leaders = leader_rows();
    for (const auto& item : machine_.reminders().next(admin::reminders_shown_max)) {
      report.reminders.push_back({to_text(item.key), item.due, machine_.placement().is_owner(item.key)});
    }
    for (const auto& map : machine_.maps().names()) {
      const auto statistics = machine_.maps().statistics(map);
      if (!statistics || report.maps.size() == admin::rows_max) continue;
      report.maps.push_back({map.string(), statistics->entries, machine_.maps().is_persistent(map), *statistics});
    }
    const auto time = monotonic_now();
    for (const auto& node : members()) {
      if (const auto silence = machine_.members().silent_for(node, time)) report.silent.emplace(node, *silence);
    }
    answer->give(std::move(report));
  });
}

void ServicesRunner::unwritten(Answer<std::size_t>::Function done) {
  auto answer = std::make_shared<Answer<std::size_t>>(std::move(done));
  call(0, answer, [this, answer] {
    std::size_t count = machine_.reminders().statistics().unwritten;
    for (const auto& map : machine_.maps().names()) {
      if (const auto statistics = machine_.maps().statistics(map)) count += statistics->unwritten;
    }
    answer->give(count);
  });
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
