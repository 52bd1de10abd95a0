#include "sim/runner.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>

#include "sim/campaigns.hpp"
#include "sim/churn.hpp"
#include "sim/faults.hpp"
#include "sim/invariants.hpp"
#include "sim/measures.hpp"
#include "sim/placement_watch.hpp"
#include "sim/reminders.hpp"
#include "sim/spread.hpp"
#include "sim/workload.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

std::string percent(double share) { return number_text(100 * share); }
std::string seconds_text(SimTime time) { return number_text(std::chrono::duration<double>(time).count()); }

std::vector<std::pair<double, double>> histogram(const std::vector<std::size_t>& counts) {
  std::vector<std::pair<double, double>> points;
  points.reserve(counts.size());
  for (std::size_t value = 0; value < counts.size(); ++value)
    points.emplace_back(static_cast<double>(value), static_cast<double>(counts[value]));
  return points;
}

/// The rows of all values of the sweep, gathered.
class Results {
 public:
  explicit Results(const Scenario& scenario) : swept_(!scenario.sweep.empty()) {
    graphs_.title = "graph of the active views";
    graphs_.columns = {"label",  "second",      "members",    "components", "isolated",    "symmetric %",
                       "full %", "mean degree", "clustering", "mean path",  "longest path"};
    broadcasts_.title = "broadcasts";
    broadcasts_.columns = {"label",          "cycle",   "members",    "messages",     "reliability %",
                           "worst %",        "missed",  "last hop",   "last hop max", "redundancy",
                           "ihave per node", "seconds", "seconds max"};
    if (!swept_) return;
    graphs_.columns.insert(graphs_.columns.begin() + 1, "fraction");
    broadcasts_.columns.insert(broadcasts_.columns.begin() + 1, "fraction");
  }

  void begin(double value) { value_ = value; }

  void add(const std::string& label, SimTime when, const GraphFigures& figures) {
    add_row(graphs_,
            {label, seconds_text(when), std::to_string(figures.members), std::to_string(figures.components),
             std::to_string(figures.isolated), number_text(figures.symmetric_percent),
             number_text(figures.full_percent), number_text(figures.degree_mean), number_text(figures.clustering),
             number_text(figures.path_mean), std::to_string(figures.path_max)});
    if (swept_) return;
    charts_.push_back(
        {"In-degrees: " + label, "members that list a member", "members", {{"", histogram(figures.in_degrees)}}, true});
  }

  void add(const std::string& label, std::size_t cycle, std::size_t members, const BroadcastFigures& figures) {
    add_row(broadcasts_,
            {label, std::to_string(cycle), std::to_string(members), std::to_string(figures.messages),
             percent(figures.reliability_mean), percent(figures.reliability_min), std::to_string(figures.missed),
             number_text(figures.last_hop_mean), std::to_string(figures.last_hop_max), number_text(figures.redundancy),
             number_text(figures.announcements), number_text(figures.seconds_mean), number_text(figures.seconds_max)});
    const double reliability = 100 * figures.reliability_mean;
    point(recovery_, swept_ ? label + " " + percent(value_) + " %" : label, static_cast<double>(cycle), reliability);
    if (swept_) {
      if (cycle == 0) point(sweep_, label, 100 * value_, reliability);
    } else if (cycle == 0) {
      charts_.push_back({"Hops: " + label, "hops", "deliveries", {{"", histogram(figures.hops)}}, true});
    }
  }

  void add_workload(const Workload& workload, const ServiceNodes& services) {
    workloads_.title = "services and maps";
    workloads_.columns = {"writes", "durable", "registrations", "disk writes", "that failed"};
    workloads_.rows.push_back({std::to_string(workload.history().writes()),
                               std::to_string(workload.history().durable()), std::to_string(workload.registrations()),
                               std::to_string(services.disk_writes()), std::to_string(services.disk_failures())});
  }

