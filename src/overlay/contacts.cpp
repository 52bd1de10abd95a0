#include "overlay/contacts.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

namespace {
constexpr double jitter = 0.2;
}

Contacts::Contacts(ContactsConfig config, MonotonicTime now)
    : config_(std::move(config)),
      random_(config_.seed),
      pause_(config_.retry_min),
      unreached_pause_(config_.unreached_retry_min) {
  assert(config_.retry_min.count() > 0 && config_.retry_min <= config_.retry_max);
  assert(config_.unreached_retry_min.count() > 0 && config_.unreached_retry_min <= config_.unreached_retry_max);
  for (const auto& node : config_.remembered) add(node, false);
  for (const auto& node : config_.contacts) add(node, true);
  start_round();
  if (!contacts_.empty()) next_ = now;
}

void Contacts::add(const Atom& node, bool configured) {
  if (node == config_.own) return;
  if (Contact* const known = find(node)) {
    known->configured = known->configured || configured;
  } else {
    contacts_.push_back({node, configured});
  }
}

Contacts::Contact* Contacts::find(const Atom& node) noexcept {
  const auto found = std::ranges::find(contacts_, node, &Contact::node);
  return found == contacts_.end() ? nullptr : &*found;
}

bool Contacts::is_remembered(const Atom& node) const noexcept {
  return std::ranges::find(config_.remembered, node) != config_.remembered.end();
}

void Contacts::start_round() {
  std::vector<Atom> remembered;
  round_.clear();
  for (const auto& contact : contacts_) {
    (is_remembered(contact.node) ? remembered : round_).push_back(contact.node);
  }
  random_.shuffle(remembered);
  random_.shuffle(round_);
  round_.insert(round_.end(), remembered.begin(), remembered.end());
}

void Contacts::reached(const Atom& node) {
  if (Contact* const contact = find(node)) contact->reached = true;
}

void Contacts::failed(const Atom& node, MonotonicTime now) {
  if (trying_ != node) return;
  trying_.reset();
  if (next_ && !round_.empty()) next_ = std::min(*next_, now);
}

void Contacts::pause() {
  paused_ = true;
  // Those that it joins through next may be others, who left as well and know nobody.
  for (auto& contact : contacts_) contact.reached = false;
  trying_.reset();
  next_.reset();
}

void Contacts::resume(MonotonicTime now) {
  if (!paused_) return;
  paused_ = false;
  begin(now);
  if (next_) next_ = std::max(*next_, now + config_.stagger);
}

std::vector<Atom> Contacts::take(const std::vector<Atom>& configured) {
  std::vector<Atom> before;
  for (auto& contact : contacts_) {
    if (std::exchange(contact.configured, false)) before.push_back(contact.node);
  }
  for (const auto& node : configured) add(node, true);
  std::erase_if(contacts_, [&](const Contact& one) { return !one.configured && !is_remembered(one.node); });
  std::vector<Atom> fresh;
  for (const auto& contact : contacts_) {
    if (contact.configured && std::ranges::find(before, contact.node) == before.end()) fresh.push_back(contact.node);
  }
  return fresh;
}

void Contacts::replace(const std::vector<Atom>& configured, std::size_t neighbours, MonotonicTime now) {
  auto fresh = take(configured);
  if (paused_) return;  // a round begins when it resumes
  std::erase_if(
      round_, [&](const Atom& node) { return find(node) == nullptr || std::ranges::find(fresh, node) != fresh.end(); });
  if (trying_ && find(*trying_) == nullptr) trying_.reset();
  if (contacts_.empty()) next_.reset();
  if (fresh.empty()) return;
  random_.shuffle(fresh);
  round_.insert(round_.end(), fresh.begin(), fresh.end());
  unreached_pause_ = config_.unreached_retry_min;
  if (neighbours > 0) return in_company(now);
  alone_ = true;
  in_company_since_.reset();
  pause_ = config_.retry_min;
  next_ = tried_at_ ? std::max(now, *tried_at_ + config_.stagger) : now;
}

void Contacts::begin(MonotonicTime now) {
  if (contacts_.empty()) return;
  alone_ = true;
  in_company_since_.reset();
  pause_ = config_.retry_min;
  unreached_pause_ = config_.unreached_retry_min;
  start_round();
  next_ = tried_at_ ? std::max(now, *tried_at_ + config_.retry_min) : now;
}

void Contacts::alone(MonotonicTime now) {
  if (paused_ || contacts_.empty() || !in_company_since_) return;
  if (now - *in_company_since_ >= config_.retry_max) return begin(now);
  alone_ = true;
  in_company_since_.reset();
  next_ = std::max(now, try_at_);
}

std::vector<Atom> Contacts::tick(std::size_t neighbours, MonotonicTime now) {
  if (paused_ || contacts_.empty()) return {};
  if (neighbours == 0) {
    alone(now);
    if (*next_ > now) return {};
    return {try_next(now)};
  }
  if (alone_) in_company(now);
  if (!next_ || *next_ > now) return {};
  const auto node = random_unreached();
  if (!node) {
    next_.reset();
    return {};
  }
  plan_unreached(now);
  return {*node};
}

void Contacts::in_company(MonotonicTime now) {
  if (std::exchange(alone_, false)) {
    in_company_since_ = now;
    trying_.reset();
  }
  plan_unreached(now);
}

void Contacts::plan_unreached(MonotonicTime now) {
  next_ = now + random_.jitter(unreached_pause_, jitter);
  unreached_pause_ = std::min(unreached_pause_ * 2, config_.unreached_retry_max);
}

Atom Contacts::try_next(MonotonicTime now) {
  if (round_.empty()) start_round();
  trying_ = round_.back();
  round_.pop_back();
  tried_at_ = now;
  try_at_ = now + config_.stagger;
  if (round_.empty()) {
    try_at_ = now + std::max(config_.stagger, random_.jitter(pause_, jitter));
    pause_ = std::min(pause_ * 2, config_.retry_max);
  }
  next_ = try_at_;
  return *trying_;
}

std::optional<Atom> Contacts::random_unreached() {
  std::vector<Atom> unreached;
  for (const auto& contact : contacts_) {
    if (contact.configured && !contact.reached) unreached.push_back(contact.node);
  }
  if (unreached.empty()) return std::nullopt;
  return unreached[random_.below(unreached.size())];
}

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
