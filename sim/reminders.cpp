#include "sim/reminders.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "sim/faults.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

constexpr double cancel_share = 0.1;  ///< Of the operations.
constexpr double clock_share = 0.02;  ///< Likewise.
/// After the last due time: leases end, nodes that were held begin, late ones have their turn, what was missed is
/// compared.
constexpr SimTime patience = std::chrono::seconds(60);

/// After trouble: parts that were apart try each other once a minute.
constexpr SimTime reunion = std::chrono::minutes(2);

struct Record {
  WallMilliseconds due = 0;
  Fence fence;
  bool acknowledged = false;
  bool cancelled = false;  ///< Or about to be: it may fire or not.
  bool calm = false;       ///< Set when all was well, as it will stay.
  std::uint64_t told = 0;
};

class Reminding {
 public:
  Reminding(Simulation& simulation, const RemindersStep& step, Prng& random)
      : simulation_(simulation), services_(*simulation.services()), step_(step), random_(random) {
    services_.on_start = [this](NodeIndex node) {
      if (on_start_) on_start_(node);
      services_.subscribe_reminders(node);
    };
    services_.on_effect = [this](NodeIndex node, const services::Effect& effect) {
      if (on_effect_) on_effect_(node, effect);
      if (const auto* fired = std::get_if<services::ReminderFired>(&effect)) told(node, fired->event);
    };
    for (const NodeIndex node : simulation.members()) services_.subscribe_reminders(node);
  }
  ~Reminding() {
    services_.on_start = on_start_;
    services_.on_effect = on_effect_;
  }
  Reminding(const Reminding&) = delete;
  Reminding& operator=(const Reminding&) = delete;

  ReminderFigures run() {
    calm_round();
    for (std::size_t round = 0; round < step_.rounds; ++round) {
      calm_ = false;
      begin();
      trouble_until_ = simulation_.engine().now() + step_.trouble;
      ChaosStep chaos;
      chaos.rounds = 1;
      chaos.trouble = step_.trouble;
      chaos.calm = std::max(SimTime(step_.calm), reunion);
      chaos.forget = 0;
      run_chaos(simulation_, chaos, random_, nullptr, nullptr, nullptr);
      finish();
      calm_round();
    }
    std::ranges::sort(figures_.lateness);
    return std::move(figures_);
  }

 private:
  void calm_round() {
    calm_ = true;
    begin();
    simulation_.run_for(step_.calm);
    finish();
  }

  // Programs.

  void begin() { next(++run_); }
  void next(std::uint64_t run) {
    const auto pause = std::chrono::duration_cast<SimTime>(std::chrono::duration<double>(2 / step_.operations));
    simulation_.engine().call_at(simulation_.engine().now() + uniform(random_, pause), [this, run] {
      if (run != run_) return;
      operate();
      next(run);
    });
  }

  void operate() {
    const auto node = static_cast<NodeIndex>(random_.below(simulation_.size()));
    if (!simulation_.is_running(node)) return;
    if (!calm_ && random_.chance(clock_share)) return set_clock(node);
    if (random_.chance(cancel_share) && !records_.empty()) return cancel(node);
    const std::uint64_t key = ++last_key_;
    const auto after = static_cast<WallMilliseconds>(random_.below(static_cast<std::size_t>(step_.due_max.count())));
    Record& record = records_[key];
    record.due = services_.wall(node) + after;
    record.calm = calm_;
    const auto set = services_.remind(node, Term(key), record.due, Term::tuple({Atom("payload"), key}),
                                      [this, key](const auto& done) {
                                        const auto found = records_.find(key);
                                        if (found != records_.end()) found->second.acknowledged = done.has_value();
                                      });
    if (!set) simulation_.fail_at(node, "cannot set a reminder: " + set.error().message());
    // Nobody else can have written it, and a past one fires with the next timer.
    if (simulation_.is_running(node)) record.fence = services_.machine(node).reminders().find(Term(key))->fence;
    ++figures_.set;
  }

  void cancel(NodeIndex node) {
    const auto chosen = std::next(records_.begin(), static_cast<std::ptrdiff_t>(random_.below(records_.size())));
    chosen->second.cancelled = true;
    const auto done = services_.cancel_reminder(node, Term(chosen->first), nullptr);
    if (!done) simulation_.fail_at(node, "cannot cancel a reminder: " + done.error().message());
  }

