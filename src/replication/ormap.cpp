#include "replication/ormap.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>
#include <iterator>
#include <string>

#include "term/depth.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication {
namespace {

/// Dots of one value that a peer may send: Erlang nodes keep two of each write.
constexpr std::size_t received_dots_max = 100'000;

bool contains_float(const Term& term) {
  if (term.type() == TermType::floating) return true;
  const auto inside = [](const Term& element) { return contains_float(element); };
  if (std::ranges::any_of(term.elements(), inside)) return true;
  if (term.type() == TermType::list && contains_float(term.tail())) return true;
  return std::ranges::any_of(term.pairs(),
                             [&](const TermPair& pair) { return inside(pair.first) || inside(pair.second); });
}

/// Floats without a fraction become integers, but for the keys of maps, which Erlang compares exactly.
Term without_floats(const Term& term) {
  constexpr double exact_max = 9.2e18;
  if (const auto number = term.as_double()) {
    if (std::trunc(*number) != *number || std::abs(*number) > exact_max) return term;
    return static_cast<std::int64_t>(*number);
  }
  if (term.is_tuple() || term.type() == TermType::list) {
    std::vector<Term> elements;
    elements.reserve(term.size());
    for (const auto& element : term.elements()) elements.push_back(without_floats(element));
    if (term.is_tuple()) return Term::tuple(std::move(elements));
    return Term::list(std::move(elements), without_floats(term.tail()));
  }
  if (term.is_map()) {
    std::vector<TermPair> pairs;
    pairs.reserve(term.size());
    for (const auto& [key, value] : term.pairs()) pairs.emplace_back(key, without_floats(value));
    return Term::map(std::move(pairs));
  }
  return term;
}

/// Orders of heaps.
constexpr auto oldest_stamp = [](const auto& left, const auto& right) { return left.stamp > right.stamp; };
constexpr auto oldest_since = [](const auto& left, const auto& right) { return left.since > right.since; };

template <class Item, class Order>
void push(std::vector<Item>& heap, Item item, const Order& order) {
  heap.push_back(std::move(item));
  std::ranges::push_heap(heap, order);
}
template <class Item, class Order>
Item pop(std::vector<Item>& heap, const Order& order) {
  std::ranges::pop_heap(heap, order);
  Item item = std::move(heap.back());
  heap.pop_back();
  return item;
}

bool is_term_of(const Timestamp& stamp, const Term& term) {
  return term.is_tagged("timestamp", 3) && term[1] == Term(stamp.wall) && term[2] == Term(stamp.logical);
}

/// Of dots in falling order those that are kept: of each node the first one.
void keep_greatest(std::vector<Dot>& dots) {
  constexpr std::size_t few = 16;
  const bool search = dots.size() <= few;  // of few that costs less than a table
  boost::unordered_flat_set<Atom, std::hash<Atom>> nodes;
  std::size_t kept = 0;
  for (std::size_t index = 0; index < dots.size() && kept < Entry::dots_max; ++index) {
    const Atom& node = dots[index].node;
    const auto known = std::span(dots).first(kept);
    const bool is_new = search ? std::ranges::find(known, node, &Dot::node) == known.end() : nodes.insert(node).second;
    if (!is_new) continue;
    if (kept != index) dots[kept] = std::move(dots[index]);
    ++kept;
  }
  dots.erase(dots.begin() + static_cast<std::ptrdiff_t>(kept), dots.end());
}

/// Which of two values of one dot all nodes of ours keep.
bool prevails(const Term& value, const Term& other) { return encode_term(value) > encode_term(other); }

}  // namespace

// One entry.

Entry Entry::value(Term value, Dot dot) {
  Entry entry;
  entry.value_ = std::move(value);
  entry.live_ = true;
  entry.dot_ = std::move(dot);
  return entry;
}

Entry Entry::value(Term value, std::vector<Dot> dots) {
  assert(!dots.empty());
  std::ranges::sort(dots, std::greater());
  keep_greatest(dots);
  Entry entry;
  entry.value_ = std::move(value);
  entry.live_ = true;
  entry.set_dots(dots);
  return entry;
}

Entry Entry::tombstone(const Timestamp& stamp) {
  Entry entry;
  entry.dot_.stamp = stamp;
  return entry;
}

