// Plumtree as a machine without I/O: broadcast over a tree that builds and heals itself inside of the active views.
//
// Every neighbour is eager (it gets whole messages) or lazy (it gets announcements). A message that arrives twice makes
// its second bringer lazy, on both sides; an announced message that does not arrive is asked for, which makes the
// announcer eager. What remains eager is a tree, the rest is its reserve.
//
//   duplicate            prune to the sender, sender becomes lazy
//   announced, missing   after `missing_timeout` graft to the first announcer, then every `graft_timeout` to the next
//   shorter path         the announcements of one neighbour were so much nearer to the senders than the messages that
//                        another one brought that the hops between them, summed up over the messages, are
//                        `optimisation_threshold`: graft to the announcer, prune to the bringer (C++ nodes only: Erlang
//                        nodes count no rounds)
//   push not taken       the peer's queue is full: it gets an announcement instead and asks when it can
//   bound reached        what an announcement is of is lost, to us or to the neighbour: the owner is told of whom
//   new neighbour        gets announcements of what came in the last `catch_up_age`, without rounds (C++ nodes only):
//   what
//                        was sent while views changed comes to those that it missed
//
// A message is delivered once per node as long as its id is remembered: `id_age_max`, `ids_max`. Payloads are kept
// shorter, bounded in bytes, for those who ask. No order is kept, not even between messages of one sender; a message is
// lost when no path to a node works within the life of its payload.
//
// Sources: Leitao, Pereira, Rodrigues, "Epidemic Broadcast Trees", SRDS 2007; protocol document 03, sections 7, 11 and
// 13. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "overlay/messages.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

