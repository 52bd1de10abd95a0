#include "services/members.hpp"

#include <algorithm>
#include <barrel_p2p/node_name.hpp>
#include <tuple>

#include "services/forward.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

using replication::Entry;

/// A new neighbour is told at once that we live, unless the last beat is younger than this part of the period.
constexpr int beat_parts = 4;

replication::ReplicaConfig replica_config(const MembersConfig& config) {
  replication::ReplicaConfig replica;
  replica.own = config.own;
  replica.name = Atom(members_replica_name);
  replica.seed = config.seed;
  replica.anti_entropy_period = Milliseconds(0);  // beats repair everything
  replica.snapshot_bytes_max = config.snapshot_bytes_max;
  replica.asks_new_peers = false;
  return replica;
}

std::optional<WallMilliseconds> emit_of(const Term& value) {
  return value.is_tagged("alive", 2) ? value[1].as_int64() : std::nullopt;
}

/// Of the clock by more than is taken.
bool is_ahead(WallMilliseconds emit, WallMilliseconds wall, Milliseconds skew) { return emit > wall + skew.count(); }

}  // namespace

Members::Members(MembersConfig config, replication::HybridClock& clock, const Now& now)
    : config_(std::move(config)),
      clock_(clock),
      now_(now),
      store_at_(now.monotonic),
      members_{config_.own},
      excused_(now.monotonic),
      replica_(replica_config(config_), *this, now.monotonic),
      own_emit_(now.wall),
      last_beat_(now.monotonic),
      next_beat_(now.monotonic + config_.heartbeat),
      next_check_(MonotonicTime::max()) {
  recall(std::exchange(config_.known, Term()), now);
}

// What happens.

void Members::neighbour_up(const Atom& node, const Now& now, Effects& out) {
  begin(now);
  if (std::exchange(left_, false)) next_beat_ = now.monotonic;
  if (std::ranges::find(neighbours_, node) == neighbours_.end()) neighbours_.push_back(node);
  replica_.peer_up(node, now.monotonic);
  const auto soon = last_beat_ + config_.heartbeat / beat_parts;
  next_beat_ = std::min(next_beat_, std::max(soon, now.monotonic));
  tick(now, out);
}

void Members::neighbour_down(const Atom& node) {
  std::erase(neighbours_, node);
  replica_.peer_down(node);
}

void Members::set_native(const Atom& node) { replica_.set_native(node); }

void Members::leave(const Now& now, Effects& out) {
  if (std::exchange(left_, true)) return;
  now_ = now;
  own_emit_ = is_ahead(own_emit_, now.wall, config_.skew) ? now.wall : std::max(own_emit_ + 1, now.wall);
  replica_.broadcast_custom(Term::tuple({Atom("goodbye"), own_emit_}), from_replica_);
  set_own(false);
  finish(out);
  for (const auto& node : std::exchange(neighbours_, {})) {
    const Term goodbye = Term::tuple({Atom("goodbye"), config_.own, own_emit_});
    out.emplace_back(Send{node, Atom(members_replica_name), replication::enveloped(goodbye)});
  }
  replica_.leave();
}

void Members::deliver(const Term& payload, const Now& now, Effects& out) {
  begin(now);
  replica_.deliver(payload);
  finish(out);
}

void Members::receive(const Atom& from, const Term& message, const Now& now, Effects& out) {
  begin(now);
  const Term* const content = replication::content_of(message);
  if (content != nullptr && content->is_tagged("goodbye", 3) && (*content)[1] == Term(from)) {
    said_goodbye(from, (*content)[2]);
  } else {
    replica_.receive(from, message, now.monotonic, from_replica_);
  }
  finish(out);
}

void Members::tick(const Now& now, Effects& out) {
  begin(now);
  if (now.monotonic >= next_check_) expire(now);
  if (!missing_.empty()) forget_missing(now);
  if (!left_ && now.monotonic >= next_beat_) beat(now);
  replica_.tick(now.monotonic, from_replica_);
  finish(out);
}

