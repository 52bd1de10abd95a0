#include "overlay/hyparview.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {
namespace {

constexpr double spread = 0.1;  ///< Of periods: what was started together does not stay together.
constexpr std::size_t pending_max = 64;
/// Of these, so many that others spoke of, and so many of one of them: who invents nodes keeps us from nobody else.
constexpr std::size_t pending_of_others_max = 40;
constexpr std::size_t pending_of_one_max = 8;

/// Removes one element; the order of the rest is not kept.
template <class Item>
void take_out(std::vector<Item>& items, typename std::vector<Item>::iterator position) {
  if (position != items.end() - 1) *position = std::move(items.back());
  items.pop_back();
}

}  // namespace

std::string_view name(DownReason reason) noexcept {
  switch (reason) {
    case DownReason::nodedown: return "nodedown";
    case DownReason::graceful: return "graceful";
    case DownReason::dropped: return "dropped";
    case DownReason::blocked: return "blocked";
    case DownReason::left: return "left";
  }
  return "nodedown";
}

Milliseconds shuffle_period(Milliseconds base, std::uint64_t churn) noexcept {
  constexpr Milliseconds least{2000};
  constexpr Milliseconds most{30'000};
  constexpr std::uint64_t high_churn = 10;
  constexpr std::uint64_t some_churn = 5;
  if (churn > high_churn) return least;
  return std::clamp(churn > some_churn ? base / 2 : base, least, most);
}

Milliseconds dial_backoff(Milliseconds base, Milliseconds max, std::uint32_t fail_count) noexcept {
  constexpr std::uint32_t doublings_max = 20;
  return std::min(base * (1U << std::min(fail_count, doublings_max)), max);
}

HyParView::HyParView(HyParViewConfig config, MonotonicTime now, IsSpare is_spare)
    : config_(std::move(config)),
      is_spare_(std::move(is_spare)),
      random_(config_.seed),
      reserve_(config_.reserve_size),
      churn_start_(now),
      next_shuffle_(now + random_.jitter(config_.shuffle_period, spread)),
      next_cleanup_(now + random_.jitter(config_.cleanup_period, spread)),
      next_promotion_(now),
      next_seek_(now + config_.seek_period),
      seek_pause_(config_.seek_period),
      next_exchange_(now + random_.jitter(config_.exchange_period, retry_spread)),
      exchange_pause_(config_.exchange_period) {
  assert(config_.active_size >= 1 && config_.passive_size >= 1);
  assert(config_.prwl <= config_.arwl && config_.arwl <= ttl_max);
}

// What the program asks for.

Result<void> HyParView::join(const Atom& node, MonotonicTime now, HyParViewEffects& out) {
  if (node == config_.own) return fail(Errc::cannot_connect_self, "a node cannot join itself");
  if (std::exchange(left_, false)) {
    next_shuffle_ = now + random_.jitter(config_.shuffle_period, spread);
    next_cleanup_ = now + random_.jitter(config_.cleanup_period, spread);
    exchange_pause_ = config_.exchange_period;
    next_exchange_ = now + random_.jitter(exchange_pause_, retry_spread);
  }
  if (is_active(node) || is_blocked(node)) return {};
  pursue(node, Wish::join, now, out);
  return {};
}

void HyParView::leave(MonotonicTime now, HyParViewEffects& out) {
  while (!active_.empty()) {
    const Atom node = active_.back();
    if (is_native(node)) {
      send(node, Leave{config_.own, config_.arwl}, out);
    } else {
      send_away(node, out);
    }
    drop_active(node, DownReason::left, now, out);
  }
  passive_.clear();
  reserve_.clear();
  pending_.clear();
  lost_.clear();
  departed_.clear();
  left_ = true;
  was_member_ = false;
  ++version_;
  out.emplace_back(HyParViewLeft{});
}

void HyParView::learn(const Atom& node, MonotonicTime now) {
  add_passive(node, now, now);
  next_promotion_ = now;
}

void HyParView::block(const std::vector<Atom>& nodes, MonotonicTime now, HyParViewEffects& out) {
  blocked_ = nodes;
  for (const auto& node : nodes) {
    if (is_active(node)) drop_active(node, DownReason::blocked, now, out);
    forget_known(node);
    forget_pending(node);
    forget_lost(node);
  }
  promote(now, out);
}

// Channels.

void HyParView::link_up(const Atom& node, MonotonicTime now, HyParViewEffects& out, bool erlang) {
  links_[node] = Link{.since = now, .erlang = erlang};
  send(node, Hello{}, out);
  const Pending* pending = find_pending(node);
  // An exchange waits for the hello, which says that the node knows what it is.
  if (pending != nullptr && pending->wish != Wish::exchange) ask(node, now, out);
}

void HyParView::link_down(const Atom& node, MonotonicTime now, HyParViewEffects& out) {
  links_.erase(node);
  count_churn(now);
  if (is_active(node)) {
    drop_active(node, DownReason::nodedown, now, out);
    add_passive(node, now, now);
    remember_lost(node, now);
  }
  forget_pending(node);
  record_failure(node, now);
  promote(now, out);
}

void HyParView::connect_failed(const Atom& node, MonotonicTime now, HyParViewEffects& out) {
  count_churn(now);
  forget_pending(node);
  record_failure(node, now);
  promote(now, out);
}

// Questions.

void HyParView::pursue(const Atom& node, Wish wish, MonotonicTime now, HyParViewEffects& out) {
  pursue({.node = node, .wish = wish}, now, out);
}

void HyParView::pursue(Pending pending, MonotonicTime now, HyParViewEffects& out) {
  if (Pending* known = find_pending(pending.node)) {
    if (pending.wish == Wish::join && !known->asked) known->wish = pending.wish;
    return;
  }
  if (!may_pursue(pending.source)) return;
  const Atom node = pending.node;
  pending.deadline = now + config_.pending_timeout;
  pending_.push_back(std::move(pending));
  if (is_linked(node)) {
    ask(node, now, out);
  } else {
    out.emplace_back(HyParViewConnect{node});
  }
}

bool HyParView::may_pursue(const Atom& source) const noexcept {
  if (pending_.size() >= pending_max) return false;
  if (source == Atom()) return true;
  const auto of_one = std::ranges::count(pending_, source, &Pending::source);
  const auto of_nobody = std::ranges::count(pending_, Atom(), &Pending::source);
  const auto of_others = pending_.size() - static_cast<std::size_t>(of_nobody);
  return of_others < pending_of_others_max && static_cast<std::size_t>(of_one) < pending_of_one_max;
}

void HyParView::ask(const Atom& node, MonotonicTime now, HyParViewEffects& out) {
  Pending* pending = find_pending(node);
  assert(pending != nullptr);
  switch (pending->wish) {
    case Wish::join:
      forget_pending(node);
      send(node, Join{}, out);
      return add_active(node, Arrival::itself, now, out);
    case Wish::promote:
      // More nodes are dialled than are needed.
      if (room() == 0) return forget_pending(node);
      send(node, Neighbor{is_needy(node)}, out);
      break;
    case Wish::welcome: send(node, Neighbor{false}, out); break;
    case Wish::reunite: send(node, Neighbor{true}, out); break;
    case Wish::probe: return forget_pending(node);
    case Wish::exchange:
      if (!is_native(node) || !is_active(pending->instead)) return forget_pending(node);
      send(node, Exchange{pending->instead}, out);
      break;
  }
  pending->asked = true;
  pending->deadline = now + config_.answer_timeout;
}

/// Whether a node that has no room should make some. With two free places, and nobody found who has room too, taking
/// one end of a link leaves the other end with the room that we look for.
bool HyParView::is_needy(const Atom& node) const noexcept {
  if (active_.empty()) return true;
  return is_native(node) && room() > 1 && seek_pause_ >= 4 * config_.seek_period;
}

void HyParView::promote(MonotonicTime now, HyParViewEffects& out) {
  next_promotion_ = MonotonicTime::max();
  if (left_) return;
  // Some will not answer: dial twice as many as there are places, ask only as many as there are.
  const auto dialling = static_cast<std::size_t>(
      std::ranges::count_if(pending_, [](const Pending& pending) { return pending.wish == Wish::promote; }));
  const std::size_t taken = active_.size();
  const std::size_t wanted = taken < config_.active_size ? 2 * (config_.active_size - taken) : 0;
  std::size_t left = wanted > dialling ? wanted - dialling : 0;
  if (left == 0) return;
  std::vector<Atom> candidates;
  for (const auto& known : passive_) {
    if (find_pending(known.node) != nullptr) continue;
    if (known.not_before <= now) {
      candidates.push_back(known.node);
    } else {
      next_promotion_ = std::min(next_promotion_, known.not_before);
    }
  }
  while (candidates.size() < left) {
    auto node = call_up(now);
    if (!node) break;
    candidates.push_back(*std::move(node));
  }
  // One that may be called up now waits for a place in the passive view, which a failure gives it.
  const auto next = reserve_.next();
  if (candidates.size() < left && next > now) next_promotion_ = std::min(next_promotion_, next);
  for (; left > 0 && !candidates.empty() && room() > 0; --left) {
    const auto chosen = candidates.begin() + static_cast<std::ptrdiff_t>(random_.below(candidates.size()));
    pursue(*chosen, Wish::promote, now, out);
    take_out(candidates, chosen);
  }
}

HyParView::Pending* HyParView::find_pending(const Atom& node) noexcept {
  const auto found = std::ranges::find(pending_, node, &Pending::node);
  return found == pending_.end() ? nullptr : &*found;
}

void HyParView::forget_pending(const Atom& node) {
  const auto found = std::ranges::find(pending_, node, &Pending::node);
  if (found != pending_.end()) take_out(pending_, found);
}

// Views.

void HyParView::add_active(const Atom& node, Arrival arrival, MonotonicTime now, HyParViewEffects& out, bool spare) {
  if (is_active(node) || node == config_.own) return;
  make_room(now, out);
  active_.push_back(node);
  was_member_ = true;
  forget_known(node);
  forget_lost(node);
  forget_departed(node);
  ++version_;
  out.emplace_back(HyParViewUp{node, arrival, spare});
}

void HyParView::make_room(MonotonicTime now, HyParViewEffects& out) {
  while (active_.size() >= config_.active_size) {
    // An Erlang node may break when it is dropped (protocol document 03, 4.6): it is the last to go.
    auto victim = random_active(Among::native, config_.own);
    if (!victim) {
      if (active_.size() < 2 * config_.active_size) return;
      victim = random_active(Among::all, config_.own);
    }
    ++counters_.evictions;
    disarm(*victim, all_but(*victim), out);
    let_go(*victim, Disconnect{}, now, out);
  }
}

void HyParView::let_go(const Atom& node, const HyParViewMessage& word, MonotonicTime now, HyParViewEffects& out) {
  send(node, word, out);
  drop_active(node, DownReason::dropped, now, out);
  add_passive(node, now, now + random_.jitter(config_.refused_backoff, retry_spread));
}

void HyParView::drop_active(const Atom& node, DownReason reason, MonotonicTime now, HyParViewEffects& out) {
  out.emplace_back(HyParViewDown{node, reason});  // first: `node` may be an element of the view
  take_out(active_, std::ranges::find(active_, node));
  ++version_;
  seek_pause_ = config_.seek_period;
  next_seek_ = now + random_.jitter(seek_pause_, retry_spread);
}

void HyParView::add_passive(const Atom& node, MonotonicTime now, MonotonicTime not_before) {
  if (node == config_.own || left_ || is_active(node) || is_blocked(node) || has_departed(node, now)) return;
  if (Known* known = find_passive(node)) {
    known->seen = now;
    known->not_before = std::max(known->not_before, not_before);
    return;
  }
  if (passive_.size() >= config_.passive_size) {
    // What the other side of a shuffle has now need not be known here as well.
    auto victim = passive_.end();
    while (victim == passive_.end() && !sent_.empty()) {
      victim = std::ranges::find(passive_, sent_.back(), &Known::node);
      sent_.pop_back();
    }
    if (victim == passive_.end()) {
      victim = passive_.begin() + static_cast<std::ptrdiff_t>(random_.below(passive_.size()));
    }
    reserve_.add(*victim, random_);
    take_out(passive_, victim);
  }
  reserve_.erase(node);
  passive_.push_back({node, now, 0, not_before});
  ++version_;
}

std::optional<Atom> HyParView::call_up(MonotonicTime now) {
  auto place = passive_.end();
  if (passive_.size() >= config_.passive_size) {
    for (auto known = passive_.begin(); known != passive_.end(); ++known) {
      if (known->fail_count == 0 || find_pending(known->node) != nullptr) continue;
      if (place == passive_.end() || known->fail_count > place->fail_count) place = known;
    }
    if (place == passive_.end()) return std::nullopt;
  }
  const auto drawn = reserve_.draw(now, random_);
  if (!drawn) return std::nullopt;
  if (place == passive_.end()) {
    passive_.push_back(*drawn);
  } else {
    reserve_.add(*place, random_);
    *place = *drawn;
  }
  ++version_;
  return drawn->node;
}

void HyParView::forget_known(const Atom& node) {
  erase_passive(node);
  reserve_.erase(node);
}

void HyParView::erase_passive(const Atom& node) {
  const auto found = std::ranges::find(passive_, node, &Known::node);
  if (found == passive_.end()) return;
  take_out(passive_, found);
  ++version_;
}

HyParView::Known* HyParView::find_passive(const Atom& node) noexcept {
  const auto found = std::ranges::find(passive_, node, &Known::node);
  return found == passive_.end() ? nullptr : &*found;
}

void HyParView::merge(const std::vector<Atom>& sample, MonotonicTime now) {
  for (const auto& node : sample) add_passive(node, now, now);
  sent_.clear();
}

void HyParView::record_failure(const Atom& node, MonotonicTime now) {
  Known* known = find_passive(node);
  if (known == nullptr) return;
  // When nobody can be reached, the fault is here: nobody is forgotten for it.
  const bool blame = !active_.empty();
  if (known->fail_count + 1 < config_.fail_count_max || blame) ++known->fail_count;
  if (known->fail_count >= config_.fail_count_max) return erase_passive(node);
  const auto pause = dial_backoff(config_.backoff_base, config_.backoff_max, known->fail_count);
  known->not_before = now + random_.jitter(pause, retry_spread);
}

void HyParView::remember_lost(const Atom& node, MonotonicTime now) {
  forget_lost(node);
  if (lost_.size() >= config_.lost_max) take_out(lost_, std::ranges::min_element(lost_, {}, &Lost::since));
  lost_.push_back({node, now, config_.lost_retry, now + random_.jitter(config_.lost_retry, retry_spread)});
}

void HyParView::forget_lost(const Atom& node) {
  const auto found = std::ranges::find(lost_, node, &Lost::node);
  if (found != lost_.end()) take_out(lost_, found);
}

bool HyParView::remember_departed(const Atom& node, MonotonicTime now) {
  std::erase_if(departed_, [&](const Departed& departed) { return departed.until <= now; });
  // When all places are taken the word ends here: one that is not remembered could go round for ever.
  if (has_departed(node, now) || departed_.size() >= config_.departed_max) return false;
  departed_.push_back({node, now + config_.departed_age});
  ++counters_.departures;
  return true;
}

bool HyParView::has_departed(const Atom& node, MonotonicTime now) const noexcept {
  const auto found = std::ranges::find(departed_, node, &Departed::node);
  return found != departed_.end() && now < found->until;
}

void HyParView::forget_departed(const Atom& node) {
  std::erase_if(departed_, [&](const Departed& departed) { return departed.node == node; });
}

std::vector<Atom> HyParView::sample(std::size_t length, const Atom& receiver) {
  std::vector<Atom> all = all_but(receiver);
  length = std::min(length, all.size() + 1);
  if (length == 0) return {};
  // The first length - 1 of a random order.
  for (std::size_t place = 0; place + 1 < length; ++place) {
    std::swap(all[place], all[place + random_.below(all.size() - place)]);
  }
  all.resize(length - 1);
  all.push_back(config_.own);
  return all;
}

std::size_t HyParView::room(const Atom* apart) const noexcept {
  std::size_t taken = active_.size();
  for (const auto& pending : pending_) {
    const bool promised = pending.asked && pending.wish != Wish::exchange;
    if (promised && (apart == nullptr || pending.node != *apart)) ++taken;
  }
  return taken < config_.active_size ? config_.active_size - taken : 0;
}

std::optional<Atom> HyParView::random_active(Among among, const Atom& except, const Atom* except_too) {
  std::optional<Atom> chosen;
  std::size_t seen = 0;
  for (const auto& node : active_) {
    if (node == except || (except_too != nullptr && node == *except_too)) continue;
    if (among != Among::all && !is_native(node)) continue;
    if (among == Among::spare && !is_spare(node)) continue;
    if (random_.below(++seen) == 0) chosen = node;
  }
  return chosen;
}

// Timers.

void HyParView::tick(MonotonicTime now, HyParViewEffects& out) {
  if (left_) return;
  expire_pending(now, out);
  retry_lost(now, out);
  if (now >= next_shuffle_) shuffle(now, out);
  if (now >= next_cleanup_) clean_up(now, out);
  if (now >= next_promotion_) promote(now, out);
  if (now >= next_seek_) seek(now, out);
  if (now >= next_exchange_) mix(now, out);
}

MonotonicTime HyParView::deadline() const noexcept {
  if (left_) return MonotonicTime::max();
  MonotonicTime next = std::min({next_shuffle_, next_cleanup_, next_exchange_});
  for (const auto& pending : pending_) next = std::min(next, pending.deadline);
  for (const auto& lost : lost_) next = std::min(next, lost.retry);
  if (active_.size() < config_.active_size) {
    next = std::min(next, next_promotion_);
    if (!active_.empty()) next = std::min(next, next_seek_);
  }
  return next;
}

void HyParView::shuffle(MonotonicTime now, HyParViewEffects& out) {
  if (now - churn_start_ > config_.churn_window) {
    churn_ = 0;
    churn_start_ = now;
  }
  next_shuffle_ = now + random_.jitter(shuffle_period(config_.shuffle_period, churn_), spread);
  const auto target = random_active(Among::all, config_.own);
  if (!target) return;
  ++counters_.shuffles;
  sent_ = sample(config_.shuffle_length, *target);
  send(*target, Shuffle{config_.prwl, sent_}, out);
}

void HyParView::seek(MonotonicTime now, HyParViewEffects& out) {
  seek_pause_ = std::min(2 * seek_pause_, config_.seek_period_max);
  next_seek_ = now + random_.jitter(seek_pause_, retry_spread);
  if (room() == 0) return;
  if (const auto next = random_active(Among::native, config_.own)) send(*next, Seek{config_.own, config_.arwl}, out);
}

std::optional<Atom> HyParView::random_exchangeable(const Atom& except, const Atom* except_too) {
  const auto spare = random_active(Among::spare, except, except_too);
  return spare || !is_young() ? spare : random_active(Among::native, except, except_too);
}

bool HyParView::is_young() const noexcept {
  constexpr int young_rounds = 4;
  return exchange_pause_ <= young_rounds * config_.exchange_period;
}

void HyParView::mix(MonotonicTime now, HyParViewEffects& out) {
  // While young, among all that the passive view knows: nodes that joined together may only know each other. Later at
  // the end of a walk, which is anywhere: the passive view has more of those that are near.
  constexpr std::uint32_t walk_length = 9;
  const bool young = is_young();
  exchange_pause_ = std::min(2 * exchange_pause_, config_.exchange_period_max);
  next_exchange_ = now + random_.jitter(exchange_pause_, retry_spread);
  if (active_.size() != config_.active_size) return;
  if (!young) {
    const auto next = random_active(Among::native, config_.own);
    if (next) send(*next, Wander{config_.own, walk_length}, out);
    return;
  }
  std::vector<Atom> candidates;
  for (const auto& known : passive_) {
    if (known.not_before <= now && find_pending(known.node) == nullptr) candidates.push_back(known.node);
  }
  if (!candidates.empty()) offer_exchange(candidates[random_.below(candidates.size())], {}, now, out);
}

void HyParView::offer_exchange(const Atom& node, const Atom& source, MonotonicTime now, HyParViewEffects& out) {
  if (active_.size() != config_.active_size || is_active(node) || is_blocked(node)) return;
  const auto instead = random_exchangeable(node);
  if (instead) pursue({.node = node, .wish = Wish::exchange, .instead = *instead, .source = source}, now, out);
}

void HyParView::retry_lost(MonotonicTime now, HyParViewEffects& out) {
  std::erase_if(lost_, [&](const Lost& lost) { return now - lost.since > config_.lost_age_max; });
  std::vector<Atom> due;
  for (auto& lost : lost_) {
    if (lost.retry > now) continue;
    lost.pause = std::min(2 * lost.pause, config_.lost_retry_max);
    lost.retry = now + random_.jitter(lost.pause, retry_spread);
    due.push_back(lost.node);
  }
  for (const auto& node : due) pursue(node, Wish::reunite, now, out);
}

void HyParView::expire_pending(MonotonicTime now, HyParViewEffects& out) {
  std::vector<Atom> expired;
  for (const auto& pending : pending_) {
    if (pending.deadline <= now) expired.push_back(pending.node);
  }
  if (expired.empty()) return;
  for (const auto& node : expired) {
    ++counters_.timeouts;
    forget_pending(node);
    if (Known* known = is_linked(node) ? find_passive(node) : nullptr) {
      known->not_before = now + config_.refused_backoff;
    } else {
      record_failure(node, now);
    }
  }
  promote(now, out);
}

void HyParView::clean_up(MonotonicTime now, HyParViewEffects& out) {
  next_cleanup_ = now + random_.jitter(config_.cleanup_period, spread);
  if (active_.empty()) return;
  const auto forgotten =
      std::erase_if(passive_, [&](const Known& known) { return now - known.seen > config_.passive_age_max; });
  if (forgotten > 0) ++version_;
  reserve_.forget_seen_before(now - config_.reserve_age_max);
  // One of the others is dialled: a dead one is found out, and one that lost everybody finds us.
  std::vector<Atom> candidates;
  for (const auto& known : passive_) {
    if (known.not_before <= now && !is_linked(known.node)) candidates.push_back(known.node);
  }
  if (!candidates.empty()) pursue(candidates[random_.below(candidates.size())], Wish::probe, now, out);
}

void HyParView::count_churn(MonotonicTime now) {
  if (now - churn_start_ > config_.churn_window) {
    churn_ = 0;
    churn_start_ = now;
  }
  ++churn_;
}

// Small things.

void HyParView::send(const Atom& to, HyParViewMessage message, HyParViewEffects& out) {
  out.emplace_back(HyParViewSend{to, std::move(message)});
}

bool HyParView::is_active(const Atom& node) const noexcept { return std::ranges::find(active_, node) != active_.end(); }

bool HyParView::is_blocked(const Atom& node) const noexcept {
  return std::ranges::find(blocked_, node) != blocked_.end();
}

bool HyParView::is_native(const Atom& node) const noexcept {
  const auto found = links_.find(node);
  return found != links_.end() && found->second.native;
}

std::vector<Atom> HyParView::active_view() const { return active_; }

std::vector<Atom> HyParView::passive_view() const {
  std::vector<Atom> nodes;
  nodes.reserve(passive_.size());
  for (const auto& known : passive_) nodes.push_back(known.node);
  return nodes;
}

std::vector<Atom> HyParView::pending() const {
  std::vector<Atom> nodes;
  nodes.reserve(pending_.size());
  for (const auto& pending : pending_) nodes.push_back(pending.node);
  return nodes;
}

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
