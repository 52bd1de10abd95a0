#include "sim/history.hpp"

#include <algorithm>
#include <utility>

#include "services/maps.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

constexpr std::size_t holders_max = 3;

std::string stamp_text(const replication::Timestamp& stamp) {
  return std::to_string(stamp.wall) + "." + std::to_string(stamp.logical);
}

}  // namespace

History::History(Simulation& simulation, std::vector<HistoryMap> maps, std::size_t keys)
    : simulation_(simulation), maps_(std::move(maps)), keys_(keys), history_(maps_.size() * keys) {}

const replication::Entry* History::entry(NodeIndex node, std::size_t map, std::size_t key) const {
  const auto* entries = simulation_.services()->machine(node).maps().find(maps_[map].name);
  if (entries == nullptr) simulation_.fail_at(node, "the map " + maps_[map].name.string() + " is not open");
  return entries->find(Term(key));
}

void History::wrote(NodeIndex node, std::size_t map, std::size_t key, std::optional<std::uint64_t> value,
                    std::shared_ptr<const Answer> answer) {
  const ServiceNodes& services = *simulation_.services();
  const auto* written = entry(node, map, key);
  const bool right =
      written != nullptr && written->is_live() == value.has_value() && (!value || written->value() == Term(*value));
  if (!right) simulation_.fail_at(node, "does not see what it wrote itself");
  Write write{written->stamp(), value, simulation_.engine().now(), node, services.life(node), std::move(answer), {}};
  if (maps_[map].options.persist) write.holders.push_back({node, services.disk_losses(node)});
  auto& writes = at(map, key).writes;
  // Stamps grow as long as a process lives, and over restarts as long as it keeps its disk, and with it its clock's
  // mark.
  const auto newer = [&](const Write& other) {
    const bool on_disk =
        other.answer->good && !other.holders.empty() && other.holders.front().disk_losses == services.disk_losses(node);
    return other.node == node && other.stamp >= write.stamp && (on_disk || other.life == write.life);
  };
  const auto repeated = std::ranges::find_if(writes, newer);
  if (repeated != writes.end())
    simulation_.fail_at(node, "gives the stamp " + stamp_text(write.stamp) + " after " + stamp_text(repeated->stamp));
  writes.push_back(std::move(write));
  ++writes_;
}

bool History::is_durable(const Write& write, std::size_t map) const {
  if (!maps_[map].options.persist || !write.answer->good) return false;
  const ServiceNodes& services = *simulation_.services();
  return std::ranges::any_of(
      write.holders, [&](const Holder& holder) { return services.disk_losses(holder.node) == holder.disk_losses; });
}

void History::hand_over(NodeIndex node) {
  const ServiceNodes& services = *simulation_.services();
  for (std::size_t map = 0; map < maps_.size(); ++map) {
    if (!maps_[map].options.persist) continue;
    const std::string collection = services::map_collection(maps_[map].name);
    for (std::size_t key = 0; key < keys_; ++key) {
      for (auto& write : at(map, key).writes) {
        const bool concerned = write.answer->good && write.holders.size() < holders_max &&
                               std::ranges::find(write.holders, node, &Holder::node) != write.holders.end();
        if (!concerned || (at(map, key).agreed && write.stamp <= at(map, key).agreed->stamp)) continue;
        for (NodeIndex other = 0; other < simulation_.size() && write.holders.size() < holders_max; ++other) {
          const auto* held = services.disk(other).find(collection, Term(key));
          // What a wrong clock wrote hides the others' from its node alone.
          if (other == node || services.has_wrong_clock(other)) continue;
          if (held == nullptr || held->stamp() < write.stamp) continue;
          if (std::ranges::find(write.holders, other, &Holder::node) == write.holders.end())
            write.holders.push_back({other, services.disk_losses(other)});
        }
      }
    }
  }
}

bool History::must_count(const Write& write, std::size_t map) const {
  const ServiceNodes& services = *simulation_.services();
  const bool runs = simulation_.is_member(write.node) && services.life(write.node) == write.life;
  if (runs) return true;
  if (!is_durable(write, map)) return false;
  return std::ranges::any_of(write.holders, [&](const Holder& holder) {
    return simulation_.is_member(holder.node) && services.disk_losses(holder.node) == holder.disk_losses;
  });
}

/// The newest write that must count; nullptr: there is none.
const History::Write* History::required(const Key& key, std::size_t map) const {
  const Write* newest = nullptr;
  // What a node wrote that is gone now may be forgotten in a map that prunes.
  const bool stays = key.agreed && (!maps_[map].options.prune_on_node_down || !key.agreed->value);
  if (stays) newest = &*key.agreed;
  for (const auto& write : key.writes) {
    const bool is_newer = newest == nullptr || write.stamp > newest->stamp;
    if (is_newer && must_count(write, map)) newest = &write;
  }
  return newest;
}

