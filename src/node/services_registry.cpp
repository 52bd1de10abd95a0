// The registry, as the program sees it.
#include <algorithm>
#include <utility>

#include "base/deadline.hpp"
#include "base/prng.hpp"
#include "node/services_runner.hpp"
#include "replication/digest_tree.hpp"
#include "term/box.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using services::Ticket;

namespace {

/// As Erlang processes get it. What only we tell is told in their words.
Term message_of(const ServiceEvent& event) {
  const Term& name = event.name.term();
  const Atom node = event.node.atom();
  const auto about = [&](const char* what) { return Term::tuple({Atom(what), name, node}); };
  const auto down = [&](const Term& reason) { return Term::tuple({Atom("service_down"), name, node, reason}); };
  Term what;
  switch (event.kind) {
    case ServiceEvent::Kind::registered:
    case ServiceEvent::Kind::node_back: what = about("service_registered"); break;
    case ServiceEvent::Kind::unregistered: what = about("service_unregistered"); break;
    case ServiceEvent::Kind::down: what = down(event.reason); break;
    case ServiceEvent::Kind::node_lost: what = down(Atom("noconnection")); break;
  }
  return Term::tuple({Atom("barrel_p2p_service_event"), what});
}

}  // namespace

void ServicesRunner::register_service(ServiceName name, Pid pid, Term meta, const RegisterOptions& options, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(meta, false);
  call(bytes, answer, [this, answer, name = std::move(name), pid = std::move(pid), meta = std::move(meta), options] {
    const auto add = [&](Ticket ticket) {
      return machine_.registry().add(name.term(), pid, meta, ticket, bounded_limit(options.limit), now(), effects_);
    };
    if (options.wait_for_neighbours) return ticketed(*answer, add);
    auto added = add(0);
    carry_out();
    answer_change(std::move(*answer), std::move(added));
  });
}

void ServicesRunner::unregister_service(ServiceName name, Answer<bool>::Function done) {
  auto answer = std::make_shared<Answer<bool>>(std::move(done));
  call(0, answer, [this, answer, name = std::move(name)] {
    const bool removed = machine_.registry().remove(name.term(), now(), effects_);
    carry_out();
    answer->give(removed);
  });
}

void ServicesRunner::resolve(ServiceName name, WhereisOptions options, Milliseconds limit,
                             Answer<ServiceLocation>::Function done) {
  auto answer = std::make_shared<Answer<ServiceLocation>>(std::move(done));
  const auto until = deadline_after(limit);
  call(0, answer, [this, answer, name = std::move(name), options = std::move(options), until] {
    if (auto found = find_service(name, options)) return answer->give(std::move(*found));
    waiters_.add({name, options, until, std::move(*answer)});
  });
}

void ServicesRunner::verify(Answer<RegistryAudit>::Function done) {
  auto answer = std::make_shared<Answer<RegistryAudit>>(std::move(done));
  call(0, answer, [this, answer] { answer->give(machine_.registry().verify()); });
}

void ServicesRunner::service_statistics(Answer<ServiceStatistics>::Function done) {
  auto answer = std::make_shared<Answer<ServiceStatistics>>(std::move(done));
  call(0, answer, [this, answer] { answer->give(service_figures()); });
}

// What is read.

ServicesRunner::Registrations ServicesRunner::lookup(const ServiceName& name) const {
  Registrations all;
  registry_.read(name.term(), [&](const Holders& known) {
    for (const auto& [place, one] : known) {
      if (is_usable(one.registration)) all.push_back(one.registration);
    }
  });
  return all;
}

std::optional<Pid> ServicesRunner::lookup_local(const ServiceName& name) const {
  std::optional<Pid> found;
  registry_.read(name.term(), [&](const Holders& all) {
    const Known& first = all.begin()->second;
    if (first.location.local) found = first.location.pid;
  });
  return found;
}

std::vector<ServiceName> ServicesRunner::list_services() const {
  std::vector<Term> names;
  registry_.each([&](const Term& name, const Holders& /*all*/) { names.push_back(name); });
  std::ranges::sort(names, TermLess());
  std::vector<ServiceName> list;
  list.reserve(names.size());
  for (const auto& name : names) {
    if (auto service = ServiceName::from(name)) list.push_back(std::move(*service));
  }
  return list;
}

bool ServicesRunner::is_wanted(const Known& one, const WhereisOptions& options) const {
  return is_usable(one.registration) && (!options.accept || options.accept(one.registration.meta));
}

std::optional<ServiceLocation> ServicesRunner::find_service(const ServiceName& name,
                                                            const WhereisOptions& options) const {
  std::optional<ServiceLocation> location;
  const auto use = [&](const Known& one) { location = one.location; };
  registry_.read(name.term(), [&](const Holders& all) {
    std::vector<const Known*> wanted;
    for (const auto& [place, one] : all) {
      if (!is_wanted(one, options)) continue;
      if (options.choice == ServiceChoice::local_first) return use(one);
      wanted.push_back(&one);
    }
    if (wanted.empty()) return;
    const auto weight = [&](const Known* one) {
      return replication::key_hash(Term::tuple({options.key, one->registration.node}));
    };
    switch (options.choice) {
      case ServiceChoice::local_first:
      case ServiceChoice::first:
        return use(**std::ranges::min_element(wanted, {},
                                              [](const Known* one) -> const Atom& { return one->registration.node; }));
      case ServiceChoice::random:
        return use(*wanted[Prng(round_robin_.fetch_add(1, std::memory_order_relaxed)).below(wanted.size())]);
      case ServiceChoice::round_robin:
        return use(*wanted[round_robin_.fetch_add(1, std::memory_order_relaxed) % wanted.size()]);
      case ServiceChoice::by_key: return use(**std::ranges::max_element(wanted, {}, weight));
    }
  });
  if (location) handed_out_.use(location->pid);
  return location;
}

// What the machine wants.

void ServicesRunner::carry_out(services::ServiceChanged& effect) {
  auto shown = machine_.registry().lookup(effect.name, effect.node);
  const Holders::key_type place{effect.node != config_.services.own, effect.node};
  if (!shown) {
    return registry_.change(effect.name, [&](Holders& all) {
      all.erase(place);
      return !all.empty();
    });
  }
  detail::keep_atom(shown->node);
  detail::keep_atom(shown->pid.node);
  ServiceLocation location{shown->pid, NodeName(shown->node.text()), !place.first};
  const Known news{std::move(*shown), std::move(location)};
  registry_.change(effect.name, [&](Holders& all) {
    all.insert_or_assign(place, news);
    return true;
  });
  // Whoever waits has looked at the others already.
  waiters_.serve(effect.name, [&](const ServiceName& name, const WhereisOptions& options) {
    return is_wanted(news, options) ? find_service(name, options) : std::nullopt;
  });
}

void ServicesRunner::carry_out(services::ServiceHappened& effect) {
  service_events_.tell(effect.event);
  service_pids_.tell(message_of(effect.event));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
