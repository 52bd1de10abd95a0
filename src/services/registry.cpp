#include "services/registry.hpp"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

#include "services/forward.hpp"
#include "services/ghosts.hpp"
#include "services/registry_entry.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

using replication::Change;
using replication::Entry;

/// Between two looks at the nodes whose time has come.
constexpr Milliseconds scan_period{1000};
/// Tombstones alone are looked at less often: nobody waits for their end.
constexpr Milliseconds tombstone_scan_period{60'000};
/// Tombstones that are collected at a time: a few milliseconds.
constexpr std::size_t collected_max = 10'000;

replication::ReplicaConfig replica_config(const RegistryConfig& config) {
  replication::ReplicaConfig replica;
  replica.own = config.own;
  replica.name = Atom(registry_replica_name);
  replica.seed = config.seed;
  replica.anti_entropy_period = config.anti_entropy_period;
  replica.snapshot_bytes_max = config.snapshot_bytes_max;
  return replica;
}

}  // namespace

Registry::Registry(RegistryConfig config, replication::HybridClock& clock, const Members& members, const Now& now)
    : config_(std::move(config)),
      clock_(clock),
      members_(members),
      now_(now),
      state_(
          {.own = config_.own,
           .entries_max = config_.entries_max + config_.entries_per_node_max,
           .check = [this](const Term& key, const Entry& entry) { return acceptable(key, entry); },
           .offered =
               [this](const Term& key) { return standings_.is_offered(node_of(key), incoming_.from, now_.monotonic); }},
          clock, [this] { return now_.wall; },
          [this](const Term& key, Change change, const Entry& entry, const Atom& /*from*/) {
            on_change(key, change, entry);
          }),
      replica_(replica_config(config_), *this, now.monotonic),
      began_{std::max(clock.last().wall, now.wall), 0},
      standings_({.own = config_.own,
                  .forget_after = config_.forget_after,
                  .vouch_for = config_.vouch_for,
                  .expect_for = config_.expect_for},
                 members),
      announce_at_(now.monotonic) {}

void Registry::begin(const Now& now, Effects& out) {
  assert(out_ == nullptr);
  now_ = now;
  out_ = &out;
}

void Registry::end() {
  forward(replica_effects_, Atom(registry_replica_name), *out_);
  settle_confirmations();
  for (auto& completed : std::exchange(completed_, {})) out_->emplace_back(std::move(completed));
  out_ = nullptr;
}

void Registry::settle_confirmations() {
  for (auto& confirmation : replica_.take_confirmations()) {
    const auto ticket = confirmations_.extract(confirmation.token);
    if (!ticket.empty()) completed_.push_back({ticket.mapped(), std::move(confirmation.result)});
  }
}

// What the program asks for.

Result<void> Registry::add(const Term& name, const Pid& pid, const Term& meta, Ticket ticket, Milliseconds limit,
                           const Now& now, Effects& out) {
  if (!is_service_name(name)) {
    return fail(Errc::invalid_argument, "the name of a service is an atom or a binary of at most " +
                                            std::to_string(service_name_bytes_max) + " bytes");
  }
  if (!meta.is_map()) return fail(Errc::invalid_argument, "the metadata of a service is a map");
  if (const auto size = encoded_size(meta, false); size > config_.meta_bytes_max) {
    return fail(Errc::limit_exceeded, "the metadata of a service has " + std::to_string(size) + " bytes, at most " +
                                          std::to_string(config_.meta_bytes_max) + " are allowed");
  }
  const Term key = service_key(name, config_.own);
  if (map().get(key) != nullptr) return fail(Errc::already_registered, "this node has registered " + to_text(name));
  const bool is_new = map().find(key) == nullptr || ghosts_.contains(key);
  if (is_new && registered() >= config_.entries_per_node_max) {
    return fail(Errc::limit_exceeded, "this node has registered or removed too many services of late");
  }
  if (ticket != 0 && confirmations_.size() >= replication::ReplicaConfig{}.confirmations_max) {
    return fail(Errc::limit_exceeded, "too many registrations wait for the neighbours");
  }
  begin(now, out);
  // First of all: who hears of the service may end the process at once, and then hears why it ended.
  auto& names = watched_[pid];
  if (names.empty()) out.emplace_back(Watch{pid});
  names.insert(name);
  auto entries = state_.put(key, service_value(name, pid, config_.own, meta));
  if (!entries) {
    stop_watching(pid, name);
    end();
    return std::unexpected(entries.error());
  }
  ++counters_.registrations;
  replica_.broadcast(std::move(*entries), replica_effects_);
  if (ticket != 0) {
    const auto token = replica_.confirm(key, map().find(key)->stamp(), limit, now.monotonic, replica_effects_);
    if (token) {
      confirmations_.emplace(*token, ticket);
    } else {
      completed_.push_back({ticket, std::unexpected(token.error())});
    }
  }
  end();
  return {};
}