MonotonicTime Members::deadline() const noexcept {
  MonotonicTime next = left_ ? next_check_ : std::min(next_check_, next_beat_);
  if (const auto replica = replica_.deadline()) next = std::min(next, *replica);
  return next;
}

void Members::beat(const Now& now) {
  // Beats of a clock that was set back are beats all the same; but those from farther ahead than the skew nobody takes.
  own_emit_ = is_ahead(own_emit_, now.wall, config_.skew) ? now.wall : std::max(own_emit_, now.wall);
  set_own(true);
  last_beat_ = now.monotonic;
  next_beat_ = now.monotonic + config_.heartbeat;
  const Entry entry = Entry::value(Term::tuple({Atom("alive"), own_emit_}), {clock_.now(now.wall), config_.own});
  replica_.broadcast(Term::map({{config_.own, replication::to_term(entry)}}), from_replica_);
}

void Members::finish(Effects& out) {
  forward(from_replica_, Atom(members_replica_name), out);
  if (std::exchange(members_changed_, false)) out.emplace_back(MembersChanged{});
}

// Leases.

Members::Lease* Members::lease_of(const Atom& node) {
  const auto found = leases_.find(node);
  if (found != leases_.end()) return &found->second;
  if (leases_.size() >= config_.nodes_max || !NodeName::parse(node.text())) return nullptr;
  first_absence_.reset();
  return &leases_[node];
}

/// Something new was heard of the node, that it said at that time.
void Members::hear(const Atom& node, Lease& lease, MonotonicTime said) {
  lease.heard = std::max(lease.heard, said);
  next_check_ = std::min(next_check_, lease.heard + config_.ttl);
  if (std::exchange(lease.alive, true)) return;
  changes_.push_back({node, true});
  missing_.erase(node);
  known_changed_ = true;
  first_absence_.reset();
}

bool Members::is_fresh(WallMilliseconds emit) const noexcept {
  // `emit` may be any number: the subtraction must not overflow.
  return emit >= now_.wall - config_.ttl.count();
}

bool Members::renew(const Atom& node, Lease& lease, WallMilliseconds emit) {
  if (is_ahead(emit, now_.wall, config_.skew)) {
    ++counters_.rejected_in_future;
    return false;
  }
  // What is ahead by now was taken before our clock was set back, and says nothing of the order.
  if (emit <= lease.emit && !is_ahead(lease.emit, now_.wall, config_.skew)) return false;
  lease.emit = emit;
  const bool fresh = is_fresh(emit);
  if (fresh) {
    lease.expires = now_.monotonic + config_.ttl - Milliseconds(now_.wall - emit);
    next_check_ = std::min(next_check_, lease.expires);
  }
  set_member(node, lease, fresh);
  return true;
}

void Members::set_member(const Atom& node, Lease& lease, bool member) {
  if (std::exchange(lease.member, member) != member) list(node, member);
}

void Members::set_own(bool member) {
  if (std::exchange(own_member_, member) != member) list(config_.own, member);
}

void Members::list(const Atom& node, bool member) {
  members_changed_ = true;
  ++revision_;
  const auto place = std::ranges::lower_bound(members_, node);
  if (member) {
    members_.insert(place, node);
  } else {
    members_.erase(place);
  }
}

void Members::end(const Atom& node, Lease& lease) {
  if (!std::exchange(lease.alive, false)) return;
  changes_.push_back({node, false});
  known_changed_ = true;
  first_absence_.reset();
}

/// Time passes, perhaps without this node: it beats once in a period, or something kept it from doing so.
void Members::begin(const Now& now) {
  now_ = now;
  if (left_ || now.monotonic <= next_beat_ + config_.heartbeat) return;
  const bool lapsed = own_member_ && lease_until() < now.monotonic;
  excused_ = std::max(excused_, now.monotonic + (lapsed ? config_.ttl : config_.heartbeat));
  if (!lapsed) return;
  ++lapses_;
  set_own(false);
}

