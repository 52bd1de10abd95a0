// A simulated cluster, to test a service of your own: many nodes in one thread, on virtual time, repeatable from a
// seed.
//
//   sim::Cluster cluster({.nodes = 20, .seed = 7});
//   auto subscription = cluster.on_broadcast(3, Atom("news"), [](const Term& payload) { ... });
//   cluster.join_all();
//   cluster.run_for(std::chrono::seconds(30));
//   cluster.broadcast(0, Atom("news"), "hello");
//   cluster.run_until([&] { return all_have_it(); }, std::chrono::seconds(5));
//
// With `ClusterOptions::services` the nodes also run the services and maps of the product, on virtual processes, disks
// and wall clocks.
//
// The nodes run the membership and broadcast code of the product over a simulated network: channels with delays and
// losses, crashes, freezes, cuts. What the product promises about them is checked all the time; a breach throws
// std::runtime_error with the seed. Link barrel_p2p::sim. docs/simulation.md tells more.
//
// Threads: one. Callbacks run inside of the `run_` functions and of calls that have an effect at once; they may call
// everything but the `run_` functions and the destructor. Node numbers are 0 to nodes - 1; another one is undefined
// behaviour.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/services.hpp>
#include <barrel_p2p/subscription.hpp>
#include <barrel_p2p/term.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

using NodeNumber = std::size_t;

/// The network between the nodes. The defaults are a quiet one.
struct NetworkOptions {
  std::chrono::milliseconds delay_min{5};  ///< One way. 0 or more.
  std::chrono::milliseconds delay_max{15};
  double loss = 0;  ///< Of packets, 0 to 0.9. Channels are reliable: it becomes delay.
  /// A node that is silent for so long is taken for dead. 1 s or more.
  std::chrono::milliseconds dead_after{4000};
};

struct ClusterOptions {
  std::size_t nodes = 10;
  std::uint64_t seed = 1;  ///< Equal options and equal calls give equal runs.
  NetworkOptions network{};
  std::size_t active_size = 5;    ///< 1 or more.
  std::size_t passive_size = 30;  ///< `active_size` or more.
  bool services = false;          ///< The nodes run services and maps: every node says every 2 s that it lives.
};

/// A neighbour came or went.
struct NeighbourEvent {
  NodeNumber peer = 0;
  bool up = false;
  std::string reason;  ///< Of a down: `nodedown`, `graceful`, `dropped`, `left`.
};

class BARREL_P2P_API Cluster {
 public:
  /// All nodes run, and know nobody. Throws std::invalid_argument for options out of range.
  explicit Cluster(const ClusterOptions& options);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  [[nodiscard]] std::size_t size() const noexcept;
  /// `n0@sim` and so on.
  [[nodiscard]] Atom name(NodeNumber node) const;

  // Time. It stands still but in these.
  void run_for(std::chrono::nanoseconds span);
  /// Runs until the condition holds, which is looked at after every event, or the limit is over. Returns whether it
  /// held.
  bool run_until(const std::function<bool()>& condition, std::chrono::nanoseconds limit);
  /// Since the construction.
  [[nodiscard]] std::chrono::nanoseconds now() const noexcept;
  /// Of all that happened so far: equal for equal runs.
  [[nodiscard]] std::uint64_t trace_hash() const noexcept;

  // What programs on the nodes do. Requires that the node runs and is not frozen.
  void join(NodeNumber node, NodeNumber contact);
  /// Every node but the contact joins it, 10 ms after the one before.
  void join_all(NodeNumber contact = 0);
  void leave(NodeNumber node);
  void broadcast(NodeNumber node, const Atom& tag, const Term& payload);
  /// Calls the function at its time, or after the freeze in which it falls, unless the node crashed or was stopped
  /// meanwhile.
  void after(NodeNumber node, std::chrono::nanoseconds span, const std::function<void()>& callback);
  [[nodiscard]] std::vector<NodeNumber> active_view(NodeNumber node) const;
  /// Broadcasts with this tag that the node gets, its own included. Lasts over crashes and restarts, as the other one.
  /// The subscription must not outlive the cluster.
  Subscription on_broadcast(NodeNumber node, const Atom& tag, std::function<void(const Term& payload)> callback);
  Subscription on_membership(NodeNumber node, std::function<void(const NeighbourEvent& event)> callback);

  // Services and maps, as `Node` has them. Require that the node runs and is not frozen, and `ClusterOptions::services`
  // (else std::logic_error). A process is a number that lives until it is ended or its node ends.
  [[nodiscard]] Pid spawn(NodeNumber node);
  void end_process(NodeNumber node, const Pid& pid, const Term& reason = Atom("normal"));
  /// Errors: see `Node::register_service`.
  [[nodiscard]] Result<void> register_service(NodeNumber node, const ServiceName& name, const Pid& pid,
                                              const Term& meta = Term::map({}));
  bool unregister_service(NodeNumber node, const ServiceName& name);
  /// What the node finds, its own registration first.
  [[nodiscard]] std::vector<ServiceEntry> lookup(NodeNumber node, const ServiceName& name) const;
  /// Who has a lease, by what the node heard; sorted.
  [[nodiscard]] std::vector<NodeName> members(NodeNumber node) const;
  /// Once after each start of the node. A persistent map has again what was on the node's disk. Error: see
  /// `Node::new_map`.
  [[nodiscard]] Result<void> open_map(NodeNumber node, const Atom& map, const MapOptions& options = {});
  /// `done`, if there is one, is told the outcome: of a persistent map when the write is on the disk, some milliseconds
  /// later; never if the node crashes before. An error that is returned tells nobody.
  [[nodiscard]] Result<void> map_put(NodeNumber node, const Atom& map, const Term& key, const Term& value,
                                     std::function<void(const Result<void>& result)> done = nullptr);
  [[nodiscard]] Result<void> map_remove(NodeNumber node, const Atom& map, const Term& key,
                                        std::function<void(const Result<void>& result)> done = nullptr);
  /// Nothing: there is no such key here, or no such map.
  [[nodiscard]] std::optional<Term> map_get(NodeNumber node, const Atom& map, const Term& key) const;
  /// These last over crashes and restarts, and must not outlive the cluster.
  Subscription on_service(NodeNumber node, std::function<void(const ServiceEvent& event)> callback);
  Subscription on_map(NodeNumber node, const Atom& map, std::function<void(const MapEvent& event)> callback);

  // What happens to the nodes.
  void crash(NodeNumber node);  ///< From one moment to the next; others notice after `dead_after`.
  void stop(NodeNumber node);   ///< It leaves and closes its channels.
  /// Under the same name, with what it had written to disk: it finds the cluster again by itself.
  void restart(NodeNumber node);
  void pause(NodeNumber node);  ///< As SIGSTOP does.
  void resume(NodeNumber node);
  /// Its wall clock is set forward, or back. Requires `ClusterOptions::services`.
  void shift_clock(NodeNumber node, std::chrono::milliseconds by);
  /// Its disk refuses all writes for so long. Likewise.
  void break_disk(NodeNumber node, std::chrono::nanoseconds span);
  [[nodiscard]] bool is_running(NodeNumber node) const;  ///< And is not frozen.

  // What happens to the network.
  /// Nodes of different groups do not reach each other. Nodes that no group has are in one group of their own.
  void partition(const std::vector<std::vector<NodeNumber>>& groups);
  void heal();
  /// Whether the nodes that run are one cluster now.
  [[nodiscard]] bool is_connected() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
