// Keeps one replicated state equal on all nodes, as a machine without I/O: changes go out by broadcast, what was missed
// is found and repaired between neighbours.
//
//   broadcast under the tag NAME:   {delta, Node, #{Key => Entry}}   {custom, Node, Payload}
//   to the process NAME of a node:  {'$barrel_p2p_replica', {full_sync, Node, Snapshot}}
//                                   {'$barrel_p2p_replica', {request_sync, Node}}
//   between C++ nodes also:         {'$barrel_p2p_replica', {digests, Node, [{Bits, Depth, Count, Digest}]}}
//                                   {'$barrel_p2p_replica', {entries, Node, [{Bits, Depth}], #{Key => Entry}, More}}
//                                   {'$barrel_p2p_replica', {confirm, Node, Token, [{Key, Timestamp}]}}
//                                   {'$barrel_p2p_replica', {confirmed, Node, Token}}
//
// Between C++ nodes digests are compared first, from the root of the digest tree downwards, and only entries below
// prefixes that differ are sent: the receiver of `entries` merges them, and answers with what it has more or newer
// below the listed prefixes. `digests` of nothing says that the roots are equal. What was news to a node it compares
// with its other neighbours soon.
//
// A message of entries has about `entries_bytes_max`, and one of digests has `digests_max`. What has no room waits at
// the node that has to send it, and goes on when it is that node's turn: both send in turns, each turn is one message
// of digests, with entries before it, or entries alone. `More` is true when digests follow, so that it is not the
// receiver's turn yet. A round thus comes to an end, whatever of it the peer refuses. What is lost with a channel, or
// was more than `waiting_max`, the next round finds from the root again.
//
// Erlang nodes get and are asked for whole snapshots. Digests go the other way round for states without a digest tree:
// whole snapshots too.
//
// `confirm` asks whether the peer's entries are at least as new as the timestamps; `confirmed` says yes with the token,
// there is no answer for no. It is asked again, and the entry sent along, until all have confirmed or time is up.
//
// Sources: protocol document 04, sections 4 and 8; Demers et al., "Epidemic Algorithms for Replicated Database
// Maintenance", PODC 1987. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "base/token_bucket.hpp"
#include "replication/clock.hpp"
#include "replication/digest_tree.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication {

/// The state of one instance. Everything that arrives is unchecked: the state takes what it can use and counts the
/// rest.
class ReplicatedState {
 public:
  virtual ~ReplicatedState() = default;

  /// A part of the other's state. Returns whether anything changed here.
  virtual bool merge(const Atom& from, const Term& entries) = 0;
  /// A change that `from` made, by broadcast: it says itself that it is from there.
  virtual bool merge_delta(const Atom& from, const Term& entries) { return merge(from, entries); }
  /// The other's whole state. Returns whether other neighbours should hear of what was new in it.
  virtual bool apply_snapshot(const Atom& from, const Term& snapshot) = 0;
  /// This node's whole state; nothing when there is none.
  [[nodiscard]] virtual std::optional<Term> snapshot() const = 0;
  /// About how many bytes that takes, where it is much cheaper to know than to make it; counted no further than to more
  /// than `enough`.
  [[nodiscard]] virtual std::size_t snapshot_bytes(std::size_t /*enough*/) const { return 0; }
  virtual void merge_custom(const Atom& from, const Term& payload) = 0;

  /// Of all entries, kept up to date; nullptr: the state is only exchanged as a whole.
  [[nodiscard]] virtual const DigestTree* digests() const noexcept = 0;
  /// One entry as it is sent. The key is in `digests`, or was written by this node.
  [[nodiscard]] virtual Term entry(const Term& key) const = 0;
  /// Whether `entry(key)` is this term.
  [[nodiscard]] virtual bool has(const Term& key, const Term& entry_term) const { return entry(key) == entry_term; }
  /// Whether the entry is as new as the stamp or newer.
  [[nodiscard]] virtual bool covers(const Term& /*key*/, const Timestamp& /*stamp*/) const { return false; }

 protected:
  ReplicatedState() = default;
  ReplicatedState(const ReplicatedState&) = default;
  ReplicatedState& operator=(const ReplicatedState&) = default;
};

/// A message from replica to replica, as it is sent.
[[nodiscard]] Term enveloped(Term content);
/// What is in it, unless it is something else.
[[nodiscard]] const Term* content_of(const Term& message) noexcept;
/// The question for a node's whole state.
[[nodiscard]] Term request_sync(const Atom& own);

/// Of snapshots that are made. A thread makes five to ten times as much, and has other things to do.
inline constexpr double snapshot_bytes_per_second = 2.0 * 1024 * 1024;

/// What peers take in one message, with a little around it.
inline constexpr std::size_t snapshot_bytes_default = 126UL * 1024 * 1024;

