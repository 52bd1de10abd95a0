// All channels of one node: who is connected, who is being dialled, who just failed.
//
// At most one channel per peer name. A send to a node that is not connected dials it and waits in the peer's outbox.
// Rules of simultaneous dials, of replacement and of set-up times: protocol document 01, sections 5.3, 5.5, 5.6 and 8.
//
// Threads: everything runs on the transport thread (the io_context), except what stands under "Any thread". Events are
// called on the transport thread and must not block.
#pragma once

#include <array>
#include <atomic>
#include <barrel_p2p/operations.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "base/token_bucket.hpp"
#include "distribution/auth/pin_writer.hpp"
#include "distribution/channel.hpp"
#include "distribution/detector.hpp"
#include "distribution/dial_failures.hpp"
#include "distribution/discovery.hpp"
#include "distribution/link_watch.hpp"
#include "distribution/outbox.hpp"
#include "distribution/outcome.hpp"
#include "distribution/refusal_log.hpp"
#include "quic/endpoint.hpp"

namespace boost::asio {
class io_context;
}

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

struct PeerInfo {
  Atom node;
  std::uint64_t epoch = 0;  ///< Number of the channel; grows with each channel of this node.
  std::uint32_t creation = 0;
  std::uint64_t flags = 0;  ///< In force on the channel.
  bool initiator = false;   ///< We dialled.
  std::string address;
  bool by_adapter = false;  ///< Then the address is a name, and nobody can dial it.
};

struct NetworkEvents {
  /// Comes before every signal of the channel; from here on `send_on` takes signals for it.
  std::function<void(const PeerInfo&)> node_up;
  /// Comes after every signal of the channel. `reason` is one of the words of `net_kernel:monitor_nodes`.
  std::function<void(const Atom& node, std::uint64_t epoch, const Atom& reason)> node_down;
  /// A dial failed: what was sent since it began is lost.
  std::function<void(const Atom& node, const Error& error)> unreachable;
  /// Of signals of one channel: takes as many from the front as it likes, and is called again for the rest.
  std::function<Delivered(const Atom& node, std::uint64_t epoch, std::span<Signal>)> deliver;
  /// Senders that were told `busy` may go on.
  std::function<void(const Atom& node)> writable;
  /// Whether a channel that was idle for long may be closed: nobody needs it to stay. Absent: none is closed.
  std::function<bool(const Atom& node)> may_close_idle;
  /// A channel took another path, or could not.
  std::function<void(const PathEvent&)> path;
  /// This process did not run for a while.
  std::function<void(Milliseconds paused)> paused;
  /// Signals of some datagrams are delivered, see `quic::EndpointEvents::on_batch`. Outboxes are emptied after it.
  std::function<bool()> delivered;
  /// Whether `empty_outboxes` will be called by itself, after the process that the caller runs. Any thread.
  std::function<bool()> empties_outboxes;
  /// Something was decided about a peer, or about an address that has told no name yet.
  std::function<void(FlightEntry::Kind kind, std::string_view peer, std::string_view reason)> decided;
};

/// What goes to and comes from a connected node.
struct PeerTraffic {
  Atom node;
  bool hidden = false;
  PathStatistics path;
  std::size_t queued_bytes = 0;  ///< In the outbox and in the QUIC send queue.
};

