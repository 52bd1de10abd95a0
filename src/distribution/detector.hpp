// Failure detector: decides that a peer is gone because nothing was heard from it for too long.
//
// What counts as heard is any QUIC packet. Each side makes the other speak: it sends a PING after `keep_alive` of
// silence, and whoever lives acknowledges it. So a peer that was killed, frozen or cut off falls silent within
// `keep_alive` in both roles and is given up after `dead_after`. A second, slower test asks the distribution layer
// itself (`probe_*`): a peer whose QUIC stack still answers but whose node let go of the channel is found by it.
//
// The node suspects itself first: a tick that comes late means that this process did not run (stopped, swapped out,
// overloaded), and then silence proves nothing. The time that was lost is given back to every peer. Idea: Lifeguard
// (arXiv 1707.00788), local health awareness.
//
// Pure: time comes in as an argument. Not thread safe. Source: protocol document 01, sections 6.7 and 17.1 item 12.
#pragma once

#include <barrel_p2p/error.hpp>
#include <optional>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

struct DetectorConfig {
  /// PING after this much silence. 100 ms to 60 s.
  Milliseconds keep_alive{1000};
  /// A peer that was silent for this long is down. At least 3 x keep_alive: one lost packet must not kill a channel.
  Milliseconds dead_after{4000};
  /// How often the detector looks. Also the precision of its answer. At most dead_after / 4.
  Milliseconds tick{250};
  /// A tick that is late by more than this is a pause of our own process. At least 2 x tick.
  Milliseconds pause_threshold{1000};
  /// The distribution layer of a peer that said nothing at that level for this long is asked to answer. 0: never.
  Milliseconds probe_after{15000};
  /// A peer that does not answer such a question in this time is down.
  Milliseconds probe_timeout{10000};
};

/// `invalid_config` names the rule that is broken.
Result<void> validate(const DetectorConfig& config);

class Detector {
 public:
  explicit Detector(const DetectorConfig& config) noexcept : config_(config) {}

  [[nodiscard]] const DetectorConfig& config() const noexcept { return config_; }
  /// The longest time from the last packet of a peer to the verdict, as long as this process runs.
  [[nodiscard]] Milliseconds worst_case() const noexcept { return config_.dead_after + config_.tick; }

  /// To be called every `config().tick`. Returns how long this process did not run, when that was noticeable.
  std::optional<Milliseconds> tick(MonotonicTime now) noexcept;

  /// How long the peer has been silent, not counting what our own pauses took.
  [[nodiscard]] Milliseconds silence(MonotonicTime last_heard, MonotonicTime now) const noexcept;
  [[nodiscard]] bool is_dead(MonotonicTime last_heard, MonotonicTime now) const noexcept {
    return silence(last_heard, now) >= config_.dead_after;
  }

 private:
  DetectorConfig config_;
  std::optional<MonotonicTime> last_tick_;
  std::optional<MonotonicTime> resumed_;  ///< End of our last pause: silence before it proves nothing.
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