struct ReplicaConfig {
  Atom own;
  Atom name;  ///< Of the instance: registered name and tag, for instance `barrel_p2p_registry_replica`.
  std::uint64_t seed = 0;
  Milliseconds anti_entropy_period{30'000};  ///< `replica_anti_entropy_ms`; with a jitter of a quarter. 0: never.
  Milliseconds greeting_delay{100};  ///< From a new neighbour to the first exchange: its hello may be under way.
  Milliseconds answer_pause{1000};   ///< Whole snapshots to one node are at least so far apart, ...
  std::size_t answers_max = 64;      ///< ... and so many nodes get one in that time: as many as may be neighbours.
  /// A larger snapshot is not sent: nodes close the channel of such a message.
  std::size_t snapshot_bytes_max = snapshot_bytes_default;
  /// Bytes of the snapshots that are made, for whomever; empty: a rate of its own. One node gets a quarter at most.
  std::shared_ptr<TokenBucket> snapshot_rate{};
  /// Whether what was news from one neighbour goes on to Erlang neighbours, as a snapshot: for states of which their
  /// nodes never ask.
  bool snapshots_of_news = false;
  /// Whether an Erlang neighbour that is new is asked for its state when that does not come by itself: a node that was
  /// asked for the link does not say that it is there.
  bool asks_new_peers = true;
  std::size_t small_range = 32;    ///< Entries of both below a prefix that are rather sent than divided further, ...
  std::size_t small_bytes = 1024;  ///< ... if ours have no more bytes: twice what the digests of a division have.
  std::size_t digests_max = 1024;  ///< In one message.
  std::size_t entries_bytes_max = 256UL * 1024;  ///< Entries in one message, about.
  std::size_t waiting_max = 8192;                ///< Prefixes that have no room in a message yet, for each neighbour.
  /// Exchanges without a change, while digests differ, before we give up for a while.
  std::uint32_t futile_rounds_max = 5;
  std::size_t confirmations_max = 10'000;  ///< That are waited for at a time: about 300 bytes each.
  Milliseconds confirm_pause{50};          ///< Until the second question; doubled each time, up to a second.
};

struct ReplicaSend {
  Atom to;  ///< To the process `name` there; only over a channel that is up.
  Term message;
};
struct ReplicaBroadcast {
  Term payload;
};
using ReplicaEffect = std::variant<ReplicaSend, ReplicaBroadcast>;
using ReplicaEffects = std::vector<ReplicaEffect>;

struct ReplicaCounters {
  std::uint64_t deltas_received = 0;
  std::uint64_t snapshots_sent = 0;
  std::uint64_t snapshots_too_large = 0;  ///< They were not sent.
  std::uint64_t snapshots_received = 0;
  std::uint64_t digests_sent = 0;
  std::uint64_t entries_sent = 0;
  std::uint64_t entries_received = 0;
  std::uint64_t equal = 0;      ///< Exchanges that found nothing different.
  std::uint64_t futile = 0;     ///< Exchanges that were given up: the peer refuses what we have, or we what it has.
  std::uint64_t malformed = 0;  ///< Messages that are none, or in another node's name.
};

/// What became of a `Replica::confirm`.
struct Confirmation {
  std::uint64_t token = 0;
  Result<void> result;  ///< Error: `timeout`, with the nodes that did not confirm.
};

class Replica {
 public:
  /// The state must outlive it.
  Replica(ReplicaConfig config, ReplicatedState& state, MonotonicTime now);

  /// A change of this node: some entries, as `#{Key => Entry}`. The state has them already.
  void broadcast(Term entries, ReplicaEffects& out);
  void broadcast_custom(Term payload, ReplicaEffects& out);
  /// Waits until every neighbour of now that is a C++ node has our entry as new as the stamp. The others count as if
  /// they had it. Ends in `take_confirmations`, at the latest after `limit`. Error: `limit_exceeded`:
  /// `confirmations_max` are waited for.
  Result<std::uint64_t> confirm(const Term& key, const Timestamp& stamp, Milliseconds limit, MonotonicTime now,
                                ReplicaEffects& out);
  /// What was confirmed or given up since it was last asked.
  [[nodiscard]] std::vector<Confirmation> take_confirmations() { return std::exchange(ended_, {}); }

  /// Neighbours of the overlay.
  void peer_up(const Atom& node, MonotonicTime now);
  void peer_down(const Atom& node);
  /// The node is a C++ node.
  void set_native(const Atom& node);
  /// The node may have missed something, or we something of it: soon compares with it, or with a neighbour that knows.
  void suspect(const Atom& node, MonotonicTime now);
  /// All neighbours may know something that we missed.
  void suspect_all(MonotonicTime now);
  /// This node left the cluster.
  void leave();

  /// A broadcast with our tag, from whomever it came.
  void deliver(const Term& payload);
  /// A message to our name, from the node that its channel proved.
  void receive(const Atom& from, const Term& message, MonotonicTime now, ReplicaEffects& out);

  void tick(MonotonicTime now, ReplicaEffects& out);
  [[nodiscard]] std::optional<MonotonicTime> deadline() const noexcept;

