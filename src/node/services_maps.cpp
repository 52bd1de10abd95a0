// Replicated maps, as the program sees them.
#include <utility>

#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using services::Ticket;

namespace {

Term message_of(const MapEvent& event) {
  const Term what = event.kind == MapEvent::Kind::put ? Term::tuple({Atom("put"), event.key, event.value})
                                                      : Term::tuple({Atom("remove"), event.key});
  return Term::tuple({Atom("barrel_p2p_map"), event.map, what});
}

}  // namespace

/// On the thread of the caller: while it reads, `stop` does not close the store.
Result<void> ServicesRunner::load_map(const Atom& map, services::Maps::Stored& stored) {
  return gate_->with([&](const ServicesRunner* self) -> Result<void> {
    if (self == nullptr) return fail(Errc::stopped, "the node is stopping");
    store_->flush();  // what an earlier map of this name left
    const auto collection = services::map_collection(map);
    stored.reserve(store_->size(collection));
    const auto loaded = store_->load(collection, [&](Term&& key, replication::Entry&& entry) {
      stored.emplace_back(std::move(key), std::move(entry));
    });
    return loaded ? Result<void>() : std::unexpected(loaded.error());
  });
}

void ServicesRunner::open_map(const Atom& map, MapOptions options, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  auto opening = std::make_shared<Opening>(map);
  if (options.persist) {
    const std::lock_guard lock(openings_mutex_);
    std::erase_if(openings_, [](const auto& other) { return other.expired(); });
    openings_.push_back(opening);
  }
  if (options.persist && !maps_.is_open(map)) {
    if (auto loaded = load_map(map, opening->stored); !loaded) return answer->give(std::move(loaded));
  }
  call(0, answer, [this, answer, map, options = std::move(options), opening] {
    if (opening->deleted) opening->stored.clear();
    auto opened = machine_.maps().open(map, options, std::move(opening->stored), now(), effects_);
    carry_out();  // what it holds
    if (opened && !maps_.is_open(map)) maps_.open(map, {});
    answer->give(std::move(opened));
  });
}

void ServicesRunner::delete_map(const Atom& map, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  call(0, answer, [this, answer, map] {
    ticketed(*answer, [&](Ticket ticket) {
      auto removed = machine_.maps().remove_map(map, ticket, now(), effects_);
      if (removed) maps_.close(map);
      return removed;
    });
    carry_out();
    // Who began to read it before the store was told has what is gone now.
    const std::lock_guard lock(openings_mutex_);
    for (const auto& weak : openings_) {
      const auto opening = weak.lock();
      if (opening && opening->map == map) opening->deleted = true;
    }
  });
}

void ServicesRunner::put(const Atom& map, Term key, Term value, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(key, false) + encoded_size(value, false);
  call(bytes, answer, [this, answer, map, key = std::move(key), value = std::move(value)] {
    ticketed(*answer, [&](Ticket ticket) { return machine_.maps().put(map, key, value, ticket, now(), effects_); });
  });
}

void ServicesRunner::put_many(const Atom& map, std::vector<TermPair> pairs, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  std::size_t bytes = 0;
  for (const auto& [key, value] : pairs) bytes += encoded_size(key, false) + encoded_size(value, false);
  call(bytes, answer, [this, answer, map, pairs = std::move(pairs)] {
    ticketed(*answer, [&](Ticket ticket) { return machine_.maps().put_many(map, pairs, ticket, now(), effects_); });
  });
}

void ServicesRunner::remove(const Atom& map, Term key, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(key, false);
  call(bytes, answer, [this, answer, map, key = std::move(key)] {
    ticketed(*answer, [&](Ticket ticket) { return machine_.maps().remove(map, key, ticket, now(), effects_); });
  });
}

void ServicesRunner::map_statistics(const Atom& map, Answer<MapStatistics>::Function done) {
  auto answer = std::make_shared<Answer<MapStatistics>>(std::move(done));
  call(0, answer, [this, answer, map] { answer->give(machine_.maps().statistics(map)); });
}

// What the machine wants.

void ServicesRunner::carry_out(services::MapOpened& effect) {
  const auto* const map = machine_.maps().find(effect.map);
  if (map == nullptr) return;
  MapEntries entries;
  entries.reserve(map->live_count());
  for (const auto& [key, entry] : map->entries()) {
    if (entry.is_live()) entries.set(key, entry.value());
  }
  maps_.open(effect.map, std::move(entries));
}

void ServicesRunner::carry_out(services::MapChanged& effect) {
  if (effect.value) {
    maps_.set(effect.map, effect.key, std::move(*effect.value));
  } else {
    maps_.erase(effect.map, effect.key);
  }
}

void ServicesRunner::carry_out(services::MapHappened& effect) {
  const auto audience = maps_.whole_audience(effect.event.map);
  if (!audience) return;
  audience->subscribers.tell(effect.event);
  audience->pids.tell(message_of(effect.event));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