struct NetworkConfig {
  DetectorConfig detector;
  Outbox::Limits outbox{1024UL * 1024, 64UL * 1024 * 1024};
  StreamLimits streams;
  Milliseconds setup_timeout{7000};    ///< A dial with everything in it (`net_setuptime`).
  Milliseconds attempt_timeout{2500};  ///< One QUIC handshake within it: a BEAM never repeats a lost handshake packet.
  /// A dial waits so long for discovery, and then tries where it met the node last: several times what a resolver takes
  /// that is in order.
  Milliseconds remembered_after{1000};
  Milliseconds retry_after_min{
      200};  ///< After a failed dial no send dials for this long, doubled with each failure ...
  Milliseconds retry_after_max{10'000};  ///< ... up to this.
  /// Dials that sends have begun and that go on, as many as strangers may have half open here. A send that would begin
  /// one more is lost, as to a node that cannot be reached. Dials by `connect` are not counted.
  std::size_t dials_by_sends_max = 1024;
  bool auto_connect = true;
  bool migrate_on_change = true;           ///< Channels that we dialled move when their local address has gone.
  Milliseconds idle_sweep{60'000};         ///< How often idle channels are looked for.
  Milliseconds idle_close_after{300'000};  ///< A channel without signals for so long is idle. 0: never.
};

/// Counted since start. Read from any thread.
struct NetworkCounters {
  std::atomic<std::uint64_t> dials{0};
  std::atomic<std::uint64_t> dials_failed{0};
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> accepts_failed{0};
  std::atomic<std::uint64_t> replaced{0};
  std::atomic<std::uint64_t> detector_downs{0};
  std::atomic<std::uint64_t> probe_downs{0};
  std::atomic<std::uint64_t> pauses{0};
  std::atomic<std::uint64_t> idle_closed{0};
  std::atomic<std::uint64_t> migrations{0};
  std::atomic<std::uint64_t> migrations_failed{0};
  std::atomic<std::uint64_t> peer_moves{0};
  std::atomic<std::uint64_t> signals_dropped{0};  ///< Lost with a channel, or what none may carry.
};

class Network {
 public:
  using ConnectCallback = std::function<void(Result<void>)>;

  /// `endpoint_config` is completed with the events; the discovery must outlive the network.
  static Result<std::unique_ptr<Network>> open(boost::asio::io_context& context, NetworkConfig config,
                                               ChannelSettings settings, quic::EndpointConfig endpoint_config,
                                               Discovery& discovery, NetworkEvents events, Logger logger);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // Any thread.
  /// `stream_key`: the local process on whose behalf the signal goes out; all of its signals take one stream, so they
  /// keep their order.
  SendOutcome send(const Atom& node, Signal&& signal, const Pid& stream_key);
  /// The same on one channel only: never dials, and `refused` when that channel is not up any more. `if_short`: `full`
  /// as soon as the queue is so long that senders have to wait.
  SendOutcome send_on(const Atom& node, std::uint64_t epoch, const Signal& signal, const Pid& stream_key,
                      bool if_short);
  /// Dials unless the node is connected. The callback runs on the transport thread, exactly once.
  void connect(const Atom& node, ConnectCallback callback);
  /// Closes the channel, if there is one.
  void disconnect(const Atom& node);
  /// Connected nodes, in the order of their names.
  [[nodiscard]] std::vector<PeerInfo> nodes() const;
  /// Nodes of which something is known: connected, being dialled, or left alone for a while.
  [[nodiscard]] std::size_t known_nodes() const;
  /// After `DeliverOutcome::congested`, once for each: go on reading from the channel, unless others hold it too.
  void resume_reading(const Atom& node, std::uint64_t epoch);
  /// Opens a stream with this tag, see `UserStreams::open`; dials unless the node is connected. The callback runs on
  /// the transport thread, once; when the network stops it may be dropped. Errors: also those of `connect`.
  void open_stream(const Atom& node, std::string tag, UserStreams::Opened callback);
  /// Moves the channel to another path, see `Node::migrate_peer`. The callback runs on the transport thread, once; when
  /// the network stops it may be dropped.
  void migrate(const Atom& node, const MigrateOptions& options, ConnectCallback callback);
  /// Error: `not_connected`. The callback as above.
  void path_statistics(const Atom& node, std::function<void(Result<PathStatistics>)> callback);
  /// Of all connected nodes, at most so many of them. The callback as above.
  void traffic(std::size_t nodes_max, std::function<void(std::vector<PeerTraffic>)> callback);
  /// How the peer is dialled from the next dial on. The address must have been checked.
  void set_connect_options(const Atom& node, ConnectOptions options);
  /// What the streams of all peers have in common; may be kept longer than the network lives.
  [[nodiscard]] const std::shared_ptr<StreamShared>& streams() const noexcept { return settings_.streams; }
  /// Our identity, for exchanges that begin from now on.
  void set_key(PrivateKey key);
  /// Our certificate, for connections that begin from now on.
  void set_credentials(std::shared_ptr<const quic::Credentials> credentials);
  /// A payload of this channel could not be decoded. The channel is closed, unless the payload is only beyond a bound
  /// (`limit_exceeded`): then it is as good as not sent, for the peer may have passed on what another node made.
  void report_malformed(const Atom& node, std::uint64_t epoch, Error why);
  [[nodiscard]] const NetworkCounters& counters() const noexcept { return counters_; }

  // Transport thread.
  /// Hands on what waits in outboxes.
  void empty_outboxes();
  [[nodiscard]] quic::Endpoint& endpoint() noexcept { return *endpoint_; }
  /// Closes the channels of peers that have proven a key which is revoked.
  void close_revoked();
  /// Closes every channel with a word to the peer, refuses new ones, and lets go of everything. `node_down` comes for
  /// each.
  void stop();

 private:
  struct Peer;
  struct Dial;

  Network(boost::asio::io_context& context, NetworkConfig config, ChannelSettings settings, Discovery& discovery,
          NetworkEvents events, Logger logger);

  std::shared_ptr<Outbox> outbox_of(const Atom& node);
  /// nullptr: there is none, and none is made.
  [[nodiscard]] std::shared_ptr<Outbox> find_outbox(const Atom& node) const;
  Outbox::Pushed push(const Atom& node, const std::shared_ptr<Outbox>& outbox, const Outbox::Snapshot& to,
                      const Signal& signal, const Pid& stream_key);
  bool may_leave(const Signal& signal, const Atom& node, std::uint32_t peer_creation, Flags flags);
  void wake(const Atom& node, const std::shared_ptr<Outbox>& outbox);
  void flush(const Atom& node, const std::shared_ptr<Outbox>& outbox);
  Peer& peer_of(const Atom& node);

  void start_dial(const Atom& node, bool explicit_wish);
  void resolve(Peer& peer);
  void await_answer(Peer& peer);
  void take_answer(Peer& peer);
  void attempt(Peer& peer, const DiscoveredAddress& address);
  void dial_ended(Peer& peer, const std::shared_ptr<Channel>& channel, const ChannelEnd& end);
  void retry_dial(Peer& peer, Milliseconds delay);
  void finish_dial(Peer& peer, Result<void> result);
  void lose_waiting(Peer& peer, const Error& error, MonotonicTime retry_at);
  /// The peer of a dial that is still the same one; nothing otherwise.
  Peer* dialled(const Atom& node, std::uint64_t number);

  void accept(std::shared_ptr<quic::Connection> connection);
  HandshakeAnswer decide(const std::shared_ptr<Channel>& channel, const Atom& name);
  void hold_incoming(Peer& peer);
  static void drop_incoming(Peer& peer, const char* reason);
  ChannelEvents events_for();
  void channel_up(const std::shared_ptr<Channel>& channel);
  void channel_ended(const std::shared_ptr<Channel>& channel, const ChannelEnd& end);
  Delivered channel_signals(Channel& channel, std::span<Signal> signals);
  void take_down(Peer& peer, const Atom& reason);
  void forget_if_idle(const Atom& node);

  void schedule_tick();
  void tick();
  void probe(Peer& peer, MonotonicTime now);
  void close_idle(MonotonicTime now);
  void close_channel(Peer& peer, const char* why);
  /// More answers wait than a peer that reads can have: the channel goes, and they with it.
  void close_unread(const Atom& node, std::uint64_t epoch);

  // Paths, in network_paths.cpp.
  void channel_path(Channel& channel, const quic::PathChange& change);
  /// Moves the channel if its path is gone.
  void check_path(Peer& peer);
  void links_changed();
  /// A peer that we dialled and that is silent: perhaps it is our own address that has gone.
  void check_silent(Peer& peer, MonotonicTime now);
  /// Addresses that options name, in place of what discovery says.
  [[nodiscard]] std::optional<DiscoveredAddresses> addresses_by_option(const Atom& node) const;
  void post(std::function<void()> work);
  void note(FlightEntry::Kind kind, std::string_view peer, std::string_view reason = {}) const {
    if (events_.decided) events_.decided(kind, peer, reason);
  }

  boost::asio::io_context& context_;
  const NetworkConfig config_;
  ChannelSettings settings_;
  Discovery& discovery_;
  NetworkEvents events_;
  Logger logger_;
  RateLimit undecodable_log_{10, Milliseconds(1000)};
  NetworkCounters counters_;
  std::unique_ptr<PinWriter> pins_ = std::make_unique<PinWriter>();
  std::unique_ptr<quic::Endpoint> endpoint_;
  Detector detector_;
  DialFailures dial_failures_;
  TokenBucket failure_lines_;            ///< Of the log.
  std::uint64_t failures_unlogged_ = 0;  ///< Since the last line.
  RefusalLog refusals_;
  std::size_t dials_by_sends_ = 0;  ///< In progress.
  std::uint64_t next_epoch_ = 1;
  MonotonicTime next_idle_sweep_{};
  bool stopped_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  ///< Work that was posted checks that we still exist.

  std::unordered_map<Atom, std::unique_ptr<Peer>> peers_;
  std::unordered_map<Atom, ConnectOptions> connect_options_;
  std::unique_ptr<LinkWatch> links_;
  std::vector<std::shared_ptr<Channel>> unnamed_;  ///< Accepted, their handshake has not told a name yet.

  mutable std::shared_mutex table_mutex_;  ///< Guards outboxes_ and up_.
  std::unordered_map<Atom, std::shared_ptr<Outbox>> outboxes_;
  std::vector<OutgoingMessage> taken_;
  std::unordered_map<Atom, PeerInfo> up_;

  std::mutex woken_mutex_;  ///< Guards the next two.
  std::vector<std::pair<Atom, std::shared_ptr<Outbox>>> woken_;
  bool emptying_posted_ = false;

  struct Timer;
  std::unique_ptr<Timer> timer_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