  void set_clock(NodeIndex node) {
    if (step_.clock_jump_max.count() == 0) return;
    const auto error = uniform(random_, 2 * SimTime(step_.clock_jump_max)) - step_.clock_jump_max;
    services_.shift_clock(node, std::chrono::duration_cast<Milliseconds>(error) - services_.wall_error(node));
  }

  // What fires.

  void told(NodeIndex node, const ReminderEvent& event) {
    const auto key = event.key.as_uint64();
    const auto found = key ? records_.find(*key) : records_.end();
    if (found == records_.end()) simulation_.fail_at(node, "tells of a reminder that is over: " + to_text(event.key));
    Record& record = found->second;
    const std::string name = "reminder " + std::to_string(*key);
    if (event.fence != record.fence) simulation_.fail_at(node, name + " fires with another fence");
    if (event.due != ReminderTime(Milliseconds(record.due))) simulation_.fail_at(node, name + " has another time");
    if (services_.wall(node) < record.due) simulation_.fail_at(node, name + " fires before its time");
    ++figures_.told;
    if (++record.told > 1) ++figures_.told_again;
    if (record.calm) figures_.lateness.push_back(event.lateness);
    // Who crashes later is not started again.
    const bool trouble = simulation_.engine().now() < trouble_until_;
    const bool enough = 2 * simulation_.members().size() > simulation_.size();
    if (!trouble || !enough || !random_.chance(step_.crashes_while_firing)) return;
    ++figures_.crashes;
    simulation_.crash(node);
  }

  /// What is known of it, for a person.
  [[nodiscard]] std::string whereabouts(std::uint64_t key) const {
    std::string text;
    for (const NodeIndex node : simulation_.members()) {
      const auto& machine = services_.machine(node);
      const auto* entry = machine.reminders().entries().find(Term(key));
      const auto* owner = machine.placement().place(Term(key));
      text += "; " + simulation_.name_of(node).string() + " has " +
              (entry == nullptr ? "none" : to_text(replication::to_term(*entry)));
      if (owner != nullptr) text += " of " + owner->string();
      if (machine.reminders().statistics().held) text += ", and holds back";
    }
    return text;
  }

  /// All that is left has its time.
  void finish() {
    ++run_;
    simulation_.run_for(SimTime(step_.due_max) + patience);
    for (const auto& [key, record] : records_) {
      const std::string name = "reminder " + std::to_string(key);
      if (record.told == 0 && record.acknowledged && !record.cancelled)
        simulation_.fail_at(0, name + " is lost" + whereabouts(key));
      if (record.told > 1 && record.calm) {
        simulation_.fail_at(0, name + " fired " + std::to_string(record.told) + " times though no member changed");
      }
    }
    for (const NodeIndex node : simulation_.members()) {
      const auto statistics = services_.machine(node).reminders().statistics();
      if (statistics.pending > 0) {
        simulation_.fail_at(node, std::to_string(statistics.pending) + " reminders are left over");
      }
    }
    records_.clear();
  }

  Simulation& simulation_;
  ServiceNodes& services_;
  const RemindersStep& step_;
  Prng& random_;
  const std::function<void(NodeIndex)> on_start_ = services_.on_start;  ///< Of others, who are told as before.
  const std::function<void(NodeIndex, const services::Effect&)> on_effect_ = services_.on_effect;
  ReminderFigures figures_;
  std::map<std::uint64_t, Record> records_;
  std::uint64_t last_key_ = 0;
  std::uint64_t run_ = 0;
  bool calm_ = true;
  SimTime trouble_until_{};
};

}  // namespace

Milliseconds ReminderFigures::late(double share) const {
  if (lateness.empty()) return Milliseconds(0);
  const auto last = static_cast<double>(lateness.size() - 1);
  return lateness[static_cast<std::size_t>(std::llround(share * last))];
}

ReminderFigures run_reminders(Simulation& simulation, const RemindersStep& step, Prng& random) {
  return Reminding(simulation, step, random).run();
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
