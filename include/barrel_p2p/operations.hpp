// For those who run a node: whether it is well, and what it decided lately about its peers. The functions are those of
// `Node`; docs/operations.md explains the whole.
#pragma once

#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

/// What health checks ask. A value.
struct Health {
  bool live = false;                 ///< Its threads do their work: if not, restart it.
  bool ready = false;                ///< Work may be given to it: if not, wait.
  std::vector<std::string> reasons;  ///< Why it is not, a sentence each.
};

/// A decision about a peer. A value.
struct FlightEntry {
  enum class Kind : std::uint8_t {
    dialled,         ///< We began to connect.
    dial_failed,     ///< That came to nothing: see `reason`.
    refused,         ///< It wanted to connect, and was not let in.
    up,              ///< It is connected.
    down,            ///< It is not any more.
    silent,          ///< Nothing was heard from it for too long.
    idle,            ///< Nothing used its channel, so it was closed.
    revoked,         ///< It had proven a key that is revoked.
    migrated,        ///< Its connection moved to another path, or could not be moved.
    neighbour,       ///< It entered the active view.
    neighbour_lost,  ///< It left the active view: see `reason`.
    joined,          ///< It is a member: its lease counts.
    lost,            ///< Its lease ended.
    paused,          ///< This node did not run for a while; `peer` is empty.
  };
  std::uint64_t number = 0;  ///< Of all entries of the node, from 1, in order.
  std::chrono::sys_time<std::chrono::milliseconds> time{};
  Kind kind = Kind::dialled;
  std::string peer;    ///< Name of the node, or its address when it has not told a name.
  std::string reason;  ///< A word of the protocol, or what failed; may be empty.
};

/// `dialled`, `dial_failed`, ...
[[nodiscard]] BARREL_P2P_API std::string_view name(FlightEntry::Kind kind) noexcept;
/// One line for a person: time, kind, peer and reason.
[[nodiscard]] BARREL_P2P_API std::string to_text(const FlightEntry& entry);

}  // namespace v0
}  // namespace barrel_p2p