  void add_campaigns(const Campaigns& campaigns) {
    campaigns_.title = "leaders";
    campaigns_.columns = {"terms", "renewed fences"};
    campaigns_.rows.push_back({std::to_string(campaigns.terms()), std::to_string(campaigns.renewals())});
  }

  void add_placement(const PlacementFigures& figures) {
    placements_.title = "owners of partitions: longest times in seconds, so far";
    placements_.columns = {"looks", "moves", "not with its owner", "with two owners", "with none anywhere"};
    placements_.rows.push_back({std::to_string(figures.looks), std::to_string(figures.moves),
                                seconds_text(figures.unowned), seconds_text(figures.shared),
                                seconds_text(figures.gap)});
  }

  void add_spread(const std::string& label, const SpreadFigures& figures) {
    const auto milliseconds = [](const std::vector<SimTime>& times, double share) {
      const auto time = SpreadFigures::quantile(times, share);
      return number_text(std::chrono::duration<double, std::milli>(time).count());
    };
    spreads_.title = "milliseconds until a change is seen";
    spreads_.columns = {"label", "changes", "missed", "everywhere p50", "p99", "max", "by one p50", "p99"};
    add_row(spreads_, {label, std::to_string(figures.everywhere.size() + figures.missed),
                       std::to_string(figures.missed), milliseconds(figures.everywhere, 0.5),
                       milliseconds(figures.everywhere, 0.99), milliseconds(figures.everywhere, 1),
                       milliseconds(figures.single, 0.5), milliseconds(figures.single, 0.99)});
  }

  void add_reminders(const ReminderFigures& figures) {
    reminders_.title = "reminders";
    reminders_.columns = {"set", "told", "told again", "crashes while firing", "calm: late p99 ms", "late max ms"};
    const auto late = [&](double share) {
      return number_text(std::chrono::duration<double, std::milli>(figures.late(share)).count());
    };
    reminders_.rows.push_back({std::to_string(figures.set), std::to_string(figures.told),
                               std::to_string(figures.told_again), std::to_string(figures.crashes), late(0.99),
                               late(1)});
  }

  void add_churn(const std::vector<SizeSample>& samples) {
    sizes_.title = "most that a member holds while nodes come and go";
    sizes_.columns = {"second", "names so far", "registry", "map", "disk", "nodes"};
    Chart chart{.title = sizes_.title, .x_label = "seconds", .y_label = "entries", .series = {}};
    for (const char* name : {"registry", "map", "nodes"}) chart.series.push_back({name, {}});
    for (const auto& one : samples) {
      add_row(sizes_, {seconds_text(one.when), std::to_string(one.names_so_far), std::to_string(one.registry_entries),
                       std::to_string(one.map_entries), std::to_string(one.disk_entries),
                       std::to_string(one.nodes_remembered)});
      const double second = std::chrono::duration<double>(one.when).count();
      chart.series[0].points.emplace_back(second, static_cast<double>(one.registry_entries));
      chart.series[1].points.emplace_back(second, static_cast<double>(one.map_entries));
      chart.series[2].points.emplace_back(second, static_cast<double>(one.nodes_remembered));
    }
    charts_.push_back(std::move(chart));
  }

  [[nodiscard]] Report take() {
    Report report;
    for (Table* table :
         {&graphs_, &broadcasts_, &workloads_, &campaigns_, &placements_, &spreads_, &sizes_, &reminders_}) {
      if (!table->rows.empty()) report.tables.push_back(std::move(*table));
    }
    if (!sweep_.empty())
      report.charts.push_back({"Reliability after failures", "failed nodes, %", "reliability, %", sweep_, false});
    // What was asked once, or never failed, did not recover.
    std::erase_if(recovery_, [](const Series& series) {
      return series.points.size() < 2 ||
             std::ranges::all_of(series.points, [](auto point) { return point.second >= 100; });
    });
    if (!recovery_.empty()) report.charts.push_back({"Recovery", "shuffle cycles", "reliability, %", recovery_, false});
    for (auto& chart : charts_) report.charts.push_back(std::move(chart));
    return report;
  }

