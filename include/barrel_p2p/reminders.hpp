// Reminders: a key, a time and a payload that all nodes keep; when the time has come the node that owns the key tells
// its subscribers, once. The functions are those of `Node`; docs/reminders.md explains the whole.
#pragma once

#include <barrel_p2p/leader.hpp>
#include <barrel_p2p/term.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

namespace barrel_p2p {
inline namespace v0 {

/// Of the system's clock. Due times before 1970 are as due as any other past time.
using ReminderTime = std::chrono::sys_time<std::chrono::milliseconds>;

/// What becomes of a reminder that this node finds due for longer than `ReminderConfig::late_after`.
enum class LatePolicy : std::uint8_t {
  fire,    ///< Subscribers are told as of any other.
  skip,    ///< Nobody is told: it is removed.
  notify,  ///< Subscribers are told, with `ReminderEvent::missed`. Processes cannot tell the difference.
};

/// A reminder that fires. As a message `{barrel_p2p_reminder, Key, Payload, Fence}`.
struct ReminderEvent {
  Term key;
  Term payload{};
  /// The same whoever tells of it and however often: what must not be done twice is done once per key and fence. A
  /// later `remind` of the key has a greater one.
  Fence fence{};
  ReminderTime due{};
  std::chrono::milliseconds lateness{};  ///< How long ago that was, by the clock of this node.
  bool missed = false;                   ///< By `LatePolicy::notify`.
};

/// When the same reminder is due again, with the same payload; nothing, or a time that is not after `previous.due`: it
/// is done. Runs on the cluster thread and must not block; what it throws counts as nothing.
using NextReminder = std::function<std::optional<std::chrono::system_clock::time_point>(const ReminderEvent& previous)>;

/// A reminder that waits.
struct Reminder {
  ReminderTime due{};
  Term payload{};
  Fence fence{};
};

struct ReminderStatistics {
  std::size_t pending = 0;               ///< In the cluster, as this node knows.
  std::size_t tombstones = 0;            ///< Of those that fired or were cancelled.
  std::uint64_t fired = 0;               ///< By this node, late ones included.
  std::uint64_t late = 0;                ///< Of these, by more than `late_after`.
  std::uint64_t skipped = 0;             ///< By `LatePolicy::skip`, or for lack of a subscriber.
  std::size_t waiting = 0;               ///< Late ones for which `late_rate` has no room yet.
  bool held = false;                     ///< Nothing fires yet: this node has to hear of others first.
  std::uint64_t rejected = 0;            ///< Entries of other nodes.
  std::uint64_t rejected_in_future = 0;  ///< Of these, with stamps too far ahead: somebody's clock is wrong.
  std::uint64_t forced_collections = 0;  ///< Tombstones forgotten although a node that was there may still be away.
  std::size_t unwritten = 0;             ///< Entries that the disk refused; they are written again by and by.
};

}  // namespace v0
}  // namespace barrel_p2p
