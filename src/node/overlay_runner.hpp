// Runs the overlay machine on the real network: inputs from the transport thread and from the program wait in one
// queue, in order; the cluster thread feeds them to the machine and carries out what it wants.
//
//   transport thread                          cluster thread                        any thread
//   link up, link down, messages  --queue-->  overlay::Overlay  --> sends, dials    views, statistics: read a copy
//   results of dials                              |                                 join, broadcast: into the queue
//                                                 +--> subscribers, the file of peers
//
// The queue is bounded in bytes (`limits.cluster_queue_bytes_max`): beyond it channels are read no more, and broadcasts
// are refused. A peer whose own queue is full gets announcements in place of gossip; those who want to broadcast more
// can ask how long they should wait before that happens (`congested_until`).
#pragma once

#include <barrel_p2p/membership.hpp>
#include <barrel_p2p/subscription.hpp>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "base/log.hpp"
#include "distribution/network.hpp"
#include "node/input_queue.hpp"
#include "node/peer_rates.hpp"
#include "node/peers_file.hpp"
#include "node/pid_subscribers.hpp"
#include "node/serial_executor.hpp"
#include "node/subscribers.hpp"
#include "overlay/overlay.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// A message that reached every node.
struct Broadcast {
  Term tag;
  Term payload;
};

/// What users read without crossing a thread. A value.
struct Views {
  std::vector<Atom> active;
  std::vector<Atom> passive;
};

/// What else lives on the overlay. Called on the cluster thread.
struct OverlayListener {
  std::function<void(const Atom& node, bool native)> up;  ///< A neighbour.
  std::function<void(const Atom& node)> down;
  std::function<void(const Atom& node)> native;  ///< A linked node turned out to be a C++ node.
  std::function<void()> leaving;                 ///< The overlay is about to leave; neighbours are still there.
  /// True: the broadcast was for the listener.
  std::function<bool(const Term& tag, const Term& payload)> deliver;
  /// A neighbour, or this node, has missed broadcasts.
  std::function<void(const Atom& node)> gossip_lost;
  std::function<void()> relieved;  ///< `congested_until` is another one now, or none.
};

struct OverlayRunnerConfig {
  overlay::OverlayConfig overlay;
  overlay::OwnRecord record;
  std::uint32_t creation = 0;
  std::size_t queue_bytes_max = 0;
  overlay::GossipLimits gossip_limits{};
  double messages_per_second_max = 0;  ///< Of one peer; 0: no limit.
  std::size_t members_max = 0;         ///< What `joined` can wait for: the views and this node.
  std::filesystem::path peers_file;    ///< Empty: nothing is remembered.
  std::vector<KnownPeer> known;        ///< What was remembered: their addresses.
};

class OverlayRunner {
 public:
  /// All of these must outlive it. Takes the names of the overlay for messages of other nodes.
  OverlayRunner(OverlayRunnerConfig config, SerialExecutor& executor, process::System& system,
                distribution::Network& network, distribution::Discovery& discovery, Logger logger);
  ~OverlayRunner();
  OverlayRunner(const OverlayRunner&) = delete;
  OverlayRunner& operator=(const OverlayRunner&) = delete;

  /// Before `start`.
  void set_listener(OverlayListener listener) { listener_ = std::move(listener); }
  /// Before the transport thread runs: from here on inputs are taken.
  void start();
  /// Stops the executor, refuses everything from now on, wakes who waits, and writes the file of peers.
  void stop();

  // Transport thread. Hidden nodes are not told.
  void link_up(const distribution::PeerInfo& peer);
  void link_down(const Atom& node, std::uint64_t epoch);
  /// Senders that were told `busy` may go on.
  void node_writable(const Atom& node) { push(Writable{node}); }

  // Cluster thread.
  void broadcast_now(Term tag, Term payload);
  /// `{Name, Node} ! Message` over the channel that is up, after what this sent before. False: there is none, or it is
  /// full.
  bool send_now(const Atom& node, const Atom& name, Term message);
  /// Until when who broadcasts should wait for neighbours whose queues are full; nothing: there is room. A neighbour
  /// whose queue stays full holds nobody up for longer than `congestion_max`, until there was room again.
  [[nodiscard]] std::optional<MonotonicTime> congested_until(MonotonicTime now) const;
  /// The channel `epoch` of the node is up and the node is not hidden.
  [[nodiscard]] bool is_linked(const Atom& node, std::uint64_t epoch) const;

  // Any thread.
  /// The peer is a C++ node and no neighbour: the overlay can do without the channel. (An Erlang node could not make it
  /// again by sending.)
  [[nodiscard]] bool can_spare(const Atom& node) const;
  /// Errors of all: `stopped`, `overloaded`.
  Result<void> join(const Atom& node);
  void leave();
  /// Error: `limit_exceeded`.
  Result<void> broadcast(Term tag, Term payload);
  void block(std::vector<Atom> nodes);
  /// Other `contact_nodes` from now on.
  void set_contacts(std::vector<Atom> nodes);
  [[nodiscard]] bool has_contacts() const;
  /// Blocks. Errors: `timeout`, `stopped`, `invalid_argument`.
  Result<void> joined(std::size_t members_min, Milliseconds limit);
  [[nodiscard]] std::shared_ptr<const Views> views() const;
  /// Neighbours that are Erlang nodes, in the order of their names.
  [[nodiscard]] std::vector<Atom> erlang_neighbours() const;
  [[nodiscard]] OverlayStatistics statistics() const;
  /// Neighbours first, as `up`.
  Subscription subscribe(std::function<void(const MembershipEvent&)> callback);
  [[nodiscard]] PidSubscribers& event_pids() noexcept { return event_pids_; }
  [[nodiscard]] Subscribers<Broadcast>& broadcasts() noexcept { return broadcasts_; }
  [[nodiscard]] PidSubscribers& broadcast_pids() noexcept { return broadcast_pids_; }
  /// Of one broadcast with a tag that is not the library's.
  [[nodiscard]] std::size_t payload_bytes_max() const noexcept { return config_.gossip_limits.program; }
  /// For all lists of the node.
  [[nodiscard]] const std::shared_ptr<SubscriptionBudget>& subscriptions() const noexcept { return subscriptions_; }

