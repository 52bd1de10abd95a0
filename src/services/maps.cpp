#include "services/maps.hpp"

#include <algorithm>
#include <utility>

#include "services/map.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

constexpr std::string_view collection_prefix = "map/";
/// A scan that is to happen all the time happens as often as this.
constexpr Milliseconds scan_period_min{10};

std::unexpected<Error> no_such_map(const Atom& map) {
  return fail(Errc::no_such_map, "the map " + map.string() + " is not open on this node");
}

}  // namespace

std::string map_collection(const Atom& map) { return std::string(collection_prefix) + map.string(); }

Maps::Maps(MapsConfig config, replication::HybridClock& clock, const Members& members, const Now& now)
    : around_(std::make_unique<MapSurroundings>(
          MapSurroundings{.config = std::move(config), .clock = clock, .members = members})),
      next_scan_(now.monotonic) {
  around_->config.scan_period = std::max(around_->config.scan_period, scan_period_min);
  around_->absences.begin(members, now.monotonic);
}

Maps::~Maps() = default;

Map* Maps::open_map(const Atom& map) const {
  const auto found = maps_.find(map);
  return found == maps_.end() ? nullptr : found->second.get();
}

Map* Maps::map_of(const Atom& replica_name) const {
  const auto found = by_replica_.find(replica_name);
  return found == by_replica_.end() ? nullptr : found->second;
}

/// Every map stands in `due_` once. A map's deadline changes only by what is done to it.
void Maps::schedule(Map& map) {
  const auto due = map.deadline();
  if (due == map.scheduled) return;
  due_.erase({map.scheduled, map.name()});
  map.scheduled = due;
  due_.emplace(due, map.name());
}

// What the program asks for.

Result<void> Maps::open(const Atom& map, MapOptions options, Stored stored, const Now& now, Effects& out) {
  const auto& config = around_->config;
  if (map.text().empty() || map.text().size() > config.name_bytes_max) {
    return fail(Errc::invalid_argument, "the name of a map has 1 to " + std::to_string(config.name_bytes_max) +
                                            " bytes, not " + std::to_string(map.text().size()));
  }
  const Milliseconds ttl = options.tombstone_ttl.count() == 0 ? config.tombstone_ttl : options.tombstone_ttl;
  if (ttl < tombstone_ttl_min || ttl > tombstone_ttl_max) {
    return fail(Errc::invalid_argument,
                "tombstone_ttl of the map " + map.string() + " is at least 1 s and at most ten years");
  }
  if (options.entries_max == 0) {
    return fail(Errc::invalid_argument, "entries_max of the map " + map.string() + " is at least 1");
  }
  if (Map* const open = open_map(map)) return open->open_again(std::move(options));
  options.tombstone_ttl = ttl;
  if (maps_.size() >= config.maps_max) {
    return fail(Errc::limit_exceeded, std::to_string(config.maps_max) +
                                          " maps are open: delete some, or put what "
                                          "belongs together into one");
  }
  // What a drop should have taken away is none of this map's.
  if (options.persist && undropped_.erase(map) > 0) {
    drop(map, 0, out);
    stored.clear();
  }
  if (maps_.empty()) next_scan_ = now.monotonic + config.scan_period;
  auto& opened = maps_[map] = std::make_unique<Map>(map, std::move(options), *around_, now);
  by_replica_.emplace(opened->replica_name(), opened.get());
  opened->start(std::move(stored), now, out);
  schedule(*opened);
  return {};
}

bool Maps::is_open(const Atom& map) const { return open_map(map) != nullptr; }

Result<void> Maps::remove_map(const Atom& map, Ticket ticket, const Now& now, Effects& out) {
  const auto found = maps_.find(map);
  if (found == maps_.end()) return no_such_map(map);
  found->second->flush(now, out);
  const bool persistent = found->second->persistent();
  by_replica_.erase(found->second->replica_name());
  due_.erase({found->second->scheduled, map});
  maps_.erase(found);
  if (persistent) {
    drop(map, ticket, out);
  } else if (ticket != 0) {
    out.emplace_back(Completed{ticket, {}});
  }
  return {};
}

void Maps::drop(const Atom& map, Ticket ticket, Effects& out) {
  StoreChange change{.kind = StoreChange::Kind::drop, .collection = map_collection(map)};
  out.emplace_back(Persist{{std::move(change)}, ticket});
}

Result<void> Maps::put(const Atom& map, const Term& key, const Term& value, Ticket ticket, const Now& now,
                       Effects& out) {
  Map* const open = open_map(map);
  if (open == nullptr) return no_such_map(map);
  auto done = open->put(key, value, ticket, now, out);
  schedule(*open);
  return done;
}

Result<void> Maps::put_many(const Atom& map, const std::vector<TermPair>& pairs, Ticket ticket, const Now& now,
                            Effects& out) {
  Map* const open = open_map(map);
  if (open == nullptr) return no_such_map(map);
  auto done = open->put_many(pairs, ticket, now, out);
  schedule(*open);
  return done;
}

