// Nodes, time and events. Links are in links.cpp.
#include "sim/engine.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

Engine::Engine(NetworkModel model, std::uint64_t seed, Host& host)
    : model_(model), random_(seed), pair_seed_(Prng(seed ^ 0x70616972).next()), host_(host) {}

NodeIndex Engine::add_node() {
  nodes_.emplace_back();
  if (group_count_ > 0) groups_.push_back(0);
  return static_cast<NodeIndex>(nodes_.size() - 1);
}

void Engine::start(NodeIndex node) {
  assert(!nodes_[node].alive);
  nodes_[node].alive = true;
}

void Engine::crash(NodeIndex node) { end_process(node, false); }

void Engine::stop(NodeIndex node) { end_process(node, true); }

void Engine::end_process(NodeIndex node, bool tell) {
  Node& process = nodes_[node];
  if (!process.alive) return;
  tell = tell && !process.paused;
  process.alive = false;
  process.paused = false;
  ++process.incarnation;
  process.timer_at = process.timer_queued = SimTime::max();
  process.busy_until = now_;
  for (const Event& event : std::exchange(process.deferred, {})) drop(event);
  const std::vector<Place> links = process.links;
  for (const auto& [id, peer] : links) {
    const std::uint8_t end = end_of(links_[id], node);
    if (tell && links_[id].end[end].state == EndState::up) transmit(id, end, parcel_closing);
    vanish(id, end);
  }
}

void Engine::pause(NodeIndex node) {
  if (!nodes_[node].alive || nodes_[node].paused) return;
  nodes_[node].paused = true;
  const std::vector<Place> links = nodes_[node].links;
  for (const auto& [id, peer] : links) review(id);
}

void Engine::resume(NodeIndex node) {
  Node& process = nodes_[node];
  if (!process.paused) return;
  process.paused = false;
  process.busy_until = now_;
  for (Event event : std::exchange(process.deferred, {})) {
    // Silence while we did not listen proves nothing: the detector gives the time back.
    event.time = event.kind == EventKind::detect ? now_ + model_.dead_after : now_;
    queue_.push(event);
  }
  process.timer_queued = SimTime::max();
  if (process.timer_at != SimTime::max()) set_timer(node, std::max(now_, process.timer_at));
  const std::vector<Place> links = process.links;
  for (const auto& [id, peer] : links) review(id);
}

void Engine::set_processing(NodeIndex node, SimTime per_parcel) { nodes_[node].processing = per_parcel; }

void Engine::set_reachability(std::vector<std::uint16_t> groups, std::vector<bool> reach) {
  assert(groups.size() == nodes_.size());
  groups_ = std::move(groups);
  reach_ = std::move(reach);
  group_count_ = 0;
  while (group_count_ * group_count_ < reach_.size()) ++group_count_;
  assert(group_count_ * group_count_ == reach_.size());
  review_all();
}

void Engine::heal() {
  group_count_ = 0;
  groups_.clear();
  reach_.clear();
  review_all();
}

bool Engine::reaches(NodeIndex from, NodeIndex to) const {
  return group_count_ == 0 || reach_[groups_[from] * group_count_ + groups_[to]];
}

void Engine::set_timer(NodeIndex node, SimTime time) {
  Node& process = nodes_[node];
  process.timer_at = std::max(time, now_);
  if (process.timer_at >= process.timer_queued) return;
  process.timer_queued = process.timer_at;
  queue_.push({.time = process.timer_at,
               .sequence = 0,
               .subject = node,
               .generation = process.incarnation,
               .detail = 0,
               .kind = EventKind::timer,
               .end = 0});
}

void Engine::on_timer(const Event& event) {
  Node& process = nodes_[event.subject];
  process.timer_queued = SimTime::max();
  if (process.timer_at > now_) {
    if (process.timer_at != SimTime::max()) set_timer(event.subject, process.timer_at);
    return;
  }
  process.timer_at = SimTime::max();
  host_.timer(event.subject);
}

void Engine::call_at(SimTime time, std::function<void()> function) {
  if (free_calls_.empty()) {
    free_calls_.push_back(static_cast<std::uint32_t>(calls_.size()));
    calls_.emplace_back();
  }
  const std::uint32_t slot = free_calls_.back();
  free_calls_.pop_back();
  calls_[slot] = std::move(function);
  queue_.push({.time = std::max(time, now_),
               .sequence = 0,
               .subject = slot,
               .generation = 0,
               .detail = 0,
               .kind = EventKind::call,
               .end = 0});
}

void Engine::on_call(const Event& event) {
  const auto function = std::exchange(calls_[event.subject], nullptr);
  free_calls_.push_back(event.subject);
  function();
}

bool Engine::step(SimTime limit) {
  if (queue_.empty() || queue_.next_time() > limit) {
    now_ = std::max(now_, limit);
    return false;
  }
  const Event event = queue_.pop();
  now_ = event.time;
  ++events_;
  if (is_void(event)) {
    drop(event);
    return true;
  }
  const NodeIndex node = actor(event);
  if (node != none && nodes_[node].paused) {
    nodes_[node].deferred.push_back(event);
    return true;
  }
  note(static_cast<std::uint64_t>(event.time.count()));
  note((std::uint64_t{event.subject} << 16U) | (std::uint64_t{static_cast<std::uint8_t>(event.kind)} << 8U) |
       event.end);
  dispatch(event);
  return true;
}

void Engine::dispatch(const Event& event) {
  switch (event.kind) {
    case EventKind::deliver: return arrive(event);
    case EventKind::process: return hand_over(event);
    case EventKind::timer: return on_timer(event);
    case EventKind::handshake: return on_handshake(event);
    case EventKind::dial_failed: return fail_dial(event.subject, event.end);
    case EventKind::detect: return on_detect(event);
    case EventKind::disowned:
      if (is_disowned(links_[event.subject], event.end)) take_down(event.subject, event.end, false);
      return;
    case EventKind::idle: return on_idle(event);
    case EventKind::call: return on_call(event);
  }
}

bool Engine::is_void(const Event& event) const {
  switch (event.kind) {
    case EventKind::deliver:
    case EventKind::process:
    case EventKind::handshake:
    case EventKind::dial_failed:
    case EventKind::detect:
    case EventKind::disowned:
    case EventKind::idle: return links_[event.subject].generation != event.generation;
    case EventKind::timer:
      return nodes_[event.subject].incarnation != event.generation || nodes_[event.subject].timer_queued != event.time;
    case EventKind::call: return false;
  }
  return false;
}

NodeIndex Engine::actor(const Event& event) const {
  switch (event.kind) {
    case EventKind::deliver:
    case EventKind::process:
    case EventKind::handshake:
    case EventKind::dial_failed:
    case EventKind::detect:
    case EventKind::disowned: return links_[event.subject].end[event.end].node;
    case EventKind::timer: return event.subject;
    case EventKind::idle:
    case EventKind::call: return none;
  }
  return none;
}

void Engine::drop(const Event& event) {
  const bool carries = event.kind == EventKind::deliver || event.kind == EventKind::process;
  if (carries && event.detail < parcel_closing) host_.discard(event.detail);
}

void Engine::note(std::uint64_t what) noexcept { trace_ = Prng(trace_ ^ what).next(); }

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
