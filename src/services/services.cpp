#include "services/services.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/prng.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

/// One name for all, another seed for each part.
ServicesConfig completed(ServicesConfig config) {
  Prng seeds(config.seed);
  config.members.own = config.placement.own = config.registry.own = config.leader.own = config.own;
  config.maps.own = config.reminders.own = config.types.own = config.own;
  for (std::size_t* const bytes_max :
       {&config.members.snapshot_bytes_max, &config.registry.snapshot_bytes_max, &config.leader.snapshot_bytes_max,
        &config.maps.snapshot_bytes_max, &config.reminders.snapshot_bytes_max, &config.types.snapshot_bytes_max}) {
    *bytes_max = config.snapshot_bytes_max;
  }
  config.members.seed = seeds.next();
  config.registry.seed = seeds.next();
  config.maps.seed = seeds.next();
  config.types.seed = seeds.next();
  config.leader.seed = seeds.next();
  config.reminders.seed = seeds.next();
  return config;
}

}  // namespace

Services::Services(ServicesConfig config, const Now& now) : Services(now, completed(std::move(config))) {}

Services::Services(const Now& now, ServicesConfig&& config)
    : clock_(config.clock),
      members_(std::move(config.members), clock_, now),
      placement_(std::move(config.placement), members_),
      placed_(placement_.revision()),
      registry_(std::move(config.registry), clock_, members_, now),
      leader_(std::move(config.leader), clock_, members_, config.fences, now),
      maps_(std::move(config.maps), clock_, members_, now),
      reminders_(std::move(config.reminders), clock_, members_, placement_, now),
      types_(std::move(config.types)) {}

// What the overlay tells.

void Services::neighbour_up(const Atom& node, bool native, const Now& now, Effects& out) {
  // That earlier registrations and campaigns are gone is told before that this node lives.
  registry_.neighbour_up(node, now, out);
  leader_.neighbour_up(node, now, out);
  members_.neighbour_up(node, now, out);
  maps_.neighbour_up(node, now, out);
  reminders_.neighbour_up(node, now);
  types_.neighbour_up(node, now);
  if (native) set_native(node, out);
  spread(now, out);
}

void Services::neighbour_down(const Atom& node) {
  members_.neighbour_down(node);
  placement_.neighbour_down(node);
  registry_.neighbour_down(node);
  leader_.neighbour_down(node);
  maps_.neighbour_down(node);
  reminders_.neighbour_down(node);
  types_.neighbour_down(node);
}

void Services::gossip_lost(const Atom& node, const Now& now) {
  registry_.gossip_lost(node, now);
  leader_.gossip_lost(node, now);
  maps_.gossip_lost(node, now);
  reminders_.gossip_lost(node, now);
  // Members beat soon again. Types have no digests: a comparison would send all of them, when there is too much
  // already.
}

void Services::set_native(const Atom& node, Effects& out) {
  members_.set_native(node);
  placement_.set_native(node, out);
  registry_.set_native(node);
  leader_.set_native(node);
  maps_.set_native(node);
  reminders_.set_native(node);
  types_.set_native(node);
}

void Services::leave(const Now& now, Effects& out) {
  maps_.flush(now, out);
  // Who leads here hears that it does not any more before others hear that they may.
  leader_.leave(now, out);
  Effects goodbye;
  members_.leave(now, goodbye);
  place(now, out);
  std::ranges::move(goodbye, std::back_inserter(out));
  registry_.leave();
  maps_.leave();
  reminders_.leave();
  types_.leave();
  spread(now, out);
}

bool Services::deliver(const Term& tag, const Term& payload, const Now& now, Effects& out) {
  const auto name = tag.as_atom();
  if (!name) return false;
  if (*name == members_replica_name) {
    members_.deliver(payload, now, out);
  } else if (*name == registry_replica_name) {
    registry_.deliver(payload, now, out);
  } else if (*name == leader_replica_name) {
    leader_.deliver(payload, now, out);
  } else if (maps_.takes(*name)) {
    maps_.deliver(*name, payload, now, out);
  } else if (*name == reminder_replica_name) {
    reminders_.deliver(payload, now, out);
  } else if (types_.takes(*name)) {
    types_.deliver(*name, payload);
  } else {
    return false;
  }
  spread(now, out);
  return true;
}

// Messages, the disk, time.

