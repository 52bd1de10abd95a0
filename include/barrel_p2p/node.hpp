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
// thread but, where it says that they block, not from inside of a process or of a callback: those that wait for these
// threads, or for a process, answer a callback on the cluster thread or a network thread with the error
// `invalid_argument` at once. `call`, `call_function`, `run_function`, `ping`, `get_proxy`, `global_register` and
// `start_service_holder` answer so inside of a process, too, and in the callbacks of `lead`: of the first four
// `Process` has what a process may `co_await`. Who blocks for the cluster thread may do its work meanwhile: "on the
// cluster thread" is then on the thread of that caller, one at a time as ever. What a callback throws on the network or
// cluster thread ends the program, but where it says what comes of it.
//
// A callback that is given a result runs on the thread that the function names, later, also when the call is refused:
// its caller may hold a lock that the callback wants. Two exceptions: a hidden node has no cluster thread, and refuses
// on its network thread; and of a node that stops or has stopped the callback is told `stopped` by who stops it, or, as
// that thread is gone, within the call.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/keys.hpp>
#include <barrel_p2p/leader.hpp>
#include <barrel_p2p/maps.hpp>
#include <barrel_p2p/membership.hpp>
#include <barrel_p2p/node_config.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/operations.hpp>
#include <barrel_p2p/paths.hpp>
#include <barrel_p2p/placement.hpp>
#include <barrel_p2p/process.hpp>
#include <barrel_p2p/reminders.hpp>
#include <barrel_p2p/replicated.hpp>
#include <barrel_p2p/server.hpp>
#include <barrel_p2p/services.hpp>
#include <barrel_p2p/streams.hpp>
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
  /// Of `down`: `connection_closed`, `disconnect`, `idle`, `net_tick_timeout` (silent), `shutdown`.
  std::string reason;
};

/// Files from other nodes; docs/cp.md.
struct ReceiveStatistics {
  std::uint64_t files = 0;    ///< Whole and verified.
  std::uint64_t bytes = 0;    ///< Written, of whole files and others.
  std::uint64_t refused = 0;  ///< For their path, by a limit, for a wrong hash, or because the disk failed.
  std::uint64_t broken = 0;   ///< The sender went in the middle.
  std::size_t transfers = 0;  ///< Now.
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
  std::uint64_t refused_connections = 0;  ///< By a limit; with the next one:
  std::uint64_t dropped_initials = 0;     ///< First packets beyond `limits.initials_per_second_max`.
  std::uint64_t retries_sent = 0;         ///< Times that an address was to be proven: `limits.unproven_handshakes_max`.
  bool strangers_filtered = false;        ///< There is a flood now, and the kernel keeps most of it away.
  std::uint64_t refused_spawns = 0;       ///< Processes that peers wanted: `limits.remote_spawns_max`.
  std::uint64_t refused_relations = 0;    ///< Links and monitors that they wanted: `limits.remote_relations_max`.
  std::uint64_t refused_calls = 0;        ///< Functions that they called, and that are not exported.
  std::uint64_t mailboxes_full = 0;       ///< Times that a peer was held back: `limits.mailbox_bytes_max`.
  std::uint64_t refused_atoms = 0;        ///< `limits.atoms_max`; of the whole process, as is:
  std::size_t atoms = 0;                  ///< Distinct names in use.
  std::size_t connections = 0;            ///< QUIC connections, finished or not.
  std::size_t half_open = 0;              ///< Accepted ones that are not in yet: in handshake or authentication.
  std::uint64_t migrations = 0;           ///< Connections that this side moved to another path, ...
  std::uint64_t migrations_failed = 0;    ///< ... or tried to.
  std::uint64_t peer_moves = 0;           ///< Times that a peer's address or port changed.
  std::uint64_t misplaced_datagrams = 0;  ///< Not read, for the peer had just moved from there, or elsewhere.
  std::size_t processes = 0;
  StreamStatistics streams{};
  ReceiveStatistics receive{};
};

class BARREL_P2P_API Node {
 public:
  using Duration = std::chrono::milliseconds;

  /// Starts a node: loads or makes its identity and certificate, binds its socket, publishes its address. Blocks for
  /// the disk. Errors: `invalid_config` (names the key), `io_error` (address in use, disk), `permission_denied` and
  /// `corrupt` (key files, store), `already_registered` (another node has the store open), `limit_exceeded` (more keys
  /// are revoked than a node keeps, or a file of the configuration is too large), `timeout` (another process holds a
  /// directory of keys), `not_found` (a file that the configuration names), `system_error` (no thread or no descriptor
  /// is to be had).
  [[nodiscard]] static Result<Node> start(NodeConfig config);
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
  [[nodiscard]] Result<void> connect(const NodeName& node, Duration limit = std::chrono::seconds(10));
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
  [[nodiscard]] Result<std::chrono::microseconds> ping(const NodeName& node, Duration limit = std::chrono::seconds(5));

