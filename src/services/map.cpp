#include "services/map.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/prng.hpp"
#include "services/forward.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

using replication::Change;
using replication::Entry;

/// From one broadcast of a map to the next. What is changed meanwhile goes out together: other nodes do for one
/// broadcast what they would do for each of many, and who changes a thing now and then waits for nothing.
constexpr std::chrono::microseconds delta_pause{200};
/// Behind that pause, until what nothing followed goes out by itself: a timer that a busy writer always outruns.
constexpr std::chrono::microseconds delta_patience{300};
/// How long a node may be the only author of entries before its first lease is seen.
constexpr Milliseconds author_patience{60'000};

std::uint64_t seed_of(const MapsConfig& config, const Atom& map) {
  return Prng(config.seed ^ phash2(Term(map))).next();
}

replication::OrMapStateConfig state_config(const MapsConfig& config, const MapOptions& options,
                                           replication::EntryCheck check,
                                           std::function<bool(const Entry&)> in_snapshots) {
  replication::OrMapStateConfig state;
  state.own = config.own;
  state.entries_max = options.entries_max;
  state.check = std::move(check);
  if (options.prune_on_node_down) state.in_snapshots = std::move(in_snapshots);
  return state;
}

replication::ReplicaConfig replica_config(const MapSurroundings& around, const Atom& map, const Atom& replica_name) {
  const MapsConfig& config = around.config;
  replication::ReplicaConfig replica;
  replica.own = config.own;
  replica.name = replica_name;
  replica.seed = seed_of(config, map);
  replica.anti_entropy_period = config.anti_entropy_period;
  replica.snapshot_bytes_max = config.snapshot_bytes_max;
  replica.snapshot_rate = around.snapshot_rate;
  return replica;
}

using Validator = std::function<bool(const Term& value)>;

/// Both are the same function, or the same piece of code with other things in it: more cannot be known.
bool are_alike(const Validator& one, const Validator& other) {
  using Function = bool (*)(const Term&);
  if (one.target_type() != other.target_type()) return false;
  const auto* const function = one.target<Function>();
  return function == nullptr || *function == *other.target<Function>();
}

}  // namespace

void MapSurroundings::depart(const Atom& node) {
  // Beyond the bound entries of such a node may be taken back: no harm but to memory.
  constexpr std::size_t departed_max = 100'000;
  if (departed.size() >= departed_max && !departed.contains(node)) return;
  departed[node] = clock.last();
}

Map::Map(Atom name, MapOptions options, MapSurroundings& around, const Now& now)
    : name_(std::move(name)),
      replica_name_(std::string(map_replica_prefix) + name_.string()),
      options_(std::move(options)),
      around_(around),
      now_(now),
      state_(
          state_config(
              around.config, options_, [this](const Term& key, const Entry& entry) { return accepts(key, entry); },
              [this](const Entry& entry) { return has_recent_author(entry); }),
          around.clock, [this] { return now_.wall; },
          [this](const Term& key, Change change, const Entry& entry, const Atom& from) {
            changed(key, change, entry, from);
          }),
      replica_(replica_config(around, name_, replica_name_), state_, now.monotonic),
      writer_(map_collection(name_)) {}

Map::~Map() {
  for (const auto& [node, keys] : std::exchange(by_author_, {})) forget_author(node);
  for (const auto& [node, since] : std::exchange(awaited_, {})) forget_author(node);
  for (const auto& node : std::exchange(pruned_, {})) forget_author(node);
}

void Map::start(Maps::Stored stored, const Now& now, Effects& out) {
  begin(now, out);
  if (options_.persist) {
    state_.reserve(stored.size());
    for (auto& [key, entry] : stored) {
      note_author(key, entry);
      state_.restore(key, std::move(entry));
    }
    state_.settle();
    if (state_.map().has_live()) out_->emplace_back(MapOpened{name_});
  }
  for (const auto& [node, native] : around_.neighbours) {
    replica_.peer_up(node, now.monotonic);
    if (native) replica_.set_native(node);
  }
}

Result<void> Map::open_again(MapOptions options) {
  std::string others;
  const auto differs = [&](const std::string& option, const std::string& is, const std::string& asked) {
    others += (others.empty() ? "" : ", ") + option + " is " + is + " and not " + asked;
  };
  if (options.persist && !options_.persist) differs("persist", "false", "true");
  if (options.prune_on_node_down && !options_.prune_on_node_down) {
    differs("prune_on_node_down (prune_on_peer_down)", "false", "true");
  }
  if (options.tombstone_ttl.count() != 0 && options.tombstone_ttl != options_.tombstone_ttl) {
    differs("tombstone_ttl", std::to_string(options_.tombstone_ttl.count()) + " ms",
            std::to_string(options.tombstone_ttl.count()) + " ms");
  }
  if (options.entries_max != MapOptions().entries_max && options.entries_max != options_.entries_max) {
    differs("entries_max", std::to_string(options_.entries_max), std::to_string(options.entries_max));
  }
  if (options.validator && options_.validator && !are_alike(options.validator, options_.validator)) {
    differs("validator", "another one", "this one");
  }
  if (!others.empty()) {
    return fail(Errc::already_registered,
                "the map " + name_.string() + " is open with other options: " + others +
                    ". Open it with these where that is done first (the program, or [[replicated_maps]] of the "
                    "configuration), or call delete_map before, which forgets its content on this node");
  }
  if (options.validator) options_.validator = std::move(options.validator);
  return {};
}

