#include "services/bridge.hpp"

#include <chrono>
#include <utility>

#include "base/deadline.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

// Names of `via`.

Task<bool> Bridge::register_name(Process& self, ServiceName name, Pid pid) {
  const Result<void> added = co_await registry_.add(self, std::move(name), std::move(pid));
  co_return added.has_value();
}

Task<> Bridge::unregister_name(Process& self, ServiceName name) { co_await registry_.remove(self, std::move(name)); }

Task<std::optional<Pid>> Bridge::whereis_name(Process& self, ServiceName name) {
  const Result<ServiceLocation> where = co_await registry_.whereis(self, std::move(name));
  co_return where ? std::optional<Pid>(where->pid) : std::nullopt;
}

Task<Result<Pid>> Bridge::send(Process& self, ServiceName name, Term message) {
  const std::optional<Pid> pid = co_await whereis_name(self, name);
  if (!pid) co_return fail(Errc::not_found, "no service " + to_text(name.term()));
  co_await self.send(*pid, std::move(message));
  co_return *pid;
}

// Proxies.

Task<Result<Pid>> Bridge::get_proxy(Process& self, ServiceName name) {
  if (const auto proxy = proxies_.get(name.term())) co_return *proxy;
  const Result<ServiceLocation> where = co_await registry_.whereis(self, name);
  if (!where) co_return std::unexpected(where.error());
  if (where->local) co_return fail(Errc::not_found, "the service is of this node: use its process itself");
  const auto made = proxies_.ensure(name.term(), where->pid);
  if (!made) co_return std::unexpected(made.error());
  co_return made->pid;
}

// Erlang's global.

Task<Result<void>> Bridge::register_in_global(Process& self, ServiceName name, Pid pid, Milliseconds limit) {
  const MonotonicTime end = deadline_after(limit);
  Result<void> result = fail(Errc::not_connected,
                             "global is of Erlang nodes, and this node has no Erlang neighbour: connect one, or use "
                             "whereis_service, which every node of the cluster answers alike");
  for (const auto& node : registry_.erlang_neighbours()) {
    const auto left = std::chrono::duration_cast<Milliseconds>(end - monotonic_now());
    if (left <= Milliseconds(0)) break;
    std::vector<Term> arguments;
    arguments.push_back(name.term());
    arguments.emplace_back(pid);
    RemoteFunction function(Atom("global"), Atom("register_name"), std::move(arguments));
    const CallOutcome outcome = co_await self.run_function(node, std::move(function), left);
    if (outcome.kind == CallOutcome::Kind::returned) {
      if (outcome.value.is_atom("yes")) co_return Result<void>();
      co_return fail(Errc::already_registered, "global on " + node.string() + " has this name");
    }
    result = std::unexpected(outcome.result().error());
    // Only where it surely was not registered another node may be asked.
    if (outcome.kind != CallOutcome::Kind::no_connection && outcome.kind != CallOutcome::Kind::refused) break;
  }
  co_return result;
}

Task<Result<Pid>> Bridge::global_register(Process& self, ServiceName name, Milliseconds limit) {
  const Result<ServiceLocation> where = co_await registry_.whereis(self, name);
  if (!where) co_return std::unexpected(where.error());
  Proxies::Ensured registered{where->pid, false};
  if (!where->local) {
    const auto proxy = proxies_.ensure(name.term(), where->pid);
    if (!proxy) co_return std::unexpected(proxy.error());
    registered = *proxy;
  }
  const Result<void> done = co_await register_in_global(self, name, registered.pid, limit);
  if (done) co_return registered.pid;
  // Should it be registered after all, global finds out that it is gone.
  if (registered.made) proxies_.stop(name.term());
  co_return std::unexpected(done.error());
}

// Holders.

Task<Result<Pid>> Bridge::start_service_holder(Process& self, ServiceName name) {
  const Pid holder = self.spawn([this, name](Process& process) -> Task<> {
    Term message;
    while (!message.is_atom("stop")) message = co_await process.receive();
    // Somebody else may have the name by now.
    if (registry_.lookup_local(name.term()) == process.pid()) co_await registry_.remove(process, name);
  });
  const Result<void> added = co_await registry_.add(self, name, holder);
  if (added) co_return holder;
  system_.exit(holder, Atom("kill"));
  co_return std::unexpected(added.error());
}

Task<> Bridge::stop_service_holder(Process& self, Pid pid) { co_await self.send(pid, Atom("stop")); }

// What other nodes call.

