#include "chaos_checker.hpp"

#include <algorithm>
#include <barrel_p2p/leader.hpp>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace barrel_p2p::command {
namespace {

using std::chrono::microseconds;
using Violations = std::vector<ChaosViolation>;

constexpr std::string_view removal = "-";
/// Between the look at the clock that finds a reminder due, and the moment at which it is told.
constexpr std::chrono::seconds tell_max{1};

std::string name_of(std::size_t node) { return "n" + std::to_string(node); }

template <class... Part>
std::string joined(const Part&... parts) {
  std::string text;
  (text.append(parts), ...);
  return text;
}

bool is_in_order(const std::vector<ChaosEvent>& events) {
  return std::ranges::is_sorted(events, {}, &ChaosEvent::time);
}

std::vector<ChaosEvent> in_order(std::vector<ChaosEvent> events) {
  std::ranges::stable_sort(events, {}, &ChaosEvent::time);
  return events;
}

/// The life of a node: numbers of the node and of its start.
using Life = std::pair<std::size_t, std::uint64_t>;
Life life_of(const ChaosEvent& event) { return {event.node, event.life}; }

std::optional<std::int64_t> milliseconds_in(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Calms.

struct Calm {
  microseconds begin{};
  microseconds end = microseconds::max();
  bool changed = false;  ///< Partitions moved, or a process ended.
  [[nodiscard]] bool contains(microseconds time) const { return begin <= time && time < end; }
};

std::vector<Calm> calms_of(const std::vector<ChaosEvent>& events) {
  std::vector<Calm> calms;
  for (const auto& event : events) {
    if (event.did == ChaosDid::calm) calms.push_back({.begin = event.time});
    if (calms.empty() || !calms.back().contains(event.time)) continue;
    if (event.did == ChaosDid::trouble) calms.back().end = event.time;
    if (event.did == ChaosDid::shard || event.did == ChaosDid::killed || event.did == ChaosDid::ended)
      calms.back().changed = true;
  }
  return calms;
}

const Calm* calm_at(const std::vector<Calm>& calms, microseconds time) {
  const auto found = std::ranges::find_if(calms, [&](const Calm& calm) { return calm.contains(time); });
  return found == calms.end() ? nullptr : &*found;
}

// Writes of the map.

struct Write {
  Life life;
  std::size_t number = 0;  ///< Of the node, over all its lives.
  std::string value;       ///< `-`: a removal.
  microseconds begin{};
  microseconds end = microseconds::max();
  bool acknowledged = false;
};
using Writes = std::map<std::string, std::vector<Write>>;

/// Reads writes from a history, in its order.
class WriteReader {
 public:
  void read(const ChaosEvent& event) {
    if (event.did == ChaosDid::put) {
      auto& of_key = writes_[event.arguments[0]];
      open_[life_of(event)].emplace_back(event.arguments[0], of_key.size());
      of_key.push_back(
          {.life = life_of(event), .number = ++numbers_[event.node], .value = event.arguments[1], .begin = event.time});
    } else if (event.did == ChaosDid::put_ok || event.did == ChaosDid::put_failed) {
      std::erase_if(open_[life_of(event)], [&](const auto& place) {
        Write& write = at(place);
        if (place.first != event.arguments[0] || write.value != event.arguments[1]) return false;
        write.end = event.time;
        write.acknowledged = event.did == ChaosDid::put_ok;
        return true;
      });
    } else if (event.did == ChaosDid::killed || event.did == ChaosDid::ended) {
      // What was under way has happened by now, or never will.
      for (const auto& place : open_[life_of(event)]) at(place).end = event.time;
      open_.erase(life_of(event));
    }
  }
  [[nodiscard]] Writes take() { return std::move(writes_); }

 private:
  using Place = std::pair<std::string, std::size_t>;
  [[nodiscard]] Write& at(const Place& place) { return writes_[place.first][place.second]; }

  Writes writes_;
  std::map<Life, std::vector<Place>> open_;
  std::map<std::size_t, std::size_t> numbers_;
};

Writes writes_of(const std::vector<ChaosEvent>& events) {
  WriteReader reader;
  for (const auto& event : events) reader.read(event);
  return reader.take();
}

/// Surely: stamps of a node rise with its writes, and what is written after a calm is newer than what all knew then.
/// Two nodes that have not heard of each other since have no order that could be seen from outside: one that was killed
/// begins with stamps ahead of the time (`HybridClockConfig::mark_ahead`).
bool is_older(const Write& one, const Write& other, const std::vector<Calm>& calms) {
  if (one.life.first == other.life.first) return one.number < other.number;
  return std::ranges::any_of(calms, [&](const Calm& calm) { return one.end < calm.begin && calm.end < other.begin; });
}

std::string describe(const Write& write) {
  return (write.value == removal ? "the removal" : write.value) + " of " + name_of(write.life.first);
}

/// `found`: the value of the key at a node, `-` for none.
void check_key(const std::string& key, const std::vector<Write>& writes, const std::string& found,
               const std::string& node, const std::vector<Calm>& calms, Violations& violations) {
  std::vector<const Write*> candidates;  // of which one is what the node has
  for (const auto& write : writes) {
    if (write.value == found) candidates.push_back(&write);
  }
  if (candidates.empty() && found != removal) {
    violations.push_back({"durable", joined(node, " has ", found, " under ", key, ", which nobody wrote")});
    return;
  }
  const Write* lost = nullptr;
  const auto hides = [&](const Write* candidate) {
    const auto newer = std::ranges::find_if(writes.rbegin(), writes.rend(), [&](const Write& write) {
      return write.acknowledged && write.value != found && is_older(*candidate, write, calms);
    });
    if (newer == writes.rend()) return false;
    lost = &*newer;
    return true;
  };
  if (candidates.empty()) {  // never written, as far as this node knows
    const auto written = std::ranges::find_if(writes, &Write::acknowledged);
    if (written == writes.end()) return;
    lost = &*written;
  } else if (!std::ranges::all_of(candidates, hides)) {
    return;
  }
  violations.push_back({"durable", node + " has " + (found == removal ? "nothing" : found) + " under " + key +
                                       " in place of " + describe(*lost) + ", which was acknowledged"});
}

void check_map(const std::vector<ChaosEvent>& events, const std::vector<ChaosReport>& reports, Violations& violations) {
  static const std::vector<Write> none;
  const Writes writes = writes_of(events);
  const auto calms = calms_of(events);
  for (const auto& report : reports) {
    const std::string node = name_of(report.node);
    for (const auto& [key, of_key] : writes) {
      const auto found = report.map.find(key);
      check_key(key, of_key, found == report.map.end() ? std::string(removal) : found->second, node, calms, violations);
    }
    for (const auto& [key, value] : report.map) {
      if (!writes.contains(key)) check_key(key, none, value, node, calms, violations);
    }
    if (report.map == reports.front().map) continue;
    const auto& first = reports.front();
    std::string keys;
    for (const auto& [key, value] : report.map) {
      const auto other = first.map.find(key);
      if (other == first.map.end() || other->second != value) keys.append(" ").append(key);
    }
    for (const auto& [key, value] : first.map) {
      if (!report.map.contains(key)) keys.append(" ").append(key);
    }
    violations.push_back({"convergence", joined(node, " and ", name_of(first.node), " differ:", keys)});
  }
}

// Services.

struct Registrations {
  std::set<std::string> required;  ///< `NAME NODE PID`
  std::set<std::string> possible;  ///< Failed ones too.
};

Registrations registrations_of(const std::vector<ChaosEvent>& events) {
  std::map<std::string, std::string> pids;  // by name and node
  std::map<std::string, bool> acknowledged;
  for (const auto& event : events) {
    const auto place = [&] { return event.arguments[0] + " " + name_of(event.node); };
    if (event.did == ChaosDid::enlist) {
      pids[place()] = event.arguments[1];
      acknowledged[place()] = false;
    } else if (event.did == ChaosDid::enlist_ok) {
      acknowledged[place()] = true;
    } else if (event.did == ChaosDid::delist) {
      pids.erase(place());
    } else if (event.did == ChaosDid::killed || event.did == ChaosDid::ended) {
      std::erase_if(pids, [&](const auto& entry) { return words_of(entry.first)[1] == name_of(event.node); });
    }
  }
  Registrations registrations;
  for (const auto& [where, pid] : pids) {
    const std::string entry = joined(where, " ", pid);
    registrations.possible.insert(entry);
    if (acknowledged[where]) registrations.required.insert(entry);
  }
  return registrations;
}

void check_services(const std::vector<ChaosEvent>& events, const std::vector<ChaosReport>& reports,
                    Violations& violations) {
  const auto registrations = registrations_of(events);
  for (const auto& report : reports) {
    const std::string node = name_of(report.node);
    for (const auto& entry : registrations.required) {
      if (!report.services.contains(entry)) violations.push_back({"services", joined(node, " does not find ", entry)});
    }
    for (const auto& entry : report.services) {
      if (registrations.possible.contains(entry)) continue;
      violations.push_back({"services", joined(node, " finds ", entry, ", which does not live")});
    }
  }
}

// Leaders.

Fence fence_in(const std::string& text) { return Fence::parse(text).value_or(Fence()); }

void check_fences(const std::vector<ChaosEvent>& events, Violations& violations) {
  std::map<std::size_t, Fence> last;
  Fence agreed;
  for (const auto& event : events) {
    if (event.did == ChaosDid::agreed) agreed = std::max(agreed, fence_in(event.arguments[0]));
    if (event.did != ChaosDid::elected) continue;
    const Fence fence = fence_in(event.arguments[0]);
    const std::string who = name_of(event.node) + " is given " + fence.text();
    if (fence <= last[event.node]) violations.push_back({"fences", who + " after " + last[event.node].text()});
    if (fence <= agreed) violations.push_back({"fences", who + " after all nodes knew " + agreed.text()});
    last[event.node] = std::max(last[event.node], fence);
  }
}

void check_leader(const std::vector<ChaosEvent>& events, const std::vector<ChaosReport>& reports,
                  Violations& violations) {
  Fence highest;
  for (const auto& event : events) {
    if (event.did == ChaosDid::elected) highest = std::max(highest, fence_in(event.arguments[0]));
  }
  const std::string& leader = reports.front().leader;
  for (const auto& report : reports) {
    const std::string node = name_of(report.node);
    if (report.leader.empty()) violations.push_back({"leader", node + " knows none"});
    if (report.leader != leader) {
      violations.push_back({"leader", joined(node, " holds ", report.leader, " for it, and ",
                                             name_of(reports.front().node), " holds ", leader)});
    }
    const bool leads = !report.fence.empty();
    if (leads != (report.leader == node)) {
      violations.push_back({"leader", node + (leads ? " leads by itself" : " does not know that it leads")});
    }
    if (leads && fence_in(report.fence) < highest)
      violations.push_back(
          {"leader", joined(node, " leads with ", report.fence, ", and ", highest.text(), " was given")});
  }
}

// Reminders.

struct ToldReminder {
  microseconds time{};
  std::size_t node = 0;
  std::int64_t now = 0;
  std::int64_t set_back = 0;  ///< By which the clock of the node was set back just before, in milliseconds.
  std::string fence;
};
struct Set {
  microseconds begin{};
  std::size_t node = 0;
  std::int64_t due = 0;
  bool known = false;  ///< Somebody set it.
  bool acknowledged = false;
  std::vector<ToldReminder> told;
};
using Reminders = std::map<std::string, Set>;

/// What the wall clocks of nodes did, read from a history in its order.
class ClockReader {
 public:
  void read(const ChaosEvent& event) {
    auto& clock = clocks_[life_of(event)];
    const auto offset = milliseconds_in(event.arguments[0]).value_or(0);
    if (offset < clock.offset) clock.back.emplace_back(event.time, clock.offset - offset);
    clock.offset = offset;
  }
  /// By how much it was set back in the `tell_max` before.
  [[nodiscard]] std::int64_t set_back(const Life& life, microseconds time) const {
    const auto clock = clocks_.find(life);
    std::int64_t sum = 0;
    if (clock == clocks_.end()) return sum;
    for (const auto& [when, step] : clock->second.back) sum += when + tell_max >= time ? step : 0;
    return sum;
  }

 private:
  struct Clock {
    std::int64_t offset = 0;
    std::vector<std::pair<microseconds, std::int64_t>> back;
  };
  std::map<Life, Clock> clocks_;
};

Reminders reminders_of(const std::vector<ChaosEvent>& events) {
  Reminders reminders;
  ClockReader clocks;
  for (const auto& event : events) {
    if (event.did == ChaosDid::clock) clocks.read(event);
    if (event.did == ChaosDid::remind) {
      auto& set = reminders[event.arguments[0]];
      set.begin = event.time;
      set.node = event.node;
      set.due = milliseconds_in(event.arguments[1]).value_or(0);
      set.known = true;
    } else if (event.did == ChaosDid::remind_ok) {
      reminders[event.arguments[0]].acknowledged = true;
    } else if (event.did == ChaosDid::told) {
      const auto now = milliseconds_in(event.arguments[2]).value_or(0);
      const auto set_back = clocks.set_back(life_of(event), event.time);
      reminders[event.arguments[0]].told.push_back({event.time, event.node, now, set_back, event.arguments[1]});
    }
  }
  return reminders;
}

void check_told(const std::string& key, const Set& set, const std::vector<Calm>& calms, Violations& violations) {
  for (const auto& told : set.told) {
    const std::string who = joined(name_of(told.node), " tells of ", key);
    if (!set.known) {
      violations.push_back({"reminders", who + ", which nobody set"});
    } else if (told.now + told.set_back < set.due) {
      violations.push_back({"reminders", joined(who, " ", std::to_string(set.due - told.now), " ms before its time")});
    }
    if (told.fence != set.told.front().fence)
      violations.push_back({"reminders", joined(who, " with the fence ", told.fence, ", and of ",
                                                name_of(set.told.front().node), " it had ", set.told.front().fence)});
  }
  const Calm* calm = set.known ? calm_at(calms, set.begin) : nullptr;
  if (calm == nullptr || calm->changed) return;
  const auto count =
      std::ranges::count_if(set.told, [&](const ToldReminder& told) { return calm->contains(told.time); });
  if (count > 1)
    violations.push_back({"reminders", key + " was told " + std::to_string(count) + " times though no owner changed"});
}

// Operations.

void check_operations(const std::vector<ChaosEvent>& events, const std::vector<Calm>& calms, Violations& violations) {
  for (const auto& event : events) {
    const auto word = word_of(event.did);
    if (!word.ends_with("_failed") || calm_at(calms, event.time) == nullptr) continue;
    std::string what = name_of(event.node);
    what.append(" cannot ").append(word.substr(0, word.find('_')));
    for (const auto& argument : event.arguments) what.append(" ").append(argument);
    violations.push_back({"operations", what + " though all is well"});
  }
}

// Broadcasts.

struct Sent {
  bool known = false;
  bool acknowledged = false;
  bool calm = false;  ///< Sent when all was well.
  std::map<Life, std::size_t> heard;
};
using Broadcasts = std::map<std::string, Sent>;

Broadcasts broadcasts_of(const std::vector<ChaosEvent>& events) {
  const auto calms = calms_of(events);
  Broadcasts broadcasts;
  for (const auto& event : events) {
    if (event.did == ChaosDid::send) {
      auto& sent = broadcasts[event.arguments[0]];
      sent.known = true;
      sent.calm = calm_at(calms, event.time) != nullptr;
    } else if (event.did == ChaosDid::send_ok) {
      broadcasts[event.arguments[0]].acknowledged = true;
    } else if (event.did == ChaosDid::heard) {
      ++broadcasts[event.arguments[0]].heard[life_of(event)];
    }
  }
  return broadcasts;
}

void check_members(const std::vector<ChaosReport>& reports, Violations& violations) {
  std::set<std::string> all;
  for (const auto& report : reports) all.insert(name_of(report.node));
  for (const auto& report : reports) {
    if (report.members == all) continue;
    std::string known;
    for (const auto& member : report.members) known.append(" ").append(member);
    violations.push_back({"members", name_of(report.node) + " knows" + known});
  }
}

void check_views(const std::vector<ChaosReport>& reports, Violations& violations) {
  std::map<std::string, std::set<std::string>> views;
  for (const auto& report : reports) views[name_of(report.node)] = report.neighbours;
  for (const auto& report : reports) {
    const std::string from = name_of(report.node);
    std::set<std::string> reached{from};
    std::vector<std::string> next{from};
    while (!next.empty()) {
      const std::string node = std::move(next.back());
      next.pop_back();
      for (const auto& neighbour : views[node]) {
        if (reached.insert(neighbour).second) next.push_back(neighbour);
      }
    }
    std::string missed;
    for (const auto& other : reports) {
      const std::string node = name_of(other.node);
      if (!reached.contains(node)) missed.append(" ").append(node);
    }
    if (!missed.empty()) violations.push_back({"views", joined("no path leads from ", from, " to", missed)});
  }
}

void check_placement(const std::vector<ChaosReport>& reports, Violations& violations) {
  std::map<std::uint32_t, std::size_t> owners;
  for (const auto& report : reports) {
    for (const auto partition : report.partitions) {
      const auto [other, first] = owners.emplace(partition, report.node);
      if (!first) {
        violations.push_back({"placement", joined(name_of(other->second), " and ", name_of(report.node),
                                                  " own partition ", std::to_string(partition))});
      }
    }
  }
  const auto all = reports.front().partitions_all;
  if (owners.size() < all) {
    violations.push_back({"placement", std::to_string(all - owners.size()) + " partitions have no owner"});
  }
}

}  // namespace

std::vector<ChaosViolation> check_always(const std::vector<ChaosEvent>& unordered) {
  std::vector<ChaosEvent> sorted;
  const auto& events = is_in_order(unordered) ? unordered : (sorted = in_order(unordered));
  Violations violations;
  check_fences(events, violations);
  const auto calms = calms_of(events);
  for (const auto& [key, set] : reminders_of(events)) check_told(key, set, calms, violations);
  check_operations(events, calms, violations);
  for (const auto& [id, sent] : broadcasts_of(events)) {
    for (const auto& [life, count] : sent.heard) {
      if (!sent.known)
        violations.push_back({"broadcasts", joined(name_of(life.first), " gets ", id, ", which nobody sent")});
      if (count > 1)
        violations.push_back(
            {"broadcasts", joined(name_of(life.first), " gets ", id, " ", std::to_string(count), " times")});
    }
  }
  for (const auto& event : events) {
    if (event.did != ChaosDid::ended) continue;
    std::string how;
    for (const auto& word : event.arguments) how.append(" ").append(word);
    violations.push_back({"processes", name_of(event.node) + " ended by itself:" + how});
  }
  return violations;
}

std::vector<ChaosViolation> check_calm(const std::vector<ChaosEvent>& unordered,
                                       const std::vector<ChaosReport>& reports) {
  if (reports.empty()) return {};
  std::vector<ChaosEvent> sorted;
  const auto& events = is_in_order(unordered) ? unordered : (sorted = in_order(unordered));
  Violations violations;
  check_members(reports, violations);
  check_views(reports, violations);
  check_map(events, reports, violations);
  check_services(events, reports, violations);
  check_leader(events, reports, violations);
  check_placement(reports, violations);
  for (const auto& [key, set] : reminders_of(events)) {
    if (set.acknowledged && set.told.empty())
      violations.push_back({"reminders", key + " of " + name_of(set.node) + " is not told"});
  }
  for (const auto& [id, sent] : broadcasts_of(events)) {
    if (!sent.calm || !sent.acknowledged) continue;
    for (const auto& report : reports) {
      const bool heard = std::ranges::any_of(sent.heard, [&](const auto& by) { return by.first.first == report.node; });
      if (!heard) violations.push_back({"broadcasts", joined(name_of(report.node), " did not get ", id)});
    }
  }
  return violations;
}

}  // namespace barrel_p2p::command
