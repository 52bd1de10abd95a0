// The hybrid logical clock: stamps that follow real time and never go back, on one node and along every chain of
// messages.
//
//   {timestamp, Wall, Logical}     Wall: Unix milliseconds, 0 to 2^63-1.  Logical: 0 to 2^31-2.
//
// Sources: Kulkarni et al., "Logical Physical Clocks", OPODIS 2014; protocol document 04, section 1. Unlike the Erlang
// implementation, stamps from too far in the future are refused, the logical part rolls over into the wall, and the
// clock resumes behind the mark that was written to disk. One thread at a time.
#pragma once

#include <array>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <compare>
#include <cstdint>
#include <optional>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication {

struct Timestamp {
  /// An Erlang clock that must count beyond 2^31-1 ends its process, so nobody is brought there.
  static constexpr std::uint32_t logical_max = 0x7FFFFFFE;

  WallMilliseconds wall = 0;
  std::uint32_t logical = 0;

  friend auto operator<=>(const Timestamp&, const Timestamp&) noexcept = default;
};

[[nodiscard]] Term to_term(const Timestamp& stamp);
/// Error: `malformed_term`: not a stamp, or its numbers are out of range.
[[nodiscard]] Result<Timestamp> timestamp_of(const Term& term);

/// Wall and logical part as one number, big endian: wall * 2^32 + logical. Greater stamps give greater numbers.
using PackedTimestamp = std::array<std::uint8_t, 12>;
[[nodiscard]] PackedTimestamp pack(const Timestamp& stamp) noexcept;
/// Nothing when the number is no stamp.
[[nodiscard]] std::optional<Timestamp> unpack(const PackedTimestamp& packed) noexcept;
/// The number as an Erlang integer, of up to 96 bits.
[[nodiscard]] Term packed_term(const Timestamp& stamp);

struct HybridClockConfig {
  /// Stamps from farther in the future are refused. Generous: what is refused here and taken by Erlang nodes makes the
  /// cluster differ. 0: nothing is refused.
  Milliseconds skew_max{3'600'000};
  WallMilliseconds start = 0;     ///< The mark that was written before the last stop: no stamp is below it.
  Milliseconds mark_ahead{5000};  ///< How far ahead of the time a mark is written.
  /// How far ahead of the stamps, when these are ahead of the time themselves, as after a restart: so much more with
  /// each further one before the time has caught up. In a loop of crashes it must not lead away from the others.
  Milliseconds mark_step{1000};
  /// Where stamps leave the marks behind again and again, as where another node sends greater and greater ones, each
  /// mark within a minute of the last is twice as far ahead of them, up to this: everybody waits for such a mark.
  Milliseconds mark_step_max{64'000};
};

struct ClockMark {
  WallMilliseconds wall = 0;
  /// There are stamps beyond what is on disk, as after a start, a pause or a stamp from far ahead: nobody may hear of
  /// them before this mark is written. Else it is needed before long.
  bool urgent = false;

  friend bool operator==(const ClockMark&, const ClockMark&) noexcept = default;
};

class HybridClock {
 public:
  explicit HybridClock(HybridClockConfig config = {}) noexcept;

  /// A stamp greater than every one before, given and observed. `physical`: the system's clock.
  Timestamp now(WallMilliseconds physical) noexcept;
  /// From here on stamps are greater than this one. Error: `limit_exceeded`: it lies more than `skew_max` in the
  /// future; nothing changed.
  Result<void> observe(const Timestamp& remote, WallMilliseconds physical);
  /// Whether `observe` would take it.
  [[nodiscard]] Result<void> check(const Timestamp& remote, WallMilliseconds physical) const;

  [[nodiscard]] const Timestamp& last() const noexcept { return last_; }
  /// What is to be written, so that stamps do not repeat after a restart: the next `start`.
  std::optional<ClockMark> take_mark() noexcept;
  /// This mark is on disk.
  void mark_written(WallMilliseconds mark) noexcept;
  /// The last mark could not be written: `take_mark` gives another one. While there are stamps beyond what is on disk
  /// nobody waits for it: they would for as long as the disk fails.
  void mark_failed() noexcept;

 private:
  [[nodiscard]] static Timestamp next(Timestamp stamp) noexcept;
  /// Who starts with this mark could give the last stamp again: its first one is just behind the mark.
  [[nodiscard]] bool is_beyond(WallMilliseconds mark) const noexcept { return last_ > Timestamp{mark, 0}; }

  HybridClockConfig config_;
  Timestamp last_;
  WallMilliseconds mark_;          ///< The last one that was taken.
  WallMilliseconds covered_;       ///< The greatest one that is on disk, or that is waited for.
  WallMilliseconds confirmed_;     ///< The greatest one that is on disk.
  bool failing_ = false;           ///< The last mark could not be written, and there are stamps beyond the one before.
  WallMilliseconds physical_ = 0;  ///< When the last stamp was given or seen.
  std::optional<WallMilliseconds> overtaken_;  ///< When stamps ahead of the time were last beyond the mark.
  WallMilliseconds step_ = 0;  ///< How far ahead the mark was then, where that was soon after the time before.
};

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