 private:
  struct LinkUp {
    Atom node;
    std::uint64_t epoch = 0;
    std::string address;
    bool erlang = false;
  };
  struct LinkDown {
    Atom node;
    std::uint64_t epoch = 0;
  };
  struct ConnectFailed {
    Atom node;
    Error error;
  };
  struct Writable {
    Atom node;
  };
  struct Received {
    Atom node;
    std::uint64_t epoch = 0;
    bool gossip = false;  ///< It was for Plumtree; else for HyParView.
    distribution::Payload payload;
  };
  struct JoinCall {
    Atom node;
  };
  struct LeaveCall {};
  struct BroadcastCall {
    Term tag;
    Term payload;
  };
  struct BlockCall {
    std::vector<Atom> nodes;
  };
  struct ContactsCall {
    std::vector<Atom> nodes;
  };
  struct SubscribeCall {
    std::shared_ptr<Subscribers<MembershipEvent>::Entry> entry;
  };
  using Input = std::variant<LinkUp, LinkDown, ConnectFailed, Writable, Received, JoinCall, LeaveCall, BroadcastCall,
                             BlockCall, ContactsCall, SubscribeCall>;
  using Queue = InputQueue<Input>;
  struct Link {
    std::uint64_t epoch = 0;
    std::string address;
    bool native = false;
  };

  void push(Input input);
  Result<void> push_call(Input input, std::size_t bytes);
  void wake(Queue::Pushed pushed);
  distribution::DeliverOutcome receive(const Atom& node, std::uint64_t epoch, bool gossip,
                                       distribution::Payload&& payload);

  // Cluster thread.
  void run();
  void tick();
  void set_alarm();
  void has_room(const Atom& node);
  void handle(LinkUp&& input);
  void handle(LinkDown&& input);
  void handle(ConnectFailed&& input);
  void handle(Writable&& input);
  void handle(Received&& input);
  void handle(JoinCall&& input);
  void handle(LeaveCall&& input);
  void handle(BroadcastCall&& input);
  void handle(BlockCall&& input);
  void handle(ContactsCall&& input);
  void handle(SubscribeCall&& input);
  /// What the machine wants; empties `effects_`.
  void carry_out();
  void carry_out(overlay::SendMessage& effect);
  void carry_out(overlay::Connect& effect);
  void carry_out(overlay::MembershipUp& effect);
  void carry_out(overlay::MembershipDown& effect);
  void carry_out(overlay::MembershipLeft& effect);
  void carry_out(overlay::Deliver& effect);
  void carry_out(overlay::GossipLost& effect);
  void carry_out(overlay::Remember& effect);
  void publish_views();
  void publish_statistics();
  void remember(std::vector<Atom> nodes);
  void tell(const MembershipEvent& event, const Term& message);

  const OverlayRunnerConfig config_;
  SerialExecutor& executor_;
  process::System& system_;
  distribution::Network& network_;
  distribution::Discovery& discovery_;
  Logger logger_;
  RateLimit log_limit_;
  RateLimit strange_limit_;  ///< Of messages that cannot be understood: a node of another version sends them on and on.
  Queue queue_;
  PeerRates rates_;
  OverlayListener listener_;
  Subscribers<MembershipEvent> events_;
  const std::shared_ptr<SubscriptionBudget> subscriptions_ = std::make_shared<SubscriptionBudget>();
  PidSubscribers event_pids_;
  Subscribers<Broadcast> broadcasts_;
  PidSubscribers broadcast_pids_;

  // The cluster thread's own.
  overlay::Overlay machine_;
  overlay::Effects effects_;
  bool carrying_out_ = false;
  std::unordered_map<Atom, Link> links_;
  std::unordered_map<Atom, MonotonicTime> full_;     ///< Linked nodes with full queues: until when they are waited for.
  std::unordered_map<Atom, std::string> addresses_;  ///< Of what is remembered.
  std::unique_ptr<SerialExecutor::Alarm> alarm_;
  std::uint64_t published_version_ = 0;
  std::uint64_t malformed_ = 0;
  std::uint64_t sends_failed_ = 0;
  std::unique_ptr<PeersWriter> writer_;

  mutable std::mutex mutex_;  ///< Guards what follows.
  std::condition_variable changed_;
  std::shared_ptr<const Views> views_ = std::make_shared<const Views>();
  std::unordered_set<Atom> natives_;  ///< Linked C++ nodes.
  std::unordered_set<Atom> erlangs_;  ///< Linked Erlang nodes.
  OverlayStatistics statistics_;
  bool has_contacts_ = false;
  bool stopped_ = false;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
