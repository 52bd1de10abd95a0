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

Result<services::Maps::Stored> ServicesRunner::load_map(const Atom& map) {
  store_->flush();  // what an earlier map of this name left
  services::Maps::Stored stored;
  const auto collection = services::map_collection(map);
  stored.reserve(store_->size(collection));
  const auto loaded = store_->load(collection, [&](Term&& key, replication::Entry&& entry) {
    stored.emplace_back(std::move(key), std::move(entry));
  });
  if (!loaded) return std::unexpected(loaded.error());
  return stored;
}

void ServicesRunner::open_map(const Atom& map, MapOptions options, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const auto deleted = maps_deleted_.load();
  auto content = std::make_shared<Result<services::Maps::Stored>>();
  if (options.persist && !maps_.is_open(map)) {
    // While it reads, `stop` does not close the store.
    *content = gate_->with([&](const ServicesRunner* self) -> Result<services::Maps::Stored> {
      if (self == nullptr) return fail(Errc::stopped, "the node is stopping");
      return load_map(map);
    });
    if (!*content) return answer->give(std::unexpected(content->error()));
  }
  call(0, answer, [this, answer, map, options = std::move(options), content, deleted] {
    // What was read may be of a map that is gone since.
    if (options.persist && deleted != maps_deleted_.load()) *content = load_map(map);
    if (!*content) return answer->give(std::unexpected(content->error()));
    auto opened = machine_.maps().open(map, options, std::move(**content), now(), effects_);
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
    carry_out();  // the store has it
    maps_deleted_.fetch_add(1);
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
