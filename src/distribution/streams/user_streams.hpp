// The streams of one channel that carry no signals.
//
// Stands between the connection and the programs that own streams: finds the tag of what the peer opens and hands the
// stream over, with every byte in its place, to whoever takes that tag; opens streams to the peer; answers resets;
// credits the peer only for what was read. A stream that is over stays known, as an id that is ignored, until QUIC is
// done with it: late bytes never begin anything anew. Source: protocol document 07, sections 1.1 to 1.10 and 9.
//
// What the connection's window leaves to a peer that nobody reads from is bounded by `unread_bytes_max` for all its
// streams together. A C++ peer keeps `message_reserve_bytes` of the window free for signals, so that streams that are
// not read never stop messages; from a peer that does not, the stream that brings too much is reset.
//
// Transport thread only, but for the counters.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "distribution/streams/acceptors.hpp"
#include "distribution/streams/gate.hpp"
#include "distribution/streams/stream_core.hpp"
#include "distribution/streams/tags.hpp"
#include "quic/connection.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Part of the window of a connection that C++ nodes leave to signals: as much as may be queued for one peer by
/// default. More than the step in which ngtcp2 gives credit (half of `EndpointConfig::unadmitted_window_bytes`), or
/// messages would wait for a word that never comes.
inline constexpr std::size_t message_reserve_bytes = 64UL * 1024 * 1024;

struct StreamLimits {
  TagLimits tags;
  std::size_t send_bytes_max = 4UL * 1024 * 1024;      ///< Written and not acknowledged, one stream.
  std::size_t unread_bytes_max = 192UL * 1024 * 1024;  ///< Arrived and not read, all streams of a peer.
};

/// Counted since start, over all peers. Read from any thread.
struct StreamCounters {
  std::atomic<std::uint64_t> opened{0};           ///< By us.
  std::atomic<std::uint64_t> accepted{0};         ///< Opened by peers, and taken.
  std::atomic<std::uint64_t> refused_tag{0};      ///< Opened by peers: nobody takes the tag, or it is no tag.
  std::atomic<std::uint64_t> refused_busy{0};     ///< The acceptor had too many waiting.
  std::atomic<std::uint64_t> refused_waiting{0};  ///< Too many streams without a whole tag.
  std::atomic<std::uint64_t> refused_late{0};     ///< The tag did not come in time.
  std::atomic<std::uint64_t> reset_unread{0};     ///< By us: too much of the peer's was not read.
  std::atomic<std::uint64_t> reset_by_peer{0};
  std::atomic<std::uint64_t> lost{0};            ///< With their connection.
  std::atomic<std::uint64_t> bytes_received{0};  ///< For programs.
  std::atomic<std::uint64_t> bytes_sent{0};
  std::atomic<std::int64_t> open{0};  ///< Now, of either side.
};

/// What the streams of all channels of a node have in common.
struct StreamShared {
  StreamShared(StreamLimits bounds, boost::asio::io_context& context) noexcept : limits(bounds), gate(context) {}
  const StreamLimits limits;
  TransportGate gate;
  TagAcceptors acceptors;
  StreamCounters counters;
};

class UserStreams : public std::enable_shared_from_this<UserStreams> {
 public:
  using Opened = std::function<void(Result<std::shared_ptr<StreamCore>>)>;
  using After = std::function<void(Milliseconds, std::function<void()>)>;

  struct Peer {
    Atom name;
    std::uint64_t epoch = 0;
    bool erlang = false;  ///< It needs time between steps, and never finishes what was reset: section 1.10.
  };

  UserStreams(std::shared_ptr<StreamShared> shared, std::shared_ptr<quic::Connection> connection, Peer peer,
              After after);
  ~UserStreams();
  UserStreams(const UserStreams&) = delete;
  UserStreams& operator=(const UserStreams&) = delete;

  /// Opens a stream. Towards an Erlang peer the answer comes when the peer had time to refuse it: it is asked again,
  /// with pauses, while its connection is so young that it may not be ready. Errors: `overloaded` (the peer allows no
  /// more streams now), `connection_refused`, `no_connection`.
  void open(std::string tag, Opened done);

  // What the connection tells.
  void data(quic::StreamId id, ByteView bytes, bool fin);
  void reset(quic::StreamId id, std::uint64_t code);
  void acknowledged(quic::StreamId id, std::uint64_t bytes);
  void stopped(quic::StreamId id);
  void closed(quic::StreamId id);
  void tick(MonotonicTime now);
  /// The channel ended: everybody is told.
  void lost(const Error& error);

  /// Streams that are open, or wait for their tag.
  [[nodiscard]] std::size_t count() const noexcept { return open_ + tags_.waiting(); }

 private:
  struct Opening;
  struct Entry {
    std::shared_ptr<StreamCore> core;  ///< Nothing: it is over, and ignored.
    std::size_t preamble_bytes = 0;    ///< That went out before the program's.
    std::size_t unread = 0;            ///< Delivered and not credited.
    bool quic_closed = false;
    bool counted = false;              ///< As open.
    std::shared_ptr<Opening> opening;  ///< Nobody has it yet.
  };
  using Entries = std::unordered_map<quic::StreamId, Entry>;

  void attempt(const std::shared_ptr<Opening>& opening);
  void confirm(quic::StreamId id);
  void refused(const std::shared_ptr<Opening>& opening);
  void finish(const std::shared_ptr<Opening>& opening, Result<std::shared_ptr<StreamCore>> result);
  /// A new entry; its stream is bulk from here on.
  Entry& add(quic::StreamId id, std::string tag, bool opened_here);
  [[nodiscard]] bool is_own(quic::StreamId id) const noexcept;
  void begin(quic::StreamId id, InboundTags::Complete&& complete, bool fin);
  void deliver(quic::StreamId id, Entry& entry, ByteView bytes, bool fin);
  void refuse(quic::StreamId id);
  void work(quic::StreamId id);
  /// The program is done with it, or it was reset: it is ignored from now on.
  void give_up(quic::StreamId id, Entry& entry);
  void uncount(Entry& entry);

  const std::shared_ptr<StreamShared> shared_;
  const std::shared_ptr<quic::Connection> connection_;
  const Peer peer_;
  const After after_;
  const MonotonicTime since_ = monotonic_now();
  InboundTags tags_;
  Entries entries_;
  std::unordered_set<std::shared_ptr<Opening>> openings_;
  std::size_t open_ = 0;    ///< Entries that are counted.
  std::size_t unread_ = 0;  ///< Of all entries.
  std::optional<Error> lost_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
