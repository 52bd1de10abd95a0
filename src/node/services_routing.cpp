// Lookups of services that go to other nodes.
#include <utility>

#include "base/deadline.hpp"
#include "base/random.hpp"
#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using services::Registration;
using services::Route;

namespace {

std::unexpected<Error> unknown(const ServiceName& name, const char* why) {
  return fail(Errc::not_found, "no service " + to_text(name.term()) + why);
}

}  // namespace

bool ServicesRunner::is_usable(const Registration& one) const {
  return one.pid.node == config_.services.own || !handed_out_.has_ended(one.pid);
}

services::Router::Knowledge ServicesRunner::knowledge() {
  services::Router::Knowledge knowledge;
  knowledge.lookup = [this](const Term& name) -> std::optional<Route> {
    for (const auto& one : machine_.registry().lookup(name)) {
      if (is_usable(one)) return Route{one.node, one.pid};
    }
    return std::nullopt;
  };
  knowledge.believe = [this](const Term& name, const Route& route) {
    const auto* entry = machine_.registry().map().find(Term::tuple({name, route.node}));
    if (entry != nullptr && !entry->is_live()) return false;
    const auto& members = machine_.members();
    const bool gone = !members.is_alive(route.node) && members.silent_for(route.node, monotonic_now()).has_value();
    return !gone && !handed_out_.has_ended(route.pid);
  };
  knowledge.make_reference = [this] { return system_.make_ref(); };
  return knowledge;
}

Pid ServicesRunner::spawn_replies(TakeReply take) {
  return system_.spawn_receiver([this, take](const Atom& node, std::uint64_t epoch, distribution::Payload&& payload) {
    return receive({take, node, epoch, std::move(payload)});
  });
}

void ServicesRunner::start_router() {
  const Pid replies = spawn_replies(&ServicesRunner::take_route);
  if (!system_.register_name(Atom(services::router_name), replies)) {
    logger_->warn("the name {} is taken by another process", services::router_name);
  }
  services::RouterConfig config;
  config.own = config_.services.own;
  config.seed = random_uint64();
  router_.emplace(std::move(config), replies, knowledge());
}

void ServicesRunner::ask(ServiceName name, const WhereisOptions& options, Answer<ServiceLocation>::Function done) {
  auto answer = std::make_shared<Answer<ServiceLocation>>(std::move(done));
  if (auto found = find_service(name, options)) return answer->give(std::move(*found));
  if (options.ask_for <= Milliseconds(0)) return answer->give(unknown(name, " is known here"));
  if (options.accept) return answer->give(unknown(name, " with such metadata is known here"));
  const auto until = deadline_after(options.ask_for);
  call(0, answer, [this, answer, name = std::move(name), options, until] {
    const services::Ticket ticket = ++last_ticket_;
    asking_.emplace(ticket, Asking{name, options, std::move(*answer)});
    router_->find(name.term(), ticket, until, now(), effects_);
  });
}

void ServicesRunner::carry_out(services::Routed& effect) {
  auto found = asking_.extract(effect.ticket);
  if (found.empty()) return;
  Asking& asking = found.mapped();
  // It may have become known here meanwhile.
  if (auto here = find_service(asking.name, asking.options)) return asking.answer.give(std::move(*here));
  if (effect.result) {
    handed_out_.use(effect.result->pid);
    return asking.answer.give(ServiceLocation{effect.result->pid, NodeName(effect.result->node.text()), false});
  }
  const Error& error = effect.result.error();
  if (error == Errc::overloaded) return asking.answer.give(std::unexpected(error));
  asking.answer.give(unknown(asking.name, error == Errc::timeout ? ", as far as nodes answered in time" : ""));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