Result<void> Maps::remove(const Atom& map, const Term& key, Ticket ticket, const Now& now, Effects& out) {
  Map* const open = open_map(map);
  if (open == nullptr) return no_such_map(map);
  auto done = open->remove(key, ticket, now, out);
  schedule(*open);
  return done;
}

// What happens.

void Maps::neighbour_up(const Atom& node, const Now& now, Effects& /*out*/) {
  auto& neighbours = around_->neighbours;
  const auto known = std::ranges::find(neighbours, node, &MapSurroundings::Neighbour::node);
  if (known == neighbours.end()) neighbours.push_back({node, false});
  for (const auto& [name, map] : maps_) {
    map->neighbour_up(node, now);
    schedule(*map);
  }
}

void Maps::gossip_lost(const Atom& node, const Now& now) {
  for (const auto& [name, map] : maps_) {
    map->gossip_lost(node, now);
    schedule(*map);
  }
}

void Maps::neighbour_down(const Atom& node) {
  std::erase_if(around_->neighbours, [&](const auto& neighbour) { return neighbour.node == node; });
  for (const auto& [name, map] : maps_) {
    map->neighbour_down(node);
    schedule(*map);
  }
}

void Maps::set_native(const Atom& node) {
  for (auto& neighbour : around_->neighbours) {
    if (neighbour.node == node) neighbour.native = true;
  }
  for (const auto& [name, map] : maps_) map->set_native(node);
}

void Maps::flush(const Now& now, Effects& out) {
  for (const auto& [name, map] : maps_) {
    map->flush(now, out);
    schedule(*map);
  }
}

void Maps::leave() {
  around_->neighbours.clear();
  for (const auto& [name, map] : maps_) {
    map->leave();
    schedule(*map);
  }
}

void Maps::liveness(const Liveness& change, const Now& now, Effects& out) {
  if (change.alive) {
    around_->departed.erase(change.node);
  } else {
    around_->depart(change.node);
  }
  const auto concerned = around_->concerned.find(change.node);
  if (concerned == around_->concerned.end()) return;
  for (const auto& name : std::set(concerned->second)) {
    Map& map = *open_map(name);
    if (change.alive) {
      map.node_back(change.node, now);
    } else {
      map.node_gone(change.node, now, out);
    }
    schedule(map);
  }
}

bool Maps::takes(const Atom& replica_name) const { return map_of(replica_name) != nullptr; }

void Maps::deliver(const Atom& replica_name, const Term& payload, const Now& now, Effects& out) {
  Map* const map = map_of(replica_name);
  if (map == nullptr) return;
  map->deliver(payload, now, out);
  schedule(*map);
}

void Maps::receive(const Atom& replica_name, const Atom& from, const Term& message, const Now& now, Effects& out) {
  Map* const map = map_of(replica_name);
  if (map == nullptr) return;
  map->receive(from, message, now, out);
  schedule(*map);
}

void Maps::store_failed(std::span<const StoreChange> changes) {
  for (const auto& change : changes) {
    const std::string_view collection = change.collection;
    if (!collection.starts_with(collection_prefix)) continue;
    const auto name = Atom::make(collection.substr(collection_prefix.size()));
    if (!name) continue;
    Map* const map = open_map(*name);
    switch (change.kind) {
      case StoreChange::Kind::put:
      case StoreChange::Kind::erase:
        if (map != nullptr) map->store_failed(change.key);
        break;
      case StoreChange::Kind::drop:
        if (map == nullptr) undropped_.insert(*name);
        break;
      case StoreChange::Kind::set: break;
    }
  }
}

void Maps::tick(const Now& now, Effects& out) {
  std::vector<Map*> due;
  for (const auto& [time, name] : due_) {
    if (time > now.monotonic) break;
    due.push_back(open_map(name));
  }
  for (Map* const map : due) {
    map->tick(now, out);
    schedule(*map);
  }
  if (now.monotonic < next_scan_) return;
  next_scan_ = now.monotonic + around_->config.scan_period;
  for (const auto& map : std::exchange(undropped_, {})) drop(map, 0, out);
  around_->absences.note(around_->members, now.monotonic);
  around_->aging_clock.read(now);
  for (const auto& [name, map] : maps_) {
    map->scan(now, out);
    schedule(*map);
  }
}

MonotonicTime Maps::deadline() const noexcept {
  if (maps_.empty() && undropped_.empty()) return MonotonicTime::max();
  return due_.empty() ? next_scan_ : std::min(next_scan_, due_.begin()->first);
}

// What is known.

std::vector<Atom> Maps::names() const {
  std::vector<Atom> names;
  names.reserve(maps_.size());
  for (const auto& [name, map] : maps_) names.push_back(name);
  return names;
}

const replication::OrMap* Maps::find(const Atom& map) const {
  const Map* const open = open_map(map);
  return open == nullptr ? nullptr : &open->entries();
}

bool Maps::is_persistent(const Atom& map) const {
  const Map* const found = open_map(map);
  return found != nullptr && found->persistent();
}

Result<MapStatistics> Maps::statistics(const Atom& map) const {
  const Map* const open = open_map(map);
  if (open == nullptr) return no_such_map(map);
  return open->statistics();
}

std::vector<std::string> Maps::take_warnings() { return std::exchange(around_->warnings, {}); }

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
