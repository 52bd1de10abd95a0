// Services: processes that are registered under a name and found from every node of the cluster. The functions are
// those of `Node`; docs/services.md explains the whole.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/term.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {

/// The name of a service: an atom, as C++ programs write it, or a binary, which Erlang programs may use as well. Text
/// converts to an atom. A value.
class BARREL_P2P_API ServiceName {
 public:
  // NOLINTBEGIN(google-explicit-constructor): names are written as literals all over user code
  ServiceName(Atom atom) : term_(std::move(atom)) {}
  ServiceName(std::string_view atom) : ServiceName(Atom(atom)) {}
  ServiceName(const std::string& atom) : ServiceName(Atom(atom)) {}
  ServiceName(const char* atom) : ServiceName(Atom(atom)) {}
  // NOLINTEND(google-explicit-constructor)
  static ServiceName binary(std::string_view bytes);
  /// Error: `invalid_argument`: neither an atom nor a binary.
  [[nodiscard]] static Result<ServiceName> from(const Term& term);

  [[nodiscard]] const Term& term() const noexcept { return term_; }
  /// The characters of the atom or the bytes of the binary. Valid as long as this name.
  [[nodiscard]] std::string_view text() const noexcept;

  friend bool operator==(const ServiceName& left, const ServiceName& right) noexcept {
    return left.term_ == right.term_;
  }

 private:
  explicit ServiceName(Term term) : term_(std::move(term)) {}
  Term term_;
};

/// One registration.
struct ServiceEntry {
  ServiceName name;
  Pid pid;        ///< May be a process of another node than the one that registered it.
  NodeName node;  ///< Where it was registered.
  Term meta;      ///< A map, as it was given.
};

/// Where a service is.
struct ServiceLocation {
  Pid pid;
  NodeName node;       ///< Where it was registered.
  bool local = false;  ///< By this node.
};

/// Which one, when several nodes have registered a name.
enum class ServiceChoice : std::uint8_t {
  local_first,  ///< This node's own registration, else the one of the smallest node name: what an Erlang node takes.
  first,        ///< The one of the smallest node name: the same answer on every node that knows the same entries.
  random,
  round_robin,
  by_key,  ///< The one that `WhereisOptions::key` falls to by rendezvous hashing: the same on every node, and few keys
           ///< move when an instance comes or goes.
};

struct WhereisOptions {
  ServiceChoice choice = ServiceChoice::local_first;
  Term key{};  ///< For `by_key`.
  /// Only entries whose metadata it accepts, and of those that are known here: other nodes are not asked, for they
  /// answer without metadata. Empty: all.
  std::function<bool(const Term& meta)> accept;
  /// A name that is not known here is asked of other nodes for so long: Erlang nodes know more than they tell. 0: it is
  /// not. `Node::resolve` asks nobody.
  std::chrono::milliseconds ask_for{1000};
};

struct RegisterOptions {
  /// Waits until every neighbour has the entry. Erlang neighbours count as soon as it was sent to them.
  bool wait_for_neighbours = false;
  std::chrono::milliseconds limit{5000};  ///< For that.
};

/// What happened to a service, once for each change that can be seen.
struct ServiceEvent {
  enum class Kind : std::uint8_t {
    registered,
    unregistered,
    down,       ///< Its process ended: see `reason`. Seen where it was registered; others see `unregistered`.
    node_lost,  ///< The node that registered it is gone, or was not heard of for longer than its lease.
    node_back,  ///< It was heard of again, and its entries count again.
  };
  Kind kind = Kind::registered;
  ServiceName name;
  NodeName node;  ///< That registered it.
  Term reason{};  ///< Of `down`: the exit reason.
};

/// What the registry did since the start. A value.
struct ServiceStatistics {
  std::uint64_t registrations = 0;  ///< Of this node.
  std::uint64_t removals = 0;       ///< Of this node, by a call or by the end of the process.
  std::uint64_t rejected = 0;       ///< Entries of peers: malformed, in another node's name, or beyond
                                    ///< `limits.services_max` or `limits.services_per_node_max`.
  std::uint64_t ghosts = 0;         ///< Own entries that others had otherwise: removed, or written again.
  std::uint64_t held_back = 0;      ///< Times that a peer was not read for a while, for it sent too much at once.
};

/// What `Node::verify_registry` found.
struct RegistryAudit {
  std::size_t entries = 0;  ///< Visible ones, of all nodes.
  std::size_t hidden = 0;   ///< Of nodes without a lease.
  std::size_t tombstones = 0;
  std::vector<std::string> problems;  ///< A sentence each. Empty: what is known is consistent.
};

}  // namespace v0
}  // namespace barrel_p2p