void Map::begin(const Now& now, Effects& out) {
  now_ = now;
  out_ = &out;
}

void Map::finish(Ticket ticket) {
  forward(from_replica_, replica_name_, *out_);
  if (replica_.counters().snapshots_too_large > 0 && !std::exchange(told_too_large_, true)) {
    around_.warnings.push_back(too_large_warning("map " + name_.string(), around_.config.snapshot_bytes_max));
  }
  if (!writer_.flush(ticket, *out_) && ticket != 0) out_->emplace_back(Completed{ticket, {}});
}

// What the program asks for.

bool Map::is_valid(const Term& value) const {
  if (!options_.validator) return true;
  try {
    return options_.validator(value);
  } catch (...) {
    return false;
  }
}

/// Returns the bytes of both.
Result<std::size_t> Map::check(const Term& key, const Term& value) const {
  if (!is_valid(value)) {
    return fail(Errc::invalid_value, "the validator of the map " + name_.string() + " refused the value");
  }
  for (const Term* const content : {&key, &value}) {
    if (const auto shallow = replication::check_depth(*content); !shallow) return std::unexpected(shallow.error());
  }
  const std::size_t bytes = encoded_size(key, false) + encoded_size(value, false);
  if (bytes <= around_.config.entry_bytes_max) return bytes;
  return fail(Errc::limit_exceeded, "key and value take " + std::to_string(bytes) + " bytes, and " +
                                        std::to_string(around_.config.entry_bytes_max) +
                                        " are allowed: every node holds them, keep large things elsewhere");
}

Result<void> Map::put(const Term& key, const Term& value, Ticket ticket, const Now& now, Effects& out) {
  begin(now, out);
  if (const auto checked = check(key, value); !checked) return std::unexpected(checked.error());
  auto delta = state_.put(key, value);
  if (!delta) return std::unexpected(delta.error());
  collect(*delta);
  broadcast_or_wait();
  finish(ticket);
  return {};
}

Result<void> Map::put_many(const std::vector<TermPair>& pairs, Ticket ticket, const Now& now, Effects& out) {
  begin(now, out);
  boost::unordered_flat_map<Term, std::size_t, std::hash<Term>> last;
  boost::unordered_flat_map<Term, Term, std::hash<Term>> forms;
  std::size_t bytes = 0;
  std::size_t added = 0;
  for (std::size_t index = 0; index < pairs.size(); ++index) {
    const auto& [key, value] = pairs[index];
    const auto size = check(key, value);
    if (!size) return std::unexpected(size.error());
    bytes += *size;
    if (bytes > around_.config.batch_bytes_max) {
      return fail(Errc::limit_exceeded, "the entries take more than " + std::to_string(around_.config.batch_bytes_max) +
                                            " bytes: put them in several calls");
    }
    if (!last.insert_or_assign(key, index).second) continue;
    if (auto possible = state_.check_put(key, added); !possible) return possible;
    if (state_.map().find(key) == nullptr) ++added;
    const auto [other, unique] = forms.try_emplace(replication::plain_form(key), key);
    if (!unique) {
      return fail(Errc::already_registered, "Erlang nodes take " + to_text(key) + " for " + to_text(other->second) +
                                                ": use integers or floats, not both");
    }
  }
  broadcast_collected();
  for (std::size_t index = 0; index < pairs.size(); ++index) {
    const auto& [key, value] = pairs[index];
    if (last.at(key) != index) continue;
    const auto put = state_.put(key, value);
    assert(put);  // checked above
    collect(*put);
  }
  broadcast_collected();
  finish(ticket);
  return {};
}

Result<void> Map::remove(const Term& key, Ticket ticket, const Now& now, Effects& out) {
  begin(now, out);
  if (state_.map().find(key) == nullptr && encoded_size(key, false) > around_.config.entry_bytes_max) {
    return fail(Errc::limit_exceeded, "no node takes so large a key");
  }
  if (auto possible = state_.check_remove(key); !possible) return possible;
  auto delta = state_.remove(key);
  if (!delta) return std::unexpected(delta.error());
  collect(*delta);
  broadcast_or_wait();
  finish(ticket);
  return {};
}

