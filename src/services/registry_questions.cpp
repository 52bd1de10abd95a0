#include "services/registry_questions.hpp"

#include <algorithm>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

/// From the channel to the question: as long as the replica waits for a hello.
constexpr Milliseconds ask_delay{100};
/// Between two questions to one node, which sends all that it has registered; and until a question counts as lost.
constexpr Milliseconds ask_pause{5000};
/// Questions without an answer, after which a neighbour is left in peace until somebody tells of it again.
constexpr std::uint32_t unanswered_max = 3;

}  // namespace

RegistryQuestions::Neighbour* RegistryQuestions::find(const Atom& node) noexcept {
  const auto found = std::ranges::find(neighbours_, node, &Neighbour::node);
  return found == neighbours_.end() ? nullptr : &*found;
}

void RegistryQuestions::neighbour_up(const Atom& node, MonotonicTime now) {
  neighbour_down(node);
  neighbours_.push_back({.node = node, .ask_at = now + ask_delay});
}

void RegistryQuestions::neighbour_down(const Atom& node) {
  std::erase_if(neighbours_, [&](const Neighbour& neighbour) { return neighbour.node == node; });
}

void RegistryQuestions::set_native(const Atom& node) {
  Neighbour* const neighbour = find(node);
  if (neighbour == nullptr) return;
  *neighbour = {.node = node, .native = true};
}

void RegistryQuestions::doubt(const Atom& node, MonotonicTime now) {
  Neighbour* const neighbour = find(node);
  if (neighbour == nullptr || neighbour->native) return;
  neighbour->unanswered = 0;
  neighbour->ask_at = std::min(neighbour->ask_at, std::max(neighbour->not_before, now + ask_delay));
}

std::vector<Atom> RegistryQuestions::take_due(MonotonicTime now) {
  std::vector<Atom> due;
  for (auto& neighbour : neighbours_) {
    if (neighbour.ask_at > now) continue;
    neighbour.ask_at = MonotonicTime::max();
    neighbour.reference.reset();
    neighbour.known.clear();
    due.push_back(neighbour.node);
  }
  return due;
}

MonotonicTime RegistryQuestions::deadline() const noexcept {
  MonotonicTime next = MonotonicTime::max();
  for (const auto& neighbour : neighbours_) next = std::min(next, neighbour.ask_at);
  return next;
}

void RegistryQuestions::asked(const Atom& node, Ref reference, Known known, MonotonicTime now) {
  Neighbour* const neighbour = find(node);
  if (neighbour == nullptr) return;
  neighbour->reference = std::move(reference);
  neighbour->known = std::move(known);
  neighbour->not_before = now + ask_pause;
  if (++neighbour->unanswered < unanswered_max) neighbour->ask_at = neighbour->not_before;
}

std::optional<RegistryQuestions::Known> RegistryQuestions::answered(const Atom& node, const Ref& reference) {
  Neighbour* const neighbour = find(node);
  if (neighbour == nullptr || neighbour->reference != reference) return std::nullopt;
  neighbour->reference.reset();
  neighbour->unanswered = 0;
  neighbour->ask_at = MonotonicTime::max();
  return std::exchange(neighbour->known, {});
}

std::vector<Atom> RegistryQuestions::natives() const {
  std::vector<Atom> nodes;
  for (const auto& neighbour : neighbours_) {
    if (neighbour.native) nodes.push_back(neighbour.node);
  }
  return nodes;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