Entry::Entry(const Entry& other)
    : value_(other.value_),
      dot_(other.dot_),
      dots_(other.dots_ ? std::make_unique<std::vector<Dot>>(*other.dots_) : nullptr),
      live_(other.live_) {}

Entry& Entry::operator=(const Entry& other) { return *this = Entry(other); }

std::span<const Dot> Entry::dots() const noexcept {
  if (dots_) return *dots_;
  return {&dot_, live_ ? 1U : 0U};
}

bool Entry::only_by(const Atom& node) const noexcept {
  return live_ && std::ranges::all_of(dots(), [&](const Dot& dot) { return dot.node == node; });
}

void Entry::set_dots(std::span<const Dot> sorted) {
  dot_ = sorted.front();
  if (sorted.size() == 1) {
    dots_.reset();
  } else {
    dots_ = std::make_unique<std::vector<Dot>>(sorted.begin(), sorted.end());
  }
}

bool Entry::add_dots(const Entry& other) {
  assert(live_ || !other.live_);
  const auto ours = dots();
  const auto theirs = other.dots();
  if (theirs.empty()) return false;
  if (ours.size() == 1 && theirs.size() == 1 && ours.front().node == theirs.front().node) {
    if (theirs.front().stamp <= dot_.stamp) return false;
    dot_.stamp = theirs.front().stamp;
    return true;
  }
  std::vector<Dot> both;
  both.reserve(ours.size() + theirs.size());
  std::ranges::merge(ours, theirs, std::back_inserter(both), std::greater());
  keep_greatest(both);
  if (std::ranges::equal(both, ours)) return false;
  set_dots(both);
  return true;
}

bool operator==(const Entry& left, const Entry& right) noexcept {
  return left.live_ == right.live_ && left.dot_ == right.dot_ && left.value_ == right.value_ &&
         std::ranges::equal(left.dots(), right.dots());
}

Term to_term(const Entry& entry) {
  static const Term tombstone_tag(Atom("tombstone"));
  static const Term value_tag(Atom("value"));
  static const Term present(true);
  if (!entry.is_live()) return Term::tuple_of(tombstone_tag, to_term(entry.stamp()));
  std::vector<TermPair> dots;
  dots.reserve(entry.dots().size());
  for (const auto& dot : entry.dots()) dots.emplace_back(Term::tuple_of(dot.node, to_term(dot.stamp)), present);
  return Term::tuple_of(value_tag, entry.value(), Term::map(std::move(dots)));
}

bool is_term_of(const Entry& entry, const Term& term) {
  if (!entry.is_live()) return term.is_tagged("tombstone", 2) && is_term_of(entry.stamp(), term[1]);
  const auto dots = entry.dots();
  const bool alike = term.is_tagged("value", 3) && term[2].is_map() && term[2].size() == dots.size();
  if (!alike || !(term[1] == entry.value())) return false;
  const auto is_pair_of = [](const TermPair& pair, const Dot& dot) {
    const auto& [key, value] = pair;
    return value.is_atom("true") && key.is_tuple(2) && key[0] == Term(dot.node) && is_term_of(dot.stamp, key[1]);
  };
  const auto pairs = term[2].pairs();
  if (dots.size() == 1) return is_pair_of(pairs.front(), dots.front());
  // There is one dot of each node, and the pairs come in the order of these.
  std::vector<const Dot*> by_node;
  by_node.reserve(dots.size());
  for (const auto& dot : dots) by_node.push_back(&dot);
  std::ranges::sort(by_node, {}, [](const Dot* dot) { return dot->node.text(); });
  return std::ranges::equal(pairs, by_node,
                            [&](const TermPair& pair, const Dot* dot) { return is_pair_of(pair, *dot); });
}

