// What happened in a run of `barrel_p2p chaos`: one event a line, as the nodes and the one who torments them tell it.
//
//     MICROSECONDS NODE LIFE WORD ARGUMENT...        42017 n2 1 put own/2/7 2/1/40
//
// The time is that of the steady clock, which processes of a machine have in common. LIFE counts the starts of a node.
// An operation has two events: before it is called, and when it has returned (`_ok` or `_failed`); one that was killed
// has the first one only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p::command {

enum class ChaosDid : std::uint8_t {
  // Of the one who torments them.
  start,   ///< The process is made.
  killed,  ///< It is gone, by our SIGKILL.
  ended,   ///< HOW: it is gone, and nobody killed it.
  fault,   ///< TEXT...: for readers.
  calm,    ///< All is well from here on, until `trouble`: no faults, and the nodes agree.
  agreed,  ///< FENCE: the leader's, which all nodes know.
  trouble,
  full,  ///< Its disk has no room from here on ...
  room,  ///< ... and has again.
  // Of a node.
  clock,  ///< OFFSET (milliseconds): its wall clock is ahead by so much from here on; below 0, behind.
  put,    ///< KEY VALUE; `-` for a removal.
  put_ok,
  put_failed,
  enlist,  ///< NAME PID: registers a service.
  enlist_ok,
  enlist_failed,
  delist,         ///< NAME: its process is about to end, or it is taken back.
  delist_failed,  ///< NAME: it could not be taken back.
  lead_failed,    ///< ERROR: no candidate.
  elected,        ///< FENCE: given, or renewed.
  revoked,
  remind,  ///< KEY DUE (Unix milliseconds)
  remind_ok,
  remind_failed,
  told,   ///< KEY FENCE NOW (Unix milliseconds, by the clock of the node)
  shard,  ///< Partitions came or went.
  send,   ///< ID: a broadcast.
  send_ok,
  send_failed,
  heard,  ///< ID
};

struct ChaosEvent {
  std::chrono::microseconds time{};
  std::size_t node = 0;
  std::uint64_t life = 0;
  ChaosDid did = ChaosDid::start;
  std::vector<std::string> arguments{};
};

/// What `words` a kind of event has, without it.
std::string_view word_of(ChaosDid did);
/// Without a line feed.
std::string to_text(const ChaosEvent& event);
/// Nothing: it is no event, or has too few arguments.
std::optional<ChaosEvent> parse_event(std::string_view line);
/// The words between spaces.
std::vector<std::string> words_of(std::string_view line);

/// What a node knows at one moment.
struct ChaosReport {
  std::size_t node = 0;
  std::uint64_t life = 0;
  std::set<std::string> members{};     ///< `n2`
  std::set<std::string> neighbours{};  ///< In the active view.
  std::string leader{};                ///< `n2`; empty: none.
  std::string fence{};                 ///< Of this node's leadership; empty: it does not lead.
  std::map<std::string, std::string> map{};
  std::set<std::string> services{};      ///< `NAME NODE PID`
  std::set<std::uint32_t> partitions{};  ///< That this node owns.
  std::size_t partitions_all = 0;

  /// A line of a report: `member n2`, `neighbour n1`, `leader n2`, `fence F`, `entry KEY VALUE`, `service NAME NODE
  /// PID`, `owns P`, `ring N`. False: it is none.
  bool take(std::string_view line);
};

}  // namespace barrel_p2p::command
