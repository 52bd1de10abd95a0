// TOML to Scenario. Every table is read by a `Reader`, which refuses what nobody asked it for.
#include "sim/scenario.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/toml.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

constexpr std::int64_t nodes_max = 1'000'000;
constexpr std::int64_t day_ms = 86'400'000;

/// Values of one table. The first error counts; `finish` returns it.
class Reader {
 public:
  Reader(const toml::table& table, std::string name) : table_(table), name_(std::move(name)) {}

  template <class Target>
  void integer(std::string_view key, std::int64_t low, std::int64_t high, Target& target) {
    const toml::node* value = find(key);
    if (value == nullptr) return;
    const auto* number = value->as_integer();
    if (number == nullptr || number->get() < low || number->get() > high)
      return refuse(*value, key, "must be an integer from " + std::to_string(low) + " to " + std::to_string(high));
    target = static_cast<Target>(number->get());
  }
  template <class Duration>
  void milliseconds(std::string_view key, std::int64_t low, Duration& target) {
    std::int64_t count = -1;
    integer(key, low, day_ms, count);
    if (count >= 0) target = Milliseconds(count);
  }
  void real(std::string_view key, double low, double high, double& target) {
    const toml::node* value = find(key);
    if (value == nullptr) return;
    const auto number = value->value<double>();
    if (!number || *number < low || *number > high) {
      std::ostringstream text;
      text << "must be a number from " << low << " to " << high;
      return refuse(*value, key, text.str());
    }
    target = *number;
  }
  void boolean(std::string_view key, bool& target) {
    const toml::node* value = find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return refuse(*value, key, "must be true or false");
    target = **value->as_boolean();
  }
  void text(std::string_view key, std::string& target) {
    const toml::node* value = find(key);
    if (value == nullptr) return;
    if (!value->is_string()) return refuse(*value, key, "must be a string");
    target = **value->as_string();
  }
  template <class Value, std::size_t count>
  void choice(std::string_view key, const std::array<std::pair<std::string_view, Value>, count>& words, Value& target) {
    const toml::node* value = find(key);
    if (value == nullptr) return;
    std::string expected = "must be one of";
    for (const auto& [word, meaning] : words) {
      if (value->value<std::string_view>() == word) {
        target = meaning;
        return;
      }
      expected.append(" \"").append(word).append("\"");
    }
    refuse(*value, key, expected);
  }
  /// A share, or the word "sweep".
  void fraction(std::string_view key, double& target) {
    const toml::node* value = find(key);
    if (value != nullptr && value->value<std::string_view>() == "sweep") {
      target = fraction_of_sweep;
    } else {
      real(key, 0, 1, target);
    }
  }
  void reals(std::string_view key, double low, double high, std::vector<double>& target) {
    const toml::node* value = find(key);
    if (value == nullptr) return;
    const auto* array = value->as_array();
    if (array == nullptr) return refuse(*value, key, "must be an array of numbers");
    for (const auto& element : *array) {
      const auto number = element.value<double>();
      if (!number || *number < low || *number > high) return refuse(element, key, "must hold shares from 0 to 1");
      target.push_back(*number);
    }
  }
  void require(std::string_view key) {
    if (!table_.contains(key)) fail_with(table_, "'" + full(key) + "' is missing: write it");
  }
  const toml::node* find(std::string_view key) {
    asked_.emplace_back(key);
    return table_.get(key);
  }
  void refuse(const toml::node& value, std::string_view key, const std::string& what) {
    fail_with(value, full(key) + " " + what);
  }
  /// Also refuses keys that nobody asked for.
  [[nodiscard]] Result<void> finish() {
    for (const auto& [key, value] : table_) {
      if (std::ranges::find(asked_, key.str()) != asked_.end()) continue;
      std::string known = "is not a key here; there are";
      for (const auto& name : asked_) known.append(" ").append(name);
      refuse(value, key.str(), known);
    }
    if (error_) return std::unexpected(*error_);
    return {};
  }

 private:
  [[nodiscard]] std::string full(std::string_view key) const {
    return name_.empty() ? std::string(key) : name_ + "." + std::string(key);
  }
  void fail_with(const toml::node& place, const std::string& what) {
    if (error_) return;
    error_ = Error(Errc::invalid_config, "line " + std::to_string(place.source().begin.line) + ": " + what);
  }