  // Paths. docs/paths.md explains.

  /// Moves the connection to a peer that we dialled to another local port, or address, and waits until the new path is
  /// validated. Messages, links, monitors and streams ride through. Two calls at once are one. Blocks. Errors:
  /// `not_connected`, `no_connection` (it was lost meanwhile), `not_initiator` (the peer dialled),
  /// `peer_disable_migration`, `not_supported` (it goes by an adapter), `timeout` and `unreachable` (the new path does
  /// not work: the connection stays on the old one), `io_error` (no socket there), `invalid_argument`, `stopped`.
  [[nodiscard]] Result<void> migrate_peer(const NodeName& node, const MigrateOptions& options = {});
  /// The same without blocking; the callback runs once, on the node's network thread, and must not block.
  void migrate_peer(const NodeName& node, const MigrateOptions& options, std::function<void(Result<void>)> done);
  /// Blocks for the network thread. Errors: `not_connected`, `stopped`.
  [[nodiscard]] Result<PathStatistics> path_stats(const NodeName& node) const;
  void path_stats(const NodeName& node, std::function<void(Result<PathStatistics>)> done) const;
  /// From now on, on the node's network thread; the callback must not block.
  Subscription monitor_paths(std::function<void(const PathEvent&)> callback);
  /// How the peer is dialled from the next dial on, in place of what was set before; `{}`: as discovery says.
  /// `disconnect` first, if the connection of now is to end. Error: `invalid_argument` (the address).
  [[nodiscard]] Result<void> set_connect_options(const NodeName& node, ConnectOptions options);

  // The cluster. A hidden node is no member: `join` and `broadcast` say so with `invalid_config`, its views are empty
  // and its subscribers hear nothing. docs/membership.md explains.

  /// Joins the cluster of which the node is a member. Does not wait: `joined` and the events tell what comes of it; it
  /// is tried once, unlike the contacts of the configuration. Ends an earlier `leave`. Errors: `cannot_join_self`,
  /// `overloaded`, `stopped`.
  [[nodiscard]] Result<void> join(const NodeName& contact);
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
  /// it once, or not at all: a node that no path leads to for ten seconds misses it, also sooner when more than 500
  /// broadcasts come meanwhile, and among Erlang nodes whenever neighbours change. Does not wait. Errors:
  /// `limit_exceeded` (see `GossipConfig`), `overloaded` (too much waits here: try again later), `stopped`.
  [[nodiscard]] Result<void> broadcast(Term tag, Term payload);
  /// Broadcasts with this tag, on the cluster thread; the callback must not block.
  Subscription subscribe_broadcast(Term tag, std::function<void(const Term& payload)> callback);
  /// From now on the process gets `{plumtree_broadcast, {Tag, Payload}}` for every tag, until it ends.
  void subscribe_broadcast(const Pid& process);
  void unsubscribe_broadcast(const Pid& process);

  /// Who is alive, this node included, in the order of their names: nodes whose lease counts, neighbours or not. Reads
  /// a copy.
  [[nodiscard]] std::vector<NodeName> members() const;

  /// For tests: treats these nodes as if they did not exist, in place of those that were blocked before. Connections
  /// stay up.
  void block_peers(const std::vector<NodeName>& nodes);
  void unblock_peers();

  /// What the overlay did since the start, and the sizes of the views. Reads a copy; all 0 on a hidden node.
  [[nodiscard]] OverlayStatistics overlay_statistics() const;

  // Services: processes that are found by name from every node. docs/services.md explains. On a hidden node registering
  // fails with `invalid_config`, and nothing is found.

