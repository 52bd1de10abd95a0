// One node with leases and its clocks, driven by hand.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "services/members.hpp"
#include "services/names.hpp"

namespace barrel_p2p::services::test {

class Leaseholder {
 public:
  explicit Leaseholder(const std::string& name) : own(name) {
    MembersConfig config;
    config.own = own;
    members.emplace(config, clock, now);
  }
  virtual ~Leaseholder() = default;
  Leaseholder(const Leaseholder&) = delete;
  Leaseholder& operator=(const Leaseholder&) = delete;

  virtual void after_input() {}

  /// Time in which it does its work.
  void pass(Milliseconds time) {
    const auto end = now.monotonic + time;
    for (int steps = 0; members->deadline() <= end && steps < 100'000; ++steps) {
      sleep(std::chrono::ceil<Milliseconds>(std::max(members->deadline(), now.monotonic) - now.monotonic));
      tick();
    }
    sleep(std::chrono::ceil<Milliseconds>(end - now.monotonic));
    tick();
  }
  /// Time in which it does not run.
  void sleep(Milliseconds time) {
    now.monotonic += time;
    now.wall += time.count();
  }
  void tick() {
    members->tick(now, effects);
    after_input();
  }
  /// A beat as it comes from a node.
  void hear(const std::string& node, WallMilliseconds emit) {
    const auto entry =
        replication::Entry::value(Term::tuple({Atom("alive"), emit}), {{emit < 0 ? 0 : emit, 0}, Atom(node)});
    deliver(node, Atom("delta"), Term::map({{Atom(node), replication::to_term(entry)}}));
  }
  void goodbye(const std::string& node) { deliver(node, Atom("custom"), Term::tuple({Atom("goodbye"), now.wall})); }
  void snapshot(const std::string& from, const std::vector<std::pair<std::string, WallMilliseconds>>& leases) {
    std::vector<TermPair> pairs;
    for (const auto& [node, emit] : leases) pairs.emplace_back(Atom(node), emit);
    const Term sync = Term::tuple({Atom("full_sync"), Atom(from), Term::map(std::move(pairs))});
    members->receive(Atom(from), Term::tuple({Atom("$barrel_p2p_replica"), sync}), now, effects);
    after_input();
  }
  void leave() {
    members->leave(now, effects);
    after_input();
  }

  [[nodiscard]] std::string list() const {
    std::string text;
    for (const auto& node : members->members()) text += (text.empty() ? "" : " ") + node.string();
    return text;
  }

  const Atom own;
  replication::HybridClock clock;
  Now now{MonotonicTime{} + std::chrono::hours(1), 1'764'000'000'000};
  std::optional<Members> members;
  Effects effects;

 private:
  void deliver(const std::string& node, const Atom& kind, const Term& content) {
    members->deliver(Term::tuple({kind, Atom(node), content}), now, effects);
    after_input();
  }
};

}  // namespace barrel_p2p::services::test
