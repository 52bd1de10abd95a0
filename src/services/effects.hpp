// What the machines of this room are given and what they want. None of them does anything itself: the node carries the
// effects out on the network, the disk and the program's callbacks; the simulator on virtual ones.
//
// Every input comes with the time. Effects are appended to a list and carried out in its order.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/leader.hpp>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/placement.hpp>
#include <barrel_p2p/reminders.hpp>
#include <barrel_p2p/services.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "replication/ormap.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// Both clocks of the node: time spans are measured on the first, stamps and due times are of the second.
struct Now {
  MonotonicTime monotonic;
  WallMilliseconds wall = 0;
};

/// Numbers a call that is answered later, by `Completed`. 0: nobody waits.
using Ticket = std::uint64_t;

/// `{Name, Node} ! Message`, over a channel that is up; else it is lost.
struct Send {
  Atom to;
  Atom name;
  Term message;
};
/// `Pid ! Message`, likewise.
struct SendPid {
  Pid to;
  Term message;
};
/// To every node, by the tree.
struct Broadcast {
  Atom tag;
  Term payload;
};

/// A change of the durable store.
struct StoreChange {
  enum class Kind : std::uint8_t {
    put,    ///< `entry` under `key`.
    erase,  ///< `key`.
    drop,   ///< The whole collection.
    set,    ///< The named value `collection`: `key` is the value.
  };
  Kind kind = Kind::put;
  std::string collection;
  Term key{};
  std::optional<replication::Entry> entry{};
};
/// Write these together, in the order of the effects. Who carries it out answers the ticket, if it is not 0, with the
/// result of the write: no `Completed` comes for it. Whatever the ticket, changes that could not be written are handed
/// to `Services::store_failed`, which sees to it that they are written later; the caller has its error by then, and
/// what it wrote counts in memory and on other nodes all the same.
struct Persist {
  std::vector<StoreChange> changes;
  Ticket ticket = 0;
  bool awaited = false;  ///< The effects after it wait until it is written, or could not be.
};

/// A call has its answer, and waits for no disk.
struct Completed {
  Ticket ticket = 0;
  Result<void> result;
};

/// The process is to be watched; its end is told to `Services::process_down` and `PidLiveness::down`. Each of registry,
/// leader election and `PidLiveness` has one watch a process at most, until its `Unwatch` or the end; all of them may
/// watch the same process.
struct Watch {
  Pid pid;
};
struct Unwatch {
  Pid pid;
};

/// What `Registry::lookup` gives for the name and this node is another than before. Comes before the events of the same
/// change.
struct ServiceChanged {
  Term name;
  Atom node;
};
struct ServiceHappened {
  ServiceEvent event;
};

/// Readers find in the map what `Maps::find` has of it now. Comes before all else of the map.
struct MapOpened {
  Atom map;
};
/// What a reader of the map finds under the key is another than before, or was written anew. Comes before the event of
/// the same change.
struct MapChanged {
  Atom map;
  Term key;
  std::optional<Term> value;
};
/// Subscribers are to be told. The node that writes tells of every put and remove, as Erlang nodes do; others only of
/// what can be seen. Not told is what a map has from the disk when it opens.
struct MapHappened {
  MapEvent event;
};

/// What `Leader::view` gives for the name is another than before. Comes before what candidates are told of it.
struct LeaderChanged {
  Term name;
};
/// A process is to be told of its campaign.
struct LeaderHappened {
  Pid candidate;
  LeaderEvent event;
};

/// Subscribers are to be told. Comes before the effects that make it known that the reminder is gone: the other way
/// round one whose node crashes in between would be lost.
struct ReminderFired {
  ReminderEvent event;
};

/// `Members::members` gives others than before.
struct MembersChanged {};

/// `Placement::owner` or `Placement::owns` gives others than before. Comes before the events of the same change.
struct PlacementChanged {};
struct ShardHappened {
  ShardEvent event;
};

/// Where a service is that other nodes were asked for.
struct Route {
  Atom node;  ///< That registered it.
  Pid pid;
};
/// `Router::find` has its answer.
struct Routed {
  Ticket ticket = 0;
  Result<Route> result;
};

using Effect = std::variant<Send, SendPid, Broadcast, Persist, Completed, Watch, Unwatch, ServiceChanged,
                            ServiceHappened, MapOpened, MapChanged, MapHappened, LeaderChanged, LeaderHappened,
                            ReminderFired, MembersChanged, PlacementChanged, ShardHappened, Routed>;
using Effects = std::vector<Effect>;

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