Result<Entry> entry_of(const Term& term) {
  if (term.is_tagged("tombstone", 2)) {
    const auto stamp = timestamp_of(term[1]);
    if (!stamp) return std::unexpected(stamp.error());
    return Entry::tombstone(*stamp);
  }
  if (!term.is_tagged("value", 3) || !term[2].is_map() || term[2].size() == 0) {
    return fail(Errc::malformed_term, "neither a value with dots nor a tombstone");
  }
  if (term[2].size() > received_dots_max) return fail(Errc::malformed_term, "too many dots");
  std::vector<Dot> dots;
  dots.reserve(term[2].size());
  for (const auto& pair : term[2].pairs()) {
    const Term& dot = pair.first;
    auto node = dot.is_tuple(2) ? dot[0].as_atom() : std::nullopt;
    if (!node) return fail(Errc::malformed_term, "a dot is a node and a timestamp");
    const auto stamp = timestamp_of(dot[1]);
    if (!stamp) return std::unexpected(stamp.error());
    dots.push_back({*stamp, std::move(*node)});
  }
  if (dots.size() == 1) return Entry::value(term[1], std::move(dots.front()));
  return Entry::value(term[1], std::move(dots));
}

Change merge(Entry& entry, const Entry& incoming) {
  if (!incoming.is_live()) {
    if (incoming.stamp() <= entry.stamp()) return Change::none;
    const Change change = entry.is_live() ? Change::removed : Change::dots;
    entry = incoming;
    return change;
  }
  if (!entry.is_live()) {
    if (entry.stamp() > incoming.stamp()) return Change::none;
    entry = incoming;
    return Change::put;
  }
  const Dot& ours = entry.dots().front();
  const Dot& theirs = incoming.dots().front();
  const bool other_value = !(entry.value() == incoming.value());
  if (theirs > ours || (theirs == ours && other_value && prevails(incoming.value(), entry.value()))) {
    Entry merged = incoming;
    merged.add_dots(entry);
    entry = std::move(merged);
    return other_value ? Change::put : Change::dots;
  }
  return entry.add_dots(incoming) ? Change::dots : Change::none;
}

// The map.

OrMap::Record* OrMap::lookup(const Term& key) const noexcept {
  const auto found = table_.find(key);
  return found == table_.end() ? nullptr : found->get();
}

const OrMap::Record* OrMap::record(const Term& key) const noexcept { return lookup(key); }

const Entry* OrMap::find(const Term& key) const noexcept {
  const Record* known = lookup(key);
  return known == nullptr ? nullptr : &known->second;
}

const Term* OrMap::get(const Term& key) const noexcept {
  const Entry* entry = find(key);
  return entry != nullptr && entry->is_live() ? &entry->value() : nullptr;
}

const OrMap::Record& OrMap::place(const Term& key, Entry&& entry) {
  const auto [position, added] = table_.insert(std::make_unique<Record>(key, std::move(entry)));
  assert(added);
  const Record& record = **position;
  if (record.second.is_live()) {
    ++live_;
  } else {
    bury(key, record.second.stamp(), 0);
  }
  if (contains_float(key)) with_floats_.insert_or_assign(without_floats(key), key);
  return record;
}

const OrMap::Record& OrMap::put(const Term& key, Term value, Dot dot) {
  Record* known = lookup(key);
  if (known == nullptr) return place(key, Entry::value(std::move(value), std::move(dot)));
  Entry& entry = known->second;
  assert(dot.stamp > entry.stamp());
  Entry written = Entry::value(std::move(value), std::move(dot));
  written.add_dots(entry);
  if (!entry.is_live()) ++live_;
  entry = std::move(written);
  return *known;
}

const OrMap::Record& OrMap::remove(const Term& key, const Timestamp& stamp) {
  Record* known = lookup(key);
  if (known == nullptr) return place(key, Entry::tombstone(stamp));
  Entry& entry = known->second;
  assert(stamp > entry.stamp());
  if (entry.is_live()) --live_;
  entry = Entry::tombstone(stamp);
  bury(key, stamp, 0);
  return *known;
}

Change OrMap::merge(const Term& key, const Entry& incoming, WallMilliseconds now) {
  Record* known = lookup(key);
  if (known == nullptr) {
    place(key, Entry(incoming));
    return incoming.is_live() ? Change::put : Change::dots;
  }
  Entry& entry = known->second;
  const bool before = entry.is_live();
  const Change change = replication::merge(entry, incoming);
  const bool after = entry.is_live();
  if (after && !before) ++live_;
  if (before && !after) --live_;
  if (!after && change != Change::none) bury(key, entry.stamp(), before ? now : 0);
  return change;
}

