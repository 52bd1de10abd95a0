// Which processes of other nodes, that services were registered with, are known to have ended. The registry hears of
// it late or never: the node of a process tells only its own registry.
//
// A process is monitored from the first time that it is handed out, and no longer than it is used: a monitor costs
// memory on both sides and keeps a channel open. That a connection was lost says nothing about the process. What was
// forgotten is monitored anew when it is handed out again, so every bound here costs time only, never the truth.
//
// A machine without I/O. Source: protocol document 05, section 11, number 16. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <list>
#include <unordered_map>
#include <utility>

#include "base/clock.hpp"
#include "services/effects.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

struct PidLivenessConfig {
  Atom own;                           ///< Processes of this node are not watched: the registry does it.
  std::size_t watched_max = 10'000;   ///< About 150 bytes each, here and on the other node.
  Milliseconds unused{600'000};       ///< Not handed out for so long: not watched any more.
  std::size_t ended_max = 10'000;     ///< Of which the end is remembered.
  Milliseconds ended_age{3'600'000};  ///< For so long: the registry has heard of it, or nobody asks any more.
};

class PidLiveness {
 public:
  explicit PidLiveness(PidLivenessConfig config) : config_(std::move(config)) {}

  // `Unwatch` stands for a process of which nothing is known from now on: it is not watched any more, or its end was
  // long ago.
  /// The process is handed out. `Watch` the first time; `Unwatch` of another, when there are too many.
  void used(const Pid& pid, const Now& now, Effects& out);
  /// Answers `Watch`.
  void down(const Pid& pid, const Term& reason, const Now& now, Effects& out);
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  /// It has ended: do not hand it out.
  [[nodiscard]] bool has_ended(const Pid& pid) const { return ended_.contains(pid); }
  [[nodiscard]] std::size_t watched() const noexcept { return watched_.size(); }

 private:
  /// Pids by age: the one that was noted the longest ago in front.
  class Aged {
   public:
    void note(const Pid& pid, MonotonicTime now);
    bool erase(const Pid& pid);
    Pid pop();
    [[nodiscard]] bool contains(const Pid& pid) const { return places_.contains(pid); }
    [[nodiscard]] std::size_t size() const noexcept { return places_.size(); }
    [[nodiscard]] bool empty() const noexcept { return places_.empty(); }
    [[nodiscard]] MonotonicTime oldest() const { return order_.front().second; }

   private:
    using Order = std::list<std::pair<Pid, MonotonicTime>>;
    Order order_;
    std::unordered_map<Pid, Order::iterator> places_;
  };

  PidLivenessConfig config_;
  Aged watched_;  ///< By last use.
  Aged ended_;    ///< By the time of the news.
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