  [[nodiscard]] const ReplicaCounters& counters() const noexcept { return counters_; }
  /// When the state was last found equal to that of the peer; nothing when never.
  [[nodiscard]] std::optional<MonotonicTime> in_sync_since(const Atom& node) const noexcept;
  /// Whether that was at this time or later with any of them.
  [[nodiscard]] bool is_in_sync_since(MonotonicTime time) const noexcept;
  [[nodiscard]] bool has_peers() const noexcept { return !peers_.empty(); }

 private:
  /// What had no room in a message: it is compared when it is our turn.
  struct Waiting {
    Prefix prefix;
    bool divide = false;  ///< It is known to differ.
  };
  /// What is known of the exchanges with a peer. Nothing in it has to be right.
  struct Exchange {
    MonotonicTime answer_until{};  ///< What answers our digests is awaited until then: no other round begins.
    bool root_asked = false;       ///< Those were of our root.
    std::optional<MonotonicTime> ask_again_at{};  ///< The peer's question was passed over for ours.
    std::vector<Waiting> waiting;                 ///< The last one is the first to go.
    bool incomplete = false;                      ///< Something was left out, and does not wait.
    bool changed = false;                         ///< By what came from the peer since our root was last sent.
    std::uint32_t futile_rounds = 0;
  };
  struct Peer {
    Atom node;
    bool native = false;
    bool unheard = false;  ///< Its state did not come since it was new or suspected: an Erlang node is asked.
    std::optional<MonotonicTime> greet_at{};
    std::optional<MonotonicTime> equal_at{};
    MonotonicTime not_before{};  ///< No round of ours with this peer.
    Exchange exchange{};
  };
  struct Range {
    Prefix prefix;
    DigestTree::Summary summary;
  };
  /// Entries for one message.
  struct Parcel {
    std::vector<TermPair> entries;
    std::size_t bytes = 0;
    std::size_t bytes_looked_at = 0;  ///< Of what was left out because it is not small.
  };
  struct Question {
    std::uint64_t token = 0;
    Term key;
    Timestamp stamp;
    std::vector<Atom> waiting;
    MonotonicTime ask_at;
    Milliseconds pause{};
    MonotonicTime limit_at;
  };

  void begin(Peer& peer, MonotonicTime now, ReplicaEffects& out);
  void push_snapshot(const Atom& to, MonotonicTime now, ReplicaEffects& out);
  [[nodiscard]] MonotonicTime snapshot_due(const Atom& to) const;
  void on_digests(Peer& peer, std::vector<Range> theirs, MonotonicTime now, ReplicaEffects& out);
  void note_news(Peer& from, MonotonicTime now);
  void on_entries(Peer& peer, const Term& message, MonotonicTime now, ReplicaEffects& out);
  void wait_with(Exchange& exchange, const Prefix& prefix, bool divide) const;
  [[nodiscard]] bool divide(const Prefix& prefix, std::vector<Range>& ranges) const;
  void add_waiting(Exchange& exchange, std::vector<Range>& ranges) const;
  void send_turn(Peer& peer, const std::vector<Range>& ranges, MonotonicTime now, ReplicaEffects& out);
  [[nodiscard]] bool is_full(const Parcel& parcel) const noexcept;
  bool add_part(Exchange& exchange, const Prefix& prefix, const Term* known, Parcel& parcel);
  [[nodiscard]] bool add_until_full(const Prefix& prefix, const Term* known, Parcel& parcel);
  [[nodiscard]] bool add_if_small(const Prefix& prefix, Parcel& parcel) const;
  void add_entry(const Term& key, Parcel& parcel) const;
  void send_entries(const Atom& to, const std::vector<Prefix>& wanted, Parcel parcel, bool more, ReplicaEffects& out);
  void send_digests(const Atom& to, const std::vector<Range>& ranges, ReplicaEffects& out);
  void send(const Atom& to, Term message, ReplicaEffects& out);
  void ask(const Question& question, bool with_entry, ReplicaEffects& out);
  void on_confirm(const Atom& from, const Term& message, ReplicaEffects& out);
  void on_confirmed(const Atom& from, std::uint64_t token);
  void count_out(const Atom& node);
  void tick_questions(MonotonicTime now, ReplicaEffects& out);
  [[nodiscard]] Peer* find(const Atom& node) noexcept;
  void greet(Peer& peer, MonotonicTime now);
  void suspect(Peer& peer, MonotonicTime now);
  void greet_due(MonotonicTime now, ReplicaEffects& out);
  void schedule(MonotonicTime now);

  ReplicaConfig config_;
  ReplicatedState& state_;
  Prng random_;
  std::vector<Peer> peers_;
  using Answered = std::pair<Atom, MonotonicTime>;
  std::vector<Answered> answered_;   ///< Who got a whole snapshot, and when it may have the next one.
  std::vector<Question> questions_;  ///< By token.
  std::vector<Confirmation> ended_;
  MonotonicTime next_question_ = MonotonicTime::max();  ///< No question has anything due before.
  std::uint64_t next_token_;
  MonotonicTime next_round_;
  MonotonicTime next_greeting_ = MonotonicTime::max();  ///< No peer is to be greeted before.
  ReplicaCounters counters_;
};

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
