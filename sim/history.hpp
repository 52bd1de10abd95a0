// What programs wrote into the maps of a simulation, and what of it must be there in the end.
//
// A write must count once things are calm, it or a newer one (by stamp), on every member, if
//   - it is in a persistent map, its caller was told that it is durable, and a node whose disk has it runs and did not
//     lose that disk since. A node that ends or loses its disk hands over to others that have it on disk at that
//     moment: what only it had is lost with its disk, as promised to nobody else;
//   - or the process that made it still runs;
//   - or it counted at the last calm, when all had it.
#pragma once

#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "replication/ormap.hpp"
#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// How a call was answered.
struct Answer {
  bool came = false;
  bool good = false;
};

struct HistoryMap {
  Atom name;
  MapOptions options;
};

class History {
 public:
  /// The simulation must outlive it. Keys are the numbers from 0 to `keys` - 1 in every map.
  History(Simulation& simulation, std::vector<HistoryMap> maps, std::size_t keys);

  /// The node has just written the value, or removed the key if there is none.
  void wrote(NodeIndex node, std::size_t map, std::size_t key, std::optional<std::uint64_t> value,
             std::shared_ptr<const Answer> answer);
  /// The process is about to end, or its disk to be lost.
  void hand_over(NodeIndex node);
  /// Throws `Violation` when one of the nodes has something else than it must, or they differ. What they have must stay
  /// from here on.
  void check(const std::vector<NodeIndex>& nodes);

  [[nodiscard]] const std::vector<HistoryMap>& maps() const noexcept { return maps_; }
  [[nodiscard]] std::size_t keys() const noexcept { return keys_; }
  [[nodiscard]] std::uint64_t writes() const noexcept { return writes_; }
  [[nodiscard]] std::uint64_t durable() const noexcept { return durable_; }  ///< As of the last check.

 private:
  struct Holder {
    NodeIndex node = 0;
    std::uint64_t disk_losses = 0;
  };
  struct Write {
    replication::Timestamp stamp;
    std::optional<std::uint64_t> value;
    SimTime time{};
    NodeIndex node = 0;
    std::uint64_t life = 0;
    std::shared_ptr<const Answer> answer;
    std::vector<Holder> holders;  ///< Of persistent maps.
  };
  struct Key {
    std::vector<Write> writes;
    std::optional<Write> agreed;  ///< At the last check.
  };

  [[nodiscard]] Key& at(std::size_t map, std::size_t key) { return history_[map * keys_ + key]; }
  [[nodiscard]] const replication::Entry* entry(NodeIndex node, std::size_t map, std::size_t key) const;
  [[nodiscard]] bool is_durable(const Write& write, std::size_t map) const;
  [[nodiscard]] bool must_count(const Write& write, std::size_t map) const;
  [[nodiscard]] const Write* required(const Key& key, std::size_t map) const;
  void check_key(const std::vector<NodeIndex>& nodes, std::size_t map, std::size_t key);
  void check_entry(NodeIndex node, std::size_t map, std::size_t key, const replication::Entry* found);
  [[nodiscard]] std::string spread(std::size_t map, std::size_t key) const;
  [[nodiscard]] std::string describe(const Write& write) const;

  Simulation& simulation_;
  std::vector<HistoryMap> maps_;
  std::size_t keys_;
  std::vector<Key> history_;
  std::uint64_t writes_ = 0;
  std::uint64_t durable_ = 0;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
