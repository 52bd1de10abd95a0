// What is to happen in a simulation, as a TOML file says it. docs/simulation.md lists every key.
#pragma once

#include <barrel_p2p/error.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// Nodes that never ran start one after the other and look for the contact, node 0.
struct JoinStep {
  std::size_t nodes = 0;  ///< 0: all.
  SimTime interval = Milliseconds(10);
  bool bootstrap = true;  ///< They keep the contact as `contact_nodes`; otherwise they join it once.
};
struct SettleStep {
  SimTime span{};
};
/// A share of the members ends at one moment. Node 0 may be among them.
struct CrashStep {
  double fraction = 0;
  bool gently = false;  ///< They close their channels.
};
struct PauseStep {
  double fraction = 0;
  SimTime span{};
};
/// All nodes that ran and do not run any more.
struct RestartStep {
  SimTime interval = Milliseconds(0);
  bool remember = true;
  bool bootstrap = true;
};
struct PartitionStep {
  enum class Shape : std::uint8_t {
    split,    ///< `parts` equal parts.
    chain,    ///< `parts` parts; only neighbours in the chain reach each other.
    one_way,  ///< Two parts; packets of the first reach the second, but none come back.
    outage,   ///< Nobody reaches anybody.
  };
  Shape shape = Shape::split;
  std::size_t parts = 2;
};
struct HealStep {};
struct BroadcastStep {
  std::string label;
  std::size_t messages = 10;
  bool many = false;                  ///< A random sender for each message; otherwise one sender for all.
  SimTime interval{};                 ///< 0: a burst.
  SimTime wait = Milliseconds(5000);  ///< After the last message.
  std::size_t cycles = 0;             ///< Repeat: one shuffle cycle, then the messages again.
};
struct MeasureStep {
  std::string label;
};
/// Everything must be well: `check_quiescent`, for broadcasts since the last step of the kinds `heal` or `restart`.
struct CheckStep {};
/// Random failures of every kind, round by round; each round heals, settles, broadcasts, and is checked.
struct ChaosStep {
  std::size_t rounds = 4;
  SimTime trouble = Milliseconds(60'000);
  SimTime outage = Milliseconds(600'000);  ///< Instead, in rounds in which nobody reaches anybody.
  SimTime calm = Milliseconds(180'000);
  double operations = 0;  ///< A second, of programs that use services and maps; needs `[services]`.
  std::size_t keys = 50;
  std::size_t names = 50;
  Milliseconds clock_jump_max{};
  double campaigns = 0;   ///< Operations a second of programs that want to lead; needs `[services]`.
  std::size_t leads = 5;  ///< Names that they campaign for.
  /// How long a partition may be without its owner, and have another one too; needs `[services]`. 0: nobody looks.
  SimTime unowned_max{};
  SimTime shared_max{};
  double forget = 0.2;  ///< Share of the restarts in which a node has lost its disk.
};

/// Puts, then registrations, one by one: how fast all members see them. Needs `[services]`.
struct SpreadStep {
  std::string label;
  std::size_t changes = 100;
  SimTime interval = Milliseconds(500);
  SimTime wait = Milliseconds(60'000);
};
/// Nodes come, write and go for ever; what the others hold must not grow. Needs `[services]`.
struct ChurnStep {
  SimTime span = Milliseconds(1'800'000);
  SimTime interval = Milliseconds(5'000);  ///< Between two new nodes.
  SimTime life = Milliseconds(30'000);     ///< Of one.
};

/// Reminders in a calm, then while nodes crash, pause, leave and are cut off, then in a calm again: see reminders.hpp.
/// Needs `[services]`.
struct RemindersStep {
  std::size_t rounds = 2;
  SimTime trouble = Milliseconds(60'000);
  SimTime calm = Milliseconds(60'000);
  double operations = 5;               ///< A second, on all nodes together.
  Milliseconds due_max{60'000};        ///< After they are set.
  Milliseconds clock_jump_max{};       ///< Clocks are set now and then, to be wrong by up to this.
  double crashes_while_firing = 0.05;  ///< Share of what fires in trouble.
};

using Step = std::variant<JoinStep, SettleStep, CrashStep, PauseStep, RestartStep, PartitionStep, HealStep,
                          BroadcastStep, MeasureStep, CheckStep, ChaosStep, SpreadStep, ChurnStep, RemindersStep>;

struct Scenario {
  std::string name;
  std::string description;
  std::size_t nodes = 100;
  SimulationConfig simulation;
  double slow_fraction = 0;  ///< Of the nodes needs `slow_processing` for each message.
  SimTime slow_processing{};
  std::vector<double> sweep;  ///< The run is repeated with each of these values in place of `fraction = "sweep"`.
  std::vector<Step> steps;
};

/// A `fraction` that is to be replaced by values of the sweep.
inline constexpr double fraction_of_sweep = -1;

/// Errors: `invalid_config`, with line, key and remedy.
[[nodiscard]] Result<Scenario> parse_scenario(std::string_view toml);
/// Also `io_error`.
[[nodiscard]] Result<Scenario> load_scenario(const std::filesystem::path& file);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
