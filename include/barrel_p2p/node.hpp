// A node of the cluster.
//
//   NodeConfig config;
//   config.name = "a@127.0.0.1";
//   config.cookie = "secret";
//   auto node = Node::start(config);
//   if (!node) return complain(node.error());
//   node->export_function("math", "add", [](const std::vector<Term>& numbers) -> Result<Term> { ... });
//   auto pong = node->call_function("b@127.0.0.1", "erlang", "node", {});
//
// Several nodes may live in one program. A node takes no signals, no main function and no event loop of its host: it
// has one thread for the network, one for the cluster, and workers for processes. All functions may be called from any
// thread but, where it says that they block, not from inside of a process or of a callback.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/membership.hpp>
#include <barrel_p2p/node_config.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/process.hpp>
#include <barrel_p2p/server.hpp>
#include <barrel_p2p/subscription.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

/// A function that other nodes may call: it runs as a process and may wait.
using RemoteCallable = std::function<Task<Result<Term>>(Process&, std::vector<Term>)>;
/// The same for functions that do not wait.
using PlainCallable = std::function<Result<Term>(const std::vector<Term>&)>;

/// A connected node.
struct PeerStatus {
  NodeName node;
  std::string address;     ///< `127.0.0.1:4433`
  std::uint32_t creation;  ///< Changes with each start of a C++ node; Erlang nodes of this cluster always have 4.
  bool dialled;            ///< We dialled it; else it dialled us.
  bool hidden;             ///< Not listed in `nodes`: a tool that looks in, or a hidden Erlang node.
};

struct NodeEvent {
  enum class Kind : std::uint8_t { up, down } kind;
  NodeName node;
  std::string
      reason;  ///< Of `down`: `connection_closed`, `disconnect`, `idle`, `net_tick_timeout` (silent), `shutdown`.
};

/// A key that is pinned for a name.
struct TrustedKey {
  NodeName node;
  std::string key;          ///< Public key, 64 hex digits.
  std::string fingerprint;  ///< SHA-256 of the key, 64 hex digits: what people compare.
  bool learned;             ///< By trust at first use since this start; else placed by an operator or read from disk.
};

/// What happened since the start, and what is there now.
struct NodeStatistics {
  std::uint64_t dials = 0;
  std::uint64_t dials_failed = 0;
  std::uint64_t accepted = 0;         ///< QUIC connections from others.
  std::uint64_t accepts_failed = 0;   ///< Those that never became a channel.
  std::uint64_t silent_peers = 0;     ///< Given up because nothing was heard from them.
  std::uint64_t pauses = 0;           ///< Times that this process did not run for a while.
  std::uint64_t idle_closed = 0;      ///< Channels closed because nothing used them.
  std::uint64_t signals_dropped = 0;  ///< Lost with a channel, refused by a bound, or for nobody.
  std::uint64_t datagrams_received = 0;
  std::uint64_t datagrams_sent = 0;
  std::uint64_t refused_connections = 0;  ///< By a limit.
  std::size_t connections = 0;            ///< QUIC connections, finished or not.
  std::size_t half_open = 0;              ///< Accepted ones that are not in yet: in handshake or authentication.
  std::size_t processes = 0;
};

class BARREL_P2P_API Node {
 public:
  using Duration = std::chrono::milliseconds;

  /// Starts a node: loads or makes its identity and certificate, binds its socket, publishes its address. Blocks for
  /// the disk. Errors: `invalid_config` (names the key), `io_error` (address in use, disk), `permission_denied` and
  /// `corrupt` (key files).
  static Result<Node> start(NodeConfig config);
  /// Calls `stop`.
  ~Node();
  Node(Node&&) noexcept;
  Node& operator=(Node&&) noexcept;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Ends all processes, tells every peer, takes the published address back. Blocks; calling it again does nothing.
  void stop();

  [[nodiscard]] const NodeName& name() const noexcept;
  [[nodiscard]] std::uint16_t port() const noexcept;             ///< UDP, the one that is bound.
  [[nodiscard]] std::uint32_t creation() const noexcept;         ///< Random at each start.
  [[nodiscard]] Duration detection_worst_case() const noexcept;  ///< From a peer's last packet to its `down`.

  // Nodes.

  /// Connects, unless it is connected. Blocks. Errors: `unreachable`, `timeout`, `connection_refused`, `auth_failed`,
  /// `key_mismatch`, `untrusted_key`, `handshake_failed`, `cannot_connect_self`, `stopped`.
  Result<void> connect(const NodeName& node, Duration limit = std::chrono::seconds(10));
  /// The same without blocking; the callback runs once, on the node's network thread, and must not block.
  void connect(const NodeName& node, std::function<void(Result<void>)> done);
  /// Closes the connection, if there is one. Links and monitors over it end with `noconnection`.
  void disconnect(const NodeName& node);
  /// Connected nodes that are not hidden, in the order of their names.
  [[nodiscard]] std::vector<NodeName> nodes() const;
  /// All of them.
  [[nodiscard]] std::vector<PeerStatus> peers() const;
  /// Events of nodes that are not hidden, from now on, on the node's network thread; the callback must not block.
  /// (Processes have `Process::monitor_nodes`.)
  Subscription monitor_nodes(std::function<void(const NodeEvent&)> callback);
  /// Round trip to a node's `net_kernel`, connecting if need be (`net_adm:ping`). Blocks. Errors: those of `call`.
  Result<std::chrono::microseconds> ping(const NodeName& node, Duration limit = std::chrono::seconds(5));

