// HyParView as a machine without I/O: a small active view of neighbours that gossip to each other, and a larger passive
// view of nodes that may replace them.
//
// - A newcomer joins through any node, which takes it at once and sends its name on random walks; where a walk ends, or
//   finds room, the newcomer is asked to become a neighbour.
// - A neighbour that goes is replaced from the passive view: dial, ask (`neighbor`), and only when both agree do both
//   list each other. Who has nobody asks with high priority and is never refused.
// - Who left a full passive view for another node is kept in reserve, for the time when nobody in it answers.
// - Shuffles mix the passive views.
// - Exchanges mix the active views of C++ nodes: of two links A-B and P-Q they make A-P and B-Q. Nodes that join one
//   after the other through one contact would else stay near each other, and the way through the cluster would be long.
// - Who leaves says so, and the word goes round among C++ nodes, which forget the leaver.
// - Nodes that were lost stay known and are tried again, less and less often, so that parts of a cluster that were cut
//   off find each other again.
//
// Links are symmetric: a node is in our view when it agreed, and leaves it with its channel, by a word of it, or by our
// word to it. Messages between two nodes keep their order, and channels lose nothing while they live.
//
// Towards Erlang nodes: they answer every kind of message here, but never tell a newcomer that they listed it (it is
// adopted when it gossips or shuffles to us), and break when a record of theirs can be promoted, which the encoding of
// our records prevents.
//
// Sources: Leitao, Pereira, Rodrigues, "HyParView", DSN 2007; protocol document 03, sections 4, 5, 11 and 13. Where
// this machine leaves the Erlang implementation's way: docs/decisions/0006. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "overlay/messages.hpp"
#include "overlay/reserve.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