bool Registry::remove(const Term& name, const Now& now, Effects& out) {
  const Term key = service_key(name, config_.own);
  const Term* value = map().get(key);
  if (value == nullptr) return false;
  const Pid pid = pid_of(*value);
  begin(now, out);
  if (auto entries = state_.remove(key)) {
    ++counters_.removals;
    stop_watching(pid, name);
    replica_.broadcast(std::move(*entries), replica_effects_);
  }
  end();
  return true;
}

void Registry::process_down(const Pid& pid, const Term& reason, const Now& now, Effects& out) {
  const auto watched = watched_.extract(pid);
  if (watched.empty()) return;
  begin(now, out);
  end_reason_ = reason;
  for (const auto& name : watched.mapped()) {
    const Term key = service_key(name, config_.own);
    if (!state_.remove(key)) continue;
    ++counters_.removals;
    announce(key);
  }
  end_reason_.reset();
  end();
}

void Registry::stop_watching(const Pid& pid, const Term& name) {
  const auto watched = watched_.find(pid);
  if (watched == watched_.end()) return;
  watched->second.erase(name);
  if (!watched->second.empty()) return;
  watched_.erase(watched);
  out_->emplace_back(Unwatch{pid});
}

/// Tells all of what is stored under an own key, at once or as soon as others had their turn.
void Registry::announce(const Term& key) {
  if (announce_at_ <= now_.monotonic) {
    announce_at_ = now_.monotonic + config_.announce_pause;
    announced_ = 0;
  }
  // What is not told here is found by the digests.
  if (announcements_.size() < config_.entries_per_node_max) announcements_.push_back(key);
  send_announcements();
}

void Registry::send_announcements() {
  while (announced_ < config_.announcements_max && !announcements_.empty()) {
    const Term key = std::move(announcements_.front());
    announcements_.pop_front();
    if (map().find(key) == nullptr) continue;  // collected meanwhile
    ++announced_;
    replica_.broadcast(Term::map({{key, state_.entry(key)}}), replica_effects_);
  }
}

// What happens.

void Registry::ask_as(Pid reply_to, std::function<Ref()> make_reference) {
  reply_to_ = std::move(reply_to);
  make_reference_ = std::move(make_reference);
}

void Registry::neighbour_up(const Atom& node, const Now& now, Effects& out) {
  begin(now, out);
  replica_.peer_up(node, now.monotonic);
  questions_.neighbour_up(node, now.monotonic);
  // The first ones may be cut off from the rest. Whom none of these reaches learns it from what comes back (ghosts).
  constexpr std::size_t tellings = 3;
  if (began_told_ < tellings) {
    ++began_told_;
    replica_.broadcast_custom(Term::tuple({Atom("began"), replication::to_term(began_)}), replica_effects_);
  }
  end();
}

void Registry::neighbour_down(const Atom& node) {
  replica_.peer_down(node);
  questions_.neighbour_down(node);
  settle_confirmations();
}

void Registry::set_native(const Atom& node) {
  replica_.set_native(node);
  questions_.set_native(node);
}

void Registry::leave() {
  replica_.leave();
  questions_.leave();
  settle_confirmations();
}