bool Services::receive(const Atom& name, const Atom& from, const Term& message, const Now& now, Effects& out) {
  if (name == members_replica_name) {
    members_.receive(from, message, now, out);
  } else if (name == registry_replica_name) {
    registry_.receive(from, message, now, out);
  } else if (name == placement_name) {
    placement_.receive(from, message);
  } else if (name == leader_replica_name) {
    leader_.receive(from, message, now, out);
  } else if (maps_.takes(name)) {
    maps_.receive(name, from, message, now, out);
  } else if (name == reminder_replica_name) {
    reminders_.receive(from, message, now, out);
  } else if (types_.takes(name)) {
    types_.receive(name, from, message, now, out);
  } else {
    return false;
  }
  spread(now, out);
  return true;
}

void Services::process_down(const Pid& pid, const Term& reason, const Now& now, Effects& out) {
  registry_.process_down(pid, reason, now, out);
  leader_.process_down(pid, now, out);
}

void Services::stored(std::span<const StoreChange> changes) {
  for (const auto& change : changes) {
    if (change.kind != StoreChange::Kind::set || change.collection != clock_mark_name) continue;
    clock_.mark_written(change.key.as_int64().value());
  }
}

void Services::store_failed(std::span<const StoreChange> changes) {
  maps_.store_failed(changes);
  leader_.store_failed(changes);
  reminders_.store_failed(changes);
  for (const auto& change : changes) {
    if (change.kind != StoreChange::Kind::set) continue;
    if (change.collection == clock_mark_name) mark_failed_ = true;
    if (change.collection == known_members_name) known_failed_ = true;
  }
}

void Services::tick(const Now& now, Effects& out) {
  // Not before: a disk that is full would be asked again and again.
  if (std::exchange(mark_failed_, false)) clock_.mark_failed();
  if (std::exchange(known_failed_, false)) members_.known_failed();
  members_.tick(now, out);
  registry_.tick(now, out);
  leader_.tick(now, out);
  maps_.tick(now, out);
  place(now, out);  // before what depends on it
  reminders_.tick(now, out);
  types_.tick(now, out);
  spread(now, out);
}

MonotonicTime Services::deadline() const noexcept {
  return std::min({members_.deadline(), placement_.deadline(), registry_.deadline(), leader_.deadline(),
                   maps_.deadline(), reminders_.deadline(), types_.deadline()});
}

/// The placement follows the members.
void Services::place(const Now& now, Effects& out) {
  placement_.update(now.monotonic);
  if (std::exchange(placed_, placement_.revision()) != placed_) {
    out.emplace_back(PlacementChanged{});
    reminders_.owners_changed(now);
  }
  for (const auto& change : placement_.take_changes()) out.emplace_back(ShardHappened{change});
}

/// What one part changed and another must know.
void Services::spread(const Now& now, Effects& out) {
  place(now, out);
  for (const auto& change : members_.take_changes()) {
    registry_.liveness(change, now, out);
    leader_.liveness(change, now, out);
    maps_.liveness(change, now, out);
    types_.liveness(change);
  }
  settle(out);
}

std::vector<std::string> Services::take_warnings() {
  auto all = placement_.take_warnings();
  std::ranges::move(maps_.take_warnings(), std::back_inserter(all));
  std::ranges::move(reminders_.take_warnings(), std::back_inserter(all));
  return all;
}

void Services::settle(Effects& out) {
  if (auto known = members_.take_known()) {
    StoreChange change{.kind = StoreChange::Kind::set, .collection = std::string(known_members_name)};
    change.key = std::move(*known);
    out.emplace_back(Persist{{std::move(change)}, 0});
  }
  const auto mark = clock_.take_mark();
  if (!mark) return;
  StoreChange change{
      .kind = StoreChange::Kind::set, .collection = std::string(clock_mark_name), .key = Term(mark->wall)};
  // Before whatever was stamped: what is durable or told must not be newer than the mark.
  auto* const before = out.empty() ? nullptr : std::get_if<Persist>(&out.front());
  if (before != nullptr && before->changes.front().collection == clock_mark_name) {
    before->changes.front() = std::move(change);
    before->awaited = before->awaited || mark->urgent;
  } else {
    out.insert(out.begin(), Persist{{std::move(change)}, 0, mark->urgent});
  }
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
