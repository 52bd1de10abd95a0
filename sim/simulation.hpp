// A cluster of whole nodes on the engine: every node is the `Overlay` of the product, with its clock and its disk, and,
// if wanted, the `Services` of the product: see service_nodes.hpp.
//
// What holds at every moment is checked after every step, and a breach ends the run with a `Violation`:
//   - views are bounded, without the node itself, without duplicates, without a node in both;
//   - ups and downs of each neighbour come in turns, and agree with the active view;
//   - neighbours have a channel; nothing is sent where there is none;
//   - a broadcast is delivered at most once per node while its id is remembered;
//   - a timer that was served is not due again at once.
// What holds when things are calm is in invariants.hpp.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "overlay/overlay.hpp"
#include "sim/engine.hpp"
#include "sim/service_nodes.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

struct SimulationConfig {
  std::uint64_t seed = 1;
  NetworkModel network;
  overlay::OverlayConfig overlay;  ///< Of every node; names, seeds and contacts are set for each.
  bool codec = false;              ///< Messages travel as bytes of the external term format.
  SimTime clock_skew_max{};        ///< Clocks of nodes begin so far apart ...
  double clock_drift_ppm_max = 0;  ///< ... and run faster or slower by up to this.
  ServiceNodesConfig services;     ///< Beside the overlay, if enabled.
};

/// An invariant was broken. Says when, where and what.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What became of one broadcast.
struct BroadcastRecord {
  static constexpr std::uint8_t not_delivered = 0xff;
  NodeIndex source = 0;
  SimTime sent{};
  SimTime last_delivery{};
  std::vector<std::uint8_t> hops;  ///< Of each node, capped at 254.
  std::uint32_t delivered = 0;
  std::uint64_t payloads = 0;       ///< Messages with the payload.
  std::uint64_t announcements = 0;  ///< Of it, to one peer each.
};

class Simulation final : public Host {
 public:
  explicit Simulation(SimulationConfig config);

  // Nodes. All are known to each other's resolver from the moment they are added.
  /// Named n0@sim and so on unless a name is given, which no other node may have.
  NodeIndex add_node(std::optional<Atom> name = std::nullopt);
  /// `remember`: what it wrote to disk comes back.
  void start(NodeIndex node, const std::vector<NodeIndex>& contacts, bool remember = true);
  void join(NodeIndex node, NodeIndex contact);
  void leave(NodeIndex node);
  void crash(NodeIndex node);
  void stop(NodeIndex node);
  void pause(NodeIndex node) { engine_.pause(node); }
  void resume(NodeIndex node);
  /// Returns the number of the broadcast. The node must be running.
  std::size_t broadcast(NodeIndex node, const Term& tag, const Term& payload);

  [[nodiscard]] Engine& engine() noexcept { return engine_; }
  [[nodiscard]] const Engine& engine() const noexcept { return engine_; }
  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
  /// It runs, is not paused, and did not leave.
  [[nodiscard]] bool is_member(NodeIndex node) const;
  [[nodiscard]] bool is_running(NodeIndex node) const;
  [[nodiscard]] bool has_run(NodeIndex node) const { return nodes_[node].starts > 0; }
  [[nodiscard]] std::vector<NodeIndex> members() const;
  [[nodiscard]] const overlay::Overlay& overlay_of(NodeIndex node) const { return *nodes_[node].overlay; }
  [[nodiscard]] const Atom& name_of(NodeIndex node) const { return nodes_[node].name; }
  /// The active view, sorted.
  [[nodiscard]] const std::vector<NodeIndex>& neighbours(NodeIndex node) const { return nodes_[node].neighbours; }
  [[nodiscard]] const std::deque<BroadcastRecord>& broadcasts() const noexcept { return broadcasts_; }
  /// The node has been a member since before the broadcast, so it should have got it.
  [[nodiscard]] bool is_expected(NodeIndex node, const BroadcastRecord& record) const;
  [[nodiscard]] const SimulationConfig& config() const noexcept { return config_; }
  [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }

  /// Runs until the time, or for the span.
  void run_until(SimTime time);
  void run_for(SimTime span) { run_until(engine_.now() + span); }
  [[noreturn]] void fail_at(NodeIndex node, const std::string& what) const;