void Members::expire(const Now& now) {
  next_check_ = MonotonicTime::max();
  for (auto lease = leases_.begin(); lease != leases_.end();) {
    auto& [node, state] = *lease;
    const auto expires = std::max(state.expires, excused_);
    const auto silent = std::max(state.heard + config_.ttl, excused_);
    if (state.member && expires < now.monotonic) set_member(node, state, false);
    if (state.alive && silent < now.monotonic) end(node, state);
    if (!state.alive && !state.member && state.heard + config_.remember < now.monotonic) {
      lease = leases_.erase(lease);
      known_changed_ = true;
      first_absence_.reset();
      continue;
    }
    constexpr Milliseconds past{1};  // a lease counts up to and with its last moment
    auto next = (state.alive ? silent : state.heard + config_.remember) + past;
    if (state.member) next = std::min(next, expires + past);
    next_check_ = std::min(next_check_, next);
    ++lease;
  }
}

// ReplicatedState.

bool Members::merge_delta(const Atom& from, const Term& entries) {
  if (entries.size() != 1 || !entries.is_map() || entries.pairs().front().first.as_atom() != from) {
    ++counters_.rejected;
    return false;
  }
  const auto entry = replication::entry_of(entries.pairs().front().second);
  const auto emit = entry && entry->is_live() ? emit_of(entry->value()) : std::nullopt;
  Lease* lease = emit ? lease_of(from) : nullptr;
  if (lease == nullptr) {
    ++counters_.rejected;
    return false;
  }
  ++counters_.beats_received;
  const auto ahead = [&](WallMilliseconds time) { return is_ahead(time, now_.wall, config_.skew); };
  // Its clock may have been far ahead in a life before this one: those beats say nothing of the order.
  if (*emit > lease->told || (ahead(lease->told) && !ahead(*emit))) lease->told = *emit;
  const auto& stamp = entry->stamp();
  if (stamp > lease->stamp || (ahead(lease->stamp.wall) && !ahead(stamp.wall))) {
    lease->stamp = stamp;
    const bool overtaken = *emit < lease->farewell && now_.monotonic < lease->farewell_until;
    if (!overtaken) {
      lease->vouched = now_.monotonic + config_.ttl;
      hear(from, *lease, now_.monotonic);
    }
  }
  // A stamp that the clock refuses does no harm here.
  if (renew(from, *lease, *emit)) std::ignore = clock_.observe(stamp, now_.wall);
  return true;
}

bool Members::apply_snapshot(const Atom& /*from*/, const Term& snapshot) {
  if (!snapshot.is_map()) {
    ++counters_.rejected;
    return false;
  }
  const auto lives_before = changes_.size();
  const auto members_before = revision_;
  for (const auto& [key, value] : snapshot.pairs()) {
    const auto node = key.as_atom();
    const auto emit = value.as_int64();
    if (node && *node == config_.own) continue;
    // A member only for clocks that are as wrong as its own: its next beat tells whether it lives.
    if (node && emit && !is_fresh(*emit)) continue;
    Lease* lease = node && emit ? lease_of(*node) : nullptr;
    if (lease == nullptr) {
      ++counters_.rejected;
    } else if (renew(*node, *lease, *emit) && *emit > lease->told) {
      lease->vouched = std::max(lease->vouched, now_.monotonic + 2 * config_.heartbeat);
      hear(*node, *lease, now_.monotonic - Milliseconds(std::max<WallMilliseconds>(now_.wall - *emit, 0)));
    }
  }
  // Only that is worth telling the other neighbours: what is merely newer they hear by the next beat, and some beat is
  // always under way, so that nodes would hand snapshots round for ever.
  return changes_.size() != lives_before || revision_ != members_before;
}

std::optional<Term> Members::snapshot() const {
  std::vector<TermPair> pairs;
  if (own_member_) pairs.emplace_back(config_.own, own_emit_);
  for (const auto& [node, lease] : leases_) {
    if (lease.member && lease.expires >= now_.monotonic && lease.vouched >= now_.monotonic)
      pairs.emplace_back(node, lease.emit);
  }
  if (pairs.empty()) return std::nullopt;
  return Term::map(std::move(pairs));
}