void Registry::deliver(const Term& payload, const Now& now, Effects& out) {
  begin(now, out);
  replica_.deliver(payload);
  end();
}

void Registry::receive(const Atom& from, const Term& message, const Now& now, Effects& out) {
  begin(now, out);
  replica_.receive(from, message, now.monotonic, replica_effects_);
  end();
}

void Registry::tick(const Now& now, Effects& out) {
  begin(now, out);
  if (scan_at_ <= now.monotonic) scan();
  if (!announcements_.empty() && announce_at_ <= now.monotonic) {
    announce_at_ = now.monotonic + config_.announce_pause;
    announced_ = 0;
    send_announcements();
  }
  ask_neighbours();
  replica_.tick(now.monotonic, replica_effects_);
  end();
}

MonotonicTime Registry::deadline() const noexcept {
  if (!completed_.empty()) return MonotonicTime::min();
  MonotonicTime next = std::min({scan_at_, questions_.deadline(), replica_.deadline().value_or(MonotonicTime::max())});
  if (!announcements_.empty()) next = std::min(next, announce_at_);
  return next;
}

// What peers sent.

bool Registry::take(const Atom& from, bool only_of_sender, const Term& entries) {
  if (!entries.is_map()) {
    ++counters_.rejected;
    return false;
  }
  set_standing(from, standings_.vouch(from, now_.monotonic));
  make_room(entries);
  incoming_ = {.from = from, .only_of_sender = only_of_sender};
  const auto rejected = state_.counters().rejected;
  bool changed = state_.merge(from, entries);
  counters_.rejected += state_.counters().rejected - rejected - incoming_.passed_over - incoming_.ghosts.size();
  for (const auto& key : std::exchange(incoming_, {}).ghosts) changed = lay_ghost(key) || changed;
  return changed;
}

bool Registry::acceptable(const Term& key, const Entry& entry) {
  if (!is_service_key(key)) return false;
  const Atom node = node_of(key);
  if (incoming_.only_of_sender && node != incoming_.from) return false;
  if (node == config_.own) return acceptable_own(key, entry);
  if (entry.is_live() && !(entry.only_by(node) && is_service_value(entry.value(), key, config_.meta_bytes_max))) {
    return false;
  }
  if (standings_.is_forgotten(node, now_.monotonic) || is_outdated(map().find(key), entry, outdated_before())) {
    ++incoming_.passed_over;
    return false;
  }
  return has_room(key, node);
}

/// Our own entries are what we say they are. What others have otherwise is not taken over: it is a ghost.
bool Registry::acceptable_own(const Term& key, const Entry& entry) {
  const Entry* ours = map().find(key);
  if (is_ghost(ours, entry)) {
    // So that our answer is newer.
    if (!clock_.observe(entry.stamp(), now_.wall)) return false;
    incoming_.ghosts.push_back(key);
    return false;
  }
  if (entry.is_live()) {
    return entry.only_by(config_.own) && is_service_value(entry.value(), key, config_.meta_bytes_max);
  }
  if (is_outdated(ours, entry, outdated_before())) {
    ++incoming_.passed_over;
    return false;
  }
  return has_room(key, config_.own);
}

/// How many keys the program has registered in this life, removed ones included.
std::size_t Registry::registered() const {
  const auto owner = owners_.find(config_.own);
  return owner == owners_.end() ? 0 : owner->second.keys.size() - ghosts_.size();
}

/// What peers told of it.
std::size_t Registry::known_of(const Atom& node) const {
  if (node == config_.own) return ghosts_.size();
  const auto owner = owners_.find(node);
  return owner == owners_.end() ? 0 : owner->second.keys.size();
}

bool Registry::has_room(const Term& key, const Atom& node) {
  if (map().find(key) != nullptr) return true;
  std::size_t& added_of = incoming_.added_of[node];
  if (known_of_others() + incoming_.added >= config_.entries_max) return false;
  if (known_of(node) + added_of >= config_.entries_per_node_max) return false;
  ++incoming_.added;
  ++added_of;
  return true;
}