struct HyParViewConfig {
  Atom own;
  std::uint64_t seed = 0;
  std::size_t active_size = 5;    ///< Enough for 10,000 nodes (the paper's figure).
  std::size_t passive_size = 30;  ///< The same.
  std::uint32_t arwl = 6;         ///< Active random walk length: hops of a newcomer's walk.
  std::uint32_t prwl = 3;  ///< Passive random walk length: where the walk enters passive views; hops of a shuffle.
  std::size_t shuffle_length = 8;
  Milliseconds shuffle_period{10'000};  ///< In calm times; `shuffle_period` gives the real one.
  Milliseconds churn_window{30'000};
  std::uint32_t fail_count_max = 5;  ///< Dials that may fail in a row before a node leaves the passive view.
  Milliseconds backoff_base{1000};   ///< After the first failure twice this, then doubled ...
  Milliseconds backoff_max{300'000};
  Milliseconds refused_backoff{5000};     ///< Before a node that has no room is asked again.
  Milliseconds passive_age_max{300'000};  ///< Nodes that nobody spoke of for so long are forgotten.
  Milliseconds cleanup_period{60'000};
  Milliseconds pending_timeout{30'000};  ///< A dial that came to nothing.
  Milliseconds answer_timeout{5000};     ///< A question that was not answered: who receives it answers at once.
  Milliseconds seek_period{2000};        ///< While there is room: how often to look for another node that has room ...
  Milliseconds seek_period_max{30'000};  ///< ... doubled up to this while nobody is found.
  Milliseconds exchange_period{5000};    ///< A full view offers one exchange after this, then doubled ...
  Milliseconds exchange_period_max{600'000};  ///< ... up to this: often while young, rarely for ever.
  std::size_t reserve_size = 128;             ///< Nodes that left a full passive view and are remembered.
  std::chrono::hours reserve_age_max{24};     ///< Unless nobody spoke of them for so long.
  std::size_t lost_max = 64;                  ///< Lost nodes that are remembered.
  Milliseconds lost_retry{5000};              ///< A lost node is tried again after this, then doubled ...
  Milliseconds lost_retry_max{60'000};        ///< ... up to this: parts of a cluster meet again within about this time.
  std::chrono::hours lost_age_max{24};        ///< After this it is given up.
  Milliseconds departed_age{300'000};         ///< Who left is not taken for a member again on others' word for so long.
  std::size_t departed_max = 64;              ///< Nodes that left and are remembered for it.
  Milliseconds adopt_after{2000};             ///< A channel this old without hello leads to an Erlang node.
};

enum class DownReason : std::uint8_t {
  nodedown,  ///< Its channel ended.
  graceful,  ///< It said so: it left, or needed the place.
  dropped,   ///< We needed the place.
  blocked,
  left,  ///< We left the cluster.
};
/// The word of the Erlang library, for instance `nodedown`.
std::string_view name(DownReason reason) noexcept;

struct HyParViewSend {
  Atom to;  ///< Its channel is up.
  HyParViewMessage message;
};
/// Make a channel; answered by `link_up` or `connect_failed`.
struct HyParViewConnect {
  Atom node;
};
enum class Arrival : std::uint8_t {
  itself,  ///< The other side began.
  asked,   ///< It answered our question. (An Erlang node then does not know that we are neighbours.)
};

/// Up and down come in turns for each node.
struct HyParViewUp {
  Atom node;
  Arrival arrival = Arrival::itself;
  bool spare = false;  ///< An exchange gave it the place of a spare link.
};
struct HyParViewDown {
  Atom node;
  DownReason reason = DownReason::nodedown;
};
/// After `leave`; the downs came before.
struct HyParViewLeft {};
using HyParViewEffect = std::variant<HyParViewSend, HyParViewConnect, HyParViewUp, HyParViewDown, HyParViewLeft>;
using HyParViewEffects = std::vector<HyParViewEffect>;

struct HyParViewCounters {
  std::uint64_t joins = 0;       ///< Messages received.
  std::uint64_t evictions = 0;   ///< Neighbours that we dropped for others.
  std::uint64_t promotions = 0;  ///< Nodes of the passive view that became neighbours.
  std::uint64_t refusals = 0;    ///< Of our questions.
  std::uint64_t timeouts = 0;    ///< Dials and questions without an answer.
  std::uint64_t shuffles = 0;    ///< Sent.
  std::uint64_t exchanges = 0;   ///< That we offered and that were taken.
  std::uint64_t departures = 0;  ///< Nodes that left the cluster, as they or others said.
  std::uint64_t one_way = 0;     ///< Peers that listed us while we did not list them, and were told.
};

/// The pause between two shuffles, without jitter, after `churn` joins and leaves in the current window.
Milliseconds shuffle_period(Milliseconds base, std::uint64_t churn) noexcept;
/// The pause before a node that failed `fail_count` times (1 or more) is dialled again.
Milliseconds dial_backoff(Milliseconds base, Milliseconds max, std::uint32_t fail_count) noexcept;

class HyParView {
 public:
  /// Whether the link to a neighbour carries nothing now, so that it can be exchanged without harm. None: all are.
  using IsSpare = std::function<bool(const Atom& node)>;

  /// The configuration must have been validated: active_size >= 1, passive_size >= active_size, prwl <= arwl <=
  /// ttl_max.
  HyParView(HyParViewConfig config, MonotonicTime now, IsSpare is_spare = {});

  /// Asks the node to take us in. Ends an earlier `leave`. Error: `cannot_connect_self`.
  Result<void> join(const Atom& node, MonotonicTime now, HyParViewEffects& out);
  /// Tells all neighbours, empties both views, and refuses everybody until the next `join`.
  void leave(MonotonicTime now, HyParViewEffects& out);
  /// The node may be worth a try: known from disk or from configuration.
  void learn(const Atom& node, MonotonicTime now);

  /// Channels to nodes that are not hidden. `erlang`: it is known before its first message that it says no hello.
  void link_up(const Atom& node, MonotonicTime now, HyParViewEffects& out, bool erlang = false);
  void link_down(const Atom& node, MonotonicTime now, HyParViewEffects& out);
  void connect_failed(const Atom& node, MonotonicTime now, HyParViewEffects& out);

  /// From a node whose channel is up; anything else is ignored.
  void receive(const Atom& from, const HyParViewMessage& message, MonotonicTime now, HyParViewEffects& out);
  /// The node treats us as a neighbour: it gossips to us. Adopts an Erlang node if there is room.
  void heard_gossip(const Atom& from, MonotonicTime now, HyParViewEffects& out);

  void tick(MonotonicTime now, HyParViewEffects& out);
  /// When `tick` must be called at the latest.
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  /// Nodes that are treated as if they did not exist, for tests; replaces an earlier list.
  void block(const std::vector<Atom>& nodes, MonotonicTime now, HyParViewEffects& out);

  [[nodiscard]] std::vector<Atom> active_view() const;
  [[nodiscard]] std::vector<Atom> passive_view() const;
  [[nodiscard]] std::vector<Atom> pending() const;
  [[nodiscard]] bool is_active(const Atom& node) const noexcept;
  [[nodiscard]] std::size_t active_count() const noexcept { return active_.size(); }
  /// It said hello.
  [[nodiscard]] bool is_native(const Atom& node) const noexcept;
  [[nodiscard]] bool is_blocked(const Atom& node) const noexcept;
  [[nodiscard]] bool has_left() const noexcept { return left_; }
  [[nodiscard]] bool is_linked(const Atom& node) const noexcept { return links_.contains(node); }
  /// Grows when a view changes.
  [[nodiscard]] std::uint64_t version() const noexcept { return version_; }
  [[nodiscard]] const HyParViewCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const HyParViewConfig& config() const noexcept { return config_; }

 private:
  static constexpr double retry_spread = 0.3;  ///< Of retries after a common cause.

  using Known = KnownNode;
  struct Lost {
    Atom node;
    MonotonicTime since;
    Milliseconds pause;
    MonotonicTime retry;
  };
  struct Departed {
    Atom node;
    MonotonicTime until;
  };
  enum class Wish : std::uint8_t {
    join,      ///< We join through it.
    welcome,   ///< A walk of its ended here.
    promote,   ///< It is to replace a neighbour.
    reunite,   ///< It was lost, and may be in another part of the cluster.
    probe,     ///< Is it there, and does it know?
    exchange,  ///< It is to take the place of a neighbour who is referred to another one.
  };
  struct Pending {
    Atom node;
    Wish wish;
    bool asked = false;  ///< The question is out; else we dial.
    MonotonicTime deadline{};
    Atom instead{};      ///< Of an exchange: who would go.
    bool spare = false;  ///< It would take the place of a spare link.
    Atom source{};       ///< Who spoke of the node; empty: this node itself had the wish.
  };
  struct Link {
    MonotonicTime since;
    bool erlang = false;  ///< For certain.
    bool native = false;
    bool has_record = false;    ///< It was given ours.
    bool sent_us_away = false;  ///< An Erlang node: that it goes on gossiping to us does not mean that it wants us.
  };

  // What was received.
  void on(const Atom& from, const Join& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const ForwardJoin& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const Disconnect& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const Neighbor& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const NeighborReply& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const Shuffle& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const ShuffleReply& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const Hello& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const Seek& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const Exchange& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const ExchangeReply& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const Wander& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const Refer& message, MonotonicTime now, HyParViewEffects& out);
  void on(const Atom& from, const Leave& message, MonotonicTime now, HyParViewEffects& out);

  // Views.
  void add_active(const Atom& node, Arrival arrival, MonotonicTime now, HyParViewEffects& out, bool spare = false);
  void make_room(MonotonicTime now, HyParViewEffects& out);
  void adopt(const Atom& node, MonotonicTime now, HyParViewEffects& out);
  void give_record(const Atom& node, HyParViewEffects& out);
  void disarm(const Atom& node, std::vector<Atom> known, HyParViewEffects& out);
  void send_away(const Atom& node, HyParViewEffects& out);
  [[nodiscard]] std::vector<Atom> all_but(const Atom& node) const;
  /// Drops a neighbour of ours, with a word to it: `disconnect` or `refer`.
  void let_go(const Atom& node, const HyParViewMessage& word, MonotonicTime now, HyParViewEffects& out);
  void drop_active(const Atom& node, DownReason reason, MonotonicTime now, HyParViewEffects& out);
  /// It is not asked before `not_before`.
  void add_passive(const Atom& node, MonotonicTime now, MonotonicTime not_before);
  void erase_passive(const Atom& node);
  /// From the passive view, and from the reserve behind it.
  void forget_known(const Atom& node);
  /// Takes a node of the reserve into the passive view, in a full one for one that failed. None: there is no such node.
  std::optional<Atom> call_up(MonotonicTime now);
  [[nodiscard]] Known* find_passive(const Atom& node) noexcept;
  void merge(const std::vector<Atom>& sample, MonotonicTime now);
  void record_failure(const Atom& node, MonotonicTime now);
  void remember_lost(const Atom& node, MonotonicTime now);
  void forget_lost(const Atom& node);
  /// True: it is news.
  bool remember_departed(const Atom& node, MonotonicTime now);
  [[nodiscard]] bool has_departed(const Atom& node, MonotonicTime now) const noexcept;
  /// There is proof of its being back.
  void forget_departed(const Atom& node);
  /// This node, and a random choice of all that it knows but `receiver`.
  [[nodiscard]] std::vector<Atom> sample(std::size_t length, const Atom& receiver);
  /// Places that are neither taken nor promised to a node that was asked; `apart` does not count.
  [[nodiscard]] std::size_t room(const Atom* apart = nullptr) const noexcept;
  enum class Among : std::uint8_t { all, native, spare };
  [[nodiscard]] std::optional<Atom> random_active(Among among, const Atom& except, const Atom* except_too = nullptr);

  // Questions.
  void pursue(const Atom& node, Wish wish, MonotonicTime now, HyParViewEffects& out);
  void pursue(Pending pending, MonotonicTime now, HyParViewEffects& out);
  /// Whether there is room for one more pending node that `source` spoke of.
  [[nodiscard]] bool may_pursue(const Atom& source) const noexcept;
  /// There is a channel to a node that we are after.
  void ask(const Atom& node, MonotonicTime now, HyParViewEffects& out);
  [[nodiscard]] bool is_needy(const Atom& node) const noexcept;
  void forget_pending(const Atom& node);
  [[nodiscard]] Pending* find_pending(const Atom& node) noexcept;
  [[nodiscard]] bool is_spare(const Atom& node) const { return !is_spare_ || is_spare_(node); }
  void promote(MonotonicTime now, HyParViewEffects& out);
  void refuse(const Atom& from, const HyParViewMessage& message, HyParViewEffects& out);

  // Timers.
  void shuffle(MonotonicTime now, HyParViewEffects& out);
  void seek(MonotonicTime now, HyParViewEffects& out);
  /// Who may go in an exchange: a C++ node behind a spare link, or while young any C++ node.
  [[nodiscard]] std::optional<Atom> random_exchangeable(const Atom& except, const Atom* except_too = nullptr);
  [[nodiscard]] bool is_young() const noexcept;
  void mix(MonotonicTime now, HyParViewEffects& out);
  void offer_exchange(const Atom& node, const Atom& source, MonotonicTime now, HyParViewEffects& out);
  void retry_lost(MonotonicTime now, HyParViewEffects& out);
  void expire_pending(MonotonicTime now, HyParViewEffects& out);
  void clean_up(MonotonicTime now, HyParViewEffects& out);
  void count_churn(MonotonicTime now);

  void send(const Atom& to, HyParViewMessage message, HyParViewEffects& out);

  HyParViewConfig config_;
  IsSpare is_spare_;
  Prng random_;
  bool left_ = false;
  bool was_member_ = false;  ///< It had a neighbour: it belongs to a cluster, not only to a program.
  std::vector<Atom> active_;
  std::vector<Known> passive_;
  Reserve reserve_;
  std::vector<Pending> pending_;
  std::vector<Lost> lost_;
  std::vector<Departed> departed_;
  std::vector<Atom> blocked_;
  std::vector<Atom> sent_;  ///< The sample of our last shuffle: the first to make room for what comes back.
  std::unordered_map<Atom, Link> links_;
  std::uint64_t version_ = 0;

  std::uint64_t churn_ = 0;
  MonotonicTime churn_start_;
  MonotonicTime next_shuffle_;
  MonotonicTime next_cleanup_;
  MonotonicTime next_promotion_;
  MonotonicTime next_seek_;
  Milliseconds seek_pause_;
  MonotonicTime next_exchange_;
  Milliseconds exchange_pause_;
  HyParViewCounters counters_;
};

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