  /// Registers a process, here or elsewhere, until it ends. When it returns `lookup` finds it here; others know within
  /// the time of a broadcast, and with `options.wait_for_neighbours` when it returns. `meta` is a map. Blocks for the
  /// cluster thread. Errors: `already_registered` (by this node, whatever the process), `invalid_argument`,
  /// `limit_exceeded`, `timeout` (it is registered; not all neighbours have said that they know), `overloaded`,
  /// `stopped`.
  [[nodiscard]] Result<void> register_service(const ServiceName& name, const Pid& process, Term meta = Term::map({}),
                                              RegisterOptions options = {});
  /// The same without blocking; the callback runs once, on the cluster thread, and must not block.
  void register_service(const ServiceName& name, const Pid& process, Term meta, RegisterOptions options,
                        std::function<void(Result<void>)> done);
  /// This node's registration, whoever made it. False: there was none, or it could not be taken back and stays: too
  /// much waits here (`limits.cluster_queue_bytes_max`), or the caller is a callback of the cluster thread or of a
  /// network thread, which cannot wait; so also on a hidden node, and while the node stops. Blocks for the cluster
  /// thread.
  bool unregister_service(const ServiceName& name);
  /// The same without blocking; the callback runs once, on the cluster thread, and must not block. False: there was
  /// none. Errors: `overloaded`, `invalid_config` (a hidden node), `stopped`.
  void unregister_service(const ServiceName& name, std::function<void(Result<bool>)> done);
  /// All that are known, this node's own first, then by node name. Reads a copy. Error: `not_found`.
  [[nodiscard]] Result<std::vector<ServiceEntry>> lookup(const ServiceName& name) const;
  /// This node's own. Reads a copy. Error: `not_found`.
  [[nodiscard]] Result<Pid> lookup_local(const ServiceName& name) const;
  /// In Erlang's order. Reads a copy.
  [[nodiscard]] std::vector<ServiceName> list_services() const;
  /// One of them. A name that is known costs a read of a copy. Else the neighbours are asked, and their neighbours: C++
  /// nodes know what this one knows, Erlang nodes may know more. Blocks for that, at most `options.ask_for`; not from
  /// inside of a process or of a callback, where only what is known here is found. With `options.accept` nobody is
  /// asked either: answers of others have no metadata. Processes that are known to have
  /// ended are left out: of other nodes' processes, those that were handed out in the last ten minutes. Errors:
  /// `not_found`, `overloaded`, `stopped`.
  [[nodiscard]] Result<ServiceLocation> whereis_service(const ServiceName& name,
                                                        const WhereisOptions& options = {}) const;
  /// The same without blocking, everywhere; the callback runs once, here or on the cluster thread, and must not block.
  void whereis_service(const ServiceName& name, const WhereisOptions& options,
                       std::function<void(Result<ServiceLocation>)> done) const;
  /// Waits until one is known here, and asks no other node: `options.ask_for` counts for nothing. Blocks. Errors:
  /// `timeout`, `limit_exceeded` (100,000 calls wait for services), `overloaded`, `stopped`.
  [[nodiscard]] Result<ServiceLocation> resolve(const ServiceName& name, Duration limit = std::chrono::seconds(5),
                                                WhereisOptions options = {});
  void resolve(const ServiceName& name, Duration limit, WhereisOptions options,
               std::function<void(Result<ServiceLocation>)> done);
  /// On the cluster thread, in order; the callback must not block. What it is told of can be looked up.
  Subscription subscribe_services(std::function<void(const ServiceEvent&)> callback);
  /// From now on the process gets `{barrel_p2p_service_event, {service_registered, Name, Node} | {service_unregistered,
  /// Name, Node} | {service_down, Name, Node, Reason}}`; of a node that is lost the reason is `noconnection`.
  void subscribe_services(const Pid& process);
  void unsubscribe_services(const Pid& process);
  /// Checks what is known against itself. Blocks for the cluster thread, in time that grows with the registry.
  [[nodiscard]] Result<RegistryAudit> verify_registry();
  /// Blocks for the cluster thread. Errors: `overloaded`, `invalid_config` (a hidden node), `stopped`.
  [[nodiscard]] Result<ServiceStatistics> service_statistics();

  /// A process of this node that stands for a service of another one: it hands on calls, casts and messages, and ends
  /// with the service. Made if need be; one a name. Blocks as `whereis_service`. Errors: `not_found` (also when the
  /// service is of this node: its process needs nobody to stand for it), `limit_exceeded`, `stopped`.
  [[nodiscard]] Result<Pid> get_proxy(const ServiceName& name);
  /// Ends the proxy with the reason `shutdown`. False: there is none.
  bool stop_proxy(const ServiceName& name);
  /// Has an Erlang neighbour register the service's process, or its proxy here, in Erlang's `global`, of which this
  /// node is no member; it is gone from there when the process ends. Blocks. Errors: `not_found`, `already_registered`
  /// (`global` has the name), `not_connected` (no Erlang node is a neighbour), `timeout` (a process of this node may
  /// still be registered later), `remote_exit`, `limit_exceeded`, `stopped`.
  [[nodiscard]] Result<Pid> global_register(const ServiceName& name, Duration limit = std::chrono::seconds(5));
  /// A process that does nothing but bear the name. Blocks. Errors: as `register_service`.
  [[nodiscard]] Result<Pid> start_service_holder(const ServiceName& name);
  /// Does not wait for its end.
  void stop_service_holder(const Pid& holder);

