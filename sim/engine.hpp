// A network of nodes on virtual time: processes that live, freeze, crash and come back, and the channels between them.
// It knows nothing of what the nodes say to each other. One thread, one seed: a run repeats itself to the bit.
//
// Channels are those of the product, QUIC connections that both ends authenticated:
//
//   dial        two round trips and a little; the acceptor is up first, the dialer hears of it. Two dials between the
//               same nodes at a time become one channel. A dial through a cut is repeated until `setup_timeout`; where
//               no process listens it fails after `refuse_timeout`.
//   parcels     arrive in order and once. Loss delays them (retransmission); a cut holds them until it heals.
//   silence     an end that hears nothing for `dead_after`, give or take the moments of the last packet and of the
//   tick,
//               goes down, and tells the other end if that direction works. A frozen process hears and says nothing; it
//               gives itself the lost time back, and finds what arrived meanwhile.
//   half open   an end whose other end is gone while its process lives is told so at its next sign of life.
//   a new dial  replaces what an end still believes to have: down, then up.
//   idle        a channel that neither host keeps is closed after `idle_close` without a parcel.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "sim/delay.hpp"
#include "sim/event_queue.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

using NodeIndex = std::uint32_t;
/// A message, as the host numbers it.
using Parcel = std::uint32_t;

struct NetworkModel {
  Delay delay;           ///< One way.
  double asymmetry = 0;  ///< 0 to 1: each direction of each pair has its own factor, up to so much off 1, for ever.
  double loss = 0;       ///< Probability that a packet is lost; each loss costs a `retransmit`, the next ones more.
  SimTime retransmit = Milliseconds(200);
  SimTime handshake_work = Milliseconds(2);  ///< Of both sides, beside the two round trips.
  SimTime setup_timeout = Milliseconds(7000);
  SimTime refuse_timeout = Milliseconds(2500);  ///< An ICMP message may come or not.
  SimTime keep_alive = Milliseconds(1000);
  SimTime dead_after = Milliseconds(4000);
  SimTime detector_tick = Milliseconds(250);
  SimTime idle_close = Milliseconds(60'000);
  std::uint32_t queue_max = 0;  ///< Parcels on their way in one direction before more are refused. 0: no bound.
};

/// What runs on the nodes. Calls come one at a time; it may call the engine from within them.
class Host {
 public:
  Host() = default;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  virtual ~Host() = default;

  virtual void link_up(NodeIndex node, NodeIndex peer) = 0;
  virtual void link_down(NodeIndex node, NodeIndex peer) = 0;
  virtual void connect_failed(NodeIndex node, NodeIndex peer) = 0;
  /// The parcel is the host's again.
  virtual void receive(NodeIndex node, NodeIndex peer, Parcel parcel) = 0;
  virtual void timer(NodeIndex node) = 0;
  /// The parcel never arrives.
  virtual void discard(Parcel parcel) = 0;
  /// Whether the node needs its channel to the peer even if nothing is said on it.
  [[nodiscard]] virtual bool keeps(NodeIndex node, NodeIndex peer) const = 0;
};

enum class Sent : std::uint8_t { queued, refused, not_linked };

class Engine {
 public:
  /// `host` must outlive the engine.
  Engine(NetworkModel model, std::uint64_t seed, Host& host);

  // Nodes. A new node is down.
  NodeIndex add_node();
  void start(NodeIndex node);
  /// The process is gone from one moment to the next: nobody is told.
  void crash(NodeIndex node);
  /// The process closes its channels and ends.
  void stop(NodeIndex node);
  void pause(NodeIndex node);
  void resume(NodeIndex node);
  /// What the node needs for each parcel.
  void set_processing(NodeIndex node, SimTime per_parcel);
  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
  [[nodiscard]] bool is_alive(NodeIndex node) const { return nodes_[node].alive; }
  [[nodiscard]] bool is_paused(NodeIndex node) const { return nodes_[node].paused; }

  // The network. `groups[node]` numbers its group; `reach[from * count + to]` tells whether packets get from one group
  // to another, or within it.
  void set_reachability(std::vector<std::uint16_t> groups, std::vector<bool> reach);
  void heal();
  [[nodiscard]] bool reaches(NodeIndex from, NodeIndex to) const;

  // What the host does.
  void dial(NodeIndex from, NodeIndex to);
  /// The parcel stays the host's unless it was queued.
  Sent send(NodeIndex from, NodeIndex to, Parcel parcel);
  [[nodiscard]] bool is_linked(NodeIndex node, NodeIndex peer) const;
  /// One timer a node; a later call replaces it. Lost in a crash.
  void set_timer(NodeIndex node, SimTime time);
  /// Runs the function at the time, whatever happens to nodes.
  void call_at(SimTime time, std::function<void()> function);

  // Time.
  [[nodiscard]] SimTime now() const noexcept { return now_; }
  /// Handles the next event if there is one up to `limit`; otherwise sets the time to `limit`. False: there was none.
  bool step(SimTime limit);
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
  /// Of everything that happened so far.
  [[nodiscard]] std::uint64_t trace_hash() const noexcept { return trace_; }
  /// Adds what the host did to the trace.
  void note(std::uint64_t what) noexcept;
  [[nodiscard]] std::size_t links() const noexcept { return links_.size() - free_links_.size(); }

