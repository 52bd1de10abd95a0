#include "chaos_schedule.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace barrel_p2p::command {
namespace {

using std::chrono::milliseconds;
using Fault = ChaosFault::Kind;

constexpr milliseconds fault_pause_max{1500};  ///< Between the begins of two faults.
constexpr milliseconds fault_min{200};
constexpr milliseconds fault_max{8000};  ///< Longer than a lease: others take over what the node had.
constexpr double all_share = 0.1;        ///< Of the kills and the clocks, those of all nodes at once.
constexpr double lost_max = 0.3;         ///< QUIC gets through, slowly.
constexpr double repeated_max = 0.2;
constexpr double held_back_max = 0.3;
constexpr std::size_t delay_max_ms = 150;
constexpr double step_max_ms = 60'000;       ///< Of a clock, either way.
constexpr milliseconds clock_min{1000};      ///< A beat is sent with it.
constexpr milliseconds disk_full_min{3000};  ///< The node starts anew meanwhile, and has to write something.
constexpr double killed_share = 0.3;         ///< Of the nodes whose disk is full.

/// Nodes whose own fault is over at that time, in an order that is drawn.
std::vector<std::size_t> free_nodes(Prng& random, const std::vector<milliseconds>& busy_until, milliseconds now) {
  std::vector<std::size_t> free;
  for (std::size_t node = 0; node < busy_until.size(); ++node) {
    if (busy_until[node] <= now) free.push_back(node);
  }
  random.shuffle(free);
  return free;
}

/// At least one node, and not all of them.
std::vector<std::size_t> one_side(Prng& random, std::size_t nodes) {
  std::vector<std::size_t> all(nodes);
  std::iota(all.begin(), all.end(), std::size_t{0});
  random.shuffle(all);
  all.resize(1 + random.below(nodes - 1));
  std::ranges::sort(all);
  return all;
}

void draw_links(Prng& random, ChaosFault& fault) {
  fault.lost = random.unit() * lost_max;
  fault.repeated = random.unit() * repeated_max;
  fault.held_back = random.unit() * held_back_max;
  fault.delay = milliseconds(random.below(delay_max_ms));
}

/// Short steps are frequent.
milliseconds draw_step(Prng& random) {
  const milliseconds step(1 + static_cast<std::int64_t>(random.unit() * random.unit() * step_max_ms));
  return random.chance(0.5) ? step : -step;
}

/// How often each kind is drawn.
constexpr std::array frequent{Fault::kill,  Fault::kill,  Fault::kill,      Fault::freeze,    Fault::freeze,
                              Fault::split, Fault::split, Fault::one_way,   Fault::bad_links, Fault::bad_links,
                              Fault::clock, Fault::clock, Fault::disk_full, Fault::disk_full};

class Plan {
 public:
  Plan(Prng& random, std::size_t nodes, milliseconds length, std::span<const Fault> kinds)
      : random_(random), length_(length), nodes_(nodes), node_busy_(nodes), clock_busy_(nodes) {
    for (const auto kind : frequent) {
      if (std::ranges::find(kinds, kind) != kinds.end()) kinds_.push_back(kind);
    }
  }

  std::vector<ChaosFault> draw() {
    milliseconds now{0};
    for (;;) {
      now += milliseconds(1 + random_.below(static_cast<std::size_t>(fault_pause_max.count())));
      if (now + fault_min >= length_) return std::move(faults_);
      const auto room = std::min(fault_max, length_ - now) - fault_min;
      ChaosFault fault{.kind = kinds_[random_.below(kinds_.size())], .begin = now};
      // Short ones are frequent.
      fault.end =
          now + fault_min +
          milliseconds(static_cast<std::int64_t>(random_.unit() * random_.unit() * static_cast<double>(room.count())));
      if (choose(fault)) faults_.push_back(std::move(fault));
    }
  }

 private:
  /// False: nobody is left for it now.
  bool choose(ChaosFault& fault) {
    auto& busy = network_busy_[static_cast<std::size_t>(fault.kind)];
    switch (fault.kind) {
      case Fault::kill: return choose_nodes(fault, node_busy_, random_.chance(all_share));
      case Fault::freeze: return choose_nodes(fault, node_busy_, false);
      case Fault::clock:
        fault.step = draw_step(random_);
        return last(fault, clock_min) && choose_nodes(fault, clock_busy_, random_.chance(all_share));
      case Fault::disk_full:
        fault.killed = random_.chance(killed_share);
        return last(fault, disk_full_min) && choose_nodes(fault, node_busy_, false);
      case Fault::split:
      case Fault::one_way: fault.nodes = one_side(random_, nodes_); break;
      case Fault::bad_links: draw_links(random_, fault); break;
    }
    if (busy > fault.begin) return false;
    busy = fault.end;
    return true;
  }

  /// Makes it longer by so much, or as far as there is time. False: there is less than that.
  [[nodiscard]] bool last(ChaosFault& fault, milliseconds least) const {
    fault.end = std::min(fault.end + least, length_);
    return fault.end - fault.begin >= least;
  }
  /// False: none of them is free.
  bool choose_nodes(ChaosFault& fault, std::vector<milliseconds>& busy_until, bool all) {
    auto free = free_nodes(random_, busy_until, fault.begin);
    if (fault.kind == Fault::disk_full) std::erase_if(free, [](std::size_t node) { return !has_own_disk(node); });
    if (free.empty()) return false;
    if (!all) free.resize(1);
    std::ranges::sort(free);
    for (const auto node : free) busy_until[node] = fault.end;
    fault.nodes = std::move(free);
    return true;
  }

  Prng& random_;
  milliseconds length_;
  std::size_t nodes_;
  std::vector<Fault> kinds_;  ///< Of which one is drawn.
  std::vector<milliseconds> node_busy_;
  std::vector<milliseconds> clock_busy_;
  std::array<milliseconds, chaos_fault_kinds.size()> network_busy_{};
  std::vector<ChaosFault> faults_;
};

}  // namespace

std::string word_of(ChaosFault::Kind kind) {
  switch (kind) {
    case Fault::kill: return "kill";
    case Fault::freeze: return "freeze";
    case Fault::split: return "split";
    case Fault::one_way: return "one_way";
    case Fault::bad_links: return "bad_links";
    case Fault::clock: return "clock";
    case Fault::disk_full: return "disk_full";
  }
  return {};
}

std::optional<Fault> fault_kind_of(std::string_view word) {
  const auto* found = std::ranges::find(chaos_fault_kinds, word, [](Fault kind) { return word_of(kind); });
  if (found == chaos_fault_kinds.end()) return std::nullopt;
  return *found;
}

std::string to_text(const ChaosFault& fault) {
  std::string text = word_of(fault.kind);
  for (const auto node : fault.nodes) text += " n" + std::to_string(node);
  if (fault.kind == Fault::bad_links) {
    const auto percent = [](double part) { return std::to_string(static_cast<int>(part * 100)) + "%"; };
    text += " lost " + percent(fault.lost) + " repeated " + percent(fault.repeated) + " reordered " +
            percent(fault.held_back) + " delay " + std::to_string(fault.delay.count()) + "ms";
  }
  if (fault.kind == Fault::clock) text += " by " + std::to_string(fault.step.count()) + "ms";
  if (fault.killed) text += " then killed";
  return text + " for " + std::to_string((fault.end - fault.begin).count()) + "ms";
}

std::vector<ChaosFault> plan_chaos(Prng& random, std::size_t nodes, std::chrono::milliseconds length,
                                   std::span<const Fault> kinds) {
  return Plan(random, nodes, length, kinds).draw();
}

}  // namespace barrel_p2p::command
