#include "services/standings.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace services {

bool Standings::has_lease(const Atom& node) const noexcept { return node == config_.own || members_.is_alive(node); }

bool Standings::was_heard_of(const Atom& node, MonotonicTime now) const noexcept {
  return members_.is_alive(node) || members_.silent_for(node, now).has_value();
}

Standings::Life Standings::begin(const Atom& node, const Atom& speaker, MonotonicTime now) const {
  Life life;
  life.hidden_since = now;
  if (has_lease(node)) return life;
  if (was_heard_of(node, now)) {
    life.standing = Standing::gone;
  } else if (node == speaker) {
    life.until = now + config_.vouch_for;
  } else {
    life.standing = Standing::expected;
    life.until = now + config_.expect_for;
  }
  return life;
}

void Standings::add(const Atom& node, const Atom& speaker, MonotonicTime now) {
  const auto [found, added] = lives_.try_emplace(node);
  if (!added) return;
  found->second = begin(node, speaker, now);
  settle(node, found->second);
}

void Standings::remove(const Atom& node) {
  lives_.erase(node);
  unsettled_.erase(node);
}

void Standings::settle(const Atom& node, const Life& life) {
  if (life.standing == Standing::alive && life.until == MonotonicTime::max()) {
    unsettled_.erase(node);
  } else {
    unsettled_.insert(node);
  }
}

Standings::Change Standings::set(const Atom& node, Life& life, Standing standing, MonotonicTime until,
                                 MonotonicTime now) {
  const Change change{std::exchange(life.standing, standing), standing};
  life.until = until;
  settle(node, life);
  if (!change.is_none() && change.before == Standing::alive) life.hidden_since = now;
  return change;
}

Standings::Change Standings::vouch(const Atom& node, MonotonicTime now) {
  const auto found = lives_.find(node);
  if (node == config_.own || found == lives_.end() || was_heard_of(node, now)) return {};
  return set(node, found->second, Standing::alive, now + config_.vouch_for, now);
}

Standings::Change Standings::judge(const Atom& node, MonotonicTime now) {
  const auto found = lives_.find(node);
  if (found == lives_.end()) return {};
  Life& life = found->second;
  if (has_lease(node)) return set(node, life, Standing::alive, MonotonicTime::max(), now);
  const bool waits = life.until != MonotonicTime::max() && life.until > now && !was_heard_of(node, now);
  if (waits) return {life.standing, life.standing};
  return set(node, life, Standing::gone, MonotonicTime::max(), now);
}

bool Standings::counts(const Atom& node) const {
  const auto found = lives_.find(node);
  return found != lives_.end() && found->second.standing == Standing::alive;
}

bool Standings::is_offered(const Atom& node, const Atom& speaker, MonotonicTime now) const {
  const auto found = lives_.find(node);
  return (found != lives_.end() ? found->second : begin(node, speaker, now)).standing != Standing::gone;
}

bool Standings::is_forgotten(const Atom& node, MonotonicTime now) const {
  const auto silent = members_.is_alive(node) ? std::nullopt : members_.silent_for(node, now);
  return silent && *silent > config_.forget_after;
}

bool Standings::is_vouched_for(const Atom& node) const {
  const auto found = lives_.find(node);
  return found != lives_.end() && found->second.standing == Standing::alive &&
         found->second.until != MonotonicTime::max();
}

std::vector<Atom> Standings::unsettled() const {
  std::vector<Atom> nodes(unsettled_.begin(), unsettled_.end());
  std::ranges::sort(nodes);
  return nodes;
}

std::vector<Atom> Standings::forgotten(MonotonicTime now) const {
  std::vector<Atom> nodes;
  for (const auto& node : unsettled_) {
    const Life& life = lives_.at(node);
    if (life.standing != Standing::gone) continue;
    const auto here = std::chrono::duration_cast<Milliseconds>(now - life.hidden_since);
    if (members_.silent_for(node, now).value_or(here) > config_.forget_after) nodes.push_back(node);
  }
  std::ranges::sort(nodes);
  return nodes;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
