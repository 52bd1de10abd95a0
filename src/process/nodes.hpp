// What the processes of this node have to do with other nodes: who must hear when a node goes, who waits to send to it.
//
// Every time a channel ends, or a dial fails, the node's generation grows. A process writes the generation beside each
// link and monitor it makes, so that the news of an end takes with it what was made before, and nothing else. Source:
// protocol document 08, sections 4.2 and 5.6.
#pragma once

#include <atomic>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace process {

/// One other node, as long as it is connected or a process has to do with it.
struct Peer {
  explicit Peer(Atom name) noexcept : node(std::move(name)) {}
  const Atom node;
  std::atomic<std::uint64_t> epoch{0};  ///< Of the channel; 0: not connected.
  std::atomic<std::uint64_t> generation{1};
  std::atomic<std::size_t> relations{0};  ///< Links and monitors of its processes on processes here.

 private:
  friend class Peers;
  // Guarded by the mutex of the table.
  std::uint32_t creation_ = 0;
  std::uint64_t flags_ = 0;
  std::unordered_set<Pid> watchers_;
  std::map<std::uint64_t, Pid> senders_;  ///< That wait for room, by their place: who came first goes on first.
  std::vector<Pid> monitors_;
};

/// Links or monitors that a process of a peer has on a process here. They count among the peer's as long as this lives.
class PeerRelation {
 public:
  PeerRelation() = default;  ///< One of our own making.
  /// Nothing when the peer has `max` of them.
  static std::optional<PeerRelation> take(std::shared_ptr<Peer> peer, std::size_t max);
  /// Takes over what the other one, of the same peer, counts.
  void join(PeerRelation&& other) noexcept;

 private:
  struct Release {
    std::shared_ptr<Peer> peer;
    std::size_t relations;
    void operator()(std::atomic<std::size_t>* count) const noexcept {
      count->fetch_sub(relations, std::memory_order_relaxed);
    }
  };
  std::unique_ptr<std::atomic<std::size_t>, Release> count_;
};

/// Thread safe.
class Peers {
 public:
  /// From now on the process hears of the node's end.
  std::shared_ptr<Peer> watch(const Atom& node, const Pid& pid);
  void unwatch(const std::shared_ptr<Peer>& peer, const Pid& pid);

  /// How often any node became writable: read before sending, hand to `wait_writable`.
  [[nodiscard]] std::uint64_t writable_count() const noexcept { return writable_.load(); }
  /// Returns the place of the process among those that wait; 0: a node became writable since the count was read, do not
  /// wait.
  std::uint64_t wait_writable(const Atom& node, const Pid& pid, std::uint64_t count);
  /// The process waits no longer.
  void forget_sender(const Atom& node, std::uint64_t place);
  std::vector<Pid> take_senders(const Atom& node);

  /// False: not connected.
  bool monitor(const Atom& node, const Pid& pid);

  void up(const Atom& node, std::uint64_t epoch, std::uint32_t creation, std::uint64_t flags);
  struct Gone {
    std::uint64_t generation = 0;  ///< What is of this generation or older is gone.
    std::vector<Pid> watchers;
    std::vector<Pid> monitors;
    bool was_visible = false;  ///< It was up, and `nodes` listed it.
  };
  /// The channel `epoch` ended; with epoch 0, a dial failed. A channel that is not the current one is ignored.
  Gone down(const Atom& node, std::uint64_t epoch);

  /// Whether a process must hear of the node's end: links, monitors, questions that wait for an answer.
  [[nodiscard]] bool is_watched(const Atom& node) const;
  /// Those that are not hidden.
  [[nodiscard]] std::vector<Atom> visible() const;
  /// The flags in force, 0 when not connected.
  [[nodiscard]] std::uint64_t flags(const Atom& node) const;

 private:
  std::shared_ptr<Peer>& entry(const Atom& node);
  void forget_if_idle(const Atom& node);
  [[nodiscard]] static bool is_visible(const Peer& peer);

  mutable std::mutex mutex_;
  std::unordered_map<Atom, std::shared_ptr<Peer>> peers_;
  std::atomic<std::uint64_t> writable_{0};
  std::uint64_t last_place_ = 0;
};

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
