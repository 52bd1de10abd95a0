// The last decisions about peers, for who asks later why one was dropped or refused.
//
// Two bounds: the last entries of each peer, so that a peer that is dialled again and again does not push out what
// happened to others; and the last ones of all. Peers of which nothing was recorded for longest are forgotten first.
#pragma once

#include <barrel_p2p/operations.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

/// Thread safe.
class FlightRecorder {
 public:
  struct Limits {
    std::size_t entries_max = 1000;         ///< Of all peers together, in order.
    std::size_t entries_per_peer_max = 32;  ///< A few reconnections.
    std::size_t peers_max = 1024;           ///< Of about 4 KiB each at most.
    std::size_t reason_bytes_max = 200;     ///< Longer texts are cut: they may hold what a peer sent.
  };

  FlightRecorder() = default;
  explicit FlightRecorder(Limits limits) : limits_(limits) {}

  void record(FlightEntry::Kind kind, std::string_view peer, std::string_view reason = {});
  /// Of all peers, those with a number above this one, the oldest first.
  [[nodiscard]] std::vector<FlightEntry> after(std::uint64_t number) const;
  /// Of one peer, the oldest first.
  [[nodiscard]] std::vector<FlightEntry> of(const std::string& peer) const;
  /// All that is kept, the oldest first, none twice.
  [[nodiscard]] std::vector<FlightEntry> all() const;

 private:
  struct Peer {
    std::deque<FlightEntry> entries;
    std::list<std::string>::iterator recent;
  };

  const Limits limits_;
  mutable std::mutex mutex_;
  std::uint64_t last_number_ = 0;
  std::deque<FlightEntry> entries_;
  std::unordered_map<std::string, Peer> peers_;
  std::list<std::string> by_use_;  ///< Peers, the last one used first.
};

}  // namespace v0
}  // namespace barrel_p2p