/// Entries of nodes that are gone give way to what is new.
void Registry::make_room(const Term& entries) {
  if (known_of_others() + entries.size() <= config_.entries_max) return;
  const auto is_new = [this](const TermPair& pair) {
    return is_service_key(pair.first) && map().find(pair.first) == nullptr;
  };
  const auto added = static_cast<std::size_t>(std::ranges::count_if(entries.pairs(), is_new));
  while (known_of_others() + added > config_.entries_max) {
    const auto gone = standings_.longest_gone();
    if (!gone) return;
    forget(*gone);
  }
}

/// Returns whether anything was written.
bool Registry::lay_ghost(const Term& key) {
  const Term* registered = map().get(key);
  const bool full = map().find(key) == nullptr &&
                    (ghosts_.size() >= config_.entries_per_node_max || known_of_others() >= config_.entries_max);
  const auto written = full                    ? fail(Errc::limit_exceeded)
                       : registered != nullptr ? state_.put(key, Term(*registered))
                                               : state_.remove(key);
  if (!written) {
    ++counters_.rejected;
    return false;
  }
  ++counters_.ghosts;
  announce(key);
  return true;
}

bool Registry::apply_snapshot(const Atom& from, const Term& snapshot) {
  const bool changed = take(from, true, snapshot);
  return bury_forgotten(from, snapshot) || changed;
}

/// What a node does not name in its snapshot, although that names something newer, was forgotten there in a restart:
/// its removals would be named. What the node writes after the snapshot is newer than all in it.
bool Registry::bury_forgotten(const Atom& node, const Term& snapshot) {
  const auto owner = owners_.find(node);
  if (owner == owners_.end() || node == config_.own) return false;
  const auto is_own = [&](const Term& key) { return is_service_key(key) && node_of(key) == node; };
  const auto newest = newest_named(snapshot, state_, is_own);
  std::vector<TermPair> buried;
  for (const auto& [key, removed] : owner->second.keys) {
    if (removed != ServiceOwner::live || snapshot.find(key) != nullptr) continue;
    const auto written = map().find(key)->stamp();
    if (written >= newest) continue;
    if (auto tombstone = bury(key, written)) buried.push_back(std::move(*tombstone));
  }
  return !buried.empty() && take(node, true, Term::map(std::move(buried)));
}

// What Erlang neighbours are asked.

void Registry::ask_neighbours() {
  for (const auto& node : questions_.take_due(now_.monotonic)) {
    const auto owner = owners_.find(node);
    if (!make_reference_ || owner == owners_.end()) continue;
    RegistryQuestions::Known known;
    for (const auto& [key, removed] : owner->second.keys) {
      if (removed == ServiceOwner::live) known.emplace_back(key, map().find(key)->stamp());
    }
    if (known.empty()) continue;
    const Ref reference = make_reference_();
    Term question = Term::tuple({Atom("$gen_call"), Term::tuple({*reply_to_, reference}), Atom("get_local_ormap")});
    out_->emplace_back(Send{node, Atom("barrel_p2p_registry"), std::move(question)});
    questions_.asked(node, reference, std::move(known), now_.monotonic);
  }
}

void Registry::reply(const Atom& from, const Term& message, const Now& now, Effects& out) {
  const bool is_reply = message.is_tuple(2) && message[0].is_reference();
  const auto known = is_reply ? questions_.answered(from, *message[0].as_reference()) : std::nullopt;
  if (!known) return;
  begin(now, out);
  bool changed = take(from, true, message[1]);
  if (message[1].is_map()) changed = bury_missing(from, *known, message[1]) || changed;
  // Nobody else asks it, perhaps.
  if (changed) {
    for (const auto& node : questions_.natives()) replica_.suspect(node, now_.monotonic);
  }
  end();
}

