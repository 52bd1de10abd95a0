#include "node/name_waiters.hpp"

#include <string>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

void NameWaiters::add(Waiter waiter) {
  if (waiters_.size() >= count_max) {
    return waiter.answer.give(fail(Errc::limit_exceeded, std::to_string(count_max) + " calls wait for services"));
  }
  const Id id = ++last_;
  due_.emplace(waiter.until, id);
  of_name_[waiter.name.term()].insert(id);
  waiters_.emplace(id, std::move(waiter));
}

void NameWaiters::serve(const Term& name, const Find& find) {
  const auto of_name = of_name_.find(name);
  if (of_name == of_name_.end()) return;
  const std::set<Id> ids = of_name->second;
  for (const Id id : ids) {
    const Waiter& waiter = waiters_.at(id);
    auto found = find(waiter.name, waiter.options);
    if (found) take(id).answer.give(std::move(*found));
  }
}

void NameWaiters::expire(MonotonicTime now) {
  while (deadline() <= now) {
    Waiter late = take(due_.begin()->second);
    late.answer.give(fail(Errc::timeout, "no service " + to_text(late.name.term()) + " appeared in time"));
  }
}

void NameWaiters::clear() {
  due_.clear();
  of_name_.clear();
  waiters_.clear();
}

NameWaiters::Waiter NameWaiters::take(Id id) {
  auto node = waiters_.extract(id);
  Waiter waiter = std::move(node.mapped());
  due_.erase({waiter.until, id});
  const auto of_name = of_name_.find(waiter.name.term());
  of_name->second.erase(id);
  if (of_name->second.empty()) of_name_.erase(of_name);
  return waiter;
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