std::string History::describe(const Write& write) const {
  const auto when = std::chrono::duration_cast<Milliseconds>(write.time).count();
  return (write.value ? "the value " + std::to_string(*write.value) : std::string("the removal")) + " of " +
         simulation_.name_of(write.node).string() + " at " + std::to_string(when) + " ms, stamp " +
         stamp_text(write.stamp);
}

/// Who has what.
std::string History::spread(std::size_t map, std::size_t key) const {
  std::string text;
  for (const NodeIndex node : simulation_.members()) {
    const auto* found = entry(node, map, key);
    text += "\n  " + simulation_.name_of(node).string() + " ";
    text += found == nullptr
                ? "nothing"
                : (found->is_live() ? to_text(found->value()) : "removed") + " " + stamp_text(found->stamp());
    if (simulation_.services()->has_wrong_clock(node)) text += " (its clock is wrong)";
  }
  return text;
}

void History::check_entry(NodeIndex node, std::size_t map, std::size_t key, const replication::Entry* found) {
  const Key& known = at(map, key);
  const Write* must = required(known, map);
  const std::string place = "key " + std::to_string(key) + " of " + maps_[map].name.string() + ": ";
  if (found != nullptr && found->is_live()) {
    const auto written = std::ranges::find_if(known.writes, [&](const Write& write) {
      return write.stamp == found->stamp() && write.value && Term(*write.value) == found->value();
    });
    if (written == known.writes.end())
      simulation_.fail_at(node, place + "it has " + to_text(found->value()) + ", which nobody wrote");
    // Who wrote later with an older stamp had a clock far behind.
    if (must == nullptr || written->stamp >= must->stamp || written->time > must->time) return;
    simulation_.fail_at(node,
                        place + "it has " + describe(*written) + " in place of " + describe(*must) + spread(map, key));
  }
  if (must == nullptr || !must->value) return;
  const bool removed =
      std::ranges::any_of(known.writes, [&](const Write& write) { return !write.value && write.stamp >= must->stamp; });
  if (!removed) simulation_.fail_at(node, place + "it has lost " + describe(*must) + spread(map, key));
}

void History::check_key(const std::vector<NodeIndex>& nodes, std::size_t map, std::size_t key) {
  const replication::Entry* first = entry(nodes.front(), map, key);
  const replication::Entry* newest = nullptr;
  for (const NodeIndex node : nodes) {
    const auto* found = entry(node, map, key);
    check_entry(node, map, key, found);
    const bool live = found != nullptr && found->is_live();
    const bool first_live = first != nullptr && first->is_live();
    const bool same =
        live == first_live && (!live || (found->stamp() == first->stamp() && found->value() == first->value()));
    if (!same)
      simulation_.fail_at(
          node, "key " + std::to_string(key) + " of " + maps_[map].name.string() + ": it has " +
                    (live ? to_text(found->value()) + " of " + stamp_text(found->stamp()) : "nothing") + ", and " +
                    simulation_.name_of(nodes.front()).string() + " has " +
                    (first_live ? to_text(first->value()) + " of " + stamp_text(first->stamp()) : "nothing") +
                    spread(map, key));
    if (found != nullptr && (newest == nullptr || found->stamp() > newest->stamp())) newest = found;
  }
  if (newest == nullptr) return;
  Key& known = at(map, key);
  const auto agreed =
      std::ranges::find_if(known.writes, [&](const Write& write) { return write.stamp == newest->stamp(); });
  if (agreed != known.writes.end()) known.agreed = *agreed;
}

void History::check(const std::vector<NodeIndex>& nodes) {
  if (nodes.empty()) return;
  durable_ = 0;
  for (std::size_t map = 0; map < maps_.size(); ++map) {
    for (std::size_t key = 0; key < keys_; ++key) {
      check_key(nodes, map, key);
      durable_ += static_cast<std::uint64_t>(
          std::ranges::count_if(at(map, key).writes, [&](const Write& write) { return is_durable(write, map); }));
    }
    for (const NodeIndex node : nodes) {
      std::size_t live = 0;
      for (std::size_t key = 0; key < keys_; ++key) {
        const auto* found = entry(node, map, key);
        live += found != nullptr && found->is_live() ? 1 : 0;
      }
      const auto* entries = simulation_.services()->machine(node).maps().find(maps_[map].name);
      if (live != entries->live_count()) simulation_.fail_at(node, "it has keys that nobody wrote");
    }
  }
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
