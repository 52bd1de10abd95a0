// The placement, as the program sees it.
#include <utility>

#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

/// As Erlang processes get it.
Term message_of(const ShardEvent& event) {
  const bool acquired = event.kind == ShardEvent::Kind::acquired;
  return Term::tuple(
      {Atom("barrel_p2p_shard"), Term::tuple({Atom(acquired ? "acquired" : "released"), event.partition})});
}

}  // namespace

void ServicesRunner::placement_issues(Answer<PlacementIssues>::Function done) {
  auto answer = std::make_shared<Answer<PlacementIssues>>(std::move(done));
  call(0, answer, [this, answer] { answer->give(machine_.placement().issues()); });
}

Subscription ServicesRunner::subscribe_shard(std::function<void(const ShardEvent&)> callback) {
  auto [subscription, entry] = shard_events_.prepare(std::move(callback));
  wake(queue_.push(Call([this, subscriber = std::move(entry)] {
    std::vector<ShardEvent> now;
    for (const auto partition : machine_.placement().owned()) {
      now.push_back({ShardEvent::Kind::acquired, partition});
    }
    shard_events_.begin(subscriber, now);
  })));
  return std::move(subscription);
}

void ServicesRunner::carry_out(services::PlacementChanged& /*effect*/) { placement_.publish(machine_.placement()); }

void ServicesRunner::carry_out(services::ShardHappened& effect) {
  shard_events_.tell(effect.event);
  shard_pids_.tell(message_of(effect.event));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