  const toml::table& table_;
  std::string name_;
  std::vector<std::string> asked_;
  std::optional<Error> error_;
};

Result<void> read_delay(const toml::table& table, Delay& delay) {
  constexpr std::array<std::pair<std::string_view, Delay::Kind>, 4> kinds{{{"constant", Delay::Kind::constant},
                                                                           {"uniform", Delay::Kind::uniform},
                                                                           {"exponential", Delay::Kind::exponential},
                                                                           {"log_normal", Delay::Kind::log_normal}}};
  Reader reader(table, "network.delay");
  reader.choice("kind", kinds, delay.kind);
  reader.milliseconds("low_ms", 0, delay.low);
  reader.milliseconds("high_ms", 0, delay.high);
  reader.real("sigma", 0, 3, delay.sigma);
  if (delay.high < delay.low) reader.refuse(table, "high_ms", "must not be below low_ms (5 if it is not given)");
  return reader.finish();
}

/// A table inside of `reader`'s, if it is there.
Result<void> read_inner(Reader& reader, std::string_view key,
                        const std::function<Result<void>(const toml::table&)>& read) {
  const toml::node* value = reader.find(key);
  if (value == nullptr) return {};
  if (!value->is_table()) {
    reader.refuse(*value, key, "must be a table");
    return reader.finish();
  }
  return read(*value->as_table());
}