 private:
  void add_row(Table& table, std::vector<std::string> row) const {
    if (swept_) row.insert(row.begin() + 1, number_text(value_));
    table.rows.push_back(std::move(row));
  }
  static void point(std::vector<Series>& all, const std::string& name, double x, double y) {
    auto found = std::ranges::find(all, name, &Series::name);
    if (found == all.end()) found = all.insert(all.end(), {name, {}});
    found->points.emplace_back(x, y);
  }

  bool swept_;
  double value_ = 0;
  Table graphs_;
  Table broadcasts_;
  Table workloads_;
  Table campaigns_;
  Table placements_;
  Table spreads_;
  Table sizes_;
  Table reminders_;
  std::vector<Series> sweep_;
  std::vector<Series> recovery_;
  std::vector<Chart> charts_;
};

/// One run of the steps.
class Run {
 public:
  Run(const Scenario& scenario, double swept, Results& results)
      : scenario_(scenario),
        swept_(swept),
        results_(results),
        simulation_(scenario.simulation),
        random_(scenario.simulation.seed ^ 0x73746570) {
    for (std::size_t node = 0; node < scenario.nodes; ++node) {
      const NodeIndex added = simulation_.add_node();
      if (random_.chance(scenario.slow_fraction)) simulation_.engine().set_processing(added, scenario.slow_processing);
    }
  }

  void run() {
    // One of each for all steps, with what the first one wants, before any node starts.
    for (const Step& step : scenario_.steps) {
      const auto* chaos = std::get_if<ChaosStep>(&step);
      if (chaos == nullptr) continue;
      if (chaos->operations > 0 && !workload_) {
        workload_.emplace(simulation_,
                          WorkloadConfig{chaos->operations, chaos->keys, chaos->names, chaos->clock_jump_max},
                          scenario_.simulation.seed ^ 0x776f726b);
      }
      if (chaos->campaigns > 0 && !campaigns_) {
        campaigns_.emplace(simulation_, CampaignsConfig{chaos->campaigns, chaos->leads},
                           scenario_.simulation.seed ^ 0x6c656164);
      }
    }
    for (const Step& step : scenario_.steps) std::visit([&](const auto& one) { on(one); }, step);
  }
  [[nodiscard]] const Engine& engine() const { return simulation_.engine(); }