struct PlumtreeConfig {
  std::uint64_t seed = 0;
  Milliseconds missing_timeout{500};  ///< From the first announcement to the first graft: what the tree takes at most.
  /// Where messages seldom come later than announcements, it goes down to this. The ways through the tree differ by
  /// some 150 ms when another node begins to send (10,000 nodes, 10 ms a hop; 100 nodes, 35 ms: 250 ms), and a graft
  /// that comes too early changes the tree.
  Milliseconds missing_timeout_min{300};
  Milliseconds graft_timeout{250};  ///< From one graft to the next: a round trip and a little.
  Milliseconds announce_delay{20};  ///< Announcements are gathered for so long.
  /// Hops that a path must have saved, summed up over messages. The paper changes the tree for one message (3 hops
  /// with many senders, 7 with one), each time for its sender; a sum is in favour of all that send, and much alike.
  std::uint32_t optimisation_threshold = 16;
  Milliseconds id_age_max{300'000};  ///< As Erlang nodes keep them.
  std::size_t ids_max = 100'000;
  Milliseconds payload_age_max{60'000};
  std::size_t payload_bytes_max = 64UL * 1024 * 1024;  ///< In memory, estimated, of payloads and tags.
  std::size_t id_bytes_max = 64UL * 1024 * 1024;       ///< Likewise, of ids.
  /// New neighbours hear of messages that are not older: longer than views take to mend themselves.
  Milliseconds catch_up_age{10'000};
  std::size_t catch_up_max = 500;         ///< And of so many, the newest: some 20 KiB.
  std::size_t missing_max = 10'000;       ///< Announced messages that are waited for.
  std::size_t missing_share_max = 2'500;  ///< Of these, so many that one announcer spoke of first.
  std::size_t announcers_max = 8;         ///< Announcers of one message that are remembered.
  std::size_t queue_max = 10'000;         ///< Announcements that wait for one peer.
  Milliseconds lost_delay{1000};          ///< Losses are told so much later, those of the meantime together.
  Milliseconds lost_delay_max{30'000};
  std::size_t guests_max = 64;  ///< Erlang nodes that gossip to us without being neighbours, and get answers.
};

struct PlumtreeSend {
  Atom to;
  PlumtreeMessage message;
  bool native = false;  ///< It said hello: see `set_native`.
};
struct PlumtreeDeliver {
  Term tag;
  Term payload;
  std::uint32_t round = 0;  ///< 0: from this node, or unknown.
};
/// Bounds were reached: one of us has missed messages that the neighbour, a C++ node, or this node has or had. Told of
/// each neighbour after `lost_delay`, and while more is lost after twice as long each time, up to `lost_delay_max`.
struct PlumtreeLost {
  Atom node;
};
using PlumtreeEffect = std::variant<PlumtreeSend, PlumtreeDeliver, PlumtreeLost>;
using PlumtreeEffects = std::vector<PlumtreeEffect>;

struct PlumtreeCounters {
  std::uint64_t gossip_sent = 0;
  std::uint64_t gossip_received = 0;  ///< With duplicates.
  std::uint64_t duplicates = 0;
  std::uint64_t delivered = 0;
  std::uint64_t ihave_sent = 0;  ///< Announcements, not messages.
  std::uint64_t graft_sent = 0;
  std::uint64_t prune_sent = 0;
  std::uint64_t missed = 0;     ///< Announced messages that nobody gave us.
  std::uint64_t congested = 0;  ///< Pushes that a full queue turned into announcements.
  std::uint64_t dropped = 0;    ///< Announcements lost to a bound.
  std::uint64_t optimised = 0;
};

/// The library's own broadcasts are tagged with the names of its processes. They and those of the program never wait
/// behind each other.
[[nodiscard]] bool is_library_tag(const Term& tag) noexcept;

enum class NewPeer : std::uint8_t {
  eager,
  unaware,  ///< Eager. An Erlang node that does not know that we are neighbours; a graft tells it.
  spare,    ///< It took the place of a neighbour that carried nothing: lazy, if there is a tree, and an eager one.
};

struct PlumtreePeers {
  std::vector<Atom> eager;
  std::vector<Atom> lazy;
};

class Plumtree {
 public:
  Plumtree(PlumtreeConfig config, MonotonicTime now);
  Plumtree(const Plumtree&) = delete;
  Plumtree& operator=(const Plumtree&) = delete;
  Plumtree(Plumtree&&) noexcept = default;
  Plumtree& operator=(Plumtree&&) noexcept = default;
  ~Plumtree() = default;

  /// Sends to the whole cluster, and delivers here. An id that is remembered is ignored.
  void broadcast(Term tag, Term payload, MessageId id, MonotonicTime now, PlumtreeEffects& out);
  void receive(const Atom& from, const PlumtreeMessage& message, MonotonicTime now, PlumtreeEffects& out);

  /// A new neighbour.
  void peer_up(const Atom& node, NewPeer kind, MonotonicTime now, PlumtreeEffects& out);
  /// No neighbour any more, for whatever reason. An Erlang node that gossips on becomes a guest.
  void peer_down(const Atom& node);
  /// The node said hello: it takes batches and rounds. May come before `peer_up`; lasts until `link_down`.
  void set_native(const Atom& node, MonotonicTime now);
  /// Its channel ended.
  void link_down(const Atom& node);
  /// A gossip could not be queued for the peer.
  void push_refused(const Atom& to, const MessageId& id, MonotonicTime now);
  /// This node left the cluster: nothing is sent, received gossip is ignored, until the next `peer_up`.
  void leave();

  void tick(MonotonicTime now, PlumtreeEffects& out);
  /// When `tick` must be called at the latest; nothing while nothing is waited for.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const noexcept;

  [[nodiscard]] PlumtreePeers peers() const;
  /// Whether the tree does without the link: it is lazy, or there is no tree, since nobody sent anything of late.
  [[nodiscard]] bool is_spare(const Atom& node) const noexcept;
  [[nodiscard]] std::size_t cached_ids() const noexcept;
  [[nodiscard]] std::size_t cached_payloads() const noexcept;
  [[nodiscard]] std::size_t missing() const noexcept;
  [[nodiscard]] const PlumtreeCounters& counters() const noexcept { return counters_; }

 private:
  struct Peer {
    Atom node;
    bool native = false;
    bool guest = false;
    bool eager = true;
    std::optional<MonotonicTime> lost_due{};  ///< Something was lost, which is to be told.
    Milliseconds lost_pause{};                ///< The last time it was told so much later.
    MonotonicTime lost_told{};
    std::deque<Announcement> library{};      ///< Announcements that wait: of messages with the library's own tags ...
    std::deque<Announcement> application{};  ///< ... and of all others. They take turns.
  };
  struct Received {
    MessageId id;
    Term tag;
    Term payload;
    std::size_t payload_bytes = 0;  ///< 0: only the id is remembered.
    MonotonicTime at;
    std::uint32_t round = 0;
    Atom bringer;  ///< Empty: this node.
  };
  struct Announcer {
    Atom node;
    std::uint32_t round = 0;
  };
  /// What the messages would have saved that came from `bringer` and were announced by `announcer`.
  struct Shortcut {
    Atom announcer;
    Atom bringer;
    std::int64_t saved = 0;  ///< Half hops, above 0.
  };
  struct Missing {
    MessageId id;
    Atom first;                         ///< Announcer, on whose share it counts.
    std::vector<Announcer> announcers;  ///< Not asked yet, in the order of their announcements.
    MonotonicTime since;
    MonotonicTime due;
    Atom last{};  ///< Who was asked last.
    bool asked = false;
  };
  using MissingList = std::list<Missing>;  ///< Ordered by `due`.
  /// How long after its announcement a message comes by the tree, as TCP estimates round trips (RFC 6298).
  struct Lateness {
    std::chrono::microseconds mean{};
    std::chrono::microseconds deviation{};
    void add(std::chrono::microseconds sample) noexcept;
  };
  struct Request {
    Atom to;
    std::vector<MessageId> ids;
  };

  void on(const Atom& from, const Gossip& message, MonotonicTime now, PlumtreeEffects& out);
  void on(const Atom& from, const IHave& message, MonotonicTime now, PlumtreeEffects& out);
  void on(const Atom& from, const Graft& message, MonotonicTime now, PlumtreeEffects& out);
  void on(const Atom& from, const Prune& message, MonotonicTime now, PlumtreeEffects& out);

  // Peers.
  [[nodiscard]] bool has_eager_but(const Atom& node) const noexcept;
  [[nodiscard]] Peer* find_peer(const Atom& node) noexcept;
  /// The peer; an Erlang node that is none becomes a guest. Nothing for all others.
  Peer* meet(const Atom& node);
  [[nodiscard]] bool is_native(const Atom& node) const noexcept { return natives_.contains(node); }
  void remove_peer(const Atom& node);
  void forget_announcer(const Atom& node);

  // Messages.
  /// Nobody sent anything of late: what is left of the tree is worth nothing, and the next message grows a new one.
  [[nodiscard]] bool is_idle() const noexcept { return cached_payloads() == 0; }
  void accept(Received message, MonotonicTime now, PlumtreeEffects& out);
  [[nodiscard]] Received* find_received(const MessageId& id) noexcept;
  void optimise(Received& message, const Atom& announcer, std::uint32_t round, PlumtreeEffects& out);
  void expire(MonotonicTime now);
  void forget_oldest_payload();
  void forget_oldest_id();

  // Missing messages.
  void await_message(const Atom& announcer, const Announcement& announcement, MonotonicTime now);
  void give_back_share(const Atom& announcer);
  /// The announcers that were not asked.
  std::vector<Announcer> no_longer_missing(const MessageId& id, MonotonicTime now);
  [[nodiscard]] std::chrono::microseconds patience() const noexcept;
  void request(MissingList& waiting, MonotonicTime now, std::vector<Request>& requests);
  void graft(const Request& request, PlumtreeEffects& out);

  // What is sent.
  void push(const Atom& to, bool native, const Received& message, PlumtreeEffects& out);
  void announce(Peer& to, const Received& message, MonotonicTime now);
  void announce_recent(Peer& to, MonotonicTime now);
  void queue_announcement(Peer& to, const Received& message, std::uint32_t round, MonotonicTime now);
  void flush(Peer& peer, PlumtreeEffects& out);
  void lost(const Atom& node, MonotonicTime now) noexcept;
  void tell_losses(MonotonicTime now, PlumtreeEffects& out);
  void prune(const Atom& to, PlumtreeEffects& out);

  PlumtreeConfig config_;
  Prng random_;
  bool left_ = false;
  std::vector<Peer> peers_;  ///< Neighbours, which the overlay bounds, and up to `guests_max` guests.
  /// At most one a channel. Like the maps, never iterated: no order to depend on.
  boost::unordered_flat_set<Atom, std::hash<Atom>> natives_;

  std::deque<Received> received_;  ///< The oldest first.
  std::uint64_t first_ = 0;        ///< Number of `received_.front()`, counted from the start.
  std::size_t bare_ = 0;           ///< So many of the oldest have lost their payload.
  std::size_t payload_bytes_ = 0;
  std::size_t id_bytes_ = 0;
  boost::unordered_flat_map<MessageId, std::uint64_t, std::hash<MessageId>> numbers_;  ///< Of all received messages.

  Lateness lateness_;
  MissingList awaited_;
  MissingList asked_;
  boost::unordered_flat_map<MessageId, MissingList::iterator, std::hash<MessageId>> missing_;  ///< Of both lists.
  boost::unordered_flat_map<Atom, std::size_t, std::hash<Atom>> shares_;  ///< Of `missing_`, none is 0.

  std::vector<Shortcut> shortcuts_;  ///< Between neighbours: at most their number squared.
  std::optional<MonotonicTime> flush_at_;
  std::optional<MonotonicTime> lost_at_;  ///< The first `lost_due`.
  PlumtreeCounters counters_;
};

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
