// Where the endpoint gets from what it shows. The node implements it; the endpoint knows nothing of the node.
#pragma once

#include <barrel_p2p/operations.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "admin/snapshot.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {

struct MapQuery {
  std::string map;
  std::string prefix;                ///< Of the key as text; of a string or binary key also of its characters.
  std::optional<std::string> after;  ///< Only keys whose text sorts behind it.
  std::size_t limit = 100;
};

struct MapPage {
  std::size_t size = 0;
  std::vector<std::pair<std::string, std::string>> entries;  ///< As text, in the order of the keys' texts.
  bool more = false;                                         ///< There are others behind these.
};

/// Called on the endpoint's thread only.
struct Source {
  /// Blocks, at most a second, for the threads of the node.
  std::function<Health()> health;
  /// Likewise. `views`: ask other nodes for their views, too, which comes with one of the next answers.
  std::function<std::shared_ptr<const Snapshot>(bool views)> snapshot;
  /// Nothing: no such map is open.
  std::function<std::optional<MapPage>(const MapQuery& query)> map;
  /// Decisions with a number above this one, the oldest first.
  std::function<std::vector<FlightEntry>(std::uint64_t number)> log;
};

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
