// Leader election.
#include <utility>

#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

void ServicesRunner::lead(Term name, Pid pid, LeadOptions options, Answer<Role>::Function done) {
  auto answer = std::make_shared<Answer<Role>>(std::move(done));
  const std::size_t bytes = encoded_size(name, false) + encoded_size(options.priority, false);
  call(bytes, answer, [this, answer, name = std::move(name), pid = std::move(pid), options = std::move(options)] {
    auto role = machine_.leader().lead(name, pid, options, now(), effects_);
    settle();  // so that it can be read
    answer->give(std::move(role));
  });
}

void ServicesRunner::set_priority(Term name, Pid pid, Term priority, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(name, false) + encoded_size(priority, false);
  call(bytes, answer, [this, answer, name = std::move(name), pid = std::move(pid), priority = std::move(priority)] {
    auto set = machine_.leader().set_priority(name, pid, priority, now(), effects_);
    settle();
    answer->give(std::move(set));
  });
}

void ServicesRunner::resign(Term name, std::optional<Pid> pid, Answer<bool>::Function done) {
  auto answer = std::make_shared<Answer<bool>>(std::move(done));
  wake(queue_.push(Call([this, answer, name = std::move(name), pid = std::move(pid)] {
    const bool resigned = machine_.leader().resign(name, pid, now(), effects_);
    settle();
    answer->give(resigned);
  })));
}

// What is read.

std::optional<services::Contest::Winner> ServicesRunner::leader(const Term& name) const {
  const MonotonicTime held_until{MonotonicTime::duration(leads_until_.load(std::memory_order_acquire))};
  const auto view = leaders_.get(name);
  if (!view || !view->winner) return std::nullopt;
  const bool here = view->winner->node == config_.services.own;
  if (here && !view->holds(monotonic_now(), held_until)) return std::nullopt;
  return view->winner;
}

std::optional<services::Contest::Reign> ServicesRunner::reign(const Term& name) const {
  const MonotonicTime held_until{MonotonicTime::duration(leads_until_.load(std::memory_order_acquire))};
  const auto view = leaders_.get(name);
  return view && view->holds(monotonic_now(), held_until) ? view->reign : std::nullopt;
}

std::optional<Fence> ServicesRunner::term_of(const Term& name, const Pid& pid) const {
  const auto view = leaders_.get(name);
  if (!view || !view->reign || view->reign->pid != pid) return std::nullopt;
  return services::fence_of(view->reign->stamp);
}

// What the machine wants.

void ServicesRunner::carry_out(services::LeaderChanged& effect) {
  auto view = machine_.leader().view(effect.name);
  if (view.winner || view.reign) {
    leaders_.set(effect.name, std::move(view));
  } else {
    leaders_.erase(effect.name);
  }
}

void ServicesRunner::carry_out(services::LeaderHappened& effect) {
  if (!system_.send(effect.candidate, services::to_message(effect.event))) return;  // the system counted it
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
