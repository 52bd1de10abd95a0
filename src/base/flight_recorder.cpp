#include "base/flight_recorder.hpp"

#include <spdlog/fmt/chrono.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <map>

namespace barrel_p2p {
inline namespace v0 {

std::string_view name(FlightEntry::Kind kind) noexcept {
  using Kind = FlightEntry::Kind;
  switch (kind) {
    case Kind::dialled: return "dialled";
    case Kind::dial_failed: return "dial_failed";
    case Kind::refused: return "refused";
    case Kind::up: return "up";
    case Kind::down: return "down";
    case Kind::silent: return "silent";
    case Kind::idle: return "idle";
    case Kind::revoked: return "revoked";
    case Kind::migrated: return "migrated";
    case Kind::neighbour: return "neighbour";
    case Kind::neighbour_lost: return "neighbour_lost";
    case Kind::joined: return "joined";
    case Kind::lost: return "lost";
    case Kind::paused: return "paused";
  }
  return "";
}

std::string to_text(const FlightEntry& entry) {
  const auto since = entry.time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  std::string text = fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z {}", fmt::gmtime(seconds.count()),
                                 (since - seconds).count(), name(entry.kind));
  for (const auto* part : {&entry.peer, &entry.reason}) {
    if (!part->empty()) text.append(" ").append(*part);
  }
  return text;
}

void FlightRecorder::record(FlightEntry::Kind kind, std::string_view peer, std::string_view reason) {
  FlightEntry entry;
  entry.time = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  entry.kind = kind;
  entry.peer = peer;
  entry.reason = reason.substr(0, limits_.reason_bytes_max);
  const std::lock_guard lock(mutex_);
  entry.number = ++last_number_;
  if (!entry.peer.empty()) {
    auto found = peers_.find(entry.peer);
    if (found == peers_.end()) {
      if (peers_.size() >= limits_.peers_max) {
        peers_.erase(by_use_.back());
        by_use_.pop_back();
      }
      by_use_.push_front(entry.peer);
      found = peers_.emplace(entry.peer, Peer{{}, by_use_.begin()}).first;
    } else {
      by_use_.splice(by_use_.begin(), by_use_, found->second.recent);
    }
    auto& entries = found->second.entries;
    entries.push_back(entry);
    if (entries.size() > limits_.entries_per_peer_max) entries.pop_front();
  }
  entries_.push_back(std::move(entry));
  if (entries_.size() > limits_.entries_max) entries_.pop_front();
}

std::vector<FlightEntry> FlightRecorder::after(std::uint64_t number) const {
  const std::lock_guard lock(mutex_);
  const auto first =
      std::ranges::upper_bound(entries_, number, {}, [](const FlightEntry& entry) { return entry.number; });
  return {first, entries_.end()};
}

std::vector<FlightEntry> FlightRecorder::of(const std::string& peer) const {
  const std::lock_guard lock(mutex_);
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return {};
  return {found->second.entries.begin(), found->second.entries.end()};
}

std::vector<FlightEntry> FlightRecorder::all() const {
  std::map<std::uint64_t, FlightEntry> sorted;
  const std::lock_guard lock(mutex_);
  for (const auto& entry : entries_) sorted.emplace(entry.number, entry);
  for (const auto& [peer, kept] : peers_) {
    for (const auto& entry : kept.entries) sorted.emplace(entry.number, entry);
  }
  std::vector<FlightEntry> list;
  list.reserve(sorted.size());
  for (auto& [number, entry] : sorted) list.push_back(std::move(entry));
  return list;
}

}  // namespace v0
}  // namespace barrel_p2p
