#include "replication/replica.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <tuple>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace replication {
namespace {

/// How long no round begins with a peer that differs in vain, in periods.
constexpr int futile_pause_periods = 10;

/// How soon a round follows a suspicion, so that many of them end in one.
constexpr Milliseconds suspicion_delay{1000};

/// After how many greeting delays a question without an answer is asked again when the peer asks too.
constexpr int ask_again_delays = 3;

/// How long at most no round begins while digests have no answer.
constexpr Milliseconds answer_wait{10'000};

/// One node gets no larger part of the snapshots than one in so many.
constexpr double share_of_all = 4;

constexpr Milliseconds confirm_pause_max{1000};
/// Entries of one `confirm`. We ask for one at a time.
constexpr std::size_t confirmed_entries_max = 64;

Term prefix_term(const Prefix& prefix) { return Term::tuple({prefix.bits, prefix.depth}); }

std::optional<Prefix> prefix_of(const Term& bits, const Term& depth) {
  const auto first = bits.as_uint64();
  const auto second = depth.as_uint64();
  if (!first || !second || *second > Prefix::depth_max) return std::nullopt;
  const Prefix prefix{*first, static_cast<unsigned>(*second)};
  return prefix.is_valid() ? std::optional(prefix) : std::nullopt;
}

/// The first elements of a list; the rest of a longer one is ignored. A binary or map has a size, but no elements.
std::span<const Term> first_of(const Term& list, std::size_t count_max) {
  const auto elements = list.elements();
  return elements.first(std::min(elements.size(), count_max));
}

/// Leaves out what lies below the prefix of another one of them, or repeats an earlier one: no key costs a message more
/// than once. What nodes of ours send is apart.
template <class Item, class PrefixOf>
std::vector<Item> apart(std::vector<Item> items, const PrefixOf& prefix_of_item) {
  std::vector<std::tuple<std::uint64_t, unsigned, std::size_t>> sorted;
  sorted.reserve(items.size());
  for (std::size_t index = 0; index < items.size(); ++index) {
    const Prefix& prefix = std::invoke(prefix_of_item, items[index]);
    sorted.emplace_back(prefix.bits, prefix.depth, index);
  }
  std::ranges::sort(sorted);
  // What covers an item comes before it, and between them only what it covers too.
  std::vector<std::size_t> kept;
  std::optional<Prefix> last;
  for (const auto& [bits, depth, index] : sorted) {
    if (last && last->contains(bits)) continue;
    last = Prefix{bits, depth};
    kept.push_back(index);
  }
  if (kept.size() == items.size()) return items;
  std::ranges::sort(kept);
  std::vector<Item> rest;
  rest.reserve(kept.size());
  for (const auto index : kept) rest.push_back(std::move(items[index]));
  return rest;
}

}  // namespace

Term enveloped(Term content) {
  static const Term tag{Atom("$barrel_p2p_replica")};
  return Term::tuple_of(tag, std::move(content));
}

const Term* content_of(const Term& message) noexcept {
  return message.is_tagged("$barrel_p2p_replica", 2) ? &message[1] : nullptr;
}

Term request_sync(const Atom& own) { return enveloped(Term::tuple({Atom("request_sync"), own})); }

Replica::Replica(ReplicaConfig config, ReplicatedState& state, MonotonicTime now)
    : config_(std::move(config)), state_(state), random_(config_.seed), next_token_(Prng(config_.seed).next() >> 1U) {
  if (!config_.snapshot_rate) config_.snapshot_rate = std::make_shared<TokenBucket>(snapshot_bytes_per_second, now);
  schedule(now);
}

// Changes of this node.

void Replica::broadcast(Term entries, ReplicaEffects& out) {
  out.emplace_back(ReplicaBroadcast{Term::tuple({Atom("delta"), config_.own, std::move(entries)})});
}

void Replica::broadcast_custom(Term payload, ReplicaEffects& out) {
  out.emplace_back(ReplicaBroadcast{Term::tuple({Atom("custom"), config_.own, std::move(payload)})});
}

// Neighbours.

void Replica::peer_up(const Atom& node, MonotonicTime now) {
  Peer* peer = find(node);
  if (peer == nullptr) peer = &peers_.emplace_back(Peer{.node = node});
  peer->exchange = {};
  peer->unheard = config_.asks_new_peers;
  greet(*peer, now);
}

void Replica::greet(Peer& peer, MonotonicTime now) {
  peer.greet_at = now + config_.greeting_delay;
  next_greeting_ = std::min(next_greeting_, *peer.greet_at);
}

void Replica::peer_down(const Atom& node) {
  std::erase_if(peers_, [&](const Peer& peer) { return peer.node == node; });
  count_out(node);
}

void Replica::set_native(const Atom& node) {
  if (Peer* peer = find(node)) peer->native = true;
}

void Replica::suspect(const Atom& node, MonotonicTime now) {
  if (Peer* peer = find(node)) {
    suspect(*peer, now);
  } else if (config_.anti_entropy_period.count() > 0) {
    next_round_ = std::min(next_round_, now + suspicion_delay);
  }
}

void Replica::suspect(Peer& peer, MonotonicTime now) {
  peer.unheard = config_.asks_new_peers;
  if (!peer.greet_at) greet(peer, now);
}

void Replica::suspect_all(MonotonicTime now) {
  for (auto& peer : peers_) suspect(peer, now);
}

void Replica::leave() {
  peers_.clear();
  for (auto& question : std::exchange(questions_, {})) ended_.push_back({question.token, {}});
}

Replica::Peer* Replica::find(const Atom& node) noexcept {
  const auto found = std::ranges::find(peers_, node, &Peer::node);
  return found == peers_.end() ? nullptr : &*found;
}

std::optional<MonotonicTime> Replica::in_sync_since(const Atom& node) const noexcept {
  const auto found = std::ranges::find(peers_, node, &Peer::node);
  return found == peers_.end() ? std::nullopt : found->equal_at;
}

bool Replica::is_in_sync_since(MonotonicTime time) const noexcept {
  return std::ranges::any_of(peers_, [&](const Peer& peer) { return peer.equal_at >= std::optional(time); });
}

// What arrives.

void Replica::deliver(const Term& payload) {
  const auto from = payload.is_tuple(3) ? payload[1].as_atom() : std::nullopt;
  if (from && *from == config_.own) return;  // the state has it
  if (from && payload[0].is_atom("delta")) {
    ++counters_.deltas_received;
    state_.merge_delta(*from, payload[2]);
  } else if (from && payload[0].is_atom("custom")) {
    ++counters_.deltas_received;
    state_.merge_custom(*from, payload[2]);
  } else {
    ++counters_.malformed;
  }
}

void Replica::receive(const Atom& from, const Term& message, MonotonicTime now, ReplicaEffects& out) {
  const Term* const inside = content_of(message);
  const bool named = inside != nullptr && inside->is_tuple() && inside->size() >= 2;
  if (!named || (*inside)[1].as_atom() != from) {
    ++counters_.malformed;
    return;
  }
  const Term& content = *inside;
  // Who is no neighbour may ask and tell too; of it nothing is remembered.
  Peer stranger{.node = from};
  Peer* const known = find(from);
  Peer& peer = known != nullptr ? *known : stranger;
  if (content.is_tagged("request_sync", 2)) {
    push_snapshot(peer.node, now, out);
  } else if (content.is_tagged("full_sync", 3)) {
    ++counters_.snapshots_received;
    peer.unheard = false;
    if (state_.apply_snapshot(from, content[2])) note_news(peer, now);
  } else if (content.is_tagged("digests", 3) && content[2].is_proper_list()) {
    peer.native = true;
    std::vector<Range> ranges;
    for (const auto& item : first_of(content[2], config_.digests_max)) {
      const auto prefix = item.is_tuple(4) ? prefix_of(item[0], item[1]) : std::nullopt;
      const auto count = prefix ? item[2].as_uint64() : std::nullopt;
      const auto digest = count ? item[3].as_uint64() : std::nullopt;
      if (digest) ranges.push_back({*prefix, {*count, *digest}});
    }
    on_digests(peer, apart(std::move(ranges), &Range::prefix), now, out);
  } else if (content.is_tagged("entries", 5)) {
    peer.native = true;
    on_entries(peer, content, now, out);
  } else if (content.is_tagged("confirm", 4)) {
    peer.native = true;
    on_confirm(from, content, out);
  } else if (content.is_tagged("confirmed", 3) && content[2].as_uint64()) {
    on_confirmed(from, *content[2].as_uint64());
  } else {
    ++counters_.malformed;
  }
}

// Exchanges.

/// Compares all with the peer, from the root, or gives it all, and asks for all that an Erlang node has.
void Replica::begin(Peer& peer, MonotonicTime now, ReplicaEffects& out) {
  if (!peer.native && std::exchange(peer.unheard, false))
    out.emplace_back(ReplicaSend{peer.node, request_sync(config_.own)});
  if (!peer.native || state_.digests() == nullptr) return push_snapshot(peer.node, now, out);
  Exchange& exchange = peer.exchange;
  exchange.waiting.clear();
  exchange.incomplete = false;
  if (std::exchange(exchange.changed, false)) exchange.futile_rounds = 0;
  exchange.root_asked = true;
  exchange.ask_again_at.reset();
  exchange.answer_until = now + answer_wait;
  send_digests(peer.node, {{Prefix{}, state_.digests()->summary()}}, out);
}

/// From when on the node may have one: never late for who has had none, as long as little was made for others.
MonotonicTime Replica::snapshot_due(const Atom& to) const {
  const auto answered = std::ranges::find(answered_, to, &Answered::first);
  if (answered != answered_.end()) return answered->second;
  // Neighbours first: what is left is for strangers.
  const bool is_neighbour = std::ranges::find(peers_, to, &Peer::node) != peers_.end();
  const double room = is_neighbour ? 1 : config_.snapshot_rate->per_second() / 2;
  return config_.snapshot_rate->when(room);
}

/// Whoever asks, neighbour or not, is answered once in a while: a snapshot costs as much as the state is large.
void Replica::push_snapshot(const Atom& to, MonotonicTime now, ReplicaEffects& out) {
  std::erase_if(answered_, [&](const auto& answer) { return answer.second <= now; });
  if (const auto due = snapshot_due(to); due > now) {
    // A neighbour that asks again may have lost what it was given: it is answered as soon as it may be.
    Peer* const peer = find(to);
    if (peer != nullptr && !peer->greet_at) {
      peer->greet_at = due;
      next_greeting_ = std::min(next_greeting_, due);
    }
    return;
  }
  if (answered_.size() >= config_.answers_max) return;
  std::size_t bytes = state_.snapshot_bytes(config_.snapshot_bytes_max);
  std::optional<Term> snapshot;
  if (bytes <= config_.snapshot_bytes_max) {
    snapshot = state_.snapshot();
    if (snapshot) bytes = encoded_size(*snapshot, false);
  }
  if (bytes == 0) return;
  auto& rate = *config_.snapshot_rate;
  rate.spend(static_cast<double>(bytes), now);
  const std::chrono::duration<double> pause(share_of_all * static_cast<double>(bytes) / rate.per_second());
  answered_.emplace_back(to, now + std::max(config_.answer_pause, std::chrono::ceil<Milliseconds>(pause)));
  if (bytes > config_.snapshot_bytes_max) {
    ++counters_.snapshots_too_large;
  } else if (snapshot) {
    ++counters_.snapshots_sent;
    send(to, Term::tuple({Atom("full_sync"), config_.own, std::move(*snapshot)}), out);
  }
}

void Replica::on_digests(Peer& peer, std::vector<Range> theirs, MonotonicTime now, ReplicaEffects& out) {
  const DigestTree* tree = state_.digests();
  if (tree == nullptr) return push_snapshot(peer.node, now, out);
  Exchange& exchange = peer.exchange;
  const bool is_root = theirs.size() == 1 && theirs.front().prefix.depth == 0;
  // When both ask at once, the question of one is answered: unless it was lost, as where the peer's state was not open.
  if (is_root && exchange.root_asked && now < exchange.answer_until && config_.own < peer.node) {
    if (find(peer.node) != nullptr && !exchange.ask_again_at) {
      exchange.ask_again_at = now + ask_again_delays * config_.greeting_delay;
      next_greeting_ = std::min(next_greeting_, *exchange.ask_again_at);
    }
    return;
  }
  exchange.answer_until = now;
  exchange.root_asked = false;
  exchange.ask_again_at.reset();
  if (is_root) exchange.waiting.clear();
  std::vector<Prefix> wanted;
  std::vector<Range> ranges;
  Parcel parcel;
  bool equal = true;
  for (const auto& range : theirs) {
    const auto ours = tree->summary(range.prefix);
    if (ours == range.summary) continue;
    equal = false;
    const bool is_single = range.prefix.depth == Prefix::depth_max || std::max(ours.count, range.summary.count) == 1;
    const bool are_few = ours.count + range.summary.count <= config_.small_range;
    if (is_single || range.summary.count == 0) {
      if (add_part(exchange, range.prefix, nullptr, parcel)) wanted.push_back(range.prefix);
    } else if (ours.count == 0 || (are_few && !is_full(parcel) && add_if_small(range.prefix, parcel))) {
      wanted.push_back(range.prefix);
    } else if (are_few && is_full(parcel)) {
      wait_with(exchange, range.prefix, false);
    } else if (!divide(range.prefix, ranges)) {
      wait_with(exchange, range.prefix, true);
    }
  }
  const bool is_neighbour = find(peer.node) != nullptr;
  if (theirs.empty() || (equal && is_root)) {
    ++counters_.equal;
    peer.equal_at = now;
    exchange = {};
    // Strangers remember nothing of it, and a node that left is silent.
    if (is_root && is_neighbour) send_digests(peer.node, {}, out);
    return;
  }
  add_waiting(exchange, ranges);
  // Whatever came, it is the peer's turn again.
  if (!wanted.empty() || (ranges.empty() && is_neighbour)) {
    send_entries(peer.node, wanted, std::move(parcel), !ranges.empty(), out);
  }
  if (!ranges.empty()) send_turn(peer, ranges, now, out);
}

void Replica::on_entries(Peer& peer, const Term& message, MonotonicTime now, ReplicaEffects& out) {
  const DigestTree* tree = state_.digests();
  const auto more = message[4].as_bool();
  if (tree == nullptr || !more || !message[2].is_proper_list()) {
    ++counters_.malformed;
    return;
  }
  counters_.entries_received += message[3].pairs().size();
  if (state_.merge(peer.node, message[3])) note_news(peer, now);
  std::vector<Prefix> wanted;
  for (const auto& item : first_of(message[2], config_.digests_max)) {
    const auto prefix = item.is_tuple(2) ? prefix_of(item[0], item[1]) : std::nullopt;
    if (prefix) wanted.push_back(*prefix);
  }
  Exchange& exchange = peer.exchange;
  Parcel parcel;
  for (const auto& prefix : apart(std::move(wanted), std::identity())) add_part(exchange, prefix, &message[3], parcel);
  if (!*more) {
    exchange.answer_until = now;
    exchange.root_asked = false;
    exchange.ask_again_at.reset();
  }
  // Digests that were to follow may have come before.
  std::vector<Range> ranges;
  if (exchange.answer_until <= now) add_waiting(exchange, ranges);
  if (!parcel.entries.empty()) send_entries(peer.node, {}, std::move(parcel), *more || !ranges.empty(), out);
  if (!ranges.empty()) {
    send_turn(peer, ranges, now, out);
  } else if (!*more && exchange.incomplete && exchange.changed) {
    begin(peer, now, out);
  }
}

/// One that has no place among the many is found again from the root.
void Replica::wait_with(Exchange& exchange, const Prefix& prefix, bool divide) const {
  if (exchange.waiting.size() < config_.waiting_max) {
    exchange.waiting.push_back({prefix, divide});
  } else {
    exchange.incomplete = true;
  }
}

/// Adds our digests one level below the prefix, if the message has room for them.
bool Replica::divide(const Prefix& prefix, std::vector<Range>& ranges) const {
  if (ranges.size() + Prefix::fan_out > config_.digests_max) return false;
  for (unsigned index = 0; index < Prefix::fan_out; ++index) {
    const Prefix child = prefix.child(index);
    ranges.push_back({child, state_.digests()->summary(child)});
  }
  return true;
}

/// Fills the message up with what waits.
void Replica::add_waiting(Exchange& exchange, std::vector<Range>& ranges) const {
  while (!exchange.waiting.empty() && ranges.size() < config_.digests_max) {
    const auto [prefix, is_divided] = exchange.waiting.back();
    if (!is_divided) {
      ranges.push_back({prefix, state_.digests()->summary(prefix)});
    } else if (!divide(prefix, ranges)) {
      return;
    }
    exchange.waiting.pop_back();
  }
}

void Replica::send_turn(Peer& peer, const std::vector<Range>& ranges, MonotonicTime now, ReplicaEffects& out) {
  peer.exchange.answer_until = now + answer_wait;
  send_digests(peer.node, ranges, out);
}

/// Something came from the peer that this node did not know. The others may not know it either: a change is broadcast
/// once, and what was changed apart from them goes from neighbour to neighbour.
void Replica::note_news(Peer& from, MonotonicTime now) {
  from.exchange.changed = true;
  for (auto& peer : peers_) {
    const bool is_told = peer.native || config_.snapshots_of_news;
    if (is_told && peer.node != from.node && !peer.greet_at) greet(peer, now);
  }
}

bool Replica::is_full(const Parcel& parcel) const noexcept { return parcel.bytes >= config_.entries_bytes_max; }

/// Our entries below the prefix, as far as they have room; the rest waits. What was begun does so in parts: it must not
/// begin in the same way again, for the peer may refuse it. Returns whether there was any room.
bool Replica::add_part(Exchange& exchange, const Prefix& prefix, const Term* known, Parcel& parcel) {
  if (is_full(parcel)) {
    wait_with(exchange, prefix, false);
    return false;
  }
  if (!add_until_full(prefix, known, parcel)) {
    if (prefix.depth < Prefix::depth_max) {
      wait_with(exchange, prefix, true);
    } else {
      exchange.incomplete = true;
    }
  }
  return true;
}

/// Our entries below the prefix, until the message is full: one more passes, however large. With `known`, what the peer
/// has already in that form is left out. Returns whether there are no more.
bool Replica::add_until_full(const Prefix& prefix, const Term* known, Parcel& parcel) {
  const DigestTree& tree = *state_.digests();
  const auto add = [&](const Term& key) {
    if (is_full(parcel)) return false;
    const Term* theirs = known != nullptr ? known->find(key) : nullptr;
    if (theirs == nullptr || !state_.has(key, *theirs)) add_entry(key, parcel);
    return true;
  };
  // What has one and the same hash cannot be divided: it begins with another key each time.
  std::uint64_t start = 0;
  if (prefix.depth == Prefix::depth_max) {
    const auto count = std::min<std::uint64_t>(tree.summary(prefix).count, std::numeric_limits<std::uint32_t>::max());
    if (count > 1) start = random_.below(count);
  }
  if (!tree.visit(prefix, add, start)) return false;
  std::uint64_t place = 0;
  return start == 0 || tree.visit(prefix, [&](const Term& key) { return place++ >= start || add(key); });
}

/// All of our entries below the prefix, if they are not larger than the digests of a division: else none.
bool Replica::add_if_small(const Prefix& prefix, Parcel& parcel) const {
  // To look costs as much as to send: we look no further than a message is long.
  if (parcel.bytes_looked_at >= config_.entries_bytes_max) return false;
  const std::size_t bytes_before = parcel.bytes;
  const auto entries_before = static_cast<std::ptrdiff_t>(parcel.entries.size());
  const bool is_small = state_.digests()->visit(prefix, [&](const Term& key) {
    add_entry(key, parcel);
    return parcel.bytes - bytes_before <= config_.small_bytes;
  });
  if (is_small) return true;
  parcel.bytes_looked_at += parcel.bytes - bytes_before;
  parcel.bytes = bytes_before;
  parcel.entries.erase(parcel.entries.begin() + entries_before, parcel.entries.end());
  return false;
}

void Replica::add_entry(const Term& key, Parcel& parcel) const {
  Term entry = state_.entry(key);
  parcel.bytes += encoded_size(key, false) + encoded_size(entry, false);
  parcel.entries.emplace_back(key, std::move(entry));
}

void Replica::send_entries(const Atom& to, const std::vector<Prefix>& wanted, Parcel parcel, bool more,
                           ReplicaEffects& out) {
  std::vector<Term> items;
  items.reserve(wanted.size());
  std::ranges::transform(wanted, std::back_inserter(items), prefix_term);
  counters_.entries_sent += parcel.entries.size();
  send(to,
       Term::tuple(
           {Atom("entries"), config_.own, Term::list(std::move(items)), Term::map(std::move(parcel.entries)), more}),
       out);
}

void Replica::send_digests(const Atom& to, const std::vector<Range>& ranges, ReplicaEffects& out) {
  std::vector<Term> items;
  items.reserve(ranges.size());
  for (const auto& [prefix, summary] : ranges) {
    items.push_back(Term::tuple_of(prefix.bits, prefix.depth, summary.count, summary.digest));
  }
  counters_.digests_sent += items.size();
  send(to, Term::tuple({Atom("digests"), config_.own, Term::list(std::move(items))}), out);
}

void Replica::send(const Atom& to, Term message, ReplicaEffects& out) {
  out.emplace_back(ReplicaSend{to, enveloped(std::move(message))});
}

// Confirmations.

Result<std::uint64_t> Replica::confirm(const Term& key, const Timestamp& stamp, Milliseconds limit, MonotonicTime now,
                                       ReplicaEffects& out) {
  if (questions_.size() >= config_.confirmations_max) {
    return fail(Errc::limit_exceeded, std::to_string(questions_.size()) + " confirmations of neighbours are awaited");
  }
  Question question;
  question.token = next_token_++;
  question.key = key;
  question.stamp = stamp;
  question.pause = config_.confirm_pause;
  question.ask_at = now + question.pause;
  question.limit_at = now + limit;
  for (const auto& peer : peers_) {
    if (peer.native) question.waiting.push_back(peer.node);
  }
  if (question.waiting.empty()) {
    ended_.push_back({question.token, {}});
    return question.token;
  }
  next_question_ = std::min(next_question_, std::min(question.ask_at, question.limit_at));
  ask(question, false, out);
  return questions_.emplace_back(std::move(question)).token;
}

void Replica::ask(const Question& question, bool with_entry, ReplicaEffects& out) {
  const Term message = Term::tuple({Atom("confirm"), config_.own, question.token,
                                    Term::list({Term::tuple({question.key, to_term(question.stamp)})})});
  for (const auto& node : question.waiting) {
    if (with_entry && state_.covers(question.key, question.stamp)) {
      const Term entries = Term::map({{question.key, state_.entry(question.key)}});
      ++counters_.entries_sent;
      send(node, Term::tuple({Atom("entries"), config_.own, Term::list({}), entries, true}), out);
    }
    send(node, message, out);
  }
}

void Replica::on_confirm(const Atom& from, const Term& message, ReplicaEffects& out) {
  const auto token = message[2].as_uint64();
  const Term& items = message[3];
  if (!token || !items.is_proper_list() || items.size() > confirmed_entries_max) {
    ++counters_.malformed;
    return;
  }
  for (const auto& item : items.elements()) {
    const auto stamp = item.is_tuple(2) ? timestamp_of(item[1]) : fail(Errc::malformed_term);
    if (!stamp) {
      ++counters_.malformed;
      return;
    }
    if (!state_.covers(item[0], *stamp)) return;
  }
  send(from, Term::tuple({Atom("confirmed"), config_.own, *token}), out);
}

void Replica::on_confirmed(const Atom& from, std::uint64_t token) {
  const auto question = std::ranges::lower_bound(questions_, token, {}, &Question::token);
  if (question == questions_.end() || question->token != token) return;
  std::erase(question->waiting, from);
  if (!question->waiting.empty()) return;
  ended_.push_back({token, {}});
  questions_.erase(question);
}

/// The node is a neighbour no more: nobody waits for it.
void Replica::count_out(const Atom& node) {
  std::erase_if(questions_, [&](Question& question) {
    std::erase(question.waiting, node);
    if (!question.waiting.empty()) return false;
    ended_.push_back({question.token, {}});
    return true;
  });
}

void Replica::tick_questions(MonotonicTime now, ReplicaEffects& out) {
  if (now < next_question_) return;
  next_question_ = MonotonicTime::max();
  std::erase_if(questions_, [&](Question& question) {
    if (question.limit_at <= now) {
      std::string nodes;
      for (const auto& node : question.waiting) nodes += (nodes.empty() ? "" : ", ") + node.string();
      ended_.push_back({question.token, fail(Errc::timeout, "not confirmed by " + nodes)});
      return true;
    }
    if (question.ask_at <= now) {
      question.pause = std::min(2 * question.pause, confirm_pause_max);
      question.ask_at = now + question.pause;
      ask(question, true, out);
    }
    next_question_ = std::min(next_question_, std::min(question.ask_at, question.limit_at));
    return false;
  });
}

// Time.

void Replica::schedule(MonotonicTime now) {
  constexpr double spread = 0.25;
  next_round_ = now + random_.jitter(config_.anti_entropy_period, spread);
}

void Replica::greet_due(MonotonicTime now, ReplicaEffects& out) {
  if (now < next_greeting_) return;
  next_greeting_ = MonotonicTime::max();
  for (auto& peer : peers_) {
    const auto& ask_again_at = peer.exchange.ask_again_at;
    const bool is_lost = ask_again_at && *ask_again_at <= now;
    if (!is_lost && !(peer.greet_at && *peer.greet_at <= now)) {
      for (const auto& due : {peer.greet_at, ask_again_at})
        next_greeting_ = std::min(next_greeting_, due.value_or(MonotonicTime::max()));
      continue;
    }
    peer.greet_at.reset();
    if (!is_lost && now < peer.exchange.answer_until) {
      if (ask_again_at) next_greeting_ = std::min(next_greeting_, *ask_again_at);
      greet(peer, now);
    } else {
      begin(peer, now, out);
    }
  }
}

void Replica::tick(MonotonicTime now, ReplicaEffects& out) {
  tick_questions(now, out);
  greet_due(now, out);
  if (config_.anti_entropy_period.count() == 0 || now < next_round_) return;
  schedule(now);
  if (peers_.empty()) return;
  Peer& peer = peers_[random_.below(peers_.size())];
  if (!peer.native || state_.digests() == nullptr) {
    out.emplace_back(ReplicaSend{peer.node, request_sync(config_.own)});
    return;
  }
  Exchange& exchange = peer.exchange;
  if (now < std::max(peer.not_before, exchange.answer_until)) return;
  // A round that changed nothing although the digests differed will not do better when it is repeated.
  if (!exchange.changed && ++exchange.futile_rounds > config_.futile_rounds_max) {
    ++counters_.futile;
    exchange.futile_rounds = 0;
    peer.not_before = now + futile_pause_periods * config_.anti_entropy_period;
    return;
  }
  begin(peer, now, out);
}

std::optional<MonotonicTime> Replica::deadline() const noexcept {
  std::optional<MonotonicTime> next;
  if (config_.anti_entropy_period.count() > 0) next = next_round_;
  if (next_greeting_ != MonotonicTime::max()) next = next ? std::min(*next, next_greeting_) : next_greeting_;
  if (!questions_.empty()) next = next ? std::min(*next, next_question_) : next_question_;
  return next;
}

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
