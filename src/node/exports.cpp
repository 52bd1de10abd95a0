#include "node/exports.hpp"

#include "node/exported.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

Result<void> join(const process::System& system, OverlayRunner& overlay, const Atom& contact) {
  if (contact == system.config().node) return fail(Errc::cannot_join_self, "join another node of the cluster");
  return overlay.join(contact);
}

void export_overlay(process::System& system, OverlayRunner& overlay) {
  const Atom facade("barrel_p2p");
  system.export_function(facade, "join", exported(1, [&](const Arguments& arguments) -> Result<Term> {
                           const auto contact = arguments[0].as_atom();
                           if (!contact || !NodeName::parse(contact->text()))
                             return fail(Errc::invalid_argument, "not the name of a node");
                           return answer_term(join(system, overlay, *contact));
                         }));
  system.export_function(facade, "leave", exported(0, [&](const Arguments& /*none*/) -> Result<Term> {
                           overlay.leave();
                           return Term(Atom("ok"));
                         }));
  system.export_function(facade, "active_view", exported(0, [&](const Arguments& /*none*/) -> Result<Term> {
                           return list_term(overlay.views()->active);
                         }));
  system.export_function(facade, "passive_view", exported(0, [&](const Arguments& /*none*/) -> Result<Term> {
                           return list_term(overlay.views()->passive);
                         }));
  auto& events = overlay.event_pids();
  system.export_function(facade, "subscribe", exported_subscribe(events));
  system.export_function(facade, "unsubscribe", exported_unsubscribe(events));

  const Atom plumtree("barrel_p2p_plumtree");
  auto& broadcasts = overlay.broadcast_pids();
  system.export_function(plumtree, "broadcast", exported(2, [&](const Arguments& arguments) -> Result<Term> {
                           return answer_term(overlay.broadcast(arguments[0], arguments[1]));
                         }));
  system.export_function(plumtree, "subscribe", exported_subscribe(broadcasts));
  system.export_function(plumtree, "unsubscribe", exported_unsubscribe(broadcasts));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