  // What Erlang's `{via, barrel_p2p, Name}` calls. A name is taken on this node only; others may have it as well.

  /// `register_service` without metadata. False: it could not be registered, for whichever of the errors of that.
  bool register_name(const ServiceName& name, const Pid& process);
  void unregister_name(const ServiceName& name);
  /// As `whereis_service`.
  [[nodiscard]] std::optional<Pid> whereis_name(const ServiceName& name) const;
  /// `send/2` of the Erlang library: to whom it was sent. Errors: as `whereis_service` and `send`.
  [[nodiscard]] Result<Pid> send_name(const ServiceName& name, Term message);

  // Placement: keys fall into partitions, and each of these belongs to one member, computed alike everywhere.
  // docs/placement.md explains what each function promises. All of these read a copy from any thread, but where it says
  // otherwise. A hidden node sees no members and owns nothing.

  /// `ring_size`: the number of partitions.
  [[nodiscard]] std::uint32_t ring_size() const noexcept;
  /// Of the key, which may be any term.
  [[nodiscard]] std::uint32_t partition(const Term& key) const;
  /// The owner by the members that this node knows. Nothing: there are none (it left).
  [[nodiscard]] std::optional<NodeName> place(const Term& key) const;
  /// Nothing also for a partition that does not exist.
  [[nodiscard]] std::optional<NodeName> partition_owner(std::uint32_t partition) const;
  /// The owner and those that would be next, the best one first: `count`, or all members if there are fewer.
  [[nodiscard]] std::vector<NodeName> owners(const Term& key, std::size_t count) const;
  /// This node owns the key, at this moment: never when it was paused for longer than its lease (`member_ttl_ms`), for
  /// others may have taken over, nor for a heartbeat after that; nor below `placement_min_members`, whatever `place`
  /// says. It can be over before the caller has read it: guard what must not be done twice with a fence.
  [[nodiscard]] bool is_owner(const Term& key) const;
  [[nodiscard]] bool owns_partition(std::uint32_t partition) const;
  /// Ascending.
  [[nodiscard]] std::vector<std::uint32_t> owned_partitions() const;
  /// What would move if these were the members: before a node is added, or taken away.
  [[nodiscard]] std::vector<PartitionMove> placement_diff(const std::vector<NodeName>& members) const;
  /// Blocks for the cluster thread. Errors: `overloaded`, `stopped`.
  [[nodiscard]] Result<PlacementIssues> placement_issues() const;
  /// First an `acquired` for each partition of this node, then what happens; on the cluster thread, in order: of one
  /// change of the members first what is released. The callback must not block. `owns_partition` is as new as the
  /// event, or newer.
  Subscription subscribe_shard(std::function<void(const ShardEvent&)> callback);
  /// From now on the process, here or elsewhere, gets `{barrel_p2p_shard, {acquired | released, Partition}}`, until it
  /// ends. Ask for `owned_partitions` afterwards to know what was there.
  void subscribe_shard(const Pid& process);
  void unsubscribe_shard(const Pid& process);

  // Leaders: of the processes that campaign for a name, one leads. docs/leaders.md explains. Names are terms of any
  // kind; Erlang programs use atoms, and `Atom("job")` is another name than `"job"`. On a hidden node campaigning fails
  // with `invalid_config`, and nobody leads.