Result<void> read_network(const toml::table& table, Scenario& scenario) {
  Reader reader(table, "network");
  NetworkModel& model = scenario.simulation.network;
  const auto delay =
      read_inner(reader, "delay", [&](const toml::table& inner) { return read_delay(inner, model.delay); });
  if (!delay) return delay;
  reader.real("asymmetry", 0, 1, model.asymmetry);
  reader.real("loss", 0, 0.9, model.loss);
  reader.milliseconds("retransmit_ms", 1, model.retransmit);
  reader.milliseconds("handshake_work_ms", 0, model.handshake_work);
  reader.milliseconds("setup_timeout_ms", 1, model.setup_timeout);
  reader.milliseconds("refuse_timeout_ms", 0, model.refuse_timeout);
  reader.milliseconds("keep_alive_ms", 1, model.keep_alive);
  reader.milliseconds("dead_after_ms", 1, model.dead_after);
  reader.milliseconds("detector_tick_ms", 1, model.detector_tick);
  reader.milliseconds("idle_close_ms", 100, model.idle_close);
  reader.integer("queue_max", 0, 1'000'000, model.queue_max);
  reader.milliseconds("clock_skew_ms", 0, scenario.simulation.clock_skew_max);
  reader.real("clock_drift_ppm", 0, 10'000, scenario.simulation.clock_drift_ppm_max);
  reader.real("slow_fraction", 0, 1, scenario.slow_fraction);
  reader.milliseconds("slow_processing_ms", 0, scenario.slow_processing);
  return reader.finish();
}

Result<void> read_overlay(const toml::table& table, overlay::HyParViewConfig& config) {
  Reader reader(table, "overlay");
  reader.integer("active_size", 1, 1000, config.active_size);
  reader.integer("passive_size", 1, 10'000, config.passive_size);
  reader.integer("arwl", 1, 16, config.arwl);
  reader.integer("prwl", 1, 16, config.prwl);
  reader.integer("shuffle_length", 1, 128, config.shuffle_length);
  reader.milliseconds("shuffle_period_ms", 100, config.shuffle_period);
  reader.milliseconds("passive_age_max_ms", 1000, config.passive_age_max);
  reader.milliseconds("pending_timeout_ms", 100, config.pending_timeout);
  reader.milliseconds("lost_retry_ms", 100, config.lost_retry);
  reader.milliseconds("lost_retry_max_ms", 100, config.lost_retry_max);
  if (config.passive_size < config.active_size) reader.refuse(table, "passive_size", "must not be below active_size");
  if (config.prwl > config.arwl) reader.refuse(table, "prwl", "must not be above arwl");
  return reader.finish();
}

Result<void> read_gossip(const toml::table& table, overlay::PlumtreeConfig& config) {
  Reader reader(table, "gossip");
  reader.milliseconds("missing_timeout_ms", 1, config.missing_timeout);
  reader.milliseconds("graft_timeout_ms", 1, config.graft_timeout);
  reader.milliseconds("announce_delay_ms", 0, config.announce_delay);
  reader.integer("optimisation_threshold", 1, 1000, config.optimisation_threshold);
  return reader.finish();
}

Result<void> read_services(const toml::table& table, ServiceNodesConfig& config) {
  Reader reader(table, "services");
  auto& machine = config.machine;
  config.enabled = true;
  reader.boolean("enabled", config.enabled);
  reader.milliseconds("heartbeat_ms", 100, machine.members.heartbeat);
  reader.milliseconds("ttl_ms", 300, machine.members.ttl);
  reader.milliseconds("remember_ms", 1000, machine.members.remember);
  reader.milliseconds("anti_entropy_ms", 100, machine.registry.anti_entropy_period);
  reader.milliseconds("tombstone_ttl_ms", 1000, machine.maps.tombstone_ttl);
  reader.milliseconds("forget_after_ms", 1000, machine.registry.forget_after);
  reader.milliseconds("wall_skew_ms", 0, config.wall_skew_max);
  reader.integer("wrong_clocks", 0, 1000, config.wrong_clocks);
  reader.milliseconds("wrong_by_ms", 0, config.wrong_by);
  reader.milliseconds("disk_low_ms", 0, config.disk.low);
  reader.milliseconds("disk_high_ms", 0, config.disk.high);
  reader.real("disk_failures", 0, 1, config.disk_failures);
  machine.maps.anti_entropy_period = machine.registry.anti_entropy_period;
  machine.registry.tombstone_age = machine.maps.tombstone_ttl;
  machine.registry.vouch_for = machine.registry.expect_for = machine.members.ttl;
  machine.leader.anti_entropy_period = machine.registry.anti_entropy_period;
  machine.leader.tombstone_age = machine.maps.tombstone_ttl;
  machine.leader.forget_after = machine.registry.forget_after;
  machine.leader.vouch_for = machine.leader.expect_for = machine.members.ttl;
  machine.leader.lease = machine.members.ttl - machine.members.heartbeat;
  if (machine.members.ttl < machine.members.heartbeat)
    reader.refuse(table, "ttl_ms", "must not be below heartbeat_ms (2000 if it is not given)");
  if (machine.registry.forget_after > machine.registry.tombstone_age)
    reader.refuse(table, "forget_after_ms", "must not be above tombstone_ttl_ms (3600000 if it is not given)");
  if (config.disk.high < config.disk.low)
    reader.refuse(table, "disk_high_ms", "must not be below disk_low_ms (1 if it is not given)");
  return reader.finish();
}

// Steps: one function each. `do` was read already.

Step read_step(Reader& reader, JoinStep step) {
  reader.integer("nodes", 1, nodes_max, step.nodes);
  reader.milliseconds("interval_ms", 0, step.interval);
  reader.boolean("bootstrap", step.bootstrap);
  return step;
}
Step read_step(Reader& reader, SettleStep step) {
  reader.require("seconds");
  double seconds = 0;
  reader.real("seconds", 0, 1'000'000, seconds);
  step.span = std::chrono::duration_cast<SimTime>(std::chrono::duration<double>(seconds));
  return step;
}
Step read_step(Reader& reader, CrashStep step) {
  reader.require("fraction");
  reader.fraction("fraction", step.fraction);
  reader.boolean("gently", step.gently);
  return step;
}
Step read_step(Reader& reader, PauseStep step) {
  reader.require("fraction");
  reader.require("ms");
  reader.fraction("fraction", step.fraction);
  reader.milliseconds("ms", 0, step.span);
  return step;
}
Step read_step(Reader& reader, RestartStep step) {
  reader.milliseconds("interval_ms", 0, step.interval);
  reader.boolean("remember", step.remember);
  reader.boolean("bootstrap", step.bootstrap);
  return step;
}
Step read_step(Reader& reader, PartitionStep step) {
  using Shape = PartitionStep::Shape;
  constexpr std::array<std::pair<std::string_view, Shape>, 4> shapes{
      {{"split", Shape::split}, {"chain", Shape::chain}, {"one_way", Shape::one_way}, {"outage", Shape::outage}}};
  reader.choice("shape", shapes, step.shape);
  reader.integer("parts", 2, 1000, step.parts);
  return step;
}
Step read_step(Reader& /*reader*/, HealStep step) { return step; }
Step read_step(Reader& reader, BroadcastStep step) {
  constexpr std::array<std::pair<std::string_view, bool>, 2> senders{{{"one", false}, {"many", true}}};
  reader.text("label", step.label);
  reader.integer("messages", 1, 100'000, step.messages);
  reader.choice("senders", senders, step.many);
  reader.milliseconds("interval_ms", 0, step.interval);
  reader.milliseconds("wait_ms", 0, step.wait);
  reader.integer("cycles", 0, 1000, step.cycles);
  return step;
}
Step read_step(Reader& reader, MeasureStep step) {
  reader.text("label", step.label);
  return step;
}
Step read_step(Reader& /*reader*/, CheckStep step) { return step; }
Step read_step(Reader& reader, ChaosStep step) {
  reader.integer("rounds", 1, 1000, step.rounds);
  reader.milliseconds("trouble_ms", 1000, step.trouble);
  reader.milliseconds("outage_ms", 1000, step.outage);
  reader.milliseconds("calm_ms", 1000, step.calm);
  reader.real("operations", 0, 100'000, step.operations);
  reader.integer("keys", 1, 1'000'000, step.keys);
  reader.integer("names", 1, 1'000'000, step.names);
  reader.milliseconds("clock_jump_ms", 0, step.clock_jump_max);
  reader.real("campaigns", 0, 100'000, step.campaigns);
  reader.integer("leads", 1, 1'000'000, step.leads);
  reader.milliseconds("unowned_max_ms", 0, step.unowned_max);
  reader.milliseconds("shared_max_ms", 0, step.shared_max);
  reader.real("forget", 0, 1, step.forget);
  return step;
}
Step read_step(Reader& reader, RemindersStep step) {
  reader.integer("rounds", 1, 1000, step.rounds);
  reader.milliseconds("trouble_ms", 1000, step.trouble);
  reader.milliseconds("calm_ms", 1000, step.calm);
  reader.real("operations", 0.1, 100'000, step.operations);
  reader.milliseconds("due_ms", 1, step.due_max);
  reader.milliseconds("clock_jump_ms", 0, step.clock_jump_max);
  reader.real("crashes_while_firing", 0, 1, step.crashes_while_firing);
  return step;
}

Step read_step(Reader& reader, SpreadStep step) {
  reader.text("label", step.label);
  reader.integer("changes", 1, 100'000, step.changes);
  reader.milliseconds("interval_ms", 0, step.interval);
  reader.milliseconds("wait_ms", 0, step.wait);
  return step;
}
Step read_step(Reader& reader, ChurnStep step) {
  reader.milliseconds("ms", 1000, step.span);
  reader.milliseconds("interval_ms", 10, step.interval);
  reader.milliseconds("life_ms", 10, step.life);
  return step;
}

const std::array<std::pair<std::string_view, Step>, 15>& kinds_of_steps() {
  static const std::array<std::pair<std::string_view, Step>, 15> kinds{{{"join", JoinStep{}},
                                                                        {"settle", SettleStep{}},
                                                                        {"crash", CrashStep{}},
                                                                        {"stop", CrashStep{0, true}},
                                                                        {"pause", PauseStep{}},
                                                                        {"restart", RestartStep{}},
                                                                        {"partition", PartitionStep{}},
                                                                        {"heal", HealStep{}},
                                                                        {"broadcast", BroadcastStep{}},
                                                                        {"measure", MeasureStep{}},
                                                                        {"check", CheckStep{}},
                                                                        {"chaos", ChaosStep{}},
                                                                        {"spread", SpreadStep{}},
                                                                        {"churn", ChurnStep{}},
                                                                        {"reminders", RemindersStep{}}}};
  return kinds;
}

Result<void> read_steps(const toml::array& list, Scenario& scenario) {
  for (const auto& element : list) {
    const auto* table = element.as_table();
    if (table == nullptr)
      return fail(Errc::invalid_config,
                  "line " + std::to_string(element.source().begin.line) + ": step must be a table: write [[step]]");
    Reader reader(*table, "step");
    reader.require("do");
    std::string kind;
    reader.text("do", kind);
    const auto& kinds = kinds_of_steps();
    const auto known = std::ranges::find(kinds, kind, [](const auto& entry) { return entry.first; });
    if (known == kinds.end()) {
      std::string all = "must be one of";
      for (const auto& entry : kinds) all.append(" \"").append(entry.first).append("\"");
      reader.refuse(*table, "do", all);
      return reader.finish();
    }
    scenario.steps.push_back(
        std::visit([&](const auto& defaults) { return read_step(reader, defaults); }, known->second));
    if (auto read = reader.finish(); !read) return read;
  }
  return {};
}

Result<void> read_scenario(const toml::table& table, Scenario& scenario) {
  Reader reader(table, "");
  reader.require("name");
  reader.text("name", scenario.name);
  reader.text("description", scenario.description);
  reader.integer("nodes", 2, nodes_max, scenario.nodes);
  reader.integer("seed", 0, INT64_MAX, scenario.simulation.seed);
  reader.boolean("codec", scenario.simulation.codec);
  reader.reals("sweep", 0, 1, scenario.sweep);
  auto& machines = scenario.simulation.overlay;
  if (auto read = read_inner(reader, "network", [&](const auto& inner) { return read_network(inner, scenario); });
      !read)
    return read;
  if (auto read =
          read_inner(reader, "overlay", [&](const auto& inner) { return read_overlay(inner, machines.hyparview); });
      !read)
    return read;
  if (auto read =
          read_inner(reader, "gossip", [&](const auto& inner) { return read_gossip(inner, machines.plumtree); });
      !read)
    return read;
  if (auto read = read_inner(reader, "services",
                             [&](const auto& inner) { return read_services(inner, scenario.simulation.services); });
      !read)
    return read;
  reader.require("step");
  const toml::node* steps = reader.find("step");
  if (auto read = reader.finish(); !read) return read;
  if (!steps->is_array())
    return fail(Errc::invalid_config,
                "line " + std::to_string(steps->source().begin.line) + ": step must be a list: write [[step]]");
  return read_steps(*steps->as_array(), scenario);
}

bool has_sweep(const Step& step) {
  const auto* crash = std::get_if<CrashStep>(&step);
  const auto* pause = std::get_if<PauseStep>(&step);
  return (crash != nullptr && crash->fraction == fraction_of_sweep) ||
         (pause != nullptr && pause->fraction == fraction_of_sweep);
}

bool needs_services(const Step& step) {
  const auto* chaos = std::get_if<ChaosStep>(&step);
  return (chaos != nullptr && (chaos->operations > 0 || chaos->campaigns > 0 || chaos->unowned_max > SimTime{})) ||
         std::holds_alternative<SpreadStep>(step) || std::holds_alternative<ChurnStep>(step) ||
         std::holds_alternative<RemindersStep>(step);
}

}  // namespace

Result<Scenario> parse_scenario(std::string_view text) {
  const auto table = parse_toml(text);
  if (!table) return std::unexpected(table.error());
  Scenario scenario;
  if (auto read = read_scenario(*table, scenario); !read) return std::unexpected(read.error());
  if (std::ranges::any_of(scenario.steps, has_sweep) == scenario.sweep.empty())
    return fail(Errc::invalid_config,
                "sweep: write both the list `sweep` and a step with `fraction = \"sweep\"`, or neither");
  if (std::ranges::any_of(scenario.steps, needs_services) && !scenario.simulation.services.enabled)
    return fail(Errc::invalid_config, "services: write the table [services], for a step uses services and maps");
  return scenario;
}

Result<Scenario> load_scenario(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream)
    return fail(Errc::io_error, "cannot read " + file.string() + ": " + std::generic_category().message(errno));
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  auto scenario = parse_scenario(text);
  if (!scenario) return fail(scenario.error().code(), file.string() + ": " + scenario.error().context());
  return scenario;
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