  // The cluster. A hidden node is no member: `join` and `broadcast` say so with `invalid_config`, its views are empty
  // and its subscribers hear nothing. docs/membership.md explains.

  /// Joins the cluster of which the node is a member. Does not wait: `joined` and the events tell what comes of it; it
  /// is tried once, unlike the contacts of the configuration. Ends an earlier `leave`. Errors: `cannot_join_self`,
  /// `overloaded`, `stopped`.
  Result<void> join(const NodeName& contact);
  /// Tells all neighbours and empties the views. Until the next `join` this node asks nobody and refuses everybody.
  /// Connections stay up. Does not wait.
  void leave();
  /// The neighbours of this node, in no order. Reads a copy: costs next to nothing.
  [[nodiscard]] std::vector<NodeName> active_view() const;
  /// Nodes that may replace them. As above.
  [[nodiscard]] std::vector<NodeName> passive_view() const;
  /// Waits until this node has a neighbour and knows `members_min` members: itself and those in its views. With 1 or
  /// less it does not wait. Blocks. Errors: `timeout` (says how many are known), `stopped`, `invalid_argument` (more
  /// than the views can hold).
  [[nodiscard]] Result<void> joined(std::size_t members_min = 2, Duration limit = std::chrono::seconds(10));

  /// From now on the process, here or elsewhere, gets `{barrel_p2p_event, {peer_up, Node} | {peer_down, Node, Reason} |
  /// left}`, until it ends. A second time is the same as once. Ask for `active_view` afterwards to know who was there.
  void subscribe(const Pid& process);
  void unsubscribe(const Pid& process);
  /// First an `up` for each neighbour of now, then what happens; on the cluster thread, in order. The callback must not
  /// block.
  Subscription subscribe(std::function<void(const MembershipEvent&)> callback);

  /// Sends to all members, this one included. No order is kept, not even between messages of one sender; each node gets
  /// it once, or not at all when no path to it works for a minute. Does not wait. Errors: `limit_exceeded` (see
  /// `GossipConfig`), `overloaded` (too much waits here: try again later), `stopped`.
  Result<void> broadcast(Term tag, Term payload);
  /// Broadcasts with this tag, on the cluster thread; the callback must not block.
  Subscription subscribe_broadcast(Term tag, std::function<void(const Term& payload)> callback);
  /// From now on the process gets `{plumtree_broadcast, {Tag, Payload}}` for every tag, until it ends.
  void subscribe_broadcast(const Pid& process);
  void unsubscribe_broadcast(const Pid& process);

  /// For tests: treats these nodes as if they did not exist, in place of those that were blocked before. Connections
  /// stay up.
  void block_peers(const std::vector<NodeName>& nodes);
  void unblock_peers();

  [[nodiscard]] OverlayStatistics overlay_statistics() const;

  // Processes.

  Pid spawn(ProcessFunction function);
  /// Does not wait. Errors: `overloaded` (more is queued for that node than `limits.send_queue_bytes_max`; try again
  /// later), `no_connection` (it could not be reached a moment ago), `no_process` (a name of this node that nobody
  /// bears). Success does not mean that the message arrives.
  Result<void> send(const Destination& to, Term message);
  void exit(const Pid& process, const Term& reason);
  /// Errors: `already_registered`, `no_process`, `invalid_argument`.
  Result<void> register_process(const Atom& name, const Pid& process);
  bool unregister_process(const Atom& name);
  [[nodiscard]] std::optional<Pid> whereis(const Atom& name) const;
  [[nodiscard]] bool is_alive(const Pid& process) const;

  /// `gen_server:call`. Blocks. Errors: as `Process::call`, and `stopped`.
  Result<Term> call(const Destination& server, Term request, Duration limit = std::chrono::seconds(5));
  /// `gen_server:cast`. Errors: as `send`.
  Result<void> cast(const Destination& server, Term request);
  /// `erpc:call`. Blocks. Errors: as `Process::call_function`, and `stopped`.
  Result<Term> call_function(const NodeName& node, const Atom& module, const Atom& function,
                             std::vector<Term> arguments, Duration limit = std::chrono::seconds(5));
  /// The same, with all that can come of it. Blocks.
  CallOutcome run_function(const NodeName& node, RemoteFunction what, Duration limit = std::chrono::seconds(5));
  /// Lets other nodes call a function; nothing else can be called from outside. Replaces an earlier one.
  void export_function(const Atom& module, const Atom& name, RemoteCallable function);
  void export_function(const Atom& module, const Atom& name, PlainCallable function);

  // Keys.

  [[nodiscard]] std::string public_key() const;   ///< 64 hex digits; empty when authentication is off.
  [[nodiscard]] std::string fingerprint() const;  ///< SHA-256 of the public key, 64 hex digits.
  [[nodiscard]] std::vector<TrustedKey> keys() const;
  /// Pins a key (64 hex digits) for a name, in place of any other. Errors: `invalid_argument`, `io_error`.
  Result<void> pin(const NodeName& node, const std::string& key);
  /// Forgets the key of a name. A connection that is up stays up. Errors: `not_found`, `io_error`.
  Result<void> unpin(const NodeName& node);
  void set_trust_mode(TrustMode mode);

  [[nodiscard]] NodeStatistics statistics() const;

 private:
  class Parts;
  explicit Node(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

}  // namespace v0
}  // namespace barrel_p2p
