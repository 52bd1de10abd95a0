// A replicated type of the program's own: a state that all nodes hold and that becomes equal everywhere, because its
// merge does not care for order, grouping or repetition (a CRDT). The library carries changes to all nodes, whole
// states to neighbours that are new, and compares with a neighbour again and again; what a change and a state are is up
// to the type.
//
//   struct Votes : ReplicatedType { ... };                       // examples/replicated_counter.cpp
//   auto votes = std::make_shared<Votes>();
//   auto replication = node.replicate("votes", votes);
//   replication->broadcast(votes->add(1));                        // its own state first, then the others
//
// An Erlang node takes part with a callback module of `barrel_p2p_replica` under the same name: changes arrive there in
// `replica_merge_custom/2`, states in `replica_apply_full_sync/2`. Source: protocol document 04, section 4; Shapiro et
// al., "Conflict-free Replicated Data Types", SSS 2011.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/term.hpp>
#include <barrel_p2p/version.hpp>
#include <functional>
#include <optional>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

/// All functions are called on the cluster thread, one at a time, and must not block; what else uses the state at the
/// same time must be kept out by the type itself. Terms come from other nodes and may be anything: check them, and
/// ignore what makes no sense. What they throw is logged and ignored.
class BARREL_P2P_API ReplicatedType {
 public:
  virtual ~ReplicatedType() = default;

  /// A change that `from` broadcast.
  virtual void merge(const NodeName& from, const Term& change) = 0;
  /// The whole state of `from`.
  virtual void merge_state(const NodeName& from, const Term& state) = 0;
  /// The whole state of this node, as others merge it; nothing when there is none yet.
  [[nodiscard]] virtual std::optional<Term> state() const = 0;
  /// The lease of the node ended: see `Node::members`.
  virtual void node_gone(const NodeName& node);
};

/// As long as it lives, the type takes part. It may outlive the node. A movable handle; `broadcast` from any thread.
class [[nodiscard]] Replication {
 public:
  using Send = std::function<Result<void>(Term change)>;

  Replication(Send send, std::function<void()> end) : send_(std::move(send)), end_(std::move(end)) {}
  Replication(Replication&& other) noexcept
      : send_(std::exchange(other.send_, nullptr)), end_(std::exchange(other.end_, nullptr)) {}
  Replication& operator=(Replication&& other) noexcept {
    std::swap(send_, other.send_);
    std::swap(end_, other.end_);
    return *this;
  }
  Replication(const Replication&) = delete;
  Replication& operator=(const Replication&) = delete;
  /// Waits for a function of the type that runs on the cluster thread. Called there it does not wait, and what has come
  /// in before is still merged.
  ~Replication() {
    if (end_) end_();
  }

  /// To all other nodes; does not wait. This node's state has the change already. Errors: `overloaded`, `stopped`,
  /// `limit_exceeded` (`gossip.payload_bytes_max`).
  [[nodiscard]] Result<void> broadcast(Term change) const { return send_(std::move(change)); }

 private:
  Send send_;
  std::function<void()> end_;
};

}  // namespace v0
}  // namespace barrel_p2p