/// What the node was known to have registered before it was asked, and does not name, not as removed either, it has
/// forgotten.
bool Registry::bury_missing(const Atom& node, const RegistryQuestions::Known& asked, const Term& answer) {
  std::vector<TermPair> buried;
  for (const auto& [key, stamp] : asked) {
    const Entry* entry = map().find(key);
    if (entry == nullptr || !entry->is_live() || entry->stamp() != stamp || answer.find(key) != nullptr) continue;
    if (auto tombstone = bury(key, stamp)) buried.push_back(std::move(*tombstone));
  }
  return !buried.empty() && take(node, true, Term::map(std::move(buried)));
}

void Registry::merge_custom(const Atom& from, const Term& payload) {
  const auto began = payload.is_tagged("began", 2) ? replication::timestamp_of(payload[1]) : fail(Errc::malformed_term);
  if (began) {
    bury_earlier(from, *began);
  } else {
    ++counters_.rejected;
  }
}

/// The tombstones are the same wherever they are made.
void Registry::bury_earlier(const Atom& node, const replication::Timestamp& began) {
  const auto owner = owners_.find(node);
  if (owner == owners_.end() || node == config_.own) return;
  const Term tombstone = replication::to_term(Entry::tombstone(began));
  std::vector<TermPair> buried;
  for (const auto& [key, removed] : owner->second.keys) {
    if (removed == ServiceOwner::live && map().find(key)->stamp() < began) buried.emplace_back(key, tombstone);
  }
  if (!buried.empty()) take(node, true, Term::map(std::move(buried)));
}

std::optional<Term> Registry::snapshot() const {
  const auto owner = owners_.find(config_.own);
  if (owner == owners_.end()) return std::nullopt;
  std::vector<TermPair> pairs;
  pairs.reserve(owner->second.keys.size());
  for (const auto& [key, removed] : owner->second.keys) pairs.emplace_back(key, state_.entry(key));
  return Term::map(std::move(pairs));
}

// The indices.

void Registry::on_change(const Term& key, Change change, const Entry& entry) {
  const Atom node = node_of(key);
  ServiceOwner& owner = owner_of(node);
  const WallMilliseconds removed = entry.is_live() ? ServiceOwner::live : entry.stamp().wall;
  const auto [known, added] = owner.keys.try_emplace(key, removed);
  if (entry.is_live()) {
    ghosts_.erase(key);
  } else if (added && node == config_.own) {
    ghosts_.insert(key);
  }
  const WallMilliseconds before = added ? ServiceOwner::live : std::exchange(known->second, removed);
  if (before != removed) {
    if (before != ServiceOwner::live) tombstones_.erase({before, key});
    if (removed != ServiceOwner::live) tombstones_.emplace(removed, key);
  } else if (added && removed != ServiceOwner::live) {
    tombstones_.emplace(removed, key);
  }
  if (!tombstones_.empty()) plan_scan(now_.monotonic + tombstone_scan_period);
  if (change == Change::removed) owner.lost.erase(key);
  if (change == Change::put && incoming_.from != node) questions_.doubt(node, now_.monotonic);
  if (!standings_.counts(node)) return;
  if (change == Change::put) {
    names_.set(name_of(key), node, entry.value());
    happened(ServiceEvent::Kind::registered, key);
  } else if (change == Change::removed) {
    names_.erase(name_of(key), node);
    if (end_reason_) {
      happened(ServiceEvent::Kind::down, key, *end_reason_);
    } else {
      happened(ServiceEvent::Kind::unregistered, key);
    }
  }
}

ServiceOwner& Registry::owner_of(const Atom& node) {
  const auto [found, added] = owners_.try_emplace(node);
  if (added) {
    standings_.add(node, incoming_.from, now_.monotonic);
    plan_judging();
  }
  return found->second;
}

/// What is visible under the key is another than before.
void Registry::happened(ServiceEvent::Kind kind, const Term& key, Term reason) {
  out_->emplace_back(ServiceChanged{name_of(key), node_of(key)});
  out_->emplace_back(
      ServiceHappened{{kind, *ServiceName::from(name_of(key)), NodeName(node_of(key).text()), std::move(reason)}});
}

