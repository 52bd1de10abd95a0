// What a history of `barrel_p2p chaos` proves of docs/guarantees.md. Pure: the same history gives the same answer.
//
// At any moment (`check_always`):
//   reminders    none is told that nobody set, or before its time by the clock of the node that tells it, as it was in
//                the second before; every time that it is told it has the same fence; in a calm without a change of
//                owners it is told once
//   fences       those of a node rise, over its restarts; those given after all nodes agreed on one are greater
//   broadcasts   a node gets each once in one life, and none that nobody sent
//   processes    none ends by itself
//   operations   none fails in a calm
//
// Once it is calm (`check_calm`), which takes its time:
//   members      every node holds all nodes for alive, and nobody else
//   views        from every node all others can be reached over neighbours
//   durable      an acknowledged write of the persistent map is there on every node, it or a later one, and nothing
//                that nobody wrote
//   convergence  all nodes have the same content of the map
//   services     every registration of a process that lives is found on every node, and no other one
//   leader       all nodes have the same leader; it alone leads, and no fence that was ever given is greater than its
//   placement    each partition has one owner
//   reminders    each that was acknowledged was told
//   broadcasts   those sent in the calm are everywhere
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "chaos_history.hpp"

namespace barrel_p2p::command {

struct ChaosViolation {
  std::string rule;
  std::string text;
};

/// `events` in any order that keeps each node's own; fastest in that of their times.
std::vector<ChaosViolation> check_always(const std::vector<ChaosEvent>& events);
/// `reports`: one of each node, made after all events but those that change nothing here.
std::vector<ChaosViolation> check_calm(const std::vector<ChaosEvent>& events, const std::vector<ChaosReport>& reports);

}  // namespace barrel_p2p::command