 private:
  static constexpr std::uint32_t none = 0xffffffff;
  static constexpr Parcel parcel_opened = 0xffffffff;
  static constexpr Parcel parcel_closing = 0xfffffffe;

  enum class EndState : std::uint8_t {
    waiting,  ///< For the handshake.
    up,
    down,
  };
  struct End {
    NodeIndex node = none;
    std::uint32_t incarnation = 0;
    std::uint32_t place = 0;  ///< In the node's list of links.
    EndState state = EndState::waiting;
    bool dialled = false;  ///< It waits for an answer.
  };
  struct Direction {  ///< From the end of the same number.
    SimTime last_arrival{};
    std::uint32_t in_flight = 0;
    std::uint32_t silence = 0;  ///< Grows with each beginning and end of a silence.
    bool silent = false;
    bool stalled = false;  ///< Parcels wait in `stalled_`.
  };
  struct Link {
    std::array<End, 2> end;
    std::array<Direction, 2> from;
    SimTime dialled{};
    SimTime active{};
    std::uint32_t generation = 0;
    std::uint32_t previous = none;  ///< An older link between the same nodes, and its generation.
    std::uint32_t previous_generation = 0;
    std::uint8_t dialer = 0;
    std::uint8_t attempts = 0;
    bool in_use = false;
  };
  struct Place {
    std::uint32_t link = none;
    NodeIndex peer = none;
  };
  struct Node {
    std::vector<Place> links;
    std::vector<Event> deferred;            ///< While it is paused.
    SimTime timer_at = SimTime::max();      ///< What the host wants.
    SimTime timer_queued = SimTime::max();  ///< The event that counts; it may be earlier.
    SimTime busy_until{};
    SimTime processing{};
    std::uint32_t incarnation = 0;
    bool alive = false;
    bool paused = false;
  };

  static std::uint64_t pair_key(NodeIndex left, NodeIndex right) noexcept;
  [[nodiscard]] static std::uint8_t end_of(const Link& link, NodeIndex node) noexcept {
    return link.end[0].node == node ? 0 : 1;
  }
  [[nodiscard]] std::optional<std::uint32_t> find_link(NodeIndex left, NodeIndex right) const;
  /// A link between the two whose end at `node` is up.
  [[nodiscard]] std::optional<std::uint32_t> find_up(NodeIndex node, NodeIndex peer) const;
  std::uint32_t make_link(NodeIndex from, NodeIndex to);
  /// Frees the link when neither end needs it any more.
  void settle(std::uint32_t id);
  void leave_list(const End& end);
  void drop_stalled(std::uint32_t id, std::uint8_t sender);
  void bring_up(std::uint32_t id, std::uint8_t end);
  void take_down(std::uint32_t id, std::uint8_t end, bool tell);
  /// The process of the end is gone.
  void vanish(std::uint32_t id, std::uint8_t end);
  /// Compares what each end hears with what it heard, after something changed.
  void review(std::uint32_t id);
  void review_all();
  void begin_silence(std::uint32_t id, std::uint8_t listener);
  void release_stalled(std::uint32_t id, std::uint8_t sender);
  [[nodiscard]] bool is_disowned(const Link& link, std::uint8_t end) const;
  void end_process(NodeIndex node, bool tell);

  [[nodiscard]] SimTime one_way(NodeIndex from, NodeIndex to);
  void transmit(std::uint32_t id, std::uint8_t sender, Parcel parcel);
  void push_link_event(EventKind kind, SimTime time, std::uint32_t id, std::uint8_t end, std::uint32_t detail = 0);

  void dispatch(const Event& event);
  /// The node that the event needs alive and awake.
  [[nodiscard]] NodeIndex actor(const Event& event) const;
  [[nodiscard]] bool is_void(const Event& event) const;
  void drop(const Event& event);
  void arrive(const Event& event);
  void hand_over(const Event& event);
  void on_handshake(const Event& event);
  void on_detect(const Event& event);
  void on_idle(const Event& event);
  void on_timer(const Event& event);
  void on_call(const Event& event);
  void fail_dial(std::uint32_t id, std::uint8_t end);

  NetworkModel model_;
  Prng random_;
  std::uint64_t pair_seed_;
  Host& host_;
  SimTime now_{};
  EventQueue queue_;
  std::uint64_t events_ = 0;
  std::uint64_t trace_ = 0;
  std::vector<Node> nodes_;
  std::deque<Link> links_;  ///< References stay good while the host makes more.
  std::vector<std::uint32_t> free_links_;
  std::unordered_map<std::uint64_t, std::uint32_t> newest_link_;    ///< By pair. Never walked through.
  std::unordered_map<std::uint64_t, std::vector<Parcel>> stalled_;  ///< By link and end. Never walked through.
  std::vector<std::function<void()>> calls_;
  std::vector<std::uint32_t> free_calls_;
  std::vector<std::uint16_t> groups_;
  std::vector<bool> reach_;
  std::size_t group_count_ = 0;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