/// A change of one key, to be broadcast. Others hear of each change: a second one of a key, or of one that Erlang nodes
/// take for it, begins the next broadcast.
void Map::collect(const Term& delta) {
  const auto& [key, entry] = delta.pairs().front();
  Term form = replication::plain_form(key);
  if (collected_keys_.contains(form)) broadcast_collected();
  collected_keys_.insert(std::move(form));
  collected_.emplace_back(key, entry);
  collected_bytes_ += encoded_size(delta, false);
  if (collected_bytes_ >= around_.config.delta_bytes_max) broadcast_collected();
}

void Map::broadcast_or_wait() {
  if (now_.monotonic >= next_delta_ || around_.neighbours.empty()) broadcast_collected();
}

void Map::broadcast_collected() {
  if (collected_.empty()) return;
  replica_.broadcast(Term::map(std::exchange(collected_, {})), from_replica_);
  collected_keys_.clear();
  collected_bytes_ = 0;
  next_delta_ = now_.monotonic + delta_pause;
}

void Map::flush(const Now& now, Effects& out) {
  begin(now, out);
  broadcast_collected();
  finish(0);
}

// What changes.

void Map::changed(const Term& key, Change change, const Entry& entry, const Atom& from) {
  persist(key, &entry);
  if (from == around_.config.own || change == Change::put || change == Change::removed) {
    tell(key, entry.is_live() ? &entry.value() : nullptr);
  }
  note_author(key, entry);
  // What this node writes is written together.
  if (from != around_.config.own && writer_.is_full()) writer_.flush(0, *out_);
}

void Map::tell(const Term& key, const Term* value) {
  MapEvent event{.map = name_, .kind = MapEvent::Kind::remove, .key = key};
  std::optional<Term> seen;
  if (value != nullptr) {
    event.kind = MapEvent::Kind::put;
    event.value = *value;
    seen = *value;
  }
  out_->emplace_back(MapChanged{name_, key, std::move(seen)});
  out_->emplace_back(MapHappened{std::move(event)});
}

/// `entry` is nullptr when it is gone.
void Map::persist(const Term& key, const Entry* entry) {
  if (options_.persist) writer_.add(key, entry);
}

void Map::forget(const Term& key) {
  const bool was_live = state_.map().get(key) != nullptr;
  state_.erase(key);
  persist(key, nullptr);
  if (was_live) tell(key, nullptr);
  if (writer_.is_full()) writer_.flush(0, *out_);
}

// What other nodes send.

/// A node that took more could not pass it on.
bool Map::accepts(const Term& key, const Entry& entry) const {
  const std::size_t bytes = encoded_size(key, false) + (entry.is_live() ? encoded_size(entry.value(), false) : 0);
  if (bytes > around_.config.entry_bytes_max) return false;
  if (!entry.is_live()) return true;
  if (options_.prune_on_node_down && entry.only_by(entry.writer())) {
    const auto departed = around_.departed.find(entry.writer());
    if (departed != around_.departed.end() && entry.stamp() <= departed->second) return false;
  }
  return is_valid(entry.value());
}

/// Erlang nodes forget such entries as soon as they lose the author as a neighbour, and would take them back from a
/// snapshot and keep them. So it has none of an author that has missed a beat; in the next one they are again.
bool Map::has_recent_author(const Entry& entry) const {
  if (!entry.is_live() || !entry.only_by(entry.writer())) return true;
  const auto silence = around_.members.silent_for(entry.writer(), now_.monotonic);
  return !silence || 2 * *silence <= 3 * around_.members.heartbeat();
}

void Map::deliver(const Term& payload, const Now& now, Effects& out) {
  begin(now, out);
  replica_.deliver(payload);
  (void)state_.take_overruled();  // who sent it hears of it at the next exchange
  finish(0);
}

void Map::receive(const Atom& from, const Term& message, const Now& now, Effects& out) {
  begin(now, out);
  broadcast_collected();  // before an answer has it, for what an exchange brings is news, and goes on to others
  replica_.receive(from, message, now.monotonic, from_replica_);
  answer_overruled(from);
  finish(0);
}

/// The node has values whose removal is no longer part of the digests.
void Map::answer_overruled(const Atom& to) {
  auto entries = state_.take_overruled();
  if (entries.empty()) return;
  Term sync = Term::tuple({Atom("full_sync"), around_.config.own, Term::map(std::move(entries))});
  from_replica_.emplace_back(replication::ReplicaSend{to, replication::enveloped(std::move(sync))});
}

// Time.

void Map::tick(const Now& now, Effects& out) {
  begin(now, out);
  broadcast_collected();
  replica_.tick(now.monotonic, from_replica_);
  finish(0);
}

