#include "node/exports.hpp"

#include <functional>
#include <utility>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

using Arguments = std::vector<Term>;

/// A function of this arity, and of this shape.
process::ExportedFunction function(std::size_t arity, std::function<Result<Term>(const Arguments&)> body) {
  return [arity, body = std::move(body)](Process& /*self*/, Arguments arguments) -> Task<Result<Term>> {
    if (arguments.size() != arity) co_return fail(Errc::undefined_function);
    co_return body(arguments);
  };
}

/// One argument, a pid.
process::ExportedFunction pid_function(std::function<void(const Pid&)> body) {
  return function(1, [body = std::move(body)](const Arguments& arguments) -> Result<Term> {
    const auto* pid = arguments[0].as_pid();
    if (pid == nullptr) return fail(Errc::invalid_argument, "not a pid");
    body(*pid);
    return Term(Atom("ok"));
  });
}

/// As the Erlang library answers.
Term answer(const Result<void>& result) {
  if (result) return Atom("ok");
  return Term::tuple({Atom("error"), Atom(name(result.error().code()))});
}

Term list(const std::vector<Atom>& nodes) {
  std::vector<Term> terms(nodes.begin(), nodes.end());
  return Term::list(std::move(terms));
}

}  // namespace

Result<void> join(const process::System& system, OverlayRunner& overlay, const Atom& contact) {
  if (contact == system.config().node) return fail(Errc::cannot_join_self, "join another node of the cluster");
  return overlay.join(contact);
}

void export_overlay(process::System& system, OverlayRunner& overlay) {
  const Atom facade("barrel_p2p");
  system.export_function(facade, "join", function(1, [&](const Arguments& arguments) -> Result<Term> {
                           const auto contact = arguments[0].as_atom();
                           if (!contact || !NodeName::parse(contact->text()))
                             return fail(Errc::invalid_argument, "not the name of a node");
                           return answer(join(system, overlay, *contact));
                         }));
  system.export_function(facade, "leave", function(0, [&](const Arguments& /*none*/) -> Result<Term> {
                           overlay.leave();
                           return Term(Atom("ok"));
                         }));
  system.export_function(facade, "active_view", function(0, [&](const Arguments& /*none*/) -> Result<Term> {
                           return list(overlay.views()->active);
                         }));
  system.export_function(facade, "passive_view", function(0, [&](const Arguments& /*none*/) -> Result<Term> {
                           return list(overlay.views()->passive);
                         }));
  auto& events = overlay.event_pids();
  system.export_function(facade, "subscribe", pid_function([&](const Pid& pid) { events.add(pid); }));
  system.export_function(facade, "unsubscribe", pid_function([&](const Pid& pid) { events.remove(pid); }));

  const Atom plumtree("barrel_p2p_plumtree");
  auto& broadcasts = overlay.broadcast_pids();
  system.export_function(plumtree, "broadcast", function(2, [&](const Arguments& arguments) -> Result<Term> {
                           return answer(overlay.broadcast(arguments[0], arguments[1]));
                         }));
  system.export_function(plumtree, "subscribe", pid_function([&](const Pid& pid) { broadcasts.add(pid); }));
  system.export_function(plumtree, "unsubscribe", pid_function([&](const Pid& pid) { broadcasts.remove(pid); }));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
