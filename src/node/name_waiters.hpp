// Who waits for a service to appear. Neither the change of a name nor a look at the time costs more the more there are
// who wait for other names. One thread at a time.
#pragma once

#include <barrel_p2p/services.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/clock.hpp"
#include "node/answer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

class NameWaiters {
 public:
  /// About 400 bytes each.
  static constexpr std::size_t count_max = 100'000;

  struct Waiter {
    ServiceName name;
    WhereisOptions options;
    MonotonicTime until;
    Answer<ServiceLocation> answer;
  };
  using Find = std::function<std::optional<ServiceLocation>(const ServiceName& name, const WhereisOptions& options)>;

  /// One too many is answered with `limit_exceeded`.
  void add(Waiter waiter);
  /// There is news of the name: answers those for whom there is something now, who came first first.
  void serve(const Term& name, const Find& find);
  /// Answers those whose time is over with `timeout`.
  void expire(MonotonicTime now);
  /// When the next one's time is over; `max`: nobody waits.
  [[nodiscard]] MonotonicTime deadline() const noexcept {
    return due_.empty() ? MonotonicTime::max() : due_.begin()->first;
  }
  /// Answers all with `stopped`.
  void clear();

 private:
  using Id = std::uint64_t;
  Waiter take(Id id);

  Id last_ = 0;
  std::map<Id, Waiter> waiters_;
  std::set<std::pair<MonotonicTime, Id>> due_;
  std::unordered_map<Term, std::set<Id>> of_name_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