MonotonicTime Map::deadline() const noexcept {
  auto due = replica_.deadline().value_or(MonotonicTime::max());
  if (!collected_.empty()) due = std::min(due, next_delta_ + delta_patience);
  return due;
}

void Map::scan(const Now& now, Effects& out) {
  begin(now, out);
  collect_tombstones();
  expect_authors();
  writer_.retry(state_.map());
  finish(0);
}

void Map::collect_tombstones() {
  const Milliseconds ttl = options_.tombstone_ttl;
  const auto absence = around_.absences.longest(ttl, now_.monotonic);
  const auto [keys, forced] =
      services::collect_tombstones(state_, ttl, around_.config.tombstone_hold, absence, around_.aging_clock.read(now_));
  forced_collections_ += forced;
  for (const auto& key : keys) persist(key, nullptr);
}

void Map::store_failed(const Term& key) {
  if (options_.persist) writer_.failed(key);
}

MapStatistics Map::statistics() const {
  MapStatistics statistics;
  statistics.entries = state_.map().live_count();
  statistics.tombstones = state_.map().size() - state_.map().live_count();
  statistics.accepted = state_.counters().accepted;
  statistics.rejected = state_.counters().rejected;
  statistics.rejected_in_future = state_.counters().in_future;
  statistics.forced_collections = forced_collections_;
  statistics.futile_rounds = replica_.counters().futile;
  statistics.unwritten = writer_.unwritten();
  return statistics;
}

// Entries that live as long as their author.

/// A node whose first lease is still to come may be the author; one that is long gone too.
void Map::note_author(const Term& key, const Entry& entry) {
  if (!options_.prune_on_node_down) return;
  index_author(key, entry);
  constexpr std::size_t spare = 64;
  if (indexed_ > 2 * state_.map().size() + spare) index_authors();
  if (!entry.is_live() || around_.members.is_alive(entry.writer())) return;
  if (entry.only_by(entry.writer())) awaited_.try_emplace(entry.writer(), now_.monotonic);
}

void Map::index_author(const Term& key, const Entry& entry) {
  const Atom& author = entry.writer();
  if (!entry.is_live() || author == around_.config.own || !entry.only_by(author)) return;
  const auto [known, added] = by_author_.try_emplace(author);
  if (added) around_.concerned[author].insert(name_);
  known->second.push_back(key);
  ++indexed_;
}

/// Without what was changed since.
void Map::index_authors() {
  const auto before = std::exchange(by_author_, {});
  indexed_ = 0;
  for (const auto& [key, entry] : state_.map().entries()) index_author(key, entry);
  for (const auto& [node, keys] : before) forget_author(node);
}

/// The map is concerned with the node no longer, unless there is a reason left.
void Map::forget_author(const Atom& node) {
  if (by_author_.contains(node) || awaited_.contains(node) || pruned_.contains(node)) return;
  const auto maps = around_.concerned.find(node);
  if (maps == around_.concerned.end()) return;
  maps->second.erase(name_);
  if (maps->second.empty()) around_.concerned.erase(maps);
}

void Map::expect_authors() {
  for (auto author = awaited_.begin(); author != awaited_.end();) {
    const auto& [node, since] = *author;
    const bool alive = around_.members.is_alive(node);
    if (!alive && now_.monotonic < since + author_patience) {
      ++author;
      continue;
    }
    const Atom gone = node;
    author = awaited_.erase(author);
    if (!alive) {
      around_.depart(gone);
      prune(gone);
    }
    forget_author(gone);
  }
}

void Map::node_gone(const Atom& node, const Now& now, Effects& out) {
  if (!options_.prune_on_node_down) return;
  begin(now, out);
  awaited_.erase(node);
  prune(node);
  forget_author(node);
  finish(0);
}

void Map::prune(const Atom& node) {
  auto keys = std::move(by_author_[node]);
  by_author_.erase(node);
  indexed_ -= keys.size();
  std::erase_if(keys, [&](const Term& key) {
    const Entry* const entry = state_.map().find(key);
    return entry == nullptr || !entry->only_by(node);
  });
  if (keys.empty()) return;
  std::ranges::sort(keys, TermLess());
  const auto repeated = std::ranges::unique(keys);
  keys.erase(repeated.begin(), repeated.end());
  for (const auto& key : keys) forget(key);
  // Of more than are remembered nobody is asked at once for what they have.
  if (around_.departed.contains(node)) pruned_.insert(node);
}

/// It still has what was forgotten here, and so may others.
void Map::node_back(const Atom& node, const Now& now) {
  awaited_.erase(node);
  const bool was_pruned = pruned_.erase(node) > 0;
  forget_author(node);
  if (was_pruned) replica_.suspect_all(now.monotonic);
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
