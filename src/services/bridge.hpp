// Services for those that do not speak to the registry themselves: the names of `{via, barrel_p2p, Name}`, proxies,
// Erlang's `global`, and processes that only hold a name.
//
// Names are those of the registry: they look unique in the cluster but are not, for `register_name` asks only this
// node, and two nodes may have the same name at the same time.
//
// This node is no member of Erlang's `global`, which connects all nodes with each other and lets them wait without a
// bound. `global_register` has an Erlang neighbour do it, for `global` takes a process of any node. Which nodes see the
// name then is up to that node's `global`: where it was started with `connect_all false`, that node alone. `global`
// monitors the process on its own and forgets the name when it ends, so there is nothing to take back; a process of
// this node that is forgotten so may have been replaced meanwhile without harm.
//
// The functions run on a process and wait there; nothing here blocks a thread. Thread safe. Source: protocol document
// 05, sections 3.1, 6, 7 and 11.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/process.hpp>
#include <barrel_p2p/services.hpp>
#include <functional>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "process/system.hpp"
#include "services/proxy.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// The registry, as processes use it.
struct RegistryCalls {
  /// Errors: those of `Registry::add`.
  std::function<Task<Result<void>>(Process& self, ServiceName name, Pid pid)> add;
  std::function<Task<>(Process& self, ServiceName name)> remove;
  /// This node's own registration. Any thread; must not block.
  std::function<std::optional<Pid>(const Term& name)> lookup_local;
  /// Asks other nodes, too. Errors: `not_found`, `timeout`, `overloaded`.
  std::function<Task<Result<ServiceLocation>>(Process& self, ServiceName name)> whereis;
  /// Erlang nodes that are neighbours. Any thread; must not block.
  std::function<std::vector<NodeName>()> erlang_neighbours;
};

class Bridge {
 public:
  /// The system must outlive it, and it must outlive the processes of the system.
  Bridge(process::System& system, RegistryCalls registry, std::size_t proxies_max = Proxies::count_max_default)
      : system_(system), registry_(std::move(registry)), proxies_(system, proxies_max) {}

  /// False: this node has the name already.
  Task<bool> register_name(Process& self, ServiceName name, Pid pid);
  Task<> unregister_name(Process& self, ServiceName name);
  Task<std::optional<Pid>> whereis_name(Process& self, ServiceName name);
  /// To whom it was sent. Error: `not_found`.
  Task<Result<Pid>> send(Process& self, ServiceName name, Term message);

  /// The proxy of a service of another node; made, if there is none. Errors: `not_found`, also when the service is of
  /// this node: then there is nothing to stand for; `limit_exceeded`.
  Task<Result<Pid>> get_proxy(Process& self, ServiceName name);
  [[nodiscard]] Proxies& proxies() noexcept { return proxies_; }

  /// Registers the service's process, or a proxy when it is of another node, in Erlang's `global`. Errors: `not_found`;
  /// `already_registered`: `global` has the name; `not_connected`: no Erlang node is a neighbour; `timeout`: a process
  /// of this node may still be registered later; `remote_exit`; `limit_exceeded`.
  Task<Result<Pid>> global_register(Process& self, ServiceName name, Milliseconds limit = Milliseconds(5000));

  /// A process that holds the name until it is stopped. Errors: those of `RegistryCalls::add`.
  Task<Result<Pid>> start_service_holder(Process& self, ServiceName name);
  /// Does not wait for its end. A process that is no holder gets the message `stop`.
  static Task<> stop_service_holder(Process& self, Pid pid);

 private:
  Task<Result<void>> register_in_global(Process& self, ServiceName name, Pid pid, Milliseconds limit);

  process::System& system_;
  RegistryCalls registry_;
  Proxies proxies_;
};

/// Lets other nodes call `barrel_p2p:register_name/2`, `unregister_name/1`, `whereis_name/1`, `send/2`, `get_proxy/1`,
/// `global_register/1`, `start_service_holder/1`, `stop_service_holder/1`, with the answers of the Erlang library. The
/// bridge must outlive the processes of the system.
void export_bridge(process::System& system, Bridge& bridge);

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
