#include "node/pid_subscribers.hpp"

#include <algorithm>
#include <cstdint>
#include <ranges>
#include <string>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

bool SubscriptionBudget::take(const Atom& node) {
  const std::lock_guard lock(mutex_);
  if (all_ >= all_max) return false;
  std::size_t& count = of_[node];
  if (count >= per_node_max) return false;
  ++count;
  ++all_;
  return true;
}

void SubscriptionBudget::give_back(const Atom& node) {
  const std::lock_guard lock(mutex_);
  const auto found = of_.find(node);
  if (found == of_.end()) return;
  --all_;
  if (--found->second == 0) of_.erase(found);
}

PidSubscribers::List::~List() {
  while (!subscribers.empty()) erase(subscribers.begin());
}

void PidSubscribers::List::erase(Place place) {
  if (place->second.counted) budget->give_back(place->first.node);
  subscribers.erase(place);
  told.reset();
  if (subscribers.empty()) system.exit(std::exchange(watcher, Pid()), Atom("kill"));
}

void PidSubscribers::insert(const Pid& pid, bool counted) {
  if (list_->subscribers.empty()) {
    const auto ended = [list = std::weak_ptr<List>(list_)](const Ref& watch, const Pid& gone, const Term& /*reason*/) {
      const auto all = list.lock();
      if (!all) return;
      const std::lock_guard lock(all->mutex);
      const auto found = all->subscribers.find(gone);
      if (found != all->subscribers.end() && found->second.watch == watch) all->erase(found);
    };
    list_->watcher = system_.spawn_watcher(ended);
  }
  list_->told.reset();
  list_->subscribers.emplace(pid, Subscriber{system_.watch(list_->watcher, pid), counted});
}

void PidSubscribers::add(const Pid& pid) {
  const std::lock_guard lock(list_->mutex);
  if (!list_->subscribers.contains(pid)) insert(pid, false);
}

Result<void> PidSubscribers::add_for_peer(const Pid& pid) {
  const std::lock_guard lock(list_->mutex);
  if (list_->subscribers.contains(pid)) return {};
  if (!list_->budget->take(pid.node)) {
    return fail(Errc::limit_exceeded, "other nodes may subscribe " + std::to_string(SubscriptionBudget::per_node_max) +
                                          " processes of a node here, and " +
                                          std::to_string(SubscriptionBudget::all_max) + " of all nodes");
  }
  insert(pid, true);
  return {};
}

void PidSubscribers::remove(const Pid& pid) {
  const std::lock_guard lock(list_->mutex);
  const auto found = list_->subscribers.find(pid);
  if (found == list_->subscribers.end()) return;
  system_.unwatch(list_->watcher, found->second.watch);
  list_->erase(found);
}

bool PidSubscribers::empty() const {
  const std::lock_guard lock(list_->mutex);
  return list_->subscribers.empty();
}

void PidSubscribers::tell(const Term& message) {
  std::shared_ptr<const std::vector<Pid>> pids;
  {
    const std::lock_guard lock(list_->mutex);
    if (!list_->told) {
      const auto keys = std::views::keys(list_->subscribers);
      list_->told = std::make_shared<const std::vector<Pid>>(keys.begin(), keys.end());
    }
    pids = list_->told;
  }
  for (auto pid = pids->begin(); pid != pids->end();) {
    if (system_.send(*pid, message)) {
      ++pid;
      continue;
    }
    // The system counted this one. To try each of a thousand costs as much as to send to them.
    const auto next = std::ranges::upper_bound(pid, pids->end(), pid->node, {}, &Pid::node);
    system_.mutable_counters().dropped_by_channel += static_cast<std::uint64_t>(next - pid - 1);
    pid = next;
  }
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