 private:
  void on(const JoinStep& step) {
    const std::size_t wanted = step.nodes == 0 ? simulation_.size() : step.nodes;
    SimTime at = simulation_.engine().now();
    std::size_t started = 0;
    for (NodeIndex node = 0; node < simulation_.size() && started < wanted; ++node) {
      if (simulation_.has_run(node)) continue;
      simulation_.engine().call_at(at, [this, node, &step] { start(node, step.bootstrap); });
      at += step.interval;
      ++started;
    }
    simulation_.run_until(at);
  }
  void start(NodeIndex node, bool bootstrap) {
    const bool first = node == 0;
    simulation_.start(node, bootstrap && !first ? std::vector<NodeIndex>{0} : std::vector<NodeIndex>{});
    if (!bootstrap && !first) simulation_.join(node, 0);
  }
  void on(const SettleStep& step) { simulation_.run_for(step.span); }
  void on(const CrashStep& step) {
    for (const NodeIndex node : choose(step.fraction)) step.gently ? simulation_.stop(node) : simulation_.crash(node);
  }
  void on(const PauseStep& step) {
    for (const NodeIndex node : choose(step.fraction)) {
      simulation_.pause(node);
      simulation_.engine().call_at(simulation_.engine().now() + step.span, [this, node] { simulation_.resume(node); });
    }
  }
  void on(const RestartStep& step) {
    restart_all(simulation_, step);
    first_broadcast_ = simulation_.broadcasts().size();
  }
  void on(const PartitionStep& step) { partition(simulation_, step, random_); }
  void on(const HealStep& /*step*/) {
    simulation_.engine().heal();
    first_broadcast_ = simulation_.broadcasts().size();
  }
  void on(const BroadcastStep& step) {
    const SimTime began = simulation_.engine().now();
    for (std::size_t cycle = 0; cycle <= step.cycles; ++cycle) {
      simulation_.run_until(began +
                            static_cast<SimTime::rep>(cycle) * simulation_.config().overlay.hyparview.shuffle_period);
      broadcast(step, cycle);
    }
  }
  void broadcast(const BroadcastStep& step, std::size_t cycle) {
    const auto members = simulation_.members();
    if (members.empty()) return;
    if (!simulation_.is_member(sender_)) sender_ = members[random_.below(members.size())];
    const std::size_t first = simulation_.broadcasts().size();
    for (std::size_t sent = 0; sent < step.messages; ++sent) {
      NodeIndex sender = sender_;
      if (step.many) sender = members[random_.below(members.size())];
      if (simulation_.is_member(sender)) simulation_.broadcast(sender, Atom("sim"), sent);
      simulation_.run_for(step.interval);
    }
    simulation_.run_for(step.wait);
    const auto figures = measure_broadcasts(simulation_, first, simulation_.broadcasts().size());
    results_.add(step.label, cycle, simulation_.members().size(), figures);
  }
  void on(const MeasureStep& step) {
    Prng random(scenario_.simulation.seed);
    results_.add(step.label, simulation_.engine().now(), measure_graph(simulation_, random));
  }
  void on(const CheckStep& /*step*/) { check_quiescent(simulation_, first_broadcast_); }
  void on(const ChaosStep& step) {
    if (step.unowned_max > SimTime{} && !placement_) {
      placement_.emplace(simulation_, PlacementBounds{step.unowned_max, step.shared_max});
    }
    run_chaos(simulation_, step, random_, step.operations > 0 ? &*workload_ : nullptr,
              step.campaigns > 0 ? &*campaigns_ : nullptr, placement_ ? &*placement_ : nullptr);
    if (campaigns_) results_.add_campaigns(*campaigns_);
    if (workload_) results_.add_workload(*workload_, *simulation_.services());
    if (placement_) results_.add_placement(placement_->figures());
  }

  void on(const SpreadStep& step) {
    results_.add_spread(step.label + " puts",
                        measure_puts(simulation_, step.changes, step.interval, step.wait, random_));
    results_.add_spread(step.label + " registrations",
                        measure_registrations(simulation_, step.changes, step.interval, step.wait, random_));
  }
  void on(const RemindersStep& step) { results_.add_reminders(run_reminders(simulation_, step, random_)); }
  void on(const ChurnStep& step) { results_.add_churn(run_churn(simulation_, step, random_)); }

  [[nodiscard]] std::vector<NodeIndex> choose(double fraction) {
    auto members = simulation_.members();
    random_.shuffle(members);
    const double share = fraction == fraction_of_sweep ? swept_ : fraction;
    members.resize(static_cast<std::size_t>(std::llround(share * static_cast<double>(members.size()))));
    return members;
  }

  const Scenario& scenario_;
  double swept_;
  Results& results_;
  Simulation simulation_;
  std::optional<Workload> workload_;
  std::optional<Campaigns> campaigns_;
  std::optional<PlacementWatch> placement_;  ///< Of the first step that wants one.
  Prng random_;
  NodeIndex sender_ = 0;
  std::size_t first_broadcast_ = 0;
};

}  // namespace

RunResult run_scenario(const Scenario& scenario) {
  Results results(scenario);
  RunResult result;
  const std::vector<double> values = scenario.sweep.empty() ? std::vector<double>{0} : scenario.sweep;
  for (const double value : values) {
    results.begin(value);
    Run run(scenario, value, results);
    run.run();
    result.trace_hash = Prng(result.trace_hash ^ run.engine().trace_hash()).next();
    result.events += run.engine().events();
    result.simulated += run.engine().now();
  }
  result.report = results.take();
  return result;
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