  /// The process, here or elsewhere, campaigns for the name until it resigns or ends. What comes of it at once is
  /// returned; later it gets `{barrel_p2p_leader, Name, {elected, Fence} | revoked}`. Several processes of a node may
  /// campaign: the first one stands, the others follow it. Blocks for the cluster thread. Errors: `already_candidate`
  /// (the process campaigns for it), `invalid_argument`, `already_registered` (Erlang nodes take the name for another
  /// one that is in use: 1 and 1.0), `limit_exceeded`, `overloaded`, `stopped`.
  [[nodiscard]] Result<Role> lead(const Term& name, const Pid& process, LeadOptions options = {});
  /// The same without blocking; the callback runs once, on the cluster thread, and must not block.
  void lead(const Term& name, const Pid& process, LeadOptions options, std::function<void(Result<Role>)> done);
  /// The callback face. The callbacks run one at a time, in order, on a thread of this node's processes, which they may
  /// hold up for a moment; what they throw ends the campaign. Blocks and fails as above.
  [[nodiscard]] Result<Candidacy> lead(const Term& name, LeadOptions options, OnElected on_elected,
                                       OnRevoked on_revoked);
  /// Ends the campaign of the process, or those of all processes of this node, without a word to them. False: there was
  /// none, or it goes on because the caller is a callback of the cluster thread or of a network thread, which cannot
  /// wait; so also on a hidden node, and while the node stops. Blocks for the cluster thread.
  bool resign(const Term& name, const std::optional<Pid>& process = std::nullopt);
  /// The same without blocking; the callback runs once, on the cluster thread, and must not block. False: there was
  /// none. Errors: `invalid_config` (a hidden node), `stopped`.
  void resign(const Term& name, const std::optional<Pid>& process, std::function<void(Result<bool>)> done);
  /// Changes the priority of a campaign. Blocks for the cluster thread. Errors: `not_found` (the process does not
  /// campaign for it), `invalid_argument`, `overloaded`, `stopped`.
  [[nodiscard]] Result<void> set_priority(const Term& name, const Pid& process, const Term& priority);
  /// Who leads, as far as this node knows; it need not campaign itself. Reads a copy. Error: `no_leader`.
  [[nodiscard]] Result<LeaderLocation> leader(const Term& name) const;
  /// Whether a process of this node leads. Reads a copy and the clock: right also at the moment after a pause of this
  /// program, before anybody could be told. May be false again by the time that one acts on it: that is what fences are
  /// for.
  [[nodiscard]] bool is_leader(const Term& name) const;
  /// The token of the leader, if it is of this node. As above. Error: `not_leader`.
  [[nodiscard]] Result<Fence> fence(const Term& name) const;

  // Replicated maps. docs/maps.md explains. Keys and values are terms of any kind; all functions that change a map
  // block for the cluster thread, for the disk if the map is persistent, and a second at most for room in full queues
  // of neighbours. Errors of these: `no_such_map`, `overloaded`, `stopped`, `invalid_config` (a hidden node),
  // `io_error` (the disk did not take it; other nodes may have it).

  /// Opens a map on this node; its content comes from the store, and from other nodes that have opened it. Opening it
  /// again does nothing but put a validator in (`MapOptions`). Errors: `already_registered` (it is open without what
  /// the options ask for; the text says what differs), `invalid_argument`, `limit_exceeded`, `corrupt`, and as above.
  [[nodiscard]] Result<void> new_map(const Atom& map, MapOptions options = {});
  /// Closes it on this node and forgets its content, on disk too; other nodes keep theirs.
  [[nodiscard]] Result<void> delete_map(const Atom& map);
  /// Errors: `invalid_value`, `limit_exceeded`, `already_registered` (a key that Erlang nodes take for another one that
  /// is present: 1 and 1.0).
  [[nodiscard]] Result<void> map_put(const Atom& map, const Term& key, const Term& value);
  /// The same without blocking; the callback runs once, on the cluster thread, and must not block.
  void map_put(const Atom& map, const Term& key, const Term& value, std::function<void(Result<void>)> done);
  /// All of them or none, with one fsync.
  [[nodiscard]] Result<void> map_put_many(const Atom& map, std::vector<TermPair> pairs);
  void map_put_many(const Atom& map, std::vector<TermPair> pairs, std::function<void(Result<void>)> done);
  /// Of unknown keys too: another node may know them. Errors: `limit_exceeded`, `already_registered` (an unknown key
  /// that Erlang nodes take for a known one: 1 and 1.0).
  [[nodiscard]] Result<void> map_remove(const Atom& map, const Term& key);
  void map_remove(const Atom& map, const Term& key, std::function<void(Result<void>)> done);
  /// Reads a copy: takes no time to speak of, from any thread. Errors: `not_found`, `no_such_map`.
  [[nodiscard]] Result<Term> map_get(const Atom& map, const Term& key) const;
  /// Error also: `type_mismatch`.
  template <class T>
  [[nodiscard]] Result<T> map_get(const Atom& map, const Term& key) const {
    const auto value = map_get(map, key);
    if (!value) return std::unexpected(value.error());
    return value->template to<T>();
  }
  /// In no order; what changes meanwhile may be in it or not. Empty for a map that is not open.
  [[nodiscard]] std::vector<Term> map_keys(const Atom& map) const;
  [[nodiscard]] std::vector<TermPair> map_to_list(const Atom& map) const;
  [[nodiscard]] std::size_t map_size(const Atom& map) const;
  /// Open maps, in the order of their names.
  [[nodiscard]] std::vector<Atom> maps() const;
  /// Blocks for the cluster thread. Errors: `no_such_map`, `overloaded`, `invalid_config` (a hidden node), `stopped`.
  [[nodiscard]] Result<MapStatistics> map_statistics(const Atom& map);
  /// On the cluster thread, in order; the callback must not block. What it is told of can be read. Error:
  /// `no_such_map`.
  [[nodiscard]] Result<Subscription> subscribe_map(const Atom& map, std::function<void(const MapEvent&)> callback);
  /// From now on the process gets `{barrel_p2p_map, Map, {put, Key, Value} | {remove, Key}}`. Error: `no_such_map`.
  [[nodiscard]] Result<void> subscribe_map(const Atom& map, const Pid& process);
  [[nodiscard]] Result<void> unsubscribe_map(const Atom& map, const Pid& process);

