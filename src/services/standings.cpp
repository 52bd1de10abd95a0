#include "services/standings.hpp"

#include <algorithm>
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
  settle(node, found->second, now);
}

void Standings::remove(const Atom& node) {
  const auto found = lives_.find(node);
  if (found == lives_.end()) return;
  unplan(node, found->second);
  lives_.erase(found);
}

void Standings::unplan(const Atom& node, Life& life) {
  const auto due = std::exchange(life.due, MonotonicTime::max());
  if (due == MonotonicTime::max()) return;
  unsettled_.erase({due, node});
  gone_.erase({due, node});
}

void Standings::settle(const Atom& node, Life& life, MonotonicTime now) {
  const bool gone = life.standing == Standing::gone;
  unplan(node, life);
  life.due = gone ? forget_at(node, life, now) : life.until;
  if (life.due != MonotonicTime::max()) (gone ? gone_ : unsettled_).emplace(life.due, node);
}

/// Of a node that is gone, if nothing more is heard of it.
MonotonicTime Standings::forget_at(const Atom& node, const Life& life, MonotonicTime now) const {
  const auto silent = members_.silent_for(node, now);
  return (silent ? now - *silent : life.hidden_since) + config_.forget_after;
}

Standings::Change Standings::set(const Atom& node, Life& life, Standing standing, MonotonicTime until,
                                 MonotonicTime now) {
  const Change change{std::exchange(life.standing, standing), standing};
  life.until = until;
  if (!change.is_none() && change.before == Standing::alive) life.hidden_since = now;
  settle(node, life, now);
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

std::optional<MonotonicTime> Standings::next_due() const noexcept {
  auto next = MonotonicTime::max();
  if (!unsettled_.empty()) next = unsettled_.begin()->first;
  if (!gone_.empty()) next = std::min(next, gone_.begin()->first);
  return next == MonotonicTime::max() ? std::nullopt : std::optional(next);
}

std::vector<Atom> Standings::unsettled(MonotonicTime now) const {
  std::vector<Atom> nodes;
  for (const auto& [due, node] : unsettled_) {
    if (due > now) break;
    nodes.push_back(node);
  }
  std::ranges::sort(nodes);
  return nodes;
}

std::optional<Atom> Standings::longest_gone() const {
  return gone_.empty() ? std::nullopt : std::optional(gone_.begin()->second);
}

std::vector<Atom> Standings::forgotten(MonotonicTime now) {
  std::vector<Atom> nodes;
  for (const auto& [due, node] : gone_) {
    if (due >= now) break;
    nodes.push_back(node);
  }
  // Some may have been heard of meanwhile.
  std::erase_if(nodes, [&](const Atom& node) {
    Life& life = lives_.at(node);
    settle(node, life, now);
    return life.due >= now;
  });
  std::ranges::sort(nodes);
  return nodes;
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
