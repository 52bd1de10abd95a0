// Proxies: processes of this node that stand for services of other nodes.
//
// What a proxy gets it hands on to the service's process as it came: calls with the caller's own return address, so
// that the service answers the caller itself; casts; every other message. It waits for nobody, so any number of calls
// are under way through it, each with the time limit of its caller, and what one caller sends keeps its order. It ends
// with its service, for the same reason, and callers that wait monitor the proxy: a call ends as if it had been made to
// the service. (An Erlang node's proxy calls a registered name at the service's node, one call at a time, and lives
// on.)
//
// Thread safe. Source: protocol document 05, sections 6 and 11.
#pragma once

#include <barrel_p2p/process.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// The proxies of a node by the names of their services.
class Proxies {
 public:
  /// Each has a mailbox, a monitor on another node and, while it lives, keeps the channel to it open.
  static constexpr std::size_t count_max_default = 10'000;

  /// The system must outlive it. Proxies may outlive it: they end with the system, or with their service.
  explicit Proxies(process::System& system, std::size_t count_max = count_max_default);

  /// The living proxy of a name.
  [[nodiscard]] std::optional<Pid> get(const Term& name) const;
  struct Ensured {
    Pid pid;
    bool made = false;  ///< By this call.
  };
  /// A living proxy of the name stays, also if it stands for another process: that one lives, and is as good. Else one
  /// is made for `service`; when that does not exist, it ends at once. Error: `limit_exceeded`.
  Result<Ensured> ensure(const Term& name, const Pid& service);
  /// Ends the proxy with the reason `shutdown`. False: there is none.
  bool stop(const Term& name);
  [[nodiscard]] std::size_t size() const;

 private:
  struct Table;
  process::System& system_;
  std::size_t count_max_;
  std::shared_ptr<Table> table_;
};

/// What `relay` needs to know. Both are called on processes; must not block.
struct RelayConfig {
  std::function<std::vector<Atom>()> neighbours;
  /// This node's own registration of a name.
  std::function<std::optional<Pid>(const Term& name)> lookup_local;
  Milliseconds limit{10'000};      ///< Of a call to the service, and to the next relay. As Erlang nodes.
  Milliseconds dial_limit{2'000};  ///< To find out whether a node that is not connected can be reached.
};

/// Lets other nodes call `barrel_p2p_service_proxy:relay/3` and `relay/4`, with which the proxy of an Erlang node
/// reaches a service on a node that is no neighbour of it. The service is called over a channel of our own, that is
/// made if need be, and another neighbour is asked only if there can be none.
void export_relay(process::System& system, RelayConfig config);

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