  // Reminders: kept by all nodes, told by the one that owns the key (`is_owner`). docs/reminders.md explains, and says
  // what holds on both sides of a split. Keys and payloads are terms of any kind. Functions that return a result block
  // for the cluster thread; errors of these: `overloaded`, `stopped`, `invalid_config` (a hidden node).

  /// Sets the reminder of the key, in place of an earlier one. When it returns it is on the disk of this node, and
  /// under way to the others. Never told before its time by the clock of its owner; a time that is over is told at
  /// once. Errors: `limit_exceeded` (too large, or too many), `already_registered` (a key that Erlang nodes take for
  /// another one that is present: 1 and 1.0), `io_error` (the disk did not take it; it counts all the same until all
  /// nodes stop).
  [[nodiscard]] Result<void> remind(const Term& key, std::chrono::system_clock::time_point due, const Term& payload);
  /// The same without blocking; the callback runs once, on the cluster thread, and must not block.
  void remind(const Term& key, std::chrono::system_clock::time_point due, const Term& payload,
              std::function<void(Result<void>)> done);
  /// So long after this node's cluster thread has come to it.
  [[nodiscard]] Result<void> remind_after(const Term& key, Duration delay, const Term& payload);
  void remind_after(const Term& key, Duration delay, const Term& payload, std::function<void(Result<void>)> done);
  /// Of unknown keys too: another node may know them. One that is being told cannot be called back. Errors:
  /// `limit_exceeded`, `already_registered` (an unknown key that Erlang nodes take for a known one), `io_error`.
  [[nodiscard]] Result<void> cancel_reminder(const Term& key);
  void cancel_reminder(const Term& key, std::function<void(Result<void>)> done);
  /// What this node knows of it. Error: `not_found`.
  [[nodiscard]] Result<Reminder> find_reminder(const Term& key);
  [[nodiscard]] Result<ReminderStatistics> reminder_statistics();
  /// Reminders of keys of this node, on the cluster thread; the callback must not block. What it was told counts as
  /// done when it returns. With `next` reminders are set anew as they fire; of several answers the earliest counts.
  /// Such a subscription belongs on every node that may own the keys.
  Subscription subscribe_reminders(std::function<void(const ReminderEvent&)> callback, NextReminder next = {});
  /// From now on the process, here or elsewhere, gets `{barrel_p2p_reminder, Key, Payload, Fence}` of keys of this
  /// node, until it ends. What is in its mailbox counts as done.
  void subscribe_reminders(const Pid& process);
  void unsubscribe_reminders(const Pid& process);

  // Streams: bytes in order, both ways, with flow control. docs/streams.md explains. Tags have 1 to 255 bytes of any
  // kind; those that begin with `barrel_p2p:` are the library's.