/// Of a node that is not shown, or a tombstone.
void Registry::erase(const Term& key) {
  const Atom node = node_of(key);
  const auto owner = owners_.find(node);
  const auto known = owner->second.keys.find(key);
  if (known->second != ServiceOwner::live) tombstones_.erase({known->second, key});
  ghosts_.erase(key);
  state_.erase(key);
  owner->second.lost.erase(key);
  owner->second.keys.erase(known);
  if (!owner->second.keys.empty()) return;
  owners_.erase(owner);
  standings_.remove(node);
}

// Who is alive.

void Registry::plan_judging() {
  if (const auto due = standings_.next_due()) plan_scan(std::max(*due, now_.monotonic + scan_period));
}

void Registry::set_standing(const Atom& node, const Standings::Change& change) {
  plan_judging();
  if (change.is_none()) return;
  ServiceOwner& owner = owners_.at(node);
  std::vector<Term> live;
  for (const auto& [key, removed] : owner.keys) {
    if (change.is_of_offer()) state_.review(key);
    if (removed == ServiceOwner::live) live.push_back(key);
  }
  std::ranges::sort(live, TermLess{});  // the order of hashes is another in each process
  for (const auto& key : live) {
    if (change.after == Standing::alive) {
      names_.set(name_of(key), node, *map().get(key));
      const bool back = owner.lost.erase(key) > 0;
      happened(back ? ServiceEvent::Kind::node_back : ServiceEvent::Kind::registered, key);
    } else if (change.before == Standing::alive) {
      names_.erase(name_of(key), node);
      owner.lost.insert(key);
      happened(ServiceEvent::Kind::node_lost, key);
    }
  }
}

void Registry::liveness(const Liveness& change, const Now& now, Effects& out) {
  if (!owners_.contains(change.node)) return;
  begin(now, out);
  const auto standing = standings_.judge(change.node, now.monotonic);
  set_standing(change.node, standing);
  if (standing.is_return()) replica_.suspect(change.node, now.monotonic);
  end();
}

// Time.

void Registry::scan() {
  scan_at_ = MonotonicTime::max();
  for (const auto& node : standings_.unsettled(now_.monotonic))
    set_standing(node, standings_.judge(node, now_.monotonic));
  forget_gone();
  collect_tombstones();
  plan_judging();
  if (!tombstones_.empty()) plan_scan(now_.monotonic + tombstone_scan_period);
}

void Registry::forget_gone() {
  for (const auto& node : standings_.forgotten(now_.monotonic)) forget(node);
}

void Registry::forget(const Atom& node) {
  const auto& owned = owners_.at(node).keys;
  std::vector<Term> keys;
  keys.reserve(owned.size());
  for (const auto& [key, removed] : owned) keys.push_back(key);
  for (const auto& key : keys) erase(key);
}

void Registry::collect_tombstones() {
  for (std::size_t count = 0; !tombstones_.empty() && tombstones_.begin()->first < outdated_before(); ++count) {
    if (count == collected_max) {
      plan_scan(now_.monotonic + scan_period);
      return;
    }
    const Term key = tombstones_.begin()->second;
    erase(key);
  }
}

// What is known.

std::vector<Registration> Registry::lookup(const Term& name) const {
  std::vector<Registration> found;
  for (const auto& [place, value] : names_.find(name)) {
    found.push_back({name, pid_of(value), place.node, meta_of(value)});
  }
  const auto own = std::ranges::find(found, config_.own, &Registration::node);
  if (own != found.end()) std::rotate(found.begin(), own, own + 1);
  return found;
}

std::optional<Registration> Registry::lookup(const Term& name, const Atom& node) const {
  const Term* value = names_.find(name, node);
  if (value == nullptr) return std::nullopt;
  return Registration{name, pid_of(*value), node, meta_of(*value)};
}

std::optional<Pid> Registry::lookup_local(const Term& name) const {
  const Term* value = map().get(service_key(name, config_.own));
  return value == nullptr ? std::nullopt : std::optional(pid_of(*value));
}

std::vector<Term> Registry::names() const { return names_.names(); }

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