namespace {

using Arguments = std::vector<Term>;
using Body = std::function<Task<Result<Term>>(Process&, ServiceName, Arguments)>;

/// A function of this arity, the first argument of which is the name of a service. `unknown`: the answer about what can
/// be no name.
process::ExportedFunction named(std::size_t arity, Term unknown, Body body) {
  return [arity, unknown = std::move(unknown), body = std::move(body)](Process& self,
                                                                       Arguments arguments) -> Task<Result<Term>> {
    if (arguments.size() != arity) co_return fail(Errc::undefined_function);
    auto name = ServiceName::from(arguments[0]);
    if (!name) co_return unknown;
    Result<Term> result = co_await body(self, std::move(*name), std::move(arguments));
    co_return result;
  };
}

Term error_term(const Error& error) { return Term::tuple_of(Atom("error"), Atom(name(error.code()))); }

Term pid_or_error(const Result<Pid>& result) {
  return result ? Term::tuple_of(Atom("ok"), *result) : error_term(result.error());
}

/// Of a name that no service may have. Source: protocol document 05, section 11, item 10.
Term bad_registration() { return Term::tuple_of(Atom("error"), Atom("badarg")); }

std::unexpected<Error> not_a_pid() { return fail(Errc::invalid_argument, "not a pid"); }

void export_via(process::System& system, Bridge& bridge) {
  const Atom facade("barrel_p2p");
  system.export_function(
      facade, "register_name",
      named(2, Atom("no"), [&](Process& self, ServiceName name, Arguments arguments) -> Task<Result<Term>> {
        const auto* pid = arguments[1].as_pid();
        if (pid == nullptr) co_return not_a_pid();
        const bool added = co_await bridge.register_name(self, std::move(name), *pid);
        co_return Term(Atom(added ? "yes" : "no"));
      }));
  system.export_function(
      facade, "unregister_name",
      named(1, Atom("ok"), [&](Process& self, ServiceName name, Arguments /*arguments*/) -> Task<Result<Term>> {
        co_await bridge.unregister_name(self, std::move(name));
        co_return Term(Atom("ok"));
      }));
  system.export_function(
      facade, "whereis_name",
      named(1, Atom("undefined"), [&](Process& self, ServiceName name, Arguments /*arguments*/) -> Task<Result<Term>> {
        const std::optional<Pid> pid = co_await bridge.whereis_name(self, std::move(name));
        co_return pid ? Term(*pid) : Term(Atom("undefined"));
      }));
  system.export_function(facade, "send", [&](Process& self, Arguments arguments) -> Task<Result<Term>> {
    if (arguments.size() != 2) co_return fail(Errc::undefined_function);
    const auto name = ServiceName::from(arguments[0]);
    if (name) {
      const Result<Pid> to = co_await bridge.send(self, *name, arguments[1]);
      if (to) co_return Term(*to);
    }
    throw ErrorTerm{Term::tuple_of(Atom("badarg"), Term::tuple_of(arguments[0], arguments[1]))};
  });
}

}  // namespace

void export_bridge(process::System& system, Bridge& bridge) {
  export_via(system, bridge);
  const Atom facade("barrel_p2p");
  system.export_function(
      facade, "get_proxy",
      named(1, Atom("not_found"), [&](Process& self, ServiceName name, Arguments /*arguments*/) -> Task<Result<Term>> {
        const Result<Pid> proxy = co_await bridge.get_proxy(self, std::move(name));
        if (!proxy && proxy.error() == Errc::not_found) co_return Term(Atom("not_found"));
        co_return pid_or_error(proxy);
      }));
  system.export_function(facade, "global_register",
                         named(1, error_term(Errc::not_found),
                               [&](Process& self, ServiceName name, Arguments /*arguments*/) -> Task<Result<Term>> {
                                 const Result<Pid> registered = co_await bridge.global_register(self, std::move(name));
                                 co_return pid_or_error(registered);
                               }));
  system.export_function(
      facade, "start_service_holder",
      named(1, bad_registration(), [&](Process& self, ServiceName name, Arguments /*arguments*/) -> Task<Result<Term>> {
        const Result<Pid> holder = co_await bridge.start_service_holder(self, std::move(name));
        if (!holder && holder.error() == Errc::invalid_argument) co_return bad_registration();
        co_return pid_or_error(holder);
      }));
  system.export_function(facade, "stop_service_holder", [&](Process& self, Arguments arguments) -> Task<Result<Term>> {
    if (arguments.size() != 1) co_return fail(Errc::undefined_function);
    const auto* pid = arguments[0].as_pid();
    if (pid == nullptr) co_return not_a_pid();
    co_await Bridge::stop_service_holder(self, *pid);
    co_return Term(Atom("ok"));
  });
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