  /// Opens a stream to whoever takes the tag there, connecting if need be. Does not wait for the acceptor: that nobody
  /// takes the tag is told by the first read or write that comes after the word of it, with `connection_refused`. From
  /// an Erlang node that word is waited for, some 60 ms. Blocks. Errors: those of `connect`, `invalid_argument` (the
  /// tag), `overloaded` (the peer allows no more streams now), `connection_refused`, `no_connection`.
  [[nodiscard]] Result<Stream> open_stream(const NodeName& node, const std::string& tag,
                                           Duration limit = std::chrono::seconds(10));
  /// The same without blocking; the callback runs once, on the node's network thread, and must not block.
  void open_stream(const NodeName& node, std::string tag, std::function<void(Result<Stream>)> done);
  /// The same for a process.
  [[nodiscard]] Task<Result<Stream>> open_stream(Process& self, NodeName node, std::string tag);
  /// Takes the streams with this tag of all nodes, from now on and as long as the acceptor lives, in a queue. Streams
  /// that come before are refused. Errors: `invalid_argument`, `already_registered` (one acceptor a tag), `stopped`.
  [[nodiscard]] Result<StreamAcceptor> accept_streams(const std::string& tag, AcceptOptions options = {});
  /// The same with a function that is given each stream.
  [[nodiscard]] Result<StreamAcceptor> accept_streams(const std::string& tag, StreamCallback on_stream);
  /// The same with a process for each stream.
  [[nodiscard]] Result<StreamAcceptor> accept_streams(const std::string& tag, StreamProcess on_stream);

  /// Takes part in a replicated type of the program's own, as long as the handle lives; see replicated.hpp. The name is
  /// the same on all nodes, and nobody else's. Blocks for the cluster thread. Errors: `already_registered`,
  /// `invalid_argument` (names that begin with barrel_p2p_ are the library's), `limit_exceeded`, `invalid_config` (a
  /// hidden node), `overloaded`, `stopped`.
  [[nodiscard]] Result<Replication> replicate(const Atom& name, std::shared_ptr<ReplicatedType> type);

  // Processes.

  /// Starts a process of this node, which may run before this returns, and ends with the function, by `exit` or with
  /// the node. Does not wait.
  Pid spawn(ProcessFunction function);
  /// Does not wait. Errors: `overloaded` (more is queued for that node than `limits.send_queue_bytes_max`; try again
  /// later), `no_connection` (it could not be reached a moment ago), `no_process` (a name of this node that nobody
  /// bears). Success does not mean that the message arrives.
  [[nodiscard]] Result<void> send(const Destination& to, Term message);
  /// `send` of one message to each of these processes, here or elsewhere, in this order; who is named twice gets it
  /// twice. Does not wait, and one that it cannot be sent to keeps it from no other. Returns those for which `send`
  /// failed (`overloaded`, `no_connection`), to be tried again later; empty: it is under way to all. As with `send`
  /// nobody is told of a process that has ended: monitor it.
  std::vector<Pid> multicast(const std::vector<Pid>& to, const Term& message);
  /// Sends an exit signal to a process, here or elsewhere, as `Process::exit`: `kill` cannot be trapped, and `normal`
  /// ends nobody. Does not wait.
  void exit(const Pid& process, const Term& reason);
  /// A process of this node, which has one name at most; its end takes the name away. Errors: `already_registered`,
  /// `no_process`, `invalid_argument`.
  [[nodiscard]] Result<void> register_process(const Atom& name, const Pid& process);
  /// The process lives on. False: nobody bears the name.
  bool unregister_process(const Atom& name);
  [[nodiscard]] std::optional<Pid> whereis(const Atom& name) const;
  /// Of processes of this node only: false for every one of another node, whether or not it lives. For those use
  /// `Process::monitor`.
  [[nodiscard]] bool is_alive(const Pid& process) const;

  /// `gen_server:call`. Blocks. Errors: as `Process::call`; `invalid_argument` (an alias is no server);
  /// `limit_exceeded` (the request is nested too deeply); `stopped`.
  [[nodiscard]] Result<Term> call(const Destination& server, Term request, Duration limit = std::chrono::seconds(5));
  /// `gen_server:cast`. Errors: as `send`.
  [[nodiscard]] Result<void> cast(const Destination& server, Term request);
  /// `erpc:call`. Blocks. Errors: as `Process::call_function`, and `stopped`. Arguments that are nested too deeply are
  /// refused with `remote_exit`.
  [[nodiscard]] Result<Term> call_function(const NodeName& node, const Atom& module, const Atom& function,
                                           std::vector<Term> arguments, Duration limit = std::chrono::seconds(5));
  /// The same, with all that can come of it. Blocks; where that must not be it is `refused`, with the atom
  /// `invalid_argument`; arguments that are nested too deeply are `refused` with `limit_exceeded`.
  CallOutcome run_function(const NodeName& node, RemoteFunction what, Duration limit = std::chrono::seconds(5));
  /// Lets other nodes call a function; nothing else can be called from outside. Replaces an earlier one.
  void export_function(const Atom& module, const Atom& name, RemoteCallable function);
  void export_function(const Atom& module, const Atom& name, PlainCallable function);