void Members::merge_custom(const Atom& from, const Term& payload) {
  if (payload.is_tagged("goodbye", 2)) {
    said_goodbye(from, payload[1]);
  } else {
    ++counters_.rejected;
  }
}

void Members::said_goodbye(const Atom& node, const Term& emit) {
  const auto said = emit.as_int64();
  if (!said || is_ahead(*said, now_.wall, config_.skew)) {
    ++counters_.rejected;
    return;
  }
  const auto found = leases_.find(node);
  if (found == leases_.end()) return;
  if (*said < found->second.emit && !is_ahead(found->second.emit, now_.wall, config_.skew))
    return;  // it said something since
  found->second.emit = *said;
  found->second.farewell = *said;
  found->second.farewell_until = now_.monotonic + config_.ttl;
  set_member(node, found->second, false);
  end(node, found->second);
}

// What is known over restarts.

/// Who was alive then is missing since this node's last life ended, which the clock's mark tells until it moves on: so
/// that is written down.
void Members::recall(const Term& known, const Now& now) {
  if (!known.is_map()) return;
  const WallMilliseconds mark = clock_.last().wall;
  const WallMilliseconds ended = mark == 0 ? now.wall : std::min(mark, now.wall);
  for (const auto& [key, value] : known.pairs()) {
    const auto node = key.as_atom();
    const auto heard = value.is_atom("alive") ? std::optional(ended) : value.as_int64();
    if (!node || *node == config_.own || !heard || missing_.size() >= config_.nodes_max) continue;
    has_past_ = true;
    known_changed_ = known_changed_ || value.is_atom();
    const WallMilliseconds oldest = now.wall - config_.remember.count();
    if (*heard < oldest) continue;
    missing_.emplace(*node, now.monotonic - Milliseconds(now.wall - std::min(*heard, now.wall)));
  }
}

void Members::forget_missing(const Now& now) {
  const auto forgotten =
      std::erase_if(missing_, [&](const auto& one) { return one.second + config_.remember < now.monotonic; });
  if (forgotten > 0) known_changed_ = true;
}

std::optional<Term> Members::take_known() {
  if (!known_changed_ || now_.monotonic < store_at_) return std::nullopt;
  known_changed_ = false;
  store_at_ = now_.monotonic + config_.store_pause;
  return known_term();
}

Term Members::known_term() const {
  const auto wall_of = [&](MonotonicTime heard) {
    return now_.wall - std::chrono::duration_cast<Milliseconds>(now_.monotonic - heard).count();
  };
  std::vector<TermPair> pairs;
  pairs.reserve(leases_.size() + missing_.size());
  for (const auto& [node, lease] : leases_) {
    if (lease.alive) {
      pairs.emplace_back(node, Atom("alive"));
    } else if (lease.heard != MonotonicTime{}) {
      pairs.emplace_back(node, wall_of(lease.heard));
    }
  }
  for (const auto& [node, since] : missing_) {
    if (!leases_.contains(node)) pairs.emplace_back(node, wall_of(since));
  }
  return Term::map(std::move(pairs));
}

// What is known.

bool Members::is_alive(const Atom& node) const noexcept {
  if (node == config_.own) return true;
  const auto found = leases_.find(node);
  return found != leases_.end() && found->second.alive;
}

std::optional<Milliseconds> Members::silent_for(const Atom& node, MonotonicTime now) const noexcept {
  if (node == config_.own) return Milliseconds(0);
  const auto found = leases_.find(node);
  if (found == leases_.end()) return std::nullopt;
  return std::chrono::duration_cast<Milliseconds>(now - found->second.heard);
}

std::optional<Milliseconds> Members::longest_absence(MonotonicTime now) const noexcept {
  if (!first_absence_) {
    auto first = MonotonicTime::max();
    for (const auto& [node, lease] : leases_) {
      if (!lease.alive) first = std::min(first, lease.heard);
    }
    first_absence_ = first;
  }
  MonotonicTime first = *first_absence_;
  for (const auto& [node, since] : missing_) first = std::min(first, since);
  if (first == MonotonicTime::max()) return std::nullopt;
  return std::chrono::duration_cast<Milliseconds>(now - first);
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
