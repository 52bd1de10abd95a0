// The active and passive views of other nodes, as they said when they were asked (`barrel_p2p:active_view/0`,
// `passive_view/0` where there is one), C++ and Erlang nodes alike.
//
// Asked for only while somebody looks, and within bounds: a node is asked no more often than every `ask_every`, at most
// `asked_at_once` at a time, and only `nodes_max` of a larger cluster, those with a connection first.
#pragma once

#include <barrel_p2p/node_name.hpp>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

struct RemoteViewsConfig {
  Milliseconds ask_every{5000};
  Milliseconds answer_within{3000};
  std::size_t asked_at_once = 8;
  std::size_t nodes_max = 128;  ///< Asking makes connections.
};

/// Thread safe. Its processes may outlive it, the system may not.
class RemoteViews {
 public:
  struct View {
    std::optional<std::vector<std::string>> active, passive;
    MonotonicTime at{};  ///< Of the last answer.
  };

  explicit RemoteViews(process::System& system, RemoteViewsConfig config = {})
      : system_(system), config_(config), table_(std::make_shared<Table>()) {}

  /// Asks those of the nodes whose turn it is, the first ones first; forgets all others.
  void ask(const std::vector<Atom>& nodes, MonotonicTime now);
  [[nodiscard]] std::optional<View> find(const Atom& node) const;

 private:
  struct Entry {
    View view;
    std::optional<MonotonicTime> asked;
    bool asking = false;
  };
  struct Table {
    std::mutex mutex;
    std::map<Atom, Entry> entries;
    std::size_t asking = 0;
  };

  static Task<> ask_one(Process& self, std::shared_ptr<Table> table, Atom node, Milliseconds limit);

  process::System& system_;
  const RemoteViewsConfig config_;
  std::shared_ptr<Table> table_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
