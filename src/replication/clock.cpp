#include "replication/clock.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string>

namespace barrel_p2p {
inline namespace v0 {
namespace replication {
namespace {

constexpr std::size_t wall_bytes = 8;
constexpr unsigned byte_bits = 8;
/// A mark that stamps left behind longer ago than this says nothing about the next one.
constexpr WallMilliseconds again_within = 60'000;

}  // namespace

Term to_term(const Timestamp& stamp) {
  static const Term tag(Atom("timestamp"));  // one look-up of the name, not one a stamp
  return Term::tuple_of(tag, stamp.wall, stamp.logical);
}

Result<Timestamp> timestamp_of(const Term& term) {
  if (!term.is_tagged("timestamp", 3)) return fail(Errc::malformed_term, "not a timestamp");
  const auto wall = term[1].as_int64();
  const auto logical = term[2].as_uint64();
  if (!wall || *wall < 0) return fail(Errc::malformed_term, "the wall time of a timestamp is 0 to 2^63-1");
  if (!logical || *logical > Timestamp::logical_max) {
    return fail(Errc::malformed_term, "the logical part of a timestamp is 0 to 2^31-2");
  }
  return Timestamp{*wall, static_cast<std::uint32_t>(*logical)};
}

PackedTimestamp pack(const Timestamp& stamp) noexcept {
  PackedTimestamp packed{};
  auto wall = static_cast<std::uint64_t>(stamp.wall);
  std::uint32_t logical = stamp.logical;
  for (std::size_t place = wall_bytes; place-- > 0; wall >>= byte_bits) packed[place] = wall & 0xFFU;
  for (std::size_t place = packed.size(); place-- > wall_bytes; logical >>= byte_bits) packed[place] = logical & 0xFFU;
  return packed;
}

std::optional<Timestamp> unpack(const PackedTimestamp& packed) noexcept {
  std::uint64_t wall = 0;
  std::uint32_t logical = 0;
  for (std::size_t place = 0; place < wall_bytes; ++place) wall = wall << byte_bits | packed[place];
  for (std::size_t place = wall_bytes; place < packed.size(); ++place) logical = logical << byte_bits | packed[place];
  if (wall > static_cast<std::uint64_t>(std::numeric_limits<WallMilliseconds>::max())) return std::nullopt;
  if (logical > Timestamp::logical_max) return std::nullopt;
  return Timestamp{static_cast<WallMilliseconds>(wall), logical};
}

Term packed_term(const Timestamp& stamp) {
  const auto packed = pack(stamp);
  BigInteger number;
  number.magnitude.assign(packed.rbegin(), packed.rend());
  while (!number.magnitude.empty() && number.magnitude.back() == 0) number.magnitude.pop_back();
  return number;
}

HybridClock::HybridClock(HybridClockConfig config) noexcept
    : config_(config), last_{config.start, 0}, mark_(config.start), covered_(config.start), confirmed_(config.start) {}

Timestamp HybridClock::next(Timestamp stamp) noexcept {
  if (stamp.logical < Timestamp::logical_max) return {stamp.wall, stamp.logical + 1};
  if (stamp.wall == std::numeric_limits<WallMilliseconds>::max()) return stamp;  // the end of time
  return {stamp.wall + 1, 0};
}

Timestamp HybridClock::now(WallMilliseconds physical) noexcept {
  physical_ = physical;
  last_ = last_.wall >= physical ? next(last_) : Timestamp{physical, 0};
  return last_;
}

Result<void> HybridClock::check(const Timestamp& remote, WallMilliseconds physical) const {
  const auto skew_max = config_.skew_max.count();
  if (skew_max > 0 && remote.wall > last_.wall && remote.wall - std::max<WallMilliseconds>(physical, 0) > skew_max) {
    return fail(Errc::limit_exceeded, "a timestamp is " + std::to_string(remote.wall - physical) +
                                          " ms ahead of this node's clock: set the clocks of both machines");
  }
  return {};
}

Result<void> HybridClock::observe(const Timestamp& remote, WallMilliseconds physical) {
  if (auto checked = check(remote, physical); !checked) return checked;
  physical_ = physical;
  if (physical > last_.wall && physical > remote.wall) {
    last_ = {physical, 0};
  } else {
    last_ = next(std::max(last_, remote));
  }
  return {};
}

std::optional<ClockMark> HybridClock::take_mark() noexcept {
  if (last_ == Timestamp{config_.start, 0}) return std::nullopt;  // no stamp yet: the one before still holds
  const auto ahead = config_.mark_ahead.count();
  const auto step_max = config_.mark_step_max.count();
  if (last_.wall > std::numeric_limits<WallMilliseconds>::max() - 2 * std::max(ahead, step_max)) return std::nullopt;
  const bool is_ahead = last_.wall > physical_;
  auto step = is_ahead ? std::min(ahead, config_.mark_step.count()) : ahead;
  if (is_ahead && is_beyond(mark_) && !failing_) {
    const bool again = overtaken_ && std::abs(physical_ - *overtaken_) < again_within;
    step_ = again ? std::min(2 * std::max(step, step_), std::max(step, step_max)) : 0;
    step = std::max(step, step_);
    overtaken_ = physical_;
  }
  const bool urgent = is_beyond(covered_) && !failing_;
  if (last_.wall + step / 2 > mark_) {
    mark_ = std::max(last_.wall + step, std::min(physical_, last_.wall) + ahead);
  } else if (!urgent) {
    return std::nullopt;
  }
  if (urgent) covered_ = mark_;  // before anybody hears of a stamp
  return ClockMark{mark_, urgent};
}

void HybridClock::mark_written(WallMilliseconds mark) noexcept {
  confirmed_ = std::max(confirmed_, mark);
  covered_ = std::max(covered_, mark);
  failing_ = false;
}

void HybridClock::mark_failed() noexcept {
  mark_ = covered_ = confirmed_;
  failing_ = is_beyond(confirmed_);
}

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