  // Keys. docs/keys.md explains, and says how an operator does all of this with `barrel_p2p keys` and `cert`. Functions
  // that return a result block for the disk, and what they did is on the disk when they return; the error
  // `invalid_config` says that authentication is off.

  [[nodiscard]] std::string public_key() const;   ///< 64 hex digits; empty when authentication is off.
  [[nodiscard]] std::string fingerprint() const;  ///< SHA-256 of the public key, 64 hex digits.
  [[nodiscard]] std::vector<TrustedKey> keys() const;
  /// Pins a key (64 hex digits) for a name, in place of any other. Errors: `invalid_argument`, `io_error`.
  [[nodiscard]] Result<void> pin(const NodeName& node, const std::string& key);
  /// Accepts this key (64 hex digits) for the name too, and pins it in place of the earlier one when the node proves
  /// it. Errors: `not_found` (no key is pinned for the name), `invalid_argument`, `io_error`.
  [[nodiscard]] Result<void> pin_next(const NodeName& node, const std::string& key);
  /// Forgets the keys of a name. A connection that is up stays up. Errors: `not_found`, `io_error`.
  [[nodiscard]] Result<void> unpin(const NodeName& node);
  /// From now on, for all that are not let in yet; `reload` sets that of its configuration. Does nothing while
  /// authentication is off.
  void set_trust_mode(TrustMode mode);
  /// The one that counts now; that of the configuration while authentication is off.
  [[nodiscard]] TrustMode trust_mode() const;
  /// From now on nobody gets in with this key (64 hex digits), over restarts too, and its connections are closed when
  /// it returns. The name that it is pinned for stays taken. Waits for the network thread. Errors: `invalid_argument`
  /// (also for the key of this node), `limit_exceeded`, `io_error`.
  [[nodiscard]] Result<void> revoke(const std::string& key);
  /// Takes that back. Errors: `not_found`, `invalid_argument`, `io_error`.
  [[nodiscard]] Result<void> unrevoke(const std::string& key);
  [[nodiscard]] std::vector<std::string> revoked_keys() const;  ///< 64 hex digits each.
  /// The public key (64 hex digits) that `rotate_identity` will bring; made if need be. Errors: those of key files.
  [[nodiscard]] Result<std::string> prepare_identity();
  /// A new identity, the prepared one if there is one; connections that are up go on, handshakes from now on use it.
  /// Peers refuse it (`key_mismatch`) until they are told of it: with `pin_next` before, or `pin` or `unpin`
  /// afterwards. Errors: those of key files.
  [[nodiscard]] Result<RotatedIdentity> rotate_identity();
  /// A new TLS key and certificate for connections from now on; those that are up go on, and peers need not be told.
  /// With `cert_file`, or a certificate in `quic_cert_dir` that no node made, the operator replaces the files: with the
  /// former they are read again, with the latter the error is `permission_denied`. Also `corrupt`, `io_error`.
  [[nodiscard]] Result<RotatedCertificate> rotate_certificate();
  /// Reads all key files now, as the node does by itself every `auth_key_watch_ms`. Errors: the first of what cannot be
  /// used, which leaves that part as it was. Waits for the network thread.
  [[nodiscard]] Result<void> reload_keys();

  // Operation. docs/operations.md explains.

  /// Waits for the network thread, unless it is called there.
  [[nodiscard]] NodeStatistics statistics() const;
  /// TCP, of the HTTP endpoint; 0: there is none (`AdminConfig`).
  [[nodiscard]] std::uint16_t admin_port() const noexcept;
  /// Blocks, at most a second, for the network thread and the cluster thread, whose silence it is about.
  [[nodiscard]] Health health() const;
  /// What was decided lately about a node, or about all of them: the last 32 of each, and the last 1000 in all, the
  /// oldest first.
  [[nodiscard]] std::vector<FlightEntry> flight_record(const std::optional<NodeName>& node = std::nullopt) const;
  /// From now on it is not ready, for those who ask for its health: before `stop`, so that nobody gives it work.
  void set_draining() noexcept;
  /// Takes over what can change while the node runs: `log_level`, `auth_trust_mode`, and `contact_nodes`: new ones are
  /// tried as those of the start are, old ones that are not among them no more. Returns the keys of others that differ:
  /// they need a restart. Errors: `invalid_config`, and nothing changed.
  [[nodiscard]] Result<std::vector<std::string>> reload(const NodeConfig& config);

 private:
  class Parts;
  explicit Node(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

}  // namespace v0
}  // namespace barrel_p2p