bool OrMap::erase(const Term& key) {
  const auto found = table_.find(key);
  if (found == table_.end()) return false;
  if ((*found)->second.is_live()) --live_;
  if (!with_floats_.empty() && contains_float(key)) with_floats_.erase(without_floats(key));
  table_.erase(found);
  return true;
}

void OrMap::bury(const Term& key, const Timestamp& stamp, WallMilliseconds since) {
  // A key that comes and goes leaves graves behind; they are cleared before they outnumber the tombstones.
  constexpr std::size_t few = 64;
  const auto clear = [&](std::vector<Grave>& graves, const auto& order) {
    if (graves.size() <= few + 2 * (table_.size() - live_)) return;
    std::erase_if(graves, [&](const Grave& grave) { return !is_valid(grave); });
    std::ranges::make_heap(graves, order);
  };
  clear(graves_, oldest_stamp);
  clear(retired_, oldest_since);
  push(graves_, Grave{stamp, std::max(since, stamp.wall), key}, oldest_stamp);
}

bool OrMap::is_valid(const Grave& grave) const noexcept {
  const Entry* entry = find(grave.key);
  return entry != nullptr && !entry->is_live() && entry->stamp() == grave.stamp;
}

std::vector<Term> OrMap::retire_tombstones(WallMilliseconds cutoff, std::size_t count_max) {
  std::vector<Term> keys;
  while (keys.size() < count_max && !graves_.empty() && graves_.front().stamp.wall < cutoff) {
    Grave grave = pop(graves_, oldest_stamp);
    if (!is_valid(grave)) continue;
    keys.push_back(grave.key);
    push(retired_, std::move(grave), oldest_since);
  }
  return keys;
}

std::vector<Term> OrMap::collect_tombstones(WallMilliseconds cutoff, std::size_t count_max,
                                            const std::function<void(const Term& key)>& leaving) {
  std::vector<Term> keys;
  while (keys.size() < count_max && !retired_.empty() && retired_.front().since < cutoff) {
    Grave grave = pop(retired_, oldest_since);
    if (!is_valid(grave)) continue;
    if (leaving) leaving(grave.key);
    erase(grave.key);
    keys.push_back(std::move(grave.key));
  }
  return keys;
}

std::optional<Term> OrMap::lookalike(const Term& key) const {
  const bool floats = contains_float(key);
  if (!floats && with_floats_.empty()) return std::nullopt;
  Term plain = floats ? without_floats(key) : key;
  const auto found = with_floats_.find(plain);
  if (found != with_floats_.end() && !(found->second == key)) return found->second;
  if (floats && !(plain == key) && table_.contains(plain)) return plain;
  return std::nullopt;
}

Term OrMap::to_term() const {
  std::vector<TermPair> pairs;
  pairs.reserve(table_.size());
  for (const auto& [key, entry] : entries()) pairs.emplace_back(key, replication::to_term(entry));
  return Term::map(std::move(pairs));
}

Term plain_form(const Term& key) { return contains_float(key) ? without_floats(key) : key; }

// What peers send.

Result<void> check_depth(const Term& content) {
  if (depth_of(content) <= content_depth_max) return {};
  return fail(Errc::limit_exceeded, "the term has " + std::to_string(depth_of(content)) + " levels, and " +
                                        std::to_string(content_depth_max) +
                                        " are allowed: every node passes it on to others");
}

Accepted accept(const Term& payload, HybridClock& clock, WallMilliseconds physical, const EntryCheck& check,
                std::size_t entries_max, const KnownCheck& known) {
  Accepted accepted;
  const auto pairs = payload.pairs();
  accepted.entries.reserve(std::min(pairs.size(), entries_max));
  for (const auto& [key, term] : pairs) {
    if (known && known(key, term)) {
      ++accepted.known;
      continue;
    }
    const bool too_deep =
        std::max(depth_of(key), depth_of(term) - 1) > content_depth_max;  // the value is within a tuple
    const bool taken = accepted.entries.size() < entries_max && !too_deep;
    auto entry = taken ? entry_of(term) : fail(Errc::limit_exceeded);
    if (!entry || (check && !check(key, *entry))) {
      ++accepted.rejected;
    } else if (!clock.observe(entry->stamp(), physical)) {
      ++accepted.rejected;
      ++accepted.in_future;
    } else {
      accepted.entries.emplace_back(key, std::move(*entry));
    }
  }
  return accepted;
}

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