  /// nullptr: no node has any.
  [[nodiscard]] ServiceNodes* services() noexcept { return services_.get(); }
  [[nodiscard]] const ServiceNodes* services() const noexcept { return services_.get(); }
  // What the services of a node need.
  /// `{Name, To} ! Message`.
  void send_to_name(NodeIndex node, const Atom& to, const Atom& name, Term message);
  /// A broadcast that no `BroadcastRecord` tells of.
  void broadcast_unrecorded(NodeIndex node, const Term& tag, Term payload);
  [[nodiscard]] MonotonicTime local_time(NodeIndex node) const;
  /// What the node's monotonic clock showed when the simulation began.
  [[nodiscard]] MonotonicTime local_start(NodeIndex node) const;
  /// Sees to it that the node gets its next timer.
  void arm(NodeIndex node);

  std::function<void(NodeIndex node, const Term& tag, const Term& payload)> on_deliver;
  std::function<void(NodeIndex node, NodeIndex peer, bool up, std::string_view reason)> on_membership;
  /// Everything that a node wants, before it happens.
  std::function<void(NodeIndex node, const overlay::Effect& effect)> on_effect;

 private:
  struct Node {
    Atom name;
    std::unique_ptr<overlay::Overlay> overlay;
    overlay::Effects effects;  ///< To be carried out.
    bool carrying_out = false;
    std::vector<NodeIndex> neighbours;
    std::vector<Atom> disk;
    SimTime member_since{};
    SimTime skew{};
    double drift = 0;
    std::uint64_t checked_version = 0;
    SimTime timer_served{};
    std::uint32_t timer_repeats = 0;
    std::uint32_t starts = 0;
  };
  struct Packet {
    overlay::Message message;
    Term term;      ///< Instead, if it is for the process `receiver`.
    Bytes bytes;    ///< Instead of both, when messages travel as bytes.
    Atom receiver;  ///< Empty: the overlay.
    std::size_t broadcast = 0;
    std::uint8_t hop = 0;
    bool to_bridge = false;
  };

  void link_up(NodeIndex node, NodeIndex peer) override;
  void link_down(NodeIndex node, NodeIndex peer) override;
  void connect_failed(NodeIndex node, NodeIndex peer) override;
  void receive(NodeIndex node, NodeIndex peer, Parcel parcel) override;
  void timer(NodeIndex node) override;
  void discard(Parcel parcel) override;
  [[nodiscard]] bool keeps(NodeIndex node, NodeIndex peer) const override;

  [[nodiscard]] SimTime simulated_time(NodeIndex node, MonotonicTime local) const;
  [[nodiscard]] NodeIndex index_of(NodeIndex node, const Atom& name) const;
  template <class Call>
  void act(NodeIndex node, const Call& call);
  void carry_out(NodeIndex node);
  void apply(NodeIndex node, overlay::Effect& effect);
  void end(NodeIndex node);
  [[nodiscard]] Parcel new_packet();
  void send(NodeIndex node, overlay::SendMessage& effect);
  void count_announcements(const overlay::Message& message);
  void deliver(NodeIndex node, const overlay::Deliver& effect);
  void neighbour_up(NodeIndex node, NodeIndex peer);
  void neighbour_down(NodeIndex node, NodeIndex peer);
  void verify(NodeIndex node);
  void forget_deliveries(NodeIndex node);
  [[nodiscard]] Term open(NodeIndex node, const Packet& packet) const;
  [[nodiscard]] overlay::Message open(NodeIndex node, NodeIndex peer, Packet& packet) const;
  void receive_by_name(NodeIndex node, NodeIndex peer, Parcel parcel);

  SimulationConfig config_;
  Prng random_;
  Engine engine_;
  std::vector<Node> nodes_;
  std::unordered_map<Atom, NodeIndex> index_;  ///< Never walked through.
  std::vector<Packet> packets_;
  std::vector<Parcel> free_packets_;
  std::deque<BroadcastRecord> broadcasts_;
  std::uint8_t receiving_hop_ = 0;  ///< Hops of the message that is being received.
  std::uint64_t messages_ = 0;
  std::unique_ptr<ServiceNodes> services_;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
